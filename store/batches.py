"""Payout batches, their payouts and lines. Statements only; the rules are in payouts.batches."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from core.clock import Instant
from store.commissions import Claimed, State
from store.schema import affiliates, batches, commissions, payout_lines, payouts

IDS_AT_ONCE = 500
BatchState = Literal["prepared", "approved", "settled", "void"]
WhyLeftOut = Literal["negative", "below_minimum", "no_bank_details"]


class LeftOut(msgspec.Struct, frozen=True):
    """An affiliate that a batch does not pay, and why; its balance stays approved and meets the next batch."""

    affiliate_id: str
    amount_minor: int
    why: WhyLeftOut


class PayoutLine(msgspec.Struct, frozen=True, array_like=True):
    """One commission inside a payout. ``live`` ends when the batch is voided."""

    commission_id: str
    amount_minor: int
    live: bool = True


class Payout(msgspec.Struct, frozen=True):
    """What one affiliate gets in a batch, to the account that it had when the batch was prepared."""

    payout_id: str
    affiliate_id: str
    currency: str
    amount_minor: int
    account_holder: str
    iban: str
    lines: tuple[PayoutLine, ...] = ()


class Batch(msgspec.Struct, frozen=True):
    """Payouts of one tenant and currency that are prepared, approved and settled together.

    It holds what was approved and posted before ``cutoff_at`` (exclusive). ``content_hash`` covers header, payouts, accounts and lines.
    """

    tenant_id: str
    batch_id: str
    currency: str
    state: BatchState
    cutoff_at: Instant
    prepared_by: str
    prepared_at: Instant
    content_hash: str
    approved_by: str | None = None
    approved_at: Instant | None = None
    approved_hash: str | None = None
    settled_at: Instant | None = None
    settled_by: str = ""
    voided_at: Instant | None = None
    voided_by: str = ""
    left_out: tuple[LeftOut, ...] = ()
    payouts: tuple[Payout, ...] = ()

    @property
    def amount_minor(self) -> int:
        """The control sum."""
        return sum(payout.amount_minor for payout in self.payouts)


class PayoutRow(msgspec.Struct, frozen=True):
    """A payout as an affiliate sees it: with its batch's state and times."""

    tenant_id: str
    batch_id: str
    payout_id: str
    affiliate_id: str
    currency: str
    amount_minor: int
    state: BatchState
    prepared_at: Instant
    settled_at: Instant | None


_BATCH = [name for name in Batch.__struct_fields__ if name != "payouts"]
_PAYOUT = [name for name in Payout.__struct_fields__ if name != "lines"]


def next_number(connection: Connection, tenant_id: str) -> int:
    """The number of a tenant's next batch, from 1. The caller holds the tenant's lock."""
    return int(connection.scalar(select(func.count()).select_from(batches).where(batches.c.tenant_id == tenant_id)) or 0) + 1


