"""Where an order finds its affiliates: steps of tiers, and what limits leave; and which other orders a change of it moves.

An order's price is a function of its facts and of its standing. :func:`standing_of` makes the standing of what the books hold at the
moment; :func:`record` writes what the order then counts for others, and queues those whose own standing is no longer what they were
priced by. Priced again in the order of ``(ordered_at, order_id)``, until none is queued, all orders stand as if they had come in that
order: measures depend on no other order, steps on measures alone, and grants on earlier grants.

The caller holds the tenant's lock from before :func:`standing_of` until its transaction ends.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from core.catalogue import Limit, Measure, Period, RateCard, Tenant, Tiers
from core.clock import Instant
from payouts.accounts import (
    Claim,
    Party,
    Place,
    Placed,
    Standing,
    Use,
    crossed,
    disturbed,
    limits_of,
    range_of,
    relied_on,
    step_of,
    tiered,
)
from payouts.calendar import Span, span_of
from store import standing as books
from store.standing import Account, Granted, Measured, Recorded, Stepped

__all__ = [
    "NOTHING",
    "Cards",
    "Party",
    "Placed",
    "Standing",
    "Touched",
    "Use",
    "known_of",
    "pass_over",
    "record",
    "relied_on",
    "standing_of",
]

Cards = Mapping[str, Sequence[RateCard]]
"""All versions of the rate card of each programme of a tenant."""
NOTHING = Standing()
AT_ONCE = 500
"""Orders that one change queues at once. Where there are more, the last of these looks on from itself when its turn comes."""
_NEXT = "\x01"
"""Comes before whatever an order's id goes on with: no id holds a control character."""
Row = TypeVar("Row", Measured, Granted)


class Touched(msgspec.Struct, frozen=True):
    """An affiliate whose measures changed, from this order on: bonuses are to be looked at."""

    programme_id: str
    affiliate_id: str
    ordered_at: Instant
    order_id: str


def known_of(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, Recorded]:
    """What was recorded of these orders: for :func:`standing_of` and :func:`record` of each, so that they need not ask one by one."""
    return books.of_orders(connection, tenant_id, order_ids)


def standing_of(connection: Connection, tenant: Tenant, placed: Placed, cards: Cards, known: Recorded | None = None) -> Standing:
    """Which steps the affiliates of an order have reached, and what limits leave before its first line, as the books are now.

    ``placed`` holds the order's own measures, as they are after this: a retroactive tier counts them. Steps are those of every rule with
    tiers, limits all that the order may meet. A programme without either costs nothing. ``known``: see :func:`known_of`.
    """
    mine = cards.get(placed.programme_id, ())
    if not any(tiered(mine)) and not any(card.limits for card in mine):
        return NOTHING
    asked = _Order(connection, tenant, placed, mine, _known(connection, tenant, placed.order_id, known))
    steps = tuple((row.affiliate_id, row.rule_id, row.step) for row in asked.steps())
    left = tuple((limit_id, of, asked.left(limit, of)) for (limit_id, of), limit in sorted(limits_of(placed, mine).items()))
    return Standing(steps, left)


def record(
    connection: Connection,
    tenant: Tenant,
    placed: Placed,
    cards: Cards,
    standing: Standing,
    uses: Sequence[Use],
    now: Instant,
    rules: Collection[tuple[str, str]] | None = None,
    known: Recorded | None = None,
    at_once: int = AT_ONCE,
) -> list[Touched]:
    """Write what an order counts for others now that it was priced by ``standing``, and queue the orders that this moves.

    ``rules``: ``(affiliate, rule)`` of those that paid; others' steps make no difference. None: all might have. The order itself leaves
    the queue; at most ``at_once`` others of an account come in. Returns whose bonuses may have changed.
    """
    before = _known(connection, tenant, placed.order_id, known)
    order = _Order(connection, tenant, placed, cards.get(placed.programme_id, ()), before)
    after = Recorded(order.measures(), tuple(order.steps(standing, rules)), tuple(order.grants(standing, uses)))
    if placed.parties and not before.measures:
        books.put_zone(connection, tenant.tenant_id, order.time_zone)
    books.put_rows(connection, before, after)
    if before.queued:
        books.drop_queue(connection, tenant.tenant_id, placed.order_id)
    return _queue_moved(_Change(connection, tenant.tenant_id, before.walk, now, at_once), cards, before, after)


