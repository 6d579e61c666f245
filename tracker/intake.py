"""The drain of an installation whose queue is Redis: from the streams into the events store, every record once. Plainly I/O.

It may run on any number of machines; a lease in the books gives one of them the turn. A step: see what stands in each
spool's stream behind the place that the books say is stored; note there where the new ranges end; insert them; note there
that they are stored; delete them from Redis. A crash between any two of these repeats an insert at most: whoever goes on
takes the same bounds, so the same tokens, and the store drops the repetition.
"""

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from types import TracebackType
from typing import cast

import msgspec

from core.clock import Clock
from core.errors import InUse
from core.settings import Settings
from store.books import Books
from store.events import EventsStore
from store.leases import LEASE_S, LeaseLost, Turn
from store.spools import Progress, Step, move_spool, plan_step, read_spools
from tracker.country import open_countries
from tracker.drain import Drain, DrainReport
from tracker.loading import Loader, Range, Record, Stored
from tracker.manifest import Manifest
from tracker.spool import Damage, unframe
from tracker.stream import RANGE_BYTES, RANGE_RECORDS, Entry, Piece, Streams, join, key_of, stream_id

LEASE = "drain"
PAGE_ENTRIES = 16
ROUND_BYTES = 2 * RANGE_BYTES
"""What one step holds in memory, over all spools: about this, and one range more."""

_log = logging.getLogger("fairshare.drain")


class Counts(msgspec.Struct):
    """Since the process started: entries that were not ours, and streams that had a gap. Both were deleted; the spools
    still have what is missing."""

    strange: int = 0
    gaps: int = 0


class Round(msgspec.Struct, frozen=True):
    """One range of one spool, and what it becomes."""

    found: Range
    manifest: Manifest
    step: Step


