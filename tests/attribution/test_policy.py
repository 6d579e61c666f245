"""The rules in force, and what they read like."""

from typing import Any, get_args

import msgspec
import pytest

from attribution.policy import (
    NOUNS,
    Ruling,
    default_policy,
    longest_lookback,
    longest_window,
    lookback,
    percent,
    policy_for,
    ranks_of,
    ruling_for,
    sentences,
    terms_by_tenant,
    window_words,
)
from core.catalogue import (
    Affiliate,
    Catalogue,
    Coalition,
    CoalitionMember,
    Condition,
    Coupon,
    Membership,
    Policy,
    Programme,
    Segment,
    Store,
    Tenant,
    TouchWindow,
)
from core.clock import DAY
from core.credit import TouchClass
from core.identity import customer_key, tenant_key
from tests.attribution.builders import NOON, member, order


def terms(programmes: tuple[Programme, ...] = (), policies: tuple[Policy, ...] = (), **more: Any):
    catalogue = Catalogue(tenants=(Tenant("north", "North", "EUR"),), programmes=programmes, policies=policies, **more)
    return terms_by_tenant(catalogue)["north"]


MAIN = Programme("north", "main", "Main", "https://north.example/")
TILLS = Programme("north", "tills", "Tills", "https://north.example/", stores=("till-1",))


# --- which ruling ----------------------------------------------------------------------------------------------------


def test_a_programme_without_a_policy_has_version_0_coupon_then_30_days_of_clicks_then_a_day_of_views() -> None:
    policy = policy_for(terms((MAIN,)), order())

    assert policy is not None
    assert (policy.version, policy.programme_id) == (0, "main")
    assert [(rule.touch, rule.window_hours) for rule in policy.classes] == [("coupon", 0), ("click", 720), ("impression", 24)]


def chosen(known: Any, segments: tuple[str, ...] = (), **fields: Any) -> tuple[str, int] | None:
    ruling = ruling_for(known, order(**fields), segments)
    return (ruling.programme_id, ruling.policy.version) if ruling else None


def test_the_store_chooses_the_programme_and_the_order_time_the_version() -> None:
    known = terms((MAIN, TILLS), (Policy("north", "tills", 1, NOON - DAY), Policy("north", "tills", 2, NOON)))

    assert chosen(known, store_id="till-1", at=NOON - 1) == ("tills", 1)
    assert chosen(known, store_id="till-1", at=NOON) == ("tills", 2)
    assert chosen(known, store_id="till-1", at=NOON - DAY - 1) == ("tills", 0)
    assert chosen(known, store_id="web") == ("main", 0)
    assert chosen(known, store_id="till-1", at=NOON) == ("tills", 2)


def test_an_order_of_a_store_that_no_programme_takes_has_no_ruling() -> None:
    assert policy_for(terms((TILLS,)), order(store_id="web")) is None
    assert ruling_for(terms(), order()) is None


def test_a_programme_takes_orders_between_its_start_and_its_end() -> None:
    season = msgspec.structs.replace(MAIN, starts_at=NOON - DAY, ends_at=NOON)

    assert [chosen(terms((season,)), at=at) for at in (NOON - DAY - 1, NOON - DAY, NOON - 1, NOON)] == [
        None,
        ("main", 0),
        ("main", 0),
        None,
    ]


def test_a_programme_that_ended_leaves_its_store_to_the_general_one() -> None:
    ended = msgspec.structs.replace(TILLS, ends_at=NOON)

    assert chosen(terms((MAIN, ended)), store_id="till-1", at=NOON - 1) == ("tills", 0)
    assert chosen(terms((MAIN, ended)), store_id="till-1", at=NOON) == ("main", 0)


