"""How fast is a full click (link look-up, id, cookie, durable record) beside servers that do less?

``python -m benchmarks.redirect [--rounds 3] [--seconds 4] [--connections 64] [--servers NAME,NAME]`` starts in turn, interleaved
over several rounds, each pinned to one core with the load generator on another: Fairshare (RSGI and ASGI, strict and bounded),
nginx ``return 302`` with an unbuffered JSON access log (where nginx is installed), and a plain Starlette redirect on uvicorn
that records nothing.

``recorded`` counts the records in the spool, or the lines of nginx's log, after the server has stopped; where it is not
``answered``, or a request failed, the result lists it under ``faults`` and the exit code is 1. ``server_cpu_us`` is the
server's processor time a request. Where ``generator_busy`` is near 1 the load was the limit: compare by ``ratios_cpu`` then.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.result import machine, publish, say
from core.catalogue import Affiliate, Link, Membership, Programme, Tenant
from core.clock import system_clock
from core.settings import Settings, environment_of
from store.books import open_books
from store.catalogue import put
from store.migrate import migrate_books

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
WARM_UP_S = 0.5
SETTLE_S = 3.5
"""A tracker loads its list of programs some seconds after its start, beside its first clicks: waited out, not measured."""
READY_WITHIN_S = 30
STOPPED_WITHIN_S = 20
PAIRS = {
    "strict_rsgi_vs_nginx_json_log": ("fairshare_strict_rsgi", "nginx_json_log"),
    "bounded_rsgi_vs_nginx_json_log": ("fairshare_bounded_rsgi", "nginx_json_log"),
    "strict_rsgi_vs_starlette": ("fairshare_strict_rsgi", "starlette_uvicorn"),
    "bounded_rsgi_vs_starlette": ("fairshare_bounded_rsgi", "starlette_uvicorn"),
    "strict_asgi_vs_starlette": ("fairshare_strict_asgi", "starlette_uvicorn"),
}
"""The ratios: ours, and its baseline."""
ASGI = ("--factory", "tracker.app:asgi_app", "--no-proxy-headers")
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format facts escape=json '{{"at":"$msec","id":"$request_id","path":"$request_uri",'
    '"ip":"$remote_addr","ua":"$http_user_agent","ref":"$http_referer"}}';
  access_log {folder}/access.log facts;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 302 https://shop.example/?fsclick=$request_id; }}
    location = /health {{ access_log off; return 200 ok; }}
  }}
}}"""


@dataclass
class Contender:
    """A server to measure: how it is started on a port, and how many clicks it recorded."""

    name: str
    command: Callable[[Path, int], tuple[list[str], dict[str, str]]]
    recorded: Callable[[Path], int] | None


def contenders() -> list[Contender]:
    found = [
        Contender("fairshare_strict_rsgi", lambda data, port: (_track(), _settings(data, port, "strict")), _spooled),
        Contender("fairshare_bounded_rsgi", lambda data, port: (_track(), _settings(data, port, "bounded")), _spooled),
        Contender("fairshare_strict_asgi", lambda data, port: (_uvicorn(*ASGI, port=port), _settings(data, port, "strict")), _spooled),
        Contender("starlette_uvicorn", lambda _data, port: (_uvicorn("benchmarks.plain_starlette:app", port=port), {}), None),
    ]
    if shutil.which("nginx"):
        found.append(Contender("nginx_json_log", _nginx, lambda data: _lines(data / "access.log")))
    return found


def _track() -> list[str]:
    return [sys.executable, "-m", "fairshare", "track", "--tracker-id", "t0"]


def _uvicorn(*app: str, port: int) -> list[str]:
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", *app, *options]


def _nginx(data: Path, port: int) -> tuple[list[str], dict[str, str]]:
    (data / "nginx.conf").write_text(NGINX.format(folder=data, port=port))
    return ["nginx", "-c", str(data / "nginx.conf"), "-p", str(data), "-e", str(data / "error.log")], {}


def _settings(data: Path, port: int, durability: str) -> dict[str, str]:
    settings = Settings(data=data, tracker_port=port, durability=durability)
    prepare(settings)
    return environment_of(settings)


def prepare(settings: Settings) -> None:
    """Books with one link, ``go``."""
    migrate_books(settings.books)
    books = open_books(settings.books)
    now = system_clock()
    with books.writing() as connection:
        for record in (
            Tenant("shop", "Shop", "EUR"),
            Programme("shop", "main", "Main", "https://shop.example/", ("shop.example",)),
            Affiliate("blog", "Blog", "blog@blog.example"),
            Membership("shop", "main", "blog", "approved", now, now),
            Link("go", "shop", "main", "blog", "https://shop.example/landing"),
        ):
            put(connection, record, "benchmark", now)
    books.close()


def _spooled(data: Path) -> int:
    return sum(_lines(segment) for segment in (data / "spool").rglob("*.log"))


def _lines(file: Path) -> int:
    with file.open("rb") as text:
        return sum(block.count(b"\n") for block in iter(lambda: text.read(1 << 20), b""))


