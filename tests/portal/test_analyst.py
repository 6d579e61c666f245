"""The analyst's report: every dimension sums to the whole, and the file says what the page says."""

import csv
import json
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Condition, Segment
from core.clock import DAY, HOUR
from core.events import Line, Refund, RefundLine
from portal.analyst import DIMENSIONS, add_up, whole_parts
from store.catalogue import put
from tests.fakes import NOON
from tests.people import ADA, NORTH
from tests.portal.conftest import click, order, words_of

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/604.1"


@pytest.fixture
def week(portal, world):
    """Seven orders, 1,000.00 EUR net in all, 120.00 of it refunded; one is in USD, and a test order counts nowhere."""
    shoes, hats = Line("1", 100_00, category="shoes"), Line("2", 50_00, category="hats")
    world.sells(
        click("a", "anna", at=NOON - 3 * DAY, visitor="v"),
        click("b", "ben", at=NOON - 2 * DAY, visitor="w", user_agent=IPHONE),
        order("O-1", at=NOON - 2 * DAY, visitor="v", lines=(shoes, hats), customer_status="new", coupons=("BEN10",)),
        order("O-2", at=NOON - DAY, visitor="v", lines=(shoes,), channel="app", customer_status="returning"),
        order("O-3", at=NOON - HOUR, visitor="w", lines=(shoes, shoes_of("3", 200_00)), channel="pos", store_id="till"),
        order("O-4", at=NOON - HOUR, lines=(shoes,)),
        order("O-5", at=NOON - HOUR, lines=(Line("1", 350_00),), coupons=("BEN10", "OTHER")),
        order("O-6", at=NOON - HOUR, lines=(Line("1", 77_00),), currency="USD"),
        order("T-1", at=NOON - HOUR, visitor="v", lines=(shoes,), test=True),
        refund("O-1", RefundLine("1", 20_00)),
        refund("O-4"),
    )
    world.happens(order("O-7", at=NOON - 30_000, lines=(Line("1", 0),)))
    return portal


def shoes_of(line_id: str, net_minor: int) -> Line:
    return Line(line_id, net_minor, category="shoes")


def refund(order_id: str, *lines: RefundLine) -> Refund:
    """Of these lines, or of all that remains."""
    return Refund(f"refund-{order_id}", NORTH, order_id, f"R-{order_id}", "EUR", NOON, NOON, lines)


def rows_of(portal, query: str) -> list[dict[str, str]]:
    answer = portal.get(f"/analyst/conversions.csv?{query}", as_=ADA)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(answer.text.splitlines()))


def table(portal, query: str) -> dict[str, tuple[str, str]]:
    """Orders and net by name, for rows in EUR."""
    rows = rows_of(portal, query)
    column = list(rows[0])[1]
    return {row[column]: (row["orders"], row["net"]) for row in rows if row["currency"] == "EUR"}


def test_the_rows_of_every_dimension_sum_to_the_whole(week):
    for dimension in DIMENSIONS:
        rows = [row for row in rows_of(week, f"by={dimension}") if row["currency"] == "EUR"]
        *parts, total = rows

        assert (total[dimension], total["orders"], total["net"]) == ("total", "6", "1000.00"), dimension
        assert sum(Fraction(row["net"]) for row in parts) == 1000, dimension
        if dimension != "category":
            assert total["refunded"] == "120.00", dimension
            assert sum(Fraction(row["refunded"]) for row in parts) == 120, dimension
            assert sum(int(row["orders"]) for row in parts) == 6, dimension


def test_what_nobody_earned_is_a_row_of_its_own(week):
    assert table(week, "by=affiliate") == {
        "Ben Deals": ("3", "800.00"),
        "Anna's Blog": ("1", "100.00"),
        "Unattributed": ("2", "100.00"),
        "total": ("6", "1000.00"),
    }


def test_dimensions_read_as_words(week):
    assert table(week, "by=channel") == {
        "Web shop": ("4", "600.00"),
        "Store till": ("1", "300.00"),
        "App": ("1", "100.00"),
        "total": ("6", "1000.00"),
    }
    assert table(week, "by=category") == {
        "shoes": ("4", "600.00"),
        "hats": ("1", "50.00"),
        "No category": ("2", "350.00"),
        "total": ("6", "1000.00"),
    }
    assert table(week, "by=store")["Berlin till"] == ("1", "300.00")
    assert table(week, "by=store")["No store named"] == ("5", "700.00")
    assert table(week, "by=result")["Being decided"] == ("1", "0.00")
    assert table(week, "by=coupon")["BEN10 + OTHER"] == ("1", "350.00")
    assert table(week, "by=customer")["New customer"] == ("1", "150.00")
    assert table(week, "by=device")["Phone"] == ("1", "300.00")
    assert list(table(week, "by=day")) == ["Thu 19 Nov 2026", "Fri 20 Nov 2026", "Sat 21 Nov 2026", "total"]


