"""Anchors: where each merchant's chain ended, written down once a day outside the database. I/O: books, a file in the data folder.

The file (``anchors.jsonl``) is only ever appended to, each line is on the disk before the next step, and verify compares every line.
So whoever rewrites the ledger as a whole, hashes and all, has to rewrite this file too, and every copy that was taken of it.
"""

import fcntl
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Event

import msgspec

from core.clock import DAY, Clock, Instant, format_instant, parse_instant
from core.errors import BadInput, Unavailable
from store.books import Books
from store.ledger import heads

FILE = "anchors.jsonl"
LOOK_EVERY_S = 60.0
logger = logging.getLogger(__name__)


class Anchor(msgspec.Struct, frozen=True):
    """A line of the file: entry ``number`` of a tenant was the last one at ``at``, and had this hash."""

    at: str
    tenant_id: str
    number: int
    hash: str


class Anchors(msgspec.Struct, frozen=True):
    """The file: its anchors, oldest first, and the numbers of lines that cannot be read (from 1)."""

    lines: tuple[Anchor, ...] = ()
    unreadable: tuple[int, ...] = ()

    @property
    def newest_at(self) -> Instant:
        """The time of the last line; 0 where there is none."""
        return parse_instant(self.lines[-1].at) if self.lines else 0


NO_ANCHORS = Anchors()


def read_anchors(path: Path) -> Anchors:
    """Every anchor. A last line without its end was never finished, and is left out; a file that is not there is empty."""
    if not path.exists():
        return NO_ANCHORS
    lines, unreadable = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            anchor = msgspec.json.decode(line, type=Anchor)
            parse_instant(anchor.at)
        except (msgspec.DecodeError, BadInput):
            unreadable.append(number)
        else:
            lines.append(anchor)
    return Anchors(tuple(lines), tuple(unreadable))


def anchor(books: Books, path: Path, now: Instant) -> list[Anchor]:
    """Append the head of every tenant's chain that moved since its last line; returns what was written, on the disk.

    Raises:
        Unavailable: the books cannot be read, or the file not written.
    """
    with books.reading() as connection:
        ends = heads(connection)
    known = {one.tenant_id: one.number for one in read_anchors(path).lines}
    new = [Anchor(format_instant(now), *end) for end in ends if end[1] > known.get(end[0], 0)]
    if new:
        _append(path, new)
    return new


def run_anchoring(books: Books, path: Path, clock: Clock, stop: Event, every_s: float = LOOK_EVERY_S) -> None:
    """Anchor once a day (UTC) until ``stop`` is set. Nothing escapes: a failed try is logged, and tried again a minute later."""
    last_day = -1
    while not stop.is_set():
        try:
            today = clock() // DAY
            if last_day < 0:
                last_day = read_anchors(path).newest_at // DAY
            if today > last_day:
                anchor(books, path, clock())
                last_day = today
        except (OSError, Unavailable) as error:
            logger.warning("the heads of the ledgers were not anchored, it is tried again: %s", error)
        except Exception:
            logger.exception("anchoring failed; it is tried again")
        stop.wait(every_s)


def by_tenant(anchors: Iterable[Anchor], tenant_id: str) -> dict[int, list[Anchor]]:
    """A tenant's anchors by the number of their entry."""
    found: dict[int, list[Anchor]] = {}
    for one in anchors:
        if one.tenant_id == tenant_id:
            found.setdefault(one.number, []).append(one)
    return found


def _append(path: Path, lines: Sequence[Anchor]) -> None:
    """Lines at the end of the file, on the disk. What a crash left unfinished there goes first: nobody was told of it."""
    try:
        is_new = not path.exists()
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(f"the anchors cannot be written to {path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
