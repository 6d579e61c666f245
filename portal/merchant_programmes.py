"""The merchant's programmes: the list, one with the rules in force, and its form."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import sentences
from core.catalogue import Catalogue, Policy, Programme, RateCard, version_at
from core.clock import Instant
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import change, check, create, own_catalogue, own_programme
from portal.merchant_links import caps_form, read_caps
from portal.merchant_policy import policy_in_force
from portal.merchant_rates import cards_of, currency_of, rate_sentences
from portal.merchant_versions import typed_instant
from portal.page import page, redirect
from portal.sessions import role


class Summary(msgspec.Struct, frozen=True):
    """A programme in the list: who is in it, and the versions in force now (policy version 0 is the default's)."""

    programme: Programme
    approved: int
    waiting: int
    policy: Policy
    rate_card: RateCard | None


@role("merchant")
async def programmes(request: Request, scope: Scope) -> Response:
    """GET /merchant/programmes."""
    catalogue = await own_catalogue(request, scope)
    return _list_page(request, scope, catalogue, Form())


@role("merchant")
async def add_programme(request: Request, scope: Scope) -> Response:
    """POST /merchant/programmes: a new programme, without rules: the next pages write those."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    programme_id = form.slug("programme_id")
    programme = read_programme(form, catalogue, scope.tenant_id, programme_id)
    if not await create(request, scope, programme, form, "programme_id"):
        return _list_page(request, scope, catalogue, form, status=422)
    return redirect(f"/merchant/programmes/{programme_id}", f"{programme.name} was added. Now write its policy and its rate card.")


@role("merchant")
async def programme(request: Request, scope: Scope) -> Response:
    """GET /merchant/programmes/{programme_id}: what it is, and its rules in force in plain words."""
    catalogue = await own_catalogue(request, scope)
    return _programme_page(request, scope, catalogue, own_programme(request, catalogue))


@role("merchant")
async def edit_programme(request: Request, scope: Scope) -> Response:
    """POST /merchant/programmes/{programme_id}: change name, landing page, hosts, stores or caps."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    before = own_programme(request, catalogue)
    after = read_programme(form, catalogue, scope.tenant_id, before.programme_id)
    if form.faults:
        return _programme_page(request, scope, catalogue, before, form, status=422)
    await change(request, scope, Programme, before.programme_id, edit=lambda _before: after)
    return redirect(f"/merchant/programmes/{before.programme_id}", "The programme was saved.")


def read_programme(form: Form, catalogue: Catalogue, tenant_id: str, programme_id: str) -> Programme:
    """The programme of a form; its faults are noted on the form."""
    programme = Programme(
        tenant_id,
        programme_id,
        form.text("name"),
        form.text("landing_url", longest=2048),
        tuple(host.lower() for host in form.lines("hosts")),
        tuple(sorted(form.many("stores", [store.store_id for store in catalogue.stores]))),
        *read_caps(form),
        segments=tuple(sorted(form.many("segments", [segment.segment_id for segment in catalogue.segments]))),
        starts_at=form.instant("starts_at", required=False),
        ends_at=form.instant("ends_at", required=False),
    )
    check(form, programme, catalogue)
    return programme


def summaries(catalogue: Catalogue, at: Instant) -> list[Summary]:
    """Every programme with its numbers of members and the versions in force at ``at``."""
    return [_summary(programme, catalogue, at) for programme in catalogue.programmes]


def _summary(programme: Programme, catalogue: Catalogue, at: Instant) -> Summary:
    statuses = [joined.status for joined in catalogue.memberships if joined.programme_id == programme.programme_id]
    return Summary(
        programme,
        statuses.count("approved"),
        statuses.count("applied"),
        policy_in_force(catalogue, programme, at),
        version_at(cards_of(catalogue, programme), at),
    )


def store_options(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Ids and names, as a form offers them."""
    return [(store.store_id, store.name) for store in catalogue.stores]


def segment_options(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Ids and names, as a form offers them."""
    return [(segment.segment_id, segment.name) for segment in catalogue.segments]


def programme_form(programme: Programme) -> Form:
    """The form of a programme as it is."""
    form = caps_form(programme)
    own = {"name": [programme.name], "landing_url": [programme.landing_url], "hosts": ["\n".join(programme.hosts)]}
    own |= {"stores": list(programme.stores), "segments": list(programme.segments)}
    own |= {name: [typed_instant(at)] for name in ("starts_at", "ends_at") if (at := getattr(programme, name)) is not None}
    form.values |= own
    return form


def _list_page(request: Request, scope: Scope, catalogue: Catalogue, form: Form, status: int = 200) -> Response:
    rows, options = summaries(catalogue, request.app.state.clock()), (store_options(catalogue), segment_options(catalogue))
    return page(request, scope, "merchant/programmes.html", status=status, rows=rows, stores=options[0], segments=options[1], form=form)


def _programme_page(
    request: Request, scope: Scope, catalogue: Catalogue, programme: Programme, form: Form | None = None, status: int = 200
) -> Response:
    summary = _summary(programme, catalogue, request.app.state.clock())
    return page(
        request,
        scope,
        "merchant/programme.html",
        status=status,
        summary=summary,
        programme=programme,
        stores=store_options(catalogue),
        segments=segment_options(catalogue),
        policy_sentences=sentences(summary.policy),
        rate_sentences=rate_sentences(summary.rate_card, currency_of(catalogue)),
        form=form or programme_form(programme),
    )


routes: list[BaseRoute] = [
    Route("/merchant/programmes", programmes, methods=["GET"]),
    Route("/merchant/programmes", add_programme, methods=["POST"]),
    Route("/merchant/programmes/{programme_id}", programme, methods=["GET"]),
    Route("/merchant/programmes/{programme_id}", edit_programme, methods=["POST"]),
]
