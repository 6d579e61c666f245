"""Ranges of records into the events store: every row once, whoever brings them. It knows of no folders and no cursors.

The interface, for the drain (:mod:`tracker.drain`) and for whatever else brings records::

    loader = Loader(events, countries.country_of, clock)
    loader.resume_after(stored_at)                      # of everything stored before, by anyone
    manifest = loader.prepare(found, received_at)       # a Range becomes the very bytes that will be inserted
    ...                                                 # the caller makes the manifest durable
    stored = loader.store(manifest, record_at)          # may be repeated until it returns
    ...                                                 # the caller makes durable that the range is stored

``record_at(position)`` gives back one of the range's records, for ``bad_rows``. A crash between any two of these steps
repeats inserts of the same bytes under the same tokens at most, and the store drops the repetition. Tokens are made of
spool id, segment and offsets alone: one range must always be read with the same bounds once its manifest is written.
Manifests must be stored in the order in which they were prepared: readers follow ``stored_at``.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

import msgspec

from core.clock import DAY, Clock, Instant, as_datetime
from core.errors import Unavailable
from core.events import Touch
from store.events import EventsStore
from tracker.enrich import (
    DETAIL_CHARS,
    END_OF_TIME,
    TABLES,
    UNREADABLE,
    BadRow,
    CountryOf,
    Placed,
    Row,
    Unusable,
    read_event,
    rows,
    touch_row,
)
from tracker.manifest import Block, Manifest
from tracker.spool import Damage

REFUSALS = frozenset((6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 128, 130, 131, 190, 321, 349, 407, 467, 469, 561, 691))
"""ClickHouse error codes that blame the rows: a text that does not parse, a value out of its range, arrays of unequal size, a
violated constraint. Every other error blames the store, and is waited out."""

_log = logging.getLogger("fairshare.loading")
_encoder = msgspec.json.Encoder()

Record = tuple[int, int, bytes | Damage]
"""``(offset, next offset, payload)``, as :func:`tracker.spool.read_records` yields them."""

RecordAt = Callable[[int], bytes | Damage]
"""The record at an offset of the range."""

Culprit = tuple[int, str]
"""The index of a row in its block, and why the store refuses it."""

REFUSED_PARTS = 8
"""A refused block is tried again in so many parts: 40 inserts find one culprit among 20,000, and rows that are all refused
cost little more than an insert each, where halving would cost two."""

ASIDE_ROWS = 1000
ENCODED_TOGETHER = 64


class Range(msgspec.Struct, frozen=True):
    """Whole records of one segment of one spool, from byte ``start`` to ``end`` (exclusive)."""

    spool_id: str
    segment: str
    start: int
    end: int
    records: list[Record]


class Stored(msgspec.Struct, frozen=True):
    """What became of a manifest: ``rows`` stored by table, ``refused`` of them in ``bad_rows`` because the store would not
    have them where they belong."""

    rows: dict[str, int]
    refused: int = 0


class Loader:
    """Gives each range its place in the order of storing, and stores it. One thread may prepare while another stores."""

    def __init__(self, events: EventsStore, country_of: CountryOf, clock: Clock) -> None:
        self._events = events
        self._country_of = country_of
        self._clock = clock
        self.stored_at: Instant = 0
        """The highest given out so far, or resumed after."""

    def resume_after(self, stored_at: Instant) -> None:
        """Give out no ``stored_at`` up to this one."""
        self.stored_at = max(self.stored_at, stored_at)

    def prepare(self, found: Range, received_at: Instant) -> Manifest:
        """What a range becomes. ``received_at`` is the highest of its spool so far, 0 where that is not known."""
        # Each range has a stored_at of its own: "up to here" then means the same to every reader.
        self.stored_at = max(self.stored_at + 1, self._clock())
        return enrich_range(found, self.stored_at, received_at, self._country_of)

    def store(self, manifest: Manifest, record_at: RecordAt) -> Stored:
        """Insert a manifest's blocks, in order. Rows that the store refuses are set aside, their whole records in ``bad_rows``.

        Raises:
            Unavailable: the store cannot take it now; the same call later finishes what was begun.
        """
        stored: dict[str, int] = {}
        refused = 0
        for block in manifest.blocks:
            culprits = self._insert(block)
            self._set_aside(manifest, block, culprits, record_at)
            refused += len(culprits)
            stored[block.table] = stored.get(block.table, 0) + len(block.positions) - len(culprits)
        if refused:
            stored["bad_rows"] = stored.get("bad_rows", 0) + refused
            _log.warning("the events store refused %d rows of %s/%s; they are in bad_rows", refused, manifest.spool_id, manifest.segment)
        return Stored(stored, refused)

    def _insert(self, block: Block) -> list[Culprit]:
        """Insert a block; the rows that the store refuses are left out."""
        try:
            self._events.insert_json(block.table, block.lines, block.token)
        except Unavailable as error:
            if not blames_rows(error):
                raise
            return self._insert_parts(block, block.lines.splitlines(keepends=True), 0, len(block.positions), str(error))
        return []

    def _insert_parts(self, block: Block, lines: list[bytes], start: int, end: int, why: str) -> list[Culprit]:
        """Rows ``[start, end)`` were refused together: find the culprits, insert the others, under tokens of their own."""
        if end - start == 1:
            return [(start, why)]
        culprits = []
        size = -(-(end - start) // REFUSED_PARTS)
        for first in range(start, end, size):
            last = min(first + size, end)
            try:
                self._events.insert_json(block.table, b"".join(lines[first:last]), f"{block.token}:{first}-{last}")
            except Unavailable as error:
                if not blames_rows(error):
                    raise
                culprits += self._insert_parts(block, lines, first, last, str(error))
        return culprits

    def _set_aside(self, manifest: Manifest, block: Block, culprits: list[Culprit], record_at: RecordAt) -> None:
        """Keep refused rows' whole records in ``bad_rows``, so many at a time."""
        for start in range(0, len(culprits), ASIDE_ROWS):
            some = culprits[start : start + ASIDE_ROWS]
            lines = _encoder.encode_lines([_refused_row(manifest, block, index, record_at, why) for index, why in some])
            # The indexes alone make the token: what the store says of a row may be worded otherwise the next time.
            digest = sha256(repr([index for index, _ in some]).encode()).hexdigest()[:16]
            self._events.insert_json("bad_rows", lines, f"{block.token}:refused:{digest}")


