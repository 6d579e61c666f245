"""Conversions as typed JSON: what is recorded, what is refused and how, and that each is recorded once."""

import asyncio
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import HOUR, MINUTE, format_instant
from core.conditions import ATTRIBUTES, ITEM_KINDS
from core.events import Lead, Line, Order, Refund, RefundLine, encode_event
from core.identity import customer_key, tenant_key
from core.ids import event_id
from core.money import format_amount
from store.books import open_books
from store.receipts import Receipt, claim
from tests.fakes import NOON, FakeClock
from tracker.conversion import Arrival
from tracker.orders import KINDS, LINE_FIELDS, read_order

Run = Callable[..., Any]
ORDER: dict[str, Any] = {
    "order_id": "o-1",
    "occurred_at": "2026-11-21T11:30:00Z",
    "currency": "EUR",
    "channel": "pos",
    "store": "till-3",
    "click_id": event_id(NOON - HOUR, 7),
    "visitor_id": event_id(NOON - HOUR, 8),
    "customer": {"id": "c-77", "email": " Ada@Shop.Example", "phone": "+49 30 123456", "loyalty_id": "L1", "status": "returning"},
    "coupons": ["spring10", "SPRING10"],
    "lines": [
        {"line_id": "a", "sku": "S1", "name": "Shoe", "category": "shoes", "quantity": 2, "unit_price": "20.00", "discount": "5.00"},
        {"net": "15.01"},
    ],
    "discount": "10.01",
    "shipping": "4.90",
    "tax": "8.00",
    "total": "52.90",
}
SMALL: dict[str, Any] = {"order_id": "o-1", "currency": "EUR", "lines": [{"net": "10.00"}]}
SECRET = b"a-secret-of-the-test-installation!"
SAID: dict[str, Any] = {
    "brand": st.sampled_from(["", "Nord"]),
    "kind": st.sampled_from(["", "product", "gift_card"]),
    "attributes": st.dictionaries(st.sampled_from(["season", "size"]), st.sampled_from(["", "ss", "xl"])),
}


def post_once(with_front: Run, path: str, body: Any, **options: Any) -> tuple[int, dict[str, Any], list[Any]]:
    async def scenario(front: Any) -> Any:
        status, content = await front.post(path, body, **options)
        return status, content, front.records()

    return with_front(scenario)


# --- recorded --------------------------------------------------------------------------------------------------------


def test_a_full_order_is_recorded_with_its_discount_spread_over_the_lines(with_front: Run):
    status, answer, records = post_once(with_front, "/v1/orders", ORDER)
    key = tenant_key(b"a-secret-of-the-test-installation!", "north")

    assert status == 200
    assert records == [
        Order(
            event_id=answer["id"],
            tenant_id="north",
            order_id="o-1",
            currency="EUR",
            occurred_at=NOON - 30 * MINUTE,
            received_at=NOON,
            # 10.01 over 35.00 and 15.01: 7.0054 and 3.0046, and the odd cent goes to the larger remainder; 5.00 more came off the shoes
            lines=(Line("a", 27_99, "S1", "Shoe", "shoes", 2, discount_minor=12_01), Line("2", 12_01, discount_minor=3_00)),
            channel="pos",
            store_id="till-3",
            click_id=ORDER["click_id"],
            visitor_id=ORDER["visitor_id"],
            customer_keys=tuple(
                str(customer_key(kind, value, key))
                for kind, value in [
                    ("customer_id", "c-77"),
                    ("email", "ada@shop.example"),
                    ("phone", "4930123456"),
                    ("loyalty_id", "L1"),
                ]
            ),
            customer_status="returning",
            coupons=("SPRING10",),
            shipping_minor=4_90,
            tax_minor=8_00,
            total_minor=52_90,
        )
    ]
    assert answer == {
        "id": records[0].event_id,
        "recorded": {
            "kind": "order",
            "order_id": "o-1",
            "occurred_at": "2026-11-21T11:30:00.000Z",
            "received_at": "2026-11-21T12:00:00.000Z",
            "currency": "EUR",
            "lines": [
                {"line_id": "a", "quantity": 2, "net": "27.99", "discount": "12.01"},
                {"line_id": "2", "quantity": 1, "net": "12.01", "discount": "3.00"},
            ],
            "shipping": "4.90",
            "tax": "8.00",
            "total": "52.90",
            "channel": "pos",
            "store": "till-3",
            "click_id": ORDER["click_id"],
            "visitor_id": ORDER["visitor_id"],
            "customer_keys": 4,
            "customer_status": "returning",
            "coupons": ["SPRING10"],
            "test": False,
            "consent": "unknown",
            "attributes": {},
            "affiliate_id": "",
            "claims": 0,
        },
        "warnings": [],
        "attribution": {"status": "pending", "url": "http://127.0.0.1:8701/v1/orders/o-1/attribution"},
    }


