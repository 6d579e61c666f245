"""How long does a visitor wait when 5,000 clicks a second come in evenly, whatever the server does?

``python -m benchmarks.open_loop [--rate 5000] [--seconds 60] [--rounds 1] [--connections 64]`` puts the same constant load
(``benchmarks.arrivals``: answer times from the moment a request was due) on ``fairshare track`` with strict durability, on a
Starlette redirect that records nothing and, where it is installed, on nginx with a JSON log: each alone on one core, the load
on another, in turn.

``ratios`` are the baselines' answer times ÷ ours: above 1, our visitors wait less. Look at ``lag_p99_ms`` first: where the
generator was late itself, because the machine was busy, the answer times hold its lateness too. ``recorded`` counts the
records in the spool after the stop; unequal to ``answered``, or a failed request, is a fault and exit code 1.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.result import machine, options, publish, say

OURS, PLAIN, LOGGED = "fairshare_strict", "starlette_uvicorn", "nginx_json_log"
COUNTS = ("due", "answered", "failed", "lined_up", "late_1ms", "recorded")
WARM_UP_S = 0.5


def contenders() -> dict[str, Callable[[Path, int], servers.Program]]:
    found: dict[str, Callable[[Path, int], servers.Program]] = {
        OURS: lambda data, port: servers.tracker(servers.prepared(data, port)),
        PLAIN: servers.starlette,
    }
    return found | ({LOGGED: servers.nginx} if servers.has_nginx() else {})


def measure(name: str, rate: int, seconds: float, connections: int, settle_s: float) -> dict[str, Any]:
    """One round of one server: start, warm up, settle, load, stop, count."""
    with tempfile.TemporaryDirectory(prefix="fairshare-open-loop-") as folder:
        data, port = Path(folder), servers.free_port()
        asked: dict[str, object] = {"port": port, "rate": rate, "connections": connections}
        with servers.running(contenders()[name](data, port)) as (server,):
            warm_up = servers.outcome(servers.load("arrivals", asked | {"seconds": min(WARM_UP_S, seconds)}))
            time.sleep(settle_s)
            cpu_before = server.cpu_seconds()
            result = servers.outcome(servers.load("arrivals", asked | {"seconds": seconds}))
            result["server_cpu_us"] = round((server.cpu_seconds() - cpu_before) / max(1, result["answered"]) * 1e6, 2)
        result["failed"] += warm_up["failed"]
        if name != PLAIN:
            result["recorded"] = servers.recorded(data) - warm_up["answered"]
        return result


def compare(rate: int, seconds: float, rounds: int, connections: int, settle_s: float) -> dict[str, dict[str, Any]]:
    """Every server's round in turn; the medians of the rounds, and the counts of all of them together."""
    results: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, rounds + 1):
        for name in contenders():
            result = measure(name, rate, seconds, connections, settle_s)
            say(f"round {number} of {rounds}: {name} p50 {result['p50_ms']} ms, p99.9 {result['p99.9_ms']} ms, {result['failed']} failed")
            results.setdefault(name, []).append(result)
    return {name: _together(runs) for name, runs in results.items()}


def ratios(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """A baseline's answer time ÷ ours, by percentile, for each baseline."""
    return {
        f"strict_vs_{short}_{at.removesuffix('_ms')}": round(found[name][at] / found[OURS][at], 4)
        for short, name in _baselines(found)
        for at in ("p50_ms", "p99_ms", "p99.9_ms")
    }


def faults_of(found: dict[str, dict[str, Any]]) -> list[str]:
    """Every server that lost a request, or recorded more or less than it answered."""
    failed = [f"{name}: {one['failed']} of {one['due']} requests failed" for name, one in found.items() if one["failed"]]
    failed += [f"{name}: {one['due']} requests were due, {one['answered']} answered" for name, one in found.items() if _some_vanished(one)]
    unequal = [name for name, one in found.items() if one.get("recorded", one["answered"]) != one["answered"]]
    return failed + [f"{name}: answered {found[name]['answered']}, recorded {found[name]['recorded']}" for name in unequal]


def _some_vanished(one: dict[str, Any]) -> bool:
    return not one["failed"] and one["answered"] != one["due"]


def _baselines(found: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    return [(short, name) for short, name in (("starlette", PLAIN), ("nginx_json_log", LOGGED)) if name in found]


def _together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: (sum if key in COUNTS else statistics.median)(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    asked = options(__doc__, rate=5_000, seconds=60, rounds=1, connections=64, settle_ms=int(servers.SETTLE_S * 1000))
    with tempfile.TemporaryDirectory(prefix="fairshare-open-loop-") as folder:
        about = {"question": "answer times at a constant rate of clicks, open loop", "machine": machine(Path(folder))}
    sizes = {"rate_per_s": asked.rate, "seconds": asked.seconds, "rounds": asked.rounds, "connections": asked.connections}
    found = compare(asked.rate, asked.seconds, asked.rounds, asked.connections, asked.settle_ms / 1000)
    by_cpu = {
        f"strict_vs_{short}": round(found[name]["server_cpu_us"] / found[OURS]["server_cpu_us"], 4) for short, name in _baselines(found)
    }
    publish(about | sizes | {"ratios": ratios(found), "ratios_cpu": by_cpu, "servers": found}, faults_of(found))


if __name__ == "__main__":
    main()
