"""Holds: what is earned becomes payable when the order's hold is over."""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.clock import Instant
from payouts.digests import digest
from payouts.ledger import Draft, post_all, transfer
from store.books import Books
from store.commissions import Claimed, due_groups, release_group

GROUPS_AT_ONCE = 500


def release_due(books: Books, now: Instant, limit: int = GROUPS_AT_ONCE) -> int:
    """Move everything held until ``now`` or earlier to payable; returns how many commissions moved.

    All that is due of one affiliate and currency moves in one entry, so that a refund never stays behind its sale.
    ``limit``: affiliates and currencies of one look. Running it twice is the same as once.
    """
    moved = 0
    while True:
        with books.reading() as connection:
            groups = due_groups(connection, now, limit)
        for tenant_id in sorted({group[0] for group in groups}):
            with books.writing() as connection:
                books.lock_tenant(connection, tenant_id)
                moved += release(connection, [group for group in groups if group[0] == tenant_id], now)
        if len(groups) < limit:
            return moved


def release_tenant(connection: Connection, tenant_id: str, now: Instant) -> int:
    """The same for one tenant, inside the caller's transaction and lock: what a batch does before it looks."""
    moved = 0
    while groups := due_groups(connection, now, GROUPS_AT_ONCE, tenant_id):
        moved += release(connection, groups, now)
    return moved


def release(connection: Connection, groups: Sequence[tuple[str, str, str]], now: Instant) -> int:
    """Move due commissions of one tenant's ``(tenant_id, affiliate_id, currency)``; returns how many."""
    moved, drafts = 0, []
    for tenant_id, affiliate_id, currency in groups:
        claimed = release_group(connection, tenant_id, affiliate_id, currency, now)
        moved += len(claimed)
        if amount := sum(one.amount_minor for one in claimed):
            drafts.append(_draft(tenant_id, affiliate_id, currency, amount, claimed, now))
    post_all(connection, drafts)
    return moved


def _draft(tenant_id: str, affiliate_id: str, currency: str, amount_minor: int, claimed: Sequence[Claimed], now: Instant) -> Draft:
    # A commission leaves its hold once, so the set of ids is a key that no other release can have.
    ids = digest("fairshare/release", *(one.commission_id.encode() for one in claimed))[:32]
    return Draft(
        tenant_id=tenant_id,
        kind="release",
        idempotency_key=f"release:{ids}",
        posted_at=now,
        memo=f"{len(claimed)} commissions of {affiliate_id}: hold over",
        postings=transfer(affiliate_id, currency, amount_minor, "held", "payable"),
    )
