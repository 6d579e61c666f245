"""The incremental run: look at what changed, decide it, store what came out differently. I/O: both stores, a log.

Cursors in the books say how far it came: ``attribution`` over what the events store holds, others over the catalogue, overrides and
reruns. They move after the decisions are stored, so a run that dies is simply done again, and changes nothing that it had already
stored. What a run decides does not depend on the size of its batches, on the number of its processes, or on what earlier runs saw.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from typing import TypeVar

import msgspec
import structlog

from attribution.batch import Decided, decided, decisions_of
from attribution.bulk import batches_by_id, batches_of_period, orders_by_hour
from attribution.changes import (
    NEVER,
    Changed,
    News,
    Period,
    Seen,
    Stored,
    changed_orders,
    later_orders,
    missed_keys,
    news_of,
    order_ids,
    shared_changes,
    stored_since,
)
from attribution.coalition import Fellows, fellows_of
from attribution.decisions import ORDERS_BY_ID, DecisionLog
from attribution.history import BondBook, ByKeys, as_orders, binds
from attribution.identity import known_to_both
from attribution.journey import Scene, batches_of_lines, batches_of_orders
from attribution.leads import changed_leads, leads_between, leads_stored_since, lines_of_leads, shared_lead_changes
from attribution.lookups import ALWAYS
from attribution.people import People
from attribution.policy import Terms, longest_lookback, terms_by_tenant
from attribution.touches import decode_orders
from attribution.workers import Alone, Crew, Deciders, Task, read_ahead
from core.clock import DAY, SECOND, Clock, Instant
from core.credit import Decision
from core.errors import Unavailable
from store.books import Books
from store.catalogue import catalogue_version, load_catalogue
from store.cursors import REREAD_MS, move_cursor, read_cursor
from store.events import EventsStore, parts_of, read_query
from store.leases import Turn
from store.overrides import overrides_since
from store.reruns import Rerun, reruns_since

FROZEN_ORDERS = read_query(__file__, "frozen_orders")

CURSOR = "attribution"
CATALOGUE_CURSOR = "attribution:catalogue"
OVERRIDES_CURSOR = "attribution:overrides"
RERUNS_CURSOR = "attribution:reruns"
LEASE = "attribution"
BATCH = 2_000
BULK_ORDERS = 20_000
"""From so many orders of a period on they are read in slices and decided by several processes."""
AHEAD = 96
"""Batches of a bulk run that are read before they are decided: some 200 MB."""
RETROACTIVE = 45 * DAY
"""A change of the catalogue is applied to orders placed within this time before it is noticed, and to no older ones."""
LONGEST_WAIT_S = 30.0
CAPPED_NAMED = 20
"""So many orders of a run of which candidates were left out are named in the log; the report counts them all."""

Progress = Callable[[int], None]
"""Told, after every batch, how many orders it held."""

Item = TypeVar("Item")

log = structlog.get_logger("attribution")


class RunReport(msgspec.Struct):
    """What one run did. ``looked_at`` counts orders, and leads that may earn, ``changed`` stored revisions, ``capped`` those with touches
    left out.
    """

    looked_at: int = 0
    changed: int = 0
    unchanged: int = 0
    capped: int = 0
    by_result: dict[str, int] = msgspec.field(default_factory=dict)
    complete: bool = True

    def count(self, tenant_id: str, done: Decided) -> None:
        """Add what became of one batch."""
        self.looked_at += done.looked_at
        self.changed += done.changed
        self.unchanged += done.looked_at - done.changed
        for result, orders in done.by_result.items():
            self.by_result[result] = self.by_result.get(result, 0) + orders
        for one in done.capped:
            self.capped += 1
            if self.capped <= CAPPED_NAMED:
                log.warning("candidates left out", tenant=tenant_id, order=one.order_id, left_out=one.left_out, cut=one.cut)


class Memory:
    """What a process keeps from run to run, to do less. Losing it costs time only.

    ``settled`` are the terms by which everything up to the cursors is decided, None in a new process. ``gained`` are keys whose person
    changed since then, by tenant. ``newest`` is when the last decision was stored: nobody else stores any while this process has the turn.
    """

    def __init__(self) -> None:
        self.seen = Seen()
        self.terms: dict[str, Terms] = {}
        self.terms_version = -1
        self.settled: dict[str, Terms] | None = None
        self.people: dict[str, People] = {}
        self.gained: dict[str, set[str]] = {}
        self.newest: Instant | None = None


class Way(msgspec.Struct, frozen=True):
    """How a run goes about it.

    Args:
        limit: orders per batch; each batch is decided and stored before the next is read.
        traces: False leaves the traces out of what is stored.
        processes: decide very many orders; with less than 2, this one does.
        secret: the installation's, by which affiliates that buy from themselves show.
    """

    limit: int = BATCH
    traces: bool = True
    processes: int = 0
    secret: bytes = b""


class Work(msgspec.Struct, frozen=True):
    """What there is to do: news by tenant, tenants whose terms changed, and what people asked for. ``first`` looks at every order."""

    position: Instant
    recent: list[Stored]
    news: dict[str, News]
    retold: tuple[str, ...]
    catalogue_version: int
    overridden: dict[str, frozenset[str]]
    overrides_number: int
    reruns: tuple[Rerun, ...]
    reruns_number: int

    @property
    def first(self) -> bool:
        return self.position == 0


class _Stopped(Exception):
    """The run was asked to end; the cursors stay."""


def run_once(
    events: EventsStore,
    books: Books,
    clock: Clock,
    limit: int = BATCH,
    progress: Progress | None = None,
    memory: Memory | None = None,
    stop: threading.Event | None = None,
    *,
    traces: bool = True,
    processes: int = 0,
    secret: bytes = b"",
    turn: Turn | None = None,
) -> RunReport:
    """Decide every order that changed since the last run.

    Args:
        limit: orders per batch; each batch is decided and stored before the next is read.
        memory: kept between the runs of one process, so that an idle run does nothing.
        stop: set, it ends the run after the current batch; the cursors stay, and the report is not ``complete``.
        traces: False leaves the traces out of what is stored.
        processes: decide very many orders; with less than 2, this one does.
        secret: the installation's, by which affiliates that buy from themselves show.
        turn: where given, nothing is stored once another process has the turn.

    Raises:
        Unavailable: a store cannot answer. What was decided before is stored; the next run goes on.
    """
    memory, way = memory or Memory(), Way(limit, traces, processes, secret)
    work = _work(events, books, memory, secret)
    run = _Run(events, books, clock, work, memory, way, progress or (lambda _orders: None), stop or threading.Event(), turn)
    try:
        run.decide()
    except _Stopped:
        run.report.complete = False
        return run.report
    _settle(books, work, memory, clock, turn)
    return run.report


def run_attribution(
    events: EventsStore,
    books: Books,
    clock: Clock,
    stop: threading.Event,
    every_ms: int = 500,
    *,
    processes: int = 0,
    secret: bytes = b"",
) -> None:
    """Run until ``stop`` is set, pausing ``every_ms`` between runs, longer while something fails. Never raises: it logs.

    Of several such processes one works, and the others stand by until it ends or falls silent.
    """
    memory, pause_s = Memory(), every_ms / SECOND
    wait_s = 0.0
    with closing(open_turn(books, clock)) as turn:
        while not stop.wait(wait_s):
            try:
                if not turn.take():
                    memory, wait_s = Memory(), pause_s  # what the other decides meanwhile is not in this one's memory
                    continue
                report = run_once(events, books, clock, memory=memory, stop=stop, processes=processes, secret=secret, turn=turn)
            except Unavailable as error:
                wait_s = min(LONGEST_WAIT_S, max(pause_s, wait_s * 2))
                log.warning("attribution waits", reason=str(error), retry_in_s=wait_s)
            except Exception:
                wait_s = min(LONGEST_WAIT_S, max(pause_s, wait_s * 2))
                log.exception("attribution failed; it will try again", retry_in_s=wait_s)
            else:
                wait_s = pause_s
                if report.changed:
                    log.info("orders decided", **msgspec.to_builtins(report))


def open_turn(books: Books, clock: Clock) -> Turn:
    """This process's part in deciding: one at a time does."""
    return Turn(books, LEASE, f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}", clock)


