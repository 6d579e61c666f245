"""The form of a new rate card version: one row per rule, fields ``rule_id_0``, ``pays_0`` and so on, blank rows skipped."""

import csv
import io

from core.catalogue import Per, Rule
from core.events import CustomerStatus
from core.money import format_amount
from portal.forms import Form

MOST_RULES = 50
SPARE_ROWS = 2
MOST_PRIORITY = 1_000_000
LONGEST_ENTRY = 128
PAYS = {
    "percent": "% of the net price",
    "order": "fixed, for each order",
    "line": "fixed, for each line",
    "unit": "fixed, for each unit",
}
CUSTOMERS: dict[CustomerStatus, str] = {"": "all", "new": "new", "returning": "returning", "lapsed": "lapsed"}
_TYPED = ("rule_id", "amount", "categories", "skus", "segments")


def rate_form(rules: tuple[Rule, ...], currency: str, **more: str) -> Form:
    """The rules as a person would type them, and some blank rows: where the next version starts from."""
    values = dict(more)
    for number, rule in enumerate(rules):
        values |= {f"{column}_{number}": text for column, text in _typed(rule, currency).items()}
    form = Form.of(**values)
    add_rows(form, SPARE_ROWS)
    return form


def add_rows(form: Form, count: int) -> None:
    """Append blank rows to the form, up to ``MOST_RULES`` rows in all."""
    have = count_rows(form)
    for number in range(have, min(have + count, MOST_RULES)):
        form.values[f"rule_id_{number}"] = [""]


def count_rows(form: Form) -> int:
    """Rows are numbered from 0 without gaps; what lies behind a gap, or beyond ``MOST_RULES``, is not read."""
    return next((number for number in range(MOST_RULES) if f"rule_id_{number}" not in form.values), MOST_RULES)


def read_rules(form: Form, currency: str) -> tuple[Rule, ...]:
    """The rules of all rows that are not blank. With faults on the form, the rules are not to be used."""
    rules: dict[str, Rule] = {}
    for number in range(count_rows(form)):
        if not any(form.raw(f"{column}_{number}").strip() for column in _TYPED):
            continue
        rule = _read_rule(form, number, currency)
        if rule.rule_id in rules:
            form.fault(f"rule_id_{number}", f"{rule.rule_id} is the name of a rule above; each rule needs its own.")
        rules[rule.rule_id] = rule
    if not rules:
        form.fault("rules", "Please write at least one rule: a rate card without rules pays nothing.")
    return tuple(rules.values())


def _read_rule(form: Form, number: int, currency: str) -> Rule:
    pays = form.choice(f"pays_{number}", PAYS)
    customer_status: CustomerStatus = form.choice(f"customer_status_{number}", CUSTOMERS, required=False)  # type: ignore[assignment]
    per: Per = "line" if pays in ("percent", "") else pays  # type: ignore[assignment]
    return Rule(
        rule_id=form.slug(f"rule_id_{number}"),
        priority=form.whole(f"priority_{number}", 0, MOST_PRIORITY) if form.raw(f"priority_{number}").strip() else 100,
        percent_bps=form.percent(f"amount_{number}") if pays == "percent" else None,
        fixed_minor=None if pays in ("percent", "") else _read_fixed(form, f"amount_{number}", currency),
        per=per,
        categories=read_list(form, f"categories_{number}"),
        skus=read_list(form, f"skus_{number}"),
        customer_status=customer_status,
        segments=read_list(form, f"segments_{number}"),
    )


def _read_fixed(form: Form, field: str, currency: str) -> int | None:
    amount = form.amount(field, currency)
    if amount is not None and amount < 0:
        form.fault(field, f"Please give an amount in {currency} that is not negative.")
    return amount


def read_list(form: Form, field: str) -> tuple[str, ...]:
    """Entries between commas, as in one line of CSV: one that holds a comma stands in double quotes."""
    text = form.text(field, required=False, longest=2048)
    if field in form.faults:
        return ()
    parts = dict.fromkeys(part.strip() for row in csv.reader([text], skipinitialspace=True) for part in row)
    if any(len(part) > LONGEST_ENTRY for part in parts):
        form.fault(field, f"One entry is longer than {LONGEST_ENTRY} characters; separate entries by commas.")
    return tuple(part for part in parts if part)


def typed_list(entries: tuple[str, ...]) -> str:
    """The inverse of :func:`read_list`."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(entries)
    return line.getvalue() if '"' in line.getvalue() else ", ".join(entries)


def _typed(rule: Rule, currency: str) -> dict[str, str]:
    percent = rule.percent_bps is not None
    return {
        "rule_id": rule.rule_id,
        "pays": "percent" if percent else rule.per,
        "amount": plain_percent(rule.percent_bps) if rule.percent_bps is not None else format_amount(rule.fixed_minor or 0, currency),
        "categories": typed_list(rule.categories),
        "skus": typed_list(rule.skus),
        "customer_status": rule.customer_status,
        "segments": typed_list(rule.segments),
        "priority": str(rule.priority),
    }


def plain_percent(bps: int) -> str:
    """Basis points as a person types them into the form: 1250 is ``"12.5"``, 800 is ``"8"``."""
    whole, rest = divmod(bps, 100)
    return f"{whole}.{rest:02d}".rstrip("0") if rest else str(whole)
