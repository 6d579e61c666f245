"""The analyst's comparison of models: sums, names, the picture and its words, and what is asked."""

import csv
import re
from fractions import Fraction

import pytest

from core.clock import DAY, HOUR
from core.events import Line
from portal import analyst_models
from portal.analyst_models import NAMES
from tests.fakes import NOON
from tests.people import ADA, MARTHA, SOUTH
from tests.portal.conftest import click, order, words_of


@pytest.fixture
def month(portal, world):
    """Anna, then Ben, then an order of 100.00; Ben alone and one of 50.01; nobody and one of 30.00; a visitor of Ben buys nothing."""
    world.sells(
        click("a1", "anna", at=NOON - 3 * DAY, visitor="v"),
        click("b1", "ben", at=NOON - DAY, visitor="v"),
        click("b2", "ben", at=NOON - DAY, visitor="w", channel="app"),
        click("b3", "ben", at=NOON - DAY, visitor="stranger"),
        click("c1", "charlie", at=NOON - DAY, visitor="v", tenant=SOUTH),
        order("O-1", at=NOON - HOUR, visitor="v"),
        order("O-2", at=NOON - HOUR, visitor="w", lines=(Line("1", 50_01),)),
        order("O-3", at=NOON - HOUR, visitor="x", lines=(Line("1", 30_00),)),
        order("T-1", at=NOON - HOUR, visitor="v", test=True),
        order("S-1", at=NOON - HOUR, visitor="v", tenant=SOUTH),
    )
    return portal


def rows_of(portal, query: str = "") -> list[dict[str, str]]:
    answer = portal.get(f"/analyst/models.csv?{query}", as_=ADA)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(answer.text.splitlines()))


def table(portal, model: str, by: str = "affiliate", query: str = "") -> dict[str, tuple[float, str]]:
    rows = rows_of(portal, query)
    return {row["name"]: (float(row["conversions"]), row["value"]) for row in rows if (row["model"], row["by"]) == (model, by)}


def test_models_share_the_same_orders_in_their_own_way(month) -> None:
    assert (
        table(month, "as_decided")
        == table(month, "last")
        == {"Anna's Blog": (0, "0.00"), "Ben Deals": (2, "150.01"), "Unattributed": (1, "30.00")}
    )
    assert table(month, "first") == {"Anna's Blog": (1, "100.00"), "Ben Deals": (1, "50.01"), "Unattributed": (1, "30.00")}
    assert table(month, "linear")["Anna's Blog"] == (0.5, "50.00")
    assert table(month, "last", by="channel") == {"Web shop": (1, "100.00"), "App": (1, "50.01"), "Unattributed": (1, "30.00")}


def test_every_model_sums_to_the_orders_of_the_period(month) -> None:
    rows = rows_of(month)
    for model in NAMES:
        for by in ("affiliate", "channel"):
            column = [row for row in rows if (row["model"], row["by"]) == (model, by)]
            assert sum(Fraction(row["value"]) for row in column) == Fraction("180.01"), (model, by)
            assert abs(sum(float(row["conversions"]) for row in column) - 3) < 1e-5, (model, by)


def test_visitors_who_buy_nothing_count_for_markov_where_they_are_asked_for(month) -> None:
    """Effects are 1/2 and 1 over walks that all buy, 1/3 and 1 where one in three does not."""
    assert table(month, "markov", query="nulls=leave")["Anna's Blog"][0] == pytest.approx(2 / 3, abs=1e-6)
    assert table(month, "markov")["Anna's Blog"][0] == pytest.approx(1 / 2, abs=1e-6)


def test_the_page_shows_models_picture_paths_and_times(month) -> None:
    page = month.get("/analyst/models", as_=ADA)
    words = words_of(page)

    assert page.status_code == 200
    for text in (*NAMES.values(), "Value in EUR by affiliate", "Value in EUR by channel", "150.01", "180.01"):
        assert text in words, text
    assert "Anna's Blog → then Ben Deals" in words
    assert "Affiliates that met the same customers" in words
    assert "Anna's Blog and Ben Deals" in words
    assert re.search(r"1 to 3 days\s+1\b", words)


def test_the_picture_can_be_scrolled_by_keyboard_and_has_its_numbers_as_a_table(month) -> None:
    text = month.get("/analyst/models", as_=ADA).text

    assert re.search(r'<div class="scroller" tabindex="0" role="group" aria-label="[^"]+">', text)
    assert "<title>Anna&#39;s Blog → Ben Deals: 1 order</title>" in text
    assert re.search(r"<td>Before that</td><td>Anna&#39;s Blog</td><td>Ben Deals</td><td class=\"number\">1</td>", text)


def test_orders_instead_of_value(month) -> None:
    words = words_of(month.get("/analyst/models?figure=orders&order=2", as_=ADA))

    assert "Orders by affiliate" in words
    assert "0.5" in words


def test_a_period_is_days_both_included(month) -> None:
    assert rows_of(month, "from=2020-01-01&to=2020-01-02") == []
    assert "No orders here" in words_of(month.get("/analyst/models?from=2020-01-01&to=2020-01-02", as_=ADA))


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("from=2026-11-02&to=2026-11-01", "The first day must not lie after the last"),
        ("from=yesterday", "Please give a date"),
        ("order=4", "Please choose one of the list"),
        ("figure=clicks", "Please choose one of the list"),
        ("nulls=maybe", "Please choose one of the list"),
    ],
)
def test_what_cannot_be_asked_is_said(portal, query: str, fault: str) -> None:
    page = portal.get(f"/analyst/models?{query}", as_=ADA)

    assert page.status_code == 422
    assert fault in words_of(page)
    assert portal.get(f"/analyst/models.csv?{query}", as_=ADA).status_code == 422


def test_too_many_orders_for_a_page(month, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyst_models, "MOST_ORDERS", 2)
    page = month.get("/analyst/models", as_=ADA)

    assert page.status_code == 422
    assert "more than 2 orders" in words_of(page)
    assert month.get("/analyst/models.csv", as_=ADA).status_code == 422


def test_only_analysts_compare(portal) -> None:
    assert portal.get("/analyst/models", as_=MARTHA).status_code == 404
