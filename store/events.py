"""The events store: ClickHouse over HTTP or chDB in process, through one client and one SQL dialect."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.exceptions import ClickHouseError

from core.errors import Unavailable

LOADER_SETTINGS = {"async_insert": 0, "insert_deduplicate": 1}


class Query(msgspec.Struct, frozen=True):
    """One question: its name, and the SQL of ``<package>/queries/<name>.sql`` with its header."""

    name: str
    sql: str


def read_query(module_file: str, name: str) -> Query:
    """The query beside a module: ``read_query(__file__, "touches_for_orders")``, once, at import."""
    return Query(name, (Path(module_file).parent / "queries" / f"{name}.sql").read_text("utf-8"))


class EventsStore:
    """An open events store. Safe to share between threads: one statement at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = Lock()

    def select(self, query: Query, **params: Any) -> list[tuple[Any, ...]]:
        """The rows of a query file, as tuples in the order of its columns. ``params`` are bound, never pasted.

        Raises:
            Unavailable: the store cannot be reached or refuses the query.
        """
        with self._guarded():
            return list(self._client.query(query.sql, parameters=params).result_rows)

    def select_named(self, query: Query, **params: Any) -> list[dict[str, Any]]:
        """Like :meth:`select`, each row a dict by column name."""
        with self._guarded():
            return list(self._client.query(query.sql, parameters=params).named_results())

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        """Insert newline-separated JSON objects as one block; the same ``token`` twice stores them once.

        Keep a block inside one month partition and below a million rows. Times are written ``seconds.milliseconds``.
        """
        settings = LOADER_SETTINGS | {"insert_deduplication_token": token}
        with self._guarded():
            self._client.raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings=settings)

    def insert_columns(self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]], token: str) -> None:
        """Insert one block given column by column, under the same rules as :meth:`insert_json`."""
        settings = LOADER_SETTINGS | {"insert_deduplication_token": token}
        with self._guarded():
            self._client.insert(table, columns, column_names=list(names), column_oriented=True, settings=settings)

    def command(self, sql: str, **params: Any) -> Any:
        """Run one statement that is no question: a migration, a setting."""
        with self._guarded():
            return self._client.command(sql, parameters=params or None)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except ClickHouseError as error:
                raise Unavailable(f"the events store cannot answer now: {str(error).splitlines()[0]:.300}") from error


def connect_events(url: str) -> EventsStore:
    """Connect to ``chdb:///path`` (this process then owns the folder) or ``clickhouse://user:password@host:port/database``."""
    try:
        return EventsStore(clickhouse_connect.get_client(dsn=url))
    except ClickHouseError as error:
        raise Unavailable(f"the events store cannot be opened: {str(error).splitlines()[0]:.300}") from error