def bank_accounts(connection: Connection, affiliate_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """``affiliate_id`` -> account holder and IBAN, each empty where the affiliate gave none."""
    mine = affiliates.c.affiliate_id.in_(affiliate_ids)
    rows = connection.execute(select(affiliates.c.affiliate_id, affiliates.c.account_holder, affiliates.c.iban).where(mine))
    return {row[0]: (row[1], row[2]) for row in rows}


def insert_batch(connection: Connection, batch: Batch) -> None:
    """Write a batch with its payouts and their lines."""
    values = {name: getattr(batch, name) for name in _BATCH} | {"left_out": msgspec.to_builtins(batch.left_out)}
    connection.execute(insert(batches).values(values))
    of_batch = {"tenant_id": batch.tenant_id, "batch_id": batch.batch_id}
    rows = [{**of_batch, **{name: getattr(payout, name) for name in _PAYOUT}} for payout in batch.payouts]
    connection.execute(insert(payouts), rows)
    lines = [
        {"tenant_id": batch.tenant_id, "payout_id": payout.payout_id, **msgspec.structs.asdict(line)}
        for payout in batch.payouts
        for line in payout.lines
    ]
    connection.execute(insert(payout_lines), lines)


def read_batch(connection: Connection, tenant_id: str, batch_id: str) -> Batch | None:
    """A batch with its payouts, by affiliate, and their lines, by commission id."""
    row = connection.execute(select(*(batches.c[name] for name in _BATCH)).where(_is(tenant_id, batch_id))).first()
    if row is None:
        return None
    lines = _lines(connection, tenant_id, batch_id)
    mine = (payouts.c.tenant_id == tenant_id) & (payouts.c.batch_id == batch_id)
    paid = connection.execute(select(*(payouts.c[name] for name in _PAYOUT)).where(mine))
    held = [Payout(**one._mapping, lines=lines.get(one.payout_id, ())) for one in paid]
    return msgspec.structs.replace(_batch(row), payouts=tuple(sorted(held, key=lambda payout: payout.affiliate_id)))


def read_batches(connection: Connection, tenant_id: str) -> list[Batch]:
    """A tenant's batches, newest first, without their payouts."""
    columns = [batches.c[name] for name in _BATCH]
    rows = connection.execute(select(*columns).where(batches.c.tenant_id == tenant_id)).all()
    return sorted(map(_batch, rows), key=lambda batch: (batch.prepared_at, len(batch.batch_id), batch.batch_id), reverse=True)


def batch_sums(connection: Connection, tenant_id: str) -> dict[str, tuple[int, int]]:
    """Batch id -> number of payouts and control sum, for a tenant's list of batches."""
    sums = select(payouts.c.batch_id, func.count(), func.sum(payouts.c.amount_minor)).where(payouts.c.tenant_id == tenant_id)
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(sums.group_by(payouts.c.batch_id))}


def payouts_of_affiliate(connection: Connection, affiliate_id: str, tenant_id: str | None = None) -> list[PayoutRow]:
    """An affiliate's payouts, newest first; those of void batches are left out."""
    same = (batches.c.tenant_id == payouts.c.tenant_id) & (batches.c.batch_id == payouts.c.batch_id)
    mine: Any = (payouts.c.affiliate_id == affiliate_id) & (batches.c.state != "void")
    if tenant_id is not None:
        mine &= payouts.c.tenant_id == tenant_id
    columns = (
        *(payouts.c[name] for name in ("tenant_id", "batch_id", "payout_id", "affiliate_id", "currency", "amount_minor")),
        *(batches.c[name] for name in ("state", "prepared_at", "settled_at")),
    )
    newest = (batches.c.prepared_at.desc(), payouts.c.tenant_id, payouts.c.payout_id)
    return [PayoutRow(*row) for row in connection.execute(select(*columns).join(batches, same).where(mine).order_by(*newest))]


def mark_approved(connection: Connection, tenant_id: str, batch_id: str, by: str, content_hash: str, at: Instant) -> bool:
    """False where the batch is not prepared any more, or has another content."""
    ready = _is(tenant_id, batch_id) & (batches.c.state == "prepared") & (batches.c.content_hash == content_hash)
    values = {"state": "approved", "approved_by": by, "approved_hash": content_hash, "approved_at": at}
    return connection.execute(update(batches).where(ready).values(values)).rowcount == 1


def mark_settled(connection: Connection, tenant_id: str, batch_id: str, by: str, at: Instant) -> bool:
    """False where the batch is not approved (any more)."""
    ready = _is(tenant_id, batch_id) & (batches.c.state == "approved")
    return connection.execute(update(batches).where(ready).values(state="settled", settled_by=by, settled_at=at)).rowcount == 1


def mark_void(connection: Connection, tenant_id: str, batch_id: str, by: str, at: Instant) -> bool:
    """False where the batch is neither prepared nor approved (any more)."""
    ready = _is(tenant_id, batch_id) & batches.c.state.in_(("prepared", "approved"))
    return connection.execute(update(batches).where(ready).values(state="void", voided_by=by, voided_at=at)).rowcount == 1


