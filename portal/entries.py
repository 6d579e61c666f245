"""What people type on one line: several entries between commas, percentages."""

import re

from core.flaws import CONTROL
from portal.forms import Form

LONGEST_ENTRY = 255
_ENTRY = re.compile(r'\s*+(?:"((?:[^"]|"")*+)"\s*+|(?!")([^,]*+))(?:,|\Z)')


def read_entries(form: Form, field: str) -> tuple[str, ...]:
    """Entries between commas, exactly as they are: one that holds a comma, or begins or ends with a blank, stands in double quotes,
    a quote within it twice. Nothing between two commas is no entry; ``""`` is the empty one.
    """
    text = form.raw(field)
    entries = _split(text)
    if CONTROL.search(text):
        form.fault(field, "Line breaks and control characters are not taken here.")
    elif entries is None:
        form.fault(field, "A quotation mark is open, or is not followed by a comma. Within quotation marks, write it twice.")
    elif any(len(entry) > LONGEST_ENTRY for entry in entries):
        form.fault(field, f"One entry is longer than {LONGEST_ENTRY} characters; separate entries by commas.")
    return () if field in form.faults else tuple(entries or ())


def read_list(form: Form, field: str) -> tuple[str, ...]:
    """:func:`read_entries`, each trimmed and once; empty ones are left out."""
    return tuple(dict.fromkeys(trimmed for entry in read_entries(form, field) if (trimmed := entry.strip())))


def typed_list(entries: tuple[str, ...]) -> str:
    """The inverse of :func:`read_entries`."""
    return ", ".join(_quoted(entry) for entry in entries)


def plain_percent(bps: int) -> str:
    """Basis points as a person types them into a form: 1250 is ``"12.5"``, 800 is ``"8"``."""
    whole, rest = divmod(bps, 100)
    return f"{whole}.{rest:02d}".rstrip("0") if rest else str(whole)


def _split(text: str) -> list[str] | None:
    """None where a quotation mark is not closed."""
    entries, at = [], 0
    while at < len(text):
        match = _ENTRY.match(text, at)
        if match is None:
            return None
        if match[1] is not None:
            entries.append(match[1].replace('""', '"'))
        elif match[2].strip():
            entries.append(match[2].strip())
        at = match.end()
    return entries


def _quoted(entry: str) -> str:
    needed = not entry or "," in entry or entry.startswith('"') or entry != entry.strip()
    return '"' + entry.replace('"', '""') + '"' if needed else entry