def taken_for(world, order_id: str, **customer) -> None:
    """A later decision on an order, as attribution would store it once it knew more of the customer."""
    at = f"{NOON // 1000}.000"
    row = {"tenant_id": NORTH, "order_id": order_id, "revision": 9, "result": "no_touch", "trace": "[]", "inputs_hash": "9"}
    row |= {"ordered_at": f"{(NOON - HOUR) // 1000}.000", "decided_at": at, "stored_at": at} | customer
    world.events.insert_json("decisions", json.dumps(row).encode(), f"taken-{order_id}")


def test_customers_and_segments_are_what_the_decision_took_them_for(week, world):
    with world.books.writing() as connection:
        put(connection, Segment(NORTH, "vips", "Gold members", (Condition("loyalty_tier", ("gold",)),)), "tests", NOON)
    taken_for(world, "O-3", segments=["vips", "firms"], customer_status="lapsed")
    taken_for(world, "O-4", segments=["firms"], customer_status="returning")
    taken_for(world, "O-5", segments=["gone"])

    assert table(week, "by=segment") == {
        "Companies + Gold members": ("1", "300.00"),
        "Companies": ("1", "100.00"),
        "gone": ("1", "350.00"),
        "In no segment": ("3", "250.00"),
        "total": ("6", "1000.00"),
    }
    assert table(week, "by=customer")["Lapsed customer"] == ("1", "300.00")
    assert table(week, "by=customer&segment=firms") == {
        "Lapsed customer": ("1", "300.00"),
        "Returning customer": ("1", "100.00"),
        "total": ("2", "400.00"),
    }
    assert table(week, "by=segment&customer_status=lapsed")["total"] == ("1", "300.00")
    assert week.get("/analyst?segment=bookworms", as_=ADA).status_code == 422


def test_currencies_stand_apart(week):
    rows = [row for row in rows_of(week, "by=channel") if row["currency"] == "USD"]

    assert [(row["channel"], row["orders"], row["net"]) for row in rows] == [("Web shop", "1", "77.00"), ("total", "1", "77.00")]


def test_filters_leave_out_what_does_not_fit(week):
    cases = {
        "channel=pos": "1",
        "affiliate_id=anna": "1",
        "result=pending": "1",
        "result=credited&channel=web": "2",
        "customer_status=returning": "1",
        "store_id=till": "1",
        "programme_id=main": "5",
        "from=2026-11-20&to=2026-11-20": "1",
        "from=2026-11-19&to=2026-11-20": "2",
    }
    for query, orders in cases.items():
        assert table(week, f"by=channel&{query}")["total"][0] == orders, query
    assert rows_of(week, "by=channel&to=2026-11-18") == []


def test_the_page_shows_what_the_file_holds(week):
    page = words_of(week.get("/analyst?by=affiliate", as_=ADA))

    assert "Ben Deals 3 €800.00 €20.00 €780.00" in page
    assert "Unattributed 2 €100.00 €100.00 €0.00" in page
    assert "All EUR 6 €1,000.00 €120.00 €880.00" in page


def test_days_are_drawn_quiet_ones_too(week):
    text = week.get("/analyst?by=day", as_=ADA).text

    assert len(re.findall(r"<title>2026-", text)) == 3 * 30, "two currencies and the orders, 30 days each"
    assert "<title>2026-11-20: 1 order</title>" in text
    assert "<title>2026-11-18: 0 orders</title>" in text


@pytest.mark.parametrize("query", ["from=soon", "from=2026-11-21&to=2026-11-20", "by=colour", "channel=fax", "from=2019-01-01"])
def test_what_cannot_be_asked_is_said_and_nothing_is_guessed(portal, query):
    assert portal.get(f"/analyst?{query}", as_=ADA).status_code == 422
    assert portal.get(f"/analyst/conversions.csv?{query}", as_=ADA).status_code == 422


def test_the_file_runs_no_formulas(portal, world):
    world.sells(order("O-1", lines=(Line("1", 5_00, category='=HYPERLINK("https://evil.example")'),)))

    assert rows_of(portal, "by=category")[0]["category"] == '\'=HYPERLINK("https://evil.example")'


def test_a_report_without_orders_says_so(portal):
    assert "No orders here" in portal.get("/analyst", as_=ADA).text
    assert rows_of(portal, "by=channel") == []


def test_shared_orders_are_split_to_the_last_cent():
    """One order of 10.00 that three affiliates share alike: 3.34, 3.33 and 3.33, as everywhere else in Fairshare."""
    shared = [
        {"key": name, "currency": "EUR", "numerator": 1, "denominator": 3, "orders": 1, "net_minor": 10_00, "refunded_minor": 0}
        for name in ("a", "b", "c")
    ]

    assert [row.net_minor for row in add_up(shared)] == [334, 333, 333]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10**9)), min_size=1, max_size=12))
def test_whole_parts_keep_the_sum(parts):
    exact = [Fraction(net * i, sum(range(1, n + 1))) for n, net in parts for i in range(1, n + 1)]

    assert sum(whole_parts(exact)) == sum(exact)
    assert all(abs(whole - part) < 1 for whole, part in zip(whole_parts(exact), exact, strict=True))
