"""Which rule pays, how much, and what it says in plain words."""

import pytest

from core.catalogue import Rule
from core.events import Line
from payouts.rate_card import Context, match, pools, price, sentence, spread, why_nothing
from payouts.refunds import Kept

EUR = Context("EUR", "EUR", "new")
SHOE = Line("1", 99_99, sku="A-1", category="shoes", quantity=3)


def kept(*nets: int) -> list[Kept]:
    return [Kept(net) for net in nets]


def test_smallest_priority_first_then_more_conditions_then_rule_id():
    general, special = Rule("b", percent_bps=1), Rule("z", percent_bps=2, categories=("shoes",), skus=("A-1",))
    urgent = Rule("c", priority=1, percent_bps=3)

    assert match([general, Rule("a", percent_bps=4)], SHOE, EUR).rule_id == "a"
    assert match([general, special], SHOE, EUR).rule_id == "z"
    assert match([general, special, urgent], SHOE, EUR).rule_id == "c"


def test_all_conditions_must_hold():
    rule = Rule("r", percent_bps=1, categories=("shoes", "bags"), skus=("A-1",))

    assert match([rule], SHOE, EUR) == rule
    assert match([rule], Line("1", 1, sku="A-1", category="hats"), EUR) == "no_rule"
    assert match([rule], Line("1", 1, sku="B-1", category="bags"), EUR) == "no_rule"


@pytest.mark.parametrize(("status", "expected"), [("new", "r"), ("returning", None), ("", None)])
def test_only_the_customers_status_in_the_way_is_a_reason_of_its_own(status, expected):
    found = match([Rule("r", percent_bps=1, customer_status="new")], SHOE, Context("EUR", "EUR", status))

    assert (found.rule_id if expected else found) == (expected or "returning_customer")


@pytest.mark.parametrize(
    ("status", "segments", "expected"),
    [
        ("new", ("firms",), "r"),
        ("new", ("vips", "firms"), "r"),
        ("new", ("others",), "other_segment"),
        ("new", (), "other_segment"),
        ("lapsed", ("firms",), "returning_customer"),
        ("lapsed", (), "other_segment"),
    ],
)
def test_one_of_a_rules_segments_is_enough_and_none_is_a_reason(status, segments, expected):
    rule = Rule("r", percent_bps=1, customer_status="new", segments=("firms", "vips"))
    found = match([rule], SHOE, Context("EUR", "EUR", status, segments))

    assert (found if isinstance(found, str) else found.rule_id) == expected


def test_a_rule_for_segments_is_more_special_than_one_for_all():
    rules = [Rule("all", percent_bps=500), Rule("firms", percent_bps=300, segments=("firms",))]

    assert match(rules, SHOE, Context("EUR", "EUR", "", ("firms",))).rule_id == "firms"
    assert match(rules, SHOE, Context("EUR", "EUR", "", ("vips",))).rule_id == "all"


def test_a_rule_for_lapsed_customers_pays_for_them_alone():
    rules = [Rule("back", percent_bps=900, customer_status="lapsed"), Rule("all", percent_bps=500)]

    found = [match(rules, SHOE, Context("EUR", "EUR", status)).rule_id for status in ("lapsed", "returning", "new", "")]
    assert found == ["back", "all", "all", "all"]


def test_a_rule_for_everybody_pays_where_the_one_for_new_customers_does_not():
    rules = [Rule("new", priority=1, percent_bps=1000, customer_status="new"), Rule("all", percent_bps=500)]

    assert match(rules, SHOE, Context("EUR", "EUR", "returning")).rule_id == "all"
    assert match(rules, SHOE, Context("EUR", "EUR", "")).rule_id == "all"


def test_fixed_amounts_are_the_tenants_currency_and_never_converted():
    fixed = Rule("fixed", priority=1, fixed_minor=250)

    assert match([fixed, Rule("all", percent_bps=500)], SHOE, Context("USD", "EUR")) == "currency_not_supported"
    assert match([Rule("all", percent_bps=500)], SHOE, Context("USD", "EUR")).rule_id == "all"


@pytest.mark.parametrize(("net", "amount"), [(99_99, 7_99), (12, 0), (13, 1), (0, 0)])
def test_a_percentage_is_rounded_down(net, amount):
    assert price(Rule("r", percent_bps=800), [SHOE], kept(net)) == amount


def test_fixed_per_line_stays_until_the_line_went_back():
    rule = Rule("r", fixed_minor=250)

    assert price(rule, [SHOE], kept(99_99)) == 250
    assert price(rule, [SHOE], kept(1)) == 250
    assert price(rule, [SHOE], [Kept(0, returned=True)]) == 0


