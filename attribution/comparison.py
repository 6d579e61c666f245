"""All models side by side over the same journeys: who would have earned what, and how customers came. Pure, exact.

Conversions are fractions. Amounts are minor units: each model's exact shares of all orders' value, rounded so that they still sum
to it (largest remainder, ties to the first by key).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Literal

import msgspec
import numpy as np

from attribution.heuristics import rule_shares, time_decay
from attribution.markov import markov
from attribution.paths import Path, exposure
from attribution.shapley import set_shapley
from attribution.tally import Ints, Paths, Share, Shares, amounts_of_whole, starts_of
from core.clock import DAY, HOUR, Instant
from core.money import allocate

Dimension = Literal["affiliate", "channel"]
DIMENSIONS: tuple[Dimension, ...] = ("affiliate", "channel")
MODELS = ("as_decided", "last", "first", "last_non_direct", "linear", "position", "time_decay", "shapley", "markov")
"""``as_decided`` is what the decisions in force say. Set Shapley of a whole report and of each order are the same."""
NOBODY = ""
"""The key of what is unattributed."""
DIRECT, PAID = ":direct", ":paid"
"""Visits that no affiliate brought. No id of an affiliate and no channel begins with a colon."""
MOST_PATHS = 5_000
"""The commonest; a report prints far fewer, a picture draws them all."""
TOP_PAIRS = 15
MOST_TOGETHER = 30
"""Of a journey with more affiliates than this, pairs are counted among the first so many alone."""
SPANS: tuple[tuple[str, Instant], ...] = (
    ("within an hour", HOUR),
    ("within a day", DAY),
    ("1 to 3 days", 3 * DAY),
    ("3 to 7 days", 7 * DAY),
    ("7 to 14 days", 14 * DAY),
    ("14 to 30 days", 30 * DAY),
    ("30 days and more", 2**62),
)
"""From the first touch to the order; each begins where the one before it ends (exclusive)."""


class Met(msgspec.Struct, frozen=True, gc=False):
    """A touch on the way to an order, ``age`` milliseconds before it."""

    affiliate: str
    channel: str
    age: Instant


class Journey(msgspec.Struct, frozen=True):
    """An order with what led to it. ``earned`` is in force: (affiliate, channel, share). ``is_traced`` False: nobody knows the way."""

    currency: str
    net_minor: int
    met: tuple[Met, ...] = ()
    earned: tuple[tuple[str, str, Fraction], ...] = ()
    is_traced: bool = True


class Missed(msgspec.Struct, frozen=True):
    """A path that so many visitors took without an order."""

    by_affiliate: Path
    by_channel: Path
    visitors: int


class Credited(msgspec.Struct, frozen=True):
    """What a model gives: orders as a fraction, value in minor units."""

    conversions: Fraction
    value_minor: int


class Line(msgspec.Struct, frozen=True):
    """One affiliate or channel, or nobody, with what each model gives.

    ``orders`` have it in their journey; of these it was first to be met in ``introduced``, the last in ``closed``, and ``assists``
    are those that another one closed.
    """

    key: str
    models: dict[str, Credited]
    orders: int = 0
    introduced: int = 0
    assists: int = 0
    closed: int = 0


class Travelled(msgspec.Struct, frozen=True):
    """A path (repeats that follow each other are one), how many orders came over it, and what they were worth."""

    path: Path
    orders: int
    value_minor: int


class Together(msgspec.Struct, frozen=True):
    """Two affiliates and the orders that met both."""

    pair: tuple[str, str]
    orders: int


class Waiting(msgspec.Struct, frozen=True):
    """From the first touch to the order: how many orders took how long, by :data:`SPANS`, and the (lower) median."""

    counts: tuple[int, ...]
    median: Instant | None


class Comparison(msgspec.Struct, frozen=True):
    """Everything about the orders of one currency. ``paths`` are the commonest of ``walked``."""

    currency: str
    orders: int
    value_minor: int
    unmet: int
    untraced: int
    lines: dict[Dimension, tuple[Line, ...]]
    paths: dict[Dimension, tuple[Travelled, ...]]
    walked: dict[Dimension, int]
    overlap: tuple[Together, ...]
    waiting: Waiting
    warning: str = ""


def compare(journeys: Iterable[Journey], missed: Sequence[Missed] | None = None, order: int = 1) -> tuple[Comparison, ...]:
    """One comparison for each currency, by its code.

    Args:
        missed: what Markov counts as journeys without an order; None leaves them out. They count in every currency.
        order: Markov's.
    """
    by_currency: dict[str, list[Journey]] = {}
    for journey in journeys:
        by_currency.setdefault(journey.currency, []).append(journey)
    return tuple(_compare(currency, found, missed, order) for currency, found in sorted(by_currency.items()))


def _compare(currency: str, journeys: Sequence[Journey], missed: Sequence[Missed] | None, order: int) -> Comparison:
    ways = [journey for journey in journeys if journey.met]
    models, warning = {}, ""
    for dimension in DIMENSIONS:
        models[dimension], warning = _models(ways, missed, dimension, order)
    travelled = {dimension: _travelled(ways, dimension) for dimension in DIMENSIONS}
    return Comparison(
        currency=currency,
        orders=len(journeys),
        value_minor=sum(journey.net_minor for journey in journeys),
        unmet=len(journeys) - len(ways),
        untraced=sum(not journey.is_traced for journey in journeys),
        lines={dimension: _lines(journeys, ways, models[dimension], dimension) for dimension in DIMENSIONS},
        paths={dimension: travelled[dimension][:MOST_PATHS] for dimension in DIMENSIONS},
        walked={dimension: len(travelled[dimension]) for dimension in DIMENSIONS},
        overlap=_overlap(ways),
        waiting=_waiting(ways),
        warning=warning,
    )


# --- models ----------------------------------------------------------------------------------------------------------


def _models(ways: Sequence[Journey], missed: Sequence[Missed] | None, dimension: Dimension, order: int) -> tuple[dict[str, Shares], str]:
    """Every model's shares of the orders that somebody was met before."""
    paths, ages = columns_of(ways, dimension)
    walks = paths if missed is None else _with_missed(paths, missed, dimension)
    removed = markov(walks, order, nulls=missed is not None)
    found = rule_shares(paths, DIRECT) | {"time_decay": time_decay(paths, ages), "shapley": set_shapley(paths), "markov": removed.shares}
    return found, removed.warning if ways else ""


