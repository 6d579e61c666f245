"""How much a rule pays, what a refund takes of it, and why a line earns nothing."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Clause, Rule, Tier, Tiers
from core.events import Line, Order, Refund, RefundLine
from payouts.rate_card import Quote, at_step, bases_of, conditions, lay, names_amounts, pools, price, quote, why_nothing
from payouts.refunds import Kept, Step, apply_refunds

SHOE = Line("1", 99_99, sku="A-1", category="shoes", quantity=3)


def kept(*nets: int) -> list[Kept]:
    return [Kept(net) for net in nets]


def when(entity: str, attribute: str, operator: str, *values: str) -> Clause:
    return Clause(entity, attribute, operator, values)  # type: ignore[arg-type]


# --- what a rule pays --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "amount"), [(99_99, 7_99), (12, 0), (13, 1), (0, 0)])
def test_a_percentage_is_rounded_down(net: int, amount: int) -> None:
    assert price(Rule("r", percent_bps=800), [SHOE], kept(net)) == amount


def test_fixed_per_line_stays_until_the_line_went_back() -> None:
    rule = Rule("r", fixed_minor=250)

    assert price(rule, [SHOE], kept(99_99)) == 250
    assert price(rule, [SHOE], kept(1)) == 250
    assert price(rule, [SHOE], [Kept(0, returned=True)]) == 0


@pytest.mark.parametrize(("net", "units"), [(99_99, 3), (66_67, 3), (66_66, 2), (33_33, 1), (1, 1)])
def test_fixed_per_unit_pays_the_units_that_are_left_rounded_up(net: int, units: int) -> None:
    assert price(Rule("r", fixed_minor=250, per="unit"), [SHOE], kept(net)) == 250 * units


def test_free_units_are_paid_until_they_went_back() -> None:
    free, rule = Line("1", 0, quantity=2), Rule("r", fixed_minor=250, per="unit")

    assert price(rule, [free], [Kept(0)]) == 500
    assert price(rule, [free], [Kept(0, returned=True)]) == 0


def test_fixed_per_order_is_paid_once_and_laid_over_its_lines_by_net() -> None:
    rule, lines = Rule("r", fixed_minor=500, per="order"), [Line("1", 2000), Line("2", 1000)]

    assert quote(rule, lines, kept(2000, 1000)) == Quote(500, 0, (2000, 1000))
    assert lay(500, (2000, 1000)) == [333, 167]
    assert quote(rule, lines, [Kept(0, True), Kept(1000)]) == Quote(500, 0, (0, 1000))
    assert quote(rule, lines, [Kept(0, True), Kept(0, True)]).amount_minor == 0


def test_fixed_per_order_without_any_value_goes_to_the_first_line_left() -> None:
    rule, lines = Rule("r", fixed_minor=500, per="order"), [Line("1", 0), Line("2", 0)]

    assert quote(rule, lines, kept(0, 0)) == Quote(500, 0, (1, 0))
    assert quote(rule, lines, [Kept(0, returned=True), Kept(0)]) == Quote(500, 0, (0, 1))


def test_a_percentage_and_a_fixed_amount_add_up() -> None:
    lines = [Line("1", 2000, quantity=2), Line("2", 1000)]

    per_order, per_line, per_unit = (Rule("r", percent_bps=1000, fixed_minor=90, per=per) for per in ("order", "line", "unit"))  # type: ignore[arg-type]
    assert quote(per_order, lines, kept(2000, 1000)) == Quote(390, 0, (260, 130)), "200 + 100, and 90 laid 2 to 1"
    assert quote(per_line, lines, kept(2000, 1000)) == Quote(480, 0, (290, 190))
    assert quote(per_unit, lines, kept(2000, 1000)) == Quote(570, 0, (380, 190))
    assert quote(per_unit, lines, kept(1000, 1000)) == Quote(380, 0, (190, 190)), "one of the two units went back"


def test_a_maximum_cuts_the_whole_order_and_says_how_much() -> None:
    rule, lines = Rule("r", percent_bps=1000, most_minor=250), [Line("1", 2000), Line("2", 1000)]

    assert quote(rule, lines, kept(2000, 1000)) == Quote(250, 50, (200, 100))
    assert lay(250, (200, 100)) == [167, 83]
    assert quote(rule, lines, kept(1400, 1000)) == Quote(240, 0, (140, 100)), "after a refund the maximum may not be reached any more"


def test_a_tiers_rates_stand_in_for_all_of_the_rules_own() -> None:
    steps = (Tier(10, percent_bps=1200), Tier(50, fixed_minor=900))
    rule = Rule("r", percent_bps=1000, fixed_minor=90, per="order", most_minor=1000, tiers=Tiers("orders", "month", steps))

    paid = [quote(at_step(rule, step), [SHOE], kept(20_00)) for step in (0, 1, 2)]
    assert [one.amount_minor for one in paid] == [290, 240, 900]
    assert at_step(rule, 0) is rule
    assert quote(at_step(rule, 1), [SHOE], kept(100_00)) == Quote(1000, 200, (1200,)), "the maximum stays"


def test_only_lines_of_a_rule_that_pays_per_order_or_has_a_maximum_are_priced_together() -> None:
    order, line, most = Rule("o", fixed_minor=1, per="order"), Rule("l", fixed_minor=1), Rule("m", percent_bps=1, most_minor=5)
    percent = Rule("p", percent_bps=1, per="order")

    assert pools([order, line, "no_rule", most, order, line, percent, percent, most]) == [
        (order, [0, 4]),
        (line, [1]),
        (most, [3, 8]),
        (line, [5]),
        (percent, [6]),
        (percent, [7]),
    ]


def test_only_amounts_need_a_rate_abroad() -> None:
    found = [names_amounts(rule) for rule in (Rule("r", percent_bps=1), Rule("r", percent_bps=1, most_minor=0), Rule("r", fixed_minor=0))]

    assert found == [False, True, False]
    assert names_amounts(Rule("r", percent_bps=1, fixed_minor=1))


def test_how_special_a_rule_is_counts_tests_not_values() -> None:
    both = Clause(any=(when("item", "brand", "in", "a", "b", "c"), Clause(all=(when("touch", "country", "in", "DE"),))))

    assert conditions(Rule("r")) == 0
    assert conditions(Rule("r", categories=("a", "b"), skus=("c",), customer_status="new", segments=("s",))) == 4
    assert conditions(Rule("r", categories=("a",), when=both)) == 3


# --- tax and shipping --------------------------------------------------------------------------------------------------


def order_of(*lines: Line, tax: int = 0, shipping: int = 0) -> Order:
    return Order("e", "north", "A-1", "EUR", 1000, 1000, lines, tax_minor=tax, shipping_minor=shipping)


def test_tax_and_shipping_are_laid_over_the_lines_by_net_and_go_back_with_them() -> None:
    order = order_of(Line("1", 2000), Line("2", 1000), tax=570, shipping=500)
    steps = [(Kept(2000), Kept(1000)), (Kept(999), Kept(1000)), (Kept(0, True), Kept(1000))]

    assert bases_of(order, (), steps) == ((2000, 1000), (999, 1000), (0, 1000))
    assert bases_of(order, ("shipping",), steps) == ((2333, 1167), (999 + 166, 1167), (0, 1167)), "333 x 999 / 2000 is 166.3"
    assert bases_of(order, ("tax", "shipping"), steps)[0] == (2713, 1357), "713.33 and 356.67"


def test_without_any_net_shipping_is_the_first_lines() -> None:
    order = order_of(Line("1", 0), Line("2", 0), shipping=500)

    assert bases_of(order, ("shipping",), [(Kept(0), Kept(0)), (Kept(0, True), Kept(0))]) == ((500, 0), (0, 0))
    assert bases_of(order_of(shipping=500), ("shipping",), [()]) == ((),)


# --- laws --------------------------------------------------------------------------------------------------------------

amounts = st.integers(0, 3000)
rules = st.builds(
    Rule,
    rule_id=st.just("r"),
    percent_bps=st.one_of(st.none(), st.integers(0, 10_000)),
    fixed_minor=st.one_of(st.none(), amounts),
    per=st.sampled_from(["order", "line", "unit"]),
    most_minor=st.one_of(st.none(), amounts),
)


@st.composite
def refunded_orders(draw: st.DrawFn) -> tuple[Order, tuple[Step, ...]]:
    """An order with tax and shipping, and what was left of it after each of its refunds."""
    nets = draw(st.lists(amounts, min_size=1, max_size=4))
    lines = [Line(str(number), net, quantity=draw(st.integers(1, 4))) for number, net in enumerate(nets)]
    order = order_of(*lines, tax=draw(amounts), shipping=draw(amounts))
    refunds = []
    for number in range(draw(st.integers(0, 6))):
        named = draw(st.lists(st.sampled_from(lines), max_size=2))
        by_line = tuple(RefundLine(line.line_id, draw(st.integers(0, 2000))) for line in named)
        net = None if by_line else draw(st.one_of(st.none(), amounts))
        refunds.append(Refund(f"e{number}", "north", "A-1", f"r{number}", "EUR", 2000 + number, 0, by_line, net))
    return order, apply_refunds(order, refunds).steps


@given(rules, refunded_orders(), st.sampled_from([(), ("tax",), ("tax", "shipping")]))
def test_no_sequence_of_refunds_ever_raises_a_price(rule: Rule, case: tuple[Order, tuple[Step, ...]], pays_on: tuple[str, ...]) -> None:
    order, steps = case
    bases = bases_of(order, pays_on, steps)  # type: ignore[arg-type]
    quotes = [quote(rule, order.lines, step, base) for step, base in zip(steps, bases, strict=True)]

    assert all(later <= sooner for before, after in pairwise(bases) for sooner, later in zip(before, after, strict=True))
    for before, after in pairwise(quotes):
        assert 0 <= after.amount_minor <= before.amount_minor
        assert after.capped_minor <= before.capped_minor
    for one in quotes:
        assert one.amount_minor <= (rule.most_minor if rule.most_minor is not None else one.amount_minor)
        assert sum(lay(one.amount_minor, one.weights)) == one.amount_minor
        assert all(part >= 0 for part in lay(one.amount_minor, one.weights))
    if all(kept.returned for kept in steps[-1]):
        assert quotes[-1].amount_minor == quotes[-1].capped_minor == sum(bases[-1]) == 0


@given(refunded_orders())
def test_as_sold_the_bases_hold_every_cent_of_tax_and_shipping(case: tuple[Order, tuple[Step, ...]]) -> None:
    order, steps = case

    assert (
        sum(bases_of(order, ("shipping", "tax"), steps)[0])
        == sum(line.net_minor for line in order.lines) + order.tax_minor + order.shipping_minor
    )


# --- why a line earns nothing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matched", "left", "reason"),
    [
        ("returning_customer", Kept(99_99), "returning_customer"),
        (Rule("r", percent_bps=800), Kept(0, True), "refunded"),
        (Rule("r", percent_bps=800), Kept(5), "refunded"),
        (Rule("r", percent_bps=0, skus=("A-1",)), Kept(99_99), "excluded_item"),
        (Rule("r", percent_bps=0, categories=("shoes",)), Kept(99_99), "excluded_category"),
        (Rule("r", percent_bps=0, when=when("item", "kind", "in", "gift_card")), Kept(99_99), "excluded_item"),
        (Rule("r", percent_bps=0, categories=("shoes",), when=when("item", "discount", "greater_than", "0")), Kept(99_99), "excluded_item"),
        (Rule("r", percent_bps=0, when=when("item", "category", "under", "shoes")), Kept(99_99), "excluded_category"),
        (Rule("r", percent_bps=0, customer_status="returning"), Kept(99_99), "returning_customer"),
        (Rule("r", percent_bps=0, when=when("touch", "country", "in", "US")), Kept(99_99), "no_rule"),
        (Rule("r", fixed_minor=0), Kept(99_99), "no_rule"),
        (Rule("r", percent_bps=800, most_minor=0), Kept(99_99), "cap_reached"),
    ],
)
def test_every_line_that_earns_nothing_has_a_reason(matched: Rule | str, left: Kept, reason: str) -> None:
    assert why_nothing(matched, SHOE, left) == reason  # type: ignore[arg-type]


def test_a_line_without_value_has_a_zero_base() -> None:
    rule = Rule("r", percent_bps=800)

    assert why_nothing(rule, Line("1", 0), Kept(0)) == "zero_base"
    assert why_nothing(rule, Line("1", 5), Kept(5)) == "zero_base"
    assert why_nothing(rule, Line("1", 0), Kept(0, True)) == "zero_base", "it never earned, so nothing went back"
    assert why_nothing(rule, Line("1", 0), Kept(0, True), 500) == "refunded", "shipping did earn"
