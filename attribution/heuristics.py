"""The rule models over millions of paths at once, exact: what each channel earns under first, last, linear and so on.

A touch's weight follows from its place and the path's length alone, so conversions are added up per (length, channel) as whole
numbers first, and weighed once at the end. For one journey at a time, :mod:`attribution.weights` says the same.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import msgspec
import numpy as np

from attribution.tally import Amounts, Ints, Paths, Shares, shares_of, tally
from core.catalogue import Policy
from core.clock import HOUR, Instant

DIRECT = "Direct"
HALF_LIFE: Instant = Policy("", "", 0, 0).half_life_hours * HOUR
FIRST, LAST = Fraction(2, 5), Fraction(2, 5)
"""The position model's shares of the first and the last touch; the rest is the middle's."""

Table = list[list[Fraction]]
"""One row for each length that occurs, one column per channel."""


class Tables(msgspec.Struct, frozen=True):
    """What paths of each length brought, by channel: over all their touches, and over their first and last alone."""

    lengths: tuple[int, ...]
    every: Table
    first: Table
    last: Table


def rule_shares(paths: Paths, direct: str = DIRECT, first: Fraction = FIRST, last: Fraction = LAST) -> dict[str, Shares]:
    """What each channel earns under ``first``, ``last``, ``last_non_direct``, ``linear`` and ``position``.

    Args:
        direct: the channel that the last non-direct model looks past, unless the path has nothing else.
        first, last: the position model's; two touches share in this proportion, one gets all.

    Returns:
        By model; the shares of a model sum to all conversions and all value exactly.
    """
    paths = paths.where(paths.conversions.some())
    conversions, values = (_rules(paths, amounts, direct, first, last) for amounts in (paths.conversions, paths.values))
    return {model: shares_of(paths.channels, conversions[model], values[model]) for model in conversions}


def last_non_direct(paths: Paths, direct: str = DIRECT) -> Ints:
    """Each path's last touch that is not ``direct``, else its last, as a place in ``paths.codes``."""
    last = paths.starts[1:] - 1
    if direct not in paths.channels:
        return last
    places = np.arange(len(paths.codes), dtype=np.int64)
    places[paths.codes == paths.channels.index(direct)] = -1
    latest = np.maximum.reduceat(places, paths.starts[:-1])
    return np.where(latest < 0, last, latest)


def _rules(paths: Paths, amounts: Amounts, direct: str, first: Fraction, last: Fraction) -> dict[str, list[Fraction]]:
    size = len(paths.channels)
    if not len(paths):
        return {model: [Fraction(0)] * size for model in ("first", "last", "last_non_direct", "linear", "position")}
    tables = _tables(paths, amounts)
    return {
        "first": _weigh(tables, lambda _length: (Fraction(0), Fraction(1), Fraction(0)), size),
        "last": _weigh(tables, lambda _length: (Fraction(0), Fraction(0), Fraction(1)), size),
        "last_non_direct": _over(tally(paths.codes[last_non_direct(paths, direct)], amounts, size), amounts.scale),
        "linear": _weigh(tables, lambda length: (Fraction(1, length), Fraction(0), Fraction(0)), size),
        "position": _weigh(tables, lambda length: _position(length, first, last), size),
    }


def _tables(paths: Paths, amounts: Amounts) -> Tables:
    """Three exact tables; a row of the input counts once in ``first`` and ``last``, and once per touch in ``every``."""
    size, lengths = len(paths.channels), paths.lengths
    occurring = np.flatnonzero(np.bincount(lengths))
    row_of = np.zeros(int(lengths.max()) + 1, np.int64)
    row_of[occurring] = np.arange(len(occurring)) * size
    rows = row_of[lengths]
    cells = len(occurring) * size
    every = tally(np.repeat(rows, lengths) + paths.codes, amounts.repeated(lengths), cells)
    first = tally(rows + paths.codes[paths.starts[:-1]], amounts, cells)
    last = tally(rows + paths.codes[paths.starts[1:] - 1], amounts, cells)
    return Tables(tuple(occurring.tolist()), *(_table(sums, size, amounts.scale) for sums in (every, first, last)))


