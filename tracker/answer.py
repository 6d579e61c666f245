"""What the tracker says: status, headers and body, written out once so that every server sends the same bytes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from core.errors import BadInput

Header = tuple[str, str]


class Answer(msgspec.Struct, frozen=True):
    """A response. Header names are lower case; ``content-length`` is always among them, so no server has to guess."""

    status: int
    headers: list[Header]
    body: bytes = b""


_NEVER_KEPT: list[Header] = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
_NEVER_FRAMED: list[Header] = [("x-frame-options", "DENY"), ("content-security-policy", "default-src 'none'; frame-ancestors 'none'")]
_REDIRECT: list[Header] = [
    ("cache-control", "no-store"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("content-length", "0"),
]
"""There is no body that a browser could misread or frame: what guards one is left out."""
_REDIRECT_LINES = "".join(f"{name}: {value}\r\n" for name, value in _REDIRECT)
_REDIRECT_HEADERS = len(_REDIRECT) + 1
PIXEL = bytes.fromhex(
    "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b",
)
"""The smallest transparent GIF of the trade: 1 x 1, 43 bytes."""

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{title}</title><h1>{title}</h1><p>{text}</p></html>\n"
)


def redirect(location: str, cookie: str = "") -> Answer:
    """302, never 301: browsers keep a 301, and later clicks would vanish. ``location`` is ASCII, built by us."""
    headers = [("location", location), *_REDIRECT]
    if cookie:
        headers.append(("set-cookie", cookie))
    return Answer(302, headers)


def header_lines(answer: Answer) -> str:
    """The headers as HTTP/1.1 writes them, each with its line's end."""
    headers = answer.headers
    if answer.status != 302:
        return "".join([f"{name}: {value}\r\n" for name, value in headers])
    # As :func:`redirect` made it: what stands between the location and the cookie is always the same.
    cookie = f"set-cookie: {headers[-1][1]}\r\n" if len(headers) > _REDIRECT_HEADERS else ""
    return f"location: {headers[0][1]}\r\n{_REDIRECT_LINES}{cookie}"


def pixel(status: int = 200, cookie: str = "", more: Sequence[Header] = ()) -> Answer:
    """The 43-byte GIF; with an error's status too, so that a shop's page never shows a broken image."""
    headers = [("content-type", "image/gif"), ("content-length", str(len(PIXEL))), *_NEVER_KEPT, *more]
    if cookie:
        headers.append(("set-cookie", cookie))
    return Answer(status, headers, PIXEL)


def page(status: int, title: str, text: str, more: Sequence[Header] = ()) -> Answer:
    """A small page for people. ``title`` and ``text`` are ours: nothing a visitor sent goes into them."""
    return _with_body(status, _PAGE.format(title=title, text=text).encode(), "text/html; charset=utf-8", [*_NEVER_FRAMED, *more])


def json_answer(status: int, content: Any, more: Sequence[Header] = ()) -> Answer:
    return _with_body(status, msgspec.json.encode(content) + b"\n", "application/json", more)


def text_answer(status: int, text: str, content_type: str = "text/plain; charset=utf-8") -> Answer:
    return _with_body(status, text.encode(), content_type, ())


def error(status: int, code: str, message: str, field: str = "", more: Sequence[Header] = ()) -> Answer:
    """``{"error": {"code", "message", "field"}}``; the codes are a closed list, in docs/tracking.md."""
    return json_answer(status, {"error": {"code": code, "message": message, "field": field}}, more)


def refusal(status: int, faults: Sequence[BadInput]) -> Answer:
    """The first fault as ``error``; where there are several, all of them as ``errors`` beside it."""
    listed = [{"code": fault.code, "message": str(fault), "field": fault.field} for fault in faults]
    return json_answer(status, {"error": listed[0]} if len(listed) == 1 else {"error": listed[0], "errors": listed})


def unavailable(message: str, retry_after_s: int) -> Answer:
    """503: nothing was recorded, and the same request may be repeated."""
    return error(503, "unavailable", message, more=[("retry-after", str(retry_after_s))])


def not_found() -> Answer:
    return page(404, "No such link", "This link does not exist. Please check the address, or ask the site that showed it to you.")


def _with_body(status: int, body: bytes, content_type: str, more: Sequence[Header]) -> Answer:
    return Answer(status, [("content-type", content_type), ("content-length", str(len(body))), *_NEVER_KEPT, *more], body)
