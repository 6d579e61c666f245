"""What a tracker keeps in its folder from one start to the next: its counts and its link table. Plainly I/O, and nothing raises.

``counts.bin`` is written each second in which something was counted; trackers of one machine read each other's. ``links.bin`` is
a snapshot (:mod:`tracker.snapshot`) of a large link table, so that a start reads only what changed since. Both are written anew
under another name and renamed, without a sync: whatever a power loss leaves of them is known by its checksum and not used.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from store.links import Mark
from tracker.limits import BYTES, Counts, pack_counts, unpack_counts
from tracker.links import SHELVES, LinkTable
from tracker.snapshot import HEAD_BYTES, Packed, pack_head, pack_shelf, table_of, unpack_head, unpack_shelf

COUNTS, LINKS = "counts.bin", "links.bin"
LINKS_FROM = 20_000
"""Fewer links are read from the books as fast."""
REST_S = 300.0
"""A table under constant change is written every five minutes: a start then reads five minutes of changes."""
CHUNK_BYTES = 1 << 30
FILES = 256

Pause = Callable[[], None]


class KeptCounts:
    """The counts of the trackers of one machine, each in its own folder beside the others'. ``known`` are those read so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}
        self.known: dict[str, Counts] = {}

    def save(self, counts: Counts, pause: Pause = lambda: None) -> bool:
        return _replace(self._folder / COUNTS, [pack_counts(counts, pause)])

    def load(self, pause: Pause = lambda: None) -> dict[str, Counts]:
        """What every tracker of this machine last wrote, its own earlier life's too, by tracker id."""
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.parent.glob(f"*/{COUNTS}"))[:FILES]:
                self._read(path, pause)
        return self.known

    def _read(self, path: Path, pause: Pause) -> None:
        """What cannot be read, or is being written, leaves what was known."""
        with contextlib.suppress(OSError):
            state = path.stat()
            if state.st_size > BYTES or self._seen.get(path) == (state.st_mtime_ns, state.st_size):
                return
            counts = unpack_counts(path.read_bytes(), pause)
            self._seen[path] = (state.st_mtime_ns, state.st_size)
            if counts is not None and counts.tracker_id == path.parent.name:
                self.known[counts.tracker_id] = counts


class KeptLinks:
    """The last link table, if it is a large one."""

    def __init__(self, folder: Path, secret: bytes, packed: Packed) -> None:
        self._path = folder / LINKS
        self._secret = secret
        self._packed = packed
        self._mark = Mark(-1)
        self._rest_until = 0.0

    def save(
        self, table: LinkTable, pause: Pause = lambda: None, _is_known: Callable[[Mark], bool] | None = None, at_once: bool = False
    ) -> bool:
        """Write a table down, unless it is written already, or the last one was written a moment ago and this is not the last call.

        Of a small table nothing is kept, and nothing of what was there before. The file is this tracker's own: nobody
        else can have left a newer one.
        """
        mark = Mark(table.version, table.changed_at, table.what)
        if len(table.links) < LINKS_FROM:
            return self._remove()
        may_rest = table.version > self._mark.version and not at_once  # books that were put back make all that is kept wrong
        if mark == self._mark or (may_rest and time.monotonic() < self._rest_until):
            return True
        self._rest_until = time.monotonic() + REST_S
        if not _replace(self._path, self._pieces(table, pause)):
            return False
        self._mark = mark
        return True

    def _remove(self) -> bool:
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return False
        self._mark = Mark(-1)
        return True

    def _pieces(self, table: LinkTable, pause: Pause) -> Iterator[bytes]:
        yield _sized(pack_head(table, self._packed.digests(table, pause), self._secret))
        for shelf in table.links.shelves:
            yield _sized(pack_shelf(shelf))
            pause()

    def load(self, pause: Pause = lambda: None) -> LinkTable | None:
        """The table that was saved; None where there is none that is whole and of this installation."""
        with contextlib.suppress(OSError, EOFError), self._path.open("rb") as file:
            head = unpack_head(_take(file.read, HEAD_BYTES), self._secret)
            if head is None:
                return None
            shelves = []
            for digest in head.chunks:
                shelf = unpack_shelf(_take(file.read, CHUNK_BYTES), digest)
                if shelf is None:
                    return None
                shelves.append(shelf)
                pause()
            assert len(shelves) == SHELVES, "a head has a digest for each shelf"
            self._mark = Mark(head.version, head.changed_at, head.what)
            return table_of(head, shelves, self._secret)
        return None


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _take(read: Callable[[int], bytes], most_bytes: int) -> bytes:
    size = int.from_bytes(read(8), "little")
    if not 0 < size <= most_bytes:
        raise EOFError
    return read(size)


def _replace(path: Path, pieces: "Iterator[bytes] | list[bytes]") -> bool:
    """Write a file anew, whole or not at all; false where the disk does not take it."""
    draft = path.with_name(f"{path.name}.new")
    try:
        with draft.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        draft.replace(path)
    except OSError:
        return False
    return True
