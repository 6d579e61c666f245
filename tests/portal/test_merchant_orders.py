"""The list of orders: filtered, paged, each with its result, its earners and its commission."""

import pytest

from core.clock import DAY, HOUR
from core.events import Refund
from tests.fakes import NOON
from tests.people import MARTHA, STELLA
from tests.portal.conftest import click, order, words_of

PATH = "/merchant/orders"


def shown(page):
    """The order ids on the page, from top to bottom."""
    return [part.partition('"')[0] for part in page.text.split('href="/orders/')[1:]]


@pytest.fixture
def four(world):
    world.sells(
        click("c1", "anna", visitor="v1"),
        click("c2", "ben", visitor="v2"),
        order("by-anna", NOON - 4000, visitor="v1"),
        order("by-ben", NOON - 3000, visitor="v2", channel="pos", store_id="till"),
        order("by-nobody", NOON - 2000),
        order("of-october", NOON - 40 * DAY, visitor="v1"),
    )
    world.happens(order("undecided", NOON - 1000))
    return world


def test_orders_of_the_last_30_days_newest_first(portal, four):
    page = portal.get(PATH, as_=MARTHA)

    assert shown(page) == ["undecided", "by-nobody", "by-ben", "by-anna"]
    words = words_of(page)
    assert "undecided 21 Nov 2026, 11:59 Web shop €100.00 Being decided nobody –" in words
    assert "by-nobody 21 Nov 2026, 11:59 Web shop €100.00 Nothing to join on nobody –" in words
    assert "by-ben 21 Nov 2026, 11:59 Store till till €100.00 Credited Ben Deals €10.00" in words


FILTERS = {
    "result=credited": ["by-ben", "by-anna"],
    "result=pending": ["undecided"],
    "result=no_identity": ["by-nobody"],
    "channel=pos": ["by-ben"],
    "affiliate_id=anna": ["by-anna"],
    "affiliate_id=anna&channel=pos": [],
    "from=2026-10-01&to=2026-10-31": ["of-october"],
    "from=2026-10-12&to=2026-10-12": ["of-october"],
    "from=2026-10-13&to=2026-11-20": [],
}
BAD = ["result=won", "channel=fax", "affiliate_id=charlie", "from=yesterday", "from=2026-11-22&to=2026-11-21", "from=0001-01-01&to=x"]
STRANGE = ["from=0001-01-01", "to=9999-12-31", "from=0001-01-01&to=0001-01-02", "before=x", "before=-1.o", "before=99999999999999.o"]


def test_filters(portal, four):
    for query, ids in FILTERS.items():
        page = portal.get(f"{PATH}?{query}", as_=MARTHA)
        assert (page.status_code, shown(page)) == (200, ids), query


def test_a_bad_filter_is_a_fault_beside_the_field(portal, four):
    for query in BAD:
        page = portal.get(f"{PATH}?{query}", as_=MARTHA)
        assert (page.status_code, shown(page)) == (422, []), query
        assert 'class="fault"' in page.text, query


def test_a_strange_filter_is_no_fault_of_ours(portal, four):
    for query in STRANGE:
        assert portal.get(f"{PATH}?{query}", as_=MARTHA).status_code in (200, 422), query


def test_pages_follow_each_other_without_gap_or_repeat_even_at_the_same_millisecond(portal, world):
    world.happens(*(order(f"o-{number:03d}", NOON - HOUR if number < 60 else NOON - HOUR - number, visitor="v") for number in range(120)))
    seen, path, screens = [], PATH + "?channel=web", 0
    while path:
        page = portal.get(path, as_=MARTHA)
        seen += shown(page)
        screens += 1
        path = page.text.split('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&") if 'rel="next"' in page.text else ""

    assert screens == 3
    assert sorted(seen) == [f"o-{number:03d}" for number in range(120)]
    assert len(set(seen)) == 120


def test_a_refund_shows_and_takes_its_commission_off(portal, four):
    at = NOON - 500
    four.sells(Refund("R" * 26, "north", "by-anna", "r1", "EUR", at, at, net_minor=50_00))
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "€100.00 with a refund Credited Anna's Blog €5.00" in page


def test_an_order_stored_twice_shows_once(portal, world):
    twice = order("o-1", visitor="v1")
    world.happens(twice)
    world.events.insert_json(
        "orders",
        b'{"tenant_id":"north","order_id":"o-1","event_id":"%s","currency":"EUR","channel":"web","net_minor":10000,"occurred_at":%d.000}'
        % (twice.event_id.encode(), twice.occurred_at // 1000),
        "again",
    )

    assert shown(portal.get(PATH, as_=MARTHA)) == ["o-1"]


def test_another_merchant_sees_none_of_them(portal, four):
    assert shown(portal.get(PATH, as_=STELLA)) == []
    assert portal.get(f"{PATH}?affiliate_id=anna", as_=STELLA).status_code == 422