def pass_over(connection: Connection, tenant: Tenant, order_id: str, cards: Cards, now: Instant, known: Recorded | None = None) -> None:
    """Take an order that cannot be priced out of the queue. What it counts and was granted stays; until it is recorded again, no change
    of others brings it back. What is behind it is looked at.
    """
    before = _known(connection, tenant, order_id, known)
    asleep = tuple(msgspec.structs.replace(grant, period_start=books.ASLEEP) for grant in before.grants)
    after = msgspec.structs.replace(before, steps=(), grants=asleep)
    books.put_rows(connection, before, after)
    books.drop_queue(connection, tenant.tenant_id, order_id)
    _queue_moved(_Change(connection, tenant.tenant_id, before.walk, now, AT_ONCE), cards, before, after)


def _known(connection: Connection, tenant: Tenant, order_id: str, known: Recorded | None) -> Recorded:
    return known if known is not None else books.of_orders(connection, tenant.tenant_id, [order_id])[order_id]


# --- one order -------------------------------------------------------------------------------------------------------


class _Order:
    """An order in its accounts, and the sums in front of it, each asked for once."""

    def __init__(self, connection: Connection, tenant: Tenant, placed: Placed, cards: Sequence[RateCard], known: Recorded) -> None:
        self.connection, self.tenant, self.placed, self.cards, self.known = connection, tenant, placed, cards, known
        # Whatever becomes of the tenant's zone: the periods of an order stay those that it was recorded in first.
        self.time_zone = known.measures[0].time_zone if known.measures else tenant.time_zone
        self._sums: dict[tuple[str, Instant, Place], dict[Measure, int]] = {}

    def span(self, period: Period) -> Span:
        return span_of(period, self.placed.ordered_at, self.time_zone)

    def measures(self) -> tuple[Measured, ...]:
        tenant_id, placed = self.tenant.tenant_id, self.placed
        return tuple(
            Measured(
                tenant_id,
                placed.order_id,
                placed.programme_id,
                party.affiliate_id,
                placed.ordered_at,
                self.time_zone,
                party.version,
                party.orders,
                party.revenue_minor,
                party.commission_minor,
            )
            for party in placed.parties
        )

    def steps(self, standing: Standing | None = None, rules: Collection[tuple[str, str]] | None = None) -> Iterator[Stepped]:
        """Every rule with tiers, at its step: that of ``standing``, or else as the books are now."""
        given = None if standing is None else {(of, rule_id): step for of, rule_id, step in standing.steps}
        for party in self.placed.parties:
            for rule, tiers in tiered(self.cards, party.version):
                key = (party.affiliate_id, rule.rule_id)
                if rules is None or key in rules:
                    step = step_of(tiers, self._reached(party, tiers)) if given is None else given.get(key, 0)
                    yield self._stepped(party, rule.rule_id, tiers, step)

    def left(self, limit: Limit, affiliate_id: str) -> int:
        """What a limit leaves as the books are now, the order itself left out; zero or more."""
        start = self.span(limit.period).start
        _, granted = books.granted(self.connection, self._account(affiliate_id, limit.limit_id), start, self.placed.place)
        return max(0, limit.amount_minor - granted)

    def grants(self, standing: Standing, uses: Sequence[Use]) -> Iterator[Granted]:
        limits = limits_of(self.placed, self.cards)
        lefts = {(limit_id, of): left for limit_id, of, left in standing.left}
        for use in uses:
            key = (use.limit_id, use.affiliate_id)
            if key not in lefts:
                continue  # a limit of none but the version that pays a later touch of an affiliate
            limit, left = limits[key], min(lefts[key], use.asked_minor)
            yield Granted(
                self.tenant.tenant_id,
                self.placed.order_id,
                self.placed.programme_id,
                use.limit_id,
                use.affiliate_id,
                self.placed.ordered_at,
                self.span(limit.period).start,
                limit.amount_minor,
                left,
                use.asked_minor,
                min(use.granted_minor, left),  # converted there and back, it may be a unit more
            )

    def _reached(self, party: Party, tiers: Tiers) -> int:
        span = self.span(tiers.period)
        if not tiers.retroactive:
            return self._sum(party.affiliate_id, span.start, self.placed.place)[tiers.measure]
        recorded = sum(_measure(row, tiers.measure) for row in self.known.measures if _account_of(row) == self._account(party.affiliate_id))
        total = self._sum(party.affiliate_id, span.start, (span.end, ""))[tiers.measure]
        return total - recorded + _measure(party, tiers.measure)

    def _sum(self, affiliate_id: str, start: Instant, until: Place) -> dict[Measure, int]:
        key = (affiliate_id, start, until)
        if key not in self._sums:
            self._sums[key] = books.reached(self.connection, self._account(affiliate_id), start, until)
        return self._sums[key]

    def _account(self, affiliate_id: str, limit_id: str = "") -> Account:
        return Account(self.tenant.tenant_id, self.placed.programme_id, affiliate_id, limit_id)

    def _stepped(self, party: Party, rule_id: str, tiers: Tiers, step: int) -> Stepped:
        span, (low, high) = self.span(tiers.period), range_of(tiers, step)
        return Stepped(
            self.tenant.tenant_id,
            self.placed.order_id,
            self.placed.programme_id,
            party.affiliate_id,
            rule_id,
            self.placed.ordered_at,
            tiers.measure,
            tiers.retroactive,
            span.start,
            span.end,
            step,
            low,
            high,
        )