def test_a_store_comes_before_a_segment_and_a_segment_before_neither() -> None:
    gold = Programme("north", "gold", "", "", segments=("gold", "b2b"))
    golden_tills = Programme("north", "z-tills", "", "", stores=("till-1",), segments=("gold",))

    assert chosen(terms((gold, MAIN)), ("gold",)) == ("gold", 0)
    assert chosen(terms((gold, MAIN)), ("young",)) == ("main", 0)
    assert chosen(terms((gold, MAIN, TILLS)), ("gold",), store_id="till-1") == ("tills", 0)
    assert chosen(terms((gold, MAIN, TILLS, golden_tills)), ("gold",), store_id="till-1") == ("z-tills", 0)
    assert chosen(terms((gold,))) is None


def test_the_smallest_id_takes_the_order_where_nothing_else_decides() -> None:
    other = msgspec.structs.replace(MAIN, programme_id="a-main")

    assert chosen(terms((MAIN, other))) == chosen(terms((other, MAIN))) == ("a-main", 0)


def test_versions_for_a_segment_come_before_those_for_everybody() -> None:
    known = terms(
        (MAIN,),
        (
            Policy("north", "main", 1, 0),
            Policy("north", "main", 2, 0, segment="gold"),
            Policy("north", "main", 3, NOON, segment="b2b"),
            Policy("north", "main", 4, NOON + DAY),
        ),
    )

    assert chosen(known) == ("main", 1)
    assert chosen(known, ("gold",)) == ("main", 2)
    assert chosen(known, ("gold", "b2b")) == ("main", 3)
    assert chosen(known, ("b2b", "gold"), at=NOON - 1) == ("main", 2)
    assert chosen(known, ("b2b",), at=NOON - 1) == ("main", 1)
    assert chosen(known, ("gold",), at=NOON + DAY) == ("main", 2)


def test_a_ruling_is_compiled_once() -> None:
    known = terms((MAIN, TILLS))

    assert ruling_for(known, order(store_id="web")) is ruling_for(known, order(store_id="other", at=NOON + DAY), ("young",))


def test_rulings_of_other_terms_are_others() -> None:
    before, after = terms((MAIN,)), terms((MAIN,), memberships=(member("anna"),), affiliates=())

    first, second = ruling_for(before, order()), ruling_for(after, order())

    assert isinstance(first, Ruling)
    assert isinstance(second, Ruling)
    assert (set(first.active), set(second.active)) == (set(), {"anna"})


# --- ranks and windows -----------------------------------------------------------------------------------------------


def test_tied_classes_have_the_rank_of_the_one_before() -> None:
    classes = (TouchWindow("click", 1, tied=True), TouchWindow("scan", 2, tied=True), TouchWindow("impression", 3))

    assert ranks_of(Policy("", "", 1, 0, classes=classes)) == {
        "click": (0, 3_600_000),
        "scan": (0, 7_200_000),
        "impression": (1, 10_800_000),
    }


def test_direct_visits_stand_beside_clicks_where_they_count() -> None:
    classes = (TouchWindow("coupon", 0), TouchWindow("click", 1), TouchWindow("direct", 5))

    assert "direct" not in ranks_of(Policy("", "", 1, 0, classes=classes))
    assert ranks_of(Policy("", "", 1, 0, classes=classes, direct_rule="counts"))["direct"] == (2, 18_000_000)
    assert ranks_of(Policy("", "", 1, 0, classes=classes[:2], direct_rule="counts"))["direct"] == (1, 3_600_000)


def test_touches_are_looked_up_thirty_days_beyond_the_longest_window() -> None:
    assert longest_window(default_policy("north", "main")) == 30 * DAY
    assert lookback(default_policy("north", "main")) == 60 * DAY
    assert lookback(None) == 60 * DAY
    assert longest_lookback(terms((MAIN,), (Policy("north", "main", 1, 0, classes=(TouchWindow("click", 24),)),))) == 60 * DAY
    assert longest_lookback(terms((MAIN,), (Policy("north", "main", 1, 0, classes=(TouchWindow("click", 90 * 24),)),))) == 120 * DAY


