"""Catalogue records: who may earn from what, and by which rules. Immutable; read in bulk, looked up by id.

Ids are slugs (:func:`core.ids.is_slug`), chosen by people. Tenants, affiliates, link codes and user e-mails are unique in
the installation; stores, programmes and coupons within their tenant. Policies and rate cards are immutable versions.
"""

from typing import Literal, TypeVar

import msgspec

from core.clock import HOUR, Instant
from core.credit import TouchClass
from core.events import Channel, CustomerStatus
from core.scope import Role

MembershipStatus = Literal["applied", "approved", "suspended"]
Model = Literal["last", "first", "last_non_direct", "linear", "position", "time_decay", "shapley", "participation"]
CouponRule = Literal["by_rank", "coupon_wins", "click_wins", "only_without_click", "split"]
PaidRule = Literal["ignore", "last_wins", "unless_recent"]
DirectRule = Literal["ignore", "counts"]
SelfReferralRule = Literal["flag", "refuse"]
Per = Literal["order", "line", "unit", "lead", "click", "thousand"]
Subject = Literal["order", "lead", "click", "impression"]
"""What a rule pays for. Clicks and impressions count where they are people's and unique: see docs/money.md."""
Entity = Literal["affiliate", "customer", "order", "item", "touch", "lead"]
Operator = Literal[
    "equals_to",
    "not_equals",
    "starts_with",
    "ends_with",
    "contains",
    "not_contains",
    "in",
    "not_in",
    "under",
    "greater_than",
    "greater_than_or_equal",
    "less_than",
    "less_than_or_equal",
]
"""``under``: the category itself, or one below it in the tree; levels of a path are parted by `` > ``."""
Measure = Literal["orders", "revenue", "commission"]
"""What a tier or a bonus counts of an affiliate: credited orders, credited net, or commission before tiers and limits."""
Period = Literal["day", "week", "month", "quarter", "year", "lifetime"]
"""In the tenant's time zone; weeks begin on Monday."""
Extra = Literal["tax", "shipping"]
PricedAt = Literal["order", "touch"]
FxRounding = Literal["down", "half_even", "up"]


class Tenant(msgspec.Struct, frozen=True):
    """A merchant. ``click_parameter`` is the query parameter that carries the click id to the shop.

    A customer who has not ordered for more than ``lapsed_after_days`` is lapsed, not returning. A manual adjustment of more than
    ``adjustment_limit_minor``, or in another currency (whatever its sign), needs a second person.
    """

    tenant_id: str
    name: str
    currency: str
    time_zone: str = "UTC"
    click_parameter: str = "fsclick"
    lapsed_after_days: int = 365
    adjustment_limit_minor: int = 0


class Store(msgspec.Struct, frozen=True):
    """A tenant's shop, till, sub-domain or seller: where an order was placed."""

    tenant_id: str
    store_id: str
    name: str
    channel: Channel = "web"
    segment: str = ""
    host: str = ""


class Programme(msgspec.Struct, frozen=True):
    """An offer that affiliates join. ``stores`` empty: it takes every order whose store no other programme names.

    ``segments`` empty: it takes orders of every segment; else only those in one of them, before programmes that name none.
    It takes orders placed in ``[starts_at, ends_at)``; None is open.

    ``hosts`` are the only hosts a deep link may lead to: a host equals a listed one or is a sub-domain of it.
    The caps bind all its links together: people's clicks of a day (UTC, ``[00:00, 24:00)``) and since the cap was set;
    a click beyond one earns nothing and leads to ``fallback_url``, or to the landing page where that is empty.
    """

    tenant_id: str
    programme_id: str
    name: str
    landing_url: str
    hosts: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    daily_click_cap: int | None = None
    total_click_cap: int | None = None
    fallback_url: str = ""
    segments: tuple[str, ...] = ()
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class Affiliate(msgspec.Struct, frozen=True):
    """One account for the whole installation; it joins programmes of many tenants."""

    affiliate_id: str
    name: str
    email: str
    website: str = ""
    account_holder: str = ""
    iban: str = ""


