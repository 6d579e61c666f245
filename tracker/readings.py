"""Cells of a foreign file read as what they mean: times in their zones, amounts with their commas, words as ours. Pure.

A reading is a dict that fills itself: a text that comes again costs a look-up. What cannot be read becomes a :class:`Bad` in its
place, so that a column is read to its end whatever it holds.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from operator import methodcaller
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from core.clock import DAY, HOUR, MINUTE, SECOND, Instant, format_instant
from core.errors import BadInput
from core.money import exponent
from tracker.mapping import MoneyForm, Times, Values, suggest, zone_of

REMEMBERED = 65_536
"""So many texts of a column are remembered at once; then it begins anew."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_CONTROLS = bytes(range(32)) + b"\x7f"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock times are taken apart from their zones
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d{2})?", re.ASCII)
_NUMBER_OF = {"Y": r"(\d{4})", "m": r"(\d{1,2})", "d": r"(\d{1,2})", "H": r"(\d{1,2})", "M": r"(\d{1,2})", "S": r"(\d{1,2})"}
_COLON = ord(":") - ord("0")
_MOST_SIGNS = np.array([2, 9, _COLON, 5, 9, _COLON, 5, 9])
"""Of a time of day, counted from the digit 0."""
_SECONDS = {f":{second:02d}": second * SECOND for second in range(60)}
_ENDS_WITH_Z = methodcaller("endswith", "Z")
_EPOCH_DIGITS = re.compile(r"(\d{1,14})(?:\.\d{1,9})?", re.ASCII)

Read = TypeVar("Read")
Key = TypeVar("Key")


class Bad(msgspec.Struct, frozen=True):
    """A cell that cannot be read, and why."""

    why: str


class Reading(dict[Key, Any], Generic[Key]):
    """Text → what it means, or :class:`Bad`. ``faulty`` is set once a text could not be read."""

    def __init__(self, read: Callable[[Key], Any]) -> None:
        super().__init__()
        self._read = read
        self.faulty = False

    def __missing__(self, key: Key) -> Any:
        if len(self) >= REMEMBERED:
            self.clear()
        try:
            value = self._read(key)
        except BadInput as error:
            value, self.faulty = Bad(str(error)), True
        self[key] = value
        return value

    def column(self, keys: Sequence[Key]) -> list[Any]:
        """What each text of a column means."""
        return [self[key] for key in keys]


# --- words -----------------------------------------------------------------------------------------------------------


def word(field: str, values: Values, choices: Sequence[str] = ()) -> Callable[[str], str]:
    """Reads their value as ours; with ``choices``, only as one of these."""

    def read(text: str) -> str:
        ours = values.known.get(text, text)
        if text and values.refuses_others and text not in values.known:
            raise BadInput("malformed", f"{text!r:.60} is none of the values that the map knows{suggest(text, values.known)}", field)
        if ours and choices and ours not in choices:
            raise BadInput("malformed", f"{ours!r:.60} is none of {', '.join(choices)}; map it in [[values]]", field)
        return ours

    return read


def are_clean(column: Sequence[str]) -> bool:
    """True where no cell holds a control character, nor what stands for a broken one. False may only mean: look closer."""
    whole = "".join(column)
    if whole.isascii():  # nearly always, and nine times as fast as a pattern
        return len(whole.encode("ascii").translate(None, _CONTROLS)) == len(whole)
    return whole.isprintable() and "�" not in whole


def flawed_text(text: str, chars: int) -> str:
    """Why a text cannot be taken; empty where it can."""
    if len(text) > chars:
        return f"has {len(text)} characters; at most {chars} are taken"
    return "holds a control character" if CONTROL.search(text) else ""


# --- times -----------------------------------------------------------------------------------------------------------


TimeKey = tuple[str, str]
"""A time's text and its zone's; the zone's is empty where the map has no column of zones."""


class TimeColumn(msgspec.Struct, frozen=True):
    """The instants of a column, or :class:`Bad`. ``ambiguous`` and ``missing`` count those that a clock showed twice or never."""

    instants: list[Any]
    ambiguous: int
    missing: int


