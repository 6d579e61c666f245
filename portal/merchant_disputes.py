"""The merchant answers its affiliates' cases: asks back, declines, or gives the order to the affiliate by an override."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.disputes import KINDS, actions_of, next_state, why_not_accept
from attribution.explain import Explanation, explain
from attribution.policy import default_policy
from core.catalogue import Affiliate, Policy
from core.clock import Instant
from core.credit import Credit, Override
from core.errors import Conflict, NotFound
from core.scope import Scope
from payouts.forecast import Amounts, forecast
from payouts.orders import Verdict
from portal.disputes import STATES, as_it_stood, case_page, read_message, take_step
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.catalogue import find, memberships_of
from store.disputes import (
    LIVE,
    Action,
    Case,
    Evidence,
    State,
    Step,
    add_step,
    case_of_tenant,
    cases_of_order,
    cases_of_tenant,
    count_by_state,
    evidence_of,
    steps_of,
)
from store.events import EventsStore
from store.overrides import next_version, put_override
from store.reports import payees

ROWS = 200
PARTS: dict[str, tuple[State, ...]] = {"": LIVE, "answered": ("valid", "declined", "withdrawn")}
ACTIONS: dict[str, Action] = {"accept": "accepted", "decline": "declined", "ask": "asked"}
SENT: dict[Action, str] = {
    "accepted": "Accepted. The order is decided anew in a moment, and the difference is booked.",
    "declined": "The case was declined.",
    "asked": "Your question was sent.",
}


class File(msgspec.Struct, frozen=True):
    """A case with all that the merchant knows of it. ``now`` is the order's decision in force; ``hindrance`` why it cannot be accepted.

    ``would_book`` is what accepting it posts, by (affiliate, currency). ``others`` are other cases about the same order.
    """

    case: Case
    steps: list[Step]
    evidence: Evidence
    names: dict[str, str]
    now: Explanation | None
    hindrance: str
    would_book: Amounts
    others: list[Case]

    def name(self, affiliate_id: str) -> str:
        return self.names.get(affiliate_id, affiliate_id)


@role("merchant")
async def disputes(request: Request, scope: Scope) -> Response:
    """GET /merchant/disputes?part=|answered: the one that waits longest first."""
    part = request.query_params.get("part", "")
    part = part if part in PARTS else ""
    cases, counts, names = await run(_cases, request.app.state.books, scope.tenant_id, PARTS[part])
    return page(
        request, scope, "merchant/disputes.html", cases=cases, counts=counts, names=names, part=part, states=STATES, kinds=KINDS, live=LIVE
    )


@role("merchant")
async def dispute(request: Request, scope: Scope) -> Response:
    """GET /merchant/disputes/{case_id}."""
    return _file_page(request, scope, await _file(request, scope))


@role("merchant")
async def answer(request: Request, scope: Scope) -> Response:
    """POST /merchant/disputes/{case_id}/answer: ``action`` is accept, decline or ask, with a ``message``."""
    state, form, file = request.app.state, await read_form(request), await _file(request, scope)
    action = ACTIONS.get(form.choice("action", ACTIONS), "declined")
    message = read_message(form, required=action != "accepted")
    if action == "accepted" and file.hindrance:
        form.fault("", file.hindrance)
    if form.faults:
        return _file_page(request, scope, file, form)
    if action == "accepted":
        await run(accept, state.books, file, message, scope.user_id, state.clock())
    else:
        await run(take_step, state.books, file.case, "merchant", action, message, scope.user_id, state.clock())
    return redirect(f"/merchant/disputes/{file.case.case_id}", SENT[action])


def accept(books: Books, file: File, message: str, by: str, at: Instant) -> None:
    """Give the whole order to the affiliate: the answer and the override in one transaction.

    Raises:
        Conflict: the case or the order was decided by somebody else meanwhile.
    """
    case = file.case
    state = next_state(case, "merchant", "accepted")
    if state is None:
        raise Conflict(f"this case is {STATES[case.state][0].lower()}, so that it cannot be accepted now; load it again")
    reason = (message or "The claim was found to be right.")[:1024]
    with books.writing() as connection:
        version = next_version(connection, case.tenant_id, case.order_id)
        override = Override(case.order_id, version, case.affiliate_id, reason, by, at, case.case_id)
        put_override(connection, case.tenant_id, override)
        if not add_step(connection, case, Step(case.steps + 1, "merchant", "accepted", message, by, at), state, version):
            raise Conflict("somebody answered this case at the same moment; load it again and look")


def read_file(books: Books, events: EventsStore, tenant_id: str, case_id: str, at: Instant) -> File:
    """A tenant's case with the order as it stands at ``at``.

    Raises:
        NotFound: the tenant has no such case.
    """
    with books.reading() as connection:
        case = case_of_tenant(connection, tenant_id, case_id)
        if case is None:
            raise NotFound(f"there is no case {case_id}")
        steps, evidence = steps_of(connection, tenant_id, case_id), evidence_of(connection, tenant_id, case_id)
        names = {affiliate_id: payee.name for affiliate_id, payee in payees(connection, tenant_id).items()}
        member_of = [one.programme_id for one in memberships_of(connection, case.affiliate_id, tenant_id)]
        others = [one for one in cases_of_order(connection, tenant_id, case.order_id) if one.case_id != case_id]
        if case.affiliate_id not in names and (affiliate := find(connection, Affiliate, case.affiliate_id)):
            names[case.affiliate_id] = affiliate.name
    now = explain(events, tenant_id, case.order_id)
    hindrance = why_not_accept(now, _policy_of(books, now), member_of, case.affiliate_id, at) if case.live else ""
    would_book = _would_book(books, events, case, now, at) if case.live and now and not hindrance else {}
    return File(case, steps, evidence, names, now, hindrance, would_book, others)


def _would_book(books: Books, events: EventsStore, case: Case, now: Explanation, at: Instant) -> Amounts:
    """What the whole credit for the affiliate would post."""
    credits = (Credit(case.affiliate_id, "", 1, 1),)
    customer = (now.customer_status, now.segments, now.order_number, now.first_ordered_at)
    verdict = Verdict(now.revision + 1, now.programme_id, now.policy_version, "manual_override", credits, "", *customer)
    found = forecast(books, events, case.tenant_id, {case.order_id: verdict}, at)
    return found[case.order_id].difference if case.order_id in found else {}


def _policy_of(books: Books, now: Explanation | None) -> Policy | None:
    """The version that decided; None where no programme takes the order."""
    if now is None or not now.programme_id:
        return None
    with books.reading() as connection:
        found = find(connection, Policy, now.tenant_id, now.programme_id, now.policy_version)
    return found or default_policy(now.tenant_id, now.programme_id)


async def _file(request: Request, scope: Scope) -> File:
    state = request.app.state
    return await run(read_file, state.books, state.events, scope.tenant_id, request.path_params["case_id"], state.clock())


def _file_page(request: Request, scope: Scope, file: File, form: Form | None = None) -> Response:
    return case_page(
        request,
        scope,
        "merchant/dispute.html",
        file.case,
        form,
        file=file,
        stood=as_it_stood(file.evidence.seen_by_merchant),
        actions=actions_of(file.case, "merchant"),
    )


def _cases(books: Books, tenant_id: str, states: tuple[State, ...]) -> tuple[list[Case], dict[str, int], dict[str, str]]:
    with books.reading() as connection:
        names = {affiliate_id: payee.name for affiliate_id, payee in payees(connection, tenant_id).items()}
        return cases_of_tenant(connection, tenant_id, states, ROWS), count_by_state(connection, tenant_id), names


routes: list[BaseRoute] = [
    Route("/merchant/disputes", disputes, methods=["GET"]),
    Route("/merchant/disputes/{case_id}", dispute, methods=["GET"]),
    Route("/merchant/disputes/{case_id}/answer", answer, methods=["POST"]),
]
