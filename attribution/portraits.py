"""A person as an operator looks at it: its keys, what linked them, and whose a shared device was when. I/O: the events store.

Of everything no more is read than can be shown; what is left out is counted.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from attribution.households import EVER, Household
from attribution.identity import CLICK
from attribution.keyring import Keyring
from attribution.people import People
from core.clock import Instant
from store.events import EventsStore, read_query

OLDEST_LINKS = read_query(__file__, "oldest_links")

MOST_KEYS = 200
MOST_LINKS = 500
MOST_TURNS = 50
"""So many are shown of a person's keys, of their links, and of the turns in which people had a shared device."""


class Link(msgspec.Struct, frozen=True):
    """One event that showed two keys together; whether it counts, or was revoked, or one of the keys joins nobody."""

    at: Instant
    key: str
    other_key: str
    event_id: str
    counts: bool


class Turn(msgspec.Struct, frozen=True):
    """Whose a shared device was from (inclusive) and to (exclusive); None: since or for ever. An empty person: nobody's."""

    person_id: str
    from_at: Instant | None
    to_at: Instant | None


class Device(msgspec.Struct, frozen=True):
    """A device that several customers shared: the latest turns, oldest first, of so many in all."""

    key: str
    turns: tuple[Turn, ...]
    turns_in_all: int


class Portrait(msgspec.Struct, frozen=True):
    """What is known with a key: the person's keys, their oldest links, and shared devices. Of each no more than can be read.

    ``keys_in_all`` counts the person's keys; past the limit only those one link away are listed. A hub joins nobody: it stands alone.
    """

    person_id: str
    keys: tuple[str, ...]
    keys_in_all: int
    links: tuple[Link, ...]
    links_in_all: int
    is_past_limit: bool = False
    is_hub: bool = False
    devices: tuple[Device, ...] = ()


def portrait(events: EventsStore, people: People, key: str) -> Portrait | None:
    """The person of a key, with what linked its keys; None where nothing is linked with it."""
    ring = people.ring
    number = int(ring.numbers_of([key])[0])
    if number < 0:
        return None
    known = people.known_with({key})
    keys = sorted(sorted(known, key=lambda one: (one != key, one.startswith(CLICK), one))[:MOST_KEYS])
    links, links_in_all = _oldest_links(events, people, keys)
    if ring.is_apart(np.array([number]))[0]:
        return Portrait(key, tuple(keys), len(known), links, links_in_all, is_hub=bool(ring.graph.hub[number]))
    group = people.group_of(number)
    size = len(ring.graph.members(ring.graph.label[number : number + 1])[0]) if group.wide else len(known)
    household = group.household
    if household is None:
        return Portrait(group.person_id, tuple(keys), size, links, links_in_all, group.wide)
    person_id = people.canonical_of(household.persons[household.person_of[key]])
    devices = tuple(_device(people, household, one) for one in keys if one in household.shared)
    return Portrait(person_id, tuple(keys), size, links, links_in_all, devices=devices)


def _oldest_links(events: EventsStore, people: People, keys: Sequence[str]) -> tuple[tuple[Link, ...], int]:
    rows = events.select(OLDEST_LINKS, tenant_id=people.tenant_id, keys=keys, most=MOST_LINKS)
    ring, ends = people.ring, sorted({end for row in rows for end in row[1:3]})
    numbers = ring.numbers_of(ends)
    apart = dict(zip(ends, ((numbers >= 0) & ring.is_apart(np.maximum(numbers, 0))).tolist(), strict=True))
    links = tuple(
        Link(at, one, other, event_id, not (apart[one] or apart[other] or _is_revoked(ring, one, other)))
        for event_id, one, other, at, _ in rows
    )
    return links, rows[0][4] if rows else 0


def _is_revoked(ring: Keyring, key: str, other: str) -> bool:
    return not ring.revoked.isdisjoint({(key, other), (other, key), (key, ""), (other, "")})


def _device(people: People, household: Household, key: str) -> Device:
    nobody, owners = household.person_of[key], household.shared[key].owners
    turns = [
        Turn("" if person == nobody else people.canonical_of(household.persons[person]), _told(start), _told(end))
        for person, (start, end) in owners[-MOST_TURNS:]
    ]
    return Device(key, tuple(turns), len(owners))


def _told(at: Instant) -> Instant | None:
    return None if abs(at) == EVER else at


def count_links(people: People, key: str, other: str = "") -> int:
    """With how many keys one is linked, be it a hub or not; of two keys, 1 where they are. Revoked links are none."""
    numbers = people.ring.numbers_of([key, other] if other else [key])
    if (numbers < 0).any():
        return 0
    found = people.ring.graph.linked_with(int(numbers[0]))
    return int(np.isin(numbers[1], found)) if other else len(found)
