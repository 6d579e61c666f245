"""Verify: whoever changes one row behind the program's back is found, and the row is named."""

import sqlite3
from contextlib import closing

import msgspec
import psycopg
import pytest
from sqlalchemy import text

from core.clock import DAY, SECOND
from core.events import Line
from payouts.batches import approve, prepare, settle, void
from payouts.digests import chained, commission_id
from payouts.verify import verify
from store.commissions import insert_commissions, read_all
from store.ledger import entry_of, head, insert_entries
from store.migrate import FOLDER
from tests.people import NORTH, SOUTH

FRANK, FIONA = "frank@north.example", "fiona@north.example"
TRIGGERS = [f"{table}_no_{action}" for table in ("entries", "postings", "commissions") for action in ("update", "delete")]


@pytest.fixture
def history(world):
    return live(world)


@pytest.fixture
def sqlite_history(sqlite_world):
    return live(sqlite_world)


def live(world):
    """Six orders and a refund; one batch settled, one void, one waiting for approval."""
    for number, affiliate_id in enumerate(("anna", "anna", "ben")):
        world.sell(f"A-{number}", affiliate_id, Line("1", 100_00 + number), Line("2", 7), at=world.clock() - 31 * DAY)
    world.accrue()
    world.refund("A-1", net_minor=10_00)
    world.accrue()
    world.clock.advance(SECOND)
    now = world.clock()
    first = prepare(world.books, NORTH, "EUR", now, FRANK, now)
    approve(world.books, NORTH, first.batch_id, FIONA, first.content_hash, now)
    settle(world.books, NORTH, first.batch_id, FIONA, now)
    world.sell("A-3", "anna", at=now - 31 * DAY)
    world.sell("A-4", "ben")
    world.sell("A-5", "ben", tenant_id=SOUTH)
    world.accrue()
    world.clock.advance(SECOND)
    void(world.books, NORTH, prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock()).batch_id, FIONA, world.clock())
    prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock())
    return world


