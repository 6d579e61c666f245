"""How long after its acceptance can an order's decision be read, at a constant rate of orders?

``python -m benchmarks.decided [--rate 200] [--seconds 30]`` runs the whole route with real processes: a tracker with a strict
spool, and an engine that drains, decides and books, and is asked through its door. Four clicks come with every order. A wait is
counted from the moment when the tracker received the order to the end of the first question that finds its decision.
"""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.household import CODE, TOKEN, Household, running, wait_for
from benchmarks.result import machine, options, percentiles, publish, say
from benchmarks.witness import ORDER_EVERY, Witness
from core.clock import Instant, system_clock
from store.events import EventsStore, connect_events, read_query
from store.installation import door_of_owner

NEW_DECISIONS = read_query(__file__, "new_decisions")
RECEIVED_ORDERS = read_query(__file__, "received_orders")
ASK_EVERY_S = 0.1
PATIENCE_S = 60.0


def measure(household: Household, rate: int, seconds: int) -> tuple[dict[str, Any], list[str]]:
    """Milliseconds from an order's arrival to its decision."""
    door = wait_for("the engine's door", lambda: door_of_owner(household.settings))
    with closing(connect_events(door)) as events:
        begin = system_clock()
        witness = Witness(household.settings.tracker_port, CODE, TOKEN, "w", rate * ORDER_EVERY, connections=32).start()
        seen = _watch(events, begin, lambda: time.monotonic() < until) if (until := time.monotonic() + seconds) else {}
        witness.stop()
        deadline = time.monotonic() + PATIENCE_S
        seen |= _watch(events, begin, lambda: len(seen) < len(witness.orders) and time.monotonic() < deadline, seen)
        received = dict(events.select(RECEIVED_ORDERS))
    waits = [seen[order_id] - received[order_id] for order_id in witness.orders if order_id in seen]
    missing = len(witness.orders) - len(waits)
    faults = [f"{missing} of {len(witness.orders)} accepted orders have no decision"] if missing else []
    faults += [f"the tracker refused {witness.refused} requests: {witness.refusals}"] if witness.refused else []
    took = {"orders": len(waits), "orders_per_s": round(len(waits) / seconds, 1), "clicks": len(witness.clicks)}
    return took | (percentiles(waits) if waits else {}), faults


def _watch(events: EventsStore, begin: Instant, goes_on: Any, known: dict[str, Instant] | None = None) -> dict[str, Instant]:
    """Ask for what was decided since the last answer; when each order's decision was first seen."""
    seen = known if known is not None else {}
    newest = begin
    while goes_on():
        for order_id, stored_ms in events.select(NEW_DECISIONS, after_ms=newest):
            seen.setdefault(order_id, system_clock())
            newest = max(newest, stored_ms)
        time.sleep(ASK_EVERY_S)
    return seen


def main() -> None:
    asked = options(__doc__, rate=200, seconds=30)
    with tempfile.TemporaryDirectory(prefix="fairshare-decided-") as folder:
        about = {"question": "milliseconds from an order's arrival to its decision", "rate_per_s": asked.rate, "seconds": asked.seconds}
        about |= {"machine": machine(Path(folder))}
        household = Household(Path(folder) / "data", "embedded")
        with running(household):
            say(f"{asked.rate} orders a second for {asked.seconds} s")
            result, faults = measure(household, asked.rate, asked.seconds)
    publish(about | result, faults)


if __name__ == "__main__":
    main()
