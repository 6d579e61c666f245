"""The accrual run: polls the events store for decisions and refunds, and books the difference they make.

What is booked is a function of an order's latest state, under the tenant's ledger lock: a repeat, a crash between two
statements or a second process never books twice.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from core.clock import Clock, Instant
from core.errors import Unavailable
from core.leads import spoken
from core.money import LIMIT_MINOR
from payouts.accounts import Placed, Standing
from payouts.bonuses import due
from payouts.booking import book
from payouts.digests import evidence
from payouts.facts import NOTHING_YET, Change, by_tenant, fingerprint, read_changes, read_facts
from payouts.holds import rejected_of, release_due, states_for
from payouts.ledger import Draft, accrual_postings, post_all
from payouts.measures import counts_for_others, is_new, record_new
from payouts.orders import Facts, Tariff
from payouts.pricing import Prepared, Target, prepare, target_of
from payouts.pricings import Surroundings, as_json, asks_touches, frozen, kept_pricings, pricing_hash, setting_of
from payouts.standing import Touched, known_of, pass_over, record, standing_of
from payouts.surroundings import read_surroundings
from payouts.tariffs import Tariffs
from payouts.traffic_accrual import TrafficMemory, accrue_traffic, book_again
from store import accruals, commissions
from store.accruals import Accrual
from store.books import Books
from store.commissions import Commission
from store.cursors import REREAD_MS, move_cursor, read_cursor
from store.events import EventsStore
from store.standing import Recorded, tenants_waiting, waiting

DECISIONS, REFUNDS = "accrual:decisions", "accrual:refunds"
"""The cursors: one for each writer. Attribution and the drain each store in the order of their own times, not of each other's."""
ORDERS_AT_ONCE = 500
PAGES_AT_ONCE = 40
"""So many times the orders in hand are asked for at once: to find what changed, the store reads everything since the cursor each time."""
REPRICED_AT_ONCE = 10_000
"""Orders of one tenant that one run prices again, because others changed; what is left waits in its queue for the next run."""
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
logger = logging.getLogger(__name__)
Done = TypeVar("Done")


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
    tariffs: Tariffs | None = None,
) -> AccrualReport:
    """Book everything that changed since the last run, and every order that other orders moved: to another step of its tiers, or within
    its limits. ``limit``: orders in hand at once; ``progress`` hears how many are done.

    Running it twice is the same as once. ``memory``, kept by a caller that runs again and again, spares it what it has
    just looked at: every run reads a little before its cursor. ``tariffs``, kept likewise, spare it the rate cards.

    Raises:
        Unavailable: a store cannot be used now; what was booked before stays, the rest comes with the next run.
    """
    with books.reading() as connection:
        positions = {name: read_cursor(connection, name) for name in (DECISIONS, REFUNDS)}
    decided_since, refunded_since = (position - REREAD_MS for position in positions.values())
    report, last, met, tariffs = AccrualReport(), NOTHING_YET, set[Change](), tariffs or Tariffs(books)
    while changes := read_changes(events, decided_since, refunded_since, last, limit * PAGES_AT_ONCE):
        last = changes[-1]
        for start in range(0, len(changes), limit):
            page = changes[start : start + limit]
            for tenant_id, order_ids in by_tenant([change for change in page if change not in (memory or ())]).items():
                report += _accrue_orders(events, books, clock, tariffs, tenant_id, order_ids)
            met.update(page)
            positions = _move(books, positions, page, clock())
            if progress:
                progress(report.seen)
        if len(changes) < limit * PAGES_AT_ONCE:
            break
    report += _reprice(events, books, clock, tariffs, limit, lambda done: progress(report.seen + done) if progress else None)
    if memory is not None:
        memory.clear()
        memory.update(met)
    return report


