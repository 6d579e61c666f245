"""Segments on disk: what a spool folder holds, how it is written and how it is read. Plainly I/O.

``DIR/spool/<tracker-id>/`` belongs to one tracker process at a time (``lock``) and holds ``<first sequence>.log`` files,
twenty digits each. A segment is append-only, one record a line: CRC-32 of the JSON in eight hex digits, a space, the JSON,
a newline, so that ``cut -c10- FILE | jq`` reads it. Every start begins a new segment; a failed write or sync ends one for
good. A segment is finished, and will never grow again, when a newer one exists or no process holds the lock.

Beside them lies ``counters.json`` (:mod:`tracker.counters`): what the tracker received, recorded and could not record.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from core.clock import Instant
from core.errors import InUse, Unavailable
from core.ids import is_slug
from tracker.files import SYSTEM, FileSystem, create_durably, make_folder_durably
from tracker.manifest import last_segment

LOCK = "lock"
DRAIN_LOCK = "drain.lock"
PLACES = 3
"""How many files a batch is written to, where somebody keeps deleting them, before it is refused."""

TORN_KEPT = 16
_SEGMENT = re.compile(r"\d{20}\.log", re.ASCII)


class Damage(msgspec.Struct, frozen=True):
    """A complete line whose checksum does not fit: its ``raw`` bytes, without the newline."""

    raw: bytes


# --- reading ---------------------------------------------------------------------------------------------------------


def spool_folders(spool: Path) -> list[Path]:
    """The trackers' folders under ``DIR/spool``, sorted; none where the folder does not exist yet.

    Only those that a tracker may be called by: a disk of its own has a ``lost+found``, which nobody may read.
    """
    return sorted(path for path in spool.iterdir() if is_slug(path.name) and path.is_dir()) if spool.is_dir() else []


def segments(folder: Path, since: str = "") -> list[Path]:
    """A folder's segments, oldest first, from the one named ``since``. Their names sort as their records were written."""
    return [folder / name for name in _segment_names(folder) if name >= since]


def newest_segment(folder: Path) -> Path | None:
    """The one that may grow; None where there is none."""
    names = _segment_names(folder)
    return folder / names[-1] if names else None