def _measure(one: Party | Measured, measure: Measure) -> int:
    return one.orders if measure == "orders" else one.revenue_minor if measure == "revenue" else one.commission_minor


# --- what a change moves -----------------------------------------------------------------------------------------------


def _queue_moved(change: "_Change", cards: Cards, before: Recorded, after: Recorded) -> list[Touched]:
    """Queue the orders that no longer stand, of every account that the order was or is in.

    Where nothing changed, an account is looked at only for an order that was queued to walk.
    """
    touched = []
    for (account, _), (old, new) in _paired(before.measures, after.measures).items():
        mine = cards.get(account.programme_id, ())
        row = new or old
        assert row is not None, "a pair has a row"
        if old != new:
            touched.append(Touched(account.programme_id, account.affiliate_id, row.ordered_at, row.order_id))
        if any(tiered(mine)):
            _steps_moved(change, account, mine, old, new, row)
    for (account, _), (was, is_now) in _paired(before.grants, after.grants).items():
        grant = is_now or was
        assert grant is not None, "a pair has a row"
        _grants_moved(change, account, cards.get(account.programme_id, ()), was, is_now, grant)
    return touched


class _Change:
    """Where to look for orders that no longer stand, and whether even where nothing changed (``walk``)."""

    def __init__(self, connection: Connection, tenant_id: str, walk: bool, now: Instant, at_once: int) -> None:
        self.connection, self.tenant_id, self.walk, self.now, self.at_once = connection, tenant_id, walk, now, at_once

    @cached_property
    def zones(self) -> set[str]:
        """All that any order's periods are counted in."""
        return books.zones_of(self.connection, self.tenant_id)

    def spans(self, periods: Collection[Period], at: Instant) -> set[Span]:
        return {span_of(period, at, zone) for period in periods for zone in self.zones}

    def queue(self, places: Sequence[Place], why: str, walk: bool = False) -> None:
        books.put_queue(self.connection, self.tenant_id, places, why, walk, self.now)
        if len(places) >= self.at_once:
            books.put_queue(self.connection, self.tenant_id, places[-1:], why, True, self.now)


