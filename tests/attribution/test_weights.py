"""The models: shares that a person can check, the field's vectors, and laws for every journey."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations
from math import factorial
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.weights import DEFAULTS, halved, shares, stepwise_time_decay, weights
from core.catalogue import Model, Policy
from core.clock import DAY, HOUR

WEEK = 7 * DAY
INT64 = 2**63 - 1


def told(model: Model, players: str, days: list[int] | None = None, **settings: int) -> list[str]:
    names = players.split()
    ages = [day * DAY for day in days] if days else [len(names) - place for place in range(len(names))]
    return [str(weight) for weight in weights(model, names, ages, Policy("", "", 0, 0, **settings))]


@pytest.mark.parametrize(
    ("model", "players", "expected"),
    [
        ("last", "a b c", "0 0 1"),
        ("first", "a b c", "1 0 0"),
        ("linear", "a b a", "1/3 1/3 1/3"),
        ("position", "a b", "1/2 1/2"),
        ("position", "a b c", "2/5 1/5 2/5"),
        ("position", "a b c d", "2/5 1/10 1/10 2/5"),
        ("shapley", "a b a c", "0 1/3 1/3 1/3"),
        ("participation", "a b c d", "3/10 1/10 1/10 1/2"),
        ("participation", "a b b c", "3/10 0 1/5 1/2"),
        ("participation", "a b", "3/8 5/8"),
        ("participation", "a b a", "3/10 1/5 1/2"),
        ("participation", "a a", "0 1"),
        ("participation", "a a b b", "3/8 0 0 5/8"),
    ],
)
def test_shares_that_a_person_can_check(model: Model, players: str, expected: str) -> None:
    assert told(model, players) == expected.split()


@pytest.mark.parametrize("model", get_args(Model))
def test_a_touch_alone_gets_everything_and_no_touch_nothing(model: Model) -> None:
    assert told(model, "a") == ["1"]
    assert weights(model, [], []) == ()


def test_positions_and_parts_are_settable() -> None:
    assert told("position", "a b c", first_bps=5_000, last_bps=2_500) == ["1/2", "1/4", "1/4"]
    assert told("position", "a b", first_bps=6_000, last_bps=2_000) == ["3/4", "1/4"]
    assert told("position", "a b", first_bps=0, last_bps=0) == ["1/2", "1/2"]
    assert told("position", "a b c d", first_bps=5_000, last_bps=5_000) == ["1/2", "0", "0", "1/2"]
    assert told("participation", "a b c", introducer_bps=0, closer_bps=10_000) == ["0", "0", "1"]
    assert told("participation", "a b", introducer_bps=0, closer_bps=0) == ["1/2", "1/2"]


def test_direct_gets_nothing_where_anybody_brought_a_visit() -> None:
    assert [str(one) for one in weights("last_non_direct", ["a", "b", "", ""], [4, 3, 2, 1])] == ["0", "1", "0", "0"]
    assert [str(one) for one in weights("last_non_direct", ["", ""], [2, 1])] == ["0", "1"]


def test_time_decay_halves_exactly_with_every_half_life() -> None:
    assert told("time_decay", "a b c", [21, 14, 7]) == ["1/7", "2/7", "4/7"]
    assert told("time_decay", "a b", [3, 2], half_life_hours=24) == ["1/3", "2/3"]


def test_time_decay_does_not_ask_how_old_the_youngest_is() -> None:
    assert told("time_decay", "a b c", [121, 114, 107]) == told("time_decay", "a b c", [14, 7, 0])


def test_a_touch_older_than_forty_four_half_lives_gets_nothing() -> None:
    assert told("time_decay", "a b", [44 * 7, 0])[0] == f"1/{2**44 + 1}"
    assert told("time_decay", "a b", [45 * 7, 0]) == ["0", "1"]


@given(st.integers(0, 60 * WEEK), st.integers(1, 2_000))
def test_a_weight_is_what_sixty_digits_say_it_is(age: int, hours: int) -> None:
    with localcontext(prec=90):
        exact = Decimal(2) ** (Decimal(128) - Decimal(age) / Decimal(hours * HOUR))
        error = abs(Decimal(halved(age, hours * HOUR)) - exact)
        assert error <= exact / 2**64 + 1


def test_the_stepwise_form_halves_only_after_whole_half_lives() -> None:
    assert [str(one) for one in stepwise_time_decay([2 * WEEK, 2 * WEEK - 1, 0], WEEK)] == ["1/7", "2/7", "4/7"]


def test_shapley_is_the_average_over_all_orders_of_arrival() -> None:
    """By brute force: a journey converts for every coalition of players that holds all of its own."""
    players = ["a", "b", "c", "d"]
    for own in (set("abc"), set("abcd"), set("a")):
        values = {
            player: sum(
                Fraction(factorial(size) * factorial(len(players) - size - 1), factorial(len(players)))
                * ((own <= {*group, player}) - (own <= set(group)))
                for size in range(len(players))
                for group in combinations([other for other in players if other != player], size)
            )
            for player in players
        }
        journey = sorted(own)
        given = weights("shapley", journey, list(range(len(journey), 0, -1)))
        assert dict(zip(journey, given, strict=True)) == {player: values[player] for player in journey}


journeys = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(0, 400 * DAY)), min_size=1, max_size=40)
settings = st.builds(
    lambda first, last, opens, closes, hours: Policy(
        "",
        "",
        0,
        0,
        first_bps=first,
        last_bps=min(last, 10_000 - first),
        introducer_bps=opens,
        closer_bps=min(closes, 10_000 - opens),
        half_life_hours=hours,
    ),
    *[st.integers(0, 10_000)] * 4,
    st.integers(1, 9_999),
)


@given(st.sampled_from(get_args(Model)), journeys, settings)
def test_weights_sum_to_one_in_lowest_terms(model: Model, journey: list[tuple[str, int]], settings: Policy) -> None:
    oldest_first = sorted(journey, key=lambda one: -one[1])
    players, ages = [one[0] for one in oldest_first], [one[1] for one in oldest_first]

    given_shares = shares(model, players, ages, settings)

    assert sum(weights(model, players, ages, settings)) == 1
    assert [(share.numerator, share.denominator) for share in weights(model, players, ages, settings)] == list(given_shares)


@given(st.sampled_from(get_args(Model)), journeys)
def test_renaming_the_players_changes_nothing(model: Model, journey: list[tuple[str, int]]) -> None:
    oldest_first = sorted(journey, key=lambda one: -one[1])
    renamed = {"": "", "a": "zz", "b": "mm", "c": "aa", "d": "b"}
    ages = [one[1] for one in oldest_first]

    assert weights(model, [renamed[one[0]] for one in oldest_first], ages) == weights(model, [one[0] for one in oldest_first], ages)


@pytest.mark.parametrize("model", get_args(Model))
@pytest.mark.parametrize("count", [15, 16, 1_000, 4_000])
def test_shares_of_the_longest_journeys_fit_the_store_times_ten_thousand(model: Model, count: int) -> None:
    ages = [place * 7_919_011 % (400 * DAY) for place in range(count)]
    found = shares(model, [f"a{place % 300}" for place in range(count)], sorted(ages, reverse=True), DEFAULTS)

    assert max(numerator for numerator, _ in found) * 10_000 <= INT64
    assert max(denominator for _, denominator in found) * 10_000 <= INT64
    assert sum(Fraction(*share) for share in found) == 1
