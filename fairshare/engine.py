"""The engine: the one process of an embedded installation that owns the events store.

It migrates the stores, loads the demo world where asked, and then runs side by side: the drain, attribution, accrual,
the ledgers' anchors, the door for this installation's own commands, and the portal.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvicorn

from attribution.run import run_attribution
from attribution.workers import processes_for
from core.clock import system_clock
from core.settings import Settings
from fairshare.ledgers import anchors_of
from fairshare.output import progress, say
from fairshare.ready import DemoSheet, write_demo
from fairshare.stores import migrate_ledger
from payouts.accrue import run_accrual
from payouts.anchors import run_anchoring
from portal.app import create_app
from store.books import Books, open_books
from store.engine_door import open_door
from store.events import EventsStore, open_events
from store.installation import installation_secret, lock_data, publish_door, remove_door
from store.migrate import migrate_events
from tracker.drain import run_drain
from tracker.intake import open_drain

STOP_WITHIN_S = 3.5
LOCK_PATIENCE_S = 3.0
"""A command that asks a stopped installation holds the folder for a moment."""


def run_engine(settings: Settings, demo: bool) -> None:
    """Run until SIGINT or SIGTERM; uvicorn turns both into a graceful stop.

    Raises:
        InUse: another process owns the data folder.
        StoreVersionError: a store is newer than this program.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(lock_data(settings, patience_s=LOCK_PATIENCE_S))
        migrate_ledger(settings, system_clock)
        books = open_books(settings.books)
        stack.callback(books.close)
        events = open_events(settings, lock)
        stack.callback(events.close)
        migrate_events(events, settings)
        if demo:
            prepare_demo(settings, books, events)
        if settings.events.startswith("chdb:"):
            stack.enter_context(offered(settings))
        stack.enter_context(background(settings, books, events))
        serve_portal(settings, books, events)


def prepare_demo(settings: Settings, books: Books, events: EventsStore) -> None:
    """Load the demo world into an empty installation, and leave what to show about it in ``DIR/demo.json``."""
    from fairshare.demo.load import load_demo  # here, because only the first start needs it

    with progress("loading the demo world") as advance:
        report = load_demo(settings, books, events, system_clock, advance)
    if report.state == "not_empty":
        say("this installation has a catalogue of its own, so the demo world was not loaded")
        return
    write_demo(settings.data, DemoSheet(report.link, report.token, report.order, report.sign_ins))


@contextmanager
def offered(settings: Settings) -> Iterator[None]:
    """The door for this installation's own commands, open and published while the engine runs."""
    door = open_door(settings.events)
    publish_door(settings, door.url, system_clock())
    try:
        yield
    finally:
        remove_door(settings)
        door.close()


def serve_portal(settings: Settings, books: Books, events: EventsStore) -> None:
    """Answer pages and the API in this thread, until a signal."""
    application = create_app(settings, books, events, system_clock)
    uvicorn.run(
        application,
        host=settings.portal_host,
        port=settings.portal_port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        forwarded_allow_ips=list(settings.trusted_proxies),
    )


@contextmanager
def background(settings: Settings, books: Books, events: EventsStore) -> Iterator[None]:
    """The loops of the route, each in its thread; all end within ``STOP_WITHIN_S`` of leaving."""
    stop = threading.Event()
    drain = open_drain(settings, books, events, system_clock)
    processes, secret = processes_for(settings.attribution_processes), installation_secret(settings)
    loops: dict[str, Callable[[], None]] = {
        "drain": lambda: run_drain(drain, stop),
        "attribution": lambda: run_attribution(events, books, system_clock, stop, processes=processes, secret=secret),
        "accrual": lambda: run_accrual(events, books, system_clock, stop),
        "anchoring": lambda: run_anchoring(books, anchors_of(settings), system_clock, stop),
    }
    threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        deadline = time.monotonic() + STOP_WITHIN_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                say(f"{thread.name} was still at work when the engine stopped; it continues at the next start")
