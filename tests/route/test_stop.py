"""A tracker that is asked to stop under load: who asked is answered, what was answered is on disk, and it takes less than 5 s."""

import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from benchmarks.household import CODE, TOKEN, Household, answers, furnish, wait_for
from benchmarks.witness import AGENT
from tracker.counters import read_counters
from tracker.spool import read_records, segments

CONNECTIONS = 32
LATEST_S = 5.0
HELD_S = 0.4
MOMENT_S = 0.05
"""A request of the last moment may still be in the kernel when the tracker closes an idle connection: HTTP lets it."""


class Client:
    """One connection in a thread: asks again as soon as it is answered. Every fourth of them sends orders."""

    def __init__(self, port: int, number: int) -> None:
        self.answered: list[str] = []
        self.sent_at = 0.0
        """When the request was sent that has no answer; 0 where each has one."""
        self._port, self._number = port, number
        self._is_shop = number % 4 == 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive(), "a client still waits for an answer"

    def _run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.settimeout(10)
            for count in range(1_000_000):
                name = f"stop-{self._number}-{count}"
                before = time.monotonic()
                try:
                    connection.sendall(self._request(name))
                    self.sent_at = before
                    head = _answer(connection)
                except OSError:
                    return
                if not head:
                    return
                self.sent_at = 0.0
                assert head.startswith((b"HTTP/1.1 302", b"HTTP/1.1 200")), head
                self.answered.append(name if self._is_shop else head.partition(b"fsclick=")[2][:26].decode())
                if b"connection: close" in head.lower():
                    return

    def _request(self, name: str) -> bytes:
        if not self._is_shop:
            return f"GET /c/{CODE} HTTP/1.1\r\nHost: t\r\nUser-Agent: {AGENT}\r\n\r\n".encode()
        body = msgspec.json.encode({"order_id": name, "currency": "EUR", "lines": [{"line_id": "1", "net": "1.00"}], "total": "1.00"})
        head = f"POST /v1/orders HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _answer(connection: socket.socket) -> bytes:
    """Head and body of one answer; empty where the connection ended before it began. Half of an answer is a fault."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65_536)
        if not more:
            assert not received, f"an answer was cut off: {received!r}"
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
    while len(body) < length:
        more = connection.recv(65_536)
        assert more, "an answer was cut off in its body"
        body += more
    return head


@pytest.fixture(params=["wire", "granian"])
def household(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Household]:
    """Only a tracker runs, once on each server."""
    made = Household(tmp_path / "var", "apart", tracker_server=request.param)
    furnish(made.settings)
    made.processes["tracker"].start()
    try:
        wait_for("the tracker", lambda: answers(made.settings.tracker_port))
        yield made
    finally:
        made.stop()


@contextmanager
def books_locked(household: Household) -> Iterator[None]:
    """Nobody else can write to the books: orders wait, clicks do not."""
    connection = sqlite3.connect(household.settings.data / "books.sqlite", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@pytest.fixture
def slow(household: Household) -> Iterator[list[socket.socket]]:
    """Clients that sent half a request, and never send the rest: half a head, half a body, and nothing at all."""
    halves = (
        f"GET /c/{CODE} HTTP/1.1\r\nHost: t\r\nUser-Ag".encode(),
        f"POST /v1/orders HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 500\r\n\r\n".encode() + b'{"order_id":',
        b"",
    )
    opened = [socket.create_connection(("127.0.0.1", household.settings.tracker_port)) for _ in halves]
    for connection, half in zip(opened, halves, strict=True):
        connection.sendall(half)
    yield opened
    for connection in opened:
        connection.close()


def test_who_asked_before_the_signal_is_answered_and_what_was_answered_is_recorded(household: Household, slow: list[socket.socket]) -> None:
    clients = [Client(household.settings.tracker_port, number) for number in range(CONNECTIONS)]
    wait_for("answers for everybody", lambda: all(len(client.answered) > 5 for client in clients), 30)
    tracker = household.processes["tracker"]
    with books_locked(household):
        time.sleep(HELD_S)  # the shops' requests are under way now, and cannot be answered yet
        asked_at = time.monotonic()
        under_way = [client for client in clients if 0 < client.sent_at < asked_at - HELD_S / 2]
        tracker.send(signal.SIGTERM)
        time.sleep(HELD_S)
    wait_for("its end", lambda: tracker.ended() is not None, 15)
    took_s = time.monotonic() - asked_at
    for client in clients:
        client.join()

    assert tracker.ended() == 0, household.last_words()
    assert took_s < LATEST_S
    assert len(under_way) == CONNECTIONS / 4, "else the next line proves little"
    cut_off = [asked_at - client.sent_at for client in clients if 0 < client.sent_at < asked_at]
    assert [before for before in cut_off if before > MOMENT_S] == [], "sent well before the signal, and never answered"
    answered = {name for client in clients for name in client.answered}
    assert answered <= _recorded(household), "an answer was given for what is not on disk"


def _recorded(household: Household) -> set[str]:
    """The ids in the segments, which must be whole; the tracker's own count must agree."""
    found: list[str] = []
    [folder] = [path for path in household.settings.spool.iterdir() if path.is_dir()]
    for segment in segments(folder):
        assert segment.read_bytes().endswith(b"\n"), "the segment is finished"
        for _, _, payload in read_records(segment):
            assert isinstance(payload, bytes), "the segment is damaged"
            record = msgspec.json.decode(payload)
            found.append(record.get("order_id") or record["event_id"])
    counters = read_counters(folder)
    assert counters
    assert len(found) >= counters.totals.recorded >= len(found) - CONNECTIONS, "the last counts were written down"
    assert len(found) == len(set(found))
    return set(found)
