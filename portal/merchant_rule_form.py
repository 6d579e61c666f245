"""One rule of a rate card as a row of the form: fields ``rule_id_2``, ``percent_2`` and so on; its conditions in rows of their own
(``attribute_2_0``), the steps of its tiers too (``at_least_2_0``).

What a row does not spell out is not written again but named, so that nothing of it can get lost: ``kept_2`` is ``7/boots``, the
rule boots of version 7 as it stands; ``clause_2_1`` is ``7/boots/3``, the fourth clause of its condition, whatever is within it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast, get_args

from core.catalogue import Clause, Measure, Operator, Per, Period, RateCard, Rule, Subject, Tier, Tiers
from core.conditions import ATTRIBUTES, CLAUSES_LIMIT
from core.events import CustomerStatus
from core.money import LIMIT_MINOR, format_amount
from core.rate_rules import PER, PRIORITY_LIMIT, STEPS_LIMIT
from portal.entries import plain_percent, read_entries, typed_list
from portal.forms import Form

Part = TypeVar("Part", Rule, Clause)
Path = tuple[str | int, ...]
Fields = dict[Path, str]
"""Where each part of a card was typed: ``("rules", 0, "percent_bps")`` in ``percent_3``."""
Sources = Mapping[str, Rule]
"""The rules that rows may stand for, by what they are called: ``7/boots``."""

SUBJECTS: dict[Subject, str] = {"order": "orders", "lead": "leads", "click": "clicks", "impression": "impressions"}
PERS: dict[Per, str] = {"line": "each line", "order": "each order", "unit": "each unit"}
"""Of an order. Of anything else there is one choice alone, which nobody needs to make."""
CUSTOMERS: dict[CustomerStatus, str] = {"": "all", "new": "new", "returning": "returning", "lapsed": "lapsed"}
MEASURES: dict[Measure, str] = {"orders": "credited orders", "revenue": "credited revenue", "commission": "commission"}
PERIODS: dict[Period, str] = {
    "month": "a month",
    "quarter": "a quarter",
    "year": "a year",
    "week": "a week",
    "day": "a day",
    "lifetime": "all time",
}
REACH = {"no": "the orders that follow", "yes": "all of the period"}
JOINED = {"all": "all of them hold", "any": "any one of them holds"}
OPERATORS: dict[Operator, str] = {
    "in": "is one of",
    "not_in": "is none of",
    "equals_to": "is",
    "not_equals": "is not",
    "under": "is, or stands below",
    "starts_with": "begins with",
    "ends_with": "ends with",
    "contains": "contains",
    "not_contains": "does not contain",
    "greater_than_or_equal": "is at least",
    "greater_than": "is more than",
    "less_than_or_equal": "is at most",
    "less_than": "is less than",
}
OWN = ("order.*", "item.*")
"""What the shop sends itself; its name is typed beside it."""
ASKED = frozenset({f"{entity}.{attribute}" for entity, attribute in ATTRIBUTES} | {*OWN})
SPARE_STEPS = 2
_OF_PART = re.compile(r"(limit|bonus)?[a-z_]+?_(\d+)(?:_\d+)?")

_TYPED = ("rule_id", "percent", "fixed", "categories", "skus", "segments", "most", "customer_status")


def part_of(field: str) -> tuple[str, int] | None:
    """The row that a field belongs to: ``("rule", 2)``, ``("limit", 0)``; None for a field beside them."""
    match = _OF_PART.fullmatch(field)
    return (match[1] or "rule", int(match[2])) if match else None


# --- from a rule to a row ----------------------------------------------------------------------------------------------


def spell(form: Form, row: int, source: str, rule: Rule, currency: str) -> None:
    """A row with everything of the rule that ``source`` names in its fields, and blank rows for more."""
    form.values.pop(f"kept_{row}", None)
    for name, text in _typed(rule, currency).items():
        form.values[f"{name}_{row}"] = [text]
    _spell_condition(form, row, source, rule.when)
    _spell_tiers(form, row, rule.tiers, currency)


def add_rule(form: Form, row: int) -> None:
    """A blank row."""
    form.values[f"rule_id_{row}"] = [""]
    add_condition(form, row)
    _spell_tiers(form, row, None, "")


def add_condition(form: Form, row: int) -> None:
    number = count_conditions(form, row)
    if number < CLAUSES_LIMIT:
        form.values[f"attribute_{row}_{number}"] = [""]


def add_step(form: Form, row: int) -> None:
    number = count_steps(form, row)
    if number < STEPS_LIMIT:
        form.values[f"at_least_{row}_{number}"] = [""]


def count_conditions(form: Form, row: int) -> int:
    return count_rows(form, CLAUSES_LIMIT, f"attribute_{row}", f"clause_{row}")


def count_steps(form: Form, row: int) -> int:
    return count_rows(form, STEPS_LIMIT, f"at_least_{row}")


def count_rows(form: Form, most: int, *names: str) -> int:
    """Rows are numbered from 0 without gaps; what lies behind a gap, or beyond ``most``, is not read."""
    return next((row for row in range(most) if not any(f"{name}_{row}" in form.values for name in names)), most)


def _typed(rule: Rule, currency: str) -> dict[str, str]:
    return {
        "rule_id": rule.rule_id,
        "subject": rule.subject,
        "percent": "" if rule.percent_bps is None else plain_percent(rule.percent_bps),
        "fixed": _typed_amount(rule.fixed_minor, currency),
        "per": rule.per if rule.per in PERS else "line",
        "categories": typed_list(rule.categories),
        "skus": typed_list(rule.skus),
        "customer_status": rule.customer_status,
        "segments": typed_list(rule.segments),
        "priority": str(rule.priority),
        "most": _typed_amount(rule.most_minor, currency),
    }


def _typed_amount(minor: int | None, currency: str) -> str:
    return "" if minor is None else format_amount(minor, currency)


def _spell_condition(form: Form, row: int, source: str, when: Clause | None) -> None:
    """A test is a row; what is deeper, or a group of one, is named."""
    members = () if when is None else _members(when)
    grouped = len(members) > 1
    form.values[f"joined_{row}"] = ["any" if grouped and when is not None and when.any else "all"]
    for number, clause in enumerate(members):
        if not clause.operator:
            form.values[f"clause_{row}_{number}"] = [f"{source}/{number if grouped else '-'}"]
            continue
        place = f"{clause.entity}.{clause.attribute}"
        own = place not in ASKED
        form.values |= {
            f"attribute_{row}_{number}": [f"{clause.entity}.*" if own else place],
            f"own_{row}_{number}": [clause.attribute if own else ""],
            f"operator_{row}_{number}": [clause.operator],
            f"values_{row}_{number}": [typed_list(clause.values)],
        }
    add_condition(form, row)


def _members(when: Clause) -> tuple[Clause, ...]:
    members = when.all + when.any
    return members if len(members) > 1 else (when,)


def _spell_tiers(form: Form, row: int, tiers: Tiers | None, currency: str) -> None:
    steps = tiers.steps if tiers is not None else ()
    if tiers is not None:
        form.values |= {
            f"tier_measure_{row}": [tiers.measure],
            f"tier_period_{row}": [tiers.period],
            f"tier_retroactive_{row}": ["yes" if tiers.retroactive else "no"],
        }
    for number, step in enumerate(steps):
        assert tiers is not None, "steps are those of tiers"
        form.values |= {
            f"at_least_{row}_{number}": [typed_measure(step.at_least, tiers.measure, currency)],
            f"step_percent_{row}_{number}": ["" if step.percent_bps is None else plain_percent(step.percent_bps)],
            f"step_fixed_{row}_{number}": [_typed_amount(step.fixed_minor, currency)],
        }
    for _ in range(1 if steps else SPARE_STEPS):
        add_step(form, row)


def typed_measure(at_least: int, measure: str, currency: str) -> str:
    """A count of orders, or an amount."""
    return str(at_least) if measure == "orders" else format_amount(at_least, currency)


# --- from a row to a rule ----------------------------------------------------------------------------------------------


def is_blank(form: Form, row: int) -> bool:
    """True where a row says nothing, or is ticked to be left out."""
    if form.checked(f"out_{row}"):
        return True
    typed = any(form.raw(f"{name}_{row}").strip() for name in (*_TYPED, "kept"))
    return not typed and not _condition_rows(form, row) and not _step_rows(form, row)


def read_rule(form: Form, row: int, place: int, currency: str, sources: Sources, fields: Fields) -> Rule:
    """The rule of a row, the card's rule ``place``; its faults are noted on the form, and in ``fields`` where its parts were typed."""
    if f"kept_{row}" in form.values:
        fields["rules", place] = f"kept_{row}"
        return sources.get(form.raw(f"kept_{row}")) or _lost(form, f"kept_{row}", Rule(""))
    fields |= {("rules", place, field): f"{name}_{row}" for field, name in _NAMES.items()} | {("rules", place): f"percent_{row}"}
    subject = cast("Subject", form.choice(f"subject_{row}", SUBJECTS, required=False) or "order")
    per = cast("Per", form.choice(f"per_{row}", PERS, required=False) or "line")
    return Rule(
        rule_id=form.slug(f"rule_id_{row}"),
        priority=form.whole(f"priority_{row}", 0, PRIORITY_LIMIT) if form.raw(f"priority_{row}").strip() else 100,
        percent_bps=form.percent(f"percent_{row}", required=False),
        fixed_minor=read_amount(form, f"fixed_{row}", currency),
        per=per if subject == "order" else PER[subject][0],
        categories=read_entries(form, f"categories_{row}"),
        skus=read_entries(form, f"skus_{row}"),
        customer_status=cast("CustomerStatus", form.choice(f"customer_status_{row}", CUSTOMERS, required=False)),
        segments=read_entries(form, f"segments_{row}"),
        subject=subject,
        when=_read_condition(form, row, place, sources, fields),
        most_minor=read_amount(form, f"most_{row}", currency),
        tiers=_read_tiers(form, row, place, currency, fields),
    )


