"""Moves records from the spool into the events store: every one once, whatever dies in between. Plainly I/O.

One range at a time: read whole records behind the cursor, enrich, write the blocks down (:mod:`tracker.manifest`), insert
them, move the cursor, remove the manifest. A crash between any two of these steps repeats an insert at most, and the store
drops the repetition by its token. Segments are deleted only long after a durable cursor has passed them.
"""

import fcntl
import logging
import os
import threading
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import TracebackType

import msgspec

from core.clock import DAY, HOUR, Clock, Instant, as_datetime
from core.errors import InUse, Unavailable
from core.settings import Settings
from store.events import EventsStore
from tracker.country import open_countries
from tracker.enrich import END_OF_TIME, TABLES, BadRow, CountryOf, Placed, Row, Unusable, read_event, rows
from tracker.manifest import (
    Block,
    Cursor,
    Manifest,
    Passed,
    read_cursor,
    read_manifest,
    remove_manifest,
    write_cursor,
    write_manifest,
)
from tracker.spool import Damage, is_finished, read_records, segments, spool_folders

LOCK = "drain.lock"
RANGE_RECORDS = 20_000
RANGE_BYTES = 16 * 1024 * 1024
"""A range ends at the first of the two: its blocks stay well below what one insert may hold."""

LONGEST_PAUSE_MS = 5_000

REFUSALS = frozenset((6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 128, 130, 131, 190, 321, 349, 407, 467, 469, 561, 691))
"""ClickHouse error codes that blame the rows: a text that does not parse, a value out of its range, arrays of unequal size, a
violated constraint. Every other error blames the store, and is waited out."""

_log = logging.getLogger("fairshare.drain")
_encoder = msgspec.json.Encoder()


class DrainReport(msgspec.Struct, frozen=True):
    """What one step did. ``stored`` counts rows by table; ``torn`` counts cut-off last lines, which nobody was promised;
    ``pending_bytes`` is what the spool still holds for the next step."""

    records: int = 0
    stored: dict[str, int] = {}
    bad: int = 0
    torn: int = 0
    pending_bytes: int = 0

    def __add__(self, other: "DrainReport") -> "DrainReport":
        stored = {table: self.stored.get(table, 0) + other.stored.get(table, 0) for table in {**self.stored, **other.stored}}
        return DrainReport(
            self.records + other.records,
            stored,
            self.bad + other.bad,
            self.torn + other.torn,
            self.pending_bytes + other.pending_bytes,
        )


class Range(msgspec.Struct, frozen=True):
    """Whole records of one segment, from byte ``start`` to ``end`` (exclusive), each as ``(offset, next offset, record)``."""

    segment: str
    start: int
    end: int
    records: list[tuple[int, int, bytes | Damage]]


