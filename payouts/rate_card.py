"""How much a rule pays for lines, and in which order rules are tried. Pure: rates in basis points, amounts in minor units.

Rules are tried by priority (smallest first), then specificity (more conditions first), then rule id; :mod:`payouts.matching` finds
the first that fits. A refund never raises what a rule pays: every part of a price falls with what is left of the order.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from core.catalogue import Clause, Extra, Rule
from core.conditions import leaves_of
from core.events import Line, Order
from core.money import allocate, share_of
from payouts.refunds import Kept, Step

Reason = Literal[
    "no_rule",
    "excluded_item",
    "excluded_category",
    "returning_customer",
    "other_segment",
    "below_min_order",
    "recurring_limit",
    "cap_reached",
    "zero_base",
    "refunded",
    "currency_not_supported",
    "unattributed",
    "test",
    "fraud_rejected",
]
"""Why a line earns nothing; exactly one each. docs/money.md says what every reason means."""


class Quote(msgspec.Struct, frozen=True, gc=False):
    """What a rule pays for lines together: ``amount_minor``, after ``most_minor`` cut ``capped_minor`` off.

    ``weights`` lay the amount, or any part of it, over the lines (:func:`lay`): by what each line earns, or, where the rule pays an
    amount per order and nothing else, by the lines' remaining net.
    """

    amount_minor: int
    capped_minor: int
    weights: tuple[int, ...]


# --- which comes first -------------------------------------------------------------------------------------------------


def rank(rule: Rule) -> tuple[int, int, str]:
    """The order in which rules are tried: smallest priority, then most conditions, then id."""
    return (rule.priority, -conditions(rule), rule.rule_id)


def conditions(rule: Rule) -> int:
    """How special a rule is: the tests that it is made of. A list of categories is one test, however long."""
    return sum(len(leaves_of(clause)) for clause in clauses(rule))


def clauses(rule: Rule) -> tuple[Clause, ...]:
    """Everything that has to hold for a rule, its plain fields among it, as conditions."""
    own = (
        Clause("item", "category", "under", rule.categories),
        Clause("item", "sku", "in", rule.skus),
        Clause("customer", "status", "equals_to", (rule.customer_status,) if rule.customer_status else ()),
        Clause("customer", "segments", "in", rule.segments),
    )
    return tuple(clause for clause in own if clause.values) + ((rule.when,) if rule.when is not None else ())


# --- what it pays ------------------------------------------------------------------------------------------------------


def at_step(rule: Rule, step: int) -> Rule:
    """The rule as it pays at a step of its tiers: 0 is the rule itself; from 1 on, a step's rates stand in for all of the rule's own."""
    if step == 0:
        return rule
    assert rule.tiers is not None, f"rule {rule.rule_id} has no tiers, so it has no step {step}"
    tier = rule.tiers.steps[step - 1]
    return msgspec.structs.replace(rule, percent_bps=tier.percent_bps, fixed_minor=tier.fixed_minor)


def names_amounts(rule: Rule) -> bool:
    """True where what it pays depends on an amount in the tenant's currency, so that a foreign order needs a rate."""
    return bool(rule.fixed_minor) or rule.most_minor is not None


def pays(rule: Rule) -> bool:
    """False for an exclusion. Of a rule with tiers: its own rates."""
    return bool(rule.percent_bps or rule.fixed_minor)


def quote(rule: Rule, lines: Sequence[Line], kept: Sequence[Kept], bases: Sequence[int] | None = None) -> Quote:
    """What a rule pays for lines that are priced together (:func:`pools`).

    Args:
        bases: what a percentage is taken of, by line (:func:`bases_of`); None: the remaining net.

    A percentage is rounded towards zero, line by line. A fixed amount is paid in full until everything it pays for went back;
    per unit, for the units that are left: quantity times remaining net over net, rounded up; per order, once, laid over its
    lines by remaining net. Both together are added, and ``most_minor`` cuts the sum. No amount rises as lines go back.
    """
    parts = _percentages(rule, kept, bases)
    weights: Sequence[int] = parts
    if rule.fixed_minor:
        if rule.per == "order":
            by_net = _by_net(kept)
            once = 0 if all(one.returned for one in kept) else rule.fixed_minor
            weights = by_net if rule.percent_bps is None else [*map(sum, zip(parts, lay(once, by_net), strict=True))]
            parts = [sum(parts) + once]
        else:
            weights = parts = [part + rule.fixed_minor * count for part, count in zip(parts, _counts(rule, lines, kept), strict=True)]
    asked = sum(parts)
    amount = asked if rule.most_minor is None else min(asked, rule.most_minor)
    return Quote(amount, asked - amount, tuple(weights))


