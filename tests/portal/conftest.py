"""The portal with the cast in its books, asked without a network: ``portal.get("/orders/1", as_=ANNA)``."""

import asyncio
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from attribution.run import run_once
from core.catalogue import (
    Affiliate,
    ApiKey,
    Catalogue,
    Condition,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Segment,
    Store,
    Tenant,
    User,
)
from core.clock import DAY, HOUR, Instant
from core.events import Event, Line, Order, Touch
from core.ids import event_id
from core.scope import Scope
from core.settings import Settings
from payouts.accrue import accrue_once
from portal.app import create_app
from portal.sessions import csrf_token, token_hash
from store.books import Books, open_books
from store.catalogue import KINDS, put
from store.events import EventsStore
from store.sessions import open_session
from tests.fakes import NOON, FakeClock
from tests.people import ADA, ANNA, BEN, CHARLIE, FIONA, FRANK, MARTHA, NORTH, SOUTH, STELLA
from tracker.enrich import TABLES, rows

LONG_AGO = NOON - 400 * DAY
CAST = (ADA, ANNA, BEN, CHARLIE, FIONA, FRANK, MARTHA, STELLA)


def cast_catalogue() -> Catalogue:
    """North pays 10 % (hats 5 %), South 2.00 an order. Anna and Ben work for North, Charlie for South.

    What belongs to South has ids of its own, so that a page of North that finds one of them shows a leak.
    """

    def member(tenant_id: str, affiliate_id: str) -> Membership:
        return Membership(tenant_id, "main", affiliate_id, "approved", LONG_AGO, LONG_AGO)

    return Catalogue(
        tenants=(Tenant(NORTH, "North Shoes", "EUR"), Tenant(SOUTH, "South Books", "USD")),
        stores=(
            Store(NORTH, "till", "Berlin till", "pos"),
            Store(NORTH, "shop", "Web shop", "web", host="north.example"),
            Store(SOUTH, "cellar", "Cellar"),
        ),
        segments=(
            Segment(NORTH, "firms", "Companies", (Condition("account_type", ("b2b",)),)),
            Segment(SOUTH, "bookworms", "Bookworms of South", (Condition("loyalty_tier", ("gold",)),)),
        ),
        programmes=(
            Programme(NORTH, "main", "North affiliates", "https://north.example/", ("north.example",)),
            Programme(SOUTH, "main", "South affiliates", "https://south.example/", ("south.example",)),
            Programme(SOUTH, "collectors", "South collectors", "https://south.example/rare", ("south.example",), ("cellar",)),
        ),
        affiliates=(
            Affiliate("anna", "Anna's Blog", "anna@blog.example", "https://blog.example", "Anna Blogger", "DE89370400440532013000"),
            Affiliate("ben", "Ben Deals", "ben@deals.example", "https://deals.example"),
            Affiliate("charlie", "Charlie App", "charlie@app.example", "", "Charlie Coder", "NL91ABNA0417164300"),
        ),
        memberships=(member(NORTH, "anna"), member(NORTH, "ben"), member(SOUTH, "charlie")),
        links=(
            Link("anna-north", NORTH, "main", "anna", "https://north.example/shoes", "Shoes"),
            Link("ben-north", NORTH, "main", "ben", "https://north.example/"),
            Link("charlie-south", SOUTH, "main", "charlie", "https://south.example/"),
        ),
        coupons=(Coupon(NORTH, "BEN10", "main", "ben"), Coupon(SOUTH, "CHARLIE5", "main", "charlie")),
        policies=(Policy(NORTH, "main", 1, LONG_AGO), Policy(SOUTH, "main", 1, LONG_AGO)),
        rate_cards=(
            RateCard(
                NORTH, "main", 1, LONG_AGO, 30, (Rule("hats", 10, percent_bps=500, categories=("hats",)), Rule("base", percent_bps=1000))
            ),
            RateCard(SOUTH, "main", 1, LONG_AGO, 30, (Rule("flat", fixed_minor=200, per="order"),)),
        ),
        api_keys=tuple(
            ApiKey(f"{tenant}-tests", tenant, "tests", sha256(key_of(tenant).encode()).hexdigest()) for tenant in (NORTH, SOUTH)
        ),
        users=tuple(User(who.user_id, name_of(who), who.role, "", who.tenant_id, who.affiliate_id) for who in CAST),
    )


def key_of(tenant_id: str) -> str:
    """The tenant's API key, as its shop sends it."""
    return f"{tenant_id}-key-for-tests-0000000000000000"


def name_of(who: Scope) -> str:
    return who.user_id.partition("@")[0].title()


def secret_of(who: Scope) -> str:
    """Each of the cast has a session from the start, with this secret in its cookie."""
    return f"secret of {who.user_id}".replace(" ", "-")


