"""Questions that pages ask of the books, summed by the database. Amounts are minor units of the currency beside them."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, func, select

from core.clock import DAY, Instant
from store.ledger import Entry, entries_by_key
from store.schema import affiliates, commissions, entries, memberships


class Earned(msgspec.Struct, frozen=True):
    """What one affiliate of one programme has earned so far, refunds taken off, whatever its state."""

    programme_id: str
    affiliate_id: str
    currency: str
    amount_minor: int


class Release(msgspec.Struct, frozen=True):
    """What leaves its hold on the day (UTC) that begins at ``day_at``. Days before today are overdue: the next run takes them."""

    day_at: Instant
    currency: str
    amount_minor: int
    commissions: int


class Payee(msgspec.Struct, frozen=True):
    """An affiliate as a payout needs it; holder and IBAN are empty where it gave none."""

    name: str
    account_holder: str
    iban: str

    @property
    def has_bank_details(self) -> bool:
        return bool(self.account_holder and self.iban)


def payees(connection: Connection, tenant_id: str) -> dict[str, Payee]:
    """Every affiliate that ever joined a programme of the tenant, by id."""
    joined = select(memberships.c.affiliate_id).where(memberships.c.tenant_id == tenant_id)
    columns = (affiliates.c.affiliate_id, affiliates.c.name, affiliates.c.account_holder, affiliates.c.iban)
    rows = connection.execute(select(*columns).where(affiliates.c.affiliate_id.in_(joined)).order_by(affiliates.c.affiliate_id))
    return {row[0]: Payee(*row[1:]) for row in rows}


def entries_before(connection: Connection, tenant_id: str, before: int | None, most: int) -> list[Entry]:
    """Up to ``most`` ledger entries below number ``before`` (None: from the newest), newest first."""
    mine = entries.c.tenant_id == tenant_id
    if before is not None:
        mine &= entries.c.number < before
    newest = select(entries.c.idempotency_key).where(mine).order_by(entries.c.number.desc()).limit(most)
    found = entries_by_key(connection, tenant_id, list(connection.scalars(newest)))
    return sorted(found.values(), key=lambda entry: -entry.number)


def earned_by_state(connection: Connection, tenant_id: str, ordered_from: Instant = 0) -> dict[str, dict[str, int]]:
    """Commissions of orders placed at or after ``ordered_from``: state -> currency -> amount. States without any are left out."""
    table = commissions
    keys = (table.c.state, table.c.currency)
    mine = (table.c.tenant_id == tenant_id) & (table.c.affiliate_id != "") & (table.c.ordered_at >= ordered_from)
    totals: dict[str, dict[str, int]] = {}
    for state, currency, amount in connection.execute(select(*keys, func.sum(table.c.amount_minor)).where(mine).group_by(*keys)):
        totals.setdefault(state, {})[currency] = int(amount)
    return totals


def earned_by_affiliate(connection: Connection, tenant_id: str, ordered_from: Instant = 0) -> list[Earned]:
    """Commissions of orders placed at or after ``ordered_from``, per programme, affiliate and currency, in that order."""
    table = commissions
    keys = (table.c.programme_id, table.c.affiliate_id, table.c.currency)
    mine = (table.c.tenant_id == tenant_id) & (table.c.affiliate_id != "") & (table.c.ordered_at >= ordered_from)
    statement = select(*keys, func.sum(table.c.amount_minor)).where(mine).group_by(*keys)
    return sorted((Earned(*row[:3], int(row[3])) for row in connection.execute(statement)), key=msgspec.structs.astuple)


def earned_by_order(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """What the given orders have earned their affiliates, refunds taken off: order -> currency -> amount."""
    table = commissions
    keys = (table.c.order_id, table.c.currency)
    mine = (table.c.tenant_id == tenant_id) & (table.c.affiliate_id != "") & table.c.order_id.in_(order_ids)
    earned: dict[str, dict[str, int]] = {}
    for order_id, currency, amount in connection.execute(select(*keys, func.sum(table.c.amount_minor)).where(mine).group_by(*keys)):
        earned.setdefault(order_id, {})[currency] = int(amount)
    return earned


def earned_from_orders(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """What the given orders together have earned each affiliate, refunds taken off: (affiliate, currency) -> amount."""
    table = commissions
    keys = (table.c.affiliate_id, table.c.currency)
    mine = (table.c.tenant_id == tenant_id) & (table.c.affiliate_id != "") & table.c.order_id.in_(order_ids)
    rows = connection.execute(select(*keys, func.sum(table.c.amount_minor)).where(mine).group_by(*keys))
    return {(row[0], row[1]): int(row[2]) for row in rows}


def releases(connection: Connection, tenant_id: str, before: Instant) -> list[Release]:
    """What is pending until a moment before ``before``, by day and currency, soonest first."""
    table = commissions
    mine = (table.c.tenant_id == tenant_id) & (table.c.state == "pending") & (table.c.hold_until < before)
    day = (table.c.hold_until - table.c.hold_until % DAY).label("day_at")
    pending = select(day, table.c.currency, table.c.amount_minor).where(mine).subquery()
    keys = (pending.c.day_at, pending.c.currency)
    statement = select(*keys, func.sum(pending.c.amount_minor), func.count()).group_by(*keys)
    found = (Release(int(row[0]), row[1], int(row[2]), int(row[3])) for row in connection.execute(statement))
    return sorted(found, key=lambda release: (release.day_at, release.currency))
