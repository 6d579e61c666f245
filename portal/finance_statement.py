"""The statement of one payout: every commission in it with its rule in words, as a page and as CSV."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.scope import Scope
from payouts.statement import Statement, read_statement, statement_csv
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.reports import Payee, payees


@role("finance")
async def statement(request: Request, scope: Scope) -> Response:
    """GET /finance/batches/{batch_id}/statements/{affiliate_id}."""
    found, people = await _own_statement(request, scope)
    return page(request, scope, "finance/statement.html", statement=found, payee=people.get(found.affiliate_id))


@role("finance")
async def statement_file(request: Request, scope: Scope) -> Response:
    """GET /finance/batches/{batch_id}/statements/{affiliate_id}/csv."""
    found, _ = await _own_statement(request, scope)
    name = f"{found.tenant_id}-{found.batch_id}-{found.affiliate_id}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(statement_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


async def _own_statement(request: Request, scope: Scope) -> tuple[Statement, dict[str, Payee]]:
    asked = request.path_params
    return await run(_read, request.app.state.books, scope.tenant_id, asked["batch_id"], asked["affiliate_id"])


def _read(books: Books, tenant_id: str, batch_id: str, affiliate_id: str) -> tuple[Statement, dict[str, Payee]]:
    with books.reading() as connection:
        return read_statement(connection, tenant_id, batch_id, affiliate_id), payees(connection, tenant_id)


routes: list[BaseRoute] = [
    Route("/finance/batches/{batch_id}/statements/{affiliate_id}", statement, methods=["GET"]),
    Route("/finance/batches/{batch_id}/statements/{affiliate_id}/csv", statement_file, methods=["GET"]),
]
