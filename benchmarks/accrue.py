"""What of the books' own write speed is left when commissions and ledger entries are worked out, checked and chained?

``python -m benchmarks.accrue [--orders 5000] [--rounds 3] [--postgresql 1]``

``accrue_once`` over decided orders on chDB, into empty books: SQLite, and PostgreSQL where its pip-installed server runs
here (both sync every commit). The baseline takes the rows that the run wrote and writes them again through the bare
driver, into equal empty books, in the same order and the same transactions.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Table, select
from sqlalchemy.engine import make_url

from attribution.run import run_once
from benchmarks.journeys import LONG_AGO, open_shop, store, story
from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from benchmarks.watched import WatchedEvents
from core.catalogue import RateCard, Rule
from core.clock import HOUR, Clock, start_of_day, system_clock
from core.settings import Settings
from fairshare.demo.cast import NORTH
from payouts.accrue import accrue_once
from store.books import open_books
from store.catalogue import put
from store.events import EventsStore, connect_events
from store.migrate import migrate_books, migrate_events
from store.schema import accruals, commissions, entries, postings
from tests.servers import NoPostgres, postgres_database, running_postgres

RULES = (
    Rule("new-customers", priority=10, percent_bps=1200, categories=("shoes",), customer_status="new"),
    Rule("shoes", priority=20, percent_bps=900, categories=("shoes",)),
    Rule("tents", priority=30, fixed_minor=4_00, categories=("tents",)),
    Rule("all", priority=900, percent_bps=600),
)
WRITTEN: tuple[tuple[Table, str], ...] = ((entries, "posted_at"), (postings, ""), (commissions, "posted_at"), (accruals, "accrued_at"))
"""What a run writes, in its order, and the column that says in which transaction; a posting's is its entry's."""

Batch = list[tuple[Table, list[tuple[Any, ...]]]]
"""What one transaction writes."""
FreshBooks = Callable[[str], AbstractContextManager[str]]
"""By a name of its own: the URL of empty books with a catalogue, gone afterwards."""


def compare(orders: int, rounds: int, with_postgresql: bool, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """One events store with decided orders; then rounds on each engine."""
    settings = Settings(data=folder)
    prepare_books(settings.books)
    result: dict[str, Any] = {"ratios": {}, "ratios_cpu": {}}
    with closing(connect_events(settings.events)) as events:
        decide_orders(events, settings, orders)
        faults = measure(result, "sqlite", events, lambda name: sqlite_copy(settings.books, folder / f"{name}.sqlite"), orders, rounds)
        if with_postgresql:
            try:
                with postgresql_template() as fresh:
                    faults += measure(result, "postgresql", events, fresh, orders, rounds)
            except NoPostgres as error:
                say(f"PostgreSQL does not run here and is left out: {error}")
    return result, faults


def measure(result: dict[str, Any], engine: str, events: EventsStore, fresh: FreshBooks, orders: int, rounds: int) -> list[str]:
    """Rounds of the run and the bare driver in turn, after one of each that does not count; adds to ``result``."""
    ours, theirs, faults = [], [], []
    for number in range(rounds + 1):
        watched = WatchedEvents(events)
        with fresh(f"{engine}-ours-{number}") as url:
            timing, batches, fault = accrue(watched, url, orders)
        with fresh(f"{engine}-bare-{number}") as url:
            bare = write_bare(url, batches)
            fault += [] if batches_of(url) == batches else [f"{engine}: the bare driver wrote other rows than the run"]
        if number:
            say(
                f"{engine}, round {number} of {rounds}: accrued {orders:,} orders in {timing.seconds:.2f} s, bare rows {bare.seconds:.2f} s"
            )
            ours.append(timing)
            theirs.append(bare)
            faults += fault
    rows = {table.name: sum(len(found) for batch in batches for one, found in batch if one is table) for table, _ in WRITTEN}
    by_clock, by_cpu = ratios(ours, theirs)
    profile = {"rows": rows, "transactions": len(batches), "seconds_by_question": watched.profile(timing.seconds)}
    result |= {f"{engine}_accrue": figures(ours, orders) | profile, f"{engine}_bare_rows": figures(theirs, orders)}
    result["ratios"][f"{engine}_accrue_vs_bare_rows"] = by_clock
    if engine == "sqlite":  # a server's processor time is not in this process
        result["ratios_cpu"][f"{engine}_accrue_vs_bare_rows"] = by_cpu
    return faults


def accrue(events: EventsStore, url: str, orders: int) -> tuple[Timing, list[Batch], list[str]]:
    """The first run over all decided orders, and what it wrote."""
    with closing(open_books(url)) as books:
        with timed() as timing:
            report = accrue_once(events, books, _never_twice())
        faults = [f"{report.seen} of {orders} orders were seen, {len(report.problems)} with problems"]
        return timing, batches_of(url), faults if report.seen != orders or report.problems else []


def batches_of(url: str) -> list[Batch]:
    """Everything that a run wrote, transaction by transaction: each had an instant of its own."""
    written: dict[int, dict[str, list[tuple[Any, ...]]]] = {}
    with closing(open_books(url)) as books, books.reading() as connection:
        posted = {row.number: row.posted_at for row in connection.execute(select(entries.c.number, entries.c.posted_at))}
        for table, instant in WRITTEN:
            for row in connection.execute(select(table).order_by(*table.primary_key.columns)):
                at = row._mapping[instant] if instant else posted[row.number]
                written.setdefault(at, {}).setdefault(table.name, []).append(tuple(map(_bare, row)))
    return [[(table, tables.get(table.name, [])) for table, _ in WRITTEN] for _, tables in sorted(written.items())]


def _bare(value: Any) -> Any:
    """A value as a driver takes it: JSON is text."""
    return json.dumps(value) if isinstance(value, dict | list) else value


# --- the baseline ----------------------------------------------------------------------------------------------------


def write_bare(url: str, batches: Sequence[Batch]) -> Timing:
    """The same rows, the same transactions, nothing between them and the driver."""
    if url.startswith("sqlite"):
        return _write_sqlite(url.removeprefix("sqlite:///"), batches)
    return _write_postgresql(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False), batches)


def _write_sqlite(path: str, batches: Sequence[Batch]) -> Timing:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}")
        with timed() as timing:
            for batch in batches:
                connection.execute("BEGIN IMMEDIATE")
                for table, rows in batch:
                    connection.executemany(_insert(table, "?"), rows)
                connection.execute("COMMIT")
    return timing


def _write_postgresql(url: str, batches: Sequence[Batch]) -> Timing:
    with psycopg.connect(url, autocommit=True) as connection, timed() as timing:
        for batch in batches:
            with connection.transaction(), connection.cursor() as cursor:
                for table, rows in batch:
                    cursor.executemany(_insert(table, "%s"), rows)
    return timing


def _insert(table: Table, mark: str) -> Any:
    names = ", ".join(column.name for column in table.columns)
    return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join([mark] * len(table.columns))})"


# --- the stores ------------------------------------------------------------------------------------------------------


def prepare_books(url: str) -> None:
    """Migrated books with the merchant and a rate card."""
    migrate_books(url)
    with closing(open_books(url)) as books:
        open_shop(books)
        with books.writing() as connection:
            put(connection, RateCard(NORTH, "main", 1, LONG_AGO, hold_days=30, rules=RULES), "benchmark", LONG_AGO)


def decide_orders(events: EventsStore, settings: Settings, orders: int) -> None:
    """Orders with their decisions, made by the real run."""
    migrate_events(events, settings)
    stored_at = system_clock() - HOUR
    told = story(4 * orders, orders, start_of_day(stored_at))
    store(events, (*told.touches, *told.orders), stored_at)
    with closing(open_books(settings.books)) as books:
        run_once(events, books, system_clock)
    say(f"decided {orders:,} orders")


@contextmanager
def sqlite_copy(template: str, path: Path) -> Iterator[str]:
    """A copy of prepared books. They hold no accrual yet, and accrual's cursor is its own."""
    shutil.copy(template.removeprefix("sqlite:///"), path)
    yield f"sqlite:///{path}"
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


@contextmanager
def postgresql_template() -> Iterator[FreshBooks]:
    """A server that syncs every commit, which the tests' own does not need to."""
    with running_postgres() as server:
        with psycopg.connect(make_url(server).set(drivername="postgresql").render_as_string(False), autocommit=True) as admin:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                admin.execute(f"ALTER SYSTEM SET {setting} = on")
            admin.execute("SELECT pg_reload_conf()")
        with postgres_database(server, "template_books") as template:
            prepare_books(template)
            yield lambda name: postgres_database(server, name, "template_books")


def _never_twice() -> Clock:
    """A clock that says each instant once, so that rows tell which transaction wrote them."""
    ticks = count(system_clock())
    return lambda: next(ticks)


def main() -> None:
    asked = options(__doc__, orders=5_000, rounds=3, postgresql=1)
    with tempfile.TemporaryDirectory(prefix="fairshare-accrue-") as folder:
        about = {"question": "decided orders booked a second", "orders": asked.orders, "machine": machine(Path(folder))}
        result, faults = compare(asked.orders, asked.rounds, bool(asked.postgresql), Path(folder))
    publish(about | result, faults)


if __name__ == "__main__":
    main()
