"""One tracker process: the edge on a port, until a signal. Plainly I/O.

Several tracker processes of one installation share the port: on Linux the kernel spreads new connections over them.
"""

import asyncio
import errno
import resource
import signal
import socket
import sys
import time
from contextlib import suppress

from core.errors import InUse, Unavailable
from core.settings import Settings
from tracker.app import Running, running, spare_the_collector
from tracker.files import SYSTEM, FileSystem
from tracker.spool import is_owned, spool_folders
from tracker.wire import CONNECTIONS, WireTracker

BACKLOG = 2048
GRACE_S = 3.0
"""How long requests in flight may take once a stop is asked; with the last sync it stays below five seconds."""
PORT_TRIES, PORT_PAUSE_S = 5, 0.05
SWITCH_INTERVAL_S = 0.001
FILES_OF_OURS = 200
"""Segments, books, threads: connections leave so many descriptors to them."""


def run_tracker(settings: Settings, tracker_id: str) -> None:
    """Serve on the tracker's host and port until SIGTERM or SIGINT; everything confirmed is on disk when it returns.

    Raises:
        InUse: the port or the spool folder belongs to another process: one line says which.
        SettingsError: the tracker id or a trusted proxy is not usable.
    """
    # A reload of the catalogue shares the interpreter with redirects; they should not wait 5 ms for each of its turns.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(serve(settings, tracker_id))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def serve(settings: Settings, tracker_id: str, stop: asyncio.Event | None = None, files: FileSystem = SYSTEM) -> None:
    """Serve until ``stop`` is set, or a signal where there is none."""
    async with running(settings, tracker_id, files=files) as tracker:
        require_port(settings, tracker_id)
        spare_the_collector()
        serve_on = _on_granian if settings.tracker_server == "granian" else _on_wire
        await serve_on(tracker, settings, stop or _stop_on_signals())


async def _on_wire(tracker: Running, settings: Settings, stop: asyncio.Event) -> None:
    wire = WireTracker(tracker.edge, tracker.proxies, min(CONNECTIONS, _most_files() - FILES_OF_OURS))
    try:
        await wire.listen(settings.tracker_host, settings.tracker_port, BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # between our look and the kernel's
            raise InUse(_taken(settings)) from None
        raise
    await stop.wait()
    await wire.close(GRACE_S)


async def _on_granian(tracker: Running, settings: Settings, stop: asyncio.Event) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server, TaskImpl

    from tracker.rsgi import RsgiTracker

    server = Server(
        RsgiTracker(tracker.edge, tracker.proxies),
        address=settings.tracker_host,
        port=settings.tracker_port,
        interface=Interfaces.RSGI,
        backlog=BACKLOG,
        websockets=False,
        log_enabled=False,
        # Where there is one (Python 3.11), a click costs a quarter less; what needs a task makes one (tracker.rsgi).
        task_impl=TaskImpl.rust if sys.version_info < (3, 12) else TaskImpl.asyncio,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.stop()
    try:
        await _end(serving)
    except RuntimeError as error:
        if "in use" in str(error):  # between our look and Granian's
            raise InUse(_taken(settings)) from None
        raise


def _most_files() -> int:
    """How many files and sockets this process may have open: all that the system allows it, not only what it grants unasked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def require_port(settings: Settings, tracker_id: str) -> None:
    """Refuse a port that another program has; trackers of the same installation share it.

    Raises:
        InUse: in one line, with what to do.
    """
    for _ in range(PORT_TRIES):
        if _bind(settings, shared=_has_siblings(settings, tracker_id)):
            return
        time.sleep(PORT_PAUSE_S)  # a sibling that starts at this moment may be asking too
    raise InUse(_taken(settings))


def _taken(settings: Settings) -> str:
    where = f"port {settings.tracker_port} on {settings.tracker_host}"
    return f"{where} is taken by another program or is not ours to use; choose another with FAIRSHARE_TRACKER_PORT"


def _bind(settings: Settings, shared: bool) -> bool:
    family = socket.AF_INET6 if ":" in settings.tracker_host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((settings.tracker_host, settings.tracker_port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
                return False
            raise Unavailable(f"cannot listen on {settings.tracker_host}:{settings.tracker_port}: {error.strerror}") from error
    return True


def _has_siblings(settings: Settings, tracker_id: str) -> bool:
    """True while another tracker of this installation lives: each owns its folder before it takes the port."""
    return any(folder.name != tracker_id and is_owned(folder) for folder in spool_folders(settings.spool))


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _end(serving: "asyncio.Task[None]") -> None:
    """Wait for requests in flight; whoever is slower than the grace period was confirmed nothing and may repeat."""
    done, _ = await asyncio.wait({serving}, timeout=GRACE_S)
    if done:
        serving.result()
    else:  # Granian would report, with a traceback, that nobody waits for its end any more
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
