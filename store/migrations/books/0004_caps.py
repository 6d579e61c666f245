"""Click caps of links and programmes, where a capped click leads, and which change wrote a link last."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in ("programmes", "links"):
        op.add_column(table, sa.Column("daily_click_cap", sa.Integer(), nullable=True))
        op.add_column(table, sa.Column("total_click_cap", sa.Integer(), nullable=True))
        op.add_column(table, sa.Column("fallback_url", sa.String(length=2048), server_default="", nullable=False))
    op.add_column("links", sa.Column("changed_version", sa.Integer(), server_default="0", nullable=False))
    op.create_index(op.f("ix_links_changed_version"), "links", ["changed_version"])
