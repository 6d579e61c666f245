"""The decision: a pure function from an order, its candidates and the rules to credits and a trace.

The policy's classes come first, then the later time, then the higher touch id: a total order, so that neither the order
of arrival nor equal times can flip a result. ``docs/attribution.md`` tells the rules to people.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from attribution.words import WINNER_OF_TEST, beaten, why
from core.catalogue import Coupon, Membership, Policy, TouchWindow
from core.credit import Candidate, Credit, Decision, Result, Step, Verdict
from core.events import Order

COUPON = "coupon:"
"""A coupon's candidate has this before its code as ``touch_id``."""

_canonical = msgspec.json.Encoder(order="deterministic").encode


class Case(msgspec.Struct, frozen=True):
    """One candidate before the rules, with what the catalogue says about it."""

    order: Order
    candidate: Candidate
    policy: Policy | None
    membership: Membership | None
    coupon: Coupon | None

    @property
    def rule(self) -> TouchWindow | None:
        """The policy's window for the candidate's class, None where the policy leaves the class out."""
        classes = self.policy.classes if self.policy else ()
        return next((rule for rule in classes if rule.touch == self.candidate.touch_class), None)


def _wrong_program(case: Case) -> bool:
    return case.policy is None or case.candidate.programme_id != case.policy.programme_id


def _class_excluded(case: Case) -> bool:
    return case.rule is None


def _bot(case: Case) -> bool:
    return not case.candidate.human


def _coupon_not_valid(case: Case) -> bool:
    return case.candidate.touch_class == "coupon" and (case.coupon is None or not case.coupon.valid_at(case.order.occurred_at))


def _after_order(case: Case) -> bool:
    return case.candidate.occurred_at > case.order.occurred_at


def _outside_window(case: Case) -> bool:
    return case.rule is not None and case.order.occurred_at - case.candidate.occurred_at > case.rule.window


def _affiliate_not_active(case: Case) -> bool:
    return case.membership is None or not case.membership.active_at(case.candidate.occurred_at)


RULES: tuple[tuple[Verdict, Callable[[Case], bool]], ...] = (
    ("wrong_program", _wrong_program),
    ("class_excluded", _class_excluded),
    ("bot", _bot),
    ("coupon_not_valid", _coupon_not_valid),
    ("after_order", _after_order),
    ("outside_window", _outside_window),
    ("affiliate_not_active", _affiliate_not_active),
)
"""What keeps a candidate from earning; the first rule that holds is its verdict. First what the touch is, then when it
happened, then whose it is: a later verdict means that it came closer to earning."""

REASONS: tuple[tuple[Verdict, Result], ...] = (
    ("affiliate_not_active", "affiliate_not_active"),
    ("after_order", "before_click"),
    ("outside_window", "outside_window"),
    ("bot", "invalid_touch"),
)
"""What an order that nobody earns is told, by the candidate that came closest; the other verdicts leave ``no_touch``."""


def decide(
    order: Order,
    candidates: Iterable[Candidate],
    policy: Policy | None,
    memberships: Mapping[str, Membership],
    coupons: Mapping[str, Coupon],
) -> Decision:
    """Who earns ``order``, and what became of every candidate.

    Args:
        candidates: in any order; the same touch may come several times and counts once.
        policy: of the order's programme at the order's time; None where no programme takes the order.
        memberships: of the policy's programme, by affiliate; a touch earns where its affiliate was active at its time.
        coupons: the tenant's, by code; one earns where it was valid at the order's time.

    Returns:
        One credit over the whole order, or none and the most telling reason. A test order never has credits; its trace
        still says which touch would have won.
    """
    cases = [_case(order, candidate, policy, memberships, coupons) for candidate in _ranked(_distinct(candidates), policy)]
    verdicts = [_verdict(case) for case in cases]
    winner = next((case.candidate for case, verdict in zip(cases, verdicts, strict=True) if verdict is None), None)
    credited = winner is not None and not order.test
    return Decision(
        tenant_id=order.tenant_id,
        order_id=order.order_id,
        programme_id=policy.programme_id if policy else "",
        policy_version=policy.version if policy else 0,
        result="credited" if credited else _reason(order, policy, cases, verdicts),
        credits=(Credit(winner.affiliate_id, winner.touch_id, 1, 1),) if winner and credited else (),
        trace=tuple(_step(case, verdict, winner) for case, verdict in zip(cases, verdicts, strict=True)),
        inputs_hash=_hash(order, policy, cases),
    )


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One per touch id; of several that differ, the smallest by content, so that no arrival order decides."""
    first: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=_canonical):
        first.setdefault(candidate.touch_id, candidate)
    return list(first.values())


def _ranked(candidates: list[Candidate], policy: Policy | None) -> list[Candidate]:
    """Strongest first: by class, then latest, then highest id. Classes that the policy leaves out come last."""
    ranks = {rule.touch: rank for rank, rule in enumerate(policy.classes if policy else ())}
    newest_first = sorted(candidates, key=lambda candidate: (candidate.occurred_at, candidate.touch_id), reverse=True)
    return sorted(newest_first, key=lambda candidate: ranks.get(candidate.touch_class, len(ranks)))


def _case(
    order: Order, candidate: Candidate, policy: Policy | None, memberships: Mapping[str, Membership], coupons: Mapping[str, Coupon]
) -> Case:
    coupon = coupons.get(candidate.touch_id.removeprefix(COUPON)) if candidate.touch_class == "coupon" else None
    return Case(order, candidate, policy, memberships.get(candidate.affiliate_id), coupon)


def _verdict(case: Case) -> Verdict | None:
    """What keeps the candidate from earning; None where nothing does."""
    return next((verdict for verdict, holds in RULES if holds(case)), None)


def _step(case: Case, verdict: Verdict | None, winner: Candidate | None) -> Step:
    candidate = case.candidate
    if verdict is not None:
        return Step(candidate, verdict, why(verdict, candidate, case.order.occurred_at, case.rule))
    assert winner is not None, "a candidate that nothing keeps from earning wins, or loses to the winner"
    if candidate is not winner:
        return Step(candidate, *beaten(candidate, winner))
    if case.order.test:
        return Step(candidate, "winner", WINNER_OF_TEST)
    return Step(candidate, "winner", why("winner", candidate, case.order.occurred_at, case.rule))


def _reason(order: Order, policy: Policy | None, cases: list[Case], verdicts: list[Verdict | None]) -> Result:
    """The most telling reason why nobody earns, in a fixed order: what the order is, then who came closest."""
    if order.test:
        return "test_event"
    if policy is None:
        return "program_not_active"
    if order.click_id and order.click_id not in {case.candidate.touch_id for case in cases}:
        return "unknown_click_id"
    for verdict, result in REASONS:
        if verdict in verdicts:
            return result
    keys = (order.click_id, order.visitor_id, order.customer_keys, order.coupons)
    return "no_touch" if any(keys) else "no_identity"


def _hash(order: Order, policy: Policy | None, cases: list[Case]) -> str:
    """SHA-256 over everything the decision read. Address and agent are left out: the events store does not keep them."""
    by_touch = sorted(cases, key=lambda case: case.candidate.touch_id)
    heard = msgspec.structs.replace(order, ip="", user_agent="")
    standing = [(case.candidate, case.membership, case.coupon) for case in by_touch]
    return hashlib.sha256(_canonical((heard, policy, standing))).hexdigest()
