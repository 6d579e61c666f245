"""Attribution models side by side, for the analyst: who would have earned what, and how customers came. Nothing is changed by it."""

from collections.abc import Callable
from fractions import Fraction
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.comparison import DIMENSIONS, DIRECT, MODELS, NOBODY, PAID, SPANS, Comparison, Credited, Dimension, Journey, Line, compare
from attribution.observed import LONGEST_PERIOD, read_journeys, read_missed
from attribution.paths import Path
from core.catalogue import Catalogue
from core.clock import DAY, Instant, as_datetime, start_of_day
from core.errors import BadInput
from core.money import format_amount
from core.scope import Scope
from payouts.cells import csv_bytes
from portal.chart import bar
from portal.flow import Flow, flow
from portal.forms import Form, read_query_form
from portal.merchant_catalogue import own_catalogue
from portal.page import page, run
from portal.sessions import role
from portal.words import duration, label, money, number
from store.events import EventsStore

PERIOD = 30 * DAY
ROWS = 15
"""Of the commonest paths; the picture draws them all."""
MOST_ORDERS = 50_000
"""A page must answer within seconds; ``fairshare models`` takes twenty times as many."""
FIGURES = {"value": "Value", "orders": "Orders"}
NULLS = {"count": "Count them", "leave": "Leave them out"}
ORDERS = {"1": "1 touch", "2": "2 touches in a row", "3": "3 touches in a row"}
NAMES = {
    "as_decided": "As decided",
    "last": "Last",
    "first": "First",
    "last_non_direct": "Last non-direct",
    "linear": "Linear",
    "position": "Position",
    "time_decay": "Time decay",
    "shapley": "Shapley",
    "markov": "Markov",
}
SAYS = {
    "as_decided": "what the decisions in force give, under the policy of each order",
    "last": "the whole order to the last touch",
    "first": "the whole order to the first touch",
    "last_non_direct": "the last touch that is not a direct visit",
    "linear": "every touch the same",
    "position": "40 % to the first touch, 40 % to the last, 20 % to those between",
    "time_decay": "a touch a week older than another gets half as much",
    "shapley": "every affiliate or channel on the way the same, however often it was met (set Shapley)",
    "markov": "in proportion to the orders that would be lost without it (removal effect, in closed form)",
}


class Asked(msgspec.Struct, frozen=True):
    """Orders placed in ``[from_at, to_at)``; Markov's order, and whether visitors without an order count for it."""

    from_at: Instant
    to_at: Instant
    figure: str = "value"
    order: int = 1
    nulls: bool = True


class Cell(msgspec.Struct, frozen=True):
    """One model's part of a line, in words. ``is_most``: no other model gives the line more."""

    model: str
    text: str
    is_most: bool


class Shown(msgspec.Struct, frozen=True):
    """A line of a table as the page shows it."""

    name: str
    cells: tuple[Cell, ...]
    orders: int
    introduced: int
    assists: int
    closed: int
    is_nobody: bool


class Way(msgspec.Struct, frozen=True):
    """A path in words, with a bar (0 to 1000) against the commonest."""

    steps: tuple[str, ...]
    orders: int
    value: str
    length: int


class View(msgspec.Struct, frozen=True):
    """Everything about one currency, in words."""

    currency: str
    orders: str
    value: str
    met: str
    median: str
    untraced: int
    warning: str
    lines: dict[Dimension, tuple[Shown, ...]]
    totals: dict[Dimension, tuple[str, ...]]
    ways: dict[Dimension, tuple[Way, ...]]
    walked: dict[Dimension, int]
    flows: dict[Dimension, Flow | None]
    waiting: tuple[tuple[str, int, int], ...]
    overlap: tuple[tuple[str, str, int, int], ...]


