"""Generators: instants, amounts, and whole catalogues that are sound."""

from typing import Any

from hypothesis import strategies as st

from core.catalogue import (
    RECORD_KEYS,
    Affiliate,
    ApiKey,
    Catalogue,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Store,
    Tenant,
    TouchWindow,
    User,
)
from core.events import CHANNELS
from core.money import LIMIT_MINOR
from core.scope import ROLES

instants = st.integers(0, 4_102_444_800_000)
"""1970 to 2100, in milliseconds."""
amounts = st.integers(0, LIMIT_MINOR)
slugs = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
channels = st.sampled_from(CHANNELS)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20).filter(str.strip)
texts = st.one_of(st.just(""), names)
hosts = st.from_regex(r"[a-z0-9]{1,8}(?:\.[a-z]{2,5}){1,2}", fullmatch=True)
paths = st.from_regex(r"(?:/[a-zA-Z0-9_%.~-]{0,8}){0,3}(?:\?[a-z]{1,3}=[a-z0-9&=]{0,9})?", fullmatch=True)
emails = st.builds(lambda name, host: f"{name}@{host}", st.from_regex(r"[a-z0-9.+]{1,9}", fullmatch=True), hosts)
ibans = st.sampled_from(["", "DE89370400440532013000", "GB82WEST12345698765432", "NL91ABNA0417164300"])
customer_statuses = st.sampled_from(["", "new", "returning"])

tenants = st.builds(
    Tenant,
    tenant_id=slugs,
    name=names,
    currency=st.sampled_from(["EUR", "GBP", "JPY", "BHD", "CLF"]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]),
    click_parameter=st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True),
)
affiliates = st.builds(
    Affiliate,
    affiliate_id=slugs,
    name=names,
    email=emails,
    website=st.one_of(st.just(""), hosts.map("https://{}/".format)),
    account_holder=texts,
    iban=ibans,
)
rules = st.builds(
    lambda pay, **rest: Rule(**pay, **rest),
    pay=st.one_of(
        st.integers(0, 10_000).map(lambda bps: {"percent_bps": bps}), st.integers(0, LIMIT_MINOR).map(lambda minor: {"fixed_minor": minor})
    ),
    rule_id=slugs,
    priority=st.integers(0, 1000),
    per=st.sampled_from(["order", "line", "unit"]),
    categories=st.lists(texts, max_size=3).map(tuple),
    skus=st.lists(texts, max_size=3).map(tuple),
    customer_status=customer_statuses,
)
windows = st.one_of(
    st.builds(TouchWindow, st.just("coupon"), st.integers(0, 9999)),
    st.builds(TouchWindow, st.sampled_from(["click", "impression"]), st.integers(1, 9999)),
)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """A sound catalogue: every id it names is in it, every destination on its programme's hosts, sorted by ids."""
    owners = _several(draw, tenants, lambda tenant: tenant.tenant_id, most=3)
    partners = _several(draw, affiliates, lambda affiliate: affiliate.affiliate_id, most=4)
    shops = _stores(draw, owners)
    programmes = _programmes(draw, owners, shops)
    members = _memberships(draw, programmes, partners)
    pieces: dict[str, list[Any]] = {
        "tenants": owners,
        "stores": shops,
        "programmes": programmes,
        "affiliates": partners,
        "memberships": members,
        "links": _links(draw, members, programmes),
        "coupons": _coupons(draw, members),
        "policies": _policies(draw, programmes),
        "rate_cards": _rate_cards(draw, programmes),
        "users": _users(draw, owners, partners),
        "api_keys": _api_keys(draw, owners),
    }
    return Catalogue(**{kind: tuple(sorted(records, key=lambda one: _key(kind, one))) for kind, records in pieces.items()})


def _key(kind: str, record: Any) -> list[Any]:
    return [getattr(record, name) for name in RECORD_KEYS[kind]]


def _several(draw: st.DrawFn, one: st.SearchStrategy[Any], key: Any, most: int) -> list[Any]:
    return draw(st.lists(one, max_size=most, unique_by=key))


def _of_each(draw: st.DrawFn, owners: list[Any], build: Any, most: int = 2) -> list[Any]:
    """Up to ``most`` ids under each owner, each made a record by ``build``."""
    return [build(owner, slug) for owner in owners for slug in draw(st.lists(slugs, max_size=most, unique=True))]


def _stores(draw: st.DrawFn, owners: list[Tenant]) -> list[Store]:
    def build(tenant: Tenant, slug: str) -> Store:
        host = draw(st.one_of(st.just(""), hosts))
        return Store(tenant.tenant_id, slug, draw(names), draw(channels), draw(texts), host)

    return _of_each(draw, owners, build)


