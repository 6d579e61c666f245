"""Amounts from one currency to another, in whole minor units."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import LIMIT_MINOR
from payouts.exchange import MOST_CHARACTERS, Rate, convert, crossed, exact

ON = date(2026, 11, 20)
MODES = ["down", "half_even", "up"]
amounts = st.integers(-LIMIT_MINOR, LIMIT_MINOR)
values = st.decimals("0.0001", "99999", places=4).map(str)
currencies = st.sampled_from(["JPY", "EUR", "USD", "BHD", "CLF"])


def rate(base: str, quote: str, value: str) -> Rate:
    return Rate(base, quote, value, "ECB", ON)


@pytest.mark.parametrize(
    ("minor", "base", "quote", "value", "down", "half_even", "up"),
    [
        (100_00, "EUR", "USD", "1.0834", 108_34, 108_34, 108_34),  # 100.00 EUR are 108.34 USD
        (1_99, "EUR", "JPY", "162.43", 323, 323, 324),  # 1.99 EUR are 323.2357 yen
        (1000, "JPY", "EUR", "1/162.43", 615, 616, 616),  # 1000 yen are 6.1565 EUR
        (1000, "JPY", "BHD", "0.4085/162.43", 2514, 2515, 2515),  # 2.51493 dinars of a thousand fils
        (1_000, "BHD", "JPY", "162.43/0.4085", 397, 398, 398),  # 1.000 dinar is 397.625 yen
        (1_0000, "CLF", "EUR", "1/0.0231", 43_29, 43_29, 43_30),  # four decimals: 1 UF is 43.29004 EUR
        (5, "EUR", "USD", "0.5", 2, 2, 3),  # 2.5 cents: the tie goes to the even one
        (7, "EUR", "USD", "0.5", 3, 4, 4),  # 3.5 cents
        (0, "EUR", "USD", "1.0834", 0, 0, 0),
    ],
)
def test_an_amount_is_rounded_once_in_the_stated_direction(minor, base, quote, value, down, half_even, up):
    one = rate(base, quote, value)

    assert [convert(minor, one, mode) for mode in MODES] == [down, half_even, up]
    assert [convert(-minor, one, mode) for mode in MODES] == [-down, -half_even, -up]


@given(amounts, currencies, currencies, values, values, st.sampled_from(MODES))
def test_what_is_given_is_what_is_taken_back_and_never_a_minor_unit_off(minor, base, quote, over, under, mode):
    one = rate(base, quote, f"{over}/{under}")
    found = convert(minor, one, mode)
    decimals = {"JPY": 0, "EUR": 2, "USD": 2, "BHD": 3, "CLF": 4}
    true = Fraction(minor, 10 ** decimals[base]) * Fraction(over) / Fraction(under) * 10 ** decimals[quote]

    assert convert(-minor, one, mode) == -found
    assert abs(found - true) < 1
    assert (
        (abs(found) <= abs(true)) if mode == "down" else (abs(found) >= abs(true)) if mode == "up" else abs(found - true) <= Fraction(1, 2)
    )


@given(amounts, amounts, values, st.sampled_from(MODES))
def test_more_never_comes_out_as_less(one, other, value, mode):
    low, high = sorted((one, other))

    assert convert(low, rate("EUR", "JPY", value), mode) <= convert(high, rate("EUR", "JPY", value), mode)


def test_two_currencies_are_crossed_through_the_euro_exactly():
    per_euro = {"USD": "1.0834", "JPY": "162.43"}

    assert crossed("USD", "JPY", per_euro, "ECB", ON) == rate("USD", "JPY", "162.43/1.0834")
    assert crossed("EUR", "JPY", per_euro, "ECB", ON) == rate("EUR", "JPY", "162.43")
    assert crossed("JPY", "EUR", per_euro, "ECB", ON) == rate("JPY", "EUR", "1/162.43")
    assert exact("162.43/1.0834") == Fraction(1624300, 10834)
    assert len("1234567890.123456789") * 2 + 1 == MOST_CHARACTERS
