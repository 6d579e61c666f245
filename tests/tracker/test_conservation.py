"""Received = stored + bad + pending + unrecorded; and what breaks the sum shows."""

import os
from pathlib import Path

import msgspec
import pytest

from core.clock import DAY, HOUR, SECOND
from core.errors import Unavailable
from core.events import Event, Lead, Line, Order, Refund, Touch, encode_event
from core.settings import Settings
from store.events import EventsStore
from tests.fakes import NOON, FakeClock
from tracker.conservation import Census, Row, conservation, totals
from tracker.counters import CountersFile, Loss, Totals, write_counters
from tracker.drain import Drain
from tracker.spool import frame, own_folder

FIRST, NEXT = f"{NOON * 1000:020d}.log", f"{NOON * 1000 + 9:020d}.log"
AGENT = "Mozilla/5.0 (X11) Gecko/1 Firefox/1"


def click(number: int, at: int = NOON, tenant_id: str = "north") -> Touch:
    return Touch(f"T{number}", "click", tenant_id, "main", "anna", "a1", at, at, user_agent=AGENT)


def order(number: int, at: int = NOON) -> Order:
    return Order(f"O{number}", "north", f"N-{number}", "EUR", at, at, lines=(Line("1", 10_00),), visitor_id="V1", customer_keys=("em:1",))


def write(where: Settings, *records: Event | bytes, tracker: str = "t0", segment: str = FIRST) -> Path:
    path = where.spool / tracker / segment
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for record in records:
            file.write(record if isinstance(record, bytes) else frame(encode_event(record)))
    return path


