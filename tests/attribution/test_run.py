"""The incremental run on real stores: it decides what changed, once, and whatever the order of arrival comes to the same end."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attribution.run import CATALOGUE_CURSOR, CURSOR, RETROACTIVE, Memory, RunReport, open_turn, run_attribution, run_once
from core.catalogue import Coupon, Policy, Programme, TouchWindow
from core.clock import DAY, HOUR, SECOND
from core.credit import Override
from core.errors import Unavailable
from core.events import Event
from store.books import Books
from store.cursors import read_cursor
from store.events import EventsStore, Query
from store.leases import LeaseLost
from store.overrides import put_override
from store.reruns import request_rerun
from tests.attribution.builders import (
    NOON,
    STORED,
    click,
    decided,
    decided_fully,
    forget_all,
    id_of,
    lead,
    member,
    open_shops,
    order,
    put_all,
    revisions,
    store,
    view,
)
from tests.fakes import FakeClock


@pytest.fixture
def shops(sqlite_books: Books) -> Books:
    open_shops(sqlite_books)
    return sqlite_books


@pytest.fixture
def now() -> FakeClock:
    return FakeClock(STORED + HOUR)


class Failing:
    """A store of which one method fails for its first calls."""

    def __init__(self, real: Any, method: str, error: Exception, times: int = 1, after: int = 0) -> None:
        self._real, self._method, self._error, self._times, self._after = real, method, error, times, after

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._real, name)
        self._after -= 1
        if self._after < 0 < self._times:
            self._times -= 1
            raise self._error
        return getattr(self._real, name)


DOWN = Unavailable("the store is down")


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_decides_every_order_and_the_next_finds_nothing_to_do(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", visitor_id="phone"), order("O-2", visitor_id="laptop")])
    memory = Memory()

    first = run_once(events, shops, now, memory=memory)
    second = run_once(events, shops, now, memory=memory)

    assert decided(events) == {"O-1": ("credited", "anna"), "O-2": ("no_touch", "")}
    assert (first.looked_at, first.changed, first.by_result) == (2, 2, {"credited": 1, "no_touch": 1})
    assert (second.looked_at, second.changed, second.complete) == (0, 0, True)


def test_the_cursor_stands_at_the_newest_fact_that_was_worked_through(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order("O-1")], at=STORED)
    store(events, [click("1", "anna", NOON)], at=STORED + 77)

    run_once(events, shops, now)

    with shops.reading() as connection:
        assert read_cursor(connection, CURSOR) == STORED + 77
        assert read_cursor(connection, CATALOGUE_CURSOR) > 0


def test_an_order_that_arrives_before_its_click_is_decided_again(events: EventsStore, shops: Books, now: FakeClock) -> None:
    late = click("1", "anna", NOON - HOUR, "phone")
    store(events, [order("O-1", click_id=late.event_id)])
    run_once(events, shops, now)
    assert decided(events) == {"O-1": ("unknown_click_id", "")}

    store(events, [late], at=STORED + HOUR)
    run_once(events, shops, now)

    assert decided(events) == {"O-1": ("credited", "anna")}
    assert revisions(events) == {"O-1": 2}


def test_a_late_sign_up_credits_the_click_on_the_phone_for_the_order_at_the_till(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", customer_keys=("loy:7",))])
    run_once(events, shops, now)
    assert decided(events) == {"O-1": ("no_touch", "")}

    store(events, [lead("L-1", NOON - HOUR, visitor_id="phone", customer_keys=("loy:7",))], at=STORED + HOUR)
    run_once(events, shops, now)

    assert decided(events) == {"O-1": ("credited", "anna")}


def test_a_late_touch_that_changes_nothing_is_looked_at_and_not_stored(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", visitor_id="phone")])
    run_once(events, shops, now)

    store(events, [click("2", "ben", NOON - 2 * DAY, "phone")], at=STORED + HOUR)
    report = run_once(events, shops, now)

    assert (report.looked_at, report.unchanged, revisions(events)) == (1, 1, {"O-1": 1})


def test_batches_of_one_come_to_the_same_as_one_batch(events: EventsStore, shops: Books, now: FakeClock) -> None:
    touches = [click(str(number), "anna" if number % 2 else "ben", NOON - number * DAY, f"visitor-{number % 3}") for number in range(1, 9)]
    orders = [order(f"O-{number}", visitor_id=f"visitor-{number % 3}", at=NOON - number * DAY) for number in range(9)]
    store(events, [*touches, *orders])
    told: list[int] = []

    run_once(events, shops, now, limit=1, progress=told.append)
    one_by_one = decided_fully(events)
    forget_all(events, shops)
    store(events, [*touches, *orders])
    run_once(events, shops, now)

    assert decided_fully(events) == one_by_one
    assert told == [1] * 9


def test_two_events_under_one_order_id_are_one_order_the_earliest(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", received_at=NOON + 9, visitor_id="laptop")])
    run_once(events, shops, now)
    assert decided(events) == {"O-1": ("no_touch", "")}

    store(events, [order("O-1", received_at=NOON + 1, visitor_id="phone", event_id=id_of("other", NOON))], at=STORED + HOUR)
    run_once(events, shops, now)

    assert decided(events) == {"O-1": ("credited", "anna")}


def test_an_order_of_a_tenant_that_the_catalogue_does_not_know_is_decided_too(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order("O-1", tenant_id="west", visitor_id="phone")])

    run_once(events, shops, now)

    assert decided(events) == {"O-1": ("program_not_active", "")}


def test_candidates_that_were_left_out_are_counted(
    events: EventsStore, shops: Books, now: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attribution.candidates.CANDIDATES_EACH", 3)
    touches = [click(str(number), "anna", NOON - DAY + number, "phone") for number in range(5)]
    store(events, [*touches, order("O-1", visitor_id="phone"), order("O-2", visitor_id="laptop")])

    assert run_once(events, shops, now).capped == 1


def test_what_does_not_fit_into_memory_together_is_decided_in_halves(
    events: EventsStore, shops: Books, now: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attribution.journey.TOUCHES", 8)
    touches = [click(str(number), "anna", NOON - DAY + number, "phone") for number in range(10)]
    store(events, [*touches, *(order(f"O-{number}", visitor_id="phone") for number in range(5))])

    assert run_once(events, shops, now).by_result == {"credited": 5}


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_a_run_that_dies_before_its_cursor_moves_is_done_again_and_changes_nothing(
    events: EventsStore, shops: Books, now: FakeClock
) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", visitor_id="phone")])
    with pytest.raises(Unavailable):
        run_once(events, Failing(shops, "writing", DOWN), now)  # type: ignore[arg-type]
    assert revisions(events) == {"O-1": 1}

    report = run_once(events, shops, now)

    assert (report.looked_at, report.changed, revisions(events)) == (1, 0, {"O-1": 1})


def test_a_run_that_dies_between_batches_is_finished_by_the_next(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order(f"O-{number}") for number in range(6)])
    with pytest.raises(Unavailable):
        run_once(Failing(events, "insert_native", DOWN, after=2), shops, now, limit=2)  # type: ignore[arg-type]
    assert len(revisions(events)) == 4

    run_once(events, shops, now, limit=2)

    assert revisions(events) == {f"O-{number}": 1 for number in range(6)}


def test_a_stopped_run_leaves_the_cursor_and_the_next_does_the_rest(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order(f"O-{number}") for number in range(4)])
    stop = threading.Event()

    stopped = run_once(events, shops, now, limit=1, stop=stop, progress=lambda _orders: stop.set())
    with shops.reading() as connection:
        assert read_cursor(connection, CURSOR) == 0
    finished = run_once(events, shops, now)

    assert (stopped.complete, stopped.looked_at) == (False, 1)
    assert (finished.complete, finished.looked_at, finished.changed) == (True, 4, 3)


# --- the catalogue ---------------------------------------------------------------------------------------------------

OWNED = Coupon("north", "SPRING", "main", "ben")


def with_coupon(order_id: str, at: int = NOON, **more: Any) -> Event:
    return order(order_id, at, coupons=("SPRING",), **more)


def test_a_new_coupon_owner_earns_from_recent_orders_and_from_no_older_ones(events: EventsStore, shops: Books, now: FakeClock) -> None:
    oldest = now() - RETROACTIVE
    orders = [with_coupon("O-1"), with_coupon("O-2", oldest), with_coupon("O-3", oldest - 1), with_coupon("O-4", tenant_id="south")]
    store(events, orders)
    memory = Memory()
    run_once(events, shops, now, memory=memory)

    put_all(shops, OWNED)
    report = run_once(events, shops, now, memory=memory)

    assert report.looked_at == 2
    assert {name: result for name, (result, _) in decided(events).items() if result == "credited"} == {"O-1": "credited", "O-2": "credited"}
    assert run_once(events, shops, now, memory=memory).looked_at == 0


def test_a_change_of_the_catalogue_is_noticed_by_a_process_that_started_after_it(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [with_coupon("O-1")])
    run_once(events, shops, now)

    put_all(shops, OWNED)
    run_once(events, shops, now)

    assert decided(events) == {"O-1": ("credited", "ben")}


def test_a_change_of_the_catalogue_outlives_a_run_that_fails(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [with_coupon("O-1")])
    memory = Memory()
    run_once(events, shops, now, memory=memory)

    put_all(shops, OWNED)
    with pytest.raises(Unavailable):
        run_once(Failing(events, "insert_native", DOWN), shops, now, memory=memory)  # type: ignore[arg-type]
    run_once(events, shops, now, memory=memory)

    assert decided(events) == {"O-1": ("credited", "ben")}


def test_a_new_policy_version_holds_from_its_effective_date_on(events: EventsStore, shops: Books, now: FakeClock) -> None:
    touches = [click(str(at), "anna", at - 3 * DAY, "phone") for at in (NOON, NOON - 10 * DAY)]
    store(events, [*touches, order("O-1", NOON, visitor_id="phone"), order("O-0", NOON - 9 * DAY, visitor_id="phone")])
    run_once(events, shops, now)

    put_all(shops, Policy("north", "main", 1, NOON - DAY, classes=(TouchWindow("click", 24),)))
    run_once(events, shops, now)

    assert decided(events) == {"O-0": ("credited", "anna"), "O-1": ("outside_window", "")}


def test_an_approval_counts_for_clicks_from_its_moment_on(events: EventsStore, shops: Books, now: FakeClock) -> None:
    put_all(shops, member("charlie", since=STORED + DAY))
    store(events, [click("1", "charlie", NOON - DAY, "phone"), order("O-1", visitor_id="phone")])
    run_once(events, shops, now)
    assert decided(events) == {"O-1": ("affiliate_not_active", "")}

    put_all(shops, member("charlie", since=NOON - DAY))
    run_once(events, shops, now)

    assert decided(events) == {"O-1": ("credited", "charlie")}


def test_a_renamed_programme_brings_back_nothing(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order("O-1", visitor_id="phone")])
    memory = Memory()
    run_once(events, shops, now, memory=memory)

    put_all(shops, Programme("north", "main", "Spring", "https://north.example/spring"))

    assert run_once(events, shops, now, memory=memory).looked_at == 0


# --- locks, and what people ask for ----------------------------------------------------------------------------------


def override(order_id: str, affiliate: str, version: int = 1) -> Override:
    return Override(order_id, version, affiliate, "she showed the receipt", "mia@north.example", STORED)


def test_after_its_lock_date_an_order_keeps_its_decision_whatever_arrives(events: EventsStore, shops: Books, now: FakeClock) -> None:
    put_all(shops, Policy("north", "main", 1, 0, lock_days=2))
    now.advance(NOON + 2 * DAY - 1 - now())
    store(events, [order(name, visitor_id=name) for name in ("phone", "tablet")])
    run_once(events, shops, now)

    store(events, [click("1", "anna", NOON - HOUR, "phone")], at=STORED + HOUR)
    run_once(events, shops, now)
    now.advance(1)
    store(events, [click("2", "anna", NOON - HOUR, "tablet"), order("O-3", visitor_id="phone")], at=STORED + 2 * HOUR)
    run_once(events, shops, now)

    expected = {"phone": ("credited", "anna"), "tablet": ("no_touch", ""), "O-3": ("credited", "anna")}
    assert decided(events) == expected


def test_a_frozen_order_keeps_its_decision(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [order("O-1", visitor_id="phone")])
    run_once(events, shops, now)
    events.command("INSERT INTO frozen_orders (tenant_id, order_id) VALUES ('north', 'O-1')")

    store(events, [click("1", "anna", NOON - HOUR, "phone")], at=STORED + HOUR)
    report = run_once(events, shops, now)

    assert (report.looked_at, decided(events)) == (0, {"O-1": ("no_touch", "")})


def test_what_a_person_decided_is_part_of_the_decision_and_stays(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", visitor_id="phone"), order("O-2", visitor_id="phone")])
    run_once(events, shops, now, memory=memory)

    with shops.writing() as connection:
        put_override(connection, "north", override("O-1", "ben"))
    report = run_once(events, shops, now, memory=memory)
    assert (report.looked_at, report.changed) == (1, 1)
    assert decided(events) == {"O-1": ("manual_override", "ben"), "O-2": ("credited", "anna")}
    assert run_once(events, shops, now, memory=memory).looked_at == 0

    store(events, [click("2", "anna", NOON - HOUR, "phone")], at=STORED + HOUR)
    run_once(events, shops, now, memory=memory)
    assert decided(events)["O-1"] == ("manual_override", "ben")
    assert revisions(events) == {"O-1": 2, "O-2": 2}


def test_a_rerun_looks_at_the_orders_of_its_period_once(events: EventsStore, shops: Books, now: FakeClock) -> None:
    memory = Memory()
    store(events, [order("O-1", NOON - DAY), order("O-2", NOON), order("O-3", NOON, tenant_id="south")])
    run_once(events, shops, now, memory=memory)

    with shops.writing() as connection:
        request_rerun(connection, "north", NOON - DAY, NOON, "a policy was tried", STORED)

    assert [run_once(events, shops, now, memory=memory).looked_at for _ in range(2)] == [1, 0]


def test_traces_may_be_left_out(events: EventsStore, shops: Books, now: FakeClock) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), order("O-1", visitor_id="phone")])

    run_once(events, shops, now, traces=False)

    assert decided(events) == {"O-1": ("credited", "anna")}
    assert events.select(Query("traces", "SELECT trace FROM decisions ORDER BY trace")) == [("[]",)]


# --- one at a time ---------------------------------------------------------------------------------------------------


def test_of_two_processes_one_decides_and_the_other_takes_over(events: EventsStore, shops: Books, now: FakeClock) -> None:
    first, second = open_turn(shops, now), open_turn(shops, now)
    assert (first.take(), second.take()) == (True, False)
    store(events, [order("O-1")])
    first.close()
    assert second.take()

    with pytest.raises(LeaseLost):
        run_once(events, shops, now, turn=first)
    assert decided(events) == {}
    run_once(events, shops, now, turn=second)
    assert decided(events) == {"O-1": ("no_identity", "")}
    second.close()


# --- laws ------------------------------------------------------------------------------------------------------------

VISITORS = ["", "phone", "tablet", "laptop"]
CUSTOMERS = [(), ("em:zoe",), ("em:max",), ("em:zoe", "loy:7")]
HOURS = [-40 * 24, -31 * 24, -30 * 24, -25, -24, -2, -1, 0, 1, 30]


@st.composite
def worlds(draw: st.DrawFn) -> list[Event]:
    """A few touches, sign-ups and orders of two tenants, on the same devices, by the same people."""
    touches = [
        draw(
            st.builds(
                lambda name, affiliate, hour, visitor, kind, tenant: click(
                    name, affiliate, NOON + hour * HOUR, visitor, kind=kind, tenant_id=tenant
                ),
                st.just(f"touch-{number}"),
                st.sampled_from(["anna", "ben", "charlie"]),
                st.sampled_from(HOURS),
                st.sampled_from(VISITORS),
                st.sampled_from(["click", "impression"]),
                st.sampled_from(["north", "north", "south"]),
            )
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    ids = ["", id_of("nobody's", NOON), *(touch.event_id for touch in touches)]
    carried = st.fixed_dictionaries(
        {
            "click_id": st.sampled_from(ids),
            "visitor_id": st.sampled_from(VISITORS),
            "customer_keys": st.sampled_from(CUSTOMERS),
            "tenant_id": st.sampled_from(["north", "north", "south"]),
        }
    )
    leads = [lead(f"L-{number}", NOON - HOUR, **draw(carried)) for number in range(draw(st.integers(0, 3)))]
    orders = [
        order(f"O-{number}", NOON + draw(st.sampled_from(HOURS)) * HOUR, **draw(carried)) for number in range(draw(st.integers(1, 4)))
    ]
    return [*touches, *leads, *orders]


def examples(count: int) -> settings:
    """Few, since each takes several runs on real stores; every run of the tests draws others."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@examples(4)
