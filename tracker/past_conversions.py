"""Rows of a foreign file as leads and orders: each becomes what a sender would have sent, and is read by the same rules. Pure.

So an order that is imported and one that is sent are the same order, down to the hash by which a repeat is known. Where a row is a
line, rows with one order id are one order, wherever they stand.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, get_args

import msgspec

from core.clock import Instant, format_instant
from core.errors import BadInput
from core.events import CHANNELS, Consent, CustomerStatus
from core.ids import derive
from core.money import format_amount, parse_amount
from tracker.conversion import EARLIEST, Arrival, Conversion, Refused
from tracker.mapping import CUSTOMER, LINE, Map, Values
from tracker.orders import read_lead, read_order
from tracker.past_touches import Digests, Ground, Visitors, without_nobodies
from tracker.readings import Bad, Clockwork, Reading, decimal_text, word
from tracker.sheet import RowFault, unreadable

_AMOUNTS = ("shipping", "tax", "discount", "total")
_LINE_AMOUNTS = {"net": "net", "unit_price": "unit_price", "line_discount": "discount"}
_LINE_TEXTS = {"line_id": "line_id", "sku": "sku", "item": "name", "category": "category", "brand": "brand", "item_kind": "kind"}
_FIELD_OF_LINE = {theirs: ours for ours, theirs in (_LINE_AMOUNTS | _LINE_TEXTS | {"quantity": "quantity"}).items()}
_LINE_FAULT = re.compile(r"lines\[(\d+)\](?:\.(?:attributes\.)?(\w+))?")
_WHOLE = re.compile(r"(\d{1,9})(?:\.0+)?", re.ASCII)
_SEPARATORS = re.compile(r"[\s,;|]+")

Row = tuple[int, list[str]]
"""Its line in the file, and its cells."""


class Sale(msgspec.Struct, frozen=True):
    """A conversion as its rows say it. ``click_id`` is the file's own name of its click, empty where it has none."""

    conversion: Conversion
    rows: tuple[Row, ...]
    click_id: str = ""


class Sold(msgspec.Struct):
    """What rows became. ``skipped`` have a status that leaves them out; ``ambiguous`` and ``missing`` count times that a clock showed
    twice or never."""

    sales: list[Sale]
    faults: list[RowFault]
    skipped: int = 0
    ambiguous: int = 0
    missing: int = 0


