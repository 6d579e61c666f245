"""Book the difference: what an order's lines should have earned by now, minus what is posted. Pure.

A target (:mod:`payouts.pricing`) is a function of the order's latest state, of its frozen setting and of its standing, so that any
sequence of arrivals, repeats and crashes ends in the same sums.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from core.clock import DAY, Instant
from core.leads import subject_of
from payouts.digests import commission_id
from payouts.earnings import Earning
from payouts.orders import Facts
from payouts.pricing import Target
from store.commissions import Commission, Kind

Key = tuple[str, str, str, str]
"""Programme, line, affiliate, part."""


def book(facts: Facts, posted: Sequence[Commission], target: Target, now: Instant, pricing_hash: str = "") -> tuple[Commission, ...]:
    """The rows that bring an order from what is ``posted`` (in booking order) to its target at ``now``; none where nothing changed.

    A difference is approved at once where the order's hold is over, else pending with the rest of the order.
    """
    rows = (msgspec.structs.replace(row, pricing_hash=pricing_hash) for row in _rows(facts, posted, target, now))
    return tuple(_numbered(rows, len(posted)))


def _rows(facts: Facts, posted: Sequence[Commission], target: Target, now: Instant) -> Iterator[Commission]:
    programme_id = facts.verdict.programme_id
    targets = {_key_of(programme_id, earning) for earning in target.last}
    before: dict[Key, list[Commission]] = {}
    newest: dict[Key, int] = {}
    given: dict[Key, int] = {}
    for place, row in enumerate(posted):
        key = (row.programme_id, row.line_id, row.affiliate_id, row.part)
        before.setdefault(key, []).append(row)
        newest[key] = place
        if (
            row.kind not in ("redecision", "rejection") or sum(one.amount_minor for one in before[key]) != 0
        ):  # taking all back gives nobody anything
            given[key] = place
    lost = {key[1]: place for key, place in sorted(given.items(), key=lambda item: item[1]) if key not in targets}
    for key, rows in before.items():
        if key not in targets and sum(row.amount_minor for row in rows) != 0:
            yield _reversal(facts, rows, now)
    refunded = any(last.base_minor < _posted(last, before.get(_key_of(programme_id, last), [])).base_minor for last in target.last)
    for sold, last in zip(target.sold, target.last, strict=True):
        key = _key_of(programme_id, last)
        regained = not last.part and lost.get(last.line_id, -1) > newest.get(key, -1)
        yield from _line_rows(facts, before.get(key, []), target, sold, last, regained, refunded, now)


def _key_of(programme_id: str, earning: Earning) -> Key:
    return (programme_id, earning.line_id, earning.affiliate_id, earning.part)


def _line_rows(
    facts: Facts, rows: Sequence[Commission], target: Target, sold: Earning, last: Earning, regained: bool, refunded: bool, now: Instant
) -> Iterator[Commission]:
    """A line that was not posted yet shows its sale as sold and its refunds apart, even where they arrived together.

    A line that earns nothing gets a row that says so, anew where somebody else had the credit meanwhile (``regained``).
    ``refunded``: some line of the order is worth less than what was posted.
    """
    posted_minor = sum(row.amount_minor for row in rows)
    standing = posted_minor or sum(row.base_minor for row in rows if row.amount_minor)
    fresh = not rows or (not standing and last.amount_minor)
    if fresh and sold.amount_minor:
        yield _row(facts, target, "sale", _less(sold, _posted(sold, rows)), now)
        if last.amount_minor != sold.amount_minor:
            yield _row(facts, target, "refund", _less(last, sold), now, last)
    elif last.amount_minor != posted_minor:
        change = _less(last, _posted(last, rows))
        # Without rows: a fixed amount that moved here from a line that went back.
        kind = _kind(facts, rows[-1], change.base_minor, refunded) if rows else "sale"
        yield _row(facts, target, kind, change, now, last)
    elif last.amount_minor == 0 and (regained or not rows or rows[-1].reason not in ("", last.reason)):
        capped_minor = last.capped_minor - sum(row.capped_minor for row in rows)
        yield _row(facts, target, "sale", msgspec.structs.replace(last, capped_minor=capped_minor), now)


def _posted(last: Earning, rows: Sequence[Commission]) -> Earning:
    """What rows came to, as an earning. The base is that of rows with an amount: others are about nothing that was given."""
    return msgspec.structs.replace(
        last,
        base_minor=sum(row.base_minor for row in rows if row.amount_minor),
        amount_minor=sum(row.amount_minor for row in rows),
        capped_minor=sum(row.capped_minor for row in rows),
        original_minor=sum(row.original_minor for row in rows),
    )


def _less(last: Earning, before: Earning) -> Earning:
    return msgspec.structs.replace(
        last,
        base_minor=last.base_minor - before.base_minor,
        amount_minor=last.amount_minor - before.amount_minor,
        capped_minor=last.capped_minor - before.capped_minor,
        original_minor=last.original_minor - before.original_minor,
    )


def _kind(facts: Facts, last: Commission, base_minor: int, refunded: bool) -> Kind:
    """A fixed amount for the order moves to another line by a refund, too: that line's own base stays."""
    decided_anew = facts.verdict.revision != last.decision_revision and base_minor == 0
    return "refund" if refunded and not decided_anew else "redecision"


