"""Overrides, reruns, disputes, replays: what people decide about decisions, and what they try first."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

APPEND_ONLY = ("overrides", "reruns", "dispute_steps")


def upgrade() -> None:
    _decisions_of_people()
    _disputes()
    _replays()
    for statement in _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite():
        op.execute(statement)


def _decisions_of_people() -> None:
    op.create_table(
        "overrides",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("decided_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.String(length=64), server_default="", nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_overrides_version")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_overrides_tenants")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_overrides")),
        sa.UniqueConstraint("tenant_id", "order_id", "version", name=op.f("uq_overrides_tenant_id_order_id_version")),
    )
    op.create_table(
        "reruns",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("to_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("requested_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("from_at < to_at", name=op.f("ck_reruns_period")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_reruns_tenants")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_reruns")),
    )


def _disputes() -> None:
    op.create_table(
        "disputes",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("opened_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("seen_by_affiliate", sa.JSON(), nullable=True),
        sa.Column("seen_by_merchant", sa.JSON(), nullable=True),
        sa.Column("override_version", sa.Integer(), nullable=True),
        sa.CheckConstraint("kind IN ('untracked', 'incorrect', 'declined')", name=op.f("ck_disputes_kind")),
        sa.CheckConstraint("state IN ('open', 'incomplete', 'valid', 'declined', 'withdrawn')", name=op.f("ck_disputes_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_disputes_tenants")),
        sa.ForeignKeyConstraint(["affiliate_id"], ["affiliates.affiliate_id"], name=op.f("fk_disputes_affiliates")),
        sa.PrimaryKeyConstraint("tenant_id", "case_id", name=op.f("pk_disputes")),
    )
    op.create_index(op.f("ix_disputes_affiliate_id_opened_at"), "disputes", ["affiliate_id", "opened_at"])
    op.create_index(op.f("ix_disputes_tenant_id_order_id"), "disputes", ["tenant_id", "order_id"])
    op.create_table(
        "dispute_steps",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("message", sa.String(length=2048), server_default="", nullable=False),
        sa.Column("by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("side IN ('affiliate', 'merchant')", name=op.f("ck_dispute_steps_side")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "case_id"], ["disputes.tenant_id", "disputes.case_id"], name=op.f("fk_dispute_steps_disputes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "case_id", "position", name=op.f("pk_dispute_steps")),
    )


def _replays() -> None:
    op.create_table(
        "replays",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("replay_id", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("to_at", sa.BigInteger(), nullable=True),
        sa.Column("policies", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.String(length=128), server_default="", nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("tally", sa.JSON(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=True),
        sa.Column("applied_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("rerun_number", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('running', 'stopped', 'failed', 'done', 'applied')", name=op.f("ck_replays_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_replays_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "replay_id", name=op.f("pk_replays")),
    )
    op.create_index(op.f("ix_replays_tenant_id_fingerprint"), "replays", ["tenant_id", "fingerprint"])
    op.create_table(
        "replay_orders",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("replay_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("change", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "replay_id"], ["replays.tenant_id", "replays.replay_id"], name=op.f("fk_replay_orders_replays")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "replay_id", "order_id", name=op.f("pk_replay_orders")),
    )


def _sqlite() -> list[str]:
    return [
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: post a correction instead'); END"
        for table in APPEND_ONLY
        for action in ("UPDATE", "DELETE")
    ]


def _postgresql() -> list[str]:
    rows = [
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
        for action in ("UPDATE", "DELETE")
    ]
    tables = [
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
    ]
    return [*rows, *tables]
