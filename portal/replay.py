"""A replay from question to answer: decided again, priced by the rate cards, kept in the books as it goes, and applied if wanted.

What a page and the command ask alike. The decisions come from :mod:`attribution.replay`, the money from
:mod:`payouts.forecast`; progress is in :mod:`store.replays`, so that an interrupted replay goes on where it stopped.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from sqlalchemy import Connection

from attribution.policy import Terms, terms_by_tenant
from attribution.replay import Change, Compared, compare, hindrance, read_frozen, stand_in, values_of
from attribution.run import decide_range
from core.catalogue import Policy
from core.clock import HOUR, Clock, Instant, format_instant
from core.credit import Decision
from core.errors import Conflict, FairshareError, NotFound
from core.ids import mint
from payouts.forecast import Amounts, Forecast, forecast
from payouts.orders import Verdict
from store.books import Books
from store.catalogue import add, load_catalogue
from store.cursors import REREAD_MS
from store.events import EventsStore, read_query
from store.replays import KEPT, Replay, add_replay, advance, find_replay, mark_applied, recent_replays, set_state
from store.reports import earned_from_orders
from store.reruns import request_rerun

RESUMED_WITHIN = HOUR
"""An unfinished answer about "until now" is gone on with for so long; later, now is another time."""
NEWEST_REVISION = (1 << 31) - 1
FACTS_OF_PERIOD = read_query(__file__, "facts_of_period")

Progress = Callable[[int, int], None]
"""Told ``(done, total)`` in orders."""


class Question(msgspec.Struct, frozen=True):
    """Whose orders, placed in ``[from_at, to_at)``, under which policies in the place of those in force. ``to_at`` None is open."""

    tenant_id: str
    from_at: Instant
    to_at: Instant | None
    tried: tuple[Policy, ...]


class Row(msgspec.Struct):
    """What a period brings one affiliate in one currency, before and after. No name: what nobody earns.

    ``orders`` counts orders with any part of the credit; ``value`` is the part of their net as sold, ``commission`` what they pay,
    refunds taken off; both in minor units.
    """

    affiliate_id: str
    currency: str
    orders_before: int = 0
    orders_after: int = 0
    value_before: int = 0
    value_after: int = 0
    commission_before: int = 0
    commission_after: int = 0

    @property
    def orders(self) -> int:
        return self.orders_after - self.orders_before

    @property
    def value(self) -> int:
        return self.value_after - self.value_before

    @property
    def commission(self) -> int:
        return self.commission_after - self.commission_before


class Tally(msgspec.Struct):
    """All that a replay found so far. ``locked`` orders keep their decision; ``locked_changed`` of them would have another.

    ``undecided`` orders have no decision yet, so that there is nothing to compare; ``unpriced`` ones cannot be booked.
    """

    orders: int = 0
    changed: int = 0
    locked: int = 0
    locked_changed: int = 0
    undecided: int = 0
    unpriced: int = 0
    rows: list[Row] = []

    @property
    def empty(self) -> bool:
        """Nothing that is not locked would come out otherwise."""
        return not self.changed


class Changed(msgspec.Struct, frozen=True):
    """One order that changes, with what it pays each affiliate more or less, by ``(affiliate, currency)``."""

    change: Change
    pays: list[tuple[str, str, int]]


class Plan(msgspec.Struct, frozen=True):
    """What applying a replay writes: policy versions, and the period to decide anew."""

    versions: tuple[Policy, ...]
    from_at: Instant
    to_at: Instant


# --- asking ----------------------------------------------------------------------------------------------------------


def begin(books: Books, events: EventsStore, secret: bytes, question: Question, by: str, at: Instant) -> Replay:
    """The replay of a question: the one that was begun over the same facts, else a new one.

    Raises:
        NotFound: there is no such tenant.
    """
    terms = read_terms(books, secret, question.tenant_id)
    with books.reading() as connection:
        recent = recent_replays(connection, question.tenant_id, KEPT)
    for one in recent:
        if question_of(one) == question and _is_usable(one, question, at) and _holds(events, books, terms, one):
            return one
    total, fingerprint = fingerprint_of(events, books, terms, question, at)
    replay = Replay(
        tenant_id=question.tenant_id,
        replay_id=mint(at),
        fingerprint=fingerprint,
        from_at=question.from_at,
        to_at=question.to_at,
        policies=msgspec.to_builtins(question.tried),
        state="stopped",
        requested_by=by,
        requested_at=at,
        after="",
        total=total,
        tally=msgspec.to_builtins(Tally()),
        moved_at=at,
    )
    with books.writing() as connection:
        add_replay(connection, replay)
    return replay


def _is_usable(replay: Replay, question: Question, at: Instant) -> bool:
    """Not applied, and about the same orders; an unfinished one may look a little less far."""
    if replay.state == "applied":
        return False
    unfinished = replay.state != "done" and at - replay.requested_at < RESUMED_WITHIN
    return unfinished or end_of(question, replay.requested_at) == end_of(question, at)


def question_of(replay: Replay) -> Question:
    return Question(replay.tenant_id, replay.from_at, replay.to_at, msgspec.convert(replay.policies, tuple[Policy, ...]))


def tally_of(replay: Replay) -> Tally:
    return msgspec.convert(replay.tally, Tally)


def read_terms(books: Books, secret: bytes, tenant_id: str) -> Terms:
    """The terms in force. NotFound: there is no such tenant."""
    with books.reading() as connection:
        catalogue = load_catalogue(connection)
    terms = terms_by_tenant(catalogue, secret).get(tenant_id)
    if terms is None:
        raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    return terms


def end_of(question: Question, asked_at: Instant) -> Instant:
    """Up to which order time (exclusive) an answer looks: the period's end, or a little before it was asked.

    What happened in the last moments may not be stored yet: it would change the facts at once.
    """
    settled = asked_at - REREAD_MS
    return max(question.from_at + 1, settled if question.to_at is None else min(question.to_at, settled))


def fingerprint_of(events: EventsStore, books: Books, terms: Terms, question: Question, asked_at: Instant) -> tuple[int, str]:
    """How many orders an answer covers, and a digest of everything that it depends on: question, catalogue, stored facts.

    Links made after the period's end are left out: they come all day, and where one of them changes an order, its decision changes.
    """
    to_at = end_of(question, asked_at)
    facts = events.select(FACTS_OF_PERIOD, tenant_id=terms.tenant_id, from_ms=question.from_at, to_ms=to_at)
    with books.reading() as connection:
        catalogue = load_catalogue(connection, terms.tenant_id)
    inputs = msgspec.json.encode((question, terms, catalogue.tenants, catalogue.rate_cards, facts), order="deterministic")
    return next(int(row[1]) for row in facts if row[0] == "orders"), hashlib.sha256(inputs).hexdigest()


# --- answering -------------------------------------------------------------------------------------------------------


def run_replay(
    books: Books,
    events: EventsStore,
    secret: bytes,
    clock: Clock,
    replay: Replay,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Replay:
    """Go on with a replay until it is done, or ``stop`` is set. Every batch is kept: the next run goes on behind it.

    Returns:
        It as it is then: done, stopped, or still running in another process.

    Raises:
        Conflict: the facts have changed since it was begun; what was found so far is worth nothing.
        Unavailable: a store cannot answer; the replay is as far as it was.
    """
    if replay.state in ("done", "applied"):
        return replay
    try:
        return _run(books, events, secret, clock, replay, progress, stop or threading.Event())
    except BaseException as error:
        problem = str(error) if isinstance(error, FairshareError) else type(error).__name__
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(FairshareError):
            _mark(books, replay, "stopped" if stopped else "failed", clock(), "" if stopped else problem)
        raise


def _run(
    books: Books, events: EventsStore, secret: bytes, clock: Clock, replay: Replay, progress: Progress | None, stop: threading.Event
) -> Replay:
    question = question_of(replay)
    terms = read_terms(books, secret, replay.tenant_id)
    require_unchanged(events, books, terms, replay)
    _mark(books, replay, "running", clock())
    tried, _ = stand_in(terms, question.tried, question.from_at, question.to_at)
    to_at = end_of(question, replay.requested_at)
    tally, after, frozen = tally_of(replay), replay.after, read_frozen(events, replay.tenant_id)
    batches = decide_range(events, books, replay.tenant_id, question.from_at, to_at, tried, None, stop, after=after, traces=True)
    for decisions in batches:
        compared = compare(events, terms, decisions, clock(), frozen)
        changed = count(books, events, terms.tenant_id, tally, compared, decisions, clock())
        kept = _keep(books, replay, decisions[-1].order_id, tally, changed, clock())
        if kept is None:
            return _read(books, replay)
        replay = kept
        if progress is not None:
            progress(tally.orders, replay.total)
        if stop.is_set():
            break
    if not stop.is_set():
        require_unchanged(events, books, terms, replay)
    _mark(books, replay, "stopped" if stop.is_set() else "done", clock())
    return _read(books, replay)


def require_unchanged(events: EventsStore, books: Books, terms: Terms, replay: Replay) -> None:
    """Raises Conflict where the answer may be another one by now."""
    if not _holds(events, books, terms, replay):
        raise Conflict(
            "orders, touches, decisions or rules of this period have changed since the difference was worked out; replay it again"
        )


def _holds(events: EventsStore, books: Books, terms: Terms, replay: Replay) -> bool:
    return fingerprint_of(events, books, terms, question_of(replay), replay.requested_at)[1] == replay.fingerprint


def count(
    books: Books, events: EventsStore, tenant_id: str, tally: Tally, compared: Compared, decisions: Sequence[Decision], at: Instant
) -> list[Changed]:
    """Add a batch to the tally; returns the orders that change, those that are locked included."""
    open_changes = {change.sale.order_id: change for change in compared.changes if not change.locked}
    verdicts = {one.order_id: _verdict(one) for one in decisions if one.order_id in open_changes}
    paid = forecast(books, events, tenant_id, verdicts, at)
    rows = {(row.affiliate_id, row.currency): row for row in tally.rows}
    for sale in compared.sales:
        standing = compared.standing.get(sale.order_id)
        if standing is None:
            continue
        change = open_changes.get(sale.order_id)
        after = change.after if change else standing
        _add(rows, sale.currency, "before", values_of(sale, standing))
        _add(rows, sale.currency, "after", values_of(sale, after))
    _pay(rows, paid.values(), _earned(books, tenant_id, [order_id for order_id in compared.standing if order_id not in paid]))
    tally.rows = sorted(rows.values(), key=lambda row: (row.currency, not row.affiliate_id, row.affiliate_id))
    tally.orders += len(compared.sales)
    tally.changed += len(open_changes)
    tally.locked += len(compared.locked)
    tally.locked_changed += len(compared.changes) - len(open_changes)
    tally.undecided += compared.undecided
    tally.unpriced += len(open_changes.keys() - paid.keys())
    return [Changed(change, _pays(change, paid)) for change in compared.changes]


def _verdict(decision: Decision) -> Verdict:
    """A decision as accrual reads it, newer than any stored one."""
    customer = (decision.customer_status, decision.segments, decision.order_number, decision.first_ordered_at)
    return Verdict(
        NEWEST_REVISION, decision.programme_id, decision.policy_version, decision.result, decision.credits, decision.inputs_hash, *customer
    )


def _row(rows: dict[tuple[str, str], Row], affiliate_id: str, currency: str) -> Row:
    return rows.setdefault((affiliate_id, currency), Row(affiliate_id, currency))


def _add(rows: dict[tuple[str, str], Row], currency: str, when: str, values: Mapping[str, int]) -> None:
    for affiliate_id, minor in values.items():
        row = _row(rows, affiliate_id, currency)
        setattr(row, f"value_{when}", getattr(row, f"value_{when}") + minor)
        if affiliate_id:
            setattr(row, f"orders_{when}", getattr(row, f"orders_{when}") + 1)


def _earned(books: Books, tenant_id: str, order_ids: Sequence[str]) -> Amounts:
    with books.reading() as connection:
        return earned_from_orders(connection, tenant_id, order_ids) if order_ids else {}


def _pay(rows: dict[tuple[str, str], Row], paid: Iterable[Forecast], unchanged: Amounts) -> None:
    for one in (*paid, Forecast(unchanged, unchanged)):
        for key, minor in one.before.items():
            _row(rows, *key).commission_before += minor
        for key, minor in one.after.items():
            _row(rows, *key).commission_after += minor


def _pays(change: Change, paid: Mapping[str, Forecast]) -> list[tuple[str, str, int]]:
    one = paid.get(change.sale.order_id)
    return [(*key, minor) for key, minor in one.difference.items()] if one else []


def _read(books: Books, replay: Replay) -> Replay:
    with books.reading() as connection:
        found = find_replay(connection, replay.tenant_id, replay.replay_id)
    if found is None:
        raise NotFound(f"there is no replay {replay.replay_id} any more: it made room for newer ones")
    return found


def _keep(books: Books, replay: Replay, after: str, tally: Tally, changed: Iterable[Changed], at: Instant) -> Replay | None:
    """None where it was stopped, or another process works on it: that one's tally stands."""
    plain: dict[str, Any] = msgspec.to_builtins(tally)
    changes = {one.change.sale.order_id: msgspec.to_builtins(one) for one in changed}
    with books.writing() as connection:
        if not advance(connection, replay, after, plain, changes, at):
            return None
    return msgspec.structs.replace(replay, after=after, tally=plain, moved_at=at)


