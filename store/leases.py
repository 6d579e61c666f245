"""A lease in the books: of several processes, on whatever machines, exactly one has the turn. Statements, and their keeper.

No two machines' clocks are compared. The holder moves ``beats`` on again and again; whoever stands by takes over when the row
has not changed for :data:`LEASE_S` of its own clock. Taking begins a new ``term``, and a transaction that begins with
:meth:`Turn.fence` cannot commit once a newer one has begun: a holder that slept through its lease can do no more harm than
what it does outside the books.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
from sqlalchemy import Connection, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.clock import Clock
from core.errors import Unavailable
from store.books import Books
from store.schema import leases

LEASE_S = 5.0
"""How long the holder may be silent before another takes over."""

BEATS_A_LEASE = 5

_log = logging.getLogger("fairshare.lease")


class LeaseLost(Unavailable):
    """Another process has the turn now: nothing of the transaction counts."""


class Lease(msgspec.Struct, frozen=True):
    """The row: who holds it (empty: nobody), in which term, and how often it was renewed. ``renewed_at`` is for people."""

    owner: str
    term: int
    beats: int
    renewed_at: int


def find_lease(connection: Connection, name: str) -> Lease | None:
    """The lease as it stands; None where nobody ever took it."""
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None else Lease(row.owner, row.term, row.beats, row.renewed_at)


def take_lease(connection: Connection, name: str, owner: str, seen: Lease | None, at: int) -> Lease | None:
    """Begin a term, if the lease still is what was ``seen``; None where somebody was faster."""
    lease = Lease(owner, seen.term + 1 if seen else 1, 0, at)
    if seen is None:
        with suppress(IntegrityError), connection.begin_nested():
            connection.execute(insert(leases).values(name=name, **msgspec.structs.asdict(lease)))
            return lease
        return None
    table = leases.c
    unchanged = and_(table.name == name, table.term == seen.term, table.beats == seen.beats, table.owner == seen.owner)
    taken = connection.execute(update(leases).where(unchanged).values(**msgspec.structs.asdict(lease)))
    return lease if taken.rowcount == 1 else None


def renew_lease(connection: Connection, name: str, term: int, at: int) -> bool:
    """One beat more, and the row is locked until the transaction ends; false where the term is over."""
    mine = and_(leases.c.name == name, leases.c.term == term)
    return connection.execute(update(leases).where(mine).values(beats=leases.c.beats + 1, renewed_at=at)).rowcount == 1


def release_lease(connection: Connection, name: str, term: int) -> None:
    """End a term early, so that the next need not wait; nothing where it is over."""
    connection.execute(update(leases).where(and_(leases.c.name == name, leases.c.term == term)).values(owner="", beats=leases.c.beats + 1))


class Turn:
    """One process's part in a lease: takes it when it is free, and keeps it by a thread of its own until :meth:`close`."""

    def __init__(
        self,
        books: Books,
        name: str,
        owner: str,
        clock: Clock,
        lease_s: float = LEASE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``owner`` is this process's alone."""
        self._books = books
        self._name = name
        self._owner = owner
        self._clock = clock
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._term = 0
        self._renewed = 0.0
        self._seen: tuple[Lease | None, float] | None = None
        self._closed = threading.Event()
        self._beating: threading.Thread | None = None

    def take(self) -> bool:
        """True while this process has the turn; takes it where it is free, or its holder fell silent.

        Raises:
            Unavailable: the books do not answer.
        """
        if self.is_mine:
            return True
        self._term = 0
        with self._books.reading() as connection:
            found = find_lease(connection, self._name)
        now = self._monotonic()
        if self._seen is None or self._seen[0] != found:
            self._seen = (found, now)
        if found is not None and found.owner not in ("", self._owner) and now - self._seen[1] < self._lease_s:
            return False
        with self._books.writing() as connection:
            taken = take_lease(connection, self._name, self._owner, found, self._clock())
        if taken is None:
            return False
        self._renewed, self._term, self._seen = now, taken.term, None
        _log.info("%s has the turn (term %d)", self._owner, taken.term)
        self._begin_beating()
        return True

    @property
    def is_mine(self) -> bool:
        """False once another may have taken over: with half a lease left unrenewed, it is too late to begin anything."""
        return self._term > 0 and self._monotonic() - self._renewed < self._lease_s / 2

    def require(self) -> None:
        """Raises LeaseLost where nothing may be begun any more."""
        if not self.is_mine:
            raise LeaseLost(f"{self._owner} has lost its turn; another process goes on")

    def fence(self, connection: Connection) -> None:
        """Renew within a transaction, and make it fail where the term is over. Call it first: it takes turns with takers.

        Raises:
            LeaseLost: another process has begun a newer term.
        """
        asked = self._monotonic()
        if not self._term or not renew_lease(connection, self._name, self._term, self._clock()):
            self._term = 0
            raise LeaseLost(f"{self._owner} has lost its turn; another process goes on")
        self._renewed = asked

    def close(self) -> None:
        """Give the turn back; the next process takes it at once."""
        self._closed.set()
        if self._beating:
            self._beating.join()
        if self._term:
            with suppress(Unavailable), self._books.writing() as connection:
                release_lease(connection, self._name, self._term)
            self._term = 0

    def _begin_beating(self) -> None:
        if self._beating is None or not self._beating.is_alive():
            self._beating = threading.Thread(target=self._beat, name=f"lease-{self._name}", daemon=True)
            self._beating.start()

    def _beat(self) -> None:
        """Renew now and then: one insert may take longer than a lease. A failure is seen by its result: the turn ends."""
        while not self._closed.wait(self._lease_s / BEATS_A_LEASE):
            if self._term:
                try:
                    with suppress(Unavailable), self._books.writing() as connection:
                        self.fence(connection)
                except Exception:  # whatever a driver makes of a server that goes away: the next beat may succeed
                    _log.warning("%s could not renew its turn", self._owner, exc_info=True)
