"""The merchant's orders: one screen at a time, filtered; each leads to its explanation."""

from typing import Any, get_args
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue
from core.clock import DAY, Instant, as_datetime, start_of_day
from core.credit import Result
from core.events import CHANNELS
from core.scope import Scope
from portal.forms import Form, read_query_form
from portal.merchant_catalogue import own_catalogue
from portal.page import page, run
from portal.sessions import role
from portal.words import label
from store.books import Books
from store.events import EventsStore, read_query
from store.reports import earned_by_order

ORDERS = read_query(__file__, "merchant_orders")
ROWS = 50
PERIOD = 30 * DAY
RESULTS = ("pending", *get_args(Result))
FILTERS = ("result", "channel", "affiliate_id", "from", "to")


class Filter(msgspec.Struct, frozen=True):
    """What to show: orders in ``[from_at, to_at)``, below the order (``before_ms``, ``before_id``); empty text means all."""

    from_at: Instant
    to_at: Instant
    before_ms: Instant
    before_id: str = ""
    result: str = ""
    channel: str = ""
    affiliate_id: str = ""


@role("merchant")
async def orders(request: Request, scope: Scope) -> Response:
    """GET /merchant/orders: filters ``result``, ``channel``, ``affiliate_id``, ``from`` and ``to`` (days, both included)."""
    state, catalogue, form = request.app.state, await own_catalogue(request, scope), read_query_form(request)
    wanted = read_filter(form, catalogue, state.clock())
    rows = [] if form.faults else await run(read_orders, state.books, state.events, scope.tenant_id, wanted)
    return page(
        request,
        scope,
        "merchant/orders.html",
        status=422 if form.faults else 200,
        form=filled(form, wanted),
        rows=rows[:ROWS],
        names={affiliate.affiliate_id: affiliate.name for affiliate in catalogue.affiliates},
        results=[("", "All"), *((result, label(result)) for result in RESULTS)],
        channels=[("", "All"), *((channel, label(channel)) for channel in CHANNELS)],
        affiliates=[("", "All"), *((affiliate.affiliate_id, affiliate.name) for affiliate in catalogue.affiliates)],
        newest=_address(form) if form.raw("before") else "",
        older=_address(form, rows[ROWS - 1]) if len(rows) > ROWS else "",
    )


def read_filter(form: Form, catalogue: Catalogue, at: Instant) -> Filter:
    """The filter of a query string: without days the last 30, up to and with today. Faults are noted on the form."""
    first, last = form.date("from", required=False), form.date("to", required=False)
    to_at = (start_of_day(at) if last is None else last) + DAY
    from_at = to_at - PERIOD if first is None else first
    if from_at >= to_at:
        form.fault("from", "The first day must not lie after the last.")
    before_ms, _, before_id = form.raw("before").partition(".")
    begun = before_ms.isascii() and before_ms.isdigit() and len(before_ms) < 15
    return Filter(
        from_at,
        to_at,
        int(before_ms) if begun else to_at,
        before_id if begun else "",
        form.choice("result", RESULTS, required=False),
        form.choice("channel", CHANNELS, required=False),
        form.choice("affiliate_id", [affiliate.affiliate_id for affiliate in catalogue.affiliates], required=False),
    )


def filled(form: Form, wanted: Filter) -> Form:
    """The form with the days it was read as, so that the page shows which days it covers."""
    days = {"from": wanted.from_at, "to": wanted.to_at - DAY}
    for name, at in days.items():
        form.values[name] = [form.raw(name).strip() or f"{as_datetime(at):%Y-%m-%d}"]
    return form


def read_orders(books: Books, events: EventsStore, tenant_id: str, wanted: Filter) -> list[dict[str, Any]]:
    """Up to ``ROWS`` + 1 orders, so that the caller sees whether there are more; ``earned`` is by currency."""
    params = {"result": wanted.result, "channel": wanted.channel, "affiliate_id": wanted.affiliate_id}
    cut = {"from_ms": wanted.from_at, "to_ms": wanted.to_at, "before_ms": wanted.before_ms, "before_id": wanted.before_id}
    rows = events.select_named(ORDERS, tenant_id=tenant_id, most=ROWS + 1, **params, **cut)
    with books.reading() as connection:
        earned = earned_by_order(connection, tenant_id, [row["order_id"] for row in rows])
    return [row | {"earners": row["earners"].split(), "earned": earned.get(row["order_id"], {})} for row in rows]


def _address(form: Form, last: dict[str, Any] | None = None) -> str:
    """This page with the same filter; after ``last``, or from the newest order."""
    query = {name: form.raw(name) for name in FILTERS if form.raw(name)}
    if last is not None:
        query["before"] = f"{last['occurred_at']}.{last['order_id']}"
    return f"/merchant/orders?{urlencode(query)}"


routes: list[BaseRoute] = [Route("/merchant/orders", orders, methods=["GET"])]
