"""MAP.toml: how the columns of a foreign file become touches, leads or orders. Data, read with every fault and its line. Pure.

docs/import.md shows the format. A map is checked in three steps, each with all its faults at once: by itself
(:func:`read_map`), against the file's first line (:func:`place_columns`), and against the merchant's catalogue, by the one who
knows that (:mod:`tracker.history`).
"""

import codecs
import difflib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, cast, get_args
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from core.toml_tables import Fault, TomlTable, read_tables
from tracker.orders import LINE_FIELDS

Subject = Literal["touches", "leads", "orders"]
Unknown = Literal["refuse", "create"]
Ambiguous = Literal["earlier", "later", "refuse"]

SUBJECTS: tuple[Subject, ...] = get_args(Subject)
MOST_JOINED = 8
MOST_ATTRIBUTES = 16
MOST_VALUES = 100_000
SUBS = ("sub1", "sub2", "sub3", "sub4", "sub5")
CUSTOMER = ("customer_id", "email", "email_sha256", "phone", "phone_sha256", "loyalty_id", "device", "card_token")
LINE = ("line_id", "sku", "item", "category", "brand", "item_kind", "quantity", "net", "unit_price", "line_discount")
"""What belongs to an order's line; everything else of an order is the same on each of its rows."""

_SAID = {"sku", "item", "category", "brand", "item_kind"}
"""What may also be said of the one line of an order that has a total alone."""

_COMMON = ("occurred_at", "visitor", "channel", "status", *CUSTOMER)
FIELDS: dict[Subject, tuple[str, ...]] = {
    "touches": (
        *("touch_id", "kind", "programme", "affiliate", "affiliate_name", "link", *SUBS),
        *("consent", "origin", "medium", "ip", "user_agent", "referrer", "destination", *_COMMON),
    ),
    "leads": ("lead_id", "name", "click_id", *_COMMON),
    "orders": (
        *("order_id", "currency", "store", "click_id", "affiliate", "customer_status", "coupons", "consent"),
        *("shipping", "tax", "discount", "total", *LINE, *_COMMON),
    ),
}
"""What a map can fill, by what is imported."""

_REQUIRED: dict[Subject, tuple[str, ...]] = {
    "touches": ("occurred_at", "programme"),
    "leads": ("lead_id", "occurred_at"),
    "orders": ("order_id", "occurred_at", "currency"),
}
_NO_CONSTANT = frozenset(("touch_id", "lead_id", "order_id", "line_id", "occurred_at", "visitor", "click_id", *CUSTOMER))
"""What differs from row to row by its nature: one value for all of them would make one touch, order or person of the file."""

_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_EPOCHS = ("epoch_s", "epoch_ms")
_CODECS_OF_TWO_BYTES = ("utf-16", "utf-32")


class Times(msgspec.Struct, frozen=True):
    """How a time is written. ``form`` is ``iso``, ``epoch_s``, ``epoch_ms`` or a format of strptime; a text without an offset of its own
    is in ``zone``, or in the zone that ``zone_column`` says. ``ambiguous`` is the hour that a clock set back shows twice."""

    form: str = "iso"
    zone: str = ""
    zone_column: str = ""
    ambiguous: Ambiguous = "earlier"


class MoneyForm(msgspec.Struct, frozen=True):
    """How an amount is written: ``1.234,50`` has the decimal ``,`` and the thousands ``.``; in ``minor_units`` it is 123450."""

    decimal: str = "."
    thousands: str = ""
    minor_units: bool = False


class Values(msgspec.Struct, frozen=True):
    """Their value → ours. Others stay as they are, or are refused."""

    known: dict[str, str] = {}
    refuses_others: bool = False


