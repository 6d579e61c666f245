"""Group commit: many requests share one write and one sync. Plainly I/O, in a thread of its own.

The event loop owns all state; the thread takes what waits, writes and syncs it, and tells the loop. Whoever arrives while
a sync is in flight joins the next batch.
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from core.clock import Instant
from core.errors import Unavailable
from tracker.files import FileSystem, SystemFiles
from tracker.spool import SegmentWriter, first_sequence, frame

_log = logging.getLogger("fairshare.spool")

Durability = Literal["strict", "bounded"]
RETRY_AFTER_S = 5
PAUSE_S = 0.00015
CROWD = 2
MOST_PAUSES = 12
"""A sync costs a hundred times a record, so under load a batch waits for company: for as long as a pause brings at least
``CROWD`` records more (some ten thousand a second), and for ``MOST_PAUSES`` at most. A record that comes alone never waits."""


class SpoolFull(Unavailable):
    """More records wait for the disk than the queue may hold."""


class SpoolBroken(Unavailable):
    """The disk refused the record: it is full, or failing."""


class SpoolState(msgspec.Struct, frozen=True):
    """For ``/health``. ``loss_bound_ms`` is what a power loss may cost; a killed process never loses anything."""

    durability: Durability
    loss_bound_ms: int
    segment: str
    waiting: int
    recorded: int
    failures: int
    last_failure: str
    last_commit_ms: float


class Spool(Protocol):
    """What the edge needs: :meth:`append` is done once the record is safe, as the durability setting defines it."""

    @property
    def is_healthy(self) -> bool: ...
    def append(self, payload: bytes) -> "asyncio.Future[None]": ...
    def submit(self, payload: bytes, waiter: "Waiter") -> None: ...
    def state(self) -> SpoolState: ...


class Waiter(Protocol):
    """Who waits for a record: a future, or what a server has in its place."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, fault: Exception, /) -> None: ...


