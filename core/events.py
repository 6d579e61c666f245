"""What the tracker records: one immutable record per fact, written to the spool as one JSON line.

Times are :data:`core.clock.Instant` (milliseconds, UTC); amounts are minor units of ``currency``. ``occurred_at`` is when
it happened, ``received_at`` when the tracker heard of it. Empty text means "not given".
"""

from typing import Literal

import msgspec

from core.clock import Instant

Consent = Literal["granted", "denied", "unknown"]
Channel = Literal["web", "app", "pos", "call", "email", "marketplace"]
CustomerStatus = Literal["", "new", "returning", "lapsed"]
TouchKind = Literal["click", "impression", "soft_click", "scan", "call", "app_open", "paid", "direct"]
"""``paid`` is a visit that another marketing channel brought (search ads, the shop's own newsletter), ``direct`` one that nobody
brought. Neither has an affiliate; both are recorded so that nobody is paid for what they did not bring."""
Source = Literal["api", "postback", "pixel", "import"]

CHANNELS: tuple[Channel, ...] = ("web", "app", "pos", "call", "email", "marketplace")


class Touch(msgspec.Struct, frozen=True, tag_field="event", tag="touch", omit_defaults=True):
    """A contact with a shop's offer, of any channel. ``tenant_id`` is empty for an orphan: a code that no link has.

    A paid visit says who brought it: ``origin`` (``google``) and ``medium`` (``cpc``). ``customer_keys`` are what a touch away
    from a browser knows of its person: a caller's phone, a scanned loyalty card. ``source`` is empty for what the tracker saw itself.

    ``flags`` are facts the hot path saw (``head``, ``prefetch``, ``hidden_frame``, ``capped``, ``rate_limited``, ``deep_link_refused``,
    ``link_disabled``); the drain turns them, the user agent and the address into class, device and country.
    """

    event_id: str
    kind: TouchKind
    tenant_id: str
    programme_id: str
    affiliate_id: str
    link_code: str
    occurred_at: Instant
    received_at: Instant
    visitor_id: str = ""
    destination: str = ""
    subs: tuple[str, ...] = ()
    ip: str = ""
    user_agent: str = ""
    referrer: str = ""
    consent: Consent = "unknown"
    channel: Channel = "web"
    flags: tuple[str, ...] = ()
    origin: str = ""
    medium: str = ""
    customer_keys: tuple[str, ...] = ()
    source: Source | Literal[""] = ""


class Lead(msgspec.Struct, frozen=True, tag_field="event", tag="lead", omit_defaults=True):
    """A named step before an order (sign-up, trial). Joins a visitor or click to customer keys."""

    event_id: str
    tenant_id: str
    lead_id: str
    name: str
    occurred_at: Instant
    received_at: Instant
    click_id: str = ""
    visitor_id: str = ""
    customer_keys: tuple[str, ...] = ()
    channel: Channel = "web"
    source: Source = "api"
    ip: str = ""
    user_agent: str = ""


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an assistant's checkout says of the affiliate that led to it (Agentic Commerce Protocol, ``affiliate_attribution``).

    ``token`` is what we gave the assistant: a click id or a link's code. ``touchpoint`` is ``first`` or ``last``.
    """

    token: str
    affiliate_id: str = ""
    provider: str = ""
    touchpoint: str = ""
    issued_at: Instant = 0
    expires_at: Instant = 0


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One order line. ``net_minor`` is what it earns on: after discounts, without tax and shipping, for all units.

    ``discount_minor`` is what was taken off the list price before that. ``kind`` is ``gift_card``, or empty for a product.
    ``attributes`` are what the sender knows of the item, by name.
    """

    line_id: str
    net_minor: int
    sku: str = ""
    name: str = ""
    category: str = ""
    quantity: int = 1
    brand: str = ""
    kind: str = ""
    discount_minor: int = 0
    attributes: tuple[tuple[str, str], ...] = ()


class Order(msgspec.Struct, frozen=True, tag_field="event", tag="order", omit_defaults=True, gc=False):
    """A sale, from any channel. ``customer_keys`` are keyed hashes (:mod:`core.identity`), never raw addresses.

    ``attributes`` are what the sender knows of the customer and the order, by name: ``account_type``, ``region``, ``loyalty_tier`` …
    ``affiliate_id`` is given where the sender names the affiliate itself (a till, a call centre). An order that a marketplace
    passed on has its ``marketplace_id`` (the tenant that sent it) and that basket's ``basket_id``.
    """

    event_id: str
    tenant_id: str
    order_id: str
    currency: str
    occurred_at: Instant
    received_at: Instant
    lines: tuple[Line, ...]
    channel: Channel = "web"
    store_id: str = ""
    click_id: str = ""
    visitor_id: str = ""
    customer_keys: tuple[str, ...] = ()
    customer_status: CustomerStatus = ""
    coupons: tuple[str, ...] = ()
    shipping_minor: int = 0
    tax_minor: int = 0
    total_minor: int = 0
    test: bool = False
    source: Source = "api"
    ip: str = ""
    user_agent: str = ""
    consent: Consent = "unknown"
    attributes: tuple[tuple[str, str], ...] = ()
    affiliate_id: str = ""
    claims: tuple[Claim, ...] = ()
    marketplace_id: str = ""
    basket_id: str = ""


class RefundLine(msgspec.Struct, frozen=True, gc=False):
    """What is taken back of one line, in minor units net of tax; positive."""

    line_id: str
    net_minor: int


class Refund(msgspec.Struct, frozen=True, tag_field="event", tag="refund", omit_defaults=True, gc=False):
    """Money taken back from an order: by line, or ``net_minor`` over the order, or neither for all that remains."""

    event_id: str
    tenant_id: str
    order_id: str
    refund_id: str
    currency: str
    occurred_at: Instant
    received_at: Instant
    lines: tuple[RefundLine, ...] = ()
    net_minor: int | None = None
    reason: str = ""
    source: Source = "api"


Event = Touch | Lead | Order | Refund

encode_event = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode
