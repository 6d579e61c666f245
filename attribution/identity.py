"""Whose keys belong together: visitors, clicks and customer keys that events have shown in one another's company.

A person is what a search finds from an order's own keys, nearest first, over links that hold in both directions. It is
bounded: ``ROUNDS`` steps, keys that half the world shares are dead ends, and a person has at most ``KEYS_PER_PERSON``
keys. Each bound follows from the links alone, never from their order of arrival. Pure: look-ups are an argument.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from core.credit import Match
from core.events import Order

VISITOR = "v:"
CLICK = "c:"
ROUNDS = 6
HUB_NEIGHBOURS = 200
"""A key with more neighbours than this is junk (a shared till, ``info@…``, a click id in a newsletter): never followed."""
KEYS_PER_PERSON = 500

Neighbours = Mapping[str, tuple[str, ...] | None]
"""Key → the keys it is linked with; None for a hub. A key without links may be left out."""
FindNeighbours = Callable[[set[str]], Neighbours]


class Person(msgspec.Struct):
    """The keys of an order's person, each with how it was reached: over ``visitor`` and click keys alone, or a ``customer`` key.

    ``hubs`` are keys among them that were not followed; ``cut`` says that there would have been more keys.
    """

    keys: dict[str, Match]
    hubs: set[str] = msgspec.field(default_factory=set)
    cut: bool = False


def visitor_key(visitor_id: str) -> str:
    return VISITOR + visitor_id


def click_key(click_id: str) -> str:
    return CLICK + click_id


def is_device(key: str) -> bool:
    """True for keys of a visitor or a click, false for a customer's."""
    return key.startswith((VISITOR, CLICK))


def own_keys(order: Order) -> dict[str, Match]:
    """The keys that the order itself carries: where the search for its person begins."""
    keys: dict[str, Match] = dict.fromkeys(order.customer_keys, "customer")
    if order.visitor_id:
        keys[visitor_key(order.visitor_id)] = "visitor"
    if order.click_id:
        keys[click_key(order.click_id)] = "visitor"
    return keys


def find_persons(orders: Iterable[Order], neighbours: FindNeighbours) -> dict[str, Person]:
    """The person behind each order, by order id. All orders search side by side, one look-up a round for all of them.

    An order's person does not depend on which other orders are searched for at the same time.
    """
    persons = {order.order_id: Person(own_keys(order)) for order in orders}
    frontiers = {order_id: dict(person.keys) for order_id, person in persons.items()}
    for step in range(ROUNDS + 1):
        wanted = {key for frontier in frontiers.values() for key in frontier}
        if not wanted:
            break
        linked = neighbours(wanted)
        for order_id, frontier in list(frontiers.items()):
            person = persons[order_id]
            person.hubs.update(key for key in frontier if linked.get(key, ()) is None)
            grown = _next(person, frontier, linked) if step < ROUNDS else {}
            person.keys.update(grown)
            frontiers[order_id] = grown
    return persons


def spread(keys: set[str], neighbours: FindNeighbours) -> set[str]:
    """Every key from which one of ``keys`` is found within ``ROUNDS`` steps, themselves included; hubs are left out."""
    reached, frontier, hubs = set(keys), set(keys), set[str]()
    for step in range(ROUNDS + 1):
        if not frontier:
            break
        linked = neighbours(frontier)
        hubs |= {key for key in frontier if linked.get(key, ()) is None}
        frontier = {other for key in frontier for other in linked.get(key) or ()} - reached if step < ROUNDS else set()
        reached |= frontier
    return reached - hubs


def _next(person: Person, frontier: Mapping[str, Match], linked: Neighbours) -> dict[str, Match]:
    """The keys one step further that are new to the person. A way over devices alone counts as the visitor's."""
    grown: dict[str, Match] = {}
    for key, match in frontier.items():
        for other in linked.get(key) or ():
            if other in person.keys:
                continue
            by_visitor = match == "visitor" and is_device(other)
            if by_visitor or other not in grown:
                grown[other] = "visitor" if by_visitor else "customer"
    room = KEYS_PER_PERSON - len(person.keys)
    person.cut = person.cut or len(grown) > room
    return {key: grown[key] for key in sorted(grown)[: max(0, room)]}
