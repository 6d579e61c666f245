"""Try a policy: from the form to the difference, and from the difference to the books."""

import re
import threading

import pytest

from core.clock import DAY, HOUR
from core.errors import Conflict
from portal.workshop import Workshop
from store.replays import Replay, add_replay, find_replay
from tests.fakes import NOON
from tests.people import ADA, ANNA, MARTHA, NORTH, SOUTH, STELLA
from tests.portal.conftest import click, order, words_of

PERIOD = {"from": "2026-11-01", "to": "2026-11-19"}
DRAFT = {"model": "first", "place_click": "1", "window_click": "30", "unit_click": "days", "place_coupon": "", "place_impression": ""}


@pytest.fixture
def sold(portal, world):
    """Anna first and Ben last, for 100.00 at 10 %."""
    at = NOON - 5 * DAY
    world.sells(click("a", "anna", at - 2 * HOUR, "v"), click("b", "ben", at - HOUR, "v"), order("O-1", at, "v"))
    return portal


def started(portal, fields=None, who=MARTHA):
    """Begin a trial and wait for its end; returns its address."""
    answer = portal.post("/merchant/replay", PERIOD | (fields or DRAFT), as_=who)
    assert answer.status_code == 303, words_of(answer)
    address = answer.headers["location"]
    portal.app.state.workshop.wait(who.tenant_id, address.rpartition("/")[2], 20)
    return address


def fingerprint(page):
    return re.search(r'name="fingerprint" value="([0-9a-f]{64})"', page.text)[1]


def test_a_draft_is_read_back_and_asked_for_its_period(sold):
    page = sold.post("/merchant/replay", {"programme_id": "main"} | DRAFT, as_=MARTHA)

    assert page.status_code == 200
    assert "What is tried Your draft; it is not saved" in words_of(page)
    assert 'type="hidden" name="model" value="first"' in page.text
    assert 'name="from" type="date"' in page.text


def test_a_draft_with_faults_is_not_tried(sold):
    page = sold.post("/merchant/replay", PERIOD | DRAFT | {"window_click": "soon"}, as_=MARTHA)

    assert page.status_code == 422
    assert "The draft needs another look" in words_of(page)


@pytest.mark.parametrize(
    ("period", "says"),
    [
        ({"from": "2026-11-10", "to": "2026-11-01"}, "The first day must not lie after the last"),
        ({"from": "2026-11-30", "to": "2026-12-01"}, "This day has not come yet"),
        ({"from": "2020-01-01", "to": "2026-11-01"}, "At most 400 days back"),
        ({"from": "2026-11-01", "to": ""}, "Please fill this in"),
        ({"from": "2026-11-01", "to": "9999-12-31"}, "At most 400 days ahead"),
    ],
)
def test_a_period_that_cannot_be_tried_is_asked_again(sold, period, says):
    page = sold.post("/merchant/replay", DRAFT | period, as_=MARTHA)

    assert page.status_code == 422
    assert says in words_of(page)
    assert 'type="hidden" name="model" value="first"' in page.text


def test_the_difference_is_shown_with_why_and_nothing_is_written(sold, world):
    page = sold.get(started(sold), as_=MARTHA)
    text = words_of(page)

    assert "1 Come out differently" in text or "Come out differently 1" in text
    assert "+€10.00" in text
    assert "-€10.00" in text
    assert "Anna's Blog" in text
    assert "O-1" in text
    assert "Refresh" not in page.headers
    assert "version 2 for orders from 1 Nov 2026" in text
    assert "€10.00" in words_of(sold.get("/orders/O-1", as_=MARTHA))
    assert "Credited to Ben Deals" in words_of(sold.get("/orders/O-1", as_=MARTHA))


def test_a_version_may_be_tried_and_changes_nothing_where_it_is_in_force(sold):
    text = words_of(sold.get(started(sold, {"version": "1"}), as_=MARTHA))

    assert "No order comes out differently" in text
    assert "Apply it" not in text


@pytest.mark.parametrize("ask", ["get", "post"])
def test_without_a_version_the_newest_is_tried_and_chosen(portal, ask):
    portal.post("/merchant/programmes/main/policy", DRAFT | {"action": "write"}, as_=MARTHA)
    page = portal.get("/merchant/replay", as_=MARTHA) if ask == "get" else portal.post("/merchant/replay", as_=MARTHA)

    assert "What is tried Version 2 The first click within 30 days" in words_of(page)
    assert re.search(r'<option value="2" selected>', page.text)
    assert "What is tried Version 1 " in words_of(portal.get("/merchant/replay?version=1", as_=MARTHA))


def test_where_there_is_no_version_the_default_is_tried(portal):
    portal.post("/merchant/programmes", {"programme_id": "bare", "name": "Bare", "landing_url": "https://north.example/b"}, as_=MARTHA)
    page = portal.get("/merchant/replay?programme_id=bare", as_=MARTHA)

    assert "What is tried The policy as it is by default" in words_of(page)
    assert 'name="version"' not in page.text


