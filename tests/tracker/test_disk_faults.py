"""A real tracker process on a failing, full, read-only or slow disk: what visitors, shops and operators see over HTTP.

Simulated faults hit every file operation at once, by command (``faulty_tracker.py``); where root may mount, a real file
system of 128 KB fills up, and a read-only one lies over the spool.
"""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from core.events import decode_event
from tracker.counters import read_counters
from tracker.spool import read_records, segments

ROOT = Path(__file__).parent.parent.parent
SHOP = "https://shop.north.example/spring?ref=x"
CLIENTS, ROUNDS = 64, 12


class Reply(NamedTuple):
    """An HTTP answer: ``body`` is decoded where it is JSON."""

    status: int
    headers: dict[str, str]
    body: Any


class Tracker:
    """A tracker process; ``order`` tells its disk what to do."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, folder: Path, order: Path) -> None:
        self.process = process
        self.port = port
        self.folder = folder
        self._order = order

    def order(self, fault: str) -> None:
        if fault:
            self._order.with_suffix(".new").write_text(fault)
            self._order.with_suffix(".new").rename(self._order)
        else:
            self._order.unlink(missing_ok=True)

    def ask(self, target: str, method: str = "GET") -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, headers={"User-Agent": "Mozilla/5.0"})
            answer = connection.getresponse()
            content = answer.read()
            is_json = "json" in (answer.headers["content-type"] or "")
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, headers, msgspec.json.decode(content) if is_json else content)
        finally:
            connection.close()

    def click(self) -> str:
        """Click as a visitor, who must reach the shop; the id of the click."""
        reply = self.ask("/c/spring")
        assert (reply.status, reply.headers["location"].startswith(SHOP)) == (302, True)
        found = re.search(r"fsclick=(\w{26})", reply.headers["location"])
        assert found
        return found[1]

    def sell(self, order_id: str) -> Reply:
        return self.ask(f"/sale?token=key-of-north&order_id={order_id}&amount=12.50")

    def health(self) -> Reply:
        return self.ask("/health")

    def counts(self) -> tuple[int, int, int]:
        """Received, recorded and unrecorded, as ``/health`` says."""
        counters = self.health().body["counters"]
        return counters["received"], counters["recorded"], counters["unrecorded"]

    def records(self) -> list[str]:
        """The ids of what the spool holds, in order."""
        found = [payload for segment in segments(self.folder) for _, _, payload in read_records(segment)]
        assert all(isinstance(payload, bytes) for payload in found), "the spool is damaged"
        return [decode_event(payload).event_id for payload in found if isinstance(payload, bytes)]

    def stop(self) -> int:
        """Ask it to stop, and wait; how many syncs it asked for."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=10)
        assert self.process.returncode == 0
        return int(output)


@pytest.fixture
def start(catalogue_url: str, tmp_path: Path) -> Iterator[Callable[..., Tracker]]:
    """``start(data=…, overload=…, durability=…)``: a tracker process that answers."""
    started = []

    def start(data: Path = tmp_path, overload: str = "availability", durability: str = "strict") -> Tracker:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        order = tmp_path / "order"
        program = [sys.executable, "-m", "tests.tracker.faulty_tracker", str(order), str(data), catalogue_url, str(port)]
        process = subprocess.Popen([*program, overload, durability], cwd=ROOT, stdout=subprocess.PIPE)
        started.append(process)
        tracker = Tracker(process, port, data / "spool" / "t0", order)
        _wait_until(lambda: tracker.health().status == 200)
        return tracker

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def _wait_until(holds: Callable[[], bool], patience_s: float = 20.0) -> None:
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        with suppress(OSError, http.client.HTTPException):
            if holds():
                return
        time.sleep(0.02)
    raise AssertionError(f"it did not come about within {patience_s} s")


