"""Which orders to look at again: new ones, and those that late touches or new acquaintances may change. I/O: the events store.

It may name an order too many, which costs a look, but never one too few: what a decision reads of an order's person is
found by the same links backwards, from what is new to the orders. Where very much is new, it names a period instead.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from attribution.decisions import ORDERS_BY_ID
from attribution.history import ByKeys, as_orders, carriers_of, ids_of
from attribution.identity import click_key, known_to_both, visitor_key
from attribution.journey import Scene
from attribution.lookups import ALWAYS
from attribution.people import People
from attribution.touches import decode_orders
from core.clock import SECOND, Instant
from store.cursors import REREAD_MS
from store.events import EventsStore, parts_of, read_query

RECENT_SECONDS = read_query(__file__, "recent_seconds")
NEW_ORDERS = read_query(__file__, "new_orders")
LATE_TOUCHES = read_query(__file__, "late_touches")
LATE_TOUCH_IDS = read_query(__file__, "late_touch_ids")
ORDERS_NAMING_LATE_TOUCHES = read_query(__file__, "orders_naming_late_touches")
NEW_LINKS = read_query(__file__, "new_links")
MISSED_CLICKS = read_query(__file__, "missed_clicks")
ORDER_IDS = read_query(__file__, "order_ids")

NEVER: Instant = 0
MANY = 20_000
"""With more new orders, late visitors or new keys than this, it is cheaper to look at every order they may matter to."""

Period = tuple[Instant, Instant]
"""Orders placed in it, both ends inclusive."""
Carrying = Callable[[Scene, Iterable[str], Instant, Instant], set[str]]
"""Finds what carries one of some keys within a time, both ends inclusive, by id."""


class Stored(msgspec.Struct, frozen=True):
    """What was stored for a tenant in one second; ``others`` are orders and identity links. Every row changes ``fingerprint``.

    ``leads`` are told apart from all others, and only of tenants that pay for them (:mod:`attribution.leads`).
    """

    tenant_id: str
    second: int
    touches: int
    others: int
    fingerprint: int
    newest: Instant
    leads: int = 0


class News(msgspec.Struct, frozen=True):
    """That something was stored for a tenant from ``since`` on (inclusive), and of which kind."""

    since: Instant
    touches: bool
    others: bool
    leads: bool = False


def stored_since(events: EventsStore, since: Instant) -> list[Stored]:
    """By tenant and second, from ``since`` (time of storing, inclusive)."""
    return [Stored(*row) for row in events.select(RECENT_SECONDS, from_ms=since)]


def news_of(stored: Iterable[Stored]) -> dict[str, News]:
    """By tenant."""
    news: dict[str, News] = {}
    for one in stored:
        known = news.get(one.tenant_id, News(ALWAYS, False, False))
        news[one.tenant_id] = News(
            min(one.second * SECOND, known.since),
            known.touches or one.touches > 0,
            known.others or one.others > 0,
            known.leads or one.leads > 0,
        )
    return news


class Seen:
    """What this process has worked through in the seconds that every run reads again, so that an idle loop has nothing to do."""

    def __init__(self) -> None:
        self._seconds: set[Stored] = set()

    def unseen(self, recent: Iterable[Stored]) -> list[Stored]:
        """The seconds in which anything is new."""
        return [one for one in recent if one not in self._seconds]

    def remember(self, recent: Iterable[Stored], position: Instant) -> None:
        """All of ``recent`` is worked through; what lies before the next run's first second is forgotten."""
        self._seconds = {one for one in recent if (one.second + 1) * SECOND > position - REREAD_MS}


class Changed(msgspec.Struct, frozen=True):
    """Orders by id, and the periods of which all orders are meant."""

    order_ids: frozenset[str] = frozenset()
    periods: tuple[Period, ...] = ()

    def __or__(self, other: "Changed") -> "Changed":
        return Changed(self.order_ids | other.order_ids, self.periods + other.periods)


def missed_keys(events: EventsStore, people: People, since: Instant) -> set[str]:
    """The keys whose person may have become another from ``since`` on (time of storing): for a process that has just begun to look.

    Raises:
        Unavailable: the events store cannot answer.
    """
    scope = {"tenant_id": people.tenant_id, "since_ms": since}
    named = {click_key(touch_id) for (touch_id,) in events.select(MISSED_CLICKS, **scope)}
    return {key for (key,) in events.select(NEW_LINKS, **scope)} | named


def changed_orders(scene: Scene, earlier: ByKeys, news: News | None, gained: set[str], lookback: Instant) -> Changed:
    """A tenant's orders that the news may change, new ones included.

    Args:
        gained: keys whose person may be another now.
        lookback: how long before an order a touch may matter to it, in milliseconds, for any policy of the tenant.

    Raises:
        Unavailable: the events store cannot answer.
    """
    changed = of_persons(scene, gained)
    if news is None:
        return changed
    scope: dict[str, Any] = {"tenant_id": scene.tenant_id, "since_ms": news.since}
    if news.others:
        changed |= _with_new_orders(scene, earlier, scene.events.select(NEW_ORDERS, **scope))
    if news.touches:
        changed |= after_late_touches(scene, scene.people, scene.events.select(LATE_TOUCHES, **scope), lookback)
        changed |= Changed(frozenset(order_id for (order_id,) in scene.events.select(ORDERS_NAMING_LATE_TOUCHES, **scope)))
    return changed


