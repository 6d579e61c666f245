"""A foreign CSV file, read in bounded memory: numbered rows in chunks, and what is wrong with a row beside them. I/O: the file.

The file is read in blocks of ``BLOCK_CHARS``. Where every line of a block is plainly a row, Arrow splits them in one go; otherwise the
csv module does, row by row, which takes much longer. What is plain both of them read alike. A line has at most ``LINE_CHARS`` characters
and a row ``ROW_LINES`` lines. A quote that is never closed would swallow the rest of the file: the row it opens in is refused, and
reading goes on in the line below.
"""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from core.errors import FairshareError
from tracker.mapping import Map, is_wide

BLOCK_CHARS = 1024 * 1024
LINE_CHARS = 65_536
ROW_LINES = 200
COLUMNS = 1_000
CHUNK_ROWS = 16_384
SHOWN_CHARS = 500

_ESCAPED = re.compile("[\udc80-\udcff]")
"""What stands for bytes that are no text of their encoding."""


class RowFault(msgspec.Struct, frozen=True):
    """Why a row was left out: its line in the file (the first, where it has several), our field or their column, the reason, and the
    row itself, as far as it could be read."""

    line: int
    field: str
    why: str
    row: tuple[str, ...] = ()


class Chunk(msgspec.Struct, frozen=True):
    """Rows of as many cells as the header, each with the line where it begins; ``faults`` are of rows that are none.

    ``columns`` are the file's, of cells as Arrow keeps them, or of texts. ``position`` is how many bytes were read so far.
    """

    lines: list[int]
    columns: Sequence[pa.Array | Sequence[str]]
    faults: list[RowFault] = []
    position: int = 0

    @property
    def rows(self) -> list[list[str]]:
        """The cells by row."""
        texts = [column.to_pylist() if isinstance(column, pa.Array) else column for column in self.columns]
        return list(map(list, zip(*texts, strict=True)))

    def row(self, number: int) -> tuple[str, ...]:
        """The cells of one row."""
        return tuple(column[number].as_py() if isinstance(column, pa.Array) else column[number] for column in self.columns)

    def only(self, chosen: Sequence[bool]) -> "Chunk":
        """The chosen rows alone."""
        mask = pa.array(chosen, pa.bool_())
        columns = [column.filter(mask) if isinstance(column, pa.Array) else list(compress(column, chosen)) for column in self.columns]
        return Chunk(list(compress(self.lines, chosen)), columns)


class _Unclosed(Exception):
    """A row of more lines than any has."""


class _Lines:
    """The lines of a file. As an iterator it is what the csv module reads from; ``held`` is what it gave out since they were cleared."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._read = file.read
        self._rest = ""
        self._next = 1
        self.ready: deque[tuple[int, str]] = deque()
        self.held: list[tuple[int, str]] = []
        self.too_long: list[RowFault] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self.held) >= ROW_LINES:
            raise _Unclosed
        if not self.ready and not self.fill():
            raise StopIteration
        line = self.ready.popleft()
        self.held.append(line)
        return line[1] + "\n"

    def fill(self) -> bool:
        """Make the lines of another block ready; false at the file's end."""
        while not self.ready:
            block = self._read(BLOCK_CHARS)
            *whole, self._rest = (self._rest + block).split("\n")
            if not block:
                if not self._rest and not whole:
                    return False
                whole, self._rest = [*whole, *([self._rest] if self._rest else [])], ""
            elif len(self._rest) >= LINE_CHARS:
                whole.append(self._cut_short())
            first, self._next = self._next, self._next + len(whole)
            self.ready.extend(enumerate(whole, first))
            if whole and max(map(len, whole)) >= LINE_CHARS:
                self._refuse_long()
            if not block:
                return bool(self.ready)
        return True

    def read_again(self) -> None:
        """All lines given out since ``held`` was cleared are still to come, but the first."""
        self.ready.extendleft(reversed(self.held[1:]))
        self.held.clear()

    def _cut_short(self) -> str:
        """Read to the end of a line that is too long already, and keep its beginning."""
        begun = self._rest[:LINE_CHARS]
        while block := self._read(BLOCK_CHARS):
            _, newline, rest = block.partition("\n")
            if newline:
                self._rest = rest
                return begun
        self._rest = ""
        return begun

    def _refuse_long(self) -> None:
        why = f"the line has more than {LINE_CHARS} characters"
        self.too_long += [RowFault(line, "", why, (text[:SHOWN_CHARS],)) for line, text in self.ready if len(text) >= LINE_CHARS]
        self.ready = deque((line, text) for line, text in self.ready if len(text) < LINE_CHARS)


