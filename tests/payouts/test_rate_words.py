"""A rate card in plain words: examples a merchant would write, and no value is ever left unsaid."""

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Bonus, Clause, Limit, Measure, Period, RateCard, Rule, Tier, Tiers
from core.conditions import ATTRIBUTES, ONE_VALUE, leaves_of, operators_of
from payouts.rate_card import clauses
from payouts.rate_words import NOUNS, card_sentences, clause_words, precedence, sentence, terms


def when(entity: str, attribute: str, operator: str, *values: str) -> Clause:
    return Clause(entity, attribute, operator, values)  # type: ignore[arg-type]


def card_of(*rules: Rule, **fields: Any) -> RateCard:
    return RateCard("north", "main", 1, 0, 30, rules, **fields)


WEEKEND_BOOTS = Clause(
    all=(
        when("order", "weekday", "in", "saturday", "sunday"),
        Clause(any=(when("customer", "country", "equals_to", "DE"), when("touch", "country", "equals_to", "DE"))),
    )
)


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
        (
            Rule("r", percent_bps=800, fixed_minor=250, per="order", most_minor=50_00),
            "EUR",
            "Everything pays 8 % of the net price plus 2.50 EUR per order, at most 50.00 EUR for an order",
        ),
        (Rule("r", fixed_minor=5, per="click", subject="click"), "EUR", "Every click pays 0.05 EUR"),
        (Rule("r", fixed_minor=200, per="thousand", subject="impression"), "EUR", "Every thousand impressions pays 2.00 EUR"),
        (
            Rule("r", fixed_minor=500, per="lead", subject="lead", when=when("lead", "name", "equals_to", "trial")),
            "EUR",
            "Every lead pays 5.00 EUR where the lead is trial",
        ),
        (
            Rule("r", percent_bps=800, categories=("Boots",), when=WEEKEND_BOOTS),
            "EUR",
            "Boots pay 8 % of the net price where the weekday is saturday or sunday"
            " and (the customer's country is DE or the country of the touch is DE)",
        ),
        (
            Rule("r", percent_bps=800, tiers=Tiers("orders", "month", (Tier(10, 1000), Tier(50, 1200, 100)))),
            "EUR",
            "Everything pays 8 % of the net price; 10 % of the net price from 10 orders in a month on"
            " and 12 % of the net price plus 1.00 EUR per line from 50 orders in a month on, for the orders that follow",
        ),
        (
            Rule(
                "r", fixed_minor=500, per="order", tiers=Tiers("revenue", "quarter", (Tier(10_000_00, fixed_minor=700),), retroactive=True)
            ),
            "EUR",
            "Every order pays 5.00 EUR; 7.00 EUR per order from 10000.00 EUR of revenue in a quarter on, for the whole quarter",
        ),
    ],
)
def test_a_rule_in_plain_words(rule: Rule, currency: str, text: str) -> None:
    assert sentence(rule, currency) == text


@pytest.mark.parametrize(
    ("clause", "text"),
    [
        (when("item", "category", "under", "Shoes", "Hats > Caps"), "the category is Shoes or Hats > Caps, or below it in the tree"),
        (when("item", "sku", "not_in", "A-1", "A-2"), "the SKU is neither A-1 nor A-2"),
        (when("item", "sku", "not_equals", "A-1"), "the SKU is not A-1"),
        (when("item", "name", "not_contains", "gift", "card"), "the product's name contains neither gift nor card"),
        (when("item", "name", "not_contains", "gift"), "the product's name does not contain gift"),
        (when("item", "discount", "greater_than", "12.5"), "the discount in percent is more than 12.5"),
        (when("item", "margin", "equals_to", "high"), "the product's margin is high"),
        (when("order", "gift", "starts_with", "y"), "the order's gift begins with y"),
        (when("order", "value", "greater_than_or_equal", "50"), "the order's value is at least 50.00 EUR"),
        (when("order", "coupons", "in", "A", "B"), "the order's coupons include A or B"),
        (when("order", "coupons", "not_in", "A", "B"), "the order's coupons include neither A nor B"),
        (when("order", "coupons", "ends_with", "10"), "the order's coupons include one that ends with 10"),
        (when("order", "coupon_classes", "not_contains", "leak"), "the classes of the order's coupons include none that contains leak"),
        (when("customer", "status", "in", "new", "lapsed"), "the customer is new or lapsed"),
        (when("customer", "months", "less_than", "12"), "the number of months since the customer's first order is less than 12"),
        (when("touch", "sub1", "equals_to", "blog"), "the touch's sub1 is blog"),
        (when("touch", "hours", "less_than_or_equal", "24"), "the age of the touch in hours is at most 24"),
        (
            Clause(all=(when("item", "brand", "in", "x"), Clause(any=(when("item", "kind", "in", "product"),)))),
            "the brand is x and the kind of product is product",
        ),
    ],
)
def test_a_condition_in_plain_words(clause: Clause, text: str) -> None:
    assert clause_words(clause, "EUR") == text


