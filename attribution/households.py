"""A component with two customers in it, taken apart: each key to the customer who is nearest, a shared device by times. Pure.

A value of a unique type (a customer id) never merges with another. Two steps, and neither knows an order of arrival:

1. A device that was seen with several such values is shared. It belongs to each from its log-in until the next one of another, and a
   while before: what led to a log-in is the customer's who logs in. Outside all of these times it is nobody's but its own.
2. Every other key belongs to the nearest value, counted in events: keys of one event are one step apart. A key that is equally near
   to two belongs to neither: such keys are persons of their own, together with others like them that they are seen with.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from attribution.identity import IdentityRules
from core.clock import Instant

Span = tuple[Instant, Instant]
"""From (inclusive) and to (exclusive), in milliseconds."""

EVER: Instant = 1 << 62


class Seen(msgspec.Struct, frozen=True):
    """Keys that one event showed together; without a time it says nothing of who used a device when."""

    keys: tuple[str, ...]
    at: Instant | None = None


class Shared(msgspec.Struct, frozen=True):
    """Whose a device was, and when: the place of a person in ``Household.persons``, and its time."""

    owners: tuple[tuple[int, Span], ...]

    def owner_at(self, at: Instant) -> int:
        return next(person for person, (start, end) in self.owners if start <= at < end)

    def spans_of(self, person: int) -> tuple[Span, ...]:
        return tuple(span for owner, span in self.owners if owner == person)


class Household(msgspec.Struct, frozen=True):
    """The persons of a component: each person's keys, sorted. A shared device is a person of its own, and others' at times."""

    persons: tuple[tuple[str, ...], ...]
    shared: dict[str, Shared]
    person_of: dict[str, int]


Node = tuple[str, str]
"""A key, and for a shared device the value whose it was; empty for all others."""


def part(members: Iterable[str], events: Sequence[Seen], rules: IdentityRules) -> Household:
    """Take a component apart. ``events`` are all that its links came from; the result does not depend on their order."""
    logins = _logins(events, rules)
    owned = {device: _spans(times, rules.before_login) for device, times in logins.items()}
    seen = [tuple(_node(key, one.at, owned) for key in one.keys) for one in events]
    nodes = {(key, "") for key in members} | {node for keys in seen for node in keys}
    groups = [sorted(group) for group in _connected(nodes, seen)]
    for kind in rules.unique:
        groups = [smaller for group in groups for smaller in _split(group, seen, kind)]
    return _household(sorted(groups), owned)


def _household(groups: list[list[Node]], owned: Mapping[str, list[tuple[str, Span]]]) -> Household:
    """Groups of nodes as persons of keys; a device's times go to the person of the value whose they are."""
    persons = [tuple(sorted(key for key, owner in group if not owner)) for group in groups]
    persons = sorted(person for person in persons if person)
    person_of = {key: number for number, person in enumerate(persons) for key in person}
    shared = {device: Shared(tuple((person_of[value or device], span) for value, span in spans)) for device, spans in sorted(owned.items())}
    return Household(tuple(persons), shared, person_of)


# --- shared devices --------------------------------------------------------------------------------------------------


def _logins(events: Iterable[Seen], rules: IdentityRules) -> dict[str, dict[Instant, set[str]]]:
    """Devices that were seen with several values of a unique type: which, and when."""
    found: dict[tuple[str, str], dict[Instant, set[str]]] = {}
    for one in events:
        values = [key for key in one.keys if rules.kind_of(key) in rules.unique]
        for device in one.keys:
            if one.at is not None and rules.kind_of(device) in rules.devices:
                for value in values:
                    found.setdefault((device, rules.kind_of(value)), {}).setdefault(one.at, set()).add(value)
    shared: dict[str, dict[Instant, set[str]]] = {}
    for device, kind in sorted(found, key=lambda each: (each[0], rules.unique.index(each[1]))):
        times = found[device, kind]
        if len(set().union(*times.values())) > 1:
            shared.setdefault(device, times)
    return shared


def _spans(logins: Mapping[Instant, set[str]], before: Instant) -> list[tuple[str, Span]]:
    """Whose a device was from the beginning of time to its end; empty for nobody's, as where two logged in at one instant."""
    turns: list[tuple[Instant, str]] = [(-EVER, "")]
    last: Instant = -EVER
    for at in sorted(logins):
        value = next(iter(logins[at])) if len(logins[at]) == 1 else ""
        if value != turns[-1][1]:
            turns.append((max(last + 1, at - before), value))
        last = at
    ends = [start for start, _ in turns[1:]] + [EVER]
    return [(value, (start, end)) for (start, value), end in zip(turns, ends, strict=True)]


def _node(key: str, at: Instant | None, owned: Mapping[str, list[tuple[str, Span]]]) -> Node:
    if at is None or key not in owned:
        return key, ""
    return key, next(value for value, (start, end) in owned[key] if start <= at < end)


# --- who is near whom ------------------------------------------------------------------------------------------------


def _beside(nodes: set[Node], seen: Iterable[Sequence[Node]]) -> tuple[dict[Node, list[int]], list[list[Node]]]:
    """The events of each node, and the nodes of each event, of these nodes alone."""
    events = [[node for node in keys if node in nodes] for keys in seen]
    of: dict[Node, list[int]] = {node: [] for node in nodes}
    for number, keys in enumerate(events):
        for node in keys:
            of[node].append(number)
    return of, events


def _connected(nodes: set[Node], seen: Iterable[Sequence[Node]]) -> Iterator[list[Node]]:
    of, events = _beside(nodes, seen)
    left = set(nodes)
    while left:
        group = [left.pop()]
        for node in group:
            for number in of[node]:
                fresh = [other for other in events[number] if other in left]
                left.difference_update(fresh)
                group += fresh
                events[number] = []
        yield group


def _split(group: list[Node], seen: Sequence[Sequence[Node]], kind: str) -> list[list[Node]]:
    """A group by its values of one unique type; what is equally near to several falls apart into what is still connected."""
    values = [node for node in group if node[0].partition(":")[0] == kind and ":" in node[0]]
    if len(values) < 2:
        return [group]
    nearest = _nearest(set(group), values, seen)
    parts = [[node for node in group if nearest.get(node) == value] for value in values]
    undecided = {node for node in group if nearest.get(node) is None}
    return parts + [sorted(rest) for rest in _connected(undecided, seen)]


def _nearest(nodes: set[Node], values: Iterable[Node], seen: Iterable[Sequence[Node]]) -> dict[Node, Node | None]:
    """Each node's nearest value; None where two are equally near."""
    of, events = _beside(nodes, seen)
    nearest: dict[Node, Node | None] = {value: value for value in values}
    frontier = list(nearest)
    visited: set[int] = set()
    while frontier:
        reached: dict[Node, Node | None] = {}
        passed = {number for node in frontier for number in of[node]} - visited
        for number in passed:
            near = {nearest[node] for node in events[number] if node in nearest}
            value = near.pop() if len(near) == 1 else None
            for node in events[number]:
                if node not in nearest:
                    reached[node] = value if reached.get(node, value) == value else None
        visited |= passed
        nearest |= reached
        frontier = list(reached)
    return nearest
