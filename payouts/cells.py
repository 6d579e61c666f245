"""CSV that no spreadsheet executes. Pure.

A cell that a spreadsheet would read as a formula gets a single quote in front (OWASP ASVS 1.2.10); numbers are left alone.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FORMULA = re.compile(r"\s*[=+\-@\t\r\n\x00＝＋－＠]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def neutral(text: str) -> str:
    """The text as a cell: quoted where it begins like a formula, full-width signs included, and NUL removed."""
    if _NUMBER.fullmatch(text):
        return text
    return ("'" if _FORMULA.match(text) else "") + text.replace("\x00", "")


def csv_bytes(rows: Iterable[Sequence[str | int]]) -> bytes:
    """Rows as UTF-8 with CRLF (RFC 4180), every text cell neutral: the same rows give the same bytes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    for row in rows:
        writer.writerow([neutral(str(cell)) for cell in row])
    return file.getvalue().encode()