def test_a_bond_of_years_does_not_make_touches_be_looked_up_for_years() -> None:
    assert longest_window(Policy("north", "main", 1, 0, classes=(TouchWindow("binding", 9_000), TouchWindow("click", 24)))) == DAY


# --- terms -----------------------------------------------------------------------------------------------------------


def test_terms_keep_tenants_apart() -> None:
    catalogue = Catalogue(
        tenants=(Tenant("north", "North", "EUR", lapsed_after_days=90), Tenant("south", "South", "EUR")),
        stores=(Store("north", "web", "Web"), Store("south", "web", "Web")),
        programmes=(MAIN, msgspec.structs.replace(MAIN, tenant_id="south")),
        affiliates=(Affiliate("anna", "Anna", "anna@blog.example"), Affiliate("charlie", "Charlie", "charlie@app.example")),
        memberships=(member("anna"), member("charlie", "south")),
        coupons=(Coupon("north", "ANNA10", "main", "anna"),),
        policies=(Policy("south", "main", 1, 0),),
        segments=(Segment("south", "gold", "Gold", (Condition("loyalty_tier", ("gold",)),)),),
        coalitions=(Coalition("mall", "Mall", (CoalitionMember("south", 0),)),),
    )
    north, south = (terms_by_tenant(catalogue, b"secret")[tenant] for tenant in ("north", "south"))

    assert (set(north.memberships["main"]), set(south.memberships["main"])) == ({"anna"}, {"charlie"})
    assert (set(north.coupons), set(south.coupons)) == ({"ANNA10"}, set())
    assert (north.policies, set(south.policies)) == ({}, {"main"})
    assert (len(north.segments), len(south.segments)) == (0, 1)
    assert (len(north.coalitions), len(south.coalitions)) == (0, 1)
    assert {store.tenant_id for store in north.stores.values()} == {"north"}
    assert (north.lapsed_after_days, south.lapsed_after_days) == (90, 365)
    assert (set(north.own_keys), set(south.own_keys)) == ({"anna"}, {"charlie"})


def test_an_affiliates_own_key_is_what_its_own_order_would_carry() -> None:
    anna = Affiliate("anna", "Anna", "Anna@Blog.example")
    catalogue = Catalogue(tenants=(Tenant("north", "North", "EUR"),), affiliates=(anna,), memberships=(member("anna"),))

    own = terms_by_tenant(catalogue, b"secret")["north"].own_keys

    assert own == {"anna": (customer_key("email", "anna@blog.example", tenant_key(b"secret", "north")),)}
    assert terms_by_tenant(catalogue)["north"].own_keys == {}


def test_what_no_decision_reads_is_not_part_of_the_terms() -> None:
    renamed = msgspec.structs.replace(
        MAIN, name="Spring sale", hosts=("north.example",), landing_url="https://north.example/spring", daily_click_cap=7
    )

    assert terms((MAIN,)) == terms((renamed,))
    assert terms((MAIN,)) != terms((TILLS,))


# --- in plain words --------------------------------------------------------------------------------------------------

ALWAYS = (
    "An order with an exclusive code earns for nobody but the owner of the code.",
    "A decision is final 60 days after the order.",
)


def test_the_default_policy_reads_well() -> None:
    assert sentences(default_policy("north", "main")) == (
        "A coupon of the affiliate earns the whole credit: it wins over any click or ad view.",
        "The last click within 30 days before the order earns the whole credit, where there is no coupon: it wins over any ad view.",
        "The last ad view within 24 hours before the order earns the whole credit, where there is no coupon and no click.",
        *ALWAYS,
    )


def test_a_policy_says_what_earns_nothing() -> None:
    assert sentences(Policy("north", "main", 1, 0, classes=(TouchWindow("click", 36),))) == (
        "The last click within 36 hours before the order earns the whole credit.",
        "Ad views and coupons earn nothing.",
        *ALWAYS,
    )
    assert sentences(Policy("north", "main", 1, 0, classes=()))[0] == "Clicks, ad views and coupons earn nothing."


