"""The decision: who earns, by rules that a person can check, and laws that hold for all inputs."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.decide import REASONS, RULES, decide
from attribution.policy import default_policy
from core.catalogue import Coupon, Policy, TouchWindow
from core.clock import DAY, HOUR, parse_instant
from core.credit import Candidate, Decision, Result, Verdict
from tests.attribution.builders import NOON, candidate, member, order, winner

SCENARIOS = json.loads((Path(__file__).parent / "linkage_scenarios.json").read_text("utf-8"))
POLICY = default_policy("north", "main")
MEMBERS = {name: member(name) for name in ("anna", "ben", "zoe")}
COUPONS = {"ZOE10": Coupon("north", "ZOE10", "main", "zoe")}


def decided(*candidates: Any, of: Any = None, policy: Policy | None = POLICY, members: Any = None, coupons: Any = None) -> Decision:
    placed = order(visitor_id="phone") if of is None else of
    return decide(placed, candidates, policy, MEMBERS if members is None else members, COUPONS if coupons is None else coupons)


def verdicts(decision: Decision) -> dict[str, Verdict]:
    return {step.candidate.touch_id: step.verdict for step in decision.trace}


def won(decision: Decision) -> Candidate:
    return next(step.candidate for step in decision.trace if step.verdict == "winner")


def coupon(code: str = "ZOE10", affiliate: str = "zoe", **more: Any) -> Any:
    return candidate(f"coupon:{code}", affiliate, NOON, "coupon", matches=("coupon",), **more)


# --- who wins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_the_cases_of_the_field_have_the_winner_that_the_field_gives_them(scenario: dict[str, Any]) -> None:
    told, at = scenario["order"], parse_instant(scenario["order"]["ts"])
    classes = {"click": "click", "impression": "impression", "coupon_owner": "coupon"}
    touches = [
        candidate(
            event["id"] if event["kind"] != "coupon_owner" else f"coupon:{event['code']}",
            event["affiliate"],
            parse_instant(event["ts"]) if event["ts"] else at,
            classes[event["kind"]],
        )
        for event in scenario["events"]
    ]
    owners = {event["code"]: Coupon("north", event["code"], "main", event["affiliate"]) for event in scenario["events"] if "code" in event}
    windows = (
        TouchWindow("coupon", 0),
        TouchWindow("click", told["lookback_click_days"] * 24),
        TouchWindow("impression", told["lookback_view_days"] * 24),
    )
    policy = Policy("north", "main", 1, 0, classes=windows)

    decision = decide(order(at=at), touches, policy, {name: member(name) for name in ("A", "B", "Z")}, owners)

    assert winner(decision) == scenario["expected"]["via"]
    assert [credit.affiliate_id for credit in decision.credits] == [name for name in [scenario["expected"]["winner"]] if name]


def test_the_last_click_earns_everything() -> None:
    decision = decided(candidate("c1", "anna", NOON - 9 * DAY), candidate("c2", "ben", NOON - 4 * DAY))

    assert decision.result == "credited"
    assert [(credit.affiliate_id, credit.touch_id, credit.share) for credit in decision.credits] == [("ben", "c2", Fraction(1))]
    assert decision.unattributed == 0
    assert verdicts(decision) == {"c2": "winner", "c1": "older"}


def test_a_click_beats_a_later_ad_view() -> None:
    decision = decided(candidate("c1", "anna", NOON - 9 * DAY), candidate("i1", "ben", NOON - HOUR, "impression"))

    assert verdicts(decision) == {"c1": "winner", "i1": "lower_class"}
    assert decision.trace[1].why == "The policy puts clicks before ad views."


def test_a_coupon_beats_a_click_a_minute_before_the_order() -> None:
    decision = decided(candidate("c1", "anna", NOON - 60_000), coupon())

    assert [credit.affiliate_id for credit in decision.credits] == ["zoe"]
    assert verdicts(decision) == {"coupon:ZOE10": "winner", "c1": "lower_class"}


def test_a_programme_may_put_clicks_before_coupons() -> None:
    policy = Policy("north", "main", 3, 0, classes=(TouchWindow("click", 720), TouchWindow("coupon", 0)))

    decision = decided(candidate("c1", "anna", NOON - HOUR), coupon(), policy=policy)

    assert verdicts(decision) == {"c1": "winner", "coupon:ZOE10": "lower_class"}
    assert decision.policy_version == 3


def test_of_two_clicks_in_the_same_millisecond_the_higher_id_earns() -> None:
    decision = decided(candidate("c2", "ben", NOON - DAY), candidate("c1", "anna", NOON - DAY))

    assert verdicts(decision) == {"c2": "winner", "c1": "older"}
    assert decision.trace[1].why == "Another click at the same millisecond has the higher id, which decides."


def test_a_click_at_the_instant_of_the_order_counts() -> None:
    assert winner(decided(candidate("c1", "anna", NOON))) == "c1"


# --- every verdict ---------------------------------------------------------------------------------------------------


def test_a_click_exactly_as_old_as_the_window_counts_and_a_millisecond_more_does_not() -> None:
    assert decided(candidate("c1", "anna", NOON - 30 * DAY)).result == "credited"

    late = decided(candidate("c1", "anna", NOON - 30 * DAY - 1))

    assert (late.result, verdicts(late)) == ("outside_window", {"c1": "outside_window"})
    assert late.trace[0].why == "It happened 30 days 1 ms before the order; a click counts for 30 days."


def test_an_ad_view_has_a_window_of_its_own() -> None:
    assert decided(candidate("i1", "anna", NOON - DAY, "impression")).result == "credited"
    assert decided(candidate("i1", "anna", NOON - DAY - 1, "impression")).result == "outside_window"


def test_a_click_one_millisecond_after_the_order_never_counts() -> None:
    decision = decided(candidate("c1", "anna", NOON + 1))

    assert (decision.result, verdicts(decision)) == ("before_click", {"c1": "after_order"})
    assert decision.trace[0].why == "It happened 1 ms after the order."
    assert decision.unattributed == 1


def test_a_click_for_another_programme_earns_nothing_here() -> None:
    decision = decided(candidate("c1", "anna", NOON - HOUR, programme_id="outlet"))

    assert (decision.result, verdicts(decision)) == ("no_touch", {"c1": "wrong_program"})


def test_a_click_counts_from_the_moment_of_approval() -> None:
    approved = {"anna": member("anna", since=NOON - DAY)}

    assert decided(candidate("c1", "anna", NOON - DAY), members=approved).result == "credited"
    early = decided(candidate("c1", "anna", NOON - DAY - 1), members=approved)
    assert (early.result, verdicts(early)) == ("affiliate_not_active", {"c1": "affiliate_not_active"})


def test_a_click_at_the_moment_of_suspension_earns_nothing() -> None:
    suspended = {"anna": member("anna", until=NOON - DAY)}

    assert decided(candidate("c1", "anna", NOON - DAY), members=suspended).result == "affiliate_not_active"
    assert decided(candidate("c1", "anna", NOON - DAY - 1), members=suspended).result == "credited"


def test_a_click_of_somebody_who_never_joined_earns_nothing() -> None:
    assert decided(candidate("c1", "stranger", NOON - DAY)).result == "affiliate_not_active"


def test_a_crawlers_click_earns_nothing_and_says_what_it_was() -> None:
    decision = decided(candidate("c1", "anna", NOON - HOUR, human=False, traffic_class="declared_bot"))

    assert (decision.result, verdicts(decision)) == ("invalid_touch", {"c1": "bot"})
    assert decision.trace[0].why == "It does not count as a person's: it was classed as declared bot."


def test_a_class_that_the_policy_leaves_out_earns_nothing() -> None:
    clicks_only = Policy("north", "main", 1, 0, classes=(TouchWindow("click", 720),))

    decision = decided(candidate("i1", "anna", NOON - HOUR, "impression"), policy=clicks_only)

    assert (decision.result, verdicts(decision)) == ("no_touch", {"i1": "class_excluded"})


def test_a_coupon_counts_from_its_first_instant_until_before_its_last() -> None:
    def result(valid_from: int | None, valid_to: int | None) -> tuple[Result, Verdict]:
        owned = {"ZOE10": Coupon("north", "ZOE10", "main", "zoe", valid_from, valid_to)}
        decision = decided(coupon(), coupons=owned)
        return decision.result, decision.trace[0].verdict

    assert result(NOON, NOON + 1) == ("credited", "winner")
    assert result(NOON + 1, None) == ("no_touch", "coupon_not_valid")
    assert result(None, NOON) == ("no_touch", "coupon_not_valid")


def test_a_loser_reads_by_how_much_it_lost() -> None:
    decision = decided(candidate("c1", "anna", NOON - 9 * DAY), candidate("c2", "ben", NOON - 4 * DAY - HOUR))

    assert [step.why for step in decision.trace] == [
        "The last click before the order, 4 days 1 hour earlier: it earns the whole credit.",
        "A later click earns, 4 days 23 hours after this one.",
    ]


def test_every_verdict_has_a_rule_and_so_a_test_above() -> None:
    reached = {"winner", "older", "lower_class"} | {verdict for verdict, _ in RULES}

    assert reached == set(get_args(Verdict))


# --- every result ----------------------------------------------------------------------------------------------------


def test_an_order_with_nothing_to_join_on_has_no_identity() -> None:
    assert decided(of=order()).result == "no_identity"


@pytest.mark.parametrize("keys", [{"visitor_id": "phone"}, {"customer_keys": ("em:1",)}, {"coupons": ("SPRING",)}])
def test_an_order_with_a_key_and_no_touch_has_no_touch(keys: dict[str, Any]) -> None:
    assert decided(of=order(**keys)).result == "no_touch"


def test_a_click_id_that_no_touch_has_is_unknown() -> None:
    assert decided(of=order(click_id="c9")).result == "unknown_click_id"
    assert decided(candidate("c1", "anna", NOON - 31 * DAY), of=order(click_id="c9")).result == "unknown_click_id"


def test_an_unknown_click_id_does_not_matter_where_another_touch_earns() -> None:
    assert decided(candidate("c1", "anna", NOON - DAY), of=order(click_id="c9")).result == "credited"


def test_an_order_that_no_programme_takes_says_so() -> None:
    decision = decided(candidate("c1", "anna", NOON - DAY), policy=None)

    assert (decision.result, decision.programme_id, verdicts(decision)) == ("program_not_active", "", {"c1": "wrong_program"})


def test_a_test_order_earns_nobody_anything_but_shows_who_would_have_won() -> None:
    decision = decided(candidate("c1", "anna", NOON - DAY), of=order(test=True))

    assert (decision.result, decision.credits, verdicts(decision)) == ("test_event", (), {"c1": "winner"})
    assert decision.trace[0].why == "It would earn the whole credit, were the order not a test."


def test_the_candidate_that_came_closest_gives_the_reason() -> None:
    stranger, later = candidate("c1", "stranger", NOON - HOUR), candidate("c2", "anna", NOON + HOUR)
    older, crawler = candidate("c3", "anna", NOON - 40 * DAY), candidate("c4", "anna", NOON - HOUR, human=False)

    assert decided(crawler).result == "invalid_touch"
    assert decided(crawler, older).result == "outside_window"
    assert decided(crawler, older, later).result == "before_click"
    assert decided(crawler, older, later, stranger).result == "affiliate_not_active"


def test_every_result_has_a_reason_and_so_a_test_above() -> None:
    by_the_order = {"credited", "test_event", "program_not_active", "unknown_click_id", "no_touch", "no_identity"}

    assert by_the_order | {result for _, result in REASONS} == set(get_args(Result))


# --- laws ------------------------------------------------------------------------------------------------------------

AGES = [-1, 0, 1, HOUR, DAY - 1, DAY, DAY + 1, 3 * DAY, 30 * DAY, 30 * DAY + 1]
candidates = st.builds(
    lambda touch_id, affiliate, age, touch_class, human, programme: candidate(
        touch_id if touch_class != "coupon" else "coupon:ZOE10",
        affiliate,
        NOON - (age if touch_class != "coupon" else 0),
        touch_class,
        human=human,
        programme_id=programme,
    ),
    st.sampled_from([f"t{number}" for number in range(12)]),
    st.sampled_from(["anna", "ben", "zoe", "stranger"]),
    st.sampled_from(AGES),
    st.sampled_from(["click", "click", "impression", "coupon"]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from(["main", "main", "main", "outlet"]),
)
journeys = st.lists(candidates, max_size=8, unique_by=lambda one: one.touch_id)
placed = st.builds(
    lambda keys, test: order(test=test, **keys), st.sampled_from([{}, {"visitor_id": "v"}, {"click_id": "t3"}]), st.booleans()
)


@given(placed, journeys)
def test_shares_sum_to_one_with_what_nobody_earns(of: Any, found: Any) -> None:
    decision = decided(*found, of=of)

    assert sum((credit.share for credit in decision.credits), decision.unattributed) == 1
    assert (decision.result == "credited") == bool(decision.credits)


@given(placed, journeys, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_of_the_candidates_changes_a_byte(of: Any, found: Any, chance: Any) -> None:
    shuffled = found + [one for one in found if chance.random() < 0.5]
    chance.shuffle(shuffled)

    assert msgspec.json.encode(decided(*shuffled, of=of)) == msgspec.json.encode(decided(*found, of=of))


@given(st.lists(candidates, max_size=8), st.randoms(use_true_random=False))
def test_two_contents_under_one_touch_id_still_give_one_decision(found: Any, chance: Any) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)

    assert decided(*shuffled) == decided(*found)


@given(placed, journeys, st.integers(0, 60 * 24), st.integers(0, 60 * 24))
def test_a_larger_window_never_unlinks_an_order(of: Any, found: Any, hours: int, more: int) -> None:
    narrow = Policy("north", "main", 1, 0, classes=(TouchWindow("click", hours), TouchWindow("impression", hours)))
    wide = Policy("north", "main", 1, 0, classes=(TouchWindow("click", hours + more), TouchWindow("impression", hours + more)))

    before, after = decided(*found, of=of, policy=narrow), decided(*found, of=of, policy=wide)

    assert after.result == "credited" or before.result != "credited"
    if before.credits and won(before).touch_class == "click":
        assert after.credits == before.credits


@given(journeys, candidates)
def test_an_older_touch_of_the_same_class_never_changes_the_winner(found: Any, another: Any) -> None:
    before = decided(*found)
    if not before.credits:
        return
    best = won(before)
    older = msgspec.structs.replace(another, touch_id="t0-older", touch_class=best.touch_class, occurred_at=best.occurred_at - 1)

    assert decided(*found, older).credits == before.credits


@given(placed, journeys)
def test_shifting_all_times_changes_nothing(of: Any, found: Any) -> None:
    shift = 12_345_678
    later = msgspec.structs.replace(of, occurred_at=of.occurred_at + shift)
    moved = [msgspec.structs.replace(one, occurred_at=one.occurred_at + shift) for one in found]

    assert decided(*moved, of=later).result == decided(*found, of=of).result
    assert decided(*moved, of=later).credits == decided(*found, of=of).credits


@given(placed, journeys)
def test_every_candidate_has_a_verdict_and_only_one_wins(of: Any, found: Any) -> None:
    decision = decided(*found, of=of)

    assert {step.candidate.touch_id for step in decision.trace} == {one.touch_id for one in found}
    winners = [step.candidate for step in decision.trace if step.verdict == "winner"]
    assert len(winners) <= 1
    if not of.test:
        assert [one.touch_id for one in winners] == [credit.touch_id for credit in decision.credits]


def test_the_inputs_hash_changes_with_whatever_the_decision_reads() -> None:
    base = decided(candidate("c1", "anna", NOON - DAY))
    others = [
        decided(candidate("c1", "anna", NOON - DAY - 1)),
        decided(candidate("c1", "anna", NOON - DAY), of=order(visitor_id="tablet")),
        decided(candidate("c1", "anna", NOON - DAY), policy=Policy("north", "main", 1, 0)),
        decided(candidate("c1", "anna", NOON - DAY), members={"anna": member("anna", since=NOON - 2 * DAY)}),
        decided(),
    ]

    assert len({base.inputs_hash, *(other.inputs_hash for other in others)}) == 6
    assert base.inputs_hash == decided(candidate("c1", "anna", NOON - DAY)).inputs_hash


def test_the_inputs_hash_does_not_depend_on_what_the_events_store_does_not_keep() -> None:
    heard = order(visitor_id="phone", ip="203.0.113.9", user_agent="curl/8")

    assert decided(of=heard).inputs_hash == decided().inputs_hash
