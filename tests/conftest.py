"""Fixtures that every package's tests share: empty, migrated stores, and a clock that obeys."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

from core.settings import Settings
from store.books import Books, open_books
from store.engine_door import open_door
from store.events import EventsStore, Query, connect_events
from store.migrate import migrate_books, migrate_events
from tests.fakes import FakeClock
from tests.servers import NoPostgres, NoRedis, RedisServer, postgres_database, running_postgres, running_redis

# How fast an example is found or tried says how busy the machine is, not whether the law holds.
settings.register_profile("fairshare", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fairshare")

# Hundreds of processes are started here; without the compiled modules on disk each of them would compile the program anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3
SERVER = "FAIRSHARE_TEST_CLICKHOUSE_URL"
TABLES_WITH_ROWS = Query(
    "tables_with_rows",
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND name <> 'schema_migrations' AND total_rows > 0 ORDER BY name",
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, once, what this machine could not test: reasons that begin with ``***``."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)]
    for reason in sorted({reason for reason in reasons if reason.startswith("***")}):
        terminalreporter.write_line(f"{reason} ({reasons.count(reason)} tests)", red=True, bold=True)


@pytest.fixture
def clock() -> FakeClock:
    """A settable clock, at noon of 21 November 2026: ``clock()`` gives milliseconds, ``clock.advance(ms)`` moves it."""
    return FakeClock()


# --- books -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("books") / "template.sqlite"
    migrate_books(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of this test process, or a loud skip."""
    try:
        with running_postgres() as url:
            yield url
    except NoPostgres as error:
        pytest.skip(f"*** POSTGRESQL DOES NOT RUN HERE, ITS TESTS ARE SKIPPED: {error} ***")


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> Iterator[str]:
    with postgres_database(postgres, "fairshare_template") as url:
        migrate_books(url)
        yield "fairshare_template"


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Migrated, empty books in a file of the test's own."""
    path = tmp_path / "books.sqlite"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres: str, postgres_template: str) -> Iterator[str]:
    """Migrated, empty books in a database of the test's own."""
    with postgres_database(postgres, f"test_{os.urandom(6).hex()}", postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def books_url(request: pytest.FixtureRequest) -> str:
    """The URL of migrated, empty books; the test runs once on each engine."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def books(books_url: str) -> Iterator[Books]:
    """Migrated, empty books; the test runs once on SQLite and once on PostgreSQL."""
    with closing(open_books(books_url)) as opened:
        yield opened


@pytest.fixture
def sqlite_books(sqlite_url: str) -> Iterator[Books]:
    """Migrated, empty books on SQLite only, where the engine does not matter."""
    with closing(open_books(sqlite_url)) as opened:
        yield opened


# --- redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this test process, or a loud skip."""
    try:
        with running_redis() as server:
            yield server
    except NoRedis as error:
        pytest.skip(f"*** REDIS DOES NOT RUN HERE, ITS TESTS ARE SKIPPED: {error} ***")


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """A running, empty Redis."""
    redis_server.start()
    redis_server.client.flushall()
    return redis_server


# --- events store ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chdb_folder() -> Iterator[Path]:
    """The one folder that chDB may open in this process; in memory where there is room, since each test empties its tables there."""
    folder = Path(tempfile.mkdtemp(prefix="fairshare-chdb-", dir=MEMORY if _has_room(MEMORY) else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM


@pytest.fixture(scope="session")
def chdb_store(chdb_folder: Path) -> Iterator[EventsStore]:
    with closing(connect_events(f"chdb://{chdb_folder}")) as store:
        migrate_events(store, Settings())
        yield store


@pytest.fixture
def events(chdb_store: EventsStore) -> EventsStore:
    """A migrated, empty events store: chDB, in this process."""
    empty_events(chdb_store)
    return chdb_store


@pytest.fixture(scope="session")
def http_store(chdb_folder: Path, chdb_store: EventsStore) -> Iterator[EventsStore]:
    """The same chDB behind ClickHouse's HTTP interface, in a database of its own."""
    chdb_store.command("CREATE DATABASE behind_the_door")
    with (
        closing(open_door(f"chdb://{chdb_folder}")) as door,
        closing(connect_events(_other_database(door.url, "behind_the_door"))) as store,
    ):
        migrate_events(store, Settings())
        yield store


@pytest.fixture(scope="session")
def server_store() -> Iterator[EventsStore]:
    """A real ClickHouse; the tests make a database of their own there, and drop it."""
    url, name = os.environ[SERVER], f"fairshare_test_{os.urandom(6).hex()}"
    with closing(connect_events(url)) as server:
        server.command(f"CREATE DATABASE {name}")
        with closing(connect_events(_other_database(url, name))) as store:
            migrate_events(store, Settings())
            yield store
        server.command(f"DROP DATABASE {name}")


@pytest.fixture(params=["chdb", "http", *(["server"] if SERVER in os.environ else [])])
def any_events(request: pytest.FixtureRequest) -> EventsStore:
    """A migrated, empty events store; the test runs in process, over HTTP, and on a real server where one is named."""
    store: EventsStore = request.getfixturevalue(f"{request.param}_store")
    empty_events(store)
    return store


def _other_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def empty_events(store: EventsStore) -> None:
    """Remove all rows. TRUNCATE also forgets the deduplication tokens, and is faster than making the tables anew."""
    for (table,) in store.select(TABLES_WITH_ROWS):
        store.command(f"TRUNCATE TABLE {table}")
