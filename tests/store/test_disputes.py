import msgspec
import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from store import schema
from store.books import Books
from store.disputes import (
    LIVE,
    Case,
    Evidence,
    Step,
    add_step,
    case_of_affiliate,
    case_of_tenant,
    cases_of_affiliate,
    cases_of_order,
    cases_of_tenant,
    count_by_state,
    evidence_of,
    live_case,
    open_case,
    opened_since,
    steps_of,
)
from tests.fakes import NOON
from tests.people import NORTH, SOUTH

EVIDENCE = Evidence(None, {"result": "credited", "candidates": [{"why": "It earns – the whole credit."}]})


@pytest.fixture
def books(books: Books) -> Books:
    with books.writing() as connection:
        for tenant_id in (NORTH, SOUTH):
            connection.execute(insert(schema.tenants).values(tenant_id=tenant_id, name=tenant_id, currency="EUR"))
        for affiliate_id in ("anna", "ben"):
            connection.execute(insert(schema.affiliates).values(affiliate_id=affiliate_id, name=affiliate_id))
        open_case(connection, case("c1"), EVIDENCE, "It was me.")
        open_case(connection, case("c2", order_id="O-2", at=NOON + 5), EVIDENCE, "And here.")
        open_case(connection, case("c3", tenant_id=SOUTH, affiliate_id="ben"), EVIDENCE, "Mine.")
    return books


def case(case_id: str, tenant_id: str = NORTH, affiliate_id: str = "anna", order_id: str = "O-1", at: int = NOON) -> Case:
    return Case(tenant_id, case_id, affiliate_id, order_id, "untracked", "open", at, f"{affiliate_id}@x.example", at, 1)


ANSWER = Step(2, "merchant", "asked", "Which post?", "martha@north.example", NOON + 9)


def test_a_case_and_its_evidence_read_back(books: Books) -> None:
    with books.reading() as connection:
        assert case_of_tenant(connection, NORTH, "c1") == case_of_affiliate(connection, "anna", "c1") == case("c1")
        assert evidence_of(connection, NORTH, "c1") == EVIDENCE
        assert steps_of(connection, NORTH, "c1") == [Step(1, "affiliate", "opened", "It was me.", "anna@x.example", NOON)]


def test_a_foreign_case_is_none(books: Books) -> None:
    with books.reading() as connection:
        assert case_of_tenant(connection, SOUTH, "c1") is None
        assert case_of_affiliate(connection, "ben", "c1") is None
        assert [one.case_id for one in cases_of_tenant(connection, SOUTH, LIVE, 9)] == ["c3"]
        assert [one.case_id for one in cases_of_affiliate(connection, "ben", 9)] == ["c3"]
        assert [one.case_id for one in cases_of_order(connection, NORTH, "O-1")] == ["c1"]
        assert live_case(connection, SOUTH, "anna", "O-1") is None


def test_a_step_moves_the_case_as_it_was_read_and_no_other(books: Books) -> None:
    with books.writing() as connection:
        assert add_step(connection, case("c1"), ANSWER, "incomplete")
        assert not add_step(connection, case("c1"), ANSWER, "declined")
    with books.reading() as connection:
        found = case_of_tenant(connection, NORTH, "c1")
        assert found == msgspec.structs.replace(case("c1"), state="incomplete", changed_at=NOON + 9, steps=2)
        assert steps_of(connection, NORTH, "c1")[1:] == [ANSWER]
        assert count_by_state(connection, NORTH) == {"incomplete": 1, "open": 1}
        assert [one.case_id for one in cases_of_tenant(connection, NORTH, LIVE, 9)] == ["c2", "c1"], "what waits longest comes first"


def test_a_case_that_is_over_is_not_live(books: Books) -> None:
    with books.writing() as connection:
        add_step(connection, case("c1"), ANSWER, "valid", override_version=1)
    with books.reading() as connection:
        assert live_case(connection, NORTH, "anna", "O-1") is None
        assert live_case(connection, NORTH, "anna", "O-2") == case("c2", order_id="O-2", at=NOON + 5)
        found = case_of_tenant(connection, NORTH, "c1")
        assert found is not None
        assert (found.override_version, found.live) == (1, False)


def test_cases_are_counted_over_all_tenants_after_a_moment(books: Books) -> None:
    with books.reading() as connection:
        assert [opened_since(connection, "anna", at) for at in (NOON - 1, NOON, NOON + 5)] == [2, 1, 0]


def test_what_was_said_stays_said(books: Books) -> None:
    for statement in (delete(schema.dispute_steps), update(schema.dispute_steps).values(message="I never said that.")):
        with pytest.raises(IntegrityError, match="dispute_steps is append-only"), books.writing() as connection:
            connection.execute(statement)
