"""A file of paths: ``path,total_conversions,total_conversion_value,total_null``, the last two optional, other columns passed over.

Read twice if need be: by columns, which takes a million rows a second or two; and where anything about it is unusual, row by row,
which finds the line to name. Either way all of it is read, or nothing.
"""

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path as FilePath
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from attribution.paths import parse_path
from attribution.tally import Amounts, Ints, Paths, Row, amounts_of_whole, paths_of
from core.errors import BadInput

REQUIRED = ("path", "total_conversions")
OPTIONAL = ("total_conversion_value", "total_null")
FAULTS = 10
"""So many are named; the rest are counted."""
HIGHEST = 10**18
PLACES = 18
SEPARATOR = ord(">")
MOST_BYTES = 4_000_000_000
LONGEST_PATH = 100_000
"""Characters. A field of a path beyond it is a damaged file, most likely a quote that is never closed."""
_NUMBER = re.compile(r"\d{1,19}(\.\d{0,40})?([eE][+-]?\d{1,2})?|\.\d{1,40}([eE][+-]?\d{1,2})?", re.ASCII)

csv.field_size_limit(LONGEST_PATH)


class PathFile(msgspec.Struct, frozen=True):
    """What a file holds. ``has_value``, ``has_nulls``: whether it has these columns; without them the numbers are zero."""

    paths: Paths
    has_value: bool
    has_nulls: bool


def read_path_file(file: FilePath) -> PathFile:
    """Every path of a CSV file (UTF-8, with a byte order mark or without; any line ends; quotes as usual).

    Raises:
        BadInput: the columns are not there, or rows are not usable: names the first lines and what is wrong with them.
        OSError: the file cannot be read.
    """
    if file.stat().st_size > MOST_BYTES:
        raise BadInput("too_large", f"{file.name} has more than {MOST_BYTES:,} bytes; add up its repeated paths", "path")
    raw = file.read_bytes()
    names = _columns_of(file.name, raw)
    paths = _read_by_columns(raw, names)
    if paths is None:
        paths = paths_of(list(_read_by_rows(file.name, raw, names)))
    return PathFile(paths, OPTIONAL[0] in names, OPTIONAL[1] in names)


def _text_of(raw: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8-sig", newline="")


def _columns_of(file_name: str, raw: bytes) -> list[str]:
    """The header's names, trimmed."""
    try:
        names = [name.strip() for name in next(csv.reader(_text_of(raw), strict=True), [])]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput("malformed", f"{file_name} line 1: {_said(error)}", "path") from None
    if not names:
        raise BadInput("malformed", f"{file_name} is empty; its first line names the columns: {','.join(REQUIRED + OPTIONAL)}", "path")
    missing = [name for name in REQUIRED if name not in names]
    doubled = [name for name in REQUIRED + OPTIONAL if names.count(name) > 1]
    if missing or doubled:
        fault = f"has no column {missing[0]}" if missing else f"has the column {doubled[0]} twice"
        raise BadInput("malformed", f"{file_name} line 1 {fault}; it names {', '.join(names)[:200]}", "path")
    return names


# --- by columns ------------------------------------------------------------------------------------------------------


def _read_by_columns(raw: bytes, names: list[str]) -> Paths | None:
    """None where a row is not plain: it is then read row by row, which knows its line."""
    if not _is_plainly_quoted(raw):
        return None
    wanted = [name for name in REQUIRED + OPTIONAL if name in names]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(raw),
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
            ),
        )
        return paths_of_table(table)
    except (pa.ArrowInvalid, _NotPlain):
        return None


def _is_plainly_quoted(raw: bytes) -> bool:
    """Whether quotes stand around whole fields and nowhere else; readers differ over all others."""
    if b'"' not in raw:
        return True
    text = np.frombuffer(b"\n" + raw.removeprefix(BOM_UTF8) + b"\n", np.uint8)
    quotes = np.flatnonzero(text == ord('"'))
    between = np.isin(np.arange(256), list(b",\r\n"))
    return len(quotes) % 2 == 0 and bool(between[text[quotes[::2] - 1]].all()) and bool(between[text[quotes[1::2] + 1]].all())


class _NotPlain(Exception):
    """Something that only the careful reader can judge."""


def paths_of_table(table: pa.Table) -> Paths:
    """Columns as the file has them, all of them texts."""
    channels, codes, starts = split_paths(table.column("path"))
    return Paths(channels, codes, starts, *amounts_of_table(table, len(codes)))


def amounts_of_table(table: pa.Table, touches: int) -> list[Amounts]:
    """Conversions, values and nulls, exactly; zeros where the column is not there."""
    numbers = [_amounts(table, name, touches) for name in (REQUIRED[1], *OPTIONAL)]
    if bool((numbers[1].some() & ~numbers[0].some()).any()):
        raise _NotPlain
    return numbers