@pytest.fixture
def where(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


def drain(where: Settings, events: EventsStore, clock: FakeClock, limit: int = 1000) -> None:
    with Drain(where, events, clock) as drain:
        drain.step(limit)


def row(tenant: str = "north", hour: int = NOON, received: int = 0, stored: int = 0, bad: int = 0, **more: int) -> Row:
    return Row(tenant, hour, received, stored, bad, **({"pending": 0, "unrecorded": 0, "doubled": 0, "difference": 0} | more))


def test_nothing_received_is_balanced(where: Settings, events: EventsStore) -> None:
    assert conservation(where, events) == []
    assert totals([]) == row("", 0)


def test_by_tenant_and_hour(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    write(where, click(1), click(2), click(3, NOON + HOUR - 1), click(4, NOON + HOUR), click(5, tenant_id="south"), order(1))
    write(where, click(6), click(7, tenant_id=""), tracker="t1")
    drain(where, events, clock)

    rows = conservation(where, events)

    assert rows == [
        row("", NOON, received=1, stored=1),
        row("north", NOON, received=5, stored=5),
        row("north", NOON + HOUR, received=1, stored=1),
        row("south", NOON, received=1, stored=1),
    ]
    assert totals(rows) == row("", 0, received=8, stored=8)
    assert conservation(where, events, "south") == [row("south", NOON, received=1, stored=1)]


def test_what_was_imported_is_counted_apart(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    """Also an order whose import died, so that a tracker recorded it: it went through a spool, and is an import all the same."""
    imported = msgspec.structs.replace(order(2), source="import")
    write(where, click(1), order(1), imported)
    drain(where, events, clock)
    apart = {"tenant_id": "north", "touch_id": "T9", "received_at": NOON / 1000, "source": "import"}
    events.insert_json("touches", msgspec.json.encode(apart), "apart")

    assert conservation(where, events) == [row(received=2, stored=2, imported=2)]
    assert totals(conservation(where, events)).imported == 2


def test_what_is_behind_the_cursor_is_pending(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    write(where, click(1), click(2), click(3))

    assert conservation(where, events) == [row(received=3, pending=3)]
    drain(where, events, clock, limit=2)
    assert conservation(where, events) == [row(received=3, stored=2, pending=1)]
    drain(where, events, clock)
    assert conservation(where, events) == [row(received=3, stored=3)]


def test_cursors_caught_between_two_folders_of_a_relay_are_read_again(
    where: Settings, events: EventsStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(where, click(1))
    write(where, click(2), tracker="t1")
    drain(where, events, clock)
    late = where.spool / "t0" / "cursor.json"
    content = late.read_bytes()
    late.unlink()
    assert not all(row.balanced for row in conservation(where, events))

    class Relayed:
        @staticmethod
        def sleep(seconds: float) -> None:
            if seconds >= 1:
                late.write_bytes(content)

    monkeypatch.setattr("tracker.conservation.time", Relayed)
    queue = Settings(data=where.data, queue_url="redis://localhost")
    assert conservation(queue, events) == [row(received=2, stored=2)]


def test_bad_records_are_counted_where_they_are_stored(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    future = b'{"event":"touch","tenant_id":"north","received_at":%d,"wings":2}' % NOON
    write(where, b"garbage\n", click(1), b"more garbage\n", frame(b"{}"), frame(future))

    assert conservation(where, events) == [row("", received=3, pending=3), row(received=2, pending=2)]
    drain(where, events, clock)
    assert conservation(where, events) == [row("", received=3, bad=3), row(received=2, stored=1, bad=1)]


def test_torn_lines_and_the_trackers_own_counts_are_unrecorded(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    path = write(where, click(1), frame(encode_event(click(2)))[:40])
    losses = (Loss("north", NOON, 7), Loss("", NOON - HOUR, 2))
    file = CountersFile("t0", NOON, NOON, Totals(), {}, losses)
    assert write_counters(path.parent, msgspec.json.encode(file))
    drain(where, events, clock)

    assert conservation(where, events) == [
        row("", NOON - HOUR, received=2, unrecorded=2),
        row("", NOON, received=1, unrecorded=1),
        row(received=8, stored=1, unrecorded=7),
    ]


def test_a_conversion_spooled_twice_is_one_event_stored_in_two_rows(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    lead = Lead("L1", "north", "l1", "signup", NOON, NOON)
    refund = Refund("R1", "north", "N-1", "r1", "EUR", NOON, NOON)
    write(where, order(1), order(2), lead, refund)
    write(where, order(1), lead, refund, tracker="t1")
    drain(where, events, clock)

    assert conservation(where, events) == [row(received=4, stored=4, doubled=3)]


def test_so_is_a_touch_that_was_reported_and_spooled_twice(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    """A sender repeats it where no answer came; of two clicks with one id, one is a fault."""
    reported = msgspec.structs.replace(click(1), source="api")
    write(where, reported, reported)
    drain(where, events, clock)
    write(where, reported, segment=NEXT)

    assert conservation(where, events) == [row(received=1, stored=1, doubled=1)]
    write(where, click(2), click(2), segment=NEXT)
    drain(where, events, clock)
    assert [one.difference for one in conservation(where, events)] == [1]


def test_what_the_store_lost_shows_as_a_difference(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    write(where, click(1), click(2, NOON + HOUR), b"garbage\n")
    drain(where, events, clock)
    events.command("TRUNCATE TABLE touches")
    events.command("TRUNCATE TABLE bad_rows")

    rows = conservation(where, events)

    assert [(one.tenant_id, one.hour, one.received, one.difference) for one in rows] == [
        ("", NOON + HOUR, 1, 1),
        ("north", NOON, 1, 1),
        ("north", NOON + HOUR, 1, 1),
    ]
    assert not any(one.balanced for one in rows)


def test_what_the_store_has_too_much_shows_and_does_not_hide_what_it_lacks(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    path = write(where, click(1), click(2, NOON + HOUR))
    drain(where, events, clock)
    path.write_bytes(frame(encode_event(click(1))) + frame(encode_event(click(3, NOON + 2 * HOUR))))

    rows = conservation(where, events)

    assert [(one.hour, one.difference) for one in rows] == [(NOON, 0), (NOON + HOUR, -1), (NOON + 2 * HOUR, 1)]
    assert totals(rows).difference == 2


def test_rows_that_the_drain_has_not_acknowledged_yet_are_pending_not_stored_twice(
    where: Settings, events: EventsStore, clock: FakeClock
) -> None:
    write(where, click(1))
    drain(where, events, clock)
    write(where, click(2))

    class Dies(Exception):
        pass

    class DiesAfterInsert:
        def insert_json(self, table: str, lines: bytes, token: str) -> None:
            events.insert_json(table, lines, token)
            raise Dies

    with Drain(where, DiesAfterInsert(), clock) as dying, pytest.raises(Dies):  # type: ignore[arg-type]
        dying.step()

    assert conservation(where, events) == [row(received=2, stored=1, pending=1)]
    drain(where, events, clock)
    assert conservation(where, events) == [row(received=2, stored=2)]


def test_a_refused_identity_link_does_not_make_its_order_bad(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    write(where, order(1))

    class RefusesLinks:
        def insert_json(self, table: str, lines: bytes, token: str) -> None:
            if table != "identity_links":
                events.insert_json(table, lines, token)
                return
            refusal = Exception("Code: 72")
            refusal.code = 72  # type: ignore[attr-defined]
            raise Unavailable("the events store refuses insert") from refusal

    with Drain(where, RefusesLinks(), clock) as picky:  # type: ignore[arg-type]
        picky.step()

    assert conservation(where, events) == [row(received=1, stored=1)]


def test_hours_of_deleted_segments_are_left_out(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    write(where, click(1, NOON - HOUR), click(2))
    drain(where, events, clock)
    write(where, click(3, NOON + 1), click(4, NOON + HOUR), segment=NEXT)
    drain(where, events, clock)
    assert conservation(where, events) == [
        row("north", NOON - HOUR, received=1, stored=1),
        row("north", NOON, received=2, stored=2),
        row("north", NOON + HOUR, received=1, stored=1),
    ]

    lock = own_folder(where.spool / "t0")  # its tracker lives, so that the newest segment is kept
    clock.advance(8 * DAY)
    drain(where, events, clock)
    os.close(lock)
    assert conservation(where, events) == [row("north", NOON + HOUR, received=1, stored=1)]


def test_a_kept_census_counts_as_a_new_one(where: Settings, events: EventsStore, clock: FakeClock) -> None:
    census = Census()
    for number in range(4):
        write(where, click(number), order(number), b"garbage\n")
        write(where, order(number), tracker="t1")
        drain(where, events, clock, limit=2)
        clock.advance(SECOND)

        assert conservation(where, events, census=census) == conservation(where, events)

    (where.spool / "t0" / "cursor.json").unlink()
    assert conservation(where, events, census=census) == conservation(where, events)
