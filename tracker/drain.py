"""Moves records from the spool into the events store: every one once, whatever dies in between. Plainly I/O.

One range at a time: read whole records behind the cursor, enrich, write the blocks down (:mod:`tracker.manifest`), insert
them (:mod:`tracker.loading`), move the cursor, remove the manifest. A crash between any two of these steps repeats an insert
at most, and the store drops the repetition by its token. Segments are deleted only long after a durable cursor passed them.

While the store inserts one range, a second thread reads and enriches the one that comes next. It stays in memory: it is
written down only when its turn has come, and dropped where anything went wrong before.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from core.clock import DAY, HOUR, Clock
from core.errors import InUse, Unavailable
from core.settings import Settings
from store.events import EventsStore
from tracker.country import open_countries
from tracker.files import SYSTEM, FileSystem, keep_safe
from tracker.loading import Loader, Range, Record
from tracker.manifest import (
    Cursor,
    Manifest,
    Passed,
    read_cursor,
    read_manifest,
    remove_manifest,
    write_cursor,
    write_manifest,
)
from tracker.spool import Damage, is_finished, is_owned, lock_spool, newest_segment, own_folder, read_records, segments, spool_folders

RANGE_RECORDS = 20_000
RANGE_BYTES = 16 * 1024 * 1024
"""A range ends at the first of the two: its blocks stay well below what one insert may hold."""

BACKLOG_BYTES = 4 * 1024 * 1024
"""With more than this behind the cursors there is no pause, and the next range is prepared while one is inserted."""

PAUSE_MS, GATHER_MS = 200, 600
"""From step to step: on a quiet day, and where records are gathered into parts worth having."""

BUSY_ROWS_PER_S = 500
PART_ROWS = 4_000
PARTS_PER_S = 20
"""Every block becomes a part, which the store must write, sync and merge: 4,000 rows cost little more than 100."""

LONGEST_PAUSE_MS = 5_000
"""Between attempts while the store or the disk refuses."""

_log = logging.getLogger("fairshare.drain")


class DrainReport(msgspec.Struct, frozen=True):
    """What one step did. ``stored`` counts rows by table; ``torn`` counts cut-off last lines, which nobody was promised;
    ``pending_bytes`` is what the spool still holds for the next step; ``blocks`` were inserted, each at least one part."""

    records: int = 0
    stored: dict[str, int] = {}
    bad: int = 0
    torn: int = 0
    pending_bytes: int = 0
    blocks: int = 0

    def __add__(self, other: "DrainReport") -> "DrainReport":
        stored = {table: self.stored.get(table, 0) + other.stored.get(table, 0) for table in {**self.stored, **other.stored}}
        return DrainReport(
            self.records + other.records,
            stored,
            self.bad + other.bad,
            self.torn + other.torn,
            self.pending_bytes + other.pending_bytes,
            self.blocks + other.blocks,
        )


class _Ahead(msgspec.Struct, frozen=True):
    """What is being prepared before its turn: at most ``limit`` records of a folder, from where its cursor will then be."""

    folder: Path
    segment: str
    offset: int
    limit: int
    manifest: Future[Manifest | None]


class Drain:
    """The one drain of an installation's spool; a lock file in it keeps a second one out until :meth:`close`."""

    def __init__(
        self, settings: Settings, events: EventsStore, clock: Clock, files: FileSystem = SYSTEM, backlog_bytes: int = BACKLOG_BYTES
    ) -> None:
        self._files = files
        self._backlog_bytes = backlog_bytes
        self._spool = settings.spool
        self._keep_ms = settings.spool_keep_days * DAY
        self._clock = clock
        self._countries = open_countries(settings)
        self._loader = Loader(events, self._countries.country_of, clock)
        self._lock = -1
        self._cursors: dict[Path, Cursor] = {}
        self._helper = ThreadPoolExecutor(1, "drain-ahead")
        self._ahead: _Ahead | None = None

    def __enter__(self) -> "Drain":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let another drain have the spool."""
        self._forget_ahead()
        self._helper.shutdown()
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
        folders = spool_folders(self._spool)
        if self._ahead and (self._ahead.folder not in folders or self._ahead.limit != limit):
            self._forget_ahead()
        try:
            return self._step(folders, limit)
        except BaseException:
            self._forget_ahead()
            # On a full disk only this makes room again, where it is full of what is stored already.
            for folder in folders:
                with suppress(Unavailable, OSError):
                    self._delete_old(folder)
            raise

    def _step(self, folders: list[Path], limit: int) -> DrainReport:
        report = self._finish_undone(folders)
        for index, folder in enumerate(folders):
            if manifest := self._next(folder, limit):
                # First the records themselves: what the store holds, the spool holds, though their tracker still syncs.
                keep_safe(folder / manifest.segment, manifest.end, self._files)
                write_manifest(folder, manifest, self._files)
                self._look_ahead(manifest, folders[index:] + folders[:index], limit)
                report += self._store(folder, manifest)
        for folder in folders:
            report += DrainReport(torn=self._note_finished(folder))
            self._delete_old(folder)
        return report + DrainReport(pending_bytes=sum(pending_bytes(folder, self._cursor(folder)) for folder in folders))

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        self._lock = lock_spool(self._spool, "another drain")
        self._cursors.clear()

    def _cursor(self, folder: Path) -> Cursor:
        if folder not in self._cursors:
            self._cursors[folder] = read_cursor(folder)
        return self._cursors[folder]

    def _finish_undone(self, folders: list[Path]) -> DrainReport:
        """Before anything new: rows become visible in the order of their ``stored_at``, which pollers rely on."""
        if self._ahead:
            wait((self._ahead.manifest,))
        for folder in folders:
            self._loader.resume_after(self._cursor(folder).stored_at)
        undone = [(folder, left) for folder in folders if (left := self._left_undone(folder))]
        report = DrainReport()
        for folder, manifest in sorted(undone, key=lambda one: one[1].stored_at):
            report += self._store(folder, manifest)
        return report

    def _left_undone(self, folder: Path) -> Manifest | None:
        """A manifest whose range is not behind the cursor yet: a crash or a refusal came between."""
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        self._loader.resume_after(manifest.stored_at)
        cursor = self._cursor(folder)
        if (manifest.segment, manifest.end) <= (cursor.segment, cursor.offset):
            remove_manifest(folder, self._files)
            return None
        return manifest

    # --- one range ahead ---------------------------------------------------------------------------------------------

    def _next(self, folder: Path, limit: int) -> Manifest | None:
        """What the folder's next range becomes: prepared ahead, or now. None while another folder has its turn."""
        cursor, ahead = self._cursor(folder), self._ahead
        if ahead and ahead.folder != folder:
            return None
        self._ahead = None
        if ahead and (manifest := ahead.manifest.result()):
            assert (ahead.segment, ahead.offset) == (cursor.segment, cursor.offset), "a range is stored behind the one before it"
            # With a stored_at given out since, a later one would be visible first.
            if manifest.stored_at == self._loader.stored_at:
                return manifest
        return self._prepare(folder, cursor, limit)

    def _look_ahead(self, manifest: Manifest, folders: list[Path], limit: int) -> None:
        """While the first folder's ``manifest`` is stored, let the helper prepare what comes next, where enough lies ready."""
        cursors = {folder: self._cursor(folder) for folder in folders} | {folders[0]: self._moved(folders[0], manifest)}
        pending = {folder: pending_bytes(folder, cursor) for folder, cursor in cursors.items()}
        if sum(pending.values()) < max(self._backlog_bytes, 1):
            return
        folder = next(folder for folder in (*folders[1:], folders[0]) if pending[folder])
        prepared = self._helper.submit(self._prepare, folder, cursors[folder], limit)
        self._ahead = _Ahead(folder, cursors[folder].segment, cursors[folder].offset, limit, prepared)

    def _prepare(self, folder: Path, cursor: Cursor, limit: int) -> Manifest | None:
        found = next_range(folder, cursor, limit)
        return self._loader.prepare(found, cursor.received_at) if found else None

    def _forget_ahead(self) -> None:
        if self._ahead:
            wait((self._ahead.manifest,))
            self._ahead = None

    # --- one range stored --------------------------------------------------------------------------------------------

    def _store(self, folder: Path, manifest: Manifest) -> DrainReport:
        segment = folder / manifest.segment
        stored = self._loader.store(manifest, lambda position: record_at(segment, position))
        torn = self._acknowledge(folder, manifest)
        return DrainReport(manifest.records, stored.rows, manifest.bad + stored.refused, torn, blocks=len(manifest.blocks))

    def _acknowledge(self, folder: Path, manifest: Manifest) -> int:
        """Move the cursor behind a stored range, durably. Returns how many torn tails it passed for good."""
        before = self._cursor(folder)
        cursor = self._moved(folder, manifest)
        self._write_cursor(folder, cursor)
        remove_manifest(folder, self._files)
        return sum(torn_bytes(folder / name) > 0 for name in cursor.passed.keys() - before.passed.keys())

    def _moved(self, folder: Path, manifest: Manifest) -> Cursor:
        """The folder's cursor behind a range."""
        cursor = self._cursor(folder)
        fresh = Passed(self._clock(), cursor.received_at)
        return msgspec.structs.replace(
            cursor,
            segment=manifest.segment,
            offset=manifest.end,
            stored_at=manifest.stored_at,
            received_at=manifest.received_at,
            passed={path.name: cursor.passed.get(path.name, fresh) for path in segments(folder) if path.name < manifest.segment},
        )

    def _write_cursor(self, folder: Path, cursor: Cursor) -> None:
        write_cursor(folder, cursor, self._files)
        self._cursors[folder] = cursor

    # --- segments that are no longer needed --------------------------------------------------------------------------

    def _note_finished(self, folder: Path) -> int:
        """The newest segment, too, is passed once it is stored to its end and its tracker gone, which may never come back.

        Returns how many torn tails were passed by that."""
        cursor = self._cursor(folder)
        path = folder / cursor.segment
        if cursor.segment in ("", *cursor.passed) or newest_segment(folder) != path or is_owned(folder):
            return 0
        torn = torn_bytes(path)
        if cursor.offset < path.stat().st_size - torn:
            return 0
        passed = cursor.passed | {cursor.segment: Passed(self._clock(), cursor.received_at)}
        self._write_cursor(folder, msgspec.structs.replace(cursor, passed=passed))
        return 1 if torn else 0

    def _delete_old(self, folder: Path) -> None:
        cursor = self._cursor(folder)
        due = {name: passed for name, passed in cursor.passed.items() if passed.passed_at + self._keep_ms <= self._clock()}
        if cursor.segment not in due:
            self._delete(folder, due)
            return
        with kept_from_trackers(folder, self._files) as is_kept:
            # A tracker that came back begins behind the newest segment, and looks at it while it starts.
            self._delete(folder, due if is_kept else {name: due[name] for name in due.keys() - {cursor.segment}})

    def _delete(self, folder: Path, due: dict[str, Passed]) -> None:
        """Delete passed segments: what remains is said durably before, that they are gone only after."""
        if not due:
            return
        cursor = self._cursor(folder)
        latest = max(passed.received_at for passed in due.values())
        cursor = msgspec.structs.replace(cursor, complete_from=max(cursor.complete_from, latest - latest % HOUR + HOUR))
        self._write_cursor(folder, cursor)
        try:
            for name in due:
                self._files.remove(folder / name)
            self._files.sync_path(folder)
        except OSError as error:
            raise Unavailable(f"old segments of {folder} cannot be deleted: {error.strerror}; nothing else is held up") from error
        cursor = msgspec.structs.replace(cursor, passed={name: cursor.passed[name] for name in cursor.passed.keys() - due.keys()})
        if not segments(folder):
            # Whatever comes next is new, even where the clock was set back and its name is lower.
            cursor = msgspec.structs.replace(cursor, segment="", offset=0)
        self._write_cursor(folder, cursor)


