"""The decision: who earns, by rules that a person can check, and laws that hold for all inputs.

The examples of docs/attribution.md are decided in ``test_page.py``, one order for every code in ``test_golden.py``, generated worlds in
``test_worlds.py``.
"""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution import candidates as found_by
from attribution.decide import Customer, decide, in_order
from attribution.policy import Ruling
from attribution.rules import EXPIRED, Entry, verdict_of
from attribution.words import sentence
from core.catalogue import Coalition, CoalitionMember, Coupon, Policy, TouchWindow
from core.clock import DAY, HOUR, MINUTE, SECOND
from core.credit import Candidate, Decision, Override, Result, Verdict
from core.events import Line
from tests.attribution.builders import NOON, candidate, member, order, ruling, winner
from tests.attribution.scenarios import SCENARIOS, fits

MEMBERS = [member(name) for name in ("anna", "ben", "zoe")]
ZOE10 = Coupon("north", "ZOE10", "main", "zoe")


def rules(members: Any = None, coupons: Any = None, coalitions: tuple[Coalition, ...] = (), **policy: Any) -> Ruling:
    chosen = Policy("north", "main", policy.pop("version", 1), 0, **policy) if policy else None
    return ruling(chosen, MEMBERS if members is None else members, [ZOE10] if coupons is None else coupons, None, coalitions)


BY_DEFAULT = rules()


def decided(*candidates: Candidate, of: Any = None, by: Ruling | None = BY_DEFAULT, override: Override | None = None) -> Decision:
    return decide(order(visitor_id="phone") if of is None else of, candidates, by, override=override)


def verdicts(decision: Decision) -> dict[str, Verdict]:
    return {step.candidate.touch_id: step.verdict for step in decision.trace}


def shares(decision: Decision) -> list[tuple[str, str, str]]:
    return [(credit.affiliate_id, credit.touch_id, str(credit.share)) for credit in decision.credits]


def coupon(code: str = "ZOE10", affiliate: str = "zoe", **more: Any) -> Candidate:
    return candidate(f"coupon:{code}", affiliate, NOON, "coupon", matches=("coupon",), **more)


ANNA, BEN = candidate("c1", "anna", NOON - 9 * DAY), candidate("c2", "ben", NOON - 4 * DAY)


# --- who wins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_the_cases_of_the_field_have_the_winner_that_the_field_gives_them(scenario: dict[str, Any]) -> None:
    assert fits(scenario)


def test_the_last_click_earns_everything() -> None:
    decision = decided(ANNA, BEN)

    assert decision.result == "credited"
    assert [(credit.affiliate_id, credit.touch_id, credit.share) for credit in decision.credits] == [("ben", "c2", Fraction(1))]
    assert decision.unattributed == 0
    assert verdicts(decision) == {"c2": "winner", "c1": "older"}


def test_credits_are_told_oldest_first_and_the_trace_strongest_and_latest_first() -> None:
    decision = decided(BEN, coupon(), ANNA, by=rules(model="linear", classes=(TouchWindow("click", 720), TouchWindow("coupon", 0))))

    assert shares(decision) == [("anna", "c1", "1/2"), ("ben", "c2", "1/2")]
    assert list(verdicts(decision)) == ["c2", "c1", "coupon:ZOE10"]
    assert decision.result == "split"


def test_of_two_clicks_in_the_same_millisecond_the_higher_id_earns() -> None:
    decision = decided(candidate("c2", "ben", NOON - DAY), candidate("c1", "anna", NOON - DAY))

    assert verdicts(decision) == {"c2": "winner", "c1": "older"}


def test_a_click_at_the_instant_of_the_order_counts() -> None:
    assert winner(decided(candidate("c1", "anna", NOON))) == "c1"


def test_a_click_that_the_order_names_may_have_a_rank_of_its_own() -> None:
    named = msgspec.structs.replace(ANNA, matches=("click_id", "visitor"))
    ranked = rules(classes=(TouchWindow("click_id", 720), TouchWindow("click", 720)))

    assert verdicts(decided(named, BEN, by=ranked)) == {"c1": "winner", "c2": "lower_class"}
    assert verdicts(decided(named, BEN)) == {"c1": "older", "c2": "winner"}


