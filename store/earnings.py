"""What one affiliate has coming, and from which orders: statements for its own pages. Amounts are minor units.

Every statement is bound to the affiliate; rows without one (lines that earned nobody anything) never show.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, func, select, tuple_

from core.clock import DAY, Instant
from store.schema import commissions

STATES = ("pending", "held", "approved", "payable", "paid")


class Release(msgspec.Struct, frozen=True):
    """What leaves its hold on the day (UTC) that begins at ``day_at``, with one tenant, in one currency."""

    day_at: Instant
    tenant_id: str
    currency: str
    amount_minor: int


class OrderEarned(msgspec.Struct, frozen=True):
    """What the affiliate earned from one order, in one state. Refunds are taken off."""

    tenant_id: str
    order_id: str
    state: str
    currency: str
    amount_minor: int


def releases(connection: Connection, affiliate_id: str, most: int = 60) -> list[Release]:
    """What is pending, by the day on which it is approved, soonest first. Days before today await the next run."""
    mine = (commissions.c.affiliate_id == affiliate_id) & (commissions.c.state == "pending")
    day = (commissions.c.hold_until - commissions.c.hold_until % DAY).label("day_at")
    pending = select(day, commissions.c.tenant_id, commissions.c.currency, commissions.c.amount_minor).where(mine).subquery()
    keys = (pending.c.day_at, pending.c.tenant_id, pending.c.currency)
    rows = connection.execute(select(*keys, func.sum(pending.c.amount_minor)).group_by(*keys).order_by(*keys).limit(most))
    return [Release(int(row[0]), row[1], row[2], int(row[3])) for row in rows]


def earned_of_orders(connection: Connection, affiliate_id: str, orders: Sequence[tuple[str, str]]) -> list[OrderEarned]:
    """What the affiliate earned from the given ``(tenant_id, order_id)``, by state and currency."""
    keys = (commissions.c.tenant_id, commissions.c.order_id, commissions.c.state, commissions.c.currency)
    mine = (commissions.c.affiliate_id == affiliate_id) & commissions.c.state.in_(STATES)
    mine &= tuple_(commissions.c.tenant_id, commissions.c.order_id).in_(list(orders))
    rows = connection.execute(select(*keys, func.sum(commissions.c.amount_minor)).where(mine).group_by(*keys).order_by(*keys))
    return [OrderEarned(*row[:4], int(row[4])) for row in rows]
