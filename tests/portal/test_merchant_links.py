"""Click caps: set on a programme and on a link, shown with what the trackers counted and how fresh that is."""

from pathlib import Path

import pytest

from core.catalogue import Link, Programme
from core.clock import DAY
from core.settings import Settings
from portal.app import create_app
from portal.merchant_links import count
from store.catalogue import find
from tests.fakes import NOON
from tests.people import ANNA, MARTHA, NORTH, STELLA
from tests.portal.conftest import Portal, words_of
from tracker.kept import KeptCounts
from tracker.limits import Counts

TODAY = NOON - NOON % DAY
CAPS = {"daily_click_cap": "500", "total_click_cap": "20000", "fallback_url": "https://north.example/sold-out"}


@pytest.fixture
def counting(portal: Portal, sqlite_books, events, clock, runner, tmp_path: Path) -> tuple[Portal, Settings]:
    """A portal that sees two trackers' folders."""
    settings = Settings(data=tmp_path)
    return Portal(create_app(settings, sqlite_books, events, clock), runner), settings


def tell(settings: Settings, counts: Counts) -> None:
    folder = settings.spool / counts.tracker_id
    folder.mkdir(parents=True, exist_ok=True)
    assert KeptCounts(folder).save(counts)


def found(books, kind, *key):
    with books.reading() as connection:
        return find(connection, kind, *key)


def test_a_merchant_caps_a_link_and_takes_the_caps_away(portal, sqlite_books):
    answer = portal.post("/merchant/links/anna-north", CAPS, as_=MARTHA)
    assert (answer.status_code, answer.headers["location"]) == (303, "/merchant/links/anna-north")
    link = found(sqlite_books, Link, "anna-north")
    assert (link.daily_click_cap, link.total_click_cap, link.fallback_url) == (500, 20_000, "https://north.example/sold-out")
    page = words_of(portal.get("/merchant/links", as_=MARTHA))
    assert "Link anna-north 0 of 500 0 of 20,000 Open" in page
    assert "No tracker has counted a click towards a cap yet." in page

    portal.post("/merchant/links/anna-north", dict.fromkeys(CAPS, ""), as_=MARTHA)
    assert found(sqlite_books, Link, "anna-north") == Link("anna-north", NORTH, "main", "anna", "https://north.example/shoes", "Shoes")
    assert "Nothing has a cap" in words_of(portal.get("/merchant/links", as_=MARTHA))


def test_wrong_caps_show_every_fault_and_change_nothing(portal, sqlite_books):
    before = found(sqlite_books, Link, "anna-north")
    wrong = {"daily_click_cap": "many", "total_click_cap": "0", "fallback_url": "https://evil.example/"}
    page = portal.post("/merchant/links/anna-north", wrong, as_=MARTHA)

    assert page.status_code == 422
    for text in ("Please give a whole number from 1 to 1000000000.", "leads to evil.example, which is not on the programme's hosts"):
        assert text in words_of(page)
    assert 'value="many"' in page.text
    assert found(sqlite_books, Link, "anna-north") == before


def test_a_total_below_a_day_is_explained(portal):
    page = portal.post("/merchant/links/anna-north", CAPS | {"total_click_cap": "9"}, as_=MARTHA)
    assert "9 is less than the 500 of a single day" in words_of(page)


def test_a_programmes_caps_stand_among_its_settings(portal, sqlite_books):
    fields = {"name": "North affiliates", "landing_url": "https://north.example/", "hosts": "north.example"} | CAPS
    assert portal.post("/merchant/programmes/main", fields, as_=MARTHA).status_code == 303
    programme = found(sqlite_books, Programme, NORTH, "main")
    assert (programme.daily_click_cap, programme.total_click_cap, programme.fallback_url) == (
        500,
        20_000,
        "https://north.example/sold-out",
    )
    assert 'value="20000"' in portal.get("/merchant/programmes/main", as_=MARTHA).text
    assert "Programme North affiliates 0 of 500 0 of 20,000 Open" in words_of(portal.get("/merchant/links", as_=MARTHA))


def test_an_affiliate_that_renames_a_link_leaves_its_caps(portal, sqlite_books):
    portal.post("/merchant/links/anna-north", CAPS, as_=MARTHA)
    portal.post("/affiliate/links/anna-north", {"name": "Better shoes", **dict.fromkeys(CAPS, "1")}, as_=ANNA)
    link = found(sqlite_books, Link, "anna-north")
    assert (link.name, link.daily_click_cap, link.total_click_cap) == ("Better shoes", 500, 20_000)


def test_the_page_adds_up_what_trackers_counted_and_says_how_fresh_that_is(counting):
    portal, settings = counting
    portal.post("/merchant/links/anna-north", CAPS, as_=MARTHA)
    tell(settings, Counts("t0", NOON - 5_000, TODAY, {"link anna-north": (300, 900)}))
    tell(settings, Counts("t1", NOON - 3_000, TODAY, {"link anna-north": (200, 350), "link ben-north": (7, 7)}))
    tell(settings, Counts("t2", NOON - 9 * DAY, TODAY - 9 * DAY, {"link anna-north": (40, 50)}))

    page = words_of(portal.get("/merchant/links", as_=MARTHA))
    assert "Link anna-north 500 of 500 1,300 of 20,000 Full" in page
    assert "the newest count here is of 21 Nov 2026, 11:59:57 UTC" in page
    assert "Clicks in all 1,300 of 20,000" in words_of(portal.get("/merchant/links/anna-north", as_=MARTHA))


def test_yesterdays_clicks_are_not_todays():
    link = Link("a", NORTH, "main", "anna", "https://north.example/", daily_click_cap=5)
    (cap,) = count([link], [Counts("t0", 1, TODAY - DAY, {"link a": (5, 8)})], NOON)
    assert (cap.today, cap.in_all, cap.is_full) == (0, 8, False)


def test_a_link_is_found_by_its_code_and_anothers_is_not(portal):
    answer = portal.get("/merchant/links?code=ben-north", as_=MARTHA)
    assert (answer.status_code, answer.headers["location"]) == (303, "/merchant/links/ben-north")
    for code in ("charlie-south", "nowhere"):
        page = portal.get(f"/merchant/links?code={code}", as_=MARTHA)
        assert page.status_code == 422
        assert f"There is no link {code} of your programmes." in words_of(page)
    assert portal.get("/merchant/links/charlie-south", as_=STELLA).status_code == 200
