"""Why an order was credited as it was: the journey as a picture, the decision, and the money that followed.

Staff see all of it. An affiliate sees its own touches and commissions, and that others were there; orders that none of
its touches came near do not exist for it.
"""

from itertools import pairwise

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.decisions import read_orders
from attribution.explain import OTHER, Explanation, Finding, explain, for_affiliate
from attribution.policy import NOUNS, default_policy, sentences
from core.catalogue import Affiliate, Policy, Programme
from core.clock import SECOND, Instant
from core.credit import ELIGIBLE
from core.errors import NotFound
from core.events import Order
from core.scope import Scope
from payouts.commissions import Explained, Standing, commissions_of_order, standings
from portal.affiliate_catalogue import joined
from portal.page import page, run
from portal.sessions import role
from portal.words import duration
from store.books import Books
from store.catalogue import find
from store.events import EventsStore, read_query

REFUNDS = read_query(__file__, "order_refunds")
STRIP_WIDTH = 640
STRIP_MARGIN = 16
MANY_STOPS = 30
"""A journey of more stops shows the most telling ones; the others are folded away."""


class Stop(msgspec.Struct, frozen=True):
    """One stop of the journey, in time: a candidate, or the order itself (``finding`` None). ``x`` is its place on the strip.

    ``gap`` is the time since the stop that is shown before, in words; empty for the first. ``what`` is the touch's class as people say it.
    """

    at: Instant
    finding: Finding | None
    x: int
    gap: str
    who: str
    what: str


class Journey(msgspec.Struct, frozen=True):
    """The stops to show in time, and of a long journey those that are folded away."""

    stops: list[Stop]
    aside: list[Stop]


class Refunded(msgspec.Struct, frozen=True):
    """Money that went back. ``net_minor`` None: everything that remained."""

    refund_id: str
    refunded_at: Instant
    currency: str
    net_minor: int | None
    reason: str


class Dossier(msgspec.Struct, frozen=True):
    """An order with all that followed. ``explanation`` None: it is not decided yet. ``names`` are the affiliates' names."""

    order: Order
    explanation: Explanation | None
    policy: Policy | None
    programme: Programme | None
    refunds: tuple[Refunded, ...]
    booked: tuple[Explained, ...]
    names: dict[str, str]

    @property
    def net_minor(self) -> int:
        return sum(line.net_minor for line in self.order.lines)

    @property
    def standings(self) -> dict[str, list[Standing]]:
        """What each line earns now, by line id."""
        by_line: dict[str, list[Standing]] = {}
        for standing in standings(self.booked):
            by_line.setdefault(standing.line_id, []).append(standing)
        return by_line

    @property
    def earned(self) -> dict[str, int]:
        """All commissions of the order by currency, refunds taken off."""
        sums: dict[str, int] = {}
        for row in self.booked:
            sums[row.commission.currency] = sums.get(row.commission.currency, 0) + row.commission.amount_minor
        return sums

    @property
    def rules(self) -> tuple[str, ...]:
        """The policy that decided, in plain words; empty where no programme takes the order."""
        return sentences(self.policy) if self.policy else ()

    def name(self, affiliate_id: str) -> str:
        """An affiliate as people call it; "another affiliate" stays that."""
        return self.names.get(affiliate_id, affiliate_id)


@role("merchant", "analyst", "finance")
async def order(request: Request, scope: Scope) -> Response:
    """GET /orders/{order_id}: everything about one of the tenant's orders, decided or not."""
    state = request.app.state
    dossier = await run(read_dossier, state.books, state.events, scope.tenant_id, request.path_params["order_id"])
    return page(request, scope, "orders/order.html", tab=f"/{scope.role}/orders", dossier=dossier, journey=journey_of(dossier))


@role("affiliate")
async def own_order(request: Request, scope: Scope) -> Response:
    """GET /affiliate/conversions/{tenant_id}/{order_id}: the same as far as it is the affiliate's business, others masked."""
    state, mine = request.app.state, await joined(request, scope)
    tenant_id, order_id = request.path_params["tenant_id"], request.path_params["order_id"]
    if tenant_id not in mine.tenants:
        raise NotFound(f"there is no order {order_id}")
    dossier = await run(read_own_dossier, state.books, state.events, tenant_id, order_id, scope.affiliate_id)
    return page(
        request,
        scope,
        "orders/own_order.html",
        dossier=dossier,
        journey=journey_of(dossier),
        own=scope.affiliate_id,
        merchant=mine.merchant(tenant_id),
    )


def read_dossier(books: Books, events: EventsStore, tenant_id: str, order_id: str) -> Dossier:
    """All that both stores know of an order.

    Raises:
        NotFound: the tenant has no such order.
    """
    orders = read_orders(events, tenant_id, [order_id])
    if not orders:
        raise NotFound(f"there is no order {order_id}")
    explanation = explain(events, tenant_id, order_id)
    refunds = [Refunded(*row) for row in events.select(REFUNDS, tenant_id=tenant_id, order_id=order_id)]
    with books.reading() as connection:
        booked = commissions_of_order(connection, tenant_id, order_id)
        programme_id = explanation.programme_id if explanation else ""
        programme = find(connection, Programme, tenant_id, programme_id) if programme_id else None
        policy = find(connection, Policy, tenant_id, programme_id, explanation.policy_version) if explanation and programme else None
        ids = {finding.affiliate_id for finding in explanation.candidates} if explanation else set()
        ids |= {row.commission.affiliate_id for row in booked if row.commission.affiliate_id}
        found = [find(connection, Affiliate, affiliate_id) for affiliate_id in sorted(ids)]
    if policy is None and programme is not None:
        policy = default_policy(tenant_id, programme.programme_id)
    names = {affiliate.affiliate_id: affiliate.name for affiliate in found if affiliate}
    return Dossier(orders[0], explanation, policy, programme, tuple(refunds), tuple(booked), names)


