"""What a policy may say: every bound from both sides, and rules that fit one another."""

from typing import Any

import msgspec
import pytest

from core.catalogue import Catalogue, Policy, Programme, Segment, Tenant, TouchWindow
from core.catalogue_rules import flaws_of
from core.flaws import known_of

KNOWN = known_of(
    Catalogue(
        tenants=(Tenant("north", "North", "EUR"), Tenant("south", "South", "EUR")),
        programmes=(Programme("north", "main", "Main", "https://north.example/"),),
        segments=(Segment("north", "firms", "Firms", ()), Segment("south", "vips", "VIPs", ())),
    )
)
SOUND = Policy("north", "main", 1, 0)


def flaws(record: Any, **changed: Any) -> list[str]:
    return [f"{flaw.field}: {flaw.message}" for flaw in flaws_of(msgspec.structs.replace(record, **changed), KNOWN)]


def test_the_policy_that_holds_without_one_is_sound() -> None:
    assert flaws(SOUND) == []


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [
        ("half_life_hours", 1, 87_600),
        ("paid_recent", 1, 100),
        ("min_seconds_to_order", 0, 86_400),
        ("stand_down_minutes", 0, 43_200),
        ("lock_days", 1, 3650),
    ],
)
def test_a_figure_is_taken_up_to_its_bounds_and_not_beyond(field: str, lowest: int, highest: int) -> None:
    for sound in (lowest, highest):
        assert flaws(SOUND, **{field: sound}) == []
    for unsound in (lowest - 1, highest + 1):
        assert flaws(SOUND, **{field: unsound}) == [f"{field}: {unsound} is not between {lowest} and {highest}"]


@pytest.mark.parametrize(("one", "other"), [("first_bps", "last_bps"), ("introducer_bps", "closer_bps")])
def test_two_shares_are_the_whole_at_most(one: str, other: str) -> None:
    assert flaws(SOUND, **{one: 3_000, other: 7_000}) == []
    name = one.removesuffix("_bps")
    assert flaws(SOUND, **{one: 3_000, other: 7_001}) == [f"{other}: and {name} are more than 100 % together"]


@pytest.mark.parametrize("field", ["first_bps", "last_bps", "introducer_bps", "closer_bps", "coupon_bps"])
def test_a_share_is_between_nothing_and_everything(field: str) -> None:
    others = {"first_bps": 0, "last_bps": 0, "introducer_bps": 0, "closer_bps": 0}
    assert flaws(SOUND, **others | {field: 0}) == flaws(SOUND, **others | {field: 10_000}) == []
    assert f"{field}: is not between 0 % and 100 %" in flaws(SOUND, **others | {field: -1})
    assert f"{field}: is not between 0 % and 100 %" in flaws(SOUND, **others | {field: 10_001})


@pytest.mark.parametrize("field", ["model", "coupon_rule", "paid_rule", "direct_rule", "self_referral"])
def test_a_word_is_one_of_its_list(field: str) -> None:
    (found,) = flaws(SOUND, **{field: "perhaps"})

    assert found.startswith(f"{field}: 'perhaps' is not one of ")


@pytest.mark.parametrize("touch", ["coupon", "exclusive_coupon", "clickless", "agent"])
def test_what_the_order_itself_carries_may_have_no_window(touch: Any) -> None:
    assert flaws(SOUND, classes=(TouchWindow(touch, 0),)) == []
    assert flaws(SOUND, classes=(TouchWindow(touch, 87_600),)) == []
    assert flaws(SOUND, classes=(TouchWindow(touch, 87_601),)) == [f"classes: window_hours 87601 of {touch} is not between 0 and 87600"]


def test_everything_else_has_one() -> None:
    assert flaws(SOUND, classes=(TouchWindow("binding", 0),)) == ["classes: window_hours 0 of binding is not between 1 and 87600"]


def test_a_class_stands_once_and_the_first_is_tied_to_nothing() -> None:
    click, scan = TouchWindow("click", 24), TouchWindow("scan", 24, tied=True)

    assert flaws(SOUND, classes=(click, scan)) == []
    assert flaws(SOUND, classes=(scan, click)) == ["classes: scan is tied, but it is the first: there is no class before it to be tied to"]
    assert flaws(SOUND, classes=(click, scan, click)) == ["classes: 'click' stands twice"]
    assert flaws(SOUND, classes=()) == ["classes: is empty, so nobody would ever earn; name at least one class"]


@pytest.mark.parametrize("rule", ["coupon_wins", "click_wins", "only_without_click", "split"])
def test_a_coupon_rule_needs_both_sides(rule: Any) -> None:
    coupon, click = TouchWindow("coupon", 0), TouchWindow("click", 24)
    needs = f"coupon_rule: {rule!r} settles coupon against click, so the policy must list both classes"

    assert flaws(SOUND, coupon_rule=rule, classes=(coupon, click)) == []
    assert flaws(SOUND, coupon_rule=rule, classes=(TouchWindow("exclusive_coupon", 0), TouchWindow("click_id", 24))) == []
    assert flaws(SOUND, coupon_rule=rule, classes=(coupon,)) == flaws(SOUND, coupon_rule=rule, classes=(click,)) == [needs]


def test_media_are_words_in_small_letters_and_stand_once() -> None:
    assert flaws(SOUND, paid_media=("cpc", "paid social")) == []
    assert flaws(SOUND, paid_media=("cpc", "cpc")) == ["paid_media: 'cpc' stands twice"]
    for wrong in ("CPC", " ", "a\nb", "x" * 65):
        assert "is not a medium such as cpc" in flaws(SOUND, paid_media=(wrong,))[0]


def test_segments_are_the_tenants_own() -> None:
    assert flaws(SOUND, segment="firms") == []
    assert flaws(SOUND, segment="vips") == ["segment: 'vips' is not a segment of tenant north"]
