"""The merchant's API keys for conversions: made here, shown once, revoked here."""

import hashlib
import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import ApiKey, Catalogue
from core.clock import Instant
from core.errors import NotFound
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import create, own_catalogue
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.catalogue import find, remove

PREFIX = "fsk_"
"""Lets a person, and the scanners of code hosts, recognise a key that lies where it should not."""


@role("merchant")
async def keys(request: Request, scope: Scope) -> Response:
    """GET /merchant/keys."""
    return _list_page(request, scope, await own_catalogue(request, scope), Form())


@role("merchant")
async def add_key(request: Request, scope: Scope) -> Response:
    """POST /merchant/keys: make a key and show it, this once. It is on no other page, and the books hold only its hash."""
    form, secret = await read_form(request), new_secret()
    record = ApiKey(f"key-{secrets.token_hex(6)}", scope.tenant_id, form.text("name", longest=100), key_hash(secret))
    if not await create(request, scope, record, form, "name"):
        return _list_page(request, scope, await own_catalogue(request, scope), form, status=422)
    return page(request, scope, "merchant/key.html", status=201, key=record, secret=secret, tracker=request.app.state.settings.tracker)


@role("merchant")
async def revoke_key(request: Request, scope: Scope) -> Response:
    """POST /merchant/keys/{key_id}/revoke: requests with it are refused from now on."""
    key_id, state = request.path_params["key_id"], request.app.state
    await run(_revoke, state.books, scope.tenant_id, key_id, scope.user_id, state.clock())
    return redirect("/merchant/keys", f"{key_id} was revoked.")


def new_secret() -> str:
    """256 bits from the operating system, so that a plain hash is enough to keep."""
    return PREFIX + secrets.token_urlsafe(32)


def key_hash(secret: str) -> str:
    """What the books keep of a key, and the tracker looks for: SHA-256, hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _revoke(books: Books, tenant_id: str, key_id: str, changed_by: str, at: Instant) -> None:
    with books.writing() as connection:
        key = find(connection, ApiKey, key_id)
        if key is None or key.tenant_id != tenant_id:
            raise NotFound(f"there is no API key {key_id}")
        remove(connection, ApiKey, key_id, changed_by=changed_by, at=at)


def _list_page(request: Request, scope: Scope, catalogue: Catalogue, form: Form, status: int = 200) -> Response:
    return page(request, scope, "merchant/keys.html", status=status, keys=catalogue.api_keys, form=form)


routes: list[BaseRoute] = [
    Route("/merchant/keys", keys, methods=["GET"]),
    Route("/merchant/keys", add_key, methods=["POST"]),
    Route("/merchant/keys/{key_id}/revoke", revoke_key, methods=["POST"]),
]
