"""Events become rows: nothing lost, nothing altered but what is said here."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Claim, Lead, Line, Order, Refund, RefundLine, Touch, encode_event
from store.columns import COLUMNS
from tracker.enrich import TABLES, Unusable, identity_keys, read_event, rows
from tracker.traffic import LIST_VERSION

AT = 1_763_726_400_123  # 2025-11-21T12:00:00.123Z
STORED = AT + 2_000
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"

TOUCH = Touch(
    event_id="01JD7Q9QZ0ABCDEFGHJKMNPQRS",
    kind="click",
    tenant_id="north",
    programme_id="main",
    affiliate_id="anna",
    link_code="a1",
    occurred_at=AT,
    received_at=AT + 1,
    visitor_id="01VISITOR",
    destination="https://north.example/",
    subs=("one", "two"),
    ip="203.0.113.9",
    user_agent=CHROME,
    referrer="https://blog.example/",
    flags=("deep_link_refused",),
)
ORDER = Order(
    event_id="01ORDER",
    tenant_id="north",
    order_id="N-1",
    currency="EUR",
    occurred_at=AT,
    received_at=AT + 1,
    lines=(
        Line("1", 80_00, sku="TV", quantity=2, brand="Nord", discount_minor=20_00, attributes=(("season", "ss26"), ("size", "XL"))),
        Line("2", 19_99, category="books", kind="gift_card"),
    ),
    click_id="01JD7Q9QZ0ABCDEFGHJKMNPQRS",
    visitor_id="01VISITOR",
    customer_keys=("em:aa", "cid:bb"),
    coupons=(" anna10", "ANNA10", "Ben5"),
    total_minor=99_99,
)


def country_of(address: str) -> str:
    return {"203.0.113.9": "FR"}.get(address, "")


def test_rows_have_exactly_the_columns_of_their_tables() -> None:
    for table, row in TABLES.items():
        assert list(row.__struct_encode_fields__) == list(COLUMNS[table]), table


def test_a_click_becomes_one_row_with_class_country_and_device() -> None:
    ((table, at, row),) = rows(TOUCH, STORED, country_of)

    assert (table, at) == ("touches", AT)
    assert msgspec.json.decode(msgspec.json.encode(row)) == {
        "tenant_id": "north",
        "touch_id": "01JD7Q9QZ0ABCDEFGHJKMNPQRS",
        "kind": "click",
        "programme_id": "main",
        "affiliate_id": "anna",
        "link_code": "a1",
        "visitor_id": "01VISITOR",
        "channel": "web",
        "occurred_at": 1763726400.123,
        "received_at": 1763726400.124,
        "stored_at": 1763726402.123,
        "traffic_class": "human",
        "class_reason": "",
        "list_version": LIST_VERSION,
        "country": "FR",
        "device": "desktop",
        "os": "Windows",
        "browser": "Chrome",
        "destination": "https://north.example/",
        "subs": ["one", "two"],
        "ip": "203.0.113.9",
        "user_agent": CHROME,
        "referrer": "https://blog.example/",
        "consent": "unknown",
        "flags": ["deep_link_refused"],
    }


def test_an_unknown_code_makes_an_orphan() -> None:
    ((_, _, row),) = rows(msgspec.structs.replace(TOUCH, tenant_id="", programme_id="", affiliate_id=""), STORED, country_of)

    assert row.traffic_class == "orphan"


def test_a_denied_consent_withholds_the_agent_and_that_is_no_evidence() -> None:
    denied = msgspec.structs.replace(TOUCH, consent="denied", ip="", user_agent="", visitor_id="")
    ((_, _, row),) = rows(denied, STORED, country_of)

    assert (row.traffic_class, row.country, row.device) == ("human", "", "other")

    ((_, _, row),) = rows(msgspec.structs.replace(TOUCH, user_agent=""), STORED, country_of)

    assert row.traffic_class == "invalid_ua"


def test_an_order_keeps_its_lines_as_arrays_and_its_coupons_once_in_upper_case() -> None:
    (table, _, row), *_ = rows(ORDER, STORED, country_of)

    assert table == "orders"
    assert row.coupons == ("ANNA10", "BEN5")
    assert row.line_skus == ["TV", ""]
    assert row.line_quantities == [2, 1]
    assert row.line_net_minors == [8000, 1999]
    assert row.net_minor == 9999
    stored = msgspec.json.decode(msgspec.json.encode(row))
    assert (stored["lines.brand"], stored["lines.kind"], stored["lines.discount_minor"]) == (["Nord", ""], ["", "gift_card"], [2000, 0])
    assert stored["lines.attributes"] == [{"season": "ss26", "size": "XL"}, {}]
    assert row.customer_keys == ("em:aa", "cid:bb")
    assert row.stored_at == 1763726402.123


def test_an_order_links_its_keys_as_a_star_both_ways() -> None:
    _, *links = rows(ORDER, STORED, country_of)

    assert {table for table, _, _ in links} == {"identity_links"}
    assert [(row.key, row.other_key) for _, _, row in links] == [
        ("v:01VISITOR", "em:aa"),
        ("em:aa", "v:01VISITOR"),
        ("v:01VISITOR", "cid:bb"),
        ("cid:bb", "v:01VISITOR"),
        ("v:01VISITOR", "c:01JD7Q9QZ0ABCDEFGHJKMNPQRS"),
        ("c:01JD7Q9QZ0ABCDEFGHJKMNPQRS", "v:01VISITOR"),
    ]
    assert {(row.event_id, row.linked_at) for _, _, row in links} == {("01ORDER", 1763726400.123)}


def test_a_click_id_that_is_not_ours_joins_nobody() -> None:
    order = msgspec.structs.replace(ORDER, visitor_id="", click_id="{clickid}", customer_keys=("em:aa",))

    assert identity_keys(order) == ("em:aa",)


def test_a_call_links_its_caller_with_itself_and_hangs_on_one_key_alone() -> None:
    call = msgspec.structs.replace(TOUCH, kind="call", visitor_id="", user_agent="", customer_keys=("ph:aa", "x:fair:ph:bb"), source="api")
    (table, _, row), *links = rows(call, STORED, country_of)
    own = f"c:{TOUCH.event_id}"

    assert (table, row.traffic_class, row.customer_keys, row.source) == ("touches", "human", ("ph:aa", "x:fair:ph:bb"), "api")
    assert [(link.key, link.other_key) for _, _, link in links] == [
        ("ph:aa", "x:fair:ph:bb"),
        ("x:fair:ph:bb", "ph:aa"),
        ("ph:aa", own),
        (own, "ph:aa"),
    ]


def test_a_touch_without_customer_keys_links_nothing_and_a_click_without_a_browser_is_none() -> None:
    assert len(rows(TOUCH, STORED, country_of)) == 1
    assert rows(msgspec.structs.replace(TOUCH, user_agent=""), STORED, country_of)[0].row.traffic_class == "invalid_ua"  # type: ignore[union-attr]
    flagged = msgspec.structs.replace(TOUCH, user_agent="", source="api", flags=("link_disabled",))
    assert rows(flagged, STORED, country_of)[0].row.traffic_class == "disabled"  # type: ignore[union-attr]


def test_an_order_keeps_what_it_knows_of_its_customer() -> None:
    told = msgspec.structs.replace(
        ORDER,
        consent="granted",
        attributes=(("account_type", "B2B"), ("region", "Süd")),
        affiliate_id="anna",
        claims=(Claim("01JD7Q9QZ0ABCDEFGHJKMNPQRS", provider="us", touchpoint="last", expires_at=5),),
        marketplace_id="mall",
        basket_id="B-1",
    )
    row = rows(told, STORED, country_of)[0].row

    assert msgspec.json.decode(msgspec.json.encode(row))["attributes"] == {"account_type": "B2B", "region": "Süd"}
    assert (row.consent, row.affiliate_id, row.marketplace_id, row.basket_id) == ("granted", "anna", "mall", "B-1")  # type: ignore[union-attr]
    assert msgspec.json.decode(row.claims, type=tuple[Claim, ...]) == told.claims  # type: ignore[union-attr]
    assert rows(ORDER, STORED, country_of)[0].row.claims == ""  # type: ignore[union-attr]
    read = read_event(encode_event(told))
    assert msgspec.to_builtins(read) == msgspec.to_builtins(told)


def test_one_key_alone_links_nothing() -> None:
    lead = Lead(event_id="01LEAD", tenant_id="north", lead_id="l1", name="signup", occurred_at=AT, received_at=AT, visitor_id="01VISITOR")

    ((table, _, row),) = rows(lead, STORED, country_of)
    assert (table, row.name) == ("leads", "signup")

    linked = msgspec.structs.replace(lead, customer_keys=("em:aa", "em:aa"))
    assert [row.key for _, _, row in rows(linked, STORED, country_of)[1:]] == ["v:01VISITOR", "em:aa"]


def test_a_refund_over_the_order_has_no_lines_and_one_of_all_no_amount() -> None:
    refund = Refund("01R", "north", "N-1", "r1", "EUR", AT, AT, net_minor=5_00, reason="late")
    ((table, _, row),) = rows(refund, STORED, country_of)

    assert (table, row.line_ids, row.net_minor, row.reason) == ("refunds", [], 500, "late")

    ((_, _, row),) = rows(Refund("01R", "north", "N-1", "r2", "EUR", AT, AT, lines=(RefundLine("1", 80_00),)), STORED, country_of)

    assert (row.line_ids, row.line_net_minors, row.net_minor) == (["1"], [8000], None)


@given(st.lists(st.sampled_from(["em:a", "em:b", "cid:c", "loy:d", "ph:e"]), max_size=5).map(tuple), st.booleans(), st.booleans())
def test_every_key_reaches_every_other_and_links_are_linear(keys: tuple[str, ...], visitor: bool, click: bool) -> None:
    order = msgspec.structs.replace(
        ORDER, customer_keys=keys, visitor_id="1" if visitor else "", click_id="01JD7Q9QZ0ABCDEFGHJKMNPQRS" if click else ""
    )
    links = {(row.key, row.other_key) for _, _, row in rows(order, STORED, country_of)[1:]}
    distinct = set(keys) | ({"v:1"} if visitor else set()) | ({"c:01JD7Q9QZ0ABCDEFGHJKMNPQRS"} if click else set())

    assert set(identity_keys(order)) == distinct
    assert links == {(other, key) for key, other in links}
    assert len(links) == 2 * max(0, len(distinct) - 1)
    reached, border = set(), {next(iter(distinct))} if distinct else set()
    while border:
        reached |= border
        border = {other for key, other in links if key in border} - reached
    assert reached == distinct


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [TOUCH, ORDER, Lead("01L", "north", "l", "n", AT, AT), Refund("01R", "north", "N-1", "r", "EUR", AT, AT)])
def test_what_was_written_is_read(event: Touch | Order | Lead | Refund) -> None:
    read = read_event(encode_event(event))

    assert not isinstance(read, Unusable)
    assert msgspec.to_builtins(read) == msgspec.to_builtins(event)


GOOD = '{"event":"order","event_id":"1","tenant_id":"n","order_id":"o","currency":"EUR","occurred_at":1,"received_at":1,"lines":[%s]}'


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "undecodable"),
        (b"{", "undecodable"),
        (b"[]", "undecodable"),
        (b'{"event":"banana"}', "undecodable"),
        (b'{"event":"touch"}', "undecodable"),
        (b'{"event":"touch","event_id":"\xff"}', "undecodable"),
        ((GOOD % '{"line_id":"1","net_minor":1.5}').encode(), "undecodable"),
        ((GOOD % '{"line_id":"1","net_minor":1,"colour":"red"}').encode(), "unknown_field"),
        ((GOOD % "").replace('"lines"', '"mood":"good","lines"').encode(), "unknown_field"),
        ((GOOD % "").replace('"lines"', '"claims":[{"token":"t","mood":"good"}],"lines"').encode(), "unknown_field"),
        ((GOOD % "").replace('"lines"', '"attributes":{"region":"EU"},"lines"').encode(), "undecodable"),
        ((GOOD % '{"line_id":"1","net_minor":9223372036854775808}').encode(), "out_of_range"),
        ((GOOD % '{"line_id":"1","net_minor":9223372036854775807},{"line_id":"2","net_minor":1}').encode(), "out_of_range"),
        ((GOOD % '{"line_id":"1","net_minor":1,"quantity":4294967296}').encode(), "out_of_range"),
        ((GOOD % '{"line_id":"1","net_minor":1,"quantity":-1}').encode(), "out_of_range"),
        ((GOOD % '{"line_id":"1","net_minor":1,"discount_minor":9223372036854775808}').encode(), "out_of_range"),
        ((GOOD % '{"line_id":"1","net_minor":1,"attributes":{"a":"b"}}').encode(), "undecodable"),
        ((GOOD % "").replace('"received_at":1', '"received_at":4102444800000').encode(), "out_of_range"),
        ((GOOD % "").replace('"occurred_at":1', '"occurred_at":-1').encode(), "out_of_range"),
    ],
)
def test_what_the_store_would_keep_only_in_part_is_refused(payload: bytes, reason: str) -> None:
    read = read_event(payload)

    assert isinstance(read, Unusable)
    assert read.reason == reason
    assert read.detail


def test_the_largest_numbers_are_read() -> None:
    payload = (GOOD % '{"line_id":"1","net_minor":9223372036854775807,"quantity":4294967295}').encode()

    assert not isinstance(read_event(payload), Unusable)
    assert isinstance(read_event(b'{"event":"touch"}'), Unusable)
