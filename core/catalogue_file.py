"""The catalogue as a file that people edit: TOML, one ``[[table]]`` a record, every error with its line and all at once.

docs/catalogue.md shows the format. Reading and writing are inverse: a written catalogue reads back equal, and writing
what was read gives the same bytes. Percents are text such as ``"7.5 %"``, amounts decimal text such as ``"5.00"``
in the tenant's currency, times RFC 3339 with a zone.
"""

from typing import Any

import msgspec

from core.catalogue import RECORD_KEYS, ApiKey, Catalogue, Coupon, Tenant
from core.catalogue_rules import flaws_of
from core.catalogue_tables import BY_TABLE, KINDS, Key, Kind, Part, required
from core.catalogue_values import Place, read_values, suggest, write_values
from core.flaws import Flaw, Known, known_of
from core.money import CURRENCIES
from core.toml_tables import Fault, TomlTable, read_tables, write_table


class Row(msgspec.Struct):
    """A table with its parts. ``record`` is None while, or where, it cannot be read."""

    kind: Kind
    table: TomlTable
    parts: list[TomlTable] = []
    record: Any = None


def read_catalogue(text: str, known: Catalogue | None = None) -> tuple[Catalogue, list[Fault]]:
    """Read a catalogue file. ``known`` is what its records may name beside each other: the books, for a part of a catalogue.

    Returns:
        The records without a fault, sorted by their ids, and every fault by line. Use the catalogue only where there
        is no fault.
    """
    tables, faults = read_tables(text)
    rows = _rows(tables, faults)
    currencies = {tenant.tenant_id: tenant.currency for tenant in (known.tenants if known else ())}
    for row in sorted(rows, key=lambda row: KINDS.index(row.kind)):
        row.record = _read_record(row, currencies, faults)
        if isinstance(row.record, Tenant) and row.record.currency in CURRENCIES:
            currencies[row.record.tenant_id] = row.record.currency
    rows = _without_duplicates(rows, faults)
    _check(rows, known or Catalogue(), faults)
    return _catalogue(rows), sorted(faults)


def record_lines(text: str) -> dict[tuple[Any, ...], int]:
    """The line of each record of a file without faults: ``("links", "spring-blog")`` leads to its ``[[link]]``."""
    tables, _ = read_tables(text)
    return {(row.kind.plural, *_identity(row)): row.table.line for row in _rows(tables, [])}


def write_catalogue(catalogue: Catalogue) -> str:
    """The file that reads back as ``catalogue``; keys that hold their default are left out."""
    currencies = {tenant.tenant_id: tenant.currency for tenant in catalogue.tenants}
    return "\n".join(
        _write_record(kind, record, currencies.get(getattr(record, "tenant_id", ""), ""))
        for kind in KINDS
        for record in getattr(catalogue, kind.plural)
    )


# --- reading ---------------------------------------------------------------------------------------------------------


def _rows(tables: list[TomlTable], faults: list[Fault]) -> list[Row]:
    """Group parts under the table they follow."""
    rows: list[Row] = []
    for table in tables:
        kind = BY_TABLE.get(table.name)
        if kind is None or (table.part and kind.part(table.part) is None):
            faults.append(Fault(table.line, _unknown_table(table)))
        elif not table.part:
            rows.append(Row(kind, table))
        elif not rows or rows[-1].kind is not kind:
            faults.append(Fault(table.line, f"[[{table.name}.{table.part}]] does not follow the [[{table.name}]] that it belongs to"))
        else:
            rows[-1].parts.append(table)
    return rows


def _unknown_table(table: TomlTable) -> str:
    names = [kind.table for kind in KINDS] + [f"{kind.table}.{part.table}" for kind in KINDS for part in kind.parts]
    name = f"{table.name}.{table.part}" if table.part else table.name
    return f"[[{name}]] is no table of a catalogue{suggest(name, names)}"


def _read_record(row: Row, currencies: dict[str, str], faults: list[Fault]) -> Any:
    before = len(faults)
    place = Place(_currency_of(row, currencies))
    values = _read_table(row.table, row.kind, place, faults)
    for part in row.kind.parts:
        records = tuple(_read_part(part, table, place, faults) for table in _tables_of(row, part))
        if records or part.field in required(row.kind.record):
            values[part.field] = records
    return row.kind.record(**values) if len(faults) == before else None


def _currency_of(row: Row, currencies: dict[str, str]) -> str:
    """A tenant's amounts are in the currency that its own table gives."""
    named = row.table.values.get("currency") if row.kind.record is Tenant else currencies.get(str(row.table.values.get("tenant", "")))
    return named if isinstance(named, str) and named in CURRENCIES else ""


def _read_part(part: Part, table: TomlTable, place: Place, faults: list[Fault]) -> Any:
    before = len(faults)
    values = _read_table(table, part, place, faults)
    return part.record(**values) if len(faults) == before else None


def _read_table(table: TomlTable, kind: Kind | Part, place: Place, faults: list[Fault]) -> dict[str, Any]:
    title = f"[[{table.name}.{table.part}]]" if table.part else f"[[{table.name}]]"
    values, slips = read_values(table.values, kind.keys, kind.record, title, place)
    faults += [Fault(_line(table, slip.path), slip.message) for slip in slips]
    return values