class Stepping(Protocol):
    """What :func:`run_drain` needs of a drain, of files or of streams (:mod:`tracker.intake`)."""

    def step(self) -> DrainReport: ...
    def close(self) -> None: ...


def run_drain(drain: Stepping, stop: threading.Event, every_ms: int = PAUSE_MS) -> None:
    """Drain until ``stop`` is set. Failures are logged when they begin and when they end, and retried ever more slowly,
    up to ``LONGEST_PAUSE_MS``; none escapes."""
    failures = 0
    done = time.monotonic()
    while not stop.is_set():
        begun, before = time.monotonic(), done
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
        done = time.monotonic()
        stop.wait(pause_ms(report, (done - before) * 1000, (done - begun) * 1000, every_ms) / 1000)
    drain.close()


def pause_ms(report: DrainReport, cycle_ms: float, worked_ms: float, every_ms: int = PAUSE_MS) -> float:
    """How long to let records gather after a step that took ``worked_ms`` and stored what came within ``cycle_ms``.

    None with a backlog. Otherwise steps begin ``every_ms`` apart; under load as far apart as parts of ``PART_ROWS`` rows
    need, and with many trackers so far that no more than ``PARTS_PER_S`` come of it: up to ``GATHER_MS``, which bounds
    freshness.
    """
    if report.records and report.pending_bytes >= BACKLOG_BYTES:
        return 0
    rows_per_ms = report.records / max(cycle_ms, 1)
    apart_ms = report.blocks * 1000 / PARTS_PER_S
    if rows_per_ms * 1000 >= BUSY_ROWS_PER_S:
        apart_ms = max(apart_ms, report.blocks * PART_ROWS / rows_per_ms)
    return max(max(every_ms, min(apart_ms, GATHER_MS)) - worked_ms, 0)


