"""Who is behind an order, on a real events store: the same however and whenever things arrived."""

import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from attribution.identity import RULES, IdentityRules, Person, own_keys
from attribution.keys import hashes_of
from attribution.people import People
from core.clock import DAY, HOUR, MINUTE, Instant
from core.events import Event, Order
from store.events import EventsStore, Query
from tests.attribution.builders import NOON, STORED, click, lead, order, store
from tests.conftest import empty_events


def people(events: EventsStore, rules: IdentityRules = RULES, tenant: str = "north") -> People:
    """Fresh ones, that know all that is stored."""
    found = People(events, tenant, rules)
    assert found.refresh() == set()
    return found


def person(events: EventsStore, one: Order, rules: IdentityRules = RULES) -> Person:
    return people(events, rules).persons_of([one])[one.order_id]


def revoke(events: EventsStore, key: str, other: str = "", at: Instant = STORED) -> None:
    row = {"tenant_id": "north", "key": key, "other_key": other, "reason": "test", "revoked_at": at / 1000, "stored_at": at / 1000}
    events.insert_json("identity_revocations", msgspec.json.encode(row), f"{key}:{other}:{at}")


# --- who is behind an order ------------------------------------------------------------------------------------------


def test_an_order_at_the_till_knows_the_phone_that_its_customer_once_signed_up_with(events: EventsStore) -> None:
    store(events, [lead("L-1", NOON - DAY, visitor_id="phone", customer_keys=("em:zoe", "loy:7"))])

    found = person(events, order(customer_keys=("loy:7",)))

    assert found.keys == {"loy:7": "customer", "em:zoe": "customer", "v:phone": "customer"}


def test_the_orders_own_visitor_and_its_clicks_visitor_say_so(events: EventsStore) -> None:
    blog = click("blog", "anna", NOON - DAY, "tablet")
    placed = order(visitor_id="phone", click_id=blog.event_id, customer_keys=("em:zoe",))
    store(events, [blog, placed])

    assert person(events, placed).keys == {
        "v:phone": "visitor", "v:tablet": "visitor", f"c:{blog.event_id}": "visitor", "em:zoe": "customer"
    }  # fmt: skip


def test_an_order_that_names_a_click_and_nothing_else_knows_who_clicked(events: EventsStore) -> None:
    blog = click("blog", "anna", NOON - DAY, "tablet")
    placed = order(click_id=blog.event_id)
    store(events, [blog, placed, lead("L-1", NOON - HOUR, visitor_id="tablet", customer_keys=("em:zoe",))])

    assert person(events, placed).keys.keys() == {f"c:{blog.event_id}", "v:tablet", "em:zoe"}


def test_an_order_of_a_stranger_has_the_keys_that_it_carries(events: EventsStore) -> None:
    assert person(events, order(visitor_id="phone")) == Person({"v:phone": "visitor"}, "v:phone")
    assert person(events, order()) == Person({}, "")


def test_clicks_of_a_known_visitor_are_not_listed_one_by_one(events: EventsStore) -> None:
    clicks = [click(f"blog-{number}", "anna", NOON - DAY + number, "phone") for number in range(30)]
    orders = [order(f"O-{number}", visitor_id="phone", click_id=one.event_id) for number, one in enumerate(clicks)]
    store(events, [*clicks, *orders])

    assert person(events, orders[3]).keys.keys() == {"v:phone", f"c:{clicks[3].event_id}"}
    assert len(people(events).known_with({"v:phone"})) == 31


