"""Opening the events store for a command, and bringing both stores to this program's version."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from core.clock import Clock, system_clock
from core.settings import Settings
from fairshare.books import require_installation
from fairshare.output import log_to_stderr
from payouts.renaming import rename_accounts
from store.books import open_books
from store.events import EventsStore, open_events
from store.migrate import books_sql, check_events, events_sql, migrate_books, migrate_events


@contextmanager
def opened_events(settings: Settings) -> Iterator[EventsStore]:
    """The events store, of this process or of the running engine, for as long as the block runs. Logs go to standard error."""
    require_installation(settings)
    log_to_stderr()
    events = open_events(settings)
    try:
        check_events(events)
        yield events
    finally:
        events.close()


def migrate_stores(settings: Settings) -> list[str]:
    """Migrate books and events store; what was applied, by name."""
    applied = [f"books: {name}" for name in migrate_ledger(settings, system_clock)]
    events = open_events(settings)
    try:
        return applied + [f"events store: {name}" for name in migrate_events(events, settings)]
    finally:
        events.close()


def migrate_ledger(settings: Settings, clock: Clock) -> list[str]:
    """Migrate the books; what an earlier version's ledger calls otherwise gets its names of today. What was applied, by name."""
    applied = migrate_books(settings.books)
    with closing(open_books(settings.books)) as books:
        return applied + [f"accounts of {tenant_id} renamed" for tenant_id in rename_accounts(books, clock())]


def pending_sql(settings: Settings) -> str:
    """What :func:`migrate_stores` would run. Nothing is created: an events store that is not there yet is not opened."""
    if settings.events.startswith("chdb://") and not Path(settings.events.removeprefix("chdb://")).exists():
        return books_sql(settings.books) + events_sql(None, settings)
    events = open_events(settings)
    try:
        return books_sql(settings.books) + events_sql(events, settings)
    finally:
        events.close()
