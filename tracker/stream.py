"""The way from trackers' machines to the drain: one Redis stream for each spool, and what its entries mean. Plainly I/O.

An entry is a range of whole records of one segment, byte for byte, checksums included. Its id IS the place behind it,
``<first sequence>-<end offset>``, so that a stream tells by its newest id how far it goes, Redis itself refuses what would
come twice or out of order, and a drain begins to read exactly where it stands. ``after`` names the place before the entry;
:func:`fit` holds every entry to it. What may be in Redis is never the only copy: it can vanish at any moment.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import SettingsError, Unavailable
from store.spools import BEGINNING, Place

ENTRY_BYTES = 256 * 1024
"""About how long an entry becomes; it ends with a whole record."""

RANGE_RECORDS = 20_000
RANGE_BYTES = 16 * 1024 * 1024
"""What is stored at once ends at the first of the two: its blocks stay well below what one insert may hold."""

CONNECT_WITHIN_S, ANSWER_WITHIN_S = 2.0, 5.0
_LARGEST = 2**64

_STATE = """
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info['err'] then
  if string.find(info['err'], 'no such key') then return {'', 0} end
  return {'?', 0}
end
local top, length = '', 0
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then top = info[i + 1] end
  if info[i] == 'length' then length = info[i + 1] end
end
return {top, length}
"""
"""In Redis, because over the network XINFO would bring two whole entries along."""

_APPEND = """
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
local top = ''
if not info['err'] then
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then top = info[i + 1] end end
end
if top ~= ARGV[1] then return top end
return redis.call('XADD', KEYS[1], ARGV[2], 'after', ARGV[3], 'lines', ARGV[4])
"""
"""Only behind the entry that the writer believes to be the newest: a stream whose end was lost must not go on with a gap."""


class Entry(msgspec.Struct, frozen=True):
    """Whole ``lines`` of the segment of ``end``, up to there; the spool's record before them ends at ``after``."""

    after: Place
    end: Place
    lines: bytes

    @property
    def start(self) -> int:
        return self.end[1] - len(self.lines)


class Piece(msgspec.Struct, frozen=True):
    """Whole lines of ``segment`` from byte ``start``."""

    segment: str
    start: int
    lines: bytes

    @property
    def end(self) -> Place:
        return self.segment, self.start + len(self.lines)


class State(msgspec.Struct, frozen=True):
    """A stream's newest id ever (empty: there is no stream), and how many entries it holds."""

    top: str
    length: int


# --- what an entry means ---------------------------------------------------------------------------------------------


def stream_id(place: Place) -> str:
    """The id of the entry that ends at a place; of the beginning, an id below all others."""
    segment, offset = place
    return f"{int(segment.removesuffix('.log') or 0)}-{offset}"


def place_of(stream_id: str) -> Place | None:
    """The inverse of :func:`stream_id`; None where no entry of ours could have this id."""
    first, _, offset = stream_id.partition("-")
    if not (first.isdigit() and offset.isdigit() and 0 < int(first) < _LARGEST and 0 < int(offset) < _LARGEST):
        return None
    return f"{int(first):020d}.log", int(offset)


def key_of(spool_id: str, identity: str) -> str:
    """The stream's name. The folder's identity keeps installations that share a Redis apart."""
    return f"fairshare:spool:{spool_id}:{identity}"


def fields_of(entry: Entry) -> dict[str, bytes]:
    return {"after": stream_id(entry.after).encode(), "lines": entry.lines}


def read_entry(stream_id: str, fields: dict[bytes, bytes]) -> Entry | None:
    """What stands in a stream; None where it cannot have come from a relay."""
    end, lines, after = place_of(stream_id), fields.get(b"lines", b""), fields.get(b"after", b"").decode("ascii", "replace")
    before = BEGINNING if after == "0-0" else place_of(after)
    if end is None or before is None or not lines.endswith(b"\n") or len(lines) > end[1]:
        return None
    entry = Entry(before, end, lines)
    continues = before == (end[0], entry.start)
    begins = before[0] < end[0] and entry.start == 0
    return entry if continues or begins else None


def fit(place: Place, entry: Entry) -> Piece | Literal["old", "gap"]:
    """How an entry continues a spool that is stored up to ``place``.

    Returns:
        The lines that come next, without those that are stored already; ``old`` where all of them are; ``gap`` where
        something that is not stored lies between, or the bounds do not fit.
    """
    if entry.end <= place:
        return "old"
    if entry.end[0] != place[0]:
        return Piece(entry.end[0], 0, entry.lines) if entry.after == place else "gap"
    stored = place[1] - entry.start
    if stored < 0 or (stored and entry.lines[stored - 1] != 10):
        return "gap"
    return Piece(place[0], place[1], entry.lines[stored:])