def _row(facts: Facts, target: Target, kind: Kind, earning: Earning, now: Instant, last: Earning | None = None) -> Commission:
    """A row of what ``earning`` says. ``last``: what the line comes to with it, where that is another thing."""
    order, verdict, card, rate = facts.order, facts.verdict, target.card, target.rate
    priced = card is not None and bool(earning.affiliate_id)
    hold_until = order.occurred_at + card.hold_days * DAY if card is not None and priced else order.occurred_at
    amount_minor = earning.amount_minor
    converted = rate is not None and bool(earning.original_minor)
    return Commission(
        tenant_id=order.tenant_id,
        commission_id="",
        programme_id=verdict.programme_id,
        order_id=order.order_id,
        line_id=earning.line_id,
        affiliate_id=earning.affiliate_id,
        kind=kind,
        currency=target.currency,
        base_minor=earning.base_minor,
        amount_minor=amount_minor,
        rate_card_version=earning.version,
        rule_id=earning.rule_id,
        reason=(last or earning).reason,
        touch_id=earning.touch_id,
        decision_revision=verdict.revision,
        policy_version=verdict.policy_version,
        inputs_hash=verdict.inputs_hash,
        state="none" if amount_minor == 0 else "approved" if hold_until <= now else "pending",
        ordered_at=order.occurred_at,
        hold_until=hold_until,
        posted_at=now,
        entry_number=None,
        idempotency_key="",
        part=earning.part,
        subject=subject_of(order.order_id),
        capped_minor=earning.capped_minor,
        limit_id=earning.limit_id,
        original_currency=rate.base if rate is not None and converted else "",
        original_minor=earning.original_minor,
        rate=rate.value if rate is not None and converted else "",
        rate_source=rate.source if rate is not None and converted else "",
        rate_date=rate.on.isoformat() if rate is not None and converted else "",
    )


def _reversal(facts: Facts, rows: Sequence[Commission], now: Instant) -> Commission:
    """Everything that an affiliate was posted for a line whose credit went to somebody else."""
    verdict, last = facts.verdict, next(row for row in reversed(rows) if row.amount_minor)
    return msgspec.structs.replace(
        last,
        kind="redecision",
        base_minor=-sum(row.base_minor for row in rows if row.amount_minor),
        amount_minor=-sum(row.amount_minor for row in rows),
        capped_minor=-sum(row.capped_minor for row in rows),
        original_minor=-sum(row.original_minor for row in rows),
        reason="",
        decision_revision=verdict.revision,
        policy_version=verdict.policy_version,
        inputs_hash=verdict.inputs_hash,
        state="approved" if last.hold_until <= now else "pending",
        posted_at=now,
        entry_number=None,
    )


def _numbered(rows: Iterable[Commission], posted: int) -> Iterator[Commission]:
    """Row n of an order is row n for ever: a second process that books the same difference collides here."""
    for ordinal, row in enumerate(rows, posted):
        numbered = msgspec.structs.replace(row, idempotency_key=f"{row.order_id}:{ordinal}")
        yield msgspec.structs.replace(numbered, commission_id=commission_id(numbered))
