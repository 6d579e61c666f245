"""What orders earn, for pages and explanations: each commission with its rule in words. Reads only."""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from core.catalogue import Rule, Tenant
from core.clock import Instant
from payouts.rate_card import sentence
from store import accruals, commissions
from store.accruals import Accrual
from store.catalogue import find, rate_cards_of
from store.commissions import Commission, booked_as


class Explained(msgspec.Struct, frozen=True):
    """A booked row, and the rule that priced it as one sentence; empty where no rule did (``commission.reason`` says why)."""

    commission: Commission
    rule: str


class Standing(msgspec.Struct, frozen=True):
    """What a line earns an affiliate now: the sum of its rows. ``reason`` says why it is nothing; empty where it earns."""

    line_id: str
    affiliate_id: str
    currency: str
    amount_minor: int
    rate_card_version: int
    rule_id: str
    rule: str
    reason: str


def commissions_of_order(connection: Connection, tenant_id: str, order_id: str) -> list[Explained]:
    """Everything that was booked for an order, in booking order; empty for an order that was never booked."""
    return explain(connection, commissions.of_orders(connection, tenant_id, [order_id]).get(order_id, []))


def commissions_of_affiliate(
    connection: Connection, affiliate_id: str, tenant_id: str | None = None, limit: int = 200, before: tuple[Instant, str] | None = None
) -> list[Explained]:
    """What an affiliate earned and gave back, newest order first. ``before``: order time and id of the last row seen."""
    return explain(connection, commissions.of_affiliate(connection, affiliate_id, tenant_id, limit, before))


def standings(rows: Iterable[Explained]) -> list[Standing]:
    """What each line of an order earns each affiliate now. Rows that later ones made void (credit that went to another,
    "unattributed" before the click arrived) are left out, so that a line that earns nothing has exactly one reason.
    """
    lines: dict[str, dict[str, list[Explained]]] = {}
    for row in sorted(rows, key=lambda row: booked_as(row.commission)):
        lines.setdefault(row.commission.line_id, {}).setdefault(row.commission.affiliate_id, []).append(row)
    return [standing for of_line in lines.values() for standing in _in_force(list(of_line.values()))]


def odd_orders(connection: Connection, tenant_id: str, limit: int = 100) -> list[Accrual]:
    """Orders that somebody should look at: refunded beyond what they had, in another currency, or not bookable."""
    return accruals.with_problems(connection, tenant_id, limit)


def explain(connection: Connection, rows: Sequence[Commission]) -> list[Explained]:
    """Rows with their rules' sentences; each programme's rate cards are read once."""
    currencies: dict[str, str] = {}
    rules: dict[tuple[str, str], dict[tuple[int, str], Rule]] = {}
    found = []
    for row in rows:
        if row.tenant_id not in currencies:
            tenant = find(connection, Tenant, row.tenant_id)
            currencies[row.tenant_id] = tenant.currency if tenant else row.currency
        programme = (row.tenant_id, row.programme_id)
        if programme not in rules:
            cards = rate_cards_of(connection, *programme)
            rules[programme] = {(card.version, rule.rule_id): rule for card in cards for rule in card.rules}
        rule = rules[programme].get((row.rate_card_version, row.rule_id))
        found.append(Explained(row, sentence(rule, currencies[row.tenant_id]) if rule else ""))
    return found


def _standing(group: Sequence[Explained]) -> Standing:
    last = group[-1]
    amount = sum(row.commission.amount_minor for row in group)
    row = last.commission
    reason = "" if amount else row.reason
    return Standing(row.line_id, row.affiliate_id, row.currency, amount, row.rate_card_version, row.rule_id, last.rule, reason)


def _in_force(groups: Sequence[Sequence[Explained]]) -> list[Standing]:
    """Of one line, per affiliate: those that earn; else those that the newest decision left with a reason."""
    earning = [standing for group in groups if (standing := _standing(group)).amount_minor]
    if earning:
        return earning
    newest = max(group[-1].commission.decision_revision for group in groups)
    idle = [(group[-1].commission.decision_revision, _standing(group)) for group in groups if group[-1].commission.reason]
    return [standing for revision, standing in idle if revision == newest] or [standing for _, standing in idle]
