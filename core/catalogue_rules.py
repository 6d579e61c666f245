"""What a sound catalogue holds: one place for the checks that the file, the portal and the API share.

A flaw is data about one record, not an exception, so that a file of a thousand records can tell all of them at once.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from core.catalogue import (
    Affiliate,
    ApiKey,
    Catalogue,
    Coupon,
    Link,
    Membership,
    MembershipStatus,
    Model,
    Per,
    Policy,
    Programme,
    RateCard,
    Rule,
    Store,
    Tenant,
    User,
)
from core.credit import TouchClass
from core.events import CHANNELS, CustomerStatus
from core.ids import is_slug
from core.money import CURRENCIES, LIMIT_MINOR
from core.scope import ROLES

DAYS_LIMIT = 3650
HOURS_LIMIT = DAYS_LIMIT * 24
CLICKS_LIMIT = 1_000_000_000

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_COUPON = re.compile(r"[A-Z0-9](?:[A-Z0-9_-]{0,62}[A-Z0-9])?")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_URL = re.compile(r"https?://([^/?#]+)(?:[/?#].*)?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")


class Flaw(msgspec.Struct, frozen=True):
    """What is wrong with one field of a record, as the end of a sentence that begins with the field's value."""

    field: str
    message: str


class Known(msgspec.Struct):
    """The records that others may name, by key; None for one that is there but cannot be read."""

    tenants: dict[str, Tenant | None]
    stores: dict[tuple[str, str], Store | None]
    programmes: dict[tuple[str, str], Programme | None]
    affiliates: dict[str, Affiliate | None]
    memberships: dict[tuple[str, str, str], Membership | None]


def known_of(catalogue: Catalogue) -> Known:
    return Known(
        tenants={tenant.tenant_id: tenant for tenant in catalogue.tenants},
        stores={(store.tenant_id, store.store_id): store for store in catalogue.stores},
        programmes={(programme.tenant_id, programme.programme_id): programme for programme in catalogue.programmes},
        affiliates={affiliate.affiliate_id: affiliate for affiliate in catalogue.affiliates},
        memberships={(one.tenant_id, one.programme_id, one.affiliate_id): one for one in catalogue.memberships},
    )


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
    yield from _slug("tenant_id", tenant.tenant_id)
    yield from _name("name", tenant.name)
    if tenant.currency not in CURRENCIES:
        yield Flaw("currency", f"{tenant.currency!r} is not an ISO 4217 code such as EUR")
    if not _is_time_zone(tenant.time_zone):
        yield Flaw("time_zone", f"{tenant.time_zone!r} is not a time zone such as Europe/Berlin")
    if not _PARAMETER.fullmatch(tenant.click_parameter):
        yield Flaw("click_parameter", f"{tenant.click_parameter!r} is not a query parameter of up to 32 letters and digits")


def _store(store: Store, known: Known) -> Iterator[Flaw]:
    yield from _in_tenant(store.tenant_id, known)
    yield from _slug("store_id", store.store_id)
    yield from _name("name", store.name)
    yield from _text("segment", store.segment, 64)
    yield from _one_of("channel", store.channel, CHANNELS)
    if store.host and not is_host(store.host):
        yield Flaw("host", f"{store.host!r} is not a host such as www.example.com")


def _programme(programme: Programme, known: Known) -> Iterator[Flaw]:
    yield from _in_tenant(programme.tenant_id, known)
    yield from _slug("programme_id", programme.programme_id)
    yield from _name("name", programme.name)
    yield from (Flaw("hosts", f"{host!r} is not a host such as example.com") for host in programme.hosts if not is_allowed_host(host))
    yield from _repeated("hosts", programme.hosts)
    yield from _destination("landing_url", programme.landing_url, programme)
    yield from _caps(programme, programme)
    yield from _repeated("stores", programme.stores)
    for store_id in programme.stores:
        if (programme.tenant_id, store_id) not in known.stores:
            yield Flaw("stores", f"{store_id!r} is not a store of tenant {programme.tenant_id}")
        for other in known.programmes.values():
            if other and _is_rival(programme, other) and store_id in other.stores:
                yield Flaw("stores", f"{store_id!r} is taken by programme {other.programme_id}")


