"""The decision: a pure function from an order, its candidates and the rules in force to credits and a trace.

Candidates are put in the order of ``(occurred_at, touch_id)``: a total order, so that neither the order of arrival nor equal times can
flip a result. Then come the rules of each touch alone (:mod:`attribution.rules`), the contests between touches, and the model over
what is left of the strongest rank. ``docs/attribution.md`` tells it to people.
"""

from collections.abc import Iterable
from fractions import Fraction
from hashlib import blake2b
from itertools import islice
from operator import attrgetter, itemgetter, lt
from typing import cast, get_args

import msgspec

from attribution.policy import COUPON, Ruling, Terms, compiled, default_policy
from attribution.rules import CAPPED, CLICKS, CONTESTS, COUPONS, NOBODYS, Case, Entry, is_expired, standing, verdict_of
from attribution.weights import ALL, DIRECT, NOTHING, Share, shares, shares_by_count
from core.catalogue import Coupon, Model, Programme
from core.clock import Instant
from core.credit import ELIGIBLE, Candidate, Credit, Decision, Override, Result, Step, TouchClass, Verdict
from core.events import CustomerStatus, Order

__all__ = ["COUPON", "Customer", "decide"]

REASONS: tuple[tuple[Verdict, Result], ...] = (
    ("lost_to_paid_channel", "lost_to_paid_channel"),
    ("exclusive_code", "exclusive_code"),
    ("lost_to_click", "lost_to_click"),
    ("stand_down", "stand_down"),
    ("self_referral", "self_referral"),
)
"""What an order that nobody earns is told first, where a touch met every condition and lost to something else."""
NEAR_REASONS: tuple[tuple[Verdict, Result], ...] = (
    ("affiliate_not_active", "affiliate_not_active"),
    ("program_not_active", "program_not_active"),
    ("after_order", "before_click"),
    ("outside_window", "outside_window"),
    ("no_consent", "consent_denied"),
    ("bot", "invalid_touch"),
    ("capped", "invalid_touch"),
)
"""And after an unknown click id: by the candidate that came closest. The other verdicts leave ``no_touch``."""

CLASS_NUMBERS: dict[TouchClass, int] = {name: number for number, name in enumerate(get_args(TouchClass))}
MODEL_NUMBERS: dict[Model, int] = {name: number for number, name in enumerate(get_args(Model))}
FOR_ITS_COUPON = 32
"""Added to the figure of a winning click that holds the credit of its affiliate's coupon."""
OF_TEST = 64
"""Added to the figure of a winner of a test order."""

LARGEST = 2**63 - 1
"""Shares are stored as two signed 64-bit numbers."""
UNRANKED = (1_000, 0)
"""Below every rank: a policy has no more ranks than there are classes."""
MIXED = COUPONS | NOBODYS
PAID = "paid:"
"""The player of all visits that other marketing channels brought; no affiliate's id has a colon."""
_GIVES_ALL: dict[Model, Verdict] = {"last": "older", "last_non_direct": "older", "first": "newer"}
"""What a touch of the winning rank is told that gets nothing; under the other models it assisted."""
_in_time = attrgetter("occurred_at", "touch_id")
_first, _second = itemgetter(0), itemgetter(1)
_id, _at, _affiliate = attrgetter("touch_id"), attrgetter("occurred_at"), attrgetter("affiliate_id")
_canonical = msgspec.msgpack.encode


class Customer(msgspec.Struct, frozen=True):
    """What the decision takes the customer for, and the segments of the order. Of numbers see :func:`core.segments.place_of`."""

    status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    order_number: int = 0
    first_ordered_at: Instant = 0


NOBODY = Customer()
NO_RULING = compiled(Terms(""), Programme("", "", "", ""), default_policy("", ""))
"""Stands for none, where no programme takes the order."""


