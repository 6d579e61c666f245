"""A chunk of a foreign file column by column: each distinct cell is looked at once, however many rows say it. Pure.

What a rule makes of a column is a column again, so that rules are plain functions of one value, and a row costs only its number. What
goes to the store becomes Arrow's (https://arrow.apache.org/docs/format/Columnar.html), without a Python object for each row.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import count
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tracker.mapping import Map
from tracker.readings import CONTROL, Bad, Reading, are_clean
from tracker.sheet import Chunk, RowFault, unreadable

TEXT = pa.string()
TEXTS = pa.list_(pa.string())
INSTANT = pa.timestamp("ms", "UTC")

_ONE_EACH = ("touch_id", "occurred_at")
"""Of these each row has its own, so that looking for the same is not worth its while."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Codes = np.ndarray[Any, np.dtype[np.int64]]


class Column(msgspec.Struct, frozen=True):
    """What rows say: row ``n`` says ``values[codes[n]]``. Some row says each value; one value may stand twice."""

    values: list[Any]
    codes: Codes

    def each(self, read: Callable[[Any], Any]) -> "Column":
        """The same rows, every value read as something else."""
        return Column(list(map(read, self.values)), self.codes)

    def all(self, read: Callable[[list[Any]], list[Any]]) -> "Column":
        """The same rows, the values read as others together."""
        return Column(read(self.values), self.codes)

    def by_row(self) -> list[Any]:
        """A value for each row."""
        return list(map(self.values.__getitem__, self.codes.tolist()))

    def rows_where(self, wanted: Iterable[object]) -> list[int]:
        """The rows whose value is wanted, in their order; ``wanted`` says it by value."""
        chosen: list[int] = np.flatnonzero(np.fromiter(map(bool, wanted), bool, len(self.values))[self.codes]).tolist()
        return chosen

    def arrow(self, kind: Any = TEXT) -> pa.Array:
        """As Arrow keeps it, a value for each row."""
        return pa.array(self.values, kind).take(pa.array(self.codes))


def column_of(cells: pa.Array | Sequence[Hashable]) -> Column:
    """The column that has these cells."""
    if isinstance(cells, pa.Array):
        coded = cells.dictionary_encode()
        return Column(coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64))
    places: defaultdict[Hashable, int] = defaultdict(count().__next__)
    codes = np.fromiter(map(places.__getitem__, cells), np.int64, len(cells))
    return Column(list(places), codes)


def one_each(cells: pa.Array | Sequence[Any]) -> Column:
    """The same without a look at which are the same."""
    return Column(cells.to_pylist() if isinstance(cells, pa.Array) else list(cells), np.arange(len(cells)))


def same(value: Any, rows: int) -> Column:
    """One value for all rows."""
    return Column([value], np.zeros(rows, np.int64))


def together(*columns: Column) -> Column:
    """What rows say in several columns, as tuples."""
    found = Column([()], columns[0].codes)
    for column in columns:
        found = _paired(found, column)
    return found


def _paired(found: Column, column: Column) -> Column:
    if len(found.values) == 1:
        return Column([(*found.values[0], value) for value in column.values], column.codes)
    if len(column.values) == 1:
        return Column([(*own, column.values[0]) for own in found.values], found.codes)
    _, firsts, codes = np.unique(found.codes * len(column.values) + column.codes, return_index=True, return_inverse=True)
    pairs = zip(found.codes[firsts].tolist(), column.codes[firsts].tolist(), strict=True)
    return Column([(*found.values[one], column.values[other]) for one, other in pairs], codes)


def numbers_of(columns: Sequence[Column]) -> Codes:
    """A number of 64 bits for what each row says in these columns together: another one for whatever is said otherwise, but once in
    2^64 times. Python's hashes are keyed anew in each process, so that nobody can choose two that are the same."""
    numbers = np.zeros(len(columns[0].codes), np.uint64)
    for column in columns:
        own = np.fromiter(map(hash, column.values), np.int64, len(column.values)).view(np.uint64)
        numbers = numbers * _MULTIPLIER + (own if len(own) == 1 else own[column.codes])
    return numbers.view(np.int64)


class Cells:
    """A chunk's rows by field: trimmed cells of the column, or the map's constant for each row. There is at least one row."""

    def __init__(self, map_: Map, places: dict[str, int], chunk: Chunk) -> None:
        self._map = map_
        self._places = places
        self._chunk = chunk
        self._columns: dict[str, Column] = {}
        self._one_each = {map_.columns[field][0] for field in _ONE_EACH if field in map_.columns}
        self.rows = len(chunk.lines)

    def of_column(self, name: str) -> Column:
        if name not in self._columns:
            cells = self._chunk.columns[self._places[name]]
            column = one_each(cells) if name in self._one_each else column_of(cells)
            self._columns[name] = column.each(str.strip)
        return self._columns[name]

    def of(self, field: str) -> Column | None:
        """None where the map fills the field with nothing."""
        if field in self._map.columns:
            return self.of_column(self._map.columns[field][0])
        constant = self._map.constants.get(field)
        return None if constant is None else same(constant, self.rows)


class Trouble:
    """What is wrong with a chunk's rows, cell by cell."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.faults: list[RowFault] = []

    def read(self, field: str, column: Column | None, reading: Reading[Any], default: str = "") -> Column:
        """Read a column; empty cells mean the default, and so does a column that is not there."""
        if column is None:
            return same(default, len(self._chunk.lines))
        found = column.each(reading.__getitem__)
        if reading.faulty:
            self.where_bad(field, found)
        return found.each(lambda value: value or default) if default else found

    def in_texts(self, field: str, column: Column, encoding: str) -> None:
        """Refuse cells that hold control characters, or did not come out of their encoding."""
        if not are_clean(column.values):
            self.where(field, column, lambda cell: _flaw(cell, encoding))

    def where_bad(self, field: str, column: Column) -> None:
        self.where(field, column, lambda value: value.why if type(value) is Bad else "")

    def where_longer(self, field: str, column: Column, chars: int) -> None:
        if max(map(len, column.values)) > chars:
            self.where(
                field, column, lambda cell: f"the cell has {len(cell)} characters; at most {chars} are taken" if len(cell) > chars else ""
            )

    def where(self, field: str, column: Column, why: Callable[[Any], str]) -> None:
        """Refuse rows of whose value there is a ``why`` to tell."""
        whys = column.each(why)
        if any(whys.values):
            for row in whys.rows_where(whys.values):
                self.add(row, field, whys.values[whys.codes[row]])

    def add(self, row: int, field: str, why: str) -> None:
        self.faults.append(RowFault(self._chunk.lines[row], field, why, self._chunk.row(row)))


def _flaw(cell: str, encoding: str) -> str:
    if CONTROL.search(cell):
        return "the cell holds a control character"
    flaw = unreadable(cell, encoding)
    return f"the cell {flaw}" if flaw else ""
