"""Touches by visitor and by id: lines as the store gives them, and the way through a visitor that has very many. I/O: the events store."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from attribution.candidates import CANDIDATES_EACH
from attribution.touches import SEPARATOR, SEPARATORS, TouchRow, VisitorRow, decode_touches, group_of
from core.clock import DAY, Instant
from core.ids import is_event_id, minted_at
from store.events import EventsStore, parts_of, read_query

TOUCHES_OF_VISITORS = read_query(__file__, "touches_of_visitors")
TOUCHES_OF_CROWD = read_query(__file__, "touches_of_crowd")
CLICKS_BY_ID = read_query(__file__, "clicks_by_id")

ALWAYS: Instant = 4_102_444_800_000
"""2100-01-01: later than anything that is stored, and inside the store's calendar."""
CROWD = 1_000
"""A visitor with more touches than this, in the time that matters, is a crowd: its touches are read in a stream and capped on the way."""
CROWD_PAGE = 100_000
FACET_MARK = SEPARATOR.encode()
MINT_TOLERANCE = DAY
"""An id may have been minted this much before or after what it names happened."""

Times = dict[str, tuple[Instant, Instant]]
"""Each visitor's earliest and latest touch that may matter, both inclusive."""


class TooMuch(Exception):
    """The orders have too many touches to be looked at together."""


class Placed(Protocol):
    """Anything that was ordered at some time."""

    @property
    def order_id(self) -> str: ...
    @property
    def occurred_at(self) -> Instant: ...


def touches_by_id(events: EventsStore, tenant_id: str, touch_ids: Iterable[str]) -> bytes:
    """Lines of the touches on record among ``touch_ids``. Texts that are no event id name nothing; ids tell where to look."""
    lines = b""
    for part in parts_of(touch_id for touch_id in touch_ids if is_event_id(touch_id)):
        bounds = minted_within(part[0], part[-1])
        lines += events.select_bytes(CLICKS_BY_ID, tenant_id=tenant_id, touch_ids=part, from_ms=bounds[0], to_ms=bounds[1])
    return lines


def minted_within(first: str, last: str) -> tuple[Instant, Instant]:
    """When that may have happened which ids from ``first`` to ``last`` name."""
    return max(0, min(ALWAYS, minted_at(first)) - MINT_TOLERANCE), min(ALWAYS, minted_at(last) + MINT_TOLERANCE)


def visitors_lines(events: EventsStore, tenant_id: str, times: Times, most: int | None = None) -> bytes:
    """Lines of these visitors' touches.

    Raises:
        TooMuch: there are more than ``most``.
    """
    lines, total = b"", 0
    for part in parts_of(times):
        found = _touches_of_visitors(events, tenant_id, {visitor_id: times[visitor_id] for visitor_id in part})
        lines += found
        if most is not None:
            total += found.count(FACET_MARK) // SEPARATORS
            if total > most:
                raise TooMuch
    return lines


def _touches_of_visitors(events: EventsStore, tenant_id: str, times: Times) -> bytes:
    """For visitors who fit into one parameter."""
    return events.select_bytes(
        TOUCHES_OF_VISITORS,
        tenant_id=tenant_id,
        visitors=list(times),
        lows=[low for low, _ in times.values()],
        highs=[high for _, high in times.values()],
        earliest_ms=min(low for low, _ in times.values()),
        latest_ms=max(high for _, high in times.values()),
        crowd=CROWD,
    )


# --- a visitor with very many ----------------------------------------------------------------------------------------


def through_crowd(
    events: EventsStore, tenant_id: str, visitor_id: str, orders: Sequence[Placed], lookback: Instant
) -> Iterator[tuple[str, VisitorRow]]:
    """Read a visitor's touches once, oldest first, and keep for each order the latest of each group."""
    waiting = deque(sorted(orders, key=lambda row: row.occurred_at))
    latest: dict[tuple[str, bool], deque[TouchRow]] = {}
    times: list[Instant] = []
    first = max(0, waiting[0].occurred_at - lookback)
    for touch in _crowd(events, tenant_id, visitor_id, first, waiting[-1].occurred_at):
        while waiting and waiting[0].occurred_at < touch.occurred_at:
            yield _kept(waiting.popleft(), visitor_id, latest, times, lookback)
        latest.setdefault(group_of(touch.facet), deque(maxlen=CANDIDATES_EACH)).append(touch)
        times.append(touch.occurred_at)
    while waiting:
        yield _kept(waiting.popleft(), visitor_id, latest, times, lookback)


def _crowd(events: EventsStore, tenant_id: str, visitor_id: str, from_at: Instant, to_at: Instant) -> Iterator[TouchRow]:
    """A visitor's touches, oldest first, each once."""
    after_id = ""
    asked: dict[str, Any] = {"tenant_id": tenant_id, "visitor_id": visitor_id, "to_ms": to_at, "page": CROWD_PAGE}
    while page := decode_touches(events.select_bytes(TOUCHES_OF_CROWD, from_ms=from_at, after_id=after_id, **asked)):
        for touch in page:
            if touch.touch_id != after_id:
                yield touch
            from_at, after_id = touch.occurred_at, touch.touch_id
        if len(page) < CROWD_PAGE:
            return


def _kept(
    row: Placed, visitor_id: str, latest: Mapping[tuple[str, bool], Iterable[TouchRow]], times: Sequence[Instant], lookback: Instant
) -> tuple[str, VisitorRow]:
    earliest = row.occurred_at - lookback
    kept = [touch for group in latest.values() for touch in group if touch.occurred_at >= earliest]
    columns = [touch.touch_id for touch in kept], [touch.occurred_at for touch in kept], [touch.facet for touch in kept]
    return row.order_id, VisitorRow(visitor_id, *columns, len(times) - bisect_left(times, earliest))
