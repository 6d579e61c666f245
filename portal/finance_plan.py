"""A payout batch before it is one: its terms, whom it would pay and whom not, and the preparing."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Tenant
from core.clock import Instant, format_instant
from core.errors import BadInput
from core.money import exponent
from core.scope import Scope
from payouts.balances import balances_of_tenant, totals
from payouts.batches import choose_left_out, prepare
from portal.forms import Form, read_form, read_query_form
from portal.page import page, redirect, run
from portal.sessions import role
from store.batches import LeftOut, bank_accounts
from store.books import Books
from store.catalogue import find
from store.commissions import approved_sums
from store.reports import Payee, payees


class Preview(msgspec.Struct, frozen=True):
    """Whom a batch would pay, and whom not; ``total_minor`` is its control sum. Nothing is claimed yet."""

    currency: str
    cutoff_at: Instant
    minimum_minor: int
    paid: list[tuple[str, int]]
    left_out: tuple[LeftOut, ...]
    total_minor: int


@role("finance")
async def plan_batch(request: Request, scope: Scope) -> Response:
    """GET /finance/batches/new: the form; with ``currency`` in the address, also whom such a batch would pay."""
    form, state = read_query_form(request), request.app.state
    if not form.raw("currency"):
        return await _plan_page(request, scope, form)
    currency, cutoff_at, minimum_minor = read_terms(form, state.clock())
    if form.faults:
        return await _plan_page(request, scope, form, status=422)
    preview = await run(read_preview, state.books, scope.tenant_id, currency, cutoff_at, minimum_minor)
    return await _plan_page(request, scope, form, preview)


@role("finance")
async def prepare_batch(request: Request, scope: Scope) -> Response:
    """POST /finance/batches/new: claim what is approved. 422 where nobody can be paid."""
    form, state = await read_form(request), request.app.state
    currency, cutoff_at, minimum_minor = read_terms(form, state.clock())
    if form.faults:
        return await _plan_page(request, scope, form, status=422)
    try:
        batch = await run(prepare, state.books, scope.tenant_id, currency, cutoff_at, scope.user_id, state.clock(), minimum_minor)
    except BadInput as error:
        form.fault("", as_sentence(error))
        return await _plan_page(request, scope, form, status=422)
    return redirect(f"/finance/batches/{batch.batch_id}", f"{batch.batch_id} was prepared. Another finance user must approve it.")


def read_terms(form: Form, at: Instant) -> tuple[str, Instant, int]:
    """Currency, cut-off (exclusive; empty is now) and minimum of a batch; faults are noted on the form."""
    currency = form.text("currency", longest=3).upper()
    if not is_currency(currency):
        form.fault("currency", "Please give a currency such as EUR.")
        return currency, at, 0
    cutoff_at = form.instant("cutoff_at", required=False)
    if cutoff_at is not None and cutoff_at > at:
        form.fault("cutoff_at", "This lies ahead. Leave it empty to take everything up to now.")
    minimum_minor = form.amount("minimum", currency, required=False)
    if minimum_minor is not None and minimum_minor < 0:
        form.fault("minimum", "Please give an amount that is not negative.")
    return currency, at if cutoff_at is None else cutoff_at, minimum_minor or 0


def read_preview(books: Books, tenant_id: str, currency: str, cutoff_at: Instant, minimum_minor: int) -> Preview:
    """What :func:`payouts.batches.prepare` would do now, short of holds that end in this very moment."""
    with books.reading() as connection:
        sums = approved_sums(connection, tenant_id, currency, cutoff_at)
        accounts = bank_accounts(connection, [affiliate_id for affiliate_id, _ in sums])
    left_out = choose_left_out(sums, accounts, minimum_minor)
    absent = {one.affiliate_id for one in left_out}
    paid = [(affiliate_id, amount) for affiliate_id, amount in sums if amount > 0 and affiliate_id not in absent]
    return Preview(currency, cutoff_at, minimum_minor, paid, left_out, sum(amount for _, amount in paid))


def is_currency(text: str) -> bool:
    try:
        exponent(text)
    except BadInput:
        return False
    return True


async def _plan_page(request: Request, scope: Scope, form: Form, preview: Preview | None = None, status: int = 200) -> Response:
    currencies, people, own = await run(_read_plan, request.app.state.books, scope.tenant_id)
    if not form.raw("currency"):
        form.values["currency"] = [own if own in currencies or not currencies else currencies[0]]
    return page(
        request,
        scope,
        "finance/plan.html",
        status=status,
        form=form,
        currencies=[(currency, currency) for currency in sorted({*currencies, own})],
        preview=preview,
        cutoff=format_instant(preview.cutoff_at).removesuffix("Z") if preview else "",
        people=people,
    )


def _read_plan(books: Books, tenant_id: str) -> tuple[list[str], dict[str, Payee], str]:
    with books.reading() as connection:
        tenant = find(connection, Tenant, tenant_id)
        assert tenant is not None, "staff belong to a tenant"
        approved = [one.currency for one in totals(balances_of_tenant(connection, tenant_id)) if one.approved_minor]
        return approved, payees(connection, tenant_id), tenant.currency


def as_sentence(error: Exception) -> str:
    """A refusal's text as a page says it."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


routes: list[BaseRoute] = [
    Route("/finance/batches/new", plan_batch, methods=["GET"]),
    Route("/finance/batches/new", prepare_batch, methods=["POST"]),
]
