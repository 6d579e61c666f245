"""Why an order was credited or not, from what is stored: for the terminal, the API and the pages. I/O: the events store.

Nothing is decided again here: an explanation shows the decision in force as it was taken.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from attribution.decisions import credits_of_columns, read_orders
from attribution.words import RESULTS
from core.clock import Instant, format_instant
from core.credit import Result, Step, Verdict
from core.events import Order
from core.money import format_amount
from store.events import EventsStore, read_query

DECISION_OF_ORDER = read_query(__file__, "decision_of_order")

OTHER = "another affiliate"
"""What an affiliate reads in the place of everyone else."""

_read_trace = msgspec.json.Decoder(tuple[Step, ...]).decode


class Share(msgspec.Struct, frozen=True):
    """One credit: ``share`` is an exact fraction such as ``1`` or ``2/5``."""

    affiliate_id: str
    touch_id: str
    share: str


class Finding(msgspec.Struct, frozen=True):
    """One candidate and what became of it. ``matches`` says how it was found, strongest first."""

    touch_id: str
    touch_class: str
    programme_id: str
    affiliate_id: str
    link_code: str
    channel: str
    traffic_class: str
    matches: tuple[str, ...]
    occurred_at: Instant
    verdict: Verdict
    why: str


class Explanation(msgspec.Struct, frozen=True):
    """An order's decision in force, and every candidate. Instants are milliseconds; :func:`as_json` writes them as RFC 3339.

    ``unattributed`` is the share that nobody earns; ``revisions`` counts how often the decision has been taken anew.
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


def explain(events: EventsStore, tenant_id: str, order_id: str) -> Explanation | None:
    """The explanation of an order; None where the tenant has no such order, or it is not decided yet.

    Raises:
        Unavailable: the events store cannot answer.
    """
    orders = read_orders(events, tenant_id, [order_id])
    rows = events.select(DECISION_OF_ORDER, tenant_id=tenant_id, order_id=order_id)
    return _explanation(orders[0], rows[0]) if orders and rows else None


def _explanation(order: Order, row: tuple[Any, ...]) -> Explanation:
    revision, programme_id, policy_version, result, *columns, trace, inputs_hash, decided_ms, revisions = row
    credits = credits_of_columns(columns)
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
        candidates=tuple(_finding(step) for step in _read_trace(trace)),
        revision=revision,
        revisions=revisions,
        decided_at=decided_ms,
        inputs_hash=inputs_hash,
    )


def _finding(step: Step) -> Finding:
    one = step.candidate
    return Finding(
        touch_id=one.touch_id,
        touch_class=one.touch_class,
        programme_id=one.programme_id,
        affiliate_id=one.affiliate_id,
        link_code=one.link_code,
        channel=one.channel,
        traffic_class=one.traffic_class,
        matches=one.matches,
        occurred_at=one.occurred_at,
        verdict=step.verdict,
        why=step.why,
    )


# --- for whom, and how -----------------------------------------------------------------------------------------------


def for_affiliate(explanation: Explanation, affiliate_id: str) -> Explanation | None:
    """The same, as one affiliate may read it: other affiliates have no name, link, code or touch id in it.

    None where the affiliate has no candidate: the order is none of its business, and it cannot tell that it exists.
    """
    if affiliate_id not in {finding.affiliate_id for finding in explanation.candidates}:
        return None
    return msgspec.structs.replace(
        explanation,
        credits=tuple(credit if credit.affiliate_id == affiliate_id else _masked_share(credit) for credit in explanation.credits),
        candidates=tuple(
            finding if finding.affiliate_id == affiliate_id else _masked_finding(finding) for finding in explanation.candidates
        ),
    )


def _masked_share(credit: Share) -> Share:
    return msgspec.structs.replace(credit, affiliate_id=OTHER, touch_id="")


def _masked_finding(finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, affiliate_id=OTHER, touch_id="", link_code="", programme_id="")


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Plain values for JSON, every ``…_at`` in RFC 3339."""
    plain: dict[str, Any] = _with_times(msgspec.to_builtins(explanation))
    return plain


def _with_times(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_with_times(part) for part in value]
    if isinstance(value, dict):
        return {name: format_instant(part) if name.endswith("_at") else _with_times(part) for name, part in value.items()}
    return value


def as_text(explanation: Explanation) -> str:
    """For a terminal: the order, who earned it, and the candidates in aligned columns, strongest first."""
    one = explanation
    head = [
        ("order", f"{one.order_id} of {one.tenant_id}, {format_amount(one.net_minor, one.currency)} {one.currency} net"),
        ("placed", f"{format_instant(one.ordered_at)}, channel {one.channel}" + (f", store {one.store_id}" if one.store_id else "")),
        ("programme", f"{one.programme_id or '-'}, policy version {one.policy_version}"),
        ("result", f"{one.result}: {one.meaning}"),
        *(("credit", f"{credit.share} to {credit.affiliate_id} for {credit.touch_id or 'its touch'}") for credit in one.credits),
        *([("credit", f"{one.unattributed} to nobody")] if one.unattributed != "0" else []),
        ("decided", f"{format_instant(one.decided_at)}, revision {one.revision} of {one.revisions}"),
        ("inputs", one.inputs_hash),
    ]
    lines = [f"{name:<11}{text}" for name, text in head]
    return "\n".join([*lines, "", *_table(one)]) + "\n"


def _table(explanation: Explanation) -> Iterator[str]:
    if not explanation.candidates:
        yield "no candidate touches"
        return
    rows = [("verdict", "class", "affiliate", "occurred at", "found by", "touch")]
    rows += [
        (
            finding.verdict,
            finding.touch_class,
            finding.affiliate_id,
            format_instant(finding.occurred_at),
            ", ".join(finding.matches),
            finding.touch_id or "-",
        )
        for finding in explanation.candidates
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, reason in zip(rows, ("why", *(finding.why for finding in explanation.candidates)), strict=True):
        yield "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=True)), reason])
