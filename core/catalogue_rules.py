"""What a sound catalogue holds: one place for the checks that the file, the portal and the API share.

A flaw is data about one record, not an exception, so that a file of a thousand records can tell all of them at once.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

from core.catalogue import (
    Affiliate,
    ApiKey,
    Coalition,
    Condition,
    Coupon,
    Link,
    Membership,
    MembershipStatus,
    Policy,
    Programme,
    RateCard,
    Segment,
    Store,
    Tenant,
    User,
)
from core.credit import TouchClass
from core.events import CHANNELS
from core.flaws import (
    CONTROL,
    DAYS_LIMIT,
    STATUSES,
    WORDS_LIMIT,
    Flaw,
    Known,
    between,
    email,
    in_tenant,
    line,
    of_member,
    of_segments,
    one_of,
    programme_and_affiliate,
    repeated,
    slug,
    title,
    word,
)
from core.money import CURRENCIES, LIMIT_MINOR
from core.policy_rules import policy_flaws
from core.rate_rules import rate_card_flaws
from core.scope import ROLES

CLICKS_LIMIT = 1_000_000_000
SHARED: tuple[TouchClass, ...] = ("click", "soft_click", "scan", "call", "app_open", "impression")
"""Classes that a coalition may share: recorded touches that an affiliate brought."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_COUPON = re.compile(r"[A-Z0-9](?:[A-Z0-9_-]{0,62}[A-Z0-9])?")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_URL = re.compile(r"https?://([^/?#]+)(?:[/?#].*)?")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")


def flaws_of(record: Any, known: Known) -> list[Flaw]:
    """Everything wrong with one record of :mod:`core.catalogue`, among the records it may name."""
    return list(_CHECKS[type(record)](record, known))


def is_host(text: str) -> bool:
    """A DNS name in lower case, without a port; international names in their ``xn--`` form."""
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def is_allowed_host(text: str) -> bool:
    """A host as a programme lists it, which may name a port: ``shop.example`` or ``shop.example:8443``."""
    host, colon, port = text.partition(":")
    return is_host(host) and (not colon or (_PORT.fullmatch(port) is not None and int(port) < 65_536))


def host_allowed(host: str, hosts: tuple[str, ...]) -> bool:
    """True where ``host`` equals a listed one or is a sub-domain of it; a port must be the listed one's."""
    return any(host == listed or host.endswith("." + listed) for listed in hosts)


def is_iban(text: str) -> bool:
    """Upper case without spaces, and its check digits fit (ISO 13616, modulo 97)."""
    if _IBAN.fullmatch(text) is None:
        return False
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97 == 1


# --- one check a kind ------------------------------------------------------------------------------------------------


def _tenant(tenant: Tenant, _known: Known) -> Iterator[Flaw]:
    yield from slug("tenant_id", tenant.tenant_id)
    yield from title("name", tenant.name)
    if tenant.currency not in CURRENCIES:
        yield Flaw("currency", f"{tenant.currency!r} is not an ISO 4217 code such as EUR")
    if not _is_time_zone(tenant.time_zone):
        yield Flaw("time_zone", f"{tenant.time_zone!r} is not a time zone such as Europe/Berlin")
    if not _PARAMETER.fullmatch(tenant.click_parameter):
        yield Flaw("click_parameter", f"{tenant.click_parameter!r} is not a query parameter of up to 32 letters and digits")
    yield from between("lapsed_after_days", tenant.lapsed_after_days, 1, DAYS_LIMIT)
    if not 0 <= tenant.adjustment_limit_minor <= LIMIT_MINOR:
        yield Flaw("adjustment_limit_minor", "is negative or beyond the largest amount taken")


def _store(store: Store, known: Known) -> Iterator[Flaw]:
    yield from in_tenant(store.tenant_id, known)
    yield from slug("store_id", store.store_id)
    yield from title("name", store.name)
    yield from line("segment", store.segment, 64)
    yield from one_of("channel", store.channel, CHANNELS)
    if store.host and not is_host(store.host):
        yield Flaw("host", f"{store.host!r} is not a host such as www.example.com")


