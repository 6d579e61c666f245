"""Who earns which part, and who loses which part in a refund."""

from fractions import Fraction
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Rule
from core.events import Line, Order, Refund, RefundLine
from payouts.earnings import Cap, Share, earnings, moments, used
from payouts.rate_card import pools, price
from payouts.refunds import Kept, apply_refunds

ALL = Rule("all", percent_bps=10_000)
POSITION = [Fraction(2, 5), Fraction(1, 10), Fraction(1, 10), Fraction(2, 5)]


def sharing(matched, parts, steps, **fields):
    """Shares of touches t0, t1 … of affiliates a0, a1 …, all under the same rules."""
    bases = tuple(tuple(one.net_minor for one in step) for step in steps)
    return [Share(f"a{number}", f"t{number}", part, tuple(matched), bases, **fields) for number, part in enumerate(parts)]


def grids(lines, matched, parts, steps):
    return [moment.amounts for moment in moments(lines, sharing(matched, parts, steps), steps)]


def columns(lines, matched, parts, steps):
    first, last = grids(lines, matched, parts, steps)
    return [sum(column) for column in zip(*first, strict=True)], [sum(column) for column in zip(*last, strict=True)]


def told(lines, shares, steps):
    """What everybody has as sold, and now: by line, affiliate and part, of those who have anything."""
    both = earnings(lines, shares, moments(lines, shares, steps), steps)
    return [{(one.line_id, one.affiliate_id, one.part): one.amount_minor for one in part if one.amount_minor} for part in both]


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
    lines, steps = [Line("1", 1)], [(Kept(1),)]
    whose = [("anna", "t1", 2), ("ben", "t2", 1), ("anna", "t3", 2)]
    shares = [Share(name, touch_id, Fraction(part, 5), (ALL,), ((1,),)) for name, touch_id, part in whose]

    sold, _ = earnings(lines, shares, moments(lines, shares, steps), steps)

    assert [(one.affiliate_id, one.touch_id, one.amount_minor, one.reason) for one in sold] == [
        ("anna", "t1", 1, ""),
        ("ben", "t2", 0, "zero_base"),
    ]


def test_fixed_per_order_moves_to_the_lines_that_are_left_and_nobodys_part_changes():
    lines, rule = [Line("1", 2000), Line("2", 1000)], Rule("o", fixed_minor=501, per="order")
    steps = [(Kept(2000), Kept(1000)), (Kept(0, True), Kept(1000))]

    first, last = grids(lines, [rule, rule], [Fraction(1, 2), Fraction(1, 2)], steps)

    assert first == [[167, 167], [84, 83]]
    assert last == [[0, 0], [251, 250]]


def test_affiliates_of_one_order_may_be_paid_by_rules_of_their_own():
    """Anna's group has 10 %, ben's 5 %; each gets that of his half: rules price the line in full."""
    steps, bases = [(Kept(101_00),), (Kept(50_50),)], ((101_00,), (50_50,))
    whose = [("anna", Rule("gold", percent_bps=1000)), ("ben", Rule("plain", percent_bps=500))]
    shares = [Share(name, f"t-{name}", Fraction(1, 2), (rule,), bases, 1) for name, rule in whose]

    sold, left = told([Line("1", 101_00)], shares, steps)

    assert sold == {("1", "anna", ""): 5_05, ("1", "ben", ""): 2_52}  # of 10.10 and of 5.05; whoever comes first has the odd cent
    assert left == {("1", "anna", ""): 2_52, ("1", "ben", ""): 1_26}


def test_affiliates_at_different_steps_and_versions_of_one_rule_are_paid_apart():
    steps, bases = [(Kept(100_00),)], ((100_00,),)
    paid = [("anna", 500, 1), ("ben", 1000, 1), ("carl", 500, 2), ("dora", 500, 1)]
    shares = [Share(name, name, Fraction(1, 4), (Rule("p", percent_bps=bps),), bases, version) for name, bps, version in paid]
    shares[2] = msgspec.structs.replace(shares[2], bases=((200_00,),))  # its version pays on tax, too

    sold, _ = told([Line("1", 100_00)], shares, steps)

    assert sold == {("1", "anna", ""): 1_25, ("1", "ben", ""): 2_50, ("1", "carl", ""): 2_50, ("1", "dora", ""): 1_25}


