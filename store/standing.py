"""What orders mean for each other: measures, steps, grants, and the queue of orders to price again. Statements only.

An account's sums are taken over whole days (UTC) where there are any, and over rows at both ends. Rows and days are written together,
under the tenant's lock, which the caller holds.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Delete,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite

from core.catalogue import Measure
from core.clock import DAY, Instant
from store.schema import bonuses, grant_days, grants, measure_days, measures, reprice, steps, zones

Place = tuple[Instant, str]
"""``(ordered_at, order_id)``."""
IDS_AT_ONCE = 1_000
ASLEEP = -1
"""The ``period_start`` of grants that count for others, of an order that no change of others brings back."""
TOTALS = {"orders": "orders", "revenue": "revenue_minor", "commission": "commission_minor"}


class Measured(msgspec.Struct, frozen=True):
    """What an order counts for an affiliate now; minor units of the tenant's currency."""

    tenant_id: str
    order_id: str
    programme_id: str
    affiliate_id: str
    ordered_at: Instant
    time_zone: str
    version: int
    orders: int
    revenue_minor: int
    commission_minor: int


class Stepped(msgspec.Struct, frozen=True):
    """The step that a rule stood on when the order was priced. It stands while the period's sum is in ``[low_minor, high_minor)``."""

    tenant_id: str
    order_id: str
    programme_id: str
    affiliate_id: str
    rule_id: str
    ordered_at: Instant
    measure: str
    retroactive: bool
    period_start: Instant
    period_end: Instant
    step: int
    low_minor: int
    high_minor: int | None


class Granted(msgspec.Struct, frozen=True):
    """What an order asked of a limit, what was left for it as far as it asked, and what it was granted."""

    tenant_id: str
    order_id: str
    programme_id: str
    limit_id: str
    affiliate_id: str
    ordered_at: Instant
    period_start: Instant
    amount_minor: int
    left_minor: int
    asked_minor: int
    granted_minor: int


class Recorded(msgspec.Struct, frozen=True):
    """Everything that is known of one order, or nothing. ``queued``: it is to be priced again; ``walk``: and what is behind it checked."""

    measures: tuple[Measured, ...] = ()
    steps: tuple[Stepped, ...] = ()
    grants: tuple[Granted, ...] = ()
    queued: bool = False
    walk: bool = False


class Queued(msgspec.Struct, frozen=True):
    """An order that waits to be priced again. ``why``: tier, limit, upgrade."""

    tenant_id: str
    order_id: str
    ordered_at: Instant
    why: str
    walk: bool


class Awarded(msgspec.Struct, frozen=True):
    """What is booked for a bonus of one period, lastly by ``order_id``; ``booked`` counts its commissions."""

    tenant_id: str
    programme_id: str
    affiliate_id: str
    bonus_id: str
    period: str
    version: int
    order_id: str
    ordered_at: Instant
    amount_minor: int
    booked: int


class Account(msgspec.Struct, frozen=True):
    """An affiliate's orders in a programme; or, with a ``limit_id``, its grants, or everybody's where ``affiliate_id`` is empty."""

    tenant_id: str
    programme_id: str
    affiliate_id: str
    limit_id: str = ""


# --- one order's rows ------------------------------------------------------------------------------------------------


def of_orders(connection: Connection, tenant_id: str, order_ids: Sequence[str]) -> dict[str, Recorded]:
    """What is known of each of these orders; those of which nothing is known are there, too."""
    rows: dict[str, dict[str, list[Any]]] = {order_id: {} for order_id in order_ids}
    walks: dict[str, bool] = {}
    for start in range(0, len(order_ids), IDS_AT_ONCE):
        some = order_ids[start : start + IDS_AT_ONCE]
        for table, record in _RECORDS:
            mine = select(*_columns(table, record)).where(table.c.tenant_id == tenant_id, table.c.order_id.in_(some))
            for row in connection.execute(mine):
                rows[row.order_id].setdefault(table.name, []).append(record(*row))
        waiting = select(reprice.c.order_id, reprice.c.walk).where(reprice.c.tenant_id == tenant_id, reprice.c.order_id.in_(some))
        walks |= {row.order_id: bool(row.walk) for row in connection.execute(waiting)}
    return {
        order_id: Recorded(
            tuple(known.get("measures", ())),
            tuple(known.get("steps", ())),
            tuple(known.get("grants", ())),
            queued=order_id in walks,
            walk=walks.get(order_id, False),
        )
        for order_id, known in rows.items()
    }


