"""A file of versions to be tried in place of those in force: ``[[policy]]`` or ``[[rate_card]]`` tables of one tenant.

They may leave out ``tenant``, ``version``, ``effective_from`` (then they hold for the whole period), and ``programme`` where the
tenant has only one.
"""

from collections.abc import Iterator
from typing import Any

from core.catalogue import Catalogue
from core.catalogue_file import read_catalogue
from core.toml_tables import Fault, read_tables


def read_versions(text: str, held: Catalogue, name: str) -> tuple[Catalogue, list[Fault]]:
    """The tables called ``name`` (policy, rate_card) of a file, for the one tenant of ``held``, checked by the catalogue's own rules."""
    word = name.replace("_", " ")
    tables, _ = read_tables(text)
    foreign = [Fault(table.line, f"[[{table.name}]] is no {word}; this takes [[{name}]] only") for table in tables if table.name != name]
    if foreign or not any(not table.part for table in tables):
        return Catalogue(), foreign or [Fault(1, f"there is no [[{name}]] in it")]
    completed, added = _completed(text, held, name)
    catalogue, faults = read_catalogue(completed, held)
    tenant_id = held.tenants[0].tenant_id
    owners = {one.tenant_id for one in catalogue.policies} | {one.tenant_id for one in catalogue.rate_cards}
    if not faults and owners != {tenant_id}:
        faults = [Fault(1, f"a {word} is not of tenant {tenant_id}")]
    return catalogue, [Fault(_original(fault.line, added), fault.message) for fault in faults]


def _completed(text: str, held: Catalogue, name: str) -> tuple[str, list[int]]:
    """The file with the keys that a version may leave out, and the lines of the completed file that were added."""
    lines, added = text.replace("\r\n", "\n").split("\n"), list[int]()
    versions = [table for table in read_tables(text)[0] if table.name == name and not table.part]
    newest = max((one.version for one in (held.policies if name == "policy" else held.rate_cards)), default=0)
    missing = {table.line: _missing(table.values, held, newest + place) for place, table in enumerate(versions, start=1)}
    written: list[str] = []
    for number, line in enumerate(lines, start=1):
        written.append(line)
        for extra in missing.get(number, ()):
            written.append(extra)
            added.append(len(written))
    return "\n".join(written), added


def _missing(values: dict[str, Any], held: Catalogue, version: int) -> Iterator[str]:
    if "tenant" not in values:
        yield f'tenant = "{held.tenants[0].tenant_id}"'
    if "programme" not in values and len(held.programmes) == 1:
        yield f'programme = "{held.programmes[0].programme_id}"'
    if "version" not in values:
        yield f"version = {version}"
    if "effective_from" not in values:
        yield "effective_from = 1970-01-01T00:00:00Z"


def _original(line: int, added: list[int]) -> int:
    return line - sum(one <= line for one in added)