def test_a_maximum_is_shared_and_what_it_cut_is_told():
    rule, steps = Rule("max", percent_bps=1000, most_minor=12_00), [(Kept(100_00), Kept(50_00))]
    lines, shares = [Line("1", 100_00), Line("2", 50_00)], sharing([rule, rule], [Fraction(3, 4), Fraction(1, 4)], steps)

    sold, _ = earnings(lines, shares, moments(lines, shares, steps), steps)

    assert [(one.line_id, one.affiliate_id, one.amount_minor, one.capped_minor) for one in sold] == [
        ("1", "a0", 6_00, 1_50),
        ("1", "a1", 2_00, 50),
        ("2", "a0", 3_00, 75),
        ("2", "a1", 1_00, 25),
    ]


def test_a_limit_is_filled_line_by_line_and_the_rest_is_logged():
    steps = [(Kept(100_00), Kept(50_00), Kept(20_00))]
    lines = [Line(str(number), kept.net_minor) for number, kept in enumerate(steps[0], 1)]
    caps = (Cap("month", "a0", 12_00), Cap("year", "a0", 90_00))
    shares = sharing([Rule("p", percent_bps=1000)] * 3, [Fraction(1)], steps, caps=caps)

    both = moments(lines, shares, steps)
    sold, _ = earnings(lines, shares, both, steps)

    assert [(one.amount_minor, one.capped_minor, one.limit_id, one.reason) for one in sold] == [
        (10_00, 0, "", ""),
        (2_00, 3_00, "month", ""),
        (0, 2_00, "month", "cap_reached"),
    ]
    assert used(shares, both) == {("month", "a0"): (17_00, 12_00), ("year", "a0"): (17_00, 12_00)}


def test_a_limit_of_some_rules_lets_the_others_pay():
    steps = [(Kept(100_00), Kept(100_00))]
    rules = [Rule("shoes", percent_bps=1000), Rule("books", percent_bps=500)]
    shares = sharing(rules, [Fraction(1)], steps, caps=(Cap("shoes-only", "", 1_00, ("shoes",)),))

    sold, _ = told([Line("1", 100_00), Line("2", 100_00)], shares, steps)

    assert sold == {("1", "a0", ""): 1_00, ("2", "a0", ""): 5_00}


def test_what_one_affiliate_loses_by_a_refund_no_other_takes_up():
    """A budget of 10.00: anna asks 9.00, ben 3.00 and gets 1.00. Half of anna's line goes back: ben keeps 1.00."""
    steps = [(Kept(90_00), Kept(30_00)), (Kept(45_00), Kept(30_00))]
    bases, budget = tuple(tuple(one.net_minor for one in step) for step in steps), (Cap("budget", "", 10_00),)
    rule = Rule("p", percent_bps=2000)
    shares = [
        Share("anna", "t1", Fraction(1, 2), (rule, "no_rule"), bases, caps=budget),
        Share("ben", "t2", Fraction(1, 2), ("no_rule", rule), bases, caps=budget),
    ]

    sold, left = told([Line("1", 90_00), Line("2", 30_00)], shares, steps)

    assert sold == {("1", "anna", ""): 9_00, ("2", "ben", ""): 1_00}
    assert left == {("1", "anna", ""): 4_50, ("2", "ben", ""): 1_00}


def test_recruiters_have_a_part_of_the_commission_no_further_than_their_chain():
    """10 % of 99.99 is 9.99; carl has 10 % of it, his recruiter's place is empty, dora has 3 %: rounded down."""
    steps, lines = [(Kept(99_99),)], [Line("1", 99_99)]
    chain = (("carl", 1000), ("", 500), ("dora", 300))
    shares = sharing([Rule("p", percent_bps=1000)], [Fraction(1)], steps, recruiters=chain)

    sold, _ = told(lines, shares, steps)

    assert sold == {("1", "a0", ""): 9_99, ("1", "carl", "recruiter:1"): 99, ("1", "dora", "recruiter:3"): 29}


