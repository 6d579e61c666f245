"""Bring both stores to this program's version, or say what is missing. I/O: reads and changes schemas.

Books migrate with Alembic (``migrations/books``), in one transaction: whole or not at all. The events store migrates with
numbered SQL files (``migrations/events``); its statements have no transaction, so each may be run again after a crash.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from io import StringIO
from pathlib import Path
from string import Template

import msgspec
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep, StampStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text

from core.errors import StoreVersionError
from core.settings import Settings
from store.books import open_books
from store.events import EventsStore, read_query
from store.versions import books_to_run, books_version

FOLDER = Path(__file__).parent / "migrations"
DURABLE = "fsync_after_insert=1, fsync_part_directory=1, min_compressed_bytes_to_fsync_after_merge=1, {deduplication_window}=10000"
"""The engine's defaults sync nothing, and would store a repeated insert twice (docs/decisions/0002-stores.md)."""
FINE = ", index_granularity=1024"
"""By default eight times as many rows are read around each key that is looked up. Tables that exist keep what they have; so would a
replica that is added beside such tables, and is refused where it asks for something else."""

_APPLIED = read_query(__file__, "applied_migrations")
_TABLES = read_query(__file__, "events_tables")
_TOUCHES = read_query(__file__, "touches_as_made")


# --- books -----------------------------------------------------------------------------------------------------------


def migrate_books(url: str) -> list[str]:
    """Create or migrate the books; returns the names of what was applied, empty where nothing was to do.

    Two programs at once take turns; the second finds the work done.

    Raises:
        StoreVersionError: the books are newer than this program.
        Unavailable: the database cannot be reached or written.
    """
    if path := _sqlite_path(url):
        path.parent.mkdir(parents=True, exist_ok=True)
    with closing(open_books(url)) as books:
        with books.reading() as connection:
            if not books_to_run(connection):
                return []
        with books.writing() as connection:
            if not books.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('fairshare migrate', 0))"))
            pending = books_to_run(connection)
            _run_books(_script(), connection)
    return pending


def books_sql(url: str) -> str:
    """The SQL that :func:`migrate_books` would still run; empty where nothing is to do. Changes nothing."""
    path = _sqlite_path(url)
    if path and not path.exists():
        return _offline_sql(url, None)
    with closing(open_books(url)) as books, books.reading() as connection:
        return _offline_sql(url, books_version(connection)) if books_to_run(connection) else ""


def _script() -> ScriptDirectory:
    return ScriptDirectory(FOLDER, version_locations=[FOLDER / "books"])


def _run_books(script: ScriptDirectory, connection: Connection) -> None:
    with EnvironmentContext(Config(), script, fn=_upgrade(script)) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()


def _offline_sql(url: str, version: str | None) -> str:
    script, printed = _script(), StringIO()
    with EnvironmentContext(Config(), script, fn=_upgrade(script), as_sql=True, starting_rev=version) as environment:
        environment.configure(url=url, output_buffer=printed, literal_binds=True)
        with environment.begin_transaction():
            environment.run_migrations()
    return printed.getvalue()


def _upgrade(script: ScriptDirectory):  # type: ignore[no-untyped-def]
    def steps(version: str | None, _context: MigrationContext) -> list[StampStep | RevisionStep]:
        return script._upgrade_revs("head", version)  # type: ignore[arg-type, return-value]

    return steps


