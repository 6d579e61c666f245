"""What clicks and impressions earn by their numbers, day by day."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Clause, Limit, RateCard, Rule
from core.clock import DAY
from payouts.accounts import Standing, Use
from payouts.traffic import (
    EXTERNAL_ID_CHARS,
    DaySetting,
    Due,
    Group,
    Payment,
    as_json,
    asked_of,
    counts_of,
    dues,
    granted,
    is_traffic,
    order_id_of,
    rows,
)
from store.traffic import TrafficDay
from tests.fakes import NOON
from tests.people import NORTH

PHONES = Clause("touch", "device", "equals_to", ("phone",))
GERMANY = Clause("touch", "country", "in", ("DE", "AT"))
CLICKS = Rule("click", fixed_minor=10, per="click", subject="click")
DEAR = Rule("dear-click", priority=10, fixed_minor=25, per="click", subject="click", when=Clause(all=(PHONES, GERMANY)))
GOLD = Rule(
    "gold-click", priority=5, fixed_minor=40, per="click", subject="click", when=Clause("affiliate", "group", "equals_to", ("gold",))
)
VIEWS = Rule("view", fixed_minor=199, per="thousand", subject="impression")
ORDERS = Rule("sale", percent_bps=800)


def card(*rules: Rule, version: int = 1) -> RateCard:
    return RateCard(NORTH, "main", version, 0, 30, (*rules, ORDERS))


def day(name: str, subject="impression", **counts: int) -> TrafficDay:
    order_id = order_id_of(subject, "main", "anna", name)
    setting = as_json(DaySetting(1, "EUR", NOON, NOON + DAY, NOON + 60 * DAY))
    return TrafficDay(NORTH, "main", "anna", subject, name, order_id, "UTC", counts=counts, setting=setting)


def setting(group: str = "") -> DaySetting:
    return DaySetting(1, "EUR", NOON, NOON + DAY, NOON + 60 * DAY, group, NOON - 10 * DAY)


def group(count: int, device: str = "", country: str = "", **fields) -> Group:
    return Group(
        country, device, fields.get("channel", ""), fields.get("link", ""), fields.get("referrer", ""), fields.get("subs", ()), count
    )


def test_each_click_is_paid_by_the_first_rule_that_fits_it():
    groups = [group(3, "phone", "DE"), group(4, "phone", "FR"), group(5, "desktop", "DE"), group(1, "phone", "AT")]
    offered = card(CLICKS, DEAR, GOLD, VIEWS)

    assert counts_of(offered, "click", "anna", setting(), groups) == {"click": 9, "dear-click": 4}
    assert counts_of(offered, "click", "anna", setting("gold"), groups) == {"gold-click": 13}
    assert counts_of(offered, "impression", "anna", setting(), groups) == {"view": 13}
    assert counts_of(card(DEAR), "click", "anna", setting(), groups) == {"dear-click": 4}
    assert counts_of(card(), "click", "anna", setting(), groups) == {}
    assert counts_of(None, "click", "anna", setting(), groups) == {}


def test_touches_are_told_apart_by_no_more_than_the_rules_ask_for():
    fifth = Rule("fifth", fixed_minor=1, per="click", subject="click", when=Clause("touch", "sub5", "equals_to", ("x",)))

    assert asked_of([card(CLICKS, GOLD)], "click") == []
    assert asked_of([card(DEAR), card(fifth)], "click") == ["country", "device", "sub5"]
    assert asked_of([card(DEAR), card(fifth)], "impression") == []


def test_clicks_pay_a_fixed_amount_each():
    assert dues([(day("2026-11-20", "click", click=9), card(CLICKS)), (day("2026-11-21", "click", click=1), card(CLICKS))]) == [
        [Due("click", 90)],
        [Due("click", 10)],
    ]


def test_views_are_counted_through_the_month_so_that_nobody_loses_the_rest_of_a_thousand():
    """1.99 for a thousand: 700 views are 1.393, another 700 make 2.786, another 700 make 4.179."""
    month = [(day(f"2026-11-{number}", view=700), card(VIEWS)) for number in (10, 11, 12)]

    assert [due[0].amount_minor for due in dues(month)] == [139, 139, 139]
    assert [due[0].amount_minor for due in dues([(day(f"2026-11-{number}", view=300), card(VIEWS)) for number in range(10, 15)])] == [
        59,  # 59.7
        60,  # 119.4
        60,  # 179.1
        59,  # 238.8
        60,  # 298.5
    ]


def test_another_price_in_the_middle_of_a_month_takes_the_rest_along():
    dearer = card(Rule("view", fixed_minor=500, per="thousand", subject="impression"), version=2)

    assert dues([(day("2026-11-10", view=3), card(VIEWS)), (day("2026-11-11", view=1), dearer)]) == [[Due("view", 0)], [Due("view", 1)]]


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=31), st.integers(0, 2_000))
def test_a_month_pays_for_its_thousands_rounded_down_once(numbers, fixed):
    views = card(Rule("view", fixed_minor=fixed, per="thousand", subject="impression"))
    paid = [
        due[0].amount_minor for due in dues([(day(f"2026-10-{place:02}", view=number), views) for place, number in enumerate(numbers, 1)])
    ]

    assert list(accumulate(paid)) == [sum(numbers[: place + 1]) * fixed // 1000 for place in range(len(numbers))]
    assert min(paid) >= 0


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 900), st.integers(0, 50)), max_size=8))
def test_whatever_came_before_the_rows_sum_to_the_last_target(steps):
    offered = card(Rule("a", fixed_minor=7, per="click", subject="click"), Rule("b", fixed_minor=3, per="click", subject="click"))
    posted, wanted = [], {}
    for rule_id, amount, capped in steps:
        wanted[rule_id] = Payment(rule_id, amount, capped, "most" if capped else "")
        posted += rows(day("2026-11-20", "click"), offered, setting(), list(wanted.values()), posted, NOON)
        assert not rows(day("2026-11-20", "click"), offered, setting(), list(wanted.values()), posted, NOON)

    for rule_id, payment in wanted.items():
        mine = [row for row in posted if row.rule_id == rule_id]
        assert (sum(row.amount_minor for row in mine), sum(row.capped_minor for row in mine)) == (
            payment.amount_minor,
            payment.capped_minor,
        )
    assert [row.idempotency_key.rpartition(":")[2] for row in posted] == [str(number) for number in range(len(posted))]
    assert all((row.amount_minor == 0) == (row.state == "none") == bool(row.reason) for row in posted)


def test_the_tightest_limit_cuts_rule_by_rule():
    limits = {
        ("a-only", "anna"): Limit("a-only", 50, "day", rules=("a",)),
        ("month", ""): Limit("month", 100, "month", shared=True),
    }
    standing = Standing(left=(("a-only", "anna", 50), ("month", "", 70)))

    assert granted([Due("a", 60), Due("b", 30), Due("c", 5)], limits, standing) == (
        [Payment("a", 50, 10, "a-only"), Payment("b", 20, 10, "month"), Payment("c", 0, 5, "month")],
        [Use("a-only", "anna", 60, 50), Use("month", "", 95, 70)],
    )
    assert granted([Due("a", 60)], {}, Standing()) == ([Payment("a", 60)], [])


def test_a_day_has_an_id_that_no_order_can_have_and_that_fits_its_column():
    long = order_id_of("impression", "p" * 63, "a" * 63, "2026-11-20")

    assert order_id_of("click", "main", "anna", "2026-11-20") == " click:2026-11-20:main:anna"
    assert len(long) <= EXTERNAL_ID_CHARS
    assert long != order_id_of("impression", "p" * 63, "b" * 63, "2026-11-20")
    assert is_traffic(long)
    assert not is_traffic("click:2026-11-20:main:anna")
    assert not is_traffic(" lead:L-1")