def test_a_person_is_named_after_the_key_that_was_seen_first(events: EventsStore) -> None:
    placed = order(customer_keys=("em:zoe",))
    store(events, [lead("L-1", NOON - 3 * DAY, visitor_id="old", customer_keys=("em:zoe",))])
    assert person(events, placed).person_id == "em:zoe", "of two seen at once, the lower"

    store(events, [lead("L-2", NOON - DAY, visitor_id="a-new", customer_keys=("em:zoe",))])
    assert person(events, placed).person_id == "em:zoe"

    store(events, [lead("L-3", NOON - 9 * DAY, visitor_id="older", customer_keys=("em:zoe",))])
    assert person(events, placed).person_id == "em:zoe", "it, too, was seen then"

    store(
        events,
        [lead("L-4", NOON - 20 * DAY, visitor_id="oldest", customer_keys=("ph:1",)), lead("L-5", NOON, customer_keys=("ph:1", "em:zoe"))],
    )
    assert person(events, placed).person_id == "ph:1"
    assert "em:zoe" in people(events).known_with({"ph:1"}), "the old name still leads to the person"


# --- rules -----------------------------------------------------------------------------------------------------------


def test_what_half_the_world_shares_joins_nobody_but_is_known_to_the_order_that_carries_it(events: EventsStore) -> None:
    store(events, [lead(f"L-{number}", NOON, visitor_id=f"p{number:03}", customer_keys=("em:info",)) for number in range(201)])

    assert person(events, order(visitor_id="p001")).keys == {"v:p001": "visitor"}
    assert person(events, order(visitor_id="p001", customer_keys=("em:info",))).keys == {"v:p001": "visitor", "em:info": "customer"}
    assert len(person(events, order(visitor_id="p001"), IdentityRules(neighbours_of=(("em", 201),))).keys) == 202


def test_a_card_that_is_scanned_every_day_still_finds_its_scans(events: EventsStore) -> None:
    keys = ("loy:7", "x:fair:em:1")
    scans = [click(f"s{number}", "anna", NOON - number, kind="scan", source="api", customer_keys=keys) for number in range(1, 252)]
    store(events, scans[:150])
    known = people(events)
    store(events, scans[150:], STORED + MINUTE)
    known.refresh()

    expected = {*keys, *(f"c:{scan.event_id}" for scan in scans)}
    assert known.persons_of([order(customer_keys=("loy:7",))])["O-1"].keys.keys() == expected
    assert person(events, order(customer_keys=("x:fair:em:1",))).keys.keys() == expected


def test_values_that_mean_nobody_join_nobody(events: EventsStore) -> None:
    store(events, [lead(f"L-{name}", NOON, visitor_id="0000-00", customer_keys=(f"em:{name}",)) for name in ("zoe", "max")])

    assert person(events, order(customer_keys=("em:zoe",))).keys == {"em:zoe": "customer"}
    assert person(events, order(customer_keys=("em:zoe",)), IdentityRules(blocked=())).keys.keys() == {"em:zoe", "em:max", "v:0000-00"}


def test_two_customers_on_one_device_have_it_one_after_the_other(events: EventsStore) -> None:
    alice = lead("L-1", NOON, visitor_id="kitchen", customer_keys=("cid:alice", "em:alice"))
    bob = order("O-1", NOON + 10 * DAY, visitor_id="kitchen", customer_keys=("cid:bob", "em:bob"))
    again = order("O-2", NOON + 20 * DAY, visitor_id="kitchen", customer_keys=("cid:alice",))
    store(events, [alice, bob, again])

    found = people(events).persons_of([bob, again])

    assert found["O-1"].keys == {"cid:bob": "customer", "em:bob": "customer", "v:kitchen": "visitor"}
    assert found["O-1"].spans == {"v:kitchen": ((NOON + 9 * DAY, NOON + 19 * DAY),)}
    assert found["O-2"].keys == {"cid:alice": "customer", "em:alice": "customer", "v:kitchen": "visitor"}
    assert [end - start for start, end in found["O-2"].spans["v:kitchen"][:1]] == [10 * DAY]
    assert found["O-1"].person_id == "cid:bob"


