"""What conditions ask, answered for lines, affiliates, touches, customers and orders."""

from datetime import date
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Tenant
from core.clock import DAY, HOUR, parse_instant
from core.conditions import ATTRIBUTES, CHOICES
from core.events import Line, Order
from payouts.attributes import affiliate_values, item_values, months_between, order_values, worth_in
from payouts.exchange import Rate
from payouts.setting import Contact, Partner, Setting

NORTH = Tenant("north", "North", "EUR", "Europe/Berlin")
BERLIN = ZoneInfo("Europe/Berlin")
AT = parse_instant("2026-11-21T23:30:00Z")
"""A Saturday in UTC; in Berlin it is Sunday."""
ORDER = Order(
    "e", "north", "A-1", "EUR", AT, AT, (Line("1", 40_00), Line("2", 9_99)), "app", "shop", coupons=("SAVE",), attributes=(("gift", "yes"),)
)
POUNDS = Rate("GBP", "EUR", "1.15", "ECB", date(2026, 11, 20))


def test_a_line_tells_price_quantity_and_exact_discount() -> None:
    line = Line("1", 99_99, "A-1", "Boot", "Shoes > Boots", 3, "Acme", "", 50_00, (("margin", "high"), ("sku", "forged")))

    assert item_values(line) == {
        "item.sku": "A-1",
        "item.name": "Boot",
        "item.category": "Shoes > Boots",
        "item.brand": "Acme",
        "item.kind": "product",
        "item.price": 33_33,
        "item.quantity": 3,
        "item.discount": Fraction(500_000, 149_99),
        "item.margin": "high",
    }
    assert item_values(Line("1", 0, kind="gift_card"))["item.kind"] == "gift_card"
    assert item_values(Line("1", 0, discount_minor=100))["item.discount"] == 100
    assert item_values(Line("1", -100, discount_minor=100))["item.discount"] == 0
    assert item_values(Line("1", 67, quantity=0))["item.price"] == 67


def test_an_affiliate_and_its_touch_by_whole_days_and_hours() -> None:
    partner = Partner("anna", "gold", AT - 10 * DAY + 1)
    contact = Contact("t", "click", AT - 2 * HOUR, "DE", "phone", "web", "code", "https://Blog.example:8443/a?b", ("one", "two"))

    assert affiliate_values(partner, contact, AT) == {
        "affiliate.id": "anna",
        "affiliate.group": "gold",
        "affiliate.days": 9,
        "touch.class": "click",
        "touch.country": "DE",
        "touch.device": "phone",
        "touch.channel": "web",
        "touch.link": "code",
        "touch.referrer": "blog.example",
        "touch.hours": 2,
        "touch.sub1": "one",
        "touch.sub2": "two",
    }
    unknown = affiliate_values(Partner("anna"), None, AT)
    assert unknown == {"affiliate.id": "anna", "affiliate.group": "", "affiliate.days": None}


@pytest.mark.parametrize(
    ("referrer", "host"),
    [("blog.example", "blog.example"), ("https://b.example", "b.example"), ("b.example/post", "b.example"), ("http://[bad", ""), ("", "")],
)
def test_a_referrer_is_asked_for_by_its_host(referrer: str, host: str) -> None:
    assert affiliate_values(Partner("anna"), Contact("t", "click", AT, referrer=referrer), AT)["touch.referrer"] == host


def test_an_order_as_sold_in_the_tenants_own_time() -> None:
    setting = Setting(coupon_classes=("voucher",), store_segment="outlet", country="AT", order_number=3, first_ordered_at=AT - 100 * DAY)

    assert order_values(ORDER, setting, NORTH, "returning", ("firms",)) == {
        "customer.status": "returning",
        "customer.segments": ("firms",),
        "customer.country": "AT",
        "customer.orders": 3,
        "customer.months": 3,
        "order.value": 49_99,
        "order.channel": "app",
        "order.store": "shop",
        "order.store_segment": "outlet",
        "order.currency": "EUR",
        "order.coupons": ("SAVE",),
        "order.coupon_classes": ("voucher",),
        "order.weekday": "sunday",
        "order.gift": "yes",
    }


