from store.books import Books
from store.cursors import move_cursor, read_cursor
from tests.fakes import NOON


def test_a_cursor_begins_at_zero_and_keeps_its_position(books: Books) -> None:
    with books.writing() as connection:
        assert read_cursor(connection, "attribution") == 0
        move_cursor(connection, "attribution", NOON, at=NOON)
    with books.reading() as connection:
        assert read_cursor(connection, "attribution") == NOON
        assert read_cursor(connection, "accrual") == 0


def test_a_cursor_never_goes_back(books: Books) -> None:
    with books.writing() as connection:
        move_cursor(connection, "attribution", NOON, at=NOON)
        move_cursor(connection, "attribution", NOON - 1, at=NOON)
        assert read_cursor(connection, "attribution") == NOON


def test_a_cursor_moves_with_its_work_or_not_at_all(books: Books) -> None:
    class Interrupted(Exception):
        pass

    try:
        with books.writing() as connection:
            move_cursor(connection, "attribution", NOON, at=NOON)
            raise Interrupted
    except Interrupted:
        pass
    with books.reading() as connection:
        assert read_cursor(connection, "attribution") == 0
