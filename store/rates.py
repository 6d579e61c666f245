"""Published exchange rates: append-only, what a currency was worth per euro on a day. Statements only.

They belong to the installation: every tenant's orders are converted by the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction

import msgspec
from sqlalchemy import Connection, case, func, insert, select, text, tuple_

from core.clock import Instant
from store.schema import accruals, commissions, exchange_rates, tenants

_AT_ONCE = 5_000

Quoted = tuple[date, str]
"""A day and a currency."""


class Range(msgspec.Struct, frozen=True):
    """What is there of one currency: how many days, from the first to the last, and the last one's value."""

    source: str
    currency: str
    days: int
    first_on: date
    last_on: date
    last_value: str


class Waiting(msgspec.Struct, frozen=True):
    """An order that may have asked for a rate that was not there; ``has_rate``: it had the one to its tenant's currency."""

    tenant_id: str
    order_id: str
    ordered_at: Instant
    has_rate: bool


def put_rates(connection: Connection, source: str, rates: Mapping[Quoted, str], at: Instant) -> tuple[list[Quoted], dict[Quoted, str]]:
    """Add what is not there yet. Returns what was added, and what is there with another value, with that value; it stays.

    The same number written otherwise (1.10 for 1.1) is the same value.
    """
    if not rates:
        return [], {}
    _lock(connection)
    days = [on for on, _ in rates]
    held = _between(connection, source, {currency for _, currency in rates}, min(days), max(days))
    new = sorted(key for key in rates if key not in held)
    rows = [
        {"source": source, "currency": currency, "published_on": on.isoformat(), "value": rates[on, currency], "imported_at": at}
        for on, currency in new
    ]
    for start in range(0, len(rows), _AT_ONCE):
        connection.execute(insert(exchange_rates), rows[start : start + _AT_ONCE])
    return new, {key: held[key] for key in sorted(rates) if key in held and Fraction(held[key]) != Fraction(rates[key])}


def newest_of_all(
    connection: Connection, source: str, currencies: Sequence[str], first_on: date, last_on: date
) -> tuple[date, dict[str, str]] | None:
    """The last day in ``[first_on, last_on]`` that has a value for every one of the currencies, and the values."""
    by_day: dict[date, dict[str, str]] = {}
    for (on, currency), value in _between(connection, source, set(currencies), first_on, last_on).items():
        by_day.setdefault(on, {})[currency] = value
    whole = [on for on, values in by_day.items() if len(values) == len(set(currencies))]
    return (max(whole), by_day[max(whole)]) if whole else None


def ranges(connection: Connection) -> list[Range]:
    """What is there, by source and currency."""
    keys = (exchange_rates.c.source, exchange_rates.c.currency)
    day = exchange_rates.c.published_on
    summed = select(*keys, func.count().label("days"), func.min(day).label("first"), func.max(day).label("last")).group_by(*keys).subquery()
    last = (exchange_rates.c.source == summed.c.source) & (exchange_rates.c.currency == summed.c.currency) & (day == summed.c.last)
    rows = connection.execute(
        select(summed, exchange_rates.c.value).join(exchange_rates, last).order_by(summed.c.source, summed.c.currency)
    )
    return [Range(row[0], row[1], int(row[2]), date.fromisoformat(row[3]), date.fromisoformat(row[4]), row[5]) for row in rows]


def newest_days(connection: Connection, source: str, limit: int) -> dict[date, dict[str, str]]:
    """The values of the last days that have any, newest first: day -> currency -> value."""
    day = exchange_rates.c.published_on
    days = select(day).where(exchange_rates.c.source == source).distinct().order_by(day.desc()).limit(limit)
    wanted = [row[0] for row in connection.execute(days)]
    mine = (exchange_rates.c.source == source) & day.in_(wanted)
    found: dict[date, dict[str, str]] = {date.fromisoformat(text_): {} for text_ in wanted}
    for on, currency, value in connection.execute(select(day, exchange_rates.c.currency, exchange_rates.c.value).where(mine)):
        found[date.fromisoformat(on)][currency] = value
    return found


def orders_without(connection: Connection, from_at: Instant, to_at: Instant, after: tuple[str, str], limit: int) -> list[Waiting]:
    """Orders in ``[from_at, to_at)`` that were priced without a rate that they asked for, behind the one ``after`` (tenant, order).

    Those that earn nothing for it, and those in another currency than their tenant's whose amounts could not be compared with its rules'.
    """
    row, setting = commissions.c, accruals.c.setting
    unpaid = row.reason == "currency_not_supported"
    key = (row.tenant_id, row.order_id)
    abroad = (row.currency != tenants.c.currency) & (row.subject == "order")
    joined = commissions.join(tenants, tenants.c.tenant_id == row.tenant_id).join(
        accruals, (accruals.c.tenant_id == row.tenant_id) & (accruals.c.order_id == row.order_id)
    )
    found = select(*key, func.min(row.ordered_at), func.max(case((unpaid, 1), else_=0))).select_from(joined)
    within = (row.ordered_at >= from_at) & (row.ordered_at < to_at) & setting.is_not(None) & (tuple_(*key) > after) & (unpaid | abroad)
    page = connection.execute(found.where(within).group_by(*key).order_by(*key).limit(limit)).all()
    kept = tuple_(accruals.c.tenant_id, accruals.c.order_id).in_([(row[0], row[1]) for row in page])
    rated = {
        (one.tenant_id, one.order_id)
        for one in connection.execute(select(accruals.c.tenant_id, accruals.c.order_id, setting).where(kept))
        if one.setting.get("rate")
    }
    return [Waiting(*row[:3], not row[3] and (row[0], row[1]) in rated) for row in page]


def _between(connection: Connection, source: str, currencies: Iterable[str], first_on: date, last_on: date) -> dict[Quoted, str]:
    row = exchange_rates.c
    days = row.published_on.between(first_on.isoformat(), last_on.isoformat())
    mine = select(row.published_on, row.currency, row.value).where(row.source == source, row.currency.in_(sorted(currencies)), days)
    return {(date.fromisoformat(on), currency): value for on, currency, value in connection.execute(mine)}


def _lock(connection: Connection) -> None:
    """Two imports at once must not both find a rate missing."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('exchange rates', 0))"))
