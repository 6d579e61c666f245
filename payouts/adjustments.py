"""Manual adjustments: a person gives an affiliate an amount, or takes one, and says why. Each step is one transaction.

Up to the merchant's limit (``adjustment_limit_minor``, whatever the sign) an adjustment in the merchant's currency is booked at once.
Above it, and in any other currency, whose minor units are worth something else, a second person decides, by e-mail in any letter case;
the database refuses an approval by the proposer once more. What is booked is a commission of kind ``adjustment``, approved at once, paid
like any other, and held where a person's hold covers its affiliate.
"""

import msgspec
from sqlalchemy import Connection

from core.catalogue import Tenant
from core.clock import Instant
from core.errors import BadInput, Conflict, NotAllowed, NotFound
from core.money import LIMIT_MINOR, exponent, format_amount
from payouts.digests import commission_id, evidence
from payouts.holds import states_for
from payouts.ledger import Draft, accrual_postings, post
from store import adjustments
from store.adjustments import Adjustment
from store.books import Books
from store.catalogue import find
from store.commissions import Commission, insert_commissions

LONGEST_REASON = 255


class Proposal(msgspec.Struct, frozen=True):
    """What is asked for. ``programme_id`` empty: the only programme of the tenant that the affiliate ever joined."""

    affiliate_id: str
    amount_minor: int
    currency: str
    reason: str
    programme_id: str = ""


def propose(books: Books, tenant_id: str, proposal: Proposal, by: str, now: Instant) -> Adjustment:
    """Propose an adjustment; one within the limit is booked on the spot. Returns it as it stands then.

    Raises:
        BadInput: no amount or one beyond the largest taken, no such currency, no reason, no such affiliate or programme.
    """
    with books.writing() as connection:
        books.lock_tenant(connection, tenant_id)
        adjustment = _proposed(connection, tenant_id, proposal, by.strip().lower(), now)
        adjustments.insert_adjustment(connection, adjustment)
        if not adjustment.needs_second:
            return _book(connection, adjustment, adjustment.proposed_by, "", now)
    return adjustment


def approve(books: Books, tenant_id: str, adjustment_id: str, by: str, now: Instant) -> Adjustment:
    """Approve a proposal: it is booked. A proposal never changes, so that what is approved is what was read.

    Raises:
        NotFound: the tenant has no such adjustment.
        Conflict: it was decided already.
        NotAllowed: ``by`` proposed it.
    """
    with books.writing() as connection:
        adjustment = _waiting(books, connection, tenant_id, adjustment_id, "approve")
        if by.strip().lower() == adjustment.proposed_by:
            raise NotAllowed(
                f"cannot approve adjustment {adjustment_id}: {adjustment.proposed_by} proposed it, and it is above the limit of "
                f"{format_amount(adjustment.limit_minor, adjustment.currency)} {adjustment.currency}; ask another finance user"
            )
        return _book(connection, adjustment, by.strip().lower(), "", now)


def reject(books: Books, tenant_id: str, adjustment_id: str, by: str, reason: str, now: Instant) -> Adjustment:
    """Reject a proposal, or take one's own back: nothing is booked.

    Raises:
        NotFound: the tenant has no such adjustment.
        Conflict: it was decided already.
        BadInput: no reason.
    """
    with books.writing() as connection:
        adjustment = _waiting(books, connection, tenant_id, adjustment_id, "reject")
        return _decided(connection, adjustment, "rejected", by.strip().lower(), _said(reason), now)


def memo_of(adjustment: Adjustment) -> str:
    """What a booked adjustment's entry says, so that the chain holds the people and the reason."""
    by = f"proposed by {adjustment.proposed_by}"
    approved = f", approved by {adjustment.decided_by}" if adjustment.decided_by != adjustment.proposed_by else ""
    return f"adjustment {adjustment.adjustment_id} {by}{approved}: {adjustment.reason}"


