"""The typed JSON of orders, refunds and leads, read into events. Amounts are decimals in quotes, in the order's currency.

``net`` is what a line earns on: after discounts, without tax and shipping, for all its units. An order's total is the sum
of its lines' nets, minus the order's discount, plus shipping and tax; the discount is spread over the lines. A line remembers what
both discounts took off it.
"""

from collections import Counter
from typing import Any

import msgspec

from core.errors import BadInput
from core.events import Lead, Line, Order, Refund, RefundLine
from core.money import LIMIT_MINOR, allocate, exponent, format_amount
from tracker.claims import read_claims
from tracker.conversion import (
    EXTERNAL_ID_CHARS,
    Arrival,
    Conversion,
    Refused,
    read_affiliate_id,
    read_channel,
    read_click_id,
    read_consent,
    read_times,
    read_visitor_id,
    seal,
)
from tracker.customer import keys_of, read_attributes, read_customer, read_texts
from tracker.fields import Fields

LINES = 500
COUPONS = 20
STORE_CHARS = 64
SELLER_CHARS = 64
QUANTITY = 1_000_000
KINDS = ("product", "gift_card")
LINE_FIELDS = frozenset(("sku", "name", "category", "brand", "kind", "price", "quantity", "discount"))
"""What rate cards ask of every item by these names: no attribute may take their place."""


def read_order(content: Any, arrival: Arrival) -> Conversion:
    """An order from parsed JSON.

    Raises:
        Refused: with every fault found.
    """
    faults: list[BadInput] = []
    fields = Fields(content, faults)
    order_id = fields.text("order_id", EXTERNAL_ID_CHARS, required=True)
    occurred_at, said_at = read_times(fields, arrival)
    currency = _currency(fields)
    consent, said_consent = read_consent(fields, arrival)
    customer = read_customer(fields.nested("customer"), has_attributes=True)
    attributes = read_attributes(fields, customer)
    channel, store = read_channel(fields), fields.text("store", STORE_CHARS)
    click_id, visitor_id = read_click_id(fields), read_visitor_id(fields, arrival, consent)
    affiliate_id, claims = read_affiliate_id(fields), read_claims(fields)
    coupons = tuple(dict.fromkeys(code.upper() for code in fields.texts("coupons", COUPONS, 64)))
    lines, sellers = _lines(fields, currency, arrival.tenant_id)
    lines = _discounted(fields, lines, fields.amount("discount", currency) or 0, currency)
    shipping, tax = fields.amount("shipping", currency) or 0, fields.amount("tax", currency) or 0
    total = _total(fields, lines, shipping + tax, currency)
    test = fields.flag("test")
    fields.end()
    if faults:
        raise Refused(faults)
    order = Order(
        event_id=arrival.event_id,
        tenant_id=arrival.tenant_id,
        order_id=order_id,
        currency=currency,
        occurred_at=occurred_at,
        received_at=arrival.received_at,
        lines=tuple(lines),
        channel=channel,
        store_id=store,
        click_id=click_id,
        visitor_id=visitor_id,
        customer_keys=keys_of(customer.identifiers, arrival.key, arrival.shares, occurred_at, consent),
        customer_status=customer.status,
        coupons=coupons,
        shipping_minor=shipping,
        tax_minor=tax,
        total_minor=total,
        test=test,
        source=arrival.source,
        ip=arrival.ip,
        user_agent=arrival.user_agent,
        consent=consent,
        attributes=attributes,
        affiliate_id=affiliate_id,
        claims=claims,
    )
    sealed = seal(order, said_at, said_consent, sellers)
    return msgspec.structs.replace(sealed, identifiers=customer.identifiers) if sealed.sellers else sealed


def read_refund(content: Any, arrival: Arrival) -> Conversion:
    """A refund from parsed JSON: by ``lines``, or ``net`` over the order, or neither for everything that is left.

    Raises:
        Refused: with every fault found.
    """
    faults: list[BadInput] = []
    fields = Fields(content, faults)
    order_id = fields.text("order_id", EXTERNAL_ID_CHARS, required=True)
    refund_id = fields.text("refund_id", EXTERNAL_ID_CHARS, required=True)
    occurred_at, said_at = read_times(fields, arrival)
    currency = _currency(fields)
    if fields.has("net") and fields.has("lines"):
        fields.fault("malformed", "net", "a refund has lines or a net, not both")
    by_line = fields.has("lines")
    lines, sellers = _refund_lines(fields, currency)
    if by_line and not lines and not faults:
        fields.fault("missing_field", "lines", "lines is empty; leave it out to take back everything that is left")
    net = _above_zero(fields, "net", fields.amount("net", currency))
    reason = fields.text("reason")
    fields.end()
    if faults:
        raise Refused(faults)
    refund = Refund(
        event_id=arrival.event_id,
        tenant_id=arrival.tenant_id,
        order_id=order_id,
        refund_id=refund_id,
        currency=currency,
        occurred_at=occurred_at,
        received_at=arrival.received_at,
        lines=tuple(lines),
        net_minor=net,
        reason=reason,
        source=arrival.source,
    )
    return seal(refund, said_at, sellers=sellers)


