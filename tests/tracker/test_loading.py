"""Ranges become blocks, and blocks rows: all of them, once, and what the store will not have is kept whole."""

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest

from core.clock import DAY, HOUR
from core.errors import Unavailable
from core.events import Touch, encode_event
from store.events import EventsStore, Query
from tests.fakes import NOON, FakeClock
from tracker.loading import ASIDE_ROWS, Loader, Range, Record, glimpse_of
from tracker.spool import Damage

SEGMENT = "00000000000000000001.log"
ASIDE = Query("aside", "SELECT position, reason, length(raw), length(detail) FROM bad_rows ORDER BY position")
TOUCHES = Query("touches", "SELECT touch_id, tenant_id FROM touches ORDER BY touch_id")


class Refused(Exception):
    code = 72


class Picky:
    """A store in memory that drops repeated tokens, and refuses touches that hold a given word."""

    def __init__(self, *words: str) -> None:
        self.words = [word.encode() for word in words]
        self.rows: dict[str, list[bytes]] = {}
        self.tokens: list[str] = []
        self.wording = "no"

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        self.tokens.append(token)
        if table == "touches" and any(word in lines for word in self.words):
            raise Unavailable(f"the events store refuses insert: {self.wording}") from Refused()
        self.rows.setdefault(f"{table} {token}", lines.splitlines())

    def column(self, table: str, name: str) -> list[object]:
        found = [msgspec.json.decode(line)[name] for key, lines in self.rows.items() if key.split()[0] == table for line in lines]
        return sorted(found)


def click(number: int, at: int = NOON, tenant_id: str = "north") -> bytes:
    return encode_event(Touch(f"T{number:05d}", "click", tenant_id, "main", "anna", "a1", at, at, user_agent="Mozilla/5.0 Gecko/1"))


def range_of(*payloads: bytes | Damage, spool_id: str = "t0", start: int = 0) -> Range:
    """Records as they lie in a segment from ``start`` on, or came over a network."""
    sizes = [len(payload.raw if isinstance(payload, Damage) else payload) + 10 for payload in payloads]
    ends = [start + sum(sizes[: index + 1]) for index in range(len(sizes))]
    records: list[Record] = [(first, end, payload) for (first, end), payload in zip(pairwise([start, *ends]), payloads, strict=True)]
    return Range(spool_id, SEGMENT, start, ends[-1], records)


def record_at(found: Range) -> Callable[[int], bytes | Damage]:
    return {position: payload for position, _, payload in found.records}.__getitem__


def loader_of(events: object, clock: FakeClock) -> Loader:
    return Loader(events, lambda _address: "", clock)  # type: ignore[arg-type]


def test_a_touch_that_knows_its_customer_brings_its_links_and_another_brings_none(clock: FakeClock) -> None:
    call = Touch("01JD7Q9QZ0ABCDEFGHJKMNPQRS", "call", "north", "main", "anna", "a1", NOON, NOON, customer_keys=("ph:aa",), source="api")
    store = Picky()
    loader, found = loader_of(store, clock), range_of(click(1), encode_event(call))
    stored = loader.store(loader.prepare(found, 0), record_at(found))

    assert stored.rows == {"touches": 2, "identity_links": 2}
    assert store.column("identity_links", "key") == ["c:01JD7Q9QZ0ABCDEFGHJKMNPQRS", "ph:aa"]


# --- the place in the order of storing -------------------------------------------------------------------------------


def test_every_range_has_a_stored_at_of_its_own_behind_whatever_was_stored_before(clock: FakeClock) -> None:
    loader = loader_of(Picky(), clock)
    given = [loader.prepare(range_of(click(1)), 0).stored_at, loader.prepare(range_of(click(2)), 0).stored_at]
    loader.resume_after(NOON + HOUR)
    given.append(loader.prepare(range_of(click(3)), 0).stored_at)
    loader.resume_after(NOON)
    clock.advance(2 * HOUR)
    given.append(loader.prepare(range_of(click(4)), 0).stored_at)

    assert given == [NOON, NOON + 1, NOON + HOUR + 1, NOON + 2 * HOUR]


