"""The tables of a catalogue file: their keys, the records that they fill, and the form in which each value is written."""

from functools import cache
from typing import Any, Literal

import msgspec

from core.catalogue import (
    Affiliate,
    ApiKey,
    Bonus,
    Clause,
    Coalition,
    CoalitionMember,
    Condition,
    Coupon,
    Limit,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Segment,
    Store,
    Tenant,
    Tier,
    Tiers,
    TouchWindow,
    User,
)

Form = Literal[
    "text",
    "number",
    "flag",
    "texts",
    "instant",
    "percent",
    "percents",
    "amount",
    "threshold",
    "clause",
    "clauses",
    "tiers",
    "steps",
]
"""``threshold`` is a whole number where the table's ``measure`` is orders, else an amount. The last four are tables within a value."""


class Key(msgspec.Struct, frozen=True):
    """A key of a table: its name in the file, the record's field, and how its value is written."""

    name: str
    field: str
    form: Form = "text"


class Part(msgspec.Struct, frozen=True):
    """A table below another one (``[[policy.class]]``), whose records fill ``field``."""

    table: str
    field: str
    record: type
    keys: tuple[Key, ...]


class Kind(msgspec.Struct, frozen=True):
    """A table of the file."""

    table: str
    plural: str
    record: type
    keys: tuple[Key, ...]
    parts: tuple[Part, ...] = ()

    def part(self, table: str) -> Part | None:
        return next((part for part in self.parts if part.table == table), None)


@cache
def required(record: type) -> frozenset[str]:
    """The fields that a record cannot do without."""
    return frozenset(field.name for field in msgspec.structs.fields(record) if field.required)


@cache
def defaults(record: type) -> dict[str, Any]:
    """What a record's other fields hold where nothing is given."""
    return {field.name: field.default for field in msgspec.structs.fields(record) if not field.required}


def _same(*names: str, form: Form = "text") -> tuple[Key, ...]:
    return tuple(Key(name, name, form) for name in names)


_TENANT = Key("tenant", "tenant_id")
_PROGRAMME = Key("programme", "programme_id")
_AFFILIATE = Key("affiliate", "affiliate_id")
_VERSION = (_TENANT, _PROGRAMME, Key("version", "version", "number"), Key("effective_from", "effective_from", "instant"))
_CAPS = (*_same("daily_click_cap", "total_click_cap", form="number"), *_same("fallback_url"))
_RATES = (Key("percent", "percent_bps", "percent"), Key("fixed", "fixed_minor", "amount"))
_MEASURED = _same("measure", "period")

CLAUSE_KEYS = (*_same("entity", "attribute", "operator"), *_same("values", form="texts"), *_same("all", "any", form="clauses"))
TIERS_KEYS = (*_MEASURED, *_same("retroactive", form="flag"), *_same("steps", form="steps"))
STEP_KEYS = (Key("at_least", "at_least", "threshold"), *_RATES)
WITHIN: dict[Form, tuple[type, tuple[Key, ...]]] = {
    "clause": (Clause, CLAUSE_KEYS),
    "clauses": (Clause, CLAUSE_KEYS),
    "tiers": (Tiers, TIERS_KEYS),
    "steps": (Tier, STEP_KEYS),
}
"""The tables that stand within a value: one of them, or a list."""

RULE = Part(
    "rule",
    "rules",
    Rule,
    (
        *(Key("id", "rule_id"), *_same("subject"), *_same("priority", form="number"), *_RATES, *_same("per")),
        *(*_same("categories", "skus", form="texts"), *_same("customer_status"), *_same("segments", form="texts")),
        *(*_same("when", form="clause"), Key("most", "most_minor", "amount"), *_same("tiers", form="tiers")),
    ),
)
LIMIT = Part(
    "limit",
    "limits",
    Limit,
    (
        *(Key("id", "limit_id"), Key("amount", "amount_minor", "amount"), *_same("period")),
        *(*_same("shared", form="flag"), *_same("rules", form="texts")),
    ),
)
BONUS = Part(
    "bonus",
    "bonuses",
    Bonus,
    (Key("id", "bonus_id"), *_MEASURED, Key("at_least", "at_least", "threshold"), Key("pays", "pays_minor", "amount")),
)

