"""A tenant's keys and their links as they are stored, read once and then kept up with. I/O: the events store.

Links come from events that show keys together, and from touches that an event names: these join a click's id with the visitor who
made it, however late either is stored. Links that were revoked, and keys whose value means nobody, are left out while reading.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attribution.graph import KeyGraph
from attribution.identity import CLICK, IdentityRules, click_key
from attribution.keys import Array, Growing, KeyTable, Secret, distinct, hashes_of
from core.clock import DAY, Instant
from core.ids import is_event_id, minted_at
from store.cursors import REREAD_MS
from store.events import EventsStore, parts_of, read_query

IDENTITY_MARKS = read_query(__file__, "identity_marks")
REVOCATIONS = read_query(__file__, "revocations")
STORED_UP_TO = read_query(__file__, "stored_up_to")
LINK_RANGES = read_query(__file__, "link_ranges")
LINKS_SINCE = read_query(__file__, "links_since")
JOINED_CLICKS = read_query(__file__, "joined_clicks")
ORDER_CLICKS_SINCE = read_query(__file__, "order_clicks_since")
TOUCHES_SINCE = read_query(__file__, "touches_since")
MAKERS_OF_TOUCHES = read_query(__file__, "makers_of_touches")

PAGE = 1_000_000
"""Links read at a time: each takes about 150 bytes until it is a pair of numbers."""
SAMPLE = 65_536
LAST_KEY = "\U0010ffff"
"""Above every key."""
MINT_TOLERANCE = DAY

Links = tuple[Array, Array, Array]
"""Keys, others, and times in milliseconds: three arrays of equal length."""


class Keyring:
    """The keys of one tenant: their texts in ``table``, their links in ``graph``, and of each number what kind of key it is."""

    def __init__(self, events: EventsStore, tenant_id: str, rules: IdentityRules, secret: Secret) -> None:
        """Read everything there is.

        Raises:
            Unavailable: the events store cannot answer.
            Collision: the secret does not do; take another.
        """
        self.secret = secret
        self.table, self.graph = KeyTable(), KeyGraph(rules.touches)
        self._is_click, self._is_unique, self._is_junk = (Growing(np.empty(0, bool)) for _ in range(3))
        self._visitor_of, self._limits = Growing(np.empty(0, np.int32)), Growing(np.empty(0, np.int32))
        self._events, self._tenant_id, self._rules = events, tenant_id, rules
        self._unjoined = np.empty(0, np.uint64)
        """Hashes of clicks that were named, but are not on record."""
        self._recent = np.empty(0, np.uint64)
        """Hashes of the links that the next reading meets again."""
        self.marks = self.marks_now()
        self.revoked = {(key, other) for key, other in self._ask(REVOCATIONS)}
        ((self._position,),) = self._ask(STORED_UP_TO)
        links = [*self._read_links(0), self._join(self._table_of(JOINED_CLICKS))]
        self._link(links)

    @property
    def is_click(self) -> Array:
        """By number: is it a click's."""
        return self._is_click.values

    @property
    def is_unique(self) -> Array:
        """By number: is it of a kind of which nobody has two."""
        return self._is_unique.values

    @property
    def visitor_of(self) -> Array:
        """By number: the number of the visitor who made a click, -1 where that is not known."""
        return self._visitor_of.values

    def is_apart(self, numbers: Array) -> Array:
        """Which of these keys the rules let make no links."""
        result: Array = self.graph.hub[numbers] | self._is_junk.values[numbers]
        return result

    def marks_now(self) -> tuple[int, int]:
        """How many revocations and erasures there are; where it is not what it was, read everything anew."""
        ((revoked, erased),) = self._ask(IDENTITY_MARKS)
        return revoked, erased

    def read_news(self) -> tuple[Array, Array, Array]:
        """Take up what was stored since.

        Returns the keys whose component changed or was first seen earlier, or that became hubs; the labels these had before; and the
        keys with a new link.
        """
        since, first = max(0, self._position - REREAD_MS), len(self.table)
        links = list(self._read_links(since))
        links += self._join_late(since, first)
        changed, before = self._link(links)
        return changed, before, distinct(np.concatenate([end for keys, others, _ in links for end in (keys, others)] or [changed[:0]]))

    def numbers_of(self, keys: Iterable[str]) -> Array:
        """The keys' numbers, -1 where one is not linked with any."""
        return self.table.find(hashes_of(list(keys), self.secret))

    def _ask(self, query: Any, **params: Any) -> list[tuple[Any, ...]]:
        return self._events.select(query, tenant_id=self._tenant_id, **params)

    def _table_of(self, query: Any, **params: Any) -> pa.Table:
        secret = {"secret_1": self.secret[0], "secret_2": self.secret[1]}
        return self._events.select_table(query, tenant_id=self._tenant_id, **secret, **params)

    # --- links -------------------------------------------------------------------------------------------------------

    def _read_links(self, since: Instant) -> Iterator[Links]:
        """The links stored from ``since`` on that count and were not read before, page by page."""
        seen = [(np.empty(0, np.int64), self._recent[:0])]
        for rows in self._pages(since):
            stored, row = _column(rows, "stored_ms"), _column(rows, "row")
            self._position = max(self._position, int(stored.max(initial=0)))
            late = stored >= self._position - REREAD_MS
            seen.append((stored[late], row[late]))
            if rows.num_rows:
                yield self._counting(_where(rows, ~np.isin(row, self._recent)) if len(self._recent) else rows)
        self._recent = distinct(np.concatenate([row[stored >= self._position - REREAD_MS] for stored, row in seen]))

    def _pages(self, since: Instant) -> Iterator[pa.Table]:
        """The links stored from ``since`` on, range by range; while one is worked through, the store reads the next."""

        def read(ends: tuple[str, str]) -> pa.Table:
            return self._table_of(LINKS_SINCE, since_ms=since, from_key=ends[0], to_key=ends[1]).combine_chunks()

        ranges = list(self._ranges(since))
        if len(ranges) < 2:
            yield from map(read, ranges)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="read-links") as reader:
            following = reader.submit(read, ranges[0])
            for ends in ranges[1:]:
                rows, following = following.result(), reader.submit(read, ends)
                yield rows
            yield following.result()

    def _ranges(self, since: Instant) -> Iterator[tuple[str, str]]:
        """Ranges of keys, from (exclusive) and to (inclusive), that hold about ``PAGE`` links each."""
        sample = [key for (key,) in self._ask(LINK_RANGES, since_ms=since, every=SAMPLE)]
        pages = len(sample) * SAMPLE // PAGE + 1
        ends = [*sorted({sample[len(sample) * number // pages] for number in range(1, pages)}), LAST_KEY]
        return zip(["", *ends[:-1]], ends, strict=True)

    def _counting(self, rows: pa.Table) -> Links:
        """The links that count, by their keys' numbers."""
        hashes = np.concatenate([_column(rows, "hash"), _column(rows, "other_hash")])
        checks = np.concatenate([_column(rows, "check"), _column(rows, "other_check")])
        texts = pa.chunked_array([*rows["key"].chunks, *rows["other_key"].chunks], pa.string())
        numbers = self._add(hashes, checks, texts)
        keys, others, times = numbers[: rows.num_rows], numbers[rows.num_rows :], _column(rows, "linked_ms")
        junk = self._is_junk.values
        counts = ~(junk[keys] | junk[others] | self._is_revoked(keys, others)) & (keys != others)
        return keys[counts], others[counts], times[counts]

    def _link(self, links: list[Links]) -> tuple[Array, Array]:
        first = len(self.graph)
        self.graph.grow(self._limits.values[first:], self.is_click[first:])
        return self.graph.link(*_together(links))

    def _is_revoked(self, keys: Array, others: Array) -> Array:
        result = np.zeros(len(keys), bool)
        if not self.revoked:
            return result
        ones = self.numbers_of(key for key, _ in self.revoked)
        whole = np.array([not other for _, other in self.revoked])
        blocked = ones[whole]
        result |= np.isin(keys, blocked) | np.isin(others, blocked)
        ends = np.stack([ones, self.numbers_of(other for _, other in self.revoked)])[:, ~whole].astype(np.int64)
        low, high = ends.min(axis=0), ends.max(axis=0)
        pairs = np.minimum(keys, others).astype(np.int64) << 32 | np.maximum(keys, others)
        result |= np.isin(pairs, (low << 32 | high)[low >= 0])
        return result

    def _add(self, hashes: Array, checks: Array, texts: pa.ChunkedArray) -> Array:
        """The keys' numbers; new keys are taken up."""
        first = len(self.table)
        numbers = self.table.add(hashes, checks, texts)
        count = len(self.table) - first
        limits = np.full(count, self._rules.neighbours)
        for kind, limit in self._rules.neighbours_of:
            limits[self.table.begins_with(f"{kind}:", first)] = limit
        unique = np.zeros(count, bool)
        for kind in self._rules.unique:
            unique |= self.table.begins_with(f"{kind}:", first)
        junk = np.zeros(count, bool)
        if self._rules.blocked:
            junk = np.asarray(pc.match_substring_regex(self.table.texts_from(first), self._rules.blocking))
        self._limits.append(limits)
        self._is_click.append(self.table.begins_with(CLICK, first))
        self._is_unique.append(unique)
        self._is_junk.append(junk)
        self._visitor_of.append(np.full(count, -1, np.int32))
        return numbers

    # --- clicks ------------------------------------------------------------------------------------------------------

    def _join(self, rows: pa.Table) -> Links:
        """The links from clicks to the visitors who made them; the others stay in mind."""
        made = np.asarray(pc.not_equal(rows["other_key"], ""))
        self._unjoined = distinct(np.concatenate([self._unjoined, _column(rows, "hash")[~made]]))
        rows = _where(rows, made)
        self._unjoined = np.setdiff1d(self._unjoined, _column(rows, "hash"), assume_unique=True)
        links = self._counting(rows)
        self.visitor_of[links[0]] = links[1]
        return links

    def _join_late(self, since: Instant, first: int) -> Iterator[Links]:
        """Clicks named lately, of any age; then clicks stored lately, named before."""
        named = self._named_since(since, first)
        for part in parts_of(named):
            bounds = {"from_ms": minted_at(part[0]) - MINT_TOLERANCE, "to_ms": minted_at(part[-1]) + MINT_TOLERANCE}
            yield self._join(self._table_of(MAKERS_OF_TOUCHES, touch_ids=part, **bounds))
        keys = [click_key(touch_id) for touch_id in sorted(named)]
        numbers, hashes = self.numbers_of(keys), hashes_of(keys, self.secret)
        joined = (numbers >= 0) & (self.visitor_of[np.maximum(numbers, 0)] >= 0) if len(self.table) else numbers >= 0
        self._unjoined = distinct(np.concatenate([self._unjoined, hashes[~joined]]))
        rows = self._table_of(TOUCHES_SINCE, since_ms=since)
        if rows.num_rows:
            self._position = max(self._position, int(_column(rows, "stored_ms").max()))
            yield self._join(_where(rows, np.isin(_column(rows, "hash"), self._unjoined)))

    def _named_since(self, since: Instant, first: int) -> set[str]:
        """Ids of clicks that were named since, and not looked up yet."""
        new = first + np.flatnonzero(self.is_click[first:])
        orders = self._ask(ORDER_CLICKS_SINCE, since_ms=since)
        self._position = max([self._position, *(stored for _, stored in orders)])
        ids = {key.removeprefix(CLICK) for key in self.table.texts(new)} | {click_id for click_id, _ in orders}
        named = sorted(touch_id for touch_id in ids if is_event_id(touch_id))
        hashes = hashes_of([click_key(touch_id) for touch_id in named], self.secret)
        numbers = self.table.find(hashes)
        fresh = ~np.isin(hashes, self._unjoined)
        fresh[numbers >= 0] &= self.visitor_of[numbers[numbers >= 0]] < 0
        return {touch_id for touch_id, wanted in zip(named, fresh.tolist(), strict=True) if wanted}


def _together(links: list[Links]) -> Links:
    keys = np.concatenate([np.empty(0, np.int32), *(one[0] for one in links)])
    others = np.concatenate([np.empty(0, np.int32), *(one[1] for one in links)])
    return keys, others, np.concatenate([np.empty(0, np.int64), *(one[2] for one in links)])


def _column(rows: pa.Table, name: str) -> Array:
    column = rows[name]
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    result: Array = array.to_numpy()
    return result


def _where(rows: pa.Table, wanted: Array) -> pa.Table:
    return rows if wanted.all() else rows.filter(pa.array(wanted))
