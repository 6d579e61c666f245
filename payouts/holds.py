"""Holds: what is earned is approved when the order's hold is over; and what people put on hold, release or reject.

A hold by a person stands over an order, an affiliate, or one affiliate of an order. While it stands, what it covers is ``held``:
what is booked later too, a refund as well as its sale. What is in a batch or paid is out of its hands. A rejection is for good:
everything that the order earns is taken back by rows of their own (kind ``rejection``, reason ``fraud_rejected``), and from then on the
order earns nothing. Who is wronged by it gets a manual adjustment.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from core.clock import Instant
from core.errors import BadInput, Conflict, NotFound
from core.leads import spoken
from payouts.digests import commission_id, digest, evidence
from payouts.ledger import Account, Draft, EntryKind, accrual_postings, post, post_all, transfer
from store import holds
from store.books import Books
from store.commissions import Claimed, Commission, booked_as, due_groups, insert_commissions, of_orders, release_group
from store.holds import HoldAction, HoldStep, OpenRow
from store.ledger import Posting
from store.standing import put_queue

GROUPS_AT_ONCE = 500
ORDERS_AT_ONCE = 200
LONGEST_REASON = 255
REJECTED = "fraud_rejected"


class Outcome(msgspec.Struct, frozen=True):
    """What a person's step came to: commissions that changed their state, and amounts taken back, by currency (zero or negative)."""

    steps: int = 0
    moved: int = 0
    taken_back: dict[str, int] = {}


# --- by time ---------------------------------------------------------------------------------------------------------


