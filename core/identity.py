"""Keys that join a person across channels: normalised, then hashed under the tenant's own key.

A plain SHA-256 of an e-mail falls to a dictionary; a keyed hash does not, and differs between tenants, so that two
merchants can never match their customers by accident.
"""

import hashlib
import hmac
import re
from typing import Literal

KeyKind = Literal["customer_id", "email", "email_sha256", "phone", "phone_sha256", "loyalty_id", "device", "card_token"]
_PREFIX: dict[KeyKind, str] = {
    "customer_id": "cid",
    "email": "em",
    "email_sha256": "em",
    "phone": "ph",
    "phone_sha256": "ph",
    "loyalty_id": "loy",
    "device": "dev",
    "card_token": "card",
}
SHARED: frozenset[KeyKind] = frozenset(("email", "email_sha256", "phone", "phone_sha256", "device", "card_token"))
"""What means the same person at every merchant. A customer's or a loyalty card's number is a merchant's own: many have a 1001."""
SHARED_PREFIX = "x:"
_JUNK = re.compile(r"[0\-\s.]*|-1|null|none|nil|undefined|anonymous|unknown|n/?a|guest|test", re.IGNORECASE)
_KEY = re.compile(r"(?:x:[^:]+:(?:em|ph|dev|card)|cid|em|ph|loy|dev|card):[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def tenant_key(installation_secret: bytes, tenant_id: str) -> bytes:
    """The tenant's hashing key, derived from the installation's secret: HMAC-SHA256, 32 bytes."""
    return hmac.digest(installation_secret, b"identity:" + tenant_id.encode(), hashlib.sha256)


def coalition_key(installation_secret: bytes, coalition_id: str) -> bytes:
    """The hashing key that a coalition's members have in common, derived as :func:`tenant_key` is: 32 bytes, and none of theirs."""
    return hmac.digest(installation_secret, b"coalition:" + coalition_id.encode(), hashlib.sha256)


def is_junk(value: str) -> bool:
    """Values that shops send for "nobody"; joined on, they would glue strangers together."""
    return _JUNK.fullmatch(value.strip()) is not None


def is_sha256(value: str) -> bool:
    """64 hex digits, as e-mail and phone hashes are exchanged in the trade; upper case is taken too."""
    return _SHA256.fullmatch(value.strip().lower()) is not None


def is_customer_key(text: str) -> bool:
    """Whether a text is a customer's key as it is stored, its own merchant's or a coalition's."""
    return _KEY.fullmatch(text) is not None


def customer_key(kind: KeyKind, value: str, key: bytes) -> str | None:
    """``em:3f2a…``: a customer's identifier as stored, or None where the value identifies nobody.

    E-mail and phone are normalised (trim, lower case; digits only) and SHA-256 hashed first, so that a raw value and
    its hash, sent by different channels, become the same key. A device's id is read in any letter case; a card's token is
    taken as it is. 128 bits of the keyed hash are kept.
    """
    if is_junk(value):
        return None
    digest = hmac.digest(key, f"{_PREFIX[kind]}:{_normal(kind, value)}".encode(), hashlib.sha256)
    return f"{_PREFIX[kind]}:{digest[:16].hex()}"


def shared_key(kind: KeyKind, value: str, coalition_id: str, key: bytes) -> str | None:
    """``x:market:em:3f2a…``: an identifier as all members of a coalition store it (``key`` of :func:`coalition_key`).

    None where the value identifies nobody, or not beyond its merchant (:data:`SHARED`).
    """
    own = customer_key(kind, value, key) if kind in SHARED else None
    return None if own is None else f"{SHARED_PREFIX}{coalition_id}:{own}"


def _normal(kind: KeyKind, value: str) -> str:
    text = value.strip()
    if kind == "email":
        return hashlib.sha256(text.lower().encode()).hexdigest()
    if kind == "phone":
        return hashlib.sha256(re.sub(r"\D", "", text).encode()).hexdigest()
    return text.lower() if kind in ("email_sha256", "phone_sha256", "device") else text