@pytest.mark.parametrize(
    ("path", "body", "recorded"),
    [
        (
            "/v1/refunds",
            {"order_id": "o/1", "refund_id": "r-1", "currency": "EUR", "lines": [{"line_id": "a", "net": "5.00"}], "reason": "too small"},
            {"order_id": "o/1", "refund_id": "r-1", "lines": (RefundLine("a", 5_00),), "net_minor": None, "reason": "too small"},
        ),
        (
            "/v1/refunds",
            {"order_id": "o-1", "refund_id": "r-1", "currency": "jpy", "net": "500"},
            {"currency": "JPY", "lines": (), "net_minor": 500},
        ),
        ("/v1/refunds", {"order_id": "o-1", "refund_id": "r-1", "currency": "EUR"}, {"lines": (), "net_minor": None}),
        (
            "/v1/leads",
            {"lead_id": "l-1", "name": "trial", "channel": "app", "customer": {"id": "c-1"}},
            {"lead_id": "l-1", "name": "trial", "channel": "app", "source": "api"},
        ),
    ],
)
def test_refunds_and_leads_are_recorded(with_front: Run, path: str, body: dict[str, Any], recorded: dict[str, Any]):
    status, answer, (event,) = post_once(with_front, path, body)

    assert status == 200
    assert {name: getattr(event, name) for name in recorded} == recorded
    assert (event.tenant_id, event.event_id, event.occurred_at) == ("north", answer["id"], NOON)
    assert isinstance(event, Lead if path == "/v1/leads" else Refund)
    assert answer["recorded"]["kind"] == path.removeprefix("/v1/").removesuffix("s")
    if isinstance(event, Refund):
        assert answer["attribution"]["url"].endswith("/v1/orders/o%2F1/attribution" if event.order_id == "o/1" else "/o-1/attribution")


@pytest.mark.parametrize(
    ("customer", "keys"),
    [
        ({"email": "null", "id": "0", "phone": "000 00 00"}, 0),
        ({"email_sha256": "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"}, 0),  # the hash of nothing
        ({"email": "a@b.example", "email_sha256": "c6cb8fe4f1fe3af35a5be02deb9c3d7b8e0f5c73ef7c2a4e8a0e7bd70ec4b0a5"}, 2),
        (None, 0),
    ],
)
def test_customers_that_name_nobody_are_joined_to_nobody(with_front: Run, customer: Any, keys: int):
    _, answer, (order,) = post_once(with_front, "/v1/orders", SMALL | {"customer": customer})
    assert (answer["recorded"]["customer_keys"], len(order.customer_keys)) == (keys, keys)


def test_an_e_mail_and_its_hash_are_the_same_person(with_front: Run):
    async def scenario(front: Any) -> Any:
        import hashlib

        await front.post("/v1/orders", SMALL | {"order_id": "1", "customer": {"email": "Ada@Shop.Example "}})
        hashed = hashlib.sha256(b"ada@shop.example").hexdigest()
        await front.post("/v1/orders", SMALL | {"order_id": "2", "customer": {"email_sha256": hashed.upper()}})
        return [order.customer_keys for order in front.records()]

    first, second = with_front(scenario)
    assert first == second
    assert len(first) == 1
    assert "ada" not in first[0]


def test_a_clock_a_little_ahead_is_set_back_and_a_later_repeat_is_still_the_same(with_front: Run, clock: FakeClock):
    body = SMALL | {"occurred_at": format_instant(NOON + 9 * MINUTE)}

    async def scenario(front: Any) -> Any:
        first = await front.post("/v1/orders", body)
        clock.advance(HOUR)
        return first, await front.post("/v1/orders", body), front.records()

    first, again, (order,) = with_front(scenario)
    assert (order.occurred_at, first[0]) == (NOON, 200)
    assert again == first


