"""Forgetting an identifier: every copy of it goes, and every cent that was credited stays. I/O: both stores.

First the orders of its person, and its leads that earn, are frozen: they keep the decision they have (the run skips what ``frozen_orders``
holds). Then the identifier is noted as a digest, by which it is known again should a late event bring it back. Then its links are deleted
and its copies taken out of touches, leads, orders, set-aside records and receipts. Each step may be repeated; a crash in between costs a
repetition. Statements name the identifier by its digest alone, since the store keeps the text of each for a while.
"""

from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from typing import Any

import msgspec

from attribution.decisions import read_in_force
from attribution.identity import CLICK, VISITOR, is_device, known_to_both
from attribution.leads import leads_by_keys
from attribution.lookups import touches_by_id
from attribution.people import People
from attribution.touches import decode_touches
from core.clock import Instant, as_datetime
from core.errors import BadInput, FairshareError
from store.books import Books
from store.events import EventsStore, parts_of, read_query
from store.identity import receipts_holding, replace_event
from store.links import all_coalitions

COPIES_OF_KEY = read_query(__file__, "copies_of_key")
BAD_ROWS_WITH = read_query(__file__, "bad_rows_with")
DECIDED_ORDERS_OF_KEYS = read_query(__file__, "decided_orders_of_keys")
ERASED_AGAIN = read_query(__file__, "erased_again")
SHARED_BESIDE = read_query(__file__, "shared_beside")

ERASED = "erased"
TELLING_CHARS = 16
"""A text of this length is looked for anywhere; a shorter one would be found in what has nothing to do with it."""
ATTEMPTS = 3
MOST_BESIDE = 20
BAD_ROWS_AT_ONCE = 500

_IS = "lower(hex(SHA256(concat(tenant_id, '/', {column})))) = {{digest:String}}"
_KEY, _OTHER, _ONE = (_IS.format(column=column) for column in ("key", "other_key", "one"))
_VISITOR = _IS.format(column="concat('v:', visitor_id)")
_HAS = f"arrayExists(one -> {_ONE}, customer_keys)"
_WITHOUT = f"customer_keys = arrayFilter(one -> NOT ({_ONE}), customer_keys)"
_WHERE = "WHERE tenant_id = {tenant_id:String} AND"
_AT_ONCE = "SETTINGS mutations_sync = 2"

STATEMENTS = (
    f"ALTER TABLE identity_links DELETE {_WHERE} ({_KEY} OR {_OTHER}) {_AT_ONCE}",
    f"ALTER TABLE identity_revocations DELETE {_WHERE} ({_KEY} OR {_OTHER}) {_AT_ONCE}",
    f"ALTER TABLE leads UPDATE {_WITHOUT} {_WHERE} {_HAS} {_AT_ONCE}",
    f"ALTER TABLE orders UPDATE {_WITHOUT} {_WHERE} {_HAS} {_AT_ONCE}",
    f"ALTER TABLE touches UPDATE {_WITHOUT} {_WHERE} {_HAS} {_AT_ONCE}",
)
_CLEAN = f"if(length(visitor_id) < {TELLING_CHARS}, {{column}}, replaceAll({{column}}, visitor_id, '{ERASED}'))"
_CLEAN_CLAIMS = _CLEAN.format(column="claims")
_CLEAN_TOUCH = ", ".join(f"{_CLEAN.format(column=column)} AS {column}" for column in ("destination", "referrer", "user_agent"))
OF_VISITORS = (
    f"ALTER TABLE leads UPDATE visitor_id = '' {_WHERE} visitor_id <> '' AND {_VISITOR} {_AT_ONCE}",
    f"ALTER TABLE orders UPDATE visitor_id = '', claims = {_CLEAN_CLAIMS} {_WHERE} visitor_id <> '' AND {_VISITOR} {_AT_ONCE}",
    # Touches are sorted by their visitor, which no update may change: they are stored anew, then the old ones go.
    "INSERT INTO touches SELECT * REPLACE ('' AS visitor_id) FROM ("
    f"SELECT * REPLACE ({_CLEAN_TOUCH}, arrayFilter(sub -> sub <> visitor_id, subs) AS subs) FROM touches "
    f"{_WHERE} visitor_id <> '' AND {_VISITOR} AND touch_id NOT IN "
    "(SELECT touch_id FROM touches WHERE tenant_id = {tenant_id:String} AND visitor_id = '')) "
    "SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0",
    f"ALTER TABLE touches DELETE {_WHERE} visitor_id <> '' AND {_VISITOR} {_AT_ONCE}",
)
_DELETE_BAD_ROWS = f"ALTER TABLE bad_rows DELETE {_WHERE} sipHash64(detail, raw) IN {{rows:Array(UInt64)}} {_AT_ONCE}"


