"""A merchant's canary never sings in another's answers: every question of the events store that is one tenant's, asked for north.

Each is asked with north alone in the store, and beside south. South's rows share with north's everything, nothing, one id or two, so
that a join or a sub-query without the tenant would bring something along: a row of south's, or one of north's that only south's leads
to. What south says by itself is the canary.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from store.columns import COLUMNS
from store.events import EventsStore, Query
from tests.test_queries import FILES, PARAMETER, parts

CANARY, CANARY_NUMBER = "canary", 77_777_777
AT = 1_763_726_400
SOUTHS_TIMES = (-500, 250, 1_000, 5_000)
"""In seconds: before what happens at north (every 100 seconds from ``AT`` on), in between, and after."""
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
    "override": "",
    "trace": "[]",
    "source": "import",
}
"""What all rows say alike: no ids of anything that happened."""


def ids_of(number: int) -> dict[str, str]:
    """The ids of one story: a visitor's touch, what it led to, and the keys that link them."""
    touch_id, visitor_id, customer = f"01KAKT000{number}TOUCH00000000000", f"01KAKT000{number}VSTR000000000000", f"em:{number:032}"
    return {
        "touch_id": touch_id,
        "click_id": touch_id,
        "event_id": f"01KAKT000{number}EVENT00000000000",
        "visitor_id": visitor_id,
        "order_id": f"O-{number}",
        "lead_id": f"L-{number}",
        "refund_id": f"R-{number}",
        "link_code": f"link-{number}",
        "key": f"v:{visitor_id}",
        "other_key": customer,
        "customer_keys": customer,
    }


FIRST, TOUCHED, UNASKED, ORDERED, REFUNDED, NAMELESS, TWIN, DECIDED = map(ids_of, range(1, 9))
"""What is asked for; what north has touches alone of; what it has and nobody asks for; orders, refunds and touches of which it has nothing
more; the first order once more; and an order that was decided by a touch that is not on record."""
CLICK_LINK = {"key": f"c:{FIRST['touch_id']}"}
TWICE = {"event_id": TWIN["event_id"]}
OTHER_CLICK_LINK = {"key": f"c:{TOUCHED['touch_id']}", "other_key": TOUCHED["other_key"]}
NORTHS: dict[str, list[dict[str, str]]] = {
    "touches": [NAMELESS | {"visitor_id": ""}, TOUCHED, TOUCHED | {"touch_id": TWIN["touch_id"]}],  # the last one after all orders
    "orders": [ORDERED | {"visitor_id": FIRST["visitor_id"]}, DECIDED],
    "leads": [ORDERED],
    "refunds": [REFUNDED],
    "decisions": [DECIDED | {"touch_id": ORDERED["touch_id"]}],
}
"""Beside the rows that it has in every table."""
NAMES = {
    "visitors": "visitor_id",
    "clicks": "click_id",
    "codes": "link_code",
    "customers": "customer_keys",
    "many_customers": "customer_keys",
    "since": "",
    "after": "",
}
"""Parameters that are not named like the column they are compared with."""
TEXTS = {"until": "~", "to_key": "~", "needle": CANARY, "letters": FIRST["touch_id"][-16:], "dimension": "device"}
"""And those that are compared with none."""

QUESTIONS = {f"{path.parent.parent.name}/{path.stem}": path.read_text("utf-8") for path in FILES if parts(path)[0]["scope"] == "one tenant"}
OF_DECISIONS = {f"{path.parent.parent.name}/{path.stem}": text for path in FILES if "FROM decisions" in (text := path.read_text("utf-8"))}
LEADS_TOO = {
    "attribution/decisions_of_slice": "a superset of what is in force for a slice's orders, looked up by their ids",
    "benchmarks/credited_touches": "the store of a benchmark, which has no leads",
    "benchmarks/decided_orders": "the same",
    "benchmarks/new_decisions": "the same",
    "payouts/changed_orders": "leads are booked like orders",
    "payouts/decisions_placed": "a superset of the verdicts on a time's orders, looked up by their ids",
}
"""Questions about decisions that may find those about leads, and why."""
BOUND = re.compile(r"(?:\w+\.)?tenant_id = \{tenant_id:String\}")
COMMENT = re.compile(r"--[^\n]*")


def rows_of(table: str, columns: dict[str, str], tenant: str) -> list[dict[str, Any]]:
    """North's rows, or south's, which share with them everything, nothing, a single id, or one id each of two of its stories."""
    if tenant == "north":
        again = FIRST | (TWICE if table == "orders" else CLICK_LINK)
        alike = [FIRST, again, UNASKED, *NORTHS.get(table, [])]
        timed = [(same, AT + 100 * place) for place, same in enumerate(alike)]
    else:
        names = [name for name in FIRST if name in columns]
        single = [{name: ids[name]} for ids in (FIRST, TOUCHED, UNASKED, ORDERED, REFUNDED) for name in names]
        double = [{name: UNASKED[name], other: FIRST[other]} for name in names for other in names if name != other]
        alike = [FIRST, FIRST | CLICK_LINK, TOUCHED, OTHER_CLICK_LINK, {}, {"visitor_id": "", "click_id": ""}, *single, *double]
        timed = [(same, AT + seconds) for same in alike for seconds in SOUTHS_TIMES]
    return [{column: value(tenant, column, kind, WORDS | same, at) for column, kind in columns.items()} for same, at in timed]


