"""Claims about lists that people type on one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.entries import plain_percent, read_entries, read_list, typed_list
from portal.forms import Form
from tests.strategies import texts


@given(st.lists(texts).map(tuple))
def test_what_is_typed_reads_back_exactly(entries):
    form = Form.of(some=typed_list(entries))

    assert read_entries(form, "some") == entries
    assert form.faults == {}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("", ()),
        (" Boots ,Shoes,, ", ("Boots", "Shoes")),
        ('Hats, "Shoes, Boots"', ("Hats", "Shoes, Boots")),
        ('"the ""best""",5" nails', ('the "best"', '5" nails')),
        ('"", " a", a, a', ("", " a", "a", "a")),
    ],
)
def test_entries_stand_between_commas_and_in_quotes_where_they_hold_one(typed, read):
    assert read_entries(Form.of(some=typed), "some") == read


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ('Hats, "Shoes, Boots', "A quotation mark is open"),
        ('"Shoes" Boots', "A quotation mark is open, or is not followed by a comma."),
        ("x" * 256, "One entry is longer than 255 characters"),
        ("a\nb", "Line breaks and control characters are not taken here."),
    ],
)
def test_what_cannot_be_read_is_a_fault_and_no_entry(typed, said):
    form = Form.of(some=typed)

    assert read_entries(form, "some") == ()
    assert form.faults["some"].startswith(said)


def test_a_list_has_each_entry_once_and_trimmed():
    assert read_list(Form.of(some='" a", a, "", b'), "some") == ("a", "b")


def test_percentages_are_typed_with_the_decimals_they_need():
    assert [plain_percent(bps) for bps in (0, 5, 810, 1000, 1250, 10_000)] == ["0", "0.05", "8.1", "10", "12.5", "100"]