class Intake:
    """One of the drains of an installation, at work or standing by. ``counts`` says what it could not use."""

    def __init__(self, settings: Settings, books: Books, events: EventsStore, clock: Clock, lease_s: float = LEASE_S) -> None:
        """
        Raises:
            SettingsError: the queue's URL cannot be used.
        """
        self._books = books
        self._clock = clock
        self._streams = Streams(settings.queue)
        self._turn = Turn(books, LEASE, f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}", clock, lease_s)
        self._countries = open_countries(settings)
        self._loader = Loader(cast(EventsStore, OnlyInTurn(events, self._turn)), self._countries.country_of, clock)
        self._first = 0
        self.counts = Counts()

    def __enter__(self) -> "Intake":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let another drain take over at once."""
        self._turn.close()
        self._streams.close()
        self._countries.close()

    def step(self, limit: int = RANGE_RECORDS) -> DrainReport:
        """Store about ``limit`` records of each spool, while it is this process's turn; what was begun comes first.

        Raises:
            Unavailable: Redis, the books or the events store cannot take it now. Nothing was skipped.
            LeaseLost: another drain goes on; what was begun is stored there.
        """
        if not self._turn.take():
            return DrainReport()
        with self._books.reading() as connection:
            spools = read_spools(connection)
        for spool in spools:
            self._loader.resume_after(max(spool.stored_at, spool.planned_stored_at))
        waiting = self._waiting(spools)
        rounds = [self._prepare(spool, piece) for spool, piece in self._collect(waiting, limit)]
        if rounds:
            self._plan(rounds)
        report = DrainReport()
        for one in rounds:
            report += report_of(one, self._loader.store(one.manifest, records_of(one.found).__getitem__))
        if rounds:
            self._move(rounds)
        self._forget(waiting, rounds)
        return report + DrainReport(pending_bytes=self._pending(waiting) if rounds else 0)

    def await_turn(self, patience_s: float = LEASE_S + 1) -> None:
        """Return once it is this process's turn; a drain that was killed is succeeded after its lease.

        Raises:
            InUse: another drain is at work.
        """
        deadline = time.monotonic() + patience_s
        while not self._turn.take():
            if time.monotonic() > deadline:
                raise InUse("another drain of this installation is at work; this one would stand by")
            time.sleep(0.1)

    # --- what is there

    def _waiting(self, spools: Sequence[Progress]) -> list[Progress]:
        """The spools whose streams hold anything; those with an unfinished range first, the others by turns."""
        lengths = self._streams.lengths([_key(spool) for spool in spools])
        waiting = [spool for spool, length in zip(spools, lengths, strict=True) if length]
        self._first += 1
        turned = waiting[self._first % len(waiting) :] + waiting[: self._first % len(waiting)] if waiting else []
        return sorted(turned, key=lambda spool: spool.plan <= spool.place)

    def _collect(self, spools: Sequence[Progress], limit: int) -> Iterator[tuple[Progress, Piece]]:
        size = 0
        for spool in spools:
            if size >= ROUND_BYTES:
                return
            piece = join(spool.place, self._entries(spool), spool.plan, limit)
            if piece == "gap":
                self._turn.require()
                self._streams.drop(_key(spool))
                self.counts.gaps += 1
                _log.warning("the stream of %s had a gap and was dropped; its relay sends it again", spool.spool_id)
            elif piece is not None:
                size += len(piece.lines)
                yield spool, piece

    def _entries(self, spool: Progress) -> Iterator[Entry]:
        """What stands in a stream behind the spool's place, a page at a time; what is not ours is deleted."""
        last = stream_id(spool.place)
        while page := self._streams.read(_key(spool), last, PAGE_ENTRIES):
            last = page[-1][0]
            if strange := [name for name, entry in page if entry is None]:
                self._streams.remove(_key(spool), strange)
                self.counts.strange += len(strange)
                _log.warning("%d entries in the stream of %s were not a relay's; they were deleted", len(strange), spool.spool_id)
            yield from (entry for _, entry in page if entry is not None)

    def _prepare(self, spool: Progress, piece: Piece) -> Round:
        segment, end = piece.end
        found = Range(spool.spool_id, segment, piece.start, end, read_lines(piece))
        manifest = self._loader.prepare(found, spool.received_at)
        return Round(found, manifest, Step(spool, piece.end, manifest.stored_at, manifest.received_at))

    # --- what becomes of it

    def _plan(self, rounds: Sequence[Round]) -> None:
        with self._books.writing() as connection:
            self._turn.fence(connection)
            for one in rounds:
                if not plan_step(connection, one.step):
                    raise LeaseLost(f"the spool {one.found.spool_id} was moved by another hand; looking again")

    def _move(self, rounds: Sequence[Round]) -> None:
        with self._books.writing() as connection:
            self._turn.fence(connection)
            for one in rounds:
                if not move_spool(connection, one.step, self._clock()):
                    raise LeaseLost(f"the spool {one.found.spool_id} was moved by another hand; looking again")

    def _forget(self, spools: Sequence[Progress], rounds: Sequence[Round]) -> None:
        ends = {_key(spool): spool.place for spool in spools} | {_key(one.step.was): one.step.end for one in rounds}
        if ends:
            self._streams.forget(ends.items())

    def _pending(self, spools: Sequence[Progress]) -> int:
        return self._streams.bytes_in([_key(spool) for spool in spools])


class OnlyInTurn:
    """The events store, as far as a loader needs it, closed to a process whose turn may be over."""

    def __init__(self, events: EventsStore, turn: Turn) -> None:
        self._events = events
        self._turn = turn

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        self._turn.require()
        self._events.insert_json(table, lines, token)


def read_lines(piece: Piece) -> list[Record]:
    """The records of whole lines, each with the place where it stands in its segment."""
    records: list[Record] = []
    at = piece.start
    for line in BytesIO(piece.lines):  # not splitlines: a damaged record may hold other line ends
        records.append((at, at + len(line), unframe(line)))
        at += len(line)
    return records


def records_of(found: Range) -> dict[int, bytes | Damage]:
    return {position: record for position, _, record in found.records}


def report_of(one: Round, stored: Stored) -> DrainReport:
    return DrainReport(one.manifest.records, stored.rows, one.manifest.bad + stored.refused, blocks=len(one.manifest.blocks))


def _key(spool: Progress) -> str:
    return key_of(spool.spool_id, spool.identity)


def open_drain(settings: Settings, books: Books, events: EventsStore, clock: Clock) -> Drain | Intake:
    """The drain that the queue asks for."""
    return Intake(settings, books, events, clock) if settings.has_redis_queue else Drain(settings, events, clock)
