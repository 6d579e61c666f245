"""The ledger under random operations, beside a plain model of it: what the suite runs in small and ``benchmarks.ledger_laws`` in large.

The model keeps a list of rows, a set of holds and sums in a dict; it knows nothing of entries, statements or transactions. Bookings
(orders, refunds, other decisions) come many to a transaction, as accrual posts them; what people do comes one by one. After each
transaction the sums of all new postings are the model's, in every account, affiliate and currency.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import msgspec
from sqlalchemy import event

from core.catalogue import Affiliate, Membership, Programme, Tenant
from core.clock import DAY, HOUR, MINUTE
from core.errors import BadInput, Conflict, NotAllowed, NotFound
from payouts.adjustments import Proposal, propose
from payouts.adjustments import approve as approve_adjustment
from payouts.batches import approve, prepare, settle, void
from payouts.checkpoints import Checkpoint
from payouts.digests import commission_id, evidence
from payouts.holds import hold, reject, release_due, release_hold, states_for
from payouts.ledger import Draft, accrual_postings, post_all
from payouts.periods import close_period, month_of
from payouts.verify import verify
from store.batches import read_batches
from store.books import Books
from store.catalogue import put
from store.commissions import Commission, insert_commissions, state_sums
from store.ledger import calendar_of, read_pages
from tests.fakes import FakeClock

TENANT = "laws"
AFFILIATES = tuple(f"affiliate-{number}" for number in range(12))
WITHOUT_ACCOUNT = AFFILIATES[-1]
CURRENCIES = ("EUR", "USD", "JPY", "KWD")
STAFF = ("frank@laws.example", "fiona@laws.example", "felix@laws.example")
LIMIT = 25_00
HOLD_DAYS = 30
VERIFY_EVERY = 100
Place = tuple[str, str]
Sums = dict[tuple[str, str, str], int]


class Row:
    """A commission as the model sees it: an amount that is in one state."""

    def __init__(self, order_id: str, affiliate_id: str, currency: str, amount: int, hold_until: int, state: str) -> None:
        self.order_id, self.affiliate_id, self.currency, self.amount = order_id, affiliate_id, currency, amount
        self.hold_until, self.state = hold_until, state


class Model:
    """What every account must be."""

    def __init__(self) -> None:
        self.sums: Sums = defaultdict(int)
        self.open: dict[Row, None] = {}  # pending, held or approved, oldest first
        self.orders: dict[str, tuple[str, int]] = {}
        self.earned: dict[Place, int] = defaultdict(int)
        self.booked: set[Place] = set()
        self.holding: set[Place] = set()
        self.rejected: set[Place] = set()
        self.batches: dict[str, list[Row]] = {}

    def covered(self, row: Row) -> bool:
        subjects = {("", row.affiliate_id)} | ({(row.order_id, ""), (row.order_id, row.affiliate_id)} if row.order_id else set())
        return not self.holding.isdisjoint(subjects)

    def add(self, order_id: str, affiliate_id: str, currency: str, amount: int, hold_until: int, now: int) -> None:
        row = Row(order_id, affiliate_id, currency, amount, hold_until, "approved" if hold_until <= now else "pending")
        if self.covered(row):
            row.state = "held"
        self.sums[affiliate_id, currency, "expense" if amount > 0 else "reversed"] -= amount
        self.sums[affiliate_id, currency, row.state] += amount
        self.open[row] = None
        self.earned[order_id, affiliate_id] += amount
        self.booked |= {(order_id, affiliate_id), (order_id, ""), ("", affiliate_id)}

    def move(self, row: Row, state: str) -> None:
        self.sums[row.affiliate_id, row.currency, row.state] -= row.amount
        self.sums[row.affiliate_id, row.currency, state] += row.amount
        row.state = state

    def release(self, now: int) -> None:
        for row in [row for row in self.open if row.state == "pending" and row.hold_until <= now]:
            self.move(row, "approved")

    def settle_states(self, place: Place, now: int) -> None:
        """Rows of a place go where they rest now that somebody said something of it."""
        for row in [row for row in self.open if place[0] in ("", row.order_id) and place[1] in ("", row.affiliate_id)]:
            if self.covered(row):
                self.move(row, "held")
            elif row.state == "held":
                self.move(row, "approved" if row.hold_until <= now else "pending")

    def is_rejected(self, order_id: str, affiliate_id: str) -> bool:
        return not self.rejected.isdisjoint({(order_id, ""), (order_id, affiliate_id)})

    def claims(self, currency: str) -> list[Row]:
        rows = [row for row in self.open if row.state == "approved" and row.currency == currency]
        sums: dict[str, int] = defaultdict(int)
        for row in rows:
            sums[row.affiliate_id] += row.amount
        return [row for row in rows if sums[row.affiliate_id] > 0 and row.affiliate_id != WITHOUT_ACCOUNT]


class Fault(Exception):
    """The connection is gone, in the midst of it."""


class Laws:
    """Draws operations and applies each to the books and to the model; :meth:`step` checks after each transaction."""

    def __init__(self, books: Books, seed: int, per_transaction: int = 60) -> None:
        self.books, self.random, self.clock = books, random.Random(seed), FakeClock()
        self.model, self.per_transaction = Model(), per_transaction
        self.operations, self.steps, self.numbers, self.preparers = 0, 0, 0, dict[str, str]()
        self.seen: Sums = defaultdict(int)
        self.last, self.checkpoints = 0, dict[str, Checkpoint]()
        self.approvals, self.hashes = dict[str, int](), dict[str, str]()
        self.done: dict[str, int] = defaultdict(int)
        with books.writing() as connection:
            for record in catalogue(self.clock()):
                put(connection, record, "laws", self.clock())

    def run(self, operations: int, told: Callable[[int], None] = lambda _done: None) -> None:
        while self.operations < operations:
            self.step()
            told(self.operations)
        self.check(whole=True)

    def step(self) -> None:
        drawn = (self.book, self.release, self.hold, self.reject, self.adjust, self.prepare, self.approve, self.pay, self.void, self.close)
        (action,) = self.random.choices(drawn, (50, 8, 14, 4, 8, 6, 8, 6, 2, 1))
        self.clock.advance(self.random.randint(1, 5 * HOUR))
        before = self.operations
        if self.random.random() < 0.03:
            with failing(self.books, self.random.randint(1, 8)) as fault:
                self.attempt(action, fault)
        else:
            self.attempt(action, lambda: False)
        self.operations = max(self.operations, before + 1)
        self.steps += 1
        self.check(whole=False)

    def attempt(self, action: Callable[[], None], failed: Callable[[], bool]) -> None:
        """One operation; where the connection failed within it, nothing of it is there, and neither in the model."""
        try:
            action()
        except Fault:
            assert failed()
            self.done["fault"] += 1
        else:
            self.done[action.__name__] += 1

    # --- what comes by itself

    def book(self) -> None:
        """Orders, refunds and other decisions, in one transaction; now and then all of it twice."""
        now, drafts, booked = self.clock(), [], []
        for _ in range(self.random.randint(1, self.per_transaction)):
            rows = self._event(now, booked)
            if rows:
                booked.append(rows)
        with self.books.writing() as connection:
            self.books.lock_tenant(connection, TENANT)
            states = iter(states_for(connection, TENANT, [row for rows in booked for row in rows], now))
            booked = [[next(states) for _ in rows] for rows in booked]
            drafts = [draft_of(rows, now) for rows in booked]
            numbers = post_all(connection, drafts)
            if self.random.random() < 0.1:
                again = [msgspec.structs.replace(draft, posted_at=now + MINUTE) for draft in drafts]
                assert post_all(connection, again) == numbers, "a key is used once, for ever"
            named = zip(booked, numbers, strict=True)
            insert_commissions(connection, [msgspec.structs.replace(row, entry_number=number) for rows, number in named for row in rows])
        for rows in booked:
            self.operations += 1
            for row in rows:
                self.model.orders.setdefault(row.order_id, (row.currency, row.hold_until))
                self.model.add(row.order_id, row.affiliate_id, row.currency, row.amount_minor, row.hold_until, now)

    def _event(self, now: int, booked: list[list[Commission]]) -> list[Commission]:
        model, kind = self.model, self.random.random()
        if kind < 0.5 or not model.orders:
            order_id, currency = f"A-{self._number()}", self.random.choice(CURRENCIES)
            hold_until = now - self.random.choice((HOUR, 20 * DAY, 40 * DAY)) + HOLD_DAYS * DAY
            earners = self.random.sample(AFFILIATES, self.random.choice((1, 1, 1, 2, 3)))
            return [self._row(order_id, one, currency, self.random.randint(1, 90_00), hold_until, now, "sale") for one in earners]
        order_id = self.random.choice(self._recent())
        if any(order_id == rows[0].order_id for rows in booked):
            return []
        currency, hold_until = model.orders[order_id]
        left = [(one, model.earned[order_id, one]) for one in AFFILIATES if model.earned.get((order_id, one), 0) > 0]
        if not left or model.is_rejected(order_id, ""):
            return []
        affiliate_id, amount = self.random.choice(left)
        if kind < 0.8:
            return [self._row(order_id, affiliate_id, currency, -self.random.randint(1, amount), hold_until, now, "refund")]
        other = self.random.choice(AFFILIATES)
        rows = [self._row(order_id, affiliate_id, currency, -amount, hold_until, now, "redecision")]
        if other != affiliate_id and not model.is_rejected(order_id, other):
            rows.append(self._row(order_id, other, currency, amount, hold_until, now, "redecision"))
        return rows

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def _recent(self) -> list[str]:
        """Mostly young orders, so that a long run asks of each as often as a short one."""
        return list(islice(reversed(self.model.orders), 400))

    def _row(self, order_id: str, affiliate_id: str, currency: str, amount: int, hold_until: int, now: int, kind: str) -> Commission:
        converted = currency == "JPY"
        number = self._number()
        return made(
            tenant_id=TENANT, commission_id="", programme_id="main", order_id=order_id, line_id="1", affiliate_id=affiliate_id, kind=kind,
            currency=currency, base_minor=amount, amount_minor=amount, rate_card_version=1, rule_id="all", reason="", touch_id="",
            decision_revision=1, policy_version=1, inputs_hash="", state="approved" if hold_until <= now else "pending",
            ordered_at=hold_until - HOLD_DAYS * DAY, hold_until=hold_until, posted_at=now - 1, entry_number=None,
            idempotency_key=f"{order_id}:{number}", original_currency="EUR" if converted else "",
            original_minor=amount * 2 if converted else 0, rate="0.5" if converted else "", rate_source="ECB" if converted else "",
            rate_date="2026-11-20" if converted else "",
        )  # fmt: skip

    def release(self) -> None:
        self.clock.advance(self.random.randint(0, 3 * DAY))
        now = self.clock()
        release_due(self.books, now)
        self.model.release(now)

    # --- what people do

    def hold(self) -> None:
        """Hold, or release a hold; what the model would refuse must be refused."""
        place, now = self._place(), self.clock()
        ends = place in self.model.holding and self.random.random() < 0.7
        refused = (place[0] and self.model.is_rejected(*place)) or (place in self.model.holding) != ends
        try:
            (release_hold if ends else hold)(self.books, TENANT, *place, "drawn", self.random.choice(STAFF), now)
        except Conflict:
            assert refused, f"{place} was neither rejected nor on hold"
        except NotFound:
            assert place not in self.model.booked
        else:
            assert not refused
            (self.model.holding.discard if ends else self.model.holding.add)(place)
            self.model.settle_states(place, now)

    def reject(self) -> None:
        place, now = self._place(), self.clock()
        if not place[0]:
            return
        try:
            reject(self.books, TENANT, *place, "drawn", self.random.choice(STAFF), now)
        except Conflict:
            assert self.model.is_rejected(*place)
        except NotFound:
            assert place not in self.model.booked
        else:
            assert not self.model.is_rejected(*place)
            self.model.rejected.add(place)
            self.model.holding.discard(place)
            self.model.settle_states(place, now)
            currency, hold_until = self.model.orders[place[0]]
            for one in AFFILIATES if not place[1] else (place[1],):
                if amount := self.model.earned.get((place[0], one), 0):
                    self.model.add(place[0], one, currency, -amount, hold_until, now)

    def _place(self) -> Place:
        if self.model.holding and self.random.random() < 0.5:
            return self.random.choice(sorted(self.model.holding))
        if not self.model.orders or self.random.random() < 0.1:
            return "", self.random.choice(AFFILIATES)
        order_id = self.random.choice(self._recent())
        mine = [one for one in AFFILIATES if (order_id, one) in self.model.booked]
        return order_id, self.random.choice(("", *mine, self.random.choice(AFFILIATES)))

    def adjust(self) -> None:
        who, currency, now = self.random.choice(AFFILIATES), self.random.choice(CURRENCIES), self.clock()
        amount = self.random.choice((-1, 1)) * self.random.randint(1, 40_00)
        proposer, second = self.random.choice(STAFF), self.random.choice(STAFF)
        made = propose(self.books, TENANT, Proposal(who, amount, currency, "drawn"), proposer, now)
        assert (made.state == "proposed") == (currency != "EUR" or abs(amount) > LIMIT), "the limit is one in the merchant's own currency"
        if made.state == "proposed":
            try:
                approve_adjustment(self.books, TENANT, made.adjustment_id, second, now)
            except NotAllowed:
                assert second == proposer
                return
            assert second != proposer
        self.model.add("", who, currency, amount, now, now)

    def prepare(self) -> None:
        by, now, currency = self.random.choice(STAFF), self.clock(), self.random.choice(CURRENCIES)
        try:
            batch = prepare(self.books, TENANT, currency, now + 1, by, now)
        except BadInput:
            return  # nothing moved, which the check after it sees
        self.model.release(now)
        claims = self.model.claims(currency)
        paid: dict[str, int] = defaultdict(int)
        for row in claims:
            paid[row.affiliate_id] += row.amount
            self.model.move(row, "payable")
            del self.model.open[row]
        assert {payout.affiliate_id: payout.amount_minor for payout in batch.payouts} == paid
        self.model.batches[batch.batch_id], self.preparers[batch.batch_id] = claims, by
        self.approvals[batch.batch_id] = 0
        self.hashes[batch.batch_id] = batch.content_hash

    def approve(self) -> None:
        if not self.model.batches:
            return
        batch_id, by = self.random.choice(list(self.model.batches)), self.random.choice(STAFF)
        try:
            self._step(lambda: approve(self.books, TENANT, batch_id, by, self.hashes[batch_id], self.clock()), batch_id, "approved")
        except NotAllowed:
            assert by == self.preparers[batch_id]
        except Conflict:
            assert self.approvals[batch_id], "it was approved before"
        else:
            assert by != self.preparers[batch_id]
            self.approvals[batch_id] = 1

    def pay(self) -> None:
        """Settle a batch; one that nobody approved fails, and nothing of it is paid."""
        if not self.model.batches:
            return
        batch_id, by = self.random.choice(list(self.model.batches)), self.random.choice(STAFF)
        try:
            self._step(lambda: settle(self.books, TENANT, batch_id, by, self.clock()), batch_id, "settled")
        except Conflict:
            assert not self.approvals[batch_id]
            return
        assert self.approvals[batch_id]
        for row in self.model.batches.pop(batch_id):
            self.model.move(row, "paid")

    def _step(self, step: Callable[[], object], batch_id: str, state: str) -> None:
        """A step of a batch. The connection may fail when it is done and only read once more: then the books say that it is."""
        was = self._state(batch_id)
        try:
            step()
        except Fault:
            if was == state or self._state(batch_id) != state:
                raise

    def _state(self, batch_id: str) -> str:
        with self.books.reading() as connection:
            return next(batch.state for batch in read_batches(connection, TENANT) if batch.batch_id == batch_id)

    def void(self) -> None:
        if not self.model.batches:
            return
        batch_id, by = self.random.choice(list(self.model.batches)), self.random.choice(STAFF)
        self._step(lambda: void(self.books, TENANT, batch_id, by, self.clock()), batch_id, "void")
        for row in self.model.batches.pop(batch_id):
            self.model.open[row] = None
            self.model.move(row, "held" if self.model.covered(row) else "approved")

    def close(self) -> None:
        month = month_of(self.clock() - 31 * DAY, "UTC")
        try:
            close_period(self.books, TENANT, month, STAFF[0], self.clock())
        except Conflict:
            assert month <= self.closed
        else:
            assert month > self.closed
            self.closed = month

    closed = ""

    # --- the invariants

    def check(self, whole: bool) -> None:
        """After each transaction: no gap, every new entry sums to zero, and every account is the model's. Now and then verify, too."""
        with self.books.reading() as connection:
            for page in read_pages(connection, TENANT, self.last):
                for entry in page:
                    self.last += 1
                    assert entry.number == self.last
                    assert entry.period > self.closed or entry.posted_at < self.clock()
                    total: dict[Place, int] = defaultdict(int)
                    for posting in entry.postings:
                        total[posting.affiliate_id, posting.currency] += posting.amount_minor
                        self.seen[posting.affiliate_id, posting.currency, posting.account] += posting.amount_minor
                    assert not any(total.values()), entry
            assert without_zeros(self.seen) == without_zeros(self.model.sums)
            assert calendar_of(connection, TENANT) == ("UTC", self.closed), "a month is closed with its operation, or not at all"
            if whole or self.steps % VERIFY_EVERY == 0:
                states = {(who, currency, state): amount for who, currency, state, amount in state_sums(connection, TENANT) if amount}
                wanted = without_zeros(self.model.sums)
                assert states == {key: amount for key, amount in wanted.items() if key[2] not in ("expense", "reversed")}
        if whole or self.steps % VERIFY_EVERY == 0:
            report = verify(self.books, TENANT, checkpoints={} if whole else self.checkpoints)
            assert report.fault is None, str(report.fault)
            self.checkpoints = {one.tenant_id: one for one in report.checkpoints}


