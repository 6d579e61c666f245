"""Limits: click caps, clicks a minute from one address, conversions a minute of one tenant. In memory and pure: time is an argument.

**For the hot path**, once for each click on a link that is known, after the request's own flags are::

    flags += limits.verdict(link, hit.address, now, is_person(flags))

The answer is ``()``, ``("capped",)`` or ``("rate_limited",)``. It takes about a microsecond, waits for nothing and never raises.
A capped click is stored like any other and leads to ``link.fallback_url`` in place of the link's or the deep link's destination;
a rate-limited one goes where it wants to. For each conversion, before its receipt is claimed::

    if retry_after_s := limits.allow_conversion(tenant_id, now): answer 429, Retry-After: retry_after_s, nothing recorded

Both belong to the event loop; everything else here belongs to the thread of :mod:`tracker.exchange`, which tells every
tracker what the others counted. Each number has one writer, so nothing is locked.

**How exact.** A cap counts people's clicks as far as a request shows them (not ``head``, ``prefetch``, ``hidden_frame``, an agent
known for a machine, a disabled link, a rate-limited click), of the day ``[00:00, 24:00)`` UTC by this tracker's clock, and
from the moment the cap was set. One tracker never lets more through than the cap. Several learn from each other every 200 ms
through Redis, every second through the files of one machine: what they let through beyond a cap is what arrived at the others
within two exchanges, and a tracker that hears nothing of the others keeps to what it knows. :data:`KEYS` links and programmes
are counted; of any more, clicks are not capped, and ``uncapped`` says how many.

Clicks of an address on a link are counted in two rows of :data:`SLOTS` (a count-min sketch: Cormode and Muthukrishnan 2005), so
that memory is the same in any flood. It never counts too few; too many only where another pair shares both its slots, or
others share each: of 10,000 honest pairs a second less than one click in 10^9, and four in a million while a thousand
other pairs are beyond the limit. A minute is a minute of the clock, so that
60 seconds across its turn may bring twice the limit. Addresses themselves are not kept, only 32 bits of a checksum; of an IPv6
address the first 64 bits count. Other trackers hear of a pair from a quarter of the limit on.
"""

from array import array
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from ipaddress import IPv6Address
from zlib import crc32

import msgspec

from core.clock import DAY, MINUTE, SECOND, Instant
from tracker.links import Cap, LinkEntry

KEYS = 20_000
SLOTS = 1 << 19
PAIRS_TOLD = 2_000
"""Pairs of address and link that a tracker tells the others in a minute."""
TENANTS_TOLD = 10_000
KEYS_AT_ONCE = 1_000
CLICKS_A_MINUTE_LIMIT = 50_000

NO_PERSONS = frozenset(("head", "prefetch", "hidden_frame", "preview", "declared_bot", "invalid_ua"))
CAPPED, RATE_LIMITED = ("capped",), ("rate_limited",)

FULL = 1 << 16
_LOW = SLOTS - 1
_SECOND_ROW = 13
"""The first row takes a checksum's lowest 19 bits, the second its highest: two that share both are equal."""


def is_person(flags: Collection[str]) -> bool:
    """True where nothing that the request shows speaks against a person."""
    return not flags or NO_PERSONS.isdisjoint(flags)


class Tally(msgspec.Struct, gc=False):
    """Clicks under one key. This tracker's since its start are the loop's; ``elsewhere`` is the rest, and the exchange's."""

    day: Instant
    today: int = 0
    in_all: int = 0
    elsewhere_day: Instant = 0
    elsewhere_today: int = 0
    elsewhere_in_all: int = 0

    def turn(self, day: Instant) -> None:
        # The day last: who reads the day first, and then the count, may see too few of an old day, never too many of a new one.
        self.today = 0
        self.day = day

    def has_room(self, cap: Cap) -> bool:
        """True where one more click stays within the cap."""
        if cap.total is not None and self.in_all + self.elsewhere_in_all >= cap.total:
            return False
        elsewhere = self.elsewhere_today if self.elsewhere_day == self.day else 0
        return cap.daily is None or self.today + elsewhere < cap.daily


class Counts(msgspec.Struct, frozen=True):
    """What one tracker counted, for others and for its own next start. ``clicks``: key to (of ``day``, in all).

    ``at`` grows with each that a tracker makes: its clock's time, or a little more where that stands still or steps back.
    """

    tracker_id: str
    at: Instant
    day: Instant
    clicks: dict[str, tuple[int, int]]
    minute: int = 0
    conversions: dict[str, int] = {}
    pairs: dict[int, int] = {}


class Heard(msgspec.Struct, frozen=True):
    """What the others counted in a minute."""

    minute: int = 0
    conversions: dict[str, int] = {}
    pairs: dict[int, int] = {}


