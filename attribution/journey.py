"""What decides an order: its person's touches and the facts about it, fetched for many orders at a time. I/O: both stores.

A touch is found by the order's visitor, by the click that it names, or over links with its customer's keys; each candidate says
which. Touches are looked up as far back as any policy's longest window and the near misses reach; a click that the order names is
found at any age. The question is put in two ways, with one answer: for a few orders by their ids and keys, and for a slice of
very many by joins in the store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from attribution.batch import Batch
from attribution.candidates import Company
from attribution.coalition import Fellows, foreign_touches
from attribution.decisions import ORDERS_BY_ID, read_in_force
from attribution.history import ByKeys, Earlier, as_orders, ids_of
from attribution.identity import CLICK, VISITOR, Person
from attribution.lookups import ALWAYS, CROWD, Times, TooMuch, minted_within, through_crowd, touches_by_id, visitors_lines
from attribution.people import People
from attribution.policy import Terms, longest_lookback
from attribution.revisions import decode_in_force, in_force_of
from attribution.touches import (
    OrderRow,
    TouchRow,
    VisitorRow,
    by_visitor,
    claims_of,
    decode_orders,
    decode_touches,
    decode_visitors,
    lines_of,
)
from core.clock import Instant
from core.ids import is_event_id
from store.books import Books
from store.catalogue import find_link
from store.events import EventsStore, parts_of, read_query
from store.overrides import overrides_of

TOUCHES_OF_SLICE = read_query(__file__, "touches_of_slice")
CLICKS_OF_SLICE = read_query(__file__, "clicks_of_slice")
ORDERS_OF_SLICE = read_query(__file__, "orders_of_slice")
DECISIONS_OF_SLICE = read_query(__file__, "decisions_of_slice")

LAST_ID = "\U0010ffff"
TOUCHES = 400_000
"""No batch of several orders holds more touches."""


class Slice(msgspec.Struct, frozen=True):
    """Orders placed in ``[from_at, to_at]`` with ids in ``(after, until]``."""

    from_at: Instant
    to_at: Instant
    after: str = ""
    until: str = LAST_ID

    @property
    def bounds(self) -> dict[str, Any]:
        """As the queries of slices name them."""
        return {"from_ms": self.from_at, "to_ms": self.to_at, "after": self.after, "until": self.until}


class Scene(msgspec.Struct, frozen=True):
    """Where a tenant's orders are decided: its stores, its terms, its people, and the people of the tenants it shares with."""

    events: EventsStore
    books: Books
    terms: Terms
    people: People
    fellows: Fellows = Fellows()
    frozen: frozenset[str] = frozenset()

    @property
    def tenant_id(self) -> str:
        return self.terms.tenant_id


def batches_of_orders(scene: Scene, order_ids: Sequence[str], earlier: ByKeys) -> Iterator[Batch]:
    """The given orders with everything that decides them: together, or in halves where they have too many touches.

    Raises:
        Unavailable: a store cannot answer.
    """
    lines = [
        line
        for part in parts_of(order_ids)
        for line in scene.events.select_bytes(ORDERS_BY_ID, tenant_id=scene.tenant_id, order_ids=part).splitlines()
    ]
    yield from batches_of_lines(scene, lines, earlier)


def batches_of_lines(scene: Scene, lines: Sequence[bytes], earlier: ByKeys) -> Iterator[Batch]:
    """The same, of orders that are read already."""
    if not lines:
        return
    try:
        yield _batch(scene, lines, earlier)
    except TooMuch:
        half = len(lines) // 2
        yield from batches_of_lines(scene, lines[:half], earlier)
        yield from batches_of_lines(scene, lines[half:], earlier)


