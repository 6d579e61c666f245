"""Why an order was credited or not, from what is stored: for the terminal, the API and the pages. I/O: the events store.

Nothing is decided again here: an explanation shows the decision in force as it was taken.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from attribution.decisions import credits_of_columns, read_orders, read_trace
from attribution.leads import read_leads
from attribution.words import RESULTS, VERDICTS, sentence
from core.clock import Instant, format_instant
from core.credit import ELIGIBLE, Candidate, Credit, Override, Result, Step, TouchClass, Verdict
from core.events import CustomerStatus, Order
from core.leads import is_lead, spoken
from core.money import format_amount
from store.events import EventsStore, read_query

DECISION_OF_ORDER = read_query(__file__, "decision_of_order")

OTHER = "another affiliate"
"""What an affiliate reads in the place of everyone else."""

PARTNER = "partner"
"""A touch of a coalition's other member: which link of its it was is not this tenant's business."""

NOT_KEPT = "The touches that were looked at were not kept with this decision."
OLDER_FORM = "The touches that were looked at were written down by an older version, in a form that is no longer read."

_read_override = msgspec.json.Decoder(Override).decode


class Share(msgspec.Struct, frozen=True):
    """One credit: ``share`` is an exact fraction such as ``1`` or ``2/5``."""

    affiliate_id: str
    touch_id: str
    share: str


class Finding(msgspec.Struct, frozen=True):
    """One candidate and what became of it. ``matches`` says how it was found, strongest first.

    ``affiliate_id`` is empty for visits that no affiliate brought; ``origin`` then says who did. ``tenant_id`` is another tenant's of a
    coalition. ``share`` is the exact fraction of the order that the touch earns, ``0`` for none. ``role`` is the part of its affiliate in
    the journey: see :func:`roles`.
    """

    touch_id: str
    touch_class: TouchClass
    programme_id: str
    affiliate_id: str
    link_code: str
    channel: str
    traffic_class: str
    matches: tuple[str, ...]
    occurred_at: Instant
    verdict: Verdict
    why: str
    share: str = "0"
    role: str = ""
    tenant_id: str = ""
    origin: str = ""
    evidence: tuple[str, ...] = ()


class Explanation(msgspec.Struct, frozen=True):
    """An order's decision in force, and every candidate. Instants are milliseconds; :func:`as_json` writes them as RFC 3339.

    ``unattributed`` is the share that nobody earns; ``revisions`` counts how often the decision has been taken anew. Where a person
    decided, ``override`` says who, when and why; verdicts and sentences still tell what was computed. ``untold`` says in one sentence
    why there are no candidates though there may have been some; else it is empty. ``order_number`` and ``first_ordered_at`` are 0 where
    they are not known.
    """

    tenant_id: str
    order_id: str
    ordered_at: Instant
    received_at: Instant
    channel: str
    store_id: str
    currency: str
    net_minor: int
    programme_id: str
    policy_version: int
    result: Result
    meaning: str
    credits: tuple[Share, ...]
    unattributed: str
    candidates: tuple[Finding, ...]
    revision: int
    revisions: int
    decided_at: Instant
    inputs_hash: str
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    marketplace_id: str = ""
    override: Override | None = None
    untold: str = ""
    order_number: int = 0
    first_ordered_at: Instant = 0


def explain(events: EventsStore, tenant_id: str, order_id: str) -> Explanation | None:
    """The explanation of an order, or of a lead by its name (:mod:`core.leads`); None where the tenant has no such order, or it
    is not decided (yet).

    Raises:
        Unavailable: the events store cannot answer.
    """
    orders = (read_leads if is_lead(order_id) else read_orders)(events, tenant_id, [order_id])
    rows = events.select(DECISION_OF_ORDER, tenant_id=tenant_id, order_id=order_id)
    return _explanation(orders[0], rows[0]) if orders and rows else None


def _explanation(order: Order, row: tuple[Any, ...]) -> Explanation:
    revision, programme_id, policy_version, result, *columns, trace, inputs_hash, decided_ms = row[:-6]
    status, segments, override, number, first_at, revisions = row[-6:]
    credits, steps = credits_of_columns(columns), read_trace(trace)
    return Explanation(
        tenant_id=order.tenant_id,
        order_id=order.order_id,
        ordered_at=order.occurred_at,
        received_at=order.received_at,
        channel=order.channel,
        store_id=order.store_id,
        currency=order.currency,
        net_minor=sum(line.net_minor for line in order.lines),
        programme_id=programme_id,
        policy_version=policy_version,
        result=result,
        meaning=RESULTS[result],
        credits=tuple(Share(credit.affiliate_id, credit.touch_id, str(credit.share)) for credit in credits),
        unattributed=str(1 - sum(credit.share for credit in credits)),
        candidates=_findings(steps or (), order.occurred_at, credits),
        revision=revision,
        revisions=revisions,
        decided_at=decided_ms,
        inputs_hash=inputs_hash,
        customer_status=status,
        segments=tuple(segments),
        marketplace_id=order.marketplace_id,
        override=_read_override(override) if override else None,
        order_number=number,
        first_ordered_at=int(first_at),
        untold=_untold(trace, steps, credits, inputs_hash),
    )


def _untold(trace: str, steps: tuple[Step, ...] | None, credits: Iterable[Credit], inputs_hash: str) -> str:
    if steps is None:
        return OLDER_FORM
    return NOT_KEPT if not trace or not inputs_hash or (not steps and any(credit.touch_id for credit in credits)) else ""


def _findings(steps: Sequence[Step], ordered_at: Instant, credits: Iterable[Credit]) -> tuple[Finding, ...]:
    shares = {credit.touch_id: credit.share for credit in credits}
    parts = roles([step.candidate for step in steps if step.verdict in ELIGIBLE])
    return tuple(
        _finding(step, ordered_at, shares.get(step.candidate.touch_id, Fraction(0)), parts.get(step.candidate.affiliate_id, ""))
        if step.verdict in ELIGIBLE
        else _finding(step, ordered_at, Fraction(0), "")
        for step in steps
    )


def roles(eligible: Iterable[Candidate]) -> dict[str, str]:
    """The part of each affiliate in a journey: the ``introducer`` made its first touch, the ``closer`` its last, the others are
    ``influencer``. Whoever did both, as the only one does, is the closer. Coupons count at the order's time.
    """
    journey = sorted((one for one in eligible if one.affiliate_id), key=lambda one: (one.occurred_at, one.touch_id))
    found = {one.affiliate_id: "influencer" for one in journey}
    if journey:
        found[journey[0].affiliate_id] = "introducer"
        found[journey[-1].affiliate_id] = "closer"
    return found


def _finding(step: Step, ordered_at: Instant, share: Fraction, role: str) -> Finding:
    one = step.candidate
    return Finding(
        touch_id=one.touch_id,
        touch_class=one.touch_class,
        programme_id=one.programme_id,
        affiliate_id=one.affiliate_id,
        link_code=PARTNER if one.tenant_id and one.link_code else one.link_code,
        channel=one.channel,
        traffic_class=one.traffic_class,
        matches=one.matches,
        occurred_at=one.occurred_at,
        verdict=step.verdict,
        why=sentence(step, ordered_at, share),
        share=str(share),
        role=role,
        tenant_id=one.tenant_id,
        origin=one.origin,
        evidence=one.evidence,
    )


# --- for whom, and how -----------------------------------------------------------------------------------------------


def for_affiliate(explanation: Explanation, affiliate_id: str) -> Explanation | None:
    """The same, as one affiliate may read it: other affiliates have no name, link, code or touch id in it.

    None where the affiliate has neither a candidate nor a credit: the order is none of its business, and it cannot tell that it
    exists. What the merchant knows of its customer, its other marketing and who of its people decided, stays with the merchant.
    """
    named = {finding.affiliate_id for finding in explanation.candidates} | {credit.affiliate_id for credit in explanation.credits}
    if affiliate_id not in named:
        return None
    override = explanation.override
    return msgspec.structs.replace(
        explanation,
        credits=tuple(credit if credit.affiliate_id == affiliate_id else _masked_share(credit) for credit in explanation.credits),
        candidates=tuple(
            finding if finding.affiliate_id == affiliate_id else _masked_finding(finding) for finding in explanation.candidates
        ),
        segments=(),
        order_number=0,
        first_ordered_at=0,
        override=override and _masked_override(override, affiliate_id),
    )


def _masked_share(credit: Share) -> Share:
    return msgspec.structs.replace(credit, affiliate_id=OTHER, touch_id="")


def _masked_finding(finding: Finding) -> Finding:
    """What became of somebody else's touch, and no figure or evidence of why: that is between the merchant and its affiliate."""
    nobody = {"touch_id": "", "link_code": "", "programme_id": "", "tenant_id": "", "origin": "", "evidence": (), "traffic_class": ""}
    return msgspec.structs.replace(finding, affiliate_id=OTHER if finding.affiliate_id else "", why=VERDICTS[finding.verdict], **nobody)