def _segment(segment: Segment, known: Known) -> Iterator[Flaw]:
    yield from in_tenant(segment.tenant_id, known)
    yield from slug("segment_id", segment.segment_id)
    yield from title("name", segment.name)
    yield from repeated("conditions", tuple(condition.field for condition in segment.conditions))
    if not 1 <= len(segment.conditions) <= WORDS_LIMIT:
        yield Flaw("conditions", f"has {len(segment.conditions)} conditions; a segment has 1 to {WORDS_LIMIT}")
    for index, condition in enumerate(segment.conditions):
        for message in _condition(condition, segment.tenant_id, known):
            yield Flaw("conditions", f"{condition.field}: {message}", (index,))


def _condition(condition: Condition, tenant_id: str, known: Known) -> Iterator[str]:
    if not _FIELD.fullmatch(condition.field):
        yield f"{condition.field!r} is not a field: a small letter, then up to 63 small letters, digits and _"
    if not 1 <= len(condition.values) <= WORDS_LIMIT:
        yield f"has {len(condition.values)} values; a condition has 1 to {WORDS_LIMIT}"
    for flaw in repeated("values", condition.values):
        yield flaw.message
    for value in condition.values:
        if not value.strip() or len(value) > 255 or CONTROL.search(value):
            yield f"{value!r:.60} is empty, longer than 255 characters or holds a line break"
        elif condition.field == "store" and (tenant_id, value) not in known.stores:
            yield f"{value!r} is not a store of tenant {tenant_id}"
        elif condition.field in _CHOICES and value not in _CHOICES[condition.field]:
            yield f"{value!r} is not one of {', '.join(_CHOICES[condition.field])}"
        elif condition.field == "country" and not _COUNTRY.fullmatch(value):
            yield f"{value!r} is not a country such as DE"


_CHOICES: dict[str, tuple[str, ...]] = {"channel": CHANNELS, "customer_status": STATUSES}


def _programme(programme: Programme, known: Known) -> Iterator[Flaw]:
    yield from in_tenant(programme.tenant_id, known)
    yield from slug("programme_id", programme.programme_id)
    yield from title("name", programme.name)
    yield from (Flaw("hosts", f"{host!r} is not a host such as example.com") for host in programme.hosts if not is_allowed_host(host))
    yield from repeated("hosts", programme.hosts)
    yield from _destination("landing_url", programme.landing_url, programme)
    yield from _caps(programme, programme)
    yield from repeated("stores", programme.stores)
    yield from of_segments("segments", programme.segments, programme.tenant_id, known)
    if programme.starts_at is not None and programme.ends_at is not None and programme.ends_at <= programme.starts_at:
        yield Flaw("ends_at", "is not after starts_at, so the programme would never take an order")
    for store_id in programme.stores:
        if (programme.tenant_id, store_id) not in known.stores:
            yield Flaw("stores", f"{store_id!r} is not a store of tenant {programme.tenant_id}")
        for other in known.programmes.values():
            if other and store_id in other.stores and _is_rival(programme, other):
                yield Flaw("stores", f"{store_id!r} is taken by programme {other.programme_id}")


def _is_rival(programme: Programme, other: Programme) -> bool:
    """True where both would take the same order of a store that both name: at one time, and of the same segment or of any."""
    if other.tenant_id != programme.tenant_id or other.programme_id == programme.programme_id:
        return False
    meet = _begins_before_end(programme, other) and _begins_before_end(other, programme)
    return meet and (programme.segments == other.segments or bool(set(programme.segments) & set(other.segments)))


def _begins_before_end(programme: Programme, other: Programme) -> bool:
    return programme.starts_at is None or other.ends_at is None or programme.starts_at < other.ends_at


def _affiliate(affiliate: Affiliate, _known: Known) -> Iterator[Flaw]:
    yield from slug("affiliate_id", affiliate.affiliate_id)
    yield from title("name", affiliate.name)
    yield from email("email", affiliate.email)
    yield from line("account_holder", affiliate.account_holder, 255)
    if affiliate.website:
        yield from _url("website", affiliate.website)
    if affiliate.iban and not is_iban(affiliate.iban):
        yield Flaw("iban", f"{affiliate.iban!r} is not an IBAN: its check digits do not fit, or it holds spaces or small letters")


