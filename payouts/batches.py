"""Payout batches: prepared by one person, approved by another, then settled. Each step is one transaction.

The approver confirms the hash of the exact content. Roles are the portal's check; here only the people differ, by e-mail in
any letter case, and the database refuses an approval by the preparer once more.
"""

from collections.abc import Sequence
from itertools import groupby

import msgspec
from sqlalchemy import Connection

from core.clock import Instant, format_instant
from core.errors import BadInput, Conflict, NotAllowed, NotFound
from core.money import exponent
from payouts import digests
from payouts.holds import hold_again, release_tenant
from payouts.ledger import Account, Draft, EntryKind, post, transfer
from store import batches
from store.batches import Batch, LeftOut, Payout, PayoutLine
from store.books import Books
from store.commissions import Claimed, approved_sums, claim_approved
from store.ledger import Posting


def prepare(books: Books, tenant_id: str, currency: str, cutoff_at: Instant, by: str, now: Instant, minimum_minor: int = 0) -> Batch:
    """Claim what is approved and was posted before ``cutoff_at`` (exclusive), one payout per affiliate.

    Holds that are over are released first. Left out, listed, and carried to the next batch: negative balances, balances
    below ``minimum_minor``, and affiliates without account holder and IBAN.

    Raises:
        BadInput: nobody can be paid; nothing was claimed. Or the currency is none.
    """
    exponent(currency)
    with books.writing() as connection:
        books.lock_tenant(connection, tenant_id)
        release_tenant(connection, tenant_id, now)
        sums = approved_sums(connection, tenant_id, currency, cutoff_at)
        accounts = batches.bank_accounts(connection, [affiliate_id for affiliate_id, _ in sums])
        left_out = choose_left_out(sums, accounts, minimum_minor)
        absent = {one.affiliate_id for one in left_out}
        paid = [affiliate_id for affiliate_id, amount in sums if amount > 0 and affiliate_id not in absent]
        if not paid:
            raise BadInput("nothing_payable", _nobody(tenant_id, currency, cutoff_at, left_out), "currency")
        claimed = claim_approved(connection, tenant_id, currency, cutoff_at, paid)
        number = batches.next_number(connection, tenant_id)
        batch = Batch(tenant_id, f"pb_{number}", currency, "prepared", cutoff_at, _person(by), now, "", left_out=left_out)
        batch = msgspec.structs.replace(batch, payouts=_payouts(number, currency, claimed, accounts))
        batch = msgspec.structs.replace(batch, content_hash=content_hash(batch))
        batches.insert_batch(connection, batch)
        post(connection, _draft(batch, "batch_prepared", _sides(batch, "approved", "payable"), now))
    return batch


def approve(books: Books, tenant_id: str, batch_id: str, by: str, content_hash: str, now: Instant) -> Batch:
    """Approve exactly the content that ``content_hash`` stands for.

    Raises:
        NotFound: the tenant has no such batch.
        Conflict: it is not prepared (any more), or its content is not what was confirmed. A batch whose stored content was
            changed after it was prepared is voided on the spot.
        NotAllowed: ``by`` prepared it.
    """
    with books.writing() as connection:
        batch = _open(books, connection, tenant_id, batch_id, "approve", ("prepared",))
        if _person(by) == batch.prepared_by:
            raise NotAllowed(
                f"cannot approve batch {batch_id}: {batch.prepared_by} prepared it, and the preparer may not approve; "
                "ask another finance user"
            )
        changed = _content_hash_now(batch) != batch.content_hash
        if changed:
            _void(connection, batch, by, now)
        elif content_hash != batch.content_hash:
            raise Conflict(
                f"cannot approve batch {batch_id}: what you confirmed is not its content; read it again and approve what you see"
            )
        elif not batches.mark_approved(connection, tenant_id, batch_id, _person(by), content_hash, now):
            raise Conflict(f"cannot approve batch {batch_id}: somebody else changed it just now; read it again")
    if changed:
        raise Conflict(
            f"cannot approve batch {batch_id}: its content was changed after it was prepared, so it was voided; prepare it again"
        )
    return _reread(books, tenant_id, batch_id)


