"""Nothing is lost, and this shows it: received = stored + bad + pending + unrecorded, by tenant and hour.

The left side is counted from the spool's own bytes and the trackers' counters, the right side from the events store: two
witnesses that do not know of each other. Not only the numbers must agree: the sum of the ids' checksums must, too, so that
one event in another's place shows. What no row can show is a fault of its own: segments that are gone or cut before their
time, counters that are damaged, or that claim more than the spool holds. I/O: reads the spool folders.

It reaches back as far as the spool does (``spool_keep_days``); an hour of which segments were already deleted is left out.
A record that was spooled twice, because its tracker died before it could note the first time, is one event on both sides.
It is no signature: whoever can write to the spool can also make up a record that waits to be stored.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from core.clock import HOUR, MINUTE, Instant
from core.errors import Unavailable
from core.settings import Settings
from store.events import EventsStore, read_query
from tracker.counters import FILE as COUNTERS
from tracker.counters import CountersFile, read_counters
from tracker.drain import torn_bytes
from tracker.enrich import END_OF_TIME
from tracker.loading import Glimpse, begun_at, glimpse_of
from tracker.manifest import Cursor, read_cursor
from tracker.spool import Damage, is_finished, read_records, segments, spool_folders

STORED_EVENTS = read_query(__file__, "stored_events")
BAD_RECORDS = read_query(__file__, "bad_records")

CURSOR_READINGS = 50
COUNTINGS = 5
RECOUNTS = 2
RECOUNT_AFTER_S = 1.1
"""A relay writes its folders' cursors one after the other, each second: between two of them, what is stored seems too much."""

MOST_BAD = 500_000
"""So many records that cannot be used are looked at one by one."""

REST_EVERY = 5_000
"""Records between two rests of a census that shares its process with work that matters more."""

Place = tuple[str, Instant]
"""A tenant, and the start of an hour."""

Position = tuple[str, str, int]
"""A record: spool folder, segment, offset."""


class Row(msgspec.Struct, frozen=True):
    """The events of one tenant (empty: of none) that were received in ``[hour, hour + 1 h)``.

    ``unrecorded`` were answered but never recorded: the disk was full, or the tracker died while writing. ``doubled`` are
    rows that the store holds beyond one per event; readers skip them. ``difference`` is what nothing accounts for: above
    zero it is missing, below zero it is stored without having been received. ``altered``: as many are stored as were
    received, but not the same ones. ``imported`` came by ``fairshare import`` and never through a spool: no part of the sum.
    """

    tenant_id: str
    hour: Instant
    received: int
    stored: int
    bad: int
    pending: int
    unrecorded: int
    doubled: int
    difference: int
    altered: bool = False
    imported: int = 0

    @property
    def balanced(self) -> bool:
        return self.difference == 0 and not self.altered


class Account(msgspec.Struct, frozen=True):
    """Every event, hour by hour. ``rows`` are sorted by tenant and hour; ``faults`` are what they cannot show, each a line
    for the operator that says what to do. ``complete_from``: hours before it are left out. ``sees_spool`` is False where no
    tracker's folder is in sight, so that nothing can be said.
    """

    rows: list[Row]
    faults: list[str] = []
    complete_from: Instant = 0
    sees_spool: bool = True

    @property
    def balanced(self) -> bool:
        return not self.faults and all(row.balanced for row in self.rows)


def conservation(settings: Settings, events: EventsStore, tenant_id: str = "", census: "Census | None" = None) -> list[Row]:
    """The rows of :func:`account`."""
    return account(settings, events, tenant_id, census).rows


def account(settings: Settings, events: EventsStore, tenant_id: str = "", census: "Census | None" = None) -> Account:
    """Account for every event. It may run while trackers and drain are at work.

    Args:
        tenant_id: only this tenant's events; empty takes all, and those that belong to nobody.
        census: from an earlier call, so that only what is new is counted; None counts the whole spool.

    Raises:
        Unavailable: the events store does not answer, or the spool changes too fast to be counted.
    """
    census = census or Census()
    found = _count(settings, events, tenant_id, census)
    for _ in range(RECOUNTS if settings.has_redis_queue else 0):
        if all(row.balanced for row in found.rows):
            break
        time.sleep(RECOUNT_AFTER_S)
        found = _count(settings, events, tenant_id, census)
    return found


def _count(settings: Settings, events: EventsStore, tenant_id: str, census: "Census") -> Account:
    for _ in range(COUNTINGS):
        cursors = read_cursors(settings.spool)
        try:
            found = _account(cursors, events, tenant_id, census)
        except FileNotFoundError:
            continue  # an old segment was deleted while we counted
        if _complete_from(read_cursors(settings.spool)) == found.complete_from:
            return found
    raise Unavailable("segments are being deleted faster than they can be counted; try again in a moment")


