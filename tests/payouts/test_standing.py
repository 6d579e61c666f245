"""Tiers and limits: whatever comes when, and is refunded or decided anew when, the end is that of a walk over all orders in order."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from core.catalogue import Limit, RateCard, Rule, Tenant, Tier, Tiers, version_at
from core.clock import DAY, HOUR, parse_instant
from payouts.accounts import limits_of
from payouts.calendar import span_of
from payouts.standing import Party, Placed, Standing, Use, known_of, pass_over, record, relied_on, standing_of
from store import standing as store
from store.books import Books, open_books
from store.schema import grant_days, grants, measure_days, measures
from tests.people import NORTH, SOUTH

BERLIN = Tenant(NORTH, "North", "EUR", time_zone="Europe/Berlin")
NOON = parse_instant("2026-10-24T10:00:00Z")  # the day before the clocks go back
NOW = parse_instant("2026-12-01T00:00:00Z")


# --- an in-memory double of what prices and books ----------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What one line of an order is worth to one affiliate: as sold, and by now."""

    affiliate_id: str
    rule_id: str
    sold: int
    now: int


@dataclass(frozen=True)
class Sale:
    order_id: str
    at: int
    parts: tuple[Part, ...]
    programme_id: str = "main"


Price = dict[tuple[int, str], int]
"""What is due by line and affiliate."""


def rate_of(card: RateCard, rule_id: str, step: int) -> int:
    rule = next(rule for rule in card.rules if rule.rule_id == rule_id)
    own = rule.tiers.steps[step - 1].percent_bps if rule.tiers and step else rule.percent_bps
    return own or 0


def priced(
    sale: Sale, card: RateCard, steps: dict[tuple[str, str], int], left: dict[tuple[str, str], int]
) -> tuple[Price, tuple[Use, ...]]:
    """Limits are filled by line and affiliate as sold; each keeps of that what it is still worth."""
    due: Price = {}
    rooms = dict(left)
    asked: Counter[tuple[str, str]] = Counter()
    granted: Counter[tuple[str, str]] = Counter()
    for line, part in enumerate(sale.parts):
        bps = rate_of(card, part.rule_id, steps.get((part.affiliate_id, part.rule_id), 0))
        sold, now = part.sold * bps // 10_000, part.now * bps // 10_000
        accounts = [
            (limit.limit_id, "" if limit.shared else part.affiliate_id)
            for limit in card.limits
            if not limit.rules or part.rule_id in limit.rules
        ]
        given = min([sold, *(rooms[account] for account in accounts)])
        for account in accounts:
            rooms[account] -= given
            asked[account] += sold
            granted[account] += min(now, given)
        due[line, part.affiliate_id] = min(now, given)
    return due, tuple(Use(*account, asked[account], granted[account]) for account in sorted(asked))


