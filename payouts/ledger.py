"""Posting to the ledger: double-entry, append-only, numbered without gaps per tenant, hash-chained.

Accounts, each per affiliate and currency. Positive amounts are credit (towards the affiliate), negative ones debit. The first five are
the states of a commission:

==========  ==============================================================================================
pending     earned, within the hold of its order
held        earned, and put on hold by somebody, for a reason
approved    hold over; negative where refunds outweigh: carried forward
payable     claimed by a payout batch that is not settled yet
paid        settled
expense     what was granted, so zero or negative: each grant is a debit here
reversed    what was taken back (refunds, other decisions, rejections), so zero or positive
==========  ==============================================================================================

Every entry sums to zero per affiliate and currency, so all accounts together always do: the states sum to what was granted less what
was taken back.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec
from sqlalchemy import Connection

from core.clock import Instant
from core.errors import Conflict
from payouts.digests import WITH_PERIOD, chain, entry_bytes
from payouts.periods import month_of, months, period_for
from store.commissions import Commission
from store.ledger import Entry, Posting, calendar_of, entries_by_key, head, insert_entries

Account = Literal["expense", "pending", "held", "approved", "payable", "paid", "reversed"]
EntryKind = Literal[
    "accrual",
    "release",
    "hold",
    "hold_released",
    "rejection",
    "adjustment",
    "batch_prepared",
    "batch_voided",
    "batch_settled",
    "accounts_renamed",
]
BOOKING: tuple[EntryKind, ...] = ("accrual", "rejection", "adjustment")
"""The kinds of entries that book commissions: their evidence is the ids of those. All others move between states."""
STATES: tuple[Account, ...] = ("pending", "held", "approved", "payable", "paid")
"""The accounts that are states of a commission."""
EXPENSE: Account = "expense"
REVERSED: Account = "reversed"
FORMER_ACCOUNT = "batched"
"""The one name of earlier versions of the program that is no account any more; an entry of kind accounts_renamed empties it."""

ACCOUNTS = frozenset(get_args(Account))
ALSO_FORMER = ACCOUNTS | {FORMER_ACCOUNT}


class Draft(msgspec.Struct, frozen=True):
    """An entry before it has a number. The idempotency key is unique in the tenant and never expires.

    ``subject_at`` is the time of what it is about (an order's), where that is another than the time of posting: the entry
    belongs to its accounting month. Where that month is closed, the memo says so.
    """

    tenant_id: str
    kind: EntryKind
    idempotency_key: str
    posted_at: Instant
    memo: str = ""
    evidence_hash: str = ""
    postings: tuple[Posting, ...] = ()
    subject_at: Instant | None = None


def post(connection: Connection, draft: Draft) -> int:
    """Post one entry: see :func:`post_all`."""
    return post_all(connection, [draft])[0]


def post_all(connection: Connection, drafts: Sequence[Draft]) -> list[int]:
    """Post entries of one tenant; returns their numbers. The caller holds ``books.lock_tenant`` and commits.

    A draft whose key was posted before with the same content gives the old number and writes nothing; the time of
    posting is no content, since a repeat comes later, and neither is the accounting month.

    Raises:
        Conflict: the key was posted before with another content.
    """
    if not drafts:
        return []
    tenant_id = drafts[0].tenant_id
    posted = entries_by_key(connection, tenant_id, [draft.idempotency_key for draft in drafts])
    number, previous = head(connection, tenant_id)
    time_zone, closed = calendar_of(connection, tenant_id)
    month_at = months(time_zone)
    numbers, new = [], []
    for draft in drafts:
        _check(draft, tenant_id)
        entry = posted.get(draft.idempotency_key)
        if entry is None:
            number += 1
            month = month_at(draft.posted_at if draft.subject_at is None else draft.subject_at)
            entry = _entry(draft, number, previous, month, closed)
            previous = entry.hash
            posted[draft.idempotency_key] = entry
            new.append(entry)
        elif not _is_repeat(entry, draft, time_zone):
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


def accrual_postings(rows: Iterable[Commission]) -> tuple[Posting, ...]:
    """The postings that book new commissions: what is granted costs, what is taken back is reversed, each into or out of its state.

    Rows of one affiliate, state and rate become one posting on each side. What was converted keeps its original amount.
    """
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        if row.amount_minor:
            assert row.state in STATES, "a state that carries money is an account"
            contra = EXPENSE if row.amount_minor > 0 else REVERSED
            origin = (row.original_currency, row.rate, row.rate_source, row.rate_date)
            for account, sign in ((contra, -1), (row.state, 1)):
                amounts = sums.setdefault((account, row.affiliate_id, row.currency, *origin), [0, 0])
                amounts[0] += sign * row.amount_minor
                amounts[1] += sign * row.original_minor
    return tuple(
        Posting(account, affiliate_id, currency, amount, original, original_minor if original else 0, *rate)
        for (account, affiliate_id, currency, original, *rate), (amount, original_minor) in sorted(sums.items())
        if amount
    )


def unbalanced(postings: Sequence[Posting]) -> tuple[str, str, int] | None:
    """The first ``(affiliate_id, currency, sum)`` that is not zero, or None for a sound entry."""
    if len(postings) == 2:
        one, other = postings
        if one.amount_minor == -other.amount_minor and one.affiliate_id == other.affiliate_id and one.currency == other.currency:
            return None  # as nearly every entry
    sums: dict[tuple[str, str], int] = {}
    for posting in postings:
        key = (posting.affiliate_id, posting.currency)
        sums[key] = sums.get(key, 0) + posting.amount_minor
    return next(((*key, total) for key, total in sorted(sums.items()) if total), None)


def _entry(draft: Draft, number: int, previous_hash: str, month: str, closed: str) -> Entry:
    period = period_for(month, closed)
    memo = draft.memo if period == month or draft.subject_at is None else _late(draft.memo, month)
    fields = (draft.tenant_id, number, draft.kind, draft.idempotency_key, draft.posted_at, memo, draft.evidence_hash, draft.postings)
    digest = chain(previous_hash, entry_bytes(*fields, period), WITH_PERIOD)
    return Entry(*fields, previous_hash, digest, period)


def _late(memo: str, month: str) -> str:
    return f"{memo} (for {month}, which is closed)"


def _check(draft: Draft, tenant_id: str) -> None:
    assert draft.tenant_id == tenant_id, "one call posts for one tenant"
    assert unbalanced(draft.postings) is None, "an entry sums to zero per affiliate and currency"
    known = ALSO_FORMER if draft.kind == "accounts_renamed" else ACCOUNTS
    for posting in draft.postings:
        assert posting.account in known and posting.amount_minor, "known account, amount"  # noqa: PT018


def _is_repeat(entry: Entry, draft: Draft, time_zone: str) -> bool:
    memos = [draft.memo]
    if draft.subject_at is not None:
        memos.append(_late(draft.memo, month_of(draft.subject_at, time_zone)))
    same = (entry.kind, entry.evidence_hash, entry.postings) == (draft.kind, draft.evidence_hash, draft.postings)
    return same and entry.memo in memos
