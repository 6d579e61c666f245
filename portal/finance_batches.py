"""Payout batches: the list, and one batch on its way: approved by a second person, its file, settled or given up."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import Instant
from core.errors import Conflict, NotAllowed, NotFound
from core.scope import Scope
from payouts.batches import approve, settle, void
from payouts.payment_file import file_name, payment_file
from portal.finance_plan import as_sentence
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from portal.sessions import confirm_password, role
from store.batches import Batch, batch_sums, read_batch, read_batches
from store.books import Books
from store.reports import Payee, payees

Step = Callable[[Books, str, str, str, Instant], Batch]


class BatchRow(msgspec.Struct, frozen=True):
    """A batch in the list."""

    batch: Batch
    payouts: int
    amount_minor: int


@role("finance")
async def batches(request: Request, scope: Scope) -> Response:
    """GET /finance/batches."""
    rows = await run(read_rows, request.app.state.books, scope.tenant_id)
    return page(request, scope, "finance/batches.html", rows=rows)


def read_rows(books: Books, tenant_id: str) -> list[BatchRow]:
    """A tenant's batches, newest first."""
    with books.reading() as connection:
        sums = batch_sums(connection, tenant_id)
        return [BatchRow(batch, *sums.get(batch.batch_id, (0, 0))) for batch in read_batches(connection, tenant_id)]


@role("finance")
async def batch(request: Request, scope: Scope) -> Response:
    """GET /finance/batches/{batch_id}."""
    return await _batch_page(request, scope, Form())


@role("finance")
async def approve_batch(request: Request, scope: Scope) -> Response:
    """POST /finance/batches/{batch_id}/approve: with the password once more, by another person than prepared it.

    403 for the preparer, 409 where the content is not what was confirmed, 422 for a wrong password; each says why.
    """
    form, state = await read_form(request), request.app.state
    await _own_batch(request, scope)
    await confirm_password(request, form)
    if form.faults:
        return await _batch_page(request, scope, form, status=422)
    batch_id, content_hash = request.path_params["batch_id"], form.raw("content_hash")
    try:
        await run(approve, state.books, scope.tenant_id, batch_id, scope.user_id, content_hash, state.clock())
    except (NotAllowed, Conflict) as error:
        return await _refused(request, scope, form, error)
    return redirect(f"/finance/batches/{batch_id}", f"{batch_id} is approved. Its payment file is ready.")


@role("finance")
async def void_batch(request: Request, scope: Scope) -> Response:
    """POST /finance/batches/{batch_id}/void."""
    return await _take_step(request, scope, void, "{} was given up; its commissions are approved again.")


@role("finance")
async def settle_batch(request: Request, scope: Scope) -> Response:
    """POST /finance/batches/{batch_id}/settle: the bank has carried out the payments."""
    return await _take_step(request, scope, settle, "{} is settled: its commissions are paid.")


@role("finance")
async def payment_file_of(request: Request, scope: Scope) -> Response:
    """GET /finance/batches/{batch_id}/file: the payment file as CSV. 403 before the approval."""
    found = await _own_batch(request, scope)
    headers = {"Content-Disposition": f'attachment; filename="{file_name(found)}"'}
    return Response(payment_file(found), media_type="text/csv; charset=utf-8", headers=headers)


async def _take_step(request: Request, scope: Scope, step: Step, done: str) -> Response:
    form, state, batch_id = await read_form(request), request.app.state, request.path_params["batch_id"]
    try:
        await run(step, state.books, scope.tenant_id, batch_id, scope.user_id, state.clock())
    except Conflict as error:
        return await _refused(request, scope, form, error)
    return redirect(f"/finance/batches/{batch_id}", done.format(batch_id))


async def _refused(request: Request, scope: Scope, form: Form, error: NotAllowed | Conflict) -> Response:
    """The batch as it is now, with the reason on top."""
    form.fault("", as_sentence(error))
    return await _batch_page(request, scope, form, status=403 if isinstance(error, NotAllowed) else 409)


async def _own_batch(request: Request, scope: Scope) -> Batch:
    found, _ = await run(_read_batch, request.app.state.books, scope.tenant_id, request.path_params["batch_id"])
    return found


async def _batch_page(request: Request, scope: Scope, form: Form, status: int = 200) -> Response:
    found, people = await run(_read_batch, request.app.state.books, scope.tenant_id, request.path_params["batch_id"])
    mine = found.prepared_by == scope.user_id.strip().lower()
    return page(
        request,
        scope,
        "finance/batch.html",
        status=status,
        batch=found,
        steps=steps_of(found),
        people=people,
        mine=mine,
        lines=sum(len(payout.lines) for payout in found.payouts),
        form=form,
    )


def steps_of(batch: Batch) -> list[tuple[str, str, Any]]:
    """The way of a batch as (title, state, (who, when)): what is done, what is next. A void batch ends where it was given up."""
    steps: list[tuple[str, str, Any]] = [("Prepared", "done", (batch.prepared_by, batch.prepared_at))]
    if batch.approved_by is not None:
        steps.append(("Approved", "done", (batch.approved_by, batch.approved_at)))
    if batch.state == "void":
        return [*steps, ("Given up", "done", (batch.voided_by, batch.voided_at))]
    if batch.state == "settled":
        return [*steps, ("Settled", "done", (batch.settled_by, batch.settled_at))]
    if batch.state == "approved":
        return [*steps, ("Settled", "now", None)]
    return [*steps, ("Approved", "now", None), ("Settled", "", None)]


def _read_batch(books: Books, tenant_id: str, batch_id: str) -> tuple[Batch, dict[str, Payee]]:
    with books.reading() as connection:
        found = read_batch(connection, tenant_id, batch_id)
        if found is None:
            raise NotFound(f"there is no batch {batch_id}")
        return found, payees(connection, tenant_id)


routes: list[BaseRoute] = [
    Route("/finance/batches", batches, methods=["GET"]),
    Route("/finance/batches/{batch_id}", batch, methods=["GET"]),
    Route("/finance/batches/{batch_id}/approve", approve_batch, methods=["POST"]),
    Route("/finance/batches/{batch_id}/void", void_batch, methods=["POST"]),
    Route("/finance/batches/{batch_id}/settle", settle_batch, methods=["POST"]),
    Route("/finance/batches/{batch_id}/file", payment_file_of, methods=["GET"]),
]
