"""The catalogue as a file that people edit: TOML, one ``[[table]]`` a record, every error with its line and all at once.

docs/catalogue.md shows the format. Reading and writing are inverse: a written catalogue reads back equal, and writing
what was read gives the same bytes. Percents are text such as ``"7.5 %"``, fixed amounts decimal text such as ``"5.00"``
in the tenant's currency, times RFC 3339 with a zone.
"""

import difflib
import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, Literal, get_args

import msgspec

from core.catalogue import (
    RECORD_KEYS,
    Affiliate,
    ApiKey,
    Catalogue,
    Coalition,
    CoalitionMember,
    Condition,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Segment,
    Store,
    Tenant,
    TouchWindow,
    User,
)
from core.catalogue_rules import flaws_of
from core.clock import as_datetime, instant_of
from core.errors import BadInput
from core.flaws import Flaw, Known, known_of
from core.money import CURRENCIES, format_amount, parse_amount
from core.toml_tables import Fault, TomlTable, read_tables, write_table

Form = Literal["text", "number", "flag", "texts", "instant", "percent", "amount"]

_PERCENT = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))? ?%", re.ASCII)
_LIMIT = 1 << 53


class Key(msgspec.Struct, frozen=True):
    """A key of a table: its name in the file, the record's field, and how its value is written."""

    name: str
    field: str
    form: Form = "text"


class Kind(msgspec.Struct, frozen=True):
    """A table of the file. ``part`` names the table of its parts (``[[policy.class]]``), which fill ``part_field``."""

    table: str
    plural: str
    record: type
    keys: tuple[Key, ...]
    part: str = ""
    part_field: str = ""
    part_record: type = type(None)
    part_keys: tuple[Key, ...] = ()


_TENANT = Key("tenant", "tenant_id")
_PROGRAMME = Key("programme", "programme_id")
_AFFILIATE = Key("affiliate", "affiliate_id")
_VERSION = (_TENANT, _PROGRAMME, Key("version", "version", "number"), Key("effective_from", "effective_from", "instant"))


def _same(*names: str, form: Form = "text") -> tuple[Key, ...]:
    return tuple(Key(name, name, form) for name in names)


_CAPS = (*_same("daily_click_cap", "total_click_cap", form="number"), *_same("fallback_url"))

KINDS: tuple[Kind, ...] = (
    Kind(
        "tenant",
        "tenants",
        Tenant,
        (Key("id", "tenant_id"), *_same("name", "currency", "time_zone", "click_parameter"), *_same("lapsed_after_days", form="number")),
    ),
    Kind("store", "stores", Store, (_TENANT, Key("id", "store_id"), *_same("name", "channel", "segment", "host"))),
    Kind(
        "segment",
        "segments",
        Segment,
        (_TENANT, Key("id", "segment_id"), Key("name", "name")),
        part="condition",
        part_field="conditions",
        part_record=Condition,
        part_keys=(Key("field", "field"), Key("values", "values", "texts")),
    ),
    Kind(
        "programme",
        "programmes",
        Programme,
        (
            *(_TENANT, Key("id", "programme_id"), *_same("name", "landing_url"), *_same("hosts", "stores", "segments", form="texts")),
            *(*_same("starts_at", "ends_at", form="instant"), *_CAPS),
        ),
    ),
    Kind("affiliate", "affiliates", Affiliate, (Key("id", "affiliate_id"), *_same("name", "email", "website", "account_holder", "iban"))),
    Kind(
        "membership",
        "memberships",
        Membership,
        (
            *(_TENANT, _PROGRAMME, _AFFILIATE, Key("status", "status")),
            *(*_same("applied_at", "approved_at", "suspended_at", form="instant"), *_same("software", form="flag")),
        ),
    ),
    Kind(
        "link",
        "links",
        Link,
        (
            *(Key("code", "code"), _TENANT, _PROGRAMME, _AFFILIATE),
            *(*_same("destination", "name", "channel"), *_same("disabled", form="flag"), *_CAPS),
        ),
    ),
    Kind(
        "coupon",
        "coupons",
        Coupon,
        (
            *(_TENANT, Key("code", "code"), _PROGRAMME, _AFFILIATE),
            *(*_same("valid_from", "valid_to", form="instant"), *_same("exclusive", form="flag")),
        ),
    ),
    Kind(
        "policy",
        "policies",
        Policy,
        (
            *(*_VERSION, *_same("segment", "model"), Key("first", "first_bps", "percent"), Key("last", "last_bps", "percent")),
            *(*_same("half_life_hours", form="number"), Key("introducer", "introducer_bps", "percent")),
            *(Key("closer", "closer_bps", "percent"), *_same("coupon_rule"), Key("coupon_share", "coupon_bps", "percent")),
            *(*_same("guard_exclusive_codes", form="flag"), *_same("paid_rule"), *_same("paid_media", form="texts")),
            *(*_same("paid_recent", form="number"), *_same("direct_rule", "self_referral")),
            *_same("min_seconds_to_order", "stand_down_minutes", "lock_days", form="number"),
        ),
        part="class",
        part_field="classes",
        part_record=TouchWindow,
        part_keys=(Key("touch", "touch"), Key("window_hours", "window_hours", "number"), Key("tied", "tied", "flag")),
    ),
    Kind(
        "rate_card",
        "rate_cards",
        RateCard,
        (*_VERSION, Key("hold_days", "hold_days", "number")),
        part="rule",
        part_field="rules",
        part_record=Rule,
        part_keys=(
            Key("id", "rule_id"),
            Key("priority", "priority", "number"),
            Key("percent", "percent_bps", "percent"),
            Key("fixed", "fixed_minor", "amount"),
            Key("per", "per"),
            *_same("categories", "skus", form="texts"),
            Key("customer_status", "customer_status"),
            Key("segments", "segments", "texts"),
        ),
    ),
    Kind(
        "user",
        "users",
        User,
        (*_same("email", "name", "role", "password_hash"), _TENANT, _AFFILIATE, *_same("disabled", form="flag")),
    ),
    Kind("api_key", "api_keys", ApiKey, (Key("id", "key_id"), _TENANT, Key("name", "name"), Key("hash", "key_hash"))),
    Kind(
        "coalition",
        "coalitions",
        Coalition,
        (Key("id", "coalition_id"), Key("name", "name"), Key("classes", "classes", "texts"), Key("marketplace", "marketplace_id")),
        part="member",
        part_field="members",
        part_record=CoalitionMember,
        part_keys=(_TENANT, *_same("joined_at", "left_at", form="instant")),
    ),
)
"""The file's tables, in the order in which they are written: what is named comes before what names it."""

