"""What an order is paid by that depends on other orders: tiers reached, and what limits leave. Pure; minor units of the tenant's currency.

An **account** is what one affiliate (or, for a budget, everybody) has in a programme: its orders, in the total order of ``(ordered_at,
order_id)``. Everything here is a function of an account's rows in that order, whatever came when.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec

from core.catalogue import Limit, Measure, RateCard, Rule, Tiers
from core.clock import Instant

Place = tuple[Instant, str]
"""Where an order stands in every account: ``(ordered_at, order_id)``."""


class Party(msgspec.Struct, frozen=True, gc=False):
    """An affiliate of an order, and the ``version`` of the rate card that pays it (0: none; of several touches, the first one's).

    ``orders`` is 1 while anything of the lines is left, else 0; ``revenue_minor`` the credited net; ``commission_minor`` what the rules'
    own rates pay, before tiers and limits, without what recruiters have: all as of now, after refunds.
    """

    affiliate_id: str
    version: int
    orders: int
    revenue_minor: int
    commission_minor: int


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An order in its programme's accounts. Without parties where nobody is credited."""

    programme_id: str
    order_id: str
    ordered_at: Instant
    parties: tuple[Party, ...] = ()

    @property
    def place(self) -> Place:
        return (self.ordered_at, self.order_id)


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What other orders mean for one order. Kept with it, it makes the order's price a function of the order alone.

    ``steps``: ``(affiliate, rule, step)``: 0 is the rule's own rates, n its ``steps[n - 1]``. ``left``: ``(limit, affiliate, minor units
    of the tenant's currency)`` before the order's first line; the affiliate is empty where the limit is shared.
    """

    steps: tuple[tuple[str, str, int], ...] = ()
    left: tuple[tuple[str, str, int], ...] = ()


class Use(msgspec.Struct, frozen=True, gc=False):
    """What one order came to under one limit. Empty ``affiliate_id``: everybody's budget. In the tenant's currency.

    ``asked_minor``: had this been left, the limit would have cut nothing; so what is left beyond it makes no difference.
    ``granted_minor`` is due of it now, after refunds, never more than what was left.
    """

    limit_id: str
    affiliate_id: str
    asked_minor: int
    granted_minor: int


def relied_on(standing: Standing, uses: Iterable[Use], rules: Collection[tuple[str, str]]) -> Standing:
    """The part of a standing that an order's price comes from: the steps of ``rules`` (affiliate, rule) that paid, and what limits
    left as far as it was asked for. It makes the same price, and is itself a function of the whole set of orders.
    """
    if not standing.steps and not standing.left:
        return standing
    asked = {(use.limit_id, use.affiliate_id): use.asked_minor for use in uses}
    left = tuple((limit_id, of, min(minor, asked[limit_id, of])) for limit_id, of, minor in standing.left if (limit_id, of) in asked)
    return Standing(tuple(step for step in standing.steps if step[:2] in rules), left)


# --- steps ---------------------------------------------------------------------------------------------------------------


def step_of(tiers: Tiers, reached: int) -> int:
    """How many steps begin at or below what is reached."""
    return sum(step.at_least <= reached for step in tiers.steps)


def range_of(tiers: Tiers, step: int) -> tuple[int, int | None]:
    """What may be reached without leaving the step: from ``low`` (inclusive) to below ``high``; None: without end."""
    low = tiers.steps[step - 1].at_least if step else 0
    return low, tiers.steps[step].at_least if step < len(tiers.steps) else None


def tiered(cards: Iterable[RateCard], version: int | None = None) -> list[tuple[Rule, Tiers]]:
    """The rules whose rates depend on what an affiliate brought; of one version, or of all."""
    mine = (card for card in cards if version in (None, card.version))
    return [(rule, rule.tiers) for card in mine for rule in card.rules if rule.tiers is not None]


def measured(party: Party, measure: Measure) -> int:
    return party.orders if measure == "orders" else party.revenue_minor if measure == "revenue" else party.commission_minor


# --- limits --------------------------------------------------------------------------------------------------------------


def account_of(limit: Limit, affiliate_id: str) -> str:
    """Whose use counts: everybody's (empty) for a budget, else the affiliate's own."""
    return "" if limit.shared else affiliate_id


def limits_of(placed: Placed, cards: Sequence[RateCard]) -> dict[tuple[str, str], Limit]:
    """The limits that an order is under, by id and account. Where its affiliates are paid by several versions, the first that has one."""
    found: dict[tuple[str, str], Limit] = {}
    for party in placed.parties:
        for limit in (limit for card in cards if card.version == party.version for limit in card.limits):
            found.setdefault((limit.limit_id, account_of(limit, party.affiliate_id)), limit)
    return found


class Claim(msgspec.Struct, frozen=True):
    """A later order that was priced as if ``left_minor`` were left, and what was granted ``before`` it in its period, by now.

    ``amount_minor`` is the limit's, in the version that prices the order.
    """

    place: Place
    amount_minor: int
    before_minor: int
    left_minor: int
    asked_minor: int
    granted_minor: int


def disturbed(claims: Iterable[Claim]) -> Iterator[Place]:
    """Of an account's later orders, in order: those that have to be priced again.

    A price stands where the limit would cut as much as it did. The first of those told does not stand; of those behind it, this
    foresees what the earlier ones will take. Where it errs (several limits at once), it is mended when the earlier ones are priced:
    each of them looks behind itself again.
    """
    moved = 0
    for claim in claims:
        left = max(0, claim.amount_minor - claim.before_minor - moved)
        grant = min(left, claim.asked_minor)
        if grant != min(claim.left_minor, claim.asked_minor):
            moved += grant - claim.granted_minor
            yield claim.place


# --- bonuses -------------------------------------------------------------------------------------------------------------


class Milestone(msgspec.Struct, frozen=True):
    """The order with which an affiliate reached a bonus in one period. ``version`` is the one that prices the order, and the bonus."""

    place: Place
    version: int


def first_reached(rows: Iterable[tuple[Place, int, int]], thresholds: Mapping[int, int]) -> Milestone | None:
    """The first of ``(place, version, amount)``, in order, with which the sum is at what its own version asks for."""
    total = 0
    for place, version, amount in rows:
        total += amount
        if version in thresholds and total >= thresholds[version]:
            return Milestone(place, version)
    return None


def crossed(thresholds: Collection[int], low: int, high: int) -> bool:
    """True where any threshold is in ``(low, high]``: what is reached may have passed it."""
    return any(low < threshold <= high for threshold in thresholds)
