"""An access log through the front door: every line answered and accounted for."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput, Unavailable
from core.events import Touch, encode_event
from core.settings import Settings
from store.events import EventsStore
from tests.fakes import NOON, FakeClock
from tracker.accesslog import Garbage, LogLine, read_line
from tracker.drain import Drain
from tracker.replay import Recorded, ReplayReport, Target, as_text, read_target, recorded, replay_log, request_of, wait_for_recorded
from tracker.spool import frame

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"


def line(address: str = "203.0.113.9", request: str = "GET / HTTP/1.1", referrer: str = "-", agent: str = "-") -> str:
    return f'{address} - - [17/May/2015:10:05:03 +0000] "{request}" 200 12 "{referrer}" "{agent}"'


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(agent=CHROME, referrer="https://blog.example/?a=b c"), LogLine(1, "203.0.113.9", CHROME, "https://blog.example/?a=b c")),
        (line(), LogLine(1, "203.0.113.9", "", "")),
        (line(address="2001:db8::1"), LogLine(1, "2001:db8::1", "", "")),
        (line(agent='say \\"hi\\" \\\\o/'), LogLine(1, "203.0.113.9", 'say "hi" \\o/', "")),
        (line(agent="caf\\xc3\\xa9"), LogLine(1, "203.0.113.9", "café".encode().decode("latin-1"), "")),
        (line(agent="a\\r\\nX-Evil: 1\\x00\\x1bb"), LogLine(1, "203.0.113.9", "a X-Evil: 1 b", "")),
        (line(request="\\x16\\x03\\x01"), LogLine(1, "203.0.113.9", "", "")),
        (line(request='GET /a\\"b HTTP/1.0'), LogLine(1, "203.0.113.9", "", "")),
        (line(agent="cut off in the mid")[:-1], LogLine(1, "203.0.113.9", "cut off in the mid", "")),
        (line().replace("- - [", "ident frank van der Berg ["), LogLine(1, "203.0.113.9", "", "")),
        (line().replace('" 200 12 "', '" - - "'), LogLine(1, "203.0.113.9", "", "")),
        ("", Garbage(1, "it is not in the combined log format")),
        ("hello", Garbage(1, "it is not in the combined log format")),
        (line().replace("[", ""), Garbage(1, "it is not in the combined log format")),
        (line() + " and more", Garbage(1, "it is not in the combined log format")),
        (line(address="crawler.example"), Garbage(1, "'crawler.example' is not an address")),
        (line(agent="x" * 70_000), Garbage(1, "it is longer than 65536 bytes")),
    ],
)
def test_a_line_is_read_or_named_as_garbage(text: str, expected: LogLine | Garbage) -> None:
    assert read_line(1, text.encode() + b"\r\n") == expected


@given(st.binary(max_size=200))
def test_no_line_raises(raw: bytes) -> None:
    assert isinstance(read_line(1, raw), LogLine | Garbage)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_field_can_add_a_header(agent: bytes, referrer: bytes) -> None:
    escaped = [b"".join(b"\\x%02x" % byte for byte in field) or b"-" for field in (agent, referrer)]
    raw = line(referrer="REF", agent="AGENT").encode().replace(b"REF", escaped[1]).replace(b"AGENT", escaped[0])
    read = read_line(7, raw)

    assert isinstance(read, LogLine)
    request = request_of(read, Target("h", 80, False, "/c/a1", "h"), "run")
    names = [header.partition(b":")[0] for header in request.split(b"\r\n")[1:-2]]
    assert names in ([*head, *tail] for head in [[b"Host", b"X-Forwarded-For"]] for tail in _subsets(b"User-Agent", b"Referer"))
    assert request.count(b"\n") == len(names) + 2


def _subsets(first: bytes, second: bytes) -> list[list[bytes]]:
    return [[], [first], [second], [first, second]]


def test_a_request_carries_address_agent_referrer_and_where_it_came_from() -> None:
    target = read_target("https://go.north.example/x/", "spring/1")

    assert target == Target("go.north.example", 443, True, "/x/c/spring%2F1", "go.north.example")
    assert request_of(LogLine(7, "203.0.113.9", CHROME, "https://blog.example/"), target, "replay-1") == (
        b"GET /x/c/spring%2F1?sub1=replay-1&sub2=7 HTTP/1.1\r\n"
        b"Host: go.north.example\r\n"
        b"X-Forwarded-For: 203.0.113.9\r\n"
        b"User-Agent: " + CHROME.encode() + b"\r\n"
        b"Referer: https://blog.example/\r\n\r\n"
    )


@pytest.mark.parametrize("base", ["", "127.0.0.1:8700", "ftp://x", "http://", "http://x:banana", "http://x:99999"])
def test_a_base_that_is_no_address_is_refused(base: str) -> None:
    with pytest.raises(BadInput, match="is not an address like"):
        read_target(base, "a1")


# --- sending ---------------------------------------------------------------------------------------------------------


class Server:
    """A tracker's stand-in that notes what it was asked. ``plan`` gives the answer to the n-th request; None hangs up."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.close_each = False
        self.refuse: dict[int, bytes | None] = {}
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                number = len(self.requests)
                self.requests.append(request)
                answer = self.refuse.get(number, b"HTTP/1.1 302 Found\r\nlocation: https://x/\r\ncontent-length: 0\r\n\r\n")
                if answer is None:
                    return
                writer.write(answer)
                if self.close_each:
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@contextmanager
def running(server: Server) -> Iterator[str]:
    started, ended = threading.Event(), threading.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        started.set()
        async with listener:
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        ended.set()
        thread.join(10)