@pytest.mark.parametrize(
    ("at", "owner"),
    [
        (NOON - DAY - 1, ""),
        (NOON - DAY, "cid:alice"),
        (NOON + 8 * DAY, "cid:alice"),
        (NOON + 9 * DAY, "cid:bob"),
        (NOON + 90 * DAY, "cid:bob"),
    ],
)
def test_a_shared_device_without_a_log_in_is_whose_it_was_at_the_time(events: EventsStore, at: Instant, owner: str) -> None:
    first = lead("L-1", NOON, visitor_id="kitchen", customer_keys=("cid:alice",))
    second = lead("L-2", NOON + 10 * DAY, visitor_id="kitchen", customer_keys=("cid:bob",))
    store(events, [first, second])

    found = person(events, order(at=at, visitor_id="kitchen"))

    assert found.keys.keys() == {"v:kitchen"} | ({owner} if owner else set())
    assert any(start <= at < end for start, end in found.spans["v:kitchen"])


def test_an_address_of_two_customers_belongs_to_neither(events: EventsStore) -> None:
    store(events, [lead(f"L-{name}", NOON, customer_keys=(f"cid:{name}", f"loy:{name}", "em:family")) for name in ("alice", "bob")])

    assert person(events, order(customer_keys=("em:family",))).keys == {"em:family": "customer"}
    assert person(events, order(customer_keys=("loy:bob",))).keys.keys() == {"loy:bob", "cid:bob"}


def test_past_the_limit_an_order_reaches_one_step(events: EventsStore) -> None:
    chain = [lead(f"L-{number}", NOON, customer_keys=(f"em:n{number:03}", f"em:n{number + 1:03}")) for number in range(20)]
    store(events, chain)
    rules = IdentityRules(largest=20)

    assert person(events, order(customer_keys=("em:n005",)), rules).keys.keys() == {"em:n004", "em:n005", "em:n006"}
    assert people(events, rules).known_with({"em:n005"}) == {"em:n004", "em:n005", "em:n006"}
    assert len(person(events, order(customer_keys=("em:n005",)), IdentityRules(largest=21)).keys) == 21
    (alarm,) = people(events, rules).alarms()
    assert (alarm.keys, alarm.glue, alarm.left) == (21, "em:n010", 10)
    assert not people(events).alarms()


def test_a_revoked_link_never_was(events: EventsStore) -> None:
    placed = order(customer_keys=("em:zoe",))
    store(
        events,
        [
            lead("L-1", NOON - DAY, visitor_id="old", customer_keys=("em:zoe",)),
            lead("L-2", NOON, visitor_id="new", customer_keys=("em:zoe",)),
        ],
    )
    known = people(events)
    revoke(events, "em:zoe", "v:old")

    assert {"em:zoe", "v:old", "v:new"} <= known.refresh()
    assert (
        known.persons_of([placed])
        == people(events).persons_of([placed])
        == {"O-1": Person({"em:zoe": "customer", "v:new": "customer"}, "em:zoe")}
    )
    store(events, [lead("L-3", NOON, visitor_id="old", customer_keys=("em:zoe",))])
    assert "v:old" not in person(events, placed).keys

    revoke(events, "em:zoe")
    assert person(events, placed).keys == {"em:zoe": "customer"}


def test_merchants_never_share_a_person(events: EventsStore) -> None:
    store(events, [lead("L-1", NOON, visitor_id="phone", customer_keys=("em:zoe",), tenant_id="south")])

    assert person(events, order(customer_keys=("em:zoe",))).keys == {"em:zoe": "customer"}
    assert people(events, tenant="south").known_with({"em:zoe"}) == {"em:zoe", "v:phone"}


# --- keeping up ------------------------------------------------------------------------------------------------------