def test_recruiters_may_have_a_part_of_the_credited_net():
    """1 % of half of what paid: 100.00 and 60.00 of it; the gift card pays nobody."""
    steps = [(Kept(100_00), Kept(40_00), Kept(60_00))]
    lines = [Line(str(number), kept.net_minor) for number, kept in enumerate(steps[0], 1)]
    rules = [Rule("p", percent_bps=1000), "excluded_item", Rule("p", percent_bps=1000)]
    shares = sharing(rules, [Fraction(1, 2)], steps, recruiters=(("carl", 100),), recruiter_of="revenue")

    sold, _ = told(lines, shares, steps)

    assert {key: amount for key, amount in sold.items() if key[2]} == {("1", "carl", "recruiter:1"): 50, ("3", "carl", "recruiter:1"): 30}


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


rated = st.builds(
    lambda number, pays, most: Rule(f"r{number}", most_minor=most, **pays),
    st.integers(0, 2),
    st.sampled_from(
        [
            {"percent_bps": 1000},
            {"percent_bps": 333, "fixed_minor": 77, "per": "unit"},
            {"fixed_minor": 501, "per": "order"},
            {"percent_bps": 1},
        ]
    ),
    st.sampled_from([None, None, 0, 50, 700]),
)


@st.composite
def sharings(draw):
    """Up to four touches of three affiliates, each with rules, a card, limits and recruiters of its own."""
    order, refunds = draw(refunded_orders())
    steps = apply_refunds(order, refunds).steps
    bases = tuple(tuple(one.net_minor for one in step) for step in steps)
    parts = draw(shares)[:4]
    cards = draw(st.lists(st.lists(rated, min_size=1, max_size=2, unique_by=lambda rule: rule.rule_id), min_size=2, max_size=2))
    budget = draw(st.integers(0, 900))
    made = []
    for number, part in enumerate(parts):
        name, version = draw(st.sampled_from(["anna", "ben", "carl"])), draw(st.integers(0, 1))
        matched = tuple(draw(st.one_of(st.sampled_from(cards[version]), st.just("no_rule"))) for _ in order.lines)
        caps = draw(st.sampled_from([(), (Cap("b", "", budget),), (Cap("b", "", budget), Cap("own", name, 300, ("r1",)))]))
        chain = draw(st.sampled_from([(), (("dora", 1000),), (("dora", 5000), ("anna", 333))]))
        of = draw(st.sampled_from(["commission", "revenue"]))
        made.append(Share(name, f"t{number}", part, matched, bases, version, caps, chain, of))
    return order, steps, made


@given(sharings())
def test_with_rules_limits_and_recruiters_of_chance_no_refund_raises_anybody_and_a_full_one_leaves_nothing(case):
    order, steps, made = case
    history = []
    for count in range(1, len(steps) + 1):
        cut = [msgspec.structs.replace(share, bases=share.bases[:count]) for share in made]
        both = moments(order.lines, cut, steps[:count])
        sold, left = earnings(order.lines, cut, both, steps[:count])
        assert [(one.line_id, one.affiliate_id, one.part) for one in sold] == [(one.line_id, one.affiliate_id, one.part) for one in left]
        assert all((one.amount_minor == 0) == bool(one.reason) for one in (*sold, *left))
        history.append((both, left))

    for (_, before), (_, after) in pairwise(history):
        for key in {(one.affiliate_id, one.part) for one in before}:
            had, has = (sum(one.amount_minor for one in told if (one.affiliate_id, one.part) == key) for told in (before, after))
            assert 0 <= has <= had
    both, left = history[-1]
    for cap in {cap for share in made for cap in share.caps}:
        under = [
            (share, column)
            for column, share in enumerate(made)
            if any((mine.limit_id, mine.affiliate_id) == (cap.limit_id, cap.affiliate_id) for mine in share.caps)
        ]
        paid = sum(
            both[1].amounts[index][column]
            for share, column in under
            for index, rule in enumerate(share.matched)
            if isinstance(rule, Rule) and (not cap.rules or rule.rule_id in cap.rules)
        )
        assert paid <= cap.left_minor
    if all(one.returned for one in steps[-1]):
        assert not any(one.amount_minor for one in left)
