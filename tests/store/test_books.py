"""The books: all or nothing, one writer after the other, and a clear line when they cannot be used."""

import sqlite3
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import event, func, insert, select
from sqlalchemy.exc import IntegrityError

from core.errors import Unavailable
from store.books import MAX_CONNECTIONS, Books, open_books
from store.schema import cursors, tenants


def add_tenant(books: Books, tenant_id: str) -> None:
    with books.writing() as connection:
        connection.execute(insert(tenants).values(tenant_id=tenant_id, name=tenant_id.title(), currency="EUR"))


def tenant_ids(books: Books) -> list[str]:
    with books.reading() as connection:
        return list(connection.scalars(select(tenants.c.tenant_id).order_by(tenants.c.tenant_id)))


# --- transactions ----------------------------------------------------------------------------------------------------


def test_a_write_is_all_or_nothing(books: Books) -> None:
    def interrupted() -> None:
        with books.writing() as connection:
            connection.execute(insert(tenants).values(tenant_id="north", name="North", currency="EUR"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert tenant_ids(books) == []


def test_a_failed_statement_undoes_the_whole_write(books: Books) -> None:
    def add_south_and_north_again() -> None:
        with books.writing() as connection:
            for tenant_id in ("south", "north"):
                connection.execute(insert(tenants).values(tenant_id=tenant_id, name="Again", currency="EUR"))

    add_tenant(books, "north")
    with pytest.raises(IntegrityError):
        add_south_and_north_again()
    assert tenant_ids(books) == ["north"]


def test_writers_queue_and_lose_no_update(books: Books) -> None:
    """Four threads, each reading a number and writing it back one higher, 25 times: 100, as the lock makes them queue."""
    with books.writing() as connection:
        connection.execute(insert(cursors).values(name="count", position=0, moved_at=0))

    def count() -> None:
        for _ in range(25):
            with books.writing() as connection:
                books.lock_tenant(connection, "north")
                position = connection.scalar(select(cursors.c.position).where(cursors.c.name == "count"))
                connection.execute(cursors.update().where(cursors.c.name == "count").values(position=position + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with books.reading() as connection:
        assert connection.scalar(select(cursors.c.position).where(cursors.c.name == "count")) == 100


def test_a_reader_keeps_its_view_while_others_write(books: Books) -> None:
    add_tenant(books, "north")
    with books.reading() as connection:
        before = connection.scalar(select(func.count()).select_from(tenants))
        add_tenant(books, "south")
        assert connection.scalar(select(func.count()).select_from(tenants)) == before == 1
    assert tenant_ids(books) == ["north", "south"]


def test_reading_cannot_write(books: Books) -> None:
    with pytest.raises(Exception, match=r"read-only|readonly"), books.reading() as connection:
        connection.execute(insert(tenants).values(tenant_id="north", name="North", currency="EUR"))
    assert tenant_ids(books) == []


def test_sqlite_books_survive_power_cuts_by_their_settings(sqlite_books: Books) -> None:
    with sqlite_books.reading() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")}

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2 is FULL


# --- when they cannot be used ----------------------------------------------------------------------------------------


def test_a_server_that_is_down_is_unavailable() -> None:
    with closing(open_books("postgresql+psycopg://nobody:hidden@127.0.0.1:9/books")) as books, pytest.raises(Unavailable) as caught:
        tenant_ids(books)

    assert "the books cannot be used now" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_locked_file_is_unavailable_after_a_while(sqlite_url: str) -> None:
    with closing(open_books(sqlite_url)) as first, closing(open_books(sqlite_url, busy_ms=50)) as second, first.writing():
        with pytest.raises(Unavailable, match="the books cannot be used now: database is locked"):
            add_tenant(second, "north")
        assert tenant_ids(second) == [], "reading goes on while another writes"


def test_a_read_only_file_is_unavailable(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with closing(open_books(f"sqlite:///file:{path}?mode=ro&uri=true")) as books:
        with pytest.raises(Unavailable, match="the books cannot be used now: attempt to write a readonly database"):
            add_tenant(books, "north")
        assert tenant_ids(books) == []


def test_a_full_disk_is_unavailable_and_nothing_is_half_applied(sqlite_books: Books) -> None:
    @event.listens_for(sqlite_books.engine, "connect")
    def fill_the_disk(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def add_many_tenants() -> None:
        with sqlite_books.writing() as connection:
            for n in range(10_000):
                connection.execute(insert(tenants).values(tenant_id=f"tenant-{n}", name="x" * 200, currency="EUR"))

    with pytest.raises(Unavailable, match="the books cannot be used now: database or disk is full"):
        add_many_tenants()
    assert tenant_ids(sqlite_books) == []


def test_too_many_at_once_are_unavailable_not_stuck(sqlite_url: str) -> None:
    with closing(open_books(sqlite_url, busy_ms=50)) as books, ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(books.reading())
        with pytest.raises(Unavailable, match="all 20 connections are busy"):
            tenant_ids(books)


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "books.sqlite").write_text("this is not a database, whatever its name says" * 100)

    with closing(open_books(f"sqlite:///{tmp_path}/books.sqlite")) as books, pytest.raises(Unavailable, match="file is not a database"):
        tenant_ids(books)
