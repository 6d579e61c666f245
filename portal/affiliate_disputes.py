"""An affiliate asks for a review of an order, and follows its cases.

Anybody may name any order id in a claim for a missing order: whether the order exists makes no difference to what is answered.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.disputes import DAY_BACK, KINDS, MOST_PER_DAY, actions_of
from attribution.explain import for_affiliate
from core.clock import Instant
from core.errors import NotFound
from core.scope import Scope
from portal.affiliate_catalogue import Joined, joined
from portal.disputes import STATES, as_it_stood, case_page, new_case, read_message, take_step
from portal.forms import Form, read_form, read_query_form
from portal.orders import read_part
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.disputes import (
    Case,
    Evidence,
    Step,
    case_of_affiliate,
    cases_of_affiliate,
    evidence_of,
    live_case,
    lock_affiliate,
    open_case,
    opened_since,
    steps_of,
)
from store.events import EventsStore

ROWS = 200
ORDER_CHARS = 128


class Claim(msgspec.Struct, frozen=True):
    """What an affiliate asks for."""

    tenant_id: str
    order_id: str
    kind: str
    message: str


class File(msgspec.Struct, frozen=True):
    """A case with what was said, and what the affiliate could see of the order when it opened the case."""

    case: Case
    steps: list[Step]
    evidence: Evidence


@role("affiliate")
async def disputes(request: Request, scope: Scope) -> Response:
    """GET /affiliate/disputes: all cases, newest first."""
    mine = await joined(request, scope)
    cases = await run(_cases, request.app.state.books, mine.affiliate.affiliate_id)
    return page(request, scope, "affiliate/disputes.html", mine=mine, cases=cases, states=STATES, kinds=KINDS, merchants=_merchants(mine))


@role("affiliate")
async def new(request: Request, scope: Scope) -> Response:
    """GET /affiliate/disputes/new?tenant_id=&order_id=&kind=: the form, filled in where one comes from a conversion."""
    mine, asked = await joined(request, scope), read_query_form(request)
    only = next(iter(_merchants(mine)), "") if len(_merchants(mine)) == 1 else ""
    form = Form.of(
        tenant_id=asked.raw("tenant_id") or only, order_id=asked.raw("order_id")[:ORDER_CHARS], kind=asked.raw("kind") or "untracked"
    )
    return _new_page(request, scope, mine, form)


@role("affiliate")
async def ask(request: Request, scope: Scope) -> Response:
    """POST /affiliate/disputes: open a case."""
    state, form, mine = request.app.state, await read_form(request), await joined(request, scope)
    claim = read_claim(form, mine)
    case = None
    if not form.faults:
        case = await run(open_review, state.books, state.events, mine, claim, form, scope.user_id, state.clock())
    if case is None:
        return _new_page(request, scope, mine, form)
    return redirect(f"/affiliate/disputes/{case.case_id}", "Your case was opened. You see here what the merchant answers.")


@role("affiliate")
async def dispute(request: Request, scope: Scope) -> Response:
    """GET /affiliate/disputes/{case_id}."""
    return await _own_page(request, scope)


@role("affiliate")
async def answer(request: Request, scope: Scope) -> Response:
    """POST /affiliate/disputes/{case_id}/answer: what the merchant asked back."""
    form = await read_form(request)
    file = await _own_file(request, scope)
    message = read_message(form)
    if form.faults:
        return await _own_page(request, scope, form)
    state = request.app.state
    await run(take_step, state.books, file.case, "affiliate", "answered", message, scope.user_id, state.clock())
    return redirect(f"/affiliate/disputes/{file.case.case_id}", "Your answer was sent.")


@role("affiliate")
async def withdraw(request: Request, scope: Scope) -> Response:
    """POST /affiliate/disputes/{case_id}/withdraw."""
    state, file = request.app.state, await _own_file(request, scope)
    await run(take_step, state.books, file.case, "affiliate", "withdrawn", "", scope.user_id, state.clock())
    return redirect(f"/affiliate/disputes/{file.case.case_id}", "The case was withdrawn.")


def read_claim(form: Form, mine: Joined) -> Claim:
    """The claim of a form; its faults are noted on the form."""
    order_id = form.text("order_id", longest=ORDER_CHARS)
    return Claim(form.choice("tenant_id", _merchants(mine)), order_id, form.choice("kind", list(KINDS)), read_message(form))


def open_review(books: Books, events: EventsStore, mine: Joined, claim: Claim, form: Form, by: str, at: Instant) -> Case | None:
    """Open a case with the order's explanation as it stands; None after noting on the form why not.

    An order that the affiliate has no part in and one that does not exist are answered alike.
    """
    affiliate_id = mine.affiliate.affiliate_id
    evidence, known = read_evidence(books, events, claim.tenant_id, claim.order_id, affiliate_id)
    if claim.kind != "untracked" and not known:
        form.fault("order_id", "This order is not among your conversions. If you sent the customer, choose “Missing” above.")
        return None
    case = new_case(claim.tenant_id, affiliate_id, claim.order_id, claim.kind, by, at)
    with books.writing() as connection:
        lock_affiliate(connection, affiliate_id)
        if live_case(connection, claim.tenant_id, affiliate_id, claim.order_id):
            form.fault("order_id", "You have an open case about this order already; see your list of cases.")
        elif opened_since(connection, affiliate_id, at - DAY_BACK) >= MOST_PER_DAY:
            form.fault("", f"You have opened {MOST_PER_DAY} cases within a day, which is the most. Please go on tomorrow.")
        else:
            open_case(connection, case, evidence, claim.message)
            return case
    return None


def read_evidence(books: Books, events: EventsStore, tenant_id: str, order_id: str, affiliate_id: str) -> tuple[Evidence, bool]:
    """The explanation as it stands, for each side, and whether the order is among the affiliate's conversions."""
    told, known = read_part(books, events, tenant_id, order_id, affiliate_id)
    own = for_affiliate(told, affiliate_id) if told else None
    return Evidence(msgspec.to_builtins(own), msgspec.to_builtins(told)), known


