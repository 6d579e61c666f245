"""What an order should have earned: a function of its facts, of its frozen setting and of its standing. Pure.

First each credit finds the rules that pay it (:func:`prepare`): that does not depend on other orders, and says what the order counts
for them. Then its standing says at which steps, and within which limits (:func:`target_of`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import msgspec

from core.catalogue import Extra, FxRounding, RateCard, Rule, Tenant
from core.credit import Credit
from core.events import Order
from core.leads import is_lead, subject_of
from payouts.accounts import Party, Placed, Standing, Use, account_of, relied_on
from payouts.attributes import Worth, affiliate_values, item_values, lead_values, order_values, worth_in
from payouts.earnings import Bases, Cap, Earning, Moment, Share, earnings, moments, unearned, used
from payouts.exchange import Rate, convert
from payouts.matching import Values, compile_card
from payouts.orders import Facts, Tariff
from payouts.rate_card import Reason, at_step, bases_of, lay, names_amounts
from payouts.refunds import Remainder, apply_refunds
from payouts.setting import Setting, inverse
from store.commissions import Commission

REJECTED: Reason = "fraud_rejected"
Uses = Mapping[tuple[str, str], tuple[int, int]]
"""By limit and account: what was asked of it, and what it pays (:func:`payouts.earnings.used`)."""


class Prepared(msgspec.Struct, frozen=True):
    """An order whose rules are found. ``card`` is the version that says currency and hold; ``shares`` are at the rules' own rates,
    in full. ``both`` is what they come to as sold and now; None where nobody earns, and where it was not asked for.
    """

    facts: Facts
    tariff: Tariff
    setting: Setting
    remainder: Remainder
    card: RateCard | None
    shares: tuple[Share, ...] = ()
    both: tuple[Moment, Moment] | None = None
    parties: tuple[Party, ...] = ()

    @property
    def placed(self) -> Placed:
        """The order in its programme's accounts."""
        order = self.facts.order
        return Placed(self.facts.verdict.programme_id, order.order_id, order.occurred_at, self.parties)


class Target(msgspec.Struct, frozen=True, gc=False):
    """What an order should have earned: as sold, and by now; both name the same lines, affiliates and parts in one order.

    ``card`` is the version that says currency and hold. Amounts are in ``currency``; ``rate`` made them, where they were converted.
    ``standing`` is what it was priced in, ``uses`` are what it asked of limits, and ``rules`` are those with tiers that pay:
    ``(affiliate, rule)``.
    """

    card: RateCard | None
    currency: str
    sold: tuple[Earning, ...] = ()
    last: tuple[Earning, ...] = ()
    rate: Rate | None = None
    uses: tuple[Use, ...] = ()
    standing: Standing = Standing()
    rules: frozenset[tuple[str, str]] = frozenset()

    @property
    def relied_on(self) -> Standing:
        """What it took of its standing."""
        return relied_on(self.standing, self.uses, self.rules)


def prepare(
    facts: Facts,
    posted: Sequence[Commission],
    tariff: Tariff,
    setting: Setting,
    rejected: frozenset[str] = frozenset(),
    counts_commission: bool = True,
) -> Prepared:
    """Find the rules, and what they pay before tiers and limits.

    Args:
        posted: only what earlier versions of the program booked matters: what priced a line first.
        rejected: affiliates who may not earn from the order any more; the empty name is everybody.
        counts_commission: False where nobody measures the affiliates' commissions: they are left at 0, and the price is worked out
            once, for its standing.
    """
    order, verdict = facts.order, facts.verdict
    remainder = apply_refunds(order, facts.refunds)
    card = tariff.card(verdict.programme_id, setting.version(verdict.programme_id))
    if not verdict.programme_id or order.test or not verdict.credits:
        return Prepared(facts, tariff, setting, remainder, card)
    shares = _shares(facts, posted, tariff, setting, remainder, card, rejected)
    both = moments(order.lines, shares, remainder.steps) if counts_commission else None
    parties = _parties(worth_in(order, setting, tariff.tenant), shares, both[1] if both else None, remainder)
    if is_lead(order.order_id):  # tiers and bonuses count orders
        parties = tuple(Party(one.affiliate_id, one.version, 0, 0, 0) for one in parties)
    return Prepared(facts, tariff, setting, remainder, card, tuple(shares), both, parties)


