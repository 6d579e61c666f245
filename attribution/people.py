"""A tenant's persons: who is behind an order, and whose person changed. I/O: the events store, through a keyring.

Each process has its own, and reads only. What it answers is a function of what is stored and of the rules: neither the order of
arrival nor when it was asked before matters.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
import structlog

from attribution.graph import components, sums
from attribution.households import Household, Seen, part
from attribution.identity import CLICK, RULES, VISITOR, IdentityRules, Person, own_keys
from attribution.keyring import Keyring
from attribution.keys import Array, Collision, Secret, distinct
from core.clock import Instant
from core.credit import Match
from core.events import Order
from store.events import EventsStore, parts_of, read_query

LINKS_OF_KEYS = read_query(__file__, "links_of_keys")

CUSTOMER: Match = "customer"
NONE: frozenset[str] = frozenset()
HOUSEHOLD_KEYS = 20_000
"""A larger component with several customers in it is not taken apart: its orders reach one step."""
UNKNOWN, APART = -1, -2
"""In the place of a component's label: a key without links, and one that the rules let make none."""
SUSPECTS = 20
"""So many of a large component's keys, those with the most neighbours, are tried as what glued it."""

log = structlog.get_logger("attribution")


class Alarm(msgspec.Struct, frozen=True):
    """A component past the limit. ``keys`` counts it without clicks; without ``glue`` its largest part would have ``left`` keys."""

    person_id: str
    keys: int
    glue: str
    neighbours: int
    left: int


class Group(msgspec.Struct, frozen=True, gc=False):
    """A component as orders need it: its keys, sorted, without clicks whose visitor is among them (``hidden`` in a household).

    A ``wide`` one's are not at hand.
    """

    person_id: str
    keys: tuple[str, ...] = ()
    wide: bool = False
    household: Household | None = None
    hidden: frozenset[str] = frozenset()
    is_plain: bool = True


Groups = dict[int, Group]