class Sheet:
    """An open file. ``header`` are the columns' names, trimmed; ``size`` is the file's, in bytes."""

    def __init__(self, file: io.TextIOWrapper, map_: Map, name: str, size: int) -> None:
        self._raw: Any = file.buffer
        self._source = _Lines(file)
        self._form: dict[str, Any] = {"delimiter": map_.delimiter, "quotechar": map_.quote, "strict": True}
        self._reader = csv.reader(self._source, **self._form)
        self.size = size
        for _ in range(map_.skip_lines):
            next(self._source, None)
            self._source.held.clear()
        self.header = self._read_header(name, map_.encoding)

    def chunks(self) -> Iterator[Chunk]:
        """The rows of the file, to its end. Blank lines are none."""
        while self._source.ready or self._source.fill() or self._source.too_long:
            begun = list(self._source.ready)
            columns = self._together([text for _, text in begun])
            if columns is None:
                yield self._one_by_one()
                continue
            self._source.ready.clear()
            faults, self._source.too_long = self._source.too_long, []
            yield self._made([line for line, _ in begun], columns, faults)

    def _together(self, lines: list[str]) -> list[pa.Array] | None:
        """The columns of lines, None where not every line is plainly a row."""
        try:
            block = ("\n".join(lines) + "\n").encode()
        except UnicodeEncodeError:  # marks of broken cells
            return None
        if not _is_plain(block, self._form["delimiter"], self._form["quotechar"]):
            return None
        names = list(map(str, range(len(self.header))))
        reading = arrow_csv.ReadOptions(use_threads=False, block_size=len(block), column_names=names)
        parsing = arrow_csv.ParseOptions(delimiter=self._form["delimiter"], quote_char=self._form["quotechar"], newlines_in_values=True)
        texts = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        try:
            table = arrow_csv.read_csv(pa.BufferReader(block), reading, parsing, texts)
        except pa.ArrowInvalid:  # a row of another width
            return None
        return [column.combine_chunks() for column in table.columns] if len(table) == len(lines) else None

    def _one_by_one(self) -> Chunk:
        """The rows of what is ready, or so many of them; the last one may go on in the next block."""
        lines, rows, faults = list[int](), list[list[str]](), list[RowFault]()
        source, held, width = self._source, self._source.held, len(self.header)
        while source.ready and len(rows) + len(faults) < CHUNK_ROWS:
            held.clear()
            try:
                row = next(self._reader, [])
            except (csv.Error, _Unclosed) as error:
                faults.append(_broken(held, error))
                source.read_again()
                continue
            if len(row) == width:
                lines.append(held[0][0])
                rows.append(row)
            elif row:
                faults.append(_uneven(held[0][0], row, width, len(held)))
        faults += source.too_long
        source.too_long = []
        return self._made(lines, list(zip(*rows, strict=True)) if rows else [()] * width, faults)

    def _made(self, lines: list[int], columns: Sequence[pa.Array | Sequence[str]], faults: list[RowFault]) -> Chunk:
        return Chunk(lines, columns, faults, self._raw.tell())

    def _read_header(self, name: str, encoding: str) -> list[str]:
        try:
            row = next(self._reader, [])
        except (csv.Error, _Unclosed) as error:
            raise FairshareError(f"{name}: the line with the columns' names cannot be read: {error}; look at delimiter and quote") from None
        self._source.held.clear()
        if not row and self._source.too_long:
            raise FairshareError(f"{name}: the line with the columns' names has more than {LINE_CHARS} characters; is this a CSV file?")
        if not any(row):
            raise FairshareError(f"{name} is empty: it has not even a line with the columns' names")
        if len(row) > COLUMNS:
            raise FairshareError(f"{name} has {len(row)} columns; at most {COLUMNS} are read")
        fault = unreadable("".join(row), encoding) or ("holds NUL bytes" if "\0" in "".join(row) else "")
        if fault:
            raise FairshareError(f"{name}: the line with the columns' names {fault}; look at encoding in the map")
        return [cell.strip() for cell in row]


