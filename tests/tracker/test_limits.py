"""Limits are windows and sums: never too few counted, never more let through than allowed, never more memory than said."""

import sys
from contextlib import closing
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalogue import Link, Programme, Tenant
from core.clock import DAY, MINUTE, parse_instant
from store.books import open_books
from store.catalogue import put
from tests.people import NORTH
from tracker import limits as module
from tracker.limits import CAPPED, RATE_LIMITED, Counts, Limits, is_person, pack_counts, unpack_counts
from tracker.links import LinkEntry, build_table

NOON = parse_instant("2026-11-21T12:00:00Z")
TENANT = Tenant("north", "North", "EUR")
ADDRESS = "203.0.113.9"


def link(code: str = "spring", daily: int | None = None, total: int | None = None, fallback: str = "", **of_programme: object) -> LinkEntry:
    programme = Programme("north", "main", "Main", "https://north.example/", **of_programme)  # type: ignore[arg-type]
    row = (code, "north", "main", "anna", "https://north.example/spring", "web", False, daily, total, fallback)
    return build_table(1, [TENANT], [programme], [row], {}, b"s" * 32).links[code]


def clicks(limits: Limits, of: LinkEntry, count: int, now: int = NOON) -> list[tuple[str, ...]]:
    """So many clicks, each from an address of its own."""
    return [limits.verdict(of, f"198.51.{number >> 8}.{number & 255}", now) for number in range(count)]


# --- caps ------------------------------------------------------------------------------------------------------------


def test_a_link_without_a_cap_takes_any_number():
    assert set(clicks(Limits("t0"), link(), 500)) == {()}


def test_the_fourth_click_of_a_day_is_beyond_a_cap_of_three_and_midnight_brings_three_more():
    limits, capped = Limits("t0"), link(daily=3)
    midnight = parse_instant("2026-11-22T00:00:00Z")

    assert clicks(limits, capped, 4) == [(), (), (), CAPPED]
    assert clicks(limits, capped, 1, midnight - 1) == [CAPPED]
    assert clicks(limits, capped, 4, midnight) == [(), (), (), CAPPED]


def test_a_total_cap_outlives_the_day():
    limits, capped = Limits("t0"), link(daily=3, total=5)

    assert clicks(limits, capped, 4) == [(), (), (), CAPPED]
    assert clicks(limits, capped, 3, NOON + DAY) == [(), (), CAPPED]
    assert clicks(limits, capped, 1, NOON + 2 * DAY) == [CAPPED]


def test_a_programmes_cap_binds_all_its_links_together():
    limits = Limits("t0")
    one, two = link("one", daily_click_cap=3), link("two", daily_click_cap=3)

    assert [*clicks(limits, one, 2), *clicks(limits, two, 2), *clicks(limits, one, 1)] == [(), (), (), CAPPED, CAPPED]


def test_a_click_that_the_programme_refuses_does_not_use_up_the_link():
    limits = Limits("t0")
    clicks(limits, link("other", daily_click_cap=1), 1)
    assert clicks(limits, link("spring", daily=1, daily_click_cap=1), 1) == [CAPPED]
    assert clicks(limits, link("spring", daily=1), 1) == [()]


def test_only_people_are_counted_and_machines_are_sent_where_people_go():
    limits, capped = Limits("t0"), link(daily=1)
    closed = msgspec.structs.replace(capped, disabled=True)

    assert [limits.verdict(capped, ADDRESS, NOON, is_person=False) for _ in range(3)] == [(), (), ()]
    assert [limits.verdict(closed, ADDRESS, NOON) for _ in range(3)] == [(), (), ()]
    assert [limits.verdict(capped, ADDRESS, NOON) for _ in range(2)] == [(), CAPPED]
    assert limits.verdict(capped, ADDRESS, NOON, is_person=False) == CAPPED


@pytest.mark.parametrize(("flags", "person"), [((), True), (("head",), False), (("sub_cut", "prefetch"), False), (("sub_cut",), True)])
def test_what_speaks_against_a_person(flags: tuple[str, ...], person: bool):
    assert is_person(flags) is person


