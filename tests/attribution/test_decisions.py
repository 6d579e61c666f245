"""What is stored of decisions: revisions, only where something changed, each later than all before."""

import msgspec
import pytest

from attribution.decide import decide
from attribution.decisions import DecisionLog, InForce, Revision, read_in_force, read_orders, revision_of, token_of
from attribution.policy import default_policy
from core.clock import DAY
from core.credit import Credit, Decision
from core.events import Line
from store.events import EventsStore, Query
from tests.attribution.builders import NOON, STORED, candidate, member, order, ruling, store

ROWS = Query(
    "rows",
    "SELECT order_id, revision, result, toUnixTimestamp64Milli(stored_at) AS at, toUnixTimestamp64Milli(ordered_at) FROM decisions "
    "ORDER BY order_id, revision, at",
)


def decision(order_id: str = "O-1", *touches: str, at: int = NOON, version: int = 0) -> Decision:
    found = [candidate(touch, "anna", NOON - DAY) for touch in touches]
    policy = msgspec.structs.replace(default_policy("north", "main"), version=version)
    return decide(order(order_id, at, visitor_id="phone"), found, ruling(policy, [member("anna")]))


def in_force(of: Decision, revision: int = 1) -> InForce:
    customer = ("", (), "", of.order_number, of.first_ordered_at)
    return InForce(revision, of.programme_id, of.policy_version, of.result, of.credits, *customer)


def test_a_first_decision_is_revision_1_and_a_changed_one_the_next() -> None:
    nothing, credited = decision(), decision("O-1", "c1")

    assert revision_of(nothing, NOON, None) == Revision(nothing, 1, NOON)
    assert revision_of(credited, NOON, in_force(nothing, 4)) == Revision(credited, 5, NOON)


def test_the_same_decision_is_no_revision_even_where_its_trace_differs() -> None:
    alone, beside = decision("O-1", "c2"), decision("O-1", "c2", "c1")

    assert alone.trace != beside.trace
    assert revision_of(beside, NOON, in_force(alone)) is None


@pytest.mark.parametrize(
    "changed",
    [
        *(decision("O-1", "c3"), decision(), decision("O-1", "c2", version=7)),
        *(msgspec.structs.replace(decision("O-1", "c2"), **number) for number in ({"order_number": 2}, {"first_ordered_at": NOON})),
    ],
    ids=["touch", "result", "policy version", "order number", "first order"],
)
def test_another_touch_result_or_policy_version_is_a_revision(changed: Decision) -> None:
    revision = revision_of(changed, NOON, in_force(decision("O-1", "c2")))

    assert revision is not None
    assert revision.revision == 2


def test_decisions_are_read_back_as_they_were_written(any_events: EventsStore) -> None:
    one, two = decision("O-1", "c1"), decision("O-2", at=NOON - 40 * DAY)
    one = msgspec.structs.replace(one, order_number=3, first_ordered_at=NOON - 90 * DAY + 1)
    DecisionLog(any_events).append([Revision(one, 1, NOON), Revision(two, 3, NOON - 40 * DAY)], STORED)

    assert read_in_force(any_events, "north", ["O-1", "O-2", "O-3"]) == {"O-1": in_force(one), "O-2": in_force(two, 3)}
    assert read_in_force(any_events, "north", ["O-1"])["O-1"].credits == (Credit("anna", "c1", 1, 1),)
    assert read_in_force(any_events, "south", ["O-1"]) == {}


def test_an_order_is_read_back_with_all_that_its_lines_say(events: EventsStore) -> None:
    item = Line("2", 80_00, "S-1", "Boot", "shoes", 2, "Nord", "gift_card", 20_00, (("margin", "b"), ("season", "ss26")))
    placed = order("O-1", lines=(Line("1", 5), item))
    store(events, [placed])

    (found,) = read_orders(events, "north", ["O-1"])

    assert found.lines == placed.lines


def test_as_many_ids_as_one_parameter_takes_are_asked_for_at_once(any_events: EventsStore) -> None:
    ids = [f"O-{number:020}-☎" for number in range(5_000)]
    store(any_events, [order(ids[17]), order(ids[4_999])])

    assert [one.order_id for one in read_orders(any_events, "north", ids)] == [ids[17], ids[4_999]]


def test_the_highest_revision_is_in_force(events: EventsStore) -> None:
    log = DecisionLog(events)
    log.append([Revision(decision("O-1", "c1"), 2, NOON)], STORED)
    log.append([Revision(decision("O-1"), 1, NOON)], STORED)

    assert read_in_force(events, "north", ["O-1"])["O-1"].result == "credited"


def test_every_block_is_stored_later_than_all_before_whatever_the_clock_says(events: EventsStore) -> None:
    DecisionLog(events).append([Revision(decision("O-1"), 1, NOON), Revision(decision("O-2"), 1, NOON - 40 * DAY)], STORED)
    DecisionLog(events).append([Revision(decision("O-3"), 1, NOON)], STORED - DAY)

    assert {row[0]: row[3] - STORED for row in events.select(ROWS)} == {"O-2": 0, "O-1": 1, "O-3": 2}


def test_the_same_block_twice_is_stored_once(events: EventsStore) -> None:
    block = [Revision(decision("O-1", "c1"), 1, NOON)]
    DecisionLog(events).append(block, STORED)
    DecisionLog(events).append(block, STORED + DAY)

    assert len(events.select(ROWS)) == 1


def test_the_token_follows_from_what_is_stored_alone() -> None:
    one, other = Revision(decision("O-1", "c1"), 1, NOON), Revision(decision("O-1", "c1"), 2, NOON)

    assert token_of([one]) == token_of([Revision(decision("O-1", "c1"), 1, NOON)])
    assert token_of([one]) != token_of([other])


def test_an_order_is_read_back_whole(events: EventsStore) -> None:
    lines = (Line("1", 70_00, "shoe", "Shoe", "shoes", 2), Line("2", 30_00))
    keys = {"customer_keys": ("em:1", "loy:2"), "coupons": ("ZOE10",), "click_id": "X", "visitor_id": "phone", "store_id": "till-1"}
    placed = order(lines=lines, channel="pos", customer_status="new", shipping_minor=5_00, tax_minor=19_00, test=True, **keys)
    store(events, [msgspec.structs.replace(placed, ip="203.0.113.9", user_agent="curl/8")])

    assert read_orders(events, "north", ["O-1"]) == [placed]
    assert read_orders(events, "south", ["O-1"]) == []


def test_of_two_events_under_one_order_id_the_earliest_received_is_the_order(events: EventsStore) -> None:
    late = order(received_at=NOON + 2, event_id="0" * 26, visitor_id="late")
    early = order(received_at=NOON + 1, event_id="5" * 26, visitor_id="early")
    early_too = order(received_at=NOON + 1, event_id="6" * 26, visitor_id="early too", occurred_at=NOON - 50 * DAY)
    store(events, [late], at=STORED)
    store(events, [early_too, early], at=STORED + 1)

    assert [one.visitor_id for one in read_orders(events, "north", ["O-1"])] == ["early"]