def during(tracker: Tracker) -> list[str]:
    """What must hold while the disk refuses everything; the ids of clicks that were not recorded."""
    received, recorded, unrecorded = tracker.counts()
    lost = [tracker.click() for _ in range(5)]
    assert tracker.counts() == (received + 5, recorded, unrecorded + 5)

    refused = tracker.sell("o-1")
    assert (refused.status, refused.body["error"]["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert tracker.health().status == 503
    assert tracker.health().body["spool"]["failures"] >= 6
    assert tracker.counts() == (received + 5, recorded, unrecorded + 5), "a sale that was refused will be sent again"
    return lost


def afterwards(tracker: Tracker, kept: list[str], lost: list[str]) -> None:
    """What must hold once the disk is well again, without a restart."""
    kept.append(tracker.click())
    assert tracker.health().status == 200
    sold = tracker.sell("o-1")
    assert sold.status == 200, "the same sale again"
    assert tracker.sell("o-1").body == sold.body
    received, recorded, unrecorded = tracker.counts()
    found = tracker.records()
    assert received == recorded + unrecorded
    assert (recorded, unrecorded) == (len(found), len(lost))
    assert len(found) == len(set(found)) == len(kept) + 1
    assert {*kept} <= {*found}
    assert not {*lost} & {*found}, "what was not recorded is not found either"
    tracker.stop()
    counters = read_counters(tracker.folder)
    assert counters
    assert sum(loss.events for loss in counters.unrecorded) == len(lost)
    assert not [path for path in segments(tracker.folder) if path.stat().st_size == 0], "no litter"


@pytest.mark.parametrize("fault", ["sync-fails", "full", "read-only"])
def test_a_disk_that_refuses_costs_counted_clicks_and_no_visitor(start: Callable[..., Tracker], fault: str) -> None:
    tracker = start()
    kept = [tracker.click(), tracker.click()]
    tracker.order(fault)
    lost = during(tracker)
    tracker.order("")
    afterwards(tracker, kept, lost)


def test_one_failed_sync_costs_one_batch(start: Callable[..., Tracker]) -> None:
    tracker = start()
    kept = [tracker.click()]
    tracker.order("sync-fails-once")
    lost = [tracker.click()]
    assert tracker.health().status == 503
    kept.append(tracker.click())
    afterwards(tracker, kept, lost)


@pytest.mark.parametrize("fault", ["sync-fails", "full"])
def test_accountability_turns_visitors_away(start: Callable[..., Tracker], fault: str) -> None:
    tracker = start(overload="accountability")
    kept = [tracker.click()]
    tracker.order(fault)
    for _ in range(3):
        refused = tracker.ask("/c/spring")
        assert (refused.status, int(refused.headers["retry-after"]) > 0) == (503, True)
    assert tracker.counts() == (4, 1, 3)
    tracker.order("")
    kept.append(tracker.click())
    assert sorted(tracker.records()) == sorted(kept)


def test_bounded_keeps_what_it_confirmed_and_says_that_syncs_fail(start: Callable[..., Tracker]) -> None:
    tracker = start(durability="bounded")
    assert tracker.health().body["spool"]["loss_bound_ms"] == 50
    tracker.order("sync-fails")
    kept = [tracker.click()]
    _wait_until(lambda: tracker.health().body["spool"]["failures"] > 0)
    assert tracker.counts() == (1, 1, 0)
    tracker.order("full")
    lost = [tracker.click()]
    tracker.order("")
    afterwards(tracker, kept, lost)


def test_on_a_slow_disk_many_visitors_share_a_sync(start: Callable[..., Tracker]) -> None:
    tracker = start()
    tracker.order("slow")
    clients = [socket.create_connection(("127.0.0.1", tracker.port), timeout=10) for _ in range(CLIENTS)]
    try:
        for _ in range(ROUNDS):
            for client in clients:
                client.sendall(b"GET /c/spring HTTP/1.1\r\nHost: go.north.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
            for client in clients:
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += client.recv(65_536)
                assert answer.startswith(b"HTTP/1.1 302 ")
    finally:
        for client in clients:
            client.close()
    assert tracker.counts() == (CLIENTS * ROUNDS, CLIENTS * ROUNDS, 0)
    assert len(tracker.records()) == CLIENTS * ROUNDS
    assert tracker.stop() <= CLIENTS * ROUNDS / 8, "at least eight records share each wait for the disk"


def test_one_after_the_other_each_has_a_sync_of_its_own(start: Callable[..., Tracker]) -> None:
    tracker = start()
    for _ in range(10):
        tracker.click()
    assert tracker.stop() >= 10, "strict: no answer goes before its sync"


# --- deleted, moved away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["segment", "folder"])
def test_nothing_is_confirmed_into_a_file_that_somebody_deleted(start: Callable[..., Tracker], what: str) -> None:
    tracker = start()
    tracker.click()
    if what == "segment":
        segments(tracker.folder)[-1].unlink()
    else:
        shutil.rmtree(tracker.folder)
    kept = [tracker.click(), tracker.click()]

    assert tracker.records() == kept
    assert tracker.health().status == 200
    tracker.stop()


# --- real file systems -----------------------------------------------------------------------------------------------


@contextmanager
def mounted(where: Path, options: str) -> Iterator[None]:
    """A file system in memory, over ``where``. Skips, loudly, where we may not mount."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may mount a file system: a really full disk was NOT tried")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", str(where)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount ({done.stderr.decode().strip()}): a really full disk was NOT tried")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_a_really_full_disk(start: Callable[..., Tracker], tmp_path: Path) -> None:
    data = tmp_path / "small"
    data.mkdir()
    with mounted(data, "size=128k"):
        tracker = start(data=data)
        kept = [tracker.click()]
        filler = data / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1024))
        lost: list[str] = []
        while not lost:  # what is left of the segment's last page still takes a few
            before = tracker.counts()[2]
            (lost if (id_ := tracker.click()) and tracker.counts()[2] > before else kept).append(id_)
            assert len(kept) < 100
        lost += during(tracker)
        filler.unlink()
        afterwards(tracker, kept, lost)


def test_a_disk_that_is_really_read_only(start: Callable[..., Tracker]) -> None:
    tracker = start()
    kept = [tracker.click()]
    with mounted(tracker.folder, "ro"):
        lost = during(tracker)
    afterwards(tracker, kept, lost)
