"""Checkpoints: a run reads what is new since the last one, names what is wrong with that, and says what it did not read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.event import listen

from core.catalogue import Tenant
from core.clock import DAY, SECOND
from payouts.adjustments import Proposal, approve, propose
from payouts.anchors import FILE as ANCHORS
from payouts.anchors import anchor, read_anchors
from payouts.batches import approve as approve_batch
from payouts.batches import prepare, settle, void
from payouts.checkpoints import FILE, Checkpoint, read_checkpoints, write_checkpoints
from payouts.holds import hold, reject, release_due
from payouts.ledger import Draft, post_all, transfer
from payouts.periods import close_period
from payouts.verify import VerifyReport, verify
from store.books import Books, open_books
from store.ledger import head
from tests.people import NORTH, SOUTH

FRANK, FIONA = "frank@north.example", "fiona@north.example"


def since(report: VerifyReport) -> dict[str, Checkpoint]:
    return {one.tenant_id: one for one in report.checkpoints}


def earlier(world) -> None:
    world.put(Tenant(NORTH, "North Shoes", "EUR", adjustment_limit_minor=5_00))
    for number in range(4):
        world.sell(f"A-{number}", "anna", at=world.clock() - 40 * DAY)
    world.sell("A-9", "ben")
    world.accrue()
    hold(world.books, NORTH, "A-3", "", "odd", FRANK, world.clock())
    propose(world.books, NORTH, Proposal("ben", 90_00, "EUR", "large"), FRANK, world.clock())
    world.clock.advance(SECOND)


def later(world) -> None:
    """Entries of every kind, about old and new commissions."""
    now = world.clock()
    batch = prepare(world.books, NORTH, "EUR", now, FRANK, now)
    close_period(world.books, NORTH, "2026-10", FRANK, now)
    approve_batch(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, now)
    settle(world.books, NORTH, batch.batch_id, FIONA, now)
    approve(world.books, NORTH, "adj_1", FIONA, now)
    world.sell("B-1", "ben", at=now - 40 * DAY)
    world.sell("B-2", "ben")
    world.sell("B-3", "anna", at=now - 40 * DAY)
    world.refund("A-1", net_minor=10_00)
    world.accrue()
    hold(world.books, NORTH, "B-2", "ben", "odd", FRANK, now)
    reject(world.books, NORTH, "B-1", "", "fraud", FRANK, now)
    world.clock.advance(SECOND)
    void(world.books, NORTH, prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock()).batch_id, FIONA, world.clock())
    prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock())
    release_due(world.books, world.clock())


@pytest.fixture
def known(sqlite_world):
    """A ledger that was verified, with new entries since; and its checkpoints."""
    return verified(sqlite_world)


@contextmanager
def copied(world, path: Path, statement: str) -> Iterator[Books]:
    """The books with the guards off and one statement done to them."""
    with closing(sqlite3.connect(world.books.engine.url.database)) as original, closing(sqlite3.connect(path)) as copy:
        original.backup(copy)
        for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            copy.execute(f"DROP TRIGGER {name}")
        assert copy.execute(statement).rowcount > 0, statement
        copy.commit()
    with closing(open_books(f"sqlite:///{path}")) as books:
        yield books


def verified(world):
    earlier(world)
    checkpoints = since(verify(world.books))
    later(world)
    assert verify(world.books).fault is None
    return world, checkpoints


def test_only_what_is_new_is_read(world):
    earlier(world)
    world.sell("A-1", "ben", tenant_id=SOUTH)
    world.accrue()
    first = verify(world.books, clock=world.clock)
    assert (first.entries, first.earlier) == (7, 0)
    assert [(one.tenant_id, one.number, one.steps) for one in first.checkpoints] == [(NORTH, 6, 1), (SOUTH, 1, 0)]
    assert [one.hash for one in first.checkpoints] == [head.hash for head in first.heads]

    later(world)
    whole = verify(world.books)
    new = verify(world.books, checkpoints=since(first))
    assert (new.fault, new.earlier, new.entries, new.batches) == (None, 7, whole.entries - 7, 3)
    assert new.heads == whole.heads
    assert 0 < new.commissions < whole.commissions
    again = verify(world.books, checkpoints=since(new))
    assert (again.fault, again.entries, again.commissions, again.earlier) == (None, 0, 0, whole.entries)


def test_the_cost_does_not_grow_with_what_is_old(sqlite_world):
    """Counted in hundreds of the database's own steps: behind a checkpoint, entry 3,001 is as cheap to verify as entry 301."""
    steps: list[int] = []
    listen(sqlite_world.books.engine, "checkout", lambda raw, *_: raw.set_progress_handler(lambda: steps.append(1), 100))
    costs = []
    for old in (300, 3_000):
        moves(sqlite_world, *(f"{old}-{number}" for number in range(old)))
        checkpoints = {SOUTH: Checkpoint("", SOUTH, *head_of(sqlite_world))}
        moves(sqlite_world, f"{old}-new")
        steps.clear()
        report = verify(sqlite_world.books, SOUTH, checkpoints=checkpoints)
        assert (report.fault, report.entries) == (None, 1)
        costs.append(len(steps))
    assert costs[1] <= costs[0] + 5, costs


