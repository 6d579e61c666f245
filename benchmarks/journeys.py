"""Ninety days of one merchant: visitors with several clicks each, some of them programs, and orders that follow the clicks."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from benchmarks.clicks import AFFILIATES, click
from core.catalogue import Affiliate, Membership, Programme, Tenant
from core.clock import DAY, HOUR, MINUTE, Instant, as_datetime
from core.events import Event, Line, Order, Touch
from core.ids import event_id
from fairshare.demo.cast import NORTH
from fairshare.demo.visitors import BROWSERS, Device, device, machine
from store.books import Books
from store.catalogue import put
from store.events import EventsStore
from tracker.enrich import TABLES, Row, rows

DAYS = 90
CLICKS_A_VISITOR = 4
MACHINE_SHARE = 0.05
TOO_LATE_SHARE = 0.05
BLOCK_ROWS = 20_000
LONG_AGO: Instant = 1_600_000_000_000

HOW_ORDERS_NAME_THEIR_CLICK = {"visitor": 30, "visitor and click": 40, "click": 20, "nothing": 10}
"""In percent. A click that an order names is its visitor's last by a person, as the shop saw it arrive."""


class Story(NamedTuple):
    """What happened, in no order. ``alone`` are orders of visitors who have no other one and whom the shop recognised."""

    touches: list[Touch]
    orders: list[Order]
    alone: list[Order]


def story(touches: int, orders: int, end: Instant, seed: int = 1) -> Story:
    """So many touches over ninety days up to ``end``, and orders of some of their visitors."""
    rng = random.Random(seed)
    begin = end - DAYS * DAY
    visitors = [_visitor(rng, begin) for _ in range(max(1, touches // CLICKS_A_VISITOR))]
    by_visitor: list[list[Touch]] = [[] for _ in visitors]
    for index in range(touches):
        number = index if index < len(visitors) else rng.randrange(len(visitors))
        by_visitor[number].append(click(rng, visitors[number], begin + rng.randrange(DAYS * DAY)))
    buyers = [rng.randrange(len(visitors)) for _ in range(orders)]
    told = [_order(rng, number, by_visitor[buyer], end) for number, buyer in enumerate(buyers)]
    bought = Counter(buyers)
    alone = [order for order, buyer in zip(told, buyers, strict=True) if bought[buyer] == 1 and order.visitor_id]
    return Story([touch for own in by_visitor for touch in own], told, alone)


def late_clicks(orders: Sequence[Order], seed: int) -> list[Touch]:
    """A click a minute before each order, of its visitor: the last one, so that the decision changes."""
    rng = random.Random(seed)
    return [click(rng, Device(order.visitor_id, BROWSERS[0][0], ""), order.occurred_at - MINUTE) for order in orders]


def open_shop(books: Books) -> None:
    """The merchant, one programme with the default policy, and fifty affiliates who have always been members."""
    members = [Affiliate(name, name.title(), f"{name}@blog.example") for name in AFFILIATES]
    with books.writing() as connection:
        put(connection, Tenant(NORTH, "North", "EUR"), "benchmark", LONG_AGO)
        put(connection, Programme(NORTH, "main", "Main", "https://www.north.example/", ("north.example",)), "benchmark", LONG_AGO)
        for member in members:
            put(connection, member, "benchmark", LONG_AGO)
            put(connection, Membership(NORTH, "main", member.affiliate_id, "approved", LONG_AGO, LONG_AGO), "benchmark", LONG_AGO)


def store(events: EventsStore, happened: Iterable[Event], stored_at: Instant) -> None:
    """Store events as the drain does: links before orders, a month a block."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for event in happened:
        for table, at, row in rows(event, stored_at, lambda _address: ""):
            groups.setdefault((table, f"{as_datetime(at):%Y%m}"), []).append(row)
    for table in TABLES:
        for month, found in sorted((month, found) for (name, month), found in groups.items() if name == table):
            _insert(events, table, found, f"benchmark:{stored_at}:{month}")


def _insert(events: EventsStore, table: str, found: Sequence[Row], token: str) -> None:
    for start in range(0, len(found), BLOCK_ROWS):
        events.insert_json(table, msgspec.json.Encoder().encode_lines(found[start : start + BLOCK_ROWS]), f"{token}:{start}")


def _visitor(rng: random.Random, begin: Instant) -> Device:
    """Programs get a visitor here too, so that a join by visitor meets clicks that may not earn."""
    person = device(rng, NORTH, begin)
    return msgspec.structs.replace(machine(rng), visitor_id=person.visitor_id) if rng.random() < MACHINE_SHARE else person


def _order(rng: random.Random, number: int, own: Sequence[Touch], end: Instant) -> Order:
    """An order by the visitor of ``own``, from minutes to weeks after one of the clicks."""
    too_late = 35 * DAY if rng.random() < TOO_LATE_SHARE else 0
    at = min(end, rng.choice(own).occurred_at + int(rng.expovariate(1 / (4 * DAY))) + HOUR + too_late)
    named, last = _how(rng), _last(own, at)
    lines = tuple(Line(str(place), rng.randrange(5_00, 150_00), f"sku-{rng.randrange(400)}", "", rng.choice(("shoes", "clothing", "tents")))
                  for place in range(1, rng.choice((2, 2, 3, 4))))  # fmt: skip
    return Order(
        event_id=event_id(at, rng.getrandbits(80)),
        tenant_id=NORTH,
        order_id=f"O-{number:07}",
        currency="EUR",
        occurred_at=at,
        received_at=at,
        lines=lines,
        click_id=last if "click" in named else "",
        visitor_id=own[0].visitor_id if "visitor" in named or ("click" in named and not last) else "",
        customer_keys=(f"em:{own[0].visitor_id}",) if named != "nothing" and rng.random() < 0.6 else (),
        total_minor=sum(line.net_minor for line in lines),
    )


def _how(rng: random.Random) -> str:
    return rng.choices(list(HOW_ORDERS_NAME_THEIR_CLICK), list(HOW_ORDERS_NAME_THEIR_CLICK.values()))[0]


def _last(own: Sequence[Touch], at: Instant) -> str:
    before = [(touch.occurred_at, touch.event_id) for touch in own if touch.occurred_at <= at]
    return max(before)[1] if before else ""
