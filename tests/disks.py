"""Disks for tests: one that remembers what was done to it, and what of that a power loss may leave behind.

After CrashMonkey (Mohan et al., OSDI 2018) and ALICE (Pillai et al., OSDI 2014). :class:`RecordingDisk` works on a real folder
and keeps a log; :func:`crash_states` says which folders that log may have come to when the power went after any of its
steps. It grants a disk every liberty that :mod:`tracker.files` does not forbid:

- writes and cuts of a file that no sync followed happened or not, each for itself; an earlier one that did not is a hole;
- the last of them happened in part: cut at a byte, the rest missing, zeros, or garbage that was there before;
- names made, moved and removed since the folder's last sync happened or not, each for itself;
- after a failed sync, what it should have saved stays doubtful for ever, whatever later syncs say.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from tracker.files import SystemFiles

GARBAGE = b'9f3c77d1 {"event":"touch","touch_id":"GHOST"}\nX\x00\xff'
"""What a torn block may hold: it has a line of its own, with a checksum that does not fit."""

Image = tuple[tuple[str, bytes | None], ...]
"""A folder at rest: each path in it, sorted, with its content; None is a folder."""


class Write(NamedTuple):
    inode: int
    offset: int
    data: bytes


class Cut(NamedTuple):
    inode: int
    size: int


class Sync(NamedTuple):
    inode: int
    failed: bool = False


class Name(NamedTuple):
    """``name`` in ``folder`` now means ``inode`` (0: nothing); ``old`` means nothing any more."""

    folder: str
    name: str
    inode: int
    old: str = ""


class SyncFolder(NamedTuple):
    folder: str


class Gone(NamedTuple):
    """Somebody deleted a file or a whole folder, for good."""

    path: str


class Note(NamedTuple):
    """What the workload says at this moment: a record was acknowledged, rows were stored."""

    kind: str
    value: object


Step = Write | Cut | Sync | Name | SyncFolder | Gone | Note
DRAFT = ".partial"
FOLDER = -1
"""The inode of every folder: what it holds goes by its path."""


class RecordingDisk(SystemFiles):
    """The system's files under ``root``, without waiting for the real disk, and a log of all that was done to them.

    ``fail`` may raise OSError before an operation, by its name and path; for a ``write`` it may return how many bytes go
    through. ``meanwhile`` runs before each operation that it knows, as another process would.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[Step] = []
        self.fail: Callable[[str, str], int | None] = lambda operation, name: None
        self.meanwhile: Callable[[str, str], None] = lambda operation, name: None
        self._lock = threading.RLock()
        self._open: dict[int, tuple[int, str]] = {}
        self._inodes: dict[str, int] = {}
        self._sizes: dict[int, int] = {}

    def load(self, image: Image) -> None:
        """Begin with what is there already, for sure."""
        put(image, self.root)
        for name, content in image:
            path = self.root / name
            self._name(path, FOLDER if content is None else 1 + len(self._sizes))
            if content is not None:
                inode = self._inodes[name]
                self._sizes[inode] = len(content)
                self.log += [Write(inode, 0, content), Sync(inode)]
        self.log += [SyncFolder(name) for name, content in ((".", None), *image) if content is None]

    def note(self, kind: str, value: object) -> None:
        """Put something of the workload's own into the log."""
        with self._lock:
            self.log.append(Note(kind, value))

    def name_of(self, file: int) -> str:
        return self._open[file][1]

    def make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._ask("make_folder", folder)
            super().make_folder(folder)
            self._name(folder, FOLDER)

    def create(self, path: Path) -> int:
        self._ask("create", path)
        return self._opened(super().create(path), path)

    def draft(self, path: Path) -> int:
        self._ask("draft", path)
        return self._opened(super().draft(path), path)

    def write(self, file: int, data: memoryview) -> int:
        inode, name = self._open[file]
        taken = self._ask("write", self.root / name)
        data = data if taken is None else data[:taken]
        with self._lock:
            self.log.append(Write(inode, self._sizes[inode], bytes(data)))
            self._sizes[inode] += len(data)
        return super().write(file, data)

    def sync(self, file: int) -> None:
        inode, name = self._open[file]
        self._sync(inode, "sync", self.root / name)

    def truncate(self, file: int, size: int) -> None:
        inode, name = self._open[file]
        self._ask("truncate", self.root / name)
        super().truncate(file, size)
        with self._lock:
            self.log.append(Cut(inode, size))
            self._sizes[inode] = size

    def sync_path(self, path: Path) -> None:
        if not path.is_relative_to(self.root):
            return
        if path.is_dir():
            self._ask("sync_folder", path)
            self.log.append(SyncFolder(self._relative(path)))
        else:
            self._sync(self._inodes[self._relative(path)], "sync_path", path)

    def rename(self, path: Path, new_path: Path) -> None:
        self._ask("rename", new_path)
        super().rename(path, new_path)
        self._name(new_path, self._inodes.pop(self._relative(path)), path.name)

    def remove(self, path: Path) -> None:
        self._ask("remove", path)
        if path.exists():
            super().remove(path)
            self._name(path, 0)

    def lose(self, path: Path) -> None:
        """Somebody deletes a file or a folder behind the tracker's back, and it is gone for good."""
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        name = self._relative(path)
        self._inodes = {known: inode for known, inode in self._inodes.items() if known != name and not known.startswith(f"{name}/")}
        self.log.append(Gone(name))

    def _ask(self, operation: str, path: Path) -> int | None:
        name = self._relative(path)
        self.meanwhile(operation, name)
        return self.fail(operation, name)

    def _sync(self, inode: int, operation: str, path: Path) -> None:
        try:
            self._ask(operation, path)
        except OSError:
            self.log.append(Sync(inode, failed=True))
            raise
        self.log.append(Sync(inode))

    def _opened(self, file: int, path: Path) -> int:
        name = self._relative(path)
        with self._lock:
            if name not in self._inodes:
                self._name(path, 1 + len(self._sizes))
            elif self._sizes[self._inodes[name]]:
                self.log.append(Cut(self._inodes[name], 0))
            inode = self._inodes[name]
            self._sizes[inode] = 0
            self._open[file] = (inode, name)
        return file

    def _name(self, path: Path, inode: int, old: str = "") -> None:
        with self._lock:
            name = self._relative(path)
            self._inodes[name] = inode
            if inode == 0:
                del self._inodes[name]
            else:
                self._sizes.setdefault(inode, 0)
            self.log.append(Name(self._relative(path.parent), path.name, inode, old))

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.root))


