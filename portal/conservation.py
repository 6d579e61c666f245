"""Conservation for the people of a tenant: is every event of theirs accounted for, hour by hour?

Counting reads the spool and the events store, so no page view does it: one count serves everybody until it is a minute old
(or twenty times as old as it took), and the page says from when it is.
"""

from collections.abc import Sequence
from threading import Lock, Thread
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.clock import DAY, HOUR, MINUTE, Clock, Instant, as_datetime
from core.errors import FairshareError, Unavailable
from core.scope import Scope
from core.settings import Settings
from portal.chart import Chart, chart, plot
from portal.page import page, run
from portal.sessions import role
from portal.words import plural
from store.events import EventsStore
from tracker.conservation import Account, Census, Row, account, totals

KEPT_MS = MINUTE
SHARE = 20
"""Counting takes at most a twentieth of the time."""

PATIENCE_S = 2.0
REST_S = 0.005
ROWS = 24
"""Hours on one page of the table."""

HOURS = 7 * 24
"""Hours in the chart."""

NAMED = 12
"""Hours that are named above the table when they do not balance; the table has them all."""


class Counted(msgspec.Struct, frozen=True):
    """A count of everything, begun at ``at``; it took ``took_ms``."""

    account: Account
    at: Instant
    took_ms: int


class Counts:
    """The last count, of the whole installation. One at a time is made, in a thread of its own; pages never wait long for it."""

    def __init__(self, settings: Settings, events: EventsStore, clock: Clock) -> None:
        self._settings, self._events, self._clock = settings, events, clock
        self._census = Census(rest_s=REST_S)
        self._lock = Lock()
        self._thread: Thread | None = None
        self._counted: Counted | None = None
        self._fault: FairshareError | None = None

    def latest(self) -> Counted | None:
        """The last count; None while the first is being made. Blocking, for ``PATIENCE_S`` at most.

        Raises:
            Unavailable: there is none, as the events store does not answer.
        """
        with self._lock:
            if self._thread is None and self._is_due():
                self._thread = Thread(target=self._count, name="conservation", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread:
            thread.join(PATIENCE_S)
        counted, fault = self._counted, self._fault
        if counted is None and fault:
            raise fault
        return counted

    def _is_due(self) -> bool:
        if self._counted is None:
            return True
        return self._clock() - self._counted.at >= max(KEPT_MS, SHARE * self._counted.took_ms)

    def _count(self) -> None:
        began = self._clock()
        try:
            found = account(self._settings, self._events, census=self._census)
            self._counted, self._fault = Counted(found, began, self._clock() - began), None
        except FairshareError as fault:
            self._fault = fault
        except Exception as error:  # a thread's error would be lost: the next page view shows it
            self._fault = Unavailable(f"the events cannot be counted: {type(error).__name__}: {error}")
        finally:
            self._thread = None


class Verdict(msgspec.Struct, frozen=True):
    """What the page says first. ``tone`` is ``good``, ``bad`` or ``plain``."""

    title: str
    tone: str


@role("merchant")
async def for_merchant(request: Request, scope: Scope) -> Response:
    """GET /merchant/conservation: the tenant's hours, newest first; ``?before=`` an hour for older ones."""
    return await hours(request, scope)


@role("analyst")
async def for_analyst(request: Request, scope: Scope) -> Response:
    """GET /analyst/conservation: the same."""
    return await hours(request, scope)


async def hours(request: Request, scope: Scope) -> Response:
    """The page, for whoever works for the tenant."""
    state = request.app.state
    counted = await run(state.counts.latest)
    own = rows_of(counted.account, scope.tenant_id) if counted else []
    before = _hour_of(request.query_params.get("before", ""))
    shown = [row for row in reversed(own) if before == 0 or row.hour < before]
    address = f"/{scope.role}/conservation"
    return page(
        request,
        scope,
        "conservation.html",
        counted=counted,
        sees_spool=sees_spool(state.settings, counted),
        verdict=verdict_of(counted, own) if counted else None,
        total=totals(own),
        rows=[(row, says(row), "good" if row.balanced else "bad") for row in shown[:ROWS]],
        chart=chart_of(own, counted.at) if counted and own else None,
        off=[(row.hour, row.hour + HOUR, says(row)) for row in own[::-1] if not row.balanced][:NAMED],
        newest=address if before else "",
        older=f"{address}?{urlencode({'before': shown[ROWS - 1].hour})}" if len(shown) > ROWS else "",
    )


def sees_spool(settings: Settings, counted: Counted | None) -> bool:
    """False where the trackers' folders, or some of them, may lie on other machines: a count would show wrong zeros."""
    return not settings.has_redis_queue and (counted is None or counted.account.sees_spool or not counted.account.rows)


def rows_of(found: Account, tenant_id: str) -> list[Row]:
    """A tenant's hours, oldest first."""
    return [row for row in found.rows if row.tenant_id == tenant_id]


def verdict_of(counted: Counted, own: Sequence[Row]) -> Verdict:
    """One sentence about all hours of a tenant."""
    off = sum(not row.balanced for row in own)
    if off:
        return Verdict(f"{plural(off, 'hour is', 'hours are')} not accounted for", "bad")
    if counted.account.faults:
        return Verdict("Every hour below adds up, but the installation's own check found a fault that no hour shows", "bad")
    if not own:
        return Verdict("Nothing was received yet", "plain")
    days = (counted.at - max(own[0].hour, counted.account.complete_from)) // DAY
    return Verdict(f"Every event of the last {plural(days, 'day')} is accounted for" if days else "Every event is accounted for", "good")


def says(row: Row) -> str:
    """Whether an hour adds up, in words."""
    if row.altered:
        return "Altered"
    if row.difference > 0:
        return f"{plural(row.difference, 'event')} missing"
    return f"{plural(-row.difference, 'event')} too many" if row.difference else "Yes"


def chart_of(own: Sequence[Row], at: Instant) -> Chart:
    """Received and not accounted for, every hour up to ``at``, quiet ones included; the last ``HOURS`` at most."""
    last = at - at % HOUR
    first = max(own[0].hour, last - (HOURS - 1) * HOUR)
    by_hour = {row.hour: row for row in own}
    hours = range(first, last + HOUR, HOUR)
    labels = [f"{as_datetime(hour).day} {as_datetime(hour):%b, %H:%M}" for hour in hours]
    received = [by_hour[hour].received if hour in by_hour else 0 for hour in hours]
    off = [max(abs(by_hour[hour].difference), int(by_hour[hour].altered)) if hour in by_hour else 0 for hour in hours]
    plots = [plot("Received", labels, received, unit="event")]
    if any(off):
        plots.append(plot("Not accounted for", labels, off, shape="columns", unit="event"))
    days = -(-len(hours) // 24)
    return chart(f"The last {plural(days, 'day')}" if days > 1 else "The last hours", labels, plots)


def _hour_of(text: str) -> Instant:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 0


routes: list[BaseRoute] = [
    Route("/merchant/conservation", for_merchant, methods=["GET"]),
    Route("/analyst/conservation", for_analyst, methods=["GET"]),
]
