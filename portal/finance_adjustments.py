"""Manual adjustments: proposed here, booked at once within the limit, else when a second person approves with the password."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Tenant
from core.errors import BadInput, Conflict, NotAllowed, NotFound
from core.scope import Scope
from payouts.adjustments import LONGEST_REASON, Proposal, approve, propose, reject
from portal.finance_plan import as_sentence, is_currency
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from portal.sessions import confirm_password, role
from portal.words import money
from store.adjustments import Adjustment, read_adjustment, read_adjustments
from store.books import Books
from store.catalogue import find
from store.reports import Payee, payees


class Adjustments(msgspec.Struct, frozen=True):
    """What was proposed, those that wait first; whom one can be made for; and the merchant with its limit."""

    rows: list[Adjustment]
    people: dict[str, Payee]
    tenant: Tenant


@role("finance")
async def adjustments(request: Request, scope: Scope) -> Response:
    """GET /finance/adjustments."""
    return await _adjustments_page(request, scope, Form())


@role("finance")
async def propose_adjustment(request: Request, scope: Scope) -> Response:
    """POST /finance/adjustments: booked at once within the limit. 422 with every fault."""
    form, state = await read_form(request), request.app.state
    proposal = read_proposal(form)
    if proposal is None:
        return await _adjustments_page(request, scope, form, 422)
    try:
        made = await run(propose, state.books, scope.tenant_id, proposal, scope.user_id, state.clock())
    except BadInput as error:
        form.fault(error.field if error.field in ("affiliate_id", "programme_id", "amount") else "", as_sentence(error))
        return await _adjustments_page(request, scope, form, 422)
    said = f"{made.adjustment_id}, {money(made.amount_minor, made.currency)} for {made.affiliate_id},"
    waits = "is above the limit: another finance user must approve it."
    return redirect("/finance/adjustments", f"{said} {waits if made.state == 'proposed' else 'is booked.'}")


def read_proposal(form: Form) -> Proposal | None:
    """None where a field does not do; the form says which."""
    affiliate_id, reason = form.text("affiliate_id", longest=64), form.text("reason", longest=LONGEST_REASON)
    currency = form.text("currency", longest=3).upper()
    if currency and not is_currency(currency):
        form.fault("currency", "Please give a currency such as EUR.")
    amount = form.amount("amount", currency) if "currency" not in form.faults else None
    programme_id = form.text("programme_id", required=False, longest=64)
    return None if form.faults or amount is None else Proposal(affiliate_id, amount, currency, reason, programme_id)


@role("finance")
async def approve_adjustment(request: Request, scope: Scope) -> Response:
    """POST /finance/adjustments/{adjustment_id}/approve: with the password once more, by another person than proposed it.

    403 for the proposer, 409 where it was decided already, 422 for a wrong password.
    """
    form, state, adjustment_id = await read_form(request), request.app.state, request.path_params["adjustment_id"]
    await run(_require, state.books, scope.tenant_id, adjustment_id)
    await confirm_password(request, form)
    if form.faults:
        return await _adjustments_page(request, scope, form, 422, adjustment_id)
    try:
        await run(approve, state.books, scope.tenant_id, adjustment_id, scope.user_id, state.clock())
    except (NotAllowed, Conflict) as error:
        form.fault("", as_sentence(error))
        return await _adjustments_page(request, scope, form, 403 if isinstance(error, NotAllowed) else 409)
    return redirect("/finance/adjustments", f"{adjustment_id} is booked.")


@role("finance")
async def reject_adjustment(request: Request, scope: Scope) -> Response:
    """POST /finance/adjustments/{adjustment_id}/reject: by anybody, with a reason. 409 where it was decided already."""
    form, state, adjustment_id = await read_form(request), request.app.state, request.path_params["adjustment_id"]
    try:
        await run(reject, state.books, scope.tenant_id, adjustment_id, scope.user_id, form.raw("why"), state.clock())
    except (BadInput, Conflict) as error:
        form.fault("", as_sentence(error))
        return await _adjustments_page(request, scope, form, 409 if isinstance(error, Conflict) else 422)
    return redirect("/finance/adjustments", f"{adjustment_id} was rejected; nothing is booked.")


async def _adjustments_page(request: Request, scope: Scope, form: Form, status: int = 200, tried: str = "") -> Response:
    found = await run(_read, request.app.state.books, scope.tenant_id)
    form.values.setdefault("currency", [found.tenant.currency])
    me = scope.user_id.strip().lower()
    return page(request, scope, "finance/adjustments.html", status=status, form=form, found=found, me=me, tried=tried)


def _read(books: Books, tenant_id: str) -> Adjustments:
    with books.reading() as connection:
        tenant = find(connection, Tenant, tenant_id)
        assert tenant is not None, "staff belong to a tenant"
        return Adjustments(read_adjustments(connection, tenant_id), payees(connection, tenant_id), tenant)


def _require(books: Books, tenant_id: str, adjustment_id: str) -> None:
    with books.reading() as connection:
        if read_adjustment(connection, tenant_id, adjustment_id) is None:
            raise NotFound(f"there is no adjustment {adjustment_id}")


routes: list[BaseRoute] = [
    Route("/finance/adjustments", adjustments, methods=["GET"]),
    Route("/finance/adjustments", propose_adjustment, methods=["POST"]),
    Route("/finance/adjustments/{adjustment_id}/approve", approve_adjustment, methods=["POST"]),
    Route("/finance/adjustments/{adjustment_id}/reject", reject_adjustment, methods=["POST"]),
]