def test_a_click_that_is_stored_after_the_order_that_names_it_joins_its_visitor(events: EventsStore) -> None:
    blog = click("blog", "anna", NOON - DAY, "tablet")
    store(events, [lead("L-1", NOON, visitor_id="tablet", customer_keys=("em:zoe",))])
    known = people(events)
    store(events, [order(click_id=blog.event_id)], STORED + HOUR)
    assert known.refresh() == set()
    store(events, [blog], STORED + 9 * HOUR)

    assert known.refresh() == {f"c:{blog.event_id}", "v:tablet", "em:zoe"}
    assert known.refresh() == set()
    assert "em:zoe" in known.persons_of([order(click_id=blog.event_id)])["O-1"].keys


def test_an_order_stored_long_after_its_click_joins_its_visitor(events: EventsStore) -> None:
    blog = click("blog", "anna", NOON - DAY, "tablet")
    store(events, [blog])
    known = people(events)
    store(events, [order(click_id=blog.event_id, customer_keys=("em:zoe",))], STORED + 30 * DAY)

    assert known.refresh() == {f"c:{blog.event_id}", "v:tablet", "em:zoe"}


def test_a_new_hub_takes_its_neighbours_apart(events: EventsStore) -> None:
    joined = [lead(f"L-{number}", NOON, visitor_id=f"p{number:03}", customer_keys=("em:info",)) for number in range(200)]
    store(events, joined)
    known = people(events)
    store(events, [lead("L-x", NOON, visitor_id="x", customer_keys=("em:info",))], STORED + MINUTE)

    assert len(known.refresh()) >= 201
    assert known.known_with({"v:p001"}) == {"v:p001"}


def test_what_is_read_twice_changes_nothing(events: EventsStore) -> None:
    happened = [
        lead("L-1", NOON, visitor_id="kitchen", customer_keys=("cid:alice",)),
        lead("L-2", NOON + DAY, visitor_id="kitchen", customer_keys=("cid:bob",)),
    ]
    store(events, happened)
    known = people(events)

    assert known.refresh() == set()
    store(events, happened, STORED + MINUTE)
    known.refresh()
    assert known.refresh() == set()


def test_a_log_in_changes_whose_a_shared_device_was(events: EventsStore) -> None:
    store(
        events,
        [
            lead("L-1", NOON, visitor_id="kitchen", customer_keys=("cid:alice",)),
            lead("L-2", NOON + 9 * DAY, visitor_id="kitchen", customer_keys=("cid:bob",)),
        ],
    )
    known = people(events)
    store(events, [lead("L-3", NOON + 5 * DAY, visitor_id="kitchen", customer_keys=("cid:bob",))], STORED + MINUTE)

    assert known.refresh() == {"v:kitchen", "cid:alice", "cid:bob"}


