"""What a sound policy holds: windows, shares, rules that fit one another, a segment that exists."""

from collections.abc import Iterator
from typing import get_args

from core.catalogue import CouponRule, DirectRule, Model, PaidRule, Policy, SelfReferralRule
from core.credit import TouchClass
from core.flaws import (
    CONTROL,
    DAYS_LIMIT,
    HOURS_LIMIT,
    WORDS_LIMIT,
    Flaw,
    Known,
    between,
    numbered,
    of_segments,
    one_of,
    repeated,
)

SECONDS_LIMIT = 24 * 60 * 60
MINUTES_LIMIT = 30 * 24 * 60
PAID_RECENT_LIMIT = 100

AT_ORDER: frozenset[TouchClass] = frozenset({"coupon", "exclusive_coupon", "clickless", "agent"})
"""Classes that may have a window of zero: what the order itself carries has no age."""
_COUPONS: frozenset[TouchClass] = frozenset({"coupon", "exclusive_coupon"})
_CLICKS: frozenset[TouchClass] = frozenset({"click", "click_id", "soft_click", "scan", "call", "app_open", "agent"})


def policy_flaws(policy: Policy, known: Known) -> Iterator[Flaw]:
    yield from numbered(policy, known)
    yield from of_segments("segment", (policy.segment,) if policy.segment else (), policy.tenant_id, known)
    yield from _model(policy.model)
    yield from _classes(policy)
    yield from _shares(policy)
    yield from _coupon_rule(policy)
    yield from one_of("paid_rule", policy.paid_rule, get_args(PaidRule))
    yield from _media(policy.paid_media)
    yield from between("paid_recent", policy.paid_recent, 1, PAID_RECENT_LIMIT)
    yield from one_of("direct_rule", policy.direct_rule, get_args(DirectRule))
    yield from one_of("self_referral", policy.self_referral, get_args(SelfReferralRule))
    yield from between("half_life_hours", policy.half_life_hours, 1, HOURS_LIMIT)
    yield from between("min_seconds_to_order", policy.min_seconds_to_order, 0, SECONDS_LIMIT)
    yield from between("stand_down_minutes", policy.stand_down_minutes, 0, MINUTES_LIMIT)
    yield from between("lock_days", policy.lock_days, 1, DAYS_LIMIT)


def _model(model: str) -> Iterator[Flaw]:
    if model == "last_click":
        yield Flaw("model", "'last_click' is called 'last' now: it takes touches of every class")
    else:
        yield from one_of("model", model, get_args(Model))


def _classes(policy: Policy) -> Iterator[Flaw]:
    yield from repeated("classes", tuple(window.touch for window in policy.classes))
    if not policy.classes:
        yield Flaw("classes", "is empty, so nobody would ever earn; name at least one class")
    elif policy.classes[0].tied:
        message = f"{policy.classes[0].touch} is tied, but it is the first: there is no class before it to be tied to"
        yield Flaw("classes", message, (0, "tied"))
    for index, window in enumerate(policy.classes):
        if window.touch not in get_args(TouchClass):
            yield Flaw("classes", f"{window.touch!r} is not one of {', '.join(get_args(TouchClass))}", (index, "touch"))
        lowest = 0 if window.touch in AT_ORDER else 1
        if not lowest <= window.window_hours <= HOURS_LIMIT:
            message = f"window_hours {window.window_hours} of {window.touch} is not between {lowest} and {HOURS_LIMIT}"
            yield Flaw("classes", message, (index, "window_hours"))


def _shares(policy: Policy) -> Iterator[Flaw]:
    for field in ("first_bps", "last_bps", "introducer_bps", "closer_bps", "coupon_bps"):
        if not 0 <= getattr(policy, field) <= 10_000:
            yield Flaw(field, "is not between 0 % and 100 %")
    if policy.first_bps + policy.last_bps > 10_000:
        yield Flaw("last_bps", "and first are more than 100 % together")
    if policy.introducer_bps + policy.closer_bps > 10_000:
        yield Flaw("closer_bps", "and introducer are more than 100 % together")


def _coupon_rule(policy: Policy) -> Iterator[Flaw]:
    yield from one_of("coupon_rule", policy.coupon_rule, get_args(CouponRule))
    listed = {window.touch for window in policy.classes}
    if policy.coupon_rule != "by_rank" and not (listed & _COUPONS and listed & _CLICKS):
        yield Flaw("coupon_rule", f"{policy.coupon_rule!r} settles coupon against click, so the policy must list both classes")


def _media(media: tuple[str, ...]) -> Iterator[Flaw]:
    yield from repeated("paid_media", media)
    if len(media) > WORDS_LIMIT:
        yield Flaw("paid_media", f"has {len(media)} entries; {WORDS_LIMIT} is the most")
    for medium in media:
        if not medium.strip() or len(medium) > 64 or medium != medium.lower() or CONTROL.search(medium):
            yield Flaw("paid_media", f"{medium!r:.80} is not a medium such as cpc, in up to 64 small letters")