def placed(sale: Sale, card: RateCard) -> Placed:
    parties = []
    for affiliate_id in sorted({part.affiliate_id for part in sale.parts}):
        mine = [part for part in sale.parts if part.affiliate_id == affiliate_id]
        revenue = sum(part.now for part in mine)
        commission = sum(part.now * rate_of(card, part.rule_id, 0) // 10_000 for part in mine)
        parties.append(Party(affiliate_id, card.version, int(revenue > 0), revenue, commission))
    return Placed(sale.programme_id, sale.order_id, sale.at, tuple(parties))


@dataclass
class Shop:
    """Prices what it is told, by what the books say others mean for it, and whatever waits."""

    connection: Any
    cards: tuple[RateCard, ...]
    tenant: Tenant = BERLIN
    sales: dict[str, Sale] = field(default_factory=dict)
    due: dict[str, Price] = field(default_factory=dict)
    stood: dict[str, Standing] = field(default_factory=dict)
    at_once: int = 500
    prices: int = 0

    @property
    def tariff(self) -> dict[str, tuple[RateCard, ...]]:
        return {"main": self.cards, "other": self.cards}

    def tell(self, *sales: Sale) -> None:
        for sale in sales:
            self.sales[sale.order_id] = sale
            self.price(sale.order_id)

    def price(self, order_id: str) -> None:
        sale = self.sales[order_id]
        card = version_at(self.cards, sale.at)
        assert card is not None
        where = placed(sale, card)
        known = known_of(self.connection, self.tenant.tenant_id, [order_id])[order_id]
        standing = standing_of(self.connection, self.tenant, where, self.tariff, known)
        steps = {(of, rule_id): step for of, rule_id, step in standing.steps}
        self.due[order_id], uses = priced(sale, card, steps, {(limit_id, of): left for limit_id, of, left in standing.left})
        rules = {(part.affiliate_id, part.rule_id) for part in sale.parts}
        self.stood[order_id] = relied_on(standing, uses, rules)
        record(self.connection, self.tenant, where, self.tariff, standing, uses, NOW, rules, known, self.at_once)
        self.prices += 1

    def settle(self, at_once: int = 1_000, most: int = 10_000) -> int:
        """Price what waits, the earliest first, until nothing does; returns how many prices that took."""
        before = self.prices
        while waiting := store.waiting(self.connection, self.tenant.tenant_id, at_once):
            for one in waiting:
                self.price(one.order_id)
            assert self.prices - before < most, "the queue never ends"
        return self.prices - before

    def waiting(self) -> list[str]:
        return [one.order_id for one in store.waiting(self.connection, self.tenant.tenant_id, 1_000)]


def walk(sales: Sequence[Sale], cards: tuple[RateCard, ...], zone: str = "Europe/Berlin") -> tuple[dict[str, Price], dict[str, Standing]]:
    """The plain truth: all orders at once, from the first to the last, every sum made anew."""
    due: dict[str, Price] = {}
    stood: dict[str, Standing] = {}
    granted: list[tuple[Sale, Use]] = []
    for sale in sorted(sales, key=lambda sale: (sale.at, sale.order_id)):
        card = version_at(cards, sale.at)
        assert card is not None
        steps = {}
        for affiliate_id in {part.affiliate_id for part in sale.parts}:
            for rule in card.rules:
                if rule.tiers is None:
                    continue
                span = span_of(rule.tiers.period, sale.at, zone)
                reached = 0
                for other in sales:
                    earlier = (other.at, other.order_id) < (sale.at, sale.order_id)
                    if other.programme_id == sale.programme_id and span.holds(other.at) and (rule.tiers.retroactive or earlier):
                        of_other = version_at(cards, other.at)
                        assert of_other is not None
                        for party in placed(other, of_other).parties:
                            if party.affiliate_id == affiliate_id:
                                figures = {"orders": party.orders, "revenue": party.revenue_minor, "commission": party.commission_minor}
                                reached += figures[rule.tiers.measure]
                steps[affiliate_id, rule.rule_id] = len([step for step in rule.tiers.steps if step.at_least <= reached])
        left = {}
        for (limit_id, of), limit in limits_of(placed(sale, card), cards).items():
            span = span_of(limit.period, sale.at, zone)
            used = sum(
                use.granted_minor
                for other, use in granted
                if (use.limit_id, use.affiliate_id, other.programme_id) == (limit_id, of, sale.programme_id) and span.holds(other.at)
            )
            left[limit_id, of] = max(0, limit.amount_minor - used)
        due[sale.order_id], uses = priced(sale, card, steps, left)
        granted += [(sale, use) for use in uses]
        rules = {(part.affiliate_id, part.rule_id) for part in sale.parts}
        full = Standing(
            tuple((*key, step) for key, step in sorted(steps.items())), tuple((*key, minor) for key, minor in sorted(left.items()))
        )
        stood[sale.order_id] = relied_on(full, uses, rules)
    return due, stood


# --- cards -------------------------------------------------------------------------------------------------------------


def card(*rules: Rule, limits: tuple[Limit, ...] = (), version: int = 1, since: int = 0) -> RateCard:
    return RateCard(NORTH, "main", version, since, 30, rules, limits=limits)


def tiered(measure: str, period: str, *steps: tuple[int, int], retroactive: bool = False, own: int = 1_000) -> Rule:
    tiers = Tiers(measure, period, tuple(Tier(at_least, percent_bps=bps) for at_least, bps in steps), retroactive)  # type: ignore[arg-type]
    return Rule("all", percent_bps=own, tiers=tiers)


def sale(order_id: str, at: int, net: int = 100, affiliate_id: str = "anna", rule_id: str = "all", now: int | None = None) -> Sale:
    return Sale(order_id, at, (Part(affiliate_id, rule_id, net, net if now is None else now),))


def refunded(one: Sale, now: int) -> Sale:
    return replace(one, parts=tuple(replace(part, now=now) for part in one.parts))


# --- the law -----------------------------------------------------------------------------------------------------------

NAMES = ("A", "a", "B", "Ä", "a1", "c", "d", "-")
TIMES = {name: NOON + hours * HOUR for name, hours in zip(NAMES, (0, 0, 0, 11, 13, 14, 37, 200), strict=True)}
WORTHS = ((100, 100), (100, 100), (200, 200), (30, 30), (100, 50), (200, 1), (100, 0), (1, 1))
"""As sold, and by now."""
BPS, PERIODS = (500, 1_000, 2_000, 5_000), ("day", "week", "month", "lifetime")


def some_cards(chance: Random) -> tuple[RateCard, ...]:
    """One version, or a second one from the next morning on; two rules, either with tiers, and up to two limits."""
    return tuple(
        card(
            *(
                Rule(name, percent_bps=chance.choice(BPS), tiers=some_tiers(chance) if chance.random() < 0.4 else None)
                for name in ("r1", "r2")
            ),
            limits=tuple(some_limit(chance, name) for name in chance.choice([(), ("l1",), ("l1", "l2")])),
            version=version,
            since=0 if version == 1 else NOON + 20 * HOUR,
        )
        for version in range(1, chance.choice([1, 1, 2]) + 1)
    )


def some_tiers(chance: Random) -> Tiers:
    lows = sorted(chance.sample([1, 2, 3, 20, 100, 250], chance.randint(1, 3)))
    steps = tuple(Tier(low, percent_bps=chance.choice(BPS)) for low in lows)
    return Tiers(chance.choice(["orders", "revenue", "commission"]), chance.choice(PERIODS), steps, chance.random() < 0.5)  # type: ignore[arg-type]


def some_limit(chance: Random, name: str) -> Limit:
    rules = chance.choice([(), (), ("r1",), ("r2",)])
    return Limit(name, chance.choice([0, 10, 17, 25, 40, 60, 100]), chance.choice(PERIODS), chance.random() < 0.5, rules)  # type: ignore[arg-type]


def some_history(chance: Random) -> list[Sale | int]:
    """Orders as they come and as they change; a number: so many of those that wait are priced in between."""
    return [chance.randint(1, 3) if chance.random() < 0.15 else some_sale(chance) for _ in range(chance.randint(4, 16))]


def some_sale(chance: Random) -> Sale:
    name, many = chance.choice(NAMES), chance.choice([0, 1, 1, 1, 2])
    parts = (Part(chance.choice(["anna"] * 3 + ["ben"]), chance.choice(["r1", "r1", "r2"]), *chance.choice(WORTHS)) for _ in range(many))
    return Sale(name, TIMES[name], tuple(parts), chance.choice(["main"] * 5 + ["other"]))


def hold_law(books: Books, chance: Random) -> None:
    cards, history, at_once = some_cards(chance), some_history(chance), chance.choice([1, 2, 500])
    with books.writing() as connection:
        shop = Shop(connection, cards, at_once=at_once)
        for event in history:
            if isinstance(event, Sale):
                shop.tell(event)
            else:
                for one in store.waiting(connection, NORTH, event):
                    shop.price(one.order_id)
        shop.settle()
        assert (shop.due, shop.stood) == walk(list(shop.sales.values()), cards)
        assert_sums_of_days(connection)
        connection.get_transaction().rollback()  # type: ignore[union-attr]


def assert_sums_of_days(connection: Any) -> None:
    """The sums by day are those of the rows."""
    for rows, days, names in (
        (measures, measure_days, ("orders", "revenue_minor", "commission_minor")),
        (grants, grant_days, ("asked_minor", "granted_minor")),
    ):
        sums: Counter[Any] = Counter()
        for row in connection.execute(select(rows)):
            for name in names:
                limit_id = row.limit_id if rows is grants else ""
                sums[row.programme_id, limit_id, row.affiliate_id, row.ordered_at // DAY, name] += getattr(row, name)
        kept: Counter[Any] = Counter()
        for row in connection.execute(select(days)):
            for name in names:
                kept[row.programme_id, row.limit_id if rows is grants else "", row.affiliate_id, row.day, name] += getattr(row, name)
        assert +sums == +kept
        assert min(kept.values(), default=0) >= 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=True))
