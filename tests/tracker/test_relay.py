"""From a machine's spool through Redis into the events store, in one process: what is lost on the way is sent again."""

import errno
import logging
import os
import re
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.clock import DAY
from core.errors import InUse, Unavailable
from core.events import Touch, encode_event
from core.settings import Settings
from store.books import Books
from store.events import EventsStore, Query
from store.spools import BEGINNING, Place, Progress, read_spools
from tests.fakes import NOON, FakeClock
from tests.servers import RedisServer
from tracker.commit import SpoolState
from tracker.counters import Counters
from tracker.drain import Drain, DrainReport
from tracker.files import SystemFiles
from tracker.health import health_of, metrics_of
from tracker.intake import Intake, open_drain
from tracker.lag import lag_in_health, read_lag
from tracker.links import EMPTY
from tracker.manifest import read_cursor
from tracker.relay import Relay, RelayReport, next_entry, run_relay
from tracker.spool import frame
from tracker.stream import ENTRY_BYTES, Streams, key_of

FIRST, SECOND = "00000000000000000001.log", "00000000000000000009.log"
TOUCHES = Query("touch_ids", "SELECT touch_id FROM touches ORDER BY touch_id")
ROWS = Query("rows", "SELECT touch_id, toUnixTimestamp64Milli(stored_at) FROM touches ORDER BY stored_at, touch_id")
BAD = Query("bad", "SELECT spool_id, segment, position, reason, raw FROM bad_rows ORDER BY spool_id, segment, position")


class PowerCut(Exception):
    """The process is gone: nothing that follows in it happens."""


class Memory:
    """An events store in memory that drops repeated tokens, as the real one does. ``before`` and ``after`` each insert, a plan."""

    def __init__(self) -> None:
        self.blocks: dict[str, list[dict[str, Any]]] = {}
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        self.before()
        rows = [msgspec.json.decode(line) for line in lines.splitlines()]
        known = self.blocks.setdefault(token, rows)
        assert [row | {"stored_at": 0} for row in known] == [row | {"stored_at": 0} for row in rows], "the same token, other rows"
        self.after()

    def ids(self) -> list[str]:
        """In the order of storing."""
        return [row["touch_id"] for rows in self.blocks.values() for row in rows]


def click(number: int) -> bytes:
    touch = Touch(f"T{number:05d}", "click", "north", "main", "anna", "a1", NOON, NOON, visitor_id="V", user_agent="Mozilla/5.0 Firefox/1")
    return frame(encode_event(touch))


class Node:
    """A tracker's machine: a data folder with its spool, and what runs there."""

    def __init__(self, data: Path, redis: RedisServer, books: Books, clock: FakeClock, **changes: Any) -> None:
        self.settings = Settings(data=data, queue_url=redis.url, **changes)
        self.books = books
        self.clock = clock
        self.written = 0

    def folder(self, tracker_id: str = "t0") -> Path:
        folder = self.settings.spool / tracker_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, *numbers: int, tracker_id: str = "t0", segment: str = FIRST, raw: bytes = b"") -> None:
        with (self.folder(tracker_id) / segment).open("ab") as file:
            file.write(b"".join(click(number) for number in numbers) + raw)

    def relay(self) -> Relay:
        return Relay(self.settings, self.books, self.clock)

    def intake(self, events: Any, lease_s: float = 5.0) -> Intake:
        return Intake(self.settings, self.books, events, self.clock, lease_s)

    def progress(self, tracker_id: str = "t0") -> Progress:
        with self.books.reading() as connection:
            [found] = read_spools(connection, [tracker_id])
        return found

    def key(self, tracker_id: str = "t0") -> str:
        return key_of(tracker_id, self.progress(tracker_id).identity)

    def carry(self, events: Any) -> DrainReport:
        """Relay and drain in turns, fresh processes, until nothing is left."""
        total = DrainReport()
        with self.relay() as relay, self.intake(events) as intake:
            while True:
                sent, stored = relay.step(), intake.step()
                total += stored
                if not sent.entries and not stored.records:
                    return total


@pytest.fixture
def node(tmp_path: Path, redis: RedisServer, sqlite_books: Books, clock: FakeClock) -> Node:
    return Node(tmp_path / "node", redis, sqlite_books, clock)


@pytest.fixture
def memory() -> Memory:
    return Memory()


