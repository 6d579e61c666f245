"""Both stores' schemas: what code knows is what the databases have, and a wrong version is refused with the way out."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, delete, insert, inspect, text, update
from sqlalchemy.exc import IntegrityError

from core.catalogue import Coupon, Membership, Policy, Programme, Tenant, TouchWindow
from core.errors import StoreVersionError, Unavailable
from core.settings import Settings
from store import schema
from store.books import Books, open_books
from store.catalogue import load_catalogue
from store.columns import COLUMNS
from store.events import EventsStore, Query, connect_events
from store.migrate import (
    FOLDER,
    Migration,
    books_sql,
    check_events,
    events_sql,
    migrate_books,
    migrate_events,
    read_migrations,
)
from store.versions import MIGRATIONS, check_books
from tests.servers import postgres_database

SETTINGS = Settings()
# fmt: off
BOOKS = [
    "0001_books", "0002_append_only", "0003_spools", "0004_caps", "0005_journeys", "0006_disputes", "0007_rate_cards", "0008_ledger",
    "0009_pricing", "0010_standing", "0011_rates", "0012_commissions_by_entry",
]
# fmt: on
HEAD = BOOKS[-1][:4]
EVENTS = ["0001_events", "0002_decisions", "0003_journeys", "0004_identity", "0005_lookups", "0006_items"]
ALL_COLUMNS = Query(
    "all_columns",
    "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() ORDER BY table, position",
)
MADE = Query("made", "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name")
MIGRATE_BOOKS = "import sys; from store.migrate import migrate_books; sys.stdin.read(1); print(migrate_books(sys.argv[1]))"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where books may be made: no file yet, or a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new/books.sqlite"
        return
    with postgres_database(request.getfixturevalue("postgres"), f"empty_{tmp_path.name[-20:]}") as url:
        yield url


@pytest.fixture
def empty_store(chdb_folder: Path, chdb_store: EventsStore) -> Iterator[EventsStore]:
    """An events store without any table: a fresh database of this process's chDB."""
    chdb_store.command("CREATE DATABASE fresh")
    with closing(connect_events(f"chdb://{chdb_folder}?database=fresh")) as store:
        yield store
    chdb_store.command("DROP DATABASE fresh")


# --- books -----------------------------------------------------------------------------------------------------------


def test_the_books_tables_are_those_the_code_knows(books: Books) -> None:
    with books.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_the_books_columns_checks_and_keys_are_those_the_code_knows(books: Books) -> None:
    with books.reading() as connection:
        found = inspect(connection)
        for table in schema.metadata.sorted_tables:
            columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
            defaults = {column["name"] for column in found.get_columns(table.name) if column["default"] is not None}
            checks = {check["name"] for check in found.get_check_constraints(table.name)}
            assert columns == {column.name: column.nullable for column in table.columns}, table.name
            # PostgreSQL counts catalogue_changes.version with a default of its own.
            assert defaults - {"version"} == {column.name for column in table.columns if column.server_default is not None}, table.name
            assert checks == {rule.name for rule in table.constraints if isinstance(rule, CheckConstraint)}, table.name
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [column.name for column in table.primary_key]


def test_files_are_named_in_the_order_in_which_they_run() -> None:
    """What is pending is told by the files' names, without Alembic; Alembic runs them by what they say inside."""
    scripts = list(ScriptDirectory(FOLDER, version_locations=[MIGRATIONS]).walk_revisions())[::-1]

    assert [Path(script.path).name for script in scripts] == sorted(path.name for path in MIGRATIONS.glob("*.py"))
    assert [script.revision for script in scripts] == [Path(script.path).name.partition("_")[0] for script in scripts]


def test_migrating_makes_the_books_once(empty_url: str) -> None:
    assert migrate_books(empty_url) == BOOKS
    assert migrate_books(empty_url) == []
    with closing(open_books(empty_url)) as books:
        check_books(books)


def test_two_programs_may_migrate_at_once(empty_url: str) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", MIGRATE_BOOKS, empty_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("g")
        program.stdin.flush()
    answers = sorted(program.communicate(timeout=60)[0].strip() for program in programs)

    assert answers == [str(BOOKS), "[]"]


def test_a_failed_migration_leaves_nothing_behind(empty_url: str) -> None:
    """A table that is in the way of the last but one statement: none of the earlier tables stays."""
    if path := re.fullmatch(r"sqlite:///(.*)", empty_url):
        Path(path[1]).parent.mkdir()
    with closing(open_books(empty_url)) as books:
        with books.writing() as connection:
            connection.execute(text("CREATE TABLE payout_lines (in_the_way INTEGER)"))
        with pytest.raises(Exception, match="already exists"):
            migrate_books(empty_url)
        with books.reading() as connection:
            assert inspect(connection).get_table_names() == ["payout_lines"]


