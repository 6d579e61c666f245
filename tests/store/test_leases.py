"""Who has the turn: one process at a time, whatever the machines' clocks say."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError

from store.books import Books
from store.leases import Lease, LeaseLost, Turn, find_lease, release_lease, renew_lease, take_lease
from tests.fakes import NOON, FakeClock


class Stopwatch:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


def turn(books: Books, owner: str, watch: Stopwatch, clock_ms: int = NOON) -> Turn:
    made = Turn(books, "drain", owner, FakeClock(clock_ms), 5.0, watch)
    made._begin_beating = lambda: None  # type: ignore[method-assign]
    return made


@pytest.fixture
def first(books: Books, watch: Stopwatch) -> Iterator[Turn]:
    with closing(turn(books, "first", watch)) as made:
        yield made


@pytest.fixture
def second(books: Books, watch: Stopwatch) -> Iterator[Turn]:
    """Its machine's clock is a day ahead."""
    with closing(turn(books, "second", watch, NOON + 86_400_000)) as made:
        yield made


def test_the_first_who_asks_has_it_and_the_second_waits(first: Turn, second: Turn) -> None:
    assert first.take()
    assert first.take()
    assert not second.take()
    assert not second.is_mine


def test_whoever_falls_silent_is_succeeded_after_a_lease_and_not_before(first: Turn, second: Turn, watch: Stopwatch) -> None:
    first.take()
    assert not second.take()
    watch.at += 4.9
    assert not second.take()
    watch.at += 0.2
    assert second.take()
    assert not first.take()


def test_a_beat_begins_the_lease_anew(first: Turn, second: Turn, books: Books, watch: Stopwatch) -> None:
    first.take()
    assert not second.take()
    for _ in range(5):
        watch.at += 2
        with books.writing() as connection:
            first.fence(connection)
        assert not second.take()
    assert first.is_mine


def test_nothing_is_begun_with_half_a_lease_gone(first: Turn, watch: Stopwatch) -> None:
    first.take()
    watch.at += 2.4
    first.require()
    watch.at += 0.2
    with pytest.raises(LeaseLost, match="first has lost its turn"):
        first.require()
    assert first.take(), "nobody else came: it goes on in a new term"


def test_a_transaction_of_an_older_term_does_not_commit(first: Turn, second: Turn, books: Books, watch: Stopwatch) -> None:
    first.take()
    second.take()
    watch.at += 6
    second.take()

    def work() -> None:
        with books.writing() as connection:
            take_lease(connection, "other", "first", None, NOON)
            first.fence(connection)

    with pytest.raises(LeaseLost):
        work()
    with books.reading() as connection:
        assert find_lease(connection, "other") is None
        found = find_lease(connection, "drain")
    assert found is not None
    assert (found.owner, found.term) == ("second", 2)


def test_whoever_stops_hands_over_at_once(first: Turn, second: Turn) -> None:
    first.take()
    assert not second.take()
    first.close()
    assert second.take()
    first.close()
    assert second.take(), "closing twice takes nothing from the successor"


def test_of_two_who_see_it_free_one_takes_it(books: Books) -> None:
    with books.writing() as connection:
        assert take_lease(connection, "drain", "first", None, NOON) == Lease("first", 1, 0, NOON)
        assert take_lease(connection, "drain", "second", None, NOON) is None
        seen = find_lease(connection, "drain")
        release_lease(connection, "drain", 1)
        assert take_lease(connection, "drain", "second", seen, NOON) is None, "it has changed since"
        seen = find_lease(connection, "drain")
        assert take_lease(connection, "drain", "second", seen, NOON) == Lease("second", 2, 0, NOON)
        assert take_lease(connection, "drain", "third", seen, NOON) is None
        assert not renew_lease(connection, "drain", 1, NOON)
        assert renew_lease(connection, "drain", 2, NOON)
        release_lease(connection, "drain", 1)
        assert find_lease(connection, "drain") == Lease("second", 2, 1, NOON)


def test_the_holder_keeps_it_by_itself_however_long_an_insert_takes(sqlite_books: Books) -> None:
    with (
        closing(Turn(sqlite_books, "drain", "first", FakeClock(), 1.5)) as first,
        closing(Turn(sqlite_books, "drain", "second", FakeClock(), 1.5)) as second,
    ):
        first.take()
        pause = threading.Event()
        for _ in range(18):
            pause.wait(0.1)
            assert not second.take()
        assert first.is_mine


def test_whatever_a_server_that_goes_away_raises_the_keeper_goes_on(sqlite_books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Turn(sqlite_books, "drain", "first", FakeClock(), 1.5)) as first:
        first.take()
        renewed, writing, pause = first._renewed, sqlite_books.writing, threading.Event()
        failures = iter([InterfaceError("UPDATE", {}, Exception("gone")), ValueError("strange")])

        def failing() -> AbstractContextManager[Connection]:
            for failure in failures:
                raise failure
            return writing()

        monkeypatch.setattr(sqlite_books, "writing", failing)
        for _ in range(100):
            if first._renewed > renewed:
                break
            pause.wait(0.02)
        assert next(failures, None) is None
        assert first._renewed > renewed
