"""Claims about the policy form."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Policy, TouchWindow
from portal.forms import Form
from portal.merchant_policy_form import CLASSES, NO_WINDOW, opened, policy_form, read_classes, read_policy, shown_classes
from tests.strategies import policies


def windows_of(touches):
    ranked = st.tuples(*(st.builds(TouchWindow, st.just(touch), windows_for(touch), st.booleans()) for touch in touches))
    return ranked.map(lambda windows: (TouchWindow(windows[0].touch, windows[0].window_hours), *windows[1:]))


def windows_for(touch):
    return st.just(0) if touch in NO_WINDOW else st.integers(1, 87_600)


precedences = st.lists(st.sampled_from(CLASSES), min_size=1, unique=True).flatmap(windows_of)


def ranks(classes):
    """What a precedence means: which classes share which rank, with which windows. Their order within a rank means nothing."""
    found = []
    for window in classes:
        found += [] if window.tied else [set()]
        found[-1].add((window.touch, window.window_hours))
    return found


def read(**fields):
    form = Form.of(**fields)
    return read_classes(form), form.faults


def click(window, unit="days"):
    return {"place_click": "1", "window_click": window, "unit_click": unit}


@given(precedences)
def test_the_form_of_any_precedence_reads_back_as_it(classes):
    form = policy_form(Policy("north", "main", 1, 0, classes=classes))

    assert ranks(read_classes(form)) == ranks(classes)
    assert form.faults == {}


@given(policies)
def test_the_form_of_any_policy_reads_back_as_it(policy):
    form = policy_form(policy)
    read_again = read_policy(form, "north", "main", policy.version, policy.effective_from, [policy.segment])
    same_ranks = msgspec.structs.replace(policy, classes=read_again.classes)

    assert form.faults == {}
    assert read_again == msgspec.structs.replace(same_ranks, tenant_id="north", programme_id="main")


def test_what_is_left_empty_takes_the_usual_value():
    form = Form.of(
        place_coupon="1",
        place_click="2",
        window_click="30",
        unit_click="days",
        place_impression="3",
        window_impression="24",
        unit_impression="hours",
    )

    assert read_policy(form, "north", "main", 0, 0, []) == Policy("north", "main", 0, 0)
    assert form.faults == {}


def test_only_what_is_used_is_in_sight():
    usual, ruled = policy_form(Policy("n", "m", 1, 0)), Policy("n", "m", 1, 0, stand_down_minutes=5, classes=(TouchWindow("call", 9),))

    assert shown_classes(usual)[0] == ["coupon", "click", "impression"]
    assert opened(usual) == set()
    assert "call" in shown_classes(policy_form(ruled))[0]
    assert opened(policy_form(ruled)) == {"fair"}


def test_classes_in_one_place_are_tied_and_places_may_leave_gaps():
    typed = {"place_scan": "3", "window_scan": "2", "unit_scan": "days", "place_coupon": "3", "place_clickless": "14"}
    classes, faults = read(**typed)

    assert classes == (TouchWindow("coupon", 0), TouchWindow("scan", 48, tied=True), TouchWindow("clickless", 0))
    assert faults == {}


def test_places_order_the_classes_and_days_become_hours():
    classes = read(place_click="2", window_click="30", unit_click="days", place_coupon="1", place_impression="")

    assert classes == ((TouchWindow("coupon", 0), TouchWindow("click", 720)), {})


def test_every_fault_at_once():
    _, faults = read(**click("0"), place_impression="1", window_impression="a day", unit_impression="years", place_coupon="15")

    assert set(faults) == {"window_click", "window_impression", "unit_impression", "place_coupon"}


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
