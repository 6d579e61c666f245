"""An order as it is priced: what the events store knows of it now, and what its tenant pays. Records only."""

from collections.abc import Mapping

import msgspec

from core.catalogue import RateCard, Tenant
from core.clock import Instant
from core.credit import Credit
from core.events import CustomerStatus, Order, Refund
from payouts.setting import Contact


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The newest decision of an order, without its trace. ``customer_status`` and ``segments`` are what it took the customer for.

    ``order_number``: the customer's n-th order, 0 where it is unknown; ``first_ordered_at``: when their first was, 0 where it is unknown.
    """

    revision: int
    programme_id: str
    policy_version: int
    result: str
    credits: tuple[Credit, ...]
    inputs_hash: str
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    order_number: int = 0
    first_ordered_at: Instant = 0


class Facts(msgspec.Struct, frozen=True, gc=False):
    """An order as the events store knows it now. ``contacts`` are the credited touches; ``country`` is the order's."""

    order: Order
    verdict: Verdict
    refunds: tuple[Refund, ...] = ()
    contacts: tuple[Contact, ...] = ()
    country: str = ""


class Tariff(msgspec.Struct, frozen=True):
    """What a tenant pays: all versions of the rate card of each programme."""

    tenant: Tenant
    cards: Mapping[str, tuple[RateCard, ...]]

    def card(self, programme_id: str, version: int | None) -> RateCard | None:
        """One version; None for version 0, and where it was never asked.

        Raises:
            LookupError: the catalogue has no such version any more.
        """
        if not version:
            return None
        for card in self.cards.get(programme_id, ()):
            if card.version == version:
                return card
        raise LookupError(f"rate card {programme_id} {version} is not in the catalogue")
