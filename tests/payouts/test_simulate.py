"""Simulating: the cards in force come to what was booked, to the cent; others to what they would have paid; and nothing is written."""

from fractions import Fraction
from random import Random
from threading import Event
from typing import get_args

import pytest
from sqlalchemy import select

from core.catalogue import Bonus, Clause, Limit, Membership, Programme, RateCard, Rule, Tenant, Tier, Tiers
from core.clock import DAY, HOUR, Instant
from core.errors import NotFound
from core.events import Line
from payouts.holds import reject
from payouts.outcomes import OUTCOMES, outcome_of, report, shares_bps
from payouts.pricings import asks_touches
from payouts.rate_card import Reason
from payouts.setting import Contact
from payouts.simulate import Simulation, Stopped, always, simulate
from payouts.tariffs import tariff_of
from store.schema import metadata
from store.standing import put_queue, tenants_waiting
from tests.people import NORTH

LONG = 400 * DAY


def simulated(world, cards=None, from_at=0, to_at=None, **more) -> Simulation:
    """Without cards: those that are in force."""
    to_at = world.clock() + DAY if to_at is None else to_at
    cards = tariff_of(world.books, NORTH).cards if cards is None else cards
    return simulate(world.events, world.books, NORTH, from_at, to_at, cards, **more)


def card(world, *rules: Rule, version: int = 2, at: Instant | None = None, **fields) -> RateCard:
    return RateCard(NORTH, "main", version, world.clock() - LONG if at is None else at, 30, rules, **fields)


def paid(simulation: Simulation) -> dict[str, tuple[int, int]]:
    return {row.affiliate_id: (row.before_minor, row.after_minor) for row in simulation.rows}


def settle(world) -> None:
    """Accrue until no order waits for another."""
    world.accrue()
    world.accrue()
    with world.books.reading() as connection:
        assert tenants_waiting(connection) == []


# --- the cards in force ----------------------------------------------------------------------------------------------


def busy(world, seed: int) -> None:
    """Three months of orders under two cards with everything that orders mean for each other; refunds, new decisions, rejections."""
    chance, now = Random(seed), world.clock()
    begin = now - 90 * DAY
    for version, at in ((2, begin - DAY), (3, begin + chance.randrange(20, 70) * DAY)):
        world.put(_card(world, chance, version, at))
    for name, recruiter in (("anna", "ben"), ("ben", "charlie")):
        world.put(Membership(NORTH, "main", name, "approved", now, now - LONG, group=chance.choice(("", "gold")), recruited_by=recruiter))
    ids = [f"A-{number}" for number in range(25)]
    for order_id in ids:
        lines = [
            Line(str(place), chance.randrange(0, 300_00), category=chance.choice(("shoes", "gifts")))
            for place in range(chance.randint(1, 3))
        ]
        at = begin + chance.randrange(30) * 3 * DAY + chance.choice((0, HOUR))
        world.order(order_id, *lines, at=at, test=chance.random() < 0.1)
        world.decide(order_id, shares=_shares(chance))
    chance.shuffle(ids)
    settle(world)
    for order_id in ids[:8]:
        world.refund(order_id, net_minor=chance.choice((None, 50_00, 10_01)), at=now - DAY)
    for order_id in ids[5:10]:
        world.decide(order_id, shares=_shares(chance))
    settle(world)
    for order_id in ids[10:12]:
        if any(row.amount_minor for row in world.rows(order_id)):
            reject(world.books, NORTH, order_id, "", "fraud", "frank@north.example", now)
            with world.books.writing() as connection:  # what a rejection means for tiers and bonuses is seen when it is priced again
                put_queue(connection, NORTH, [(world.events.orders[NORTH, order_id].occurred_at, order_id)], "rejection", True, now)
    settle(world)