def test_it_begins_anew_where_two_keys_have_one_hash(events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret under which all keys are equal is a collision that nobody needs to wait for."""
    from attribution import keyring

    store(events, [lead("L-1", NOON, visitor_id="phone", customer_keys=("em:zoe",))])
    links = keyring.LINKS_SINCE
    broken = [
        Query(
            "broken",
            links.sql.replace(
                "sipHash64Keyed(({secret_1:UInt64}, {secret_2:UInt64}), key)",
                "toUInt64({secret_1:UInt64} - {secret_2:UInt64} + {secret_2:UInt64})",
            ),
        )
    ]

    class Once:
        @property
        def sql(self) -> str:
            return (broken.pop() if broken else links).sql

        name = "links_since"

    monkeypatch.setattr(keyring, "LINKS_SINCE", Once())
    store(events, [lead("L-2", NOON, visitor_id="laptop", customer_keys=("em:max",))])

    assert people(events).known_with({"em:zoe"}) == {"em:zoe", "v:phone"}
    assert not broken


def test_the_hash_is_the_stores_own(events: EventsStore) -> None:
    keys = ["", "v:1", "c:" + "0" * 26, *(f"em:{'ü' * number}" for number in range(40))]
    asked = Query(
        "hashes", "SELECT sipHash64Keyed((toUInt64(7), toUInt64(18446744073709551615)), arrayJoin({keys:Array(String)})) ORDER BY 1"
    )

    assert [row[0] for row in events.select(asked, keys=keys)] == sorted(hashes_of(keys, (7, 2**64 - 1)).tolist())


def test_an_order_is_alone_that_carries_all_there_is(events: EventsStore) -> None:
    orders = [
        order("O-all", visitor_id="phone", customer_keys=("em:zoe",)),
        order("O-one", visitor_id="laptop"),
        order("O-none"),
        order("O-some", customer_keys=("em:max",)),
        order("O-couple", visitor_id="till", customer_keys=("cid:a", "cid:b")),
    ]
    store(events, [*orders, lead("L-1", NOON, visitor_id="tablet", customer_keys=("em:max",))])

    assert people(events).alone(orders) == {"O-all": "em:zoe", "O-one": "v:laptop", "O-none": ""}


# --- the laws --------------------------------------------------------------------------------------------------------

MANY = int(os.environ.get("FAIRSHARE_TEST_WORLDS", "6"))
visitors = st.sampled_from(["", "1", "2", "3"])
customers = st.lists(st.sampled_from(["cid:a", "cid:b", "em:1", "em:2", "loy:1", "test:x"]), max_size=3, unique=True).map(tuple)
CLICKS = [click(name, "anna", NOON - DAY, visitor) for name, visitor in (("a", "1"), ("b", "2"), ("c", "4"))]


@st.composite
def worlds(draw: st.DrawFn) -> list[Event]:
    """A few orders and sign-ups that share keys, and clicks that some of them name."""
    happened: list[Event] = [one for one in CLICKS if draw(st.booleans())]
    for number in range(draw(st.integers(1, 7))):
        at = NOON + draw(st.integers(0, 4)) * 13 * HOUR
        named = draw(st.sampled_from(["", *(one.event_id for one in CLICKS)]))
        keys = {"visitor_id": draw(visitors), "click_id": named, "customer_keys": draw(customers)}
        happened.append(draw(st.sampled_from([order, lead]))(f"E-{number}", at, **keys))
    return happened


def answers(known: People, happened: Iterable[Event]) -> Any:
    orders = [one for one in happened if isinstance(one, Order)]
    carried = sorted({key for one in orders for key in own_keys(one)})
    persons = known.persons_of(orders)
    for order_id, person_id in known.alone(orders).items():
        own = next(own_keys(one) for one in orders if one.order_id == order_id)
        assert persons[order_id] == Person(own, person_id), "who is said to be alone has no other keys"
    return [
        (one, sorted(persons[one].keys.items()), persons[one].person_id, sorted(persons[one].spans.items())) for one in sorted(persons)
    ], [sorted(known.known_with({key})) for key in carried]


@given(worlds(), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=MANY, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_neither_arrival_nor_repetition_nor_when_it_was_asked_matters(
    events: EventsStore, happened: list[Event], chance: random.Random, parts: int
) -> None:
    rules = IdentityRules(neighbours=3, touches=2, largest=6)
    empty_events(events)
    store(events, happened)
    at_once = answers(people(events, rules), happened)
    empty_events(events)
    shuffled = [*happened, *chance.sample(happened, len(happened) // 2)]
    chance.shuffle(shuffled)
    known = people(events, rules)
    before: dict[str, Person] = {}
    for number in range(parts):
        fresh: Sequence[Event] = shuffled[number::parts]
        store(events, fresh, STORED + number * 7)
        changed = known.refresh()
        orders = [one for one in happened if isinstance(one, Order)]
        now = known.persons_of(orders)
        for one in orders:
            if one.order_id in before and now[one.order_id] != before[one.order_id]:
                assert changed & (before[one.order_id].keys.keys() | now[one.order_id].keys.keys()), "who changed is told"
        before = now

    assert answers(known, happened) == at_once
    assert answers(people(events, rules), happened) == at_once
