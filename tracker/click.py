"""From a hit on a link to the visitor's answer and the recorded touch. Pure: the time and new ids are arguments."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from core.clock import DAY, SECOND, Instant
from core.events import Channel, Consent, Touch, TouchKind
from core.ids import LENGTH, is_event_id
from tracker.answer import Answer, not_found, pixel, redirect
from tracker.destination import LOCATION_CHARS, URL_CHARS, Destination, merge, read_deep_link, read_destination
from tracker.hit import Hit, Pair
from tracker.limits import CAPPED, is_person
from tracker.links import LinkEntry

SUBS = ("sub1", "sub2", "sub3", "sub4", "sub5")
SUB_CHARS = 255
CODE_CHARS = 64
COOKIE = "fsv"
SECURE_COOKIE = "__Secure-fsv"
COOKIE_MAX_AGE_S = 400 * DAY // SECOND
RESERVED = frozenset({"url", "consent", "cons", *SUBS})
"""Parameters that speak to the tracker; all others of a click go on to the shop."""

FOLLOWED: Mapping[str, TouchKind] = {"/c/": "click", "/q/": "scan", "/s/": "soft_click", "/a/": "app_open"}
"""How a link was followed, by where its code stands: the same link may be printed, opened by a page itself, and lead into an app."""

AgentFlag = Callable[[str], str]
"""A user agent to the class of machine it betrays (:func:`tracker.traffic.agent_flag`), or nothing."""

_COOKIES = re.compile(r"(?:^|;)\s*(__Secure-fsv|fsv)=([^;]*)")
_CONSENT: Mapping[str, Consent] = {"1": "granted", "granted": "granted", "0": "denied", "denied": "denied"}
_HOST_END = re.compile(r"[/?#\\]")
_ANY_ID = "0" * LENGTH
"""Stands for a click id while an aim is taken. The id is the last of a location's query."""


Visit = tuple[str, Consent, str]
"""Who came, as far as they allow it to be known: visitor id, consent, and the cookie to set; empty where none is."""


Limit = Callable[[LinkEntry, str, Instant, bool], tuple[str, ...]]
"""A link, an address, the time, and whether it may be a person, to flags (:meth:`tracker.limits.Limits.verdict`)."""


def _nothing(_user_agent: str) -> str:
    return ""


def _no_limit(_link: LinkEntry, _address: str, _now: Instant, _is_person: bool) -> tuple[str, ...]:
    return ()


class Aim(NamedTuple):
    """What a link and a query mean for every click that has both: only the visitor and the ids are left to be filled in.

    ``before`` and ``after`` are the location around the click id; ``target`` is there instead where macros make every
    location another, and neither where there is nowhere to go. ``destination`` is what the record keeps, without the id.
    """

    link: LinkEntry | None
    said: Mapping[str, str]
    subs: tuple[str, ...]
    flags: tuple[str, ...]
    before: str = ""
    after: str = ""
    destination: str = ""
    target: Destination | None = None
    extras: tuple[Pair, ...] = ()


def take_aim(link: LinkEntry | None, pairs: tuple[Pair, ...], is_capped: bool = False) -> Aim:
    """Read a link and a query together.

    Args:
        link: what the table holds; None makes an orphan, which is recorded too.
        is_capped: the link has had its clicks, and leads to where its merchant wants the rest.
    """
    said = said_of(pairs)
    if link is None:
        return Aim(None, said, (), ())
    flags: list[str] = []
    subs = _subs(said, flags)
    target = _fallback(link) if is_capped else _target(said, link, flags)
    if target is None:
        return Aim(link, said, subs, (*flags, "destination_refused"))
    extras = tuple([pair for pair in pairs if pair[0] not in RESERVED])
    if target.has_macros:
        return Aim(link, said, subs, tuple(flags), target=target, extras=extras)
    without, location = _merge(target, link, _ANY_ID, extras, {}, flags)
    end = len(location) - len(target.tail)
    return Aim(link, said, subs, tuple(flags), location[: end - LENGTH], location[end:], without)