def ids(first: int, last: int) -> list[str]:
    return [f"T{number:05d}" for number in range(first, last)]


# --- the plain way ---------------------------------------------------------------------------------------------------


def test_events_travel_from_the_spool_to_their_tables(node: Node, events: EventsStore) -> None:
    node.write(1, 2)
    node.write(3, segment=SECOND)
    node.write(4, tracker_id="t1")

    report = node.carry(events)

    assert (report.records, report.stored, report.bad) == (4, {"touches": 4}, 0)
    assert [touch_id for (touch_id,) in events.select(TOUCHES)] == ids(1, 5)
    size = (node.folder() / SECOND).stat().st_size
    assert node.progress().place == (SECOND, size)
    with closing(Streams(node.settings.queue)) as streams:
        assert streams.lengths([node.key(), node.key("t1")]) == [0, 0], "what is stored is gone from Redis"


def test_each_range_has_a_stored_at_of_its_own_in_the_order_of_storing(node: Node, events: EventsStore) -> None:
    node.write(1)
    node.write(2, tracker_id="t1")
    node.carry(events)
    node.write(3)
    node.carry(events)

    times = [at for _, at in events.select(ROWS)]
    assert len(set(times)) == 3
    assert times == sorted(times)


def test_damaged_and_unusable_records_go_to_bad_rows_and_torn_ends_are_passed_over(node: Node, events: EventsStore) -> None:
    node.write(1, raw=b"00000000 {}\n" + frame(b"[]") + b"a\rb\n" + click(2) + b"torn")
    node.write(3, segment=SECOND)

    assert node.carry(events).bad == 3

    assert [touch_id for (touch_id,) in events.select(TOUCHES)] == ids(1, 4)
    start = len(click(1))
    assert [(spool, segment, position - start, reason) for spool, segment, position, reason, _ in events.select(BAD)] == [
        ("t0", FIRST, 0, "damaged"),
        ("t0", FIRST, 12, "undecodable"),
        ("t0", FIRST, 24, "damaged"),
    ]


def test_a_last_line_that_is_still_being_written_waits(node: Node, memory: Memory) -> None:
    node.write(1, raw=click(2)[:20])
    node.carry(memory)
    assert memory.ids() == ids(1, 2)

    node.write(raw=click(2)[20:])
    node.carry(memory)
    assert memory.ids() == ids(1, 3)


def test_entries_are_whole_records_of_bounded_size(node: Node) -> None:
    node.write(*range(2000))
    place: Place = BEGINNING
    sizes = []
    while entry := next_entry(node.folder(), place):
        assert entry.after == place
        assert entry.lines.endswith(b"\n")
        sizes.append(len(entry.lines))
        place = entry.end

    assert sum(sizes) == (node.folder() / FIRST).stat().st_size
    assert len(sizes) > 1
    assert max(sizes) <= ENTRY_BYTES


def test_a_record_longer_than_an_entry_travels_whole(node: Node, events: EventsStore) -> None:
    giant = frame(b'{"x":"' + b"y" * 3 * ENTRY_BYTES + b'"}')
    node.write(1, raw=giant + click(2))

    assert node.carry(events).records == 3
    [(_, _, _, _, raw)] = events.select(BAD)
    assert len(raw) == len(giant) - 10


def test_the_cursor_on_the_machine_follows_the_books_so_that_a_file_drain_finds_nothing_to_do(
    node: Node, memory: Memory, clock: FakeClock
) -> None:
    node.write(1, 2)
    node.write(3, segment=SECOND)
    node.carry(memory)
    clock.advance(2000)
    with node.relay() as relay:
        relay.step()

    cursor = read_cursor(node.folder())
    assert (cursor.segment, cursor.offset) == node.progress().place
    assert cursor.stored_at == node.progress().stored_at
    assert list(cursor.passed) == [FIRST]
    with Drain(Settings(data=node.settings.data), memory, clock) as drain:  # type: ignore[arg-type]
        assert drain.step() == DrainReport()


def test_segments_are_deleted_when_they_were_stored_long_ago_and_not_before(node: Node, memory: Memory, clock: FakeClock) -> None:
    node.write(1)
    node.write(2, segment=SECOND)
    node.carry(memory)
    for days, left in ((0, [FIRST, SECOND]), (6, [FIRST, SECOND]), (2, [SECOND])):
        clock.advance(days * DAY + 2000)
        with node.relay() as relay:
            relay.step()
        assert sorted(path.name for path in node.folder().glob("*.log")) == left
    assert read_cursor(node.folder()).complete_from > NOON


