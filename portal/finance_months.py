"""Accounting months: what was booked in each, and closing one, for good."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import Instant
from core.errors import BadInput, Conflict
from core.scope import Scope
from payouts.periods import Month, close_period, months_of
from portal.finance_plan import as_sentence
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books


class MonthRow(msgspec.Struct, frozen=True):
    """One month in one currency: what was granted, what was taken back (zero or negative), and what was paid."""

    month: Month
    currency: str
    granted_minor: int
    taken_back_minor: int
    paid_minor: int


@role("finance")
async def months(request: Request, scope: Scope) -> Response:
    """GET /finance/months."""
    return await _months_page(request, scope, Form())


@role("finance")
async def close_month(request: Request, scope: Scope) -> Response:
    """POST /finance/months/{month}/close. 409 where it is not over yet, or closed already."""
    form, state, month = await read_form(request), request.app.state, request.path_params["month"]
    try:
        await run(close_period, state.books, scope.tenant_id, month, scope.user_id, state.clock())
    except (BadInput, Conflict) as error:
        form.fault("", as_sentence(error))
        return await _months_page(request, scope, form, 409 if isinstance(error, Conflict) else 404)
    return redirect("/finance/months", f"{month} is closed, with all before it. What comes late is booked in an open month.")


def rows_of(month: Month) -> list[MonthRow]:
    """A row for each currency; one without an amount where nothing was booked."""
    found: dict[str, dict[str, int]] = {}
    for one in month.sums:
        found.setdefault(one.currency, {})[one.account] = one.amount_minor
    rows = [
        MonthRow(month, currency, -sums.get("expense", 0), -sums.get("reversed", 0), sums.get("paid", 0))
        for currency, sums in sorted(found.items())
    ]
    return rows or [MonthRow(month, "", 0, 0, 0)]


async def _months_page(request: Request, scope: Scope, form: Form, status: int = 200) -> Response:
    found = await run(_read, request.app.state.books, scope.tenant_id, request.app.state.clock())
    rows = [row for month in found for row in rows_of(month)]
    return page(request, scope, "finance/months.html", status=status, form=form, rows=rows)


def _read(books: Books, tenant_id: str, now: Instant) -> list[Month]:
    with books.reading() as connection:
        return months_of(connection, tenant_id, now)


routes: list[BaseRoute] = [
    Route("/finance/months", months, methods=["GET"]),
    Route("/finance/months/{month}/close", close_month, methods=["POST"]),
]