def moves(world, *keys: str) -> None:
    drafts = [Draft(SOUTH, "release", key, 1, postings=transfer("anna", "EUR", 1, "pending", "approved")) for key in keys]
    with world.books.writing() as connection:
        post_all(connection, drafts)


def head_of(world) -> tuple[int, str]:
    with world.books.reading() as connection:
        return head(connection, SOUTH)


WRONG = [
    ("UPDATE entries SET memo = 'x' WHERE number = 8", "entries 8 of north: its hash does not fit its content and postings"),
    ("UPDATE entries SET previous_hash = 'x' WHERE number = 7", "entries 7 of north: its previous_hash is not the hash"),
    ("UPDATE postings SET amount_minor = amount_minor + 1 WHERE number = 8 AND position = 0", "entries 8 of north: its hash"),
    ("DELETE FROM entries WHERE number = 9", "entries 9 of north: it is missing; the next one is 10"),
    ("DELETE FROM entries WHERE number >= 6", "entries 6 of north: it is missing, but was there when it was verified at"),
    ("UPDATE entries SET hash = 'x' WHERE number = 6", "entries 6 of north: its hash is not the one that was verified at"),
    ("UPDATE commissions SET amount_minor = 1 WHERE order_id = 'B-1'", "its content does not fit its id (order B-1"),
    ("UPDATE commissions SET rule_id = 'x' WHERE order_id = 'B-2'", "its content does not fit its id (order B-2"),
    ("DELETE FROM commissions WHERE order_id = 'B-2'", "the 0 commissions that name it are not those that it booked"),
    ("UPDATE commissions SET entry_number = 77 WHERE order_id = 'B-3'", "it names entry 77, which does not exist"),
    ("UPDATE commissions SET entry_number = 2 WHERE order_id = 'B-3'", "the 0 commissions that name it are not those"),
    ("UPDATE commissions SET state = 'approved' WHERE order_id = 'B-2'", "but somebody's hold stands over it"),
    ("UPDATE commissions SET state = 'paid' WHERE order_id = 'B-2'", "its state is paid, but it is in no live payout"),
    ("UPDATE commissions SET state = 'approved' WHERE order_id = 'A-1' AND state = 'paid'", "but a payout line pays it"),
    ("UPDATE batches SET prepared_by = 'x' WHERE batch_id = 'pb_1'", "batches pb_1 of north: its content_hash"),
    ("UPDATE payouts SET iban = 'XX' WHERE payout_id LIKE 'po_3_%'", "batches pb_3 of north: its content_hash"),
    ("UPDATE payouts SET amount_minor = 1 WHERE payout_id = 'po_1_1'", "payouts po_1_1 of north: its amount 1 is not the sum"),
    ("UPDATE payout_lines SET amount_minor = 1 WHERE payout_id = 'po_1_1'", "it pays 1, its commission is"),
    ("DELETE FROM batches WHERE batch_id = 'pb_2'", "batches pb_2 of north: entry"),
    ("UPDATE holds SET reason = 'x' WHERE number = 2", "holds 2 of north: the ledger has no entry that says this"),
    ("DELETE FROM holds WHERE number = 3", "holds 3 of north: entry"),
    ("UPDATE adjustments SET amount_minor = 9100", "no adjustment adj_1 was booked with this content"),
    ("UPDATE adjustments SET reason = 'x'", "adjustments adj_1 of north: the people or the reason"),
    ("UPDATE periods SET head_hash = 'x'", "periods 2026-10 of north: entry"),
]  # fmt: skip