@contextmanager
def kept_from_trackers(folder: Path, files: FileSystem) -> Iterator[bool]:
    """True, and no tracker can start in the folder meanwhile; False where one lives there."""
    try:
        lock = own_folder(folder, 0, files)
    except InUse:
        yield False
        return
    try:
        yield True
    finally:
        os.close(lock)


# --- what to read ----------------------------------------------------------------------------------------------------


def next_range(folder: Path, cursor: Cursor, limit: int) -> Range | None:
    """The next whole records behind the cursor; None where there are none yet.

    An incomplete last line of the newest segment may still be completed. Of an older one it never will be: its tracker
    died, or was refused by the disk, while writing it, before anyone was answered; so it is passed over as torn.
    """
    for path, _ in _unread(folder, cursor):
        start = cursor.offset if path.name == cursor.segment else 0
        found = read_records(path, start)
        records: list[Record] = []
        while len(records) < limit and (not records or records[-1][1] - start < RANGE_BYTES):
            some = list(islice(found, min(1000, limit - len(records))))
            if not some:
                break
            records += some
        if records:
            return Range(folder.name, path.name, start, records[-1][1], records)
    return None


def pending_bytes(folder: Path, cursor: Cursor) -> int:
    """What is behind the cursor and will be stored: everything but the torn tails of finished segments."""
    return sum(left - (torn_bytes(path) if is_finished(path) else 0) for path, left in _unread(folder, cursor))


def record_at(segment: Path, position: int) -> bytes | Damage:
    """The record at an offset of a segment."""
    _, _, record = next(read_records(segment, position))
    return record


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


def _unread(folder: Path, cursor: Cursor) -> Iterator[tuple[Path, int]]:
    """The segments that hold something behind the cursor, oldest first, and how many bytes."""
    for path in segments(folder, since=cursor.segment):
        try:
            left = path.stat().st_size - (cursor.offset if path.name == cursor.segment else 0)
        except FileNotFoundError:  # its tracker took it back, on a failing disk: nothing in it was promised
            continue
        if left > 0:
            yield path, left
