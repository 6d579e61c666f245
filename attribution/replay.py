"""A period decided again under other policies: what would come out differently, and why. Nothing is written. I/O: the events store.

``before`` is the decision in force, since that is what was booked; ``after`` is what the same run would decide under the tried
policies. An order past its lock date keeps its decision, whatever is tried.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

import msgspec

from attribution.decisions import InForce, read_in_force
from attribution.policy import Terms, default_policy
from attribution.revisions import is_locked
from attribution.words import sentence
from core.catalogue import Policy, version_at
from core.clock import Instant
from core.credit import Credit, Decision, Result, Verdict
from core.events import CustomerStatus
from core.money import allocate
from store.events import EventsStore, parts_of, read_query

FROZEN_ORDERS = read_query(__file__, "frozen_orders")
ORDER_VALUES = read_query(__file__, "order_values")


class Sale(msgspec.Struct, frozen=True):
    """What a comparison needs of an order. ``net_minor`` is as sold."""

    order_id: str
    currency: str
    net_minor: int
    ordered_at: Instant


class Outcome(msgspec.Struct, frozen=True):
    """Who earns an order by one decision, and what it took the customer for, which may decide the rate.

    Not the number of the customer's order: no policy changes it, and decisions of an earlier version lack it.
    """

    result: Result
    programme_id: str
    policy_version: int
    credits: tuple[Credit, ...]
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()

    @property
    def shares(self) -> dict[str, Fraction]:
        """By affiliate; what is missing to one is nobody's."""
        sums: dict[str, Fraction] = {}
        for credit in self.credits:
            sums[credit.affiliate_id] = sums.get(credit.affiliate_id, Fraction(0)) + credit.share
        return sums


class Reason(msgspec.Struct, frozen=True):
    """What the tried policy says of an affiliate's strongest touch."""

    affiliate_id: str
    verdict: Verdict
    why: str


class Change(msgspec.Struct, frozen=True):
    """An order that would be decided otherwise. Where it is ``locked``, it will not."""

    sale: Sale
    before: Outcome
    after: Outcome
    reasons: tuple[Reason, ...]
    locked: bool = False


class Compared(msgspec.Struct, frozen=True):
    """Orders whose decisions were compared. ``standing`` are those in force, by order id; orders without one are ``undecided``."""

    sales: tuple[Sale, ...]
    standing: dict[str, Outcome]
    changes: tuple[Change, ...]
    locked: frozenset[str]
    undecided: int


# --- the rules that stand in -----------------------------------------------------------------------------------------


def stand_in(terms: Terms, tried: Iterable[Policy], from_at: Instant, to_at: Instant | None) -> tuple[Terms, tuple[Policy, ...]]:
    """The terms by which ``tried`` decide exactly the orders placed in ``[from_at, to_at)``, and the new versions that make it so.

    A tried policy stands in for the policies of its programme and its segment, from its own ``effective_from`` on; others stay in
    force. ``to_at`` None is open. Versions are numbered behind the existing ones; none is changed. Where a segment has no policy
    of its own at ``to_at``, nothing can be put back there: see :func:`hindrance`.
    """
    wanted: dict[tuple[str, str], list[Policy]] = {}
    for policy in tried:
        wanted.setdefault((policy.programme_id, policy.segment), []).append(policy)
    policies, written = dict(terms.policies), list[Policy]()
    for (programme_id, segment), series in sorted(wanted.items()):
        versions = policies.get(programme_id, ())
        number = max((policy.version for policy in versions), default=0)
        standing = tuple(policy for policy in versions if policy.segment == segment)
        new = [
            msgspec.structs.replace(policy, tenant_id=terms.tenant_id, version=number + place, effective_from=begins)
            for place, (begins, policy) in enumerate(_spans(standing, tuple(series), programme_id, segment, from_at, to_at), start=1)
        ]
        policies[programme_id] = (*versions, *new)
        written += new
    return msgspec.structs.replace(terms, policies=policies), tuple(written)


def hindrance(terms: Terms, tried: Iterable[Policy], to_at: Instant | None) -> str:
    """Why ``tried`` can be compared but not written for this period, as one sentence; empty where they can."""
    for policy in tried:
        standing = tuple(one for one in terms.policies.get(policy.programme_id, ()) if one.segment == policy.segment)
        if to_at is not None and policy.segment and version_at(standing, to_at) is None:
            return (
                f"segment {policy.segment} has no policy of its own in programme {policy.programme_id} at the end of the period, and "
                "a version cannot be taken back; leave the end open, or write a policy for the segment first"
            )
    return ""


