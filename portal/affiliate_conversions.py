"""Orders that an affiliate had a part in: those credited to it, and those where one of its touches did not win."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.words import sentence
from core.clock import DAY, Instant, as_datetime, start_of_day
from core.credit import Step
from core.scope import Scope
from portal.affiliate_catalogue import Joined, joined
from portal.forms import Form, read_query_form
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.earnings import OrderEarned, earned_of_orders
from store.events import EventsStore, read_query

CONVERSIONS = read_query(__file__, "affiliate_conversions")
ROWS = 50
PERIOD = 30 * DAY
PARTS = ("credited", "missed")
ABOVE_ALL = "\U0010ffff"
"""Sorts behind every id: a listing that begins at the top is "before" it."""

_read_step = msgspec.json.Decoder(Step).decode


class Conversion(msgspec.Struct, frozen=True):
    """One order as one affiliate may see it. ``verdict`` is of its strongest touch; ``earned`` is empty until accrued."""

    tenant_id: str
    order_id: str
    ordered_at: Instant
    decided_at: Instant
    programme_id: str
    credited: bool
    share: Fraction
    verdict: str
    why: str
    channel: str
    currency: str
    net_minor: int
    earned: tuple[OrderEarned, ...]

    @property
    def address(self) -> str:
        """Its explanation."""
        return f"/affiliate/conversions/{quote(self.tenant_id)}/{quote(self.order_id, safe='')}"

    @property
    def earned_minor(self) -> dict[str, int]:
        """By currency, whatever its state."""
        sums: dict[str, int] = {}
        for one in self.earned:
            sums[one.currency] = sums.get(one.currency, 0) + one.amount_minor
        return sums

    @property
    def states(self) -> list[str]:
        """The states that its commissions are in."""
        return list(dict.fromkeys(one.state for one in self.earned))


@role("affiliate")
async def conversions(request: Request, scope: Scope) -> Response:
    """GET /affiliate/conversions?part=credited|missed&from=&to=&before=: one screen, newest first."""
    state, mine, form = request.app.state, await joined(request, scope), read_query_form(request)
    first, last = form.date("from", required=False), form.date("to", required=False)
    to_at = (start_of_day(state.clock()) if last is None else last) + DAY
    from_at = to_at - PERIOD if first is None else first
    part = form.choice("part", PARTS, required=False)
    if from_at >= to_at:
        form.fault("from", "The first day must not lie after the last.")
    before = read_before(form.raw("before"))
    rows = [] if form.faults else await run(read_conversions, state.books, state.events, mine, from_at, to_at, part, before, ROWS + 1)
    form.values |= {"from": [f"{as_datetime(from_at):%Y-%m-%d}"], "to": [f"{as_datetime(to_at - DAY):%Y-%m-%d}"]}
    return page(
        request,
        scope,
        "affiliate/conversions.html",
        status=422 if form.faults else 200,
        mine=mine,
        form=form,
        part=part,
        address=lambda **change: _address(form, **change),
        rows=rows[:ROWS],
        newest=_address(form) if before else "",
        older=_address(form, before=_after(rows[ROWS - 1])) if len(rows) > ROWS else "",
    )


def read_conversions(
    books: Books,
    events: EventsStore,
    mine: Joined,
    from_at: Instant,
    to_at: Instant,
    part: str = "",
    before: tuple[Instant, str, str] | None = None,
    most: int = ROWS,
) -> list[Conversion]:
    """Up to ``most`` orders placed in ``[from_at, to_at)``, newest first, further down than ``before``."""
    if not mine.tenants:
        return []
    affiliate_id = mine.affiliate.affiliate_id
    before_ms, before_tenant, before_id = before or (to_at, ABOVE_ALL, ABOVE_ALL)
    cut = {"before_ms": before_ms, "before_tenant": before_tenant, "before_id": before_id, "most": most}
    bound: dict[str, Any] = {"tenant_ids": mine.tenant_ids, "affiliate_id": affiliate_id, "from_ms": from_at, "to_ms": to_at}
    rows = events.select_named(CONVERSIONS, **bound, **cut, part=part)
    with books.reading() as connection:
        earned = earned_of_orders(connection, affiliate_id, [(row["tenant_id"], row["order_id"]) for row in rows]) if rows else []
    return [read_conversion(row, earned) for row in rows]


def read_conversion(row: dict[str, Any], earned: Sequence[OrderEarned]) -> Conversion:
    """A row of the query, with what the order earned. The first own step of the trace is the strongest."""
    facts = dict(row)
    steps = [_read_step(step) for step in facts.pop("own_steps")]
    shares: Iterable[tuple[int, int]] = zip(facts.pop("numerators"), facts.pop("denominators"), strict=True)
    share = sum((Fraction(*one) for one in shares), Fraction(0))
    strongest = next((step for step in steps if step.verdict == "winner"), steps[0] if steps else None)
    return Conversion(
        **(facts | {"credited": bool(facts["credited"])}),
        share=share,
        verdict=strongest.verdict if strongest else "winner",
        why=sentence(strongest, row["ordered_at"], share) if strongest else "",
        earned=tuple(one for one in earned if (one.tenant_id, one.order_id) == (row["tenant_id"], row["order_id"])),
    )


def read_before(text: str) -> tuple[Instant, str, str] | None:
    """``1700000000000.north.ORDER-1`` as a place in the listing; None where the text is none."""
    at, _, rest = text.partition(".")
    tenant_id, _, order_id = rest.partition(".")
    good = at.isascii() and at.isdigit() and len(at) < 15 and tenant_id and order_id
    return (int(at), tenant_id, order_id) if good else None


def _after(last: Conversion) -> str:
    return f"{last.ordered_at}.{last.tenant_id}.{last.order_id}"


def _address(form: Form, **change: str) -> str:
    """This page with the same filter and ``change``."""
    query = {name: form.raw(name) for name in ("part", "from", "to")} | change
    return f"/affiliate/conversions?{urlencode({name: value for name, value in query.items() if value})}"


routes: list[BaseRoute] = [Route("/affiliate/conversions", conversions, methods=["GET"])]
