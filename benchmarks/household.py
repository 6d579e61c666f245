"""An installation whose processes may be killed one by one: each is started, killed and started again here.

Two kinds. ``embedded``: an engine, which owns chDB, the drain and the portal, beside a tracker. ``apart``: a tracker and a
``fairshare drain`` on an events store that is a server of its own. There is no supervisor between: it would, rightly, give
up on a child that dies fifty times.
"""

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from benchmarks.events_server import address
from core.catalogue import Affiliate, ApiKey, Link, Membership, Policy, Programme, RateCard, Rule, Tenant
from core.clock import DAY, system_clock
from core.settings import Settings, environment_of
from store.books import open_books
from store.catalogue import Record, put
from store.events import connect_events
from store.migrate import migrate_books, migrate_events
from tracker.manifest import MANIFEST, Cursor, read_cursor
from tracker.spool import spool_folders

Kind = Literal["embedded", "apart"]
Victim = Literal["tracker", "drain", "engine", "store"]

ROOT = Path(__file__).parent.parent
TENANT, CODE, TOKEN = "shop", "go", "benchmark-key-0000000000000000000000"
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 10.0


class Process:
    """One process of an installation, in a session of its own; what it prints goes to ``log``."""

    def __init__(self, name: Victim, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.started_at = 0.0
        self.kills = 0
        self._arguments, self._environment = arguments, environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", *self._arguments]
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.started_at = time.time()

    @property
    def pid(self) -> int:
        assert self._process, "start it first"
        return self._process.pid

    def ended(self) -> int | None:
        """Its exit code; None while it runs, or where it was never started."""
        return self._process.poll() if self._process else None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process, "start it first"
        self._process.kill()
        self._process.wait()
        self.kills += 1

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> tuple[int, float]:
        """SIGTERM; its exit code and the seconds that it took. What does not end is killed: exit code -9."""
        began = time.monotonic()
        if self._process is None:
            return 0, 0.0
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._process.returncode, time.monotonic() - began


class Household:
    """One installation in ``data``; ``more`` are settings. ``processes`` start in their order, and stop in the reverse of it."""

    def __init__(self, data: Path, kind: Kind, **more: Any) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.kind = kind
        self._password = secrets.token_urlsafe(24)
        self._store_port = free_port()
        events_url = address(self._store_port, self._password) if kind == "apart" else ""
        self.settings = Settings(
            data=data.absolute(),
            tracker_port=free_port(),
            portal_port=free_port(),
            events_url=events_url,
            spool_segment_mb=1,
            clicks_a_minute=0,  # the load comes from one address, and all of it is people
            conversions_a_minute=0,
            **more,
        )
        self.processes: dict[Victim, Process] = {}
        for name, arguments in self._commands().items():
            self.processes[name] = Process(name, arguments, self._environment(), data / f"{name}.log")

    def start(self) -> None:
        """Prepare both stores, start everything, and return when it answers."""
        furnish(self.settings)
        if self.kind == "apart":
            self.processes["store"].start()
            wait_for("the events store", self.store_answers)
            events = connect_events(self.settings.events)
            migrate_events(events, self.settings)
            events.close()
        for process in self.processes.values():
            if process.name != "store":
                process.start()
        wait_for("the tracker", lambda: answers(self.settings.tracker_port))
        if self.kind == "embedded":
            wait_for("the engine", lambda: answers(self.settings.portal_port))

    def stop(self) -> dict[Victim, tuple[int, float]]:
        """Stop everything gracefully; exit code and seconds of each."""
        return {name: self.processes[name].stop() for name in reversed(self.processes)}

    def cursors(self) -> list[Cursor]:
        return [read_cursor(folder) for folder in spool_folders(self.settings.spool)]

    def stored_at(self) -> int:
        """When the drain last stored something, in milliseconds; it moves as long as a drain lives and clicks come."""
        return max((cursor.stored_at for cursor in self.cursors()), default=0)

    def is_storing(self) -> bool:
        """True while a range is written down and not yet acknowledged: the middle of an insert."""
        return any((folder / MANIFEST).exists() for folder in spool_folders(self.settings.spool))

    def store_answers(self) -> bool:
        return answers(self._store_port)

    def last_words(self) -> str:
        """The end of what each process printed, for whoever must find a fault."""
        return "\n".join(f"--- {one.name}\n{_tail(one.log)}" for one in self.processes.values())

    def _commands(self) -> dict[Victim, list[str]]:
        track = ["fairshare", "track", "--tracker-id", "t0"]
        if self.kind == "embedded":
            return {"engine": ["fairshare", "engine", "--no-demo"], "tracker": track}
        store = ["benchmarks.events_server", str(self.settings.data / "events"), str(self._store_port)]
        return {"store": store, "tracker": track, "drain": ["fairshare", "drain"]}

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSHARE_")}
        return kept | environment_of(self.settings) | {"FAIRSHARE_TEST_PASSWORD": self._password}


@contextmanager
def running(household: Household) -> Iterator[Household]:
    """Started, and stopped at the end whatever happens between."""
    try:
        household.start()
        yield household
    finally:
        household.stop()


def furnish(settings: Settings) -> None:
    """Books with one shop, one affiliate, the link ``go``, and ten per cent for whoever brings an order."""
    migrate_books(settings.books)
    books = open_books(settings.books)
    now = system_clock()
    long_ago = now - 400 * DAY
    records: tuple[Record, ...] = (
        Tenant(TENANT, "Shop", "EUR"),
        Programme(TENANT, "main", "Main", "https://shop.example/", ("shop.example",)),
        Affiliate("blog", "Blog", "blog@blog.example"),
        Membership(TENANT, "main", "blog", "approved", long_ago, long_ago),
        Link(CODE, TENANT, "main", "blog", "https://shop.example/landing"),
        Policy(TENANT, "main", 1, long_ago),
        RateCard(TENANT, "main", 1, long_ago, 30, (Rule("base", percent_bps=1000),)),
        ApiKey("key", TENANT, "benchmark", hashlib.sha256(TOKEN.encode()).hexdigest()),
    )
    with books.writing() as connection:
        for record in records:
            put(connection, record, "benchmark", now)
    books.close()


def wait_for(what: str, look: Callable[[], Any], within_s: float = READY_WITHIN_S) -> Any:
    """The first true value of ``look``.

    Raises:
        TimeoutError: names ``what`` did not come.
    """
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}")
        time.sleep(0.01)
    return seen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """True where somebody listens."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(path: Path, characters: int = 3000) -> str:
    return path.read_text("utf-8", "replace")[-characters:] if path.exists() else ""
