"""Which touches may have led to an order, on a real events store."""

from collections.abc import Iterable

import pytest

import attribution.journey as journey_module
from attribution.identity import HUB_NEIGHBOURS
from attribution.journey import CANDIDATES_EACH, Acquaintances, Journey, clicks_by_id, find_journeys, parts_of
from attribution.policy import Terms
from core.catalogue import Coupon, Programme
from core.clock import DAY, HOUR, Instant
from core.events import Order
from store.events import EventsStore
from tests.attribution.builders import CRAWLER, NOON, click, lead, order, store, view

TERMS = Terms("north", programmes=(Programme("north", "main", "", ""),), coupons={"ZOE10": Coupon("north", "ZOE10", "main", "ben")})


def journeys(events: EventsStore, orders: Iterable[Order], terms: Terms = TERMS) -> dict[str, Journey]:
    found = find_journeys(events, terms, list(orders), Acquaintances(events, terms.tenant_id))
    assert found is not None
    return found


def found_by(events: EventsStore, placed: Order, terms: Terms = TERMS) -> dict[str, tuple[str, ...]]:
    """The order's candidates and how each was found."""
    return {one.touch_id: one.matches for one in journeys(events, [placed], terms)[placed.order_id].candidates}


def test_a_click_is_found_by_the_click_id_that_the_order_names(events: EventsStore) -> None:
    one, stranger = click("1", "anna", NOON - DAY, "phone"), click("2", "ben", NOON - DAY, "laptop")
    store(events, [one, stranger])

    assert found_by(events, order(click_id=one.event_id)) == {one.event_id: ("click_id", "visitor")}


def test_a_named_click_is_found_without_a_visitor_and_at_any_age(events: EventsStore) -> None:
    old, later = click("1", "anna", NOON - 300 * DAY), click("2", "anna", NOON + DAY)
    store(events, [old, later])

    assert found_by(events, order(click_id=old.event_id)) == {old.event_id: ("click_id",)}
    assert found_by(events, order(click_id=later.event_id)) == {later.event_id: ("click_id",)}


def test_touches_are_found_by_the_orders_visitor(events: EventsStore) -> None:
    one, other = click("1", "anna", NOON - DAY, "phone"), view("2", "ben", NOON - HOUR, "phone")
    store(events, [one, other, click("3", "ben", NOON - HOUR, "laptop"), click("4", "ben", NOON - HOUR)])

    assert found_by(events, order(visitor_id="phone")) == {one.event_id: ("visitor",), other.event_id: ("visitor",)}


def test_touches_are_found_by_the_visitor_of_the_click_that_the_order_names(events: EventsStore) -> None:
    named, before = click("1", "anna", NOON - DAY, "phone"), click("2", "ben", NOON - 2 * DAY, "phone")
    store(events, [named, before])

    assert found_by(events, order(click_id=named.event_id)) == {named.event_id: ("click_id", "visitor"), before.event_id: ("visitor",)}


def test_a_customer_who_signed_up_on_the_phone_is_known_at_the_till(events: EventsStore) -> None:
    one = click("1", "anna", NOON - 3 * DAY, "phone")
    store(events, [one, lead("L-1", NOON - 2 * DAY, visitor_id="phone", customer_keys=("em:zoe", "loy:7"))])

    assert found_by(events, order(customer_keys=("loy:7",), channel="pos")) == {one.event_id: ("customer",)}


def test_a_sign_up_that_names_only_a_click_leads_to_its_visitor(events: EventsStore) -> None:
    named, before = click("1", "anna", NOON - 3 * DAY, "phone"), click("2", "ben", NOON - 4 * DAY, "phone")
    store(events, [named, before, lead("L-1", NOON - 2 * DAY, click_id=named.event_id, customer_keys=("em:zoe",))])

    assert found_by(events, order(customer_keys=("em:zoe",))) == {named.event_id: ("customer",), before.event_id: ("customer",)}


