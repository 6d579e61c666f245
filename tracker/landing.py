"""Visits that no affiliate brought: what a shop's own page says of the address it was opened with. Pure.

The page reports its address and what led to it (``/l.gif?tenant=T&url=…&ref=…``). Marks of campaigns and the click ids of
advertising systems make it ``paid``; none, and nothing that led here, ``direct``. Both are recorded so that nobody is paid for what
they did not bring, and so that double payment can be seen.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from core.clock import Instant
from core.events import Touch, TouchKind
from tracker.answer import Answer, pixel
from tracker.click import AgentFlag, flags_of, said_of, site_of, visit_of
from tracker.destination import URL_CHARS
from tracker.hit import REFERRER_CHARS, Hit, Pair, read_pairs
from tracker.links import TenantEntry
from tracker.reported import MEDIUM_CHARS, ORIGIN_CHARS

AD_CLICKS: Mapping[str, tuple[str, str]] = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "gad_source": ("google", "cpc"),
    "gad_campaignid": ("google", "cpc"),
    "msclkid": ("bing", "cpc"),
    "fbclid": ("facebook", "paid_social"),
    "fb_action_ids": ("facebook", "paid_social"),
    "ttclid": ("tiktok", "paid_social"),
    "twclid": ("twitter", "paid_social"),
    "li_fat_id": ("linkedin", "paid_social"),
    "rdclid": ("reddit", "paid_social"),
}
"""Parameters that advertising systems append, and whose they are; campaign marks (``utm_source``, ``utm_medium``) outweigh these."""


class Landing(NamedTuple):
    """What brought a visit. A paid one has an origin."""

    kind: TouchKind
    origin: str = ""
    medium: str = ""


def answer_landing(
    hit: Hit, tenant: TenantEntry, now: Instant, ids: tuple[str, str], agent_flag: AgentFlag = lambda _: ""
) -> tuple[Answer, Touch | None]:
    """``/l.gif``: the picture, and what to record; nothing where the page was not landed on (:func:`read_landing`).

    Args:
        ids: two new ids: the touch's, and the visitor's, if this is a new one.
        agent_flag: what is kept of a user agent that must not be kept.
    """
    pairs = hit.pairs
    landing = read_landing(pairs, tenant.click_parameter)
    if landing is None:
        return pixel(), None
    visit = visit_of(hit, said_of(pairs), ids[1], may_set=hit.method == "GET")
    visitor_id, consent, cookie = visit
    is_named = consent != "denied"
    referrer = _bare(_first(pairs, "ref"))[:REFERRER_CHARS]
    touch = Touch(
        event_id=ids[0],
        kind=landing.kind,
        tenant_id=tenant.tenant_id,
        programme_id="",
        affiliate_id="",
        link_code="",
        occurred_at=now,
        received_at=now,
        visitor_id=visitor_id,
        destination=_bare(_first(pairs, "url"))[:URL_CHARS],
        ip=hit.address if is_named else "",
        user_agent=hit.user_agent if is_named else "",
        referrer=referrer if is_named else site_of(referrer),
        consent=consent,
        flags=tuple(flags_of(hit, visit, agent_flag)),
        origin=landing.origin,
        medium=landing.medium,
        source="pixel",
    )
    return pixel(cookie=cookie), touch


def read_landing(pairs: tuple[Pair, ...], click_parameter: str) -> Landing | None:
    """What brought a visit, by the parameters of the page's address (``url``), or by the same ones sent directly.

    None where it is no visit of these kinds: the address has a click id of ours (an affiliate brought it, and that was recorded),
    the page was opened from the shop itself, or from elsewhere without any mark. A visit is only taken for direct where the
    page said what led to it, and it was nothing (``ref=``).
    """
    address, ref = _first(pairs, "url"), _first(pairs, "ref")
    marks = _marks(pairs) | _marks(read_pairs(_query(address)))
    if click_parameter.lower() in marks or (ref and _host(ref) == _host(address)):
        return None
    if found := _paid(marks):
        return Landing("paid", *found)
    has_ref = any(name == "ref" for name, _, _ in pairs)
    return Landing("direct") if address and has_ref and not ref else None


def _paid(marks: Mapping[str, str]) -> tuple[str, str] | None:
    """``(origin, medium)`` in lower case."""
    by_ad = next((whose for name, whose in AD_CLICKS.items() if name in marks), None)
    source, medium = marks.get("utm_source", ""), marks.get("utm_medium", "")
    if by_ad is None and not source and not medium:
        return None
    origin, way = by_ad or ("unknown", "")
    return (source.lower() or origin)[:ORIGIN_CHARS], (medium.lower() or way)[:MEDIUM_CHARS]


def _marks(pairs: tuple[Pair, ...]) -> dict[str, str]:
    """The first value of each parameter that has one, names in lower case."""
    marks: dict[str, str] = {}
    for name, value, _ in pairs:
        if text := _clean(value):
            marks.setdefault(name.lower(), text)
    return marks


def _first(pairs: tuple[Pair, ...], name: str) -> str:
    return next((_clean(value) for key, value, _ in pairs if key == name), "")


def _clean(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _host(address: str) -> str:
    """In lower case and without ``www.``; empty where there is none."""
    try:
        return (urlsplit(address).hostname or "").removeprefix("www.")
    except ValueError:  # a bracket that no IPv6 address has
        return ""


def _query(address: str) -> str:
    return address.partition("#")[0].partition("?")[2]


def _bare(address: str) -> str:
    """Without query and fragment: what a shop puts there may name a person."""
    return address.partition("#")[0].partition("?")[0]