def test_an_exclusive_coupon_may_have_a_rank_of_its_own() -> None:
    own = [ZOE10, Coupon("north", "OWN", "main", "zoe", exclusive=True)]
    ranked = (TouchWindow("exclusive_coupon", 0), TouchWindow("click", 720), TouchWindow("coupon", 0))
    lenient = {"guard_exclusive_codes": False, "classes": ranked}

    assert verdicts(decided(ANNA, coupon("OWN"), by=rules(coupons=own, **lenient))) == {"coupon:OWN": "winner", "c1": "lost_to_coupon"}
    assert verdicts(decided(ANNA, coupon(), by=rules(coupons=own, **lenient))) == {"c1": "winner", "coupon:ZOE10": "lost_to_click"}


def test_tied_classes_share_one_rank() -> None:
    tied = (TouchWindow("click", 720), TouchWindow("impression", 720, tied=True), TouchWindow("scan", 720))
    seen, scanned = candidate("i1", "ben", NOON - DAY, "impression"), candidate("s1", "zoe", NOON - HOUR, "scan")

    decision = decided(ANNA, seen, scanned, by=rules(model="linear", classes=tied))

    assert shares(decision) == [("anna", "c1", "1/2"), ("ben", "i1", "1/2")]
    assert verdicts(decision)["s1"] == "lower_class"


def test_classes_that_the_policy_leaves_out_come_last_in_the_trace() -> None:
    by = rules(classes=(TouchWindow("direct", 24), TouchWindow("impression", 24), TouchWindow("click", 720)))

    decision = decided(ANNA, candidate("s1", "ben", NOON - HOUR, "scan"), by=by)

    assert list(verdicts(decision).items()) == [("c1", "winner"), ("s1", "class_excluded")]


# --- the edges of the rules ------------------------------------------------------------------------------------------


def test_a_click_exactly_as_old_as_the_window_counts_and_a_millisecond_more_does_not() -> None:
    assert decided(candidate("c1", "anna", NOON - 30 * DAY)).result == "credited"

    late = decided(candidate("c1", "anna", NOON - 30 * DAY - 1))

    assert (late.result, verdicts(late)) == ("outside_window", {"c1": "outside_window"})


def test_an_ad_view_has_a_window_of_its_own() -> None:
    assert decided(candidate("i1", "anna", NOON - DAY, "impression")).result == "credited"
    assert decided(candidate("i1", "anna", NOON - DAY - 1, "impression")).result == "outside_window"


def test_a_click_one_millisecond_after_the_order_never_counts() -> None:
    decision = decided(candidate("c1", "anna", NOON + 1))

    assert (decision.result, verdicts(decision), decision.unattributed) == ("before_click", {"c1": "after_order"}, 1)


def test_a_click_counts_from_the_moment_of_approval_to_before_the_suspension() -> None:
    def result(**dates: int) -> Result:
        return decided(candidate("c1", "anna", NOON - DAY), by=rules([member("anna", **dates)])).result

    assert result(since=NOON - DAY) == "credited"
    assert result(since=NOON - DAY + 1) == "affiliate_not_active"
    assert result(until=NOON - DAY) == "affiliate_not_active"
    assert result(until=NOON - DAY + 1) == "credited"


def test_a_coupon_counts_from_its_first_instant_until_before_its_last() -> None:
    def result(valid_from: int | None, valid_to: int | None) -> tuple[Result, Verdict]:
        decision = decided(coupon(), by=rules(coupons=[Coupon("north", "ZOE10", "main", "zoe", valid_from, valid_to)]))
        return decision.result, decision.trace[0].verdict

    assert result(NOON, NOON + 1) == ("credited", "winner")
    assert result(NOON + 1, None) == ("no_touch", "coupon_not_valid")
    assert result(None, NOON) == ("no_touch", "coupon_not_valid")


def test_a_refused_click_counts_where_the_order_names_it_and_a_coupon_always() -> None:
    refused = msgspec.structs.replace(ANNA, consent="denied")

    assert verdicts(decided(refused)) == {"c1": "no_consent"}
    assert verdicts(decided(msgspec.structs.replace(refused, matches=("customer",)))) == {"c1": "no_consent"}
    assert winner(decided(msgspec.structs.replace(refused, matches=("click_id",)))) == "c1"
    assert winner(decided(refused, coupon())) == "coupon:ZOE10"


def test_an_order_without_consent_is_joined_by_what_its_sender_says_and_not_by_its_visitor() -> None:
    refused = order(visitor_id="phone", consent="denied")

    assert decided(ANNA, of=refused).result == "consent_denied"
    assert decided(msgspec.structs.replace(ANNA, matches=("visitor", "customer")), of=refused).result == "credited"
    assert decided(msgspec.structs.replace(ANNA, matches=("click_id", "visitor")), of=refused).result == "credited"


