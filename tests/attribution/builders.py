"""Short ways to say what happened: touches, orders and leads of the cast, and the stores that hold them.

North is a web shop with two affiliates, Anna and Ben; South is another merchant. Ids hold their time, as real ones do.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

from core.catalogue import Affiliate, Coupon, Link, Membership, Policy, Programme, Tenant
from core.clock import DAY, HOUR, Instant, parse_instant
from core.events import Event, Lead, Line, Order, Touch, TouchKind
from core.ids import event_id
from store.books import Books
from store.catalogue import put
from store.events import EventsStore
from tracker.enrich import TABLES, rows

NOON = parse_instant("2026-03-01T12:00:00Z")
"""When the orders of these tests are placed, unless they say otherwise."""
LONG_AGO = NOON - 400 * DAY

PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def id_of(name: str, at: Instant) -> str:
    """The same name at the same time is the same id; of two names the higher does not follow."""
    return event_id(at, int.from_bytes(sha256(name.encode()).digest()[:10], "big"))


def click(name: str, affiliate: str, at: Instant, visitor: str = "", kind: TouchKind = "click", **more: Any) -> Touch:
    """A click; ``name`` tells several apart."""
    fields: dict[str, Any] = {"tenant_id": "north", "programme_id": "main", "link_code": f"{affiliate}-link", "user_agent": PERSON}
    return Touch(
        **fields
        | {
            "event_id": id_of(name, at),
            "kind": kind,
            "affiliate_id": affiliate,
            "occurred_at": at,
            "received_at": at,
            "visitor_id": visitor,
        }
        | more
    )


def view(name: str, affiliate: str, at: Instant, visitor: str = "", **more: Any) -> Touch:
    """An ad view."""
    return click(name, affiliate, at, visitor, kind="impression", **more)


def order(order_id: str = "O-1", at: Instant = NOON, **more: Any) -> Order:
    """An order of 100.00 EUR at north."""
    fields: dict[str, Any] = {"tenant_id": "north", "currency": "EUR", "lines": (Line("1", 100_00, sku="shoe"),), "total_minor": 100_00}
    return Order(**fields | {"order_id": order_id, "event_id": id_of(order_id, at), "occurred_at": at, "received_at": at} | more)


def lead(lead_id: str, at: Instant, **more: Any) -> Lead:
    fields: dict[str, Any] = {"tenant_id": "north", "name": "sign-up"}
    return Lead(**fields | {"event_id": id_of(lead_id, at), "lead_id": lead_id, "occurred_at": at, "received_at": at} | more)


def member(
    affiliate: str, tenant: str = "north", programme: str = "main", since: Instant = LONG_AGO, until: Instant | None = None
) -> Membership:
    status = "approved" if until is None else "suspended"
    return Membership(tenant, programme, affiliate, status, applied_at=since, approved_at=since, suspended_at=until)


def write_catalogue(books: Books, *more: Coupon | Policy | Membership | Programme | Link) -> None:
    """North with Anna and Ben, South with Charlie, one programme each; and whatever else is given."""
    cast = {"anna": "north", "ben": "north", "charlie": "south"}
    tenants = [Tenant(tenant, tenant.title(), "EUR") for tenant in ("north", "south")]
    programmes = [Programme(tenant, "main", "Main", f"https://{tenant}.example/") for tenant in ("north", "south")]
    affiliates = [Affiliate(name, name.title(), f"{name}@blog.example") for name in cast]
    with books.writing() as connection:
        for record in (*tenants, *programmes, *affiliates, *(member(name, tenant) for name, tenant in cast.items()), *more):
            put(connection, record, "test", NOON)


def change_catalogue(books: Books, *records: Coupon | Policy | Membership | Programme) -> None:
    with books.writing() as connection:
        for record in records:
            put(connection, record, "test", NOON)


def store(events: EventsStore, happened: Iterable[Event], at: Instant) -> None:
    """Store events as the drain does: rows by table, links before orders, everything stored at ``at``."""
    placed = [row for event in happened for row in rows(event, at, lambda _address: "")]
    for table in TABLES:
        lines = [msgspec.json.encode(one.row) for one in placed if one.table == table]
        if lines:
            events.insert_json(table, b"\n".join(lines), sha256(b"\n".join(lines)).hexdigest())


__all__ = ["CRAWLER", "DAY", "HOUR", "NOON", "PERSON"]
