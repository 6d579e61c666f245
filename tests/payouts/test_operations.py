"""Thousands of random operations against a plain model of the same merchant: no invariant of the ledger ever breaks.

The model keeps numbers in dicts and knows nothing of ledgers, cursors or rows. The invariants are those of docs/money.md.
"""

import os
import random
from collections import defaultdict
from fractions import Fraction

import pytest
from sqlalchemy import text

from core.clock import DAY, HOUR, MINUTE
from core.errors import BadInput, Conflict, NotAllowed
from core.events import Line
from payouts.balances import balances_of_tenant
from payouts.batches import approve, prepare, settle, void
from payouts.holds import release_due
from payouts.statement import read_statement
from payouts.verify import verify
from store.batches import read_batch
from tests.people import NORTH

STAFF = ("frank@north.example", "fiona@north.example", "felix@north.example")
SEED = int(os.environ.get("FAIRSHARE_TEST_SEED", "20261121"))
KINDS = {"": (8, 0), "A-1": (0, 250), "cards": (0, 0)}
"""By SKU: percent of the net, fixed amount per unit."""


def largest_remainder(total: int, weights: list[Fraction | int]) -> list[int]:
    exact = [Fraction(total) * weight / sum(weights) for weight in weights]
    parts = [share.numerator // share.denominator for share in exact]
    for index in sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))[: total - sum(parts)]:
        parts[index] += 1
    return parts


class ModelOrder:
    """One order: the nets that are left, and what the rules pay for them."""

    def __init__(self, lines: list[Line], placed_at: int) -> None:
        self.lines, self.placed_at = lines, placed_at
        self.left = [line.net_minor for line in lines]
        self.history = [list(self.left)]
        self.shares: dict[str, Fraction] = {}

    def refund(self, net: int | None, line: int | None) -> None:
        if line is not None:
            self.left[line] -= min(net or 0, self.left[line])
        elif sum(self.left):
            total = sum(self.left) if net is None else min(net, sum(self.left))
            self.left = [old - part for old, part in zip(self.left, largest_remainder(total, self.left), strict=True)]
        self.history.append(list(self.left))

    def pays(self, index: int, left: int) -> int:
        percent, unit = KINDS[self.lines[index].sku]
        line = self.lines[index]
        return left * percent // 100 + unit * (-(-line.quantity * left // line.net_minor))

    def earned(self) -> dict[str, int]:
        earned: dict[str, int] = defaultdict(int)
        for index in range(len(self.lines)):
            if not self.shares:
                continue
            steps = [self.pays(index, left[index]) for left in self.history]
            parts = largest_remainder(steps[0], list(self.shares.values()))
            for step in steps[1:]:
                fall = sum(parts) - step
                if fall:
                    parts = [part - lost for part, lost in zip(parts, largest_remainder(fall, parts), strict=True)]
            for affiliate_id, part in zip(self.shares, parts, strict=True):
                earned[affiliate_id] += part
        return earned


class Model:
    """What every balance must be: by order time, decision and refunds alone, and by which batches were settled."""

    def __init__(self) -> None:
        self.orders: dict[str, ModelOrder] = {}
        self.early: dict[str, list[tuple[int | None, int | None]]] = defaultdict(list)
        self.booked: dict[str, dict[str, int]] = {}
        self.open: dict[str, dict[str, int]] = {}
        self.paid: dict[str, int] = defaultdict(int)

    def accrue(self) -> None:
        self.booked = {order_id: order.earned() for order_id, order in self.orders.items()}

    def balances(self, now: int) -> dict[str, tuple[int, int, int, int]]:
        """Affiliate -> held, payable, batched, paid, as if holds were released to this moment."""
        held: dict[str, int] = defaultdict(int)
        total: dict[str, int] = defaultdict(int)
        for order_id, earned in self.booked.items():
            due = self.orders[order_id].placed_at + 30 * DAY <= now
            for affiliate_id, amount in earned.items():
                total[affiliate_id] += amount
                held[affiliate_id] += 0 if due else amount
        batched = {one: sum(batch.get(one, 0) for batch in self.open.values()) for one in ("anna", "ben", "charlie")}
        return {
            one: (held[one], total[one] - held[one] - batched[one] - self.paid[one], batched[one], self.paid[one])
            for one in ("anna", "ben", "charlie")
        }


