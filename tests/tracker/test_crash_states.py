"""Whatever a power loss leaves of the spool: everything acknowledged is stored, once, and nothing else is made up.

Workloads run on a disk that remembers (``tests/disks.py``). Of each, every state that a power loss may have left is made
real and recovered by the real code: a tracker starts and records one event more, a drain stores what it finds, conservation
counts. Nothing here is left to chance.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import pytest

from core.clock import DAY, HOUR, MINUTE
from core.errors import Unavailable
from core.events import Event, Lead, Line, Order, Refund, Touch, encode_event
from core.settings import Settings
from store.events import Query
from tests.disks import DRAFT, Image, Name, Note, RecordingDisk, Step, crash_states, put
from tests.fakes import NOON, FakeClock
from tracker.conservation import BAD_RECORDS, STORED_EVENTS, Account, account, totals
from tracker.counters import Counters, Totals, read_counters, write_counters
from tracker.drain import Drain
from tracker.enrich import rows
from tracker.files import FileSystem, SystemFiles
from tracker.spool import Damage, SegmentWriter, first_sequence, frame, own_folder, unframe

STATES_AT_LEAST = 10_000
ACCOUNT_EVERY = 12
"""The program's own account of the spool rests while it reads: it is taken of every twelfth state, a plainer one of each."""

CUTS = 16
AFTER = "AFTER"
"""The event that a tracker records once it is back."""


# --- the events of a workload, and what must become of each ----------------------------------------------------------


def event(name: str) -> Event:
    """The event of a name: T… is a click, O… an order, L… a lead, R… a refund."""
    number = int("".join(filter(str.isdigit, name)) or 0)
    at = NOON + number * MINUTE
    match name[0]:
        case "O":
            lines = (Line("1", 10_00),)
            return Order(name, "north", f"N-{name}", "EUR", at, at, lines=lines, visitor_id=f"V{number}", customer_keys=("em:1",))
        case "L":
            return Lead(name, "north", f"l-{name}", "signup", at, at, visitor_id=f"V{number}")
        case "R":
            return Refund(name, "north", "N-1", f"r-{name}", "EUR", at, at, net_minor=5_00)
    return Touch(name, "click", "south" if number % 3 == 2 else "north", "main", "anna", "a1", at, at, visitor_id=f"V{number}")


@cache
def wanted(name: str) -> tuple[str, ...]:
    """The rows of an event, without the moment of storing."""
    placed = rows(event(name), 0, lambda address: "")
    return tuple(repr({"table": one.table, **msgspec.json.decode(msgspec.json.encode(one.row)), "stored_at": 0}) for one in placed)


class Rows:
    """The events store in memory: drops repeated tokens, as the real one does, and holds a retry to the same bytes."""

    def __init__(self, blocks: Iterable[tuple[str, bytes, str]] = ()) -> None:
        self.blocks = {token: (table, lines) for table, lines, token in blocks}
        self._rows: list[dict[str, Any]] = []
        self._read = 0

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        assert self.blocks.setdefault(token, (table, lines)) == (table, lines), "the same token with other bytes loses rows"

    def rows(self) -> list[dict[str, Any]]:
        if self._read < len(self.blocks):
            new = [*self.blocks.values()][self._read :]
            self._rows += [{"table": table} | msgspec.json.decode(line) for table, lines in new for line in lines.splitlines()]
            self._read = len(self.blocks)
        return self._rows

    def select(self, query: Query, /, **params: Any) -> list[tuple[Any, ...]]:
        """What conservation asks, in Python."""
        found = [row for row in self.rows() if row["stored_at"] * 1000 <= params["stored_ms"]]
        if query is BAD_RECORDS:
            bad = [row for row in found if row["table"] == "bad_rows"]
            return [(row["spool_id"], row["segment"], row["position"], row["tenant_id"], _hour(row)) for row in bad]
        assert query is STORED_EVENTS, "conservation asks two questions"
        ids = Counter(
            (row["tenant_id"], _hour(row), _id(row))
            for row in found
            if row["table"] not in ("bad_rows", "identity_links") and row["received_at"] * 1000 >= params["from_ms"]
        )
        places: dict[tuple[str, int], list[int]] = {}
        for (tenant, hour, id_), copies in sorted(ids.items()):
            sums = places.setdefault((tenant, hour), [0, 0, 0])
            places[tenant, hour] = [sums[0] + 1, sums[1] + copies, sums[2] + crc32(id_.encode())]
        return [(*place, *sums, 0) for place, sums in places.items()]  # nothing was imported


