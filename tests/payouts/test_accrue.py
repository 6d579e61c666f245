"""Accrual: the difference is booked, once, whatever arrives when and however often."""

import threading
from fractions import Fraction

import pytest
from sqlalchemy import event, text

from core.catalogue import Bonus, Clause, Condition, Limit, Membership, Programme, RateCard, Rule, Segment, Tier, Tiers
from core.clock import DAY, HOUR, SECOND, as_datetime
from core.errors import Conflict, Unavailable
from core.events import Line
from payouts.accrue import AccrualReport, accrue_once, run_accrual
from payouts.commissions import odd_orders
from payouts.ecb import SOURCE
from payouts.holds import reject
from payouts.recompute import recompute
from payouts.setting import Contact
from payouts.verify import verify
from store.catalogue import rate_cards_of
from store.cursors import read_cursor
from store.rates import put_rates
from store.standing import put_queue, waiting
from tests.people import NORTH, SOUTH

PERCENT = Rule("all", priority=900, percent_bps=800)

HALVES = {"anna": Fraction(1, 2), "ben": Fraction(1, 2)}


def kinds(world, order_id):
    return [(row.kind, row.affiliate_id, row.amount_minor) for row in world.rows(order_id)]


# --- a sale ----------------------------------------------------------------------------------------------------------


def test_a_sale_of_100_eur_at_8_percent_is_held_for_30_days(world):
    order = world.sell("A-1", "anna", Line("1", 100_00))

    report = world.accrue()

    [row] = world.rows("A-1")
    assert (row.kind, row.affiliate_id, row.base_minor, row.amount_minor, row.state) == ("sale", "anna", 100_00, 8_00, "pending")
    assert (row.rate_card_version, row.rule_id, row.reason, row.touch_id) == (1, "all", "", "touch-anna")
    assert row.hold_until == order.occurred_at + 30 * DAY
    assert (world.balance("anna").pending_minor, world.balance("anna").approved_minor) == (8_00, 0)
    assert report == AccrualReport(seen=1, booked=1, rows=1)


def test_accruing_twice_is_accruing_once(world):
    world.sell("A-1", "anna")
    world.refund("A-1", net_minor=10_00)
    world.accrue()
    rows, balance = world.rows("A-1"), world.balance("anna")

    report = world.accrue()

    assert (world.rows("A-1"), world.balance("anna")) == (rows, balance)
    assert (report.booked, report.rows) == (0, 0)


def test_an_order_that_comes_after_its_hold_is_payable_at_once(world):
    world.sell("A-1", "anna", at=world.clock() - 30 * DAY)
    world.accrue()

    assert world.balance("anna").approved_minor == 8_00


def test_credits_split_every_line_to_the_cent(sqlite_world):
    sqlite_world.order("A-1", Line("1", 100_01), Line("2", 13))
    sqlite_world.decide("A-1", shares={"anna": Fraction(1, 3), "ben": Fraction(2, 3)})
    sqlite_world.accrue()

    assert [(row.line_id, row.affiliate_id, row.amount_minor) for row in sqlite_world.rows("A-1")] == [
        ("1", "anna", 2_67),
        ("1", "ben", 5_33),
        ("2", "anna", 0),
        ("2", "ben", 1),
    ]


@pytest.mark.parametrize(
    ("currency", "net", "amount"),
    [("EUR", 100_00, 8_00), ("JPY", 1_999, 159), ("BHD", 10_001, 800)],
)
def test_percentages_pay_in_the_orders_currency(sqlite_world, currency, net, amount):
    sqlite_world.sell("A-1", "anna", Line("1", net), currency=currency)
    sqlite_world.accrue()

    [row] = sqlite_world.rows("A-1")
    assert (row.currency, row.amount_minor) == (currency, amount)
    assert sqlite_world.balance("anna").currency == currency


def test_lines_that_earn_nothing_say_why(sqlite_world):
    lines = [
        Line("gift", 50_00, category="gift cards"),
        Line("free", 0),
        Line("club", 10_00, category="club"),
        Line("unit", 10_00, sku="A-1", quantity=2),
    ]
    sqlite_world.sell("A-1", "anna", *lines, customer_status="returning", currency="USD")
    sqlite_world.put(
        RateCard(
            NORTH, "main", 2, sqlite_world.clock() - 300 * DAY, 30, tuple(rule for rule in _rules(sqlite_world) if rule.rule_id != "all")
        )
    )
    sqlite_world.sell("A-2", "anna", *lines, Line("other", 1_00), customer_status="returning", currency="USD")
    sqlite_world.accrue()

    assert {row.line_id: (row.amount_minor, row.state, row.reason) for row in sqlite_world.rows("A-2")} == {
        "gift": (0, "none", "excluded_category"),
        "free": (0, "none", "no_rule"),
        "club": (0, "none", "returning_customer"),
        "unit": (0, "none", "currency_not_supported"),
        "other": (0, "none", "no_rule"),
    }
    assert all(row.entry_number is None for row in sqlite_world.rows("A-2"))
    assert sqlite_world.balance("anna").total_minor == 0


def _rules(world):
    with world.books.reading() as connection:
        return rate_cards_of(connection, NORTH, "main")[0].rules


def test_nobody_is_credited_nobody_is_paid_and_the_line_says_so(world):
    world.order("A-1")
    world.decide("A-1")
    world.accrue()

    assert [(row.affiliate_id, row.amount_minor, row.state, row.reason) for row in world.rows("A-1")] == [("", 0, "none", "unattributed")]