def read_own_dossier(books: Books, events: EventsStore, tenant_id: str, order_id: str, affiliate_id: str) -> Dossier:
    """What one affiliate may see of an order.

    Raises:
        NotFound: there is no such order, or it is none of the affiliate's business. Both take as long.
    """
    if not read_part(books, events, tenant_id, order_id, affiliate_id)[1]:
        raise NotFound(f"there is no order {order_id}")
    return masked(read_dossier(books, events, tenant_id, order_id), affiliate_id)


def read_part(books: Books, events: EventsStore, tenant_id: str, order_id: str, affiliate_id: str) -> tuple[Explanation | None, bool]:
    """An order's explanation, whole, and whether the affiliate has a part in the order: a candidate, a credit, or a commission.

    The stores are asked the same whether there is such an order or not: how long an affiliate waits must not tell it.
    """
    told = explain(events, tenant_id, order_id)
    with books.reading() as connection:
        booked = commissions_of_order(connection, tenant_id, order_id)
    own = told is not None and for_affiliate(told, affiliate_id) is not None
    return told, own or any(row.commission.affiliate_id == affiliate_id for row in booked)


def masked(dossier: Dossier, affiliate_id: str) -> Dossier:
    """What one affiliate may see: its own touches and commissions, the lines that it earns from, nobody else's name.

    Without an explanation, none of its touches is a candidate any more, but it once earned from the order.

    Raises:
        NotFound: neither is the case: it cannot tell that the order exists.
    """
    explanation = for_affiliate(dossier.explanation, affiliate_id) if dossier.explanation else None
    booked = tuple(row for row in dossier.booked if row.commission.affiliate_id == affiliate_id)
    if explanation is None and not booked:
        raise NotFound("the order is none of this affiliate's business")
    own_lines = {row.commission.line_id for row in booked}
    bare = msgspec.structs.replace(
        dossier.order,
        lines=tuple(msgspec.structs.replace(line, attributes=()) for line in dossier.order.lines if line.line_id in own_lines),
        click_id="",
        visitor_id="",
        customer_keys=(),
        coupons=(),
        store_id="",
        shipping_minor=0,
        tax_minor=0,
        total_minor=0,
    )
    return msgspec.structs.replace(
        dossier,
        order=bare,
        explanation=explanation,
        booked=booked,
        refunds=dossier.refunds if booked else (),
        names={affiliate_id: dossier.name(affiliate_id)},
    )


def journey_of(dossier: Dossier) -> Journey:
    """What the page shows of a journey, however long it is."""
    stops = stops_of(dossier)
    if len(stops) <= MANY_STOPS:
        return Journey(with_gaps(stops), [])
    kept = set(sorted(range(len(stops)), key=lambda number: _telling(stops[number], number))[:MANY_STOPS])
    shown = [stop for number, stop in enumerate(stops) if number in kept]
    aside = [stop for number, stop in enumerate(stops) if number not in kept]
    return Journey(with_gaps(shown), with_gaps(aside))


def _telling(stop: Stop, number: int) -> tuple[bool, bool, bool, bool, int]:
    """What is shown first: the order, what earned or had earned, an affiliate's own, what might have earned; of those the latest."""
    one = stop.finding
    if one is None:
        return False, False, False, False, 0
    return True, one.verdict not in ("winner", "overridden"), one.affiliate_id == OTHER, one.verdict not in ELIGIBLE, -number


def stops_of(dossier: Dossier) -> list[Stop]:
    """The journey in time: every candidate and the order, ties with the order after its touches; coupons come last before it."""
    findings = dossier.explanation.candidates if dossier.explanation else ()
    ordered_at = dossier.order.occurred_at
    points: list[tuple[Instant, int, str, Finding | None]] = [
        (one.occurred_at, int(one.touch_class == "coupon"), one.touch_id, one) for one in findings
    ]
    points.append((ordered_at, 2, "", None))
    points.sort(key=lambda point: point[:3])
    first, last = points[0][0], points[-1][0]
    stops = []
    for at, _, _, finding in points:
        who = dossier.name(finding.affiliate_id) if finding else ""
        what = NOUNS[finding.touch_class][0] if finding else "order"
        stops.append(Stop(at, finding, place(at, first, last), "", who, what[0].upper() + what[1:]))
    return stops


def with_gaps(stops: list[Stop]) -> list[Stop]:
    """The same, each with the time since the one that is shown before it; less than a second is not told."""
    told = [duration(stop.at - before.at) if stop.at - before.at >= SECOND else "" for before, stop in pairwise(stops)]
    return [msgspec.structs.replace(stop, gap=gap) for stop, gap in zip(stops, ["", *told], strict=False)]


def place(at: Instant, first: Instant, last: Instant) -> int:
    """Where an instant lies on the strip; a journey without length lies at its end."""
    room = STRIP_WIDTH - 2 * STRIP_MARGIN
    return STRIP_MARGIN + ((at - first) * room // (last - first) if last > first else room)


routes: list[BaseRoute] = [
    Route("/orders/{order_id:path}", order, methods=["GET"]),
    Route("/affiliate/conversions/{tenant_id}/{order_id:path}", own_order, methods=["GET"]),
]
