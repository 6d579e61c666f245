"""How fast is a full click (link look-up, id, cookie, durable record) beside servers that do less?

``python -m benchmarks.redirect [--json]`` starts in turn, interleaved over several rounds, each pinned to one core with the load
generator on another: Fairshare (RSGI and ASGI, strict and bounded), nginx ``return 302`` with an unbuffered JSON access log
(where nginx is installed), and a plain Starlette redirect on uvicorn that records nothing. ``recorded`` counts the records
in the spool, or the lines of nginx's log; it must equal ``answered``.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.catalogue import Affiliate, Link, Membership, Programme, Tenant
from core.clock import system_clock
from core.settings import Settings, environment_of
from store.books import open_books
from store.catalogue import put
from store.migrate import migrate_books

SERVER_CORE, LOAD_CORE = 0, 1
NGINX = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format facts escape=json '{{"at":"$msec","id":"$request_id","path":"$request_uri",'
    '"ip":"$remote_addr","ua":"$http_user_agent","ref":"$http_referer"}}';
  access_log {folder}/access.log facts;
  keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}; location / {{ return 302 https://shop.example/?fsclick=$request_id; }} }}
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
        Contender(
            "fairshare_strict_asgi", lambda data, port: (_uvicorn("tracker.asgi:app", port), _settings(data, port, "strict")), _spooled
        ),
        Contender("starlette_uvicorn", lambda _data, port: (_uvicorn("benchmarks.plain_starlette:app", port), {}), None),
    ]
    if shutil.which("nginx"):
        found.append(Contender("nginx_json_log", _nginx, lambda data: _lines(data / "access.log")))
    return found


def _track() -> list[str]:
    return [sys.executable, "-m", "fairshare", "track", "--tracker-id", "t0"]


def _uvicorn(app: str, port: int) -> list[str]:
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", app, *options]


def _nginx(data: Path, port: int) -> tuple[list[str], dict[str, str]]:
    data.mkdir(parents=True, exist_ok=True)
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


def measure(contender: Contender, seconds: float, connections: int) -> dict[str, Any]:
    """One round: start, warm up, load, stop, count."""
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", _free_port()
        command, environment = contender.command(data, port)
        server = subprocess.Popen(command, env=os.environ | environment, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            before = contender.recorded(data) if contender.recorded else 0
            result = _load(f"http://127.0.0.1:{port}/c/go?sub1=spring&sub2=banner", connections, seconds)
        finally:
            server.terminate()
            server.wait(20)
        if contender.recorded:
            result["recorded"] = contender.recorded(data) - before
        return result


def _load(url: str, connections: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", "--url", url, "--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _wait(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.build_opener(_NoRedirect).open(url, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"{url} did not answer within 30 s")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compare(rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Interleaved rounds, so that a busy moment of the machine hits everyone; the median round counts."""
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for contender in contenders():
            results.setdefault(contender.name, []).append(measure(contender, seconds, connections))
    servers = {name: _median(runs) for name, runs in results.items()}
    return {
        "question": "clicks a second on one core, closed loop",
        "connections": connections,
        "rounds": rounds,
        "seconds": seconds,
        "servers": servers,
        "ratios": _ratios(servers),
    }


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    middle = sorted(runs, key=lambda run: run["requests_per_s"])[len(runs) // 2]
    totals = {key: sum(run[key] for run in runs) for key in ("answered", "failed", "recorded") if key in middle}
    return middle | totals | {"requests_per_s": round(statistics.median(run["requests_per_s"] for run in runs))}


def _ratios(servers: dict[str, dict[str, Any]]) -> dict[str, float]:
    pairs = {
        "strict_rsgi_vs_nginx_json_log": ("fairshare_strict_rsgi", "nginx_json_log"),
        "strict_rsgi_vs_starlette": ("fairshare_strict_rsgi", "starlette_uvicorn"),
        "bounded_rsgi_vs_starlette": ("fairshare_bounded_rsgi", "starlette_uvicorn"),
        "strict_asgi_vs_starlette": ("fairshare_strict_asgi", "starlette_uvicorn"),
    }
    rate = {name: server["requests_per_s"] for name, server in servers.items()}
    return {name: round(rate[ours] / rate[theirs], 3) for name, (ours, theirs) in pairs.items() if theirs in rate}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--json", action="store_true", help="the default; there is no other form")
    asked = options.parse_args()
    print(json.dumps(compare(asked.rounds, asked.seconds, asked.connections), indent=2))


if __name__ == "__main__":
    main()
