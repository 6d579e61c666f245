"""Group commit: many requests share one write and one sync. Plainly I/O, in a thread of its own.

The event loop owns all state and the thread only executes one batch at a time, so there is nothing to lock. Whoever
arrives while a sync is in flight joins the next batch.
"""

import asyncio
import queue
import threading
import time
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from core.clock import Instant
from core.errors import Unavailable
from tracker.spool import FileSystem, SegmentWriter, SystemFiles, first_sequence, frame

Durability = Literal["strict", "bounded"]
RETRY_AFTER_S = 5


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
    def state(self) -> SpoolState: ...


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
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._in_flight: list[tuple[bytes, asyncio.Future[None]]] = []
        self._is_scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._recorded = 0
        self._failures = 0
        self._last_failure = ""
        self._is_failing = False
        self._last_commit_ms = 0.0
        self._jobs: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    def append(self, payload: bytes) -> "asyncio.Future[None]":
        """Record one event; the future is done when it is safe, and fails with :class:`SpoolBroken` where it is not.

        Raises:
            SpoolFull: at once, and nothing was recorded.
        """
        if len(self._waiting) + len(self._in_flight) >= self._queue_records:
            raise SpoolFull(f"{self._queue_records} records wait for the disk already; try again later", RETRY_AFTER_S)
        future = self._loop.create_future()
        self._waiting.append((frame(payload), future))
        if not self._is_scheduled and not self._in_flight:
            # Not at once: everything that this turn of the loop brings shares the batch.
            self._is_scheduled = True
            self._idle.clear()
            self._loop.call_soon(self._send)
        return future

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
            waiting=len(self._waiting) + len(self._in_flight),
            recorded=self._recorded,
            failures=self._failures,
            last_failure=self._last_failure,
            last_commit_ms=round(self._last_commit_ms, 3),
        )

    async def close(self) -> None:
        """Bring everything that was appended to the disk, and end the thread."""
        await self._idle.wait()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- on the loop ---

    def _send(self) -> None:
        self._is_scheduled = False
        self._in_flight, self._waiting = self._waiting, []
        self._jobs.put((b"".join([framed for framed, _ in self._in_flight]), len(self._in_flight)))

    def _settle(self, fault: Exception | None, took_ms: float) -> None:
        batch, self._in_flight = self._in_flight, []
        self._last_commit_ms = took_ms
        self._is_failing = fault is not None
        if fault is None:
            self._recorded += len(batch)
        else:
            self._note_failure(fault)
        for _, future in batch:
            if future.done():  # the client went away; its record is as safe as the others
                continue
            if fault is None:
                future.set_result(None)
            else:
                future.set_exception(SpoolBroken(f"the event could not be written to disk: {_reason(fault)}", RETRY_AFTER_S))
        if self._waiting:
            self._send()
        else:
            self._idle.set()

    def _note_failure(self, fault: Exception) -> None:
        self._failures += 1
        self._last_failure = _reason(fault)

    # --- on the thread ---

    def _work(self) -> None:
        unsynced_since: float | None = None
        while True:
            try:
                job = self._jobs.get(timeout=self._patience(unsynced_since))
            except queue.Empty:
                self._sync_late()
                unsynced_since = None
                continue
            if job is None:
                self._finish()
                return
            began = time.monotonic()
            fault = self._store(*job)
            self._tell(self._settle, fault, (time.monotonic() - began) * 1000)
            if self._durability == "bounded" and fault is None:
                unsynced_since = began if unsynced_since is None else unsynced_since
                if self._patience(unsynced_since) == 0.0:
                    self._sync_late()
                    unsynced_since = None

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
            self._tell(self._note_failure, fault)

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
