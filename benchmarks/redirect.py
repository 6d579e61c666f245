"""How fast is a full click (link look-up, id, cookie, durable record) beside servers that do less?

``python -m benchmarks.redirect [--rounds 3] [--seconds 4] [--connections 64] [--servers NAME,NAME]`` starts in turn, interleaved
over several rounds, each pinned to one core with the load generator on another: Fairshare (its own server, RSGI on Granian,
ASGI on uvicorn; strict and bounded), nginx ``return 302`` with an unbuffered JSON access log (where nginx is installed), and
a plain Starlette redirect on uvicorn that records nothing.

``recorded`` counts the records in the spool, or the lines of nginx's log, after the server has stopped; where it is not
``answered``, or a request failed, the result lists it under ``faults`` and the exit code is 1. ``server_cpu_us`` is the
server's processor time a request. Where ``generator_busy`` is near 1 the load was the limit: compare by ``ratios_cpu`` then.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from benchmarks.result import machine, publish, say
from benchmarks.servers import (
    SETTLE_S,
    Program,
    asgi,
    free_port,
    has_nginx,
    load,
    nginx,
    outcome,
    prepared,
    recorded,
    running,
    starlette,
    tracker,
)

WARM_UP_S = 0.5
PAIRS = {
    "strict_wire_vs_nginx_json_log": ("fairshare_strict_wire", "nginx_json_log"),
    "strict_wire_vs_starlette": ("fairshare_strict_wire", "starlette_uvicorn"),
    "bounded_wire_vs_nginx_json_log": ("fairshare_bounded_wire", "nginx_json_log"),
    "strict_rsgi_vs_nginx_json_log": ("fairshare_strict_rsgi", "nginx_json_log"),
    "bounded_rsgi_vs_nginx_json_log": ("fairshare_bounded_rsgi", "nginx_json_log"),
    "strict_rsgi_vs_starlette": ("fairshare_strict_rsgi", "starlette_uvicorn"),
    "bounded_rsgi_vs_starlette": ("fairshare_bounded_rsgi", "starlette_uvicorn"),
    "strict_asgi_vs_starlette": ("fairshare_strict_asgi", "starlette_uvicorn"),
}
"""The ratios: ours, and its baseline."""


@dataclass
class Contender:
    """A server to measure: the program in a folder, on a port; whether it records its clicks."""

    name: str
    program: Callable[[Path, int], Program]
    records: bool = True


def contenders() -> list[Contender]:
    found = [
        Contender("fairshare_strict_wire", _tracker("strict", "wire")),
        Contender("fairshare_bounded_wire", _tracker("bounded", "wire")),
        Contender("fairshare_strict_rsgi", _tracker("strict", "granian")),
        Contender("fairshare_bounded_rsgi", _tracker("bounded", "granian")),
        Contender("fairshare_strict_asgi", lambda data, port: asgi(prepared(data, port))),
        Contender("starlette_uvicorn", starlette, records=False),
    ]
    return [*found, Contender("nginx_json_log", nginx)] if has_nginx() else found


def _tracker(durability: str, server: str) -> Callable[[Path, int], Program]:
    return lambda data, port: tracker(prepared(data, port, durability=durability, tracker_server=server))


# --- a round ---------------------------------------------------------------------------------------------------------


def measure(contender: Contender, seconds: float, connections: int, settle_s: float = SETTLE_S) -> dict[str, Any]:
    """One round: start, warm up, settle, load, stop, count."""
    with tempfile.TemporaryDirectory(prefix="fairshare-redirect-") as folder:
        data, port = Path(folder) / "data", free_port()
        data.mkdir()
        url = f"http://127.0.0.1:{port}/c/go?sub1=spring&sub2=banner"
        with running(contender.program(data, port)) as (server,):
            warm_up = _load(url, connections, min(WARM_UP_S, seconds))
            sleep(settle_s)
            cpu_before = server.cpu_seconds()
            result = _load(url, connections, seconds)
            result["server_cpu_us"] = round((server.cpu_seconds() - cpu_before) / max(1, result["answered"]) * 1e6, 2)
        result["failed"] += warm_up["failed"]
        if contender.records:
            result["recorded"] = recorded(data) - warm_up["answered"]
        return result


def _load(url: str, connections: int, seconds: float) -> dict[str, Any]:
    return outcome(load("load", {"url": url, "connections": connections, "seconds": seconds}))


# --- the comparison --------------------------------------------------------------------------------------------------


def compare(rounds: int, seconds: float, connections: int, only: set[str], settle_s: float) -> dict[str, Any]:
    """Interleaved rounds, so that a busy moment of the machine hits everyone; the median round counts."""
    results: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, rounds + 1):
        for contender in contenders():
            if not only or contender.name in only:
                result = measure(contender, seconds, connections, settle_s)
                say(f"round {number} of {rounds}: {contender.name} answered {result['requests_per_s']:,} a second")
                results.setdefault(contender.name, []).append(result)
    servers = {name: _median(runs) for name, runs in results.items()}
    rates = {name: server["requests_per_s"] for name, server in servers.items()}
    by_cpu = {name: 1 / server["server_cpu_us"] for name, server in servers.items() if server["server_cpu_us"]}
    return {"ratios": _ratios(rates), "ratios_cpu": _ratios(by_cpu), "servers": servers}


def faults_of(servers: dict[str, dict[str, Any]]) -> list[str]:
    """Every server that lost a request, or recorded more or less than it answered."""
    failed = [f"{name}: {server['failed']} requests failed" for name, server in servers.items() if server["failed"]]
    unequal = {name: server for name, server in servers.items() if server.get("recorded", server["answered"]) != server["answered"]}
    return failed + [f"{name}: answered {server['answered']}, recorded {server['recorded']}" for name, server in unequal.items()]


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The middle round by rate, with the counts of all rounds together."""
    middle = sorted(runs, key=lambda run: run["requests_per_s"])[len(runs) // 2]
    totals = {key: sum(run[key] for run in runs) for key in ("answered", "failed", "recorded") if key in middle}
    medians = {"requests_per_s": round(statistics.median(run["requests_per_s"] for run in runs))}
    medians["server_cpu_us"] = round(statistics.median(run["server_cpu_us"] for run in runs), 2)
    return middle | totals | medians | {"rounds_per_s": [run["requests_per_s"] for run in runs]}


def _ratios(rate: dict[str, float]) -> dict[str, float]:
    known = {name: pair for name, pair in PAIRS.items() if rate.keys() >= set(pair)}
    return {name: round(rate[ours] / rate[theirs], 4) for name, (ours, theirs) in known.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--settle", type=float, default=SETTLE_S, help="seconds between start and load")
    options.add_argument("--servers", default="", help="only these, by name, separated by commas")
    options.add_argument("--json", action="store_true", help="the default; there is no other form")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairshare-redirect-") as folder:
        about = {"question": "clicks a second on one core, closed loop", "machine": machine(Path(folder))}
    sizes = {"connections": asked.connections, "rounds": asked.rounds, "seconds": asked.seconds}
    result = compare(asked.rounds, asked.seconds, asked.connections, {name for name in asked.servers.split(",") if name}, asked.settle)
    publish(about | sizes | result, faults_of(result["servers"]))


if __name__ == "__main__":
    main()
