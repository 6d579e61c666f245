"""The questions to the events store, on a real one: duplicates, order, tenants, pages, history."""

import json

import pytest

from core.clock import SECOND, Instant
from core.credit import Credit
from core.events import Line, Order, Refund, RefundLine
from payouts.accrue import accrue_once
from payouts.facts import (
    DECISIONS_PLACED,
    NEWEST_DECISIONS,
    NOTHING_YET,
    ORDERS_BY_ID,
    ORDERS_PLACED,
    REFUNDS_OF_ORDERS,
    REFUNDS_PLACED,
    Change,
    fingerprint,
    read_changes,
    read_facts,
    read_placed,
    read_places,
)
from payouts.orders import Facts, Verdict
from payouts.setting import Contact
from store.commissions import of_orders
from store.events import EventsStore
from tests.people import NORTH, SOUTH

AT = 1_795_262_400_123
LINE = ("line_id", "net_minor", "sku", "name", "category", "quantity", "brand", "kind", "discount_minor")


def at(instant: Instant) -> str:
    return f"{instant // 1000}.{instant % 1000:03d}"


class Store:
    """Writes rows as the drain and attribution do, each insert under a token of its own."""

    def __init__(self, events: EventsStore) -> None:
        self.events, self.inserts = events, 0

    def insert(self, table: str, **row) -> None:
        self.inserts += 1
        self.events.insert_json(table, json.dumps(row).encode(), f"test-{self.inserts}")

    def order(self, order_id: str, *lines: Line, tenant_id: str = NORTH, event_id: str = "", when: Instant = AT, keys=(), **fields) -> None:
        lines = lines or (Line("1", 100_00),)
        columns = {f"lines.{name}": [getattr(line, name) for line in lines] for name in LINE}
        columns["lines.attributes"] = [dict(line.attributes) for line in lines]
        self.insert(
            "orders",
            tenant_id=tenant_id,
            order_id=order_id,
            event_id=event_id or f"event-{order_id}",
            currency="EUR",
            channel=fields.pop("channel", "web"),
            customer_keys=list(keys),
            occurred_at=at(when),
            received_at=at(when + 5),
            stored_at=at(when + 9),
            **columns,
            **fields,
        )

    def decision(self, order_id: str, revision: int = 1, *credits: Credit, tenant_id: str = NORTH, stored: Instant = AT, **fields) -> None:
        columns = {f"credits.{name}": [getattr(credit, name) for credit in credits] for name in Credit.__struct_fields__}
        times = {"ordered_at": at(fields.pop("when", AT)), "decided_at": at(stored), "stored_at": at(stored)}
        row = {"programme_id": "main", "policy_version": 3, "result": "credited", "inputs_hash": f"hash-{revision}"} | fields
        self.insert("decisions", tenant_id=tenant_id, order_id=order_id, revision=revision, trace="[]", **row, **columns, **times)

    def refund(
        self, order_id: str, refund_id: str, net_minor=None, *, tenant_id=NORTH, event_id="", stored: Instant = AT, lines=()
    ) -> None:
        self.insert(
            "refunds",
            tenant_id=tenant_id,
            order_id=order_id,
            refund_id=refund_id,
            event_id=event_id or f"event-{refund_id}",
            currency="EUR",
            net_minor=net_minor,
            occurred_at=at(AT + 1),
            received_at=at(AT + 2),
            stored_at=at(stored),
            **{"lines.line_id": [line.line_id for line in lines], "lines.net_minor": [line.net_minor for line in lines]},
        )


@pytest.fixture
def store(events: EventsStore) -> Store:
    return Store(events)


ANNA = Credit("anna", "t1", 1, 3)
BEN = Credit("ben", "t2", 2, 3)


