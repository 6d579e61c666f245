"""The edge behind real servers: the same bytes through both adapters, and processes that may be killed at any moment."""

import asyncio
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from granian.constants import Interfaces
from granian.server.embed import Server

from core.events import decode_event
from core.settings import Settings
from tests.fakes import FakeClock
from tracker.app import running
from tracker.asgi import AsgiTracker
from tracker.rsgi import RsgiTracker
from tracker.spool import read_records, segments
from tracker.wire import WireTracker

ROOT = Path(__file__).parent.parent.parent
SECRET = "a-secret-of-the-test-installation!"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spooled(data: Path) -> list[Any]:
    found = []
    for folder in sorted((data / "spool").iterdir()):
        for segment in segments(folder):
            for _, _, payload in read_records(segment):
                assert isinstance(payload, bytes), "the spool is damaged"
                found.append(decode_event(payload))
    return found


# --- two adapters, one answer ----------------------------------------------------------------------------------------


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: go.north.example", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(target: str, body: bytes, *headers: str) -> bytes:
    return get(target, f"Content-Length: {len(body)}", *headers, method="POST") + body


KEY = "Authorization: Bearer key-of-north"
FORM = "Content-Type: application/x-www-form-urlencoded"
ORDER = b'{"order_id":"o-1","currency":"EUR","lines":[{"net":"10.00"}],"customer":{"email":"ada@shop.example"}}'
REQUESTS = {
    "a click": get("/c/spring?sub1=x&foo=1", "User-Agent: Mozilla/5.0", "Referer: https://blog.example/a"),
    "a click with everything": get(
        "/c/spring?sub1=%C3%A9%20+&url=https%3A%2F%2Fwww.north.example%2Fp%3Fx%3D1%23r&cons=1",
        "User-Agent: Mozilla/5.0",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 198.51.100.1, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "Sec-Fetch-Dest: document",
        "Cookie: a=b; fsv=01JD7Q9QZ0ABCDEFGHJKMNPQRS",
    ),
    "macros": get("/c/macro?sub1=a%26b"),
    "a head": get("/c/spring", method="HEAD"),
    "options": get("/c/spring", method="OPTIONS"),
    "a prefetch": get("/c/spring", "Sec-Purpose: prefetch;prerender"),
    "a hidden frame": get("/c/spring", "Sec-Fetch-Dest: iframe"),
    "no consent": get("/c/spring", "Sec-GPC: 1", "User-Agent: Mozilla/5.0"),
    "a refused deep link": get("/c/spring?url=//evil.example"),
    "a disabled link": get("/c/closed"),
    "an unknown code": get("/c/nowhere"),
    "an encoded code": get("/c/%73pring"),
    "a slash in a code": get("/c/a%2Fb"),
    "bytes that are no UTF-8 in a code": get("/c/%ff%fe"),
    "bytes that are no UTF-8 in a query": get("/c/spring?sub1=%ff&x=%E9"),
    "a trailing slash": get("/c/spring/"),
    "an agent beyond ASCII": get("/c/spring", "User-Agent: Mozilla/5.0 \xe9\xff", "Referer: https://b.example/\xfc", "Cookie: fsv=\xe9"),
    "a long agent": get("/c/spring", "User-Agent: " + "a" * 3000),
    "padded headers": get("/c/spring", "User-Agent:    Mozilla/5.0   ", "Sec-GPC:  1 "),
    "an impression": get("/i.gif?l=spring"),
    "an impression of nothing": get("/i.gif"),
    "a head of an impression": get("/i.gif?l=spring", method="HEAD"),
    "an order": post("/v1/orders", ORDER, KEY),
    "the order again": post("/v1/orders?token=key-of-north", ORDER),
    "another order under its id": post("/v1/orders", ORDER.replace(b"10.00", b"11.00"), KEY),
    "a refund": post("/v1/refunds", b'{"order_id":"o-1","refund_id":"r","currency":"EUR"}', KEY),
    "a lead": post("/v1/leads", b'{"lead_id":"l-1","click_id":"x"}', KEY),
    "no json": post("/v1/orders", b"{", KEY),
    "many faults": post("/v1/orders", b'{"currency":"EUR","lines":[{"net":1}],"x":1}', KEY),
    "no key": post("/v1/orders", ORDER),
    "a large body": post("/v1/orders", b"x" * (256 * 1024 + 1), KEY),
    "a chunked body": get("/v1/orders", KEY, "Transfer-Encoding: chunked", method="POST")
    + b"".join(b"%x\r\n%b\r\n" % (len(ORDER[at : at + 30]), ORDER[at : at + 30]) for at in range(0, len(ORDER), 30))
    + b"0\r\n\r\n",
    "a chunked form": get("/sale?token=key-of-north&order_id=o-5", FORM, "Transfer-Encoding: chunked", method="POST")
    + b"8\r\namount=1\r\n0\r\n\r\n",
    "an empty body": get("/v1/orders", KEY, "Content-Length: 0", method="POST"),
    "a postback": get("/sale?token=key-of-north&order_id=o-2&amount=5"),
    "a form": post("/sale", b"order_id=o-3&amount=5&customer_id=%C3%A9", KEY, FORM),
    "a bad postback": get("/sale?token=key-of-north&amount=5.555"),
    "a pixel": get("/sale.gif?tenant=north&order_id=o-4&amount=5", "User-Agent: Mozilla/5.0"),
    "a bad pixel": get("/lead.gif?tenant=west"),
    "a lead's postback": get("/lead?token=key-of-north&lead_id=l-2"),
    "a wrong method": get("/v1/orders"),
    "a wrong method on a link": post("/c/spring", b"a=1", FORM),
    "nothing": get("/"),
    "nothing in the API": get("/v1/unknown"),
    "an absolute target": get("http://other.example/c/spring?a=1"),
    "a double slash": get("//c/spring"),
}


