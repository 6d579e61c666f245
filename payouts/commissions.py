"""What orders earn, for pages and explanations: each commission with its rule in words. Reads only."""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from core.catalogue import RateCard, Tenant
from core.clock import Instant
from payouts.rate_words import percent, sentence
from store import accruals, commissions
from store.accruals import Accrual
from store.catalogue import find, rate_cards_of
from store.commissions import Commission, booked_as


class Explained(msgspec.Struct, frozen=True):
    """A booked row, and the rule that priced it as one sentence; empty where no rule did (``commission.reason`` says why)."""

    commission: Commission
    rule: str


class Standing(msgspec.Struct, frozen=True):
    """What a line earns an affiliate now: the sum of its rows. ``reason`` says why it is nothing; empty where it earns.

    ``part`` is empty for what it earned itself, ``recruiter:1`` and so on for what it has of those it recruited.
    """

    line_id: str
    affiliate_id: str
    currency: str
    amount_minor: int
    rate_card_version: int
    rule_id: str
    rule: str
    reason: str
    part: str = ""


def booked_id(connection: Connection, tenant_id: str, text: str) -> str:
    """The id that people mean who write ``lead:L-17``: what is no order has an id that begins with a space, which no form keeps."""
    known = commissions.of_orders(connection, tenant_id, [text, f" {text}"])
    return f" {text}" if text and text not in known and f" {text}" in known else text


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
    lines: dict[str, dict[tuple[str, str], list[Explained]]] = {}
    for row in sorted(rows, key=lambda row: booked_as(row.commission)):
        key = (row.commission.affiliate_id, row.commission.part)
        lines.setdefault(row.commission.line_id, {}).setdefault(key, []).append(row)
    return [standing for of_line in lines.values() for standing in _in_force(list(of_line.values()))]


def odd_orders(connection: Connection, tenant_id: str, limit: int = 100) -> list[Accrual]:
    """Orders that somebody should look at: refunded beyond what they had, in another currency, or not bookable."""
    return accruals.with_problems(connection, tenant_id, limit)


def explain(connection: Connection, rows: Sequence[Commission]) -> list[Explained]:
    """Rows with their rules' sentences; each programme's rate cards are read once."""
    currencies: dict[str, str] = {}
    cards: dict[tuple[str, str], dict[int, RateCard]] = {}
    found = []
    for row in rows:
        if row.tenant_id not in currencies:
            tenant = find(connection, Tenant, row.tenant_id)
            currencies[row.tenant_id] = tenant.currency if tenant else row.currency
        programme = (row.tenant_id, row.programme_id)
        if programme not in cards:
            cards[programme] = {card.version: card for card in rate_cards_of(connection, *programme)}
        card = cards[programme].get(row.rate_card_version)
        found.append(Explained(row, _words(row, card, currencies[row.tenant_id]) if card else ""))
    return found


def _words(row: Commission, card: RateCard, currency: str) -> str:
    """The rule that priced a row, or what a recruiter has of another's commission."""
    if row.part:
        return recruiter_sentence(card, int(row.part.partition(":")[2]))
    rule = next((rule for rule in card.rules if rule.rule_id == row.rule_id), None)
    return sentence(rule, currency) if rule else ""


def recruiter_sentence(card: RateCard, level: int) -> str:
    """``Recruiters of the 1st level earn 10 % of the affiliate's commission``."""
    of = "the affiliate's commission" if card.recruiter_of == "commission" else "the net price that the affiliate is credited with"
    ordinal = {1: "1st", 2: "2nd", 3: "3rd"}.get(level, f"{level}th")
    return f"Recruiters of the {ordinal} level earn {percent(card.recruiter_bps[level - 1])} of {of}"


def _standing(group: Sequence[Explained]) -> Standing:
    last = group[-1]
    amount = sum(row.commission.amount_minor for row in group)
    row = last.commission
    reason = "" if amount else row.reason
    return Standing(row.line_id, row.affiliate_id, row.currency, amount, row.rate_card_version, row.rule_id, last.rule, reason, row.part)


def _in_force(groups: Sequence[Sequence[Explained]]) -> list[Standing]:
    """Of one line, per affiliate: those that earn; else those that the newest decision left with a reason."""
    earning = [standing for group in groups if (standing := _standing(group)).amount_minor]
    if earning:
        return earning
    groups = [group for group in groups if not group[-1].commission.part]
    newest = max((group[-1].commission.decision_revision for group in groups), default=0)
    idle = [(group[-1].commission.decision_revision, _standing(group)) for group in groups if group[-1].commission.reason]
    return [standing for revision, standing in idle if revision == newest] or [standing for _, standing in idle]
