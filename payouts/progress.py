"""How far affiliates and budgets have come, for pages: tiers and bonuses of an affiliate, and the use of limits. Reads only."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from core.catalogue import Bonus, Limit, Measure, RateCard, Tenant, Tier, Tiers, version_at
from core.clock import Instant
from payouts.accounts import step_of
from payouts.calendar import Span, span_of
from store import standing as books
from store.catalogue import find, rate_cards_of
from store.standing import Account

AFFILIATES_SHOWN = 100


class Progress(msgspec.Struct, frozen=True):
    """Where an affiliate is in one period: a rule's tiers, or a bonus. Amounts in minor units of the tenant's currency.

    ``step`` counts the steps reached (a bonus has one); ``next_at`` is where the next begins, None behind the last; ``pays`` is what
    that step pays, None for a bonus and behind the last. ``missing`` is what is left to get there.
    """

    rate_card_version: int
    rule_id: str
    bonus_id: str
    measure: Measure
    span: Span
    retroactive: bool
    reached: int
    step: int
    next_at: int | None
    pays: Tier | None
    pays_minor: int

    @property
    def missing(self) -> int:
        return 0 if self.next_at is None else self.next_at - self.reached


class LimitUse(msgspec.Struct, frozen=True):
    """What one limit granted in one period, to one affiliate or (empty) to all together, of its amount."""

    rate_card_version: int
    limit_id: str
    affiliate_id: str
    span: Span
    granted_minor: int
    amount_minor: int

    @property
    def left_minor(self) -> int:
        return max(0, self.amount_minor - self.granted_minor)


def reached(connection: Connection, tenant_id: str, programme_id: str, affiliate_id: str, at: Instant) -> list[Progress]:
    """An affiliate's tiers and bonuses under the rate card in force at ``at``, in the periods that ``at`` is in; rules first, by id.

    Everything of the period counts, orders after ``at`` too. Empty where the card has neither, and for an unknown tenant.
    """
    tenant, card = _in_force(connection, tenant_id, programme_id, at)
    if tenant is None or card is None:
        return []
    account = Account(tenant_id, programme_id, affiliate_id)
    tiers = [(rule.rule_id, rule.tiers) for rule in sorted(card.rules, key=lambda rule: rule.rule_id) if rule.tiers is not None]
    sums: dict[Span, dict[Measure, int]] = {}
    for period in {one.period for _, one in tiers} | {bonus.period for bonus in card.bonuses}:
        span = span_of(period, at, tenant.time_zone)
        sums[span] = books.reached(connection, account, span.start, (span.end, ""))
    found = [_of_tiers(card, rule_id, one, span_of(one.period, at, tenant.time_zone), sums) for rule_id, one in tiers]
    bonuses = sorted(card.bonuses, key=lambda bonus: bonus.bonus_id)
    return found + [_of_bonus(card, bonus, span_of(bonus.period, at, tenant.time_zone), sums) for bonus in bonuses]


def limit_uses(connection: Connection, tenant_id: str, programme_id: str, at: Instant, most: int = AFFILIATES_SHOWN) -> list[LimitUse]:
    """What the limits of the rate card in force at ``at`` granted in the periods that ``at`` is in: of each limit the ``most`` affiliates
    that had most of it. A budget that nobody used is there, with nothing granted.
    """
    tenant, card = _in_force(connection, tenant_id, programme_id, at)
    if tenant is None or card is None:
        return []
    found: list[LimitUse] = []
    for limit in sorted(card.limits, key=lambda limit: limit.limit_id):
        span = span_of(limit.period, at, tenant.time_zone)
        found += [
            LimitUse(card.version, limit.limit_id, affiliate_id, span, granted, limit.amount_minor)
            for affiliate_id, granted in _granted(connection, Account(tenant_id, programme_id, "", limit.limit_id), limit, span, most)
        ]
    return found


def _in_force(connection: Connection, tenant_id: str, programme_id: str, at: Instant) -> tuple[Tenant | None, RateCard | None]:
    cards: Sequence[RateCard] = rate_cards_of(connection, tenant_id, programme_id)
    return find(connection, Tenant, tenant_id), version_at(tuple(cards), at)


def _granted(connection: Connection, account: Account, limit: Limit, span: Span, most: int) -> list[tuple[str, int]]:
    if limit.shared:
        return [("", books.granted(connection, account, span.start, (span.end, ""))[1])]
    return books.uses_of(connection, account.tenant_id, account.programme_id, limit.limit_id, span.start, span.end, most)


def _of_tiers(card: RateCard, rule_id: str, tiers: Tiers, span: Span, sums: dict[Span, dict[Measure, int]]) -> Progress:
    total = sums[span][tiers.measure]
    step = step_of(tiers, total)
    following = tiers.steps[step] if step < len(tiers.steps) else None
    next_at = following.at_least if following else None
    return Progress(card.version, rule_id, "", tiers.measure, span, tiers.retroactive, total, step, next_at, following, 0)


def _of_bonus(card: RateCard, bonus: Bonus, span: Span, sums: dict[Span, dict[Measure, int]]) -> Progress:
    total = sums[span][bonus.measure]
    there = total >= bonus.at_least
    next_at = None if there else bonus.at_least
    return Progress(card.version, "", bonus.bonus_id, bonus.measure, span, False, total, int(there), next_at, None, bonus.pays_minor)
