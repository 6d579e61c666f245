"""The analyst's report: orders and their value by one dimension, filtered, as chart, table and CSV. Its rows sum to the whole."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Catalogue
from core.clock import DAY, Instant, as_datetime, start_of_day
from core.credit import Result
from core.events import CHANNELS
from core.flaws import STATUSES
from core.money import allocate, format_amount
from core.scope import Scope
from payouts.cells import csv_bytes
from portal import analyst_models, analyst_orders
from portal.chart import Chart, Plot, bar, chart, plot
from portal.forms import Form, read_query_form
from portal.merchant_catalogue import own_catalogue
from portal.page import page, run
from portal.sessions import role
from portal.words import label, money
from store.events import EventsStore, read_query

CONVERSIONS = read_query(__file__, "analyst_conversions")
PERIOD = 30 * DAY
LONGEST_PERIOD = 3 * 366 * DAY
ROWS = 200
"""On the page; the file has them all, and so have the totals."""

DIMENSIONS = {
    "day": "Day",
    "channel": "Channel",
    "store": "Store",
    "programme": "Programme",
    "affiliate": "Affiliate",
    "country": "Customer's country",
    "device": "Device of the winning touch",
    "coupon": "Coupon",
    "customer": "Customer status",
    "segment": "Segment",
    "result": "Result",
    "category": "Category of the line",
}
NOBODY = {
    "channel": "Not said",
    "store": "No store named",
    "programme": "No programme, or not decided yet",
    "affiliate": "Unattributed",
    "country": "Unknown",
    "device": "Unattributed",
    "coupon": "No coupon",
    "customer": "Unknown",
    "segment": "In no segment",
    "category": "No category",
}
"""What the row with an empty key is called. It is always there where it holds anything, so that the rows sum to the whole."""
RESULTS = ("pending", *get_args(Result))
FILTERS = ("programme_id", "channel", "store_id", "affiliate_id", "result", "customer_status", "segment")


class Question(msgspec.Struct, frozen=True):
    """What is asked: orders placed in ``[from_at, to_at)``, by ``dimension``; an empty filter lets everything through."""

    dimension: str
    from_at: Instant
    to_at: Instant
    programme_id: str = ""
    channel: str = ""
    store_id: str = ""
    affiliate_id: str = ""
    result: str = ""
    customer_status: str = ""
    segment: str = ""


class Row(msgspec.Struct, frozen=True):
    """One value of the dimension in one currency; amounts are net, in minor units. ``length`` is its bar's, of 1000."""

    key: str
    name: str
    currency: str
    orders: int
    net_minor: int
    refunded_minor: int
    length: int = 0

    @property
    def kept_minor(self) -> int:
        """What refunds left."""
        return self.net_minor - self.refunded_minor


class Report(msgspec.Struct, frozen=True):
    """``totals``: one row per currency, asked for on their own; the rows' amounts sum to them."""

    question: Question
    rows: tuple[Row, ...]
    totals: tuple[Row, ...]

    @property
    def has_refunds(self) -> bool:
        """Refunds name orders and lines, not categories."""
        return self.question.dimension != "category"


@role("analyst")
async def conversions(request: Request, scope: Scope) -> Response:
    """GET /analyst?by=channel&from=&to=&programme_id=…: the report as a page."""
    state, catalogue, form = request.app.state, await own_catalogue(request, scope), read_query_form(request)
    question = read_question(form, catalogue, state.clock())
    report = Report(question, (), ())
    if not form.faults:
        report = await run(read_report, state.events, scope.tenant_id, question, names_of(question.dimension, catalogue))
    return page(
        request,
        scope,
        "analyst/conversions.html",
        status=422 if form.faults else 200,
        form=form,
        report=report,
        rows=report.rows[:ROWS],
        more=max(len(report.rows) - ROWS, 0),
        title=DIMENSIONS[question.dimension],
        dimensions=[(name, text, _address(form, by=name)) for name, text in DIMENSIONS.items()],
        options=options_of(catalogue),
        chart=daily_chart(report) if question.dimension == "day" else None,
        csv=_address(form, "/analyst/conversions.csv"),
        filtered=any(form.raw(name) for name in FILTERS),
    )


