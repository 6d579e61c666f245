"""A second opinion: the decision as docs/attribution.md tells it, slow and plain, sharing no code with the product's.

It reads records of ``core`` alone. Where product and oracle differ, one of them or the page is wrong.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from core.catalogue import Coalition, Coupon, Membership, Policy, Programme
from core.credit import Candidate, Override
from core.events import Order

HOUR = 3_600_000
BROUGHT = ("click", "click_id", "soft_click", "scan", "call", "app_open", "agent")


class Catalogue(NamedTuple):
    """What one tenant's catalogue says."""

    programmes: Sequence[Programme]
    policies: Sequence[Policy]
    memberships: Sequence[Membership]
    coupons: Sequence[Coupon]
    coalitions: Sequence[Coalition]


class Opinion(NamedTuple):
    """Credits as (affiliate, touch, share), oldest touch first; verdicts by touch id."""

    programme_id: str
    version: int
    result: str
    credits: list[tuple[str, str, Fraction]]
    verdicts: dict[str, str]


def opinion(
    catalogue: Catalogue, order: Order, candidates: Sequence[Candidate], segments: Sequence[str], override: Override | None
) -> Opinion:
    programme = which_programme(catalogue.programmes, order, segments)
    if programme is None:
        bench = None
        verdicts = {touch.touch_id: "program_not_active" for touch in candidates}
        credits: list[tuple[str, str, Fraction]] = []
    else:
        policy = which_policy(catalogue.policies, programme, order, segments)
        bench = Bench(catalogue, programme, policy, order, candidates)
        credits, verdicts = bench.decide()
    result = told(order, bench, credits, verdicts, override)
    if override is not None:
        won = {touch_id for touch_id, verdict in verdicts.items() if verdict == "winner"}
        verdicts = {touch_id: "overridden" if touch_id in won else verdict for touch_id, verdict in verdicts.items()}
        credits = []
        if override.affiliate_id:
            credits = [(override.affiliate_id, closest(bench, candidates, verdicts, override.affiliate_id), Fraction(1))]
    if order.test:
        credits = []
    place = (programme.programme_id, bench.policy.version) if programme and bench else ("", 0)
    return Opinion(*place, result, credits, verdicts)


# --- which policy ----------------------------------------------------------------------------------------------------


def which_programme(programmes: Sequence[Programme], order: Order, segments: Sequence[str]) -> Programme | None:
    def takes(one: Programme) -> bool:
        store = not one.stores or order.store_id in one.stores
        segment = not one.segments or any(name in one.segments for name in segments)
        begun = one.starts_at is None or order.occurred_at >= one.starts_at
        ended = one.ends_at is not None and order.occurred_at >= one.ends_at
        return store and segment and begun and not ended

    taking = sorted((one for one in programmes if takes(one)), key=lambda one: one.programme_id)
    for wanted in (lambda one: one.stores and one.segments, lambda one: one.stores, lambda one: one.segments, lambda one: True):
        for one in taking:
            if wanted(one):
                return one
    return None


def which_policy(policies: Sequence[Policy], programme: Programme, order: Order, segments: Sequence[str]) -> Policy:
    own = [one for one in policies if one.programme_id == programme.programme_id and one.effective_from <= order.occurred_at]
    for segment in [*sorted(segments), ""]:
        chain = sorted((one for one in own if one.segment == segment), key=lambda one: (one.effective_from, one.version))
        if chain:
            return chain[-1]
    return Policy(programme.tenant_id, programme.programme_id, 0, 0)


# --- the decision ----------------------------------------------------------------------------------------------------