def test_what_is_not_known_is_not_a_number() -> None:
    values = order_values(ORDER, Setting(), NORTH)

    assert (values["customer.orders"], values["customer.months"], values["customer.country"]) == (None, None, "")
    assert order_values(ORDER, Setting(order_number=1), NORTH)["customer.months"] == 0


def test_a_country_as_sent_wins_and_nothing_else_that_is_sent_does() -> None:
    sent = msgspec.structs.replace(ORDER, attributes=(("country", "CH"), ("value", "1000000"), ("weekday", "monday")))
    values = order_values(sent, Setting(country="AT"), NORTH)

    assert (values["customer.country"], values["order.value"], values["order.weekday"]) == ("CH", 49_99, "sunday")


def test_a_foreign_order_is_compared_at_its_rate_rounded_down_and_without_one_not_at_all() -> None:
    abroad = msgspec.structs.replace(ORDER, currency="GBP")
    setting = Setting(rate=POUNDS)

    assert order_values(abroad, setting, NORTH)["order.value"] == 57_48, "49.99 x 1.15 is 57.4885"
    assert item_values(abroad.lines[1], worth_in(abroad, setting, NORTH))["item.price"] == 11_48, "9.99 x 1.15 is 11.4885"
    assert order_values(abroad, Setting(), NORTH)["order.value"] is None
    assert item_values(abroad.lines[1], worth_in(abroad, Setting(), NORTH))["item.price"] is None


@pytest.mark.parametrize(
    ("first", "now", "months"),
    [
        ("2026-01-31T09:00:00Z", "2026-02-28T08:59:59Z", 0),
        ("2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z", 1),
        ("2026-01-31T09:00:00Z", "2026-03-31T07:59:59Z", 1),
        ("2025-11-21T09:00:00Z", "2026-11-21T09:00:00Z", 12),
        ("2026-03-15T10:00:00Z", "2026-04-15T09:00:00Z", 1),
        ("2026-01-31T23:30:00Z", "2026-03-31T22:45:00Z", 2),
        ("2026-09-25T00:30:00Z", "2026-10-25T00:40:00Z", 1),
        ("2026-09-25T00:30:00Z", "2026-10-25T01:10:00Z", 1),
        ("2026-03-01T10:00:00Z", "2026-02-01T10:00:00Z", 0),
    ],
)
def test_months_are_those_of_the_calendar_on_the_wall(first: str, now: str, months: int) -> None:
    """The clock change in March takes no hour of a month, and the one in October gives none; 31 January 23:30 UTC is
    1 February in Berlin."""
    assert months_between(parse_instant(first), parse_instant(now), BERLIN) == months


instants = st.integers(0, 4_102_444_800_000)


@given(instants, instants, instants)
def test_months_never_go_back(first: int, one: int, other: int) -> None:
    sooner, later = sorted((one, other))

    assert 0 <= months_between(first, sooner, BERLIN) <= months_between(first, later, BERLIN)


def test_every_attribute_is_answered_and_only_with_what_a_condition_may_ask_for() -> None:
    setting = Setting(order_number=1)
    values = {
        **item_values(ORDER.lines[0]),
        **affiliate_values(Partner("anna"), Contact("t", "click", AT, subs=("1", "2", "3", "4", "5", "6")), AT),
        **order_values(ORDER, setting, NORTH),
    }

    named = {f"{entity}.{attribute}" for entity, attribute in ATTRIBUTES if entity != "lead"}
    assert named == values.keys() - {"order.gift"}
    for (entity, attribute), choices in CHOICES.items():
        assert values[f"{entity}.{attribute}"] in ("", *choices)
