"""How a programme attributes: the policy in force, its history, and the form of the next version."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import NOUNS, default_policy, sentences
from core.catalogue import Catalogue, Policy, Programme, version_at
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import check, own_catalogue, own_programme, write_version
from portal.merchant_policy_form import CLASSES, HOURS, PLACES, policy_form, read_classes
from portal.merchant_versions import newest_version, read_effective_from, timeline, tomorrow
from portal.page import page, redirect
from portal.sessions import role


@role("merchant")
async def policy(request: Request, scope: Scope) -> Response:
    """GET /merchant/programmes/{programme_id}/policy."""
    catalogue = await own_catalogue(request, scope)
    return _policy_page(request, scope, catalogue, own_programme(request, catalogue))


@role("merchant")
async def write_policy(request: Request, scope: Scope) -> Response:
    """POST to the same: the policy read back in plain words, or the next version."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    programme = own_programme(request, catalogue)
    draft = read_policy(request, form, catalogue, programme)
    if form.faults:
        return _policy_page(request, scope, catalogue, programme, form, status=422)
    if form.raw("action") == "check":
        return _policy_page(request, scope, catalogue, programme, form, draft)
    number = await write_version(request, scope, draft)
    return redirect(request.url.path, f"Version {number} of the policy was written.")


def read_policy(request: Request, form: Form, catalogue: Catalogue, programme: Programme) -> Policy:
    """The draft of a form; its faults are noted on the form."""
    begins = read_effective_from(form, request.app.state.clock())
    number = newest_version(policies_of(catalogue, programme)) + 1
    policy = Policy(programme.tenant_id, programme.programme_id, number, begins, classes=read_classes(form))
    if not form.faults:
        check(form, policy, catalogue)
    return policy


def policies_of(catalogue: Catalogue, programme: Programme) -> tuple[Policy, ...]:
    return tuple(policy for policy in catalogue.policies if policy.programme_id == programme.programme_id)


def _policy_page(
    request: Request,
    scope: Scope,
    catalogue: Catalogue,
    programme: Programme,
    form: Form | None = None,
    draft: Policy | None = None,
    status: int = 200,
) -> Response:
    at, policies = request.app.state.clock(), policies_of(catalogue, programme)
    newest = max(policies, key=lambda policy: policy.version, default=None)
    current = version_at(policies, at) or default_policy(programme.tenant_id, programme.programme_id)
    return page(
        request,
        scope,
        "merchant/policy.html",
        status=status,
        programme=programme,
        current=current,
        sentences=sentences(current),
        history_spans=[(span, sentences(span.version)) for span in timeline(policies, at)],
        form=form or policy_form((newest or current).classes, effective_from=tomorrow(at) if newest else ""),
        draft=draft,
        draft_sentences=sentences(draft) if draft else (),
        classes=CLASSES,
        nouns=NOUNS,
        places=list(PLACES.items()),
        units=[(unit, unit) for unit in HOURS],
    )


routes: list[BaseRoute] = [
    Route("/merchant/programmes/{programme_id}/policy", policy, methods=["GET"]),
    Route("/merchant/programmes/{programme_id}/policy", write_policy, methods=["POST"]),
]