class Membership(msgspec.Struct, frozen=True):
    """An affiliate in a programme. Earns from touches in ``[approved_at, suspended_at)``; None is "not yet".

    ``software``: it works inside the shopper's browser (an extension, a toolbar) and has to stand down for others' clicks.
    ``group`` is what rate cards may ask for ("gold", "cashback"); ``recruited_by`` another member of the programme, empty for none.
    """

    tenant_id: str
    programme_id: str
    affiliate_id: str
    status: MembershipStatus
    applied_at: Instant
    approved_at: Instant | None = None
    suspended_at: Instant | None = None
    software: bool = False
    group: str = ""
    recruited_by: str = ""

    def active_at(self, at: Instant) -> bool:
        """True where a touch at ``at`` may earn."""
        began = self.approved_at is not None and self.approved_at <= at
        return began and (self.suspended_at is None or at < self.suspended_at)


class Link(msgspec.Struct, frozen=True):
    """A tracked link, ``/c/{code}``. A disabled one still records its clicks, flagged, and leads to the landing page.

    The caps are its own, beside its programme's, whose ``fallback_url`` stands in where this one is empty.
    """

    code: str
    tenant_id: str
    programme_id: str
    affiliate_id: str
    destination: str
    name: str = ""
    channel: Channel = "web"
    disabled: bool = False
    daily_click_cap: int | None = None
    total_click_cap: int | None = None
    fallback_url: str = ""


class Coupon(msgspec.Struct, frozen=True):
    """A code that credits its owner for orders placed in ``[valid_from, valid_to)``; None is open. Codes are upper case.

    An ``exclusive`` code may be advertised by its owner alone. ``coupon_class`` is what rate cards may ask for.
    """

    tenant_id: str
    code: str
    programme_id: str
    affiliate_id: str
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    exclusive: bool = False
    coupon_class: str = ""

    def valid_at(self, at: Instant) -> bool:
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)


class TouchWindow(msgspec.Struct, frozen=True):
    """How long one class of touch may earn, closed at both ends: a touch exactly ``window_hours`` old still counts.

    ``tied``: it has the rank of the class before it in the policy, so that the model weighs both together.
    """

    touch: TouchClass
    window_hours: int
    tied: bool = False

    @property
    def window(self) -> int:
        """In milliseconds."""
        return self.window_hours * HOUR


class Policy(msgspec.Struct, frozen=True):
    """How a programme attributes, from ``effective_from`` (inclusive, order time) until the next version begins.

    ``classes`` is the precedence, strongest first; a class left out earns nothing. The ``model`` shares an order among the touches of
    the strongest rank that has any. A policy with a ``segment`` has versions of its own, for orders in that segment.
    Shares are basis points: ``first_bps`` and ``last_bps`` of the position model (the rest is the middle's), ``introducer_bps``
    and ``closer_bps`` of the participation model (the rest is the influencers'), ``coupon_bps`` where coupon and click split.
    docs/attribution.md says what every field does.
    """

    tenant_id: str
    programme_id: str
    version: int
    effective_from: Instant
    model: Model = "last"
    classes: tuple[TouchWindow, ...] = (
        TouchWindow("coupon", 0),
        TouchWindow("click", 30 * 24),
        TouchWindow("impression", 24),
    )
    segment: str = ""
    first_bps: int = 4_000
    last_bps: int = 4_000
    half_life_hours: int = 168
    introducer_bps: int = 3_000
    closer_bps: int = 5_000
    coupon_rule: CouponRule = "by_rank"
    coupon_bps: int = 5_000
    guard_exclusive_codes: bool = True
    paid_rule: PaidRule = "ignore"
    paid_media: tuple[str, ...] = ()
    paid_recent: int = 1
    direct_rule: DirectRule = "ignore"
    self_referral: SelfReferralRule = "flag"
    min_seconds_to_order: int = 0
    stand_down_minutes: int = 0
    lock_days: int = 60