def decide(
    order: Order,
    candidates: Iterable[Candidate],
    ruling: Ruling | None,
    customer: Customer = NOBODY,
    override: Override | None = None,
    trace: bool = True,
) -> Decision:
    """Who earns ``order``, and what became of every candidate.

    Args:
        candidates: in any order; the same touch may come several times and counts once.
        ruling: of the order (:func:`attribution.policy.ruling_for`); None where no programme takes it.
        override: what a person decided instead; the trace still tells what the rules made of each candidate.
        trace: False leaves out the trace and the hash of what was read, where nobody will read them.

    Returns:
        Credits that sum to at most one, oldest touch first, and the trace, strongest rank and latest touch first. Without
        credits, the most telling reason. A test order never has credits; its trace still says which touches would have won.
    """
    touches = in_order(candidates)
    case = judged(order, touches, ruling) if ruling else _untaken(order, touches)
    earned = _shared(case, tell=trace or override is not None)
    if override is not None:
        earned = _overridden(override, case)
    credits = () if order.test else tuple(earned)
    return Decision(
        order.tenant_id,
        order.order_id,
        case.ruling.policy.programme_id,
        case.ruling.policy.version,
        _result(case, credits, override),
        credits,
        _trace(case) if trace else (),
        _hash(case, customer, override) if trace else "",
        customer.status,
        customer.segments,
        override,
        customer.order_number,
        customer.first_ordered_at,
    )


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Oldest first, ties by id, one per id; of several that differ, the smallest by content, so that no arrival order decides."""
    found = list(candidates)
    if len(set(map(_id, found))) < len(found):
        by_id: dict[str, Candidate] = {}
        for one in found:
            kept = by_id.setdefault(one.touch_id, one)
            if kept is not one and _canonical(one) < _canonical(kept):
                by_id[one.touch_id] = one
        found = list(by_id.values())
    times = list(map(_at, found))
    if not all(map(lt, times, islice(times, 1, None))):
        found.sort(key=_in_time)
    return found


def judged(order: Order, touches: list[Candidate], ruling: Ruling) -> Case:
    """Each touch by its own rules and the contests.

    Most touches are of a member, in the order's programme: a person's that may earn, one too old, or a machine's. They are recognised
    at one glance, which must agree with :data:`attribution.rules.RULES` (a test compares them). All others are asked rule by rule.
    """
    ordered_at, programme_id, active = order.occurred_at, ruling.policy.programme_id, ruling.active
    plain = ruling.plain if order.consent != "denied" else {}
    verdicts: list[Verdict | None] = []
    figures: list[int] = []
    ranks: list[int] = []
    mixed = False
    coupons: tuple[Coupon | None, ...] = ()
    for one in touches:
        place = plain.get(one.touch_class)
        if place is not None and one.programme_id == programme_id and not one.tenant_id:
            if one.traffic_class != "human":
                if one.traffic_class not in CAPPED:
                    verdicts.append("bot")
                    figures.append(0)
                    ranks.append(place[0])
                    continue
            elif one.consent != "denied":
                at, (rank, window) = one.occurred_at, place
                if ordered_at - at > window:
                    verdicts.append("outside_window")
                    figures.append(window)
                    ranks.append(rank)
                    continue
                span = active.get(one.affiliate_id)
                if at <= ordered_at and span is not None and span[0] <= at < span[1] and not one.evidence:
                    verdicts.append(None)
                    figures.append(0)
                    ranks.append(rank)
                    continue
        verdict = verdict_of(Entry(order, ruling, one))
        if one.touch_class in MIXED:
            mixed = mixed or verdict is None
            coupons += (ruling.coupons.get(one.touch_id),) if one.touch_class in COUPONS else ()
        rank, window = ruling.ranks.get(standing(ruling, one), UNRANKED)
        verdicts.append(verdict)
        figures.append(window if verdict == "outside_window" and not is_expired(one) else 0)
        ranks.append(rank)
    case = Case(order, ruling, touches, verdicts, figures, ranks, mixed, coupons)
    if ruling.contested:
        for contest in CONTESTS:
            contest(case)
    return case


def _untaken(order: Order, touches: list[Candidate]) -> Case:
    return Case(order, NO_RULING, touches, ["program_not_active"] * len(touches), [0] * len(touches), [0] * len(touches))


# --- sharing ---------------------------------------------------------------------------------------------------------


def _shared(case: Case, tell: bool) -> list[Credit]:
    """The credits, oldest first; every verdict that was open is closed. Where nobody is to be told, those are left that earn nothing."""
    verdicts, figures, touches = case.verdicts, case.figures, case.touches
    places = [place for place, verdict in enumerate(verdicts) if verdict is None]
    parts = _parts(case, places)
    if not parts:
        for place in places:
            verdicts[place] = "direct"
        return []
    leader = _leader(case, parts)
    earned = _carried(case, parts) if case.mixed else parts
    figure = MODEL_NUMBERS[case.ruling.policy.model] + (OF_TEST if case.order.test else 0)
    for place in earned:
        verdicts[place] = "winner"
        figures[place] += figure
    if (tell or case.mixed) and len(earned) < len(places):
        _lose(case, places, leader)
    won = [touches[place] for place in earned]
    credits = list(map(Credit, map(_affiliate, won), map(_id, won), map(_first, earned.values()), map(_second, earned.values())))
    return [credit for credit in credits if credit.affiliate_id] if case.mixed else credits


def _parts(case: Case, places: list[int]) -> dict[int, Share]:
    """The share of each touch that the model gives any, oldest first.

    The strongest rank is that of touches which are not direct: a direct visit takes part beside others and never overwrites.
    """
    ranks, touches = case.ranks, case.touches
    ranked = (
        [ranks[place] for place in places if touches[place].touch_class != "direct"] if case.mixed else [ranks[place] for place in places]
    )
    if not ranked:
        return {}
    strongest = min(ranked)
    chosen = [place for place in places if ranks[place] == strongest] if case.mixed or max(ranked) > strongest else places
    if case.mixed and case.ruling.policy.coupon_rule == "split" and touches[chosen[-1]].touch_class in COUPONS | CLICKS:
        return _coupons_and_clicks(case, places) or _weighed(case, chosen)
    return _weighed(case, chosen)


def _leader(case: Case, parts: dict[int, Share]) -> int:
    """The latest touch with a share: of an affiliate, where any has one."""
    if not case.mixed:
        return next(reversed(parts))
    return max((place for place in parts if case.touches[place].affiliate_id), default=max(parts))


def _weighed(case: Case, chosen: list[int]) -> dict[int, Share]:
    """The model's shares of touches that are of one rank, oldest first, without those that get nothing."""
    policy = case.ruling.policy
    if len(chosen) == 1 or policy.model == "last":
        return {chosen[-1]: ALL}
    given = shares_by_count(policy.model, len(chosen), policy)
    if given is None:
        touches, ordered_at = case.touches, case.order.occurred_at
        ages = [ordered_at - touches[place].occurred_at for place in chosen]
        given = shares(policy.model, [_player(touches[place]) for place in chosen], ages, policy)
    parts = dict(zip(chosen, given, strict=True))
    return {place: share for place, share in parts.items() if share[0]} if NOTHING in given else parts


