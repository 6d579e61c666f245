"""Many rows at once, as plain tuples: SQLAlchemy makes the statement, and the driver takes and gives the values as they are.

For the ledger alone: there, turning each row into named parameters and back took longer than the database.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, insert
from sqlalchemy.dialects import postgresql, sqlite


def write_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows whose values are in the order of ``columns``, and such as the driver takes: texts, whole numbers, None."""
    values = list(rows)
    if values:
        connection.exec_driver_sql(_insert(table, tuple(columns), connection.dialect.name), values)


def read_rows(connection: Connection, statement: Select[Any]) -> list[tuple[Any, ...]]:
    """All rows of a statement whose columns are such as the driver gives: texts, whole numbers, None. Keep them to a page."""
    with connection.execute(statement) as result:
        assert result.cursor is not None, "a SELECT has rows"
        return [*result.cursor.fetchall()]


@cache
def _insert(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    """The statement with a mark for each value, in order. There are as many as there are callers."""
    kinds: dict[str, Callable[..., Any]] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}
    positional = kinds[dialect](paramstyle={"sqlite": "qmark", "postgresql": "format"}[dialect])
    compiled = insert(table).compile(dialect=positional, column_keys=list(columns))
    assert compiled.positiontup == list(columns), "the columns are named in the table's order"
    return str(compiled)
