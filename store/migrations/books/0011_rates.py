"""Published exchange rates: append-only, like the money that is converted by them. And days of traffic, as they were counted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "exchange_rates",
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("published_on", sa.String(length=10), nullable=False),
        sa.Column("value", sa.String(length=20), nullable=False),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "currency", "published_on", name=op.f("pk_exchange_rates")),
    )
    op.create_index(op.f("ix_exchange_rates_source_published_on"), "exchange_rates", ["source", "published_on"])
    _traffic_days()
    for statement in _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite():
        op.execute(statement)


def _traffic_days() -> None:
    op.create_table(
        "traffic_days",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("programme_id", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("known_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("named", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("addressed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counts", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("setting", sa.JSON(), nullable=True),
        sa.Column("problem", sa.String(length=255), server_default="", nullable=False),
        sa.Column("worked_at", sa.BigInteger(), nullable=True),
        sa.Column("order_id", sa.String(length=128), nullable=False),
        sa.Column("inputs_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("payments", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("subject IN ('click', 'impression')", name=op.f("ck_traffic_days_subject")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_traffic_days_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "programme_id", "affiliate_id", "subject", "day", name=op.f("pk_traffic_days")),
        sa.UniqueConstraint("tenant_id", "order_id", name=op.f("uq_traffic_days_tenant_id_order_id")),
    )
    op.create_index(op.f("ix_traffic_days_due_at"), "traffic_days", ["due_at"])


def _sqlite() -> list[str]:
    return [
        f"CREATE TRIGGER exchange_rates_no_{action.lower()} BEFORE {action} ON exchange_rates "
        "BEGIN SELECT RAISE(ABORT, 'exchange_rates is append-only: what was published stays'); END"
        for action in ("UPDATE", "DELETE")
    ]


def _postgresql() -> list[str]:
    rows = [
        f"CREATE TRIGGER exchange_rates_no_{action.lower()} BEFORE {action} ON exchange_rates FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        for action in ("UPDATE", "DELETE")
    ]
    return [
        *rows,
        "CREATE TRIGGER exchange_rates_no_truncate BEFORE TRUNCATE ON exchange_rates FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    ]