def test_a_click_id_of_another_make_is_recorded_with_a_warning(with_front: Run):
    _, answer, (order,) = post_once(with_front, "/v1/orders", SMALL | {"click_id": "{clickid}"})
    assert order.click_id == "{clickid}"
    assert answer["warnings"] == ["click_id '{clickid}' is none of our click ids: it was recorded, but no click will be found by it"]


def test_the_key_may_come_in_the_query(with_front: Run):
    status, _, records = post_once(
        with_front, "/v1/orders?token=key-of-south", SMALL | {"currency": "JPY", "lines": [{"net": "7"}]}, authorization=""
    )
    assert (status, records[0].tenant_id) == (200, "south")


def test_what_a_line_says_of_its_item_is_recorded_and_confirmed(with_front: Run):
    shoe = {"net": "10.00", "brand": " Nord ", "kind": "product", "attributes": {"season": "ss26", "margin_class": "b", "size": None}}
    card = {"unit_price": "25.00", "quantity": 2, "discount": "5.00", "kind": "gift_card"}
    status, answer, (order,) = post_once(with_front, "/v1/orders", SMALL | {"lines": [shoe, card], "discount": "1.10"})

    assert status == 200
    assert order.lines == (
        Line("1", 9_80, brand="Nord", discount_minor=20, attributes=(("margin_class", "b"), ("season", "ss26"))),
        Line("2", 44_10, quantity=2, kind="gift_card", discount_minor=5_90),
    )
    attributes = {"margin_class": "b", "season": "ss26"}
    assert answer["recorded"]["lines"] == [
        {"line_id": "1", "quantity": 1, "net": "9.80", "brand": "Nord", "attributes": attributes, "discount": "0.20"},
        {"line_id": "2", "quantity": 2, "net": "44.10", "kind": "gift_card", "discount": "5.90"},
    ]


@given(lines=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 10**6)), min_size=1, max_size=5), data=st.data())
def test_net_and_discount_of_every_line_are_its_list_price(lines: list[tuple[int, int, int]], data: st.DataObject):
    """Whatever is taken off, by line or over the order: nothing of it is lost."""
    cut = [min(discount, price * quantity) for price, quantity, discount in lines]
    whole = data.draw(st.integers(0, sum(price * quantity for price, quantity, _ in lines) - sum(cut)))
    sent = [
        {"unit_price": format_amount(price, "EUR"), "quantity": quantity, "discount": format_amount(discount, "EUR")}
        for (price, quantity, _), discount in zip(lines, cut, strict=True)
    ]
    body = SMALL | {"lines": sent, "discount": format_amount(whole, "EUR")}
    order = cast(Order, read_order(body, Arrival("north", b"k" * 32, event_id(NOON, 1), NOON, MINUTE)).event)

    assert [line.net_minor + line.discount_minor for line in order.lines] == [price * quantity for price, quantity, _ in lines]
    assert sum(line.discount_minor for line in order.lines) == sum(cut) + whole
    assert all(line.discount_minor >= discount for line, discount in zip(order.lines, cut, strict=True))


def test_no_attribute_of_a_line_hides_what_rate_cards_ask_of_every_item():
    assert {attribute for entity, attribute in ATTRIBUTES if entity == "item"} == LINE_FIELDS
    assert KINDS == ITEM_KINDS


# --- refused ---------------------------------------------------------------------------------------------------------

