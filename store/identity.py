"""Receipts that hold an erased identifier: found, and put back without it. Statements only."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, func, literal, select, update

from store.schema import receipts

PAGE = 500


class Held(msgspec.Struct, frozen=True):
    """A receipt's id, and the bytes of its event."""

    kind: str
    external_id: str
    event: bytes


def receipts_holding(connection: Connection, tenant_id: str, text: bytes) -> Iterator[list[Held]]:
    """The tenant's receipts whose event holds these bytes, page by page. Looks at each of them: this takes a while."""
    table = receipts.c
    after = ("", "")
    while True:
        rows = connection.execute(
            select(table.kind, table.external_id, table.event)
            .where(table.tenant_id == tenant_id, _after(*after), _holds(connection, text))
            .order_by(table.kind, table.external_id)
            .limit(PAGE)
        ).all()
        if not rows:
            return
        yield [Held(row.kind, row.external_id, bytes(row.event)) for row in rows]
        after = rows[-1].kind, rows[-1].external_id


def replace_event(connection: Connection, tenant_id: str, held: Held, event: bytes) -> None:
    """Put another event into a receipt. Its body hash stays, so that a repeat is still known; so does a receipt that changed since."""
    table = receipts.c
    same = and_(table.tenant_id == tenant_id, table.kind == held.kind, table.external_id == held.external_id, table.event == held.event)
    connection.execute(update(receipts).where(same).values(event=event))


def _after(kind: str, external_id: str) -> Any:
    table = receipts.c
    return (table.kind > kind) | ((table.kind == kind) & (table.external_id > external_id))


def _holds(connection: Connection, text: bytes) -> Any:
    if connection.dialect.name == "sqlite":
        return func.instr(receipts.c.event, literal(text)) > 0
    escaped = b"".join(b"\\" + text[place : place + 1] if text[place] in b"%_\\" else text[place : place + 1] for place in range(len(text)))
    return receipts.c.event.op("LIKE")(literal(b"%" + escaped + b"%"))