def test_another_tenants_click_counts_inside_a_coalition_and_with_consent() -> None:
    foreign = msgspec.structs.replace(ANNA, tenant_id="south", programme_id="theirs", matches=("coalition",), consent="granted")

    def verdict(touch: Candidate = foreign, joined: int = 0, left: int | None = None, classes: Any = ("click",), of: Any = None) -> Verdict:
        mall = Coalition("mall", "", (CoalitionMember("north", 0), CoalitionMember("south", joined, left)), classes)
        return decided(touch, of=of, by=rules(coalitions=(mall,))).trace[0].verdict

    assert verdict() == "winner"
    assert verdicts(decided(foreign)) == {"c1": "wrong_tenant"}
    assert verdict(classes=("impression",)) == "wrong_tenant"
    assert verdict(joined=foreign.occurred_at) == "winner"
    assert verdict(joined=foreign.occurred_at + 1) == "wrong_tenant"
    assert verdict(left=NOON) == "wrong_tenant"
    assert verdict(left=NOON + 1) == "winner"
    assert verdict(msgspec.structs.replace(foreign, consent="unknown")) == "no_consent"
    assert verdict(of=order(consent="denied")) == "no_consent"
    assert verdict(msgspec.structs.replace(foreign, affiliate_id="stranger")) == "affiliate_not_active"


def test_another_tenants_paid_visit_takes_no_order_from_this_ones_affiliates() -> None:
    mall = Coalition("mall", "", (CoalitionMember("north", 0), CoalitionMember("south", 0)), ("click", "paid"))
    paid = candidate("p1", "", NOON - HOUR, "paid", programme_id="", origin="google/cpc", consent="granted")
    theirs = msgspec.structs.replace(paid, tenant_id="south", matches=("coalition",))
    by = rules(coalitions=(mall,), paid_rule="last_wins")

    assert verdicts(decided(ANNA, theirs, by=by)) == {"c1": "winner", "p1": "paid_visit"}
    assert verdicts(decided(ANNA, paid, by=by)) == {"c1": "lost_to_paid_channel", "p1": "paid_visit"}


def test_a_claim_of_an_assistant_counts_until_it_runs_out() -> None:
    by = rules(classes=(TouchWindow("agent", 24),))
    claim = candidate("agent:x", "anna", NOON, "agent", matches=("agent",), origin="assistant.example")
    late = msgspec.structs.replace(claim, origin=EXPIRED)

    assert decided(claim, by=by).result == "credited"
    assert decided(late, by=by).result == "outside_window"
    assert sentence(decided(late, by=by).trace[0], NOON) == "The assistant's claim had run out when the order was placed."
    assert found_by.EXPIRED == EXPIRED


def test_a_sign_of_a_self_referral_is_kept_in_the_trace_and_refused_where_the_policy_says_so() -> None:
    own = msgspec.structs.replace(ANNA, evidence=("same_email",))

    kept = decided(own)

    assert (kept.result, kept.trace[0].candidate.evidence) == ("credited", ("same_email",))
    assert decided(own, by=rules(self_referral="refuse")).result == "self_referral"


def test_a_guard_asks_for_a_code_that_is_valid_and_an_owner_that_is_active() -> None:
    def earns(code: Coupon, members: Any = None) -> str:
        return decided(ANNA, coupon("OWN"), by=rules(members, [code])).credits[0].affiliate_id

    own = Coupon("north", "OWN", "main", "zoe", exclusive=True)
    assert earns(own) == "zoe"
    assert earns(msgspec.structs.replace(own, valid_to=NOON)) == "anna"
    assert earns(own, [member("anna"), member("zoe", until=NOON)]) == "anna"


def test_software_stands_down_up_to_the_last_minute_inclusive() -> None:
    by = rules([member("anna"), member("sol", software=True)], stand_down_minutes=30)

    def earns(before: int) -> str:
        click = candidate("c1", "anna", NOON - HOUR - before)
        return decided(click, candidate("c2", "sol", NOON - HOUR), by=by).credits[0].affiliate_id

    assert earns(30 * MINUTE) == "anna"
    assert earns(30 * MINUTE + 1) == "sol"