class Bench:
    """One order, with every touch in the order of time."""

    def __init__(self, catalogue: Catalogue, programme: Programme, policy: Policy, order: Order, candidates: Sequence[Candidate]) -> None:
        self.programme, self.policy, self.order = programme, policy, order
        self.members = {one.affiliate_id: one for one in catalogue.memberships if one.programme_id == programme.programme_id}
        self.coupons = {f"coupon:{one.code}": one for one in catalogue.coupons}
        self.coalitions = catalogue.coalitions
        self.touches = sorted(candidates, key=lambda one: (one.occurred_at, one.touch_id))
        self.verdicts: dict[str, str] = {}
        self.classes: dict[str, tuple[int, int]] = {}
        rank = 0
        for number, window in enumerate(policy.classes):
            rank = rank if window.tied or number == 0 else rank + 1
            self.classes[window.touch] = (rank, window.window_hours * HOUR)
        if policy.direct_rule == "counts":
            if "direct" not in self.classes and "click" in self.classes:
                self.classes["direct"] = self.classes["click"]
        elif "direct" in self.classes:
            del self.classes["direct"]

    # of one touch

    def stands_as(self, touch: Candidate) -> str:
        if touch.touch_class == "click" and "click_id" in touch.matches and "click_id" in self.classes:
            return "click_id"
        coupon = self.coupons.get(touch.touch_id)
        if touch.touch_class == "coupon" and coupon and coupon.exclusive and "exclusive_coupon" in self.classes:
            return "exclusive_coupon"
        return touch.touch_class

    def rank(self, touch: Candidate) -> int:
        return self.classes.get(self.stands_as(touch), (99, 0))[0]

    def fault(self, touch: Candidate, forgive_age: bool = False) -> str:
        """The first rule that keeps a touch from earning, or nothing."""
        order, other_tenant = self.order, touch.tenant_id not in ("", self.order.tenant_id)
        has_affiliate = touch.touch_class not in ("paid", "direct")
        if other_tenant and not any(self.shares(coalition, touch) for coalition in self.coalitions):
            return "wrong_tenant"
        if not other_tenant and has_affiliate and touch.programme_id != self.programme.programme_id:
            return "wrong_program"
        if touch.touch_class == "direct" and "direct" not in self.classes:
            return "direct"
        if touch.touch_class == "paid" and ("paid" not in self.classes or not self.medium_counts(touch)):
            return "paid_visit"
        if self.stands_as(touch) not in self.classes:
            return "class_excluded"
        if touch.traffic_class in ("capped", "rate_limited"):
            return "capped"
        if touch.traffic_class != "human":
            return "bot"
        if other_tenant and touch.consent != "granted":
            return "no_consent"
        if touch.consent == "denied" and "click_id" not in touch.matches:
            return "no_consent"
        if order.consent == "denied" and (other_tenant or set(touch.matches) == {"visitor"}) and touch.consent != "denied":
            return "no_consent"
        if touch.touch_class in ("coupon", "exclusive_coupon") and not self.coupon_valid(touch):
            return "coupon_not_valid"
        if touch.occurred_at > order.occurred_at:
            return "after_order"
        if touch.touch_class == "agent" and touch.origin == "expired":
            return "outside_window"
        if not forgive_age and touch.occurred_at < order.occurred_at - self.classes[self.stands_as(touch)][1]:
            return "outside_window"
        if has_affiliate and self.programme.starts_at is not None and touch.occurred_at < self.programme.starts_at:
            return "program_not_active"
        if has_affiliate and not self.active(touch):
            return "affiliate_not_active"
        if touch.evidence and self.policy.self_referral == "refuse":
            return "self_referral"
        return ""

    def shares(self, coalition: Coalition, touch: Candidate) -> bool:
        def in_it(tenant_id: str, at: int) -> bool:
            return any(
                one.tenant_id == tenant_id and one.joined_at <= at and (one.left_at is None or at < one.left_at)
                for one in coalition.members
            )

        times = (touch.occurred_at, self.order.occurred_at)
        together = all(in_it(touch.tenant_id, at) and in_it(self.order.tenant_id, at) for at in times)
        return together and touch.touch_class in coalition.classes

    def medium_counts(self, touch: Candidate) -> bool:
        names = [touch.origin, *touch.origin.split("/")]
        return not self.policy.paid_media or any(name in self.policy.paid_media for name in names)

    def coupon_valid(self, touch: Candidate) -> bool:
        coupon, at = self.coupons.get(touch.touch_id), self.order.occurred_at
        if coupon is None:
            return False
        return (coupon.valid_from is None or at >= coupon.valid_from) and (coupon.valid_to is None or at < coupon.valid_to)

    def active(self, touch: Candidate) -> bool:
        member = self.members.get(touch.affiliate_id)
        if member is None or member.approved_at is None or touch.occurred_at < member.approved_at:
            return False
        return member.suspended_at is None or touch.occurred_at < member.suspended_at

    # of one touch against another

    def open(self) -> list[Candidate]:
        return [touch for touch in self.touches if not self.verdicts[touch.touch_id]]

    def stands_in_the_way(self, touch: Candidate) -> bool:
        """It may earn, or might but for its age."""
        verdict = self.verdicts[touch.touch_id]
        return not verdict or (verdict == "outside_window" and not self.fault(touch, forgive_age=True))

    def exclusive_codes(self) -> None:
        owners = set()
        for touch in self.touches:
            coupon = self.coupons.get(touch.touch_id)
            if touch.touch_class in ("coupon", "exclusive_coupon") and coupon and coupon.exclusive:
                begun = self.programme.starts_at is None or touch.occurred_at >= self.programme.starts_at
                here = touch.tenant_id not in ("", self.order.tenant_id) or touch.programme_id == self.programme.programme_id
                if here and self.coupon_valid(touch) and self.active(touch) and begun:
                    owners.add(touch.affiliate_id)
        if owners and self.policy.guard_exclusive_codes:
            for touch in self.open():
                if touch.affiliate_id and touch.affiliate_id not in owners:
                    self.verdicts[touch.touch_id] = "exclusive_code"

    def software(self, touch: Candidate) -> bool:
        return touch.affiliate_id in self.members and self.members[touch.affiliate_id].software

    def stand_down(self) -> None:
        if not self.policy.stand_down_minutes:
            return
        limit = self.policy.stand_down_minutes * 60_000
        visits = [touch for touch in self.touches if touch.touch_class in BROUGHT]
        blocking = [touch for touch in visits if not self.software(touch) and self.stands_in_the_way(touch)]
        for touch in visits:
            before = [one for one in blocking if (one.occurred_at, one.touch_id) < (touch.occurred_at, touch.touch_id)]
            close = any(touch.occurred_at - one.occurred_at <= limit for one in before)
            if close and self.software(touch) and not self.verdicts[touch.touch_id]:
                self.verdicts[touch.touch_id] = "stand_down"

    def paid_channels(self) -> None:
        if self.policy.paid_rule == "ignore":
            return
        paid = [
            touch
            for touch in self.touches
            if touch.touch_class == "paid"
            and touch.tenant_id in ("", self.order.tenant_id)
            and touch.traffic_class == "human"
            and touch.occurred_at <= self.order.occurred_at
            and self.medium_counts(touch)
        ]
        visits = [touch for touch in self.touches if touch in paid or (touch.touch_class in BROUGHT and not self.verdicts[touch.touch_id])]
        recent = 1 if self.policy.paid_rule == "last_wins" else self.policy.paid_recent
        if not paid or any(touch not in paid for touch in visits[-recent:]):
            return
        for touch in self.open():
            older = self.touches.index(touch) < self.touches.index(paid[-1])
            if older and (touch.touch_class in BROUGHT or touch.touch_class == "impression"):
                self.verdicts[touch.touch_id] = "lost_to_paid_channel"
                self.verdicts[paid[-1].touch_id] = self.verdicts[paid[-1].touch_id] and "paid_visit"

    def late_hijack(self) -> None:
        limit = self.policy.min_seconds_to_order * 1_000
        dropped = []
        for touch in self.open():
            hasty = touch.touch_class in ("click", "click_id", "soft_click") and self.order.occurred_at - touch.occurred_at < limit
            for other in self.open():
                settled = self.order.occurred_at - other.occurred_at >= limit and other.touch_class not in ("binding", "paid", "direct")
                if hasty and settled and other.affiliate_id != touch.affiliate_id:
                    dropped.append(touch)
        for touch in dropped:
            self.verdicts[touch.touch_id] = "late_hijack"

    def coupons_against_clicks(self) -> None:
        rule, coupons, clicks = self.policy.coupon_rule, self.of("coupon", "exclusive_coupon"), self.of(*BROUGHT)
        if rule == "coupon_wins" and coupons:
            for touch in clicks:
                self.verdicts[touch.touch_id] = "lost_to_coupon"
        if rule == "click_wins" and clicks:
            for touch in coupons:
                self.verdicts[touch.touch_id] = "lost_to_click"
        if rule == "only_without_click":
            brought = [touch for touch in self.touches if touch.touch_class in BROUGHT and self.stands_in_the_way(touch)]
            for touch in coupons:
                if any(one.affiliate_id != touch.affiliate_id for one in brought):
                    self.verdicts[touch.touch_id] = "lost_to_click"

    def of(self, *classes: str) -> list[Candidate]:
        return [touch for touch in self.open() if touch.touch_class in classes]

    # sharing

    def decide(self) -> tuple[list[tuple[str, str, Fraction]], dict[str, str]]:
        self.verdicts = {touch.touch_id: self.fault(touch) for touch in self.touches}
        for contest in (self.exclusive_codes, self.stand_down, self.paid_channels, self.late_hijack):
            contest()
        carriers = self.of(*BROUGHT)
        self.coupons_against_clicks()
        left = self.open()
        shares = self.shares_of(left)
        leaders = [touch for touch in left if touch.touch_id in shares]
        leader = ([touch for touch in leaders if touch.affiliate_id] or leaders or [None])[-1]
        earned: dict[str, Fraction] = {}
        for touch in left:
            if touch.touch_id in shares:
                own = [one for one in carriers if one.affiliate_id == touch.affiliate_id]
                record = own[-1] if touch.touch_class in ("coupon", "exclusive_coupon") and own else touch
                earned[record.touch_id] = earned.get(record.touch_id, Fraction(0)) + shares[touch.touch_id]
                if record is not touch:
                    self.verdicts[touch.touch_id] = "assist"
        for touch_id in earned:
            self.verdicts[touch_id] = "winner"
        for touch in self.open():
            self.verdicts[touch.touch_id] = self.lost(touch, leader) if leader else "direct"
        credits = [
            (touch.affiliate_id, touch.touch_id, earned[touch.touch_id])
            for touch in self.touches
            if touch.touch_id in earned and touch.affiliate_id
        ]
        return credits, self.verdicts

    def shares_of(self, left: list[Candidate]) -> dict[str, Fraction]:
        ranks = [self.rank(touch) for touch in left if touch.touch_class != "direct"]
        if not ranks:
            return {}
        strongest = [touch for touch in left if self.rank(touch) == min(ranks)]
        coupons = [touch for touch in left if touch.touch_class in ("coupon", "exclusive_coupon")]
        clicks = [touch for touch in left if touch.touch_class in BROUGHT]
        if self.policy.coupon_rule == "split" and coupons and clicks and strongest[-1] in coupons + clicks:
            part = Fraction(self.policy.coupon_bps, 10_000)
            shares = self.split(self.best(coupons), part) | self.split(self.best(clicks), 1 - part)
        else:
            shares = self.split(strongest, Fraction(1))
        return {touch_id: share for touch_id, share in shares.items() if share}

    def best(self, touches: list[Candidate]) -> list[Candidate]:
        return [touch for touch in touches if self.rank(touch) == min(map(self.rank, touches))]

    def split(self, touches: list[Candidate], part: Fraction) -> dict[str, Fraction]:
        weights = MODELS[self.policy.model](self.policy, touches, self.order.occurred_at) if len(touches) > 1 else [Fraction(1)]
        return {touch.touch_id: weight * part for touch, weight in zip(touches, weights, strict=True)}

    def lost(self, touch: Candidate, leader: Candidate) -> str:
        own, winning = self.stands_as(touch), self.stands_as(leader)
        coupon = own in ("coupon", "exclusive_coupon")
        if winning == "paid":
            return "lost_to_paid_channel"
        if own == "direct":
            return "direct"
        if self.rank(touch) == self.rank(leader):
            return {"last": "older", "last_non_direct": "older", "first": "newer"}.get(self.policy.model, "assist")
        if winning == "binding":
            return "customer_bound"
        if winning in ("coupon", "exclusive_coupon"):
            return "lower_class" if coupon else "lost_to_coupon"
        if winning in BROUGHT and coupon:
            return "lost_to_click"
        return "view_superseded_by_click" if winning in BROUGHT and own == "impression" else "lower_class"


