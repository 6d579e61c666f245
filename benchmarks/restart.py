"""How soon does a tracker answer again after a restart, with a gigabyte of clicks in its folder that nobody drained yet?

``python -m benchmarks.restart [--rounds 7] [--spool-mb 1024] [--links 1]`` starts the real ``fairshare track`` on such a
folder and asks for a link until the first 302, which strict durability gives only once the click is on the disk.
``first_redirect`` is the time from the start of the process; asked every two milliseconds, from another core.

In the same rounds, as rulers: the same start on an empty folder (the gigabyte must cost nothing), a Python that only imports
the largest library on the way, one that imports Granian, and one that does nothing. ``ratios`` are their times ÷ ours.
Modules are read from the page cache, as after a crash; a machine that was just switched on is slower.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.clicks import clicks
from benchmarks.result import machine, options, publish, say
from core.clock import HOUR, system_clock
from core.events import encode_event
from tracker.spool import frame

SEGMENT_BYTES = 128 << 20
DIFFERENT_CLICKS = 2_000
ASK_EVERY_S = 0.002
GIVE_UP_S = 60
RULERS = {"python": "pass", "sqlalchemy_imported": "import sqlalchemy", "granian_imported": "import granian.server.embed, uvloop"}
FULL, EMPTY = "full", "empty"
"""The tracker ids, and so the spool folders."""


def fill(folder: Path, size: int) -> int:
    """Write finished segments of so many bytes in all, as a tracker leaves them behind; returns their records."""
    folder.mkdir(parents=True)
    now = system_clock()
    sequence, written, records = (now - 24 * HOUR) * 1000, 0, 0
    frames = [frame(encode_event(click)) for click in clicks(DIFFERENT_CLICKS, now - HOUR, seed=1)]
    batches = cycle([(b"".join(frames), len(frames))])
    while written < size:
        with (folder / f"{sequence + records:020d}.log").open("wb") as segment:
            while segment.tell() < min(SEGMENT_BYTES, size - written):
                batch, number = next(batches)
                segment.write(batch)
                records += number
            written += segment.tell()
            segment.flush()
            os.fdatasync(segment.fileno())  # else the kernel writes a gigabyte while the tracker starts
    return records


def first_redirect(program: servers.Program) -> tuple[float, float]:
    """Start a tracker, stop it at its first 302: seconds since its start, and its processor seconds until then.

    Raises:
        RuntimeError: it ended instead, or answered something else.
        TimeoutError: it answers nothing.
    """
    began = time.perf_counter()
    process = servers.start(program)
    try:
        while (status := servers.answers(program.port, "/c/go")) != b"302":
            if status or process.poll() is not None:
                raise RuntimeError(f"the tracker answered {status!r}, exit code {process.returncode}, instead of a redirect")
            if time.perf_counter() - began > GIVE_UP_S:
                raise TimeoutError(f"no redirect within {GIVE_UP_S} s")
            time.sleep(ASK_EVERY_S)
        took, cpu_seconds = time.perf_counter() - began, servers.Server(process).cpu_seconds()
        servers.stop(process)
    finally:
        process.kill()
        process.wait()
    return took, cpu_seconds


def run_python(program: str) -> tuple[float, float]:
    """A Python that runs one line and ends: seconds, and processor seconds."""
    began, cpu_before = time.perf_counter(), _children_seconds()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=servers.ROOT, preexec_fn=servers.pinned(servers.SERVER_CORE))
    return time.perf_counter() - began, _children_seconds() - cpu_before


def compare(folder: Path, rounds: int, spool_mb: int, links: int) -> tuple[dict[str, Any], list[str]]:
    """Every contender in turn, several times; the first start of each is not counted, as it may have to read from the disk."""
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    settings = servers.prepared(folder, servers.free_port(), links)
    say(f"writing {spool_mb:,} MB of clicks")
    before = fill(settings.spool / FULL, spool_mb << 20)
    times: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds + 1):
        found = {name: first_redirect(servers.tracker(settings, name)) for name in (FULL, EMPTY)}
        found |= {name: run_python(program) for name, program in RULERS.items()}
        if number:
            say(f"round {number} of {rounds}: {found[FULL][0] * 1000:.0f} ms, on an empty folder {found[EMPTY][0] * 1000:.0f} ms")
            for name, time_ in found.items():
                times.setdefault(name, []).append(time_)
    answered, recorded = 2 * (rounds + 1), servers.recorded(folder) - before
    faults = [] if recorded == answered else [f"{answered} redirects were answered, {recorded} recorded"]
    return _figures(times) | {"spool_records": before, "answered": answered, "recorded": recorded}, faults


def _figures(times: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    by_clock, by_cpu = ({name: statistics.median(pair[part] for pair in pairs) for name, pairs in times.items()} for part in (0, 1))
    return {
        "ratios": {f"full_vs_{name}": round(seconds / by_clock[FULL], 4) for name, seconds in by_clock.items() if name != FULL},
        "ratios_cpu": {f"full_vs_{name}": round(seconds / by_cpu[FULL], 4) for name, seconds in by_cpu.items() if name != FULL},
        "first_redirect": {
            name: {
                "ms": round(by_clock[name] * 1000, 1),
                "cpu_ms": round(by_cpu[name] * 1000, 1),
                "rounds_ms": [round(seconds * 1000, 1) for seconds, _ in pairs],
            }
            for name, pairs in times.items()
        },
    }


def _children_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system


def main() -> None:
    asked = options(__doc__, rounds=7, spool_mb=1024, links=1)
    with tempfile.TemporaryDirectory(prefix="fairshare-restart-") as folder:
        about = {"question": "milliseconds from a tracker's start to its first redirect", "machine": machine(Path(folder))}
        result, faults = compare(Path(folder), asked.rounds, asked.spool_mb, asked.links)
    publish(about | {"rounds": asked.rounds, "spool_mb": asked.spool_mb, "links": asked.links} | result, faults)


if __name__ == "__main__":
    main()