LINE = {"line_id": "a", "net": "10.00"}
REFUND = {"order_id": "o", "refund_id": "r", "currency": "EUR"}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "malformed", ""),
        (b"[" * 100_000, "malformed", ""),
        (b'{"order_id": "\xff"}', "malformed", ""),
        (b"", "malformed", ""),
        (b"[]", "malformed", ""),
        (SMALL | {"order_id": ""}, "missing_field", "order_id"),
        (SMALL | {"order_id": None}, "missing_field", "order_id"),
        (SMALL | {"order_id": 7}, "malformed", "order_id"),
        (SMALL | {"order_id": "x" * 129}, "too_large", "order_id"),
        (SMALL | {"order_id": "a\0b"}, "malformed", "order_id"),
        (SMALL | {"currency": "EURO"}, "currency_invalid", "currency"),
        (SMALL | {"currency": None}, "missing_field", "currency"),
        (SMALL | {"occurred_at": "yesterday"}, "malformed", "occurred_at"),
        (SMALL | {"occurred_at": "2026-11-21T12:00:00"}, "malformed", "occurred_at"),
        (SMALL | {"occurred_at": "1999-12-31T23:59:59Z"}, "malformed", "occurred_at"),
        (SMALL | {"occurred_at": "2026-11-21T12:10:00.001Z"}, "future_event", "occurred_at"),
        (SMALL | {"channel": "fax"}, "malformed", "channel"),
        (SMALL | {"visitor_id": "me"}, "malformed", "visitor_id"),
        (SMALL | {"test": "yes"}, "malformed", "test"),
        (SMALL | {"coupons": "SPRING"}, "malformed", "coupons"),
        (SMALL | {"coupons": [1]}, "malformed", "coupons.0"),
        (SMALL | {"coupons": ["x"] * 21}, "too_large", "coupons"),
        (SMALL | {"colour": "red"}, "unknown_field", "colour"),
        (SMALL | {"customer": {"mail": "a@b.example"}}, "unknown_field", "customer.mail"),
        (SMALL | {"customer": "ada"}, "malformed", "customer"),
        (SMALL | {"customer": {"email": "ada"}}, "malformed", "customer.email"),
        (SMALL | {"customer": {"phone": "call me"}}, "malformed", "customer.phone"),
        (SMALL | {"customer": {"email_sha256": "abc"}}, "malformed", "customer.email_sha256"),
        (SMALL | {"customer": {"status": "gone"}}, "malformed", "customer.status"),
        (SMALL | {"lines": []}, "missing_field", "lines"),
        (SMALL | {"lines": None}, "missing_field", "lines"),
        (SMALL | {"lines": {}}, "malformed", "lines"),
        (SMALL | {"lines": [7]}, "malformed", "lines[0]"),
        (SMALL | {"lines": [{"net": "1"}] * 501}, "too_large", "lines"),
        (SMALL | {"lines": [{}]}, "missing_field", "lines[0].unit_price"),
        (SMALL | {"lines": [{"net": 10.0}]}, "malformed", "lines[0].net"),
        (SMALL | {"lines": [{"net": "10.001"}]}, "too_many_decimals", "lines[0].net"),
        (SMALL | {"lines": [{"net": "1e3"}]}, "malformed", "lines[0].net"),
        (SMALL | {"lines": [{"net": "-1.00"}]}, "malformed", "lines[0].net"),
        (SMALL | {"lines": [{"net": "99999999999999.00"}]}, "too_large", "lines[0].net"),
        (SMALL | {"lines": [{"net": "9.00", "unit_price": "10.00"}]}, "malformed", "lines[0].net"),
        (SMALL | {"lines": [{"unit_price": "5.00", "discount": "5.01"}]}, "malformed", "lines[0].discount"),
        (SMALL | {"lines": [{"unit_price": "5.00", "quantity": 0}]}, "malformed", "lines[0].quantity"),
        (SMALL | {"lines": [{"unit_price": "5.00", "quantity": 1.5}]}, "malformed", "lines[0].quantity"),
        (SMALL | {"lines": [{"unit_price": "9000000000000.00", "quantity": 1000}]}, "too_large", "lines[0].unit_price"),
        (SMALL | {"lines": [LINE | {"size": "XL"}]}, "unknown_field", "lines[0].size"),
        (SMALL | {"lines": [LINE | {"net": "1.00", "discount": "1.00"}]}, "malformed", "lines[0].net"),
        (SMALL | {"lines": [LINE | {"brand": 7}]}, "malformed", "lines[0].brand"),
        (SMALL | {"lines": [{"net": "1"}, LINE | {"brand": "x" * 256}]}, "too_large", "lines[1].brand"),
        (SMALL | {"lines": [{"net": "1"}, LINE | {"kind": "voucher"}]}, "malformed", "lines[1].kind"),
        (SMALL | {"lines": [LINE | {"attributes": ["red"]}]}, "malformed", "lines[0].attributes"),
        (SMALL | {"lines": [LINE | {"attributes": {"colour": 7}}]}, "malformed", "lines[0].attributes.colour"),
        (SMALL | {"lines": [LINE | {"attributes": {"colour": "x" * 65}}]}, "too_large", "lines[0].attributes.colour"),
        (SMALL | {"lines": [LINE | {"attributes": {"Colour": "red"}}]}, "malformed", "lines[0].attributes.Colour"),
        (SMALL | {"lines": [LINE | {"attributes": {"brand": "red"}}]}, "malformed", "lines[0].attributes.brand"),
        (SMALL | {"lines": [LINE | {"attributes": {f"a{n}": "x" for n in range(17)}}]}, "too_large", "lines[0].attributes"),
        (SMALL | {"lines": [LINE, LINE]}, "malformed", "lines"),
        (SMALL | {"lines": [LINE | {"line_id": "2"}, {"net": "1.00"}]}, "malformed", "lines"),
        (SMALL | {"discount": "10.01"}, "malformed", "discount"),
        (SMALL | {"total": "10.01"}, "items_mismatch_total", "total"),
        (SMALL | {"total": "10.00", "tax": "1.00"}, "items_mismatch_total", "total"),
    ],
)  # fmt: skip
def test_a_bad_order_is_refused_by_name_and_nothing_is_recorded(with_front: Run, body: Any, code: str, field: str):
    status, answer, records = post_once(with_front, "/v1/orders", body)

    assert (status, answer["error"]["code"], answer["error"]["field"]) == (400, code, field)
    assert field.split(".")[-1].split("[")[0] in answer["error"]["message"]
    assert records == []


