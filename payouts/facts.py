"""What the events store knows of orders that changed: order, newest decision, credited touches, refunds. Reads only."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from core.clock import Instant
from core.credit import Credit, TouchClass
from core.events import Line, Order, Refund, RefundLine
from payouts.accounts import Place
from payouts.digests import digest
from payouts.leads import read_leads
from payouts.orders import Facts, Verdict
from payouts.setting import Contact
from store.events import EventsStore, parts_of, read_query

CHANGED_ORDERS = read_query(__file__, "changed_orders")
ORDERS_BY_ID = read_query(__file__, "orders_by_id")
NEWEST_DECISIONS = read_query(__file__, "newest_decisions")
REFUNDS_OF_ORDERS = read_query(__file__, "refunds_of_orders")
CREDITED_TOUCHES = read_query(__file__, "credited_touches")
PLACED_ORDERS = read_query(__file__, "placed_orders")
ORDERS_PLACED = read_query(__file__, "orders_placed")
DECISIONS_PLACED = read_query(__file__, "decisions_placed")
REFUNDS_PLACED = read_query(__file__, "refunds_placed")

_CLASSES: dict[str, TouchClass] = {"coupon": "coupon", "binding": "binding", "clickless": "clickless", "agent": "agent"}
"""What a credit's touch id says, led by one of these words, where it names no touch: ``coupon:SAVE10``."""
_BINDING = "binding:"


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


def read_facts(events: EventsStore, tenant_id: str, order_ids: Sequence[str], contacts: bool = True, currency: str = "") -> list[Facts]:
    """The orders of one tenant that are decided, by order id, and leads, by name. One that is not there or not decided yet is left out.

    ``contacts`` False spares a question where no rate card asks what the credited touches were. ``currency`` is the tenant's, in which
    leads are paid.
    """
    asked = {"tenant_id": tenant_id, "order_ids": list(order_ids)}
    decisions = events.select(NEWEST_DECISIONS, **asked)
    if not decisions:
        return []
    found = _facts(tenant_id, decisions, events.select(REFUNDS_OF_ORDERS, **asked), events.select(ORDERS_BY_ID, **asked))
    if leads := read_leads(events, tenant_id, order_ids, currency):
        verdicts = {row[0]: _verdict(row) for row in decisions}
        found += [Facts(lead, verdicts[lead.order_id], country=country) for lead, country in leads if lead.order_id in verdicts]
    return with_contacts(events, tenant_id, found) if contacts else found


def read_places(events: EventsStore, tenant_id: str, from_at: Instant, to_at: Instant) -> list[Place]:
    """Where the orders stand that were placed in ``[from_at, to_at)``, decided or not, by ``(ordered_at, order_id)``."""
    rows = events.select(PLACED_ORDERS, tenant_id=tenant_id, from_ms=from_at, to_ms=to_at)
    return [(int(at), order_id) for order_id, at in rows]


def read_placed(events: EventsStore, tenant_id: str, page: Sequence[Place]) -> list[Facts]:
    """Those of a page of neighbouring places (:func:`read_places`) that are decided, in their order; without their touches.

    A whole page is one stretch of the tables: for tens of thousands of orders at once.
    """
    asked = {"tenant_id": tenant_id, "from_ms": page[0][0], "to_ms": page[-1][0]}
    rows = (events.select(query, **asked) for query in (DECISIONS_PLACED, REFUNDS_PLACED, ORDERS_PLACED))
    found = {(facts.order.occurred_at, facts.order.order_id): facts for facts in _facts(tenant_id, *rows)}
    return [found[place] for place in page if place in found]


def _facts(tenant_id: str, decisions: Iterable[Any], refunds: Iterable[Any], orders: Iterable[Any]) -> list[Facts]:
    verdicts = {row[0]: _verdict(row) for row in decisions}
    of_order: dict[str, list[Refund]] = {}
    for row in refunds:
        of_order.setdefault(row[0], []).append(_refund(tenant_id, row))
    return [
        Facts(order, verdicts[order.order_id], tuple(of_order.get(order.order_id, ())), country=country)
        for order, country in (_order(tenant_id, row) for row in orders if row[0] in verdicts)
    ]