def test_a_test_order_never_pays(sqlite_world):
    sqlite_world.sell("A-1", "anna", test=True)
    sqlite_world.accrue()

    assert [(row.affiliate_id, row.amount_minor, row.reason) for row in sqlite_world.rows("A-1")] == [("", 0, "test")]


def test_an_order_without_a_rate_card_in_force_has_no_rule(sqlite_world):
    sqlite_world.sell("A-1", "anna", at=sqlite_world.clock() - 400 * DAY)
    sqlite_world.accrue()

    assert [(row.rate_card_version, row.reason) for row in sqlite_world.rows("A-1")] == [(0, "no_rule")]


def test_an_order_of_no_programme_is_looked_at_and_books_nothing(sqlite_world):
    sqlite_world.order("A-1")
    sqlite_world.decide("A-1", programme_id="")

    assert sqlite_world.accrue() == AccrualReport(seen=1)
    assert sqlite_world.rows("A-1") == []


# --- new or returning ------------------------------------------------------------------------------------------------


def test_the_shops_word_on_the_customer_stands(sqlite_world):
    for order_id, status in (("A-1", "new"), ("A-2", "returning")):
        sqlite_world.sell(order_id, "anna", Line("1", 100_00, category="shoes"), customer_status=status, customer_keys=("em:1",))
    sqlite_world.accrue()

    assert (sqlite_world.earned("A-1"), sqlite_world.earned("A-2")) == ({"anna": 10_00}, {"anna": 8_00})


def test_without_a_word_the_decision_says_who_the_customer_is(sqlite_world):
    statuses = {"A-1": "new", "A-2": "returning", "A-3": "lapsed", "A-4": ""}
    for order_id, status in statuses.items():
        sqlite_world.order(order_id, Line("1", 100_00, category="shoes"), customer_keys=("em:1",))
        sqlite_world.decide(order_id, "anna", customer_status=status)
    sqlite_world.accrue()

    assert [sqlite_world.earned(order_id)["anna"] for order_id in statuses] == [10_00, 8_00, 8_00, 8_00]


def test_late_identity_prices_the_line_anew_and_posts_the_difference(sqlite_world):
    sqlite_world.order("A-1", Line("1", 100_00, category="shoes"), customer_keys=("em:1",))
    for status, earned in (("new", 10_00), ("returning", 8_00), ("returning", 8_00), ("new", 10_00)):
        sqlite_world.decide("A-1", "anna", customer_status=status)
        sqlite_world.accrue()
        assert sqlite_world.earned("A-1") == {"anna": earned}

    rows = [(row.kind, row.amount_minor, row.rule_id, row.rate_card_version) for row in sqlite_world.rows("A-1")]
    assert rows == [("sale", 10_00, "shoes-new", 1), ("redecision", -2_00, "all", 1), ("redecision", 2_00, "shoes-new", 1)]


def test_the_version_that_priced_first_stays_when_the_customer_turns_out_to_be_another(sqlite_world):
    sqlite_world.order("A-1", Line("1", 100_00, category="shoes"))
    sqlite_world.decide("A-1", "anna", customer_status="new")
    sqlite_world.accrue()
    sqlite_world.put(RateCard(NORTH, "main", 2, 0, 30, (Rule("all", percent_bps=9900),)))
    sqlite_world.decide("A-1", "anna", customer_status="returning")
    sqlite_world.accrue()

    assert sqlite_world.earned("A-1") == {"anna": 8_00}
    assert {row.rate_card_version for row in sqlite_world.rows("A-1")} == {1}


def test_where_a_decision_knows_nothing_of_the_customer_the_first_rule_stays(sqlite_world):
    """As in decisions that an earlier program stored: a refund months later must not change what the rest is priced by."""
    sqlite_world.order("A-1", Line("1", 100_00, category="shoes"))
    sqlite_world.decide("A-1", "anna", customer_status="new")
    sqlite_world.accrue()
    sqlite_world.decide("A-1", "anna")
    sqlite_world.refund("A-1", net_minor=50_00)
    sqlite_world.accrue()

    assert sqlite_world.earned("A-1") == {"anna": 5_00}


def test_a_refund_and_a_new_status_end_in_the_same_sum_in_either_order(sqlite_world):
    def refunded(order_id: str) -> None:
        sqlite_world.refund(order_id, f"r-{order_id}", net_minor=33_33)

    def flipped(order_id: str) -> None:
        sqlite_world.decide(order_id, "anna", "ben", customer_status="returning")

    for order_id, steps in (("A-1", (refunded, flipped)), ("A-2", (flipped, refunded))):
        sqlite_world.order(order_id, Line("1", 99_99, category="shoes"))
        sqlite_world.decide(order_id, "anna", "ben", customer_status="new")
        sqlite_world.accrue()
        for step in steps:
            step(order_id)
            sqlite_world.accrue()

    assert sqlite_world.earned("A-1") == sqlite_world.earned("A-2")
    assert sum(sqlite_world.earned("A-1").values()) == 5_33  # 8 % of 66.66, rounded down


def test_segments_of_the_decision_choose_the_rule(sqlite_world):
    firms = Rule("firms", priority=1, percent_bps=300, segments=("firms", "offices"))
    sqlite_world.put(Segment(NORTH, "firms", "Firms", (Condition("account_type", ("b2b",)),)))
    sqlite_world.put(RateCard(NORTH, "main", 2, sqlite_world.clock() - DAY, 30, (firms, Rule("all", priority=900, percent_bps=800))))
    for order_id, segments in (("A-1", ("firms",)), ("A-2", ("others", "offices")), ("A-3", ("others",)), ("A-4", ())):
        sqlite_world.order(order_id)
        sqlite_world.decide(order_id, "anna", segments=segments)
    sqlite_world.accrue()

    assert [sqlite_world.earned(f"A-{number}")["anna"] for number in (1, 2, 3, 4)] == [3_00, 3_00, 8_00, 8_00]