def run_accrual(
    events: EventsStore, books: Books, clock: Clock, stop: Event, every_ms: int = 500, backoff_s: Sequence[float] = BACKOFF_S
) -> None:
    """Accrue and release due holds until ``stop`` is set. Nothing escapes: a failed pass is logged and tried again, later and later."""
    failures, memory, tariffs, traffic = 0, set[Change](), Tariffs(books), TrafficMemory()
    while not stop.is_set():
        try:
            for problem in accrue_once(events, books, clock, memory=memory, tariffs=tariffs).problems:
                logger.warning("accrual: %s", problem)
            release_due(books, clock())
            for problem in accrue_traffic(events, books, clock, traffic).problems:
                logger.warning("accrual: %s", problem)
            failures = 0
        except Unavailable as error:
            logger.warning("accrual waits: %s", error)
            failures += 1
        except Exception:
            logger.exception("accrual failed; it tries again")
            failures += 1
        stop.wait(backoff_s[min(failures, len(backoff_s)) - 1] if failures else every_ms / 1000)


def _accrue_orders(
    events: EventsStore, books: Books, clock: Clock, tariffs: Tariffs, tenant_id: str, order_ids: Sequence[str], again: bool = False
) -> AccrualReport:
    """Book what changed of these orders. ``again``: price them even where nothing of their own changed."""
    seen, tariff = AccrualReport(seen=len(order_ids)), tariffs.of(tenant_id)
    if tariff is None:
        return seen + AccrualReport(problems=(f"tenant {tenant_id} is not in the catalogue; its orders were not booked",))
    touches = asks_touches(card for cards in tariff.cards.values() for card in cards)
    found = read_facts(events, tenant_id, order_ids, touches, tariff.tenant.currency)
    missing = sorted(set(order_ids) - {facts.order.order_id for facts in found})
    report = seen + _book_orders(books, found, tariff, clock(), set(order_ids) if again else ())
    if again and missing:
        with books.writing() as connection:
            books.lock_tenant(connection, tenant_id)
            for order_id in sorted(set(missing) - set(book_again(connection, tariff.tenant, tariff.cards, missing, clock()))):
                pass_over(connection, tariff.tenant, order_id, tariff.cards, clock())
    return report + AccrualReport(waiting=0 if again else len(missing))


def _reprice(
    events: EventsStore, books: Books, clock: Clock, tariffs: Tariffs, limit: int, progress: Callable[[int], None]
) -> AccrualReport:
    """Price the orders that wait in the queue, the earliest first: what each of them changes for later ones waits behind it."""
    report = AccrualReport()
    with books.reading() as connection:
        tenants = tenants_waiting(connection)
    for tenant_id in tenants:
        done, before = 0, None
        while done < REPRICED_AT_ONCE:
            with books.reading() as connection:
                page = waiting(connection, tenant_id, limit)
            if not page or page == before:
                break  # newer facts are on their way: another process has seen them
            report += _accrue_orders(events, books, clock, tariffs, tenant_id, [one.order_id for one in page], again=True)
            done, before = done + len(page), page
            progress(report.seen)
    return report


