"""Verify, of what people decided: whoever changes a hold, an adjustment or a closed month behind the program's back is found."""

import sqlite3
from contextlib import closing

import pytest

from core.catalogue import Tenant
from core.clock import DAY
from payouts.adjustments import Proposal, approve, propose
from payouts.adjustments import reject as reject_adjustment
from payouts.holds import hold, reject, release_hold
from payouts.periods import close_period
from payouts.verify import verify
from tests.people import NORTH

FRANK, FIONA = "frank@north.example", "fiona@north.example"


@pytest.fixture
def decided(sqlite_world):
    """Holds: A-1 held; A-2 held and released; A-3 rejected. Adjustments: one small, one by two people, one rejected. October is closed."""
    world = sqlite_world
    world.put(Tenant(NORTH, "North Shoes", "EUR", adjustment_limit_minor=5_00))
    for number in (1, 2, 3):
        world.sell(f"A-{number}", "anna", at=world.clock() - 40 * DAY)
    world.accrue()
    for step, order_id in ((hold, "A-1"), (hold, "A-2"), (release_hold, "A-2"), (reject, "A-3")):
        step(world.books, NORTH, order_id, "", "so", FRANK, world.clock())
    propose(world.books, NORTH, Proposal("ben", 3_00, "EUR", "small"), FRANK, world.clock())
    for amount in (90_00, 70_00):
        propose(world.books, NORTH, Proposal("ben", amount, "EUR", "large"), FRANK, world.clock())
    approve(world.books, NORTH, "adj_2", FIONA, world.clock())
    reject_adjustment(world.books, NORTH, "adj_3", FIONA, "no", world.clock())
    close_period(world.books, NORTH, "2026-10", FRANK, world.clock())
    assert verify(world.books).fault is None
    return world


def tamper(world, *statements):
    with closing(sqlite3.connect(world.books.engine.url.database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE holds SET reason = 'x' WHERE number = 1", "holds 1 of north: the ledger has no entry that says this"),
        ("UPDATE holds SET decided_by = 'x' WHERE number = 4", "holds 4 of north: the ledger has no entry that says this"),
        ("DELETE FROM holds WHERE number = 3", "its state is approved, but somebody's hold stands over it (order A-2"),
        ("DELETE FROM holds WHERE number = 4", "holds 4 of north: entry 7 names it, but it does not exist"),
        ("UPDATE commissions SET state = 'approved' WHERE order_id = 'A-1'", "its state is approved, but somebody's hold stands over it"),
        ("UPDATE commissions SET state = 'held' WHERE order_id = 'A-2'", "its state is held, but somebody's hold does not stand over it"),
        ("UPDATE adjustments SET reason = 'x' WHERE adjustment_id = 'adj_2'", "adj_2 of north: the people or the reason of its entry"),
        ("UPDATE adjustments SET decided_by = 'x' WHERE adjustment_id = 'adj_2'", "adj_2 of north: the people or the reason of its entry"),
        ("UPDATE adjustments SET amount_minor = 7 WHERE adjustment_id = 'adj_1'", "no adjustment adj_1 was booked with this content"),
        (
            "UPDATE adjustments SET state = 'booked' WHERE adjustment_id = 'adj_3'",
            "adj_3 of north: its state is booked, but the ledger has no entry of it",
        ),
        ("DELETE FROM adjustments WHERE adjustment_id = 'adj_2'", "no adjustment adj_2 was booked with this content"),
        ("UPDATE periods SET head_number = 2", "periods 2026-10 of north: entry 2, the last one when it was closed, has another hash"),
        (
            "UPDATE periods SET month = '2026-11', head_number = 1, head_hash = (SELECT hash FROM entries WHERE number = 1)",
            "closed after entry 1",
        ),
    ],
)
def test_the_first_row_that_does_not_fit_is_named(decided, statement, fault):
    tamper(decided, statement)

    assert fault in str(verify(decided.books).fault)


def test_what_was_taken_back_is_not_hidden_in_the_expense(sqlite_world):
    """Granted 8.00 and reversed 8.00 sum to nothing, as an entry without either would: the two accounts are checked one by one."""
    world = sqlite_world
    world.sell("A-1", "anna")
    world.accrue()
    reject(world.books, NORTH, "A-1", "", "so", FRANK, world.clock())
    from payouts.ledger import Draft, post, transfer

    with world.books.writing() as connection:
        post(connection, Draft(NORTH, "release", "k", world.clock(), postings=transfer("anna", "EUR", 8_00, "reversed", "expense")))

    fault = str(verify(world.books).fault)
    assert fault.endswith("commissions say -800 EUR minor units of expense, the ledger's account says 0")
