"""The form of a new rate card version: a row for each rule (``merchant_rule_form``), limit and bonus, and fields for what holds beside
them. Blank rows are skipped.

The form of any sound version reads back as this version (:func:`holds` asks), so that nothing of it is lost when the next starts from it.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from core.catalogue import Bonus, Extra, FxRounding, Limit, Measure, Period, PricedAt, RateCard, Rule
from core.flaws import DAYS_LIMIT, WORDS_LIMIT, Flaw
from core.money import format_amount
from core.rate_rules import RULES_LIMIT
from portal.entries import plain_percent, read_entries, typed_list
from portal.forms import Form
from portal.merchant_rule_form import (
    MEASURES,
    PERIODS,
    Fields,
    Sources,
    add_condition,
    add_rule,
    add_step,
    count_rows,
    is_blank,
    named,
    read_amount,
    read_measure,
    read_rule,
    sources_of,
    spell,
    typed_measure,
)

SPELLED_RULES = 12
"""So many rules of a version are spelled out at first; those behind stand as they are until somebody changes them."""
PRICED_AT: dict[PricedAt, str] = {
    "order": "the version in force when the order is placed",
    "touch": "the version that was in force at the touch",
}
EXTRAS: dict[Extra, str] = {"tax": "tax", "shipping": "shipping"}
RECRUITER_OF = {"commission": "the affiliate's commission", "revenue": "the net price that the affiliate is credited with"}
SHARED = {"no": "each affiliate", "yes": "all affiliates together"}
FX_ROUNDING: dict[FxRounding, str] = {"down": "down", "half_even": "to the nearest, ties to the even", "up": "up"}


class Typed(msgspec.Struct, frozen=True):
    """A card as it was typed, and where each of its parts stands on the form."""

    card: RateCard
    fields: Fields

    def field_of(self, flaw: Flaw) -> str:
        """The field that a flaw is about, or the nearest that holds it."""
        path = (flaw.field, *flaw.path)
        found = next((self.fields[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.fields), flaw.field)
        name, _, at = found.partition("_")
        if name != "values" or at.count("_") != 1:
            return found
        said = said_at(found, flaw)
        column = "operator" if said.startswith("operator ") else "attribute" if any(mark in said for mark in _ABOUT_ATTRIBUTE) else "values"
        return f"{column}_{at}"


def said_at(field: str, flaw: Flaw) -> str:
    """What is wrong, without what the field's own place says already; within a row that stands for more, the way there stays."""
    text = _PART.sub("", flaw.message, count=1)
    if field.startswith(("kept_", "clause_")):
        return text
    return _WAY.sub("", text, count=1).replace("at_least ", "this ")


_PART = re.compile(r"^(?:rule|limit|bonus) [^:]*: ")
_WAY = re.compile(r"^(?:when|tiers|rules)[\w.\[\]]*: ")
_ABOUT_ATTRIBUTE = ("has no attribute", "is not known of", "is asked for as")


# --- from a card to a form -----------------------------------------------------------------------------------------------


def rate_form(card: RateCard, currency: str, **more: str) -> Form:
    """A version as a person would type it, and blank rows: where the next one starts from."""
    form = Form.of(**_typed(card, currency) | more)
    form.values["pays_on"] = list(card.pays_on)
    for row, rule in enumerate(card.rules):
        if row < SPELLED_RULES:
            spell(form, row, named(card, rule), rule, currency)
        else:
            form.values[f"kept_{row}"] = [named(card, rule)]
    for row, limit in enumerate(card.limits):
        form.values |= {f"{name}_{row}": [text] for name, text in _typed_limit(limit, currency).items()}
    for row, bonus in enumerate(card.bonuses):
        form.values |= {f"{name}_{row}": [text] for name, text in _typed_bonus(bonus, currency).items()}
    for what in ("rule", "limit", "bonus"):
        add_row(form, what)
    return form


