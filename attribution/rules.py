"""What keeps a touch from earning: rules of the touch alone, then contests of one touch against another.

Each is a small function, listed with its verdict in the order in which it is asked. docs/attribution.md tells them to people.
"""

from collections.abc import Callable, Iterator

import msgspec

from attribution.policy import Ruling
from core.catalogue import Coupon
from core.clock import MINUTE, SECOND, Instant
from core.credit import Candidate, TouchClass, Verdict
from core.events import Order

CLICKS: frozenset[TouchClass] = frozenset(("click", "click_id", "soft_click", "scan", "call", "app_open", "agent"))
"""Touches that brought a visit: a person did something that an affiliate led them to."""
COUPONS: frozenset[TouchClass] = frozenset(("coupon", "exclusive_coupon"))
NOBODYS: frozenset[TouchClass] = frozenset(("paid", "direct"))
"""Visits without an affiliate: they may take part in a journey, but nobody earns their share."""
_HASTY: frozenset[TouchClass] = frozenset(("click", "click_id", "soft_click"))
"""Clicks that software can make at the checkout. A scan at a till or an app opened to buy is close to the order by nature."""
CAPPED = frozenset(("capped", "rate_limited"))
"""Traffic classes of clicks that do not count although a person may have made them."""
EXPIRED = "expired"
"""The ``origin`` of an assistant's claim that had run out when the order was placed."""
DECIDING = 1
"""The figure of a paid visit that took the order from affiliates."""


class Case(msgspec.Struct, gc=False):
    """An order before its decision: the touches, oldest first, and what is known of each, by place.

    A verdict of None means that the touch may still earn. ``ranks`` are the policy's, or one below its lowest where a touch has none.
    ``mixed``: some that may earn are coupons, or visits of nobody. ``coupons`` are what the catalogue says of those among the touches.
    """

    order: Order
    ruling: Ruling
    touches: list[Candidate]
    verdicts: list[Verdict | None]
    figures: list[int]
    ranks: list[int]
    mixed: bool = True
    coupons: tuple[Coupon | None, ...] = ()

    def eligible(self) -> list[int]:
        """The places of the touches that may still earn, oldest first."""
        return [place for place, verdict in enumerate(self.verdicts) if verdict is None]

    def drop(self, place: int, verdict: Verdict, figure: int = 0) -> None:
        self.verdicts[place], self.figures[place] = verdict, figure


def standing(ruling: Ruling, one: Candidate) -> TouchClass:
    """What a touch ranks as: its class, or the stronger one that the policy lists for it."""
    touch_class = one.touch_class
    if touch_class == "click" and "click_id" in ruling.ranks and "click_id" in one.matches:
        return "click_id"
    if touch_class == "coupon" and "exclusive_coupon" in ruling.ranks and one.touch_id in ruling.coupons:
        return "exclusive_coupon" if ruling.coupons[one.touch_id].exclusive else "coupon"
    return touch_class


# --- of one touch alone ----------------------------------------------------------------------------------------------


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One touch as its rules see it."""

    order: Order
    ruling: Ruling
    touch: Candidate

    @property
    def foreign(self) -> bool:
        """Another tenant's of a coalition."""
        return self.touch.tenant_id not in ("", self.order.tenant_id)

    @property
    def nobodys(self) -> bool:
        return self.touch.touch_class in NOBODYS


Rule = Callable[[Entry], bool]


def _wrong_tenant(entry: Entry) -> bool:
    """Another tenant's touch counts where a coalition of both, at the touch's time and at the order's, shares its class."""
    order, touch = entry.order, entry.touch
    return entry.foreign and not any(
        touch.touch_class in coalition.classes
        and all(
            any(member.tenant_id == tenant_id and member.active_at(at) for member in coalition.members)
            for tenant_id in (touch.tenant_id, order.tenant_id)
            for at in (touch.occurred_at, order.occurred_at)
        )
        for coalition in entry.ruling.coalitions
    )


def _wrong_program(entry: Entry) -> bool:
    return not entry.foreign and not entry.nobodys and entry.touch.programme_id != entry.ruling.programme_id


def _direct(entry: Entry) -> bool:
    return entry.touch.touch_class == "direct" and "direct" not in entry.ruling.ranks


def _paid(entry: Entry) -> bool:
    return entry.touch.touch_class == "paid" and not ("paid" in entry.ruling.ranks and listed_medium(entry.ruling, entry.touch))


def _class_excluded(entry: Entry) -> bool:
    return standing(entry.ruling, entry.touch) not in entry.ruling.ranks