def _hour(row: dict[str, Any]) -> int:
    at = round(row["received_at"] * 1000)
    return at - at % HOUR


def _id(row: dict[str, Any]) -> str:
    return str(row["touch_id"] if row["table"] == "touches" else row["event_id"])


# --- a workload ------------------------------------------------------------------------------------------------------


class PowerCut(Exception):
    """The process is gone: nothing that follows in it happens."""


class World:
    """A data folder with trackers and a drain, on a disk that remembers. ``inserting`` runs before and after each insert."""

    def __init__(self, disk: RecordingDisk, past: Sequence[Step] = ()) -> None:
        self.disk = disk
        self.disk.log += past
        self.settings = Settings(data=disk.root)
        self.clock = FakeClock()
        self.store = Rows(stored(past))
        self.inserting: Callable[[str], None] = lambda moment: None

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        self.inserting("before")
        self.disk.note("stored", (table, lines, token))
        self.store.insert_json(table, lines, token)
        self.inserting("after")

    def drain(self, limit: int = 1000, steps: int = 3, make: Callable[..., Drain] = Drain) -> None:
        """A drain that starts, makes some steps and is gone."""
        with make(self.settings, self, self.clock, self.disk) as drain, suppress(PowerCut):
            for _ in range(steps):
                with suppress(Unavailable):
                    drain.step(limit)


class Tracker:
    """A tracker process, as far as the disk sees it: ``record`` answers a batch of requests, ``kill`` ends it."""

    def __init__(self, world: World, name: str = "t0", segment_bytes: int = 1 << 20, files: FileSystem | None = None) -> None:
        self.world = world
        self.folder = world.settings.spool / name
        self.files = files or world.disk
        self._lock = own_folder(self.folder, files=self.files)
        before = read_counters(self.folder)
        self.counters = Counters(name, world.clock(), before.unrecorded if before else ())
        self.writer = SegmentWriter(self.folder, first_sequence(self.folder, world.clock()), segment_bytes, self.files)

    def record(self, *names: str) -> None:
        events = [event(name) for name in names]
        self.world.disk.note("tried", names)
        self.counters.totals.received += len(names)
        try:
            self.writer.commit(b"".join(frame(encode_event(one)) for one in events), len(events))
        except OSError:
            for one in events:
                self.counters.lose(one.tenant_id, one.received_at)
            self.world.disk.note("lost", names)
        else:
            self.counters.totals.recorded += len(names)
            self.world.disk.note("acked", names)

    def save(self) -> None:
        """Write the counters down, as happens every second."""
        if (content := self.counters.changes(self.world.clock())) and not write_counters(self.folder, content, self.files):
            self.counters.retry()

    def kill(self) -> None:
        os.close(self._lock)


def appends(world: World) -> None:
    tracker = Tracker(world)
    for names in (["T1"], ["T2", "T3", "O4"], ["L5"], ["T6", "R7"], ["T8"]):
        tracker.record(*names)
    tracker.writer.finish()


def rotation(world: World) -> None:
    tracker = Tracker(world, segment_bytes=500)
    for names in (["T1", "T2"], ["O3"], ["T4", "T5"], ["T6"], ["T7", "T8"]):
        tracker.record(*names)
    tracker.writer.finish()


