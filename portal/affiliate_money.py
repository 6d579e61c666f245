"""What an affiliate earned and was paid: balances by state, what is approved when, payouts and their statements."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.errors import NotFound
from core.scope import Scope
from payouts.balances import FIGURES, Balance, balances_of_affiliate
from payouts.statement import Statement, read_statement, statement_csv
from portal.affiliate_catalogue import joined
from portal.page import page, run
from portal.sessions import role
from store.batches import PayoutRow, payouts_of_affiliate
from store.books import Books
from store.earnings import Release, releases

Amounts = dict[str, int]
"""Minor units by currency."""


@role("affiliate")
async def earnings(request: Request, scope: Scope) -> Response:
    """GET /affiliate/earnings."""
    mine = await joined(request, scope)
    balances, coming, paid = await run(_read_earnings, request.app.state.books, scope.affiliate_id)
    return page(
        request,
        scope,
        "affiliate/earnings.html",
        mine=mine,
        balances=balances,
        states=FIGURES,
        totals={state: amounts_in(balances, state) for state in FIGURES},
        releases=coming,
        payouts=paid,
        today=request.app.state.clock(),
    )


@role("affiliate")
async def statement(request: Request, scope: Scope) -> Response:
    """GET /affiliate/payouts/{tenant_id}/{batch_id}: every commission that the payout pays, and their sum."""
    mine, found = await joined(request, scope), await _own_statement(request, scope)
    return page(request, scope, "affiliate/statement.html", mine=mine, statement=found)


@role("affiliate")
async def statement_file(request: Request, scope: Scope) -> Response:
    """GET /affiliate/payouts/{tenant_id}/{batch_id}/statement.csv: the same lines as a file."""
    found = await _own_statement(request, scope)
    headers = {"Content-Disposition": f'attachment; filename="statement-{found.tenant_id}-{found.payout_id}.csv"'}
    return Response(statement_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


def amounts_in(balances: list[Balance], state: str, tenant_id: str = "") -> Amounts:
    """What is in one state, by currency, with one tenant or with all; zeros are left out."""
    sums: Amounts = {}
    for one in balances:
        amount = getattr(one, f"{state}_minor")
        if amount and tenant_id in ("", one.tenant_id):
            sums[one.currency] = sums.get(one.currency, 0) + amount
    return sums


async def _own_statement(request: Request, scope: Scope) -> Statement:
    tenant_id, batch_id = request.path_params["tenant_id"], request.path_params["batch_id"]
    return await run(_read_statement, request.app.state.books, tenant_id, batch_id, scope.affiliate_id)


def _read_earnings(books: Books, affiliate_id: str) -> tuple[list[Balance], list[Release], list[PayoutRow]]:
    with books.reading() as connection:
        balances = balances_of_affiliate(connection, affiliate_id)
        return balances, releases(connection, affiliate_id), payouts_of_affiliate(connection, affiliate_id)


def _read_statement(books: Books, tenant_id: str, batch_id: str, affiliate_id: str) -> Statement:
    with books.reading() as connection:
        found = read_statement(connection, tenant_id, batch_id, affiliate_id)
    if found.state == "void":
        raise NotFound(f"batch {batch_id} was voided and pays nobody")
    return found


routes: list[BaseRoute] = [
    Route("/affiliate/earnings", earnings, methods=["GET"]),
    Route("/affiliate/payouts/{tenant_id}/{batch_id}", statement, methods=["GET"]),
    Route("/affiliate/payouts/{tenant_id}/{batch_id}/statement.csv", statement_file, methods=["GET"]),
]
