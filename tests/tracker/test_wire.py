"""The tracker's own HTTP server: what it takes, in which order it answers, and what it does not put up with."""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import tracker.wire
from core.settings import Settings
from tests.fakes import FakeClock
from tracker.app import Running, running
from tracker.hit import Proxies, read_hit
from tracker.spool import read_records, segments
from tracker.wire import WireTracker

SECRET = "a-secret-of-the-test-installation!"
HOST = "Host: go.north.example"
ORDER = b'{"order_id":"%b","currency":"EUR","lines":[{"net":"10.00"}]}'


def get(target: str, *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", HOST, *headers, "", ""]).encode("latin-1")


def order(name: bytes = b"o-1", *headers: str) -> bytes:
    body = ORDER % name
    return get("/v1/orders", "Authorization: Bearer key-of-north", f"Content-Length: {len(body)}", *headers, method="POST") + body


class Wire:
    """A listening tracker. ``talk`` opens a connection, sends pieces with a pause between them, and reads to the end."""

    def __init__(self, wire: WireTracker, tracker: Running, folder: Path, port: int) -> None:
        self.wire = wire
        self.tracker = tracker
        self.folder = folder
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def talk(self, *pieces: bytes, within_s: float = 10.0) -> bytes:
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002 if len(pieces) > 1 else 0)
        received = await asyncio.wait_for(reader.read(), within_s)
        writer.close()
        return received

    def recorded(self) -> int:
        return sum(1 for segment in segments(self.folder) for _ in read_records(segment))


@pytest.fixture
def with_wire(catalogue_url: str, tmp_path: Path, clock: FakeClock, files: Any) -> Callable[..., Any]:
    """Run ``async def scenario(wire)`` against a listening tracker."""

    def run(scenario: Callable[[Wire], Coroutine[Any, Any, Any]], **changes: Any) -> Any:
        settings = Settings(data=tmp_path, secret=SECRET, books_url=catalogue_url, **changes)

        @asynccontextmanager
        async def listening() -> AsyncIterator[Wire]:
            async with running(settings, "t0", clock, random.Random(7).randbytes, files) as tracker:
                wire = WireTracker(tracker.edge, tracker.proxies)
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    port = int(probe.getsockname()[1])
                await wire.listen("127.0.0.1", port, 128)
                yield Wire(wire, tracker, settings.spool / "t0", port)
                await wire.close(1.0)

        async def whole() -> Any:
            async with listening() as opened:
                return await scenario(opened)

        return asyncio.run(whole())

    return run


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


