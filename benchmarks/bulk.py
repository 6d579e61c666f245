"""How long does it take to decide very many orders, beside the bare SQL that only joins and sorts their touches?

``python -m benchmarks.bulk [--orders 1000000] [--touches 10000000] [--rounds 1] [--repeats 5] [--crowd 1000000] [--processes 0]``

``position`` is the first run over a fresh store under the position model, traces included; ``last`` the same under last click,
credits without traces. Both write to the store. The baseline is one join and one sort of the same touches
(``queries/bare_journeys.sql``): it knows no policy, explains nothing and stores nothing. ``times_bare`` is theirs ÷ the baseline's
time: the smaller, the better.

``incremental`` is the run after late clicks that change 1, 10, 100 and 1,000 orders, by the process that decided everything before.
``crowd`` decides a thousand orders of one bot with so many touches, and the same orders and touches spread over a thousand visitors.
"""

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import delete

from attribution.run import Memory, run_once
from attribution.workers import processes_for
from benchmarks.journeys import LONG_AGO, open_shop
from benchmarks.million import fill, late_clicks
from benchmarks.peak import Peak
from benchmarks.result import Timing, figures, machine, options, publish, say, timed
from benchmarks.watched import WatchedEvents
from core.catalogue import Policy, TouchWindow
from core.clock import DAY, MINUTE, SECOND, Instant, start_of_day, system_clock
from core.settings import Settings
from fairshare.demo.cast import NORTH
from store import schema
from store.books import Books, open_books
from store.catalogue import put
from store.events import EventsStore, Query, connect_events, read_query
from store.migrate import migrate_books, migrate_events

BARE_JOURNEYS = read_query(__file__, "bare_journeys")
MERGES = Query("merges", "SELECT count() FROM system.merges")
DECIDED_ORDERS = read_query(__file__, "decided_orders")
CLASSES = (TouchWindow("coupon", 0), TouchWindow("click", 30 * 24), TouchWindow("impression", 24))
DIRTY = (1, 10, 100, 1_000)
CROWD_ORDERS = 1_000
MERGED_WITHIN_S = 180.0
TABLES = ("touches", "orders", "identity_links", "decisions")


class Bench:
    """The stores of one benchmark, and what went wrong in it."""

    def __init__(self, events: EventsStore, books: Books, processes: int) -> None:
        self.events, self.books, self.processes = events, books, processes
        self.faults: list[str] = []
        self.peak_mb = 0
        self._versions = 0

    def under(self, **policy: Any) -> None:
        """Another version of the policy for all orders there are."""
        self._versions += 1
        version = Policy(NORTH, "main", self._versions, LONG_AGO + self._versions, classes=CLASSES, lock_days=3650, **policy)
        with self.books.writing() as connection:
            put(connection, version, "benchmark", LONG_AGO)

    def forget(self) -> None:
        """No decisions, and a run begins at the beginning."""
        self.events.command("TRUNCATE TABLE decisions")
        with self.books.writing() as connection:
            connection.execute(delete(schema.cursors))

    def decide(self, orders: int, traces: bool) -> tuple[Timing, Memory, dict[str, float]]:
        """The first run of a new process."""
        self.forget()
        watched, memory = WatchedEvents(self.events), Memory()
        with Peak() as peak, timed() as timing:
            run_once(watched, self.books, system_clock, memory=memory, traces=traces, processes=self.processes)
        self.peak_mb = max(self.peak_mb, peak.mb)
        ((decided, credited, _, trace_bytes),) = self.events.select(DECIDED_ORDERS, tenant_id=NORTH)
        if decided != orders or not credited or (trace_bytes > 100 * orders) != traces:
            self.faults.append(f"{decided} of {orders} orders were decided, {credited} credited, with {trace_bytes} bytes of traces")
        return timing, memory, watched.profile(timing.seconds)

    def rest(self) -> None:
        """Wait until the store has merged what was written at once: that is work of the run before."""
        deadline = time.monotonic() + MERGED_WITHIN_S
        while time.monotonic() < deadline and self.events.select(MERGES)[0][0]:
            time.sleep(1)

    def bare(self) -> Timing:
        with timed() as timing:
            self.events.select(BARE_JOURNEYS, tenant_id=NORTH, window_ms=30 * DAY)
        return timing