def tamper(world, *statements: str) -> None:
    """As somebody with the database in hands would: guards off, change, guards on again (or not)."""
    if world.books.is_sqlite:
        connection = sqlite3.connect(world.books.engine.url.database)
        guards = [f"DROP TRIGGER IF EXISTS {trigger}" for trigger in TRIGGERS]
    else:
        connection = psycopg.connect(world.books.engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
        guards = ["SET session_replication_role = replica"]
    with closing(connection):
        for guard in guards:
            connection.execute(guard)
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


def test_a_sound_history_verifies(history):
    report = verify(history.books)

    assert report.ok
    assert (report.entries, report.commissions, report.batches) == (12, 10, 3)
    assert [head.number for head in report.heads] == [11, 1]


def test_one_tenant_at_a_time(history):
    heard = []

    assert verify(history.books, SOUTH, lambda *done: heard.append(done)).entries == 1
    assert verify(history.books, "nowhere").entries == 0
    assert heard == [(1, 1)]


@pytest.mark.parametrize(
    ("statement", "table", "row", "what"),
    [
        ("UPDATE entries SET memo = 'x' WHERE number = 3", "entries", "3", "its hash does not fit its content and postings"),
        ("UPDATE entries SET posted_at = posted_at + 1 WHERE number = 2", "entries", "2", "its hash does not fit"),
        ("UPDATE entries SET previous_hash = 'x' WHERE number = 2", "entries", "2", "its previous_hash is not the hash"),
        ("UPDATE entries SET hash = 'x' WHERE number = 4", "entries", "4", "its hash does not fit"),
        ("UPDATE entries SET evidence_hash = 'x' WHERE number = 1", "entries", "1", "its hash does not fit"),
        ("DELETE FROM entries WHERE number = 2 AND tenant_id = 'north'", "entries", "2", "it is missing; the next one is 3"),
        ("UPDATE postings SET amount_minor = amount_minor + 1 WHERE number = 3 AND position = 0", "entries", "3", "its hash does not fit"),
        ("DELETE FROM postings WHERE number = 3", "entries", "3", "its hash does not fit"),
        (
            "INSERT INTO postings (tenant_id, number, position, account, affiliate_id, currency, amount_minor) "
            "VALUES ('north', 99, 0, 'pending', 'anna', 'EUR', 5)",
            "postings",
            "99/0",
            "there is no such entry",
        ),
        (
            "UPDATE commissions SET amount_minor = 1 WHERE order_id = 'A-0' AND line_id = '1'",
            "commissions",
            None,
            "its content does not fit its id",
        ),
        (
            "UPDATE commissions SET base_minor = 1 WHERE order_id = 'A-0' AND line_id = '2'",
            "commissions",
            None,
            "its content does not fit its id",
        ),
        ("UPDATE commissions SET rate_card_version = 2 WHERE order_id = 'A-4'", "commissions", None, "its content does not fit its id"),
        ("UPDATE commissions SET affiliate_id = 'ben' WHERE order_id = 'A-3'", "commissions", None, "its content does not fit its id"),
        (
            "DELETE FROM commissions WHERE order_id = 'A-4' AND line_id = '1'",
            "entries",
            "8",
            "the 0 commissions that name it are not those that it booked",
        ),
        ("UPDATE commissions SET entry_number = 77 WHERE order_id = 'A-4'", "commissions", None, "it names entry 77, which does not exist"),
        (
            "UPDATE commissions SET state = 'paid' WHERE order_id = 'A-4'",
            "commissions",
            None,
            "its state is paid, but it is in no live payout",
        ),
        (
            "UPDATE commissions SET state = 'approved' WHERE order_id = 'A-0' AND line_id = '1'",
            "commissions",
            None,
            "but a payout line pays it",
        ),
        (
            "UPDATE commissions SET state = 'pending' WHERE order_id = 'A-0' AND line_id = '2'",
            "commissions",
            None,
            "its state is pending and its amount 0",
        ),
        (
            "UPDATE commissions SET state = 'approved' WHERE order_id = 'A-4'",
            "commissions",
            "of affiliate ben",
            "commissions approved sum to 800 EUR minor units, the ledger's account says 0",
        ),
        ("UPDATE batches SET prepared_by = 'x' WHERE batch_id = 'pb_1'", "batches", "pb_1", "its content_hash does not fit"),
        ("UPDATE batches SET approved_by = 'felix' WHERE batch_id = 'pb_1'", "batches", "pb_1", "the people of its batch_settled entry"),
        (
            "UPDATE batches SET state = 'approved' WHERE batch_id = 'pb_1'",
            "commissions",
            None,
            "its state is paid, but it is in no live payout",
        ),
        (
            "UPDATE batches SET state = 'prepared' WHERE batch_id = 'pb_2'",
            "payout_lines",
            None,
            "live is False in a batch that is prepared",
        ),
        ("UPDATE batches SET cutoff_at = 5 WHERE batch_id = 'pb_2'", "batches", "pb_2", "its content_hash does not fit"),
        ("UPDATE payouts SET iban = 'XX' WHERE payout_id = 'po_3_1'", "batches", "pb_3", "its content_hash does not fit"),
        ("UPDATE payouts SET amount_minor = 1 WHERE payout_id = 'po_1_1'", "payouts", "po_1_1", "its amount 1 is not the sum of its lines"),
        ("UPDATE payout_lines SET amount_minor = 1 WHERE payout_id = 'po_1_2'", "payout_lines", "po_1_2/", "it pays 1, its commission is"),
        ("DELETE FROM payout_lines WHERE payout_id = 'po_1_2'", "commissions", None, "its state is paid, but it is in no live payout"),
        ("DELETE FROM batches WHERE batch_id = 'pb_2'", "batches", "pb_2", "prepared it, but it does not exist"),
    ],
)
def test_the_first_broken_row_is_named(sqlite_history, statement, table, row, what):
    tamper(sqlite_history, statement)

    fault = verify(sqlite_history.books).fault

    assert fault is not None
    assert (fault.tenant_id, fault.table) == (NORTH, table)
    assert what in fault.what
    if row is None:
        assert fault.row
    else:
        assert fault.row.startswith(row)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE postings SET amount_minor = amount_minor + 1 WHERE number = 3 AND position = 0", "entries 3 of north: its hash"),
        ("UPDATE commissions SET amount_minor = 1 WHERE order_id = 'A-4' AND tenant_id = 'north'", "commissions c_"),
        ("UPDATE payouts SET iban = 'XX' WHERE payout_id = 'po_3_1'", "batches pb_3 of north: its content_hash"),
    ],
)
def test_on_both_databases(history, statement, expected):
    tamper(history, statement)

    assert str(verify(history.books).fault).startswith(expected)


