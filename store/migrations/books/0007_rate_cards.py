"""Rate cards of every rule: conditions, tiers, limits, bonuses, recruiters, currencies; and what they ask of members and coupons."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

LISTS = ("pays_on", "limits", "bonuses", "recruiter_bps")
WORDS = {"priced_at": (16, "order"), "recruiter_of": (16, "commission"), "settle_in": (3, ""), "fx_rounding": (16, "down")}


def upgrade() -> None:
    op.add_column("tenants", sa.Column("adjustment_limit_minor", sa.BigInteger(), server_default="0", nullable=False))
    for table, name in (("memberships", "group"), ("memberships", "recruited_by"), ("coupons", "coupon_class")):
        op.add_column(table, sa.Column(name, sa.String(length=64), server_default="", nullable=False))
    op.add_column("rate_cards", sa.Column("minimum_order_minor", sa.BigInteger(), server_default="0", nullable=False))
    for name in LISTS:
        op.add_column("rate_cards", sa.Column(name, sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
    for name, (length, default) in WORDS.items():
        op.add_column("rate_cards", sa.Column(name, sa.String(length=length), server_default=default, nullable=False))
