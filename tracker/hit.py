"""A hit: one request as read, the same whichever server it came through."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from core.errors import SettingsError

USER_AGENT_CHARS = 1024
REFERRER_CHARS = 2048
PAIRS = 100
ADDRESS_CHARS = 128
UNREADABLE = "(unreadable)"

Pair = tuple[str, str, str]
"""A query parameter: its name and value decoded, and the piece of the query as it stood."""

HEADERS_READ = (
    "user-agent", "referer", "cookie", "x-forwarded-for", "x-forwarded-proto", "sec-fetch-dest", "sec-purpose", "purpose", "x-moz",
    "x-purpose", "sec-gpc", "authorization", "content-type", "content-length",
)  # fmt: skip
"""All that :func:`read_hit` looks at."""

TEXT_HEADERS = ("user-agent", "referer", "cookie", "x-forwarded-for")
"""Of these, a value that cannot be read is named all the same."""
_OTHERS = ("accept", "accept-language", "accept-encoding", "upgrade-insecure-requests", "sec-fetch-mode", "sec-fetch-site",
    "sec-fetch-user", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "cache-control", "pragma", "dnt", "priority")  # fmt: skip
_NAMES = {spelling.encode(): name for name in (*HEADERS_READ, "host", "expect", "connection") for spelling in (name, name.title())}
_NAMES |= {spelling.encode(): "" for name in _OTHERS for spelling in (name, name.title())}
"""The headers that matter, and those that browsers send beside them, as most clients spell them."""


_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+|\[([^\]]*)\](?::\d+)?")


class Hit(msgspec.Struct, frozen=True):
    """What the tracker uses of a request. Header texts are cut to their limits; ``flags`` says which ones were.

    ``purpose`` is what a browser says of a request that no person made yet, under any of the names for it.
    """

    method: str
    path: str
    query: str
    address: str
    scheme: str
    user_agent: str = ""
    referrer: str = ""
    cookie: str = ""
    fetch_dest: str = ""
    purpose: str = ""
    privacy_control: bool = False
    authorization: str = ""
    content_type: str = ""
    content_length: int = 0
    flags: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The parameters of the query (:func:`read_pairs`), read anew each time: clicks that are alike never need them."""
        return read_pairs(self.query)

    def first(self, name: str) -> str:
        """The first value of a query parameter, or empty."""
        for key, value, _ in self.pairs:
            if key == name:
                return value
        return ""