def test_the_documented_codes_are_the_ones_that_exist():
    root = Path(__file__).parent.parent.parent
    sources = [root / "core" / name for name in ("clock.py", "money.py")]
    sources += [root / "tracker" / f"{name}.py" for name in ("answer", "basket", "claims", "conversion", "customer", "edge")]
    sources += [root / "tracker" / f"{name}.py" for name in ("fields", "orders", "postback", "reported")]
    code = "".join(path.read_text("utf-8") for path in sources)
    used = set(re.findall(r'\b(?:BadInput|_?fault|_bad|error)\(\s*(?:\d+, )?"([a-z_]+)"', code)) | {"conflict", "rate_limited"}
    table = (root / "docs" / "tracking.md").read_text("utf-8").partition("\n## Errors\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == used


def test_both_figures_are_named_where_lines_and_total_differ(with_front: Run):
    _, answer, _ = post_once(with_front, "/v1/orders", ORDER | {"total": "53.00"})
    assert answer["error"]["message"] == "total is 53.00, but lines - discount + shipping + tax is 52.90"


def test_all_faults_of_a_body_come_at_once(with_front: Run):
    body = {"order_id": "", "currency": "EUR", "colour": 1, "lines": [{"net": 1}, {"net": "1.234"}], "customer": {"email": "x"}}
    _, answer, _ = post_once(with_front, "/v1/orders", body)

    assert [(fault["code"], fault["field"]) for fault in answer["errors"]] == [
        ("missing_field", "order_id"),
        ("malformed", "customer.email"),
        ("malformed", "lines[0].net"),
        ("too_many_decimals", "lines[1].net"),
        ("unknown_field", "colour"),
    ]
    assert answer["error"] == answer["errors"][0]


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("/v1/refunds", {"order_id": "o", "currency": "EUR"}, "missing_field", "refund_id"),
        ("/v1/refunds", REFUND | {"net": "0.00"}, "malformed", "net"),
        ("/v1/refunds", REFUND | {"net": "1", "lines": []}, "malformed", "net"),
        ("/v1/refunds", REFUND | {"lines": [{"line_id": "a"}]}, "missing_field", "lines[0].net"),
        ("/v1/refunds", REFUND | {"lines": [LINE, LINE]}, "malformed", "lines"),
        ("/v1/leads", {"name": "trial"}, "missing_field", "lead_id"),
        ("/v1/leads", {"lead_id": "l", "amount": "1.00"}, "unknown_field", "amount"),
    ],
)  # fmt: skip
def test_bad_refunds_and_leads_are_refused_by_name(with_front: Run, path: str, body: Any, code: str, field: str):
    status, answer, records = post_once(with_front, path, body)
    assert (status, answer["error"]["code"], answer["error"]["field"], records) == (400, code, field, [])


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic key-of-north", "Bearer "])
def test_without_a_known_key_nobody_gets_in(with_front: Run, authorization: str):
    status, answer, _ = post_once(with_front, "/v1/orders", SMALL, authorization=authorization)
    assert (status, answer["error"]["code"]) == (401, "bad_token")


