"""Recomputing: what was booked comes to the same cent again, whatever became of the catalogue; what does not fit is named."""

from fractions import Fraction

import pytest
from sqlalchemy import text

from core.catalogue import Clause, Limit, Membership, RateCard, Rule, Tenant, Tier, Tiers
from core.clock import DAY, parse_instant
from core.errors import NotFound
from core.events import Line
from payouts.holds import reject
from payouts.recompute import Difference, recompute
from tests.people import NORTH

HALVES = {"anna": Fraction(1, 2), "ben": Fraction(1, 2)}


def recomputed(world):
    return recompute(world.books, world.events, NORTH, limit=2)


def tamper(world, statement, **values):
    with world.books.writing() as connection:
        connection.execute(text("DROP TRIGGER IF EXISTS commissions_no_update"))
        connection.execute(text(statement), values)


@pytest.fixture
def busy(sqlite_world):
    """A card with a tier, a limit and recruiters; orders shared, refunded, decided again, late."""
    world, now = sqlite_world, sqlite_world.clock()
    tiers = Tiers("orders", "month", (Tier(2, percent_bps=1500),))
    rules = (Rule("all", percent_bps=1000, tiers=tiers), Rule("gift", 1, percent_bps=0, categories=("gifts",)))
    limits = (Limit("most", 30_00, "month"),)
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, rules, limits=limits, recruiter_bps=(1000,)))
    world.put(Membership(NORTH, "main", "anna", "approved", now, now - 400 * DAY, recruited_by="charlie"))
    for number in range(5):
        world.order(f"A-{number}", Line("1", 100_01), Line("2", 19_99, category="gifts"), at=now - (5 - number) * 1000)
        world.decide(f"A-{number}", shares=HALVES)
    world.accrue()
    world.refund("A-1", net_minor=33_33)
    world.decide("A-2", "ben")
    world.accrue()
    return world


def test_everything_booked_comes_to_the_same_cent(busy):
    report = recomputed(busy)

    assert report.differences == ()
    assert (report.orders, report.waiting, report.earlier, report.unbooked) == (5, 0, 0, 0)
    assert report.commissions == sum(len(busy.rows(f"A-{number}")) for number in range(5))
    assert len({row.pricing_hash for row in busy.rows("A-1")}) == 2, "rows of two bookings, each with what it was priced on"


def test_what_becomes_of_the_catalogue_changes_nothing(busy):
    now = busy.clock()
    busy.put(
        Membership(NORTH, "main", "anna", "approved", now, now, group="gold"),
        RateCard(NORTH, "main", 3, now - 300 * DAY, 30, (Rule("all", percent_bps=1),)),
    )

    assert recomputed(busy).ok


def test_a_time_zone_that_is_edited_changes_no_weekday_of_what_was_booked(sqlite_world):
    """Sunday 23:00 UTC is Monday in Berlin; a refund then takes its part of what the Sunday paid."""
    world = sqlite_world
    sunday = Clause("order", "weekday", "equals_to", ("sunday",))
    rules = (Rule("sunday", 1, percent_bps=1000, when=sunday), Rule("rest", percent_bps=2000))
    world.put(RateCard(NORTH, "main", 2, world.clock() - 300 * DAY, 30, rules))
    world.sell("A-1", "anna", at=parse_instant("2026-10-25T23:00:00Z"))
    world.accrue()
    world.put(Tenant(NORTH, "North Shoes", "EUR", time_zone="Europe/Berlin"))

    assert recomputed(world).ok
    world.refund("A-1", net_minor=10_00)
    world.accrue()
    assert world.earned("A-1") == {"anna": 9_00}


def test_a_changed_amount_is_named_to_the_cent(busy):
    [row] = [row for row in busy.rows("A-0") if row.affiliate_id == "anna" and row.line_id == "1" and not row.part]
    tamper(busy, "UPDATE commissions SET amount_minor = amount_minor + 1 WHERE commission_id = :id", id=row.commission_id)

    [difference] = recomputed(busy).differences
    assert difference == Difference(
        "A-0", "booked are 501 EUR minor units, recomputed 500", "1", "anna", "", row.amount_minor + 1, row.amount_minor, "EUR"
    )
    assert str(difference) == "order A-0, line 1, anna: booked are 501 EUR minor units, recomputed 500"


def test_a_changed_setting_does_not_fit_the_hash(busy):
    tamper(busy, "UPDATE accruals SET setting = json_set(setting, '$.country', 'AT') WHERE order_id = 'A-0'")

    what = {one.what for one in recomputed(busy).differences}
    assert len(what) == len(busy.rows("A-0"))
    assert all("was priced on something else than what is kept" in one for one in what)


def test_a_changed_standing_does_not_fit(busy):
    tamper(busy, "UPDATE accruals SET standing = '{}' WHERE order_id = 'A-4'")

    assert {one.order_id for one in recomputed(busy).differences} == {"A-4"}


def test_orders_with_news_and_those_of_earlier_versions_are_left_out_and_counted(busy):
    busy.refund("A-3", net_minor=1)
    tamper(busy, "UPDATE accruals SET setting = NULL, standing = NULL WHERE order_id = 'A-0'")

    report = recomputed(busy)
    assert (report.orders, report.waiting, report.earlier, report.ok) == (3, 1, 1, True)


def test_a_rejected_affiliate_comes_to_nothing(busy):
    reject(busy.books, NORTH, "A-0", "anna", "fraud", "frank@north.example", busy.clock())

    assert recomputed(busy).ok
    assert busy.earned("A-0")["anna"] == 0


def test_a_merchant_that_is_not_there_is_refused(sqlite_world):
    with pytest.raises(NotFound):
        recompute(sqlite_world.books, sqlite_world.events, "west")
