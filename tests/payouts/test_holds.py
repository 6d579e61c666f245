"""Holds: released when due, refunds together with their sales, once."""

from core.clock import DAY
from payouts.holds import release_due
from payouts.verify import verify
from tests.people import SOUTH


def test_the_hold_ends_at_its_instant(world):
    order = world.sell("A-1", "anna")
    world.accrue()
    due = order.occurred_at + 30 * DAY

    assert release_due(world.books, due - 1) == 0
    assert release_due(world.books, due) == 1
    assert (world.balance("anna").held_minor, world.balance("anna").payable_minor) == (0, 8_00)


def test_a_refund_moves_with_its_sale_in_one_entry(world):
    world.sell("A-1", "anna")
    world.accrue()
    world.refund("A-1", net_minor=50_00)
    world.accrue()
    world.clock.advance(31 * DAY)

    assert release_due(world.books, world.clock()) == 2
    assert verify(world.books).entries == 3
    assert world.balance("anna").payable_minor == 4_00


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
    assert {row.state for row in world.rows("A-1")} == {"payable"}


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

    assert sqlite_world.balance("anna").payable_minor == 0
    assert {row.state for row in sqlite_world.rows("A-1")} == {"payable"}
