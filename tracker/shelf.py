"""Imported rows gather into blocks of one month, and a thread of its own inserts these. Plainly I/O: the events store, receipts.

What is in once stays in once: a block's token is made of what it holds, so that the store drops it where it has it already.
Pollers follow ``stored_at`` and look back ``REREAD_MS``, so a block gets its ``stored_at`` right before it is inserted. One that took
too long to become visible is inserted again, in halves, later in time; readers take each id once.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import DAY, Clock, Instant, as_datetime
from core.errors import Unavailable
from store.books import Books
from store.cursors import REREAD_MS
from store.events import EventsStore
from store.receipts import mark_all_recorded
from tracker.cells import INSTANT
from tracker.enrich import TABLES, Placed
from tracker.loading import blames_rows

BLOCK_ROWS = 50_000
GATHERED_ROWS = 200_000
GATHERED_BYTES = 48 * 1024 * 1024
"""Rows gather until there are so many of a month, or in all: then all blocks are inserted, in the order of tables. Doors take 64 MiB."""

BATCHES_AHEAD = 2
SLOW_MS = REREAD_MS // 2
MOST_HALVINGS = 4
ATTEMPTS = 6

_encoder = msgspec.json.Encoder()
_STORED_AT = b'"stored_at":0.0'


class Batch(msgspec.Struct, frozen=True):
    """Blocks that are inserted one after the other, and what is noted in the books once they are in."""

    blocks: list["Block"]
    kind: str = ""
    external_ids: tuple[str, ...] = ()
    tenant_id: str = ""


class Block(msgspec.Struct, frozen=True):
    """Rows of one table and one month: ``columns`` without times of storing, or ``lines`` of JSON whose ``stored_at`` is still 0."""

    table: str
    token: str
    columns: pa.Table | None = None
    lines: tuple[bytes, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.lines if self.columns is None else self.columns)

    def halves(self) -> list["Block"]:
        middle = self.rows // 2
        parts = [slice(0, middle), slice(middle, None)]
        return [
            Block(self.table, f"{self.token}:{index}", None if self.columns is None else self.columns[part], self.lines[part])
            for index, part in enumerate(parts)
        ]


class Shelf:
    """Rows by table and month, until there are enough of them for blocks."""

    def __init__(self, tenant_id: str, inserter: "Inserter") -> None:
        self._tenant_id = tenant_id
        self._inserter = inserter
        self._touches: dict[int, list[pa.Table]] = {}
        self._lines: dict[tuple[str, int], list[bytes]] = {}
        self._external_ids: list[str] = []
        self._kind = ""
        self._rows = 0
        self._bytes = 0

    def add_touches(self, touches: pa.Table) -> None:
        """Touches as columns."""
        months = _months(touches["occurred_at"])
        distinct = np.unique(months).tolist()
        for month in distinct:
            own = touches if len(distinct) == 1 else touches.filter(pa.array(months == month))
            self._touches.setdefault(month, []).append(own)
        self._rows += len(touches)
        self._bytes += touches.nbytes
        self._flush_if_full(any(sum(map(len, held)) >= BLOCK_ROWS for held in self._touches.values()))

    def add_rows(self, placed: Sequence[Placed], external_id: str = "") -> None:
        """Rows that stay together; ``external_id`` is noted as recorded once they are in."""
        for table, at, row in placed:
            line = _encoder.encode(row)
            self._lines.setdefault((table, _month(at // DAY)), []).append(line)
            self._bytes += len(line)
        self._rows += len(placed)
        if external_id:
            self._kind = "order" if placed[0][0] == "orders" else "lead"
            self._external_ids.append(external_id)
        self._flush_if_full(False)

    def _flush_if_full(self, is_full: bool) -> None:
        if is_full or self._rows >= GATHERED_ROWS or self._bytes >= GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything over: an order's links go before it, so that its first decision sees them."""
        blocks = []
        for table in TABLES:
            if table == "touches":
                blocks += [block for month in sorted(self._touches) for block in self._touch_blocks(month)]
            for place in sorted(place for place in self._lines if place[0] == table):
                blocks += self._line_blocks(*place)
        if blocks:
            self._inserter.put(Batch(blocks, self._kind, tuple(self._external_ids), self._tenant_id))
        self._touches, self._lines, self._external_ids, self._rows, self._bytes = {}, {}, [], 0, 0

    def _touch_blocks(self, month: int) -> Iterator[Block]:
        touches = pa.concat_tables(self._touches[month]).combine_chunks()
        for start in range(0, len(touches), BLOCK_ROWS):
            own = touches[start : start + BLOCK_ROWS]
            yield Block("touches", self._token("touches", month, "".join(own["touch_id"].to_pylist()).encode()), own)

    def _line_blocks(self, table: str, month: int) -> Iterator[Block]:
        lines = self._lines[table, month]
        for start in range(0, len(lines), BLOCK_ROWS):
            own = tuple(lines[start : start + BLOCK_ROWS])
            yield Block(table, self._token(table, month, b"\n".join(own)), lines=own)

    def _token(self, table: str, month: int, content: bytes) -> str:
        return f"import:{self._tenant_id}:{table}:{month}:{hashlib.blake2b(content, digest_size=20).hexdigest()}"


