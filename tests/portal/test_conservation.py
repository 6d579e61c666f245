"""The conservation page: the tenant's own hours, counted once for everybody, with its age, and never a wrong zero."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import DAY, HOUR, MINUTE
from core.errors import Unavailable
from core.events import Event, encode_event
from core.settings import Settings
from portal.app import create_app
from portal.conservation import NAMED, ROWS, Counted, Counts, chart_of, says, verdict_of
from store.events import EventsStore, Query
from tests.fakes import NOON, FakeClock
from tests.people import ADA, ANNA, FRANK, MARTHA, STELLA
from tests.portal.conftest import Portal, click, words_of
from tracker.conservation import Account, Row
from tracker.drain import Drain
from tracker.spool import frame

PATH = "/merchant/conservation"


class House:
    """A portal beside a spool: what trackers wrote, and what was drained."""

    def __init__(self, settings: Settings, portal: Portal, events: EventsStore, clock: FakeClock) -> None:
        self.settings, self.portal, self.events, self.clock = settings, portal, events, clock

    def receives(self, *happened: Event | bytes) -> None:
        folder = self.settings.spool / "t0"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{(NOON - DAY) * 1000:020d}.log").open("ab") as file:
            file.writelines(one if isinstance(one, bytes) else frame(encode_event(one)) for one in happened)
        (folder / "counters.json").write_text(
            '{"tracker_id":"t0","started_at":0,"written_at":0,"totals":{},"bad_requests":{},"unrecorded":[]}', "utf-8"
        )

    def drains(self) -> None:
        with Drain(self.settings, self.events, self.clock) as drain:
            while drain.step().records:
                pass

    def page(self, path: str = PATH, as_=MARTHA) -> str:
        answer = self.portal.get(path, as_=as_)
        assert answer.status_code == 200
        return words_of(answer)


@pytest.fixture
def house(portal: Portal, sqlite_books, events: EventsStore, clock: FakeClock, tmp_path: Path) -> Iterator[House]:
    settings = Settings(data=tmp_path)
    app = create_app(settings, sqlite_books, events, clock)
    portal.app = app
    yield House(settings, portal, events, clock)
    if thread := app.state.counts._thread:
        thread.join()


def test_a_merchant_reads_that_every_event_is_accounted_for(house):
    house.receives(*(click(f"c{n}", "anna", at=NOON - 3 * DAY + n * HOUR) for n in range(3)), click("now", "anna", at=NOON - HOUR))
    house.drains()
    house.receives(click("new", "anna", at=NOON))
    page = house.page()

    assert "Balanced Every event of the last 3 days is accounted for" in page
    assert "As of 21 Nov 2026, 12:00:00" in page
    assert "Received 5 as the trackers wrote them down Stored 4 each counted once" in page
    newest = page.index("21 Nov 2026, 12:00 1 0 0 1 0 Yes")
    assert newest < page.index("21 Nov 2026, 11:00 1 1 0 0 0 Yes") < page.index("18 Nov 2026, 12:00 1 1 0 0 0 Yes")
    assert "Every event of the last 3 days is accounted for" in house.page("/analyst/conservation", ADA)


def test_what_is_missing_is_named_with_its_hour(house):
    house.receives(click("a", "anna", at=NOON - 2 * DAY), click("b", "anna"), click("c", "anna"))
    house.drains()
    house.events.command("DELETE FROM touches WHERE occurred_at > toDateTime64('2026-11-21 00:00:00', 3, 'UTC')")
    page = house.page()

    assert "Not balanced 1 hour is not accounted for" in page
    assert "21 Nov 2026, 11:00 to 21 Nov 2026, 12:00 : 2 events missing." in page
    assert "is accounted for" not in page
    assert "fairshare conserve --tenant north" in page


def test_each_merchant_sees_its_own_hours_only(house):
    house.receives(click("a", "anna"), click("s", "charlie", tenant="south"), click("t", "charlie", tenant="south"), b"garbage\n")
    house.drains()

    assert "Received 1 as" in house.page()
    assert "Received 2 as" in house.page(as_=STELLA)
    for who in (ANNA, FRANK):
        assert house.portal.get(PATH, as_=who).status_code == 404
    assert house.portal.get("/analyst/conservation", as_=MARTHA).status_code == 404


def test_one_count_serves_everybody_for_a_minute_and_says_its_age(house):
    house.receives(click("a", "anna"))
    house.drains()
    assert "Received 1 as" in house.page()
    house.receives(click("b", "anna"))

    house.clock.advance(MINUTE - 1)
    assert "Received 1 as" in house.page()
    assert "As of 21 Nov 2026, 12:00:00" in house.page(as_=STELLA)
    house.clock.advance(1)
    page = house.page()
    assert "Received 2 as" in page
    assert "As of 21 Nov 2026, 12:01:00" in page


def test_where_the_spool_is_not_in_sight_the_page_says_so_instead_of_showing_zeros(house, world):
    world.happens(click("a", "anna"))
    page = house.page()

    assert "This portal cannot say" in page
    assert "fairshare conserve --tenant north" in page
    assert "Received" not in page
    assert "accounted for" not in page


def test_an_installation_that_received_nothing_yet(house):
    assert "Nothing was received yet" in house.page()


def test_a_fault_that_no_hour_shows_is_told_to_merchants_without_its_particulars(house):
    house.receives(click("a", "anna"))
    house.drains()
    (house.settings.spool / "t0" / "counters.json").write_text("{", "utf-8")
    page = house.page()

    assert "found a fault that no hour shows" in page
    assert "Not balanced" in page
    assert "t0" not in page


def test_older_hours_are_on_further_pages_newest_first(house):
    house.receives(*(click(f"c{n}", "anna", at=NOON - n * HOUR) for n in range(ROWS + 3)))
    house.drains()
    first = house.portal.get(PATH, as_=MARTHA)
    assert "Newer" not in words_of(first)
    older = first.text.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    second = house.page(older)

    assert words_of(first).count(" Yes") == ROWS
    assert second.count(" Yes") == 3
    assert "Newer" in second
    assert house.page(f"{PATH}?before=nonsense").count(" Yes") == ROWS


# --- the count behind it ---------------------------------------------------------------------------------------------


class Slow(EventsStore):
    """Answers nothing until it may."""

    def __init__(self, fault: str = "") -> None:
        self.may = threading.Event()
        self.asked = 0
        self.fault = fault

    def select(self, query: Query, **params: object) -> list[tuple[object, ...]]:
        self.asked += 1
        assert self.may.wait(10)
        if self.fault:
            raise Unavailable(self.fault)
        return []


def counts(tmp_path: Path, events: EventsStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Counts:
    monkeypatch.setattr("portal.conservation.PATIENCE_S", 0.05)
    return Counts(Settings(data=tmp_path), events, clock)


def test_nobody_waits_long_for_the_first_count_and_only_one_is_made(tmp_path, clock, monkeypatch):
    slow = Slow()
    asked = counts(tmp_path, slow, clock, monkeypatch)

    assert [asked.latest() for _ in range(3)] == [None, None, None]
    slow.may.set()
    asked._thread.join() if asked._thread else None
    assert asked.latest() == Counted(Account([], [], 0, sees_spool=False), NOON, 0)
    assert slow.asked == 2, "one count, which asks two questions"


def test_a_store_that_does_not_answer_is_said_and_an_older_count_stays(tmp_path, clock, monkeypatch):
    broken = Slow("the events store is away")
    broken.may.set()
    asked = counts(tmp_path, broken, clock, monkeypatch)
    with pytest.raises(Unavailable, match="away"):
        asked.latest()

    broken.fault = ""
    before = asked.latest()
    assert before is not None
    broken.fault = "the events store is away again"
    clock.advance(10 * MINUTE)
    assert asked.latest() == before


def test_a_count_that_takes_long_is_made_less_often(tmp_path, clock, monkeypatch):
    slow = Slow()
    asked = counts(tmp_path, slow, clock, monkeypatch)
    asked.latest()
    clock.advance(MINUTE)
    slow.may.set()
    asked._thread.join()
    clock.advance(18 * MINUTE)

    assert asked.latest().at == NOON
    clock.advance(MINUTE)
    assert asked.latest().at == NOON + 20 * MINUTE


# --- words -----------------------------------------------------------------------------------------------------------


def row(hour: int, received: int = 1, difference: int = 0, altered: bool = False) -> Row:
    return Row("north", hour, received, received - difference, 0, 0, 0, 0, difference, altered)


def test_an_hour_says_whether_it_adds_up():
    assert [says(row(NOON, 2, difference)) for difference in (0, 1, 2, -1, -1200)] == [
        "Yes", "1 event missing", "2 events missing", "1 event too many", "1,200 events too many"
    ]  # fmt: skip
    assert says(row(NOON, altered=True)) == "Altered"


def test_the_sentence_never_promises_more_days_than_were_counted():
    def sentence(first: int, complete_from: int = 0) -> str:
        return verdict_of(Counted(Account([], [], complete_from), NOON, 0), [row(first)]).title

    assert sentence(NOON - HOUR) == "Every event is accounted for"
    assert sentence(NOON - DAY) == "Every event of the last 1 day is accounted for"
    assert sentence(NOON - 7 * DAY + 1) == "Every event of the last 6 days is accounted for"
    assert sentence(NOON - 7 * DAY, NOON - 2 * DAY) == "Every event of the last 2 days is accounted for"


def test_the_chart_shows_a_week_at_most_and_what_is_off_only_where_something_is():
    calm = chart_of([row(NOON - 30 * DAY), row(NOON - 2 * HOUR, 7)], NOON + MINUTE)
    assert len(calm.plots) == 1
    assert len(calm.plots[0].marks) == 168
    assert calm.plots[0].marks[-3].text == "7 events"

    off = chart_of([row(NOON - HOUR, altered=True), row(NOON, difference=-3)], NOON)
    assert [plot.total for plot in off.plots] == ["2", "4"]
    assert NAMED < ROWS