def move_commissions(connection: Connection, tenant_id: str, batch_id: str, from_state: State, to_state: State) -> list[Claimed]:
    """Move the state of a batch's live commissions; returns what moved, by id."""
    mine = (commissions.c.tenant_id == tenant_id) & (commissions.c.state == from_state)
    mine &= commissions.c.commission_id.in_(_live_ids(tenant_id, batch_id))
    columns = [commissions.c[name] for name in Claimed.__struct_fields__]
    moved = connection.execute(update(commissions).where(mine).values(state=to_state).returning(*columns))
    return sorted((Claimed(*row) for row in moved), key=lambda claimed: claimed.commission_id)


def end_lines(connection: Connection, tenant_id: str, batch_id: str) -> None:
    """A void batch's lines live no more; their commissions may be claimed again."""
    of_batch = select(payouts.c.payout_id).where(payouts.c.tenant_id == tenant_id, payouts.c.batch_id == batch_id)
    mine = (payout_lines.c.tenant_id == tenant_id) & payout_lines.c.payout_id.in_(of_batch)
    connection.execute(update(payout_lines).where(mine).values(live=False))


def live_batches(connection: Connection, tenant_id: str, commission_ids: Sequence[str] | None = None) -> dict[str, str]:
    """Commission id -> state of the batch in which it has a live line; ``twice`` for two. Of these commissions, or of all."""
    found: dict[str, str] = {}
    in_payout = (payouts.c.tenant_id == payout_lines.c.tenant_id) & (payouts.c.payout_id == payout_lines.c.payout_id)
    in_batch = (batches.c.tenant_id == payouts.c.tenant_id) & (batches.c.batch_id == payouts.c.batch_id)
    joined = payout_lines.join(payouts, in_payout).join(batches, in_batch)
    live = select(payout_lines.c.commission_id, batches.c.state).select_from(joined)
    live = live.where(payout_lines.c.tenant_id == tenant_id, payout_lines.c.live)
    pages = (
        [None] if commission_ids is None else [commission_ids[at : at + IDS_AT_ONCE] for at in range(0, len(commission_ids), IDS_AT_ONCE)]
    )
    for ids in pages:
        wanted = live if ids is None else live.where(payout_lines.c.commission_id.in_(ids))
        for commission_id, state in connection.execute(wanted):
            found[commission_id] = "twice" if commission_id in found else state
    return found


def _live_ids(tenant_id: str, batch_id: str) -> Any:
    same = (payouts.c.tenant_id == payout_lines.c.tenant_id) & (payouts.c.payout_id == payout_lines.c.payout_id)
    mine = (payouts.c.tenant_id == tenant_id) & (payouts.c.batch_id == batch_id) & payout_lines.c.live
    return select(payout_lines.c.commission_id).join(payouts, same).where(mine)


def _lines(connection: Connection, tenant_id: str, batch_id: str) -> dict[str, tuple[PayoutLine, ...]]:
    same = (payouts.c.tenant_id == payout_lines.c.tenant_id) & (payouts.c.payout_id == payout_lines.c.payout_id)
    columns = [payout_lines.c[name] for name in ("payout_id", *PayoutLine.__struct_fields__)]
    mine = (payouts.c.tenant_id == tenant_id) & (payouts.c.batch_id == batch_id)
    rows = sorted(tuple(row) for row in connection.execute(select(*columns).join(payouts, same).where(mine)).all())
    return {payout_id: tuple(PayoutLine(*row[1:]) for row in lines) for payout_id, lines in groupby(rows, key=lambda row: row[0])}


def _is(tenant_id: str, batch_id: str) -> Any:
    return (batches.c.tenant_id == tenant_id) & (batches.c.batch_id == batch_id)


def _batch(row: Any) -> Batch:
    return msgspec.convert(dict(zip(_BATCH, row, strict=True)), Batch)