def read_lead(content: Any, arrival: Arrival) -> Conversion:
    """A lead from parsed JSON.

    Raises:
        Refused: with every fault found.
    """
    faults: list[BadInput] = []
    fields = Fields(content, faults)
    lead_id = fields.text("lead_id", EXTERNAL_ID_CHARS, required=True)
    name = fields.text("name") or "lead"
    occurred_at, said_at = read_times(fields, arrival)
    consent, _ = read_consent(fields, arrival)
    customer = read_customer(fields.nested("customer"))
    channel = read_channel(fields)
    click_id, visitor_id = read_click_id(fields), read_visitor_id(fields, arrival, consent)
    fields.end()
    if faults:
        raise Refused(faults)
    lead = Lead(
        event_id=arrival.event_id,
        tenant_id=arrival.tenant_id,
        lead_id=lead_id,
        name=name,
        occurred_at=occurred_at,
        received_at=arrival.received_at,
        click_id=click_id,
        visitor_id=visitor_id,
        customer_keys=keys_of(customer.identifiers, arrival.key, arrival.shares, occurred_at, consent),
        channel=channel,
        source=arrival.source,
        ip=arrival.ip,
        user_agent=arrival.user_agent,
    )
    return seal(lead, said_at)


def _currency(fields: Fields) -> str:
    """Empty where it is not usable: amounts cannot be read then."""
    currency = fields.text("currency", required=True).upper()
    if not currency:
        return ""
    try:
        exponent(currency)
    except BadInput as fault:
        fields.faults.append(fault)
        return ""
    return currency


def _lines(fields: Fields, currency: str, sender: str) -> tuple[list[Line], tuple[str, ...]]:
    """The lines, and whose each of them is: empty for the sender's own."""
    if not fields.has("lines"):
        fields.fault("missing_field", "lines", "lines is missing; an order has at least one")
        return [], ()
    found = fields.objects("lines", LINES)
    sellers = [line.text("seller", SELLER_CHARS) for line in found]
    lines = [_line(line, index, currency) for index, line in enumerate(found)]
    if not lines and not any(fault.field == "lines" for fault in fields.faults):
        fields.fault("missing_field", "lines", "lines is empty; an order has at least one")
    _refuse_twins(fields, [line.line_id for line in lines])
    return lines, tuple("" if seller == sender else seller for seller in sellers)


def _line(fields: Fields, index: int, currency: str) -> Line:
    """A line by ``net``, or by ``unit_price`` times ``quantity`` minus ``discount``."""
    line_id = fields.text("line_id", EXTERNAL_ID_CHARS) or str(index + 1)
    sku, name, category, brand = (fields.text(field) for field in ("sku", "name", "category", "brand"))
    kind = fields.choice("kind", KINDS, "product")
    attributes = read_texts(fields.nested("attributes"), LINE_FIELDS, "the line")
    quantity = fields.whole("quantity", 1, 1, QUANTITY)
    has_net, has_price = fields.has("net"), fields.has("unit_price") or fields.has("discount")
    net, price = fields.amount("net", currency), fields.amount("unit_price", currency, required=not has_net)
    discount = fields.amount("discount", currency) or 0
    if has_net and has_price:
        fields.fault("malformed", "net", f"{fields.name_of('net')} stands beside unit_price or discount: a line has one or the other")
    elif price is not None:
        net = price * quantity - discount
        if net < 0:
            fields.fault("malformed", "discount", f"{fields.name_of('discount')} is more than the line's price")
        if net > LIMIT_MINOR:
            fields.fault("too_large", "unit_price", f"{fields.name_of('unit_price')} times quantity is beyond the largest amount taken")
    fields.end()
    return Line(
        line_id=line_id,
        net_minor=max(net or 0, 0),
        sku=sku,
        name=name,
        category=category,
        quantity=quantity,
        brand=brand,
        kind="" if kind == "product" else kind,
        discount_minor=discount,
        attributes=tuple(sorted(attributes.items())),
    )


def _discounted(fields: Fields, lines: list[Line], discount: int, currency: str) -> list[Line]:
    """The order's discount spread over its lines by their nets, to the cent (:func:`core.money.allocate`)."""
    if not discount or fields.faults:
        return lines
    nets = [line.net_minor for line in lines]
    if discount > sum(nets):
        fields.fault("malformed", "discount", f"discount is more than the lines' sum, {format_amount(sum(nets), currency)}")
        return lines
    parts = allocate(discount, nets)
    return [
        msgspec.structs.replace(line, net_minor=line.net_minor - part, discount_minor=line.discount_minor + part)
        for line, part in zip(lines, parts, strict=True)
    ]


def _total(fields: Fields, lines: list[Line], more: int, currency: str) -> int:
    """The lines' sum plus shipping and tax; a total that was sent must say the same."""
    total = sum(line.net_minor for line in lines) + more
    sent = fields.amount("total", currency)
    if fields.faults:
        return total
    if total > LIMIT_MINOR:
        fields.fault("too_large", "total", "the order's total is beyond the largest amount taken")
    elif sent is not None and sent != total:
        said, is_ = format_amount(sent, currency), format_amount(total, currency)
        fields.fault("items_mismatch_total", "total", f"total is {said}, but lines - discount + shipping + tax is {is_}")
    return total


def _refund_lines(fields: Fields, currency: str) -> tuple[list[RefundLine], tuple[str, ...]]:
    """The lines, and whose each of them is, as it was said."""
    lines, sellers = [], []
    for line in fields.objects("lines", LINES):
        sellers.append(line.text("seller", SELLER_CHARS))
        line_id = line.text("line_id", EXTERNAL_ID_CHARS, required=True)
        net = _above_zero(line, "net", line.amount("net", currency, required=True))
        line.end()
        lines.append(RefundLine(line_id, net or 0))
    _refuse_twins(fields, [line.line_id for line in lines])
    return lines, tuple(sellers)


def _above_zero(fields: Fields, name: str, minor: int | None) -> int | None:
    if minor == 0:
        fields.fault("malformed", name, f"{fields.name_of(name)} is zero; a refund takes something back")
    return minor


def _refuse_twins(fields: Fields, line_ids: list[str]) -> None:
    for line_id in sorted(line_id for line_id, times in Counter(line_ids).items() if line_id and times > 1):
        fields.fault("malformed", "lines", f"two lines have the line_id {line_id!r:.40}")