def _spans(
    standing: tuple[Policy, ...], tried: tuple[Policy, ...], programme_id: str, segment: str, from_at: Instant, to_at: Instant | None
) -> list[tuple[Instant, Policy]]:
    """When which policy begins: the tried one at every point where another would take over, and at the end what was in force."""
    inside = [policy.effective_from for policy in (*standing, *tried) if policy.effective_from > from_at]
    points = sorted({from_at, *(point for point in inside if to_at is None or point < to_at)})
    spans: list[tuple[Instant, Policy]] = []
    for point in points:
        policy = version_at(tried, point)
        taken_over = any(one.effective_from == point for one in standing)
        if policy is not None and (not spans or spans[-1][1] != policy or taken_over):
            spans.append((point, policy))
    if to_at is not None and spans and all(one.effective_from != to_at for one in standing):
        after = version_at(standing, to_at) or (None if segment else default_policy("", programme_id))
        spans += [(to_at, after)] if after else []
    return spans


# --- the comparison --------------------------------------------------------------------------------------------------


def read_frozen(events: EventsStore, tenant_id: str) -> frozenset[str]:
    """The orders that keep their decision whatever happens: people whose keys were erased placed them."""
    return frozenset(order_id for (order_id,) in events.select(FROZEN_ORDERS, tenant_id=tenant_id))


def compare(
    events: EventsStore, terms: Terms, decisions: Sequence[Decision], at: Instant, frozen: frozenset[str] = frozenset()
) -> Compared:
    """Decisions under tried policies beside those in force.

    Args:
        terms: in force; by them an order is locked at ``at``.
        frozen: orders that are locked in any case.
    """
    order_ids = [decision.order_id for decision in decisions]
    sales = {sale.order_id: sale for sale in read_sales(events, terms.tenant_id, order_ids)}
    in_force = read_in_force(events, terms.tenant_id, order_ids)
    standing = {order_id: outcome_of(one) for order_id, one in in_force.items()}
    late = (order_id for order_id, one in in_force.items() if is_locked(terms, one, sales[order_id].ordered_at, at))
    locked = frozenset(late) | frozen.intersection(in_force)
    changes = [
        _change(sales[one.order_id], standing[one.order_id], one, one.order_id in locked)
        for one in decisions
        if one.order_id in standing and differs(standing[one.order_id], one)
    ]
    undecided = len(order_ids) - len(standing)
    return Compared(tuple(sales[order_id] for order_id in order_ids), standing, tuple(changes), locked, undecided)


def differs(before: Outcome, after: Decision) -> bool:
    """Whether a decision says something else than the one in force, whatever its version's number."""
    return msgspec.structs.replace(outcome_of(after), policy_version=before.policy_version) != before


def outcome_of(one: InForce | Decision) -> Outcome:
    """A decision without its trace."""
    return Outcome(one.result, one.programme_id, one.policy_version, one.credits, one.customer_status, one.segments)


def read_sales(events: EventsStore, tenant_id: str, order_ids: Iterable[str]) -> list[Sale]:
    """What the given orders are worth, by id."""
    parts = parts_of(order_ids)
    return [Sale(*row) for part in parts for row in events.select(ORDER_VALUES, tenant_id=tenant_id, order_ids=part)]


def values_of(sale: Sale, outcome: Outcome) -> dict[str, int]:
    """The order's net by affiliate, in minor units that sum to it exactly; nobody's part under an empty name."""
    shares = sorted(outcome.shares.items())
    parts = allocate(sale.net_minor, [*(share for _, share in shares), 1 - sum((share for _, share in shares), Fraction(0))])
    return dict(zip([*(affiliate_id for affiliate_id, _ in shares), ""], parts, strict=True))


def _change(sale: Sale, before: Outcome, decision: Decision, locked: bool) -> Change:
    return Change(sale, before, outcome_of(decision), reasons(before, decision, sale.ordered_at), locked)


def reasons(before: Outcome, decision: Decision, ordered_at: Instant) -> tuple[Reason, ...]:
    """For each affiliate that gains or loses, what became of the strongest touch that the decision has of it.

    Where none does, it is another touch of the same that earns: then for those that earn.
    """
    earlier, later = before.shares, outcome_of(decision).shares
    moved = {name for name in earlier.keys() | later.keys() if earlier.get(name) != later.get(name)} or set(later)
    shares = {credit.touch_id: credit.share for credit in decision.credits}
    found: dict[str, Reason] = {}
    for step in sorted(decision.trace, key=lambda step: step.candidate.touch_id not in shares):
        who = step.candidate.affiliate_id
        if who in moved and who not in found:
            why = sentence(step, ordered_at, shares.get(step.candidate.touch_id, Fraction(0)))
            found[who] = Reason(who, step.verdict, why)
    return tuple(found[name] for name in sorted(found))
