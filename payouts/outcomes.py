"""What became of each order: it earned somebody something, or it has exactly one reason why not. Reads only.

The lines of an order may have several reasons. The order has the one of them that came nearest to money: the first in
:data:`OUTCOMES`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from core.catalogue import Tenant
from core.clock import Instant
from core.errors import NotFound
from core.money import allocate
from payouts.commissions import Explained, standings
from payouts.facts import read_places
from store import commissions
from store.booked import Noted, Sum, noted_of, sums_of
from store.books import Books
from store.catalogue import find
from store.events import EventsStore

EARNED, PROBLEM, NOT_BOOKED = "earned", "problem", "not_booked"
OUTCOMES = (
    EARNED,
    "fraud_rejected",
    "refunded",
    "cap_reached",
    "zero_base",
    "currency_not_supported",
    "below_min_order",
    "recurring_limit",
    "returning_customer",
    "other_segment",
    "excluded_item",
    "excluded_category",
    "no_rule",
    "unattributed",
    "test",
    PROBLEM,
    NOT_BOOKED,
)
"""Every outcome of an order. ``problem``: it cannot be booked; ``not_booked``: it is not yet."""
ORDERS_AT_ONCE = 5_000
_RANK = {outcome: rank for rank, outcome in enumerate(OUTCOMES)}


class Report(msgspec.Struct, frozen=True):
    """The orders placed in ``[from_at, to_at)`` by what became of them; every outcome that any of them has."""

    tenant_id: str
    from_at: Instant
    to_at: Instant
    orders: int
    outcomes: dict[str, int]


def report(
    books: Books,
    events: EventsStore,
    tenant_id: str,
    from_at: Instant,
    to_at: Instant,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Why orders earned nothing, as they are booked now. ``progress`` hears how many are done, and of how many.

    Raises:
        NotFound: there is no such tenant.
        Unavailable: a store cannot be used now.
    """
    with books.reading() as connection:
        if find(connection, Tenant, tenant_id) is None:
            raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    places, counts = read_places(events, tenant_id, from_at, to_at), dict.fromkeys(OUTCOMES, 0)
    for start in range(0, len(places), ORDERS_AT_ONCE):
        order_ids = [order_id for _, order_id in places[start : start + ORDERS_AT_ONCE]]
        with books.reading() as connection:
            noted, sums = noted_of(connection, tenant_id, order_ids), sums_of(connection, tenant_id, order_ids)
            for outcome in booked_outcomes(connection, tenant_id, order_ids, noted, sums).values():
                counts[outcome] += 1
        progress(min(start + ORDERS_AT_ONCE, len(places)), len(places))
    return Report(tenant_id, from_at, to_at, len(places), {name: count for name, count in counts.items() if count})


def booked_outcomes(
    connection: Connection, tenant_id: str, order_ids: Iterable[str], noted: Mapping[str, Noted], sums: Mapping[str, Sequence[Sum]]
) -> dict[str, str]:
    """What became of each of these orders, as they are booked."""
    found = {order_id: EARNED if order_id in sums else _without_rows(noted.get(order_id)) for order_id in order_ids}
    idle = [order_id for order_id, outcome in found.items() if outcome != EARNED]
    for start in range(0, len(idle), ORDERS_AT_ONCE):
        posted = commissions.of_orders(connection, tenant_id, idle[start : start + ORDERS_AT_ONCE])
        for order_id, rows in posted.items():
            if found[order_id] != PROBLEM:
                found[order_id] = outcome_of(0, (one.reason for one in standings(Explained(row, "") for row in rows)))
    return found


def outcome_of(earned_minor: int, reasons: Iterable[str]) -> str:
    """Of one order: what it earns everybody, and the reasons of its lines."""
    if earned_minor:
        return EARNED
    return min((reason for reason in reasons if reason), key=_RANK.__getitem__, default="unattributed")


def shares_bps(outcomes: Mapping[str, int]) -> dict[str, int]:
    """Basis points of all orders by outcome; they sum to 10,000 exactly (largest remainder), where there is any order."""
    return dict(zip(outcomes, allocate(10_000, list(outcomes.values())) if any(outcomes.values()) else [0] * len(outcomes), strict=True))


def _without_rows(noted: Noted | None) -> str:
    """Of an order for which nothing is booked."""
    if noted is None:
        return NOT_BOOKED
    return PROBLEM if noted.problem else "unattributed"
