"""Which country an address is in. I/O: reads one database file, mapped into memory."""

import ipaddress
import logging
import re
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any

import maxminddb

from core.settings import Settings

VENDORED = Path(__file__).parent / "data" / "geo-whois-asn-country.mmdb"
REMEMBERED = 65_536

_CODE = re.compile(r"[A-Z]{2}", re.ASCII)
_log = logging.getLogger("fairshare.country")


class Countries:
    """Looks addresses up in an ``.mmdb`` file. Geography is a convenience: nothing here ever raises.

    A missing or broken file makes every country empty; that is logged once, and ``fault`` says why.
    """

    def __init__(self, database: Path) -> None:
        self.fault = ""
        self._database = database
        self._reader = self._open()
        self.country_of = lru_cache(REMEMBERED)(self._country_of)

    def close(self) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None

    def _open(self) -> Any:
        try:
            return maxminddb.open_database(self._database)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            self._give_up(error)
            return None

    def _country_of(self, address: str) -> str:
        """The ISO 3166-1 code of an address, as ``FR``; empty where it is private, unknown or no address."""
        public = public_address(address)
        if not public or not self._reader:
            return ""
        try:
            return code_in(self._reader.get(public))
        except (ValueError, maxminddb.InvalidDatabaseError) as error:
            self._give_up(error)
            return ""

    def _give_up(self, error: Exception) -> None:
        if not self.fault:
            self.fault = f"the country database {self._database} cannot be used, countries stay empty: {error}"
            _log.warning(self.fault)


def open_countries(settings: Settings) -> Countries:
    """The database that ``country_db`` names, else the one that comes with the program."""
    return Countries(Path(settings.country_db) if settings.country_db else VENDORED)


def public_address(text: str) -> str:
    """The address as the database knows it, or empty where no country can have it (private, reserved, not an address)."""
    return text if is_plainly_public(text) else _public_address(text)


def is_plainly_public(text: str) -> bool:
    """True for most addresses of the internet, at a twentieth of what :mod:`ipaddress` takes; False says nothing.

    Only blocks that hold nothing special, in any registry of any version of :mod:`ipaddress`, count as plain.
    """
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)[0] in _PLAIN_V4
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return packed[:2] in _PLAIN_V6 or (packed[:2] == b"\x20\x01" and packed[2] > 0x01 and packed[2:4] != b"\x0d\xb8")


_PLAIN_V4 = frozenset(range(1, 224)) - {10, 100, 127, 169, 172, 192, 198, 203}
_PLAIN_V6 = frozenset(first.to_bytes(2, "big") for first in range(0x2003, 0x3F00))
"""First octets, and first 16 bits. ``2001:200::`` and up are plain too, but for documentation's ``2001:db8::``."""


def _public_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return ""  # it means something on one machine only
        address = address.ipv4_mapped or address
    return str(address) if address.is_global and not address.is_multicast else ""


def code_in(record: Any) -> str:
    """The country code in a record: ``country_code``, or ``country.iso_code`` as MaxMind and DB-IP nest it."""
    if not isinstance(record, dict):
        return ""
    nested = record.get("country")
    code = record.get("country_code") or (nested.get("iso_code") if isinstance(nested, dict) else "")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""