def test_a_capped_click_leads_to_the_links_the_programmes_or_the_landing_page():
    assert link(fallback="https://north.example/later").fallback_url == "https://north.example/later"
    assert link(fallback_url="https://north.example/soon").fallback_url == "https://north.example/soon"
    assert link().fallback_url == "https://north.example/"


def test_a_clock_that_steps_back_over_midnight_forgets_nothing():
    limits, capped, midnight = Limits("t0"), link(daily=2), parse_instant("2026-11-22T00:00:00Z")

    assert clicks(limits, capped, 1, midnight) == [()]
    assert clicks(limits, capped, 1, midnight - 5) == [()]
    assert clicks(limits, capped, 1, midnight + 5) == [CAPPED]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.one_of(st.none(), st.integers(1, 6)), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_a_tracker_lets_exactly_the_cap_through_each_day_and_in_all(daily: int, total: int | None, steps: list[tuple[int, int]]):
    """Against a model that keeps every click: ``steps`` are (days later, which link)."""
    limits, programme_total = Limits("t0"), 9
    links = [link(f"l{number}", daily, total, total_click_cap=programme_total) for number in range(3)]
    through: list[tuple[int, int]] = []
    now = NOON
    for later, number in steps:
        now += later * DAY
        day = now // DAY
        room = (
            sum(of == number and when == day for when, of in through) < daily
            and (total is None or sum(of == number for _, of in through) < total)
            and len(through) < programme_total
        )
        assert limits.verdict(links[number], f"10.0.0.{len(through)}", now) == (() if room else CAPPED)
        if room:
            through.append((day, number))


def test_more_keys_than_are_counted_are_not_capped_and_that_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "KEYS", 2)
    limits = Limits("t0")
    for code in ("a", "b", "c"):
        assert clicks(limits, link(code, daily=1), 2) == ([(), CAPPED] if code != "c" else [(), ()])
    assert limits.uncapped == 2


# --- several trackers ------------------------------------------------------------------------------------------------


def test_what_others_counted_takes_room():
    capped, here, there = link(daily=5, total=8), Limits("t0"), Limits("t1")
    clicks(there, capped, 3)
    here.learn([there.counts(NOON)], NOON)

    assert clicks(here, capped, 3) == [(), (), CAPPED]
    here.learn([there.counts(NOON)], NOON)
    assert clicks(here, capped, 1) == [CAPPED], "hearing the same again changes nothing"
    assert clicks(here, capped, 4, NOON + DAY) == [(), (), (), CAPPED], "yesterday's three count in all, not today: 2 + 3 + 3"


def test_a_tracker_that_starts_again_goes_on_where_it_was():
    capped, first, second = link(daily=5, total=6), Limits("t0"), Limits("t0")
    clicks(first, capped, 4)
    second.restore(first.counts(NOON))
    second.learn([first.counts(NOON)], NOON)

    assert clicks(second, capped, 2) == [(), CAPPED]
    assert second.counts(NOON).clicks == {"link spring": (5, 5)}
    assert clicks(second, capped, 2, NOON + DAY) == [(), CAPPED]


def test_of_two_memories_the_larger_number_stands():
    limits = Limits("t0")
    limits.restore(Counts("t0", 1, NOON - NOON % DAY, {"link a": (1, 9), "link b": (2, 2)}))
    limits.restore(Counts("t0", 2, NOON - NOON % DAY, {"link a": (3, 7)}))
    assert limits.counts(NOON).clicks == {"link a": (3, 9), "link b": (2, 2)}


def test_what_others_counted_yesterday_is_not_of_today():
    here = Limits("t0")
    here.learn([Counts("t1", 1, NOON - NOON % DAY - DAY, {"link spring": (4, 6)})], NOON)
    assert clicks(here, link(daily=2, total=9), 3) == [(), (), CAPPED]
    assert clicks(here, link(daily=9, total=9), 2) == [(), CAPPED], "6 + 2 + 1"


def test_of_memories_of_two_days_todays_tells_what_is_of_today():
    for days in ((0, 1), (1, 0)):
        limits = Limits("t0")
        for ago in days:
            limits.restore(Counts("t0", 1, NOON - NOON % DAY - ago * DAY, {"link a": (5 + ago, 9 - ago)}))
        assert limits.counts(NOON).clicks == {"link a": (5, 9)}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=80))
