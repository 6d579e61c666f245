"""The events store: ClickHouse over HTTP or chDB in process, through one client and one SQL dialect."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import BoundedSemaphore, Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httputil import get_pool_manager

from core.errors import InUse, Unavailable
from core.settings import Settings
from store.installation import DataLock, door_of_owner, lock_data

if TYPE_CHECKING:
    import pyarrow

LOADER_SETTINGS = {"async_insert": 0, "insert_deduplicate": 1, "input_format_parallel_parsing": 0}
"""One block is too small to share among threads: parsed in one, it takes two thirds of the processor time."""

PARAMETER_BYTES = 60_000
"""Servers refuse parameters above 128 KiB; escaping may double a text."""

MAX_CLIENTS = 6
"""Statements at once: a page must not wait for the drain's insert, and more would only share the same cores."""

PATIENCE_S = 5.0
CONNECT_WITHIN_S, ANSWER_WITHIN_S = 5, 120
"""Longer, and a server that hangs would hang every command and page with it."""


class Query(msgspec.Struct, frozen=True):
    """One question: its name, and the SQL of ``<package>/queries/<name>.sql`` with its header."""

    name: str
    sql: str


def read_query(module_file: str, name: str) -> Query:
    """The query beside a module: ``read_query(__file__, "touches_for_orders")``, once, at import."""
    return Query(name, (Path(module_file).parent / "queries" / f"{name}.sql").read_text("utf-8"))


def parts_of(texts: Iterable[str], most_bytes: int = PARAMETER_BYTES) -> Iterator[list[str]]:
    """The distinct texts, sorted, in parts that each fit into one parameter of a query."""
    part: list[str] = []
    size = 0
    for text in sorted(set(texts)):
        size += len(text.encode()) + 3
        if part and size > most_bytes:
            yield part
            part, size = [], len(text.encode()) + 3
        part.append(text)
    if part:
        yield part


