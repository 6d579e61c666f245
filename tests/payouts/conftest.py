"""A merchant with a rate card, two affiliates with bank accounts, and an events store that is four dicts."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from core.catalogue import Affiliate, Membership, Programme, RateCard, Rule, Tenant
from core.clock import DAY, HOUR, Instant
from core.credit import Credit
from core.events import CustomerStatus, Lead, Line, Order, Refund, RefundLine
from core.ids import event_id
from core.leads import name_of
from payouts.accrue import AccrualReport, accrue_once
from payouts.balances import Balance, balances_of_affiliate
from payouts.orders import Verdict
from payouts.setting import Contact
from store.books import Books
from store.catalogue import put
from store.commissions import Commission, of_orders
from store.events import Query
from tests.fakes import FakeClock
from tests.people import NORTH, SOUTH

PERCENT = Rule("all", priority=900, percent_bps=800)
RULES = (
    PERCENT,
    Rule("shoes-new", priority=10, percent_bps=1000, categories=("shoes",), customer_status="new"),
    Rule("cards", priority=20, percent_bps=0, categories=("gift cards",)),
    Rule("unit", priority=30, fixed_minor=250, per="unit", skus=("A-1",)),
    Rule("bonus", priority=40, fixed_minor=500, per="order", categories=("bundle",)),
    Rule("members", priority=50, percent_bps=100, categories=("club",), customer_status="new"),
)
HOLD_DAYS = 30


class FakeEvents:
    """Answers the questions of ``payouts/queries`` from memory; the real store's answers are tested beside it."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], Order] = {}
        self.leads: dict[tuple[str, str], Lead] = {}
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        self.refunds: dict[tuple[str, str, str], Refund] = {}
        self.touches: dict[tuple[str, str], Contact] = {}
        self.changes: dict[tuple[str, str], Instant] = {}
        self.asked: list[str] = []

    def select(self, query: Query, **params: Any) -> list[tuple[Any, ...]]:
        self.asked.append(query.name)
        return list(getattr(self, query.name)(**params))

    def changed_orders(
        self, decided_since_ms: int, refunded_since_ms: int, after_ms: int, after_tenant: str, after_order: str, at_most: int
    ) -> Any:
        since = min(decided_since_ms, refunded_since_ms)
        rows = ((*key, at, self._mark(*key), at, at) for key, at in self.changes.items() if at >= since)
        ordered = sorted(rows, key=lambda row: (row[2], row[0], row[1]))
        return [row for row in ordered if (row[2], row[0], row[1]) > (after_ms, after_tenant, after_order)][:at_most]

    def _mark(self, tenant_id: str, order_id: str) -> int:
        refunds = sum(key[:2] == (tenant_id, order_id) for key in self.refunds)
        verdict = self.verdicts.get((tenant_id, order_id))
        return 1_000 * refunds + (verdict.revision if verdict else 0)

    def orders_by_id(self, tenant_id: str, order_ids: list[str]) -> Iterator[Any]:
        for order_id in sorted(order_ids):
            if order := self.orders.get((tenant_id, order_id)):
                lines = [
                    (
                        *(line.line_id, line.sku, line.name, line.category, line.quantity, line.net_minor),
                        *(line.brand, line.kind, line.discount_minor, dict(line.attributes)),
                    )
                    for line in order.lines
                ]
                head = (order_id, order.event_id, order.currency, order.store_id, order.customer_keys, order.customer_status)
                times = (order.occurred_at, order.received_at)
                more = ("DE", order.channel, list(order.coupons), dict(order.attributes), order.shipping_minor, order.tax_minor)
                yield (*head, order.test, *times, *more, *(list(column) for column in zip(*lines, strict=True)))

    def leads_by_id(self, tenant_id: str, lead_ids: list[str], digests: list[str]) -> Iterator[Any]:
        for lead_id in sorted(lead_ids):
            if lead := self.leads.get((tenant_id, lead_id)):
                yield lead_id, lead.event_id, lead.name, lead.channel, "DE", lead.occurred_at, lead.received_at

    def credited_touches(self, tenant_id: str, touch_ids: list[str], to_ms: int) -> Iterator[Any]:
        for touch_id in sorted(touch_ids):
            contact = self.touches.get((tenant_id, touch_id))
            if contact is not None and contact.occurred_at <= to_ms:
                yield msgspec.structs.astuple(contact)

    def newest_decisions(self, tenant_id: str, order_ids: list[str]) -> Iterator[Any]:
        for order_id in sorted(order_ids):
            if verdict := self.verdicts.get((tenant_id, order_id)):
                credits = [msgspec.structs.astuple(credit) for credit in verdict.credits]
                columns = [list(column) for column in zip(*credits, strict=True)] or [[], [], [], []]
                numbers = verdict.order_number, verdict.first_ordered_at
                head = (order_id, verdict.revision, verdict.programme_id, verdict.policy_version, verdict.result)
                yield (*head, *columns, verdict.inputs_hash, verdict.customer_status, list(verdict.segments), *numbers)

    def placed_orders(self, tenant_id: str, from_ms: int, to_ms: int) -> Iterator[Any]:
        mine = [order for (tenant, _), order in self.orders.items() if tenant == tenant_id and from_ms <= order.occurred_at < to_ms]
        return ((order.order_id, order.occurred_at) for order in sorted(mine, key=lambda order: (order.occurred_at, order.order_id)))

    def orders_placed(self, tenant_id: str, from_ms: int, to_ms: int) -> Any:
        return self.orders_by_id(tenant_id, [order_id for order_id, _ in self.placed_orders(tenant_id, from_ms, to_ms + 1)])

    def decisions_placed(self, tenant_id: str, from_ms: int, to_ms: int) -> Any:
        return self.newest_decisions(tenant_id, [order_id for order_id, _ in self.placed_orders(tenant_id, from_ms, to_ms + 1)])

    def refunds_placed(self, tenant_id: str, from_ms: int, to_ms: int) -> Any:
        return self.refunds_of_orders(tenant_id, [order_id for order_id, _ in self.placed_orders(tenant_id, from_ms, to_ms + 1)])

    def refunds_of_orders(self, tenant_id: str, order_ids: list[str]) -> Iterator[Any]:
        for (tenant, order_id, refund_id), refund in sorted(self.refunds.items()):
            if tenant == tenant_id and order_id in order_ids:
                nets = ([line.line_id for line in refund.lines], [line.net_minor for line in refund.lines])
                head = (order_id, refund_id, refund.event_id, refund.currency, refund.occurred_at, refund.received_at)
                yield (*head, *nets, refund.net_minor, refund.reason)