_NAMES = {
    "subject": "subject",
    "percent_bps": "percent",
    "fixed_minor": "fixed",
    "per": "per",
    "categories": "categories",
    "skus": "skus",
    "customer_status": "customer_status",
    "segments": "segments",
    "priority": "priority",
    "most_minor": "most",
    "when": "joined",
    "tiers": "tier_measure",
}


def sources_of(cards: Sequence[RateCard]) -> Sources:
    return {named(card, rule): rule for card in cards for rule in card.rules}


def named(card: RateCard, rule: Rule) -> str:
    """What a rule is called that stands in a row as it is."""
    return f"{card.version}/{rule.rule_id}"


def find_clause(sources: Sources, name: str) -> Clause | None:
    """The clause that ``7/boots/3`` names; ``7/boots/-`` is the whole condition."""
    source, _, last = name.rpartition("/")
    rule = sources.get(source)
    if rule is None or rule.when is None or last == "-":
        return rule.when if rule else None
    members = dict(zip(map(str, range(CLAUSES_LIMIT)), rule.when.all + rule.when.any, strict=False))
    return members.get(last)


def read_amount(form: Form, field: str, currency: str, *, required: bool = False) -> int | None:
    """An amount that is not negative; None where the field is empty."""
    amount = form.amount(field, currency, required=required)
    if amount is not None and amount < 0:
        form.fault(field, f"Please give an amount in {currency} that is not negative.")
    return amount


