"""Golden bytes: should one of these change, every ledger in the world would fail to verify."""

from payouts.digests import chain, commission_bytes, commission_id, content_hash, digest, entry_bytes, evidence
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


def test_the_chain_is_these_hashes():
    first = chain("", ENTRY)

    assert first == "f74d66c45e9b7a6d04ac565b032ce5b368d388a9f5279b501ddcce72d4d160ea"
    assert chain(first, ENTRY) == "3eddd6ede9b394950620fe8da3bcabcbc629931faa1cda2b479044f24e5ef2f6"


def test_a_commission_is_these_bytes_and_this_id():
    assert commission_bytes(COMMISSION) == (
        b'["north","main","A-1","1","anna","sale","EUR",10000,800,1,"all","","01",1,1,"ab",1,2,3,"A-1:0"]'
    )
    assert commission_id(COMMISSION) == "c_7eb3fb66dbc3ace61b41be04dab81803"


def test_evidence_does_not_depend_on_sequence():
    assert evidence(["c_2", "c_1"]) == evidence(["c_1", "c_2"]) == "c549e9f89db35c6f00b41d10551c7a3c19c74cbdcd81c5bb6c9ae490d9e0356f"


def test_a_batch_is_this_hash():
    assert (
        content_hash(["north", "pb_1"], [["po_1_1", "anna", 800, [["c_1", 800]]]])
        == "597b16e7f5cf2c4a243050d0c3929a9f575b9d36ab13458560e230b013d64942"
    )


def test_parts_cannot_slide_into_each_other_nor_domains():
    assert digest("a", b"bc", b"d") != digest("a", b"b", b"cd") != digest("ab", b"c", b"d")
