"""The ledger's rows: entries and their postings, per tenant, numbered from 1 without gaps. Statements only."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from core.clock import Instant
from store.schema import batches, commissions, entries, periods, postings, tenants
from store.writing import read_rows, write_rows

READ_AT_ONCE = 2_000
KEYS_AT_ONCE = 500


class Posting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One side of an entry. Positive is credit (towards the affiliate), negative is debit; never zero.

    What was converted keeps its origin: amount and currency, and the rate with its source and its day (``2026-11-20``).
    """

    account: str
    affiliate_id: str
    currency: str
    amount_minor: int
    original_currency: str = ""
    original_minor: int = 0
    rate: str = ""
    rate_source: str = ""
    rate_date: str = ""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A set of postings that sum to zero per currency. ``hash`` chains it to the entry before (payouts.digests).

    ``evidence_hash`` covers the commissions or the batch that the entry books; empty where it only moves between accounts.
    ``period`` is the accounting month, such as ``2026-11``; empty in entries of earlier versions of the program.
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
    period: str = ""


_ENTRY = [column for column in Entry.__struct_fields__ if column != "postings"]
_POSTING = list(Posting.__struct_fields__)
_HASHED = ("tenant_id", "number", "kind", "idempotency_key", "posted_at", "memo", "evidence_hash", "period")
_VALUES = [entries.c[name] for name in (*_HASHED, "previous_hash", "hash")]
_PLAIN = _POSTING.index("original_currency")
Values = tuple[Any, ...]
_SIDES = Entry.__struct_fields__.index("postings")


def head(connection: Connection, tenant_id: str) -> tuple[int, str]:
    """Number and hash of a tenant's last entry; ``(0, "")`` for an empty ledger."""
    newest = select(entries.c.number, entries.c.hash).where(entries.c.tenant_id == tenant_id).order_by(entries.c.number.desc()).limit(1)
    row = connection.execute(newest).first()
    return (int(row[0]), str(row[1])) if row else (0, "")


def heads(connection: Connection) -> list[tuple[str, int, str]]:
    """``(tenant_id, number, hash)`` of every tenant's last entry, by tenant."""
    newest = select(entries.c.tenant_id, func.max(entries.c.number).label("number")).group_by(entries.c.tenant_id).subquery()
    same = (entries.c.tenant_id == newest.c.tenant_id) & (entries.c.number == newest.c.number)
    rows = connection.execute(select(entries.c.tenant_id, entries.c.number, entries.c.hash).join(newest, same))
    return sorted((row[0], int(row[1]), row[2]) for row in rows)


def calendar_of(connection: Connection, tenant_id: str) -> tuple[str, str]:
    """A tenant's time zone (UTC for one that is not in the catalogue), and its newest closed month; empty where none is."""
    closed = select(func.max(periods.c.month)).where(periods.c.tenant_id == tenant_id).scalar_subquery()
    zone = select(tenants.c.time_zone).where(tenants.c.tenant_id == tenant_id).scalar_subquery()
    row = connection.execute(select(zone, closed)).one()
    return row[0] or "UTC", row[1] or ""


def insert_entries(connection: Connection, batch: Sequence[Entry]) -> None:
    """Write entries with their postings, in two statements."""
    if not batch:
        return
    write_rows(connection, entries, _ENTRY, map(_entry_row, batch))
    write_rows(
        connection,
        postings,
        ("tenant_id", "number", "position", *_POSTING),
        (
            (entry.tenant_id, entry.number, position, *msgspec.structs.astuple(posting))
            for entry in batch
            for position, posting in enumerate(entry.postings)
        ),
    )


def _entry_row(entry: Entry) -> tuple[Any, ...]:
    values = msgspec.structs.astuple(entry)
    return values[:_SIDES] + values[_SIDES + 1 :]


def entries_by_key(connection: Connection, tenant_id: str, keys: Sequence[str]) -> dict[str, Entry]:
    """The entries that were posted under these idempotency keys."""
    found = _read(connection, (entries.c.tenant_id == tenant_id) & entries.c.idempotency_key.in_(keys))
    return {entry.idempotency_key: entry for entry in found}


def read_entries(connection: Connection, tenant_id: str) -> Iterator[Entry]:
    """A tenant's ledger from its first entry, a few thousand rows at a time."""
    for page in read_pages(connection, tenant_id):
        yield from page


def read_pages(connection: Connection, tenant_id: str, after: int = 0) -> Iterator[list[Entry]]:
    """The entries behind number ``after``, in their order, a few thousand at a time."""
    while page := _read(connection, (entries.c.tenant_id == tenant_id) & (entries.c.number > after), READ_AT_ONCE):
        yield page
        after = page[-1].number


class Page(msgspec.Struct, frozen=True):
    """A stretch of a ledger as the driver gave it, for who reads all of it. :func:`entry_of` makes an entry of its values.

    ``entries``: tenant, number, kind, key, time of posting, memo, evidence hash, period, previous hash and hash of each, in their order.
    ``sides``: their postings by number, in their order: the four fields of each, or all nine where it was converted.
    """

    entries: list[Values]
    sides: dict[int, list[Values]]


def read_values(connection: Connection, tenant_id: str, after: int = 0) -> Iterator[Page]:
    """What :func:`read_pages` reads, with less ado."""
    while True:
        behind = (entries.c.tenant_id == tenant_id) & (entries.c.number > after)
        found = read_rows(connection, select(*_VALUES).where(behind).order_by(entries.c.number).limit(READ_AT_ONCE))
        if not found:
            return
        yield Page(found, _sides_of(connection, tenant_id, found[0][1], found[-1][1]))
        after = found[-1][1]