class Clockwork:
    """Reads times of one form as instants, between ``earliest`` and a little after ``now``.

    A day on which no clock is set is looked up once, and the time of day added. Of other days and forms a minute is: no clock was ever
    set within one.
    """

    def __init__(self, times: Times, earliest: Instant, now: Instant, tolerance_ms: int) -> None:
        self._bounds = (now, earliest, tolerance_ms)
        self._ambiguous: set[TimeKey] = set()
        self._missing: set[TimeKey] = set()
        self._minutes: Reading[TimeKey] = Reading(self.read)
        self._days: Reading[tuple[str, str]] = Reading(self._read_day)
        self._has_last_seconds = times.form.endswith(":%S")
        self._times = times
        self._zone: tzinfo | None = zone_of(times.zone) if times.zone else None
        self._zones: Reading[str] = Reading(_read_zone)
        self._read_text = _text_reader(times.form)

    def column(self, texts: Sequence[str], zones: Sequence[str] | None = None) -> TimeColumn:
        """What each text means; ``zones`` are the cells of the map's column of zones."""
        found = self._alike(texts) if zones is None else None
        if found is None:
            found = self._one_by_one(texts, zones)
        now, earliest, _ = self._bounds
        instants = found.instants
        if self._minutes.faulty or (instants and (min(instants) < earliest or max(instants) > now)):
            found.instants[:] = [at if type(at) is Bad else bounded(at, *self._bounds) for at in instants]
        return found

    def _alike(self, texts: Sequence[str]) -> TimeColumn | None:
        """A column of which every text ends with its time of day, ten times as fast; None for others, and where a clock was set."""
        tail = ""
        if self._times.form == "iso":
            if texts and texts[0].endswith("Z") and all(map(_ENDS_WITH_Z, texts)):
                texts, tail = [text[:-1] for text in texts], "Z"
            if set(map(len, texts)) != {19}:
                return None
        elif not self._times.form.endswith("%H:%M:%S"):
            return None
        letters = _letters(texts)
        clocks = None if letters is None else _clocks(letters[:, -8:])
        if letters is None or clocks is None:
            return None
        # The same day stands in many rows on end.
        begins = np.flatnonzero(np.append(True, (letters[1:, :-8] != letters[:-1, :-8]).any(axis=1)))
        midnights = [self._days[texts[row][:-8], tail] for row in begins.tolist()]
        if not all(type(at) is int for at in midnights):
            return None
        days = np.repeat(np.array(midnights, np.int64), np.diff(begins, append=len(texts)))
        return TimeColumn((days + clocks).tolist(), 0, 0)

    def _read_day(self, key: tuple[str, str]) -> Instant | None:
        """When a day began that has one offset throughout; None for others."""
        found = self._read_text(f"{key[0]}00:00:00{key[1]}")
        if isinstance(found, int) or found.tzinfo is not None:
            return found if isinstance(found, int) else self.read((f"{key[0]}00:00:00{key[1]}", ""))
        if self._zone is None or found.year in (1, 9999):
            return None
        ends = (found, found + timedelta(days=1))
        offsets = {self._zone.utcoffset(end.replace(fold=fold)) for end in ends for fold in (0, 1)}
        return milliseconds(found - offsets.pop()) if len(offsets) == 1 else None  # type: ignore[operator]

    def _one_by_one(self, texts: Sequence[str], zones: Sequence[str] | None) -> TimeColumn:
        split = (_seconds_of_last if self._has_last_seconds else _seconds_of_iso) if self._is_split else _no_seconds
        parts = list(map(split, texts))
        keys = (
            [(minute, "") for minute, _ in parts] if zones is None else [(part[0], zone) for part, zone in zip(parts, zones, strict=True)]
        )
        minutes = self._minutes.column(keys)
        instants: list[Any] = [at if type(at) is Bad else at + part[1] for at, part in zip(minutes, parts, strict=True)]
        twice = sum(key in self._ambiguous for key in keys) if self._ambiguous else 0
        never = sum(key in self._missing for key in keys) if self._missing else 0
        return TimeColumn(instants, twice, never)

    @property
    def _is_split(self) -> bool:
        return self._has_last_seconds or self._times.form == "iso"

    def read(self, key: TimeKey) -> Instant:
        """One time, whenever it was.

        Raises:
            BadInput: it cannot be read, says no zone, or names an hour that the rule refuses.
        """
        try:
            return self._read(key)
        except OverflowError:
            raise BadInput("malformed", f"{key[0]!r:.60} is outside the calendar") from None

    def _read(self, key: TimeKey) -> Instant:
        found = self._read_text(key[0])
        if isinstance(found, int):
            return found
        if found.tzinfo is not None:
            return milliseconds(found.replace(tzinfo=None) - (found.utcoffset() or timedelta()))
        zone = self._zones[key[1]] if self._times.zone_column else self._zone
        if isinstance(zone, Bad):
            raise BadInput("malformed", zone.why)
        if zone is None:
            raise BadInput("malformed", f"{key[0]!r:.60} has no time zone; say it in [[times]] of the map")
        return self._in_zone(found, zone, key)

    def _in_zone(self, wall: datetime, zone: tzinfo, key: TimeKey) -> Instant:
        first, second = zone.utcoffset(wall), zone.utcoffset(wall.replace(fold=1))
        assert first is not None, "a zone knows its offset"
        assert second is not None, "a zone knows its offset"
        if first > second:  # the clock was set back, and showed this time twice
            if self._times.ambiguous == "refuse":
                raise BadInput("malformed", f"{key[0]!r:.60} was shown twice that night, and the map refuses to choose")
            self._ambiguous.add(key)
        elif first < second:  # the clock was set forward over this time: count on from before
            self._missing.add(key)
        return milliseconds(wall - (second if first > second and self._times.ambiguous == "later" else first))