def failed_writes(world: World) -> None:
    """A full disk in the middle of a batch, which also refuses to cut it off, and is full still; then there is room."""
    tracker = Tracker(world)
    tracker.record("T1", "T2")
    trouble = {"write": [30], "truncate": [None], "create": [None, None]}

    def fail(operation: str, name: str) -> int | None:
        if name.endswith(".log") and trouble.get(operation):
            some = trouble[operation].pop()
            if some:
                trouble[operation].append(None)
                return some
            raise OSError(28, "No space left on device")
        return None

    world.disk.fail = fail
    for names in (["T3", "O4"], ["T5"], ["T6"], ["T7"], ["T8", "T9"]):
        tracker.record(*names)
        tracker.save()
    tracker.writer.finish()


def failed_syncs(world: World) -> None:
    """A sync that fails among good ones, then in a new segment, then its folder's."""
    tracker = Tracker(world)
    failing = {("sync", 2), ("sync", 4), ("sync_folder", 4)}
    asked = Counter[str]()

    def fail(operation: str, name: str) -> int | None:
        if name.endswith((".log", "t0")):
            asked[operation] += 1
            if (operation, asked[operation]) in failing:
                raise OSError(5, "Input/output error")
        return None

    world.disk.fail = fail
    for names in (["T1"], ["T2", "T3"], ["T4"], ["O5", "T6"], ["T7"], ["T8"], ["T9"]):
        tracker.record(*names)
    tracker.save()
    world.drain()


def draining(world: World) -> None:
    tracker = Tracker(world, segment_bytes=700)
    tracker.record("T1", "O2")
    world.drain(limit=1)
    tracker.record("T3", "L4")
    tracker.record("T5")
    world.drain(limit=2, steps=4)
    tracker.record("T6")
    world.drain(steps=2)


def draining_beside(world: World) -> None:
    """The drain reads what the tracker has written and not yet synced."""
    tracker = Tracker(world)
    tracker.record("T1")

    def meanwhile(operation: str, name: str) -> None:
        if operation == "sync" and name.endswith(".log"):
            world.disk.meanwhile = lambda operation, name: None
            world.drain(steps=1)
            world.disk.meanwhile = meanwhile

    world.disk.meanwhile = meanwhile
    tracker.record("T2", "O3")
    tracker.record("T4")
    tracker.save()


def deletion(world: World) -> None:
    """Segments grow old and are deleted, while others come."""
    tracker = Tracker(world, segment_bytes=300)
    tracker.record("T1", "T2")
    tracker.record("T3")
    tracker.record("T4")
    world.drain(steps=4)
    world.disk.note("aged", ("T1", "T2", "T3", "T4"))
    world.clock.advance(8 * DAY)
    tracker.record("T5")
    world.drain(steps=2)
    tracker.record("T6")
    world.drain(steps=1)


def long_gone(world: World) -> None:
    """A tracker is gone for so long that its last segment is deleted too; when it is back, the clock was set back."""
    tracker = Tracker(world)
    tracker.record("T1", "O2")
    tracker.kill()
    world.drain(steps=2)
    world.disk.note("aged", ("T1", "O2"))
    world.clock.advance(8 * DAY)
    world.drain(steps=2)
    world.clock.advance(-9 * DAY)
    tracker = Tracker(world)
    tracker.record("T3")
    world.drain(steps=1)


def tracker_restarts(world: World) -> None:
    """Killed before a sync, and started anew, twice; the clock is set back the second time."""
    tracker = Tracker(world)
    tracker.record("T1")
    for name in ("T2", "O3"):

        def die(operation: str, path: str) -> None:
            if operation == "sync" and path.endswith(".log"):
                raise PowerCut

        world.disk.meanwhile = die
        with suppress(PowerCut):
            tracker.record(name, f"T{len(world.disk.log)}")
        world.disk.meanwhile = lambda operation, path: None
        tracker.kill()
        world.clock.advance(-DAY)
        tracker = Tracker(world)
        tracker.record(f"T9{name[1:]}")
        world.drain(steps=1)


