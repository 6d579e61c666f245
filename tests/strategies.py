"""Generators: instants, amounts, and whole catalogues that are sound."""

from functools import lru_cache
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from core.catalogue import (
    RECORD_KEYS,
    Affiliate,
    ApiKey,
    Bonus,
    Catalogue,
    Clause,
    Coalition,
    CoalitionMember,
    Condition,
    Coupon,
    CouponRule,
    Limit,
    Link,
    Measure,
    Membership,
    Model,
    PaidRule,
    Period,
    Policy,
    Programme,
    RateCard,
    Rule,
    Segment,
    Store,
    Subject,
    Tenant,
    Tier,
    Tiers,
    TouchWindow,
    User,
)
from core.conditions import CHOICES, EQUALITY, ONE_VALUE, attributes_of, kind_of, operators_of, parse_value
from core.credit import TouchClass
from core.events import CHANNELS
from core.money import LIMIT_MINOR, format_amount
from core.rate_rules import PER
from core.scope import ROLES

instants = st.integers(0, 4_102_444_800_000)
"""1970 to 2100, in milliseconds."""
amounts = st.integers(0, LIMIT_MINOR)
slugs = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
channels = st.sampled_from(CHANNELS)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20).filter(str.strip)
texts = st.one_of(st.just(""), names)
words = texts.map(str.strip)
hosts = st.from_regex(r"[a-z0-9]{1,8}(?:\.[a-z]{2,5}){1,2}", fullmatch=True)
paths = st.from_regex(r"(?:/[a-zA-Z0-9_%.~-]{0,8}){0,3}(?:\?[a-z]{1,3}=[a-z0-9&=]{0,9})?", fullmatch=True)
emails = st.builds(lambda name, host: f"{name}@{host}", st.from_regex(r"[a-z0-9.+]{1,9}", fullmatch=True), hosts)
ibans = st.sampled_from(["", "DE89370400440532013000", "GB82WEST12345698765432", "NL91ABNA0417164300"])
customer_statuses = st.sampled_from(["", "new", "returning", "lapsed"])
bps = st.integers(0, 10_000)

tenants = st.builds(
    Tenant,
    tenant_id=slugs,
    name=names,
    currency=st.sampled_from(["EUR", "GBP", "JPY", "BHD", "CLF"]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]),
    click_parameter=st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True),
    lapsed_after_days=st.integers(1, 3650),
    adjustment_limit_minor=amounts,
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
positive = st.integers(1, LIMIT_MINOR)
measures, periods = st.sampled_from(get_args(Measure)), st.sampled_from(get_args(Period))
limits = st.tuples(positive, periods, st.booleans())
bonuses = st.builds(Bonus, slugs, measures, periods, positive, positive)
numbers = st.integers(0, 10**6).flatmap(lambda whole: st.sampled_from([f"{whole}", f"{whole}.5", f"{whole}.0625"]))
at_order = ["coupon", "exclusive_coupon", "clickless", "agent"]
windows = st.one_of(
    st.builds(TouchWindow, st.sampled_from(at_order), st.integers(0, 9999), st.booleans()),
    st.builds(TouchWindow, st.sampled_from(sorted({*get_args(TouchClass)} - {*at_order})), st.integers(1, 9999), st.booleans()),
)
conditions = st.one_of(
    st.builds(
        Condition, st.from_regex(r"z[a-z0-9_]{0,9}", fullmatch=True), st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)
    ),
    st.builds(Condition, st.just("channel"), st.lists(channels, min_size=1, max_size=3, unique=True).map(tuple)),
    st.builds(Condition, st.just("country"), st.lists(st.sampled_from(["DE", "AT", "FR"]), min_size=1, unique=True).map(tuple)),
    st.builds(
        Condition, st.just("customer_status"), st.lists(customer_statuses.filter(bool), min_size=1, max_size=3, unique=True).map(tuple)
    ),
)
spans = st.tuples(instants, st.integers(1, 10**10)).map(lambda span: (span[0], sum(span)))
"""A beginning and a later end."""
open_spans = st.one_of(st.just((None, None)), spans, spans.map(lambda span: (span[0], None)), spans.map(lambda span: (None, span[1])))


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """A sound catalogue: every id it names is in it, every destination on its programme's hosts, sorted by ids."""
    owners = _several(draw, tenants, lambda tenant: tenant.tenant_id, most=3)
    partners = _several(draw, affiliates, lambda affiliate: affiliate.affiliate_id, most=4)
    shops = _stores(draw, owners)
    groups = _of_each(draw, owners, lambda tenant, slug: Segment(tenant.tenant_id, slug, draw(names), _several_conditions(draw)), most=2)
    programmes = _programmes(draw, owners, shops, groups)
    members = _memberships(draw, programmes, partners)
    pieces: dict[str, list[Any]] = {
        "tenants": owners,
        "stores": shops,
        "programmes": programmes,
        "affiliates": partners,
        "memberships": members,
        "links": _links(draw, members, programmes),
        "coupons": _coupons(draw, members),
        "policies": _policies(draw, programmes, groups),
        "users": _users(draw, owners, partners),
        "api_keys": _api_keys(draw, owners),
        "segments": groups,
        "coalitions": _coalitions(draw, owners),
    }
    pieces["rate_cards"] = _rate_cards(draw, owners, programmes, pieces)
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