def put_rows(connection: Connection, before: Recorded, after: Recorded) -> None:
    """Replace what is known of one order, and move the days' sums by the difference."""
    for (table, _), old, new in zip(_RECORDS, _rows(before), _rows(after), strict=True):
        if set(old) == set(new):
            continue
        if old:
            connection.execute(_forget(table), {"tenant": old[0].tenant_id, "order": old[0].order_id})
        if new:
            connection.execute(insert(table), [msgspec.structs.asdict(row) for row in new])
    _add_to_days(connection, measure_days, before.measures, after.measures)
    _add_to_days(connection, grant_days, before.grants, after.grants)


# --- sums of accounts ------------------------------------------------------------------------------------------------


def reached(connection: Connection, account: Account, start: Instant, until: Place) -> dict[Measure, int]:
    """Sums of an affiliate's orders from ``start`` on, before the place ``until``."""
    row = _total(connection, (measures, measure_days), account, tuple(TOTALS.values()), start, until)
    return {"orders": int(row[0]), "revenue": int(row[1]), "commission": int(row[2])}


def granted(connection: Connection, account: Account, start: Instant, until: Place) -> tuple[int, int]:
    """What was asked of a limit, and what it granted, from ``start`` on, before the place ``until``."""
    row = _total(connection, (grants, grant_days), account, ("asked_minor", "granted_minor"), start, until)
    return int(row[0]), int(row[1])


def uses_of(
    connection: Connection, tenant_id: str, programme_id: str, limit_id: str, start: Instant, end: Instant, limit: int
) -> list[tuple[str, int]]:
    """``(affiliate_id, granted_minor)`` of a limit for each affiliate in ``[start, end)``, the largest first."""
    table, total = grants.c, func.sum(grants.c.granted_minor)
    mine = (table.tenant_id == tenant_id) & (table.programme_id == programme_id) & (table.limit_id == limit_id) & (table.affiliate_id != "")
    within = (table.ordered_at >= start) & (table.ordered_at < end)
    most = select(table.affiliate_id, total).where(mine & within).group_by(table.affiliate_id)
    return [(row[0], int(row[1])) for row in connection.execute(most.order_by(total.desc(), table.affiliate_id).limit(limit))]


# --- whose price does not stand --------------------------------------------------------------------------------------


def is_last(connection: Connection, account: Account, place: Place) -> bool:
    """True where nothing of the account is behind this place."""
    table = grants if account.limit_id else measures
    at, order_id = place
    return not connection.scalar(_any_behind(table), {**_given(table, account), "at": at, "until_id": order_id})


def unsettled_after(
    connection: Connection, account: Account, measure: Measure, start: Instant, end: Instant, place: Place, through_minor: int, limit: int
) -> list[Place]:
    """Orders behind ``place`` whose step is not the one that what was reached before them makes it; the first ``limit``.

    ``through_minor`` is the sum from ``start`` up to and with the place. Looks at steps of the period ``[start, end)`` alone.
    """
    amount = measures.c[TOTALS[measure]]
    so_far = func.sum(amount).over(order_by=(measures.c.ordered_at, measures.c.order_id))
    window = _of(measures, account) & _behind(measures, place) & (measures.c.ordered_at < end)
    walked = select(measures.c.ordered_at, measures.c.order_id, (so_far - amount + through_minor).label("before")).where(window).subquery()
    # Where the steps lie is said by the join alone: given a range besides, SQLite would go through it for each of the rows.
    mine = _of(steps, account) & ~steps.c.retroactive & (steps.c.measure == measure) & (steps.c.period_start == start)
    wrong = (walked.c.before < steps.c.low_minor) | (walked.c.before >= steps.c.high_minor)
    joined = steps.join(walked, (walked.c.ordered_at == steps.c.ordered_at) & (walked.c.order_id == steps.c.order_id))
    return _places(connection, select(steps.c.ordered_at, steps.c.order_id).select_from(joined).where(mine & wrong), steps, limit)