def test_the_same_range_has_the_same_tokens_whoever_brings_it_and_another_has_others(clock: FakeClock) -> None:
    def tokens(found: Range) -> list[str]:
        return [block.token for block in loader_of(Picky(), clock).prepare(found, 0).blocks]

    assert tokens(range_of(click(1))) == tokens(range_of(click(1))) == [f"t0:{SEGMENT[:-4]}:0-{len(click(1)) + 10}:touches:202611"]
    assert tokens(range_of(click(1), start=9)) != tokens(range_of(click(1))) != tokens(range_of(click(1), spool_id="t1"))


def test_rows_keep_their_order_and_their_positions_in_blocks_of_any_size(clock: FakeClock) -> None:
    found = range_of(*(click(number, NOON - number % 2 * 40 * DAY) for number in range(200)))
    manifest = loader_of(Picky(), clock).prepare(found, 0)

    assert [(block.table, block.month, len(block.positions)) for block in manifest.blocks] == [
        ("touches", 202610, 100),
        ("touches", 202611, 100),
    ]
    for block, first in zip(manifest.blocks, (1, 0), strict=True):
        numbers = range(first, 200, 2)
        assert [msgspec.json.decode(line)["touch_id"] for line in block.lines.splitlines()] == [f"T{number:05d}" for number in numbers]
        assert block.positions == [found.records[number][0] for number in numbers]


# --- rows that the store refuses -------------------------------------------------------------------------------------


def test_the_caller_is_asked_for_refused_records_and_for_no_others(clock: FakeClock) -> None:
    found, asked = range_of(*(click(number) for number in range(9))), []

    def watched(position: int) -> bytes | Damage:
        asked.append(position)
        return record_at(found)(position)

    store = Picky("T00003", "T00007")
    loader = loader_of(store, clock)
    stored = loader.store(loader.prepare(found, 0), watched)

    assert (stored.rows, stored.refused) == ({"touches": 7, "bad_rows": 2}, 2)
    assert asked == [found.records[3][0], found.records[7][0]]
    assert store.column("bad_rows", "raw") == [click(3).decode(), click(7).decode()]
    assert len(store.column("touches", "touch_id")) == 7


def test_a_block_of_which_every_row_is_refused_ends_in_bad_rows_whole(clock: FakeClock) -> None:
    number = 2 * ASIDE_ROWS + 1
    found = range_of(*(click(one) for one in range(number)))
    store = Picky("north")
    loader = loader_of(store, clock)
    manifest = loader.prepare(found, 0)

    for _ in range(2):  # a retry tells the same story, whatever words the store finds for it
        stored = loader.store(manifest, record_at(found))
        assert (stored.rows, stored.refused) == ({"touches": 0, "bad_rows": number}, number)
        assert store.column("bad_rows", "position") == [position for position, _, _ in found.records]
        store.wording = "no, at 12:00:01"
    assert sum("refused" in token for token in store.tokens) == 2 * 3, "so many at a time"
    assert len(store.tokens) < 2 * 1.4 * number


def test_one_culprit_is_found_within_a_few_inserts(clock: FakeClock) -> None:
    found = range_of(*(click(one) for one in range(4_000)))
    store = Picky("T01234")
    loader = loader_of(store, clock)

    assert loader.store(loader.prepare(found, 0), record_at(found)).rows == {"touches": 3_999, "bad_rows": 1}
    assert len(store.tokens) <= 1 + 8 * 4 + 1


def test_another_refusal_at_the_retry_loses_nothing(clock: FakeClock) -> None:
    """The store was migrated in between: what it refused is good now, and the other way round."""
    found = range_of(*(click(number) for number in range(4)))
    store = Picky("T00001")
    loader = loader_of(store, clock)
    manifest = loader.prepare(found, 0)
    loader.store(manifest, record_at(found))
    store.words = [b"T00002"]
    loader.store(manifest, record_at(found))

    kept = {*store.column("touches", "touch_id"), *(msgspec.json.decode(str(raw))["event_id"] for raw in store.column("bad_rows", "raw"))}
    assert kept == {f"T{number:05d}" for number in range(4)}


