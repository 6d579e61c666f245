"""What people decided, as verify needs it: closed months, holds and adjustments, each against the chain and the commissions."""

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import Connection

from payouts.adjustments import commission_of
from payouts.adjustments import memo_of as adjustment_memo
from payouts.holds import SAID, subjects_of
from payouts.holds import memo_of as hold_memo
from store import adjustments, holds, periods
from store.adjustments import Adjustment
from store.commissions import Commission
from store.holds import OPEN, HoldStep
from store.ledger import Entry
from store.periods import Closing

Wrong = tuple[str, str, str]
"""Table, row, and what is wrong with it."""


class Decided(msgspec.Struct):
    """One tenant's decisions. ``standing`` are the subjects on hold; ``expected`` the commissions of adjustments, until they are met."""

    closings: list[Closing]
    steps: list[HoldStep]
    adjustments: list[Adjustment]
    standing: frozenset[tuple[str, str]]
    expected: dict[str, Adjustment]

    @classmethod
    def read(cls, connection: Connection, tenant_id: str) -> "Decided":
        steps = holds.all_steps(connection, tenant_id)
        newest = {(step.order_id, step.affiliate_id): step.action for step in steps}
        made = adjustments.all_adjustments(connection, tenant_id)
        return cls(
            closings=periods.read_closings(connection, tenant_id),
            steps=steps,
            adjustments=made,
            standing=frozenset(subject for subject, action in newest.items() if action == "hold"),
            expected={commission_of(one).commission_id: one for one in made if one.state == "booked"},
        )

    def wrong(self, row: Commission) -> str | None:
        """What is wrong with a commission, as far as people decided about it. Each is shown once."""
        if row.subject == "adjustment" and self.expected.pop(row.commission_id, None) is None:
            return f"no adjustment {row.line_id} was booked with this content"
        is_covered = not self.standing.isdisjoint(subjects_of(row.order_id, row.affiliate_id))
        if row.state in OPEN and is_covered != (row.state == "held"):
            return f"its state is {row.state}, but somebody's hold {'stands' if is_covered else 'does not stand'} over it"
        return None


def wrong_periods(decided: Decided, entries: Mapping[int, Entry]) -> Iterator[Wrong]:
    """Entries in a month that was closed before they were posted, and closings that name another ledger."""
    for one in decided.closings:
        known = entries[one.head_number].hash if one.head_number in entries else ""
        if known != one.head_hash:
            yield "periods", one.month, f"entry {one.head_number}, the last one when it was closed, has another hash"
    closings = sorted(decided.closings, key=lambda one: one.head_number, reverse=True)
    closed, at = "", 0
    for number, entry in entries.items():
        while closings and closings[-1].head_number < number:
            one = closings.pop()
            closed, at = (one.month, one.head_number) if one.month > closed else (closed, at)
        if entry.period <= closed and closed:
            yield "entries", str(number), f"it belongs to {entry.period or 'no month'}, which was closed after entry {at}"


def wrong_holds(decided: Decided, entries: Mapping[int, Entry]) -> Iterator[Wrong]:
    """Steps without their entry or with another text, and entries without their step."""
    keys = {entry.idempotency_key: entry for entry in entries.values() if entry.kind in {kind for kind, _ in SAID.values()}}
    for step in decided.steps:
        entry = keys.pop(f"hold:{step.number}", None)
        if entry is None or (entry.kind, entry.memo) != (SAID[step.action][0], hold_memo(step)):
            yield "holds", str(step.number), "the ledger has no entry that says this"
    for key, entry in keys.items():
        if not key.startswith("hold:void:"):
            yield "holds", key.rpartition(":")[2], f"entry {entry.number} names it, but it does not exist"


def wrong_adjustments(decided: Decided, entries: Mapping[int, Entry]) -> Iterator[Wrong]:
    """Adjustments without their entry or their second person, and entries without their adjustment. Commissions come first."""
    keys = {entry.idempotency_key: entry for entry in entries.values() if entry.kind == "adjustment"}
    for one in decided.adjustments:
        entry = keys.pop(f"adjustment:{one.adjustment_id}", None)
        if (entry is not None) != (one.state == "booked"):
            yield "adjustments", one.adjustment_id, f"its state is {one.state}, but the ledger {'has' if entry else 'has no'} entry of it"
        elif entry is not None and entry.memo != adjustment_memo(one):
            yield "adjustments", one.adjustment_id, "the people or the reason of its entry are not those of its row"
        if one.state == "booked" and one.needs_second and one.decided_by == one.proposed_by:
            yield "adjustments", one.adjustment_id, "it is above the limit, and nobody but its proposer approved it"
    for one in decided.expected.values():
        yield "adjustments", one.adjustment_id, "it is booked, but there is no commission of it"
    for key, entry in keys.items():
        yield "adjustments", key.partition(":")[2], f"entry {entry.number} booked it, but it does not exist"
