"""The tracker's edge in a test: a small catalogue, a disk that fails on command, and requests without a server."""

import asyncio
import errno
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.catalogue import Affiliate, ApiKey, Coalition, CoalitionMember, Link, Membership, Programme, Tenant
from core.clock import DAY
from core.events import Event, decode_event
from core.settings import Settings
from store.books import open_books
from store.catalogue import put
from tests.fakes import NOON, FakeClock
from tests.people import NORTH, SOUTH
from tracker.answer import Answer
from tracker.app import Running, running
from tracker.commit import Spool
from tracker.edge import Edge
from tracker.files import SystemFiles
from tracker.hit import Hit, Proxies, read_hit
from tracker.links import LinkTable, build_table
from tracker.spool import read_records, segments

SECRET = "a-secret-of-the-test-installation!"
KEY_NORTH, KEY_SOUTH = "key-of-north", "key-of-south"
PROXIES = Proxies(("127.0.0.1", "10.0.0.0/8"))
TENANTS = (Tenant(NORTH, "North", "EUR"), Tenant(SOUTH, "South", "JPY", click_parameter="sid"))
PROGRAMMES = (
    Programme(NORTH, "main", "Main", "https://shop.north.example/", hosts=("north.example", "shop.example:8443")),
    Programme(SOUTH, "books", "Books", "http://books.south.example/start"),
)
AFFILIATES = (Affiliate("anna", "Anna", "anna@blog.example"), Affiliate("charlie", "Charlie", "charlie@app.example"))
MEMBERSHIPS = (Membership(NORTH, "main", "anna", "approved", 0, 0), Membership(SOUTH, "books", "charlie", "approved", 0, 0))
LINKS = (
    Link("spring", NORTH, "main", "anna", "https://shop.north.example/spring?ref=x#top"),
    Link("macro", NORTH, "main", "anna", "https://shop.north.example/?a={affiliate_id}&c={click_id}&s={sub1}&u={unknown}"),
    Link("closed", NORTH, "main", "anna", "https://shop.north.example/closed", disabled=True),
    Link("novel", SOUTH, "books", "charlie", "http://books.south.example/novel", channel="email"),
)
API_KEYS = (
    ApiKey("k-north", NORTH, "shop", hashlib.sha256(KEY_NORTH.encode()).hexdigest()),
    ApiKey("k-south", SOUTH, "shop", hashlib.sha256(KEY_SOUTH.encode()).hexdigest()),
)
KEY_MALL = "key-of-mall"
MALL = (
    Tenant("mall", "Mall", "EUR"),
    ApiKey("k-mall", "mall", "basket", hashlib.sha256(KEY_MALL.encode()).hexdigest()),
    Coalition(
        "fair",
        "Fair",
        (
            CoalitionMember("mall", NOON - 100 * DAY),
            CoalitionMember(NORTH, NOON - 10 * DAY),
            CoalitionMember(SOUTH, NOON - 90 * DAY, NOON - 80 * DAY),
            CoalitionMember(SOUTH, NOON - 1 * DAY, NOON + 1 * DAY),
        ),
        marketplace_id="mall",
    ),
)
"""A marketplace that may pass on orders for North and South, in a coalition with both. South was away for a while."""


@pytest.fixture(scope="session")
def whole_table() -> LinkTable:
    rows = [(x.code, x.tenant_id, x.programme_id, x.affiliate_id, x.destination, x.channel, x.disabled) for x in LINKS]
    return build_table(1, TENANTS, PROGRAMMES, rows, {key.key_hash: key.tenant_id for key in API_KEYS}, SECRET.encode())


@pytest.fixture
def table(whole_table: LinkTable) -> LinkTable:
    """The small catalogue as the hot path sees it: links ``spring``, ``macro``, ``closed`` of North, ``novel`` of South."""
    return whole_table


@pytest.fixture
def hit() -> Callable[..., Hit]:
    """``hit("/c/spring?sub1=x", peer=…, method=…, user_agent=…)``: keyword names are headers, with dashes for underscores."""
    return make_hit


