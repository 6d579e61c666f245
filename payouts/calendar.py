"""Periods of time as people count them, in a time zone: days, weeks from Monday, months, quarters, years, a lifetime. Pure.

A period is half-open, and the periods of one kind follow each other without a gap: it begins with the first instant at which the zone's
clocks show its first date, and ends where the next one begins. So a day of summer time has 23 or 25 hours, a day that a zone left
out has none, and where clocks go back over midnight the new day stays begun.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from core.catalogue import Period
from core.clock import DAY, FIRST, LAST, Instant, as_datetime

END = LAST + 1
LIFETIME = "lifetime"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TWO_DAYS = timedelta(days=2)
_FIRST_YEAR, _LAST_YEAR = FIRST + 366 * DAY, LAST - 366 * DAY
"""Before and after, a zone's dates may be outside the calendar: the periods are those of UTC."""
_MONTHS: dict[Period, int] = {"month": 1, "quarter": 3, "year": 12}
_KEY = re.compile(r"(\d{4})(?:-(?:Q([1-4])|W(\d{2})|(\d{2})(?:-(\d{2}))?))?", re.ASCII)


class Span(msgspec.Struct, frozen=True):
    """One period: ``[start, end)``. ``key`` names it: 2026-11-22, 2026-W47, 2026-11, 2026-Q4, 2026, lifetime."""

    key: str
    start: Instant
    end: Instant

    def holds(self, at: Instant) -> bool:
        return self.start <= at < self.end


FOREVER = Span(LIFETIME, FIRST, END)


def span_of(period: Period, at: Instant, time_zone: str) -> Span:
    """The period that ``at`` is in. Weeks are those of ISO 8601.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: there is no such time zone.
    """
    if period == "lifetime":
        return FOREVER
    zone = time_zone if _FIRST_YEAR <= at < _LAST_YEAR else "UTC"
    span = _span(period, _first_date(period, _local_date(at, zone)), zone)
    if at >= span.end:  # clocks that went back over midnight show the old date for a while, in the new period
        return _span(period, _local_date(span.end, zone), zone)
    return span


def span_named(key: str, time_zone: str) -> Span:
    """The period of this key, as :func:`span_of` names it.

    Raises:
        ValueError: it names no period.
    """
    if key == LIFETIME:
        return FOREVER
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"{key!r} names no period")
    year, quarter, week, month, day = (int(part) if part else 0 for part in found.groups())
    time_zone = time_zone if 1 < year < 9999 else "UTC"
    if quarter:
        return _span("quarter", date(year, 3 * quarter - 2, 1), time_zone)
    if week:
        return _span("week", date.fromisocalendar(year, week, 1), time_zone)
    if day:
        return _span("day", date(year, month, day), time_zone)
    return _span("month" if month else "year", date(year, month or 1, 1), time_zone)


@lru_cache(maxsize=4_096)
def _span(period: Period, first: date, time_zone: str) -> Span:
    return Span(_key(period, first), _begin(first, time_zone), _begin(_following(period, first), time_zone))


def _first_date(period: Period, day: date) -> date:
    if period == "day":
        return day
    if period == "week":
        return day - timedelta(days=day.weekday())
    length = _MONTHS[period]
    return date(day.year, (day.month - 1) // length * length + 1, 1)


def _local_date(at: Instant, time_zone: str) -> date:
    return as_datetime(at).astimezone(ZoneInfo(time_zone)).date()


def _following(period: Period, first: date) -> date | None:
    """The first date of the next period; None behind the last of all."""
    try:
        if period in ("day", "week"):
            return first + timedelta(days=1 if period == "day" else 7)
        months = first.year * 12 + first.month - 1 + _MONTHS[period]
        return date(months // 12, months % 12 + 1, 1)
    except (OverflowError, ValueError):
        return None


def _key(period: Period, first: date) -> str:
    if period == "day":
        return first.isoformat()
    if period == "week":
        year, week, _ = first.isocalendar()
        return f"{year:04d}-W{week:02d}"
    if period == "quarter":
        return f"{first.year:04d}-Q{(first.month + 2) // 3}"
    return f"{first.year:04d}" if period == "year" else f"{first.year:04d}-{first.month:02d}"


def _begin(day: date | None, time_zone: str) -> Instant:
    """The first instant at which clocks show ``day`` or a later date."""
    if day is None:
        return END
    zone = ZoneInfo(time_zone)
    midnight = datetime.combine(day, time(), zone).astimezone(UTC)
    if day > date.min and (midnight - _MILLISECOND).astimezone(zone).date() >= day:  # clocks skipped midnight, from some time before it
        midnight = _skip(midnight - _TWO_DAYS, midnight, day, zone)
    elapsed = midnight - _EPOCH
    return elapsed.days * 86_400_000 + elapsed.seconds * 1_000 + elapsed.microseconds // 1_000


def _skip(before: datetime, after: datetime, day: date, zone: ZoneInfo) -> datetime:
    """When clocks that showed an earlier date jumped to ``day``, between the two."""
    while after - before > _MILLISECOND:
        middle = before + (after - before) / 2
        middle = middle.replace(microsecond=middle.microsecond // 1_000 * 1_000)
        if middle.astimezone(zone).date() >= day:
            after = middle
        else:
            before = middle
    return after
