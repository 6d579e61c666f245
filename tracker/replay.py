"""Sends an access log through the tracker's front door: each line one click, over real HTTP. Plainly I/O.

Every request carries the run's own id as ``sub1`` and its line's number as ``sub2``, so that afterwards the events store
can say what became of each.
"""

import asyncio
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httptools
import msgspec

from core.clock import HOUR, Instant, system_clock
from core.errors import BadInput, Unavailable
from store.events import EventsStore, read_query
from tracker.accesslog import Garbage, LogLine, read_line

REPLAYED_TOUCHES = read_query(__file__, "replayed_touches")
CONNECTIONS = 32
ANSWER_WITHIN_S = 10.0
RECORDED_WITHIN_S = 15.0
EXAMPLES = 20

Progress = Callable[[int, int], None]
"""Told ``(done, total)`` as lines are answered."""


class Recorded(msgspec.Struct, frozen=True):
    """What the events store has of a run. ``clicks`` are distinct touches, ``lines`` the log lines they came from;
    ``resolved`` is the share of clicks whose country is known."""

    clicks: int
    lines: int
    by_class: dict[str, int]
    by_country: dict[str, int]
    by_device: dict[str, int]
    resolved: float


class ReplayReport(msgspec.Struct, frozen=True):
    """What came of a replay. ``answered`` counts by status, ``failures`` by reason; latencies are milliseconds from when a
    request was due. ``garbage`` shows the first of the ``left_out`` lines. ``recorded`` is None where nobody could be asked, and
    ``not_looked_up`` then says why, if it was tried."""

    run_id: str
    lines: int
    left_out: int
    sent: int
    answered: dict[str, int]
    failures: dict[str, int]
    garbage: list[Garbage]
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    recorded: Recorded | None = None
    not_looked_up: str = ""


class Target(msgspec.Struct, frozen=True):
    """Where requests go: a tracker's address, and the path of one of its links."""

    host: str
    port: int
    tls: bool
    path: str
    host_header: str


def replay_log(
    path: Path,
    link: str,
    base: str,
    rate: float = 0,
    events: EventsStore | None = None,
    progress: Progress = lambda _done, _total: None,
    connections: int = CONNECTIONS,
) -> ReplayReport:
    """Send every line of a log as ``GET /c/LINK``, and say what came of it.

    Args:
        base: the tracker's address. It must count the sender among its trusted proxies, or every click has one address.
        rate: requests a second, due at fixed times whether or not earlier ones were answered; 0 sends as answers come.
        events: where to look what was recorded; waits up to ``RECORDED_WITHIN_S`` for the drain. None does not look.

    Raises:
        BadInput: ``base`` is no http or https address, or the rate is negative.
        Unavailable: nobody answers there.
    """
    if rate < 0:
        raise BadInput("malformed", f"the rate {rate} is negative; 0 sends as fast as answers come", "rate")
    run_id = f"replay-{secrets.token_hex(8)}"
    began_at = system_clock()
    run = _Run(read_target(base, link), run_id, rate, sum(1 for _ in _raw_lines(path)), progress)
    asyncio.run(run.send(_raw_lines(path), connections))
    report = run.report()
    if events is None:
        return report
    try:
        found = wait_for_recorded(events, run_id, began_at, sum(report.answered.values()))
    except Unavailable as error:
        # What was answered stays true, and took long to find out.
        return msgspec.structs.replace(report, not_looked_up=str(error))
    return msgspec.structs.replace(report, recorded=found)


def read_target(base: str, link: str) -> Target:
    """Where the clicks on a link go.

    Raises:
        BadInput: ``base`` is no http or https address.
    """
    parts = urlsplit(base)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise BadInput("malformed", f"{base!r:.200} is not an address like http://127.0.0.1:8700", "base")
    tls = parts.scheme == "https"
    path = f"{parts.path.rstrip('/')}/c/{quote(link, safe='')}"
    return Target(parts.hostname, port or (443 if tls else 80), tls, path, parts.netloc.rpartition("@")[2])


def request_of(line: LogLine, target: Target, run_id: str) -> bytes:
    """The bytes of one click, as a trusted proxy would pass it on."""
    head = [
        f"GET {target.path}?sub1={run_id}&sub2={line.number} HTTP/1.1",
        f"Host: {target.host_header}",
        f"X-Forwarded-For: {line.address}",
    ]
    head += [f"User-Agent: {line.user_agent}"] if line.user_agent else []
    head += [f"Referer: {line.referrer}"] if line.referrer else []
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def recorded(events: EventsStore, run_id: str, since: Instant) -> Recorded:
    """What the events store has of a run that began at ``since``."""
    # Another machine's clock may have stamped the rows.
    rows = events.select(REPLAYED_TOUCHES, run_id=run_id, from_ms=since - HOUR)
    by_class, by_country, by_device = Counter[str](), Counter[str](), Counter[str]()
    for traffic_class, country, device, clicks, _ in rows:
        by_class[traffic_class] += clicks
        by_country[country] += clicks
        by_device[device] += clicks
    clicks, lines = by_class.total(), sum(lines for *_, lines in rows)
    resolved = 1 - by_country[""] / clicks if clicks else 0.0
    known = Counter({country: number for country, number in by_country.items() if country})
    return Recorded(clicks, lines, _ranked(by_class), _ranked(known), _ranked(by_device), resolved)


