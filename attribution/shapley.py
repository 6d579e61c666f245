"""Set Shapley: each conversion is shared equally by the distinct channels of its path.

This is the Shapley value of the game whose coalition earns the conversions of all paths that it covers alone (Zhao et al., 2018,
arXiv 1804.05327); in plain words, "linear over distinct channels". The definition itself, over all coalitions, is here too: for
games that are given as a table.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np

from attribution.tally import Amounts, Ints, Paths, Shares, shares_of, tally

MOST_PLAYERS = 16
"""By definition the value takes two to the power of the players."""
Game = Mapping[frozenset[str], Fraction]
"""What each coalition is worth; one that is left out is worth nothing."""


def set_shapley(paths: Paths) -> Shares:
    """What each channel earns; the shares sum to all conversions and all value exactly."""
    paths = paths.where(paths.conversions.some())
    owners, codes, sizes = distinct(paths)
    conversions, values = (_shared(codes, amounts.of(owners), sizes, paths) for amounts in (paths.conversions, paths.values))
    return shares_of(paths.channels, conversions, values)


def distinct(paths: Paths) -> tuple[Ints, Ints, Ints]:
    """Each (path, channel) once, as two columns; and how many channels the path has, for each of them."""
    if len(paths.channels) <= 62:
        return _by_bits(paths)
    size = len(paths.channels)
    pairs = np.unique(np.repeat(np.arange(len(paths)), paths.lengths) * size + paths.codes)
    owners, codes = pairs // size, pairs % size
    return owners, codes, np.bincount(owners, minlength=len(paths))[owners]


def _by_bits(paths: Paths) -> tuple[Ints, Ints, Ints]:
    """The same without sorting, where a path's channels fit the bits of one number."""
    if not len(paths):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    masks = np.bitwise_or.reduceat(np.left_shift(np.int64(1), paths.codes), paths.starts[:-1])
    sizes = np.bitwise_count(masks).astype(np.int64)
    having = [np.flatnonzero(masks & (1 << code)) for code in range(len(paths.channels))]
    owners = np.concatenate(having)
    codes = np.repeat(np.arange(len(having)), [len(rows) for rows in having])
    return owners, codes, sizes[owners]


def _shared(codes: Ints, amounts: Amounts, sizes: Ints, paths: Paths) -> list[Fraction]:
    channels = len(paths.channels)
    if not len(codes):
        return [Fraction(0)] * channels
    widest = int(sizes.max())
    sums = tally((sizes - 1) * channels + codes, amounts, widest * channels)
    return [
        sum((Fraction(sums[size * channels + code], (size + 1) * amounts.scale) for size in range(widest)), Fraction(0))
        for code in range(channels)
    ]


# --- by definition ---------------------------------------------------------------------------------------------------


def game_of(paths: Paths) -> dict[frozenset[str], Fraction]:
    """The game that :func:`set_shapley` solves: a coalition's worth is the conversions of the paths that lie inside it."""
    assert len(paths.channels) <= MOST_PLAYERS, "a game as a table is for few channels"
    conversions = [Fraction(brought, paths.conversions.scale) for brought in paths.conversions.whole()]
    sets = [frozenset(path) for path in paths.paths]
    return {
        coalition: sum((brought for met, brought in zip(sets, conversions, strict=True) if met <= coalition), Fraction(0))
        for size in range(len(paths.channels) + 1)
        for coalition in map(frozenset, combinations(paths.channels, size))
    }


def shapley_value(game: Game, players: Collection[str]) -> dict[str, Fraction]:
    """Each player's average contribution over all orders of arrival (Shapley 1953); they sum to ``game[all] - game[nobody]``.

    Raises:
        AssertionError: more than ``MOST_PLAYERS`` players.
    """
    assert len(players) <= MOST_PLAYERS, f"the definition is for at most {MOST_PLAYERS} players"
    return {player: _value(game, player, sorted(set(players) - {player})) for player in players}


def _value(game: Game, player: str, others: list[str]) -> Fraction:
    total = Fraction(0)
    for size in range(len(others) + 1):
        weight = Fraction(1, (len(others) + 1) * comb(len(others), size))
        for coalition in map(frozenset, combinations(others, size)):
            total += weight * (game.get(coalition | {player}, Fraction(0)) - game.get(coalition, Fraction(0)))
    return total
