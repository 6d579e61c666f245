"""Charts: the picture fits its frame, and the numbers beside it are the numbers."""

from hypothesis import given
from hypothesis import strategies as st

from portal.chart import HEIGHT, STEP, bar, ceiling, chart, plot
from portal.words import money


def test_the_scale_ends_at_a_round_number_with_a_whole_half():
    assert [ceiling(n) for n in (0, 1, 2, 3, 9, 10, 11, 17, 24, 101, 1_234)] == [2, 2, 2, 4, 10, 10, 12, 20, 30, 120, 1_600]


@given(st.integers(0, 10**18))
def test_the_scale_always_holds_the_highest_value_and_halves(highest):
    top = ceiling(highest)

    assert top >= highest
    assert top % 2 == 0
    assert top <= 2 * max(highest, 1)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_every_mark_lies_in_the_frame(values):
    drawn = plot("Clicks", [str(i) for i in range(len(values))], values)

    assert all(0 <= mark.y <= HEIGHT and mark.y + mark.height == HEIGHT for mark in drawn.marks)
    assert drawn.marks[-1].x + STEP == drawn.width
    assert drawn.marks[values.index(max(values))].height == max(mark.height for mark in drawn.marks)


def test_a_day_without_clicks_lies_on_the_ground():
    drawn = plot("Clicks", ["Mon", "Tue"], [0, 10], unit="click")

    assert [(mark.height, mark.text) for mark in drawn.marks] == [(0, "0 clicks"), (HEIGHT, "10 clicks")]
    assert (drawn.total, drawn.scale) == ("10", ("10", "5", "0"))


def test_money_is_written_as_money():
    drawn = plot("Net", ["Mon"], [12_30], write=lambda minor: money(minor, "EUR"))

    assert (drawn.marks[0].text, drawn.total, drawn.scale) == ("€12.30", "€12.30", ("€16.00", "€8.00", "€0.00"))


def test_the_ends_are_named():
    assert chart("Days", ["1", "2", "3"], []).ends == ("1", "2", "3")
    assert chart("Days", [], []).ends == ()


def test_what_is_above_zero_can_be_seen():
    assert [bar(n, 100_000) for n in (0, 1, 50_000, 100_000)] == [0, 4, 500, 1000]
    assert bar(0, 0) == 0
