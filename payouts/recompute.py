"""Recompute what was booked: every order's target from what it was priced on equals the sum of its rows, and every hash fits. Reads only.

A day of clicks and impressions comes to its rows from the numbers that were counted.

What an order was priced on is kept with it (its setting and its standing, in ``accruals``); the rest are facts of the events store and
immutable versions of rate cards. So an order comes to the same cent for ever, whatever becomes of members, codes, stores and rates.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from core.errors import NotFound
from payouts.accounts import Standing
from payouts.facts import fingerprint, read_facts
from payouts.holds import rejected_of
from payouts.orders import Facts, Tariff
from payouts.pricing import Target, prepare, target_of
from payouts.pricings import Priced, asks_touches, priced_of
from payouts.setting import Setting
from payouts.tariffs import tariff_of
from payouts.traffic import is_traffic
from payouts.traffic_accrual import recompute_traffic
from store import accruals, commissions
from store.accruals import Accrual
from store.books import Books
from store.commissions import Commission
from store.events import EventsStore

ORDERS_AT_ONCE = 500
DIFFERENCES_SHOWN = 1_000


class Difference(msgspec.Struct, frozen=True):
    """What does not fit: of an order or a day of traffic, or of one line, affiliate and part of it. Amounts: booked and recomputed."""

    order_id: str
    what: str
    line_id: str = ""
    affiliate_id: str = ""
    part: str = ""
    booked_minor: int = 0
    recomputed_minor: int = 0
    currency: str = ""

    def __str__(self) -> str:
        subject = self.order_id.strip() if is_traffic(self.order_id) else f"order {self.order_id}"
        names = (f"line {self.line_id}" if self.line_id else "", self.affiliate_id, self.part)
        return f"{subject}{''.join(f', {name}' for name in names if name)}: {self.what}"


class RecomputeReport(msgspec.Struct, frozen=True):
    """What was recomputed: orders, and days of clicks and impressions. ``waiting`` orders have news that are not booked yet, ``earlier``
    were booked by an earlier version of the program, which did not keep what it priced on, ``unbooked`` could not be booked (their
    problem is in the books): these were left out. Of the differences, the first thousand.
    """

    orders: int = 0
    days: int = 0
    commissions: int = 0
    waiting: int = 0
    earlier: int = 0
    unbooked: int = 0
    differing: int = 0
    differences: tuple[Difference, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.differing

    def __add__(self, other: "RecomputeReport") -> "RecomputeReport":
        counts = {name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__[:-1]}
        return msgspec.structs.replace(self, **counts, differences=(*self.differences, *other.differences)[:DIFFERENCES_SHOWN])


def recompute(
    books: Books, events: EventsStore, tenant_id: str, progress: Callable[[int], None] = lambda _done: None, limit: int = ORDERS_AT_ONCE
) -> RecomputeReport:
    """Every order and every day of traffic of one tenant. ``progress`` hears how many are done.

    Raises:
        NotFound: there is no such tenant.
        Unavailable: a store cannot be used now.
    """
    tariff = tariff_of(books, tenant_id)
    if tariff is None:
        raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    touches = asks_touches(card for cards in tariff.cards.values() for card in cards)
    report, after, done = RecomputeReport(), "", 0
    while True:
        with books.reading() as connection:
            known = accruals.page_of(connection, tenant_id, after, limit)
            order_ids = [one.order_id for one in known]
            posted = commissions.of_orders(connection, tenant_id, order_ids)
            rejected = rejected_of(connection, tenant_id, order_ids)
        if not known:
            return report + _traffic(books, tenant_id)
        found = {facts.order.order_id: facts for facts in read_facts(events, tenant_id, order_ids, touches)}
        for one in known:
            rows = [row for row in posted.get(one.order_id, []) if row.subject == "order"]
            report += _order(one, found.get(one.order_id), rows, rejected.get(one.order_id, frozenset()), tariff)
        after, done = order_ids[-1], done + len(known)
        progress(done)


def _traffic(books: Books, tenant_id: str) -> RecomputeReport:
    days, rows, differences = 0, 0, list[Difference]()
    with books.reading() as connection:
        for one in recompute_traffic(connection, tenant_id):
            days, rows = days + 1, rows + one.commissions
            differences += [Difference(one.order_id, one.wrong)] if one.wrong else []
    return RecomputeReport(days=days, commissions=rows, differing=len(differences), differences=tuple(differences))


def _order(known: Accrual, facts: Facts | None, rows: Sequence[Commission], rejected: frozenset[str], tariff: Tariff) -> RecomputeReport:
    priced = priced_of(known)
    if known.problem:
        return RecomputeReport(unbooked=1)
    if priced is None:
        return RecomputeReport(earlier=1)
    if facts is None or fingerprint(facts) != known.fingerprint:
        return RecomputeReport(waiting=1)
    try:
        differences = list(_differences(known, priced, facts, rows, rejected, tariff))
    except (ArithmeticError, AssertionError, LookupError, msgspec.ValidationError, ValueError) as error:
        differences = [Difference(known.order_id, f"it cannot be recomputed: {type(error).__name__}: {error}")]
    return RecomputeReport(orders=1, commissions=len(rows), differing=len(differences), differences=tuple(differences))


def _differences(
    known: Accrual, priced: Priced, facts: Facts, rows: Sequence[Commission], rejected: frozenset[str], tariff: Tariff
) -> Iterator[Difference]:
    setting, standing = msgspec.convert(priced.setting, Setting), msgspec.convert(priced.standing, Standing)
    target = target_of(prepare(facts, rows, tariff, setting, rejected), standing)
    yield from _amounts(facts, target, rows)
    hashes = {priced.hash(tariff), *(msgspec.convert(one, Priced).hash(tariff) for one in known.pricings)}
    for row in rows:
        # Rows of earlier versions of the program have none, and come before all others.
        if row.pricing_hash and row.pricing_hash not in hashes:
            what = f"commission {row.commission_id} was priced on something else than what is kept"
            yield Difference(known.order_id, what, row.line_id, row.affiliate_id, row.part)


def _amounts(facts: Facts, target: Target, rows: Sequence[Commission]) -> Iterator[Difference]:
    booked: dict[tuple[str, str, str, str, str], int] = {}
    for row in rows:
        key = (row.programme_id, row.line_id, row.affiliate_id, row.part, row.currency)
        booked[key] = booked.get(key, 0) + row.amount_minor
    wanted = {
        (facts.verdict.programme_id, one.line_id, one.affiliate_id, one.part, target.currency): one.amount_minor for one in target.last
    }
    for key in sorted(booked.keys() | wanted.keys()):
        is_booked, is_due = booked.get(key, 0), wanted.get(key, 0)
        if is_booked != is_due:
            _, line_id, affiliate_id, part, currency = key
            what = f"booked are {is_booked} {currency} minor units, recomputed {is_due}"
            yield Difference(facts.order.order_id, what, line_id, affiliate_id, part, is_booked, is_due, currency)
