"""The merchant's segments: groups of orders, defined by conditions, for policies, programmes, rate cards and reports."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue, Condition, Segment
from core.catalogue_rules import flaws_of
from core.errors import NotFound
from core.flaws import known_of
from core.scope import Scope
from core.segments import ORDER_FIELDS
from portal.entries import read_list, typed_list
from portal.forms import Form, read_form
from portal.merchant_catalogue import change, check, create, own_catalogue
from portal.page import page, redirect
from portal.sessions import role
from portal.words import label

MOST_CONDITIONS = 20
SPARE_ROWS = 2
FIELDS = (*ORDER_FIELDS, "account_type", "region", "loyalty_tier", "lead_source", "age_group", "gender")
"""Proposed to whoever types; any other attribute that the shop sends can be asked as well."""


@role("merchant")
async def segments(request: Request, scope: Scope) -> Response:
    """GET /merchant/segments."""
    return _list_page(request, scope, await own_catalogue(request, scope), conditions_form(()))


@role("merchant")
async def add_segment(request: Request, scope: Scope) -> Response:
    """POST /merchant/segments: one more row, or a new segment."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    if form.raw("action") == "row":
        add_rows(form, 1)
        return _list_page(request, scope, catalogue, form, editing=True)
    segment = read_segment(form, catalogue, scope.tenant_id, form.slug("segment_id"))
    if not await create(request, scope, segment, form, "segment_id"):
        return _list_page(request, scope, catalogue, form, status=422)
    return redirect("/merchant/segments", f"{segment.name} was added. Policies, programmes and rate cards can name it now.")


@role("merchant")
async def segment(request: Request, scope: Scope) -> Response:
    """GET /merchant/segments/{segment_id}: its conditions, and what names it."""
    catalogue = await own_catalogue(request, scope)
    found = _own_segment(request, catalogue)
    return _segment_page(request, scope, catalogue, found, conditions_form(found.conditions, name=found.name))


@role("merchant")
async def edit_segment(request: Request, scope: Scope) -> Response:
    """POST /merchant/segments/{segment_id}: one more row, or other conditions. The id stays: policies name it."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    found = _own_segment(request, catalogue)
    if form.raw("action") == "row":
        add_rows(form, 1)
        return _segment_page(request, scope, catalogue, found, form)
    after = read_segment(form, catalogue, scope.tenant_id, found.segment_id)
    if form.faults:
        return _segment_page(request, scope, catalogue, found, form, status=422)
    await change(request, scope, Segment, found.segment_id, edit=lambda _before: after)
    return redirect("/merchant/segments", f"{after.name} was saved.")


def read_segment(form: Form, catalogue: Catalogue, tenant_id: str, segment_id: str) -> Segment:
    """The segment of a form; its faults are noted on the form."""
    rows = [row for row in range(count_rows(form)) if form.raw(f"field_{row}").strip() or form.raw(f"values_{row}").strip()]
    conditions = tuple(Condition(form.text(f"field_{row}", longest=64), read_list(form, f"values_{row}")) for row in rows)
    made = Segment(tenant_id, segment_id, form.text("name"), conditions)
    if not conditions:
        form.fault("conditions", "Please write at least one condition: every order would be in this segment.")
    if not form.faults:
        _check_rows(form, dict(zip((one.field for one in conditions), rows, strict=True)), made, catalogue)
    if not form.faults:
        check(form, made, catalogue)
    return made


def _check_rows(form: Form, rows: dict[str, int], made: Segment, catalogue: Catalogue) -> None:
    """Note what is wrong with a condition beside it. ``rows`` is where each field was typed."""
    for flaw in flaws_of(made, known_of(catalogue)):
        field, _, message = flaw.message.partition(": ")
        if flaw.field == "conditions" and field in rows:
            where = "field" if "is not a field" in message else "values"
            form.fault(f"{where}_{rows[field]}", f"{message[:1].upper()}{message[1:]}.")


def conditions_form(conditions: tuple[Condition, ...], **more: str) -> Form:
    """Conditions as a person would type them, and some blank rows."""
    form = Form.of(**more)
    for row, condition in enumerate(conditions):
        form.values |= {f"field_{row}": [condition.field], f"values_{row}": [typed_list(condition.values)]}
    add_rows(form, SPARE_ROWS)
    return form


def add_rows(form: Form, count: int) -> None:
    """Append blank rows, up to ``MOST_CONDITIONS`` in all."""
    have = count_rows(form)
    for row in range(have, min(have + count, MOST_CONDITIONS)):
        form.values[f"field_{row}"] = [""]


def count_rows(form: Form) -> int:
    """Rows are numbered from 0 without gaps; what lies behind a gap, or beyond ``MOST_CONDITIONS``, is not read."""
    return next((row for row in range(MOST_CONDITIONS) if f"field_{row}" not in form.values), MOST_CONDITIONS)


def sentence(segment: Segment) -> str:
    """A segment in plain words: "account_type is b2b, and country is AT or DE"."""
    return ", and ".join(f"{condition.field} is {_listed(condition.values)}" for condition in segment.conditions)


def users_of(segment_id: str, catalogue: Catalogue) -> list[tuple[str, str]]:
    """What names a segment, newest versions only: text and address."""
    found: list[tuple[str, str]] = []
    for programme in catalogue.programmes:
        address = f"/merchant/programmes/{programme.programme_id}"
        if segment_id in programme.segments:
            found.append((f"the programme {programme.name}", address))
        if any(one.segment == segment_id for one in catalogue.policies if one.programme_id == programme.programme_id):
            found.append((f"a policy of {programme.name}", f"{address}/policy"))
        cards = [card for card in catalogue.rate_cards if card.programme_id == programme.programme_id]
        newest = max(cards, key=lambda card: card.version, default=None)
        if newest and any(segment_id in rule.segments for rule in newest.rules):
            found.append((f"the rate card of {programme.name}", f"{address}/rates"))
    return found


def _listed(values: tuple[str, ...]) -> str:
    head, last = values[:-1], values[-1]
    return f"{', '.join(head)} or {last}" if head else last


def _own_segment(request: Request, catalogue: Catalogue) -> Segment:
    wanted = request.path_params["segment_id"]
    found = next((one for one in catalogue.segments if one.segment_id == wanted), None)
    if found is None:
        raise NotFound(f"there is no segment {wanted}")
    return found


def _list_page(request: Request, scope: Scope, catalogue: Catalogue, form: Form, editing: bool = False, status: int = 200) -> Response:
    rows = [(one, sentence(one), users_of(one.segment_id, catalogue)) for one in catalogue.segments]
    return page(request, scope, "merchant/segments.html", status=status, rows=rows, editing=editing, **_form_facts(form))


def _segment_page(request: Request, scope: Scope, catalogue: Catalogue, found: Segment, form: Form, status: int = 200) -> Response:
    users = users_of(found.segment_id, catalogue)
    return page(request, scope, "merchant/segment.html", status=status, segment=found, users=users, **_form_facts(form))


def _form_facts(form: Form) -> dict[str, Any]:
    return {
        "form": form,
        "form_rows": range(count_rows(form)),
        "most_rows": count_rows(form) >= MOST_CONDITIONS,
        "fields": [(name, label(name)) for name in FIELDS],
    }


routes: list[BaseRoute] = [
    Route("/merchant/segments", segments, methods=["GET"]),
    Route("/merchant/segments", add_segment, methods=["POST"]),
    Route("/merchant/segments/{segment_id}", segment, methods=["GET"]),
    Route("/merchant/segments/{segment_id}", edit_segment, methods=["POST"]),
]
