"""The merchant's coupons: whom each credits and from when to when; new ones, and an end for old ones."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue, Coupon
from core.clock import Instant
from core.errors import NotFound
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import check, create, own_catalogue
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.catalogue import find, put, remove

Validity = Literal["valid", "planned", "ended"]


@role("merchant")
async def coupons(request: Request, scope: Scope) -> Response:
    """GET /merchant/coupons."""
    return _list_page(request, scope, await own_catalogue(request, scope), Form())


@role("merchant")
async def add_coupon(request: Request, scope: Scope) -> Response:
    """POST /merchant/coupons."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    coupon = read_coupon(form, catalogue, scope.tenant_id)
    if not await create(request, scope, coupon, form, "code"):
        return _list_page(request, scope, catalogue, form, status=422)
    return redirect("/merchant/coupons", f"{coupon.code} credits {coupon.affiliate_id}.")


@role("merchant")
async def end_coupon(request: Request, scope: Scope) -> Response:
    """POST /merchant/coupons/end: orders from now on are not credited by it; past orders keep their credit."""
    form, state = await read_form(request), request.app.state
    code = form.text("code", longest=64)
    await run(_end, state.books, scope.tenant_id, code, scope.user_id, state.clock())
    return redirect("/merchant/coupons", f"{code} has ended.")


@role("merchant")
async def set_class(request: Request, scope: Scope) -> Response:
    """POST /merchant/coupons/class: another class for a code, or none. What was booked before keeps what it was booked with."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    code, coupon_class = form.text("code", longest=64), form.text("coupon_class", required=False)
    before = next((coupon for coupon in catalogue.coupons if coupon.code == code), None)
    if before is None:
        raise NotFound(f"there is no coupon {code}")
    check(form, msgspec.structs.replace(before, coupon_class=coupon_class), catalogue)
    if form.faults:
        return redirect("/merchant/coupons", f"Nothing was changed. {next(iter(form.faults.values()))}")
    await run(_classify, request.app.state.books, scope, code, coupon_class, request.app.state.clock())
    return redirect("/merchant/coupons", f"{code} is {f'of the class {coupon_class}' if coupon_class else 'of no class'} now.")


def read_coupon(form: Form, catalogue: Catalogue, tenant_id: str) -> Coupon:
    """The coupon of a form; its faults are noted on the form. The owner is a member of the programme."""
    code = form.text("code", longest=64).upper()
    programme_id = form.choice("programme_id", [programme.programme_id for programme in catalogue.programmes])
    affiliate_id = form.choice("affiliate_id", [affiliate.affiliate_id for affiliate in catalogue.affiliates])
    if programme_id and affiliate_id and not _is_approved(catalogue, programme_id, affiliate_id):
        form.fault("affiliate_id", "This affiliate is not approved in the programme: the coupon would credit nobody.")
    valid_from, valid_to = form.instant("valid_from", required=False), form.instant("valid_to", required=False)
    if valid_from is not None and valid_to is not None and valid_to <= valid_from:
        form.fault("valid_to", "The end must lie after the beginning.")
    coupon = Coupon(
        tenant_id,
        code,
        programme_id,
        affiliate_id,
        valid_from,
        valid_to,
        form.checked("exclusive"),
        form.text("coupon_class", required=False),
    )
    check(form, coupon, catalogue)
    return coupon


def _is_approved(catalogue: Catalogue, programme_id: str, affiliate_id: str) -> bool:
    return any(
        (joined.programme_id, joined.affiliate_id, joined.status) == (programme_id, affiliate_id, "approved")
        for joined in catalogue.memberships
    )


def validity(coupon: Coupon, at: Instant) -> Validity:
    """Whether orders at ``at`` are credited, not yet, or no more."""
    if coupon.valid_at(at):
        return "valid"
    return "planned" if coupon.valid_from is not None and at < coupon.valid_from else "ended"


def _end(books: Books, tenant_id: str, code: str, changed_by: str, at: Instant) -> None:
    """End a coupon at ``at``; one that has not begun, and so never credited anybody, is removed."""
    with books.writing() as connection:
        coupon = find(connection, Coupon, tenant_id, code)
        if coupon is None:
            raise NotFound(f"there is no coupon {code}")
        if coupon.valid_from is not None and coupon.valid_from >= at:
            remove(connection, Coupon, tenant_id, code, changed_by=changed_by, at=at)
        elif coupon.valid_to is None or coupon.valid_to > at:
            put(connection, msgspec.structs.replace(coupon, valid_to=at), changed_by, at)


def _classify(books: Books, scope: Scope, code: str, coupon_class: str, at: Instant) -> None:
    with books.writing() as connection:
        coupon = find(connection, Coupon, scope.tenant_id, code)
        if coupon is None:
            raise NotFound(f"there is no coupon {code}")
        put(connection, msgspec.structs.replace(coupon, coupon_class=coupon_class), scope.user_id, at)


def _list_page(request: Request, scope: Scope, catalogue: Catalogue, form: Form, status: int = 200) -> Response:
    at = request.app.state.clock()
    names = {affiliate.affiliate_id: affiliate.name for affiliate in catalogue.affiliates}
    order: tuple[Validity, ...] = ("valid", "planned", "ended")
    rows = [(coupon, names[coupon.affiliate_id], validity(coupon, at)) for coupon in catalogue.coupons]
    return page(
        request,
        scope,
        "merchant/coupons.html",
        status=status,
        rows=sorted(rows, key=lambda row: (order.index(row[2]), row[0].code)),
        form=form,
        classes=sorted({coupon.coupon_class for coupon in catalogue.coupons} - {""}),
        programme_names={programme.programme_id: programme.name for programme in catalogue.programmes},
        programmes=[(programme.programme_id, programme.name) for programme in catalogue.programmes],
        affiliates=[(affiliate.affiliate_id, affiliate.name) for affiliate in catalogue.affiliates],
    )


routes: list[BaseRoute] = [
    Route("/merchant/coupons", coupons, methods=["GET"]),
    Route("/merchant/coupons", add_coupon, methods=["POST"]),
    Route("/merchant/coupons/class", set_class, methods=["POST"]),
    Route("/merchant/coupons/end", end_coupon, methods=["POST"]),
]
