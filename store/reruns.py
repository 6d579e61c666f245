"""Periods whose orders are to be decided anew, each asked for once and kept for ever. Statements only.

Numbers grow over all tenants, in the order in which rows become visible, so that a run follows them with a cursor.
"""

import msgspec
from sqlalchemy import Connection, func, insert, select, text

from core.clock import Instant
from store.schema import reruns


class Rerun(msgspec.Struct, frozen=True):
    """A tenant's orders placed in ``[from_at, to_at)`` are to be decided anew."""

    number: int
    tenant_id: str
    from_at: Instant
    to_at: Instant


def request_rerun(
    connection: Connection, tenant_id: str, from_at: Instant, to_at: Instant, reason: str, at: Instant, requested_by: str = ""
) -> int:
    """Ask the attribution run to decide a period's orders anew; returns the request's number."""
    assert from_at < to_at, "a period has a length"
    _lock(connection)
    number = int(connection.scalar(select(func.max(reruns.c.number))) or 0) + 1
    period = {"tenant_id": tenant_id, "from_at": from_at, "to_at": to_at}
    asked = {"reason": reason[:1024], "requested_by": requested_by, "requested_at": at}
    connection.execute(insert(reruns).values(number=number, **period, **asked))
    return number


def reruns_since(connection: Connection, number: int) -> list[Rerun]:
    """Every request after ``number``, of all tenants, oldest first: for the attribution run."""
    table = reruns.c
    newer = select(table.number, table.tenant_id, table.from_at, table.to_at).where(table.number > number).order_by(table.number)
    return [Rerun(*row) for row in connection.execute(newer)]


def _lock(connection: Connection) -> None:
    """Numbers must become visible in order, or a run that saw the higher one would miss the lower."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('reruns', 0))"))
