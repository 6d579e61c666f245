import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, HOUR, MINUTE, SECOND, as_datetime, format_instant, parse_instant, start_of_day, system_clock
from core.errors import BadInput

YEAR_1 = -62_135_596_800_000
YEAR_10000 = 253_402_300_800_000


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2001-09-09T01:46:40Z", 1_000_000_000_000),
        ("2001-09-09T03:46:40+02:00", 1_000_000_000_000),
        ("2001-09-08T20:16:40.005-05:30", 1_000_000_000_005),
        ("2001-09-09T01:46:40.0059Z", 1_000_000_000_005),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_are_read_with_their_zone_and_cut_to_milliseconds(text, at):
    assert parse_instant(text) == at


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-21T20:15:00", "paid_at '2026-11-21T20:15:00' has no time zone; add Z for UTC"),
        ("2026-11-21", "has no time zone"),
        ("yesterday", "paid_at 'yesterday' is not a time like 2026-11-21T20:15:00Z"),
        ("2026-02-30T00:00:00Z", "is not a time"),
        ("2026-11-21T24:30:00Z", "is not a time"),
        ("", "is not a time"),
    ],
)
def test_what_would_be_a_guess_is_refused(text, said):
    with pytest.raises(BadInput, match=said) as caught:
        parse_instant(text, "paid_at")

    assert (caught.value.code, caught.value.field) == ("malformed", "paid_at")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("0001-01-01T00:00:00Z", YEAR_1),
        ("0001-01-01T05:00:00+05:00", YEAR_1),
        ("0001-01-01T04:59:59.999+05:00", None),
        ("9999-12-31T23:59:59.999Z", YEAR_10000 - 1),
        ("9999-12-31T18:59:59.9999-05:00", YEAR_10000 - 1),
        ("9999-12-31T19:00:00-05:00", None),
    ],
)
def test_what_a_zone_moves_out_of_the_calendar_is_refused(text, at):
    if at is not None:
        assert parse_instant(format_instant(parse_instant(text))) == at
        return
    with pytest.raises(BadInput, match=r"paid_at .* is outside the calendar") as caught:
        parse_instant(text, "paid_at")

    assert (caught.value.code, caught.value.field) == ("malformed", "paid_at")


def test_an_instant_prints_in_utc_with_milliseconds():
    assert format_instant(1_000_000_000_005) == "2001-09-09T01:46:40.005Z"


@given(st.integers(YEAR_1, YEAR_10000 - 1))
def test_printing_and_reading_are_inverse_for_every_year_of_the_calendar(at):
    assert parse_instant(format_instant(at)) == at
    assert len(format_instant(at)) == 24


@given(st.integers(YEAR_1, YEAR_10000 - 1))
def test_a_day_begins_at_midnight_utc(at):
    midnight = start_of_day(at)

    assert 0 <= at - midnight < DAY
    assert midnight % DAY == 0
    assert as_datetime(at).utcoffset().total_seconds() == 0


def test_units_are_milliseconds():
    assert (SECOND, MINUTE, HOUR, DAY) == (1_000, 60_000, 3_600_000, 86_400_000)


def test_the_system_clock_tells_this_century():
    assert parse_instant("2024-01-01T00:00:00Z") < system_clock() < parse_instant("2100-01-01T00:00:00Z")
