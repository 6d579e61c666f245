"""The values of a catalogue file: read with every slip told by its path, and written so that they read back the same. Pure."""

import difflib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args

import msgspec

from core.catalogue_tables import WITHIN, Form, Key, defaults, required
from core.clock import as_datetime, instant_of
from core.conditions import DEPTH_LIMIT, depth_of, spoken_path
from core.errors import BadInput
from core.money import format_amount, parse_amount

_PERCENT = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))? ?%", re.ASCII)
_LIMIT = 1 << 53
_FINEST = "CLF"
"""A currency of four decimals. Where the tenant is unknown, that is the fault to tell, and none about the decimals of its amounts."""

Path = tuple[str | int, ...]


class Place(msgspec.Struct, frozen=True):
    """What it takes to read a value: the tenant's currency (empty: unknown), and the ``measure`` that the table around it names."""

    currency: str
    measure: Any = ""


class Slip(msgspec.Struct, frozen=True):
    """What cannot be read, and the path of keys and positions that leads to it."""

    path: Path
    message: str


def read_values(
    values: dict[str, Any], keys: tuple[Key, ...], record: type, title: str, place: Place, path: Path = ()
) -> tuple[dict[str, Any], list[Slip]]:
    """The fields of a ``record`` from a table's values, and every slip among them.

    Args:
        title: what the table is called in messages.
        path: leads to the table; empty for one of the file's own.
    """
    by_name = {key.name: key for key in keys}
    inner = Place(place.currency, values.get("measure", place.measure))
    fields: dict[str, Any] = {}
    slips: list[Slip] = []
    for name, value in values.items():
        if name not in by_name:
            slips.append(Slip((*path, name), f"{name} is no key of {title}{suggest(name, list(by_name))}"))
            continue
        key = by_name[name]
        fields[key.field], more = _read_value(key, value, inner, (*path, name))
        slips += more
    missing = [key.name for key in keys if key.field in required(record) and key.name not in values]
    if missing:
        slips.append(Slip(path, f"{title} lacks {', '.join(missing)}"))
    return fields, slips


def write_values(keys: tuple[Key, ...], record: Any, place: Place) -> dict[str, Any]:
    """The inverse of :func:`read_values`; keys that hold their default are left out."""
    kind: type = type(record)
    inner = Place(place.currency, getattr(record, "measure", place.measure))
    values = {key: getattr(record, key.field) for key in keys}
    return {
        key.name: _write_value(key.form, value, inner)
        for key, value in values.items()
        if value != defaults(kind).get(key.field, msgspec.NODEFAULT)
    }


def format_percent(bps: int) -> str:
    """``750`` basis points as ``7.5 %``."""
    decimals = f"{bps % 100:02d}".rstrip("0")
    return f"{bps // 100}{'.' + decimals if decimals else ''} %"


def parse_percent(text: str) -> int:
    """Read ``"7.5 %"`` as 750 basis points. Never rounds.

    Raises:
        BadInput: not a percentage, or more than two decimals.
    """
    match = _PERCENT.fullmatch(text)
    if match is None:
        raise BadInput("malformed", f"percent {text!r:.40} is not a percentage with at most two decimals, such as '7.5 %'", "percent")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def suggest(name: str, names: list[str]) -> str:
    """The end of a message about a name that there is not."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_value(key: Key, value: Any, place: Place, path: Path) -> tuple[Any, list[Slip]]:
    if key.form in WITHIN:
        return _read_within(key.form, value, place, path)
    try:
        return _READ[key.form](value, place), []
    except BadInput as error:
        return None, [Slip(path, f"{spoken_path(path)}: {error}")]


def _read_within(form: Form, value: Any, place: Place, path: Path) -> tuple[Any, list[Slip]]:
    """One table within a value, or a list of them."""
    if form in ("clause", "tiers"):
        return _read_table(form, value, place, path)
    if not isinstance(value, list):
        return None, [Slip(path, f"{spoken_path(path)}: {value!r:.60} is not a list of tables such as [{{ … }}, {{ … }}]")]
    read = [_read_table(form, one, place, (*path, index)) for index, one in enumerate(value)]
    return tuple(record for record, _ in read), [slip for _, slips in read for slip in slips]


def _read_table(form: Form, value: Any, place: Place, path: Path) -> tuple[Any, list[Slip]]:
    record, keys = WITHIN[form]
    title = spoken_path(path)
    if not isinstance(value, dict):
        return None, [Slip(path, f"{title}: {value!r:.60} is not a table such as {{ {keys[0].name} = … }}")]
    if form == "clauses" and depth_of(path[1:]) > DEPTH_LIMIT:
        return None, [Slip(path, f"{title}: stands {depth_of(path[1:])} levels deep; {DEPTH_LIMIT} is the most")]
    fields, slips = read_values(value, keys, record, title, place, path)
    return None if slips else record(**fields), slips


def _wrong(value: Any, wanted: str) -> BadInput:
    return BadInput("malformed", f"{value!r:.60} is not {wanted}")


def _read_text(value: Any, _place: Place) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "text in quotes")
    return value


def _read_number(value: Any, _place: Place) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LIMIT:
        raise _wrong(value, "a whole number")
    return value


def _read_flag(value: Any, _place: Place) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def _read_texts(value: Any, _place: Place) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(value, 'a list of texts such as ["a", "b"]')
    return tuple(value)


def _read_instant(value: Any, _place: Place) -> int:
    """Digits beyond milliseconds are cut."""
    if not isinstance(value, datetime):
        raise _wrong(value, "a time such as 2026-11-21T20:15:00Z, without quotes")
    return instant_of(value, value.isoformat())


def _read_percent(value: Any, _place: Place) -> int:
    if not isinstance(value, str):
        raise _wrong(value, "a percentage in quotes such as '7.5 %'")
    return parse_percent(value)


def _read_percents(value: Any, _place: Place) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(value, "a list of percentages such as ['10 %', '5 %']")
    return tuple(parse_percent(item) for item in value)


def _read_amount(value: Any, place: Place) -> int:
    if not isinstance(value, str):
        raise _wrong(value, "an amount in quotes such as '5.00'")
    return parse_amount(value, place.currency or _FINEST)


def _read_threshold(value: Any, place: Place) -> int:
    """Where the measure is missing or unknown, that is the fault to tell: both are taken."""
    if place.measure in ("revenue", "commission") or (place.measure != "orders" and isinstance(value, str)):
        return _read_amount(value, place)
    return _read_number(value, place)


_READ: dict[Form, Callable[[Any, Place], Any]] = {
    "text": _read_text,
    "number": _read_number,
    "flag": _read_flag,
    "texts": _read_texts,
    "instant": _read_instant,
    "percent": _read_percent,
    "percents": _read_percents,
    "amount": _read_amount,
    "threshold": _read_threshold,
}
assert {*_READ, *WITHIN} == {*get_args(Form)}, "every form can be read"


# --- writing ---------------------------------------------------------------------------------------------------------


def _write_value(form: Form, value: Any, place: Place) -> Any:
    if form in ("clause", "tiers"):
        return write_values(WITHIN[form][1], value, place)
    if form in WITHIN:
        return tuple(write_values(WITHIN[form][1], one, place) for one in value)
    if form == "instant":
        return as_datetime(value)
    if form == "percent":
        return format_percent(value)
    if form == "percents":
        return tuple(format_percent(bps) for bps in value)
    is_amount = form == "amount" or (form == "threshold" and place.measure != "orders")
    return format_amount(value, place.currency) if is_amount else value
