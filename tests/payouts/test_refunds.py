"""What an order still holds: refunds by line, by amount, of everything; too much, too early, in the wrong currency."""

from hypothesis import given
from hypothesis import strategies as st

from core.events import Line, Order, Refund, RefundLine
from payouts.refunds import Kept, apply_refunds, net_of


def order(*nets: int) -> Order:
    lines = tuple(Line(str(index), net) for index, net in enumerate(nets, 1))
    return Order("e", "north", "A-1", "EUR", 1000, 1000, lines)


def refund(refund_id: str, net_minor: int | None = None, at: int = 2000, currency: str = "EUR", **lines: int) -> Refund:
    taken = tuple(RefundLine(line_id.removeprefix("line"), net) for line_id, net in lines.items())
    return Refund(f"event-{refund_id[::-1]}", "north", "A-1", refund_id, currency, at, at, taken, net_minor)


def nets_after(sold: Order, *refunds: Refund) -> list[int]:
    return [kept.net_minor for kept in apply_refunds(sold, refunds).steps[-1]]


def test_by_line():
    assert nets_after(order(6000, 4000), refund("r1", line2=1500)) == [6000, 2500]


def test_by_amount_over_what_the_lines_still_have():
    assert nets_after(order(6000, 4000), refund("r1", 1000)) == [5400, 3600]
    assert nets_after(order(6000, 4000), refund("r1", line1=6000), refund("r2", 1000)) == [0, 3000]


def test_everything_that_is_left():
    left = apply_refunds(order(6000, 4000, 0), [refund("r1", 500), refund("r2", at=3000)])

    assert left.steps[-1] == (Kept(0, True), Kept(0, True), Kept(0, True))
    assert (left.refunded_minor, left.excess_minor) == (10000, 0)


def test_more_than_there_is_takes_what_there_is_and_says_so():
    left = apply_refunds(order(1000), [refund("r1", 700), refund("r2", 700, at=3000)])

    assert [net_of(step) for step in left.steps] == [1000, 300, 0]
    assert (left.refunded_minor, left.excess_minor) == (1000, 400)


def test_a_line_that_the_order_does_not_have_is_all_excess():
    left = apply_refunds(order(1000), [refund("r1", line9=300)])

    assert (left.refunded_minor, left.excess_minor) == (0, 300)


def test_the_same_line_twice_in_one_refund_takes_no_more_than_the_line():
    twice = Refund("e2", "north", "A-1", "r1", "EUR", 2000, 2000, (RefundLine("1", 700), RefundLine("1", 700)))

    left = apply_refunds(order(1000, 500), [twice])

    assert [kept.net_minor for kept in left.steps[-1]] == [0, 500]
    assert left.excess_minor == 400


def test_another_currency_is_refused_and_counted():
    left = apply_refunds(order(1000), [refund("r1", 300, currency="USD")])

    assert (net_of(left.steps[-1]), left.refused) == (1000, 1)


def test_the_same_refund_twice_counts_once():
    assert nets_after(order(1000), refund("r1", 300), refund("r1", 300)) == [700]


def test_they_apply_by_their_time_whatever_their_ids_and_arrival():
    by_line, over_all = refund("r1", line1=1000, at=3000), refund("r2", 500, at=2000)

    left = apply_refunds(order(1000, 1000), [by_line, over_all])

    assert [kept.net_minor for kept in left.steps[-1]] == [0, 750]
    assert (left.refunded_minor, left.excess_minor) == (1250, 250)


def test_a_line_at_zero_is_returned_only_if_it_went_back():
    free = apply_refunds(order(1000, 0), [refund("r1", 400)]).steps[-1]
    whole = apply_refunds(order(1000, 0), [refund("r1", 1000)]).steps[-1]
    gift = apply_refunds(order(1000, 0), [refund("r1", line2=1)]).steps[-1]

    assert free == (Kept(600), Kept(0))
    assert whole == (Kept(0, True), Kept(0, True))
    assert gift == (Kept(1000), Kept(0, True))


def test_an_order_without_value_can_be_returned_whole():
    assert apply_refunds(order(0, 0), [refund("r1")]).steps[-1] == (Kept(0, True), Kept(0, True))
    assert apply_refunds(order(0, 0), [refund("r1", 100)]).steps[-1] == (Kept(0), Kept(0))


def test_a_negative_line_counts_as_nothing():
    assert nets_after(order(1000, -200)) == [1000, 0]


refund_lists = st.lists(
    st.builds(
        lambda number, at, net, lines: refund(f"r{number}", None if lines else net, at, **lines),
        st.integers(1, 6),
        st.integers(1, 5),
        st.one_of(st.none(), st.integers(1, 3000)),
        st.dictionaries(st.sampled_from(["line1", "line2", "line3"]), st.integers(1, 2000), max_size=3),
    ),
    max_size=6,
)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=3), refund_lists, st.randoms())
def test_delivery_does_not_matter_and_nothing_ever_grows(nets, refunds, random):
    sold = order(*nets)
    refunds = list({one.refund_id: one for one in refunds}.values())
    shuffled = random.sample(refunds, len(refunds)) + refunds[:1]

    left = apply_refunds(sold, refunds)

    assert apply_refunds(sold, shuffled) == left
    for before, after in zip(left.steps, left.steps[1:], strict=False):
        assert all(0 <= new.net_minor <= old.net_minor and new.returned >= old.returned for old, new in zip(before, after, strict=True))
    asked = sum(one.net_minor or sum(line.net_minor for line in one.lines) for one in refunds)
    everything = any(not one.lines and one.net_minor is None for one in refunds)
    assert everything or left.refunded_minor + left.excess_minor == asked
