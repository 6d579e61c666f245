"""A thousand random operations against a plain model of the same merchant: no invariant of the ledger ever breaks.

The model keeps numbers in dicts and knows nothing of ledgers, cursors or rows. The invariants are those of docs/money.md.
"""

import os
import random
from collections import defaultdict
from contextlib import suppress
from fractions import Fraction

from sqlalchemy import text

from core.catalogue import Tenant
from core.clock import DAY, HOUR, MINUTE
from core.errors import BadInput, Conflict, NotAllowed, NotFound
from core.events import Line
from payouts.adjustments import Proposal, propose
from payouts.adjustments import approve as approve_adjustment
from payouts.balances import balances_of_tenant
from payouts.batches import approve, prepare, settle, void
from payouts.holds import hold, reject, release_due, release_hold
from payouts.ledger import STATES
from payouts.periods import close_period, month_of
from payouts.statement import read_statement
from payouts.verify import verify
from store.batches import read_batch
from tests.people import NORTH

EARNERS = ("anna", "ben", "charlie")
LIMIT = 25_00
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


Place = tuple[str, str]
"""What a commission belongs to: an order (empty: a manual adjustment), and an affiliate."""


class Model:
    """What every balance must be: by order time, decision, refunds and people's words alone, and by which batches were settled."""

    def __init__(self) -> None:
        self.orders: dict[str, ModelOrder] = {}
        self.early: dict[str, list[tuple[int | None, int | None]]] = defaultdict(list)
        self.booked: dict[Place, int] = defaultdict(int)
        self.adjusted: dict[str, int] = defaultdict(int)
        self.holding: set[Place] = set()
        self.rejected: set[Place] = set()
        self.open: dict[str, dict[Place, int]] = {}
        self.paid: dict[Place, int] = defaultdict(int)

    def accrue(self) -> None:
        for order_id, order in self.orders.items():
            earned = order.earned()
            for affiliate_id in EARNERS:
                self.booked[order_id, affiliate_id] = 0 if self._is_rejected(order_id, affiliate_id) else earned.get(affiliate_id, 0)

    def _is_rejected(self, order_id: str, affiliate_id: str) -> bool:
        return not self.rejected.isdisjoint({(order_id, ""), (order_id, affiliate_id)})

    def reject(self, order_id: str, affiliate_id: str) -> None:
        self.rejected.add((order_id, affiliate_id))
        self.holding.discard((order_id, affiliate_id))
        for name in EARNERS:
            if self._is_rejected(order_id, name):
                self.booked[order_id, name] = 0

    def state_of(self, place: Place, now: int) -> str:
        order_id, affiliate_id = place
        subjects = {("", affiliate_id), (order_id, ""), place} if order_id else {place}
        if not self.holding.isdisjoint(subjects):
            return "held"
        return "approved" if not order_id or self.orders[order_id].placed_at + 30 * DAY <= now else "pending"

    def unclaimed(self) -> dict[Place, int]:
        """What was booked and is in no batch."""
        left = defaultdict(int, self.booked)
        for affiliate_id, amount in self.adjusted.items():
            left["", affiliate_id] += amount
        for taken in (*self.open.values(), self.paid):
            for place, amount in taken.items():
                left[place] -= amount
        return left

    def balances(self, now: int) -> dict[str, tuple[int, ...]]:
        """Affiliate -> pending, held, approved, payable, paid, as if holds were released to this moment."""
        sums: dict[str, dict[str, int]] = {one: dict.fromkeys(STATES, 0) for one in EARNERS}
        for place, amount in self.unclaimed().items():
            sums[place[1]][self.state_of(place, now)] += amount
        for batch in self.open.values():
            for place, amount in batch.items():
                sums[place[1]]["payable"] += amount
        for place, amount in self.paid.items():
            sums[place[1]]["paid"] += amount
        return {one: tuple(states.values()) for one, states in sums.items()}

    def claims(self, now: int) -> dict[Place, int]:
        """What a batch takes: everything approved of those whose sum is above zero. No bank details, no payout: Charlie has none."""
        approved = {place: amount for place, amount in self.unclaimed().items() if self.state_of(place, now) == "approved"}
        sums: dict[str, int] = defaultdict(int)
        for (_, affiliate_id), amount in approved.items():
            sums[affiliate_id] += amount
        return {place: amount for place, amount in approved.items() if amount and sums[place[1]] > 0 and place[1] != "charlie"}


def by_affiliate(claims: dict[Place, int]) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for (_, affiliate_id), amount in claims.items():
        sums[affiliate_id] += amount
    return sums


