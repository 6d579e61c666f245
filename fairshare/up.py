"""``fairshare up``: a supervisor. It starts one engine and N trackers, restarts those that die, and stops them together.

The supervisor holds no data, so nothing is lost whichever process is killed. A child that keeps dying ends the whole:
a visible stop is better than a service that is down and says it is up.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from urllib.error import URLError

from core.errors import FairshareError, InUse, SettingsError
from core.settings import Settings, environment_of
from store.installation import lock_data

STOP_WITHIN_S = 4.5
READY_WITHIN_S = 120.0
LOCK_PATIENCE_S = 3.0
DEATHS_BEFORE_GIVING_UP = 10
DEATHS_WITHIN_S = 60.0


class Child:
    """One process of the installation, and when it died."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._deaths: list[float] = []
        self._retry_at = 0.0
        self.has_answered = False
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        # A session of its own: Ctrl-C reaches only the supervisor, which stops the children in order.
        # Its standard input is our pipe: when the supervisor is killed, the child reads the end of it and stops too.
        command = [sys.executable, "-m", "fairshare", *self._arguments, "--supervised"]
        return subprocess.Popen(command, env=self._environment, start_new_session=True, stdin=subprocess.PIPE)

    def mend(self, now: float) -> str | None:
        """Restart the process if it died; a line to say so, or None. Waits longer after each death in a row.

        Raises:
            SystemExit: it exited with code 2, which no restart mends.
            FairshareError: it died too often.
        """
        code = self.process.poll()
        if code is None:
            return None
        if code == 2 and not self.has_answered:
            raise SystemExit(2)
        if self._retry_at == 0.0:
            self._deaths = [at for at in self._deaths if now - at < DEATHS_WITHIN_S] + [now]
            if len(self._deaths) >= DEATHS_BEFORE_GIVING_UP:
                raise FairshareError(f"the {self.name} died {len(self._deaths)} times in {DEATHS_WITHIN_S:.0f} s; giving up")
            self._retry_at = now + min(0.1 * 2 ** (len(self._deaths) - 1), 5.0)
        if now < self._retry_at:
            return None
        self._retry_at = 0.0
        self.process = self._start()
        return f"the {self.name} ended ({_how_it_ended(code)}); started again as process {self.process.pid}"


class Supervisor:
    """Starts, watches and stops the children. ``stopping`` is set by a signal."""

    def __init__(self, settings: Settings, demo: bool, ready_file: Path | None = None) -> None:
        self._settings = settings
        self._demo = demo
        self._ready_file = ready_file
        self._children: list[Child] = []
        self._owns_ready_file = False
        self.stopping = False

    def start(self, say: Callable[[str], None]) -> None:
        """Start everything and return when it all answers.

        Raises:
            InUse: a port is taken, or the data folder is in use by another installation.
            SettingsError: both ports are the same.
        """
        require_free(self._settings)
        lock_data(self._settings, LOCK_PATIENCE_S).release()
        self._owns_ready_file = True
        self._forget_readiness()  # only now: before, the file may be a running installation's
        signal.signal(signal.SIGINT, self._stop_asked)
        signal.signal(signal.SIGTERM, self._stop_asked)
        environment = os.environ | environment_of(self._settings)
        self._children.append(Child("engine", ["engine", "--demo" if self._demo else "--no-demo"], environment))
        # Trackers read the books, which the engine creates or migrates first.
        self._wait_for(f"{_local(self._settings.portal_host, self._settings.portal_port)}/health", say)
        if self._settings.has_redis_queue:
            self._children.append(Child("relay", ["relay"], environment))
        for number in range(self._settings.trackers):
            self._children.append(Child(f"tracker {number}", ["track", "--tracker-id", f"t{number}"], environment))
        self._wait_for(f"{_local(self._settings.tracker_host, self._settings.tracker_port)}/health", say)
        for child in self._children:
            child.has_answered = True

    def watch(self, say: Callable[[str], None]) -> None:
        """Keep the children alive until a signal asks to stop."""
        while not self.stopping:
            self._mend(say)
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask every child to end, trackers first; kill what is left after ``STOP_WITHIN_S``."""
        deadline = time.monotonic() + STOP_WITHIN_S
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.terminate()
        for child in self._children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._forget_readiness()

    def _forget_readiness(self) -> None:
        if self._ready_file and self._owns_ready_file:
            self._ready_file.unlink(missing_ok=True)

    def _mend(self, say: Callable[[str], None]) -> None:
        for child in self._children:
            line = child.mend(time.monotonic())
            if line:
                say(line)

    def _wait_for(self, url: str, say: Callable[[str], None]) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.stopping and not _answers(url):
            self._mend(say)
            if time.monotonic() > deadline:
                raise FairshareError(f"{url} did not answer within {READY_WITHIN_S:.0f} s")
            time.sleep(0.05)

    def _stop_asked(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True


def require_free(settings: Settings) -> None:
    """Refuse to start where a port is taken.

    Raises:
        InUse: names the port and the option that chooses another.
        SettingsError: both ports are the same.
    """
    wanted = [("tracker", settings.tracker_host, settings.tracker_port), ("portal", settings.portal_host, settings.portal_port)]
    for what, host, port in wanted:
        if not _is_free(host, port):
            raise InUse(f"port {port} on {host} is taken by another program; choose another with --{what}-port")
    if settings.tracker_port == settings.portal_port and settings.tracker_host == settings.portal_host:
        raise SettingsError([f"tracker and portal cannot share port {settings.portal_port}; choose another with --portal-port"])


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError, ValueError):
        return False


def _local(host: str, port: int) -> str:
    """Where this machine reaches its own server: a wildcard address is no destination."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{reachable}:{port}"


def _how_it_ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