def test_from_a_visitor_over_a_click_that_a_sign_up_named_to_another_device(events: EventsStore) -> None:
    named, tablet = click("1", "anna", NOON - 3 * DAY, "phone"), click("2", "ben", NOON - 4 * DAY, "tablet")
    sign_up = lead("L-1", NOON - 2 * DAY, click_id=named.event_id, customer_keys=("em:zoe",))
    store(events, [named, tablet, sign_up, lead("L-2", NOON - 2 * DAY, visitor_id="tablet", customer_keys=("em:zoe",))])

    assert found_by(events, order(visitor_id="phone")) == {named.event_id: ("visitor",), tablet.event_id: ("customer",)}


def test_touches_beyond_the_window_and_the_near_misses_are_left_out(events: EventsStore) -> None:
    inside, outside = click("1", "anna", NOON - 60 * DAY, "phone"), click("2", "anna", NOON - 60 * DAY - 1, "phone")
    store(events, [inside, outside, click("3", "anna", NOON + 1, "phone")])

    assert set(found_by(events, order(visitor_id="phone"))) == {inside.event_id}


def test_a_touch_stored_twice_is_one_candidate(events: EventsStore) -> None:
    one = click("1", "anna", NOON - DAY, "phone")
    store(events, [one], at=NOON + 1)
    store(events, [one], at=NOON + 2)

    assert len(journeys(events, [order(visitor_id="phone", click_id=one.event_id)])["O-1"].candidates) == 1


def test_a_crawlers_click_is_a_candidate_that_says_what_it_is(events: EventsStore) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone", user_agent=CRAWLER)])

    (one,) = journeys(events, [order(visitor_id="phone")])["O-1"].candidates
    assert (one.human, one.traffic_class) == (False, "declared_bot")


def test_a_coupon_that_the_catalogue_knows_is_a_candidate_in_any_letter_case(events: EventsStore) -> None:
    (one,) = journeys(events, [order(coupons=("zoe10", " ZOE10 ", "UNKNOWN"))])["O-1"].candidates

    assert (one.touch_id, one.touch_class, one.affiliate_id, one.occurred_at, one.matches) == (
        "coupon:ZOE10",
        "coupon",
        "ben",
        NOON,
        ("coupon",),
    )


def test_a_click_id_that_is_no_id_is_not_looked_for(events: EventsStore) -> None:
    assert found_by(events, order(click_id="' OR 1=1 --")) == {}
    assert clicks_by_id(events, "north", ["", "x" * 26, "not-an-id"]) == {}


def test_a_tenants_order_never_sees_another_tenants_touches(events: EventsStore) -> None:
    foreign = click("1", "charlie", NOON - DAY, "phone", tenant_id="south")
    store(events, [foreign, lead("L-1", NOON - DAY, visitor_id="phone", customer_keys=("em:zoe",), tenant_id="south")])

    assert found_by(events, order(visitor_id="phone", click_id=foreign.event_id, customer_keys=("em:zoe",))) == {}


def test_another_tenants_sign_ups_join_nobody_here(events: EventsStore) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone")])
    store(events, [lead("L-1", NOON - DAY, visitor_id="phone", customer_keys=("em:zoe",), tenant_id="south")])

    assert found_by(events, order(customer_keys=("em:zoe",))) == {}


def test_a_shared_key_joins_nobody_but_an_orders_own_visitor_always_counts(events: EventsStore) -> None:
    one = click("1", "anna", NOON - DAY, "kiosk")
    crowd = [lead(f"L-{number}", NOON - DAY, visitor_id="kiosk", customer_keys=(f"em:{number}",)) for number in range(HUB_NEIGHBOURS + 1)]
    store(events, [one, *crowd])

    assert found_by(events, order(customer_keys=("em:7",))) == {}
    assert found_by(events, order(visitor_id="kiosk")) == {one.event_id: ("visitor",)}


