"""Which orders are looked at again: none too few, and nothing where nothing happened."""

import pytest

from attribution.changes import Changed, News, Seen, changed_orders, missed_keys, news_of, order_ids, stored_since
from attribution.history import ByKeys, carriers_of
from attribution.identity import HUB_NEIGHBOURS
from attribution.journey import Scene
from attribution.policy import Terms
from core.clock import DAY, HOUR
from core.events import Event
from store.books import Books
from store.events import EventsStore
from tests.attribution.builders import NOON, STORED, click, lead, order, people, store, view

LATER = STORED + HOUR
LOOKBACK = 60 * DAY


class Shop:
    """Where these tests look."""

    books: Books


@pytest.fixture(autouse=True)
def _books(sqlite_books: Books) -> None:
    Shop.books = sqlite_books


def changed_after(events: EventsStore, *new: Event, tenant: str = "north", cold: bool = False) -> Changed:
    """What is looked at once ``new`` facts are stored, by a process that knew what was there before, or by a ``cold`` one."""
    known = people(events, tenant)
    store(events, new, at=LATER)
    if cold:
        known = people(events, tenant)
        gained = missed_keys(events, known, LATER)
    else:
        gained = known.refresh()
    scene = Scene(events, Shop.books, Terms(tenant), known)
    return changed_orders(scene, ByKeys(events, known), News(LATER, True, True), gained, LOOKBACK)


def after(events: EventsStore, *new: Event, tenant: str = "north") -> set[str]:
    """The orders that are looked at once ``new`` facts are stored."""
    changed = changed_after(events, *new, tenant=tenant)
    assert not changed.periods
    return set(changed.order_ids)


def test_a_new_order_is_looked_at_and_its_neighbours_are_not(events: EventsStore) -> None:
    store(events, [order("O-1", visitor_id="phone"), order("O-2", visitor_id="laptop")])

    assert after(events, order("O-3", visitor_id="tablet")) == {"O-3"}


def test_a_late_touch_brings_back_the_orders_of_its_visitor_that_came_after_it(events: EventsStore) -> None:
    orders = [order(name, at, visitor_id="phone") for name, at in (("O-0", NOON - 3 * DAY), ("O-1", NOON), ("O-2", NOON + 61 * DAY))]
    store(events, [*orders, order("O-9", visitor_id="laptop")])

    assert after(events, click("late", "anna", NOON - 2 * DAY, "phone")) == {"O-1"}


def test_a_fresh_click_brings_back_nothing(events: EventsStore) -> None:
    store(events, [order("O-1", visitor_id="phone")])

    assert after(events, click("fresh", "anna", NOON + 1, "phone")) == set()


def test_a_late_click_brings_back_the_order_that_named_it_whatever_its_time(events: EventsStore) -> None:
    late = click("late", "anna", NOON + DAY)
    store(events, [order("O-1", click_id=late.event_id), order("O-2")])

    assert after(events, late) == {"O-1"}


def test_a_late_touch_reaches_orders_over_the_customer(events: EventsStore) -> None:
    store(events, [lead("L-1", NOON - DAY, visitor_id="phone", customer_keys=("em:zoe",)), order("O-1", customer_keys=("em:zoe",))])

    assert after(events, view("late", "anna", NOON - HOUR, "phone")) == {"O-1"}


def test_a_late_touch_reaches_orders_that_named_another_click_of_its_visitor(events: EventsStore) -> None:
    named = click("named", "anna", NOON - 2 * DAY, "phone")
    store(events, [named, order("O-1", click_id=named.event_id)])

    assert after(events, click("late", "ben", NOON - DAY, "phone")) == {"O-1"}


def test_a_late_touch_reaches_orders_over_a_click_that_a_sign_up_named(events: EventsStore) -> None:
    named = click("named", "anna", NOON - 2 * DAY, "phone")
    sign_up = lead("L-1", NOON - DAY, click_id=named.event_id, customer_keys=("em:zoe",))
    store(events, [named, sign_up, order("O-1", customer_keys=("em:zoe",))])

    assert after(events, click("late", "ben", NOON - DAY, "phone")) == {"O-1"}


def test_a_late_click_joins_the_sign_up_that_named_it_to_its_visitor(events: EventsStore) -> None:
    named, old = click("named", "anna", NOON + DAY, "phone"), click("old", "ben", NOON - DAY, "phone")
    sign_up = lead("L-1", NOON + DAY, click_id=named.event_id, customer_keys=("em:zoe",))
    store(events, [old, sign_up, order("O-1", customer_keys=("em:zoe",))])

    assert after(events, named) == {"O-1"}


def test_a_new_link_brings_back_all_orders_of_the_person(events: EventsStore) -> None:
    store(events, [order("O-1", NOON - 90 * DAY, customer_keys=("em:zoe",)), order("O-2", customer_keys=("em:max",))])

    assert after(events, lead("L-1", NOON, visitor_id="phone", customer_keys=("em:zoe",))) == {"O-1"}


def test_a_link_that_was_known_before_brings_back_nothing(events: EventsStore) -> None:
    store(events, [order("O-1", visitor_id="phone", customer_keys=("em:zoe",))])

    assert after(events, lead("L-1", NOON, visitor_id="phone", customer_keys=("em:zoe",))) == set()


def test_the_link_that_makes_a_key_a_hub_brings_back_the_orders_it_cuts_off(events: EventsStore) -> None:
    crowd = [lead(f"L-{one}", NOON - DAY, visitor_id="kiosk", customer_keys=(f"em:{one}",)) for one in range(1, HUB_NEIGHBOURS + 1)]
    store(events, [*crowd, order("O-1", customer_keys=("em:7",))])

    assert after(events, lead("L-x", NOON, visitor_id="kiosk", customer_keys=("em:x",))) == {"O-1"}