# --- the rate card in force ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset_ms", "version", "amount"), [(-1, 1, 8_00), (0, 2, 5_00), (1, 2, 5_00)])
def test_the_version_in_force_at_the_orders_time_prices_it_to_the_millisecond(sqlite_world, offset_ms, version, amount):
    begins = sqlite_world.clock() - DAY
    sqlite_world.put(RateCard(NORTH, "main", 2, begins, 30, (Rule("new-all", percent_bps=500),)))
    sqlite_world.sell("A-1", "anna", at=begins + offset_ms)
    sqlite_world.accrue()

    [row] = sqlite_world.rows("A-1")
    assert (row.rate_card_version, row.amount_minor) == (version, amount)


def test_a_rule_edited_later_does_not_touch_what_was_priced(sqlite_world):
    sqlite_world.sell("A-1", "anna", Line("1", 100_00), Line("2", 50_00))
    sqlite_world.accrue()
    sqlite_world.put(RateCard(NORTH, "main", 2, sqlite_world.clock() - 10 * DAY, 5, (Rule("richer", percent_bps=9_000),)))

    sqlite_world.refund("A-1", lines={"2": 50_00})
    sqlite_world.clock.advance(SECOND)
    sqlite_world.accrue()

    assert sqlite_world.earned("A-1") == {"anna": 8_00}
    assert {row.rate_card_version for row in sqlite_world.rows("A-1")} == {1}
    assert len({row.hold_until for row in sqlite_world.rows("A-1")}) == 1


def test_a_new_decision_is_priced_as_the_order_was_first(sqlite_world):
    """An order that a later program decides again without knowing the customer: the line's first rule stays."""
    sqlite_world.order("A-2", Line("1", 100_00, category="shoes"), customer_keys=("em:1",))
    sqlite_world.decide("A-2", "anna", customer_status="new")
    sqlite_world.accrue()
    sqlite_world.decide("A-2", "ben")
    sqlite_world.accrue()

    assert sqlite_world.earned("A-2") == {"anna": 0, "ben": 10_00}


# --- refunds ---------------------------------------------------------------------------------------------------------


def test_a_partial_refund_takes_its_part(world):
    world.sell("A-1", "anna", Line("1", 60_00), Line("2", 40_00))
    world.accrue()
    world.refund("A-1", lines={"2": 10_00})
    world.accrue()

    assert kinds(world, "A-1") == [("sale", "anna", 4_80), ("sale", "anna", 3_20), ("refund", "anna", -80)]
    assert world.balance("anna").pending_minor == 7_20


def test_a_full_refund_leaves_exact_zeros_and_its_reason(world):
    world.order("A-1", Line("1", 33_33), Line("2", 66_67))
    world.decide("A-1", shares={"anna": Fraction(1, 3), "ben": Fraction(2, 3)})
    world.accrue()
    for number in range(1, 4):
        world.refund("A-1", f"r{number}", net_minor=11_11)
        world.accrue()
    world.refund("A-1", "last")
    world.accrue()

    assert world.earned("A-1") == {"anna": 0, "ben": 0}
    assert [row.reason for row in world.rows("A-1")[-4:]] == ["refunded"] * 4
    assert (world.balance("anna").total_minor, world.balance("ben").total_minor) == (0, 0)


def test_a_refund_that_comes_before_its_order_waits_and_ends_the_same(world):
    world.refund("A-1", net_minor=40_00)
    waiting = world.accrue()
    world.sell("A-1", "anna")
    world.accrue()
    world.sell("A-2", "anna")
    world.accrue()
    world.refund("A-2", net_minor=40_00)
    world.accrue()

    assert (waiting.seen, waiting.waiting, waiting.booked) == (1, 1, 0)
    assert kinds(world, "A-1") == kinds(world, "A-2") == [("sale", "anna", 8_00), ("refund", "anna", -3_20)]


def test_a_refund_beyond_what_remains_stops_at_zero_and_is_shown(world):
    world.sell("A-1", "anna")
    world.refund("A-1", "r1", net_minor=70_00)
    world.refund("A-1", "r2", net_minor=70_00)
    world.refund("A-1", "r3", net_minor=1_00, currency="USD")

    report = world.accrue()

    with world.books.reading() as connection:
        [odd] = odd_orders(connection, NORTH)
    assert (world.earned("A-1"), report.excess_refunds) == ({"anna": 0}, 1)
    assert (odd.order_id, odd.refunded_minor, odd.excess_minor, odd.refunds_refused) == ("A-1", 100_00, 40_00, 1)


def test_a_refund_of_an_order_that_earned_nothing_books_nothing(sqlite_world):
    sqlite_world.sell("A-1", "anna", Line("1", 50_00, category="gift cards"))
    sqlite_world.accrue()
    sqlite_world.refund("A-1")
    sqlite_world.accrue()

    assert kinds(sqlite_world, "A-1") == [("sale", "anna", 0)]