def _masked_override(override: Override, affiliate_id: str) -> Override:
    own = override.affiliate_id == affiliate_id
    who = override.affiliate_id if own or not override.affiliate_id else OTHER
    return msgspec.structs.replace(
        override,
        affiliate_id=who,
        decided_by="the merchant",
        case_id=override.case_id if own else "",
        reason=override.reason if own else "",
    )


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Plain values for JSON, every ``…_at`` in RFC 3339, null where it is not known."""
    plain: dict[str, Any] = _with_times(msgspec.to_builtins(explanation))
    return plain


def _with_times(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_with_times(part) for part in value]
    if isinstance(value, dict):
        return {name: _time(part) if name.endswith("_at") else _with_times(part) for name, part in value.items()}
    return value


def _time(at: Instant) -> str | None:
    return format_instant(at) if at else None


def as_text(explanation: Explanation) -> str:
    """For a terminal: the order, who earned it, and the candidates in aligned columns, strongest first."""
    lines = [f"{name:<11}{text}" for name, text in _head(explanation)]
    return "\n".join([*lines, "", *_table(explanation)]) + "\n"


def _head(one: Explanation) -> Iterator[tuple[str, str]]:
    if is_lead(one.order_id):
        yield "lead", f"{spoken(one.order_id).removeprefix('lead ')} of {one.tenant_id}"
    else:
        yield "order", f"{one.order_id} of {one.tenant_id}, {format_amount(one.net_minor, one.currency)} {one.currency} net"
    yield "placed", f"{format_instant(one.ordered_at)}, channel {one.channel}" + (f", store {one.store_id}" if one.store_id else "")
    if one.marketplace_id:
        yield "came from", f"the marketplace {one.marketplace_id}"
    if one.customer_status or one.segments or one.order_number:
        yield "customer", ", ".join([*filter(None, [one.customer_status, *_number(one)]), *one.segments])
    yield "programme", f"{one.programme_id or '-'}, policy version {one.policy_version}"
    yield "result", f"{one.result}: {one.meaning}"
    for credit in one.credits:
        yield "credit", f"{credit.share} to {credit.affiliate_id} for {credit.touch_id or 'its touch'}"
    if one.unattributed != "0":
        yield "credit", f"{one.unattributed} to nobody"
    if one.override:
        because = f": {one.override.reason}" if one.override.reason else ""
        yield "overridden", f"{format_instant(one.override.decided_at)} by {one.override.decided_by}{because}"
    yield "decided", f"{format_instant(one.decided_at)}, revision {one.revision} of {one.revisions}"
    yield "inputs", one.inputs_hash


def _number(one: Explanation) -> Iterator[str]:
    if one.order_number:
        yield f"order {one.order_number} on record"
    if one.order_number > 1:
        yield f"the first on {format_instant(one.first_ordered_at)}"


def _table(explanation: Explanation) -> Iterator[str]:
    if not explanation.candidates:
        yield explanation.untold or "no candidate touches"
        return
    rows = [("verdict", "class", "affiliate", "occurred at", "found by", "touch")]
    rows += [
        (
            finding.verdict,
            finding.touch_class,
            finding.affiliate_id or finding.origin or "-",
            format_instant(finding.occurred_at),
            ", ".join(finding.matches),
            finding.touch_id or "-",
        )
        for finding in explanation.candidates
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, reason in zip(rows, ("why", *(finding.why for finding in explanation.candidates)), strict=True):
        yield "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=True)), reason])
