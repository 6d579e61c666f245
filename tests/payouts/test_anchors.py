"""Anchors: heads of the chains in a file of their own, which tells a ledger that was rewritten, hashes and all."""

import threading

import msgspec
import pytest
from sqlalchemy import text

from core.clock import DAY, MINUTE
from core.errors import Unavailable
from payouts.anchors import FILE, Anchor, anchor, read_anchors, run_anchoring
from payouts.digests import chained
from payouts.verify import verify
from store.ledger import read_entries
from tests.people import NORTH, SOUTH


@pytest.fixture
def file(tmp_path):
    return tmp_path / FILE


def sold(world, *order_ids, tenant_id=NORTH):
    for order_id in order_ids:
        world.sell(order_id, "anna", tenant_id=tenant_id)
    world.accrue()
    return world


def rewrite(world):
    """As somebody would who has the database in hands, and this program's code: another memo, and every hash made anew."""
    with world.books.writing() as connection:
        connection.execute(text("DROP TRIGGER entries_no_update"))
        previous = ""
        for entry in list(read_entries(connection, NORTH)):
            forged = msgspec.structs.replace(entry, memo=entry.memo + "!")
            fields = msgspec.structs.astuple(forged)[:7]
            digest = chained(previous, (*fields, forged.period), [msgspec.structs.astuple(side)[:4] for side in forged.postings])
            change = text(
                "UPDATE entries SET memo = :memo, previous_hash = :previous, hash = :hash WHERE tenant_id = 'north' AND number = :n"
            )
            connection.execute(change, {"memo": forged.memo, "previous": previous, "hash": digest, "n": entry.number})
            previous = digest


def test_the_head_of_every_chain_is_a_line_and_only_what_moved_is_written_again(world, file):
    sold(world, "A-1", "A-2")
    sold(world, "A-1", tenant_id=SOUTH)
    first = anchor(world.books, file, world.clock())
    assert [(one.tenant_id, one.number, one.at) for one in first] == [
        (NORTH, 2, "2026-11-21T12:00:00.000Z"),
        (SOUTH, 1, "2026-11-21T12:00:00.000Z"),
    ]
    assert anchor(world.books, file, world.clock()) == []

    world.clock.advance(DAY)
    sold(world, "A-3")
    second = anchor(world.books, file, world.clock())
    assert [(one.tenant_id, one.number) for one in second] == [(NORTH, 3)]
    assert read_anchors(file).lines == (*first, *second)
    report = verify(world.books, anchors=read_anchors(file))
    assert (report.fault, report.anchors) == (None, 3)


def test_a_ledger_that_was_rewritten_as_a_whole_is_found(sqlite_world, file):
    sold(sqlite_world, "A-1", "A-2")
    anchor(sqlite_world.books, file, sqlite_world.clock())
    rewrite(sqlite_world)

    assert verify(sqlite_world.books).fault is None, "hash by hash, nothing is wrong with it"
    fault = verify(sqlite_world.books, anchors=read_anchors(file)).fault
    assert (
        str(fault) == "entries 2 of north: its hash is not the one that was anchored at 2026-11-21T12:00:00.000Z: the ledger was rewritten"
    )


def test_a_ledger_that_was_cut_off_or_is_gone_is_found(sqlite_world, file):
    lines = [Anchor("2026-11-20T00:00:00.000Z", "gone", 7, "x")]
    file.write_bytes(b"".join(line_of(line) for line in lines))

    fault = verify(sqlite_world.books, anchors=read_anchors(file)).fault
    assert str(fault) == "entries 7 of gone: it is missing, but was the last one when it was anchored at 2026-11-20T00:00:00.000Z"
    assert verify(sqlite_world.books, NORTH, anchors=read_anchors(file)).fault is None, "nothing of north is missing"


def line_of(line):
    import msgspec

    return msgspec.json.encode(line) + b"\n"


def test_a_line_that_a_crash_left_unfinished_goes_one_that_was_damaged_is_named(sqlite_world, file):
    sold(sqlite_world, "A-1")
    anchor(sqlite_world.books, file, sqlite_world.clock())
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    assert read_anchors(file).unreadable == ()

    sold(sqlite_world, "A-2")
    anchor(sqlite_world.books, file, sqlite_world.clock())
    assert [one.number for one in read_anchors(file).lines] == [1, 2]
    assert file.read_bytes().startswith(whole)

    file.write_bytes(b"x" + file.read_bytes())
    assert read_anchors(file).unreadable == (1,)
    assert str(verify(sqlite_world.books, anchors=read_anchors(file)).fault).startswith("anchors line 1 ")


def test_a_folder_that_cannot_be_written_is_told(sqlite_world, tmp_path):
    sold(sqlite_world, "A-1")
    with pytest.raises(Unavailable, match="the anchors cannot be written to"):
        anchor(sqlite_world.books, tmp_path / "none" / FILE, sqlite_world.clock())


def test_the_engine_anchors_once_a_day(sqlite_world, file):
    sold(sqlite_world, "A-1")
    stop, looks = threading.Event(), []

    def clock():
        looks.append(1)
        if len(looks) in (3, 7):
            sold(sqlite_world, f"B-{len(looks)}")
        if len(looks) == 10:
            stop.set()
        return sqlite_world.clock() + (DAY if len(looks) > 7 else MINUTE)

    run_anchoring(sqlite_world.books, file, clock, stop, every_s=0)
    assert [(one.number, one.at[:10]) for one in read_anchors(file).lines] == [(1, "2026-11-21"), (3, "2026-11-22")]


def test_a_failing_day_is_tried_again(sqlite_world, tmp_path, caplog):
    sold(sqlite_world, "A-1")
    stop, folder, looks = threading.Event(), tmp_path / "later", []

    def clock():
        looks.append(1)
        if len(looks) == 4:
            folder.mkdir()
        if len(looks) > 5:
            stop.set()
        return sqlite_world.clock()

    run_anchoring(sqlite_world.books, folder / FILE, clock, stop, every_s=0)
    assert len(read_anchors(folder / FILE).lines) == 1
    assert "were not anchored, it is tried again" in caplog.text
