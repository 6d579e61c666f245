"""Holds: released when due, refunds together with their sales, once; and what people hold, release and reject."""

import pytest

from core.clock import DAY, SECOND
from core.errors import BadInput, Conflict, NotFound
from payouts.batches import approve, prepare, settle, void
from payouts.holds import hold, reject, release_due, release_hold
from payouts.verify import verify
from store.ledger import read_entries
from tests.people import NORTH, SOUTH


def test_the_hold_ends_at_its_instant(world):
    order = world.sell("A-1", "anna")
    world.accrue()
    due = order.occurred_at + 30 * DAY

    assert release_due(world.books, due - 1) == 0
    assert release_due(world.books, due) == 1
    assert (world.balance("anna").pending_minor, world.balance("anna").approved_minor) == (0, 8_00)


def test_a_refund_moves_with_its_sale_in_one_entry(world):
    world.sell("A-1", "anna")
    world.accrue()
    world.refund("A-1", net_minor=50_00)
    world.accrue()
    world.clock.advance(31 * DAY)

    assert release_due(world.books, world.clock()) == 2
    assert verify(world.books).entries == 3
    assert world.balance("anna").approved_minor == 4_00


def test_releasing_twice_is_releasing_once(world):
    world.sell("A-1", "anna")
    world.sell("A-2", "ben", tenant_id=SOUTH)
    world.accrue()
    world.clock.advance(31 * DAY)

    assert [release_due(world.books, world.clock()) for _ in range(2)] == [2, 0]
    assert verify(world.books).fault is None


def test_what_cancels_out_moves_without_an_entry(world):
    world.sell("A-1", "anna")
    world.refund("A-1")
    world.accrue()
    world.clock.advance(31 * DAY)

    assert release_due(world.books, world.clock()) == 2
    assert verify(world.books).entries == 1
    assert {row.state for row in world.rows("A-1")} == {"approved"}


def test_more_affiliates_than_one_look_takes(sqlite_world):
    for number, affiliate_id in enumerate(("anna", "ben", "charlie")):
        sqlite_world.sell(f"A-{number}", affiliate_id)
    sqlite_world.accrue()
    sqlite_world.clock.advance(31 * DAY)

    assert release_due(sqlite_world.books, sqlite_world.clock(), limit=1) == 3


def test_a_refund_after_the_hold_is_payable_at_once_so_that_no_batch_misses_it(sqlite_world):
    sqlite_world.sell("A-1", "anna", at=sqlite_world.clock() - 31 * DAY)
    sqlite_world.accrue()
    sqlite_world.refund("A-1")
    sqlite_world.accrue()

    assert sqlite_world.balance("anna").approved_minor == 0
    assert {row.state for row in sqlite_world.rows("A-1")} == {"approved"}


# --- by people -------------------------------------------------------------------------------------------------------

FRANK = "Frank@north.example"


def states(world, order_id):
    return [row.state for row in world.rows(order_id)]


def test_an_order_on_hold_is_held_and_outlives_its_own_hold(world):
    world.sell("A-1", "anna")
    world.sell("A-2", "anna")
    world.accrue()

    outcome = hold(world.books, NORTH, "A-1", "", "looks like one person", FRANK, world.clock())
    world.clock.advance(31 * DAY)
    release_due(world.books, world.clock())

    assert outcome.moved == 1
    assert (world.balance("anna").held_minor, world.balance("anna").approved_minor) == (8_00, 8_00)
    assert (states(world, "A-1"), states(world, "A-2")) == (["held"], ["approved"])
    with world.books.reading() as connection:
        entry = next(entry for entry in read_entries(connection, NORTH) if entry.kind == "hold")
    assert entry.memo == "order A-1: put on hold by frank@north.example: looks like one person"
    assert verify(world.books).fault is None


@pytest.mark.parametrize(("later", "state"), [(DAY, "pending"), (31 * DAY, "approved")])
def test_a_hold_that_ends_leaves_what_the_orders_own_hold_says(sqlite_world, later, state):
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()
    hold(sqlite_world.books, NORTH, "A-1", "", "who is this?", FRANK, sqlite_world.clock())
    sqlite_world.clock.advance(later)

    release_hold(sqlite_world.books, NORTH, "A-1", "", "a friend", FRANK, sqlite_world.clock())

    assert states(sqlite_world, "A-1") == [state]
    assert getattr(sqlite_world.balance("anna"), f"{state}_minor") == 8_00
    assert verify(sqlite_world.books).fault is None