def test_a_hasty_click_gives_way_by_the_millisecond_to_others_alone() -> None:
    by = rules(min_seconds_to_order=30)

    def earns(before: int, affiliate: str = "ben") -> str:
        return decided(ANNA, candidate("c2", affiliate, NOON - before), by=by).credits[0].touch_id

    assert earns(30 * SECOND) == "c2"
    assert earns(30 * SECOND - 1) == "c1"
    assert earns(SECOND, "anna") == "c2"


def test_a_hasty_click_does_not_give_way_to_a_bond() -> None:
    classes = (TouchWindow("click", 720), TouchWindow("binding", 8_760))
    bond = candidate("binding:O-0", "anna", NOON - 90 * DAY, "binding", matches=("binding",))

    assert verdicts(decided(bond, candidate("c2", "ben", NOON - 1), by=rules(min_seconds_to_order=30, classes=classes)))["c2"] == "winner"


def test_software_stands_down_for_a_click_that_is_itself_too_old() -> None:
    by = rules([member("anna"), member("sol", software=True)], stand_down_minutes=60, classes=(TouchWindow("click", 24),))

    decision = decided(candidate("c1", "anna", NOON - DAY - 1), candidate("c2", "sol", NOON - DAY), by=by)

    assert (decision.result, verdicts(decision)) == ("stand_down", {"c2": "stand_down", "c1": "outside_window"})


def test_two_hasty_clicks_do_not_give_way_to_each_other() -> None:
    decision = decided(candidate("c1", "anna", NOON - 2), candidate("c2", "ben", NOON - 1), by=rules(min_seconds_to_order=30))

    assert verdicts(decision) == {"c2": "winner", "c1": "older"}


def test_a_split_order_sums_up_where_the_coupons_owner_has_clicks_of_its_own() -> None:
    by = rules(model="linear", coupon_rule="split", coupon_bps=4_000)
    zoe = candidate("c3", "zoe", NOON - DAY)

    assert shares(decided(ANNA, zoe, coupon(), by=by)) == [("anna", "c1", "3/10"), ("zoe", "c3", "7/10")]
    assert shares(decided(zoe, coupon(), by=by)) == [("zoe", "c3", "1")]
    assert shares(decided(coupon(), by=by)) == [("zoe", "coupon:ZOE10", "1")]
    assert decided(zoe, coupon(), by=by).result == "credited"


def test_every_share_of_a_split_order_fits_the_column_it_is_stored_in() -> None:
    names = [f"a{number:02}" for number in range(15)]
    codes = [Coupon("north", f"CODE{number}", "main", names[number]) for number in range(7)]
    by = rules([member(name) for name in names], codes, model="time_decay", coupon_rule="split", coupon_bps=3_333)
    clicks = [candidate(f"c{number:02}", name, NOON - (number + 1) * 23_333_359) for number, name in enumerate(names)]

    decision = decided(*clicks, *(coupon(one.code, one.affiliate_id) for one in codes), by=by)

    assert decision.unattributed == 0
    assert all(credit.denominator < 2**63 for credit in decision.credits)
    coupons = [credit for credit in decision.credits if credit.touch_id.startswith("coupon:")]
    assert sum(credit.share for credit in decision.credits if credit.affiliate_id in names[:7]) > Fraction(3_333, 10_000)
    assert {verdicts(decision)[credit.touch_id] for credit in coupons} == {"winner"}


# --- what an order is told -------------------------------------------------------------------------------------------


def test_an_order_with_nothing_to_join_on_has_no_identity() -> None:
    assert decided(of=order()).result == "no_identity"


@pytest.mark.parametrize(
    "keys", [{"visitor_id": "phone"}, {"customer_keys": ("em:1",)}, {"coupons": ("SPRING",)}, {"affiliate_id": "stranger"}]
)
def test_an_order_with_a_key_and_no_touch_has_no_touch(keys: dict[str, Any]) -> None:
    assert decided(of=order(**keys)).result == "no_touch"


def test_a_click_id_that_no_touch_has_is_unknown() -> None:
    assert decided(of=order(click_id="c9")).result == "unknown_click_id"
    assert decided(candidate("c1", "anna", NOON - 31 * DAY), of=order(click_id="c9")).result == "unknown_click_id"
    assert decided(ANNA, of=order(click_id="c9")).result == "credited"


def test_an_order_that_no_programme_takes_says_so() -> None:
    decision = decided(ANNA, by=None)

    assert (decision.result, decision.programme_id, verdicts(decision)) == ("program_not_active", "", {"c1": "program_not_active"})


def test_a_test_order_earns_nobody_anything_but_shows_who_would_have_won() -> None:
    decision = decided(ANNA, of=order(test=True))

    assert (decision.result, decision.credits, verdicts(decision)) == ("test_event", (), {"c1": "winner"})