def set_version(books: Books, version: str) -> None:
    with books.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_newer_books_are_refused(books: Books, books_url: str) -> None:
    set_version(books, "0099")

    for use in (lambda: migrate_books(books_url), lambda: check_books(books), lambda: books_sql(books_url)):
        with pytest.raises(StoreVersionError, match=rf"^books are at version 0099, this program knows {HEAD}: install a newer Fairshare$"):
            use()


def books_at(url: str, version: str) -> None:
    """Books as the program of that version made them."""
    script = ScriptDirectory(FOLDER, version_locations=[MIGRATIONS])

    def steps(found: str | None, _context: MigrationContext) -> Any:
        return script._upgrade_revs(version, found)  # type: ignore[arg-type]

    with (
        closing(open_books(url)) as books,
        books.writing() as connection,
        EnvironmentContext(Config(), script, fn=steps) as environment,
    ):
        environment.configure(connection=connection)
        environment.run_migrations()


def test_older_books_are_refused_until_they_are_migrated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.sqlite"
    books_at(url, "0001")

    with closing(open_books(url)) as books:
        with pytest.raises(StoreVersionError, match=rf"^the books are at version 0001, this program needs {HEAD}: run fairshare migrate$"):
            check_books(books)
        assert "CREATE TRIGGER entries_no_update" in books_sql(url)
        assert "CREATE TABLE entries" not in books_sql(url)
        assert migrate_books(url) == BOOKS[1:]
        check_books(books)


def test_a_policy_of_earlier_books_decides_as_it_did(tmp_path: Path) -> None:
    """Written before there were models and rules to choose from: every new field gets the value that was the only one."""
    url = f"sqlite:///{tmp_path}/books.sqlite"
    books_at(url, "0004")
    with closing(open_books(url)) as books:
        with books.writing() as connection:
            for statement in OLD_BOOKS:
                connection.execute(text(statement))
        migrate_books(url)
        with books.reading() as connection:
            found = load_catalogue(connection)

    assert found.policies == (Policy("north", "main", 1, 5, "last", (TouchWindow("click", 720),)),)
    assert found.tenants == (Tenant("north", "North", "EUR"),)
    assert found.programmes == (Programme("north", "main", "Main", "https://north.example/"),)
    assert found.memberships == (Membership("north", "main", "anna", "applied", 1),)
    assert found.coupons == (Coupon("north", "TEN", "main", "anna"),)


OLD_BOOKS = [
    "INSERT INTO tenants (tenant_id, name, currency) VALUES ('north', 'North', 'EUR')",
    "INSERT INTO programmes (tenant_id, programme_id, name, landing_url, hosts, stores) "
    "VALUES ('north', 'main', 'Main', 'https://north.example/', '[]', '[]')",
    "INSERT INTO affiliates (affiliate_id, name, email) VALUES ('anna', 'Anna', 'a@x.example')",
    "INSERT INTO memberships (tenant_id, programme_id, affiliate_id, status, applied_at) VALUES ('north', 'main', 'anna', 'applied', 1)",
    "INSERT INTO coupons (tenant_id, code, programme_id, affiliate_id) VALUES ('north', 'TEN', 'main', 'anna')",
    "INSERT INTO policies (tenant_id, programme_id, version, effective_from, model, classes) "
    """VALUES ('north', 'main', 1, 5, 'last_click', '[{"touch"\\:"click","window_hours"\\:720}]')""",
]


def test_books_that_do_not_exist_are_named_and_not_made(tmp_path: Path) -> None:
    with closing(open_books(f"sqlite:///{tmp_path}/books.sqlite")) as books, pytest.raises(StoreVersionError, match="no books at"):
        check_books(books)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_makes_nothing_and_prints_what_would_make_it(tmp_path: Path) -> None:
    sql = books_sql(f"sqlite:///{tmp_path}/books.sqlite")
    assert list(tmp_path.iterdir()) == []

    migrate_books(f"sqlite:///{tmp_path}/migrated.sqlite")
    with (
        closing(sqlite3.connect(tmp_path / "printed.sqlite")) as printed,
        closing(sqlite3.connect(tmp_path / "migrated.sqlite")) as migrated,
    ):
        printed.executescript(sql)
        objects = "SELECT type, name, replace(replace(sql, char(9), ' '), ' ', '') FROM sqlite_master ORDER BY type, name"
        assert printed.execute(objects).fetchall() == migrated.execute(objects).fetchall()
    assert books_sql(f"sqlite:///{tmp_path}/migrated.sqlite") == ""


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_dry_run_for_postgresql_prints_its_dialect(empty_url: str) -> None:
    sql = books_sql(empty_url)

    assert "BIGSERIAL" not in sql
    assert "EXECUTE FUNCTION refuse_change()" in sql
    with closing(open_books(empty_url)) as books, books.reading() as connection:
        assert inspect(connection).get_table_names() == []


