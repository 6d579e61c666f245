"""What a person had ordered before: how often, when first and last, and what it bound the person to. I/O: the events store.

Earlier is by ``(occurred_at, event_id)``; test orders do not count, refunded ones do. Orders are a person's where
:class:`attribution.people.People` says so of each of them.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, cast

import msgspec

from attribution.batch import Bonds, Past
from attribution.decisions import read_in_force
from attribution.identity import CLICK, VISITOR, Person, is_device
from attribution.lookups import ALWAYS
from attribution.people import People
from attribution.policy import Terms
from attribution.touches import OrderRow
from core.clock import Instant
from core.credit import Candidate, Credit, Decision
from core.events import Order
from store.events import EventsStore, parts_of, read_query

ORDERS_BY_KEYS = read_query(__file__, "orders_by_keys")
CARRIERS = read_query(__file__, "carriers")

BINDING = "binding:"
"""A bond's candidate has this before the id of the order that made it."""
FEW = 50
"""More customer keys than this are found faster by looking at every order than by the index, which compares each with each."""
REMEMBERED = 50_000
"""With more persons than this in its memory, a run begins it anew."""
ENTRIES = 1_000
"""So many of a person's latest orders may bind it."""

Moment = tuple[Instant, str, str]
"""When an order was placed: ``(occurred_at, event_id, order_id)``."""


class Carrier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An order as far as tells whose it is."""

    order_id: str
    event_id: str
    visitor_id: str
    click_id: str
    customer_keys: tuple[str, ...]
    occurred_at: Instant
    received_at: Instant
    test: bool

    @property
    def moment(self) -> Moment:
        return self.occurred_at, self.event_id, self.order_id


decode_carriers = msgspec.json.Decoder(Carrier).decode_lines


class Earlier(Protocol):
    """Whoever knows, of very many orders, what persons had ordered before."""

    def past_of(self, rows: Sequence[OrderRow], persons: Mapping[str, str]) -> dict[str, Past]:
        """By order, what its person had ordered before it; left out where nothing. ``persons`` are their ids by order."""


def carriers_of(events: EventsStore, tenant_id: str, keys: Iterable[str], from_at: Instant = 0, to_at: Instant = ALWAYS) -> list[Carrier]:
    """Orders placed in ``[from_at, to_at]`` that carry one of the keys, each once: the event that was received first.

    Raises:
        Unavailable: the events store cannot answer.
    """
    found: dict[str, Carrier] = {}
    for part in parts_of(keys):
        customers = [key for key in part if not is_device(key)]
        lines = events.select_bytes(
            ORDERS_BY_KEYS,
            tenant_id=tenant_id,
            visitors=[key.removeprefix(VISITOR) for key in part if key.startswith(VISITOR)],
            clicks=[key.removeprefix(CLICK) for key in part if key.startswith(CLICK)],
            customers=customers if len(customers) <= FEW else [],
            many_customers=customers if len(customers) > FEW else [],
            from_ms=from_at,
            to_ms=to_at,
        )
        for one in decode_carriers(lines):
            known = found.get(one.order_id)
            if known is None or (one.received_at, one.event_id) < (known.received_at, known.event_id):
                found[one.order_id] = one
    return list(found.values())


def as_orders(rows: Sequence[OrderRow] | Sequence[Carrier]) -> Sequence[Order]:
    """They have what tells an order's person under the same names."""
    return cast("Sequence[Order]", rows)


def orders_of_persons(events: EventsStore, people: People, persons: Iterable[Person]) -> dict[str, list[Moment]]:
    """By person, when it ordered, in order; left out where a person is past the limit, whose orders are not followed."""
    followed = [person for person in persons if person.person_id and not person.cut]
    keys = {key for person in followed for key in person.keys}
    keys |= people.named_clicks(keys)
    carriers = [one for one in carriers_of(events, people.tenant_id, keys) if not one.test]
    theirs = ids_of(people.persons_of(as_orders(carriers)))
    found: dict[str, list[Moment]] = {person.person_id: [] for person in followed}
    for one in carriers:
        if (person_id := theirs[one.order_id]) in found:
            found[person_id].append(one.moment)
    return {person_id: sorted(moments) for person_id, moments in found.items()}


class ByKeys:
    """For a few orders: asks for the orders that carry their persons' keys, and remembers them for one run."""

    def __init__(self, events: EventsStore, people: People) -> None:
        self._events = events
        self._people = people
        self._known: dict[str, list[Moment]] = {}

    def moments_of(self, persons: Iterable[Person]) -> Mapping[str, list[Moment]]:
        """By person, when it ordered, in order; a person past the limit is left out."""
        asked = list(persons)
        if len(self._known) > REMEMBERED:
            self._known.clear()
        missing = [person for person in asked if person.person_id not in self._known]
        if missing:
            self._known |= orders_of_persons(self._events, self._people, missing)
        return self._known

    def past_of(self, rows: Sequence[OrderRow], persons: Mapping[str, Person]) -> dict[str, Past]:
        """By order, what its person had ordered before it; left out where nothing."""
        known = self.moments_of(persons.values())
        found: dict[str, Past] = {}
        for row in rows:
            person = persons[row.order_id]
            moments: Sequence[Moment] = () if person.cut else known.get(person.person_id, ())
            place = bisect_left(moments, (row.occurred_at, row.event_id, ""))
            if place:
                found[row.order_id] = Past(place, moments[0][0], moments[place - 1][0])
        return found


