"""Orders walked in their total order, in memory: which steps each finds, what limits leave it, and which bonuses it reaches. Pure.

A walk begins at an instant with the sums that the books have of everything before (:class:`Ground`); so it comes to what accrual comes
to (:mod:`payouts.standing`), had the walked cards been in force for the walked orders.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from core.catalogue import Bonus, Limit, Measure, Period, RateCard, Tiers, version_at
from core.clock import Instant
from payouts.accounts import Party, Place, Placed, Standing, Use, account_of, limits_of, step_of, tiered
from payouts.calendar import Span, span_of

SpanKey = tuple[Period, str, Instant]
"""A kind of period, a time zone, and the instant at which one such period begins."""
Sums = tuple[int, int, int]
"""Orders, revenue, commission."""
NOTHING: Sums = (0, 0, 0)
_MEASURES: dict[Measure, int] = {"orders": 0, "revenue": 1, "commission": 2}


class Asked(msgspec.Struct, frozen=True):
    """What something else than an order, a day of clicks or a lead, asks of a limit."""

    place: Place
    limit_id: str
    affiliate_id: str
    asked_minor: int
    time_zone: str


class Ground(msgspec.Struct, frozen=True):
    """What the books hold around a walk, for one programme.

    ``before``: by period, what affiliates reached in it before the walk begins; ``behind``: from where it ends to the period's end.
    ``granted``: by period, what limits granted before it begins, by limit and account. ``awarded``: bonuses reached before, as
    ``(affiliate, bonus, period)``. ``asked``: what stands between the walked orders, in its order.
    """

    before: Mapping[SpanKey, Mapping[str, Sums]] = {}
    behind: Mapping[SpanKey, Mapping[str, Sums]] = {}
    granted: Mapping[SpanKey, Mapping[tuple[str, str], int]] = {}
    awarded: frozenset[tuple[str, str, str]] = frozenset()
    asked: Sequence[Asked] = ()


def periods_asked(cards: Iterable[RateCard]) -> set[Period]:
    """The kinds of periods that affiliates' orders are measured over."""
    cards = list(cards)
    tiers = {found.period for _, found in tiered(cards)}
    return tiers | {bonus.period for card in cards for bonus in card.bonuses}


def looks_ahead(cards: Iterable[RateCard]) -> bool:
    """True where a price depends on later orders of its period."""
    return any(tiers.retroactive for _, tiers in tiered(cards))


def counts_commission(cards: Iterable[RateCard]) -> bool:
    """True where what an affiliate's orders paid it counts for a tier or a bonus."""
    cards = list(cards)
    asked = [found.measure for _, found in tiered(cards)] + [bonus.measure for card in cards for bonus in card.bonuses]
    return "commission" in asked


