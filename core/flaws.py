"""Flaws of catalogue records as data, and the small checks that the rules of every kind are made of. Pure.

Each check yields what is wrong with one field; a sound value yields nothing.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from core.catalogue import Affiliate, Catalogue, Coupon, Link, Membership, Policy, Programme, RateCard, Segment, Store, Tenant
from core.events import CustomerStatus
from core.ids import is_slug

DAYS_LIMIT = 3650
HOURS_LIMIT = DAYS_LIMIT * 24
WORDS_LIMIT = 200
"""Values of a condition, media of a policy, conditions of a segment, members of a coalition: no list is longer."""
STATUSES: tuple[CustomerStatus, ...] = ("new", "returning", "lapsed")

CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Flaw(msgspec.Struct, frozen=True):
    """What is wrong with one field of a record, as the end of a sentence that begins with the field's value.

    ``path`` leads into a field of several parts, counted from 0: ``(2,)`` is the third rule of ``rules``, ``(2, "when", "all", 1)``
    the second clause of its condition. Empty: the field as a whole.
    """

    field: str
    message: str
    path: tuple[str | int, ...] = ()


class Known(msgspec.Struct):
    """The records that others may name, by key; None for one that is there but cannot be read."""

    tenants: dict[str, Tenant | None]
    stores: dict[tuple[str, str], Store | None]
    segments: dict[tuple[str, str], Segment | None]
    programmes: dict[tuple[str, str], Programme | None]
    affiliates: dict[str, Affiliate | None]
    memberships: dict[tuple[str, str, str], Membership | None]


def known_of(catalogue: Catalogue) -> Known:
    return Known(
        tenants={tenant.tenant_id: tenant for tenant in catalogue.tenants},
        stores={(store.tenant_id, store.store_id): store for store in catalogue.stores},
        segments={(segment.tenant_id, segment.segment_id): segment for segment in catalogue.segments},
        programmes={(programme.tenant_id, programme.programme_id): programme for programme in catalogue.programmes},
        affiliates={affiliate.affiliate_id: affiliate for affiliate in catalogue.affiliates},
        memberships={(one.tenant_id, one.programme_id, one.affiliate_id): one for one in catalogue.memberships},
    )


def slug(field: str, value: str) -> Iterator[Flaw]:
    if not is_slug(value):
        yield Flaw(field, f"{value!r} is not an id: 1 to 63 small letters, digits and dashes, no dash first or last")


def title(field: str, value: str) -> Iterator[Flaw]:
    if not value.strip():
        yield Flaw(field, "is empty")
    yield from line(field, value, 255)


def line(field: str, value: str, limit: int) -> Iterator[Flaw]:
    if len(value) > limit:
        yield Flaw(field, f"has {len(value)} characters; {limit} is the most")
    if CONTROL.search(value):
        yield Flaw(field, f"{value!r} holds a line break or a control character")


def word(field: str, value: str) -> Iterator[Flaw]:
    """A name that conditions ask for; empty for none."""
    yield from line(field, value, 64)
    if value != value.strip():
        yield Flaw(field, f"{value!r} begins or ends with a space")


def email(field: str, value: str) -> Iterator[Flaw]:
    if not _EMAIL.fullmatch(value) or len(value) > 255 or CONTROL.search(value):
        yield Flaw(field, f"{value!r} is not an e-mail address")


def one_of(field: str, value: str, choices: tuple[str, ...]) -> Iterator[Flaw]:
    if value not in choices:
        yield Flaw(field, f"{value!r} is not one of {', '.join(choices)}")


def repeated(field: str, values: tuple[str, ...]) -> Iterator[Flaw]:
    for value in sorted({value for value in values if values.count(value) > 1}):
        last = len(values) - 1 - values[::-1].index(value)
        yield Flaw(field, f"{value!r} stands twice", (last,))


def between(field: str, value: int, lowest: int, highest: int) -> Iterator[Flaw]:
    if not lowest <= value <= highest:
        yield Flaw(field, f"{value} is not between {lowest} and {highest}")


def of_segments(field: str, segment_ids: tuple[str, ...], tenant_id: str, known: Known) -> Iterator[Flaw]:
    yield from repeated(field, segment_ids)
    for segment_id in segment_ids:
        if (tenant_id, segment_id) not in known.segments:
            yield Flaw(field, f"{segment_id!r} is not a segment of tenant {tenant_id}")


def in_tenant(tenant_id: str, known: Known) -> Iterator[Flaw]:
    if tenant_id not in known.tenants:
        yield Flaw("tenant_id", f"{tenant_id!r} is not a tenant")


def in_programme(record: Any, known: Known) -> Iterator[Flaw]:
    if record.tenant_id not in known.tenants:
        yield Flaw("tenant_id", f"{record.tenant_id!r} is not a tenant")
    elif (record.tenant_id, record.programme_id) not in known.programmes:
        yield Flaw("programme_id", f"{record.programme_id!r} is not a programme of tenant {record.tenant_id}")


def programme_and_affiliate(record: Any, known: Known) -> Iterator[Flaw]:
    yield from in_programme(record, known)
    if record.affiliate_id not in known.affiliates:
        yield Flaw("affiliate_id", f"{record.affiliate_id!r} is not an affiliate")


def of_member(record: Link | Coupon, known: Known) -> Iterator[Flaw]:
    flaws = list(programme_and_affiliate(record, known))
    yield from flaws
    if not flaws and (record.tenant_id, record.programme_id, record.affiliate_id) not in known.memberships:
        yield Flaw("affiliate_id", f"{record.affiliate_id!r} is not a member of programme {record.tenant_id} {record.programme_id}")


def numbered(record: Policy | RateCard, known: Known) -> Iterator[Flaw]:
    yield from in_programme(record, known)
    if not 1 <= record.version <= 1_000_000:
        yield Flaw("version", f"{record.version} is not a version; the first is 1")
