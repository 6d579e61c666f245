"""What a conversion says about its customer and its time, whichever way it came; and what makes two of them the same.

Pure: who sent it, when it arrived, the new event's id and the tenant's hashing key are arguments.
"""

import hashlib
import re
from typing import Literal, get_args

import msgspec

from core.clock import MINUTE, Instant, format_instant, parse_instant
from core.errors import BadInput, FairshareError
from core.events import CHANNELS, CustomerStatus, Lead, Order, Refund, Source, encode_event
from core.identity import KeyKind, customer_key, is_junk, is_sha256
from core.ids import is_event_id
from tracker.fields import Fields

Kind = Literal["order", "lead", "refund"]
ConversionEvent = Order | Lead | Refund

EXTERNAL_ID_CHARS = 128
CLICK_ID_CHARS = 255
EARLIEST = parse_instant("2000-01-01T00:00:00Z")

_STATUSES: tuple[str, ...] = get_args(CustomerStatus)
_KEYS: dict[str, KeyKind] = {
    "id": "customer_id",
    "email": "email",
    "email_sha256": "email_sha256",
    "phone": "phone",
    "phone_sha256": "phone_sha256",
    "loyalty_id": "loyalty_id",
}
_SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()


class Refused(FairshareError):
    """A conversion that cannot be recorded, with everything that is wrong with it."""

    def __init__(self, faults: list[BadInput]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


class Arrival(msgspec.Struct, frozen=True):
    """What the tracker knows before it reads a conversion. ``key`` is the tenant's (:func:`core.identity.tenant_key`)."""

    tenant_id: str
    key: bytes
    event_id: str
    received_at: Instant
    tolerance_ms: int
    source: Source = "api"
    visitor_id: str = ""
    ip: str = ""
    user_agent: str = ""


class Conversion(msgspec.Struct, frozen=True):
    """An event ready to be recorded. ``content_hash`` is equal for two that say the same, whenever and however sent."""

    kind: Kind
    external_id: str
    event: ConversionEvent
    content_hash: str


def seal(event: ConversionEvent, said_at: Instant | None) -> Conversion:
    """Give an event its names: the id that it is unique under, and the hash of what was said.

    The hash leaves out what differs between two sendings of the same: our id, when and from where it arrived. It covers
    the time that was said (``said_at``), not the one that was put in its place.
    """
    content: dict[str, object] = {"event_id": "", "received_at": 0, "occurred_at": said_at or 0, "source": "api"}
    if not isinstance(event, Refund):
        content |= {"ip": "", "user_agent": ""}
    plain = encode_event(msgspec.structs.replace(event, **content))
    return Conversion(kind_of(event), external_id_of(event), event, hashlib.sha256(plain).hexdigest())


def kind_of(event: ConversionEvent) -> Kind:
    return "order" if isinstance(event, Order) else "lead" if isinstance(event, Lead) else "refund"


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


def read_visitor_id(fields: Fields, arrival: Arrival) -> str:
    """The visitor cookie's value, sent along or, at a pixel, the browser's own."""
    visitor_id = fields.text("visitor_id")
    if visitor_id and not is_event_id(visitor_id):
        fields.fault("malformed", "visitor_id", f"{fields.name_of('visitor_id')} is not a value of the visitor cookie")
    return visitor_id or arrival.visitor_id


def read_channel(fields: Fields) -> str:
    return fields.choice("channel", CHANNELS, "web")


def read_customer(fields: Fields, key: bytes) -> tuple[tuple[str, ...], str]:
    """``(customer keys, status)``: identifiers hashed under the tenant's key, those that name nobody left out."""
    keys = []
    for name, kind in _KEYS.items():
        value = fields.text(name)
        if value and not _is_nobody(kind, value) and _is_sound(fields, name, kind, value):
            keys.append(customer_key(kind, value, key))
    status = fields.choice("status", _STATUSES, "")
    fields.end()
    return tuple(dict.fromkeys(key for key in keys if key is not None)), status


def warnings_of(event: ConversionEvent) -> list[str]:
    """What was recorded but will probably not help. Made from the event alone, so that a repeat is told the same."""
    click_id = "" if isinstance(event, Refund) else event.click_id
    if not click_id or is_event_id(click_id):
        return []
    return [f"click_id {click_id!r:.80} is none of our click ids: it was recorded, but no click will be found by it"]


def _is_sound(fields: Fields, name: str, kind: KeyKind, value: str) -> bool:
    full = fields.name_of(name)
    if kind in ("email_sha256", "phone_sha256") and not is_sha256(value):
        fields.fault("malformed", name, f"{full} is not a SHA-256 in 64 hex digits")
        return False
    if kind == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        fields.fault("malformed", name, f"{full} is not an e-mail address")
        return False
    if kind == "phone" and len(re.findall(r"\d", value)) < 5:
        fields.fault("malformed", name, f"{full} is not a phone number")
        return False
    return True


def _is_nobody(kind: KeyKind, value: str) -> bool:
    """What shops send for a guest, hashes of an empty text, phone numbers of zeros: all guests would be one person."""
    if is_junk(value):
        return True
    if kind == "phone":
        return set(re.findall(r"\d", value)) == {"0"}
    return kind in ("email_sha256", "phone_sha256") and value.lower() == _SHA256_OF_NOTHING
