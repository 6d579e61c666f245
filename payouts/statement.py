"""Statements: what one payout is made of, line by line, as records for a page and as CSV. The lines sum to the payout."""

import msgspec
from sqlalchemy import Connection

from core.clock import Instant, format_instant
from core.errors import NotFound
from core.money import format_amount
from payouts.cells import csv_bytes
from payouts.commissions import explain
from store.adjustments import reasons
from store.batches import Batch, BatchState, Payout, read_batch
from store.commissions import Kind, of_payout

COLUMNS = (
    "payout_id",
    "order_id",
    "line_id",
    "kind",
    "ordered_at",
    "posted_at",
    "rule",
    "rule_version",
    "base",
    "amount",
    "currency",
    "reason",
)


class StatementLine(msgspec.Struct, frozen=True):
    """One commission of a payout. ``base_minor`` is the net that it is about; negative in refunds and reversals.

    ``rule`` is the rule in words, or the reason of a manual adjustment, whose id is then the line's, without an order.
    """

    order_id: str
    line_id: str
    programme_id: str
    kind: Kind
    ordered_at: Instant
    posted_at: Instant
    rule: str
    rate_card_version: int
    base_minor: int
    amount_minor: int
    currency: str
    reason: str
    commission_id: str


class Statement(msgspec.Struct, frozen=True):
    """One affiliate's part of a batch. ``earned_minor`` plus ``taken_back_minor`` (zero or negative) is ``amount_minor``."""

    tenant_id: str
    batch_id: str
    payout_id: str
    affiliate_id: str
    state: BatchState
    currency: str
    cutoff_at: Instant
    settled_at: Instant | None
    amount_minor: int
    earned_minor: int
    taken_back_minor: int
    lines: tuple[StatementLine, ...]


def read_statement(connection: Connection, tenant_id: str, batch_id: str, affiliate_id: str) -> Statement:
    """The statement of one affiliate in one batch.

    Raises:
        NotFound: no such batch, or it does not pay this affiliate.
    """
    batch = read_batch(connection, tenant_id, batch_id)
    payout = next((payout for payout in batch.payouts if payout.affiliate_id == affiliate_id), None) if batch else None
    if batch is None or payout is None:
        raise NotFound(f"there is no statement of batch {batch_id} for {affiliate_id}")
    return _statement(connection, batch, payout)


def statement_csv(statement: Statement) -> bytes:
    """The statement's lines and a closing total, deterministic."""
    rows = [
        (
            statement.payout_id,
            line.order_id,
            line.line_id,
            line.kind,
            format_instant(line.ordered_at),
            format_instant(line.posted_at),
            line.rule,
            line.rate_card_version,
            format_amount(line.base_minor, line.currency),
            format_amount(line.amount_minor, line.currency),
            line.currency,
            line.reason,
        )
        for line in statement.lines
    ]
    total = format_amount(statement.amount_minor, statement.currency)
    return csv_bytes([COLUMNS, *rows, (statement.payout_id, "total", "", "", "", "", "", "", "", total, statement.currency, "")])


def _statement(connection: Connection, batch: Batch, payout: Payout) -> Statement:
    rows = of_payout(connection, batch.tenant_id, payout.payout_id)
    said = reasons(connection, batch.tenant_id, [row.line_id for row in rows if row.subject == "adjustment"])
    lines = tuple(
        StatementLine(
            order_id=one.commission.order_id,
            line_id=one.commission.line_id,
            programme_id=one.commission.programme_id,
            kind=one.commission.kind,
            ordered_at=one.commission.ordered_at,
            posted_at=one.commission.posted_at,
            rule=said.get(one.commission.line_id, "") if one.commission.subject == "adjustment" else one.rule,
            rate_card_version=one.commission.rate_card_version,
            base_minor=one.commission.base_minor,
            amount_minor=one.commission.amount_minor,
            currency=one.commission.currency,
            reason=one.commission.reason,
            commission_id=one.commission.commission_id,
        )
        for one in explain(connection, rows)
    )
    assert sum(line.amount_minor for line in lines) == payout.amount_minor, "a statement's lines sum to its payout"
    return Statement(
        tenant_id=batch.tenant_id,
        batch_id=batch.batch_id,
        payout_id=payout.payout_id,
        affiliate_id=payout.affiliate_id,
        state=batch.state,
        currency=payout.currency,
        cutoff_at=batch.cutoff_at,
        settled_at=batch.settled_at,
        amount_minor=payout.amount_minor,
        earned_minor=sum(line.amount_minor for line in lines if line.amount_minor > 0),
        taken_back_minor=sum(line.amount_minor for line in lines if line.amount_minor < 0),
        lines=lines,
    )