@pytest.mark.parametrize(
    ("target", "method", "status", "code"),
    [
        ("/v1/orders", "GET", 405, "method_not_allowed"),
        ("/c/spring", "POST", 405, "method_not_allowed"),
        ("/sale.gif", "HEAD", 405, "method_not_allowed"),
        ("/v1/nothing", "GET", 404, "not_found"),
    ],
)
def test_what_is_not_there_or_not_so_says_so(with_front: Run, target: str, method: str, status: int, code: str):
    async def scenario(front: Any) -> Any:
        answer = await front.ask(target, method)
        return answer.status, msgspec.json.decode(answer.body)["error"]["code"]

    assert with_front(scenario) == (status, code)


def test_a_body_that_is_too_large_is_413(with_front: Run):
    status, answer, _ = post_once(with_front, "/v1/orders", b'{"order_id":"' + b"x" * 256 * 1024 + b'"}')
    assert (status, answer["error"]["code"], answer["error"]["message"]) == (413, "too_large", "the body is longer than 256 KB")


def test_a_body_cut_short_is_not_taken_for_a_whole_one(with_front: Run):
    status, answer, records = post_once(
        with_front, "/sale?order_id=1", b"amount=12", content_length="14", content_type="application/x-www-form-urlencoded"
    )
    assert (status, answer["error"]["message"], records) == (400, "the body ended before its announced length", [])


# --- once ------------------------------------------------------------------------------------------------------------


def test_an_equal_repeat_gets_the_same_bytes_whatever_its_order_and_spaces(with_front: Run, clock: FakeClock):
    spaced = b'{ "lines" : [ {"net":"10.0"} ], "currency":"eur",\n "order_id":"o-1", "total": "10" }'

    async def scenario(front: Any) -> Any:
        headers = {"authorization": "Bearer key-of-north"}
        first = await front.ask("/v1/orders", "POST", SMALL, **headers)
        clock.advance(24 * HOUR)
        again = await front.ask("/v1/orders", "POST", spaced, peer="198.51.100.7:1", **headers)
        return first, again, front.records()

    first, again, records = with_front(scenario)
    assert again == first
    assert len(records) == 1


@pytest.mark.parametrize(
    "change",
    [
        *({"lines": [{"net": "10.01"}]}, {"click_id": "x"}, {"test": True}, {"occurred_at": "2026-11-21T11:00:00Z"}),
        *({"lines": [{"net": "10.00"} | said]} for said in ({"brand": "Nord"}, {"kind": "gift_card"}, {"attributes": {"season": "ss"}})),
        {"lines": [{"unit_price": "12.00", "discount": "2.00"}]},
        {"lines": [{"net": "12.00"}], "discount": "2.00"},
    ],
)
def test_another_content_under_the_same_id_is_409_and_changes_nothing(with_front: Run, change: dict[str, Any]):
    async def scenario(front: Any) -> Any:
        first = await front.post("/v1/orders", SMALL)
        return first, await front.post("/v1/orders", SMALL | change), await front.post("/v1/orders", SMALL), front.records()

    first, (status, answer), again, records = with_front(scenario)
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert answer["error"]["message"].startswith("order 'o-1' of north was recorded before with another content")
    assert again == first
    assert len(records) == 1


OLD = [
    (SMALL, "227aff9a2258967bc2348ed899c05166a427ec39c731a53ddcb11599a7ad1f4c"),
    (
        SMALL | {"lines": [{"unit_price": "20.00", "discount": "5.00"}], "occurred_at": "2026-11-19T10:00:00Z", "consent": "granted"},
        "5bdf9f0ea4847f25dc6d45775d62ef96ab68015465c5fe9f26998fa388ef5254",
    ),
    (ORDER, "807a93184674776aac64246ba8f5d790f7e2b1abff36c624600692b17604df50"),
    (
        SMALL | {"lines": [{"net": "15.00", "seller": "north"}, {"net": "5.00", "seller": "south"}]},
        "ac8ef5894ba36520f446ca030704a6981ef7ee7dc5bfa0bebd758150cfaa5d6d",
    ),
]
"""Bodies, and what the version before brands, kinds and discounts made of their content."""


