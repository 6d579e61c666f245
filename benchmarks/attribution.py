"""How fast are decisions beside the bare SQL that only finds the last click, and how long does a small change take?

``python -m benchmarks.attribution [--orders 10000] [--touches 100000] [--rounds 3] [--repeats 5]``

``decide_all`` is the first run over a fresh store: identities, candidates with their verdicts, policies, memberships, traces,
stored decisions. The baseline is one join and one ``argMax`` over the same touches (``queries/bare_last_clicks.sql``): it
explains nothing, stores nothing and knows no customer, and it must name the same touch for every order. ``incremental`` is
the run after 0, 1 and 100 late clicks, each of which changes one order.
"""

import statistics
import tempfile
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import delete

from attribution.run import Memory, run_once
from benchmarks.journeys import Story, late_clicks, open_shop, store, story
from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from benchmarks.watched import WatchedEvents
from core.catalogue import Policy
from core.clock import MINUTE, SECOND, Instant, start_of_day, system_clock
from core.settings import Settings
from fairshare.demo.cast import NORTH
from store.books import Books, open_books
from store.events import EventsStore, connect_events, read_query
from store.migrate import migrate_books, migrate_events
from store.schema import cursors

BARE_LAST_CLICKS = read_query(__file__, "bare_last_clicks")
CREDITED_TOUCHES = read_query(__file__, "credited_touches")
CLICK_WINDOW = next(rule.window for rule in Policy("", "", 0, 0).classes if rule.touch == "click")
DIRTY = (0, 1, 100)


def compare(touches: int, orders: int, rounds: int, repeats: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Rounds of run and bare SQL in turn, then the small runs."""
    settings = Settings(data=folder)
    migrate_books(settings.books)
    with closing(connect_events(settings.events)) as events, closing(open_books(settings.books)) as books:
        migrate_events(events, settings)
        open_shop(books)
        stored_at = system_clock() - 60 * MINUTE
        told = story(touches, orders, start_of_day(stored_at))
        store(events, (*told.touches, *told.orders), stored_at)
        say(f"stored {touches:,} touches and {orders:,} orders")
        decided, bare, faults = [], [], []
        for number in range(1, rounds + 1):
            ours, memory, profile, report = decide_all(events, books)
            theirs, fault = bare_sql(events)
            say(f"round {number} of {rounds}: decided {orders:,} orders in {ours.seconds:.2f} s, bare SQL {theirs.seconds:.3f} s")
            decided.append(ours)
            bare.append(theirs)
            faults += fault
        small, late = incremental(events, books, memory, told, stored_at, repeats)
    by_clock, by_cpu = ratios(decided, bare)
    result = {
        "decide_all": figures(decided, orders) | {"results": report, "seconds_by_question": profile},
        "bare_sql": figures(bare, orders),
        "incremental": small,
        "ratios": {"decide_vs_bare_sql": by_clock},
        "ratios_cpu": {"decide_vs_bare_sql": by_cpu},
    }
    return result, faults + late


def decide_all(events: EventsStore, books: Books) -> tuple[Timing, Memory, dict[str, float], dict[str, int]]:
    """The first run of a new process on a store without decisions."""
    events.command("TRUNCATE TABLE decisions")
    with books.writing() as connection:
        connection.execute(delete(cursors))
    watched, memory = WatchedEvents(events), Memory()
    with timed() as timing:
        report = run_once(watched, books, system_clock, memory=memory)
    return timing, memory, watched.profile(timing.seconds), report.by_result


def bare_sql(events: EventsStore) -> tuple[Timing, list[str]]:
    """The baseline, and where it differs from what was decided."""
    with timed() as timing:
        found = events.select(BARE_LAST_CLICKS, tenant_id=NORTH, window_ms=CLICK_WINDOW)
    decided = events.select(CREDITED_TOUCHES, tenant_id=NORTH)
    differing = len(set(found) ^ set(decided))
    return timing, [f"{differing} answers differ between the run and the bare SQL"] if differing else []


def incremental(
    events: EventsStore, books: Books, memory: Memory, told: Story, stored_at: Instant, repeats: int
) -> tuple[dict[str, Any], list[str]]:
    """Milliseconds of a run after some late clicks, in the process that decided everything before."""
    found: dict[str, Any] = {}
    faults = []
    alone = iter(told.alone)
    for dirty in (size for size in DIRTY if repeats * sum(DIRTY[: DIRTY.index(size) + 1]) <= len(told.alone)):
        times = []
        for repeat in range(repeats):
            orders = list(islice(alone, dirty))
            stored_at += 20 * SECOND
            store(events, late_clicks(orders, seed=repeat), stored_at)
            watched = WatchedEvents(events)
            with timed() as timing:
                report = run_once(watched, books, system_clock, memory=memory)
            times.append(timing.seconds * 1000)
            if report.changed != len(orders):
                faults.append(f"{len(orders)} late clicks changed {report.changed} orders")
        spent = {"median_ms": round(statistics.median(times), 1), "max_ms": round(max(times), 1)}
        found[f"{dirty}_dirty"] = spent | {"last_in_seconds": watched.profile(timing.seconds)}
    return found, faults


def main() -> None:
    asked = options(__doc__, orders=10_000, touches=100_000, rounds=3, repeats=5)
    with tempfile.TemporaryDirectory(prefix="fairshare-attribution-") as folder:
        about = {"question": "orders decided a second", "orders": asked.orders, "touches": asked.touches, "machine": machine(Path(folder))}
        result, faults = compare(asked.touches, asked.orders, asked.rounds, asked.repeats, Path(folder))
    publish(about | result, faults)


if __name__ == "__main__":
    main()