class Erasure(msgspec.Struct, frozen=True):
    """What holds the identifiers ``keys``, or held them: copies by table, ``receipts`` among them, and the orders that are frozen.

    ``frozen_elsewhere`` are orders of other tenants, by tenant, that are credited to touches of this one: no business of this one's.
    """

    tenant_id: str
    keys: tuple[str, ...]
    copies: dict[str, int]
    frozen_orders: tuple[str, ...]
    frozen_elsewhere: dict[str, tuple[str, ...]] = {}


def plan_erasure(events: EventsStore, books: Books, tenant_id: str, keys: Collection[str]) -> Erasure:
    """What :func:`erase` would do; nothing is changed.

    Raises:
        BadInput: a key is a click's, which is a record and no identifier of a person.
    """
    for key in keys:
        _require_identifier(key)
    orders = _orders_of(events, tenant_id, keys)
    return Erasure(
        tenant_id, tuple(keys), _copies(events, books, tenant_id, keys), orders, _orders_elsewhere(events, books, tenant_id, keys)
    )


def erase(events: EventsStore, books: Books, tenant_id: str, keys: Collection[str], at: Instant) -> Erasure:
    """Forget identifiers. Afterwards nothing that is stored holds one, and their persons' orders keep their decisions.

    Raises:
        BadInput: see :func:`plan_erasure`.
        FairshareError: copies are left, and where; nothing that was done is undone, and the same call goes on.
    """
    found = plan_erasure(events, books, tenant_id, keys)
    _freeze(events, found, at)
    _note(events, found, at)
    for _ in range(ATTEMPTS):  # events that were on their way may bring another copy
        for key in found.keys:
            _take_out(events, books, tenant_id, key)
        left = _copies(events, books, tenant_id, keys)
        if not left:
            return found
    where = ", ".join(f"{count} in {place}" for place, count in left.items())
    raise FairshareError(f"copies of the identifier are left: {where}; erase it again, and if they stay look at free text there")


def erase_again(events: EventsStore, books: Books, tenant_id: str, at: Instant) -> int:
    """Erase what was erased before and has come back with events recorded earlier. Returns how many identifiers that were."""
    back = [key for (key,) in events.select(ERASED_AGAIN, tenant_id=tenant_id)]
    if back:
        erase(events, books, tenant_id, back, at)
    return len(back)


def shared_beside(events: EventsStore, tenant_id: str, key: str) -> list[str]:
    """Keys that may be hashes of the same value, a coalition's or the tenant's own: events have shown them together with this one.

    No more than a hint: of two addresses in one event, either may be meant. At most :data:`MOST_BESIDE`, the likeliest first.
    """
    *coalition, kind, _ = key.rsplit(":", 2)
    pattern = f"^(x:[^:]*:)?{kind}:" if coalition else f"^x:[^:]*:{kind}:"
    rows = events.select(SHARED_BESIDE, tenant_id=tenant_id, key=key, pattern=pattern, most=MOST_BESIDE)
    return [beside for (beside,) in rows]


def digest_of(tenant_id: str, key: str) -> str:
    """By what an erased identifier is known again."""
    return sha256(f"{tenant_id}/{key}".encode()).hexdigest()