def columns_of(ways: Sequence[Journey], dimension: Dimension) -> tuple[Paths, Ints]:
    """Journeys as columns, each one conversion with its value in minor units; and the age of every touch, in milliseconds."""
    names = [tuple(getattr(one, dimension) for one in way.met) for way in ways]
    paths = _columns(names, [1] * len(ways), [way.net_minor for way in ways], [0] * len(ways))
    return paths, np.array([one.age for way in ways for one in way.met], np.int64)


def _with_missed(paths: Paths, missed: Sequence[Missed], dimension: Dimension) -> Paths:
    names = [*paths.paths, *(getattr(one, f"by_{dimension}") for one in missed)]
    nothing = [0] * len(missed)
    conversions, values = ([*amounts.whole(), *nothing] for amounts in (paths.conversions, paths.values))
    return _columns(names, conversions, values, [0] * len(paths) + [one.visitors for one in missed])


def _columns(names: Sequence[Path], conversions: list[int], values: list[int], nulls: list[int]) -> Paths:
    channels = tuple(sorted({name for path in names for name in path}))
    place_of = {channel: place for place, channel in enumerate(channels)}
    codes = np.array([place_of[name] for path in names for name in path], np.int64)
    starts = starts_of(np.array([len(path) for path in names], np.int64))
    return Paths(channels, codes, starts, *(amounts_of_whole(column, 1, len(codes)) for column in (conversions, values, nulls)))


# --- lines -----------------------------------------------------------------------------------------------------------


