"""Leads that earn: which of them to look at again, and a lead in the form of an order, as which it is decided. I/O: the events store.

Only tenants with a rate card that pays for leads ask anything here, and only of leads from the day on which the first such version
begins (``Terms.leads_from``). A lead is in no customer's history: earlier orders may matter to it, but it matters to no order.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from attribution.changes import Changed, News, Stored, after_late_touches, of_persons
from attribution.decisions import ORDERS_BY_ID
from attribution.history import as_orders
from attribution.identity import CLICK, VISITOR, click_key, is_device
from attribution.journey import Scene
from attribution.lookups import ALWAYS, touches_by_id
from attribution.people import People
from attribution.touches import OrderRow, decode_orders, decode_touches, facet_of, lines_of, order_of
from core.clock import Instant
from core.events import Channel, Order, Source
from core.leads import asked_by, is_lead, name_of
from store.events import EventsStore, parts_of, read_query

LEADS_BY_ID = read_query(__file__, "leads_by_id")
LEADS_BY_KEYS = read_query(__file__, "leads_by_keys")
LEADS_NAMING_LATE_TOUCHES = read_query(__file__, "leads_naming_late_touches")
LEAD_IDS = read_query(__file__, "lead_ids")
LATE_TOUCHES_UNTIL = read_query(__file__, "late_touches_until")
LATE_TOUCH_IDS = read_query(__file__, "late_touch_ids")
NEW_LEADS = read_query(__file__, "new_leads")
NEWEST_LEAD = read_query(__file__, "newest_lead")
RECENT_LEADS = read_query(__file__, "recent_leads")


class LeadRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lead as ``queries/leads_by_id.sql`` gives it."""

    lead_id: str
    event_id: str
    visitor_id: str
    click_id: str
    customer_keys: tuple[str, ...]
    occurred_at: Instant
    received_at: Instant
    channel: Channel
    source: Source
    country: str


_decode = msgspec.json.Decoder(LeadRow).decode_lines


def leads_stored_since(events: EventsStore, tenant_ids: Sequence[str], since: Instant) -> list[Stored]:
    """By tenant and second, from ``since`` (time of storing, inclusive); nothing is asked where no tenant pays for leads."""
    if not tenant_ids:
        return []
    rows = events.select(RECENT_LEADS, tenant_ids=tenant_ids, from_ms=since)
    return [Stored(tenant_id, second, 0, 0, fingerprint, newest, leads) for tenant_id, second, fingerprint, newest, leads in rows]


# --- a lead as an order ------------------------------------------------------------------------------------------------


def lines_of_leads(events: EventsStore, tenant_id: str, names: Iterable[str], from_at: Instant = 0) -> list[bytes]:
    """The leads on record among these names that happened at ``from_at`` or later, as the store gives orders.

    Raises:
        Unavailable: the events store cannot answer.
    """
    rows = [as_order(row) for row in _read(events, tenant_id, names) if row.occurred_at >= from_at]
    return lines_of(_with_makers(events, tenant_id, rows)).splitlines()


def _with_makers(events: EventsStore, tenant_id: str, rows: Sequence[OrderRow]) -> list[OrderRow]:
    """Of a lead that names a touch and nothing else, that touch's visitor is its own: no other event tells :class:`People` of the two."""
    alone = {row.click_id for row in rows if row.click_id and not row.visitor_id and not row.customer_keys}
    makers: dict[str, str] = {}
    for touch in decode_touches(touches_by_id(events, tenant_id, alone)):
        if facet_of(touch.facet).touch_class != "impression":
            makers.setdefault(touch.touch_id, touch.visitor_id)
    return [
        msgspec.structs.replace(row, visitor_id=makers[row.click_id])
        if row.click_id in makers and not (row.visitor_id or row.customer_keys)
        else row
        for row in rows
    ]


def read_leads(events: EventsStore, tenant_id: str, names: Iterable[str]) -> list[Order]:
    """The leads on record among these names, as orders of nothing."""
    return [order_of(tenant_id, as_order(row)) for row in _read(events, tenant_id, names)]


def as_order(row: LeadRow) -> OrderRow:
    """An order of nothing, under the lead's name: without lines, amounts, store, consent and attributes."""
    return OrderRow(
        order_id=name_of(row.lead_id),
        event_id=row.event_id,
        visitor_id=row.visitor_id,
        click_id=row.click_id,
        customer_keys=row.customer_keys,
        occurred_at=row.occurred_at,
        received_at=row.received_at,
        currency="",
        channel=row.channel,
        store_id="",
        customer_status="",
        coupons=(),
        shipping_minor=0,
        tax_minor=0,
        total_minor=0,
        test=False,
        source=row.source,
        country=row.country,
        consent="unknown",
        attribute_names=(),
        attribute_texts=(),
        affiliate_id="",
        claims="",
        marketplace_id="",
        basket_id="",
        line_ids=(),
        nets=(),
        skus=(),
        names=(),
        categories=(),
        quantities=(),
        brands=(),
        kinds=(),
        discounts=(),
        line_attributes=(),
    )