class ConversionReader:
    """Reads the leads or orders of one file; it remembers what it has read before."""

    def __init__(self, map_: Map, places: dict[str, int], ground: Ground, order_programme: str = "") -> None:
        self._map = map_
        self._places = places
        self._ground = ground
        self._order_programme = order_programme
        self._clockwork = Clockwork(map_.times, EARLIEST, ground.now, ground.tolerance_ms)
        self._visitors = Visitors(ground.key)
        self._digest = Digests(ground.key, "conversion").of
        self._words = {
            "channel": self._word("channel", CHANNELS),
            "consent": self._word("consent", get_args(Consent)),
            "customer_status": self._word("customer_status", get_args(CustomerStatus)),
            "status": self._word("status", ("take", "skip", "test") if map_.subject == "orders" else ("take", "skip")),
        }

    def read(self, groups: Iterable[Sequence[Row]]) -> Sold:
        """The conversions of groups of rows, and every fault of the others. Rows of a group are one order's."""
        sold = Sold([], [])
        for group in groups:
            rows = [row for row in group if self._words["status"][self._cell(row[1], "status")] != "skip"]
            sold.skipped += len(group) - len(rows)
            if rows:
                self._read_group(rows, sold)
        return sold

    def name_of(self, row: Sequence[str]) -> str:
        """The file's id of a row's lead or order."""
        return self._cell(row, "lead_id" if self._map.subject == "leads" else "order_id")

    # --- one of them

    def _read_group(self, rows: Sequence[Row], sold: Sold) -> None:
        faults: list[BadInput] = []
        content, at = self._content(rows, sold, faults)
        sale = None
        if content is not None and not faults:
            name = f"{self._map.subject}\x1f{self.name_of(rows[0][1])}"
            arrival = self._arrival(derive(at, self._digest(name)))
            try:
                read = read_order if self._map.subject == "orders" else read_lead
                sale = Sale(read(content, arrival), tuple(rows), content.get("click_id", ""))
            except Refused as refused:
                faults += refused.faults
        if sale is not None and not faults:
            sold.sales.append(sale)
            return
        sold.faults += [self._fault(fault, rows) for fault in faults]

    def _arrival(self, event_id: str) -> Arrival:
        ground = self._ground
        return Arrival(self._map.tenant_id, ground.key, event_id, ground.now, ground.tolerance_ms, "import", shares=ground.shares)

    def _content(self, rows: Sequence[Row], sold: Sold, faults: list[BadInput]) -> tuple[dict[str, Any] | None, Instant]:
        """The body that a sender would have sent, without what is empty; None where it cannot be made."""
        first = rows[0][1]
        self._check_text(rows, faults)
        self._check_agreement(rows, faults)
        at = self._time(first, sold, faults)
        if faults:
            return None, 0
        visitor = self._visitors.of([list(map(without_nobodies, self._cells(first, "visitor")))])[0] if self._map.has("visitor") else ""
        customer: dict[str, Any] = {("id" if field == "customer_id" else field): self._cell(first, field) for field in CUSTOMER}
        content: dict[str, Any] = {
            "occurred_at": format_instant(at),
            "channel": self._take_word(first, "channel", faults),
            "click_id": self._cell(first, "click_id"),
            "visitor_id": visitor,
        }
        if self._map.subject == "leads":
            self._take_word(first, "status", faults)
            content |= {"lead_id": self._cell(first, "lead_id"), "name": self._mapped(first, "name")}
        else:
            customer["status"] = self._take_word(first, "customer_status", faults)
            customer["attributes"] = _without_empty(
                {name: first[self._places[column]].strip() for name, column in self._map.attributes.items()}
            )
            content |= self._order(rows, faults)
        content["customer"] = _without_empty(customer)
        return _without_empty(content), at

    def _order(self, rows: Sequence[Row], faults: list[BadInput]) -> dict[str, Any]:
        first = rows[0][1]
        currency = self._mapped(first, "currency").upper()
        status = self._take_word(first, "status", faults)
        coupons = [code for cell in self._cells(first, "coupons") for code in _SEPARATORS.split(cell) if code]
        order = {
            "order_id": self._cell(first, "order_id"),
            "currency": currency,
            "store": self._mapped(first, "store"),
            "affiliate_id": self._affiliate(first, faults),
            "consent": self._take_word(first, "consent", faults),
            "coupons": coupons,
            "test": status == "test",
        }
        amounts = {field: self._amount(first, field, currency, faults) for field in _AMOUNTS}
        if faults:
            return order
        if self._map.has("net") or self._map.has("unit_price"):
            return order | amounts | {"lines": [self._line(cells, currency, faults) for _, cells in rows]}
        return order | amounts | {"lines": [self._whole(first, amounts, currency, faults)]}

    def _line(self, cells: Sequence[str], currency: str, faults: list[BadInput]) -> dict[str, Any]:
        line: dict[str, Any] = {theirs: self._mapped(cells, field) for field, theirs in _LINE_TEXTS.items()}
        line |= {theirs: self._amount(cells, field, currency, faults) for field, theirs in _LINE_AMOUNTS.items()}
        line["attributes"] = self._line_attributes(cells)
        quantity = self._cell(cells, "quantity")
        found = _WHOLE.fullmatch(quantity)
        line["quantity"] = int(found[1]) if found else quantity
        return _without_empty(line)

    def _line_attributes(self, cells: Sequence[str]) -> dict[str, Any]:
        return _without_empty({name: cells[self._places[column]].strip() for name, column in self._map.line_attributes.items()})

    def _whole(self, cells: Sequence[str], amounts: dict[str, str], currency: str, faults: list[BadInput]) -> dict[str, Any]:
        """One line for all, of what the total leaves without tax and shipping."""
        try:
            total, *others = [parse_amount(amounts[field] or "0", currency, field) for field in ("total", "tax", "shipping")]
        except BadInput as fault:
            faults.append(fault)
            return {}
        if not amounts["total"]:
            faults.append(BadInput("missing_field", "the cell is empty", "total"))
        line: dict[str, Any] = {theirs: self._mapped(cells, field) for field, theirs in _LINE_TEXTS.items() if field != "line_id"}
        line |= {"net": format_amount(total - sum(others), currency), "attributes": self._line_attributes(cells)}
        return _without_empty(line)

    # --- cells

    def _cell(self, cells: Sequence[str], field: str) -> str:
        names = self._map.columns.get(field)
        return cells[self._places[names[0]]].strip() if names else self._map.constants.get(field, "")

    def _cells(self, cells: Sequence[str], field: str) -> list[str]:
        return [cells[self._places[name]].strip() for name in self._map.columns.get(field, ())] or [self._map.constants.get(field, "")]

    def _mapped(self, cells: Sequence[str], field: str) -> str:
        cell, values = self._cell(cells, field), self._map.values.get(field)
        return values.known.get(cell, cell) if values else cell

    def _word(self, field: str, choices: Sequence[str]) -> Reading[str]:
        return Reading(word(field, self._map.values.get(field, Values()), choices))

    def _take_word(self, cells: Sequence[str], field: str, faults: list[BadInput]) -> str:
        found = self._words[field][self._cell(cells, field)]
        if isinstance(found, Bad):
            faults.append(BadInput("malformed", found.why, field))
            return ""
        return str(found)

    def _time(self, cells: Sequence[str], sold: Sold, faults: list[BadInput]) -> Instant:
        zone = self._map.times.zone_column
        clocked = self._clockwork.column([self._cell(cells, "occurred_at")], [cells[self._places[zone]].strip()] if zone else None)
        at = clocked.instants[0]
        if isinstance(at, Bad):
            faults.append(BadInput("malformed", at.why, "occurred_at"))
            return 0
        sold.ambiguous += clocked.ambiguous
        sold.missing += clocked.missing
        return int(at)

    def _amount(self, cells: Sequence[str], field: str, currency: str, faults: list[BadInput]) -> str:
        text = self._cell(cells, field)
        if not text:
            return ""
        try:
            return decimal_text(text, self._map.money, currency)
        except BadInput as fault:
            faults.append(BadInput(fault.code, str(fault), fault.field or field))
            return ""

    def _affiliate(self, cells: Sequence[str], faults: list[BadInput]) -> str:
        name = self._cell(cells, "affiliate")
        found = self._ground.affiliates.by_name[self._order_programme, name]
        if isinstance(found, Bad):
            faults.append(BadInput("inactive_affiliate", found.why, "affiliate"))
            return ""
        return str(found)

    # --- what no body would show

    def _check_text(self, rows: Sequence[Row], faults: list[BadInput]) -> None:
        for _, cells in rows:
            if all(cell.isascii() for cell in cells):
                continue
            for name in self._map.used:
                if flaw := unreadable(cells[self._places[name]], self._map.encoding):
                    faults.append(BadInput("malformed", f"the cell {flaw}", name))

    def _check_agreement(self, rows: Sequence[Row], faults: list[BadInput]) -> None:
        """What is the order's own must be the same on each of its rows, or empty."""
        if len(rows) == 1:
            return
        own = self._own_columns()
        for field, names in own:
            for name in names:
                place = self._places[name]
                said = {cells[place].strip() for _, cells in rows} - {""}
                if len(said) > 1:
                    lines = ", ".join(str(line) for line, _ in rows[:5])
                    faults.append(
                        BadInput("conflict", f"the order's rows (lines {lines}) do not agree on {name}: {sorted(said)!r:.80}", field)
                    )
        # The first row speaks for all: what it leaves empty, another may say.
        for place in {self._places[name] for _, names in own for name in names}:
            if not rows[0][1][place].strip():
                rows[0][1][place] = next((cells[place] for _, cells in rows if cells[place].strip()), "")

    def _own_columns(self) -> list[tuple[str, tuple[str, ...]]]:
        """What says something of the whole order, by field: its attributes and the zone of its time as well."""
        zone = self._map.times.zone_column
        columns = [(field, names) for field, names in self._map.columns.items() if field not in LINE]
        attributes = [(name, (column,)) for name, column in self._map.attributes.items()]
        return [*columns, *attributes, *([("occurred_at", (zone,))] if zone else [])]

    def _fault(self, fault: BadInput, rows: Sequence[Row]) -> RowFault:
        """A fault of the body as one of the row and the map's field that it came from."""
        found = _LINE_FAULT.match(fault.field)
        if found:
            line, cells = rows[min(int(found[1]), len(rows) - 1)]
            return RowFault(line, _FIELD_OF_LINE.get(found[2] or "", found[2] or ""), str(fault), tuple(cells))
        field = fault.field.removeprefix("customer.").removeprefix("attributes.")
        line, cells = rows[0]
        return RowFault(
            line, {"id": "customer_id", "visitor_id": "visitor", "affiliate_id": "affiliate"}.get(field, field), str(fault), tuple(cells)
        )


