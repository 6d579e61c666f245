"""What a sender is told about a recorded conversion. Made from the recorded event alone: a repeat gets the same bytes."""

from typing import Any
from urllib.parse import quote

from core.clock import format_instant
from core.events import Lead, Line, Order, Refund, Touch
from core.money import format_amount
from tracker.conversion import ReportedEvent, warnings_of


def confirm(events: tuple[ReportedEvent, ...], portal: str) -> dict[str, Any]:
    """The answer's content: the event's id, what was recorded, warnings, and where to ask who earned.

    Args:
        events: one, or the parts of a marketplace's basket, of which the sender may ask for its own alone.
        portal: the portal's public address, without a slash at its end.
    """
    event = events[0]
    is_basket = len(events) > 1 or _is_passed_on(event)
    own = None if isinstance(event, Lead | Touch) or _is_passed_on(event) else event
    return {
        "id": event.event_id,
        "recorded": _basket(events) if is_basket else _recorded(event),
        "warnings": warnings_of(event),
        "attribution": None if own is None else _attribution(own.order_id, portal),
    }


def _basket(events: tuple[ReportedEvent, ...]) -> dict[str, Any]:
    parts = [{"tenant": event.tenant_id, "id": event.event_id, **_recorded(event)} for event in events]
    return {"kind": parts[0]["kind"], "parts": parts}


def _is_passed_on(event: ReportedEvent) -> bool:
    return isinstance(event, Order) and event.marketplace_id != ""


def _attribution(order_id: str, portal: str) -> dict[str, str]:
    return {"status": "pending", "url": f"{portal}/v1/orders/{quote(order_id, safe='')}/attribution"}


def _recorded(event: ReportedEvent) -> dict[str, Any]:
    times = {"occurred_at": format_instant(event.occurred_at), "received_at": format_instant(event.received_at)}
    if isinstance(event, Touch):
        return {"kind": event.kind, **times, **_touch(event)}
    if isinstance(event, Order):
        return {"kind": "order", "order_id": event.order_id, **times, **_order(event)}
    if isinstance(event, Lead):
        return {
            "kind": "lead",
            "lead_id": event.lead_id,
            **times,
            "name": event.name,
            "channel": event.channel,
            "click_id": event.click_id,
            "visitor_id": event.visitor_id,
            "customer_keys": len(event.customer_keys),
        }
    assert isinstance(event, Refund), "nothing else is confirmed"
    lines = [{"line_id": line.line_id, "net": format_amount(line.net_minor, event.currency)} for line in event.lines]
    return {
        "kind": "refund",
        "order_id": event.order_id,
        "refund_id": event.refund_id,
        **times,
        "currency": event.currency,
        "lines": lines,
        "net": None if event.net_minor is None else format_amount(event.net_minor, event.currency),
        "everything_left": not lines and event.net_minor is None,
        "reason": event.reason,
    }


def _order(event: Order) -> dict[str, Any]:
    """Amounts after discounts, as they will earn; of customer keys only their number, since they are nobody's to read."""

    def amount(minor: int) -> str:
        return format_amount(minor, event.currency)

    return {
        "currency": event.currency,
        "lines": [_line(line, event.currency) for line in event.lines],
        "shipping": amount(event.shipping_minor),
        "tax": amount(event.tax_minor),
        "total": amount(event.total_minor),
        "channel": event.channel,
        "store": event.store_id,
        "click_id": event.click_id,
        "visitor_id": event.visitor_id,
        "customer_keys": len(event.customer_keys),
        "customer_status": event.customer_status,
        "coupons": list(event.coupons),
        "test": event.test,
        "consent": event.consent,
        "attributes": dict(event.attributes),
        "affiliate_id": event.affiliate_id,
        "claims": len(event.claims),
    }


def _line(line: Line, currency: str) -> dict[str, Any]:
    """What was not given is left out: an order of before is confirmed by the bytes of before."""
    given = {"brand": line.brand, "kind": line.kind, "attributes": dict(line.attributes)}
    if line.discount_minor:
        given["discount"] = format_amount(line.discount_minor, currency)
    net = {"line_id": line.line_id, "quantity": line.quantity, "net": format_amount(line.net_minor, currency)}
    return net | {name: value for name, value in given.items() if value}


def _touch(event: Touch) -> dict[str, Any]:
    return {
        "link": event.link_code,
        "programme_id": event.programme_id,
        "affiliate_id": event.affiliate_id,
        "channel": event.channel,
        "origin": event.origin,
        "medium": event.medium,
        "visitor_id": event.visitor_id,
        "customer_keys": len(event.customer_keys),
        "consent": event.consent,
    }