def catalogue(now: int) -> Iterator[msgspec.Struct]:
    yield Tenant(TENANT, "Laws", "EUR", adjustment_limit_minor=LIMIT)
    yield Programme(TENANT, "main", "Main", "https://shop.example/")
    for one in AFFILIATES:
        account = {} if one == WITHOUT_ACCOUNT else {"account_holder": one, "iban": "DE89370400440532013000"}
        yield Affiliate(one, one, f"{one}@laws.example", **account)
        yield Membership(TENANT, "main", one, "approved", now, now)


def made(**fields: object) -> Commission:
    row = msgspec.convert(fields, Commission)
    return msgspec.structs.replace(row, commission_id=commission_id(row))


def draft_of(rows: list[Commission], now: int) -> Draft:
    return Draft(
        tenant_id=TENANT,
        kind="accrual",
        idempotency_key=f"accrual:{rows[0].idempotency_key}",
        posted_at=now,
        memo=f"order {rows[0].order_id}",
        evidence_hash=evidence(row.commission_id for row in rows),
        postings=accrual_postings(rows),
        subject_at=rows[0].ordered_at,
    )


def without_zeros(sums: Sums) -> Sums:
    return {key: amount for key, amount in sums.items() if amount}


@contextmanager
def failing(books: Books, place: int) -> Iterator[Callable[[], bool]]:
    """The connection fails before the ``place``-th statement, or commit, from now on. Gives whether it has come to that."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == place:
            raise Fault

    for name in ("before_cursor_execute", "commit"):
        event.listen(books.engine, name, count)
    try:
        yield lambda: seen >= place
    finally:
        for name in ("before_cursor_execute", "commit"):
            event.remove(books.engine, name, count)
