"""One order for every code that a decision may carry, and what its explanation reads like: ``tests/golden/attribution/``.

``python -m tests.attribution.golden`` writes the files anew; look at the difference before it is kept.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from attribution.decide import Customer, decide
from attribution.policy import Ruling, sentences
from attribution.words import RESULTS, sentence
from core.catalogue import Coalition, CoalitionMember, Coupon, Policy, Programme, TouchWindow
from core.clock import DAY, HOUR, MINUTE, SECOND, format_instant
from core.credit import Candidate, Decision, Override, Result, Verdict
from core.events import Order
from tests.attribution.builders import NOON, candidate, member, order, ruling

FOLDER = Path(__file__).parents[1] / "golden" / "attribution"


class Play(msgspec.Struct, frozen=True):
    """An order, what may have led to it, and by which rules it is decided; ``ruling`` None: no programme takes it."""

    story: str
    touches: tuple[Candidate, ...] = ()
    order: Order = order(visitor_id="phone")
    ruling: Ruling | None = None
    override: Override | None = None

    def decided(self) -> Decision:
        return decide(self.order, self.touches, self.ruling, Customer("returning"), self.override)


MEMBERS = [member("anna"), member("ben"), member("zoe"), member("sol", software=True), member("newcomer", since=NOON - HOUR)]
COUPONS = [
    Coupon("north", "ZOE10", "main", "zoe"),
    Coupon("north", "OWN10", "main", "zoe", exclusive=True),
    Coupon("north", "OLD10", "main", "zoe", valid_to=NOON),
]
MALL = Coalition("mall", "Mall", (CoalitionMember("north", 0), CoalitionMember("south", 0)))
CLICKS_ONLY = (TouchWindow("click", 720),)
WITH_PAID = Policy("north", "main", 1, 0, paid_rule="last_wins")


def rules(programme: Programme | None = None, **policy: Any) -> Ruling:
    return ruling(Policy("north", "main", 1, 0, **policy), MEMBERS, COUPONS, programme, (MALL,))


def click(touch_id: str, affiliate: str, age: int, touch_class: str = "click", **more: Any) -> Candidate:
    return candidate(touch_id, affiliate, NOON - age, touch_class, **more)


def coupon(code: str) -> Candidate:
    return candidate(f"coupon:{code}", "zoe", NOON, "coupon", matches=("coupon",))


def nobody(touch_id: str, age: int, touch_class: str, origin: str = "") -> Candidate:
    return candidate(touch_id, "", NOON - age, touch_class, programme_id="", origin=origin)


ANNA, BEN = click("t1", "anna", 9 * DAY), click("t2", "ben", 4 * DAY)
GOOGLE = nobody("t8", HOUR, "paid", "google/cpc")
BY_MARTHA = Override("O-1", 1, "anna", "Anna's newsletter had no link", "martha@north.example", NOON + DAY, "case-7")

RESULT_PLAYS: dict[Result, Play] = {
    "credited": Play("Two clicks; the last one earns.", (ANNA, BEN), ruling=rules()),
    "split": Play("Three clicks under the position model.", (ANNA, BEN, click("t3", "zoe", DAY)), ruling=rules(model="position")),
    "no_touch": Play("A known visitor, and nothing that led there.", ruling=rules()),
    "no_identity": Play("An order without any key.", order=order(), ruling=rules()),
    "outside_window": Play("The only click is a day too old.", (click("t1", "anna", 31 * DAY),), ruling=rules()),
    "before_click": Play("The click came a second after the order.", (click("t1", "anna", -SECOND),), ruling=rules()),
    "unknown_click_id": Play("The order names a click that never came.", (), order(click_id="t9"), rules()),
    "affiliate_not_active": Play("The affiliate was approved after the click.", (click("t1", "newcomer", DAY),), ruling=rules()),
    "program_not_active": Play("No programme takes the orders of this store.", (ANNA,)),
    "invalid_touch": Play("Only a crawler's click.", (click("t1", "anna", HOUR, traffic_class="declared_bot"),), ruling=rules()),
    "consent_denied": Play(
        "The visitor refused, and the order does not name the click.", (click("t1", "anna", HOUR, consent="denied"),), ruling=rules()
    ),
    "self_referral": Play(
        "The affiliate bought for itself.", (click("t1", "anna", HOUR, evidence=("same_email",)),), ruling=rules(self_referral="refuse")
    ),
    "exclusive_code": Play(
        "Anna advertised Zoe's exclusive code, under a policy that pays clicks alone.",
        (ANNA, coupon("OWN10")),
        ruling=rules(classes=CLICKS_ONLY),
    ),
    "lost_to_paid_channel": Play("A search ad brought the customer back.", (ANNA, GOOGLE), ruling=rules(paid_rule="last_wins")),
    "lost_to_click": Play(
        "A coupon, which earns only without a click; the click is too old to earn.",
        (click("t1", "anna", 40 * DAY), coupon("ZOE10")),
        ruling=rules(coupon_rule="only_without_click"),
    ),
    "stand_down": Play(
        "A browser extension stepped in after a click that was itself too old to earn.",
        (click("t1", "anna", 25 * HOUR), click("t2", "sol", 24 * HOUR)),
        ruling=rules(classes=(TouchWindow("click", 24),), stand_down_minutes=60),
    ),
    "direct": Play(
        "Direct visits count, and the last visit was one.", (ANNA, nobody("t9", HOUR, "direct")), ruling=rules(direct_rule="counts")
    ),
    "manual_override": Play("Ben had earned it; a dispute gave it to Anna.", (ANNA, BEN), ruling=rules(), override=BY_MARTHA),
    "test_event": Play("A test order; its trace shows who would have won.", (ANNA,), order(visitor_id="phone", test=True), rules()),
}
VERDICT_PLAYS: dict[Verdict, Play] = {
    "winner": Play("A coupon's credit is recorded on its affiliate's click.", (click("t1", "zoe", DAY), coupon("ZOE10")), ruling=rules()),
    "assist": Play("Each affiliate's last touch carries its part.", (ANNA, BEN, click("t3", "anna", DAY)), ruling=rules(model="shapley")),
    "older": Play("Two clicks in the same millisecond.", (click("t1", "anna", DAY), click("t2", "ben", DAY)), ruling=rules()),
    "newer": Play("First click.", (ANNA, BEN), ruling=rules(model="first")),
    "lower_class": Play(
        "A soft click cannot overwrite a click.",
        (ANNA, click("t2", "ben", HOUR, "soft_click")),
        ruling=rules(classes=(*CLICKS_ONLY, TouchWindow("soft_click", 720))),
    ),
    "view_superseded_by_click": Play("A view after a click.", (ANNA, click("t2", "ben", HOUR, "impression")), ruling=rules()),
    "lost_to_coupon": Play("A click a minute before a coupon.", (click("t1", "anna", MINUTE), coupon("ZOE10")), ruling=rules()),
    "lost_to_click": Play("Clicks win over coupons here.", (ANNA, coupon("ZOE10")), ruling=rules(coupon_rule="click_wins")),
    "lost_to_paid_channel": Play(
        "A paid visit after the click; the coupon is spared.", (ANNA, GOOGLE, coupon("ZOE10")), ruling=rules(paid_rule="last_wins")
    ),
    "customer_bound": Play(
        "An order 90 days ago bound the customer to Ben.",
        (ANNA, click("binding:O-0", "ben", 90 * DAY, "binding", matches=("binding",))),
        ruling=rules(classes=(TouchWindow("binding", 8760), *CLICKS_ONLY)),
    ),
    "exclusive_code": Play("Anna's click, and Zoe's exclusive code.", (ANNA, coupon("OWN10")), ruling=rules()),
    "outside_window": Play("A click of 30 days and a millisecond.", (click("t1", "anna", 30 * DAY + 1),), ruling=rules()),
    "after_order": Play("A click a millisecond after the order.", (click("t1", "anna", -1),), ruling=rules()),
    "wrong_tenant": Play(
        "The mall shares clicks, and no views.",
        (click("t1", "anna", HOUR, "impression", tenant_id="south", matches=("coalition",), consent="granted"),),
        ruling=rules(),
    ),
    "wrong_program": Play("A click for the outlet.", (click("t1", "anna", HOUR, programme_id="outlet"),), ruling=rules()),
    "program_not_active": Play(
        "A click before the programme began.", (ANNA,), ruling=rules(Programme("north", "main", "", "", starts_at=NOON - 2 * DAY))
    ),
    "affiliate_not_active": Play("A click of somebody who never joined.", (click("t1", "stranger", HOUR),), ruling=rules()),
    "bot": Play("A crawler's click.", (click("t1", "anna", HOUR, traffic_class="declared_bot"),), ruling=rules()),
    "capped": Play("A click beyond the day's cap.", (click("t1", "anna", HOUR, traffic_class="capped"),), ruling=rules()),
    "no_consent": Play("Consent was denied with the click.", (BEN, click("t1", "anna", HOUR, consent="denied")), ruling=rules()),
    "self_referral": Play(
        "Anna bought through her own link; Ben's earlier click earns.",
        (BEN, click("t1", "anna", HOUR, evidence=("same_email", "same_phone"))),
        ruling=rules(self_referral="refuse"),
    ),
    "stand_down": Play(
        "An extension's click nine minutes after Anna's.",
        (click("t1", "anna", 10 * MINUTE), click("t2", "sol", MINUTE)),
        ruling=rules(stand_down_minutes=30),
    ),
    "late_hijack": Play(
        "A click ten seconds before the order.", (ANNA, click("t2", "ben", 10 * SECOND)), ruling=rules(min_seconds_to_order=30)
    ),
    "class_excluded": Play("The policy pays clicks alone.", (click("t1", "anna", HOUR, "impression"),), ruling=rules(classes=CLICKS_ONLY)),
    "direct": Play("A direct visit never overwrites.", (ANNA, nobody("t9", HOUR, "direct")), ruling=rules()),
    "paid_visit": Play("The programme does not ask about other channels.", (ANNA, GOOGLE), ruling=rules()),
    "coupon_not_valid": Play("A coupon that ran out at the order's instant.", (coupon("OLD10"),), ruling=rules()),
    "overridden": Play(
        "It was decided that nobody earns.",
        (ANNA, BEN),
        ruling=rules(),
        override=Override("O-1", 2, "", "returned unpaid", "martha@north.example", NOON),
    ),
}


def files() -> Iterator[tuple[Path, str]]:
    """Every golden file and what it should hold."""
    for folder, plays in (("results", RESULT_PLAYS), ("verdicts", VERDICT_PLAYS)):
        for code, play in plays.items():
            yield FOLDER / folder / f"{code}.txt", told(play)


def told(play: Play) -> str:
    """The explanation of a play, for people."""
    decision, at = play.decided(), play.order.occurred_at
    shares = {credit.touch_id: credit.share for credit in decision.credits}
    lines = [play.story, "", f"placed      {format_instant(at)}", *_policy_lines(play)]
    lines.append(f"result      {decision.result}: {RESULTS[decision.result]}")
    lines += [f"credit      {credit.share} to {credit.affiliate_id} for {credit.touch_id or 'no touch'}" for credit in decision.credits]
    lines += [f"credit      {decision.unattributed} to nobody"] if decision.unattributed else []
    for step in decision.trace:
        one = step.candidate
        lines += [
            "",
            f"{step.verdict:<26}{one.touch_class} {one.touch_id} of {one.affiliate_id or 'nobody'}, {format_instant(one.occurred_at)}",
        ]
        lines.append(f"{'':<26}{sentence(step, at, shares.get(one.touch_id))}")
    return "\n".join(lines) + "\n"


def _policy_lines(play: Play) -> list[str]:
    return [f"policy      {one}" for one in sentences(play.ruling.policy)] if play.ruling else ["policy      none"]


def write(say: Callable[[str], object] = print) -> None:
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            say(str(path.relative_to(FOLDER)))


if __name__ == "__main__":
    write()
