"""Components of keys: laws for all graphs, and the identity cases of other systems with our own results."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.graph import KeyGraph, components, components_of
from attribution.households import Seen, part
from attribution.identity import RULES, IdentityRules
from attribution.keys import Collision, KeyTable, hashes_of, ranked
from core.clock import DAY, HOUR
from tests.attribution.builders import NOON

Edges = list[tuple[str, str]]
SEGMENT = IdentityRules(unique=("user_id",))


# --- cases of other systems (shared vectors: identity_scenarios.json) -----------------------------------------------


def test_order_independent_components() -> None:
    edges = [("a1", "u1"), ("a2", "u1"), ("a3", "u2"), ("u2", "e9"), ("e9", "u1")]

    assert components_of(edges, RULES) == [["a1", "a2", "a3", "e9", "u1", "u2"]]


def test_segment_blocked_values() -> None:
    edges = [("user_id:0000-0000", "anonymous_id:a1"), ("user_id:0000-0000", "anonymous_id:a2")]
    rules = IdentityRules(blocked=("^[0-]*$", "-1", "null", "anonymous"))

    assert components_of(edges, rules) == [["anonymous_id:a1"], ["anonymous_id:a2"]]


def test_segment_priority_demotion() -> None:
    """Segment leaves the address with whoever came first. Here nobody came first: it belongs to neither."""
    edges = [("user_id:abc123", "email:jane@example1.com"), ("user_id:abc456", "email:jane@example1.com")]

    assert components_of(edges, SEGMENT) == [["email:jane@example1.com"], ["user_id:abc123"], ["user_id:abc456"]]


def test_snowplow_unique_conflict() -> None:
    """As there: alice and bob never merge, and the shared device is anonymous."""
    edges = [("domain_userid:4b0dfa", "user_id:alice"), ("apple_idfv:6d920c", "user_id:alice"), ("apple_idfv:6d920c", "user_id:bob")]

    assert components_of(edges, SEGMENT) == [["apple_idfv:6d920c"], ["domain_userid:4b0dfa", "user_id:alice"], ["user_id:bob"]]


def test_snowplow_merge_survivor() -> None:
    """One person; tests/attribution/test_people.py shows that the older id survives and the other stays resolvable."""
    edges = [("domain_userid:4b0dfa", "user_id:alice"), ("apple_idfv:6d920c", "user_id:alice")]

    assert components_of(edges, SEGMENT) == [["apple_idfv:6d920c", "domain_userid:4b0dfa", "user_id:alice"]]


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_hub_is_a_person_of_its_own_and_joins_nobody() -> None:
    crowd = [("em:info", f"v:p{number}") for number in range(5)]

    assert len(components_of(crowd, IdentityRules(neighbours=5))) == 1
    assert len(components_of(crowd, IdentityRules(neighbours=4))) == 6


def test_touches_that_nothing_else_was_seen_with_make_no_hub() -> None:
    """A loyal customer's card, scanned and scanned again."""
    scans = [(f"c:s{number}", "loy:7") for number in range(5)]
    rules = IdentityRules(neighbours=1, touches=5)

    assert len(components_of([*scans, ("em:zoe", "loy:7")], rules)) == 1
    assert len(components_of([*scans, ("c:s5", "loy:7")], rules)) == 7, "unless they are far too many"


def test_touches_of_everybody_make_a_hub() -> None:
    """The card of a till: orders that say nothing else name the clicks of all who bought there."""
    orders = [edge for number in range(5) for edge in ((f"c:s{number}", "loy:till"), (f"c:s{number}", f"v:p{number}"))]

    assert len(components_of(orders, IdentityRules(neighbours=5))) == 1
    assert len(components_of(orders, IdentityRules(neighbours=4))) == 6


def test_a_touch_of_too_many_customers_is_a_hub() -> None:
    newsletter = [("c:letter", f"em:p{number}") for number in range(5)]

    assert len(components_of(newsletter, IdentityRules(neighbours=5))) == 1
    assert len(components_of(newsletter, IdentityRules(neighbours=4))) == 6