@role("analyst")
async def models(request: Request, scope: Scope) -> Response:
    """GET /analyst/models?from=&to=&figure=&order=&nulls=: all models over the orders of these days (both included)."""
    state, catalogue, form = request.app.state, await own_catalogue(request, scope), read_query_form(request)
    asked = read_asked(form, state.clock())
    found: tuple[Comparison, ...] = ()
    cut = 0
    if not form.faults:
        try:
            found, cut = await run(read_comparison, state.events, scope.tenant_id, asked)
        except BadInput as error:
            form.fault("from", str(error))
    name_of = names_of(catalogue)
    return page(
        request,
        scope,
        "analyst/models.html",
        status=422 if form.faults else 200,
        form=form,
        asked=asked,
        views=[view(one, asked.figure, name_of) for one in found],
        models=[(NAMES[model], SAYS[model]) for model in MODELS],
        heads=[[name, "number"] for name in NAMES.values()],
        cut=cut,
        choices={"figure": list(FIGURES.items()), "order": list(ORDERS.items()), "nulls": list(NULLS.items())},
        csv=_address(form, "/analyst/models.csv"),
    )


@role("analyst")
async def models_file(request: Request, scope: Scope) -> Response:
    """GET /analyst/models.csv with the same parameters: one row per key and model, conversions and value."""
    state, form = request.app.state, read_query_form(request)
    catalogue, asked = await own_catalogue(request, scope), read_asked(form, state.clock())
    if form.faults:
        return Response("\n".join(f"{field}: {text}" for field, text in form.faults.items()), 422, media_type="text/plain")
    found, _ = await run(read_comparison, state.events, scope.tenant_id, asked)
    headers = {"Content-Disposition": f'attachment; filename="models-{_day(asked.from_at)}-{_day(asked.to_at - DAY)}.csv"'}
    return Response(models_csv(found, names_of(catalogue)), media_type="text/csv; charset=utf-8", headers=headers)


def read_asked(form: Form, at: Instant) -> Asked:
    """What a query string asks; the last 30 days where it says nothing. Faults are noted on the form."""
    first, last = form.date("from", required=False), form.date("to", required=False)
    to_at = (start_of_day(at) if last is None else last) + DAY
    from_at = to_at - PERIOD if first is None else first
    if not 0 < to_at - from_at <= LONGEST_PERIOD:
        form.fault("from", "The first day must not lie after the last, nor more than three years before it.")
    figure = form.choice("figure", FIGURES, required=False) or "value"
    order = form.choice("order", ORDERS, required=False) or "1"
    nulls = form.choice("nulls", NULLS, required=False) or "count"
    form.values |= {"from": [form.raw("from") or _day(from_at)], "to": [form.raw("to") or _day(to_at - DAY)]}
    form.values |= {"figure": [figure], "order": [order], "nulls": [nulls]}
    return Asked(from_at, to_at, figure, int(order), nulls == "count")


def read_comparison(events: EventsStore, tenant_id: str, asked: Asked) -> tuple[tuple[Comparison, ...], int]:
    """Every model over the tenant's journeys; and how many visitors without an order had to be left out.

    Raises:
        BadInput: more than ``MOST_ORDERS`` orders.
    """
    journeys: list[Journey] = []
    for found in read_journeys(events, tenant_id, asked.from_at, asked.to_at):
        journeys += found
        if len(journeys) > MOST_ORDERS:
            raise BadInput(
                "too_large", f"These days have more than {MOST_ORDERS:,} orders. Take fewer, or use the command fairshare models.", "from"
            )
    missed, cut = read_missed(events, tenant_id, asked.from_at, asked.to_at) if asked.nulls else (None, 0)
    return compare(journeys, missed, asked.order), cut


def names_of(catalogue: Catalogue) -> Callable[[str], str]:
    """How keys are said in words; one that the catalogue does not know stands for itself."""
    affiliates = {one.affiliate_id: one.name for one in catalogue.affiliates}

    def name_of(key: str) -> str:
        if key == NOBODY:
            return "Unattributed"
        if key.startswith(PAID):
            return f"Paid: {key.removeprefix(PAID).strip() or 'not said'}"
        return "Direct visit" if key == DIRECT else affiliates.get(key) or label(key)

    return name_of


