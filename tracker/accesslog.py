"""Lines of a web server's access log, in Apache's combined format. Pure.

``address ident user [time] "request" status bytes "referrer" "user agent"``, with ``\\"`` and ``\\xhh`` inside the quoted
fields, and ``-`` for a field that was not sent.
"""

import ipaddress
import re

import msgspec

LONGEST = 65_536

_COMBINED = re.compile(
    r"(?P<address>\S+) \S+ .*?\[[^\]]*\] "
    r'"(?:[^"\\]|\\.)*" (?:\d{3}|-) (?:\d+|-) '
    r'"(?P<referrer>(?:[^"\\]|\\.)*)" '
    # A server that cut the line cut its last field: what is there still counts.
    r'"(?P<user_agent>(?:[^"\\]|\\.)*)"?\s*'
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
_ESCAPED = {"b": "\b", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class LogLine(msgspec.Struct, frozen=True):
    """One request of the log, as far as a click needs it. Texts hold bytes as Latin-1; empty where the log has ``-``."""

    number: int
    address: str
    user_agent: str
    referrer: str


class Garbage(msgspec.Struct, frozen=True):
    """A line that was left out, and why."""

    line: int
    why: str


def read_line(number: int, raw: bytes) -> LogLine | Garbage:
    """Read line ``number`` (counted from 1) of a log."""
    if len(raw) > LONGEST:
        return Garbage(number, f"it is longer than {LONGEST} bytes")
    match = _COMBINED.fullmatch(raw.decode("latin-1").rstrip("\r\n"))
    if match is None:
        return Garbage(number, "it is not in the combined log format")
    try:
        address = str(ipaddress.ip_address(match["address"]))
    except ValueError:
        return Garbage(number, f"{match['address']!r:.80} is not an address")
    return LogLine(number, address, _field(match["user_agent"]), _field(match["referrer"]))


def _field(text: str) -> str:
    """A quoted field as it was sent, without control characters, which no header may hold."""
    if text == "-":
        return ""
    return _CONTROL.sub(" ", _ESCAPE.sub(_unescape, text)).strip()


def _unescape(match: re.Match[str]) -> str:
    letter = match[1]
    return chr(int(letter[1:], 16)) if len(letter) == 3 else _ESCAPED.get(letter, letter)
