"""Which exchange rate counts for a moment, and how published ones get into the books."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import msgspec
from sqlalchemy import Connection

from core.clock import DAY, Clock, Instant, as_datetime, instant_of
from payouts.ecb import SOURCE, RateFault, read_reference_rates
from payouts.exchange import EURO, MOST_DAYS_OLD, Rate, crossed
from store.books import Books
from store.rates import newest_of_all, orders_without, put_rates
from store.standing import put_queue

AT_ONCE = 5_000
"""Rates in one transaction: others want to write, too."""


class RatesReport(msgspec.Struct, frozen=True):
    """What an import of rates did. ``known`` were there with the same value; each of the ``faults`` was left out.

    ``unknown`` are currencies of the file that are none any more. ``last_on`` is the newest day that the file has. ``queued``
    orders had been priced without a rate that they asked for; they are priced again.
    """

    rates: int
    new: int
    known: int
    first_on: date | None
    last_on: date | None
    unknown: tuple[str, ...]
    faults: tuple[RateFault, ...]
    queued: int = 0


def rate_on(connection: Connection, base: str, quote: str, at: Instant, source: str = SOURCE) -> Rate | None:
    """The rate from one currency to another, last published on or before the day of ``at`` in UTC; None where that is
    more than seven days back, or nothing was published.

    Two currencies other than the euro are crossed through it, by the values of the last day that has both; the quotient is kept
    exactly (:mod:`payouts.exchange`). Which rate an order gets depends on what was imported when it was first priced: it is kept with it.
    """
    on = as_datetime(at).date()
    needed = sorted({base, quote} - {EURO})
    if base == quote or not needed:
        return Rate(base, quote, "1", "", on)
    found = newest_of_all(connection, source, needed, on - timedelta(days=MOST_DAYS_OLD), on)
    return crossed(base, quote, found[1], source, found[0]) if found else None


def import_rates(books: Books, data: bytes, clock: Clock, advance: Callable[[int, int], None] = lambda _done, _total: None) -> RatesReport:
    """Add what a reference file has and the books have not. Running it twice is the same as once; what is there is never changed.

    Raises:
        BadInput: it is no such file; nothing was imported.
        Unavailable: the books cannot be used now; the same command goes on where this one stopped.
    """
    # A day's rates are published in its afternoon, but a file may come from a clock that is ahead.
    reading = read_reference_rates(data, as_datetime(clock()).date() + timedelta(days=1))
    new, faults = list[date](), list(reading.faults)
    for start in range(0, len(reading.rates), AT_ONCE):
        some = {(rate.on, rate.currency): rate.value for rate in reading.rates[start : start + AT_ONCE]}
        with books.writing() as connection:
            added, conflicts = put_rates(connection, SOURCE, some, clock())
        new += [on for on, _ in added]
        for key, held in conflicts.items():
            why = f"{key[0]} has {held} already, the file says {some[key]}; what was imported first stays"
            faults.append(RateFault(reading.lines[key], key[1], why))
        advance(min(start + AT_ONCE, len(reading.rates)), len(reading.rates))
    queued = _queue(books, min(new), max(new), clock()) if new else 0
    days = [rate.on for rate in reading.rates]
    wrong = len(faults) - len(reading.faults)
    return RatesReport(
        rates=len(reading.rates),
        new=len(new),
        known=len(reading.rates) - len(new) - wrong,
        first_on=min(days, default=None),
        last_on=max(days, default=None),
        unknown=reading.unknown,
        faults=tuple(sorted(faults)),
        queued=queued,
    )


def _queue(books: Books, first_on: date, last_on: date, now: Instant) -> int:
    """Let orders be priced again for which a rate of these days may be the one that they lacked; returns how many."""
    begin, end = _midnight(first_on), _midnight(last_on) + (MOST_DAYS_OLD + 1) * DAY
    queued, after = 0, ("", "")
    while True:
        with books.reading() as connection:
            page = orders_without(connection, begin, end, after, AT_ONCE)
        waiting = [one for one in page if not one.has_rate]
        for tenant_id in sorted({one.tenant_id for one in waiting}):
            places = [(one.ordered_at, one.order_id) for one in waiting if one.tenant_id == tenant_id]
            with books.writing() as connection:
                books.lock_tenant(connection, tenant_id)
                put_queue(connection, tenant_id, places, "rate", False, now)
        queued += len(waiting)
        if len(page) < AT_ONCE:
            return queued
        after = (page[-1].tenant_id, page[-1].order_id)


def _midnight(on: date) -> Instant:
    return instant_of(datetime.combine(on, time(), UTC), on.isoformat())
