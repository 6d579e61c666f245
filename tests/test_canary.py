"""A merchant's canary never sings in another's answers: every question of the events store that is one tenant's, asked for north.

Each is asked twice: with north alone in the store, and beside south. One of south's rows has north's ids, so that a join or a
sub-query without the tenant would bring it along; the other has ids of its own, which are asked for as well. Every other text
and number of south's is the canary.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from store.columns import COLUMNS
from store.events import EventsStore, Query
from tests.test_queries import FILES, PARAMETER, parts

CANARY, CANARY_NUMBER = "canary", 77_777_777
AT = 1_763_726_400
FAR_AHEAD = 4_000_000_000_000
WORDS = {
    "affiliate_id": "anna",
    "programme_id": "main",
    "store_id": "shop",
    "currency": "EUR",
    "channel": "web",
    "kind": "click",
    "traffic_class": "human",
    "result": "credited",
    "claims": "",
    "override": "",
    "trace": "[]",
}
"""What all rows say alike: no ids of anything that happened."""
FIRST = {
    "touch_id": "01KAKT0000TOUCH00000000000",
    "click_id": "01KAKT0000TOUCH00000000000",
    "event_id": "01KAKT0000EVENT00000000000",
    "visitor_id": "01KAKT0000VSTR000000000000",
    "order_id": "O-1",
    "lead_id": "L-1",
    "refund_id": "R-1",
    "link_code": "anna-link",
    "key": "v:01KAKT0000VSTR000000000000",
    "other_key": "em:00000000000000000000000000000001",
    "customer_keys": "em:00000000000000000000000000000001",
}
SECOND = {name: text.replace("0000", "9999").replace("1", "2") for name, text in FIRST.items()}
CLICK_LINK = {"key": f"c:{FIRST['touch_id']}"}
OTHER_CLICK_LINK = {"key": f"c:{SECOND['touch_id']}", "other_key": SECOND["other_key"]}
NAMES = {"visitors": "visitor_id", "clicks": "click_id", "codes": "link_code", "customers": "customer_keys", "since": "", "after": ""}
"""Parameters that are not named like the column they are compared with."""

ONE_TENANTS = [path for path in FILES if parts(path)[0]["scope"] == "one tenant"]
name_of = "{0.parent.parent.name}/{0.stem}".format


def rows_of(table: str, columns: dict[str, str], tenant: str) -> list[dict[str, Any]]:
    """North's rows; or south's, which share with them everything, nothing, or a single id at a time.

    Of the second set of ids north has touches alone: whatever else knows of them is south's.
    """
    if tenant == "north":
        alike = [FIRST, FIRST | CLICK_LINK] + ([SECOND] if table == "touches" else [])
    else:
        single = [{name: ids[name]} for ids in (FIRST, SECOND) for name in ids if name in columns]
        alike = [FIRST, FIRST | CLICK_LINK, SECOND, OTHER_CLICK_LINK, {}, *single]
    return [
        {column: value(tenant, column, kind, WORDS | same, place) for column, kind in columns.items()} for place, same in enumerate(alike)
    ]


def value(tenant: str, column: str, kind: str, same: dict[str, str], place: int) -> Any:
    """A value for a column: what both tenants say alike, else something of north's, or the canary."""
    south = tenant == "south"
    if inner := re.fullmatch(r"Array\((.+)\)", kind):
        return [value(tenant, column, inner[1], same, place)]
    if inner := re.fullmatch(r"(?:LowCardinality|Nullable)\((.+)\)", kind):
        return value(tenant, column, inner[1], same, place)
    if kind.startswith("DateTime64"):
        return AT + place * (60 if south else 1)
    if kind.startswith("Map"):
        return {"region": CANARY if south else "BY"}
    if kind == "Bool":
        return False
    if kind != "String":
        return {"policy_version": 1, "revision": 1}.get(column, CANARY_NUMBER if south else 100)
    if column == "tenant_id":
        return tenant
    name = column.rpartition(".")[2]
    return same[name] if name in same else foreign(name) if south else "x"


def foreign(column: str) -> str:
    """South's own value: an id that a join may find, of the form that the column's ids have."""
    return {"key": f"v:{CANARY}", "other_key": f"em:{CANARY}", "customer_keys": f"em:{CANARY}"}.get(column, CANARY)


def answer_of(events: EventsStore, path: Path, tenant: str) -> list[tuple[Any, ...]]:
    _, sql = parts(path)
    asked = {name: _parameter(tenant, name, kind.strip()) for name, kind in PARAMETER.findall(sql)}
    return events.select(Query(path.stem, path.read_text("utf-8")), **asked)


def _parameter(tenant: str, name: str, kind: str) -> Any:
    if inner := re.fullmatch(r"Array\((.+)\)", kind):
        one = _parameter(tenant, name, inner[1])
        return [one, foreign(_column(name).removesuffix("s"))] if inner[1] == "String" else [one, one]
    if re.match(r"U?Int|Float", kind):
        return _number(name)
    if name == "tenant_id":
        return tenant
    return (WORDS | FIRST).get(_column(name)) or (WORDS | FIRST).get(_column(name).removesuffix("s")) or ""


def _column(name: str) -> str:
    return NAMES.get(name, name)


def _number(name: str) -> int:
    """Times reach as far as they can; everything that limits an answer lets it all through."""
    if re.search(r"\bfrom|since|earliest|first|after|numbers|offset|skip", name):
        return 0
    return FAR_AHEAD if re.search(r"_ms|_at|until|before|\bto\b|latest", name) else 1_000


def fill(events: EventsStore, tenant: str) -> None:
    """Rows of a tenant in every table that has tenants."""
    for table, columns in COLUMNS.items():
        if "tenant_id" in columns:
            lines = b"\n".join(map(msgspec.json.encode, rows_of(table, columns, tenant)))
            events.insert_json(table, lines, f"{table}:{tenant}")


def test_no_question_for_north_notices_south(events: EventsStore) -> None:
    fill(events, "north")
    alone = {name_of(path): answer_of(events, path, "north") for path in ONE_TENANTS}
    fill(events, "south")
    beside = {name_of(path): answer_of(events, path, "north") for path in ONE_TENANTS}

    assert {name: answer for name, answer in beside.items() if answer != alone[name]} == {}
    assert {name: answer for name, answer in beside.items() if CANARY in repr(answer) or str(CANARY_NUMBER) in repr(answer)} == {}
    silent = sorted(name for name, answer in alone.items() if not answer)
    assert len(silent) < len(ONE_TENANTS) // 4, f"too many find nothing at all, which proves nothing: {silent}"
