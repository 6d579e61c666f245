"""What each order looked like when it was last booked: a repeat is skipped, and what could not be booked stays visible."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from core.clock import Instant
from store.schema import accruals


class Accrual(msgspec.Struct, frozen=True):
    """The inputs of an order's last booking. ``fingerprint`` equal: nothing to do.

    ``excess_minor`` was refunded beyond what the order had; ``refunds_refused`` were in another currency;
    ``problem`` says why the order could not be booked, and is empty otherwise.
    ``setting`` and ``standing`` are what it was priced on, ``pricings`` what its earlier rows were (:mod:`payouts.pricings`), as JSON; None
    where an earlier version of the program booked it.
    """

    tenant_id: str
    order_id: str
    decision_revision: int
    fingerprint: str
    refunded_minor: int
    excess_minor: int
    refunds_known: int
    refunds_refused: int
    problem: str
    accrued_at: Instant
    setting: dict[str, Any] | None = None
    standing: dict[str, Any] | None = None
    pricings: list[Any] = []


_COLUMNS = [accruals.c[name] for name in Accrual.__struct_fields__]


def of_orders(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, Accrual]:
    mine = select(*_COLUMNS).where(accruals.c.tenant_id == tenant_id, accruals.c.order_id.in_(order_ids))
    return {row.order_id: Accrual(*row) for row in connection.execute(mine)}


def page_of(connection: Connection, tenant_id: str, after: str, limit: int) -> list[Accrual]:
    """A tenant's orders by id, from the one behind ``after``; at most ``limit``."""
    mine = select(*_COLUMNS).where(accruals.c.tenant_id == tenant_id, accruals.c.order_id > after)
    return [Accrual(*row) for row in connection.execute(mine.order_by(accruals.c.order_id).limit(limit))]


def put_accruals(connection: Connection, rows: Sequence[Accrual], known: dict[str, Accrual]) -> None:
    """Write rows of one tenant; ``known`` are those that :func:`of_orders` found in the same transaction."""
    new = [msgspec.structs.asdict(row) for row in rows if row.order_id not in known]
    old = [{f"_{name}": value for name, value in msgspec.structs.asdict(row).items()} for row in rows if row.order_id in known]
    if new:
        connection.execute(insert(accruals), new)
    if old:
        same = (accruals.c.tenant_id == bindparam("_tenant_id"), accruals.c.order_id == bindparam("_order_id"))
        values: dict[str, Any] = {name: bindparam(f"_{name}") for name in Accrual.__struct_fields__[2:]}
        connection.execute(update(accruals).where(*same).values(**values), old)


def with_problems(connection: Connection, tenant_id: str, limit: int = 100) -> list[Accrual]:
    """Orders with something to look at: excess or refused refunds, or a problem; newest first."""
    odd = (accruals.c.excess_minor > 0) | (accruals.c.refunds_refused > 0) | (accruals.c.problem != "")
    statement = select(*_COLUMNS).where(accruals.c.tenant_id == tenant_id, odd)
    newest = statement.order_by(accruals.c.accrued_at.desc(), accruals.c.order_id).limit(limit)
    return [Accrual(*row) for row in connection.execute(newest)]
