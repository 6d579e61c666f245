"""Whoever tampers with a store is seen: one thing is changed in an installation that balances, and conservation says so."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from core.clock import HOUR, MINUTE
from core.events import Event, Lead, Line, Order, Refund, Touch, encode_event
from core.settings import Settings
from store.events import EventsStore
from tests.fakes import NOON, FakeClock
from tracker.conservation import Account, Census, account, advice, totals
from tracker.counters import CountersFile, Loss, Totals, read_counters, write_counters
from tracker.drain import Drain
from tracker.manifest import read_cursor, write_cursor
from tracker.spool import frame, own_folder

FIRST, SECOND = f"{NOON * 1000:020d}.log", f"{(NOON + HOUR) * 1000:020d}.log"


def click(number: int, at: int = NOON, tenant_id: str = "north") -> Touch:
    return Touch(f"T{number}", "click", tenant_id, "main", "anna", "a1", at, at, user_agent="Mozilla/5.0 (X11) Gecko/1 Firefox/1")


def order(number: int, at: int = NOON) -> Order:
    return Order(f"O{number}", "north", f"N-{number}", "EUR", at, at, lines=(Line("1", 10_00),), customer_keys=("em:1",))


LEAD = Lead("L1", "north", "l1", "signup", NOON, NOON)
REFUND = Refund("R1", "north", "N-1", "r1", "EUR", NOON, NOON)
EARLIER: tuple[Event, ...] = (click(1), click(2), click(3, tenant_id="south"), order(1), order(2), LEAD, REFUND)
LATER: tuple[Event, ...] = (click(4, NOON + HOUR), click(5, NOON + HOUR), click(6, NOON + HOUR + 2 * MINUTE))
UNUSABLE = b'{"event":"touch","tenant_id":"north","received_at":%d,"wings":2}' % NOON


class Scene:
    """A spool of two segments, stored to its end, and a tracker that still lives and has lost three clicks."""

    def __init__(self, where: Settings, events: EventsStore, clock: FakeClock) -> None:
        self.where, self.events, self.clock = where, events, clock
        self.folder = where.spool / "t0"
        self.folder.mkdir(parents=True)
        self.write(FIRST, *EARLIER, frame(UNUSABLE))
        self.write(SECOND, *LATER)
        self.count(recorded=len(EARLIER) + 1 + len(LATER))
        self.drain()

    def write(self, segment: str, *records: Event | bytes) -> None:
        with (self.folder / segment).open("ab") as file:
            file.writelines(record if isinstance(record, bytes) else frame(encode_event(record)) for record in records)

    def count(self, recorded: int, lost: int = 3, **more: int) -> None:
        sums = Totals(**{"received": recorded + lost, "recorded": recorded, "unrecorded": lost} | more)
        losses = (Loss("north", NOON, lost),) if lost else ()
        assert write_counters(self.folder, msgspec.json.encode(CountersFile("t0", NOON, NOON, sums, {}, losses)))

    def drain(self) -> None:
        with Drain(self.where, self.events, self.clock) as drain:
            while drain.step().records:
                pass

    def look(self) -> Account:
        return account(self.where, self.events)

    def change(self, segment: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
        path = self.folder / segment
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


@pytest.fixture
def scene(tmp_path: Path, events: EventsStore, clock: FakeClock) -> Scene:
    clock.advance(2 * HOUR)
    made = Scene(Settings(data=tmp_path), events, clock)
    lock = own_folder(made.folder)
    found = made.look()
    os.close(lock)
    assert found.balanced
    assert not any(row.doubled for row in found.rows)
    assert [(row.tenant_id, row.received, row.stored, row.bad, row.unrecorded) for row in found.rows] == [
        ("north", 10, 6, 1, 3), ("north", 3, 3, 0, 0), ("south", 1, 1, 0, 0)
    ]  # fmt: skip
    return made


def off(found: Account) -> list[tuple[str, int, int, bool]]:
    """Tenant, hour after noon, difference and whether it was altered, of each row that does not balance."""
    assert not found.balanced
    assert all(advice(row) for row in found.rows if not row.balanced)
    return [(row.tenant_id, (row.hour - NOON) // HOUR, row.difference, row.altered) for row in found.rows if not row.balanced]


# --- the events store ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "column", "event_id"),
    [("touches", "touch_id", "T1"), ("leads", "event_id", "L1"), ("orders", "event_id", "O2"), ("refunds", "event_id", "R1")],
)
def test_a_deleted_row_is_missing(scene: Scene, table: str, column: str, event_id: str) -> None:
    scene.events.command(f"DELETE FROM {table} WHERE {column} = {{id:String}}", id=event_id)

    assert off(scene.look()) == [("north", 0, 1, False)]
    assert "missing from the store, but still in the spool" in advice(scene.look().rows[0])


def test_what_the_store_lost_is_stored_again_as_the_advice_says(scene: Scene) -> None:
    before = scene.look().rows
    scene.events.command("TRUNCATE TABLE touches")  # as from a backup of before: it forgets the tokens, too
    assert off(scene.look()) == [("north", 0, 2, False), ("north", 1, 3, False), ("south", 0, 1, False)]

    write_cursor(scene.folder, msgspec.structs.replace(read_cursor(scene.folder), segment="", offset=0))
    scene.clock.advance()
    scene.drain()
    assert scene.look().rows == before


def test_a_doubled_row_is_counted_once_and_shown(scene: Scene) -> None:
    scene.events.command("INSERT INTO touches SELECT * FROM touches WHERE touch_id = 'T1'")

    found = scene.look()
    assert found.balanced, "reports count it once, so nothing is wrong"
    assert totals(found.rows).doubled == 1


def test_a_row_given_to_another_tenant_is_missing_here_and_too_much_there(scene: Scene) -> None:
    scene.events.command("INSERT INTO touches SELECT * REPLACE('south' AS tenant_id) FROM touches WHERE touch_id = 'T1'")
    scene.events.command("DELETE FROM touches WHERE touch_id = 'T1' AND tenant_id = 'north'")

    assert off(scene.look()) == [("north", 0, 1, False), ("south", 0, -1, False)]
    assert off(account(scene.where, scene.events, "south")) == [("south", 0, -1, False)]


def test_a_row_moved_to_another_hour_is_missing_then_and_too_much_now(scene: Scene) -> None:
    moved = "SELECT * REPLACE(received_at + INTERVAL 1 HOUR AS received_at) FROM orders WHERE event_id = 'O1'"
    scene.events.command(f"INSERT INTO orders {moved}")
    scene.events.command("DELETE FROM orders WHERE event_id = 'O1' AND received_at < toDateTime64('2026-11-21 13:00:00', 3, 'UTC')")

    assert off(scene.look()) == [("north", 0, 1, False), ("north", 1, -1, False)]


def test_a_row_put_in_anothers_place_is_seen_though_the_numbers_agree(scene: Scene) -> None:
    scene.events.command("INSERT INTO touches SELECT * REPLACE('TX' AS touch_id) FROM (SELECT * FROM touches WHERE touch_id = 'T1')")
    scene.events.command("DELETE FROM touches WHERE touch_id = 'T1'")

    assert off(scene.look()) == [("north", 0, 0, True)]


def test_a_bad_row_that_is_removed_is_missing_and_one_that_is_made_up_is_too_much(scene: Scene) -> None:
    made_up = "SELECT * REPLACE(7 AS position) FROM bad_rows"
    scene.events.command(f"INSERT INTO bad_rows {made_up}")
    assert off(scene.look()) == [("north", 0, -1, False)]

    scene.events.command("DELETE FROM bad_rows WHERE 1")
    assert off(scene.look()) == [("north", 0, 1, False)]


# --- the spool -------------------------------------------------------------------------------------------------------


def test_a_record_deleted_from_the_spool_leaves_too_much_in_the_store(scene: Scene) -> None:
    scene.change(FIRST, lambda lines: lines[1:])

    found = scene.look()
    assert off(found) == [("north", 0, -1, False)]
    assert found.faults == [
        "t0: the tracker's segments do not hold 1 of the 11 events that it recorded since it started; "
        "a segment was cut, edited or deleted: restore it from a backup"
    ]


def test_a_record_edited_in_the_spool_is_seen(scene: Scene) -> None:
    scene.change(FIRST, lambda lines: [frame(encode_event(click(9))), *lines[1:]])
    assert off(scene.look()) == [("north", 0, 0, True)]

    scene.change(FIRST, lambda lines: [b"0" * 8 + lines[0][8:], *lines[1:]])  # a checksum that does not fit
    assert off(scene.look()) == [("", 0, 1, False), ("north", 0, -1, False)]


def test_a_record_added_before_what_is_stored_is_missing_from_the_store(scene: Scene) -> None:
    scene.change(FIRST, lambda lines: [*lines, frame(encode_event(click(9)))])

    assert off(scene.look()) == [("north", 0, 1, False)]


@pytest.mark.parametrize("segment", [FIRST, SECOND])
def test_a_truncated_segment_is_seen(scene: Scene, segment: str) -> None:
    scene.change(segment, lambda lines: [*lines[:-1], lines[-1][:20]])

    found = scene.look()
    assert [row for row in off(found) if row[2] < 0]
    assert any("do not hold" in fault for fault in found.faults)
    if segment == SECOND:
        assert any(re.search(r"\d+\.log was cut: \d+ bytes of it are stored", fault) for fault in found.faults)


@pytest.mark.parametrize("segment", [FIRST, SECOND])
def test_a_deleted_segment_is_named(scene: Scene, segment: str) -> None:
    (scene.folder / segment).unlink()

    found = scene.look()
    assert sum(row[2] for row in off(found)) < 0
    assert any(segment in fault and "was deleted" in fault for fault in found.faults)


def test_what_is_taken_from_the_spool_before_it_is_stored_misses_in_what_the_tracker_counted(scene: Scene) -> None:
    scene.write(SECOND, click(7, NOON + HOUR), click(8, NOON + HOUR))
    scene.count(recorded=13)
    assert scene.look().balanced
    scene.change(SECOND, lambda lines: lines[:-1])

    found = scene.look()
    assert all(row.balanced for row in found.rows), "no store can know of it"
    assert [fault.partition("; ")[0] for fault in found.faults] == [
        "t0: the tracker's segments do not hold 1 of the 13 events that it recorded since it started"
    ]


def test_a_record_added_behind_what_is_stored_is_an_event_that_waits(scene: Scene) -> None:
    """The spool is the truth: nothing can tell a made-up record there from a real one. docs/durability.md says so."""
    scene.write(SECOND, click(9, NOON + HOUR))

    assert scene.look().balanced
    assert totals(scene.look().rows).pending == 1


# --- the counters ----------------------------------------------------------------------------------------------------


def test_counters_that_are_damaged_or_gone_are_said_to_be(scene: Scene) -> None:
    file = scene.folder / "counters.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert scene.look().faults == [
        "t0: counters.json is damaged: what was answered but not recorded is unknown; restore it from a backup, or move it away"
    ]
    file.unlink()
    assert scene.look().faults == ["t0: counters.json is gone: what was answered but not recorded is unknown; restore it from a backup"]


def test_losses_that_were_edited_away_do_not_add_up(scene: Scene) -> None:
    file = read_counters(scene.folder)
    assert file
    assert write_counters(scene.folder, msgspec.json.encode(msgspec.structs.replace(file, unrecorded=())))
    assert scene.look().faults == ["t0: counters.json does not add up: somebody edited it; restore it from a backup"]

    scene.count(recorded=11, received=12)
    assert scene.look().faults == ["t0: counters.json does not add up: somebody edited it; restore it from a backup"]
    scene.count(recorded=12)
    assert [fault.partition(";")[0] for fault in scene.look().faults] == [
        "t0: the tracker's segments do not hold 1 of the 12 events that it recorded since it started"
    ]


# --- what must not be taken for tampering ----------------------------------------------------------------------------


def test_a_request_that_went_away_and_a_young_tracker_are_no_faults(scene: Scene) -> None:
    scene.count(recorded=9, received=20)  # some clients hung up, and the file is a second old
    assert scene.look().balanced

    (scene.folder / "counters.json").unlink()
    scene.change(FIRST, lambda lines: [])
    scene.change(SECOND, lambda lines: [])
    assert not scene.look().faults or all("counters.json is gone" not in fault for fault in scene.look().faults)


def test_a_conversion_that_was_spooled_and_refused_twice_is_one_bad_event(scene: Scene) -> None:
    late = order(8)
    unusable = encode_event(late).replace(b'"currency":"EUR"', b'"currency":978')
    scene.write(SECOND, frame(unusable), frame(unusable))
    scene.drain()

    found = scene.look()
    assert found.balanced, found
    assert totals(found.rows).bad == 2, "the one of before, and this one"


def test_a_kept_census_sees_what_a_new_one_sees(scene: Scene) -> None:
    census = Census()
    assert account(scene.where, scene.events, census=census).balanced
    scene.change(FIRST, lambda lines: lines[:-2])

    assert account(scene.where, scene.events, census=census) == scene.look()
    assert not scene.look().balanced


def test_where_no_tracker_is_in_sight_nothing_is_claimed(tmp_path: Path, scene: Scene) -> None:
    found = account(Settings(data=tmp_path / "elsewhere"), scene.events)

    assert not found.sees_spool
    assert sum(row.stored for row in found.rows) == 10, "but one can see that something is stored"
