"""What the selects of the rate card form offer, and the words of the tenant that its fields may name."""

from typing import Any

from core.catalogue import Catalogue, Programme
from core.conditions import ATTRIBUTES, CHOICES
from payouts.rate_words import NOUNS
from portal.merchant_rate_form import EXTRAS, FX_ROUNDING, PRICED_AT, RECRUITER_OF, SHARED
from portal.merchant_rule_form import CUSTOMERS, JOINED, MEASURES, OPERATORS, PERIODS, PERS, REACH, SUBJECTS

MOST_NAMES = 50
"""So many names of a kind are proposed; there may be more."""
ENTITIES = {
    "item": "The product",
    "customer": "The customer",
    "order": "The order",
    "affiliate": "The affiliate",
    "touch": "The touch: what brought the order, or is paid for",
    "lead": "The lead",
}
_OWN = {
    "order": [("order.*", "the shop's own, of the order")],
    "item": [("item.*", "the shop's own, of the product")],
}
_WORDS = {
    ("customer", "status"): "kinds of customer",
    ("order", "channel"): "channels",
    ("order", "weekday"): "weekdays",
    ("item", "kind"): "kinds of product",
    ("touch", "class"): "kinds of touch",
    ("touch", "device"): "devices",
}


def choices(catalogue: Catalogue, programme: Programme) -> dict[str, Any]:
    """For the page: options as (value, text), attributes grouped by entity, and names as (what they are, the names)."""
    selects: dict[str, dict[Any, str]] = {
        "subjects": SUBJECTS,
        "pers": PERS,
        "customers": CUSTOMERS,
        "measures": MEASURES,
        "periods": PERIODS,
        "reach": REACH,
        "joined": JOINED,
        "operators": OPERATORS,
        "priced_at": PRICED_AT,
        "extras": EXTRAS,
        "recruiter_of": RECRUITER_OF,
        "shared": SHARED,
        "fx_rounding": FX_ROUNDING,
    }
    found: dict[str, Any] = {name: list(options.items()) for name, options in selects.items()}
    return found | {"asked": _asked(), "names": names(catalogue, programme)}


def names(catalogue: Catalogue, programme: Programme) -> list[tuple[str, list[str]]]:
    """What there is to name: the tenant's own words first, then those that are the same for all."""
    members = [one for one in catalogue.memberships if one.programme_id == programme.programme_id]
    own = {
        "segments": {segment.segment_id for segment in catalogue.segments},
        "stores": {store.store_id for store in catalogue.stores},
        "segments of stores": {store.segment for store in catalogue.stores},
        "groups of affiliates": {one.group for one in members},
        "affiliates": {one.affiliate_id for one in members},
        "classes of coupons": {coupon.coupon_class for coupon in catalogue.coupons if coupon.programme_id == programme.programme_id},
    }
    shown = [(what, sorted(found - {""})[:MOST_NAMES]) for what, found in own.items() if found - {""}]
    return shown + [(what, list(CHOICES[place])) for place, what in _WORDS.items()]


def _asked() -> list[tuple[str, list[tuple[str, str]]]]:
    def options(entity: str) -> list[tuple[str, str]]:
        own = [f"{entity}.{attribute}" for place, attribute in ATTRIBUTES if place == entity]
        return [(name, NOUNS.get(name, f"the touch's {name.partition('.')[2]}")) for name in own] + _OWN.get(entity, [])

    return [(title, options(entity)) for entity, title in ENTITIES.items()]