def _card(world, chance: Random, version: int, at: Instant) -> RateCard:
    period, other = chance.choice(("week", "month", "quarter", "lifetime")), chance.choice(("day", "month", "lifetime"))
    measure = chance.choice(("orders", "revenue", "commission"))
    least = {"orders": 2, "revenue": 200_00, "commission": 15_00}[measure]
    tiers = Tiers(measure, period, (Tier(least, percent_bps=1200), Tier(3 * least, percent_bps=1500)), retroactive=chance.random() < 0.5)
    rules = (Rule("all", percent_bps=chance.choice((700, 1000)), tiers=tiers), Rule("gift", 1, percent_bps=0, categories=("gifts",)))
    limits = (
        Limit("each", chance.choice((20_00, 60_00)), other),
        Limit("budget", chance.choice((80_00, 300_00)), period, shared=True, rules=("all",)),
    )
    bonuses = (Bonus("club", measure, period, 2 * least, 25_00),) if chance.random() < 0.7 else ()
    return card(world, *rules, version=version, at=at, limits=limits[: chance.randint(0, 2)], bonuses=bonuses, recruiter_bps=(1000, 500))


def _shares(chance: Random) -> dict[str, Fraction]:
    names = chance.sample(("anna", "ben", "charlie"), chance.choice((0, 1, 1, 1, 2)))
    return {name: Fraction(1, chance.choice((len(names), 3))) for name in names}


@pytest.mark.parametrize("seed", range(10))
def test_the_cards_in_force_come_to_what_was_booked_over_any_time(sqlite_world, seed):
    world, chance = sqlite_world, Random(seed)
    first, days = chance.randrange(90), chance.randint(1, 90)
    busy(world, seed)
    begin = world.clock() - 91 * DAY

    for found in (simulated(world), simulated(world, from_at=begin + first * DAY, to_at=begin + (first + days) * DAY + HOUR)):
        assert [row for row in found.rows if row.difference_minor or row.orders_before != row.orders_after] == []
        assert {name: pair for name, pair in found.outcomes.items() if pair[0] != pair[1]} == {}
        assert (found.waiting, found.undecided, found.others) == (0, 0, 0)


def test_an_orders_own_time_zone_is_its_periods_for_ever(sqlite_world):
    world = sqlite_world
    busy(world, 3)
    world.put(Tenant(NORTH, "North Shoes", "EUR", time_zone="Pacific/Auckland"))

    assert [row for row in simulated(world).rows if row.difference_minor] == []


# --- other cards -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(sqlite_world):
    """Four orders of 100.00 a day apart, anna's but for the third, which is ben's; and one of nobody. Booked at 8 %."""
    world, begin = sqlite_world, sqlite_world.clock() - 10 * DAY
    for number, name in enumerate(("anna", "anna", "ben", "anna")):
        world.sell(f"A-{number}", name, at=begin + number * DAY)
    world.order("A-9", at=begin)
    world.decide("A-9")
    settle(world)
    return world


def test_another_rate_says_who_wins_and_loses_and_what_each_rule_pays(shop):
    club = Rule("anna", 1, percent_bps=1000, when=Clause("affiliate", "id", "equals_to", ("anna",)))
    found = simulated(shop, {"main": (card(shop, club, Rule("rest", percent_bps=500)),)})

    assert paid(found) == {"anna": (24_00, 30_00), "ben": (8_00, 5_00)}
    assert [(row.orders_before, row.orders_after) for row in found.rows] == [(3, 3), (1, 1)]
    assert found.costs == {"EUR": (32_00, 35_00)}
    assert [(one.kind, one.name, one.lines, one.amount_minor) for one in found.paid] == [
        ("rule", "anna", 3, 30_00),
        ("rule", "rest", 1, 5_00),
    ]
    assert (found.orders, found.lines, found.outcomes) == (5, 5, {"earned": (4, 4), "unattributed": (1, 1)})


def test_a_rule_that_never_pays_is_shown_too(shop):
    found = simulated(shop, {"main": (card(shop, Rule("gift", percent_bps=900, categories=("gifts",))),)})

    assert [(one.name, one.lines, one.amount_minor) for one in found.paid] == [("gift", 0, 0)]
    assert found.outcomes == {"earned": (4, 0), "no_rule": (0, 4), "unattributed": (1, 1)}