class Drain:
    """The one drain of an installation's spool; a lock file in it keeps a second one out until :meth:`close`."""

    def __init__(self, settings: Settings, events: EventsStore, clock: Clock) -> None:
        self._spool = settings.spool
        self._keep_ms = settings.spool_keep_days * DAY
        self._events = events
        self._clock = clock
        self._countries = open_countries(settings)
        self._lock = -1
        self._cursors: dict[Path, Cursor] = {}
        self._stored_at: Instant = 0

    def __enter__(self) -> "Drain":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let another drain have the spool."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._countries.close()

    def step(self, limit: int = RANGE_RECORDS) -> DrainReport:
        """Store one range, of at most ``limit`` records, from each spool folder; begins with what a crash left undone.

        Raises:
            Unavailable: the store, or the disk, cannot take it now. Nothing was skipped; the next step tries the same again.
        """
        self._take_lock()
        report = DrainReport()
        folders = spool_folders(self._spool)
        for folder in folders:
            self._stored_at = max(self._stored_at, self._cursor(folder).stored_at)
        for folder in folders:
            # Before anything new: rows become visible in the order of their stored_at, which pollers rely on.
            if left := self._left_undone(folder):
                report += self._store(folder, left)
        for folder in folders:
            if found := next_range(folder, self._cursor(folder), limit):
                manifest = self._prepare(folder, found)
                write_manifest(folder, manifest)
                report += self._store(folder, manifest)
            self._delete_old(folder)
        return report + DrainReport(pending_bytes=sum(pending_bytes(folder, self._cursor(folder)) for folder in folders))

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        self._spool.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._spool / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise InUse(f"another drain is at work on {self._spool}; there can be only one") from None
        self._lock = lock
        self._cursors.clear()

    def _cursor(self, folder: Path) -> Cursor:
        if folder not in self._cursors:
            self._cursors[folder] = read_cursor(folder)
        return self._cursors[folder]

    def _left_undone(self, folder: Path) -> Manifest | None:
        """A manifest whose range is not behind the cursor yet: a crash or a refusal came between."""
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        self._stored_at = max(self._stored_at, manifest.stored_at)
        cursor = self._cursor(folder)
        if (manifest.segment, manifest.end) <= (cursor.segment, cursor.offset):
            remove_manifest(folder)
            return None
        return manifest

    def _prepare(self, folder: Path, found: Range) -> Manifest:
        # Each range has a stored_at of its own: "up to here" then means the same to every reader.
        self._stored_at = max(self._stored_at + 1, self._clock())
        return enrich_range(folder.name, found, self._stored_at, self._cursor(folder).received_at, self._countries.country_of)

    def _store(self, folder: Path, manifest: Manifest) -> DrainReport:
        stored: dict[str, int] = {}
        refused = 0
        for block in manifest.blocks:
            culprits = self._insert(block)
            for index, why in culprits:
                self._set_aside(folder, manifest, block, index, why)
            refused += len(culprits)
            stored[block.table] = stored.get(block.table, 0) + len(block.positions) - len(culprits)
        if refused:
            stored["bad_rows"] = stored.get("bad_rows", 0) + refused
            _log.warning("the events store refused %d rows of %s/%s; they are in bad_rows", refused, folder.name, manifest.segment)
        torn = self._acknowledge(folder, manifest)
        return DrainReport(manifest.records, stored, manifest.bad + refused, torn)

    def _insert(self, block: Block) -> list[tuple[int, str]]:
        """Insert a block; the rows that the store refuses, as ``(index, reason)``, are left out."""
        try:
            self._events.insert_json(block.table, block.lines, block.token)
        except Unavailable as error:
            if not blames_rows(error):
                raise
            return self._insert_halves(block, block.lines.splitlines(keepends=True), 0, len(block.positions), str(error))
        return []

    def _insert_halves(self, block: Block, lines: list[bytes], start: int, end: int, why: str) -> list[tuple[int, str]]:
        """Rows ``[start, end)`` were refused together: find the culprits, insert the others, under tokens of their own."""
        if end - start == 1:
            return [(start, why)]
        culprits = []
        middle = (start + end) // 2
        for first, last in ((start, middle), (middle, end)):
            try:
                self._events.insert_json(block.table, b"".join(lines[first:last]), f"{block.token}:{first}-{last}")
            except Unavailable as error:
                if not blames_rows(error):
                    raise
                culprits += self._insert_halves(block, lines, first, last, str(error))
        return culprits

    def _set_aside(self, folder: Path, manifest: Manifest, block: Block, index: int, why: str) -> None:
        """Keep a refused row's whole record in ``bad_rows``."""
        position = block.positions[index]
        _, _, record = next(read_records(folder / manifest.segment, position))
        # An order whose identity link was refused is stored all the same: conservation must not count it twice.
        reason = "link_refused" if block.table == "identity_links" else "refused"
        _, _, row = bad_row(
            folder.name, manifest.segment, position, record, Unusable(reason, why), manifest.received_at, manifest.stored_at
        )
        self._events.insert_json("bad_rows", _encoder.encode(row) + b"\n", f"{block.token}:refused:{index}")

    def _acknowledge(self, folder: Path, manifest: Manifest) -> int:
        """Move the cursor behind a stored range, durably. Returns how many torn tails it passed for good."""
        cursor = self._cursor(folder)
        earlier = [path for path in segments(folder) if path.name < manifest.segment]
        new = [path for path in earlier if path.name not in cursor.passed]
        fresh = Passed(self._clock(), cursor.received_at)
        cursor = msgspec.structs.replace(
            cursor,
            segment=manifest.segment,
            offset=manifest.end,
            stored_at=manifest.stored_at,
            received_at=manifest.received_at,
            passed={path.name: cursor.passed.get(path.name, fresh) for path in earlier},
        )
        write_cursor(folder, cursor)
        self._cursors[folder] = cursor
        remove_manifest(folder)
        return sum(torn_bytes(path) > 0 for path in new)

    def _delete_old(self, folder: Path) -> None:
        cursor = self._cursor(folder)
        due = {name: passed for name, passed in cursor.passed.items() if passed.passed_at + self._keep_ms <= self._clock()}
        if not due:
            return
        newest = max(passed.received_at for passed in due.values())
        cursor = msgspec.structs.replace(
            cursor,
            complete_from=max(cursor.complete_from, newest - newest % HOUR + HOUR),
            passed={name: passed for name, passed in cursor.passed.items() if name not in due},
        )
        write_cursor(folder, cursor)
        self._cursors[folder] = cursor
        for name in due:
            (folder / name).unlink(missing_ok=True)