@pytest.mark.parametrize(("body", "body_hash"), OLD)
def test_an_order_that_an_earlier_version_recorded_is_still_known_as_the_same(body: dict[str, Any], body_hash: str):
    arrival = Arrival("north", b"k" * 32, event_id(NOON, 1), NOON, MINUTE)
    conversion = read_order(body, arrival)

    assert conversion.says(body_hash)
    assert conversion.content_hash != body_hash
    assert not read_order(body | {"order_id": "o-2"}, arrival).says(body_hash)


def test_a_receipt_of_an_earlier_version_is_repeated_and_no_other_content_passes(with_front: Run, catalogue_url: str):
    """Of these bodies the earlier version knew nothing but the net, 10.00: they were one order, and stay so under its receipts."""
    sold = SMALL | {"lines": [{"unit_price": "12.00", "discount": "2.00"}]}
    old = read_order(sold, Arrival("north", tenant_key(SECRET, "north"), event_id(NOON, 1), NOON, MINUTE))
    event = encode_event(msgspec.structs.replace(old.event, lines=(Line("1", 10_00),)))

    async def scenario(front: Any) -> Any:
        with closing(open_books(catalogue_url)) as books, books.writing() as connection:
            claim(connection, "north", "order", "o-1", Receipt(old.former_hash, old.event.event_id, event, recorded=True), NOON)
        bodies = [sold, SMALL, SMALL | {"lines": [{"net": "10.01"}]}]
        return [await front.post("/v1/orders", body) for body in bodies], front.records()

    (again, alike, other), records = with_front(scenario)
    assert (again[0], alike[0], other[0], records) == (200, 200, 409, [])
    assert again[1]["id"] == old.event.event_id
    assert again[1]["recorded"]["lines"] == [{"line_id": "1", "quantity": 1, "net": "10.00"}], "the bytes of before"


@given(lines=st.lists(st.fixed_dictionaries({"net": st.just("5.00")}, optional=SAID), min_size=1, max_size=3), repeat=st.booleans())
def test_orders_are_the_same_content_exactly_where_their_lines_say_the_same(lines: list[dict[str, Any]], repeat: bool):
    arrival = Arrival("north", b"k" * 32, event_id(NOON, 1), NOON, MINUTE)
    other = lines if repeat else [{"net": "5.00"} for _ in lines]
    first, second = (read_order(SMALL | {"lines": sent}, arrival) for sent in (lines, other))

    assert (first.content_hash == second.content_hash) == (cast(Order, first.event).lines == cast(Order, second.event).lines)


def test_ids_are_a_tenants_and_a_kinds_own(with_front: Run):
    async def scenario(front: Any) -> Any:
        yen = SMALL | {"currency": "JPY", "lines": [{"net": "1"}]}
        await front.post("/v1/orders", SMALL)
        await front.post("/v1/orders", yen, authorization="Bearer key-of-south")
        await front.post("/v1/leads", {"lead_id": "o-1"})
        for order_id, refund_id in (("a/b", "c"), ("a", "b/c"), ("x" * 128, "y" * 128)):
            await front.post("/v1/refunds", {"order_id": order_id, "refund_id": refund_id, "currency": "EUR"})
        return front.records()

    assert len(with_front(scenario)) == 6


def test_a_hundred_equal_requests_at_once_are_one_event_and_one_answer(with_front: Run):
    async def scenario(front: Any) -> Any:
        answers = await asyncio.gather(*(front.post("/v1/orders", ORDER) for _ in range(100)))
        health = msgspec.json.decode((await front.ask("/health")).body)
        return answers, front.records(), health["counters"]

    answers, records, counters = with_front(scenario)
    assert len(records) == 1
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0][0], counters["recorded"], counters["duplicates"]) == (200, 1, 99)


# --- never a false yes -----------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_conversions_until_there_is_room_again(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.full = True
        headers = {"authorization": "Bearer key-of-north"}
        refused = await front.ask("/v1/orders", "POST", SMALL, **headers)
        unhealthy = await front.ask("/health")
        files.full = False
        accepted = await front.ask("/v1/orders", "POST", SMALL, **headers)
        return refused, unhealthy, accepted, await front.ask("/health"), front.records()

    refused, unhealthy, accepted, healthy, records = with_front(scenario)
    assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "5")
    assert msgspec.json.decode(refused.body)["error"]["code"] == "unavailable"
    assert (unhealthy.status, accepted.status, healthy.status) == (503, 200, 200)
    assert len(records) == 1