def test_a_fixed_amount_per_order_goes_with_the_last_of_its_lines(world):
    world.sell("A-1", "anna", Line("1", 20_00, category="bundle"), Line("2", 10_00, category="bundle"), Line("3", 10_00))
    world.accrue()
    world.refund("A-1", "r1", lines={"1": 20_00})
    world.accrue()
    after_one = {row.line_id: 0 for row in world.rows("A-1")}
    for row in world.rows("A-1"):
        after_one[row.line_id] += row.amount_minor
    world.refund("A-1", "r2", lines={"2": 10_00})
    world.accrue()

    assert after_one == {"1": 0, "2": 5_00, "3": 80}
    assert world.earned("A-1") == {"anna": 80}
    assert verify(world.books).fault is None


def test_a_fixed_amount_that_moves_to_a_line_too_small_for_any_is_booked_in_any_order_of_arrival(world):
    """5.00 for shoes and a gift of one cent: all of it is the shoes', until they go back and it is the gift's."""
    lines = (Line("1", 100_00, category="bundle"), Line("2", 1, category="bundle"))
    for order_id, early in (("A-1", True), ("A-2", False)):
        world.sell(order_id, "anna", *lines)
        if early:
            world.accrue()
        world.refund(order_id, lines={"1": 100_00})
        report = world.accrue()

        assert report.problems == ()
        assert world.earned(order_id) == {"anna": 5_00}
    world.decide("A-1", "ben")

    assert world.accrue().problems == ()
    assert world.earned("A-1") == {"anna": 0, "ben": 5_00}
    assert verify(world.books).fault is None


# --- a new decision --------------------------------------------------------------------------------------------------


def test_a_late_click_takes_the_sale_from_the_old_winner(world):
    world.sell("A-1", "anna")
    world.accrue()
    world.refund("A-1", net_minor=25_00)
    world.accrue()
    world.decide("A-1", "ben")
    world.accrue()

    assert kinds(world, "A-1") == [
        ("sale", "anna", 8_00),
        ("refund", "anna", -2_00),
        ("redecision", "anna", -6_00),
        ("sale", "ben", 8_00),
        ("refund", "ben", -2_00),
    ]
    assert (world.balance("anna").pending_minor, world.balance("ben").pending_minor) == (0, 6_00)


def test_there_and_back_again(sqlite_world):
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()
    for winner in ("ben", "anna", ""):
        sqlite_world.decide("A-1", *([winner] if winner else []))
        sqlite_world.accrue()

    assert kinds(sqlite_world, "A-1") == [
        ("sale", "anna", 8_00),
        ("redecision", "anna", -8_00),
        ("sale", "ben", 8_00),
        ("redecision", "ben", -8_00),
        ("sale", "anna", 8_00),
        ("redecision", "anna", -8_00),
        ("sale", "", 0),
    ]
    assert sqlite_world.rows("A-1")[-1].reason == "unattributed"


def test_a_share_that_shrinks_is_a_difference_not_a_new_sale(sqlite_world):
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()
    sqlite_world.decide("A-1", shares=HALVES)
    sqlite_world.accrue()

    assert kinds(sqlite_world, "A-1") == [("sale", "anna", 8_00), ("redecision", "anna", -4_00), ("sale", "ben", 4_00)]


def test_a_line_that_earns_nothing_is_told_once_although_another_lost_it(sqlite_world):
    sqlite_world.order("A-1", Line("1", 13))
    for shares in ({"ben": Fraction(2, 3), "anna": Fraction(1, 3)}, {"anna": Fraction(1, 3)}, {"anna": Fraction(1, 3)}):
        sqlite_world.decide("A-1", shares=shares)
        sqlite_world.accrue()

    assert kinds(sqlite_world, "A-1") == [("sale", "ben", 1), ("sale", "anna", 0), ("redecision", "ben", -1)]


def test_a_decision_that_changes_nothing_books_nothing(sqlite_world):
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()
    sqlite_world.decide("A-1", "anna")

    assert sqlite_world.accrue().rows == 0


def test_an_order_that_moves_to_another_programme_is_reversed_in_the_first(sqlite_world):
    sqlite_world.put(
        Programme(NORTH, "other", "Other", "https://other.example/"), RateCard(NORTH, "other", 7, 0, 10, (Rule("half", percent_bps=5_000),))
    )
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()
    sqlite_world.decide("A-1", "anna", programme_id="other")
    sqlite_world.accrue()

    assert [(row.programme_id, row.rate_card_version, row.amount_minor) for row in sqlite_world.rows("A-1")] == [
        ("main", 1, 8_00),
        ("main", 1, -8_00),
        ("other", 7, 50_00),
    ]


# --- tenants, pages, cursors -----------------------------------------------------------------------------------------


def test_tenants_have_ledgers_of_their_own(world):
    world.sell("A-1", "anna")
    world.sell("A-1", "ben", Line("1", 50_00), tenant_id=SOUTH)
    world.accrue()

    assert (world.earned("A-1", NORTH), world.earned("A-1", SOUTH)) == ({"anna": 8_00}, {"ben": 4_00})
    assert [row.entry_number for tenant_id in (NORTH, SOUTH) for row in world.rows("A-1", tenant_id)] == [1, 1]


def test_a_tenant_that_the_books_do_not_know_is_reported_and_skipped(sqlite_world):
    sqlite_world.sell("A-1", "anna", tenant_id="nowhere")
    sqlite_world.sell("A-2", "anna")

    report = sqlite_world.accrue()

    assert report.problems == ("tenant nowhere is not in the catalogue; its orders were not booked",)
    assert sqlite_world.earned("A-2") == {"anna": 8_00}


