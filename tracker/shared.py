"""What trackers of several machines have in common, in Redis: counts and snapshots of the link table. Plainly I/O.

Every call ends within seconds and none raises: a Redis that is away, empty, slow or full of garbage is an answer of None,
counted in ``failures``, and the tracker goes on with what it has. After a failure Redis is left alone for a second.

Keys, all under ``fairshare:{installation}:``, which is derived from the installation's secret:

- ``counts``: a hash, tracker id to what it counted (:func:`tracker.limits.pack_counts`). Absolute numbers, written by that tracker
  alone: a repeat changes nothing, and an empty Redis is full again after one exchange.
- ``links``: the head of the newest snapshot, and ``links:chunks``: its chunks by digest (:mod:`tracker.snapshot`).
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from core.errors import SettingsError
from store.links import Mark
from tracker.limits import Counts, pack_counts, unpack_counts
from tracker.links import LinkTable
from tracker.snapshot import HEAD_BYTES, Head, Packed, installation_name, pack_head, pack_shelf, table_of, unpack_head, unpack_shelf

CONNECT_WITHIN_S = 0.5
ANSWER_WITHIN_S = 2.0
REST_AFTER_FAILURE_S = 1.0
CHUNKS_AT_ONCE = 16
WRITER_S = 60
"""Whoever writes a snapshot is alone with it for so long at most."""
TRACKERS = 256
"""More trackers than anybody runs: a hash with more fields is not read."""

Pause = Callable[[], None]
Result = TypeVar("Result")


class Redis:
    """A connection that rests after a failure. ``failures`` counts them, ``last_failure`` is the newest, without any address."""

    def __init__(self, url: str, secret: bytes) -> None:
        """Does not connect yet.

        Raises:
            SettingsError: the URL cannot be used.
        """
        import redis  # a tenth of a second that trackers without a Redis do not pay
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self.prefix = f"fairshare:{installation_name(secret)}:"
        self.failures = 0
        self.last_failure = ""
        self._rest_until = 0.0
        patience = {"socket_connect_timeout": CONNECT_WITHIN_S, "socket_timeout": ANSWER_WITHIN_S}
        try:
            # Our own exchange is the retry.
            retry = Retry(NoBackoff(), 0)
            self._client: Any = redis.Redis.from_url(url, retry=retry, **patience)
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # connects to nothing; only this looks at what the URL asks for
        except (TypeError, ValueError, AttributeError, redis.RedisError):
            raise SettingsError(
                ["FAIRSHARE_QUEUE_URL=(hidden) is not an address of Redis, or asks for what its client does not know"]
            ) from None

    def ask(self, question: Callable[[Any], Result]) -> Result | None:
        """What ``question(client)`` gives; None where Redis does not answer, refuses, or rests."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            return question(self._client)
        except self._errors as fault:
            self.failures += 1
            self.last_failure = type(fault).__name__
            self._rest_until = time.monotonic() + REST_AFTER_FAILURE_S
            return None

    def close(self) -> None:
        self._client.close()


