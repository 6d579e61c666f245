"""The affiliate's first page: clicks, conversions and commissions at a glance. Also gathers the affiliate's routes."""

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import DAY, Instant, as_datetime, start_of_day
from core.scope import Scope
from payouts.balances import Balance, balances_of_affiliate
from portal import (
    affiliate_account,
    affiliate_conversions,
    affiliate_disputes,
    affiliate_links,
    affiliate_money,
    affiliate_programmes,
)
from portal.affiliate_catalogue import Joined, joined
from portal.affiliate_conversions import Conversion, read_conversions
from portal.affiliate_money import Amounts, amounts_in
from portal.chart import Chart, chart, plot
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.earnings import STATES
from store.events import EventsStore, read_query

DAYS = read_query(__file__, "affiliate_days")
PERIODS_DAYS = (7, 30, 90)
NEWEST = 5


class Day(msgspec.Struct, frozen=True):
    """What one day (UTC, from ``day_at``) brought with one tenant."""

    day_at: Instant
    tenant_id: str
    clicks: int
    human_clicks: int
    conversions: int


class Overview(msgspec.Struct, frozen=True):
    """The page's facts. ``days`` covers the period; ``balances`` everything that was ever earned."""

    days: tuple[Day, ...]
    balances: list[Balance]
    newest: tuple[Conversion, ...]

    def clicks(self, tenant_id: str = "") -> int:
        return sum(day.clicks for day in self._of(tenant_id))

    def human_clicks(self, tenant_id: str = "") -> int:
        return sum(day.human_clicks for day in self._of(tenant_id))

    def conversions(self, tenant_id: str = "") -> int:
        return sum(day.conversions for day in self._of(tenant_id))

    def amounts(self, state: str, tenant_id: str = "") -> Amounts:
        return amounts_in(self.balances, state, tenant_id)

    def _of(self, tenant_id: str) -> Iterable[Day]:
        return (day for day in self.days if tenant_id in ("", day.tenant_id))


@role("affiliate")
async def overview(request: Request, scope: Scope) -> Response:
    """GET /affiliate?days=30: the last days, today included."""
    state, mine = request.app.state, await joined(request, scope)
    asked = request.query_params.get("days", "")
    days = int(asked) if asked in map(str, PERIODS_DAYS) else 30
    to_at = start_of_day(state.clock()) + DAY
    facts = await run(read_overview, state.books, state.events, mine, to_at - days * DAY, to_at)
    return page(
        request,
        scope,
        "affiliate/overview.html",
        mine=mine,
        facts=facts,
        days=days,
        periods=PERIODS_DAYS,
        states=STATES,
        chart=daily_chart(facts.days, to_at - days * DAY, days),
    )


def read_overview(books: Books, events: EventsStore, mine: Joined, from_at: Instant, to_at: Instant) -> Overview:
    """Everything that the first page shows for ``[from_at, to_at)``, straight from the stores."""
    affiliate_id = mine.affiliate.affiliate_id
    bound: dict[str, Any] = {"tenant_ids": mine.tenant_ids, "affiliate_id": affiliate_id, "from_ms": from_at, "to_ms": to_at}
    rows = events.select(DAYS, **bound) if mine.tenants else []
    with books.reading() as connection:
        balances = balances_of_affiliate(connection, affiliate_id)
    newest = read_conversions(books, events, mine, from_at, to_at, part="credited", most=NEWEST)
    return Overview(tuple(Day(*row) for row in rows), balances, tuple(newest))


def daily_chart(found: Iterable[Day], from_at: Instant, days: int) -> Chart:
    """Human clicks and conversions of every day, quiet days included."""
    starts = [from_at + i * DAY for i in range(days)]
    clicks, conversions = dict.fromkeys(starts, 0), dict.fromkeys(starts, 0)
    for day in found:
        clicks[day.day_at] += day.human_clicks
        conversions[day.day_at] += day.conversions
    labels = [f"{moment.day} {moment:%b}" for moment in map(as_datetime, starts)]
    plots = (
        plot("Human clicks", labels, list(clicks.values()), unit="click"),
        plot("Conversions", labels, list(conversions.values()), shape="columns", unit="conversion"),
    )
    return chart(f"The last {days} days", labels, plots)


navigation: tuple[tuple[str, str], ...] = (
    ("Overview", "/affiliate"),
    ("Links", "/affiliate/links"),
    ("Conversions", "/affiliate/conversions"),
    ("Disputes", "/affiliate/disputes"),
    ("Earnings", "/affiliate/earnings"),
    ("Programmes", "/affiliate/programmes"),
    ("Account", "/affiliate/account"),
)
routes: list[BaseRoute] = [
    Route("/affiliate", overview, methods=["GET"]),
    *affiliate_links.routes,
    *affiliate_conversions.routes,
    *affiliate_disputes.routes,
    *affiliate_money.routes,
    *affiliate_programmes.routes,
    *affiliate_account.routes,
]
