"""Money: exact, per currency, and split to the last unit. The literals of ``SPLITS`` were computed apart from this code."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import BadInput
from core.money import CURRENCIES, LIMIT_MINOR, allocate, exponent, format_amount, parse_amount, share_of

THIRDS = ("1/3", "1/3", "1/3")
SPLITS = [
    (1000, THIRDS, [334, 333, 333]),
    (1, ("2/5", "1/5", "2/5"), [1, 0, 0]),
    (3, ("2/5", "1/25", "1/25", "1/25", "1/25", "1/25", "2/5"), [2, 0, 0, 0, 0, 0, 1]),
    (-1000, THIRDS, [-334, -333, -333]),
    (0, ("1/2", "1/2"), [0, 0]),
    (4, ("2/5", "1/10", "1/10", "2/5"), [2, 0, 0, 2]),
    (3, ("2/5", "1/10", "1/10", "2/5"), [1, 1, 0, 1]),
]
amounts = st.integers(-LIMIT_MINOR, LIMIT_MINOR)
weights = st.lists(st.fractions(0, 1000), min_size=1, max_size=8).filter(any)


@pytest.mark.parametrize(("total", "weights", "expected"), SPLITS)
def test_split_by_largest_remainder(total, weights, expected):
    assert allocate(total, [Fraction(weight) for weight in weights]) == expected


@given(amounts, weights)
def test_parts_sum_to_the_total_and_stay_within_one_unit_of_their_share(total, weights):
    parts = allocate(total, weights)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * Fraction(weight) / sum(weights)) < 1


@given(amounts, weights)
def test_a_negative_total_splits_like_its_absolute_value(total, weights):
    assert allocate(-total, weights) == [-part for part in allocate(total, weights)]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=8).filter(any), st.data())
def test_taking_back_from_what_remains_never_takes_more_than_there_is(remaining, data):
    refund = data.draw(st.integers(0, sum(remaining)))

    taken = allocate(refund, remaining)

    assert all(0 <= part <= left for part, left in zip(taken, remaining, strict=True))


def test_nothing_can_be_split_over_nobody_but_money_cannot():
    assert allocate(0, []) == []
    assert allocate(0, [0, 0]) == [0, 0]
    with pytest.raises(AssertionError, match="all zero"):
        allocate(1, [0, 0])
    with pytest.raises(AssertionError, match="never negative"):
        allocate(1, [2, -1])


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("EUR", "12.30", 1230),
        ("EUR", "12.3", 1230),
        ("EUR", "-0.05", -5),
        ("EUR", "0.00", 0),
        ("JPY", "1230", 1230),
        ("BHD", "12.345", 12345),
        ("CLF", "0.0001", 1),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(currency, text, minor):
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(("currency", "decimals"), [("EUR", 2), ("USD", 2), ("MGA", 2), ("JPY", 0), ("ISK", 0), ("BHD", 3), ("CLF", 4)])
def test_exponents_of_iso_4217(currency, decimals):
    assert exponent(currency) == decimals


@pytest.mark.parametrize(
    ("currency", "text", "code"),
    [
        ("EUR", "12.345", "too_many_decimals"),
        ("JPY", "12.0", "too_many_decimals"),
        ("EUR", "1e3", "malformed"),
        ("EUR", "", "malformed"),
        ("EUR", "1,50", "malformed"),
        ("EUR", "NaN", "malformed"),
        ("EUR", "+1", "malformed"),
        ("EUR", "１２", "malformed"),
        ("EUR", "9999999999999999", "too_large"),
        ("EURO", "1", "currency_invalid"),
        ("eur", "1", "currency_invalid"),
    ],
)
def test_what_is_no_amount_is_refused_never_rounded(currency, text, code):
    with pytest.raises(BadInput) as refused:
        parse_amount(text, currency, "unit_price")

    assert refused.value.code == code


@given(amounts, st.sampled_from(sorted(CURRENCIES)))
@example(-5, "EUR")
@example(0, "BHD")
def test_printing_and_reading_are_inverse(minor, currency):
    assert parse_amount(format_amount(minor, currency), currency) == minor


@pytest.mark.parametrize(("minor", "text"), [(5, "0.05"), (-5, "-0.05"), (100, "1.00"), (123456, "1234.56")])
def test_amounts_are_printed_with_all_their_decimals(minor, text):
    assert format_amount(minor, "EUR") == text


@pytest.mark.parametrize(
    ("minor", "bps", "share"), [(99_99, 800, 7_99), (12, 800, 0), (13, 800, 1), (-99_99, 800, -7_99), (100, 10_000, 100), (100, 0, 0)]
)
def test_a_share_is_rounded_towards_zero(minor, bps, share):
    assert share_of(minor, bps) == share


@given(amounts, st.integers(0, 10_000))
def test_a_share_never_exceeds_its_exact_value_nor_misses_a_unit(minor, bps):
    exact = Fraction(abs(minor) * bps, 10_000)

    assert 0 <= exact - abs(share_of(minor, bps)) < 1
