"""The parts of the route run apart (``fairshare drain``, ``attribute``, ``portal``), and their ``--once`` forms.

Where an engine runs, it already drains, decides and books by itself: ``--once`` then waits until it has caught up.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import msgspec

from attribution.changes import stored_since
from attribution.run import CATALOGUE_CURSOR, CURSOR, RunReport, open_turn, run_attribution, run_once
from attribution.workers import processes_for
from core.clock import system_clock
from core.errors import InUse, Unavailable
from core.settings import Settings
from fairshare.books import opened_books, require_installation
from fairshare.child import until_signal
from fairshare.engine import serve_portal
from fairshare.ledgers import anchors_of
from fairshare.output import Advance, log_to_stderr
from fairshare.stores import opened_events
from payouts.accrue import DECISIONS, REFUNDS, AccrualReport, accrue_once, run_accrual
from payouts.anchors import run_anchoring
from payouts.facts import NOTHING_YET, read_changes
from payouts.holds import release_due
from payouts.traffic_accrual import accrue_traffic
from store.books import Books
from store.catalogue import catalogue_version
from store.cursors import REREAD_MS, read_cursor
from store.events import EventsStore, open_events
from store.installation import installation_secret, lock_data
from store.leases import LEASE_S, Turn
from tracker.drain import DrainReport, run_drain
from tracker.intake import Intake, open_drain

CATCH_UP_WITHIN_S = 60.0
MOST_CHANGES = 1_000_000


class AttributeReport(msgspec.Struct, frozen=True):
    """What ``attribute --once`` did. ``by_engine``: a running engine had done it, or did it while we waited."""

    decided: RunReport
    booked: AccrualReport
    by_engine: bool = False


def drain_once(settings: Settings, advance: Advance) -> DrainReport:
    """Store everything that the spool holds now; with a Redis queue, what relays have sent.

    Raises:
        InUse: the running engine drains, or another drain does; one works at a time.
    """
    with _alone(settings) as (books, events), open_drain(settings, books, events, system_clock) as drain:
        if isinstance(drain, Intake):
            drain.await_turn()
        total = step = drain.step()
        while step.records:
            advance(total.records, 0)
            step = drain.step()
            total = msgspec.structs.replace(total + step, pending_bytes=step.pending_bytes)
        return total


def attribute_once(settings: Settings, advance: Advance) -> AttributeReport:
    """Decide what changed, book the difference, release due holds."""
    try:
        with _alone(settings) as (books, events):
            decided = _decide_once(settings, books, events, advance)
            counted = accrue_traffic(events, books, system_clock)
            booked = accrue_once(events, books, system_clock, progress=lambda done: advance(done, 0))
            booked += AccrualReport(rows=counted.rows, problems=counted.problems)
            release_due(books, system_clock())
            return AttributeReport(decided, booked)
    except InUse:
        _wait_for_engine(settings)
        return AttributeReport(RunReport(), AccrualReport(), by_engine=True)


def _decide_once(settings: Settings, books: Books, events: EventsStore, advance: Advance) -> RunReport:
    """When it is our turn.

    Raises:
        InUse: another ``fairshare attribute`` decides.
    """
    processes, secret = processes_for(settings.attribution_processes), installation_secret(settings)
    with closing(open_turn(books, system_clock)) as turn:
        _take_turn(turn)
        return run_once(events, books, system_clock, progress=_counting(advance), processes=processes, secret=secret, turn=turn)


def _take_turn(turn: Turn) -> None:
    """A holder that died is silent; one that works is not, and has done everything soon."""
    deadline = time.monotonic() + 2 * LEASE_S
    while not turn.take():
        if time.monotonic() > deadline:
            raise InUse("another fairshare attribute decides orders already; one works at a time, and what is stored is decided there")
        time.sleep(0.1)


def attribution_as_text(report: AttributeReport) -> str:
    """One line for people."""
    if report.by_engine:
        return "the running engine has decided everything that is stored"
    decided, booked = report.decided, report.booked
    line = f"{decided.looked_at:,} orders looked at, {decided.changed:,} decisions changed, {booked.rows:,} commissions booked"
    return "\n".join([line, *booked.problems])


def run_drain_alone(settings: Settings) -> None:
    """Drain until SIGINT or SIGTERM."""
    with _alone(settings) as (books, events):
        run_drain(open_drain(settings, books, events, system_clock), until_signal())


def run_attribution_alone(settings: Settings) -> None:
    """Decide and book until SIGINT or SIGTERM."""
    with _alone(settings) as (books, events):
        stop = until_signal()
        accrual = threading.Thread(target=run_accrual, args=(events, books, system_clock, stop), name="accrual")
        anchoring = threading.Thread(target=run_anchoring, args=(books, anchors_of(settings), system_clock, stop), name="anchoring")
        accrual.start()
        anchoring.start()
        processes, secret = processes_for(settings.attribution_processes), installation_secret(settings)
        run_attribution(events, books, system_clock, stop, processes=processes, secret=secret)
        accrual.join()
        anchoring.join()


def run_portal(settings: Settings) -> None:
    """Serve pages and API until SIGINT or SIGTERM."""
    with _alone(settings) as (books, events):
        serve_portal(settings, books, events)


@contextmanager
def _alone(settings: Settings) -> Iterator[tuple[Books, EventsStore]]:
    """Both stores, and the embedded one in our own hands. A server's is anybody's.

    Raises:
        InUse: a running engine owns the data folder, and does this work already.
    """
    require_installation(settings)
    log_to_stderr()
    with ExitStack() as stack:
        if settings.events.startswith("chdb:"):
            events = open_events(settings, stack.enter_context(lock_data(settings)))
            stack.callback(events.close)
        else:
            events = stack.enter_context(opened_events(settings))
        yield stack.enter_context(opened_books(settings)), events


def _wait_for_engine(settings: Settings) -> None:
    """Return when the engine has decided what was stored, under the catalogue as it was, and booked what that changed."""
    with opened_books(settings) as books, opened_events(settings) as events:
        target = max((one.newest for one in stored_since(events, _position(books, CURSOR) - REREAD_MS)), default=0)
        with books.reading() as connection:
            version = catalogue_version(connection)
        _await(lambda: _position(books, CURSOR) >= target and _position(books, CATALOGUE_CURSOR) >= version)
        decided, refunded = _position(books, DECISIONS), _position(books, REFUNDS)
        changes = read_changes(events, decided - REREAD_MS, refunded - REREAD_MS, NOTHING_YET, MOST_CHANGES)
        decided = max((change.decided_at for change in changes), default=0)
        refunded = max((change.refunded_at for change in changes), default=0)
        _await(lambda: _position(books, DECISIONS) >= decided and _position(books, REFUNDS) >= refunded)


def _await(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CATCH_UP_WITHIN_S
    while not is_done():
        if time.monotonic() > deadline:
            raise Unavailable(f"the running engine has not caught up within {CATCH_UP_WITHIN_S:.0f} s; see what it prints")
        time.sleep(0.1)


def _position(books: Books, cursor: str) -> int:
    with books.reading() as connection:
        return read_cursor(connection, cursor)


def _counting(advance: Advance) -> Callable[[int], None]:
    """Attribution tells the size of each batch; people want to see the sum."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        advance(done, 0)

    return count
