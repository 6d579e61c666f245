"""Short ways to say what happened: touches, orders and leads of the cast, and the stores that hold them.

North is a web shop with two affiliates, Anna and Ben; South is another merchant, with Charlie. Ids hold their time, as
real ones do.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import delete

from attribution.people import People
from attribution.policy import Ruling, Terms, compiled, default_policy
from attribution.touches import OrderRow
from core.catalogue import Affiliate, Coalition, Coupon, Membership, Policy, Programme, RateCard, Rule, Tenant
from core.clock import DAY, Instant, parse_instant
from core.credit import Candidate, Decision
from core.events import Event, Lead, Line, Order, Touch, TouchKind
from core.ids import event_id
from store.books import Books
from store.catalogue import put
from store.events import EventsStore, Query
from store.schema import cursors
from tracker.enrich import TABLES, rows

NOON = parse_instant("2026-03-01T12:00:00Z")
"""When the orders of these tests are placed, unless they say otherwise."""
LONG_AGO = NOON - 400 * DAY
STORED = NOON + DAY
"""When the facts of these tests are stored, unless they say otherwise."""

PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


# --- facts -----------------------------------------------------------------------------------------------------------


def id_of(name: str, at: Instant) -> str:
    """The same name at the same time gives the same id."""
    return event_id(at, int.from_bytes(sha256(name.encode()).digest()[:10], "big"))


def click(name: str, affiliate: str, at: Instant, visitor: str = "", kind: TouchKind = "click", **more: Any) -> Touch:
    """A person's click on a link of north; ``name`` tells several apart."""
    fields: dict[str, Any] = {"tenant_id": "north", "programme_id": "main", "link_code": f"{affiliate}-link", "user_agent": PERSON}
    facts = {"event_id": id_of(name, at), "kind": kind, "affiliate_id": affiliate, "visitor_id": visitor}
    return Touch(**fields | facts | {"occurred_at": at, "received_at": at} | more)


def view(name: str, affiliate: str, at: Instant, visitor: str = "", **more: Any) -> Touch:
    """An ad view."""
    return click(name, affiliate, at, visitor, kind="impression", **more)


def order(order_id: str = "O-1", at: Instant = NOON, **more: Any) -> Order:
    """An order of 100.00 EUR at north."""
    fields: dict[str, Any] = {"tenant_id": "north", "currency": "EUR", "lines": (Line("1", 100_00, sku="shoe"),), "total_minor": 100_00}
    return Order(**fields | {"order_id": order_id, "event_id": id_of(order_id, at), "occurred_at": at, "received_at": at} | more)


def lead(lead_id: str, at: Instant, **more: Any) -> Lead:
    """A sign-up at north."""
    fields: dict[str, Any] = {"tenant_id": "north", "name": "sign-up"}
    return Lead(**fields | {"event_id": id_of(lead_id, at), "lead_id": lead_id, "occurred_at": at, "received_at": at} | more)


def candidate(touch_id: str, affiliate: str, at: Instant, touch_class: str = "click", **more: Any) -> Candidate:
    """A touch of north's programme, found by its visitor."""
    fields: dict[str, Any] = {"programme_id": "main", "matches": ("visitor",)}
    return Candidate(**fields | {"touch_id": touch_id, "touch_class": touch_class, "affiliate_id": affiliate, "occurred_at": at} | more)


# --- the catalogue ---------------------------------------------------------------------------------------------------


def member(
    affiliate: str, tenant: str = "north", since: Instant = LONG_AGO, until: Instant | None = None, software: bool = False
) -> Membership:
    """Approved at ``since``, suspended at ``until``."""
    status = "approved" if until is None else "suspended"
    return Membership(tenant, "main", affiliate, status, applied_at=since, approved_at=since, suspended_at=until, software=software)


def ruling(
    policy: Policy | None = None,
    members: Iterable[Membership] = (),
    coupons: Iterable[Coupon] = (),
    programme: Programme | None = None,
    coalitions: tuple[Coalition, ...] = (),
) -> Ruling:
    """What north decides by, the default policy where none is given."""
    terms = Terms(
        "north",
        memberships={"main": {one.affiliate_id: one for one in members}},
        coupons={one.code: one for one in coupons},
        coalitions=coalitions,
    )
    return compiled(terms, programme or Programme("north", "main", "", ""), policy or default_policy("north", "main"))


def put_all(books: Books, *records: Tenant | Affiliate | Coupon | Policy | Membership | Programme | Coalition | RateCard) -> None:
    with books.writing() as connection:
        for record in records:
            put(connection, record, "test", NOON)


