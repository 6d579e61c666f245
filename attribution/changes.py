"""Which orders to look at again: new ones, and those that late touches or new acquaintances may change. I/O: the events store.

It may name an order too many, which costs a look, but never one too few: what a decision reads of an order's person is
found by the same search backwards, from what is new to the orders.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from attribution.identity import CLICK, VISITOR, click_key, is_device, spread, visitor_key
from attribution.journey import ALWAYS, Acquaintances, parts_of
from core.clock import SECOND, Instant
from store.cursors import REREAD_MS
from store.events import EventsStore, read_query

RECENT_SECONDS = read_query(__file__, "recent_seconds")
NEW_ORDERS = read_query(__file__, "new_orders")
LATE_TOUCHES = read_query(__file__, "late_touches")
NAMED_CLICKS = read_query(__file__, "named_clicks")
NEW_LINKS = read_query(__file__, "new_links")
ORDERS_BY_KEYS = read_query(__file__, "orders_by_keys")
ORDER_IDS = read_query(__file__, "order_ids")

NEVER: Instant = 0
MANY = 20_000
"""With more late visitors or new keys than this, it is cheaper to look at every order they may matter to."""


class Stored(msgspec.Struct, frozen=True):
    """What was stored for a tenant in one second; ``others`` are orders and identity links. Every row changes ``fingerprint``."""

    tenant_id: str
    second: int
    touches: int
    others: int
    fingerprint: int
    newest: Instant


class News(msgspec.Struct, frozen=True):
    """That something was stored for a tenant from ``since`` on (inclusive), and of which kind."""

    since: Instant
    touches: bool
    others: bool


def stored_since(events: EventsStore, since: Instant) -> list[Stored]:
    """By tenant and second, from ``since`` (time of storing, inclusive)."""
    return [Stored(*row) for row in events.select(RECENT_SECONDS, from_ms=since)]


def news_of(stored: Iterable[Stored]) -> dict[str, News]:
    """By tenant."""
    news: dict[str, News] = {}
    for one in stored:
        known = news.get(one.tenant_id, News(ALWAYS, False, False))
        news[one.tenant_id] = News(min(one.second * SECOND, known.since), known.touches or one.touches > 0, known.others or one.others > 0)
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


def changed_orders(events: EventsStore, news: News, lookback: Instant, acquaintances: Acquaintances) -> set[str]:
    """The ids of a tenant's orders that the news may change, new ones included.

    Args:
        lookback: how long before an order a touch may matter to it, in milliseconds, for any policy of the tenant.
        acquaintances: the tenant's, with ``earlier_than`` at ``news.since``.

    Raises:
        Unavailable: the events store cannot answer.
    """
    changed: set[str] = set()
    gained: set[str] = set()
    clicked: set[str] = set()
    scope: dict[str, Any] = {"tenant_id": acquaintances.tenant_id, "since_ms": news.since}
    if news.others:
        changed |= {order_id for (order_id,) in events.select(NEW_ORDERS, **scope)}
        gained |= {key for (key,) in events.select(NEW_LINKS, **scope)}
    if news.touches:
        changed |= _after_late_touches(events, events.select(LATE_TOUCHES, **scope), lookback, acquaintances)
        named = events.select(NAMED_CLICKS, **scope)
        clicked |= {click_key(touch_id) for touch_id, _ in named}
        gained |= clicked | {visitor_key(visitor_id) for _, visitor_id in named if visitor_id}
    return changed | _of_persons(events, gained, clicked, acquaintances)


def _after_late_touches(events: EventsStore, late: list[tuple[Any, ...]], lookback: Instant, acquaintances: Acquaintances) -> set[str]:
    """Orders that look back over a touch stored late."""
    if len(late) > MANY:
        last = max(last_ms for _, _, last_ms in late)
        return set(order_ids(events, acquaintances.tenant_id, late[0][1], last + lookback))
    times = {visitor_id: (first_ms, last_ms) for visitor_id, first_ms, last_ms in late}
    changed: set[str] = set()
    for visitors in parts_of(times):
        own = {visitor_key(visitor_id) for visitor_id in visitors}
        first = min(times[visitor_id][0] for visitor_id in visitors)
        last = max(times[visitor_id][1] for visitor_id in visitors)
        keys = own | spread(own, acquaintances.before_and_now)
        changed |= _carrying(events, acquaintances.tenant_id, keys, first, last + lookback)
    return changed


def _of_persons(events: EventsStore, gained: set[str], clicked: set[str], acquaintances: Acquaintances) -> set[str]:
    """Orders of any age whose person gained a key, through which it may gain old touches, or that name a click just stored."""
    if len(gained) > MANY:
        return set(order_ids(events, acquaintances.tenant_id, NEVER, ALWAYS))
    keys = clicked | spread(gained, acquaintances.before_and_now)
    return _carrying(events, acquaintances.tenant_id, keys, NEVER, ALWAYS)


def _carrying(events: EventsStore, tenant_id: str, keys: Iterable[str], earliest: Instant, latest: Instant) -> set[str]:
    """Orders placed in the time given, both ends inclusive, that carry one of the keys or name a click of one of the visitors."""
    found: set[str] = set()
    for part in parts_of(keys):
        rows = events.select(
            ORDERS_BY_KEYS,
            tenant_id=tenant_id,
            visitors=[key.removeprefix(VISITOR) for key in part if key.startswith(VISITOR)],
            clicks=[key.removeprefix(CLICK) for key in part if key.startswith(CLICK)],
            customers=[key for key in part if not is_device(key)],
            from_ms=earliest,
            to_ms=latest,
        )
        found |= {order_id for (order_id,) in rows}
    return found


def order_ids(events: EventsStore, tenant_id: str, earliest: Instant, latest: Instant, page: int = 50_000) -> Iterator[str]:
    """All of a tenant's orders placed in the time given, both ends inclusive, by id."""
    after = ""
    while rows := events.select(ORDER_IDS, tenant_id=tenant_id, from_ms=earliest, to_ms=latest, after=after, page=page):
        yield from (order_id for (order_id,) in rows)
        after = rows[-1][0]
