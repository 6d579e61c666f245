"""Opening both stores for a command, and bringing them to this program's version."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import FairshareError, Unavailable
from core.settings import Settings
from store.books import Books, open_books
from store.events import EventsStore, open_events
from store.migrate import books_sql, check_books, check_events, events_sql, migrate_books, migrate_events


@contextmanager
def opened_books(settings: Settings) -> Iterator[Books]:
    """The books, at this program's version, for as long as the block runs."""
    require_installation(settings)
    books = open_books(settings.books)
    try:
        check_books(books)
        yield books
    finally:
        books.close()


@contextmanager
def opened_events(settings: Settings) -> Iterator[EventsStore]:
    """The events store, of this process or of the running engine, for as long as the block runs."""
    require_installation(settings)
    events = open_events(settings)
    try:
        check_events(events)
        yield events
    finally:
        events.close()


def require_known_books(settings: Settings) -> None:
    """For a tracker that starts alone: it goes on where the books are down, but never on a schema that it does not know.

    Raises:
        StoreVersionError: the books are older or newer than this program.
    """
    with suppress(Unavailable), opened_books(settings):
        pass


def require_installation(settings: Settings) -> None:
    """Asking must not create: an empty folder would look like an empty installation.

    Raises:
        FairshareError: nothing was installed in the data folder yet.
    """
    if not settings.books_url and not (settings.data / "books.sqlite").exists():
        raise FairshareError(f"there is no installation in {settings.data}: start one with fairshare up, or name its folder with --data")


def migrate_stores(settings: Settings) -> list[str]:
    """Migrate books and events store; what was applied, by name."""
    applied = [f"books: {name}" for name in migrate_books(settings.books)]
    events = open_events(settings)
    try:
        return applied + [f"events store: {name}" for name in migrate_events(events, settings)]
    finally:
        events.close()


def pending_sql(settings: Settings) -> str:
    """What :func:`migrate_stores` would run. Nothing is created: an events store that is not there yet is not opened."""
    if settings.events.startswith("chdb://") and not Path(settings.events.removeprefix("chdb://")).exists():
        return books_sql(settings.books) + events_sql(None, settings)
    events = open_events(settings)
    try:
        return books_sql(settings.books) + events_sql(events, settings)
    finally:
        events.close()