def write_log(folder: Path, *lines: str) -> Path:
    path = folder / "access.log"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_line_is_sent_once_and_answered(tmp_path: Path) -> None:
    log = write_log(tmp_path, *(line(f"203.0.113.{number}") for number in range(100)), "garbage", line("nobody.example"))
    server, told = Server(), []
    with running(server) as base:
        report = replay_log(log, "a1", base, progress=lambda done, total: told.append((done, total)), connections=4)

    assert (report.lines, report.left_out, report.sent) == (102, 2, 100)
    assert report.answered == {"302": 100}
    assert report.failures == {}
    assert [garbage.line for garbage in report.garbage] == [101, 102]
    assert sorted(request.split(b"\r\n")[2] for request in server.requests) == sorted(
        b"X-Forwarded-For: 203.0.113.%d" % number for number in range(100)
    )
    assert {request.partition(b"sub1=")[2].partition(b"&")[0] for request in server.requests} == {report.run_id.encode()}
    assert len({request.partition(b"sub2=")[2].split()[0] for request in server.requests}) == 100
    assert server.connections == 5, "one to look whether anybody is there, four that stay open"
    assert told[-1] == (102, 102)


def test_a_server_that_closes_after_each_answer_is_asked_on_new_connections(tmp_path: Path) -> None:
    server = Server()
    server.close_each = True
    with running(server) as base:
        report = replay_log(write_log(tmp_path, *[line()] * 20), "a1", base, connections=1)

    assert report.answered.get("302", 0) + sum(report.failures.values()) == 20
    assert len(server.requests) == report.answered["302"]


def test_answers_are_counted_by_status_and_failures_by_reason(tmp_path: Path) -> None:
    server = Server()
    server.refuse = {
        1: b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
        2: None,
        3: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        4: b"SMTP ready\r\n",
    }
    with running(server) as base:
        report = replay_log(write_log(tmp_path, *[line()] * 6), "a1", base, connections=1)

    assert report.answered == {"200": 1, "302": 2, "503": 1}
    assert sorted(report.failures.values()) == [1, 1]
    assert report.failures["the connection was closed before an answer"] == 1
    assert len(server.requests) == 6, "nothing is sent twice"


def test_a_rate_is_kept(tmp_path: Path) -> None:
    server = Server()
    with running(server) as base:
        report = replay_log(write_log(tmp_path, *[line()] * 21), "a1", base, rate=100)

    assert report.answered == {"302": 21}
    assert report.seconds >= 0.2