def _table(sums: Sequence[int], size: int, scale: int) -> Table:
    return [_over(sums[at : at + size], scale) for at in range(0, len(sums), size)]


def _over(sums: Sequence[int], scale: int) -> list[Fraction]:
    return [Fraction(one, scale) for one in sums]


def _weigh(tables: Tables, weights: Callable[[int], tuple[Fraction, Fraction, Fraction]], size: int) -> list[Fraction]:
    """``weights(length)``: what every touch gets, what the first gets on top, and what the last gets on top."""
    sums = [Fraction(0)] * size
    for length, every, first, last in zip(tables.lengths, tables.every, tables.first, tables.last, strict=True):
        of_every, of_first, of_last = weights(length)
        for channel in range(size):
            if every[channel]:
                sums[channel] += of_every * every[channel] + of_first * first[channel] + of_last * last[channel]
    return sums


def _position(length: int, first: Fraction, last: Fraction) -> tuple[Fraction, Fraction, Fraction]:
    if length == 1:
        return Fraction(1), Fraction(0), Fraction(0)
    if length == 2:
        ends = first + last
        return Fraction(0), first / ends if ends else Fraction(1, 2), last / ends if ends else Fraction(1, 2)
    middle = (1 - first - last) / (length - 2)
    return middle, first - middle, last - middle


# --- by age ----------------------------------------------------------------------------------------------------------

PARTS_BITS = 40
"""Each path's time decay is shared in whole parts of ``2 ** -40``: irrational weights become exact, and their sum stays one."""
_HALF = PARTS_BITS // 2


def time_decay(paths: Paths, ages: Ints, half_life: Instant = HALF_LIFE) -> Shares:
    """What each channel earns where a touch one half-life older than another gets half of its share.

    Args:
        ages: milliseconds from each touch to its order, one per touch of ``paths.codes``, never negative.

    Returns:
        Shares that sum to all conversions and all value exactly. A touch's weight is rounded down to :data:`PARTS_BITS` binary
        places, and what that leaves goes to the last touch: within that bound it is what :mod:`attribution.weights` gives.
    """
    assert len(ages) == len(paths.codes), "every touch has an age"
    converting = paths.conversions.some()
    ages, paths = ages[np.repeat(converting, paths.lengths)], paths.where(converting)
    parts = _parts(paths, ages, half_life)
    conversions, values = (_in_parts(paths, parts, amounts) for amounts in (paths.conversions, paths.values))
    return shares_of(paths.channels, conversions, values)


def _parts(paths: Paths, ages: Ints, half_life: Instant) -> Ints:
    """Each touch's parts of its path; those of a path sum to ``2 ** PARTS_BITS``."""
    if not len(paths):
        return np.zeros(0, np.int64)
    begins, lengths = paths.starts[:-1], paths.lengths
    youngest = np.minimum.reduceat(ages, begins)
    raw = np.exp2((np.repeat(youngest, lengths) - ages) / half_life)
    parts: Ints = np.floor(raw / np.repeat(np.add.reduceat(raw, begins), lengths) * 2**PARTS_BITS).astype(np.int64)
    parts[paths.starts[1:] - 1] += 2**PARTS_BITS - np.add.reduceat(parts, begins)
    return parts


def _in_parts(paths: Paths, parts: Ints, amounts: Amounts) -> list[Fraction]:
    size = len(paths.channels)
    sums = [0] * size
    for shift, half in ((0, parts & ((1 << _HALF) - 1)), (_HALF, parts >> _HALF)):
        factor = half.astype(np.float64)
        products = amounts.narrowed(_HALF + 1).repeated(paths.lengths).times(factor)
        sums = [old + (new << shift) for old, new in zip(sums, tally(paths.codes, products, size), strict=True)]
    return [Fraction(one, amounts.scale << PARTS_BITS) for one in sums]
