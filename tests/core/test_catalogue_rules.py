"""What segments, programmes and coalitions may say. The other kinds' rules are told through the file (test_catalogue_file)."""

from typing import Any

import msgspec
import pytest

from core.catalogue import Catalogue, Coalition, CoalitionMember, Condition, Programme, Segment, Store, Tenant
from core.catalogue_rules import flaws_of
from core.flaws import known_of

CATALOGUE = Catalogue(
    tenants=(Tenant("north", "North", "EUR"), Tenant("south", "South", "EUR"), Tenant("east", "East", "EUR")),
    stores=(Store("north", "web", "Web shop"), Store("north", "berlin", "Berlin"), Store("south", "london", "London")),
    segments=(Segment("north", "firms", "Firms", ()), Segment("north", "vips", "VIPs", ()), Segment("south", "vips", "VIPs", ())),
)
SEGMENT = Segment("north", "firms", "Firms", (Condition("account_type", ("b2b",)),))
MAIN = Programme("north", "main", "Main", "https://north.example/")
PAIR = Coalition("outdoors", "Outdoors", (CoalitionMember("north", 5), CoalitionMember("south", 7)))


def flaws(record: Any, *programmes: Programme, **changed: Any) -> list[str]:
    known = known_of(msgspec.structs.replace(CATALOGUE, programmes=programmes))
    return [f"{flaw.field}: {flaw.message}" for flaw in flaws_of(msgspec.structs.replace(record, **changed), known)]


def condition(field: str, *values: str) -> list[str]:
    return flaws(SEGMENT, conditions=(Condition(field, values),))


def test_a_customer_lapses_after_a_day_to_ten_years() -> None:
    north = CATALOGUE.tenants[0]

    assert flaws(north, lapsed_after_days=1) == flaws(north, lapsed_after_days=3650) == []
    assert flaws(north, lapsed_after_days=0) == ["lapsed_after_days: 0 is not between 1 and 3650"]


# --- segments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("account_type", ("B2B", "Größe XL")),
        ("store", ("web", "berlin")),
        ("store_segment", ("retail",)),
        ("channel", ("web", "pos")),
        ("country", ("DE",)),
        ("customer_status", ("new", "returning", "lapsed")),
    ],
)
def test_sound_conditions(field: str, values: tuple[str, ...]) -> None:
    assert condition(field, *values) == []


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("Account", ("x",), "Account: 'Account' is not a field: a small letter, then up to 63 small letters, digits and _"),
        ("region", (), "region: has 0 values; a condition has 1 to 200"),
        ("region", tuple(map(str, range(201))), "region: has 201 values; a condition has 1 to 200"),
        ("region", ("x", "x"), "region: 'x' stands twice"),
        ("region", (" ",), "region: ' ' is empty, longer than 255 characters or holds a line break"),
        ("region", ("a\nb",), "region: 'a\\nb' is empty, longer than 255 characters or holds a line break"),
        ("store", ("london",), "store: 'london' is not a store of tenant north"),
        ("channel", ("fax",), "channel: 'fax' is not one of web, app, pos, call, email, marketplace"),
        ("customer_status", ("old",), "customer_status: 'old' is not one of new, returning, lapsed"),
        ("country", ("Germany",), "country: 'Germany' is not a country such as DE"),
    ],
)
def test_a_condition_that_could_never_hold_is_told(field: str, values: tuple[str, ...], said: str) -> None:
    assert condition(field, *values) == [f"conditions: {said}"]


def test_a_segment_has_conditions_and_asks_each_field_once() -> None:
    region = Condition("region", ("x",))

    assert flaws(SEGMENT, conditions=()) == ["conditions: has 0 conditions; a segment has 1 to 200"]
    assert flaws(SEGMENT, conditions=(region, region)) == ["conditions: 'region' stands twice"]
    assert flaws(SEGMENT, name=" ", segment_id="Firms", tenant_id="west")[:2] == [
        "tenant_id: 'west' is not a tenant",
        "segment_id: 'Firms' is not an id: 1 to 63 small letters, digits and dashes, no dash first or last",
    ]


# --- programmes ------------------------------------------------------------------------------------------------------


def test_a_programme_ends_after_it_started() -> None:
    assert flaws(MAIN, starts_at=5, ends_at=6) == flaws(MAIN, starts_at=5) == flaws(MAIN, ends_at=5) == []
    assert flaws(MAIN, starts_at=5, ends_at=5) == ["ends_at: is not after starts_at, so the programme would never take an order"]


def test_a_programmes_segments_are_the_tenants_own() -> None:
    assert flaws(MAIN, segments=("firms",)) == []
    assert flaws(MAIN, segments=("kings",)) == ["segments: 'kings' is not a segment of tenant north"]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({}, {}, False),
        ({"segments": ("firms",)}, {}, True),
        ({"segments": ("firms",)}, {"segments": ("vips",)}, True),
        ({"segments": ("firms", "vips")}, {"segments": ("vips",)}, False),
        ({"ends_at": 5}, {"starts_at": 5}, True),
        ({"ends_at": 6}, {"starts_at": 5}, False),
        ({"starts_at": 5}, {"ends_at": 5}, True),
        ({"starts_at": 5, "segments": ("vips",)}, {"segments": ("firms",)}, True),
    ],
)
def test_a_store_is_in_two_programmes_where_they_never_take_the_same_order(one: Any, other: Any, together: bool) -> None:
    first = msgspec.structs.replace(MAIN, stores=("web",), **one)
    second = msgspec.structs.replace(MAIN, programme_id="other", stores=("web",), **other)

    for record, rival in ((first, second), (second, first)):
        said = [f"stores: 'web' is taken by programme {rival.programme_id}"]
        assert flaws(record, first, second) == ([] if together else said)


# --- coalitions ------------------------------------------------------------------------------------------------------


def test_a_coalition_is_of_two_tenants_or_more_each_once() -> None:
    north, south = PAIR.members

    assert flaws(PAIR) == []
    assert flaws(PAIR, members=(north,)) == ["members: has 1 members; a coalition has 2 to 200"]
    assert flaws(PAIR, members=(north, south, north)) == ["members: 'north' stands twice"]
    assert flaws(PAIR, members=(north, CoalitionMember("west", 1))) == ["members: 'west' is not a tenant"]


def test_a_member_leaves_after_it_joined() -> None:
    north = PAIR.members[0]

    assert flaws(PAIR, members=(north, CoalitionMember("south", 7, 8))) == []
    assert flaws(PAIR, members=(north, CoalitionMember("south", 7, 7))) == ["members: left_at of south is not after its joined_at"]


def test_only_what_an_affiliate_brought_is_shared_and_only_a_member_passes_on() -> None:
    assert flaws(PAIR, classes=("click", "scan"), marketplace_id="south") == []
    assert flaws(PAIR, classes=()) == ["classes: is empty, so no touch would count; name at least one class"]
    assert flaws(PAIR, classes=("click", "click")) == ["classes: 'click' stands twice"]
    assert flaws(PAIR, classes=("coupon",)) == ["classes: 'coupon' is not one of click, soft_click, scan, call, app_open, impression"]
    assert flaws(PAIR, marketplace_id="east") == ["marketplace_id: 'east' is not a member of the coalition"]
