"""Where does each microsecond of a click go, before any server has a part in it?

``python -m benchmarks.hot_path [--calls 1000] [--rounds 50] [--clicks 20000] [--at-once 64]``

``steps_us`` takes the pure part of a click apart: each step by itself, processor time of the fastest round. ``edge_us`` is
one click through a running edge without a server, ``at-once`` clicks waiting together, by durability: beside the pure part it
holds the event loop, the group commit and its thread. What ``benchmarks.redirect`` shows as ``server_cpu_us`` beyond that
is the HTTP server's. The baseline is the part that nothing can avoid: the record as JSON with its checksum.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.result import Timing, machine, options, publish, timed
from benchmarks.servers import free_port, prepared
from core.catalogue import Programme, Tenant
from core.clock import system_clock
from core.events import encode_event
from core.ids import Mint
from core.settings import Settings
from tracker.answer import redirect
from tracker.app import running
from tracker.click import answer_click, take_aim
from tracker.commit import Durability
from tracker.destination import merge, read_destination
from tracker.hit import Hit, Proxies, read_hit, read_pairs
from tracker.links import build_table
from tracker.spool import frame

HEADERS: list[tuple[str, str | None]] = [
    ("host", "go.north.example"),
    ("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://blog.example/reviews/trail-shoes"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
]
"""What a browser sends with a click."""
PATH, QUERY, CODE = "/c/go", "sub1=spring&sub2=banner", "go"
PEER, PROXIES = "84.160.1.2:41234", Proxies(("127.0.0.1", "::1"))
MINT = Mint()
DESTINATION = "https://shop.example/landing"
TABLE = build_table(
    1,
    [Tenant("shop", "Shop", "EUR")],
    [Programme("shop", "main", "Main", "https://shop.example/", ("shop.example",))],
    [(CODE, "shop", "main", "blog", DESTINATION, "web", False)],
    {},
    b"secret",
)
AIM = take_aim(TABLE.links[CODE], read_pairs(QUERY))


def read() -> Hit:
    return read_hit("GET", PATH, QUERY, HEADERS, PEER, "http", PROXIES)


def pure_click() -> bytes:
    """Everything from the request's parts to the line for the spool; the answer is made on the way."""
    now = system_clock()
    _, touch = answer_click(read(), CODE, AIM, now, MINT.two(now))
    return frame(encode_event(touch))


def steps() -> dict[str, Callable[[], Any]]:
    """The whole, and the parts of it, in its order; those with two dots are parts of ``answer``."""
    hit, now = read(), system_clock()
    link, destination = TABLE.links[CODE], read_destination(DESTINATION)
    assert destination is not None
    ids = MINT.two(now)
    _, touch = answer_click(hit, CODE, AIM, now, ids)
    payload = encode_event(touch)
    return {
        "whole": pure_click,
        "read the request": read,
        "time and two ids": lambda: MINT.two(system_clock()),
        "answer": lambda: answer_click(hit, CODE, AIM, now, ids),
        "(first of its query: take aim": lambda: take_aim(link, read_pairs(QUERY)),
        ".. destination": lambda: merge(destination, "fsclick", ids[0]),
        ".. headers": lambda: redirect(DESTINATION, "fsv=x"),
        "encode": lambda: encode_event(touch),
        "checksum and frame": lambda: frame(payload),
    }


def fastest_us(calls: int, rounds: int) -> dict[str, float]:
    """Processor microseconds of each step, in its fastest round; rounds take turns, so that a slow moment hits every step."""
    fastest: dict[str, float] = {}
    for _ in range(rounds):
        for name, step in steps().items():
            fastest[name] = min(fastest.get(name, math.inf), _cpu_us(step, calls))
    return {name: round(us, 2) for name, us in fastest.items()}


def _cpu_us(step: Callable[[], Any], calls: int) -> float:
    began = time.thread_time_ns()
    for _ in range(calls):
        step()
    return (time.thread_time_ns() - began) / calls / 1000


async def through_the_edge(settings: Settings, clicks: int, at_once: int) -> Timing:
    """Clicks through a running edge, each asked as soon as the one before it was answered."""

    async def visitor(tracker: Any, number: int) -> None:
        for _ in range(number):
            answer = await tracker.edge.answer(read(), _no_body)
            assert answer.status == 302, "the link is in the catalogue"

    async with running(settings, "h0") as tracker:
        await visitor(tracker, 10)
        with timed() as timing:
            await asyncio.gather(*(visitor(tracker, clicks // at_once) for _ in range(at_once)))
    return timing


async def _no_body(_most_bytes: int) -> bytes | None:
    return b""


def edge_us(folder: Path, durability: Durability, clicks: int, at_once: int) -> dict[str, float]:
    settings = prepared(folder / durability, free_port(), durability=durability)
    timing = uvloop.run(through_the_edge(settings, clicks, at_once))
    asked = clicks // at_once * at_once
    return {"cpu_us": round(timing.cpu_seconds / asked * 1e6, 2), "clicks_per_s": round(asked / timing.seconds)}


def main() -> None:
    asked = options(__doc__, calls=1_000, rounds=50, clicks=20_000, at_once=64)
    with tempfile.TemporaryDirectory(prefix="fairshare-hot-path-") as folder:
        about = {"question": "microseconds of a click", "machine": machine(Path(folder))}
        times = fastest_us(asked.calls, asked.rounds)
        strict, bounded = (edge_us(Path(folder), durability, asked.clicks, asked.at_once) for durability in ("strict", "bounded"))
    unavoidable = times["encode"] + times["checksum and frame"]
    ratios = {
        "pure_click_vs_encode_and_frame": round(unavoidable / times["whole"], 4),
        "strict_edge_vs_encode_and_frame": round(unavoidable / strict["cpu_us"], 4),
    }
    edge = {"strict": strict, "bounded": bounded}
    publish(about | {"ratios": ratios, "steps_us": times, "edge_us": edge})


if __name__ == "__main__":
    main()
