"""What kind of customer: as sent first, then history, each boundary on its closed side; segments are met condition by condition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Condition, Segment, Store
from core.clock import DAY
from core.events import Order
from core.segments import place_of, segments_of, status_of

AT = 1_000 * DAY
STORES = {"berlin": Store("north", "berlin", "Berlin", "pos", "retail")}


def order(**given) -> Order:
    given = {"customer_keys": ("em:1",), "channel": "web", **given}
    return Order("e1", "north", "o1", "EUR", AT, AT, (), **given)


def segment(segment_id: str, **conditions: tuple[str, ...]) -> Segment:
    return Segment("north", segment_id, segment_id, tuple(Condition(field, values) for field, values in conditions.items()))


@pytest.mark.parametrize(
    ("last_ordered_at", "status"),
    [
        (None, "new"),
        (AT - 1, "returning"),
        (AT, "returning"),
        (AT - 365 * DAY, "returning"),
        (AT - 365 * DAY - 1, "lapsed"),
        (0, "lapsed"),
    ],
)
def test_history_says_new_returning_or_lapsed_and_the_last_day_still_returns(last_ordered_at, status):
    assert status_of(order(), last_ordered_at, 365) == status


@pytest.mark.parametrize("sent", ["new", "returning", "lapsed"])
@pytest.mark.parametrize("last_ordered_at", [None, AT - DAY, 0])
def test_what_the_merchant_sends_wins_over_history(sent, last_ordered_at):
    assert status_of(order(customer_status=sent), last_ordered_at, 365) == sent


def test_who_cannot_be_known_is_not_new_but_may_be_known_by_a_browser():
    assert status_of(order(customer_keys=()), None, 365) == ""
    assert status_of(order(customer_keys=(), visitor_id="v1"), AT - DAY, 365) == "returning"


@pytest.mark.parametrize(
    ("placed", "earlier", "place"),
    [
        ({}, 0, (1, AT)),
        ({"customer_status": "new"}, 0, (1, AT)),
        ({"customer_status": "returning"}, 0, (0, 0)),
        ({"customer_status": "lapsed"}, 0, (0, 0)),
        ({"customer_keys": ()}, 0, (0, 0)),
        ({"customer_keys": (), "visitor_id": "v1"}, 1, (2, 5)),
        ({"customer_status": "new"}, 2, (3, 5)),
        ({"customer_status": "returning"}, 2, (3, 5)),
    ],
)
def test_an_order_is_the_customers_nth_on_record_or_of_unknown_number(placed, earlier, place):
    assert place_of(order(**placed), earlier, 5 if earlier else 0) == place


@pytest.mark.parametrize(
    ("field", "value", "placed"),
    [
        ("store", "berlin", {"store_id": "berlin"}),
        ("store_segment", "retail", {"store_id": "berlin"}),
        ("channel", "pos", {"channel": "pos"}),
        ("account_type", "b2b", {"attributes": (("account_type", "B2B"),)}),
        ("region", "Bayern", {"attributes": (("region", "bayern"),)}),
    ],
)
def test_every_field_of_an_order_can_be_asked_in_any_letter_case(field, value, placed):
    asked = (segment("asked", **{field: (value, "other")}),)

    assert segments_of(order(**placed), "", "", asked, STORES) == ("asked",)
    assert segments_of(order(), "", "", asked, STORES) == ()


def test_country_is_as_sent_before_what_the_address_tells():
    germany, france = segment("de", country=("DE",)), segment("fr", country=("FR",))
    from_germany, sent_france = order(), order(attributes=(("country", "FR"),))

    assert segments_of(from_germany, "DE", "", (germany, france), {}) == ("de",)
    assert segments_of(sent_france, "DE", "", (germany, france), {}) == ("fr",)
    assert segments_of(from_germany, "", "", (germany, france), {}) == ()


def test_no_attribute_takes_the_place_of_what_the_order_itself_says():
    posing = order(attributes=(("channel", "pos"), ("customer_status", "new"), ("store", "berlin")))

    tills, fresh, berlin = (
        segment("tills", channel=("pos",)),
        segment("fresh", customer_status=("new",)),
        segment("berlin", store=("berlin",)),
    )
    assert segments_of(posing, "", "returning", (tills, fresh, berlin), STORES) == ()


def test_all_conditions_must_hold_and_the_ids_come_sorted():
    both = segment("zz-german-firms", country=("DE", "AT"), account_type=("b2b",))
    firms = segment("aa-firms", account_type=("b2b",))
    firm = order(attributes=(("account_type", "b2b"),))

    assert segments_of(firm, "AT", "", (both, firms), {}) == ("aa-firms", "zz-german-firms")
    assert segments_of(firm, "FR", "", (both, firms), {}) == ("aa-firms",)
    assert segments_of(order(), "AT", "", (both, firms), {}) == ()


def test_what_is_not_sent_meets_not_even_a_condition_on_nothing():
    assert segments_of(order(), "", "", (segment("silent", region=("",), country=("",)),), {}) == ()


def test_an_unknown_status_is_in_no_segment_of_statuses():
    known = segment("known", customer_status=("new", "returning", "lapsed"))

    assert segments_of(order(), "", "", (known,), {}) == ()
    assert segments_of(order(), "", "lapsed", (known,), {}) == ("known",)


@given(
    st.lists(st.sampled_from(["DE", "AT", "FR"]), max_size=3),
    st.lists(st.sampled_from(["b2b", "b2c"]), max_size=2),
    st.sampled_from(["", "DE", "AT"]),
    st.sampled_from(["", "b2b", "b2c"]),
    st.randoms(use_true_random=False),
)
def test_one_more_condition_never_adds_an_order_and_one_more_value_never_takes_one(countries, kinds, country, kind, shuffle):
    placed = order(attributes=(("account_type", kind),))
    loose, strict = segment("a", country=tuple(countries)), segment("b", country=tuple(countries), account_type=tuple(kinds))
    wide = segment("c", country=(*countries, "DE", "AT"))
    every = [loose, strict, wide]
    found = segments_of(placed, country, "", every, {})
    shuffle.shuffle(every)

    assert found == segments_of(placed, country, "", every, {})
    assert "b" not in found or "a" in found
    assert "a" not in found or "c" in found
