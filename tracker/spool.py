"""Segments on disk: what a spool folder holds, how it is written and how it is read. Plainly I/O.

``DIR/spool/<tracker-id>/`` belongs to one tracker process at a time (``lock``) and holds ``<first sequence>.log`` files,
twenty digits each. A segment is append-only, one record a line: CRC-32 of the JSON in eight hex digits, a space, the JSON,
a newline, so that ``cut -c10- FILE | jq`` reads it. Every start begins a new segment; a failed write or sync ends one for
good. A segment is finished, and will never grow again, when a newer one exists or no process holds the lock.

Beside them lies ``counters.json`` (:mod:`tracker.counters`): what the tracker received, recorded and could not record.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from zlib import crc32

import msgspec

from core.clock import Instant
from core.errors import InUse

LOCK = "lock"
_SEGMENT = re.compile(r"\d{20}\.log", re.ASCII)


class Damage(msgspec.Struct, frozen=True):
    """A complete line whose checksum does not fit: its ``raw`` bytes, without the newline."""

    raw: bytes


# --- reading ---------------------------------------------------------------------------------------------------------


def spool_folders(spool: Path) -> list[Path]:
    """The trackers' folders under ``DIR/spool``, sorted; none where the folder does not exist yet."""
    return sorted(path for path in spool.iterdir() if path.is_dir()) if spool.is_dir() else []


def segments(folder: Path) -> list[Path]:
    """A folder's segments, oldest first. Their names sort, within a folder, as their records were written."""
    return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)) if folder.is_dir() else []


def is_finished(segment: Path) -> bool:
    """True where a segment can never grow again: ask BEFORE reading to its end, then an incomplete last line is a torn tail."""
    newest = segments(segment.parent)[-1:]
    return newest != [segment] or not is_owned(segment.parent)


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


class FileSystem(Protocol):
    """What a segment needs of the machine; tests put a full or a failing disk in its place."""

    def create(self, path: Path) -> int: ...
    def write(self, file: int, data: memoryview) -> int: ...
    def sync(self, file: int) -> None: ...
    def truncate(self, file: int, size: int) -> None: ...
    def close(self, file: int) -> None: ...


class SystemFiles:
    """The operating system's files."""

    def create(self, path: Path) -> int:
        """A new file, its name made durable too: a synced file that no folder names would be lost."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(file)
            raise
        return file

    def write(self, file: int, data: memoryview) -> int:
        return os.write(file, data)

    def sync(self, file: int) -> None:
        # macOS has no fdatasync.
        getattr(os, "fdatasync", os.fsync)(file)

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        os.close(file)


def own_folder(folder: Path, patience_s: float = 1.0) -> int:
    """Create a spool folder and lock it for this process; the lock ends with :func:`os.close` or the process.

    Waits up to ``patience_s``: a drain that asks :func:`is_owned` holds the lock for a moment.

    Raises:
        InUse: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    give_up = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(lock)
                raise InUse(f"the spool folder {folder} is in use by another tracker process; give this one another --tracker-id") from None
            time.sleep(0.02)


def first_sequence(folder: Path, now: Instant) -> int:
    """Where a new start counts from: above everything the folder ever held, even where old segments were deleted.

    The clock (microseconds) gives that without a file of its own, as no tracker records a million events a second; where
    the clock was set back, the last segment's name and size (a record is longer than a byte) do.
    """
    newest = segments(folder)[-1:]
    return max([now * 1000] + [int(path.stem) + path.stat().st_size + 1 for path in newest])


class SegmentWriter:
    """Appends batches of frames to the folder's newest segment. One thread at a time.

    After an error the segment is over: what nobody was promised is cut off where the disk still allows it, and the next
    batch begins a new file. A failed sync is never repeated: the kernel may have dropped the pages, and a second sync
    would then succeed over nothing (PostgreSQL's "fsyncgate", 2018).
    """

    def __init__(self, folder: Path, sequence: int, segment_bytes: int, files: FileSystem) -> None:
        self.folder = folder
        self.sequence = sequence
        self.segment_bytes = segment_bytes
        self.files = files
        self.path: Path | None = None
        self._file = -1
        self._size = 0
        self._synced = 0

    def commit(self, data: bytes, records: int) -> None:
        """Append whole frames and bring them to the disk.

        Raises:
            OSError: nothing of it counts as recorded.
        """
        self.write(data, records)
        try:
            self._sync()
        except OSError:
            self._give_up(self._size - len(data))
            raise

    def write(self, data: bytes, records: int) -> None:
        """Append whole frames; they are in the kernel's hands, not yet on the disk.

        Raises:
            OSError: nothing of it counts as written.
        """
        if self._size >= self.segment_bytes:
            self.finish()
        whole = self._size
        self.sequence += records
        try:
            if self._file < 0:
                self._begin(self.sequence - records)
            rest = memoryview(data)
            while rest:
                rest = rest[self.files.write(self._file, rest) :]
        except OSError:
            self._give_up(whole)
            raise
        self._size = whole + len(data)

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
        """Sync and close the segment; the next write begins another."""
        self.sync()
        self._close()

    def _begin(self, sequence: int) -> None:
        self.path = self.folder / f"{sequence:020d}.log"
        self._file = self.files.create(self.path)

    def _sync(self) -> None:
        if self._synced < self._size:
            self.files.sync(self._file)
            self._synced = self._size

    def _give_up(self, keep: int) -> None:
        """End the segment after ``keep`` bytes; earlier ones that never saw a sync get their first and only one."""
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            self.files.truncate(self._file, keep)
        if self._size == keep > self._synced:
            with contextlib.suppress(OSError):
                self.files.sync(self._file)
        self._close()

    def _close(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                self.files.close(self._file)
        self._file, self._size, self._synced = -1, 0, 0
