"""Money, times and shares as people read them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import parse_instant
from core.money import LIMIT_MINOR
from portal import words


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (12_30, "EUR", "€12.30"),
        (-1_234_50, "USD", "-$1,234.50"),
        (0, "EUR", "€0.00"),
        (1_200, "JPY", "¥1,200"),
        (12_345, "BHD", "BHD\xa012.345"),
        (1, "CLF", "CLF\xa00.0001"),
        (5_00, "HUF", "HUF\xa05.00"),
    ],
)
def test_money_shows_every_decimal_of_its_currency(minor, currency, text):
    assert words.money(minor, currency) == text


@given(st.integers(-LIMIT_MINOR, LIMIT_MINOR))
def test_no_digit_of_an_amount_is_lost(minor):
    assert "".join(filter(str.isdigit, words.money(minor, "EUR"))).lstrip("0") == str(abs(minor)).lstrip("0")


def test_amounts_in_several_currencies_stand_one_by_one():
    assert words.moneys({"USD": 5_00, "EUR": 1_00}) == ["€1.00", "$5.00"]
    assert words.moneys({}) == ["–"]


@pytest.mark.parametrize(("bps", "text"), [(750, "7.5 %"), (1000, "10 %"), (1, "0.01 %"), (0, "0 %"), (10_000, "100 %")])
def test_basis_points_read_as_percent(bps, text):
    assert words.bps(bps) == text


@pytest.mark.parametrize(
    ("share", "text"), [(Fraction(1, 3), "33.3 %"), (Fraction(1), "100 %"), (Fraction(2, 5), "40 %"), (Fraction(0), "0 %")]
)
def test_shares_read_as_percent(share, text):
    assert words.share(share) == text


def test_a_part_of_nothing_is_no_percentage():
    assert words.ratio(0, 0) == "–"
    assert words.ratio(1, 8) == "12.5 %"


def test_counting_words():
    assert [words.plural(n, "click") for n in (0, 1, 1200)] == ["0 clicks", "1 click", "1,200 clicks"]
    assert words.plural(2, "entry", "entries") == "2 entries"


def test_a_time_is_read_by_people_and_by_machines():
    at = parse_instant("2026-11-01T20:15:30.250Z")

    assert words.instant(at) == '<time datetime="2026-11-01T20:15:30.250Z">1 Nov 2026, 20:15</time>'
    assert words.moment(at).endswith(">1 Nov 2026, 20:15:30</time>")
    assert words.day(at).endswith(">1 Nov 2026</time>")
    assert words.instant(None) == "–"


def test_lengths_of_time_say_their_two_largest_units():
    assert words.duration(3 * 86_400_000 + 4 * 3_600_000 + 59_000) == "3 days 4 hours"
    assert words.duration(61_000) == "1 minute 1 second"
    assert words.duration(999) == "0 seconds"


def test_terms_read_as_words_even_those_nobody_thought_of():
    assert words.label("no_touch") == "No touch found"
    assert words.label("brand_new_code") == "Brand new code"
    assert words.label("") == "–"


def test_long_addresses_keep_both_ends():
    assert words.short("https://north.example/shoes/") == "north.example/shoes"
    assert words.short("https://north.example/" + "a" * 60 + "?id=7", 20) == "north.exam…aaaaa?id=7"


def test_lists_read_as_sentences():
    assert words.sentence(["a", "b", "c"]) == "a, b and c"
    assert words.sentence(["a"]) == "a"
    assert words.sentence([]) == ""
