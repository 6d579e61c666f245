"""The accrual run: polls the events store for decisions and refunds, and books the difference they make.

What is booked is a function of an order's latest state, under the tenant's ledger lock: a repeat, a crash between two
statements or a second process never books twice.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Event

import msgspec

from core.catalogue import Tenant
from core.clock import Clock, Instant
from core.errors import Unavailable
from core.money import LIMIT_MINOR
from payouts.booking import Booking, Facts, Tariff, book
from payouts.digests import evidence
from payouts.facts import NOTHING_YET, Change, by_tenant, fingerprint, read_changes, read_facts
from payouts.holds import release_due
from payouts.ledger import STATES, Draft, post_all
from store import accruals, commissions
from store.accruals import Accrual
from store.books import Books
from store.catalogue import find, programmes_of, rate_cards_of
from store.commissions import Commission
from store.cursors import REREAD_MS, move_cursor, read_cursor
from store.events import EventsStore
from store.ledger import Posting

DECISIONS, REFUNDS = "accrual:decisions", "accrual:refunds"
"""The cursors: one for each writer. Attribution and the drain each store in the order of their own times, not of each other's."""
ORDERS_AT_ONCE = 500
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
logger = logging.getLogger(__name__)


class AccrualReport(msgspec.Struct, frozen=True):
    """What one run did. ``seen`` orders had changed; ``booked`` of them got ``rows`` commissions; ``waiting`` have a refund
    but no decision yet; ``problems`` could not be booked, each one sentence (also kept in the books).
    """

    seen: int = 0
    booked: int = 0
    rows: int = 0
    waiting: int = 0
    excess_refunds: int = 0
    problems: tuple[str, ...] = ()

    def __add__(self, other: "AccrualReport") -> "AccrualReport":
        return AccrualReport(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


def accrue_once(
    events: EventsStore,
    books: Books,
    clock: Clock,
    limit: int = ORDERS_AT_ONCE,
    progress: Callable[[int], None] | None = None,
    memory: set[Change] | None = None,
) -> AccrualReport:
    """Book everything that changed since the last run. ``limit``: orders in hand at once; ``progress`` hears how many are done.

    Running it twice is the same as once. ``memory``, kept by a caller that runs again and again, spares it what it has
    just looked at: every run reads a little before its cursor.

    Raises:
        Unavailable: a store cannot be used now; what was booked before stays, the rest comes with the next run.
    """
    with books.reading() as connection:
        positions = {name: read_cursor(connection, name) for name in (DECISIONS, REFUNDS)}
    decided_since, refunded_since = (position - REREAD_MS for position in positions.values())
    report, last, met = AccrualReport(), NOTHING_YET, set[Change]()
    while page := read_changes(events, decided_since, refunded_since, last, limit):
        last = page[-1]
        for tenant_id, order_ids in by_tenant([change for change in page if change not in (memory or ())]).items():
            report += _accrue_orders(events, books, clock, tenant_id, order_ids)
        met.update(page)
        positions = _move(books, positions, page, clock())
        if progress:
            progress(report.seen)
        if len(page) < limit:
            break
    if memory is not None:
        memory.clear()
        memory.update(met)
    return report


def run_accrual(
    events: EventsStore, books: Books, clock: Clock, stop: Event, every_ms: int = 500, backoff_s: Sequence[float] = BACKOFF_S
) -> None:
    """Accrue and release due holds until ``stop`` is set. Nothing escapes: a failed pass is logged and tried again, later and later."""
    failures, memory = 0, set[Change]()
    while not stop.is_set():
        try:
            for problem in accrue_once(events, books, clock, memory=memory).problems:
                logger.warning("accrual: %s", problem)
            release_due(books, clock())
            failures = 0
        except Unavailable as error:
            logger.warning("accrual waits: %s", error)
            failures += 1
        except Exception:
            logger.exception("accrual failed; it tries again")
            failures += 1
        stop.wait(backoff_s[min(failures, len(backoff_s)) - 1] if failures else every_ms / 1000)


def tariff_of(books: Books, tenant_id: str) -> Tariff | None:
    """What a tenant pays, or None for a tenant that the books do not know."""
    with books.reading() as connection:
        tenant = find(connection, Tenant, tenant_id)
        programmes = programmes_of(connection, tenant_id)
        cards = {programme.programme_id: rate_cards_of(connection, tenant_id, programme.programme_id) for programme in programmes}
    return Tariff(tenant.currency, cards) if tenant else None


def _accrue_orders(events: EventsStore, books: Books, clock: Clock, tenant_id: str, order_ids: Sequence[str]) -> AccrualReport:
    found = read_facts(events, tenant_id, order_ids)
    tariff = tariff_of(books, tenant_id)
    seen = AccrualReport(seen=len(order_ids), waiting=len(order_ids) - len(found))
    if tariff is None:
        return seen + AccrualReport(problems=(f"tenant {tenant_id} is not in the catalogue; its orders were not booked",))
    return seen + _book_orders(books, tenant_id, found, tariff, clock())


def _book_orders(books: Books, tenant_id: str, found: Sequence[Facts], tariff: Tariff, now: Instant) -> AccrualReport:
    """Everything of these orders in one transaction, or nothing."""
    order_ids = [facts.order.order_id for facts in found]
    if not order_ids:
        return AccrualReport()
    with books.writing() as connection:
        books.lock_tenant(connection, tenant_id)
        known = accruals.of_orders(connection, tenant_id, order_ids)
        news = [facts for facts in found if _is_news(facts, known.get(facts.order.order_id))]
        posted = commissions.of_orders(connection, tenant_id, [facts.order.order_id for facts in news]) if news else {}
        outcomes = [(facts, _try_book(facts, posted.get(facts.order.order_id, []), tariff, now)) for facts in news]
        bookings = [booking for _, booking in outcomes if isinstance(booking, Booking) and booking.rows]
        drafts = [draft for booking in bookings if (draft := _draft(booking.rows)) is not None]
        numbers = dict(zip((draft.idempotency_key for draft in drafts), post_all(connection, drafts), strict=True))
        rows = [_with_entry(row, numbers.get(_key(booking.rows))) for booking in bookings for row in booking.rows]
        commissions.insert_commissions(connection, rows)
        notes = [_note(facts, outcome, now) for facts, outcome in outcomes]
        accruals.put_accruals(connection, notes, known)
    return AccrualReport(
        booked=len(bookings),
        rows=len(rows),
        excess_refunds=sum(note.excess_minor > 0 for note in notes),
        problems=tuple(f"order {note.order_id} of {tenant_id}: {note.problem}" for note in notes if note.problem),
    )


def _is_news(facts: Facts, known: Accrual | None) -> bool:
    """False for a repeat, and for facts older than what another process has booked meanwhile."""
    if known is None:
        return True
    older = facts.verdict.revision < known.decision_revision or len(facts.refunds) < known.refunds_known
    return not older and fingerprint(facts) != known.fingerprint


def _try_book(facts: Facts, posted: Sequence[Commission], tariff: Tariff, now: Instant) -> Booking | str:
    """One order that cannot be computed must not keep all others from being booked: the fault is noted, and shown."""
    try:
        booking = book(facts, posted, tariff, now)
        if any(abs(row.amount_minor) > LIMIT_MINOR for row in booking.rows):
            return "it cannot be booked: a commission is beyond the largest amount taken; look at the rate card's fixed amounts"
        return booking
    except Exception as error:
        logger.debug("order %s of %s", facts.order.order_id, facts.order.tenant_id, exc_info=True)
        return f"it cannot be booked: {type(error).__name__}: {error}"[:255]


def _draft(rows: Sequence[Commission]) -> Draft | None:
    """The ledger's side of one order's rows; None where no money moves."""
    if not any(row.amount_minor for row in rows):
        return None
    sums: dict[tuple[str, str, str], int] = {}
    for row in rows:
        if row.amount_minor:
            for account, sign in (("expense", -1), (row.state, 1)):
                key = (account, row.affiliate_id, row.currency)
                sums[key] = sums.get(key, 0) + sign * row.amount_minor
    assert all(account in ("expense", *STATES) for account, _, _ in sums), "a state that carries money is an account"
    first, kinds = rows[0], ", ".join(dict.fromkeys(row.kind for row in rows if row.amount_minor))
    return Draft(
        tenant_id=first.tenant_id,
        kind="accrual",
        idempotency_key=_key(rows),
        posted_at=first.posted_at,
        memo=f"order {first.order_id}: {kinds}",
        evidence_hash=evidence(row.commission_id for row in rows),
        postings=tuple(Posting(*key, amount) for key, amount in sorted(sums.items()) if amount),
    )


def _key(rows: Sequence[Commission]) -> str:
    return f"accrual:{rows[0].idempotency_key}"


def _with_entry(row: Commission, number: int | None) -> Commission:
    return msgspec.structs.replace(row, entry_number=number)


def _note(facts: Facts, outcome: Booking | str, now: Instant) -> Accrual:
    remainder = outcome.remainder if isinstance(outcome, Booking) else None
    return Accrual(
        tenant_id=facts.order.tenant_id,
        order_id=facts.order.order_id,
        decision_revision=facts.verdict.revision,
        fingerprint=fingerprint(facts),
        refunded_minor=remainder.refunded_minor if remainder else 0,
        excess_minor=remainder.excess_minor if remainder else 0,
        refunds_known=len(facts.refunds),
        refunds_refused=remainder.refused if remainder else 0,
        problem=outcome if isinstance(outcome, str) else "",
        accrued_at=now,
    )


def _move(books: Books, positions: dict[str, Instant], page: Sequence[Change], now: Instant) -> dict[str, Instant]:
    """Everything of this page is booked. No cursor passes the page's last time of change, so what comes behind it stays ahead."""
    newest = {DECISIONS: max(change.decided_at for change in page), REFUNDS: max(change.refunded_at for change in page)}
    moved = {name: at for name, at in newest.items() if at > positions[name]}
    if moved:
        with books.writing() as connection:
            # Two processes may both be the first to write a cursor. No tenant has a name with a space.
            books.lock_tenant(connection, "cursor accrual")
            for name, at in moved.items():
                move_cursor(connection, name, at, now)
    return positions | moved
