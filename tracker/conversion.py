"""What a conversion says about its customer and its time, whichever way it came; and what makes two of them the same.

Pure: who sent it, when it arrived, the new event's id and the tenant's hashing key are arguments.
"""

import hashlib
from typing import Literal, cast, get_args

import msgspec

from core.clock import MINUTE, Instant, format_instant, parse_instant
from core.errors import BadInput, FairshareError
from core.events import CHANNELS, Channel, Consent, Lead, Line, Order, Refund, Source, Touch, encode_event
from core.identity import SHARED_PREFIX
from core.ids import is_event_id, is_slug
from tracker.customer import Identifier
from tracker.fields import Fields
from tracker.links import Share

Kind = Literal["order", "lead", "refund", "touch"]
ConversionEvent = Order | Lead | Refund
ReportedEvent = ConversionEvent | Touch

EXTERNAL_ID_CHARS = 128
CLICK_ID_CHARS = 255
EARLIEST = parse_instant("2000-01-01T00:00:00Z")

ITEMS_MARK = b"items:"
"""Leads the content of orders by which repeats are known, since lines say more than sku, name, category and quantity."""

_CONSENTS: tuple[str, ...] = get_args(Consent)


class Refused(FairshareError):
    """A conversion that cannot be recorded, with everything that is wrong with it."""

    def __init__(self, faults: list[BadInput]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


class Arrival(msgspec.Struct, frozen=True):
    """What the tracker knows before it reads a conversion. ``key`` and ``shares`` are the tenant's (:class:`tracker.links.TenantEntry`).

    ``consent`` is what the browser says of itself, where one is asking.
    """

    tenant_id: str
    key: bytes
    event_id: str
    received_at: Instant
    tolerance_ms: int
    source: Source = "api"
    visitor_id: str = ""
    ip: str = ""
    user_agent: str = ""
    consent: Consent = "unknown"
    shares: tuple[Share, ...] = ()


class Conversion(msgspec.Struct, frozen=True):
    """An event ready to be recorded. ``content_hash`` is equal for two that say the same, whenever and however sent.

    ``former_hash`` is what an earlier version made of an order, which knew no more of a line than sku, name, category and quantity:
    receipts of that time hold it.

    ``sellers`` are whose each line is, where a marketplace said so of any (empty: its own), and ``identifiers`` what each of
    these merchants hashes under its own key. ``parts`` are what is recorded in place of ``event``, where it was divided
    (:mod:`tracker.basket`).
    """

    kind: Kind
    external_id: str
    event: ReportedEvent
    content_hash: str
    sellers: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    parts: tuple["Conversion", ...] = ()
    former_hash: str = ""

    def says(self, body_hash: str) -> bool:
        """Is a receipt's content this one? Compared by what was known when the receipt was made."""
        return body_hash in (self.content_hash, self.former_hash)


def seal(
    event: ReportedEvent, said_at: Instant | None, said_consent: Consent = "unknown", sellers: tuple[str, ...] = (), external_id: str = ""
) -> Conversion:
    """Give an event its names: the id that it is unique under, and the hash of what was said.

    The hash leaves out what differs between two sendings of the same: our id, when and from where it arrived, and the keys
    that are only there because of a coalition. It covers the time and the consent that were said, not those put in their place.

    Args:
        external_id: of a touch, which does not hold its sender's id.
    """
    content: dict[str, object] = {"event_id": "", "received_at": 0, "occurred_at": said_at or 0, "source": "api"}
    if not isinstance(event, Refund):
        own = tuple(key for key in event.customer_keys if not key.startswith(SHARED_PREFIX))
        content |= {"ip": "", "user_agent": "", "customer_keys": own}
    if isinstance(event, Order | Touch):
        content["consent"] = said_consent
    said = msgspec.structs.replace(event, **content)
    tail = msgspec.json.encode(sellers) if any(sellers) else b""
    plain, former_hash = encode_event(said) + tail, ""
    if isinstance(event, Order):
        # Discounts were folded into the nets before: without the mark nobody could tell which of both forms a receipt holds.
        former_hash = _sha256(encode_event(msgspec.structs.replace(said, lines=_former_lines(event))) + tail)
        plain = ITEMS_MARK + plain
    name = external_id if isinstance(event, Touch) else external_id_of(event)
    return Conversion(kind_of(event), name, event, _sha256(plain), sellers if any(sellers) else (), former_hash=former_hash)


def _former_lines(order: Order) -> tuple[Line, ...]:
    """The lines as far as an earlier version took them: of a postback's or pixel's not even the sku."""
    if order.source in ("postback", "pixel"):
        return tuple(Line(line.line_id, line.net_minor) for line in order.lines)
    return tuple(Line(line.line_id, line.net_minor, line.sku, line.name, line.category, line.quantity) for line in order.lines)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kind_of(event: ReportedEvent) -> Kind:
    return "order" if isinstance(event, Order) else "lead" if isinstance(event, Lead) else "touch" if isinstance(event, Touch) else "refund"


def external_id_of(event: ConversionEvent) -> str:
    """The sender's own id of the event, within its tenant and kind; at most :data:`EXTERNAL_ID_CHARS` characters."""
    if isinstance(event, Order):
        return event.order_id
    if isinstance(event, Lead):
        return event.lead_id
    joined = f"{event.order_id}/{event.refund_id}"
    if joined.count("/") == 1 and len(joined) <= EXTERNAL_ID_CHARS:
        return joined
    return "sha256:" + hashlib.sha256(msgspec.json.encode([event.order_id, event.refund_id])).hexdigest()


def read_times(fields: Fields, arrival: Arrival) -> tuple[Instant, Instant | None]:
    """``(occurred_at, what was said)``: now where nothing was said, and now where a sender's clock is a little ahead."""
    said = fields.instant("occurred_at")
    name = fields.name_of("occurred_at")
    if said is None:
        return arrival.received_at, None
    if said > arrival.received_at + arrival.tolerance_ms:
        minutes = arrival.tolerance_ms // MINUTE
        now = format_instant(arrival.received_at)
        fields.fault("future_event", "occurred_at", f"{name} is more than {minutes} minutes after the tracker's time, {now}")
    if said < EARLIEST:
        fields.fault("malformed", "occurred_at", f"{name} is before the year 2000")
    return min(said, arrival.received_at), said


def read_click_id(fields: Fields) -> str:
    """Any text: one that is not of our shape is recorded too, and answered with a warning."""
    return fields.text("click_id", CLICK_ID_CHARS)


def read_visitor_id(fields: Fields, arrival: Arrival, consent: Consent) -> str:
    """The visitor cookie's value, sent along or, at a pixel, the browser's own; nobody's where consent was denied."""
    visitor_id = fields.text("visitor_id")
    if visitor_id and not is_event_id(visitor_id):
        fields.fault("malformed", "visitor_id", f"{fields.name_of('visitor_id')} is not a value of the visitor cookie")
    return "" if consent == "denied" else visitor_id or arrival.visitor_id


def read_affiliate_id(fields: Fields) -> str:
    """Whether that affiliate may earn is for attribution to say: it knows who was a member when."""
    affiliate_id = fields.text("affiliate_id")
    if affiliate_id and not is_slug(affiliate_id):
        fields.fault(
            "malformed", "affiliate_id", f"{fields.name_of('affiliate_id')} {affiliate_id!r:.40} is not an affiliate's id: a-z, 0-9 and -"
        )
    return affiliate_id


def read_channel(fields: Fields, default: Channel = "web") -> Channel:
    return cast(Channel, fields.choice("channel", CHANNELS, default))


def read_consent(fields: Fields, arrival: Arrival) -> tuple[Consent, Consent]:
    """``(consent, what was said)``: what the browser itself denied, nobody grants in its name."""
    said = cast(Consent, fields.choice("consent", _CONSENTS, "unknown"))
    return ("denied" if arrival.consent == "denied" else said), said


def warnings_of(event: ReportedEvent) -> list[str]:
    """What was recorded but will probably not help. Made from the event alone, so that a repeat is told the same."""
    click_id = event.click_id if isinstance(event, Order | Lead) else ""
    if not click_id or is_event_id(click_id):
        return []
    return [f"click_id {click_id!r:.80} is none of our click ids: it was recorded, but no click will be found by it"]
