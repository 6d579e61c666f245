"""Millions of paths in columns, and sums over them that are exact to the last unit.

A sum of floats is exact as long as every partial sum is a whole number below 2^53. Amounts are therefore kept as whole
numbers over a common scale, cut into limbs small enough for that bound, and put together as Python's integers.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import lcm

import msgspec
import numpy as np
from numpy.typing import NDArray

from attribution.paths import Path

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EXACT_BITS = 53
"""A float holds every whole number up to two to the power of this."""


class Row(msgspec.Struct, frozen=True):
    """A path that was travelled ``conversions + nulls`` times; ``value`` is what all its conversions brought together."""

    path: Path
    conversions: Fraction = Fraction(1)
    value: Fraction = Fraction(0)
    nulls: Fraction = Fraction(0)


class Amounts(msgspec.Struct, frozen=True):
    """One number for each path, never negative: ``sum(limb * 2 ** (bits * place)) / scale``, least limb first."""

    limbs: tuple[Floats, ...]
    bits: int
    scale: int

    def of(self, rows: Ints | slice) -> "Amounts":
        """The same for some of the paths."""
        return Amounts(tuple(limb[rows] for limb in self.limbs), self.bits, self.scale)

    def repeated(self, times: Ints) -> "Amounts":
        """One number for each touch, where path ``i`` has ``times[i]`` touches."""
        return Amounts(tuple(np.repeat(limb, times) for limb in self.limbs), self.bits, self.scale)

    def narrowed(self, spare: int) -> "Amounts":
        """The same in limbs that may still be multiplied by whole numbers below ``2 ** spare``."""
        bits = self.bits - spare
        assert bits > 0, "more touches than sums can hold"
        highest = max(float(limb.max(initial=0)) for limb in self.limbs)
        if len(self.limbs) == 1 and highest < 2**bits:
            return Amounts(self.limbs, bits, self.scale)
        numbers = self.limbs[0].astype(np.int64) if len(self.limbs) == 1 else self.whole()
        return amounts_of_whole(numbers, self.scale, 1, bits)

    def times(self, factor: Floats) -> "Amounts":
        """Each limb times a whole number; see :meth:`narrowed`. The limbs may then be wider than ``bits``, which sums allow."""
        return Amounts(tuple(limb * factor for limb in self.limbs), self.bits, self.scale)

    def whole(self) -> list[int]:
        """Python's own numbers, over ``scale``."""
        sums = [0] * len(self.limbs[0])
        for place, limb in enumerate(self.limbs):
            sums = [old + (int(part) << (self.bits * place)) for old, part in zip(sums, limb.tolist(), strict=True)]
        return sums

    def some(self) -> NDArray[np.bool_]:
        """Where the number is above zero."""
        above = self.limbs[0] > 0
        for limb in self.limbs[1:]:
            above = above | (limb > 0)
        return above

    def total(self) -> Fraction:
        whole = sum(int(limb.sum()) << (self.bits * place) for place, limb in enumerate(self.limbs))
        return Fraction(whole, self.scale)


class Paths(msgspec.Struct, frozen=True):
    """Paths in columns. ``codes`` are the touches of all paths, one path after the other, as places in ``channels``.

    Path ``i`` is ``codes[starts[i]:starts[i + 1]]``, never empty. ``channels`` are in the order of their names, so that no result
    depends on which row came first.
    """

    channels: tuple[str, ...]
    codes: Ints
    starts: Ints
    conversions: Amounts
    values: Amounts
    nulls: Amounts

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.starts)

    @property
    def paths(self) -> Iterable[Path]:
        """The paths as tuples, one by one."""
        for start, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield tuple(self.channels[code] for code in self.codes[start:end].tolist())

    def where(self, rows: NDArray[np.bool_]) -> "Paths":
        """Only these paths; the channels stay."""
        if rows.all():
            return self
        lengths, kept = self.lengths, np.flatnonzero(rows)
        starts = starts_of(lengths[rows])
        codes = self.codes[np.repeat(rows, lengths)]
        return Paths(self.channels, codes, starts, self.conversions.of(kept), self.values.of(kept), self.nulls.of(kept))


def paths_of(rows: Sequence[Row]) -> Paths:
    """Columns of a few rows: for tests, vectors, and journeys that were read one by one."""
    channels = tuple(sorted({channel for row in rows for channel in row.path}))
    code_of = {channel: code for code, channel in enumerate(channels)}
    codes = np.array([code_of[channel] for row in rows for channel in row.path], np.int64)
    starts = starts_of(np.array([len(row.path) for row in rows], np.int64))
    columns = (amounts_of([getattr(row, name) for row in rows], len(codes)) for name in ("conversions", "value", "nulls"))
    return Paths(channels, codes, starts, *columns)


def starts_of(lengths: Ints) -> Ints:
    """Where each path begins, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def amounts_of(numbers: Sequence[Fraction | int], terms: int) -> Amounts:
    """Exact numbers as a column. ``terms``: how many of them are at most added up into one sum, repeats counted."""
    scale = lcm(*{Fraction(number).denominator for number in numbers})
    return amounts_of_whole([int(number * scale) for number in numbers], scale, terms)


def amounts_of_whole(numbers: Sequence[int] | Ints, scale: int, terms: int, bits: int = 0) -> Amounts:
    """``numbers / scale`` as a column; ``terms`` as in :func:`amounts_of`, or else the ``bits`` of a limb.

    Raises:
        AssertionError: a number is negative.
    """
    highest = int(max(numbers, default=0)) if isinstance(numbers, Sequence) else int(numbers.max(initial=0))
    bits = bits or EXACT_BITS - max(terms, 1).bit_length()
    assert bits > 0, "more touches than sums can hold"
    if highest.bit_length() <= bits:
        limb = np.array(numbers, np.float64)
        assert not len(limb) or limb.min() >= 0, "an amount of a path is never negative"
        return Amounts((limb,), bits, scale)
    whole = np.array(numbers, object) if isinstance(numbers, Sequence) else numbers
    assert min(whole) >= 0, "an amount of a path is never negative"
    places = range(0, highest.bit_length(), bits)
    mask = (1 << bits) - 1
    return Amounts(tuple(((whole >> place) & mask).astype(np.float64) for place in places), bits, scale)


def tally(bins: Ints, amounts: Amounts, size: int) -> list[int]:
    """What falls into each of ``size`` bins, added up exactly; whole numbers over ``amounts.scale``."""
    sums = [0] * size
    for place, limb in enumerate(amounts.limbs):
        found = np.bincount(bins, limb, size)
        for index in np.flatnonzero(found).tolist():
            sums[index] += int(found[index]) << (amounts.bits * place)
    return sums


# --- what models hand out --------------------------------------------------------------------------------------------


class Share(msgspec.Struct, frozen=True):
    """What a model gives a channel: conversions, and value in the unit of the rows' values. Exact."""

    conversions: Fraction = Fraction(0)
    value: Fraction = Fraction(0)


Shares = Mapping[str, Share]
"""Channel → share. Every channel of the paths is there, with zeros where it earned nothing."""


def shares_of(channels: Sequence[str], conversions: Sequence[Fraction], values: Sequence[Fraction]) -> Shares:
    return {channel: Share(*both) for channel, *both in zip(channels, conversions, values, strict=True)}
