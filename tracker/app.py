"""Composition: settings and a tracker id in, a running edge out."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from core.clock import MINUTE, Clock, system_clock
from core.errors import SettingsError
from core.ids import Mint, is_slug
from core.settings import Settings, read_settings
from store.books import Books, open_books
from store.installation import installation_secret
from tracker.asgi import AsgiTracker, Receive, Scope, Send
from tracker.click import AgentFlag
from tracker.commit import Durability, GroupCommit, open_spool
from tracker.counters import Counters, read_counters, set_damaged_aside, write_counters
from tracker.edge import Edge, Overload, Rules
from tracker.exchange import open_neighbours
from tracker.files import SYSTEM, FileSystem
from tracker.hit import Proxies
from tracker.lag import lag_in_health
from tracker.recording import Recorder
from tracker.spool import own_folder
from tracker.watch import Watch

SAVE_EVERY_S = 1.0
LOAD_AFTER_S = 2.0
GARBAGE_OBJECTS = 50_000


class Running(NamedTuple):
    """A tracker that answers. It stops, with everything recorded and synced, when its context ends."""

    edge: Edge
    proxies: Proxies
    spool: GroupCommit
    watch: Watch
    books: Books


@asynccontextmanager
async def running(
    settings: Settings,
    tracker_id: str,
    clock: Clock = system_clock,
    random_bytes: Callable[[int], bytes] = os.urandom,
    files: FileSystem = SYSTEM,
) -> AsyncIterator[Running]:
    """Own the spool folder, read the catalogue and be ready to answer.

    Raises:
        SettingsError: the tracker id or a trusted proxy is not usable.
        Unavailable: another process owns the folder, or the installation's secret cannot be read.
    """
    if not is_slug(tracker_id):
        raise SettingsError([f"--tracker-id {tracker_id!r} is not a short name of a-z, 0-9 and -"])
    proxies, folder = Proxies(settings.trusted_proxies), settings.spool / tracker_id
    async with AsyncExitStack() as stack:
        stack.callback(os.close, own_folder(folder, files=files))
        books = open_books(settings.books)
        stack.callback(books.close)
        secret = installation_secret(settings)
        neighbours = open_neighbours(settings, tracker_id, secret, clock)
        stack.push_async_callback(asyncio.to_thread, neighbours.close)
        watch = Watch(books, secret, depots=neighbours.depots)
        stack.push_async_callback(asyncio.to_thread, watch.stop)
        await asyncio.to_thread(watch.start)
        await asyncio.to_thread(neighbours.exchange.start)
        counters = _counters(tracker_id, folder, clock)
        stack.push_async_callback(_save, counters, folder, clock, files)
        spool = _spool(settings, folder, clock, files)
        stack.push_async_callback(spool.close)
        recorder = Recorder(books, spool)
        stack.callback(recorder.close)
        agents = Agents()
        for chore in (_save_now_and_then(counters, folder, clock, files), _load_later(agents)):
            stack.callback(asyncio.create_task(chore).cancel)
        rules = Rules(cast(Overload, settings.overload), settings.bad_clock_tolerance_minutes * MINUTE, settings.portal)
        lag = partial(lag_in_health, folder, clock) if settings.has_redis_queue else dict
        edge = Edge(
            table=lambda: watch.table,
            spool=spool,
            recorder=recorder,
            counters=counters,
            clock=clock,
            mint=Mint(random_bytes),
            agent_flag=agents,
            limits=neighbours.limits,
            rules=rules,
            lag=lag,
            sharing=neighbours.exchange.state,
            watching=watch.state,
        )
        yield Running(edge, proxies, spool, watch, books)


def asgi_app(tracker_id: str = "a0") -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """For ``uvicorn --factory tracker.app:asgi_app --no-proxy-headers``: settings from the environment, one process."""
    settings = read_settings(os.environ)
    stack = AsyncExitStack()
    inner: list[AsgiTracker] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(stack, settings, tracker_id, inner, receive, send)
        else:
            await inner[0](scope, receive, send)

    return application


async def _lifespan(
    stack: AsyncExitStack, settings: Settings, tracker_id: str, inner: list[AsgiTracker], receive: Receive, send: Send
) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        assert message["type"] == "lifespan.startup", "a lifespan has two messages"
        try:
            tracker = await stack.enter_async_context(running(settings, tracker_id))
        except Exception as fault:
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        inner.append(AsgiTracker(tracker.edge, tracker.proxies))
        spare_the_collector()
        await send({"type": "lifespan.startup.complete"})
    await stack.aclose()
    await send({"type": "lifespan.shutdown.complete"})


def spare_the_collector() -> None:
    """For a process that is a tracker and nothing else, once it is ready: the catalogue is no garbage and need not be looked
    at again; a click makes no cycles, so looking seldom is enough."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 50, 100)


class Agents:
    """:func:`tracker.traffic.agent_flag`, whose lists take a third of a second to load: not before the first redirect.

    Until then it knows nothing, and a robot that was denied to be remembered in a tracker's first seconds passes for a person.
    """

    def __init__(self) -> None:
        self._flag: AgentFlag = lambda _: ""

    def __call__(self, user_agent: str) -> str:
        return self._flag(user_agent)

    def load(self) -> None:
        from tracker.traffic import agent_flag

        agent_flag("warm up")
        self._flag = agent_flag


async def _load_later(agents: Agents) -> None:
    await asyncio.sleep(LOAD_AFTER_S)
    await asyncio.to_thread(agents.load)


def _counters(tracker_id: str, folder: Path, clock: Clock) -> Counters:
    set_damaged_aside(folder)
    before = read_counters(folder)
    return Counters(tracker_id, clock(), before.unrecorded if before else ())


def _spool(settings: Settings, folder: Path, clock: Clock, files: FileSystem) -> GroupCommit:
    return open_spool(
        folder,
        now=clock(),
        durability=cast(Durability, settings.durability),
        segment_mb=settings.spool_segment_mb,
        queue_records=settings.spool_queue_records,
        sync_ms=settings.spool_sync_ms,
        files=files,
    )


async def _save_now_and_then(counters: Counters, folder: Path, clock: Clock, files: FileSystem) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await _save(counters, folder, clock, files)


async def _save(counters: Counters, folder: Path, clock: Clock, files: FileSystem) -> None:
    content = counters.changes(clock())
    if content is not None and not await asyncio.to_thread(write_counters, folder, content, files):
        counters.retry()