def _book_orders(books: Books, found: Sequence[Facts], tariff: Tariff, now: Instant, again: Collection[str] = ()) -> AccrualReport:
    """Everything of these orders in one transaction, or nothing; by ``(ordered_at, order_id)``, so that earlier ones count for later."""
    if not found:
        return AccrualReport()
    tenant_id = tariff.tenant.tenant_id
    with books.writing() as connection:
        books.lock_tenant(connection, tenant_id)
        known = accruals.of_orders(connection, tenant_id, [facts.order.order_id for facts in found])
        ordered = sorted(found, key=lambda facts: (facts.order.occurred_at, facts.order.order_id))
        news = [facts for facts in ordered if _is_news(facts, known.get(facts.order.order_id), facts.order.order_id in again)]
        outcomes = _price(connection, news, known, tariff, now) if news else []
        touched = [one for outcome in outcomes for one in outcome.touched]
        record_new(connection, tariff.tenant, [outcome.placed for outcome in outcomes if outcome.placed is not None])
        booked = [row for outcome in outcomes for row in outcome.rows] + due(connection, tariff.tenant, tariff.cards, touched, now)
        rows = states_for(connection, tenant_id, booked, now)
        bookings = _by_order(rows)
        drafts = [draft for booking in bookings if (draft := _draft(booking)) is not None]
        numbers = dict(zip((draft.idempotency_key for draft in drafts), post_all(connection, drafts), strict=True))
        commissions.insert_commissions(
            connection, [_with_entry(row, numbers.get(_key(booking))) for booking in bookings for row in booking]
        )
        notes = [outcome.note for outcome in outcomes]
        accruals.put_accruals(connection, notes, known)
    return AccrualReport(
        booked=len(bookings),
        rows=len(rows),
        excess_refunds=sum(note.excess_minor > 0 for note in notes),
        problems=tuple(f"{spoken(note.order_id)} of {tenant_id}: {note.problem}" for note in notes if note.problem),
    )


class Outcome(msgspec.Struct, frozen=True):
    """The rows of one order, and what is noted of it. ``touched`` are those whose bonuses may have changed. ``placed`` is given where
    what the order counts is still to be written, with that of others.
    """

    rows: tuple[Commission, ...]
    note: Accrual
    touched: Sequence[Touched] = ()
    placed: Placed | None = None


def _price(connection: Connection, news: Sequence[Facts], known: Mapping[str, Accrual], tariff: Tariff, now: Instant) -> list[Outcome]:
    tenant_id, order_ids = tariff.tenant.tenant_id, [facts.order.order_id for facts in news]
    posted = commissions.of_orders(connection, tenant_id, order_ids)
    rejected = rejected_of(connection, tenant_id, order_ids)
    recorded = known_of(connection, tenant_id, order_ids)
    around = read_surroundings(connection, news, tariff)
    return [
        _price_one(
            connection,
            facts,
            posted.get(order_id, []),
            known.get(order_id),
            recorded[order_id],
            rejected.get(order_id, frozenset()),
            tariff,
            around,
            now,
        )
        for facts, order_id in zip(news, order_ids, strict=True)
    ]


def _price_one(
    connection: Connection,
    facts: Facts,
    posted: Sequence[Commission],
    known: Accrual | None,
    recorded: Recorded,
    rejected: frozenset[str],
    tariff: Tariff,
    around: Surroundings,
    now: Instant,
) -> Outcome:
    """Price one order where other orders leave it, and write what it counts for them."""
    kept = setting_of(known.setting if known is not None else None)
    prepared = _try(facts, lambda: prepare(facts, posted, tariff, frozen(kept, facts, posted, tariff, around), rejected))
    if isinstance(prepared, str):
        return _failed(connection, facts, known, recorded, posted, tariff, prepared, now)
    standing = standing_of(connection, tariff.tenant, prepared.placed, tariff.cards, recorded)
    booked = _try(facts, lambda: _booked(prepared, posted, standing, now))
    if isinstance(booked, str):
        return _failed(connection, facts, known, recorded, posted, tariff, booked, now)
    rows, target, stamp = booked
    placed, touched = prepared.placed, list[Touched]()
    is_alone = is_new(recorded) and not counts_for_others(tariff.cards.get(placed.programme_id, ()))
    if not is_alone:
        touched = record(connection, tariff.tenant, placed, tariff.cards, standing, target.uses, now, target.rules, recorded)
    if known is not None and _is_of_earlier_version(known, facts):
        return Outcome((), known, touched, placed if is_alone else None)
    note = msgspec.structs.replace(
        _note(facts, now),
        refunded_minor=prepared.remainder.refunded_minor,
        excess_minor=prepared.remainder.excess_minor,
        refunds_refused=prepared.remainder.refused,
        setting=as_json(prepared.setting),
        standing=as_json(target.relied_on),
        pricings=kept_pricings(known, posted, stamp, tariff),
    )
    return Outcome(rows, note, touched, placed if is_alone else None)