def _refused_row(manifest: Manifest, block: Block, index: int, record_at: RecordAt, why: str) -> Row:
    # An order whose identity link was refused is stored all the same: conservation must not count it twice.
    unusable = Unusable("link_refused" if block.table == "identity_links" else "refused", why[:DETAIL_CHARS])
    position = block.positions[index]
    record = record_at(position)
    return bad_row(manifest.spool_id, manifest.segment, position, record, unusable, manifest.received_at, manifest.stored_at).row


def blames_rows(error: Unavailable) -> bool:
    """True where the store answered, and said that the rows are at fault; a retry would get the same answer."""
    return getattr(error.__cause__, "code", None) in REFUSALS


# --- what a range becomes --------------------------------------------------------------------------------------------


def enrich_range(found: Range, stored_at: Instant, received_at: Instant, country_of: CountryOf) -> Manifest:
    """The blocks of a range: one per table and month, in loading order, with tokens that only this range can have.

    ``received_at`` is the highest of the spool so far; a record that does not say when it came is put there, or where its
    segment began.
    """
    received_at = received_at or begun_at(found.segment)
    gathered: dict[tuple[str, int], _Gathered] = {}
    bad = 0

    def put(table: str, at: Instant, position: int, row: Row) -> None:
        place = (table, _month(at // DAY))
        if place not in gathered:
            gathered[place] = _Gathered()
        gathered[place].add(position, row)

    for position, _, payload in found.records:
        event = Unusable("damaged", "the checksum does not fit the line") if isinstance(payload, Damage) else read_event(payload)
        if isinstance(event, Unusable):
            bad += 1
            table, at, row = bad_row(found.spool_id, found.segment, position, payload, event, received_at, stored_at)
            put(table, at, position, row)
            continue
        received_at = max(received_at, event.received_at)
        if isinstance(event, Touch) and not event.customer_keys:  # nearly all of them: no tuple of one for each
            put("touches", event.occurred_at, position, touch_row(event, stored_at, country_of))
            continue
        for table, at, row in rows(event, stored_at, country_of):
            put(table, at, position, row)
    token = f"{found.spool_id}:{found.segment.removesuffix('.log')}:{found.start}-{found.end}"
    blocks = [
        Block(table, month, f"{token}:{table}:{month}", rows_of.positions, rows_of.lines())
        for table in TABLES
        for (_, month), rows_of in sorted(item for item in gathered.items() if item[0][0] == table)
    ]
    return Manifest(found.spool_id, found.segment, found.start, found.end, stored_at, received_at, len(found.records), bad, blocks)


class _Gathered:
    """The rows of one block. They are encoded a few at a time, while the processor's cache still has them: that saves a fifth."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self._rows: list[Row] = []
        self._encoded: list[bytes] = []

    def add(self, position: int, row: Row) -> None:
        self.positions.append(position)
        self._rows.append(row)
        if len(self._rows) == ENCODED_TOGETHER:
            self._encode()

    def lines(self) -> bytes:
        self._encode()
        return b"".join(self._encoded)

    def _encode(self) -> None:
        self._encoded.append(_encoder.encode_lines(self._rows))
        self._rows.clear()


def bad_row(
    spool_id: str, segment: str, position: int, record: bytes | Damage, why: Unusable, received_at: Instant, stored_at: Instant
) -> Placed:
    """A record that cannot be used, whole, with what can still be told of its tenant and time.

    Bytes that are no UTF-8 are written ``\\xff``. ``received_at`` stands in where the record does not say its own.
    """
    raw = record.raw if isinstance(record, Damage) else record
    glimpse = Glimpse() if isinstance(record, Damage) else glimpse_of(raw)  # a damaged tenant id could be anybody's
    at = glimpse.received_at or received_at
    row = BadRow(
        glimpse.tenant_id,
        spool_id,
        segment,
        position,
        why.reason,
        why.detail,
        raw.decode("utf-8", "backslashreplace"),
        at / 1000,
        stored_at / 1000,
    )
    return Placed("bad_rows", at, row)


class Glimpse(msgspec.Struct, frozen=True):
    """What can be told of a record without trusting the rest of it. ``received_at`` 0: it does not say."""

    event: str = ""
    event_id: str = ""
    tenant_id: str = ""
    received_at: Instant = 0
    source: str = ""


_decode_glimpse = msgspec.json.Decoder(Glimpse).decode


def glimpse_of(payload: bytes) -> Glimpse:
    """Whose record this is, and when it came; empty where even that cannot be read."""
    try:
        glimpse = _decode_glimpse(payload)
    except UNREADABLE:
        return Glimpse()
    return glimpse if 0 <= glimpse.received_at < END_OF_TIME else msgspec.structs.replace(glimpse, received_at=0)


def begun_at(segment: str) -> Instant:
    """When a segment was begun: its name counts from the microseconds of that moment."""
    at = int(segment.removesuffix(".log")) // 1000
    return at if at < END_OF_TIME else 0


@lru_cache(4096)
def _month(day: int) -> int:
    """The month of a day since 1970, as 202611."""
    moment = as_datetime(day * DAY)
    return moment.year * 100 + moment.month
