"""Instants: whole milliseconds since 1970-01-01 UTC, everywhere between the edge and the page.

An ``int`` compares exactly, sorts as it stands and costs nothing on the hot path. Text appears only at the borders
(JSON in and out, pages), always RFC 3339 with a zone.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

from core.errors import BadInput

Instant = int

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

FIRST = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z, the earliest instant that can be written."""
LAST = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the latest."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Anything that tells the time: the system's clock, or a test's."""

    def __call__(self) -> Instant: ...


def system_clock() -> Instant:
    """The machine's time, in milliseconds."""
    return time.time_ns() // 1_000_000


def parse_instant(text: str, field: str = "occurred_at") -> Instant:
    """Read an RFC 3339 time such as ``2026-11-21T20:15:00Z``; digits beyond milliseconds are cut.

    Raises:
        BadInput: not a time, a time without a zone (which would be a guess), or one before :data:`FIRST` or after :data:`LAST`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("malformed", f"{field} {text!r:.60} is not a time like 2026-11-21T20:15:00Z", field) from None
    return instant_of(moment, f"{field} {text!r:.60}", field)


def instant_of(moment: datetime, said: str, field: str = "") -> Instant:
    """A time with a zone; digits beyond milliseconds are cut. ``said`` is what the error calls it.

    Raises:
        BadInput: no zone, or the time is before :data:`FIRST` or after :data:`LAST` in UTC.
    """
    if moment.tzinfo is None:
        raise BadInput("malformed", f"{said} has no time zone; add Z for UTC", field)
    elapsed = moment - _EPOCH
    at = elapsed.days * DAY + elapsed.seconds * SECOND + elapsed.microseconds // 1000
    if not FIRST <= at <= LAST:
        raise BadInput("malformed", f"{said} is outside the calendar", field)
    return at


def format_instant(at: Instant) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-21T20:15:00.000Z``. The inverse of :func:`parse_instant`."""
    return as_datetime(at).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def as_datetime(at: Instant) -> datetime:
    """The same instant as an aware ``datetime`` in UTC."""
    return datetime.fromtimestamp(at // 1000, UTC).replace(microsecond=at % 1000 * 1000)


def start_of_day(at: Instant) -> Instant:
    """Midnight UTC at or before ``at``."""
    return at - at % DAY
