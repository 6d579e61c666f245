"""Passes a tracker machine's spool on to Redis, and learns from the books what is stored. Plainly I/O.

It remembers nothing that it could not read again: a stream's newest id says how far it was sent, the books say how far it is
stored, and the spool, which is the truth, still holds everything between. So a Redis that lost some of it, or all, is simply
behind; what is missing is sent again. No spool has more than ``queue_mb`` on its way.

In each spool folder, ``relay.json`` holds the folder's identity and what the relay last knew; ``cursor.json`` follows the
books, in the drain's own format, so that conservation and the drain itself go on from there.
"""

import logging
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import msgspec

from core.clock import DAY, HOUR, SECOND, Clock, Instant
from core.errors import InUse, Unavailable
from core.settings import Settings
from store.books import Books
from store.spools import BEGINNING, Place, Progress, SpoolTaken, read_spools, register_spool
from tracker.files import SYSTEM, FileSystem, keep_safe
from tracker.lag import Lag, read_lag, write_lag
from tracker.manifest import Cursor, Passed, read_cursor, read_manifest, write_cursor
from tracker.spool import Damage, lock_spool, read_records, segments, spool_folders
from tracker.stream import ENTRY_BYTES, Entry, State, Streams, key_of, place_of, stream_id

"""The drain's own: a folder is read by one of the two."""

ENTRIES_A_STEP = 64
SAVE_EVERY_MS = 1 * SECOND
OPEN_EVERY_MS = 1 * SECOND
"""How often a folder is tried that the disk did not give."""

NOTE_EVERY_MS = 10 * SECOND
"""Of a spool in which nothing changes."""

LONGEST_PAUSE_MS = 2_000
"""Between attempts while Redis, the books or the disk refuse."""

_log = logging.getLogger("fairshare.relay")