def _batch(scene: Scene, lines: Sequence[bytes], earlier: ByKeys) -> Batch:
    joined = b"\n".join(lines) + b"\n"
    rows = decode_orders(joined)
    persons = scene.people.persons_of(as_orders(rows))
    company = company_of(rows, persons)
    lookback = longest_lookback(scene.terms)
    visitors = visitors_lines(
        scene.events, scene.tenant_id, _times_of_visitors(rows, company, lookback), most=TOUCHES if len(rows) > 1 else None
    )
    return Batch(
        orders=joined,
        visitors=visitors,
        touches=touches_by_id(scene.events, scene.tenant_id, _clicks_of(rows, company)),
        company=company,
        crowds=_crowds(scene, visitors.splitlines(), rows, company, lookback),
        foreign=foreign_touches(scene.events, scene.terms, scene.fellows, rows, persons),
        links=_links_of_claims(scene, rows),
        past=earlier.past_of(rows, persons),
        in_force=read_in_force(scene.events, scene.tenant_id, [row.order_id for row in rows]),
        frozen=tuple(row.order_id for row in rows if row.order_id in scene.frozen),
        overrides=_overrides(scene, rows),
    )


def company_of(rows: Iterable[OrderRow], persons: Mapping[str, Person]) -> dict[str, Company]:
    """Of orders whose person has keys beyond the order's own, or shares a device: the person's visitors and clicks."""
    found: dict[str, Company] = {}
    for row in rows:
        person = persons[row.order_id]
        own = len(row.customer_keys) + (row.visitor_id != "") + (row.click_id != "")
        if len(person.keys) == own and not person.spans and not person.cut:
            continue
        found[row.order_id] = Company(
            tuple((key[2:], match, person.spans.get(key, ())) for key, match in person.keys.items() if key.startswith(VISITOR)),
            tuple((key[2:], match) for key, match in person.keys.items() if key.startswith(CLICK)),
            person.cut,
        )
    return found


# --- visitors --------------------------------------------------------------------------------------------------------


def _times_of_visitors(rows: Iterable[OrderRow], company: Mapping[str, Company], lookback: Instant, own: bool = True) -> Times:
    """Of every visitor of these orders; with ``own`` false of those alone that an order's person has beside the order's own."""
    times: Times = {}
    for row in rows:
        for visitor_id in _visitors_of(row, company):
            if own or visitor_id != row.visitor_id:
                low, high = times.get(visitor_id, (ALWAYS, 0))
                times[visitor_id] = min(low, max(0, row.occurred_at - lookback)), max(high, row.occurred_at)
    return times


def _visitors_of(row: OrderRow, company: Mapping[str, Company]) -> Sequence[str]:
    others = company.get(row.order_id)
    if others:
        return [visitor_id for visitor_id, _, _ in others.visitors]
    return (row.visitor_id,) if row.visitor_id else ()


def _crowds(
    scene: Scene, lines: Iterable[bytes], rows: Iterable[OrderRow], company: Mapping[str, Company], lookback: Instant
) -> dict[str, tuple[VisitorRow, ...]]:
    """By order, the touches of its visitors that have very many: what a cap leaves of them."""
    crowded = {row.visitor_id for line in lines if _is_crowd(line) for row in decode_visitors(line)}
    found: dict[str, tuple[VisitorRow, ...]] = {}
    if not crowded:
        return found
    wanted: dict[str, list[OrderRow]] = {}
    for row in rows:
        for visitor_id in _visitors_of(row, company):
            if visitor_id in crowded:
                wanted.setdefault(visitor_id, []).append(row)
    for visitor_id, orders in sorted(wanted.items()):
        for order_id, one in through_crowd(scene.events, scene.tenant_id, visitor_id, orders, lookback):
            found[order_id] = (*found.get(order_id, ()), one)
    return found


# --- what orders name ------------------------------------------------------------------------------------------------


