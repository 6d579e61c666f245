"""Read what orders ask of the catalogue and of exchange rates when they are priced. Reads only; what is frozen of it is elsewhere."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection

from core.catalogue import Membership
from core.clock import Instant
from payouts.exchange import Rate
from payouts.orders import Facts, Tariff
from payouts.pricings import Surroundings, currencies_of, day_of, depth_of
from payouts.rates import rate_on
from store.partners import classes_of_codes, members, segments_of_stores


def read_surroundings(connection: Connection, found: Sequence[Facts], tariff: Tariff) -> Surroundings:
    """What these orders of one tenant ask for, as it is now."""
    tenant_id = tariff.tenant.tenant_id
    codes = {code.upper() for facts in found for code in facts.order.coupons}
    return Surroundings(
        members=_members(connection, found, tariff),
        coupon_classes=classes_of_codes(connection, tenant_id, codes) if codes else {},
        store_segments=segments_of_stores(connection, tenant_id) if any(facts.order.store_id for facts in found) else {},
        rates=_rates(connection, found, tariff),
    )


def _members(connection: Connection, found: Sequence[Facts], tariff: Tariff) -> dict[tuple[str, str], Membership]:
    """The credited affiliates, and as many of those above them as any rate card pays."""
    known: dict[tuple[str, str], Membership] = {}
    asked: set[str] = set()
    names = {credit.affiliate_id for facts in found for credit in facts.verdict.credits}
    for _ in range(1 + depth_of(card for cards in tariff.cards.values() for card in cards)):
        if not names:
            break
        new = members(connection, tariff.tenant.tenant_id, names)
        known |= {(one.programme_id, one.affiliate_id): one for one in new}
        asked |= names
        names = {one.recruited_by for one in new if one.recruited_by} - asked
    return known


def _rates(connection: Connection, found: Sequence[Facts], tariff: Tariff) -> dict[tuple[str, str, date], Rate]:
    times: dict[tuple[str, str, date], Instant] = {}
    for facts in found:
        for quote in currencies_of(facts, tariff):
            times.setdefault((facts.order.currency, quote, day_of(facts.order.occurred_at)), facts.order.occurred_at)
    rates = {key: rate_on(connection, key[0], key[1], at) for key, at in times.items()}
    return {key: rate for key, rate in rates.items() if rate is not None}