class RelayReport(msgspec.Struct, frozen=True):
    """What one step did: ``entries`` sent, with ``sent_bytes`` of records; ``resets`` counts streams that had to begin anew.
    ``pending_bytes`` are in the spool and not stored yet, ``unsent_bytes`` of them not in Redis either."""

    entries: int = 0
    sent_bytes: int = 0
    resets: int = 0
    pending_bytes: int = 0
    unsent_bytes: int = 0

    def __add__(self, other: "RelayReport") -> "RelayReport":
        return RelayReport(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Lane(msgspec.Struct):
    """One spool folder on its way. ``sent`` is as far as its stream goes, which holds ``entries``; ``safe`` is as far as its
    disk has it; ``refused``: why nothing of it can be sent, and when to try again (0: never, it is another's)."""

    folder: Path
    lag: Lag
    cursor: Cursor
    progress: Progress | None = None
    sent: Place = BEGINNING
    entries: int = 0
    safe: Place = BEGINNING
    refused: str = ""
    retry_at: Instant = 0

    @property
    def key(self) -> str:
        return key_of(self.folder.name, self.lag.identity)

    @property
    def stored(self) -> Place:
        return self.progress.place if self.progress else BEGINNING


class Relay:
    """The one relay of a machine's spool; it holds the same lock as a drain of the same folders would."""

    def __init__(self, settings: Settings, books: Books, clock: Clock, files: FileSystem = SYSTEM) -> None:
        """
        Raises:
            SettingsError: the queue's URL cannot be used.
        """
        self._files = files
        self._spool = settings.spool
        self._keep_ms = settings.spool_keep_days * DAY
        self._most_bytes = settings.queue_mb * 1_000_000
        self._books = books
        self._clock = clock
        self._streams = Streams(settings.queue)
        self._lanes: dict[Path, Lane] = {}
        self._lock = -1
        self._saved_at: Instant = 0
        self._error = ""

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Note once more what is stored, and let another have the spool."""
        self._streams.close()
        if self._lock < 0:
            return
        with suppress(Unavailable):
            self._learn([lane for lane in self._lanes.values() if not lane.refused])
            self.save(self._error)
        os.close(self._lock)
        self._lock = -1

    def step(self) -> RelayReport:
        """Send what is new, of each spool folder about ``ENTRIES_A_STEP`` entries, and note what the books say is stored.

        Raises:
            Unavailable: Redis, the books or the disk cannot take it now. Nothing is lost; the next step tries again.
        """
        self._take_lock()
        self._lanes = {folder: self._lane_of(folder) for folder in spool_folders(self._spool)}
        report = RelayReport()
        # States first: what then is gone from a stream, and is not stored in the books read later, is lost.
        lanes = [lane for lane in self._lanes.values() if not lane.refused]
        states = self._streams.states([lane.key for lane in lanes])
        self._learn(lanes)
        for lane, state in zip(lanes, states, strict=True):
            report += self._send(lane, state)
        if self._clock() - self._saved_at >= SAVE_EVERY_MS:
            self.save()
        self._error = ""
        return report

    def save(self, error: str = "") -> None:
        """Write down how far everything is; ``error``: why it does not move.

        Raises:
            Unavailable: the disk does not take it.
        """
        self._saved_at, self._error = self._clock(), error
        for lane in self._lanes.values():
            self._follow(lane, self._saved_at)
            self._note(lane, error or lane.refused, self._saved_at)

    # --- folders

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        self._lock = lock_spool(self._spool, "another relay, or a drain,")

    def _lane_of(self, folder: Path) -> Lane:
        known = self._lanes.get(folder)
        if known and not (known.retry_at and self._clock() >= known.retry_at):
            return known
        lane, before = self._open(folder), known.refused if known else ""
        if lane.refused and lane.refused != before:
            _log.error("%s is not sent: %s", folder, lane.refused)
        elif before and not lane.refused:
            _log.warning("%s is sent again", folder)
        return lane

    def _open(self, folder: Path) -> Lane:
        """A folder that was not seen before: give it its identity, and make it known in the books."""
        lane, now = Lane(folder, Lag(""), Cursor()), self._clock()
        try:
            lane.lag = read_lag(folder) or _new_lag(folder)
            lane.cursor = read_cursor(folder)
            start = _start_of(lane, now)
        except (Unavailable, OSError) as error:
            lane.refused, lane.retry_at = str(error), now + OPEN_EVERY_MS
            return lane
        try:
            with self._books.writing() as connection:
                lane.progress = register_spool(connection, start)
        except SpoolTaken as error:
            lane.refused = str(error)
        return lane

    def _learn(self, lanes: Sequence[Lane]) -> None:
        with self._books.reading() as connection:
            found = {progress.spool_id: progress for progress in read_spools(connection, [lane.folder.name for lane in lanes])}
        for lane in lanes:
            progress = found.get(lane.folder.name)
            if progress is None or progress.identity != lane.lag.identity:
                del self._lanes[lane.folder]  # the books are others than before: register anew
                raise Unavailable(f"the books do not know the spool {lane.folder.name} any more; it is being registered again")
            lane.progress = progress

    # --- sending

    def _send(self, lane: Lane, state: State) -> RelayReport:
        place, top = resume(state, lane.stored, partial(is_record_end, lane.folder)), state.top
        is_anew = place is None or (top == "" and lane.sent != BEGINNING)
        if place is None:
            self._streams.drop(lane.key)
            place, top = lane.stored, ""
        before = place
        entries, room = 0, self._most_bytes - bytes_between(lane.folder, lane.stored, place)
        while (entry := next_entry(lane.folder, place)) and room > 0 and entries < ENTRIES_A_STEP:
            self._keep_safe(lane, entry)
            if not self._streams.append(lane.key, top, entry):
                break  # something happened to the stream just now: the next step looks again
            place, top = entry.end, stream_id(entry.end)
            entries, room = entries + 1, room - len(entry.lines)
        if is_anew:
            _log.info("the stream of %s begins anew, behind %s", lane.folder.name, stream_id(lane.stored))
        lane.sent, lane.entries = place if top else BEGINNING, state.length + entries if top else 0
        unsent = bytes_between(lane.folder, place, None) if entry else 0
        waiting = bytes_between(lane.folder, lane.stored, place)
        return RelayReport(entries, bytes_between(lane.folder, before, place), int(is_anew), waiting + unsent, unsent)

    def _keep_safe(self, lane: Lane, entry: Entry) -> None:
        """First the records themselves: what the store holds, the spool holds, though their tracker still syncs."""
        if entry.end > lane.safe:
            segment = lane.folder / entry.end[0]
            size = segment.stat().st_size
            keep_safe(segment, max(size, entry.end[1]), self._files)
            lane.safe = (segment.name, size)

    # --- what is stored

    def _follow(self, lane: Lane, now: Instant) -> None:
        """Bring the cursor to where the books are, and delete segments that were stored long enough ago."""
        if lane.progress and not lane.refused and lane.progress.place != (lane.cursor.segment, lane.cursor.offset):
            earlier = [path.name for path in segments(lane.folder) if path.name < lane.progress.place[0]]
            lane.cursor = follow(lane.cursor, lane.progress, earlier, now)
            write_cursor(lane.folder, lane.cursor, self._files)
        kept, due = forget(lane.cursor, now - self._keep_ms)
        if due:
            lane.cursor = kept
            write_cursor(lane.folder, kept, self._files)
            for name in due:
                self._files.remove(lane.folder / name)

    def _note(self, lane: Lane, error: str, now: Instant) -> None:
        if not lane.lag.identity:
            return  # what cannot be read is not overwritten
        is_behind = next_entry(lane.folder, lane.stored) is not None
        lag = Lag(
            lane.lag.identity,
            lane.lag.place if lane.refused else (lane.cursor.segment, lane.cursor.offset),
            pending_bytes=bytes_between(lane.folder, lane.stored, None) if is_behind else 0,
            queued_bytes=bytes_between(lane.folder, lane.stored, lane.sent),
            entries=lane.entries,
            oldest_at=received_at(lane.folder, lane.stored) if is_behind else 0,
            stored_at=lane.progress.stored_at if lane.progress else 0,
            error=error,
            written_at=lane.lag.written_at,
        )
        if lag != lane.lag or now - lag.written_at >= NOTE_EVERY_MS:
            lane.lag = msgspec.structs.replace(lag, written_at=now)
            write_lag(lane.folder, lane.lag)


def run_relay(relay: Relay, stop: threading.Event, every_ms: int = 100, stands_by: bool = False) -> None:
    """Relay until ``stop`` is set. Failures are logged when they begin and when they end, and retried ever more slowly, up to
    ``LONGEST_PAUSE_MS``; none escapes but InUse, unless it ``stands_by`` while another is at work on the spool."""
    failures = 0
    while not stop.is_set():
        try:
            report = relay.step()
        except Exception as error:
            if isinstance(error, InUse) and not stands_by:
                raise
            if failures == 0 or not isinstance(error, Unavailable):
                _log.warning("relaying stopped, nothing is lost: %s", error, exc_info=not isinstance(error, Unavailable))
            failures += 1
            _note_failure(relay, error)
            stop.wait(min(every_ms * 2 ** min(failures, 10), LONGEST_PAUSE_MS) / 1000)
            continue
        if failures:
            _log.warning("relaying goes on after %d failed attempts", failures)
        failures = 0
        if not report.entries or not report.unsent_bytes:
            stop.wait(every_ms / 1000)
    relay.close()


def _note_failure(relay: Relay, error: Exception) -> None:
    try:
        relay.save(str(error))
    except (Unavailable, OSError) as disk:
        _log.debug("the failure cannot be noted either: %s", disk)


# --- what to send ----------------------------------------------------------------------------------------------------


def resume(state: State, stored: Place, is_record_end: Callable[[Place], bool]) -> Place | None:
    """Behind what a stream goes on; None where it must be dropped, and begun anew behind what is stored.

    A stream holds, without a gap, what lies between what is stored and its newest id: entries are only ever added behind
    the newest, and a Redis that loses some loses the newest. It is dropped where that cannot be so.
    """
    if state.top == "":
        return stored
    place = place_of(state.top)
    if place is None or (place > stored and (state.length == 0 or not is_record_end(place))):
        return None
    return max(place, stored)


def next_entry(folder: Path, place: Place) -> Entry | None:
    """The next whole records behind a place, about ``ENTRY_BYTES`` of one segment; None where there are none yet.

    An incomplete last line of the newest segment may still be completed. Of an older one it never will be: so it is passed
    over, as the drain does. The folder is listed first: what is not the newest in that list has reached its end.
    """
    for path in segments(folder):
        if path.name < place[0]:
            continue
        start = place[1] if path.name == place[0] else 0
        if lines := whole_lines(path, start):
            return Entry(place, (path.name, start + len(lines)), lines)
    return None


def whole_lines(path: Path, start: int) -> bytes:
    """Whole lines of a segment from ``start``: about ``ENTRY_BYTES``, at least one; empty where none is complete yet."""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(ENTRY_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        if whole or len(data) < ENTRY_BYTES:
            return whole
        line = data + file.readline()  # one record that is longer than an entry usually is
        return line if line.endswith(b"\n") else b""


def is_record_end(folder: Path, place: Place) -> bool:
    """True where a record of the folder ends exactly there."""
    try:
        with (folder / place[0]).open("rb") as file:
            file.seek(place[1] - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def bytes_between(folder: Path, start: Place, end: Place | None) -> int:
    """How many bytes lie between two places, torn tails among them; None is the present end."""
    total = 0
    for path in segments(folder):
        if path.name < start[0] or (end is not None and path.name > end[0]):
            continue
        first = start[1] if path.name == start[0] else 0
        last = end[1] if end is not None and path.name == end[0] else path.stat().st_size
        total += max(0, last - first)
    return total


def received_at(folder: Path, place: Place) -> Instant:
    """When the first record behind a place was received; 0 where it does not say."""
    for path in segments(folder):
        if path.name >= place[0]:
            for _, _, payload in read_records(path, place[1] if path.name == place[0] else 0):
                return _received_at(payload)
    return 0


class _Received(msgspec.Struct):
    received_at: Instant = 0


def _received_at(payload: bytes | Damage) -> Instant:
    try:
        return 0 if isinstance(payload, Damage) else msgspec.json.decode(payload, type=_Received).received_at
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0


# --- what is noted ---------------------------------------------------------------------------------------------------


def follow(cursor: Cursor, progress: Progress, earlier: Sequence[str], now: Instant) -> Cursor:
    """The cursor where the books are. ``earlier`` are the segments before that place that are still on disk."""
    fresh = Passed(now, progress.received_at)
    return msgspec.structs.replace(
        cursor,
        segment=progress.place[0],
        offset=progress.place[1],
        stored_at=progress.stored_at,
        received_at=progress.received_at,
        passed={name: cursor.passed.get(name, fresh) for name in earlier},
    )


def forget(cursor: Cursor, before: Instant) -> tuple[Cursor, list[str]]:
    """The cursor without the segments that were passed up to ``before``, and their names: delete them once it is durable."""
    due = {name: passed for name, passed in cursor.passed.items() if passed.passed_at <= before}
    newest = max((passed.received_at for passed in due.values()), default=0)
    kept = msgspec.structs.replace(
        cursor,
        complete_from=max(cursor.complete_from, newest - newest % HOUR + HOUR) if due else cursor.complete_from,
        passed={name: passed for name, passed in cursor.passed.items() if name not in due},
    )
    return kept, list(due)


def _new_lag(folder: Path) -> Lag:
    """The identity of a folder that no relay ever sent."""
    lag = Lag(secrets.token_hex(16))
    write_lag(folder, lag)
    return lag


def _start_of(lane: Lane, now: Instant) -> Progress:
    """Where a folder begins in the books: where a file drain left it, if one did since the relay last ran.

    A cursor that the relay itself wrote is no news to the books. If they now know less, they come from a backup, and so
    may the events store: better to store again what is stored than to leave out what is not. A first range that a file
    drain had begun has no cursor yet, only its manifest.
    """
    spool_id, identity, cursor = lane.folder.name, lane.lag.identity, lane.cursor
    place = (cursor.segment, cursor.offset)
    if place < lane.lag.place or place == lane.lag.place != BEGINNING:
        return Progress(spool_id, identity, BEGINNING, moved_at=now)
    manifest = read_manifest(lane.folder)
    plan = (manifest.segment, manifest.end) if manifest else BEGINNING
    given = max(cursor.stored_at, manifest.stored_at if manifest else 0)
    return Progress(spool_id, identity, place, cursor.stored_at, cursor.received_at, plan, given, now)
