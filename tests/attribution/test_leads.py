"""Leads that earn, on real stores: decided as orders under names of their own, whatever came when; nothing where nobody pays for them."""

import pytest

from attribution.explain import explain
from attribution.leads import LeadRow, as_order, leads_between, lines_of_leads
from attribution.run import Memory, run_once
from attribution.touches import decode_orders
from core.catalogue import Policy, TouchWindow
from core.clock import DAY, HOUR
from core.credit import Override
from core.events import Event
from core.leads import name_of
from store.books import Books
from store.events import EventsStore
from store.overrides import put_override
from store.reruns import request_rerun
from tests.attribution.builders import (
    LONG_AGO,
    NOON,
    STORED,
    click,
    decided,
    decided_fully,
    forget_all,
    lead,
    open_shops,
    order,
    pays_for_leads,
    put_all,
    revisions,
    store,
)
from tests.fakes import FakeClock

SIGN_UP = " lead:L-1"


@pytest.fixture
def shops(sqlite_books: Books) -> Books:
    """North pays for leads."""
    open_shops(sqlite_books)
    put_all(sqlite_books, pays_for_leads())
    return sqlite_books


@pytest.fixture
def now() -> FakeClock:
    return FakeClock(STORED + HOUR)


# --- one lead --------------------------------------------------------------------------------------------------------


def test_a_lead_with_a_click_of_anna_is_annas(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [click("1", "anna", NOON - DAY, "phone"), lead("L-1", NOON, visitor_id="phone"), lead("L-2", NOON, visitor_id="laptop")])

    first = run_once(events, shops, now, memory=memory)
    second = run_once(events, shops, now, memory=memory)

    assert decided(events) == {SIGN_UP: ("credited", "anna"), " lead:L-2": ("no_touch", "")}
    assert (first.looked_at, first.changed, second.looked_at) == (2, 2, 0)