def drain_restarts(world: World) -> None:
    """Killed before and after each insert, and started anew."""
    tracker = Tracker(world)
    tracker.record("T1", "O2", "T3")
    tracker.record("T4")
    moments = Counter[str]()

    def die(moment: str) -> None:
        moments[moment] += 1
        if (moment, moments[moment]) in {("before", 1), ("after", 1), ("before", 4), ("after", 3), ("after", 6)}:
            raise PowerCut

    world.inserting = die
    for _ in range(6):
        world.drain(limit=2, steps=1)
    tracker.record("T5")
    world.drain(steps=1)


def two_trackers(world: World) -> None:
    one, two = Tracker(world, "t0"), Tracker(world, "t1", segment_bytes=300)
    one.record("T1")
    two.record("T2", "O3")
    world.drain(limit=1, steps=1)
    one.record("T4")
    two.record("T5")
    world.drain(steps=1)
    two.record("T6")
    one.record("T7")
    world.drain(steps=1)


def somebody_deletes(world: World) -> None:
    """A segment, then the whole folder, vanish under a running tracker: what was in them is gone, what follows is not."""
    tracker = Tracker(world)
    tracker.record("T1")
    world.drain(steps=1)
    assert tracker.writer.path
    tracker.record("T2")
    world.disk.note("deleted", ("T1", "T2"))
    world.disk.lose(tracker.writer.path)
    tracker.record("T3", "O4")
    world.drain(steps=1)
    world.disk.note("deleted", ("T3", "O4"))
    world.disk.lose(tracker.folder)
    tracker.record("T5")
    tracker.record("T6")
    world.drain(steps=1)
    tracker.writer.finish()


def counters_saved(world: World) -> None:
    tracker = Tracker(world)
    tracker.record("T1")
    for number in range(2, 6):
        tracker.counters.totals.received += 1
        tracker.counters.lose("north", NOON + number * HOUR)
        world.disk.note("lost", (f"X{number}",))
        tracker.save()
    tracker.record("T6")


FINELY = (appends, rotation, tracker_restarts)
"""Of these, torn writes are cut at many more places."""

TWICE = ((draining, 500), (failed_syncs, 900), (deletion, 450), (drain_restarts, 400), (tracker_restarts, 500))
"""Of these, every so manieth state is gone on with, to a second power loss."""

WORKLOADS = (
    appends,
    rotation,
    failed_writes,
    failed_syncs,
    draining,
    draining_beside,
    deletion,
    long_gone,
    tracker_restarts,
    drain_restarts,
    two_trackers,
    somebody_deletes,
    counters_saved,
)


# --- recovery --------------------------------------------------------------------------------------------------------


class Notes(NamedTuple):
    """What a workload had said by some step of its log."""

    tried: frozenset[str]
    acked: frozenset[str]
    deleted: frozenset[str]
    aged: frozenset[str]
    lost: int
    stored: tuple[tuple[str, bytes, str], ...]


def notes_of(log: Iterable[Step]) -> Notes:
    said: dict[str, list[Any]] = {kind: [] for kind in ("tried", "acked", "lost", "deleted", "aged", "stored")}
    for step in log:
        if isinstance(step, Note):
            said[step.kind] += [step.value] if step.kind == "stored" else list(step.value)
    deleted = frozenset(said["deleted"])
    acked = frozenset(said["acked"]) - deleted
    return Notes(frozenset(said["tried"]), acked, deleted, frozenset(said["aged"]), len(said["lost"]), tuple(said["stored"]))


def stored(log: Iterable[Step]) -> tuple[tuple[str, bytes, str], ...]:
    return notes_of(log).stored


class QuickFiles(SystemFiles):
    """Does not wait for the disk: here the power stays."""

    def sync(self, file: int) -> None:
        return None

    def sync_path(self, path: Path) -> None:
        return None


class Outcome(NamedTuple):
    """What a recovery came to: the events that are stored; those that the disk held as whole lines before it, its whole lines
    that fit no checksum, and its torn last lines. ``sums`` are the program's own account, not taken of every state."""

    events: frozenset[str]
    held: frozenset[str]
    damaged: int
    torn: int
    sums: Account | None


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where the system has such, for thousands of small files."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield root
    finally:
        shutil.rmtree(root)