class Portal:
    """A browser without pictures. ``as_`` is who is signed in; posts carry that session's CSRF token unless told otherwise."""

    def __init__(self, app: Starlette, runner: asyncio.Runner, base_url: str = "http://portal.example") -> None:
        self.app = app
        self.base_url = base_url
        self._runner = runner

    def get(self, path: str, as_: Scope | None = None, **options: Any) -> httpx.Response:
        return self.send("GET", path, as_, **options)

    def post(
        self, path: str, fields: Mapping[str, str | Sequence[str]] | None = None, as_: Scope | None = None, **options: Any
    ) -> httpx.Response:
        token = {"csrf": csrf_token(secret_of(as_))} if as_ else {}
        return self.send("POST", path, as_, data=token | dict(fields or {}), **options)

    def send(
        self, method: str, path: str, as_: Scope | None = None, cookies: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        sent = dict(cookies or {}) | ({"fs_session": secret_of(as_)} if as_ else {})
        return self._runner.run(self._send(method, path, sent, options))

    async def _send(self, method: str, path: str, cookies: Mapping[str, str], options: Mapping[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=self.base_url, cookies=dict(cookies)) as client:
            return await client.request(method, path, **options)


def words_of(response: httpx.Response) -> str:
    """What a page says, without markup: for ``assert "€12.30" in words_of(page)``."""
    text = re.sub(r"<(style|script)\b.*?</\1>", " ", response.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", text)).split())


PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def id_of(name: str, at: Instant) -> str:
    """The same name at the same time is the same id."""
    return event_id(at, int.from_bytes(sha256(name.encode()).digest()[:10], "big"))


def click(name: str, affiliate: str, at: Instant = NOON - HOUR, visitor: str = "", tenant: str = NORTH, **more: Any) -> Touch:
    """A person's click on the affiliate's link; ``name`` tells several apart."""
    fields: dict[str, Any] = {"kind": "click", "user_agent": PERSON, "visitor_id": visitor, "occurred_at": at, "received_at": at}
    ids = {"event_id": id_of(name, at), "tenant_id": tenant, "programme_id": "main"}
    return Touch(**fields | ids | {"affiliate_id": affiliate, "link_code": f"{affiliate}-{tenant}"} | more)


def order(order_id: str, at: Instant = NOON - 60_000, visitor: str = "", tenant: str = NORTH, **more: Any) -> Order:
    """An order of one pair of shoes for 100.00."""
    fields: dict[str, Any] = {"currency": "EUR" if tenant == NORTH else "USD", "visitor_id": visitor, "occurred_at": at, "received_at": at}
    lines = (Line("1", 100_00, sku="S-1", name="Trail shoe", category="shoes"),)
    return Order(**fields | {"event_id": id_of(order_id, at), "tenant_id": tenant, "order_id": order_id, "lines": lines} | more)


class World:
    """What happened, and what the engine made of it."""

    def __init__(self, books: Books, events: EventsStore, clock: FakeClock) -> None:
        self.books, self.events, self.clock = books, events, clock

    def happens(self, *happened: Event) -> None:
        """Store events as the drain does, now."""
        placed = [row for event in happened for row in rows(event, self.clock(), lambda _address: "DE")]
        for table in TABLES:
            lines = b"\n".join(msgspec.json.encode(one.row) for one in placed if one.table == table)
            if lines:
                self.events.insert_json(table, lines, sha256(lines).hexdigest())

    def engine_runs(self) -> None:
        """Decide and book whatever changed."""
        run_once(self.events, self.books, self.clock)
        accrue_once(self.events, self.books, self.clock)

    def sells(self, *happened: Event) -> None:
        """:meth:`happens`, then :meth:`engine_runs`."""
        self.happens(*happened)
        self.engine_runs()


@pytest.fixture
def world(portal: "Portal", sqlite_books: Books, events: EventsStore, clock: FakeClock) -> World:
    """The stores behind ``portal``."""
    return World(sqlite_books, events, clock)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="session")
def cast_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books with the cast's catalogue and a live session for each of the cast; written once, copied for every test."""
    path = tmp_path_factory.mktemp("cast") / "books.sqlite"
    shutil.copy(sqlite_template, path)
    books, whole = open_books(f"sqlite:///{path}"), cast_catalogue()
    with books.writing() as connection:
        for name in KINDS.values():
            for record in getattr(whole, name):
                put(connection, record, "tests", NOON)
        for who in CAST:
            open_session(connection, token_hash(secret_of(who)), who.user_id, NOON)
    books.close()
    return path


@pytest.fixture
def sqlite_url(cast_template: Path, tmp_path: Path) -> str:
    """In this folder, books begin with the cast in them."""
    path = tmp_path / "books.sqlite"
    shutil.copy(cast_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def portal(sqlite_books: Books, events: EventsStore, clock: FakeClock, runner: asyncio.Runner) -> Portal:
    """The portal, with the cast's catalogue and a live session for each of the cast."""
    return Portal(create_app(Settings(), sqlite_books, events, clock), runner)