@contextmanager
def opened_sheet(path: Path, map_: Map) -> Iterator[Sheet]:
    """Open a file as its map says.

    Raises:
        FairshareError: it is no file, cannot be opened, has other ends of lines than LF or CRLF, or no line with the columns' names.
    """
    if not path.is_file():
        raise FairshareError(f"{path} is {'a folder' if path.is_dir() else 'not there, or no file'}; name a CSV file")
    # Bytes that are no text of the encoding become marks that no text has: the row is told, the file goes on.
    errors = "replace" if is_wide(map_.encoding) else "surrogateescape"
    with path.open("r", encoding=map_.encoding, errors=errors, newline="", buffering=BLOCK_CHARS) as file:
        begun = file.read(LINE_CHARS)
        if "\r" in begun and "\n" not in begun:
            raise FairshareError(f"{path.name}: its lines end with CR alone; save it with LF or CRLF at the ends of lines")
        file.seek(0)
        yield Sheet(file, map_, path.name, path.stat().st_size)


def unreadable(text: str, encoding: str) -> str:
    """What is wrong with a text that did not come out of its encoding whole; empty where nothing is."""
    if text.isascii():
        return ""
    is_broken = "�" in text if is_wide(encoding) else _ESCAPED.search(text) is not None
    return f"is not {encoding.removesuffix('-sig')} throughout" if is_broken else ""


def _is_plain(block: bytes, delimiter: str, quote: str) -> bool:
    """True where lines are rows, and quotes stand around whole cells, doubled inside: there is one way to read them."""
    if block.startswith((b"\n", b"\r")) or b"\n\n" in block or b"\n\r" in block or b"\0" in block:
        return False
    if block.count(b"\r") != block.count(b"\r\n"):
        return False
    letters = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(letters == ord(quote))
    before = letters[quotes[::2] - 1]  # the block's end stands for what is before it
    after = letters[quotes[1::2] + 1]
    return len(quotes) % 2 == 0 and _are_all(before, f"{delimiter}{quote}\n") and _are_all(after, f"{delimiter}{quote}\r\n")


def _are_all(letters: "np.ndarray[Any, np.dtype[np.uint8]]", wanted: str) -> bool:
    counted = np.bincount(letters, minlength=128)
    return int(counted[[ord(letter) for letter in wanted]].sum()) == len(letters)


def _broken(held: list[tuple[int, str]], error: Exception) -> RowFault:
    line, text = held[0]
    is_open = isinstance(error, _Unclosed) or "unexpected end" in str(error) or "field limit" in str(error)
    why = "a quote that opens in this row is never closed" if is_open else f"the row's quotes do not fit: {error}"
    if "new-line character" in str(error):
        why = "a CR stands alone in the row, outside of quotes; lines end with LF or CRLF"
    return RowFault(line, "", why, (text.rstrip("\r")[:SHOWN_CHARS],))


def _uneven(line: int, row: list[str], width: int, lines: int) -> RowFault:
    over = f"; it runs over {lines} lines, so that a quote may be missing" if lines > 1 else ""
    shown = tuple(cell[:SHOWN_CHARS] for cell in row[:COLUMNS])
    return RowFault(line, "", f"the row has {len(row)} cells, the header has {width}{over}", shown)
