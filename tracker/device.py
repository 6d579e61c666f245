"""With what: the kind of device, operating system and browser that a user agent claims. Pure, and cached."""

import re
from functools import cache, lru_cache
from typing import Literal

import msgspec
from ua_parser import Parser, Result, load_lazy_builtins
from ua_parser.regex import Resolver

DeviceKind = Literal["desktop", "phone", "tablet", "bot", "other"]
REMEMBERED = 65_536
LONGEST = 64

_DESKTOPS = frozenset(
    ("Windows", "Mac OS X", "Linux", "Ubuntu", "Fedora", "Debian", "CentOS", "Red Hat", "SUSE", "Chrome OS", "FreeBSD", "OpenBSD", "NetBSD",
     "Solaris", "Mac OS")
)  # fmt: skip
_PHONES = frozenset(("Windows Phone", "Windows Mobile", "BlackBerry OS", "Symbian OS", "KaiOS", "Firefox OS", "Bada"))
_TABLET = re.compile(r"iPad|Tablet|Kindle|Silk/|PlayBook|\bKF[A-Z]{2,5}\b", re.ASCII)
_PHONE = re.compile(r"iPhone|iPod|Mobile|MIDP-|WAP Browser|Opera Mini|Phone", re.ASCII)


class Device(msgspec.Struct, frozen=True):
    """What a user agent claims to be. ``os`` and ``browser`` are families without versions; empty where unknown."""

    kind: DeviceKind
    os: str
    browser: str


NOTHING = Device("other", "", "")


@lru_cache(REMEMBERED)
def device_of(user_agent: str) -> Device:
    """Read a user agent. An iPad that asks for the desktop site says it is a Mac, and is taken for one."""
    if not user_agent.strip(" -"):
        return NOTHING
    result = _parser().parse(user_agent)
    os = result.os.family[:LONGEST] if result.os else ""
    browser = result.user_agent.family[:LONGEST] if result.user_agent else ""
    return Device(_kind(user_agent, result, os), os, browser)


def _kind(user_agent: str, result: Result, os: str) -> DeviceKind:
    if result.device and result.device.family == "Spider":
        return "bot"
    if _TABLET.search(user_agent):
        return "tablet"
    if os in _PHONES or _PHONE.search(user_agent):
        return "phone"
    if os == "Android":
        return "tablet"  # Android's convention: phones say Mobile, tablets do not
    return "desktop" if os in _DESKTOPS else "other"


@cache
def _parser() -> Parser:
    return Parser(Resolver(load_lazy_builtins()))