class Proxies:
    """The peers whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed: addresses and networks."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._known: dict[str, bool] = {}
        faults = []
        for text in trusted:
            try:
                self._networks.append(ip_network(text, strict=False))
            except ValueError:
                faults.append(f"FAIRSHARE_TRUSTED_PROXIES: {text!r} is neither an address nor a network")
        if faults:
            raise SettingsError(faults)

    def trusts(self, address: str) -> bool:
        """True for a normal-form address (:func:`read_address`) inside one of the networks."""
        known = self._known.get(address)
        if known is None:
            known = address != "" and any(ip_address(address) in network for network in self._networks)
            if len(self._known) < 10_000:
                self._known[address] = known
        return known

    def client(self, peer: str, forwarded_for: str) -> str:
        """The visitor's address behind a trusted ``peer``: the rightmost hop that is no trusted proxy, else the leftmost.

        Hops to the left of it were written by strangers and are not read. A hop that is no address ends the walk.
        """
        client = peer
        for hop in reversed(forwarded_for.split(",")):
            address = read_address(hop)
            if not address:
                break
            client = address
            if not self.trusts(address):
                break
        return client


def read_address(text: str) -> str:
    """An IP address in normal form, without port, brackets, zone or IPv4-in-IPv6 wrapping; empty where it is none."""
    return _read_address(text) if len(text) <= ADDRESS_CHARS else ""


@lru_cache(maxsize=16_384)
def _read_address(text: str) -> str:
    text = text.strip()
    if match := _PORT.fullmatch(text):
        text = match[1] or match[2]
    return _normal_address(text)


@lru_cache(maxsize=16_384)
def _normal_address(text: str) -> str:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def read_pairs(query: str) -> tuple[Pair, ...]:
    """Split a query once: the first :data:`PAIRS` parameters, blank ones left out. Bytes that are not UTF-8 become U+FFFD."""
    if not query:
        return ()
    pairs = []
    is_plain = "%" not in query and "+" not in query
    for piece in query.split("&", PAIRS)[:PAIRS]:
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((name, value, piece) if is_plain else (_decode(name), _decode(value), piece))
    return tuple(pairs)


def read_hit(
    method: str, path: str, query: str, headers: Sequence[tuple[str, str | None]], peer: str, scheme: str, proxies: Proxies
) -> Hit:
    """Read a request.

    Args:
        path: percent-decoded.
        headers: names in lower case; None is a value that is not printable ASCII, which RSGI servers cannot hand over.
        peer: who is connected, with or without a port.
    """
    found: dict[str, Any] = dict(headers)
    if len(found) != len(headers) or None in found.values():
        found = join(headers)
    return hit_of(method, path, query, found, peer, scheme, proxies)


def hit_of(method: str, path: str, query: str, found: dict[str, str], peer: str, scheme: str, proxies: Proxies) -> Hit:
    """:func:`read_hit` where each header has its one text already (:func:`join`)."""
    get = found.get
    address = read_address(peer)
    if ("x-forwarded-for" in found or "x-forwarded-proto" in found) and proxies.trusts(address):
        hops = get("x-forwarded-for", "")
        address = proxies.client(address, hops) if hops != UNREADABLE else ""  # not the proxy's: that would hide a visitor
        scheme = _forwarded_scheme(found) or scheme
    user_agent, referrer, length = get("user-agent", "").strip(), get("referer", "").strip(), get("content-length", "")
    is_long = len(user_agent) > USER_AGENT_CHARS or len(referrer) > REFERRER_CHARS
    # By position, as they stand in the record: a third of the time that names take.
    return Hit(
        method,
        path,
        query,
        address,
        scheme,
        user_agent[:USER_AGENT_CHARS],
        referrer[:REFERRER_CHARS],
        get("cookie", ""),
        get("sec-fetch-dest", ""),
        get("sec-purpose") or get("purpose") or get("x-moz") or get("x-purpose") or "",
        get("sec-gpc", "") == "1",
        get("authorization", ""),
        get("content-type", ""),
        int(length) if length and length.isascii() and length.isdigit() and len(length) < 16 else 0,
        _cuts(user_agent, referrer) if is_long else (),
    )


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers that matter, as RSGI servers read them: printable ASCII only; of other values, only that there was one."""
    found: dict[str, str] = {}
    for spelling, value in raw:
        name = _NAMES.get(spelling)
        if name is None:
            name = _NAMES.get(spelling.lower(), "")
        if not name:
            continue
        text = value.decode("latin-1").strip()
        if (not (text.isprintable() or text.replace("\t", " ").isprintable()) or not text.isascii()) and name != "x-forwarded-for":
            if name not in TEXT_HEADERS:
                continue
            text = UNREADABLE
        found[name] = text if name not in found else joined(name, found[name], text)
    return found


def join(headers: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Where names repeat, or a value cannot be read: one value for each."""
    found: dict[str, str] = {}
    for name, text in headers:
        value = UNREADABLE if text is None else text.strip()
        found[name] = value if name not in found else joined(name, found[name], value)
    return found


def joined(name: str, first: str, second: str) -> str:
    """Two values of one header, as one."""
    return f"{first}; {second}" if name == "cookie" else f"{first}, {second}"


def _decode(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _forwarded_scheme(found: dict[str, str]) -> str:
    scheme = found.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    return scheme if scheme in ("http", "https") else ""


def _cuts(user_agent: str, referrer: str) -> tuple[str, ...]:
    agent = ("user_agent_cut",) if len(user_agent) > USER_AGENT_CHARS else ()
    return (*agent, "referrer_cut") if len(referrer) > REFERRER_CHARS else agent