def test_a_key_belongs_to_the_nearest_customer() -> None:
    chain = [("cid:a", "em:1"), ("em:1", "em:2"), ("em:2", "em:3"), ("em:3", "cid:b")]

    assert components_of(chain, RULES) == [["cid:a", "em:1"], ["cid:b", "em:3"], ["em:2"]]


def test_what_is_undecided_stays_together_with_what_hangs_on_it() -> None:
    edges = [("cid:a", "em:x"), ("cid:b", "em:x"), ("em:x", "ph:1"), ("cid:a", "loy:1")]

    assert components_of(edges, RULES) == [["cid:a", "loy:1"], ["cid:b"], ["em:x", "ph:1"]]


def test_keys_of_one_event_are_neighbours_whichever_of_them_was_in_the_middle() -> None:
    """Events are stored as a star from their first key, here the device; still the address is alice's, who was there with it."""
    events = [Seen(("v:tablet", "cid:alice", "em:alice"), NOON), Seen(("v:tablet", "cid:bob", "em:bob"), NOON + 9 * DAY)]
    members = {key for one in events for key in one.keys}

    found = part(members, events, RULES)

    assert found.persons == (("cid:alice", "em:alice"), ("cid:bob", "em:bob"), ("v:tablet",))
    alice, bob, nobody = range(3)
    assert [found.shared["v:tablet"].owner_at(NOON + at) for at in (-DAY - 1, -DAY, 0, 8 * DAY - 1, 8 * DAY, 99 * DAY)] == [
        nobody, alice, alice, alice, bob, bob,
    ]  # fmt: skip


def test_two_log_ins_at_one_instant_leave_a_device_to_nobody_until_the_next() -> None:
    events = [Seen(("v:tablet", "cid:a"), NOON), Seen(("v:tablet", "cid:b"), NOON), Seen(("v:tablet", "cid:a"), NOON + 3 * DAY)]

    found = part({"v:tablet", "cid:a", "cid:b"}, events, RULES)

    assert found.shared["v:tablet"].spans_of(found.person_of["cid:a"]) == ((NOON + 2 * DAY, 1 << 62),)
    assert found.shared["v:tablet"].spans_of(found.person_of["cid:b"]) == ()


def test_a_click_on_a_shared_device_is_whose_the_device_was() -> None:
    events = [Seen(("v:tablet", "cid:a"), NOON), Seen(("v:tablet", "cid:b"), NOON + 9 * DAY), Seen(("c:1", "v:tablet"), NOON + HOUR)]

    assert ("c:1", "cid:a") in part({"v:tablet", "cid:a", "cid:b", "c:1"}, events, RULES).persons


def test_a_log_in_just_after_another_takes_nothing_from_it() -> None:
    events = [Seen(("v:tablet", "cid:a"), NOON), Seen(("v:tablet", "cid:b"), NOON + HOUR)]

    found = part({"v:tablet", "cid:a", "cid:b"}, events, RULES)

    assert found.shared["v:tablet"].spans_of(found.person_of["cid:a"]) == ((NOON - DAY, NOON + 1),)


# --- laws ------------------------------------------------------------------------------------------------------------

names = st.sampled_from(["v:a", "v:b", "v:c", "c:1", "em:1", "em:2", "loy:1", "cid:a", "cid:b", "cid:c", "test"])
graphs = st.lists(st.tuples(names, names), max_size=14)
rules = st.builds(
    IdentityRules, neighbours=st.integers(1, 6), touches=st.integers(1, 4), unique=st.sampled_from([(), ("cid",), ("cid", "loy")])
)


@settings(deadline=None)
@given(graphs, rules, st.randoms(use_true_random=False))
def test_neither_order_nor_direction_nor_repetition_of_links_matters(edges: Edges, rule: IdentityRules, chance: Any) -> None:
    other = [edge if chance.random() < 0.5 else edge[::-1] for edge in edges + edges[::2]]
    chance.shuffle(other)

    assert components_of(other, rule) == components_of(edges, rule)