def value(tenant: str, column: str, kind: str, same: dict[str, str], at: int) -> Any:
    """A value for a column: what both tenants say alike, else something of north's, or the canary."""
    south = tenant == "south"
    if inner := re.fullmatch(r"Array\((.+)\)", kind):
        return [value(tenant, column, inner[1], same, at)]
    if inner := re.fullmatch(r"(?:LowCardinality|Nullable)\((.+)\)", kind):
        return value(tenant, column, inner[1], same, at)
    if kind.startswith("DateTime64"):
        return at
    if kind.startswith("Map"):
        return {"region": CANARY if south else "BY"}
    if kind == "Bool":
        return False
    if kind != "String":
        return {"policy_version": 1, "revision": 1 + south}.get(column, CANARY_NUMBER if south else 100)
    if column == "tenant_id":
        return tenant
    if column == "digest":
        return digest_of(UNASKED["key"] if south else (FIRST["key"], foreign("key"), foreign("other_key"))[at % 3])
    name = column.rpartition(".")[2]
    if name == "claims":
        return f'[{{"token":"{same.get("click_id", foreign("click_id") if south else "x")}"}}]'
    return same[name] if name in same else foreign(name) if south else "x"


def foreign(column: str) -> str:
    """South's own value: an id that a join may find, of the form that the column's ids have."""
    return {"key": f"v:{CANARY}", "other_key": f"em:{CANARY}", "customer_keys": f"em:{CANARY}"}.get(column, CANARY)


def digest_of(key: str) -> str:
    """What an erasure by north keeps of an identifier."""
    return hashlib.sha256(f"north/{key}".encode()).hexdigest()


Answers = dict[str, list[tuple[Any, ...]]]


def answers_of(events: EventsStore, questions: dict[str, str]) -> Answers:
    """What each question finds for north with every filter set, and with all that may be left open."""
    return {name: _answer_of(events, Query(name, text)) for name, text in questions.items()}


def _answer_of(events: EventsStore, query: Query) -> list[tuple[Any, ...]]:
    asked = {name: _parameter(name, kind.strip()) for name, kind in PARAMETER.findall(COMMENT.sub("", query.sql))}
    open_ = {name: {"dimension": "result"}.get(name, "") for name in asked if name in WORDS or name == "dimension"}
    return [*events.select(query, **asked), *(events.select(query, **asked | open_) if open_ else ())]


def _parameter(name: str, kind: str) -> Any:
    if inner := re.fullmatch(r"Array\((.+)\)", kind):
        one = _parameter(name, inner[1])
        return [one, foreign(_column(name).removesuffix("s"))] if inner[1] == "String" else [one, one]
    if re.match(r"U?Int|Float", kind):
        return _number(name)
    if name in ("tenant_id", "tenant_ids"):
        return "north"
    known = WORDS | FIRST | TEXTS
    return known.get(_column(name)) or known.get(_column(name).removesuffix("s")) or ""


def _column(name: str) -> str:
    return NAMES.get(name, name)


def _number(name: str) -> int:
    """Times reach as far as they can; everything that limits an answer lets it all through."""
    if re.search(r"\bfrom|since|earliest|first|after|lows|numbers|offset|skip", name):
        return 0
    return FAR_AHEAD if re.search(r"_ms|_at|until|before|\bto\b|latest|highs", name) else 1_000


def fill(events: EventsStore, tenant: str) -> None:
    """Rows of a tenant in every table that has tenants."""
    for table, columns in COLUMNS.items():
        if "tenant_id" in columns:
            lines = b"\n".join(map(msgspec.json.encode, rows_of(table, columns, tenant)))
            events.insert_json(table, lines, f"{table}:{tenant}")


def unbound(text: str) -> Iterator[str]:
    """A question with one of its tenants left out, for each of them."""
    for place in BOUND.finditer(text):
        yield text[: place.start()] + "{tenant_id:String} = {tenant_id:String}" + text[place.end() :]


def test_no_question_for_north_notices_south_and_every_one_would_without_any_of_its_tenants(events: EventsStore) -> None:
    faulty = {f"{name}, tenant {number}": other for name, text in QUESTIONS.items() for number, other in enumerate(unbound(text), start=1)}
    fill(events, "north")
    alone = answers_of(events, QUESTIONS)
    fill(events, "south")
    beside = answers_of(events, QUESTIONS | faulty)
    noticed = {
        name: answer
        for name, answer in beside.items()
        if answer != alone[name.partition(",")[0]] or CANARY in repr(answer) or str(CANARY_NUMBER) in repr(answer)
    }

    assert {name: answer for name, answer in noticed.items() if name in QUESTIONS} == {}
    assert sorted(name for name in QUESTIONS if not alone[name]) == [], "they find nothing at all, which proves nothing"
    assert sorted(faulty.keys() - noticed.keys()) == [], "whether these ask for the tenant cannot be told: give south a row that shows it"
    assert {name.partition(",")[0] for name in faulty} == QUESTIONS.keys()


def test_a_leads_decision_beside_an_orders_changes_no_answer_but_those_that_are_meant_to(events: EventsStore) -> None:
    fill(events, "north")
    orders_alone = answers_of(events, OF_DECISIONS)
    lead = WORDS | TOUCHED | {"order_id": " lead:L-1"}
    row = {column: value("north", column, kind, lead, AT + 50) for column, kind in COLUMNS["decisions"].items()}
    events.insert_json("decisions", msgspec.json.encode(row), "decisions:lead")

    assert all(orders_alone.values())
    beside = answers_of(events, OF_DECISIONS)
    assert {name for name, answer in beside.items() if answer != orders_alone[name]} == LEADS_TOO.keys()