class People:
    """One tenant's persons. To be used by one thread at a time."""

    def __init__(self, events: EventsStore, tenant_id: str, rules: IdentityRules = RULES) -> None:
        self.tenant_id = tenant_id
        self._events = events
        self._rules = rules
        self._ring: Keyring | None = None
        self._is_whole = True
        self._wide = np.empty(0, np.int64)
        """Labels of the components past the limit."""
        self._households: dict[int, tuple[Household, frozenset[str]]] = {}
        self._alarmed: dict[str, int] = {}

    @property
    def ring(self) -> Keyring:
        """The keys and their links, as of the last refresh."""
        return self._keys

    @property
    def _keys(self) -> Keyring:
        if self._ring is None:
            self.refresh()
        assert self._ring is not None, "the first refresh reads everything"
        return self._ring

    # --- keeping up --------------------------------------------------------------------------------------------------

    def refresh(self) -> set[str]:
        """Read what was stored since the last call. Returns every key whose person may be another now; the first call none.

        Raises:
            Unavailable: the events store cannot answer; ask again, nothing is missed.
        """
        ring, self._households = self._ring, {}
        if ring is None or not self._is_whole or ring.marks != ring.marks_now():
            return self._read_all(ring)
        self._is_whole = False
        try:
            changed, before, linked = ring.read_news()
        except Collision:
            return self._read_all(ring)
        self._is_whole = True
        was_wide = np.isin(before, self._wide)
        self._wide = np.concatenate([np.setdiff1d(self._wide, before), self._wide_among(ring, distinct(ring.graph.label[changed]))])
        self._warn(ring, changed)
        several = self._customers_of(ring, linked)
        # Who was and is in a component whose orders reach one step has news only there.
        news = ~(was_wide & np.isin(ring.graph.label[changed], self._wide))
        near = [ring.graph.neighbours(one) for one in linked[np.isin(ring.graph.label[linked], self._wide)].tolist()]
        return set(ring.table.texts(distinct(np.concatenate([changed[news], several, *near]))))

    def _read_all(self, before: Keyring | None) -> set[str]:
        """At first, where links were revoked or keys erased, and after a reading that failed half-way."""
        secret = before.secret if before else _secret()
        while True:
            try:
                self._ring = after = Keyring(self._events, self.tenant_id, self._rules, secret)
                break
            except Collision:
                secret = _secret()
        self._is_whole = True
        everyone = np.arange(len(after.graph), dtype=np.int32)
        self._wide = np.flatnonzero(np.bincount(after.graph.label[~after.is_click]) > self._rules.largest)
        self._warn(after, after.graph.members(self._wide)[0])
        if before is None:
            return set()
        if before.secret != after.secret:
            return {*before.table.texts(np.arange(len(before.table))), *after.table.texts(everyone)}
        revoked = {key for pair in after.revoked ^ before.revoked for key in pair if key}
        moved = {*before.table.texts(_moved(before, after)), *after.table.texts(_moved(after, before))}
        several = after.table.texts(self._customers_of(after, everyone))
        return moved.union(revoked, several, _companions(before, revoked), _companions(after, revoked))

    def _customers_of(self, ring: Keyring, linked: Array) -> Array:
        """Members of these keys' components with several customers: what is new there may move any of them."""
        labels = distinct(ring.graph.label[linked])
        members, sizes = ring.graph.members(labels)
        return members[np.repeat(sums(ring.is_unique[members], sizes) > 1, sizes)]

    def _wide_among(self, ring: Keyring, labels: Array) -> Array:
        members, sizes = ring.graph.members(labels)
        return labels[sums(~ring.is_click[members], sizes) > self._rules.largest]

    # --- persons -----------------------------------------------------------------------------------------------------

    def persons_of(self, orders: Iterable[Order]) -> dict[str, Person]:
        """The person behind each order, by order id.

        An order's person is that of the strongest key it carries: a customer id, another customer key, its click, its visitor. What
        else it carries counts by itself alone where it is somebody else's, and a hub always does.
        """
        ring, orders = self._keys, list(orders)
        own = [own_keys(order) for order in orders]
        flat = [key for keys in own for key in keys]
        numbers = ring.numbers_of(flat)
        at = np.maximum(numbers, 0)
        known = numbers >= 0
        usable = known & ~ring.is_apart(at) if len(ring.graph) else known
        labels = np.where(usable, ring.graph.label[at], np.where(known, APART, UNKNOWN)) if len(ring.graph) else numbers
        groups = self._groups(distinct(labels[usable]))
        makers = self._makers(ring, np.where(usable, numbers, -1))
        label_list, place = labels.tolist(), 0
        persons: dict[str, Person] = {}
        for order, keys in zip(orders, own, strict=True):
            end = place + len(keys)
            some = label_list[place:end]
            if makers:
                for each in range(place, end):
                    if each in makers:
                        keys[makers[each]] = "visitor"
            group = groups.get(some[0]) if some and some.count(some[0]) == len(some) else None
            if group is not None and group.is_plain:
                everything: dict[str, Match] = dict.fromkeys(group.keys, "customer")
                everything.update(keys)
                persons[order.order_id] = Person(everything, group.person_id)
            else:
                persons[order.order_id] = self._person(order, flat[place:end], keys, some, groups)
            place = end
        return persons

    def alone(self, orders: Sequence[Order]) -> dict[str, str]:
        """The person's id, by order id, of orders that carry every key their person has. :meth:`persons_of` tells the others.

        Of very many orders that is most, and they cost a tenth here.
        """
        flat, counts = list[str](), list[int]()
        for order in orders:
            before = len(flat)
            flat += order.customer_keys
            if order.visitor_id:
                flat.append(VISITOR + order.visitor_id)
            if order.click_id:
                flat.append(CLICK + order.click_id)
            counts.append(len(flat) - before)
        numbers = self._keys.numbers_of(flat)
        places, ids = self._whole(numbers, np.array(counts, np.int64)) if len(self._keys.graph) else ([], [])
        found = {orders[place].order_id: person_id for place, person_id in zip(places, ids, strict=True)}
        is_new, end = (numbers < 0).tolist(), 0
        for order, count in zip(orders, counts, strict=True):
            end += count
            if not count:
                found[order.order_id] = ""
            elif count == 1 and is_new[end - 1]:
                found[order.order_id] = flat[end - 1]
        return found

    def _whole(self, numbers: Array, counts: Array) -> tuple[list[int], list[str]]:
        """The places of orders whose keys are all that a component has, and its id. ``counts`` says how many ``numbers`` each has."""
        ring, known = self._keys, np.maximum(numbers, 0)
        labels = np.where((numbers >= 0) & ~ring.is_apart(known), ring.graph.label[known], UNKNOWN)
        keyed = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[keyed]
        if not len(keyed):
            return [], []
        first = np.minimum.reduceat(labels, starts)
        one = (first >= 0) & (first == np.maximum.reduceat(labels, starts))
        places, first = keyed[one], first[one]
        pairs = distinct(np.repeat(np.arange(len(counts), dtype=np.int64), counts) << 32 | known)
        own = np.bincount(pairs >> 32, minlength=len(counts))[places]
        whole = (own == ring.graph.sizes(first)) & (own <= self._rules.largest)
        places, present = places[whole], distinct(first[whole])
        if not len(present):
            return [], []
        members, sizes = ring.graph.members(present)
        ids = np.array(self._canonical_ids(members, sizes), object)
        ids[sums(ring.is_unique[members], sizes) > 1] = ""  # two customers: a household
        theirs = ids[np.searchsorted(present, first[whole])]
        single = theirs != ""
        return places[single].tolist(), theirs[single].tolist()

    def _makers(self, ring: Keyring, numbers: Array) -> dict[int, str]:
        """By place: the visitor key of each click among the keys, where it is known and no hub."""
        if not len(ring.graph):
            return {}
        visitors = np.where(numbers >= 0, ring.visitor_of[np.maximum(numbers, 0)], -1)
        visitors[(visitors >= 0) & ring.graph.hub[np.maximum(visitors, 0)]] = -1
        places = np.flatnonzero(visitors >= 0)
        return dict(zip(places.tolist(), ring.table.texts(visitors[places]), strict=True))

    def _person(self, order: Order, own: Sequence[str], carried: dict[str, Match], labels: Sequence[int], groups: Groups) -> Person:
        """Any person at all: of an order whose keys are several persons', of a household, past the limit."""
        anchor, label = self._anchor(own, labels)
        if label < 0:
            return Person(carried, anchor)
        group = groups[label]
        if group.household is not None:
            return self._of_household(order, carried, anchor, group.household, group.hidden)
        keys = self._one_step(carried) if group.wide else dict.fromkeys(group.keys, CUSTOMER)
        return Person({**keys, **carried}, group.person_id, cut=group.wide)

    def _anchor(self, own: Sequence[str], labels: Sequence[int]) -> tuple[str, int]:
        """The strongest of an order's keys, hubs last, and its label."""
        ranked = [(label == APART, self._rank(key), key, label) for key, label in zip(own, labels, strict=True)]
        _, _, anchor, label = min(ranked, default=(False, 0, "", UNKNOWN))
        return anchor, label

    def _rank(self, key: str) -> int:
        if key.startswith(VISITOR):
            return 3
        if key.startswith(CLICK):
            return 2
        return 0 if self._rules.kind_of(key) in self._rules.unique else 1

    def _one_step(self, own: Iterable[str]) -> dict[str, Match]:
        ring = self._keys
        numbers = ring.numbers_of(own)
        near = [ring.graph.neighbours(number) for number in numbers[numbers >= 0].tolist()]
        return dict.fromkeys(sorted(ring.table.texts(distinct(np.concatenate(near)))), CUSTOMER)

    def _of_household(self, order: Order, own: dict[str, Match], anchor: str, household: Household, hidden: frozenset[str]) -> Person:
        shared = household.shared
        person = shared[anchor].owner_at(order.occurred_at) if anchor in shared else household.person_of[anchor]
        spans = {device: times for device in shared if (times := shared[device].spans_of(person))}
        for device in own.keys() & shared.keys() - spans.keys():
            spans[device] = ((order.occurred_at, order.occurred_at + 1),)
        members = household.persons[person]
        keys: dict[str, Match] = dict.fromkeys((*(key for key in members if key not in hidden), *spans), CUSTOMER)
        cut = sum(not key.startswith(CLICK) for key in keys) > self._rules.largest
        if cut:
            keys = {key: match for key, match in self._one_step(own).items() if key in keys}
        return Person({**keys, **own}, self.canonical_of(members), spans, cut)

    def canonical_of(self, keys: Sequence[str]) -> str:
        """Of several keys, the one seen first; of several at once, the lowest."""
        seen = self._keys.graph.first_seen[self._keys.numbers_of(keys)].tolist()
        return min(zip(seen, keys, strict=True))[1]

    def known_with(self, keys: set[str]) -> set[str]:
        """All keys of the persons of these keys, themselves included; of those past the limit what is one step away."""
        ring, sorted_keys = self._keys, sorted(keys)
        numbers = ring.numbers_of(sorted_keys)
        if not len(ring.graph):
            return set(keys)
        usable = (numbers >= 0) & ~ring.is_apart(np.maximum(numbers, 0))
        numbers = numbers[usable]
        labels = ring.graph.label[numbers]
        groups = self._groups(distinct(labels))
        whole = [label for label, group in groups.items() if group.is_plain]
        found = {*keys, *ring.table.texts(ring.graph.members(np.array(whole, np.int32))[0])}
        for key, number, label in zip(np.array(sorted_keys, object)[usable], numbers.tolist(), labels.tolist(), strict=True):
            household = groups[label].household
            if household is not None:
                found |= _sharing(household, key)
            elif groups[label].wide:
                found.update(ring.table.texts(ring.graph.neighbours(number)))
        return found

    def named_clicks(self, keys: Iterable[str]) -> set[str]:
        """The clicks of the visitors among these keys that some event names: a person's keys leave them out."""
        ring = self._keys
        numbers = ring.numbers_of([key for key in keys if key.startswith(VISITOR)])
        numbers = numbers[numbers >= 0]
        members, _ = ring.graph.members(distinct(ring.graph.label[numbers]))
        return set(ring.table.texts(members[np.isin(ring.visitor_of[members], numbers)]))

    def group_of(self, number: int) -> Group:
        """The component of one key, by its number; a key that joins nobody has none."""
        labels = self._keys.graph.label[number : number + 1]
        return self._groups(labels)[int(labels[0])]

    # --- components --------------------------------------------------------------------------------------------------

    def _groups(self, labels: Array) -> Groups:
        """The components of these labels."""
        if not len(labels):
            return {}
        ring = self._keys
        members, sizes = ring.graph.members(labels)
        ids = self._canonical_ids(members, sizes)
        people = sums(~ring.is_click[members], sizes)
        several = sums(ring.is_unique[members], sizes) > 1
        wide = np.where(several, sizes > HOUSEHOLD_KEYS, people > self._rules.largest)
        self._take_apart(labels[several & ~wide])
        own = ring.visitor_of[members]
        shown = ~((own >= 0) & (ring.graph.label[np.maximum(own, 0)] == np.repeat(labels, sizes))) & np.repeat(~wide & ~several, sizes)
        texts = ring.table.texts(members[shown])
        groups: Groups = {}
        start = 0
        for label, count, person_id, far in zip(labels.tolist(), sums(shown, sizes).tolist(), ids, wide.tolist(), strict=True):
            keys = tuple(sorted(texts[start : start + count]))
            household, hidden = self._households.get(label, (None, NONE))
            groups[label] = Group(person_id, keys, far, household, hidden, not far and household is None)
            start += count
        return groups

    def _canonical_ids(self, members: Array, sizes: Array) -> list[str]:
        """Of each component, the member seen first; of several at once, the lowest."""
        starts = np.cumsum(sizes) - sizes
        seen = self._keys.graph.first_seen[members]
        earliest = seen == np.repeat(np.minimum.reduceat(seen, starts), sizes)
        texts = self._keys.table.texts(members[earliest])
        ids, start = [], 0
        for count in sums(earliest, sizes).tolist():
            ids.append(min(texts[start : start + count]))
            start += count
        return ids

    def _take_apart(self, labels: Array) -> None:
        """Work out the households of these components, all at once."""
        ring = self._keys
        missing = np.array([label for label in labels.tolist() if label not in self._households], np.int32)
        if not len(missing):
            return
        numbers, sizes = ring.graph.members(missing)
        texts = ring.table.texts(numbers)
        component = dict(zip(texts, np.repeat(missing, sizes).tolist(), strict=True))
        seen: dict[int, list[Seen]] = {label: [] for label in missing.tolist()}
        for one in self._events_of(component):
            seen[component[one.keys[0]]].append(one)
        clicks = numbers[ring.visitor_of[numbers] >= 0]
        made = zip(ring.table.texts(clicks), ring.table.texts(ring.visitor_of[clicks]), ring.graph.first_seen[clicks].tolist(), strict=True)
        makers: dict[int, list[tuple[str, str]]] = {label: [] for label in seen}
        for click, visitor, at in made:
            label = component[click]
            if component.get(visitor) == label:
                seen[label].append(Seen((click, visitor), at))
                makers[label].append((click, visitor))
        members: dict[int, list[str]] = {label: [] for label in missing.tolist()}
        for text, label in component.items():
            members[label].append(text)
        for label, events in seen.items():
            household = part(members[label], events, self._rules)
            hidden = frozenset(click for click, visitor in makers[label] if _is_of_one(household, click, visitor))
            self._households[label] = household, hidden

    def _events_of(self, component: dict[str, int]) -> Iterator[Seen]:
        """What linked these keys, event by event."""
        found: dict[str, tuple[set[str], Instant]] = {}
        revoked = self._keys.revoked
        for keys in parts_of(component):
            for event_id, key, other, at in self._events.select(LINKS_OF_KEYS, tenant_id=self.tenant_id, keys=keys):
                if component.get(other) != component[key] or (key, other) in revoked or (other, key) in revoked:
                    continue
                known, since = found.get(event_id, (set(), at))
                found[event_id] = {*known, key, other}, min(since, at)
        for keys_of_event, at in found.values():
            yield Seen(tuple(sorted(keys_of_event)), at)

    # --- alarms ------------------------------------------------------------------------------------------------------

    def alarms(self) -> list[Alarm]:
        """Every component past the limit, the largest first."""
        ring = self._keys
        found = [self._alarm(ring, label) for label in self._wide.tolist()]
        return sorted(found, key=lambda alarm: (-alarm.keys, alarm.person_id))

    def _warn(self, ring: Keyring, changed: Array) -> None:
        """Log a component that grew past the limit: once, and again whenever it has doubled."""
        touched = distinct(ring.graph.label[changed])
        for label in np.intersect1d(self._wide, touched).tolist():
            alarm = self._alarm(ring, label)
            if alarm.keys >= 2 * self._alarmed.get(alarm.person_id, 0):
                self._alarmed[alarm.person_id] = alarm.keys
                log.warning("a person has too many keys", tenant=self.tenant_id, **msgspec.to_builtins(alarm))

    def _alarm(self, ring: Keyring, label: int) -> Alarm:
        members, sizes = ring.graph.members(np.array([label], np.int32))
        members = np.sort(members)
        links = [ring.graph.neighbours(number) for number in members.tolist()]
        degrees = np.array([len(each) for each in links])
        keys = np.repeat(np.arange(len(members)), degrees)
        others = np.searchsorted(members, np.concatenate(links))
        suspects = np.lexsort((members, -degrees))[:SUSPECTS]
        left = [_largest_without(int(one), len(members), keys, others, ~ring.is_click[members]) for one in suspects]
        worst = min(range(len(suspects)), key=lambda place: (left[place], place))
        (glue,) = ring.table.texts(members[suspects[worst : worst + 1]])
        (person_id,) = self._canonical_ids(members, sizes)
        return Alarm(person_id, int((~ring.is_click[members]).sum()), glue, int(degrees[suspects[worst]]), left[worst])


