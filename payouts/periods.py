"""Accounting months: which one an entry belongs to, and closing one for good.

An entry belongs to the month of its subject (an order's is that of the order's time), in the tenant's time zone; where that month
is closed, to the earliest open one. Closing a month closes all before it. Nothing opens one again: what comes late is booked as a
difference in an open month and says for which month it is. The database refuses an entry of a closed month once more.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection

from core.clock import Instant, as_datetime, instant_of
from core.errors import BadInput, Conflict
from store.books import Books
from store.ledger import calendar_of, head
from store.periods import Closing, PeriodSum, insert_closing, period_sums, read_closings


class Month(msgspec.Struct, frozen=True):
    """An accounting month: what was booked in it, by account and currency, and its closing, if it is closed.

    ``may_close``: it is over, and neither it nor a later one is closed.
    """

    month: str
    sums: tuple[PeriodSum, ...]
    closing: Closing | None
    is_closed: bool
    may_close: bool


def month_of(at: Instant, time_zone: str) -> str:
    """``2026-11``: the calendar month of an instant in a time zone."""
    moment = as_datetime(at)
    with suppress(OverflowError):  # the calendar's first and last hours have no local time
        moment = moment.astimezone(ZoneInfo(time_zone))
    return f"{moment.year:04}-{moment.month:02}"


def months(time_zone: str) -> Callable[[Instant], str]:
    """:func:`month_of` for many instants of one time zone: it looks the calendar up once a month, not once an instant."""
    month, start, end = "", 0, 0

    def of(at: Instant) -> str:
        nonlocal month, start, end
        if not start <= at < end:
            found = month_of(at, time_zone)
            start, end, month = at, end_of(found, time_zone) if is_month(found) else at, found
        return month

    return of


def next_month(month: str) -> str:
    """
    >>> next_month("2026-12")
    '2027-01'
    """
    year, number = _parts(month)
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def end_of(month: str, time_zone: str) -> Instant:
    """The month's end (exclusive): its successor's first instant in the time zone."""
    year, number = _parts(next_month(month))
    return instant_of(datetime(year, number, 1, tzinfo=ZoneInfo(time_zone)), month)


def period_for(month: str, closed: str) -> str:
    """The month where it is open, else the earliest open one. ``closed`` is the newest closed month, empty for none."""
    return month if month > closed else next_month(closed)


def close_period(books: Books, tenant_id: str, month: str, by: str, now: Instant) -> Closing:
    """Close a month and all before it, for good.

    Raises:
        BadInput: ``month`` is not one such as 2026-11.
        Conflict: it is not over yet in the tenant's time zone, or it is closed already.
    """
    if not is_month(month):
        raise BadInput("malformed", f"{month!r:.40} is not a month such as 2026-11", "month")
    with books.writing() as connection:
        books.lock_tenant(connection, tenant_id)
        time_zone, closed = calendar_of(connection, tenant_id)
        if now < end_of(month, time_zone):
            raise Conflict(f"cannot close {month} of {tenant_id}: it is not over yet in the time zone {time_zone}; close it afterwards")
        if month <= closed:
            raise Conflict(f"cannot close {month} of {tenant_id}: it is closed already, with everything up to {closed}")
        number, digest = head(connection, tenant_id)
        closing = Closing(tenant_id, month, by.strip().lower(), now, number, digest)
        insert_closing(connection, closing)
    return closing


def months_of(connection: Connection, tenant_id: str, now: Instant) -> list[Month]:
    """The months with anything booked, or closed, newest first; the current one too. Entries of earlier versions have none."""
    time_zone, closed = calendar_of(connection, tenant_id)
    sums: dict[str, list[PeriodSum]] = {month_of(now, time_zone): []}
    for one in period_sums(connection, tenant_id):
        sums.setdefault(one.month, []).append(one)
    closings = {one.month: one for one in read_closings(connection, tenant_id)}
    months = sorted({*sums, *closings}, reverse=True)
    return [
        Month(month, tuple(sums.get(month, ())), closings.get(month), month <= closed, month > closed and end_of(month, time_zone) <= now)
        for month in months
    ]


def is_month(text: str) -> bool:
    """Whether a text is a month such as ``2026-11``."""
    year, dash, number = text.partition("-")
    digits = year.isascii() and year.isdigit() and number.isascii() and number.isdigit()
    return bool(dash) and digits and len(year) == 4 and len(number) == 2 and 1 <= int(number) <= 12 and 1970 <= int(year) < 9999


def _parts(month: str) -> tuple[int, int]:
    year, _, number = month.partition("-")
    return int(year), int(number)