def test_the_candidate_that_came_closest_gives_the_reason() -> None:
    stranger, later = candidate("c1", "stranger", NOON - HOUR), candidate("c2", "anna", NOON + HOUR)
    older, refused = candidate("c3", "anna", NOON - 40 * DAY), candidate("c4", "anna", NOON - HOUR, consent="denied")
    crawler = candidate("c5", "anna", NOON - HOUR, traffic_class="declared_bot")

    assert decided(crawler).result == "invalid_touch"
    assert decided(crawler, refused).result == "consent_denied"
    assert decided(crawler, refused, older).result == "outside_window"
    assert decided(crawler, refused, older, later).result == "before_click"
    assert decided(crawler, refused, older, later, stranger).result == "affiliate_not_active"


def test_the_decision_says_what_it_took_the_customer_for() -> None:
    decision = decide(order(), [], BY_DEFAULT, Customer("lapsed", ("b2b", "gold")))

    assert (decision.customer_status, decision.segments) == ("lapsed", ("b2b", "gold"))


def test_without_a_trace_the_rest_of_the_decision_is_the_same() -> None:
    full, brief = (decide(order(visitor_id="phone"), [ANNA, BEN], BY_DEFAULT, trace=trace) for trace in (True, False))

    assert brief == msgspec.structs.replace(full, trace=(), inputs_hash="")


# --- what a person decides -------------------------------------------------------------------------------------------


def override(affiliate: str, **more: Any) -> Override:
    return Override("O-1", 1, affiliate, "agreed", "martha@north.example", NOON + DAY, **more)


def test_an_override_gives_the_order_away_and_keeps_what_was_computed() -> None:
    decision = decided(ANNA, BEN, override=override("anna"))

    assert (decision.result, shares(decision)) == ("manual_override", [("anna", "c1", "1")])
    assert verdicts(decision) == {"c2": "overridden", "c1": "older"}
    assert decision.override == override("anna")


def test_an_override_credits_the_affiliates_best_touch_or_none() -> None:
    too_old = candidate("c0", "zoe", NOON - 40 * DAY)

    assert shares(decided(ANNA, BEN, override=override("ben"))) == [("ben", "c2", "1")]
    assert shares(decided(ANNA, too_old, override=override("zoe"))) == [("zoe", "c0", "1")]
    assert shares(decided(ANNA, override=override("stranger"))) == [("stranger", "", "1")]
    assert shares(decided(ANNA, by=None, override=override("anna"))) == [("anna", "c1", "1")]


def test_an_override_prefers_the_touch_that_had_won_to_a_later_one() -> None:
    again = candidate("c3", "anna", NOON - DAY)

    assert shares(decided(ANNA, again, by=rules(model="first"), override=override("anna"))) == [("anna", "c1", "1")]


def test_an_override_to_nobody_leaves_the_order_unattributed() -> None:
    decision = decided(ANNA, override=override(""))

    assert (decision.result, decision.credits, decision.unattributed) == ("manual_override", (), 1)


def test_a_test_order_earns_nothing_by_any_override() -> None:
    decision = decided(ANNA, of=order(test=True), override=override("anna"))

    assert (decision.result, decision.credits) == ("test_event", ())


def test_an_override_is_part_of_what_is_hashed() -> None:
    hashes = {decided(ANNA, override=one).inputs_hash for one in (None, override("anna"), override("ben"), override("anna", case_id="7"))}

    assert len(hashes) == 4


# --- laws ------------------------------------------------------------------------------------------------------------

AGES = [-1, 0, 1, HOUR, DAY - 1, DAY, DAY + 1, 3 * DAY, 30 * DAY, 30 * DAY + 1]
candidates = st.builds(
    lambda touch_id, affiliate, age, touch_class, traffic, programme, consent: candidate(
        touch_id if touch_class != "coupon" else "coupon:ZOE10",
        affiliate,
        NOON - (age if touch_class != "coupon" else 0),
        touch_class,
        traffic_class=traffic,
        programme_id=programme,
        consent=consent,
    ),
    st.sampled_from([f"t{number}" for number in range(12)]),
    st.sampled_from(["anna", "ben", "zoe", "stranger"]),
    st.sampled_from(AGES),
    st.sampled_from(["click", "click", "impression", "coupon", "scan"]),
    st.sampled_from(["human", "human", "human", "declared_bot", "capped"]),
    st.sampled_from(["main", "main", "main", "outlet"]),
    st.sampled_from(["unknown", "unknown", "denied"]),
)
journeys = st.lists(candidates, max_size=8, unique_by=lambda one: one.touch_id)
placed = st.builds(
    lambda keys, test: order(test=test, **keys), st.sampled_from([{}, {"visitor_id": "v"}, {"click_id": "t3"}]), st.booleans()
)


