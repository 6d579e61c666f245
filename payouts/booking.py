"""Book the difference: what an order's lines should have earned by now, minus what is posted. Pure.

A target is a function of the order's latest state alone (decision, refunds, the rate card of its time), so that any sequence
of arrivals, repeats and crashes ends in the same sums.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from core.catalogue import RateCard, Rule, version_at
from core.clock import DAY, Instant
from core.credit import Credit
from core.events import CustomerStatus, Order, Refund
from payouts.digests import commission_id
from payouts.earnings import Earning, earnings, unearned
from payouts.rate_card import Context, Reason, match
from payouts.refunds import Remainder, apply_refunds
from store.commissions import Commission, Kind

Key = tuple[str, str, str]
"""Programme, line, affiliate."""


class Verdict(msgspec.Struct, frozen=True):
    """The newest decision of an order, without its trace. ``customer_status`` and ``segments`` are what it took the customer for."""

    revision: int
    programme_id: str
    policy_version: int
    result: str
    credits: tuple[Credit, ...]
    inputs_hash: str
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True):
    """An order as the events store knows it now."""

    order: Order
    verdict: Verdict
    refunds: tuple[Refund, ...] = ()


class Tariff(msgspec.Struct, frozen=True):
    """What a tenant pays: its currency, and all versions of the rate card of each programme."""

    currency: str
    cards: Mapping[str, tuple[RateCard, ...]]


class Booking(msgspec.Struct, frozen=True):
    """The rows to add (none: nothing changed), and what the refunds came to."""

    rows: tuple[Commission, ...]
    remainder: Remainder


def book(facts: Facts, posted: Sequence[Commission], tariff: Tariff, now: Instant) -> Booking:
    """The rows that bring an order from what is ``posted`` (in booking order) to what it should be at ``now``.

    The rate card version that priced the order first stays in force for it. Within that version another rule may come to
    fit, where a later decision takes the customer for another status or other segments. A difference is payable at once
    where the order's hold is over, else held with the rest of the order.
    """
    remainder = apply_refunds(facts.order, facts.refunds)
    card = _card(facts, posted, tariff)
    as_sold, at_last = _targets(facts, posted, tariff, card, remainder)
    rows = _rows(facts, posted, card, as_sold, at_last, now)
    return Booking(tuple(_numbered(rows, len(posted))), remainder)


# --- the target ------------------------------------------------------------------------------------------------------


def _targets(
    facts: Facts, posted: Sequence[Commission], tariff: Tariff, card: RateCard | None, remainder: Remainder
) -> tuple[list[Earning], list[Earning]]:
    order, verdict = facts.order, facts.verdict
    if not verdict.programme_id:
        return [], []
    if order.test or not verdict.credits:
        nobody = unearned(order.lines, remainder.steps[-1], "test" if order.test else "unattributed")
        return nobody, nobody
    matched = _matched(facts, posted, tariff, card)
    return earnings(order.lines, matched, verdict.credits, remainder.steps)


def _card(facts: Facts, posted: Iterable[Commission], tariff: Tariff) -> RateCard | None:
    """The version that priced the order first, else the one in force at the order's time."""
    versions = tariff.cards.get(facts.verdict.programme_id, ())
    frozen = next((row.rate_card_version for row in _priced(facts, posted)), None)
    if frozen is None and any(row.affiliate_id and row.programme_id == facts.verdict.programme_id for row in posted):
        return None  # booked when there was no card: a card that comes later does not reach back, with or without a refund
    if frozen is None:
        return version_at(versions, facts.order.occurred_at)
    return next(card for card in versions if card.version == frozen)


def _matched(facts: Facts, posted: Sequence[Commission], tariff: Tariff, card: RateCard | None) -> list[Rule | Reason]:
    if card is None:
        return ["no_rule"] * len(facts.order.lines)
    order, verdict = facts.order, facts.verdict
    context = Context(order.currency, tariff.currency, verdict.customer_status or order.customer_status, verdict.segments)
    frozen = {} if verdict.customer_status or verdict.segments else _first_matches(facts, posted, card)
    return [frozen.get(line.line_id) or match(card.rules, line, context) for line in order.lines]


def _first_matches(facts: Facts, posted: Iterable[Commission], card: RateCard) -> dict[str, Rule | Reason]:
    """What priced each line first: it stays where the decision knows nothing of the customer.

    Decisions of earlier versions of the program never do, but their orders were priced by the history of the time.
    """
    rules = {rule.rule_id: rule for rule in card.rules}
    first: dict[str, Rule | Reason] = {}
    for row in _priced(facts, posted):
        first.setdefault(row.line_id, rules[row.rule_id] if row.rule_id else row.reason)  # type: ignore[arg-type]
    return first


def _priced(facts: Facts, posted: Iterable[Commission]) -> Iterator[Commission]:
    return (row for row in posted if row.rate_card_version and row.programme_id == facts.verdict.programme_id)


# --- the difference --------------------------------------------------------------------------------------------------