def _membership(membership: Membership, known: Known) -> Iterator[Flaw]:
    yield from programme_and_affiliate(membership, known)
    yield from one_of("status", membership.status, get_args(MembershipStatus))
    applied, approved, suspended = membership.applied_at, membership.approved_at, membership.suspended_at
    if approved is not None and approved < applied:
        yield Flaw("approved_at", "is before applied_at")
    if suspended is not None and suspended < (applied if approved is None else approved):
        yield Flaw("suspended_at", "is before approved_at" if approved is not None else "is before applied_at")
    if membership.status == "applied" and (approved is not None or suspended is not None):
        yield Flaw("status", "is applied, so approved_at and suspended_at must be left out")
    if membership.status == "approved" and (approved is None or suspended is not None):
        yield Flaw("status", "is approved, so approved_at must be given and suspended_at left out")
    if membership.status == "suspended" and suspended is None:
        yield Flaw("status", "is suspended, so suspended_at must be given")
    yield from word("group", membership.group)
    yield from _recruiter(membership, known)


def _recruiter(membership: Membership, known: Known) -> Iterator[Flaw]:
    """Who recruited somebody is a member of the same programme, and never was recruited, by whatever chain, by that one."""
    place = (membership.tenant_id, membership.programme_id)
    above, chain = membership.recruited_by, {membership.affiliate_id: None}  # a dict: long chains are looked up, not searched
    if above and (*place, above) not in known.memberships:
        yield Flaw("recruited_by", f"{above!r} is not a member of programme {' '.join(place)}")
    while above and above not in chain:
        chain[above] = None
        recruiter = known.memberships.get((*place, above))
        above = recruiter.recruited_by if recruiter else ""
    if above == membership.affiliate_id:
        circle = ", ".join(f"{one} by {by}" for one, by in pairwise([*chain, above]))
        yield Flaw("recruited_by", f"goes round in a circle: {circle}")


def _link(link: Link, known: Known) -> Iterator[Flaw]:
    yield from slug("code", link.code)
    yield from of_member(link, known)
    yield from line("name", link.name, 255)
    yield from one_of("channel", link.channel, CHANNELS)
    programme = known.programmes.get((link.tenant_id, link.programme_id))
    yield from _destination("destination", link.destination, programme)
    yield from _caps(link, programme)


def _coupon(coupon: Coupon, known: Known) -> Iterator[Flaw]:
    if not _COUPON.fullmatch(coupon.code):
        yield Flaw("code", f"{coupon.code!r} is not a coupon code: 1 to 64 capital letters, digits, - and _")
    yield from of_member(coupon, known)
    if coupon.valid_from is not None and coupon.valid_to is not None and coupon.valid_to <= coupon.valid_from:
        yield Flaw("valid_to", "is not after valid_from, so the coupon would never be valid")
    yield from word("coupon_class", coupon.coupon_class)


def _user(user: User, known: Known) -> Iterator[Flaw]:
    yield from email("email", user.email)
    if user.email != user.email.lower():
        yield Flaw("email", f"{user.email!r} is not in small letters")
    yield from line("name", user.name, 255)
    yield from one_of("role", user.role, ROLES)
    if user.password_hash and not user.password_hash.startswith("$argon2id$"):
        yield Flaw("password_hash", "is not an Argon2id hash; a password itself never stands in this file")
    if user.role == "affiliate":
        if user.tenant_id:
            yield Flaw("tenant_id", "is given for an affiliate's user, who belongs to no single tenant")
        if user.affiliate_id not in known.affiliates:
            yield Flaw("affiliate_id", f"{user.affiliate_id!r} is not an affiliate")
    else:
        if user.affiliate_id:
            yield Flaw("affiliate_id", f"is given for a {user.role} user, who belongs to a tenant")
        yield from in_tenant(user.tenant_id, known)


