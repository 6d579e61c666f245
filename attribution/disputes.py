"""The rules of a dispute: what may follow what, and when an order can still be given to somebody. Pure.

An affiliate asks for a review of an order; the merchant asks back, declines, or accepts. Accepting is an override: a person's
decision, which the run takes in the place of the computed one, and which stays part of the order's trace.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from attribution.explain import Explanation
from core.catalogue import Policy
from core.clock import DAY, HOUR, Instant
from store.disputes import Action, Case, Kind, Side, State

KINDS: dict[Kind, tuple[str, str]] = {
    "untracked": ("Missing", "I sent this customer, and the order is not among my conversions."),
    "incorrect": ("Wrong", "The order is known, but credited to somebody else, in too small a part, or not at all."),
    "declined": ("Taken back", "I had the credit or the commission, and it was taken back."),
}
"""What may be asked for: a word, and what the affiliate says with it."""

NEXT: Mapping[tuple[Side, State, Action], State] = {
    ("affiliate", "incomplete", "answered"): "open",
    ("affiliate", "open", "withdrawn"): "withdrawn",
    ("affiliate", "incomplete", "withdrawn"): "withdrawn",
    ("merchant", "open", "asked"): "incomplete",
    ("merchant", "open", "accepted"): "valid",
    ("merchant", "open", "declined"): "declined",
    ("merchant", "incomplete", "accepted"): "valid",
    ("merchant", "incomplete", "declined"): "declined",
}
"""Who may do what in which state, and the state that follows. What is not here is refused."""

MOST_CHARS = 2_000
"""In one message."""
MOST_STEPS = 40
"""In one case: after that the merchant can only accept or decline."""
MOST_PER_DAY = 20
"""Cases that an affiliate may open within 24 hours, over all merchants."""
DAY_BACK = 24 * HOUR


def next_state(case: Case, side: Side, action: Action) -> State | None:
    """The state that an action leads to; None where it may not be taken now."""
    if action in ("asked", "answered") and case.steps >= MOST_STEPS:
        return None
    return NEXT.get((side, case.state, action))


def actions_of(case: Case, side: Side) -> list[Action]:
    """What one side may do now."""
    possible = [action for who, state, action in NEXT if (who, state) == (side, case.state)]
    return [action for action in possible if next_state(case, side, action)]


def lock_at(ordered_at: Instant, policy: Policy) -> Instant:
    """From when on (inclusive) nothing about an order's credit changes any more."""
    return ordered_at + policy.lock_days * DAY


def why_not_accept(explanation: Explanation | None, policy: Policy | None, member_of: Sequence[str], affiliate_id: str, at: Instant) -> str:
    """Why the whole order cannot be given to an affiliate now, as one sentence for the merchant; empty where it can.

    Args:
        explanation: of the decision in force; None where there is no such order, or it is not decided yet.
        policy: the version that decided the order; None where no programme takes it.
        member_of: the tenant's programmes that the affiliate is a member of, in whatever status.
    """
    if explanation is None:
        return "There is no decided order with this id. Ask for the right one, or wait until the order has arrived."
    if explanation.result == "test_event":
        return "This is a test order: nobody can earn it."
    if policy is None:
        return "No programme takes the orders of this store, so nothing says what the order pays. Let a programme take the store first."
    if explanation.programme_id not in member_of:
        return f"The affiliate is no member of the programme {explanation.programme_id}, so no rate card speaks of it."
    locked_at = lock_at(explanation.ordered_at, policy)
    if locked_at <= at:
        since = f"was placed more than {policy.lock_days} days ago"
        return f"The order is locked: it {since}, and after that nothing changes (policy version {policy.version})."
    if credited_share(explanation, affiliate_id) == 1:
        return (
            "The affiliate has the whole credit already. What it earns follows from refunds and rates, which this answer does not change."
        )
    return ""


def credited_share(explanation: Explanation, affiliate_id: str) -> Fraction:
    """The part of an order that an affiliate has the credit for."""
    return sum((Fraction(credit.share) for credit in explanation.credits if credit.affiliate_id == affiliate_id), Fraction(0))
