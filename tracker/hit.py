"""A hit: one request as read, the same whichever server it came through."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote_plus

import msgspec

from core.errors import SettingsError

USER_AGENT_CHARS = 1024
REFERRER_CHARS = 2048
PAIRS = 100
UNREADABLE = "(unreadable)"

Pair = tuple[str, str, str]
"""A query parameter: its name and value decoded, and the piece of the query as it stood."""

_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+|\[([^\]]*)\](?::\d+)?")


class Hit(msgspec.Struct, frozen=True):
    """What the tracker uses of a request. Header texts are cut to their limits; ``flags`` says which ones were."""

    method: str
    path: str
    pairs: tuple[Pair, ...]
    address: str
    scheme: str
    host: str
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
        """The visitor's address: the rightmost hop that is no trusted proxy, else the leftmost.

        Hops to the left of it were written by strangers and are not read. A hop that is no address ends the walk.

        Args:
            peer: who is connected, in normal form.
        """
        client = peer
        if not forwarded_for or not self.trusts(client):
            return client
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
    for piece in query.split("&", PAIRS)[:PAIRS]:
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((_decode(name), _decode(value), piece))
    return tuple(pairs)


def read_hit(
    method: str, path: str, query: str, headers: Iterable[tuple[str, str | None]], peer: str, scheme: str, proxies: Proxies
) -> Hit:
    """Read a request.

    Args:
        path: percent-decoded.
        headers: names in lower case; None is a value that is not printable ASCII, which RSGI servers cannot hand over.
        peer: who is connected, with or without a port.
    """
    found = _join(headers)
    peer = read_address(peer)
    user_agent, referrer = found.get("user-agent", ""), found.get("referer", "")
    length = found.get("content-length", "")
    return Hit(
        method=method,
        path=path,
        pairs=read_pairs(query),
        address=proxies.client(peer, found.get("x-forwarded-for", "")),
        scheme=_forwarded_scheme(found) or scheme if proxies.trusts(peer) else scheme,
        host=found.get("host", "")[:255],
        user_agent=user_agent[:USER_AGENT_CHARS],
        referrer=referrer[:REFERRER_CHARS],
        cookie=found.get("cookie", ""),
        fetch_dest=found.get("sec-fetch-dest", ""),
        purpose=_purpose(found),
        privacy_control=found.get("sec-gpc", "") == "1",
        authorization=found.get("authorization", ""),
        content_type=found.get("content-type", ""),
        content_length=int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0,
        flags=_cuts(user_agent, referrer),
    )


def _join(headers: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in headers:
        value = UNREADABLE if text is None else text.strip()
        if name in found:
            value = found[name] + ("; " if name == "cookie" else ", ") + value
        found[name] = value
    return found


def _decode(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


def _forwarded_scheme(found: dict[str, str]) -> str:
    scheme = found.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    return scheme if scheme in ("http", "https") else ""


def _purpose(found: dict[str, str]) -> str:
    """What browsers say of requests that no person made yet; the old names mean the same."""
    for name in ("sec-purpose", "purpose", "x-moz", "x-purpose"):
        if name in found:
            return found[name]
    return ""


def _cuts(user_agent: str, referrer: str) -> tuple[str, ...]:
    if len(user_agent) <= USER_AGENT_CHARS and len(referrer) <= REFERRER_CHARS:
        return ()
    agent = ("user_agent_cut",) if len(user_agent) > USER_AGENT_CHARS else ()
    return (*agent, "referrer_cut") if len(referrer) > REFERRER_CHARS else agent