def _merchants(mine: Joined) -> dict[str, str]:
    """The merchants that an affiliate works or worked for, by id: the names of those that ever approved it."""
    approved = {tenant_id for (tenant_id, _), membership in mine.memberships.items() if membership.approved_at is not None}
    return {tenant_id: mine.merchant(tenant_id) for tenant_id in sorted(approved)}


def _new_page(request: Request, scope: Scope, mine: Joined, form: Form) -> Response:
    status = 422 if form.faults else 200
    merchants = [("", "Please choose"), *_merchants(mine).items()]
    kinds = [(kind, f"{word}: {says}") for kind, (word, says) in KINDS.items()]
    return page(request, scope, "affiliate/dispute_new.html", status=status, form=form, merchants=merchants, kinds=kinds)


async def _own_file(request: Request, scope: Scope) -> File:
    return await run(_read_file, request.app.state.books, scope.affiliate_id, request.path_params["case_id"])


async def _own_page(request: Request, scope: Scope, form: Form | None = None) -> Response:
    mine, file = await joined(request, scope), await _own_file(request, scope)
    return case_page(
        request,
        scope,
        "affiliate/dispute.html",
        file.case,
        form,
        steps=file.steps,
        merchant=mine.merchant(file.case.tenant_id),
        stood=as_it_stood(file.evidence.seen_by_affiliate),
        own=scope.affiliate_id,
        actions=actions_of(file.case, "affiliate"),
    )


def _read_file(books: Books, affiliate_id: str, case_id: str) -> File:
    with books.reading() as connection:
        case = case_of_affiliate(connection, affiliate_id, case_id)
        if case is None:
            raise NotFound(f"there is no case {case_id}")
        return File(case, steps_of(connection, case.tenant_id, case_id), evidence_of(connection, case.tenant_id, case_id))


def _cases(books: Books, affiliate_id: str) -> list[Case]:
    with books.reading() as connection:
        return cases_of_affiliate(connection, affiliate_id, ROWS)


routes: list[BaseRoute] = [
    Route("/affiliate/disputes", disputes, methods=["GET"]),
    Route("/affiliate/disputes", ask, methods=["POST"]),
    Route("/affiliate/disputes/new", new, methods=["GET"]),
    Route("/affiliate/disputes/{case_id}", dispute, methods=["GET"]),
    Route("/affiliate/disputes/{case_id}/answer", answer, methods=["POST"]),
    Route("/affiliate/disputes/{case_id}/withdraw", withdraw, methods=["POST"]),
]