def make_hit(target: str, method: str = "GET", peer: str = "203.0.113.9:4711", scheme: str = "https", **headers: str | None) -> Hit:
    path, _, query = target.partition("?")
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return read_hit(method, path, query, [("host", "go.north.example"), *named], peer, scheme, PROXIES)


class FaultyFiles(SystemFiles):
    """A disk that obeys: ``full``, ``sync_fails``, ``sync_takes_s``; ``syncs`` counts those asked for."""

    def __init__(self) -> None:
        self.full = False
        self.sync_fails = False
        self.sync_takes_s = 0.0
        self.syncs = 0
        self.created: list[Path] = []

    def create(self, path: Path) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.created.append(path)
        return super().create(path)

    def write(self, file: int, data: memoryview) -> int:
        if self.full:
            if len(data) > 20:
                return super().write(file, data[:20])  # as a real disk: a little still fits
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(file, data)

    def sync(self, file: int) -> None:
        self.syncs += 1
        if self.sync_takes_s:
            time.sleep(self.sync_takes_s)
        if self.sync_fails:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(file)


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


class Front:
    """A running edge without a server. ``ask`` is one request; ``records`` is what the spool holds."""

    def __init__(self, tracker: Running, settings: Settings) -> None:
        self.edge: Edge = tracker.edge
        self.spool: Spool = tracker.spool
        self.books = tracker.books
        self.folder = settings.spool / "t0"

    async def ask(self, target: str, method: str = "GET", body: bytes | dict[str, Any] = b"", **options: Any) -> Answer:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        if content:
            options.setdefault("content_length", str(len(content)))

        async def read(most_bytes: int) -> bytes | None:
            return content if len(content) <= most_bytes else None

        return await self.edge.answer(make_hit(target, method, **options), read)

    async def post(self, target: str, body: bytes | dict[str, Any], **options: Any) -> tuple[int, dict[str, Any]]:
        """A POST with North's key; gives status and parsed answer."""
        options.setdefault("authorization", f"Bearer {KEY_NORTH}")
        answer = await self.ask(target, "POST", body, **options)
        return answer.status, msgspec.json.decode(answer.body)

    def records(self) -> list[Event]:
        found = []
        for segment in segments(self.folder):
            for _, _, payload in read_records(segment):
                assert isinstance(payload, bytes), "the spool is damaged"
                found.append(decode_event(payload))
        return found


@pytest.fixture
def catalogue_url(sqlite_url: str) -> str:
    """Books that hold the small catalogue."""
    books = open_books(sqlite_url)
    with books.writing() as connection:
        for record in (*TENANTS, *PROGRAMMES, *AFFILIATES, *MEMBERSHIPS, *LINKS, *API_KEYS):
            put(connection, record, "test", 1)
    books.close()
    return sqlite_url


@pytest.fixture
def mall(catalogue_url: str) -> Coalition:
    """The coalition of the small catalogue's merchants with a marketplace, put into the books."""
    books = open_books(catalogue_url)
    with books.writing() as connection:
        for record in MALL:
            put(connection, record, "test", 2)
    books.close()
    return MALL[2]


@pytest.fixture
def with_front(catalogue_url: str, tmp_path: Path, clock: FakeClock, files: FaultyFiles) -> Callable[..., Any]:
    """Run ``async def scenario(front)`` against a running edge: ``with_front(scenario, durability="bounded")``."""

    def run(scenario: Callable[[Front], Any], **changes: Any) -> Any:
        settings = Settings(data=tmp_path, secret=SECRET, **({"books_url": catalogue_url} | changes))

        @asynccontextmanager
        async def front() -> AsyncIterator[Front]:
            async with running(settings, "t0", clock, random.Random(7).randbytes, files) as tracker:
                yield Front(tracker, settings)

        async def whole() -> Any:
            async with front() as opened:
                return await scenario(opened)

        return asyncio.run(whole())

    return run
