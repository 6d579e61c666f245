"""What conditions ask, answered for an order: of its lines, of an affiliate and its touch, of the customer and the order. Pure.

Names and kinds are those of :mod:`core.conditions`. What is not known is empty or None. Amounts are minor units of the tenant's currency:
a foreign order's are converted at the order's rate, rounded down; without a rate they are unknown.
"""

from calendar import monthrange
from collections.abc import Callable, Container
from datetime import MAXYEAR, UTC, datetime
from fractions import Fraction
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from core.catalogue import Tenant
from core.clock import DAY, HOUR, Instant, as_datetime
from core.conditions import WEEKDAYS
from core.events import CustomerStatus, Line, Order
from payouts.exchange import convert
from payouts.matching import Value
from payouts.setting import Contact, Partner, Setting

Worth = Callable[[int], int | None]
"""Minor units of the order's currency in the tenant's; None: there is no rate."""


def worth_in(order: Order, setting: Setting, tenant: Tenant) -> Worth:
    """How amounts of an order are compared with those of a rate card."""
    if order.currency == tenant.currency:
        return _itself
    rate = setting.rate_to(tenant.currency)
    return _unknown if rate is None else lambda minor: convert(minor, rate, "down")


def _itself(minor: int) -> int:
    return minor


def _unknown(_minor: int) -> None:
    return None


def item_values(line: Line, worth: Worth = _itself, asked: Container[str] | None = None) -> dict[str, Value]:
    """Of one line. The price is what one unit was sold for, net, rounded down to a minor unit; the discount is exact.

    ``asked``: names that anybody asks for; a discount is left out where nobody does. None: everything.
    """
    values: dict[str, Value] = {f"item.{name}": text for name, text in line.attributes} if line.attributes else {}
    values["item.sku"] = line.sku
    values["item.name"] = line.name
    values["item.category"] = line.category
    values["item.brand"] = line.brand
    values["item.kind"] = line.kind or "product"
    values["item.price"] = worth(line.net_minor // line.quantity if line.quantity > 1 else line.net_minor)
    values["item.quantity"] = line.quantity
    if asked is None or "item.discount" in asked:
        values["item.discount"] = _discount(line) if line.discount_minor else 0
    return values


def affiliate_values(partner: Partner, contact: Contact | None, at: Instant, asked: Container[str] | None = None) -> dict[str, Value]:
    """Of an affiliate and of the touch that it is credited for, at the time ``at`` of what is paid for. Days and hours are whole.

    ``asked``: names that anybody asks for; a referrer is left out where nobody does. None: everything.
    """
    values: dict[str, Value] = {
        "affiliate.id": partner.affiliate_id,
        "affiliate.group": partner.group,
        "affiliate.days": max(0, at - partner.approved_at) // DAY if partner.approved_at else None,
    }
    if contact is None:
        return values
    values["touch.class"] = contact.touch_class
    values["touch.country"] = contact.country
    values["touch.device"] = contact.device
    values["touch.channel"] = contact.channel
    values["touch.link"] = contact.link_code
    values["touch.hours"] = max(0, at - contact.occurred_at) // HOUR
    if asked is None or "touch.referrer" in asked:
        values["touch.referrer"] = _host(contact.referrer)
    for number, text in enumerate(contact.subs[:5], 1):
        values[f"touch.sub{number}"] = text
    return values


def order_values(
    order: Order,
    setting: Setting,
    tenant: Tenant,
    status: CustomerStatus = "",
    segments: tuple[str, ...] = (),
    asked: Container[str] | None = None,
) -> dict[str, Value]:
    """Of the customer and the order as it was sold: refunds change no rule's fitting.

    Args:
        status, segments: what the decision took the customer and the order for.
        asked: names that anybody asks for; what takes a calendar is left out where nobody does. None: everything.

    The value is the net of all lines. A country that was sent as an attribute wins; no other attribute takes the place of what is named
    in :mod:`core.conditions`. The weekday and the customer's months are those of the tenant's time zone, as it was frozen with the order.
    """
    sent = dict(order.attributes) if order.attributes else {}
    values: dict[str, Value] = {f"order.{name}": text for name, text in order.attributes} if sent else {}
    values["customer.status"] = status
    values["customer.segments"] = segments
    values["customer.country"] = sent.get("country") or setting.country
    values["customer.orders"] = setting.order_number or None
    values["order.value"] = worth_in(order, setting, tenant)(sum([max(0, line.net_minor) for line in order.lines]))
    values["order.channel"] = order.channel
    values["order.store"] = order.store_id
    values["order.store_segment"] = setting.store_segment
    values["order.currency"] = order.currency
    values["order.coupons"] = order.coupons
    values["order.coupon_classes"] = setting.coupon_classes
    if asked is None or "customer.months" in asked:
        values["customer.months"] = _months_of_customer(order, setting, ZoneInfo(setting.time_zone or tenant.time_zone))
    if asked is None or "order.weekday" in asked:
        values["order.weekday"] = WEEKDAYS[_local(order.occurred_at, ZoneInfo(setting.time_zone or tenant.time_zone)).weekday()]
    return values


def lead_values(lead: Order) -> dict[str, Value]:
    """Of a lead, in the form of an order with one line."""
    return {"lead.name": lead.lines[0].name}


def months_between(first: Instant, at: Instant, zone: ZoneInfo) -> int:
    """Whole months by the calendar and the clock of ``zone``: from 31 January 10:00 the first is over on the last of February, 10:00."""
    began, now = _local(first, zone), _local(at, zone)
    months = (now.year - began.year) * 12 + now.month - began.month + 1  # one more, should the clock be put back over a month's end
    while months > 0 and _anniversary(began, months) > as_datetime(at):
        months -= 1
    return max(0, months)


def _anniversary(began: datetime, months: int) -> datetime:
    year, month = divmod(began.year * 12 + began.month - 1 + months, 12)
    if year > MAXYEAR:
        return datetime.max.replace(tzinfo=UTC)
    day = min(began.day, monthrange(year, month + 1)[1])
    return began.replace(year=year, month=month + 1, day=day, fold=0).astimezone(UTC)


def _months_of_customer(order: Order, setting: Setting, zone: ZoneInfo) -> int | None:
    if setting.order_number == 1:
        return 0
    return months_between(setting.first_ordered_at, order.occurred_at, zone) if setting.first_ordered_at else None


def _local(at: Instant, zone: ZoneInfo) -> datetime:
    return as_datetime(at).astimezone(zone)


def _discount(line: Line) -> Fraction:
    """In percent of the price before it."""
    listed = line.net_minor + line.discount_minor
    return Fraction(100 * line.discount_minor, listed) if listed > 0 else Fraction(0)


def _host(referrer: str) -> str:
    """Of an address, without its port; a bare host stays as it is."""
    if "/" not in referrer and ":" not in referrer:
        return referrer
    try:
        return urlsplit(referrer if "//" in referrer else f"//{referrer}").hostname or ""
    except ValueError:
        return ""
