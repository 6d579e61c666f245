"""Bonuses: booked once for each affiliate and period when reached, taken back when not, whatever comes when."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from core.catalogue import Bonus, RateCard, Tenant, version_at
from core.clock import DAY, HOUR, parse_instant
from payouts.bonuses import due
from payouts.calendar import span_of
from payouts.digests import commission_id
from payouts.standing import NOTHING, Party, Placed, record
from store.books import Books
from store.commissions import Commission
from store.schema import bonuses
from tests.people import NORTH

BERLIN = Tenant(NORTH, "North", "EUR", time_zone="Europe/Berlin")
NOON = parse_instant("2026-10-24T10:00:00Z")
NOW = parse_instant("2026-11-01T00:00:00Z")
FIFTY = Bonus("fifty", "revenue", "month", 5_000, 20_00)


def card(*offers: Bonus, version: int = 1, since: int = 0) -> RateCard:
    return RateCard(NORTH, "main", version, since, 30, (), bonuses=offers)


class Shop:
    """Records what orders count for, and keeps the commissions that bonuses come to."""

    def __init__(self, connection: Connection, *cards: RateCard) -> None:
        self.connection, self.cards, self.rows = connection, cards, list[Commission]()

    def sell(self, order_id: str, at: int, revenue: int, affiliate_id: str = "anna") -> list[Commission]:
        card = version_at(self.cards, at)
        assert card is not None
        order = Placed("main", order_id, at, (Party(affiliate_id, card.version, int(revenue > 0), revenue, revenue // 10),))
        tariff = {"main": self.cards}
        touched = record(self.connection, BERLIN, order, tariff, NOTHING, (), NOW)
        rows = due(self.connection, BERLIN, tariff, touched, NOW)
        self.rows += rows
        return rows

    def sums(self) -> dict[tuple[str, str, str], int]:
        """What is booked by affiliate, bonus and period."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for row in self.rows:
            sums[row.affiliate_id, row.rule_id, row.line_id] += row.amount_minor
        return {key: minor for key, minor in sums.items() if minor}


@pytest.fixture
def connection(books: Books) -> Iterator[Connection]:
    with books.writing() as opened:
        yield opened


@pytest.fixture
def lite(sqlite_books: Books) -> Iterator[Connection]:
    with sqlite_books.writing() as opened:
        yield opened


def test_a_bonus_is_booked_with_the_order_that_reaches_it_and_once(connection: Connection) -> None:
    shop = Shop(connection, card(FIFTY))
    assert shop.sell("A-1", NOON, 4_999) == []

    [row] = shop.sell("A-2", NOON + HOUR, 1)

    assert (row.subject, row.kind, row.affiliate_id, row.rule_id, row.line_id) == ("bonus", "bonus", "anna", "fifty", "2026-10")
    assert (row.amount_minor, row.currency, row.rate_card_version, row.state) == (20_00, "EUR", 1, "pending")
    assert (row.ordered_at, row.hold_until) == (NOON + HOUR, NOON + HOUR + 30 * DAY)
    assert (row.order_id, row.idempotency_key) == (" bonus:2026-10:fifty:main:anna", " bonus:2026-10:fifty:main:anna:0")
    assert row.commission_id == commission_id(row)
    assert shop.sell("A-3", NOON + 2 * HOUR, 9_999) == []
    assert shop.sell("B-1", NOON, 4_000, "ben") == []
    assert [one.line_id for one in shop.sell("N-1", NOON + 20 * DAY, 5_000)] == ["2026-11"]


def test_a_refund_takes_a_bonus_back_and_a_later_order_brings_it_again(connection: Connection) -> None:
    shop = Shop(connection, card(FIFTY))
    shop.sell("A-1", NOON, 5_000)
    [back] = shop.sell("A-1", NOON, 4_000)
    [again] = shop.sell("A-2", NOON + HOUR, 1_000)

    assert (back.amount_minor, back.idempotency_key[-2:], again.amount_minor, again.idempotency_key[-2:]) == (-20_00, ":1", 20_00, ":2")
    assert shop.sums() == {("anna", "fifty", "2026-10"): 20_00}


