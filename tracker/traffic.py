"""Who clicked: a person, or which kind of machine. Pure: the same flags and user agent give the same verdict for ever.

Every hit is stored with its class, the rule that gave it and the version of the lists, so that it can be judged again when
the lists change. Only ``human`` is billable. Not here, because a stored event does not show it: a Chromium that sends no
``Sec-Fetch-Mode`` (a script in disguise), and anything about the address or the rate of clicks.
"""

from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any, Literal

import msgspec
import re2
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

TrafficClass = Literal[
    "human", "prefetch", "preview", "declared_bot", "invalid_ua", "head", "hidden_frame", "orphan", "disabled", "capped",
    "rate_limited", "duplicate",
]  # fmt: skip

OWN_LISTS = 2
"""Raise it with every change of the lists or rules below: stored verdicts name it."""
LIST_VERSION = f"crawler-user-agents {version('crawler-user-agents')}, own {OWN_LISTS}"
REMEMBERED = 65_536

_PREVIEWS = ("Applebot", "Google-PageRenderer", "Slackbot-LinkExpanding", r"^Pinterest/\d", "Iframely", r"preview(?:er)?(?:bot)?/")
"""Fetchers that show a link in a chat or feed, beside those the public list tags ``social-preview``."""

_ROBOTS = (r"\+ ?https?://", r"(?i)\bspider\b", r"(?i)crawler", r"(?i)\brobot\b", r"(?i)\(compatible; [\w.-]*bot\b")
"""How robots that nobody has listed yet introduce themselves. Deliberately not ``bot``: phones are called Cubot."""

_LIBRARIES = (
    r"^Java/", r"^Ruby", r"^PHP", "PycURL", "libcurl", r"^Dalvik/", "CFNetwork/", "Apache-HttpClient", r"^Guzzle", "GuzzleHttp",
    r"^Dart/", r"^reqwest", r"^undici", r"^PostmanRuntime", r"^insomnia", r"^RestSharp", r"^node", "libfetch", "HTTP_Request",
    r"^WinHTTP", r"^Microsoft ", r"^lua-resty", r"^Faraday", r"^rest-client", r"^Typhoeus", r"^urllib",
)  # fmt: skip
"""Ways to fetch a page without a browser, beside those the public list tags ``http-library``."""

_BROWSERS = (
    r"^Mozilla/.*(?:Gecko|WebKit|KHTML|MSIE|Trident|Presto|Goanna|Servo|NetFront)", r"^Opera[/ ]",
    r"^(?:Lynx|Links|ELinks|w3m|Dillo|Midori|NetSurf|UCWEB|Nokia|SAMSUNG|SonyEricsson|LG|MOT)\b",
    r"^Instagram ", r"^BlackBerry", "MIDP-", "WAP Browser", "UP.Browser", "Maui Browser",
)  # fmt: skip
"""How a browser introduces itself. Whatever matches none of these is taken for a program, as the IAB's two-pass rule has it."""

_ALSO_PEOPLE = frozenset(("MetaIAB Facebook", "Viber", r"Notion\/", r"Tumblr\/"))
"""Listed as previews, but the browsers inside these apps say the same words: no proof in a user agent that begins Mozilla/."""

_FLAGS: tuple[tuple[str, TrafficClass], ...] = (
    ("head", "head"), ("prefetch", "prefetch"), ("preview", "preview"), ("declared_bot", "declared_bot"), ("invalid_ua", "invalid_ua"),
)  # fmt: skip
_LATE_FLAGS: tuple[tuple[str, TrafficClass], ...] = (
    ("hidden_frame", "hidden_frame"), ("orphan", "orphan"), ("link_disabled", "disabled"), ("capped", "capped"),
    ("rate_limited", "rate_limited"), ("duplicate", "duplicate"),
)  # fmt: skip


