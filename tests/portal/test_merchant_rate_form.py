"""Claims about the form of a rate card: any sound card reads back, every fault stands at its field, nothing is dropped unsaid."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Clause, RateCard, Rule
from core.flaws import known_of
from core.rate_rules import RULES_LIMIT
from portal.forms import Form
from portal.merchant_rate_form import SPELLED_RULES, add_row, count_rules, holds, rate_form, read_rate_card, spell_out
from portal.merchant_rates import note_flaws
from tests.cards import ACME, GOLD, NESTED, TIER, WHOLE
from tests.portal.conftest import cast_catalogue
from tests.strategies import Named, rate_cards

START = RateCard("north", "main", 2, 0, 0, ())
ROW = {"rule_id": "", "subject": "order", "percent": "", "fixed": "", "per": "line", "categories": "", "priority": "100"}
NAMED = {currency: Named(currency, ("firms",), ("shop", "till"), ("anna", "ben")) for currency in ("EUR", "JPY", "BHD")}


def read(form, cards=(), currency="EUR"):
    typed = read_rate_card(form, START, currency, cards)
    note_flaws(form, typed, known_of(cast_catalogue()))
    return typed.card


def typed(*rows, **more):
    """A form with these rows; ``values_0`` of one is what stands in the first row of its own."""
    values = {}
    for number, row in enumerate(rows):
        for column, text in (ROW | row).items():
            name, inner = (column[:-2], "_0") if column.endswith("_0") else (column, "")
            values[f"{name}_{number}{inner}"] = text
    return Form.of(hold_days="30", **values, **more)


@given(st.sampled_from(["EUR", "JPY", "BHD"]).flatmap(lambda currency: st.tuples(st.just(currency), rate_cards(NAMED[currency]))))
def test_the_form_of_any_sound_card_reads_back_as_this_card(given_card):
    currency, card = given_card
    form = rate_form(card, currency)
    start = msgspec.structs.replace(START, version=card.version, effective_from=card.effective_from)

    assert read_rate_card(form, start, currency, [card]).card == card
    assert set(form.faults) == (set() if card.rules else {"rules"})


def test_every_field_of_a_card_has_its_place_on_the_form():
    form = rate_form(WHOLE, "EUR")

    assert msgspec.structs.replace(read(form, [WHOLE]), version=1) == WHOLE
    assert form.faults == {}
    for name, text in {"percent_1": "8", "own_1_2": "loyalty_tier", "at_least_2_1": "2000.00", "recruiters": "5, 0, 0.25"}.items():
        assert form.raw(name) == text, name


@pytest.mark.parametrize(
    "field", [name for name in RateCard.__struct_fields__ if name not in ("tenant_id", "programme_id", "version", "effective_from")]
)
def test_the_whole_card_of_these_tests_says_something_in_every_field(field):
    assert getattr(WHOLE, field) != getattr(START, field)


def test_a_deeper_group_is_named_and_stays_as_it_is():
    form = rate_form(WHOLE, "EUR")
    assert form.raw("clause_1_1") == "1/push/1"
    form.values["values_1_0"] = ["Acme"]

    assert read(form, [WHOLE]).rules[1].when == Clause(all=(msgspec.structs.replace(ACME, values=("Acme",)), NESTED, TIER))


def test_a_group_of_one_is_not_made_a_test():
    card = msgspec.structs.replace(WHOLE, rules=(Rule("a", percent_bps=1, when=Clause(any=(Clause(all=(GOLD,)),))),), limits=())
    form = rate_form(card, "EUR")

    assert form.raw("clause_0_0") == "1/a/-"
    assert read(form, [card]).rules == card.rules


def test_rules_behind_the_first_stand_as_they_are_until_somebody_changes_them():
    rules = tuple(Rule(f"r-{number}", percent_bps=number, when=NESTED) for number in range(SPELLED_RULES + 3))
    card = RateCard("north", "main", 1, 0, 30, rules)
    form, last = rate_form(card, "EUR"), SPELLED_RULES + 2
    assert (form.raw(f"kept_{last}"), form.raw(f"rule_id_{last}")) == ("1/r-14", "")
    assert read(form, [card]).rules == rules

    assert spell_out(form, str(last), "EUR", [card]) == f"rule-{last}"
    form.values[f"percent_{last}"] = ["50"]
    assert read(form, [card]).rules == (*rules[:-1], Rule("r-14", percent_bps=5_000, when=NESTED))


def test_what_is_ticked_is_left_out():
    form = rate_form(WHOLE, "EUR")
    form.values |= {"out_0": ["yes"], "drop_1_1": ["yes"], "limit_out_1": ["yes"], "bonus_out_0": ["yes"]}
    card = read(form, [WHOLE])

    assert [rule.rule_id for rule in card.rules] == ["push", "base"]
    assert card.rules[0].when == Clause(all=(ACME, TIER))
    assert (card.limits, card.bonuses) == (WHOLE.limits[:1], WHOLE.bonuses[1:])


@pytest.mark.parametrize("named", ["1/push/9", "1/push", "2/push/1", "x", "1/base/0", "1/push/-1"])
def test_a_name_that_leads_nowhere_is_a_fault(named):
    form = rate_form(WHOLE, "EUR")
    form.values["clause_1_1"] = [named]
    read(form, [WHOLE])

    assert set(form.faults) == {"clause_1_1"}


def test_a_kept_rule_that_is_not_there_is_a_fault():
    form = Form.of(hold_days="1", kept_0="1/gone")
    read(form, [WHOLE])

    assert set(form.faults) == {"kept_0"}


def test_a_version_that_one_line_cannot_carry_is_told_apart():
    card = RateCard("north", "main", 1, 0, 30, (Rule("a", percent_bps=1, categories=("two\nlines",)),))

    assert not holds(rate_form(card, "EUR"), card, "EUR")
    assert holds(rate_form(WHOLE, "EUR"), WHOLE, "EUR")


def test_a_percentage_a_blank_row_and_a_fixed_amount():
    rows = [
        {"rule_id": " all ", "percent": "7.5", "priority": ""},
        {},
        {"rule_id": "boots", "per": "unit", "fixed": "3.20", "categories": "Boots, Shoes,", "customer_status": "new", "priority": "5"},
        {"rule_id": "gift-cards", "percent": "0", "categories": "Gift cards"},
    ]
    form = typed(*rows)

    assert read(form).rules == (
        Rule("all", percent_bps=750),
        Rule("boots", 5, fixed_minor=320, per="unit", categories=("Boots", "Shoes"), customer_status="new"),
        Rule("gift-cards", percent_bps=0, categories=("Gift cards",)),
    )
    assert form.faults == {}


FAULTS = {
    "name": ({"rule_id": "Not A Slug", "percent": "1"}, "rule_id_0", "Use 1 to 63 of"),
    "percent": ({"rule_id": "a", "percent": "101"}, "percent_0", "Please give a percentage"),
    "decimals": ({"rule_id": "a", "fixed": "1.234"}, "fixed_0", "This '1.234' has 3 decimals; EUR has 2."),
    "negative": ({"rule_id": "a", "fixed": "-0.01"}, "fixed_0", "Please give an amount in EUR that is not negative."),
    "neither": ({"rule_id": "a"}, "percent_0", "Give percent or fixed, or both."),
    "choice": ({"rule_id": "a", "percent": "1", "customer_status": "loyal"}, "customer_status_0", "Please choose"),
    "priority": ({"rule_id": "a", "percent": "1", "priority": "soon"}, "priority_0", "Please give a whole number"),
    "most": ({"rule_id": "a", "percent": "1", "most": "0"}, "most_0", "Most is not positive"),
    "segment": ({"rule_id": "a", "percent": "1", "segments": "vips"}, "segments_0", "'vips' is not a segment of tenant north."),
    "click": ({"rule_id": "a", "percent": "1", "subject": "click"}, "percent_0", "Percent is for orders"),
    "asked": ({"rule_id": "a", "percent": "1", "attribute_0": "", "values_0": "x"}, "attribute_0_0", "Please fill this in."),
    "values": ({"rule_id": "a", "percent": "1", "attribute_0": "item.sku"}, "values_0_0", "Please fill this in."),
    "own": ({"rule_id": "a", "percent": "1", "attribute_0": "item.*", "values_0": "x"}, "own_0_0", "Please fill this in."),
    "operator": (
        {"rule_id": "a", "percent": "1", "attribute_0": "order.value", "operator_0": "contains", "values_0": "5"},
        "operator_0_0",
        "Operator 'contains' does not fit order.value",
    ),
    "subject": (
        {"rule_id": "a", "fixed": "1", "subject": "lead", "attribute_0": "item.sku", "values_0": "5"},
        "attribute_0_0",
        "Item.sku is not known of a lead",
    ),
    "value": (
        {"rule_id": "a", "percent": "1", "attribute_0": "order.weekday", "values_0": "sunday, someday"},
        "values_0_0",
        "Order.weekday: 'someday' is not one of monday",
    ),
    "step": ({"rule_id": "a", "percent": "1", "at_least_0": "many", "step_percent_0": "2"}, "at_least_0_0", "Please give a whole number"),
    "halves": (
        {"rule_id": "a", "percent": "1", "at_least_0": "5", "step_fixed_0": "2"},
        "step_percent_0_0",
        "Stands in place of the rule's own",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_with_a_rule_stands_at_its_field(case):
    row, field, said = FAULTS[case]
    form = typed(row)
    read(form)

    assert list(form.faults) == [field], form.faults
    assert form.faults[field].startswith(said)


def test_a_fault_is_told_in_the_row_of_its_condition_though_rows_before_it_are_blank():
    form = typed({}, {"rule_id": "a", "percent": "1"})
    form.values |= {"attribute_1_0": [""], "attribute_1_1": ["order.currency"], "values_1_1": ["EUR"]}
    form.values |= {"attribute_1_2": ["order.currency"], "operator_1_2": ["in"], "values_1_2": ["Euro"]}
    read(form)

    assert form.faults == {"values_1_2": "Order.currency: 'Euro' is not an ISO 4217 code such as EUR."}


BESIDE = {
    "hold": ({"hold_days": "-1"}, "hold_days"),
    "minimum": ({"minimum_order": "-1"}, "minimum_order"),
    "recruiters": ({"recruiters": "60, 60"}, "recruiters"),
    "recruiter": ({"recruiters": "5, x"}, "recruiters"),
    "currency": ({"settle_in": "XXX"}, "settle_in"),
    "limit": ({"limit_id_0": "", "limit_amount_0": "5"}, "limit_id_0"),
    "amount": ({"limit_id_0": "l", "limit_amount_0": "0"}, "limit_amount_0"),
    "rules": ({"limit_id_0": "l", "limit_amount_0": "1", "limit_rules_0": "nosuch"}, "limit_rules_0"),
    "reach": ({"bonus_id_0": "b", "bonus_pays_0": "1", "bonus_at_least_0": ""}, "bonus_at_least_0"),
    "pays": ({"bonus_id_0": "b", "bonus_pays_0": "0", "bonus_at_least_0": "5"}, "bonus_pays_0"),
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_is_wrong_beside_the_rules_stands_at_its_field(case):
    form = typed({"rule_id": "a", "percent": "1"})
    form.values |= {name: [text] for name, text in BESIDE[case][0].items()}
    read(form)

    assert list(form.faults) == [BESIDE[case][1]], form.faults


def test_every_fault_of_every_row_at_once():
    rows = [{"rule_id": "x", "percent": "101"}, {"rule_id": "ok", "percent": "5"}, {"rule_id": "ok", "fixed": "1.2.3"}, {"rule_id": "b"}]
    form = typed(*rows, recruiters="x")
    read(form)

    assert set(form.faults) == {"percent_0", "rule_id_2", "fixed_2", "percent_3", "recruiters"}


def test_no_rule_at_all_is_a_fault():
    form = typed({}, {})
    read(form)

    assert set(form.faults) == {"rules"}


def test_rows_are_added_where_they_belong_and_up_to_the_most():
    form = rate_form(WHOLE, "EUR")
    assert [add_row(form, what) for what in ("rule", "limit", "bonus", "condition:1", "step:2")] == [
        "rule-4",
        "limit-3",
        "bonus-3",
        "rule-1-condition",
        "rule-2-step",
    ]
    assert [add_row(form, what) for what in ("condition:99", "step:x", "tip", "")] == [""] * 4
    full = Form.of(**{f"kept_{row}": "1/base" for row in range(RULES_LIMIT)})

    assert (count_rules(full), add_row(full, "rule")) == (RULES_LIMIT, "")


def test_what_lies_behind_a_gap_is_not_read():
    assert count_rules(Form.of(rule_id_0="a", rule_id_2="b")) == 1
