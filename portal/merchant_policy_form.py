"""The form of a new policy version: a place and a window for each class of touch (``place_click``, ``window_click``, ``unit_click``),
and one field for each other rule, named as the policy's.

Classes in the same place share its rank. What is left empty takes the usual value.
"""

from typing import Any, get_args

from core.catalogue import CouponRule, DirectRule, Model, PaidRule, Policy, SelfReferralRule, TouchWindow
from core.clock import Instant
from core.credit import TouchClass
from core.flaws import DAYS_LIMIT, HOURS_LIMIT
from core.policy_rules import MINUTES_LIMIT, PAID_RECENT_LIMIT, SECONDS_LIMIT
from portal.entries import plain_percent
from portal.forms import Form

CLASSES: tuple[TouchClass, ...] = get_args(TouchClass)
COMMON: tuple[TouchClass, ...] = ("coupon", "click", "impression")
"""Always in sight; the others are shown where the policy has them, or on demand."""
NO_WINDOW: frozenset[TouchClass] = frozenset({"coupon", "exclusive_coupon", "clickless"})
"""They stand in the order itself, at its time."""
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth".split()
PLACES = {str(number): name for number, name in enumerate(_ORDINALS, start=1)} | {"": "never earns"}
HOURS = {"days": 24, "hours": 1}

MODELS: dict[Model, tuple[str, str]] = {
    "last": ("Last touch", "the latest one gets everything"),
    "first": ("First touch", "the earliest one gets everything"),
    "last_non_direct": ("Last touch, direct visits aside", "the latest that somebody brought gets everything"),
    "linear": ("Equal parts", "every touch gets the same"),
    "position": ("First and last", "most for the first and the last, the rest for those between"),
    "time_decay": ("The later, the more", "a touch loses half its weight with every half-life"),
    "shapley": ("Equal parts by affiliate", "every affiliate gets the same, however many touches it has"),
    "participation": ("By role", "parts for whoever introduced, influenced and closed"),
}
COUPON_RULES: dict[CouponRule, str] = {
    "by_rank": "The precedence above decides",
    "coupon_wins": "The coupon wins: clicks earn nothing beside it",
    "click_wins": "The click wins: coupons earn nothing beside it",
    "only_without_click": "A coupon earns only where no other affiliate's click came before",
    "split": "Both share: the coupon gets the part below, the clicks the rest",
}
GUARDS = {"yes": "Orders with it earn for its owner alone", "no": "It is a coupon like any other"}
PAID_RULES: dict[PaidRule, str] = {
    "ignore": "They change nothing",
    "last_wins": "The last visit wins: a paid visit after the last click takes the order",
    "unless_recent": "A paid visit takes the order, unless an affiliate's click is among the last few visits",
}
DIRECT_RULES: dict[DirectRule, str] = {
    "ignore": "They never take anything from an affiliate",
    "counts": "They count like clicks; nobody earns their part",
}
SELF_REFERRALS: dict[SelfReferralRule, str] = {
    "flag": "They earn, and are marked with the evidence",
    "refuse": "They earn nothing",
}
_SHARES = ("first_bps", "last_bps", "introducer_bps", "closer_bps", "coupon_bps")
_NUMBERS = {
    "half_life_hours": (1, HOURS_LIMIT),
    "paid_recent": (1, PAID_RECENT_LIMIT),
    "min_seconds_to_order": (0, SECONDS_LIMIT),
    "stand_down_minutes": (0, MINUTES_LIMIT),
    "lock_days": (1, DAYS_LIMIT),
}
_WORDS = ("model", "coupon_rule", "paid_rule", "direct_rule", "self_referral")
_CHOICES: dict[str, Any] = dict(zip(_WORDS, (MODELS, COUPON_RULES, PAID_RULES, DIRECT_RULES, SELF_REFERRALS), strict=True))
_USUAL = Policy("", "", 0, 0)


def policy_form(policy: Policy, **more: str) -> Form:
    """A policy as a person would type it: where the next version starts from."""
    values = {"segment": policy.segment, "paid_media": ", ".join(policy.paid_media)}
    values |= {name: getattr(policy, name) for name in _WORDS}
    values |= {name: plain_percent(getattr(policy, name)) for name in _SHARES}
    values |= {name: str(getattr(policy, name)) for name in _NUMBERS}
    values["guard_exclusive_codes"] = "yes" if policy.guard_exclusive_codes else "no"
    return Form.of(**values | _typed_classes(policy.classes) | more)


