"""The catalogue as a tracker holds it: link codes, tenants and API keys, in memory, small enough for a million links."""

from collections.abc import Iterable
from sys import intern

import msgspec

from core.catalogue import Programme, Tenant
from core.events import Channel
from core.identity import tenant_key
from tracker.destination import read_destination, read_host


class TenantEntry(msgspec.Struct, frozen=True):
    """A merchant. ``key`` hashes its customers' identifiers (:func:`core.identity.tenant_key`)."""

    tenant_id: str
    currency: str
    click_parameter: str
    key: bytes


class ProgrammeEntry(msgspec.Struct, frozen=True):
    """A programme, shared by all its links. ``hosts`` and ``schemes`` are what a deep link may name."""

    tenant: TenantEntry
    programme_id: str
    landing_url: str
    hosts: tuple[tuple[str, str], ...]
    schemes: tuple[str, ...]


class LinkEntry(msgspec.Struct, frozen=True, gc=False):
    """A link. ``gc=False`` saves 16 bytes in each, and a million the collector's walk; it holds no cycles."""

    code: str
    programme: ProgrammeEntry
    affiliate_id: str
    destination: str
    channel: Channel
    disabled: bool


class LinkTable(msgspec.Struct, frozen=True):
    """One version of the catalogue, complete: it is replaced, never changed. ``keys``: SHA-256 (hex) to tenant id."""

    version: int
    links: dict[str, LinkEntry]
    programmes: dict[tuple[str, str], ProgrammeEntry]
    tenants: dict[str, TenantEntry]
    keys: dict[str, str]


LinkRow = tuple[str, str, str, str, str, Channel, bool]
"""code, tenant_id, programme_id, affiliate_id, destination, channel, disabled"""

EMPTY = LinkTable(version=-1, links={}, programmes={}, tenants={}, keys={})
"""Nothing was read yet."""


def build_table(
    version: int,
    tenants: Iterable[Tenant],
    programmes: Iterable[Programme],
    links: Iterable[LinkRow],
    keys: dict[str, str],
    secret: bytes,
    before: LinkTable = EMPTY,
) -> LinkTable:
    """A table of the books' rows. What did not change is taken over from ``before``, so that a refresh costs little memory.

    A link whose programme was added after the programmes were read is left out: ``version`` was read before both, so the
    next look at it brings the link.
    """
    by_tenant = {tenant.tenant_id: _tenant_entry(tenant, secret) for tenant in tenants}
    by_programme = {}
    for programme in programmes:
        if programme.tenant_id not in by_tenant:
            continue
        name, entry = (programme.tenant_id, programme.programme_id), _programme_entry(programme, by_tenant[programme.tenant_id])
        old = before.programmes.get(name)
        by_programme[name] = old if old == entry and old is not None else entry
    table: dict[str, LinkEntry] = {}
    for row in links:
        owner = by_programme.get((row[1], row[2]))
        if owner is not None:
            link = _link_entry(row, owner, before.links.get(row[0]))
            table[link.code] = link
    return LinkTable(version, table, by_programme, by_tenant, keys)


def _link_entry(row: LinkRow, programme: ProgrammeEntry, old: LinkEntry | None) -> LinkEntry:
    code, _, _, affiliate_id, destination, channel, disabled = row
    if (
        old is not None
        and old.programme is programme
        and old.destination == destination
        and (old.affiliate_id, old.channel, old.disabled) == (affiliate_id, channel, disabled)
    ):
        return old
    return LinkEntry(code, programme, intern(affiliate_id), destination, channel, disabled)


def _tenant_entry(tenant: Tenant, secret: bytes) -> TenantEntry:
    return TenantEntry(tenant.tenant_id, tenant.currency, tenant.click_parameter, tenant_key(secret, tenant.tenant_id))


def _programme_entry(programme: Programme, tenant: TenantEntry) -> ProgrammeEntry:
    landing = read_destination(programme.landing_url)
    hosts = tuple(host for text in programme.hosts if (host := read_host(text)) is not None)
    # Plain http is for demonstrations on one's own machine: only where the merchant's own page has nothing better.
    schemes = ("https", "http") if landing is not None and landing.scheme == "http" else ("https",)
    return ProgrammeEntry(tenant, programme.programme_id, programme.landing_url, hosts, schemes)
