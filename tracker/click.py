"""From a hit on a link to the visitor's answer and the recorded touch. Pure: the time and the entropy are arguments."""

import re
from collections.abc import Callable, Mapping

import msgspec

from core.clock import DAY, SECOND, Instant
from core.events import Consent, Touch, TouchKind
from core.ids import event_id, is_event_id
from tracker.answer import Answer, not_found, pixel, redirect
from tracker.destination import LOCATION_CHARS, URL_CHARS, Destination, merge, read_deep_link, read_destination
from tracker.hit import Hit, Pair
from tracker.links import LinkEntry

ENTROPY_BITS = 160
SUBS = ("sub1", "sub2", "sub3", "sub4", "sub5")
SUB_CHARS = 255
CODE_CHARS = 64
COOKIE = "fsv"
SECURE_COOKIE = "__Secure-fsv"
COOKIE_MAX_AGE_S = 400 * DAY // SECOND
RESERVED = frozenset({"url", "consent", "cons", *SUBS})
"""Parameters that speak to the tracker; all others of a click go on to the shop."""

AgentFlag = Callable[[str], str]
"""A user agent to the class of machine it betrays (:func:`tracker.traffic.agent_flag`), or nothing."""

_COOKIES = re.compile(r"(?:^|;)\s*(__Secure-fsv|fsv)=([^;]*)")
_CONSENT: Mapping[str, Consent] = {"1": "granted", "granted": "granted", "0": "denied", "denied": "denied"}


class Visit(msgspec.Struct, frozen=True):
    """Who came, as far as they allow it to be known: ``set_cookie`` is empty where none is set."""

    visitor_id: str
    consent: Consent
    set_cookie: str


def _nothing(_user_agent: str) -> str:
    return ""


def answer_click(
    hit: Hit, code: str, link: LinkEntry | None, now: Instant, entropy: int, agent_flag: AgentFlag = _nothing
) -> tuple[Answer, Touch]:
    """``/c/{code}``: send the visitor on, and say what to record.

    Args:
        link: what the table holds under ``code``; None makes an orphan, which is recorded too.
        entropy: :data:`ENTROPY_BITS` random bits, for the click id and a new visitor's id.
        agent_flag: what is kept of a user agent that must not be kept.
    """
    click_id = event_id(now, entropy & (1 << 80) - 1)
    visit = read_visit(hit, now, entropy >> 80, may_set=_is_navigation(hit))
    flags = _flags(hit, visit, agent_flag)
    if _is_hidden(hit):
        flags.append("hidden_frame")
    if link is None:
        return not_found(), _touch("click", click_id, code, None, hit, visit, now, flags)
    subs = _subs(hit, flags)
    target = _target(hit, link, flags)
    if target is None:
        flags.append("destination_refused")
        return not_found(), _touch("click", click_id, code, link, hit, visit, now, flags, subs)
    parameter = link.programme.tenant.click_parameter
    macros = _macros(click_id, link, subs) if target.has_macros else {}
    without, location = merge(target, parameter, click_id, _extras(hit.pairs, parameter), macros)
    if len(location) > LOCATION_CHARS:
        flags.append("extras_dropped")
        without, location = merge(target, parameter, click_id, (), macros)
    if len(without) > URL_CHARS:
        flags.append("destination_cut")
    touch = _touch("click", click_id, code, link, hit, visit, now, flags, subs, without[:URL_CHARS])
    return redirect(location, visit.set_cookie), touch


def answer_impression(
    hit: Hit, code: str, link: LinkEntry | None, now: Instant, entropy: int, agent_flag: AgentFlag = _nothing
) -> tuple[Answer, Touch]:
    """``/i.gif?l=CODE``: the picture, whatever the code, and what to record; arguments as of :func:`answer_click`."""
    touch_id = event_id(now, entropy & (1 << 80) - 1)
    # A pixel is an image by nature. Browsers keep its Lax cookie only on the tracker's own site, which is right.
    visit = read_visit(hit, now, entropy >> 80, may_set=hit.method == "GET")
    flags = _flags(hit, visit, agent_flag)
    if link is not None and link.disabled:
        flags.append("link_disabled")
    return pixel(cookie=visit.set_cookie), _touch("impression", touch_id, code, link, hit, visit, now, flags, _subs(hit, flags))