_BY_TABLE = {kind.table: kind for kind in KINDS}


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


# --- reading ---------------------------------------------------------------------------------------------------------


def _rows(tables: list[TomlTable], faults: list[Fault]) -> list[Row]:
    """Group parts under the table they follow."""
    rows: list[Row] = []
    for table in tables:
        kind = _BY_TABLE.get(table.name)
        if kind is None or (table.part and table.part != kind.part):
            faults.append(Fault(table.line, _unknown_table(table)))
        elif not table.part:
            rows.append(Row(kind, table))
        elif not rows or rows[-1].kind is not kind:
            faults.append(Fault(table.line, f"[[{table.name}.{table.part}]] does not follow the [[{table.name}]] that it belongs to"))
        else:
            rows[-1].parts.append(table)
    return rows


def _unknown_table(table: TomlTable) -> str:
    names = [kind.table for kind in KINDS] + [f"{kind.table}.{kind.part}" for kind in KINDS if kind.part]
    name = f"{table.name}.{table.part}" if table.part else table.name
    return f"[[{name}]] is no table of a catalogue{_suggest(name, names)}"


def _suggest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def _read_record(row: Row, currencies: dict[str, str], faults: list[Fault]) -> Any:
    before = len(faults)
    currency = currencies.get(str(row.table.values.get("tenant", "")), "")
    values = _read_values(row.table, row.kind.keys, row.kind.record, currency, faults)
    if row.parts:
        parts = [_read_part(row.kind, part, currency, faults) for part in row.parts]
        values[row.kind.part_field] = tuple(parts)
    elif row.kind.part and row.kind.part_field in _required(row.kind.record):
        values[row.kind.part_field] = ()
    return row.kind.record(**values) if len(faults) == before else None


def _read_part(kind: Kind, part: TomlTable, currency: str, faults: list[Fault]) -> Any:
    before = len(faults)
    values = _read_values(part, kind.part_keys, kind.part_record, currency, faults)
    return kind.part_record(**values) if len(faults) == before else None


