"""Closed accounting months, and what was booked in each. Statements only; the rules are in payouts.periods."""

import msgspec
from sqlalchemy import Connection, func, insert, select

from core.clock import Instant
from store.schema import entries, periods, postings


class Closing(msgspec.Struct, frozen=True):
    """A closed month: by whom, when, and where the tenant's ledger ended then (0 and empty: it had no entry)."""

    tenant_id: str
    month: str
    closed_by: str
    closed_at: Instant
    head_number: int
    head_hash: str


class PeriodSum(msgspec.Struct, frozen=True):
    """What one account was moved by in one month, in minor units of one currency."""

    month: str
    currency: str
    account: str
    amount_minor: int


_COLUMNS = [periods.c[name] for name in Closing.__struct_fields__]


def insert_closing(connection: Connection, closing: Closing) -> None:
    connection.execute(insert(periods).values(msgspec.structs.asdict(closing)))


def read_closings(connection: Connection, tenant_id: str) -> list[Closing]:
    """A tenant's closed months, oldest first."""
    mine = select(*_COLUMNS).where(periods.c.tenant_id == tenant_id).order_by(periods.c.month)
    return [Closing(*row) for row in connection.execute(mine)]


def period_sums(connection: Connection, tenant_id: str) -> list[PeriodSum]:
    """By month, currency and account; entries without a month are left out."""
    keys = (entries.c.period, postings.c.currency, postings.c.account)
    same = (entries.c.tenant_id == postings.c.tenant_id) & (entries.c.number == postings.c.number)
    mine = (entries.c.tenant_id == tenant_id) & (entries.c.period != "")
    rows = connection.execute(select(*keys, func.sum(postings.c.amount_minor)).join(entries, same).where(mine).group_by(*keys))
    return sorted((PeriodSum(*row[:3], int(row[3])) for row in rows), key=msgspec.structs.astuple)