def totals(rows: Iterable[Row]) -> Row:
    """The sum of rows, as a row of no tenant and hour 0. ``difference`` sums what is missing and what is too much without
    letting one hide the other."""
    rows = list(rows)
    received, stored, bad, pending, unrecorded, doubled = (
        sum(getattr(row, name) for row in rows) for name in ("received", "stored", "bad", "pending", "unrecorded", "doubled")
    )
    difference, altered = sum(abs(row.difference) for row in rows), any(row.altered for row in rows)
    return Row("", 0, received, stored, bad, pending, unrecorded, doubled, difference, altered, sum(row.imported for row in rows))


def advice(row: Row, is_by_redis: bool = False) -> str:
    """What an operator can do about a row that does not balance; empty for one that does."""
    if row.altered:
        return "as many are stored as were received, but not the same ones: rows or records were replaced; compare with a backup"
    if row.difference > 0:
        if is_by_redis:
            return "missing from the store, but still in the spool: have the relay send it again, as docs/queue.md says"
        again = 'stop the drain, set "segment" to "" and "offset" to 0 in each cursor.json of the spool, and start it again'
        return f"missing from the store, but still in the spool: {again}; reports count what is then stored twice once"
    if row.difference < 0:
        return "stored, but no longer in the spool: a segment was cut, edited or deleted, or rows came by another way; restore the segment"
    return ""


def read_cursors(spool: Path) -> dict[Path, Cursor]:
    """Every folder's cursor at one moment, though the drain may be moving them: read until two readings agree.

    Raises:
        Unavailable: they never did, which takes a drain that acknowledges something every few milliseconds.
    """
    before: dict[Path, Cursor] | None = None
    for _ in range(CURSOR_READINGS):
        now = {folder: read_cursor(folder) for folder in spool_folders(spool)}
        if now == before:
            return now
        before = now
        time.sleep(0.002)
    raise Unavailable("the drain is moving too fast to count beside it; try again in a moment")


def _account(cursors: dict[Path, Cursor], events: EventsStore, tenant_id: str, census: "Census") -> Account:
    # The counters first: whatever they claim is in the spool by now.
    counters = {folder: read_counters(folder) for folder in cursors}
    settled, pending = census.count(cursors)
    from_ms = _complete_from(cursors)
    stored_ms = max((cursor.stored_at for cursor in cursors.values()), default=END_OF_TIME)
    found = events.select(STORED_EVENTS, tenant_id=tenant_id, from_ms=from_ms, stored_ms=stored_ms)
    limits = {"stored_ms": stored_ms, "from_ms": from_ms, "first_segment": census.first_segment, "most": MOST_BAD}
    aside = events.select(BAD_RECORDS, tenant_id=tenant_id, **limits)
    bad = {(spool, segment, position): (tenant, hour) for spool, segment, position, tenant, hour in aside}

    set_aside, unused = census.set_aside(cursors, settled, bad)
    unrecorded = _losses(counters.values()) + settled.torn + pending.torn
    waiting = pending.placed + Counter(pending.nameless.values())
    # A record that says nothing of itself is counted where bad_rows has it; one that is not there is missed where it lay.
    named = Counter(bad.get(position, place) for position, place in settled.nameless.items())
    received = settled.placed + named + waiting + unrecorded
    stored = {(tenant, hour): (number, rows, prints) for tenant, hour, number, rows, prints, _ in found}
    imported = {(tenant, hour): number for tenant, hour, _, _, _, number in found}
    places = sorted(place for place in {*received, *stored, *set_aside} if place[1] >= from_ms and tenant_id in ("", place[0]))
    rows = []
    for place in places:
        number, copies, prints = stored.get(place, (0, 0, 0))
        difference = received[place] - number - set_aside[place] - waiting[place] - unrecorded[place]
        altered = difference == 0 and settled.prints[place] - unused[place] != prints
        whence = (set_aside[place], waiting[place], unrecorded[place])
        more = (copies - number, difference, altered, imported.get(place, 0))
        rows.append(Row(place[0], place[1], received[place], number, *whence, *more))
    faults = [fault for folder, cursor in cursors.items() for fault in faults_of(folder, cursor, counters[folder], census)]
    if len(aside) == MOST_BAD:
        faults.append(f"bad_rows holds more than {MOST_BAD} records of these days: those beyond are not accounted for")
    return Account(rows, faults, from_ms, sees_spool=bool(cursors))


def _complete_from(cursors: dict[Path, Cursor]) -> Instant:
    return max((cursor.complete_from for cursor in cursors.values()), default=0)


def _losses(files: Iterable[CountersFile | None]) -> Counter[Place]:
    losses: Counter[Place] = Counter()
    for file in files:
        for loss in file.unrecorded if file else ():
            losses[loss.tenant_id, loss.hour] += loss.events
    return losses