def _is_of_earlier_version(known: Accrual, facts: Facts) -> bool:
    """What an earlier version of the program booked, by its own reading of the rules, stays as long as nothing of the order changes."""
    return known.setting is None and not known.problem and known.fingerprint == fingerprint(facts)


def _booked(
    prepared: Prepared, posted: Sequence[Commission], standing: Standing, now: Instant
) -> tuple[tuple[Commission, ...], Target, str] | str:
    target = target_of(prepared, standing)
    stamp = pricing_hash(fingerprint(prepared.facts), prepared.setting, target.relied_on, prepared.tariff)
    rows = book(prepared.facts, posted, target, now, stamp)
    if any(abs(row.amount_minor) > LIMIT_MINOR for row in rows):
        return "it cannot be booked: a commission is beyond the largest amount taken; look at the rate card's fixed amounts"
    return rows, target, stamp


def _try(facts: Facts, action: Callable[[], Done | str]) -> Done | str:
    """One order that cannot be computed must not keep all others from being booked: the fault is noted, and shown."""
    try:
        return action()
    except Exception as error:
        logger.debug("order %s of %s", facts.order.order_id, facts.order.tenant_id, exc_info=True)
        return f"it cannot be booked: {type(error).__name__}: {error}"[:255]


def _failed(
    connection: Connection,
    facts: Facts,
    known: Accrual | None,
    recorded: Recorded,
    posted: Sequence[Commission],
    tariff: Tariff,
    problem: str,
    now: Instant,
) -> Outcome:
    """What was booked of it stays; what was frozen of it stays, too."""
    if recorded.queued:
        pass_over(connection, tariff.tenant, facts.order.order_id, tariff.cards, now, recorded)
    setting = known.setting if known is not None else None
    pricings = kept_pricings(known, posted, "", tariff)
    return Outcome((), msgspec.structs.replace(_note(facts, now), problem=problem, setting=setting, pricings=pricings))


def _by_order(rows: Sequence[Commission]) -> list[list[Commission]]:
    found: dict[str, list[Commission]] = {}
    for row in rows:
        found.setdefault(row.order_id, []).append(row)
    return list(found.values())


def _is_news(facts: Facts, known: Accrual | None, again: bool) -> bool:
    """False for a repeat, and for facts older than what another process has booked meanwhile."""
    if known is None:
        return True
    older = facts.verdict.revision < known.decision_revision or len(facts.refunds) < known.refunds_known
    return not older and (again or fingerprint(facts) != known.fingerprint)


def _draft(rows: Sequence[Commission]) -> Draft | None:
    """The ledger's side of one order's rows; None where no money moves."""
    if not any(row.amount_minor for row in rows):
        return None
    first, kinds = rows[0], ", ".join(dict.fromkeys(row.kind for row in rows if row.amount_minor))
    return Draft(
        tenant_id=first.tenant_id,
        kind="accrual",
        idempotency_key=_key(rows),
        posted_at=first.posted_at,
        memo=f"{spoken(first.order_id)}: {kinds}",
        evidence_hash=evidence(row.commission_id for row in rows),
        postings=accrual_postings(rows),
        subject_at=first.ordered_at,
    )


def _key(rows: Sequence[Commission]) -> str:
    return f"accrual:{rows[0].idempotency_key}"


def _with_entry(row: Commission, number: int | None) -> Commission:
    return msgspec.structs.replace(row, entry_number=number)


def _note(facts: Facts, now: Instant) -> Accrual:
    return Accrual(
        tenant_id=facts.order.tenant_id,
        order_id=facts.order.order_id,
        decision_revision=facts.verdict.revision,
        fingerprint=fingerprint(facts),
        refunded_minor=0,
        excess_minor=0,
        refunds_known=len(facts.refunds),
        refunds_refused=0,
        problem="",
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