def decide_range(
    events: EventsStore,
    books: Books,
    tenant_id: str,
    from_at: Instant,
    to_at: Instant,
    terms: Terms,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    after: str = "",
    traces: bool = False,
    processes: int = 0,
) -> Iterator[list[Decision]]:
    """What a run would decide of a tenant's orders placed in ``[from_at, to_at)`` under ``terms``, by order id after ``after``.

    Nothing is written, and locks are left out: every order is decided. Where a policy of the terms ranks what binds customers, the
    orders from ``from_at`` on are decided one after the other first, whatever ``after`` says.

    Raises:
        Unavailable: a store cannot answer.
    """
    people = _people(events, tenant_id)
    fellows = Fellows({name: _people(events, name) for name in sorted(fellows_of(terms))})
    scene, last = Scene(events, books, terms, people, fellows), min(to_at - 1, ALWAYS)
    found = _bound_range(scene, from_at, last, after, traces) if binds(terms) else _range(scene, from_at, last, after, traces, processes)
    for decisions in found:
        if stop is not None and stop.is_set():
            return
        if decisions:
            yield decisions
        if progress is not None:
            progress(len(decisions))


def _people(events: EventsStore, tenant_id: str) -> People:
    people = People(events, tenant_id)
    people.refresh()
    return people


