"""The commands that write about the ledger from outside the portal: anchors of its heads, and proposals of adjustments."""

from pathlib import Path
from typing import Any

from core.catalogue import Tenant
from core.clock import Clock
from core.errors import BadInput, NotFound
from core.money import format_amount, parse_amount
from core.settings import Settings
from fairshare.books import opened_books
from payouts.adjustments import Proposal, propose
from payouts.anchors import FILE, anchor
from store.adjustments import Adjustment
from store.books import Books
from store.catalogue import find, find_user


def anchors_of(settings: Settings) -> Path:
    """The anchors' file of an installation."""
    return settings.data / FILE


def anchor_heads(settings: Settings, clock: Clock) -> tuple[dict[str, Any], str]:
    """Append the heads that moved to the anchors' file."""
    path = anchors_of(settings)
    with opened_books(settings) as books:
        written = anchor(books, path, clock())
    plain = {"file": str(path), "anchored": [{"tenant": one.tenant_id, "entries": one.number, "hash": one.hash} for one in written]}
    lines = [f"{one.tenant_id}: entry {one.number:,} {one.hash}" for one in written]
    return plain, "\n".join(
        [*lines, f"{len(written)} heads anchored in {path}"] if lines else [f"nothing moved since the last line of {path}"]
    )


def adjust(settings: Settings, clock: Clock, tenant_id: str, proposal: Proposal, amount: str, by: str) -> tuple[Adjustment, str]:
    """Propose an adjustment for a finance user, with the amount as text; within the limit it is booked at once.

    Raises:
        NotFound: no such tenant.
        BadInput: ``by`` is no finance user of the tenant, or the proposal cannot be made.
    """
    with opened_books(settings) as books:
        tenant = _require(books, tenant_id, by)
        currency = proposal.currency or tenant.currency
        asked = Proposal(proposal.affiliate_id, parse_amount(amount, currency), currency, proposal.reason, proposal.programme_id)
        made = propose(books, tenant_id, asked, by, clock())
    said = f"{made.adjustment_id}: {format_amount(made.amount_minor, made.currency)} {made.currency} for {made.affiliate_id}"
    if made.state == "booked":
        return made, f"{said}, booked"
    limit = format_amount(made.limit_minor, made.currency)
    return made, f"{said}, proposed: above the limit of {limit}, another finance user approves it in the portal, under Adjustments"


def _require(books: Books, tenant_id: str, by: str) -> Tenant:
    with books.reading() as connection:
        tenant, user = find(connection, Tenant, tenant_id), find_user(connection, by)
    if tenant is None:
        raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    if user is None or user.disabled or (user.role, user.tenant_id) != ("finance", tenant_id):
        raise BadInput("unknown", f"{by!r:.80} is not a finance user of {tenant_id}", "by")
    return tenant