def unsettled_within(
    connection: Connection, account: Account, measure: Measure, start: Instant, end: Instant, total_minor: int, limit: int
) -> list[Place]:
    """Orders of the period ``[start, end)`` whose retroactive step is not the one that the period's total makes it; the first ``limit``."""
    mine = _of(steps, account) & (steps.c.ordered_at >= start) & (steps.c.ordered_at < end) & steps.c.retroactive
    mine &= (steps.c.measure == measure) & (steps.c.period_start == start)
    wrong = (steps.c.low_minor > total_minor) | (steps.c.high_minor <= total_minor)
    return _places(connection, select(steps.c.ordered_at, steps.c.order_id).where(mine & wrong), steps, limit)


def first_cut(connection: Connection, account: Account, place: Place, end: Instant) -> Place | None:
    """The first order behind ``place`` for which a limit left less than was asked."""
    cut = grants.c.left_minor < grants.c.asked_minor
    mine = _of(grants, account) & _behind(grants, place) & (grants.c.ordered_at < end) & cut
    return next(iter(_places(connection, select(grants.c.ordered_at, grants.c.order_id).where(mine), grants, 1)), None)


def unsettled_grants(
    connection: Connection, account: Account, start: Instant, end: Instant, since: Place, before_minor: int, limit: int
) -> list[tuple[Granted, int]]:
    """Grants at ``since`` and behind that a limit would now cut otherwise, each with what was granted before it; the first ``limit``.

    ``before_minor`` is the sum from ``start`` up to, without, ``since``. Looks at grants of the period that begins at ``start`` alone.
    """
    so_far = func.sum(grants.c.granted_minor).over(order_by=(grants.c.ordered_at, grants.c.order_id))
    window = _of(grants, account) & _from(grants, since) & (grants.c.ordered_at < end)
    walked = select(*_columns(grants, Granted), (so_far - grants.c.granted_minor + before_minor).label("before")).where(window).subquery()
    left = walked.c.amount_minor - walked.c.before
    now = case((left <= 0, 0), (left < walked.c.asked_minor, left), else_=walked.c.asked_minor)
    wrong = select(walked).where(walked.c.period_start == start, now != walked.c.left_minor)
    ordered = wrong.order_by(walked.c.ordered_at, walked.c.order_id).limit(limit)
    return [(Granted(*row[:-1]), int(row.before)) for row in connection.execute(ordered)]


# --- the queue -------------------------------------------------------------------------------------------------------


def put_queue(connection: Connection, tenant_id: str, places: Iterable[Place], why: str, walk: bool, now: Instant) -> None:
    """Orders to price again. One that waits already keeps its place; it walks where either asks for it."""
    rows = [
        {"tenant_id": tenant_id, "order_id": order_id, "ordered_at": at, "why": why, "walk": walk, "queued_at": now}
        for at, order_id in dict.fromkeys(places)
    ]
    if rows:
        statement = _insert(connection)(reprice)
        either = or_(reprice.c.walk, statement.excluded.walk)
        connection.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "order_id"], set_={"walk": either}), rows)


def drop_queue(connection: Connection, tenant_id: str, order_id: str) -> None:
    connection.execute(delete(reprice).where(reprice.c.tenant_id == tenant_id, reprice.c.order_id == order_id))


def tenants_waiting(connection: Connection) -> list[str]:
    """Tenants with orders to price again."""
    return [row[0] for row in connection.execute(select(reprice.c.tenant_id).distinct().order_by(reprice.c.tenant_id))]