def statuses(received: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", received)


# --- order and persistence ---------------------------------------------------------------------------------------------


def test_a_request_may_arrive_byte_by_byte(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        whole = get("/c/spring?sub1=x", "User-Agent: Mozilla/5.0", "Connection: close")
        received = await wire.talk(*(whole[at : at + 1] for at in range(len(whole))))
        assert statuses(received) == [b"302"]
        assert wire.recorded() == 1

    with_wire(scenario)


def test_answers_leave_in_the_order_of_the_requests(with_wire: Callable[..., Any]):
    """An order takes longer than a click: the clicks behind it wait for their turn."""

    async def scenario(wire: Wire) -> None:
        received = await wire.talk(
            order(b"o-1") + get("/c/spring") + get("/health") + order(b"o-2") + get("/nothing") + get("/c/novel", "Connection: close")
        )
        assert statuses(received) == [b"200", b"302", b"200", b"200", b"404", b"302"]
        assert received.index(b'"o-1"') < received.index(b"shop.north.example/spring") < received.index(b'"o-2"')

    with_wire(scenario)


@pytest.mark.parametrize(
    ("version", "headers", "stays"),
    [("1.1", (), True), ("1.1", ("Connection: close",), False), ("1.0", (), False), ("1.0", ("Connection: keep-alive",), False)],
)
def test_a_connection_stays_as_its_client_asks(with_wire: Callable[..., Any], version: str, headers: tuple[str, ...], stays: bool):
    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(get("/c/spring", *headers, version=version))
        head = await reader.readuntil(b"\r\n\r\n")
        assert statuses(head) == [b"302"]
        assert (b"connection: close" in head) is not stays
        if stays:
            writer.write(get("/c/spring", "Connection: close"))
        rest = await asyncio.wait_for(reader.read(), 10)
        assert len(statuses(rest)) == stays
        writer.close()

    with_wire(scenario)


def test_a_client_that_will_send_no_more_still_gets_its_answer(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(order() + get("/c/spring"))
        writer.write_eof()
        assert statuses(await asyncio.wait_for(reader.read(), 10)) == [b"200", b"302"]
        writer.close()

    with_wire(scenario)


def test_a_client_that_left_is_recorded_all_the_same(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        _, writer = await wire.connect()
        writer.write(get("/c/spring"))
        await writer.drain()
        writer.transport.abort()
        await until(lambda: wire.recorded() == 1 and not wire.wire.connections)
        health = await wire.talk(get("/health", "Connection: close"))
        assert b'"recorded":1' in health
        assert b'"unrecorded":0' in health

    with_wire(scenario)


def test_a_hundred_pipelined_clicks_are_all_answered_and_recorded(with_wire: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracker.wire, "OPEN_REQUESTS", 8)

    async def scenario(wire: Wire) -> None:
        received = await wire.talk(get("/c/spring") * 99, get("/c/spring", "Connection: close"))
        assert statuses(received) == [b"302"] * 100
        assert len(set(re.findall(rb"fsclick=(\w{26})", received))) == 100
        assert wire.recorded() == 100

    with_wire(scenario)


def test_who_asks_whether_to_go_on_is_told_to(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        whole = order(b"o-1", "Expect: 100-continue", "Connection: close")
        head, _, body = whole.partition(b"\r\n\r\n")
        reader, writer = await wire.connect()
        writer.write(head + b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert statuses(await asyncio.wait_for(reader.read(), 10)) == [b"200"]
        writer.close()

    with_wire(scenario)


def test_an_offer_of_another_protocol_is_declined_by_a_plain_answer(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        offer = get("/c/spring", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        received = await wire.talk(offer + get("/c/novel", "Connection: close"))
        assert statuses(received) == [b"302", b"302"]
        assert wire.recorded() == 2

    with_wire(scenario)


# --- what is not put up with -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),  # TLS, spoken to a plain port
        (b"GET /c/spring\r\n\r\n", b"400"),
        (b"GET /c/spring HTTP/1.1\r\n\r\n", b"400"),  # no host
        (b"GET /c/spring HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"),
        (b"GET /c/spring HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", b"400"),
        (b"GET /c/spring HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", b"400"),
        (b"GET /c/spring HTTP/1.1\r\nHost: a\r\nbad name: x\r\n\r\n", b"400"),
        (b"GET /c/" + b"a" * 90_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
        (b"GET /c/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
        (b"GET /c/spring HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(200)) + b"\r\n", b"431"),
        (b"GET /c/spring HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 90_000 + b"\r\n\r\n", b"431"),
    ],
    ids=[
        "tls",
        "0.9",
        "no host",
        "two lengths",
        "two content-lengths",
        "nul",
        "folded",
        "bad name",
        "very long target",
        "long target",
        "many",
        "long header",
    ],
)
def test_what_is_no_request_of_ours_gets_one_answer_and_an_end(with_wire: Callable[..., Any], sent: bytes, status: bytes):
    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        for at in range(0, len(sent), 8_000):
            writer.write(sent[at : at + 8_000])
            await asyncio.sleep(0.002)
        received = await asyncio.wait_for(reader.read(), 10)
        assert statuses(received) == [status]
        assert b"connection: close" in received
        writer.close()
        await until(lambda: not wire.wire.connections)

    with_wire(scenario)


def test_garbage_behind_a_good_request_does_not_spoil_its_answer(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        received = await wire.talk(get("/c/spring") + b"\x00\x01garbage\r\n\r\n")
        assert statuses(received) == [b"302", b"400"]
        assert wire.recorded() == 1

    with_wire(scenario)


def test_a_body_without_end_is_cut_off(with_wire: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracker.wire, "GOODBYE_S", 0.2)
    monkeypatch.setattr(tracker.wire, "TICK_S", 0.05)

    async def scenario(wire: Wire) -> None:
        _, writer = await wire.connect()
        writer.write(get("/v1/orders", "Authorization: Bearer key-of-north", "Transfer-Encoding: chunked", method="POST"))

        async def send_for_ever() -> None:
            while True:
                writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_for_ever(), 20)
        assert not wire.wire.connections
        assert wire.recorded() == 0
        writer.close()

    with_wire(scenario)


def test_who_is_silent_too_long_is_let_go(with_wire: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracker.wire, "HEAD_WITHIN_S", 0.2)
    monkeypatch.setattr(tracker.wire, "IDLE_S", 0.2)
    monkeypatch.setattr(tracker.wire, "TICK_S", 0.05)

    async def scenario(wire: Wire) -> None:
        silent, dripping = await wire.connect(), await wire.connect()
        idle = await wire.connect()
        idle[1].write(get("/c/spring"))

        async def drip() -> None:
            for letter in get("/c/spring", "X: " + "y" * 1000):
                dripping[1].write(bytes([letter]))
                await asyncio.sleep(0.01)

        async def hear(reader: asyncio.StreamReader) -> bytes:
            try:
                return await reader.read()
            except ConnectionResetError:  # a letter came after the server had closed
                return b""

        dripper = asyncio.create_task(drip())
        received = await asyncio.wait_for(asyncio.gather(*(hear(reader) for reader, _ in (silent, dripping, idle))), 10)
        dripper.cancel()
        assert [statuses(one) for one in received] == [[], [], [b"302"]]
        assert not wire.wire.connections
        for _, writer in (silent, dripping, idle):
            writer.close()

    with_wire(scenario)


def test_more_connections_than_there_may_be_are_refused(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        wire.wire.most_connections = 2
        first, second = await wire.connect(), await wire.connect()
        await until(lambda: len(wire.wire.connections) == 2)
        reader, third = await wire.connect()
        with suppress(ConnectionError):
            third.write(get("/c/spring"))
            assert await asyncio.wait_for(reader.read(), 10) == b""
        first[1].write(get("/health", "Connection: close"))
        assert b'"too_many_connections":1' in await asyncio.wait_for(first[0].read(), 10)
        for writer in (first[1], second[1], third):
            writer.close()

    with_wire(scenario)


# --- failures and the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overload", "status"), [("availability", b"302"), ("accountability", b"503")])
def test_a_disk_that_refuses(with_wire: Callable[..., Any], files: Any, overload: str, status: bytes):
    async def scenario(wire: Wire) -> None:
        files.full = True
        assert statuses(await wire.talk(get("/c/spring", "Connection: close"))) == [status]
        assert statuses(await wire.talk(order(b"o-1", "Connection: close"))) == [b"503"]
        files.full = False
        assert statuses(await wire.talk(get("/c/spring", "Connection: close"))) == [b"302"]
        health = await wire.talk(get("/health", "Connection: close"))
        assert b'"unrecorded":1' in health
        assert b'"recorded":1' in health
        assert wire.recorded() == 1

    with_wire(scenario, overload=overload)


def test_a_fault_of_ours_is_a_500_and_confirms_nothing(with_wire: Callable[..., Any], caplog: pytest.LogCaptureFixture):
    async def scenario(wire: Wire) -> None:
        def broken(*_: Any) -> None:
            raise ZeroDivisionError

        wire.tracker.edge.meet = broken  # type: ignore[method-assign]
        assert statuses(await wire.talk(get("/c/spring", "Connection: close"))) == [b"500"]
        assert wire.recorded() == 0

    with_wire(scenario)
    assert "a request failed" in caplog.text


def test_a_stop_answers_what_is_in_flight_and_lets_the_idle_go(with_wire: Callable[..., Any], files: Any):
    files.sync_takes_s = 0.3

    async def scenario(wire: Wire) -> None:
        idle_reader, idle = await wire.connect()
        busy_reader, busy = await wire.connect()
        half_reader, half = await wire.connect()
        busy.write(get("/c/spring"))
        half.write(b"GET /c/spring HTTP/1.1\r\nHo")
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(wire.wire.close(3.0))
        received = await asyncio.wait_for(busy_reader.read(), 10)
        assert statuses(received) == [b"302"]
        assert b"connection: close" in received
        assert await asyncio.wait_for(idle_reader.read(), 10) == b""
        assert await asyncio.wait_for(half_reader.read(), 10) == b""
        await asyncio.wait_for(closing, 5)
        with pytest.raises(OSError):
            await wire.connect()
        assert wire.recorded() == 1
        for writer in (idle, busy, half):
            writer.close()

    with_wire(scenario)


def test_what_waits_for_the_disk_has_a_bound(with_wire: Callable[..., Any], files: Any):
    files.sync_takes_s = 0.2

    async def scenario(wire: Wire) -> None:
        received = await wire.talk(get("/c/spring") * 9 + get("/c/spring", "Connection: close"))
        assert statuses(received) == [b"302"] * 10
        health = await wire.talk(get("/health", "Connection: close"))
        assert re.findall(rb'"unrecorded":(\d+)', health) == [b"6"]
        assert wire.recorded() == 4

    with_wire(scenario, spool_queue_records=4)


# --- what a fresh pair of eyes found -------------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_is_cut_off(with_wire: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    for name in ("IDLE_S", "ANSWER_WITHIN_S", "GOODBYE_S", "HEAD_WITHIN_S"):
        monkeypatch.setattr(tracker.wire, name, 0.3)
    monkeypatch.setattr(tracker.wire, "TICK_S", 0.05)

    async def scenario(wire: Wire) -> None:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", wire.port))
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(deaf, get("/c/x/x") * 20_000), 2)
        await until(lambda: not wire.wire.connections)
        deaf.close()

    with_wire(scenario)


def test_headers_behind_a_body_are_not_collected(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        received = await wire.talk(get("/c/spring", "Transfer-Encoding: chunked") + b"0\r\n" + b"x: y\r\n" * 1000)
        assert statuses(received) == [b"302"]
        assert wire.recorded() == 1

    with_wire(scenario)


@pytest.mark.parametrize("target", ["/c/spring", "/v1/orders"])
def test_one_request_has_one_answer_whatever_its_body_is(with_wire: Callable[..., Any], target: str):
    async def scenario(wire: Wire) -> None:
        method = "POST" if target == "/v1/orders" else "GET"
        received = await wire.talk(get(target, "Transfer-Encoding: chunked", method=method) + b"ZZ\r\n", b"garbage")
        assert len(statuses(received)) == 1

    with_wire(scenario)


def test_an_order_that_comes_with_an_offer_of_another_protocol_is_taken(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        whole = order(b"o-9", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        reader, writer = await wire.connect()
        writer.write(whole[:-5])
        await asyncio.sleep(0.02)
        writer.write(whole[-5:] + get("/c/spring", "Connection: close"))
        received = await asyncio.wait_for(reader.read(), 10)
        assert statuses(received) == [b"200", b"302"]
        assert b'"o-9"' in received
        assert statuses(await wire.talk(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")) == [b"400"]
        offers = get("/c/x/x", "Connection: Upgrade", "Upgrade: h2c") * 2000 + get("/c/x/x", "Connection: close")
        assert set(statuses(await wire.talk(offers))) == {b"404"}
        writer.close()

    with_wire(scenario)


def test_a_visitor_cannot_hide_behind_the_proxy(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        await wire.talk(get("/c/spring", "X-Forwarded-For: \xff, 203.0.113.9", "Connection: close"))
        segment = segments(wire.folder)[0]
        [(_, _, payload)] = read_records(segment)
        assert b'"ip":"203.0.113.9"' in bytes(payload)  # type: ignore[arg-type]

    with_wire(scenario)


def test_pixels_do_not_use_up_what_a_merchants_server_may_send(with_wire: Callable[..., Any]):
    async def scenario(wire: Wire) -> None:
        pixels = b"".join(get(f"/sale.gif?tenant=north&order_id=z{number}&amount=5") for number in range(4))
        received = await wire.talk(pixels + order(b"o-1", "Connection: close"))
        assert statuses(received) == [b"200", b"200", b"429", b"429", b"200"]

    with_wire(scenario, conversions_a_minute=2)


def test_what_one_read_brings_is_bounded(with_wire: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracker.wire, "PIPELINED", 20)

    async def scenario(wire: Wire) -> None:
        received = await wire.talk(get("/c/spring") * 50)
        assert statuses(received) == [b"302"] * 20 + [b"503"]
        assert wire.recorded() == 20

    with_wire(scenario)


def test_a_stop_answers_all_that_a_connection_has_open(with_wire: Callable[..., Any], files: Any):
    files.sync_takes_s = 0.3

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(order(b"o-1") + get("/c/spring") * 2)
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(wire.wire.close(3.0))
        received = await asyncio.wait_for(reader.read(), 10)
        assert statuses(received) == [b"200", b"302", b"302"]
        assert received.count(b"connection: close") == 1
        await asyncio.wait_for(closing, 5)
        writer.close()

    with_wire(scenario)


def test_a_caller_that_gives_up_is_counted_all_the_same(with_wire: Callable[..., Any]):
    """As an ASGI server does that cancels what its client left."""

    async def scenario(wire: Wire) -> None:
        met = wire.tracker.edge.meet(read_hit("GET", "/c/spring", "", [], "203.0.113.9", "http", Proxies(())))
        assert met is not None
        task = asyncio.create_task(wire.tracker.edge.keep(*met))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        counted = False
        for _ in range(200):  # the record is in its file before the sync that lets it count
            if counted := b'"received":1,"recorded":1' in await wire.talk(get("/health", "Connection: close")):
                break
            await asyncio.sleep(0.05)
        assert counted
        assert wire.recorded() == 1

    with_wire(scenario)