# --- what there is ---------------------------------------------------------------------------------------------------


def _require_identifier(key: str) -> None:
    if key.startswith(CLICK) or ":" not in key:
        raise BadInput("malformed", f"{key!r:.60} is no identifier of a person such as v:VISITOR or em:HASH; a click is a record", "key")


def _copies(events: EventsStore, books: Books, tenant_id: str, keys: Iterable[str]) -> dict[str, int]:
    """By table, of all the keys together."""
    found: dict[str, int] = {}
    for key in keys:
        for place, copies in _copies_of(events, books, tenant_id, key).items():
            found[place] = found.get(place, 0) + copies
    return dict(sorted(found.items()))


def _copies_of(events: EventsStore, books: Books, tenant_id: str, key: str) -> dict[str, int]:
    visitor_id = key.removeprefix(VISITOR) if key.startswith(VISITOR) else ""
    value = visitor_id or key
    needle = value if len(value) >= TELLING_CHARS else ""
    rows = events.select(COPIES_OF_KEY, tenant_id=tenant_id, key=key, visitor_id=visitor_id, needle=needle)
    found = {str(place): int(copies) for place, copies in rows}
    receipts = sum(1 for _ in _receipts(books, tenant_id, key))
    return found | ({"receipts": receipts} if receipts else {})