def _read(events: EventsStore, tenant_id: str, names: Iterable[str]) -> Iterator[LeadRow]:
    for part in parts_of(names):
        lead_ids, digests = asked_by(part)
        yield from _decode(events.select_bytes(LEADS_BY_ID, tenant_id=tenant_id, lead_ids=lead_ids, digests=digests))


# --- which of them to look at ------------------------------------------------------------------------------------------


def changed_leads(scene: Scene, orders: Changed, news: News | None, gained: set[str], lookback: Instant) -> Changed:
    """A tenant's leads that the news may change, new ones included, by name.

    Args:
        orders: what is looked at of its orders: with them, whether a lead's person had ordered before may be another matter.
        gained: keys whose person may be another now.
        lookback: how long before a lead a touch may matter to it, in milliseconds.

    Raises:
        Unavailable: the events store cannot answer.
    """
    changed = Changed(frozenset(filter(is_lead, orders.order_ids)), orders.periods)
    changed |= Changed(frozenset(_after_orders(scene, orders.order_ids)))
    changed |= of_persons(scene, gained, leads_carrying)
    if news is None:
        return changed
    scope = {"tenant_id": scene.tenant_id, "since_ms": news.since}
    if news.leads:
        changed |= _named(scene.events.select(NEW_LEADS, **scope))
    if news.touches:
        changed |= _after_touches(scene, scene.people, news, lookback)
        changed |= _named(scene.events.select(LEADS_NAMING_LATE_TOUCHES, **scope))
    return changed


def shared_lead_changes(scene: Scene, fellow: People, news: News | None, lookback: Instant) -> Changed:
    """A tenant's leads that another tenant's late touches may change, over what both share."""
    if news is None or not news.touches:
        return Changed()
    late = scene.events.select(LATE_TOUCH_IDS, tenant_id=fellow.tenant_id, since_ms=news.since)
    named = leads_carrying(scene, {click_key(touch_id) for (touch_id,) in late}, 0, ALWAYS)
    return _after_touches(scene, fellow, news, lookback) | Changed(frozenset(named))


def leads_carrying(scene: Scene, keys: Iterable[str], earliest: Instant, latest: Instant) -> set[str]:
    """Leads of the time given, both ends inclusive, that carry one of the keys, or name a click of one of the visitors; by name."""
    assert scene.terms.leads_from is not None, "somebody pays for leads"
    return leads_by_keys(scene.events, scene.tenant_id, keys, max(earliest, scene.terms.leads_from), latest)


def leads_by_keys(events: EventsStore, tenant_id: str, keys: Iterable[str], earliest: Instant = 0, latest: Instant = ALWAYS) -> set[str]:
    """The same, of any tenant's."""
    found: set[str] = set()
    for part in parts_of(keys):
        rows = events.select(
            LEADS_BY_KEYS,
            tenant_id=tenant_id,
            visitors=[key.removeprefix(VISITOR) for key in part if key.startswith(VISITOR)],
            clicks=[key.removeprefix(CLICK) for key in part if key.startswith(CLICK)],
            customers=[key for key in part if not is_device(key)],
            from_ms=earliest,
            to_ms=min(latest, ALWAYS),
        )
        found |= {name_of(lead_id) for (lead_id,) in rows}
    return found


def leads_between(events: EventsStore, tenant_id: str, earliest: Instant, latest: Instant, page: int = 50_000) -> Iterator[str]:
    """All of a tenant's leads of the time given, both ends inclusive, by name."""
    after = ""
    while rows := events.select(LEAD_IDS, tenant_id=tenant_id, from_ms=earliest, to_ms=latest, after=after, page=page):
        yield from (name_of(lead_id) for (lead_id,) in rows)
        after = rows[-1][0]


def _after_orders(scene: Scene, order_ids: Iterable[str]) -> set[str]:
    """Leads of the persons of these orders, from the first of the orders on."""
    keys: set[str] = set()
    first = ALWAYS
    for part in parts_of(one for one in order_ids if not is_lead(one)):
        rows = decode_orders(scene.events.select_bytes(ORDERS_BY_ID, tenant_id=scene.tenant_id, order_ids=part))
        keys |= {key for person in scene.people.persons_of(as_orders(rows)).values() if not person.cut for key in person.keys}
        first = min([first, *(row.occurred_at for row in rows)])
    return leads_carrying(scene, keys, first, ALWAYS) if keys else set()


def _after_touches(scene: Scene, people: People, news: News, lookback: Instant) -> Changed:
    """Leads that look back over a touch stored late; ``people`` are those of the touches' tenant."""
    ((newest,),) = scene.events.select(NEWEST_LEAD, tenant_id=scene.tenant_id)
    late = scene.events.select(LATE_TOUCHES_UNTIL, tenant_id=people.tenant_id, since_ms=news.since, to_ms=max(0, newest))
    return after_late_touches(scene, people, late, lookback, leads_carrying)


def _named(rows: Iterable[Sequence[str]]) -> Changed:
    return Changed(frozenset(name_of(lead_id) for (lead_id,) in rows))