def run_drain(drain: Drain, stop: threading.Event, every_ms: int = 200) -> None:
    """Drain until ``stop`` is set. Failures are logged when they begin and when they end, and retried ever more slowly,
    up to ``LONGEST_PAUSE_MS``; none escapes."""
    failures = 0
    while not stop.is_set():
        try:
            report = drain.step()
        except Exception as error:
            if failures == 0 or not isinstance(error, Unavailable):
                _log.warning("draining stopped, nothing is lost: %s", error, exc_info=not isinstance(error, Unavailable))
            failures += 1
            stop.wait(min(every_ms * 2 ** min(failures, 10), LONGEST_PAUSE_MS) / 1000)
            continue
        if failures:
            _log.warning("draining goes on after %d failed attempts", failures)
        failures = 0
        if report.bad:
            _log.warning("%d records could not be used; they are in bad_rows", report.bad)
        if not (report.records and report.pending_bytes):
            stop.wait(every_ms / 1000)
    drain.close()


def blames_rows(error: Unavailable) -> bool:
    """True where the store answered, and said that the rows are at fault; a retry would get the same answer."""
    return getattr(error.__cause__, "code", None) in REFUSALS


# --- what to read ----------------------------------------------------------------------------------------------------


def next_range(folder: Path, cursor: Cursor, limit: int) -> Range | None:
    """The next whole records behind the cursor; None where there are none yet.

    An incomplete last line of the newest segment may still be completed. Of an older one it never will be: its tracker
    died, or was refused by the disk, while writing it, before anyone was answered; so it is passed over as torn.
    """
    for path in _ahead(folder, cursor):
        start = cursor.offset if path.name == cursor.segment else 0
        if path.stat().st_size <= start:
            continue
        found = read_records(path, start)
        records: list[tuple[int, int, bytes | Damage]] = []
        while len(records) < limit and (not records or records[-1][1] - start < RANGE_BYTES):
            some = list(islice(found, min(1000, limit - len(records))))
            if not some:
                break
            records += some
        if records:
            return Range(path.name, start, records[-1][1], records)
    return None


def pending_bytes(folder: Path, cursor: Cursor) -> int:
    """What is behind the cursor and will be stored: everything but the torn tails of finished segments."""
    pending = 0
    for path in _ahead(folder, cursor):
        left = path.stat().st_size - (cursor.offset if path.name == cursor.segment else 0)
        if left > 0:
            pending += left - (torn_bytes(path) if is_finished(path) else 0)
    return pending


def begun_at(segment: str) -> Instant:
    """When a segment was begun: its name counts from the microseconds of that moment."""
    at = int(segment.removesuffix(".log")) // 1000
    return at if at < END_OF_TIME else 0