class Map(msgspec.Struct, frozen=True):
    """A sound map. ``columns`` names their columns by our fields, ``constants`` are the same for every row, ``attributes`` are columns by
    the attribute's name, ``line_attributes`` likewise of an order's lines. ``by_line``: a row is a line of an order, and rows with one
    order id are one order. ``lines`` are the map's own lines by what stands there (``columns.visitor``)."""

    subject: Subject
    tenant_id: str
    columns: dict[str, tuple[str, ...]]
    constants: dict[str, str] = {}
    attributes: dict[str, str] = {}
    line_attributes: dict[str, str] = {}
    values: dict[str, Values] = {}
    times: Times = Times()
    money: MoneyForm = MoneyForm()
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    skip_lines: int = 0
    by_line: bool = False
    unknown_affiliates: Unknown = "refuse"
    lines: dict[str, int] = {}

    def has(self, field: str) -> bool:
        """True where a column or a constant fills a field."""
        return field in self.columns or field in self.constants

    def line_of(self, *names: str) -> int:
        """The map's line where the first of the names stands; 1 where none does."""
        return next((self.lines[name] for name in names if name in self.lines), 1)

    @property
    def used(self) -> tuple[str, ...]:
        """Every column of the file that the map reads, each once."""
        joined = (name for names in self.columns.values() for name in names)
        zones = (self.times.zone_column,) if self.times.zone_column else ()
        return tuple(dict.fromkeys((*joined, *self.attributes.values(), *self.line_attributes.values(), *zones)))


def read_map(text: str, subject: Subject) -> tuple[Map | None, list[Fault]]:
    """Read a map for a command that imports ``subject``. The map, or every fault with its line."""
    tables, faults = read_tables(text)
    draft = _Draft(subject, faults)
    for table in tables:
        draft.take(table)
    found = draft.finish()
    return (None, sorted(faults)) if faults else (found, [])


def place_columns(map_: Map, header: Sequence[str]) -> tuple[dict[str, int], list[Fault]]:
    """The position of each column that the map uses, or what the file's first line lacks or says twice."""
    faults = []
    for name in map_.used:
        times = header.count(name)
        if times != 1:
            line = map_.line_of(f"column {name}")
            faults.append(
                Fault(
                    line, f"the file has {times} columns {name!r}; a map can use only one that is alone" if times else _absent(name, header)
                )
            )
    return {name: header.index(name) for name in map_.used if name in header}, sorted(faults)


def suggest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: the nearest one, or all where they are few."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(names[:40])}" if names else ""


def zone_of(name: str) -> ZoneInfo | None:
    """A zone of the IANA's list, None where there is none of that name."""
    return ZoneInfo(name) if name in _zones() else None


