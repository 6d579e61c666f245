"""Tiers, limits and bonuses: what orders count for affiliates, what they were granted, and which are to be priced again."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    _measures()
    _grants()
    _table("zones", _name("tenant_id"), _name("time_zone"), key=2)
    _table("reprice", _name("tenant_id"), _order(), _at("ordered_at"), _name("why", 16), _flag("walk"), _at("queued_at"), key=2)
    op.create_index(op.f("ix_reprice_tenant_id_ordered_at_order_id"), "reprice", ["tenant_id", "ordered_at", "order_id"])
    names = [_name(name) for name in ("tenant_id", "programme_id", "affiliate_id", "bonus_id")]
    figures = [_number("version"), _order(), _at("ordered_at"), _at("amount_minor"), _number("booked")]
    _table("bonuses", *names, _name("period", 16), *figures, key=5)
    _count_old_orders()


def _measures() -> None:
    account = [_name("programme_id"), _name("affiliate_id")]
    sums = [_at("revenue_minor"), _at("commission_minor")]
    placed = [_at("ordered_at"), _name("time_zone"), _number("version"), _number("orders")]
    _table("measures", _name("tenant_id"), _order(), *account, *placed, *sums, key=4)
    _index("measures_account", "measures", "programme_id", "affiliate_id")
    _table("measure_days", _name("tenant_id"), *_again(account), _number("day"), _at("orders"), *_again(sums), key=4)
    key = [_name("tenant_id"), _order(), *_again(account), _name("rule_id")]
    period = [_at("ordered_at"), _name("measure", 16), _flag("retroactive"), _at("period_start"), _at("period_end")]
    high = sa.Column("high_minor", sa.BigInteger(), nullable=True)
    _table("steps", *key, *period, _number("step"), _at("low_minor"), high, key=5)
    _index("steps_account", "steps", "programme_id", "affiliate_id")


def _grants() -> None:
    account = [_name("programme_id"), _name("limit_id"), _name("affiliate_id")]
    amounts = [_at(name) for name in ("amount_minor", "left_minor", "asked_minor", "granted_minor")]
    granted = "granted_minor BETWEEN 0 AND left_minor AND left_minor <= asked_minor"
    check = sa.CheckConstraint(granted, name=op.f("ck_grants_granted"))
    key = [_name("tenant_id"), _order(), *account]
    _table("grants", *key, _at("ordered_at"), _at("period_start"), *amounts, check, key=5)
    _index("grants_account", "grants", "programme_id", "limit_id", "affiliate_id")
    _index("grants_cut", "grants", "programme_id", "limit_id", "affiliate_id", where=sa.text("left_minor < asked_minor"))
    _table("grant_days", _name("tenant_id"), *_again(account), _number("day"), _at("asked_minor"), _at("granted_minor"), key=5)


def _count_old_orders() -> None:
    """What earlier versions of the program booked is looked at once more: it counts for tiers, too."""
    op.execute(
        "INSERT INTO reprice (tenant_id, order_id, ordered_at, why, walk, queued_at) "
        "SELECT tenant_id, order_id, MIN(ordered_at), 'upgrade', FALSE, MAX(posted_at) FROM commissions "
        "WHERE affiliate_id <> '' GROUP BY tenant_id, order_id"
    )


def _table(name: str, *parts: Any, key: int) -> None:
    columns = [part.name for part in parts if isinstance(part, sa.Column)]
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*columns[:key], name=op.f(f"pk_{name}")))


def _index(name: str, table: str, *account: str, where: Any = None) -> None:
    columns = ["tenant_id", *account, "ordered_at", "order_id"]
    op.create_index(op.f(f"ix_{name}"), table, columns, sqlite_where=where, postgresql_where=where)


def _name(name: str, length: int = 64) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _order() -> sa.Column[Any]:
    """Compared by its characters, the same in every database."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    return sa.Column("order_id", sa.String(length=128, collation="C" if postgresql else None), nullable=False)


def _at(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=False)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _again(columns: list[sa.Column[Any]]) -> list[sa.Column[Any]]:
    """Columns like these, for another table."""
    return [sa.Column(column.name, column.type, nullable=False) for column in columns]
