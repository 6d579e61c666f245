"""Nothing is lost, and this shows it: received = stored + bad + pending + unrecorded, by tenant and hour.

The left side is counted from the spool's own bytes and the trackers' counters, the right side from the events store: two
witnesses that do not know of each other. I/O: reads the spool folders.

It reaches back as far as the spool does (``spool_keep_days``); an hour of which segments were already deleted is left out.
A record that was spooled twice, because its tracker died before it could note the first time, is one event on both sides.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from core.clock import HOUR, Instant
from core.errors import Unavailable
from core.settings import Settings
from store.events import EventsStore, read_query
from tracker.counters import read_counters
from tracker.drain import Glimpse, begun_at, glimpse_of, torn_bytes
from tracker.manifest import Cursor, read_cursor
from tracker.spool import Damage, is_finished, read_records, segments, spool_folders

STORED_EVENTS = read_query(__file__, "stored_events")
BAD_RECORDS = read_query(__file__, "bad_records")

CURSOR_READINGS = 50

Place = tuple[str, Instant]
"""A tenant, and the start of an hour."""

Position = tuple[str, str, int]
"""A record: spool folder, segment, offset."""


class Row(msgspec.Struct, frozen=True):
    """The events of one tenant (empty: of none) that were received in ``[hour, hour + 1 h)``.

    ``unrecorded`` were answered but never recorded: the disk was full, or the tracker died while writing. ``doubled`` are
    rows that the store holds beyond one per event; readers skip them. ``difference`` is what nothing accounts for.
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

    @property
    def balanced(self) -> bool:
        return self.difference == 0


def conservation(settings: Settings, events: EventsStore, tenant_id: str = "", census: "Census | None" = None) -> list[Row]:
    """Account for every event, hour by hour; sorted by tenant and hour. It may run while trackers and drain are at work.

    Args:
        tenant_id: only this tenant's events; empty takes all, and those that belong to nobody.
        census: from an earlier call, so that only what is new is counted; None counts the whole spool.

    Raises:
        Unavailable: the events store does not answer.
    """
    cursors = read_cursors(settings.spool)
    unrecorded = _losses(cursors)
    settled, pending = (census or Census()).count(cursors)
    from_ms = max((cursor.complete_from for cursor in cursors.values()), default=0)
    stored_ms = max((cursor.stored_at for cursor in cursors.values()), default=0)
    found = events.select(STORED_EVENTS, tenant_id=tenant_id, from_ms=from_ms, stored_ms=stored_ms)
    aside = events.select(BAD_RECORDS, tenant_id=tenant_id, stored_ms=stored_ms)
    bad = {(spool, segment, position): (tenant, hour) for spool, segment, position, tenant, hour in aside}

    unrecorded += settled.torn + pending.torn
    waiting = pending.placed + Counter(pending.nameless.values())
    # A record that says nothing of itself is counted where bad_rows has it; one that is not there is missed where it lay.
    named = Counter(bad.get(position, place) for position, place in settled.nameless.items())
    received = settled.placed + named + waiting + unrecorded
    stored = Counter({(tenant, hour): number for tenant, hour, number, _ in found})
    doubled = {(tenant, hour): rows - number for tenant, hour, number, rows in found}
    set_aside = Counter(bad.values())
    places = sorted(place for place in {*received, *stored, *set_aside} if place[1] >= from_ms and tenant_id in ("", place[0]))
    return [
        _row(place, received[place], stored[place], set_aside[place], waiting[place], unrecorded[place], doubled.get(place, 0))
        for place in places
    ]


def totals(rows: Iterable[Row]) -> Row:
    """The sum of rows, as a row of no tenant and hour 0. ``difference`` sums what is missing and what is too much without
    letting one hide the other."""
    rows = list(rows)
    received, stored, bad, pending, unrecorded, doubled = (
        sum(getattr(row, name) for row in rows) for name in ("received", "stored", "bad", "pending", "unrecorded", "doubled")
    )
    return Row("", 0, received, stored, bad, pending, unrecorded, doubled, sum(abs(row.difference) for row in rows))


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