def recover(image: Image, before: tuple[tuple[str, bytes, str], ...], turn: int) -> Outcome:
    """Make the image real and start everything again: tracker first or drain first, with the clock right or set back."""
    with scratch() as root:
        put(image, root)
        world, store, clock, files = Settings(data=root), Rows(before), FakeClock(NOON + DAY if turn & 1 else NOON - DAY), QuickFiles()
        if turn % 4 == 3:
            drain_all(world, store, clock, files)
        is_counted = turn % ACCOUNT_EVERY == 0
        restart(world.spool / "t0", clock, files, is_counted, AFTER)
        if (world.spool / "t1").is_dir():
            restart(world.spool / "t1", clock, files, is_counted)
        drain_all(world, store, clock, files)

        once = len(store.rows())
        with Drain(world, store, clock, files) as again:
            report = again.step()
        assert (report.records, report.pending_bytes, len(store.rows())) == (0, 0, once), "recovering twice equals once"
        return outcome_of(image, store.rows(), account(world, store) if is_counted else None)


def restart(folder: Path, clock: FakeClock, files: FileSystem, saves: bool, *names: str) -> None:
    """A tracker starts, records an event, saves its counters and stops."""
    lock = own_folder(folder, files=files)
    writer = SegmentWriter(folder, first_sequence(folder, clock()), 1 << 20, files)
    for name in names:
        writer.commit(frame(encode_event(event(name))), 1)
    writer.finish()
    if saves:
        before = read_counters(folder)
        counters = Counters(folder.name, clock(), before.unrecorded if before else ())
        counters.totals = Totals(received=len(names), recorded=len(names))
        assert write_counters(folder, counters.changes(clock()) or b"", files)
    os.close(lock)


def drain_all(world: Settings, store: Rows, clock: FakeClock, files: FileSystem) -> None:
    with Drain(world, store, clock, files) as drain:
        while drain.step().pending_bytes:
            pass


def outcome_of(image: Image, stored: list[dict[str, Any]], sums: Account | None) -> Outcome:
    """Every event that is stored is stored once and as it was sent; whatever the disk held is stored, or set aside."""
    good = [row | {"stored_at": 0} for row in stored if row["table"] != "bad_rows"]
    events = [_id(row) for row in good if row["table"] != "identity_links"]
    assert max(Counter(events).values()) == 1, f"stored twice: {Counter(events).most_common(1)}"
    assert sorted(map(repr, good)) == sorted(row for name in events for row in wanted(name)), "stored, and not what was sent"

    lines = [line for name, content in image if name.endswith(".log") and content for line in content.splitlines(keepends=True)]
    payloads = [unframe(line) for line in lines if line.endswith(b"\n")]
    held = frozenset(msgspec.json.decode(payload)["event_id"] for payload in payloads if isinstance(payload, bytes))
    damaged = Counter(payload.raw.decode("utf-8", "backslashreplace") for payload in payloads if isinstance(payload, Damage))
    bad = Counter(row["raw"] for row in stored if row["table"] == "bad_rows")
    assert held <= {*events}, f"on the disk, and not stored: {sorted(held - {*events})}"
    assert bad == damaged, "set aside is what is a whole line and does not fit its checksum, and nothing else"
    return Outcome(frozenset(events), held, damaged.total(), len(lines) - len(payloads), sums)


def verify(outcome: Outcome, notes: Notes) -> None:
    """Everything acknowledged is stored, and nothing that nobody sent or that the disk lost; the sums agree."""
    missing = (notes.acked | {AFTER}) - outcome.events
    assert not missing, f"acknowledged and lost: {sorted(missing)}"
    assert outcome.events <= notes.tried | {AFTER}, "stored, and nobody sent it"
    if notes.deleted:
        return
    surplus = outcome.events - outcome.held - notes.aged - {AFTER}
    assert not surplus, f"stored, and the disk lost it: {sorted(surplus)}"
    if outcome.sums:
        sums = totals(outcome.sums.rows)
        assert outcome.sums.balanced, f"conservation: {[row for row in outcome.sums.rows if not row.balanced]} {outcome.sums.faults}"
        assert (sums.pending, sums.doubled) == (0, 0)
        assert notes.aged or sums.received == len(outcome.events) + outcome.damaged + sums.unrecorded
        assert sums.unrecorded <= notes.lost + outcome.torn, "more was counted as lost than was"


