"""What every benchmark prints: figures of each contender, ratios between them, and the machine they were measured on.

A ratio is always ours ÷ baseline in work done a second, so 0.5 means "half as fast as the baseline", whatever is measured.
``ratios_cpu`` is the same by processor time instead of the clock on the wall: other programs disturb it less.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fairshare.output import log_to_stderr

SYNCS = 50


class Timing(msgspec.Struct):
    """How long one round took, by the clock on the wall and in processor time of this process, all its threads together."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Timing]:
    """Filled in when the block ends."""
    timing = Timing()
    began, cpu_began = time.perf_counter(), time.process_time()
    yield timing
    timing.seconds, timing.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began


def figures(rounds: Sequence[Timing], records: int) -> dict[str, Any]:
    """The median round; ``rounds_s`` shows how far the others were from it."""
    seconds, cpu_seconds = _median(rounds)
    return {
        "seconds": round(seconds, 4),
        "records_per_s": round(records / seconds),
        "us_per_record": round(seconds / records * 1e6, 2),
        "cpu_us_per_record": round(cpu_seconds / records * 1e6, 2),
        "rounds_s": [round(timing.seconds, 4) for timing in rounds],
    }


def ratios(ours: Sequence[Timing], baseline: Sequence[Timing]) -> tuple[float, float]:
    """By the clock, and by processor time: ours ÷ baseline for the same work, medians of the rounds."""
    (seconds, cpu_seconds), (base_seconds, base_cpu_seconds) = _median(ours), _median(baseline)
    return round(base_seconds / seconds, 4), round(base_cpu_seconds / cpu_seconds, 4)


def percentiles(values: Sequence[float], unit: str = "ms") -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and the largest, with their unit in the name."""
    ordered = sorted(values)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {f"{name}_{unit}": round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 3) for name, part in at.items()}


def machine(folder: Path) -> dict[str, Any]:
    """What the figures depend on. ``sync_p50_ms`` is one small write and its fdatasync in the benchmark's folder."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        "sync_p50_ms": round(statistics.median(_sync_times(folder)) * 1000, 3),
    }


def options(description: str | None, **numbers: int) -> argparse.Namespace:
    """A benchmark's command line: whole numbers with their defaults, as ``--records N``, and ``--json``, which is the only form."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, metavar="N", help=f"default {default:,}")
    parser.add_argument("--json", action="store_true", help="the default; there is no other form")
    log_to_stderr()
    return parser.parse_args()


def say(line: str) -> None:
    """Progress, for whoever waits."""
    print(line, file=sys.stderr, flush=True)


def publish(result: dict[str, Any], faults: Sequence[str] = ()) -> None:
    """Print a result. With ``faults`` the figures mean nothing: they are printed too, and the exit code is 1.

    ``others_used_cores`` is how many cores other programs kept busy meanwhile: near 0 for figures worth keeping.
    """
    result["machine"]["others_used_cores"] = _used_by_others()
    print(json.dumps(result | ({"faults": list(faults)} if faults else {}), indent=2))
    if faults:
        sys.exit(1)


def _usage() -> tuple[float, float, float]:
    """Now, and processor seconds so far: of the whole machine, and of this process with the children it waited for."""
    ticks = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _waiting, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    own = os.times()
    return time.monotonic(), (user + nice + system + irq + softirq) / ticks, sum(own[:4])


_BEGAN = _usage()


def _used_by_others() -> float:
    (began, all_before, own_before), (now, all_after, own_after) = _BEGAN, _usage()
    return round(max(0.0, (all_after - all_before) - (own_after - own_before)) / (now - began), 2)


def _median(rounds: Sequence[Timing]) -> tuple[float, float]:
    return statistics.median(timing.seconds for timing in rounds), statistics.median(timing.cpu_seconds for timing in rounds)


def _sync_times(folder: Path) -> list[float]:
    times = []
    path = folder / "sync-probe"
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(b"x" * 400)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return times


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
