"""What people decided, as verify needs it: closed months, holds and adjustments, each against the chain and the commissions.

From the first entry on, everything that was ever decided is read; behind a checkpoint, what new entries and commissions ask for.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
HOLDING = frozenset(kind for kind, _ in SAID.values())
SUBJECTS_AT_ONCE = 500


class Decided(msgspec.Struct):
    """One tenant's decisions. ``standing`` are the subjects on hold; ``expected`` the commissions of adjustments, until they are met.

    ``closings`` are all of them; ``ahead`` those whose last entry is not passed yet, the next one last; ``closed`` and ``closed_at``
    the newest month closed so far, and its last entry.
    """

    tenant_id: str
    closings: list[Closing]
    steps: list[HoldStep]
    adjustments: list[Adjustment]
    standing: Collection[tuple[str, str]]
    expected: dict[str, Adjustment]
    ahead: list[Closing]
    closed: str = ""
    closed_at: int = 0

    @classmethod
    def read(cls, connection: Connection, tenant_id: str, is_whole: bool = True, after_step: int = 0) -> "Decided":
        """``is_whole``: everything; else what was said behind ``after_step``, and the rest by :meth:`learn`."""
        steps = holds.all_steps(connection, tenant_id, 0 if is_whole else after_step)
        newest = {(step.order_id, step.affiliate_id): step.action for step in steps}
        made = adjustments.all_adjustments(connection, tenant_id) if is_whole else []
        closings = periods.read_closings(connection, tenant_id)
        return cls(
            tenant_id,
            closings,
            steps,
            made,
            frozenset(subject for subject, action in newest.items() if action == "hold"),
            _expected(made),
            sorted(closings, key=lambda one: one.head_number, reverse=True),
        )

    def learn(self, connection: Connection, keys: Iterable[str], rows: Sequence[Commission]) -> None:
        """What these commissions, and entries of adjustments by their keys, ask for, where not everything was read."""
        named = [key.partition(":")[2] for key in keys]
        for at in range(0, len(named), SUBJECTS_AT_ONCE):
            new = adjustments.adjustments_named(connection, self.tenant_id, named[at : at + SUBJECTS_AT_ONCE])
            self.adjustments += new
            self.expected |= _expected(new)
        self.standing = {
            (step.order_id, step.affiliate_id)
            for at in range(0, len(rows), SUBJECTS_AT_ONCE)
            for step in _about(connection, self.tenant_id, rows[at : at + SUBJECTS_AT_ONCE])
            if step.action == "hold"
        }

    def wrong(self, row: Commission) -> str | None:
        """What is wrong with a commission, as far as people decided about it. Each is shown once."""
        if row.subject == "adjustment" and self.expected.pop(row.commission_id, None) is None:
            return f"no adjustment {row.line_id} was booked with this content"
        return self.wrong_state(row)

    def wrong_state(self, row: Commission) -> str | None:
        """Whether a commission is held exactly where somebody's hold stands over it."""
        if row.state not in OPEN or (not self.standing and row.state != "held"):
            return None
        is_covered = any(subject in self.standing for subject in subjects_of(row.order_id, row.affiliate_id))
        if is_covered != (row.state == "held"):
            return f"its state is {row.state}, but somebody's hold {'stands' if is_covered else 'does not stand'} over it"
        return None

    def wrong_period(self, number: int, period: str) -> str | None:
        """What is wrong with an entry's accounting month. Entries are shown in their order."""
        while self.ahead and self.ahead[-1].head_number < number:
            one = self.ahead.pop()
            if one.month > self.closed:
                self.closed, self.closed_at = one.month, one.head_number
        if self.closed and period <= self.closed:
            return f"it belongs to {period or 'no month'}, which was closed after entry {self.closed_at}"
        return None


def _expected(made: Iterable[Adjustment]) -> dict[str, Adjustment]:
    return {commission_of(one).commission_id: one for one in made if one.state == "booked"}


def _about(connection: Connection, tenant_id: str, rows: Sequence[Commission]) -> list[HoldStep]:
    return holds.steps_about(connection, tenant_id, (row.order_id for row in rows), (row.affiliate_id for row in rows))


def wrong_closings(decided: Decided, hashes: Mapping[int, str]) -> Iterator[Wrong]:
    """Closings that name another ledger. ``hashes`` of their last entries; an entry 0 there is none."""
    for one in decided.closings:
        if hashes.get(one.head_number, "") != one.head_hash:
            yield "periods", one.month, f"entry {one.head_number}, the last one when it was closed, has another hash"


def wrong_holds(decided: Decided, known: Mapping[str, Entry]) -> Iterator[Wrong]:
    """Steps without their entry or with another text, and entries without their step. ``known``: entries by key."""
    keys = {key: entry for key, entry in known.items() if entry.kind in HOLDING}
    for step in decided.steps:
        entry = keys.pop(f"hold:{step.number}", None)
        if entry is None or (entry.kind, entry.memo) != (SAID[step.action][0], hold_memo(step)):
            yield "holds", str(step.number), "the ledger has no entry that says this"
    for key, entry in keys.items():
        if not key.startswith("hold:void:"):
            yield "holds", key.rpartition(":")[2], f"entry {entry.number} names it, but it does not exist"


def wrong_adjustments(decided: Decided, known: Mapping[str, Entry]) -> Iterator[Wrong]:
    """Adjustments without their entry or their second person, and entries without their adjustment. Commissions come first."""
    keys = {key: entry for key, entry in known.items() if entry.kind == "adjustment"}
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
