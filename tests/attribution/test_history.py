"""What a person had ordered before: new, returning and lapsed customers, and those whom an earlier order bound. On real stores."""

import itertools
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from attribution.batch import Batch, Past, decisions_of
from attribution.candidates import Company
from attribution.history import ByKeys, InTime, Told, bond_of_credits, ids_of
from attribution.identity import RULES, IdentityRules, Person
from attribution.people import People
from attribution.policy import Terms
from attribution.run import Memory, decide_range, run_once
from attribution.touches import OrderRow
from core.catalogue import Policy, Tenant, TouchWindow
from core.clock import DAY, HOUR
from core.credit import Credit
from core.events import Event, Order, Refund
from store.books import Books
from store.events import EventsStore, Query
from store.schema import cursors
from tests.attribution.builders import NOON, STORED, click, decided, forget_all, lead, line_of, open_shops, order, put_all, revisions, store
from tests.attribution.test_bulk import terms_of
from tests.fakes import FakeClock

STATUSES = Query(
    "statuses",
    "SELECT order_id, customer_status FROM decisions ORDER BY order_id, revision DESC LIMIT 1 BY order_id",
)
ZOE = {"customer_keys": ("em:zoe",)}
BOUND = Policy("north", "main", 1, 0, classes=(TouchWindow("click_id", 720), TouchWindow("binding", 24 * 365), TouchWindow("click", 720)))


@pytest.fixture
def shops(sqlite_books: Books) -> Books:
    open_shops(sqlite_books)
    return sqlite_books


@pytest.fixture
def now() -> FakeClock:
    return FakeClock(STORED + HOUR)


def statuses(events: EventsStore) -> dict[str, str]:
    return dict(events.select(STATUSES))


# --- status ----------------------------------------------------------------------------------------------------------


def test_a_customer_is_new_then_returning_then_lapsed(events: EventsStore, shops: Books, now: FakeClock) -> None:
    put_all(shops, Tenant("north", "North", "EUR", lapsed_after_days=30))
    placed = {"O-1": -50, "O-2": -45, "O-3": -10, "O-4": -9}
    store(events, [order(name, NOON + days * DAY, **ZOE) for name, days in placed.items()])
    store(
        events,
        [order("O-5", visitor_id="phone"), order("O-6", customer_status="new", **ZOE), order("O-7", NOON - 51 * DAY, test=True, **ZOE)],
    )

    run_once(events, shops, now)

    expected = {"O-1": "new", "O-2": "returning", "O-3": "lapsed", "O-4": "returning", "O-5": "", "O-6": "new", "O-7": "new"}
    assert statuses(events) == expected


def test_the_orders_of_a_person_past_the_limit_are_not_followed(events: EventsStore) -> None:
    orders = [order("O-1", NOON - DAY, **ZOE), order("O-2", **ZOE)]
    store(events, [*orders, *(lead(f"L-{number}", NOON - DAY, customer_keys=("em:zoe", f"loy:{number}")) for number in range(4))])
    earlier: dict[bool, list[dict[str, Past]]] = {}
    for is_cut, rules in ((False, RULES), (True, IdentityRules(largest=3))):
        known = People(events, "north", rules)
        persons = known.persons_of(orders)
        assert persons["O-2"].cut == is_cut
        earlier[is_cut] = [
            ByKeys(events, known).past_of(as_rows(orders), persons),
            InTime().past_of(as_rows(orders), ids_of(persons)),
        ]

    assert earlier == {False: [{"O-2": Past(1, NOON - DAY, NOON - DAY)}] * 2, True: [{}, {}]}


def as_rows(orders: list[Order]) -> Sequence[OrderRow]:
    return cast("Sequence[OrderRow]", orders)


def test_an_order_that_arrives_late_makes_the_next_one_a_returning_customers(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [order("O-2", **ZOE)])
    run_once(events, shops, now, memory=memory)
    assert statuses(events) == {"O-2": "new"}

    store(events, [order("O-1", NOON - DAY, **ZOE)], at=STORED + HOUR)
    run_once(events, shops, now, memory=memory)

    assert statuses(events) == {"O-1": "new", "O-2": "returning"}