class GroupCommit:
    """The spool of one tracker process. Create and use it on one event loop.

    Args:
        durability: ``strict`` answers after the sync that covers a record, ``bounded`` after its write.
        queue_records: more than these waiting, and :meth:`append` raises :class:`SpoolFull`.
        sync_ms: in ``bounded``, how long a written record may stay unsynced.
    """

    def __init__(self, writer: SegmentWriter, durability: Durability = "strict", queue_records: int = 20_000, sync_ms: int = 50) -> None:
        self._writer = writer
        self._durability: Durability = durability
        self._queue_records = queue_records
        self._sync_ms = sync_ms
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, Waiter]] = deque()
        self._unsettled = 0
        self._is_asleep = True
        self._idle = asyncio.Event()
        self._idle.set()
        self._recorded = 0
        self._failures = 0
        self._last_failure = ""
        self._is_failing = False
        self._last_commit_ms = 0.0
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    def append(self, payload: bytes) -> "asyncio.Future[None]":
        """Record one event; the future is done when it is safe, and fails with :class:`SpoolBroken` where it is not.

        Raises:
            SpoolFull: at once, and nothing was recorded.
        """
        future = self._loop.create_future()
        self.submit(payload, future)
        return future

    def submit(self, payload: bytes, waiter: Waiter) -> None:
        """Like :meth:`append`, with the caller's own ``waiter``, which is told on the loop."""
        if self._unsettled >= self._queue_records:
            raise SpoolFull(f"{self._queue_records} records wait for the disk already; try again later", RETRY_AFTER_S)
        if self._unsettled == 0:
            self._idle.clear()
        self._unsettled += 1
        self._waiting.append((frame(payload), waiter))
        if self._is_asleep:
            # Not at once: everything that this turn of the loop brings shares the batch.
            self._is_asleep = False
            self._loop.call_soon(self._calls.put, True)

    @property
    def is_healthy(self) -> bool:
        """False after a failure, until a record was stored again."""
        return not self._is_failing

    def state(self) -> SpoolState:
        path = self._writer.path
        return SpoolState(
            durability=self._durability,
            loss_bound_ms=0 if self._durability == "strict" else self._sync_ms,
            segment=path.name if path else "",
            waiting=self._unsettled,
            recorded=self._recorded,
            failures=self._failures,
            last_failure=self._last_failure,
            last_commit_ms=round(self._last_commit_ms, 3),
        )

    async def close(self) -> None:
        """Bring everything that was appended to the disk, and end the thread."""
        await self._idle.wait()
        self._calls.put(False)
        await asyncio.to_thread(self._thread.join)

    # --- on the loop ---

    def _settle(self, batch: list[tuple[bytes, Waiter]], fault: Exception | None, took_ms: float) -> None:
        self._last_commit_ms = took_ms
        self._is_failing = fault is not None
        self._unsettled -= len(batch)
        if fault is None:
            self._recorded += len(batch)
        else:
            self._note_failure(fault)
        broken = SpoolBroken(f"the event could not be written to disk: {_reason(fault)}", RETRY_AFTER_S) if fault else None
        for _, waiter in batch:
            try:
                if waiter.done():  # the client went away; its record is as safe as the others
                    continue
                if broken is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(broken)
            except Exception:  # a fault of one waiter must not leave the others waiting
                _log.exception("nobody could be told that a record is safe")
        if self._unsettled == 0:
            self._idle.set()

    def _note_failure(self, fault: Exception) -> None:
        self._failures += 1
        self._last_failure = _reason(fault)

    def _note_late_failure(self, fault: Exception) -> None:
        """Of a sync that came after the answers, in ``bounded``."""
        self._is_failing = True
        self._note_failure(fault)

    # --- on the thread ---

    def _work(self) -> None:
        unsynced_since: float | None = None
        last_began = 0.0
        while True:
            try:
                goes_on = self._calls.get(timeout=self._patience(unsynced_since))
            except queue.Empty:
                self._sync_late()
                unsynced_since = None
                continue
            if not goes_on:
                self._finish()
                return
            while self._has_work():
                began = time.monotonic()
                if began - last_began < 2 * PAUSE_S:
                    self._gather()
                    began = time.monotonic()
                last_began = began
                batch = self._take()
                fault = self._store(b"".join([framed for framed, _ in batch]), len(batch))
                self._tell(self._settle, batch, fault, (time.monotonic() - began) * 1000)
                if self._durability == "bounded" and fault is None:
                    unsynced_since = began if unsynced_since is None else unsynced_since
                    if self._patience(unsynced_since) == 0.0:
                        self._sync_late()
                        unsynced_since = None

    def _has_work(self) -> bool:
        """False: the thread goes to sleep. It says so before it looks, so that what comes after that look wakes it."""
        if self._waiting:
            return True
        self._is_asleep = True
        return bool(self._waiting)

    def _gather(self) -> None:
        """Wait for company, where the last batch was only a moment ago."""
        for _ in range(MOST_PAUSES):
            before = len(self._waiting)
            time.sleep(PAUSE_S)
            if len(self._waiting) - before < CROWD:
                return

    def _take(self) -> list[tuple[bytes, Waiter]]:
        """All that waits now. The loop only adds at the other end, so there is nothing to lock."""
        take = self._waiting.popleft
        return [take() for _ in range(len(self._waiting))]

    def _patience(self, unsynced_since: float | None) -> float | None:
        """Seconds until a sync is due; None: nothing waits for one."""
        if unsynced_since is None:
            return None
        # Half of the bound is left to the sync itself.
        return max(0.0, unsynced_since + self._sync_ms / 2000 - time.monotonic())

    def _store(self, data: bytes, records: int) -> Exception | None:
        try:
            if self._durability == "strict":
                self._writer.commit(data, records)
            else:
                self._writer.write(data, records)
        except Exception as fault:  # whatever it was: everyone who waits is told, and the thread goes on
            return fault
        return None

    def _sync_late(self) -> None:
        try:
            self._writer.sync()
        except Exception as fault:
            self._tell(self._note_late_failure, fault)

    def _finish(self) -> None:
        try:
            self._writer.finish()
        except Exception as fault:
            self._tell(self._note_failure, fault)

    def _tell(self, callback: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed: the process ends, nobody waits any more
            return


def _reason(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault or type(fault).__name__)


def open_spool(
    folder: Path,
    now: Instant,
    durability: Durability = "strict",
    segment_mb: int = 128,
    queue_records: int = 20_000,
    sync_ms: int = 50,
    files: FileSystem | None = None,
) -> GroupCommit:
    """A spool that begins a new segment in ``folder``, which the caller owns (:func:`tracker.spool.own_folder`)."""
    writer = SegmentWriter(folder, first_sequence(folder, now), segment_mb << 20, files or SystemFiles())
    return GroupCommit(writer, durability, queue_records, sync_ms)
