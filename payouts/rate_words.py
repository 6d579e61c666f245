"""A rate card in plain words: one sentence for each rule, and for what the card says beside its rules. Pure.

The words are made from the rule, never typed by hand, and name every value that it holds, so that portal, statement and explanation say
the same, and what they say is what is paid.
"""

from collections.abc import Callable, Sequence

import msgspec

from core.catalogue import Bonus, Clause, Limit, Measure, Period, RateCard, Rule, Tier, Tiers
from core.conditions import kind_of
from core.money import format_amount, parse_amount
from payouts.rate_card import conditions, pays, rank

NOUNS = {
    "affiliate.id": "the affiliate",
    "affiliate.group": "the affiliate's group",
    "affiliate.days": "the number of days since the affiliate's approval",
    "customer.status": "the customer",
    "customer.segments": "the order's segments",
    "customer.country": "the customer's country",
    "customer.orders": "the number of the customer's order",
    "customer.months": "the number of months since the customer's first order",
    "order.value": "the order's value",
    "order.channel": "the order's channel",
    "order.store": "the store",
    "order.store_segment": "the store's segment",
    "order.currency": "the order's currency",
    "order.coupons": "the order's coupons",
    "order.coupon_classes": "the classes of the order's coupons",
    "order.weekday": "the weekday",
    "item.sku": "the SKU",
    "item.name": "the product's name",
    "item.category": "the category",
    "item.brand": "the brand",
    "item.kind": "the kind of product",
    "item.price": "the price of one unit",
    "item.quantity": "the quantity",
    "item.discount": "the discount in percent",
    "touch.class": "the kind of touch",
    "touch.country": "the country of the touch",
    "touch.device": "the device",
    "touch.channel": "the channel of the touch",
    "touch.link": "the link",
    "touch.referrer": "the referring host",
    "touch.hours": "the age of the touch in hours",
    "lead.name": "the lead",
}
"""What each attribute is called; an attribute that the shop sends is called by its name."""

_ONE = {
    "equals_to": "is {}",
    "in": "is {}",
    "not_equals": "is not {}",
    "not_in": "is neither {}",
    "starts_with": "begins with {}",
    "ends_with": "ends with {}",
    "contains": "contains {}",
    "not_contains": "contains neither {}",
    "under": "is {}, or below it in the tree",
    "greater_than": "is more than {}",
    "greater_than_or_equal": "is at least {}",
    "less_than": "is less than {}",
    "less_than_or_equal": "is at most {}",
}
_SEVERAL = {
    "equals_to": "include {}",
    "in": "include {}",
    "not_equals": "do not include {}",
    "not_in": "include neither {}",
    "starts_with": "include one that begins with {}",
    "ends_with": "include one that ends with {}",
    "contains": "include one that contains {}",
    "not_contains": "include none that contains {}",
}
_NOT_ONE = {"is neither {}": "is not {}", "contains neither {}": "does not contain {}", "include neither {}": "do not include {}"}
"""What is said where a negative has a single value."""
_SPANS: dict[Period, str] = {
    "day": "in a day",
    "week": "in a week",
    "month": "in a month",
    "quarter": "in a quarter",
    "year": "in a year",
    "lifetime": "in all",
}
_NOUN_OF: dict[Measure, str] = {"orders": "orders", "revenue": "revenue", "commission": "commission"}


def sentence(rule: Rule, currency: str) -> str:
    """A rule in plain words: "Shoes pay 8 % of the net price for new customers in the segment firms".

    ``currency`` is the tenant's.
    """
    verb = "pays" if _subject_is_one(rule) else "pay"
    where = f" where {clause_words(rule.when, currency)}" if rule.when is not None else ""
    text = f"{_subject(rule)} {verb} {_pays(rule, currency)}{_customers(rule)}{where}{_most(rule, currency)}{_tiers(rule, currency)}"
    return text[0].upper() + text[1:]


def clause_words(clause: Clause, currency: str) -> str:
    """A condition as the end of a sentence: "the order's value is at least 50.00 EUR and the weekday is sunday"."""
    if clause.operator:
        return _test(clause, currency)
    inner = clause.any or clause.all
    parts = [_grouped(one, clause_words(one, currency)) for one in inner]
    return (" or " if clause.any else " and ").join(parts) or "anything holds"


