"""The books: catalogue, receipts, ledger, users. SQLite or PostgreSQL, through SQLAlchemy Core."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import Unavailable

BUSY_MS = 10_000
MAX_CONNECTIONS = 20


class Books:
    """An open set of books. All work happens inside :meth:`reading` or :meth:`writing`; keep writes short."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view: what others commit meanwhile is not seen. Writing here is refused by the database.

        Raises:
            Unavailable: the database cannot be reached or stays locked.
        """
        with _as_unavailable(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all or nothing. SQLite takes its write lock at once, so that two writers queue, not fail.

        Raises:
            Unavailable: the database cannot be reached, is full, or stays locked.
        """
        options: dict[str, Any] = {"fairshare_write": True}
        with _as_unavailable(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def lock_tenant(self, connection: Connection, tenant_id: str) -> None:
        """Serialize writers of one tenant's ledger until the transaction ends. On SQLite every writer already is alone."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"tenant:{tenant_id}"})

    def close(self) -> None:
        self.engine.dispose()


def open_books(url: str, busy_ms: int = BUSY_MS) -> Books:
    """Connect to ``sqlite:///path`` or ``postgresql+psycopg://…``. Nothing is created or migrated here.

    ``busy_ms`` is how long a writer waits for another one before it gives up.
    """
    pool: dict[str, Any] = {"pool_size": 5, "max_overflow": MAX_CONNECTIONS - 5, "pool_timeout": busy_ms / 1000}
    if not url.startswith("sqlite"):
        options = {"connect_timeout": 10, "options": f"-c lock_timeout={busy_ms}"}
        engine = create_engine(url, pool_pre_ping=True, connect_args=options, **pool)
        event.listen(engine, "begin", _begin_postgresql)
        return Books(engine)
    engine = create_engine(url, connect_args={"timeout": busy_ms / 1000}, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Books(engine)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 would begin by itself, late and only for writes
    # recursive_triggers: REPLACE deletes rows, and would slip past the triggers that keep the ledger append-only.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("fairshare_write", False)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if write else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if not connection.get_execution_options().get("fairshare_write", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(f"the books cannot be used now: all {MAX_CONNECTIONS} connections are busy") from error
    except DatabaseError as error:
        # The bare class is a damaged file; its other sub-classes are the statement's own fault, such as IntegrityError.
        if type(error) not in (OperationalError, DatabaseError):
            raise
        raise Unavailable(f"the books cannot be used now: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    """The driver's first line; neither the statement nor the address, which may hold a password."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
