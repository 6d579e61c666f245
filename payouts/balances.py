"""Balances per affiliate, by state, from the ledger's postings. Equal to the commissions' sums by state, by law."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from payouts.ledger import REVERSED, STATES
from store.ledger import account_sums

FIGURES = (*STATES, REVERSED)


class Balance(msgspec.Struct, frozen=True):
    """What one affiliate has with one tenant in one currency, in minor units.

    ``approved_minor`` below zero is carried forward: refunds after a payout outweigh what was earned since. ``reversed_minor`` is
    what was taken back of everything ever granted (zero or positive); the other figures are short of it already.
    """

    tenant_id: str
    affiliate_id: str
    currency: str
    pending_minor: int = 0
    held_minor: int = 0
    approved_minor: int = 0
    payable_minor: int = 0
    paid_minor: int = 0
    reversed_minor: int = 0

    @property
    def total_minor(self) -> int:
        """Everything ever earned, what was taken back taken off: what it cost the merchant."""
        return sum(getattr(self, f"{state}_minor") for state in STATES)

    @property
    def is_open(self) -> bool:
        """Something is earned and not paid yet, or carried forward."""
        return any((self.pending_minor, self.held_minor, self.approved_minor, self.payable_minor))


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
        row = sums.setdefault((one.tenant_id, one.currency), [0] * len(FIGURES))
        for index, figure in enumerate(FIGURES):
            row[index] += getattr(one, f"{figure}_minor")
    return [Balance(tenant_id, "", currency, *row) for (tenant_id, currency), row in sorted(sums.items())]


def _balances(sums: Iterable[tuple[Any, ...]]) -> list[Balance]:
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for tenant_id, affiliate_id, currency, account, amount in sums:
        found.setdefault((tenant_id, affiliate_id, currency), {})[account] = amount
    return [Balance(*key, *(accounts.get(figure, 0) for figure in FIGURES)) for key, accounts in sorted(found.items())]