def _largest_without(key: int, count: int, keys: Array, others: Array, counted: Array) -> int:
    """The size of the largest component without one of ``count`` keys."""
    kept = (keys != key) & (others != key)
    labels = components(count, keys[kept].astype(np.int32), others[kept].astype(np.int32))
    rest = counted.copy()
    rest[key] = False
    return int(np.bincount(labels[rest]).max(initial=0))


def _is_of_one(household: Household, click: str, visitor: str) -> bool:
    """Whether whoever has the visitor has the click as well, at any time."""
    return visitor not in household.shared and household.person_of[click] == household.person_of[visitor]


def _sharing(household: Household, key: str) -> set[str]:
    """The keys of the persons whose this key is, or is at times."""
    persons = {person for person, _ in household.shared[key].owners} if key in household.shared else {household.person_of[key]}
    devices = {device for device in household.shared if any(household.shared[device].spans_of(person) for person in persons)}
    return devices.union(*(household.persons[person] for person in persons))


def _companions(ring: Keyring, keys: set[str]) -> set[str]:
    """Everybody in these keys' components."""
    numbers = ring.numbers_of(sorted(keys))
    labels = distinct(ring.graph.label[numbers[numbers >= 0]]) if len(ring.graph) else numbers[:0]
    return set(ring.table.texts(ring.graph.members(labels)[0]))


def _moved(ring: Keyring, other: Keyring) -> Array:
    """The keys of one ring that are in another component in the other one, or in none; both have the same secret."""
    hashes, signatures = _signatures(ring)
    other_hashes, other_signatures = _signatures(other)
    if not len(other_hashes):
        return np.arange(len(hashes))
    order = np.argsort(other_hashes)
    places = np.minimum(np.searchsorted(other_hashes, hashes, sorter=order), len(order) - 1)
    same = (other_hashes[order[places]] == hashes) & (other_signatures[order[places]] == signatures)
    return np.flatnonzero(~same)


def _signatures(ring: Keyring) -> tuple[Array, Array]:
    """Each key's hash, and the sum of those of its component, by which equal components are known; a hub's is one more."""
    hashes = ring.table.hashes()
    sums = np.zeros(len(hashes), np.uint64)
    np.add.at(sums, ring.graph.label, hashes)
    return hashes, sums[ring.graph.label] + ring.graph.hub


def _secret() -> Secret:
    return secrets.randbits(64), secrets.randbits(64)
