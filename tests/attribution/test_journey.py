"""Which touches may have led to an order, on a real events store."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from attribution.batch import Batch, decide_batch
from attribution.candidates import CANDIDATES_EACH
from attribution.coalition import Fellows
from attribution.history import ByKeys
from attribution.identity import HUB_NEIGHBOURS
from attribution.journey import Scene, batches_of_lines
from attribution.lookups import CROWD, touches_by_id
from attribution.policy import Terms
from attribution.touches import decode_touches
from core.catalogue import Affiliate, Coalition, CoalitionMember, Coupon, Link, Programme, Tenant
from core.clock import DAY, HOUR, Instant
from core.credit import Candidate
from core.events import Claim, Order
from store.books import Books
from store.catalogue import put
from store.events import PARAMETER_BYTES, EventsStore, parts_of
from tests.attribution.builders import CRAWLER, NOON, click, lead, line_of, member, order, people, store, view

TERMS = Terms("north", programmes=(Programme("north", "main", "", ""),), coupons={"ZOE10": Coupon("north", "ZOE10", "main", "ben")})


class Journey(msgspec.Struct):
    """An order's candidates, and how many more there would have been."""

    candidates: list[Candidate]
    left_out: int


class Shop:
    """Where these tests look: an events store, and books without a catalogue."""

    books: Books


@pytest.fixture(autouse=True)
def _books(sqlite_books: Books) -> None:
    Shop.books = sqlite_books


def batches(events: EventsStore, orders: Iterable[Order], terms: Terms = TERMS, fellows: Iterable[str] = ()) -> list[Batch]:
    known = people(events, terms.tenant_id)
    scene = Scene(events, Shop.books, terms, known, Fellows({name: people(events, name) for name in fellows}))
    return list(batches_of_lines(scene, [line_of(one) for one in orders], ByKeys(events, known)))


def journeys(events: EventsStore, orders: Iterable[Order], terms: Terms = TERMS, fellows: Iterable[str] = ()) -> dict[str, Journey]:
    found = [case for batch in batches(events, orders, terms, fellows) for case in decide_batch(batch, terms)]
    return {case.order.order_id: Journey([step.candidate for step in case.decision.trace], case.journey.left_out) for case in found}


def found_by(events: EventsStore, placed: Order, terms: Terms = TERMS) -> dict[str, tuple[str, ...]]:
    """The order's candidates and how each was found."""
    return {one.touch_id: one.matches for one in journeys(events, [placed], terms)[placed.order_id].candidates}


def test_a_click_is_found_by_the_click_id_that_the_order_names(events: EventsStore) -> None:
    one, stranger = click("1", "anna", NOON - DAY, "phone"), click("2", "ben", NOON - DAY, "laptop")
    placed = order(click_id=one.event_id)
    store(events, [one, stranger, placed])

    assert found_by(events, placed) == {one.event_id: ("click_id", "visitor")}


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
    placed = order(click_id=named.event_id)
    store(events, [named, before, placed])

    assert found_by(events, placed) == {named.event_id: ("click_id", "visitor"), before.event_id: ("visitor",)}


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
    assert touches_by_id(events, "north", ["", "x" * 26, "not-an-id"]) == b""


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
    crowd = [lead(f"L-{one}", NOON - DAY, visitor_id="kiosk", customer_keys=(f"em:{one}",)) for one in range(1, HUB_NEIGHBOURS + 2)]
    store(events, [one, *crowd])

    assert found_by(events, order(customer_keys=("em:7",))) == {}
    assert found_by(events, order(visitor_id="kiosk")) == {one.event_id: ("visitor",)}


