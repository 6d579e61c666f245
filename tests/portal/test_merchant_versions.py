"""Claims about versions in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Policy, version_at
from core.clock import parse_instant
from portal.forms import Form
from portal.merchant_versions import read_effective_from, timeline, tomorrow, typed_instant

NOW = parse_instant("2026-11-21T20:15:00Z")


def policies(*starts):
    return tuple(Policy("north", "main", number, start) for number, start in enumerate(starts, start=1))


def test_one_ended_one_in_force_one_planned():
    spans = timeline(policies(NOW - 20, NOW - 10, NOW + 10), NOW)

    assert [(span.version.version, span.until, span.standing) for span in spans] == [
        (3, None, "planned"),
        (2, NOW + 10, "in force"),
        (1, NOW - 10, "ended"),
    ]


def test_a_later_version_from_the_same_instant_replaces_the_earlier():
    spans = timeline(policies(NOW - 10, NOW + 10, NOW + 10), NOW)

    assert [(span.version.version, span.standing) for span in spans] == [(3, "planned"), (2, "replaced"), (1, "in force")]


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 10))
def test_exactly_the_version_of_an_instant_has_it_in_its_span(starts, at):
    versions = policies(*starts)
    holding = [
        span.version
        for span in timeline(versions, at)
        if span.standing != "replaced" and span.version.effective_from <= at and (span.until is None or at < span.until)
    ]

    assert holding == ([version_at(versions, at)] if version_at(versions, at) else [])


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 10))
def test_in_force_is_the_version_of_now(starts, at):
    in_force = [span.version for span in timeline(policies(*starts), at) if span.standing == "in force"]

    assert in_force == [version for version in [version_at(policies(*starts), at)] if version]


def read(text):
    form = Form.of(effective_from=text)
    return read_effective_from(form, NOW), form.faults


def test_a_start_is_typed_in_utc_and_empty_is_now():
    assert read("2027-01-31T06:30") == (parse_instant("2027-01-31T06:30:00Z"), {})
    assert read("2026-11-21T20:15") == (NOW, {})
    assert read(" ") == (NOW, {})


@pytest.mark.parametrize("text", ["2026-11-21T20:14", "tomorrow", "2027-02-30T00:00", "2027-01-31T00:00+01:00", "31.01.2027 00:00"])
def test_a_start_in_the_past_or_no_date_and_time_is_a_fault(text):
    assert set(read(text)[1]) == {"effective_from"}


def test_the_proposal_is_the_next_midnight():
    assert tomorrow(NOW) == "2026-11-22T00:00"


@pytest.mark.parametrize(
    ("at", "typed"),
    [(0, "1970-01-01T00:00"), (60_000, "1970-01-01T00:01"), (61_000, "1970-01-01T00:01:01"), (61_005, "1970-01-01T00:01:01.005")],
)
def test_an_instant_is_typed_as_short_as_it_can_be_read_back(at, typed):
    assert typed_instant(at) == typed
    assert Form.of(at=typed).instant("at") == at
