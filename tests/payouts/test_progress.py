"""How far affiliates and budgets have come, as pages show it."""

import pytest

from core.catalogue import Bonus, Limit, Programme, RateCard, Rule, Tenant, Tier, Tiers
from core.clock import DAY, parse_instant
from payouts.progress import limit_uses, reached
from payouts.standing import Party, Placed, Use, record, standing_of
from store.books import Books
from store.catalogue import put
from tests.people import NORTH

NOON = parse_instant("2026-11-22T10:00:00Z")
GOLD = Tiers("orders", "month", (Tier(2, percent_bps=600), Tier(5, percent_bps=800)))
EVER = Tiers("revenue", "lifetime", (Tier(100, percent_bps=900),), retroactive=True)
CARD = RateCard(
    NORTH,
    "main",
    1,
    0,
    30,
    (Rule("all", percent_bps=500, tiers=GOLD), Rule("club", percent_bps=500, tiers=EVER)),
    limits=(Limit("budget", 1_000, "year", shared=True), Limit("each", 50, "month"), Limit("idle", 7, "day")),
    bonuses=(Bonus("fifty", "revenue", "quarter", 5_000, 20_00),),
)
TENANT = Tenant(NORTH, "North", "EUR", time_zone="Europe/Berlin")


@pytest.fixture
def north(sqlite_books: Books) -> Books:
    with sqlite_books.writing() as connection:
        put(connection, TENANT, "martha", NOON)
        put(connection, Programme(NORTH, "main", "Main", "https://north.example/"), "martha", NOON)
        put(connection, CARD, "martha", NOON)
        for order_id, at, affiliate_id in (("A-1", NOON, "anna"), ("A-2", NOON - 30 * DAY, "anna"), ("B-1", NOON, "ben")):
            order = Placed("main", order_id, at, (Party(affiliate_id, 1, 1, 60, 3),))
            standing = standing_of(connection, TENANT, order, {"main": (CARD,)})
            uses = (Use("budget", "", 45, 45), Use("each", affiliate_id, 45, 45))
            record(connection, TENANT, order, {"main": (CARD,)}, standing, uses, NOON)
    return sqlite_books


def test_an_affiliate_sees_what_it_reached_and_what_is_missing(north: Books) -> None:
    with north.reading() as connection:
        gold, club, bonus = reached(connection, NORTH, "main", "anna", NOON)

    assert (gold.rule_id, gold.span.key, gold.reached, gold.step, gold.next_at, gold.missing) == ("all", "2026-11", 1, 0, 2, 1)
    assert gold.pays == Tier(2, percent_bps=600)
    assert (club.rule_id, club.reached, club.step, club.next_at, club.pays, club.missing) == ("club", 120, 1, None, None, 0)
    assert (bonus.bonus_id, bonus.span.key, bonus.reached, bonus.missing, bonus.pays_minor) == ("fifty", "2026-Q4", 120, 4_880, 20_00)


def test_a_merchant_sees_what_limits_granted(north: Books) -> None:
    with north.reading() as connection:
        uses = limit_uses(connection, NORTH, "main", NOON)

    assert [(use.limit_id, use.affiliate_id, use.span.key, use.granted_minor, use.left_minor) for use in uses] == [
        ("budget", "", "2026", 135, 865),
        ("each", "anna", "2026-11", 45, 5),
        ("each", "ben", "2026-11", 45, 5),
    ]


def test_who_or_what_is_unknown_has_reached_nothing(north: Books) -> None:
    with north.reading() as connection:
        assert [one.reached for one in reached(connection, NORTH, "main", "nobody", NOON)] == [0, 0, 0]
        assert reached(connection, NORTH, "other", "anna", NOON) == []
        assert reached(connection, "south", "main", "anna", NOON) == []
        assert limit_uses(connection, "south", "main", NOON) == []
