"""Order linkage cases as other systems document them (``linkage_scenarios.json``), played through the decision."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attribution.decide import decide
from attribution.policy import COUPON
from core.catalogue import Coupon, Policy, TouchWindow
from core.clock import Instant, parse_instant
from core.credit import Candidate, Decision, TouchClass
from tests.attribution.builders import LONG_AGO, candidate, member, order, ruling

SCENARIOS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "linkage_scenarios.json").read_text("utf-8"))
KINDS: dict[str, TouchClass] = {"coupon_owner": "coupon", "view": "impression"}
"""Kinds of events that have another name here."""


def played(scenario: dict[str, Any]) -> Decision:
    """The decision of a case: its windows, coupon > click > soft click and the like > view, and its model, else last."""
    told, at = scenario["order"], parse_instant(scenario["order"]["ts"])
    events = scenario["events"]
    coupons = [Coupon("north", event["code"], "main", event["affiliate"]) for event in events if "code" in event]
    members = [member(event["affiliate"], since=min(LONG_AGO, at)) for event in events if event["affiliate"]]
    placed = order(at=at, visitor_id="phone", coupons=tuple(coupon.code for coupon in coupons))
    return decide(placed, [_candidate(event, at) for event in events], ruling(policy_of(told), members, coupons))


def fits(scenario: dict[str, Any]) -> bool:
    """Does the decision give the order to whom the case says, through what it says?"""
    expected, decision = scenario["expected"], played(scenario)
    earned = [(credit.affiliate_id, credit.touch_id) for credit in decision.credits]
    return earned == ([(expected["winner"], expected["via"])] if expected["winner"] else [])


def policy_of(told: dict[str, Any]) -> Policy:
    click, view = told.get("lookback_click_days", 30) * 24, told.get("lookback_view_days", 1) * 24
    classes: Iterable[tuple[TouchClass, int]] = (
        ("exclusive_coupon", 0),
        ("coupon", 0),
        ("click", click),
        ("soft_click", click),
        ("scan", click),
        ("call", click),
        ("app_open", click),
        ("impression", view),
    )
    model = told.get("model", "last")
    return Policy("north", "main", 1, 0, model, tuple(TouchWindow(*one) for one in classes))


def _candidate(event: dict[str, Any], at: Instant) -> Candidate:
    touch_class = KINDS.get(event["kind"], event["kind"])
    touch_id = COUPON + event["code"] if "code" in event else event["id"]
    return candidate(touch_id, event["affiliate"] or "", parse_instant(event["ts"]) if event["ts"] else at, touch_class)
