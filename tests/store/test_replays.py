import msgspec
import pytest
from sqlalchemy import insert

from store import schema
from store.books import Books
from store.replays import KEPT, Replay, add_replay, advance, changes_of, find_replay, mark_applied, recent_replays, set_state
from tests.fakes import NOON
from tests.people import NORTH, SOUTH


@pytest.fixture
def books(books: Books) -> Books:
    with books.writing() as connection:
        for tenant_id in (NORTH, SOUTH):
            connection.execute(insert(schema.tenants).values(tenant_id=tenant_id, name=tenant_id, currency="EUR"))
    return books


def replay(replay_id: str = "r1", tenant_id: str = NORTH, at: int = NOON) -> Replay:
    asked = {"tenant_id": tenant_id, "replay_id": replay_id, "fingerprint": "f", "from_at": 0, "to_at": None, "policies": [{"version": 1}]}
    kept = {"after": "", "total": 9, "tally": {"orders": 0}, "moved_at": at, "requested_by": "martha", "requested_at": at}
    return Replay(**asked, **kept, state="running")


def test_a_replay_goes_on_behind_what_it_kept(books: Books) -> None:
    with books.writing() as connection:
        add_replay(connection, replay())
        assert advance(connection, replay(), "O-5", {"orders": 5}, {"O-2": {"n": 2}, "O-1": {"n": 1}}, NOON + 1)
        assert not advance(connection, replay(), "O-7", {"orders": 7}, {"O-6": {"n": 6}}, NOON + 1), "another process has gone on"
    with books.reading() as connection:
        found = find_replay(connection, NORTH, "r1")
        assert found == msgspec.structs.replace(replay(), after="O-5", tally={"orders": 5}, moved_at=NOON + 1)
        assert changes_of(connection, NORTH, "r1", "", 9) == [{"n": 1}, {"n": 2}]
        assert changes_of(connection, NORTH, "r1", "O-1", 9) == [{"n": 2}]
        assert changes_of(connection, NORTH, "r1", "", 1) == [{"n": 1}]
        assert changes_of(connection, SOUTH, "r1", "", 9) == []
        assert find_replay(connection, SOUTH, "r1") is None


def test_a_stopped_replay_keeps_nothing_more(books: Books) -> None:
    with books.writing() as connection:
        add_replay(connection, replay())
        set_state(connection, NORTH, "r1", "stopped", NOON + 1)
        assert not advance(connection, replay(), "O-5", {}, {"O-1": {}}, NOON + 2)
        assert changes_of(connection, NORTH, "r1", "", 9) == []


def test_a_replay_is_applied_once_and_only_when_done(books: Books) -> None:
    with books.writing() as connection:
        add_replay(connection, replay())
        assert not mark_applied(connection, NORTH, "r1", "martha", NOON, 7)
        set_state(connection, NORTH, "r1", "done", NOON)
        assert mark_applied(connection, NORTH, "r1", "martha", NOON, 7)
        assert not mark_applied(connection, NORTH, "r1", "mary", NOON, 8)
        set_state(connection, NORTH, "r1", "failed", NOON)
        found = find_replay(connection, NORTH, "r1")
    assert found is not None
    assert (found.state, found.applied_by, found.rerun_number) == ("applied", "martha", 7)


def test_old_replays_make_room_but_applied_ones_stay(books: Books) -> None:
    with books.writing() as connection:
        add_replay(connection, msgspec.structs.replace(replay("first"), state="done"))
        assert advance(connection, msgspec.structs.replace(replay("second", at=NOON + 1)), "", {}, {}, NOON) is False
        mark_applied(connection, NORTH, "first", "martha", NOON, 1)
        for number in range(KEPT + 2):
            one = replay(f"r{number:02}", at=NOON + 10 + number)
            add_replay(connection, one)
            advance(connection, one, "O-1", {}, {"O-1": {"n": number}}, NOON)
        add_replay(connection, replay("south", SOUTH, NOON - 5))
    with books.reading() as connection:
        left = {one.replay_id for one in recent_replays(connection, NORTH, 99)}
        assert left == {"first", *(f"r{number:02}" for number in range(2, KEPT + 2))}
        assert changes_of(connection, NORTH, "r00", "", 9) == []
        assert changes_of(connection, NORTH, "r05", "", 9) == [{"n": 5}]
        assert [one.replay_id for one in recent_replays(connection, SOUTH, 9)] == ["south"]
