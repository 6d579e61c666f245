"""How long does trying another rate card on past orders take, and how much of that is reading them?

``python -m benchmarks.simulate [--orders 200000] [--rounds 3]``

Ninety days of orders, decided and booked by the real runs on chDB and SQLite, are simulated under another card: percentages and fixed
amounts, a monthly tier, a monthly limit for each affiliate, a bonus. ``in_force`` simulates the card that booked them, which has to come
to what is booked, to the cent. The baseline reads the same orders bare: the rows of the events store in the same pages, and those of the
books through the bare driver.
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.accrue import RULES, decide_orders, prepare_books
from benchmarks.journeys import LONG_AGO
from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from core.catalogue import Bonus, Limit, RateCard, Rule, Tier, Tiers
from core.clock import DAY, system_clock
from core.settings import Settings
from fairshare.collector import undisturbed
from fairshare.demo.cast import NORTH
from payouts.accrue import accrue_once
from payouts.facts import DECISIONS_PLACED, ORDERS_PLACED, REFUNDS_PLACED, read_places
from payouts.simulate import ORDERS_AT_ONCE, Simulation, simulate
from payouts.tariffs import tariff_of
from store.books import Books, open_books
from store.events import EventsStore, connect_events

TRIED = RateCard(
    NORTH,
    "main",
    2,
    LONG_AGO,
    30,
    (
        *RULES[:-1],
        Rule(
            "all", 900, percent_bps=500, tiers=Tiers("revenue", "month", (Tier(500_00, percent_bps=700), Tier(5_000_00, percent_bps=900)))
        ),
    ),
    limits=(Limit("each", 2_000_00, "month"),),
    bonuses=(Bonus("club", "orders", "month", 50, 100_00),),
)


def compare(orders: int, rounds: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """One installation with booked orders; then rounds of simulating and of bare reading in turn."""
    settings, ours, theirs, faults = Settings(data=folder), list[Timing](), list[Timing](), list[str]()
    prepare_books(settings.books)
    with closing(connect_events(settings.events)) as events, closing(open_books(settings.books)) as books:
        decide_orders(events, settings, orders)
        accrue_once(events, books, system_clock)
        say("booked them")
        tariff = tariff_of(books, NORTH)
        assert tariff is not None, "the merchant is there"
        with undisturbed(), timed() as in_force:
            same = run(events, books, tariff.cards)
        faults += [
            f"{row.affiliate_id}: booked {row.before_minor}, simulated {row.after_minor}" for row in same.rows if row.difference_minor
        ]
        for number in range(rounds):
            with undisturbed(), timed() as timing:
                found = run(events, books, {"main": (TRIED,)})
            bare = read_bare(events, settings)
            say(f"round {number + 1} of {rounds}: {timing.seconds:.2f} s, bare reading {bare.seconds:.2f} s")
            ours.append(timing)
            theirs.append(bare)
    if found.orders != orders or not found.rows:
        faults.append(f"{found.orders} of {orders} orders were simulated, with {len(found.rows)} affiliates")
    by_clock, by_cpu = ratios(ours, theirs)
    result = {
        "simulate": figures(ours, orders) | {"lines": found.lines, "costs": found.costs, "outcomes": found.outcomes},
        "in_force": figures([in_force], orders),
        "bare_reading": figures(theirs, orders),
        "ratios": {"simulate_vs_bare_reading": by_clock},
        "ratios_cpu": {"simulate_vs_bare_reading": by_cpu},
    }
    return result, faults


def run(events: EventsStore, books: Books, cards: Any) -> Simulation:
    return simulate(events, books, NORTH, LONG_AGO, system_clock() + DAY, cards)


def read_bare(events: EventsStore, settings: Settings) -> Timing:
    """Every row that the simulation reads of the orders, and nothing made of it."""
    with undisturbed(), closing(sqlite3.connect(settings.books.removeprefix("sqlite:///"))) as connection, timed() as timing:
        places = read_places(events, NORTH, LONG_AGO, system_clock() + DAY)
        for start in range(0, len(places), ORDERS_AT_ONCE):
            page = places[start : start + ORDERS_AT_ONCE]
            for query in (DECISIONS_PLACED, REFUNDS_PLACED, ORDERS_PLACED):
                events.select(query, tenant_id=NORTH, from_ms=page[0][0], to_ms=page[-1][0])
        for statement in (
            "SELECT order_id, decision_revision, refunds_known, problem, setting FROM accruals",
            "SELECT order_id, affiliate_id, currency, sum(amount_minor) FROM commissions GROUP BY 1, 2, 3",
        ):
            for row in connection.execute(statement):
                msgspec.json.decode(row[4]) if len(row) == 5 and row[4] else None
    return timing


def main() -> None:
    asked = options(__doc__, orders=200_000, rounds=3)
    with tempfile.TemporaryDirectory(prefix="fairshare-simulate-") as folder:
        about = {"question": "seconds to try a rate card on past orders", "orders": asked.orders, "machine": machine(Path(folder))}
        result, faults = compare(asked.orders, asked.rounds, Path(folder))
    publish(about | result, faults)


if __name__ == "__main__":
    main()