def _letters(texts: Sequence[str]) -> "np.ndarray[Any, np.dtype[np.uint8]] | None":
    """Texts of one length, a row of codes each; None for others, and where one is not ASCII."""
    sizes = set(map(len, texts))
    whole = "".join(texts)
    if len(sizes) != 1 or len(texts[0]) <= 8 or not whole.isascii():
        return None
    return np.frombuffer(whole.encode("ascii"), np.uint8).reshape(len(texts), -1)


def _clocks(letters: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.int64]] | None":
    """Milliseconds since midnight of times of day such as ``20:15:30``; None where one is written otherwise."""
    signs = letters.astype(np.int64) - ord("0")
    if not ((signs >= 0) & (signs <= _MOST_SIGNS)).all() or (signs[:, [2, 5]] != _COLON).any():
        return None
    hours, minutes, seconds = (signs[:, place] * 10 + signs[:, place + 1] for place in (0, 3, 6))
    return None if (hours > 23).any() else hours * HOUR + minutes * MINUTE + seconds * SECOND


def milliseconds(elapsed: datetime) -> Instant:
    """A wall-clock time in UTC as an instant; digits beyond milliseconds are cut."""
    since = elapsed - _EPOCH
    return since.days * DAY + since.seconds * SECOND + since.microseconds // 1000


def _text_reader(form: str) -> Callable[[str], datetime | Instant]:
    if form == "iso":
        return _read_iso
    if form in ("epoch_s", "epoch_ms"):
        unit = SECOND if form == "epoch_s" else 1
        return lambda text: _read_epoch(text, unit)
    numbers = _by_numbers(form)
    if numbers is not None:
        return numbers
    return lambda text: _read_form(text, form)


def _read_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("malformed", f"{text!r:.60} is not a time like 2026-11-21 20:15:00") from None


def _read_epoch(text: str, unit: int) -> Instant:
    """Seconds or milliseconds since 1970; a fraction is cut to milliseconds without passing through a float."""
    if _EPOCH_DIGITS.fullmatch(text) is None:
        raise BadInput("malformed", f"{text!r:.60} is not a number of {'seconds' if unit == SECOND else 'milliseconds'} since 1970")
    whole, _, fraction = text.partition(".")
    return int(whole) * unit + (int(fraction[:3].ljust(3, "0")) if unit == SECOND and fraction else 0)


def _read_form(text: str, form: str) -> datetime:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is the map's
    except ValueError:
        raise BadInput("malformed", f"{text!r:.60} is not a time written {form}") from None


