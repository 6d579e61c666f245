"""Questions that pages ask of the books, summed by the database. Amounts are minor units of the currency beside them."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, func, select

from core.clock import DAY, Instant
from store.schema import commissions


class Earned(msgspec.Struct, frozen=True):
    """What one affiliate of one programme has earned so far, refunds taken off, whatever its state."""

    programme_id: str
    affiliate_id: str
    currency: str
    amount_minor: int


class Release(msgspec.Struct, frozen=True):
    """What leaves its hold on the day (UTC) that begins at ``day_at``. Days before today are overdue: the next run takes them."""

    day_at: Instant
    currency: str
    amount_minor: int
    commissions: int


def earned_by_affiliate(connection: Connection, tenant_id: str, ordered_from: Instant = 0) -> list[Earned]:
    """Commissions of orders placed at or after ``ordered_from``, per programme, affiliate and currency, in that order."""
    table = commissions
    keys = (table.c.programme_id, table.c.affiliate_id, table.c.currency)
    mine = (table.c.tenant_id == tenant_id) & (table.c.affiliate_id != "") & (table.c.ordered_at >= ordered_from)
    statement = select(*keys, func.sum(table.c.amount_minor)).where(mine).group_by(*keys)
    return sorted((Earned(*row[:3], int(row[3])) for row in connection.execute(statement)), key=msgspec.structs.astuple)


def earned_by_order(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """What the given orders have earned their affiliates, refunds taken off: order -> currency -> amount."""
    table = commissions
    keys = (table.c.order_id, table.c.currency)
    mine = (table.c.tenant_id == tenant_id) & (table.c.affiliate_id != "") & table.c.order_id.in_(order_ids)
    earned: dict[str, dict[str, int]] = {}
    for order_id, currency, amount in connection.execute(select(*keys, func.sum(table.c.amount_minor)).where(mine).group_by(*keys)):
        earned.setdefault(order_id, {})[currency] = int(amount)
    return earned


def releases(connection: Connection, tenant_id: str, before: Instant) -> list[Release]:
    """What is on hold until a moment before ``before``, by day and currency, soonest first."""
    table = commissions
    mine = (table.c.tenant_id == tenant_id) & (table.c.state == "held") & (table.c.hold_until < before)
    day = (table.c.hold_until - table.c.hold_until % DAY).label("day_at")
    held = select(day, table.c.currency, table.c.amount_minor).where(mine).subquery()
    keys = (held.c.day_at, held.c.currency)
    statement = select(*keys, func.sum(held.c.amount_minor), func.count()).group_by(*keys)
    found = (Release(int(row[0]), row[1], int(row[2]), int(row[3])) for row in connection.execute(statement))
    return sorted(found, key=lambda release: (release.day_at, release.currency))
