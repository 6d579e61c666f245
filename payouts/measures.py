"""What orders count where no rate card of their programme asks for it yet: written for many at once, for the card that will."""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.catalogue import RateCard, Tenant
from payouts.accounts import Placed, tiered
from store import standing as books
from store.standing import Measured, Recorded


def counts_for_others(cards: Sequence[RateCard]) -> bool:
    """True where what one order brings may change what another is paid, or a bonus."""
    return any(tiered(cards)) or any(card.limits or card.bonuses for card in cards)


def is_new(known: Recorded) -> bool:
    """Nothing was recorded of the order yet, and nothing waits for it."""
    return not (known.measures or known.steps or known.grants or known.queued)


def record_new(connection: Connection, tenant: Tenant, many: Sequence[Placed]) -> None:
    """Write the measures of orders that are new, each of a programme whose orders do not count for others."""
    rows = tuple(
        Measured(
            tenant.tenant_id,
            placed.order_id,
            placed.programme_id,
            party.affiliate_id,
            placed.ordered_at,
            tenant.time_zone,
            party.version,
            party.orders,
            party.revenue_minor,
            party.commission_minor,
        )
        for placed in many
        for party in placed.parties
    )
    if rows:
        books.put_zone(connection, tenant.tenant_id, tenant.time_zone)
        books.put_rows(connection, Recorded(), Recorded(measures=rows))