def _steps_moved(
    change: _Change, account: Account, cards: Sequence[RateCard], old: Measured | None, new: Measured | None, row: Measured
) -> None:
    by_kind: dict[tuple[Measure, bool], list[Tiers]] = {}
    for _, tiers in tiered(cards):
        by_kind.setdefault((tiers.measure, tiers.retroactive), []).append(tiers)
    place = (row.ordered_at, row.order_id)
    for (measure, retroactive), many in by_kind.items():
        now_minor = _measure(new, measure) if new else 0
        moved = now_minor - (_measure(old, measure) if old else 0)
        if not (moved or change.walk) or (not retroactive and books.is_last(change.connection, account, place)):
            continue
        for span in change.spans({tiers.period for tiers in many}, row.ordered_at):
            total = books.reached(change.connection, account, span.start, (span.end, ""))[measure]
            through = total if retroactive else books.reached(change.connection, account, span.start, place)[measure] + now_minor
            thresholds = {step.at_least for tiers in many for step in tiers.steps}
            if not (change.walk or crossed(thresholds, through - max(moved, 0), total + max(-moved, 0))):
                continue
            if retroactive:
                found = books.unsettled_within(change.connection, account, measure, span.start, span.end, total, change.at_once)
            else:
                found = books.unsettled_after(change.connection, account, measure, span.start, span.end, place, through, change.at_once)
            change.queue(found, "tier")


def _grants_moved(
    change: _Change, account: Account, cards: Sequence[RateCard], old: Granted | None, new: Granted | None, row: Granted
) -> None:
    moved = (new.granted_minor if new else 0) - (old.granted_minor if old else 0)
    place = (row.ordered_at, row.order_id)
    if not (moved or change.walk) or books.is_last(change.connection, account, place):
        return
    limits = [limit for card in cards for limit in card.limits if limit.limit_id == account.limit_id]
    least = min((limit.amount_minor for limit in limits), default=0)
    for span in change.spans({limit.period for limit in limits}, row.ordered_at):
        asked, _ = books.granted(change.connection, account, span.start, (span.end, ""))
        cut = books.first_cut(change.connection, account, place, span.end)
        if cut is None and (asked <= least or (moved <= 0 and not change.walk)):
            continue  # it was enough for all, and still is
        # Where no less is left than before, those before the first that was cut get all they ask, as they did.
        since = cut if cut is not None and moved <= 0 and not change.walk else (row.ordered_at, row.order_id + _NEXT)
        _, before = books.granted(change.connection, account, span.start, since)
        found = books.unsettled_grants(change.connection, account, span.start, span.end, since, before, change.at_once)
        change.queue(list(disturbed(_claim(grant, minor) for grant, minor in found)), "limit", walk=True)


def _claim(grant: Granted, before_minor: int) -> Claim:
    return Claim(
        (grant.ordered_at, grant.order_id), grant.amount_minor, before_minor, grant.left_minor, grant.asked_minor, grant.granted_minor
    )


def _paired(before: Sequence[Row], after: Sequence[Row]) -> dict[tuple[Account, Instant], tuple[Row | None, Row | None]]:
    """Rows of one order, as they were and as they are, by account (and time: an order that moved was taken away and came)."""
    pairs: dict[tuple[Account, Instant], tuple[Row | None, Row | None]] = {}
    for row in before:
        pairs[_account_of(row), row.ordered_at] = (row, None)
    for row in after:
        key = (_account_of(row), row.ordered_at)
        pairs[key] = (pairs.get(key, (None, None))[0], row)
    return pairs


def _account_of(row: Measured | Granted) -> Account:
    return Account(row.tenant_id, row.programme_id, row.affiliate_id, row.limit_id if isinstance(row, Granted) else "")
