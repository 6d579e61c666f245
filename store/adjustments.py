"""Manual adjustments: proposed, then booked or rejected, once. Statements only; the rules are in payouts.adjustments."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from core.clock import Instant
from store.schema import adjustments, memberships

AdjustmentState = Literal["proposed", "booked", "rejected"]


class Adjustment(msgspec.Struct, frozen=True):
    """An amount that a person gives an affiliate, or takes (negative), and why.

    ``limit_minor`` is the tenant's limit when it was proposed, 0 in another currency than the tenant's: above it (whatever the sign) a
    second person decides. Booked, it is the commission with ``adjustment_id`` as its line.
    """

    tenant_id: str
    adjustment_id: str
    programme_id: str
    affiliate_id: str
    currency: str
    amount_minor: int
    reason: str
    proposed_by: str
    proposed_at: Instant
    limit_minor: int
    state: AdjustmentState = "proposed"
    decided_by: str = ""
    decided_at: Instant | None = None
    decided_reason: str = ""

    @property
    def needs_second(self) -> bool:
        """Whether another person than who proposed it has to approve it."""
        return abs(self.amount_minor) > self.limit_minor


_COLUMNS = [adjustments.c[name] for name in Adjustment.__struct_fields__]


def next_number(connection: Connection, tenant_id: str) -> int:
    """The number of a tenant's next adjustment, from 1. The caller holds the tenant's lock."""
    return int(connection.scalar(select(func.count()).select_from(adjustments).where(adjustments.c.tenant_id == tenant_id)) or 0) + 1


def insert_adjustment(connection: Connection, adjustment: Adjustment) -> None:
    connection.execute(insert(adjustments).values(msgspec.structs.asdict(adjustment)))


def decide(connection: Connection, decided: Adjustment) -> bool:
    """Write down what was decided of a proposal; False where it is none (any more)."""
    mine = _is(decided.tenant_id, decided.adjustment_id) & (adjustments.c.state == "proposed")
    values = {name: getattr(decided, name) for name in ("state", "decided_by", "decided_at", "decided_reason")}
    return connection.execute(update(adjustments).where(mine).values(**values)).rowcount == 1


def read_adjustment(connection: Connection, tenant_id: str, adjustment_id: str) -> Adjustment | None:
    row = connection.execute(select(*_COLUMNS).where(_is(tenant_id, adjustment_id))).first()
    return Adjustment(*row) if row else None


def read_adjustments(connection: Connection, tenant_id: str, limit: int = 200) -> list[Adjustment]:
    """A tenant's adjustments: those that wait for a decision first, then the newest."""
    waits = (adjustments.c.state != "proposed", adjustments.c.proposed_at.desc(), adjustments.c.adjustment_id.desc())
    mine = select(*_COLUMNS).where(adjustments.c.tenant_id == tenant_id).order_by(*waits).limit(limit)
    return [Adjustment(*row) for row in connection.execute(mine)]


def all_adjustments(connection: Connection, tenant_id: str) -> list[Adjustment]:
    """Every one of them, by id."""
    mine = select(*_COLUMNS).where(adjustments.c.tenant_id == tenant_id).order_by(adjustments.c.adjustment_id)
    return [Adjustment(*row) for row in connection.execute(mine)]


def adjustments_named(connection: Connection, tenant_id: str, adjustment_ids: Sequence[str]) -> list[Adjustment]:
    """Those of these ids that there are, by id."""
    mine = (adjustments.c.tenant_id == tenant_id) & adjustments.c.adjustment_id.in_(adjustment_ids)
    return [Adjustment(*row) for row in connection.execute(select(*_COLUMNS).where(mine).order_by(adjustments.c.adjustment_id))]


def reasons(connection: Connection, tenant_id: str, adjustment_ids: Sequence[str]) -> dict[str, str]:
    """Adjustment -> why it was made."""
    mine = (adjustments.c.tenant_id == tenant_id) & adjustments.c.adjustment_id.in_(adjustment_ids)
    return {row[0]: row[1] for row in connection.execute(select(adjustments.c.adjustment_id, adjustments.c.reason).where(mine))}


def programmes_joined(connection: Connection, tenant_id: str, affiliate_id: str) -> list[str]:
    """The tenant's programmes that an affiliate ever joined, by id."""
    mine = (memberships.c.tenant_id == tenant_id) & (memberships.c.affiliate_id == affiliate_id)
    return list(connection.scalars(select(memberships.c.programme_id).where(mine).order_by(memberships.c.programme_id)))


def _is(tenant_id: str, adjustment_id: str) -> Any:
    return (adjustments.c.tenant_id == tenant_id) & (adjustments.c.adjustment_id == adjustment_id)