class World:
    """Orders, decisions and refunds in a sentence each; times are the clock's unless given."""

    def __init__(self, books: Books, clock: FakeClock) -> None:
        self.books, self.clock, self.events = books, clock, FakeEvents()
        self._minted = 0

    def order(self, order_id: str, *lines: Line, tenant_id: str = NORTH, at: Instant | None = None, **fields: Any) -> Order:
        at = self.clock() - HOUR if at is None else at
        lines = lines or (Line("1", 100_00),)
        order = Order(self._mint(at), tenant_id, order_id, fields.pop("currency", "EUR"), at, at, lines, **fields)
        self.events.orders[(tenant_id, order_id)] = order
        return order

    def decide(
        self,
        order_id: str,
        *affiliates: str,
        shares: Mapping[str, Fraction] | None = None,
        tenant_id: str = NORTH,
        programme_id: str = "main",
        customer_status: CustomerStatus = "",
        segments: tuple[str, ...] = (),
    ) -> Verdict:
        """The next revision: equal shares for the named affiliates, or the given ones; nobody: unattributed."""
        shares = shares or {name: Fraction(1, len(affiliates)) for name in affiliates}
        credits = tuple(Credit(name, f"touch-{name}", share.numerator, share.denominator) for name, share in shares.items())
        before = self.events.verdicts.get((tenant_id, order_id))
        revision = before.revision + 1 if before else 1
        result, inputs_hash = "credited" if credits else "no_touch", f"inputs-{revision}"
        verdict = Verdict(revision, programme_id, 1, result, credits, inputs_hash, customer_status, segments)
        self.events.verdicts[(tenant_id, order_id)] = verdict
        self.events.changes[(tenant_id, order_id)] = self.clock()
        return verdict

    def sell(self, order_id: str, affiliate_id: str, *lines: Line, **fields: Any) -> Order:
        """A decided order, all of it one affiliate's."""
        order = self.order(order_id, *lines, **fields)
        self.decide(order_id, affiliate_id, tenant_id=order.tenant_id)
        return order

    def lead(self, lead_id: str, *affiliates: str, name: str = "sign-up", at: Instant | None = None) -> str:
        """A decided lead, in equal shares the named affiliates'; returns its name."""
        at = self.clock() - HOUR if at is None else at
        self.events.leads[NORTH, lead_id] = Lead(self._mint(at), NORTH, lead_id, name, at, at)
        self.decide(name_of(lead_id), *affiliates)
        return name_of(lead_id)

    def refund(
        self, order_id: str, refund_id: str = "r1", net_minor: int | None = None, lines: Mapping[str, int] | None = None, **fields: Any
    ) -> Refund:
        tenant_id, at = fields.pop("tenant_id", NORTH), fields.pop("at", self.clock())
        taken = tuple(RefundLine(line_id, net) for line_id, net in (lines or {}).items())
        currency = fields.pop("currency", "EUR")
        refund = Refund(self._mint(at), tenant_id, order_id, refund_id, currency, at, at, taken, net_minor, **fields)
        self.events.refunds[(tenant_id, order_id, refund_id)] = refund
        self.events.changes[(tenant_id, order_id)] = self.clock()
        return refund

    def accrue(self) -> AccrualReport:
        return accrue_once(self.events, self.books, self.clock)  # type: ignore[arg-type]

    def rows(self, order_id: str, tenant_id: str = NORTH) -> list[Commission]:
        with self.books.reading() as connection:
            return of_orders(connection, tenant_id, [order_id]).get(order_id, [])

    def earned(self, order_id: str, tenant_id: str = NORTH) -> dict[str, int]:
        """What the order has earned each affiliate by now, in minor units."""
        sums: dict[str, int] = {}
        for row in self.rows(order_id, tenant_id):
            sums[row.affiliate_id] = sums.get(row.affiliate_id, 0) + row.amount_minor
        return sums

    def balance(self, affiliate_id: str, tenant_id: str = NORTH) -> Balance:
        with self.books.reading() as connection:
            found = balances_of_affiliate(connection, affiliate_id, tenant_id)
        assert len(found) <= 1, "one currency"
        return found[0] if found else Balance(tenant_id, affiliate_id, "EUR")

    def put(self, *records: Any) -> None:
        with self.books.writing() as connection:
            for record in records:
                put(connection, record, "martha@north.example", self.clock())

    def _mint(self, at: Instant) -> str:
        self._minted += 1
        return event_id(at, self._minted)


