"""kill -9 of each process in the middle of a run: acknowledged = stored, nothing twice, the ledger verifies."""

import os
import signal
import threading
from pathlib import Path

import httpx

from tests.route.installation import Installation, click_id, wait_for
from tests.route.test_journeys import order


def test_a_killed_tracker_and_a_killed_engine_lose_nothing_and_double_nothing(stopped: Installation) -> None:
    fairshare = stopped.start()
    clicks: list[str] = []
    orders: list[str] = []
    done = threading.Event()

    def shop() -> None:
        number = 0
        while not done.is_set():
            number += 1
            try:
                answer = fairshare.click("anna-north")
                clicks.append(click_id(answer))
                if number % 4 == 0 and fairshare.post("/v1/orders", order(f"K-{number}", click_id=clicks[-1])).status_code in (200, 202):
                    orders.append(f"K-{number}")
            except httpx.TransportError:
                continue  # not acknowledged: the process was dead

    shopper = threading.Thread(target=shop)
    shopper.start()
    for name in ("track", "engine", "track", "engine"):
        seen = len(orders)
        wait_for("some orders", lambda seen=seen: len(orders) > seen + 5, 20)
        os.kill(fairshare.child(name), signal.SIGKILL)
    seen = len(orders)
    wait_for("orders after the last kill", lambda: len(orders) > seen + 5, 20)
    done.set()
    shopper.join()

    wait_for("the portal to be back", lambda: _answers(f"{fairshare.ready['portal']}/health"), 30)
    for order_id in orders:
        assert fairshare.decided(order_id, within_s=20)["result"] == "credited"
    fairshare.stop()

    stored = _stored(fairshare.data)
    assert set(clicks) <= set(stored["clicks"]), "an acknowledged click is missing"
    assert len(stored["clicks"]) == len(set(stored["clicks"])), "a click is stored twice"
    assert set(orders) <= set(stored["orders"])
    assert len(stored["orders"]) == len(set(stored["orders"])), "an order is stored twice"
    verified = fairshare.run_json("verify")
    assert verified["ok"] is True


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _stored(data: Path) -> dict[str, list[str]]:
    """Raw ids in the events store, read by a process of its own: one process may open one chDB folder."""
    import json
    import subprocess
    import sys

    script = (
        "import clickhouse_connect, json, sys\n"
        "client = clickhouse_connect.get_client(dsn=f'chdb://{sys.argv[1]}')\n"
        "ids = lambda sql: [row[0] for row in client.query(sql).result_rows]\n"
        "print(json.dumps({'clicks': ids('SELECT touch_id FROM touches'), 'orders': ids('SELECT order_id FROM orders')}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(data / "events")], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)
