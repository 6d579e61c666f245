"""What the events store knows of orders that changed: order, newest decision, refunds. Reads only."""

from collections.abc import Mapping, Sequence

import msgspec

from core.clock import Instant
from core.credit import Credit
from core.events import Line, Order, Refund, RefundLine
from payouts.booking import Facts, Verdict
from payouts.digests import digest
from store.events import EventsStore, read_query

CHANGED_ORDERS = read_query(__file__, "changed_orders")
ORDERS_BY_ID = read_query(__file__, "orders_by_id")
NEWEST_DECISIONS = read_query(__file__, "newest_decisions")
REFUNDS_OF_ORDERS = read_query(__file__, "refunds_of_orders")


class Change(msgspec.Struct, frozen=True):
    """An order of which something was stored, lastly at ``changed_at``. An equal change stands for the same stored rows.

    ``decided_at`` and ``refunded_at`` are the times of storing of its latest decision and refund seen here, 0 where there is none.
    """

    tenant_id: str
    order_id: str
    changed_at: Instant
    mark: int = 0
    decided_at: Instant = 0
    refunded_at: Instant = 0


NOTHING_YET = Change("", "", -1)


def read_changes(events: EventsStore, decided_since: Instant, refunded_since: Instant, after: Change, limit: int) -> list[Change]:
    """Orders with a decision or a refund stored since, by time of change, from the one behind ``after``; at most ``limit``."""
    rows = events.select(
        CHANGED_ORDERS,
        decided_since_ms=max(0, decided_since),
        refunded_since_ms=max(0, refunded_since),
        after_ms=after.changed_at,
        after_tenant=after.tenant_id,
        after_order=after.order_id,
        at_most=limit,
    )
    return [Change(*row) for row in rows]


def read_facts(events: EventsStore, tenant_id: str, order_ids: Sequence[str]) -> list[Facts]:
    """The orders of one tenant that are decided, by order id. One whose order or decision is not there yet is left out."""
    asked = {"tenant_id": tenant_id, "order_ids": list(order_ids)}
    verdicts = {row[0]: _verdict(row) for row in events.select(NEWEST_DECISIONS, **asked)}
    if not verdicts:
        return []
    refunds: dict[str, list[Refund]] = {}
    for row in events.select(REFUNDS_OF_ORDERS, **asked):
        refunds.setdefault(row[0], []).append(_refund(tenant_id, row))
    orders = [_order(tenant_id, row) for row in events.select(ORDERS_BY_ID, **asked)]
    return [
        Facts(order, verdicts[order.order_id], tuple(refunds.get(order.order_id, ()))) for order in orders if order.order_id in verdicts
    ]


def fingerprint(facts: Facts) -> str:
    """Equal for equal inputs: which order, which decision, which refunds."""
    refunds = sorted(refund.event_id for refund in facts.refunds)
    inputs = [facts.order.event_id, facts.verdict.revision, facts.verdict.inputs_hash, refunds]
    return digest("fairshare/facts", msgspec.json.encode(inputs))


def by_tenant(changes: Sequence[Change]) -> Mapping[str, list[str]]:
    """Order ids per tenant, both in order."""
    found: dict[str, list[str]] = {}
    for change in sorted(changes, key=lambda change: (change.tenant_id, change.order_id)):
        found.setdefault(change.tenant_id, []).append(change.order_id)
    return found


def _order(tenant_id: str, row: tuple) -> Order:  # type: ignore[type-arg]
    order_id, event_id, currency, store_id, keys, status, test, occurred_at, received_at, *columns = row
    lines = tuple(
        Line(line_id, net_minor, sku, name, category, quantity)
        for line_id, sku, name, category, quantity, net_minor in zip(*columns, strict=True)
    )
    return Order(
        event_id,
        tenant_id,
        order_id,
        currency,
        occurred_at,
        received_at,
        lines,
        store_id=store_id,
        customer_keys=tuple(keys),
        customer_status=status,
        test=bool(test),
    )


def _verdict(row: tuple) -> Verdict:  # type: ignore[type-arg]
    _order_id, revision, programme_id, policy_version, result, *columns, inputs_hash, status, segments = row
    credits = tuple(map(Credit, *columns))
    return Verdict(revision, programme_id, policy_version, result, credits, inputs_hash, status, tuple(segments))


def _refund(tenant_id: str, row: tuple) -> Refund:  # type: ignore[type-arg]
    order_id, refund_id, event_id, currency, occurred_at, received_at, line_ids, nets, net_minor, reason = row
    lines = tuple(map(RefundLine, line_ids, nets))
    return Refund(event_id, tenant_id, order_id, refund_id, currency, occurred_at, received_at, lines, net_minor, reason)
