"""Destinations: where a visitor may be sent. Parsed once, checked, and rebuilt from the parts that were checked.

A browser never sees a text that somebody else wrote: what passes here is put together again from a lower-case ASCII host
and percent-encoded parts (RFC 3986), so that no second parser can read it differently.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_plus

import msgspec

from tracker.hit import Pair

URL_CHARS = 2048
LOCATION_CHARS = 4096

_URL = re.compile(r"(https?)://([^/?#]+)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.IGNORECASE | re.DOTALL)
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_AUTHORITY = re.compile(r"([^:]+)(?::(\d{0,5}))?", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MACRO = re.compile(r"\{(\w*)\}")
_CLEAN = re.compile(r"(?:[A-Za-z0-9._~!$'()*+,;:@/?=-]|%[0-9A-Fa-f]{2})*")
_UNRESERVED = "-._~!$'()*+,;:@/"
_DEFAULT_PORT = {"http": "80", "https": "443"}


class Destination(msgspec.Struct, frozen=True):
    """A checked URL in parts, ready to be put together again for every click.

    ``base`` is all that comes before the query, ``tail`` all that comes after it. ``pieces`` are the query: each parameter's
    decoded name, and the piece as it is sent; ``names`` are these names, ``query`` the pieces joined. ``port`` is empty for
    the scheme's own. Where ``has_macros``, the pieces' values still hold ``{name}``.
    """

    scheme: str
    host: str
    port: str
    base: str
    pieces: tuple[tuple[str, str], ...]
    names: frozenset[str]
    query: str
    tail: str
    has_macros: bool


def read_destination(url: str) -> Destination | None:
    """A merchant's own URL, as a link or programme stores it; it may hold macros as query values. None: not usable."""
    return _read(url, macros=True)


def read_deep_link(url: str, hosts: Collection[tuple[str, str]], schemes: Collection[str]) -> Destination | None:
    """A URL that a visitor's request brought along, if it leads to one of ``hosts`` (:func:`read_host`); else None.

    A host is allowed where it equals a listed one or is a sub-domain of it, and its port is the listed one's.
    """
    destination = _read.__wrapped__(url, macros=False)  # not remembered: strangers would fill the memory
    if destination is None or destination.scheme not in schemes:
        return None
    host, port = destination.host, destination.port
    listed = any(port == allowed_port and (host == name or host.endswith("." + name)) for name, allowed_port in hosts)
    return destination if listed else None


def read_host(text: str) -> tuple[str, str] | None:
    """A programme's ``shop.example`` or ``shop.example:8443`` as (host, port); None where it is no host."""
    match = _AUTHORITY.fullmatch(text.strip())
    host = _ascii_host(match[1]) if match else None
    return None if match is None or host is None else (host, match[2] or "")


def merge(
    destination: Destination,
    parameter: str,
    click_id: str,
    extras: Sequence[Pair] = (),
    macros: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """The destination with the affiliate's extra parameters: ``(without, with)`` the click id.

    The destination's own parameters stay as they are and win over extras of the same name; a click id that was already
    there gives way to this one. Merging the result again changes nothing.
    """
    query, tail = destination.query, destination.tail
    if destination.has_macros or parameter in destination.names:
        query = _own_query(destination, parameter, macros or {})
    if extras:
        more = [_encode(raw) for name, _, raw in extras if name not in destination.names and name != parameter]
        query = "&".join([query, *more]) if query else "&".join(more)
    click = f"{_quoted(parameter)}={click_id}"
    if not query:
        return destination.base + tail, f"{destination.base}?{click}{tail}"
    without = f"{destination.base}?{query}"
    return without + tail, f"{without}&{click}{tail}"


def _own_query(destination: Destination, parameter: str, macros: Mapping[str, str]) -> str:
    """The destination's own query without the parameter that the click id takes, its macros filled in."""
    pieces = [piece for name, piece in destination.pieces if name != parameter]
    return "&".join([_substitute(piece, macros) for piece in pieces] if destination.has_macros else pieces)


@lru_cache(maxsize=16_384)
def _read(url: str, macros: bool) -> Destination | None:
    if len(url) > URL_CHARS or _REFUSED.search(url):
        return None
    match = _URL.fullmatch(url)
    authority = _AUTHORITY.fullmatch(match[2]) if match else None
    host = _ascii_host(authority[1]) if authority else None
    if match is None or authority is None or host is None:
        return None
    scheme = match[1].lower()
    port = (authority[2] or "").lstrip("0")
    if port and int(port) > 65_535:
        return None
    port = "" if port == _DEFAULT_PORT[scheme] else port
    query = match[4] or ""
    has_macros = macros and _MACRO.search(query) is not None
    pieces = tuple(_piece(piece, has_macros) for piece in query.split("&") if piece)
    fragment = _encode(match[5] or "")
    destination = Destination(
        scheme=scheme,
        host=host,
        port=port,
        base=f"{scheme}://{host}{':' if port else ''}{port}{_encode(match[3], query=False) or '/'}",
        pieces=pieces,
        names=frozenset(name for name, _ in pieces),
        query="&".join(piece for _, piece in pieces),
        tail=f"#{fragment}" if fragment else "",
        has_macros=has_macros,
    )
    return destination if len(merge(destination, "", "")[0]) <= URL_CHARS else None


def _ascii_host(text: str) -> str | None:
    """Lower-case ASCII, by IDNA where needed; whatever that mapping produced is checked again, letter by letter."""
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    host = text.lower().removesuffix(".")
    return host if len(host) <= 253 and _HOST.fullmatch(host) else None


def _piece(piece: str, has_macros: bool) -> tuple[str, str]:
    name, equals, value = piece.partition("=")
    decoded = unquote_plus(name)
    if not has_macros:
        return decoded, _encode(piece)
    # Braces are kept in the value alone: a macro is a value, never a name.
    return decoded, _encode(name) + equals + _encode(value, more="{}")


def _substitute(piece: str, macros: Mapping[str, str]) -> str:
    """Fill in macros, percent-encoded; an unknown one becomes empty."""
    filled = _MACRO.sub(lambda match: quote(macros.get(match[1], ""), safe=""), piece)
    return filled.replace("{", "%7B").replace("}", "%7D")


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return quote(name, safe="")


def _encode(text: str, query: bool = True, more: str = "") -> str:
    """Percent-encode what RFC 3986 does not allow here; what is encoded already stays as it is."""
    if _CLEAN.fullmatch(text):
        return text
    safe = _UNRESERVED + "?=&%" + more if query else _UNRESERVED + "=&%"
    return quote(_BARE_PERCENT.sub("%25", text), safe=safe)