@given(st.lists(candidates, max_size=8), st.randoms(use_true_random=False))
def test_two_contents_under_one_touch_id_still_give_one_decision(found: Any, chance: Any) -> None:
    shuffled = [*found, *found]
    chance.shuffle(shuffled)

    assert decided(*shuffled) == decided(*found)


def test_candidates_are_put_in_the_order_of_time_and_id_once_each() -> None:
    late = [candidate("c4", "anna", NOON), candidate("c3", "ben", NOON)]

    assert [one.touch_id for one in in_order([*late, BEN, ANNA, BEN])] == ["c1", "c2", "c3", "c4"]


@given(placed, journeys)
def test_what_is_recognised_at_one_glance_is_what_the_rules_say(of: Any, found: Any) -> None:
    """Touches that nothing keeps from earning are the ones that the rules leave, one by one."""
    of = msgspec.structs.replace(of, test=False)
    traced = {step.candidate.touch_id: step.verdict for step in decided(*found, of=of).trace}

    for one in found:
        alone = verdict_of(Entry(of, BY_DEFAULT, one))
        assert alone == traced[one.touch_id] or (alone is None and traced[one.touch_id] in WON_OR_LOST)


WON_OR_LOST = {"winner", "older", "assist", "lower_class", "view_superseded_by_click", "lost_to_coupon"}


@given(journeys, candidates)
def test_an_older_touch_of_the_same_class_never_changes_the_winner(found: Any, another: Any) -> None:
    before = decided(*found)
    if not before.credits:
        return
    best = next(step.candidate for step in before.trace if step.verdict == "winner")
    older = msgspec.structs.replace(another, touch_id="t0-older", touch_class=best.touch_class, occurred_at=best.occurred_at - 1)

    assert decided(*found, older).credits == before.credits


def test_the_inputs_hash_changes_with_whatever_the_decision_reads() -> None:
    one = candidate("c1", "anna", NOON - DAY)
    base = decided(one)
    others = [
        decided(candidate("c1", "anna", NOON - DAY - 1)),
        decided(one, of=order(visitor_id="tablet")),
        decided(one, by=rules(model="last")),
        decided(one, by=rules([member("anna", since=NOON - 2 * DAY)])),
        decided(one, by=rules(coalitions=(Coalition("mall", "", ()),))),
        decided(),
        decided(by=None),
        decide(order(visitor_id="phone"), [one], BY_DEFAULT, Customer("new")),
        decide(order(visitor_id="phone"), [one], BY_DEFAULT, Customer("", ("b2b",))),
        decide(order(visitor_id="phone"), [one], BY_DEFAULT, Customer("", (), 2, NOON - DAY)),
        decide(order(visitor_id="phone"), [one], BY_DEFAULT, Customer("", (), 3, NOON - DAY)),
        decide(order(visitor_id="phone"), [one], BY_DEFAULT, Customer("", (), 2, NOON)),
        decided(one, of=order(visitor_id="phone", lines=(Line("1", 100_00, brand="Nord"),))),
        decided(one, of=order(visitor_id="phone", lines=(Line("1", 100_00, discount_minor=1),))),
    ]

    assert len({base.inputs_hash, *(other.inputs_hash for other in others)}) == 15
    assert base.inputs_hash == decided(one).inputs_hash


def test_the_inputs_hash_does_not_depend_on_strangers_of_the_programme() -> None:
    assert decided(ANNA).inputs_hash == decided(ANNA, by=rules([*MEMBERS, member("newcomer")])).inputs_hash


def test_the_inputs_hash_does_not_depend_on_what_the_events_store_does_not_keep() -> None:
    heard = order(visitor_id="phone", ip="203.0.113.9", user_agent="curl/8")

    assert decided(of=heard).inputs_hash == decided().inputs_hash


def test_a_coupon_is_part_of_what_is_hashed() -> None:
    ends = rules(coupons=[msgspec.structs.replace(ZOE10, valid_to=NOON + 1)])

    assert decided(coupon(), by=ends).inputs_hash != decided(coupon()).inputs_hash