def view(found: Comparison, figure: str, name_of: Callable[[str], str]) -> View:
    """One currency's comparison in words."""
    highest, met = max(found.waiting.counts, default=0), found.orders - found.unmet
    return View(
        currency=found.currency,
        orders=number(found.orders),
        value=money(found.value_minor, found.currency),
        met=number(met),
        median="" if found.waiting.median is None else duration(found.waiting.median),
        untraced=found.untraced,
        warning=found.warning,
        lines={
            dimension: tuple(_shown(line, figure, found.currency, name_of) for line in found.lines[dimension]) for dimension in DIMENSIONS
        },
        totals={dimension: _totals(found.lines[dimension], figure, found.currency) for dimension in DIMENSIONS},
        ways={dimension: _ways(found, dimension, name_of) for dimension in DIMENSIONS},
        walked=found.walked,
        flows={dimension: flow([(one.path, one.orders) for one in found.paths[dimension]], name_of) for dimension in DIMENSIONS},
        waiting=tuple((name, count, bar(count, highest)) for (name, _), count in zip(SPANS, found.waiting.counts, strict=True)),
        overlap=tuple((name_of(one.pair[0]), name_of(one.pair[1]), one.orders, bar(one.orders, met)) for one in found.overlap),
    )


def models_csv(found: tuple[Comparison, ...], name_of: Callable[[str], str]) -> bytes:
    """One row per dimension, key and model; conversions to six decimals, value as a decimal in the currency beside it."""
    rows: list[tuple[str | int, ...]] = [
        ("by", "key", "name", "currency", "model", "conversions", "value", "orders", "introduced", "assists", "closed")
    ]
    for one in found:
        for dimension in DIMENSIONS:
            for line in one.lines[dimension]:
                counts = (line.orders, line.introduced, line.assists, line.closed)
                for model, credited in line.models.items():
                    amounts = (f"{float(credited.conversions):.6f}", format_amount(credited.value_minor, one.currency))
                    rows.append((dimension, line.key, name_of(line.key), one.currency, model, *amounts, *counts))
    return csv_bytes(rows)


def _shown(line: Line, figure: str, currency: str, name_of: Callable[[str], str]) -> Shown:
    amounts = {model: _amount(one, figure) for model, one in line.models.items()}
    most = max(amounts.values())
    cells = tuple(
        Cell(NAMES[model], _figure(amount, figure, currency), line.key != NOBODY and 0 < amount == most)
        for model, amount in amounts.items()
    )
    return Shown(name_of(line.key), cells, line.orders, line.introduced, line.assists, line.closed, line.key == NOBODY)


def _totals(lines: tuple[Line, ...], figure: str, currency: str) -> tuple[str, ...]:
    """Of each model's column: they are all the same, which is the point."""
    return tuple(_figure(sum((_amount(line.models[model], figure) for line in lines), Fraction(0)), figure, currency) for model in MODELS)


def _amount(credited: Credited, figure: str) -> Fraction:
    return Fraction(credited.value_minor) if figure == "value" else credited.conversions


def _figure(amount: Fraction, figure: str, currency: str) -> str:
    """An amount without its currency, which the table names once; or orders to one decimal."""
    if figure == "orders":
        return f"{float(amount):,.1f}"
    whole, point, cents = format_amount(int(amount), currency).partition(".")
    return f"{int(whole):,}{point}{cents}"


def _ways(found: Comparison, dimension: Dimension, name_of: Callable[[str], str]) -> tuple[Way, ...]:
    highest = max((one.orders for one in found.paths[dimension]), default=0)

    def said(path: Path) -> tuple[str, ...]:
        return tuple(name_of(key) for key in path)

    return tuple(
        Way(said(one.path), one.orders, money(one.value_minor, found.currency), bar(one.orders, highest))
        for one in found.paths[dimension][:ROWS]
    )


def _day(at: Instant) -> str:
    return f"{as_datetime(at):%Y-%m-%d}"


def _address(form: Form, path: str) -> str:
    return f"{path}?{urlencode({name: form.raw(name) for name in ('from', 'to', 'order', 'nulls')})}"


routes: list[BaseRoute] = [
    Route("/analyst/models", models, methods=["GET"]),
    Route("/analyst/models.csv", models_file, methods=["GET"]),
]
