"""Who a sender says its customer is: identifiers, hashed under the merchant's key and its coalitions', status and attributes.

Pure, and the last place that sees an identifier as it was sent.
"""

import hashlib
import re
from collections.abc import Collection
from typing import cast, get_args

import msgspec

from core.clock import Instant
from core.events import Consent, CustomerStatus
from core.identity import KeyKind, customer_key, is_junk, is_sha256, shared_key
from tracker.fields import Fields
from tracker.links import Share

Identifier = tuple[KeyKind, str]
"""As it was sent. Never stored, never logged."""

ATTRIBUTES = ("account_type", "region", "age_group", "gender", "loyalty_tier", "lead_source")
"""Attributes that an order may name beside its other fields; all others stand in ``customer.attributes``."""
MOST_ATTRIBUTES = 16
ATTRIBUTE_CHARS = 64
OWN_FIELDS = frozenset(("store", "store_segment", "channel", "customer_status"))
"""What an order says in fields of its own. Segments ask for these by the same names."""

_STATUSES: tuple[str, ...] = get_args(CustomerStatus)
_KINDS: dict[str, KeyKind] = {
    "id": "customer_id",
    "email": "email",
    "email_sha256": "email_sha256",
    "phone": "phone",
    "phone_sha256": "phone_sha256",
    "loyalty_id": "loyalty_id",
    "device": "device",
    "card_token": "card_token",
}
_OF_PROGRAMS: frozenset[KeyKind] = frozenset(("device", "card_token"))
"""What programs note, and no customer gave: not kept where consent was denied."""
_SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_CARD_NUMBER = re.compile(r"\d(?:[ -]?\d){12,18}", re.ASCII)


class Customer(msgspec.Struct, frozen=True):
    """As sent. ``attributes`` are sorted by name."""

    identifiers: tuple[Identifier, ...] = ()
    status: CustomerStatus = ""
    attributes: tuple[tuple[str, str], ...] = ()


def read_customer(fields: Fields, has_attributes: bool = False) -> Customer:
    """Identifiers that name nobody are left out; attributes are taken where somebody keeps them."""
    identifiers = []
    for name, kind in _KINDS.items():
        value = fields.text(name)
        if value and not _is_nobody(kind, value) and _is_sound(fields, name, kind, value):
            identifiers.append((kind, value))
    status = fields.choice("status", _STATUSES, "")
    attributes = read_texts(fields.nested("attributes"), OWN_FIELDS, "the order") if has_attributes else {}
    fields.end()
    return Customer(tuple(identifiers), cast(CustomerStatus, status), tuple(sorted(attributes.items())))


def read_attributes(fields: Fields, customer: Customer) -> tuple[tuple[str, str], ...]:
    """The customer's attributes and those that the order itself names, sorted by name; none twice with two values."""
    found = dict(customer.attributes)
    for name in ATTRIBUTES:
        value = fields.text(name, ATTRIBUTE_CHARS)
        if value and found.setdefault(name, value) != value:
            fields.fault("malformed", name, f"{name} is {value!r} here and {found[name]!r} in customer.attributes")
    if len(found) > MOST_ATTRIBUTES:
        fields.fault("too_large", "customer", f"the order has {len(found)} attributes; at most {MOST_ATTRIBUTES} are taken")
    return tuple(sorted(found.items()))


def keys_of(identifiers: tuple[Identifier, ...], key: bytes, shares: tuple[Share, ...], at: Instant, consent: Consent) -> tuple[str, ...]:
    """The keys to be stored for one merchant: its own, and with consent those of the coalitions that it is in at ``at``.

    Args:
        key: the merchant's (:func:`core.identity.tenant_key`).
        shares: the merchant's coalitions.
    """
    kept = [one for one in identifiers if consent != "denied" or one[0] not in _OF_PROGRAMS]
    keys = [customer_key(kind, value, key) for kind, value in kept]
    if consent == "granted":
        active = [share for share in shares if share.active_at(at)]
        keys += [shared_key(kind, value, share.coalition_id, share.key) for share in active for kind, value in kept]
    return tuple(dict.fromkeys(one for one in keys if one is not None))


def read_texts(fields: Fields, own: Collection[str], whose: str) -> dict[str, str]:
    """Attributes: texts by name.

    Args:
        own: what ``whose`` (the order, the line) says in fields of its own.
    """
    names = fields.names()
    if len(names) > MOST_ATTRIBUTES:
        fields.fault("too_large", "", f"{fields.path} has {len(names)} entries; at most {MOST_ATTRIBUTES} are taken")
        return {}
    found = {}
    for name in names:
        if not _ATTRIBUTE.fullmatch(name):
            shape = "a-z first, then a-z, 0-9 and _, at most 32"
            fields.fault("malformed", name[:40], f"{fields.path} has the name {name[:40]!r}; names are {shape}")
        elif name in own:
            fields.fault("malformed", name, f"{fields.name_of(name)} would hide {whose}'s own; send it as that")
        elif value := fields.text(name, ATTRIBUTE_CHARS):
            found[name] = value
    return found


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
    if kind == "card_token" and _is_card_number(value):
        fields.fault("malformed", name, f"{full} is a card's number; send the payment provider's token for the card")
        return False
    return True


def _is_card_number(value: str) -> bool:
    """13 to 19 digits whose check digit is right (Luhn, ISO/IEC 7812): nobody should send these, and nothing here may see them."""
    if not _CARD_NUMBER.fullmatch(value):
        return False
    digits = [int(digit) for digit in re.sub(r"\D", "", value)][::-1]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_nobody(kind: KeyKind, value: str) -> bool:
    """What shops send for a guest, hashes of an empty text, phone numbers of zeros: all guests would be one person."""
    if is_junk(value):
        return True
    if kind == "phone":
        return set(re.findall(r"\d", value)) == {"0"}
    return kind in ("email_sha256", "phone_sha256") and value.lower() == _SHA256_OF_NOTHING
