"""Processes that decide batches side by side. I/O: other processes. They import pure modules only, and never see a database.

Batches go out and decisions come back as bytes, in the order in which they went out, whichever process was faster.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from queue import Full, Queue, SimpleQueue
from typing import Protocol

import msgspec

from attribution.batch import Batch, Decided, decided, decisions_of
from attribution.policy import Terms
from core.clock import Instant
from core.credit import Decision
from core.errors import FairshareError

WAITING = 8
"""So many batches for each process wait or are decided; whoever makes more waits with them."""
JOIN_S = 5.0

_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_decided = msgspec.msgpack.Decoder(Decided).decode
_decode_decisions = msgspec.msgpack.Decoder(list[Decision]).decode
_TASK, _BATCH, _FAILED, _DONE = b"t", b"b", b"!", b"."

Answer = Decided | list[Decision]


def processes_for(setting: int) -> int:
    """How many processes a setting means: 0 is one for each core that this one may use."""
    return setting or len(os.sched_getaffinity(0))


class WorkerFailed(FairshareError):
    """A process could not decide a batch, or is gone. What it had not answered is decided again by the next run."""


class Task(msgspec.Struct, frozen=True):
    """What the processes do with every batch. ``at`` is when they decide; with ``stored`` false the decisions come back as they are."""

    terms: Terms
    at: Instant
    traces: bool
    stored: bool = True


class Deciders(Protocol):
    """Whoever decides batches: some processes, or this one."""

    def begin(self, task: Task) -> None: ...
    def give(self, batch: Batch) -> Iterator[Answer]: ...
    def rest(self) -> Iterator[Answer]: ...


class Alone:
    """This process decides by itself, at once."""

    def __init__(self) -> None:
        self._task: Task | None = None

    def begin(self, task: Task) -> None:
        self._task = task

    def give(self, batch: Batch) -> Iterator[Answer]:
        assert self._task is not None, "begin() comes first"
        yield answer_of(batch, self._task)

    def rest(self) -> Iterator[Answer]:
        return iter(())


class Crew:
    """Some processes. Use it in a ``with`` block, from one thread."""

    def __init__(self, processes: int) -> None:
        self._queue: SimpleQueue[tuple[bytes, Future[bytes]] | None] = SimpleQueue()
        self._waiting: deque[Future[bytes]] = deque()
        self._most = processes * WAITING
        self._task: Task | None = None
        self._members = [_started() for _ in range(processes)]
        self._threads = [threading.Thread(target=self._serve, args=(here,), daemon=True) for _, here in self._members]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for _ in self._members:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(JOIN_S)
        for process, here in self._members:
            here.close()
            try:
                process.wait(JOIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def begin(self, task: Task) -> None:
        """What is asked of the next batches. Answers to earlier ones that nobody took are dropped."""
        while self._waiting:  # of a task that was given up
            self._waiting.popleft().exception()
        self._task = task

    def give(self, batch: Batch) -> Iterator[Answer]:
        """Hand out a batch; what had to be waited for to make room comes out, oldest first."""
        assert self._task is not None, "begin() comes first"
        future: Future[bytes] = Future()
        self._waiting.append(future)
        self._queue.put((_encode(batch), future))
        while self._waiting and (len(self._waiting) >= self._most or self._waiting[0].done()):
            yield self._read(self._waiting.popleft().result())

    def rest(self) -> Iterator[Answer]:
        """All that is still out."""
        while self._waiting:
            yield self._read(self._waiting.popleft().result())

    def _read(self, answer: bytes) -> Answer:
        assert self._task is not None, "begin() came first"
        return _decode_decided(answer) if self._task.stored else _decode_decisions(answer)

    def _serve(self, here: Connection) -> None:
        """One thread for each process, which it waits for."""
        told: Task | None = None
        while (job := self._queue.get()) is not None:
            content, future = job
            try:
                if told is not self._task:
                    told = self._task
                    here.send_bytes(_TASK)
                    here.send_bytes(pickle.dumps(told))
                here.send_bytes(_BATCH)
                here.send_bytes(content)
                word = here.recv_bytes()
                answer = here.recv_bytes() if word == _DONE else b""
            except (OSError, EOFError) as error:
                future.set_exception(WorkerFailed(f"a process that decided orders is gone: {type(error).__name__}"))
                continue
            if word == _DONE:
                future.set_result(answer)
            else:
                future.set_exception(WorkerFailed(f"a process could not decide orders: {word[1:].decode(errors='replace')}"))
        here.close()


def _started() -> tuple["subprocess.Popen[bytes]", Connection]:
    """A process and our end of the line to it. It is a program of its own, so that it loads what it needs and nothing of ours."""
    here, there = Pipe()
    program = [sys.executable, "-c", "from attribution.workers import main; main()", str(there.fileno())]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(program, pass_fds=(there.fileno(),), env=environment, stdin=subprocess.DEVNULL)
    there.close()
    return process, here


def main() -> None:
    """The program. It ends when the other end hangs up, and leaves signals from the terminal to that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(Connection(int(sys.argv[1])))


def work(there: Connection) -> None:
    """What a process does until the other end hangs up: a task, then batches, each answered."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # what a batch makes has no cycles
    task: Task | None = None
    while True:
        try:
            kind, content = there.recv_bytes(), there.recv_bytes()
        except (EOFError, OSError):
            return
        if kind == _TASK:
            task = pickle.loads(content)
            continue
        assert task is not None, "a task comes first"
        try:
            answer = _encode(answer_of(_decode_batch(content), task))
        except Exception as error:  # whatever it is: the other end has to hear of it
            there.send_bytes(_FAILED + f"{type(error).__name__}: {error}".encode()[:2_000])
            continue
        there.send_bytes(_DONE)
        there.send_bytes(answer)


def answer_of(batch: Batch, task: Task) -> Answer:
    """What is to be stored of a batch, or its decisions."""
    if task.stored:
        return decided(batch, task.terms, task.at, task.traces)
    return decisions_of(batch, task.terms, task.traces)


def read_ahead(batches: Iterator[Batch], most: int) -> Generator[Batch, None, None]:
    """The same, but made by a thread of its own that is up to ``most`` batches ahead. Close it to end the thread.

    Raises:
        whatever making them raises.
    """
    made: Queue[Batch | BaseException | None] = Queue(most)
    ended = threading.Event()

    def put(one: Batch | BaseException | None) -> bool:
        while not ended.is_set():
            with suppress(Full):
                made.put(one, timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            if all(put(batch) for batch in batches):
                put(None)
        except BaseException as error:  # it is raised where the batches are used
            put(error)

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (one := made.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        ended.set()
        thread.join()
