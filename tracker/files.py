"""The machine's files, one durable operation at a time. Plainly I/O.

Everything of the tracker that a power loss must not undo goes through a :class:`FileSystem`: segments, manifests, cursors,
counters. Tests put a full, a failing or a remembering disk in its place (``tests/disks.py``).

What a disk promises, and all that is relied on: a file's content is safe once its :meth:`~FileSystem.sync` has returned; a
name made, moved or removed is safe once its folder's :meth:`~FileSystem.sync_path` has; a rename is there or is not. Nothing
else has an order.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from core.errors import Unavailable


class FileSystem(Protocol):
    """What the tracker needs of the machine. Every operation raises OSError where the disk refuses; ``file`` is open."""

    def make_folder(self, folder: Path) -> None:
        """A folder in one that is there; its name is not safe yet. Nothing where it exists."""

    def create(self, path: Path) -> int:
        """A new, empty file, written only at its end; its name is not safe yet. FileExistsError where there is one."""

    def draft(self, path: Path) -> int:
        """The same, emptied where there is one."""

    def write(self, file: int, data: memoryview) -> int:
        """Take some of ``data``; how many bytes, at least one. They are in the kernel's hands, not yet on the disk."""

    def sync(self, file: int) -> None:
        """Make the content safe. After an error nobody knows how much of it is, and a second sync would not tell."""

    def truncate(self, file: int, size: int) -> None:
        """Cut the file off after ``size`` bytes."""

    def close(self, file: int) -> None: ...

    def is_at(self, file: int, path: Path) -> bool:
        """True while ``path`` still leads to this very file: nobody deleted, moved or replaced it, or a folder above it."""

    def sync_path(self, path: Path) -> None:
        """Make a folder's names, or the content of a file that another process writes, safe."""

    def rename(self, path: Path, new_path: Path) -> None:
        """Move a file within its folder, in the place of what was there."""

    def remove(self, path: Path) -> None:
        """Delete a file; nothing where there is none."""


class SystemFiles:
    """The operating system's files."""

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def draft(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, file: int, data: memoryview) -> int:
        return os.write(file, data)

    def sync(self, file: int) -> None:
        # macOS has no fdatasync.
        getattr(os, "fdatasync", os.fsync)(file)

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        os.close(file)

    def is_at(self, file: int, path: Path) -> bool:
        try:
            return os.path.samestat(os.stat(path), os.fstat(file))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def sync_path(self, path: Path) -> None:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def rename(self, path: Path, new_path: Path) -> None:
        path.replace(new_path)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)


SYSTEM = SystemFiles()


def make_folder_durably(folder: Path, files: FileSystem = SYSTEM) -> None:
    """A folder that survives a power loss, as do the two above it, whoever made them: it may have been killed before a sync."""
    if not folder.parent.is_dir():
        make_folder_durably(folder.parent, files)
    files.make_folder(folder)
    for path in (folder.parent, folder.parent.parent):
        files.sync_path(path)


def create_durably(path: Path, files: FileSystem = SYSTEM) -> int:
    """A new, empty file whose name survives a power loss: a synced file that no folder names would be lost.

    Raises:
        OSError: there is no such file.
    """
    file = files.create(path)
    try:
        files.sync_path(path.parent)
    except OSError:
        files.close(file)
        with contextlib.suppress(OSError):
            files.remove(path)
        raise
    return file


def write_whole(file: int, data: bytes, files: FileSystem = SYSTEM) -> None:
    """Write all of it, however little the system takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[files.write(file, rest) :]


def replace_durably(path: Path, chunks: Iterable[bytes], files: FileSystem = SYSTEM) -> None:
    """Put a file in place as a whole: after a crash at any moment there is the old one or the new one, complete.

    Raises:
        Unavailable: the disk refused. The old one is there, or already the new one.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        _write_draft(partial, chunks, files)
        files.rename(partial, path)
        files.sync_path(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            files.remove(partial)
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def _write_draft(path: Path, chunks: Iterable[bytes], files: FileSystem) -> None:
    file = files.draft(path)
    try:
        for chunk in chunks:
            write_whole(file, chunk, files)
        files.sync(file)
    finally:
        files.close(file)


def keep_safe(path: Path, size: int, files: FileSystem = SYSTEM) -> None:
    """Make the first ``size`` bytes safe of a file that another process writes.

    Raises:
        Unavailable: the disk refused, or the other process has cut them off.
    """
    try:
        files.sync_path(path)
        left = path.stat().st_size
    except OSError as error:
        raise Unavailable(f"{path} cannot be made safe: {error.strerror}") from error
    if left < size:
        raise Unavailable(f"{path} lost its last {size - left} bytes while they were read; nobody was promised them")