class Walk:
    """One programme's accounts while its orders are walked under ``cards``.

    Where a card :func:`looks_ahead`, every order is counted (:meth:`count`) before the first is taken. Then, in total order, each is
    asked for its :meth:`standing`, and taken (:meth:`take`).
    """

    def __init__(self, cards: Sequence[RateCard], zones: Iterable[str], ground: Ground) -> None:
        self._cards, self._zones, self._ground = tuple(cards), tuple(sorted(zones)), ground
        self._by_version = {card.version: card for card in cards}
        self._tiered = {card.version: tiered([card]) for card in cards}
        self._periods = sorted(periods_asked(cards))
        self._limit_periods: dict[str, set[Period]] = {}
        for limit in (limit for card in cards for limit in card.limits):
            self._limit_periods.setdefault(limit.limit_id, set()).add(limit.period)
        self._has_bonuses = any(card.bonuses for card in cards)
        self._spans: dict[tuple[Period, str], tuple[Span, SpanKey]] = {}
        self._sums: dict[tuple[str, SpanKey], list[int]] = {}
        self._totals: dict[tuple[str, SpanKey], list[int]] = {}
        self._granted: dict[tuple[str, str, SpanKey], int] = {}
        self._awarded = set(ground.awarded)
        self._asked = iter(ground.asked)
        self._next = next(self._asked, None)

    # --- orders ------------------------------------------------------------------------------------------------------

    def count(self, placed: Placed) -> None:
        """Count an order towards the totals of its periods."""
        for party, key in self._measured(placed):
            total = self._totals.get((party.affiliate_id, key))
            if total is None:
                parts = (self._of(which, key, party.affiliate_id) for which in (self._ground.before, self._ground.behind))
                total = self._totals[party.affiliate_id, key] = [*map(sum, zip(*parts, strict=True))]
            _add(total, party)

    def standing(self, placed: Placed, time_zone: str) -> Standing:
        """Which steps its affiliates find, and what limits leave before its first line."""
        if not self._periods and not self._limit_periods:
            return Standing()
        self._pass(placed.place)
        steps = [
            (party.affiliate_id, rule.rule_id, self._step(party, tiers, placed.ordered_at, time_zone))
            for party in placed.parties
            for rule, tiers in self._tiered.get(party.version, ())
        ]
        if not self._limit_periods:
            return Standing(tuple(steps))
        limits = sorted(limits_of(placed, self._cards).items())
        left = [(limit_id, of, self._left(limit, of, placed.ordered_at, time_zone)) for (limit_id, of), limit in limits]
        return Standing(tuple(steps), tuple(left))

    def take(self, placed: Placed, time_zone: str, standing: Standing, uses: Iterable[Use]) -> list[tuple[str, Bonus]]:
        """Count an order for those behind it. Returns the bonuses that it reaches: affiliate and bonus."""
        for party, key in self._measured(placed):
            _add(self._sum(party.affiliate_id, key), party)
        left = {(limit_id, of): minor for limit_id, of, minor in standing.left}
        for use in uses:
            if (use.limit_id, use.affiliate_id) in left:
                most = min(left[use.limit_id, use.affiliate_id], use.asked_minor)
                self._grant(use.limit_id, use.affiliate_id, placed.ordered_at, min(use.granted_minor, most))
        return list(self._reached(placed, time_zone)) if self._has_bonuses else []

    # --- inside ------------------------------------------------------------------------------------------------------

    def _measured(self, placed: Placed) -> list[tuple[Party, SpanKey]]:
        """Sums are kept in every zone that orders are counted in: those of other zones count, too."""
        keys = [self._key(period, zone, placed.ordered_at) for period in self._periods for zone in self._zones]
        return [(party, key) for key in keys for party in placed.parties]

    def _step(self, party: Party, tiers: Tiers, at: Instant, zone: str) -> int:
        key = self._key(tiers.period, zone, at)
        sums = self._totals[party.affiliate_id, key] if tiers.retroactive else self._sum(party.affiliate_id, key)
        return step_of(tiers, sums[_MEASURES[tiers.measure]])

    def _left(self, limit: Limit, of: str, at: Instant, zone: str) -> int:
        key = self._key(limit.period, zone, at)
        return max(0, limit.amount_minor - self._granted_of(limit.limit_id, of, key))

    def _reached(self, placed: Placed, zone: str) -> Iterator[tuple[str, Bonus]]:
        for party in placed.parties:
            card = self._by_version.get(party.version)
            for bonus in card.bonuses if card is not None else ():
                span = self._span(bonus.period, zone, placed.ordered_at)
                name = (party.affiliate_id, bonus.bonus_id, span.key)
                sums = self._sum(party.affiliate_id, (bonus.period, zone, span.start))
                if name not in self._awarded and sums[_MEASURES[bonus.measure]] >= bonus.at_least:
                    self._awarded.add(name)
                    yield party.affiliate_id, bonus

    def _pass(self, place: Place) -> None:
        """What stands before this place, and is no order, takes its part of limits."""
        while self._next is not None and self._next.place < place:
            asked, at = self._next, self._next.place[0]
            card = version_at(self._cards, at)
            limits = card.limits if card is not None else ()
            for limit in (limit for limit in limits if limit.limit_id == asked.limit_id and _binds_others(limit, card)):
                if account_of(limit, asked.affiliate_id) == asked.affiliate_id:
                    left = self._left(limit, asked.affiliate_id, at, asked.time_zone)
                    self._grant(limit.limit_id, asked.affiliate_id, at, min(left, asked.asked_minor))
            self._next = next(self._asked, None)

    def _grant(self, limit_id: str, of: str, at: Instant, minor: int) -> None:
        for period in self._limit_periods.get(limit_id, ()):
            for zone in self._zones:
                key = self._key(period, zone, at)
                self._granted[limit_id, of, key] = self._granted_of(limit_id, of, key) + minor

    def _granted_of(self, limit_id: str, of: str, key: SpanKey) -> int:
        found = self._granted.get((limit_id, of, key))
        return self._ground.granted.get(key, {}).get((limit_id, of), 0) if found is None else found

    def _sum(self, affiliate_id: str, key: SpanKey) -> list[int]:
        found = self._sums.get((affiliate_id, key))
        if found is None:
            found = self._sums[affiliate_id, key] = [*self._of(self._ground.before, key, affiliate_id)]
        return found

    def _of(self, which: Mapping[SpanKey, Mapping[str, Sums]], key: SpanKey, affiliate_id: str) -> Sums:
        return which.get(key, {}).get(affiliate_id, NOTHING)

    def _key(self, period: Period, zone: str, at: Instant) -> SpanKey:
        return self._spanned(period, zone, at)[1]

    def _span(self, period: Period, zone: str, at: Instant) -> Span:
        return self._spanned(period, zone, at)[0]

    def _spanned(self, period: Period, zone: str, at: Instant) -> tuple[Span, SpanKey]:
        """Orders come by time, so that the last one's period is nearly always this one's."""
        known = self._spans.get((period, zone))
        if known is None or not known[0].start <= at < known[0].end:
            span = span_of(period, at, zone)
            known = self._spans[period, zone] = (span, (period, zone, span.start))
        return known


def _add(sums: list[int], party: Party) -> None:
    sums[0] += party.orders
    sums[1] += party.revenue_minor
    sums[2] += party.commission_minor


def _binds_others(limit: Limit, card: RateCard | None) -> bool:
    others = {rule.rule_id for rule in card.rules if rule.subject != "order"} if card is not None else set()
    return bool(others if not limit.rules else others & set(limit.rules))
