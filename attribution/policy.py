"""The rules in force: which programme takes an order, under which version of its policy, and that in plain words."""

import msgspec

from core.catalogue import Catalogue, Coupon, Membership, Policy, Programme, TouchWindow, programme_of_store, version_at
from core.clock import DAY, Instant
from core.credit import TouchClass
from core.events import Order

NEAR_MISS = 30 * DAY
"""How far beyond the longest window touches are still looked up, in milliseconds: they earn nothing, but explain why."""

NOUNS: dict[TouchClass, tuple[str, str]] = {
    "click": ("click", "clicks"),
    "impression": ("ad view", "ad views"),
    "coupon": ("coupon", "coupons"),
}
"""Each class of touch as people say it: one, many."""


class Terms(msgspec.Struct, frozen=True):
    """What one tenant's catalogue says about who may earn: all that a decision reads beside the events.

    Two equal terms decide every order alike; names, addresses and links of the catalogue are left out on purpose.
    """

    tenant_id: str
    programmes: tuple[Programme, ...] = ()
    policies: dict[str, tuple[Policy, ...]] = {}
    memberships: dict[str, dict[str, Membership]] = {}
    coupons: dict[str, Coupon] = {}


def default_policy(tenant_id: str, programme_id: str) -> Policy:
    """Version 0: what holds where a programme has no policy of its own, or none yet at the order's time."""
    return Policy(tenant_id=tenant_id, programme_id=programme_id, version=0, effective_from=0)


def policy_for(terms: Terms, order: Order) -> Policy | None:
    """The policy that decides an order, by its store and its time; None where no programme takes the store's orders."""
    programme = programme_of_store(terms.programmes, order.store_id)
    if programme is None:
        return None
    versions = terms.policies.get(programme.programme_id, ())
    return version_at(versions, order.occurred_at) or default_policy(terms.tenant_id, programme.programme_id)


def longest_window(policy: Policy | None) -> Instant:
    """In milliseconds. Where no programme takes the order, the default's: it still explains what was found."""
    classes = (policy or default_policy("", "")).classes
    return max((rule.window for rule in classes), default=0)


def lookback(policy: Policy | None) -> Instant:
    """How long before an order, in milliseconds, its touches are looked up: the longest window and the near misses."""
    return longest_window(policy) + NEAR_MISS


def longest_lookback(terms: Terms) -> Instant:
    """Over all versions of all policies: a touch older than this matters to no order of the tenant."""
    every = [policy for versions in terms.policies.values() for policy in versions]
    return max(lookback(policy) for policy in [None, *every])


def terms_by_tenant(catalogue: Catalogue) -> dict[str, Terms]:
    """The terms of every tenant of a catalogue."""
    found = {tenant.tenant_id: Terms(tenant.tenant_id, policies={}, memberships={}, coupons={}) for tenant in catalogue.tenants}
    for policy in catalogue.policies:
        versions = found[policy.tenant_id].policies
        versions[policy.programme_id] = (*versions.get(policy.programme_id, ()), policy)
    for membership in catalogue.memberships:
        found[membership.tenant_id].memberships.setdefault(membership.programme_id, {})[membership.affiliate_id] = membership
    for coupon in catalogue.coupons:
        found[coupon.tenant_id].coupons[coupon.code] = coupon
    return {tenant_id: msgspec.structs.replace(terms, programmes=_programmes(catalogue, tenant_id)) for tenant_id, terms in found.items()}


def _programmes(catalogue: Catalogue, tenant_id: str) -> tuple[Programme, ...]:
    own = (programme for programme in catalogue.programmes if programme.tenant_id == tenant_id)
    return tuple(msgspec.structs.replace(programme, name="", landing_url="", hosts=()) for programme in own)


# --- in plain words --------------------------------------------------------------------------------------------------


def sentences(policy: Policy) -> tuple[str, ...]:
    """The policy in plain words: one sentence for each class that earns, strongest first, then what earns nothing.

    >>> sentences(default_policy("north", "main"))[0]
    'A coupon of the affiliate earns the whole credit: it wins over any click or ad view.'
    """
    earning = tuple(sentence(policy, rank) for rank in range(len(policy.classes)))
    left_out = [NOUNS[name][1] for name in NOUNS if name not in {rule.touch for rule in policy.classes}]
    return (*earning, f"{_listed(left_out, 'and').capitalize()} earn nothing.") if left_out else earning


def sentence(policy: Policy, rank: int) -> str:
    """One class of the policy, by its place in the precedence (0 is the strongest), in plain words."""
    rule = policy.classes[rank]
    who = "A coupon of the affiliate" if rule.touch == "coupon" else f"The last {NOUNS[rule.touch][0]} {_within(rule)}"
    stronger = [NOUNS[other.touch][0] for other in policy.classes[:rank]]
    weaker = [NOUNS[other.touch][0] for other in policy.classes[rank + 1 :]]
    unless = f", where there is no {_listed(stronger, 'and no')}" if stronger else ""
    wins = f": it wins over any {_listed(weaker, 'or')}" if weaker else ""
    return f"{who} earns the whole credit{unless}{wins}."


def window_words(window_hours: int) -> str:
    """``30 days``, ``24 hours``, ``36 hours``: days from two full days on."""
    if window_hours >= 48 and window_hours % 24 == 0:
        return f"{window_hours // 24} days"
    return f"{window_hours} hour{'' if window_hours == 1 else 's'}"


def _within(rule: TouchWindow) -> str:
    return f"within {window_words(rule.window_hours)} before the order" if rule.window_hours else "at the moment of the order"


def _listed(words: list[str], conjunction: str) -> str:
    head, last = words[:-1], words[-1]
    return f"{', '.join(head)} {conjunction} {last}" if head else last