@settings(deadline=None)
@given(graphs, rules)
def test_no_person_has_two_values_of_a_unique_kind_and_everybody_is_somewhere_once(edges: Edges, rule: IdentityRules) -> None:
    found = components_of(edges, rule)

    everyone = [key for person in found for key in person]
    assert sorted(everyone) == sorted({key for edge in edges for key in edge if not rule.blocks(key)})
    assert all(sum(key.startswith(f"{kind}:") for key in person) <= 1 for person in found for kind in rule.unique)


@settings(deadline=None)
@given(graphs)
def test_without_rules_persons_are_what_a_plain_search_finds(edges: Edges) -> None:
    free = IdentityRules(blocked=(), unique=())

    assert components_of(edges, free) == searched(edges)


def searched(edges: Edges) -> list[list[str]]:
    """Connected keys, one search after the other: slow, and known to be right."""
    left = {key for edge in edges for key in edge}
    found = []
    while left:
        group = {min(left)}
        while grown := {key for edge in edges if set(edge) & group for key in edge} - group:
            group |= grown
        left -= group
        found.append(sorted(group))
    return sorted(found)


numbered = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda edge: edge[0] != edge[1]), max_size=20)


@settings(deadline=None)
@given(numbered, st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 12), st.integers(1, 4), st.integers(0, 8))
def test_links_by_and_by_give_what_all_at_once_give(
    edges: list[tuple[int, int]], sizes: Sequence[int], limit: int, most_touches: int, touches: int
) -> None:
    once, slowly = graph_of(12, limit, most_touches, touches), graph_of(12, limit, most_touches, touches)
    link(once, edges)
    start = 0
    for size in [*sizes, len(edges)]:
        before = groups_of(slowly)
        changed = link(slowly, edges[start : start + size])
        after = groups_of(slowly)
        assert {number for number in range(12) if before[number] != after[number]} <= changed
        start += size

    assert groups_of(slowly) == groups_of(once)
    assert slowly.hub.tolist() == once.hub.tolist() == hubs_of(edges, limit, most_touches, touches)
    assert slowly.first_seen.tolist() == once.first_seen.tolist()
    assert [sorted(slowly.neighbours(number).tolist()) for number in range(12)] == [
        sorted(once.neighbours(number).tolist()) for number in range(12)
    ]


def test_a_key_that_becomes_a_hub_is_told_of_though_it_was_alone_before() -> None:
    """Its one neighbour was a hub already, so its component stays what it was: itself."""
    graph = KeyGraph()
    graph.grow(np.array([1, 1, 9, 9], np.int32))
    graph.link(np.array([0, 0, 0], np.int32), np.array([1, 2, 3], np.int32), np.zeros(3, np.int64))
    assert graph.hub.tolist() == [True, False, False, False]

    graph.grow(np.array([9], np.int32))
    changed, before = graph.link(np.array([1], np.int32), np.array([4], np.int32), np.zeros(1, np.int64))

    assert graph.hub.tolist() == [True, True, False, False, False]
    assert (changed.tolist(), before.tolist()) == ([1], [1])


def test_a_touch_that_is_nobodys_alone_any_more_may_make_a_hub_of_who_had_it() -> None:
    graph = graph_of(4, limit=1, most_touches=9, touches=1)
    link(graph, [(0, 1), (1, 2)])
    assert graph.hub.tolist() == [False] * 4
    assert link(graph, [(0, 3)]) == {0, 1, 2}

    assert graph.hub.tolist() == [True, True, False, False] == hubs_of([(0, 1), (1, 2), (0, 3)], 1, 9, 1)[:4]


