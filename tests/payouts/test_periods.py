"""Accounting months: which one an entry belongs to, and that a closed one takes no more."""

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from core.catalogue import Tenant
from core.clock import DAY, MINUTE, parse_instant
from core.errors import BadInput, Conflict
from payouts.ledger import Draft, post, transfer
from payouts.periods import close_period, end_of, month_of, months_of, next_month, period_for
from payouts.verify import verify
from store import schema
from store.ledger import head, read_entries
from tests.people import NORTH, SOUTH

FRANK = "frank@north.example"


def at(text):
    return parse_instant(f"{text}Z")


def entries(world, tenant_id=NORTH):
    with world.books.reading() as connection:
        return list(read_entries(connection, tenant_id))


def close(world, month, now=None, tenant_id=NORTH):
    return close_period(world.books, tenant_id, month, FRANK, world.clock() if now is None else now)


@pytest.mark.parametrize(
    ("moment", "zone", "month"),
    [
        ("2026-11-30T22:59:59.999", "Europe/Berlin", "2026-11"),
        ("2026-11-30T23:00:00", "Europe/Berlin", "2026-12"),
        ("2026-11-30T23:00:00", "UTC", "2026-11"),
        ("2026-12-01T04:59:00", "America/New_York", "2026-11"),
        ("0001-01-01T00:00:00", "America/New_York", "0001-01"),
        ("9999-12-31T23:59:59.999", "Asia/Tokyo", "9999-12"),
    ],
)
def test_a_month_begins_at_midnight_of_the_merchants_zone(moment, zone, month):
    assert month_of(at(moment), zone) == month


def test_months_follow_each_other_and_end_where_the_next_begins():
    assert (next_month("2026-11"), next_month("2026-12")) == ("2026-12", "2027-01")
    assert end_of("2026-11", "Europe/Berlin") == at("2026-11-30T23:00:00")
    assert end_of("2026-03", "Europe/Berlin") == at("2026-03-31T22:00:00"), "summer time"


@pytest.mark.parametrize(
    ("month", "closed", "period"),
    [("2026-11", "", "2026-11"), ("2026-11", "2026-10", "2026-11"), ("2026-11", "2026-11", "2026-12"), ("2026-03", "2026-12", "2027-01")],
)
def test_the_month_itself_if_it_is_open_else_the_first_open_one(month, closed, period):
    assert period_for(month, closed) == period


def test_an_order_is_booked_in_the_month_of_its_time(world):
    world.sell("A-1", "anna", at=at("2026-10-05T10:00:00"))
    world.accrue()

    assert [(entry.period, entry.memo) for entry in entries(world)] == [("2026-10", "order A-1: sale")]


def test_what_comes_late_is_booked_in_the_open_month_and_says_for_which_it_is(world):
    world.sell("A-1", "anna", at=at("2026-10-05T10:00:00"))
    world.accrue()
    closing = close(world, "2026-10")
    assert (closing.head_number, closing.head_hash) == (1, entries(world)[0].hash)
    world.refund("A-1", net_minor=50_00)
    world.accrue()

    assert [(entry.period, entry.memo) for entry in entries(world)] == [
        ("2026-10", "order A-1: sale"),
        ("2026-11", "order A-1: refund (for 2026-10, which is closed)"),
    ]
    assert verify(world.books).fault is None


def test_an_entry_that_was_posted_before_its_month_was_closed_is_known_when_it_comes_again(sqlite_books, sqlite_world):
    draft = Draft(NORTH, "release", "k", at("2026-11-21T12:00:00"), "x", "", transfer("anna", "EUR", 5, "pending", "approved"), 5)
    late = Draft(NORTH, "release", "late", at("2026-11-21T12:00:00"), "x", "", transfer("anna", "EUR", 5, "pending", "approved"), 5)
    for _ in range(2):
        with sqlite_books.writing() as connection:
            assert post(connection, draft) == 1
            assert head(connection, NORTH)[0] == 1
    close(sqlite_world, "2026-10")
    for _ in range(2):
        with sqlite_books.writing() as connection:
            assert (post(connection, draft), post(connection, late)) == (1, 2)


def test_the_database_refuses_an_entry_in_a_closed_month(world):
    world.sell("A-1", "anna")
    world.accrue()
    close(world, "2026-10")
    row = {"tenant_id": NORTH, "number": 2, "kind": "x", "idempotency_key": "k", "posted_at": 1, "previous_hash": "", "hash": "h"}
    for period in ("2026-10", "2025-01", ""):
        with pytest.raises(IntegrityError, match="the period of this entry is closed"), world.books.writing() as connection:
            connection.execute(insert(schema.entries).values(**row, period=period))
    with world.books.writing() as connection:
        connection.execute(insert(schema.entries).values(**row | {"tenant_id": SOUTH}, period="2026-10"))


def test_a_closing_is_for_good(world):
    close(world, "2026-10")
    for statement in ("DELETE FROM periods", "UPDATE periods SET month = '2020-01'"):
        with pytest.raises(IntegrityError, match="periods is append-only"), world.books.writing() as connection:
            connection.execute(text(statement))


def test_a_month_is_closed_after_its_end_once_with_all_before_it(sqlite_world):
    world = sqlite_world
    world.put(Tenant(NORTH, "North Shoes", "EUR", time_zone="America/New_York"))
    end = at("2026-11-01T04:00:00")
    with pytest.raises(Conflict, match="2026-10 of north: it is not over yet in the time zone America/New_York"):
        close(world, "2026-10", end - 1)
    close(world, "2026-10", end)
    for month in ("2026-10", "2026-09"):
        with pytest.raises(Conflict, match="closed already, with everything up to 2026-10"):
            close(world, month)
    for nonsense in ("2026-13", "2026-1", "", "x", "2026-00", "1969-01", "٢٠٢٦-01"):
        with pytest.raises(BadInput, match="is not a month"):
            close(world, nonsense)


def test_the_months_with_their_sums(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna", at=at("2026-09-05T10:00:00"))
    world.sell("A-2", "anna", at=at("2026-10-05T10:00:00"))
    world.accrue()
    close(world, "2026-09")
    with world.books.reading() as connection:
        months = months_of(connection, NORTH, world.clock())

    assert [(one.month, one.is_closed, one.may_close) for one in months] == [
        ("2026-11", False, False),
        ("2026-10", False, True),
        ("2026-09", True, False),
    ]
    assert [(one.account, one.amount_minor) for one in months[1].sums] == [("approved", 8_00), ("expense", -8_00)]
    assert months[2].closing.closed_by == FRANK


def test_verify_names_an_entry_that_was_slipped_into_a_closed_month(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna", at=at("2026-10-05T10:00:00"))
    world.accrue()
    close(world, "2026-10")
    with world.books.writing() as connection:
        connection.execute(text("DROP TRIGGER periods_no_delete"))
        connection.execute(text("DELETE FROM periods"))
    world.clock.advance(MINUTE)
    world.sell("A-2", "anna", at=at("2026-10-06T10:00:00"))
    world.accrue()
    with world.books.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO periods SELECT 'north', '2026-10', 'frank', :at, 1, hash FROM entries WHERE number = 1 AND tenant_id = 'north'"
            ),
            {"at": world.clock() - DAY},
        )

    assert str(verify(world.books).fault) == "entries 2 of north: it belongs to 2026-10, which was closed after entry 1"
