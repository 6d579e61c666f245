"""Policies that stand in for a period: exactly for it, and the same ones change nothing."""

from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.policy import Terms, default_policy
from attribution.replay import Outcome, Sale, differs, hindrance, outcome_of, reasons, stand_in, values_of
from core.catalogue import Policy, version_at
from core.clock import DAY
from core.credit import Credit
from tests.attribution.worlds import World, decision_of, world
from tests.people import NORTH

starts = st.integers(0, 9)


@settings(max_examples=300, deadline=None)
@given(
    standing=st.lists(starts, max_size=4),
    tried=st.lists(starts, min_size=1, max_size=3, unique=True),
    from_at=st.integers(1, 8),
    length=st.one_of(st.none(), st.integers(1, 5)),
)
def test_exactly_the_period_is_decided_by_the_tried_policies(
    standing: list[int], tried: list[int], from_at: int, length: int | None
) -> None:
    """At every instant: inside, the tried policy of that instant where there is one; outside, and before it begins, what was in force."""
    to_at = None if length is None else from_at + length
    before = tuple(Policy(NORTH, "main", number, begins, half_life_hours=number) for number, begins in enumerate(standing, start=1))
    new = tuple(Policy(NORTH, "main", 100 + begins, begins, half_life_hours=100 + begins) for begins in tried)
    terms, written = stand_in(Terms(NORTH, policies={"main": before}), new, from_at, to_at)

    for at in range(14):
        inside = from_at <= at and (to_at is None or at < to_at)
        expected = (version_at(new, at) if inside else None) or version_at(before, at) or default_policy(NORTH, "main")
        found = version_at(terms.policies["main"], at) or default_policy(NORTH, "main")
        assert found.half_life_hours == expected.half_life_hours, (at, written)
    assert terms.policies["main"] == before + written, "what stands is never changed"
    assert [one.version for one in written] == list(range(len(before) + 1, len(before) + 1 + len(written)))


def test_the_same_policies_change_nothing_in_any_world() -> None:
    for number in range(1_000):
        one = world(number)
        tried = [policy for versions in one.terms.policies.values() for policy in versions]
        at = one.order.occurred_at
        terms, _ = stand_in(one.terms, tried, at - number % 7 * DAY, at + 1)

        assert not differs(outcome_of(decision_of(one)), decision_of(msgspec.structs.replace(one, terms=terms))), number


def test_the_worlds_would_show_another_policy() -> None:
    """Otherwise the worlds above would prove nothing."""
    assert sum(_moved(world(number)) for number in range(100)) > 20


def _moved(one: World) -> bool:
    tried = [Policy(one.terms.tenant_id, programme.programme_id, 0, 0, model="first") for programme in one.terms.programmes]
    terms, _ = stand_in(one.terms, tried, one.order.occurred_at, one.order.occurred_at + 1)
    return differs(outcome_of(decision_of(one)), decision_of(msgspec.structs.replace(one, terms=terms)))


def test_every_affiliate_that_gains_reads_why() -> None:
    nobody = Outcome("no_touch", "", 0, ())
    for number in range(100):
        one = world(number)
        decision = decision_of(one)

        told = {reason.affiliate_id: reason.why for reason in reasons(nobody, decision, one.order.occurred_at)}
        touched = {candidate.affiliate_id for candidate in one.candidates}
        assert told.keys() == {credit.affiliate_id for credit in decision.credits} & touched, number
        assert all(why.endswith(".") for why in told.values())


def test_a_segments_policy_leaves_everybody_elses_alone() -> None:
    before = (Policy(NORTH, "main", 1, 0), Policy(NORTH, "main", 2, 0, segment="vip", model="linear"))
    terms, written = stand_in(Terms(NORTH, policies={"main": before}), [Policy(NORTH, "main", 9, 0, segment="vip", model="first")], 5, 8)

    assert [(one.version, one.segment, one.model, one.effective_from) for one in written] == [
        (3, "vip", "first", 5),
        (4, "vip", "linear", 8),
    ]
    assert hindrance(terms, written, 8) == ""


def test_a_segment_without_a_policy_cannot_be_put_back_to_none() -> None:
    tried = [Policy(NORTH, "main", 9, 0, segment="vip", model="first")]

    assert "segment vip has no policy of its own" in hindrance(Terms(NORTH), tried, 8)
    assert hindrance(Terms(NORTH), tried, None) == ""


@given(net=st.integers(0, 10**9), weights=st.lists(st.integers(1, 9), min_size=1, max_size=6), unearned=st.integers(0, 5))
def test_the_parts_of_an_order_sum_to_it(net: int, weights: list[int], unearned: int) -> None:
    whole = sum(weights) + unearned
    shares = [Fraction(weight, whole) for weight in weights]
    credits = tuple(Credit(f"a{place % 3}", f"t{place}", one.numerator, one.denominator) for place, one in enumerate(shares))
    parts = values_of(Sale("O-1", "EUR", net, 0), Outcome("split", "main", 1, credits))

    assert sum(parts.values()) == net
    assert min(parts.values()) >= 0
    assert parts[""] == 0 or unearned