def test_a_late_order_that_reaches_it_sooner_books_nothing_new(lite: Connection) -> None:
    shop = Shop(lite, card(FIFTY))
    shop.sell("A-2", NOON + HOUR, 5_000)

    assert shop.sell("A-1", NOON, 5_000) == []
    [kept] = lite.execute(select(bonuses)).all()
    assert (kept.order_id, kept.amount_minor, kept.booked) == ("A-1", 20_00, 1)


def test_the_version_that_prices_the_order_says_what_it_pays(lite: Connection) -> None:
    """From the 24th at noon on it pays more; what came before counts."""
    more = Bonus("fifty", "revenue", "month", 5_000, 30_00)
    shop = Shop(lite, card(FIFTY), card(more, version=2, since=NOON))
    shop.sell("A-1", NOON - 1, 4_999)
    [row] = shop.sell("A-2", NOON, 1)
    assert (row.amount_minor, row.rate_card_version) == (30_00, 2)

    [less] = shop.sell("A-0", NOON - 2, 1)

    assert (less.amount_minor, less.rate_card_version) == (-10_00, 1), "with the late one, it was reached under the first version"


def test_a_bonus_that_begins_in_the_middle_of_a_period_is_reached_by_the_next_order(lite: Connection) -> None:
    shop = Shop(lite, card(), card(FIFTY, version=2, since=NOON))
    shop.sell("A-1", NOON - 1, 9_000)
    assert shop.rows == []

    assert [row.amount_minor for row in shop.sell("A-2", NOON, 1)] == [20_00]


def test_long_names_fit(lite: Connection) -> None:
    shop = Shop(lite, card(Bonus("b" * 64, "orders", "day", 1, 1)))
    [row] = shop.sell("A-1", NOON, 1, "a" * 64)

    assert row.order_id.startswith(" bonus:2026-10-24:")
    assert len(row.order_id) <= 128


offers = st.builds(
    Bonus,
    st.just("b"),
    st.sampled_from(["orders", "revenue", "commission"]),
    st.sampled_from(["day", "week", "month", "lifetime"]),
    st.sampled_from([1, 2, 3, 25, 200]),
    st.sampled_from([5_00, 7_00]),
)
times = {name: NOON + hours * HOUR for name, hours in {"A": 0, "B": 0, "C": 11, "D": 13, "E": 14, "F": 200}.items()}
sales = st.tuples(st.sampled_from(sorted(times)), st.sampled_from([0, 1, 100, 150, 250]), st.sampled_from(["anna", "anna", "ben"]))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(offers, min_size=1, max_size=2), st.lists(sales, min_size=1, max_size=12))
def test_any_history_books_what_all_orders_together_reach(
    sqlite_books: Books, many: list[Bonus], history: list[tuple[str, int, str]]
) -> None:
    cards = tuple(card(offer, version=number, since=(0, NOON + 12 * HOUR)[number - 1]) for number, offer in enumerate(many, 1))
    last: dict[str, tuple[int, str]] = {}
    with sqlite_books.writing() as connection:
        shop = Shop(connection, *cards)
        for order_id, revenue, affiliate_id in history:
            shop.sell(order_id, times[order_id], revenue, affiliate_id)
            last[order_id] = (revenue, affiliate_id)
        connection.get_transaction().rollback()  # type: ignore[union-attr]

    expected: dict[tuple[str, str, str], int] = {}
    in_order = sorted(last, key=lambda order_id: (times[order_id], order_id))
    for place, order_id in enumerate(in_order, 1):
        affiliate_id, mine = last[order_id][1], version_at(cards, times[order_id])
        assert mine is not None
        [offer] = mine.bonuses
        span = span_of(offer.period, times[order_id], "Europe/Berlin")
        before = [last[one][0] for one in in_order[:place] if last[one][1] == affiliate_id and span.holds(times[one])]
        total = {"orders": sum(map(bool, before)), "revenue": sum(before), "commission": sum(one // 10 for one in before)}[offer.measure]
        if total >= offer.at_least:
            expected.setdefault((affiliate_id, "b", span.key), offer.pays_minor)
    assert shop.sums() == expected
