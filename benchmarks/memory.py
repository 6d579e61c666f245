"""Does a tracker's memory stay flat, with a million links and after ten million clicks?

``python -m benchmarks.memory [--links 1000000] [--clicks 10000000] [--every 1000000]`` runs the real ``fairshare track`` with
strict durability and reads its resident memory from outside: after its start, after every million clicks, and after the
catalogue changed under it, once by one link and once by the programme that all links belong to. Every click is for another
link, from another address, by one of hundreds of browsers, so that whatever is remembered fills up.

A stand-in for the drain counts finished segments and deletes them, so that the disk does not fill. ``slope_bytes_per_click``
is the line through the samples after the first, by least squares. ``peak_mb`` is the most that ever was, as the kernel saw it.
The baseline is a dict of the same links' codes and destinations in a bare Python: ``ratios`` is its growth ÷ ours.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.result import machine, options, publish, say
from core.catalogue import Link, Programme
from core.clock import system_clock
from core.settings import Settings
from store.books import open_books
from store.catalogue import Record, put
from tracker.spool import segments

MB = 1 << 20
SEGMENT_MB = 32
SWEEP_EVERY_S = 0.5
RELOAD_WITHIN_S = 300
LONGEST_S = 86_400
BARE_DICT = """
import os, sys
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
links = {f"l{index}": f"https://shop.example/articles/{index}?ref=partners" for index in range(int(sys.argv[1]))}
print(resident() - before)
"""


class Sweeper:
    """In the drain's place: counts the records of segments that will not grow any more, and deletes them."""

    def __init__(self, folder: Path) -> None:
        self.records = 0
        self._folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Sweeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(SWEEP_EVERY_S):
            for segment in segments(self._folder)[:-1]:
                self.records += servers.lines(segment)
                segment.unlink()


def watched(settings: Settings, links: int, clicks: int, every: int, connections: int, settle_s: float) -> tuple[dict[str, Any], list[str]]:
    """Run one tracker through its life, and sample its memory."""
    samples: list[dict[str, Any]] = []
    asked = answered = failed = 0
    url = f"http://127.0.0.1:{settings.tracker_port}/c/{{code}}?sub1=spring&sub2=banner"
    with Sweeper(settings.spool / "t0") as sweeper, servers.running(servers.tracker(settings)) as (server,):
        time.sleep(settle_s)
        samples.append(_sample(server, "started", 0))
        while asked < clicks:
            chunk = min(every, clicks - asked)
            sizes: dict[str, object] = {"connections": connections, "seconds": LONGEST_S, "requests": chunk, "links": links}
            found = servers.outcome(servers.load("load", sizes | {"url": url}))
            asked, answered, failed = asked + chunk, answered + found["answered"], failed + found["failed"]
            samples.append(_sample(server, "clicked", asked))
            say(f"{asked:,} of {clicks:,} clicks, {found['requests_per_s']:,} a second, {samples[-1]['rss_mb']} MB")
        for name, record in _changes():
            with _reloaded(settings):
                _put(settings, record)
            time.sleep(settle_s)  # the thread that loads may still be at it
            samples.append(_sample(server, name, asked))
            say(f"{name}: {samples[-1]['rss_mb']} MB")
    result = {"answered": answered, "recorded": sweeper.records + servers.recorded(settings.data), "failed": failed, "samples": samples}
    return result, faults_of(result)


def faults_of(result: dict[str, Any]) -> list[str]:
    """What makes the figures worthless."""
    faults = [f"{result['failed']} requests failed"] if result["failed"] else []
    if result["answered"] != result["recorded"]:
        faults.append(f"answered {result['answered']}, recorded {result['recorded']}")
    return faults


def slope(points: list[tuple[int, int]]) -> float:
    """The slope of the line through points, by least squares; 0 where there are fewer than two."""
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return float(sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points))


def memory_of(settings: Settings, settle_s: float) -> int:
    """Resident bytes of a tracker that was just started."""
    with servers.running(servers.tracker(settings)) as (server,):
        time.sleep(settle_s)
        return server.memory_bytes()[0]


def bare_dict_bytes(links: int) -> int:
    return int(subprocess.run([sys.executable, "-c", BARE_DICT, str(links)], stdout=subprocess.PIPE, check=True).stdout)


def _sample(server: servers.Server, when: str, clicks: int) -> dict[str, Any]:
    now, peak = server.memory_bytes()
    return {"when": when, "clicks": clicks, "rss": now, "rss_mb": round(now / MB, 1), "peak_mb": round(peak / MB, 1)}


def _changes() -> list[tuple[str, Record]]:
    return [
        ("one link changed", Link("go", "shop", "main", "blog", "https://shop.example/another")),
        ("all links' programme changed", Programme("shop", "main", "Main", "https://shop.example/start", ("shop.example",))),
    ]


def _put(settings: Settings, record: Record) -> None:
    with closing(open_books(settings.books)) as books, books.writing() as connection:
        put(connection, record, "benchmark", system_clock())


@contextmanager
def _reloaded(settings: Settings) -> Iterator[None]:
    """Return once the tracker has the catalogue that the block makes.

    Raises:
        TimeoutError: it still has the old one.
    """
    before = _version(settings)
    yield
    deadline = time.monotonic() + RELOAD_WITHIN_S
    while _version(settings) == before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the tracker did not read the changed catalogue within {RELOAD_WITHIN_S} s")
        time.sleep(0.1)


def _version(settings: Settings) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy on loopback, whatever the environment says
    with opener.open(f"http://127.0.0.1:{settings.tracker_port}/health", timeout=30) as answer:
        return int(json.load(answer)["catalogue"]["version"])


def main() -> None:
    asked = options(__doc__, links=1_000_000, clicks=10_000_000, every=1_000_000, connections=64, settle_ms=int(servers.SETTLE_S * 1000))
    settle_s = asked.settle_ms / 1000
    with tempfile.TemporaryDirectory(prefix="fairshare-memory-") as name:
        folder = Path(name)
        about = {"question": "a tracker's resident memory over its life", "machine": machine(folder)}
        small = memory_of(servers.prepared(folder / "small", servers.free_port()), settle_s)
        say(f"writing {asked.links:,} links")
        settings = servers.prepared(folder / "large", servers.free_port(), asked.links, spool_segment_mb=SEGMENT_MB)
        result, faults = watched(settings, asked.links, asked.clicks, asked.every, asked.connections, settle_s)
    samples, bare = result["samples"], bare_dict_bytes(asked.links)
    started = samples[0]["rss"]
    clicked = [(one["clicks"], one["rss"]) for one in samples if one["when"] == "clicked"]
    figures = {
        "ratios": {"links_vs_bare_dict": round(bare / max(1, started - small), 4)},
        "slope_bytes_per_click": round(slope(clicked[1:]), 3),
        "peak_mb": samples[-1]["peak_mb"],
        "without_links_mb": round(small / MB, 1),
        "bytes_per_link": round((started - small) / max(1, asked.links), 1),
        "bare_dict_bytes_per_link": round(bare / max(1, asked.links), 1),
    }
    publish(about | {"links": asked.links, "clicks": asked.clicks} | figures | result, faults)


if __name__ == "__main__":
    main()
