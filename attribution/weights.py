"""The models: exact shares of an order for the touches of one journey, oldest first.

Definitions: docs/attribution.md. Last, first, linear and 40/20/40 as in Snowplow's attribution package and google/fractribution; time
decay as in marketing-attribution-models 2.1.1, made exact by a quantisation of its own; set Shapley in the closed form of Zhao,
Mahboobi and Bagheri (2018, arXiv 1804.05327); last non-direct as Google Analytics. Where these are silent, the functions say.

A journey is given by its players (who brought each touch) and its ages (milliseconds before the order). A share is a numerator and a
denominator in lowest terms. Shares sum to one, and any of them times ten thousand basis points fits a signed 64-bit number.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from math import gcd, isqrt

from core.catalogue import Model, Policy
from core.clock import HOUR, Instant

Share = tuple[int, int]
ALL: Share = (1, 1)
NOTHING: Share = (0, 1)
DIRECT = ""
"""The player of a visit that nobody brought."""
DEFAULTS = Policy("", "", 0, 0)
"""The settings of the models where a programme gives none of its own."""

DECAY_BITS = 44
"""Time decay's weights are whole multiples of ``2 ** -44`` of the youngest touch's, while a journey has fewer than 16 touches."""
SUM_BITS = 48
"""The weights of a longer journey are coarser, so that their sum, times ten thousand, stays below ``2 ** 63``."""


def weights(model: Model, players: Sequence[str], ages: Sequence[Instant], settings: Policy = DEFAULTS) -> tuple[Fraction, ...]:
    """What each touch of a journey is given, oldest first; they sum to one.

    Args:
        players: who brought each touch; the empty text is a direct visit.
        ages: milliseconds from each touch to the order.
        settings: the policy's shares and half-life.

    >>> [str(weight) for weight in weights("position", ["a", "b", "c"], [3, 2, 1])]
    ['2/5', '1/5', '2/5']
    """
    assert len(players) == len(ages), "every touch has a player and an age"
    return tuple(Fraction(*share) for share in shares(model, players, ages, settings)) if players else ()


def shares(model: Model, players: Sequence[str], ages: Sequence[Instant], settings: Policy = DEFAULTS) -> Sequence[Share]:
    """The same for one touch or more, as numerators and denominators."""
    by_count = shares_by_count(model, len(players), settings)
    return by_count if by_count is not None else _MODELS[model](players, ages, settings)


def shares_by_count(model: Model, count: int, settings: Policy = DEFAULTS) -> Sequence[Share] | None:
    """The same where the number of touches alone decides, and neither players nor ages matter; None where they do."""
    if count == 1:
        return (ALL,)
    if model == "last":
        return _only(count - 1, count)
    if model == "first":
        return _only(0, count)
    if model == "linear":
        return _linear(count)
    return _position(count, settings.first_bps, settings.last_bps) if model == "position" else None


# --- by place --------------------------------------------------------------------------------------------------------


@lru_cache(512)
def _only(index: int, count: int) -> Sequence[Share]:
    return [ALL if place == index else NOTHING for place in range(count)]


def _last_non_direct(players: Sequence[str], _ages: Sequence[Instant], _settings: Policy) -> Sequence[Share]:
    """The last touch that somebody brought; the last direct visit where nobody brought any."""
    brought = (place for place in range(len(players) - 1, -1, -1) if players[place] != DIRECT)
    return _only(next(brought, len(players) - 1), len(players))


@lru_cache(1024)
def _linear(count: int) -> Sequence[Share]:
    """Equal shares to touches, so that whoever brought two gets two."""
    return [(1, count)] * count


@lru_cache(1024)
def _position(count: int, first_bps: int, last_bps: int) -> Sequence[Share]:
    """Two touches share as first to last, halves where both are zero; of three and more, the middle ones share the rest equally."""
    if count == 2:
        return _in_proportion([first_bps, last_bps])
    middle = _lowest(10_000 - first_bps - last_bps, 10_000 * (count - 2))
    return [_lowest(first_bps, 10_000), *[middle] * (count - 2), _lowest(last_bps, 10_000)]


# --- by age ----------------------------------------------------------------------------------------------------------


def _time_decay(_players: Sequence[str], ages: Sequence[Instant], settings: Policy) -> Sequence[Share]:
    """A touch that is one half-life older than another gets half of its share, to the millisecond.

    Weights are relative to the youngest touch and rounded down to whole multiples of ``2 ** -bits``: see :data:`DECAY_BITS`. A touch
    that is so old that its weight is below that gets nothing.
    """
    youngest, half_life = min(ages), settings.half_life_hours * HOUR
    bits = min(DECAY_BITS, SUM_BITS - len(ages).bit_length())
    return _in_proportion([halved(age - youngest, half_life) >> (_ROOT_BITS - bits) for age in ages])


def stepwise_time_decay(ages: Sequence[Instant], half_life: Instant) -> tuple[Fraction, ...]:
    """Weights that halve once for every whole half-life (marketing-attribution-models 1.0.10): for comparisons of paths, not for orders."""
    steps = [age // half_life for age in ages]
    return tuple(Fraction(*share) for share in _in_proportion([1 << (max(steps) - step) for step in steps]))


_ROOT_BITS = 128
_DIGITS = 9
"""The exponent's fraction is cut after nine digits of eight binary places: an error far below :data:`DECAY_BITS`."""


