"""How long until millions of links are persons, and until new links are among them?

``python -m benchmarks.identity [--edges 5000000] [--new 100000] [--orders 100000]``

Links as a shop gathers them: persons of an address and four visitors, on chDB. ``load`` reads all of them and works out every person,
in a process that knows nothing yet; ``bare_sort`` is what the store alone takes to read and sort the same links. ``refresh`` takes up
new links, half of them new visitors of known persons, half joining two persons; ``components`` is the graph's part of the load alone,
and ``union_find`` the same by a plain union-find in Python on at most 200,000 of the links. ``persons`` are asked for in batches of
2,000 orders.
"""

import resource
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from attribution.graph import KeyGraph
from attribution.people import People
from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from core.events import Line, Order
from core.settings import Settings
from store.events import EventsStore, Query, connect_events, read_query
from store.migrate import migrate_events

SORTED_LINKS = read_query(__file__, "sorted_links")
TENANT = "north"
SAMPLE = 200_000
BATCH = 2_000
LINKS_EACH = 4
"""Links of a person: to so many visitors."""

_ROWS = """
    INSERT INTO identity_links
    SELECT 'north', pair.1, pair.2, toString(number), toDateTime64({began:UInt32} + number % 2000000, 3, 'UTC'),
        toDateTime64({stored:UInt32} + intDiv(number, 50), 3, 'UTC')
    FROM (SELECT number, arrayJoin([(one, two), (two, one)]) AS pair FROM (ROWS))
    SETTINGS max_partitions_per_insert_block = 100
"""
ADDRESS = "concat('em:', lower(hex(sipHash128('address', {}))))"
VISITOR = "concat('v:', substring(hex(sipHash128('visitor', {})), 1, 26))"
FIRST = f"""
    SELECT number, {VISITOR.format("number")} AS one, {ADDRESS.format("intDiv(number, 4)")} AS two FROM numbers({{count:UInt64}})
"""
NEW = f"""
    SELECT number, if(number % 2 = 0, {VISITOR.format("1000000000 + number")}, {ADDRESS.format("number")}) AS one,
        {ADDRESS.format("intDiv(number, 2) * 2")} AS two
    FROM numbers({{count:UInt64}})
"""


def measure(events: EventsStore, edges: int, new: int, orders: int) -> tuple[dict[str, Any], list[str]]:
    """Everything once: each of it takes seconds, and none may be warmed up by another."""
    put(events, FIRST, edges, stored=1_750_000_000)
    people = People(events, TENANT)
    say(f"{edges:,} links are stored")
    with timed() as loaded:
        people.refresh()
    with timed() as sorted_:
        events.select(SORTED_LINKS, tenant_id=TENANT)
    keys = people.known_with({visitor(events, 0)})
    faults = [] if len(keys) == min(edges, LINKS_EACH) + 1 else [f"the first person has {len(keys)} keys"]
    asked, wrong = ask(people, events, edges, orders)
    put(events, NEW, new, stored=1_760_000_000)
    with timed() as refreshed:
        changed = people.refresh()
    expected = new // 2 * (2 * LINKS_EACH + 3)
    faults += wrong + ([] if edges < LINKS_EACH * new or len(changed) == expected else [f"{len(changed)} keys changed, not {expected}"])
    bare, plain = on_arrays(edges)
    rounds = {"load": (loaded, edges), "bare_sort": (sorted_, edges), "refresh": (refreshed, new), "components": (bare, edges)}
    found = {name: figures([timing], records) for name, (timing, records) in rounds.items()}
    found["union_find"] = figures([plain], min(edges, SAMPLE))
    found["persons"] = figures([asked], orders)
    by_clock, by_cpu = ratios([loaded], [sorted_])
    scaled = Timing(plain.seconds * edges / min(edges, SAMPLE), plain.cpu_seconds * edges / min(edges, SAMPLE))
    graph_by_clock, graph_by_cpu = ratios([bare], [scaled])
    names = ("load_to_bare_sort", "components_to_union_find")
    result = {
        "figures": found,
        "ratios": dict(zip(names, (by_clock, graph_by_clock), strict=True)),
        "ratios_cpu": dict(zip(names, (by_cpu, graph_by_cpu), strict=True)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return result, faults


def put(events: EventsStore, rows: str, count: int, stored: int) -> None:
    events.command(_ROWS.replace("ROWS", rows), count=count, began=1_700_000_000, stored=stored)


def visitor(events: EventsStore, number: int) -> str:
    """The key of the visitor with this number."""
    return str(events.select(Query("visitor", f"SELECT {VISITOR.format('{number:UInt64}')}"), number=number)[0][0])


def ask(people: People, events: EventsStore, edges: int, count: int) -> tuple[Timing, list[str]]:
    """Persons of orders that visitors from all over the table placed, in batches."""
    numbers = Query("some", f"SELECT substring({VISITOR.format('number * {step:UInt64}')}, 3) FROM numbers({{count:UInt64}})")
    visitors = [row[0] for row in events.select(numbers, step=max(1, edges // count), count=count)]
    orders = [
        Order(f"E{number}", TENANT, f"O{number}", "EUR", 0, 0, (Line("1", 1),), visitor_id=one) for number, one in enumerate(visitors)
    ]
    wrong = 0
    with timed() as timing:
        for start in range(0, count, BATCH):
            found = people.persons_of(orders[start : start + BATCH])
            wrong += sum(len(person.keys) > LINKS_EACH + 1 for person in found.values())
    return timing, [f"{wrong} orders have somebody else's keys"] if wrong else []


def on_arrays(edges: int) -> tuple[Timing, Timing]:
    """Components of the same shape without a store: ours, and a plain union-find on a sample."""
    chance = np.random.default_rng(1)
    persons = edges // LINKS_EACH + 1
    name = chance.permutation(edges + persons).astype(np.int32)
    keys, others = name[:edges], name[edges + np.arange(edges) // LINKS_EACH]
    graph = KeyGraph()
    graph.grow(np.full(edges + persons, 200))
    with timed() as ours:
        graph.link(keys, others, np.zeros(edges, np.int64))
    sample = min(edges, SAMPLE)
    links = list(zip(keys[:sample].tolist(), others[:sample].tolist(), strict=True))
    with timed() as plain:
        union_find(links)
    return ours, plain


def union_find(links: list[tuple[int, int]]) -> dict[int, int]:
    """Each key's root, by path halving: what one would write by hand."""
    above: dict[int, int] = {}

    def root(key: int) -> int:
        while (next_ := above.setdefault(key, key)) != key:
            above[key] = above[next_]
            key = above[key]
        return key

    for one, two in links:
        first, second = root(one), root(two)
        above[max(first, second)] = min(first, second)
    return {key: root(key) for key in above}


def main() -> None:
    numbers = options(__doc__, edges=5_000_000, new=100_000, orders=100_000)
    with tempfile.TemporaryDirectory() as folder:
        about = machine(Path(folder))
        with closing(connect_events(f"chdb://{folder}/events")) as events:
            migrate_events(events, Settings())
            result, faults = measure(events, numbers.edges, numbers.new, numbers.orders)
    question = "How long until millions of links are persons, and until new links are among them?"
    publish({"question": question, "edges": numbers.edges, "new": numbers.new, **result, "machine": about}, faults)


if __name__ == "__main__":
    main()
