"""Rule models over columns say what the model of one journey says, and their sums are exact whatever the size of the numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attribution.heuristics import PARTS_BITS, rule_shares, time_decay
from attribution.tally import Row, Share, amounts_of, amounts_of_whole, paths_of, tally
from attribution.weights import weights
from core.clock import DAY, HOUR
from tests.attribution.path_rows import rows, tables

RULES = ("first", "last", "last_non_direct", "linear", "position")


def one_by_one(model: str, table: list[Row], ages: list[list[int]] | None = None) -> dict[str, Share]:
    """The slow way: every journey through the product's model of one order."""
    sums = {channel: [Fraction(0), Fraction(0)] for row in table for channel in row.path}
    for number, row in enumerate(table):
        players = ["" if channel == "Direct" else channel for channel in row.path]
        for channel, weight in zip(row.path, weights(model, players, ages[number] if ages else [0] * len(players)), strict=True):
            sums[channel][0] += weight * row.conversions
            sums[channel][1] += weight * row.value
    return {channel: Share(*both) for channel, both in sums.items()}


def test_three_conversions_over_three_touches() -> None:
    found = rule_shares(paths_of([Row(("A", "B", "Direct"), Fraction(3), Fraction(30))]))

    assert {model: [str(share.conversions) for share in found[model].values()] for model in RULES} == {
        "first": ["3", "0", "0"],
        "last": ["0", "0", "3"],
        "last_non_direct": ["0", "3", "0"],
        "linear": ["1", "1", "1"],
        "position": ["6/5", "3/5", "6/5"],
    }
    assert found["position"]["B"].value == 6


@given(tables)
@settings(deadline=None)
@example([Row(("Direct", "Direct"), Fraction(1), Fraction(1, 3)), Row(("A", "Direct", "A", "B"), Fraction(2, 7), Fraction(1))])
def test_columns_say_what_the_models_of_one_journey_say(table: list[Row]) -> None:
    found = rule_shares(paths_of(table))

    for model in RULES:
        assert dict(found[model]) == one_by_one(model, table), model


@given(tables, st.integers(0, 100), st.integers(0, 100))
@settings(deadline=None)
def test_the_position_models_ends_are_settable(table: list[Row], one: int, other: int) -> None:
    first, last = sorted((one, other))[0], 100 - sorted((one, other))[1]
    found = rule_shares(paths_of(table), first=Fraction(first, 100), last=Fraction(last, 100))["position"]

    assert sum(share.conversions for share in found.values()) == sum(row.conversions for row in table)
    assert all(share.conversions >= 0 for share in found.values())


@given(tables, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_neither_the_order_of_the_rows_nor_splitting_one_changes_anything(table: list[Row], chance) -> None:
    shuffled = [*table, *table]
    chance.shuffle(shuffled)

    once, twice = rule_shares(paths_of(table)), rule_shares(paths_of(shuffled))
    for model in RULES:
        assert {key: share.value * 2 for key, share in once[model].items()} == {key: share.value for key, share in twice[model].items()}


@given(st.lists(st.integers(0, 10**40), min_size=1, max_size=20), st.integers(1, 10**9))
@settings(deadline=None)
def test_sums_are_exact_beyond_what_floats_and_64_bits_hold(numbers: list[int], scale: int) -> None:
    column = amounts_of([Fraction(number, scale) for number in numbers], 100)

    assert column.total() == Fraction(sum(numbers), scale)
    bins = np.array([number % 3 for number in range(len(numbers))])
    expected = [sum(numbers[place] for place in range(len(numbers)) if place % 3 == which) for which in range(3)]
    assert [Fraction(one, column.scale) for one in tally(bins, column, 3)] == [Fraction(one, scale) for one in expected]


def test_a_negative_amount_is_a_mistake_of_the_caller() -> None:
    for numbers in ([-1, 2], [-1, 2**60]):
        with pytest.raises(AssertionError, match="never negative"):
            amounts_of_whole(numbers, 1, 10)


# --- time decay ------------------------------------------------------------------------------------------------------


def test_a_touch_a_week_older_gets_half() -> None:
    paths = paths_of([Row(("A", "B"), Fraction(3), Fraction(300))])
    found = time_decay(paths, np.array([8 * DAY, DAY]))

    assert abs(found["A"].conversions - 1) < Fraction(6, 2**PARTS_BITS)
    assert found["A"].conversions + found["B"].conversions == 3
    assert found["A"].value + found["B"].value == 300


@given(st.lists(st.tuples(rows(), st.lists(st.integers(0, 90 * 24), min_size=6, max_size=6)), max_size=6))
@settings(deadline=None)
def test_time_decay_is_the_models_within_its_bound_and_sums_exactly(told: list[tuple[Row, list[int]]]) -> None:
    table = [row for row, _ in told]
    ages = [sorted((hours * HOUR for hours in given[: len(row.path)]), reverse=True) for row, given in told]
    paths = paths_of(table)
    found = time_decay(paths, np.array([age for each in ages for age in each], np.int64))
    slow = one_by_one("time_decay", table, ages)

    assert sum((share.conversions for share in found.values()), Fraction(0)) == sum(row.conversions for row in table)
    assert sum((share.value for share in found.values()), Fraction(0)) == sum(row.value for row in table)
    for channel, share in found.items():
        bound = sum((row.conversions * len(row.path) for row in table), Fraction(0)) * Fraction(2, 2**PARTS_BITS)
        assert abs(share.conversions - slow[channel].conversions) <= bound


def test_large_amounts_and_many_halves_stay_exact() -> None:
    table = [Row(("A", "B", "A"), Fraction(10**18), Fraction(10**18, 7)), Row(("B",), Fraction(1, 3), Fraction(1))]
    found = time_decay(paths_of(table), np.array([400 * DAY, 3 * DAY, 0, 0]))

    assert found["A"].conversions + found["B"].conversions == 10**18 + Fraction(1, 3)
