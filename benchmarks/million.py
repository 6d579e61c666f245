"""Worlds of any size, made inside the events store: visitors with ten touches each before their order, and a crowd of one's own.

Everything follows from the numbers of the rows, so that a world is the same each time.
"""

from collections.abc import Sequence

from core.clock import DAY, MINUTE, Instant
from fairshare.demo.cast import NORTH
from store.events import EventsStore

TOUCHES_AN_ORDER = 10
DAYS = 90
JOURNEY_DAYS = 35
MEMBERS = 50
ROWS_AT_ONCE = 1_000_000

_LETTER = "substring('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + bitAnd(bitShiftRight({number}, {shift}), 31), 1)"
_MINTED = _LETTER.format(number="minted", shift="45 - 5 * place")
_CHANCE = _LETTER.format(number="cityHash64(seed, {part})", shift="5 * place")
_ID = f"""
    concat(
        arrayStringConcat(arrayMap(place -> {_MINTED}, range(10))),
        arrayStringConcat(arrayMap(place -> {_CHANCE.format(part=1)}, range(8))),
        arrayStringConcat(arrayMap(place -> {_CHANCE.format(part=2)}, range(8)))
    )"""
_PLACED = "{end:UInt64} - cityHash64(buyer, 'placed') % {span:UInt64}"

TOUCHES = f"""
    INSERT INTO touches (
        tenant_id, touch_id, kind, programme_id, affiliate_id, link_code, visitor_id, channel, occurred_at, received_at, stored_at,
        traffic_class, consent, destination, user_agent
    )
    SELECT
        {{tenant_id:String}}, {_ID}, if(number % 7 = 0, 'impression', 'click'), 'main',
        concat('affiliate-', leftPad(toString(number % 50), 2, '0')),
        concat('link-', toString(number % 500)), concat('visitor-', leftPad(toString(cityHash64(buyer, 'visitor')), 20, '0')), 'web',
        fromUnixTimestamp64Milli(toInt64(minted), 'UTC') AS at, at, fromUnixTimestamp64Milli({{stored_ms:Int64}}, 'UTC'),
        if(cityHash64(number, 'class') % 20 = 0, 'declared_bot', 'human'), 'granted', 'https://www.north.example/', 'Mozilla/5.0'
    FROM (
        SELECT
            number, intDiv(number, {{each:UInt64}}) * {{orders_each:UInt64}} AS buyer, cityHash64(number, 'touch') AS seed,
            toUInt64({_PLACED} - cityHash64(number, 'age') % {{age:UInt64}}) AS minted
        FROM numbers({{first:UInt64}}, {{rows:UInt64}})
    )"""
ORDERS = f"""
    INSERT INTO orders (
        tenant_id, order_id, event_id, currency, channel, visitor_id, customer_keys, `lines.line_id`, `lines.sku`, `lines.name`,
        `lines.category`, `lines.quantity`, `lines.net_minor`, net_minor, total_minor, source, occurred_at, received_at, stored_at
    )
    SELECT
        {{tenant_id:String}}, concat('O-', leftPad(toString(cityHash64(buyer, 'id') % 1000000000), 9, '0'), '-', toString(buyer)),
        {_ID}, 'EUR', 'web',
        concat(
            'visitor-',
            leftPad(toString(cityHash64(intDiv(buyer, {{orders_each:UInt64}}) * {{orders_each:UInt64}}, 'visitor')), 20, '0')
        ),
        if(
            cityHash64(buyer, 'known') % 10 < 6,
            [concat('em:', lower(hex(cityHash64(buyer, 'em'))), lower(hex(cityHash64(buyer, 'ail'))))], []
        ),
        ['1', '2'], ['sku-1', 'sku-2'], ['', ''], ['shoes', 'tents'], [1, 1], [1000, 2000], 3000, 3000, 'api',
        fromUnixTimestamp64Milli(toInt64(minted), 'UTC') AS at, at, fromUnixTimestamp64Milli({{stored_ms:Int64}}, 'UTC')
    FROM (
        SELECT number AS buyer, cityHash64(number, 'order') AS seed, toUInt64({_PLACED}) AS minted
        FROM numbers({{first:UInt64}}, {{rows:UInt64}})
    )"""
LINKS = """
    INSERT INTO identity_links (tenant_id, key, other_key, event_id, linked_at, stored_at)
    SELECT tenant_id, pair.1, pair.2, event_id, occurred_at, stored_at
    FROM (
        SELECT *, arrayJoin([(concat('v:', visitor_id), customer), (customer, concat('v:', visitor_id))]) AS pair
        FROM (SELECT *, arrayJoin(customer_keys) AS customer FROM orders WHERE tenant_id = {tenant_id:String})
    )"""
LATE = f"""
    INSERT INTO touches (
        tenant_id, touch_id, kind, programme_id, affiliate_id, link_code, visitor_id, channel, occurred_at, received_at, stored_at,
        traffic_class, consent
    )
    SELECT
        {{tenant_id:String}}, {_ID}, 'click', 'main', 'affiliate-00', 'link-late', visitor_id, 'web',
        fromUnixTimestamp64Milli(toInt64(minted), 'UTC') AS at, at, fromUnixTimestamp64Milli({{stored_ms:Int64}}, 'UTC'), 'human', 'granted'
    FROM (
        SELECT
            visitor_id, cityHash64(order_id, {{stored_ms:Int64}}) AS seed,
            toUInt64(toUnixTimestamp64Milli(occurred_at) - {{before_ms:UInt64}}) AS minted
        FROM orders
        WHERE tenant_id = {{tenant_id:String}}
        ORDER BY cityHash64(order_id)
        LIMIT {{skip:UInt64}}, {{rows:UInt64}}
    )"""


def fill(
    events: EventsStore, orders: int, touches: int, end: Instant, stored_at: Instant, orders_each: int = 1, tenant: str = NORTH
) -> None:
    """So many orders in ninety days up to ``end``, and so many touches, evenly over their visitors, each up to 35 days before its order.

    With ``orders_each`` a visitor places so many orders, and has all the touches that they would have had.
    """
    each = max(1, touches // orders) * orders_each
    common = {"tenant_id": tenant, "end": end, "span": DAYS * DAY, "stored_ms": stored_at}
    for first, rows in _pieces(touches):
        events.command(TOUCHES, each=each, orders_each=orders_each, age=JOURNEY_DAYS * DAY, first=first, rows=rows, **common)
    for first, rows in _pieces(orders):
        events.command(ORDERS, orders_each=orders_each, first=first, rows=rows, **common)
    events.command(LINKS, tenant_id=tenant)


def late_clicks(events: EventsStore, orders: int, skip: int, stored_at: Instant, tenant: str = NORTH) -> None:
    """A click a minute before each of so many orders, of its visitor."""
    events.command(LATE, tenant_id=tenant, stored_ms=stored_at, before_ms=MINUTE, skip=skip, rows=orders)


def _pieces(rows: int) -> Sequence[tuple[int, int]]:
    return [(first, min(ROWS_AT_ONCE, rows - first)) for first in range(0, rows, ROWS_AT_ONCE)]
