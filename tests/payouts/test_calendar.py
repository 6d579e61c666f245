"""Periods of time: half-open, without gaps, in any zone, whatever its clocks did."""

from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import DAY, FIRST, HOUR, LAST, format_instant, parse_instant
from payouts.calendar import FOREVER, Span, span_named, span_of

PERIODS = ("day", "week", "month", "quarter", "year", "lifetime")
ZONES = sorted(available_timezones())


def span(period, at, zone):
    found = span_of(period, parse_instant(at), zone)
    return found.key, format_instant(found.start), format_instant(found.end)


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("day", ("2026-11-22", "2026-11-21T23:00:00.000Z", "2026-11-22T23:00:00.000Z")),
        ("week", ("2026-W47", "2026-11-15T23:00:00.000Z", "2026-11-22T23:00:00.000Z")),
        ("month", ("2026-11", "2026-10-31T23:00:00.000Z", "2026-11-30T23:00:00.000Z")),
        ("quarter", ("2026-Q4", "2026-09-30T22:00:00.000Z", "2026-12-31T23:00:00.000Z")),
        ("year", ("2026", "2025-12-31T23:00:00.000Z", "2026-12-31T23:00:00.000Z")),
    ],
)
def test_the_periods_that_a_sunday_evening_in_berlin_is_in(period, expected):
    assert span(period, "2026-11-22T22:59:59.999Z", "Europe/Berlin") == expected


def test_a_lifetime_is_one_period():
    assert span_of("lifetime", 0, "Asia/Tokyo") == span_of("lifetime", LAST, "UTC") == FOREVER == Span("lifetime", FIRST, LAST + 1)


@pytest.mark.parametrize(("at", "hours"), [("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25), ("2026-11-22T12:00:00Z", 24)])
def test_days_in_which_clocks_change_are_shorter_or_longer(at, hours):
    day = span_of("day", parse_instant(at), "Europe/Berlin")

    assert day.end - day.start == hours * HOUR


def test_the_last_week_of_a_year_may_be_the_first_of_the_next():
    assert span_of("week", parse_instant("2024-12-31T12:00:00Z"), "UTC").key == "2025-W01"


@pytest.mark.parametrize(
    ("zone", "at", "start"),
    [
        ("America/Sao_Paulo", "2017-10-15T12:00:00Z", "2017-10-15T03:00:00.000Z"),  # 24:00 became 01:00
        ("America/Toronto", "1919-03-31T12:00:00Z", "1919-03-31T04:30:00.000Z"),  # 23:30 became 00:30
        ("America/St_Johns", "2006-10-29T02:40:00Z", "2006-10-29T02:30:00.000Z"),  # 00:01 became 23:01 of the day before
        ("Pacific/Apia", "2011-12-30T12:00:00Z", "2011-12-30T10:00:00.000Z"),  # the 30th was left out
    ],
)
def test_a_day_begins_with_the_first_moment_of_its_date(zone, at, start):
    assert span("day", at, zone)[1] == start


def test_where_clocks_go_back_over_midnight_the_new_day_stays_begun():
    """At 00:01 of the 29th, clocks in St. John's went back to 23:01 of the 28th."""
    assert span("day", "2006-10-29T02:45:00Z", "America/St_Johns")[0] == "2006-10-29"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PERIODS[:-1]), st.sampled_from(ZONES), st.integers(-3_000_000_000_000, 4_102_444_800_000))
def test_periods_follow_each_other_without_a_gap(period, zone, at):
    found = span_of(period, at, zone)

    assert found.start <= at < found.end
    assert span_of(period, found.start, zone) == span_of(period, found.end - 1, zone) == found == span_named(found.key, zone)
    assert span_of(period, found.end, zone).start == found.end


@pytest.mark.parametrize("at", [FIRST, FIRST + DAY, FIRST + 400 * DAY, LAST - 400 * DAY, LAST - DAY, LAST])
@pytest.mark.parametrize("period", PERIODS)
def test_there_is_a_period_up_to_the_calendars_ends(period, at):
    for zone in ("UTC", "Pacific/Kiritimati", "America/New_York"):
        assert span_of(period, at, zone).holds(at)


@pytest.mark.parametrize("key", ["", "2026-13", "26-11", "2026-W54", "2026-Q5", "2026-02-30", "for ever", "２０２６"])
def test_a_key_that_names_no_period_is_refused(key):
    with pytest.raises(ValueError):
        span_named(key, "UTC")