def _rows(
    facts: Facts, posted: Sequence[Commission], card: RateCard | None, as_sold: list[Earning], at_last: list[Earning], now: Instant
) -> Iterator[Commission]:
    programme_id = facts.verdict.programme_id
    targets = {(programme_id, earning.line_id, earning.affiliate_id) for earning in at_last}
    before: dict[Key, list[Commission]] = {}
    newest: dict[Key, int] = {}
    given: dict[Key, int] = {}
    for place, row in enumerate(posted):
        key = (row.programme_id, row.line_id, row.affiliate_id)
        before.setdefault(key, []).append(row)
        newest[key] = place
        if row.kind != "redecision" or sum(one.amount_minor for one in before[key]) != 0:  # taking all back gives nobody anything
            given[key] = place
    lost = {key[1]: place for key, place in sorted(given.items(), key=lambda item: item[1]) if key not in targets}
    for key, rows in before.items():
        if key not in targets and sum(row.amount_minor for row in rows) != 0:
            yield _reversal(facts, rows, now)
    for sold, target in zip(as_sold, at_last, strict=True):
        key = (programme_id, target.line_id, target.affiliate_id)
        regained = lost.get(target.line_id, -1) > newest.get(key, -1)
        yield from _line_rows(facts, before.get(key, []), card, sold, target, regained, now)


def _line_rows(
    facts: Facts, rows: Sequence[Commission], card: RateCard | None, sold: Earning, target: Earning, regained: bool, now: Instant
) -> Iterator[Commission]:
    """A line that was not posted yet shows its sale as sold and its refunds apart, even where they arrived together.

    A line that earns nothing gets a row that says so, anew where somebody else had the credit meanwhile (``regained``).
    """
    posted_minor = sum(row.amount_minor for row in rows)
    standing = posted_minor or sum(row.base_minor for row in rows if row.amount_minor)
    fresh = not rows or (not standing and target.amount_minor)
    if fresh and sold.amount_minor:
        yield _row(facts, card, "sale", sold, sold.base_minor, sold.amount_minor, now)
        if target.amount_minor != sold.amount_minor:
            base, amount = target.base_minor - sold.base_minor, target.amount_minor - sold.amount_minor
            yield _row(facts, card, "refund", target, base, amount, now)
    elif target.amount_minor != posted_minor:
        base = target.base_minor - sum(row.base_minor for row in rows if row.amount_minor)
        kind = _kind(facts, rows[-1], base) if rows else "sale"  # a fixed amount that moved here from a line that went back
        yield _row(facts, card, kind, target, base, target.amount_minor - posted_minor, now)
    elif target.amount_minor == 0 and (regained or not rows or (rows[-1].state == "none" and rows[-1].reason != target.reason)):
        yield _row(facts, card, "sale", target, target.base_minor, 0, now)


def _kind(facts: Facts, last: Commission, base_minor: int) -> Kind:
    return "redecision" if facts.verdict.revision != last.decision_revision and base_minor == 0 else "refund"


def _row(facts: Facts, card: RateCard | None, kind: Kind, earning: Earning, base_minor: int, amount_minor: int, now: Instant) -> Commission:
    order, verdict = facts.order, facts.verdict
    priced = card is not None and bool(earning.affiliate_id)
    hold_until = order.occurred_at + card.hold_days * DAY if card is not None and priced else order.occurred_at
    return Commission(
        tenant_id=order.tenant_id,
        commission_id="",
        programme_id=verdict.programme_id,
        order_id=order.order_id,
        line_id=earning.line_id,
        affiliate_id=earning.affiliate_id,
        kind=kind,
        currency=order.currency,
        base_minor=base_minor,
        amount_minor=amount_minor,
        rate_card_version=card.version if card is not None and priced else 0,
        rule_id=earning.rule_id,
        reason=earning.reason,
        touch_id=earning.touch_id,
        decision_revision=verdict.revision,
        policy_version=verdict.policy_version,
        inputs_hash=verdict.inputs_hash,
        state="none" if amount_minor == 0 else "payable" if hold_until <= now else "held",
        ordered_at=order.occurred_at,
        hold_until=hold_until,
        posted_at=now,
        entry_number=None,
        idempotency_key="",
    )


def _reversal(facts: Facts, rows: Sequence[Commission], now: Instant) -> Commission:
    """Everything that an affiliate was posted for a line whose credit went to somebody else."""
    verdict, last = facts.verdict, rows[-1]
    return msgspec.structs.replace(
        last,
        kind="redecision",
        base_minor=-sum(row.base_minor for row in rows if row.amount_minor),
        amount_minor=-sum(row.amount_minor for row in rows),
        reason="",
        decision_revision=verdict.revision,
        policy_version=verdict.policy_version,
        inputs_hash=verdict.inputs_hash,
        state="payable" if last.hold_until <= now else "held",
        posted_at=now,
        entry_number=None,
    )


def _numbered(rows: Iterable[Commission], posted: int) -> Iterator[Commission]:
    """Row n of an order is row n for ever: a second process that books the same difference collides here."""
    for ordinal, row in enumerate(rows, posted):
        numbered = msgspec.structs.replace(row, idempotency_key=f"{row.order_id}:{ordinal}")
        yield msgspec.structs.replace(numbered, commission_id=commission_id(numbered))