def test_a_spool_of_the_file_queue_goes_on_where_its_drain_left_it(node: Node, memory: Memory, clock: FakeClock) -> None:
    node.write(1, 2)
    with Drain(Settings(data=node.settings.data), memory, clock) as drain:  # type: ignore[arg-type]
        drain.step()
        node.write(3, 4)
        memory.after = cut_now
        with pytest.raises(PowerCut):
            drain.step()
    memory.after = lambda: None
    node.write(5)
    node.carry(memory)

    assert memory.ids() == ids(1, 6)
    assert len(memory.blocks) == 3, "what the file drain had begun was repeated under its own token"


def test_the_very_first_range_of_the_file_queue_is_repeated_with_its_bounds(node: Node, memory: Memory, clock: FakeClock) -> None:
    node.write(1, 2)
    memory.after = cut_now
    with Drain(Settings(data=node.settings.data), memory, clock) as drain, pytest.raises(PowerCut):  # type: ignore[arg-type]
        drain.step()
    memory.after = lambda: None
    node.write(3)
    node.carry(memory)

    assert memory.ids() == ids(1, 4)
    assert len(memory.blocks) == 2


def test_a_file_drain_in_between_is_believed(node: Node, memory: Memory, clock: FakeClock) -> None:
    node.write(1)
    node.carry(memory)
    clock.advance(2000)
    with node.relay() as relay:
        relay.step()
    node.write(2)
    with Drain(Settings(data=node.settings.data), memory, clock) as drain:  # type: ignore[arg-type]
        drain.step()
    node.write(3)
    node.carry(memory)

    assert memory.ids() == ids(1, 4)
    assert len(memory.blocks) == 3