def test_rows_of_before_and_blocks_that_an_earlier_drain_made_ready_say_nothing_of_items_and_customers(store):
    """The columns came later: what is left out of an insert, and what older parts do not have, is as long as the lines."""
    lines = {"lines.line_id": ["1", "2"], "lines.net_minor": [100, 5], "lines.sku": ["A", ""], "lines.quantity": [1, 2]}
    lines |= {"lines.name": ["", ""], "lines.category": ["", ""]}
    store.insert("orders", tenant_id=NORTH, order_id="A-1", event_id="e", currency="EUR", occurred_at=at(AT), received_at=at(AT), **lines)
    store.decision("A-1")

    [facts] = read_facts(store.events, NORTH, ["A-1"])

    assert facts.order.lines == (Line("1", 100, "A"), Line("2", 5, quantity=2))
    assert (facts.verdict.order_number, facts.verdict.first_ordered_at) == (0, 0)


def test_an_order_comes_with_lines_newest_decision_and_refunds(store):
    item = {"brand": "Nord", "kind": "gift_card", "discount_minor": 20_00, "attributes": (("margin", "b"), ("season", "ss26"))}
    line = Line("1", 100_00, "A-1", "Boot", "shoes", 2, **item)
    asked = {"channel": "app", "coupons": ["SAVE10"], "attributes": {"tier": "gold", "b": "2"}, "shipping_minor": 499, "tax_minor": 1900}
    store.order("A-1", line, Line("2", 5), keys=["em:1"], customer_status="new", store_id="web", test=True, country="AT", **asked)
    store.decision("A-1", 1)
    store.decision("A-1", 2, ANNA, BEN, order_number=3, first_ordered_at=at(AT - 1_001))
    store.refund("A-1", "r2", 500)
    store.refund("A-1", "r1", lines=[RefundLine("1", 300)])
    store.refund("A-1", "r3")

    [facts] = read_facts(store.events, NORTH, ["A-1"])

    assert facts.order == Order(
        "event-A-1",
        NORTH,
        "A-1",
        "EUR",
        AT,
        AT + 5,
        (line, Line("2", 5)),
        channel="app",
        store_id="web",
        customer_keys=("em:1",),
        customer_status="new",
        coupons=("SAVE10",),
        shipping_minor=499,
        tax_minor=1900,
        test=True,
        attributes=(("b", "2"), ("tier", "gold")),
    )
    assert facts.country == "AT"
    assert facts.verdict == Verdict(2, "main", 3, "credited", (ANNA, BEN), "hash-2", order_number=3, first_ordered_at=AT - 1_001)
    assert facts.refunds == (
        Refund("event-r1", NORTH, "A-1", "r1", "EUR", AT + 1, AT + 2, (RefundLine("1", 300),)),
        Refund("event-r2", NORTH, "A-1", "r2", "EUR", AT + 1, AT + 2, (), 500),
        Refund("event-r3", NORTH, "A-1", "r3", "EUR", AT + 1, AT + 2),
    )


def test_credited_touches_come_with_what_rate_cards_ask(store):
    def touch(touch_id: str, tenant_id: str = NORTH, when: Instant = AT - 60_000, **fields) -> None:
        times = {"occurred_at": at(when), "received_at": at(when), "stored_at": at(when)}
        store.insert("touches", tenant_id=tenant_id, touch_id=touch_id, kind="scan", visitor_id="v", **times, **fields)

    told = {"country": "DE", "device": "phone", "channel": "pos", "link_code": "spring"}
    touch("t1", **told, referrer="https://blog.example/", subs=["a", "b"])
    touch("t1", when=AT - 1, country="FR")
    touch("t2", tenant_id=SOUTH, country="IT")
    store.order("A-0", when=AT - 90_000)
    store.order("A-1")
    names = ["t1", "t2", "coupon:SAVE10", "binding:A-0", "binding:A-9", "clickless:anna"]
    store.decision("A-1", 1, *(Credit("anna", name, 1, 6) for name in names))

    [facts] = read_facts(store.events, NORTH, ["A-1"])

    assert facts.contacts == (
        Contact("binding:A-0", "binding", AT - 90_000),
        Contact("binding:A-9", "binding", AT),
        Contact("clickless:anna", "clickless", AT),
        Contact("coupon:SAVE10", "coupon", AT),
        Contact("t1", "scan", AT - 60_000, "DE", "phone", "pos", "spring", "https://blog.example/", ("a", "b")),
    )
    assert read_facts(store.events, NORTH, ["A-1"], contacts=False)[0].contacts == ()