@given(worlds(), st.randoms(use_true_random=False))
def test_duplicated_and_reordered_facts_in_several_runs_end_as_the_sorted_ones_in_one(
    events: EventsStore, shops: Books, happened: list[Event], chance: Any
) -> None:
    forget_all(events, shops)
    store(events, sorted(happened, key=lambda event: event.occurred_at))
    run_once(events, shops, FakeClock(STORED))
    expected = decided_fully(events)

    forget_all(events, shops)
    arriving = happened + [event for event in happened if chance.random() < 0.3]
    chance.shuffle(arriving)
    clock, memory = FakeClock(STORED), Memory()
    for part in _split(arriving, chance):
        store(events, part, at=clock.advance(chance.choice([1, 400, 3 * SECOND, 12 * SECOND])))
        run_once(events, shops, clock, limit=chance.choice([1, 2, 100]), memory=memory)
        memory = memory if chance.random() < 0.7 else Memory()  # now and then the process starts anew

    assert decided_fully(events) == expected


@examples(4)
@given(worlds())
def test_a_tenant_beside_another_is_decided_as_if_it_were_alone(events: EventsStore, shops: Books, happened: list[Event]) -> None:
    forget_all(events, shops)
    store(events, [event for event in happened if event.tenant_id == "north"])
    run_once(events, shops, FakeClock(STORED))
    alone = decided_fully(events)

    forget_all(events, shops)
    store(events, happened)
    run_once(events, shops, FakeClock(STORED))

    assert decided_fully(events, "north") == alone