def with_contacts(events: EventsStore, tenant_id: str, found: Sequence[Facts]) -> list[Facts]:
    """Each with the touches that are credited. One that is not on record (another tenant's, in a coalition) is left out."""
    names = {credit.touch_id for facts in found for credit in facts.verdict.credits}
    latest = max((facts.order.occurred_at for facts in found), default=0)
    touches: dict[str, Contact] = {}
    for part in parts_of(name for name in names if name and name.partition(":")[0] not in _CLASSES):
        for row in events.select(CREDITED_TOUCHES, tenant_id=tenant_id, touch_ids=part, to_ms=latest):
            touches[row[0]] = _touch(row)
    binding = sorted({name.removeprefix(_BINDING) for name in names if name.startswith(_BINDING)})
    rows = events.select(ORDERS_BY_ID, tenant_id=tenant_id, order_ids=binding) if binding else ()
    bound = {f"{_BINDING}{row[0]}": int(row[7]) for row in rows}
    return [
        msgspec.structs.replace(
            facts, contacts=tuple(contact for name in _named(facts) if (contact := _contact(name, facts, touches, bound)))
        )
        for facts in found
    ]


def _touch(row: tuple) -> Contact:  # type: ignore[type-arg]
    touch_id, kind, occurred_at, country, device, channel, link_code, referrer, subs = row
    return Contact(touch_id, kind, occurred_at, country, device, channel, link_code, referrer, tuple(subs))


def _named(facts: Facts) -> list[str]:
    return sorted({credit.touch_id for credit in facts.verdict.credits})


def _contact(name: str, facts: Facts, touches: Mapping[str, Contact], bound: Mapping[str, Instant]) -> Contact | None:
    """A coupon's time is the order's, a binding's that of the order that bound the customer."""
    touch_class = _CLASSES.get(name.partition(":")[0])
    if touch_class is None:
        return touches.get(name)
    return Contact(name, touch_class, bound.get(name, facts.order.occurred_at))


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


def _order(tenant_id: str, row: tuple) -> tuple[Order, str]:  # type: ignore[type-arg]
    """An order, and its country."""
    order_id, event_id, currency, store_id, keys, status, test, occurred_at, received_at, *rest = row
    country, channel, coupons, attributes, shipping_minor, tax_minor, *columns = rest
    lines = tuple(
        Line(line_id, net_minor, sku, name, category, quantity, brand, kind, discount_minor, tuple(sorted(texts.items())))
        for line_id, sku, name, category, quantity, net_minor, brand, kind, discount_minor, texts in zip(*columns, strict=True)
    )
    order = Order(
        event_id,
        tenant_id,
        order_id,
        currency,
        occurred_at,
        received_at,
        lines,
        channel=channel,
        store_id=store_id,
        customer_keys=tuple(keys),
        customer_status=status,
        coupons=tuple(coupons),
        shipping_minor=shipping_minor,
        tax_minor=tax_minor,
        test=bool(test),
        attributes=tuple(sorted(attributes.items())),
    )
    return order, country


def _verdict(row: tuple) -> Verdict:  # type: ignore[type-arg]
    _order_id, revision, programme_id, policy_version, result, *columns, inputs_hash, status, segments, number, first_at = row
    credits = tuple(map(Credit, *columns))
    return Verdict(revision, programme_id, policy_version, result, credits, inputs_hash, status, tuple(segments), number, int(first_at))


def _refund(tenant_id: str, row: tuple) -> Refund:  # type: ignore[type-arg]
    order_id, refund_id, event_id, currency, occurred_at, received_at, line_ids, nets, net_minor, reason = row
    lines = tuple(map(RefundLine, line_ids, nets))
    return Refund(event_id, tenant_id, order_id, refund_id, currency, occurred_at, received_at, lines, net_minor, reason)
