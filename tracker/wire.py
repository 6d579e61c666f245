"""The edge on HTTP/1.1 itself: a protocol of the event loop, requests parsed by httptools (Node's llhttp). The fastest way.

One connection is one :class:`Connection`; its answers leave in the order of its requests. A click costs no task and no
future here: its record waits in the spool together with the answer. Everything else runs in a task of its own.

Bounded in every direction: bytes and number of headers, bytes of a body, requests a connection may have open, connections,
and how long each of them may take. What cannot be read as HTTP gets 400 and an end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Any
from urllib.parse import unquote

import httptools

from core.errors import BadInput, Unavailable
from core.events import Touch
from tracker.answer import Answer, header_lines, text_answer
from tracker.edge import BODY_BYTES, DRAIN_FACTOR, Edge
from tracker.hit import Hit, Proxies, hit_of, read_headers

TARGET_BYTES = 16 * 1024
HEAD_BYTES = 64 * 1024
"""Of a head, behind the piece in which it began; a piece is what the event loop reads at once, 256 KB at most."""
MOST_BYTES = HEAD_BYTES + DRAIN_FACTOR * BODY_BYTES
HEADERS = 128
OPEN_REQUESTS = 64
"""Requests of one connection without an answer; beyond, nothing more is read from it."""
PIPELINED = 512
"""As many may be in what was read at once; one more is refused."""
SHORT_BYTES = 512
"""Addresses of this length are remembered in parts, some thousand of them."""
CONNECTIONS = 20_000
HEAD_WITHIN_S = 20
IDLE_S = 75
ANSWER_WITHIN_S = 60
GOODBYE_S = 3
"""How long an ended connection may take to read its last answer."""
TICK_S = 1.0
UNREAD_S = 0.1
"""At a stop, requests that were sent already, but not read yet, are waited for so long."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_OFFER = (b"upgrade", b"connection", b"http2-settings")
_log = logging.getLogger("fairshare.wire")


