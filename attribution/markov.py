"""Markov attribution by removal effect, in closed form: no simulation, no seed, the same for every order of the rows.

After Anderl, Becker, von Wangenheim and Schumann (IJRM 33(3), 2016, 457-474). A state is a window of ``order`` consecutive touches
of a path; a shorter path is one shorter state; equal consecutive states are one. Each row adds ``conversions + nulls`` to its
start and its steps, ``conversions`` to its end in a conversion and ``nulls`` to its end without one. Removing a channel sends every
state that holds it to the end without a conversion; what the probability of a conversion loses by that is the channel's effect,
and conversions are shared in proportion to the effects. Where the paper is silent: value counts as the mean value of a conversion
after its last state, and its effects share the whole value.

How it is solved. With C the counts of steps between states, W the row sums (ends included) and c the counts of conversions, the
fundamental matrix is N = (W - C)^-1 W. As many walks enter a state as leave it, so the expected visits are W / total. Hence for the
states X of a channel, with A = (W - C)^-1 and h = A c: RE(X) = 1' (A_XX)^-1 h_X / conversions. Small chains are solved in whole
numbers, exactly; larger ones in floats; the largest by following the walks until nothing measurable is left of them.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec
import numpy as np

from attribution.paths import Path
from attribution.tally import Amounts, Floats, Ints, Paths, Share, Shares, tally
from core.errors import FairshareError

ORDERS = (1, 2, 3)
EXACT_STATES = 60
"""Up to so many states the answer is a fraction. Beyond, exact numbers grow long, and floats are good to twelve digits."""
DENSE_STATES = 1_200
MOST_STEPS = 100_000
MOST_WORK = 100_000_000_000
"""So many steps between states are followed in all, over every removed channel: some ten minutes."""
LEFT_OVER = 1e-15
"""Of the largest chains, walks are followed until this part of them is left."""


class Chain(msgspec.Struct, frozen=True):
    """Counts, whole numbers over ``scale`` (``value`` over ``value_scale``). ``steps`` are ``(from, to, count)``, by state.

    ``states[i]`` are the channels that state ``i`` holds, as places in ``channels``.
    """

    channels: tuple[str, ...]
    states: tuple[frozenset[int], ...]
    steps: tuple[tuple[int, int, int], ...]
    starts: tuple[int, ...]
    converted: tuple[int, ...]
    ended: tuple[int, ...]
    value: tuple[int, ...]
    scale: int
    value_scale: int

    @property
    def weights(self) -> list[int]:
        """How often each state was left, ends included."""
        left = [converted + ended for converted, ended in zip(self.converted, self.ended, strict=True)]
        for state, _, count in self.steps:
            left[state] += count
        return left


class Markov(msgspec.Struct, frozen=True):
    """``effects`` are removal effects (of conversions, of value), each from 0 to 1. ``is_exact``: they are not rounded.

    ``warning`` is empty, or says why everything is zero.
    """

    shares: Shares
    effects: Shares
    conversion_rate: Fraction
    is_exact: bool
    warning: str = ""


def markov(paths: Paths, order: int = 1, nulls: bool = True) -> Markov:
    """Removal effects and what each channel earns by them. ``nulls`` False leaves all walks without a conversion out.

    Raises:
        FairshareError: walks of a very large chain go on for too long, or it has too many channels for so long walks.
    """
    assert order in ORDERS, "orders above three are noise"
    chain = chain_of(paths, order, nulls)
    conversions, value = Fraction(sum(chain.converted), chain.scale), Fraction(sum(chain.value), chain.value_scale)
    walks = conversions + Fraction(sum(chain.ended), chain.scale)
    if not conversions:
        nothing = dict.fromkeys(paths.channels, Share())
        return Markov(nothing, nothing, Fraction(0), True, "no path leads to a conversion: every channel's credit is zero")
    is_exact = len(chain.states) <= EXACT_STATES
    found = _exact(chain) if is_exact else _dense(chain) if len(chain.states) <= DENSE_STATES else _walked(chain)
    effects = [Share(*(_checked(effect) for effect in both)) for both in found]
    total = Share(sum((one.conversions for one in effects), Fraction(0)), sum((one.value for one in effects), Fraction(0)))
    shares = [
        Share(effect.conversions / total.conversions * conversions, effect.value / total.value * value if value else Fraction(0))
        for effect in effects
    ]
    by_channel, by_effect = (dict(zip(paths.channels, ones, strict=True)) for ones in (shares, effects))
    return Markov(by_channel, by_effect, conversions / walks, is_exact)


def _checked(effect: Fraction) -> Fraction:
    """The closed form has no effect below zero; floats may miss zero by their last digits."""
    assert effect > -1e-9, f"a removal effect of {float(effect)} cannot be"
    return min(max(effect, Fraction(0)), Fraction(1))


# --- counting --------------------------------------------------------------------------------------------------------


def chain_of(paths: Paths, order: int, nulls: bool) -> Chain:
    """Count starts, steps and ends. Only the counts of a step matter, so neither rows' order nor their splitting does."""
    walked = paths.conversions.some() | paths.nulls.some() if nulls else paths.conversions.some()
    paths = paths.where(walked)
    codes, lengths, names = _states(paths, order)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    size = len(names)
    first, last = codes[starts[:-1]], codes[starts[1:] - 1]
    inner = np.ones(len(codes), np.bool_)
    inner[starts[1:] - 1] = False
    places = np.flatnonzero(inner)
    pairs, step_of = _compact(codes[places] * size + codes[places + 1], size * size)
    amounts = (paths.conversions, paths.nulls) if nulls else (paths.conversions,)
    scale = int(np.lcm.reduce([one.scale for one in amounts]))

    def count(bins: Ints, chosen: Sequence[Amounts], bin_count: int) -> list[int]:
        sums = [0] * bin_count
        for one in chosen:
            sums = [old + new * (scale // one.scale) for old, new in zip(sums, tally(bins, one, bin_count), strict=True)]
        return sums

    steps = count(step_of, [one.repeated(lengths - 1) for one in amounts], len(pairs))
    return Chain(
        channels=paths.channels,
        states=names,
        steps=tuple((pair // size, pair % size, times) for pair, times in zip(pairs, steps, strict=True)),
        starts=tuple(count(first, amounts, size)),
        converted=tuple(count(last, (paths.conversions,), size)),
        ended=tuple(count(last, amounts[1:], size)),
        value=tuple(tally(last, paths.values, size)),
        scale=scale,
        value_scale=paths.values.scale,
    )


def _states(paths: Paths, order: int) -> tuple[Ints, Ints, tuple[frozenset[int], ...]]:
    """The states of all paths one after the other, how many each path has, and the channels of each state."""
    base = len(paths.channels) + 1
    assert base**order < 2**62, "more channels than an order of three can hold"
    lengths = paths.lengths
    windows = np.maximum(lengths - order + 1, 1)
    firsts = np.repeat(paths.starts[:-1], windows) + _counting(windows)
    ends = np.repeat(paths.starts[1:], windows)
    codes = np.zeros(len(firsts), np.int64)
    for place in range(order):
        at = firsts + place
        # A shorter path is one shorter state: its missing places are zero, and no full state has one.
        codes = (
            codes * base + np.where(at < ends, paths.codes[np.minimum(at, len(paths.codes) - 1)] + 1, 0) if order > 1 else paths.codes + 1
        )
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(windows)])
    fresh = np.ones(len(codes), np.bool_)
    fresh[1:] = codes[1:] != codes[:-1]
    fresh[starts[:-1]] = True
    per_path = np.add.reduceat(fresh, starts[:-1], dtype=np.int64) if len(paths) else lengths
    values, compact = _compact(codes[fresh], base**order)
    return compact, per_path, tuple(_holding(value, base) for value in values)


def _counting(lengths: Ints) -> Ints:
    """0, 1, 2 … for each length, one after the other."""
    total = int(lengths.sum())
    starts = np.cumsum(lengths) - lengths
    return np.arange(total, dtype=np.int64) - np.repeat(starts, lengths)


def _compact(numbers: Ints, bound: int) -> tuple[list[int], Ints]:
    """The distinct numbers in ascending order, and each number's place among them."""
    if bound > 4_000_000:
        values, places = np.unique(numbers, return_inverse=True)
        return values.tolist(), places.astype(np.int64)
    occurring = np.bincount(numbers, minlength=1) > 0
    place_of = np.cumsum(occurring, dtype=np.int64) - 1
    return np.flatnonzero(occurring).tolist(), place_of[numbers]


def _holding(state: int, base: int) -> frozenset[int]:
    held = set()
    while state:
        state, code = divmod(state, base)
        if code:
            held.add(code - 1)
    return frozenset(held)


def _by_channel(chain: Chain) -> list[list[int]]:
    """The states that hold each channel."""
    holding: list[list[int]] = [[] for _ in chain.channels]
    for state, channels in enumerate(chain.states):
        for channel in channels:
            holding[channel].append(state)
    return holding


# --- solving ---------------------------------------------------------------------------------------------------------


def _exact(chain: Chain) -> list[tuple[Fraction, Fraction]]:
    """In whole numbers. ``adjugate / determinant`` is the inverse; the determinant cancels out of every effect."""
    size = len(chain.states)
    matrix = [[0] * size for _ in range(size)]
    for state, weight in enumerate(chain.weights):
        matrix[state][state] = weight
    for state, to, count in chain.steps:
        matrix[state][to] -= count
    rhs = [[chain.converted[state], chain.value[state]] + [int(state == other) for other in range(size)] for state in range(size)]
    solved = _solve_whole(matrix, rhs)
    wholes = (sum(chain.converted), sum(chain.value))
    effects = []
    for states in _by_channel(chain):
        block = [[solved[row][2 + column] for column in states] for row in states]
        reached = _solve_block(block, [solved[row][:2] for row in states])
        effects.append(
            tuple(sum(column, Fraction(0)) / whole if whole else Fraction(0) for column, whole in zip(reached, wholes, strict=True))
        )
    return [(conversions, value) for conversions, value in effects]


def _solve_whole(matrix: list[list[int]], rhs: list[list[int]]) -> list[list[int]]:
    """``det(matrix) * matrix^-1 * rhs`` by fraction-free elimination (Bareiss 1968). No pivoting: a chain's matrix needs none."""
    size = len(matrix)
    rows = [[*left, *right] for left, right in zip(matrix, rhs, strict=True)]
    before = 1
    for at in range(size):
        pivot = rows[at][at]
        assert pivot > 0, "every state is left in the end"
        pivot_row = rows[at]
        for index, row in enumerate(rows):
            if index != at:
                factor = row[at]
                rows[index] = [(pivot * one - factor * other) // before for one, other in zip(row, pivot_row, strict=True)]
        before = pivot
    return [row[size:] for row in rows]


def _solve_block(block: list[list[int]], rhs: list[list[int]]) -> tuple[list[Fraction], list[Fraction]]:
    """``block^-1 * rhs``, by column."""
    if not block:
        return [], []
    if len(block) == 1:
        return tuple([Fraction(one, block[0][0])] for one in rhs[0])  # type: ignore[return-value]
    size = len(block)
    solved = _solve_whole(block, [[*right, int(row == 0)] for row, right in enumerate(rhs)])
    determinant = Fraction(sum(block[0][row] * solved[row][2] for row in range(size)))
    return [row[0] / determinant for row in solved], [row[1] / determinant for row in solved]


def _dense(chain: Chain) -> list[tuple[Fraction, Fraction]]:
    """The same in floats, with one inverse for all channels."""
    weights = np.array([float(weight) for weight in chain.weights])
    size, wholes = len(chain.states), (sum(chain.converted), sum(chain.value))
    matrix = np.eye(size)
    for state, to, count in chain.steps:
        matrix[state, to] -= count / weights[state]
    inverse = np.linalg.inv(matrix)
    ends = np.array(
        [
            [float(Fraction(one, whole)) if whole else 0.0 for one in ends]
            for ends, whole in zip((chain.converted, chain.value), wholes, strict=True)
        ]
    )
    reached = inverse @ (ends / weights).T
    effects = []
    for states in _by_channel(chain):
        block = inverse[np.ix_(states, states)]
        visits = np.linalg.solve(block.T, weights[states]) if states else np.zeros(0)
        conversions, value = visits @ reached[states]
        effects.append((Fraction(float(conversions)), Fraction(float(value))))
    return effects


def _walked(chain: Chain) -> list[tuple[Fraction, Fraction]]:
    """The same for thousands of states: follow all walks, step by step, with each channel's states removed in turn."""
    size = len(chain.states)
    weights = np.array([float(weight) for weight in chain.weights])
    sources = np.array([state for state, _, _ in chain.steps], np.int64)
    targets = np.array([to for _, to, _ in chain.steps], np.int64)
    chances = np.array([float(count) for _, _, count in chain.steps]) / weights[sources]
    starts = np.array([float(one) for one in chain.starts])
    starts /= starts.sum()
    walks = sum(chain.starts)
    wholes = (Fraction(sum(chain.converted), walks), Fraction(sum(chain.value), walks))
    ends = np.array([[float(one) for one in chain.converted], [float(one) for one in chain.value]]) / weights
    _, rounds = _visits(starts, sources, targets, chances, size)
    if rounds * len(sources) * len(chain.channels) > MOST_WORK:
        what = f"{len(chain.channels):,} channels on paths of up to {rounds:,} steps"
        raise FairshareError(f"{what} would take hours; group the rare ones, or shorten the paths")
    effects = []
    for states in _by_channel(chain):
        kept = np.ones(size)
        kept[states] = 0.0
        visits, _ = _visits(starts * kept, sources, targets, chances * kept[targets], size)
        arriving = ends @ visits
        effects.append(
            tuple(1 - Fraction(float(one)) / whole if whole else Fraction(0) for one, whole in zip(arriving, wholes, strict=True))
        )
    return [(conversions, value) for conversions, value in effects]


def _visits(starts: Floats, sources: Ints, targets: Ints, chances: Floats, size: int) -> tuple[Floats, int]:
    """Expected visits of every state, and after how many steps nothing was left of the walks."""
    visits, walking = starts.copy(), starts
    for step in range(MOST_STEPS):
        if walking.sum() < LEFT_OVER:
            return visits, step
        walking = np.bincount(targets, walking[sources] * chances, size).astype(np.float64, copy=False)
        visits += walking
    raise FairshareError(f"walks of this chain go on for more than {MOST_STEPS:,} steps; take a smaller order, or shorter paths")


def path_of_state(chain: Chain, state: int) -> Path:
    """The channels that a state holds, by name."""
    return tuple(sorted(chain.channels[channel] for channel in chain.states[state]))
