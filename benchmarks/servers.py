"""Servers to measure: real processes on a core of their choice, started, watched from outside and stopped as an operator stops them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from core.catalogue import Affiliate, Link, Membership, Programme, Tenant
from core.clock import system_clock
from core.settings import Settings, environment_of
from store import schema
from store.books import open_books
from store.catalogue import put
from store.migrate import migrate_books

ROOT = Path(__file__).parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
READY_WITHIN_S = 60
STOPPED_WITHIN_S = 20
SETTLE_S = 3.5
"""A tracker loads its list of programs some seconds after its start, beside its first clicks: waited out, not measured."""
ROWS_AT_ONCE = 10_000
NGINX = """daemon off; worker_processes {workers}; worker_cpu_affinity auto {mask}; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format facts escape=json '{{"at":"$msec","id":"$request_id","path":"$request_uri",'
    '"ip":"$remote_addr","ua":"$http_user_agent","ref":"$http_referer"}}';
  access_log {folder}/access.log facts;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location / {{ return 302 https://shop.example/?fsclick=$request_id; }}
    location = /health {{ access_log off; return 200 ok; }}
  }}
}}"""


@dataclass
class Program:
    """A program that answers on ``port``: how it is started, and on which cores. ``data`` is where it records."""

    command: list[str]
    port: int
    data: Path
    cores: Collection[int] = (SERVER_CORE,)
    environment: dict[str, str] = field(default_factory=dict)


def tracker(settings: Settings, tracker_id: str = "t0", cores: Collection[int] = (SERVER_CORE,)) -> Program:
    """``fairshare track`` on prepared books."""
    command = [sys.executable, "-m", "fairshare", "track", "--tracker-id", tracker_id]
    return Program(command, settings.tracker_port, settings.data, cores, environment_of(settings))


def starlette(folder: Path, port: int, cores: Collection[int] = (SERVER_CORE,)) -> Program:
    """A Starlette redirect on uvicorn that records nothing."""
    return Program(_uvicorn(port, "benchmarks.plain_starlette:app"), port, folder, cores)


def asgi(settings: Settings, cores: Collection[int] = (SERVER_CORE,)) -> Program:
    """The tracker's ASGI application on uvicorn, on prepared books."""
    command = _uvicorn(settings.tracker_port, "--factory", "tracker.app:asgi_app", "--no-proxy-headers")
    return Program(command, settings.tracker_port, settings.data, cores, environment_of(settings))


def _uvicorn(port: int, *app: str) -> list[str]:
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", *app, *options]


