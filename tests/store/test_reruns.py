import pytest
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from store import schema
from store.books import Books
from store.reruns import Rerun, request_rerun, reruns_since
from tests.fakes import NOON
from tests.people import NORTH, SOUTH


@pytest.fixture
def books(books: Books) -> Books:
    with books.writing() as connection:
        for tenant_id in (NORTH, SOUTH):
            connection.execute(insert(schema.tenants).values(tenant_id=tenant_id, name=tenant_id, currency="EUR"))
    return books


def test_a_run_follows_the_numbers_over_all_tenants(books: Books) -> None:
    with books.writing() as connection:
        assert request_rerun(connection, NORTH, 1, 5, "a replay was applied", NOON, "martha@north.example") == 1
        assert request_rerun(connection, SOUTH, 2, 3, "a replay was applied", NOON) == 2
    with books.reading() as connection:
        assert reruns_since(connection, 0) == [Rerun(1, NORTH, 1, 5), Rerun(2, SOUTH, 2, 3)]
        assert reruns_since(connection, 1) == [Rerun(2, SOUTH, 2, 3)]
        assert reruns_since(connection, 2) == []


def test_a_request_stays(books: Books) -> None:
    with books.writing() as connection:
        request_rerun(connection, NORTH, 1, 5, "", NOON)
    with pytest.raises(IntegrityError, match="reruns is append-only"), books.writing() as connection:
        connection.execute(delete(schema.reruns))
