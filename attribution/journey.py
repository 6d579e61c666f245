"""An order's candidates: its person's touches and its coupons, fetched for many orders at a time. I/O: the events store.

A touch is found by the order's click id, by its visitor, over links with its customer's keys, or as a coupon that the
catalogue knows; each candidate says which. Touches are looked up as far back as the policy's longest window and the near
misses reach; a click that the order names is found at any age.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from attribution.decide import COUPON
from attribution.identity import (
    CLICK,
    HUB_NEIGHBOURS,
    VISITOR,
    Neighbours,
    Person,
    click_key,
    find_persons,
    own_keys,
    visitor_key,
)
from attribution.policy import Terms, lookback, policy_for
from core.clock import DAY, Instant
from core.credit import Candidate, Match
from core.events import Order
from core.ids import is_event_id, minted_at
from store.events import EventsStore, read_query

NEIGHBOURS = read_query(__file__, "neighbours")
LINKED_CLICKS = read_query(__file__, "linked_clicks")
CLICKS_BY_ID = read_query(__file__, "clicks_by_id")
TOUCHES_OF_VISITORS = read_query(__file__, "touches_of_visitors")

ALWAYS: Instant = 4_102_444_800_000
"""2100-01-01: later than anything that is stored, and inside the store's calendar."""
PARAMETER_BYTES = 60_000
"""Servers refuse parameters above 128 KiB; escaping may double a text."""
CANDIDATES_EACH = 250
"""Of one order's clicks and ad views, by people and by others, the latest of each are kept: 1,000 candidates at most."""
ROWS = 200_000
"""No look-up brings more rows into memory; orders that need more are looked up in smaller groups."""
REMEMBERED_KEYS = 200_000
MINT_TOLERANCE = DAY
"""An id may have been minted this much before or after what it names happened."""

STRENGTH: tuple[Match, ...] = ("click_id", "visitor", "customer", "coupon")


class FoundTouch(msgspec.Struct, frozen=True):
    """A touch as the events store gives it."""

    touch_id: str
    kind: str
    programme_id: str
    affiliate_id: str
    occurred_at: Instant
    link_code: str
    channel: str
    traffic_class: str
    visitor_id: str


class Journey(msgspec.Struct, frozen=True):
    """What may have led to one order. ``left_out`` touches were beyond the cap; ``cut`` persons had too many keys."""

    candidates: tuple[Candidate, ...]
    left_out: int = 0
    cut: bool = False


class Links(msgspec.Struct, frozen=True):
    """What one key is linked with: by events that named both, and by clicks, which link their id with their visitor.

    ``earlier`` counts those of the first kind that were stored before the moment in question.
    """

    earlier: int = 0
    named: tuple[str, ...] = ()
    clicked: tuple[str, ...] = ()


class Acquaintances:
    """A tenant's keys and their neighbours, as :mod:`attribution.identity` asks for them. Remembers what it was asked.

    It is made for one run: what is stored meanwhile, the next run sees.
    """

    def __init__(self, events: EventsStore, tenant_id: str, earlier_than: Instant = ALWAYS) -> None:
        self.tenant_id = tenant_id
        self.clicks: dict[str, FoundTouch] = {}
        self._events = events
        self._earlier_than = earlier_than
        self._known: dict[str, Links] = {}

    def now(self, keys: set[str]) -> Neighbours:
        """Neighbours over all links there are."""
        known = self._links(keys)
        return {key: None if _is_hub(known[key]) else known[key].named + known[key].clicked for key in keys}

    def before_and_now(self, keys: set[str]) -> Neighbours:
        """The same, but a key is a hub only if it already was one before ``earlier_than``: what a new hub cuts off is still found."""
        known = self._links(keys)
        return {key: None if known[key].earlier > HUB_NEIGHBOURS else known[key].named + known[key].clicked for key in keys}

    def make_room(self) -> None:
        """Forget everything, if it has become too much; never in the middle of a search."""
        if len(self._known) > REMEMBERED_KEYS:
            self._known, self.clicks = {}, {}

    def _links(self, keys: set[str]) -> dict[str, Links]:
        missing = keys - self._known.keys()
        if missing:
            self._known |= self._look_up(missing)
        return self._known

    def _look_up(self, keys: set[str]) -> dict[str, Links]:
        found = dict.fromkeys(keys, Links())
        for part in parts_of(keys):
            bounds = {"earlier_than_ms": self._earlier_than, "most": HUB_NEIGHBOURS}
            for key, earlier, others in self._events.select(NEIGHBOURS, tenant_id=self.tenant_id, keys=part, **bounds):
                found[key] = Links(earlier, tuple(others))
        for key, other in self._by_clicks(keys, hubs={key for key in keys if found[key].earlier > HUB_NEIGHBOURS}):
            found[key] = msgspec.structs.replace(found[key], clicked=(*found[key].clicked, other))
        return found

    def _by_clicks(self, keys: set[str], hubs: set[str]) -> Iterator[tuple[str, str]]:
        """From the visitor only where something else names the click: all others lead nowhere."""
        visitors = [key.removeprefix(VISITOR) for key in keys - hubs if key.startswith(VISITOR)]
        for part in parts_of(visitors):
            for visitor_id, touch_id in self._events.select(LINKED_CLICKS, tenant_id=self.tenant_id, visitors=part):
                yield visitor_key(visitor_id), click_key(touch_id)
        found = clicks_by_id(self._events, self.tenant_id, (key.removeprefix(CLICK) for key in keys if key.startswith(CLICK)))
        self.clicks |= found
        for touch_id, click in found.items():
            if click.visitor_id:
                yield click_key(touch_id), visitor_key(click.visitor_id)


