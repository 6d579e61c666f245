"""What trackers hold in memory, read in bulk: tenants, programmes, links without their names, hashes of API keys.

Statements only: the caller opens the transaction.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, select

from core.catalogue import Programme, Tenant
from store import schema

ROWS_AT_ONCE = 10_000


def all_tenants(connection: Connection) -> list[Tenant]:
    """Every tenant of the installation, unordered."""
    return [msgspec.convert(row, Tenant) for row in _rows(connection, schema.tenants, Tenant)]


def all_programmes(connection: Connection) -> list[Programme]:
    """Every programme of the installation, unordered."""
    return [msgspec.convert(row, Programme) for row in _rows(connection, schema.programmes, Programme)]


def all_key_hashes(connection: Connection) -> dict[str, str]:
    """The SHA-256 (hex) of every API key, to its tenant's id."""
    table = schema.api_keys.c
    return {row.key_hash: row.tenant_id for row in connection.execute(select(table.key_hash, table.tenant_id))}


def stream_links(connection: Connection) -> Iterator[tuple[Any, ...]]:
    """Every link of the installation as (code, tenant_id, programme_id, affiliate_id, destination, channel, disabled).

    Unordered, and fetched by the thousand: there may be millions.
    """
    table = schema.links.c
    columns = (table.code, table.tenant_id, table.programme_id, table.affiliate_id, table.destination, table.channel, table.disabled)
    for row in connection.execute(select(*columns), execution_options={"yield_per": ROWS_AT_ONCE}):
        yield tuple(row)


def _rows(connection: Connection, table: Table, kind: type[msgspec.Struct]) -> Iterator[dict[str, Any]]:
    names = kind.__struct_fields__
    for row in connection.execute(select(*(table.c[name] for name in names))):
        yield dict(zip(names, row, strict=True))