@pytest.mark.parametrize(("net", "units"), [(99_99, 3), (66_67, 3), (66_66, 2), (33_33, 1), (1, 1)])
def test_fixed_per_unit_pays_the_units_that_are_left_rounded_up(net, units):
    assert price(Rule("r", fixed_minor=250, per="unit"), [SHOE], kept(net)) == 250 * units


def test_free_units_are_paid_until_they_went_back():
    free, rule = Line("1", 0, quantity=2), Rule("r", fixed_minor=250, per="unit")

    assert price(rule, [free], [Kept(0)]) == 500
    assert price(rule, [free], [Kept(0, returned=True)]) == 0


def test_fixed_per_order_is_paid_once_and_laid_over_its_lines_by_net():
    rule, lines = Rule("r", fixed_minor=500, per="order"), [Line("1", 2000), Line("2", 1000)]

    assert price(rule, lines, kept(2000, 1000)) == 500
    assert spread(500, kept(2000, 1000)) == [333, 167]
    assert spread(500, kept(0, 1000)) == [0, 500]
    assert price(rule, lines, [Kept(0, True), Kept(1000)]) == 500
    assert price(rule, lines, [Kept(0, True), Kept(0, True)]) == 0


def test_fixed_per_order_without_any_value_goes_to_the_first_line_left():
    assert spread(500, kept(0, 0)) == [500, 0]
    assert spread(500, [Kept(0, returned=True), Kept(0)]) == [0, 500]


def test_only_lines_of_one_fixed_amount_per_order_are_priced_together():
    order, line = Rule("o", fixed_minor=1, per="order"), Rule("l", fixed_minor=1)
    percent = Rule("p", percent_bps=1, per="order")

    assert pools([order, line, "no_rule", order, line, percent, percent]) == [
        (order, [0, 3]),
        (line, [1]),
        (line, [4]),
        (percent, [5]),
        (percent, [6]),
    ]


@pytest.mark.parametrize(
    ("matched", "left", "reason"),
    [
        ("returning_customer", Kept(99_99), "returning_customer"),
        (Rule("r", percent_bps=800), Kept(0, True), "refunded"),
        (Rule("r", percent_bps=800), Kept(5), "refunded"),
        (Rule("r", percent_bps=0, skus=("A-1",)), Kept(99_99), "excluded_item"),
        (Rule("r", percent_bps=0, categories=("shoes",)), Kept(99_99), "excluded_category"),
        (Rule("r", fixed_minor=0), Kept(99_99), "no_rule"),
    ],
)
def test_every_line_that_earns_nothing_has_a_reason(matched, left, reason):
    assert why_nothing(matched, SHOE, left) == reason


def test_a_line_without_value_has_a_zero_base():
    assert why_nothing(Rule("r", percent_bps=800), Line("1", 0), Kept(0)) == "zero_base"
    assert why_nothing(Rule("r", percent_bps=800), Line("1", 5), Kept(5)) == "zero_base"
    assert why_nothing(Rule("r", percent_bps=800), Line("1", 0), Kept(0, True)) == "zero_base", "it never earned, so nothing went back"


@pytest.mark.parametrize(
    ("rule", "currency", "text"),
    [
        (
            Rule("r", percent_bps=800, categories=("Shoes",), customer_status="new"),
            "EUR",
            "Shoes pay 8 % of the net price for new customers",
        ),
        (Rule("r", fixed_minor=250, per="unit", skus=("A-1",)), "EUR", "SKU A-1 pays 2.50 EUR per unit"),
        (Rule("r", percent_bps=825), "EUR", "Everything pays 8.25 % of the net price"),
        (Rule("r", percent_bps=10), "EUR", "Everything pays 0.1 % of the net price"),
        (Rule("r", percent_bps=1000), "EUR", "Everything pays 10 % of the net price"),
        (Rule("r", fixed_minor=500, per="order"), "EUR", "Every order pays 5.00 EUR"),
        (
            Rule("r", fixed_minor=500, per="order", categories=("bags", "hats", "shoes")),
            "JPY",
            "Bags, hats and shoes pay 500 JPY per order",
        ),
        (Rule("r", fixed_minor=1500, skus=("A", "B"), categories=("x",)), "BHD", "SKUs A and B in x pay 1.500 BHD per line"),
        (Rule("r", percent_bps=0, categories=("gift cards",)), "EUR", "Gift cards pay nothing"),
        (Rule("r", percent_bps=0, customer_status="returning"), "EUR", "Everything pays nothing for returning customers"),
        (Rule("r", percent_bps=900, segments=("firms",)), "EUR", "Everything pays 9 % of the net price for orders in the segment firms"),
        (
            Rule("r", percent_bps=900, categories=("Shoes",), customer_status="lapsed", segments=("firms", "vips")),
            "EUR",
            "Shoes pay 9 % of the net price for lapsed customers in the segments firms or vips",
        ),
    ],
)
def test_a_rule_in_plain_words(rule, currency, text):
    assert sentence(rule, currency) == text
