"""Pages of the merchant: the overview here, one module per noun beside it (``merchant_programmes`` and so on)."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue
from core.clock import DAY, Instant, as_datetime, start_of_day
from core.scope import Scope
from portal import (
    merchant_affiliates,
    merchant_coalitions,
    merchant_coupons,
    merchant_disputes,
    merchant_keys,
    merchant_links,
    merchant_orders,
    merchant_policy,
    merchant_programmes,
    merchant_rates,
    merchant_replay,
    merchant_segments,
    merchant_stores,
)
from portal.chart import Chart, chart, plot
from portal.merchant_catalogue import own_catalogue
from portal.merchant_programmes import Summary, summaries
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.events import EventsStore, read_query
from store.reports import earned_by_state

DAYS_OF = read_query(__file__, "merchant_days")
RESULTS_OF = read_query(__file__, "merchant_results")
BAD_ROWS_OF = read_query(__file__, "merchant_bad_rows")
DAYS = 30
STATES = ("pending", "held", "approved", "payable", "paid")


class Day(msgspec.Struct, frozen=True):
    """One day (UTC) that begins at ``at``."""

    at: Instant
    clicks: int = 0
    orders: int = 0
    credited: int = 0


class Decided(msgspec.Struct, frozen=True):
    """Orders of the period with one result, and what they were worth net, by currency."""

    result: str
    orders: int
    net: dict[str, int]


class Overview(msgspec.Struct, frozen=True):
    """The facts of the first page. ``commission`` is state -> currency -> amount, of orders of the same days."""

    days: list[Day]
    decided: list[Decided]
    commission: dict[str, dict[str, int]]
    bad_rows: list[tuple[str, int, Instant]]

    @property
    def orders(self) -> int:
        return sum(row.orders for row in self.decided)

    @property
    def credited(self) -> int:
        return sum(row.orders for row in self.decided if row.result == "credited")

    @property
    def unattributed(self) -> list[Decided]:
        """Decided, and nobody earns: most orders first."""
        lost = [row for row in self.decided if row.result not in ("credited", "pending")]
        return sorted(lost, key=lambda row: (-row.orders, row.result))


@role("merchant")
async def overview(request: Request, scope: Scope) -> Response:
    """GET /merchant: the last 30 days, today included, and what needs a hand."""
    state, catalogue = request.app.state, await own_catalogue(request, scope)
    at = state.clock()
    facts = await run(read_overview, state.books, state.events, scope.tenant_id, at)
    return page(
        request,
        scope,
        "merchant/overview.html",
        facts=facts,
        chart=chart_of(facts.days),
        clicks=sum(day.clicks for day in facts.days),
        states=STATES,
        commission=summed(facts.commission),
        waiting=waiting(catalogue),
        without_rates=without_rates(summaries(catalogue, at)),
        bad_rows=sum(count for _, count, _ in facts.bad_rows),
        first_day=facts.days[0].at,
    )


def read_overview(books: Books, events: EventsStore, tenant_id: str, at: Instant) -> Overview:
    """Everything for the page. Blocking."""
    to_ms = start_of_day(at) + DAY
    from_ms = to_ms - DAYS * DAY
    rows = {row[0]: Day(*row) for row in events.select(DAYS_OF, tenant_id=tenant_id, from_ms=from_ms, to_ms=to_ms)}
    results = events.select(RESULTS_OF, tenant_id=tenant_id, from_ms=from_ms, to_ms=to_ms)
    bad_rows = events.select(BAD_ROWS_OF, tenant_id=tenant_id, from_ms=from_ms, to_ms=to_ms)
    with books.reading() as connection:
        commission = earned_by_state(connection, tenant_id, from_ms)
    days = [rows.get(day, Day(day)) for day in range(from_ms, to_ms, DAY)]
    return Overview(days, group_results(results), commission, [(row[0], row[1], row[2]) for row in bad_rows])


def group_results(rows: list[tuple[Any, ...]]) -> list[Decided]:
    """One row per result out of (result, currency, orders, net) rows, in their order."""
    grouped: dict[str, Decided] = {}
    for result, currency, orders, net_minor in rows:
        so_far = grouped.get(result, Decided(result, 0, {}))
        grouped[result] = Decided(result, so_far.orders + orders, so_far.net | {currency: net_minor})
    return list(grouped.values())


def summed(amounts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Amounts by currency, over all states."""
    totals: dict[str, int] = {}
    for by_currency in amounts.values():
        for currency, amount_minor in by_currency.items():
            totals[currency] = totals.get(currency, 0) + amount_minor
    return totals


def chart_of(days: list[Day]) -> Chart:
    """Clicks as a line, credited orders as columns."""
    labels = [f"{as_datetime(day.at).day} {as_datetime(day.at):%b}" for day in days]
    return chart(
        f"The last {DAYS} days",
        labels,
        [
            plot("Clicks", labels, [day.clicks for day in days], unit="click"),
            plot("Credited orders", labels, [day.credited for day in days], shape="columns", unit="credited order"),
        ],
    )


def waiting(catalogue: Catalogue) -> int:
    """Applications that nobody has answered."""
    return sum(joined.status == "applied" for joined in catalogue.memberships)


def without_rates(rows: list[Summary]) -> list[Summary]:
    """Programmes in which nothing can be earned, for want of a rate card in force."""
    return [row for row in rows if row.rate_card is None]


routes: list[BaseRoute] = [
    Route("/merchant", overview, methods=["GET"]),
    *merchant_orders.routes,
    *merchant_disputes.routes,
    *merchant_affiliates.routes,
    *merchant_programmes.routes,
    *merchant_policy.routes,
    *merchant_replay.routes,
    *merchant_rates.routes,
    *merchant_links.routes,
    *merchant_coupons.routes,
    *merchant_stores.routes,
    *merchant_segments.routes,
    *merchant_coalitions.routes,
    *merchant_keys.routes,
]
navigation: tuple[tuple[str, str], ...] = (
    ("Overview", "/merchant"),
    ("Orders", "/merchant/orders"),
    ("Disputes", "/merchant/disputes"),
    ("Affiliates", "/merchant/affiliates"),
    ("Programmes", "/merchant/programmes"),
    ("Click caps", "/merchant/links"),
    ("Coupons", "/merchant/coupons"),
    ("Stores", "/merchant/stores"),
    ("Segments", "/merchant/segments"),
    ("Coalitions", "/merchant/coalitions"),
    ("API keys", "/merchant/keys"),
    ("Conservation", "/merchant/conservation"),
)