@role("analyst")
async def conversions_file(request: Request, scope: Scope) -> Response:
    """GET /analyst/conversions.csv with the same parameters: the same rows and their totals."""
    state, catalogue, form = request.app.state, await own_catalogue(request, scope), read_query_form(request)
    question = read_question(form, catalogue, state.clock())
    if form.faults:
        return Response("\n".join(f"{field}: {text}" for field, text in form.faults.items()), 422, media_type="text/plain")
    report = await run(read_report, state.events, scope.tenant_id, question, names_of(question.dimension, catalogue))
    name = f"conversions-by-{question.dimension}-{_day(question.from_at)}-{_day(question.to_at - DAY)}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(report_csv(report), media_type="text/csv; charset=utf-8", headers=headers)


def read_question(form: Form, catalogue: Catalogue, at: Instant) -> Question:
    """The question of a query string: by day and over the last 30 days where it says nothing. Faults are noted on the form."""
    dimension = form.choice("by", DIMENSIONS, required=False) or "day"
    first, last = form.date("from", required=False), form.date("to", required=False)
    to_at = (start_of_day(at) if last is None else last) + DAY
    from_at = to_at - PERIOD if first is None else first
    if not 0 < to_at - from_at <= LONGEST_PERIOD:
        form.fault("from", "The first day must not lie after the last, nor more than three years before it.")
    choices = {name: form.choice(name, [value for value, _ in options], required=False) for name, options in options_of(catalogue).items()}
    form.values |= {"by": [dimension], "from": [form.raw("from") or _day(from_at)], "to": [form.raw("to") or _day(to_at - DAY)]}
    return Question(dimension, from_at, to_at, **choices)


def options_of(catalogue: Catalogue) -> dict[str, list[tuple[str, str]]]:
    """What each filter can be set to: value and text, "all" first."""
    choices: dict[str, Iterable[tuple[str, str]]] = {
        "programme_id": ((one.programme_id, one.name) for one in catalogue.programmes),
        "channel": ((channel, label(channel)) for channel in CHANNELS),
        "store_id": ((one.store_id, one.name) for one in catalogue.stores),
        "affiliate_id": ((one.affiliate_id, one.name) for one in catalogue.affiliates),
        "result": ((result, label(result)) for result in RESULTS),
        "customer_status": ((status, label(status)) for status in STATUSES),
        "segment": ((one.segment_id, one.name) for one in catalogue.segments),
    }
    return {name: [("", "All"), *options] for name, options in choices.items()}


def read_report(events: EventsStore, tenant_id: str, question: Question, name_of: Callable[[str], str]) -> Report:
    """Ask the events store, once for the rows and once for the totals; ``name_of`` says a key in words."""
    params = {field: getattr(question, field) for field in FILTERS} | {"from_ms": question.from_at, "to_ms": question.to_at}
    asked, whole = (
        add_up(events.select_named(CONVERSIONS, tenant_id=tenant_id, dimension=dimension, **params))
        for dimension in (question.dimension, "")
    )
    highest = max((row.orders for row in asked), default=0)
    named = [msgspec.structs.replace(row, name=name_of(row.key), length=bar(row.orders, highest)) for row in asked]
    return Report(question, tuple(arrange(question.dimension, named)), tuple(whole))


def add_up(found: Iterable[dict[str, Any]]) -> list[Row]:
    """One row per key and currency. Orders that several affiliates share are split exactly, then rounded so that the rows
    of a currency still sum to its total (largest remainder).
    """
    shares: dict[tuple[str, str], list[Fraction]] = {}
    orders: dict[tuple[str, str], int] = {}
    for one in found:
        key, share = (one["key"], one["currency"]), Fraction(one["numerator"], one["denominator"])
        sums = shares.setdefault(key, [Fraction(0), Fraction(0)])
        sums[0] += share * one["net_minor"]
        sums[1] += share * one["refunded_minor"]
        orders[key] = orders.get(key, 0) + one["orders"]
    rows = []
    for currency in sorted({currency for _, currency in shares}):
        keys = [key for key in shares if key[1] == currency]
        nets, refunds = (whole_parts([shares[key][column] for key in keys]) for column in (0, 1))
        rows += [Row(key[0], "", currency, orders[key], net, refund) for key, net, refund in zip(keys, nets, refunds, strict=True)]
    return rows


