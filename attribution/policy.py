"""The rules in force: which programme takes an order, under which version of its policy, compiled for the decision, and in plain words."""

from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from hashlib import blake2b

import msgspec

from core.catalogue import (
    Catalogue,
    Coalition,
    Coupon,
    Membership,
    Policy,
    Programme,
    Segment,
    Store,
    Tenant,
    TouchWindow,
    version_at,
)
from core.clock import DAY, Instant
from core.credit import TouchClass
from core.events import Order
from core.identity import customer_key, tenant_key

NEAR_MISS = 30 * DAY
"""How far beyond the longest window touches are still looked up, in milliseconds: they earn nothing, but explain why."""
COUPON = "coupon:"
"""A coupon's candidate has this before its code as ``touch_id``."""

NOUNS: dict[TouchClass, tuple[str, str]] = {
    "click": ("click", "clicks"),
    "impression": ("ad view", "ad views"),
    "coupon": ("coupon", "coupons"),
    "click_id": ("click that the order names", "clicks that the order names"),
    "exclusive_coupon": ("exclusive coupon", "exclusive coupons"),
    "soft_click": ("soft click", "soft clicks"),
    "scan": ("scan", "scans"),
    "call": ("call", "calls"),
    "app_open": ("app open", "app opens"),
    "agent": ("claim of an assistant's checkout", "claims of an assistant's checkout"),
    "binding": ("bond of the customer", "bonds of the customer"),
    "clickless": ("affiliate named by the shop", "affiliates named by the shop"),
    "paid": ("visit from another marketing channel", "visits from another marketing channel"),
    "direct": ("direct visit", "direct visits"),
}
"""Each class of touch as people say it: one, many."""
_USUAL: tuple[TouchClass, ...] = ("click", "impression", "coupon")
"""Classes that people expect to earn, so that a policy says where they do not."""

_NEVER = 1 << 62
_ROUTES = 10_000
"""Kinds of orders, by store and segments, whose rulings are remembered for each tenant."""

_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


class Terms(msgspec.Struct, frozen=True, dict=True):
    """What one tenant's catalogue says about who may earn: all that a decision reads beside the events.

    Two equal terms decide every order alike; names, addresses and links of the catalogue are left out on purpose.
    ``coalitions`` are those that the tenant is or was a member of. ``own_keys`` are each affiliate's own customer keys
    under this tenant's hashing, by which a self-referral shows. ``leads_from`` is when the first version of a rate card begins that
    pays for leads: those from then on are decided; None where nobody pays for any.
    """

    tenant_id: str
    programmes: tuple[Programme, ...] = ()
    policies: dict[str, tuple[Policy, ...]] = {}
    memberships: dict[str, dict[str, Membership]] = {}
    coupons: dict[str, Coupon] = {}
    stores: dict[str, Store] = {}
    segments: tuple[Segment, ...] = ()
    coalitions: tuple[Coalition, ...] = ()
    own_keys: dict[str, tuple[str, ...]] = {}
    lapsed_after_days: int = 365
    leads_from: Instant | None = None

    @cached_property
    def coupons_by_touch(self) -> dict[str, Coupon]:
        """By the ``touch_id`` of their candidates."""
        return {COUPON + code: coupon for code, coupon in self.coupons.items()}

    @cached_property
    def owners_of_keys(self) -> dict[str, tuple[str, ...]]:
        """The affiliates whose own key each is."""
        owners: dict[str, tuple[str, ...]] = {}
        for affiliate_id, keys in sorted(self.own_keys.items()):
            for key in keys:
                owners[key] = (*owners.get(key, ()), affiliate_id)
        return owners

    @cached_property
    def _named(self) -> tuple[frozenset[str], frozenset[str]]:
        """Stores and segments that any programme or policy names: no others make a difference."""
        stores = (store for programme in self.programmes for store in programme.stores)
        segments = [segment for programme in self.programmes for segment in programme.segments]
        segments += [policy.segment for versions in self.policies.values() for policy in versions if policy.segment]
        return frozenset(stores), frozenset(segments)

    @cached_property
    def _routes(self) -> dict[tuple[str, tuple[str, ...]], "Route"]:
        return {}

    @cached_property
    def _rulings(self) -> dict[tuple[str, int], "Ruling"]:
        return {}


