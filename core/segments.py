"""What kind of customer placed an order: new, returning or lapsed, and the segments that a merchant defined. Pure.

What the merchant sends always wins over what history or an address tells.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from core.catalogue import Condition, Segment, Store
from core.clock import DAY, Instant
from core.events import CustomerStatus, Order

ORDER_FIELDS = ("store", "store_segment", "channel", "country", "customer_status")
"""Conditions' fields that every order has, beside its attributes."""


def status_of(order: Order, last_ordered_at: Instant | None, lapsed_after_days: int) -> CustomerStatus:
    """The status as sent; else from history.

    Args:
        last_ordered_at: when the person placed the latest order before this one with the tenant, by ``(occurred_at, event_id)``,
            test orders left out; None where there is none.
        lapsed_after_days: the gap that still is returning, closed: exactly so many days, in milliseconds, is ``returning``,
            a millisecond more ``lapsed``.

    Returns:
        Empty (unknown, which no condition matches) where nothing was sent, there is no earlier order, and the order has no
        customer key by which one would have been found: whoever cleared a cookie is not new.
    """
    if order.customer_status:
        return order.customer_status
    if last_ordered_at is None:
        return "new" if order.customer_keys else ""
    return "lapsed" if order.occurred_at - last_ordered_at > lapsed_after_days * DAY else "returning"


def place_of(order: Order, earlier: int, first_at: Instant) -> tuple[int, Instant]:
    """``(the customer's n-th order, when their first one was placed)``; zeros where that is not known.

    Args:
        earlier: the orders that the person placed before this one with the tenant, by ``(occurred_at, event_id)``. Refunded ones count,
            test orders do not; whoever cannot be followed has none.
        first_at: when the first of these was placed.

    Without any, the order is the first of a customer that a key would have found. It is unknown where it has no customer key, and where
    the merchant says that the customer has ordered before: then their first orders are not on record.
    """
    if earlier:
        return earlier + 1, first_at
    is_first = order.customer_keys and order.customer_status in ("", "new")
    return (1, order.occurred_at) if is_first else (0, 0)


def segments_of(
    order: Order, country: str, status: CustomerStatus, segments: Sequence[Segment], stores: Mapping[str, Store]
) -> tuple[str, ...]:
    """The ids of the segments whose every condition the order meets, in the order of the ids.

    Args:
        country: where the order was placed from, as ISO 3166 code; empty: unknown. An attribute ``country`` as sent wins.
        status: what :func:`status_of` says.
        segments: the tenant's.
        stores: the tenant's, by id, for ``store_segment``.

    Values are compared without regard to letter case. What is not known meets no condition.
    """
    if not segments:
        return ()
    values = _values(order, country, status, stores)
    return tuple(sorted(segment.segment_id for segment in segments if all(_meets(values, one) for one in segment.conditions)))


def _values(order: Order, country: str, status: CustomerStatus, stores: Mapping[str, Store]) -> dict[str, str]:
    """What conditions ask, by field. An attribute never takes the place of what the order itself says."""
    sent, store = dict(order.attributes), stores.get(order.store_id)
    own = {
        "store": order.store_id,
        "store_segment": store.segment if store else "",
        "channel": order.channel,
        "country": sent.get("country") or country,
        "customer_status": status,
    }
    return sent | own


def _meets(values: Mapping[str, str], condition: Condition) -> bool:
    value = values.get(condition.field, "")
    return bool(value) and value.casefold() in _folded(condition.values)


@lru_cache(maxsize=4096)
def _folded(values: tuple[str, ...]) -> frozenset[str]:
    return frozenset(value.casefold() for value in values)