# --- the ledger's triggers -------------------------------------------------------------------------------------------

ENTRY: dict[str, Any] = {
    "tenant_id": "north", "number": 1, "kind": "sale", "idempotency_key": "k1", "posted_at": 1, "previous_hash": "", "hash": "h",
}  # fmt: skip
POSTING: dict[str, Any] = {"tenant_id": "north", "number": 1, "position": 0, "account": "approved", "currency": "EUR", "amount_minor": 5}
COMMISSION: dict[str, Any] = {
    "tenant_id": "north", "commission_id": "c1", "programme_id": "shop", "order_id": "o1", "line_id": "1", "affiliate_id": "anna",
    "kind": "sale", "currency": "EUR", "base_minor": 100, "amount_minor": 10, "rate_card_version": 1, "decision_revision": 1,
    "policy_version": 1, "state": "pending", "ordered_at": 1, "hold_until": 2, "posted_at": 1, "idempotency_key": "c1",
}  # fmt: skip


@pytest.fixture
def posted(books: Books) -> Books:
    with books.writing() as connection:
        connection.execute(insert(schema.tenants).values(tenant_id="north", name="North", currency="EUR"))
        connection.execute(
            insert(schema.programmes).values(tenant_id="north", programme_id="shop", name="", landing_url="", hosts=[], stores=[])
        )
        connection.execute(insert(schema.entries).values(ENTRY))
        connection.execute(insert(schema.postings).values(POSTING))
        connection.execute(insert(schema.commissions).values(COMMISSION))
    return books


def run(books: Books, statement: Any) -> None:
    with books.writing() as connection:
        connection.execute(statement)


CHANGED: dict[str, Any] = {"BIGINT": 77, "INTEGER": 77}


@pytest.mark.parametrize("table", [schema.entries, schema.postings, schema.commissions], ids=lambda table: table.name)
def test_no_row_of_money_is_ever_deleted(posted: Books, table: Any) -> None:
    with pytest.raises(IntegrityError, match=f"{table.name} is append-only"):
        run(posted, delete(table))


@pytest.mark.parametrize("table", [schema.entries, schema.postings, schema.commissions], ids=lambda table: table.name)
def test_no_column_of_money_is_ever_changed_but_a_commissions_state(posted: Books, table: Any) -> None:
    for column in table.columns:
        if table is schema.commissions and column.name == "state":
            continue
        value = CHANGED.get(str(column.type), "redecision" if column.name == "kind" else "XYZ")
        with pytest.raises(IntegrityError, match=f"{table.name} is append-only"):
            run(posted, update(table).values({column.name: value}))


def test_a_commissions_state_moves(posted: Books) -> None:
    run(posted, update(schema.commissions).values(state="approved"))
    with posted.reading() as connection:
        assert connection.scalar(schema.commissions.select().with_only_columns(schema.commissions.c.state)) == "approved"


def test_the_triggers_hold_against_the_back_doors_of_each_engine(posted: Books) -> None:
    back_doors = (
        [
            "INSERT OR REPLACE INTO postings (tenant_id, number, position, account, currency, amount_minor) "
            "SELECT tenant_id, number, position, account, currency, 999 FROM postings"
        ]
        if posted.is_sqlite
        else ["TRUNCATE postings", "TRUNCATE entries CASCADE", "TRUNCATE commissions CASCADE"]
    )
    for statement in back_doors:
        with pytest.raises(IntegrityError, match="is append-only"):
            run(posted, text(statement))


# --- events store ----------------------------------------------------------------------------------------------------


def columns(store: EventsStore) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for table, name, kind in store.select(ALL_COLUMNS):
        found.setdefault(table, {})[name] = kind
    return found


def test_the_events_columns_are_those_the_code_knows(any_events: EventsStore) -> None:
    found = columns(any_events)

    assert found == COLUMNS
    assert {table: list(names) for table, names in found.items()} == {table: list(names) for table, names in COLUMNS.items()}


def test_each_events_migration_runs_on_the_store_that_the_one_before_left(empty_store: EventsStore) -> None:
    known = read_migrations()
    assert [migration.version for migration in known] == list(range(1, len(known) + 1))
    for count, migration in enumerate(known, start=1):
        assert migrate_events(empty_store, SETTINGS, known[:count]) == [migration.name]
    assert columns(empty_store) == COLUMNS
    assert migrate_events(empty_store, SETTINGS) == []
    check_events(empty_store)


def test_every_events_table_is_durable_and_forgets_addresses(empty_store: EventsStore) -> None:
    migrate_events(empty_store, Settings(ip_keep_days=7))
    made = dict(empty_store.select(MADE))

    assert made.keys() == COLUMNS.keys()
    for name, sql in made.items():
        for setting in ("fsync_after_insert = 1", "fsync_part_directory = 1", "min_compressed_bytes_to_fsync_after_merge = 1"):
            assert setting in sql, name
        assert "non_replicated_deduplication_window = 10000" in sql, name
    assert "TTL toDateTime(received_at) + toIntervalDay(7)" in made["touches"]