def _capped(entry: Entry) -> bool:
    return entry.touch.traffic_class in CAPPED


def _bot(entry: Entry) -> bool:
    return not entry.touch.human


def _no_consent(entry: Entry) -> bool:
    """Without consent nobody is followed: a touch counts where the order itself names it, since its id travelled in the address.

    Another tenant's touch counts only with consent given.
    """
    touch = entry.touch
    if entry.foreign:
        return touch.consent != "granted" or entry.order.consent == "denied"
    if touch.consent == "denied":
        return "click_id" not in touch.matches
    return entry.order.consent == "denied" and touch.matches == ("visitor",)


def _coupon_not_valid(entry: Entry) -> bool:
    if entry.touch.touch_class not in COUPONS:
        return False
    coupon = entry.ruling.coupons.get(entry.touch.touch_id)
    return coupon is None or not coupon.valid_at(entry.order.occurred_at)


def _after_order(entry: Entry) -> bool:
    return entry.touch.occurred_at > entry.order.occurred_at


def _outside_window(entry: Entry) -> bool:
    if is_expired(entry.touch):
        return True
    return entry.order.occurred_at - entry.touch.occurred_at > entry.ruling.ranks[standing(entry.ruling, entry.touch)][1]


def _program_not_active(entry: Entry) -> bool:
    starts_at = entry.ruling.programme.starts_at
    return starts_at is not None and entry.touch.occurred_at < starts_at and not entry.nobodys


def _affiliate_not_active(entry: Entry) -> bool:
    since, until = entry.ruling.active.get(entry.touch.affiliate_id, (0, 0))
    return not since <= entry.touch.occurred_at < until and not entry.nobodys


def _self_referral(entry: Entry) -> bool:
    return bool(entry.touch.evidence) and entry.ruling.policy.self_referral == "refuse"


RULES: tuple[tuple[Verdict, Rule], ...] = (
    ("wrong_tenant", _wrong_tenant),
    ("wrong_program", _wrong_program),
    ("direct", _direct),
    ("paid_visit", _paid),
    ("class_excluded", _class_excluded),
    ("capped", _capped),
    ("bot", _bot),
    ("no_consent", _no_consent),
    ("coupon_not_valid", _coupon_not_valid),
    ("after_order", _after_order),
    ("outside_window", _outside_window),
    ("program_not_active", _program_not_active),
    ("affiliate_not_active", _affiliate_not_active),
    ("self_referral", _self_referral),
)
"""What keeps a touch from earning; the first rule that holds is its verdict. First what the touch is, then when it happened,
then whose it is: a later verdict means that it came closer to earning."""


def verdict_of(entry: Entry) -> Verdict | None:
    """The first rule that holds; None where none does."""
    for verdict, holds in RULES:
        if holds(entry):
            return verdict
    return None


def is_expired(one: Candidate) -> bool:
    """Is it an assistant's claim that had run out?"""
    return one.touch_class == "agent" and one.origin == EXPIRED


def listed_medium(ruling: Ruling, one: Candidate) -> bool:
    """Is the paid visit of a channel that the policy names, by origin, by medium or by both? Naming none, it means all."""
    media = ruling.policy.paid_media
    return not media or one.origin in media or any(part in media for part in one.origin.split("/"))


def _but_for_age(case: Case, place: int) -> bool:
    """Would the touch count if it were young enough? Its age must not matter where it only stands in another's way."""
    verdict = case.verdicts[place]
    if verdict != "outside_window" or is_expired(case.touches[place]):
        return verdict is None
    entry = Entry(case.order, case.ruling, case.touches[place])
    return not any(holds(entry) for verdict, holds in RULES if verdict != "outside_window")


# --- of one touch against another ------------------------------------------------------------------------------------


def guard_exclusive_codes(case: Case) -> None:
    """An order with an exclusive code that is valid, of an affiliate that is active, earns for nobody but its owner."""
    if not case.ruling.policy.guard_exclusive_codes:
        return
    owners = {one.affiliate_id for one in case.touches if one.touch_class in COUPONS and _is_guarded(case, one)}
    for place in case.eligible() if owners else ():
        owner = case.touches[place].affiliate_id
        if owner and owner not in owners:
            case.drop(place, "exclusive_code")


def _is_guarded(case: Case, one: Candidate) -> bool:
    coupon, entry = case.ruling.coupons.get(one.touch_id), Entry(case.order, case.ruling, one)
    if coupon is None or not coupon.exclusive:
        return False
    return not (_wrong_program(entry) or _coupon_not_valid(entry) or _affiliate_not_active(entry))