# --- what the rows cannot show ---------------------------------------------------------------------------------------


def faults_of(folder: Path, cursor: Cursor, counters: CountersFile | None, census: "Census") -> list[str]:
    """What is wrong with a spool folder itself, a line each."""
    return [f"{folder.name}: {fault}" for fault in (*_gone(folder, cursor), *_miscounted(folder, cursor, counters, census))]


def _gone(folder: Path, cursor: Cursor) -> Iterator[str]:
    """Segments that are missing or too short, seen from the cursor."""
    present = {path.name: path.stat().st_size for path in segments(folder)}
    for name, passed in sorted(cursor.passed.items()):
        if name not in present and passed.received_at >= cursor.complete_from:
            yield f"segment {name} was deleted before its time; restore it from a backup: its events can no longer be proved"
    if cursor.segment in present and present[cursor.segment] < cursor.offset:
        yield f"segment {cursor.segment} was cut: {cursor.offset} bytes of it are stored; restore it from a backup"
    elif cursor.segment not in ("", *present, *cursor.passed) and cursor.received_at >= cursor.complete_from:
        yield f"segment {cursor.segment} was deleted: {cursor.offset} bytes of it are stored; restore it from a backup"


def _miscounted(folder: Path, cursor: Cursor, counters: CountersFile | None, census: "Census") -> Iterator[str]:
    """The tracker's own counts against each other, and against what its segments hold."""
    if counters is None:
        if (folder / COUNTERS).exists():
            yield f"{COUNTERS} is damaged: what was answered but not recorded is unknown; restore it from a backup, or move it away"
        elif census.lived_ms(folder) > MINUTE:
            yield f"{COUNTERS} is gone: what was answered but not recorded is unknown; restore it from a backup"
        return
    sums = counters.totals
    this_run = counters.started_at - counters.started_at % HOUR
    losses = sum(loss.events for loss in counters.unrecorded if loss.hour >= this_run)
    if sums.received < sums.recorded + sums.unrecorded or losses < sums.unrecorded:
        yield f"{COUNTERS} does not add up: somebody edited it; restore it from a backup"
    elif cursor.complete_from <= counters.started_at:  # else some segments of this run were deleted in their time
        held = census.records_since(folder, counters.started_at)
        if held < sums.recorded:
            missing = f"{sums.recorded - held} of the {sums.recorded} events that it recorded since it started"
            yield f"the tracker's segments do not hold {missing}; a segment was cut, edited or deleted: restore it from a backup"


# --- counting the spool ----------------------------------------------------------------------------------------------


class Tally(msgspec.Struct):
    """Records by place, with the sums of their ids' checksums; those that do not say whose they are, with the place where
    they lie; torn last lines by place."""

    placed: Counter[Place] = msgspec.field(default_factory=Counter)
    prints: Counter[Place] = msgspec.field(default_factory=Counter)
    nameless: dict[Position, Place] = {}
    torn: Counter[Place] = msgspec.field(default_factory=Counter)


class _Stretch(msgspec.Struct):
    """What a segment holds from its start to ``end``; ``records`` counts every line, repeated or not."""

    end: int = 0
    latest: Instant = 0
    records: int = 0
    tally: Tally = msgspec.field(default_factory=Tally)