def test_a_click_id_that_a_whole_newsletter_carries_still_counts_for_the_order_that_names_it(events: EventsStore) -> None:
    shared, other = click("1", "anna", NOON - 2 * DAY, "editor"), click("2", "ben", NOON - DAY, "editor")
    sign_ups = [
        lead(f"L-{number}", NOON - DAY, click_id=shared.event_id, customer_keys=(f"em:{number}",))
        for number in range(1, HUB_NEIGHBOURS + 2)
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
    monkeypatch.setattr("attribution.candidates.CANDIDATES_EACH", 2)
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
    monkeypatch.setattr("attribution.journey.TOUCHES", 29)
    orders = [order("O-1", visitor_id="phone"), order("O-2", visitor_id="phone")]

    found = journeys(events, orders)

    assert len(batches(events, orders)) == 2
    assert [len(found[name].candidates) for name in ("O-1", "O-2")] == [30, 30]


@pytest.mark.parametrize("visitor", ["", "phöne ☎", "a'b\\c", "x" * 200, "tab\tline\nend", "?{visitor:String}"])
def test_visitors_may_have_any_text(events: EventsStore, visitor: str) -> None:
    one = click("1", "anna", NOON - DAY, visitor)
    store(events, [one])

    assert set(found_by(events, order(visitor_id=visitor))) == ({one.event_id} if visitor else set())


def test_parameters_are_sent_in_parts_that_servers_take() -> None:
    texts = [f"{number:026d}" for number in range(5000)]

    parts = list(parts_of([*texts, *texts]))

    assert [text for part in parts for text in part] == texts
    assert all(sum(len(text) + 3 for text in part) <= PARAMETER_BYTES for part in parts)
    assert list(parts_of([])) == []


@pytest.mark.parametrize("crowd", [CANDIDATES_EACH + 5, CROWD + 5])
def test_each_order_of_a_visitor_with_very_many_touches_gets_its_own_latest(
    events: EventsStore, monkeypatch: pytest.MonkeyPatch, crowd: int
) -> None:
    monkeypatch.setattr("attribution.lookups.CROWD_PAGE", 400)
    touches = [click(str(number), "anna", NOON - DAY + number, "bot", user_agent=CRAWLER) for number in range(crowd)]
    views = [view(f"view-{number}", "ben", NOON - DAY + number, "bot", user_agent=CRAWLER) for number in range(crowd)]
    store(events, [*touches, *views, touches[7]])
    middle = crowd // 2

    found = journeys(events, [order("O-1", visitor_id="bot"), order("O-2", NOON - DAY + middle, visitor_id="bot")])

    ids = [touch.event_id for touch in touches]
    kept = {name: {one.touch_id for one in journey.candidates if one.touch_class == "click"} for name, journey in found.items()}
    assert kept == {"O-1": set(ids[-CANDIDATES_EACH:]), "O-2": set(ids[: middle + 1][-CANDIDATES_EACH:])}
    assert found["O-1"].left_out in (10, 2 * (crowd - CANDIDATES_EACH), 2 * (crowd - CANDIDATES_EACH) + 1)


def test_touches_without_an_affiliate_are_candidates_with_who_brought_them(events: EventsStore) -> None:
    paid = click("1", "", NOON - DAY, "phone", kind="paid", origin="google", medium="cpc", link_code="", programme_id="")
    direct = click("2", "", NOON - HOUR, "phone", kind="direct", link_code="", programme_id="")
    store(events, [paid, direct])

    found = journeys(events, [order(visitor_id="phone")])["O-1"].candidates

    assert {(one.touch_class, one.affiliate_id, one.origin) for one in found} == {("paid", "", "google/cpc"), ("direct", "", "")}


def test_a_call_is_found_by_the_callers_number(events: EventsStore) -> None:
    call = click("1", "anna", NOON - DAY, kind="call", customer_keys=("ph:1",), channel="call", source="api")
    store(events, [call])

    (one,) = journeys(events, [order(customer_keys=("ph:1",))])["O-1"].candidates

    assert (one.touch_id, one.touch_class, one.matches) == (call.event_id, "call", ("customer",))


# --- what the order says ---------------------------------------------------------------------------------------------


def test_a_claim_stands_for_the_click_or_the_link_of_its_token_or_for_its_affiliate(events: EventsStore, sqlite_books: Books) -> None:
    one = click("1", "anna", NOON - DAY)
    store(events, [one])
    with sqlite_books.writing() as connection:
        for tenant in ("north", "south"):
            put(connection, Tenant(tenant, tenant, "EUR"), "test", NOON)
            put(connection, Programme(tenant, "main", "", "https://x.example/"), "test", NOON)
        put(connection, Affiliate("ben", "Ben", "ben@x.example"), "test", NOON)
        put(connection, Link("bens", "north", "main", "ben", ""), "test", NOON)
        put(connection, Link("foreign", "south", "main", "ben", ""), "test", NOON)
    claims = (
        Claim(one.event_id, issued_at=NOON - HOUR),
        Claim("bens", affiliate_id="zoe", expires_at=NOON - 1),
        Claim("foreign", affiliate_id="zoe"),
        Claim("", affiliate_id="carl", expires_at=NOON),
    )

    found = journeys(events, [order(claims=claims)])["O-1"].candidates

    assert {(one.touch_id, one.affiliate_id, one.occurred_at, one.origin) for one in found} == {
        (f"agent:{one.event_id}", "anna", NOON - HOUR, ""),
        ("agent:bens", "ben", NOON, "expired"),
        ("agent:foreign", "zoe", NOON, ""),
        ("agent:carl", "carl", NOON, ""),
    }
    assert {one.touch_class for one in found} == {"agent"}


def test_an_affiliate_that_the_till_names_is_a_candidate(events: EventsStore) -> None:
    (one,) = journeys(events, [order(affiliate_id="anna")])["O-1"].candidates

    assert (one.touch_id, one.touch_class, one.affiliate_id, one.programme_id) == ("clickless:anna", "clickless", "anna", "main")


def test_an_affiliate_that_buys_from_itself_leaves_evidence(events: EventsStore) -> None:
    store(events, [click("1", "anna", NOON - DAY, "phone"), click("2", "ben", NOON - DAY, "phone")])
    terms = msgspec.structs.replace(TERMS, own_keys={"anna": ("em:anna", "ph:1"), "ben": ("em:ben",)})

    found = journeys(events, [order(visitor_id="phone", customer_keys=("em:anna",))], terms)["O-1"].candidates

    assert {one.affiliate_id: one.evidence for one in found} == {"anna": ("same_email",), "ben": ()}


# --- coalitions ------------------------------------------------------------------------------------------------------

SINCE, UNTIL = NOON - 10 * DAY, NOON + 10 * DAY
MALL = Coalition("mall", "Mall", (CoalitionMember("north", SINCE, UNTIL), CoalitionMember("south", SINCE, UNTIL)))
SHARED = msgspec.structs.replace(TERMS, coalitions=(MALL,), memberships={"main": {"zoe": member("zoe")}})


def foreign(events: EventsStore, terms: Terms = SHARED, at: Instant = NOON, **more: Any) -> set[str]:
    """The touches of south that an order of north may be told of."""
    found = journeys(events, [order(at=at, **more)], terms, ["south"])["O-1"].candidates
    assert {one.tenant_id for one in found} <= {"south"}
    assert {one.matches for one in found} <= {("coalition",)}
    return {one.touch_id for one in found}


def test_a_coalition_shares_touches_of_the_same_browser_and_of_the_same_customer(events: EventsStore) -> None:
    south: dict[str, Any] = {"tenant_id": "south", "consent": "granted"}
    browser, other = click("1", "zoe", NOON - DAY, "phone", **south), click("2", "zoe", NOON - DAY, "tablet", **south)
    sign_up = lead("L-1", NOON - 2 * DAY, tenant_id="south", visitor_id="tablet", customer_keys=("em:south", "x:mall:em:zoe"))
    store(events, [browser, other, sign_up])

    assert foreign(events, visitor_id="phone") == {browser.event_id}
    assert foreign(events, customer_keys=("em:north", "x:mall:em:zoe")) == {other.event_id}
    assert foreign(events, customer_keys=("x:other:em:zoe",)) == set()


def test_nothing_of_another_tenant_is_told_without_consent_or_outside_the_coalition(events: EventsStore) -> None:
    south: dict[str, Any] = {"tenant_id": "south", "consent": "granted"}
    early, inside = click("1", "zoe", SINCE - 1, "phone", **south), click("2", "zoe", SINCE, "phone", **south)
    unasked = click("3", "zoe", NOON - DAY, "phone", tenant_id="south")
    store(events, [early, inside, unasked])

    assert foreign(events, visitor_id="phone") == {inside.event_id}
    assert foreign(events, visitor_id="phone", consent="denied") == set()
    assert foreign(events, at=UNTIL, visitor_id="phone") == set()
    assert foreign(events, TERMS, visitor_id="phone") == set()


def test_a_partners_advertising_and_its_other_affiliates_stay_its_own(events: EventsStore) -> None:
    south: dict[str, Any] = {"tenant_id": "south", "consent": "granted"}
    shared, view = click("1", "zoe", NOON - DAY, "phone", **south), click("2", "zoe", NOON - DAY, "phone", kind="impression", **south)
    paid = click("3", "", NOON - DAY, "phone", kind="paid", medium="cpc", origin="google", **south)
    theirs = click("4", "charlie", NOON - DAY, "phone", **south)
    store(events, [shared, view, paid, theirs])

    assert foreign(events, visitor_id="phone") == {shared.event_id}


def test_the_clicks_ids_tell_where_to_look(events: EventsStore) -> None:
    times: list[Instant] = [NOON - 90 * DAY, NOON - DAY, NOON]
    clicks = [click(str(at), "anna", at, "phone") for at in times]
    store(events, clicks)

    found = decode_touches(touches_by_id(events, "north", [one.event_id for one in clicks]))

    assert {one.touch_id for one in found} == {one.event_id for one in clicks}
    assert touches_by_id(events, "south", [clicks[0].event_id]) == b""
