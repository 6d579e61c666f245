"""Keeps a tracker's link table current: a thread that looks at the books, and only reads. Plainly I/O.

A start takes the newest snapshot that lies at hand (:mod:`tracker.kept`, :mod:`tracker.shared`) and reads from the books what
changed since; later looks read changes alone. Every link is read where there is no snapshot, or where the books are not those
that it was made of.
"""

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from store.books import Books
from store.links import Mark, all_key_hashes, all_programmes, all_tenants, is_marked, newest_mark, stream_links
from tracker.links import EMPTY, LinkTable, Pause, build_table

LOOK_EVERY_S = 0.5
SAVE_EVERY_S = 10.0
STOP_WITHIN_S = 1.0
REST_FACTOR = 10
"""A load rests ten times as long as it took, so that a large catalogue under constant change takes a tenth of a core."""


class Depot(Protocol):
    """A place for snapshots of the table. Neither call raises; a snapshot that cannot be used is None."""

    def load(self, pause: Pause) -> LinkTable | None: ...
    def save(self, table: LinkTable, pause: Pause) -> bool: ...


class Watch:
    """``table`` is the newest catalogue that could be read. While the books are down the old one stays, and is counted."""

    def __init__(self, books: Books, secret: bytes, look_every_s: float = LOOK_EVERY_S, depots: Sequence[Depot] = ()) -> None:
        self.table = EMPTY
        self.failures = 0
        self.is_current = False
        self._books = books
        self._secret = secret
        self._look_every_s = look_every_s
        self._depots = depots
        self._save_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)

    @property
    def is_loaded(self) -> bool:
        return self.table is not EMPTY

    def start(self) -> None:
        """Load once, here and now, then go on looking in the background."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN_S)

    def look(self) -> None:
        """Read the version, and what changed where it moved."""
        if not self.is_loaded:
            self.table = self._snapshot()
        try:
            self.table = read_table(self._books, self._secret, self.table, _pause)
            self.is_current = True
        except Exception:  # whatever the books do, redirects go on with the table at hand, and the next look may succeed
            self.failures += 1
            self.is_current = False

    def save(self) -> None:
        """Leave the table where other trackers, and the next start, find it."""
        if self.is_current:
            for depot in self._depots:
                depot.save(self.table, _pause)

    def _snapshot(self) -> LinkTable:
        """The newest one at hand; the books say later whether it is theirs."""
        found = [table for depot in self._depots if (table := depot.load(_pause)) is not None]
        return max(found, key=lambda table: table.version, default=EMPTY)

    def _run(self) -> None:
        took_s, self._save_at = 0.0, time.monotonic() + self._look_every_s
        while not self._stopping.wait(max(self._look_every_s, REST_FACTOR * took_s)):
            began = time.monotonic()
            self.look()
            if began >= self._save_at:
                self.save()
                self._save_at = began + SAVE_EVERY_S
            took_s = time.monotonic() - began


def read_table(books: Books, secret: bytes, before: LinkTable = EMPTY, pause: Pause = lambda: None) -> LinkTable:
    """The catalogue of this moment; ``before`` itself where nothing changed since.

    Raises:
        Unavailable: the books cannot be read.
    """
    with books.reading() as connection:
        mark, known = newest_mark(connection), Mark(before.version, before.changed_at, before.what)
        if mark == known:
            return before
        base = before if before is not EMPTY and is_marked(connection, known) else EMPTY
        return build_table(
            version=mark.version,
            tenants=all_tenants(connection),
            programmes=all_programmes(connection),
            links=stream_links(connection, None if base is EMPTY else base.version),
            keys=all_key_hashes(connection),
            secret=secret,
            before=base,
            pause=pause,
            changed_at=mark.changed_at,
            what=mark.what,
        )


def _pause() -> None:
    time.sleep(0)