class SharedCounts:
    """Every tracker's counts, in a hash."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = f"{redis.prefix}counts"
        self._pushed = b""
        self._raw: dict[str, bytes] = {}
        self._known: dict[str, Counts] = {}
        self.garbage = 0

    def exchange(self, own: Counts | None, pause: Pause = lambda: None) -> dict[str, Counts] | None:
        """Say what this tracker counted, hear what all did: by tracker id, its own too. None where Redis does not answer.

        Args:
            own: None says what was said the last time, where Redis lost it, and nothing otherwise.
        """
        if own is not None:
            self._pushed, self._name = pack_counts(own, pause), own.tracker_id
        found = self._redis.ask(lambda client: self._ask(client, is_news=own is not None))
        if found is None:
            return None
        if self._pushed and found.get(self._name) != self._pushed:
            self._redis.ask(lambda client: client.hset(self._key, self._name, self._pushed))  # Redis came back empty
        for name, data in found.items():
            if self._raw.get(name) != data:
                self._read(name, data, pause)
        return self._known

    def _ask(self, client: Any, is_news: bool) -> dict[str, bytes]:
        with client.pipeline(transaction=False) as pipeline:
            if is_news:
                pipeline.hset(self._key, self._name, self._pushed)
            pipeline.hlen(self._key)
            sizes = pipeline.execute(raise_on_error=False)
        if isinstance(sizes[-1], Exception) or sizes[-1] > TRACKERS:
            client.delete(self._key)  # not a hash of ours: everybody says again what they counted
            self.garbage += 1
            return {}
        return {name.decode("utf-8", "replace"): data for name, data in client.hgetall(self._key).items()}

    def _read(self, name: str, data: bytes, pause: Pause) -> None:
        """What cannot be read leaves what was known."""
        counts = unpack_counts(data, pause)
        self._raw[name] = data
        if counts is None or counts.tracker_id != name:
            self.garbage += 1
        else:
            self._known[name] = counts


class SharedLinks:
    """The snapshot that the trackers of an installation share."""

    def __init__(self, redis: Redis, secret: bytes, packed: Packed) -> None:
        self._redis = redis
        self._secret = secret
        self._packed = packed
        self._head_key, self._chunks_key, self._lock_key = (
            f"{redis.prefix}links",
            f"{redis.prefix}links:chunks",
            f"{redis.prefix}links:writer",
        )
        self._damaged: set[bytes] = set()
        self.garbage = 0

    def load(self, pause: Pause = lambda: None) -> LinkTable | None:
        """The table of the snapshot; None where there is none that is whole and of this installation."""
        found = self._redis.ask(self._read_head)
        if not found:
            return None
        head, shelves = found[0], []
        for start in range(0, len(head.chunks), CHUNKS_AT_ONCE):
            wanted = head.chunks[start : start + CHUNKS_AT_ONCE]
            chunks = self._redis.ask(lambda client, wanted=wanted: client.hmget(self._chunks_key, wanted))  # type: ignore[misc]
            if chunks is None:
                return None
            for chunk, digest in zip(chunks, wanted, strict=True):
                shelf = unpack_shelf(chunk, digest) if chunk else None
                if shelf is None:
                    self.garbage += 1
                    self._damaged.add(digest)
                    return None
                shelves.append(shelf)
                pause()
        return table_of(head, shelves, self._secret)

    def save(
        self, table: LinkTable, pause: Pause = lambda: None, is_known: Callable[[Mark], bool] = lambda _: True, _at_once: bool = False
    ) -> bool:
        """Put a table down, unless the same or a newer one lies there whole; false where Redis does not take it.

        A newer one whose change is not ``is_known`` gives way: it is of books that were since put back from a copy.
        The chunks come first and the head last: whoever reads meanwhile sees the old table or the new one.
        """
        found = self._redis.ask(lambda client: (self._read_head(client), self._read_chunk_names(client)))
        if found is None:
            return False
        (*before,), there = found
        if before and there.issuperset(before[0].chunks) and _is_as_new(before[0], table, is_known):
            return True
        if not self._redis.ask(lambda client: bool(client.set(self._lock_key, b"", nx=True, ex=WRITER_S))):
            return False  # somebody else is at it
        try:
            return self._write(table, there, {digest for head in before for digest in head.chunks}, pause)
        finally:
            self._redis.ask(lambda client: client.delete(self._lock_key))

    def _write(self, table: LinkTable, there: set[bytes], before: set[bytes], pause: Pause) -> bool:
        digests = self._packed.digests(table, pause)
        shelves = dict(zip(digests, table.links.shelves, strict=True))
        missing = [digest for digest in shelves if digest not in there]
        for start in range(0, len(missing), CHUNKS_AT_ONCE):
            chunks = {digest: pack_shelf(shelves[digest]) for digest in missing[start : start + CHUNKS_AT_ONCE]}
            if self._redis.ask(lambda client, chunks=chunks: client.hset(self._chunks_key, mapping=chunks)) is None:  # type: ignore[misc]
                return False
            pause()
        head = pack_head(table, digests, self._secret)
        if self._redis.ask(lambda client: client.set(self._head_key, head)) is None:
            return False
        self._damaged.clear()
        # Those of the head before stay for one more turn: somebody may be reading it.
        if gone := list(there - set(digests) - before):
            self._redis.ask(lambda client: client.hdel(self._chunks_key, *gone))
        return True

    def _read_head(self, client: Any) -> tuple[Head, ...]:
        """The head; nothing where there is none of ours, or one that is damaged."""
        if client.type(self._head_key) != b"string" or client.strlen(self._head_key) > HEAD_BYTES:
            return ()
        head = unpack_head(client.get(self._head_key) or b"", self._secret)
        self.garbage += head is None
        return () if head is None else (head,)

    def _read_chunk_names(self, client: Any) -> set[bytes]:
        if client.type(self._chunks_key) not in (b"hash", b"none"):
            client.delete(self._chunks_key)
        return set(client.hkeys(self._chunks_key)) - self._damaged


def _is_as_new(head: Head, table: LinkTable, is_known: Callable[[Mark], bool]) -> bool:
    mark = Mark(head.version, head.changed_at, head.what)
    return mark == Mark(table.version, table.changed_at, table.what) or (head.version > table.version and is_known(mark))