class Census:
    """Counts what the spool holds. Kept between counts, it reads again only what was not yet stored the last time.

    Args:
        rest_s: how long to rest after every ``REST_EVERY`` records, where the process has better things to do.
    """

    def __init__(self, rest_s: float = 0.0) -> None:
        self._rest_s = rest_s
        self._settled: dict[Path, _Stretch] = {}
        self._waiting: dict[Path, _Stretch] = {}
        self._named: set[int] = set()
        self._glimpses: dict[Position, Glimpse] = {}

    def count(self, cursors: dict[Path, Cursor]) -> tuple[Tally, Tally]:
        """What lies before the cursors, and what lies behind them."""
        present = [(path, cursor) for folder, cursor in cursors.items() for path in segments(folder)]
        if any(path in self._settled and self._settled[path].end > _border(path, cursor) for path, cursor in present):
            self._settled, self._named = {}, set()  # a cursor was set back by hand, or a segment cut: begin anew
        self._settled = {path: self._settled.get(path, _Stretch()) for path, _ in present}
        self._waiting = {}
        settled, pending = Tally(), Tally()
        waiting: set[int] = set()
        for path, cursor in present:
            finished = is_finished(path)
            done = self._settled[path]
            self._read_on(path, done, _border(path, cursor), self._named)
            _add(settled, done.tally)
            rest = self._waiting[path] = _Stretch(end=done.end, latest=done.latest)
            self._read_on(path, rest, None, waiting, self._named)
            _add(pending, rest.tally)
            if finished and torn_bytes(path):
                pending.torn["", _hour(rest.latest or begun_at(path.name))] += 1
        return settled, pending

    def set_aside(self, cursors: dict[Path, Cursor], settled: Tally, bad: dict[Position, Place]) -> tuple[Counter[Place], Counter[Place]]:
        """The events of ``bad_rows`` by place, and the sums of their checksums, which the store's events lack.

        Reads those records again, once: only they say whether two rows are one conversion that was spooled twice.
        """
        folders = {folder.name: folder for folder in cursors}
        self._glimpses = {position: glimpse for position, glimpse in self._glimpses.items() if position in bad}
        numbers: Counter[Place] = Counter()
        prints: Counter[Place] = Counter()
        seen: set[str] = set()
        for position, place in bad.items():
            if position in settled.nameless or position[0] not in folders:
                numbers[place] += 1
                continue
            if position not in self._glimpses:
                self._glimpses[position] = _glimpse_at(folders[position[0]] / position[1], position[2])
            glimpse = self._glimpses[position]
            if _may_repeat(glimpse):
                if glimpse.event_id in seen:
                    continue
                seen.add(glimpse.event_id)
            numbers[place] += 1
            if glimpse.received_at:
                prints[glimpse.tenant_id, _hour(glimpse.received_at)] += crc32(glimpse.event_id.encode())
        return numbers, prints

    @property
    def first_segment(self) -> str:
        """The lowest name of a segment that the last count saw; names of all folders compare, as they are times."""
        return min((path.name for path in self._settled), default="")

    def records_since(self, folder: Path, started_at: Instant) -> int:
        """How many records the last count saw in the segments that a tracker began since it started."""
        own = [path for path in self._settled if path.parent == folder and begun_at(path.name) >= started_at]
        return sum(self._settled[path].records + self._waiting[path].records for path in own)

    def lived_ms(self, folder: Path) -> int:
        """For how long, at least, a tracker of this folder was at work without a break, by its records."""
        ends = [(path, max(self._settled[path].latest, self._waiting[path].latest)) for path in self._settled if path.parent == folder]
        return max((latest - begun_at(path.name) for path, latest in ends if latest), default=0)

    def _read_on(self, path: Path, stretch: _Stretch, border: int | None, seen: set[int], seen_before: Collection[int] = ()) -> None:
        """Count the records from the stretch's end to ``border``, or to the segment's end; what may repeat only the first time."""
        if border is not None and stretch.end >= border:
            return
        tally = stretch.tally
        for position, end, payload in read_records(path, stretch.end):
            if border is not None and end > border:
                break
            stretch.end = end
            stretch.records += 1
            if self._rest_s and stretch.records % REST_EVERY == 0:
                time.sleep(self._rest_s)
            glimpse = Glimpse() if isinstance(payload, Damage) else glimpse_of(payload)
            if not glimpse.received_at:
                tally.nameless[path.parent.name, path.name, position] = ("", _hour(stretch.latest or begun_at(path.name)))
                continue
            stretch.latest = max(stretch.latest, glimpse.received_at)
            if glimpse.source == "import":  # an import died, and a sender's repeat of its order came here: it counts there
                continue
            if _may_repeat(glimpse):
                name = hash(glimpse.event_id)  # a fifth of the memory of the text
                if name in seen or name in seen_before:
                    continue
                seen.add(name)
            place = glimpse.tenant_id, _hour(glimpse.received_at)
            tally.placed[place] += 1
            tally.prints[place] += crc32(glimpse.event_id.encode())


def _may_repeat(glimpse: Glimpse) -> bool:
    """True of what a sender reported under an id of its own: it may be spooled twice, and is one event. A visitor's touch never is."""
    return bool(glimpse.event_id) and (glimpse.event != "touch" or glimpse.source == "api")


def _border(path: Path, cursor: Cursor) -> int:
    """The offset up to which a segment is stored."""
    if path.name == cursor.segment:
        return min(cursor.offset, path.stat().st_size)
    return path.stat().st_size if path.name < cursor.segment else 0


def _glimpse_at(path: Path, position: int) -> Glimpse:
    """What the record at an offset says of itself; nothing, where there is none."""
    if path.exists():
        for _, _, payload in read_records(path, position):
            return Glimpse() if isinstance(payload, Damage) else glimpse_of(payload)
    return Glimpse()


def _add(sum_: Tally, part: Tally) -> None:
    sum_.placed.update(part.placed)
    sum_.prints.update(part.prints)
    sum_.nameless.update(part.nameless)
    sum_.torn.update(part.torn)


def _hour(at: Instant) -> Instant:
    return at - at % HOUR