# --- models ----------------------------------------------------------------------------------------------------------

Weights = list[Fraction]


def who(touch: Candidate) -> str:
    return touch.affiliate_id or f"nobody: {touch.touch_class}"


def last(_policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    return [Fraction(touch is touches[-1]) for touch in touches]


def first(_policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    return [Fraction(touch is touches[0]) for touch in touches]


def last_non_direct(_policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    winner = ([touch for touch in touches if touch.touch_class != "direct"] or touches)[-1]
    return [Fraction(touch is winner) for touch in touches]


def linear(_policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    return [Fraction(1, len(touches)) for _ in touches]


def normalised(parts: Sequence[int]) -> Weights:
    return [Fraction(part, sum(parts)) if sum(parts) else Fraction(1, len(parts)) for part in parts]


def position(policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    if len(touches) == 2:
        return normalised([policy.first_bps, policy.last_bps])
    rest = Fraction(10_000 - policy.first_bps - policy.last_bps, 10_000) / (len(touches) - 2)
    return [Fraction(policy.first_bps, 10_000), *[rest for _ in touches[2:]], Fraction(policy.last_bps, 10_000)]


def time_decay(policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    youngest, places, count = touches[-1].occurred_at, 44, 16
    while len(touches) >= count:
        places, count = places - 1, count * 2
    with localcontext(prec=80):
        ages = [Decimal(youngest - touch.occurred_at) / (policy.half_life_hours * HOUR) for touch in touches]
        return normalised([int(Decimal(2) ** (places - age)) for age in ages])


def shapley(_policy: Policy, touches: list[Candidate], _at: int) -> Weights:
    names = {who(touch) for touch in touches}
    carriers = [[touch for touch in touches if who(touch) == name][-1] for name in names]
    return [Fraction(touch in carriers, len(names)) for touch in touches]


def participation(policy: Policy, touches: list[Candidate], at: int) -> Weights:
    introducer, closer = who(touches[0]), who(touches[-1])
    names = {who(touch) for touch in touches}
    if len(names) == 1:
        return last(policy, touches, at)
    influencers = [[touch for touch in touches if who(touch) == name][-1] for name in names - {introducer, closer}]
    opens, closes = Fraction(policy.introducer_bps, 10_000), Fraction(policy.closer_bps, 10_000)
    if not influencers:
        opens, closes = normalised([policy.introducer_bps, policy.closer_bps])
    weights = [(1 - opens - closes) / len(influencers) if touch in influencers else Fraction(0) for touch in touches]
    weights[0], weights[-1] = opens, closes
    return weights


MODELS: dict[str, Callable[[Policy, list[Candidate], int], Weights]] = {
    "last": last,
    "first": first,
    "last_non_direct": last_non_direct,
    "linear": linear,
    "position": position,
    "time_decay": time_decay,
    "shapley": shapley,
    "participation": participation,
}

# --- what the order is told ------------------------------------------------------------------------------------------

LOST = ("lost_to_paid_channel", "exclusive_code", "lost_to_click", "stand_down", "self_referral")
NEAR = {
    "affiliate_not_active": "affiliate_not_active",
    "program_not_active": "program_not_active",
    "after_order": "before_click",
    "outside_window": "outside_window",
    "no_consent": "consent_denied",
    "bot": "invalid_touch",
    "capped": "invalid_touch",
}


def told(
    order: Order, bench: Bench | None, credits: list[tuple[str, str, Fraction]], verdicts: dict[str, str], override: Override | None
) -> str:
    if order.test or override:
        return "test_event" if order.test else "manual_override"
    if bench is None:
        return "program_not_active"
    if credits:
        return "credited" if len({credit[0] for credit in credits}) == 1 else "split"
    if any(verdicts[touch.touch_id] == "winner" and touch.touch_class == "direct" for touch in bench.touches):
        return "direct"
    for verdict in LOST:
        if verdict in verdicts.values():
            return verdict
    if order.click_id and order.click_id not in verdicts:
        return "unknown_click_id"
    for verdict, result in NEAR.items():
        if verdict in verdicts.values():
            return result
    known = [order.click_id, order.visitor_id, order.customer_keys, order.coupons, order.affiliate_id, order.claims]
    return "no_touch" if any(known) else "no_identity"


def closest(bench: Bench | None, candidates: Sequence[Candidate], verdicts: dict[str, str], affiliate_id: str) -> str:
    """The affiliate's touch that came closest to earning: one that won, else one that lost to others only, else any; then the
    strongest and latest."""
    lost_to_others = (
        "winner assist older newer lower_class view_superseded_by_click lost_to_coupon lost_to_click lost_to_paid_channel "
        "customer_bound overridden"
    ).split()

    def key(touch: Candidate) -> tuple[bool, bool, int, int, str]:
        verdict = verdicts[touch.touch_id]
        rank = bench.rank(touch) if bench else 0
        return verdict != "overridden", verdict not in lost_to_others, rank, -touch.occurred_at, touch.touch_id

    own = [touch for touch in candidates if touch.affiliate_id == affiliate_id]
    if not own:
        return ""
    best = min(key(touch)[:4] for touch in own)
    return max(touch.touch_id for touch in own if key(touch)[:4] == best)
