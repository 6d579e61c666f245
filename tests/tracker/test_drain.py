"""Every recorded event reaches the store once, whatever dies in between."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import DAY, HOUR, SECOND, parse_instant
from core.errors import Unavailable
from core.events import Event, Lead, Line, Order, Refund, Touch, encode_event
from core.settings import Settings
from store.events import EventsStore, Query
from tests.fakes import NOON, FakeClock
from tracker.drain import BACKLOG_BYTES, Drain, DrainReport, pause_ms, run_drain
from tracker.files import SystemFiles
from tracker.manifest import Cursor, read_cursor, read_manifest, write_cursor
from tracker.spool import frame, own_folder

TOUCHES = Query("touch_ids", "SELECT touch_id FROM touches ORDER BY touch_id")
ORDERS = Query("order_ids", "SELECT order_id, event_id FROM orders ORDER BY order_id, event_id")
LINKS = Query("links", "SELECT key, other_key FROM identity_links ORDER BY key, other_key")
BAD = Query("bad", "SELECT tenant_id, spool_id, segment, position, reason, raw FROM bad_rows ORDER BY spool_id, segment, position")
STORED_AT = Query("stored_at", "SELECT touch_id, toUnixTimestamp64Milli(stored_at) FROM touches ORDER BY touch_id")
EVERYTHING = Query(
    "everything",
    """
    SELECT * FROM (
    SELECT 'touches' AS what, tenant_id, touch_id AS id, toUnixTimestamp64Milli(occurred_at) AS at, traffic_class AS detail FROM touches
    UNION ALL SELECT 'orders', tenant_id, event_id, toUnixTimestamp64Milli(occurred_at), toString(lines.net_minor) FROM orders
    UNION ALL SELECT 'leads', tenant_id, event_id, toUnixTimestamp64Milli(occurred_at), name FROM leads
    UNION ALL SELECT 'refunds', tenant_id, event_id, toUnixTimestamp64Milli(occurred_at), reason FROM refunds
    UNION ALL SELECT 'identity_links', tenant_id, event_id, toUnixTimestamp64Milli(linked_at), concat(key, '>', other_key)
        FROM identity_links
    UNION ALL SELECT 'bad_rows', tenant_id, segment, toInt64(position), reason FROM bad_rows
    ) ORDER BY ALL
    """,
)
FIRST, SECOND_SEGMENT = "00000000000000000001.log", "00000000000000000009.log"


class PowerCut(Exception):
    """The process is gone: nothing that follows in it happens."""


class Store:
    """The events store, with a plan: what to do before and after the n-th insert."""

    def __init__(self, events: Any) -> None:
        self.events = events
        self.inserts: list[tuple[str, bytes, str]] = []
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        number = len(self.inserts)
        self.inserts.append((table, lines, token))
        self.before(number)
        self.events.insert_json(table, lines, token)
        self.after(number)


class Unsynced(SystemFiles):
    """Files of a test that never loses power, only its process."""

    def sync(self, file: int) -> None:
        pass

    def sync_path(self, path: Path) -> None:
        pass


class Memory:
    """A store in memory that drops repeated tokens, as the real one does, holds a retry to the same bytes, and every reader
    to its belief: what becomes visible now was not stored before what is visible already."""

    def __init__(self) -> None:
        self.blocks: dict[str, tuple[str, bytes]] = {}
        self.stored_at = 0.0

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        if token not in self.blocks:
            stored_at = msgspec.json.decode(lines.partition(b"\n")[0])["stored_at"]
            assert stored_at >= self.stored_at, "a reader has passed this stored_at already"
            self.stored_at = stored_at
        assert self.blocks.setdefault(token, (table, lines)) == (table, lines), "the same token with other bytes loses rows"

    def rows(self) -> list[tuple[str, str]]:
        """Every row but its ``stored_at``, sorted."""
        rows = [(table, msgspec.json.decode(line)) for table, lines in self.blocks.values() for line in lines.splitlines()]
        return sorted((table, repr(row | {"stored_at": 0})) for table, row in rows)

    def column(self, table: str, name: str) -> list[str]:
        return sorted(msgspec.json.decode(line)[name] for to, lines in self.blocks.values() if to == table for line in lines.splitlines())


def click(number: int, at: int = NOON, tenant_id: str = "north", user_agent: str = "Mozilla/5.0 (X11) Gecko/1 Firefox/1") -> Touch:
    return Touch(f"T{number:04d}", "click", tenant_id, "main", "anna", "a1", at, at, visitor_id=f"V{number}", user_agent=user_agent)


def order(number: int, at: int = NOON) -> Order:
    return Order(
        f"O{number:04d}", "north", f"N-{number}", "EUR", at, at, lines=(Line("1", 10_00),), visitor_id=f"V{number}", customer_keys=("em:1",)
    )


class Spool:
    """A spool folder as a tracker leaves it."""

    def __init__(self, root: Path, tracker_id: str = "t0") -> None:
        self.folder = root / tracker_id
        self.folder.mkdir(parents=True)

    def write(self, *records: Event | bytes, segment: str = FIRST) -> Path:
        """Append events, or raw bytes as they are."""
        path = self.folder / segment
        with path.open("ab") as file:
            for record in records:
                file.write(record if isinstance(record, bytes) else frame(encode_event(record)))
        return path


@pytest.fixture
def where(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def spool(where: Settings) -> Spool:
    return Spool(where.spool)


@pytest.fixture
def drain(where: Settings, events: EventsStore, clock: FakeClock) -> Iterator[Drain]:
    with Drain(where, events, clock) as drain:
        yield drain


@contextmanager
def held(spool: Spool) -> Iterator[None]:
    """Its tracker lives."""
    lock = own_folder(spool.folder)
    try:
        yield
    finally:
        os.close(lock)


def ids(events: EventsStore) -> list[str]:
    return [touch_id for (touch_id,) in events.select(TOUCHES)]


def drain_all(where: Settings, events: Any, clock: FakeClock, limit: int = 1000) -> DrainReport:
    """What a fresh process would do until nothing is left."""
    with Drain(where, events, clock) as drain:
        total = DrainReport()
        while (report := drain.step(limit)).records:
            total += report
        return total + report


# --- the plain way ---------------------------------------------------------------------------------------------------


def test_events_arrive_in_their_tables(spool: Spool, drain: Drain, events: EventsStore) -> None:
    lead = Lead("L0001", "north", "l1", "signup", NOON, NOON, visitor_id="V1", customer_keys=("em:1",))
    refund = Refund("R0001", "north", "N-1", "r1", "EUR", NOON, NOON, net_minor=5_00)
    path = spool.write(click(1), order(1), lead, refund)

    report = drain.step()

    assert report == DrainReport(
        records=4,
        stored={"touches": 1, "identity_links": 4, "leads": 1, "orders": 1, "refunds": 1},
        bad=0,
        torn=0,
        pending_bytes=0,
        blocks=5,
    )
    assert ids(events) == ["T0001"]
    assert events.select(ORDERS) == [("N-1", "O0001")]
    assert events.select(LINKS) == [("em:1", "v:V1"), ("em:1", "v:V1"), ("v:V1", "em:1"), ("v:V1", "em:1")]
    assert read_cursor(spool.folder).offset == path.stat().st_size
    assert drain.step() == DrainReport()


def test_a_clicks_times_and_class_are_read_back_as_written(spool: Spool, drain: Drain, events: EventsStore, clock: FakeClock) -> None:
    spool.write(click(1, NOON - 1), click(2, user_agent="curl/8.5.0"))
    drain.step()

    times = Query(
        "times",
        "SELECT toUnixTimestamp64Milli(occurred_at), toUnixTimestamp64Milli(stored_at), traffic_class FROM touches ORDER BY touch_id",
    )
    assert events.select(times) == [(NOON - 1, NOON, "human"), (NOON, NOON, "invalid_ua")]


def test_an_empty_installation_has_nothing_to_drain(drain: Drain) -> None:
    assert drain.step() == DrainReport()


def test_two_trackers_are_drained_side_by_side(where: Settings, spool: Spool, drain: Drain, events: EventsStore) -> None:
    spool.write(click(1), click(3))
    Spool(where.spool, "t1").write(click(2), click(4))

    assert drain.step().records == 4
    assert ids(events) == ["T0001", "T0002", "T0003", "T0004"]


def test_a_step_takes_at_most_its_limit_from_each_folder(where: Settings, spool: Spool, drain: Drain, events: EventsStore) -> None:
    spool.write(*(click(number) for number in range(5)))
    Spool(where.spool, "t1").write(*(click(number) for number in range(5, 8)))

    assert drain.step(2).records == 4
    report = drain.step(2)
    assert (report.records, report.pending_bytes) == (3, len(frame(encode_event(click(4)))))
    assert drain.step(2).records == 1
    assert len(ids(events)) == 8


def test_a_block_stays_inside_one_month(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    last = parse_instant("2026-10-31T23:59:59.999Z")
    spool.write(click(1, last), click(2, last + 1), click(3, last), order(1, last + 1))
    store = Store(events)

    drain_all(where, store, clock)

    size = (spool.folder / FIRST).stat().st_size
    assert [(table, lines.count(b"\n"), token) for table, lines, token in store.inserts] == [
        ("touches", 2, f"t0:00000000000000000001:0-{size}:touches:202610"),
        ("touches", 1, f"t0:00000000000000000001:0-{size}:touches:202611"),
        ("identity_links", 2, f"t0:00000000000000000001:0-{size}:identity_links:202611"),
        ("orders", 1, f"t0:00000000000000000001:0-{size}:orders:202611"),
    ]
    assert ids(events) == ["T0001", "T0002", "T0003"]


# --- crashes ---------------------------------------------------------------------------------------------------------

ROWS_OF_THE_CRASH_TESTS = [
    ("bad_rows", "", FIRST, 0, "undecodable"),
    ("identity_links", "north", "O0001", NOON, "em:1>v:V1"),
    ("identity_links", "north", "O0001", NOON, "v:V1>em:1"),
    ("orders", "north", "O0001", NOON, "[1000]"),
    ("touches", "north", "T0001", NOON - 30 * DAY, "human"),
    ("touches", "north", "T0002", NOON, "human"),
    ("touches", "north", "T0003", NOON, "declared_bot"),
]
INSERTS_OF_THE_CRASH_TESTS = 5


def write_for_crash(spool: Spool) -> None:
    bot = click(3, user_agent="Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    spool.write(frame(b"{}"), click(1, NOON - 30 * DAY), click(2), bot, order(1))


def cut(number: int) -> Callable[[int], None]:
    def plan(insert: int) -> None:
        if insert == number:
            raise PowerCut

    return plan


@pytest.mark.parametrize("number", range(INSERTS_OF_THE_CRASH_TESTS))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_around_any_insert_loses_and_doubles_nothing(
    where: Settings, spool: Spool, events: EventsStore, clock: FakeClock, moment: str, number: int
) -> None:
    write_for_crash(spool)
    store = Store(events)
    setattr(store, moment, cut(number))
    with Drain(where, store, clock) as drain, pytest.raises(PowerCut):
        drain.step()
    assert read_cursor(spool.folder).offset == 0, "the cursor stays until everything is stored"

    clock.advance(5 * SECOND)
    again = Store(events)
    drain_all(where, again, clock)

    assert events.select(EVERYTHING) == ROWS_OF_THE_CRASH_TESTS
    assert again.inserts[: number + 1] == store.inserts, "a retry sends the same bytes under the same tokens"
    assert len(again.inserts) == INSERTS_OF_THE_CRASH_TESTS


def test_a_crash_before_anything_was_written_down_starts_over(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    write_for_crash(spool)
    (spool.folder / "manifest.partial").write_bytes(b'{"manifest":{"spo')

    drain_all(where, events, clock)

    assert events.select(EVERYTHING) == ROWS_OF_THE_CRASH_TESTS


def test_a_crash_after_the_cursor_moved_inserts_nothing_again(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    write_for_crash(spool)
    store, kept = Store(events), []
    store.after = lambda number: kept.append((spool.folder / "manifest").read_bytes())
    drain_all(where, store, clock)
    (spool.folder / "manifest").write_bytes(kept[-1])  # as if the power went before its removal reached the disk

    again = Store(events)
    drain_all(where, again, clock)

    assert again.inserts == []
    assert read_manifest(spool.folder) is None
    assert events.select(EVERYTHING) == ROWS_OF_THE_CRASH_TESTS


def test_a_retry_by_a_newer_program_sends_what_the_older_wrote_down(
    where: Settings, spool: Spool, events: EventsStore, clock: FakeClock
) -> None:
    spool.write(click(1))
    store = Store(events)
    store.before = cut(0)
    with Drain(where, store, clock) as drain, pytest.raises(PowerCut):
        drain.step()
    manifest = spool.folder / "manifest"
    assert manifest.read_bytes().count(b'"traffic_class":"human"') == 1
    manifest.write_bytes(manifest.read_bytes().replace(b'"traffic_class":"human"', b'"traffic_class":"older"'))

    drain_all(where, events, clock)

    (row,) = events.select(EVERYTHING)
    assert row[-1] == "older"


def test_stored_at_never_goes_back_not_even_with_the_clock(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    spool.write(click(1))
    drain_all(where, events, clock)
    clock.at = NOON - 60 * SECOND
    spool.write(click(2))
    drain_all(where, events, clock)
    clock.at = NOON + 60 * SECOND
    spool.write(click(3))
    drain_all(where, events, clock)

    assert events.select(STORED_AT) == [("T0001", NOON), ("T0002", NOON + 1), ("T0003", NOON + 60 * SECOND)]


def test_what_was_left_undone_is_stored_before_anything_newer(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    Spool(where.spool, "a0").write(click(1))
    spool.write(click(2))
    store = Store(events)
    store.before = cut(1)
    with Drain(where, store, clock) as drain, pytest.raises(PowerCut):
        drain.step()
    Spool(where.spool, "a1").write(click(3))

    clock.advance(5 * SECOND)
    again = Store(events)
    drain_all(where, again, clock)

    assert [token.split(":")[0] for _, _, token in again.inserts] == ["t0", "a1"]
    assert events.select(STORED_AT) == [("T0001", NOON), ("T0002", NOON + 1), ("T0003", NOON + 5 * SECOND)]


def test_there_is_only_one_drain(where: Settings, spool: Spool, drain: Drain, events: EventsStore, clock: FakeClock) -> None:
    drain.step()
    with Drain(where, events, clock) as second, pytest.raises(Unavailable, match="another drain is at work"):
        second.step()

    drain.close()
    drain_all(where, events, clock)


# --- one range ahead -------------------------------------------------------------------------------------------------


def all_at_once(where: Settings, events: Any, clock: FakeClock, limit: int) -> None:
    """One process that drains a backlog, always preparing one range ahead."""
    with Drain(where, events, clock, backlog_bytes=0) as drain:
        while drain.step(limit).records:
            pass


def test_the_next_range_is_prepared_while_the_store_inserts_one(where: Settings, spool: Spool) -> None:
    spool.write(*(click(number) for number in range(6)))
    prepared = threading.Semaphore(0)

    class Clock(FakeClock):
        def __call__(self) -> int:
            prepared.release()
            return super().__call__()

    store = Store(Memory())
    seen: list[bool] = []

    def wait_for_it(number: int) -> None:
        while prepared.acquire(timeout=0.05):
            pass  # whoever asked the time before the insert began, and for the cursor
        seen.append(drain._ahead is not None and drain._ahead.manifest.done())

    store.before = wait_for_it
    with Drain(where, store, Clock(), backlog_bytes=1) as drain:
        while drain.step(2).pending_bytes:
            pass

    assert seen == [True, True, False], "nothing comes after the last"
    assert len(store.inserts) == 3


def test_what_was_prepared_ahead_becomes_the_same_rows_in_the_same_order(where: Settings, spool: Spool, clock: FakeClock) -> None:
    other = Spool(where.spool, "t1")
    spool.write(*(click(number) for number in range(7)))
    spool.write(click(7), segment=SECOND_SEGMENT)
    other.write(*(click(number) for number in range(10, 13)))
    memory = Memory()

    all_at_once(where, memory, clock, limit=2)

    assert memory.column("touches", "touch_id") == [f"T{number:04d}" for number in (*range(8), 10, 11, 12)]
    assert len(memory.blocks) == 4 + 1 + 2
    assert memory.stored_at == (NOON + 6) / 1000, "nothing was prepared twice"


def until_prepared(drain: Drain) -> None:
    while drain._ahead is None or not drain._ahead.manifest.done():
        time.sleep(0.001)


def test_after_a_failure_what_was_prepared_ahead_is_prepared_again(where: Settings, spool: Spool, clock: FakeClock) -> None:
    spool.write(*(click(number) for number in range(4)))
    memory = Memory()
    store = Store(memory)
    with Drain(where, store, clock, backlog_bytes=0) as drain:

        def down_at_first(number: int) -> None:
            if number == 0:
                until_prepared(drain)
                down(number)

        store.before = down_at_first
        with pytest.raises(Unavailable):
            drain.step(2)
        clock.advance(5 * SECOND)
        drain.step(2)
        drain.step(2)

    assert store.inserts[0] == store.inserts[1], "what was written down is sent as it was"
    assert memory.column("touches", "stored_at") == [NOON / 1000] * 2 + [NOON / 1000 + 5] * 2


def test_a_tracker_that_brings_later_rows_with_it_makes_what_was_prepared_too_old(where: Settings, spool: Spool, clock: FakeClock) -> None:
    spool.write(*(click(number) for number in range(4)))
    memory = Memory()
    with Drain(where, memory, clock, backlog_bytes=0) as drain:
        drain.step(2)
        moved_in = Spool(where.spool, "t9")
        write_cursor(moved_in.folder, Cursor(stored_at=NOON + HOUR))
        drain.step(2)

    assert memory.column("touches", "stored_at") == [NOON / 1000] * 2 + [(NOON + HOUR + 1) / 1000] * 2


def test_what_the_tracker_cut_off_after_it_was_prepared_is_not_stored(where: Settings, spool: Spool, clock: FakeClock) -> None:
    path = spool.write(*(click(number) for number in range(4)))
    size = path.stat().st_size
    memory = Memory()
    store = Store(memory)
    with held(spool), Drain(where, store, clock, backlog_bytes=0) as drain:

        def cut_off(number: int) -> None:
            """Its disk refused the last sync, so that nobody was promised the last two."""
            if number == 0:
                until_prepared(drain)
                os.truncate(path, size // 2)

        store.before = cut_off
        drain.step(2)
        with pytest.raises(Unavailable, match="lost its last"):
            drain.step(2)
        assert drain.step(2) == DrainReport()

    assert memory.column("touches", "touch_id") == ["T0000", "T0001"]


def test_the_torn_tail_of_a_tracker_that_is_gone_takes_no_turns(where: Settings, spool: Spool, clock: FakeClock) -> None:
    spool.write(*(click(number) for number in range(6)))
    Spool(where.spool, "t1").write(click(9), b"torn")
    with Drain(where, Memory(), clock, backlog_bytes=0) as drain:
        drain.step(2)
        drain.step(2)

        assert drain._ahead is not None
        assert drain._ahead.folder == spool.folder


def test_a_long_backlog_of_one_tracker_lets_the_others_have_their_turns(where: Settings, spool: Spool, clock: FakeClock) -> None:
    spool.write(*(click(number) for number in range(20)))
    other = Spool(where.spool, "a0")
    store = Store(Memory())
    store.before = lambda number: other.write(click(100 + number)) and None
    with Drain(where, store, clock, backlog_bytes=0) as drain:
        for _ in range(8):
            drain.step(2)

    turns = [token.split(":")[0] for _, _, token in store.inserts]
    assert min(turns[:8].count("t0"), turns[:8].count("a0")) >= 3, turns


def test_the_loop_waits_as_long_as_parts_worth_having_need() -> None:
    def pause(records: int, cycle_ms: float, worked_ms: float = 0, blocks: int = 1, pending_bytes: int = 0) -> float:
        return pause_ms(DrainReport(records=records, blocks=blocks, pending_bytes=pending_bytes), cycle_ms, worked_ms)

    assert pause(0, 200, 1, blocks=0) == 199, "nothing came: look again soon"
    assert pause(50, 250, 20) == 180, "a quiet day: what came is seen at once"
    assert pause(50, 250, blocks=8) == 400, "many trackers: at most 20 parts a second"
    assert pause(50, 250, blocks=100) == 600
    assert pause(3_000, 600, 100) == 500, "5,000 a second: 3,000 rows a part"
    assert pause(2_000, 200) == 400, "10,000 a second: 4,000 rows a part"
    assert pause(8_000, 200, 150) == 50
    assert pause(8_000, 200, 150, blocks=2) == 50
    assert pause(3_000, 600, 700) == 0, "a slow store gathers by itself"
    assert pause(20_000, 200, pending_bytes=BACKLOG_BYTES) == 0, "a backlog: go on"
    assert pause(0, 200, blocks=0, pending_bytes=BACKLOG_BYTES) == 200, "a giant line, still being written"


# --- the store is down -----------------------------------------------------------------------------------------------


def down(number: int) -> None:
    raise Unavailable("the events store cannot be reached: Connection refused")


class Stop(threading.Event):
    """Time passes where the loop waits, and only there; ``meanwhile`` says what happens then, and when to stop."""

    def __init__(self, clock: FakeClock, meanwhile: Callable[[float], bool]) -> None:
        super().__init__()
        self.clock = clock
        self.meanwhile = meanwhile

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.clock.advance(int(timeout * 1000) or 1)
        if self.meanwhile(timeout):
            self.set()
        return self.is_set()


def test_after_a_minute_without_the_store_everything_is_stored_once(
    where: Settings, spool: Spool, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory()
    store = Store(memory)
    back_at = NOON + 70 * SECOND
    attempts, longest, written = 0, 0.0, 0

    def down_for_a_minute(number: int) -> None:
        nonlocal attempts
        if NOON + 10 * SECOND < clock.at < back_at:
            attempts += 1
            down(number)

    def clicks_come_in(waited_s: float) -> bool:
        """Fifty a second, through all of it."""
        nonlocal longest, written
        longest = max(longest, waited_s)
        due = (clock.at - NOON) // 20
        spool.write(*(click(number, NOON + number * 20) for number in range(written, due)))
        written = due
        return clock.at > back_at + 10 * SECOND

    store.before = down_for_a_minute
    run_drain(Drain(where, store, clock, Unsynced()), Stop(clock, clicks_come_in))
    drain_all(where, memory, clock)

    touches = memory.column("touches", "touch_id")
    assert touches == sorted(f"T{number:04d}" for number in range(written))
    assert written > 70 * 50
    assert 10 < attempts < 25, "ever more slowly, up to five seconds"
    assert longest == 5.0
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "draining stopped, nothing is lost",
        f"draining goes on after {attempts} failed attempts",
    ]


def test_while_the_store_is_down_nothing_moves_and_then_everything_does(
    where: Settings, spool: Spool, events: EventsStore, clock: FakeClock
) -> None:
    spool.write(click(1))
    store = Store(events)
    store.before = down
    with Drain(where, store, clock) as drain:
        for _ in range(3):
            with pytest.raises(Unavailable):
                drain.step()
        spool.write(click(2))
        assert ids(events) == []
        assert read_cursor(spool.folder).offset == 0

        store.before = lambda number: None
        assert drain.step().records == 2, "the range written down first, then what came meanwhile"
    assert ids(events) == ["T0001", "T0002"]


def test_a_timeout_after_the_commit_stores_once(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    spool.write(click(1))
    store = Store(events)
    store.after = down
    with Drain(where, store, clock) as drain:
        with pytest.raises(Unavailable):
            drain.step()
        store.after = lambda number: None
        drain.step()

    assert ids(events) == ["T0001"]


def test_a_full_disk_stops_the_drain_and_loses_nothing(spool: Spool, drain: Drain, events: EventsStore) -> None:
    spool.write(click(1))
    (spool.folder / "manifest.partial").mkdir()  # the file cannot be written

    with pytest.raises(Unavailable, match="manifest cannot be written"):
        drain.step()
    assert ids(events) == []

    (spool.folder / "manifest.partial").rmdir()
    drain.step()
    assert ids(events) == ["T0001"]


@pytest.mark.parametrize("name", ["manifest", "cursor.json"])
def test_a_damaged_file_is_named_and_not_guessed_around(spool: Spool, drain: Drain, events: EventsStore, name: str) -> None:
    spool.write(click(1))
    (spool.folder / name).write_bytes(b"\0\0\0\0\n")

    with pytest.raises(Unavailable, match=f"{name} is damaged.*move it away"):
        drain.step()
    assert ids(events) == []


def test_a_manifest_that_lost_its_end_is_named(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    spool.write(click(1), click(2))
    store = Store(events)
    store.before = cut(0)
    with Drain(where, store, clock) as drain, pytest.raises(PowerCut):
        drain.step()
    manifest = spool.folder / "manifest"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:-1]))

    with Drain(where, events, clock) as drain, pytest.raises(Unavailable, match="manifest is damaged"):
        drain.step()

    manifest.unlink()
    drain_all(where, events, clock)
    assert ids(events) == ["T0001", "T0002"]


def test_the_loop_outlives_failures_and_ends_when_told(
    where: Settings, spool: Spool, events: EventsStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(events)
    failures = [Unavailable("down"), Unavailable("still down"), RuntimeError("a bug")]

    def fail(number: int) -> None:
        if failures:
            raise failures.pop(0)

    store.before = fail
    spool.write(click(1))
    stop = threading.Event()
    loop = threading.Thread(target=run_drain, args=(Drain(where, store, clock), stop, 1))
    loop.start()
    deadline = time.monotonic() + 20
    while not ids(events) and time.monotonic() < deadline:
        time.sleep(0.01)
    spool.write(click(2))
    while len(ids(events)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    loop.join(10)

    assert not loop.is_alive()
    assert ids(events) == ["T0001", "T0002"]
    assert [record.getMessage() for record in caplog.records] == [
        "draining stopped, nothing is lost: down",
        "draining stopped, nothing is lost: a bug",
        "draining goes on after 3 failed attempts",
    ]


# --- records that cannot be used -------------------------------------------------------------------------------------


def test_damage_in_the_middle_goes_to_bad_rows_and_blocks_nothing(spool: Spool, drain: Drain, events: EventsStore) -> None:
    whole = frame(encode_event(click(2)))
    flipped = whole.replace(b"north", b"nor\xffh")
    first = frame(encode_event(click(1)))
    future = b'{"event":"touch","tenant_id":"north","received_at":%d,"wings":2}' % NOON
    spool.write(first, flipped, b"garbage\n", frame(future), click(3))

    report = drain.step()

    assert (report.records, report.bad, report.stored) == (5, 3, {"touches": 2, "bad_rows": 3})
    assert ids(events) == ["T0001", "T0003"]
    at = len(first)
    assert events.select(BAD) == [
        ("", "t0", FIRST, at, "damaged", flipped[:-1].decode("utf-8", "backslashreplace")),
        ("", "t0", FIRST, at + len(flipped), "damaged", "garbage"),
        ("north", "t0", FIRST, at + len(flipped) + 8, "unknown_field", future.decode()),
    ]


def test_a_record_that_does_not_say_when_it_came_is_put_where_its_neighbours_are(
    where: Settings, spool: Spool, drain: Drain, events: EventsStore
) -> None:
    long_ago = NOON - 40 * DAY
    spool.write(click(1, long_ago), b"garbage\n")
    drain.step()
    spool.write(b"more garbage\n")
    drain.step()

    Spool(where.spool, "t1").write(b"first of all\n", segment=f"{NOON * 1000:020d}.log")
    drain.step()

    received = Query("received", "SELECT toUnixTimestamp64Milli(received_at) FROM bad_rows ORDER BY spool_id, position")
    assert events.select(received) == [(long_ago,), (long_ago,), (NOON,)]


class Picky(Store):
    """Refuses blocks that hold a given word, as the store refuses a value that does not fit its column."""

    def __init__(self, events: Any, words: set[bytes], code: int = 72) -> None:
        super().__init__(events)
        self.words = words
        self.code = code

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        if table != "bad_rows" and any(word in lines for word in self.words):
            self.inserts.append((table, lines, token))
            with refused(self.code):
                raise Refused(self.code)
        super().insert_json(table, lines, token)


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"Code: {code}. no")
        self.code = code


@contextmanager
def refused(code: int) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise Unavailable(f"the events store refuses insert: Code: {code}") from error


@pytest.mark.parametrize("culprits", [{3}, {0}, {9}, {0, 1, 9}, set(range(10))])
def test_rows_that_the_store_refuses_are_set_aside_and_the_others_stored(
    where: Settings, spool: Spool, events: EventsStore, clock: FakeClock, culprits: set[int]
) -> None:
    spool.write(*(click(number) for number in range(10)))
    store = Picky(events, {b"T%04d" % number for number in culprits})

    report = drain_all(where, store, clock)

    good = [f"T{number:04d}" for number in range(10) if number not in culprits]
    assert ids(events) == good
    size = len(frame(encode_event(click(0))))
    assert [(position, reason, raw) for _, _, _, position, reason, raw in events.select(BAD)] == [
        (number * size, "refused", encode_event(click(number)).decode()) for number in sorted(culprits)
    ]
    assert (report.bad, report.stored["touches"], report.stored["bad_rows"]) == (len(culprits), len(good), len(culprits))


@pytest.mark.parametrize("number", range(14))
def test_a_crash_while_culprits_are_sought_loses_and_doubles_nothing(where: Settings, spool: Spool, clock: FakeClock, number: int) -> None:
    spool.write(*(click(number) for number in range(6)))
    memory = Memory()
    store = Picky(memory, {b"T0001", b"T0004"})
    store.after = cut(number)
    try:
        drain_all(where, store, clock)
    except PowerCut:
        clock.advance()
    drain_all(where, Picky(memory, {b"T0001", b"T0004"}), clock)

    assert memory.column("touches", "touch_id") == ["T0000", "T0002", "T0003", "T0005"]
    assert memory.column("bad_rows", "raw") == [encode_event(click(number)).decode() for number in (1, 4)]


def test_an_error_that_blames_the_store_makes_no_row_bad(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    spool.write(click(1))
    not_enough_space = 243

    with Drain(where, Picky(events, {b"T0001"}, not_enough_space), clock) as drain, pytest.raises(Unavailable):
        drain.step()

    assert events.select(EVERYTHING) == []
    drain_all(where, events, clock)
    assert ids(events) == ["T0001"]


def test_a_store_that_goes_down_while_culprits_are_sought_makes_no_row_bad(where: Settings, spool: Spool, clock: FakeClock) -> None:
    spool.write(*(click(number) for number in range(4)))
    memory = Memory()
    store = Picky(memory, {b"T0001"})

    def only_bad_rows(number: int) -> None:
        """The whole block was refused; its first half already meets a store that takes no touches any more."""
        if store.inserts[number][0] != "bad_rows":
            down(number)

    store.before = only_bad_rows

    with Drain(where, store, clock) as drain, pytest.raises(Unavailable):
        drain.step()
    assert memory.rows() == []

    drain_all(where, memory, clock)
    assert memory.column("touches", "touch_id") == ["T0000", "T0001", "T0002", "T0003"]


def test_the_real_store_blames_rows_with_codes_that_the_drain_knows(any_events: EventsStore, where: Settings, clock: FakeClock) -> None:
    spool = Spool(where.spool)
    spool.write(click(1), click(2))

    class Spoiler(Store):
        """Spoils a number on its way into the store."""

        def insert_json(self, table: str, lines: bytes, token: str) -> None:
            super().insert_json(
                table, lines.replace(b'"T0001","kind":"click","programme_id":"main"', b'"T0001","occurred_at":"soon"'), token
            )

    report = drain_all(where, Spoiler(any_events), clock)

    assert ids(any_events) == ["T0002"]
    assert report.stored == {"touches": 1, "bad_rows": 1}


# --- segments --------------------------------------------------------------------------------------------------------


def test_a_line_that_is_still_being_written_is_waited_for(spool: Spool, drain: Drain, events: EventsStore) -> None:
    record = frame(encode_event(click(2)))
    spool.write(click(1), record[:30])
    with held(spool):
        assert drain.step() == DrainReport(records=1, stored={"touches": 1}, pending_bytes=30, blocks=1)
        assert drain.step() == DrainReport(pending_bytes=30)

        spool.write(record[30:])
        assert drain.step().records == 1
    assert ids(events) == ["T0001", "T0002"]


def test_a_torn_tail_is_counted_once_its_tracker_is_gone_and_is_not_bad(spool: Spool, drain: Drain, events: EventsStore) -> None:
    spool.write(click(1), frame(encode_event(click(2)))[:30])

    assert drain.step() == DrainReport(records=1, stored={"touches": 1}, torn=1, pending_bytes=0, blocks=1), "nobody will complete it"

    spool.write(click(3), segment=SECOND_SEGMENT)
    assert drain.step() == DrainReport(records=1, stored={"touches": 1}, blocks=1)
    assert ids(events) == ["T0001", "T0003"]
    assert events.select(BAD) == []


def test_a_torn_tail_is_counted_when_a_newer_segment_exists(spool: Spool, drain: Drain) -> None:
    spool.write(click(1), frame(encode_event(click(2)))[:30])
    with held(spool):
        assert drain.step() == DrainReport(records=1, stored={"touches": 1}, pending_bytes=30, blocks=1)

        spool.write(click(3), segment=SECOND_SEGMENT)
        assert drain.step() == DrainReport(records=1, stored={"touches": 1}, torn=1, blocks=1)


def test_a_segment_that_lost_its_end_in_a_power_cut_is_left_behind(spool: Spool, drain: Drain, events: EventsStore) -> None:
    path = spool.write(click(1), click(2))
    drain.step()
    with path.open("ab") as file:
        file.truncate(path.stat().st_size - 50)
    spool.write(click(3), segment=SECOND_SEGMENT)

    assert drain.step().records == 1
    assert ids(events) == ["T0001", "T0002", "T0003"]


def test_segments_are_kept_for_days_after_they_were_stored_and_then_deleted(
    where: Settings, spool: Spool, drain: Drain, events: EventsStore, clock: FakeClock
) -> None:
    with held(spool):
        old = spool.write(click(1))
        drain.step()
        clock.advance(30 * DAY)
        drain.step()
        assert old.exists(), "the newest segment may still grow"

        new = spool.write(click(2), segment=SECOND_SEGMENT)
        drain.step()
        clock.advance(7 * DAY - 1)
        drain.step()
        assert old.exists()

        clock.advance(1)
        drain.step()
        assert (old.exists(), new.exists()) == (False, True)
        assert read_cursor(spool.folder).segment == SECOND_SEGMENT
        assert read_cursor(spool.folder).passed == {}
        drain.close()
        spool.write(click(3), segment=SECOND_SEGMENT)
        drain_all(where, events, clock)
    assert ids(events) == ["T0001", "T0002", "T0003"]


def test_the_last_segment_of_a_tracker_that_never_comes_back_is_kept_for_days_too(
    spool: Spool, drain: Drain, events: EventsStore, clock: FakeClock
) -> None:
    path = spool.write(click(1), click(2))
    drain.step()
    clock.advance(7 * DAY - 1)
    drain.step()
    assert path.exists()

    clock.advance(1)
    drain.step()
    assert not path.exists()
    cursor = read_cursor(spool.folder)
    assert (cursor.segment, cursor.offset, cursor.passed, cursor.stored_at) == ("", 0, {}, NOON)
    assert NOON < cursor.complete_from <= NOON + HOUR
    assert drain.step() == DrainReport()

    spool.write(click(3), segment="00000000000000000000.log")  # it came back after all, its clock set back
    assert drain.step().records == 1
    assert ids(events) == ["T0001", "T0002", "T0003"]


def test_the_last_segment_stays_while_its_tracker_lives(spool: Spool, drain: Drain, clock: FakeClock) -> None:
    path = spool.write(click(1))
    with held(spool):
        for _ in range(3):
            drain.step()
            clock.advance(30 * DAY)
        assert read_cursor(spool.folder).passed == {}
    drain.step()
    assert list(read_cursor(spool.folder).passed) == [FIRST]

    clock.advance(8 * DAY)
    with held(spool):
        drain.step()
        assert path.exists(), "its tracker came back, and looks at it to choose its first sequence"
    drain.step()
    assert not path.exists()


def test_the_last_segment_stays_while_any_of_it_is_not_stored(where: Settings, spool: Spool, clock: FakeClock) -> None:
    path = spool.write(click(1), click(2))
    memory = Memory()
    with Drain(where, memory, clock) as drain:
        drain.step(1)
        assert read_cursor(spool.folder).passed == {}
        clock.advance(30 * DAY)
        drain.step(1)
        assert list(read_cursor(spool.folder).passed) == [FIRST]
        clock.advance(7 * DAY - 1)
        drain.step(1)
        assert path.exists()


@pytest.mark.parametrize("dies_at", ["remove", "write_cursor"])
def test_a_crash_while_the_last_segment_is_deleted_is_made_good(where: Settings, spool: Spool, clock: FakeClock, dies_at: str) -> None:
    class Dies(SystemFiles):
        def remove(self, path: Path) -> None:
            if dies_at == "remove" and path.suffix == ".log":
                raise PowerCut
            super().remove(path)

        def rename(self, path: Path, new_path: Path) -> None:
            if dies_at == "write_cursor" and not (spool.folder / FIRST).exists():
                raise PowerCut
            super().rename(path, new_path)

    spool.write(click(1))
    memory = Memory()
    drain_all(where, memory, clock)
    clock.advance(8 * DAY)
    with Drain(where, memory, clock, Dies()) as drain, pytest.raises(PowerCut):
        drain.step()
    assert read_cursor(spool.folder).complete_from > NOON, "said before anything is gone"

    drain_all(where, memory, clock)
    assert list(spool.folder.glob("*.log")) == []
    assert read_cursor(spool.folder).segment == ""
    spool.write(click(2), segment=SECOND_SEGMENT)
    drain_all(where, memory, clock)
    assert memory.column("touches", "touch_id") == ["T0001", "T0002"]


def test_segments_that_the_store_never_saw_are_never_deleted(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    old = spool.write(click(1))
    spool.write(click(2), segment=SECOND_SEGMENT)
    store = Store(events)
    store.before = down
    with Drain(where, store, clock) as drain:
        for _ in range(3):
            clock.advance(30 * DAY)
            with pytest.raises(Unavailable):
                drain.step()
    assert old.exists()


def test_the_cursor_is_durable_before_a_segment_goes(spool: Spool, drain: Drain, clock: FakeClock) -> None:
    old = spool.write(click(1))
    drain.step()
    spool.write(click(2), segment=SECOND_SEGMENT)
    drain.step()
    clock.advance(8 * DAY)
    (spool.folder / "cursor.json.partial").mkdir()  # the cursor cannot be written
    with pytest.raises(Unavailable, match=r"cursor\.json cannot be written"):
        drain.step()
    assert old.exists()

    (spool.folder / "cursor.json.partial").rmdir()
    drain.step()
    assert not old.exists()


def test_a_missing_segment_below_the_cursor_is_normal(where: Settings, spool: Spool, events: EventsStore, clock: FakeClock) -> None:
    old = spool.write(click(1))
    drain_all(where, events, clock)
    spool.write(click(2), segment=SECOND_SEGMENT)
    old.unlink()

    assert drain_all(where, events, clock).records == 1
    assert ids(events) == ["T0001", "T0002"]


# --- a law -----------------------------------------------------------------------------------------------------------

records = st.one_of(
    st.builds(click, st.integers(0, 99), st.integers(NOON - 40 * DAY, NOON)),
    st.builds(order, st.integers(0, 99), st.integers(NOON - 40 * DAY, NOON)),
    st.sampled_from([b"garbage\n", frame(b"{}"), frame(b'{"event":"touch"}')]),
)


@given(st.lists(st.tuples(st.sampled_from(["t0", "t1"]), records), max_size=12), st.data())
@settings(max_examples=40, deadline=None)
def test_any_split_into_steps_and_crashes_stores_the_same_rows(stream: list[tuple[str, Event | bytes]], data: st.DataObject) -> None:
    def stored(split: bool) -> list[tuple[str, str]]:
        memory, clock = Memory(), FakeClock()
        with TemporaryDirectory() as folder:
            where = Settings(data=Path(folder))
            spools = {name: Spool(where.spool, name) for name in ("t0", "t1")}
            for name, record in stream:
                spools[name].write(record)
                if split and data.draw(st.booleans(), "step"):
                    store = Store(memory)
                    store.after = cut(data.draw(st.integers(0, 6), "crash after insert"))
                    ahead_from = data.draw(st.sampled_from([0, 500, BACKLOG_BYTES]), "look ahead from")
                    with Drain(where, store, clock, Unsynced(), ahead_from) as drain, suppress(PowerCut):
                        for _ in range(data.draw(st.integers(1, 3), "steps")):
                            drain.step(data.draw(st.integers(1, 4), "limit"))
                    clock.advance(data.draw(st.integers(-100, 100), "pause"))
            drain_all(where, memory, clock)
        return memory.rows()

    assert stored(split=True) == stored(split=False)


def test_reports_add_up() -> None:
    one = DrainReport(records=3, stored={"touches": 2}, bad=1, torn=1, pending_bytes=10)
    two = DrainReport(records=1, stored={"touches": 1, "orders": 1})

    assert one + two == DrainReport(records=4, stored={"touches": 3, "orders": 1}, bad=1, torn=1, pending_bytes=10)
    assert one + DrainReport() == one
