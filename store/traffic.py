"""Days of traffic: what each affiliate's clicks and impressions were counted as, and when to count them again. Statements only."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, select, tuple_, update

from core.clock import Instant
from store.schema import exchange_rates, traffic_days

TrafficSubject = Literal["click", "impression"]
DayKey = tuple[str, str, str, str, str]
"""Tenant, programme, affiliate, subject, day."""
_AT_ONCE = 500
_KEYS = 5


class TrafficDay(msgspec.Struct, frozen=True):
    """One affiliate's clicks or impressions of one day (``2026-11-20``, of ``time_zone``) as they were last booked.

    ``due_at``: when they are to be counted (again); None: they are not. ``counts`` are numbers by rule, ``setting`` is what they were
    priced on (payouts.traffic); ``order_id`` stands for the day in commissions, ``inputs_hash`` for the
    touches that were counted, ``payments`` for what they came to after limits. Of what was stored up to ``known_until``, ``named`` had a
    visitor, and ``addressed`` an address alone. ``problem`` says why they could not be booked, and is empty otherwise.
    """

    tenant_id: str
    programme_id: str
    affiliate_id: str
    subject: TrafficSubject
    day: str
    order_id: str
    time_zone: str
    due_at: Instant | None = None
    known_until: Instant = 0
    named: int = 0
    addressed: int = 0
    counts: dict[str, int] = {}
    setting: dict[str, Any] | None = None
    problem: str = ""
    worked_at: Instant | None = None
    inputs_hash: str = ""
    payments: list[Any] = []

    @property
    def key(self) -> DayKey:
        return self.tenant_id, self.programme_id, self.affiliate_id, self.subject, self.day


_COLUMNS = [traffic_days.c[name] for name in TrafficDay.__struct_fields__]
_KEY = tuple(traffic_days.c[name] for name in TrafficDay.__struct_fields__[:_KEYS])


def days_of(connection: Connection, keys: Collection[DayKey]) -> dict[DayKey, TrafficDay]:
    """The days that are there, of those asked for."""
    wanted, found = sorted(set(keys)), dict[DayKey, TrafficDay]()
    for start in range(0, len(wanted), _AT_ONCE):
        rows = connection.execute(select(*_COLUMNS).where(tuple_(*_KEY).in_(wanted[start : start + _AT_ONCE])))
        found |= {day.key: day for day in (TrafficDay(*row) for row in rows)}
    return found


def days_named(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> list[TrafficDay]:
    """A tenant's days by what stands for them in commissions."""
    mine = select(*_COLUMNS).where(traffic_days.c.tenant_id == tenant_id, traffic_days.c.order_id.in_(order_ids))
    return [TrafficDay(*found) for found in connection.execute(mine.order_by(*_KEY))]


def days_between(
    connection: Connection, tenant_id: str, programme_id: str, affiliate_id: str, subject: TrafficSubject, first: str, last: str
) -> list[TrafficDay]:
    """An affiliate's days from the first to the last, both included, oldest first."""
    row = traffic_days.c
    mine = (row.tenant_id == tenant_id) & (row.programme_id == programme_id) & (row.affiliate_id == affiliate_id)
    mine &= (row.subject == subject) & row.day.between(first, last)
    return [TrafficDay(*found) for found in connection.execute(select(*_COLUMNS).where(mine).order_by(row.day))]


def days_after(connection: Connection, tenant_id: str, after: str, limit: int) -> list[TrafficDay]:
    """A tenant's days by what stands for them in commissions, from behind ``after``."""
    mine = (traffic_days.c.tenant_id == tenant_id) & (traffic_days.c.order_id > after)
    page = select(*_COLUMNS).where(mine).order_by(traffic_days.c.order_id).limit(limit)
    return [TrafficDay(*found) for found in connection.execute(page)]


def days_due(connection: Connection, now: Instant, limit: int) -> list[TrafficDay]:
    """Days that are to be counted at ``now`` or earlier, of all tenants: one tenant's and subject's together, oldest day first."""
    row = traffic_days.c
    due = select(*_COLUMNS).where(row.due_at <= now).order_by(row.tenant_id, row.subject, row.day, row.programme_id, row.affiliate_id)
    return [TrafficDay(*found) for found in connection.execute(due.limit(limit))]


def put_days(connection: Connection, days: Sequence[TrafficDay], known: Collection[DayKey]) -> None:
    """Write days; ``known`` are the keys that are there already, found in the same transaction."""
    new = [msgspec.structs.asdict(day) for day in days if day.key not in known]
    old = [{f"_{name}": value for name, value in msgspec.structs.asdict(day).items()} for day in days if day.key in known]
    if new:
        connection.execute(insert(traffic_days), new)
    if old:
        same = [column == bindparam(f"_{column.name}") for column in _KEY]
        values: dict[str, Any] = {name: bindparam(f"_{name}") for name in TrafficDay.__struct_fields__[_KEYS:]}
        connection.execute(update(traffic_days).where(*same).values(**values), old)


def wake_waiting(connection: Connection, now: Instant, problem: str) -> int:
    """Let days with this problem be counted again where exchange rates were imported since; returns how many."""
    newest = select(func.max(exchange_rates.c.imported_at)).scalar_subquery()
    waiting = (traffic_days.c.problem == problem) & traffic_days.c.due_at.is_(None) & (traffic_days.c.worked_at <= newest)
    return int(connection.execute(update(traffic_days).where(waiting).values(due_at=now)).rowcount)


def days_with_problems(connection: Connection, tenant_id: str, limit: int = 100) -> list[TrafficDay]:
    """A tenant's days that could not be booked, newest first."""
    row = traffic_days.c
    odd = select(*_COLUMNS).where(row.tenant_id == tenant_id, row.problem != "")
    return [TrafficDay(*found) for found in connection.execute(odd.order_by(row.day.desc(), *_KEY).limit(limit))]