def _mark(books: Books, replay: Replay, state: Any, at: Instant, problem: str = "") -> None:
    with books.writing() as connection:
        set_state(connection, replay.tenant_id, replay.replay_id, state, at, problem)


# --- applying --------------------------------------------------------------------------------------------------------


def plan_of(books: Books, secret: bytes, replay: Replay, at: Instant) -> Plan:
    """What applying would write.

    Raises:
        Conflict: nothing would change, or the policies cannot be put back at the end of the period.
    """
    require_not_applied(replay)
    if replay.state != "done":
        raise Conflict("only a replay that is done can be applied")
    if tally_of(replay).empty:
        raise Conflict("nothing would change: there is nothing to apply")
    question, terms = question_of(replay), read_terms(books, secret, replay.tenant_id)
    if reason := hindrance(terms, question.tried, question.to_at):
        raise Conflict(reason)
    _, versions = stand_in(terms, question.tried, question.from_at, question.to_at)
    return Plan(versions, question.from_at, at + 1 if question.to_at is None else question.to_at)


def apply(books: Books, events: EventsStore, secret: bytes, tenant_id: str, replay_id: str, by: str, at: Instant) -> Plan:
    """Write the policies for exactly the period, and ask for its orders to be decided anew: what changes is then booked as differences.

    All of it or nothing. An order past its lock date keeps its decision.

    Raises:
        NotFound: the tenant has no such replay.
        Conflict: the shown difference does not hold any more, nothing would change, or it was applied before.
    """
    replay = _found(books, tenant_id, replay_id)
    try:
        plan = plan_of(books, secret, replay, at)
        require_unchanged(events, books, read_terms(books, secret, tenant_id), replay)
    except Conflict:
        require_not_applied(_found(books, tenant_id, replay_id))  # what is not as it was may be the other one's work
        raise
    with books.writing() as connection:
        number = request_rerun(connection, tenant_id, plan.from_at, plan.to_at, f"replay {replay_id} was applied", at, by)
        if not mark_applied(connection, tenant_id, replay_id, by, at, number):
            require_not_applied(find_replay(connection, tenant_id, replay_id) or replay)
            raise Conflict("this replay is not done any more; replay the period again")
        _write_versions(connection, plan, by, at)
    return plan


def require_not_applied(replay: Replay) -> None:
    """Conflict: it was applied; says by whom, when, and what now."""
    if replay.state == "applied":
        when = format_instant(replay.applied_at) if replay.applied_at is not None else "a time not known"
        raise Conflict(
            f"{replay.applied_by or 'somebody'} applied this replay first, at {when}; nothing more was written. "
            "Its orders are decided anew: replay the period again to see what is left"
        )


def _found(books: Books, tenant_id: str, replay_id: str) -> Replay:
    with books.reading() as connection:
        replay = find_replay(connection, tenant_id, replay_id)
    if replay is None:
        raise NotFound(f"there is no replay {replay_id}")
    return replay


def _write_versions(connection: Connection, plan: Plan, by: str, at: Instant) -> None:
    try:
        for policy in plan.versions:
            add(connection, policy, by, at)
    except Conflict as taken:
        raise Conflict(
            "somebody wrote another version of the policy at the same moment; nothing was written: replay the period again"
        ) from taken
