"""The tenant's orders for the analyst: the same list as the merchant's, to look but not to touch."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.events import CHANNELS
from core.scope import Scope
from portal.forms import Form, read_query_form
from portal.merchant_catalogue import own_catalogue
from portal.merchant_orders import FILTERS, RESULTS, ROWS, filled, read_filter, read_orders
from portal.page import page, run
from portal.sessions import role
from portal.words import label


@role("analyst")
async def orders(request: Request, scope: Scope) -> Response:
    """GET /analyst/orders: filters ``result``, ``channel``, ``affiliate_id``, ``from`` and ``to`` (days, both included)."""
    state, catalogue, form = request.app.state, await own_catalogue(request, scope), read_query_form(request)
    wanted = read_filter(form, catalogue, state.clock())
    rows = [] if form.faults else await run(read_orders, state.books, state.events, scope.tenant_id, wanted)
    last = rows[ROWS - 1] if len(rows) > ROWS else None
    return page(
        request,
        scope,
        "analyst/orders.html",
        status=422 if form.faults else 200,
        form=filled(form, wanted),
        rows=rows[:ROWS],
        names={affiliate.affiliate_id: affiliate.name for affiliate in catalogue.affiliates},
        results=[("", "All"), *((result, label(result)) for result in RESULTS)],
        channels=[("", "All"), *((channel, label(channel)) for channel in CHANNELS)],
        affiliates=[("", "All"), *((affiliate.affiliate_id, affiliate.name) for affiliate in catalogue.affiliates)],
        newest=_address(form) if form.raw("before") else "",
        older=_address(form, before=f"{last['occurred_at']}.{last['order_id']}") if last else "",
    )


def _address(form: Form, **change: str) -> str:
    query = {name: form.raw(name) for name in FILTERS if form.raw(name)} | change
    return f"/analyst/orders?{urlencode(query)}"


routes: list[BaseRoute] = [Route("/analyst/orders", orders, methods=["GET"])]