def answer_click(
    hit: Hit,
    code: str,
    aim: Aim,
    now: Instant,
    ids: tuple[str, str],
    agent_flag: AgentFlag = _nothing,
    limit: Limit = _no_limit,
    kind: TouchKind = "click",
) -> tuple[Answer, Touch]:
    """``/c/{code}``, or another of :data:`FOLLOWED`: send the visitor on, and say what to record.

    Args:
        aim: of the link that the table holds under ``code``, and of the hit's query.
        ids: two new ids: the click's, and the visitor's, if this is a new one.
        agent_flag: what is kept of a user agent that must not be kept.
        limit: says what the link, or the visitor's address, has had too much of.
    """
    click_id, link = ids[0], aim.link
    visit = visit_of(hit, aim.said, ids[1], may_set=_is_navigation(hit))
    flags = flags_of(hit, visit, agent_flag)
    if hit.fetch_dest and _is_hidden(hit):
        flags.append("hidden_frame")
    if link is not None and (beyond := limit(link, hit.address, now, is_person(flags))):
        flags += beyond
        if CAPPED[0] in beyond:
            aim = take_aim(link, hit.pairs, is_capped=True)
    flags += aim.flags
    without = aim.destination
    if aim.before:
        location = f"{aim.before}{click_id}{aim.after}"
    elif link is not None and aim.target is not None:
        without, location = _merge(aim.target, link, click_id, aim.extras, _macros(click_id, link, aim.subs), flags)
    else:
        return not_found(), _touch(kind, click_id, code, link, hit, visit, now, flags, aim.subs)
    return redirect(location, visit[2]), _touch(kind, click_id, code, link, hit, visit, now, flags, aim.subs, without)


def _merge(
    target: Destination, link: LinkEntry, click_id: str, extras: tuple[Pair, ...], macros: Mapping[str, str], flags: list[str]
) -> tuple[str, str]:
    """As :func:`tracker.destination.merge`, within the limits of what is recorded and what is sent."""
    parameter = link.programme.tenant.click_parameter
    without, location = merge(target, parameter, click_id, extras, macros)
    if len(location) > LOCATION_CHARS:
        flags.append("extras_dropped")
        without, location = merge(target, parameter, click_id, (), macros)
    if len(without) > URL_CHARS:
        flags.append("destination_cut")
    return without[:URL_CHARS], location


def answer_impression(
    hit: Hit, code: str, link: LinkEntry | None, now: Instant, ids: tuple[str, str], agent_flag: AgentFlag = _nothing
) -> tuple[Answer, Touch]:
    """``/i.gif?l=CODE``: the picture, whatever the code, and what to record; arguments as of :func:`answer_click`."""
    said = said_of(hit.pairs)
    # A pixel is an image by nature. Browsers keep its Lax cookie only on the tracker's own site, which is right.
    visit = visit_of(hit, said, ids[1], may_set=hit.method == "GET")
    flags = flags_of(hit, visit, agent_flag)
    if link is not None and link.disabled:
        flags.append("link_disabled")
    return pixel(cookie=visit[2]), _touch("impression", ids[0], code, link, hit, visit, now, flags, _subs(said, flags))


def read_visit(hit: Hit) -> Visit:
    """The visitor by cookie, nobody where consent was denied; no cookie is set."""
    return visit_of(hit, said_of(hit.pairs), "", may_set=False)


def visit_of(hit: Hit, said: Mapping[str, str], new_visitor: str, may_set: bool) -> Visit:
    """The visitor by cookie, a new one where there is none and one may be set, nobody where consent was denied."""
    consent = _consent(hit, said)
    if consent == "denied":
        return "", consent, ""
    known = read_visitor(hit) if hit.cookie else ""
    if not may_set:
        return known, consent, ""
    visitor = known or new_visitor
    return visitor, consent, _set_cookie(visitor, hit.scheme)


def read_visitor(hit: Hit) -> str:
    """The visitor id of the cookie; empty where there is none, or none of our making. The secure cookie wins."""
    if COOKIE not in hit.cookie:
        return ""
    found: dict[str, str] = dict(_COOKIES.findall(hit.cookie))
    for name in (SECURE_COOKIE, COOKIE):
        value = found.get(name, "").strip()
        if is_event_id(value):
            return value
    return ""


def said_of(pairs: tuple[Pair, ...]) -> dict[str, str]:
    """What a query says to the tracker itself: the first value of each reserved parameter that has one."""
    said: dict[str, str] = {}
    for name, value, _ in pairs:
        if value and name in RESERVED and name not in said:
            said[name] = value
    return said


def _set_cookie(visitor: str, scheme: str) -> str:
    # Browsers refuse the __Secure- prefix without https.
    if scheme == "https":
        return f"{SECURE_COOKIE}={visitor}; Max-Age={COOKIE_MAX_AGE_S}; Path=/; HttpOnly; SameSite=Lax; Secure"
    return f"{COOKIE}={visitor}; Max-Age={COOKIE_MAX_AGE_S}; Path=/; HttpOnly; SameSite=Lax"