def waiting(connection: Connection, tenant_id: str, limit: int) -> list[Queued]:
    """Orders to price again, the earliest first by ``(ordered_at, order_id)``."""
    mine = select(*_columns(reprice, Queued)).where(reprice.c.tenant_id == tenant_id)
    first = mine.order_by(reprice.c.ordered_at, reprice.c.order_id).limit(limit)
    return [Queued(*row) for row in connection.execute(first)]


# --- time zones ------------------------------------------------------------------------------------------------------


def zones_of(connection: Connection, tenant_id: str) -> set[str]:
    """Every zone in which periods of the tenant's orders were counted."""
    return {row[0] for row in connection.execute(select(zones.c.time_zone).where(zones.c.tenant_id == tenant_id))}


def put_zone(connection: Connection, tenant_id: str, time_zone: str) -> None:
    connection.execute(_insert(connection)(zones).values(tenant_id=tenant_id, time_zone=time_zone).on_conflict_do_nothing())


# --- bonuses ---------------------------------------------------------------------------------------------------------


def first_to_reach(
    connection: Connection, account: Account, measure: Measure, time_zone: str, start: Instant, end: Instant, thresholds: dict[int, int]
) -> tuple[Place, int] | None:
    """``(place, version)`` of the first order with which the sum is at what its own version (a key of ``thresholds``) asks for.

    Of the orders whose periods are in this zone alone; all count towards the sum.
    """
    table = measures.c
    so_far = func.sum(table[TOTALS[measure]]).over(order_by=(table.ordered_at, table.order_id)).label("so_far")
    within = _of(measures, account) & (table.ordered_at >= start) & (table.ordered_at < end)
    walked = select(table.ordered_at, table.order_id, table.version, table.time_zone, so_far).where(within).subquery()
    there = or_(*((walked.c.version == version) & (walked.c.so_far >= least) for version, least in thresholds.items()))
    first = select(walked.c.ordered_at, walked.c.order_id, walked.c.version).where(there, walked.c.time_zone == time_zone)
    row = connection.execute(first.order_by(walked.c.ordered_at, walked.c.order_id).limit(1)).first()
    return None if row is None else ((row.ordered_at, row.order_id), row.version)


def awards_of(connection: Connection, tenant_id: str, programme_id: str, affiliate_id: str, periods: Collection[str]) -> list[Awarded]:
    mine = (bonuses.c.tenant_id == tenant_id) & (bonuses.c.programme_id == programme_id) & (bonuses.c.affiliate_id == affiliate_id)
    return [Awarded(*row) for row in connection.execute(select(*_columns(bonuses, Awarded)).where(mine, bonuses.c.period.in_(periods)))]


def put_award(connection: Connection, award: Awarded) -> None:
    values = msgspec.structs.asdict(award)
    key = [column.name for column in bonuses.primary_key]
    changed = {name: value for name, value in values.items() if name not in key}
    connection.execute(_insert(connection)(bonuses).values(**values).on_conflict_do_update(index_elements=key, set_=changed))


# --- inside ----------------------------------------------------------------------------------------------------------

_RECORDS: tuple[tuple[Table, type[Any]], ...] = ((measures, Measured), (steps, Stepped), (grants, Granted))


def _columns(table: Table, record: type[msgspec.Struct]) -> list[Any]:
    return [table.c[name] for name in record.__struct_fields__]


def _rows(known: Recorded) -> tuple[tuple[Any, ...], ...]:
    return known.measures, known.steps, known.grants


def _insert(connection: Connection) -> Any:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _of(table: Table, account: Account) -> Any:
    return and_(*(table.c[name] == value for name, value in _given(table, account).items()))


def _given(table: Table, account: Account) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(account).items() if name in table.c}


def _behind(table: Table, place: tuple[Any, Any]) -> Any:
    at, order_id = place
    return (table.c.ordered_at >= at) & or_(table.c.ordered_at > at, table.c.order_id > order_id)