def read_policy(form: Form, tenant_id: str, programme_id: str, version: int, effective_from: Instant, segments: list[str]) -> Policy:
    """The policy of a form; its faults are noted on the form, and with any it is not to be used.

    Args:
        segments: the ids that there are.
    """
    fields: dict[str, Any] = {name: form.choice(name, _CHOICES[name], required=False) or getattr(_USUAL, name) for name in _WORDS}
    fields |= {name: _read_share(form, name) for name in _SHARES}
    fields |= {name: _read_number(form, name) for name in _NUMBERS}
    return Policy(
        tenant_id,
        programme_id,
        version,
        effective_from,
        classes=read_classes(form),
        segment=form.choice("segment", segments, required=False),
        guard_exclusive_codes=form.choice("guard_exclusive_codes", GUARDS, required=False) != "no",
        paid_media=read_words(form, "paid_media"),
        **fields,
    )


def read_classes(form: Form) -> tuple[TouchWindow, ...]:
    """The precedence, strongest first; those in one place are tied. With faults on the form, it is not to be used."""
    placed: dict[int, list[TouchWindow]] = {}
    for touch in CLASSES:
        place = form.choice(f"place_{touch}", PLACES, required=False)
        if place:
            group = placed.setdefault(int(place), [])
            group.append(TouchWindow(touch, _read_window_hours(form, touch), tied=bool(group)))
    if not placed:
        form.fault("classes", "Please give at least one of them a place: otherwise nothing can ever be credited.")
    return tuple(window for place in sorted(placed) for window in placed[place])


def read_words(form: Form, field: str) -> tuple[str, ...]:
    """Words between commas, in small letters, each once."""
    text = form.text(field, required=False, longest=2048).lower()
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def shown_classes(form: Form) -> tuple[list[TouchClass], list[TouchClass]]:
    """Those in sight, and those that are folded away: neither common nor given a place."""
    shown = [touch for touch in CLASSES if touch in COMMON or form.raw(f"place_{touch}") or f"place_{touch}" in form.faults]
    return shown, [touch for touch in CLASSES if touch not in shown]


def opened(form: Form) -> set[str]:
    """The groups of rules that are in use, or have a fault, and so stand open."""
    usual = policy_form(_USUAL)
    return {
        group for group, names in GROUPS.items() for name in names if name in form.faults or form.raw(name) not in ("", usual.raw(name))
    }


GROUPS: dict[str, tuple[str, ...]] = {
    "model": ("first_bps", "last_bps", "half_life_hours", "introducer_bps", "closer_bps"),
    "coupons": ("coupon_rule", "coupon_bps", "guard_exclusive_codes"),
    "paid": ("paid_rule", "paid_media", "paid_recent", "direct_rule"),
    "fair": ("self_referral", "min_seconds_to_order", "stand_down_minutes", "lock_days"),
}
"""The parts of the form that fold away, with their fields."""


def _typed_classes(classes: tuple[TouchWindow, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    place = 0
    for window in classes:
        place += not (window.tied and place)
        unit = "days" if window.window_hours % 24 == 0 and window.window_hours > 24 else "hours"
        values |= {
            f"place_{window.touch}": str(place),
            f"window_{window.touch}": str(window.window_hours // HOURS[unit]) if window.window_hours else "",
            f"unit_{window.touch}": unit,
        }
    return values


def _read_window_hours(form: Form, touch: TouchClass) -> int:
    """Coupons have no window: they are used at the moment of the order. An assistant's claim may go without one."""
    if touch in NO_WINDOW or (touch == "agent" and not form.raw("window_agent").strip()):
        return 0
    unit = form.choice(f"unit_{touch}", HOURS)
    hours = form.whole(f"window_{touch}", 1, HOURS_LIMIT) * HOURS.get(unit, 1)
    if hours > HOURS_LIMIT:
        form.fault(f"window_{touch}", f"At most {DAYS_LIMIT} days.")
    return hours


def _read_share(form: Form, name: str) -> int:
    share = form.percent(name, required=False)
    return int(getattr(_USUAL, name)) if share is None else share


def _read_number(form: Form, name: str) -> int:
    return form.whole(name, *_NUMBERS[name]) if form.raw(name).strip() else int(getattr(_USUAL, name))