def whole_parts(parts: Sequence[Fraction]) -> list[int]:
    """Exact parts of a whole number of minor units, as whole numbers with the same sum."""
    if all(part.denominator == 1 for part in parts):
        return [int(part) for part in parts]
    return allocate(int(sum(parts, Fraction(0))), parts)


def arrange(dimension: str, rows: Iterable[Row]) -> list[Row]:
    """Days in time; everything else by orders, most first. What belongs to nobody comes last."""
    if dimension == "day":
        return sorted(rows, key=lambda row: (row.key, row.currency))
    return sorted(rows, key=lambda row: (row.key == "", -row.orders, -row.net_minor, row.name, row.currency))


def names_of(dimension: str, catalogue: Catalogue) -> Callable[[str], str]:
    """How a dimension's keys are said in words; a key that the catalogue does not know stands for itself.

    An order in several segments is in the row of all of them together, so that the rows still sum to the whole.
    """
    known: dict[str, dict[str, str]] = {
        "store": {one.store_id: one.name for one in catalogue.stores},
        "programme": {one.programme_id: one.name for one in catalogue.programmes},
        "affiliate": {one.affiliate_id: one.name for one in catalogue.affiliates},
    }
    segments = {one.segment_id: one.name for one in catalogue.segments}
    terms = dimension in ("channel", "device", "customer", "result")

    def name_of(key: str) -> str:
        if not key:
            return NOBODY.get(dimension, "")
        if dimension == "day":
            return f"{date.fromisoformat(key):%a %d %b %Y}"
        if dimension == "segment":
            return " + ".join(segments.get(one, one) for one in key.split(" + "))
        return label(key) if terms else known.get(dimension, {}).get(key, key)

    return name_of


def daily_chart(report: Report) -> Chart | None:
    """Orders and net value of every day, quiet days included; None for a period of one day, or of more than a year."""
    question = report.question
    if not DAY < question.to_at - question.from_at <= 366 * DAY:
        return None
    days = [_day(at) for at in range(question.from_at, question.to_at, DAY)]
    orders = plot("Orders", days, _by_day(days, report.rows, lambda row: row.orders), shape="columns", unit="order")
    return chart("Day by day", days, [*(_value_plot(days, report, total.currency) for total in report.totals), orders])


def report_csv(report: Report) -> bytes:
    """The rows and their totals as a file; amounts as decimals in the currency beside them."""
    head = ("key", report.question.dimension, "currency", "orders", "net", *(("refunded", "kept") if report.has_refunds else ()))
    rows = [(row.key, row.name or row.key, *_cells(row, report.has_refunds)) for row in report.rows]
    totals = [("", "total", *_cells(row, report.has_refunds)) for row in report.totals]
    return csv_bytes([head, *rows, *totals])


def _cells(row: Row, with_refunds: bool) -> tuple[str | int, ...]:
    amounts = (row.net_minor, row.refunded_minor, row.kept_minor) if with_refunds else (row.net_minor,)
    return (row.currency, row.orders, *(format_amount(minor, row.currency) for minor in amounts))


def _value_plot(days: Sequence[str], report: Report, currency: str) -> Plot:
    nets = _by_day(days, (row for row in report.rows if row.currency == currency), lambda row: row.net_minor)
    return plot("Net value", days, nets, write=lambda minor: money(minor, currency))


def _by_day(days: Iterable[str], rows: Iterable[Row], figure: Callable[[Row], int]) -> list[int]:
    figures = dict.fromkeys(days, 0)
    for row in rows:
        figures[row.key] += figure(row)
    return list(figures.values())


def _day(at: Instant) -> str:
    return f"{as_datetime(at):%Y-%m-%d}"


def _address(form: Form, path: str = "/analyst", **change: str) -> str:
    """This report with ``change``, or as a file."""
    query = {name: form.raw(name) for name in ("by", "from", "to", *FILTERS)} | change
    return f"{path}?{urlencode({name: value for name, value in query.items() if value})}"


navigation: tuple[tuple[str, str], ...] = (
    ("Conversions", "/analyst"),
    ("Orders", "/analyst/orders"),
    ("Models", "/analyst/models"),
    ("Conservation", "/analyst/conservation"),
)
routes: list[BaseRoute] = [
    Route("/analyst", conversions, methods=["GET"]),
    Route("/analyst/conversions.csv", conversions_file, methods=["GET"]),
    *analyst_orders.routes,
    *analyst_models.routes,
]
