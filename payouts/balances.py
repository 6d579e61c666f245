"""Balances per affiliate, by state, from the ledger's postings. Equal to the commissions' sums by state, by law."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from payouts.ledger import STATES
from store.ledger import account_sums


class Balance(msgspec.Struct, frozen=True):
    """What one affiliate has with one tenant in one currency, in minor units.

    ``payable_minor`` below zero is carried forward: refunds after a payout outweigh what was earned since.
    """

    tenant_id: str
    affiliate_id: str
    currency: str
    held_minor: int = 0
    payable_minor: int = 0
    batched_minor: int = 0
    paid_minor: int = 0

    @property
    def total_minor(self) -> int:
        """Everything ever earned, refunds taken off: what it cost the merchant."""
        return self.held_minor + self.payable_minor + self.batched_minor + self.paid_minor


def balances_of_tenant(connection: Connection, tenant_id: str) -> list[Balance]:
    """Every affiliate of a tenant, by affiliate and currency."""
    return _balances(account_sums(connection, tenant_id=tenant_id))


def balances_of_affiliate(connection: Connection, affiliate_id: str, tenant_id: str | None = None) -> list[Balance]:
    """One affiliate, by tenant and currency; of one tenant only where asked."""
    return _balances(account_sums(connection, tenant_id=tenant_id, affiliate_id=affiliate_id))


def totals(balances: Iterable[Balance]) -> list[Balance]:
    """Per tenant and currency, all affiliates together (``affiliate_id`` empty)."""
    sums: dict[tuple[str, str], list[int]] = {}
    for one in balances:
        row = sums.setdefault((one.tenant_id, one.currency), [0, 0, 0, 0])
        for index, amount in enumerate((one.held_minor, one.payable_minor, one.batched_minor, one.paid_minor)):
            row[index] += amount
    return [Balance(tenant_id, "", currency, *row) for (tenant_id, currency), row in sorted(sums.items())]


def _balances(sums: Iterable[tuple[Any, ...]]) -> list[Balance]:
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for tenant_id, affiliate_id, currency, account, amount in sums:
        found.setdefault((tenant_id, affiliate_id, currency), {})[account] = amount
    return [Balance(*key, *(accounts.get(state, 0) for state in STATES)) for key, accounts in sorted(found.items())]