# --- a round ---------------------------------------------------------------------------------------------------------


def measure(contender: Contender, seconds: float, connections: int, settle_s: float = SETTLE_S) -> dict[str, Any]:
    """One round: start, warm up, settle, load, stop, count."""
    with tempfile.TemporaryDirectory(prefix="fairshare-redirect-") as folder:
        data, port = Path(folder) / "data", _free_port()
        data.mkdir()
        command, environment = contender.command(data, port)
        url = f"http://127.0.0.1:{port}/c/go?sub1=spring&sub2=banner"
        with _running(command, environment, f"http://127.0.0.1:{port}/health") as server:
            warm_up = _load(url, connections, min(WARM_UP_S, seconds))
            time.sleep(settle_s)
            cpu_before = _cpu_seconds(server.pid)
            result = _load(url, connections, seconds)
            result["server_cpu_us"] = round((_cpu_seconds(server.pid) - cpu_before) / max(1, result["answered"]) * 1e6, 2)
        result["failed"] += warm_up["failed"]
        if contender.recorded:
            result["recorded"] = contender.recorded(data) - warm_up["answered"]
        return result


@contextmanager
def _running(command: list[str], environment: dict[str, str], health: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server on its core, ready; stopped as an operator stops it, so that everything confirmed is on disk."""
    server = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, preexec_fn=_pin(SERVER_CORE))
    try:
        _wait(server, health)
        yield server
        server.terminate()
        server.wait(STOPPED_WITHIN_S)
    finally:
        server.kill()
        server.wait()


def _load(url: str, connections: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", "--url", url, "--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=_pin(LOAD_CORE))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _pin(core: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {core})


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children so far, in user and system mode, from ``/proc``."""
    children = [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(own[11]) + int(own[12])) / os.sysconf("SC_CLK_TCK") + sum(map(_cpu_seconds, children))


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    # No proxy on loopback, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"{server.args!r} ended with exit code {server.returncode} before it answered")
        try:
            opener.open(url, timeout=1).close()
            return
        except urllib.error.HTTPError as answer:
            if answer.code < 400:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer within {READY_WITHIN_S} s")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the comparison --------------------------------------------------------------------------------------------------


def compare(rounds: int, seconds: float, connections: int, only: set[str], settle_s: float) -> dict[str, Any]:
    """Interleaved rounds, so that a busy moment of the machine hits everyone; the median round counts."""
    results: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, rounds + 1):
        for contender in contenders():
            if not only or contender.name in only:
                result = measure(contender, seconds, connections, settle_s)
                say(f"round {number} of {rounds}: {contender.name} answered {result['requests_per_s']:,} a second")
                results.setdefault(contender.name, []).append(result)
    servers = {name: _median(runs) for name, runs in results.items()}
    rates = {name: server["requests_per_s"] for name, server in servers.items()}
    by_cpu = {name: 1 / server["server_cpu_us"] for name, server in servers.items() if server["server_cpu_us"]}
    return {"ratios": _ratios(rates), "ratios_cpu": _ratios(by_cpu), "servers": servers}


def faults_of(servers: dict[str, dict[str, Any]]) -> list[str]:
    """Every server that lost a request, or recorded more or less than it answered."""
    failed = [f"{name}: {server['failed']} requests failed" for name, server in servers.items() if server["failed"]]
    unequal = {name: server for name, server in servers.items() if server.get("recorded", server["answered"]) != server["answered"]}
    return failed + [f"{name}: answered {server['answered']}, recorded {server['recorded']}" for name, server in unequal.items()]


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The middle round by rate, with the counts of all rounds together."""
    middle = sorted(runs, key=lambda run: run["requests_per_s"])[len(runs) // 2]
    totals = {key: sum(run[key] for run in runs) for key in ("answered", "failed", "recorded") if key in middle}
    medians = {"requests_per_s": round(statistics.median(run["requests_per_s"] for run in runs))}
    medians["server_cpu_us"] = round(statistics.median(run["server_cpu_us"] for run in runs), 2)
    return middle | totals | medians | {"rounds_per_s": [run["requests_per_s"] for run in runs]}


def _ratios(rate: dict[str, float]) -> dict[str, float]:
    known = {name: pair for name, pair in PAIRS.items() if rate.keys() >= set(pair)}
    return {name: round(rate[ours] / rate[theirs], 4) for name, (ours, theirs) in known.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--settle", type=float, default=SETTLE_S, help="seconds between start and load")
    options.add_argument("--servers", default="", help="only these, by name, separated by commas")
    options.add_argument("--json", action="store_true", help="the default; there is no other form")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairshare-redirect-") as folder:
        about = {"question": "clicks a second on one core, closed loop", "machine": machine(Path(folder))}
    sizes = {"connections": asked.connections, "rounds": asked.rounds, "seconds": asked.seconds}
    result = compare(asked.rounds, asked.seconds, asked.connections, {name for name in asked.servers.split(",") if name}, asked.settle)
    publish(about | sizes | result, faults_of(result["servers"]))


if __name__ == "__main__":
    main()