def _range(scene: Scene, from_at: Instant, to_at: Instant, after: str, traces: bool, processes: int) -> Iterator[list[Decision]]:
    with ExitStack() as stack:
        deciders: Deciders = stack.enter_context(Crew(processes)) if processes > 1 else Alone()
        deciders.begin(Task(scene.terms, 0, traces, stored=False))
        batches = batches_by_id(scene, from_at, to_at, after)
        for batch in stack.enter_context(closing(read_ahead(batches, AHEAD))) if processes > 1 else batches:
            yield from (answer for answer in deciders.give(batch) if isinstance(answer, list))
        yield from (answer for answer in deciders.rest() if isinstance(answer, list))


def _bound_range(scene: Scene, from_at: Instant, to_at: Instant, after: str, traces: bool) -> Iterator[list[Decision]]:
    """Bonds follow from earlier decisions: all of the range in the order of time, then those that are wanted by id."""
    bonds, earlier = BondBook(scene.events, scene.tenant_id), ByKeys(scene.events, scene.people)
    found: list[Decision] = []
    lines = _lines_in_time(scene, order_ids(scene.events, scene.tenant_id, from_at, to_at))
    for part in _parts(lines, BATCH):
        for batch in batches_of_lines(scene, part, earlier):
            _open_bonds(scene, bonds, batch.orders, earlier)
            found += [one for one in decisions_of(batch, scene.terms, traces, bonds) if one.order_id > after]
    found.sort(key=lambda one: one.order_id)
    yield from _parts(found, BATCH)


# --- what there is to do ---------------------------------------------------------------------------------------------


def _work(events: EventsStore, books: Books, memory: Memory, secret: bytes) -> Work:
    with books.reading() as connection:
        position = read_cursor(connection, CURSOR)
        known_version = read_cursor(connection, CATALOGUE_CURSOR)
        version = catalogue_version(connection)
        overrides = overrides_since(connection, read_cursor(connection, OVERRIDES_CURSOR))
        reruns = reruns_since(connection, read_cursor(connection, RERUNS_CURSOR))
    if version != memory.terms_version:
        _read_terms(books, memory, secret)
    retold = _retold(memory) if memory.terms_version > known_version and position else ()
    paying = sorted(tenant_id for tenant_id, terms in memory.terms.items() if terms.leads_from is not None)
    since = _first_second(position)
    recent = stored_since(events, since) + leads_stored_since(events, paying, since)
    overridden: dict[str, frozenset[str]] = {}
    for _, tenant_id, order_id in overrides:
        overridden[tenant_id] = overridden.get(tenant_id, frozenset()) | {order_id}
    return Work(
        position=position,
        recent=recent,
        news=news_of(memory.seen.unseen(recent)),
        retold=retold,
        catalogue_version=memory.terms_version,
        overridden=overridden,
        overrides_number=max((number for number, _, _ in overrides), default=0),
        reruns=tuple(reruns),
        reruns_number=max((rerun.number for rerun in reruns), default=0),
    )