@pytest.mark.parametrize("pages_at_once", [1, 2, 40])
def test_more_orders_than_one_page_are_all_booked(sqlite_world, monkeypatch, pages_at_once):
    monkeypatch.setattr("payouts.accrue.PAGES_AT_ONCE", pages_at_once)
    world, heard = sqlite_world, []
    for number in range(7):
        world.sell(f"A-{number}", "anna")

    report = accrue_once(world.events, world.books, world.clock, limit=3, progress=heard.append)

    assert (report.seen, report.booked, heard) == (7, 7, [3, 6, 7])


def test_the_next_run_begins_where_this_one_ended(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna")
    world.accrue()
    world.clock.advance(11 * SECOND)
    world.sell("A-2", "anna")
    world.accrue()

    with world.books.reading() as connection:
        assert read_cursor(connection, "accrual:decisions") == world.clock()
    assert world.accrue().seen == 1


def test_a_loop_does_not_look_again_at_what_it_has_just_seen(sqlite_world):
    world, memory = sqlite_world, set()

    def run():
        return accrue_once(world.events, world.books, world.clock, limit=2, memory=memory).seen

    for number in range(3):
        world.sell(f"A-{number}", "anna")
    first, idle = run(), run()
    world.events.asked.clear()
    silent = run()
    questions = list(world.events.asked)
    world.refund("A-1", net_minor=1_00)

    assert (first, idle, silent, run()) == (3, 0, 0, 1)
    assert set(questions) == {"changed_orders"}
    assert world.earned("A-1") == {"anna": 7_92}


def test_what_becomes_visible_late_is_still_found(sqlite_world):
    world = sqlite_world
    world.sell("A-1", "anna")
    world.accrue()
    world.order("A-2")
    world.decide("A-2", "anna")
    world.events.changes[(NORTH, "A-2")] = world.clock() - 9 * SECOND
    world.accrue()

    assert world.earned("A-2") == {"anna": 8_00}


def test_an_order_that_cannot_be_computed_is_noted_and_stops_nobody(sqlite_world, caplog):
    world = sqlite_world
    world.sell("A-1", "anna")
    world.decide("A-1", shares={"anna": Fraction(3, 2)})
    world.sell("A-2", "anna")

    report = world.accrue()

    assert report.problems == ("order A-1 of north: it cannot be booked: AssertionError: a weight is never negative",)
    assert (world.earned("A-1"), world.earned("A-2")) == ({}, {"anna": 8_00})
    with world.books.reading() as connection:
        assert [odd.order_id for odd in odd_orders(connection, NORTH)] == ["A-1"]
    world.decide("A-1", "anna")
    assert (world.accrue().problems, world.earned("A-1")) == ((), {"anna": 8_00})


def test_facts_older_than_what_is_booked_are_left_alone(world):
    """A second process may still hold what it read before the first one booked a newer decision."""
    world.sell("A-1", "anna")
    stale = world.events.verdicts[(NORTH, "A-1")]
    world.decide("A-1", "ben")
    world.accrue()
    world.events.verdicts[(NORTH, "A-1")] = stale

    assert world.accrue().booked == 0
    assert world.earned("A-1") == {"ben": 8_00}


# --- crashes and company ---------------------------------------------------------------------------------------------


def _statements(world, work):
    """How many statements ``work`` sends to the books."""
    sent = []

    def count(_connection, _cursor, statement, *_rest):
        sent.append(statement)

    event.listen(world.books.engine, "before_cursor_execute", count)
    try:
        work()
    finally:
        event.remove(world.books.engine, "before_cursor_execute", count)
    return len(sent)


class Crash(Exception):
    pass


def _crash_at(world, number, work):
    """Run ``work`` and raise instead of sending its n-th statement."""
    sent = []

    def count(*_):
        sent.append(None)
        if len(sent) == number:
            raise Crash

    event.listen(world.books.engine, "before_cursor_execute", count)
    try:
        work()
    except Crash:
        return True
    finally:
        event.remove(world.books.engine, "before_cursor_execute", count)
    return False


def test_a_crash_before_any_statement_books_all_or_nothing_and_the_next_run_mends_it(world):
    for number in range(3):
        world.sell(f"A-{number}", "anna")
    crashed = 0
    for number in range(1, 200):
        world.refund("A-0", f"r{number}", net_minor=10)
        world.decide("A-1", "ben" if number % 2 else "anna")
        world.clock.advance(SECOND)
        if not _crash_at(world, number, world.accrue):
            break
        crashed += 1
        assert verify(world.books).fault is None
        world.accrue()
        assert world.earned("A-0")["anna"] == (100_00 - 10 * number) * 8 // 100
    assert crashed > 10
    assert verify(world.books).fault is None


def test_two_processes_at_once_book_once(world):
    for number in range(40):
        world.sell(f"A-{number}", "anna")
    failures = []

    def run():
        try:
            accrue_once(world.events, world.books, world.clock, limit=7)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert world.balance("anna").pending_minor == 40 * 8_00
    report = verify(world.books)
    assert (report.fault, report.entries) == (None, 40)


def test_statements_per_page_do_not_grow_with_its_orders(sqlite_world):
    def sell(first, count):
        for number in range(first, first + count):
            sqlite_world.sell(f"A-{number}", "anna")
        sqlite_world.clock.advance(60 * SECOND)

    sell(0, 2)
    few = _statements(sqlite_world, sqlite_world.accrue)
    sell(2, 200)
    assert _statements(sqlite_world, sqlite_world.accrue) <= few + 2


class Unsteady:
    """An events store that is down for its first questions."""

    def __init__(self, events, stop):
        self.events, self.stop, self.asked = events, stop, 0

    def select(self, query, **params):
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("the events store is down")
        if self.asked == 2:
            raise RuntimeError("a defect")
        if query.name == "refunds_of_orders":
            self.stop.set()
        return self.events.select(query, **params)


def test_the_loop_survives_a_store_that_is_down_and_a_defect(sqlite_world, caplog):
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()
    sqlite_world.clock.advance(31 * DAY)
    sqlite_world.sell("A-2", "anna")
    stop = threading.Event()

    run_accrual(Unsteady(sqlite_world.events, stop), sqlite_world.books, sqlite_world.clock, stop, every_ms=1, backoff_s=(0.001,))

    balance = sqlite_world.balance("anna")
    assert (balance.approved_minor, balance.pending_minor) == (8_00, 8_00)
    assert "accrual waits" in caplog.text
    assert "a defect" in caplog.text


def test_what_is_booked_cannot_be_edited(world):
    world.sell("A-1", "anna")
    world.accrue()
    for statement in (
        "UPDATE commissions SET amount_minor = 1",
        "DELETE FROM commissions",
        "UPDATE entries SET memo = 'x'",
        "DELETE FROM postings",
    ):
        with pytest.raises(Exception, match="append-only"), world.books.writing() as connection:
            connection.execute(text(statement))


# --- orders that other orders move -----------------------------------------------------------------------------------


def test_a_late_order_moves_the_steps_of_those_behind_it_and_the_difference_is_booked(world):
    """From the second order of a month on 8 % in place of 5 %: with a late first order, what was the first becomes the second."""
    now = world.clock()
    tiers = Tiers("orders", "month", (Tier(2, percent_bps=800),))
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (Rule("all", percent_bps=500, tiers=tiers),)))
    world.sell("A-2", "anna", at=now - 2 * SECOND)
    world.sell("A-3", "anna", at=now - 1 * SECOND)
    world.accrue()
    assert [world.earned(name) for name in ("A-2", "A-3")] == [{"anna": 5_00}, {"anna": 5_00}]

    world.sell("A-1", "anna", at=now - 3 * SECOND)
    world.accrue()

    assert [world.earned(name) for name in ("A-1", "A-2", "A-3")] == [{"anna": 5_00}, {"anna": 5_00}, {"anna": 8_00}]
    assert kinds(world, "A-3") == [("sale", "anna", 5_00), ("redecision", "anna", 3_00)]
    assert world.accrue().rows == 0
    assert verify(world.books).ok