def shared_changes(scene: Scene, fellow: People, news: News | None, gained: set[str], lookback: Instant) -> Changed:
    """A tenant's orders that another tenant's news may change, over what both share."""
    changed = of_persons(scene, known_to_both(fellow.known_with(gained)))
    if news is not None and news.touches:
        late = scene.events.select(LATE_TOUCHES, tenant_id=fellow.tenant_id, since_ms=news.since)
        changed |= after_late_touches(scene, fellow, late, lookback)
        named = scene.events.select(LATE_TOUCH_IDS, tenant_id=fellow.tenant_id, since_ms=news.since)
        changed |= Changed(frozenset(orders_carrying(scene, {click_key(touch_id) for (touch_id,) in named}, NEVER, ALWAYS)))
    return changed


def later_orders(scene: Scene, earlier: ByKeys, order_ids: Iterable[str]) -> frozenset[str]:
    """Orders that the persons of these orders placed after them."""
    rows = [
        row
        for part in parts_of(order_ids)
        for row in decode_orders(scene.events.select_bytes(ORDERS_BY_ID, tenant_id=scene.tenant_id, order_ids=part))
    ]
    if not rows:
        return frozenset()
    persons = scene.people.persons_of(as_orders(rows))
    ids = ids_of(persons)
    begins: dict[str, tuple[Instant, str]] = {}
    for row in rows:
        person_id, moment = ids[row.order_id], (row.occurred_at, row.event_id)
        begins[person_id] = min(moment, begins.get(person_id, moment))
    moments = earlier.moments_of(persons.values())
    return frozenset(
        order_id for person_id in begins for at, event_id, order_id in moments.get(person_id, ()) if (at, event_id) > begins[person_id]
    )


def of_persons(scene: Scene, gained: set[str], carrying: Carrying | None = None) -> Changed:
    """Orders of any age whose person gained or lost a key, and with it touches of any age; or what else ``carrying`` finds."""
    if len(gained) > MANY:
        return Changed(periods=((NEVER, ALWAYS),))
    if not gained:
        return Changed()
    return Changed(frozenset((carrying or orders_carrying)(scene, scene.people.known_with(gained), NEVER, ALWAYS)))


def _with_new_orders(scene: Scene, earlier: ByKeys, new: list[tuple[Any, ...]]) -> Changed:
    """New orders, and the later ones of their persons: whether these had ordered before may be another matter now."""
    if len(new) > MANY:
        return Changed(periods=((min(occurred_ms for _, occurred_ms in new), ALWAYS),))
    ids = frozenset(order_id for order_id, _ in new)
    return Changed(ids | later_orders(scene, earlier, ids))


def after_late_touches(
    scene: Scene, people: People, late: list[tuple[Any, ...]], lookback: Instant, carrying: Carrying | None = None
) -> Changed:
    """Orders, or what else ``carrying`` finds, that look back over a touch stored late; ``people`` are those of the touches' tenant."""
    if len(late) > MANY:
        last = max(last_ms for _, _, last_ms in late)
        return Changed(periods=((late[0][1], last + lookback),))
    times = {visitor_id: (first_ms, last_ms) for visitor_id, first_ms, last_ms in late}
    changed: set[str] = set()
    for visitors in parts_of(times):
        keys = people.known_with({visitor_key(visitor_id) for visitor_id in visitors})
        if people is not scene.people:
            keys = scene.people.known_with(known_to_both(keys))
        first = min(times[visitor_id][0] for visitor_id in visitors)
        last = max(times[visitor_id][1] for visitor_id in visitors)
        changed |= (carrying or orders_carrying)(scene, keys, first, last + lookback)
    return Changed(frozenset(changed))


def orders_carrying(scene: Scene, keys: Iterable[str], earliest: Instant, latest: Instant) -> set[str]:
    """Orders placed in the time given, both ends inclusive, that carry one of the keys, or name a click of one of the visitors."""
    keys = set(keys)
    keys |= scene.people.named_clicks(keys)
    return {one.order_id for one in carriers_of(scene.events, scene.tenant_id, keys, earliest, min(latest, ALWAYS))}


def order_ids(events: EventsStore, tenant_id: str, earliest: Instant, latest: Instant, page: int = 50_000) -> Iterator[str]:
    """All of a tenant's orders placed in the time given, both ends inclusive, by id."""
    after = ""
    while rows := events.select(ORDER_IDS, tenant_id=tenant_id, from_ms=earliest, to_ms=latest, after=after, page=page):
        yield from (order_id for (order_id,) in rows)
        after = rows[-1][0]