def nginx(folder: Path, port: int, workers: Sequence[int] = (SERVER_CORE,)) -> Program:
    """nginx with an unbuffered JSON log of the same facts, a worker on each of the cores."""
    mask = "".join("1" if core in workers else "0" for core in range(max(workers), -1, -1))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, workers=len(workers), mask=mask))
    return Program(["nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder), "-e", f"{folder}/error.log"], port, folder, workers)


def has_nginx() -> bool:
    return shutil.which("nginx") is not None


# --- what they serve -------------------------------------------------------------------------------------------------


def prepared(data: Path, port: int, links: int = 0, **options: Any) -> Settings:
    """Settings of an installation whose books hold the link ``go``, and as many more, ``l0`` and so on, as asked."""
    settings = Settings(data=data, tracker_port=port, **options)
    data.mkdir(parents=True, exist_ok=True)
    migrate_books(settings.books)
    books, now = open_books(settings.books), system_clock()
    with books.writing() as connection:
        for record in (
            Tenant("shop", "Shop", "EUR"),
            Programme("shop", "main", "Main", "https://shop.example/", ("shop.example",)),
            Affiliate("blog", "Blog", "blog@blog.example"),
            Membership("shop", "main", "blog", "approved", now, now),
        ):
            put(connection, record, "benchmark", now)
        rows = _many_links(links)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            connection.execute(insert(schema.links), some)
        put(
            connection, Link("go", "shop", "main", "blog", "https://shop.example/landing"), "benchmark", now
        )  # last: it counts as the change
    books.close()
    return settings


def _many_links(number: int) -> Iterator[dict[str, Any]]:
    """Written past the catalogue's own door, which notes every change: a million notes would be made and never read."""
    for index in range(number):
        yield {
            "code": f"l{index}",
            "tenant_id": "shop",
            "programme_id": "main",
            "affiliate_id": "blog",
            "destination": f"https://shop.example/articles/{index}?ref=partners",
            "disabled": False,
        }


# --- running them ----------------------------------------------------------------------------------------------------


class Server:
    """A running program. Its figures are of the process and its children, read from outside."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.pid = process.pid

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        return sum(time.clock_gettime(_cpu_clock(pid)) for pid in (self.pid, *_children(self.pid)))

    def memory_bytes(self) -> tuple[int, int]:
        """Resident memory now, and the most it ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = {
            name: int(text.split()[0]) * 1024
            for name, _, text in (line.partition(":") for line in status.splitlines())
            if "VmRSS" in name or "VmHWM" in name
        }
        return found["VmRSS"], found["VmHWM"]


@contextmanager
def running(*programs: Program) -> Iterator[list[Server]]:
    """The programs, all answering; stopped by SIGTERM when the block ends, so that everything confirmed is on disk.

    Raises:
        RuntimeError: one of them ended by itself, or did not stop cleanly.
        TimeoutError: one of them did not answer.
    """
    with ExitStack() as stack:
        servers = []
        for number, program in enumerate(programs, start=1):
            servers.append(Server(stack.enter_context(_process(program))))
            _wait(servers[-1].process, program.port, number)
        yield servers


@contextmanager
def _process(program: Program) -> Iterator["subprocess.Popen[bytes]"]:
    process = start(program)
    try:
        yield process
        stop(process)
    finally:
        process.kill()
        process.wait()


def start(program: Program) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        program.command, cwd=ROOT, env=os.environ | program.environment, stdout=subprocess.DEVNULL, preexec_fn=pinned(*program.cores)
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server as an operator does.

    Raises:
        RuntimeError: it had ended before, or ends with an error.
    """
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended by itself with exit code {process.returncode}")
    process.send_signal(signal.SIGTERM)
    if process.wait(STOPPED_WITHIN_S) not in (0, -signal.SIGTERM):  # uvicorn lets the signal end it
        raise RuntimeError(f"{process.args!r} was stopped and ended with exit code {process.returncode}")


def pinned(*cores: int) -> Callable[[], None]:
    """For ``preexec_fn``: the process and its children stay on these cores."""
    return lambda: os.sched_setaffinity(0, cores)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str = "/health") -> bytes:
    """The status of one request, as ``b"302"``; empty where nobody answers."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: benchmark\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(64)[9:12]
    return b""


def _wait(process: "subprocess.Popen[bytes]", port: int, at_least: int) -> None:
    """Return when the port answers and so many processes share it: the first would answer for the second."""
    deadline = time.monotonic() + READY_WITHIN_S
    while answers(port) not in (b"200", b"302") or _listeners(port) < at_least:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with exit code {process.returncode} before it answered")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.args!r} did not answer within {READY_WITHIN_S} s")
        time.sleep(0.05)


def _listeners(port: int) -> int:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def _cpu_clock(pid: int) -> int:
    """The clock that counts a process's processor time, in nanoseconds; ``/proc/PID/stat`` counts in hundredths of a second."""
    return ~pid << 3 | 2  # clock_getcpuclockid(3), which Python does not offer; CPUCLOCK_SCHED


def _children(pid: int) -> list[int]:
    found = [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]


# --- asking them, and counting ---------------------------------------------------------------------------------------


def load(module: str, options: Mapping[str, object], cores: Collection[int] = (LOAD_CORE,)) -> "subprocess.Popen[str]":
    """Start ``python -m benchmarks.MODULE --name value …`` as a process of its own; :func:`outcome` waits for what it prints."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", f"benchmarks.{module}", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(*cores))


def outcome(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The JSON that a load prints at its end.

    Raises:
        RuntimeError: it failed.
    """
    text, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} failed with exit code {process.returncode}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def recorded(data: Path) -> int:
    """Records in the spool of an installation, or lines of nginx's log."""
    return sum(recorded_in(folder) for folder in (*data.glob("spool/*"), data))


def recorded_in(folder: Path) -> int:
    """Lines of the ``.log`` files of one folder: a tracker's segments, or nginx's log."""
    return sum(lines(file) for file in folder.glob("*.log") if file.name != "error.log")


def lines(file: Path) -> int:
    with file.open("rb") as text:
        return sum(block.count(b"\n") for block in iter(lambda: text.read(1 << 20), b""))