def read_measure(form: Form, field: str, measure: str, currency: str) -> int:
    """The inverse of :func:`typed_measure`."""
    if measure == "orders":
        return form.whole(field, 1, LIMIT_MINOR)
    return read_amount(form, field, currency, required=True) or 0


def _read_condition(form: Form, row: int, place: int, sources: Sources, fields: Fields) -> Clause | None:
    rows = _condition_rows(form, row)
    joined = form.choice(f"joined_{row}", JOINED, required=False) or "all"
    for index, number in enumerate(rows):
        name = "clause" if f"clause_{row}_{number}" in form.values else "values"
        path: Path = ("rules", place, "when", joined, index) if len(rows) > 1 else ("rules", place, "when")
        fields[path] = f"{name}_{row}_{number}"
    clauses = tuple(_read_clause(form, f"{row}_{number}", sources) for number in rows)
    if len(clauses) < 2:
        return clauses[0] if clauses else None
    return Clause(any=clauses) if joined == "any" else Clause(all=clauses)


def _condition_rows(form: Form, row: int) -> list[int]:
    """Those that say something and are not ticked to be left out."""

    def says(number: int) -> bool:
        kept = f"clause_{row}_{number}" in form.values and not form.checked(f"drop_{row}_{number}")
        return kept or any(form.raw(f"{name}_{row}_{number}").strip() for name in ("attribute", "own", "values"))

    return [number for number in range(count_conditions(form, row)) if says(number)]


def _read_clause(form: Form, at: str, sources: Sources) -> Clause:
    if f"clause_{at}" in form.values:
        return find_clause(sources, form.raw(f"clause_{at}")) or _lost(form, f"clause_{at}", Clause())
    asked = form.choice(f"attribute_{at}", ASKED)
    entity, _, attribute = asked.partition(".")
    if asked in OWN:
        attribute = form.text(f"own_{at}", longest=64)
    operator = cast("Operator", form.choice(f"operator_{at}", OPERATORS, required=False) or "in")
    values = read_entries(form, f"values_{at}")
    if not values:
        form.fault(f"values_{at}", "Please fill this in.")
    return Clause(cast("Any", entity), attribute, operator, values)


def _read_tiers(form: Form, row: int, place: int, currency: str, fields: Fields) -> Tiers | None:
    rows = _step_rows(form, row)
    measure = cast("Measure", form.choice(f"tier_measure_{row}", get_args(Measure), required=False) or "orders")
    period = cast("Period", form.choice(f"tier_period_{row}", get_args(Period), required=False) or "month")
    retroactive = form.choice(f"tier_retroactive_{row}", REACH, required=False) == "yes"
    fields["rules", place, "tiers", "period"] = f"tier_period_{row}"
    for index, number in enumerate(rows):
        path = ("rules", place, "tiers", "steps", index)
        fields |= {path: f"step_percent_{row}_{number}", (*path, "at_least"): f"at_least_{row}_{number}"}
        fields[*path, "fixed_minor"] = f"step_fixed_{row}_{number}"
    steps = tuple(
        Tier(
            read_measure(form, f"at_least_{row}_{number}", measure, currency),
            form.percent(f"step_percent_{row}_{number}", required=False),
            read_amount(form, f"step_fixed_{row}_{number}", currency),
        )
        for number in rows
    )
    return Tiers(measure, period, steps, retroactive) if steps else None


def _step_rows(form: Form, row: int) -> list[int]:
    names = ("at_least", "step_percent", "step_fixed")
    return [number for number in range(count_steps(form, row)) if any(form.raw(f"{name}_{row}_{number}").strip() for name in names)]


def _lost(form: Form, field: str, empty: Part) -> Part:
    form.fault(field, "What this stands for is not there any more. Please start again from the page of the rate card.")
    return empty