def add_row(form: Form, what: str) -> str:
    """One more blank row: ``rule``, ``limit``, ``bonus``, or ``condition:2`` or ``step:2`` of the rule in row 2. Returns where it
    belongs, as the page's rows are called; empty for an action that adds nothing.
    """
    if what == "rule" and (count := count_rules(form)) < RULES_LIMIT:
        add_rule(form, count)
        return f"rule-{count}"
    if what in ("limit", "bonus") and (count := count_rows(form, WORDS_LIMIT, f"{what}_id")) < WORDS_LIMIT:
        form.values[f"{what}_id_{count}"] = [""]
        return f"{what}-{count}"
    name, _, number = what.partition(":")
    row = _row_of(form, number)
    if row is None or name not in ("condition", "step"):
        return ""
    add_condition(form, row) if name == "condition" else add_step(form, row)
    return f"rule-{row}-{name}"


def spell_out(form: Form, number: str, currency: str, cards: Sequence[RateCard]) -> str:
    """Put the rule that row ``number`` stands for into fields. Returns as :func:`add_row` does."""
    row = _row_of(form, number)
    name = form.raw(f"kept_{row}")
    rule = sources_of(cards).get(name)
    if row is None or rule is None:
        return ""
    spell(form, row, name, rule, currency)
    return f"rule-{row}"


def count_rules(form: Form) -> int:
    return count_rows(form, RULES_LIMIT, "rule_id", "kept")


def _row_of(form: Form, number: str) -> int | None:
    return next((row for row in range(count_rules(form)) if str(row) == number), None)


def _typed(card: RateCard, currency: str) -> dict[str, str]:
    return {
        "hold_days": str(card.hold_days),
        "priced_at": card.priced_at,
        "minimum_order": format_amount(card.minimum_order_minor, currency) if card.minimum_order_minor else "",
        "recruiters": ", ".join(plain_percent(bps) for bps in card.recruiter_bps),
        "recruiter_of": card.recruiter_of,
        "settle_in": card.settle_in,
        "fx_rounding": card.fx_rounding,
    }


def _typed_limit(limit: Limit, currency: str) -> dict[str, str]:
    return {
        "limit_id": limit.limit_id,
        "limit_amount": format_amount(limit.amount_minor, currency),
        "limit_period": limit.period,
        "limit_shared": "yes" if limit.shared else "no",
        "limit_rules": typed_list(limit.rules),
    }


def _typed_bonus(bonus: Bonus, currency: str) -> dict[str, str]:
    return {
        "bonus_id": bonus.bonus_id,
        "bonus_measure": bonus.measure,
        "bonus_period": bonus.period,
        "bonus_at_least": typed_measure(bonus.at_least, bonus.measure, currency),
        "bonus_pays": format_amount(bonus.pays_minor, currency),
    }


# --- from a form to a card -----------------------------------------------------------------------------------------------


def read_rate_card(form: Form, start: RateCard, currency: str, cards: Sequence[RateCard]) -> Typed:
    """The card of a form; its faults are noted on the form, and with any it is not to be used.

    Args:
        start: what the form does not say: tenant, programme, version, effective date.
        currency: the tenant's.
        cards: the programme's versions, of which rows may stand for a rule or a clause.
    """
    fields: Fields = {("minimum_order_minor",): "minimum_order", ("recruiter_bps",): "recruiters"}
    card = msgspec.structs.replace(
        start,
        hold_days=form.whole("hold_days", 0, DAYS_LIMIT),
        rules=_read_rules(form, currency, sources_of(cards), fields),
        priced_at=cast("PricedAt", form.choice("priced_at", PRICED_AT, required=False) or "order"),
        pays_on=cast("tuple[Extra, ...]", tuple(form.many("pays_on", EXTRAS))),
        minimum_order_minor=read_amount(form, "minimum_order", currency) or 0,
        limits=_read_parts(form, "limit", _LIMIT, fields, lambda at: _read_limit(form, at, currency)),
        bonuses=_read_parts(form, "bonus", _BONUS, fields, lambda at: _read_bonus(form, at, currency)),
        recruiter_bps=_read_recruiters(form),
        recruiter_of=cast("Any", form.choice("recruiter_of", RECRUITER_OF, required=False) or "commission"),
        settle_in=form.text("settle_in", required=False, longest=3).upper(),
        fx_rounding=cast("FxRounding", form.choice("fx_rounding", FX_ROUNDING, required=False) or "down"),
    )
    return Typed(card, fields)


