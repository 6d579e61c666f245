"""The portal with the cast in its books, asked without a network: ``portal.get("/orders/1", as_=ANNA)``."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from core.catalogue import (
    Affiliate,
    Catalogue,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Store,
    Tenant,
    User,
)
from core.clock import DAY
from core.scope import Scope
from core.settings import Settings
from portal.app import create_app
from portal.sessions import csrf_token, token_hash
from store.books import Books
from store.catalogue import KINDS, put
from store.events import EventsStore
from store.sessions import open_session
from tests.fakes import NOON, FakeClock
from tests.people import ADA, ANNA, BEN, CHARLIE, FIONA, FRANK, MARTHA, NORTH, SOUTH, STELLA

LONG_AGO = NOON - 400 * DAY
CAST = (ADA, ANNA, BEN, CHARLIE, FIONA, FRANK, MARTHA, STELLA)


def cast_catalogue() -> Catalogue:
    """North pays 10 % (hats 5 %), South 2.00 an order. Anna and Ben work for North, Charlie for South."""

    def member(tenant_id: str, affiliate_id: str) -> Membership:
        return Membership(tenant_id, "main", affiliate_id, "approved", LONG_AGO, LONG_AGO)

    return Catalogue(
        tenants=(Tenant(NORTH, "North Shoes", "EUR"), Tenant(SOUTH, "South Books", "USD")),
        stores=(Store(NORTH, "till", "Berlin till", "pos"), Store(NORTH, "shop", "Web shop", "web", host="north.example")),
        programmes=(
            Programme(NORTH, "main", "North affiliates", "https://north.example/", ("north.example",)),
            Programme(SOUTH, "main", "South affiliates", "https://south.example/", ("south.example",)),
        ),
        affiliates=(
            Affiliate("anna", "Anna's Blog", "anna@blog.example", "https://blog.example", "Anna Blogger", "DE89370400440532013000"),
            Affiliate("ben", "Ben Deals", "ben@deals.example", "https://deals.example"),
            Affiliate("charlie", "Charlie App", "charlie@app.example"),
        ),
        memberships=(member(NORTH, "anna"), member(NORTH, "ben"), member(SOUTH, "charlie")),
        links=(
            Link("anna-north", NORTH, "main", "anna", "https://north.example/shoes", "Shoes"),
            Link("ben-north", NORTH, "main", "ben", "https://north.example/"),
            Link("charlie-south", SOUTH, "main", "charlie", "https://south.example/"),
        ),
        coupons=(Coupon(NORTH, "BEN10", "main", "ben"),),
        policies=(Policy(NORTH, "main", 1, LONG_AGO), Policy(SOUTH, "main", 1, LONG_AGO)),
        rate_cards=(
            RateCard(
                NORTH, "main", 1, LONG_AGO, 30, (Rule("hats", 10, percent_bps=500, categories=("hats",)), Rule("base", percent_bps=1000))
            ),
            RateCard(SOUTH, "main", 1, LONG_AGO, 30, (Rule("flat", fixed_minor=200, per="order"),)),
        ),
        users=tuple(User(who.user_id, name_of(who), who.role, "", who.tenant_id, who.affiliate_id) for who in CAST),
    )


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

    def post(self, path: str, fields: Mapping[str, str | Sequence[str]] | None = None, as_: Scope | None = None, **options: Any) -> httpx.Response:
        token = {"csrf": csrf_token(secret_of(as_))} if as_ else {}
        return self.send("POST", path, as_, data=token | dict(fields or {}), **options)

    def send(self, method: str, path: str, as_: Scope | None = None, cookies: Mapping[str, str] | None = None, **options: Any) -> httpx.Response:
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


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture
def portal(sqlite_books: Books, events: EventsStore, clock: FakeClock, runner: asyncio.Runner) -> Portal:
    """The portal, with the cast's catalogue and a live session for each of the cast."""
    whole = cast_catalogue()
    with sqlite_books.writing() as connection:
        for name in KINDS.values():
            for record in getattr(whole, name):
                put(connection, record, "tests", clock())
        for who in CAST:
            open_session(connection, token_hash(secret_of(who)), who.user_id, clock())
    return Portal(create_app(Settings(), sqlite_books, events, clock), runner)