def release_due(books: Books, now: Instant, limit: int = GROUPS_AT_ONCE) -> int:
    """Move everything pending until ``now`` or earlier to approved; returns how many commissions moved.

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
            drafts.append(_release_draft(tenant_id, affiliate_id, currency, amount, claimed, now))
    post_all(connection, drafts)
    return moved


def _release_draft(tenant_id: str, affiliate_id: str, currency: str, amount_minor: int, claimed: Sequence[Claimed], now: Instant) -> Draft:
    # With the time: what a person put on hold and released meanwhile may come a second time, where two machines' clocks differ.
    ids = digest("fairshare/release", str(now).encode(), *(one.commission_id.encode() for one in claimed))[:32]
    return Draft(
        tenant_id=tenant_id,
        kind="release",
        idempotency_key=f"release:{ids}",
        posted_at=now,
        memo=f"{len(claimed)} commissions of {affiliate_id}: hold over",
        postings=transfer(affiliate_id, currency, amount_minor, "pending", "approved"),
    )


# --- by people -------------------------------------------------------------------------------------------------------


def hold(books: Books, tenant_id: str, order_id: str, affiliate_id: str, reason: str, by: str, now: Instant) -> Outcome:
    """Put on hold what an order, an affiliate, or one affiliate of an order has open; an empty id is any.

    Raises:
        BadInput: neither order nor affiliate is named, or no reason.
        NotFound: nothing was ever booked of the two.
        Conflict: it is on hold already, or was rejected.
    """
    return _take_step(books, HoldStep(tenant_id, 0, "hold", order_id, affiliate_id, reason, by, now))


def release_hold(books: Books, tenant_id: str, order_id: str, affiliate_id: str, reason: str, by: str, now: Instant) -> Outcome:
    """End a hold: what it alone covered is approved where the order's hold is over, else pending.

    Raises:
        BadInput: neither order nor affiliate is named, or no reason.
        Conflict: these two, as named, are not on hold.
    """
    return _take_step(books, HoldStep(tenant_id, 0, "release", order_id, affiliate_id, reason, by, now))


def reject(books: Books, tenant_id: str, order_id: str, affiliate_id: str, reason: str, by: str, now: Instant) -> Outcome:
    """Take back, for good, what an order earned (everybody, or one affiliate), be it paid or not; what is paid is carried forward.

    Without an order: of every order and lead of which the affiliate has something granted that no batch has claimed yet. Bonuses, clicks
    and adjustments stay. A hold of the same subject ends.

    Raises:
        BadInput: neither order nor affiliate is named, or no reason.
        NotFound: nothing was ever booked of the two.
        Conflict: the order was rejected already, or is a bonus.
    """
    if order_id:
        return _take_step(books, HoldStep(tenant_id, 0, "reject", order_id, affiliate_id, reason, by, now))
    step = _checked(HoldStep(tenant_id, 0, "reject", "", affiliate_id, reason, by, now))
    total = Outcome()
    with books.reading() as connection:
        _require_subject(connection, step)
    while True:
        with books.writing() as connection:
            books.lock_tenant(connection, tenant_id)
            order_ids = holds.orders_to_reject(connection, tenant_id, affiliate_id, ORDERS_AT_ONCE)
            for one in order_ids:
                total = _sum(total, _apply(connection, msgspec.structs.replace(step, order_id=one)))
            if len(order_ids) < ORDERS_AT_ONCE:
                if _in_force(connection, tenant_id, "", affiliate_id) == "hold":
                    total = _sum(total, _apply(connection, msgspec.structs.replace(step, action="release")))
                return total


def states_for(connection: Connection, tenant_id: str, rows: Sequence[Commission], now: Instant) -> list[Commission]:
    """New rows with the states that they are booked in: held where somebody's hold covers them, else as they are.

    ``rows`` say pending or approved by the order's hold (until ``now``). The caller holds the tenant's lock.
    """
    assert all(row.state != "approved" or row.hold_until <= now for row in rows), "what is approved is past its hold"
    covers = _covers(connection, tenant_id, rows)
    return [msgspec.structs.replace(row, state="held") if row.amount_minor and covers(row) else row for row in rows]


def rejected_of(connection: Connection, tenant_id: str, order_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """Order -> the affiliates who may not earn from it any more; the empty name among them is everybody."""
    found: dict[str, set[str]] = {}
    for step in holds.steps_about(connection, tenant_id, order_ids, ()):
        if step.action == "reject":
            found.setdefault(step.order_id, set()).add(step.affiliate_id)
    return {order_id: frozenset(names) for order_id, names in found.items()}


def hold_again(connection: Connection, tenant_id: str, batch_id: str, commission_ids: Iterable[str], now: Instant) -> None:
    """What a void batch gave back goes on hold where somebody's hold covers it. The caller holds the tenant's lock."""
    moves = _moves(connection, tenant_id, holds.open_rows_by_id(connection, tenant_id, commission_ids), now)
    if moves:
        memo = f"{len(moves)} commissions of batch {batch_id}, which was voided: on hold"
        _post_moves(connection, tenant_id, "hold", f"hold:void:{batch_id}", memo, moves, now)


# --- a step ----------------------------------------------------------------------------------------------------------

Move = tuple[OpenRow, Account]
SAID: Mapping[HoldAction, tuple[EntryKind, str]] = {
    "hold": ("hold", "put on hold"),
    "release": ("hold_released", "hold ended"),
    "reject": ("rejection", "rejected"),
}


def _take_step(books: Books, step: HoldStep) -> Outcome:
    step = _checked(step)
    with books.writing() as connection:
        books.lock_tenant(connection, step.tenant_id)
        _require_subject(connection, step)
        _require_news(connection, step)
        return _apply(connection, step)


def _checked(step: HoldStep) -> HoldStep:
    reason, by = step.reason.strip(), step.decided_by.strip().lower()
    if not (step.order_id or step.affiliate_id):
        raise BadInput("missing", "name an order or an affiliate", "order_id")
    if not reason or len(reason) > LONGEST_REASON:
        raise BadInput("missing", f"give a reason of 1 to {LONGEST_REASON} characters", "reason")
    assert by, "somebody decides"
    return msgspec.structs.replace(step, reason=reason, decided_by=by)


def _require_subject(connection: Connection, step: HoldStep) -> None:
    if step.order_id:
        rows = of_orders(connection, step.tenant_id, [step.order_id]).get(step.order_id, [])
        # What earned nothing cannot be held, but it counts for tiers and bonuses until it is rejected.
        mine = [row for row in rows if row.affiliate_id and step.affiliate_id in ("", row.affiliate_id)]
        if not any(row.amount_minor or step.action == "reject" for row in mine):
            raise NotFound(f"nothing was booked of {_subject(step)}")
        if step.action == "reject" and any(row.subject == "bonus" for row in rows):
            raise Conflict(f"{_subject(step)} is a bonus, which goes with the orders that reach it; reject these, or adjust")
    elif not holds.was_booked(connection, step.tenant_id, step.affiliate_id):
        raise NotFound(f"nothing was booked of {_subject(step)}")


def _require_news(connection: Connection, step: HoldStep) -> None:
    now = _in_force(connection, step.tenant_id, step.order_id, step.affiliate_id)
    whole = _in_force(connection, step.tenant_id, step.order_id, "") if step.order_id else ""
    if "reject" in (now, whole):
        raise Conflict(
            f"{_subject(step)} was rejected already, and that is for good; an adjustment can give back what it should not have cost"
        )
    if step.action == "hold" and now == "hold":
        raise Conflict(f"{_subject(step)} is on hold already")
    if step.action == "release" and now != "hold":
        raise Conflict(f"{_subject(step)} is not on hold")


def _in_force(connection: Connection, tenant_id: str, order_id: str, affiliate_id: str) -> str:
    steps = holds.steps_about(connection, tenant_id, [order_id], [affiliate_id])
    return next((step.action for step in steps if (step.order_id, step.affiliate_id) == (order_id, affiliate_id)), "")


def _apply(connection: Connection, step: HoldStep) -> Outcome:
    """Write the step down, move what it is about to the state that it rests in now, and take back what is rejected; one entry."""
    step = msgspec.structs.replace(step, number=holds.next_step(connection, step.tenant_id))
    holds.insert_steps(connection, [step])
    moves = _moves(
        connection, step.tenant_id, holds.open_rows(connection, step.tenant_id, step.order_id, step.affiliate_id), step.decided_at
    )
    reversals = _reversals(connection, step) if step.action == "reject" else []
    kind, _ = SAID[step.action]
    number = _post_moves(connection, step.tenant_id, kind, f"hold:{step.number}", memo_of(step), moves, step.decided_at, reversals)
    insert_commissions(connection, [msgspec.structs.replace(row, entry_number=number) for row in reversals])
    if step.action == "reject":
        # Priced again, so that tiers, limits and recruiters let go of it too: also where a limit had left it nothing.
        put_queue(connection, step.tenant_id, _places(connection, step), REJECTED, False, step.decided_at)
    taken: dict[str, int] = {}
    for row in reversals:
        taken[row.currency] = taken.get(row.currency, 0) + row.amount_minor
    return Outcome(1, len(moves), taken)


def memo_of(step: HoldStep) -> str:
    """What a step's entry says, so that the chain holds who said what, and why."""
    return f"{_subject(step)}: {SAID[step.action][1]} by {step.decided_by}: {step.reason}"