def test_a_new_order_brings_back_the_later_ones_of_its_person(events: EventsStore) -> None:
    orders = [order(name, NOON + days * DAY, customer_keys=("em:zoe",)) for name, days in (("O-0", -2), ("O-2", 2))]
    store(events, [*orders, order("O-9", NOON + DAY, customer_keys=("em:max",))])

    assert after(events, order("O-1", customer_keys=("em:zoe",))) == {"O-1", "O-2"}


def test_a_late_click_of_no_visitor_brings_back_the_order_that_named_it(events: EventsStore) -> None:
    late = click("late", "anna", NOON - DAY)
    store(events, [order("O-1", click_id=late.event_id), order("O-2", click_id=click("x", "anna", NOON).event_id)])

    assert after(events, late) == {"O-1"}


@pytest.mark.parametrize(
    "new",
    [
        lead("L-1", NOON, visitor_id="phone", customer_keys=("em:zoe",)),
        click("named", "anna", NOON + DAY, "phone"),
        view("late", "anna", NOON - HOUR, "tablet"),
    ],
    ids=["link", "named click", "touch"],
)
def test_a_process_that_has_just_started_misses_nothing(events: EventsStore, new: Event) -> None:
    named = click("named", "anna", NOON + DAY, "phone")
    sign_ups = [
        lead("L-2", NOON - DAY, click_id=named.event_id, customer_keys=("em:zoe",)),
        lead("L-3", NOON - DAY, visitor_id="tablet", customer_keys=("em:zoe",)),
    ]
    store(events, [*sign_ups, order("O-1", customer_keys=("em:zoe",)), order("O-2", customer_keys=("em:max",))])

    assert changed_after(events, new, cold=True).order_ids == {"O-1"}


def test_another_tenants_facts_bring_back_nothing(events: EventsStore) -> None:
    late = click("late", "charlie", NOON - DAY, "phone", tenant_id="south")
    store(events, [order("O-1", visitor_id="phone", click_id=late.event_id, customer_keys=("em:zoe",))])

    foreign = [late, lead("L-1", NOON, visitor_id="phone", customer_keys=("em:new",), tenant_id="south")]
    assert after(events, *foreign) == set()
    assert after(events, tenant="south") == set()


def test_with_too_much_news_a_period_is_looked_at(events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store(events, [order("O-1", visitor_id="a")])
    monkeypatch.setattr("attribution.changes.MANY", 1)

    touches = [click(visitor, "anna", NOON - DAY, visitor) for visitor in ("a", "b")]
    assert changed_after(events, *touches).periods == ((NOON - DAY, NOON - DAY + LOOKBACK),)
    assert (0, 4_102_444_800_000) in changed_after(events, lead("L-1", NOON, visitor_id="q", customer_keys=("em:q",))).periods
    assert (NOON - DAY, 4_102_444_800_000) in changed_after(events, order("O-2", NOON - DAY), order("O-3")).periods


def test_orders_are_found_by_any_of_their_keys_once(events: EventsStore) -> None:
    orders = [order("O-1", visitor_id="v"), order("O-2", customer_keys=("em:z", "loy:1")), order("O-3", click_id="c"), order("O-4")]
    store(events, orders)
    store(events, orders[:1], at=LATER)

    found = carriers_of(events, "north", ["v:v", "em:z", "loy:1", "c:c", "v:c"])

    assert sorted(one.order_id for one in found) == ["O-1", "O-2", "O-3"]
    assert carriers_of(events, "north", ["v:v"], NOON + 1) == carriers_of(events, "south", ["v:v"]) == []


def test_pages_of_orders_hold_each_once_by_id(events: EventsStore) -> None:
    store(events, [order(f"O-{number}") for number in range(7)])
    store(events, [order("O-3"), order("O-old", NOON - 50 * DAY)], at=LATER)

    assert list(order_ids(events, "north", NOON - DAY, NOON, page=2)) == [f"O-{number}" for number in range(7)]


# --- what was seen ---------------------------------------------------------------------------------------------------


def test_news_is_told_by_tenant_with_its_first_second_and_kind(events: EventsStore) -> None:
    store(events, [click("1", "anna", NOON)], at=STORED + 1_500)
    store(events, [click("2", "anna", NOON)], at=STORED + 4_000)
    store(events, [order("O-1", tenant_id="south")], at=STORED + 2_999)

    assert news_of(stored_since(events, STORED)) == {
        "north": News(STORED + 1_000, touches=True, others=False),
        "south": News(STORED + 2_000, touches=False, others=True),
    }
    assert news_of(stored_since(events, STORED + 4_001)) == {}


def test_a_click_on_a_link_that_nobody_has_is_no_tenants_news(events: EventsStore) -> None:
    store(events, [click("1", "", NOON, tenant_id="")])

    assert stored_since(events, 0) == []


def test_what_was_worked_through_is_news_again_only_if_its_second_changed(events: EventsStore) -> None:
    seen = Seen()
    store(events, [order("O-1")], at=STORED)
    recent = stored_since(events, 0)
    assert [one.second for one in seen.unseen(recent)] == [STORED // 1000]

    seen.remember(recent, STORED)
    assert seen.unseen(stored_since(events, 0)) == []

    store(events, [order("O-2")], at=STORED)
    assert len(seen.unseen(stored_since(events, 0))) == 1
