"""The catalogue as a tracker holds it: link codes, tenants and API keys, in memory, small enough for a million links.

Links are kept as the lines of :class:`Links`, which are also what a snapshot of the table holds (:mod:`tracker.snapshot`);
a :class:`LinkEntry` is made of its line when somebody asks for it.
"""

from collections.abc import Callable, Iterable, Iterator
from sys import intern
from typing import Any, get_args
from zlib import crc32

import msgspec

from core.catalogue import Coalition, CoalitionMember, Programme, Tenant
from core.clock import Instant
from core.events import Channel
from core.identity import coalition_key, tenant_key
from tracker.destination import read_destination, read_host

SHELVES = 512
BUCKETS = 512
"""On each shelf. A million links make about four lines a bucket; a changed line costs a copy of its shelf, not of the table."""
ENTRIES_KEPT = 4_096
"""Entries at hand, those of the links that are clicked most: throwing them all away takes less than half a millisecond."""
ROWS_AT_ONCE = 1_000

Pause = Callable[[], None]
"""Called now and then during long work, so that somebody else may have the interpreter."""


class Cap(msgspec.Struct, frozen=True):
    """What may be clicked under ``key``, each day (UTC) and in all; None has no end."""

    key: str
    daily: int | None
    total: int | None


def link_key(code: str) -> str:
    """What a link's clicks are counted under."""
    return f"link {code}"


def programme_key(tenant_id: str, programme_id: str) -> str:
    """What the clicks on a programme's links are counted under."""
    return f"programme {tenant_id} {programme_id}"


class Share(msgspec.Struct, frozen=True):
    """A merchant's part in a coalition. ``key`` hashes identifiers alike for all members (:func:`core.identity.coalition_key`)."""

    coalition_id: str
    key: bytes
    terms: tuple[CoalitionMember, ...]

    def active_at(self, at: Instant) -> bool:
        return any(term.active_at(at) for term in self.terms)


class TenantEntry(msgspec.Struct, frozen=True):
    """A merchant. ``key`` hashes its customers' identifiers (:func:`core.identity.tenant_key`)."""

    tenant_id: str
    currency: str
    click_parameter: str
    key: bytes
    shares: tuple[Share, ...] = ()


class ProgrammeEntry(msgspec.Struct, frozen=True):
    """A programme, shared by all its links. ``hosts`` and ``schemes`` are what a deep link may name."""

    tenant: TenantEntry
    programme_id: str
    landing_url: str
    hosts: tuple[tuple[str, str], ...]
    schemes: tuple[str, ...]
    cap: Cap | None = None
    fallback_url: str = ""


class LinkEntry(msgspec.Struct, frozen=True, gc=False):
    """A link. ``caps`` are all that bind it, its programme's too; ``fallback_url`` is where a click beyond them leads.

    ``checksum`` is the CRC-32 of its code.
    """

    code: str
    programme: ProgrammeEntry
    affiliate_id: str
    destination: str
    channel: Channel
    disabled: bool
    caps: tuple[Cap, ...] = ()
    fallback_url: str = ""
    checksum: int = 0


LinkRow = Iterable[Any]
"""code, tenant_id, programme_id, affiliate_id, destination, channel, disabled; then, or left out, daily and total cap, fallback_url"""

Programmes = dict[tuple[str, str], ProgrammeEntry]

_CHANNELS: tuple[Channel, ...] = get_args(Channel)
_KINDS = {(channel, disabled): f"{number}{'x' * disabled}" for number, channel in enumerate(_CHANNELS) for disabled in (False, True)}
_OF_KIND = {kind: of for of, kind in _KINDS.items()}
_NO_SHELVES: tuple[list[bytes], ...] = ([b""] * BUCKETS,) * SHELVES


