"""A closed-loop HTTP load: N keep-alive connections, each asking again as soon as it has its answer.

Run as a process of its own, on a core of its own: ``python -m benchmarks.load --url URL --connections 64 --seconds 5``.
Prints JSON: answered, failed, requests_per_s, and p50, p99, p99.9 in milliseconds.
"""

import argparse
import asyncio
import json
import time
from urllib.parse import urlsplit

import uvloop

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"


class Asker(asyncio.Protocol):
    """One connection. Answers must carry a Content-Length; anything but a 302 counts as failed."""

    def __init__(self, request: bytes, tally: "Tally", done: asyncio.Future[None]) -> None:
        self._request = request
        self._tally = tally
        self._done = done
        self._buffer = b""
        self._asked_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length_at = head.find(b"content-length:")
        length = int(head[length_at + 15 :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        self._tally.answered(time.perf_counter_ns() - self._asked_at, self._buffer.startswith(b"HTTP/1.1 302"))
        self._buffer = self._buffer[head_end + 4 + length :]
        if time.perf_counter_ns() >= self._tally.ends_at:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, _reason: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _ask(self) -> None:
        self._asked_at = time.perf_counter_ns()
        self._transport.write(self._request)


class Tally:
    def __init__(self, seconds: float) -> None:
        self.ends_at = time.perf_counter_ns() + int(seconds * 1e9)
        self.times: list[int] = []
        self.failed = 0

    def answered(self, nanoseconds: int, good: bool) -> None:
        self.times.append(nanoseconds)
        self.failed += not good


async def load(url: str, connections: int, seconds: float) -> dict[str, float]:
    """Ask ``url`` for ``seconds`` over ``connections`` and sum up."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    tally = Tally(seconds)
    began = time.perf_counter()
    waits = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda done=done: Asker(request, tally, done), parts.hostname, parts.port)  # type: ignore[misc]
        waits.append(done)
    await asyncio.wait_for(asyncio.gather(*waits), seconds + 30)
    took = time.perf_counter() - began
    times = sorted(tally.times)
    at = {name: round(times[min(len(times) - 1, int(len(times) * part))] / 1e6, 3) for name, part in PERCENTILES.items()}
    return {"answered": len(times), "failed": tally.failed, "requests_per_s": round(len(times) / took)} | at


PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p99.9_ms": 0.999}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--url", required=True)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--seconds", type=float, default=5)
    asked = options.parse_args()
    print(json.dumps(uvloop.run(load(asked.url, asked.connections, asked.seconds))))


if __name__ == "__main__":
    main()
