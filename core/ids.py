"""Event ids: 128 bits, 48 of time and 80 of chance, printed as 26 Crockford base32 characters.

They sort by time, fit a URL and say when they were minted, so that a window test needs no look-up.
The layout is that of ULID (github.com/ulid/spec). An event id identifies; it is never a credential.
"""

import re
import secrets

from core.clock import Instant

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_SHAPE = re.compile(f"[0-7][{ALPHABET}]{{25}}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def event_id(at: Instant, entropy: int) -> str:
    """Print ``at`` (milliseconds, 0 to 2^48) and 80 bits of ``entropy`` as an id. Pure: same input, same id."""
    assert 0 <= at < 1 << 48, "an id holds 48 bits of milliseconds"
    assert 0 <= entropy < 1 << 80, "an id holds 80 bits of entropy"
    bits = at << 80 | entropy
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])


def mint(at: Instant) -> str:
    """A new id at ``at``, with entropy from the operating system."""
    return event_id(at, secrets.randbits(80))


def is_event_id(text: str) -> bool:
    """True for exactly the texts :func:`event_id` can print."""
    return _SHAPE.fullmatch(text) is not None


def minted_at(id_: str) -> Instant:
    """The milliseconds inside an id.

    >>> minted_at(event_id(1_700_000_000_000, 7))
    1700000000000
    """
    at = 0
    for letter in id_[:10]:
        at = at << 5 | ALPHABET.index(letter)
    return at


def is_slug(text: str) -> bool:
    """Catalogue ids: 1 to 63 of ``a-z 0-9 -``, neither first nor last a dash; safe in a URL, a file name and SQL."""
    return _SLUG.fullmatch(text) is not None