class Links:
    """Link entries by code, as a read-only mapping. One line a link, lines in buckets and buckets on shelves by CRC-32 of the code.

    A line is ``\\n`` and then, with tabs between them: code, tenant, programme, affiliate, kind (a digit for the channel, x where
    disabled), daily cap, total cap, fallback, destination. A million links take about 100 MB, two thirds of it their own text.
    """

    def __init__(self, programmes: Programmes, shelves: tuple[list[bytes], ...] = _NO_SHELVES, count: int = 0) -> None:
        assert len(shelves) == SHELVES, "a table has all its shelves"
        self.shelves = shelves
        self._programmes = programmes
        self._count = count
        self._entries: dict[str, LinkEntry] = {}

    def get(self, code: str) -> LinkEntry | None:
        """The link of a code, None where it has none."""
        entry = self._entries.get(code)
        return self._read(code) if entry is None else entry

    def __getitem__(self, code: str) -> LinkEntry:
        entry = self.get(code)
        if entry is None:
            raise KeyError(code)
        return entry

    def __contains__(self, code: object) -> bool:
        return isinstance(code, str) and self.get(code) is not None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """All codes; slow, for tests and tools."""
        for shelf in self.shelves:
            for bucket in filter(None, shelf):
                for line in bucket.split(b"\n")[1:]:
                    yield line.partition(b"\t")[0].decode()

    def changed(self, programmes: Programmes, rows: Iterable[LinkRow], pause: Pause = lambda: None) -> "Links":
        """These links with ``rows`` added or put in the place of those with the same codes. Shelves without a change are shared.

        A row whose programme is not among ``programmes`` is left out. The rows of a first load differ in their codes.
        """
        shelves, own, count, may_replace = [*self.shelves], bytearray(SHELVES), self._count, self._count > 0
        for number, row in enumerate(rows, 1):
            code, tenant_id, programme_id, affiliate_id, destination, channel, disabled, *caps = row
            if (tenant_id, programme_id) not in programmes:
                continue
            daily, total, fallback = caps or (None, None, "")
            name, kind = code.encode(), _KINDS[channel, bool(disabled)]
            at = crc32(name)
            shelf_at, bucket_at = at % SHELVES, at // SHELVES % BUCKETS
            if not own[shelf_at]:
                shelves[shelf_at], own[shelf_at] = shelves[shelf_at].copy(), 1
            shelf = shelves[shelf_at]
            kept = bucket = shelf[bucket_at]
            if may_replace and bucket:
                kept = _without(bucket, name)
            count += kept is bucket
            limits = f"{'' if daily is None else daily}\t{'' if total is None else total}\t{_field(fallback)}"
            line = f"\n{code}\t{tenant_id}\t{programme_id}\t{affiliate_id}\t{kind}\t{limits}\t{_field(destination)}"
            shelf[bucket_at] = kept + line.encode()
            if number % ROWS_AT_ONCE == 0:
                pause()
        return Links(programmes, tuple(shelves), count)

    def _read(self, code: str) -> LinkEntry | None:
        try:
            name = code.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which no code holds
            return None
        at = crc32(name)
        bucket = self.shelves[at % SHELVES][at // SHELVES % BUCKETS]
        start = bucket.find(b"\n%b\t" % name)
        if start < 0:
            return None
        end = bucket.find(b"\n", start + 1)
        entry = self._entry(code, bucket[start + 1 : end if end > 0 else None])
        if entry is not None:
            if len(self._entries) >= ENTRIES_KEPT:
                self._entries.clear()
            self._entries[code] = entry
        return entry

    def _entry(self, code: str, line: bytes) -> LinkEntry | None:
        named, tenant_id, programme_id, affiliate_id, kind, daily, total, fallback, destination = line.decode().split("\t")
        programme = self._programmes.get((tenant_id, programme_id))
        if programme is None or named != code:  # the code as asked for may itself hold a tab, and then names no link
            return None
        channel, disabled = _OF_KIND[kind]
        caps = () if programme.cap is None else (programme.cap,)
        if daily or total:
            caps = (Cap(link_key(code), int(daily) if daily else None, int(total) if total else None), *caps)
        return LinkEntry(
            code,
            programme,
            intern(affiliate_id),
            destination,
            channel,
            disabled,
            caps,
            fallback or programme.fallback_url or programme.landing_url,
            crc32(code.encode()),
        )


class LinkTable(msgspec.Struct, frozen=True):
    """One version of the catalogue, complete: it is replaced, never changed. ``keys``: SHA-256 (hex) to tenant id.

    ``changed_at`` and ``what`` tell the change that made the version (:class:`store.links.Mark`). ``tenant_records``,
    ``programme_records`` and ``coalition_records`` are what the entries were made of.
    """

    version: int
    links: Links
    programmes: Programmes
    tenants: dict[str, TenantEntry]
    keys: dict[str, str]
    changed_at: Instant = 0
    what: str = ""
    tenant_records: tuple[Tenant, ...] = ()
    programme_records: tuple[Programme, ...] = ()
    coalition_records: tuple[Coalition, ...] = ()


EMPTY = LinkTable(version=-1, links=Links({}), programmes={}, tenants={}, keys={})
"""Nothing was read yet."""


def build_table(
    version: int,
    tenants: Iterable[Tenant],
    programmes: Iterable[Programme],
    links: Iterable[LinkRow],
    keys: dict[str, str],
    secret: bytes,
    before: LinkTable = EMPTY,
    pause: Pause = lambda: None,
    changed_at: Instant = 0,
    what: str = "",
    coalitions: Iterable[Coalition] = (),
) -> LinkTable:
    """A table of the books' rows: ``links`` are all of them, or, with the table ``before``, those that changed since.

    A link whose programme was added after the programmes were read is left out: ``version`` was read before both, so the
    next look at it brings the link.
    """
    tenant_records, programme_records, coalition_records = tuple(tenants), tuple(programmes), tuple(coalitions)
    by_tenant = {tenant.tenant_id: _tenant_entry(tenant, coalition_records, secret) for tenant in tenant_records}
    by_programme: Programmes = {}
    for programme in programme_records:
        if programme.tenant_id in by_tenant:
            entry = _programme_entry(programme, by_tenant[programme.tenant_id])
            by_programme[programme.tenant_id, programme.programme_id] = entry
    found = before.links.changed(by_programme, links, pause)
    records = (tenant_records, programme_records, coalition_records)
    return LinkTable(version, found, by_programme, by_tenant, keys, changed_at, what, *records)


def _without(bucket: bytes, code: bytes) -> bytes:
    """A bucket without the line of a code; itself where it has none."""
    start = bucket.find(b"\n%b\t" % code)
    if start < 0:
        return bucket
    end = bucket.find(b"\n", start + 1)
    return bucket[:start] + (bucket[end:] if end > 0 else b"")


def _field(url: str) -> str:
    """A URL in a line. One with a tab or a line break leads nowhere anyhow: the catalogue's checks do not let it in."""
    return "" if "\t" in url or "\n" in url else url


def _tenant_entry(tenant: Tenant, coalitions: tuple[Coalition, ...], secret: bytes) -> TenantEntry:
    shares = (
        Share(coalition.coalition_id, coalition_key(secret, coalition.coalition_id), terms)
        for coalition in sorted(coalitions, key=lambda one: one.coalition_id)
        if (terms := tuple(member for member in coalition.members if member.tenant_id == tenant.tenant_id))
    )
    key = tenant_key(secret, tenant.tenant_id)
    return TenantEntry(tenant.tenant_id, tenant.currency, tenant.click_parameter, key, tuple(shares))


def _programme_entry(programme: Programme, tenant: TenantEntry) -> ProgrammeEntry:
    landing = read_destination(programme.landing_url)
    hosts = tuple(host for text in programme.hosts if (host := read_host(text)) is not None)
    # Plain http is for demonstrations on one's own machine: only where the merchant's own page has nothing better.
    schemes = ("https", "http") if landing is not None and landing.scheme == "http" else ("https",)
    cap = None
    if programme.daily_click_cap is not None or programme.total_click_cap is not None:
        cap = Cap(programme_key(tenant.tenant_id, programme.programme_id), programme.daily_click_cap, programme.total_click_cap)
    return ProgrammeEntry(tenant, programme.programme_id, programme.landing_url, hosts, schemes, cap, programme.fallback_url)
