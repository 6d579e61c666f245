"""What a commission was priced on: parts, limits, hashes and rates; and what each order was priced on, kept with it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TEXTS = (
    ("part", 16, ""),
    ("limit_id", 64, ""),
    ("pricing_hash", 64, ""),
    ("original_currency", 3, ""),
    ("rate", 128, ""),
    ("rate_source", 32, ""),
    ("rate_date", 10, ""),
    ("subject", 16, "order"),
)
MINORS = ("capped_minor", "original_minor")
# fmt: off
FIXED = (
    "tenant_id", "commission_id", "programme_id", "order_id", "line_id", "affiliate_id", "kind", "currency",
    "base_minor", "amount_minor", "rate_card_version", "rule_id", "reason", "touch_id", "decision_revision",
    "policy_version", "inputs_hash", "ordered_at", "hold_until", "posted_at", "entry_number", "idempotency_key",
    *(name for name, _, _ in TEXTS), *MINORS,
)
# fmt: on


def upgrade() -> None:
    for name, length, default in TEXTS:
        op.add_column("commissions", sa.Column(name, sa.String(length=length), server_default=default, nullable=False))
    for name in MINORS:
        op.add_column("commissions", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name in ("setting", "standing"):
        op.add_column("accruals", sa.Column(name, sa.JSON(), nullable=True))
    op.add_column("accruals", sa.Column("pricings", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
    if op.get_bind().dialect.name != "postgresql":  # there the guard compares whole rows
        _guard_on_sqlite()


def _guard_on_sqlite() -> None:
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in FIXED)
    op.execute("DROP TRIGGER commissions_no_update")
    op.execute(
        f"CREATE TRIGGER commissions_no_update BEFORE UPDATE ON commissions WHEN {changed} "
        "BEGIN SELECT RAISE(ABORT, 'commissions is append-only: post a correction instead'); END"
    )
