"""The incremental run: look at what changed, decide it, store what came out differently. I/O: both stores, a log.

Two cursors in the books say how far it came: ``attribution`` over what the events store holds, ``attribution:catalogue``
over the catalogue. They move after the decisions are stored, so a run that dies is simply done again, and changes nothing
that it had already stored. What a run decides does not depend on the size of its batches or on what earlier runs saw.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import msgspec
import structlog

from attribution.changes import NEVER, News, Seen, Stored, changed_orders, news_of, order_ids, stored_since
from attribution.decide import decide
from attribution.decisions import DecisionLog, Revision, read_in_force, read_orders, revision_of
from attribution.journey import ALWAYS, Acquaintances, Journey, find_journeys
from attribution.policy import Terms, longest_lookback, policy_for, terms_by_tenant
from core.clock import DAY, SECOND, Clock, Instant
from core.credit import Decision
from core.errors import Unavailable
from core.events import Order
from store.books import Books
from store.catalogue import catalogue_version, load_catalogue
from store.cursors import REREAD_MS, move_cursor, read_cursor
from store.events import EventsStore

CURSOR = "attribution"
CATALOGUE_CURSOR = "attribution:catalogue"
BATCH = 2_000
RETROACTIVE = 45 * DAY
"""A change of the catalogue is applied to orders placed within this time before it is noticed, and to no older ones."""
LONGEST_WAIT_S = 30.0

Progress = Callable[[int], None]
"""Told, after every batch, how many orders it held."""

log = structlog.get_logger("attribution")


class RunReport(msgspec.Struct):
    """What one run did. ``looked_at`` counts orders, ``changed`` stored revisions, ``capped`` orders with touches left out."""

    looked_at: int = 0
    changed: int = 0
    unchanged: int = 0
    capped: int = 0
    by_result: dict[str, int] = msgspec.field(default_factory=dict)
    complete: bool = True


class Memory:
    """What a process keeps from run to run, to do less. Losing it costs time only.

    ``settled`` are the terms by which everything up to the cursors is decided, None in a new process.
    """

    def __init__(self) -> None:
        self.seen = Seen()
        self.terms: dict[str, Terms] = {}
        self.terms_version = -1
        self.settled: dict[str, Terms] | None = None


class Work(msgspec.Struct, frozen=True):
    """What there is to do: news by tenant, and tenants whose terms changed. ``first`` looks at every order there is."""

    position: Instant
    recent: list[Stored]
    news: dict[str, News]
    retold: tuple[str, ...]
    catalogue_version: int

    @property
    def first(self) -> bool:
        return self.position == 0


def run_once(
    events: EventsStore,
    books: Books,
    clock: Clock,
    limit: int = BATCH,
    progress: Progress | None = None,
    memory: Memory | None = None,
    stop: threading.Event | None = None,
) -> RunReport:
    """Decide every order that changed since the last run.

    Args:
        limit: orders per batch; each batch is decided and stored before the next is read.
        memory: kept between the runs of one process, so that an idle run does nothing.
        stop: set, it ends the run after the current batch; the cursors stay, and the report is not ``complete``.

    Raises:
        Unavailable: a store cannot answer. What was decided before is stored; the next run goes on.
    """
    memory = memory or Memory()
    work = _work(events, books, memory)
    report, decisions = RunReport(), DecisionLog(events)
    for tenant_id in sorted(work.news.keys() | set(work.retold)):
        tenant = _tenant_run(events, work, memory.terms.get(tenant_id) or Terms(tenant_id))
        for batch in _batches(tenant.order_ids(work, clock()), limit):
            if stop is not None and stop.is_set():
                report.complete = False
                return report
            for revisions in tenant.decide(batch, report):
                decisions.append(revisions, clock())
            if progress is not None:
                progress(len(batch))
    _settle(books, work, memory, clock)
    return report


def run_attribution(events: EventsStore, books: Books, clock: Clock, stop: threading.Event, every_ms: int = 500) -> None:
    """Run until ``stop`` is set, pausing ``every_ms`` between runs, longer while something fails. Never raises: it logs."""
    memory, pause_s = Memory(), every_ms / SECOND
    wait_s = 0.0
    while not stop.wait(wait_s):
        try:
            report = run_once(events, books, clock, memory=memory, stop=stop)
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


# --- what there is to do ---------------------------------------------------------------------------------------------


def _work(events: EventsStore, books: Books, memory: Memory) -> Work:
    with books.reading() as connection:
        position = read_cursor(connection, CURSOR)
        known_version = read_cursor(connection, CATALOGUE_CURSOR)
        version = catalogue_version(connection)
    if version != memory.terms_version:
        _read_terms(books, memory)
    retold = _retold(memory) if memory.terms_version > known_version and position else ()
    recent = stored_since(events, _first_second(position))
    return Work(position, recent, news_of(memory.seen.unseen(recent)), retold, memory.terms_version)


def _read_terms(books: Books, memory: Memory) -> None:
    """The terms and their version, from the same moment: a change in between would otherwise go unnoticed."""
    while True:
        with books.reading() as connection:
            version = catalogue_version(connection)
            terms = terms_by_tenant(load_catalogue(connection))
            if catalogue_version(connection) == version:
                memory.terms, memory.terms_version = terms, version
                return


def _retold(memory: Memory) -> tuple[str, ...]:
    """The tenants whose terms are not what they were; all of them where that is not known."""
    before = memory.settled or {}
    return tuple(sorted(tenant_id for tenant_id, terms in memory.terms.items() if before.get(tenant_id) != terms))


def _first_second(position: Instant) -> Instant:
    return max(0, position - REREAD_MS) // SECOND * SECOND


def _batches(order_ids: Iterable[str], limit: int) -> Iterator[list[str]]:
    remaining = iter(order_ids)
    while batch := list(islice(remaining, limit)):
        yield batch


def _settle(books: Books, work: Work, memory: Memory, clock: Clock) -> None:
    """Everything is stored: move the cursors, where there is anywhere to move them."""
    position = max([work.position, *(one.newest for one in work.recent)])
    with books.reading() as connection:
        behind = read_cursor(connection, CURSOR) < position or read_cursor(connection, CATALOGUE_CURSOR) < work.catalogue_version
    if behind:
        with books.writing() as connection:
            move_cursor(connection, CURSOR, position, clock())
            move_cursor(connection, CATALOGUE_CURSOR, work.catalogue_version, clock())
    memory.seen.remember(work.recent, position)
    memory.settled = memory.terms


# --- deciding --------------------------------------------------------------------------------------------------------


class TenantRun(msgspec.Struct, frozen=True):
    """One tenant's part of a run: its terms, its news, and what the run has learnt of its keys."""

    events: EventsStore
    terms: Terms
    news: News | None
    acquaintances: Acquaintances

    def order_ids(self, work: Work, at: Instant) -> Iterator[str]:
        """The orders to decide, each once: what the news may change, then what changed terms may change."""
        tenant_id = self.terms.tenant_id
        if work.first:
            yield from order_ids(self.events, tenant_id, NEVER, ALWAYS)
            return
        changed: set[str] = set()
        if self.news is not None:
            changed = changed_orders(self.events, self.news, longest_lookback(self.terms), self.acquaintances)
        yield from sorted(changed)
        if tenant_id in work.retold:
            retold = order_ids(self.events, tenant_id, at - RETROACTIVE, ALWAYS)
            yield from (order_id for order_id in retold if order_id not in changed)

    def decide(self, batch: Sequence[str], report: RunReport) -> Iterator[list[Revision]]:
        """What is to be stored of a batch, in as many parts as its memory takes."""
        orders = read_orders(self.events, self.terms.tenant_id, batch)
        in_force = read_in_force(self.events, self.terms.tenant_id, batch)
        for journeys in self._journeys(orders):
            revisions: list[Revision] = []
            for order, journey in journeys:
                decision = self._decision(order, journey)
                revision = revision_of(decision, order.occurred_at, in_force.get(order.order_id))
                _count(report, decision, revision, journey)
                if revision is not None:
                    revisions.append(revision)
            yield revisions

    def _journeys(self, orders: Sequence[Order]) -> Iterator[list[tuple[Order, Journey]]]:
        """The orders with their journeys: together, or in halves where that would take too much memory."""
        journeys = find_journeys(self.events, self.terms, orders, self.acquaintances)
        if journeys is not None:
            yield [(order, journeys[order.order_id]) for order in orders]
            return
        half = len(orders) // 2
        yield from self._journeys(orders[:half])
        yield from self._journeys(orders[half:])

    def _decision(self, order: Order, journey: Journey) -> Decision:
        policy = policy_for(self.terms, order)
        memberships = self.terms.memberships.get(policy.programme_id, {}) if policy else {}
        return decide(order, journey.candidates, policy, memberships, self.terms.coupons)


def _tenant_run(events: EventsStore, work: Work, terms: Terms) -> TenantRun:
    news = work.news.get(terms.tenant_id)
    earlier_than = ALWAYS if news is None or work.first else news.since
    return TenantRun(events, terms, news, Acquaintances(events, terms.tenant_id, earlier_than))


def _count(report: RunReport, decision: Decision, revision: Revision | None, journey: Journey) -> None:
    report.looked_at += 1
    report.changed += revision is not None
    report.unchanged += revision is None
    report.by_result[decision.result] = report.by_result.get(decision.result, 0) + 1
    if journey.left_out or journey.cut:
        report.capped += 1
        log.warning("candidates left out", tenant=decision.tenant_id, order=decision.order_id, left_out=journey.left_out, cut=journey.cut)