def join(
    place: Place, entries: Iterable[Entry], end: Place, most_records: int = RANGE_RECORDS, most_bytes: int = RANGE_BYTES
) -> Piece | Literal["gap"] | None:
    """What comes next after ``place``, out of consecutive entries: lines of one segment, up to about the two limits.

    Args:
        end: where an earlier attempt ended, if that lies behind ``place``: then this one ends there too, and no limit counts.

    Returns:
        ``gap`` where the first entry that is not old does not continue, or one before ``end`` does not; None where there is
        nothing, or not yet enough to reach ``end``. Where ``end`` cannot be reached any more (the tracker's machine lost what
        nobody was promised), it does not count.
    """
    found: list[bytes] = []
    at, records, size = place, 0, 0
    piece: Piece | Literal["old", "gap"] = "old"
    for entry in entries:
        piece = fit(at, entry)
        if piece == "old":
            continue
        if piece == "gap" and not found:
            return "gap"
        if piece == "gap" or (found and piece.segment != at[0]):
            break
        found.append(piece.lines)
        at, records, size = piece.end, records + piece.lines.count(b"\n"), size + len(piece.lines)
        if at >= end if end > place and end[0] == at[0] else records >= most_records or size >= most_bytes:
            break
    if not found:
        return None
    whole = Piece(at[0], at[1] - size, b"".join(found))
    if end <= place or end[0] != whole.segment:
        return whole
    if whole.end < end:
        if piece == "gap":
            return "gap"
        return whole if isinstance(piece, Piece) and piece.segment != whole.segment else None
    lines = whole.lines[: end[1] - whole.start]
    return Piece(whole.segment, whole.start, lines) if lines.endswith(b"\n") else whole


# --- the streams themselves ------------------------------------------------------------------------------------------


class Streams:
    """A connection to the Redis that holds them. Every method raises Unavailable where it does not answer, or refuses."""

    def __init__(self, url: str) -> None:
        """Does not connect yet.

        Raises:
            SettingsError: the URL cannot be used.
        """
        try:
            # Every retry is ours to decide: one that the client makes by itself would hide that the server was restarted.
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_WITHIN_S,
                socket_timeout=ANSWER_WITHIN_S,
                retry=Retry(NoBackoff(), 0),
            )
            pool = self._redis.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # connects to nothing; only this looks at what the URL asks for
            self._where = _shown(url)
        except (TypeError, ValueError, AttributeError, redis.RedisError):
            raise SettingsError(
                ["FAIRSHARE_QUEUE_URL=(hidden) is not an address of Redis, or asks for what its client does not know"]
            ) from None

    def states(self, keys: Sequence[str]) -> list[State]:
        """Each stream's newest id and length. The id ``?`` stands for a key that holds something else."""
        with self._as_unavailable(), self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.eval(_STATE, 1, key)
            return [State(top.decode(), int(length)) for top, length in pipeline.execute()]

    def append(self, key: str, top: str, entry: Entry) -> bool:
        """Add an entry behind the newest one, ``top``; false where something else is the newest. A repetition adds nothing."""
        fields = fields_of(entry)
        with self._as_unavailable():
            newest = self._redis.eval(_APPEND, 1, key, top, stream_id(entry.end), fields["after"], fields["lines"])
        return bool(newest.decode() == stream_id(entry.end))

    def read(self, key: str, after: str, count: int) -> list[tuple[str, Entry | None]]:
        """The first ``count`` entries behind an id; None for one that is not ours."""
        with self._as_unavailable():
            found = self._redis.xrange(key, min=f"({after}", count=count)
        return [(name.decode(), read_entry(name.decode(), fields)) for name, fields in found]

    def lengths(self, keys: Sequence[str]) -> list[int]:
        """How many entries each stream holds; 0 for one that does not exist or is no stream."""
        return [state.length for state in self.states(keys)]

    def bytes_in(self, keys: Sequence[str]) -> int:
        """About how much memory the entries of these streams take; 0 where there are none."""
        held = [key for key, length in zip(keys, self.lengths(keys), strict=True) if length]
        with self._as_unavailable(), self._redis.pipeline(transaction=False) as pipeline:
            for key in held:
                pipeline.memory_usage(key)
            return sum(size or 0 for size in pipeline.execute())

    def forget(self, ends: Iterable[tuple[str, Place]]) -> None:
        """Delete from each stream the entries up to a place: they are stored."""
        with self._as_unavailable(), self._redis.pipeline(transaction=False) as pipeline:
            for key, place in ends:
                pipeline.xtrim(key, minid=stream_id((place[0], place[1] + 1)), approximate=False)
            pipeline.execute()

    def remove(self, key: str, ids: Sequence[str]) -> None:
        """Delete entries that are not ours."""
        with self._as_unavailable():
            self._redis.xdel(key, *ids)

    def drop(self, key: str) -> None:
        """Delete a whole stream, which has a gap or is no stream of ours: its relay begins anew where the spool is stored."""
        with self._as_unavailable():
            self._redis.delete(key)

    def close(self) -> None:
        self._redis.close()

    @contextmanager
    def _as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Unavailable(f"the queue at {self._where} cannot be reached: {_first_line(error)}") from error
        except redis.RedisError as error:
            raise Unavailable(f"the queue at {self._where} refuses: {_first_line(error)}") from error


def _shown(url: str) -> str:
    """Host and port; a password stays out of every message."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
