"""What an order earns, explained; and whose eyes see it."""

from core.catalogue import Membership, RateCard, Rule
from core.clock import DAY
from core.events import Line
from payouts.balances import Balance, balances_of_affiliate, balances_of_tenant, totals
from payouts.commissions import commissions_of_affiliate, commissions_of_order, standings
from tests.people import NORTH, SOUTH


def explained(world, order_id, tenant_id=NORTH):
    with world.books.reading() as connection:
        return commissions_of_order(connection, tenant_id, order_id)


def test_each_row_comes_with_its_rule_in_words(sqlite_world):
    sqlite_world.sell("A-1", "anna", Line("1", 100_00, category="shoes"), Line("2", 10_00, category="gift cards"), customer_status="new")
    sqlite_world.accrue()

    assert [
        (row.commission.line_id, row.rule, row.commission.rate_card_version, row.commission.reason)
        for row in explained(sqlite_world, "A-1")
    ] == [
        ("1", "Shoes pay 10 % of the net price for new customers", 1, ""),
        ("2", "Gift cards pay nothing", 1, "excluded_category"),
    ]


def test_a_recruiters_row_says_what_it_is_a_part_of_and_is_no_lines_reason(sqlite_world):
    world, now = sqlite_world, sqlite_world.clock()
    world.put(
        RateCard(NORTH, "main", 2, now - DAY, 30, (Rule("all", percent_bps=1000),), recruiter_bps=(2000,)),
        Membership(NORTH, "main", "anna", "approved", now, now - DAY, recruited_by="ben"),
        Membership(NORTH, "main", "ben", "approved", now, now - DAY),
    )
    world.sell("A-1", "anna")
    world.accrue()
    [_, theirs] = standings(explained(world, "A-1"))
    world.refund("A-1")
    world.accrue()

    assert (theirs.affiliate_id, theirs.part, theirs.amount_minor) == ("ben", "recruiter:1", 2_00)
    assert theirs.rule == "Recruiters of the 1st level earn 20 % of the affiliate's commission"
    assert standing(world) == [("1", "anna", 0, "refunded")]


def test_an_order_that_was_never_booked_has_no_rows(sqlite_world):
    assert explained(sqlite_world, "A-1") == []


def standing(world):
    return [(one.line_id, one.affiliate_id, one.amount_minor, one.reason) for one in standings(explained(world, "A-1"))]


def test_what_stands_is_the_sum_and_one_reason_where_it_is_nothing(sqlite_world):
    world = sqlite_world
    world.order("A-1", Line("1", 100_00), Line("2", 10_00, category="gift cards"))
    world.decide("A-1")
    world.accrue()
    unattributed = standing(world)
    world.decide("A-1", "anna")
    world.accrue()
    credited = standing(world)
    world.decide("A-1", "ben")
    world.accrue()
    moved = standing(world)
    world.refund("A-1")
    world.accrue()
    refunded = standing(world)
    world.decide("A-1")
    world.accrue()

    assert unattributed == [("1", "", 0, "unattributed"), ("2", "", 0, "unattributed")]
    assert credited == [("1", "anna", 8_00, ""), ("2", "anna", 0, "excluded_category")]
    assert moved == [("1", "ben", 8_00, ""), ("2", "ben", 0, "excluded_category")]
    assert refunded == [("1", "ben", 0, "refunded"), ("2", "ben", 0, "excluded_category")]
    assert standing(world) == unattributed


def test_an_affiliates_rows_newest_order_first_page_by_page(world):
    for number in range(5):
        world.sell(f"A-{number}", "anna", at=world.clock() - number // 2 * DAY - 1)
    world.sell("B-1", "anna", tenant_id=SOUTH)
    world.sell("C-1", "ben")
    world.accrue()
    seen, before = [], None
    with world.books.reading() as connection:
        while page := commissions_of_affiliate(connection, "anna", NORTH, limit=2, before=before):
            last = page[-1].commission
            seen, before = seen + page, (last.ordered_at, last.commission_id)
        everywhere = commissions_of_affiliate(connection, "anna")

    assert sorted(row.commission.order_id for row in seen) == [f"A-{number}" for number in range(5)]
    assert [row.commission.ordered_at for row in seen] == sorted((row.commission.ordered_at for row in seen), reverse=True)
    assert len(everywhere) == 6


def test_balances_show_an_affiliate_its_own_only_and_a_tenant_its_own_only(world):
    world.sell("A-1", "anna")
    world.sell("A-2", "ben", Line("1", 50_00), at=world.clock() - 31 * DAY)
    world.sell("B-1", "anna", Line("1", 25_00), tenant_id=SOUTH, currency="USD")
    world.accrue()

    with world.books.reading() as connection:
        assert balances_of_affiliate(connection, "anna") == [
            Balance(NORTH, "anna", "EUR", pending_minor=8_00),
            Balance(SOUTH, "anna", "USD", pending_minor=2_00),
        ]
        assert balances_of_affiliate(connection, "anna", SOUTH) == [Balance(SOUTH, "anna", "USD", pending_minor=2_00)]
        north = balances_of_tenant(connection, NORTH)
    assert north == [Balance(NORTH, "anna", "EUR", pending_minor=8_00), Balance(NORTH, "ben", "EUR", approved_minor=4_00)]
    assert totals(north) == [Balance(NORTH, "", "EUR", pending_minor=8_00, approved_minor=4_00)]
    assert totals(north)[0].total_minor == 12_00