def test_nobody_there_is_one_clear_line(tmp_path: Path) -> None:
    server = Server()
    with running(server):
        pass  # the port was free a moment ago
    with pytest.raises(Unavailable, match=r"nobody answers at 127\.0\.0\.1 port \d+: "):
        replay_log(write_log(tmp_path, line()), "a1", f"http://127.0.0.1:{server.port}")
    with pytest.raises(BadInput, match="the rate -1 is negative"):
        replay_log(write_log(tmp_path, line()), "a1", "http://127.0.0.1:1", rate=-1)


# --- what was recorded -----------------------------------------------------------------------------------------------


def test_what_was_recorded_is_counted_by_class_country_and_device(events: EventsStore, clock: FakeClock, tmp_path: Path) -> None:
    where = Settings(data=tmp_path)
    folder = where.spool / "t0"
    folder.mkdir(parents=True)

    def click(number: int, agent: str, ip: str, run: str = "replay-1", of_line: int | None = None) -> bytes:
        subs = (run, str(of_line or number))
        return frame(
            encode_event(Touch(f"T{number}", "click", "north", "main", "anna", "a1", NOON, NOON, ip=ip, user_agent=agent, subs=subs))
        )

    (folder / "00000000000000000001.log").write_bytes(
        b"".join(
            [
                click(1, CHROME, "8.8.8.8"),
                click(2, CHROME, "83.149.9.216"),
                click(3, "curl/8.5.0", "8.8.8.8"),
                click(4, "", "10.0.0.1"),
                click(5, CHROME, "8.8.8.8", run="replay-2"),
                click(6, CHROME, "8.8.8.8", of_line=1),
            ]
        )
    )
    with Drain(where, events, clock) as drain:
        drain.step()

    found = recorded(events, "replay-1", NOON)

    assert found == Recorded(
        clicks=5,
        lines=4,
        by_class={"human": 3, "invalid_ua": 2},
        by_country={"US": 3, "RU": 1},
        by_device={"desktop": 3, "other": 2},
        resolved=0.8,
    )
    assert recorded(events, "replay-3", NOON) == Recorded(0, 0, {}, {}, {}, 0.0)
    assert wait_for_recorded(events, "replay-1", NOON, 9, within_s=0.1) == found


def test_a_store_that_is_away_does_not_take_the_report_with_it(tmp_path: Path) -> None:
    class Away:
        def select(self, *_: object, **__: object) -> None:
            raise Unavailable("the events store cannot be reached: Connection refused")

    server = Server()
    with running(server) as base:
        report = replay_log(write_log(tmp_path, line()), "a1", base, events=Away())  # type: ignore[arg-type]

    assert (report.answered, report.recorded) == ({"302": 1}, None)
    assert as_text(report).endswith("recorded: could not be looked up: the events store cannot be reached: Connection refused")


def test_the_report_reads_well() -> None:
    report = ReplayReport(
        run_id="replay-1",
        lines=10_000,
        left_out=1,
        sent=9_999,
        answered={"302": 9_998},
        failures={"no answer within 10 s": 1},
        garbage=[Garbage(17, "it is not in the combined log format")],
        seconds=10.0,
        per_second=999.9,
        p50_ms=1.25,
        p99_ms=20.0,
        recorded=Recorded(9_998, 9_998, {"human": 9_000, "declared_bot": 998}, {"US": 9_998}, {"desktop": 9_998}, 1.0),
    )

    assert as_text(report).splitlines() == [
        "10,000 lines, 1 left out, 9,999 sent in 10.0 s (1,000/s)",
        "answered: 9,998 with 302; half within 1.2 ms, 99 % within 20.0 ms",
        "failed: 1 times no answer within 10 s",
        "line 17 was left out: it is not in the combined log format",
        "recorded: 9,998 clicks of 9,998 lines; country known for 100.0%",
        "by class: human 9,000, declared_bot 998",
        "by country: US 9,998",
        "by device: desktop 9,998",
    ]
    assert msgspec.json.decode(msgspec.json.encode(report))["recorded"]["by_class"] == {"human": 9_000, "declared_bot": 998}
