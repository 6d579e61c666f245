"""The ledger's rows: entries and their postings, per tenant, numbered from 1 without gaps. Statements only."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select

from core.clock import Instant
from store.schema import batches, commissions, entries, postings

READ_AT_ONCE = 2_000


class Posting(msgspec.Struct, frozen=True, array_like=True):
    """One side of an entry. Positive is credit (towards the affiliate), negative is debit; never zero."""

    account: str
    affiliate_id: str
    currency: str
    amount_minor: int


class Entry(msgspec.Struct, frozen=True):
    """A set of postings that sum to zero per currency. ``hash`` chains it to the entry before (payouts.digests).

    ``evidence_hash`` covers the commissions or the batch that the entry books; empty where it only moves between accounts.
    """

    tenant_id: str
    number: int
    kind: str
    idempotency_key: str
    posted_at: Instant
    memo: str
    evidence_hash: str
    postings: tuple[Posting, ...]
    previous_hash: str
    hash: str


_ENTRY = [column for column in Entry.__struct_fields__ if column != "postings"]
_POSTING = list(Posting.__struct_fields__)


def head(connection: Connection, tenant_id: str) -> tuple[int, str]:
    """Number and hash of a tenant's last entry; ``(0, "")`` for an empty ledger."""
    newest = select(entries.c.number, entries.c.hash).where(entries.c.tenant_id == tenant_id).order_by(entries.c.number.desc()).limit(1)
    row = connection.execute(newest).first()
    return (int(row[0]), str(row[1])) if row else (0, "")


def insert_entries(connection: Connection, batch: Sequence[Entry]) -> None:
    """Write entries with their postings, in two statements."""
    if not batch:
        return
    connection.execute(insert(entries), [{name: getattr(entry, name) for name in _ENTRY} for entry in batch])
    rows = [
        {"tenant_id": entry.tenant_id, "number": entry.number, "position": position, **msgspec.structs.asdict(posting)}
        for entry in batch
        for position, posting in enumerate(entry.postings)
    ]
    if rows:
        connection.execute(insert(postings), rows)


def entries_by_key(connection: Connection, tenant_id: str, keys: Sequence[str]) -> dict[str, Entry]:
    """The entries that were posted under these idempotency keys."""
    found = _read(connection, (entries.c.tenant_id == tenant_id) & entries.c.idempotency_key.in_(keys))
    return {entry.idempotency_key: entry for entry in found}


def read_entries(connection: Connection, tenant_id: str) -> Iterator[Entry]:
    """A tenant's ledger from its first entry, a few thousand rows at a time."""
    after = 0
    while page := _read(connection, (entries.c.tenant_id == tenant_id) & (entries.c.number > after), READ_AT_ONCE):
        yield from page
        after = page[-1].number


def account_sums(connection: Connection, tenant_id: str | None = None, affiliate_id: str | None = None) -> list[tuple[Any, ...]]:
    """``(tenant_id, affiliate_id, currency, account, amount_minor)``, summed over all postings."""
    keys = (postings.c.tenant_id, postings.c.affiliate_id, postings.c.currency, postings.c.account)
    statement = select(*keys, func.sum(postings.c.amount_minor)).group_by(*keys)
    if tenant_id is not None:
        statement = statement.where(postings.c.tenant_id == tenant_id)
    if affiliate_id is not None:
        statement = statement.where(postings.c.affiliate_id == affiliate_id)
    return sorted((*row[:4], int(row[4])) for row in connection.execute(statement))


def tenants_with_money(connection: Connection) -> list[str]:
    """Tenants with anything in the ledger, among commissions or in batches."""
    tables = (entries, postings, commissions, batches)
    return sorted({tenant_id for table in tables for tenant_id in connection.scalars(select(table.c.tenant_id).distinct())})


def stray_posting(connection: Connection, tenant_id: str) -> tuple[int, int] | None:
    """``(number, position)`` of the first posting without an entry; foreign keys refuse it, so only tampering makes one."""
    entry = select(entries.c.number).where(entries.c.tenant_id == postings.c.tenant_id, entries.c.number == postings.c.number).exists()
    stray = select(postings.c.number, postings.c.position).where(postings.c.tenant_id == tenant_id, ~entry)
    row = connection.execute(stray.order_by(postings.c.number, postings.c.position).limit(1)).first()
    return (int(row[0]), int(row[1])) if row else None


def _read(connection: Connection, condition: Any, limit: int | None = None) -> list[Entry]:
    rows = connection.execute(select(*(entries.c[name] for name in _ENTRY)).where(condition).order_by(entries.c.number).limit(limit)).all()
    if not rows:
        return []
    sides = _postings(connection, rows[0].tenant_id, [row.number for row in rows])
    return [Entry(**row._mapping, postings=sides.get(row.number, ())) for row in rows]


def _postings(connection: Connection, tenant_id: str, numbers: Sequence[int]) -> dict[int, tuple[Posting, ...]]:
    wanted = (postings.c.tenant_id == tenant_id) & postings.c.number.between(numbers[0], numbers[-1])
    if len(numbers) <= numbers[-1] - numbers[0]:
        wanted &= postings.c.number.in_(numbers)
    statement = select(postings.c.number, *(postings.c[name] for name in _POSTING)).where(wanted)
    ordered = connection.execute(statement.order_by(postings.c.number, postings.c.position))
    return {number: tuple(Posting(*row[1:]) for row in rows) for number, rows in groupby(ordered, key=lambda row: int(row[0]))}