def _is_rival(programme: Programme, other: Programme) -> bool:
    return other.tenant_id == programme.tenant_id and other.programme_id != programme.programme_id


def _affiliate(affiliate: Affiliate, _known: Known) -> Iterator[Flaw]:
    yield from _slug("affiliate_id", affiliate.affiliate_id)
    yield from _name("name", affiliate.name)
    yield from _email("email", affiliate.email)
    yield from _text("account_holder", affiliate.account_holder, 255)
    if affiliate.website:
        yield from _url("website", affiliate.website)
    if affiliate.iban and not is_iban(affiliate.iban):
        yield Flaw("iban", f"{affiliate.iban!r} is not an IBAN: its check digits do not fit, or it holds spaces or small letters")


def _membership(membership: Membership, known: Known) -> Iterator[Flaw]:
    yield from _programme_and_affiliate(membership, known)
    yield from _one_of("status", membership.status, get_args(MembershipStatus))
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


def _link(link: Link, known: Known) -> Iterator[Flaw]:
    yield from _slug("code", link.code)
    yield from _of_member(link, known)
    yield from _text("name", link.name, 255)
    yield from _one_of("channel", link.channel, CHANNELS)
    programme = known.programmes.get((link.tenant_id, link.programme_id))
    yield from _destination("destination", link.destination, programme)
    yield from _caps(link, programme)


def _coupon(coupon: Coupon, known: Known) -> Iterator[Flaw]:
    if not _COUPON.fullmatch(coupon.code):
        yield Flaw("code", f"{coupon.code!r} is not a coupon code: 1 to 64 capital letters, digits, - and _")
    yield from _of_member(coupon, known)
    if coupon.valid_from is not None and coupon.valid_to is not None and coupon.valid_to <= coupon.valid_from:
        yield Flaw("valid_to", "is not after valid_from, so the coupon would never be valid")


def _policy(policy: Policy, known: Known) -> Iterator[Flaw]:
    yield from _version(policy, known)
    yield from _one_of("model", policy.model, get_args(Model))
    yield from _repeated("classes", tuple(window.touch for window in policy.classes))
    if not policy.classes:
        yield Flaw("classes", "is empty, so nobody would ever earn; name at least one class")
    for window in policy.classes:
        yield from _one_of("classes", window.touch, get_args(TouchClass))
        # A coupon is used in the order itself, so its age is zero and a window of zero is enough.
        lowest = 0 if window.touch == "coupon" else 1
        if not lowest <= window.window_hours <= HOURS_LIMIT:
            yield Flaw("classes", f"window_hours {window.window_hours} of {window.touch} is not between {lowest} and {HOURS_LIMIT}")


def _rate_card(card: RateCard, known: Known) -> Iterator[Flaw]:
    yield from _version(card, known)
    yield from _repeated("rules", tuple(rule.rule_id for rule in card.rules))
    for rule in card.rules:
        yield from (Flaw("rules", f"rule {rule.rule_id}: {message}") for message in _rule(rule))
    if not 0 <= card.hold_days <= DAYS_LIMIT:
        yield Flaw("hold_days", f"{card.hold_days} is not between 0 and {DAYS_LIMIT}")


def _rule(rule: Rule) -> Iterator[str]:
    if not is_slug(rule.rule_id):
        yield "its id is not 1 to 63 small letters, digits and dashes"
    if (rule.percent_bps is None) == (rule.fixed_minor is None):
        yield "give either percent or fixed" + ("" if rule.percent_bps is None else ", not both")
    if rule.percent_bps is not None and not 0 <= rule.percent_bps <= 10_000:
        yield "percent is not between 0 % and 100 %"
    if rule.fixed_minor is not None and not 0 <= rule.fixed_minor <= LIMIT_MINOR:
        yield "fixed is negative or beyond the largest amount taken"
    if not 0 <= rule.priority <= 1_000_000:
        yield f"priority {rule.priority} is not between 0 and 1000000"
    if rule.per not in get_args(Per):
        yield f"per {rule.per!r} is not one of {', '.join(get_args(Per))}"
    if rule.customer_status not in get_args(CustomerStatus):
        yield f"customer_status {rule.customer_status!r} is not new or returning"