# --- what a power loss leaves ----------------------------------------------------------------------------------------

Kept = Literal["safe", "pending", "doubtful"]


class _File:
    """One file's writes and cuts, and how sure each of them is."""

    def __init__(self) -> None:
        self.changes: list[tuple[Write | Cut, Kept]] = []

    def change(self, change: Write | Cut) -> None:
        self.changes.append((change, "pending"))

    def sync(self, failed: bool) -> None:
        becomes: Kept = "doubtful" if failed else "safe"
        self.changes = [(change, becomes if kept == "pending" else kept) for change, kept in self.changes]

    def contents(self, cuts: int = 0) -> list[bytes]:
        """Everything that may be found in it, all of it first, then what is sure alone; its last write torn in so many ways."""
        unsure = [index for index, (_, kept) in enumerate(self.changes) if kept != "safe"]
        found = [self._content({*unsure}), self._content(set())]
        found += [self._content({*happened}) for happened in _some_of(unsure)]
        if cuts and unsure and isinstance(last := self.changes[unsure[-1]][0], Write):
            before = ({*unsure[:-1]}, set[int]())
            found += [self._content(happened | {unsure[-1]}, part) for happened in before for part in _parts(last, cuts)]
        return list(dict.fromkeys(found))

    def _content(self, happened: set[int], part: Write | None = None) -> bytes:
        content = bytearray()
        last = max(happened, default=-1)
        for index, (change, kept) in enumerate(self.changes):
            if kept != "safe" and index not in happened:
                continue
            if isinstance(change, Cut):
                del content[change.size :]
                content.extend(bytes(change.size - len(content)))
            else:
                write = part if part and index == last else change
                content.extend(bytes(max(0, write.offset - len(content))))
                content[write.offset : write.offset + len(write.data)] = write.data
        return bytes(content)