@lru_cache(4096)
def _month(day: int) -> int:
    moment = as_datetime(day * DAY)
    return moment.year * 100 + moment.month


def _months(times: pa.ChunkedArray) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The month of each time."""
    days, places = np.unique(times.cast(pa.int64()).to_numpy() // DAY, return_inverse=True)
    months: np.ndarray[Any, np.dtype[np.int64]] = np.array(list(map(_month, days.tolist())), np.int64)[places]
    return months


# --- inserting -------------------------------------------------------------------------------------------------------


class Inserter:
    """Inserts batches in a thread of its own, in their order. Leaving the ``with`` waits for the last, or raises what stopped it.

    ``blocks`` were inserted; ``late`` of them may have become visible too late for a poller, and could not be halved any further.

    Args:
        discards: inserts nothing: a dry run.
    """

    def __init__(self, events: EventsStore, books: Books, clock: Clock, discards: bool = False) -> None:
        self._events = events
        self._books = books
        self._clock = clock
        self._discards = discards
        self._queue: Queue[Batch | None] = Queue(BATCHES_AHEAD)
        self._error: BaseException | None = None
        self._stored_at: Instant = 0
        self.blocks = 0
        self.late = 0
        self._thread = Thread(target=self._run, name="import", daemon=True)

    def __enter__(self) -> "Inserter":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:  # what was read so far is of no use without the rest: stop as soon as the present block is in
            self._error = self._error or error
        self._hand_over(None)
        self._thread.join()
        if kind is None and self._error:
            raise self._error

    def put(self, batch: Batch) -> None:
        """Wait for a place, and hand a batch over.

        Raises:
            Unavailable: an earlier one could not be inserted.
        """
        self._hand_over(batch)
        if self._error:
            raise self._error

    def _hand_over(self, batch: Batch | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(batch, timeout=0.2)
            except Full:
                continue
            return

    def _run(self) -> None:
        while True:
            try:
                batch = self._queue.get(timeout=1)
            except Empty:
                continue
            if batch is None or self._error:
                return
            try:
                self._store(batch)
            except BaseException as error:
                self._error = error
                return

    def _store(self, batch: Batch) -> None:
        if self._discards:
            return
        for block in batch.blocks:
            self._insert(block, MOST_HALVINGS)
            self.blocks += 1
        if batch.external_ids:
            with self._books.writing() as connection:
                mark_all_recorded(connection, batch.tenant_id, batch.kind, batch.external_ids)

    def _insert(self, block: Block, halvings: int) -> None:
        """Insert a block; again, in halves, where it took so long that a poller may have passed it by."""
        began = time.monotonic()
        self._insert_patiently(block)
        if (time.monotonic() - began) * 1000 <= SLOW_MS:
            return
        if not halvings or block.rows < 2:
            self.late += 1
            return
        for half in block.halves():
            self._insert(half, halvings - 1)

    def _insert_patiently(self, block: Block) -> None:
        for attempt in range(ATTEMPTS):
            # A token of its own for each attempt: an answer that never came may hide rows that nobody noticed in time.
            token = block.token + (f":retry{attempt}" if attempt else "")
            self._stored_at = max(self._stored_at + 1, self._clock())
            try:
                self._insert_once(block, token, self._stored_at)
                return
            except Unavailable as error:
                if blames_rows(error) or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(min(2**attempt, 10))

    def _insert_once(self, block: Block, token: str, stored_at: Instant) -> None:
        if block.lines:
            # In JSON no text can hold this: its quotes would be escaped.
            stamp = f'"stored_at":{stored_at / 1000}'.encode()
            self._events.insert_json(block.table, b"\n".join(block.lines).replace(_STORED_AT, stamp), token)
            return
        assert block.columns is not None, "a block has columns or lines"
        self._events.insert_columns(block.table, stamped(block.columns, stored_at), token)


def stamped(touches: pa.Table, stored_at: Instant) -> pa.Table:
    """Touches as they are inserted: without columns that say nothing, which the store fills in by itself, and with the time of storing."""
    columns = touches.drop_columns([name for name in touches.column_names if _is_empty(touches[name])])
    stamps = pa.repeat(pa.scalar(stored_at, INSTANT), len(touches))
    for name in ("received_at", "stored_at"):
        columns = columns.append_column(name, stamps)
    return columns


def _is_empty(column: pa.ChunkedArray) -> bool:
    if pa.types.is_timestamp(column.type):
        return False
    sizes = pc.list_value_length(column) if pa.types.is_list(column.type) else pc.binary_length(column)
    return not pc.max(sizes).as_py()
