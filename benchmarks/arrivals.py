"""An open-loop HTTP load: requests are due at a constant rate, whatever becomes of those before.

Run as a process of its own, on a core of its own: ``python -m benchmarks.arrivals --port N --rate 5000 --seconds 60``. Each
request has the moment at which it was due, every 1/rate seconds, and its answer time counts from that moment: a server that
stalls is charged for everyone who would have come meanwhile (Tene's "coordinated omission"). A request that finds all
connections waiting for answers stands in line for the first that is free.

What the generator itself does late is charged to the server too, so it is measured and printed: ``lag`` is how long after
its moment a request was noticed as due, ``late_1ms`` how many were more than a millisecond late. Small beside the answer
times, they mean that the answer times are the server's. ``lined_up`` counts those that found no free connection, which is
the server's doing.
"""

import argparse
import json
import select
import socket
import time
from collections import deque

from benchmarks.load import AGENT

PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p99.9_ms": 0.999, "max_ms": 1.0}
PATIENCE_NS = 10 * 10**9
"""How long after the last request was due its answer may take."""
REDIRECT = b"HTTP/1.1 302"
LATE_NS = 1_000_000


class Arrivals:
    """``times`` and ``lags`` are nanoseconds. ``failed`` are other answers than 302, and requests without an answer."""

    def __init__(self, connections: list[socket.socket], request: bytes, rate: int, seconds: float) -> None:
        self.times: list[int] = []
        self.lags: list[int] = []
        self.failed = 0
        self.lined_up = 0
        self._request = request
        self._every_ns = 1e9 / rate
        self._total = int(rate * seconds)
        self._free = deque(connections)
        self._line: deque[int] = deque()
        self._asked: dict[socket.socket, int] = {}
        self._parts: dict[socket.socket, bytes] = {}

    def run(self) -> float:
        """Send everything when it is due, and wait for the last answers.

        Returns:
            Seconds from the first due moment to the last answer, or to when one more would be due.
        """
        began = time.perf_counter_ns()
        sent, last = 0, began + int(self._total * self._every_ns)
        while sent < self._total or (self._asked and time.perf_counter_ns() < last + PATIENCE_NS):
            now = time.perf_counter_ns()
            while sent < self._total and (due := began + int(sent * self._every_ns)) <= now:
                self._send(due, now)
                sent += 1
                now = time.perf_counter_ns()
            next_at = began + int(sent * self._every_ns) if sent < self._total else last + PATIENCE_NS * bool(self._asked)
            # select, not epoll: only its patience is finer than a millisecond.
            readable, _, _ = select.select(list(self._asked), (), (), max(0, next_at - now) / 1e9)
            for connection in readable:
                self._read(connection)
        self.failed += len(self._asked) + len(self._line)
        return (max(last, time.perf_counter_ns()) - began) / 1e9

    def _send(self, due: int, now: int) -> None:
        self.lags.append(now - due)
        if self._free:
            self._ask(self._free.popleft(), due)
        else:
            self.lined_up += 1
            self._line.append(due)

    def _ask(self, connection: socket.socket, due: int) -> None:
        try:
            connection.send(self._request)
        except OSError:  # it hung up while nobody asked it
            self.failed += 1
            return
        self._asked[connection] = due

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65_536)
        except OSError:
            data = b""
        if not data:  # hung up: the request fails, and the connection is not used again
            del self._asked[connection]
            self.failed += 1
            return
        answer = self._parts.pop(connection, b"") + data
        if not is_whole(answer):
            self._parts[connection] = answer
            return
        self.times.append(time.perf_counter_ns() - self._asked.pop(connection))
        self.failed += not answer.startswith(REDIRECT)
        if self._line:
            self._ask(connection, self._line.popleft())
        else:
            self._free.append(connection)


def is_whole(answer: bytes) -> bool:
    """True for one complete answer: its head, and as many bytes of body as it announces."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    _, _, length = head.lower().partition(b"content-length:")
    return len(body) >= int(length.split(b"\r\n", 1)[0] or 0)


def arrive(port: int, path: str, rate: int, seconds: float, connections: int) -> dict[str, float]:
    """Put the load on ``127.0.0.1:port`` and sum up.

    Raises:
        OSError: nobody listens there.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\n\r\n".encode()
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for connection in opened:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    arrivals, cpu_began = Arrivals(opened, request, rate, seconds), time.process_time()
    took = arrivals.run()
    busy = time.process_time() - cpu_began
    for connection in opened:
        connection.close()
    counts = {"due": len(arrivals.lags), "answered": len(arrivals.times), "failed": arrivals.failed, "lined_up": arrivals.lined_up}
    rates = {"achieved_per_s": round(len(arrivals.times) / took, 1), "generator_busy": round(busy / took, 3)}
    return counts | rates | _at(arrivals.times) | _lag(arrivals.lags)


def _at(times: list[int]) -> dict[str, float]:
    ordered = sorted(times) or [0]
    return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1e6, 3) for name, part in PERCENTILES.items()}


def _lag(lags: list[int]) -> dict[str, float]:
    late = {"late_1ms": sum(lag > LATE_NS for lag in lags)}
    return {f"lag_{name}": value for name, value in _at(lags).items()} | late


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--path", default="/c/go?sub1=spring&sub2=banner")
    options.add_argument("--rate", type=int, default=5_000)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--connections", type=int, default=64)
    asked = options.parse_args()
    print(json.dumps(arrive(asked.port, asked.path, asked.rate, asked.seconds, asked.connections)))


if __name__ == "__main__":
    main()
