"""Decisions as they are stored: append-only revisions, a new one only where the decision changed. I/O: the events store.

Changed means another programme, policy version, result or credit, the credited touch included. A candidate that arrives
later and changes none of these makes no revision: a decision is the record of what was known when it was taken, and
everything that follows it (commissions, postbacks) would run again for nothing.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from attribution.journey import parts_of
from core.clock import SECOND, Instant, as_datetime
from core.credit import Credit, Decision, Result
from core.events import Line, Order
from store.events import EventsStore, read_query

ORDERS_BY_ID = read_query(__file__, "orders_by_id")
LATEST_DECISIONS = read_query(__file__, "latest_decisions")
NEWEST_DECISION = read_query(__file__, "newest_decision")


class InForce(msgspec.Struct, frozen=True):
    """What makes two decisions the same, and the number of the stored one."""

    revision: int
    programme_id: str
    policy_version: int
    result: Result
    credits: tuple[Credit, ...]


class Revision(msgspec.Struct, frozen=True):
    """A decision to be stored, with the time of its order."""

    decision: Decision
    revision: int
    ordered_at: Instant


def read_orders(events: EventsStore, tenant_id: str, order_ids: Iterable[str]) -> list[Order]:
    """The orders on record among ``order_ids``, by id. Of several events under one id the earliest received is the order."""
    return [
        order_of_row(tenant_id, row)
        for part in parts_of(order_ids)
        for row in events.select(ORDERS_BY_ID, tenant_id=tenant_id, order_ids=part)
    ]


def order_of_row(tenant_id: str, row: Sequence[Any]) -> Order:
    """An order as ``queries/orders_by_id.sql`` gives it. Its address and agent are not kept there."""
    order_id, event_id, currency, occurred_ms, received_ms, channel, store_id, click_id, visitor_id, keys = row[:10]
    status, coupons, shipping_minor, tax_minor, total_minor, test, source, *lines = row[10:]
    return Order(
        event_id=event_id,
        tenant_id=tenant_id,
        order_id=order_id,
        currency=currency,
        occurred_at=occurred_ms,
        received_at=received_ms,
        lines=tuple(Line(*line) for line in zip(*lines, strict=True)),
        channel=channel,
        store_id=store_id,
        click_id=click_id,
        visitor_id=visitor_id,
        customer_keys=tuple(keys),
        customer_status=status,
        coupons=tuple(coupons),
        shipping_minor=shipping_minor,
        tax_minor=tax_minor,
        total_minor=total_minor,
        test=bool(test),
        source=source,
    )


def read_in_force(events: EventsStore, tenant_id: str, order_ids: Iterable[str]) -> dict[str, InForce]:
    """The decisions in force, by order id."""
    return {
        order_id: InForce(revision, programme_id, policy_version, result, credits_of_columns(columns))
        for part in parts_of(order_ids)
        for order_id, revision, programme_id, policy_version, result, *columns in events.select(
            LATEST_DECISIONS, tenant_id=tenant_id, order_ids=part
        )
    }


def credits_of_columns(columns: Sequence[Sequence[Any]]) -> tuple[Credit, ...]:
    """Credits as the store keeps them: affiliates, touches, numerators, denominators."""
    return tuple(Credit(*credit) for credit in zip(*columns, strict=True))


def revision_of(decision: Decision, ordered_at: Instant, before: InForce | None) -> Revision | None:
    """What to store of a decision, None where the one in force says the same."""
    number = before.revision if before else 0
    now = InForce(number, decision.programme_id, decision.policy_version, decision.result, decision.credits)
    return None if now == before else Revision(decision, number + 1, ordered_at)


class DecisionLog:
    """Writes decisions. Each block is stored at a time of its own, later than every block before, whatever the clock says."""

    def __init__(self, events: EventsStore) -> None:
        self._events = events
        self._newest: Instant | None = None

    def append(self, revisions: Iterable[Revision], at: Instant) -> None:
        """Store revisions decided at ``at``. The same ones twice are stored once.

        Raises:
            Unavailable: the events store cannot take them; some months of the batch may be stored.
        """
        by_month: dict[tuple[int, int], list[Revision]] = {}
        for revision in sorted(revisions, key=lambda one: (one.decision.tenant_id, one.decision.order_id)):
            ordered = as_datetime(revision.ordered_at)
            by_month.setdefault((ordered.year, ordered.month), []).append(revision)
        for _, block in sorted(by_month.items()):
            stored_at = self._next_stored_at(at)
            lines = b"\n".join(msgspec.json.encode(_row(revision, at, stored_at)) for revision in block)
            self._events.insert_json("decisions", lines, token_of(block))

    def _next_stored_at(self, at: Instant) -> Instant:
        if self._newest is None:
            self._newest = int(self._events.select(NEWEST_DECISION)[0][0])
        self._newest = max(at, self._newest + 1)
        return self._newest


def token_of(block: Sequence[Revision]) -> str:
    """The same revisions give the same token, whenever they are written: a block that is sent again is stored once."""
    content = [(one.decision.tenant_id, one.decision.order_id, one.revision, one.decision.inputs_hash) for one in block]
    return "decisions:" + hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _row(revision: Revision, decided_at: Instant, stored_at: Instant) -> dict[str, Any]:
    """One row as the events store reads JSON: times in seconds, the trace as text."""
    decision = revision.decision
    return {
        "tenant_id": decision.tenant_id,
        "order_id": decision.order_id,
        "revision": revision.revision,
        "programme_id": decision.programme_id,
        "policy_version": decision.policy_version,
        "result": decision.result,
        "credits.affiliate_id": [credit.affiliate_id for credit in decision.credits],
        "credits.touch_id": [credit.touch_id for credit in decision.credits],
        "credits.numerator": [credit.numerator for credit in decision.credits],
        "credits.denominator": [credit.denominator for credit in decision.credits],
        "trace": msgspec.json.encode(decision.trace).decode(),
        "inputs_hash": decision.inputs_hash,
        "ordered_at": revision.ordered_at / SECOND,
        "decided_at": decided_at / SECOND,
        "stored_at": stored_at / SECOND,
    }
