"""The ledger as it stands: entries, newest first, each with its hash; and a check of the whole on demand."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.scope import Scope
from payouts.anchors import FILE, read_anchors
from payouts.verify import VerifyReport, verify
from portal.forms import read_query_form
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.ledger import Entry
from store.reports import Payee, entries_before, payees

ENTRIES = 50
MOST_NUMBER = 10**9


@role("finance")
async def ledger(request: Request, scope: Scope) -> Response:
    """GET /finance/ledger: one screen of entries; ``before`` is the number above the first one."""
    return await _ledger_page(request, scope, None)


@role("finance")
async def verify_ledger(request: Request, scope: Scope) -> Response:
    """POST /finance/ledger/verify: recompute every hash and every sum of the tenant, and say what came out."""
    state = request.app.state
    report = await run(_verified, state.books, scope.tenant_id, state.settings.data / FILE)
    return await _ledger_page(request, scope, report)


async def _ledger_page(request: Request, scope: Scope, report: VerifyReport | None) -> Response:
    form = read_query_form(request)
    before = form.whole("before", 1, MOST_NUMBER, required=False) if form.raw("before") else None
    rows, people = await run(_read_entries, request.app.state.books, scope.tenant_id, None if form.faults else before)
    older = f"/finance/ledger?before={rows[ENTRIES - 1].number}" if len(rows) > ENTRIES else ""
    return page(
        request,
        scope,
        "finance/ledger.html",
        rows=rows[:ENTRIES],
        people=people,
        report=report,
        head=report.heads[0] if report and report.heads else None,
        newer="/finance/ledger" if before is not None else "",
        older=older,
    )


def _verified(books: Books, tenant_id: str, anchors: Path) -> VerifyReport:
    return verify(books, tenant_id, anchors=read_anchors(anchors))


def _read_entries(books: Books, tenant_id: str, before: int | None) -> tuple[list[Entry], dict[str, Payee]]:
    with books.reading() as connection:
        return entries_before(connection, tenant_id, before, ENTRIES + 1), payees(connection, tenant_id)


routes: list[BaseRoute] = [
    Route("/finance/ledger", ledger, methods=["GET"]),
    Route("/finance/ledger/verify", verify_ledger, methods=["POST"]),
]
