"""A marketplace's baskets: one request, an order for each merchant, every cent somebody's, and refunds that find their way."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Coalition
from core.clock import DAY, HOUR, format_instant
from core.events import Line, Order, Refund, RefundLine
from core.identity import coalition_key, customer_key, shared_key, tenant_key
from core.ids import Mint, event_id
from store.books import open_books
from store.catalogue import put
from store.receipts import find_receipt
from tests.fakes import NOON, FakeClock
from tests.tracker.conftest import KEY_MALL, KEY_SOUTH, MALL, PROGRAMMES, SECRET, TENANTS
from tracker.basket import split_order, split_refund
from tracker.conversion import Arrival, Refused
from tracker.links import LinkTable, build_table
from tracker.orders import read_order, read_refund

Run = Callable[..., Any]
TO_MALL = {"authorization": f"Bearer {KEY_MALL}"}
CLICK, VISITOR = event_id(NOON - HOUR, 7), event_id(NOON - HOUR, 8)
BASKET: dict[str, Any] = {
    "order_id": "b-1",
    "currency": "EUR",
    "click_id": CLICK,
    "visitor_id": VISITOR,
    "channel": "app",
    "store": "front-page",
    "customer": {"email": "ada@shop.example", "id": "77"},
    "consent": "granted",
    "region": "EU",
    "coupons": ["spring10"],
    "lines": [
        {"line_id": "a", "seller": "north", "net": "30.00"},
        {"line_id": "b", "seller": "south", "net": "20.00"},
        {"line_id": "c", "net": "10.00"},
        {"line_id": "d", "seller": "north", "net": "10.01"},
    ],
    "discount": "10.00",
    "shipping": "4.99",
    "tax": "0.02",
    "total": "65.02",
}
REFUND: dict[str, Any] = {"order_id": "b-1", "refund_id": "r-1", "currency": "EUR"}


def table_with(*coalitions: Coalition) -> LinkTable:
    return build_table(1, (*TENANTS, MALL[0]), PROGRAMMES, (), {}, SECRET.encode(), coalitions=coalitions or (MALL[2],))


# --- orders ----------------------------------------------------------------------------------------------------------


def test_a_basket_becomes_an_order_for_each_merchant_with_its_own_lines_alone(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        return await front.post("/v1/orders", BASKET, **TO_MALL), front.records()

    (status, answer), (own, north, south) = with_front(scenario)

    assert status == 200
    # 10.00 off 70.01 by nets: 4.2851, 2.8567, 1.4284, 1.4298, and the cents left go to d, c and b. Then shipping and tax by what is left
    assert [(order.tenant_id, order.order_id, order.basket_id, order.marketplace_id) for order in (own, north, south)] == [
        ("mall", "b-1", "b-1", ""),
        ("north", "mall/b-1", "b-1", "mall"),
        ("south", "mall/b-1", "b-1", "mall"),
    ]
    assert [order.lines for order in (own, north, south)] == [
        (Line("c", 8_57, discount_minor=1_43),),
        (Line("a", 25_72, discount_minor=4_28), Line("d", 8_58, discount_minor=1_43)),
        (Line("b", 17_14, discount_minor=2_86),),
    ]
    assert sum(order.total_minor for order in (own, north, south)) == 65_02
    assert [sum(getattr(order, name) for order in (own, north, south)) for name in ("shipping_minor", "tax_minor")] == [4_99, 2]
    assert [(order.channel, order.store_id) for order in (own, north)] == [("app", "front-page"), ("marketplace", "mall")]
    assert {(order.click_id, order.visitor_id, order.coupons, order.attributes) for order in (own, north, south)} == {
        (CLICK, VISITOR, ("SPRING10",), (("region", "EU"),))
    }
    assert len({order.event_id for order in (own, north, south)}) == 3
    assert [(part["tenant"], part["order_id"], part["id"]) for part in answer["recorded"]["parts"]] == [
        (order.tenant_id, order.order_id, order.event_id) for order in (own, north, south)
    ]
    assert answer["attribution"]["url"].endswith("/v1/orders/b-1/attribution")


def test_identifiers_are_hashed_for_each_merchant_and_shared_only_with_consent(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", BASKET, **TO_MALL)
        await front.post("/v1/orders", BASKET | {"order_id": "b-2", "consent": "unknown"}, **TO_MALL)
        return front.records()

    granted, unknown = (records := with_front(scenario))[:3], records[3:]
    shared = str(shared_key("email", "ada@shop.example", "fair", coalition_key(SECRET.encode(), "fair")))
    for orders, extra in ((granted, (shared,)), (unknown, ())):
        for order in orders:
            key = tenant_key(SECRET.encode(), order.tenant_id)
            own = tuple(str(customer_key(kind, value, key)) for kind, value in (("customer_id", "77"), ("email", "ada@shop.example")))  # type: ignore[arg-type]
            assert order.customer_keys == (*own, *extra)


def test_without_lines_of_its_own_the_marketplace_has_no_order(with_front: Run, mall: Coalition):
    body = {"order_id": "b-1", "currency": "EUR", "lines": [{"seller": "north", "net": "1.00"}]}

    async def scenario(front: Any) -> Any:
        return await front.post("/v1/orders", body, **TO_MALL), await front.post("/v1/orders", body, **TO_MALL), front.records()

    first, again, (order,) = with_front(scenario)
    assert (order.tenant_id, order.order_id, first[0], first[1]["attribution"]) == ("north", "mall/b-1", 200, None)
    assert first == again
    assert first[1]["recorded"]["parts"][0]["tenant"] == "north"


def test_an_order_that_names_no_other_seller_is_an_order_like_any(with_front: Run, mall: Coalition):
    body = {"order_id": "o", "currency": "EUR", "lines": [{"seller": "mall", "net": "1.00"}, {"net": "2.00"}]}

    async def scenario(front: Any) -> Any:
        return await front.post("/v1/orders", body, **TO_MALL), front.records()

    (status, answer), (order,) = with_front(scenario)
    assert (status, order.tenant_id, order.order_id, order.basket_id) == (200, "mall", "o", "")
    assert "parts" not in answer["recorded"]


@pytest.mark.parametrize(
    ("sender", "seller", "days_ago"),
    [
        (KEY_MALL, "west", 0),  # no tenant
        (KEY_MALL, "east ", 0),
        (KEY_MALL, "south", 2),  # a member, but not then
        (KEY_MALL, "south", 80),
        (KEY_MALL, "north", 11),
        ("key-of-north", "south", 0),  # no marketplace
        (KEY_SOUTH, "mall", 0),
    ],
)
def test_a_line_of_whom_the_sender_may_not_sell_for_is_refused_by_name(
    with_front: Run, mall: Coalition, sender: str, seller: str, days_ago: int
):
    lines = [{"net": "1"}, {"seller": seller, "net": "1"}]
    body = {"order_id": "o", "currency": "JPY", "lines": lines, "occurred_at": format_instant(NOON - days_ago * DAY)}

    async def scenario(front: Any) -> Any:
        return await front.post("/v1/orders", body, authorization=f"Bearer {sender}"), front.records()

    (status, answer), records = with_front(scenario)
    assert (status, answer["error"]["code"], answer["error"]["field"], records) == (422, "unknown_seller", "lines[1].seller", [])


def test_whether_a_tenant_exists_is_not_told(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        found = []
        for seller in ("south", "zorro"):
            lines = [{"seller": seller, "net": "1.00"}]
            body = {"order_id": "o", "currency": "EUR", "lines": lines, "occurred_at": format_instant(NOON - 2 * DAY)}
            found.append((await front.post("/v1/orders", body, **TO_MALL))[1]["error"]["message"].replace(seller, "X"))
        return found

    first, second = with_front(scenario)
    assert first == second


def test_a_divided_orders_id_leaves_room_for_the_marketplaces(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        return [await front.post("/v1/orders", BASKET | {"order_id": "x" * length}, **TO_MALL) for length in (123, 124)], front.records()

    (fits, too_long), records = with_front(scenario)
    assert (fits[0], too_long[0], too_long[1]["error"]["field"], len(records)) == (200, 400, "order_id", 3)


amounts = st.integers(0, 10**9)


@given(st.lists(st.tuples(amounts, st.sampled_from(["", "north", "south"])), min_size=1, max_size=12), amounts, amounts, amounts)
def test_of_every_basket_each_cent_is_somebodys(lines: list[tuple[int, str]], shipping: int, tax: int, discount: int):
    def text(minor: int) -> str:
        return f"{minor // 100}.{minor % 100:02d}"

    total = sum(net for net, _ in lines)
    said = [{"net": text(net), **({"seller": seller} if seller else {})} for net, seller in lines]
    extras = {"shipping": text(shipping), "tax": text(tax), "discount": text(discount % (total + 1))}
    whole = read_order({"order_id": "b", "currency": "EUR", "lines": said} | extras, Arrival("mall", b"k", event_id(NOON, 1), NOON, 0))
    if not whole.sellers:
        return
    orders = [part.event for part in split_order(whole, table_with(), Mint()).parts]

    assert isinstance(whole.event, Order)
    for name in ("shipping_minor", "tax_minor", "total_minor"):
        assert sum(getattr(order, name) for order in orders) == getattr(whole.event, name)
    assert sorted(line.line_id for order in orders for line in order.lines) == sorted(line.line_id for line in whole.event.lines)
    for order in orders:
        assert order.total_minor == sum(line.net_minor for line in order.lines) + order.shipping_minor + order.tax_minor
        assert all(lines[int(line.line_id) - 1][1] == ("" if order.tenant_id == "mall" else order.tenant_id) for line in order.lines)


# --- once ------------------------------------------------------------------------------------------------------------


def test_a_repeat_is_the_same_basket_whoever_may_sell_there_by_now(with_front: Run, mall: Coalition, clock: FakeClock, catalogue_url: str):
    async def scenario(front: Any) -> Any:
        return await front.post("/v1/orders", BASKET, **TO_MALL), front.records()

    first, _ = with_front(scenario)
    books = open_books(catalogue_url)
    with books.writing() as connection:
        put(connection, msgspec.structs.replace(mall, members=mall.members[:1]), "test", 3)
    books.close()
    clock.advance(30 * DAY)
    again, records = with_front(scenario)

    assert again == first
    assert len(records) == 3
    assert with_front(lambda front: front.post("/v1/orders", BASKET | {"order_id": "b-2"}, **TO_MALL))[0] == 422


@pytest.mark.parametrize(
    "change", [{"shipping": "4.98", "total": "65.01"}, {"lines": [{**BASKET["lines"][0], "seller": "south"}, *BASKET["lines"][1:]]}]
)
def test_another_basket_under_the_same_id_is_a_conflict(with_front: Run, mall: Coalition, change: dict[str, Any]):
    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", BASKET, **TO_MALL)
        return await front.post("/v1/orders", BASKET | change, **TO_MALL), front.records()

    (status, answer), records = with_front(scenario)
    assert (status, answer["error"]["code"], len(records)) == (409, "conflict", 3)


def test_what_a_merchant_sent_itself_under_a_parts_id_is_not_overwritten_and_nothing_else_is_recorded(with_front: Run, mall: Coalition):
    own = {"order_id": "mall/b-1", "currency": "JPY", "lines": [{"net": "5"}]}

    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", own, authorization=f"Bearer {KEY_SOUTH}")
        basket = await front.post("/v1/orders", BASKET, **TO_MALL)
        again = await front.post("/v1/orders", BASKET, **TO_MALL)
        alone = await front.post("/v1/orders", BASKET | {"lines": [{"net": "65.01"}], "discount": "5.00"}, **TO_MALL)
        return basket, again, alone, front.records()

    basket, again, alone, records = with_front(scenario)
    assert (basket[0], again[0], alone[0], len(records)) == (409, 409, 200, 2)  # the basket's own id was left free


def test_a_part_that_is_there_already_as_it_would_be_is_a_conflict_too(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", BASKET, **TO_MALL)
        answer = await front.post(
            "/v1/orders", {"order_id": "mall/b-1", "currency": "JPY", "lines": [{"net": "5"}]}, authorization=f"Bearer {KEY_SOUTH}"
        )
        return answer, front.records()

    (status, _), records = with_front(scenario)
    assert (status, len(records)) == (409, 3)


def test_a_basket_that_was_cut_off_between_its_parts_is_completed_by_its_repeat_with_the_same_events(
    with_front: Run, mall: Coalition, files: Any
):
    async def scenario(front: Any) -> Any:
        files.sync_fails = True
        refused = await front.post("/v1/orders", BASKET, **TO_MALL)
        files.sync_fails = False
        first = await front.post("/v1/orders", BASKET, **TO_MALL)
        again = await front.post("/v1/orders", BASKET, **TO_MALL)
        return refused, first, again, front.records()

    refused, first, again, records = with_front(scenario)
    assert (refused[0], first[0]) == (503, 200)
    assert again == first
    assert [record.event_id for record in records] == [part["id"] for part in first[1]["recorded"]["parts"]]


def test_a_tracker_that_died_with_half_a_basket_leaves_the_rest_to_the_repeat(
    with_front: Run, mall: Coalition, files: Any, clock: FakeClock
):
    """The receipts are there, the spool has nothing or only some of the parts: the repeat writes all of them, byte for byte."""

    async def die(front: Any) -> Any:
        files.full = True
        assert (await front.post("/v1/orders", BASKET, **TO_MALL))[0] == 503
        files.full = False

    async def repeat(front: Any) -> Any:
        return await front.post("/v1/orders", BASKET, **TO_MALL), front.records()

    with_front(die)
    clock.advance(HOUR)
    (status, answer), records = with_front(repeat)
    assert (status, [record.received_at for record in records]) == (200, [NOON] * 3)
    assert [record.event_id for record in records] == [part["id"] for part in answer["recorded"]["parts"]]


def test_the_marketplaces_receipt_holds_nothing_that_another_merchant_knows_of_its_customer(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", BASKET, **TO_MALL)
        with front.books.reading() as connection:
            return find_receipt(connection, "mall", "order", "b-1"), find_receipt(connection, "north", "order", "mall/b-1"), front.records()

    whole, part, (own, north, south) = with_front(scenario)
    assert north.customer_keys[0].encode() in part.event
    assert not any(key.encode() in whole.event for key in {*north.customer_keys, *south.customer_keys} - {*own.customer_keys})
    assert (whole.recorded, part.recorded) == (True, True)


# --- refunds ---------------------------------------------------------------------------------------------------------


def refunded(with_front: Run, *bodies: dict[str, Any], order: dict[str, Any] | None = BASKET) -> tuple[list[Any], list[Refund]]:
    async def scenario(front: Any) -> Any:
        if order:
            assert (await front.post("/v1/orders", order, **TO_MALL))[0] == 200
        answers = [await front.post("/v1/refunds", body, **TO_MALL) for body in bodies]
        return answers, [event for event in front.records() if isinstance(event, Refund)]

    return with_front(scenario)


def test_a_refund_by_line_goes_to_whoever_sold_it(with_front: Run, mall: Coalition):
    lines = [{"line_id": "d", "net": "1.00"}, {"line_id": "c", "net": "2.00"}, {"line_id": "a", "net": "3.00", "seller": "north"}]
    body = REFUND | {"lines": lines, "reason": "too small"}
    (first, again), (north, own) = refunded(with_front, body, body)

    assert (first[0], again) == (200, first)
    assert (north.tenant_id, north.order_id, north.refund_id, north.lines) == (
        "north", "mall/b-1", "r-1", (RefundLine("d", 1_00), RefundLine("a", 3_00)),
    )  # fmt: skip
    assert (own.tenant_id, own.order_id, own.lines, own.reason) == ("mall", "b-1", (RefundLine("c", 2_00),), "too small")
    assert {part["tenant"] for part in first[1]["recorded"]["parts"]} == {"north", "mall"}


def test_a_refund_of_everything_takes_back_every_part(with_front: Run, mall: Coalition):
    _, refunds = refunded(with_front, REFUND)
    assert [(refund.tenant_id, refund.order_id, refund.lines, refund.net_minor) for refund in refunds] == [
        ("mall", "b-1", (), None),
        ("north", "mall/b-1", (), None),
        ("south", "mall/b-1", (), None),
    ]


def test_a_refund_takes_back_every_part_though_the_sender_is_a_marketplace_no_more(
    with_front: Run, mall: Coalition, clock: FakeClock, catalogue_url: str
):
    refunded(with_front)
    books = open_books(catalogue_url)
    with books.writing() as connection:
        put(connection, msgspec.structs.replace(mall, marketplace_id=""), "test", 3)
    books.close()
    clock.advance(DAY)
    _, refunds = refunded(with_front, REFUND, order=None)

    assert [(refund.tenant_id, refund.order_id) for refund in refunds] == [("mall", "b-1"), ("north", "mall/b-1"), ("south", "mall/b-1")]


def test_an_amount_over_the_order_is_taken_back_by_the_parts_nets_to_the_cent(with_front: Run, mall: Coalition):
    _, refunds = refunded(with_front, REFUND | {"net": "10.00"})
    # nets 8.57, 34.30, 17.14 of 60.01: 1.4281, 5.7157, 2.8562, and the cents left go to the first and the last
    assert [(refund.tenant_id, refund.net_minor) for refund in refunds] == [("mall", 1_43), ("north", 5_71), ("south", 2_86)]


@pytest.mark.parametrize(
    ("lines", "code", "field"),
    [
        ([{"line_id": "z", "net": "1.00"}], "unknown_line", "lines[0].line_id"),
        ([{"line_id": "a", "net": "1.00"}, {"line_id": "b", "net": "1.00", "seller": "north"}], "unknown_seller", "lines[1].seller"),
    ],
)
def test_a_refund_that_does_not_fit_its_basket_is_refused_by_name(with_front: Run, mall: Coalition, lines: Any, code: str, field: str):
    ((status, answer),), refunds = refunded(with_front, REFUND | {"lines": lines})
    assert (status, answer["error"]["code"], answer["error"]["field"], refunds) == (422, code, field, [])


def test_before_its_basket_a_refund_names_the_sellers_of_its_lines(with_front: Run, mall: Coalition):
    lines = [{"line_id": "a", "net": "1.00", "seller": "north"}, {"line_id": "c", "net": "2.00", "seller": "mall"}]
    (answer,), refunds = refunded(with_front, REFUND | {"lines": lines}, order=None)

    assert answer[0] == 200
    assert [(refund.tenant_id, refund.order_id) for refund in refunds] == [("north", "mall/b-1"), ("mall", "b-1")]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "unknown_order"),
        ({"net": "1.00"}, "unknown_order"),
        ({"lines": [{"line_id": "a", "net": "1.00"}]}, "unknown_order"),
        ({"lines": [{"line_id": "a", "net": "1.00", "seller": "mall"}, {"line_id": "b", "net": "1.00"}]}, "unknown_order"),
        ({"lines": [{"line_id": "a", "net": "1.00", "seller": "west"}]}, "unknown_seller"),
    ],
)
def test_a_marketplaces_refund_of_nobody_knows_what_waits_for_its_order(with_front: Run, mall: Coalition, said: dict[str, Any], code: str):
    ((status, answer),), refunds = refunded(with_front, REFUND | said, order=None)
    assert (status, answer["error"]["code"], refunds) == (422, code, [])
    if code == "unknown_order":
        assert "name the seller of each line (mall for your own), or send it after the order" in answer["error"]["message"]


def test_a_refund_of_the_marketplaces_own_order_is_a_refund_like_any(with_front: Run, mall: Coalition):
    plain = {"order_id": "b-1", "currency": "EUR", "lines": [{"line_id": "a", "net": "5.00"}]}
    bodies = [REFUND, REFUND | {"refund_id": "r-2", "lines": [{"line_id": "a", "net": "1.00", "seller": "mall"}]}]
    foreign = REFUND | {"refund_id": "r-3", "lines": [{"line_id": "a", "net": "1.00", "seller": "north"}]}
    answers, refunds = refunded(with_front, *bodies, foreign, order=plain)

    assert [answer[0] for answer in answers] == [200, 200, 422]
    assert [(refund.tenant_id, refund.order_id) for refund in refunds] == [("mall", "b-1")] * 2


def test_a_merchant_that_is_no_marketplace_names_no_sellers_and_refunds_before_its_orders(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        plain = await front.post("/v1/refunds", REFUND)
        named = await front.post(
            "/v1/refunds", REFUND | {"refund_id": "r-2", "lines": [{"line_id": "a", "net": "1.00", "seller": "south"}]}
        )
        return plain[0], named, front.records()

    plain, (status, answer), records = with_front(scenario)
    assert (plain, status, answer["error"]["code"], len(records)) == (200, 422, "unknown_seller", 1)


@given(
    st.lists(st.sampled_from(["", "north", "south"]), min_size=1, max_size=8),
    st.integers(1, 10**6),
    st.lists(amounts, min_size=8, max_size=8),
)
def test_of_every_amount_taken_back_each_cent_is_somebodys(sellers: list[str], net: int, nets: list[int]):
    lines = [
        {"net": f"{one // 100}.{one % 100:02d}", **({"seller": seller} if seller else {})}
        for one, seller in zip(nets, sellers, strict=False)
    ]
    arrival = Arrival("mall", b"k", event_id(NOON, 1), NOON, 0)
    whole = read_order({"order_id": "b", "currency": "EUR", "lines": lines}, arrival)
    if not whole.sellers:
        return
    table = table_with()
    orders = [part.event for part in split_order(whole, table, Mint()).parts]
    body = {"order_id": "b", "refund_id": "r", "currency": "EUR", "net": f"{net // 100}.{net % 100:02d}"}
    refunds = [part.event for part in split_refund(read_refund(body, arrival), orders, table, Mint()).parts]

    assert sum(refund.net_minor or 0 for refund in refunds if isinstance(refund, Refund)) == net


def test_a_basket_is_not_divided_among_merchants_of_a_coalition_that_another_runs():
    body = {"order_id": "b", "currency": "EUR", "lines": [{"seller": "south", "net": "1.00"}]}
    whole = read_order(body, Arrival("north", b"k", event_id(NOON, 1), NOON, 0))
    with pytest.raises(Refused, match=r"lines\[0\]\.seller 'south' is no merchant that north may pass on orders for"):
        split_order(whole, table_with(), Mint())