def test_what_is_wrong_with_new_entries_is_named(known, tmp_path):
    for number, (statement, fault) in enumerate(WRONG):
        with copied(known[0], tmp_path / f"{number}.sqlite", statement) as books:
            assert fault in str(verify(books, checkpoints=known[1]).fault), statement


def test_a_commission_that_passed_its_hold_too_early_is_named(sqlite_world, tmp_path):
    checkpoints = {NORTH: verified(sqlite_world)[1][NORTH]}
    sqlite_world.sell("C-1", "anna")
    sqlite_world.accrue()
    with copied(sqlite_world, tmp_path / "copy.sqlite", "UPDATE commissions SET state = 'approved' WHERE order_id = 'C-1'") as books:
        fault = str(verify(books, checkpoints=checkpoints).fault)
    assert "its state is approved, but its order's hold runs until 2026-12-2" in fault


OLD = [
    "UPDATE entries SET memo = 'x' WHERE number = 2",
    "UPDATE postings SET amount_minor = amount_minor + 1 WHERE number = 3 AND position = 0",
    "DELETE FROM commissions WHERE order_id = 'A-9'",
    "UPDATE commissions SET state = 'approved' WHERE order_id = 'A-9'",
]


def test_what_is_wrong_with_earlier_ones_is_for_a_full_run(known, tmp_path):
    for number, statement in enumerate(OLD):
        with copied(known[0], tmp_path / f"{number}.sqlite", statement) as books:
            assert verify(books, checkpoints=known[1]).fault is None, "as docs/money.md says"
            assert verify(books).fault is not None


def test_every_anchor_is_compared_however_old(known, tmp_path):
    world, _ = known
    anchor(world.books, tmp_path / ANCHORS, world.clock())
    checkpoints = since(verify(world.books))
    forged = {NORTH: msgspec.structs.replace(checkpoints[NORTH], hash="x")}
    with copied(world, tmp_path / "copy", f"UPDATE entries SET hash = 'x' WHERE number = {forged[NORTH].number}") as books:
        fault = verify(books, anchors=read_anchors(tmp_path / ANCHORS), checkpoints=forged).fault
    assert "its hash is not the one that was anchored at" in str(fault)


def test_the_file_holds_one_line_for_each_tenant(tmp_path):
    north, south = Checkpoint("2026-11-21T12:00:00.000Z", NORTH, 6, "ab", 1), Checkpoint("2026-11-21T12:00:00.000Z", SOUTH, 1, "cd")
    write_checkpoints(tmp_path / FILE, [north, south], {})
    newer = msgspec.structs.replace(north, number=7, hash="ef")
    write_checkpoints(tmp_path / FILE, [newer], read_checkpoints(tmp_path / FILE))

    assert read_checkpoints(tmp_path / FILE) == {NORTH: newer, SOUTH: south}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("line", [b"x", b"{}", b'{"at":"","tenant_id":"north","number":0,"hash":""}', b'{"at":"","tenant_id":"north","nu'])
def test_a_line_that_cannot_be_read_makes_the_next_run_begin_at_the_first_entry(tmp_path, line):
    (tmp_path / FILE).write_bytes(line + b"\n")

    assert read_checkpoints(tmp_path / FILE) == {}
    assert read_checkpoints(tmp_path / "none") == {}