def stand_down(case: Case) -> None:
    """A visit that software brought earns nothing up to so many minutes after another affiliate's, however old both are."""
    limit, software = case.ruling.policy.stand_down_minutes * MINUTE, case.ruling.software
    if not limit or not software:
        return
    others: Instant | None = None
    for place, one in enumerate(case.touches):
        if one.touch_class not in CLICKS:
            continue
        if one.affiliate_id not in software:
            others = one.occurred_at if _but_for_age(case, place) else others
        elif case.verdicts[place] is None and others is not None and one.occurred_at - others <= limit:
            case.drop(place, "stand_down", one.occurred_at - others)


def dedupe_paid(case: Case) -> None:
    """A paid visit takes the order from all older visits and views of affiliates, where no affiliate's is among the last few visits."""
    policy = case.ruling.policy
    if policy.paid_rule == "ignore":
        return
    visits = [place for place in range(len(case.touches)) if _is_visit(case, place)]
    last = visits[-(policy.paid_recent if policy.paid_rule == "unless_recent" else 1) :]
    paid = [place for place in visits if case.touches[place].touch_class == "paid"]
    if not paid or any(case.touches[place].touch_class != "paid" for place in last):
        return
    struck = [place for place in case.eligible() if place < paid[-1] and case.touches[place].touch_class in CLICKS | {"impression"}]
    for place in struck:
        case.drop(place, "lost_to_paid_channel", case.touches[paid[-1]].occurred_at - case.touches[place].occurred_at)
    if struck and case.verdicts[paid[-1]] is not None:
        case.drop(paid[-1], "paid_visit", DECIDING)


def _is_visit(case: Case, place: int) -> bool:
    """An affiliate's click that may earn, or a person's paid visit of any age before the order.

    Another tenant's advertising takes no order from this one's affiliates.
    """
    one = case.touches[place]
    if one.touch_class == "paid":
        own = one.tenant_id in ("", case.order.tenant_id)
        return own and one.human and one.occurred_at <= case.order.occurred_at and listed_medium(case.ruling, one)
    return one.touch_class in CLICKS and case.verdicts[place] is None


def late_hijack(case: Case) -> None:
    """A click too close to the order gives way where another affiliate's touch, not so close, may earn. Alone it earns."""
    limit = case.ruling.policy.min_seconds_to_order * SECOND
    if not limit:
        return
    latest = case.order.occurred_at - limit
    eligible = case.eligible()
    settled = {
        case.touches[place].affiliate_id
        for place in eligible
        if case.touches[place].occurred_at <= latest and case.touches[place].touch_class not in NOBODYS | {"binding"}
    }
    for place in eligible:
        one = case.touches[place]
        if one.touch_class in _HASTY and one.occurred_at > latest and len(settled) > (one.affiliate_id in settled):
            case.drop(place, "late_hijack", limit)


def coupons_against_clicks(case: Case) -> None:
    """Which of them may still earn, where the policy does not leave it to the ranks. Splitting comes later."""
    rule = case.ruling.policy.coupon_rule
    if rule in ("by_rank", "split"):
        return
    eligible = case.eligible()
    coupons = [place for place in eligible if case.touches[place].touch_class in COUPONS]
    clicks = [place for place in eligible if case.touches[place].touch_class in CLICKS]
    if rule == "coupon_wins" and coupons:
        for place in clicks:
            case.drop(place, "lost_to_coupon")
    elif rule == "click_wins" and clicks:
        for place in coupons:
            case.drop(place, "lost_to_click")
    elif rule == "only_without_click" and coupons:
        owners = set(_owners_of_clicks(case))
        for place in coupons:
            if len(owners) > (case.touches[place].affiliate_id in owners):
                case.drop(place, "lost_to_click")


def _owners_of_clicks(case: Case) -> Iterator[str]:
    """Of all clicks before the order that count, but for their age."""
    for place, one in enumerate(case.touches):
        if one.touch_class in CLICKS and _but_for_age(case, place):
            yield one.affiliate_id


CONTESTS: tuple[Callable[[Case], None], ...] = (guard_exclusive_codes, stand_down, dedupe_paid, late_hijack, coupons_against_clicks)
"""In the order in which they are held. None of them takes the last touch away by one that a longer window brought in, so that a longer
window never unlinks an order: the first two do not ask for age, the third asks what came later, the last two leave a touch that earns."""