def card_sentences(card: RateCard, currency: str) -> list[str]:
    """All that a card says: its rules in the order in which they are tried, then its :func:`terms`."""
    return [sentence(rule, currency) for rule in sorted(card.rules, key=rank)] + terms(card, currency)


def terms(card: RateCard, currency: str) -> list[str]:
    """What a card says beside its rules and its hold; empty where everything is as usual."""
    amount = _amounts(currency)
    found = []
    if card.minimum_order_minor:
        found.append(f"Orders below {amount(card.minimum_order_minor)} earn nothing")
    if card.pays_on:
        found.append(f"Percentages are taken of the net price plus {_listed(sorted(card.pays_on))}")
    found += [_limit(limit, amount) for limit in card.limits]
    found += [_bonus(bonus, amount) for bonus in card.bonuses]
    if card.recruiter_bps:
        found.append(_recruiters(card))
    if card.priced_at == "touch":
        found.append("An order is paid by the rates that were in force when its touch happened")
    if card.settle_in:
        rounded = {"down": "down", "up": "up", "half_even": "to the nearest, ties to the even"}[card.fx_rounding]
        found.append(f"Commissions are booked in {card.settle_in}; what is converted is rounded {rounded}")
    return found


class Tried(msgspec.Struct, frozen=True):
    """A rule's place in the order of trial, from 1, and why it is not further down: ``why`` compares it with the rule behind it."""

    place: int
    rule: Rule
    why: str


def precedence(card: RateCard) -> list[Tried]:
    """A card's rules in the order in which they are tried, each with the reason; rules of other subjects never meet."""
    found = []
    for subject in sorted({rule.subject for rule in card.rules}, key="order lead click impression".split().index):
        ordered = sorted((rule for rule in card.rules if rule.subject == subject), key=rank)
        followers: list[Rule | None] = [*ordered[1:], None]
        found += [Tried(place, rule, _why(rule, next_)) for place, (rule, next_) in enumerate(zip(ordered, followers, strict=True), 1)]
    return found