def wait_for_recorded(events: EventsStore, run_id: str, since: Instant, expected: int, within_s: float = RECORDED_WITHIN_S) -> Recorded:
    """Like :func:`recorded`, as soon as ``expected`` lines are there; what there is after ``within_s`` otherwise."""
    deadline = time.monotonic() + within_s
    while (found := recorded(events, run_id, since)).lines < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def as_text(report: ReplayReport) -> str:
    """The report for people."""
    statuses = ", ".join(f"{number:,} with {status}" for status, number in report.answered.items()) or "none"
    lines = [
        f"{report.lines:,} lines, {report.left_out:,} left out, "
        f"{report.sent:,} sent in {report.seconds:.1f} s ({report.per_second:,.0f}/s)",
        f"answered: {statuses}; half within {report.p50_ms:.1f} ms, 99 % within {report.p99_ms:.1f} ms",
    ]
    lines += [f"failed: {number:,} times {why}" for why, number in report.failures.items()]
    lines += [f"line {garbage.line} was left out: {garbage.why}" for garbage in report.garbage]
    if report.not_looked_up:
        lines.append(f"recorded: could not be looked up: {report.not_looked_up}")
    if report.recorded:
        found = report.recorded
        lines += [
            f"recorded: {found.clicks:,} clicks of {found.lines:,} lines; country known for {found.resolved:.1%}",
            f"by class: {_listed(found.by_class)}",
            f"by country: {_listed(found.by_country)}",
            f"by device: {_listed(found.by_device)}",
        ]
    return "\n".join(lines)


def _raw_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _ranked(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _listed(counts: dict[str, int], most: int = 12) -> str:
    shown = [f"{name or '?'} {number:,}" for name, number in list(counts.items())[:most]]
    return ", ".join(shown) + (f", {len(counts) - most} more" if len(counts) > most else "")


class _Run:
    """One replay on its way."""

    def __init__(self, target: Target, run_id: str, rate: float, total: int, progress: Progress) -> None:
        self.target = target
        self.run_id = run_id
        self.rate = rate
        self.total = total
        self.progress = progress
        self.lines = self.sent = self.left_out = 0
        self.answered: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.garbage: list[Garbage] = []
        self.waits_ms: list[float] = []
        self.seconds = 0.0

    async def send(self, raw_lines: Iterator[bytes], connections: int) -> None:
        """Send everything and return when it is answered."""
        await _probe(self.target)
        queue: asyncio.Queue[tuple[float, LogLine] | None] = asyncio.Queue(2 * connections)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._work(queue))
            for raw in raw_lines:
                self.lines += 1
                line = read_line(self.lines, raw)
                if isinstance(line, Garbage):
                    self._leave_out(line)
                    continue
                due = began + self.sent / self.rate if self.rate else 0.0
                self.sent += 1
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await queue.put((due, line))
            for _ in range(connections):
                await queue.put(None)
        self.seconds = time.monotonic() - began

    def report(self) -> ReplayReport:
        waits = sorted(self.waits_ms) or [0.0]
        return ReplayReport(
            run_id=self.run_id,
            lines=self.lines,
            left_out=self.left_out,
            sent=self.sent,
            answered=dict(sorted(self.answered.items())),
            failures=_ranked(self.failures),
            garbage=self.garbage,
            seconds=round(self.seconds, 3),
            per_second=round(self.sent / self.seconds, 1) if self.seconds else 0.0,
            p50_ms=round(waits[len(waits) // 2], 3),
            p99_ms=round(waits[len(waits) * 99 // 100], 3),
        )

    def _leave_out(self, garbage: Garbage) -> None:
        self.left_out += 1
        if len(self.garbage) < EXAMPLES:
            self.garbage.append(garbage)

    async def _work(self, queue: asyncio.Queue[tuple[float, LogLine] | None]) -> None:
        connection = _Connection(self.target)
        while (item := await queue.get()) is not None:
            due, line = item
            due = due or time.monotonic()
            try:
                status = await connection.ask(request_of(line, self.target, self.run_id))
            except (OSError, TimeoutError, EOFError, httptools.HttpParserError) as error:
                self.failures[_reason(error)] += 1
                connection.drop()
            else:
                self.answered[str(status)] += 1
                self.waits_ms.append((time.monotonic() - due) * 1000)
            self.progress(self.answered.total() + self.failures.total() + self.left_out, self.total)
        connection.drop()


class _Connection:
    """One connection, kept alive from request to request and opened anew where the server closed it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> int:
        """Send one request; the status of its answer.

        Raises:
            OSError, TimeoutError, EOFError, httptools.HttpParserError: there was no whole answer. It is not sent again,
                because the tracker may have recorded it; only a connection that had been closed before is replaced.
        """
        async with asyncio.timeout(ANSWER_WITHIN_S):
            if self._reader is None or self._writer is None or self._reader.at_eof():
                self.drop()
                self._reader, self._writer = await _open(self._target)
            self._writer.write(request)
            answer = _Answer()
            while not answer.complete:
                data = await self._reader.read(65_536)
                if not data:
                    raise EOFError
                answer.parser.feed_data(data)
        if not answer.keep_alive:
            self.drop()
        return answer.status

    def drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class _Answer:
    """An HTTP answer as it comes in."""

    def __init__(self) -> None:
        self.complete = False
        self.keep_alive = False
        self.status = 0
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_message_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()  # afterwards the parser has forgotten


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(target.host, target.port, ssl=ssl.create_default_context() if target.tls else None)


async def _probe(target: Target) -> None:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            _, writer = await _open(target)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"nobody answers at {target.host} port {target.port}: {_reason(error)}") from error
    writer.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "the connection was closed before an answer"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_WITHIN_S:.0f} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