def test_books_from_a_backup_make_the_relay_send_again_what_they_do_not_know(
    node: Node, memory: Memory, clock: FakeClock, sqlite_url: str, tmp_path: Path
) -> None:
    """The events store may come from the same backup: better twice in the raw table than lost. Readers count an event once."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    node.write(1)
    node.carry(memory)
    node.books.close()
    backup = path.read_bytes()
    node.write(2)
    clock.advance(2000)
    node.carry(memory)
    clock.advance(2000)
    with node.relay() as relay:
        relay.step()
    node.books.close()
    for name in ("-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)
    path.write_bytes(backup)
    restored = Memory()

    node.carry(restored)

    assert restored.ids() == ids(2, 3)


# --- limits and errors -----------------------------------------------------------------------------------------------


def test_no_more_than_queue_mb_waits_in_redis(
    tmp_path: Path, redis: RedisServer, sqlite_books: Books, clock: FakeClock, memory: Memory
) -> None:
    node = Node(tmp_path / "node", redis, sqlite_books, clock, queue_mb=1)
    node.write(*range(8000))
    size = (node.folder() / FIRST).stat().st_size
    with node.relay() as relay, node.intake(memory) as intake:
        report = relay.step()
        assert report.unsent_bytes > 0
        assert report.pending_bytes == size
        assert 1_000_000 <= size - report.unsent_bytes < 1_000_000 + ENTRY_BYTES
        assert relay.step() == RelayReport(pending_bytes=size, unsent_bytes=report.unsent_bytes)
        intake.step()
        assert relay.step().entries > 0
    node.carry(memory)
    assert memory.ids() == ids(0, 8000)


def test_two_machines_may_not_use_one_tracker_id(
    node: Node, redis: RedisServer, memory: Memory, clock: FakeClock, tmp_path: Path, caplog: Any
) -> None:
    other = Node(tmp_path / "other", redis, node.books, clock)
    node.write(1)
    node.carry(memory)
    other.write(2, segment=SECOND)
    other.write(3, tracker_id="t7")
    other.carry(memory)

    assert memory.ids() == [*ids(1, 2), *ids(3, 4)]
    assert re.search("t0 is not sent: the tracker id t0 belongs to a spool folder of another machine", caplog.text)
    file = read_lag(other.folder())
    assert file is not None
    assert "another machine" in file.error
    assert file.pending_bytes == (other.folder() / SECOND).stat().st_size


def test_nothing_is_sent_that_is_not_safe_on_the_disk(node: Node) -> None:
    class Failing(SystemFiles):
        def sync_path(self, path: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

    node.write(1)
    with Relay(node.settings, node.books, node.clock, Failing()) as relay, closing(Streams(node.settings.queue)) as streams:
        with pytest.raises(Unavailable, match="cannot be made safe: Input/output error"):
            relay.step()
        assert streams.lengths([node.key()]) == [0]


def test_what_was_cut_off_while_it_was_read_is_not_sent(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.write(1, 2)

    def read_and_cut(folder: Path, place: Place) -> Any:
        entry = next_entry(folder, place)
        os.truncate(folder / FIRST, len(click(1)))
        return entry

    with node.relay() as relay, closing(Streams(node.settings.queue)) as streams:
        with monkeypatch.context() as patch:
            patch.setattr("tracker.relay.next_entry", read_and_cut)
            with pytest.raises(Unavailable, match=f"lost its last {len(click(2))} bytes"):
                relay.step()
        assert streams.lengths([node.key()]) == [0]
        assert relay.step().sent_bytes == len(click(1))


def test_a_disk_that_refuses_for_a_moment_refuses_a_folder_for_a_second(
    node: Node, memory: Memory, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    node.write(1)
    node.write(2, tracker_id="t1")

    def refuse(folder: Path) -> Any:
        raise Unavailable(f"{folder / 'relay.json'} cannot be written: no space")

    with node.relay() as relay, node.intake(memory) as intake:
        with monkeypatch.context() as patch:
            patch.setattr("tracker.relay._new_lag", refuse)
            for _ in range(3):
                clock.advance(1000)
                assert relay.step().entries == 0
        assert caplog.text.count("is not sent") == 2, "once for each folder, not each second"
        assert relay.step().entries == 0
        clock.advance(1000)
        assert relay.step().entries == 2
        intake.step()
    assert sorted(memory.ids()) == ids(1, 3)


@pytest.mark.parametrize("name", ["manifest", "cursor.json"])
def test_a_damaged_file_stops_its_own_folder_until_it_is_mended(node: Node, memory: Memory, clock: FakeClock, name: str) -> None:
    node.write(1)
    node.write(2, tracker_id="t1")
    with Drain(Settings(data=node.settings.data), memory, clock) as drain:  # type: ignore[arg-type]
        drain.step()
    node.write(3)
    node.write(4, tracker_id="t1")
    file = node.folder() / name
    whole = file.read_bytes() if file.exists() else b""
    file.write_bytes(b"{")

    with node.relay() as relay, node.intake(memory) as intake:
        assert relay.step().entries == 1
        lag = read_lag(node.folder())
        assert lag is not None
        assert re.search(f"{name} is damaged", lag.error)
        if whole:
            file.write_bytes(whole)
        else:
            file.unlink()
        clock.advance(1000)
        assert relay.step().entries == 1
        assert error_of(node) == ""
        intake.step()
    assert sorted(memory.ids()) == ids(1, 5), "the file drain's place was believed, before and after"


def test_a_folder_that_cannot_be_read_does_not_hold_up_the_others(node: Node, memory: Memory, caplog: Any) -> None:
    node.write(1)
    node.write(2, tracker_id="t1")
    (node.folder() / "relay.json").write_text("{")
    node.carry(memory)

    assert memory.ids() == ids(2, 3)
    assert "relay.json is damaged" in caplog.text
    assert (node.folder() / "relay.json").read_text() == "{"


def test_a_folder_is_read_by_a_relay_or_by_a_drain(node: Node, memory: Memory, clock: FakeClock) -> None:
    file_queue = Settings(data=node.settings.data)
    with node.relay() as relay:
        relay.step()
        with Drain(file_queue, memory, clock) as drain, pytest.raises(InUse):  # type: ignore[arg-type]
            drain.step()
        with node.relay() as second, pytest.raises(InUse, match="another relay, or a drain, is at work"):
            second.step()


def test_one_that_stands_by_goes_on_when_the_other_ends_and_any_other_gives_up(node: Node, caplog: Any) -> None:
    node.write(1)
    with node.relay() as first, node.relay() as second:
        first.step()
        with pytest.raises(InUse):
            run_relay(second, threading.Event(), 5)
        stop = threading.Event()
        runner = threading.Thread(target=run_relay, args=(second, stop, 5, True))
        runner.start()
        wait_for(lambda: "another relay, or a drain, is at work" in caplog.text)
        first.close()
        wait_for(lambda: "relaying goes on" in caplog.text)
        stop.set()
        runner.join()


def test_the_relay_notes_how_far_behind_it_is_and_why(node: Node, redis: RedisServer, clock: FakeClock) -> None:
    node.write(1)
    with node.relay() as relay:
        relay.step()
        file = read_lag(node.folder())
        assert file is not None
        size = len(click(1))
        assert (file.pending_bytes, file.queued_bytes, file.entries, file.oldest_at, file.error) == (size, size, 1, NOON, "")

        redis.kill()
        clock.advance(2000)
        stop = threading.Event()
        runner = threading.Thread(target=run_relay, args=(relay, stop, 10))
        runner.start()
        wait_for(lambda: "cannot be reached" in error_of(node))
        redis.start()
        clock.advance(2000)
        wait_for(lambda: error_of(node) == "")
        stop.set()
        runner.join()


def test_health_and_metrics_show_how_far_behind_the_relay_is(node: Node, clock: FakeClock) -> None:
    node.write(1)
    assert lag_in_health(node.folder(), clock) == {"error": "no relay has run yet"}
    with node.relay() as relay:
        relay.step()
        clock.advance(500)
        lag = lag_in_health(node.folder(), clock)

    size = len(click(1))
    assert lag == {"pending_bytes": size, "queued_bytes": size, "entries": 1, "oldest_age_ms": 500, "silent_ms": 500, "error": ""}
    spool: Any = SpoolStandIn()
    assert health_of(Counters("t0", NOON), spool, EMPTY, lag)["queue"] == lag
    assert "queue" not in health_of(Counters("t0", NOON), spool, EMPTY)
    assert f"\ntracker_queue_pending_bytes {float(size)}\n" in metrics_of(Counters("t0", NOON), spool, lag)[0]


class SpoolStandIn:
    """A tracker's spool, as far as health asks it."""

    is_healthy = True

    def state(self) -> SpoolState:
        return SpoolState("strict", 0, FIRST, 0, 1, 0, "", 0.5)


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(node: Node, redis: RedisServer, caplog: Any) -> None:
    redis.kill()
    node.write(1)
    stop = threading.Event()
    relay = node.relay()
    runner = threading.Thread(target=run_relay, args=(relay, stop, 5))
    with caplog.at_level(logging.INFO):
        runner.start()
        wait_for(lambda: "relaying stopped" in caplog.text)
        stop.wait(0.2)
        redis.start()
        wait_for(lambda: "relaying goes on" in caplog.text)
    stop.set()
    runner.join()

    assert caplog.text.count("relaying stopped, nothing is lost: the queue at 127.0.0.1") == 1