def exchange(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def essence(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status, headers and body; without what a server says of itself and the moment."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    own = (b"date:", b"server:", b"connection:")
    return status.split(b" ", 2)[1], sorted(line for line in headers if not line.lower().startswith(own)), body


async def answers_through(kind: str, settings: Settings) -> tuple[dict[str, Any], list[Any]]:
    """Every request of the table through one adapter, each clock and each drop of chance the same."""
    port = free_port()
    async with running(settings, "t0", FakeClock(), random.Random(7).randbytes) as tracker:
        if kind == "rsgi":
            granian = Server(
                RsgiTracker(tracker.edge, tracker.proxies),
                address="127.0.0.1",
                port=port,
                interface=Interfaces.RSGI,
                websockets=False,
                log_enabled=False,
            )
            serving, stop = asyncio.create_task(granian.serve()), granian.stop
        elif kind == "wire":
            wire = WireTracker(tracker.edge, tracker.proxies)
            await wire.listen("127.0.0.1", port, backlog=128)
            serving, stop = asyncio.create_task(asyncio.Event().wait()), None
        else:
            app = AsgiTracker(tracker.edge, tracker.proxies)
            config = uvicorn.Config(app, port=port, lifespan="off", proxy_headers=False, log_level="error", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            serving, stop = asyncio.create_task(server.serve()), lambda: setattr(server, "should_exit", True)
        await asyncio.to_thread(wait_for_port, port)
        answers = {name: essence(await asyncio.to_thread(exchange, port, request)) for name, request in REQUESTS.items()}
        if stop is None:
            serving.cancel()
            await wire.close(1.0)
        else:
            stop()
            await asyncio.wait_for(serving, 10)
    return answers, spooled(settings.data)


def wait_for_port(port: int, patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.01)


def test_both_adapters_give_the_same_bytes_and_record_the_same_events(catalogue_url: str, tmp_path: Path):
    found = {}
    for kind in ("rsgi", "asgi", "wire"):
        data = tmp_path / kind
        data.mkdir()
        books = data / "books.sqlite"
        books.write_bytes(Path(catalogue_url.removeprefix("sqlite:///")).read_bytes())
        found[kind] = asyncio.run(answers_through(kind, Settings(data=data, secret=SECRET)))

    rsgi, rsgi_events = found["rsgi"]
    for kind in ("asgi", "wire"):
        answers, events = found[kind]
        for name in REQUESTS:
            assert rsgi[name] == answers[name], (kind, name)
        assert rsgi_events == events, kind
    assert [rsgi[name][0] for name in ("a click", "an order", "the order again", "another order under its id")] == [
        b"302",
        b"200",
        b"200",
        b"409",
    ]
    assert rsgi["a large body"][0] == b"413"
    agents = {event.user_agent for event in rsgi_events if getattr(event, "user_agent", "")}
    assert agents == {"Mozilla/5.0", "(unreadable)", "a" * 1024}


def test_any_asgi_server_runs_it_with_settings_from_the_environment(catalogue_url: str, tmp_path: Path):
    port = free_port()
    environment = os.environ | {"FAIRSHARE_DATA": str(tmp_path), "FAIRSHARE_BOOKS_URL": catalogue_url, "FAIRSHARE_SECRET": SECRET}
    command = [sys.executable, "-m", "uvicorn", "--factory", "tracker.app:asgi_app", "--no-proxy-headers", "--port", str(port)]
    with subprocess.Popen([*command, "--log-level", "error"], cwd=ROOT, env=environment) as process:
        wait_for_port(port)
        click_id = click(port)
        process.terminate()
        process.wait(10)
    assert [touch.event_id for touch in spooled(tmp_path)] == [click_id]
    assert (tmp_path / "spool" / "a0" / "counters.json").exists()


# --- what a tracker says of itself -----------------------------------------------------------------------------------


def test_health_names_the_bound_and_counts_what_happened(with_front: Callable[..., Any]):
    async def scenario(front: Any) -> Any:
        for target in ("/c/spring", "/c/nowhere", "/sale?token=wrong", "/sale.gif?tenant=north&order_id=o&amount=1"):
            await front.ask(target)
        return await front.ask("/health")

    answer = with_front(scenario, durability="bounded", spool_sync_ms=70)
    health = msgspec.json.decode(answer.body)
    assert (answer.status, health["ok"], health["tracker_id"]) == (200, True, "t0")
    assert (health["spool"]["durability"], health["spool"]["loss_bound_ms"], health["spool"]["recorded"]) == ("bounded", 70, 3)
    assert (health["catalogue"]["loaded"], health["catalogue"]["links"], health["catalogue"]["current"]) == (True, 4, True)
    assert health["counters"] == {
        "received": 3,
        "recorded": 3,
        "unrecorded": 0,
        "orphans": 1,
        "duplicates": 0,
        "bad_requests": {"bad_token": 1},
    }
    assert b"north" not in answer.body, "anyone may ask, so no tenant is named"


def test_metrics_are_prometheus_text(with_front: Callable[..., Any], files: Any):
    async def scenario(front: Any) -> Any:
        await front.ask("/c/spring")
        files.full = True
        await front.ask("/c/spring")
        await front.ask("/sale")
        return await front.ask("/metrics")

    answer = with_front(scenario)
    lines = answer.body.decode().splitlines()
    assert dict(answer.headers)["content-type"].startswith("text/plain; version=")
    assert {"tracker_received_total 2.0", "tracker_recorded_total 1.0", "tracker_unrecorded_total 1.0"} <= set(lines)
    assert 'tracker_bad_requests_total{code="bad_token"} 1.0' in lines


# --- processes -------------------------------------------------------------------------------------------------------


@contextmanager
def tracker_process(settings: Settings, tracker_id: str = "t0", ready: bool = True) -> Iterator["subprocess.Popen[bytes]"]:
    program = (
        "import sys; from pathlib import Path; from core.settings import Settings; from core.errors import FairshareError\n"
        "from tracker.serve import run_tracker\n"
        "data, books, port, name = sys.argv[1:]\n"
        f"settings = Settings(data=Path(data), books_url=books, tracker_port=int(port), secret={SECRET!r})\n"
        "try: run_tracker(settings, name)\n"
        "except FairshareError as error: sys.exit(f'fairshare: {error}')\n"
    )
    arguments = [str(settings.data), settings.books_url, str(settings.tracker_port), tracker_id]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        if ready:
            wait_for_port(settings.tracker_port)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


def click(port: int) -> str | None:
    """The click id of a confirmed click, None where no answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/c/spring", headers={"User-Agent": "Mozilla/5.0"})
        answer = connection.getresponse()
        found = re.search(r"fsclick=(\w{26})", answer.headers["location"] or "")
        return found[1] if answer.status == 302 and found else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.fixture
def settings(tmp_path: Path, catalogue_url: str) -> Settings:
    return Settings(data=tmp_path, books_url=catalogue_url, tracker_port=free_port(), secret=SECRET)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_confirmed_is_in_the_spool_however_the_tracker_ends(settings: Settings, how: signal.Signals):
    confirmed: list[str] = []
    halfway = threading.Event()

    def visit(_: int) -> None:
        click_id = click(settings.tracker_port)
        if click_id:
            confirmed.append(click_id)
        if len(confirmed) >= 100:
            halfway.set()

    with tracker_process(settings) as process, ThreadPoolExecutor(8) as visitors:
        visits = [visitors.submit(visit, number) for number in range(200)]
        assert halfway.wait(30)
        os.kill(process.pid, how)
        code = process.wait(5)
        for done in visits:
            done.result()
    assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)

    recorded = [touch.event_id for touch in spooled(settings.data)]
    assert 100 <= len(confirmed) <= 200
    assert set(confirmed) <= set(recorded)
    assert len(recorded) == len(set(recorded))

    with tracker_process(settings):
        assert click(settings.tracker_port) is not None, "it starts again over the same folder"
    assert len(segments(settings.spool / "t0")) == 2


def test_two_trackers_share_a_port_and_one_may_die(settings: Settings):
    with tracker_process(settings, "t0") as first, tracker_process(settings, "t1"):
        _wait_until(lambda: _seen_ids(settings.tracker_port) == {"t0", "t1"})
        first.kill()
        first.wait(5)
        assert all(click(settings.tracker_port) for _ in range(10))


def test_a_taken_port_is_one_clear_line(settings: Settings):
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.tracker_port))
        other.listen()
        with tracker_process(settings, ready=False) as process:
            process.wait(10)
            assert process.stderr is not None
            line = process.stderr.read().decode()
    assert line == (
        f"fairshare: port {settings.tracker_port} on 127.0.0.1 is taken by another program or is not ours to use; "
        "choose another with FAIRSHARE_TRACKER_PORT\n"
    )


def test_another_installation_does_not_share_the_port_unasked(settings: Settings, tmp_path: Path):
    elsewhere = msgspec.structs.replace(settings, data=tmp_path / "elsewhere")
    with tracker_process(settings), tracker_process(elsewhere, ready=False) as second:
        assert second.wait(10) == 1
        assert second.stderr is not None
        assert b"is taken by another program" in second.stderr.read()


def test_a_spool_folder_has_one_process(settings: Settings):
    with tracker_process(settings), tracker_process(settings, ready=False) as second:
        second.wait(10)
        assert second.stderr is not None
        assert b"is in use by another tracker process" in second.stderr.read()


def test_the_same_postback_a_hundred_times_at_once_is_one_sale(settings: Settings):
    target = "/sale?token=key-of-north&order_id=o-1&amount=12.50"

    def send(_: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", settings.tracker_port, timeout=30)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    with tracker_process(settings, "t0"), tracker_process(settings, "t1"), ThreadPoolExecutor(20) as senders:
        answers = set(senders.map(send, range(100)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 200
    assert len({order.event_id for order in spooled(settings.data)}) == 1, "two processes may write it twice, under one id"


def _seen_ids(port: int) -> set[str]:
    seen = set()
    for _ in range(30):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            seen.add(msgspec.json.decode(connection.getresponse().read())["tracker_id"])
        except OSError:
            continue
        finally:
            connection.close()
    return seen


def _wait_until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
