"""Very many orders at once come to the same as a few at a time: whatever the slices, the batches and the processes."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from attribution.bulk import Pace, slices_of_time
from attribution.journey import Slice
from attribution.lookups import ALWAYS
from attribution.policy import Terms, terms_by_tenant
from attribution.run import decide_range, joined, run_once
from attribution.workers import Crew, WorkerFailed
from core.catalogue import Coupon, Policy, TouchWindow
from core.clock import DAY, HOUR, MINUTE
from core.credit import Decision
from core.events import Event
from store.books import Books
from store.catalogue import load_catalogue
from store.events import EventsStore, Query
from tests.attribution.builders import (
    CRAWLER,
    NOON,
    STORED,
    click,
    forget_all,
    id_of,
    lead,
    open_shops,
    order,
    put_all,
    store,
    view,
)
from tests.fakes import FakeClock

ROOT = Path(__file__).parent.parent.parent
STORED_IN_FULL = Query("stored_in_full", "SELECT * EXCEPT (stored_at, decided_at) FROM decisions ORDER BY tenant_id, order_id, revision")
POLICY = Policy(
    "north", "main", 1, 0, model="position", classes=(TouchWindow("coupon", 0), TouchWindow("click", 720), TouchWindow("impression", 24))
)


def world(seed: int, orders: int = 40) -> list[Event]:
    """Visitors with clicks and views, some of them very many; sign-ups that join them; orders that come back, some sent twice."""
    rng = random.Random(seed)
    visitors = [f'visitor "{number}" ☎' for number in range(25)]
    keys = [f"em:{number}" for number in range(1, 18)]
    happened: list[Event] = []
    for number in range(220):
        make = click if rng.random() < 0.7 else view
        agent = {"user_agent": CRAWLER} if rng.random() < 0.1 else {}
        visitor = rng.choice([*visitors, ""])
        happened.append(make(f"t-{number}", rng.choice(("anna", "ben", "charlie")), NOON - rng.randrange(70 * DAY), visitor, **agent))
    happened += [click(f"bot-{number}", "ben", NOON - 20 * DAY + number * HOUR, visitors[0]) for number in range(40)]
    clicks = [one.event_id for one in happened]
    happened += [
        lead(f"L-{number}", NOON - rng.randrange(60 * DAY), visitor_id=rng.choice(visitors), customer_keys=(rng.choice(keys),))
        for number in range(12)
    ]
    for number in range(orders):
        more: dict[str, Any] = {}
        if rng.random() < 0.7:
            more["visitor_id"] = rng.choice(visitors)
        if rng.random() < 0.4:
            more["click_id"] = rng.choice([*clicks, id_of("unknown", NOON), "no id"])
        if rng.random() < 0.6:
            more["customer_keys"] = (rng.choice(keys),)
        if rng.random() < 0.2:
            more["coupons"] = ("ZOE10",)
        at = NOON - rng.randrange(45 * DAY)
        happened.append(order(f"O-{rng.randrange(10**6):06}-{number}", at, test=rng.random() < 0.05, **more))
        if number % 20 == 0:
            twin = {"event_id": id_of(f"again {number}", at), "received_at": at + rng.choice((-1, 1)) * MINUTE, "visitor_id": visitors[1]}
            happened.append(order(happened[-1].order_id, at + rng.choice((0, 5 * DAY)), **twin))  # type: ignore[union-attr]
    return happened


@pytest.fixture
def shops(sqlite_books: Books) -> Books:
    open_shops(sqlite_books)
    put_all(sqlite_books, POLICY, Coupon("north", "ZOE10", "main", "ben"))
    return sqlite_books


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attribution.run.BULK_ORDERS", 5)
    monkeypatch.setattr("attribution.bulk.BATCH_ORDERS", 5)
    monkeypatch.setattr("attribution.bulk.FEWEST_ORDERS", 12)
    monkeypatch.setattr("attribution.bulk.FIRST_ORDERS", 7)
    monkeypatch.setattr("attribution.bulk.SLICE_BYTES", 1)


def terms_of(books: Books, tenant: str = "north") -> Terms:
    with books.reading() as connection:
        return terms_by_tenant(load_catalogue(connection))[tenant]


def decided_by(events: EventsStore, books: Books, happened: Sequence[Event], **way: Any) -> list[Any]:
    """Everything that one run stores."""
    forget_all(events, books)
    store(events, happened)
    run_once(events, books, FakeClock(STORED), **way)
    return events.select(STORED_IN_FULL)


def test_slices_and_processes_come_to_the_same_as_few_orders_at_a_time(
    events: EventsStore, shops: Books, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attribution.lookups.CROWD", 20)
    monkeypatch.setattr("attribution.journey.CROWD", 20)
    happened = world(1)
    few = decided_by(events, shops, happened, limit=7)
    request.getfixturevalue("small_slices")

    assert len({row[1] for row in few}) == 40
    assert decided_by(events, shops, happened) == few
    assert decided_by(events, shops, happened, processes=2) == few


def test_a_range_is_decided_as_a_run_would_by_id_and_goes_on_after_any(events: EventsStore, shops: Books, small_slices: None) -> None:
    stored = {row[1]: row for row in decided_by(events, shops, world(3))}

    def decide(after: str = "", from_at: int = 0, to_at: int = ALWAYS, **more: Any) -> list[Decision]:
        found = decide_range(events, shops, "north", from_at, to_at, terms_of(shops), after=after, **more)
        return [decision for part in found for decision in part]

    whole = decide(traces=True)
    ids = [decision.order_id for decision in whole]
    assert ids == sorted(stored)
    assert [decision.inputs_hash for decision in whole] == [stored[order_id][11] for order_id in ids]
    assert decide(ids[20], traces=True) == whole[21:]
    assert decide(processes=2)[3].trace == ()
    assert [one.credits for one in decide(processes=2)] == [one.credits for one in whole]
    part = {one.order_id: one.inputs_hash for one in decide(from_at=NOON - 30 * DAY, to_at=NOON - 10 * DAY, traces=True)}
    assert 0 < len(part) < 40
    assert part == {one.order_id: one.inputs_hash for one in whole if one.order_id in part}
    assert len(events.select(STORED_IN_FULL)) == len(stored)


def test_a_period_is_divided_at_whole_hours_by_the_pace_of_the_last_slice() -> None:
    pace = Pace(10)
    hours = [(hour * HOUR, 4) for hour in range(6)]
    pieces = slices_of_time(hours, 5, 6 * HOUR - 7, pace)

    assert next(pieces) == Slice(5, 3 * HOUR - 1)
    pace.orders = 4
    assert next(pieces) == Slice(3 * HOUR, 4 * HOUR - 1)
    pace.orders = 100
    assert list(pieces) == [Slice(4 * HOUR, 6 * HOUR - 7)]


def test_the_pace_follows_the_bytes_within_bounds() -> None:
    pace = Pace()
    pace.learn(1_000, 1_000 * 16 * 1024)
    assert pace.orders == 6_144
    pace.learn(10, 10)
    assert pace.orders == 100_000
    pace.learn(1_000, 1 << 40)
    assert pace.orders == 2_000


def test_periods_that_meet_are_one() -> None:
    assert joined([(7, 9), (1, 3), (4, 5), (8, 20)]) == [(1, 5), (7, 20)]


def test_a_process_that_cannot_decide_says_why() -> None:
    from attribution.batch import Batch
    from attribution.workers import Task

    with Crew(1) as crew:
        crew.begin(Task(Terms("north"), 0, True))
        answers = [*crew.give(Batch(orders=b'["O-1"]\n'))]
        with pytest.raises(WorkerFailed, match="ValidationError"):
            answers += crew.rest()
    assert answers == []


def test_a_process_that_decides_never_loads_a_database() -> None:
    """It has to start in a moment, and to hold nothing but its batch."""
    program = (
        "import sys, attribution.workers; "
        "print([name for name in ('chdb', 'clickhouse_connect', 'numpy', 'pyarrow', 'sqlalchemy', 'store') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)

    assert done.stdout == "[]\n"