def test_a_relay_that_stops_while_redis_is_down_leaves_the_reason_behind(node: Node, redis: RedisServer) -> None:
    node.write(1)
    relay, stop = node.relay(), threading.Event()
    relay.step()
    redis.kill()
    runner = threading.Thread(target=run_relay, args=(relay, stop, 5))
    runner.start()
    wait_for(lambda: "cannot be reached" in error_of(node))
    stop.set()
    runner.join()

    assert "cannot be reached" in error_of(node)


def error_of(node: Node) -> str:
    file = read_lag(node.folder())
    return file.error if file else ""


def wait_for(look: Callable[[], bool], within_s: float = 10.0) -> None:
    pause = threading.Event()
    for _ in range(int(within_s / 0.02)):
        if look():
            return
        pause.wait(0.02)
    raise AssertionError("waited in vain")


# --- what Redis loses ------------------------------------------------------------------------------------------------


def test_a_redis_that_comes_back_empty_costs_nothing(node: Node, redis: RedisServer, memory: Memory) -> None:
    with node.relay() as relay, node.intake(memory) as intake:
        node.write(1, 2)
        relay.step()
        redis.client.flushall()
        assert relay.step().resets == 1
        assert intake.step().records == 2
        redis.client.flushall()
        node.write(3)
        relay.step()
        assert intake.step().records == 1
        assert relay.step() == RelayReport()

    assert memory.ids() == ids(1, 4)