def test_the_tail_cut_off_is_found_by_what_it_booked(history):
    tamper(
        history,
        "DELETE FROM postings WHERE number >= 6 AND tenant_id = 'north'",
        "DELETE FROM entries WHERE number >= 6 AND tenant_id = 'north'",
    )

    fault = verify(history.books).fault

    assert fault is not None
    assert fault.table == "commissions"
    assert "which does not exist" in fault.what


def test_a_live_line_twice_is_refused_by_the_database(history):
    columns = "commission_id, amount_minor, live FROM payout_lines WHERE payout_id = 'po_1_2'"
    again = f"INSERT INTO payout_lines SELECT tenant_id, 'po_3_1', {columns}"

    with pytest.raises(Exception, match=r"(?i)unique"), history.books.writing() as connection:
        connection.execute(text(again))


def test_the_guards_stand_where_they_are_taken_down_here():
    assert 'TABLES = ("entries", "postings", "commissions")' in (FOLDER / "books" / "0002_append_only.py").read_text()


def forge(world, *sides):
    """An entry that the chain takes, by somebody who has this program's code."""
    with world.books.writing() as connection:
        number, previous = head(connection, NORTH)
        values = (NORTH, number + 1, "release", f"forged:{number}", world.clock(), "", "", "2026-11")
        insert_entries(connection, [entry_of((*values, previous, chained(previous, values, sides)), sides)])


@pytest.mark.parametrize(
    ("sides", "what"),
    [
        ([("pending", "anna", "EUR", -5), ("approved", "anna", "EUR", 6)], "its postings of anna in EUR sum to 1, not to zero"),
        ([("pending", "anna", "EUR", -5), ("approved", "ben", "EUR", 5)], "its postings of anna in EUR sum to -5, not to zero"),
        ([("pending", "anna", "EUR", -5), ("approved", "anna", "USD", 5)], "its postings of anna in EUR sum to -5, not to zero"),
        ([("pending", "anna", "EUR", 5)], "its postings of anna in EUR sum to 5, not to zero"),
        ([("pending", "anna", "EUR", 5), ("held", "anna", "EUR", 5), ("paid", "anna", "EUR", -9)], "sum to 1, not to zero"),
    ],
)
def test_a_forged_entry_that_does_not_sum_to_zero_is_named_behind_a_checkpoint_too(sqlite_history, sides, what):
    checkpoints = {one.tenant_id: one for one in verify(sqlite_history.books).checkpoints}
    forge(sqlite_history, *sides)

    for since in ({}, checkpoints):
        fault = verify(sqlite_history.books, checkpoints=since).fault
        assert fault is not None
        assert (fault.table, fault.row) == ("entries", "12")
        assert what in fault.what


def test_a_forged_entry_that_moves_money_between_states_is_for_a_full_run(sqlite_history):
    checkpoints = {one.tenant_id: one for one in verify(sqlite_history.books).checkpoints}
    forge(sqlite_history, ("pending", "ben", "EUR", -5), ("approved", "ben", "EUR", 5))

    assert verify(sqlite_history.books, checkpoints=checkpoints).fault is None, "as docs/money.md says"
    assert "commissions approved sum to" in str(verify(sqlite_history.books).fault)


def test_a_forged_commission_that_earns_nothing_for_no_reason_is_named(sqlite_history):
    with sqlite_history.books.writing() as connection:
        row = next(row for row in read_all(connection, NORTH) if not row.amount_minor)
        forged = msgspec.structs.replace(row, reason="", idempotency_key="forged")
        insert_commissions(connection, [msgspec.structs.replace(forged, commission_id=commission_id(forged))])

    assert "it earns nothing and says no reason" in str(verify(sqlite_history.books).fault)