def _clicks_of(rows: Iterable[OrderRow], company: Mapping[str, Company], own: bool = True) -> set[str]:
    """Clicks that orders name or claim, and those of their persons."""
    clicks: set[str] = set()
    for row in rows:
        if own and row.click_id:
            clicks.add(row.click_id)
        if row.claims:
            clicks |= {claim.token for claim in claims_of(row.claims)}
        if others := company.get(row.order_id):
            clicks |= {click_id for click_id, _ in others.clicks if own or click_id != row.click_id}
    return clicks


def _links_of_claims(scene: Scene, rows: Iterable[OrderRow]) -> dict[str, tuple[str, str]]:
    """What tokens that are codes of the tenant's links stand for: programme and affiliate."""
    codes = {claim.token for row in rows if row.claims for claim in claims_of(row.claims) if not is_event_id(claim.token)}
    if not codes:
        return {}
    with scene.books.reading() as connection:
        links = [link for code in sorted(codes) if code and (link := find_link(connection, code))]
    return {link.code: (link.programme_id, link.affiliate_id) for link in links if link.tenant_id == scene.tenant_id}


def _overrides(scene: Scene, rows: Iterable[OrderRow]) -> dict[str, Any]:
    with scene.books.reading() as connection:
        return overrides_of(connection, scene.tenant_id, [row.order_id for row in rows])


# --- slices ----------------------------------------------------------------------------------------------------------


def batches_of_slice(
    scene: Scene,
    piece: Slice,
    earlier: Earlier,
    doubled: frozenset[str],
    limit: int,
    learn: Callable[[int, int], None] = lambda _orders, _size: None,
    by_id: bool = False,
) -> Iterator[Batch]:
    """All orders of a slice, ``limit`` in a batch, by time or by id.

    Args:
        doubled: order ids that several events bear; each belongs to the slice of the event that counts.
        learn: is told how many orders there were, and how many bytes their touches.

    Raises:
        Unavailable: a store cannot answer.
    """
    events, tenant_id, bounds = scene.events, scene.tenant_id, piece.bounds
    lines = events.select_bytes(ORDERS_OF_SLICE, tenant_id=tenant_id, **bounds).splitlines()
    rows = decode_orders(b"\n".join(lines))
    if doubled:
        rows, lines = _counted(scene, piece, rows, lines, doubled)
    rows, lines = _in_time(rows, lines)
    if not rows:
        return
    alone = scene.people.alone(as_orders(rows)) if not scene.fellows.people else {}
    others = [row for row in rows if row.order_id not in alone]
    persons = scene.people.persons_of(as_orders(others))
    company = company_of(others, persons)
    lookback = longest_lookback(scene.terms)
    span = {"lookback_ms": lookback, "earliest_ms": max(0, rows[0].occurred_at - lookback), "crowd": CROWD}
    visited = by_visitor(events.select_bytes(TOUCHES_OF_SLICE, tenant_id=tenant_id, **bounds, **span))
    times = _times_of_visitors(others, company, lookback, own=False)
    visited |= _wider(visited, by_visitor(visitors_lines(events, tenant_id, times)), scene, times, rows, lookback)
    named = _named_in_slice(scene, piece, rows)
    for touch in decode_touches(touches_by_id(events, tenant_id, _clicks_of(rows, company, own=False))):
        named.setdefault(touch.touch_id, []).append(touch)
    decided = {
        row.order_id: in_force_of(row) for row in decode_in_force(events.select_bytes(DECISIONS_OF_SLICE, tenant_id=tenant_id, **bounds))
    }
    overrides = _overrides(scene, rows)
    crowds = _crowds(scene, visited.values(), rows, company, lookback)
    foreign = foreign_touches(events, scene.terms, scene.fellows, rows, persons)
    links = _links_of_claims(scene, rows)
    past = earlier.past_of(rows, alone | ids_of(persons))
    learn(len(rows), sum(map(len, visited.values())))
    if by_id:
        rows, lines = _by_id(rows, lines)
    for start in range(0, len(rows), limit):
        part = rows[start : start + limit]
        ids = [row.order_id for row in part]
        clicks = _clicks_of(part, company)
        names = (name for row in part for name in _visitors_of(row, company))
        yield Batch(
            orders=b"\n".join(lines[start : start + limit]) + b"\n",
            visitors=b"\n".join(visited[name] for name in dict.fromkeys(names) if name in visited),
            touches=lines_of(touch for click in sorted(clicks) for touch in named.get(click, ())),
            company={name: company[name] for name in ids if name in company},
            crowds={name: crowds[name] for name in ids if name in crowds},
            foreign={name: foreign[name] for name in ids if name in foreign},
            links=links,
            past={name: past[name] for name in ids if name in past},
            in_force={name: decided[name] for name in ids if name in decided},
            frozen=tuple(name for name in ids if name in scene.frozen),
            overrides={name: overrides[name] for name in ids if name in overrides},
        )


