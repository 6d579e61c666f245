"""The affiliate's account: who it is, and where its money goes. A new bank account takes the password once more."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Affiliate
from core.catalogue_rules import is_iban
from core.clock import Instant
from core.errors import NotFound
from core.scope import Scope
from portal import sessions
from portal.affiliate_catalogue import joined
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from store.books import Books
from store.catalogue import find, put

IBAN_CHARS = 34


@sessions.role("affiliate")
async def account(request: Request, scope: Scope) -> Response:
    """GET /affiliate/account."""
    mine = await joined(request, scope)
    form = Form.of(account_holder=mine.affiliate.account_holder, iban=spaced(mine.affiliate.iban))
    return page(request, scope, "affiliate/account.html", affiliate=mine.affiliate, form=form)


@sessions.role("affiliate")
async def change_bank(request: Request, scope: Scope) -> Response:
    """POST to the same: where payouts go from the next batch on; prepared payouts keep the account they were made for."""
    form, mine = await read_form(request), await joined(request, scope)
    holder, iban = read_bank(form)
    if not form.faults:
        await sessions.confirm_password(request, form)
    if form.faults:
        return page(request, scope, "affiliate/account.html", status=422, affiliate=mine.affiliate, form=form)
    state = request.app.state
    await run(_change_bank, state.books, scope, holder, iban, state.clock())
    return redirect("/affiliate/account", "Your bank account was changed.")


def read_bank(form: Form) -> tuple[str, str]:
    """Account holder and IBAN (ISO 13616, check digits verified); faults are noted on the form."""
    holder = form.text("account_holder", longest=70)
    iban = form.text("iban", longest=2 * IBAN_CHARS).replace(" ", "").upper()
    if iban and not is_iban(iban):
        form.fault("iban", "This is not an IBAN: its check digits do not fit. Please compare it with your bank's papers.")
    return holder, iban


def spaced(iban: str) -> str:
    """In groups of four, as banks print it."""
    return " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))


def _change_bank(books: Books, scope: Scope, holder: str, iban: str, at: Instant) -> None:
    with books.writing() as connection:
        before = find(connection, Affiliate, scope.affiliate_id)
        if before is None:
            raise NotFound("there is no such affiliate")
        put(connection, msgspec.structs.replace(before, account_holder=holder, iban=iban), scope.user_id, at)


routes: list[BaseRoute] = [
    Route("/affiliate/account", account, methods=["GET"]),
    Route("/affiliate/account", change_bank, methods=["POST"]),
]
