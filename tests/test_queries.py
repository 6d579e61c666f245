"""Every question of the events store says what it is, is bound to a tenant, has an order, and runs on the migrated store."""

import re
from pathlib import Path
from typing import Any

import pytest

from store.events import EventsStore, Query

ROOT = Path(__file__).parent.parent
FILES = sorted(ROOT.glob("*/queries/*.sql"))
HEADER = re.compile(
    r"-- (?P<name>\w+): (?P<says>[^\n]+)\n"
    r"-- scope:  (?P<scope>one tenant|installation, because [^\n]+)\n"
    r"-- grain:  (?P<grain>[^\n]+)\n"
    r"-- order:  (?P<order>[^\n]+)\n"
    r"-- params: (?P<params>[^\n]+(?:\n--  [^\n]+)*)\n"
)
PARAMETER = re.compile(r"\{(\w+):((?:[^{}])+)\}")


def parts(path: Path) -> tuple[re.Match[str], str]:
    """The header, and the statement without its comments."""
    text = path.read_text("utf-8")
    header = HEADER.match(text)
    assert header, f"{path}: the header is not complete; see docs in any other query file"
    return header, re.sub(r"--[^\n]*", "", text[header.end() :])


def outermost(sql: str) -> str:
    """A statement without its strings and without whatever stands in parentheses."""
    sql = re.sub(r"'(?:[^'\\]|\\.)*'", "''", sql)
    while (shorter := re.sub(r"\([^()]*\)", "", sql)) != sql:
        sql = shorter
    return sql


def value_of(kind: str) -> Any:
    """Some value of a parameter's type."""
    if inner := re.fullmatch(r"Array\((.+)\)", kind):
        return [value_of(inner[1])]
    if kind.startswith("Tuple("):
        return tuple(value_of(part.strip()) for part in kind[6:-1].split(","))
    return 1 if re.match(r"U?Int|Float|Bool|Decimal", kind) else "x"


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def query_file(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_are_queries() -> None:
    assert len(FILES) >= 2


def test_the_header_is_complete_and_true(query_file: Path) -> None:
    header, sql = parts(query_file)
    bound = {name for name, _ in PARAMETER.findall(sql)}

    assert header["name"] == query_file.stem
    assert not (unnamed := {name for name in bound if not re.search(rf"\b{name}\b", header["params"])}), f"params: leaves out {unnamed}"
    assert (header["params"] == "none") == (not bound)


def test_one_tenants_question_is_bound_to_it(query_file: Path) -> None:
    header, sql = parts(query_file)

    if header["scope"] == "one tenant":
        assert "tenant_id = {tenant_id:String}" in sql


def test_the_answer_has_an_order(query_file: Path) -> None:
    header, sql = parts(query_file)

    if not header["order"].startswith("none, because "):
        assert re.search(r"\bORDER BY\b", outermost(sql)), "without an outermost ORDER BY a repeat may answer differently"


def test_it_runs_on_the_migrated_store(query_file: Path, events: EventsStore) -> None:
    _, sql = parts(query_file)
    params = {name: value_of(kind.strip()) for name, kind in PARAMETER.findall(sql)}

    events.select(Query(query_file.stem, f"EXPLAIN {sql}"), **params)


def test_someone_asks_it(query_file: Path) -> None:
    package = query_file.parent.parent
    code = "".join(path.read_text("utf-8") for path in package.glob("*.py"))

    assert f'read_query(__file__, "{query_file.stem}")' in code