def _player(one: Candidate) -> str:
    return one.affiliate_id or (DIRECT if one.touch_class == "direct" else PAID)


def _coupons_and_clicks(case: Case, places: list[int]) -> dict[int, Share]:
    """Each kind's strongest rank shares its part as the model says; nothing where only one kind is there."""
    found: dict[int, Share] = {}
    coupon_bps = case.ruling.policy.coupon_bps
    for kinds, bps in ((COUPONS, coupon_bps), (CLICKS, 10_000 - coupon_bps)):
        own = [place for place in places if case.touches[place].touch_class in kinds]
        if not own:
            return {}
        strongest = min(case.ranks[place] for place in own)
        for place, share in _weighed(case, [place for place in own if case.ranks[place] == strongest]).items():
            part = Fraction(*share) * Fraction(bps, 10_000)
            if part:
                found[place] = part.as_integer_ratio()
    return dict(sorted(found.items()))


def _carried(case: Case, parts: dict[int, Share]) -> dict[int, Share]:
    """The same, but a coupon's share is recorded on its affiliate's last click that might have earned, so that its sub ids survive.

    Not where the click's own share and the coupon's have a sum that is no two 64-bit numbers: then each keeps its own.
    """
    touches = case.touches
    if not any(touches[place].touch_class in COUPONS for place in parts):
        return parts
    clicks = {
        touches[place].affiliate_id: place
        for place, verdict in enumerate(case.verdicts)
        if verdict in (None, "lost_to_coupon") and touches[place].touch_class in CLICKS
    }
    earned = dict(parts)
    for place, share in parts.items():
        carrier = clicks.get(touches[place].affiliate_id, place) if touches[place].touch_class in COUPONS else place
        together = Fraction(*earned.get(carrier, NOTHING)) + Fraction(*share)
        if carrier == place or together.denominator > LARGEST:
            continue
        case.drop(place, "assist", FOR_ITS_COUPON)
        case.figures[carrier] = FOR_ITS_COUPON
        earned[carrier] = together.as_integer_ratio()
        del earned[place]
    return dict(sorted(earned.items()))