def test_a_redis_that_lost_the_newest_entries_gets_them_again(node: Node, redis: RedisServer, memory: Memory) -> None:
    with node.relay() as relay:
        node.write(1)
        relay.step()
        copy = redis.client.dump(node.key())
        node.write(2)
        relay.step()
        redis.client.restore(node.key(), 0, copy, replace=True)  # as a replica that was behind
        node.write(3)
        assert relay.step().entries == 1
    node.carry(memory)

    assert memory.ids() == ids(1, 4)


def test_an_old_copy_of_redis_is_behind_what_is_stored_and_harmless(node: Node, redis: RedisServer, memory: Memory) -> None:
    with node.relay() as relay:
        node.write(1)
        relay.step()
        copy = redis.client.dump(node.key())
    node.write(2)
    node.carry(memory)
    redis.client.restore(node.key(), 0, copy, replace=True)
    node.write(3)
    node.carry(memory)

    assert memory.ids() == ids(1, 4)
    assert len(memory.blocks) == 2, "what is stored was not inserted again"


def test_an_entry_deleted_by_hand_is_sent_again(node: Node, redis: RedisServer, memory: Memory) -> None:
    with node.relay() as relay:
        for number in (1, 2, 3):
            node.write(number)
            relay.step()
        [first, _second, _] = redis.client.xrange(node.key())
        redis.client.xdel(node.key(), first[0])
        with node.intake(memory) as intake:
            intake.step()
            assert intake.counts.gaps == 1
        assert relay.step().entries == 1, "whatever was behind the gap is sent again, as one entry"
    node.carry(memory)

    assert memory.ids() == ids(1, 4)


def test_a_stream_emptied_by_hand_is_sent_again(node: Node, redis: RedisServer, memory: Memory) -> None:
    node.write(1)
    with node.relay() as relay:
        relay.step()
        redis.client.xtrim(node.key(), maxlen=0)
        assert relay.step().resets == 1
    node.carry(memory)

    assert memory.ids() == ids(1, 2)


@pytest.mark.parametrize("stranger", ["*", "1-5", "1763726400000000-77", "18446744073709551615-18446744073709551615"])
def test_an_entry_that_somebody_else_wrote_does_not_block(node: Node, redis: RedisServer, memory: Memory, stranger: str) -> None:
    with node.relay() as relay:
        relay.step()
        node.folder()
        relay.step()
        redis.client.xadd(node.key(), {"after": "0-0", "lines": "hello\n"}, id=stranger)
        node.write(1, 2)
        relay.step()
    node.carry(memory)
    redis.client.xadd(node.key(), {"hello": "world"}, id=f"{2**63}-1")
    node.write(3)
    node.carry(memory)

    assert memory.ids() == ids(1, 4)
    assert redis.client.xlen(node.key()) == 0


def test_a_key_that_holds_something_else_does_not_block(node: Node, redis: RedisServer, memory: Memory) -> None:
    node.write(1)
    node.carry(memory)
    redis.client.set(node.key(), "x")
    node.write(2)
    node.carry(memory)

    assert memory.ids() == ids(1, 3)


# --- crashes ---------------------------------------------------------------------------------------------------------


def cut_now() -> None:
    raise PowerCut


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_range_that_was_begun_is_repeated_with_the_same_bounds(
    node: Node, redis: RedisServer, memory: Memory, moment: str, is_lost: bool
) -> None:
    """Even where Redis came back empty, and the relay cut its entries differently."""
    with node.relay() as relay:
        for number in (1, 2):
            node.write(number)
            relay.step()
    setattr(memory, moment, cut_now)
    with node.intake(memory) as intake, pytest.raises(PowerCut):
        intake.step()
    setattr(memory, moment, lambda: None)
    if is_lost:
        redis.client.flushall()
    node.write(3, 4)
    node.carry(memory)

    assert memory.ids() == ids(1, 5)
    assert len(memory.blocks) == 2


def test_a_crash_between_storing_and_forgetting_costs_nothing(node: Node, memory: Memory) -> None:
    node.write(1, 2)
    with node.relay() as relay, node.intake(memory) as intake:
        relay.step()
        intake._streams.forget = cut_now  # type: ignore[assignment, method-assign]
        with pytest.raises((PowerCut, TypeError)):
            intake.step()
    assert node.carry(memory).records == 0
    with closing(Streams(node.settings.queue)) as streams:
        assert streams.lengths([node.key()]) == [0]
    assert memory.ids() == ids(1, 3)


