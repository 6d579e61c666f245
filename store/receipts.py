"""Receipts: which conversions were taken, under the senders' own ids, so that a repeat is known for ever. Statements only."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, select, update

from core.clock import Instant
from store.schema import receipts

IDS_AT_ONCE = 1_000


class Receipt(msgspec.Struct, frozen=True):
    """What came first under an id. ``event`` are the bytes that were, or must be, recorded; never made anew."""

    body_hash: str
    event_id: str
    event: bytes
    recorded: bool


def claim(
    connection: Connection,
    tenant_id: str,
    kind: str,
    external_id: str,
    receipt: Receipt,
    received_at: Instant,
) -> Receipt:
    """Take an id for this content, or learn what holds it already: returns the receipt that is in the books now.

    Two at once under one id: the second waits for the first to commit, and gets the first's receipt.
    """
    values = {
        "tenant_id": tenant_id,
        "kind": kind,
        "external_id": external_id,
        "body_hash": receipt.body_hash,
        "event_id": receipt.event_id,
        "event": receipt.event,
        "recorded": receipt.recorded,
        "received_at": received_at,
    }
    connection.execute(_insert(connection)(receipts).values(**values).on_conflict_do_nothing())
    held = find_receipt(connection, tenant_id, kind, external_id)
    assert held is not None, "what was just inserted, or stood in its way, is there: receipts are never deleted"
    return held


def claim_all(connection: Connection, tenant_id: str, kind: str, wanted: Mapping[str, Receipt], received_at: Instant) -> dict[str, Receipt]:
    """Like :func:`claim`, for many ids of one kind at once: the receipts that are in the books now, by external id."""
    values = [
        {"tenant_id": tenant_id, "kind": kind, "external_id": external_id, "received_at": received_at, **msgspec.structs.asdict(receipt)}
        for external_id, receipt in wanted.items()
    ]
    if values:
        connection.execute(_insert(connection)(receipts).on_conflict_do_nothing(), values)
    held = find_receipts(connection, tenant_id, kind, list(wanted))
    assert held.keys() == wanted.keys(), "what was just inserted, or stood in its way, is there: receipts are never deleted"
    return held


def find_receipts(connection: Connection, tenant_id: str, kind: str, external_ids: Sequence[str]) -> dict[str, Receipt]:
    """Those of the ids that are taken, by external id."""
    table = receipts.c
    columns = (table.external_id, table.body_hash, table.event_id, table.event, table.recorded)
    found: dict[str, Receipt] = {}
    for start in range(0, len(external_ids), IDS_AT_ONCE):
        some = external_ids[start : start + IDS_AT_ONCE]
        wanted = select(*columns).where(table.tenant_id == tenant_id, table.kind == kind, table.external_id.in_(some))
        for row in connection.execute(wanted):
            found[row.external_id] = Receipt(row.body_hash, row.event_id, bytes(row.event), row.recorded)
    return found


def mark_all_recorded(connection: Connection, tenant_id: str, kind: str, external_ids: Sequence[str]) -> None:
    """Like :func:`mark_recorded`, for many ids of one kind."""
    table = receipts.c
    for start in range(0, len(external_ids), IDS_AT_ONCE):
        some = external_ids[start : start + IDS_AT_ONCE]
        these = and_(table.tenant_id == tenant_id, table.kind == kind, table.external_id.in_(some))
        connection.execute(update(receipts).where(these).values(recorded=True))


def find_receipt(connection: Connection, tenant_id: str, kind: str, external_id: str) -> Receipt | None:
    table = receipts.c
    row = connection.execute(
        select(table.body_hash, table.event_id, table.event, table.recorded).where(_is(tenant_id, kind, external_id))
    ).one_or_none()
    return None if row is None else Receipt(row.body_hash, row.event_id, bytes(row.event), row.recorded)


def mark_recorded(connection: Connection, tenant_id: str, kind: str, external_id: str) -> None:
    """Note that the event is safe in the spool; a repeat is then answered without writing it again."""
    connection.execute(update(receipts).where(_is(tenant_id, kind, external_id)).values(recorded=True))


def _insert(connection: Connection) -> Any:
    """The dialect's own INSERT. Imported here: the other dialect's would cost a tracker's start a twentieth of a second."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as into_postgresql

        return into_postgresql
    from sqlalchemy.dialects.sqlite import insert as into_sqlite

    return into_sqlite


def _is(tenant_id: str, kind: str, external_id: str) -> Any:
    table = receipts.c
    return and_(table.tenant_id == tenant_id, table.kind == kind, table.external_id == external_id)
