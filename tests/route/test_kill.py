"""kill -9 of every process at random moments under load: acknowledged = stored, each once, and the ledger verifies."""

import os
import random
import signal
from pathlib import Path

import httpx

from benchmarks import kill
from benchmarks.audit import compare_ids
from benchmarks.witness import Witness
from core.errors import Unavailable
from store.events import EventsStore, Query
from tests.route.installation import Installation, click_id, wait_for
from tests.route.test_journeys import order

ROUNDS = 50
CLICKS_PER_S = 40


def test_fifty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Two installations live through them; ``python -m benchmarks.kill --rounds 1000`` is the same for longer."""
    seed = int(os.environ.get("FAIRSHARE_TEST_KILL_SEED", random.SystemRandom().randrange(1_000_000)))
    result = kill.kill(tmp_path, ROUNDS, seed, CLICKS_PER_S)

    assert result["faults"] == [], f"seed {seed}: {result}"
    assert result["rounds_by_victim"] == {"tracker": 35, "drain": 10, "engine": 5}
    assert (result["missing"], result["doubled"]) == (0, 0)
    assert result["killed_mid_insert"] > 0, f"seed {seed}: no kill fell into an insert, so that this proved little"
    for name, home in result["installations"].items():
        assert home["acknowledged_clicks"] > 100, f"seed {seed}: {name} had hardly any load"
        assert home["acknowledged_orders"] > 20, f"seed {seed}: {name} had hardly any orders"
        assert home["unanswered"] > 0, f"seed {seed}: no kill cut off a request, so that this proved little"
        assert home["refused"] == {}, f"seed {seed}: requests were refused"


def test_a_supervisor_brings_back_what_was_killed(stopped: Installation) -> None:
    fairshare = stopped.start()
    for name in ("track", "engine"):
        before = fairshare.child(name)
        os.kill(before, signal.SIGKILL)
        wait_for(f"another {name}", lambda name=name, before=before: _child(fairshare, name) not in (0, before), 20)
        clicked = wait_for("a click", lambda: _click(fairshare), 20)
        order_id = f"after-{name}"
        assert fairshare.post("/v1/orders", order(order_id, click_id=click_id(clicked))).status_code in (200, 202)
        wait_for("the portal", lambda: _answers(f"{fairshare.ready['portal']}/health"), 30)
        assert fairshare.decided(order_id, within_s=20)["result"] == "credited"


def _child(fairshare: Installation, name: str) -> int:
    try:
        return fairshare.child(name)
    except (AssertionError, FileNotFoundError):
        return 0


def _click(fairshare: Installation) -> httpx.Response | None:
    try:
        answer = fairshare.click("anna-north")
    except httpx.TransportError:
        return None
    return answer if answer.status_code == 302 else None


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


# --- the judge itself ------------------------------------------------------------------------------------------------


class Stored(EventsStore):
    """Answers the question for stored ids with these rows."""

    def __init__(self, *rows: tuple[str, str, int]) -> None:
        self._rows = list(rows)

    def select(self, query: Query, **params: object) -> list[tuple[object, ...]]:
        if query.name != "stored_ids":
            raise Unavailable("it knows nothing else")
        return list(self._rows)


def witness(clicks: set[str], orders: set[str], unanswered: int = 0, unanswered_orders: int = 0) -> Witness:
    made = Witness(1, "go", "token", "test", clicks_per_s=1)
    made.clicks, made.orders, made.sent_orders = clicks, orders, len(orders)
    made.unanswered, made.unanswered_orders = unanswered, unanswered_orders
    return made


def test_the_audit_sees_what_is_missing_doubled_or_too_much() -> None:
    told = witness({"A", "B"}, {"o1"})

    assert compare_ids(Stored(("click", "A", 1), ("click", "B", 1), ("order", "o1", 1)), told).faults == []
    assert compare_ids(Stored(("click", "A", 1), ("order", "o1", 1)), told).faults == ["1 acknowledged events are missing, B for one"]
    assert compare_ids(Stored(("click", "A", 1), ("click", "B", 1)), told).faults == ["1 acknowledged events are missing, o1 for one"]
    assert compare_ids(Stored(("click", "A", 2), ("click", "B", 1), ("order", "o1", 1)), told).faults == [
        "1 clicks are stored twice, A for one"
    ]
    rich = Stored(("click", "A", 1), ("click", "B", 1), ("click", "C", 1), ("order", "o1", 2))
    assert len(compare_ids(rich, told).faults) == 2
    assert compare_ids(rich, witness({"A", "B"}, {"o1"}, unanswered=2, unanswered_orders=1)).faults == []


def test_each_ten_rounds_meet_every_victim_and_a_seed_chooses_the_same_again() -> None:
    chosen = kill.choose(50, random.Random(7))

    assert chosen == kill.choose(50, random.Random(7)) != kill.choose(50, random.Random(8))
    assert all(set(chosen[start : start + 10]) == {"tracker", "drain", "engine"} for start in range(0, 50, 10))