def entry_of(values: Values, sides: Sequence[Values]) -> Entry:
    tenant_id, number, kind, key, posted_at, memo, evidence, period, previous, digest = values
    postings = tuple(Posting(*side) for side in sides)
    return Entry(tenant_id, number, kind, key, posted_at, memo, evidence, postings, previous, digest, period)


def _sides_of(connection: Connection, tenant_id: str, first: int, last: int) -> dict[int, list[Values]]:
    wanted = (postings.c.tenant_id == tenant_id) & postings.c.number.between(first, last)
    statement = select(*(postings.c[name] for name in _POSTING), postings.c.number).where(wanted)
    found: dict[int, list[Values]] = {}
    number, mine = 0, list[Values]()
    for row in read_rows(connection, statement.order_by(postings.c.number, postings.c.position)):
        if row[-1] != number:
            number, mine = row[-1], []
            found[number] = mine
        mine.append(row[:-1] if row[_PLAIN] else row[:_PLAIN])
    return found


def hashes_of(connection: Connection, tenant_id: str, numbers: Iterable[int]) -> dict[int, str]:
    """The stored hashes of these entries, by number; those that do not exist are left out."""
    found: dict[int, str] = {}
    wanted = sorted(set(numbers))
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        mine = (entries.c.tenant_id == tenant_id) & entries.c.number.in_(wanted[start : start + KEYS_AT_ONCE])
        found |= {row[0]: row[1] for row in connection.execute(select(entries.c.number, entries.c.hash).where(mine))}
    return found


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
    """Tenants with anything in the ledger, among commissions or in batches. Looks at one row of each, however many they have."""
    found: set[str] = set()
    for table in (entries, postings, commissions, batches):
        name = ""
        while name is not None:
            name = connection.scalar(select(func.min(table.c.tenant_id)).where(table.c.tenant_id > name))
            found |= {name} if name is not None else set()
    return sorted(found)


def tenants_to_rename(connection: Connection, key: str) -> list[str]:
    """Tenants with entries of earlier versions of the program, and none under this idempotency key."""
    other = entries.alias()
    done = select(other.c.number).where(other.c.tenant_id == entries.c.tenant_id, other.c.idempotency_key == key).exists()
    return sorted(connection.scalars(select(entries.c.tenant_id).where(entries.c.period == "", ~done).distinct()))


def sums_without_period(connection: Connection, tenant_id: str) -> dict[tuple[str, str, str], int]:
    """``(affiliate_id, currency, account)`` -> amount, over the entries of earlier versions of the program."""
    keys = (postings.c.affiliate_id, postings.c.currency, postings.c.account)
    same = (entries.c.tenant_id == postings.c.tenant_id) & (entries.c.number == postings.c.number)
    mine = (entries.c.tenant_id == tenant_id) & (entries.c.period == "")
    rows = connection.execute(select(*keys, func.sum(postings.c.amount_minor)).join(entries, same).where(mine).group_by(*keys))
    return {(row[0], row[1], row[2]): int(row[3]) for row in rows}


def taken_back_without_period(connection: Connection, tenant_id: str) -> dict[tuple[str, str], int]:
    """``(affiliate_id, currency)`` -> what commissions took back (positive) that entries of earlier versions booked."""
    keys = (commissions.c.affiliate_id, commissions.c.currency)
    same = (entries.c.tenant_id == commissions.c.tenant_id) & (entries.c.number == commissions.c.entry_number)
    mine = (entries.c.tenant_id == tenant_id) & (entries.c.period == "") & (commissions.c.amount_minor < 0)
    rows = connection.execute(select(*keys, func.sum(commissions.c.amount_minor)).join(entries, same).where(mine).group_by(*keys))
    return {(row[0], row[1]): -int(row[2]) for row in rows}


def stray_posting(connection: Connection, tenant_id: str, last: int) -> tuple[int, int] | None:
    """``(number, position)`` of the first posting outside entries 1 to ``last``; foreign keys refuse it, so only tampering makes one."""
    for outside in (postings.c.number < 1, postings.c.number > last):
        stray = select(postings.c.number, postings.c.position).where(postings.c.tenant_id == tenant_id, outside)
        row = connection.execute(stray.order_by(postings.c.number, postings.c.position).limit(1)).first()
        if row:
            return int(row[0]), int(row[1])
    return None


def _read(connection: Connection, condition: Any, limit: int | None = None) -> list[Entry]:
    rows = connection.execute(select(*(entries.c[name] for name in _ENTRY)).where(condition).order_by(entries.c.number).limit(limit)).all()
    if not rows:
        return []
    sides = _postings(connection, rows[0][0], [row[1] for row in rows])
    return [
        Entry(tenant_id, number, kind, key, posted_at, memo, evidence, tuple(sides.get(number, ())), previous, digest, period)
        for tenant_id, number, kind, key, posted_at, memo, evidence, previous, digest, period in rows
    ]


def _postings(connection: Connection, tenant_id: str, numbers: Sequence[int]) -> dict[int, list[Posting]]:
    wanted = (postings.c.tenant_id == tenant_id) & postings.c.number.between(numbers[0], numbers[-1])
    if len(numbers) <= numbers[-1] - numbers[0]:
        wanted &= postings.c.number.in_(numbers)
    statement = select(postings.c.number, *(postings.c[name] for name in _POSTING)).where(wanted)
    found: dict[int, list[Posting]] = {}
    last, mine = 0, list[Posting]()
    ordered = connection.execute(statement.order_by(postings.c.number, postings.c.position)).all()
    for number, account, affiliate_id, currency, amount, original, original_minor, rate, source, day in ordered:
        if number != last:
            last, mine = number, []
            found[number] = mine
        mine.append(Posting(account, affiliate_id, currency, amount, original, original_minor, rate, source, day))
    return found
