"""Touches that are stored after the orders that name them: in the end every order says what it would have said had they come first."""

from collections.abc import Callable

import msgspec
import pytest

from attribution.identity import HUB_NEIGHBOURS
from attribution.policy import default_policy
from attribution.run import Memory, run_once
from core.catalogue import Coalition, CoalitionMember, TouchWindow
from core.clock import DAY, HOUR
from core.events import Claim, Event, Touch
from store.books import Books
from store.events import EventsStore
from tests.attribution.builders import (
    LONG_AGO,
    NOON,
    STORED,
    click,
    decided,
    forget_all,
    lead,
    member,
    open_shops,
    order,
    put_all,
    store,
    view,
)
from tests.fakes import FakeClock

MALL = Coalition("mall", "Mall", (CoalitionMember("north", 0), CoalitionMember("south", 0)))
AGENTS = msgspec.structs.replace(
    default_policy("north", "main"), version=1, effective_from=LONG_AGO, classes=(TouchWindow("agent", 0), TouchWindow("click", 720))
)
CROWD = range(HUB_NEIGHBOURS + 2)

World = tuple[list[Event], Touch]
"""What is stored first, and the touch that comes late."""


def naming(touch: Touch, *others: Event) -> World:
    return [*others, order("O-1", click_id=touch.event_id)], touch


def an_ad_view() -> World:
    return naming(view("v1", "anna", NOON - HOUR, "phone"))


def a_click_of_a_kiosk() -> World:
    crowd = [lead(f"L-{number}", NOON - 2 * DAY, visitor_id="kiosk", customer_keys=(f"em:{number}",)) for number in CROWD]
    return naming(click("c1", "anna", NOON - HOUR, "kiosk"), *crowd)


def a_click_in_a_newsletter() -> World:
    late = click("c1", "anna", NOON - HOUR, "phone")
    crowd = [lead(f"L-{number}", NOON - 2 * DAY, click_id=late.event_id, customer_keys=(f"em:{number}",)) for number in CROWD]
    return naming(late, *crowd)


def a_click_of_nobody() -> World:
    return naming(click("c1", "anna", NOON - HOUR, "guest"))


def a_click_on_a_familys_phone() -> World:
    """Kim's order names a click that Jo's phone made; then the phone clicks again."""
    first = click("c1", "anna", NOON - 3 * DAY, "phone")
    jo = lead("L-1", NOON - 4 * DAY, visitor_id="phone", customer_keys=("cid:jo",))
    return [first, jo, order("O-1", click_id=first.event_id, customer_keys=("cid:kim",))], click("c2", "ben", NOON - HOUR, "phone")


def a_partners_click() -> World:
    return naming(click("c1", "anna", NOON - HOUR, "phone", tenant_id="south", consent="granted"))


def a_claimed_click() -> World:
    late = click("c1", "anna", NOON - HOUR, "phone")
    return [order("O-1", claims=(Claim(token=late.event_id, affiliate_id="", provider="acp"),))], late


WORLDS = (
    an_ad_view,
    a_click_of_a_kiosk,
    a_click_in_a_newsletter,
    a_click_of_nobody,
    a_click_on_a_familys_phone,
    a_partners_click,
    a_claimed_click,
)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__)
def test_what_comes_late_counts_as_if_it_had_come_first(events: EventsStore, sqlite_books: Books, world: Callable[[], World]) -> None:
    open_shops(sqlite_books)
    put_all(sqlite_books, MALL, member("anna", "south"), *([AGENTS] if world is a_claimed_click else []))
    before, late = world()
    now, memory = FakeClock(STORED + 3 * HOUR), Memory()
    store(events, before)
    run_once(events, sqlite_books, now, memory=memory)
    assert decided(events)["O-1"] != ("credited", late.affiliate_id)
    store(events, [late], at=STORED + HOUR)
    run_once(events, sqlite_books, now, memory=memory)
    found = decided(events)["O-1"]

    forget_all(events, sqlite_books)
    store(events, [*before, late])
    run_once(events, sqlite_books, now)

    assert found == decided(events)["O-1"] == ("credited", late.affiliate_id)
