"""What is behind a merchant's orders: their journeys, as the decisions in force saw them. I/O: the events store.

A journey is the trace's candidates that might have earned, whatever became of them. Nothing is decided again.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from attribution.comparison import DIRECT, PAID, Journey, Met, Missed
from attribution.decisions import read_trace
from core.clock import DAY, Instant
from core.credit import ELIGIBLE, Candidate, Step, Verdict
from store.events import EventsStore, read_query

TRACED_ORDERS = read_query(__file__, "traced_orders")
UNCONVERTED_PATHS = read_query(__file__, "unconverted_paths")
PAGE = 20_000
MOST_MISSED = 50_000
"""Different paths without an order; the rarest beyond it are left out, and that is said."""
LONGEST_MISSED = 100
LONGEST_PERIOD = 3 * 366 * DAY

MIGHT_EARN: frozenset[Verdict] = ELIGIBLE | {"direct"}
"""Verdicts of candidates that took part in the journey; a visit that nobody brought is one, whatever the policy makes of it."""


def read_journeys(events: EventsStore, tenant_id: str, from_at: Instant, to_at: Instant) -> Iterator[list[Journey]]:
    """The journeys of all orders placed in ``[from_at, to_at)``, tests left out, a page at a time, by order id."""
    after = ""
    while True:
        rows = events.select(TRACED_ORDERS, tenant_id=tenant_id, from_ms=from_at, to_ms=to_at, after=after, most=PAGE)
        if rows:
            yield [journey_of_row(row) for row in rows]
        if len(rows) < PAGE:
            return
        after = str(rows[-1][0])


def journey_of_row(row: Sequence[Any]) -> Journey:
    """A row of ``queries/traced_orders.sql``. An order that is not decided yet has no trace, and nobody met; nor does one whose trace
    an older version wrote in another form.
    """
    _, currency, net_minor, placed_at, trace, earners, touch_ids, numerators, denominators = row
    known = read_trace(trace)
    steps = known or ()
    channels = {step.candidate.touch_id: channel_of(step.candidate) for step in steps}
    earned = [
        (earner, channels.get(touch, ""), Fraction(numerator, denominator))
        for earner, touch, numerator, denominator in zip(earners, touch_ids, numerators, denominators, strict=True)
    ]
    return Journey(currency, net_minor, met(steps, placed_at), tuple(earned), is_traced=bool(steps) or (known is not None and not earned))


def met(steps: Sequence[Step], placed_at: Instant) -> tuple[Met, ...]:
    """Who was met on the way to an order, oldest first; ties by touch id, as everywhere."""
    found = sorted((step.candidate.occurred_at, step.candidate.touch_id, step.candidate) for step in steps if step.verdict in MIGHT_EARN)
    return tuple(Met(affiliate_of(one), channel_of(one), max(placed_at - at, 0)) for at, _, one in found)


def affiliate_of(candidate: Candidate) -> str:
    """Who brought it; a visit that no affiliate brought stands for itself."""
    return candidate.affiliate_id or channel_of(candidate)


def channel_of(candidate: Candidate) -> str:
    if candidate.touch_class == "direct":
        return DIRECT
    if candidate.touch_class == "paid":
        return f"{PAID} {candidate.origin}" if candidate.origin else PAID
    return candidate.channel


def read_missed(events: EventsStore, tenant_id: str, from_at: Instant, to_at: Instant) -> tuple[list[Missed], int]:
    """Paths of visitors who placed no order in the period, and how many visitors' paths were too many to keep."""
    rows = events.select(UNCONVERTED_PATHS, tenant_id=tenant_id, from_ms=from_at, to_ms=to_at, longest=LONGEST_MISSED, most=MOST_MISSED)
    missed = [Missed(tuple(by_affiliate), tuple(by_channel), visitors) for by_affiliate, by_channel, visitors, _ in rows]
    return missed, (rows[0][3] if rows else 0) - sum(one.visitors for one in missed)
