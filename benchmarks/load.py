"""A closed-loop HTTP load: N keep-alive connections, each asking again as soon as it has its answer.

Run as a process of its own, on a core of its own: ``python -m benchmarks.load --url URL --connections 64 --seconds 5``. It
ends after so many seconds or, if that comes first, ``--requests``. With ``--links N`` every request is another: one of the
links ``l0`` to ``lN-1`` in place of ``{code}`` in the URL, from an address of its own, with one of many browsers.

Prints JSON: ``answered`` (whole answers), ``failed`` (answers other than 302, and requests that never got one),
``requests_per_s``, p50, p99 and p99.9 in milliseconds, and ``generator_busy``: the share of its core that the load itself
used. Near 1 it is the load that limits the figure, not the server.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import uvloop

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p99.9_ms": 0.999}
PATIENCE_S = 30


NextRequest = Callable[[], bytes]


class Tally:
    """What came of the requests. ``times`` are nanoseconds of whole answers. ``left`` is how many may still be asked."""

    def __init__(self, seconds: float, requests: int = 0) -> None:
        self.ends_at = time.perf_counter_ns() + int(seconds * 1e9)
        self.left = requests or sys.maxsize
        self.times: list[int] = []
        self.failed = 0


class Asker(asyncio.Protocol):
    """One connection. Answers must carry a Content-Length."""

    def __init__(self, request: NextRequest, tally: Tally, done: asyncio.Future[None]) -> None:
        self._request = request
        self._tally = tally
        self._done = done
        self._buffer = b""
        self._asked_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        size = _answer_size(self._buffer)
        if size == 0 or len(self._buffer) < size:
            return
        now = time.perf_counter_ns()
        self._tally.times.append(now - self._asked_at)
        self._tally.failed += not self._buffer.startswith(b"HTTP/1.1 302")
        self._buffer = self._buffer[size:]
        self._asked_at = 0
        if now >= self._tally.ends_at or self._tally.left <= 0:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, _reason: Exception | None) -> None:
        self._tally.failed += self._asked_at > 0
        if not self._done.done():
            self._done.set_result(None)

    def _ask(self) -> None:
        self._tally.left -= 1
        self._asked_at = time.perf_counter_ns()
        self._transport.write(self._request())


def _answer_size(buffer: bytes) -> int:
    """Bytes of the first answer, 0 while its head is incomplete."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    head = buffer[:head_end].lower()
    length_at = head.find(b"content-length:")
    return head_end + 4 + (int(head[length_at + 15 :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0)


def requests_to(url: str, links: int = 0) -> NextRequest:
    """The same request again and again or, with ``links``, another at each call."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\n\r\n"
    if not links:
        fixed = request.encode()
        return lambda: fixed
    before, _, after = request.replace("%", "%%").replace("Chrome/141.0.0.0", "Chrome/%d.0.%d.%d").removesuffix("\r\n").partition("{code}")
    template = f"{before}l%d{after}X-Forwarded-For: %d.%d.%d.%d\r\n\r\n"
    rng = random.Random(links)

    def another() -> bytes:
        link, browser, address = int(rng.random() * links), int(rng.paretovariate(1.2)), rng.getrandbits(32)
        hops = (1 + (address >> 24) % 223, address >> 16 & 255, address >> 8 & 255, address & 255)
        return (template % (link, 141 - browser % 12, 7200 + browser % 300, browser % 9, *hops)).encode()

    return another


async def load(url: str, connections: int, seconds: float, requests: int = 0, links: int = 0) -> dict[str, float]:
    """Ask ``url`` for ``seconds`` over ``connections``, wait for the last answers, and sum up.

    Raises:
        OSError: nobody listens there.
        TimeoutError: an answer did not come within ``PATIENCE_S`` of the end.
    """
    parts, request = urlsplit(url), requests_to(url, links)
    loop = asyncio.get_running_loop()
    tally = Tally(seconds, requests)
    began, cpu_began = time.perf_counter(), time.process_time()
    waits: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    for done in waits:
        await loop.create_connection(_factory(request, tally, done), parts.hostname or "127.0.0.1", parts.port or 80)
    await asyncio.wait_for(asyncio.gather(*waits), seconds + PATIENCE_S)
    took, busy = time.perf_counter() - began, time.process_time() - cpu_began
    times = sorted(tally.times) or [0]
    at = {name: round(times[min(len(times) - 1, int(len(times) * part))] / 1e6, 3) for name, part in PERCENTILES.items()}
    rate = {"requests_per_s": round(len(tally.times) / took), "generator_busy": round(busy / took, 3)}
    return {"answered": len(tally.times), "failed": tally.failed} | rate | at


def _factory(request: NextRequest, tally: Tally, done: "asyncio.Future[None]") -> Callable[[], Asker]:
    return lambda: Asker(request, tally, done)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", required=True)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--requests", type=int, default=0, help="stop after so many; 0: by the clock alone")
    options.add_argument("--links", type=int, default=0, help="spread over so many links, named by {code} in the URL")
    asked = options.parse_args()
    print(json.dumps(uvloop.run(load(asked.url, asked.connections, asked.seconds, asked.requests, asked.links))))


if __name__ == "__main__":
    main()