def test_tiers_limits_and_bonuses_go_by_the_orders_before(shop):
    tiers = Tiers("orders", "lifetime", (Tier(1, percent_bps=2000),))
    tried = card(
        shop,
        Rule("all", percent_bps=1000, tiers=tiers),
        limits=(Limit("each", 35_00, "lifetime"),),
        bonuses=(Bonus("two", "orders", "lifetime", 2, 7_00),),
    )

    assert paid(simulated(shop, {"main": (tried,)})) == {"anna": (24_00, 35_00 + 7_00), "ben": (8_00, 10_00)}, "10 + 20 + 5 of 20"
    late = simulated(shop, {"main": (tried,)}, from_at=shop.clock() - 9 * DAY)
    assert paid(late) == {"anna": (16_00, 20_00 + 15_00 + 7_00), "ben": (8_00, 10_00)}, "the first counts for tiers; no limit bound it"


def test_a_budget_cuts_what_comes_last_and_says_so(shop):
    tried = card(shop, Rule("all", percent_bps=1000), limits=(Limit("budget", 25_00, "lifetime", shared=True),))
    found = simulated(shop, {"main": (tried,)})

    assert paid(found) == {"anna": (24_00, 20_00), "ben": (8_00, 5_00)}
    assert [(one.lines, one.amount_minor, one.capped_minor) for one in found.paid] == [(3, 25_00, 15_00)]
    assert found.outcomes["cap_reached"] == (0, 1)


def test_a_retroactive_tier_counts_the_orders_behind_the_period(shop):
    tiers = Tiers("orders", "lifetime", (Tier(3, percent_bps=2000),), retroactive=True)
    tried = {"main": (card(shop, Rule("all", percent_bps=1000, tiers=tiers)),)}

    assert paid(simulated(shop, tried)) == {"anna": (24_00, 60_00), "ben": (8_00, 10_00)}
    first = simulated(shop, tried, to_at=shop.clock() - 9 * DAY)
    assert paid(first) == {"anna": (8_00, 20_00)}, "two more stand behind it in the books"


def test_recruiters_that_no_card_asked_for_yet_are_found(shop):
    now = shop.clock()
    shop.put(Membership(NORTH, "main", "anna", "approved", now, now, recruited_by="ben"))
    shop.put(Membership(NORTH, "main", "ben", "approved", now, now - LONG))
    found = simulated(shop, {"main": (card(shop, Rule("all", percent_bps=800), recruiter_bps=(1000,)),)})

    assert paid(found) == {"anna": (24_00, 24_00), "ben": (8_00, 10_40)}
    assert next((one.kind, one.name, one.amount_minor) for one in found.paid) == ("recruiters", "1", 2_40)


def test_what_was_frozen_with_an_order_stays(shop):
    now = shop.clock()
    shop.put(Membership(NORTH, "main", "anna", "approved", now, now - LONG, group="gold"))
    gold = Rule("gold", percent_bps=5000, when=Clause("affiliate", "group", "equals_to", ("gold",)))

    assert simulated(shop, {"main": (card(shop, gold),)}).outcomes["no_rule"] == (0, 4)


def test_touches_that_no_card_asked_for_yet_are_read(shop):
    at = shop.clock() - 11 * DAY
    shop.events.touches[NORTH, "touch-anna"] = Contact("touch-anna", "click", at, device="phone")
    phone = Rule("phone", percent_bps=1000, when=Clause("touch", "device", "equals_to", ("phone",)))

    assert paid(simulated(shop, {"main": (card(shop, phone),)})) == {"anna": (24_00, 30_00), "ben": (8_00, 0)}


