"""Opening the books for a command, or refusing to. Light: a tracker's start comes through here."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from core.errors import FairshareError, Unavailable
from core.settings import Settings
from store.books import Books, open_books
from store.versions import check_books


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
