"""Components of keys: who belongs together, by the whole set of links and the rules, never by the order of arrival. Pure.

Keys are numbers here (:mod:`attribution.keys`), links sorted arrays of pairs. A key with too many neighbours, a hub, makes no links.
What new links change is worked out from the components that they touch alone, and equals what all links at once would give.

A touch that was seen with one key alone is no neighbour of it: the loyal customer's card, scanned every week, joins nobody with
anybody. One that was seen with several is: a card of a till, in whose orders stand everybody's clicks. So a hub stays one, whatever
links come later.
"""

from collections.abc import Iterable

import numpy as np

from attribution.households import Seen, part
from attribution.identity import CLICK, HUB_TOUCHES, IdentityRules
from attribution.keys import Array, Growing, distinct

NEVER = np.iinfo(np.int64).max
_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)


class KeyGraph:
    """Keys, their links and their components."""

    def __init__(self, most_touches: int = HUB_TOUCHES) -> None:
        """A key with more than ``most_touches`` touches makes no links either."""
        self._most_touches = most_touches
        self._is_touch = Growing(np.empty(0, bool))
        self._first_seen, self._limits = Growing(np.empty(0, np.int64)), Growing(np.empty(0, np.int32))
        self._hub, self._label = Growing(np.empty(0, bool)), Growing(np.empty(0, np.int32))
        self._links = np.empty(0, np.uint64)
        self._members = Growing(np.empty(0, np.uint64))

    def __len__(self) -> int:
        return len(self._label.values)

    @property
    def first_seen(self) -> Array:
        """When each key was seen first, in milliseconds."""
        return self._first_seen.values

    @property
    def hub(self) -> Array:
        """Which keys have too many neighbours to make links."""
        return self._hub.values

    @property
    def label(self) -> Array:
        """One member of each key's component, the same for all of them."""
        return self._label.values

    def grow(self, limits: Array, are_touches: Array | None = None) -> None:
        """Add keys without links, each with the number of neighbours that it may have; none of them a touch unless it is said."""
        numbers = np.arange(len(self), len(self) + len(limits), dtype=np.int32)
        self._is_touch.append(np.zeros(len(limits), bool) if are_touches is None else are_touches)
        self._first_seen.append(np.full(len(limits), NEVER))
        self._limits.append(limits)
        self._hub.append(np.zeros(len(limits), bool))
        self._label.append(numbers)
        self._members.append(_pairs(numbers, numbers))  # in order: the others' labels are lower

    def link(self, keys: Array, others: Array, times: Array) -> tuple[Array, Array]:
        """Add links, each known or new. Returns the keys whose component is another now or was first seen earlier, and those that
        became hubs; and the labels that all these had before.
        """
        if not len(self._links):
            before = self.label.copy()
            self._link_first(keys, others, times)
            changed = np.flatnonzero(_changed(before, self.label) | self.hub).astype(np.int32)
            return changed, before[changed]
        moved = distinct(np.concatenate([self._see(keys, times), self._see(others, times)]))
        pairs = distinct(np.concatenate([_pairs(keys, others), _pairs(others, keys)]))
        places = np.searchsorted(self._links, pairs)
        known = self._links[np.minimum(places, len(self._links) - 1)] == pairs
        fresh = pairs[~known]
        if not len(fresh):
            together = self._together(moved)
            return together, self.label[together]
        self._links = np.insert(self._links, places[~known], fresh)
        affected, before, new_hubs = self._recompute(distinct(_keys(fresh)))
        others_earlier = np.setdiff1d(self._together(moved), affected, assume_unique=True)
        # A new hub was alone before, too, where all its neighbours are hubs.
        is_other = np.isin(affected, self._together(moved)) | _changed(before, self.label[affected]) | new_hubs
        return np.concatenate([affected[is_other], others_earlier]), np.concatenate([before[is_other], self.label[others_earlier]])

    def neighbours(self, number: int) -> Array:
        """The keys that one key is linked with, hubs left out; a hub has none."""
        if self.hub[number]:
            return np.empty(0, np.int32)
        others = self.linked_with(number)
        return others[~self.hub[others]]

    def linked_with(self, number: int) -> Array:
        """The keys that one key is linked with, of hubs too."""
        start, end = _ranges(self._links, np.array([number], np.int32))[0]
        return _others(self._links[start:end])

    def members(self, labels: Array) -> tuple[Array, Array]:
        """The members of components, one component after the other, and how many each has."""
        ranges = _ranges(self._members.values, labels)
        return _others(self._members.values[_spread(ranges)]), ranges[:, 1] - ranges[:, 0]

    def sizes(self, labels: Array) -> Array:
        """How many members each component has."""
        ranges = _ranges(self._members.values, labels)
        result: Array = ranges[:, 1] - ranges[:, 0]
        return result

    # --- what changes ------------------------------------------------------------------------------------------------

    def _see(self, keys: Array, times: Array) -> Array:
        """Note when keys were first seen; returns those seen before, but later."""
        before = self.first_seen[keys]
        np.minimum.at(self.first_seen, keys, times)
        later: Array = keys[(before != NEVER) & (self.first_seen[keys] < before)]
        return later

    def _together(self, numbers: Array) -> Array:
        return self.members(distinct(self.label[numbers]))[0]

    def _link_first(self, keys: Array, others: Array, times: Array) -> None:
        self._see(keys, times)
        self._see(others, times)
        self._links = distinct(np.concatenate([_pairs(keys, others), _pairs(others, keys)]))
        ones, twos = _keys(self._links), _others(self._links)
        self.hub[:] = self._are_hubs_at_first(ones, twos)
        kept = (ones < twos) & ~self.hub[ones] & ~self.hub[twos]
        self.label[:] = components(len(self), ones[kept], twos[kept])
        self._members = Growing(np.sort(_pairs(self.label, np.arange(len(self)))))

    def _recompute(self, touched: Array) -> tuple[Array, Array, Array]:
        """Work the components of these keys out anew. Only they can change: every new link, and every new hub, is inside.

        Returns their members, sorted, the labels these had, and which of them became hubs.
        """
        affected = np.sort(self._together(touched))
        were_hubs, counted = self.hub[affected], self._counted_anew(touched)
        self.hub[counted] = self._are_hubs(counted)
        links = self._links[_spread(_ranges(self._links, affected))]
        place = np.empty(len(self), np.int32)
        place[affected] = np.arange(len(affected), dtype=np.int32)
        keys, others = _keys(links), _others(links)
        kept = (keys < others) & ~self.hub[keys] & ~self.hub[others]
        before = self.label[affected]
        after = affected[components(len(affected), place[keys[kept]], place[others[kept]])]
        self.label[affected] = after
        members = self._members.values
        gone = np.zeros(len(members), bool)
        gone[np.searchsorted(members, _pairs(before, affected))] = True
        left, new = members[~gone], np.sort(_pairs(after, affected))
        self._members = Growing(np.insert(left, np.searchsorted(left, new), new))
        return affected, before, self.hub[affected] & ~were_hubs

    # --- hubs --------------------------------------------------------------------------------------------------------

    def _are_hubs_at_first(self, ones: Array, twos: Array) -> Array:
        """Which keys are hubs by these links, each there in both directions: all at once, as :meth:`_are_hubs` finds them."""
        degrees = np.bincount(ones, minlength=len(self))
        is_touch = self._is_touch.values
        if not is_touch.any():
            return _exceed(degrees, self._limits.values)
        of_touches = ones[is_touch[twos]]
        touches = np.bincount(of_touches, minlength=len(self))
        alone = np.bincount(ones[(is_touch & (degrees == 1))[twos]], minlength=len(self))
        return _exceed(degrees - alone, self._limits.values) | (touches > self._most_touches)

    def _are_hubs(self, keys: Array) -> Array:
        """Which of these keys have too many neighbours, or touches."""
        ranges = _ranges(self._links, keys)
        sizes = ranges[:, 1] - ranges[:, 0]
        is_touch = self._is_touch.values
        if not is_touch.any():
            return _exceed(sizes, self._limits.values[keys])
        others = _others(self._links[_spread(ranges)])
        are_touches = is_touch[others]
        touches = distinct(others[are_touches])
        is_alone = np.diff(_ranges(self._links, touches), axis=1)[:, 0] == 1
        alone = are_touches.copy()
        alone[are_touches] = is_alone[np.searchsorted(touches, others[are_touches])]
        return _exceed(sizes - sums(alone, sizes), self._limits.values[keys]) | (sums(are_touches, sizes) > self._most_touches)

    def _counted_anew(self, linked: Array) -> Array:
        """The keys whose neighbours may be more, given those with new links: a touch may be nobody's alone any more.

        A touch that is a hub was nobody's alone before.
        """
        touches = linked[self._is_touch.values[linked] & ~self.hub[linked]]
        return distinct(np.concatenate([linked, _others(self._links[_spread(_ranges(self._links, touches))])]))


