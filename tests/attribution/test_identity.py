"""Whose keys belong together, on graphs a person can draw."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from attribution.identity import HUB_NEIGHBOURS, KEYS_PER_PERSON, ROUNDS, Neighbours, Person, find_persons, own_keys, spread
from tests.attribution.builders import order

Edges = list[tuple[str, str]]


class Graph:
    """Links in memory; it counts how often it is asked."""

    def __init__(self, edges: Edges) -> None:
        self.others: dict[str, set[str]] = {}
        for one, other in edges:
            self.others.setdefault(one, set()).add(other)
            self.others.setdefault(other, set()).add(one)
        self.asked = 0

    def __call__(self, keys: set[str]) -> Neighbours:
        self.asked += 1
        return {key: None if len(self.others.get(key, ())) > HUB_NEIGHBOURS else tuple(self.others.get(key, ())) for key in keys}


def person(edges: Edges, **carries: object) -> Person:
    return find_persons([order(**carries)], Graph(edges))["O-1"]


def test_an_order_begins_with_the_keys_it_carries() -> None:
    assert own_keys(order(visitor_id="phone", click_id="X", customer_keys=("em:1", "loy:2"))) == {
        "v:phone": "visitor",
        "c:X": "visitor",
        "em:1": "customer",
        "loy:2": "customer",
    }
    assert own_keys(order()) == {}


def test_a_customer_seen_on_the_phone_is_known_at_the_till() -> None:
    found = person([("v:phone", "em:zoe"), ("em:zoe", "loy:7")], customer_keys=("loy:7",))

    assert found.keys == {"loy:7": "customer", "em:zoe": "customer", "v:phone": "customer"}


def test_what_is_reached_over_devices_alone_counts_as_the_visitors() -> None:
    found = person([("v:phone", "c:X"), ("c:X", "v:tablet"), ("c:X", "em:zoe")], visitor_id="phone")

    assert found.keys == {"v:phone": "visitor", "c:X": "visitor", "v:tablet": "visitor", "em:zoe": "customer"}


def test_components_do_not_depend_on_the_order_of_the_edges() -> None:
    edges = [("v:a1", "em:u1"), ("v:a2", "em:u1"), ("v:a3", "em:u2"), ("em:u2", "em:e9"), ("em:e9", "em:u1")]
    found = [set(person(list(each), visitor_id="a1").keys) for each in permutations(edges)]

    assert all(keys == {"v:a1", "v:a2", "v:a3", "em:e9", "em:u1", "em:u2"} for keys in found)


def test_strangers_stay_strangers() -> None:
    assert set(person([("v:phone", "em:zoe"), ("v:laptop", "em:max")], visitor_id="phone").keys) == {"v:phone", "em:zoe"}


def test_the_search_ends_after_its_rounds() -> None:
    chain = [(f"em:{step}", f"em:{step + 1}") for step in range(20)]

    assert set(person(chain, customer_keys=("em:0",)).keys) == {f"em:{step}" for step in range(ROUNDS + 1)}


def test_a_key_that_half_the_world_shares_is_a_dead_end() -> None:
    crowd = [("em:info", f"v:{number}") for number in range(HUB_NEIGHBOURS + 1)]

    found = person(crowd, customer_keys=("em:info",))
    assert (set(found.keys), found.hubs) == ({"em:info"}, {"em:info"})

    few = person(crowd[:-1], customer_keys=("em:info",))
    assert (len(few.keys), few.hubs) == (HUB_NEIGHBOURS + 1, set())


def test_a_hub_at_the_end_of_the_search_is_still_known_as_one() -> None:
    chain = [(f"em:{step}", f"em:{step + 1}") for step in range(ROUNDS - 1)] + [(f"em:{ROUNDS - 1}", "v:kiosk")]
    crowd = [("v:kiosk", f"loy:{number}") for number in range(HUB_NEIGHBOURS)]

    assert person(chain + crowd, customer_keys=("em:0",)).hubs == {"v:kiosk"}


def test_a_person_with_too_many_keys_is_cut_nearest_first() -> None:
    wide = [("em:zoe", f"loy:{number}") for number in range(150)]
    wide += [(f"loy:{number}", f"v:{number}-{device}") for number in range(150) for device in range(4)]

    found = person(wide, customer_keys=("em:zoe",))

    assert (len(found.keys), found.cut) == (KEYS_PER_PERSON, True)
    assert {f"loy:{number}" for number in range(150)} <= found.keys.keys()


def test_many_orders_search_side_by_side_with_one_look_up_a_round() -> None:
    graph = Graph([(f"v:{number}", f"em:{number}") for number in range(50)])

    find_persons([order(f"O-{number}", visitor_id=str(number)) for number in range(50)], graph)

    assert graph.asked == 2


names = st.sampled_from(["v:1", "v:2", "v:3", "c:1", "c:2", "em:1", "em:2", "loy:1", "loy:2", "ph:1"])
graphs = st.lists(st.tuples(names, names).filter(lambda edge: edge[0] != edge[1]), max_size=12)
carried = st.builds(
    lambda visitor, click, keys: {"visitor_id": visitor, "click_id": click, "customer_keys": keys},
    st.sampled_from(["", "1", "2", "3"]),
    st.sampled_from(["", "1", "2"]),
    st.sampled_from([(), ("em:1",), ("loy:2", "ph:1")]),
)


@given(graphs, carried, carried, st.randoms(use_true_random=False))
def test_a_person_depends_neither_on_the_order_of_the_links_nor_on_other_orders(edges: Edges, mine: dict, other: dict, chance) -> None:
    shuffled = [edge if chance.random() < 0.5 else edge[::-1] for edge in edges]
    chance.shuffle(shuffled)

    beside = find_persons([order("O-2", **other), order("O-1", **mine)], Graph(shuffled))["O-1"]

    assert (beside.keys, beside.hubs) == (person(edges, **mine).keys, person(edges, **mine).hubs)


@given(graphs, carried, names)
def test_the_search_backwards_finds_every_order_that_the_search_forwards_starts_from(edges: Edges, mine: dict, key: str) -> None:
    forwards = person(edges, **mine).keys
    backwards = spread({key}, Graph(edges))

    assert (key not in forwards) or (own_keys(order(**mine)).keys() & backwards)


def test_backwards_nothing_is_found_through_a_hub() -> None:
    crowd = [("em:info", f"v:{number}") for number in range(HUB_NEIGHBOURS + 1)]

    assert spread({"v:1"}, Graph(crowd)) == {"v:1"}