class EventsStore:
    """An open events store. Safe to share between threads: each statement takes a client of its own, up to ``MAX_CLIENTS``."""

    def __init__(self, connect: Callable[[], Any], on_close: Callable[[], None] = lambda: None) -> None:
        """``connect`` opens one more client; ``on_close`` runs after the last was closed."""
        self._connect = connect
        self._on_close = on_close
        self._turns = BoundedSemaphore(MAX_CLIENTS)
        self._lock = Lock()
        self._idle: list[Any] = [connect()]
        self._closed = False

    def select(self, query: Query, **params: Any) -> list[tuple[Any, ...]]:
        """The rows of a query file, as tuples in the order of its columns. ``params`` are bound, never pasted.

        Raises:
            Unavailable: the store cannot be reached or refuses the query.
        """
        with self._client(query.name) as client:
            return list(client.query(query.sql, parameters=params).result_rows)

    def select_named(self, query: Query, **params: Any) -> list[dict[str, Any]]:
        """Like :meth:`select`, each row a dict by column name."""
        with self._client(query.name) as client:
            return list(client.query(query.sql, parameters=params).named_results())

    def select_table(self, query: Query, **params: Any) -> "pyarrow.Table":
        """Like :meth:`select`, as one Arrow table: for answers of millions of rows, which must not become Python objects."""
        with self._client(query.name) as client:
            return client.query_arrow(query.sql, parameters=params, use_strings=True)

    def select_bytes(self, query: Query, **params: Any) -> bytes:
        """Like :meth:`select`, undecoded: each row a JSON array on a line of its own. For rows by the hundred thousand."""
        with self._client(query.name) as client:
            return bytes(client.raw_query(query.sql, parameters=params, fmt="JSONCompactEachRow"))

    def insert_native(self, table: str, block: bytes, token: str) -> None:
        """Insert blocks of ClickHouse's Native format; the same ``token`` twice stores them once. Like :meth:`insert_json` otherwise."""
        settings = {name: LOADER_SETTINGS[name] for name in ("async_insert", "insert_deduplicate")} | {"insert_deduplication_token": token}
        with self._client(f"insert into {table}") as client:
            client.raw_insert(table, insert_block=block, fmt="Native", settings=settings)

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        """Insert newline-separated JSON objects as one block; the same ``token`` twice stores them once.

        Keep a block inside one month partition and below a million rows. Times are written ``seconds.milliseconds``.
        """
        settings = LOADER_SETTINGS | {"insert_deduplication_token": token}
        with self._client(f"insert into {table}") as client:
            client.raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings=settings)

    def insert_columns(self, table: str, columns: "pyarrow.Table", token: str) -> None:
        """Insert rows as one block, column by column, in a quarter of the time that JSON takes; a column that is left out is empty.

        Texts are strings, arrays lists, instants timestamps in milliseconds. For tokens and the size of a block see :meth:`insert_json`.
        """
        settings = {name: LOADER_SETTINGS[name] for name in ("async_insert", "insert_deduplicate")} | {"insert_deduplication_token": token}
        with self._client(f"insert into {table}") as client:
            client.insert_arrow(table, columns, settings=settings)

    def command(self, sql: str, **params: Any) -> Any:
        """Run one statement that is no question: a migration, a setting."""
        with self._client("command") as client:
            return client.command(sql, parameters=params or None)

    def close(self) -> None:
        """Close the idle clients now and the busy ones as they finish."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for client in idle:
            client.close()
        self._on_close()

    @contextmanager
    def _client(self, what: str) -> Iterator[Any]:
        """Lend a client for one statement; opens another where all are busy."""
        with self._turns, _as_unavailable(what):
            with self._lock:
                if self._closed:
                    raise Unavailable("the events store was closed")
                client = self._idle.pop() if self._idle else None
            client = client or self._connect()
            try:
                yield client
            finally:
                with self._lock:
                    keep = not self._closed
                    if keep:
                        self._idle.append(client)
                if not keep:
                    client.close()


def connect_events(url: str, on_close: Callable[[], None] = lambda: None) -> EventsStore:
    """Connect to ``chdb:///path`` (this process then owns the folder) or ``clickhouse://user:password@host:port/database``.

    Raises:
        Unavailable: no server answers, it refuses the user, or another process has the folder open.
    """
    with _as_unavailable("connect"):
        return EventsStore(lambda: clickhouse_connect.get_client(dsn=url, **_transport(url)), on_close)


def open_events(settings: Settings, lock: DataLock | None = None, patience_s: float = PATIENCE_S) -> EventsStore:
    """The events store of an installation, wherever it is: a server, the running engine's door, or the data folder itself.

    The engine passes the ``lock`` it holds, and gets the folder. A command passes none: it goes through the engine's
    door where one runs, and otherwise holds the folder until the store is closed. Two commands at once take turns.

    Raises:
        Unavailable: the server does not answer, or another process kept the folder for ``patience_s`` without a door.
    """
    url = settings.events
    if lock or not url.startswith("chdb:"):
        return connect_events(url)
    deadline = monotonic() + patience_s
    while True:
        try:
            return _connect_own(url, lock_data(settings))
        except InUse:
            if door := door_of_owner(settings):
                with suppress(Unavailable):  # the engine may be stopping just now: look again
                    return connect_events(door)
            if monotonic() >= deadline:
                raise
        sleep(0.05)


def _connect_own(url: str, lock: DataLock) -> EventsStore:
    try:
        return connect_events(url, on_close=lock.release)
    except BaseException:
        lock.release()
        raise


def _transport(url: str) -> dict[str, Any]:
    """No session: its server would refuse two statements at once. No proxy on loopback, whatever the environment says."""
    if url.startswith("chdb:"):
        return {}
    loopback = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    options = {"autogenerate_session_id": False, "connect_timeout": CONNECT_WITHIN_S, "send_receive_timeout": ANSWER_WITHIN_S}
    return options | ({"pool_mgr": get_pool_manager()} if loopback else {})


@contextmanager
def _as_unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise Unavailable(_explain(error, what)) from error


def _explain(error: ClickHouseError, what: str) -> str:
    """One line: the store's own words where it answered, else the network's. Never the address of the request."""
    text = str(error) or type(error).__name__
    if getattr(error, "code", None):
        answer = (text.rpartition("server response: ")[2] or text).splitlines()[0].partition(" (for url ")[0]
        return f"the events store refuses {what}: {answer:.300}"
    place = re.search(r"\((https?://[^()\s]+)\)$", text)
    cause = re.search(r"\[Errno -?\d+\] ([\w ]+)", text) or re.search(r"(timed out)", text)
    where = f" at {place[1]}" if place else ""
    return f"the events store{where} cannot be reached: {cause[1] if cause else text.splitlines()[0][:300]}"