class Verdict(msgspec.Struct, frozen=True):
    """A class, and the rule that gave it: ``flag:…``, ``list:…`` (a public pattern), ``own:…``, ``no_user_agent`` or ``no_browser``."""

    traffic_class: TrafficClass
    reason: str
    list_version: str = LIST_VERSION


HUMAN = Verdict("human", "")
WITHHELD = "agent_withheld"
"""The flag of a hit whose user agent was not kept, because consent was denied: its absence proves nothing."""


@lru_cache(REMEMBERED)
def classify(flags: tuple[str, ...], user_agent: str) -> Verdict:
    """Judge one hit. The first rule that holds, in this order:

    how it was asked (``head``, ``prefetch``), who asked (preview, declared bot, no browser), and then what makes a person's
    click worthless (hidden frame, unknown code, disabled link, a cap, repetition).

    Args:
        flags: what the hot path saw (:class:`core.events.Touch`); ``orphan`` where the code has no link; ``agent_withheld``
            where the user agent was not kept, with :func:`agent_flag` of it, if any.
        user_agent: as sent; empty where none was.
    """
    by_agent = None if WITHHELD in flags else _by_user_agent(user_agent)
    return _by_flag(flags, _FLAGS) or by_agent or _by_flag(flags, _LATE_FLAGS) or HUMAN


def agent_flag(user_agent: str) -> str:
    """``preview``, ``declared_bot``, ``invalid_ua`` or nothing: what to keep of a user agent that must not be kept."""
    verdict = _by_user_agent(user_agent)
    return verdict.traffic_class if verdict else ""


def _by_flag(flags: tuple[str, ...], rules: tuple[tuple[str, TrafficClass], ...]) -> Verdict | None:
    for flag, traffic_class in rules:
        if flag in flags:
            return Verdict(traffic_class, f"flag:{flag}")
    return None


@lru_cache(REMEMBERED)
def _by_user_agent(user_agent: str) -> Verdict | None:
    """The verdict on a user agent alone, None where it may be a person's browser."""
    if not user_agent.strip(" -"):
        return Verdict("invalid_ua", "no_user_agent")
    hits = sorted(_rules().matching(user_agent))
    judged = [rule for rule in hits if not (rule.name in _ALSO_PEOPLE and user_agent.startswith("Mozilla/"))]
    for wanted in ("preview", "declared_bot", "invalid_ua"):
        for rule in judged:
            if rule.traffic_class == wanted:
                return Verdict(rule.traffic_class, f"{rule.source}:{rule.name}")
    if not any(rule.source == "browser" for rule in judged):
        return Verdict("invalid_ua", "no_browser")
    return None


class _Rule(msgspec.Struct, frozen=True, order=True):
    number: int
    traffic_class: TrafficClass
    source: Literal["list", "own", "browser"]
    name: str


class _Rules:
    """All patterns as one automaton: a look-up costs about a microsecond, however many there are."""

    def __init__(self, rules: list[_Rule]) -> None:
        self._rules = rules
        self._set: Any = re2.Set.SearchSet()
        for rule in rules:
            self._set.Add(rule.name)
        self._set.Compile()

    def matching(self, text: str) -> list[_Rule]:
        return [self._rules[number] for number in self._set.Match(text) or ()]  # no match is None


@cache
def _rules() -> _Rules:
    kinds: list[tuple[TrafficClass, Literal["list", "own", "browser"], str]] = [
        (_class_of(entry.get("tags", ())), "list", entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA
    ]
    kinds += [("preview", "own", pattern) for pattern in _PREVIEWS]
    kinds += [("declared_bot", "own", pattern) for pattern in _ROBOTS]
    kinds += [("invalid_ua", "own", pattern) for pattern in _LIBRARIES]
    kinds += [("human", "browser", pattern) for pattern in _BROWSERS]
    return _Rules([_Rule(number, *kind) for number, kind in enumerate(kinds)])


def _class_of(tags: list[str]) -> TrafficClass:
    if "social-preview" in tags:
        return "preview"
    return "invalid_ua" if tags == ["http-library"] else "declared_bot"
