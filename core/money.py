"""Money: whole minor units with a currency. No float comes near it, and every division says how it rounds.

Sources: ISO 4217 for exponents; largest remainder (Hamilton) for splits, ties to the earliest part.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Any

import msgspec

from core.errors import BadInput

_EXPONENT_0 = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
_EXPONENT_3 = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
_EXPONENT_4 = frozenset("CLF UYW".split())
CURRENCIES = (
    frozenset(
        """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
        CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD
        KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL
        THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG""".split()
    )
    | _EXPONENT_0
    | _EXPONENT_3
    | _EXPONENT_4
)
LIMIT_MINOR = 10**15
"""No single amount is larger: a thousand sums of it still fit a signed 64-bit column."""

_DECIMAL = re.compile(r"(-?)(\d{1,16})(?:\.(\d{1,16}))?", re.ASCII)


class Money(msgspec.Struct, frozen=True, order=False):
    """An amount: ``minor`` units (cents, yen, fils) of ``currency`` (ISO 4217)."""

    minor: int
    currency: str


def exponent(currency: str) -> int:
    """Decimals of a currency by ISO 4217: EUR 2, JPY 0, BHD 3.

    Raises:
        BadInput: ``currency_invalid``, not a current ISO 4217 code.
    """
    if currency not in CURRENCIES:
        raise BadInput("currency_invalid", f"currency {currency!r:.20} is not an ISO 4217 code such as EUR", "currency")
    return 0 if currency in _EXPONENT_0 else 3 if currency in _EXPONENT_3 else 4 if currency in _EXPONENT_4 else 2


def parse_amount(text: str, currency: str, field: str = "amount") -> int:
    """Read ``"12.30"`` as 1230 minor units. Never rounds.

    Raises:
        BadInput: not a decimal number, more decimals than the currency has, or beyond ``LIMIT_MINOR``.
    """
    places = exponent(currency)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise BadInput("malformed", f"{field} {text!r:.40} is not a decimal number such as 12.30", field)
    sign, whole, cents = match[1], match[2], match[3] or ""
    if len(cents) > places:
        raise BadInput("too_many_decimals", f"{field} {text!r:.40} has {len(cents)} decimals; {currency} has {places}", field)
    minor = int(whole + cents.ljust(places, "0"))
    if minor > LIMIT_MINOR:
        raise BadInput("too_large", f"{field} {text!r:.40} is beyond the largest amount taken", field)
    return -minor if sign else minor


def format_amount(minor: int, currency: str) -> str:
    """The inverse of :func:`parse_amount`: ``1230`` of EUR is ``"12.30"``. For files and JSON, not for pages."""
    places = exponent(currency)
    digits = str(abs(minor)).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return "-" + text if minor < 0 else text


def share_of(minor: int, bps: int) -> int:
    """``bps`` basis points (100 = 1 %) of an amount, rounded towards zero to a minor unit."""
    part = abs(minor) * bps // 10_000
    return -part if minor < 0 else part


def allocate(total: int, weights: Sequence[Fraction | int]) -> list[int]:
    """Split ``total`` minor units by ``weights``, so that the parts sum to it exactly.

    Each part gets the floor of its share; the leftover units go to the largest remainders, ties to the earliest.
    A negative total is split as its absolute value and negated. Weights need not sum to one.

    >>> allocate(1000, [1, 1, 1])
    [334, 333, 333]
    """
    assert min(weights, default=0) >= 0, "a weight is never negative"
    whole: Sequence[Any] = weights if {*map(type, weights)} == {int} else _whole(weights)
    base = sum(whole)
    if base == 0:
        assert total == 0, "money cannot be split over weights that are all zero"
        return [0] * len(whole)
    size = abs(total)
    parts = [size * weight // base for weight in whole]
    leftover = size - sum(parts)
    if leftover:
        rests = [size * weight % base for weight in whole]
        for i in sorted(range(len(parts)), key=rests.__getitem__, reverse=True)[:leftover]:  # equal ones keep their order
            parts[i] += 1
    return [-part for part in parts] if total < 0 else parts


def _whole(weights: Sequence[Fraction | int]) -> list[int]:
    scale = lcm(*[weight.denominator for weight in weights])
    return [weight.numerator * (scale // weight.denominator) for weight in weights]