def percent(bps: int) -> str:
    """``825`` basis points as ``8.25 %``; no zeros at the end."""
    whole, rest = divmod(bps, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + " %"


# --- a rule ------------------------------------------------------------------------------------------------------------


def _pays(rule: Rule, currency: str) -> str:
    if not pays(rule):
        return "nothing"
    amount = _amounts(currency)(rule.fixed_minor or 0)
    if not rule.percent_bps:
        return amount if not (rule.skus or rule.categories) or rule.subject != "order" else f"{amount} per {rule.per}"
    return _rates(rule, rule, currency)


def _rates(rule: Rule, rates: Rule | Tier, currency: str) -> str:
    parts = []
    if rates.percent_bps or not rates.fixed_minor:
        parts.append("nothing" if not rates.percent_bps else f"{percent(rates.percent_bps)} of the net price")
    if rates.fixed_minor:
        parts.append(f"{_amounts(currency)(rates.fixed_minor)} per {_PER.get(rule.per, rule.per)}")
    return " plus ".join(parts)


_PER = {"thousand": "thousand impressions"}


def _subject(rule: Rule) -> str:
    if rule.skus:
        noun = "SKU" if len(rule.skus) == 1 else "SKUs"
        return f"{noun} {_listed(rule.skus)}" + (f" in {_listed(rule.categories)}" if rule.categories else "")
    if rule.categories:
        return _listed(rule.categories)
    if rule.subject != "order":
        return "every thousand impressions" if rule.per == "thousand" else f"every {rule.subject}"
    return f"every {rule.per}" if rule.fixed_minor and not rule.percent_bps else "everything"


def _subject_is_one(rule: Rule) -> bool:
    return len(rule.skus) == 1 if rule.skus else not rule.categories


def _customers(rule: Rule) -> str:
    noun = f"{rule.customer_status} customers" if rule.customer_status else "orders" if rule.segments else ""
    if not rule.segments:
        return f" for {noun}" if noun else ""
    one = len(rule.segments) == 1
    return f" for {noun} in the segment{'' if one else 's'} {_listed(rule.segments, 'or')}"


def _most(rule: Rule, currency: str) -> str:
    return "" if rule.most_minor is None else f", at most {_amounts(currency)(rule.most_minor)} for an order"


def _tiers(rule: Rule, currency: str) -> str:
    if rule.tiers is None:
        return ""
    steps = [f"{_rates(rule, tier, currency)} from {_reached(rule.tiers, tier, currency)} on" for tier in rule.tiers.steps]
    what = "the orders" if rule.subject == "order" else "those"
    if not rule.tiers.retroactive:
        return f"; {_listed(steps)}, for {what} that follow"
    return f"; {_listed(steps)}, for {f'all {what} ever' if rule.tiers.period == 'lifetime' else f'the whole {rule.tiers.period}'}"


def _reached(tiers: Tiers, tier: Tier, currency: str) -> str:
    return _measured(tiers.measure, tier.at_least, tiers.period, _amounts(currency))


# --- a condition -------------------------------------------------------------------------------------------------------


def _test(leaf: Clause, currency: str) -> str:
    kind = kind_of(leaf.entity, leaf.attribute)
    name = f"{leaf.entity}.{leaf.attribute}"
    values = [_value(text, currency) for text in leaf.values] if kind == "amount" else leaf.values
    words = (_SEVERAL if kind == "texts" else _ONE)[leaf.operator or "in"]
    if len(values) == 1:
        words = _NOT_ONE.get(words, words)
    listed = _listed(values, "nor" if "neither" in words else "or")
    return f"{NOUNS.get(name) or _attribute(leaf)} {words.format(listed)}"


def _attribute(leaf: Clause) -> str:
    if leaf.entity == "touch" and leaf.attribute.startswith("sub"):
        return f"the touch's {leaf.attribute}"
    return f"{'the product' if leaf.entity == 'item' else f'the {leaf.entity}'}'s {leaf.attribute}"


def _value(text: str, currency: str) -> str:
    return f"{format_amount(parse_amount(text, currency), currency)} {currency}"


def _grouped(clause: Clause, words: str) -> str:
    """In brackets where it is a group itself."""
    return f"({words})" if len(clause.any or clause.all) > 1 else words


# --- what stands beside the rules ----------------------------------------------------------------------------------------


def _limit(limit: Limit, amount: Callable[[int], str]) -> str:
    whose = "all affiliates together" if limit.shared else "each affiliate"
    rules = "" if not limit.rules else f" by the {'rule' if len(limit.rules) == 1 else 'rules'} {_listed(limit.rules)}"
    return f"At most {amount(limit.amount_minor)} {_SPANS[limit.period]} is paid{rules} to {whose}"


def _bonus(bonus: Bonus, amount: Callable[[int], str]) -> str:
    once = "" if bonus.period == "lifetime" else f", once for each {bonus.period}"
    measured = _measured(bonus.measure, bonus.at_least, bonus.period, amount)
    return f"A bonus of {amount(bonus.pays_minor)} is paid from {measured} on{once}"


def _recruiters(card: RateCard) -> str:
    of = "the affiliate's commission" if card.recruiter_of == "commission" else "the net price that the affiliate is credited with"
    shares = [percent(bps) for bps in card.recruiter_bps]
    above = f", and those further up {_listed(shares[1:])} in turn" if len(shares) > 1 else ""
    return f"Whoever recruited an affiliate earns {shares[0]} of {of}{above}"


def _measured(measure: Measure, at_least: int, period: Period, amount: Callable[[int], str]) -> str:
    what = f"{at_least} {'order' if at_least == 1 else 'orders'}" if measure == "orders" else f"{amount(at_least)} of {_NOUN_OF[measure]}"
    return f"{what} {_SPANS[period]}"


def _why(rule: Rule, behind: Rule | None) -> str:
    if behind is None:
        return "the last"
    if rule.priority != behind.priority:
        return f"priority {rule.priority} comes before {behind.priority}"
    own, other = conditions(rule), conditions(behind)
    if own != other:
        return f"priority {rule.priority} as the next has, and more conditions: {own} against {other}"
    return f"priority {rule.priority} and as many conditions as the next, and {rule.rule_id} comes before {behind.rule_id}"


def _amounts(currency: str) -> Callable[[int], str]:
    return lambda minor: f"{format_amount(minor, currency)} {currency}"


def _listed(names: Sequence[str], conjunction: str = "and") -> str:
    shown = [name or "(none)" for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {conjunction} {shown[-1]}"