def void(books: Books, tenant_id: str, batch_id: str, by: str, now: Instant) -> Batch:
    """Give up a batch that is not settled: its commissions are approved again.

    Raises:
        NotFound: the tenant has no such batch.
        Conflict: it is settled or void already.
    """
    with books.writing() as connection:
        batch = _open(books, connection, tenant_id, batch_id, "void", ("prepared", "approved"))
        _void(connection, batch, by, now)
    return _reread(books, tenant_id, batch_id)


def settle(books: Books, tenant_id: str, batch_id: str, by: str, now: Instant) -> Batch:
    """Record that an approved batch was paid out: its commissions are paid, for good.

    Raises:
        NotFound: the tenant has no such batch.
        Conflict: it is not approved (any more), or its stored content was changed.
    """
    with books.writing() as connection:
        batch = _open(books, connection, tenant_id, batch_id, "settle", ("approved",))
        if _content_hash_now(batch) != batch.approved_hash:
            raise Conflict(
                f"cannot settle batch {batch_id}: its content is not what {batch.approved_by} approved; void it and prepare it again"
            )
        if not batches.mark_settled(connection, tenant_id, batch_id, _person(by), now):
            raise Conflict(f"cannot settle batch {batch_id}: somebody else changed it just now; read it again")
        _move_all(connection, batch, "payable", "paid")
        post(connection, _draft(batch, "batch_settled", _sides(batch, "payable", "paid"), now))
    return _reread(books, tenant_id, batch_id)


def choose_left_out(sums: Sequence[tuple[str, int]], accounts: dict[str, tuple[str, str]], minimum_minor: int) -> tuple[LeftOut, ...]:
    """Who is not paid, and why, of ``(affiliate_id, amount_minor)``; a balance of zero is nobody's business."""
    found = []
    for affiliate_id, amount in sums:
        if amount < 0:
            found.append(LeftOut(affiliate_id, amount, "negative"))
        elif 0 < amount < minimum_minor:
            found.append(LeftOut(affiliate_id, amount, "below_minimum"))
        elif amount and not all(accounts.get(affiliate_id, ("", ""))):
            found.append(LeftOut(affiliate_id, amount, "no_bank_details"))
    return tuple(found)


def content_hash(batch: Batch) -> str:
    """The hash that an approver confirms: header, payouts, accounts and lines, in a fixed order."""
    header = [batch.tenant_id, batch.batch_id, batch.currency, batch.cutoff_at, batch.prepared_by, batch.prepared_at]
    payouts = [
        [
            payout.payout_id,
            payout.affiliate_id,
            payout.currency,
            payout.amount_minor,
            payout.account_holder,
            payout.iban,
            [[line.commission_id, line.amount_minor] for line in sorted(payout.lines, key=lambda line: line.commission_id)],
        ]
        for payout in sorted(batch.payouts, key=lambda payout: payout.affiliate_id)
    ]
    return digests.content_hash(header, payouts)


def memo_of(batch: Batch, kind: EntryKind) -> str:
    """What an entry says about a batch: who prepared it, and who approved and settled it, so that the chain holds the names."""
    said = f"batch {batch.batch_id} prepared by {batch.prepared_by}"
    return said if kind != "batch_settled" else f"{said}, approved by {batch.approved_by}"


def _payouts(number: int, currency: str, claimed: Sequence[Claimed], accounts: dict[str, tuple[str, str]]) -> tuple[Payout, ...]:
    ordered = sorted(claimed, key=lambda one: (one.affiliate_id, one.commission_id))
    payouts = []
    for position, (affiliate_id, group) in enumerate(groupby(ordered, key=lambda one: one.affiliate_id), 1):
        lines = tuple(PayoutLine(one.commission_id, one.amount_minor) for one in group)
        amount = sum(line.amount_minor for line in lines)
        payouts.append(Payout(f"po_{number}_{position}", affiliate_id, currency, amount, *accounts[affiliate_id], lines))
    return tuple(payouts)