def holds(form: Form, card: RateCard, currency: str) -> bool:
    """True where a form, made of a version, reads back as this version, and so would lose nothing of it."""
    probe = Form(form.values)
    read_again = read_rate_card(probe, card, currency, [card]).card
    return read_again == card and not set(probe.faults) - {"rules"}


def _read_rules(form: Form, currency: str, sources: Sources, fields: Fields) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    names = set[str]()
    for row in range(count_rules(form)):
        if is_blank(form, row):
            continue
        rule = read_rule(form, row, len(rules), currency, sources, fields)
        if rule.rule_id in names:
            name = "kept" if f"kept_{row}" in form.values else "rule_id"
            form.fault(f"{name}_{row}", f"{rule.rule_id} is the name of a rule above; each rule needs its own.")
        names.add(rule.rule_id)
        rules.append(rule)
    if not rules:
        form.fault("rules", "Please write at least one rule: a rate card without rules pays nothing.")
    return tuple(rules)


_LIMIT = {"amount_minor": "limit_amount", "period": "limit_period", "rules": "limit_rules"}
_BONUS = {"measure": "bonus_measure", "period": "bonus_period", "at_least": "bonus_at_least", "pays_minor": "bonus_pays"}


def _read_parts(form: Form, noun: str, names: dict[str, str], fields: Fields, read: Callable[[int], Any]) -> tuple[Any, ...]:
    """All rows of limits, or of bonuses, that say something."""
    plural = {"limit": "limits", "bonus": "bonuses"}[noun]
    typed = (f"{noun}_id", *(name for name in names.values() if name.rpartition("_")[2] not in ("period", "measure")))
    rows = [
        row
        for row in range(count_rows(form, WORDS_LIMIT, f"{noun}_id"))
        if any(form.raw(f"{name}_{row}").strip() for name in typed) and not form.checked(f"{noun}_out_{row}")
    ]
    for place, row in enumerate(rows):
        fields |= {(plural, place): f"{noun}_id_{row}"} | {(plural, place, field): f"{name}_{row}" for field, name in names.items()}
    return tuple(read(row) for row in rows)


def _read_limit(form: Form, row: int, currency: str) -> Limit:
    return Limit(
        form.slug(f"limit_id_{row}"),
        read_amount(form, f"limit_amount_{row}", currency, required=True) or 0,
        cast("Period", form.choice(f"limit_period_{row}", PERIODS, required=False) or "month"),
        form.choice(f"limit_shared_{row}", SHARED, required=False) == "yes",
        read_entries(form, f"limit_rules_{row}"),
    )


def _read_bonus(form: Form, row: int, currency: str) -> Bonus:
    measure = cast("Measure", form.choice(f"bonus_measure_{row}", MEASURES, required=False) or "orders")
    return Bonus(
        form.slug(f"bonus_id_{row}"),
        measure,
        cast("Period", form.choice(f"bonus_period_{row}", PERIODS, required=False) or "month"),
        read_measure(form, f"bonus_at_least_{row}", measure, currency),
        read_amount(form, f"bonus_pays_{row}", currency, required=True) or 0,
    )


def _read_recruiters(form: Form) -> tuple[int, ...]:
    """Percentages between commas: of the first recruiter, of that one's recruiter, and so on."""
    found = []
    for text in read_entries(form, "recruiters"):
        one = Form.of(share=text)
        found.append(one.percent("share") or 0)
        if one.faults:
            form.fault("recruiters", f"{text!r:.40} is not a percentage such as 7.5; separate them by commas.")
    return tuple(found)