def _row(place: Place, received: int, stored: int, bad: int, pending: int, unrecorded: int, doubled: int) -> Row:
    difference = received - stored - bad - pending - unrecorded
    return Row(*place, received, stored, bad, pending, unrecorded, doubled, difference)


def _losses(folders: Iterable[Path]) -> Counter[Place]:
    losses: Counter[Place] = Counter()
    for folder in folders:
        counters = read_counters(folder)
        for loss in counters.unrecorded if counters else ():
            losses[loss.tenant_id, loss.hour] += loss.events
    return losses


# --- counting the spool ----------------------------------------------------------------------------------------------


class Tally(msgspec.Struct):
    """Records by place; those that do not say whose they are, with the place where they lie; torn last lines by place."""

    placed: Counter[Place] = msgspec.field(default_factory=Counter)
    nameless: dict[Position, Place] = {}
    torn: Counter[Place] = msgspec.field(default_factory=Counter)


class _Stretch(msgspec.Struct):
    """What a segment holds from its start to ``end``."""

    end: int = 0
    latest: Instant = 0
    tally: Tally = msgspec.field(default_factory=Tally)


class Census:
    """Counts what the spool holds. Kept between counts, it reads again only what was not yet stored the last time."""

    def __init__(self) -> None:
        self._settled: dict[Path, _Stretch] = {}
        self._conversions: set[str] = set()

    def count(self, cursors: dict[Path, Cursor]) -> tuple[Tally, Tally]:
        """What lies before the cursors, and what lies behind them."""
        present = [(path, cursor) for folder, cursor in cursors.items() for path in segments(folder)]
        if any(path in self._settled and self._settled[path].end > _border(path, cursor) for path, cursor in present):
            self._settled, self._conversions = {}, set()  # a cursor was set back by hand: begin anew
        self._settled = {path: self._settled.get(path, _Stretch()) for path, _ in present}
        settled, pending = Tally(), Tally()
        waiting: set[str] = set()
        for path, cursor in present:
            finished = is_finished(path)
            done = self._settled[path]
            _read_on(path, done, _border(path, cursor), self._conversions)
            _add(settled, done.tally)
            rest = _Stretch(end=done.end, latest=done.latest)
            _read_on(path, rest, None, waiting, self._conversions)
            _add(pending, rest.tally)
            if finished and torn_bytes(path):
                pending.torn["", _hour(rest.latest or begun_at(path.name))] += 1
        return settled, pending


def _border(path: Path, cursor: Cursor) -> int:
    """The offset up to which a segment is stored."""
    if path.name == cursor.segment:
        return min(cursor.offset, path.stat().st_size)
    return path.stat().st_size if path.name < cursor.segment else 0


def _read_on(path: Path, stretch: _Stretch, border: int | None, seen: set[str], seen_before: Collection[str] = ()) -> None:
    """Count the records from the stretch's end to ``border``, or to the segment's end; conversions only the first time."""
    if border is not None and stretch.end >= border:
        return
    tally = stretch.tally
    for position, end, payload in read_records(path, stretch.end):
        if border is not None and end > border:
            break
        stretch.end = end
        glimpse = Glimpse() if isinstance(payload, Damage) else glimpse_of(payload)
        if not glimpse.received_at:
            tally.nameless[path.parent.name, path.name, position] = ("", _hour(stretch.latest or begun_at(path.name)))
            continue
        stretch.latest = max(stretch.latest, glimpse.received_at)
        if glimpse.event != "touch" and glimpse.event_id:
            if glimpse.event_id in seen or glimpse.event_id in seen_before:
                continue
            seen.add(glimpse.event_id)
        tally.placed[glimpse.tenant_id, _hour(glimpse.received_at)] += 1


def _add(sum_: Tally, part: Tally) -> None:
    sum_.placed.update(part.placed)
    sum_.nameless.update(part.nameless)
    sum_.torn.update(part.torn)


def _hour(at: Instant) -> Instant:
    return at - at % HOUR
