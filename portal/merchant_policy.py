"""How a programme attributes: the policies in force, their history, and the form of the next version."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import NOUNS, default_policy, sentences
from core.catalogue import Catalogue, Policy, Programme, version_at
from core.clock import Instant
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import check, own_catalogue, own_programme, write_version
from portal.merchant_policy_form import (
    COUPON_RULES,
    DIRECT_RULES,
    GUARDS,
    HOURS,
    MODELS,
    NO_WINDOW,
    PAID_RULES,
    PLACES,
    SELF_REFERRALS,
    opened,
    policy_form,
    read_policy,
    shown_classes,
)
from portal.merchant_versions import Span, newest_version, read_effective_from, timeline, tomorrow
from portal.page import page, redirect
from portal.sessions import role


class InForce(msgspec.Struct, frozen=True):
    """A policy in force now, for orders in one segment or, where ``segment`` is empty, for every other order."""

    segment: str
    policy: Policy
    sentences: tuple[str, ...]


@role("merchant")
async def policy(request: Request, scope: Scope) -> Response:
    """GET /merchant/programmes/{programme_id}/policy."""
    catalogue = await own_catalogue(request, scope)
    return _policy_page(request, scope, catalogue, own_programme(request, catalogue))


@role("merchant")
async def write_policy(request: Request, scope: Scope) -> Response:
    """POST to the same: the policy read back in plain words; the next version only where the action says ``write``."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    programme = own_programme(request, catalogue)
    draft = read_draft(form, catalogue, programme, request.app.state.clock())
    if form.faults:
        return _policy_page(request, scope, catalogue, programme, form, status=422)
    if form.raw("action") != "write":
        return _policy_page(request, scope, catalogue, programme, form, draft)
    number = await write_version(request, scope, draft)
    return redirect(request.url.path, f"Version {number} of the policy was written.")


def read_draft(form: Form, catalogue: Catalogue, programme: Programme, at: Instant) -> Policy:
    """The next version as a form has it, sent at ``at``; its faults are noted on the form."""
    number = newest_version(policies_of(catalogue, programme)) + 1
    segments = [segment.segment_id for segment in catalogue.segments]
    draft = read_policy(form, programme.tenant_id, programme.programme_id, number, read_effective_from(form, at), segments)
    if not form.faults:
        check(form, draft, catalogue)
    return draft


def policies_of(catalogue: Catalogue, programme: Programme, segment: str | None = None) -> tuple[Policy, ...]:
    """Every version of a programme's policies, or those for one segment; those for every other order where it is empty."""
    own = (policy for policy in catalogue.policies if policy.programme_id == programme.programme_id)
    return tuple(policy for policy in own if segment is None or policy.segment == segment)


def policy_in_force(catalogue: Catalogue, programme: Programme, at: Instant) -> Policy:
    """What decides an order placed at ``at`` that is in no segment; version 0 is the default's."""
    standing = version_at(policies_of(catalogue, programme, ""), at)
    return standing or default_policy(programme.tenant_id, programme.programme_id)


def in_force(catalogue: Catalogue, programme: Programme, at: Instant) -> list[InForce]:
    """The policies in force at ``at``: those of segments by id, in which order they are asked, then everybody's."""
    segments = sorted({policy.segment for policy in policies_of(catalogue, programme) if policy.segment})
    standing = [version_at(policies_of(catalogue, programme, segment), at) for segment in segments]
    every = [*(policy for policy in standing if policy), policy_in_force(catalogue, programme, at)]
    return [InForce(policy.segment, policy, sentences(policy)) for policy in every]


def history(catalogue: Catalogue, programme: Programme, at: Instant) -> list[Span[Policy]]:
    """Every version with its span, newest first; the versions for one segment replace one another only."""
    segments = sorted({policy.segment for policy in policies_of(catalogue, programme)})
    spans = [span for segment in segments for span in timeline(policies_of(catalogue, programme, segment), at)]
    return sorted(spans, key=lambda span: -span.version.version)


def _policy_page(
    request: Request,
    scope: Scope,
    catalogue: Catalogue,
    programme: Programme,
    form: Form | None = None,
    draft: Policy | None = None,
    status: int = 200,
) -> Response:
    at = request.app.state.clock()
    standing, spans = in_force(catalogue, programme, at), history(catalogue, programme, at)
    if form is None:
        newest = max(policies_of(catalogue, programme, ""), key=lambda policy: policy.version, default=standing[-1].policy)
        form = policy_form(newest, effective_from=tomorrow(at) if spans else "")
    names = {segment.segment_id: segment.name for segment in catalogue.segments}
    shown, folded = shown_classes(form)
    return page(
        request,
        scope,
        "merchant/policy.html",
        status=status,
        programme=programme,
        standing=standing,
        history_spans=[(span, sentences(span.version)) for span in spans],
        form=form,
        draft=draft,
        draft_sentences=sentences(draft) if draft else (),
        segment_names=names,
        segments=[("", "all other orders"), *names.items()],
        shown=shown,
        folded=folded,
        opened=opened(form),
        nouns=NOUNS,
        no_window=NO_WINDOW,
        places=list(PLACES.items()),
        units=[(unit, unit) for unit in HOURS],
        models=[(name, title, about) for name, (title, about) in MODELS.items()],
        coupon_rules=list(COUPON_RULES.items()),
        guards=list(GUARDS.items()),
        paid_rules=list(PAID_RULES.items()),
        direct_rules=list(DIRECT_RULES.items()),
        self_referrals=list(SELF_REFERRALS.items()),
    )


routes: list[BaseRoute] = [
    Route("/merchant/programmes/{programme_id}/policy", policy, methods=["GET"]),
    Route("/merchant/programmes/{programme_id}/policy", write_policy, methods=["POST"]),
]