def test_what_a_refund_frees_of_a_budget_goes_to_the_next_order(sqlite_world):
    """12.00 for all in a month: the first order takes 8.00, the second what is left; half of the first goes back."""
    world, now = sqlite_world, sqlite_world.clock()
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (PERCENT,), limits=(Limit("budget", 12_00, "month", shared=True),)))
    world.sell("A-1", "anna", at=now - 2 * SECOND)
    world.sell("A-2", "ben", at=now - 1 * SECOND)
    world.sell("A-3", "ben", at=now)
    world.accrue()
    assert [(row.amount_minor, row.capped_minor, row.limit_id, row.reason) for name in ("A-2", "A-3") for row in world.rows(name)] == [
        (4_00, 4_00, "budget", ""),
        (0, 8_00, "budget", "cap_reached"),
    ]

    world.refund("A-1", net_minor=50_00)
    world.accrue()

    assert [world.earned(name) for name in ("A-1", "A-2", "A-3")] == [{"anna": 4_00}, {"ben": 8_00}, {"ben": 0}]
    assert sum(row.capped_minor for row in world.rows("A-2")) == 0


def test_the_order_in_which_orders_arrive_changes_nothing(sqlite_world):
    """Tiers, a limit and a bonus; the same orders one by one in every sequence, and all at once."""
    world, now = sqlite_world, sqlite_world.clock()
    tiers = Tiers("revenue", "month", (Tier(150_00, percent_bps=1000),))
    fields = {"limits": (Limit("own", 25_00, "month"),), "bonuses": (Bonus("three", "orders", "month", 3, 5_00),)}
    world.put(
        *(
            RateCard(tenant, "main", 2, now - 300 * DAY, 30, (Rule("all", percent_bps=500, tiers=tiers),), **fields)
            for tenant in (NORTH, SOUTH)
        )
    )
    names = ("A-1", "A-2", "A-3", "A-4")
    for name in ("A-3", "A-1", "A-4", "A-2"):
        world.sell(name, "anna", at=now - 9_000 + 1_000 * int(name[2]))
        world.accrue()
    for name in names:
        world.sell(name, "anna", at=now - 9_000 + 1_000 * int(name[2]), tenant_id=SOUTH)
    world.accrue()

    assert [world.earned(name) for name in names] == [world.earned(name, SOUTH) for name in names]
    assert [world.earned(name) for name in names] == [{"anna": 5_00}, {"anna": 5_00}, {"anna": 10_00}, {"anna": 5_00}]
    assert (world.balance("anna").total_minor, world.balance("anna", SOUTH).total_minor) == (30_00, 30_00)


def test_an_order_that_cannot_be_priced_does_not_block_the_queue(sqlite_world, monkeypatch):
    world, now = sqlite_world, sqlite_world.clock()
    tiers = Tiers("orders", "month", (Tier(2, percent_bps=800),))
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (Rule("all", percent_bps=500, tiers=tiers),)))
    for number in (2, 3):
        world.sell(f"A-{number}", "anna", at=now - 9_000 + 1_000 * number)
    world.accrue()
    del world.events.orders[NORTH, "A-3"]
    world.sell("A-1", "anna", at=now - 9_000)
    world.accrue()

    with world.books.reading() as connection:
        assert waiting(connection, NORTH, 10) == []


