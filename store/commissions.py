"""Commissions: append-only differences, per order line and affiliate. Only ``state`` ever moves. Statements only."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, func, select, update

from core.clock import Instant
from store.schema import commissions, payout_lines, tenants
from store.writing import read_rows, write_rows

Kind = Literal["sale", "refund", "redecision", "rejection", "adjustment", "bonus"]
State = Literal["none", "pending", "held", "approved", "payable", "paid"]
Subject = Literal["order", "lead", "click", "impression", "bonus", "adjustment"]
READ_AT_ONCE = 5_000
IDS_AT_ONCE = 500
STRAY_AT_ONCE = 100


class Commission(msgspec.Struct, frozen=True, gc=False):
    """One booked difference. ``state`` is none exactly where ``amount_minor`` is zero; then ``reason`` says why.

    ``base_minor`` is the part of the line's net that the row is about: added by a sale, taken back by a refund.
    ``commission_id`` is made from the content (payouts.digests), so that an edited row no longer fits its id.
    ``part`` is empty for what the affiliate earned itself, ``recruiter:1`` and so on for what it has of those it recruited.
    ``capped_minor`` is what a maximum or the limit ``limit_id`` cut, a difference as the amount is. ``pricing_hash`` covers what the row
    was priced on (payouts.pricings); rows of earlier versions of the program have none. All amounts are in ``currency``; what was
    converted has its original amount, the rate, and its source and day; else these are empty.
    """

    tenant_id: str
    commission_id: str
    programme_id: str
    order_id: str
    line_id: str
    affiliate_id: str
    kind: Kind
    currency: str
    base_minor: int
    amount_minor: int
    rate_card_version: int
    rule_id: str
    reason: str
    touch_id: str
    decision_revision: int
    policy_version: int
    inputs_hash: str
    state: State
    ordered_at: Instant
    hold_until: Instant
    posted_at: Instant
    entry_number: int | None
    idempotency_key: str
    part: str = ""
    capped_minor: int = 0
    limit_id: str = ""
    pricing_hash: str = ""
    original_currency: str = ""
    original_minor: int = 0
    rate: str = ""
    rate_source: str = ""
    rate_date: str = ""
    subject: Subject = "order"


class Claimed(msgspec.Struct, frozen=True):
    """A commission whose state was just moved."""

    commission_id: str
    affiliate_id: str
    currency: str
    amount_minor: int


_COLUMNS = [commissions.c[name] for name in Commission.__struct_fields__]
_CLAIMED = [commissions.c[name] for name in Claimed.__struct_fields__]


def insert_commissions(connection: Connection, rows: Sequence[Commission]) -> None:
    write_rows(connection, commissions, Commission.__struct_fields__, map(msgspec.structs.astuple, rows))


def of_orders(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, list[Commission]]:
    """All rows of the given orders, in the sequence in which they were booked."""
    found: dict[str, list[Commission]] = {}
    for row in _read(connection, (commissions.c.tenant_id == tenant_id) & commissions.c.order_id.in_(order_ids)):
        found.setdefault(row.order_id, []).append(row)
    return {order_id: sorted(rows, key=booked_as) for order_id, rows in found.items()}


def booked_as(row: Commission) -> int:
    """The row's place among its order's rows, from 0: the end of its idempotency key."""
    return int(row.idempotency_key.rpartition(":")[2])


def of_affiliate(
    connection: Connection, affiliate_id: str, tenant_id: str | None = None, limit: int = 200, before: tuple[Instant, str] | None = None
) -> list[Commission]:
    """An affiliate's rows that carry money, newest order first. ``before``: order time and id of the last row of the page before."""
    mine: Any = (commissions.c.affiliate_id == affiliate_id) & (commissions.c.state != "none")
    if tenant_id is not None:
        mine &= commissions.c.tenant_id == tenant_id
    if before is not None:
        at, commission_id = before
        same_time = (commissions.c.ordered_at == at) & (commissions.c.commission_id < commission_id)
        mine &= (commissions.c.ordered_at < at) | same_time
    newest = (commissions.c.ordered_at.desc(), commissions.c.commission_id.desc())
    return [Commission(*row) for row in connection.execute(select(*_COLUMNS).where(mine).order_by(*newest).limit(limit))]


def of_payout(connection: Connection, tenant_id: str, payout_id: str) -> list[Commission]:
    """A payout's rows, in the order of order time, order, line and booking."""
    lines = select(payout_lines.c.commission_id).where(payout_lines.c.tenant_id == tenant_id, payout_lines.c.payout_id == payout_id)
    rows = _read(connection, (commissions.c.tenant_id == tenant_id) & commissions.c.commission_id.in_(lines))
    return sorted(rows, key=lambda row: (row.ordered_at, row.order_id, row.line_id, booked_as(row)))


def due_groups(connection: Connection, now: Instant, limit: int, tenant_id: str | None = None) -> list[tuple[str, str, str]]:
    """``(tenant_id, affiliate_id, currency)`` with anything pending until ``now`` or earlier."""
    keys = (commissions.c.tenant_id, commissions.c.affiliate_id, commissions.c.currency)
    due: Any = (commissions.c.state == "pending") & (commissions.c.hold_until <= now)
    # Naming the tenants lets the index (tenant, state, hold) answer.
    due &= commissions.c.tenant_id.in_(select(tenants.c.tenant_id)) if tenant_id is None else commissions.c.tenant_id == tenant_id
    return [tuple(row) for row in connection.execute(select(*keys).where(due).distinct().order_by(*keys).limit(limit))]


