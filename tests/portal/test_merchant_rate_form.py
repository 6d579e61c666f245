"""Claims about the rows of the rate card form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Rule
from portal.forms import Form
from portal.merchant_rate_form import MOST_RULES, add_rows, count_rows, plain_percent, rate_form, read_rules

rules = st.lists(
    st.builds(
        Rule,
        rule_id=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        priority=st.integers(0, 1_000_000),
        percent_bps=st.integers(0, 10_000),
        categories=st.lists(
            st.sampled_from(["Shoes", "Gift cards", "A & B", "Shoes, Boots", 'the "best"', "a,b", 'a","b']), unique=True
        ).map(tuple),
        skus=st.lists(st.sampled_from(["sku-1", "sku/2"]), unique=True).map(tuple),
        customer_status=st.sampled_from(["", "new", "returning", "lapsed"]),
        segments=st.lists(st.sampled_from(["firms", "vips"]), unique=True).map(tuple),
    )
    | st.builds(
        Rule,
        rule_id=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        fixed_minor=st.integers(1, 10**12),
        per=st.sampled_from(["order", "line", "unit"]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda rule: rule.rule_id,
).map(tuple)


ROW = {"rule_id": "", "pays": "percent", "amount": "", "categories": "", "skus": "", "customer_status": "", "priority": "100"}


def read(*rows, currency="EUR"):
    form = Form.of(**{f"{column}_{number}": text for number, row in enumerate(rows) for column, text in (ROW | row).items()})
    return read_rules(form, currency), form.faults


@given(rules, st.sampled_from(["EUR", "JPY", "BHD"]))
def test_the_form_of_any_rules_reads_back_as_these_rules(given_rules, currency):
    form = rate_form(given_rules, currency)

    assert read_rules(form, currency) == given_rules
    assert form.faults == {}


def test_a_percentage_a_blank_row_and_a_fixed_amount():
    assert read(
        {"rule_id": " all ", "amount": "7.5", "priority": ""},
        {},
        {"rule_id": "boots", "pays": "unit", "amount": "3.20", "categories": "Boots, Shoes,", "customer_status": "new", "priority": "5"},
    ) == (
        (
            Rule("all", percent_bps=750),
            Rule("boots", 5, fixed_minor=320, per="unit", categories=("Boots", "Shoes"), customer_status="new"),
        ),
        {},
    )


def test_every_fault_of_every_row_at_once():
    _, faults = read(
        {"rule_id": "Not A Slug", "amount": "101"},
        {"rule_id": "ok", "amount": "5"},
        {"rule_id": "ok", "pays": "order", "amount": "1.234", "priority": "soon", "customer_status": "loyal"},
        {"pays": "tip", "skus": "x" * 129},
    )

    assert set(faults) == {
        *("rule_id_0", "amount_0"),
        *("rule_id_2", "amount_2", "priority_2", "customer_status_2"),
        *("rule_id_3", "pays_3", "skus_3"),
    }
    assert faults["amount_2"] == "This '1.234' has 3 decimals; EUR has 2."


def test_no_rule_at_all_is_a_fault():
    assert set(read({}, {})[1]) == {"rules"}


@pytest.mark.parametrize(("text", "fine"), [("-1", False), ("-0.01", False), ("0.00", True), ("0.01", True)])
def test_a_fixed_amount_is_not_negative(text, fine):
    assert (read({"rule_id": "a", "pays": "order", "amount": text})[1] == {}) is fine


def test_an_entry_with_a_comma_stands_in_quotes():
    rules, _ = read({"rule_id": "a", "amount": "5", "categories": 'Hats, "Shoes, Boots"'})

    assert rules[0].categories == ("Hats", "Shoes, Boots")


def test_a_rule_may_pay_nothing_so_that_a_category_can_be_left_out():
    assert read({"rule_id": "gift-cards", "amount": "0", "categories": "Gift cards"}) == (
        (Rule("gift-cards", percent_bps=0, categories=("Gift cards",)),),
        {},
    )


def test_rows_are_added_up_to_the_most():
    form = rate_form((Rule("all", percent_bps=750),), "EUR")
    assert count_rows(form) == 3

    add_rows(form, 1)
    assert count_rows(form) == 4

    add_rows(form, 1000)
    assert count_rows(form) == MOST_RULES


def test_what_lies_behind_a_gap_is_not_read():
    assert count_rows(Form.of(rule_id_0="a", rule_id_2="b")) == 1


def test_percentages_are_typed_with_the_decimals_they_need():
    assert [plain_percent(bps) for bps in (0, 5, 810, 1000, 1250, 10_000)] == ["0", "0.05", "8.1", "10", "12.5", "100"]
