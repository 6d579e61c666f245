"""Trackers, relays and drains as real processes around a real Redis: every acknowledged click is stored once, whoever dies."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from core.settings import Settings
from store.books import open_books
from store.engine_door import open_door
from store.events import EventsStore, Query, connect_events
from store.migrate import migrate_events
from store.spools import read_spools
from tests.route.cast import catalogue
from tests.route.installation import AGENT, Installation, click_id, free_port, wait_for
from tests.servers import NoRedis, RedisServer, running_redis
from tracker.spool import segments, spool_folders

TOUCHES = Query("touch_ids", "SELECT touch_id FROM touches ORDER BY touch_id")


class Visitors:
    """Clicks one link again and again, over connections that may break; ``acknowledged`` are the ids of those answered."""

    def __init__(self, *trackers: str) -> None:
        self.acknowledged: list[str] = []
        self._trackers = trackers
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._click, args=(tracker,)) for tracker in trackers for _ in range(2)]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _click(self, tracker: str) -> None:
        with httpx.Client(timeout=5, headers={"User-Agent": AGENT}) as http:
            while not self._done.is_set():
                try:
                    self.acknowledged.append(click_id(http.get(f"{tracker}/c/anna-north")))
                except httpx.TransportError:
                    time.sleep(0.02)  # not acknowledged: the tracker was dead
                self._done.wait(0.008)

    def wait_for_more(self, number: int = 30) -> None:
        seen = len(self.acknowledged)
        wait_for("more clicks", lambda: len(self.acknowledged) >= seen + number, 20)


def unstored(books_url: str, spool: Path) -> list[str]:
    """Spool folders of which the books do not say that they are stored to their last whole record."""
    with closing(open_books(books_url)) as books, books.reading() as connection:
        places = {progress.spool_id: progress.place for progress in read_spools(connection)}
    ends = {folder.name: [(path.name, path.read_bytes().rfind(b"\n") + 1) for path in segments(folder)] for folder in spool_folders(spool)}
    return [
        name
        for name, places_of in ends.items()
        if max([place for place in places_of if place[1]], default=("", 0)) > places.get(name, ("", 0))
    ]


@contextmanager
def redis_that(is_persistent: bool) -> Iterator[RedisServer]:
    try:
        with running_redis(is_persistent) as redis:
            yield redis
    except NoRedis as error:
        pytest.skip(f"*** REDIS DOES NOT RUN HERE, ITS TESTS ARE SKIPPED: {error} ***")


@pytest.mark.parametrize(
    ("is_persistent", "victims"),
    [
        (True, ("relay", "redis", "track", "engine", "redis", "relay")),
        (False, ("redis", "relay", "flush", "track", "redis", "flush")),
    ],
    ids=["append-only file", "memory only"],
)
def test_whoever_is_killed_every_acknowledged_click_is_stored_once(is_persistent: bool, victims: tuple[str, ...], tmp_path: Path) -> None:
    with redis_that(is_persistent) as server:
        kill_in_turn(server, victims, tmp_path)


def kill_in_turn(server: RedisServer, victims: tuple[str, ...], tmp_path: Path) -> None:
    fairshare = Installation(tmp_path / "var", FAIRSHARE_QUEUE_URL=server.url)
    try:
        fairshare.import_catalogue(catalogue())
        server.kill()  # Redis is down when everything starts
        fairshare.start()
        with Visitors(fairshare.ready["tracker"]) as visitors:
            visitors.wait_for_more()
            server.start()
            for name in victims:
                visitors.wait_for_more()
                if name == "redis":
                    server.kill()
                    visitors.wait_for_more(10)
                    server.start()
                elif name == "flush":
                    server.client.flushall()
                else:
                    os.kill(fairshare.child(name), signal.SIGKILL)
            visitors.wait_for_more()
        books_url, spool = f"sqlite:///{fairshare.data}/books.sqlite", fairshare.data / "spool"
        wait_for("everything to be stored", lambda: not unstored(books_url, spool), 30)
        health = fairshare.http.get(f"{fairshare.ready['tracker']}/health").json()
        assert health["ok"] is True
        wait_for("the relay to say so", lambda: queue_in_health(fairshare) == (0, ""))
        fairshare.stop()

        stored = Counter(touch_ids(fairshare.data))
        assert set(visitors.acknowledged) <= stored.keys(), "an acknowledged click is missing"
        assert set(stored.values()) == {1}, "a click is stored twice"
        rows = fairshare.run_json("conserve")
        assert sum(row["received"] for row in rows["rows"]) == len(stored)
        assert [row for row in rows["rows"] if row["difference"] or row["pending"]] == []
    finally:
        fairshare.close()


def queue_in_health(fairshare: Installation) -> tuple[int, str]:
    queue = fairshare.http.get(f"{fairshare.ready['tracker']}/health").json()["queue"]
    return queue["pending_bytes"], queue["error"]


def touch_ids(data: Path) -> list[str]:
    """Read by a process of its own: one process may open one chDB folder."""
    script = (
        "import clickhouse_connect, json, sys\n"
        "client = clickhouse_connect.get_client(dsn=f'chdb://{sys.argv[1]}')\n"
        "print(json.dumps([row[0] for row in client.query('SELECT touch_id FROM touches').result_rows]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(data / "events")], capture_output=True, text=True, check=True, timeout=60)
    found: list[str] = json.loads(done.stdout)
    return found


# --- several machines ------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_events(chdb_folder: Path, chdb_store: EventsStore) -> Iterator[tuple[str, EventsStore]]:
    """The URL of an empty events store that several processes may use, and the store."""
    chdb_store.command("CREATE DATABASE shared_by_machines")
    with closing(open_door(f"chdb://{chdb_folder}")) as door:
        url = urlsplit(door.url)._replace(path="/shared_by_machines").geturl()
        with closing(connect_events(url)) as store:
            migrate_events(store, Settings())
            yield url, store
    chdb_store.command("DROP DATABASE shared_by_machines")


@contextmanager
def running(installation: Installation, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A part of an installation as a process, killed afterwards if it still runs."""
    command = [sys.executable, "-m", "fairshare", *arguments, "--data", str(installation.data)]
    process = subprocess.Popen(command, env=installation.environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_two_machines_and_two_drains(redis: RedisServer, sqlite_url: str, shared_events: tuple[str, EventsStore], tmp_path: Path) -> None:
    events_url, events = shared_events
    common = {
        "FAIRSHARE_BOOKS_URL": sqlite_url,
        "FAIRSHARE_EVENTS_URL": events_url,
        "FAIRSHARE_QUEUE_URL": redis.url,
        "FAIRSHARE_SECRET": "s" * 32,
    }
    ports = [free_port(), free_port()]
    one, two = (
        Installation(tmp_path / name, FAIRSHARE_TRACKER_PORT=str(port), **common) for name, port in zip(("one", "two"), ports, strict=True)
    )
    one.import_catalogue(catalogue())
    with (
        running(one, "track", "--tracker-id", "one-t0"),
        running(two, "track", "--tracker-id", "two-t0"),
        running(one, "relay"),
        running(two, "relay"),
        running(one, "drain") as first,
    ):
        trackers = [f"http://127.0.0.1:{port}" for port in ports]
        wait_for("the trackers", lambda: all(answers(f"{tracker}/health") for tracker in trackers), 30)
        with Visitors(*trackers) as visitors:
            wait_for("the first drain to store", lambda: events.select(TOUCHES), 30)
            with running(two, "drain"):
                visitors.wait_for_more(60)
                first.kill()
                stored = len(events.select(TOUCHES))
                wait_for("the second drain to go on", lambda: len(events.select(TOUCHES)) > stored + 60, 30)
                visitors.__exit__()
                for folder in (one.data / "spool", two.data / "spool"):
                    wait_for("everything to be stored", lambda folder=folder: not unstored(sqlite_url, folder), 30)
                found = [touch_id for (touch_id,) in events.select(TOUCHES)]
    for installation in (one, two):
        installation.close()

    assert set(visitors.acknowledged) <= set(found)
    assert len(found) == len(set(found))


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_relay_without_redis_says_that_there_is_nothing_to_relay(tmp_path: Path) -> None:
    fairshare = Installation(tmp_path / "var")
    done = fairshare.run("relay")
    fairshare.close()

    assert done.returncode == 1
    assert "there is nothing to relay: FAIRSHARE_QUEUE_URL is not redis://" in done.stderr


@pytest.fixture(autouse=True)
def _no_redis_no_test() -> None:
    if not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("*** REDIS DOES NOT RUN HERE, ITS TESTS ARE SKIPPED: there is no redis-server on this machine ***")
