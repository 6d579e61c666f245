"""A person, the rules by which keys belong together, and the keys that an order carries itself. Pure.

A key is a text: ``v:VISITOR``, ``c:TOUCH``, and a customer's own as :mod:`core.identity` makes them (``em:…``, ``cid:…``). A person is a
connected component of keys that events have shown together (:mod:`attribution.graph`), taken apart where it holds two customers
(:mod:`attribution.households`).
"""

import re
from collections.abc import Iterable

import msgspec

from core.clock import DAY, Instant
from core.credit import Match
from core.events import Order
from core.identity import SHARED_PREFIX

VISITOR = "v:"
CLICK = "c:"
HUB_NEIGHBOURS = 200
"""A key with more neighbours than this is junk: a shared till, ``info@…``, a click id in a newsletter."""
HUB_TOUCHES = 2_000
"""And so is one with more touches: five years of one a day are fewer."""


class IdentityRules(msgspec.Struct, frozen=True):
    """What may join keys to one person.

    ``blocked`` are patterns of values that mean nobody, as the whole text after the kind: such keys join nothing. A key with more than
    ``neighbours`` distinct neighbours (``neighbours_of`` its kind, where given) is a hub: a shared till, ``info@…``; it joins nothing
    either. A touch is a neighbour only where other keys were seen with it too; a key with more than ``touches`` of them, alone or not,
    is a hub as well. Two values of a ``unique`` kind are never one person, strongest kind first. ``devices`` may be shared: what
    happened there up to ``before_login`` milliseconds before a log-in belongs to it. A person of more than ``largest`` keys, clicks not
    counted, raises an alarm, and its orders reach only one step beyond the keys that they carry.
    """

    blocked: tuple[str, ...] = (r"[0\-\s.]*", "-1", "null", "none", "nil", "undefined", "anonymous", "unknown", "n/?a", "guest", "test")
    neighbours: int = HUB_NEIGHBOURS
    neighbours_of: tuple[tuple[str, int], ...] = ()
    touches: int = HUB_TOUCHES
    unique: tuple[str, ...] = ("cid",)
    devices: tuple[str, ...] = ("v", "dev")
    before_login: Instant = DAY
    largest: int = 500

    @property
    def blocking(self) -> str:
        """One pattern that finds every blocked key; the kind before its value does not matter."""
        patterns = "|".join(f"(?:{pattern.removeprefix('^').removesuffix('$')})" for pattern in self.blocked)
        return f"(?i)^(?:[^:]*:)?(?:{patterns})$"

    @staticmethod
    def kind_of(key: str) -> str:
        """``em`` of ``em:3f2a…``; empty where the key does not say."""
        kind, colon, _ = key.partition(":")
        return kind if colon else ""

    def blocks(self, key: str) -> bool:
        return bool(self.blocked) and re.search(self.blocking, key) is not None

    def limit_of(self, key: str) -> int:
        return dict(self.neighbours_of).get(self.kind_of(key), self.neighbours)


RULES = IdentityRules()


class Person(msgspec.Struct, gc=False):
    """The keys of an order's person: the order's own visitor, click and that click's visitor are ``visitor``, all others ``customer``.

    ``person_id`` is the canonical id: the member that was seen first (of several at once the lowest), empty where an order carries no
    key. ``spans`` are the times in which a shared device was the person's, from (inclusive) and to (exclusive); a key that is not there
    is the person's always. ``cut`` says that the person is past the limit, and has more keys than these.
    """

    keys: dict[str, Match]
    person_id: str = ""
    spans: dict[str, tuple[tuple[Instant, Instant], ...]] = {}
    cut: bool = False


def visitor_key(visitor_id: str) -> str:
    return VISITOR + visitor_id


def click_key(click_id: str) -> str:
    return CLICK + click_id


def is_device(key: str) -> bool:
    """True for keys of a visitor or a click, false for a customer's."""
    return key.startswith((VISITOR, CLICK))


def known_to_both(keys: Iterable[str]) -> set[str]:
    """What another tenant may know of a person too: browsers, clicks, and the keys of a coalition."""
    return {key for key in keys if key.startswith((VISITOR, CLICK, SHARED_PREFIX))}


def own_keys(order: Order) -> dict[str, Match]:
    """The keys that the order itself carries."""
    keys: dict[str, Match] = dict.fromkeys(order.customer_keys, "customer")
    if order.visitor_id:
        keys[visitor_key(order.visitor_id)] = "visitor"
    if order.click_id:
        keys[click_key(order.click_id)] = "visitor"
    return keys
