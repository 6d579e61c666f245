"""Touches that other tenants of a coalition share: found through the keys that both have. I/O: the events store.

Nothing of another tenant is read unless both were in one coalition when the order was placed, and nothing of it is told unless the
touch is of a class that the coalition shares, and was made with consent while both were in it, for an affiliate that works for both.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import msgspec

from attribution.candidates import foreign_candidate, latest
from attribution.identity import CLICK, VISITOR, Person
from attribution.lookups import Times, through_crowd, touches_by_id, visitors_lines
from attribution.people import People
from attribution.policy import Terms, longest_lookback
from attribution.touches import OrderRow, TouchRow, VisitorRow, decode_touches, decode_visitors, facet_of
from core.catalogue import Coalition
from core.clock import Instant
from core.credit import Candidate
from core.events import Order
from core.identity import SHARED_PREFIX
from store.events import EventsStore


class Fellows(msgspec.Struct, frozen=True):
    """The people of the tenants that share a coalition with one tenant, by tenant."""

    people: dict[str, People] = {}


class Stranger(msgspec.Struct, frozen=True, gc=False):
    """An order as another tenant's people may know it: by what a coalition shares, and by the ids that the browser carried."""

    order_id: str
    occurred_at: Instant
    customer_keys: tuple[str, ...]
    visitor_id: str
    click_id: str


def fellows_of(terms: Terms) -> set[str]:
    """The tenants that share or shared a coalition with this one."""
    return {member.tenant_id for coalition in terms.coalitions for member in coalition.members} - {terms.tenant_id}


def shared_by(terms: Terms, tenant_id: str, at: Instant) -> list[Coalition]:
    """The coalitions that both tenants were in at ``at``."""
    both = {terms.tenant_id, tenant_id}
    return [one for one in terms.coalitions if both <= {member.tenant_id for member in one.members if member.active_at(at)}]


def foreign_touches(
    events: EventsStore, terms: Terms, fellows: Fellows, rows: Sequence[OrderRow], persons: Mapping[str, Person]
) -> dict[str, tuple[Candidate, ...]]:
    """By order, the touches of other tenants that may be told to this one.

    Raises:
        Unavailable: the events store cannot answer.
    """
    found: dict[str, list[Candidate]] = {}
    for tenant_id, people in sorted(fellows.people.items()):
        strangers = list(_strangers(terms, tenant_id, rows, persons))
        if strangers:
            theirs = people.persons_of(cast("Sequence[Order]", strangers))
            for order_id, one in _of_tenant(events, terms, tenant_id, strangers, theirs):
                found.setdefault(order_id, []).append(one)
    named = {row.order_id: row.click_id for row in rows if row.order_id in found}
    return {order_id: tuple(latest(candidates, named[order_id])) for order_id, candidates in found.items()}


def _strangers(terms: Terms, tenant_id: str, rows: Iterable[OrderRow], persons: Mapping[str, Person]) -> Iterable[Stranger]:
    for row in rows:
        shared = shared_by(terms, tenant_id, row.occurred_at)
        if shared and row.consent != "denied":
            prefixes = tuple(f"{SHARED_PREFIX}{coalition.coalition_id}:" for coalition in shared)
            keys = tuple(sorted(key for key in persons[row.order_id].keys if key.startswith(prefixes)))
            yield Stranger(row.order_id, row.occurred_at, keys, row.visitor_id, row.click_id)


def _of_tenant(
    events: EventsStore, terms: Terms, tenant_id: str, strangers: Sequence[Stranger], persons: Mapping[str, Person]
) -> Iterable[tuple[str, Candidate]]:
    lookback = longest_lookback(terms)
    times: Times = {}
    clicks: set[str] = set()
    for one in strangers:
        for key in persons[one.order_id].keys:
            if key.startswith(VISITOR):
                low, high = times.get(key[2:], (one.occurred_at, 0))
                times[key[2:]] = max(0, min(low, one.occurred_at - lookback)), max(high, one.occurred_at)
            elif key.startswith(CLICK):
                clicks.add(key[2:])
    visitors = {row.visitor_id: row for row in decode_visitors(visitors_lines(events, tenant_id, times))}
    touches = decode_touches(touches_by_id(events, tenant_id, clicks))
    for one in strangers:
        person = persons[one.order_id]
        found = [touch for touch in touches if f"{CLICK}{touch.touch_id}" in person.keys]
        for key in person.keys:
            if key.startswith(VISITOR) and (row := visitors.get(key[2:])) is not None:
                spans = person.spans.get(key, ())
                for touch in _touches(events, tenant_id, row, one, lookback):
                    if not spans or any(start <= touch.occurred_at < end for start, end in spans):
                        found.append(touch)
        for touch in found:
            if one.occurred_at - lookback <= touch.occurred_at <= one.occurred_at and _may_be_told(terms, tenant_id, touch, one):
                yield one.order_id, foreign_candidate(touch, tenant_id)


def _touches(events: EventsStore, tenant_id: str, row: VisitorRow, order: Stranger, lookback: Instant) -> Iterable[TouchRow]:
    if not row.touch_ids and row.found:
        ((_, row),) = through_crowd(events, tenant_id, row.visitor_id, [order], lookback)
    return map(TouchRow, row.touch_ids, row.times, row.facets, [row.visitor_id] * len(row.touch_ids))


def _may_be_told(terms: Terms, tenant_id: str, touch: TouchRow, order: Stranger) -> bool:
    """Made with consent, for an affiliate that this tenant knows, while both tenants were in a coalition that shares such touches and
    that they are in at the order's time as well. Whom else a tenant works with, and its own advertising, is no business of the others.
    """
    facet, now = facet_of(touch.facet), shared_by(terms, tenant_id, order.occurred_at)
    if facet.consent != "granted" or not any(facet.affiliate_id in members for members in terms.memberships.values()):
        return False
    return any(one in now and facet.touch_class in one.classes for one in shared_by(terms, tenant_id, touch.occurred_at))
