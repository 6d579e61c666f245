import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from core.credit import Override
from core.errors import Conflict
from store import schema
from store.books import Books
from store.overrides import next_version, overrides_of, overrides_since, put_override
from tests.fakes import NOON
from tests.people import NORTH, SOUTH


@pytest.fixture
def books(books: Books) -> Books:
    with books.writing() as connection:
        for tenant_id in (NORTH, SOUTH):
            connection.execute(insert(schema.tenants).values(tenant_id=tenant_id, name=tenant_id, currency="EUR"))
    return books


def override(order_id: str, version: int = 1, affiliate_id: str = "anna") -> Override:
    return Override(order_id, version, affiliate_id, "She showed the receipt.", "martha@north.example", NOON, "case")


def test_the_highest_version_is_in_force(books: Books) -> None:
    with books.writing() as connection:
        put_override(connection, NORTH, override("O-1"))
        put_override(connection, NORTH, override("O-1", 2, "ben"))
        put_override(connection, NORTH, override("O-2"))
    with books.reading() as connection:
        found = overrides_of(connection, NORTH, ["O-1", "O-2", "O-3"])
        assert next_version(connection, NORTH, "O-1") == 3

    assert found == {"O-1": override("O-1", 2, "ben"), "O-2": override("O-2")}


def test_two_who_decide_at_once_do_not_both_win(books: Books) -> None:
    with books.writing() as connection:
        put_override(connection, NORTH, override("O-1"))
    for version in (1, 3):
        with pytest.raises(Conflict, match=r"decided by somebody else meanwhile \(version 1\)"), books.writing() as connection:
            put_override(connection, NORTH, override("O-1", version))


def test_an_override_is_its_tenants_alone(books: Books) -> None:
    with books.writing() as connection:
        put_override(connection, NORTH, override("O-1"))
        put_override(connection, SOUTH, override("O-1", 1, "charlie"))
    with books.reading() as connection:
        assert overrides_of(connection, SOUTH, ["O-1"])["O-1"].affiliate_id == "charlie"
        assert overrides_of(connection, NORTH, ["O-1"])["O-1"].affiliate_id == "anna"
        assert overrides_of(connection, "nowhere", ["O-1"]) == {}


def test_a_run_follows_the_numbers_over_all_tenants(books: Books) -> None:
    with books.writing() as connection:
        numbers = [
            put_override(connection, NORTH, override("O-1")),
            put_override(connection, SOUTH, override("S-1")),
            put_override(connection, NORTH, override("O-1", 2)),
        ]
    with books.reading() as connection:
        assert numbers == [1, 2, 3]
        assert overrides_since(connection, 0) == [(1, NORTH, "O-1"), (2, SOUTH, "S-1"), (3, NORTH, "O-1")]
        assert overrides_since(connection, 2) == [(3, NORTH, "O-1")]
        assert overrides_since(connection, 3) == []


def test_no_override_is_ever_changed_or_deleted(books: Books) -> None:
    with books.writing() as connection:
        put_override(connection, NORTH, override("O-1"))
    for statement in (delete(schema.overrides), update(schema.overrides).values(affiliate_id="ben")):
        with pytest.raises(IntegrityError, match="overrides is append-only"), books.writing() as connection:
            connection.execute(statement)