def _sides(batch: Batch, from_account: Account, to_account: Account) -> list[Posting]:
    return [
        side
        for payout in batch.payouts
        for side in transfer(payout.affiliate_id, payout.currency, payout.amount_minor, from_account, to_account)
    ]


def _draft(batch: Batch, kind: EntryKind, sides: Sequence[Posting], now: Instant) -> Draft:
    return Draft(batch.tenant_id, kind, f"{kind}:{batch.batch_id}", now, memo_of(batch, kind), batch.content_hash, tuple(sides))


def _open(books: Books, connection: Connection, tenant_id: str, batch_id: str, verb: str, states: tuple[str, ...]) -> Batch:
    """The batch, locked until the transaction ends, in one of ``states``."""
    books.lock_tenant(connection, tenant_id)
    batch = batches.read_batch(connection, tenant_id, batch_id)
    if batch is None:
        raise NotFound(f"there is no batch {batch_id}")
    if batch.state not in states:
        raise Conflict(
            f"cannot {verb} batch {batch_id}: it is {batch.state}{_by_whom(batch)}; only a batch that is {' or '.join(states)} can be"
        )
    return batch


def _by_whom(batch: Batch) -> str:
    who = {"approved": batch.approved_by, "settled": batch.settled_by, "void": batch.voided_by}.get(batch.state)
    return f" (by {who})" if who else ""


def _void(connection: Connection, batch: Batch, by: str, now: Instant) -> None:
    if not batches.mark_void(connection, batch.tenant_id, batch.batch_id, _person(by), now):
        raise Conflict(f"cannot void batch {batch.batch_id}: somebody else changed it just now; read it again")
    moved = batches.move_commissions(connection, batch.tenant_id, batch.batch_id, "payable", "approved")
    batches.end_lines(connection, batch.tenant_id, batch.batch_id)
    # What goes back is what the commissions say: the payouts' rows may be the ones that were changed.
    returned: dict[str, int] = {}
    for one in moved:
        returned[one.affiliate_id] = returned.get(one.affiliate_id, 0) + one.amount_minor
    sides = [side for name, amount in sorted(returned.items()) for side in transfer(name, batch.currency, amount, "payable", "approved")]
    post(connection, _draft(batch, "batch_voided", sides, now))
    hold_again(connection, batch.tenant_id, batch.batch_id, (one.commission_id for one in moved), now)


def _move_all(connection: Connection, batch: Batch, from_state: str, to_state: str) -> None:
    moved = batches.move_commissions(connection, batch.tenant_id, batch.batch_id, from_state, to_state)  # type: ignore[arg-type]
    lines = sum(len(payout.lines) for payout in batch.payouts)
    assert len(moved) == lines, f"batch {batch.batch_id} claims {lines} commissions, and all of them are {from_state}"


def _content_hash_now(batch: Batch) -> str:
    """The content as it stands, or nothing where a payout is not the sum of its lines."""
    sound = all(payout.amount_minor == sum(line.amount_minor for line in payout.lines) for payout in batch.payouts)
    return content_hash(batch) if sound else ""


def _reread(books: Books, tenant_id: str, batch_id: str) -> Batch:
    with books.reading() as connection:
        batch = batches.read_batch(connection, tenant_id, batch_id)
    assert batch is not None, "a batch is never deleted"
    return batch


def _person(email: str) -> str:
    return email.strip().lower()


def _nobody(tenant_id: str, currency: str, cutoff_at: Instant, left_out: Sequence[LeftOut]) -> str:
    why = f"; left out: {', '.join(f'{one.affiliate_id} ({one.why})' for one in left_out[:10])}" if left_out else ""
    return (
        f"nobody of {tenant_id} can be paid in {currency} of what was posted before {format_instant(cutoff_at)}{why}; nothing was prepared"
    )