def _several_conditions(draw: st.DrawFn) -> tuple[Condition, ...]:
    return tuple(draw(st.lists(conditions, min_size=1, max_size=3, unique_by=lambda condition: condition.field)))


def _some_segments(draw: st.DrawFn, tenant_id: str, groups: list[Segment]) -> tuple[str, ...]:
    own = [group.segment_id for group in groups if group.tenant_id == tenant_id]
    return tuple(draw(st.lists(st.sampled_from(own), unique=True))) if own else ()


def _programmes(draw: st.DrawFn, owners: list[Tenant], shops: list[Store], groups: list[Segment]) -> list[Programme]:
    free = list(shops)  # a store belongs to one programme at most

    def build(tenant: Tenant, slug: str) -> Programme:
        allowed = tuple(draw(st.lists(hosts, min_size=1, max_size=3, unique=True)))
        own = [shop for shop in free if shop.tenant_id == tenant.tenant_id and draw(st.booleans())]
        free[:] = [shop for shop in free if shop not in own]
        stores = tuple(shop.store_id for shop in own)
        limits = (*_caps(draw, allowed), _some_segments(draw, tenant.tenant_id, groups), *draw(open_spans))
        return Programme(tenant.tenant_id, slug, draw(names), _url(draw, allowed), allowed, stores, *limits)

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
            key = (programme.tenant_id, programme.programme_id, partner.affiliate_id)
            members.append(Membership(*key, life[0], times[0], *dates[1:], draw(st.booleans()), draw(words)))
    return _recruited(draw, [member for member in members if draw(st.booleans())])


def _recruited(draw: st.DrawFn, members: list[Membership]) -> list[Membership]:
    """Some members brought by others; always by earlier ones of the list, so that there is no circle."""
    found = []
    for number, member in enumerate(members):
        place = (member.tenant_id, member.programme_id)
        earlier = ["", *(one.affiliate_id for one in members[:number] if (one.tenant_id, one.programme_id) == place)]
        found.append(msgspec.structs.replace(member, recruited_by=draw(st.sampled_from(earlier))))
    return found


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
        owner = (member.programme_id, member.affiliate_id)
        return Coupon(member.tenant_id, slug.upper(), *owner, *draw(open_spans), draw(st.booleans()), draw(words))

    return list({(coupon.tenant_id, coupon.code): coupon for coupon in _of_each(draw, members, build)}.values())


def _policies(draw: st.DrawFn, programmes: list[Programme], groups: list[Segment]) -> list[Policy]:
    def build(programme: Programme, version: int) -> Policy:
        segment = next(iter(_some_segments(draw, programme.tenant_id, groups)), "")
        return draw(_policy(programme.tenant_id, programme.programme_id, version, segment))

    return [build(programme, version) for programme in programmes for version in draw(_versions)]


@st.composite
def _policy(draw: st.DrawFn, tenant_id: str, programme_id: str, version: int, segment: str) -> Policy:
    classes = _classes(draw)
    listed = {window.touch for window in classes}
    settles = bool(listed & {"coupon", "exclusive_coupon"} and listed & {"click", "click_id", "scan", "call"})
    first, introducer = draw(bps), draw(bps)
    return Policy(
        tenant_id,
        programme_id,
        version,
        draw(instants),
        draw(st.sampled_from(get_args(Model))),
        classes,
        segment=segment,
        first_bps=first,
        last_bps=draw(st.integers(0, 10_000 - first)),
        half_life_hours=draw(st.integers(1, 87_600)),
        introducer_bps=introducer,
        closer_bps=draw(st.integers(0, 10_000 - introducer)),
        coupon_rule=draw(st.sampled_from(get_args(CouponRule))) if settles else "by_rank",
        coupon_bps=draw(bps),
        guard_exclusive_codes=draw(st.booleans()),
        paid_rule=draw(st.sampled_from(get_args(PaidRule))),
        paid_media=tuple(draw(st.lists(st.sampled_from(["cpc", "email", "paid social"]), unique=True))),
        paid_recent=draw(st.integers(1, 100)),
        direct_rule=draw(st.sampled_from(["ignore", "counts"])),
        self_referral=draw(st.sampled_from(["flag", "refuse"])),
        min_seconds_to_order=draw(st.integers(0, 86_400)),
        stand_down_minutes=draw(st.integers(0, 43_200)),
        lock_days=draw(st.integers(1, 3650)),
    )