def _read_values(table: TomlTable, keys: tuple[Key, ...], record: type, currency: str, faults: list[Fault]) -> dict[str, Any]:
    by_name = {key.name: key for key in keys}
    values: dict[str, Any] = {}
    for name, value in table.values.items():
        key = by_name.get(name)
        if key is None:
            faults.append(Fault(table.lines[name], f"{name} is no key of {_title(table)}{_suggest(name, list(by_name))}"))
            continue
        try:
            values[key.field] = _READ[key.form](value, currency)
        except BadInput as error:
            faults.append(Fault(table.lines[name], f"{name}: {error}"))
    missing = [key.name for key in keys if key.field in _required(record) and key.name not in table.values]
    if missing:
        faults.append(Fault(table.line, f"{_title(table)} lacks {', '.join(missing)}"))
    return values


def _title(table: TomlTable) -> str:
    return f"[[{table.name}.{table.part}]]" if table.part else f"[[{table.name}]]"


@cache
def _required(record: type) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(record) if field.required)


def _wrong(value: Any, wanted: str) -> BadInput:
    return BadInput("malformed", f"{value!r:.60} is not {wanted}")


def _read_text(value: Any, _currency: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "text in quotes")
    return value


def _read_number(value: Any, _currency: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LIMIT:
        raise _wrong(value, "a whole number")
    return value


def _read_flag(value: Any, _currency: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return value


def _read_texts(value: Any, _currency: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(value, 'a list of texts such as ["a", "b"]')
    return tuple(value)


def _read_instant(value: Any, _currency: str) -> int:
    """Digits beyond milliseconds are cut."""
    if not isinstance(value, datetime):
        raise _wrong(value, "a time such as 2026-11-21T20:15:00Z, without quotes")
    return instant_of(value, value.isoformat())


def _read_percent(value: Any, _currency: str) -> int:
    if not isinstance(value, str):
        raise _wrong(value, "a percentage in quotes such as '7.5 %'")
    return parse_percent(value)


def _read_amount(value: Any, currency: str) -> int:
    if not isinstance(value, str):
        raise _wrong(value, "an amount in quotes such as '5.00'")
    # Without a tenant there is no currency to count decimals in; the unknown tenant is the fault that is told.
    return parse_amount(value, currency, "fixed") if currency else 0


_READ: dict[Form, Callable[[Any, str], Any]] = {
    "text": _read_text,
    "number": _read_number,
    "flag": _read_flag,
    "texts": _read_texts,
    "instant": _read_instant,
    "percent": _read_percent,
    "amount": _read_amount,
}


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
    by_field = {key.field: key.name for key in row.kind.keys} | {row.kind.part_field: row.kind.part}
    name = by_field[flaw.field]
    if flaw.field == row.kind.part_field:
        return Fault(_part_line(row, flaw), f"{row.kind.table}.{name}: {flaw.message}")
    return Fault(row.table.lines.get(name, row.table.line), f"{name}: {flaw.message}")


def _part_line(row: Row, flaw: Flaw) -> int:
    """The last part that the message names, or the table itself where it names none."""
    identifier = row.kind.part_keys[0].name
    lines = [part.line for part in row.parts if re.search(rf"(?<![\w-]){re.escape(str(part.values[identifier]))}(?![\w-])", flaw.message)]
    return max(lines, default=row.table.line)


def _catalogue(rows: list[Row]) -> Catalogue:
    records: dict[str, tuple[Any, ...]] = {}
    for kind in KINDS:
        found = [row.record for row in rows if row.kind is kind and row.record is not None]
        records[kind.plural] = tuple(sorted(found, key=lambda record: [getattr(record, field) for field in RECORD_KEYS[kind.plural]]))
    return Catalogue(**records)


# --- writing ---------------------------------------------------------------------------------------------------------


def _write_record(kind: Kind, record: Any, currency: str) -> str:
    blocks = [write_table(kind.table, _write_values(kind.keys, record, currency))]
    for part in getattr(record, kind.part_field) if kind.part else ():
        blocks.append(write_table(f"{kind.table}.{kind.part}", _write_values(kind.part_keys, part, currency)))
    return "\n".join(blocks)


def _write_values(keys: tuple[Key, ...], record: Any, currency: str) -> dict[str, Any]:
    kind: type = type(record)
    defaults = _defaults(kind)
    values = {key: getattr(record, key.field) for key in keys}
    return {
        key.name: _write_value(key.form, value, currency)
        for key, value in values.items()
        if value != defaults.get(key.field, msgspec.NODEFAULT)
    }


@cache
def _defaults(record: type) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(record) if not field.required}


def _write_value(form: Form, value: Any, currency: str) -> Any:
    if form == "instant":
        return as_datetime(value)
    if form == "percent":
        return format_percent(value)
    return format_amount(value, currency) if form == "amount" else value


assert set(_READ) == set(get_args(Form)), "every form can be read"