def test_a_store_that_is_down_for_a_while_gets_everything_once(node: Node, memory: Memory) -> None:
    node.write(1)

    def down() -> None:
        raise Unavailable("the events store is down")

    with node.relay() as relay, node.intake(memory) as intake:
        memory.before = down
        for number in (2, 3, 4):
            relay.step()
            with pytest.raises(Unavailable):
                intake.step()
            node.write(number)
        assert relay.step().entries == 1, "nothing is sent twice meanwhile"
        memory.before = lambda: None
        intake.step()
        intake.step()

    assert memory.ids() == ids(1, 5)


def test_what_a_machine_lost_with_its_power_does_not_hold_up_the_rest(node: Node, redis: RedisServer, memory: Memory) -> None:
    """A range was begun, and of its records, which nobody had been promised, the last are gone from the spool and from Redis."""
    node.write(1, 2)
    with node.relay() as relay:
        relay.step()
    memory.before = cut_now
    with node.intake(memory) as intake, pytest.raises(PowerCut):
        intake.step()
    memory.before = lambda: None
    redis.client.flushall()
    (node.folder() / FIRST).write_bytes(click(1) + click(2)[:9])
    node.write(3, segment=SECOND)
    node.carry(memory)

    assert memory.ids() == ["T00001", "T00003"]


# --- several drains --------------------------------------------------------------------------------------------------


def test_one_drain_works_and_the_others_stand_by(node: Node, memory: Memory) -> None:
    node.write(1)
    with node.relay() as relay, node.intake(memory) as first, node.intake(memory) as second:
        relay.step()
        assert first.step().records == 1
        node.write(2)
        relay.step()
        assert second.step() == DrainReport()
        with pytest.raises(InUse, match="another drain of this installation is at work"):
            second.await_turn(patience_s=0.1)
        first.close()
        assert second.step().records == 1, "a drain that stops hands over at once"

    assert memory.ids() == ids(1, 3)


def test_a_drain_that_fell_silent_is_succeeded_and_can_do_no_more_harm(node: Node, memory: Memory, clock: FakeClock) -> None:
    """The first is stopped, as by SIGSTOP, in the middle of an insert; it wakes up when the second has gone on."""
    node.write(1)
    woken = threading.Event()
    asleep = threading.Event()

    def sleep() -> None:
        asleep.set()
        woken.wait(10)

    stale = Memory()
    stale.before = sleep
    with node.relay() as relay, node.intake(stale, lease_s=1.0) as first, node.intake(memory, lease_s=1.0) as second:
        relay.step()
        first._turn._begin_beating = lambda: None  # type: ignore[method-assign]
        result: list[BaseException] = []

        def work() -> None:
            try:
                first.step()
            except BaseException as error:
                result.append(error)

        sleeper = threading.Thread(target=work)
        sleeper.start()
        asleep.wait(10)
        assert second.step() == DrainReport()
        wait_for(lambda: second.step().records == 1)
        node.write(2)
        relay.step()
        assert second.step().records == 1
        stored_at = node.progress().stored_at
        woken.set()
        sleeper.join()

        assert isinstance(result[0], Unavailable)
        assert "another process goes on" in str(result[0])
        assert node.progress().stored_at == stored_at, "the books did not hear of it"
        assert first.step() == DrainReport()
    assert memory.ids() == ids(1, 3)
    assert stale.blocks.keys() <= memory.blocks.keys(), "what it inserted late, it inserted under the same token"


def test_a_successor_begins_above_every_stored_at_ever_given_out(node: Node, memory: Memory, clock: FakeClock) -> None:
    node.write(1)
    clock.advance(10_000)
    memory.after = cut_now
    with node.relay() as relay, node.intake(memory) as first:
        relay.step()
        with pytest.raises(PowerCut):
            first.step()
    memory.after = lambda: None
    clock.advance(-10_000)  # the successor's clock is behind
    node.write(2, tracker_id="t1")
    node.carry(memory)

    [[one], [two]] = memory.blocks.values()
    assert two["stored_at"] > one["stored_at"]


def test_the_queue_chooses_the_drain(node: Node, memory: Memory, clock: FakeClock) -> None:
    for settings, kind in ((node.settings, Intake), (Settings(data=node.settings.data), Drain)):
        with open_drain(settings, node.books, memory, clock) as drain:  # type: ignore[arg-type]
            assert isinstance(drain, kind)
