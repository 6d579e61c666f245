"""Rates in the books: imported once, never changed, looked up by day. On both engines."""

from datetime import date

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from core.clock import DAY, HOUR, parse_instant
from core.events import Line
from payouts.ecb import RateFault
from payouts.exchange import Rate
from payouts.rates import import_rates, rate_on
from store import schema
from store.books import Books
from store.rates import newest_days, ranges
from tests.fakes import FakeClock

FRIDAY, THURSDAY = date(2026, 11, 20), date(2026, 11, 19)
HISTORY = b"""Date,USD,JPY,CYP,RUB,
2026-11-20,1.0834,162.43,N/A,N/A,
2026-11-19,1.083,162.1,N/A,N/A,
1999-01-04,1.1789,133.73,0.58231,N/A,
"""
SATURDAY_NIGHT = parse_instant("2026-11-21T23:59:59.999Z")


@pytest.fixture
def filled(books: Books, clock: FakeClock) -> Books:
    import_rates(books, HISTORY, clock)
    return books


def ask(books: Books, base: str, quote: str, at: int = SATURDAY_NIGHT) -> Rate | None:
    with books.reading() as connection:
        return rate_on(connection, base, quote, at)


def test_the_same_file_twice_is_the_same_as_once(books: Books, clock: FakeClock):
    said: list[tuple[int, int]] = []
    first = import_rates(books, HISTORY, clock, lambda done, total: said.append((done, total)))
    second = import_rates(books, HISTORY, clock)

    assert (first.rates, first.new, first.known, first.faults) == (6, 6, 0, ())
    assert (second.rates, second.new, second.known, second.faults) == (6, 0, 6, ())
    assert (first.first_on, first.last_on, first.unknown) == (date(1999, 1, 4), FRIDAY, ("CYP",))
    assert said == [(6, 6)]


def test_another_value_for_the_same_day_is_told_and_changes_nothing(filled: Books, clock: FakeClock):
    other = (
        HISTORY.replace(b"1.0834", b"1.0835").replace(b"1.083,", b"1.0830,").replace(b"2026-11-19,", b"2026-11-18,5,6,7,8,\n2026-11-19,")
    )
    report = import_rates(filled, other, clock)

    assert report.faults == (RateFault(2, "USD", "2026-11-20 has 1.0834 already, the file says 1.0835; what was imported first stays"),)
    assert (report.new, report.known) == (3, 5)  # the day before and its rouble are new; 1.0830 is 1.083
    assert ask(filled, "EUR", "USD") == Rate("EUR", "USD", "1.0834", "ECB", FRIDAY)


def test_nothing_that_was_published_is_changed_or_deleted(filled: Books):
    for statement in (delete(schema.exchange_rates), update(schema.exchange_rates).values(value="2")):
        with pytest.raises(IntegrityError, match="exchange_rates is append-only"), filled.writing() as connection:
            connection.execute(statement)


def test_the_last_rate_before_counts_for_a_week(filled: Books):
    assert ask(filled, "EUR", "USD") == Rate("EUR", "USD", "1.0834", "ECB", FRIDAY)
    assert ask(filled, "EUR", "USD", parse_instant("2026-11-20T00:00:00Z")) == Rate("EUR", "USD", "1.0834", "ECB", FRIDAY)
    assert ask(filled, "EUR", "USD", parse_instant("2026-11-19T23:59:59.999Z")) == Rate("EUR", "USD", "1.083", "ECB", THURSDAY)
    assert ask(filled, "EUR", "USD", parse_instant("2026-11-18T23:59:59.999Z")) is None
    assert ask(filled, "EUR", "USD", parse_instant("2026-11-27T23:59:59.999Z")) == Rate("EUR", "USD", "1.0834", "ECB", FRIDAY)
    assert ask(filled, "EUR", "USD", parse_instant("2026-11-28T00:00:00Z")) is None


def test_other_currencies_are_crossed_on_a_day_that_has_both(filled: Books, clock: FakeClock):
    import_rates(filled, b"Date,USD,\n2026-11-21,1.09,\n", clock)

    assert ask(filled, "USD", "JPY") == Rate("USD", "JPY", "162.43/1.0834", "ECB", FRIDAY)
    assert ask(filled, "USD", "EUR") == Rate("USD", "EUR", "1/1.09", "ECB", date(2026, 11, 21))
    assert ask(filled, "USD", "CHF") is None
    assert ask(filled, "USD", "USD") == Rate("USD", "USD", "1", "", date(2026, 11, 21))
    assert ask(filled, "EUR", "EUR", SATURDAY_NIGHT + 900 * DAY) is not None


def test_what_is_there_is_listed(filled: Books):
    with filled.reading() as connection:
        found, days = ranges(connection), newest_days(connection, "ECB", 2)

    assert [(one.currency, one.days, one.first_on, one.last_on, one.last_value) for one in found] == [
        ("JPY", 3, date(1999, 1, 4), FRIDAY, "162.43"),
        ("USD", 3, date(1999, 1, 4), FRIDAY, "1.0834"),
    ]
    assert days == {FRIDAY: {"USD": "1.0834", "JPY": "162.43"}, THURSDAY: {"USD": "1.083", "JPY": "162.1"}}


def test_orders_that_lacked_a_rate_are_priced_when_it_comes(world):
    """5.00 EUR for a bundle are 5.50 USD; one that is too old for the rates goes on without."""
    saturday = SATURDAY_NIGHT - 12 * HOUR
    for order_id, line in (("fixed", Line("1", 100_00, category="bundle")), ("percent", Line("1", 100_00))):
        world.sell(order_id, "anna", line, currency="USD", at=saturday)
    world.sell("home", "anna", at=saturday)
    world.sell("old", "anna", Line("1", 100_00, category="bundle"), currency="USD", at=saturday - 20 * DAY)
    world.accrue()
    assert [world.earned(order_id)["anna"] for order_id in ("fixed", "percent", "home", "old")] == [0, 8_00, 8_00, 0]
    assert import_rates(world.books, b"Date,USD,\n2026-11-13,1.2,\n", world.clock).queued == 0  # eight days before
    report = import_rates(world.books, b"Date,USD,\n2026-11-20,1.1,\n", world.clock)
    world.accrue()

    assert report.queued == 2
    assert [world.earned(order_id)["anna"] for order_id in ("fixed", "percent", "home", "old")] == [5_50, 8_00, 8_00, 0]