def test_a_click_id_that_a_whole_newsletter_carries_still_counts_for_the_order_that_names_it(events: EventsStore) -> None:
    shared, other = click("1", "anna", NOON - 2 * DAY, "editor"), click("2", "ben", NOON - DAY, "editor")
    sign_ups = [
        lead(f"L-{number}", NOON - DAY, click_id=shared.event_id, customer_keys=(f"em:{number}",)) for number in range(HUB_NEIGHBOURS + 1)
    ]
    store(events, [shared, other, *sign_ups])

    assert found_by(events, order(click_id=shared.event_id)) == {shared.event_id: ("click_id",)}
    assert found_by(events, order(customer_keys=("em:7",))) == {}


def test_the_latest_of_too_many_are_kept_and_a_flood_of_crawlers_hides_no_person(events: EventsStore) -> None:
    person = click("person", "anna", NOON - 10 * DAY, "phone")
    flood = [click(f"bot-{number}", "ben", NOON - DAY + number, "phone", user_agent=CRAWLER) for number in range(CANDIDATES_EACH + 50)]
    named = click("named", "ben", NOON - 20 * DAY, "phone", user_agent=CRAWLER)
    store(events, [person, named, *flood])

    journey = journeys(events, [order(visitor_id="phone", click_id=named.event_id)])["O-1"]

    kept = {one.touch_id for one in journey.candidates}
    assert {person.event_id, named.event_id} <= kept
    assert {touch.event_id for touch in flood[50:]} <= kept
    assert (len(kept), journey.left_out) == (CANDIDATES_EACH + 2, 50)


def test_repetitions_take_no_room_from_others(events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey_module, "CANDIDATES_EACH", 2)
    older, newer = click("1", "anna", NOON - 2 * DAY, "phone"), click("2", "ben", NOON - DAY, "phone")
    for repetition in range(3):
        store(events, [older, newer], at=NOON + repetition)

    journey = journeys(events, [order(visitor_id="phone")])["O-1"]

    assert {one.touch_id for one in journey.candidates} == {older.event_id, newer.event_id}
    assert journey.left_out == 0


def test_each_order_looks_back_from_its_own_time(events: EventsStore) -> None:
    touches = [click(str(days), "anna", NOON - days * DAY, "phone") for days in (1, 3, 5)]
    store(events, touches)

    found = journeys(events, [order("O-2", NOON - 2 * DAY, visitor_id="phone"), order("O-4", NOON - 4 * DAY, visitor_id="phone")])

    assert {order_id: len(one.candidates) for order_id, one in found.items()} == {"O-2": 2, "O-4": 1}


def test_too_many_touches_for_several_orders_at_once_ask_for_fewer_orders(events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store(events, [click(str(number), "anna", NOON - DAY + number, "phone") for number in range(30)])
    monkeypatch.setattr(journey_module, "ROWS", 40)
    orders = [order("O-1", visitor_id="phone"), order("O-2", visitor_id="phone")]

    assert find_journeys(events, TERMS, orders, Acquaintances(events, "north")) is None
    assert len(journeys(events, orders[:1])["O-1"].candidates) == 30


@pytest.mark.parametrize("visitor", ["", "phöne ☎", "a'b\\c", "x" * 200, "tab\tline\nend", "?{visitor:String}"])
def test_visitors_may_have_any_text(events: EventsStore, visitor: str) -> None:
    one = click("1", "anna", NOON - DAY, visitor)
    store(events, [one])

    assert set(found_by(events, order(visitor_id=visitor))) == ({one.event_id} if visitor else set())


def test_parameters_are_sent_in_parts_that_servers_take() -> None:
    texts = [f"{number:026d}" for number in range(5000)]

    parts = list(parts_of([*texts, *texts]))

    assert [text for part in parts for text in part] == texts
    assert all(sum(len(text) + 3 for text in part) <= journey_module.PARAMETER_BYTES for part in parts)
    assert list(parts_of([])) == []


def test_the_clicks_ids_tell_where_to_look(events: EventsStore) -> None:
    times: list[Instant] = [NOON - 90 * DAY, NOON - DAY, NOON]
    clicks = [click(str(at), "anna", at, "phone") for at in times]
    store(events, clicks)

    assert set(clicks_by_id(events, "north", [one.event_id for one in clicks])) == {one.event_id for one in clicks}
    assert clicks_by_id(events, "south", [clicks[0].event_id]) == {}