def _proposed(connection: Connection, tenant_id: str, proposal: Proposal, by: str, now: Instant) -> Adjustment:
    tenant = find(connection, Tenant, tenant_id)
    assert tenant is not None, "people belong to a tenant"
    assert by, "somebody proposes"
    exponent(proposal.currency)
    if not 0 < abs(proposal.amount_minor) <= LIMIT_MINOR:
        raise BadInput("malformed", "give an amount other than zero, and not beyond the largest taken", "amount")
    programmes = adjustments.programmes_joined(connection, tenant_id, proposal.affiliate_id)
    if not programmes:
        raise BadInput("unknown", f"affiliate {proposal.affiliate_id!r:.80} never joined a programme of {tenant_id}", "affiliate_id")
    programme_id = proposal.programme_id or (programmes[0] if len(programmes) == 1 else "")
    if programme_id not in programmes:
        named = f"affiliate {proposal.affiliate_id} joined {', '.join(programmes)}: name one of these programmes"
        raise BadInput("unknown", named, "programme_id")
    return Adjustment(
        tenant_id=tenant_id,
        adjustment_id=f"adj_{adjustments.next_number(connection, tenant_id)}",
        programme_id=programme_id,
        affiliate_id=proposal.affiliate_id,
        currency=proposal.currency,
        amount_minor=proposal.amount_minor,
        reason=_said(proposal.reason),
        proposed_by=by,
        proposed_at=now,
        limit_minor=tenant.adjustment_limit_minor if proposal.currency == tenant.currency else 0,
    )


def _said(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON:
        raise BadInput("missing", f"give a reason of 1 to {LONGEST_REASON} characters", "reason")
    return reason


def _waiting(books: Books, connection: Connection, tenant_id: str, adjustment_id: str, verb: str) -> Adjustment:
    """The proposal, locked until the transaction ends."""
    books.lock_tenant(connection, tenant_id)
    adjustment = adjustments.read_adjustment(connection, tenant_id, adjustment_id)
    if adjustment is None:
        raise NotFound(f"there is no adjustment {adjustment_id}")
    if adjustment.state != "proposed":
        raise Conflict(f"cannot {verb} adjustment {adjustment_id}: it is {adjustment.state} (by {adjustment.decided_by})")
    return adjustment


def _decided(connection: Connection, adjustment: Adjustment, state: str, by: str, reason: str, now: Instant) -> Adjustment:
    decided = msgspec.structs.replace(adjustment, state=state, decided_by=by, decided_at=now, decided_reason=reason)
    if not adjustments.decide(connection, decided):
        raise Conflict(f"adjustment {adjustment.adjustment_id} was decided by somebody else just now; read it again")
    return decided


def _book(connection: Connection, adjustment: Adjustment, by: str, reason: str, now: Instant) -> Adjustment:
    booked = _decided(connection, adjustment, "booked", by, reason, now)
    (row,) = states_for(connection, booked.tenant_id, [commission_of(booked)], now)
    draft = Draft(
        tenant_id=booked.tenant_id,
        kind="adjustment",
        idempotency_key=f"adjustment:{booked.adjustment_id}",
        posted_at=now,
        memo=memo_of(booked),
        evidence_hash=evidence([row.commission_id]),
        postings=accrual_postings([row]),
    )
    insert_commissions(connection, [msgspec.structs.replace(row, entry_number=post(connection, draft))])
    return booked


def commission_of(booked: Adjustment) -> Commission:
    """The commission that an adjustment is booked as: without an order, its id in the place of the line."""
    assert booked.decided_at is not None, "what is booked was decided"
    row = Commission(
        tenant_id=booked.tenant_id,
        commission_id="",
        programme_id=booked.programme_id,
        order_id="",
        line_id=booked.adjustment_id,
        affiliate_id=booked.affiliate_id,
        kind="adjustment",
        currency=booked.currency,
        base_minor=0,
        amount_minor=booked.amount_minor,
        rate_card_version=0,
        rule_id="",
        reason="",
        touch_id="",
        decision_revision=0,
        policy_version=0,
        inputs_hash="",
        state="approved",
        ordered_at=booked.decided_at,
        hold_until=booked.decided_at,
        posted_at=booked.decided_at,
        entry_number=None,
        idempotency_key=f" {booked.adjustment_id}:0",  # no order's id begins with a space, so that it is no order's row
        subject="adjustment",
    )
    return msgspec.structs.replace(row, commission_id=commission_id(row))