def price(rule: Rule, lines: Sequence[Line], kept: Sequence[Kept], bases: Sequence[int] | None = None) -> int:
    """The amount of a :func:`quote`."""
    return quote(rule, lines, kept, bases).amount_minor


def lay(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """An amount, or a share of it, over the lines that it was quoted for: largest remainder, ties to the earlier line."""
    return [amount_minor] if len(weights) == 1 else allocate(amount_minor, weights)


def pools(matched: Sequence[Rule | Reason]) -> list[tuple[Rule, list[int]]]:
    """Lines that are priced together, by index: those of one rule that pays per order or has a maximum; every other line for itself."""
    together: dict[tuple[str, int], tuple[Rule, list[int]]] = {}
    for index, rule in enumerate(matched):
        if isinstance(rule, Rule):
            shared = rule.most_minor is not None or (rule.per == "order" and bool(rule.fixed_minor))
            together.setdefault((rule.rule_id, -1 if shared else index), (rule, []))[1].append(index)
    return list(together.values())


def bases_of(order: Order, pays_on: Iterable[Extra], steps: Sequence[Step]) -> tuple[tuple[int, ...], ...]:
    """What percentages are taken of, by step and line: the remaining net, and the tax and shipping that a rate card pays on.

    The order's tax and shipping are laid over its lines once, by net as sold (largest remainder; without any net: on the first line).
    A line keeps its part in proportion to the net that is left of it, rounded down, and loses it with the line.
    """
    wanted = set(pays_on)
    extra = max(0, order.tax_minor) * ("tax" in wanted) + max(0, order.shipping_minor) * ("shipping" in wanted) if wanted else 0
    if not extra or not steps[0]:
        return tuple([tuple([one.net_minor for one in step]) for step in steps])
    sold = [one.net_minor for one in steps[0]]
    laid = lay(extra, _by_net(steps[0]))
    return tuple(tuple(map(_with_extra, step, sold, laid)) for step in steps)


def _with_extra(kept: Kept, sold_minor: int, extra_minor: int) -> int:
    if kept.returned:
        return 0
    return kept.net_minor + (extra_minor * kept.net_minor // sold_minor if sold_minor else extra_minor)


def why_nothing(matched: Rule | Reason, line: Line, kept: Kept, sold_base_minor: int | None = None) -> Reason:
    """The reason of a line that earns nothing under what matching said.

    ``sold_base_minor`` is what a percentage was taken of as sold; None: the line's net.
    """
    if not isinstance(matched, Rule):
        return matched
    if not pays(matched):
        return _why_excluded(matched)
    base = line.net_minor if sold_base_minor is None else sold_base_minor
    if not matched.fixed_minor and share_of(base, matched.percent_bps or 0) == 0:
        return "zero_base"  # whatever went back: it never earned
    if matched.most_minor == 0:
        return "cap_reached"
    if kept.returned or kept.net_minor < line.net_minor:
        return "refunded"
    return "zero_base"


@lru_cache(maxsize=1024)
def _why_excluded(rule: Rule) -> Reason:
    """An exclusion is named after the narrowest thing that it asks for."""
    asked = {(leaf.entity, leaf.attribute) for clause in clauses(rule) for leaf in leaves_of(clause)}
    if any(entity == "item" and attribute != "category" for entity, attribute in asked):
        return "excluded_item"
    if ("item", "category") in asked:
        return "excluded_category"
    return "returning_customer" if ("customer", "status") in asked else "no_rule"


def _percentages(rule: Rule, kept: Sequence[Kept], bases: Sequence[int] | None) -> list[int]:
    if rule.percent_bps is None:
        return [0] * len(kept)
    return [share_of(base, rule.percent_bps) for base in (bases if bases is not None else [one.net_minor for one in kept])]


def _counts(rule: Rule, lines: Sequence[Line], kept: Sequence[Kept]) -> list[int]:
    """How often a line earns the fixed amount."""
    if rule.per == "line":
        return [0 if one.returned else 1 for one in kept]
    return [_units_left(line, one) for line, one in zip(lines, kept, strict=True)]


def _units_left(line: Line, kept: Kept) -> int:
    if kept.returned or line.net_minor <= 0:
        return 0 if kept.returned else line.quantity
    return -(-line.quantity * kept.net_minor // line.net_minor)


def _by_net(kept: Sequence[Kept]) -> list[int]:
    """Weights of an amount per order: remaining net; all zero: the first line left."""
    nets = [one.net_minor for one in kept]
    if not any(nets):
        nets = [0] * len(kept)
        nets[next((index for index, one in enumerate(kept) if not one.returned), 0)] = 1
    return nets