def test_a_receipt_whose_event_never_reached_the_spool_is_recorded_by_the_repeat(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.sync_fails = True
        assert (await front.post("/v1/orders", SMALL))[0] == 503
        files.sync_fails = False
        first = await front.post("/v1/orders", SMALL)
        return first, await front.post("/v1/orders", SMALL), front.records()

    first, again, records = with_front(scenario)
    assert first[0] == 200
    assert again == first
    assert [record.event_id for record in records] == [first[1]["id"]]


def test_while_the_disk_is_full_clicks_go_on_and_are_counted(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.full = True
        answers = [await front.ask("/c/spring") for _ in range(3)]
        files.full = False
        await front.ask("/c/spring")
        return answers, msgspec.json.decode((await front.ask("/health")).body)["counters"], front.records()

    answers, counters, records = with_front(scenario)
    assert [answer.status for answer in answers] == [302] * 3
    assert (counters["received"], counters["recorded"], counters["unrecorded"]) == (4, 1, 3)
    assert len(records) == 1


def test_where_accounts_matter_more_than_visitors_clicks_are_refused_too(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.full = True
        return await front.ask("/c/spring")

    answer = with_front(scenario, overload="accountability")
    assert (answer.status, dict(answer.headers)["retry-after"]) == (503, "5")


def test_losses_are_remembered_by_tenant_and_hour_across_restarts(with_front: Run, files: Any, tmp_path: Path, clock: FakeClock):
    async def lose(front: Any) -> None:
        files.full = True
        await front.ask("/c/spring")
        await front.ask("/c/nowhere")
        files.full = False

    with_front(lose)
    clock.advance(HOUR)
    with_front(lose)
    written = msgspec.json.decode((tmp_path / "spool" / "t0" / "counters.json").read_bytes())

    assert written["unrecorded"] == [
        {"tenant_id": "", "hour": NOON, "events": 1},
        {"tenant_id": "north", "hour": NOON, "events": 1},
        {"tenant_id": "", "hour": NOON + HOUR, "events": 1},
        {"tenant_id": "north", "hour": NOON + HOUR, "events": 1},
    ]


def test_while_the_books_are_down_clicks_go_on_and_conversions_are_asked_to_wait(with_front: Run, catalogue_url: str):
    path = Path(catalogue_url.removeprefix("sqlite:///"))

    def destroy() -> None:
        path.rename(path.with_suffix(".away"))
        path.write_bytes(b"this is no database" * 100)

    async def scenario(front: Any) -> Any:
        assert (await front.post("/v1/orders", SMALL))[0] == 200
        front.books.close()
        destroy()
        return await front.post("/v1/orders", SMALL | {"order_id": "o-2"}), (await front.ask("/c/spring")).status

    (status, answer), click = with_front(scenario)
    assert (status, answer["error"]["code"], click) == (503, "unavailable", 302)


def test_with_books_that_were_never_readable_nobody_is_sent_astray(with_front: Run, tmp_path: Path):
    async def scenario(front: Any) -> Any:
        return [(await front.ask(target)).status for target in ("/c/spring", "/i.gif?l=spring", "/sale.gif?tenant=north", "/health")]

    assert with_front(scenario, books_url=f"sqlite:///{tmp_path}/missing/books.sqlite") == [503] * 4


# --- rate limit ------------------------------------------------------------------------------------------------------


def test_beyond_the_rate_of_a_minute_nothing_is_recorded_and_the_sender_hears_when_to_come_back(with_front: Callable[..., Any], clock: Any):
    async def scenario(front: Any) -> None:
        clock.advance(-clock() % 60_000 + 20_000)
        for number in (1, 2):
            assert (await front.post("/v1/orders", SMALL | {"order_id": f"r-{number}"}))[0] == 200
        answer = await front.ask("/v1/orders", "POST", SMALL | {"order_id": "r-3"}, authorization="Bearer key-of-north")
        assert (answer.status, dict(answer.headers)["retry-after"]) == (429, "40")
        assert b'"rate_limited"' in answer.body
        assert len(front.records()) == 2
        clock.advance(40_000)
        assert (await front.post("/v1/orders", SMALL | {"order_id": "r-3"}))[0] == 200
        assert len(front.records()) == 3

    with_front(scenario, conversions_a_minute=2)
