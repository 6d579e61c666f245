"""The page of exchange rates."""

from payouts.rates import import_rates
from tests.people import ANNA, FRANK, MARTHA
from tests.portal.conftest import words_of

RATES = b"Date,USD,JPY,RUB,\n2026-11-20,1.0834,162.43,N/A,\n2026-11-19,1.083,N/A,N/A,\n2022-03-01,1.1162,127.91,117.201,\n"


def test_without_rates_it_says_how_to_get_them(portal):
    page = portal.get("/finance/rates", as_=FRANK)

    assert page.status_code == 200
    assert "fairshare rates import FILE" in words_of(page)


def test_each_currency_has_its_days_and_its_last_values(portal, world):
    import_rates(world.books, RATES, world.clock)
    words = words_of(portal.get("/finance/rates", as_=FRANK))

    assert "JPY 2 days 2022-03-01 to 2026-11-20 2026-11-20 162.43 2022-03-01 127.91" in words
    assert "USD 3 days 2022-03-01 to 2026-11-20 2026-11-20 1.0834 2026-11-19 1.083 2022-03-01 1.1162" in words
    assert "RUB 1 day 2022-03-01 to 2022-03-01, none now" in words
    assert words.index("USD") < words.index("RUB")
    assert "new orders in other currencies wait" not in words


def test_it_warns_when_the_last_rates_are_too_old(portal, world):
    import_rates(world.books, RATES.splitlines()[0] + b"\n" + RATES.splitlines()[3] + b"\n", world.clock)

    assert "new orders in other currencies wait" in words_of(portal.get("/finance/rates", as_=FRANK))


def test_other_roles_find_no_such_page(portal, world):
    assert {portal.get("/finance/rates", as_=who).status_code for who in (ANNA, MARTHA)} == {404}