def test_a_policy_that_shares_says_how() -> None:
    tied = (TouchWindow("click", 720), TouchWindow("scan", 168, tied=True), TouchWindow("impression", 24))

    assert sentences(Policy("north", "main", 1, 0, "position", tied, first_bps=3_000))[:3] == (
        "All clicks within 30 days before the order and scans within 7 days before the order share the credit: they win over any ad view.",
        "All ad views within 24 hours before the order share the credit, where there is no click and no scan.",
        "Of those that share, the first gets 30 %, the last 40 %, and those between get equal parts of the rest.",
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "first"}, "The first click within 30 days"),
        ({"model": "linear"}, "equally, touch by touch"),
        ({"model": "time_decay", "half_life_hours": 72}, "3 days older than another gets half as much"),
        ({"model": "shapley"}, "equally, affiliate by affiliate"),
        ({"model": "participation"}, "the first gets 30 %, that of the last 50 %"),
        ({"coupon_rule": "coupon_wins"}, "Where a coupon earns, clicks earn nothing."),
        ({"coupon_rule": "click_wins"}, "Where a click earns, coupons earn nothing."),
        ({"coupon_rule": "only_without_click"}, "A coupon earns only where no other affiliate's click came before"),
        ({"coupon_rule": "split", "coupon_bps": 3_333}, "the coupon gets 33.33 %"),
        ({"paid_rule": "last_wins", "paid_media": ("cpc", "email")}, "another marketing channel (cpc or email) came after the last click"),
        ({"paid_rule": "unless_recent", "paid_recent": 3}, "among the last 3 visits"),
        ({"direct_rule": "counts"}, "Direct visits count beside clicks"),
        ({"self_referral": "refuse"}, "nothing from what they buy themselves"),
        ({"min_seconds_to_order": 1}, "less than 1 second before the order"),
        ({"stand_down_minutes": 30}, "for 30 minutes after another affiliate's click"),
        ({"lock_days": 1}, "A decision is final 1 day after the order."),
    ],
)
def test_every_rule_of_a_policy_is_told(fields: dict[str, Any], said: str) -> None:
    told = " ".join(sentences(Policy("north", "main", 1, 0, **fields)))

    assert said in told
    assert said not in " ".join(sentences(default_policy("north", "main")))


def test_a_guard_that_is_off_is_not_told() -> None:
    assert ALWAYS[0] not in sentences(Policy("north", "main", 1, 0, guard_exclusive_codes=False))


def test_every_class_has_a_name_and_can_be_told() -> None:
    assert set(NOUNS) == set(get_args(TouchClass))
    for name in get_args(TouchClass):
        told = sentences(Policy("north", "main", 1, 0, classes=(TouchWindow(name, 24),)))
        assert told[0].endswith("earns the whole credit.")


@pytest.mark.parametrize(
    ("share", "words"), [((1, 3), "33.33 %"), ((1, 2), "50 %"), ((1, 8), "12.5 %"), ((1, 1), "100 %"), ((0, 1), "0 %")]
)
def test_shares_are_told_in_percent(share: tuple[int, int], words: str) -> None:
    assert percent(*share) == words


@pytest.mark.parametrize(("hours", "words"), [(1, "1 hour"), (24, "24 hours"), (36, "36 hours"), (48, "2 days"), (720, "30 days")])
def test_windows_are_told_in_days_from_two_days_on(hours: int, words: str) -> None:
    assert window_words(hours) == words


def test_memberships_are_found_by_programme() -> None:
    outlet = Membership("north", "outlet", "anna", "applied", NOON)
    catalogue = Catalogue(tenants=(Tenant("north", "North", "EUR"),), programmes=(MAIN,), memberships=(member("anna"), outlet))

    assert terms_by_tenant(catalogue)["north"].memberships == {"main": {"anna": member("anna")}, "outlet": {"anna": outlet}}