def _is_hub(links: Links) -> bool:
    return max(links.earlier, len(links.named)) > HUB_NEIGHBOURS


def find_journeys(events: EventsStore, terms: Terms, orders: Sequence[Order], acquaintances: Acquaintances) -> dict[str, Journey] | None:
    """The journey of each order of one tenant, by order id; None where it takes too much memory at once: ask for fewer orders.

    A single order always gets an answer, and no order's depends on which others are asked for beside it.

    Raises:
        Unavailable: the events store cannot answer.
    """
    acquaintances.make_room()
    persons = find_persons(orders, acquaintances.now)
    touches = _touches(events, terms, orders, persons)
    if touches is None:
        return None
    return {
        order.order_id: _journey(order, terms, persons[order.order_id], acquaintances.clicks, touches.get(order.order_id, []))
        for order in orders
    }


def clicks_by_id(events: EventsStore, tenant_id: str, touch_ids: Iterable[str]) -> dict[str, FoundTouch]:
    """The clicks on record among ``touch_ids``. Texts that are no event id name nothing; the ids' own times narrow the search."""
    found: dict[str, FoundTouch] = {}
    for part in parts_of(touch_id for touch_id in touch_ids if is_event_id(touch_id)):
        bounds = {"from_ms": minted_at(part[0]) - MINT_TOLERANCE, "to_ms": minted_at(part[-1]) + MINT_TOLERANCE}
        for row in events.select(CLICKS_BY_ID, tenant_id=tenant_id, touch_ids=part, **bounds):
            found[row[0]] = FoundTouch(*row)
    return found


def parts_of(texts: Iterable[str], most_bytes: int = PARAMETER_BYTES) -> Iterator[list[str]]:
    """The distinct texts, sorted, in parts that each fit into one parameter."""
    part: list[str] = []
    size = 0
    for text in sorted(set(texts)):
        size += len(text.encode()) + 3
        if part and size > most_bytes:
            yield part
            part, size = [], len(text.encode()) + 3
        part.append(text)
    if part:
        yield part


# --- touches of visitors ---------------------------------------------------------------------------------------------


class Wanted(msgspec.Struct, frozen=True):
    """One visitor of one order, and the time to look back over, both ends inclusive."""

    visitor_id: str
    order_id: str
    earliest: Instant
    latest: Instant


class Found(msgspec.Struct, frozen=True):
    """A touch for an order; ``of`` is how many its visitor has there, kept or not."""

    touch: FoundTouch
    of: int


def _touches(events: EventsStore, terms: Terms, orders: Sequence[Order], persons: dict[str, Person]) -> dict[str, list[list[Found]]] | None:
    """Each order's touches, visitor by visitor; None where there are too many for several orders at once."""
    wanted = [
        Wanted(visitor_id, order.order_id, order.occurred_at - lookback(policy_for(terms, order)), order.occurred_at)
        for order in orders
        for visitor_id in _counted(VISITOR, order, persons[order.order_id])
    ]
    found: dict[str, list[list[Found]]] = {}
    total = 0
    for part in _in_parts(wanted):
        for one, touches in _touches_of(events, terms.tenant_id, part):
            found.setdefault(one.order_id, []).append(touches)
            total += len(touches)
        if total >= ROWS and len(orders) > 1:
            return None
    return found