def _exceed(counts: Array, limits: Array) -> Array:
    result: Array = counts > limits
    return result


def sums(wanted: Array, sizes: Array) -> Array:
    """How many of each group, standing one after the other, are wanted."""
    totals = np.concatenate([[0], np.cumsum(wanted)])
    ends = np.cumsum(sizes)
    result: Array = totals[ends] - totals[ends - sizes]
    return result


def _ranges(pairs: Array, keys: Array) -> Array:
    """From where to where (exclusive) the pairs of each key stand: one row for each."""
    first = keys.astype(np.uint64) << _HALF
    return np.stack([np.searchsorted(pairs, first), np.searchsorted(pairs, first | _LOWER, "right")], axis=1)


def components(count: int, keys: Array, others: Array) -> Array:
    """The lowest member of each of ``count`` numbers' component, given its links, each once, in any order and direction.

    Every root is hung below the lowest neighbouring root, all at once, until no link joins two (after Shiloach and Vishkin, 1982).
    """
    root = np.arange(count, dtype=np.int32)
    while len(keys):
        low, high = np.minimum(keys, others), np.maximum(keys, others)
        np.minimum.at(root, high, low)
        while not np.array_equal(above := root[root], root):
            root = above
        keys, others = root[keys], root[others]
        apart = keys != others
        keys, others = keys[apart], others[apart]
    return root