def test_what_is_booked_while_a_hold_stands_is_held_a_refund_with_its_sale(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna", at=world.clock() - 40 * DAY)
    world.accrue()
    hold(world.books, NORTH, "", "anna", "under review", FRANK, world.clock())
    world.refund("A-1", net_minor=50_00)
    world.sell("A-2", "anna")
    world.sell("A-3", "ben")
    world.accrue()

    assert (states(world, "A-1"), states(world, "A-2"), states(world, "A-3")) == (["held", "held"], ["held"], ["pending"])
    assert world.balance("anna").held_minor == 4_00 + 8_00
    release_hold(world.books, NORTH, "", "anna", "fine", FRANK, world.clock())
    assert (world.balance("anna").approved_minor, world.balance("anna").pending_minor) == (4_00, 8_00)
    assert verify(world.books).fault is None


def test_two_holds_over_one_order_end_when_both_have_ended(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna")
    world.accrue()
    hold(world.books, NORTH, "A-1", "anna", "one", FRANK, world.clock())
    hold(world.books, NORTH, "", "anna", "two", FRANK, world.clock())
    release_hold(world.books, NORTH, "A-1", "anna", "one is fine", FRANK, world.clock())
    assert states(world, "A-1") == ["held"]
    release_hold(world.books, NORTH, "", "anna", "so is two", FRANK, world.clock())
    assert states(world, "A-1") == ["pending"]
    assert verify(world.books).fault is None


def test_a_batch_takes_nothing_that_is_held_and_gives_back_to_the_hold(sqlite_world):
    world = sqlite_world
    for order_id in ("A-1", "A-2"):
        world.sell(order_id, "anna", at=world.clock() - 40 * DAY)
    world.accrue()
    hold(world.books, NORTH, "A-1", "", "wait", FRANK, world.clock())
    world.clock.advance(SECOND)
    batch = prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock())
    assert [payout.amount_minor for payout in batch.payouts] == [8_00]

    assert hold(world.books, NORTH, "A-2", "", "this too", FRANK, world.clock()).moved == 0
    assert states(world, "A-2") == ["payable"]
    void(world.books, NORTH, batch.batch_id, FRANK, world.clock())
    assert states(world, "A-2") == ["held"]
    assert verify(world.books).fault is None


def test_a_rejected_order_earns_nothing_for_good(world):
    world.sell("A-1", "anna")
    world.accrue()
    hold(world.books, NORTH, "A-1", "", "a stolen card", FRANK, world.clock())

    outcome = reject(world.books, NORTH, "A-1", "", "the bank says so", FRANK, world.clock())

    assert outcome.taken_back == {"EUR": -8_00}
    rows = world.rows("A-1")
    assert [(row.kind, row.reason, row.amount_minor, row.state) for row in rows] == [
        ("sale", "", 8_00, "pending"),
        ("rejection", "fraud_rejected", -8_00, "pending"),
    ]
    balance = world.balance("anna")
    assert (balance.pending_minor, balance.held_minor, balance.reversed_minor, balance.total_minor) == (0, 0, 8_00, 0)
    assert verify(world.books).fault is None


def test_neither_a_refund_nor_another_decision_brings_back_what_was_rejected(sqlite_world):
    world = sqlite_world
    world.order("A-1")
    world.decide("A-1", "anna", "ben")
    world.accrue()
    reject(world.books, NORTH, "A-1", "anna", "she bought it herself", FRANK, world.clock())
    assert world.earned("A-1") == {"anna": 0, "ben": 4_00}

    world.refund("A-1", net_minor=50_00)
    world.accrue()
    assert world.earned("A-1") == {"anna": 0, "ben": 2_00}
    world.decide("A-1", "anna")
    world.accrue()
    assert world.earned("A-1") == {"anna": 0, "ben": 0}
    world.decide("A-1", "charlie")
    world.accrue()
    assert world.earned("A-1") == {"anna": 0, "ben": 0, "charlie": 4_00}
    assert verify(world.books).fault is None


def test_rejecting_what_is_paid_is_carried_forward(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna", at=world.clock() - 40 * DAY)
    world.accrue()
    world.clock.advance(SECOND)
    batch = prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock())
    approve(world.books, NORTH, batch.batch_id, "fiona@north.example", batch.content_hash, world.clock())
    settle(world.books, NORTH, batch.batch_id, FRANK, world.clock())
    reject(world.books, NORTH, "A-1", "", "late news", FRANK, world.clock())

    assert (world.balance("anna").paid_minor, world.balance("anna").approved_minor) == (8_00, -8_00)
    assert verify(world.books).fault is None


def test_rejecting_an_affiliate_takes_every_order_that_no_batch_has(sqlite_world, monkeypatch):
    world = sqlite_world
    monkeypatch.setattr("payouts.holds.ORDERS_AT_ONCE", 2)
    for number in range(5):
        world.sell(f"A-{number}", "anna")
    world.sell("B-1", "ben")
    world.accrue()
    hold(world.books, NORTH, "", "anna", "a farm of clicks", FRANK, world.clock())
    outcome = reject(world.books, NORTH, "", "anna", "it is one", FRANK, world.clock())

    assert outcome.taken_back == {"EUR": -40_00}
    assert (world.balance("anna").total_minor, world.balance("anna").held_minor, world.balance("ben").pending_minor) == (0, 0, 8_00)
    assert verify(world.books).fault is None


def test_what_cannot_be_said_is_refused_and_changes_nothing(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna")
    world.accrue()
    say = {"books": world.books, "tenant_id": NORTH, "reason": "so", "by": FRANK, "now": world.clock()}

    with pytest.raises(BadInput, match="name an order or an affiliate"):
        hold(order_id="", affiliate_id="", **say)
    with pytest.raises(BadInput, match="give a reason"):
        hold(order_id="A-1", affiliate_id="", **say | {"reason": " "})
    with pytest.raises(NotFound, match="nothing was booked of order A-9"):
        hold(order_id="A-9", affiliate_id="", **say)
    with pytest.raises(NotFound, match="nothing was booked of order A-1, ben"):
        hold(order_id="A-1", affiliate_id="ben", **say)
    with pytest.raises(NotFound, match="nothing was booked of order A-1"):
        hold(order_id="A-1", affiliate_id="", **say | {"tenant_id": SOUTH})
    with pytest.raises(Conflict, match="is not on hold"):
        release_hold(order_id="A-1", affiliate_id="", **say)
    hold(order_id="A-1", affiliate_id="", **say)
    with pytest.raises(Conflict, match="on hold already"):
        hold(order_id="A-1", affiliate_id="", **say)
    reject(order_id="A-1", affiliate_id="", **say)
    for step in (hold, reject, release_hold):
        with pytest.raises(Conflict, match="rejected already, and that is for good"):
            step(order_id="A-1", affiliate_id="anna", **say)
    assert verify(world.books).entries == 3