def _is_crowd(line: bytes) -> bool:
    """Does the line say only how many touches a visitor has: is the list before the number empty?"""
    return line[line.rfind(b"]", 0, -1) - 1 :].startswith(b"[")


def _counted(
    scene: Scene, piece: Slice, rows: list[OrderRow], lines: list[bytes], doubled: frozenset[str]
) -> tuple[list[OrderRow], list[bytes]]:
    """Of several events under one id the earliest received is the order, whichever slice the others are in."""
    pairs = [(row, line) for row, line in zip(rows, lines, strict=True) if row.order_id not in doubled]
    for part in parts_of(name for name in doubled if piece.after < name <= piece.until):
        for line in scene.events.select_bytes(ORDERS_BY_ID, tenant_id=scene.tenant_id, order_ids=part).splitlines():
            (row,) = decode_orders(line)
            if piece.from_at <= row.occurred_at <= piece.to_at:
                pairs.append((row, line))
    return [row for row, _ in pairs], [line for _, line in pairs]


def _in_time(rows: list[OrderRow], lines: list[bytes]) -> tuple[list[OrderRow], list[bytes]]:
    """By ``(occurred_at, event_id)``, and each once: the same event may be stored twice."""
    once = {row.order_id: (row, line) for row, line in zip(rows, lines, strict=True)}
    pairs = sorted(once.values(), key=lambda pair: (pair[0].occurred_at, pair[0].event_id))
    return [row for row, _ in pairs], [line for _, line in pairs]


def _by_id(rows: list[OrderRow], lines: list[bytes]) -> tuple[list[OrderRow], list[bytes]]:
    pairs = sorted(zip(rows, lines, strict=True), key=lambda pair: pair[0].order_id)
    return [row for row, _ in pairs], [line for _, line in pairs]


def _wider(
    own: Mapping[str, bytes], others: dict[str, bytes], scene: Scene, times: Times, rows: Iterable[OrderRow], lookback: Instant
) -> dict[str, bytes]:
    """Lines of visitors that are one order's own and another person's as well: over both times."""
    both = own.keys() & times.keys()
    if not both:
        return others
    wide = dict(times)
    for row in rows:
        if row.visitor_id in both:
            low, high = wide[row.visitor_id]
            wide[row.visitor_id] = min(low, max(0, row.occurred_at - lookback)), max(high, row.occurred_at)
    return others | by_visitor(visitors_lines(scene.events, scene.tenant_id, {name: wide[name] for name in both}))


def _named_in_slice(scene: Scene, piece: Slice, rows: Sequence[OrderRow]) -> dict[str, list[TouchRow]]:
    minted = [row.click_id for row in rows if is_event_id(row.click_id)]
    if not minted:
        return {}
    first, last = minted_within(min(minted), max(minted))
    bounds = {"first_ms": first, "last_ms": last}
    named: dict[str, list[TouchRow]] = {}
    for touch in decode_touches(scene.events.select_bytes(CLICKS_OF_SLICE, tenant_id=scene.tenant_id, **piece.bounds, **bounds)):
        named.setdefault(touch.touch_id, []).append(touch)
    return named