class Digests(dict[str, bytes]):
    """Digests of memberships, 16 bytes each; zeros for who has none."""

    def __missing__(self, affiliate_id: str) -> bytes:
        return bytes(16)


class Ruling(msgspec.Struct, frozen=True):
    """One version of a programme's policy, compiled: what a decision under it reads.

    ``ranks`` gives each class that takes part its rank (0 is the strongest; tied classes have the same) and its window in
    milliseconds; ``plain`` are those of them that need no look at anything but class, age and affiliate. ``active`` are the spans in
    which members earn, half-open. ``coupons`` are the tenant's, by ``touch_id``. ``contested``: it has rules of one touch against
    another, beside the ranks. ``members`` is what is hashed of each affiliate. ``lookback`` is how long before an order, in milliseconds,
    its touches are looked up.
    """

    policy: Policy
    programme: Programme
    ranks: dict[TouchClass, tuple[int, Instant]]
    plain: dict[TouchClass, tuple[int, Instant]]
    active: dict[str, tuple[Instant, Instant]]
    software: frozenset[str]
    coupons: dict[str, Coupon]
    coalitions: tuple[Coalition, ...]
    contested: bool
    digest: bytes
    members: Digests
    lookback: Instant

    @property
    def programme_id(self) -> str:
        return self.policy.programme_id


class Route(msgspec.Struct, frozen=True):
    """The rulings of one kind of orders over time: ``rulings[i]`` holds from ``starts[i]`` until the next begins."""

    starts: tuple[Instant, ...]
    rulings: tuple[Ruling | None, ...]


def default_policy(tenant_id: str, programme_id: str) -> Policy:
    """Version 0: what holds where a programme has no policy of its own, or none yet at the order's time."""
    return Policy(tenant_id=tenant_id, programme_id=programme_id, version=0, effective_from=0)


def ruling_for(terms: Terms, order: Order, segments: tuple[str, ...] = ()) -> Ruling | None:
    """What decides an order, by its store, its segments and its time; None where no programme takes it.

    Args:
        segments: of the order (:func:`core.segments.segments_of`), in any order.
    """
    stores, known = terms._named
    kind = (order.store_id if order.store_id in stores else "", tuple(sorted(known.intersection(segments))) if segments and known else ())
    route = terms._routes.get(kind)
    if route is None:
        if len(terms._routes) >= _ROUTES:
            terms._routes.clear()
        route = terms._routes[kind] = _route(terms, *kind)
    return route.rulings[bisect_right(route.starts, order.occurred_at) - 1]


def policy_for(terms: Terms, order: Order, segments: tuple[str, ...] = ()) -> Policy | None:
    """The policy that decides an order; None where no programme takes it."""
    ruling = ruling_for(terms, order, segments)
    return ruling.policy if ruling else None


def programme_for(programmes: Iterable[Programme], store_id: str, segments: Iterable[str], at: Instant) -> Programme | None:
    """The programme that takes an order: of those that may, the one that names its store, else one of its segments, else neither.

    Ties go to the smallest id. A programme takes orders placed in ``[starts_at, ends_at)``.
    """
    ranked = [
        (store_id not in programme.stores, not programme.segments, programme.programme_id, programme)
        for programme in programmes
        if (not programme.stores or store_id in programme.stores)
        and (not programme.segments or not set(programme.segments).isdisjoint(segments))
        and (programme.starts_at is None or programme.starts_at <= at)
        and (programme.ends_at is None or at < programme.ends_at)
    ]
    return min(ranked, key=lambda one: one[:3])[3] if ranked else None


def version_for(versions: Iterable[Policy], segments: Iterable[str], at: Instant) -> Policy | None:
    """The version in force at ``at``: of the first of the order's segments, by id, that has one, else of those for everybody."""
    chains: dict[str, list[Policy]] = {}
    for policy in versions:
        chains.setdefault(policy.segment, []).append(policy)
    in_force = (version_at(tuple(chains[name]), at) for name in (*sorted(segments), "") if name in chains)
    return next((policy for policy in in_force if policy), None)


def _route(terms: Terms, store_id: str, segments: tuple[str, ...]) -> Route:
    """Rulings change where a programme starts or ends, and where a version of a policy begins."""
    moments = {at for programme in terms.programmes for at in (programme.starts_at, programme.ends_at) if at is not None}
    moments |= {policy.effective_from for versions in terms.policies.values() for policy in versions}
    starts = (-_NEVER, *sorted(moments))
    return Route(starts, tuple(_ruling_at(terms, store_id, segments, at) for at in starts))