def test_every_attribute_has_a_name_and_every_operator_a_word() -> None:
    named = {tuple(name.split(".")) for name in NOUNS}
    assert {key for key in ATTRIBUTES if not key[1].startswith("sub")} == named

    every = [(key, operator) for key in [*ATTRIBUTES, ("item", "margin")] for operator in operators_of(*key)]
    told = {clause_words(when(*key, operator, "7"), "EUR").replace("7.00 EUR", "7") for key, operator in every}
    pairs = {(key, operator.replace("equals_to", "in").replace("not_equals", "not_in")) for key, operator in every}
    assert len(told) == len(pairs), "only `is` and `is one of one` are said alike"


# --- the whole card ----------------------------------------------------------------------------------------------------


def test_a_card_tells_its_rules_in_the_order_of_trial_and_then_what_holds_for_all() -> None:
    card = card_of(
        Rule("all", percent_bps=500),
        Rule("shoes", percent_bps=800, categories=("shoes",)),
        minimum_order_minor=20_00,
        pays_on=("tax", "shipping"),
        limits=(Limit("each", 500_00, "month"), Limit("budget", 9_000_00, "year", True, ("all", "shoes"))),
        bonuses=(Bonus("starter", "orders", "lifetime", 1, 25_00), Bonus("big", "revenue", "quarter", 10_000_00, 100_00)),
        recruiter_bps=(1000, 500, 250),
        priced_at="touch",
        settle_in="USD",
        fx_rounding="half_even",
    )

    assert card_sentences(card, "EUR") == [
        "Shoes pay 8 % of the net price",
        "Everything pays 5 % of the net price",
        "Orders below 20.00 EUR earn nothing",
        "Percentages are taken of the net price plus shipping and tax",
        "At most 500.00 EUR in a month is paid to each affiliate",
        "At most 9000.00 EUR in a year is paid by the rules all and shoes to all affiliates together",
        "A bonus of 25.00 EUR is paid from 1 order in all on",
        "A bonus of 100.00 EUR is paid from 10000.00 EUR of revenue in a quarter on, once for each quarter",
        "Whoever recruited an affiliate earns 10 % of the affiliate's commission, and those further up 5 % and 2.5 % in turn",
        "An order is paid by the rates that were in force when its touch happened",
        "Commissions are booked in USD; what is converted is rounded to the nearest, ties to the even",
    ]


def test_a_card_as_usual_has_no_terms() -> None:
    assert terms(card_of(Rule("all", percent_bps=500)), "EUR") == []
    assert card_sentences(card_of(), "EUR") == []


def test_recruiters_of_revenue_and_of_one_level() -> None:
    found = terms(card_of(recruiter_bps=(200,), recruiter_of="revenue"), "EUR")

    assert found == ["Whoever recruited an affiliate earns 2 % of the net price that the affiliate is credited with"]


def test_the_order_of_trial_is_told_with_its_reasons() -> None:
    card = card_of(
        Rule("b", percent_bps=1),
        Rule("a", percent_bps=1),
        Rule("urgent", 10, percent_bps=1),
        Rule("shoes", percent_bps=1, categories=("shoes",), skus=("A",)),
        Rule("click", 1, fixed_minor=1, per="click", subject="click"),
    )

    assert [(one.place, one.rule.rule_id, one.why) for one in precedence(card)] == [
        (1, "urgent", "priority 10 comes before 100"),
        (2, "shoes", "priority 100 as the next has, and more conditions: 2 against 0"),
        (3, "a", "priority 100 and as many conditions as the next, and a comes before b"),
        (4, "b", "the last"),
        (1, "click", "the last"),
    ]


