"""Orders and touches as the events store gives them in bulk: one JSON array a line. Decoding only. Pure.

What many touches have in common (kind, programme, affiliate, link …) comes as one text, a facet, which is read once and remembered.
"""

from collections.abc import Iterable
from typing import Any, cast, get_args

import msgspec

from core.clock import Instant
from core.credit import TouchClass
from core.events import Channel, Claim, Consent, CustomerStatus, Line, Order, Source, TouchKind

SEPARATOR = "\x7f"
SEPARATORS = 7
"""So many divide the parts of one facet; more may stand in a link's code or an origin."""
FACETS = 100_000
"""So many facets are remembered; then the memory begins anew."""


class OrderRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An order as ``queries/orders_by_id.sql`` gives it. Its address and agent are not kept there."""

    order_id: str
    event_id: str
    visitor_id: str
    click_id: str
    customer_keys: tuple[str, ...]
    occurred_at: Instant
    received_at: Instant
    currency: str
    channel: Channel
    store_id: str
    customer_status: CustomerStatus
    coupons: tuple[str, ...]
    shipping_minor: int
    tax_minor: int
    total_minor: int
    test: bool
    source: Source
    country: str
    consent: str
    attribute_names: tuple[str, ...]
    attribute_texts: tuple[str, ...]
    affiliate_id: str
    claims: str
    marketplace_id: str
    basket_id: str
    line_ids: tuple[str, ...]
    nets: tuple[int, ...]
    skus: tuple[str, ...]
    names: tuple[str, ...]
    categories: tuple[str, ...]
    quantities: tuple[int, ...]
    brands: tuple[str, ...]
    kinds: tuple[str, ...]
    discounts: tuple[int, ...]
    line_attributes: tuple[dict[str, str], ...]


class VisitorRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A visitor's touches, in three lists of equal length; of a crowd of touches only how many ``found``."""

    visitor_id: str
    touch_ids: list[str]
    times: list[Instant]
    facets: list[str]
    found: int = 0


class TouchRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One touch."""

    touch_id: str
    occurred_at: Instant
    facet: str
    visitor_id: str


class Facet(msgspec.Struct, frozen=True, gc=False):
    """What a facet's text says."""

    touch_class: TouchClass
    programme_id: str
    affiliate_id: str
    link_code: str
    channel: str
    traffic_class: str
    consent: Consent
    origin: str


decode_orders = msgspec.json.Decoder(OrderRow).decode_lines
decode_visitors = msgspec.json.Decoder(VisitorRow).decode_lines
decode_touches = msgspec.json.Decoder(TouchRow).decode_lines
_decode_claims = msgspec.json.Decoder(tuple[Claim, ...]).decode

known_facets: dict[str, Facet] = {}
"""What :func:`facet_of` remembers, for loops that cannot afford a call."""
_CLASSES: frozenset[str] = frozenset(get_args(TouchKind))
_CONSENTS: frozenset[str] = frozenset(get_args(Consent))


def order_of(tenant_id: str, row: OrderRow) -> Order:
    """The order that a row holds."""
    return Order(
        row.event_id,
        tenant_id,
        row.order_id,
        row.currency,
        row.occurred_at,
        row.received_at,
        lines_of_order(row),
        row.channel,
        row.store_id,
        row.click_id,
        row.visitor_id,
        row.customer_keys,
        row.customer_status,
        row.coupons,
        row.shipping_minor,
        row.tax_minor,
        row.total_minor,
        row.test,
        row.source,
        "",
        "",
        cast(Consent, row.consent) if row.consent in _CONSENTS else "unknown",
        tuple(zip(row.attribute_names, row.attribute_texts, strict=True)),
        row.affiliate_id,
        claims_of(row.claims),
        row.marketplace_id,
        row.basket_id,
    )


def lines_of_order(row: OrderRow) -> tuple[Line, ...]:
    """The lines that a row holds, each with its attributes by name."""
    attributes = [tuple(sorted(texts.items())) if texts else () for texts in row.line_attributes]
    plain = row.line_ids, row.nets, row.skus, row.names, row.categories, row.quantities
    return tuple(map(Line, *plain, row.brands, row.kinds, row.discounts, attributes))


def claims_of(text: str) -> tuple[Claim, ...]:
    """An order's claims, as they are kept."""
    return _decode_claims(text) if text else ()


def facet_of(text: str) -> Facet:
    """What a facet says: ``kind, programme, affiliate, channel, class, consent, length of the link's code``, its code and the origin."""
    known = known_facets.get(text)
    if known is None:
        kind, programme_id, affiliate_id, channel, traffic_class, consent, length, rest = text.split(SEPARATOR, SEPARATORS)
        if len(known_facets) >= FACETS:
            known_facets.clear()
        known = known_facets[text] = Facet(
            cast(TouchClass, kind if kind in _CLASSES else "click"),
            programme_id,
            affiliate_id,
            rest[: int(length)],
            channel,
            traffic_class,
            cast(Consent, consent) if consent in _CONSENTS else "unknown",
            rest[int(length) :],
        )
    return known


def group_of(facet: str) -> tuple[TouchClass, bool]:
    """What a cap is counted by: the class, and whether a person made the touch."""
    found = facet_of(facet)
    return found.touch_class, found.traffic_class == "human"


def lines_of(rows: Iterable[Any]) -> bytes:
    """Rows as the store would have given them."""
    return msgspec.json.Encoder().encode_lines(rows)


def by_visitor(lines: bytes) -> dict[str, bytes]:
    """The lines of :class:`VisitorRow`, by visitor, undecoded."""
    found: dict[str, bytes] = {}
    for line in lines.splitlines():
        end = line.find(b'"', 2)
        name = line[2:end]
        found[_visitor_of(line) if b"\\" in name else name.decode()] = line
    return found


def _visitor_of(line: bytes) -> str:
    return msgspec.json.decode(line, type=VisitorRow).visitor_id
