"""Pages of finance: the overview and who has what open; batches, holds, adjustments, months and ledger in modules beside it."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import DAY, Instant, start_of_day
from core.scope import Scope
from payouts.balances import Balance, balances_of_tenant, totals
from payouts.commissions import odd_orders
from portal import (
    finance_adjustments,
    finance_batches,
    finance_holds,
    finance_ledger,
    finance_months,
    finance_plan,
    finance_rates,
    finance_statement,
)
from portal.finance_batches import BatchRow, read_rows
from portal.page import page, run
from portal.sessions import role
from store.accruals import Accrual
from store.adjustments import Adjustment, read_adjustments
from store.books import Books
from store.reports import Payee, Release, payees, releases

DAYS_AHEAD = 14


class Overview(msgspec.Struct, frozen=True):
    """The facts of the first page: one balance per currency, what leaves its hold when, batches not at their end."""

    totals: list[Balance]
    releases: list[Release]
    open_batches: list[BatchRow]
    odd_orders: list[Accrual]
    proposals: list[Adjustment]


@role("finance")
async def overview(request: Request, scope: Scope) -> Response:
    """GET /finance: what is pending, on hold, approved, in a payout and paid; what is approved next; what waits for a person."""
    state = request.app.state
    facts = await run(read_overview, state.books, scope.tenant_id, state.clock())
    to_approve = [row for row in facts.open_batches if row.batch.state == "prepared"]
    to_settle = [row for row in facts.open_batches if row.batch.state == "approved"]
    today = start_of_day(state.clock())
    return page(
        request,
        scope,
        "finance/overview.html",
        facts=facts,
        to_approve=to_approve,
        to_settle=to_settle,
        today=today,
        days_ahead=DAYS_AHEAD,
    )


@role("finance")
async def balances(request: Request, scope: Scope) -> Response:
    """GET /finance/balances: every affiliate's balance; what is carried forward, and who lacks bank details."""
    rows, people = await run(read_open, request.app.state.books, scope.tenant_id)
    return page(
        request,
        scope,
        "finance/balances.html",
        groups=[(total, [row for row in rows if row.currency == total.currency]) for total in totals(rows)],
        people=people,
        blocked=[row for row in rows if row.approved_minor > 0 and not has_bank_details(people, row.affiliate_id)],
        carried=[row for row in rows if row.approved_minor < 0],
    )


def read_overview(books: Books, tenant_id: str, at: Instant) -> Overview:
    """Everything for the first page. Blocking."""
    with books.reading() as connection:
        held = balances_of_tenant(connection, tenant_id)
        coming = releases(connection, tenant_id, start_of_day(at) + DAYS_AHEAD * DAY)
        odd = odd_orders(connection, tenant_id)
        proposals = [one for one in read_adjustments(connection, tenant_id) if one.state == "proposed"]
    rows = [row for row in read_rows(books, tenant_id) if row.batch.state in ("prepared", "approved")]
    return Overview(totals(held), coming, rows, odd, proposals)


def read_open(books: Books, tenant_id: str) -> tuple[list[Balance], dict[str, Payee]]:
    """Balances with anything open, most approved first within a currency."""
    with books.reading() as connection:
        rows = [row for row in balances_of_tenant(connection, tenant_id) if row.is_open]
        people = payees(connection, tenant_id)
    return sorted(rows, key=lambda row: (row.currency, -row.approved_minor, row.affiliate_id)), people


def has_bank_details(people: dict[str, Payee], affiliate_id: str) -> bool:
    return affiliate_id in people and people[affiliate_id].has_bank_details


routes: list[BaseRoute] = [
    Route("/finance", overview, methods=["GET"]),
    Route("/finance/balances", balances, methods=["GET"]),
    *finance_plan.routes,
    *finance_batches.routes,
    *finance_statement.routes,
    *finance_holds.routes,
    *finance_adjustments.routes,
    *finance_months.routes,
    *finance_ledger.routes,
    *finance_rates.routes,
]
navigation: tuple[tuple[str, str], ...] = (
    ("Overview", "/finance"),
    ("Balances", "/finance/balances"),
    ("Batches", "/finance/batches"),
    ("Holds", "/finance/holds"),
    ("Adjustments", "/finance/adjustments"),
    ("Months", "/finance/months"),
    ("Ledger", "/finance/ledger"),
    ("Rates", "/finance/rates"),
)
