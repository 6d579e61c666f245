"""Event ids: 128 bits, 48 of time and 80 of chance, printed as 26 Crockford base32 characters.

They sort by time, fit a URL and say when they were minted, so that a window test needs no look-up.
The layout is that of ULID (github.com/ulid/spec). An event id identifies; it is never a credential.
"""

import os
import re
import secrets
from collections.abc import Callable

from core.clock import Instant

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
CHANCE_LETTERS = 16
_LETTER_OF_BYTE = bytes(ord(ALPHABET[byte & 31]) for byte in range(256))
_STOCK_IDS = 256
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_HIGH_LETTERS: dict[int, str] = {}
_HIGH_KEPT = 65_536
_SHAPE = re.compile(f"[0-7][{ALPHABET}]{{25}}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def event_id(at: Instant, entropy: int) -> str:
    """Print ``at`` (milliseconds, 0 to 2^48) and 80 bits of ``entropy`` as an id. Pure: same input, same id."""
    assert 0 <= at < 1 << 48, "an id holds 48 bits of milliseconds"
    assert 0 <= entropy < 1 << 80, "an id holds 80 bits of entropy"
    bits = at << 80 | entropy
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])


def derive(at: Instant, digest: bytes) -> str:
    """The id at ``at`` of whatever has this digest: of its 16 bytes, each gives a letter. Pure.

    For facts that bring a name of their own: the same fact gets the same id, however often it is told.
    """
    assert len(digest) == CHANCE_LETTERS, "an id holds 16 letters of chance"
    high = at >> 20
    letters = _HIGH_LETTERS.get(high)
    if letters is None:
        if len(_HIGH_LETTERS) >= _HIGH_KEPT:
            _HIGH_LETTERS.clear()
        letters = _HIGH_LETTERS[high] = event_id(at, 0)[:6]
    return f"{letters}{_PAIRS[at >> 10 & 1023]}{_PAIRS[at & 1023]}{digest.translate(_LETTER_OF_BYTE).decode('ascii')}"


def mint(at: Instant) -> str:
    """A new id at ``at``, with entropy from the operating system."""
    return event_id(at, secrets.randbits(80))


class Mint:
    """Mints the ids of one process by the thousand: ``mint(at)`` is a new id. Not to be shared between threads, nor across a fork.

    Chance is bought in bulk, and the letters of a millisecond are made once. Each letter takes five bits of a byte of its
    own, so an id holds 80 bits of chance, as :func:`event_id` gives it.

    Args:
        random_bytes: so many bytes from a source that nobody can guess.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._stock = ""
        self._next = 0
        self._at: Instant = -1
        self._time = ""

    def __call__(self, at: Instant) -> str:
        if at != self._at:
            self._at, self._time = at, event_id(at, 0)[:-CHANCE_LETTERS]
        start = self._next
        if start >= len(self._stock):
            self._stock = self._random_bytes(_STOCK_IDS * CHANCE_LETTERS).translate(_LETTER_OF_BYTE).decode("ascii")
            start = 0
        self._next = start + CHANCE_LETTERS
        return self._time + self._stock[start : self._next]

    def two(self, at: Instant) -> tuple[str, str]:
        """Two new ids at once, for somewhat more than the price of one."""
        first, start = self(at), self._next
        if start >= len(self._stock):
            return first, self(at)
        self._next = start + CHANCE_LETTERS
        return first, self._time + self._stock[start : self._next]


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