def _ruling_at(terms: Terms, store_id: str, segments: tuple[str, ...], at: Instant) -> Ruling | None:
    programme = programme_for(terms.programmes, store_id, segments, at)
    if programme is None:
        return None
    policy = version_for(terms.policies.get(programme.programme_id, ()), segments, at)
    policy = policy or default_policy(terms.tenant_id, programme.programme_id)
    known = terms._rulings.get((policy.programme_id, policy.version))
    if known is None:
        known = terms._rulings[policy.programme_id, policy.version] = compiled(terms, programme, policy)
    return known


def compiled(terms: Terms, programme: Programme, policy: Policy) -> Ruling:
    """The ruling of one version of a programme's policy."""
    members, ranks = terms.memberships.get(policy.programme_id, {}), ranks_of(policy)
    begins = -_NEVER if programme.starts_at is None else programme.starts_at
    looked_at = {"coupon", "exclusive_coupon", "agent", "paid", "direct", "click" if "click_id" in ranks else ""}
    contests = policy.stand_down_minutes or policy.min_seconds_to_order
    contests = contests or policy.paid_rule != "ignore" or policy.coupon_rule != "by_rank"
    guarded = policy.guard_exclusive_codes and any(coupon.exclusive for coupon in terms.coupons.values())
    return Ruling(
        policy=policy,
        programme=programme,
        ranks=ranks,
        plain={name: ranks[name] for name in ranks if name not in looked_at},
        active={
            name: (max(begins, member.approved_at), _NEVER if member.suspended_at is None else member.suspended_at)
            for name, member in members.items()
            if member.approved_at is not None
        },
        software=frozenset(name for name, member in members.items() if member.software),
        coupons=terms.coupons_by_touch,
        coalitions=terms.coalitions,
        contested=bool(contests or guarded),
        digest=blake2b(_canonical((policy, programme, terms.coalitions)), digest_size=32).digest(),
        members=Digests((name, blake2b(_canonical(member), digest_size=16).digest()) for name, member in members.items()),
        lookback=lookback(policy),
    )


def ranks_of(policy: Policy) -> dict[TouchClass, tuple[int, Instant]]:
    """Each class that takes part in journeys: its rank, 0 for the strongest, and its window in milliseconds.

    A direct visit takes part where the policy counts these: with the rank and the window it gives them, else a click's.
    """
    ranks: dict[TouchClass, tuple[int, Instant]] = {}
    rank = -1
    for window in policy.classes:
        rank += not (window.tied and ranks)
        ranks[window.touch] = (rank, window.window)
    if policy.direct_rule == "ignore":
        ranks.pop("direct", None)
    elif "click" in ranks:
        ranks.setdefault("direct", ranks["click"])
    return ranks


def longest_window(policy: Policy | None) -> Instant:
    """In milliseconds. Where no programme takes the order, the default's: it still explains what was found.

    A customer's bond is left out: it is found by the customer's orders, not by touches.
    """
    classes = (policy or default_policy("", "")).classes
    return max((rule.window for rule in classes if rule.touch != "binding"), default=0)


def lookback(policy: Policy | None) -> Instant:
    """How long before an order, in milliseconds, its touches are looked up: the longest window and the near misses."""
    return longest_window(policy) + NEAR_MISS


def longest_lookback(terms: Terms) -> Instant:
    """Over all versions of all policies: a touch older than this matters to no order of the tenant."""
    every = [policy for versions in terms.policies.values() for policy in versions]
    return max(lookback(policy) for policy in [None, *every])


def terms_by_tenant(catalogue: Catalogue, secret: bytes = b"") -> dict[str, Terms]:
    """The terms of every tenant of a catalogue.

    Args:
        secret: the installation's, for the affiliates' own keys; empty: self-referrals do not show.
    """
    found = {tenant.tenant_id: _terms(catalogue, tenant, secret) for tenant in catalogue.tenants}
    for policy in catalogue.policies:
        versions = found[policy.tenant_id].policies
        versions[policy.programme_id] = (*versions.get(policy.programme_id, ()), policy)
    for membership in catalogue.memberships:
        found[membership.tenant_id].memberships.setdefault(membership.programme_id, {})[membership.affiliate_id] = membership
    for coupon in catalogue.coupons:
        found[coupon.tenant_id].coupons[coupon.code] = coupon
    return found


