"""From an event to rows of the events store: adds country, device, class, and the identity keys seen together.

Pure, given the country look-up. A row's fields are its table's columns, in the table's order; instants are written as
seconds with three decimals, as the store reads them.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from core.clock import Instant
from core.events import Claim, Consent, Event, Lead, Line, Order, Refund, RefundLine, Touch
from core.ids import is_event_id
from tracker.device import device_of
from tracker.traffic import WITHHELD, classify

CountryOf = Callable[[str], str]
"""An address to its ISO 3166-1 country code, empty where unknown."""

END_OF_TIME: Instant = 4_102_444_800_000
"""2100-01-01: beyond it the store's expiry arithmetic would wrap round, and nothing honest happens there."""

LARGEST_RECORD_BYTES = 1024 * 1024
"""Four times what a tracker accepts as one request. Whatever is larger is no event of ours, and is not even looked into."""

DETAIL_CHARS = 500

_REPORTED = ("api", "import")

_INT64 = 1 << 63
_UINT32 = 1 << 32


class _Touch(Touch, frozen=True, tag_field="event", tag="touch", forbid_unknown_fields=True, gc=False):
    """A touch, decoded strictly; likewise below. None of them can be part of a cycle."""


class _Lead(Lead, frozen=True, tag_field="event", tag="lead", forbid_unknown_fields=True, gc=False):
    pass


