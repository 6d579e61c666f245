"""Forms: every field is read, every fault is told at once, and nothing is guessed."""

import pytest

from core.clock import parse_instant
from portal.forms import Form


def test_all_faults_are_collected_under_their_fields():
    form = Form.of(name="", rate="120", day="soon", count="two", mail="x")

    form.text("name"), form.percent("rate"), form.date("day"), form.whole("count", 0, 9), form.email("mail")

    assert set(form.faults) == {"name", "rate", "day", "count", "mail"}
    assert form.faults["name"] == "Please fill this in."


def test_what_is_optional_may_be_empty():
    form = Form()

    assert form.text("a", required=False) == ""
    assert form.percent("b", required=False) is None
    assert form.amount("c", "EUR", required=False) is None
    assert form.date("d", required=False) is None
    assert form.faults == {}


@pytest.mark.parametrize(("typed", "bps"), [("7.5", 750), ("7.5 %", 750), ("10", 1000), ("0.01%", 1), ("100", 10_000), ("0", 0)])
def test_percentages_become_basis_points(typed, bps):
    assert Form.of(rate=typed).percent("rate") == bps


@pytest.mark.parametrize("typed", ["100.01", "7.555", "-1", "ten", "1e1", "٧"])
def test_what_is_no_percentage_is_a_fault(typed):
    form = Form.of(rate=typed)

    assert form.percent("rate") is None
    assert "0 to 100" in form.faults["rate"]


def test_amounts_are_read_exactly_in_their_currency():
    assert Form.of(a="12.30").amount("a", "EUR") == 12_30
    assert Form.of(a="1200").amount("a", "JPY") == 1200
    form = Form.of(a="12.305")
    assert form.amount("a", "EUR") is None
    assert form.faults["a"] == "This '12.305' has 3 decimals; EUR has 2."


def test_days_begin_at_midnight_utc():
    assert Form.of(d="2026-11-21").date("d") == parse_instant("2026-11-21T00:00:00Z")
    assert Form.of(d="2026-11-21T20:15").instant("d") == parse_instant("2026-11-21T20:15:00Z")


@pytest.mark.parametrize("typed", ["2026-02-30", "21.11.2026", "2026-11-21T00:00", "99999-01-01"])
def test_what_is_no_day_is_a_fault(typed):
    form = Form.of(d=typed)

    assert form.date("d") is None
    assert form.faults


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "a\u2028b", "\x1b[31m"])
def test_one_line_stays_one_line(text):
    form = Form.of(name=text)
    form.text("name")

    assert form.faults["name"] == "Line breaks and control characters are not taken here."


def test_too_long_is_said_with_figures():
    form = Form.of(name="x" * 300)
    form.text("name")

    assert form.faults["name"] == "At most 255 characters; this has 300."


def test_choices_are_taken_from_the_list_only():
    form = Form({"one": ["c"], "some": ["a", "z", "a"]})

    assert form.choice("one", ["a", "b"]) == ""
    assert form.many("some", ["a", "b"]) == ["a"]
    assert set(form.faults) == {"one", "some"}


def test_whole_numbers_stay_in_their_bounds():
    assert Form.of(n="30").whole("n", 0, 365) == 30
    for typed in ("366", "-1", "3.0", "9" * 30):
        form = Form.of(n=typed)
        form.whole("n", 0, 365)
        assert form.faults["n"] == "Please give a whole number from 0 to 365."


def test_lines_lose_blanks_and_repeats():
    assert Form.of(hosts=" a.example \r\n\r\nb.example\na.example").lines("hosts") == ["a.example", "b.example"]


def test_the_first_fault_of_a_field_stands():
    form = Form()
    form.fault("a", "first")
    form.fault("a", "second")

    assert form.faults == {"a": "first"}
