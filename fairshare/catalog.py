"""The catalogue in and out as one file: ``fairshare catalog import`` and ``export``."""

from typing import Any

import msgspec
from sqlalchemy import Connection

from core.catalogue import RECORD_KEYS, Catalogue
from core.catalogue_file import read_catalogue, record_lines, write_catalogue
from core.clock import Instant
from core.errors import NotFound
from core.toml_tables import Fault
from store.books import Books
from store.catalogue import KINDS, describe, load_catalogue, put, refusal


class ImportReport(msgspec.Struct, frozen=True):
    """What an import did, or the faults for which it did nothing. Records are named as ``link spring-blog``."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def import_catalogue(books: Books, text: str, by: str, at: Instant) -> ImportReport:
    """Add and update what a file names, in one transaction: all of it, or nothing and every fault with its line.

    What the file leaves out stays as it is. Records may name what the books hold already.
    """
    with books.writing() as connection:
        return import_into(connection, text, by, at)


def import_into(connection: Connection, text: str, by: str, at: Instant) -> ImportReport:
    """The same inside the caller's transaction. Where there are faults, nothing was written to it."""
    held = load_catalogue(connection)
    catalogue, faults = read_catalogue(text, known=held)
    faults += [] if faults else _refusals(catalogue, held, text)
    if faults:
        return ImportReport(faults=tuple(sorted(faults)))
    outcomes: dict[str, list[str]] = {"added": [], "changed": [], "unchanged": []}
    for kind in KINDS.values():
        for record in getattr(catalogue, kind):
            outcomes[put(connection, record, by, at)].append(describe(record))
    return ImportReport(added=tuple(outcomes["added"]), changed=tuple(outcomes["changed"]), unchanged=tuple(outcomes["unchanged"]))


def export_catalogue(books: Books, tenant_id: str | None = None) -> str:
    """The whole installation as a file, or one tenant with its staff and the affiliates that are its members.

    Coalitions name other tenants, so they are in the whole file only.

    Raises:
        NotFound: there is no such tenant.
    """
    with books.reading() as connection:
        catalogue = load_catalogue(connection, tenant_id)
    if tenant_id is None:
        return write_catalogue(catalogue)
    if not catalogue.tenants:
        raise NotFound(f"there is no tenant {tenant_id}")
    return write_catalogue(msgspec.structs.replace(catalogue, coalitions=()))


def _refusals(catalogue: Catalogue, held: Catalogue, text: str) -> list[Fault]:
    """Records whose key the books hold with a content that this one may not replace."""
    lines = record_lines(text)
    before = _by_key(held)
    return [
        Fault(lines[key], reason)
        for key, record in _by_key(catalogue).items()
        if key in before and (reason := refusal(before[key], record)) is not None
    ]


def _by_key(catalogue: Catalogue) -> dict[tuple[Any, ...], Any]:
    return {
        (kind, *(getattr(record, name) for name in names)): record
        for kind, names in RECORD_KEYS.items()
        for record in getattr(catalogue, kind)
    }
