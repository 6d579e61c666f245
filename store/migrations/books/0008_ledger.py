"""The ledger's states, periods, holds and adjustments, and what a posting was converted from.

A commission's states get other names: held is ``pending`` now, payable is ``approved``, batched is ``payable``; ``held`` is what somebody
put on hold. The sums of the accounts follow by an entry of their own (``payouts.renaming``), because nothing posted is changed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

STATE = "state IN ('none', 'pending', 'held', 'approved', 'payable', 'paid')"
KIND = "kind IN ('sale', 'refund', 'redecision', 'rejection', 'adjustment', 'bonus')"
RENAMED = "CASE state WHEN 'held' THEN 'pending' WHEN 'payable' THEN 'approved' WHEN 'batched' THEN 'payable' ELSE state END"
# fmt: off
COMMISSION = (
    "tenant_id", "commission_id", "programme_id", "order_id", "line_id", "affiliate_id", "kind", "currency",
    "base_minor", "amount_minor", "rate_card_version", "rule_id", "reason", "touch_id", "decision_revision",
    "policy_version", "inputs_hash", "ordered_at", "hold_until", "posted_at", "entry_number", "idempotency_key",
)
ADJUSTMENT = (
    "tenant_id", "adjustment_id", "programme_id", "affiliate_id", "currency", "amount_minor", "reason", "proposed_by", "proposed_at",
    "limit_minor",
)
# fmt: on
APPEND_ONLY = ("periods", "holds")
CLOSED = "the period of this entry is closed: post it in an open one"
DECIDED = "a proposal is decided once, and never changed: propose another one"


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.add_column("entries", _text("period", 7))
    for name, length in (("original_currency", 3), ("rate", 128), ("rate_source", 32), ("rate_date", 10)):
        op.add_column("postings", _text(name, length))
    op.add_column("postings", sa.Column("original_minor", sa.BigInteger(), server_default="0", nullable=False))
    _create_periods()
    _create_holds()
    _create_adjustments()
    for statement in [*(_postgresql_states() if is_postgresql else []), *(_postgresql() if is_postgresql else _sqlite())]:
        op.execute(statement)
    if not is_postgresql:
        _sqlite_states()


# --- tables ----------------------------------------------------------------------------------------------------------


def _create_periods() -> None:
    op.create_table(
        "periods",
        _key("tenant_id"),
        _key("month", 7),
        _text("closed_by"),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("head_number", sa.Integer(), nullable=False),
        _text("head_hash", 64),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_periods_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("pk_periods")),
    )


def _create_holds() -> None:
    op.create_table(
        "holds",
        _key("tenant_id"),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        _text("order_id", 128),
        _text("affiliate_id", 64),
        _text("reason"),
        _text("decided_by"),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("action IN ('hold', 'release', 'reject')", name=op.f("ck_holds_action")),
        sa.CheckConstraint("order_id <> '' OR affiliate_id <> ''", name=op.f("ck_holds_subject")),
        sa.CheckConstraint("reason <> '' AND decided_by <> ''", name=op.f("ck_holds_reason")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("fk_holds_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "number", name=op.f("pk_holds")),
    )
    op.create_index(op.f("ix_holds_tenant_id_order_id_affiliate_id"), "holds", ["tenant_id", "order_id", "affiliate_id"], unique=False)


def _create_adjustments() -> None:
    op.create_table(
        "adjustments",
        _key("tenant_id"),
        _key("adjustment_id"),
        _key("programme_id"),
        _key("affiliate_id"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        _text("reason"),
        _text("proposed_by"),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("limit_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        _text("decided_by"),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        _text("decided_reason"),
        sa.CheckConstraint("amount_minor <> 0 AND limit_minor >= 0", name=op.f("ck_adjustments_amount")),
        sa.CheckConstraint("reason <> '' AND proposed_by <> ''", name=op.f("ck_adjustments_reason")),
        sa.CheckConstraint("state IN ('proposed', 'booked', 'rejected')", name=op.f("ck_adjustments_state")),
        sa.CheckConstraint("(state = 'proposed') = (decided_by = '')", name=op.f("ck_adjustments_decided")),
        sa.CheckConstraint(
            "state <> 'booked' OR amount_minor BETWEEN -limit_minor AND limit_minor OR decided_by <> proposed_by",
            name=op.f("ck_adjustments_four_eyes"),
        ),
        sa.ForeignKeyConstraint(["affiliate_id"], ["affiliates.affiliate_id"], name=op.f("fk_adjustments_affiliates")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_adjustments_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "adjustment_id", name=op.f("pk_adjustments")),
    )


def _key(name: str, length: int = 64) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _text(name: str, length: int = 255) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), server_default="", nullable=False)


# --- guards ----------------------------------------------------------------------------------------------------------


def _sqlite() -> list[str]:
    closed = "EXISTS (SELECT 1 FROM periods WHERE tenant_id = NEW.tenant_id AND month >= NEW.period)"
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in ADJUSTMENT)
    return [
        *(_sqlite_refusal(table, action) for table in APPEND_ONLY for action in ("UPDATE", "DELETE")),
        _sqlite_refusal("adjustments", "DELETE"),
        "CREATE TRIGGER adjustments_decided_once BEFORE UPDATE ON adjustments "
        f"WHEN OLD.state <> 'proposed' OR {changed} BEGIN SELECT RAISE(ABORT, '{DECIDED}'); END",
        f"CREATE TRIGGER entries_open_period BEFORE INSERT ON entries WHEN {closed} BEGIN SELECT RAISE(ABORT, '{CLOSED}'); END",
    ]


def _sqlite_refusal(table: str, action: str, when: str = "") -> str:
    return (
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table}{when} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: post a correction instead'); END"
    )


def _postgresql() -> list[str]:
    rows = [
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        for table, action in [*((table, action) for table in APPEND_ONLY for action in ("UPDATE", "DELETE")), ("adjustments", "DELETE")]
    ]
    tables = [
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in (*APPEND_ONLY, "adjustments")
    ]
    decided = " - ".join(["to_jsonb({row})", *(f"'{name}'" for name in ("state", "decided_by", "decided_at", "decided_reason"))])
    changed = f"{decided.format(row='OLD')} IS DISTINCT FROM {decided.format(row='NEW')}"
    return [
        *rows,
        *tables,
        _function("refuse_decided", DECIDED),
        "CREATE TRIGGER adjustments_decided_once BEFORE UPDATE ON adjustments FOR EACH ROW "
        f"WHEN (OLD.state <> 'proposed' OR {changed}) EXECUTE FUNCTION refuse_decided()",
        _function("refuse_closed", CLOSED, "EXISTS (SELECT 1 FROM periods WHERE tenant_id = NEW.tenant_id AND month >= NEW.period)"),
        "CREATE TRIGGER entries_open_period BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION refuse_closed()",
    ]


def _function(name: str, message: str, condition: str = "true") -> str:
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN "
        f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = '{message}'; END IF; RETURN NEW; END $$"
    )


# --- states ----------------------------------------------------------------------------------------------------------


def _postgresql_states() -> list[str]:
    return [
        "ALTER TABLE commissions DROP CONSTRAINT ck_commissions_state",
        "ALTER TABLE commissions DROP CONSTRAINT ck_commissions_kind",
        f"UPDATE commissions SET state = {RENAMED} WHERE state <> 'none'",
        f"ALTER TABLE commissions ADD CONSTRAINT ck_commissions_state CHECK ({STATE})",
        f"ALTER TABLE commissions ADD CONSTRAINT ck_commissions_kind CHECK ({KIND})",
    ]


def _sqlite_states() -> None:
    """A check cannot be altered there: both tables are written anew, the one that points to the other first."""
    _create_commissions("commissions_new")
    columns = ", ".join(COMMISSION)
    op.execute(f"INSERT INTO commissions_new ({columns}, state) SELECT {columns}, {RENAMED} FROM commissions")
    _create_payout_lines("payout_lines_new", "commissions_new")
    op.execute("INSERT INTO payout_lines_new SELECT tenant_id, payout_id, commission_id, amount_minor, live FROM payout_lines")
    for table in ("payout_lines", "commissions"):
        op.drop_table(table)
    for table in ("commissions", "payout_lines"):
        op.rename_table(f"{table}_new", table)
    for names in (["affiliate_id", "tenant_id"], ["tenant_id", "order_id"], ["tenant_id", "state", "hold_until"]):
        op.create_index(op.f(f"ix_commissions_{'_'.join(names)}"), "commissions", names, unique=False)
    live = sa.text("live")
    op.create_index("uq_payout_lines_live", "payout_lines", ["tenant_id", "commission_id"], unique=True, sqlite_where=live)
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in COMMISSION)
    op.execute(_sqlite_refusal("commissions", "UPDATE", f" WHEN {changed}"))
    op.execute(_sqlite_refusal("commissions", "DELETE"))


def _create_commissions(table: str) -> None:
    op.create_table(
        table,
        _key("tenant_id"),
        _key("commission_id"),
        _key("programme_id"),
        _key("order_id", 128),
        _key("line_id", 128),
        _text("affiliate_id", 64),
        _key("kind", 16),
        _key("currency", 3),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("rate_card_version", sa.Integer(), nullable=False),
        _text("rule_id", 64),
        _text("reason", 32),
        _text("touch_id", 128),
        sa.Column("decision_revision", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        _text("inputs_hash", 64),
        _key("state", 16),
        sa.Column("ordered_at", sa.BigInteger(), nullable=False),
        sa.Column("hold_until", sa.BigInteger(), nullable=False),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("entry_number", sa.Integer(), nullable=True),
        _key("idempotency_key", 255),
        sa.CheckConstraint(KIND, name=op.f("ck_commissions_kind")),
        sa.CheckConstraint(STATE, name=op.f("ck_commissions_state")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "programme_id"], ["programmes.tenant_id", "programmes.programme_id"], name=op.f("fk_commissions_programmes")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "commission_id", name=op.f("pk_commissions")),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name=op.f("uq_commissions_tenant_id_idempotency_key")),
    )


def _create_payout_lines(table: str, commissions: str) -> None:
    op.create_table(
        table,
        _key("tenant_id"),
        _key("payout_id"),
        _key("commission_id"),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "commission_id"],
            [f"{commissions}.tenant_id", f"{commissions}.commission_id"],
            name=op.f("fk_payout_lines_commissions"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "payout_id"], ["payouts.tenant_id", "payouts.payout_id"], name=op.f("fk_payout_lines_payouts")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "payout_id", "commission_id", name=op.f("pk_payout_lines")),
    )
