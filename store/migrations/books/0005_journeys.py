"""Policies of every model and rule, segments, coalitions, programmes with dates, software among affiliates, exclusive codes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TEXTS = ("coupon_rule", "paid_rule", "direct_rule", "self_referral")
# fmt: off
POLICY_DEFAULTS = {
    "first_bps": "4000", "last_bps": "4000", "half_life_hours": "168", "introducer_bps": "3000", "closer_bps": "5000",
    "coupon_rule": "by_rank", "coupon_bps": "5000", "paid_rule": "ignore", "paid_recent": "1", "direct_rule": "ignore",
    "self_referral": "flag", "min_seconds_to_order": "0", "stand_down_minutes": "0", "lock_days": "60",
}
# fmt: on


def upgrade() -> None:
    op.add_column("tenants", sa.Column("lapsed_after_days", sa.Integer(), server_default="365", nullable=False))
    op.add_column("programmes", sa.Column("segments", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
    for name in ("starts_at", "ends_at"):
        op.add_column("programmes", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("memberships", sa.Column("software", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("coupons", sa.Column("exclusive", sa.Boolean(), server_default=sa.false(), nullable=False))
    _policies()
    op.create_table(
        "segments",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("segment_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_segments_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "segment_id", name=op.f("pk_segments")),
    )
    op.create_table(
        "coalitions",
        sa.Column("coalition_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("marketplace_id", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("coalition_id", name=op.f("pk_coalitions")),
    )


def _policies() -> None:
    op.add_column("policies", sa.Column("segment", sa.String(length=64), server_default="", nullable=False))
    op.add_column("policies", sa.Column("guard_exclusive_codes", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("policies", sa.Column("paid_media", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
    for name, default in POLICY_DEFAULTS.items():
        kind = sa.String(length=32) if name in TEXTS else sa.Integer()
        op.add_column("policies", sa.Column(name, kind, server_default=default, nullable=False))
    # The one model of earlier versions, under its name among the others. It decides as it did.
    op.execute("UPDATE policies SET model = 'last' WHERE model = 'last_click'")