def test_duplicates_are_one(store):
    for event_id in ("b", "a", "a"):
        store.order("A-1", Line("1", 1 if event_id == "a" else 2), event_id=event_id)
        store.refund("A-1", "r1", 1 if event_id == "a" else 2, event_id=event_id)
        store.decision("A-1", 1, ANNA)

    [facts] = read_facts(store.events, NORTH, ["A-1"])

    assert facts.order.lines == (Line("1", 1),)
    assert [refund.net_minor for refund in facts.refunds] == [1]


def test_an_order_is_left_out_until_order_and_decision_are_there(store):
    store.order("A-1")
    store.decision("A-2", 1, ANNA)
    store.refund("A-3", "r1", 5)
    store.order("A-4", tenant_id=SOUTH)
    store.decision("A-4", 1, ANNA, tenant_id=SOUTH)

    assert read_facts(store.events, NORTH, ["A-1", "A-2", "A-3", "A-4"]) == []


def test_ids_with_every_character_are_bound_not_pasted(store):
    order_id = "A'1\\\"),[\n\t{x:String} é"
    store.order(order_id)
    store.decision(order_id, 1, ANNA)

    assert [facts.order.order_id for facts in read_facts(store.events, NORTH, [order_id])] == [order_id]


def test_changes_come_by_time_tenant_and_order_page_by_page(store):
    store.decision("A-2", stored=AT)
    store.decision("A-1", stored=AT)
    store.decision("A-1", tenant_id="aaa", stored=AT)
    store.refund("A-3", "r1", stored=AT + 2)
    store.decision("A-0", stored=AT - 1)
    store.refund("A-2", "r2", stored=AT + 1)
    expected = [Change("aaa", "A-1", AT), Change(NORTH, "A-1", AT), Change(NORTH, "A-2", AT + 1), Change(NORTH, "A-3", AT + 2)]

    seen, last = [], NOTHING_YET
    while page := read_changes(store.events, AT, AT, last, 2):
        seen, last = seen + page, page[-1]

    assert [Change(one.tenant_id, one.order_id, one.changed_at) for one in seen] == expected
    assert len(read_changes(store.events, -5, -5, NOTHING_YET, 10)) == 5


def test_a_refund_that_became_visible_late_is_found_although_later_decisions_were_seen(store):
    store.decision("A-1", stored=AT + 60_000)
    store.refund("A-2", "late", stored=AT)

    (late, decided) = read_changes(store.events, AT + 50_000, AT - 10_000, NOTHING_YET, 10)
    assert (late.order_id, late.decided_at, late.refunded_at) == ("A-2", 0, AT)
    assert (decided.order_id, decided.decided_at, decided.refunded_at) == ("A-1", AT + 60_000, 0)


def test_a_change_is_equal_while_nothing_new_was_stored(store):
    def look() -> list[Change]:
        return read_changes(store.events, AT, AT, NOTHING_YET, 10)

    store.decision("A-1", 1, stored=AT + 5)
    store.refund("A-1", "r1", 5, stored=AT)
    first = look()
    store.refund("A-1", "r1", 5, stored=AT)
    repeated = look()
    store.refund("A-1", "r2", 5, stored=AT)
    late = look()
    store.decision("A-1", 2, stored=AT + 5)

    assert repeated == first
    assert len({first[0], late[0], look()[0]}) == 3


def test_a_decision_says_what_it_took_the_customer_for(store):
    store.order("A-1", customer_status="new")
    store.decision("A-1", 1, ANNA, customer_status="new", segments=["firms"])
    store.decision("A-1", 2, ANNA, customer_status="lapsed", segments=["firms", "north"])
    store.order("A-2")
    store.decision("A-2", 1, ANNA)

    verdicts = [facts.verdict for facts in read_facts(store.events, NORTH, ["A-1", "A-2"])]

    assert [(one.customer_status, one.segments) for one in verdicts] == [("lapsed", ("firms", "north")), ("", ())]


