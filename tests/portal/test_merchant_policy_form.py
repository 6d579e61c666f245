"""Claims about the policy form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import TouchWindow
from portal.forms import Form
from portal.merchant_policy_form import policy_form, read_classes


def windows_of(touches):
    return st.tuples(
        *(st.builds(TouchWindow, st.just(touch), st.just(0) if touch == "coupon" else st.integers(1, 87_600)) for touch in touches)
    )


precedences = st.lists(st.sampled_from(["coupon", "click", "impression"]), min_size=1, unique=True).flatmap(windows_of)


def read(**fields):
    form = Form.of(**fields)
    return read_classes(form), form.faults


def click(window, unit="days"):
    return {"place_click": "1", "window_click": window, "unit_click": unit}


@given(precedences)
def test_the_form_of_any_precedence_reads_back_as_it(classes):
    form = policy_form(classes)

    assert read_classes(form) == classes
    assert form.faults == {}


def test_places_order_the_classes_and_days_become_hours():
    classes = read(place_click="2", window_click="30", unit_click="days", place_coupon="1", place_impression="")

    assert classes == ((TouchWindow("coupon", 0), TouchWindow("click", 720)), {})


def test_every_fault_at_once():
    _, faults = read(**click("0"), place_impression="1", window_impression="a day", unit_impression="years", place_coupon="4")

    assert set(faults) == {"window_click", "place_impression", "window_impression", "unit_impression", "place_coupon"}
    assert faults["place_impression"] == "The click has this place already; each needs its own."


@pytest.mark.parametrize(("window", "unit"), [("3650", "days"), ("87600", "hours"), ("1", "hours")])
def test_windows_of_an_hour_to_ten_years_are_taken(window, unit):
    assert read(**click(window, unit))[1] == {}


@pytest.mark.parametrize(
    ("window", "unit"), [("3651", "days"), ("87601", "hours"), ("0", "days"), ("-1", "days"), ("1.5", "days"), ("٣", "days")]
)
def test_other_windows_are_refused(window, unit):
    assert set(read(**click(window, unit))[1]) == {"window_click"}


def test_a_policy_that_credits_nothing_is_a_fault():
    assert set(read(place_click="", place_impression="", place_coupon="")[1]) == {"classes"}