class Run:
    """Draws operations and applies each to the world and to the model."""

    def __init__(self, world, seed: int) -> None:
        self.world, self.random, self.model = world, random.Random(seed), Model()
        self.ids, self.refunds = 0, 0
        self.preparers: dict[str, str] = {}
        self.operations = (
            (self.sell, 30),
            (self.refund, 25),
            (self.decide, 15),
            (self.accrue, 15),
            (self.wait, 8),
            (self.prepare, 5),
            (self.approve, 6),
            (self.settle, 4),
            (self.void, 1),
        )

    def step(self) -> None:
        self.world.clock.advance(self.random.randint(1, MINUTE))
        operations, weights = zip(*self.operations, strict=True)
        self.random.choices(operations, weights)[0]()

    def sell(self) -> None:
        self.ids += 1
        order_id = f"A-{self.ids}"
        if self.random.random() < 0.1:
            self._refund(order_id)
        kinds = self.random.choices(list(KINDS), (6, 2, 1), k=self.random.randint(1, 3))
        lines = [
            Line(str(number), self.random.randint(1, 200_00), sku, "", "gift cards" if sku == "cards" else "", self.random.randint(1, 3))
            for number, sku in enumerate(kinds)
        ]
        placed_at = self.world.clock() - self.random.choice((HOUR, 20 * DAY, 40 * DAY))
        self.world.order(order_id, *lines, at=placed_at)
        self.model.orders[order_id] = ModelOrder(lines, placed_at)
        self._decide(order_id)
        for refund in self.model.early.pop(order_id, []):
            self.model.orders[order_id].refund(*refund)

    def refund(self) -> None:
        if self.model.orders:
            self._refund(self.random.choice(list(self.model.orders)))

    def _refund(self, order_id: str) -> None:
        self.refunds += 1
        order = self.model.orders.get(order_id)
        net = self.random.choice((None, self.random.randint(1, 5), self.random.randint(1, 150_00)))
        line = self.random.randrange(len(order.lines)) if order and net and self.random.random() < 0.5 else None
        refund_id = f"r-{self.refunds:06}"
        if line is None:
            self.world.refund(order_id, refund_id, net)
        else:
            self.world.refund(order_id, refund_id, lines={str(line): net})
        if order:
            order.refund(net, line)
        else:
            self.model.early[order_id].append((net, line))

    def decide(self) -> None:
        if self.model.orders:
            self._decide(self.random.choice(list(self.model.orders)))

    def _decide(self, order_id: str) -> None:
        thirds = {"anna": Fraction(1, 3), "ben": Fraction(1, 3), "charlie": Fraction(1, 3)}
        uneven = {"ben": Fraction(2, 5), "anna": Fraction(3, 5)}
        shares = self.random.choices(
            ({"anna": Fraction(1)}, {"ben": Fraction(1)}, {"charlie": Fraction(1)}, thirds, uneven, {}), (6, 6, 1, 2, 2, 1)
        )[0]
        self.world.decide(order_id, shares=shares)
        self.model.orders[order_id].shares = shares

    def accrue(self) -> None:
        assert self.world.accrue().problems == ()
        self.model.accrue()

    def wait(self) -> None:
        self.world.clock.advance(self.random.randint(0, 10 * DAY))
        release_due(self.world.books, self.world.clock())

    def prepare(self) -> None:
        by, now = self.random.choice(STAFF), self.world.clock()
        # No bank details, no payout: Charlie has none. Nothing was posted in this very millisecond.
        expected = {one: payable for one, (_, payable, _, _) in self.model.balances(now).items() if payable > 0 and one != "charlie"}
        try:
            batch = prepare(self.world.books, NORTH, "EUR", now, by, now)
        except BadInput:
            assert expected == {}, "somebody could be paid"
            return
        assert {payout.affiliate_id: payout.amount_minor for payout in batch.payouts} == expected
        self.model.open[batch.batch_id], self.preparers[batch.batch_id] = expected, by

    def approve(self) -> None:
        if self.model.open:
            batch_id, by = self.random.choice(list(self.model.open)), self.random.choice(STAFF)
            with self.world.books.reading() as connection:
                batch = read_batch(connection, NORTH, batch_id)
            try:
                approve(self.world.books, NORTH, batch_id, by, batch.content_hash, self.world.clock())
            except NotAllowed:
                assert by == self.preparers[batch_id]
            except Conflict:
                assert batch.state == "approved"
            else:
                assert by != self.preparers[batch_id]

    def settle(self) -> None:
        if self.model.open:
            batch_id = self.random.choice(list(self.model.open))
            with self.world.books.reading() as connection:
                batch = read_batch(connection, NORTH, batch_id)
            try:
                settle(self.world.books, NORTH, batch_id, self.random.choice(STAFF), self.world.clock())
            except Conflict:
                assert batch.state == "prepared"
                return
            for affiliate_id, amount in self.model.open.pop(batch_id).items():
                self.model.paid[affiliate_id] += amount
                with self.world.books.reading() as connection:
                    assert read_statement(connection, NORTH, batch_id, affiliate_id).amount_minor == amount

    def void(self) -> None:
        if self.model.open:
            batch_id = self.random.choice(list(self.model.open))
            void(self.world.books, NORTH, batch_id, self.random.choice(STAFF), self.world.clock())
            del self.model.open[batch_id]

    def check(self) -> None:
        """Everything that must hold at any moment, once the books have caught up."""
        self.accrue()
        release_due(self.world.books, self.world.clock())
        assert verify(self.world.books).fault is None
        with self.world.books.reading() as connection:
            found = {one.affiliate_id: one for one in balances_of_tenant(connection, NORTH)}
            assert connection.scalar(text("SELECT COALESCE(SUM(amount_minor), 0) FROM postings")) == 0
            negative = (
                "SELECT COUNT(*) FROM (SELECT 1 FROM commissions GROUP BY order_id, line_id, affiliate_id HAVING SUM(amount_minor) < 0) t"
            )
            assert connection.scalar(text(negative)) == 0
        for affiliate_id, expected in self.model.balances(self.world.clock()).items():
            one = found.get(affiliate_id)
            assert (one and (one.held_minor, one.payable_minor, one.batched_minor, one.paid_minor)) in (expected, None)
            assert one is not None or expected == (0, 0, 0, 0)


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_thousand_operations_each(sqlite_world, seed):
    run = Run(sqlite_world, seed)
    for number in range(1_000):
        run.step()
        if number % 100 == 99:
            run.check()
    assert run.model.paid, f"the run of seed {seed} paid somebody"


def test_and_some_on_both_databases(world):
    run = Run(world, SEED + 2)
    for _ in range(200):
        run.step()
    run.check()
