"""What was booked of very many orders, column by column: for simulations and reports, which read a whole period. Statements only."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, Text, cast, func, select

from core.clock import Instant
from store.schema import accruals, bonuses, commissions, grants, measures

IDS_AT_ONCE = 2_000
_OTHERS = " %"
"""Days of clicks, which stand where an order would: no order's id begins with a space."""


class Noted(msgspec.Struct, frozen=True, gc=False):
    """What is noted of an order that was booked. ``setting`` is JSON as it is kept; None where there is none."""

    order_id: str
    decision_revision: int
    refunds_known: int
    problem: str
    setting: str | None


class Sum(msgspec.Struct, frozen=True, gc=False):
    """What an order is booked with for an affiliate, in one currency; rows of orders alone."""

    order_id: str
    affiliate_id: str
    currency: str
    amount_minor: int


class Grant(msgspec.Struct, frozen=True):
    """What a day of clicks asked of a limit."""

    ordered_at: Instant
    order_id: str
    limit_id: str
    affiliate_id: str
    asked_minor: int


class Award(msgspec.Struct, frozen=True):
    """A bonus that stands, and when the order was placed that reached it."""

    affiliate_id: str
    bonus_id: str
    period: str
    ordered_at: Instant
    amount_minor: int


def noted_of(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, Noted]:
    """By order id; orders that were never booked are left out."""
    table = accruals.c
    columns = (table.order_id, table.decision_revision, table.refunds_known, table.problem, cast(table.setting, Text))
    found: dict[str, Noted] = {}
    for some in _parts(order_ids):
        mine = select(*columns).where(table.tenant_id == tenant_id, table.order_id.in_(some))
        found |= {row[0]: Noted(*row) for row in connection.execute(mine).all()}
    return found


def sums_of(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, list[Sum]]:
    """What orders are booked with, without what comes to nothing."""
    table = commissions.c
    key = (table.order_id, table.affiliate_id, table.currency)
    total = func.sum(table.amount_minor)
    found: dict[str, list[Sum]] = {}
    for some in _parts(order_ids):
        mine = (table.tenant_id == tenant_id) & table.order_id.in_(some) & (table.subject == "order") & (table.affiliate_id != "")
        rows = connection.execute(select(*key, total).where(mine).group_by(*key).having(total != 0)).all()
        for order_id, affiliate_id, currency, amount_minor in rows:
            found.setdefault(order_id, []).append(Sum(order_id, affiliate_id, currency, int(amount_minor)))
    return found


def zones_of_orders(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, str]:
    """The time zone that each order's periods are in; orders that were never recorded are left out."""
    table = measures.c
    found: dict[str, str] = {}
    for some in _parts(order_ids):
        mine = select(table.order_id, table.time_zone).where(table.tenant_id == tenant_id, table.order_id.in_(some))
        found |= {row[0]: row[1] for row in connection.execute(mine)}
    return found


def reached_within(
    connection: Connection, tenant_id: str, programme_id: str, start: Instant, end: Instant
) -> dict[str, tuple[int, int, int]]:
    """What each affiliate's orders in ``[start, end)`` count: orders, revenue, commission."""
    table = measures.c
    sums = (func.sum(table.orders), func.sum(table.revenue_minor), func.sum(table.commission_minor))
    rows = _within(connection, measures, (table.affiliate_id,), sums, tenant_id, programme_id, start, end)
    return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}


def granted_within(connection: Connection, tenant_id: str, programme_id: str, start: Instant, end: Instant) -> dict[tuple[str, str], int]:
    """What was granted in ``[start, end)``, by limit and account (empty: everybody's)."""
    table = grants.c
    key, total = (table.limit_id, table.affiliate_id), (func.sum(table.granted_minor),)
    rows = _within(connection, grants, key, total, tenant_id, programme_id, start, end)
    return {(row[0], row[1]): int(row[2]) for row in rows}


def grants_of_traffic(connection: Connection, tenant_id: str, programme_id: str, start: Instant, end: Instant) -> list[Grant]:
    """What days of clicks, and leads, in ``[start, end)`` asked of limits, by ``(ordered_at, order_id)``."""
    table = grants.c
    mine = (table.tenant_id == tenant_id) & (table.programme_id == programme_id) & table.order_id.like(_OTHERS)
    within = (table.ordered_at >= start) & (table.ordered_at < end)
    columns = [table[name] for name in Grant.__struct_fields__]
    ordered = select(*columns).where(mine & within).order_by(table.ordered_at, table.order_id)
    return [Grant(*row) for row in connection.execute(ordered)]


def awards_before(connection: Connection, tenant_id: str, programme_id: str, end: Instant) -> list[Award]:
    """Bonuses that orders placed before ``end`` reached, by their keys."""
    table = bonuses.c
    mine = (table.tenant_id == tenant_id) & (table.programme_id == programme_id) & (table.ordered_at < end) & (table.amount_minor != 0)
    columns = [table[name] for name in Award.__struct_fields__]
    return [Award(*row) for row in connection.execute(select(*columns).where(mine).order_by(*columns[:3]))]


def _within(
    connection: Connection,
    of: Table,
    key: Sequence[Any],
    sums: Sequence[Any],
    tenant_id: str,
    programme_id: str,
    start: Instant,
    end: Instant,
) -> Iterable[Any]:
    table = of.c
    mine = (table.tenant_id == tenant_id) & (table.programme_id == programme_id)
    within = (table.ordered_at >= start) & (table.ordered_at < end)
    return connection.execute(select(*key, *sums).where(mine & within).group_by(*key))


def _parts(order_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (order_ids[start : start + IDS_AT_ONCE] for start in range(0, len(order_ids), IDS_AT_ONCE))
