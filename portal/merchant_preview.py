"""A draft of a rate card tried on past orders: what it would have cost, who wins and who loses, why orders earn nothing. Writes nothing.

The fragment ``merchant/_preview.html`` shows it, within the page of the form that the draft was read from.
"""

import threading
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from core.catalogue import RateCard, Tenant
from core.clock import DAY, Instant
from core.errors import Conflict
from core.scope import Scope
from payouts.outcomes import EARNED, shares_bps
from payouts.rate_words import sentence
from payouts.simulate import Paid, Row, Simulation, always, simulate
from portal.forms import read_form
from portal.page import run
from store.books import Books
from store.catalogue import find
from store.events import EventsStore
from store.reports import payees

DAYS = 90
CHOICES = (7, 30, 90, 180, 365)
MOST_ORDERS = 10_000
"""More are cut to the newest: a page is not to keep people waiting. ``fairshare simulate`` takes them all."""
SHOWN = 10
"""Winners, and losers, of each currency."""
_AT_ONCE = threading.BoundedSemaphore(2)


class Change(msgspec.Struct, frozen=True):
    """What the draft changes in one currency: cost, and the affiliates with the largest differences."""

    currency: str
    before_minor: int
    after_minor: int
    winners: list[Row]
    losers: list[Row]
    more: int

    @property
    def difference_minor(self) -> int:
        return self.after_minor - self.before_minor


class Part(msgspec.Struct, frozen=True):
    """What one part of the draft pays, in words."""

    words: str
    paid: Paid


class Reason(msgspec.Struct, frozen=True):
    """An outcome of orders, before and after; shares in basis points that sum to 10,000."""

    name: str
    before: int
    after: int
    before_bps: int
    after_bps: int


async def preview(request: Request, scope: Scope, draft: RateCard) -> dict[str, Any]:
    """What ``merchant/_preview.html`` shows of a draft: over the days that field ``preview_days`` says, up to now.

    Raises:
        Conflict: as many previews are at work as this site takes at once.
    """
    typed = (await read_form(request)).raw("preview_days")
    days = int(typed) if typed in map(str, CHOICES) else DAYS
    state = request.app.state
    found, names, currency = await run(_try, state.books, state.events, scope.tenant_id, draft, state.clock(), days)
    return {
        "found": found,
        "days": days,
        "choices": CHOICES,
        "most": MOST_ORDERS,
        "names": names,
        "changes": changes_of(found),
        "parts": parts_of(found, draft, currency),
        "reasons": reasons_of(found),
        "earned": found.outcomes.get(EARNED, (0, 0)),
    }


def changes_of(found: Simulation) -> list[Change]:
    """By currency, those who have more, the largest difference first, and those who have less, likewise."""
    changes = []
    for currency, (before, after) in found.costs.items():
        moved = sorted(
            (row for row in found.rows if row.currency == currency), key=lambda row: (-abs(row.difference_minor), row.affiliate_id)
        )
        winners = [row for row in moved if row.difference_minor > 0]
        losers = [row for row in moved if row.difference_minor < 0]
        more = len(winners[SHOWN:]) + len(losers[SHOWN:])
        changes.append(Change(currency, before, after, winners[:SHOWN], losers[:SHOWN], more))
    return changes


def parts_of(found: Simulation, draft: RateCard, currency: str) -> list[Part]:
    """What each rule, the recruiters and each bonus pay; the largest first."""
    rules = {rule.rule_id: sentence(rule, currency) for rule in draft.rules}
    ordered = sorted(found.paid, key=lambda one: (-one.amount_minor, one.kind, one.name, one.currency))
    return [Part(_words(one, rules), one) for one in ordered]


def reasons_of(found: Simulation) -> list[Reason]:
    before, after = ({name: pair[place] for name, pair in found.outcomes.items()} for place in (0, 1))
    before_bps, after_bps = shares_bps(before), shares_bps(after)
    return [Reason(name, before[name], after[name], before_bps[name], after_bps[name]) for name in found.outcomes]


def _words(one: Paid, rules: Mapping[str, str]) -> str:
    if one.kind == "rule":
        return rules.get(one.name, one.name)
    return f"Recruiters, level {one.name}" if one.kind == "recruiters" else f"Bonus {one.name}"


def _try(
    books: Books, events: EventsStore, tenant_id: str, draft: RateCard, now: Instant, days: int
) -> tuple[Simulation, dict[str, str], str]:
    """In a thread: the simulation, affiliates' names, and the tenant's currency."""
    if not _AT_ONCE.acquire(blocking=False):
        raise Conflict("as many rate cards as this site takes are being tried; try again in a minute")
    try:
        cards = {draft.programme_id: (always(draft),)}
        found = simulate(events, books, tenant_id, now - days * DAY, now, cards, most=MOST_ORDERS)
    finally:
        _AT_ONCE.release()
    with books.reading() as connection:
        names = {affiliate_id: payee.name for affiliate_id, payee in payees(connection, tenant_id).items()}
        tenant = find(connection, Tenant, tenant_id)
    return found, names, tenant.currency if tenant is not None else ""