def _subject(step: HoldStep) -> str:
    if not step.order_id:
        return f"affiliate {step.affiliate_id}"
    return f"{spoken(step.order_id)}, {step.affiliate_id}" if step.affiliate_id else spoken(step.order_id)


def _moves(connection: Connection, tenant_id: str, rows: Sequence[OpenRow], now: Instant) -> list[Move]:
    """Of open rows, those that rest in another state than the one that they are in."""
    covers = _covers(connection, tenant_id, rows)
    found: list[Move] = []
    for row in rows:
        if covers(row):
            rests: Account = "held"
        else:
            rests = row.state if row.state != "held" else "approved" if row.hold_until <= now else "pending"  # type: ignore[assignment]
        if rests != row.state:
            found.append((row, rests))
    return found


def _covers(connection: Connection, tenant_id: str, rows: Sequence[OpenRow | Commission]) -> Callable[[OpenRow | Commission], bool]:
    """Whether somebody's hold stands over a row."""
    steps = holds.steps_about(connection, tenant_id, (row.order_id for row in rows), (row.affiliate_id for row in rows))
    standing = {(step.order_id, step.affiliate_id) for step in steps if step.action == "hold"}
    return lambda row: not standing.isdisjoint(subjects_of(row.order_id, row.affiliate_id))