def test_a_recruiter_is_paid_beside_the_affiliate_and_loses_it_with_a_refund(sqlite_world):
    world, now = sqlite_world, sqlite_world.clock()
    world.put(
        RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (PERCENT,), recruiter_bps=(1000,)),
        Membership(NORTH, "main", "anna", "approved", now, now - DAY, recruited_by="ben"),
        Membership(NORTH, "main", "ben", "approved", now, now - DAY),
    )
    world.sell("A-1", "anna", at=now)
    world.accrue()
    assert [(row.affiliate_id, row.part, row.amount_minor) for row in world.rows("A-1")] == [("anna", "", 8_00), ("ben", "recruiter:1", 80)]

    world.refund("A-1")
    world.accrue()
    assert world.earned("A-1") == {"anna": 0, "ben": 0}
    assert verify(world.books).ok


def test_who_is_rejected_counts_for_no_tier_and_no_recruiter_any_more(sqlite_world):
    """10 %, from the second order on 20 %, a recruiter 10 % of it; the first order is rejected for Anna alone."""
    world, now = sqlite_world, sqlite_world.clock()
    tiers = Tiers("orders", "month", (Tier(1, percent_bps=2000),))
    world.put(
        RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (Rule("all", percent_bps=1000, tiers=tiers),), recruiter_bps=(1000,)),
        Membership(NORTH, "main", "anna", "approved", now, now - DAY, recruited_by="ben"),
        Membership(NORTH, "main", "ben", "approved", now, now - DAY),
    )
    world.sell("A-1", "anna", at=now - SECOND)
    world.sell("A-2", "anna", at=now)
    world.accrue()
    assert [world.earned(name) for name in ("A-1", "A-2")] == [{"anna": 10_00, "ben": 1_00}, {"anna": 20_00, "ben": 2_00}]

    reject(world.books, NORTH, "A-1", "anna", "the card was stolen", "frank@north.example", now)
    world.accrue()
    world.accrue()

    assert [world.earned(name) for name in ("A-1", "A-2")] == [{"anna": 0, "ben": 0}, {"anna": 10_00, "ben": 1_00}]
    assert verify(world.books).ok


def test_what_a_limit_left_nothing_counts_for_no_tier_once_it_is_rejected(sqlite_world):
    """12.00 a day: a late order takes all of it from A-2, which then is rejected; so A-3, days later, has one order before it, not two."""
    world, now = sqlite_world, sqlite_world.clock()
    tiers = Tiers("orders", "lifetime", (Tier(2, percent_bps=1200),))
    rules, limits = (Rule("all", percent_bps=1000, tiers=tiers),), (Limit("day", 12_00, "day"),)
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, rules, limits=limits))
    world.sell("A-2", "anna", at=now - 9 * DAY)
    world.sell("A-3", "anna", at=now)
    world.accrue()
    world.sell("A-1", "anna", Line("1", 120_00), at=now - 9 * DAY - SECOND)
    world.accrue()
    assert [world.earned(name) for name in ("A-1", "A-2", "A-3")] == [{"anna": 12_00}, {"anna": 0}, {"anna": 12_00}]

    reject(world.books, NORTH, "A-2", "", "the card was stolen", "frank@north.example", now)
    world.accrue()

    assert [world.earned(name) for name in ("A-1", "A-2", "A-3")] == [{"anna": 12_00}, {"anna": 0}, {"anna": 10_00}]
    assert world.rows("A-2")[-1].reason == "fraud_rejected"
    assert verify(world.books).ok


def test_a_bonus_is_taken_back_no_later_than_it_was_given(sqlite_world):
    """Given for A-2, whose hold is over; with A-2 gone A-3 reaches it, whose hold is not; with A-3 gone nothing of it may be paid."""
    world, now = sqlite_world, sqlite_world.clock()
    bonus = Bonus("two", "orders", "lifetime", 2, 20_00)
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (Rule("all", percent_bps=1000),), bonuses=(bonus,)))
    for order_id, days in (("A-1", 40), ("A-2", 39), ("A-3", 5)):
        world.sell(order_id, "anna", at=now - days * DAY)
    world.accrue()
    assert world.balance("anna").approved_minor == 40_00

    for order_id in ("A-2", "A-3"):
        world.refund(order_id)
        world.accrue()

    assert (world.balance("anna").approved_minor, world.balance("anna").pending_minor) == (10_00, 0)
    assert verify(world.books).ok


def test_an_order_that_never_earned_anything_is_rejected_too(sqlite_world):
    """10.00 a day, all of it A-1's; A-2 made A-3 the third order, until it is rejected."""
    world, now = sqlite_world, sqlite_world.clock()
    tiers = Tiers("orders", "lifetime", (Tier(2, percent_bps=500),))
    rules, limits = (Rule("all", percent_bps=1000, tiers=tiers),), (Limit("day", 10_00, "day"),)
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, rules, limits=limits))
    for order_id, at in (("A-1", now - 9 * DAY), ("A-2", now - 9 * DAY + SECOND), ("A-3", now)):
        world.sell(order_id, "anna", at=at)
    world.accrue()
    assert [world.earned(name) for name in ("A-1", "A-2", "A-3")] == [{"anna": 10_00}, {"anna": 0}, {"anna": 5_00}]

    reject(world.books, NORTH, "A-2", "", "the card was stolen", "frank@north.example", now)
    world.accrue()

    assert (world.earned("A-3"), world.rows("A-2")[-1].reason) == ({"anna": 10_00}, "fraud_rejected")
    assert verify(world.books).ok