class InTime:
    """For very many orders that come in the order of time, each once: remembers what each person has ordered."""

    def __init__(self) -> None:
        self._past: dict[str, Past] = {}

    def past_of(self, rows: Sequence[OrderRow] | Sequence[Carrier], persons: Mapping[str, str]) -> dict[str, Past]:
        found: dict[str, Past] = {}
        past = self._past
        for row in rows:
            person_id, at = persons[row.order_id], row.occurred_at
            before = past.get(person_id)
            if before is not None:
                found[row.order_id] = before
            if person_id and not row.test:
                past[person_id] = Past(1, at, at) if before is None else Past(before.orders + 1, before.first_at, at)
        return found


class Told:
    """For very many orders in any order: what :class:`InTime` said of them."""

    def __init__(self, found: dict[str, Past]) -> None:
        self._found = found

    def past_of(self, rows: Sequence[OrderRow], persons: Mapping[str, str]) -> dict[str, Past]:
        assert len(persons) >= len(rows), "every order has a person"
        return {row.order_id: self._found[row.order_id] for row in rows if row.order_id in self._found}


def pass_through(
    events: EventsStore, people: People, earlier: InTime, counted: Mapping[str, str], from_at: Instant, to_at: Instant
) -> dict[str, Past]:
    """Show all orders placed in ``[from_at, to_at]`` to ``earlier``, and return what it says of them.

    Args:
        counted: of order ids that several events bear, the event that counts.
    """
    rows = decode_carriers(events.select_bytes(CARRIERS, tenant_id=people.tenant_id, from_ms=from_at, to_ms=to_at))
    # The same event may be stored twice, and is one order.
    rows = list({row.order_id: row for row in rows if counted.get(row.order_id, row.event_id) == row.event_id}.values())
    orders = as_orders(rows)
    alone = people.alone(orders)
    others = people.persons_of([order for order in orders if order.order_id not in alone])
    return earlier.past_of(rows, alone | ids_of(others))


def ids_of(persons: Mapping[str, Person]) -> dict[str, str]:
    """By order, its person's id; empty for one past the limit, whose orders are not followed."""
    return {order_id: "" if person.cut else person.person_id for order_id, person in persons.items()}


# --- bonds -----------------------------------------------------------------------------------------------------------


class Bond(msgspec.Struct, frozen=True):
    """What an order bound its person to."""

    programme_id: str
    affiliate_id: str


def binds(terms: Terms) -> bool:
    """Does any policy of the tenant rank what binds a customer?"""
    return any(rule.touch == "binding" for versions in terms.policies.values() for policy in versions for rule in policy.classes)


def bond_of_credits(programme_id: str, credits: Sequence[Credit]) -> Bond | None:
    """An order binds its person to whoever has the largest share, ties to the smallest id; one that was bound itself binds nobody."""
    if not credits:
        return None
    best = min(credits, key=lambda credit: (-credit.share, credit.affiliate_id))
    return None if best.touch_id.startswith(BINDING) or not best.affiliate_id else Bond(programme_id, best.affiliate_id)


class BondBook(Bonds):
    """The bonds of the persons of one batch after the other, in the order of time. What a run decides anew replaces what is stored."""

    def __init__(self, events: EventsStore, tenant_id: str) -> None:
        self._events = events
        self._tenant_id = tenant_id
        self._bonds: dict[str, Bond | None] = {}
        self._moments: dict[str, list[Moment]] = {}

    def open(self, rows: Iterable[OrderRow], persons: Mapping[str, Person], earlier: ByKeys) -> None:
        """Make ready for the orders of a batch."""
        moments, ids = earlier.moments_of(persons.values()), ids_of(persons)
        self._moments = {row.order_id: moments.get(ids[row.order_id], []) for row in rows}
        known = {order_id for one in self._moments.values() for _, _, order_id in one[-ENTRIES:]} - self._bonds.keys()
        for order_id, one in read_in_force(self._events, self._tenant_id, known).items():
            self._bonds[order_id] = bond_of_credits(one.programme_id, one.credits)

    def bond_of(self, order: Order) -> Candidate | None:
        moments = self._moments.get(order.order_id, [])
        place = bisect_left(moments, (order.occurred_at, order.event_id, ""))
        for at, _, order_id in reversed(moments[max(0, place - ENTRIES) : place]):
            if bond := self._bonds.get(order_id):
                return Candidate(
                    touch_id=BINDING + order_id,
                    touch_class="binding",
                    programme_id=bond.programme_id,
                    affiliate_id=bond.affiliate_id,
                    occurred_at=at,
                    matches=("binding",),
                    channel=order.channel,
                )
        return None

    def note(self, order: Order, decision: Decision) -> None:
        self._bonds[order.order_id] = bond_of_credits(decision.programme_id, decision.credits)
