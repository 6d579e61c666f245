"""What other decisions would pay: the differences that booking them would post, to the cent. Reads only, books nothing."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from core.clock import Instant
from payouts.booking import book
from payouts.facts import read_facts, with_contacts
from payouts.holds import rejected_of
from payouts.orders import Facts, Tariff, Verdict
from payouts.pricing import prepare, target_of
from payouts.pricings import Surroundings, asks_touches, frozen, setting_of
from payouts.standing import standing_of
from payouts.surroundings import read_surroundings
from payouts.tariffs import tariff_of
from store import accruals, commissions
from store.accruals import Accrual
from store.books import Books
from store.commissions import Commission
from store.events import EventsStore

Amounts = dict[tuple[str, str], int]
"""(affiliate, currency) -> minor units."""


class Forecast(msgspec.Struct, frozen=True):
    """What an order pays each affiliate as decided now, booked or about to be, and what it would pay as decided otherwise."""

    before: Amounts
    after: Amounts

    @property
    def difference(self) -> Amounts:
        """What booking would post; only what is not zero."""
        keys = sorted(self.before.keys() | self.after.keys())
        return {key: minor for key in keys if (minor := self.after.get(key, 0) - self.before.get(key, 0))}


def forecast(books: Books, events: EventsStore, tenant_id: str, verdicts: Mapping[str, Verdict], at: Instant) -> dict[str, Forecast]:
    """The forecasts of orders, by id, were ``verdicts`` (by order id) their newest decisions.

    An order that is not decided yet, or that cannot be booked, is left out.
    """
    tariff, order_ids = tariff_of(books, tenant_id), sorted(verdicts)
    if tariff is None or not order_ids:
        return {}
    decided = read_facts(events, tenant_id, order_ids, contacts=False)
    with_touches = asks_touches(card for cards in tariff.cards.values() for card in cards)
    found = with_contacts(events, tenant_id, decided) if with_touches else decided
    others = [msgspec.structs.replace(facts, verdict=verdicts[facts.order.order_id], contacts=()) for facts in decided]
    others = with_contacts(events, tenant_id, others) if with_touches else others
    with books.reading() as connection:
        known = accruals.of_orders(connection, tenant_id, order_ids)
        posted = commissions.of_orders(connection, tenant_id, order_ids)
        rejected = rejected_of(connection, tenant_id, order_ids)
        world = _World(connection, tariff, read_surroundings(connection, [*found, *others], tariff), at)
        told = {
            order_id: world.forecast(facts, other, posted.get(order_id, []), known.get(order_id), rejected.get(order_id, frozenset()))
            for facts, other in zip(found, others, strict=True)
            for order_id in (facts.order.order_id,)
        }
    return {order_id: one for order_id, one in told.items() if one is not None}


class _World(msgspec.Struct, frozen=True):
    """What orders are priced in: the books as they are, and the tariff."""

    connection: Connection
    tariff: Tariff
    around: Surroundings
    at: Instant

    def forecast(
        self, facts: Facts, other: Facts, posted: Sequence[Commission], known: Accrual | None, rejected: frozenset[str]
    ) -> Forecast | None:
        """None where the order cannot be booked: accrual notes why."""
        try:
            standing = [*posted, *self.rows(facts, posted, known, rejected)]
            return Forecast(_sums(standing), _sums([*standing, *self.rows(other, standing, known, rejected)]))
        except (ArithmeticError, AssertionError, LookupError, ValueError):
            return None

    def rows(self, facts: Facts, posted: Sequence[Commission], known: Accrual | None, rejected: frozenset[str]) -> tuple[Commission, ...]:
        """What booking would add, where all other orders stay as they are."""
        kept = setting_of(known.setting if known is not None else None)
        prepared = prepare(facts, posted, self.tariff, frozen(kept, facts, posted, self.tariff, self.around), rejected)
        standing = standing_of(self.connection, self.tariff.tenant, prepared.placed, self.tariff.cards)
        return book(facts, posted, target_of(prepared, standing), self.at, "forecast")


def _sums(rows: Sequence[Commission]) -> Amounts:
    sums: Amounts = {}
    for row in rows:
        if row.affiliate_id:
            key = (row.affiliate_id, row.currency)
            sums[key] = sums.get(key, 0) + row.amount_minor
    return sums