def _api_key(key: ApiKey, known: Known) -> Iterator[Flaw]:
    yield from slug("key_id", key.key_id)
    yield from in_tenant(key.tenant_id, known)
    yield from line("name", key.name, 255)
    if not _SHA256.fullmatch(key.key_hash):
        yield Flaw("key_hash", "is not a SHA-256 in 64 small hex digits; a key itself never stands in this file")


def _coalition(coalition: Coalition, known: Known) -> Iterator[Flaw]:
    yield from slug("coalition_id", coalition.coalition_id)
    yield from title("name", coalition.name)
    members = tuple(member.tenant_id for member in coalition.members)
    yield from repeated("members", members)
    if not 2 <= len(members) <= WORDS_LIMIT:
        yield Flaw("members", f"has {len(members)} members; a coalition has 2 to {WORDS_LIMIT}")
    for index, member in enumerate(coalition.members):
        if member.tenant_id not in known.tenants:
            yield Flaw("members", f"{member.tenant_id!r} is not a tenant", (index, "tenant_id"))
        if member.left_at is not None and member.left_at <= member.joined_at:
            yield Flaw("members", f"left_at of {member.tenant_id} is not after its joined_at", (index, "left_at"))
    yield from repeated("classes", coalition.classes)
    if not coalition.classes:
        yield Flaw("classes", "is empty, so no touch would count; name at least one class")
    for touch in coalition.classes:
        yield from one_of("classes", touch, SHARED)
    if coalition.marketplace_id and coalition.marketplace_id not in members:
        yield Flaw("marketplace_id", f"{coalition.marketplace_id!r} is not a member of the coalition")


_CHECKS: dict[type, Callable[[Any, Known], Iterator[Flaw]]] = {
    Tenant: _tenant,
    Store: _store,
    Segment: _segment,
    Programme: _programme,
    Affiliate: _affiliate,
    Membership: _membership,
    Link: _link,
    Coupon: _coupon,
    Policy: policy_flaws,
    RateCard: rate_card_flaws,
    User: _user,
    ApiKey: _api_key,
    Coalition: _coalition,
}


# --- the parts they share --------------------------------------------------------------------------------------------


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # A machine without a time zone database cannot tell; it must not refuse what another one wrote.
        return not available_timezones() and "/" in name
    return True


def _url(field: str, value: str) -> Iterator[Flaw]:
    """http or https, a host in small letters, and nothing that a browser and we could read differently."""
    match = _URL.fullmatch(value)
    if match is None or _NOT_IN_URL.search(value) or len(value) > 2048:
        yield Flaw(field, f"{value!r} is not a URL such as https://www.example.com/page")
    elif "@" in match[1]:
        yield Flaw(field, f"{value!r} names a user, which no link may")
    elif not is_allowed_host(match[1]):
        yield Flaw(field, f"{match[1]!r} is not a host such as www.example.com, in small letters")


def _destination(field: str, value: str, programme: Programme | None) -> Iterator[Flaw]:
    flaws = list(_url(field, value))
    yield from flaws
    if flaws or programme is None or not programme.hosts:
        return
    host = _host_of(value)
    if not host_allowed(host, programme.hosts):
        yield Flaw(field, f"leads to {host}, which is not on the programme's hosts ({', '.join(programme.hosts)})")


def _caps(record: Programme | Link, programme: Programme | None) -> Iterator[Flaw]:
    daily, total = record.daily_click_cap, record.total_click_cap
    for field, clicks in (("daily_click_cap", daily), ("total_click_cap", total)):
        if clicks is not None and not 1 <= clicks <= CLICKS_LIMIT:
            yield Flaw(field, f"{clicks} is not between 1 and {CLICKS_LIMIT}; to let no click earn, disable the links instead")
    if daily is not None and total is not None and total < daily:
        yield Flaw("total_click_cap", f"{total} is less than the {daily} of a single day, so the daily cap would never be reached")
    if record.fallback_url:
        yield from _destination("fallback_url", record.fallback_url, programme)


def _host_of(url: str) -> str:
    match = _URL.fullmatch(url)
    assert match is not None, "only a URL that passed its check has a host"
    return match[1]
