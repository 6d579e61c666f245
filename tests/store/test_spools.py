import pytest

from store.books import Books
from store.spools import BEGINNING, Place, Progress, SpoolTaken, Step, move_spool, plan_step, read_spools, register_spool
from tests.fakes import NOON

A, B = "00000000000000000001.log", "00000000000000000009.log"
START = Progress("t0", "f" * 32, BEGINNING, moved_at=NOON)


def register(books: Books, start: Progress) -> Progress:
    with books.writing() as connection:
        return register_spool(connection, start)


def progress(books: Books) -> Progress:
    with books.reading() as connection:
        [found] = read_spools(connection)
    return found


def step(was: Progress, end: Place, stored_at: int = NOON) -> Step:
    return Step(was, end, stored_at, NOON - 5)


def test_a_spool_is_registered_once_and_found_again(books: Books) -> None:
    assert register(books, START) == START
    with books.writing() as connection:
        assert move_spool(connection, step(START, (A, 9)), NOON + 1)

    assert register(books, START) == Progress("t0", "f" * 32, (A, 9), NOON, NOON - 5, BEGINNING, 0, NOON + 1)
    with books.reading() as connection:
        assert [found.spool_id for found in read_spools(connection, ["t0", "t1"])] == ["t0"]
        assert read_spools(connection, []) == []


def test_another_folder_may_not_take_its_name(books: Books) -> None:
    register(books, START)

    with pytest.raises(SpoolTaken, match="the tracker id t0 belongs to a spool folder of another machine"):
        register(books, Progress("t0", "e" * 32, (B, 9)))
    assert progress(books) == START


def test_a_start_beyond_what_the_books_say_moves_them_on_and_never_back(books: Books) -> None:
    register(books, Progress("t0", "f" * 32, (A, 9), NOON, NOON, planned_stored_at=NOON + 3))
    further = Progress("t0", "f" * 32, (B, 5), NOON + 2, NOON + 1, (B, 9), NOON + 2, NOON)

    moved = register(books, further)
    assert moved == progress(books)
    assert (moved.place, moved.plan, moved.stored_at, moved.planned_stored_at) == ((B, 5), (B, 9), NOON + 2, NOON + 3)
    assert register(books, START) == moved


def test_a_step_is_planned_and_taken_from_where_the_spool_is_and_nowhere_else(books: Books) -> None:
    register(books, START)
    with books.writing() as connection:
        assert plan_step(connection, step(START, (A, 9)))
    planned = progress(books)
    assert (planned.place, planned.plan, planned.stored_at, planned.planned_stored_at) == (BEGINNING, (A, 9), 0, NOON)
    with books.writing() as connection:
        assert move_spool(connection, step(planned, (A, 9)), NOON)
        assert not move_spool(connection, step(planned, (A, 9)), NOON)
        assert not plan_step(connection, step(planned, (A, 5)))
        assert not move_spool(connection, step(Progress("t0", "e" * 32, (A, 9)), (A, 18)), NOON)
        assert not move_spool(connection, step(Progress("t1", "f" * 32, (A, 9)), (A, 18)), NOON)
    assert progress(books).place == (A, 9)