def target_of(prepared: Prepared, standing: Standing) -> Target:
    """What the order should have earned, where other orders leave it ``standing``."""
    facts, card, remainder = prepared.facts, prepared.card, prepared.remainder
    order, verdict = facts.order, facts.verdict
    if not verdict.programme_id:
        return Target(None, order.currency)
    if not prepared.shares:
        nobody = tuple(unearned(order.lines, remainder.steps[-1], "test" if order.test else "unattributed"))
        return Target(card, order.currency, nobody, nobody)
    shares = [_under(share, prepared, standing) for share in prepared.shares]
    both, asked = _moments(prepared, shares)
    sold, last = earnings(order.lines, shares, both, remainder.steps)
    uses, rules = _uses(asked, _home_rate(prepared)), _tiered(shares)
    as_sold = tuple(sold)
    target = Target(
        card=card,
        currency=order.currency,
        sold=as_sold,
        last=as_sold if last is sold else tuple(last),
        uses=uses,
        standing=standing,
        rules=rules,
    )
    return _settled(target, prepared.setting)


# --- which rules ---------------------------------------------------------------------------------------------------------


def _shares(
    facts: Facts,
    posted: Sequence[Commission],
    tariff: Tariff,
    setting: Setting,
    remainder: Remainder,
    card: RateCard | None,
    rejected: frozenset[str],
) -> list[Share]:
    first = _first_matches(facts, posted) if posted else {}
    unpaid = _cannot_settle(card, facts.order, setting)
    asked: dict[int, Asking] = {}
    bases: dict[tuple[Extra, ...], Bases] = {}
    shares = []
    for credit in facts.verdict.credits:
        mine = card
        if card is not None and card.priced_at == "touch":
            mine = tariff.card(facts.verdict.programme_id, setting.version(facts.verdict.programme_id, credit.touch_id))
        matched: Sequence[Rule | Reason]
        if rejected and rejected & {"", credit.affiliate_id}:
            matched = [REJECTED] * len(facts.order.lines)
        elif mine is None or unpaid:
            matched = ["currency_not_supported" if unpaid else "no_rule"] * len(facts.order.lines)
        else:
            if mine.version not in asked:
                asked[mine.version] = _asking(facts, mine, tariff, setting)
            matched = _matched(facts, credit, setting, asked[mine.version])
            if first and mine is card:
                matched = [
                    _as_first(first[line.line_id], mine) if line.line_id in first else one
                    for line, one in zip(facts.order.lines, matched, strict=True)
                ]
        pays_on = mine.pays_on if mine is not None else ()
        if pays_on not in bases:
            bases[pays_on] = bases_of(facts.order, pays_on, remainder.steps)
        shares.append(_share(facts, credit, mine, tariff.tenant, setting, matched, bases[pays_on]))
    return shares


class Asking(NamedTuple):
    """A card that is asked for an order: what fits by the values of an affiliate, and which attributes make a difference."""

    match: Callable[[Values], list[Rule | Reason]]
    asks: frozenset[str]


def _asking(facts: Facts, card: RateCard, tariff: Tariff, setting: Setting) -> Asking:
    order, tenant = facts.order, tariff.tenant
    compiled = compile_card(card, tenant.currency, subject_of(order.order_id))
    if is_lead(order.order_id):
        return Asking(compiled.asking(lead_values(order), [{} for _ in order.lines]), compiled.asks)
    worth, status = worth_in(order, setting, tenant), setting.customer_status or order.customer_status
    of_order = order_values(order, setting, tenant, status, setting.segments, compiled.asks)
    return Asking(compiled.asking(of_order, [item_values(line, worth, compiled.asks) for line in order.lines]), compiled.asks)


def _matched(facts: Facts, credit: Credit, setting: Setting, asking: Asking) -> list[Rule | Reason]:
    """By line the rule that pays this credit, or why none does."""
    partner = setting.partner(facts.verdict.programme_id, credit.affiliate_id)
    contact = setting.contact(credit.touch_id)
    return asking.match(affiliate_values(partner, contact, facts.order.occurred_at, asking.asks))


def _first_matches(facts: Facts, posted: Iterable[Commission]) -> dict[str, Commission]:
    """What priced each line first, where an earlier version of the program booked it and the decision knows nothing of the customer.

    Decisions of the time never did, but their orders were priced by the history of the time: that stays.
    """
    if facts.verdict.customer_status or facts.verdict.segments:
        return {}
    first: dict[str, Commission] = {}
    for row in posted:
        if row.rate_card_version and row.programme_id == facts.verdict.programme_id and not row.pricing_hash:
            first.setdefault(row.line_id, row)
    return first


def _as_first(row: Commission, card: RateCard) -> Rule | Reason:
    return next((rule for rule in card.rules if rule.rule_id == row.rule_id), row.reason)  # type: ignore[arg-type]


def _abroad(rule: Rule, card: RateCard, rate: Rate | None) -> Rule | Reason:
    """A rule for an order in another currency than the tenant's. A maximum is rounded down."""
    if rate is None:
        limited = any(not limit.rules or rule.rule_id in limit.rules for limit in card.limits)
        stepped = rule.tiers is not None and any(step.fixed_minor for step in rule.tiers.steps)
        return "currency_not_supported" if limited or stepped or names_amounts(rule) else rule
    fixed = None if rule.fixed_minor is None else _fixed_abroad(rule.fixed_minor, rate)
    most = None if rule.most_minor is None else convert(rule.most_minor, inverse(rate), "down")
    return msgspec.structs.replace(rule, fixed_minor=fixed, most_minor=most)