class Run:
    """Draws operations and applies each to the world and to the model."""

    def __init__(self, world, seed: int) -> None:
        world.put(Tenant(NORTH, "North Shoes", "EUR", adjustment_limit_minor=LIMIT))
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
            (self.hold, 4),
            (self.reject, 2),
            (self.adjust, 3),
            (self.close, 1),
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
        claims = self.model.claims(now)  # nothing was posted in this very millisecond
        try:
            batch = prepare(self.world.books, NORTH, "EUR", now, by, now)
        except BadInput:
            assert claims == {}, "somebody could be paid"
            return
        assert {payout.affiliate_id: payout.amount_minor for payout in batch.payouts} == by_affiliate(claims)
        self.model.open[batch.batch_id], self.preparers[batch.batch_id] = claims, by

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
            claims = self.model.open.pop(batch_id)
            for place, amount in claims.items():
                self.model.paid[place] += amount
            for affiliate_id, amount in by_affiliate(claims).items():
                with self.world.books.reading() as connection:
                    assert read_statement(connection, NORTH, batch_id, affiliate_id).amount_minor == amount

    def void(self) -> None:
        if self.model.open:
            batch_id = self.random.choice(list(self.model.open))
            void(self.world.books, NORTH, batch_id, self.random.choice(STAFF), self.world.clock())
            del self.model.open[batch_id]

    def hold(self) -> None:
        """Hold or release whatever is drawn; what the model would refuse must be refused."""
        place = self._subject()
        step = self.random.choice((hold, release_hold)) if place in self.model.holding else hold
        expected = not self.model.rejected.isdisjoint({place, (place[0], "")}) or (step is hold and place in self.model.holding)
        try:
            step(self.world.books, NORTH, *place, "drawn", self.random.choice(STAFF), self.world.clock())
        except Conflict:
            assert expected, "it was neither rejected nor on hold"
        except NotFound:
            assert not self._was_booked(place)
        else:
            assert not expected
            (self.model.holding.add if step is hold else self.model.holding.remove)(place)

    def reject(self) -> None:
        place = self._subject()
        if not place[0]:
            return
        try:
            reject(self.world.books, NORTH, *place, "drawn", self.random.choice(STAFF), self.world.clock())
        except Conflict:
            assert not self.model.rejected.isdisjoint({place, (place[0], "")})
        except NotFound:
            assert not self._was_booked(place)
        else:
            self.model.reject(*place)

    def _subject(self) -> Place:
        if self.model.holding and self.random.random() < 0.6:
            return self.random.choice(sorted(self.model.holding))
        order_id = self.random.choice(["", *self.model.orders])
        return order_id, self.random.choice(EARNERS if not order_id else ("", *EARNERS))

    def _was_booked(self, place: Place) -> bool:
        """Certainly: what earns nothing now may have been booked before."""
        mine = [amount for (order_id, who), amount in self.model.booked.items() if place[0] in ("", order_id) and place[1] in ("", who)]
        return any(mine)

    def adjust(self) -> None:
        who, amount = self.random.choice(EARNERS), self.random.choice((-1, 1)) * self.random.randint(1, 40_00)
        proposer, second = self.random.choice(STAFF), self.random.choice(STAFF)
        made = propose(self.world.books, NORTH, Proposal(who, amount, "EUR", "drawn"), proposer, self.world.clock())
        assert (made.state == "proposed") == (abs(amount) > LIMIT)
        if made.state == "proposed":
            try:
                approve_adjustment(self.world.books, NORTH, made.adjustment_id, second, self.world.clock())
            except NotAllowed:
                assert second == proposer
                return
            assert second != proposer
        self.model.adjusted[who] += amount

    def close(self) -> None:
        """The month before this one, where it is open still."""
        month = month_of(self.world.clock() - 31 * DAY, "UTC")
        with suppress(Conflict):
            close_period(self.world.books, NORTH, month, self.random.choice(STAFF), self.world.clock())

    def check(self) -> None:
        """Everything that must hold at any moment, once the books have caught up."""
        self.accrue()
        release_due(self.world.books, self.world.clock())
        assert verify(self.world.books).fault is None
        with self.world.books.reading() as connection:
            found = {one.affiliate_id: one for one in balances_of_tenant(connection, NORTH)}
            assert connection.scalar(text("SELECT COALESCE(SUM(amount_minor), 0) FROM postings")) == 0
            negative = (
                "SELECT COUNT(*) FROM (SELECT 1 FROM commissions WHERE order_id <> '' GROUP BY order_id, line_id, affiliate_id "
                "HAVING SUM(amount_minor) < 0) t"
            )
            assert connection.scalar(text(negative)) == 0
        for affiliate_id, expected in self.model.balances(self.world.clock()).items():
            one = found.get(affiliate_id)
            assert tuple(getattr(one, f"{state}_minor") if one else 0 for state in STATES) == expected, affiliate_id


def test_a_thousand_operations(sqlite_world):
    run = Run(sqlite_world, SEED)
    for number in range(1_000):
        run.step()
        if number % 100 == 99:
            run.check()
    assert run.model.paid, f"the run of seed {SEED} paid somebody"


def test_and_some_on_both_databases(world):
    run = Run(world, SEED + 1)
    for _ in range(200):
        run.step()
    run.check()
