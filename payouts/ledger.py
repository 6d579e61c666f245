"""Posting to the ledger: double-entry, append-only, numbered without gaps per tenant, hash-chained.

Accounts, each per affiliate and currency. Positive amounts are credit (towards the affiliate), negative ones debit:

==========  ==============================================================================================
expense     what commissions cost the merchant: the mirror of all others, so zero or negative
held        earned, within the hold
payable     earned, hold over; negative where refunds outweigh: carried forward
batched     claimed by a payout batch that is not settled yet
paid        settled
==========  ==============================================================================================

Every entry sums to zero per affiliate and currency, so all accounts together always do.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec
from sqlalchemy import Connection

from core.clock import Instant
from core.errors import Conflict
from payouts.digests import chain, entry_bytes
from store.ledger import Entry, Posting, entries_by_key, head, insert_entries

Account = Literal["expense", "held", "payable", "batched", "paid"]
EntryKind = Literal["accrual", "release", "batch_prepared", "batch_voided", "batch_settled"]
STATES: tuple[Account, ...] = ("held", "payable", "batched", "paid")
"""The accounts that are states of a commission."""


class Draft(msgspec.Struct, frozen=True):
    """An entry before it has a number. The idempotency key is unique in the tenant and never expires."""

    tenant_id: str
    kind: EntryKind
    idempotency_key: str
    posted_at: Instant
    memo: str = ""
    evidence_hash: str = ""
    postings: tuple[Posting, ...] = ()


def post(connection: Connection, draft: Draft) -> int:
    """Post one entry: see :func:`post_all`."""
    return post_all(connection, [draft])[0]


def post_all(connection: Connection, drafts: Sequence[Draft]) -> list[int]:
    """Post entries of one tenant; returns their numbers. The caller holds ``books.lock_tenant`` and commits.

    A draft whose key was posted before with the same content gives the old number and writes nothing; the time of
    posting is no content, since a repeat comes later.

    Raises:
        Conflict: the key was posted before with another content.
    """
    if not drafts:
        return []
    tenant_id = drafts[0].tenant_id
    posted = entries_by_key(connection, tenant_id, [draft.idempotency_key for draft in drafts])
    number, previous = head(connection, tenant_id)
    numbers, new = [], []
    for draft in drafts:
        _check(draft, tenant_id)
        entry = posted.get(draft.idempotency_key)
        if entry is None:
            number += 1
            entry = _entry(draft, number, previous)
            previous = entry.hash
            posted[draft.idempotency_key] = entry
            new.append(entry)
        elif _content(entry) != _content(draft):
            raise Conflict(
                f"entry {entry.number} of {tenant_id} was posted under {draft.idempotency_key!r} with another content; nothing was posted"
            )
        numbers.append(entry.number)
    insert_entries(connection, new)
    return numbers


def transfer(affiliate_id: str, currency: str, amount_minor: int, from_account: Account, to_account: Account) -> tuple[Posting, ...]:
    """Two postings that move an amount between accounts of one affiliate; none for zero."""
    if amount_minor == 0:
        return ()
    return Posting(from_account, affiliate_id, currency, -amount_minor), Posting(to_account, affiliate_id, currency, amount_minor)


def unbalanced(postings: Iterable[Posting]) -> tuple[str, str, int] | None:
    """The first ``(affiliate_id, currency, sum)`` that is not zero, or None for a sound entry."""
    sums: dict[tuple[str, str], int] = {}
    for posting in postings:
        key = (posting.affiliate_id, posting.currency)
        sums[key] = sums.get(key, 0) + posting.amount_minor
    return next(((*key, total) for key, total in sorted(sums.items()) if total), None)


def hash_of(entry: Entry, previous_hash: str) -> str:
    """What an entry's hash must be, after the entry with ``previous_hash``."""
    content = entry_bytes(
        entry.tenant_id,
        entry.number,
        entry.kind,
        entry.idempotency_key,
        entry.posted_at,
        entry.memo,
        entry.evidence_hash,
        entry.postings,
    )
    return chain(previous_hash, content)


def _entry(draft: Draft, number: int, previous_hash: str) -> Entry:
    entry = Entry(number=number, previous_hash=previous_hash, hash="", **msgspec.structs.asdict(draft))
    return msgspec.structs.replace(entry, hash=hash_of(entry, previous_hash))


def _check(draft: Draft, tenant_id: str) -> None:
    assert draft.tenant_id == tenant_id, "one call posts for one tenant"
    assert unbalanced(draft.postings) is None, "an entry sums to zero per affiliate and currency"
    assert all(posting.account in get_args(Account) and posting.amount_minor for posting in draft.postings), "known account, amount"


def _content(entry: Entry | Draft) -> tuple[str, str, str, tuple[Posting, ...]]:
    return entry.kind, entry.memo, entry.evidence_hash, entry.postings
