"""Who earns which part, and who loses which part in a refund."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Rule
from core.credit import Credit
from core.events import Line, Order, Refund, RefundLine
from payouts.earnings import earnings, split
from payouts.rate_card import pools, price
from payouts.refunds import Kept, apply_refunds

ALL = Rule("all", percent_bps=10_000)
POSITION = [Fraction(2, 5), Fraction(1, 10), Fraction(1, 10), Fraction(2, 5)]


def columns(lines, matched, shares, steps):
    first, last = split(lines, matched, shares, steps)
    return [sum(column) for column in zip(*first, strict=True)], [sum(column) for column in zip(*last, strict=True)]


def test_the_alabama_case_takes_the_cent_from_somebody_who_has_one():
    sold, left = columns([Line("1", 4)], [ALL], POSITION, [(Kept(4),), (Kept(3),)])

    assert sold == [2, 0, 0, 2]
    assert left == [1, 0, 0, 2]


def test_thirds_of_ten_euro_through_three_refunds():
    steps = [(Kept(net),) for net in (1000, 999, 500, 0)]
    thirds = [Fraction(1, 3)] * 3

    assert columns([Line("1", 1000)], [ALL], thirds, steps[:1])[1] == [334, 333, 333]
    assert columns([Line("1", 1000)], [ALL], thirds, steps[:2])[1] == [333, 333, 333]
    assert columns([Line("1", 1000)], [ALL], thirds, steps[:3])[1] == [166, 167, 167]
    assert columns([Line("1", 1000)], [ALL], thirds, steps)[1] == [0, 0, 0]


def test_what_nobody_is_credited_for_nobody_earns():
    assert columns([Line("1", 1000)], [ALL], [Fraction(1, 3)], [(Kept(1000),)])[0] == [333]


def test_two_touches_of_one_affiliate_are_split_apart_and_summed():
    credits = [Credit("anna", "t1", 2, 5), Credit("ben", "t2", 1, 5), Credit("anna", "t3", 2, 5)]

    sold, _ = earnings([Line("1", 1)], [ALL], credits, [(Kept(1),)])

    assert [(one.affiliate_id, one.touch_id, one.amount_minor, one.reason) for one in sold] == [
        ("anna", "t1", 1, ""),
        ("ben", "t2", 0, "zero_base"),
    ]


def test_fixed_per_order_moves_to_the_lines_that_are_left_and_nobodys_part_changes():
    lines, rule = [Line("1", 2000), Line("2", 1000)], Rule("o", fixed_minor=501, per="order")
    steps = [(Kept(2000), Kept(1000)), (Kept(0, True), Kept(1000))]

    first, last = split(lines, [rule, rule], [Fraction(1, 2), Fraction(1, 2)], steps)

    assert first == [[167, 167], [84, 83]]
    assert last == [[0, 0], [251, 250]]


@st.composite
def refunded_orders(draw):
    lines = tuple(
        Line(str(number), draw(st.integers(0, 3000)), quantity=draw(st.integers(1, 4))) for number in range(1, draw(st.integers(1, 4)) + 1)
    )
    line_ids = st.sampled_from([line.line_id for line in lines])
    refunds = []
    for number in range(draw(st.integers(0, 5))):
        by_line = tuple(RefundLine(draw(line_ids), draw(st.integers(1, 2000))) for _ in range(draw(st.integers(0, 2))))
        net = None if by_line else draw(st.one_of(st.none(), st.integers(1, 3000)))
        refunds.append(Refund(f"e{number}", "north", "A-1", f"r{number}", "EUR", 2000 + number, 0, by_line, net))
    return Order("e", "north", "A-1", "EUR", 1000, 1000, lines), refunds


def rules():
    percent = st.builds(Rule, st.just("p"), percent_bps=st.integers(0, 10_000))
    fixed = [st.builds(Rule, st.just(per), fixed_minor=st.integers(0, 2000), per=st.just(per)) for per in ("order", "line", "unit")]
    return st.one_of(percent, *fixed, st.just("no_rule"))


shares = st.lists(st.integers(1, 40), min_size=1, max_size=5).map(lambda parts: [Fraction(part, sum(parts)) for part in parts])


@given(refunded_orders(), st.data(), shares)
def test_a_refund_raises_nobody_ends_in_exact_zeros_and_keeps_the_rules_total(case, data, shares):
    order, refunds = case
    by_kind = {kind: data.draw(rules()) for kind in "ab"}
    matched = [by_kind[data.draw(st.sampled_from("ab"))] for _ in order.lines]
    steps = apply_refunds(order, refunds).steps

    history = [columns(order.lines, matched, shares, steps[: count + 1])[1] for count in range(len(steps))]

    for before, after in pairwise(history):
        assert all(0 <= new <= old for old, new in zip(before, after, strict=True))
    for step, amounts in zip(steps, history, strict=True):
        by_rule = [price(rule, [order.lines[i] for i in indexes], [step[i] for i in indexes]) for rule, indexes in pools(matched)]
        assert sum(amounts) == sum(by_rule)
    if all(one.returned for one in steps[-1]):
        assert history[-1] == [0] * len(shares)
