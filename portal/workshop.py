"""Long work that pages start: in threads of this process, a few at once, each to be stopped, all of them ended with the site."""

import threading
import time
from collections.abc import Callable

import structlog

from core.errors import Conflict

Work = Callable[[threading.Event], object]
"""Told to stop by the event; expected to look at it every second or so."""

log = structlog.get_logger("portal")


class Workshop:
    """Keys are (tenant, what). A tenant has one piece of work at a time, and the site ``most``."""

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._at_work: dict[tuple[str, str], tuple[threading.Thread, threading.Event]] = {}

    def start(self, tenant_id: str, name: str, work: Work) -> None:
        """Begin, unless it is at work already.

        Raises:
            Conflict: the tenant has other work under way, or the site has all that it takes.
        """
        key, stop = (tenant_id, name), threading.Event()
        with self._lock:
            if key in self._at_work:
                return
            if any(owner == tenant_id for owner, _ in self._at_work):
                raise Conflict("another replay of yours is at work; wait until it is done, or stop it first")
            if len(self._at_work) >= self._most:
                raise Conflict("as many replays as this site takes are at work; try again in a few minutes")
            thread = threading.Thread(target=self._run, args=(key, work, stop), name=f"work {name}", daemon=True)
            self._at_work[key] = (thread, stop)
            thread.start()

    def is_at_work(self, tenant_id: str, name: str) -> bool:
        with self._lock:
            return (tenant_id, name) in self._at_work

    def stop(self, tenant_id: str, name: str) -> None:
        """Tell it to stop; it ends with the step that it is in."""
        with self._lock:
            found = self._at_work.get((tenant_id, name))
        if found:
            found[1].set()

    def close(self, within_s: float = 2.0) -> None:
        """Stop everything and wait for it."""
        with self._lock:
            found = list(self._at_work.values())
        for _, stop in found:
            stop.set()
        deadline = time.monotonic() + within_s
        for thread, _ in found:
            thread.join(max(0.0, deadline - time.monotonic()))

    def wait(self, tenant_id: str, name: str, within_s: float) -> None:
        """Until it has ended, or so long."""
        with self._lock:
            found = self._at_work.get((tenant_id, name))
        if found:
            found[0].join(within_s)

    def _run(self, key: tuple[str, str], work: Work, stop: threading.Event) -> None:
        try:
            work(stop)
        except Exception:
            log.exception("work ended early", tenant=key[0], work=key[1])
        finally:
            with self._lock:
                self._at_work.pop(key, None)