def test_over_delivery_is_at_most_what_came_between_two_exchanges(cap: int, steps: list[tuple[int, bool]]):
    """Three trackers; after some clicks all exchange. Nobody lets through more than the rest that was known then."""
    trackers, capped = [Limits(f"t{number}") for number in range(3)], link(total=cap)
    through = known = 0
    since = [0, 0, 0]
    for at, (number, exchange) in enumerate(steps):
        passed = trackers[number].verdict(capped, f"10.0.0.{at}", NOON) == ()
        assert passed == (since[number] < cap - known), "not one too many, and not one too few"
        through += passed
        since[number] += passed
        if exchange:
            told = [tracker.counts(NOON) for tracker in trackers]
            for tracker in trackers:
                tracker.learn(told, NOON)
            known, since = through, [0, 0, 0]
            assert sum(one.clicks.get("link spring", (0, 0))[1] for one in told) == through, "nobody counts too few"


counted = st.builds(
    Counts,
    st.sampled_from(["t0", "t1"]),
    st.integers(0, 1 << 45),
    st.just(NOON - NOON % DAY),
    st.dictionaries(st.text(max_size=9), st.tuples(st.integers(0, 99), st.integers(0, 1 << 40)), max_size=5),
    st.integers(0, 1 << 30),
    st.dictionaries(st.text(max_size=5), st.integers(1, 9), max_size=3),
    st.dictionaries(st.integers(0, (1 << 32) - 1), st.integers(1, 99), max_size=3),
)


@given(counted)
def test_counts_survive_their_bytes(counts: Counts):
    assert unpack_counts(pack_counts(counts)) == counts


@settings(max_examples=300)
@given(counted.filter(lambda counts: counts.clicks), st.data())
def test_damaged_bytes_are_known(counts: Counts, data: st.DataObject):
    whole = pack_counts(counts)
    assert unpack_counts(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None
    assert unpack_counts(data.draw(st.binary(max_size=60))) is None


def test_a_changed_number_does_not_pass_for_a_count():
    whole = pack_counts(Counts("t0", 1, 0, {"link spring": (1, 100)}))
    assert unpack_counts(whole.replace(b"\x01\x64", b"\x01\x00")) is None


def test_many_keys_travel_in_slices():
    counts = Counts("t0", 1, 0, {f"link {number}": (number, number) for number in range(3_500)})
    pauses: list[int] = []
    assert unpack_counts(pack_counts(counts), lambda: pauses.append(1)) == counts
    assert len(pauses) == 4


# --- clicks a minute -------------------------------------------------------------------------------------------------


def test_the_21st_click_of_an_address_on_a_link_within_a_minute_is_too_much():
    limits, here, other = Limits("t0", clicks_a_minute=20), link("spring"), link("autumn")
    begin = NOON - NOON % MINUTE
    verdicts = [limits.verdict(here, ADDRESS, begin + number) for number in range(22)]

    assert verdicts == [()] * 20 + [RATE_LIMITED] * 2
    assert limits.verdict(other, ADDRESS, begin) == ()
    assert limits.verdict(here, "203.0.113.10", begin) == ()
    assert limits.verdict(here, ADDRESS, begin + MINUTE - 1) == RATE_LIMITED
    assert limits.verdict(here, ADDRESS, begin + MINUTE) == ()


def test_a_rate_limited_click_does_not_use_up_a_cap():
    limits, capped = Limits("t0", clicks_a_minute=2), link(daily=3)
    assert [limits.verdict(capped, ADDRESS, NOON) for _ in range(4)] == [(), (), RATE_LIMITED, RATE_LIMITED]
    assert clicks(limits, capped, 2) == [(), CAPPED]


def test_zero_is_no_limit():
    limits = Limits("t0", clicks_a_minute=0, conversions_a_minute=0)
    assert {limits.verdict(link(), ADDRESS, NOON) for _ in range(1000)} == {()}
    assert {limits.allow_conversion("north", NOON) for _ in range(10_000)} == {0}


def test_an_ipv6_household_is_one_address():
    limits = Limits("t0", clicks_a_minute=3)
    verdicts = [limits.verdict(link(), f"2001:db8:1:2::{number:x}", NOON) for number in range(5)]
    assert verdicts == [(), (), (), RATE_LIMITED, RATE_LIMITED]
    assert limits.verdict(link(), "2001:db8:1:3::1", NOON) == ()


def test_trackers_add_up_an_addresss_clicks():
    here, there, of = Limits("t0", clicks_a_minute=20), Limits("t1", clicks_a_minute=20), link()
    for _ in range(15):
        there.verdict(of, ADDRESS, NOON)
    here.learn([there.counts(NOON)], NOON)

    verdicts = [here.verdict(of, ADDRESS, NOON) for _ in range(7)]
    assert verdicts == [()] * 5 + [RATE_LIMITED] * 2
    assert here.verdict(of, ADDRESS, NOON + MINUTE) == (), "what was heard is of the minute before"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=150), st.integers(1, 5))