def _fixed_abroad(fixed_minor: int, rate: Rate) -> int:
    """A fixed amount in the order's currency, rounded up: converted back, rounded down, it is the same amount."""
    return convert(fixed_minor, inverse(rate), "up")


def _share(
    facts: Facts,
    credit: Credit,
    card: RateCard | None,
    tenant: Tenant,
    setting: Setting,
    matched: Sequence[Rule | Reason],
    bases: Bases,
) -> Share:
    order, part = facts.order, _part(credit.numerator, credit.denominator)
    if card is None:
        return Share(credit.affiliate_id, credit.touch_id, part, tuple(matched), bases)
    if order.currency != tenant.currency:
        rate = setting.rate_to(tenant.currency)
        matched = [_abroad(rule, card, rate) if isinstance(rule, Rule) else rule for rule in matched]
    recruiters = setting.partner(facts.verdict.programme_id, credit.affiliate_id).recruiters if card.recruiter_bps else ()
    return Share(
        affiliate_id=credit.affiliate_id,
        touch_id=credit.touch_id,
        part=part,
        matched=tuple(matched),
        bases=bases,
        version=card.version,
        recruiters=tuple(zip(recruiters, card.recruiter_bps, strict=False)) if recruiters else (),
        recruiter_of=card.recruiter_of,
    )


_part = lru_cache(maxsize=1024)(Fraction)
"""Of a credit's numbers. Nearly all orders have one of a few."""


# --- what other orders mean for it ---------------------------------------------------------------------------------------


def _under(share: Share, prepared: Prepared, standing: Standing) -> Share:
    """A share at the steps that its affiliate has reached, and within what limits leave."""
    card = prepared.card
    if card is None or card.version != share.version:
        card = prepared.tariff.card(prepared.facts.verdict.programme_id, share.version)
    if card is None or (not card.limits and not standing.steps):
        return share
    steps = {rule_id: step for affiliate_id, rule_id, step in standing.steps if step and affiliate_id == share.affiliate_id}
    caps = _caps(share.affiliate_id, card, _home_rate(prepared), standing) if card.limits else ()
    if not steps and not caps:
        return share
    if not steps:
        return msgspec.structs.replace(share, caps=caps)
    matched = share.matched
    if any(isinstance(rule, Rule) and rule.rule_id in steps for rule in matched):
        matched = tuple([_at_step(rule, steps.get(rule.rule_id, 0), prepared) if isinstance(rule, Rule) else rule for rule in matched])
    return msgspec.structs.replace(share, matched=matched, caps=caps)


def _at_step(rule: Rule, step: int, prepared: Prepared) -> Rule:
    """At a step of its tiers; these are in the tenant's currency still."""
    if not step:
        return rule
    stepped, rate = at_step(rule, step), _home_rate(prepared)
    fixed = stepped.fixed_minor
    return stepped if rate is None or fixed is None else msgspec.structs.replace(stepped, fixed_minor=_fixed_abroad(fixed, rate))


def _moments(prepared: Prepared, shares: Sequence[Share]) -> tuple[tuple[Moment, Moment], Uses]:
    """What the order comes to, and what it asks of limits. What was prepared holds where no step and no limit changes it."""
    lines, steps = prepared.facts.order.lines, prepared.remainder.steps
    if not _is_stepped(shares, prepared.shares):
        both = prepared.both if prepared.both is not None else moments(lines, prepared.shares, steps)
        asked = used(shares, both)
        if not _is_cut(shares, asked):
            return both, asked
    both = moments(lines, shares, steps)
    return both, used(shares, both)


def _is_stepped(shares: Sequence[Share], own: Sequence[Share]) -> bool:
    """True where a rule pays at a step of its tiers."""
    return any(share.matched is not before.matched for share, before in zip(shares, own, strict=True))


def _is_cut(shares: Sequence[Share], asked: Uses) -> bool:
    """True where a limit leaves less than the order asks for, so that its price is not what it would be without limits."""
    left = {(cap.limit_id, cap.affiliate_id): cap.left_minor for share in shares for cap in share.caps} if asked else {}
    return any(minor > left[account] for account, (minor, _) in asked.items())