def _as_typed(policy: Policy) -> Policy:
    at_once = ("coupon", "exclusive_coupon", "clickless")
    classes = (TouchWindow(one.touch, 0, one.tied) if one.touch in at_once else one for one in policy.classes)
    return msgspec.structs.replace(policy, classes=tuple(classes))


policies = _policy("north", "main", 1, "").map(_as_typed)
"""Sound policies, as the portal's form can hold them: no window where the order itself carries the touch."""
_versions = st.lists(st.integers(1, 99), max_size=2, unique=True)


def _classes(draw: st.DrawFn) -> tuple[TouchWindow, ...]:
    first, *others = draw(st.lists(windows, min_size=1, max_size=5, unique_by=lambda window: window.touch))
    return (TouchWindow(first.touch, first.window_hours), *others)


class Named(msgspec.Struct, frozen=True):
    """What the conditions of a programme's rate cards may name."""

    currency: str
    segments: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


def _rate_cards(draw: st.DrawFn, owners: list[Tenant], programmes: list[Programme], pieces: dict[str, list[Any]]) -> list[RateCard]:
    def build(programme: Programme, version: int) -> RateCard:
        named = _named(programme, owners, pieces)
        rules = tuple(_rule(draw, rule_id, named) for rule_id in draw(st.lists(slugs, max_size=3, unique=True)))
        return draw(_rate_card(programme, version, rules))

    return [build(programme, version) for programme in programmes for version in draw(_versions)]


def _named(programme: Programme, owners: list[Tenant], pieces: dict[str, list[Any]]) -> Named:
    currency = next(tenant.currency for tenant in owners if tenant.tenant_id == programme.tenant_id)
    own = {kind: [one for one in pieces[kind] if one.tenant_id == programme.tenant_id] for kind in ("segments", "stores", "memberships")}
    members = tuple(one.affiliate_id for one in own["memberships"] if one.programme_id == programme.programme_id)
    return Named(currency, tuple(one.segment_id for one in own["segments"]), tuple(one.store_id for one in own["stores"]), members)


@st.composite
def _rate_card(draw: st.DrawFn, programme: Programme, version: int, rules: tuple[Rule, ...]) -> RateCard:
    ids = [rule.rule_id for rule in rules]
    some = st.lists(st.sampled_from(ids), unique=True).map(tuple) if ids else st.just(())
    return RateCard(
        programme.tenant_id,
        programme.programme_id,
        version,
        draw(instants),
        draw(st.integers(0, 365)),
        rules,
        priced_at=draw(st.sampled_from(["order", "touch"])),
        pays_on=draw(st.sampled_from([(), ("tax",), ("shipping",), ("tax", "shipping")])),
        minimum_order_minor=draw(amounts),
        limits=tuple(Limit(slug, *draw(limits), draw(some)) for slug in draw(st.lists(slugs, max_size=2, unique=True))),
        bonuses=tuple(draw(st.lists(bonuses, max_size=2, unique_by=lambda bonus: bonus.bonus_id))),
        recruiter_bps=tuple(draw(st.lists(st.integers(1, 1000), max_size=10))),
        recruiter_of=draw(st.sampled_from(["commission", "revenue"])),
        settle_in=draw(st.sampled_from(["", "EUR", "JPY"])),
        fx_rounding=draw(st.sampled_from(["down", "half_even", "up"])),
    )