def halved(age: Instant, half_life: Instant) -> int:
    """``2 ** (128 - age / half_life)``, rounded down, in whole numbers alone: the same on every machine.

    Exact where ``age`` is a whole number of half-lives; else the product of roots of one half, each rounded down at 128 places, is
    correct to 64 places.
    """
    whole, rest = divmod(age, half_life)
    value = 1 << _ROOT_BITS
    digits = (rest << 8 * _DIGITS) // half_life
    for roots in _roots() if digits else ():
        value = value * roots[digits & 255] >> _ROOT_BITS
        digits >>= 8
    return value >> whole


@cache
def _roots() -> list[list[int]]:
    """For each digit of an exponent, the last first, and each of its values: one half to that power, in 128 places."""
    root, bits = 1 << _ROOT_BITS >> 1, []
    for _ in range(8 * _DIGITS):
        root = isqrt(root << _ROOT_BITS)
        bits.append(root)
    return [_powers(bits[8 * digit : 8 * digit + 8]) for digit in range(_DIGITS - 1, -1, -1)]


def _powers(bits: Sequence[int]) -> list[int]:
    """Of one digit, whose highest binary place comes first in ``bits``."""
    powers = [1 << _ROOT_BITS]
    for bit in reversed(bits):
        powers += [power * bit >> _ROOT_BITS for power in powers]
    return powers


# --- by player -------------------------------------------------------------------------------------------------------


def _shapley(players: Sequence[str], _ages: Sequence[Instant], _settings: Policy) -> Sequence[Share]:
    """Equal shares to distinct players, each carried by its last touch: linear over distinct players."""
    carriers = {player: place for place, player in enumerate(players)}
    found = [NOTHING] * len(players)
    for place in carriers.values():
        found[place] = (1, len(carriers))
    return found


def _participation(players: Sequence[str], _ages: Sequence[Instant], settings: Policy) -> Sequence[Share]:
    """The introducer's share is carried by the first touch, the closer's by the last, each influencer's by its own last touch.

    Introducer and closer may be the same player, who then has both shares. Where there is no influencer, introducer and closer share
    as their basis points are to each other, halves where both are zero. A player alone gets everything on its last touch.
    """
    last = {player: place for place, player in enumerate(players)}
    if len(last) == 1:
        return _only(len(players) - 1, len(players))
    influencers = [place for player, place in last.items() if player not in (players[0], players[-1])]
    found = [NOTHING] * len(players)
    if not influencers:
        found[0], found[-1] = _in_proportion([settings.introducer_bps, settings.closer_bps])
        return found
    found[0], found[-1] = _lowest(settings.introducer_bps, 10_000), _lowest(settings.closer_bps, 10_000)
    for place in influencers:
        found[place] = _lowest(10_000 - settings.introducer_bps - settings.closer_bps, 10_000 * len(influencers))
    return found


# --- fractions -------------------------------------------------------------------------------------------------------


def _in_proportion(parts: Sequence[int]) -> Sequence[Share]:
    """Whole numbers as shares of their sum; equal shares where all are zero."""
    total = sum(parts)
    return [_lowest(part, total) for part in parts] if total else [(1, len(parts))] * len(parts)


def _lowest(numerator: int, denominator: int) -> Share:
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor


_MODELS: dict[Model, Callable[[Sequence[str], Sequence[Instant], Policy], Sequence[Share]]] = {
    "last_non_direct": _last_non_direct,
    "time_decay": _time_decay,
    "shapley": _shapley,
    "participation": _participation,
}
