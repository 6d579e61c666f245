"""Keeps a tracker's link table current: a thread that looks at the books, and only reads. Plainly I/O."""

import threading
import time

from store.books import Books
from store.catalogue import catalogue_version
from store.links import all_key_hashes, all_programmes, all_tenants, stream_links
from tracker.links import EMPTY, LinkTable, build_table

LOOK_EVERY_S = 0.5
STOP_WITHIN_S = 1.0
REST_FACTOR = 10
"""A load rests ten times as long as it took, so that a large catalogue under constant change takes a tenth of a core."""


class Watch:
    """``table`` is the newest catalogue that could be read. While the books are down the old one stays, and is counted."""

    def __init__(self, books: Books, secret: bytes, look_every_s: float = LOOK_EVERY_S) -> None:
        self.table = EMPTY
        self.failures = 0
        self.is_current = False
        self._books = books
        self._secret = secret
        self._look_every_s = look_every_s
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
        """Read the version, and everything where it moved."""
        try:
            self.table = read_table(self._books, self._secret, self.table)
            self.is_current = True
        except Exception:  # whatever the books do, redirects go on with the table at hand, and the next look may succeed
            self.failures += 1
            self.is_current = False

    def _run(self) -> None:
        took_s = 0.0
        while not self._stopping.wait(max(self._look_every_s, REST_FACTOR * took_s)):
            began = time.monotonic()
            self.look()
            took_s = time.monotonic() - began


def read_table(books: Books, secret: bytes, before: LinkTable = EMPTY) -> LinkTable:
    """The catalogue of this moment; ``before`` itself where nothing changed since.

    Raises:
        Unavailable: the books cannot be read.
    """
    with books.reading() as connection:
        version = catalogue_version(connection)
        if version == before.version:
            return before
        return build_table(
            version=version,
            tenants=all_tenants(connection),
            programmes=all_programmes(connection),
            links=stream_links(connection),
            keys=all_key_hashes(connection),
            secret=secret,
            before=before,
        )
