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
Per = Literal["order", "line", "unit"]


class Tenant(msgspec.Struct, frozen=True):
    """A merchant. ``click_parameter`` is the query parameter that carries the click id to the shop.

    A customer who has not ordered for more than ``lapsed_after_days`` is lapsed, not returning.
    """

    tenant_id: str
    name: str
    currency: str
    time_zone: str = "UTC"
    click_parameter: str = "fsclick"
    lapsed_after_days: int = 365


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
    """

    tenant_id: str
    programme_id: str
    affiliate_id: str
    status: MembershipStatus
    applied_at: Instant
    approved_at: Instant | None = None
    suspended_at: Instant | None = None
    software: bool = False

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

    An ``exclusive`` code may be advertised by its owner alone.
    """

    tenant_id: str
    code: str
    programme_id: str
    affiliate_id: str
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    exclusive: bool = False

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


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one kind of line pays: ``percent_bps`` of its net, or ``fixed_minor`` per order, line or unit.

    An empty condition matches everything; several conditions must all hold. The smallest ``priority`` is tried first.
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


class RateCard(msgspec.Struct, frozen=True):
    """What a programme pays, from ``effective_from`` (inclusive, order time) until the next version begins.

    ``fixed_minor`` of its rules is in the tenant's currency. Commissions are held ``hold_days`` from the order's time.
    """

    tenant_id: str
    programme_id: str
    version: int
    effective_from: Instant
    hold_days: int
    rules: tuple[Rule, ...]


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