def _by_numbers(form: str) -> Callable[[str], datetime] | None:
    """Reads a form that is numbers alone, four times as fast as strptime; None for others."""
    parts = re.split(r"%(.)", form)
    letters = parts[1::2]
    if not set(letters) <= _NUMBER_OF.keys() or len(set(letters)) < len(letters) or not {"Y", "m", "d"} <= set(letters):
        return None
    pieces = [_NUMBER_OF[part] if index % 2 else re.escape(part) for index, part in enumerate(parts)]
    match = re.compile("".join(pieces), re.ASCII).fullmatch
    order = [letters.index(letter) for letter in "YmdHMS" if letter in letters]
    if [letter for letter in "YmdHMS" if letter in letters] != list("YmdHMS")[: len(letters)]:
        return None  # seconds without minutes: let strptime make of it what it will

    def read(text: str) -> datetime:
        found = match(text)
        try:
            groups = found.groups()  # type: ignore[union-attr]
            return datetime(*[int(groups[index]) for index in order])  # type: ignore[arg-type]  # noqa: DTZ001 - the zone is the map's
        except (AttributeError, ValueError):
            raise BadInput("malformed", f"{text!r:.60} is not a time written {form}") from None

    return read


def _read_zone(text: str) -> tzinfo:
    name = text.strip()
    if name in ("Z", "UTC", "GMT"):
        return UTC
    found = _OFFSET.fullmatch(name)
    if found is None:
        zone = zone_of(name)
        if zone is None:
            raise BadInput("malformed", f"the zone {text!r:.60} is neither an offset such as +02:00 nor a name such as Europe/Berlin")
        return zone
    offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    if offset >= timedelta(hours=24):
        raise BadInput("malformed", f"the offset {text!r:.60} is a day or more")
    return timezone(-offset if found[1] == "-" else offset)


def bounded(at: Instant, now: Instant, earliest: Instant, tolerance_ms: int) -> Instant | Bad:
    """The time as it is stored: now, where a sender's clock is a little ahead. Bad before ``earliest`` and later than ``tolerance_ms``
    after ``now``."""
    if at < earliest:
        return Bad("the time is before the year 2000")
    if at > now + tolerance_ms:
        return Bad(f"the time is in the future: it is {format_instant(now)} now")
    return min(at, now)


def _no_seconds(text: str) -> tuple[str, int]:
    return text, 0


def _seconds_of_iso(text: str) -> tuple[str, int]:
    """``2026-11-21 20:15:30Z`` as its minute and 30,000 milliseconds; whatever is written otherwise stays whole."""
    if len(text) >= 19 and text[13] == ":" and text[16] == ":" and text[19:] in ("", "Z", "+00:00"):
        elapsed = _SECONDS.get(text[16:19])
        if elapsed is not None:
            return f"{text[:16]}:00{text[19:]}", elapsed
    return text, 0


def _seconds_of_last(text: str) -> tuple[str, int]:
    """The same of a text that ends with its seconds."""
    elapsed = _SECONDS.get(text[-3:])
    return (text, 0) if elapsed is None else (f"{text[:-3]}:00", elapsed)


# --- money -----------------------------------------------------------------------------------------------------------


def decimal_text(text: str, money: MoneyForm, currency: str) -> str:
    """An amount as our interfaces write it: ``1.234,50`` is ``1234.50``. Nothing is rounded, and no float comes near it.

    Raises:
        BadInput: thousands that do not stand where thousands stand, or a currency that there is not.
    """
    plain = text.strip()
    if money.thousands:
        whole, decimal, rest = plain.partition(money.decimal)
        if money.thousands in whole:
            if not re.fullmatch(rf"-?\d{{1,3}}(?:{re.escape(money.thousands)}\d{{3}})+", whole, re.ASCII):
                raise BadInput("malformed", f"{text!r:.40} does not have its thousands where {money.thousands!r} may stand")
            whole = whole.replace(money.thousands, "")
        plain = whole + decimal + rest
    if money.decimal != ".":
        if "." in plain:
            raise BadInput("malformed", f"{text!r:.40} has a point, and the map says that decimals have a comma")
        plain = plain.replace(money.decimal, ".")
    return _from_minor(plain, exponent(currency)) if money.minor_units and plain else plain


def _from_minor(plain: str, places: int) -> str:
    sign, digits = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    if not digits.isascii() or not digits.isdigit():
        raise BadInput("malformed", f"{plain!r:.40} is not a whole number of minor units")
    padded = digits.rjust(places + 1, "0")
    return f"{sign}{padded[:-places]}.{padded[-places:]}" if places else sign + padded
