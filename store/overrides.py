"""What people decided instead of the policy: append-only, each with a version of its order. Statements only.

The numbers of rows grow over all tenants, in the order in which rows become visible, so that a run follows them with a cursor.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, func, insert, select, text

from core.credit import Override
from core.errors import Conflict
from store.schema import overrides

AT_ONCE = 5_000
"""Order ids in one question: databases limit the parameters of a statement."""

_FIELDS = Override.__struct_fields__


def overrides_of(connection: Connection, tenant_id: str, order_ids: Iterable[str]) -> dict[str, Override]:
    """The override in force, the one of the highest version, of each of a tenant's orders that has any."""
    table = overrides.c
    if connection.scalar(select(table.number).where(table.tenant_id == tenant_id).limit(1)) is None:
        return {}
    wanted, found = sorted(set(order_ids)), dict[str, Override]()
    columns = [table[name] for name in _FIELDS]
    for start in range(0, len(wanted), AT_ONCE):
        mine = (table.tenant_id == tenant_id) & table.order_id.in_(wanted[start : start + AT_ONCE])
        rows = connection.execute(select(*columns).where(mine).order_by(table.version))
        found |= {row.order_id: Override(*row) for row in rows}
    return found


def put_override(connection: Connection, tenant_id: str, override: Override) -> int:
    """Add the next version of an order's override; returns the row's number.

    Raises:
        Conflict: ``override.version`` is not the next one: somebody else decided meanwhile.
    """
    _lock(connection)
    table = overrides.c
    of_order = (table.tenant_id == tenant_id) & (table.order_id == override.order_id)
    newest = int(connection.scalar(select(func.max(table.version)).where(of_order)) or 0)
    if override.version != newest + 1:
        raise Conflict(f"order {override.order_id} was decided by somebody else meanwhile (version {newest}); look at it and decide again")
    number = int(connection.scalar(select(func.max(table.number))) or 0) + 1
    values = {name: getattr(override, name) for name in _FIELDS}
    connection.execute(insert(overrides).values(number=number, tenant_id=tenant_id, **values))
    return number


def next_version(connection: Connection, tenant_id: str, order_id: str) -> int:
    """The version that an order's next override gets; the first is 1."""
    table = overrides.c
    of_order = (table.tenant_id == tenant_id) & (table.order_id == order_id)
    return int(connection.scalar(select(func.max(table.version)).where(of_order)) or 0) + 1


def overrides_since(connection: Connection, number: int) -> list[tuple[int, str, str]]:
    """``(number, tenant_id, order_id)`` of every override after ``number``, of all tenants, oldest first: for the attribution run."""
    table = overrides.c
    newer = select(table.number, table.tenant_id, table.order_id).where(table.number > number).order_by(table.number)
    return [(row.number, row.tenant_id, row.order_id) for row in connection.execute(newer)]


def _lock(connection: Connection) -> None:
    """Numbers must become visible in order, or a run that saw the higher one would miss the lower."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('overrides', 0))"))
