"""Set Shapley: the closed form is the definition, and keeps its laws."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.shapley import MOST_PLAYERS, game_of, set_shapley, shapley_value
from attribution.tally import Row, paths_of
from tests.attribution.path_rows import rows, tables


def conversions(table: list[Row]) -> dict[str, Fraction]:
    return {channel: share.conversions for channel, share in set_shapley(paths_of(table)).items()}


def test_a_conversion_is_shared_by_the_distinct_channels_of_its_path() -> None:
    found = set_shapley(
        paths_of([Row(("A", "B", "A", "A"), Fraction(2), Fraction(30)), Row(("C",), Fraction(1), Fraction(5), Fraction(9))])
    )

    assert {channel: (share.conversions, share.value) for channel, share in found.items()} == {"A": (1, 15), "B": (1, 15), "C": (1, 5)}


@given(tables)
@settings(deadline=None)
def test_the_closed_form_is_the_definition(table: list[Row]) -> None:
    paths = paths_of(table)

    assert conversions(table) == shapley_value(game_of(paths), paths.channels)


@given(st.lists(rows(), min_size=1, max_size=6))
@settings(deadline=None)
def test_it_is_efficient_additive_and_gives_a_dummy_nothing(table: list[Row]) -> None:
    found = conversions(table)

    assert sum(found.values()) == sum(row.conversions for row in table)
    halves = [conversions(table[:1]), conversions(table[1:])]
    assert found == {channel: sum(half.get(channel, Fraction(0)) for half in halves) for channel in found}
    converting = {channel for row in table if row.conversions for channel in row.path}
    assert all(found[channel] == 0 for channel in found.keys() - converting)


def test_more_channels_than_bits_are_sorted_instead_and_say_the_same() -> None:
    few = [Row((f"c{number}", f"c{number + 1}", f"c{number}"), Fraction(number)) for number in range(60)]
    many = [*few, *(Row((f"x{number}",), Fraction(1)) for number in range(10))]

    assert conversions(many).items() >= conversions(few).items()
    assert conversions(many)["c1"] == Fraction(1, 2)


def test_a_game_as_a_table() -> None:
    game = {frozenset(): Fraction(1), frozenset("A"): Fraction(3), frozenset("AB"): Fraction(9)}

    assert shapley_value(game, "AB") == {"A": Fraction(11, 2), "B": Fraction(5, 2)}, "a coalition that is left out is worth nothing"


def test_the_definition_is_for_few_players() -> None:
    with pytest.raises(AssertionError, match="at most 16"):
        shapley_value({}, [str(number) for number in range(MOST_PLAYERS + 1)])