def _lose(case: Case, places: list[int], leader: int) -> None:
    """The verdicts of touches that might have earned, and lost to the leader's class or time."""
    ruling, touches, ranks, first = case.ruling, case.touches, case.ranks, case.touches[leader]
    leading, rank, at = standing(ruling, first), case.ranks[leader], first.occurred_at
    number, equal = CLASS_NUMBERS[leading], _GIVES_ALL.get(ruling.policy.model, "assist")
    for place in places:
        if case.verdicts[place] is not None:
            continue
        one = touches[place]
        if leading == "paid":
            case.drop(place, "lost_to_paid_channel", abs(at - one.occurred_at))
        elif one.touch_class == "direct":
            case.drop(place, "direct")
        elif ranks[place] == rank:
            case.drop(place, equal, 0 if equal == "assist" else abs(at - one.occurred_at) << 5 | number)
        else:
            case.drop(place, beaten(standing(ruling, one), leading), number)


def beaten(own: TouchClass, winning: TouchClass) -> Verdict:
    """Why a touch of a weaker rank loses to the class that wins."""
    if winning == "binding":
        return "customer_bound"
    if winning in COUPONS:
        return "lost_to_coupon" if own not in COUPONS else "lower_class"
    if winning in CLICKS and own in COUPONS:
        return "lost_to_click"
    if winning in CLICKS and own == "impression":
        return "view_superseded_by_click"
    return "lower_class"


# --- telling ---------------------------------------------------------------------------------------------------------


def _trace(case: Case) -> tuple[Step, ...]:
    """Strongest rank first, then the latest touch; classes that the policy leaves out come last."""
    ranks, verdicts = case.ranks, cast(list[Verdict], case.verdicts)
    steps = tuple(map(Step, reversed(case.touches), reversed(verdicts), reversed(case.figures)))
    if len(set(ranks)) > 1:
        ranks = ranks[::-1]
        return tuple([steps[place] for place in sorted(range(len(steps)), key=ranks.__getitem__)])
    return steps


def _overridden(override: Override, case: Case) -> list[Credit]:
    """The whole order to the affiliate that a person named, on its touch that came closest to earning; what had won is marked."""
    won = [place for place, verdict in enumerate(case.verdicts) if verdict == "winner"]
    for place in won:
        case.verdicts[place] = "overridden"
    own = [place for place, one in enumerate(case.touches) if one.affiliate_id == override.affiliate_id]
    best = max(own, key=lambda place: (place in won, case.verdicts[place] in ELIGIBLE, -case.ranks[place], place), default=None)
    if not override.affiliate_id:
        return []
    return [Credit(override.affiliate_id, "" if best is None else case.touches[best].touch_id, 1, 1)]


def _result(case: Case, credits: tuple[Credit, ...], override: Override | None) -> Result:
    """What the order is told; without credits the most telling reason: what the order is, then who came closest."""
    if case.order.test:
        return "test_event"
    if override is not None:
        return "manual_override"
    if credits:
        one = credits[0].affiliate_id
        return "credited" if one == credits[-1].affiliate_id and {one}.issuperset(map(_affiliate, credits)) else "split"
    return "program_not_active" if case.ruling is NO_RULING else _reason(case)


def _reason(case: Case) -> Result:
    order, verdicts = case.order, set(case.verdicts)
    if any(verdict == "winner" and one.touch_class == "direct" for one, verdict in zip(case.touches, case.verdicts, strict=True)):
        return "direct"
    for verdict, result in REASONS:
        if verdict in verdicts:
            return result
    if order.click_id and order.click_id not in map(_id, case.touches):
        return "unknown_click_id"
    for verdict, result in NEAR_REASONS:
        if verdict in verdicts:
            return result
    keys = (order.click_id, order.visitor_id, order.customer_keys, order.coupons, order.affiliate_id, order.claims)
    return "no_touch" if any(keys) else "no_identity"


def _hash(case: Case, customer: Customer, override: Override | None) -> str:
    """BLAKE2b, 256 bits, over everything the decision read. Address and agent are left out: the events store does not keep them."""
    order, touches = case.order, case.touches
    heard = msgspec.structs.replace(order, ip="", user_agent="") if order.ip or order.user_agent else order
    read = [_canonical((heard, touches, customer.status, customer.segments, override))]
    if customer.order_number:  # what is not known is not hashed: hashes of before stay
        read.append(_canonical((customer.order_number, customer.first_ordered_at)))
    read.append(case.ruling.digest)
    read.extend(map(case.ruling.members.__getitem__, map(_affiliate, touches)))
    if case.coupons:
        read.append(_canonical(case.coupons))
    return blake2b(b"".join(read), digest_size=32).hexdigest()
