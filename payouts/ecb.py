"""The European Central Bank's reference rates as it publishes them: CSV and XML, of a day, of 90 days, of all days. Pure.

Its files: ``eurofxref.csv`` (one day, written "20 November 2026"), ``eurofxref-hist.csv`` (a column for each currency, ``N/A`` where
there was no rate, a comma at the end of every line), ``eurofxref-daily.xml``, ``-hist-90d.xml`` and ``-hist.xml`` (nested ``Cube``
elements). All say how much of a currency one euro buys.
"""

import csv
import re
from collections.abc import Iterator
from datetime import date, datetime
from xml.parsers import expat

import msgspec

from core.errors import BadInput
from core.money import CURRENCIES

SOURCE = "ECB"
MOST_COLUMNS = 200
MOST_FAULTS = 1_000
_VALUE = re.compile(r"(?=.*[1-9])\d{1,10}(\.\d{1,9})?", re.ASCII)
_CODE = re.compile(r"[A-Z]{3}", re.ASCII)
_NO_RATE = ("", "N/A")


class Published(msgspec.Struct, frozen=True, order=True):
    """One euro bought ``value`` of ``currency`` on a day; ``value`` is the decimal as it was published."""

    on: date
    currency: str
    value: str


class RateFault(msgspec.Struct, frozen=True, order=True):
    """What is wrong with one cell or row, by its line in the file; ``currency`` empty: the row as a whole."""

    line: int
    currency: str
    why: str


class Reading(msgspec.Struct, frozen=True):
    """What a file holds, by day and currency. ``unknown`` are currencies that are none any more, whose rates were left out."""

    rates: tuple[Published, ...]
    lines: dict[tuple[date, str], int]
    unknown: tuple[str, ...]
    faults: tuple[RateFault, ...]


def read_reference_rates(data: bytes, latest: date) -> Reading:
    """Read a file's content, whichever of the formats it has. A day after ``latest`` is refused: nothing could mend it later.

    Raises:
        BadInput: it is neither of the formats, or XML that declares a document type or an entity.
    """
    is_xml = data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    faults: set[RateFault] = set()
    return _checked(_xml_cells(data) if is_xml else _csv_cells(data, faults), faults, latest)


Cell = tuple[int, str, str, str]
"""Line, day, currency, value: as written."""


def _checked(cells: Iterator[Cell], faults: set[RateFault], latest: date) -> Reading:
    rates, lines, unknown = list[Published](), dict[tuple[date, str], int](), set[str]()
    days: dict[str, date | None] = {}
    for line, day, currency, value in cells:
        if value in _NO_RATE:
            continue
        if day not in days:
            days[day] = _day_of(day)
        on = days[day]
        if on is None or on > latest:
            why = "is not a day such as 2026-11-20" if on is None else f"is after {latest}, and what is imported stays"
            faults.add(RateFault(line, "", f"date {day!r:.40} {why}"))
        elif not _CODE.fullmatch(currency):
            faults.add(RateFault(line, "", f"currency {currency!r:.20} is not a code such as USD"))
        elif currency not in CURRENCIES:
            unknown.add(currency)
        elif not _VALUE.fullmatch(value):
            faults.add(RateFault(line, currency, f"rate {value!r:.40} is not a positive decimal such as 1.0834"))
        elif (on, currency) in lines:
            faults.add(RateFault(line, currency, f"{on} has a rate in line {lines[on, currency]} already"))
        else:
            lines[on, currency] = line
            rates.append(Published(on, currency, value))
        if len(faults) > MOST_FAULTS:
            break
    if len(faults) > MOST_FAULTS:
        raise BadInput("malformed", f"the file has more than {MOST_FAULTS} faults, the first in line {min(faults).line}: {min(faults).why}")
    if not rates and not faults:
        raise BadInput("malformed", "the file holds no rates; is it one of the ECB's reference rates?")
    return Reading(tuple(sorted(rates)), lines, tuple(sorted(unknown)), tuple(sorted(faults)))


def _day_of(text: str) -> date | None:
    for form in ("%Y-%m-%d", "%d %B %Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    return None


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv_cells(data: bytes, faults: set[RateFault]) -> Iterator[Cell]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadInput("malformed", "the file is not UTF-8 text; is it one of the ECB's CSV, XML or zip files?") from None
    rows = csv.reader(lines)
    try:
        header = _cells(next(rows, []))
        if not header or header[0] != "Date" or len(header) > MOST_COLUMNS:
            raise BadInput("malformed", "line 1 does not begin with Date and a currency for each column")
        for row in rows:
            cells = _cells(row)
            if cells and len(cells) != len(header):
                faults.add(RateFault(rows.line_num, "", f"the row has {len(cells)} cells, the header has {len(header)}"))
            elif cells:
                yield from ((rows.line_num, cells[0], *cell) for cell in zip(header[1:], cells[1:], strict=True))
    except csv.Error as error:
        raise BadInput("malformed", f"line {rows.line_num}: {error}") from None


def _cells(row: list[str]) -> list[str]:
    """Without the empty one behind the comma at the line's end."""
    cells = [cell.strip() for cell in row]
    return cells[:-1] if cells and not cells[-1] else cells


# --- XML -------------------------------------------------------------------------------------------------------------


def _xml_cells(data: bytes) -> Iterator[Cell]:
    """Without a document type there are no entities but the five of XML itself, so that nothing expands."""
    cells, day = list[Cell](), ""
    parser = expat.ParserCreate(namespace_separator=" ")

    def refuse(*_: object) -> None:
        raise BadInput("malformed", f"line {parser.CurrentLineNumber}: the file declares a document type, and the ECB's files do not")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal day
        if name.rpartition(" ")[2] != "Cube":
            return
        day = attributes.get("time", day).strip()
        if "currency" in attributes:
            cells.append((parser.CurrentLineNumber, day, attributes["currency"].strip(), attributes.get("rate", "?").strip()))

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadInput("malformed", f"line {error.lineno}: the file is not XML as it should be: {expat.ErrorString(error.code)}") from None
    except (LookupError, ValueError) as error:  # of the encoding that it declares
        raise BadInput("malformed", f"line 1: the file is not XML in UTF-8: {error}") from None
    yield from cells