def test_a_lead_alone_in_its_second_is_news(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory, named = Memory(), click("1", "anna", NOON - DAY)
    store(events, [named, order("O-1")])
    run_once(events, shops, now, memory=memory)

    store(events, [lead("L-1", NOON, click_id=named.event_id)], at=STORED + DAY)
    run_once(events, shops, now, memory=memory)

    assert decided(events)[SIGN_UP] == ("credited", "anna")


def test_nobody_who_pays_for_none_has_leads_decided(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [click("1", "charlie", NOON, "phone", tenant_id="south"), lead("L-1", NOON, visitor_id="phone", tenant_id="south")])

    assert run_once(events, shops, now).looked_at == 0
    assert decided(events) == {}


def test_leads_from_before_the_first_card_that_pays_for_them_stay_undecided(
    events: EventsStore, sqlite_books: Books, now: FakeClock
) -> None:
    open_shops(sqlite_books)
    put_all(sqlite_books, pays_for_leads(since=NOON))
    memory = Memory()
    store(events, [lead("L-1", NOON - 1, visitor_id="phone"), lead("L-2", NOON, visitor_id="phone")])
    run_once(events, sqlite_books, now, memory=memory)

    store(events, [click("1", "anna", NOON - DAY, "phone"), lead("L-0", NOON - 1, visitor_id="phone")], at=STORED + DAY)
    run_once(events, sqlite_books, now, memory=memory)

    assert decided(events) == {" lead:L-2": ("credited", "anna")}


def test_a_card_that_begins_to_pay_for_leads_is_taken_up(events: EventsStore, sqlite_books: Books, now: FakeClock) -> None:
    open_shops(sqlite_books)
    memory = Memory()
    store(events, [click("1", "anna", NOON - DAY, "phone"), lead("L-1", NOON, visitor_id="phone")])
    run_once(events, sqlite_books, now, memory=memory)
    assert decided(events) == {}

    put_all(sqlite_books, pays_for_leads())
    run_once(events, sqlite_books, now, memory=memory)

    assert decided(events) == {SIGN_UP: ("credited", "anna")}


def test_of_several_events_under_one_id_the_first_received_is_the_lead(events: EventsStore, shops: Books, now: FakeClock) -> None:
    second = lead("L-1", NOON - HOUR, visitor_id="laptop", received_at=NOON + 1, event_id="01KAKT0009EVENT00000000000")
    store(events, [click("1", "anna", NOON - DAY, "laptop"), second, lead("L-1", NOON, visitor_id="phone")])

    run_once(events, shops, now)

    assert decided(events) == {SIGN_UP: ("no_touch", "")}


def test_a_lead_with_a_very_long_id_has_a_name_that_fits(events: EventsStore, shops: Books, now: FakeClock) -> None:
    long = "x" * 128
    store(events, [click("1", "anna", NOON - DAY, "phone"), lead(long, NOON, visitor_id="phone")])

    run_once(events, shops, now)

    ((name, what),) = decided(events).items()
    assert (name, what) == (name_of(long), ("credited", "anna"))
    assert len(name) <= 128
    (row,) = decode_orders(b"\n".join(lines_of_leads(events, "north", [name])))
    assert (row.order_id, row.occurred_at) == (name, NOON)


# --- what comes later ------------------------------------------------------------------------------------------------


def test_a_click_that_comes_late_decides_the_lead_again(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory, late = Memory(), click("late", "ben", NOON + DAY, "tablet")
    store(
        events,
        [lead("L-1", NOON, visitor_id="phone"), lead("L-2", NOON, click_id=late.event_id), lead("L-3", NOON - 3 * DAY, visitor_id="phone")],
    )
    run_once(events, shops, now, memory=memory)

    store(events, [click("1", "anna", NOON - DAY, "phone"), late], at=STORED + DAY)
    report = run_once(events, shops, now, memory=memory)

    assert decided(events)[SIGN_UP] == ("credited", "anna")
    assert revisions(events) == {SIGN_UP: 2, " lead:L-2": 2, " lead:L-3": 1}
    assert report.looked_at == 2, "the lead from before the click is not looked at"


def test_a_lead_that_names_a_click_alone_knows_its_visitors_other_touches(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory, named = Memory(), click("1", "anna", NOON - 2 * DAY, "phone")
    store(events, [named, lead("L-1", NOON, click_id=named.event_id)])
    run_once(events, shops, now, memory=memory)
    assert decided(events) == {SIGN_UP: ("credited", "anna")}

    store(events, [click("2", "ben", NOON - DAY, "phone")], at=STORED + DAY)
    run_once(events, shops, now, memory=memory)

    assert decided(events) == {SIGN_UP: ("credited", "ben")}


def test_two_keys_that_turn_out_to_be_one_person_decide_the_lead_again(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [click("1", "anna", NOON - DAY, "phone"), lead("L-1", NOON, customer_keys=("em:zoe",))])
    run_once(events, shops, now, memory=memory)
    assert decided(events) == {SIGN_UP: ("no_touch", "")}

    store(events, [order("O-1", NOON + HOUR, visitor_id="phone", customer_keys=("em:zoe",))], at=STORED + DAY)
    run_once(events, shops, now, memory=memory)

    assert decided(events) == {"O-1": ("credited", "anna"), SIGN_UP: ("credited", "anna")}


def test_an_earlier_order_that_comes_late_makes_the_leads_person_a_returning_customer(
    events: EventsStore, shops: Books, now: FakeClock
) -> None:
    memory = Memory()
    store(events, [lead("L-1", NOON, customer_keys=("em:zoe",))])
    run_once(events, shops, now, memory=memory)
    told = explain(events, "north", SIGN_UP)
    assert told is not None
    assert told.customer_status == "new"

    store(events, [order("O-1", NOON - DAY, customer_keys=("em:zoe",))], at=STORED + DAY)
    run_once(events, shops, now, memory=memory)

    told = explain(events, "north", SIGN_UP)
    assert told is not None
    assert told.customer_status == "returning"


def test_a_lead_makes_nobodys_order_a_returning_customers(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [lead("L-1", NOON - DAY, customer_keys=("em:zoe",)), order("O-1", customer_keys=("em:zoe",))])

    run_once(events, shops, now)

    told = explain(events, "north", "O-1")
    assert told is not None
    assert told.customer_status == "new"


def test_a_locked_lead_keeps_its_decision_unless_a_person_decides(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [lead("L-1", NOON, visitor_id="phone")])
    run_once(events, shops, now)
    now.advance(61 * DAY)

    store(events, [click("1", "anna", NOON - DAY, "phone")], at=STORED + DAY)
    run_once(events, shops, now)
    assert decided(events) == {SIGN_UP: ("no_touch", "")}

    said = Override(SIGN_UP, 1, "ben", "it was at the fair", "frank@north.example", now())
    with shops.writing() as connection:
        put_override(connection, "north", said)
    run_once(events, shops, now)
    assert decided(events) == {SIGN_UP: ("manual_override", "ben")}


def test_a_rerun_takes_the_leads_of_its_time(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [click("1", "anna", NOON - 40 * DAY, "phone"), lead("L-1", NOON, visitor_id="phone")])
    run_once(events, shops, now, memory=memory)
    now.advance(50 * DAY)
    put_all(shops, Policy("north", "main", 1, LONG_AGO, classes=(TouchWindow("click", 45 * 24),)))
    run_once(events, shops, now, memory=memory)
    assert decided(events) == {SIGN_UP: ("outside_window", "")}

    with shops.writing() as connection:
        request_rerun(connection, "north", NOON, NOON + 1, "a wider window", now())
    run_once(events, shops, now, memory=memory)

    assert decided(events) == {SIGN_UP: ("credited", "anna")}


def test_a_bond_of_an_order_earns_from_the_leads_behind_it(events: EventsStore, shops: Books, now: FakeClock) -> None:
    put_all(shops, Policy("north", "main", 1, LONG_AGO, classes=(TouchWindow("click", 24), TouchWindow("binding", 365 * 24))))
    memory = Memory()
    store(
        events, [order("O-1", NOON - 9 * DAY, visitor_id="phone", customer_keys=("em:zoe",)), lead("L-1", NOON, customer_keys=("em:zoe",))]
    )
    run_once(events, shops, now, memory=memory)
    assert decided(events)[SIGN_UP][0] == "no_touch"

    store(events, [click("1", "anna", NOON - 9 * DAY - HOUR, "phone")], at=STORED + DAY)
    run_once(events, shops, now, memory=memory)

    assert decided(events) == {"O-1": ("credited", "anna"), SIGN_UP: ("credited", "anna")}


# --- in any order ----------------------------------------------------------------------------------------------------


def test_whatever_comes_first_leads_are_decided_alike(events: EventsStore, shops: Books, now: FakeClock) -> None:
    named = click("1", "anna", NOON - DAY, "phone")
    parts: list[list[Event]] = [
        [named, order("O-1", NOON - 3 * HOUR, customer_keys=("em:zoe",))],
        [click("2", "ben", NOON - HOUR, "tablet"), lead("L-2", NOON - 2 * HOUR, visitor_id="tablet", customer_keys=("em:zoe",))],
        [lead("L-1", NOON, click_id=named.event_id, customer_keys=("em:zoe",)), lead("L-3", NOON + DAY, visitor_id="phone")],
    ]
    ends = []
    for sequence in (parts, parts[::-1]):
        forget_all(events, shops)
        memory = Memory()
        for place, part in enumerate(sequence):
            store(events, part, at=STORED + place * DAY)
            run_once(events, shops, now, memory=memory)
        ends.append(decided_fully(events))

    assert all(end == ends[0] for end in ends)
    assert {row[1]: row[2] for row in ends[0]} == dict.fromkeys(("O-1", SIGN_UP, " lead:L-2", " lead:L-3"), "credited")


def test_pages_of_leads_hold_each_once(events: EventsStore) -> None:
    store(events, [lead(f"L-{number}", NOON) for number in range(7)])
    store(events, [lead("L-3", NOON), lead("L-old", NOON - 50 * DAY)], at=STORED + HOUR)

    assert list(leads_between(events, "north", NOON - DAY, NOON, page=2)) == [f" lead:L-{number}" for number in range(7)]


def test_an_orders_form_of_a_lead_is_worth_nothing() -> None:
    row = as_order(LeadRow("L-1", "E", "v", "c", ("em:zoe",), NOON, NOON + 1, "web", "api", "DE"))

    assert (row.order_id, row.currency, row.total_minor, row.line_ids, row.test) == (SIGN_UP, "", 0, (), False)