def split_paths(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Ints, Ints]:
    """Channels by name, each touch's place among them, and where each path begins.

    Touches are cut out of the column's own bytes, each with the separator behind it: those that differ in that alone are the same
    once their names are trimmed, which is done once a name.
    """
    texts = column.combine_chunks()
    if not len(texts):
        return (), np.zeros(0, np.int64), np.zeros(1, np.int64)
    _, offsets_of, letters_of = texts.buffers()
    offsets = np.frombuffer(offsets_of, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(letters_of, np.uint8)[: offsets[-1]] if offsets[-1] else np.zeros(0, np.uint8)
    if not (np.diff(offsets) > 0).all() or (letters[offsets[1:] - 1] == SEPARATOR).any():
        raise _NotPlain
    begins = np.zeros(len(letters), np.bool_)
    begins[1:] = letters[:-1] == SEPARATOR
    begins[: offsets[0]] = False
    rows = np.zeros(len(letters), np.bool_)
    rows[offsets[:-1]] = True
    places = np.flatnonzero(begins | rows).astype(np.int32)
    cuts = pa.py_buffer(np.append(places, offsets[-1]).astype(np.int32))
    channels, codes = _encode(pa.StringArray.from_buffers(len(places), cuts, letters_of))
    starts = np.append(np.flatnonzero(rows[places]), len(places))
    return channels, codes, starts


def _encode(touches: pa.StringArray) -> tuple[tuple[str, ...], Ints]:
    """Trimmed names in their order, and each touch's place among them."""
    encoded = touches.dictionary_encode()
    written = [name.removesuffix(">").strip() for name in encoded.dictionary.to_pylist()]
    if not all(written):
        raise _NotPlain
    channels = tuple(sorted(set(written)))
    place_of = {channel: place for place, channel in enumerate(channels)}
    places = np.array([place_of[name] for name in written], np.int64)
    return channels, places[_numbers(encoded.indices, np.int32)]


def _numbers(array: pa.Array, kind: type[np.signedinteger[Any]], parts: int = 1) -> NDArray[Any]:
    """An array's own memory, so many numbers for each of its values. Arrow's way of handing it over loads pandas, which costs more
    than a small file.
    """
    if not len(array):
        return np.zeros(0, kind)
    return np.frombuffer(array.buffers()[1], kind)[array.offset * parts : (array.offset + len(array)) * parts]


def _amounts(table: pa.Table, name: str, touches: int) -> Amounts:
    if name not in table.column_names:
        return amounts_of_whole(np.zeros(table.num_rows, np.int64), 1, touches)
    texts = table.column(name).combine_chunks()
    places = _places(texts)
    if pc.any(pc.match_substring_regex(texts, "[^0-9.]")).as_py():
        raise _NotPlain
    if places == 0:
        whole = _numbers(texts.cast(pa.int64()), np.int64)
        if whole.max(initial=0) > HIGHEST:
            raise _NotPlain
        return amounts_of_whole(whole, 1, touches)
    halves = _numbers(texts.cast(pa.decimal128(38, places)), np.int64, 2)
    if halves[1::2].any() or (halves[::2] < 0).any():
        raise _NotPlain
    return amounts_of_whole(halves[::2], 10**places, touches)


def _places(texts: pa.Array) -> int:
    """The most decimals that occur."""
    point = pc.find_substring(texts, ".")
    decimals = pc.if_else(pc.greater_equal(point, 0), pc.subtract(pc.subtract(pc.binary_length(texts), point), 1), 0)
    return max(pc.max(decimals).as_py() or 0, 0)


# --- row by row ------------------------------------------------------------------------------------------------------


def _read_by_rows(file_name: str, raw: bytes, names: list[str]) -> Iterator[Row]:
    faults = 0
    first: list[str] = []
    for line, found in _rows(raw, names):
        if isinstance(found, Row):
            yield found
            continue
        faults += 1
        if len(first) < FAULTS:
            first.append(f"line {line}: {found}")
    if faults:
        more = f"; and {faults - len(first):,} more" if faults > len(first) else ""
        noun = "row is" if faults == 1 else "rows are"
        raise BadInput("malformed", f"{file_name}: {faults:,} {noun} not usable, nothing was computed: {'; '.join(first)}{more}", "path")


def _rows(raw: bytes, names: list[str]) -> Iterator[tuple[int, Row | str]]:
    """Each row with the line that it begins on, and what is wrong with it where it is not usable."""
    reader = csv.reader(_text_of(raw), strict=True)
    read = _guarded(lambda: next(reader, None))
    read()
    while True:
        line = reader.line_num + 1
        cells = read()
        if cells is None:
            return
        if isinstance(cells, str):
            yield line, cells
            if "UTF-8" in cells:
                return
        elif cells:
            yield line, _row(dict(zip(names, cells, strict=False)), len(cells), len(names))


def _guarded(read: Callable[[], list[str] | None]) -> Callable[[], list[str] | str | None]:
    def guarded() -> list[str] | str | None:
        try:
            return read()
        except (csv.Error, UnicodeDecodeError) as error:
            return _said(error)

    return guarded


def _said(error: Exception) -> str:
    return "from here on it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not a row of CSV: {error}"


def _row(cells: dict[str, str], found: int, wanted: int) -> Row | str:
    if found != wanted:
        return f"has {found} fields, the header has {wanted}"
    try:
        path = parse_path(cells["path"])
        conversions, value, nulls = (_number(cells, name) for name in (REQUIRED[1], *OPTIONAL))
    except BadInput as error:
        return str(error)
    if value and not conversions:
        return f"{OPTIONAL[0]} is {cells[OPTIONAL[0]]}, and there is no conversion that brought it"
    return Row(path, conversions, value, nulls)


def _number(cells: dict[str, str], name: str) -> Fraction:
    text = cells.get(name, "0").strip()
    number = Fraction(text) if _NUMBER.fullmatch(text) else Fraction(-1)
    if number < 0 or number > HIGHEST or 10**PLACES % number.denominator:
        raise BadInput("malformed", f"{name} {text!r:.40} is not a number from 0 to 10^18 with at most {PLACES} decimals", name)
    return number
