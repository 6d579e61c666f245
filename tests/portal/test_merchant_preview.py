"""A draft tried on past orders, on the rate card's page: figures that a person can check, bounded, and nothing written."""

import threading

import msgspec
import pytest
from sqlalchemy import func, select

from core.catalogue import RateCard, Rule
from core.errors import Conflict
from payouts.simulate import Paid, Row, Simulation
from portal import merchant_preview
from portal.merchant_preview import changes_of, parts_of, reasons_of
from store.schema import metadata
from tests.fakes import NOON
from tests.people import CHARLIE, MARTHA
from tests.portal.conftest import click, order, words_of

PATH = "/merchant/programmes/main/rates"
DRAFT = {"hold_days": "30", "effective_from": "2026-12-01T00:00", "rule_id_0": "all", "percent_0": "20", "action": "preview"}


def row_counts(books):
    with books.reading() as connection:
        return {table.name: connection.scalar(select(func.count()).select_from(table)) for table in metadata.sorted_tables}


@pytest.fixture
def sold(world):
    """An order of anna's, booked at 10 %."""
    world.sells(click("c-1", "anna", visitor="v-1"), order("A-1", visitor="v-1"))


def test_a_draft_says_what_it_would_have_cost_and_writes_nothing(portal, sold, sqlite_books):
    before = row_counts(sqlite_books)
    page = words_of(portal.post(PATH, DRAFT, as_=MARTHA))

    assert "1 order with 1 line, placed from" in page
    assert "Cost in EUR" in page
    assert "Would have earned more, EUR" in page
    assert "Everything pays 20 % of the net price 1" in page
    assert "Earned 1 100 % 1 100 %" in page
    assert row_counts(sqlite_books) == before


def test_nobody_else_may_try_it(portal):
    assert portal.post(PATH, DRAFT, as_=CHARLIE).status_code == 404


def test_a_page_takes_the_newest_orders_alone_and_says_so(portal, world, sold, monkeypatch):
    world.sells(click("c-2", "anna", visitor="v-2"), order("A-2", NOON - 30_000, visitor="v-2"))
    monkeypatch.setattr(merchant_preview, "MOST_ORDERS", 1)

    page = words_of(portal.post(PATH, DRAFT, as_=MARTHA))
    assert "1 order with 1 line" in page
    assert "These are the newest 1 of 2" in page


def test_no_more_are_tried_at_once_than_the_site_takes(sqlite_books, events, monkeypatch):
    monkeypatch.setattr(merchant_preview, "_AT_ONCE", threading.BoundedSemaphore(1))
    with merchant_preview._AT_ONCE, pytest.raises(Conflict, match="try again in a minute"):
        merchant_preview._try(sqlite_books, events, "north", RateCard("north", "main", 1, 0, 30, ()), NOON, 90)


FOUND = Simulation(
    "north",
    0,
    NOON,
    ("main",),
    orders=3,
    rows=(
        *(Row(f"up{number:02}", "EUR", 0, number, 1, 1) for number in range(1, 13)),
        Row("down", "EUR", 10_00, 1_00, 1, 1),
        Row("same", "EUR", 5, 5, 1, 1),
        Row("yen", "JPY", 5, 0, 1, 0),
    ),
    paid=(
        Paid("main", "recruiters", "1", "EUR", 1, 50),
        Paid("main", "rule", "all", "EUR", 2, 70),
        Paid("main", "bonus", "club", "EUR", 1, 60),
    ),
    outcomes={"earned": (2, 1), "no_rule": (0, 1), "test": (1, 1)},
)


def test_winners_and_losers_come_by_what_they_win_and_lose():
    euro, yen = changes_of(FOUND)

    assert [row.affiliate_id for row in euro.winners] == [f"up{number:02}" for number in range(12, 2, -1)]
    assert ([row.affiliate_id for row in euro.losers], euro.more) == (["down"], 2)
    assert (euro.before_minor, euro.after_minor, euro.difference_minor) == (10_05, 1_83, -8_22)
    assert (yen.winners, [row.affiliate_id for row in yen.losers]) == ([], ["yen"])


def test_each_part_of_the_draft_has_its_words():
    draft = RateCard("north", "main", 1, 0, 30, (Rule("all", percent_bps=500),))

    assert [part.words for part in parts_of(FOUND, draft, "EUR")] == [
        "Everything pays 5 % of the net price",
        "Bonus club",
        "Recruiters, level 1",
    ]


def test_outcomes_sum_to_a_hundred_percent_before_and_after():
    reasons = reasons_of(FOUND)

    assert sum(one.before_bps for one in reasons) == sum(one.after_bps for one in reasons) == 100_00
    assert msgspec.structs.astuple(reasons[0]) == ("earned", 2, 1, 66_67, 33_34)