# --- records that cannot be used -------------------------------------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000

POISON = {
    "a giant": (click(90)[:-1] + b',"referrer":"' + b"x" * 17_000_000 + b'"}', "too_large"),
    "a nest in a field": (click(91)[:-1] + b',"subs":' + DEEP + b"}", "undecodable"),
    "a nest before its kind": (b'{"x":' + DEEP + b"," + click(92)[1:], "undecodable"),
    "nothing but a nest": (DEEP, "undecodable"),
    "nested objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "undecodable"),
    "a time beyond time": (click(93).replace(b"%d" % NOON, b"9" * 15), "out_of_range"),
    "a time of thirty digits": (click(94).replace(b"%d" % NOON, b"9" * 30), "out_of_range"),
    "a time of five thousand digits": (click(95).replace(b"%d" % NOON, b"9" * 5_000), "undecodable"),
    "a time before time": (click(96).replace(b"%d" % NOON, b"-1"), "out_of_range"),
    "an endless number": (click(97).replace(b"%d" % NOON, b"1e400"), "undecodable"),
    "a NUL byte": (click(98).replace(b"north", b"no\0th"), "undecodable"),
    "only NUL bytes": (b"\0" * 100, "undecodable"),
    "no UTF-8": (click(99).replace(b"north", b"no\xff\xfeth"), "undecodable"),
    "half a surrogate pair": (click(99).replace(b"north", b"no\\ud800th"), "undecodable"),
    "a surrogate as UTF-8": (click(99).replace(b"north", b"no\xed\xa0\x80th"), "undecodable"),
    "nothing": (b"", "undecodable"),
    "damage that is no UTF-8": (Damage(b"\xff\0garbage"), "damaged"),
}


def test_no_record_blocks_the_others_or_is_lost(any_events: EventsStore, clock: FakeClock) -> None:
    """All of them with a checksum that fits, on the real store, a good click between every two."""
    poison = list(POISON.values())
    payloads = [payload for number, (bad, _) in enumerate(poison) for payload in (click(number), bad)]
    nul = click(50, tenant_id="no\0th")
    found = range_of(*payloads, nul)
    loader = loader_of(any_events, clock)
    manifest = loader.prepare(found, 0)
    stored = loader.store(manifest, record_at(found))

    assert (stored.rows, stored.refused, manifest.bad) == ({"touches": len(poison) + 1, "bad_rows": len(poison)}, 0, len(poison))
    good = [(f"T{number:05d}", "north") for number in range(len(poison))]
    assert any_events.select(TOUCHES) == [*good, ("T00050", "no\0th")], "an escaped NUL is a character like any other"
    aside = any_events.select(ASIDE)
    assert [(position, reason) for position, reason, _, _ in aside] == [
        (found.records[2 * index + 1][0], reason) for index, (_, reason) in enumerate(poison)
    ]
    assert aside[0][2] == len(POISON["a giant"][0]), "whole"
    assert max(detail for _, _, _, detail in aside) <= 500


@pytest.mark.parametrize("name", [name for name, (payload, _) in POISON.items() if isinstance(payload, bytes)])
def test_a_glimpse_of_poison_is_a_glimpse_or_nothing(name: str) -> None:
    payload = POISON[name][0]
    assert isinstance(payload, bytes)

    assert glimpse_of(payload).received_at in (0, NOON)


def test_a_record_that_says_when_it_came_is_put_there_though_it_cannot_be_used(clock: FakeClock) -> None:
    long_ago = NOON - 40 * DAY
    manifest = loader_of(Picky(), clock).prepare(range_of(click(1), click(2, long_ago)[:-1] + b',"wings":2}'), 0)

    assert [(block.table, block.month) for block in manifest.blocks] == [("touches", 202611), ("bad_rows", 202610)]
    assert manifest.received_at == NOON
