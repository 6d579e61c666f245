"""Exchange rates and what they make of an amount. Pure: exact fractions, whole minor units; the one division says how it rounds.

A rate's value is the text that was published, or, where two published rates had to be crossed, both of them as ``162.43/1.0834``.
Nothing is rounded before the amount itself is, so that a rate that was kept gives the same cent for ever.
"""

from datetime import date
from fractions import Fraction

import msgspec

from core.catalogue import FxRounding
from core.money import exponent

EURO = "EUR"
MOST_DAYS_OLD = 7
"""Easter leaves four days without a rate. What is older is no rate of the day any more."""
MOST_CHARACTERS = 41
"""The longest value: two published rates and the stroke between them."""


class Rate(msgspec.Struct, frozen=True):
    """``value`` units of ``quote`` for one of ``base``, as ``source`` published it for the day ``on``.

    ``value`` is a decimal ("1.0834"), or two with a stroke ("162.43/1.0834"), which is their exact quotient.
    """

    base: str
    quote: str
    value: str
    source: str
    on: date


def exact(value: str) -> Fraction:
    """A rate's value as a fraction.

    >>> exact("162.43/1.0834")
    Fraction(812150, 5417)
    """
    over, _, under = value.partition("/")
    return Fraction(over) / Fraction(under or 1)


def convert(minor: int, rate: Rate, rounding: FxRounding) -> int:
    """Minor units of ``rate.base`` in minor units of ``rate.quote``, whatever decimals the two have by ISO 4217.

    Rounded once, to a whole minor unit: ``down`` towards zero, ``up`` away from it, ``half_even`` to the nearest, a tie to the even
    one. A negative amount comes out as the positive one negated, so that what is taken back is what was given.
    """
    quotient = abs(minor) * exact(rate.value) * Fraction(10) ** (exponent(rate.quote) - exponent(rate.base))
    whole = quotient.numerator // quotient.denominator
    if rounding == "up":
        whole = -(-quotient.numerator // quotient.denominator)
    elif rounding == "half_even":
        whole = round(quotient)
    return -whole if minor < 0 else whole


def crossed(base: str, quote: str, per_euro: dict[str, str], source: str, on: date) -> Rate:
    """The rate between two currencies from what one euro was worth in each on the same day. ``per_euro`` needs no euro."""
    over, under = per_euro.get(quote, "1"), per_euro.get(base, "1")
    return Rate(base, quote, over if base == EURO else f"{over}/{under}", source, on)