def _caps(affiliate_id: str, card: RateCard, rate: Rate | None, standing: Standing) -> tuple[Cap, ...]:
    """What the card's limits leave, in the order's currency, rounded down; of a limit that the standing does not name, all of it."""
    left = {(limit_id, of): minor for limit_id, of, minor in standing.left}
    caps = []
    for limit in card.limits:
        of = account_of(limit, affiliate_id)
        minor = max(0, left.get((limit.limit_id, of), limit.amount_minor))
        caps.append(Cap(limit.limit_id, of, minor if rate is None else convert(minor, inverse(rate), "down"), limit.rules))
    return tuple(caps)


# --- what it means for others --------------------------------------------------------------------------------------------


def _uses(uses: Uses, rate: Rate | None) -> tuple[Use, ...]:
    """In the tenant's currency, rounded up: what was left, rounded down, is still enough for what it granted."""
    if not uses:
        return ()
    if rate is not None:
        uses = {key: (convert(asked, rate, "up"), convert(paid, rate, "up")) for key, (asked, paid) in uses.items()}
    return tuple([Use(*key, *uses[key]) for key in sorted(uses)])


def _tiered(shares: Sequence[Share]) -> frozenset[tuple[str, str]]:
    pairs = [(share.affiliate_id, rule) for share in shares for rule in share.matched]
    return frozenset([(name, rule.rule_id) for name, rule in pairs if isinstance(rule, Rule) and rule.tiers is not None])


def _parties(worth: Worth, shares: Sequence[Share], last: Moment | None, remainder: Remainder) -> tuple[Party, ...]:
    """What each affiliate brought: after refunds, at the rules' own rates, before limits; in the tenant's currency, rounded down.

    Without ``last``, commissions are 0. What was rejected, and what has no rate, counts nothing.
    """
    kept = remainder.steps[-1]
    net, is_left = sum([one.net_minor for one in kept]), int(not all(one.returned for one in kept))
    columns: dict[str, list[int]] = {}
    for column, share in enumerate(shares):
        columns.setdefault(share.affiliate_id, []).append(column)
    return tuple([_party(shares, mine, last, net, is_left, worth) for mine in columns.values()])


def _party(shares: Sequence[Share], columns: Sequence[int], last: Moment | None, net_minor: int, is_left: int, worth: Worth) -> Party:
    share = shares[columns[0]]
    if REJECTED in share.matched:
        return Party(share.affiliate_id, share.version, 0, 0, 0)
    part = share.part if len(columns) == 1 else sum((shares[column].part for column in columns), Fraction(0))
    earned = sum([row[column] for row in last.amounts for column in columns]) if last is not None else 0
    revenue = worth(net_minor * part.numerator // part.denominator)
    return Party(share.affiliate_id, share.version, is_left, revenue or 0, worth(earned) or 0)


# --- the currency ------------------------------------------------------------------------------------------------------


def _cannot_settle(card: RateCard | None, order: Order, setting: Setting) -> bool:
    foreign = card is not None and card.settle_in not in ("", order.currency)
    return foreign and card is not None and setting.rate_to(card.settle_in) is None


def _home_rate(prepared: Prepared) -> Rate | None:
    """From the order's currency to the tenant's; None where it is the same, and where there is no rate."""
    home, currency = prepared.tariff.tenant.currency, prepared.facts.order.currency
    return None if currency == home else prepared.setting.rate_to(home)


def _settled(target: Target, setting: Setting) -> Target:
    """The same in the currency that the card settles in."""
    card = target.card
    rate = setting.rate_to(card.settle_in) if card is not None and card.settle_in not in ("", target.currency) else None
    if card is None or rate is None:
        return target
    sold, last = (_converted(part, rate, card.fx_rounding) for part in (target.sold, target.last))
    return msgspec.structs.replace(target, currency=rate.quote, sold=sold, last=last, rate=rate)


def _converted(earnings: Sequence[Earning], rate: Rate, rounding: FxRounding) -> tuple[Earning, ...]:
    """What everybody has of the order is converted as a whole and laid over the lines: converted line by line, it might be a unit more
    after a refund that moves some of it to another line.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(earnings):
        places.setdefault((one.affiliate_id, one.part), []).append(place)
    settled = list(earnings)
    for mine in places.values():
        amounts = [earnings[place].amount_minor for place in mine]
        total = convert(sum(amounts), rate, rounding)
        for place, amount in zip(mine, lay(total, amounts) if total else [0] * len(mine), strict=True):
            settled[place] = _settled_line(earnings[place], amount, rate, rounding)
    return tuple(settled)


def _settled_line(earning: Earning, amount_minor: int, rate: Rate, rounding: FxRounding) -> Earning:
    return msgspec.structs.replace(
        earning,
        base_minor=convert(earning.base_minor, rate, rounding),
        amount_minor=amount_minor,
        capped_minor=convert(earning.capped_minor, rate, rounding),
        original_minor=earning.amount_minor if amount_minor else 0,
        reason=earning.reason if amount_minor or earning.reason else "zero_base",
    )