def test_any_history_ends_as_a_walk_over_all_orders(sqlite_books: Books, chance: Random) -> None:
    """1,700 histories were tried once."""
    hold_law(sqlite_books, chance)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=True))
def test_any_history_ends_so_on_postgresql_too(postgres_books: Books, chance: Random) -> None:
    hold_law(postgres_books, chance)


# --- tiers -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres_books(postgres_url: str) -> Iterator[Books]:
    with closing(open_books(postgres_url)) as opened:
        yield opened


@pytest.fixture
def connection(books: Books) -> Iterator[Connection]:
    """A transaction on each engine."""
    with books.writing() as opened:
        yield opened


@pytest.fixture
def lite(sqlite_books: Books) -> Iterator[Connection]:
    """A transaction where the engine does not matter."""
    with sqlite_books.writing() as opened:
        yield opened


TWO_ORDERS = card(tiered("orders", "month", (2, 2_000)))


def test_the_third_order_of_a_month_is_paid_by_the_step_from_two_on(connection: Connection) -> None:
    shop = Shop(connection, (TWO_ORDERS,))
    shop.tell(*(sale(f"A-{n}", NOON + n * HOUR) for n in range(4)))

    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(4)] == [10, 10, 20, 20]
    assert shop.stood["A-2"] == Standing(steps=(("anna", "all", 1),))
    assert shop.waiting() == []