@lru_cache(1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _absent(name: str, header: Sequence[str]) -> str:
    return f"the file has no column {name!r}{suggest(name, header)}"


# --- reading ---------------------------------------------------------------------------------------------------------


class _Draft:
    """The tables of a map, taken one after the other; faults are told at their lines."""

    def __init__(self, subject: Subject, faults: list[Fault]) -> None:
        self._subject = subject
        self._faults = faults
        self._fields = FIELDS[subject]
        self._lines: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._settings: dict[str, Any] = {}
        self._columns: dict[str, tuple[str, ...]] = {}
        self._constants: dict[str, str] = {}
        self._attributes: dict[str, str] = {}
        self._line_attributes: dict[str, str] = {}
        self._values: dict[str, Values] = {}
        self._times = Times()
        self._money = MoneyForm()
        self._readers = {
            "import": self._take_settings,
            "columns": self._take_columns,
            "constants": self._take_constants,
            "attributes": self._take_attributes,
            "line_attributes": self._take_line_attributes,
            "values": self._take_values,
            "times": self._take_times,
            "money": self._take_money,
        }

    def take(self, table: TomlTable) -> None:
        name = f"{table.name}.{table.part}" if table.part else table.name
        reader = self._readers.get(name)
        if reader is None:
            self._fault(table.line, f"[[{name}]] is no table of a map{suggest(name, self._readers)}")
            return
        if name in self._seen and name != "values":
            self._fault(table.line, f"[[{name}]] stands twice; its first is on line {self._seen[name]}")
            return
        self._seen.setdefault(name, table.line)
        reader(table)

    def finish(self) -> Map | None:
        """The map, where nothing was wrong."""
        if "import" not in self._seen:
            self._fault(1, "[[import]] is missing: it says what the file holds and whose it is")
        for field in _REQUIRED[self._subject]:
            if field not in self._columns and field not in self._constants:
                self._fault(self._seen.get("columns", 1), f"nothing fills {field}, which {self._subject} need")
        if self._subject == "orders":
            self._check_order()
        if self._subject == "touches" and not {"affiliate", "kind"} & (self._columns.keys() | self._constants.keys()):
            self._fault(self._seen.get("columns", 1), "nothing fills affiliate, and no kind says that the touches are paid or direct")
        self._check_times()
        if self._faults:
            return None
        return Map(
            self._subject,
            columns=self._columns,
            constants=self._constants,
            attributes=self._attributes,
            line_attributes=self._line_attributes,
            values=self._values,
            times=self._times,
            money=self._money,
            lines=self._lines,
            **self._settings,
        )

    def _fault(self, line: int, message: str) -> None:
        self._faults.append(Fault(line, message))

    def _check_order(self) -> None:
        filled = self._columns.keys() | self._constants.keys()
        line = self._seen.get("columns", 1)
        if not filled & {"net", "unit_price", "total"}:
            self._fault(line, "nothing fills net, unit_price or total: an order without an amount earns nothing")
        if "net" in filled and filled & {"unit_price", "line_discount"}:
            self._fault(line, "net stands beside unit_price or line_discount: a line has one or the other")
        if not filled & {"net", "unit_price"} and filled & {"discount", *LINE} - _SAID:
            self._fault(line, "an order by its total alone has one line and no discount of its own: map net or unit_price as well")
        if self._settings.get("by_line") and not filled & {"net", "unit_price"}:
            self._fault(line, "rows that are lines need net or unit_price: a total is the whole order's")

    def _check_times(self) -> None:
        times, line = self._times, self._seen.get("times", 1)
        if times.zone and times.zone_column:
            self._fault(line, "zone and zone_column: a time is in one or the other")
        is_custom = times.form not in ("iso", *_EPOCHS)
        if is_custom and "%z" not in times.form and not times.zone and not times.zone_column:
            self._fault(line, f"times written {times.form!r} do not say their zone: add zone or zone_column")
        if times.form in _EPOCHS and (times.zone or times.zone_column):
            self._fault(line, "seconds since 1970 have no zone: leave zone out")

    # --- one table each

    def _take_settings(self, table: TomlTable) -> None:
        take = _Keys(table, self._faults, self._lines)
        of = take.choice("of", SUBJECTS, "")
        if of and of != self._subject:
            self._fault(table.lines["of"], f"this map is for {of}; fairshare import {self._subject} needs one of its own")
        if not of and "of" not in table.values:
            self._fault(table.line, "[[import]] lacks of: touches, leads or orders")
        tenant = take.text("tenant", "")
        if not tenant and "tenant" not in table.values:
            self._fault(table.line, "[[import]] lacks tenant")
        rows = take.choice("rows", ("orders", "lines"), "orders")
        if self._subject != "orders" and "rows" in table.values:
            self._fault(table.lines["rows"], "rows is for orders alone")
        self._settings = {
            "tenant_id": tenant,
            "encoding": _encoding(take),
            "delimiter": take.letter("delimiter", ","),
            "quote": take.letter("quote", '"'),
            "skip_lines": take.number("skip_lines", 0, 1000),
            "by_line": rows == "lines",
            "unknown_affiliates": take.choice("unknown_affiliates", get_args(Unknown), "refuse"),
        }
        if self._settings["delimiter"] == self._settings["quote"]:
            self._fault(table.line, "delimiter and quote are the same character")
        take.end()

    def _take_columns(self, table: TomlTable) -> None:
        for field, value in table.values.items():
            line = table.lines[field]
            names = [value] if isinstance(value, str) else value
            if field not in self._fields:
                self._fault(line, f"{field} is nothing that {self._subject} have{suggest(field, self._fields)}")
            elif not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
                self._fault(line, f"{field}: {value!r:.60} is not the name of a column, nor a list of names")
            elif len(names) > 1 and field not in ("visitor", "coupons"):
                self._fault(line, f"{field}: only visitor and coupons are made of several columns")
            elif len(names) > MOST_JOINED:
                self._fault(line, f"{field}: {len(names)} columns; at most {MOST_JOINED} are joined")
            else:
                self._columns[field] = tuple(names)
                self._note(f"columns.{field}", line, *names)

    def _take_constants(self, table: TomlTable) -> None:
        for field, value in table.values.items():
            line = table.lines[field]
            if field not in self._fields:
                self._fault(line, f"{field} is nothing that {self._subject} have{suggest(field, self._fields)}")
            elif field in _NO_CONSTANT:
                self._fault(line, f"{field} cannot be the same for every row")
            elif not isinstance(value, str) or not value:
                self._fault(line, f"{field}: {value!r:.60} is not text in quotes")
            else:
                self._constants[field] = value
                self._note(f"constants.{field}", line)

    def _take_attributes(self, table: TomlTable) -> None:
        self._read_attributes(table, self._attributes, "an order")

    def _take_line_attributes(self, table: TomlTable) -> None:
        self._read_attributes(table, self._line_attributes, "a line")

    def _read_attributes(self, table: TomlTable, into: dict[str, str], whose: str) -> None:
        if self._subject != "orders":
            self._fault(table.line, f"[[{table.name}]] are of orders alone")
        if len(table.values) > MOST_ATTRIBUTES:
            self._fault(table.line, f"{len(table.values)} attributes; {whose} has at most {MOST_ATTRIBUTES}")
        for name, value in table.values.items():
            if not isinstance(value, str) or not value:
                self._fault(table.lines[name], f"{name}: {value!r:.60} is not the name of a column")
            elif not _ATTRIBUTE.fullmatch(name):
                self._fault(table.lines[name], f"{name} is no attribute's name: a-z first, then a-z, 0-9 and _, at most 32")
            else:
                if into is self._line_attributes and name in LINE_FIELDS:
                    self._fault(table.lines[name], f"{name} is no attribute of a line: map it in [[columns]]")
                into[name] = value
                self._note(f"{table.name}.{name}", table.lines[name], value)

    def _take_values(self, table: TomlTable) -> None:
        take = _Keys(table, self._faults, self._lines)
        field = take.choice("of", self._fields, "")
        others = take.choice("others", ("keep", "refuse"), "keep")
        pairs = table.values.get("map")
        line = table.lines.get("map", table.line)
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            self._fault(line, 'map is a list of pairs, theirs and ours: [["4711", "anna"], ["4712", "ben"]]')
            pairs = []
        take.done("map")
        take.end()
        known = dict(cast(list[tuple[str, str]], pairs))
        twice = sorted({theirs for theirs, _ in pairs if [one for one, _ in pairs].count(theirs) > 1}) if len(known) < len(pairs) else []
        for theirs in twice[:20]:
            self._fault(line, f"map says twice what {theirs!r:.60} is")
        if len(pairs) > MOST_VALUES:
            self._fault(line, f"{len(pairs)} values; a map has at most {MOST_VALUES} of a field")
        if not field and "of" not in table.values:
            self._fault(table.line, "[[values]] lacks of: the field whose values it maps")
        elif field in self._values:
            self._fault(table.line, f"the values of {field} are mapped twice")
        elif field:
            self._values[field] = Values(known, others == "refuse")
            self._note(f"values.{field}", table.line)

    def _take_times(self, table: TomlTable) -> None:
        take = _Keys(table, self._faults, self._lines)
        form, zone, column = take.text("format", "iso"), take.text("zone", ""), take.text("zone_column", "")
        if zone and zone_of(zone) is None:
            self._fault(table.lines["zone"], f"{zone!r:.60} is not a time zone such as Europe/Berlin{_near(zone)}")
        if form not in ("iso", *_EPOCHS) and not ("%d" in form or "%j" in form):
            self._fault(table.lines["format"], f"{form!r:.60} is neither iso, epoch_s, epoch_ms nor a format such as %d.%m.%Y %H:%M")
        self._times = Times(form, zone, column, cast(Ambiguous, take.choice("ambiguous", get_args(Ambiguous), "earlier")))
        if column:
            self._note("times.zone_column", table.lines["zone_column"], column)
        take.end()

    def _take_money(self, table: TomlTable) -> None:
        take = _Keys(table, self._faults, self._lines)
        decimal, thousands = take.choice("decimal", (".", ","), "."), take.choice("thousands", (".", ",", " ", "'", ""), "")
        if decimal == thousands:
            self._fault(table.line, "decimal and thousands are the same character")
        self._money = MoneyForm(decimal, thousands, take.flag("minor_units"))
        take.end()

    def _note(self, name: str, line: int, *columns: str) -> None:
        self._lines[name] = line
        for column in columns:
            self._lines.setdefault(f"column {column}", line)


class _Keys:
    """The keys of one table, each read once; :meth:`end` refuses those that nobody asked for."""

    def __init__(self, table: TomlTable, faults: list[Fault], lines: dict[str, int]) -> None:
        self._table = table
        self._faults = faults
        self._known: list[str] = []
        lines |= {f"{table.name}.{name}": line for name, line in table.lines.items() if table.name != "values"}

    def text(self, name: str, default: str) -> str:
        self._known.append(name)
        value = self._table.values.get(name, default)
        if isinstance(value, str):
            return value
        self._wrong(name, "text in quotes")
        return default

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        if value == default or value in choices:
            return value
        self._faults.append(Fault(self._table.lines[name], f"{name}: {value!r:.60} is not known{suggest(value, choices)}"))
        return default

    def letter(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if len(value) == 1 and value.isascii() and value not in "\r\n\0":
            return value
        self._wrong(name, "one character")
        return default

    def number(self, name: str, default: int, most: int) -> int:
        self._known.append(name)
        value = self._table.values.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
            return value
        self._wrong(name, f"a whole number up to {most}")
        return default

    def flag(self, name: str) -> bool:
        self._known.append(name)
        value = self._table.values.get(name, False)
        if not isinstance(value, bool):
            self._wrong(name, "true or false")
        return value is True

    def done(self, name: str) -> None:
        """A key that its reader took by itself."""
        self._known.append(name)

    def end(self) -> None:
        for name in self._table.values:
            if name not in self._known:
                self._faults.append(
                    Fault(self._table.lines[name], f"{name} is no key of [[{self._table.name}]]{suggest(name, self._known)}")
                )

    def wrong(self, name: str, message: str) -> None:
        self._faults.append(Fault(self._table.lines[name], f"{name}: {message}"))

    def _wrong(self, name: str, wanted: str) -> None:
        self.wrong(name, f"{self._table.values[name]!r:.60} is not {wanted}")


def _encoding(take: _Keys) -> str:
    """The codec by its own name; that of UTF-8 skips a byte order mark."""
    name = take.text("encoding", "utf-8")
    try:
        codec = codecs.lookup(name)
        "".encode(codec.name)  # codecs that are not of text (base64, rot13) refuse here
    except (LookupError, TypeError, UnicodeError):
        take.wrong("encoding", f"{name!r:.60} is not an encoding such as utf-8, utf-16 or windows-1252")
        return "utf-8"
    return "utf-8-sig" if codec.name == "utf-8" else codec.name


def is_wide(encoding: str) -> bool:
    """True where a character takes two bytes or four, and a byte by itself means nothing."""
    return encoding.startswith(_CODECS_OF_TWO_BYTES)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _near(zone: str) -> str:
    close = difflib.get_close_matches(zone, sorted(_zones()), n=1)
    return f"; did you mean {close[0]}?" if close else ""