def open_shops(books: Books) -> None:
    """North with Anna and Ben, South with Charlie, one programme each, no policy but the default."""
    cast = {"anna": "north", "ben": "north", "charlie": "south"}
    put_all(books, *(Tenant(tenant, tenant.title(), "EUR") for tenant in ("north", "south")))
    put_all(books, *(Programme(tenant, "main", "Main", f"https://{tenant}.example/") for tenant in ("north", "south")))
    put_all(books, *(Affiliate(name, name.title(), f"{name}@blog.example") for name in cast))
    put_all(books, *(member(name, tenant) for name, tenant in cast.items()))


def pays_for_leads(since: Instant = LONG_AGO, tenant: str = "north") -> RateCard:
    """5.00 for every lead from ``since`` on."""
    return RateCard(tenant, "main", 1, since, 14, rules=(Rule("sign-up", fixed_minor=500, per="lead", subject="lead"),))


# --- the stores ------------------------------------------------------------------------------------------------------


def store(events: EventsStore, happened: Iterable[Event], at: Instant = STORED) -> None:
    """Store facts as the drain does: links before orders, a block for each month, all stored at ``at``."""
    placed = [row for event in happened for row in rows(event, at, lambda _address: "")]
    for table in TABLES:
        months: dict[int, list[bytes]] = {}
        for one in placed:
            if one.table == table:
                months.setdefault(one.at // (28 * DAY), []).append(msgspec.json.encode(one.row))
        for lines in months.values():
            events.insert_json(table, b"\n".join(lines), sha256(b"\n".join(lines)).hexdigest())


def forget_all(events: EventsStore, books: Books) -> None:
    """Empty the events store and the cursors; the catalogue stays."""
    for table in ("touches", "orders", "leads", "identity_links", "decisions"):
        events.command(f"TRUNCATE TABLE {table}")
    with books.writing() as connection:
        connection.execute(delete(cursors))


IN_FORCE = Query(
    "in_force",
    "SELECT tenant_id, order_id, result, `credits.affiliate_id`, `credits.touch_id`, policy_version, "
    "order_number, toUnixTimestamp64Milli(first_ordered_at) AS first_ms, revision FROM decisions "
    "ORDER BY tenant_id, order_id, revision DESC LIMIT 1 BY tenant_id, order_id",
)


def decided(events: EventsStore) -> dict[str, tuple[str, str]]:
    """What is in force: order → (result, the credited affiliate)."""
    return {row[1]: (row[2], "".join(row[3])) for row in events.select(IN_FORCE)}


def decided_fully(events: EventsStore, tenant: str | None = None) -> list[Sequence[Any]]:
    """What is in force in full, except how often it was revised."""
    return [row[:-1] for row in events.select(IN_FORCE) if tenant in (None, row[0])]


def revisions(events: EventsStore) -> dict[str, int]:
    """The revision in force of each order."""
    return {row[1]: row[-1] for row in events.select(IN_FORCE)}


def line_of(placed: Order, country: str = "") -> bytes:
    """An order as the events store gives it in bulk."""
    lines = placed.lines
    row = OrderRow(
        *(placed.order_id, placed.event_id, placed.visitor_id, placed.click_id, placed.customer_keys, placed.occurred_at),
        *(placed.received_at, placed.currency, placed.channel, placed.store_id, placed.customer_status, placed.coupons),
        *(placed.shipping_minor, placed.tax_minor, placed.total_minor, placed.test, placed.source, country, placed.consent),
        *(tuple(name for name, _ in placed.attributes), tuple(text for _, text in placed.attributes), placed.affiliate_id),
        *(msgspec.json.encode(placed.claims).decode() if placed.claims else "", placed.marketplace_id, placed.basket_id),
        *(tuple(line.line_id for line in lines), tuple(line.net_minor for line in lines), tuple(line.sku for line in lines)),
        *(tuple(line.name for line in lines), tuple(line.category for line in lines), tuple(line.quantity for line in lines)),
        *(tuple(line.brand for line in lines), tuple(line.kind for line in lines), tuple(line.discount_minor for line in lines)),
        tuple(dict(line.attributes) for line in lines),
    )
    return msgspec.json.encode(row)


def people(events: EventsStore, tenant: str = "north") -> People:
    """Who is whom by what is stored now."""
    known = People(events, tenant)
    known.refresh()
    return known


def winner(decision: Decision) -> str | None:
    """The touch that earns."""
    return decision.credits[0].touch_id if decision.credits else None
