"""Exchange rates: what is there, and what a currency was worth on the last days."""

from datetime import date

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import Instant, as_datetime
from core.scope import Scope
from payouts.ecb import SOURCE
from payouts.exchange import MOST_DAYS_OLD
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.rates import Range, newest_days, ranges

DAYS = 10


class RateRow(msgspec.Struct, frozen=True):
    """A currency, its days, and its values on the last days, newest first; empty where there was none. ``stale``: not usable today."""

    held: Range
    values: tuple[str, ...]
    stale: bool


@role("finance")
async def rates(request: Request, scope: Scope) -> Response:
    """GET /finance/rates: per currency the days that are there, and the values of the last ones."""
    state = request.app.state
    days, rows = await run(read_rates, state.books, state.clock())
    return page(
        request,
        scope,
        "finance/rates.html",
        days=[day.isoformat() for day in days],
        rows=rows,
        stale=bool(rows) and all(row.stale for row in rows),
        most_days=MOST_DAYS_OLD,
    )


def read_rates(books: Books, at: Instant) -> tuple[list[date], list[RateRow]]:
    """The last days and a row for each currency; those that are published no more at the end. Blocking."""
    with books.reading() as connection:
        held, newest = ranges(connection), newest_days(connection, SOURCE, DAYS)
    today = as_datetime(at).date()
    rows = [
        RateRow(one, tuple(values.get(one.currency, "") for values in newest.values()), (today - one.last_on).days > MOST_DAYS_OLD)
        for one in held
    ]
    return list(newest), sorted(rows, key=lambda row: (row.stale, row.held.currency))


routes: list[BaseRoute] = [Route("/finance/rates", rates, methods=["GET"])]
