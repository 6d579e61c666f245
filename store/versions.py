"""Which version the books are at, and what they still need to be this program's. I/O: asks the books, lists migrations.

Without Alembic, which a tracker's start cannot wait for: it only runs the migrations (:mod:`store.migrate`), and a test
holds its order of them to the one of their files' names.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from core.errors import StoreVersionError
from store.books import Books

MIGRATIONS = Path(__file__).parent / "migrations" / "books"


def check_books(books: Books) -> None:
    """Return if the books are at exactly this program's version.

    Raises:
        StoreVersionError: they are older, newer or not there; the text names the command that mends it.
    """
    path = books.engine.url.database
    if books.is_sqlite and path and not Path(path).exists():
        raise StoreVersionError(f"there are no books at {path} yet: run fairshare migrate")
    with books.reading() as connection:
        pending = books_to_run(connection)
        version = books_version(connection)
    if pending:
        needed = _number(pending[-1])
        raise StoreVersionError(f"the books are at version {version or 'none'}, this program needs {needed}: run fairshare migrate")


def books_to_run(connection: Connection) -> list[str]:
    """The names of the migrations still to run, oldest first: ``0002_append_only`` is version 0002.

    Raises:
        StoreVersionError: the books are at a version that this program does not know.
    """
    names = sorted(path.stem for path in MIGRATIONS.glob("[0-9]*_*.py"))
    version = books_version(connection)
    if version is None:
        return names
    known = [_number(name) for name in names]
    if version not in known:
        raise StoreVersionError(f"books are at version {version}, this program knows {known[-1]}: install a newer Fairshare")
    return names[known.index(version) + 1 :]


def books_version(connection: Connection) -> str | None:
    """The version that the last migration noted; None where none ever ran."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _number(name: str) -> str:
    return name.partition("_")[0]
