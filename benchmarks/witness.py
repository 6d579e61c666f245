"""A load that remembers: clicks and orders over HTTP, and every id that was acknowledged.

It runs on an event loop in a thread of its own. A click is asked once: what got no answer was promised to nobody. An order
is sent again, as a shop does, until it is confirmed. Requests keep to a schedule (an open loop), and a time is counted from
the moment when its request was due, so that a server that stalls cannot hide it.
"""

import asyncio
import json
import threading
import time
from typing import Any

import msgspec

ORDER_EVERY = 4
RECONNECT_AFTER_S = 0.02
ANSWER_WITHIN_S = 20.0
CONFIRMED_WITHIN_S = 60.0
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"


class Answer(msgspec.Struct, frozen=True):
    """What a server said; ``click_id`` where it sent a visitor on, ``closes`` where the connection ends with it."""

    status: int
    click_id: str
    closes: bool


class Witness:
    """Asks the tracker at ``port``; ``token`` is the shop's API key, ``code`` the link that visitors follow.

    ``name`` begins the ids of its orders. ``unanswered`` are requests that were sent and got no answer, ``refused`` those
    that got one which was neither a redirect nor a confirmation.
    """

    def __init__(self, port: int, code: str, token: str, name: str, clicks_per_s: int, connections: int = 8) -> None:
        self.clicks: set[str] = set()
        self.orders: set[str] = set()
        self.sent_orders = 0
        self.unanswered = self.unanswered_orders = self.refused = self.told_twice = 0
        self.refusals: dict[int, int] = {}
        self.times: list[tuple[float, float]] = []
        """``(when it was due, milliseconds until the answer)`` of every click that was answered."""
        self._port, self._code, self._token, self._name = port, code, token, name
        self._connections = connections
        self._every_s = connections / clicks_per_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=f"witness-{name}", daemon=True)

    def start(self) -> "Witness":
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ask no more, and wait until every order that was sent is confirmed."""
        self._stop.set()
        self._thread.join()

    @property
    def acknowledged(self) -> int:
        return len(self.clicks) + len(self.orders)

    async def _run(self) -> None:
        await asyncio.gather(*(self._visit(number) for number in range(self._connections)))

    async def _visit(self, number: int) -> None:
        connection = Connection(self._port)
        due = time.monotonic() + self._every_s * number / self._connections
        count = 0
        try:
            while not self._stop.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                answer = await self._click(connection, due)
                due = max(due + self._every_s, time.monotonic() - 1.0)  # a server that was away is not paid back for ever
                count += 1
                if answer and count % ORDER_EVERY == 0:
                    await self._buy(connection, f"{self._name}-{number}-{count}", answer.click_id)
        finally:
            connection.close()

    async def _click(self, connection: "Connection", due: float) -> Answer | None:
        answer = await self._ask(connection, f"GET /c/{self._code} HTTP/1.1\r\nHost: t\r\nUser-Agent: {AGENT}\r\n\r\n".encode())
        if answer is None:
            return None
        self.times.append((due, (time.monotonic() - due) * 1000))
        if answer.status != 302 or not answer.click_id:
            self._refuse(answer)
            return None
        self.told_twice += answer.click_id in self.clicks
        self.clicks.add(answer.click_id)
        return answer

    async def _buy(self, connection: "Connection", order_id: str, click_id: str) -> None:
        lines = [{"line_id": "1", "net": "10.00"}]
        order = {"order_id": order_id, "currency": "EUR", "click_id": click_id, "lines": lines, "total": "10.00"}
        body = json.dumps(order).encode()
        head = f"POST /v1/orders HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.sent_orders += 1
        give_up = time.monotonic() + CONFIRMED_WITHIN_S
        while time.monotonic() < give_up:
            answer = await self._ask(connection, request)
            if answer and answer.status == 200:
                self.orders.add(order_id)
                return
            if answer:
                self._refuse(answer)
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _ask(self, connection: "Connection", request: bytes) -> Answer | None:
        try:
            if not await connection.is_open():
                return None
            return await connection.ask(request)
        except (OSError, EOFError, ValueError, TimeoutError):
            self.unanswered += 1
            self.unanswered_orders += request.startswith(b"POST")
            connection.close()
            return None

    def _refuse(self, answer: Answer) -> None:
        self.refused += 1
        self.refusals[answer.status] = self.refusals.get(answer.status, 0) + 1


class Connection:
    """One connection to a tracker on loopback, opened anew whenever it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def is_open(self) -> bool:
        """False, after a moment, where nobody listens now: nothing was sent, so nothing can be lost."""
        if self._streams and self._streams[0].at_eof():  # closed between two requests, as a server may
            self.close()
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(RECONNECT_AFTER_S)
                return False
        return True

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its whole answer.

        Raises:
            OSError, EOFError, TimeoutError: there is none.
        """
        assert self._streams, "ask is_open first"
        reader, writer = self._streams
        writer.write(request)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            await reader.readexactly(int(headers.get("content-length", "0")))
        closes = headers.get("connection") == "close"
        if closes:
            self.close()
        click_id = headers.get("location", "").partition("fsclick=")[2].partition("&")[0].partition("#")[0].upper()
        return Answer(int(head[0].split(" ", 2)[1]), click_id, closes)

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


def percentile(times: list[float], part: float) -> float:
    """In the unit of ``times``; 0 where there are none."""
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 2) if ordered else 0.0


def as_plain(witness: Witness) -> dict[str, Any]:
    """What it saw, for a result."""
    return {
        "acknowledged_clicks": len(witness.clicks),
        "acknowledged_orders": len(witness.orders),
        "unanswered": witness.unanswered,
        "unanswered_orders": witness.unanswered_orders,
        "refused": witness.refusals,
    }
