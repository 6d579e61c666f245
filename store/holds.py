"""What people said about commissions (hold, release, reject), and the rows that it is about. Statements only."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from core.clock import Instant
from store.commissions import State
from store.schema import commissions, holds

HoldAction = Literal["hold", "release", "reject"]
OPEN: tuple[State, ...] = ("pending", "held", "approved")
"""The states that a hold may reach: what is in a batch or paid is out of its hands."""
IDS_AT_ONCE = 500


class HoldStep(msgspec.Struct, frozen=True):
    """One thing said, by whom and why. Its subject is an order, an affiliate, or one affiliate of an order; empty is any.

    The newest step of a subject is the one that counts.
    """

    tenant_id: str
    number: int
    action: HoldAction
    order_id: str
    affiliate_id: str
    reason: str
    decided_by: str
    decided_at: Instant


class OpenRow(msgspec.Struct, frozen=True):
    """A commission whose state a hold may move."""

    commission_id: str
    order_id: str
    affiliate_id: str
    currency: str
    amount_minor: int
    state: State
    hold_until: Instant


_COLUMNS = [holds.c[name] for name in HoldStep.__struct_fields__]
_OPEN_ROW = [commissions.c[name] for name in OpenRow.__struct_fields__]


def next_step(connection: Connection, tenant_id: str) -> int:
    """The number of a tenant's next step, from 1. The caller holds the tenant's lock."""
    return int(connection.scalar(select(func.max(holds.c.number)).where(holds.c.tenant_id == tenant_id)) or 0) + 1


def insert_steps(connection: Connection, steps: Sequence[HoldStep]) -> None:
    if steps:
        connection.execute(insert(holds), [msgspec.structs.asdict(step) for step in steps])


def steps_in_force(connection: Connection, tenant_id: str) -> list[HoldStep]:
    """The newest step of every subject, newest first."""
    return _newest(connection, holds.c.tenant_id == tenant_id)


def steps_about(connection: Connection, tenant_id: str, order_ids: Iterable[str], affiliate_ids: Iterable[str]) -> list[HoldStep]:
    """The newest step of every subject that one of these orders, or of these affiliates as a whole, is part of."""
    of_orders = (holds.c.order_id != "") & holds.c.order_id.in_(sorted(set(order_ids)))
    of_affiliates = (holds.c.order_id == "") & holds.c.affiliate_id.in_(sorted(set(affiliate_ids)))
    return _newest(connection, (holds.c.tenant_id == tenant_id) & (of_orders | of_affiliates))


def read_steps(connection: Connection, tenant_id: str, limit: int = 200) -> list[HoldStep]:
    """Everything said, newest first."""
    mine = select(*_COLUMNS).where(holds.c.tenant_id == tenant_id).order_by(holds.c.number.desc()).limit(limit)
    return [HoldStep(*row) for row in connection.execute(mine)]


def all_steps(connection: Connection, tenant_id: str, after: int = 0) -> list[HoldStep]:
    """Everything said behind step ``after``, oldest first."""
    mine = select(*_COLUMNS).where(holds.c.tenant_id == tenant_id, holds.c.number > after).order_by(holds.c.number)
    return [HoldStep(*row) for row in connection.execute(mine)]


def open_rows(connection: Connection, tenant_id: str, order_id: str, affiliate_id: str) -> list[OpenRow]:
    """The open rows of a subject that carry money, by id."""
    mine = (commissions.c.tenant_id == tenant_id) & commissions.c.state.in_(OPEN)
    if order_id:
        mine &= commissions.c.order_id == order_id
    if affiliate_id:
        mine &= commissions.c.affiliate_id == affiliate_id
    rows = connection.execute(select(*_OPEN_ROW).where(mine).order_by(commissions.c.commission_id))
    return [OpenRow(*row) for row in rows]


def open_rows_by_id(connection: Connection, tenant_id: str, commission_ids: Iterable[str]) -> list[OpenRow]:
    """The open ones among these, by id."""
    found: list[OpenRow] = []
    for ids in batched_ids(commission_ids):
        mine = (commissions.c.tenant_id == tenant_id) & commissions.c.state.in_(OPEN) & commissions.c.commission_id.in_(ids)
        found += (OpenRow(*row) for row in connection.execute(select(*_OPEN_ROW).where(mine)))
    return sorted(found, key=lambda row: row.commission_id)


def orders_to_reject(connection: Connection, tenant_id: str, affiliate_id: str, limit: int) -> list[str]:
    """Orders and leads of which an affiliate has something granted that is not in a batch, and was not rejected, by id."""
    mine = (
        (commissions.c.tenant_id == tenant_id) & (commissions.c.affiliate_id == affiliate_id) & commissions.c.subject.in_(("order", "lead"))
    )
    granted = mine & commissions.c.state.in_(OPEN) & (commissions.c.amount_minor > 0)
    said = (holds.c.tenant_id == tenant_id) & (holds.c.order_id == commissions.c.order_id) & (holds.c.action == "reject")
    rejected = select(holds.c.number).where(said, holds.c.affiliate_id.in_(("", affiliate_id))).exists()
    orders = select(commissions.c.order_id).where(granted, ~rejected).distinct()
    return list(connection.scalars(orders.order_by(commissions.c.order_id).limit(limit)))


def was_booked(connection: Connection, tenant_id: str, affiliate_id: str) -> bool:
    """Whether the affiliate has any commission with the tenant that carries money."""
    mine = (commissions.c.tenant_id == tenant_id) & (commissions.c.affiliate_id == affiliate_id) & (commissions.c.state != "none")
    return connection.execute(select(commissions.c.commission_id).where(mine).limit(1)).first() is not None


def set_state(connection: Connection, tenant_id: str, commission_ids: Iterable[str], from_state: State, to_state: State) -> int:
    """Move commissions from one state to another; returns how many moved."""
    moved = 0
    for ids in batched_ids(commission_ids):
        mine = (commissions.c.tenant_id == tenant_id) & (commissions.c.state == from_state) & commissions.c.commission_id.in_(ids)
        moved += connection.execute(update(commissions).where(mine).values(state=to_state)).rowcount
    return moved


def batched_ids(ids: Iterable[str]) -> Iterable[list[str]]:
    """Ids a few hundred at a time: a statement takes so many."""
    ordered = sorted(ids)
    return (ordered[start : start + IDS_AT_ONCE] for start in range(0, len(ordered), IDS_AT_ONCE))


def _newest(connection: Connection, condition: Any) -> list[HoldStep]:
    newest = select(func.max(holds.c.number)).where(condition).group_by(holds.c.order_id, holds.c.affiliate_id)
    rows = connection.execute(select(*_COLUMNS).where(condition, holds.c.number.in_(newest)).order_by(holds.c.number.desc()))
    return [HoldStep(*row) for row in rows]