def _consent(hit: Hit, said: Mapping[str, str]) -> Consent:
    """A browser's Global Privacy Control outweighs what a link says."""
    if hit.privacy_control:
        return "denied"
    word = (said.get("consent") or said.get("cons")) if said else None
    return _CONSENT.get(word.lower(), "unknown") if word else "unknown"


def flags_of(hit: Hit, visit: Visit, agent_flag: AgentFlag) -> list[str]:
    """What the request shows by itself, whichever link it is for."""
    flags = [*hit.flags]
    if hit.method != "GET":
        flags.append("head")  # OPTIONS too
    if hit.purpose and _is_prefetch(hit):
        flags.append("prefetch")
    if visit[1] == "denied" and (flag := agent_flag(hit.user_agent)):
        flags.append(flag)
    return flags


def _is_prefetch(hit: Hit) -> bool:
    purpose = hit.purpose.lower()
    return any(word in purpose for word in ("prefetch", "prerender", "preview", "instant"))


def _is_hidden(hit: Hit) -> bool:
    """Loaded as a picture, frame or script, not opened by a person. Browsers that do not say are believed."""
    return hit.fetch_dest not in ("", "document")


def _is_navigation(hit: Hit) -> bool:
    return hit.method == "GET" and not (hit.fetch_dest and _is_hidden(hit)) and not (hit.purpose and _is_prefetch(hit))


def _subs(said: Mapping[str, str], flags: list[str]) -> tuple[str, ...]:
    """sub1 to sub5 as given, cut to :data:`SUB_CHARS`; empty ones at the end are left out."""
    get = said.get
    subs: tuple[str, ...] = (get("sub1", ""), get("sub2", ""), get("sub3", ""), get("sub4", ""), get("sub5", ""))
    while subs and not subs[-1]:
        subs = subs[:-1]
    if max(map(len, subs), default=0) > SUB_CHARS:
        flags.append("sub_cut")
        return tuple([sub[:SUB_CHARS] for sub in subs])
    return subs


def _target(said: Mapping[str, str], link: LinkEntry, flags: list[str]) -> Destination | None:
    """Where this click leads; a deep link has no macros, whatever braces it holds."""
    programme = link.programme
    if link.disabled:
        flags.append("link_disabled")
        return read_destination(programme.landing_url)
    if wanted := said.get("url"):
        deep_link = read_deep_link(wanted, programme.hosts, programme.schemes)
        if deep_link is None:
            flags.append("deep_link_refused")
        return deep_link or read_destination(programme.landing_url)
    return read_destination(link.destination) or read_destination(programme.landing_url)


def _fallback(link: LinkEntry) -> Destination | None:
    fallback = read_destination(link.fallback_url) if link.fallback_url else None
    return fallback or read_destination(link.programme.landing_url)


def _macros(click_id: str, link: LinkEntry, subs: tuple[str, ...]) -> dict[str, str]:
    programme_id = link.programme.programme_id
    known = {"click_id": click_id, "affiliate_id": link.affiliate_id, "programme_id": programme_id, "program_id": programme_id}
    return known | dict(zip(SUBS, subs, strict=False))


def _touch(
    kind: TouchKind,
    touch_id: str,
    code: str,
    link: LinkEntry | None,
    hit: Hit,
    visit: Visit,
    now: Instant,
    flags: list[str],
    subs: tuple[str, ...] = (),
    destination: str = "",
) -> Touch:
    visitor_id, consent, _ = visit
    is_named = consent != "denied"
    tenant_id = programme_id = affiliate_id = ""
    channel: Channel = "web"
    if link is not None:
        programme = link.programme
        tenant_id, programme_id = programme.tenant.tenant_id, programme.programme_id
        affiliate_id, channel = link.affiliate_id, link.channel
    # By position, as they stand in the record: a third of the time that names take.
    return Touch(
        touch_id,
        kind,
        tenant_id,
        programme_id,
        affiliate_id,
        code[:CODE_CHARS],
        now,
        now,
        visitor_id,
        destination,
        subs,
        hit.address if is_named else "",
        hit.user_agent if is_named else "",
        hit.referrer if is_named else site_of(hit.referrer),
        consent,
        channel,
        tuple(flags),
    )


def site_of(referrer: str) -> str:
    """Scheme and host: all that is kept of a referrer where consent was denied. Empty where it has none."""
    scheme, mark, rest = referrer.partition("://")
    host = _HOST_END.split(rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{host}" if mark and host and scheme.isascii() and scheme.replace("-", "").isalnum() else ""
