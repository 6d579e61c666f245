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
Model = Literal["last_click"]
Per = Literal["order", "line", "unit"]


class Tenant(msgspec.Struct, frozen=True):
    """A merchant. ``click_parameter`` is the query parameter that carries the click id to the shop."""

    tenant_id: str
    name: str
    currency: str
    time_zone: str = "UTC"
    click_parameter: str = "fsclick"


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


class Affiliate(msgspec.Struct, frozen=True):
    """One account for the whole installation; it joins programmes of many tenants."""

    affiliate_id: str
    name: str
    email: str
    website: str = ""
    account_holder: str = ""
    iban: str = ""


class Membership(msgspec.Struct, frozen=True):
    """An affiliate in a programme. Earns from touches in ``[approved_at, suspended_at)``; None is "not yet"."""

    tenant_id: str
    programme_id: str
    affiliate_id: str
    status: MembershipStatus
    applied_at: Instant
    approved_at: Instant | None = None
    suspended_at: Instant | None = None

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
    """A code that credits its owner for orders placed in ``[valid_from, valid_to)``; None is open. Codes are upper case."""

    tenant_id: str
    code: str
    programme_id: str
    affiliate_id: str
    valid_from: Instant | None = None
    valid_to: Instant | None = None

    def valid_at(self, at: Instant) -> bool:
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)


class TouchWindow(msgspec.Struct, frozen=True):
    """How long one class of touch may earn, closed at both ends: a touch exactly ``window_hours`` old still counts."""

    touch: TouchClass
    window_hours: int

    @property
    def window(self) -> int:
        """In milliseconds."""
        return self.window_hours * HOUR


class Policy(msgspec.Struct, frozen=True):
    """How a programme attributes, from ``effective_from`` (inclusive, order time) until the next version begins.

    ``classes`` is the precedence, strongest first; a class left out earns nothing.
    """

    tenant_id: str
    programme_id: str
    version: int
    effective_from: Instant
    model: Model = "last_click"
    classes: tuple[TouchWindow, ...] = (
        TouchWindow("coupon", 0),
        TouchWindow("click", 30 * 24),
        TouchWindow("impression", 24),
    )


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
}
"""What identifies a record of each kind: the primary keys of the books' tables of the same names."""


def programme_of_store(programmes: tuple[Programme, ...], store_id: str) -> Programme | None:
    """The programme that takes a store's orders: the one that names it, else the one that names none.

    ``programmes`` are one tenant's. Ties go to the smallest id; None where every programme names other stores.
    """
    ranked = sorted(
        (programme for programme in programmes if store_id in programme.stores or not programme.stores),
        key=lambda programme: (store_id not in programme.stores, programme.programme_id),
    )
    return ranked[0] if ranked else None


def version_at(versions: tuple[Version, ...], at: Instant) -> Version | None:
    """The version in force at ``at``: the latest ``effective_from`` at or before it, ties to the higher version."""
    begun = [version for version in versions if version.effective_from <= at]
    return max(begun, key=lambda version: (version.effective_from, version.version), default=None)
