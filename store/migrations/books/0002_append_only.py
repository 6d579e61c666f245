"""What was posted stays posted: the database itself refuses to change or delete money's rows.

A correction is a new row. Of a commission only ``state`` may move (held, payable, batched, paid).
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("entries", "postings", "commissions")
# fmt: off
COMMISSION_FIXED = (
    "tenant_id", "commission_id", "programme_id", "order_id", "line_id", "affiliate_id", "kind", "currency",
    "base_minor", "amount_minor", "rate_card_version", "rule_id", "reason", "touch_id", "decision_revision",
    "policy_version", "inputs_hash", "ordered_at", "hold_until", "posted_at", "entry_number", "idempotency_key",
)
# fmt: on


def upgrade() -> None:
    for statement in _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite():
        op.execute(statement)


def _sqlite() -> list[str]:
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in COMMISSION_FIXED)
    when = {("commissions", "UPDATE"): f" WHEN {changed}"}
    return [
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table}{when.get((table, action), '')} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: post a correction instead'); END"
        for table in TABLES
        for action in ("UPDATE", "DELETE")
    ]


def _postgresql() -> list[str]:
    function = (
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', "
        "MESSAGE = TG_TABLE_NAME || ' is append-only: post a correction instead'; END $$"
    )
    when = {("commissions", "UPDATE"): " WHEN (to_jsonb(OLD) - 'state' IS DISTINCT FROM to_jsonb(NEW) - 'state')"}
    rows = [
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} FOR EACH ROW{when.get((table, action), '')} "
        "EXECUTE FUNCTION refuse_change()"
        for table in TABLES
        for action in ("UPDATE", "DELETE")
    ]
    tables = [
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in TABLES
    ]
    return [function, *rows, *tables]
