"""Which rule pays an order line, and how much. Pure: rates in basis points, amounts in minor units.

The rule that pays is the first match by priority (smallest first), then specificity (more conditions first), then rule id.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from core.catalogue import Rule
from core.events import CustomerStatus, Line
from core.money import allocate, format_amount, share_of
from payouts.refunds import Kept

Reason = Literal[
    "no_rule",
    "excluded_item",
    "excluded_category",
    "returning_customer",
    "other_segment",
    "zero_base",
    "refunded",
    "currency_not_supported",
    "unattributed",
    "test",
]
"""Why a line earns nothing; exactly one each. docs/money.md says what every reason means."""


class Context(msgspec.Struct, frozen=True):
    """What a rule may ask about the order as a whole. ``customer_status`` empty: unknown, which no condition matches.

    ``segments`` are all that the order is in.
    """

    currency: str
    tenant_currency: str
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()


def match(rules: Iterable[Rule], line: Line, context: Context) -> Rule | Reason:
    """The rule that pays a line, or why none does.

    ``returning_customer`` means: a rule fits but for the customer's status; ``other_segment``: one fits but for the order's
    segments. A fixed amount is in the tenant's currency; where it is the match and the order is in another, the line earns
    nothing (``currency_not_supported``).
    """
    fitting = [rule for rule in sorted(rules, key=rank) if _fits_line(rule, line)]
    in_segment = [rule for rule in fitting if not rule.segments or not set(rule.segments).isdisjoint(context.segments)]
    for rule in in_segment:
        if rule.customer_status in ("", context.customer_status):
            foreign = rule.percent_bps is None and context.currency != context.tenant_currency
            return "currency_not_supported" if foreign else rule
    return "returning_customer" if in_segment else "other_segment" if fitting else "no_rule"


def price(rule: Rule, lines: Sequence[Line], kept: Sequence[Kept]) -> int:
    """What a rule pays for lines that matched it together: all of an order's for a fixed amount per order, else one line.

    A percentage is rounded towards zero, line by line. A fixed amount is paid in full until everything it pays for went
    back; per unit, for the units that are left: quantity times remaining net over net, rounded up.
    """
    if rule.percent_bps is not None:
        return sum(share_of(one.net_minor, rule.percent_bps) for one in kept)
    fixed = rule.fixed_minor or 0
    if rule.per == "order":
        return 0 if all(one.returned for one in kept) else fixed
    if rule.per == "line":
        return sum(0 if one.returned else fixed for one in kept)
    return sum(fixed * _units_left(line, one) for line, one in zip(lines, kept, strict=True))


def spread(amount_minor: int, kept: Sequence[Kept]) -> list[int]:
    """Lay a fixed amount per order over its lines: by remaining net, largest remainder; all zero: the first line left."""
    if len(kept) == 1:
        return [amount_minor]
    nets = [one.net_minor for one in kept]
    if not any(nets):
        nets = [0] * len(kept)
        nets[next((index for index, one in enumerate(kept) if not one.returned), 0)] = 1
    return allocate(amount_minor, nets)


def pools(matched: Sequence[Rule | Reason]) -> list[tuple[Rule, list[int]]]:
    """Lines that are priced together, by index: those of one fixed amount per order; every other line for itself."""
    together: dict[tuple[str, int], tuple[Rule, list[int]]] = {}
    for index, rule in enumerate(matched):
        if isinstance(rule, Rule):
            shared = rule.percent_bps is None and rule.per == "order"
            together.setdefault((rule.rule_id, -1 if shared else index), (rule, []))[1].append(index)
    return list(together.values())


def why_nothing(matched: Rule | Reason, line: Line, kept: Kept) -> Reason:
    """The reason of a line that earns nothing under what :func:`match` said."""
    if not isinstance(matched, Rule):
        return matched
    if not (matched.percent_bps or matched.fixed_minor):
        return "excluded_item" if matched.skus else "excluded_category" if matched.categories else "no_rule"
    if matched.percent_bps is not None and share_of(line.net_minor, matched.percent_bps) == 0:
        return "zero_base"  # whatever went back: it never earned
    if kept.returned or kept.net_minor < line.net_minor:
        return "refunded"
    return "zero_base"


def sentence(rule: Rule, currency: str) -> str:
    """A rule in plain words: "Shoes pay 8 % of the net price for new customers in the segment firms".

    ``currency`` is the tenant's.
    """
    pays = _pays(rule, currency)
    verb = "pays" if _subject_is_one(rule) else "pay"
    text = f"{_subject(rule)} {verb} {pays}{_customers(rule)}"
    return text[0].upper() + text[1:]


def rank(rule: Rule) -> tuple[int, int, str]:
    """The order in which rules are tried: smallest priority, then most conditions, then id."""
    return (rule.priority, -sum(map(bool, (rule.categories, rule.skus, rule.customer_status, rule.segments))), rule.rule_id)


def _fits_line(rule: Rule, line: Line) -> bool:
    return (not rule.categories or line.category in rule.categories) and (not rule.skus or line.sku in rule.skus)


def _units_left(line: Line, kept: Kept) -> int:
    if kept.returned or line.net_minor <= 0:
        return 0 if kept.returned else line.quantity
    return -(-line.quantity * kept.net_minor // line.net_minor)


def _pays(rule: Rule, currency: str) -> str:
    if not (rule.percent_bps or rule.fixed_minor):
        return "nothing"
    if rule.percent_bps is not None:
        return f"{percent(rule.percent_bps)} of the net price"
    amount = f"{format_amount(rule.fixed_minor or 0, currency)} {currency}"
    return amount if not (rule.skus or rule.categories) else f"{amount} per {rule.per}"


def percent(bps: int) -> str:
    """``825`` basis points as ``8.25 %``; no zeros at the end."""
    whole, rest = divmod(bps, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + " %"


def _customers(rule: Rule) -> str:
    noun = f"{rule.customer_status} customers" if rule.customer_status else "orders" if rule.segments else ""
    if not rule.segments:
        return f" for {noun}" if noun else ""
    one = len(rule.segments) == 1
    return f" for {noun} in the segment{'' if one else 's'} {_listed(rule.segments, 'or')}"


def _subject(rule: Rule) -> str:
    if rule.skus:
        noun = "SKU" if len(rule.skus) == 1 else "SKUs"
        return f"{noun} {_listed(rule.skus)}" + (f" in {_listed(rule.categories)}" if rule.categories else "")
    if rule.categories:
        return _listed(rule.categories)
    return f"every {rule.per}" if rule.fixed_minor else "everything"


def _subject_is_one(rule: Rule) -> bool:
    return len(rule.skus) == 1 if rule.skus else not rule.categories


def _listed(names: Sequence[str], conjunction: str = "and") -> str:
    shown = [name or "(none)" for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {conjunction} {shown[-1]}"