class Gathering:
    """Rows into groups of one order each, in memory that does not grow with the file.

    Args:
        name_of: the order id of a row.
        scattered: hashes of the ids whose rows do not stand together: they are kept to the end.
    """

    def __init__(self, name_of: Callable[[Sequence[str]], str], scattered: set[int]) -> None:
        self._name_of = name_of
        self._scattered = scattered
        self._kept: dict[str, list[Row]] = {}
        self._open: list[Row] = []
        self._open_name = ""

    def add(self, lines: Sequence[int], rows: Sequence[list[str]]) -> Iterator[list[Row]]:
        """The groups that these rows complete."""
        for name, group in groupby(zip(lines, rows, strict=True), key=lambda row: self._name_of(row[1])):
            if hash_of(name) in self._scattered:
                self._kept.setdefault(name, []).extend(group)
                continue
            if name != self._open_name and self._open:
                yield self._open
                self._open = []
            self._open_name = name
            self._open.extend(group)

    def rest(self) -> Iterator[list[Row]]:
        """The groups that only the file's end completes."""
        if self._open:
            yield self._open
        yield from self._kept.values()


def hash_of(name: str) -> int:
    """Sixty-four bits of an order id: of a million orders, two have the same once in 37 million files."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _without_empty(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value or (value == 0 and value is not False)}