def torn_bytes(path: Path) -> int:
    """The length of the incomplete last line."""
    with path.open("rb") as file:
        size = left = file.seek(0, os.SEEK_END)
        while left > 0:
            start = max(0, left - 65_536)
            file.seek(start)
            newline = file.read(left - start).rfind(b"\n")
            if newline >= 0:
                return size - (start + newline + 1)
            left = start
    return size


def _ahead(folder: Path, cursor: Cursor) -> list[Path]:
    return [path for path in segments(folder) if path.name >= cursor.segment]


# --- what it becomes -------------------------------------------------------------------------------------------------


def enrich_range(spool_id: str, found: Range, stored_at: Instant, received_at: Instant, country_of: CountryOf) -> Manifest:
    """The blocks of a range: one per table and month, in loading order, with tokens that only this range can have.

    ``received_at`` is the highest of the folder so far; a record that does not say when it came is put there, or where its
    segment began.
    """
    received_at = received_at or begun_at(found.segment)
    groups: dict[tuple[str, int], tuple[list[Row], list[int]]] = {}
    bad = 0
    for position, _, payload in found.records:
        event = Unusable("damaged", "the checksum does not fit the line") if isinstance(payload, Damage) else read_event(payload)
        if not isinstance(event, Unusable):
            received_at = max(received_at, event.received_at)
            placed = rows(event, stored_at, country_of)
        else:
            bad += 1
            placed = (bad_row(spool_id, found.segment, position, payload, event, received_at, stored_at),)
        for table, at, row in placed:
            group = groups.get((table, month := _month(at // DAY)))
            if group is None:
                group = groups[table, month] = ([], [])
            group[0].append(row)
            group[1].append(position)
    token = f"{spool_id}:{found.segment.removesuffix('.log')}:{found.start}-{found.end}"
    blocks = [
        Block(table, month, f"{token}:{table}:{month}", positions, _encoder.encode_lines(group))
        for table in TABLES
        for (_, month), (group, positions) in sorted(item for item in groups.items() if item[0][0] == table)
    ]
    return Manifest(spool_id, found.segment, found.start, found.end, stored_at, received_at, len(found.records), bad, blocks)


def bad_row(
    spool_id: str, segment: str, position: int, record: bytes | Damage, why: Unusable, received_at: Instant, stored_at: Instant
) -> Placed:
    """A record that cannot be used, whole, with what can still be told of its tenant and time.

    Bytes that are no UTF-8 are written ``\\xff``. ``received_at`` stands in where the record does not say its own.
    """
    raw = record.raw if isinstance(record, Damage) else record
    glimpse = Glimpse() if isinstance(record, Damage) else glimpse_of(raw)  # a damaged tenant id could be anybody's
    at = glimpse.received_at or received_at
    row = BadRow(
        glimpse.tenant_id,
        spool_id,
        segment,
        position,
        why.reason,
        why.detail,
        raw.decode("utf-8", "backslashreplace"),
        at / 1000,
        stored_at / 1000,
    )
    return Placed("bad_rows", at, row)


class Glimpse(msgspec.Struct, frozen=True):
    """What can be told of a record without trusting the rest of it. ``received_at`` 0: it does not say."""

    event: str = ""
    event_id: str = ""
    tenant_id: str = ""
    received_at: Instant = 0


_decode_glimpse = msgspec.json.Decoder(Glimpse).decode


def glimpse_of(payload: bytes) -> Glimpse:
    """Whose record this is, and when it came; empty where even that cannot be read."""
    try:
        glimpse = _decode_glimpse(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Glimpse()
    return glimpse if 0 <= glimpse.received_at < END_OF_TIME else msgspec.structs.replace(glimpse, received_at=0)


@lru_cache(4096)
def _month(day: int) -> int:
    """The month of a day since 1970, as 202611."""
    moment = as_datetime(day * DAY)
    return moment.year * 100 + moment.month
