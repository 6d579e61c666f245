"""Very many orders at once: slices of time or of ids, each read by a few joins, decided by several processes. I/O: the events store.

What comes out does not depend on the size of the slices, nor on the number of processes.
"""

from collections.abc import Iterator
from typing import Any

from attribution.batch import Batch, Past
from attribution.decisions import ORDERS_BY_ID
from attribution.history import InTime, Told, pass_through
from attribution.journey import Scene, Slice, batches_of_slice
from attribution.touches import decode_orders
from core.clock import HOUR, Instant
from store.events import EventsStore, parts_of, read_query

ORDERS_BY_HOUR = read_query(__file__, "orders_by_hour")
LAST_OF_PAGE = read_query(__file__, "last_of_page")
DOUBLED_ORDERS = read_query(__file__, "doubled_orders")

FIRST_ORDERS, FEWEST_ORDERS, MOST_ORDERS = 20_000, 2_000, 100_000
"""Orders of the first slice, and of any: each is as large as its bytes allow, by what the one before had."""
SLICE_BYTES = 96 * 1024 * 1024
BATCH_ORDERS = 1_000

NEVER: Instant = 0

Hours = list[tuple[Instant, int]]


class Pace:
    """How many orders make a slice: by what the last one weighed."""

    def __init__(self, orders: int = FIRST_ORDERS) -> None:
        self.orders = orders

    def learn(self, orders: int, size: int) -> None:
        """A slice of so many orders had so many bytes."""
        if orders:
            self.orders = max(FEWEST_ORDERS, min(MOST_ORDERS, SLICE_BYTES * orders // max(size, 1)))


def orders_by_hour(events: EventsStore, tenant_id: str, from_at: Instant, to_at: Instant) -> Hours:
    """How many orders were placed in each hour of ``[from_at, to_at]`` that has any; several events under one id count each."""
    return [(int(hour), int(orders)) for hour, orders in events.select(ORDERS_BY_HOUR, tenant_id=tenant_id, from_ms=from_at, to_ms=to_at)]


def slices_of_time(hours: Hours, from_at: Instant, to_at: Instant, pace: Pace) -> Iterator[Slice]:
    """Slices of whole hours, oldest first, as large as the pace allows; an hour is never divided."""
    begin, count = None, 0
    for place, (hour, orders) in enumerate(hours):
        begin = hour if begin is None else begin
        count += orders
        if count >= pace.orders or place == len(hours) - 1:
            yield Slice(max(from_at, begin), min(to_at, hour + HOUR - 1))
            begin, count = None, 0


def slices_of_ids(events: EventsStore, tenant_id: str, from_at: Instant, to_at: Instant, after: str, pace: Pace) -> Iterator[Slice]:
    """Slices by order id, from ``after`` on."""
    scope: dict[str, Any] = {"tenant_id": tenant_id, "from_ms": from_at, "to_ms": to_at}
    while found := events.select(LAST_OF_PAGE, after=after, page=pace.orders, **scope):
        until = found[0][0]
        yield Slice(from_at, to_at, after, until)
        after = until


def counted_events(events: EventsStore, tenant_id: str) -> dict[str, str]:
    """Of order ids that several events bear, the event that counts: the one received first."""
    doubled = [order_id for (order_id,) in events.select(DOUBLED_ORDERS, tenant_id=tenant_id)]
    return {
        row.order_id: row.event_id
        for part in parts_of(doubled)
        for row in decode_orders(events.select_bytes(ORDERS_BY_ID, tenant_id=tenant_id, order_ids=part))
    }


def batches_of_period(scene: Scene, from_at: Instant, to_at: Instant) -> Iterator[Batch]:
    """All orders placed in ``[from_at, to_at]`` with everything that decides them, in the order of time.

    Raises:
        Unavailable: a store cannot answer.
    """
    events, tenant_id = scene.events, scene.tenant_id
    counted, earlier, pace = counted_events(events, tenant_id), InTime(), Pace()
    for before in slices_of_time(
        orders_by_hour(events, tenant_id, NEVER, from_at - 1) if from_at else [], NEVER, from_at - 1, Pace(MOST_ORDERS)
    ):
        pass_through(events, scene.people, earlier, counted, before.from_at, before.to_at)
    doubled = frozenset(counted)
    for piece in slices_of_time(orders_by_hour(events, tenant_id, from_at, to_at), from_at, to_at, pace):
        yield from batches_of_slice(scene, piece, earlier, doubled, BATCH_ORDERS, pace.learn)


def batches_by_id(scene: Scene, from_at: Instant, to_at: Instant, after: str) -> Iterator[Batch]:
    """The same in the order of the ids, from ``after`` (exclusive) on."""
    events, tenant_id = scene.events, scene.tenant_id
    counted, earlier, pace = counted_events(events, tenant_id), InTime(), Pace()
    told: dict[str, Past] = {}
    for before in slices_of_time(orders_by_hour(events, tenant_id, NEVER, to_at), NEVER, to_at, Pace(MOST_ORDERS)):
        told |= pass_through(events, scene.people, earlier, counted, before.from_at, before.to_at)
    for piece in slices_of_ids(events, tenant_id, from_at, to_at, after, pace):
        yield from batches_of_slice(scene, piece, Told(told), frozenset(counted), BATCH_ORDERS, pace.learn, by_id=True)
