"""The rows of the rate card form as its page shows them: folded, with their rule in plain words, or open."""

import re
from collections.abc import Callable

import msgspec

from core.catalogue import Rule
from core.flaws import WORDS_LIMIT
from payouts.rate_words import clause_words
from portal.forms import Form
from portal.merchant_rate_form import count_rules
from portal.merchant_rule_form import Sources, count_conditions, count_rows, count_steps, find_clause, is_blank, part_of, read_rule

_OF_GROUP = {
    "condition": re.compile(r"(?:attribute|own|operator|values|clause|joined)_"),
    "step": re.compile(r"(?:tier|at_least|step)_"),
    "more": re.compile(r"(?:priority|most)_"),
}


class ConditionRow(msgspec.Struct, frozen=True):
    """``at`` ends the names of its fields: ``2_0``. ``words`` is what it stands for, where it has no fields."""

    at: str
    words: str


class RuleRow(msgspec.Struct, frozen=True):
    """``words`` is the rule in plain words, empty where it cannot be told yet. ``groups`` are its parts that stand open."""

    row: int
    name: str
    words: str
    is_kept: bool
    is_blank: bool
    is_open: bool
    conditions: list[ConditionRow]
    steps: range
    groups: frozenset[str]


class PartRow(msgspec.Struct, frozen=True):
    row: int
    is_blank: bool


def rule_rows(form: Form, currency: str, sources: Sources, told: Callable[[Rule], str], opened: str) -> list[RuleRow]:
    """Every row of a rule.

    Args:
        told: a rule in plain words, empty for an unsound one.
        opened: the part of the page that a button was about, such as ``rule-2`` or ``rule-2-condition``.
    """
    faulty = {part_of(name) for name in form.faults}
    count = count_rules(form)
    rows = []
    for row in range(count):
        is_open = ("rule", row) in faulty or opened == f"rule-{row}" or opened.startswith(f"rule-{row}-") or count == 1
        rows.append(_rule_row(form, row, currency, sources, told, opened, is_open))
    return rows


def part_rows(form: Form, noun: str) -> list[PartRow]:
    """Every row of a ``limit`` or a ``bonus``."""
    found = range(count_rows(form, WORDS_LIMIT, f"{noun}_id"))
    return [PartRow(row, not form.raw(f"{noun}_id_{row}").strip()) for row in found]


def open_groups(form: Form, opened: str) -> set[str]:
    """The parts beside the rules that are in use, have a fault, or were just added to."""
    found = set()
    for group, (names, usual) in _BESIDE.items():
        told = any(form.raw(name) not in ("", usual.get(name, "")) for name in names)
        if told or any(fault.startswith(names) for fault in form.faults) or opened.startswith(names[0]):
            found.add(group)
    return found


_BESIDE: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "limits": (("limit-", "limit_id_0", "limit"), {}),
    "bonuses": (("bonus-", "bonus_id_0", "bonus"), {}),
    "recruiters": (("recruiters", "recruiter_of"), {"recruiter_of": "commission"}),
    "counts": (
        ("minimum_order", "priced_at", "pays_on", "settle_in", "fx_rounding"),
        {"priced_at": "order", "fx_rounding": "down"},
    ),
}


def _rule_row(form: Form, row: int, currency: str, sources: Sources, told: Callable[[Rule], str], opened: str, is_open: bool) -> RuleRow:
    kept = sources.get(form.raw(f"kept_{row}"))
    return RuleRow(
        row=row,
        name=kept.rule_id if kept else form.raw(f"rule_id_{row}").strip(),
        words=told(kept) if kept else _words(form, row, currency, sources, told),
        is_kept=f"kept_{row}" in form.values,
        is_blank=is_blank(form, row) and not form.checked(f"out_{row}"),
        is_open=is_open,
        conditions=[_condition_row(form, f"{row}_{number}", currency, sources) for number in range(count_conditions(form, row))],
        steps=range(count_steps(form, row)),
        groups=_groups(form, row, opened),
    )


def _words(form: Form, row: int, currency: str, sources: Sources, told: Callable[[Rule], str]) -> str:
    probe = Form(form.values)
    rule = read_rule(probe, row, 0, currency, sources, {})
    return "" if probe.faults else told(rule)


def _condition_row(form: Form, at: str, currency: str, sources: Sources) -> ConditionRow:
    clause = find_clause(sources, form.raw(f"clause_{at}")) if f"clause_{at}" in form.values else None
    lost = "A condition that is not there any more" if f"clause_{at}" in form.values else ""
    return ConditionRow(at, clause_words(clause, currency) if clause else lost)


def _groups(form: Form, row: int, opened: str) -> frozenset[str]:
    """Those in use, with a fault, or just added to."""
    faulty = [name for name in form.faults if part_of(name) == ("rule", row)]
    found = {group for group, names in _OF_GROUP.items() for name in faulty if names.match(name)}
    if any(form.raw(f"{name}_{row}_{number}") for name in ("values", "clause") for number in range(count_conditions(form, row))):
        found.add("condition")
    if any(form.raw(f"at_least_{row}_{number}") for number in range(count_steps(form, row))):
        found.add("step")
    if form.raw(f"priority_{row}").strip() not in ("", "100") or form.raw(f"most_{row}").strip():
        found.add("more")
    return frozenset(found | {opened.removeprefix(f"rule-{row}-")})