def _some_of(unsure: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every choice among few; among many every beginning, and all without one."""
    if len(unsure) <= 3:
        yield from (
            tuple(index for index, is_in in zip(unsure, choice, strict=True) if is_in) for choice in product((0, 1), repeat=len(unsure))
        )
    else:
        yield from (tuple(unsure[:count]) for count in range(len(unsure)))
        yield from (tuple(index for index in unsure if index != left) for left in unsure)


def _parts(write: Write, cuts: int) -> Iterator[Write]:
    """A torn write: cut at about so many bytes, around the end of its first line too; the rest missing, zeros, or garbage."""
    size = len(write.data)
    newline = write.data.find(b"\n") + 1
    spread = {size * part // cuts for part in range(cuts)} | {1, 8, 9, newline - 1, newline, newline + 5, size - 1}
    for cut in sorted(spread & {*range(size)}) if cuts > 1 else [size // 2]:
        for rest in (b"", bytes(size - cut), (GARBAGE * (1 + size // len(GARBAGE)))[: size - cut]):
            yield write._replace(data=write.data[:cut] + rest)


class _Folder:
    def __init__(self) -> None:
        self.safe: dict[str, int] = {}
        self.pending: list[Name] = []

    def sync(self) -> None:
        self.safe = self._after(self.pending)
        self.pending = []

    def drop(self, name: str) -> None:
        self.safe.pop(name, None)
        self.pending = [change for change in self.pending if change.name != name]

    def entries(self) -> list[dict[str, int]]:
        """Every set of names it may have; all changes first, then none."""
        count = len(self.pending)
        choices = [tuple(range(count)), (), *_some_of(range(count))]
        found = [self._after([self.pending[index] for index in choice]) for choice in choices]
        return [entries for place, entries in enumerate(found) if entries not in found[:place]]

    def _after(self, changes: Sequence[Name]) -> dict[str, int]:
        entries = dict(self.safe)
        for change in changes:
            entries.pop(change.old, None)
            entries[change.name] = change.inode
        return {name: inode for name, inode in entries.items() if inode}


class CrashState(NamedTuple):
    """``image`` may be found when the power went after the log's first ``steps``."""

    steps: int
    image: Image


def crash_states(log: Sequence[Step], begin: int = 0, cuts: int = 4) -> Iterator[CrashState]:
    """Every state that a power loss may leave, at every step of the log from ``begin``; no image twice within a step.

    A torn write is cut at about ``cuts`` places. Files' contents and folders' names are combined in full, as long as nothing is torn;
    torn writes one file at a time.
    """
    files: dict[int, _File] = {}
    folders: dict[str, _Folder] = {".": _Folder()}
    images: list[Image] = []
    for number, step in enumerate((Note("begin", None), *log)):
        match step:
            case Write() | Cut():
                files.setdefault(step.inode, _File()).change(step)
            case Sync():
                files.setdefault(step.inode, _File()).sync(step.failed)
            case Name():
                folders[step.folder].pending.append(step)
                if step.inode == FOLDER:
                    folders.setdefault(str(Path(step.folder) / step.name), _Folder())
            case SyncFolder():
                folders[step.folder].sync()
            case Gone():
                folders.pop(step.path, None)
                folders[str(Path(step.path).parent)].drop(Path(step.path).name)
        if number >= begin:
            images = images if isinstance(step, Note) and images else [*_images(files, folders, cuts)]
            yield from (CrashState(number, image) for image in images)


def whole_image(log: Sequence[Step], steps: int) -> Image:
    """What the folder holds after so many steps while the power stays."""
    return next(crash_states(log[:steps], steps)).image


def _images(files: dict[int, _File], folders: dict[str, _Folder], cuts: int) -> Iterator[Image]:
    seen = set[Image]()
    for names in _trees(folders):
        inodes = sorted({inode for inode in names.values() if inode > 0})
        plain = {inode: files.get(inode, _File()).contents() for inode in inodes}
        choices = [dict(zip(inodes, contents, strict=True)) for contents in product(*plain.values())]
        for name, inode in names.items():
            # What is in a draft matters little: nothing may read it before it has its name.
            for torn in files.get(inode, _File()).contents(1 if name.endswith(DRAFT) else cuts) if inode > 0 else ():
                for side in (0, -1):
                    choices.append({other: contents[side] for other, contents in plain.items()} | {inode: torn})
        for contents in choices:
            image = tuple(sorted((name, contents.get(inode)) for name, inode in names.items()))
            if image not in seen:
                seen.add(image)
                yield image


def _trees(folders: dict[str, _Folder]) -> Iterator[dict[str, int]]:
    """Every tree of names: path → inode. A folder that its own folder does not name is gone, with all that it holds."""
    for entries in product(*(folder.entries() for folder in folders.values())):
        tree: dict[str, int] = {}
        for path, names in zip(folders, entries, strict=True):
            if path == "." or path in tree:
                tree |= {str(Path(path) / name): inode for name, inode in names.items()}
        yield tree


def put(image: Image, root: Path) -> None:
    """Make an image real, in a folder that is empty."""
    for name, content in image:
        if content is None:
            os.mkdir(root / name)
        else:
            file = os.open(root / name, os.O_WRONLY | os.O_CREAT, 0o640)
            os.write(file, content)
            os.close(file)