def test_a_version_begins_in_the_middle_of_the_period(shop):
    begin = shop.clock() - 10 * DAY
    versions = (always(card(shop, Rule("all", percent_bps=100))), card(shop, Rule("all", percent_bps=200), version=3, at=begin + DAY))

    assert paid(simulated(shop, {"main": versions})) == {"anna": (24_00, 1_00 + 2_00 + 2_00), "ben": (8_00, 2_00)}


# --- what is counted beside ------------------------------------------------------------------------------------------


def test_news_other_programmes_and_undecided_orders_are_counted_apart(shop):
    shop.put(Programme(NORTH, "other", "Other", "https://shop.example/"))
    shop.order("B-1")
    shop.decide("B-1", "anna", programme_id="other")
    shop.order("B-2")
    shop.refund("A-0", net_minor=50_00)
    found = simulated(shop, {"main": (card(shop, Rule("all", percent_bps=800)),)})

    assert (found.orders, found.others, found.undecided, found.waiting) == (5, 1, 1, 1)
    assert paid(found)["anna"] == (24_00, 20_00)


def test_of_too_many_orders_the_newest_are_taken(shop):
    found = simulated(shop, most=2)

    assert (found.orders, found.left_out, found.from_at) == (2, 3, shop.clock() - 8 * DAY)
    assert paid(found) == {"anna": (8_00, 8_00), "ben": (8_00, 8_00)}


def test_nothing_is_written_and_progress_is_told(shop):
    def rows():
        with shop.books.reading() as connection:
            return {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}

    before, told = rows(), []
    simulated(shop, progress=lambda done, total: told.append((done, total)))

    assert rows() == before
    assert told == [(5, 5)]


def test_it_stops_when_it_is_told_to(shop):
    stop = Event()
    stop.set()

    with pytest.raises(Stopped):
        simulated(shop, stop=stop)


def test_a_merchant_or_programme_that_is_not_there_is_refused(shop):
    with pytest.raises(NotFound, match="no tenant 'west'"):
        simulate(shop.events, shop.books, "west", 0, 1, {})
    with pytest.raises(NotFound, match="no programme 'nowhere'"):
        simulated(shop, {"nowhere": ()})


# --- why orders earned nothing ---------------------------------------------------------------------------------------


def test_each_order_has_one_outcome_and_they_sum_to_all_orders(shop):
    shop.sell("C-1", "anna", Line("1", 10_00, category="gift cards"), Line("2", 5_00, category="gift cards"))
    shop.sell("C-2", "anna", test=True)
    shop.sell("C-3", "anna", Line("1", 10_00, category="gift cards"), Line("2", 50_00))
    shop.refund("C-3", lines={"2": 50_00})
    settle(shop)
    shop.order("C-4")
    reject(shop.books, NORTH, "A-0", "", "fraud", "frank@north.example", shop.clock())
    found = report(shop.books, shop.events, NORTH, 0, shop.clock() + DAY)

    assert found.outcomes == {
        "earned": 3, "fraud_rejected": 1, "refunded": 1, "excluded_category": 1, "unattributed": 1, "test": 1, "not_booked": 1,
    }  # fmt: skip
    assert found.orders == sum(found.outcomes.values()) == 9
    assert sum(shares_bps(found.outcomes).values()) == 100_00


def test_of_several_reasons_the_one_that_came_nearest_to_money_counts():
    assert outcome_of(0, ["no_rule", "refunded", "excluded_category", ""]) == "refunded"
    assert outcome_of(5, ["no_rule"]) == "earned"
    assert outcome_of(0, []) == "unattributed"
    assert set(get_args(Reason)) <= set(OUTCOMES)


def test_cards_that_ask_for_touches_are_known_whatever_they_come_in():
    phone = Rule("phone", percent_bps=1000, when=Clause("touch", "device", "equals_to", ("phone",)))
    cards = [RateCard(NORTH, "main", 1, 0, 30, (Rule("all"),)), RateCard(NORTH, "main", 2, 0, 30, (phone,))]

    assert asks_touches(cards)
    assert asks_touches(card for card in cards)
    assert not asks_touches(cards[:1])
