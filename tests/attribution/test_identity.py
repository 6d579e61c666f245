"""The rules by which keys belong together, and what an order carries itself."""

import pytest

from attribution.identity import RULES, IdentityRules, is_device, own_keys
from tests.attribution.builders import order


def test_an_order_begins_with_the_keys_it_carries() -> None:
    assert own_keys(order(visitor_id="phone", click_id="X", customer_keys=("em:1", "loy:2"))) == {
        "v:phone": "visitor",
        "c:X": "visitor",
        "em:1": "customer",
        "loy:2": "customer",
    }
    assert own_keys(order()) == {}


@pytest.mark.parametrize("key", ["v:0000-0000", "v:null", "cid:-1", "em:N/A", "anonymous"])
def test_values_that_mean_nobody_are_blocked(key: str) -> None:
    assert RULES.blocks(key)
    assert not IdentityRules(blocked=()).blocks(key)


@pytest.mark.parametrize("key", ["v:1", "em:3f2a", "v:nullify", "v:001", "x:market:em:3f2a"])
def test_others_are_not(key: str) -> None:
    assert not RULES.blocks(key)


def test_patterns_are_data_and_mean_the_whole_value() -> None:
    rules = IdentityRules(blocked=("^[0-9]{3}$", "bot.*"))

    assert [rules.blocks(key) for key in ("v:123", "v:1234", "v:bot-7", "v:robot")] == [True, False, True, False]


def test_a_limit_may_be_set_by_kind() -> None:
    rules = IdentityRules(neighbours=7, neighbours_of=(("em", 3),))

    assert [rules.limit_of(key) for key in ("em:1", "v:1", "plain")] == [3, 7, 7]


def test_visitors_and_clicks_are_devices() -> None:
    assert [is_device(key) for key in ("v:1", "c:1", "em:1", "cid:1")] == [True, True, False, False]
