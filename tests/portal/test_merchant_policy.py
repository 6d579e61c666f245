"""The policy page: sentences, history, and a form that never edits a version."""

from core.catalogue import Policy, TouchWindow
from core.clock import DAY, HOUR
from store.catalogue import policies_of
from tests.fakes import NOON
from tests.people import MARTHA
from tests.portal.conftest import words_of

PATH = "/merchant/programmes/main/policy"
NEW = {
    "effective_from": "2026-12-01T00:00",
    "place_click": "1",
    "window_click": "7",
    "unit_click": "days",
    "place_impression": "",
    "window_impression": "24",
    "unit_impression": "hours",
    "place_coupon": "2",
}


def policies(books):
    with books.reading() as connection:
        return policies_of(connection, "north", "main")


def test_each_rule_of_the_policy_in_force_is_one_sentence(portal):
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "A coupon of the affiliate earns the whole credit: it wins over any click or ad view." in page
    assert (
        "The last click within 30 days before the order earns the whole credit, where there is no coupon: it wins over any ad view." in page
    )


def test_a_new_version_is_added_and_the_old_one_stays(portal, sqlite_books):
    (before,) = policies(sqlite_books)
    answer = portal.post(PATH, NEW | {"action": "write"}, as_=MARTHA)

    assert answer.status_code == 303
    assert policies(sqlite_books) == (
        before,
        Policy("north", "main", 2, NOON + 9 * DAY + 12 * HOUR, classes=(TouchWindow("click", 168), TouchWindow("coupon", 0))),
    )
    page = words_of(portal.get(PATH, as_=MARTHA))
    assert "Version 2 was written" in words_of(portal.get(PATH, as_=MARTHA, cookies={"fs_notice": "Version 2 was written"}))
    assert "Version 2 Planned orders from 1 Dec 2026, 00:00 The last click within 7 days" in page


def test_all_faults_come_at_once_and_nothing_is_written(portal, sqlite_books):
    bad = {"effective_from": "soon", "window_click": "0", "place_coupon": "1", "place_impression": "9"}
    page = portal.post(PATH, NEW | bad | {"action": "write"}, as_=MARTHA)

    assert page.status_code == 422
    for field in bad:
        assert f'id="{field}-fault"' in page.text, field
    assert len(policies(sqlite_books)) == 1


def test_a_version_may_not_begin_in_the_past(portal, sqlite_books):
    page = portal.post(PATH, NEW | {"effective_from": "2026-11-21T11:59", "action": "write"}, as_=MARTHA)

    assert page.status_code == 422
    assert "This lies in the past, where orders keep their version." in words_of(page)
    assert len(policies(sqlite_books)) == 1


def test_the_policy_can_be_read_back_without_writing_it(portal, sqlite_books):
    page = portal.post(PATH, NEW | {"action": "check"}, as_=MARTHA)

    assert "Read back: this is what you wrote The last click within 7 days before the order" in words_of(page)
    assert "Ad views earn nothing." in words_of(page)
    assert len(policies(sqlite_books)) == 1


def test_a_programme_without_a_policy_shows_the_default(portal):
    portal.post("/merchant/programmes", {"programme_id": "bare", "name": "Bare", "landing_url": "https://north.example/b"}, as_=MARTHA)
    page = words_of(portal.get("/merchant/programmes/bare/policy", as_=MARTHA))

    assert "The default policy, until you write one A coupon of the affiliate earns the whole credit" in page