def _in_parts(wanted: list[Wanted]) -> Iterator[list[Wanted]]:
    """By visitor, since the store keeps a visitor's touches together; each part fits into the parameters."""
    by_visitor: dict[str, list[Wanted]] = {}
    for one in wanted:
        by_visitor.setdefault(one.visitor_id, []).append(one)
    for visitors in parts_of(by_visitor, PARAMETER_BYTES // 2):
        part = [one for visitor_id in visitors for one in by_visitor[visitor_id]]
        room = PARAMETER_BYTES // max(len(visitor_id.encode()) + 20 for visitor_id in visitors)
        yield from (part[at : at + room] for at in range(0, len(part), room))


def _touches_of(events: EventsStore, tenant_id: str, wanted: list[Wanted]) -> list[tuple[Wanted, list[Found]]]:
    rows = events.select(
        TOUCHES_OF_VISITORS,
        tenant_id=tenant_id,
        numbers=list(range(len(wanted))),
        visitors=[one.visitor_id for one in wanted],
        from_ms=[one.earliest for one in wanted],
        to_ms=[one.latest for one in wanted],
        earliest_ms=min(one.earliest for one in wanted),
        latest_ms=max(one.latest for one in wanted),
        most=CANDIDATES_EACH,
        rows=ROWS,
    )
    found: dict[int, list[Found]] = {}
    for number, *columns, of in rows:
        found.setdefault(number, []).append(Found(FoundTouch(*columns), of))
    return [(wanted[number], touches) for number, touches in found.items()]


# --- candidates ------------------------------------------------------------------------------------------------------


def _journey(order: Order, terms: Terms, person: Person, clicks: dict[str, FoundTouch], visited: list[list[Found]]) -> Journey:
    earliest = order.occurred_at - lookback(policy_for(terms, order))
    visitors = set(_counted(VISITOR, order, person))
    matches: dict[str, set[Match]] = {}
    touches = {one.touch.touch_id: one.touch for found in visited for one in found}
    for touch in touches.values():
        matches[touch.touch_id] = {person.keys[visitor_key(touch.visitor_id)]}
    found_in_all = sum(found[0].of for found in visited if found)
    for click_id in _counted(CLICK, order, person):
        click, named = clicks.get(click_id), click_id == order.click_id
        in_time = click is not None and earliest <= click.occurred_at <= order.occurred_at
        if click is None or not (named or in_time):
            continue
        touches[click_id] = click
        matches.setdefault(click_id, set()).add("click_id" if named else person.keys[click_key(click_id)])
        found_in_all += not (in_time and click.visitor_id in visitors)
    kept = _latest(touches.values(), order)
    candidates = (*(_candidate(touch, matches[touch.touch_id]) for touch in kept), *_coupons(order, terms))
    return Journey(candidates, found_in_all - len(kept), person.cut)


def _counted(prefix: str, order: Order, person: Person) -> list[str]:
    """The person's visitors or clicks, without the prefix; a hub counts only where the order itself carries it."""
    own = own_keys(order)
    return sorted(key.removeprefix(prefix) for key in person.keys if key.startswith(prefix) and (key in own or key not in person.hubs))


def _latest(touches: Iterable[FoundTouch], order: Order) -> list[FoundTouch]:
    """The click that the order names, and the latest ``CANDIDATES_EACH`` of each kind, by people and by others."""
    room: dict[tuple[str, bool], int] = {}
    kept: list[FoundTouch] = []
    for touch in sorted(touches, key=lambda touch: (touch.occurred_at, touch.touch_id), reverse=True):
        group = (touch.kind, touch.traffic_class == "human")
        room[group] = room.get(group, CANDIDATES_EACH) - 1
        if room[group] >= 0 or touch.touch_id == order.click_id:
            kept.append(touch)
    return kept


def _candidate(touch: FoundTouch, matches: set[Match]) -> Candidate:
    return Candidate(
        touch_id=touch.touch_id,
        touch_class="click" if touch.kind == "click" else "impression",
        programme_id=touch.programme_id,
        affiliate_id=touch.affiliate_id,
        occurred_at=touch.occurred_at,
        matches=tuple(match for match in STRENGTH if match in matches),
        link_code=touch.link_code,
        channel=touch.channel,
        human=touch.traffic_class == "human",
        traffic_class=touch.traffic_class,
    )


def _coupons(order: Order, terms: Terms) -> Iterator[Candidate]:
    """A candidate for each code that the catalogue knows, valid or not: the decision says which."""
    for code in sorted({code.strip().upper() for code in order.coupons}):
        if coupon := terms.coupons.get(code):
            yield Candidate(
                touch_id=COUPON + code,
                touch_class="coupon",
                programme_id=coupon.programme_id,
                affiliate_id=coupon.affiliate_id,
                occurred_at=order.occurred_at,
                matches=("coupon",),
                channel=order.channel,
            )