Known = dict[tuple[Image, tuple[tuple[str, bytes, str], ...]], Outcome]
"""What came of the states that were recovered already, by what the disk held and what was stored."""


def examine(log: Sequence[Step], begin: int = 0, known: Known | None = None, cuts: int = CUTS) -> Iterator[Image]:
    """Recover and verify every state of a log from step ``begin``; gives what the disk held in each."""
    known = Known() if known is None else known
    notes_at = cache(lambda steps: notes_of(log[:steps]))
    for steps, image in crash_states(log, begin, cuts):
        notes: Notes = notes_at(steps)
        key = (image, notes.stored)
        try:
            if key not in known:
                known[key] = recover(image, notes.stored, turn=len(known))
            verify(known[key], notes)
        except Exception as fault:
            last = [*log[:steps]][-3:]
            raise AssertionError(f"{fault}\nafter step {steps} {last}\nthe disk held {image}") from fault
        yield image


def run(workload: Callable[[World], None], make_disk: Callable[[Path], RecordingDisk] = RecordingDisk) -> list[Step]:
    """A workload's log."""
    with scratch() as root:
        world = World(make_disk(root))
        workload(world)
        return world.disk.log


def again_after_a_power_loss(workload: Callable[[World], None], every: int) -> Iterator[tuple[list[Step], int]]:
    """Logs, and where they begin, of worlds that came back from a power loss, worked on, and may lose power again at any moment of it."""
    log = run(workload)
    states = list(crash_states(log, cuts=CUTS))[every // 2 :: every]
    for state in states:
        with scratch() as root:
            disk = RecordingDisk(root)
            world = World(disk, [step for step in log[: state.steps] if isinstance(step, Note)])
            disk.load(state.image)
            begin = len(disk.log)
            tracker = Tracker(world)
            world.drain(limit=2, steps=1)
            tracker.record("T31", "O32")
            world.drain(steps=2)
            tracker.kill()
            yield disk.log, begin


# --- the claims ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> dict[str, set[Image]]:
    """What the disk held in all states that the tests of this module recovered, by test."""
    return {}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.__name__)
def test_nothing_acknowledged_is_lost_in_a_power_loss(workload: Callable[[World], None], found: dict[str, set[Image]]) -> None:
    found[workload.__name__] = set(examine(run(workload), cuts=72 if workload in FINELY else CUTS))


def test_nor_in_a_second_one_after_the_first(found: dict[str, set[Image]]) -> None:
    images, known = found.setdefault("twice", set()), Known()
    for workload, every in TWICE:
        for log, begin in again_after_a_power_loss(workload, every):
            images.update(examine(log, begin, known))


def test_that_was_shown_of_ten_thousand_states(found: dict[str, set[Image]]) -> None:
    if len(found) <= len(WORKLOADS):
        pytest.skip("only some of the states were asked for")
    assert len(set().union(*found.values())) >= STATES_AT_LEAST


# --- and that it would show: the same workloads on trackers and drains that do it wrong -------------------------------


class NeverSyncs(RecordingDisk):
    """Confirms what is written and not synced."""

    def sync(self, file: int) -> None:
        if not self.name_of(file).endswith(DRAFT):
            return None
        return super().sync(file)


class RenamesUnsynced(RecordingDisk):
    """Puts a draft in place before its content is safe."""

    def sync(self, file: int) -> None:
        if self.name_of(file).endswith(DRAFT):
            return None
        return super().sync(file)


