"""The pure part of tiers and limits: steps, what an order relied on, who has to be priced again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Tier, Tiers
from payouts.accounts import Claim, Standing, Use, crossed, disturbed, range_of, relied_on, step_of

GOLD = Tiers("orders", "month", (Tier(10, percent_bps=600), Tier(50, percent_bps=800)))


@pytest.mark.parametrize(("reached", "step"), [(0, 0), (9, 0), (10, 1), (49, 1), (50, 2), (10**12, 2)])
def test_a_step_begins_exactly_where_it_says(reached, step):
    assert step_of(GOLD, reached) == step


@given(st.integers(0, 100))
def test_a_step_holds_in_its_range_and_nowhere_else(reached):
    low, high = range_of(GOLD, step_of(GOLD, reached))

    assert low <= reached < (high or 1_000)
    assert [step_of(GOLD, at) for at in (low, (high or 1_000) - 1)] == [step_of(GOLD, reached)] * 2


def test_a_threshold_is_crossed_where_the_sum_comes_to_it():
    assert crossed([10], 9, 10)
    assert not crossed([10], 10, 20)
    assert not crossed([10], 0, 9)


def test_an_order_relies_on_the_steps_that_paid_and_on_what_it_asked_for():
    standing = Standing((("anna", "all", 1), ("anna", "shoes", 2)), (("most", "anna", 5_000), ("budget", "", 3), ("idle", "", 9)))
    uses = [Use("most", "anna", 10, 10), Use("budget", "", 10, 3)]

    assert relied_on(standing, uses, {("anna", "shoes")}) == Standing((("anna", "shoes", 2),), (("most", "anna", 10), ("budget", "", 3)))


def claims(amount, asked, before=0):
    """Orders of a limit in order, each granted what is left: as they were priced."""
    found = []
    for number, minor in enumerate(asked):
        left = min(max(0, amount - before), minor)
        found.append(Claim((number, ""), amount, before, left, minor, left))
        before += left
    return found


@given(st.integers(0, 50), st.lists(st.integers(0, 20), max_size=8), st.integers(0, 30), st.integers(0, 30))
def test_those_told_are_those_whose_grant_another_start_changes(amount, asked, before, after):
    """Priced when ``before`` was used ahead of them; now it is ``after``."""
    was, is_now = claims(amount, asked, before), claims(amount, asked, after)
    shown = [
        Claim(old.place, amount, after + sum(one.granted_minor for one in was[:number]), old.left_minor, old.asked_minor, old.granted_minor)
        for number, old in enumerate(was)
    ]

    assert list(disturbed(shown)) == [old.place for old, new in zip(was, is_now, strict=True) if old.granted_minor != new.granted_minor]