def read_visit(hit: Hit, now: Instant, entropy: int, may_set: bool) -> Visit:
    """The visitor by cookie, a new one where there is none and one may be set, nobody where consent was denied."""
    consent = _consent(hit)
    if consent == "denied":
        return Visit("", consent, "")
    known = read_visitor(hit)
    if not may_set:
        return Visit(known, consent, "")
    visitor = known or event_id(now, entropy)
    return Visit(visitor, consent, _set_cookie(visitor, hit.scheme))


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


def _set_cookie(visitor: str, scheme: str) -> str:
    # Browsers refuse the __Secure- prefix without https.
    name, secure = (SECURE_COOKIE, "; Secure") if scheme == "https" else (COOKIE, "")
    return f"{name}={visitor}; Max-Age={COOKIE_MAX_AGE_S}; Path=/; HttpOnly; SameSite=Lax{secure}"


def _consent(hit: Hit) -> Consent:
    """A browser's Global Privacy Control outweighs what a link says."""
    if hit.privacy_control:
        return "denied"
    said = hit.first("consent") or hit.first("cons")
    return _CONSENT.get(said.lower(), "unknown") if said else "unknown"


def _flags(hit: Hit, visit: Visit, agent_flag: AgentFlag) -> list[str]:
    """What the request shows by itself, whichever link it is for."""
    flags = [*hit.flags]
    if hit.method in ("HEAD", "OPTIONS"):
        flags.append("head")
    if _is_prefetch(hit):
        flags.append("prefetch")
    if visit.consent == "denied" and (flag := agent_flag(hit.user_agent)):
        flags.append(flag)
    return flags


def _is_prefetch(hit: Hit) -> bool:
    purpose = hit.purpose.lower()
    return purpose != "" and any(word in purpose for word in ("prefetch", "prerender", "preview", "instant"))


def _is_hidden(hit: Hit) -> bool:
    """Loaded as a picture, frame or script, not opened by a person. Browsers that do not say are believed."""
    return hit.fetch_dest not in ("", "document")


def _is_navigation(hit: Hit) -> bool:
    return hit.method == "GET" and not _is_hidden(hit) and not _is_prefetch(hit)


def _subs(hit: Hit, flags: list[str]) -> tuple[str, ...]:
    """sub1 to sub5 as given, cut to :data:`SUB_CHARS`; empty ones at the end are left out."""
    if not hit.pairs:
        return ()
    subs = [""] * len(SUBS)
    for name, value, _ in hit.pairs:
        if name in SUBS and not subs[SUBS.index(name)]:
            subs[SUBS.index(name)] = value[:SUB_CHARS]
            if len(value) > SUB_CHARS and "sub_cut" not in flags:
                flags.append("sub_cut")
    while subs and not subs[-1]:
        subs.pop()
    return tuple(subs)


def _target(hit: Hit, link: LinkEntry, flags: list[str]) -> Destination | None:
    """Where this click leads; a deep link has no macros, whatever braces it holds."""
    programme = link.programme
    if link.disabled:
        flags.append("link_disabled")
        return read_destination(programme.landing_url)
    if wanted := hit.first("url"):
        deep_link = read_deep_link(wanted, programme.hosts, programme.schemes)
        if deep_link is None:
            flags.append("deep_link_refused")
        return deep_link or read_destination(programme.landing_url)
    return read_destination(link.destination) or read_destination(programme.landing_url)


def _macros(click_id: str, link: LinkEntry, subs: tuple[str, ...]) -> dict[str, str]:
    programme_id = link.programme.programme_id
    known = {"click_id": click_id, "affiliate_id": link.affiliate_id, "programme_id": programme_id, "program_id": programme_id}
    return known | dict(zip(SUBS, subs, strict=False))


def _extras(pairs: tuple[Pair, ...], parameter: str) -> list[Pair]:
    return [pair for pair in pairs if pair[0] not in RESERVED and pair[0] != parameter]


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
    is_named = visit.consent != "denied"
    return Touch(
        event_id=touch_id,
        kind=kind,
        tenant_id=link.programme.tenant.tenant_id if link else "",
        programme_id=link.programme.programme_id if link else "",
        affiliate_id=link.affiliate_id if link else "",
        link_code=code[:CODE_CHARS],
        occurred_at=now,
        received_at=now,
        visitor_id=visit.visitor_id,
        destination=destination,
        subs=subs,
        ip=hit.address if is_named else "",
        user_agent=hit.user_agent if is_named else "",
        referrer=hit.referrer,
        consent=visit.consent,
        channel=link.channel if link else "web",
        flags=tuple(flags),
    )