def _sqlite_path(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


# --- events store ----------------------------------------------------------------------------------------------------


class Migration(msgspec.Struct, frozen=True):
    """One numbered SQL file. ``sha256`` is of the file as shipped, before settings are filled in."""

    version: int
    name: str
    template: str

    @property
    def sha256(self) -> str:
        return sha256(self.template.encode()).hexdigest()


def read_migrations(folder: Path = FOLDER / "events") -> list[Migration]:
    """The numbered files of a folder, by number: ``0001_events.sql`` is version 1."""
    return [Migration(int(path.name[:4]), path.stem, path.read_text("utf-8")) for path in sorted(folder.glob("[0-9]*_*.sql"))]


def migrate_events(store: EventsStore, settings: Settings, known: list[Migration] | None = None) -> list[str]:
    """Create or migrate the events store; returns the names of what was applied, empty where nothing was to do.

    Raises:
        StoreVersionError: the store is newer than this program, or an applied file was edited afterwards.
        Unavailable: the store cannot be reached or refuses a statement.
    """
    pending = _events_to_run(store, read_migrations() if known is None else known)
    if pending:
        _run_events(store, _render(_file("schema_migrations"), settings))
    for migration in pending:
        _run_events(store, _render(migration.template, settings))
        store.command(
            "INSERT INTO schema_migrations SELECT {version:UInt32}, {name:String}, {sha256:String}, now64(3, 'UTC')",
            version=migration.version,
            name=migration.name,
            sha256=migration.sha256,
        )
    if _keeps_addresses_otherwise(store, settings):
        _run_events(store, _render(_file("retention"), settings))
        return [*(migration.name for migration in pending), "retention"]
    return [migration.name for migration in pending]


def events_sql(store: EventsStore | None, settings: Settings) -> str:
    """The SQL that :func:`migrate_events` would still run; None stands for a store that does not exist yet."""
    pending = _events_to_run(store, read_migrations()) if store else read_migrations()
    files = [(migration.name, migration.template) for migration in pending]
    if store and not pending and _keeps_addresses_otherwise(store, settings):
        files.append(("retention", _file("retention")))
    return "".join(f"-- {name}\n{_render(template, settings)}\n" for name, template in files)


def check_events(store: EventsStore) -> None:
    """Return if the events store is at exactly this program's version.

    Raises:
        StoreVersionError: it is older or newer, or an applied file was edited; the text names the command that mends it.
    """
    known = read_migrations()
    pending = _events_to_run(store, known)
    if pending:
        version = pending[0].version - 1
        raise StoreVersionError(f"events store is at version {version}, this program needs {known[-1].version}: run fairshare migrate")


def _events_to_run(store: EventsStore, known: list[Migration]) -> list[Migration]:
    applied = {version: digest for version, _name, digest in store.select(_APPLIED)} if _is_migrated(store) else {}
    newest, ours = max(applied, default=0), known[-1].version
    if newest > ours:
        raise StoreVersionError(f"events store is at version {newest}, this program knows {ours}: install a newer Fairshare")
    for migration in known:
        if applied.get(migration.version, migration.sha256) != migration.sha256:
            raise StoreVersionError(
                f"events migration {migration.name} was edited after it was applied to this store; "
                "restore the file and put the change into a new one"
            )
    return [migration for migration in known if migration.version not in applied]


def _is_migrated(store: EventsStore) -> bool:
    return ("schema_migrations",) in store.select(_TABLES)


def _keeps_addresses_otherwise(store: EventsStore, settings: Settings) -> bool:
    """True where ``ip_keep_days`` was set differently when the table was made, or last migrated."""
    rule = f"toIntervalDay({settings.ip_keep_days})"
    return any(rule not in made for (made,) in store.select(_TOUCHES))


def _run_events(store: EventsStore, sql: str) -> None:
    for statement in _statements(sql):
        store.command(statement)


def _file(name: str) -> str:
    return (FOLDER / "events" / f"{name}.sql").read_text("utf-8")


def _render(template: str, settings: Settings) -> str:
    # A Replicated or Shared engine remembers its blocks under another name, and refuses the single-node one.
    single = settings.events_engine.startswith("MergeTree")
    window = "non_replicated_deduplication_window" if single else "replicated_deduplication_window"
    durable = DURABLE.format(deduplication_window=window) + (FINE if single else "")
    return Template(template).substitute(engine=settings.events_engine, durable=durable, ip_keep_days=settings.ip_keep_days)


def _statements(sql: str) -> Iterator[str]:
    """The statements of a file: each ends with ``;`` at the end of a line."""
    return (part for part in re.split(r";[ \t]*$", sql, flags=re.MULTILINE) if re.search(r"^\s*[^-\s]", part, re.MULTILINE))
