"""What other decisions would pay: the differences that booking them would post, to the cent. Reads only, books nothing."""

from collections.abc import Mapping, Sequence

import msgspec

from core.clock import Instant
from payouts.accrue import tariff_of
from payouts.booking import Facts, Tariff, Verdict, book
from payouts.facts import read_facts
from store import commissions
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
    found = read_facts(events, tenant_id, order_ids)
    with books.reading() as connection:
        posted = commissions.of_orders(connection, tenant_id, order_ids)
    told: dict[str, Forecast] = {}
    for facts in found:
        order_id = facts.order.order_id
        one = _forecast(facts, verdicts[order_id], posted.get(order_id, []), tariff, at)
        if one is not None:
            told[order_id] = one
    return told


def _forecast(facts: Facts, verdict: Verdict, posted: Sequence[Commission], tariff: Tariff, at: Instant) -> Forecast | None:
    """None where the order cannot be booked: accrual notes why."""
    try:
        standing = [*posted, *book(facts, posted, tariff, at).rows]
        other = msgspec.structs.replace(facts, verdict=verdict)
        return Forecast(_sums(standing), _sums([*standing, *book(other, standing, tariff, at).rows]))
    except (ArithmeticError, AssertionError, LookupError, ValueError):
        return None


def _sums(rows: Sequence[Commission]) -> Amounts:
    sums: Amounts = {}
    for row in rows:
        if row.affiliate_id:
            key = (row.affiliate_id, row.currency)
            sums[key] = sums.get(key, 0) + row.amount_minor
    return sums