def compare(bench: Bench, orders: int, touches: int, rounds: int, repeats: int, end: Instant) -> dict[str, Any]:
    """Rounds of the bare SQL and both runs in turn, then the small runs."""
    stored_at = end + MINUTE
    fill(bench.events, orders, touches, end, stored_at)
    say(f"stored {touches:,} touches and {orders:,} orders")
    bare, runs = list[Timing](), dict[str, list[Timing]]()
    profiles: dict[str, dict[str, float]] = {}
    for number in range(1, rounds + 1):
        for name, policy, traces in (("last", {"model": "last"}, False), ("position", {"model": "position"}, True)):
            bench.under(**policy)
            bare.append(bench.bare())
            timing, memory, profiles[name] = bench.decide(orders, traces)
            runs.setdefault(name, []).append(timing)
            say(f"round {number}: bare {bare[-1].seconds:.2f} s, {name} {timing.seconds:.2f} s")
    baseline = statistics.median(one.seconds for one in bare)
    return {
        "bare_sql": figures(bare, orders),
        **{
            name: figures(found, orders)
            | {"times_bare": round(statistics.median(one.seconds for one in found) / baseline, 2), "seconds_by_question": profiles[name]}
            for name, found in runs.items()
        },
        "peak_memory_mb": bench.peak_mb,
        "incremental": incremental(bench, memory, orders, repeats, stored_at),
    }


def incremental(bench: Bench, memory: Memory, orders: int, repeats: int, stored_at: Instant) -> dict[str, Any]:
    """Milliseconds of a run after some late clicks, in the process that decided everything before."""
    found: dict[str, Any] = {}
    skip = 0
    bench.rest()
    for dirty in (size for size in DIRTY if repeats * size <= orders // 10):
        times = []
        for _ in range(repeats):
            stored_at += 20 * SECOND
            late_clicks(bench.events, dirty, skip, stored_at)
            skip += dirty
            watched = WatchedEvents(bench.events)
            with timed() as timing:
                report = run_once(watched, bench.books, system_clock, memory=memory, processes=bench.processes)
            times.append(timing.seconds * 1000)
            if report.changed != dirty:
                bench.faults.append(f"{dirty} late clicks changed {report.changed} of {report.looked_at} orders")
        say(f"{dirty} dirty orders: {statistics.median(times):.0f} ms")
        spent = {"median_ms": round(statistics.median(times), 1), "max_ms": round(max(times), 1)}
        found[f"{dirty}_dirty"] = spent | {"last_in_seconds": watched.profile(timing.seconds)}
    return found


def crowd(bench: Bench, touches: int, end: Instant) -> dict[str, Any]:
    """The same orders and touches, of one visitor and of a thousand."""
    times: dict[str, Timing] = {}
    for name, orders_each in (("spread", 1), ("one_bot", CROWD_ORDERS)):
        for table in TABLES:
            bench.events.command(f"TRUNCATE TABLE {table}")
        fill(bench.events, CROWD_ORDERS, touches, end, end + MINUTE, orders_each)
        bench.under(model="position")
        times[name], _, _ = bench.decide(CROWD_ORDERS, traces=True)
        say(f"{CROWD_ORDERS:,} orders over {touches:,} touches, {name}: {times[name].seconds:.2f} s")
    found = {name: figures([timing], CROWD_ORDERS) for name, timing in times.items()}
    return found | {"times_spread": round(times["one_bot"].seconds / times["spread"].seconds, 2)}


def main() -> None:
    asked = options(__doc__, orders=1_000_000, touches=10_000_000, rounds=1, repeats=5, crowd=1_000_000, processes=0)
    processes, end = processes_for(asked.processes), start_of_day(system_clock()) - DAY
    with tempfile.TemporaryDirectory(prefix="fairshare-bulk-") as folder:
        about = {"question": "orders decided a second, beside bare SQL", "orders": asked.orders, "touches": asked.touches}
        about |= {"processes": processes, "machine": machine(Path(folder))}
        settings = Settings(data=Path(folder))
        migrate_books(settings.books)
        with closing(connect_events(settings.events)) as events, closing(open_books(settings.books)) as books:
            migrate_events(events, settings)
            open_shop(books)
            bench = Bench(events, books, processes)
            result = compare(bench, asked.orders, asked.touches, asked.rounds, asked.repeats, end)
            if asked.crowd:
                result["crowd"] = crowd(bench, asked.crowd, end)
    publish(about | result, bench.faults)


if __name__ == "__main__":
    main()
