"""Removal effects in closed form: an example a person can follow, and the laws of the model at every order."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import markov as module
from attribution.markov import chain_of, markov
from attribution.tally import Row, Share, paths_of
from core.errors import FairshareError
from tests.attribution.path_rows import rows, tables

orders = st.sampled_from([1, 2, 3])
some = st.lists(rows(), min_size=1, max_size=6)


def test_the_worked_example() -> None:
    """P(conversion) = 3/8; without A it is 1/8, without B 3/32."""
    table = [Row(("A", "B"), Fraction(2)), Row(("A",), Fraction(1), nulls=Fraction(3)), Row(("B", "A"), Fraction(0), nulls=Fraction(2))]
    found = markov(paths_of(table))

    assert found.conversion_rate == Fraction(3, 8)
    assert {channel: effect.conversions for channel, effect in found.effects.items()} == {"A": Fraction(2, 3), "B": Fraction(3, 4)}
    assert {channel: share.conversions for channel, share in found.shares.items()} == {"A": Fraction(24, 17), "B": Fraction(27, 17)}
    assert found.is_exact


def test_repeats_in_a_row_are_one_state() -> None:
    short = [Row(("A", "B"), Fraction(1), nulls=Fraction(1)), Row(("A",), Fraction(0), nulls=Fraction(1))]
    long = [Row(("A", "A", "A", "B", "B"), Fraction(1), nulls=Fraction(1)), Row(("A", "A"), Fraction(0), nulls=Fraction(1))]

    assert markov(paths_of(short)) == markov(paths_of(long))


def test_a_state_of_order_two_holds_two_touches_and_a_short_path_is_a_shorter_one() -> None:
    chain = chain_of(paths_of([Row(("A", "A", "A", "B")), Row(("B",)), Row(("B", "A"))]), 2, nulls=True)

    assert chain.states == (frozenset({0}), frozenset({0, 1}), frozenset({1}), frozenset({0, 1})), "AA, AB, B, BA"
    assert chain.steps == ((0, 1, 1),), "A A A is one state"


def test_without_nulls_every_walk_converts_and_an_effect_is_the_chance_of_a_visit() -> None:
    table = [
        Row(("A", "B"), Fraction(3), nulls=Fraction(5)),
        Row(("B",), Fraction(1), nulls=Fraction(50)),
        Row(("C",), Fraction(0), nulls=Fraction(7)),
    ]
    found = markov(paths_of(table), nulls=False)

    assert found.conversion_rate == 1
    assert {channel: effect.conversions for channel, effect in found.effects.items()} == {"A": Fraction(3, 4), "B": 1, "C": 0}


def test_where_nothing_converts_everything_is_zero_and_that_is_said() -> None:
    for table in ([], [Row(("A", "B"), Fraction(0), nulls=Fraction(5))]):
        found = markov(paths_of(table))

        assert "no path leads to a conversion" in found.warning
        assert set(found.shares.values()) <= {Share()}


@given(some, orders, st.booleans())
@settings(deadline=None)
def test_credits_sum_to_the_conversions_and_effects_are_shares(table: list[Row], order: int, nulls: bool) -> None:
    found = markov(paths_of(table), order, nulls)
    conversions, value = sum(row.conversions for row in table), sum(row.value for row in table)

    assert sum(share.conversions for share in found.shares.values()) == conversions
    assert sum(share.value for share in found.shares.values()) == (value if conversions else 0)
    assert all(0 <= effect.conversions <= 1 and 0 <= effect.value <= 1 for effect in found.effects.values())
    walks = conversions + (sum(row.nulls for row in table) if nulls else 0)
    assert found.conversion_rate == (Fraction(conversions, walks) if walks else 0), "whatever the order of the chain"


@given(some, orders, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_neither_the_order_of_the_rows_nor_splitting_one_changes_anything(table: list[Row], order: int, chance) -> None:
    halves = [Row(row.path, row.conversions / 2, row.value / 2, row.nulls / 2) for row in table for _ in range(2)]
    chance.shuffle(halves)

    assert markov(paths_of(halves), order) == markov(paths_of(table), order)


@given(some, orders)
@settings(deadline=None)
def test_scaled_counts_scale_the_credits_and_other_names_permute_them(table: list[Row], order: int) -> None:
    found = markov(paths_of(table), order)
    name = {"A": "Z", "B": "Y", "C": "X", "D": "W", "Direct": "V"}
    other = markov(
        paths_of([Row(tuple(name[one] for one in row.path), row.conversions * 5, row.value, row.nulls * 5) for row in table]), order
    )

    for channel, share in found.shares.items():
        assert other.shares[name[channel]] == Share(share.conversions * 5, share.value)


@given(some, orders)
@settings(deadline=None)
def test_who_is_on_no_way_to_a_conversion_gets_nothing(table: list[Row], order: int) -> None:
    found = markov(paths_of([*table, Row(("Nowhere",), Fraction(0), nulls=Fraction(3))]), order)

    assert found.shares["Nowhere"] == Share()


@given(some)
@settings(deadline=None)
def test_an_order_as_long_as_the_paths_counts_who_is_on_them(table: list[Row]) -> None:
    """A path of at most three touches is one state, so removing a channel loses exactly the paths that it is on."""
    short = [Row(row.path[:3], row.conversions, row.value, row.nulls) for row in table]
    total = sum(row.conversions for row in short)
    found = markov(paths_of(short), 3)

    for channel, effect in found.effects.items():
        lost = sum(row.conversions for row in short if channel in row.path)
        assert effect.conversions == (Fraction(lost, total) if total else 0)


# --- large chains ----------------------------------------------------------------------------------------------------


@given(tables, orders)
@settings(deadline=None)
def test_floats_and_walks_say_what_whole_numbers_say(table: list[Row], order: int) -> None:
    chain = chain_of(paths_of(table), order, nulls=True)
    if not sum(chain.converted):
        return
    exact = module._exact(chain)
    for solve in (module._dense, module._walked):
        for one, other in zip(exact, solve(chain), strict=True):
            assert [float(part) for part in one] == pytest.approx([float(part) for part in other], abs=1e-11)


def test_every_way_of_solving_is_taken_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        Row((f"c{number}", f"c{(number * 7) % 9}", f"c{(number * 5) % 8}"), Fraction(1), Fraction(number), Fraction(2))
        for number in range(9)
    ]
    exact = markov(paths_of(table), 2)
    monkeypatch.setattr(module, "EXACT_STATES", 3)
    dense = markov(paths_of(table), 2)
    monkeypatch.setattr(module, "DENSE_STATES", 3)
    walked = markov(paths_of(table), 2)

    assert (exact.is_exact, dense.is_exact, walked.is_exact) == (True, False, False)
    for channel, share in exact.shares.items():
        for other in (dense, walked):
            assert float(other.shares[channel].conversions) == pytest.approx(float(share.conversions), abs=1e-12)
            assert float(other.shares[channel].value) == pytest.approx(float(share.value), abs=1e-12)
            assert sum(one.conversions for one in other.shares.values()) == 9, "sums are exact even there"


def test_walks_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 3)
    chain = chain_of(paths_of([Row(tuple("ABCDEFGH") * 9, Fraction(1))]), 1, nulls=True)

    with pytest.raises(FairshareError, match="smaller order"):
        module._walked(chain)


def test_more_channels_than_can_be_removed_one_by_one_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight channels, seven steps between them, eight rounds: 448."""
    chain = chain_of(paths_of([Row(tuple("ABCDEFGH"), Fraction(1))]), 1, nulls=True)
    monkeypatch.setattr(module, "MOST_WORK", 448)
    assert len(module._walked(chain)) == 8
    monkeypatch.setattr(module, "MOST_WORK", 447)

    with pytest.raises(FairshareError, match="8 channels on paths of up to 8 steps"):
        module._walked(chain)
