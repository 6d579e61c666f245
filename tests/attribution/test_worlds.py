"""Two thousand generated worlds: product and oracle agree, and the laws hold. ``python -m tests.attribution.worlds`` checks more."""

import random
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from attribution.policy import Terms
from core.catalogue import Membership, Policy, TouchWindow
from core.credit import Decision, Verdict
from tests.attribution.worlds import AFFILIATES, World, decision_of, faults, world

COUNT = 2_000
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_product_and_oracle_agree(part: int) -> None:
    for number in range(part, COUNT, PARTS):
        assert not faults(world(number), random.Random(number)), number


def test_the_worlds_are_not_dull() -> None:
    """Every verdict comes, and orders that are credited, split and lost."""
    decisions = [decision_of(world(number)) for number in range(COUNT)]
    verdicts = {step.verdict for decision in decisions for step in decision.trace}
    results = [decision.result for decision in decisions]

    assert verdicts == set(get_args(Verdict))
    assert results.count("credited") > 500
    assert results.count("split") > 50
    assert len(set(results)) > 12


# --- laws that need a second world -----------------------------------------------------------------------------------


def credited(decision: Decision) -> list[tuple[str, str, int, int]]:
    return [(one.affiliate_id, one.touch_id, one.numerator, one.denominator) for one in decision.credits]


def changed(one: World, terms: Terms | None = None, **more: Any) -> World:
    return msgspec.structs.replace(one, terms=terms or one.terms, **more)


def deep(record: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """The same record, with every value inside it as ``change`` wants it."""
    if isinstance(record, msgspec.Struct):
        fields = {field: deep(getattr(record, field), change, field) for field in record.__struct_fields__}
        return type(record)(**fields)
    if isinstance(record, tuple):
        return tuple(deep(part, change, name) for part in record)
    if isinstance(record, dict):
        return {change("", key): deep(part, change, name) for key, part in record.items()}
    return change(name, record)


MOMENTS = {
    "occurred_at",
    "received_at",
    "effective_from",
    "approved_at",
    "suspended_at",
    "valid_from",
    "valid_to",
    "starts_at",
    "ends_at",
} | {
    "joined_at",
    "left_at",
    "decided_at",
}


def test_shifting_all_times_changes_nothing() -> None:
    def later(name: str, value: Any) -> Any:
        return value + 987_654_321 if name in MOMENTS and value is not None else value

    for number in range(0, COUNT, 4):
        one = world(number)
        before, after = decision_of(one), decision_of(deep(one, later))
        assert (after.result, credited(after)) == (before.result, credited(before)), number
        assert [step.verdict for step in after.trace] == [step.verdict for step in before.trace]


def test_renaming_affiliates_renames_their_credits_and_nothing_else() -> None:
    names = dict(zip(AFFILIATES, ("zz", "ben2", "aa", "mm", "b"), strict=True))

    def renamed(name: str, value: Any) -> Any:
        return names.get(value, value) if name in ("affiliate_id", "") else value

    for number in range(1, COUNT, 4):
        one = world(number)
        before, after = decision_of(one), decision_of(deep(one, renamed))
        assert after.result == before.result, number
        assert credited(after) == [(names.get(name, name), *rest) for name, *rest in credited(before)]
        assert [(step.verdict, step.figure) for step in after.trace] == [(step.verdict, step.figure) for step in before.trace]


def test_longer_windows_never_unlink_an_order() -> None:
    """Where only affiliates' touches may earn: a longer window may bring in an older visit of nobody, which takes its share."""

    def without_nobodys(policy: Policy) -> Policy:
        classes = tuple(window for window in policy.classes if window.touch != "paid")
        return msgspec.structs.replace(policy, classes=classes, direct_rule="ignore")

    linked, chance = 0, random.Random(7)
    for number in range(2 * COUNT):
        one = world(number)
        narrow = with_policies(one, lambda policy: with_windows(without_nobodys(policy), lambda _: chance.choice((0, 1, 6, 24, 168))))
        wide = with_policies(narrow, lambda policy: with_windows(policy, lambda window: window.window_hours + chance.choice((0, 6, 720))))
        if decision_of(narrow).credits:
            linked += 1
            assert decision_of(wide).credits or one.override, number
    assert linked > COUNT / 4


def test_longer_windows_never_change_the_last_click() -> None:
    for number in range(COUNT):
        one = with_policies(
            world(number), lambda policy: Policy("north", policy.programme_id, policy.version, 0, classes=(TouchWindow("click", 24),))
        )
        wide = with_policies(one, lambda policy: msgspec.structs.replace(policy, classes=(TouchWindow("click", 720),)))
        if decision_of(one).credits:
            assert credited(decision_of(wide)) == credited(decision_of(one)), number


def with_policies(one: World, change: Callable[[Policy], Policy]) -> World:
    policies = {name: tuple(change(policy) for policy in versions) for name, versions in one.terms.policies.items()}
    return changed(one, msgspec.structs.replace(one.terms, policies=policies))


def with_windows(policy: Policy, hours: Callable[[TouchWindow], int]) -> Policy:
    classes = tuple(msgspec.structs.replace(window, window_hours=hours(window)) for window in policy.classes)
    return msgspec.structs.replace(policy, classes=classes)


def test_equal_hashes_mean_equal_decisions() -> None:
    for number in range(0, COUNT, 8):
        one, by_hash = world(number), dict[str, Decision]()
        for variant in variants(one):
            decision = decision_of(variant)
            known = by_hash.setdefault(decision.inputs_hash, decision)
            assert known == decision, number


def variants(one: World) -> list[World]:
    """The world, and worlds in which one thing is otherwise."""

    def programme(change: dict[str, Any]) -> World:
        programmes = tuple(msgspec.structs.replace(own, **change) for own in one.terms.programmes)
        return changed(one, msgspec.structs.replace(one.terms, programmes=programmes))

    def members(change: Callable[[Membership], Membership]) -> World:
        joined = {name: {who: change(own) for who, own in every.items()} for name, every in one.terms.memberships.items()}
        return changed(one, msgspec.structs.replace(one.terms, memberships=joined))

    coupons = {code: msgspec.structs.replace(coupon, exclusive=not coupon.exclusive) for code, coupon in one.terms.coupons.items()}
    return [
        one,
        changed(one, candidates=one.candidates[1:]),
        changed(one, candidates=tuple(msgspec.structs.replace(touch, traffic_class="human") for touch in one.candidates)),
        changed(one, candidates=tuple(msgspec.structs.replace(touch, occurred_at=touch.occurred_at - 1) for touch in one.candidates)),
        changed(one, order=msgspec.structs.replace(one.order, consent="denied")),
        changed(one, order=msgspec.structs.replace(one.order, click_id="t0")),
        changed(one, override=None),
        changed(one, segments=()),
        changed(one, msgspec.structs.replace(one.terms, coalitions=())),
        changed(one, msgspec.structs.replace(one.terms, coupons=coupons)),
        changed(one, msgspec.structs.replace(one.terms, memberships={})),
        programme({"starts_at": one.order.occurred_at - 3_600_000}),
        members(lambda own: msgspec.structs.replace(own, software=not own.software)),
        with_policies(one, lambda policy: msgspec.structs.replace(policy, guard_exclusive_codes=not policy.guard_exclusive_codes)),
        with_policies(one, lambda policy: msgspec.structs.replace(policy, model="linear", coupon_rule="split")),
    ]