def _rule(draw: st.DrawFn, rule_id: str, named: Named) -> Rule:
    subject: Subject = draw(st.sampled_from(["order", "order", "order", "lead", "click", "impression"]))
    per, when = draw(st.sampled_from(PER[subject])), draw(st.one_of(st.none(), clauses(subject, named)))
    priority = draw(st.integers(0, 1000))
    if subject != "order":
        return Rule(rule_id, priority, fixed_minor=draw(amounts), per=per, subject=subject, when=when)
    several = st.lists(texts, max_size=3).map(tuple)
    shape = draw(st.sampled_from([("percent_bps",), ("fixed_minor",), ("percent_bps", "fixed_minor")]))
    return Rule(
        rule_id,
        priority,
        **_pays(draw, shape),
        per=per,
        categories=draw(several),
        skus=draw(several),
        customer_status=draw(customer_statuses),
        segments=tuple(draw(st.lists(st.sampled_from(named.segments), unique=True))) if named.segments else (),
        when=when,
        most_minor=draw(st.one_of(st.none(), positive)),
        tiers=_tiers(draw, shape) if draw(st.booleans()) else None,
    )


@st.composite
def rate_cards(draw: st.DrawFn, named: Named) -> RateCard:
    """Sound cards of north's programme main, whose conditions name what there is."""
    rules = tuple(_rule(draw, rule_id, named) for rule_id in draw(st.lists(slugs, max_size=3, unique=True)))
    return draw(_rate_card(Programme("north", "main", "Main", "https://north.example/"), 1, rules))


def _pays(draw: st.DrawFn, shape: tuple[str, ...]) -> dict[str, int]:
    return {name: draw(bps if name == "percent_bps" else amounts) for name in shape}


def _tiers(draw: st.DrawFn, shape: tuple[str, ...]) -> Tiers:
    reached = sorted(draw(st.lists(positive, min_size=1, max_size=3, unique=True)))
    return Tiers(draw(measures), draw(periods), tuple(Tier(one, **_pays(draw, shape)) for one in reached), draw(st.booleans()))


@lru_cache(512)
def clauses(subject: Subject, named: Named, depth: int = 1) -> st.SearchStrategy[Clause]:
    """Sound conditions of rules that pay for ``subject``: up to three levels, each of up to three clauses."""
    leaf = st.composite(_leaf)(subject, named)
    if depth == 3:
        return leaf
    several = st.lists(clauses(subject, named, depth + 1), min_size=1, max_size=3).map(tuple)
    return st.one_of(leaf, several.map(lambda them: Clause(all=them)), several.map(lambda them: Clause(any=them)))


def _leaf(draw: st.DrawFn, subject: Subject, named: Named) -> Clause:
    ids = {("customer", "segments"): named.segments, ("order", "store"): named.stores, ("affiliate", "id"): named.members}
    free = [("order", "loyalty_tier"), ("item", "season")]
    asked = [one for one in (*attributes_of(subject), *(free if subject == "order" else ())) if ids.get(one, ("an id",))]
    entity, attribute = draw(st.sampled_from(asked))
    kind, operator = kind_of(entity, attribute), draw(st.sampled_from(operators_of(entity, attribute)))
    value = _values_of(entity, attribute, ids) if operator in EQUALITY else names
    if kind in ("number", "amount"):
        value = numbers if kind == "number" else amounts.map(lambda minor: format_amount(minor, named.currency))
    most = 1 if operator in ONE_VALUE else 3
    found = draw(st.lists(value, min_size=1, max_size=most, unique_by=lambda text: parse_value(kind, text, named.currency)))
    return Clause(entity, attribute, operator, tuple(found))


def _values_of(entity: str, attribute: str, ids: dict[tuple[str, str], tuple[str, ...]]) -> st.SearchStrategy[str]:
    """What such an attribute can equal."""
    if attribute in ("country", "currency"):
        return st.sampled_from(["DE", "at", "Fr"] if attribute == "country" else ["EUR", "usd"])
    choices = CHOICES.get((entity, attribute)) or ids.get((entity, attribute))
    return st.sampled_from(choices) if choices else names


def _coalitions(draw: st.DrawFn, owners: list[Tenant]) -> list[Coalition]:
    if len(owners) < 2:
        return []
    ids = [tenant.tenant_id for tenant in owners]
    shared = st.lists(st.sampled_from(["click", "scan", "call"]), min_size=1, unique=True).map(tuple)

    def build(slug: str) -> Coalition:
        dates = st.one_of(spans, spans.map(lambda span: (span[0], None)))
        members = tuple(CoalitionMember(one, *draw(dates)) for one in draw(st.lists(st.sampled_from(ids), min_size=2, unique=True)))
        marketplace = draw(st.sampled_from(["", members[0].tenant_id]))
        return Coalition(slug, draw(names), members, draw(shared), marketplace)

    return [build(slug) for slug in draw(st.lists(slugs, max_size=2, unique=True))]


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