def _changed(before: Array, after: Array) -> Array:
    """Which places are in another group after than before; a group's label is one of its members, or any other number of its own."""
    order = np.argsort(after, kind="stable")
    ends = np.flatnonzero(np.diff(after[order], append=-1))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    old = before[order]
    one = np.minimum.reduceat(old, starts) == np.maximum.reduceat(old, starts) if len(ends) else np.empty(0, bool)
    ranked, counts = np.unique_counts(before)
    size_before = counts[np.searchsorted(ranked, old[starts])] if len(ends) else ends
    result = np.empty(len(before), bool)
    result[order] = np.repeat(~(one & (size_before == ends - starts + 1)), ends - starts + 1)
    return result


def _pairs(keys: Array, others: Array) -> Array:
    result: Array = (keys.astype(np.uint64) << _HALF) | others.astype(np.uint64)
    return result


def _keys(pairs: Array) -> Array:
    return (pairs >> _HALF).astype(np.int32)


def _others(pairs: Array) -> Array:
    result: Array = (pairs & _LOWER).astype(np.int32)
    return result


def _spread(ranges: Array) -> Array:
    """All places in the ranges, one range after the other."""
    sizes = ranges[:, 1] - ranges[:, 0]
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    result: Array = np.arange(total) + np.repeat(ranges[:, 0] - (ends - sizes), sizes)
    return result


# --- on plain texts --------------------------------------------------------------------------------------------------


def components_of(edges: Iterable[tuple[str, str]], rules: IdentityRules) -> list[list[str]]:
    """Everybody's keys under the rules, each person's sorted, persons by their first key: what the product makes of these links.

    A key that the rules leave alone (blocked, a hub) is a person of its own; a blocked one is left out. The links have no times,
    so a device that two people share belongs to neither.
    """
    known = {(min(edge), max(edge)) for edge in edges}
    keys = sorted({key for edge in known for key in edge if not rules.blocks(key)})
    number = {key: place for place, key in enumerate(keys)}
    linked = [(number[one], number[other]) for one, other in known if one in number and other in number and one != other]
    graph = KeyGraph(rules.touches)
    graph.grow(np.array([rules.limit_of(key) for key in keys], np.int32), np.array([key.startswith(CLICK) for key in keys], bool))
    ends = np.array(linked, np.int32).reshape(-1, 2)
    graph.link(ends[:, 0], ends[:, 1], np.zeros(len(ends), np.int64))
    groups: dict[int, list[str]] = {}
    for key, label in zip(keys, graph.label.tolist(), strict=True):
        groups.setdefault(label, []).append(key)
    events: dict[int, list[Seen]] = {label: [] for label in groups}
    for one, other in linked:
        if graph.label[one] == graph.label[other]:
            events[int(graph.label[one])].append(Seen((keys[one], keys[other])))
    return sorted(list(person) for label, members in groups.items() for person in part(members, events[label], rules).persons)
