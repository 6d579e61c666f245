"""The books: catalogue, receipts, ledger, users. SQLite or PostgreSQL, through SQLAlchemy Core."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from core.errors import Unavailable

BUSY_MS = 10_000


class Books:
    """An open set of books. All work happens inside :meth:`reading` or :meth:`writing`; keep writes short."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view; writes of others that commit meanwhile are not seen on SQLite.

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


def open_books(url: str) -> Books:
    """Connect to ``sqlite:///path`` or ``postgresql+psycopg://…``. Nothing is created or migrated here."""
    if not url.startswith("sqlite"):
        return Books(create_engine(url, pool_pre_ping=True))
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Books(engine)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 would begin by itself, late and only for writes
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("fairshare_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise Unavailable(f"the books cannot be used now: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