class Limits:
    """The counts of one tracker. ``salt`` is the installation's, so that its trackers give a pair the same checksum.

    Args:
        clicks_a_minute: of one address on one link; 0 is no limit.
        conversions_a_minute: of one tenant; 0 is no limit.
    """

    def __init__(self, tracker_id: str, clicks_a_minute: int = 0, conversions_a_minute: int = 6_000, salt: int = 0) -> None:
        assert 0 <= clicks_a_minute <= CLICKS_A_MINUTE_LIMIT, "a slot holds 65,535"
        self.tracker_id = tracker_id
        self.moves = 0
        self.uncapped = 0
        self._clicks_a_minute = clicks_a_minute
        self._conversions_a_minute = conversions_a_minute
        self._salt = salt
        self._tallies: dict[str, Tally] = {}
        self._before: dict[str, Tally] = {}
        self._told_at = 0
        self._told_from = max(1, clicks_a_minute // 4)
        self._heard = Heard()
        self._begin_minute(0)

    # --- on the event loop ---

    def verdict(self, link: LinkEntry, address: str, now: Instant, is_person: bool = True) -> tuple[str, ...]:
        """Count one click, and say which limit it is beyond. A machine's is not counted, but capped like a person's."""
        if not is_person or link.disabled:
            return CAPPED if link.caps and not link.disabled and self._rooms(link.caps, now) is None else ()
        if self._clicks_a_minute and self._is_too_fast(address, link.checksum, now):
            return RATE_LIMITED
        if not link.caps:
            return ()
        tallies = self._rooms(link.caps, now)
        if tallies is None:
            return CAPPED
        for tally in tallies:
            tally.today += 1
            tally.in_all += 1
        self.moves += 1
        return ()

    def allow_conversion(self, tenant_id: str, now: Instant) -> int:
        """Count one conversion of a tenant; or, where its minute is full, the seconds until the next one, at least 1."""
        if not self._conversions_a_minute:
            return 0
        self._turn_minute(now // MINUTE)
        seen = self._conversions.get(tenant_id, 0) + 1
        heard = self._heard
        if seen + (heard.conversions.get(tenant_id, 0) if heard.minute == self._minute else 0) > self._conversions_a_minute:
            return max(1, -(-((self._minute + 1) * MINUTE - now) // SECOND))
        self._conversions[tenant_id] = seen
        self.moves += 1
        return 0

    def _rooms(self, caps: tuple[Cap, ...], now: Instant) -> list[Tally] | None:
        """The tallies that a click adds to; None where one of its caps is full."""
        day, tallies = now - now % DAY, []
        for cap in caps:
            tally = self._tallies.get(cap.key)
            if tally is None:
                tally = self._new_tally(cap.key, day)
            elif tally.day != day and tally.day - day != DAY:  # a clock that steps back over midnight brings no new day
                tally.turn(day)
            if tally is None:
                self.uncapped += 1
            elif tally.has_room(cap):
                tallies.append(tally)
            else:
                return None
        return tallies

    def _new_tally(self, key: str, day: Instant) -> Tally | None:
        return self._tallies.setdefault(key, Tally(day)) if len(self._tallies) < KEYS else None

    def _is_too_fast(self, address: str, link_checksum: int, now: Instant) -> bool:
        minute = now // MINUTE
        if minute != self._minute:
            self._turn_minute(minute)
        pair = crc32((_network(address) if ":" in address else address).encode(), link_checksum ^ self._salt)
        row, other_row, at, other_at = self._row, self._other_row, pair & _LOW, pair >> _SECOND_ROW
        count, other_count = row[at] + 1, other_row[other_at] + 1
        if count < FULL:
            row[at] = count
        if other_count < FULL:
            other_row[other_at] = other_count
        seen = count if count < other_count else other_count
        if seen < self._told_from:
            return False
        if pair in self._pairs or len(self._pairs) < PAIRS_TOLD:
            self._pairs[pair] = seen
            self.moves += 1
        heard = self._heard
        return seen + (heard.pairs.get(pair, 0) if heard.minute == minute else 0) > self._clicks_a_minute

    def _turn_minute(self, minute: int) -> None:
        if minute != self._minute and minute != self._minute - 1:  # nor does one that steps back a little bring a new minute
            self._begin_minute(minute)

    def _begin_minute(self, minute: int) -> None:
        self._minute = minute
        self._conversions: dict[str, int] = {}
        self._pairs: dict[int, int] = {}
        rows = SLOTS if self._clicks_a_minute else 1
        self._row, self._other_row = array("H", bytes(2 * rows)), array("H", bytes(2 * rows))

    # --- on the exchange's thread ---

    def counts(self, now: Instant, pause: Callable[[], None] = lambda: None) -> Counts:
        """All that this tracker counted, in earlier lives too."""
        self._told_at = max(self._told_at + 1, now)
        day, clicks = now - now % DAY, {key: _of_day(tally, now - now % DAY) for key, tally in self._before.items()}
        for number, (key, tally) in enumerate(list(self._tallies.items()), 1):
            today = tally.today if tally.day == day else 0
            before = clicks.get(key, (0, 0))
            clicks[key] = (before[0] + today, before[1] + tally.in_all)
            if number % KEYS_AT_ONCE == 0:
                pause()
        clicks = {key: both for key, both in clicks.items() if both[1]}
        conversions = dict(list(self._conversions.items())[:TENANTS_TOLD])
        return Counts(self.tracker_id, self._told_at, day, clicks, self._minute, conversions, dict(list(self._pairs.items())))

    def restore(self, earlier: Counts) -> None:
        """Take over what this tracker counted before its start; of several memories the larger number stands, key by key."""
        self._told_at = max(self._told_at, earlier.at)
        for key, (today, in_all) in list(earlier.clicks.items())[:KEYS]:
            before = self._before.setdefault(key, Tally(earlier.day))
            if earlier.day > before.day:
                before.turn(earlier.day)
            if earlier.day == before.day:
                before.today = max(before.today, today)
            before.in_all = max(before.in_all, in_all)

    def learn(self, others: Iterable[Counts], now: Instant, pause: Callable[[], None] = lambda: None) -> None:
        """Put down what earlier lives and the other trackers counted, in the place of what was known of them."""
        others, day = [one for one in others if one.tracker_id != self.tracker_id], now - now % DAY
        sums = {key: _of_day(tally, day) for key, tally in self._before.items()}
        for one in others:
            for number, (key, (today, in_all)) in enumerate(one.clicks.items(), 1):
                known = sums.get(key, (0, 0))
                sums[key] = (known[0] + (today if one.day == day else 0), known[1] + in_all)
                if number % KEYS_AT_ONCE == 0:
                    pause()
        for number, (key, (today, in_all)) in enumerate(sums.items(), 1):
            tally = self._tallies.get(key) or self._new_tally(key, day)
            if tally is not None:
                tally.elsewhere_in_all = in_all
                tally.elsewhere_today = today
                tally.elsewhere_day = day
            if number % KEYS_AT_ONCE == 0:
                pause()
        self._heard = _heard([one for one in others if one.minute == now // MINUTE], now // MINUTE)


def _of_day(tally: Tally, day: Instant) -> tuple[int, int]:
    return (tally.today if tally.day == day else 0, tally.in_all)


def _heard(others: list[Counts], minute: int) -> Heard:
    conversions: dict[str, int] = {}
    pairs: dict[int, int] = {}
    for one in others:
        for tenant_id, count in one.conversions.items():
            conversions[tenant_id] = conversions.get(tenant_id, 0) + count
        for pair, count in one.pairs.items():
            pairs[pair] = pairs.get(pair, 0) + count
    return Heard(minute, conversions, pairs)


@lru_cache(maxsize=16_384)
def _network(address: str) -> str:
    """The first 64 bits of an IPv6 address: what a household or a server gets, so that nobody takes another one for each click."""
    try:
        return f"{int(IPv6Address(address)) >> 64:x}"
    except ValueError:
        return address


# --- as bytes --------------------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """Counts with their keys in slices, so that reading a long one never keeps the interpreter for long."""

    format: int
    check: int
    tracker_id: str
    at: Instant
    day: Instant
    minute: int
    conversions: dict[str, int]
    pairs: dict[int, int]
    clicks: tuple[msgspec.Raw, ...]


FORMAT = 1
BYTES = 8 << 20
"""No message is longer: KEYS with the longest names."""
_write = msgspec.msgpack.Encoder().encode
_read_message = msgspec.msgpack.Decoder(_Message).decode
_read_clicks = msgspec.msgpack.Decoder(dict[str, tuple[int, int]]).decode


def pack_counts(counts: Counts, pause: Callable[[], None] = lambda: None) -> bytes:
    """Counts as bytes; equal counts give equal bytes, but for the moment at which they were made."""
    items, slices = list(counts.clicks.items()), []
    for start in range(0, len(items), KEYS_AT_ONCE):
        slices.append(_write(dict(items[start : start + KEYS_AT_ONCE])))
        pause()
    minute = (counts.minute, counts.conversions, counts.pairs)
    raws = tuple(msgspec.Raw(one) for one in slices)
    return _write(_Message(FORMAT, crc32(b"".join(slices)), counts.tracker_id, counts.at, counts.day, *minute, raws))


def unpack_counts(data: bytes, pause: Callable[[], None] = lambda: None) -> Counts | None:
    """What :func:`pack_counts` made; None where it is damaged, or another program's."""
    if len(data) > BYTES:
        return None
    try:
        message = _read_message(data)
        if message.format != FORMAT or message.check != crc32(b"".join(message.clicks)):
            return None
        clicks: dict[str, tuple[int, int]] = {}
        for one in message.clicks:
            clicks |= _read_clicks(one)
            pause()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    minute = (message.minute, message.conversions, message.pairs)
    return Counts(message.tracker_id, message.at, message.day, clicks, *minute)
