"""Touches that a merchant reports, because no visitor passed the tracker: a call, a scan at the till, an app that was opened.

Typed JSON, one touch or a list of them, under an id of the sender's. The affiliate is named by a link of the merchant's, or by its
id with the programme's; paid and direct visits have none.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import msgspec

from core.clock import Instant
from core.errors import BadInput
from core.events import Channel, Touch, TouchKind
from tracker.click import CODE_CHARS, SUB_CHARS, SUBS
from tracker.conversion import (
    EXTERNAL_ID_CHARS,
    Arrival,
    Conversion,
    Refused,
    read_affiliate_id,
    read_channel,
    read_consent,
    read_times,
    read_visitor_id,
    seal,
)
from tracker.customer import keys_of, read_customer
from tracker.fields import Fields
from tracker.links import LinkTable

TOUCHES = 500
ORIGIN_CHARS, MEDIUM_CHARS = 64, 32
PROGRAMME_CHARS = 64

_CHANNELS: dict[TouchKind, Channel] = {"call": "call", "app_open": "app", "scan": "pos"}
"""Where a touch of a kind is usually made; all others on the web."""
_KINDS = ("click", "soft_click", "impression", "scan", "call", "app_open", "paid", "direct")
_NOBODYS = ("paid", "direct")


def read_touches(content: Any, arrival: Arrival, table: LinkTable, mint: Callable[[Instant], str]) -> list[Conversion]:
    """The touches of a body, each with an event id of its own.

    Raises:
        Refused: with every fault found, of all of them together.
    """
    faults: list[BadInput] = []
    rows = content if isinstance(content, list) else [content]
    if not rows:
        faults.append(BadInput("missing_field", "the list is empty; it has at least one touch"))
    if len(rows) > TOUCHES:
        raise Refused([BadInput("too_large", f"the list has {len(rows)} touches; at most {TOUCHES} are taken at once")])
    touches = []
    for index, row in enumerate(rows):
        path = f"[{index}]" if isinstance(content, list) else ""
        own = msgspec.structs.replace(arrival, event_id=mint(arrival.received_at))
        touches.append(_touch(Fields(row, faults, path), own, table))
    for twin, times in Counter(touch.external_id for touch in touches).items():
        if twin and times > 1:
            faults.append(BadInput("malformed", f"{times} touches of the list have the touch_id {twin!r:.40}", "touch_id"))
    if faults:
        raise Refused(faults)
    return touches


def _touch(fields: Fields, arrival: Arrival, table: LinkTable) -> Conversion:
    touch_id = fields.text("touch_id", EXTERNAL_ID_CHARS, required=True)
    if not (kind := fields.text("kind", required=True)) or kind not in _KINDS:
        if kind:
            fields.fault("malformed", "kind", f"{fields.name_of('kind')} {kind!r:.40} is none of {', '.join(_KINDS)}")
        kind = "click"
    occurred_at, said_at = read_times(fields, arrival)
    consent, said_consent = read_consent(fields, arrival)
    code, programme_id, affiliate_id, flags = ("", "", "", ()) if kind in _NOBODYS else _affiliate(fields, arrival.tenant_id, table)
    origin, medium = _origin(fields) if kind == "paid" else ("", "")
    subs = tuple(fields.text(name, SUB_CHARS) for name in SUBS)
    link = table.links.get(code) if code else None
    usual = _CHANNELS.get(cast(TouchKind, kind)) or (link.channel if link else "web")
    visitor_id = read_visitor_id(fields, arrival, consent)
    customer = read_customer(fields.nested("customer"))
    keys = () if consent == "denied" else keys_of(customer.identifiers, arrival.key, arrival.shares, occurred_at, consent)
    touch = Touch(
        event_id=arrival.event_id,
        kind=cast(TouchKind, kind),
        tenant_id=arrival.tenant_id,
        programme_id=programme_id,
        affiliate_id=affiliate_id,
        link_code=code,
        occurred_at=occurred_at,
        received_at=arrival.received_at,
        visitor_id=visitor_id,
        subs=subs if any(subs) else (),
        consent=consent,
        channel=read_channel(fields, usual),
        flags=flags,
        origin=origin,
        medium=medium,
        customer_keys=keys,
        source="api",
    )
    fields.end()
    return seal(touch, said_at, said_consent, external_id=touch_id)


def _affiliate(fields: Fields, tenant_id: str, table: LinkTable) -> tuple[str, str, str, tuple[str, ...]]:
    """``(code, programme, affiliate, flags)``: by a link of the tenant's, or by both ids. A foreign link is an unknown one."""
    code = fields.text("link", CODE_CHARS)
    programme_id = fields.text("programme_id", PROGRAMME_CHARS, required=not code)
    affiliate_id = read_affiliate_id(fields)
    if not code:
        if not affiliate_id and not any(fault.field == fields.name_of("affiliate_id") for fault in fields.faults):
            fields.fault("missing_field", "affiliate_id", f"{fields.name_of('affiliate_id')} is missing, and so is link")
        if programme_id and (tenant_id, programme_id) not in table.programmes:
            fields.fault("unknown_programme", "programme_id", f"{fields.name_of('programme_id')} {programme_id!r:.70} is none of yours")
        return "", programme_id, affiliate_id, ()
    link = table.links.get(code)
    if link is None or link.programme.tenant.tenant_id != tenant_id:
        fields.fault("unknown_link", "link", f"{fields.name_of('link')} {code!r:.70} is none of yours")
        return "", "", "", ()
    for name, said, known in (
        ("programme_id", programme_id, link.programme.programme_id),
        ("affiliate_id", affiliate_id, link.affiliate_id),
    ):
        if said not in ("", known):
            fields.fault("malformed", name, f"{fields.name_of(name)} is {said!r:.70}, and the link's is {known!r}")
    return code, link.programme.programme_id, link.affiliate_id, ("link_disabled",) if link.disabled else ()


def _origin(fields: Fields) -> tuple[str, str]:
    return fields.text("origin", ORIGIN_CHARS, required=True).lower(), fields.text("medium", MEDIUM_CHARS).lower()
