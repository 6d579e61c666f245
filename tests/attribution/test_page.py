"""docs/attribution.md is true: its examples are decided, its codes are all there are, its arithmetic is run."""

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from attribution.decide import decide
from attribution.policy import COUPON
from attribution.rules import NOBODYS, RULES
from core.catalogue import Coupon, Model, Policy, TouchWindow
from core.clock import DAY, HOUR, MINUTE, SECOND
from core.credit import Candidate, Result, TouchClass, Verdict
from tests.attribution.builders import LONG_AGO, NOON, candidate, member, order, ruling

PAGE = (Path(__file__).parents[2] / "docs" / "attribution.md").read_text("utf-8")
UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
MEMBERS = [member("anna"), member("ben"), member("zoe"), member("sol", software=True)]
COUPONS = [Coupon("north", "ZOE10", "main", "zoe"), Coupon("north", "OWN10", "main", "zoe", exclusive=True)]


def section(title: str) -> str:
    return PAGE.partition(f"\n{title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table's rows, heads and rules left out."""
    for head, line in zip(["", *text.splitlines()], text.splitlines(), strict=False):
        if line.startswith("|") and not line.startswith("|---") and head.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


EXAMPLES = list(rows(section("## What keeps a candidate from earning").partition("### Examples")[2]))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example[0].strip('`')} {example[1]}")
def test_an_example_is_decided_as_the_page_says(example: list[str]) -> None:
    policy, journey, earns, told = example
    touches = [touch(text, number) for number, text in enumerate(journey.split(", "))]

    decision = decide(order(visitor_id="phone"), touches, ruling(policy_of(policy.strip("`")), MEMBERS, COUPONS))

    credits = ", ".join(f"{credit.affiliate_id} {credit.share}" for credit in decision.credits)
    verdicts = {step.candidate.touch_id: step.verdict for step in decision.trace}
    assert (credits or decision.result) == earns
    assert ", ".join(verdicts[one.touch_id] for one in touches) == told


def touch(text: str, number: int) -> Candidate:
    who, touch_class, when = text.split(" ")
    if touch_class == "coupon":
        return candidate(COUPON + when, who, NOON, "coupon", matches=("coupon",))
    at = NOON - int(when[:-1]) * UNITS[when[-1]]
    nobody = touch_class in NOBODYS
    origin = who if touch_class == "paid" else ""
    return candidate(f"t{number}", "" if nobody else who, at, touch_class, programme_id="" if nobody else "main", origin=origin)


def policy_of(text: str) -> Policy:
    fields: dict[str, Any] = dict(part.split("=") for part in text.split())
    if "classes" in fields:
        parts = [part.split(":") for part in fields["classes"].split(",")]
        fields["classes"] = tuple(TouchWindow(part[0], int(part[1]), "tied" in part) for part in parts)
    if "paid_media" in fields:
        fields["paid_media"] = (fields["paid_media"],)
    return Policy("north", "main", 1, LONG_AGO, **{name: int(one) if str(one).isdigit() else one for name, one in fields.items()})


def codes(text: str) -> list[str]:
    """What stands in backquotes in the first cell of each row."""
    return [code for cells in rows(text) for code in re.findall(r"`(\w+)`", cells[0])]


def test_the_page_lists_the_rules_in_the_order_in_which_they_are_asked() -> None:
    alone = section("## What keeps a candidate from earning").partition("Then the contests")[0]

    assert codes(alone) == [verdict for verdict, _ in RULES]


def test_the_page_names_every_verdict_every_result_every_model_and_every_class() -> None:
    keeps, told = section("## What keeps a candidate from earning"), section("## What an order is told")

    assert set(re.findall(r"`(\w+)`", keeps)) >= set(get_args(Verdict))
    assert set(re.findall(r"`(\w+)`", told)) >= set(get_args(Result))
    assert codes(section("## Models")) == list(get_args(Model))
    assert set(codes(section("## Which policy decides").partition("### Classes")[2])) == set(get_args(TouchClass))


def test_the_arithmetic_on_the_page_is_run() -> None:
    tests = doctest.DocTestParser().get_doctest(section("## Models").replace("```", ""), {}, "models", "docs/attribution.md", 0)

    assert doctest.DocTestRunner().run(tests) == (0, 9)