# --- the law -----------------------------------------------------------------------------------------------------------

periods, measures = st.sampled_from(get_args(Period)), st.sampled_from(get_args(Measure))
texts = st.sampled_from(["new", "DE", "Web", "a b", "12"])


@st.composite
def single_tests(draw: st.DrawFn) -> Clause:
    entity, attribute = draw(st.sampled_from([*ATTRIBUTES, ("item", "margin")]))
    operator = draw(st.sampled_from(operators_of(entity, attribute)))
    is_number = ATTRIBUTES.get((entity, attribute)) in ("number", "amount")
    most = 1 if operator in ONE_VALUE else 3
    values = draw(st.lists(st.integers(0, 999).map(str) if is_number else texts, min_size=1, max_size=most, unique=True))
    return when(entity, attribute, operator, *values)


def _groups(inner: st.SearchStrategy[Clause]) -> st.SearchStrategy[Clause]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(several.map(lambda ones: Clause(all=ones)), several.map(lambda ones: Clause(any=ones)))


trees = st.recursive(single_tests(), _groups, max_leaves=5)
rates = st.tuples(st.one_of(st.none(), st.integers(1, 10_000)), st.one_of(st.none(), st.integers(1, 10**6))).filter(any)
steps = st.lists(st.tuples(st.integers(1, 10**6), rates), min_size=1, max_size=3)
tiers = st.builds(
    lambda measure, period, found, retroactive: Tiers(measure, period, tuple(Tier(at, *pays) for at, pays in found), retroactive),
    measures, periods, steps, st.booleans(),
)  # fmt: skip
names = st.lists(st.sampled_from(["Shoes", "Hats > Caps", "A-1", "B 2"]), max_size=3, unique=True).map(tuple)
rules = st.builds(
    lambda pays, **fields: Rule("r", percent_bps=pays[0], fixed_minor=pays[1], **fields),
    rates,
    per=st.sampled_from(["order", "line", "unit"]),
    categories=names,
    skus=names,
    customer_status=st.sampled_from(["", "new", "returning", "lapsed"]),
    segments=names,
    when=st.one_of(st.none(), trees),
    most_minor=st.one_of(st.none(), st.integers(0, 10**6)),
    tiers=st.one_of(st.none(), tiers),
)


def amount(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d} EUR"


def share(bps: int) -> str:
    return f"{bps / 100:g} %"


def must_say(rule: Rule) -> list[str]:
    """Every value that the rule holds, as a reader expects it."""
    found = [text for clause in clauses(rule) for leaf in leaves_of(clause) for text in leaf.values]
    found += [share(rule.percent_bps)] if rule.percent_bps else []
    found += [amount(rule.fixed_minor)] if rule.fixed_minor else []
    found += [amount(rule.most_minor)] if rule.most_minor is not None else []
    if rule.tiers:
        found.append("in all" if rule.tiers.period == "lifetime" else f"in a {rule.tiers.period}")
        for tier in rule.tiers.steps:
            found.append(f"{tier.at_least} order" if rule.tiers.measure == "orders" else f"{amount(tier.at_least)} of {rule.tiers.measure}")
            found += [share(tier.percent_bps)] if tier.percent_bps else []
            found += [amount(tier.fixed_minor)] if tier.fixed_minor else []
    return found


@given(rules)
def test_a_sentence_names_every_value_and_is_one(rule: Rule) -> None:
    text = sentence(rule, "EUR")

    for said in must_say(rule):
        assert re.search(rf"(?<![\w.]){re.escape(said)}", text, re.IGNORECASE), f"{said!r} is not in {text!r}"
    assert text[0] == text[0].upper()
    assert "  " not in text
    assert not text.endswith((".", " ", ","))
    assert text.count("(") == text.count(")")


@given(rules, rules)
def test_two_rules_that_pay_differently_never_read_alike(one: Rule, other: Rule) -> None:
    same = (one.tiers, one.most_minor, one.percent_bps, one.fixed_minor) == (
        other.tiers,
        other.most_minor,
        other.percent_bps,
        other.fixed_minor,
    )

    assert same or sentence(one, "EUR") != sentence(other, "EUR")
