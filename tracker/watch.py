"""Keeps a tracker's link table current: a thread that looks at the books, and only reads. Plainly I/O.

A start takes the newest snapshot that lies at hand (:mod:`tracker.kept`, :mod:`tracker.shared`) and reads from the books what
changed since; later looks read changes alone. Every link is read where there is no snapshot, or where the books are not those
that it was made of.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from store.books import Books
from store.links import Mark, all_coalitions, all_key_hashes, all_programmes, all_tenants, is_marked, is_numbered, newest_mark, stream_links
from tracker.links import EMPTY, LinkTable, Pause, build_table

LOOK_EVERY_S = 0.5
SAVE_EVERY_S = 10.0
STOP_WITHIN_S = 1.0
REST_FACTOR = 10
"""A load rests ten times as long as it took, so that a large catalogue under constant change takes a tenth of a core."""

_log = logging.getLogger("fairshare.links")

IsKnown = Callable[[Mark], bool]
"""Whether the books hold a change. May raise Unavailable."""


class Depot(Protocol):
    """A place for snapshots of the table; one that cannot be used is None.

    ``is_known`` tells of a newer snapshot that lies there whether it is of these books; ``at_once`` says that there is no later
    call. Neither call should raise.
    """

    def load(self, pause: Pause) -> LinkTable | None: ...
    def save(self, table: LinkTable, pause: Pause, is_known: IsKnown, at_once: bool, /) -> bool: ...


class Watch:
    """``table`` is the newest catalogue that could be read. While the books are down the old one stays.

    ``failures`` counts looks that failed, and depots that did what they should not.
    """

    def __init__(self, books: Books, secret: bytes, look_every_s: float = LOOK_EVERY_S, depots: Sequence[Depot] = ()) -> None:
        self.table = EMPTY
        self.failures = 0
        self.is_current = False
        self._books = books
        self._secret = secret
        self._look_every_s = look_every_s
        self._depots = depots
        self._save_at = 0.0
        self._was_current = False
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
        """End the thread, and leave the newest table that was read: the books may be down at the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN_S)
        if self._was_current and not self._thread.is_alive():
            self._save(at_once=True)

    def look(self) -> None:
        """Read the version, and what changed where it moved."""
        if not self.is_loaded:
            self.table = self._snapshot()
        try:
            self.table = read_table(self._books, self._secret, self.table, _pause)
            self.is_current = self._was_current = True
        except Exception:  # whatever the books do, redirects go on with the table at hand, and the next look may succeed
            self.failures += 1
            self.is_current = False

    def save(self) -> None:
        """Leave the table where other trackers, and the next start, find it."""
        if self.is_current:
            self._save(at_once=False)

    def state(self) -> dict[str, Any]:
        """For ``/health``: ``current`` is false while the books cannot be read, and the table may be older than they are."""
        return {"current": self.is_current, "failures": self.failures}

    def _save(self, at_once: bool) -> None:
        for depot in self._depots:
            try:
                depot.save(self.table, _pause, self._is_known, at_once)
            except Exception as fault:  # the other depots, and the next time, may take it
                self._count("a snapshot of the links could not be saved", fault)

    def _is_known(self, mark: Mark) -> bool:
        with self._books.reading() as connection:
            return is_marked(connection, mark)

    def _snapshot(self) -> LinkTable:
        """The newest one at hand; the books say later whether it is theirs."""
        found = []
        for depot in self._depots:
            try:
                found.append(depot.load(_pause) or EMPTY)
            except Exception as fault:  # the books have it all
                self._count("a snapshot of the links could not be read", fault)
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

    def _count(self, what: str, fault: Exception) -> None:
        self.failures += 1
        _log.warning("%s: %s", what, type(fault).__name__)


def read_table(books: Books, secret: bytes, before: LinkTable = EMPTY, pause: Pause = lambda: None) -> LinkTable:
    """The catalogue of this moment; ``before`` itself where nothing changed since.

    Raises:
        Unavailable: the books cannot be read.
    """
    with books.reading() as connection:
        mark, known = newest_mark(connection), Mark(before.version, before.changed_at, before.what)
        if mark == known:
            return before
        is_base = before is not EMPTY and is_marked(connection, known) and is_numbered(connection, before.version)
        base = before if is_base else EMPTY
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
            coalitions=all_coalitions(connection),
        )


def _pause() -> None:
    time.sleep(0)