class Condition(msgspec.Struct, frozen=True):
    """``field`` has one of ``values``, in whatever letter case.

    ``field`` is an order's attribute, or ``store``, ``store_segment``, ``channel``, ``country``, ``customer_status``.
    """

    field: str
    values: tuple[str, ...]


class Segment(msgspec.Struct, frozen=True):
    """A group of orders as a merchant defines it: those that meet every condition."""

    tenant_id: str
    segment_id: str
    name: str
    conditions: tuple[Condition, ...]


class CoalitionMember(msgspec.Struct, frozen=True):
    """A tenant in a coalition in ``[joined_at, left_at)``; None is open."""

    tenant_id: str
    joined_at: Instant
    left_at: Instant | None = None

    def active_at(self, at: Instant) -> bool:
        return self.joined_at <= at and (self.left_at is None or at < self.left_at)


class Coalition(msgspec.Struct, frozen=True):
    """Tenants that agreed to share touches and identities. Only touches of ``classes``, made with consent, count for other members' orders.

    ``marketplace_id`` is the member that may pass on orders for the others; empty: none may.
    """

    coalition_id: str
    name: str
    members: tuple[CoalitionMember, ...]
    classes: tuple[TouchClass, ...] = ("click",)
    marketplace_id: str = ""


class Clause(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition as data: one test of an attribute, or ``all`` or ``any`` of several clauses; exactly one of the three forms.

    ``values`` are texts: names as they are, whole and decimal numbers in digits, amounts as decimals in the tenant's currency.
    Which attributes there are, and which operators fit them, is in :mod:`core.conditions`.
    """

    entity: Entity | Literal[""] = ""
    attribute: str = ""
    operator: Operator | Literal[""] = ""
    values: tuple[str, ...] = ()
    all: tuple["Clause", ...] = ()
    any: tuple["Clause", ...] = ()


class Tier(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rule pays from ``at_least`` on (a count, or minor units of the tenant's currency), in place of its own rates."""

    at_least: int
    percent_bps: int | None = None
    fixed_minor: int | None = None


class Tiers(msgspec.Struct, frozen=True, omit_defaults=True):
    """Better rates for an affiliate that brings more, measured over its orders of the programme within one ``period``.

    ``retroactive``: the step reached by the period's end pays for all of the period. Else an order is paid by what was reached before it,
    by ``(ordered_at, order_id)``. ``steps`` ascend by ``at_least``; below the first the rule's own rates stand.
    """

    measure: Measure
    period: Period
    steps: tuple[Tier, ...]
    retroactive: bool = False


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one kind of ``subject`` pays: ``percent_bps`` of a line's net, ``fixed_minor`` for each ``per``, or both together.

    An empty condition matches everything; several conditions must all hold, ``when`` among them. ``categories`` match their trees.
    The smallest ``priority`` is tried first. ``most_minor`` is the most that the rule pays for one order, all its lines together,
    before it is shared. Amounts are in the tenant's currency.
    """

    rule_id: str
    priority: int = 100
    percent_bps: int | None = None
    fixed_minor: int | None = None
    per: Per = "line"
    categories: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    subject: Subject = "order"
    when: Clause | None = None
    most_minor: int | None = None
    tiers: Tiers | None = None


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """The most that is paid within one ``period``: to each affiliate, or (``shared``: a budget) to all of the programme together.

    ``rules`` empty: whatever the rule. What comes first by ``(ordered_at, order_id, line)`` is paid first; the rest is logged as capped.
    """

    limit_id: str
    amount_minor: int
    period: Period
    shared: bool = False
    rules: tuple[str, ...] = ()


class Bonus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fixed amount for an affiliate whose ``measure`` reaches ``at_least`` within a ``period``; once for each period."""

    bonus_id: str
    measure: Measure
    period: Period
    at_least: int
    pays_minor: int


class RateCard(msgspec.Struct, frozen=True):
    """What a programme pays, from ``effective_from`` (inclusive, order time) until the next version begins.

    ``priced_at``: ``touch`` means that a share is paid by the version that was in force when its touch happened; the version in
    force at the order's time says which of the two counts. ``pays_on`` adds tax or shipping, laid over the lines by net, to what
    percentages are taken of. Orders below ``minimum_order_minor`` earn nothing. ``recruiter_bps`` pays whoever recruited an affiliate
    (the first), that one's recruiter (the second) and so on, of the affiliate's commission or of the credited net
    (``recruiter_of``). ``settle_in`` is the currency in which commissions are booked; empty: the order's own. Conversion rounds by
    ``fx_rounding``.
    Amounts of rules, limits and bonuses are in the tenant's currency. Commissions are held ``hold_days`` from the order's time.
    """

    tenant_id: str
    programme_id: str
    version: int
    effective_from: Instant
    hold_days: int
    rules: tuple[Rule, ...]
    priced_at: PricedAt = "order"
    pays_on: tuple[Extra, ...] = ()
    minimum_order_minor: int = 0
    limits: tuple[Limit, ...] = ()
    bonuses: tuple[Bonus, ...] = ()
    recruiter_bps: tuple[int, ...] = ()
    recruiter_of: Literal["commission", "revenue"] = "commission"
    settle_in: str = ""
    fx_rounding: FxRounding = "down"


class User(msgspec.Struct, frozen=True):
    """A person who signs in. Staff belong to one tenant, affiliates to one affiliate account.

    ``password_hash`` is Argon2id in PHC form.
    """

    email: str
    name: str
    role: Role
    password_hash: str
    tenant_id: str = ""
    affiliate_id: str = ""
    disabled: bool = False


class ApiKey(msgspec.Struct, frozen=True):
    """A merchant's key for conversions. Only ``key_hash`` (SHA-256, hex) is kept; ``key_id`` is shown and logged."""

    key_id: str
    tenant_id: str
    name: str
    key_hash: str


class Catalogue(msgspec.Struct, frozen=True):
    """Everything at once, as a file holds it: each tuple sorted by its ids."""

    tenants: tuple[Tenant, ...] = ()
    stores: tuple[Store, ...] = ()
    programmes: tuple[Programme, ...] = ()
    affiliates: tuple[Affiliate, ...] = ()
    memberships: tuple[Membership, ...] = ()
    links: tuple[Link, ...] = ()
    coupons: tuple[Coupon, ...] = ()
    policies: tuple[Policy, ...] = ()
    rate_cards: tuple[RateCard, ...] = ()
    users: tuple[User, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()
    segments: tuple[Segment, ...] = ()
    coalitions: tuple[Coalition, ...] = ()


Version = TypeVar("Version", Policy, RateCard)

RECORD_KEYS: dict[str, tuple[str, ...]] = {
    "tenants": ("tenant_id",),
    "stores": ("tenant_id", "store_id"),
    "programmes": ("tenant_id", "programme_id"),
    "affiliates": ("affiliate_id",),
    "memberships": ("tenant_id", "programme_id", "affiliate_id"),
    "links": ("code",),
    "coupons": ("tenant_id", "code"),
    "policies": ("tenant_id", "programme_id", "version"),
    "rate_cards": ("tenant_id", "programme_id", "version"),
    "users": ("email",),
    "api_keys": ("key_id",),
    "segments": ("tenant_id", "segment_id"),
    "coalitions": ("coalition_id",),
}
"""What identifies a record of each kind: the primary keys of the books' tables of the same names."""


def version_at(versions: tuple[Version, ...], at: Instant) -> Version | None:
    """The version in force at ``at``: the latest ``effective_from`` at or before it, ties to the higher version."""
    begun = [version for version in versions if version.effective_from <= at]
    return max(begun, key=lambda version: (version.effective_from, version.version), default=None)