KINDS: tuple[Kind, ...] = (
    Kind(
        "tenant",
        "tenants",
        Tenant,
        (
            *(Key("id", "tenant_id"), *_same("name", "currency", "time_zone", "click_parameter")),
            *(*_same("lapsed_after_days", form="number"), Key("adjustment_limit", "adjustment_limit_minor", "amount")),
        ),
    ),
    Kind("store", "stores", Store, (_TENANT, Key("id", "store_id"), *_same("name", "channel", "segment", "host"))),
    Kind(
        "segment",
        "segments",
        Segment,
        (_TENANT, Key("id", "segment_id"), Key("name", "name")),
        (Part("condition", "conditions", Condition, (Key("field", "field"), Key("values", "values", "texts"))),),
    ),
    Kind(
        "programme",
        "programmes",
        Programme,
        (
            *(_TENANT, Key("id", "programme_id"), *_same("name", "landing_url"), *_same("hosts", "stores", "segments", form="texts")),
            *(*_same("starts_at", "ends_at", form="instant"), *_CAPS),
        ),
    ),
    Kind("affiliate", "affiliates", Affiliate, (Key("id", "affiliate_id"), *_same("name", "email", "website", "account_holder", "iban"))),
    Kind(
        "membership",
        "memberships",
        Membership,
        (
            *(_TENANT, _PROGRAMME, _AFFILIATE, Key("status", "status")),
            *(*_same("applied_at", "approved_at", "suspended_at", form="instant"), *_same("software", form="flag")),
            *_same("group", "recruited_by"),
        ),
    ),
    Kind(
        "link",
        "links",
        Link,
        (
            *(Key("code", "code"), _TENANT, _PROGRAMME, _AFFILIATE),
            *(*_same("destination", "name", "channel"), *_same("disabled", form="flag"), *_CAPS),
        ),
    ),
    Kind(
        "coupon",
        "coupons",
        Coupon,
        (
            *(_TENANT, Key("code", "code"), _PROGRAMME, _AFFILIATE),
            *(*_same("valid_from", "valid_to", form="instant"), *_same("exclusive", form="flag"), Key("class", "coupon_class")),
        ),
    ),
    Kind(
        "policy",
        "policies",
        Policy,
        (
            *(*_VERSION, *_same("segment", "model"), Key("first", "first_bps", "percent"), Key("last", "last_bps", "percent")),
            *(*_same("half_life_hours", form="number"), Key("introducer", "introducer_bps", "percent")),
            *(Key("closer", "closer_bps", "percent"), *_same("coupon_rule"), Key("coupon_share", "coupon_bps", "percent")),
            *(*_same("guard_exclusive_codes", form="flag"), *_same("paid_rule"), *_same("paid_media", form="texts")),
            *(*_same("paid_recent", form="number"), *_same("direct_rule", "self_referral")),
            *_same("min_seconds_to_order", "stand_down_minutes", "lock_days", form="number"),
        ),
        (
            Part(
                "class",
                "classes",
                TouchWindow,
                (Key("touch", "touch"), Key("window_hours", "window_hours", "number"), Key("tied", "tied", "flag")),
            ),
        ),
    ),
    Kind(
        "rate_card",
        "rate_cards",
        RateCard,
        (
            *(*_VERSION, *_same("hold_days", form="number"), *_same("priced_at"), *_same("pays_on", form="texts")),
            *(Key("minimum_order", "minimum_order_minor", "amount"), Key("recruiters", "recruiter_bps", "percents")),
            *_same("recruiter_of", "settle_in", "fx_rounding"),
        ),
        (RULE, LIMIT, BONUS),
    ),
    Kind(
        "user",
        "users",
        User,
        (*_same("email", "name", "role", "password_hash"), _TENANT, _AFFILIATE, *_same("disabled", form="flag")),
    ),
    Kind("api_key", "api_keys", ApiKey, (Key("id", "key_id"), _TENANT, Key("name", "name"), Key("hash", "key_hash"))),
    Kind(
        "coalition",
        "coalitions",
        Coalition,
        (Key("id", "coalition_id"), Key("name", "name"), Key("classes", "classes", "texts"), Key("marketplace", "marketplace_id")),
        (Part("member", "members", CoalitionMember, (_TENANT, *_same("joined_at", "left_at", form="instant"))),),
    ),
)
"""The file's tables, in the order in which they are written: what is named comes before what names it."""

BY_TABLE = {kind.table: kind for kind in KINDS}
