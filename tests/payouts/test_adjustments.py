"""Manual adjustments: at once up to the limit, by two people above it, paid like any other commission."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from core.catalogue import Tenant
from core.clock import SECOND
from core.errors import BadInput, Conflict, NotAllowed, NotFound
from payouts.adjustments import Proposal, approve, propose, reject
from payouts.batches import approve as approve_batch
from payouts.batches import prepare, settle
from payouts.holds import hold
from payouts.statement import read_statement
from payouts.verify import verify
from store.ledger import read_entries
from tests.people import NORTH, SOUTH

FRANK, FIONA = "frank@north.example", "fiona@north.example"


def limited(world, minor=50_00):
    world.put(Tenant(NORTH, "North Shoes", "EUR", adjustment_limit_minor=minor))
    return world


def asked(amount_minor, reason="the click was lost in our outage", **fields):
    return Proposal(fields.pop("affiliate_id", "anna"), amount_minor, fields.pop("currency", "EUR"), reason, **fields)


@pytest.mark.parametrize("amount", [50_00, -50_00])
def test_within_the_limit_one_person_is_enough(world, amount):
    limited(world)
    made = propose(world.books, NORTH, asked(amount), "Frank@north.example", world.clock())

    assert (made.adjustment_id, made.state, made.decided_by) == ("adj_1", "booked", FRANK)
    assert world.balance("anna").approved_minor == amount
    assert world.balance("anna").reversed_minor == max(0, -amount)
    with world.books.reading() as connection:
        (entry,) = read_entries(connection, NORTH)
    assert entry.memo == "adjustment adj_1 proposed by frank@north.example: the click was lost in our outage"
    assert verify(world.books).fault is None


@pytest.mark.parametrize("amount", [50_01, -50_01])
def test_above_it_nothing_is_booked_until_a_second_person_approves(world, amount):
    limited(world)
    made = propose(world.books, NORTH, asked(amount), FRANK, world.clock())
    assert (made.state, world.balance("anna").approved_minor) == ("proposed", 0)

    for same in (FRANK, " FRANK@north.example"):
        with pytest.raises(NotAllowed, match=r"frank@north.example proposed it, and it is above the limit of 50.00 EUR"):
            approve(world.books, NORTH, "adj_1", same, world.clock())
    assert approve(world.books, NORTH, "adj_1", FIONA, world.clock()).state == "booked"

    assert world.balance("anna").approved_minor == amount
    with world.books.reading() as connection:
        (entry,) = read_entries(connection, NORTH)
    assert entry.memo.startswith(f"adjustment adj_1 proposed by {FRANK}, approved by {FIONA}: ")
    assert verify(world.books).fault is None


def test_another_currency_is_no_way_around_the_limit(sqlite_world):
    """A limit of 50.00 euros is 5,000 minor units; so are 5.000 Kuwaiti dinars, and, were it one of 5,000 yen, 50.00 euros."""
    sqlite_world.put(Tenant(SOUTH, "South Books", "EUR", adjustment_limit_minor=50_00))
    made = propose(sqlite_world.books, SOUTH, asked(50_00, currency="KWD"), FRANK, sqlite_world.clock())

    assert (made.state, made.limit_minor) == ("proposed", 0)
    with pytest.raises(NotAllowed):
        approve(sqlite_world.books, SOUTH, "adj_1", FRANK, sqlite_world.clock())


def test_without_a_limit_every_adjustment_needs_two(sqlite_world):
    assert propose(sqlite_world.books, NORTH, asked(1), FRANK, sqlite_world.clock()).state == "proposed"


def test_the_database_refuses_the_proposers_approval_once_more(world):
    limited(world)
    propose(world.books, NORTH, asked(50_01), FRANK, world.clock())
    by = f"UPDATE adjustments SET state = 'booked', decided_by = '{FRANK}', decided_at = 1"

    with pytest.raises(IntegrityError, match="four_eyes"), world.books.writing() as connection:
        connection.execute(text(by))


@pytest.mark.parametrize(
    "change", ["amount_minor = 1", "reason = 'x'", "limit_minor = 99999999", "affiliate_id = 'ben'", "proposed_by = 'x'"]
)
def test_a_proposal_never_changes_and_a_decision_stays(world, change):
    limited(world)
    propose(world.books, NORTH, asked(50_01), FRANK, world.clock())
    with pytest.raises(IntegrityError, match="decided once, and never changed"), world.books.writing() as connection:
        connection.execute(text(f"UPDATE adjustments SET {change}"))
    approve(world.books, NORTH, "adj_1", FIONA, world.clock())
    for statement in ("UPDATE adjustments SET state = 'proposed', decided_by = ''", "DELETE FROM adjustments"):
        with pytest.raises(IntegrityError), world.books.writing() as connection:
            connection.execute(text(statement))


def test_rejecting_books_nothing_and_is_final(sqlite_world):
    world = limited(sqlite_world)
    propose(world.books, NORTH, asked(60_00), FRANK, world.clock())
    with pytest.raises(BadInput, match="give a reason"):
        reject(world.books, NORTH, "adj_1", FIONA, " ", world.clock())

    assert reject(world.books, NORTH, "adj_1", FIONA, "not our outage", world.clock()).decided_reason == "not our outage"
    with pytest.raises(Conflict, match=r"it is rejected \(by fiona"):
        approve(world.books, NORTH, "adj_1", FIONA, world.clock())
    assert verify(world.books).entries == 0


def test_another_merchants_proposal_is_not_found(sqlite_world):
    propose(sqlite_world.books, NORTH, asked(60_00), FRANK, sqlite_world.clock())

    with pytest.raises(NotFound, match="there is no adjustment adj_1"):
        approve(sqlite_world.books, SOUTH, "adj_1", FIONA, sqlite_world.clock())


@pytest.mark.parametrize(
    ("proposal", "says"),
    [
        (asked(0), "other than zero"),
        (asked(10**15 + 1), "beyond the largest"),
        (asked(5, reason=""), "give a reason"),
        (asked(5, reason="x" * 256), "give a reason"),
        (asked(5, currency="XXX"), "XXX"),
        (asked(5, affiliate_id="zoe"), "'zoe' never joined a programme of north"),
        (asked(5, programme_id="other"), "anna joined main: name one of these programmes"),
    ],
)
def test_what_cannot_be_proposed_is_told(sqlite_world, proposal, says):
    with pytest.raises(BadInput, match=says):
        propose(sqlite_world.books, NORTH, proposal, FRANK, sqlite_world.clock())


def test_it_is_paid_like_any_other_and_its_statement_says_why(sqlite_world):
    world = limited(sqlite_world)
    world.sell("A-1", "anna", at=world.clock() - 40 * 86_400_000)
    world.accrue()
    propose(world.books, NORTH, asked(12_00), FRANK, world.clock())
    world.clock.advance(SECOND)
    batch = prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock())
    approve_batch(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    settle(world.books, NORTH, batch.batch_id, FIONA, world.clock())

    assert world.balance("anna").paid_minor == 20_00
    with world.books.reading() as connection:
        lines = read_statement(connection, NORTH, batch.batch_id, "anna").lines
    assert [(line.kind, line.order_id, line.line_id, line.amount_minor) for line in lines] == [
        ("sale", "A-1", "1", 8_00),
        ("adjustment", "", "adj_1", 12_00),
    ]
    assert lines[1].rule == "the click was lost in our outage"
    assert verify(world.books).fault is None


def test_an_affiliate_on_hold_gets_its_adjustments_held(sqlite_world):
    world = limited(sqlite_world)
    world.sell("A-1", "anna")
    world.accrue()
    hold(world.books, NORTH, "", "anna", "under review", FRANK, world.clock())
    propose(world.books, NORTH, asked(12_00), FRANK, world.clock())

    assert world.balance("anna").held_minor == 20_00
    assert verify(world.books).fault is None


def test_many_who_approve_at_once_book_once(world):
    """Eight threads with the same proposal and the same key: one books it, the others are told."""
    propose(world.books, NORTH, asked(60_00), FRANK, world.clock())

    def try_it(number):
        try:
            return approve(world.books, NORTH, "adj_1", f"finance-{number}@north.example", world.clock()).state
        except Conflict:
            return "told"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(try_it, range(8)))

    assert sorted(outcomes) == ["booked", *["told"] * 7]
    assert world.balance("anna").approved_minor == 60_00
    assert verify(world.books).fault is None


@pytest.mark.parametrize("place", range(1, 12))
def test_a_fault_between_any_two_statements_leaves_nothing_or_everything(sqlite_world, place):
    """The connection fails at the n-th statement of an approval: what was written is gone, and the next try does it all."""
    propose(sqlite_world.books, NORTH, asked(60_00), FRANK, sqlite_world.clock())
    seen = []

    def fail(*_):
        seen.append(1)
        if len(seen) == place:
            raise OSError("the disk is gone")

    event.listen(sqlite_world.books.engine, "before_cursor_execute", fail)
    try:
        with suppress(OSError):
            approve(sqlite_world.books, NORTH, "adj_1", FIONA, sqlite_world.clock())
    finally:
        event.remove(sqlite_world.books.engine, "before_cursor_execute", fail)
    assert sqlite_world.balance("anna").approved_minor in (0, 60_00)
    assert verify(sqlite_world.books).fault is None

    with suppress(Conflict):
        approve(sqlite_world.books, NORTH, "adj_1", FIONA, sqlite_world.clock())
    assert sqlite_world.balance("anna").approved_minor == 60_00
    assert verify(sqlite_world.books).fault is None
