"""What an assistant's checkout says of the affiliate that led to it: ``affiliate_attribution`` of the Agentic Commerce Protocol.

Source: agentic-commerce-protocol, ``rfcs/rfc.affiliate_attribution.md``, and the ``touchpoint`` (first or last) added to it. A
merchant passes the object on as its checkout got it. Only what says whose the order is gets kept: ``campaign_id``, ``creative_id``,
``sub_id``, ``source`` and ``metadata`` are not looked at, nor whatever a newer version of the protocol adds, since an
assistant's claim must not stand in the way of an order.
"""

import re

from core.errors import BadInput
from core.events import Claim
from tracker.fields import Fields

CLAIMS = 10
TOKEN_CHARS = 1024
PUBLISHER_CHARS = 128

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def read_claims(fields: Fields) -> tuple[Claim, ...]:
    """The claims of one order, in the order they were sent, each once."""
    found = [_claim(one) for one in fields.one_or_more("affiliate_attribution", CLAIMS)]
    return tuple(dict.fromkeys(found))


def _claim(fields: Fields) -> Claim:
    claim = Claim(
        token=_text(fields, "token", TOKEN_CHARS),
        affiliate_id=_text(fields, "publisher_id", PUBLISHER_CHARS),
        provider=fields.text("provider", required=True),
        touchpoint=fields.choice("touchpoint", ("first", "last"), ""),
        issued_at=fields.instant("issued_at") or 0,
        expires_at=fields.instant("expires_at") or 0,
    )
    if not claim.token and not claim.affiliate_id and not any(_is_of(fault, fields) for fault in fields.faults):
        fields.fault(
            "missing_field", "token", f"{fields.name_of('token')} is missing, and so is publisher_id: one of them says whose it is"
        )
    return claim


def _is_of(fault: BadInput, fields: Fields) -> bool:
    return fault.field in (fields.name_of("token"), fields.name_of("publisher_id"))


def _text(fields: Fields, name: str, chars: int) -> str:
    value = fields.text(name, chars)
    if _ADDRESS.search(value):
        fields.fault("malformed", name, f"{fields.name_of(name)} holds an e-mail address; the protocol forbids what names a person here")
        return ""
    return value