def test_a_month_ends_at_midnight_of_the_tenants_zone(lite: Connection) -> None:
    """In Berlin, November begins at 23:00 UTC: the third order is the new month's first."""
    midnight = parse_instant("2026-10-31T23:00:00Z")
    shop = Shop(lite, (TWO_ORDERS,))
    shop.tell(sale("A-1", NOON), sale("A-2", midnight - 1), sale("A-3", midnight), sale("A-4", midnight - 1))

    assert [shop.due[name][0, "anna"] for name in ("A-1", "A-2", "A-3", "A-4")] == [10, 10, 10, 20]


def test_a_zone_that_is_changed_counts_for_orders_that_come_then(lite: Connection) -> None:
    midnight = parse_instant("2026-10-31T23:30:00Z")  # November in Berlin, October in UTC
    shop = Shop(lite, (TWO_ORDERS,))
    shop.tell(sale("A-1", midnight), sale("A-2", midnight + 1))
    shop.tenant = Tenant(NORTH, "North", "EUR", time_zone="UTC")
    shop.tell(sale("A-3", midnight + 2), sale("A-1", midnight, now=50))

    assert {row.order_id: row.time_zone for row in lite.execute(select(measures))} == {
        "A-1": "Europe/Berlin",
        "A-2": "Europe/Berlin",
        "A-3": "UTC",
    }
    assert shop.due["A-3"][0, "anna"] == 20, "October of UTC holds all three"
    shop.tell(sale("A-0", midnight - DAY), sale("A-00", midnight - DAY))
    assert shop.waiting() == [], "for the first two, October is over"


def test_a_late_order_lifts_the_one_behind_it(connection: Connection) -> None:
    shop = Shop(connection, (TWO_ORDERS,))
    shop.tell(sale("A-2", NOON + 2 * HOUR), sale("A-3", NOON + 3 * HOUR), sale("A-4", NOON + 4 * HOUR))
    shop.tell(sale("A-1", NOON + HOUR))

    assert shop.waiting() == ["A-3"], "only the one whose step changed"
    assert shop.settle() == 1
    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(1, 5)] == [10, 10, 20, 20]