def _terms(catalogue: Catalogue, tenant: Tenant, secret: bytes) -> Terms:
    """A tenant's, but for what is filled in record by record."""
    name = tenant.tenant_id
    return Terms(
        tenant_id=name,
        programmes=tuple(
            msgspec.structs.replace(
                programme, name="", landing_url="", hosts=(), daily_click_cap=None, total_click_cap=None, fallback_url=""
            )
            for programme in catalogue.programmes
            if programme.tenant_id == name
        ),
        policies={},
        memberships={},
        coupons={},
        stores={one.store_id: msgspec.structs.replace(one, name="", host="") for one in catalogue.stores if one.tenant_id == name},
        segments=tuple(msgspec.structs.replace(one, name="") for one in catalogue.segments if one.tenant_id == name),
        coalitions=tuple(
            msgspec.structs.replace(one, name="") for one in catalogue.coalitions if name in {member.tenant_id for member in one.members}
        ),
        own_keys=_own_keys(catalogue, name, tenant_key(secret, name)) if secret else {},
        lapsed_after_days=tenant.lapsed_after_days,
        leads_from=_leads_from(catalogue, name),
    )


def _leads_from(catalogue: Catalogue, tenant_id: str) -> Instant | None:
    mine = (card for card in catalogue.rate_cards if card.tenant_id == tenant_id)
    return min((card.effective_from for card in mine if any(rule.subject == "lead" for rule in card.rules)), default=None)


def _own_keys(catalogue: Catalogue, tenant_id: str, key: bytes) -> dict[str, tuple[str, ...]]:
    """Of the tenant's members: what their own orders would carry."""
    members = {membership.affiliate_id for membership in catalogue.memberships if membership.tenant_id == tenant_id}
    found = {one.affiliate_id: customer_key("email", one.email, key) for one in catalogue.affiliates if one.affiliate_id in members}
    return {affiliate_id: (own,) for affiliate_id, own in found.items() if own}


# --- in plain words --------------------------------------------------------------------------------------------------


def sentences(policy: Policy) -> tuple[str, ...]:
    """The policy in plain words: one sentence for each rank that earns, strongest first, then every other rule it has.

    >>> sentences(default_policy("north", "main"))[0]
    'A coupon of the affiliate earns the whole credit: it wins over any click or ad view.'
    """
    ranks = _grouped(policy)
    earning = [_rank_sentence(policy, ranks, rank) for rank in range(len(ranks))]
    left_out = [NOUNS[name][1] for name in _USUAL if name not in {rule.touch for rule in policy.classes}]
    nothing = [f"{_listed(left_out, 'and').capitalize()} earn nothing."] if left_out else []
    return (*earning, *_model_words(policy), *nothing, *_rule_words(policy))


def window_words(window_hours: int) -> str:
    """``30 days``, ``24 hours``, ``36 hours``: days from two full days on."""
    if window_hours >= 48 and window_hours % 24 == 0:
        return f"{window_hours // 24} days"
    return f"{window_hours} hour{'' if window_hours == 1 else 's'}"