def subjects_of(order_id: str, affiliate_id: str) -> tuple[tuple[str, str], ...]:
    """The subjects that a commission is part of; one without an order is part of its affiliate alone."""
    whole = ("", affiliate_id)
    return (whole, (order_id, ""), (order_id, affiliate_id)) if order_id else (whole,)


def _reversals(connection: Connection, step: HoldStep) -> list[Commission]:
    """One row for each line and affiliate that takes back all that was granted."""
    rows = of_orders(connection, step.tenant_id, [step.order_id]).get(step.order_id, [])
    groups: dict[tuple[str, ...], list[Commission]] = {}
    for row in rows:
        if row.affiliate_id and step.affiliate_id in ("", row.affiliate_id):
            groups.setdefault((row.programme_id, row.line_id, row.affiliate_id, row.part, row.subject), []).append(row)
    place = max((booked_as(row) for row in rows), default=-1) + 1
    taken = [_reversal(group, step.decided_at) for group in groups.values() if sum(row.amount_minor for row in group)]
    taken = [msgspec.structs.replace(row, idempotency_key=f"{row.order_id}:{n}") for n, row in enumerate(taken, place)]
    taken = [msgspec.structs.replace(row, commission_id=commission_id(row)) for row in taken]
    return states_for(connection, step.tenant_id, taken, step.decided_at)


def _places(connection: Connection, step: HoldStep) -> set[tuple[Instant, str]]:
    return {(row.ordered_at, row.order_id) for row in of_orders(connection, step.tenant_id, [step.order_id]).get(step.order_id, [])}


def _reversal(rows: Sequence[Commission], now: Instant) -> Commission:
    last = rows[-1]
    return msgspec.structs.replace(
        last,
        kind="rejection",
        base_minor=-sum(row.base_minor for row in rows if row.amount_minor),
        amount_minor=-sum(row.amount_minor for row in rows),
        capped_minor=-sum(row.capped_minor for row in rows),
        original_minor=-sum(row.original_minor for row in rows),
        reason=REJECTED,
        state="approved" if last.hold_until <= now else "pending",
        posted_at=now,
        entry_number=None,
    )


def _post_moves(
    connection: Connection,
    tenant_id: str,
    kind: EntryKind,
    key: str,
    memo: str,
    moves: Sequence[Move],
    now: Instant,
    booked: Sequence[Commission] = (),
) -> int:
    """Move rows, and post what moved together with what is booked. The evidence is of the rows that are booked, else of those moved."""
    sides: list[Posting] = []
    by_way: dict[tuple[Account, Account], list[OpenRow]] = {}
    for row, to_state in moves:
        by_way.setdefault((row.state, to_state), []).append(row)  # type: ignore[arg-type]
    for (from_state, to_state), rows in sorted(by_way.items()):
        count = holds.set_state(connection, tenant_id, (row.commission_id for row in rows), from_state, to_state)  # type: ignore[arg-type]
        assert count == len(rows), "nobody else moves a tenant's commissions meanwhile"
        sides += _transfers(rows, from_state, to_state)
    ids = [row.commission_id for row in booked] if kind == "rejection" else [row.commission_id for row, _ in moves]
    return post(connection, Draft(tenant_id, kind, key, now, memo, evidence(ids), (*sides, *accrual_postings(booked))))


def _transfers(rows: Sequence[OpenRow], from_state: Account, to_state: Account) -> list[Posting]:
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        sums[row.affiliate_id, row.currency] = sums.get((row.affiliate_id, row.currency), 0) + row.amount_minor
    return [side for key, amount in sorted(sums.items()) for side in transfer(*key, amount, from_state, to_state)]


def _sum(one: Outcome, other: Outcome) -> Outcome:
    currencies = one.taken_back.keys() | other.taken_back.keys()
    taken = {name: one.taken_back.get(name, 0) + other.taken_back.get(name, 0) for name in sorted(currencies)}
    return Outcome(one.steps + other.steps, one.moved + other.moved, taken)