def _user(user: User, known: Known) -> Iterator[Flaw]:
    yield from _email("email", user.email)
    if user.email != user.email.lower():
        yield Flaw("email", f"{user.email!r} is not in small letters")
    yield from _text("name", user.name, 255)
    yield from _one_of("role", user.role, ROLES)
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
        yield from _in_tenant(user.tenant_id, known)


def _api_key(key: ApiKey, known: Known) -> Iterator[Flaw]:
    yield from _slug("key_id", key.key_id)
    yield from _in_tenant(key.tenant_id, known)
    yield from _text("name", key.name, 255)
    if not _SHA256.fullmatch(key.key_hash):
        yield Flaw("key_hash", "is not a SHA-256 in 64 small hex digits; a key itself never stands in this file")


_CHECKS: dict[type, Callable[[Any, Known], Iterator[Flaw]]] = {
    Tenant: _tenant,
    Store: _store,
    Programme: _programme,
    Affiliate: _affiliate,
    Membership: _membership,
    Link: _link,
    Coupon: _coupon,
    Policy: _policy,
    RateCard: _rate_card,
    User: _user,
    ApiKey: _api_key,
}


# --- the parts they share --------------------------------------------------------------------------------------------


def _slug(field: str, value: str) -> Iterator[Flaw]:
    if not is_slug(value):
        yield Flaw(field, f"{value!r} is not an id: 1 to 63 small letters, digits and dashes, no dash first or last")


def _name(field: str, value: str) -> Iterator[Flaw]:
    if not value.strip():
        yield Flaw(field, "is empty")
    yield from _text(field, value, 255)


def _text(field: str, value: str, limit: int) -> Iterator[Flaw]:
    if len(value) > limit:
        yield Flaw(field, f"has {len(value)} characters; {limit} is the most")
    if _CONTROL.search(value):
        yield Flaw(field, f"{value!r} holds a line break or a control character")


def _email(field: str, value: str) -> Iterator[Flaw]:
    if not _EMAIL.fullmatch(value) or len(value) > 255 or _CONTROL.search(value):
        yield Flaw(field, f"{value!r} is not an e-mail address")


def _one_of(field: str, value: str, choices: tuple[str, ...]) -> Iterator[Flaw]:
    if value not in choices:
        yield Flaw(field, f"{value!r} is not one of {', '.join(choices)}")


def _repeated(field: str, values: tuple[str, ...]) -> Iterator[Flaw]:
    for value in sorted({value for value in values if values.count(value) > 1}):
        yield Flaw(field, f"{value!r} stands twice")


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # A machine without a time zone database cannot tell; it must not refuse what another one wrote.
        return not available_timezones() and "/" in name
    return True


def _in_tenant(tenant_id: str, known: Known) -> Iterator[Flaw]:
    if tenant_id not in known.tenants:
        yield Flaw("tenant_id", f"{tenant_id!r} is not a tenant")


def _in_programme(record: Any, known: Known) -> Iterator[Flaw]:
    if record.tenant_id not in known.tenants:
        yield Flaw("tenant_id", f"{record.tenant_id!r} is not a tenant")
    elif (record.tenant_id, record.programme_id) not in known.programmes:
        yield Flaw("programme_id", f"{record.programme_id!r} is not a programme of tenant {record.tenant_id}")


def _programme_and_affiliate(record: Any, known: Known) -> Iterator[Flaw]:
    yield from _in_programme(record, known)
    if record.affiliate_id not in known.affiliates:
        yield Flaw("affiliate_id", f"{record.affiliate_id!r} is not an affiliate")


def _of_member(record: Link | Coupon, known: Known) -> Iterator[Flaw]:
    flaws = list(_programme_and_affiliate(record, known))
    yield from flaws
    if not flaws and (record.tenant_id, record.programme_id, record.affiliate_id) not in known.memberships:
        yield Flaw("affiliate_id", f"{record.affiliate_id!r} is not a member of programme {record.tenant_id} {record.programme_id}")


def _version(record: Policy | RateCard, known: Known) -> Iterator[Flaw]:
    yield from _in_programme(record, known)
    if not 1 <= record.version <= 1_000_000:
        yield Flaw("version", f"{record.version} is not a version; the first is 1")


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