def test_an_order_of_the_same_time_comes_by_its_id(lite: Connection) -> None:
    shop = Shop(lite, (TWO_ORDERS,))
    shop.tell(sale("b", NOON), sale("Ä", NOON), sale("B", NOON))
    shop.settle()

    assert [name for name in shop.due if shop.due[name][0, "anna"] == 20] == ["Ä"], "capitals, small letters, then others"


def test_a_refund_that_leaves_something_keeps_the_count_and_lowers_the_revenue(lite: Connection) -> None:
    shop = Shop(lite, (card(tiered("revenue", "month", (150, 2_000))),))
    first = sale("A-1", NOON)
    shop.tell(first, sale("A-2", NOON + HOUR, 50), sale("A-3", NOON + 2 * HOUR))
    assert shop.due["A-3"][0, "anna"] == 20
    shop.tell(refunded(first, 99))
    shop.settle()

    assert shop.due["A-3"][0, "anna"] == 10


def test_a_retroactive_step_pays_all_of_the_period_once_it_is_reached(connection: Connection) -> None:
    shop = Shop(connection, (card(tiered("revenue", "month", (300, 2_000), retroactive=True)),))
    november = sale("N-1", NOON + 20 * DAY)
    orders = [sale(f"A-{n}", NOON + n * HOUR) for n in range(3)]
    shop.tell(november, orders[0], orders[1])
    assert shop.waiting() == []
    shop.tell(orders[2])

    assert shop.due["A-2"][0, "anna"] == 20, "an order counts itself"
    assert shop.waiting() == ["A-0", "A-1"]
    assert shop.settle() == 2
    assert [shop.due[name][0, "anna"] for name in ("A-0", "A-1", "A-2", "N-1")] == [20, 20, 20, 10]
    shop.tell(refunded(orders[1], 99))
    assert shop.waiting() == ["A-0", "A-2"]


def test_orders_count_for_whom_they_are_decided_for(lite: Connection) -> None:
    shop = Shop(lite, (TWO_ORDERS,))
    shop.tell(sale("A-1", NOON), sale("A-2", NOON + 1), sale("A-3", NOON + 2), sale("B-1", NOON + 2, affiliate_id="ben"))
    shop.tell(sale("A-1", NOON, affiliate_id="ben"))
    assert shop.waiting() == ["A-3"]
    shop.tell(Sale("A-2", NOON + 1, ()))
    shop.settle()

    assert (shop.due["A-3"][0, "anna"], shop.due["B-1"][0, "ben"]) == (10, 10)
    assert {(row.order_id, row.affiliate_id) for row in lite.execute(select(measures))} == {
        ("A-1", "ben"),
        ("A-3", "anna"),
        ("B-1", "ben"),
    }


def test_programmes_and_tenants_do_not_count_each_others_orders(lite: Connection) -> None:
    north, south = Shop(lite, (TWO_ORDERS,)), Shop(lite, (TWO_ORDERS,), Tenant(SOUTH, "South", "EUR"))
    for n in range(2):
        south.tell(sale(f"A-{n}", NOON + n))
        north.tell(replace(sale(f"B-{n}", NOON + n), programme_id="other"))
    north.tell(sale("A-3", NOON + 5))

    assert north.due["A-3"][0, "anna"] == 10


def test_what_does_not_move_a_step_moves_nothing(lite: Connection) -> None:
    shop = Shop(lite, (TWO_ORDERS,))
    shop.tell(*(sale(f"A-{n}", NOON + n * HOUR) for n in range(2, 9)))
    shop.settle()
    shop.tell(sale("B-1", NOON, affiliate_id="ben"), refunded(sale("A-2", NOON + 2 * HOUR), 1), sale("A-9", NOON + 2 * HOUR + 1))

    assert shop.waiting() == ["A-3"]


# --- limits ------------------------------------------------------------------------------------------------------------

ALL = Rule("all", percent_bps=1_000)
EACH_25 = card(ALL, limits=(Limit("most", 25, "month"),))
BUDGET_25 = card(ALL, limits=(Limit("budget", 25, "month", shared=True),))