def test_whose_first_time_is_earlier_is_told_beside_new_links_elsewhere_and_in_one_component() -> None:
    graph = graph_of(7, limit=9, most_touches=9, touches=0)

    def see(edges: list[tuple[int, int]], at: int) -> list[int]:
        ends = np.array(edges, np.int32)
        return sorted(graph.link(ends[:, 0], ends[:, 1], np.full(len(edges), at))[0].tolist())

    assert see([(0, 1), (1, 2), (3, 4)], at=10) == [0, 1, 2, 3, 4]
    assert see([(3, 4), (5, 6)], at=5) == [3, 4, 5, 6], "a known link, earlier, and a new one"
    assert see([(0, 2)], at=12) == [], "a new link in one component, later"
    assert see([(0, 2), (3, 5)], at=4) == [0, 1, 2, 3, 4, 5, 6]
    assert see([(4, 6)], at=1) == [3, 4, 5, 6], "a new link in one component, earlier"
    assert see([(0, 2)], at=4) == []


def graph_of(count: int, limit: int, most_touches: int, touches: int) -> KeyGraph:
    """The first numbers are touches."""
    graph = KeyGraph(most_touches)
    graph.grow(np.full(count, limit), np.arange(count) < touches)
    return graph


def hubs_of(edges: list[tuple[int, int]], limit: int, most_touches: int, touches: int) -> list[bool]:
    """By the words of the rule, one key after the other."""
    near = [{one for edge in edges if number in edge for one in edge} - {number} for number in range(12)]
    counted = [[one for one in near[number] if one >= touches or len(near[one]) > 1] for number in range(12)]
    return [len(counted[number]) > limit or sum(one < touches for one in near[number]) > most_touches for number in range(12)]


def link(graph: KeyGraph, edges: Sequence[tuple[int, int]]) -> set[int]:
    ends = np.array(edges, np.int32).reshape(-1, 2)
    changed, _ = graph.link(ends[:, 0], ends[:, 1], ends.sum(axis=1).astype(np.int64))
    return set(changed.tolist())


def groups_of(graph: KeyGraph) -> list[frozenset[int]]:
    members, sizes = graph.members(graph.label)
    ends = np.cumsum(sizes).tolist()
    return [frozenset(members[end - size : end].tolist()) for end, size in zip(ends, sizes.tolist(), strict=True)]


def test_a_long_chain_and_a_great_star_come_to_an_end() -> None:
    chain = np.arange(5000, dtype=np.int32)
    assert set(components(5000, chain[1:], chain[:-1]).tolist()) == {0}
    assert set(components(5000, np.full(4999, 4999, np.int32), chain[:-1]).tolist()) == {0}


# --- keys as numbers -------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=40).filter(lambda key: not key.endswith("\0")), max_size=12), max_size=5))
def test_a_table_gives_every_key_its_number_and_back(parts: list[list[str]]) -> None:
    table, numbers = KeyTable(), dict[str, int]()
    for keys in parts:
        for key, number in zip(keys, add(table, keys), strict=True):
            assert numbers.setdefault(key, number) == number
    everyone = list(numbers)

    assert table.texts(np.array([numbers[key] for key in everyone], np.int32)) == everyone
    assert table.find(hashes_of(everyone, (1, 2))).tolist() == list(numbers.values())
    assert table.find(hashes_of(["never seen"], (1, 2))).tolist() == [-1]
    assert table.begins_with("a", 0).tolist() == [key.startswith("a") for key in sorted(numbers, key=numbers.__getitem__)]


def add(table: KeyTable, keys: list[str]) -> list[int]:
    result: list[int] = table.add(hashes_of(keys, (1, 2)), hashes_of(keys, (3, 4)), pa.array(keys, pa.string())).tolist()
    return result


def test_two_keys_with_one_hash_are_found_out() -> None:
    table = KeyTable()
    add(table, ["em:1", "em:2"])

    with pytest.raises(Collision):
        table.add(hashes_of(["em:1"], (1, 2)), hashes_of(["em:9"], (3, 4)), pa.array(["em:9"]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1).map(lambda value: value & ~0xFF00) | st.integers(0, 300), max_size=40))
def test_hashes_are_ranked_whatever_their_low_bits(values: list[int]) -> None:
    hashes = np.array(values, np.uint64)

    assert hashes[ranked(hashes)].tolist() == sorted(values)
