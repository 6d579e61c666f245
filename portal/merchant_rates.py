"""What a programme pays: the rate card in force, its history, and the form of the next version."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue, Programme, RateCard, version_at
from core.flaws import DAYS_LIMIT
from core.scope import Scope
from payouts.rate_card import rank, sentence
from portal.forms import Form, read_form
from portal.merchant_catalogue import check, own_catalogue, own_programme, write_version
from portal.merchant_rate_form import CUSTOMERS, MOST_RULES, PAYS, add_rows, count_rows, rate_form, read_rules
from portal.merchant_versions import newest_version, read_effective_from, timeline, tomorrow
from portal.page import page, redirect
from portal.sessions import role

HOLD_DAYS = 30
"""Proposed for a first version: the time for returns that the trade commonly waits."""


@role("merchant")
async def rates(request: Request, scope: Scope) -> Response:
    """GET /merchant/programmes/{programme_id}/rates."""
    catalogue = await own_catalogue(request, scope)
    return _rates_page(request, scope, catalogue, own_programme(request, catalogue))


@role("merchant")
async def write_rates(request: Request, scope: Scope) -> Response:
    """POST to the same: one more row, the rules read back in plain words; the next version only where the action says ``write``."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    programme = own_programme(request, catalogue)
    if form.raw("action") == "row":
        add_rows(form, 1)
        return _rates_page(request, scope, catalogue, programme, form)

    draft = read_rate_card(request, form, catalogue, programme)
    if form.faults:
        return _rates_page(request, scope, catalogue, programme, form, status=422)
    if form.raw("action") != "write":
        return _rates_page(request, scope, catalogue, programme, form, draft)
    number = await write_version(request, scope, draft)
    return redirect(request.url.path, f"Version {number} of the rate card was written.")


def read_rate_card(request: Request, form: Form, catalogue: Catalogue, programme: Programme) -> RateCard:
    """The draft of a form; its faults are noted on the form."""
    card = RateCard(
        programme.tenant_id,
        programme.programme_id,
        newest_version(cards_of(catalogue, programme)) + 1,
        read_effective_from(form, request.app.state.clock()),
        form.whole("hold_days", 0, DAYS_LIMIT),
        read_rules(form, currency_of(catalogue)),
    )
    if not form.faults:
        check(form, card, catalogue)
    return card


def cards_of(catalogue: Catalogue, programme: Programme) -> tuple[RateCard, ...]:
    return tuple(card for card in catalogue.rate_cards if card.programme_id == programme.programme_id)


def currency_of(catalogue: Catalogue) -> str:
    """The tenant's currency, in which fixed amounts are paid."""
    return catalogue.tenants[0].currency


def rate_sentences(card: RateCard | None, currency: str) -> list[str]:
    """One sentence for each rule, in the order in which the rules are tried."""
    return [sentence(rule, currency) for rule in sorted(card.rules, key=rank)] if card else []


def _rates_page(
    request: Request,
    scope: Scope,
    catalogue: Catalogue,
    programme: Programme,
    form: Form | None = None,
    draft: RateCard | None = None,
    status: int = 200,
) -> Response:
    at, cards, currency = request.app.state.clock(), cards_of(catalogue, programme), currency_of(catalogue)
    newest = max(cards, key=lambda card: card.version, default=None)
    editing = form is not None
    if form is None:
        hold_days = str(newest.hold_days if newest else HOLD_DAYS)
        form = rate_form(newest.rules if newest else (), currency, hold_days=hold_days, effective_from=tomorrow(at) if newest else "")
    current = version_at(cards, at)
    return page(
        request,
        scope,
        "merchant/rates.html",
        status=status,
        programme=programme,
        currency=currency,
        current=current,
        sentences=rate_sentences(current, currency),
        history_spans=[(span, rate_sentences(span.version, currency)) for span in timeline(cards, at)],
        form=form,
        editing=editing,
        rows=range(count_rows(form)),
        most_rows=count_rows(form) >= MOST_RULES,
        draft=draft,
        draft_sentences=rate_sentences(draft, currency),
        pays=list(PAYS.items()),
        customers=list(CUSTOMERS.items()),
        segments=[segment.segment_id for segment in catalogue.segments],
    )


routes: list[BaseRoute] = [
    Route("/merchant/programmes/{programme_id}/rates", rates, methods=["GET"]),
    Route("/merchant/programmes/{programme_id}/rates", write_rates, methods=["POST"]),
]