def test_a_limit_pays_until_it_is_used_up(connection: Connection) -> None:
    shop = Shop(connection, (EACH_25,))
    shop.tell(*(sale(f"A-{n}", NOON + n) for n in range(4)), sale("B-1", NOON + 9, affiliate_id="ben"))

    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(4)] == [10, 10, 5, 0]
    assert shop.due["B-1"][0, "ben"] == 10
    assert shop.stood["A-2"] == Standing(left=(("most", "anna", 5),))
    assert shop.waiting() == []


def test_a_budget_is_everybodys(lite: Connection) -> None:
    shop = Shop(lite, (BUDGET_25,))
    shop.tell(
        sale("A-1", NOON), sale("B-1", NOON + 1, affiliate_id="ben"), sale("A-2", NOON + 2), sale("B-2", NOON + 3, affiliate_id="ben")
    )

    assert [*shop.due["A-1"].values(), *shop.due["B-1"].values(), *shop.due["A-2"].values(), *shop.due["B-2"].values()] == [10, 10, 5, 0]


def test_a_late_order_takes_from_the_last(connection: Connection) -> None:
    shop = Shop(connection, (EACH_25,))
    shop.tell(*(sale(f"A-{n}", NOON + n) for n in range(1, 6)))
    shop.tell(sale("A-0", NOON))

    assert shop.waiting() == ["A-2", "A-3"], "not those that had nothing before, nor those that still have all"
    shop.settle()
    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(6)] == [10, 10, 5, 0, 0, 0]


def test_a_refund_frees_the_budget_for_the_next_order_in_time(connection: Connection) -> None:
    shop = Shop(connection, (EACH_25,))
    shop.tell(*(sale(f"A-{n}", NOON + n) for n in range(40)))
    shop.tell(refunded(sale("A-0", NOON), 0))

    assert shop.waiting() == ["A-2", "A-3"], "what the two of them take, no other has"
    assert shop.settle() == 2
    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(5)] == [0, 10, 10, 5, 0]


def test_what_one_cannot_take_goes_to_those_behind_it(lite: Connection) -> None:
    """A-2 asked for 10 when it was sold, and is worth nothing now: it is looked at, takes nothing, and looks on."""
    shop = Shop(lite, (card(ALL, limits=(Limit("most", 10, "month"),)),))
    shop.tell(sale("A-1", NOON), sale("A-2", NOON + 1, now=0), sale("A-3", NOON + 2))
    shop.tell(refunded(sale("A-1", NOON), 0))

    assert shop.waiting() == ["A-2"]
    assert shop.settle() == 2
    assert shop.due["A-3"][0, "anna"] == 10


def test_more_than_are_queued_at_once_come_one_after_the_other(lite: Connection) -> None:
    shop = Shop(lite, (card(tiered("orders", "month", (12, 2_000), retroactive=True)),), at_once=4)
    shop.tell(*(sale(f"A-{n:02}", NOON + n) for n in range(12)))

    assert shop.waiting() == ["A-00", "A-01", "A-02", "A-03"]
    shop.settle(at_once=2)
    assert {due[0, "anna"] for due in shop.due.values()} == {20}


def test_an_order_that_cannot_be_priced_is_passed_over_and_those_behind_it_are_not_forgotten(lite: Connection) -> None:
    shop = Shop(lite, (card(tiered("orders", "month", (12, 2_000), retroactive=True)),), at_once=1)
    shop.tell(*(sale(f"A-{n:02}", NOON + n) for n in range(12)))
    assert shop.waiting() == ["A-00"]
    pass_over(lite, BERLIN, "A-00", shop.tariff, NOW)
    shop.settle()

    assert {name for name, due in shop.due.items() if due[0, "anna"] == 20} == {f"A-{n:02}" for n in range(1, 12)}


def test_what_was_granted_to_an_order_that_is_passed_over_stays_granted(lite: Connection) -> None:
    shop = Shop(lite, (EACH_25,))
    shop.tell(*(sale(f"A-{n}", NOON + n) for n in range(1, 5)))
    shop.tell(sale("A-0", NOON))
    pass_over(lite, BERLIN, "A-2", shop.tariff, NOW)
    shop.settle()

    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(5)] == [10, 10, 10, 0, 0]
    shop.price("A-2")
    shop.settle()
    assert [shop.due[f"A-{n}"][0, "anna"] for n in range(5)] == [10, 10, 5, 0, 0]