class WireTracker:
    """All connections of one tracker process. Create and use it on one event loop."""

    def __init__(self, edge: Edge, proxies: Proxies, most_connections: int = CONNECTIONS) -> None:
        self.edge = edge
        self.proxies = proxies
        self.most_connections = most_connections
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self.now = 0.0
        self._begins: dict[int, str] = {}
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._last_gone: asyncio.Future[None] | None = None
        self._tick()

    async def listen(self, host: str, port: int, backlog: int) -> None:
        """Take connections, together with other trackers on the same port.

        Raises:
            OSError: another program has the port.
        """
        self._server = await self._loop.create_server(lambda: Connection(self), host, port, backlog=backlog, reuse_port=True)

    async def close(self, grace_s: float) -> None:
        """Take no more; requests in flight are answered, for ``grace_s`` at most, then every connection ends."""
        self.is_stopping = True
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(UNREAD_S)
        for connection in list(self.connections):
            connection.finish()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_gone(), max(0.0, grace_s - UNREAD_S))
        for connection in list(self.connections):
            connection.abort()
        self._timer.cancel()

    def add(self, connection: "Connection") -> bool:
        """Room for one more connection? Counts those that find none."""
        if len(self.connections) >= self.most_connections or self.is_stopping:
            self.edge.count_bad("too_many_connections")
            return False
        self.connections.add(connection)
        return True

    def remove(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        if self._last_gone is not None and not self.connections and not self._last_gone.done():
            self._last_gone.set_result(None)

    async def _all_gone(self) -> None:
        if self.connections:
            self._last_gone = self._loop.create_future()
            await self._last_gone

    def run(self, request: "Request", work: Coroutine[Any, Any, Answer]) -> "asyncio.Task[Answer]":
        """Answer a request by a task."""
        task = self._loop.create_task(work)
        task.add_done_callback(lambda done: request.send(_FAILED if done.cancelled() else _result(done)))
        return task

    def begin(self, status: int) -> str:
        """How an answer of this second begins."""
        begin = self._begins.get(status)
        if begin is None:
            begin = f"HTTP/1.1 {status} {_REASONS[status]}\r\ndate: {formatdate(time(), usegmt=True)}\r\n"
            self._begins[status] = begin
        return begin

    def _tick(self) -> None:
        """Once a second: the time, and who has taken too long. No request asks for the time of its own."""
        self.now = self._loop.time()
        self._begins = {}
        self._timer = self._loop.call_later(TICK_S, self._tick)
        for connection in [one for one in self.connections if one.deadline < self.now]:
            connection.expire()


class Request:
    """One request of a connection and its place in the order of answers. As the spool's waiter it waits for its record."""

    __slots__ = ("answer", "connection", "is_head", "keeps_alive", "raw", "task", "touch")

    def __init__(self, connection: "Connection", is_head: bool, keeps_alive: bool) -> None:
        self.connection = connection
        self.is_head = is_head
        self.keeps_alive = keeps_alive
        self.answer: Answer | None = None
        self.touch: Touch | None = None
        self.task: asyncio.Task[Answer] | None = None
        self.raw = b""

    def done(self) -> bool:
        return False

    def set_result(self, _: None, /) -> None:
        """The record is safe."""
        assert self.answer is not None, "only a click waits here"
        self.send(self.connection.wire.edge.recorded(self.answer))

    def set_exception(self, fault: Exception, /) -> None:
        """The record could not be written."""
        assert self.answer is not None, "only a click waits here"
        assert self.touch is not None, "and it is recorded"
        assert isinstance(fault, Unavailable), "the spool says what it could not do"
        self.send(self.connection.wire.edge.lost(self.touch, self.answer, fault))

    def send(self, answer: Answer) -> None:
        """Write the answer out, as soon as the answers before it have left."""
        keeps_alive = self.keeps_alive = self.keeps_alive and not self.connection.ends_with(self)
        end = "\r\n" if keeps_alive else "connection: close\r\n\r\n"
        head = f"{self.connection.wire.begin(answer.status)}{header_lines(answer)}{end}"
        assert head.count("\n") == len(answer.headers) + (3 if keeps_alive else 4), "a header holds a line break"
        self.raw = head.encode("ascii") if self.is_head or not answer.body else head.encode("ascii") + answer.body
        self.connection.flush()


class Connection(asyncio.Protocol):
    """One client. Calls ``on_…`` come from the parser."""

    def __init__(self, wire: WireTracker) -> None:
        self.wire = wire
        self.deadline = wire.now + HEAD_WITHIN_S
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._open: deque[Request] = deque()
        self._is_full = False
        self._is_held = False
        self._is_over = False
        self._target = b""
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._is_head = False
        self._is_in_message = False
        self._body: _Body | None = None

    # --- from the loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none by name
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        if not self.wire.add(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        while data and not self._is_over:
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Parse what came; returns what is to be parsed anew."""
        self._size += len(data)
        if self._is_head and self._size > HEAD_BYTES:
            self._refuse(_TOO_LONG)
        elif self._is_in_message and self._size > MOST_BYTES:
            if self._body is not None:
                self._body.overflow()
            self._read_no_more()
        else:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                return self._decline(data[offer.args[0] :])
            except httptools.HttpParserCallbackError as fault:
                self._refuse(_answer_of(fault.__context__))
            except httptools.HttpParserError:
                self._refuse(_NO_HTTP)
        return b""

    def eof_received(self) -> bool:
        """The client will send no more; it may still read."""
        if self._body is not None:
            self._body.fail()
        self._is_over = True
        return bool(self._open)

    def connection_lost(self, _reason: Exception | None) -> None:
        self._is_over = True
        self._transport = None
        self.wire.remove(self)
        if self._body is not None:
            self._body.fail()
        # The parser knows the connection: without this only the collector could part them.
        self._parser, self._body = None, None

    def pause_writing(self) -> None:
        self._is_full = True
        self._hold()

    def resume_writing(self) -> None:
        self._is_full = False
        self._let_go()

    # --- from the parser ---

    def on_message_begin(self) -> None:
        self._target = b""
        self._raw_headers = []
        self._size = 0
        self._is_head = True
        if not self._open:
            self.deadline = self.wire.now + HEAD_WITHIN_S

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head:
            raise _Refused(431, "headers behind a body are not read here")
        self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._is_head, self._size = False, 0
        parser, wire = self._parser, self.wire
        if self._is_over or parser.should_upgrade():
            return
        if len(self._target) > TARGET_BYTES:
            raise _Refused(414, f"an address may have {TARGET_BYTES // 1024} KB")
        if len(self._raw_headers) > HEADERS:
            raise _Refused(431, f"a request may have {HEADERS} headers")
        if len(self._open) >= PIPELINED:
            raise _Refused(503, f"{PIPELINED} requests of one connection wait already")
        found = read_headers(self._raw_headers)
        self._raw_headers = []
        host = found.get("host")
        if "," in host if host is not None else parser.get_http_version() != "1.0":
            raise _Refused(400, "a request names its host, once")
        method = parser.get_method().decode("ascii")
        path, query = _split(self._target) if len(self._target) <= SHORT_BYTES else _split.__wrapped__(self._target)
        hit = hit_of(method, path, query, found, self._peer, "http", wire.proxies)
        keeps_alive = parser.should_keep_alive() and ("connection" not in found or parser.get_http_version() != "1.0")
        request = Request(self, method == "HEAD", keeps_alive)
        self._open.append(request)
        self._is_in_message = True
        self.deadline = wire.now + ANSWER_WITHIN_S
        try:
            met = wire.edge.meet(hit)
            if met is None:
                self._answer_later(request, hit, found)
                return
            request.answer, request.touch = met
            if request.touch is None:
                request.send(met[0])
            else:
                wire.edge.submit(request.touch, request)
        except Unavailable as fault:
            request.set_exception(fault)
        except Exception as fault:
            request.send(_answer_of(fault))

    def on_body(self, body: bytes) -> None:
        if self._body is not None:
            self._body.feed(body)

    def on_message_complete(self) -> None:
        self._is_in_message = False
        if self._body is not None:
            self._body.end()
            self._body = None
        if len(self._open) >= OPEN_REQUESTS:
            self._hold()

    # --- answers ---

    def flush(self) -> None:
        """Send what is ready, in order. The last answer of a connection closes it."""
        transport, ready = self._transport, self._open
        if transport is None:
            ready.clear()
            return
        while ready and ready[0].raw:
            request = ready.popleft()
            transport.write(request.raw)
            if not request.keeps_alive:
                self._end()
                return
        if not ready:
            self.deadline = self.wire.now + IDLE_S
            if self._is_over or self.wire.is_stopping:
                self._end()
                return
        self._let_go()

    def ends_with(self, request: Request) -> bool:
        """True at a stop, for the last of the open requests."""
        return self.wire.is_stopping and len(self._open) > 0 and self._open[-1] is request

    def finish(self) -> None:
        """Take no new request; end once the open ones are answered."""
        if not self._open:
            self._end()

    def expire(self) -> None:
        """Too slow: silence that fills connections is an old attack. Who does not even read the end is cut off."""
        if self._is_over:
            self.abort()
        else:
            self._is_head = self._is_in_message = False
            self._end()

    def abort(self) -> None:
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def _answer_later(self, request: Request, hit: Hit, found: dict[str, str]) -> None:
        """Whatever is no touch: a task, which may read the body while it arrives."""
        self._body = body = _Body()
        if found.get("expect", "").lower() == "100-continue" and self._open[0] is request and self._transport is not None:
            self._transport.write(_CONTINUE)
        request.task = self.wire.run(request, self.wire.edge.answer(hit, body.read))
        request.task.add_done_callback(lambda _: body.discard())

    def _refuse(self, answer: Answer) -> None:
        """Answer in turn, then end: where the next request would begin, nobody knows."""
        if self._is_over:
            return
        self.wire.edge.count_bad("malformed_http")
        if self._body is not None:
            self._body.fail()
        if self._is_in_message:  # its request has its answer, or will have one; a second would reach somebody else
            self._read_no_more()
            return
        request = Request(self, is_head=False, keeps_alive=False)
        self._open.append(request)
        self._is_over = True
        request.send(answer)

    def _decline(self, rest: bytes) -> bytes:
        """An offer of another protocol: the same request, and what follows it, as if the offer had not been made."""
        method = self._parser.get_method()
        if method == b"CONNECT" or self._is_over:
            self._refuse(_NO_HTTP)
            return b""
        kept = [b"%b: %b\r\n" % header for header in self._raw_headers if header[0].lower() not in _OFFER]
        self._parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._target, b"".join(kept), rest)

    def _read_no_more(self) -> None:
        """The open requests are answered, the last of them with a goodbye."""
        self._is_over = True
        self._hold()
        if self._open:
            self._open[-1].keeps_alive = False
        else:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        self._open.clear()
        self.deadline = self.wire.now + GOODBYE_S
        if self._transport is not None:
            if (self._is_in_message or self._is_head) and self._transport.can_write_eof():
                # Who still sends would lose the answer to a reset: what comes is read and thrown away for a moment.
                self._transport.write_eof()
                if self._is_held:
                    self._is_held = False
                    self._transport.resume_reading()
            else:
                self._transport.close()

    def _hold(self) -> None:
        if self._transport is not None and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def _let_go(self) -> None:
        if self._is_held and not self._is_over and not self._is_full and len(self._open) < OPEN_REQUESTS and self._transport is not None:
            self._is_held = False
            self._transport.resume_reading()


class _Body:
    """The body of one request, as it arrives: kept up to what may be asked for, read and thrown away for some way beyond."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._length = 0
        self._whole: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def discard(self) -> None:
        """Nobody will read it."""
        self._content.clear()
        self._length = DRAIN_FACTOR * BODY_BYTES

    def feed(self, data: bytes) -> None:
        self._length += len(data)
        if self._length <= BODY_BYTES:
            self._content += data
        elif self._length > DRAIN_FACTOR * BODY_BYTES:
            self.end()

    def overflow(self) -> None:
        """More comes than anybody may send."""
        self.discard()
        self.end()

    def end(self) -> None:
        if not self._whole.done():
            self._whole.set_result(True)

    def fail(self) -> None:
        if not self._whole.done():
            self._whole.set_result(False)

    async def read(self, most_bytes: int) -> bytes | None:
        """As :data:`tracker.edge.Body`."""
        if not await self._whole:
            raise BadInput("malformed", "the body ended early")
        return bytes(self._content) if self._length <= min(most_bytes, BODY_BYTES) else None


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = text_answer(status, why + "\n")


_TOO_LONG = text_answer(431, f"the head of a request may have {HEAD_BYTES // 1024} KB\n")
_NO_HTTP = text_answer(400, "this is no HTTP request\n")
_FAILED = text_answer(500, "this went wrong here; nothing was confirmed\n")


def _result(done: "asyncio.Task[Answer]") -> Answer:
    fault = done.exception()
    return done.result() if fault is None else _answer_of(fault)


def _answer_of(fault: BaseException | None) -> Answer:
    if isinstance(fault, _Refused):
        return fault.answer
    _log.error("a request failed", exc_info=fault)
    return _FAILED


@lru_cache(maxsize=4_096)
def _split(target: bytes) -> tuple[str, str]:
    """Path, decoded, and query of a request's target; proxies may send a whole address."""
    text = target.decode("latin-1") if target.isascii() else target.decode("utf-8", "replace")
    if text[:1] != "/":
        _, scheme, rest = text.partition("://")
        text = f"/{rest.partition('/')[2]}" if scheme else text
    path, _, query = text.partition("?")
    if "#" in text:
        path, query = path.partition("#")[0], query.partition("#")[0]
    return unquote(path) if "%" in path else path, query
