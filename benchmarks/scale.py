"""Does a second tracker process on a second core double what an installation takes?

``python -m benchmarks.scale [--rounds 3] [--seconds 5] [--connections 64]`` loads one tracker on one core, and then two that
share the port, each on a core of its own, with twice the connections; nginx with a JSON log and one or two workers is the
ruler, which shows how much the machine itself doubles (two cores of a cloud machine are often two threads of one).

The load has to run somewhere. From four cores on it has cores of its own, as many as the servers. On two or three cores every
server core carries its own load generator as well: one core with a tracker and a generator against two cores with one of
each. That doubles everything, so the ratio is honest, but diluted: ``load_share`` is the part of the used processor time
that was the generators', which scales without effort. So look at ``ratios_cpu`` too: 2 × the processor time of a click with
one tracker ÷ that with two, which sees only the servers; and which does not see waiting, for a lock or a disk.

``second_vs_first`` is requests a second with two ÷ with one. ``recorded`` counts all spools (or nginx's log) after the stop;
unequal to ``answered``, a failed request, or a tracker that got no click is a fault and exit code 1.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.result import machine, options, publish, say

OURS, RULER = "fairshare_strict", "nginx_json_log"
WARM_UP_S = 0.5
CLICK = "c/go?sub1=spring&sub2=banner"


def cores_of(processes: int) -> tuple[list[int], list[int]]:
    """Where so many servers run, and where their loads do: apart where there are enough cores for two of each."""
    apart = len(servers.CORES) >= 4
    return servers.CORES[:processes], servers.CORES[2 : 2 + processes] if apart else servers.CORES[:processes]


def programs(name: str, data: Path, port: int, processes: int) -> list[servers.Program]:
    """The same installation on one core or on two."""
    cores, _ = cores_of(processes)
    if name == RULER:
        return [servers.nginx(data, port, cores)]
    settings = servers.prepared(data, port)
    return [servers.tracker(settings, f"t{number}", (core,)) for number, core in enumerate(cores)]


def measure(name: str, processes: int, seconds: float, connections: int, settle_s: float) -> dict[str, Any]:
    """One round: start, warm up, settle, load, stop, count."""
    with tempfile.TemporaryDirectory(prefix="fairshare-scale-") as folder:
        data, port = Path(folder), servers.free_port()
        with servers.running(*programs(name, data, port, processes)) as running:
            warm_up = ask(port, processes, min(WARM_UP_S, seconds), connections)
            time.sleep(settle_s)
            cpu_before = [server.cpu_seconds() for server in running]
            result = ask(port, processes, seconds, connections)
            used = [server.cpu_seconds() - before for server, before in zip(running, cpu_before, strict=True)]
        answered = max(1, result["answered"])
        result["failed"] += warm_up["failed"]
        result["recorded"] = servers.recorded(data) - warm_up["answered"]
        result["server_cpu_us"] = round(sum(used) / answered * 1e6, 2)
        result["load_share"] = round(result["load_cpu_us"] * answered / (result["load_cpu_us"] * answered + sum(used) * 1e6), 3)
        if name == OURS:
            result["by_tracker"] = [servers.recorded_in(folder) for folder in sorted((data / "spool").iterdir())]
        return result


def ask(port: int, processes: int, seconds: float, connections: int) -> dict[str, Any]:
    """One closed-loop load for each server, all at once; their figures together."""
    _, cores = cores_of(processes)
    url = f"http://127.0.0.1:{port}/{CLICK}"
    loads = [servers.load("load", {"url": url, "connections": connections, "seconds": seconds}, (core,)) for core in cores]
    found = [servers.outcome(load) for load in loads]
    answered = sum(one["answered"] for one in found)
    busy_us = sum(one["generator_busy"] * one["answered"] / one["requests_per_s"] for one in found if one["requests_per_s"]) * 1e6
    return {
        "answered": answered,
        "failed": sum(one["failed"] for one in found),
        "requests_per_s": sum(one["requests_per_s"] for one in found),
        "load_cpu_us": round(busy_us / max(1, answered), 2),
        "p50_ms": statistics.mean(one["p50_ms"] for one in found),
        "p99_ms": max(one["p99_ms"] for one in found),
    }


def compare(rounds: int, seconds: float, connections: int, settle_s: float) -> tuple[dict[str, Any], list[str]]:
    """One and two processes of each server in turn; medians of the rounds."""
    results: dict[str, list[dict[str, Any]]] = {}
    faults: list[str] = []
    for number in range(1, rounds + 1):
        for name in (OURS, RULER) if servers.has_nginx() else (OURS,):
            for processes in (1, 2):
                label = f"{name}_{processes}"
                result = measure(name, processes, seconds, connections, settle_s)
                say(f"round {number} of {rounds}: {label} answered {result['requests_per_s']:,} a second")
                results.setdefault(label, []).append(result)
                faults += faults_of(label, result)
    found = {label: _together(runs) for label, runs in results.items()}
    second = {name: _second(found, name, "requests_per_s") for name in (OURS, RULER) if f"{name}_2" in found}
    by_cpu = {name: 2 / _second(found, name, "server_cpu_us") for name in second}
    return {"ratios": _ratios(second), "ratios_cpu": _ratios(by_cpu), "servers": found}, faults


def faults_of(label: str, result: dict[str, Any]) -> list[str]:
    """What makes the figures of a round worthless."""
    faults = [f"{label}: {result['failed']} requests failed"] if result["failed"] else []
    if result["recorded"] != result["answered"]:
        faults.append(f"{label}: answered {result['answered']}, recorded {result['recorded']}")
    if not all(result.get("by_tracker", [1])):
        faults.append(f"{label}: a tracker got no click: {result['by_tracker']}")
    return faults


def _second(found: dict[str, dict[str, Any]], name: str, figure: str) -> float:
    """The figure with two processes ÷ with one."""
    return float(found[f"{name}_2"][figure] / found[f"{name}_1"][figure])


def _ratios(second: dict[str, float]) -> dict[str, float]:
    """Ours, the ruler's, and ours by the ruler's: 1 would be "as well as nginx on this machine"."""
    found = {"second_vs_first": round(second[OURS], 4)}
    if RULER in second:
        found |= {"nginx_second_vs_first": round(second[RULER], 4), "second_vs_nginx_second": round(second[OURS] / second[RULER], 4)}
    return found


def _together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    medians = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "by_tracker"}
    totals = {key: sum(run[key] for run in runs) for key in ("answered", "failed", "recorded")}
    more = {"by_tracker": [run["by_tracker"] for run in runs]} if "by_tracker" in runs[0] else {}
    return medians | totals | more


def main() -> None:
    asked = options(__doc__, rounds=3, seconds=5, connections=64, settle_ms=int(servers.SETTLE_S * 1000))
    if len(servers.CORES) < 2:
        raise SystemExit("a second tracker needs a second core, and this process may use one only")
    with tempfile.TemporaryDirectory(prefix="fairshare-scale-") as folder:
        about: dict[str, Any] = {
            "question": "clicks a second of two trackers on two cores by those of one",
            "machine": machine(Path(folder)),
        }
    about |= {"load_has_cores_of_its_own": len(servers.CORES) >= 4, "rounds": asked.rounds, "connections_a_process": asked.connections}
    result, faults = compare(asked.rounds, asked.seconds, asked.connections, asked.settle_ms / 1000)
    publish(about | result, faults)


if __name__ == "__main__":
    main()
