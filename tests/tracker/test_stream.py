"""Entries and what they mean; streams in a real Redis, which may lose any of it."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import SettingsError, Unavailable
from store.spools import BEGINNING, Place
from tests.servers import RedisServer
from tracker.relay import resume
from tracker.shared import Redis
from tracker.stream import Entry, Piece, State, Streams, fields_of, fit, join, key_of, place_of, read_entry, stream_id

A, B, C = "00000000000000000001.log", "00000000000000000007.log", "00001763726400000000.log"
LINES = b"0\n22\n444\n"
"""Records end at 2, 5 and 9."""


# --- ids are places --------------------------------------------------------------------------------------------------


def test_an_id_is_the_place_behind_its_entry() -> None:
    assert stream_id((C, 4711)) == "1763726400000000-4711"
    assert place_of("1763726400000000-4711") == (C, 4711)
    assert stream_id(BEGINNING) == "0-0"


@pytest.mark.parametrize(
    "strange", ["", "?", "0-0", "0-1", "1-0", "x-1", "1-x", "-1-2", "1", "18446744073709551616-1", "1-18446744073709551616"]
)
def test_an_id_that_no_relay_gives_is_no_place(strange: str) -> None:
    assert place_of(strange) is None


def test_an_entry_is_read_as_it_was_written() -> None:
    for entry in (Entry(BEGINNING, (A, 9), LINES), Entry((A, 9), (A, 18), LINES), Entry((A, 18), (B, 9), LINES)):
        fields = {name.encode(): value for name, value in fields_of(entry).items()}
        assert read_entry(stream_id(entry.end), fields) == entry


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("1-9", {}),
        ("1-9", {b"after": b"0-0", b"lines": b""}),
        ("1-9", {b"after": b"0-0", b"lines": b"0\n22\n4444"}),
        ("1-8", {b"after": b"0-0", b"lines": LINES}),
        ("1-18", {b"after": b"0-0", b"lines": LINES}),
        ("1-18", {b"after": b"1-8", b"lines": LINES}),
        ("1-9", {b"after": b"7-9", b"lines": LINES}),
        ("1-9", {b"after": b"\xff", b"lines": LINES}),
        ("1763726400000-0", {b"after": b"0-0", b"lines": LINES}),
    ],
)
def test_an_entry_that_no_relay_writes_is_not_read(name: str, fields: dict[bytes, bytes]) -> None:
    assert read_entry(name, fields) is None


# --- how an entry continues ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "after", "end", "expected"),
    [
        (BEGINNING, BEGINNING, (A, 9), Piece(A, 0, LINES)),
        ((A, 9), (A, 9), (A, 18), Piece(A, 9, LINES)),
        ((A, 11), (A, 9), (A, 18), Piece(A, 11, b"22\n444\n")),
        ((A, 14), (A, 9), (A, 18), Piece(A, 14, b"444\n")),
        ((A, 18), (A, 9), (A, 18), "old"),
        ((A, 99), (A, 9), (A, 18), "old"),
        ((B, 1), (A, 9), (A, 18), "old"),
        ((A, 12), (A, 9), (A, 18), "gap"),  # no record ends there
        ((A, 8), (A, 9), (A, 18), "gap"),
        (BEGINNING, (A, 9), (A, 18), "gap"),
        ((A, 9), (A, 9), (B, 9), Piece(B, 0, LINES)),
        ((A, 8), (A, 9), (B, 9), "gap"),
        ((A, 10), (A, 9), (B, 9), "gap"),
        ((B, 2), (A, 9), (B, 9), Piece(B, 2, b"22\n444\n")),
        (BEGINNING, (A, 9), (B, 9), "gap"),
    ],
)
def test_an_entry_is_taken_cut_skipped_or_shows_a_gap(place: Place, after: Place, end: Place, expected: object) -> None:
    assert fit(place, Entry(after, end, LINES)) == expected


def entries(*ends: tuple[Place, Place]) -> list[Entry]:
    return [Entry(after, end, LINES) for after, end in ends]


ROAD = entries((BEGINNING, (A, 9)), ((A, 9), (A, 18)), ((A, 18), (A, 27)), ((A, 27), (B, 9)))


def test_entries_are_joined_up_to_the_end_of_a_segment_or_the_limits() -> None:
    assert join(BEGINNING, ROAD, BEGINNING) == Piece(A, 0, LINES * 3)
    assert join((A, 2), ROAD, BEGINNING) == Piece(A, 2, (LINES * 3)[2:])
    assert join((A, 27), ROAD, BEGINNING) == Piece(B, 0, LINES)
    assert join(BEGINNING, ROAD, BEGINNING, most_records=3) == Piece(A, 0, LINES)
    assert join(BEGINNING, ROAD, BEGINNING, most_bytes=10) == Piece(A, 0, LINES * 2)
    assert join((B, 9), ROAD, BEGINNING) is None
    assert join((A, 9), ROAD[2:], BEGINNING) == "gap"
    assert join((A, 9), [ROAD[1], ROAD[3]], BEGINNING) == Piece(A, 9, LINES), "a gap further on waits for its turn"


def test_an_attempt_is_repeated_with_the_bounds_of_the_first() -> None:
    assert join(BEGINNING, ROAD, (A, 11), most_records=1) == Piece(A, 0, LINES + b"0\n")
    assert join((A, 2), ROAD, (A, 27), most_bytes=1) == Piece(A, 2, (LINES * 3)[2:])
    assert join(BEGINNING, ROAD[:2], (A, 27)) is None, "the rest is still on its way"
    assert join((A, 27), ROAD, (B, 5)) == Piece(B, 0, b"0\n22\n")
    assert join(BEGINNING, [ROAD[0], ROAD[2]], (A, 27)) == "gap", "nobody will bring what is missing before the end"


def test_a_bound_that_cannot_be_reached_any_more_does_not_count() -> None:
    assert join((A, 9), ROAD, (A, 99)) == Piece(A, 9, LINES * 2), "the segment ends earlier: its machine lost power"
    assert join((A, 27), ROAD, (A, 99)) == Piece(B, 0, LINES)
    assert join(BEGINNING, ROAD, (A, 10)) == Piece(A, 0, LINES * 2), "no record ends there"


# --- every interleaving ----------------------------------------------------------------------------------------------


class Way:
    """A spool, a Redis that loses, a relay that cuts as it likes, and loaders that die, in memory. Only the rules are real."""

    def __init__(self) -> None:
        self.spool: list[tuple[str, bytes]] = [(A, b"")]
        self.written = 0
        self.stream: list[Entry] = []
        self.top = ""
        self.copy: tuple[list[Entry], str] = ([], "")
        self.stored, self.plan = BEGINNING, BEGINNING
        self.tokens: dict[str, bytes] = {}

    def write(self, size: int) -> None:
        name, data = self.spool[-1]
        self.written += 1
        self.spool[-1] = (name, data + b"%d-%s\n" % (self.written, b"x" * size))

    def begin_segment(self, _: int) -> None:
        self.spool.append((f"{len(self.spool) + 1:020d}.log", b""))

    def relay(self, lines: int) -> None:
        place = resume(State(self.top, len(self.stream)), self.stored, self._is_record_end)
        if place is None:
            self.drop()
            place = self.stored
        for name, data in self.spool:
            start = place[1] if name == place[0] else 0
            if name < place[0] or start >= len(data):
                continue
            some = b"".join(data[start:].splitlines(keepends=True)[:lines])
            self.stream.append(Entry(place, (name, start + len(some)), some))
            self.top = stream_id(self.stream[-1].end)
            return

    def load(self, how: int) -> None:
        """``how`` mod 4: dies before the insert, after it, after the move; or not at all."""
        ahead = [entry for entry in self.stream if entry.end > self.stored]
        piece = join(self.stored, ahead, self.plan, most_records=1 + how // 4)
        if piece == "gap":
            self.drop()
        if piece is None:
            self.stream = ahead  # what is stored is trimmed in every round
        if piece == "gap" or piece is None:
            return
        self.plan = piece.end
        if how % 4 == 0:
            return
        token = f"{piece.segment}:{piece.start}-{piece.end[1]}"
        assert self.tokens.setdefault(token, piece.lines) == piece.lines, "the same token with other rows loses rows"
        if how % 4 == 1:
            return
        self.stored = piece.end
        if how % 4 != 2:
            self.stream = [entry for entry in self.stream if entry.end > self.stored]

    def drop(self) -> None:
        self.stream, self.top = [], ""

    def keep_copy(self, _: int) -> None:
        self.copy = (list(self.stream), self.top)

    def restore_copy(self, _: int) -> None:
        """A replica that was behind takes over, or an old snapshot is loaded."""
        self.stream, self.top = list(self.copy[0]), self.copy[1]

    def lose_all(self, _: int) -> None:
        self.drop()

    def lose_one(self, index: int) -> None:
        """Somebody deletes an entry by hand."""
        if self.stream:
            del self.stream[index % len(self.stream)]

    def _is_record_end(self, place: Place) -> bool:
        return dict(self.spool).get(place[0], b"")[: place[1]].endswith(b"\n") and place[1] <= len(dict(self.spool)[place[0]])

    def finish(self) -> None:
        for _ in range(self.written + 10):
            self.relay(9)
            self.load(3 + 4 * 9)


ACTIONS = (
    "write",
    "write",
    "write",
    "begin_segment",
    "relay",
    "relay",
    "load",
    "load",
    "keep_copy",
    "restore_copy",
    "lose_all",
    "lose_one",
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 9)), min_size=10, max_size=80))
def test_whatever_is_lost_cut_anew_or_repeated_everything_is_stored_once_and_in_order(actions: list[tuple[str, int]]) -> None:
    way = Way()
    for action, number in actions:
        getattr(way, action)(number)
    way.finish()

    assert b"".join(way.tokens.values()) == b"".join(data for _, data in way.spool)


# --- real streams ----------------------------------------------------------------------------------------------------

KEY = key_of("t0", "f" * 32)


@pytest.fixture
def streams(redis: RedisServer) -> Iterator[Streams]:
    with closing(Streams(redis.url)) as opened:
        yield opened


def test_entries_are_kept_in_the_order_of_the_spool_until_they_are_forgotten(streams: Streams) -> None:
    top = ""
    for entry in ROAD:
        assert streams.append(KEY, top, entry)
        top = stream_id(entry.end)

    assert streams.states([KEY, "other"]) == [State("7-9", 4), State("", 0)]
    assert [entry for _, entry in streams.read(KEY, "0-0", 9)] == ROAD
    assert [entry for _, entry in streams.read(KEY, "1-11", 2)] == ROAD[1:3]
    assert streams.bytes_in([KEY]) > 4 * len(LINES)
    streams.forget([(KEY, (A, 18))])
    assert [entry for _, entry in streams.read(KEY, "0-0", 9)] == ROAD[2:]
    streams.forget([(KEY, (B, 9))])
    assert streams.states([KEY]) == [State("7-9", 0)], "an empty stream still knows how far it went"
    assert streams.bytes_in([KEY]) == 0


def test_nothing_is_added_behind_another_entry_than_the_writer_believes(streams: Streams, redis: RedisServer) -> None:
    assert streams.append(KEY, "", ROAD[0])
    assert streams.append(KEY, "", ROAD[0]), "it is there: the answer to the first attempt was lost on its way"
    assert not streams.append(KEY, "", ROAD[1])
    assert not streams.append(KEY, "1-18", ROAD[2])
    assert streams.states([KEY]) == [State("1-9", 1)]
    assert streams.append(KEY, "1-9", ROAD[1])
    redis.client.flushall()
    assert not streams.append(KEY, "1-18", ROAD[2])
    assert streams.states([KEY]) == [State("", 0)]


def test_what_is_not_ours_is_shown_as_such(streams: Streams, redis: RedisServer) -> None:
    redis.client.xadd(KEY, {"hello": "world"}, id="1-3")
    streams.append(KEY, "1-3", Entry((A, 3), (A, 12), LINES))
    redis.client.set("text", "x")

    assert [(name, entry is None) for name, entry in streams.read(KEY, "0-0", 9)] == [("1-3", True), ("1-12", False)]
    streams.remove(KEY, ["1-3"])
    assert [name for name, _ in streams.read(KEY, "0-0", 9)] == ["1-12"]
    assert streams.states(["text"]) == [State("?", 0)]
    streams.drop("text")
    assert streams.states(["text"]) == [State("", 0)]


def test_a_redis_that_does_not_answer_is_told_without_its_password(redis: RedisServer) -> None:
    dead = redis.url.replace(f":{redis.port}", ":1").replace("redis://", "redis://fair:s3cret-word@")
    wrong = redis.url.replace("redis://", "redis://fair:s3cret-word@")

    for url, expected in (
        (dead, r"^the queue at 127\.0\.0\.1:1 cannot be reached: "),
        (wrong, rf"^the queue at 127\.0\.0\.1:{redis.port} "),
    ):
        with closing(Streams(url)) as streams, pytest.raises(Unavailable, match=expected) as caught:
            streams.states([KEY])
        assert "s3cret" not in str(caught.value)


def test_a_redis_that_is_full_is_told(streams: Streams, redis: RedisServer) -> None:
    redis.client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Unavailable, match=r"refuses: .*maxmemory"):
            streams.append(KEY, "", ROAD[0])
    finally:
        redis.client.config_set("maxmemory", "0")


@pytest.mark.parametrize("rest", [":no-port/0", "?ssl_cert_reqs=none", "?timeout=5", "?protocol=9", "?cache_config=1"])
@pytest.mark.parametrize("open_it", [Streams, lambda url: Redis(url, b"secret")])
def test_an_address_that_cannot_be_used_is_a_fault_of_the_settings(open_it: Callable[[str], object], rest: str) -> None:
    with pytest.raises(SettingsError, match=r"FAIRSHARE_QUEUE_URL=\(hidden\)") as caught:
        open_it(f"redis://fair:s3cret-word@host{rest}")
    assert "s3cret" not in str(caught.value)


def test_looking_at_an_address_takes_none_of_the_connections_it_allows(redis: RedisServer) -> None:
    with closing(Streams(f"{redis.url}?max_connections=1")) as streams:
        assert streams.states([KEY]) == [State("", 0)]
