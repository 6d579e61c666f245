"""What a sound rate card holds: rates that fit what they pay for, tiers that ascend, limits of rules that there are. Pure.

Flaws of a rule, a limit or a bonus begin with its id, and have a path to the field that they are about.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, get_args

from core.catalogue import Bonus, Extra, FxRounding, Limit, Measure, Per, Period, PricedAt, RateCard, Rule, Subject, Tier, Tiers
from core.conditions import clause_flaws, spoken_path
from core.events import CustomerStatus
from core.flaws import DAYS_LIMIT, STATUSES, WORDS_LIMIT, Flaw, Known, between, numbered, of_segments, one_of, repeated
from core.ids import is_slug
from core.money import CURRENCIES, LIMIT_MINOR

PRIORITY_LIMIT = 1_000_000
RULES_LIMIT = 1_000
NAMES_LIMIT = 1_000
"""Categories, or SKUs, of one rule."""
STEPS_LIMIT = 20
RECRUITERS_LIMIT = 10
PER: dict[Subject, tuple[Per, ...]] = {
    "order": ("order", "line", "unit"),
    "lead": ("lead",),
    "click": ("click",),
    "impression": ("thousand",),
}
"""What a fixed amount may be for, by what a rule pays for; the first is what is proposed."""

Said = tuple[tuple[str | int, ...], str]
"""A path within a part, and what is wrong there."""


def rate_card_flaws(card: RateCard, known: Known) -> Iterator[Flaw]:
    yield from numbered(card, known)
    yield from between("hold_days", card.hold_days, 0, DAYS_LIMIT)
    yield from one_of("priced_at", card.priced_at, get_args(PricedAt))
    yield from repeated("pays_on", card.pays_on)
    for extra in card.pays_on:
        yield from one_of("pays_on", extra, get_args(Extra))
    if not 0 <= card.minimum_order_minor <= LIMIT_MINOR:
        yield Flaw("minimum_order_minor", "is negative or beyond the largest amount taken")
    yield from _recruiters(card)
    if card.settle_in and card.settle_in not in CURRENCIES:
        yield Flaw("settle_in", f"{card.settle_in!r} is not an ISO 4217 code such as EUR")
    yield from one_of("fx_rounding", card.fx_rounding, get_args(FxRounding))
    yield from _parts("rules", "rule", [(rule.rule_id, _rule(rule, card, known)) for rule in card.rules], RULES_LIMIT)
    rules = {rule.rule_id for rule in card.rules}
    yield from _parts("limits", "limit", [(limit.limit_id, _limit(limit, rules)) for limit in card.limits], WORDS_LIMIT)
    yield from _parts("bonuses", "bonus", [(bonus.bonus_id, _bonus(bonus)) for bonus in card.bonuses], WORDS_LIMIT)


def _parts(field: str, noun: str, parts: list[tuple[str, Iterator[Said]]], most: int) -> Iterator[Flaw]:
    yield from repeated(field, tuple(part_id for part_id, _ in parts))
    if len(parts) > most:
        yield Flaw(field, f"has {len(parts)} entries; {most} is the most")
    for index, (part_id, said) in enumerate(parts):
        if not is_slug(part_id):
            yield Flaw(field, f"{noun} {part_id}: its id is not 1 to 63 small letters, digits and dashes", (index,))
        yield from (Flaw(field, f"{noun} {part_id}: {message}", (index, *path)) for path, message in said)


def _recruiters(card: RateCard) -> Iterator[Flaw]:
    if len(card.recruiter_bps) > RECRUITERS_LIMIT:
        yield Flaw("recruiter_bps", f"has {len(card.recruiter_bps)} levels; {RECRUITERS_LIMIT} is the most")
    if not all(0 <= bps <= 10_000 for bps in card.recruiter_bps):
        yield Flaw("recruiter_bps", "holds a percentage that is not between 0 % and 100 %")
    elif sum(card.recruiter_bps) > 10_000:
        yield Flaw("recruiter_bps", "is more than 100 % together")
    elif card.recruiter_bps and card.recruiter_bps[-1] == 0:
        yield Flaw("recruiter_bps", "ends with a level of 0 %; leave it out")
    yield from one_of("recruiter_of", card.recruiter_of, ("commission", "revenue"))


# --- rules -----------------------------------------------------------------------------------------------------------


def _rule(rule: Rule, card: RateCard, known: Known) -> Iterator[Said]:
    yield from _rates(rule)
    yield from _whole("priority", rule.priority, 0, PRIORITY_LIMIT)
    yield from _word("subject", rule.subject, get_args(Subject))
    yield from _word("per", rule.per, PER.get(rule.subject, get_args(Per)))
    yield from _word("customer_status", rule.customer_status, get_args(CustomerStatus), STATUSES)
    for field in ("categories", "skus"):
        if len(getattr(rule, field)) > NAMES_LIMIT:
            yield (field,), f"{field} has {len(getattr(rule, field))} entries; {NAMES_LIMIT} is the most"
    yield from (((flaw.field,), flaw.message) for flaw in of_segments("segments", rule.segments, card.tenant_id, known))
    yield from _only_orders(rule)
    if rule.most_minor is not None and not 1 <= rule.most_minor <= LIMIT_MINOR:
        yield ("most_minor",), "most is not positive, or beyond the largest amount taken"
    if rule.when is not None:
        for flaw in clause_flaws(rule.when, rule.subject, card.tenant_id, card.programme_id, known):
            path = ("when", *flaw.path)
            yield path, f"{spoken_path(path)}: {flaw.message}"
    if rule.tiers is not None:
        yield from _tiers(rule.tiers, rule)


def _rates(one: Rule | Tier) -> Iterator[Said]:
    if one.percent_bps is None and one.fixed_minor is None:
        yield (), "give percent or fixed, or both"
    if one.percent_bps is not None and not 0 <= one.percent_bps <= 10_000:
        yield ("percent_bps",), "percent is not between 0 % and 100 %"
    if one.fixed_minor is not None and not 0 <= one.fixed_minor <= LIMIT_MINOR:
        yield ("fixed_minor",), "fixed is negative or beyond the largest amount taken"


def _only_orders(rule: Rule) -> Iterator[Said]:
    """A lead, a click or an impression has no price, no lines and no customer, and nothing that could be counted up to a tier."""
    if rule.subject == "order" or rule.subject not in get_args(Subject):
        return
    for field in ("percent_bps", "categories", "skus", "customer_status", "segments", "most_minor", "tiers"):
        if getattr(rule, field) not in (None, (), ""):
            name = field.removesuffix("_bps").removesuffix("_minor")
            yield (field,), f"{name} is for orders, and the rule pays for the subject {rule.subject}"


def _tiers(tiers: Tiers, rule: Rule) -> Iterator[Said]:
    yield from _measured(tiers, "tiers")
    if not 1 <= len(tiers.steps) <= STEPS_LIMIT:
        yield ("tiers",), f"tiers: has {len(tiers.steps)} steps; 1 to {STEPS_LIMIT} are taken"
    for index, step in enumerate(tiers.steps):
        path = ("tiers", "steps", index)
        for inner, message in (*_step(step, rule), *_reached(step.at_least)):
            yield (*path, *inner), f"{spoken_path(path)}: {message}"
    for index, (lower, upper) in enumerate(pairwise(tiers.steps), 1):
        if upper.at_least <= lower.at_least:
            path = ("tiers", "steps", index)
            yield (*path, "at_least"), f"{spoken_path(path)}: at_least is not above that of the step before it"


def _step(step: Tier, rule: Rule) -> Iterator[Said]:
    """A step stands in place of all that the rule pays, so one that left out a half of it would take that away unsaid."""
    yield from _rates(step)
    same = (step.percent_bps is None) == (rule.percent_bps is None) and (step.fixed_minor is None) == (rule.fixed_minor is None)
    if not same and not (step.percent_bps is None and step.fixed_minor is None):
        halves = {"percent": rule.percent_bps, "fixed": rule.fixed_minor}
        given = " and ".join(name for name, value in halves.items() if value is not None)
        yield (), f"stands in place of the rule's own rates, so it gives what the rule gives: {given or 'percent or fixed'}"


# --- limits and bonuses ----------------------------------------------------------------------------------------------


def _limit(limit: Limit, rules: set[str]) -> Iterator[Said]:
    if not 1 <= limit.amount_minor <= LIMIT_MINOR:
        yield ("amount_minor",), "amount is not positive, or beyond the largest amount taken"
    yield from _word("period", limit.period, get_args(Period))
    yield from (((flaw.field,), f"rules: {flaw.message}") for flaw in repeated("rules", limit.rules))
    yield from ((("rules",), f"rules: {rule_id!r} is not a rule of this version") for rule_id in limit.rules if rule_id not in rules)


def _bonus(bonus: Bonus) -> Iterator[Said]:
    yield from _measured(bonus)
    yield from _reached(bonus.at_least)
    if not 1 <= bonus.pays_minor <= LIMIT_MINOR:
        yield ("pays_minor",), "pays is not positive, or beyond the largest amount taken"


def _measured(one: Tiers | Bonus, *path: str) -> Iterator[Said]:
    lead = f"{spoken_path(path)}: " if path else ""
    for inner, message in (*_word("measure", one.measure, get_args(Measure)), *_word("period", one.period, get_args(Period))):
        yield (*path, *inner), f"{lead}{message}"


def _reached(at_least: int) -> Iterator[Said]:
    if not 1 <= at_least <= LIMIT_MINOR:
        yield ("at_least",), "at_least is not positive, or beyond the largest that is taken"


def _word(field: str, value: str, choices: Iterable[Any], shown: Iterable[Any] = ()) -> Iterator[Said]:
    if value not in choices:
        yield (field,), f"{field} {value!r:.40} is not one of {', '.join(shown or choices)}"


def _whole(field: str, value: int, lowest: int, highest: int) -> Iterator[Said]:
    if not lowest <= value <= highest:
        yield (field,), f"{field} {value} is not between {lowest} and {highest}"
