"""The rules in force, and what they read like."""

import msgspec
import pytest

from attribution.policy import (
    default_policy,
    longest_lookback,
    longest_window,
    lookback,
    policy_for,
    sentences,
    terms_by_tenant,
    window_words,
)
from core.catalogue import Catalogue, Coupon, Membership, Policy, Programme, Tenant, TouchWindow
from core.clock import DAY
from tests.attribution.builders import NOON, member, order


def terms(programmes: tuple[Programme, ...] = (), policies: tuple[Policy, ...] = ()):
    catalogue = Catalogue(tenants=(Tenant("north", "North", "EUR"),), programmes=programmes, policies=policies)
    return terms_by_tenant(catalogue)["north"]


MAIN = Programme("north", "main", "Main", "https://north.example/")
TILLS = Programme("north", "tills", "Tills", "https://north.example/", stores=("till-1",))


def test_a_programme_without_a_policy_has_version_0_coupon_then_30_days_of_clicks_then_a_day_of_views() -> None:
    policy = policy_for(terms((MAIN,)), order())

    assert policy is not None
    assert (policy.version, policy.programme_id) == (0, "main")
    assert [(rule.touch, rule.window_hours) for rule in policy.classes] == [("coupon", 0), ("click", 720), ("impression", 24)]


def test_the_store_chooses_the_programme_and_the_order_time_the_version() -> None:
    versions = (Policy("north", "tills", 1, NOON - DAY), Policy("north", "tills", 2, NOON))
    known = terms((MAIN, TILLS), versions)

    def version(store_id: str, at: int) -> tuple[str, int]:
        policy = policy_for(known, order(store_id=store_id, at=at))
        assert policy is not None
        return policy.programme_id, policy.version

    assert version("till-1", NOON - 1) == ("tills", 1)
    assert version("till-1", NOON) == ("tills", 2)
    assert version("till-1", NOON - DAY - 1) == ("tills", 0)
    assert version("web", NOON) == ("main", 0)


def test_an_order_of_a_store_that_no_programme_takes_has_no_policy() -> None:
    assert policy_for(terms((TILLS,)), order(store_id="web")) is None


def test_touches_are_looked_up_thirty_days_beyond_the_longest_window() -> None:
    assert longest_window(default_policy("north", "main")) == 30 * DAY
    assert lookback(default_policy("north", "main")) == 60 * DAY
    assert lookback(None) == 60 * DAY
    assert longest_lookback(terms((MAIN,), (Policy("north", "main", 1, 0, classes=(TouchWindow("click", 24),)),))) == 60 * DAY
    assert longest_lookback(terms((MAIN,), (Policy("north", "main", 1, 0, classes=(TouchWindow("click", 90 * 24),)),))) == 120 * DAY


def test_terms_keep_tenants_apart() -> None:
    catalogue = Catalogue(
        tenants=(Tenant("north", "North", "EUR"), Tenant("south", "South", "EUR")),
        programmes=(MAIN, msgspec.structs.replace(MAIN, tenant_id="south")),
        memberships=(member("anna"), member("charlie", "south")),
        coupons=(Coupon("north", "ANNA10", "main", "anna"),),
        policies=(Policy("south", "main", 1, 0),),
    )
    north, south = (terms_by_tenant(catalogue)[tenant] for tenant in ("north", "south"))

    assert (set(north.memberships["main"]), set(south.memberships["main"])) == ({"anna"}, {"charlie"})
    assert (set(north.coupons), set(south.coupons)) == ({"ANNA10"}, set())
    assert (north.policies, set(south.policies)) == ({}, {"main"})


def test_what_no_decision_reads_is_not_part_of_the_terms() -> None:
    renamed = msgspec.structs.replace(MAIN, name="Spring sale", hosts=("north.example",), landing_url="https://north.example/spring")

    assert terms((MAIN,)) == terms((renamed,))
    assert terms((MAIN,)) != terms((TILLS,))


def test_the_default_policy_reads_well() -> None:
    assert sentences(default_policy("north", "main")) == (
        "A coupon of the affiliate earns the whole credit: it wins over any click or ad view.",
        "The last click within 30 days before the order earns the whole credit, where there is no coupon: it wins over any ad view.",
        "The last ad view within 24 hours before the order earns the whole credit, where there is no coupon and no click.",
    )


def test_a_policy_says_what_earns_nothing() -> None:
    assert sentences(Policy("north", "main", 1, 0, classes=(TouchWindow("click", 36),))) == (
        "The last click within 36 hours before the order earns the whole credit.",
        "Ad views and coupons earn nothing.",
    )
    assert sentences(Policy("north", "main", 1, 0, classes=()))[-1] == "Clicks, ad views and coupons earn nothing."


@pytest.mark.parametrize(("hours", "words"), [(1, "1 hour"), (24, "24 hours"), (36, "36 hours"), (48, "2 days"), (720, "30 days")])
def test_windows_are_told_in_days_from_two_days_on(hours: int, words: str) -> None:
    assert window_words(hours) == words


def test_memberships_are_found_by_programme() -> None:
    outlet = Membership("north", "outlet", "anna", "applied", NOON)
    catalogue = Catalogue(tenants=(Tenant("north", "North", "EUR"),), programmes=(MAIN,), memberships=(member("anna"), outlet))

    assert terms_by_tenant(catalogue)["north"].memberships == {"main": {"anna": member("anna")}, "outlet": {"anna": outlet}}
