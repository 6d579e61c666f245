"""What a programme pays: the rate card in force, its history, and the form of the next version."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue, Programme, RateCard, Rule, version_at
from core.catalogue_rules import flaws_of
from core.errors import Conflict
from core.flaws import Known, known_of
from core.scope import Scope
from payouts.rate_words import Tried, card_sentences, precedence, sentence, terms
from portal import merchant_preview
from portal.forms import Form, read_form
from portal.merchant_catalogue import own_catalogue, own_programme, write_version
from portal.merchant_rate_choices import choices
from portal.merchant_rate_form import Typed, add_row, holds, rate_form, read_rate_card, said_at, spell_out
from portal.merchant_rate_rows import RuleRow, open_groups, part_rows, rule_rows
from portal.merchant_rule_form import SUBJECTS, part_of, sources_of
from portal.merchant_versions import newest_version, read_effective_from, timeline, tomorrow
from portal.page import page, redirect
from portal.sessions import role

HOLD_DAYS = 30
"""Proposed for a first version: the time for returns that the trade commonly waits."""


class Words(msgspec.Struct, frozen=True):
    """A card as people read it: for each subject its rules in the order of trial, each with the reason for its place; then what holds
    beside them.
    """

    tried: list[tuple[str, list[tuple[Tried, str]]]]
    terms: list[str]


@role("merchant")
async def rates(request: Request, scope: Scope) -> Response:
    """GET /merchant/programmes/{programme_id}/rates."""
    catalogue = await own_catalogue(request, scope)
    return _rates_page(request, scope, catalogue, own_programme(request, catalogue))


@role("merchant")
async def write_rates(request: Request, scope: Scope) -> Response:
    """POST to the same: a row more, the rules read back in plain words, tried on past orders; the next version only where the action
    says ``write``.
    """
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    programme, action = own_programme(request, catalogue), form.raw("action")
    changed = _change_rows(form, action, catalogue, programme)
    if changed:
        return _rates_page(request, scope, catalogue, programme, form, opened=changed)

    draft = read_draft(request, form, catalogue, programme)
    if form.faults:
        return _rates_page(request, scope, catalogue, programme, form, status=422)
    if action == "write":
        number = await write_version(request, scope, draft)
        return redirect(request.url.path, f"Version {number} of the rate card was written.")
    if action != "preview":
        return _rates_page(request, scope, catalogue, programme, form, draft)
    try:
        preview = await merchant_preview.preview(request, scope, draft)
    except Conflict as error:
        form.fault("", f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return _rates_page(request, scope, catalogue, programme, form, draft, status=409)
    return _rates_page(request, scope, catalogue, programme, form, draft, preview=preview)


def read_draft(request: Request, form: Form, catalogue: Catalogue, programme: Programme) -> RateCard:
    """The draft of a form; its faults are noted on the form, each at the field that it is about."""
    cards, key = cards_of(catalogue, programme), (programme.tenant_id, programme.programme_id)
    start = RateCard(*key, newest_version(cards) + 1, read_effective_from(form, request.app.state.clock()), 0, ())
    typed = read_rate_card(form, start, currency_of(catalogue), cards)
    note_flaws(form, typed, known_of(catalogue))
    return typed.card


def note_flaws(form: Form, typed: Typed, known: Known) -> None:
    """Note on the form what is wrong with a card among the tenant's other records.

    A row that has a fault already is left alone: what could not be read is not in the card.
    """
    unread = {part_of(field) for field in form.faults}
    for flaw in flaws_of(typed.card, known):
        field = typed.field_of(flaw)
        if field in form.faults or (part_of(field) and part_of(field) in unread):
            continue
        text = said_at(field, flaw)
        form.fault(field, f"{text[:1].upper()}{text[1:]}.")


def cards_of(catalogue: Catalogue, programme: Programme) -> tuple[RateCard, ...]:
    return tuple(card for card in catalogue.rate_cards if card.programme_id == programme.programme_id)


def currency_of(catalogue: Catalogue) -> str:
    """The tenant's currency, in which fixed amounts are paid."""
    return catalogue.tenants[0].currency


def rate_sentences(card: RateCard | None, currency: str) -> list[str]:
    """One sentence for each rule, in the order in which the rules are tried, and for what holds beside them."""
    return card_sentences(card, currency) if card else []


def words_of(card: RateCard, currency: str) -> Words:
    def told(tried: Iterable[Tried]) -> list[tuple[Tried, str]]:
        return [(one, sentence(one.rule, currency)) for one in tried]

    groups = groupby(precedence(card), key=lambda one: one.rule.subject)
    return Words([(SUBJECTS[subject], told(tried)) for subject, tried in groups], terms(card, currency))


def _change_rows(form: Form, action: str, catalogue: Catalogue, programme: Programme) -> str:
    """Do what a button asks for that changes the form alone; returns which part of the page it was, empty for any other button."""
    verb, _, what = action.partition(" ")
    if verb == "add":
        return add_row(form, what) or "rules"
    if verb == "change":
        return spell_out(form, what, currency_of(catalogue), cards_of(catalogue, programme)) or "rules"
    return ""


def _rates_page(
    request: Request,
    scope: Scope,
    catalogue: Catalogue,
    programme: Programme,
    form: Form | None = None,
    draft: RateCard | None = None,
    *,
    opened: str = "",
    preview: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    at, cards, currency = request.app.state.clock(), cards_of(catalogue, programme), currency_of(catalogue)
    current, editing = version_at(cards, at), form is not None
    form, is_whole = (form, True) if form is not None else _first_form(programme, cards, currency, at)
    return page(
        request,
        scope,
        "merchant/rates.html",
        status=status,
        programme=programme,
        currency=currency,
        current=current,
        current_words=words_of(current, currency) if current else None,
        history_spans=[(span, rate_sentences(span.version, currency)) for span in timeline(cards, at)],
        form=form,
        is_whole=is_whole,
        editing=editing,
        groups=open_groups(form, opened),
        rows=_rule_rows(form, catalogue, programme, currency, cards, opened),
        limits=part_rows(form, "limit"),
        bonuses=part_rows(form, "bonus"),
        draft=draft,
        draft_words=words_of(draft, currency) if draft else None,
        preview=preview,
        choices=choices(catalogue, programme),
    )


def _first_form(programme: Programme, cards: tuple[RateCard, ...], currency: str, at: int) -> tuple[Form, bool]:
    """The form that starts from the newest version, and whether it holds all of it."""
    newest = max(cards, key=lambda card: card.version, default=None)
    start = newest or RateCard(programme.tenant_id, programme.programme_id, 0, at, HOLD_DAYS, ())
    form = rate_form(start, currency, effective_from=tomorrow(at) if newest else "")
    return form, holds(form, start, currency)


def _rule_rows(
    form: Form, catalogue: Catalogue, programme: Programme, currency: str, cards: Sequence[RateCard], opened: str
) -> list[RuleRow]:
    """The rows of the form, each with its rule in plain words where it can be told."""
    known = known_of(catalogue)

    def told(rule: Rule) -> str:
        card = RateCard(programme.tenant_id, programme.programme_id, 1, 0, 0, (rule,))
        return "" if flaws_of(card, known) else sentence(rule, currency)

    return rule_rows(form, currency, sources_of(cards), told, opened)


routes: list[BaseRoute] = [
    Route("/merchant/programmes/{programme_id}/rates", rates, methods=["GET"]),
    Route("/merchant/programmes/{programme_id}/rates", write_rates, methods=["POST"]),
]
