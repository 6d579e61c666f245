"""Commissions are found by the entry that booked them, so that verify reads what new entries booked, and nothing else."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_index(op.f("ix_commissions_tenant_id_entry_number"), "commissions", ["tenant_id", "entry_number"])