def _read_terms(books: Books, memory: Memory, secret: bytes) -> None:
    """The terms and their version, from the same moment: a change in between would otherwise go unnoticed."""
    while True:
        with books.reading() as connection:
            version = catalogue_version(connection)
            terms = terms_by_tenant(load_catalogue(connection), secret)
            if catalogue_version(connection) == version:
                memory.terms, memory.terms_version = terms, version
                return


def _retold(memory: Memory) -> tuple[str, ...]:
    """The tenants whose terms are not what they were; all of them where that is not known."""
    before = memory.settled or {}
    return tuple(sorted(tenant_id for tenant_id, terms in memory.terms.items() if before.get(tenant_id) != terms))


def _first_second(position: Instant) -> Instant:
    return max(0, position - REREAD_MS) // SECOND * SECOND


def _parts(items: Iterable[Item], limit: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while part := list(islice(remaining, limit)):
        yield part


def _settle(books: Books, work: Work, memory: Memory, clock: Clock, turn: Turn | None) -> None:
    """Everything is stored: move the cursors, where there is anywhere to move them."""
    position = max([work.position, *(one.newest for one in work.recent)])
    wanted = {
        CURSOR: position,
        CATALOGUE_CURSOR: work.catalogue_version,
        OVERRIDES_CURSOR: work.overrides_number,
        RERUNS_CURSOR: work.reruns_number,
    }
    with books.reading() as connection:
        behind = {name: target for name, target in wanted.items() if read_cursor(connection, name) < target}
    if behind:
        with books.writing() as connection:
            if turn is not None:
                turn.fence(connection)
            for name, target in behind.items():
                move_cursor(connection, name, target, clock())
    memory.seen.remember(work.recent, position)
    memory.settled = memory.terms
    memory.gained.clear()


# --- deciding --------------------------------------------------------------------------------------------------------


class _Run:
    """One run: what it found to do, tenant by tenant, and what came of it."""

    def __init__(
        self,
        events: EventsStore,
        books: Books,
        clock: Clock,
        work: Work,
        memory: Memory,
        way: Way,
        progress: Progress,
        stop: threading.Event,
        turn: Turn | None,
    ) -> None:
        self._events, self._books, self._clock = events, books, clock
        self._work, self._memory, self._way = work, memory, way
        self._progress, self._stop = progress, stop
        self._log = DecisionLog(events, turn.require, memory.newest) if turn is not None else DecisionLog(events)
        memory.newest = None  # until the run has come to its end
        self.report = RunReport()

    def decide(self) -> None:
        """Everything that there is to do, tenant by tenant."""
        work = self._work
        asked = {*work.retold, *work.overridden, *(rerun.tenant_id for rerun in work.reruns)}
        sharing = {name for name, terms in self._memory.terms.items() if work.news.keys() & fellows_of(terms)}
        tenants = sorted(work.news.keys() | asked | sharing | self._memory.gained.keys())
        scenes = {tenant_id: self._scene(tenant_id) for tenant_id in tenants}
        for scene in scenes.values():
            earlier = ByKeys(self._events, scene.people)
            changed = self._changed(scene, earlier)
            if binds(scene.terms):
                self._decide_in_time(scene, earlier, changed)
            else:
                self._decide_apart(scene, earlier, changed)
            if scene.terms.leads_from is not None:
                self._decide_leads(scene, earlier, self._changed_leads(scene, changed), scene.terms.leads_from)
        self._memory.newest = self._log.newest

    def _scene(self, tenant_id: str) -> Scene:
        terms = self._memory.terms.get(tenant_id) or Terms(tenant_id)
        fellows = Fellows({name: self._refreshed(name) for name in sorted(fellows_of(terms))})
        frozen = frozenset(order_id for (order_id,) in self._events.select(FROZEN_ORDERS, tenant_id=tenant_id))
        return Scene(self._events, self._books, terms, self._refreshed(tenant_id), fellows, frozen)

    def _refreshed(self, tenant_id: str) -> People:
        """A tenant's people as they are now; what changed among them is kept until the run is complete."""
        memory, gained = self._memory, self._memory.gained.setdefault(tenant_id, set())
        people = memory.people.get(tenant_id)
        if people is not None:
            gained |= people.refresh()
            return people
        people = _people(self._events, tenant_id)
        if not self._work.first:
            gained |= missed_keys(self._events, people, _first_second(self._work.position))
        memory.people[tenant_id] = people
        return people

    def _changed(self, scene: Scene, earlier: ByKeys) -> Changed:
        """The orders to decide: what the news may change, what changed terms may change, and what people asked for."""
        work, tenant_id = self._work, scene.tenant_id
        if work.first:
            return Changed(periods=((NEVER, ALWAYS),))
        lookback, gained = longest_lookback(scene.terms), self._memory.gained
        changed = changed_orders(scene, earlier, work.news.get(tenant_id), gained.get(tenant_id, set()), lookback)
        for name, fellow in scene.fellows.people.items():
            changed |= shared_changes(scene, fellow, work.news.get(name), gained.get(name, set()), lookback)
        changed |= Changed(work.overridden.get(tenant_id, frozenset()))
        changed |= Changed(periods=tuple((one.from_at, min(one.to_at - 1, ALWAYS)) for one in work.reruns if one.tenant_id == tenant_id))
        if tenant_id in work.retold:
            changed |= Changed(periods=((max(NEVER, self._clock() - RETROACTIVE), ALWAYS),))
        return changed

    def _changed_leads(self, scene: Scene, orders: Changed) -> Changed:
        """The leads to decide, after the orders: what these bound their persons to is known by then."""
        work, tenant_id = self._work, scene.tenant_id
        if work.first:
            return Changed(periods=((NEVER, ALWAYS),))
        lookback, gained = longest_lookback(scene.terms), set(self._memory.gained.get(tenant_id, set()))
        for name, fellow in scene.fellows.people.items():
            gained |= known_to_both(fellow.known_with(self._memory.gained.get(name, set())))
        changed = changed_leads(scene, orders, work.news.get(tenant_id), gained, lookback)
        for name, fellow in scene.fellows.people.items():
            changed |= shared_lead_changes(scene, fellow, work.news.get(name), lookback)
        return changed

    def _decide_leads(self, scene: Scene, earlier: ByKeys, changed: Changed, leads_from: Instant) -> None:
        """Leads matter to nothing that comes later: many at a time, in any order."""
        names = set(changed.order_ids)
        bound = binds(scene.terms)  # then a period's orders matter to whatever comes after it
        for from_at, to_at in joined(changed.periods):
            names.update(leads_between(self._events, scene.tenant_id, max(from_at, leads_from), ALWAYS if bound else to_at))
        bonds = BondBook(self._events, scene.tenant_id) if bound else None
        for part in _parts(sorted(names), self._way.limit):
            self._go_on()
            for batch in batches_of_lines(scene, lines_of_leads(self._events, scene.tenant_id, part, leads_from), earlier):
                if bonds is not None:
                    _open_bonds(scene, bonds, batch.orders, earlier)
                self._store(scene, [decided(batch, scene.terms, self._clock(), self._way.traces, bonds)])
            self._progress(len(part))

    def _decide_apart(self, scene: Scene, earlier: ByKeys, changed: Changed) -> None:
        """No order's decision matters to another's: many at a time, in any order."""
        done: set[str] = set()
        for from_at, to_at in joined(changed.periods):
            if sum(orders for _, orders in orders_by_hour(self._events, scene.tenant_id, from_at, to_at)) > BULK_ORDERS:
                self._decide_bulk(scene, from_at, to_at)
                continue
            ids = [one for one in order_ids(self._events, scene.tenant_id, from_at, to_at) if one not in done]
            self._decide_few(scene, earlier, ids)
            done.update(ids)
        self._decide_few(scene, earlier, sorted(changed.order_ids - done))

    def _decide_few(self, scene: Scene, earlier: ByKeys, ids: Sequence[str]) -> None:
        for part in _parts(ids, self._way.limit):
            self._go_on()
            for batch in batches_of_orders(scene, part, earlier):
                self._store(scene, [decided(batch, scene.terms, self._clock(), self._way.traces)])
            self._progress(len(part))

    def _decide_bulk(self, scene: Scene, from_at: Instant, to_at: Instant) -> None:
        with ExitStack() as stack:
            several = self._way.processes > 1
            deciders: Deciders = stack.enter_context(Crew(self._way.processes)) if several else Alone()
            deciders.begin(Task(scene.terms, self._clock(), self._way.traces))
            batches = batches_of_period(scene, from_at, to_at)
            waiting: list[Decided] = []
            for batch in stack.enter_context(closing(read_ahead(batches, AHEAD))) if several else batches:
                self._go_on()
                for answer in deciders.give(batch):
                    waiting = self._collect(scene, waiting, answer)
            for answer in deciders.rest():
                waiting = self._collect(scene, waiting, answer)
            self._store(scene, waiting)

    def _collect(self, scene: Scene, waiting: list[Decided], answer: Decided | list[Decision]) -> list[Decided]:
        """Store decisions by the ten thousand: each insert costs a sync or two."""
        assert isinstance(answer, Decided)
        waiting.append(answer)
        self._progress(answer.orders)
        if sum(len(block.columns) for one in waiting for block in one.blocks) < STORE_BYTES:
            return waiting
        self._store(scene, waiting)
        return []

    def _decide_in_time(self, scene: Scene, earlier: ByKeys, changed: Changed) -> None:
        """What a customer's earlier order bound it to follows from that order's decision: one after the other."""
        ids = set(changed.order_ids)
        for from_at, _ in joined(changed.periods):
            ids.update(order_ids(self._events, scene.tenant_id, from_at, ALWAYS))
        if not changed.periods or changed.order_ids:
            ids |= later_orders(scene, earlier, changed.order_ids)
        bonds = BondBook(self._events, scene.tenant_id)
        for part in _parts(_lines_in_time(scene, ids), self._way.limit):
            self._go_on()
            for batch in batches_of_lines(scene, part, earlier):
                _open_bonds(scene, bonds, batch.orders, earlier)
                self._store(scene, [decided(batch, scene.terms, self._clock(), self._way.traces, bonds)])
            self._progress(len(part))

    def _store(self, scene: Scene, done: Sequence[Decided]) -> None:
        self._log.append_blocks((block for one in done for block in one.blocks), self._clock())
        for one in done:
            self.report.count(scene.tenant_id, one)

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise _Stopped


STORE_BYTES = 24 * 1024 * 1024
"""Decisions of a bulk run wait until they are so many."""


def joined(periods: Iterable[Period]) -> list[Period]:
    """The same time, in periods that do not meet, oldest first.

    >>> joined([(5, 9), (1, 6), (20, 30)])
    [(1, 9), (20, 30)]
    """
    found: list[Period] = []
    for from_at, to_at in sorted(periods):
        if found and from_at <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], to_at)
        else:
            found.append((from_at, to_at))
    return found


def _lines_in_time(scene: Scene, ids: Iterable[str]) -> list[bytes]:
    """These orders as the store gives them, in the order of time."""
    found: list[tuple[Instant, str, bytes]] = []
    for part in parts_of(ids):
        lines = scene.events.select_bytes(ORDERS_BY_ID, tenant_id=scene.tenant_id, order_ids=part).splitlines()
        found += [(row.occurred_at, row.event_id, line) for line in lines for row in decode_orders(line)]
    return [line for _, _, line in sorted(found)]


def _open_bonds(scene: Scene, bonds: BondBook, orders: bytes, earlier: ByKeys) -> None:
    rows = decode_orders(orders)
    bonds.open(rows, scene.people.persons_of(as_orders(rows)), earlier)
