"""The policy page: sentences, history, and a form that never edits a version."""

import pytest

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
    bad = {"effective_from": "soon", "window_click": "0", "place_coupon": "15", "first_bps": "101", "lock_days": "0", "paid_recent": "x"}
    bad |= {"model": "best", "coupon_rule": "share", "segment": "bookworms"}
    page = portal.post(PATH, NEW | bad | {"action": "write"}, as_=MARTHA)

    assert page.status_code == 422
    for field in bad:
        assert f'id="{field}-fault"' in page.text, field
    assert "9 fields need another look." in words_of(page)
    assert len(policies(sqlite_books)) == 1


RULED = {
    "model": "participation",
    "place_click": "1",
    "place_scan": "1",
    "window_scan": "90",
    "unit_scan": "days",
    "introducer_bps": "20",
    "closer_bps": "62.5 %",
    "coupon_rule": "click_wins",
    "guard_exclusive_codes": "no",
    "paid_rule": "unless_recent",
    "paid_media": "CPC, newsletter, cpc",
    "paid_recent": "3",
    "direct_rule": "counts",
    "self_referral": "refuse",
    "min_seconds_to_order": "5",
    "stand_down_minutes": "30",
    "lock_days": "90",
}


def test_every_rule_can_be_written_and_stands_in_the_next_form(portal, sqlite_books):
    assert portal.post(PATH, NEW | RULED | {"action": "write"}, as_=MARTHA).status_code == 303

    written = policies(sqlite_books)[1]
    assert written == Policy(
        "north",
        "main",
        2,
        NOON + 9 * DAY + 12 * HOUR,
        "participation",
        (TouchWindow("click", 168), TouchWindow("scan", 2160, tied=True), TouchWindow("coupon", 0)),
        introducer_bps=2000,
        closer_bps=6250,
        coupon_rule="click_wins",
        guard_exclusive_codes=False,
        paid_rule="unless_recent",
        paid_media=("cpc", "newsletter"),
        paid_recent=3,
        direct_rule="counts",
        self_referral="refuse",
        min_seconds_to_order=5,
        stand_down_minutes=30,
        lock_days=90,
    )
    page = portal.get(PATH, as_=MARTHA).text
    for shown in (
        'name="closer_bps" type="text" autocomplete="off" value="62.5"',
        'value="participation" checked',
        'value="cpc, newsletter"',
    ):
        assert shown in page
    assert page.count('<details class="group" open>') == 4


def test_rules_that_do_not_fit_one_another_are_told_at_their_field(portal, sqlite_books):
    wrong = {"first_bps": "60", "last_bps": "50", "coupon_rule": "split", "place_coupon": ""}
    page = portal.post(PATH, NEW | wrong | {"action": "write"}, as_=MARTHA)

    assert page.status_code == 422
    assert "This and first are more than 100 % together." in words_of(page)
    assert "'split' settles coupon against click, so the policy must list both classes." in words_of(page)
    assert len(policies(sqlite_books)) == 1


def test_orders_of_a_segment_have_a_policy_of_their_own_beside_everybodys(portal):
    portal.post(PATH, NEW | {"effective_from": "", "segment": "firms", "place_coupon": "", "action": "write"}, as_=MARTHA)
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "In force for Companies Version 2, for orders from 21 Nov 2026, 12:00" in page
    assert "In force for every other order Version 1, for orders from 17 Oct 2025" in page
    assert "Version 2 In force Companies: orders from 21 Nov 2026, 12:00" in page
    assert "Version 1 In force orders from 17 Oct 2025" in page
    assert "Version 2" not in words_of(portal.get("/merchant/programmes/main", as_=MARTHA)).partition("What it pays")[0]


def test_the_draft_can_be_tried_on_past_orders(portal):
    page = portal.get(PATH, as_=MARTHA).text

    assert '<button class="quiet" name="action" value="try" formaction="/merchant/replay">' in page
    assert '<input type="hidden" name="programme_id" value="main">' in page


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


@pytest.mark.parametrize("action", [{}, {"action": ""}, {"action": "try"}, {"action": "Write"}])
def test_a_version_is_written_only_where_the_action_says_so(portal, sqlite_books, action):
    page = portal.post(PATH, NEW | action, as_=MARTHA)

    assert (page.status_code, "Read back: this is what you wrote" in words_of(page)) == (200, True)
    assert len(policies(sqlite_books)) == 1


def test_a_programme_without_a_policy_shows_the_default(portal):
    portal.post("/merchant/programmes", {"programme_id": "bare", "name": "Bare", "landing_url": "https://north.example/b"}, as_=MARTHA)
    page = words_of(portal.get("/merchant/programmes/bare/policy", as_=MARTHA))

    assert "The default policy, until you write one A coupon of the affiliate earns the whole credit" in page