def release_group(connection: Connection, tenant_id: str, affiliate_id: str, currency: str, now: Instant) -> list[Claimed]:
    """Move everything due of one affiliate and currency from pending to approved, at once; returns what moved, by id."""
    due = (commissions.c.hold_until <= now) & (commissions.c.affiliate_id == affiliate_id)
    return _move(connection, tenant_id, "pending", "approved", due & (commissions.c.currency == currency))


def approved_sums(connection: Connection, tenant_id: str, currency: str, cutoff_at: Instant) -> list[tuple[str, int]]:
    """``(affiliate_id, amount_minor)`` of what is approved and was posted before the cut-off."""
    approved = _before(currency, cutoff_at) & (commissions.c.tenant_id == tenant_id) & (commissions.c.state == "approved")
    statement = select(commissions.c.affiliate_id, func.sum(commissions.c.amount_minor)).where(approved)
    return sorted((row[0], int(row[1])) for row in connection.execute(statement.group_by(commissions.c.affiliate_id)))


def claim_approved(
    connection: Connection, tenant_id: str, currency: str, cutoff_at: Instant, affiliate_ids: Sequence[str]
) -> list[Claimed]:
    """Move what :func:`approved_sums` counted from approved to payable; a row can be claimed once. Returns it by id."""
    mine = commissions.c.affiliate_id.in_(affiliate_ids)
    return _move(connection, tenant_id, "approved", "payable", _before(currency, cutoff_at) & mine)


def state_sums(connection: Connection, tenant_id: str) -> list[tuple[str, str, str, int]]:
    """``(affiliate_id, currency, state, amount_minor)`` over all rows that carry money."""
    keys = (commissions.c.affiliate_id, commissions.c.currency, commissions.c.state)
    mine = (commissions.c.tenant_id == tenant_id) & (commissions.c.state != "none")
    rows = connection.execute(select(*keys, func.sum(commissions.c.amount_minor)).where(mine).group_by(*keys))
    return sorted((row[0], row[1], row[2], int(row[3])) for row in rows)


def read_all(connection: Connection, tenant_id: str) -> Iterator[Commission]:
    """A tenant's rows by id, a few thousand at a time."""
    after = ""
    while True:
        mine = (commissions.c.tenant_id == tenant_id) & (commissions.c.commission_id > after)
        rows = connection.execute(select(*_COLUMNS).where(mine).order_by(commissions.c.commission_id).limit(READ_AT_ONCE)).all()
        if not rows:
            return
        yield from (Commission(*row) for row in rows)
        after = rows[-1].commission_id


def values_of_entries(connection: Connection, tenant_id: str, first: int, last: int) -> list[tuple[Any, ...]]:
    """The rows that these entries booked (``last`` inclusive), by entry and id: the values of a :class:`Commission` each."""
    mine = (commissions.c.tenant_id == tenant_id) & commissions.c.entry_number.between(first, last)
    ordered = select(*_COLUMNS).where(mine).order_by(commissions.c.entry_number, commissions.c.commission_id)
    return read_rows(connection, ordered)


def stray_rows(connection: Connection, tenant_id: str, last: int) -> list[Commission]:
    """A few of the rows that name an entry outside 1 to ``last``, which only tampering makes."""
    found: list[Commission] = []
    for outside in (commissions.c.entry_number < 1, commissions.c.entry_number > last):
        stray = select(*_COLUMNS).where(commissions.c.tenant_id == tenant_id, outside)
        found += (Commission(*row) for row in connection.execute(stray.order_by(commissions.c.entry_number).limit(STRAY_AT_ONCE)))
    return found


def without_entry(connection: Connection, tenant_id: str) -> Iterator[Commission]:
    """The rows that no entry booked, by id: they earn nothing."""
    mine = (commissions.c.tenant_id == tenant_id) & commissions.c.entry_number.is_(None)
    statement = select(*_COLUMNS).where(mine).order_by(commissions.c.commission_id)
    with connection.execute(statement, execution_options={"yield_per": READ_AT_ONCE}) as rows:
        for row in rows:
            yield Commission(*row)


def by_ids(connection: Connection, tenant_id: str, commission_ids: Sequence[str]) -> Iterator[Commission]:
    """These rows, by id."""
    for start in range(0, len(commission_ids), IDS_AT_ONCE):
        mine = commissions.c.commission_id.in_(commission_ids[start : start + IDS_AT_ONCE])
        yield from sorted(_read(connection, (commissions.c.tenant_id == tenant_id) & mine), key=lambda row: row.commission_id)


def amounts_in_payouts(connection: Connection, tenant_id: str, payout_ids: Sequence[str] | None = None) -> dict[str, int]:
    """Commission id -> its amount, of every commission that a payout line names; of these payouts, or of all."""
    named = select(payout_lines.c.commission_id).where(payout_lines.c.tenant_id == tenant_id)
    if payout_ids is not None:
        named = named.where(payout_lines.c.payout_id.in_(payout_ids))
    mine = (commissions.c.tenant_id == tenant_id) & commissions.c.commission_id.in_(named)
    return {row[0]: int(row[1]) for row in connection.execute(select(commissions.c.commission_id, commissions.c.amount_minor).where(mine))}


def _before(currency: str, cutoff_at: Instant) -> Any:
    return (commissions.c.currency == currency) & (commissions.c.posted_at < cutoff_at)


def _move(connection: Connection, tenant_id: str, from_state: State, to_state: State, condition: Any) -> list[Claimed]:
    mine = (commissions.c.tenant_id == tenant_id) & (commissions.c.state == from_state) & condition
    moved = connection.execute(update(commissions).where(mine).values(state=to_state).returning(*_CLAIMED))
    return sorted((Claimed(*row) for row in moved.all()), key=lambda claimed: claimed.commission_id)


def _read(connection: Connection, condition: Any) -> list[Commission]:
    return [Commission(*row) for row in read_rows(connection, select(*_COLUMNS).where(condition))]