def test_the_fingerprint_follows_the_inputs():
    order = Order("e", NORTH, "A-1", "EUR", AT, AT, ())
    verdict = Verdict(1, "main", 1, "credited", (), "x")
    refunds = [Refund(event_id, NORTH, "A-1", event_id, "EUR", AT, AT) for event_id in "ab"]
    base = fingerprint(Facts(order, verdict, tuple(refunds)))

    assert fingerprint(Facts(order, verdict, tuple(reversed(refunds)))) == base
    assert fingerprint(Facts(order, verdict, tuple(refunds[:1]))) != base
    assert fingerprint(Facts(order, Verdict(2, "main", 1, "credited", (), "x"), tuple(refunds))) != base


def test_from_the_real_store_to_the_books(store, sqlite_world, clock):
    clock.at = AT + 60 * SECOND
    store.order("A-1", Line("1", 100_00, category="shoes"), keys=["em:1"])
    store.decision("A-1", 1, ANNA, BEN, stored=clock(), customer_status="new")
    store.refund("A-1", "r1", 30_00, stored=clock())

    report = accrue_once(store.events, sqlite_world.books, clock)
    again = accrue_once(store.events, sqlite_world.books, clock)

    with sqlite_world.books.reading() as connection:
        rows = of_orders(connection, NORTH, ["A-1"])["A-1"]
    assert [(row.kind, row.affiliate_id, row.rule_id, row.amount_minor) for row in rows] == [
        ("sale", "anna", "shoes-new", 3_33),
        ("refund", "anna", "shoes-new", -1_00),
        ("sale", "ben", "shoes-new", 6_67),
        ("refund", "ben", "shoes-new", -2_00),
    ]
    assert (report.booked, again.booked, again.rows) == (1, 0, 0)


# --- by time ---------------------------------------------------------------------------------------------------------


def test_orders_of_a_time_are_those_that_are_asked_for_by_id_in_their_order(any_events):
    store = Store(any_events)
    for place, order_id in enumerate(("C-1", "A-1", "B-1", "D-1")):
        when = AT + (place // 2) * SECOND
        store.order(order_id, Line("1", 100_00, "A-1"), when=when, country="AT")
        if order_id != "D-1":
            store.decision(order_id, 1, BEN, when=when)
            store.decision(order_id, 2, ANNA, BEN, when=when, customer_status="new", segments=["firms"])
    store.refund("C-1", "r1", 500)
    store.order("S-1", tenant_id=SOUTH)

    places = read_places(any_events, NORTH, AT, AT + 2 * SECOND)
    assert places == [(AT, "A-1"), (AT, "C-1"), (AT + SECOND, "B-1"), (AT + SECOND, "D-1")]
    assert read_places(any_events, NORTH, AT, AT + SECOND) == places[:2]
    by_id = {facts.order.order_id: facts for facts in read_facts(any_events, NORTH, ["A-1", "B-1", "C-1", "D-1"], contacts=False)}
    assert read_placed(any_events, NORTH, places) == [by_id["A-1"], by_id["C-1"], by_id["B-1"]]
    assert read_placed(any_events, NORTH, places[1:3]) == [by_id["C-1"], by_id["B-1"]]


@pytest.mark.parametrize(
    ("by_time", "by_id"), [(ORDERS_PLACED, ORDERS_BY_ID), (DECISIONS_PLACED, NEWEST_DECISIONS), (REFUNDS_PLACED, REFUNDS_OF_ORDERS)]
)
def test_questions_by_time_have_the_columns_of_those_by_id(by_time, by_id):
    columns = [query.sql[query.sql.index("SELECT") :].partition("\nWHERE ")[0] for query in (by_time, by_id)]

    assert columns[0] == columns[1]