def _tables_of(row: Row, part: Part) -> list[TomlTable]:
    return [table for table in row.parts if table.part == part.table]


def _line(table: TomlTable, path: tuple[str | int, ...]) -> int:
    """The line of what a path leads to, or of the nearest table or key around it that has one."""
    names = [str(step) for step in path]
    lines = (table.lines.get(".".join(names[:length])) for length in range(len(names), 0, -1))
    return next((line for line in lines if line is not None), table.line)


# --- checking --------------------------------------------------------------------------------------------------------


def _key_names(kind: Kind) -> list[str]:
    """The keys of the file that identify a record of this kind."""
    by_field = {key.field: key.name for key in kind.keys}
    return [by_field[field] for field in RECORD_KEYS[kind.plural]]


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(row.table.values.get(name) for name in _key_names(row.kind))


def _without_duplicates(rows: list[Row], faults: list[Fault]) -> list[Row]:
    first: dict[tuple[Any, ...], Row] = {}
    kept: list[Row] = []
    for row in rows:
        identity = _identity(row)
        if not all(isinstance(part, str | int) for part in identity):
            kept.append(row)
            continue
        earlier = first.setdefault((row.kind.table, *identity), row)
        if earlier is row:
            kept.append(row)
        else:
            faults.append(Fault(row.table.line, _duplicate(row, earlier)))
    return kept


def _duplicate(row: Row, earlier: Row) -> str:
    where = f"the first is on line {earlier.table.line}"
    name = f"{row.kind.table} {' '.join(str(part) for part in _identity(row))}"
    owners = [one.table.values.get("affiliate") for one in (earlier, row)]
    if row.kind.record is Coupon and owners[0] != owners[1]:
        return f"{name} has two owners, {owners[0]} and {owners[1]}: a code credits one affiliate; {where}"
    return f"{name} stands twice; {where}"


def _check(rows: list[Row], known: Catalogue, faults: list[Fault]) -> None:
    """Add each record's flaws at the line of the key they are about; a record with a flaw is no record."""
    named = _named(rows, known)
    hashes: dict[str, int] = {}
    for row in rows:
        if row.record is None:
            continue
        flaws = flaws_of(row.record, named)
        if isinstance(row.record, ApiKey):
            flaws += _shared_hash(row.record, row.table.line, hashes)
        faults += [_fault(row, flaw) for flaw in flaws]
        if flaws:
            row.record = None


def _named(rows: list[Row], known: Catalogue) -> Known:
    """What records may name: a table that cannot be read whole still declares its id, so that one slip is one fault."""
    named = known_of(known)
    for row in rows:
        identity = _identity(row)
        # Only the kinds that others name have a place in Known; a single id stands there as plain text.
        index = getattr(named, row.kind.plural, None)
        if index is not None and all(isinstance(part, str) for part in identity):
            index[identity if len(identity) > 1 else identity[0]] = row.record
    return named


def _shared_hash(key: ApiKey, line: int, hashes: dict[str, int]) -> list[Flaw]:
    first = hashes.setdefault(key.key_hash, line)
    return [] if first == line else [Flaw("key_hash", f"is also that of the key on line {first}; every key has its own")]


def _fault(row: Row, flaw: Flaw) -> Fault:
    part = next((part for part in row.kind.parts if part.field == flaw.field), None)
    if part is None:
        name = _name_of(flaw.field, row.kind.keys)
        return Fault(row.table.lines.get(name, row.table.line), f"{name}: {flaw.message}")
    return Fault(_part_line(row, part, flaw), f"{row.kind.table}.{part.table}: {flaw.message}")


def _part_line(row: Row, part: Part, flaw: Flaw) -> int:
    """The line of what the flaw's path leads to: a part, a key of it, or a table within its value."""
    if not flaw.path:
        return row.table.line
    index, *within = flaw.path
    assert isinstance(index, int), f"the path of a flaw of {flaw.field} begins with the number of the part"
    field = [_name_of(str(step), part.keys) for step in within[:1]]
    return _line(_tables_of(row, part)[index], (*field, *within[1:]))


def _name_of(field: str, keys: tuple[Key, ...]) -> str:
    """The key of the file that fills a record's field."""
    return next(key.name for key in keys if key.field == field)


def _catalogue(rows: list[Row]) -> Catalogue:
    records: dict[str, tuple[Any, ...]] = {}
    for kind in KINDS:
        found = [row.record for row in rows if row.kind is kind and row.record is not None]
        records[kind.plural] = tuple(sorted(found, key=lambda record: [getattr(record, field) for field in RECORD_KEYS[kind.plural]]))
    return Catalogue(**records)


# --- writing ---------------------------------------------------------------------------------------------------------


def _write_record(kind: Kind, record: Any, currency: str) -> str:
    place = Place(currency)
    blocks = [write_table(kind.table, write_values(kind.keys, record, place))]
    for part in kind.parts:
        for one in getattr(record, part.field):
            blocks.append(write_table(f"{kind.table}.{part.table}", write_values(part.keys, one, place)))
    return "\n".join(blocks)