def _split(facts: list[Event], chance: Any) -> Iterator[list[Event]]:
    cuts = sorted(chance.randint(0, len(facts)) for _ in range(chance.randint(0, 3)))
    for start, end in zip([0, *cuts], [*cuts, len(facts)], strict=True):
        if facts[start:end]:
            yield facts[start:end]


# --- the loop --------------------------------------------------------------------------------------------------------


def _wait_for(condition: Any, within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("error", [DOWN, RuntimeError("a defect")], ids=["unavailable", "defect"])
def test_the_loop_survives_a_failure_decides_and_ends_when_told(
    events: EventsStore, shops: Books, now: FakeClock, error: Exception
) -> None:
    store(events, [view("1", "anna", NOON - HOUR, "phone"), order("O-1", visitor_id="phone")])
    stop = threading.Event()
    failing = Failing(events, "select", error, times=2)
    loop = threading.Thread(target=run_attribution, args=(failing, shops, now, stop, 10))
    loop.start()
    try:
        _wait_for(lambda: decided(events) == {"O-1": ("credited", "anna")})
        store(events, [order("O-2", visitor_id="phone")], at=STORED + HOUR)
        _wait_for(lambda: "O-2" in decided(events))
    finally:
        stop.set()
        loop.join(10)

    assert not loop.is_alive()


def test_a_report_is_plain_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(RunReport(looked_at=1)))["looked_at"] == 1
