"""The JSON API that merchants' systems ask: what became of an order."""

import hashlib
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from attribution.decisions import read_orders
from attribution.explain import Explanation, explain
from core.clock import format_instant
from portal.page import run
from store.books import Books
from store.catalogue import find_api_key
from store.events import EventsStore

MOST_TOKEN_CHARS = 512


async def attribution(request: Request) -> Response:
    """GET /v1/orders/{order_id}/attribution, with ``Authorization: Bearer KEY`` or ``?token=KEY``.

    401 without a key that is on record; 404 for an order that the key's tenant does not have, foreign or unknown alike.
    ``status`` is ``pending`` until the order was decided for the first time.
    """
    state, order_id = request.app.state, request.path_params["order_id"]
    tenant_id = await run(tenant_of_token, state.books, token_of(request))
    if not tenant_id:
        headers = {"WWW-Authenticate": "Bearer"}
        return refuse(401, "unauthorized", "send a key of this installation as Authorization: Bearer KEY", headers)
    found = await run(read_attribution, state.events, tenant_id, order_id, state.settings.portal)
    return JSONResponse(found) if found else refuse(404, "not_found", f"there is no order {order_id!r:.140}")


def token_of(request: Request) -> str:
    """The key that a request carries, in its header or, for systems that can set none, in its address."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.query_params.get("token", "")
    return given if len(given) <= MOST_TOKEN_CHARS else ""


def tenant_of_token(books: Books, token: str) -> str:
    """The tenant whose key this is, or empty. Keys are random, so that a look-up by hash tells an attacker nothing."""
    if not token:
        return ""
    with books.reading() as connection:
        key = find_api_key(connection, hashlib.sha256(token.encode()).hexdigest())
    return key.tenant_id if key else ""


def read_attribution(events: EventsStore, tenant_id: str, order_id: str, portal: str) -> dict[str, Any] | None:
    """The answer's body; None where the tenant has no such order. ``portal`` is the portal's address."""
    if not read_orders(events, tenant_id, [order_id]):
        return None
    return {"order_id": order_id, "attribution": as_answer(explain(events, tenant_id, order_id), portal, order_id)}


def as_answer(explanation: Explanation | None, portal: str, order_id: str) -> dict[str, Any]:
    """A decision as merchants' systems read it. Shares are exact fractions such as ``"1"`` or ``"2/5"``."""
    where = {"explanation_url": f"{portal}/orders/{quote(order_id, safe='')}"}
    if explanation is None:
        return {"status": "pending", "result": None, "credits": [], "policy_version": None, **where}
    credits = [{"affiliate_id": one.affiliate_id, "touch_id": one.touch_id, "share": one.share} for one in explanation.credits]
    return {
        "status": "decided",
        "result": explanation.result,
        "meaning": explanation.meaning,
        "credits": credits,
        "unattributed": explanation.unattributed,
        "programme_id": explanation.programme_id,
        "policy_version": explanation.policy_version,
        "customer_status": explanation.customer_status,
        "segments": list(explanation.segments),
        "order_number": explanation.order_number or None,
        "first_ordered_at": format_instant(explanation.first_ordered_at) if explanation.first_ordered_at else None,
        "by_hand": explanation.override is not None,
        "revision": explanation.revision,
        "decided_at": format_instant(explanation.decided_at),
        **where,
    }


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error in the API's form."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


routes: list[BaseRoute] = [Route("/v1/orders/{order_id:path}/attribution", attribution, methods=["GET"])]
