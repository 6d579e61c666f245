"""The merchant's affiliates: who waits, who is in, what each brought and cost; approve, decline, suspend, let back in."""

from typing import Literal, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Affiliate, Catalogue, Membership
from core.clock import DAY, Instant
from core.errors import Conflict, NotFound
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import change, check, own_catalogue
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.events import EventsStore, read_query
from store.reports import earned_by_affiliate

BROUGHT = read_query(__file__, "merchant_affiliates")
PERIOD = 30 * DAY

Action = Literal["approve", "decline", "suspend", "reinstate", "software", "not_software"]
ACTIONS: tuple[Action, ...] = get_args(Action)
DONE: dict[Action, str] = {
    "approve": "{} may earn from now on.",
    "decline": "{} was declined.",
    "suspend": "{} was suspended: clicks from now on earn nothing.",
    "reinstate": "{} may earn again.",
    "software": "{} works inside the browser from now on: it stands down for others' clicks where a policy says so.",
    "not_software": "{} counts like any other affiliate again.",
}


class Joined(msgspec.Struct, frozen=True):
    """A membership with its numbers: clicks and credited orders of the last 30 days, earned in all by currency."""

    affiliate: Affiliate
    membership: Membership
    programme_name: str
    clicks: int
    orders: int
    earned: dict[str, int]
    actions: tuple[Action, ...]


@role("merchant")
async def affiliates(request: Request, scope: Scope) -> Response:
    """GET /merchant/affiliates."""
    return await _list_page(request, scope, await own_catalogue(request, scope))


@role("merchant")
async def decide_membership(request: Request, scope: Scope) -> Response:
    """POST /merchant/affiliates: one action on one membership; 409 where its status does not allow it (any more)."""
    form = await read_form(request)
    action: Action = form.choice("action", ACTIONS) or "approve"  # type: ignore[assignment]  # one of the list, or a fault
    key = form.slug("programme_id"), form.slug("affiliate_id")
    if form.faults:
        return redirect("/merchant/affiliates", "Nothing was changed: the form did not say what to do.")
    at = request.app.state.clock()
    await change(request, scope, Membership, *key, edit=lambda before: acted(before, action, at))
    return redirect("/merchant/affiliates", DONE[action].format(key[1]))


@role("merchant")
async def set_terms(request: Request, scope: Scope) -> Response:
    """POST /merchant/affiliates/terms: the group of a member, and who recruited it. What was booked before stays as it is."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    key = form.raw("programme_id"), form.raw("affiliate_id")
    before = next((one for one in catalogue.memberships if (one.programme_id, one.affiliate_id) == key), None)
    if before is None:
        raise NotFound("there is no such membership")

    group, recruited_by = form.text("group", required=False), form.text("recruited_by", required=False)
    after = msgspec.structs.replace(before, group=group, recruited_by=recruited_by)
    check(form, after, catalogue)
    if form.faults:
        return await _list_page(request, scope, catalogue, form, status=422)

    def edit(stored: Membership) -> Membership:
        return msgspec.structs.replace(stored, group=group, recruited_by=recruited_by)

    await change(request, scope, Membership, *key, edit=edit)
    return redirect("/merchant/affiliates", f"{before.affiliate_id} was saved. Orders that are booked from now on follow it.")


def terms_form(membership: Membership) -> Form:
    """A member's group and recruiter as they are."""
    return Form.of(group=membership.group, recruited_by=membership.recruited_by)


def actions_of(membership: Membership) -> tuple[Action, ...]:
    """What may be done to a membership now."""
    if membership.status == "applied":
        return ("approve", "decline")
    kind: Action = "not_software" if membership.software else "software"
    if membership.status == "approved":
        return ("suspend", kind)
    return ("reinstate", kind) if membership.approved_at is not None else ("approve", kind)