def _segment_names(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(filter(_SEGMENT.fullmatch, names))


def is_finished(segment: Path) -> bool:
    """True where a segment can never grow again: ask BEFORE reading to its end, then an incomplete last line is a torn tail."""
    return newest_segment(segment.parent) != segment or not is_owned(segment.parent)


def is_owned(folder: Path) -> bool:
    """True while a living tracker process holds the folder."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def read_records(path: Path, offset: int = 0) -> Iterator[tuple[int, int, bytes | Damage]]:
    """The records of a segment from ``offset`` (0, or a ``next_offset`` of before) to its present end.

    Yields:
        ``(offset, next_offset, payload)``: payload is the JSON, or :class:`Damage` where a whole line fails its checksum.
        An incomplete last line is not yielded: it is being written, or the torn tail of a finished segment.

    Raises:
        FileNotFoundError: the segment was deleted; normal for one at or below the drain's cursor.
    """
    with path.open("rb", buffering=1 << 20) as file:
        file.seek(offset)
        for line in file:
            if line[-1] != 10:
                return
            end = offset + len(line)
            yield offset, end, unframe(line)
            offset = end


def unframe(line: bytes) -> bytes | Damage:
    """The payload of one line (newline included), or its damage. The inverse of :func:`frame`."""
    payload = line[9:-1]
    return payload if line[:9] == b"%08x " % crc32(payload) else Damage(line[:-1])


def frame(payload: bytes) -> bytes:
    """One record as it stands on disk. ``payload`` holds no newline, as JSON written in one line never does."""
    assert b"\n" not in payload, "a spool record is one line"
    return b"%08x %b\n" % (crc32(payload), payload)


# --- writing ---------------------------------------------------------------------------------------------------------


def lock_spool(spool: Path, other: str) -> int:
    """Lock the spool for the one process that moves its records on; the lock ends with :func:`os.close` or the process.

    Args:
        other: who else may have it, for the message.

    Raises:
        InUse: another process has it.
    """
    spool.mkdir(parents=True, exist_ok=True)
    lock = os.open(spool / DRAIN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InUse(f"{other} is at work on {spool}; there can be only one") from None
    return lock


def own_folder(folder: Path, patience_s: float = 1.0, files: FileSystem = SYSTEM) -> int:
    """Create a spool folder and lock it for this process; the lock ends with :func:`os.close` or the process.

    What a killed process left there without a sync is made safe: a ``bounded`` one may have confirmed it. Waits up to
    ``patience_s``: a drain that asks :func:`is_owned` holds the lock for a moment.

    Raises:
        InUse: another process has it.
        Unavailable: the disk refuses.
    """
    try:
        make_folder_durably(folder, files)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        give_up = time.monotonic() + patience_s
        while not _is_locked(lock):
            if time.monotonic() > give_up:
                os.close(lock)
                raise InUse(f"the spool folder {folder} is in use by another tracker process; give this one another --tracker-id")
            time.sleep(0.02)
        for left in (newest_segment(folder), folder):
            if left:
                files.sync_path(left)
    except OSError as error:
        raise Unavailable(f"the spool folder {folder} cannot be used: {error.strerror}") from error
    return lock


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def first_sequence(folder: Path, now: Instant) -> int:
    """Where a new start counts from: above everything the folder ever held, even where segments were deleted, or the drain
    would take the new one for stored.

    The clock (microseconds) gives that without a file of its own, as no tracker records a million events a second; where
    the clock was set back, the last segment's name and size (a record is longer than a byte) do, and the drain's own files.
    """
    newest, drained = newest_segment(folder), last_segment(folder).removesuffix(".log")
    return max(
        now * 1000,
        int(newest.stem) + newest.stat().st_size + 1 if newest else 0,
        int(drained) + 1 if drained.isdecimal() else 0,
    )


class SegmentWriter:
    """Appends batches of frames to the folder's newest segment. One thread at a time.

    After an error the segment is over: what nobody was promised is cut off, and the next batch begins a new file. A failed
    sync is never repeated: the kernel may have dropped the pages, and a second sync would then succeed over nothing
    (PostgreSQL's "fsyncgate", 2018). A segment that somebody deleted or moved away is over too, and its last batch is
    written again, elsewhere; ``vanished`` counts them.
    """

    def __init__(self, folder: Path, sequence: int, segment_bytes: int, files: FileSystem = SYSTEM) -> None:
        self.folder = folder
        self.sequence = sequence
        self.segment_bytes = segment_bytes
        self.files = files
        self.path: Path | None = None
        self.vanished = 0
        self._file = -1
        self._size = 0
        self._asked = 0
        """The size at the last sync, whatever came of it."""
        self._torn: list[tuple[int, int]] = []
        self._lock = -1

    def commit(self, data: bytes, records: int) -> None:
        """Append whole frames and bring them to the disk.

        Raises:
            OSError: nothing of it counts as recorded.
        """
        self._record(data, records, self._sync)

    def write(self, data: bytes, records: int) -> None:
        """Append whole frames; they are in the kernel's hands, not yet on the disk.

        Raises:
            OSError: nothing of it counts as written.
        """
        self._record(data, records, lambda: None)

    def sync(self) -> None:
        """Bring everything written so far to the disk.

        Raises:
            OSError: what was written since the last sync would not survive a power loss now; the segment is over.
        """
        try:
            self._sync()
        except OSError:
            self._close()
            raise

    def finish(self) -> None:
        """Sync and close the last segment.

        Raises:
            OSError: as :meth:`sync`.
        """
        try:
            self.sync()
        finally:
            self._close()
            self._cut_torn()
            while self._torn:
                self._try(self.files.close, self._torn.pop()[0])
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _record(self, data: bytes, records: int, settle: Callable[[], None]) -> None:
        """Append and settle, in a file that is still there afterwards: a look before could not tell."""
        for _ in range(PLACES):
            self._append(data, records)
            try:
                settle()
                if self._is_there():
                    return
            except OSError:
                self._give_up(self._size - len(data))
                raise
            self.vanished += 1
            self._try(self.files.truncate, self._file, self._size - len(data))  # or it would be there twice, once that comes back
            self._close()
            self._own_again()
        raise FileNotFoundError(errno.ENOENT, "segments are deleted as soon as they are begun", str(self.folder))

    def _append(self, data: bytes, records: int) -> None:
        if self._size >= self.segment_bytes:
            self.sync()
            self._close()
        self.sequence += records
        if self._file < 0:
            self._begin(self.sequence - records)
        whole, rest = self._size, memoryview(data)
        try:
            while rest:
                rest = rest[self.files.write(self._file, rest) :]
        except OSError:
            lines = data.rfind(b"\n", 0, len(data) - len(rest)) + 1
            self._give_up(whole, torn_at=whole + lines if lines < len(data) - len(rest) else None)
            raise
        self._size = whole + len(data)

    def _begin(self, sequence: int) -> None:
        self._cut_torn()
        self.path = self.folder / f"{sequence:020d}.log"
        try:
            self._file = create_durably(self.path, self.files)
        except FileNotFoundError:
            self._own_again()
            self._file = create_durably(self.path, self.files)

    def _own_again(self) -> None:
        """Whoever deleted the folder deleted the lock in it. Where the spool itself is gone, so is perhaps its disk."""
        if (self.folder / LOCK).exists() or not self.folder.parent.is_dir():
            return
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = own_folder(self.folder, files=self.files)

    def _is_there(self) -> bool:
        assert self.path is not None, "an open segment has a path"
        return self.files.is_at(self._file, self.path)

    def _sync(self) -> None:
        if self._asked < self._size:
            self._asked = self._size
            self.files.sync(self._file)

    def _give_up(self, keep: int, torn_at: int | None = None) -> None:
        """End the segment after ``keep`` bytes; earlier ones that never saw a sync get their first and only one.

        Where the disk does not let go of the rest, ``torn_at`` is where its incomplete last line begins: it is cut off later,
        or it would be counted once as reported and once as torn. Whole records stay then: the drain may have seen them.
        """
        assert self.path is not None, "an open segment has a path"
        # An empty file is of no use, and a disk that fails for an hour would leave a million of them.
        is_cut = (keep == 0 and self._try(self.files.remove, self.path)) or self._try(self.files.truncate, self._file, keep)
        if self._asked < keep:
            self._try(self.files.sync, self._file)
        if is_cut or torn_at is None or len(self._torn) == TORN_KEPT:
            self._close()
        else:
            self._torn.append((self._file, torn_at))
            self._file, self._size, self._asked = -1, 0, 0

    def _cut_torn(self) -> None:
        for file, torn_at in self._torn[:]:
            if self._try(self.files.truncate, file, torn_at):
                self._try(self.files.close, file)
                self._torn.remove((file, torn_at))

    def _close(self) -> None:
        if self._file >= 0:
            self._try(self.files.close, self._file)
        self._file, self._size, self._asked = -1, 0, 0

    def _try(self, action: Callable[..., object], *arguments: object) -> bool:
        try:
            action(*arguments)
        except OSError:
            return False
        return True
