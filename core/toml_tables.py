"""TOML read statement by statement, so that every table and key knows its line and one slip hides no other.

The standard library's reader stops at the first error and keeps no positions. Here the text is cut into statements (a
header, or ``key = value`` over one or more lines), and each statement is read by that reader. Only what a flat file of
records needs is taken: ``[[name]]`` and ``[[name.part]]``.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""' r"|'''.*?'''" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|\#[^\n]*" r"|[^\"'\#\n\[\]{}]+" r"|.", re.DOTALL
)
_HEADER = re.compile(r"\[\[\s*([A-Za-z0-9_-]+)(?:\s*\.\s*([A-Za-z0-9_-]+))?\s*\]\]\s*(?:#.*)?")
_FRESH_LINE = re.compile(r"[ \t]*(?:\[\[?[ \t]*[A-Za-z_][\w.-]*[ \t]*\]\]?[ \t]*(?:#[^\n]*)?(?:\n|\Z)|[A-Za-z0-9_-]+[ \t]*=)")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing wrong in a file, at a line counted from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class TomlTable(msgspec.Struct):
    """``[[name]]`` or ``[[name.part]]`` at ``line``. ``values`` and ``lines`` are by key.

    ``lines`` knows the tables within a value too, by their paths: ``when.all.1`` for the second of ``when = { all = [{ … }, { … }] }``.
    """

    name: str
    part: str
    line: int
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}


def read_tables(text: str) -> tuple[list[TomlTable], list[Fault]]:
    """Every table in file order, and every statement that is not TOML. Keys under a broken header are left out."""
    tables: list[TomlTable] = []
    faults: list[Fault] = []
    current: TomlTable | None = None
    for line, statement in _statements(text.replace("\r\n", "\n")):
        if statement.startswith("["):
            current = _read_header(statement, line, faults)
            tables += [current] if current else []
        elif current is not None:
            _read_pair(statement, line, current, faults)
        elif not tables and not faults:
            faults.append(Fault(line, "a key stands before the first table; begin with a header such as [[tenant]]"))
    return tables, faults


def write_table(header: str, values: dict[str, Any]) -> str:
    """``[[header]]`` and one line a key. Values are text, whole numbers, flags, instants with a zone, dicts of them, or tuples.

    A list of tables has a line for each.
    """
    return "\n".join([f"[[{header}]]", *(f"{key} = {_written(value)}" for key, value in values.items())]) + "\n"


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """First line and text of each header or pair; an array may span lines, a blank or a comment is no statement."""
    depth, line, begin, parts = 0, 1, 1, list[str]()
    for token in _TOKEN.finditer(text + "\n"):
        # An array that was never closed must not swallow what follows: a new header or key ends it.
        if token[0] == "\n" and (depth <= 0 or _FRESH_LINE.match(text, token.end())):
            statement = "".join(parts).strip()
            if statement and not statement.startswith("#"):
                yield begin, statement
            depth, begin, parts = 0, line + 1, []
        depth += (token[0] in "[{") - (token[0] in "]}")
        line += token[0].count("\n")
        parts.append(token[0])


def _read_header(statement: str, line: int, faults: list[Fault]) -> TomlTable | None:
    match = _HEADER.fullmatch(statement)
    if match is None:
        faults.append(Fault(line, f"{_first_line(statement)!r} is not a table header such as [[link]]"))
        return None
    return TomlTable(match[1], match[2] or "", line)


def _read_pair(statement: str, line: int, table: TomlTable, faults: list[Fault]) -> None:
    try:
        ((key, value),) = tomllib.loads(statement).items()
        inner = list(_tables_within(key, value))
    except RecursionError:
        faults.append(Fault(line, f"{_first_line(statement)!r} holds too many lists or tables within one another"))
        return
    except ValueError as error:
        reason = _POSITION.sub("", str(error))
        found = _POSITION.search(str(error))
        at = line + int(found[1]) - 1 if found and found[1] else line
        faults.append(Fault(at, f"{_first_line(statement)!r} is not TOML: {reason}"))
        return
    if key in table.values:
        faults.append(Fault(line, f"{key} stands twice in this table; its first is on line {table.lines[key]}"))
        return
    begins = [line + statement.count("\n", 0, token.start()) for token in _TOKEN.finditer(statement) if token[0] == "{"]
    if len(inner) == len(begins):  # keys with dots make tables that have no brace: then only the line of the key is known
        table.lines |= zip(inner, begins, strict=True)
    table.values[key] = value
    table.lines[key] = line


def _tables_within(path: str, value: Any) -> Iterator[str]:
    """The path of each table in a value, in the order of their braces."""
    if isinstance(value, dict):
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from _tables_within(f"{path}.{name}", one)


def _first_line(statement: str) -> str:
    line = statement.splitlines()[0]
    return line if len(line) <= 60 else line[:57] + "..."


def _written(value: Any, depth: int = 0) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000Z", "Z")
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_written(one, depth)}' for key, one in value.items())} }}"
    assert isinstance(value, tuple), f"no TOML for a {type(value).__name__} in a catalogue"
    if any(isinstance(item, dict) for item in value):
        rows = "".join(f"{'    ' * (depth + 1)}{_written(item, depth + 1)},\n" for item in value)
        return f"[\n{rows}{'    ' * depth}]"
    return f"[{', '.join(_written(item) for item in value)}]"