def percent(numerator: int, denominator: int) -> str:
    """A share in percent: ``40 %``, ``12.5 %``, ``33.33 %``; beyond two decimals it is cut."""
    whole, cents = divmod(numerator * 10_000 // denominator, 100)
    return f"{whole}.{cents:02}".rstrip("0").rstrip(".") + " %"


def _grouped(policy: Policy) -> list[list[TouchWindow]]:
    """The classes of each rank: tied ones together."""
    ranks: list[list[TouchWindow]] = []
    for window in policy.classes:
        if window.tied and ranks:
            ranks[-1].append(window)
        else:
            ranks.append([window])
    return ranks


_ONE: dict[str, str] = {"last": "last", "first": "first", "last_non_direct": "last"}
"""Models that give everything to one touch: which."""


def _rank_sentence(policy: Policy, ranks: list[list[TouchWindow]], rank: int) -> str:
    one = policy.model in _ONE
    who = _who(policy, ranks[rank], one)
    stronger = [NOUNS[other.touch][0] for group in ranks[:rank] for other in group]
    weaker = [NOUNS[other.touch][0] for group in ranks[rank + 1 :] for other in group]
    earns = "earns the whole credit" if one else "share the credit"
    unless = f", where there is no {_listed(stronger, 'and no')}" if stronger else ""
    wins = f": {'it wins' if one else 'they win'} over any {_listed(weaker, 'or')}" if weaker else ""
    return f"{who} {earns}{unless}{wins}."


def _who(policy: Policy, group: list[TouchWindow], one: bool) -> str:
    if one and len(group) == 1 and group[0].touch in _AT_ORDER:
        return _AT_ORDER[group[0].touch]
    which = f"The {_ONE[policy.model]}" if one else "All"
    nouns = _listed([f"{NOUNS[rule.touch][0 if one else 1]}{_within(rule)}" for rule in group], "or" if one else "and")
    return f"{which} {nouns}"


_AT_ORDER: dict[TouchClass, str] = {
    "coupon": "A coupon of the affiliate",
    "exclusive_coupon": "A coupon that is its affiliate's alone",
    "clickless": "The affiliate that the shop names",
    "agent": "The affiliate that an assistant's checkout names",
}
"""Classes that come with the order itself."""


def _within(rule: TouchWindow) -> str:
    if rule.touch in _AT_ORDER:
        return ""
    return f" within {window_words(rule.window_hours)} before the order" if rule.window_hours else " at the moment of the order"


def _model_words(policy: Policy) -> list[str]:
    """How those that share do so."""
    first, last = percent(policy.first_bps, 10_000), percent(policy.last_bps, 10_000)
    opens, closes = percent(policy.introducer_bps, 10_000), percent(policy.closer_bps, 10_000)
    words = {
        "linear": "Those that share do so equally, touch by touch.",
        "position": f"Of those that share, the first gets {first}, the last {last}, and those between get equal parts of the rest.",
        "time_decay": f"Of those that share, a touch {window_words(policy.half_life_hours)} older than another gets half as much.",
        "shapley": "Those that share do so equally, affiliate by affiliate.",
        "participation": f"Of those that share, the affiliate of the first gets {opens}, that of the last {closes}, and the others get "
        "equal parts of the rest.",
    }
    return [words[policy.model]] if policy.model in words else []


def _rule_words(policy: Policy) -> list[str]:
    """Every rule beside the ranks, in the order in which the decision applies them."""
    coupon, media = percent(policy.coupon_bps, 10_000), f" ({_listed(list(policy.paid_media), 'or')})" if policy.paid_media else ""
    spared = "; coupons and bonds are spared"
    after = f"Where a visit from another marketing channel{media} came after the last click, earlier touches earn nothing{spared}."
    among = (
        f"Where a visit from another marketing channel{media} came and no affiliate's click is among the last {policy.paid_recent} visits, "
        f"earlier touches earn nothing{spared}."
    )
    coupons = {
        "coupon_wins": "Where a coupon earns, clicks earn nothing.",
        "click_wins": "Where a click earns, coupons earn nothing.",
        "only_without_click": "A coupon earns only where no other affiliate's click came before the order, however long before.",
        "split": f"Where a coupon and a click both may earn, the coupon gets {coupon} and the clicks get the rest.",
    }
    told = (
        (policy.direct_rule == "counts", "Direct visits count beside clicks; nobody earns their share."),
        (policy.self_referral == "refuse", "Affiliates earn nothing from what they buy themselves."),
        (policy.guard_exclusive_codes, "An order with an exclusive code earns for nobody but the owner of the code."),
        (
            policy.stand_down_minutes > 0,
            f"Software in the shopper's browser earns nothing for {_minutes(policy.stand_down_minutes)} after another affiliate's click.",
        ),
        (policy.paid_rule == "last_wins", after),
        (policy.paid_rule == "unless_recent", among),
        (
            policy.min_seconds_to_order > 0,
            f"A click less than {_seconds(policy.min_seconds_to_order)} before the order gives way to another affiliate's earlier touch.",
        ),
        (policy.coupon_rule in coupons, coupons.get(policy.coupon_rule, "")),
        (True, f"A decision is final {_days(policy.lock_days)} after the order."),
    )
    return [sentence for holds, sentence in told if holds]


def _minutes(number: int) -> str:
    return f"{number} minute{'' if number == 1 else 's'}"


def _seconds(number: int) -> str:
    return f"{number} second{'' if number == 1 else 's'}"


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"


def _listed(words: list[str], conjunction: str) -> str:
    head, last = words[:-1], words[-1]
    return f"{', '.join(head)} {conjunction} {last}" if head else last