def _lines(journeys: Sequence[Journey], ways: Sequence[Journey], models: dict[str, Shares], dimension: Dimension) -> tuple[Line, ...]:
    """One for each key, most orders met first; what is nobody's comes last. Every model's column sums to all orders."""
    whole = Share(Fraction(len(journeys)), Fraction(sum(journey.net_minor for journey in journeys)))
    unmet = Share(Fraction(len(journeys) - len(ways)), whole.value - sum(way.net_minor for way in ways))
    shares: dict[str, Shares] = {"as_decided": _as_decided(journeys, dimension)}
    shares |= {model: {**models[model], NOBODY: unmet} for model in MODELS if model in models}
    keys = sorted({key for found in shares.values() for key in found})
    columns = {model: _credited(shares[model], keys, whole) for model in MODELS}
    places = {name: _count(ways, dimension, pick) for name, pick in PLACES.items()}
    lines = [
        Line(key, {model: columns[model][key] for model in MODELS}, **{name: counts[key] for name, counts in places.items()})
        for key in keys
    ]
    return tuple(sorted(lines, key=lambda line: (line.key == NOBODY, -line.orders, line.key)))


def _as_decided(journeys: Sequence[Journey], dimension: Dimension) -> Shares:
    """Numerators are added up by denominator first: few denominators occur, and whole numbers are quick."""
    shares: Counter[tuple[str, int]] = Counter()
    values: Counter[tuple[str, int]] = Counter()
    for journey in journeys:
        left = 1 - sum((share for _, _, share in journey.earned), Fraction(0)) if journey.earned else Fraction(1)
        for affiliate, channel, share in (*journey.earned, *([(NOBODY, NOBODY, left)] if left else [])):
            key = (affiliate if dimension == "affiliate" else channel, share.denominator)
            shares[key] += share.numerator
            values[key] += share.numerator * journey.net_minor
    sums: dict[str, Share] = {NOBODY: Share()}
    for (name, denominator), numerator in shares.items():
        old, value = sums.get(name, Share()), values[name, denominator]
        sums[name] = Share(old.conversions + Fraction(numerator, denominator), old.value + Fraction(value, denominator))
    return sums


def _credited(shares: Shares, keys: Sequence[str], whole: Share) -> dict[str, Credited]:
    exact = [shares.get(key, Share()) for key in keys]
    assert sum((one.conversions for one in exact), Fraction(0)) == whole.conversions, "a model gives out every order, and no more"
    assert sum((one.value for one in exact), Fraction(0)) == whole.value, "a model gives out all the value, and no more"
    minors = allocate(int(whole.value), [one.value for one in exact])
    return {key: Credited(one.conversions, minor) for key, one, minor in zip(keys, exact, minors, strict=True)}


def _closed(names: Sequence[str]) -> set[str]:
    return {names[-1]}


PLACES: Mapping[str, Callable[[Sequence[str]], set[str]]] = {
    "orders": lambda names: set(names),
    "introduced": lambda names: {names[0]},
    "assists": lambda names: set(names) - _closed(names),
    "closed": _closed,
}
"""Where on a journey a key counts."""


def _count(ways: Sequence[Journey], dimension: Dimension, pick: Callable[[Sequence[str]], set[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for way in ways:
        counts.update(pick([getattr(one, dimension) for one in way.met]))
    return counts


# --- how customers came ----------------------------------------------------------------------------------------------


def _travelled(ways: Sequence[Journey], dimension: Dimension) -> tuple[Travelled, ...]:
    """Most orders first, then most value, then by name."""
    orders: Counter[Path] = Counter()
    values: Counter[Path] = Counter()
    for way in ways:
        path = exposure(tuple(getattr(one, dimension) for one in way.met))
        orders[path] += 1
        values[path] += way.net_minor
    found = (Travelled(path, count, values[path]) for path, count in orders.items())
    return tuple(sorted(found, key=lambda one: (-one.orders, -one.value_minor, one.path)))


def _overlap(ways: Sequence[Journey]) -> tuple[Together, ...]:
    pairs: Counter[tuple[str, str]] = Counter()
    for way in ways:
        brought = dict.fromkeys(one.affiliate for one in way.met if not one.affiliate.startswith(":"))
        pairs.update(combinations(sorted(list(brought)[:MOST_TOGETHER]), 2))
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Together((one, other), count) for (one, other), count in ranked[:TOP_PAIRS])


def _waiting(ways: Sequence[Journey]) -> Waiting:
    ages = sorted(way.met[0].age for way in ways)
    counts = [0] * len(SPANS)
    for age in ages:
        counts[next(place for place, (_, end) in enumerate(SPANS) if age < end)] += 1
    return Waiting(tuple(counts), ages[(len(ages) - 1) // 2] if ages else None)