def test_a_changed_number_of_days_reaches_a_store_that_was_made_before(empty_store: EventsStore) -> None:
    migrate_events(empty_store, Settings(ip_keep_days=7))
    changed = Settings(ip_keep_days=90)

    assert "toIntervalDay(90)" in events_sql(empty_store, changed)
    assert migrate_events(empty_store, changed) == ["retention"]
    assert "TTL toDateTime(received_at) + toIntervalDay(90)" in dict(empty_store.select(MADE))["touches"]
    assert migrate_events(empty_store, changed) == []
    assert columns(empty_store) == COLUMNS


def test_addresses_are_forgotten_and_the_touch_stays(empty_store: EventsStore) -> None:
    migrate_events(empty_store, SETTINGS)
    empty_store.insert_json("touches", b'{"tenant_id":"north","touch_id":"t","ip":"192.0.2.1","received_at":1000000000.000}', "one")
    empty_store.command("OPTIMIZE TABLE touches FINAL")

    assert empty_store.select(Query("q", "SELECT touch_id, ip FROM touches ORDER BY touch_id")) == [("t", "")]


def test_a_replicated_engine_names_its_window_differently() -> None:
    sql = events_sql(None, Settings(events_engine="ReplicatedMergeTree"))

    assert "ENGINE = ReplicatedMergeTree" in sql
    assert re.search(r"[^_]replicated_deduplication_window=10000", sql)
    assert "non_replicated_deduplication_window" not in sql


def test_a_store_that_never_was_migrated_is_refused(empty_store: EventsStore) -> None:
    with pytest.raises(
        StoreVersionError, match=rf"^events store is at version 0, this program needs {EVENTS[-1][3]}: run fairshare migrate$"
    ):
        check_events(empty_store)


def test_an_older_events_store_is_refused_until_it_is_migrated(empty_store: EventsStore) -> None:
    migrate_events(empty_store, SETTINGS, read_migrations()[:1])

    with pytest.raises(
        StoreVersionError, match=rf"^events store is at version 1, this program needs {EVENTS[-1][3]}: run fairshare migrate$"
    ):
        check_events(empty_store)
    assert migrate_events(empty_store, SETTINGS) == EVENTS[1:]
    check_events(empty_store)


def test_a_newer_events_store_is_refused(empty_store: EventsStore) -> None:
    migrate_events(
        empty_store,
        SETTINGS,
        [*read_migrations(), Migration(9, "0009_later", "CREATE TABLE later (x Int8) ENGINE = $engine ORDER BY x;\n")],
    )

    for use in (
        lambda: migrate_events(empty_store, SETTINGS),
        lambda: check_events(empty_store),
        lambda: events_sql(empty_store, SETTINGS),
    ):
        with pytest.raises(
            StoreVersionError, match=rf"^events store is at version 9, this program knows {EVENTS[-1][3]}: install a newer Fairshare$"
        ):
            use()


def test_a_migration_that_was_edited_after_it_ran_is_refused(empty_store: EventsStore) -> None:
    first, *rest = read_migrations()
    migrate_events(empty_store, SETTINGS, [Migration(first.version, first.name, first.template + "-- edited\n"), *rest])

    with pytest.raises(StoreVersionError, match=r"^events migration 0001_events was edited after it was applied to this store"):
        migrate_events(empty_store, SETTINGS)


def test_a_migration_that_died_half_way_is_completed(empty_store: EventsStore) -> None:
    first, *rest = read_migrations()
    broken = Migration(
        1, first.name, first.template.replace("CREATE TABLE IF NOT EXISTS refunds (", "CREATE TABLE IF NOT EXISTS refunds OOPS (")
    )
    with pytest.raises(Unavailable, match="Syntax error"):
        migrate_events(empty_store, SETTINGS, [broken, *rest])
    assert "orders" in columns(empty_store)
    assert "refunds" not in columns(empty_store)

    assert migrate_events(empty_store, SETTINGS) == EVENTS
    assert columns(empty_store) == COLUMNS


def test_an_events_dry_run_makes_nothing_and_prints_what_would_make_it(empty_store: EventsStore) -> None:
    sql = events_sql(empty_store, SETTINGS)
    assert columns(empty_store) == {}
    assert sql == events_sql(None, SETTINGS)

    for statement in sql.split(";\n"):
        if re.search(r"^(CREATE|ALTER)", statement, re.MULTILINE):
            empty_store.command(statement)
    assert columns(empty_store) == {table: COLUMNS[table] for table in COLUMNS if table != "schema_migrations"}
