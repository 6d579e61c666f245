"""Which orders are looked at again: none too few, and nothing where nothing happened."""

from attribution.changes import News, Seen, changed_orders, news_of, order_ids, stored_since
from attribution.identity import HUB_NEIGHBOURS
from attribution.journey import Acquaintances
from core.clock import DAY, HOUR
from core.events import Event
from store.events import EventsStore
from tests.attribution.builders import NOON, STORED, click, lead, order, store, view

LATER = STORED + HOUR
LOOKBACK = 60 * DAY


def after(events: EventsStore, *new: Event, tenant: str = "north") -> set[str]:
    """The orders that are looked at once ``new`` facts are stored."""
    store(events, new, at=LATER)
    return changed_orders(events, News(LATER, True, True), LOOKBACK, Acquaintances(events, tenant, earlier_than=LATER))


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
    crowd = [lead(f"L-{number}", NOON - DAY, visitor_id="kiosk", customer_keys=(f"em:{number}",)) for number in range(HUB_NEIGHBOURS)]
    store(events, [*crowd, order("O-1", customer_keys=("em:7",))])

    assert after(events, lead("L-x", NOON, visitor_id="kiosk", customer_keys=("em:x",))) == {"O-1"}
    store(events, [order("O-2", customer_keys=("em:8",))], at=LATER)
    even_later = LATER + HOUR
    store(events, [lead("L-y", NOON, visitor_id="kiosk", customer_keys=("em:y",))], at=even_later)
    news = News(even_later, True, True)
    assert changed_orders(events, news, LOOKBACK, Acquaintances(events, "north", earlier_than=even_later)) == set()


def test_another_tenants_facts_bring_back_nothing(events: EventsStore) -> None:
    late = click("late", "charlie", NOON - DAY, "phone", tenant_id="south")
    store(events, [order("O-1", visitor_id="phone", click_id=late.event_id, customer_keys=("em:zoe",))])

    foreign = [late, lead("L-1", NOON, visitor_id="phone", customer_keys=("em:new",), tenant_id="south")]
    assert after(events, *foreign) == set()
    assert after(events, tenant="south") == set()


def test_with_too_much_news_every_order_it_may_matter_to_is_looked_at(events: EventsStore, monkeypatch) -> None:
    store(events, [order("O-0", NOON - 3 * DAY), order("O-1", visitor_id="a"), order("O-2", visitor_id="z")])
    monkeypatch.setattr("attribution.changes.MANY", 1)

    touches = [click(visitor, "anna", NOON - DAY, visitor) for visitor in ("a", "b")]
    assert after(events, *touches) == {"O-1", "O-2"}
    assert after(events, lead("L-1", NOON, visitor_id="q", customer_keys=("em:q",))) == {"O-0", "O-1", "O-2"}


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