class NeverSyncsFolders(RecordingDisk):
    """Leaves it to luck which names a folder holds."""

    def sync_path(self, path: Path) -> None:
        if not path.is_dir():
            super().sync_path(path)


class NeverSyncsTheSpool(RecordingDisk):
    """Makes a tracker's folder and forgets that its name, too, must be made safe."""

    def sync_path(self, path: Path) -> None:
        if path.name != "spool":
            super().sync_path(path)


class SyncsAgain(RecordingDisk):
    """Asks a second time where a sync failed, and believes the answer."""

    def sync(self, file: int) -> None:
        try:
            super().sync(file)
        except OSError:
            super().sync(file)


class NeverKeepsSafe(RecordingDisk):
    """Stores what its tracker has not synced yet."""

    def sync_path(self, path: Path) -> None:
        if path.is_dir():
            super().sync_path(path)


class NeverWritesDown(RecordingDisk):
    """Inserts without a manifest, so that a retry reads another range."""

    def rename(self, path: Path, new_path: Path) -> None:
        super().rename(path, new_path)
        if new_path.name == "manifest":
            super().remove(new_path)


class NeverLooks(RecordingDisk):
    """Goes on writing to a file that somebody deleted."""

    def is_at(self, file: int, path: Path) -> bool:
        return True


class NeverCuts(RecordingDisk):
    """Leaves in a segment that goes on what nobody was promised."""

    def truncate(self, file: int, size: int) -> None:
        return None

    def remove(self, path: Path) -> None:
        if path.suffix != ".log":
            super().remove(path)


@pytest.mark.parametrize(
    ("disk", "workload", "fault"),
    [
        (NeverSyncs, appends, "acknowledged and lost"),
        (RenamesUnsynced, draining, "is damaged"),
        (NeverSyncsFolders, appends, "acknowledged and lost"),
        (NeverSyncsFolders, deletion, "acknowledged and lost"),
        (NeverSyncsTheSpool, appends, "acknowledged and lost"),
        (SyncsAgain, failed_syncs, "acknowledged and lost"),
        (NeverKeepsSafe, draining_beside, "the disk lost it"),
        (NeverWritesDown, drain_restarts, "stored twice"),
        (NeverLooks, somebody_deletes, "acknowledged and lost"),
    ],
)
def test_what_is_done_wrong_shows(disk: type[RecordingDisk], workload: Callable[[World], None], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        list(examine(log := run(workload, disk), begin=len(log) // 3))


def acks_first(log: list[Step]) -> list[Step]:
    """Each acknowledgement goes before the sync that it should follow."""
    for place, step in enumerate(log):
        if isinstance(step, Note) and step.kind == "acked":
            log.insert(place - 1, log.pop(place))
    return log


def inserts_last(log: list[Step]) -> list[Step]:
    """Each cursor is in place before what it says is stored."""
    for place in reversed([place for place, step in enumerate(log) if isinstance(step, Note) and step.kind == "stored"]):
        cursor = next(after for after in range(place, len(log)) if isinstance(log[after], Name) and log[after].name == "cursor.json")
        log.insert(cursor + 1, log.pop(place))
    return log


def deletes_first(log: list[Step]) -> list[Step]:
    """Each old segment goes before the first cursor that is behind it."""
    for place, step in enumerate(log):
        if isinstance(step, Name) and step.name.endswith(".log") and step.inode == 0:
            log.insert(next(early for early, note in enumerate(log) if isinstance(note, Note) and note.kind == "stored"), log.pop(place))
    return log


@pytest.mark.parametrize(
    ("in_other_order", "workload"),
    [(acks_first, appends), (inserts_last, draining), (deletes_first, deletion)],
    ids=lambda one: one.__name__,
)
def test_what_is_done_too_early_shows(in_other_order: Callable[[list[Step]], list[Step]], workload: Callable[[World], None]) -> None:
    with pytest.raises(AssertionError, match=r"acknowledged and lost|the disk lost it|and not stored"):
        list(examine(log := in_other_order(run(workload)), begin=len(log) // 3))