def test_a_late_sign_up_makes_two_strangers_one_customer(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [order("O-1", NOON - DAY, **ZOE), order("O-2", customer_keys=("loy:7",))])
    run_once(events, shops, now, memory=memory)

    store(events, [lead("L-1", NOON, customer_keys=("em:zoe", "loy:7"))], at=STORED + HOUR)
    run_once(events, shops, now, memory=memory)

    assert statuses(events) == {"O-1": "new", "O-2": "returning"}


# --- the n-th order --------------------------------------------------------------------------------------------------

NUMBERS = Query(
    "numbers",
    "SELECT order_id, order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ms FROM decisions "
    "ORDER BY order_id, revision DESC LIMIT 1 BY order_id",
)
LOY = {"customer_keys": ("loy:7",)}
UNKNOWN = (0, 0)


def numbers(events: EventsStore) -> dict[str, tuple[int, int]]:
    """The order's number, and how many days before noon the customer's first was."""
    return {name: (number, (int(first) - NOON) // DAY if number else int(first)) for name, number, first in events.select(NUMBERS)}


def test_orders_of_a_customer_are_numbered_and_remember_the_first(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(
        events,
        [
            *(order(name, NOON + days * DAY, **ZOE) for name, days in (("O-1", -40), ("O-2", -30), ("O-3", -29))),
            order("O-T", NOON - 35 * DAY, test=True, **ZOE),  # counts for nobody, and is told what it would have been
            Refund("r", "north", "O-1", "R-1", "EUR", NOON - 39 * DAY, NOON - 39 * DAY),  # taken back whole, and still the first
            order("O-4", NOON - 20 * DAY, customer_status="new", **ZOE),
            order("P-1", visitor_id="phone"),  # nobody's
            order("P-2", NOON + HOUR, visitor_id="phone"),  # of somebody who was here before
            order("Q-1", customer_status="returning", **LOY),  # the shop knows of orders that are not on record
            order("Q-2", NOON + HOUR, customer_status="lapsed", **LOY),
            order("R-1", customer_status="new", customer_keys=("em:rea",)),
        ],
    )

    run_once(events, shops, now)

    zoes = {"O-1": (1, -40), "O-T": (2, -40), "O-2": (2, -40), "O-3": (3, -40), "O-4": (4, -40)}
    assert numbers(events) == zoes | {"P-1": UNKNOWN, "P-2": (2, 0), "Q-1": UNKNOWN, "Q-2": (2, 0), "R-1": (1, 0)}


@pytest.mark.parametrize(("is_cut", "number"), [(False, 1), (True, 0)])
def test_the_orders_of_a_person_past_the_limit_have_no_number(is_cut: bool, number: int) -> None:
    batch = Batch(orders=line_of(order("O-1", **ZOE)) + b"\n", company={"O-1": Company((), (), is_cut)})

    (found,) = decisions_of(batch, Terms("north"), traces=False)

    assert (found.order_number, found.first_ordered_at) == (number, NOON * number)


def test_a_late_order_counts_for_all_later_ones_that_are_not_locked(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    placed = [order("O-0", NOON - 70 * DAY, **ZOE), *(order(f"O-{days}", NOON - days * DAY, **ZOE) for days in (9, 8, 7))]
    store(events, [*placed, order("X", NOON - 3 * DAY, **LOY)])
    run_once(events, shops, now, memory=memory)
    before = revisions(events)
    assert numbers(events) == {"O-0": (1, -70), "O-9": (2, -70), "O-8": (3, -70), "O-7": (4, -70), "X": (1, -3)}

    store(events, [order("O-late", NOON - 80 * DAY, **ZOE), order("O-85", NOON - 8 * DAY - HOUR, **ZOE)], at=STORED + HOUR)
    run_once(events, shops, now, memory=memory)

    late = {"O-late": (1, -80), "O-9": (3, -80), "O-85": (4, -80), "O-8": (5, -80), "O-7": (6, -80)}
    assert numbers(events) == late | {"O-0": (1, -70), "X": (1, -3)}, "O-0 is past its lock date"
    changed = {name for name, revision in revisions(events).items() if revision != before.get(name, 1)}
    assert changed == {"O-9", "O-8", "O-7"}


def test_a_late_sign_up_counts_the_orders_of_two_strangers_as_one_customers(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [order("O-1", NOON - 3 * DAY, **ZOE), order("O-2", NOON - 2 * DAY, **LOY), order("O-3", NOON - DAY, **ZOE)])
    run_once(events, shops, now, memory=memory)
    assert numbers(events) == {"O-1": (1, -3), "O-2": (1, -2), "O-3": (2, -3)}

    store(events, [lead("L-1", NOON, customer_keys=("em:zoe", "loy:7"))], at=STORED + HOUR)
    run_once(events, shops, now, memory=memory)

    assert numbers(events) == {"O-1": (1, -3), "O-2": (2, -3), "O-3": (3, -3)}


def test_a_decision_of_before_is_numbered_when_it_is_taken_again(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order("O-1", NOON - DAY, **ZOE), order("P-1", visitor_id="phone")])
    run_once(events, shops, now)
    events.command("ALTER TABLE decisions UPDATE order_number = 0, first_ordered_at = 0 WHERE 1 SETTINGS mutations_sync = 2")
    with shops.writing() as connection:
        connection.execute(delete(cursors))

    assert run_once(events, shops, now).changed == 1
    assert (numbers(events), revisions(events)) == ({"O-1": (1, -1), "P-1": UNKNOWN}, {"O-1": 2, "P-1": 1})


def test_an_event_that_is_stored_twice_is_one_order_however_many_are_decided(events: EventsStore, shops: Books) -> None:
    placed = [order(f"O-{days}", NOON - days * DAY, **ZOE) for days in (3, 2, 1)]
    for stored in (STORED, STORED + HOUR):
        store(events, placed, at=stored)

    for after in ("", "O-1"):
        (found,) = decide_range(events, shops, "north", 0, NOON, terms_of(shops), after=after)
        assert {one.order_id: one.order_number for one in found} == dict([("O-1", 3), ("O-2", 2), ("O-3", 1)][bool(after) :])
    forget_all(events, shops)


persons_ = st.sampled_from(["zoe", "joe", ""])


@given(st.lists(st.tuples(persons_, st.integers(0, 4), st.booleans()), max_size=12), st.data())
def test_however_orders_are_asked_for_their_past_is_what_was_placed_before(drawn: list[tuple[str, int, bool]], data: st.DataObject) -> None:
    """A definition by counting; one by one, all in time, and all by id say the same."""
    placed = [order(f"O-{number}", NOON + hour * HOUR, test=test) for number, (_, hour, test) in enumerate(drawn)]
    ids = {one.order_id: person for one, (person, _, _) in zip(placed, drawn, strict=True)}
    expected = {}
    for one in placed:
        mine = [(o.occurred_at, o.event_id) for o in placed if ids[o.order_id] == ids[one.order_id] and not o.test]
        earlier = sorted(moment for moment in mine if moment < (one.occurred_at, one.event_id))
        if earlier and ids[one.order_id]:
            expected[one.order_id] = Past(len(earlier), earlier[0][0], earlier[-1][0])

    in_time, told = InTime(), {}
    rows = sorted(placed, key=lambda one: (one.occurred_at, one.event_id))
    cut = data.draw(st.integers(0, len(rows)))
    for part in (rows[:cut], rows[cut:]):
        told |= in_time.past_of(as_rows(part), ids)
    by_keys = ByKeys(cast(EventsStore, None), cast(People, None))
    by_keys._known = {
        name: sorted((o.occurred_at, o.event_id, o.order_id) for o in placed if ids[o.order_id] == name and not o.test)
        for name in ("zoe", "joe")
    } | {"": []}
    persons = {one.order_id: Person({}, ids[one.order_id]) for one in placed}

    assert told == Told(expected).past_of(as_rows(placed), ids) == by_keys.past_of(as_rows(placed), persons) == expected


# --- bonds -----------------------------------------------------------------------------------------------------------


def bound_world() -> list[Event]:
    """Anna brings Zoe; Ben's later clicks earn only where the order names one, which binds Zoe anew."""
    named = click("named", "ben", NOON - 3 * DAY, "phone")
    return [
        click("first", "anna", NOON - 9 * DAY, "phone"),
        order("O-1", NOON - 8 * DAY, visitor_id="phone", **ZOE),
        click("later", "ben", NOON - 7 * DAY, "phone"),
        order("O-2", NOON - 6 * DAY, visitor_id="phone", **ZOE),
        order("O-3", NOON - 5 * DAY, **ZOE),
        named,
        order("O-4", NOON - 2 * DAY, click_id=named.event_id, **ZOE),
        order("O-5", NOON - DAY, **ZOE),
    ]


EARNERS = {"O-1": "anna", "O-2": "anna", "O-3": "anna", "O-4": "ben", "O-5": "ben"}


def earners(events: EventsStore) -> dict[str, str]:
    return {order_id: affiliate for order_id, (_, affiliate) in decided(events).items()}


def test_an_order_binds_its_customer_until_another_touch_earns(events: EventsStore, shops: Books, now: FakeClock) -> None:
    put_all(shops, BOUND)
    store(events, bound_world())

    run_once(events, shops, now, limit=2)

    assert earners(events) == EARNERS


def test_a_bond_ends_with_its_window_to_the_millisecond(events: EventsStore, shops: Books, now: FakeClock) -> None:
    put_all(shops, Policy("north", "main", 1, 0, classes=(TouchWindow("binding", 48), TouchWindow("click", 1))))
    touches = [click("first", "anna", NOON - 9 * DAY, "phone")]
    placed = [("O-1", NOON - 9 * DAY), ("O-2", NOON - 7 * DAY), ("O-3", NOON - 7 * DAY + 1)]
    store(events, [*touches, *(order(name, at, visitor_id="phone", **ZOE) for name, at in placed)])

    run_once(events, shops, now)

    assert earners(events) == {"O-1": "anna", "O-2": "anna", "O-3": ""}


def parts() -> Sequence[tuple[int, ...]]:
    return [(7, 6, 5, 4, 3, 2, 1, 0), (4, 0, 7, 1, 3, 6, 2, 5), (1, 3, 4, 6, 7, 2, 5, 0)]


@pytest.mark.parametrize("arrival", parts(), ids=["backwards", "mixed", "orders first"])
def test_bonds_do_not_depend_on_the_order_of_arrival(events: EventsStore, shops: Books, now: FakeClock, arrival: tuple[int, ...]) -> None:
    put_all(shops, BOUND)
    world, memory = bound_world(), Memory()
    for number, pair in enumerate(itertools.pairwise(arrival)):
        store(events, [world[place] for place in pair], at=STORED + number * HOUR)
        run_once(events, shops, now, memory=memory if number % 2 else None)

    assert earners(events) == EARNERS


def test_a_range_with_bonds_is_decided_in_the_order_of_time_and_told_by_id(events: EventsStore, shops: Books) -> None:
    put_all(shops, BOUND)
    store(events, bound_world())

    (found,) = decide_range(events, shops, "north", 0, NOON, terms_of(shops), after="O-2")

    assert [(one.order_id, one.credits[0].affiliate_id) for one in found] == [("O-3", "anna"), ("O-4", "ben"), ("O-5", "ben")]
    forget_all(events, shops)


def test_the_largest_share_binds_and_a_bond_binds_nobody_anew() -> None:
    credits = (Credit("zoe", "t1", 2, 5), Credit("ben", "t2", 1, 5), Credit("anna", "t3", 2, 5))
    bond = bond_of_credits("main", credits)

    assert bond is not None
    assert (bond.programme_id, bond.affiliate_id) == ("main", "anna")
    assert bond_of_credits("main", ()) is None
    assert bond_of_credits("main", (Credit("anna", "binding:O-1", 1, 1),)) is None
