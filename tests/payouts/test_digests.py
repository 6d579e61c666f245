"""Golden bytes: should one of these change, every ledger in the world would fail to verify."""

import msgspec

from payouts.digests import WITH_PERIOD, chain, commission_bytes, commission_id, content_hash, digest, entry_bytes, evidence
from store.commissions import Commission
from store.ledger import Posting

ENTRY = entry_bytes(
    "north",
    1,
    "accrual",
    "accrual:A-1:0",
    1795262400000,
    "order A-1: sale – Zoë",
    "e" * 64,
    (Posting("expense", "anna", "EUR", -800), Posting("held", "anna", "EUR", 800)),
)
COMMISSION = Commission(
    tenant_id="north",
    commission_id="",
    programme_id="main",
    order_id="A-1",
    line_id="1",
    affiliate_id="anna",
    kind="sale",
    currency="EUR",
    base_minor=100_00,
    amount_minor=8_00,
    rate_card_version=1,
    rule_id="all",
    reason="",
    touch_id="01",
    decision_revision=1,
    policy_version=1,
    inputs_hash="ab",
    state="held",
    ordered_at=1,
    hold_until=2,
    posted_at=3,
    entry_number=4,
    idempotency_key="A-1:0",
)


def test_an_entry_is_these_bytes():
    head = '["north",1,"accrual","accrual:A-1:0",1795262400000,"order A-1: sale – Zoë",'
    sides = '[["expense","anna","EUR",-800],["held","anna","EUR",800]]'

    assert ENTRY.decode() == f'{head}"{"e" * 64}",{sides}]'


def test_an_entry_with_a_month_and_a_conversion_is_these_bytes_and_this_hash():
    converted = ("USD", 940, "1.0683", "ECB", "2026-11-20")
    sides = (Posting("expense", "anna", "EUR", -880, "USD", -940, *converted[2:]), Posting("pending", "anna", "EUR", 880, *converted))
    entry = entry_bytes("north", 2, "accrual", "accrual:A-2:0", 1795262400000, "order A-2: sale", "e" * 64, sides, "2026-11")

    head = '["north",2,"accrual","accrual:A-2:0",1795262400000,"order A-2: sale",'
    rate = '"1.0683","ECB","2026-11-20"'
    said = f'["expense","anna","EUR",-880,"USD",-940,{rate}],["pending","anna","EUR",880,"USD",940,{rate}]'
    assert entry.decode() == f'{head}"{"e" * 64}","2026-11",[{said}]]'
    assert chain("", entry, WITH_PERIOD) == "46af1e5323122f0d7dd5152df0cad173ff6ff55dd098dc18f8da2c64790501a0"


def test_an_entry_with_a_month_follows_one_without():
    first = chain("", ENTRY)
    second = entry_bytes("north", 2, "release", "k", 1, "", "", (Posting("pending", "anna", "EUR", 5),), "2026-11")

    assert second == b'["north",2,"release","k",1,"","","2026-11",[["pending","anna","EUR",5]]]'
    assert chain(first, second, WITH_PERIOD) == "9bb46055313f0440c6dfdfc53e854e16e45447671f9d62032aaeca60d8384ab2"


def test_the_chain_is_these_hashes():
    first = chain("", ENTRY)

    assert first == "f74d66c45e9b7a6d04ac565b032ce5b368d388a9f5279b501ddcce72d4d160ea"
    assert chain(first, ENTRY) == "3eddd6ede9b394950620fe8da3bcabcbc629931faa1cda2b479044f24e5ef2f6"


def test_a_commission_is_these_bytes_and_this_id():
    assert commission_bytes(COMMISSION) == (
        b'["north","main","A-1","1","anna","sale","EUR",10000,800,1,"all","","01",1,1,"ab",1,2,3,"A-1:0"]'
    )
    assert commission_id(COMMISSION) == "c_7eb3fb66dbc3ace61b41be04dab81803"


def test_a_commission_with_what_came_later_is_these_bytes():
    """Fields of later versions of the program follow, all together, where any of them says something."""
    later = msgspec.structs.replace(COMMISSION, part="recruiter:1", capped_minor=5, limit_id="most", pricing_hash="cd", original_minor=9)
    converted = msgspec.structs.replace(later, original_currency="USD", rate="1/1.0834", rate_source="ECB", rate_date="2026-11-20")

    assert commission_bytes(converted) == (
        b'["north","main","A-1","1","anna","sale","EUR",10000,800,1,"all","","01",1,1,"ab",1,2,3,"A-1:0",'
        b'"recruiter:1",5,"most","cd","USD",9,"1/1.0834","ECB","2026-11-20","order"]'
    )
    assert commission_id(converted) != commission_id(later) != commission_id(COMMISSION)
    assert commission_bytes(msgspec.structs.replace(COMMISSION, subject="lead")).endswith(b'"lead"]')


def test_evidence_does_not_depend_on_sequence():
    assert evidence(["c_2", "c_1"]) == evidence(["c_1", "c_2"]) == "c549e9f89db35c6f00b41d10551c7a3c19c74cbdcd81c5bb6c9ae490d9e0356f"


def test_a_batch_is_this_hash():
    assert (
        content_hash(["north", "pb_1"], [["po_1_1", "anna", 800, [["c_1", 800]]]])
        == "597b16e7f5cf2c4a243050d0c3929a9f575b9d36ab13458560e230b013d64942"
    )


def test_parts_cannot_slide_into_each_other_nor_domains():
    assert digest("a", b"bc", b"d") != digest("a", b"b", b"cd") != digest("ab", b"c", b"d")