def test_applying_needs_the_difference_that_was_shown(sold, world):
    address = started(sold)
    assert sold.post(f"{address}/apply", as_=MARTHA).status_code == 409
    assert sold.post(f"{address}/apply", {"fingerprint": "0" * 64}, as_=MARTHA).status_code == 409

    shown = fingerprint(sold.get(address, as_=MARTHA))
    assert sold.post(f"{address}/apply", {"fingerprint": shown}, as_=MARTHA).status_code == 303
    world.clock.advance(HOUR)
    world.engine_runs()

    assert "Credited to Anna's Blog" in words_of(sold.get("/orders/O-1", as_=MARTHA))
    assert f"By {MARTHA.user_id}" in words_of(sold.get(address, as_=MARTHA))
    assert sold.post(f"{address}/apply", {"fingerprint": shown}, as_=MARTHA).status_code == 409


def test_a_difference_that_is_out_of_date_is_not_applied(sold, world):
    address = started(sold)
    shown = fingerprint(sold.get(address, as_=MARTHA))
    world.happens(click("late", "anna", NOON - 5 * DAY - 60_000, "v"))

    refused = sold.post(f"{address}/apply", {"fingerprint": shown}, as_=MARTHA)
    assert refused.status_code == 409
    assert "replay it again" in words_of(refused)


def test_a_replay_at_work_shows_how_far_it_is_and_can_be_stopped(sold, world):
    """Another process works on it: it has moved a moment ago."""
    with world.books.writing() as connection:
        add_replay(connection, _running(NOON))
    page = sold.get("/merchant/replays/elsewhere", as_=MARTHA)
    assert "Deciding again: 3 of 10 orders" in words_of(page)
    assert page.headers["Refresh"] == "2"

    assert sold.post("/merchant/replays/elsewhere/stop", as_=MARTHA).status_code == 303
    with world.books.reading() as connection:
        assert find_replay(connection, NORTH, "elsewhere").state == "stopped"
    page = sold.get("/merchant/replays/elsewhere", as_=MARTHA)
    assert "It was interrupted after 3 of 10 orders" in words_of(page)
    assert "Refresh" not in page.headers


def test_a_replay_whose_process_died_offers_to_go_on(sold, world):
    with world.books.writing() as connection:
        add_replay(connection, _running(NOON - HOUR))

    assert "Go on" in words_of(sold.get("/merchant/replays/elsewhere", as_=MARTHA))


def _running(moved_at):
    asked = {"tenant_id": NORTH, "replay_id": "elsewhere", "fingerprint": "f", "from_at": NOON - DAY, "to_at": NOON, "policies": []}
    kept = {"after": "O-3", "total": 10, "tally": {"orders": 3}, "moved_at": moved_at, "requested_by": "", "requested_at": moved_at}
    return Replay(**asked, **kept, state="running")


def test_trials_are_listed_and_are_the_tenants_alone(sold):
    address = started(sold)

    assert address in sold.get("/merchant/replays", as_=MARTHA).text
    assert address not in sold.get("/merchant/replays", as_=STELLA).text
    assert sold.get(address, as_=STELLA).status_code == 404
    assert sold.post(f"{address}/stop", as_=STELLA).status_code == 404
    for who in (ADA, ANNA):
        assert sold.get(address, as_=who).status_code == 404


def test_a_programme_of_another_is_not_found(sold):
    assert sold.get("/merchant/replay?programme_id=collectors", as_=MARTHA).status_code == 404
    assert sold.post("/merchant/replay", {"programme_id": "collectors"} | DRAFT | PERIOD, as_=MARTHA).status_code == 404
    assert sold.get("/merchant/replay?programme_id=main&version=77", as_=MARTHA).status_code == 404


# --- the workshop ----------------------------------------------------------------------------------------------------


def test_work_is_bounded_and_ends_when_told():
    workshop, began = Workshop(most=2), threading.Semaphore(0)

    def work(stop):
        began.release()
        stop.wait(20)

    workshop.start(NORTH, "one", work)
    workshop.start(NORTH, "one", work)
    with pytest.raises(Conflict, match="another replay of yours"):
        workshop.start(NORTH, "two", work)
    workshop.start(SOUTH, "one", work)
    with pytest.raises(Conflict, match="as many replays as this site takes"):
        workshop.start("east", "one", work)
    assert began.acquire(timeout=5)
    assert began.acquire(timeout=5)
    assert not began.acquire(blocking=False)

    workshop.stop(NORTH, "one")
    workshop.wait(NORTH, "one", 5)
    assert not workshop.is_at_work(NORTH, "one")
    assert workshop.is_at_work(SOUTH, "one")
    workshop.close()
    assert not workshop.is_at_work(SOUTH, "one")


def test_work_that_fails_makes_room():
    workshop = Workshop(most=1)
    workshop.start(NORTH, "one", lambda _stop: 1 / 0)
    workshop.wait(NORTH, "one", 5)
    assert not workshop.is_at_work(NORTH, "one")