class _Line(Line, frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class _Claim(Claim, frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class _Order(Order, frozen=True, tag_field="event", tag="order", forbid_unknown_fields=True, kw_only=True, gc=False):
    lines: tuple[_Line, ...]
    claims: tuple[_Claim, ...] = ()


class _RefundLine(RefundLine, frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class _Refund(Refund, frozen=True, tag_field="event", tag="refund", forbid_unknown_fields=True, gc=False):
    lines: tuple[_RefundLine, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Touch | _Lead | _Order | _Refund).decode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises where bytes are no JSON of ours: malformed, no UTF-8, or nested a thousand deep."""


class Unusable(msgspec.Struct, frozen=True):
    """Why a record cannot become rows. ``reason`` is one of ``damaged``, ``undecodable``, ``unknown_field``, ``too_large``,
    ``out_of_range``, ``refused`` (by the store) and ``link_refused`` (the event is stored, one of its identity links is not)."""

    reason: str
    detail: str


class TouchRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The last columns are seldom given, and then left out: the store fills in the same."""

    tenant_id: str
    touch_id: str
    kind: str
    programme_id: str
    affiliate_id: str
    link_code: str
    visitor_id: str
    channel: str
    occurred_at: float
    received_at: float
    stored_at: float
    traffic_class: str
    class_reason: str
    list_version: str
    country: str
    device: str
    os: str
    browser: str
    destination: str
    subs: tuple[str, ...]
    ip: str
    user_agent: str
    referrer: str
    consent: str
    flags: tuple[str, ...]
    origin: str = ""
    medium: str = ""
    customer_keys: tuple[str, ...] = ()
    source: str = ""


class LeadRow(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str
    event_id: str
    lead_id: str
    name: str
    click_id: str
    visitor_id: str
    customer_keys: tuple[str, ...]
    channel: str
    source: str
    occurred_at: float
    received_at: float
    stored_at: float
    country: str


class OrderRow(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str
    order_id: str
    event_id: str
    currency: str
    channel: str
    store_id: str
    click_id: str
    visitor_id: str
    customer_keys: tuple[str, ...]
    customer_status: str
    coupons: tuple[str, ...]
    line_ids: list[str] = msgspec.field(name="lines.line_id")
    line_skus: list[str] = msgspec.field(name="lines.sku")
    line_names: list[str] = msgspec.field(name="lines.name")
    line_categories: list[str] = msgspec.field(name="lines.category")
    line_quantities: list[int] = msgspec.field(name="lines.quantity")
    line_net_minors: list[int] = msgspec.field(name="lines.net_minor")
    net_minor: int
    shipping_minor: int
    tax_minor: int
    total_minor: int
    test: bool
    source: str
    country: str
    occurred_at: float
    received_at: float
    stored_at: float
    consent: str
    attributes: dict[str, str]
    affiliate_id: str
    claims: str
    marketplace_id: str
    basket_id: str
    line_brands: list[str] = msgspec.field(name="lines.brand")
    line_kinds: list[str] = msgspec.field(name="lines.kind")
    line_discount_minors: list[int] = msgspec.field(name="lines.discount_minor")
    line_attributes: list[dict[str, str]] = msgspec.field(name="lines.attributes")


class RefundRow(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str
    order_id: str
    refund_id: str
    event_id: str
    currency: str
    line_ids: list[str] = msgspec.field(name="lines.line_id")
    line_net_minors: list[int] = msgspec.field(name="lines.net_minor")
    net_minor: int | None
    reason: str
    source: str
    occurred_at: float
    received_at: float
    stored_at: float


class LinkRow(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str
    key: str
    other_key: str
    event_id: str
    linked_at: float
    stored_at: float


class BadRow(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str
    spool_id: str
    segment: str
    position: int
    reason: str
    detail: str
    raw: str
    received_at: float
    stored_at: float


Row = TouchRow | LeadRow | OrderRow | RefundRow | LinkRow | BadRow

TABLES: dict[str, type[Row]] = {
    "touches": TouchRow,
    "identity_links": LinkRow,
    "leads": LeadRow,
    "orders": OrderRow,
    "refunds": RefundRow,
    "bad_rows": BadRow,
}
"""In the order of loading: an order's links are there before it, so that its first decision already sees them."""


class Placed(NamedTuple):
    """A row, its table, and the instant that chooses its month partition."""

    table: str
    at: Instant
    row: Row


def read_event(payload: bytes) -> Event | Unusable:
    """Decode one spool record, and refuse what the store would keep only in part.

    A field that this program does not know (a newer tracker wrote it) would be lost without a trace, and a number beyond
    its column would be stored as another number.
    """
    if len(payload) > LARGEST_RECORD_BYTES:
        return Unusable("too_large", f"{len(payload)} bytes, and {LARGEST_RECORD_BYTES} is the most that an event can have")
    try:
        event = _decode(payload)
    except msgspec.ValidationError as error:
        return Unusable("unknown_field" if "unknown field" in str(error) else "undecodable", str(error)[:DETAIL_CHARS])
    except UNREADABLE as error:
        return Unusable("undecodable", str(error)[:DETAIL_CHARS])
    too_large = _out_of_range(event)
    return Unusable("out_of_range", f"{too_large} is beyond what its column holds") if too_large else event


def rows(event: Event, stored_at: Instant, country_of: CountryOf) -> tuple[Placed, ...]:
    """All rows of one event. The first is the event itself; identity links follow."""
    if isinstance(event, Touch):
        links = _links(event, stored_at) if event.customer_keys else ()
        return Placed("touches", event.occurred_at, touch_row(event, stored_at, country_of)), *links
    if isinstance(event, Order):
        return Placed("orders", event.occurred_at, _order_row(event, stored_at / 1000, country_of)), *_links(event, stored_at)
    if isinstance(event, Lead):
        return Placed("leads", event.occurred_at, _lead_row(event, stored_at / 1000, country_of)), *_links(event, stored_at)
    assert isinstance(event, Refund), "an event is a touch, a lead, an order or a refund"
    return (Placed("refunds", event.occurred_at, _refund_row(event, stored_at / 1000)),)


def identity_keys(event: Touch | Lead | Order) -> tuple[str, ...]:
    """Every key that the event shows to be one person, each once: ``v:`` visitor, the customer's own, then the ``c:`` click.

    A touch is its own click: whoever has it is the person who has its customer keys. It comes last, so that it is a neighbour of one
    key alone (:mod:`attribution.graph` counts how many a key has).
    """
    click_id = event.event_id if isinstance(event, Touch) else event.click_id
    keys = (
        f"v:{event.visitor_id}" if event.visitor_id else "",
        *event.customer_keys,
        f"c:{click_id}" if is_event_id(click_id) else "",  # "{clickid}", left unexpanded, would join strangers
    )
    return tuple(dict.fromkeys(key for key in keys if key))


def touch_row(event: Touch, stored_at: Instant, country_of: CountryOf) -> TouchRow:
    """The one row of a touch."""
    traffic_class, reason, lists, device, os, browser = _seen(
        event.flags, event.user_agent, not event.tenant_id, event.consent, event.source
    )
    return TouchRow(
        event.tenant_id,
        event.event_id,
        event.kind,
        event.programme_id,
        event.affiliate_id,
        event.link_code,
        event.visitor_id,
        event.channel,
        event.occurred_at / 1000,
        event.received_at / 1000,
        stored_at / 1000,
        traffic_class,
        reason,
        lists,
        country_of(event.ip) if event.ip else "",
        device,
        os,
        browser,
        event.destination,
        event.subs,
        event.ip,
        event.user_agent,
        event.referrer,
        event.consent,
        event.flags,
        event.origin,
        event.medium,
        event.customer_keys,
        event.source,
    )


@lru_cache(65_536)
def _seen(flags: tuple[str, ...], user_agent: str, orphan: bool, consent: Consent, source: str) -> tuple[str, str, str, str, str, str]:
    """Class, reason, list version, device, os, browser: what depends on these alone."""
    # What a merchant reports (a call, a scan at the till) came with no browser.
    withheld = (WITHHELD,) if not user_agent and (consent == "denied" or source in _REPORTED) else ()
    verdict = classify((*flags, *(("orphan",) if orphan else ()), *withheld), user_agent)
    device = device_of(user_agent)
    return verdict.traffic_class, verdict.reason, verdict.list_version, device.kind, device.os, device.browser


def _lead_row(event: Lead, stored_at: float, country_of: CountryOf) -> LeadRow:
    return LeadRow(
        tenant_id=event.tenant_id,
        event_id=event.event_id,
        lead_id=event.lead_id,
        name=event.name,
        click_id=event.click_id,
        visitor_id=event.visitor_id,
        customer_keys=event.customer_keys,
        channel=event.channel,
        source=event.source,
        occurred_at=event.occurred_at / 1000,
        received_at=event.received_at / 1000,
        stored_at=stored_at,
        country=country_of(event.ip) if event.ip else "",
    )


def _order_row(event: Order, stored_at: float, country_of: CountryOf) -> OrderRow:
    lines = event.lines
    return OrderRow(
        tenant_id=event.tenant_id,
        order_id=event.order_id,
        event_id=event.event_id,
        currency=event.currency,
        channel=event.channel,
        store_id=event.store_id,
        click_id=event.click_id,
        visitor_id=event.visitor_id,
        customer_keys=event.customer_keys,
        customer_status=event.customer_status,
        coupons=tuple(dict.fromkeys(code.strip().upper() for code in event.coupons)),
        line_ids=[line.line_id for line in lines],
        line_skus=[line.sku for line in lines],
        line_names=[line.name for line in lines],
        line_categories=[line.category for line in lines],
        line_quantities=[line.quantity for line in lines],
        line_net_minors=[line.net_minor for line in lines],
        net_minor=sum(line.net_minor for line in lines),
        shipping_minor=event.shipping_minor,
        tax_minor=event.tax_minor,
        total_minor=event.total_minor,
        test=event.test,
        source=event.source,
        country=country_of(event.ip) if event.ip else "",
        occurred_at=event.occurred_at / 1000,
        received_at=event.received_at / 1000,
        stored_at=stored_at,
        consent=event.consent,
        attributes=dict(event.attributes),
        affiliate_id=event.affiliate_id,
        claims=_encode(event.claims).decode() if event.claims else "",
        marketplace_id=event.marketplace_id,
        basket_id=event.basket_id,
        line_brands=[line.brand for line in lines],
        line_kinds=[line.kind for line in lines],
        line_discount_minors=[line.discount_minor for line in lines],
        line_attributes=[dict(line.attributes) for line in lines],
    )


def _refund_row(event: Refund, stored_at: float) -> RefundRow:
    return RefundRow(
        tenant_id=event.tenant_id,
        order_id=event.order_id,
        refund_id=event.refund_id,
        event_id=event.event_id,
        currency=event.currency,
        line_ids=[line.line_id for line in event.lines],
        line_net_minors=[line.net_minor for line in event.lines],
        net_minor=event.net_minor,
        reason=event.reason,
        source=event.source,
        occurred_at=event.occurred_at / 1000,
        received_at=event.received_at / 1000,
        stored_at=stored_at,
    )


def _links(event: Touch | Lead | Order, stored_at: Instant) -> Iterator[Placed]:
    """A star from the first key to each other, both ways: as connected as all pairs, and linear in the keys."""
    first, *others = identity_keys(event) or ("",)
    for other in others:
        for key, other_key in ((first, other), (other, first)):
            row = LinkRow(event.tenant_id, key, other_key, event.event_id, event.occurred_at / 1000, stored_at / 1000)
            yield Placed("identity_links", event.occurred_at, row)


def _out_of_range(event: Event) -> str:
    """The name of the first number that its column cannot hold, or nothing."""
    if not (0 <= event.occurred_at < END_OF_TIME and 0 <= event.received_at < END_OF_TIME):
        return "occurred_at or received_at"
    if isinstance(event, Touch):
        return ""
    if isinstance(event, Order):
        if not all(0 <= line.quantity < _UINT32 for line in event.lines):
            return "lines.quantity"
        nets = [line.net_minor for line in event.lines]
        discounts = (line.discount_minor for line in event.lines)
        return _amount_out_of_range(*nets, sum(nets), *discounts, event.shipping_minor, event.tax_minor, event.total_minor)
    if isinstance(event, Refund):
        return _amount_out_of_range(*(line.net_minor for line in event.lines), event.net_minor or 0)
    return ""


def _amount_out_of_range(*amounts: int) -> str:
    return "" if all(-_INT64 <= amount < _INT64 for amount in amounts) else "an amount"