def _orders_of(events: EventsStore, tenant_id: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The decided orders and leads of the identifiers' persons, by whichever of their keys."""
    people = People(events, tenant_id)
    people.refresh()
    theirs = people.known_with(set(keys))
    found = set(read_in_force(events, tenant_id, leads_by_keys(events, tenant_id, theirs)))
    for part in parts_of(theirs):
        rows = events.select(
            DECIDED_ORDERS_OF_KEYS,
            tenant_id=tenant_id,
            visitors=[one.removeprefix(VISITOR) for one in part if one.startswith(VISITOR)],
            clicks=[one.removeprefix(CLICK) for one in part if one.startswith(CLICK)],
            customers=[one for one in part if not is_device(one)],
        )
        found |= {order_id for (order_id,) in rows}
    return tuple(sorted(found))


def _orders_elsewhere(events: EventsStore, books: Books, tenant_id: str, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Orders of the coalitions' other members that are credited to this tenant's touches, found by what both may know of a person."""
    with books.reading() as connection:
        coalitions = [{member.tenant_id for member in one.members} for one in all_coalitions(connection)]
    fellows = set[str]().union(*(members for members in coalitions if tenant_id in members)) - {tenant_id}
    shared = known_to_both(keys)
    found: dict[str, tuple[str, ...]] = {}
    for fellow in sorted(fellows) if shared else ():
        decided = read_in_force(events, fellow, _orders_of(events, fellow, shared))
        credited = {credit.touch_id for one in decided.values() for credit in one.credits}
        ours = {touch.touch_id for touch in decode_touches(touches_by_id(events, tenant_id, credited))}
        orders = sorted(name for name, one in decided.items() if not ours.isdisjoint(credit.touch_id for credit in one.credits))
        if orders:
            found[fellow] = tuple(orders)
    return found


def _receipts(books: Books, tenant_id: str, key: str) -> Iterator[tuple[Any, bytes]]:
    """Receipts that hold the identifier, each with its event as it is to be."""
    value = key.removeprefix(VISITOR) if key.startswith(VISITOR) else key
    with books.reading() as connection:
        for page in receipts_holding(connection, tenant_id, msgspec.json.encode(value)[1:-1]):
            for held in page:
                before = msgspec.json.decode(held.event)
                after = without(before, key)
                if after != before:
                    yield held, msgspec.json.encode(after)


def without(value: Any, key: str) -> Any:
    """A JSON value without an identifier: it leaves lists, and elsewhere an empty text; in longer texts ``erased`` stands instead.

    >>> without({"customer_keys": ["em:1", "em:2"], "visitor_id": "v"}, "em:1")
    {'customer_keys': ['em:2'], 'visitor_id': 'v'}
    """
    visitor_id = key.removeprefix(VISITOR) if key.startswith(VISITOR) else ""
    if isinstance(value, dict):
        return {name: "" if name == "visitor_id" and inner == visitor_id else without(inner, key) for name, inner in value.items()}
    if isinstance(value, list):
        return [without(inner, key) for inner in value if inner != key]
    if not isinstance(value, str):
        return value
    needle = visitor_id or key
    return value.replace(needle, ERASED) if len(needle) >= TELLING_CHARS else value


# --- what is done ----------------------------------------------------------------------------------------------------


def _freeze(events: EventsStore, found: Erasure, at: Instant) -> None:
    rows = [
        {"tenant_id": tenant_id, "order_id": order_id, "reason": ERASED, "frozen_at": at / 1000, "stored_at": at / 1000}
        for tenant_id, order_ids in ({found.tenant_id: found.frozen_orders} | found.frozen_elsewhere).items()
        for order_id in order_ids
    ]
    _insert(events, "frozen_orders", rows)


def _note(events: EventsStore, found: Erasure, at: Instant) -> None:
    orders, when = len(found.frozen_orders), at / 1000
    rows = [
        {"tenant_id": found.tenant_id, "digest": digest_of(found.tenant_id, key), "orders": orders, "erased_at": when, "stored_at": when}
        for key in found.keys
    ]
    _insert(events, "identity_erasures", rows)


def _insert(events: EventsStore, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        lines = b"\n".join(map(msgspec.json.encode, rows))
        events.insert_json(table, lines, sha256(lines).hexdigest())


def _take_out(events: EventsStore, books: Books, tenant_id: str, key: str) -> None:
    digest = digest_of(tenant_id, key)
    for statement in (*STATEMENTS, *(OF_VISITORS if key.startswith(VISITOR) else ())):
        events.command(statement, tenant_id=tenant_id, digest=digest)
    _clean_bad_rows(events, tenant_id, key)
    for held, event in list(_receipts(books, tenant_id, key)):
        with books.writing() as connection:
            replace_event(connection, tenant_id, held, event)


def _clean_bad_rows(events: EventsStore, tenant_id: str, key: str) -> None:
    """Store them anew without it, then delete the old ones: an update would keep their text beside the table."""
    value = key.removeprefix(VISITOR) if key.startswith(VISITOR) else key
    texts = [value] if len(value) >= TELLING_CHARS else [f'"{value}"']
    while rows := events.select(BAD_ROWS_WITH, tenant_id=tenant_id, texts=texts, rows=BAD_ROWS_AT_ONCE):
        for month in sorted({as_datetime(row[6]).strftime("%Y-%m") for row in rows}):
            some = [row for row in rows if as_datetime(row[6]).strftime("%Y-%m") == month]
            _insert(events, "bad_rows", [_bad_row(tenant_id, row, key, texts[0]) for row in some])
        events.command(_DELETE_BAD_ROWS, tenant_id=tenant_id, rows=[row[8] for row in rows])


def _bad_row(tenant_id: str, row: tuple[Any, ...], key: str, text: str) -> dict[str, Any]:
    spool_id, segment, position, reason, detail, raw, received_ms, stored_ms, _ = row
    return {
        "tenant_id": tenant_id,
        "spool_id": spool_id,
        "segment": segment,
        "position": position,
        "reason": reason,
        "detail": detail.replace(text, ERASED),
        "raw": _cleaned(raw, key, text),
        "received_at": received_ms / 1000,
        "stored_at": stored_ms / 1000,
    }


def _cleaned(raw: str, key: str, text: str) -> str:
    """A record without an identifier, whether it can be read or not."""
    try:
        clean = msgspec.json.encode(without(msgspec.json.decode(raw), key)).decode()
    except (msgspec.DecodeError, RecursionError):
        clean = raw
    return clean.replace(text, f'"{ERASED}"' if text.startswith('"') else ERASED)
