"""Decisions as they are stored: append-only revisions, a new one only where the decision changed. I/O: the events store."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from attribution.revisions import Block, InForce, Revision, blocks_of, decode_in_force, in_force_of, native, revision_of, token_of
from attribution.touches import decode_orders, order_of
from core.clock import Instant
from core.credit import Credit, Step
from core.events import Order
from store.events import EventsStore, parts_of, read_query

__all__ = [
    "DecisionLog",
    "InForce",
    "Revision",
    "credits_of_columns",
    "read_in_force",
    "read_orders",
    "read_trace",
    "revision_of",
    "token_of",
]

ORDERS_BY_ID = read_query(__file__, "orders_by_id")
LATEST_DECISIONS = read_query(__file__, "latest_decisions")
NEWEST_DECISION = read_query(__file__, "newest_decision")

_decode_trace = msgspec.json.Decoder(tuple[Step, ...]).decode

BLOCK_BYTES = 32 * 1024 * 1024
"""One insert holds no more, unless a single block does: doors and servers limit a request."""


def read_orders(events: EventsStore, tenant_id: str, order_ids: Iterable[str]) -> list[Order]:
    """The orders on record among ``order_ids``, by id. Of several events under one id the earliest received is the order."""
    return [
        order_of(tenant_id, row)
        for part in parts_of(order_ids)
        for row in decode_orders(events.select_bytes(ORDERS_BY_ID, tenant_id=tenant_id, order_ids=part))
    ]


def read_in_force(events: EventsStore, tenant_id: str, order_ids: Iterable[str]) -> dict[str, InForce]:
    """The decisions in force, by order id."""
    return {
        row.order_id: in_force_of(row)
        for part in parts_of(order_ids)
        for row in decode_in_force(events.select_bytes(LATEST_DECISIONS, tenant_id=tenant_id, order_ids=part))
    }


def credits_of_columns(columns: Sequence[Sequence[Any]]) -> tuple[Credit, ...]:
    """Credits as the store keeps them: affiliates, touches, numerators, denominators."""
    return tuple(Credit(*credit) for credit in zip(*columns, strict=True))


def read_trace(text: str) -> tuple[Step, ...] | None:
    """A trace as the store keeps it, empty where none was kept; None where a version wrote it that kept traces in another form."""
    try:
        return _decode_trace(text) if text else ()
    except msgspec.DecodeError:
        return None


class DecisionLog:
    """Writes decisions. Each insert is stored at a time of its own, later than every one before, whatever the clock says."""

    def __init__(self, events: EventsStore, require_turn: Callable[[], None] = lambda: None, newest: Instant | None = None) -> None:
        """``require_turn`` raises where another process decides by now; ``newest`` is the time of the last insert, where it is known."""
        self._events = events
        self._require_turn = require_turn
        self.newest = newest

    def append(self, revisions: Iterable[Revision], at: Instant) -> None:
        """Store revisions decided at ``at``. The same ones twice are stored once.

        Raises:
            Unavailable: the events store cannot take them; some months of the batch may be stored.
        """
        self.append_blocks(blocks_of(revisions, at), at)

    def append_blocks(self, blocks: Iterable[Block], at: Instant) -> None:
        """The same for revisions that are encoded already: a month's together, as far as one insert takes them."""
        by_month: dict[int, list[Block]] = {}
        for block in blocks:
            waiting = by_month.setdefault(block.month, [])
            if waiting and sum(len(one.columns) for one in waiting) + len(block.columns) > BLOCK_BYTES:
                self._insert(waiting, at)
                waiting.clear()
            waiting.append(block)
        for _, waiting in sorted(by_month.items()):
            self._insert(waiting, at)

    def _insert(self, blocks: Sequence[Block], at: Instant) -> None:
        self._require_turn()
        token = blocks[0].digest if len(blocks) == 1 else f"{blocks[0].digest}:{len(blocks)}:{blocks[-1].digest}"
        self._events.insert_native("decisions", native(blocks, self._next_stored_at(at)), token)

    def _next_stored_at(self, at: Instant) -> Instant:
        if self.newest is None:
            self.newest = int(self._events.select(NEWEST_DECISION)[0][0])
        self.newest = max(at, self.newest + 1)
        return self.newest