def test_a_pair_is_never_counted_too_low(steps: list[tuple[int, int]], limit: int):
    """Slots so few that strangers share them: whoever is beyond the limit is told so, whoever else is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLOTS", 16)
        patch.setattr(module, "_LOW", 15)
        patch.setattr(module, "_SECOND_ROW", 28)
        limits, links = Limits("t0", clicks_a_minute=limit), [link(code) for code in ("a", "b", "c")]
        seen: dict[tuple[int, int], int] = {}
        for pair in steps:
            seen[pair] = seen.get(pair, 0) + 1
            verdict = limits.verdict(links[pair[1]], f"192.0.2.{pair[0]}", NOON)
            assert verdict == RATE_LIMITED or seen[pair] <= limit


def test_a_full_slot_hides_no_other_pair(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FULL", 8)
    limits = Limits("t0", clicks_a_minute=6)
    assert [limits.verdict(link(), ADDRESS, NOON) for _ in range(20)] == [()] * 6 + [RATE_LIMITED] * 14


def test_a_stranger_that_shares_one_slot_with_a_robot_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    of = link()
    robot = next(f"10.0.{n >> 8}.{n & 255}" for n in range(1 << 16) if _slots(f"10.0.{n >> 8}.{n & 255}", of)[0] == _slots(ADDRESS, of)[0])
    assert _slots(robot, of)[1] != _slots(ADDRESS, of)[1]
    monkeypatch.setattr(module, "SLOTS", 1 << 16)
    monkeypatch.setattr(module, "_LOW", (1 << 16) - 1)
    monkeypatch.setattr(module, "_SECOND_ROW", 16)
    limits = Limits("t0")
    for _ in range(30):
        limits.verdict(of, robot, NOON)
    assert limits.verdict(of, ADDRESS, NOON) == ()


def _slots(address: str, of: LinkEntry) -> tuple[int, int]:
    """Sixteen bits of each, in a table of that many slots."""
    pair = crc32(address.encode(), of.checksum)
    return pair % (1 << 16), pair >> 16


def test_strangers_in_a_flood_are_left_alone():
    """60,000 pairs of a few clicks each in one minute: with 524,288 slots in two rows, none reaches 20."""
    limits, of = Limits("t0", clicks_a_minute=20), link()
    flagged = sum(
        limits.verdict(of, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", NOON) != () for number in range(20_000) for _ in "123"
    )
    assert flagged == 0


def test_memory_is_the_same_in_any_flood():
    limits, of = Limits("t0", clicks_a_minute=20), link()
    before = _size(limits)
    for number in range(30_000):
        limits.verdict(of, f"2001:db8:{number >> 8:x}:{number & 255:x}::1", NOON)
    assert _size(limits) == before
    for number in range(10):
        for _ in range(30):
            limits.verdict(of, f"192.0.2.{number}", NOON)
    assert len(limits.counts(NOON).pairs) == 10


def _size(limits: Limits) -> int:
    return sum(sys.getsizeof(value) for value in vars(limits).values())


def test_what_is_told_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAIRS_TOLD", 3)
    limits = Limits("t0", clicks_a_minute=4)
    clicks(limits, link(), 50)
    assert len(limits.counts(NOON).pairs) == 3


# --- conversions a minute --------------------------------------------------------------------------------------------


def test_a_full_minute_says_how_long_to_wait():
    limits, begin = Limits("t0", conversions_a_minute=2), NOON - NOON % MINUTE
    assert [limits.allow_conversion("north", begin + 500) for _ in range(3)] == [0, 0, 60]
    assert limits.allow_conversion("north", begin + 59_999) == 1
    assert limits.allow_conversion("south", begin) == 0
    assert limits.allow_conversion("north", begin + MINUTE) == 0


def test_trackers_add_up_a_tenants_conversions():
    here, there = Limits("t0", conversions_a_minute=5), Limits("t1", conversions_a_minute=5)
    for _ in range(4):
        there.allow_conversion("north", NOON)
    here.learn([there.counts(NOON)], NOON)
    assert [here.allow_conversion("north", NOON) > 0 for _ in range(2)] == [False, True]


@given(st.integers(1, 20), st.lists(st.integers(0, 3 * MINUTE), max_size=100).map(sorted))
def test_no_minute_of_the_clock_takes_more_than_the_limit(limit: int, moments: list[int]):
    limits = Limits("t0", conversions_a_minute=limit)
    taken: dict[int, int] = {}
    for at in moments:
        wait_s = limits.allow_conversion("north", NOON + at)
        assert (wait_s == 0) == (taken.get(at // MINUTE, 0) < limit)
        assert 0 <= wait_s <= 60
        if wait_s:
            assert (at + wait_s * 1000) // MINUTE == at // MINUTE + 1, "not too early, and not a minute too late"
        taken[at // MINUTE] = taken.get(at // MINUTE, 0) + (wait_s == 0)


# --- through the front door ------------------------------------------------------------------------------------------


def test_a_capped_click_is_recorded_flagged_and_sent_to_the_fallback(with_front, catalogue_url):
    capped = Link("spring", NORTH, "main", "anna", "https://shop.north.example/spring", daily_click_cap=2)
    with closing(open_books(catalogue_url)) as books, books.writing() as connection:
        put(connection, msgspec.structs.replace(capped, fallback_url="https://shop.north.example/gone?x=1"), "test", 3)

    async def scenario(front):
        await front.ask("/c/spring", "HEAD")
        answers = [await front.ask(f"/c/spring?sub1=n{number}", peer=f"203.0.113.{number}:1") for number in range(4)]
        return [dict(answer.headers)["location"] for answer in answers], front.records()

    locations, records = with_front(scenario)
    assert [one.partition("fsclick")[0] for one in locations] == [
        *["https://shop.north.example/spring?"] * 2,
        *["https://shop.north.example/gone?x=1&"] * 2,
    ]
    assert [touch.flags for touch in records] == [("head",), (), (), ("capped",), ("capped",)]
    assert [touch.subs for touch in records[1:]] == [("n0",), ("n1",), ("n2",), ("n3",)]


def test_too_many_clicks_of_an_address_reach_the_shop_all_the_same(with_front):
    async def scenario(front):
        return [(await front.ask("/c/spring")).status for _ in range(4)], front.records()

    statuses, records = with_front(scenario, clicks_a_minute=3)
    assert statuses == [302] * 4
    assert [touch.flags for touch in records] == [(), (), (), ("rate_limited",)]


def test_too_many_conversions_are_asked_to_come_back_and_nothing_is_recorded(with_front):
    async def scenario(front):
        def body(number: int) -> dict[str, object]:
            lines = [{"line_id": "1", "net": "5.00"}]
            return {"order_id": f"o{number}", "currency": "EUR", "occurred_at": "2026-11-21T11:00:00Z", "lines": lines}

        good = [(await front.post("/v1/orders", body(number)))[0] for number in range(2)]
        refused = await front.ask("/v1/orders", "POST", body(2), authorization="Bearer key-of-north")
        return good, refused, len(front.records())

    good, refused, recorded = with_front(scenario, conversions_a_minute=2)
    assert (good, refused.status, recorded) == ([200, 200], 429, 2)
    assert int(dict(refused.headers)["retry-after"]) in range(1, 61)
    assert msgspec.json.decode(refused.body)["error"]["code"] == "rate_limited"