def test_a_bonus_is_rejected_with_its_orders_and_never_by_itself(sqlite_world):
    """Taken back twice it would stand in the way of whatever else is booked."""
    world, now = sqlite_world, sqlite_world.clock()
    bonus = Bonus("first", "orders", "lifetime", 1, 20_00)
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (Rule("all", percent_bps=1000),), bonuses=(bonus,)))
    world.sell("A-1", "anna")
    world.accrue()
    with pytest.raises(Conflict, match="is a bonus, which goes with the orders that reach it"):
        reject(world.books, NORTH, " bonus:lifetime:first:main:anna", "", "fraud", "frank@north.example", now)

    reject(world.books, NORTH, "A-1", "", "fraud", "frank@north.example", now)
    world.accrue()
    assert world.balance("anna").total_minor == 0


def test_a_touchs_country_may_decide_and_is_kept(sqlite_world):
    world, now = sqlite_world, sqlite_world.clock()
    abroad = Rule("abroad", 1, percent_bps=100, when=Clause("touch", "country", "not_equals", ("DE",)))
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (abroad, PERCENT)))
    world.events.touches[NORTH, "touch-anna"] = Contact("touch-anna", "click", now - HOUR, "FR")
    world.sell("A-1", "anna")
    world.accrue()
    assert world.earned("A-1") == {"anna": 1_00}

    del world.events.touches[NORTH, "touch-anna"]  # erased
    world.decide("A-1", "anna")
    world.accrue()
    assert world.earned("A-1") == {"anna": 1_00}


def test_commissions_are_booked_in_the_currency_that_the_card_settles_in(sqlite_world):
    """99.99 USD at 8 % is 7.99 USD: 7.37 EUR at 1.0834; the posting keeps where it came from."""
    world, now = sqlite_world, sqlite_world.clock()
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (PERCENT,), settle_in="EUR"))
    with world.books.writing() as connection:
        put_rates(connection, SOURCE, {(as_datetime(now).date(), "USD"): "1.0834"}, now)
    world.sell("A-1", "anna", Line("1", 99_99), currency="USD")
    world.refund("A-1", net_minor=10_00, currency="USD")
    world.accrue()

    sold, back = world.rows("A-1")
    assert [(row.amount_minor, row.currency, row.original_minor, row.original_currency) for row in (sold, back)] == [
        (7_37, "EUR", 7_99, "USD"),
        (-74, "EUR", -80, "USD"),
    ]
    assert verify(world.books).ok
    world.refund("A-1", "r2", currency="USD")
    world.accrue()
    assert (world.earned("A-1"), world.balance("anna").total_minor) == ({"anna": 0}, 0)


def test_what_is_settled_in_another_currency_uses_up_limits_and_follows_its_steps(sqlite_world):
    """10.00 EUR in a month; 8.00 USD take 7.39 of them, rounded up, and leave 2.61: 2.82 USD, which are 2.60 EUR."""
    world, now = sqlite_world, sqlite_world.clock()
    rule = Rule("all", percent_bps=800, tiers=Tiers("orders", "month", (Tier(2, percent_bps=1600),)))
    world.put(RateCard(NORTH, "main", 2, now - 300 * DAY, 30, (rule,), limits=(Limit("own", 10_00, "month"),), settle_in="EUR"))
    with world.books.writing() as connection:
        put_rates(connection, SOURCE, {(as_datetime(now).date(), "USD"): "1.0834"}, now)
    world.sell("A-2", "anna", currency="USD", at=now - 2 * SECOND)
    world.sell("A-3", "anna", Line("1", 10_00), currency="USD", at=now - SECOND)
    world.accrue()
    assert [world.earned(name) for name in ("A-2", "A-3")] == [{"anna": 7_38}, {"anna": 73}]

    world.sell("A-1", "anna", Line("1", 100_00), currency="USD", at=now - 3 * SECOND)
    world.accrue()

    assert [world.earned(name) for name in ("A-1", "A-2", "A-3")] == [{"anna": 7_38}, {"anna": 2_60}, {"anna": 0}]
    assert recompute(world.books, world.events, NORTH).ok


def test_what_an_earlier_version_booked_stays_until_something_of_the_order_changes(sqlite_world):
    """It is looked at once more, to count for tiers, and nothing is booked."""
    world = sqlite_world
    world.sell("A-1", "anna")
    world.accrue()
    with world.books.writing() as connection:
        connection.execute(text("DROP TRIGGER commissions_no_update"))
        connection.execute(text("UPDATE commissions SET amount_minor = 700, pricing_hash = ''"))
        connection.execute(text("UPDATE accruals SET setting = NULL, standing = NULL"))
        connection.execute(text("DELETE FROM measures"))
        put_queue(connection, NORTH, [(world.rows("A-1")[0].ordered_at, "A-1")], "upgrade", False, world.clock())
    report = world.accrue()

    assert (report.rows, world.earned("A-1")) == (0, {"anna": 7_00})
    with world.books.reading() as connection:
        assert connection.execute(text("SELECT revenue_minor, commission_minor FROM measures")).all() == [(100_00, 8_00)]
        assert waiting(connection, NORTH, 10) == []
    world.refund("A-1", net_minor=50_00)
    world.accrue()
    assert world.earned("A-1") == {"anna": 4_00}