def acted(membership: Membership, action: Action, at: Instant) -> Membership:
    """The membership after ``action`` at ``at``.

    To reinstate is to undo a suspension: it keeps ``approved_at``, so that nothing earned before is ever lost, and touches
    made during the suspension count again.

    Raises:
        Conflict: the action does not fit the status, as when two people pressed at once.
    """
    if action not in actions_of(membership):
        raise Conflict(f"cannot {action} {membership.affiliate_id}: the membership is {membership.status}; look at the list again")
    if action == "approve":
        return msgspec.structs.replace(membership, status="approved", approved_at=at, suspended_at=None)
    if action in ("software", "not_software"):
        return msgspec.structs.replace(membership, software=action == "software")
    if action == "reinstate":
        return msgspec.structs.replace(membership, status="approved", suspended_at=None)
    return msgspec.structs.replace(membership, status="suspended", suspended_at=at)


def read_joined(books: Books, events: EventsStore, catalogue: Catalogue, tenant_id: str, at: Instant) -> list[Joined]:
    """Every membership of the tenant, those who brought most orders first."""
    brought = {
        (programme_id, affiliate_id): (clicks, orders)
        for programme_id, affiliate_id, clicks, orders in events.select(BROUGHT, tenant_id=tenant_id, from_ms=at - PERIOD, to_ms=at + 1)
    }
    earned: dict[tuple[str, str], dict[str, int]] = {}
    with books.reading() as connection:
        for row in earned_by_affiliate(connection, tenant_id):
            earned.setdefault((row.programme_id, row.affiliate_id), {})[row.currency] = row.amount_minor
    return _joined(catalogue, brought, earned)


def _joined(
    catalogue: Catalogue, brought: dict[tuple[str, str], tuple[int, int]], earned: dict[tuple[str, str], dict[str, int]]
) -> list[Joined]:
    names = {programme.programme_id: programme.name for programme in catalogue.programmes}
    people = {affiliate.affiliate_id: affiliate for affiliate in catalogue.affiliates}
    rows = []
    for membership in catalogue.memberships:
        key = (membership.programme_id, membership.affiliate_id)
        clicks, orders = brought.get(key, (0, 0))
        person, name = people[membership.affiliate_id], names[membership.programme_id]
        rows.append(Joined(person, membership, name, clicks, orders, earned.get(key, {}), actions_of(membership)))
    return sorted(rows, key=lambda row: (-row.orders, -row.clicks, row.affiliate.name, row.membership.programme_id))


async def _list_page(request: Request, scope: Scope, catalogue: Catalogue, typed: Form | None = None, status: int = 200) -> Response:
    """The page; ``typed`` stands in for the form of the member that it names."""
    state = request.app.state
    rows = await run(read_joined, state.books, state.events, catalogue, scope.tenant_id, state.clock())
    keys = [(row.membership.programme_id, row.membership.affiliate_id) for row in rows]
    forms = {key: terms_form(row.membership) for key, row in zip(keys, rows, strict=True)}
    if typed is not None:
        forms[typed.raw("programme_id"), typed.raw("affiliate_id")] = typed
    return page(
        request,
        scope,
        "merchant/affiliates.html",
        status=status,
        waiting=[row for row in rows if row.membership.status == "applied"],
        others=[row for row in rows if row.membership.status != "applied"],
        forms=forms,
        groups=sorted({row.membership.group for row in rows} - {""}),
        members=_members(rows),
    )


def _members(rows: list[Joined]) -> dict[str, list[tuple[str, str]]]:
    """Those of each programme, as a form offers them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (row.affiliate.name, row.affiliate.affiliate_id)):
        found.setdefault(row.membership.programme_id, []).append((row.affiliate.affiliate_id, row.affiliate.name))
    return found


routes: list[BaseRoute] = [
    Route("/merchant/affiliates", affiliates, methods=["GET"]),
    Route("/merchant/affiliates", decide_membership, methods=["POST"]),
    Route("/merchant/affiliates/terms", set_terms, methods=["POST"]),
]
