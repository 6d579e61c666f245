"""Holds: what somebody put on hold and why, released or rejected by a person; every step stays on the page."""

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import Instant
from core.errors import BadInput, Conflict, NotFound
from core.scope import Scope
from payouts.commissions import booked_id
from payouts.holds import LONGEST_REASON, Outcome, hold, reject, release_hold
from portal.finance_plan import as_sentence
from portal.forms import Form, read_form, read_query_form
from portal.page import page, redirect, run
from portal.sessions import role
from portal.words import moneys, plural
from store.books import Books
from store.holds import HoldStep, read_steps, steps_in_force
from store.reports import Payee, payees

Step = Callable[[Books, str, str, str, str, str, Instant], Outcome]
STEPS: dict[str, Step] = {"hold": hold, "release": release_hold, "reject": reject}
LONGEST_ORDER = 128


class Holds(msgspec.Struct, frozen=True):
    """What is on hold now, and everything that was said, both newest first; ``people`` are the affiliates by id."""

    standing: list[HoldStep]
    said: list[HoldStep]
    people: dict[str, Payee]


@role("finance")
async def holds(request: Request, scope: Scope) -> Response:
    """GET /finance/holds?order_id=&affiliate_id=: what is on hold; the form comes filled in with what the address names."""
    return await _holds_page(request, scope, read_query_form(request))


@role("finance")
async def say(request: Request, scope: Scope) -> Response:
    """POST /finance/holds: ``action`` hold, release or reject, of an order, an affiliate or both, with a reason.

    422 where the form does not do, 404 where nothing was ever booked of them, 409 where it was said already.
    """
    form, state = await read_form(request), request.app.state
    action = form.choice("action", STEPS)
    order_id = form.text("order_id", required=False, longest=LONGEST_ORDER)
    affiliate_id = form.text("affiliate_id", required=False, longest=64)
    reason = form.text("reason", longest=LONGEST_REASON)
    if not order_id and not affiliate_id:
        form.fault("order_id", "Please name an order or an affiliate.")
    if form.faults:
        return await _holds_page(request, scope, form, 422)
    order_id = await run(_meant, state.books, scope.tenant_id, order_id)
    try:
        outcome = await run(STEPS[action], state.books, scope.tenant_id, order_id, affiliate_id, reason, scope.user_id, state.clock())
    except (BadInput, NotFound, Conflict) as error:
        form.fault("", as_sentence(error))
        return await _holds_page(request, scope, form, {NotFound: 404, Conflict: 409}.get(type(error), 422))
    return redirect("/finance/holds", told(action, outcome))


def _meant(books: Books, tenant_id: str, order_id: str) -> str:
    with books.reading() as connection:
        return booked_id(connection, tenant_id, order_id)


def told(action: str, outcome: Outcome) -> str:
    """What a step came to, in a sentence or two."""
    moved = plural(outcome.moved, "commission")
    if action == "hold":
        return f"On hold: {moved}. What is in a batch or paid stays there."
    if action == "release":
        return f"The hold has ended; {moved} moved on."
    return f"Rejected; taken back: {', '.join(moneys(outcome.taken_back, 'nothing'))}."


async def _holds_page(request: Request, scope: Scope, form: Form, status: int = 200) -> Response:
    found = await run(_read, request.app.state.books, scope.tenant_id)
    return page(request, scope, "finance/holds.html", status=status, form=form, found=found)


def _read(books: Books, tenant_id: str) -> Holds:
    with books.reading() as connection:
        standing = [step for step in steps_in_force(connection, tenant_id) if step.action == "hold"]
        return Holds(standing, read_steps(connection, tenant_id), payees(connection, tenant_id))


routes: list[BaseRoute] = [
    Route("/finance/holds", holds, methods=["GET"]),
    Route("/finance/holds", say, methods=["POST"]),
]