def catalogue(clock: FakeClock) -> Iterable[Any]:
    yield Tenant(NORTH, "North Shoes", "EUR")
    yield Tenant(SOUTH, "South Books", "EUR")
    yield Affiliate("anna", "Anna", "anna@blog.example", account_holder="Anna Ahorn", iban="DE89370400440532013000")
    yield Affiliate("ben", "Ben", "ben@deals.example", account_holder="Ben Birke", iban="NL91ABNA0417164300")
    yield Affiliate("charlie", "Charlie", "charlie@app.example")
    for tenant_id in (NORTH, SOUTH):
        yield Programme(tenant_id, "main", "Main", "https://shop.example/")
        yield RateCard(tenant_id, "main", 1, clock() - 365 * DAY, HOLD_DAYS, RULES)
        for affiliate_id in ("anna", "ben", "charlie"):
            yield Membership(tenant_id, "main", affiliate_id, "approved", clock(), clock())


@pytest.fixture
def world(books: Books, clock: FakeClock) -> World:
    """North and South with their programmes; once on SQLite and once on PostgreSQL."""
    made = World(books, clock)
    made.put(*catalogue(clock))
    return made


@pytest.fixture
def sqlite_world(sqlite_books: Books, clock: FakeClock) -> World:
    """The same, on SQLite only."""
    made = World(sqlite_books, clock)
    made.put(*catalogue(clock))
    return made
