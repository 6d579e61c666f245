"""Who comes to the demo's links: devices, addresses, machines, and the hours people keep. Pure."""

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import accumulate
from random import Random

import msgspec

from core.clock import DAY, HOUR, Instant
from core.ids import event_id
from fairshare.demo.cast import BAZAAR, DAYS, NORTH, PAGES

_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
BROWSERS: tuple[tuple[str, int], ...] = (
    (f"Mozilla/5.0 (Linux; Android 10; K) {_BLINK} Chrome/149.0.0.0 Mobile Safari/537.36", 24),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1", 22),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_BLINK} Chrome/149.0.0.0 Safari/537.36", 18),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Version/18.6 Safari/605.1.15", 9),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_BLINK} Chrome/149.0.0.0 Safari/537.36 Edg/149.0.0.0", 7),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:151.0) Gecko/20100101 Firefox/151.0", 6),
    (f"Mozilla/5.0 (Linux; Android 16; SAMSUNG SM-S928B) {_BLINK} SamsungBrowser/28.0 Chrome/136.0.0.0 Mobile Safari/537.36", 5),
    (f"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) {_WEBKIT} Version/18.6 Mobile/15E148 Safari/604.1", 4),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:151.0) Gecko/20100101 Firefox/151.0", 3),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) {_WEBKIT} Mobile/15E148 Instagram 391.0.0.0.1", 2),
)
"""User agents of people, and how often each comes."""
MACHINES: tuple[tuple[str, str, int], ...] = (
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "66.249.64.0/19", 26),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "40.77.167.0/24", 18),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "54.36.148.0/22", 16),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "157.240.0.0/17", 14),
    ("WhatsApp/2.25.20 A", "157.240.0.0/17", 10),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "98.192.0.0/11", 6),
    ("python-requests/2.32.4", "24.0.0.0/12", 6),
    ("curl/8.14.1", "91.0.0.0/11", 4),
)
"""User agents of programs, where they come from, and how often."""

NETWORKS: dict[str, tuple[str, ...]] = {
    "DE": ("84.160.0.0/11", "91.0.0.0/11", "79.192.0.0/11", "2003:c0::/27"), "AT": ("178.112.0.0/14", "80.108.0.0/15"),
    "CH": ("85.0.0.0/13", "178.192.0.0/14"), "GB": ("86.128.0.0/11", "81.128.0.0/12", "2a00:23c0::/27"), "IE": ("86.40.0.0/13",),
    "FR": ("90.0.0.0/10", "86.192.0.0/11"), "NL": ("84.24.0.0/13", "77.160.0.0/13"), "IT": ("79.0.0.0/12",), "ES": ("83.32.0.0/12",),
    "PL": ("83.0.0.0/12",), "SE": ("90.224.0.0/13",), "DK": ("80.160.0.0/13",), "US": ("73.0.0.0/9", "98.192.0.0/11"),
}  # fmt: skip
"""Networks of large access providers, which the country database that comes with Fairshare knows."""
AUDIENCES: dict[str, dict[str, int]] = {
    NORTH: {"DE": 62, "AT": 12, "CH": 9, "NL": 5, "FR": 4, "DK": 3, "SE": 3, "PL": 2},
    PAGES: {"GB": 74, "IE": 9, "US": 8, "NL": 3, "DE": 3, "SE": 3},
    BAZAAR: {"AT": 28, "DE": 30, "FR": 15, "IT": 12, "ES": 6, "NL": 5, "CH": 4},
}

HOURS = (4, 2, 1, 1, 1, 2, 5, 9, 12, 13, 13, 14, 16, 14, 13, 13, 14, 16, 20, 24, 26, 22, 15, 8)
"""How busy each hour of a day is, UTC: two peaks, lunch and evening."""
WEEK = (10, 9, 9, 10, 11, 14, 15)
"""How busy each day of a week is. Weeks are counted from the anchor, so that totals do not depend on the calendar."""


class Device(msgspec.Struct, frozen=True):
    """A browser: the visitor id in its cookie, and what it shows of itself."""

    visitor_id: str
    user_agent: str
    ip: str


def moment(rng: Random, first_day: float = 0, last_day: float = DAYS) -> Instant:
    """An offset from the first day's midnight, in milliseconds, in ``[first_day, last_day)``: busy days and hours come more often."""
    days = range(int(first_day), int(last_day - 1e-9) + 1)
    while True:
        day = rng.choices(days, cum_weights=_busy_days(days))[0]
        at = day * DAY + rng.choices(range(24), cum_weights=_BUSY_HOURS)[0] * HOUR + rng.randrange(HOUR)
        if first_day * DAY <= at < last_day * DAY:
            return at


def device(rng: Random, tenant_id: str, first_seen: Instant) -> Device:
    """A new browser from the tenant's audience, its visitor id minted at ``first_seen``."""
    audience = AUDIENCES[tenant_id]
    country = rng.choices(tuple(audience), tuple(audience.values()))[0]
    user_agent = rng.choices(BROWSERS, cum_weights=_COMMON_BROWSERS)[0][0]
    return Device(event_id(first_seen, rng.getrandbits(80)), user_agent, address(rng, rng.choice(NETWORKS[country])))


def machine(rng: Random) -> Device:
    """A program that opens a link. It keeps no cookie, so it has no visitor id."""
    user_agent, network, _ = rng.choices(MACHINES, cum_weights=_COMMON_MACHINES)[0]
    return Device("", user_agent, address(rng, network))


def address(rng: Random, network: str) -> str:
    """Any address of a network."""
    net = _network(network)
    return str(ip_address(int(net.network_address) + rng.getrandbits(net.max_prefixlen - net.prefixlen)))


_BUSY_HOURS = tuple(accumulate(HOURS))
_COMMON_BROWSERS = tuple(accumulate(weight for _, weight in BROWSERS))
_COMMON_MACHINES = tuple(accumulate(weight for _, _, weight in MACHINES))


@cache
def _busy_days(days: range) -> tuple[int, ...]:
    return tuple(accumulate(WEEK[day % 7] * (200 + day) for day in days))


@cache
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)
