"""What trackers hold in memory, read in bulk: tenants, programmes, coalitions, links without their names, hashes of API keys.

Statements only: the caller opens the transaction.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, or_, select

from core.catalogue import Coalition, Programme, Tenant
from core.clock import Instant
from store import schema

ROWS_AT_ONCE = 5_000
CODES_AT_ONCE = 500


class Mark(msgspec.Struct, frozen=True):
    """The newest change of the catalogue: its number, when it was made and what it says. Number 0: nothing was changed yet.

    Books that were put back from a copy may reach the same number again, with another change under it.
    """

    version: int
    changed_at: Instant = 0
    what: str = ""


def newest_mark(connection: Connection) -> Mark:
    """The catalogue as it stands now."""
    table = schema.catalogue_changes.c
    newest = select(table.version, table.changed_at, table.what).order_by(table.version.desc()).limit(1)
    row = connection.execute(newest).first()
    return Mark(*row) if row else Mark(0)


def is_marked(connection: Connection, mark: Mark) -> bool:
    """True where the books hold this very change: they are those that were read then, perhaps with later changes.

    Of number 0 that cannot be told: any books may stand where untouched ones were read.
    """
    table = schema.catalogue_changes.c
    row = connection.execute(select(table.version, table.changed_at, table.what).where(table.version == mark.version)).first()
    return row is not None and Mark(*row) == mark


def is_numbered(connection: Connection, after_version: int) -> bool:
    """True where every link that was changed after ``after_version`` bears the number of a later change.

    Programs from before there were such numbers may run on for a while beside this one, and note what they change without them.
    """
    notes, links = schema.catalogue_changes.c, schema.links.c
    of_links = or_(notes.what.startswith("added link "), notes.what.startswith("changed link "))
    wanted = select(notes.what).where(notes.version > after_version, of_links)
    with connection.execute(wanted, execution_options={"yield_per": CODES_AT_ONCE}) as noted:
        for slice_ in noted.partitions():
            codes = {what.split(" ", 2)[2].partition(":")[0] for (what,) in slice_}
            missed = select(links.code).where(links.code.in_(codes), links.changed_version <= after_version)
            if connection.execute(missed.limit(1)).first() is not None:
                return False
    return True


def all_tenants(connection: Connection) -> list[Tenant]:
    """Every tenant of the installation, unordered."""
    return [msgspec.convert(row, Tenant) for row in _rows(connection, schema.tenants, Tenant)]


def all_programmes(connection: Connection) -> list[Programme]:
    """Every programme of the installation, unordered."""
    return [msgspec.convert(row, Programme) for row in _rows(connection, schema.programmes, Programme)]


def all_coalitions(connection: Connection) -> list[Coalition]:
    """Every coalition of the installation, unordered."""
    return [msgspec.convert(row, Coalition) for row in _rows(connection, schema.coalitions, Coalition)]


def all_key_hashes(connection: Connection) -> dict[str, str]:
    """The SHA-256 (hex) of every API key, to its tenant's id."""
    table = schema.api_keys.c
    return {row.key_hash: row.tenant_id for row in connection.execute(select(table.key_hash, table.tenant_id))}


def stream_links(connection: Connection, after_version: int | None = None) -> Iterator[tuple[Any, ...]]:
    """Links as (code, tenant_id, programme_id, affiliate_id, destination, channel, disabled, daily cap, total cap, fallback).

    Every link of the installation, or those that changes numbered above ``after_version`` wrote. Unordered, and fetched by
    the thousand: there may be millions.
    """
    table = schema.links.c
    wanted = select(
        *(table.code, table.tenant_id, table.programme_id, table.affiliate_id, table.destination, table.channel, table.disabled),
        *(table.daily_click_cap, table.total_click_cap, table.fallback_url),
    )
    if after_version is not None:
        wanted = wanted.where(table.changed_version > after_version)
    found = connection.execute(wanted, execution_options={"yield_per": ROWS_AT_ONCE})
    for slice_ in found.partitions():
        yield from slice_


def _rows(connection: Connection, table: Table, kind: type[msgspec.Struct]) -> Iterator[dict[str, Any]]:
    names = kind.__struct_fields__
    for row in connection.execute(select(*(table.c[name] for name in names))):
        yield dict(zip(names, row, strict=True))