def _programmes(draw: st.DrawFn, owners: list[Tenant], shops: list[Store]) -> list[Programme]:
    free = list(shops)  # a store belongs to one programme at most

    def build(tenant: Tenant, slug: str) -> Programme:
        allowed = tuple(draw(st.lists(hosts, min_size=1, max_size=3, unique=True)))
        own = [shop for shop in free if shop.tenant_id == tenant.tenant_id and draw(st.booleans())]
        free[:] = [shop for shop in free if shop not in own]
        stores = tuple(shop.store_id for shop in own)
        return Programme(tenant.tenant_id, slug, draw(names), _url(draw, allowed), allowed, stores, *_caps(draw, allowed))

    return _of_each(draw, owners, build)


def _url(draw: st.DrawFn, allowed: tuple[str, ...]) -> str:
    return f"https://{draw(st.sampled_from(['', 'www.']))}{draw(st.sampled_from(allowed))}{draw(paths)}"


def _memberships(draw: st.DrawFn, programmes: list[Programme], partners: list[Affiliate]) -> list[Membership]:
    members = []
    for programme in programmes:
        for partner in partners:
            times = sorted(draw(st.lists(instants, min_size=3, max_size=3)))
            life = draw(st.sampled_from([("applied", 1), ("approved", 2), ("suspended", 3)]))
            dates = [at if i < life[1] else None for i, at in enumerate(times)]
            members.append(Membership(programme.tenant_id, programme.programme_id, partner.affiliate_id, life[0], times[0], *dates[1:]))
    return [member for member in members if draw(st.booleans())]


def _links(draw: st.DrawFn, members: list[Membership], programmes: list[Programme]) -> list[Link]:
    allowed = {(programme.tenant_id, programme.programme_id): programme.hosts for programme in programmes}

    def build(member: Membership, code: str) -> Link:
        own_hosts = allowed[member.tenant_id, member.programme_id]
        owner = (member.tenant_id, member.programme_id, member.affiliate_id)
        return Link(code, *owner, _url(draw, own_hosts), draw(texts), draw(channels), draw(st.booleans()), *_caps(draw, own_hosts))

    return list({link.code: link for link in _of_each(draw, members, build)}.values())


def _caps(draw: st.DrawFn, allowed: tuple[str, ...]) -> tuple[int | None, int | None, str]:
    """Daily cap, total cap and fallback."""
    daily = draw(st.one_of(st.none(), st.integers(1, 10**6)))
    total = draw(st.one_of(st.none(), st.integers(daily or 1, 10**9)))
    return daily, total, draw(st.one_of(st.just(""), st.builds(lambda: _url(draw, allowed))))


def _coupons(draw: st.DrawFn, members: list[Membership]) -> list[Coupon]:
    def build(member: Membership, slug: str) -> Coupon:
        start, length = draw(st.one_of(st.none(), instants)), draw(st.one_of(st.none(), st.integers(1, 10**10)))
        end = None if length is None else (start or 0) + length
        return Coupon(member.tenant_id, slug.upper(), member.programme_id, member.affiliate_id, start, end)

    return list({(coupon.tenant_id, coupon.code): coupon for coupon in _of_each(draw, members, build)}.values())


def _policies(draw: st.DrawFn, programmes: list[Programme]) -> list[Policy]:
    return [
        Policy(programme.tenant_id, programme.programme_id, version, draw(instants), "last_click", tuple(classes))
        for programme in programmes
        for version in draw(st.lists(st.integers(1, 99), max_size=2, unique=True))
        for classes in [draw(st.lists(windows, min_size=1, max_size=3, unique_by=lambda window: window.touch))]
    ]


def _rate_cards(draw: st.DrawFn, programmes: list[Programme]) -> list[RateCard]:
    return [
        RateCard(programme.tenant_id, programme.programme_id, version, draw(instants), draw(st.integers(0, 365)), tuple(own))
        for programme in programmes
        for version in draw(st.lists(st.integers(1, 99), max_size=2, unique=True))
        for own in [draw(st.lists(rules, max_size=3, unique_by=lambda rule: rule.rule_id))]
    ]


def _users(draw: st.DrawFn, owners: list[Tenant], partners: list[Affiliate]) -> list[User]:
    users = []
    for email in draw(st.lists(emails, max_size=4, unique=True)):
        role = draw(st.sampled_from(ROLES))
        homes = partners if role == "affiliate" else owners
        if homes:
            home = draw(st.sampled_from(homes))
            place = {"affiliate_id": home.affiliate_id} if role == "affiliate" else {"tenant_id": home.tenant_id}
            password_hash = draw(st.sampled_from(["", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"]))
            users.append(User(email, draw(texts), role, password_hash, disabled=draw(st.booleans()), **place))
    return users


def _api_keys(draw: st.DrawFn, owners: list[Tenant]) -> list[ApiKey]:
    keys = _of_each(draw, owners, lambda tenant, slug: (slug, tenant.tenant_id), most=1)
    return [ApiKey(slug, tenant_id, draw(texts), f"{number:064x}") for number, (slug, tenant_id) in enumerate(dict(keys).items())]