def _from(table: Table, place: Place) -> Any:
    at, order_id = place
    return (table.c.ordered_at >= at) & or_(table.c.ordered_at > at, table.c.order_id >= order_id)


def _places(connection: Connection, statement: Select[Any], table: Table, limit: int) -> list[Place]:
    first = statement.distinct().order_by(table.c.ordered_at, table.c.order_id).limit(limit)
    return [(row.ordered_at, row.order_id) for row in connection.execute(first)]


def _total(
    connection: Connection, tables: tuple[Table, Table], account: Account, names: tuple[str, ...], start: Instant, until: Place
) -> Any:
    """Sums of ``names`` from ``start`` on, before ``until``: whole days of UTC by their sums, what is left at both ends by rows."""
    at, order_id = until
    first, last = -(-start // DAY), at // DAY
    given = _given(tables[0], account) | {"start": start, "at": at, "until_id": order_id}
    if first < last:
        given |= {"first": first, "first_at": first * DAY, "last": last, "last_at": last * DAY}
    return connection.execute(_total_of(*tables, names, first < last), given).one()


# Statements asked for every order are built once: that costs more than their answer.


@cache
def _account_of(table: Table) -> Any:
    """The account whose values :func:`_given` gives."""
    return and_(*(table.c[name] == bindparam(name) for name in Account.__struct_fields__ if name in table.c))


@cache
def _forget(table: Table) -> Delete:
    return delete(table).where(table.c.tenant_id == bindparam("tenant"), table.c.order_id == bindparam("order"))


@cache
def _any_behind(table: Table) -> Select[Any]:
    place = bindparam("at", type_=BigInteger), bindparam("until_id", type_=String)
    return select(exists().where(_account_of(table) & _behind(table, place)))


@cache
def _add_to(table: Table, dialect: str) -> Any:
    """Rows of sums, each added to the one that is there."""
    key = [column.name for column in table.primary_key]
    statement = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    added = {column.name: column + statement.excluded[column.name] for column in table.columns if column.name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=added)


@cache
def _total_of(table: Table, days: Table, names: tuple[str, ...], by_days: bool) -> Select[Any]:
    def rows(of: Table) -> tuple[Select[Any], Any]:
        return select(*(of.c[name] for name in names)), _account_of(of)

    at, until_at, until_id = table.c.ordered_at, bindparam("at", type_=BigInteger), bindparam("until_id", type_=String)
    figures, mine = rows(table)
    before = mine & (at <= until_at) & or_(at < until_at, (at == until_at) & (table.c.order_id < until_id))
    if by_days:
        sums, of_days = rows(days)
        parts = [
            figures.where(mine & (at >= bindparam("start")) & (at < bindparam("first_at"))),
            sums.where(of_days & (days.c.day >= bindparam("first")) & (days.c.day < bindparam("last"))),
            figures.where(before & (at >= bindparam("last_at"))),
        ]
    else:
        parts = [figures.where(before & (at >= bindparam("start")))]
    together = union_all(*parts).subquery()
    return select(*(func.coalesce(func.sum(together.c[name]), 0) for name in names))


def _add_to_days(connection: Connection, table: Table, before: Sequence[Any], after: Sequence[Any]) -> None:
    key = [column.name for column in table.primary_key]
    names = [column.name for column in table.columns if column.name not in key]
    moved: dict[tuple[Any, ...], list[int]] = {}
    for rows, sign in ((before, -1), (after, 1)):
        for row in rows:
            day = tuple(row.ordered_at // DAY if name == "day" else getattr(row, name) for name in key)
            sums = moved.setdefault(day, [0] * len(names))
            for place, name in enumerate(names):
                sums[place] += sign * getattr(row, name)
    changed = [dict(zip((*key, *names), (*day, *sums), strict=True)) for day, sums in sorted(moved.items()) if any(sums)]
    if changed:
        connection.execute(_add_to(table, connection.dialect.name), changed)
