"""Generated worlds: whole catalogues, orders and journeys, decided by the product and by the oracle, and held to the laws.

``python -m tests.attribution.worlds [--count 100000] [--first 0]`` checks so many, with progress; a world is named by its number.
"""

import argparse
import random
import sys
from fractions import Fraction
from typing import Any, get_args

import msgspec

from attribution.decide import Customer, decide
from attribution.policy import COUPON, Terms, ruling_for
from core.catalogue import (
    Coalition,
    CoalitionMember,
    Coupon,
    CouponRule,
    Membership,
    Model,
    PaidRule,
    Policy,
    Programme,
    TouchWindow,
)
from core.clock import DAY, HOUR, MINUTE, SECOND, Instant, parse_instant
from core.credit import Candidate, Decision, Override, TouchClass
from core.events import Claim, Line, Order
from tests.attribution.oracle import Catalogue, Opinion, opinion

NOON = parse_instant("2026-03-01T12:00:00Z")
AFFILIATES = ("anna", "ben", "cleo", "dora", "emil")
CLASSES: tuple[TouchClass, ...] = get_args(TouchClass)
OF_CANDIDATES: tuple[TouchClass, ...] = tuple(one for one in CLASSES if one not in ("click_id", "exclusive_coupon", "coupon"))
CODES = ("SPRING", "SUMMER", "OWN1", "OWN2")
SEGMENTS = ("b2b", "gold")
AGES = (
    -1,
    0,
    1,
    5 * SECOND,
    30 * SECOND,
    10 * MINUTE,
    30 * MINUTE,
    HOUR,
    6 * HOUR,
    DAY,
    DAY + 1,
    2 * DAY,
    7 * DAY,
    9 * DAY,
    14 * DAY,
    30 * DAY,
)
"""How old touches are: few values, so that equal times and the edges of windows are common."""


class World(msgspec.Struct, frozen=True):
    """All that one decision reads."""

    terms: Terms
    order: Order
    candidates: tuple[Candidate, ...]
    segments: tuple[str, ...]
    override: Override | None


class Chance(random.Random):
    """Chance, and how rough a world is: how often something is not as it usually is."""

    rough = 0.0

    def odd(self, usual: Any, *others: Any) -> Any:
        return self.choice(others) if self.random() < self.rough else usual


def world(number: int) -> World:
    """The same number gives the same world."""
    chance = Chance(number)
    chance.rough = chance.choice((0.0, 0.03, 0.1, 0.3))
    placed = _order(chance)
    programmes = _programmes(chance)
    terms = Terms(
        "north",
        programmes,
        _policies(chance, programmes),
        {one.programme_id: _members(chance, one.programme_id) for one in programmes},
        {one.code: one for one in _coupons(chance)},
        coalitions=tuple(_coalition(chance, number) for number in range(chance.odd(1, 0, 2))),
    )
    touches = [_touch(chance, place) for place in range(chance.choice((0, 1, 2, 3, 4, 6, 9, 20)))]
    touches += [_coupon_use(terms, code) for code in CODES if chance.random() < 0.12]
    override = None
    if chance.random() < 0.03:
        override = Override("O-1", 1, chance.choice(("", *AFFILIATES)), "agreed", "martha", NOON)
    segments = tuple(name for name in SEGMENTS if chance.random() < 0.3)
    return World(terms, placed, tuple(touches), segments, override)


def _order(chance: Chance) -> Order:
    keys: dict[str, Any] = {
        "visitor_id": chance.choice(("", "phone")),
        "click_id": chance.odd("", "t1", "t99"),
        "affiliate_id": chance.odd("", "anna"),
        "claims": chance.odd((), (Claim("t1"),)),
        "coupons": chance.choice(((), (), ("SPRING",))),
        "consent": chance.odd("unknown", "granted", "denied"),
    }
    place = {"store_id": chance.choice(("web", "till")), "test": chance.random() < 0.03}
    return Order("E-1", "north", "O-1", "EUR", NOON, NOON, (Line("1", 100_00),), **place, **keys)


def _programmes(chance: Chance) -> tuple[Programme, ...]:
    def dates() -> dict[str, Instant | None]:
        return {"starts_at": chance.odd(None, NOON - 2 * DAY, NOON + 1), "ends_at": chance.odd(None, NOON, NOON + 1)}

    main = Programme("north", "main", "", "", **dates())
    more = [
        Programme("north", "outlet", "", "", stores=chance.choice(((), ("till",))), segments=chance.choice(((), ("gold",))), **dates()),
        Programme("north", "early", "", "", stores=chance.choice(((), ("till",))), segments=chance.choice((("b2b",), SEGMENTS)), **dates()),
    ]
    return (main, *(one for one in more if chance.random() < chance.rough))


def _policies(chance: Chance, programmes: tuple[Programme, ...]) -> dict[str, tuple[Policy, ...]]:
    def versions() -> range:
        return range(1, chance.odd(2, 1, 4))

    return {one.programme_id: tuple(_policy(chance, one.programme_id, version) for version in versions()) for one in programmes}


def _policy(chance: Chance, programme_id: str, version: int) -> Policy:
    first, opens = chance.choice((0, 2_500, 4_000, 10_000)), chance.choice((0, 3_000, 10_000))
    return Policy(
        "north",
        programme_id,
        version,
        chance.odd(0, NOON - DAY, NOON, NOON + 1),
        chance.choice(get_args(Model)),
        _classes(chance),
        segment=chance.odd("", *SEGMENTS),
        first_bps=first,
        last_bps=chance.choice((0, 3_333, 10_000 - first)) if first < 10_000 else 0,
        half_life_hours=chance.choice((1, 24, 168)),
        introducer_bps=opens,
        closer_bps=chance.choice((0, 10_000 - opens)),
        coupon_rule=chance.choice(("by_rank", "by_rank", *get_args(CouponRule))),
        coupon_bps=chance.choice((0, 3_000, 5_000, 10_000)),
        guard_exclusive_codes=chance.random() < 0.7,
        paid_rule=chance.choice(("ignore", "ignore", *get_args(PaidRule))),
        paid_media=chance.choice(((), (), ("cpc",), ("google", "email"))),
        paid_recent=chance.choice((1, 2, 3)),
        direct_rule=chance.choice(("ignore", "ignore", "counts")),
        self_referral=chance.choice(("flag", "refuse")),
        min_seconds_to_order=chance.choice((0, 0, 5, 60)),
        stand_down_minutes=chance.choice((0, 0, 20, 60)),
    )


def _classes(chance: Chance) -> tuple[TouchWindow, ...]:
    usual: list[TouchClass] = ["click", "coupon", "impression"]
    names = [*usual, *chance.sample([one for one in CLASSES if one not in usual], chance.randrange(len(CLASSES) - 3))]
    chance.shuffle(names)
    kept = names[: chance.odd(len(names), 2)]
    return tuple(TouchWindow(name, chance.odd(720, 0, 1, 6, 24, 168), chance.random() < 0.3) for name in kept)


def _members(chance: Chance, programme_id: str) -> dict[str, Membership]:
    def spans() -> tuple[Instant | None, Instant | None]:
        return chance.odd(0, None, NOON - DAY), chance.odd(None, NOON - HOUR, NOON + DAY)

    return {
        name: Membership("north", programme_id, name, "approved", 0, *spans(), software=chance.random() < 0.2)
        for name in AFFILIATES
        if not chance.odd(False, True, False)
    }


def _coupons(chance: Chance) -> list[Coupon]:
    return [
        Coupon(
            "north",
            code,
            chance.odd("main", "outlet"),
            chance.choice(AFFILIATES),
            chance.odd(None, NOON, NOON + 1),
            chance.odd(None, NOON, NOON + 1),
            code.startswith("OWN"),
        )
        for code in CODES
        if not chance.odd(False, True)
    ]


def _coalition(chance: Chance, number: int) -> Coalition:
    members = [
        CoalitionMember(tenant_id, chance.odd(0, NOON - DAY), chance.odd(None, NOON, NOON - HOUR))
        for tenant_id in ("north", "south", "east")
        if not chance.odd(False, True)
    ]
    return Coalition(f"mall-{number}", "", tuple(members), chance.choice((("click",), ("click", "impression", "scan"))))


def _touch(chance: Chance, place: int) -> Candidate:
    touch_class = chance.choice((*OF_CANDIDATES, "click", "click", "click", "impression"))
    at = NOON if touch_class == "clickless" else NOON - chance.choice(AGES)
    touch_id = chance.odd(f"t{place}", f"u{chance.randrange(30):02}-{place}")
    if touch_class in ("paid", "direct"):
        origin = chance.choice(("google/cpc", "news/email", "/cpc", "bing/")) if touch_class == "paid" else ""
        traffic_class = chance.odd("human", "declared_bot", "capped")
        whose = {"tenant_id": chance.odd("", "north", "south"), "consent": chance.odd("unknown", "granted")}
        return Candidate(touch_id, touch_class, "", "", at, ("visitor",), origin=origin, traffic_class=traffic_class, **whose)
    return Candidate(
        touch_id=touch_id,
        touch_class=touch_class,
        programme_id=chance.odd("main", "outlet", "early"),
        affiliate_id=chance.choice(AFFILIATES),
        occurred_at=at,
        matches=chance.choice((("visitor",), ("visitor",), ("customer",), ("click_id", "visitor"), ("visitor", "customer"))),
        traffic_class=chance.odd("human", "declared_bot", "capped", "rate_limited"),
        consent=chance.odd(chance.choice(("unknown", "granted")), "denied"),
        tenant_id=chance.odd("", "north", "south", "south", "east"),
        origin=chance.odd("", "expired") if touch_class == "agent" else "",
        evidence=chance.odd((), ("same_email",)),
    )


def _coupon_use(terms: Terms, code: str) -> Candidate:
    coupon = terms.coupons.get(code) or Coupon("north", code, "main", "anna")
    return Candidate(COUPON + code, "coupon", coupon.programme_id, coupon.affiliate_id, NOON, ("coupon",))


# --- checking --------------------------------------------------------------------------------------------------------


def decision_of(one: World, candidates: tuple[Candidate, ...] | None = None, trace: bool = True) -> Decision:
    """What the product decides; of these candidates, where other than the world's are given."""
    ruling = ruling_for(one.terms, one.order, one.segments)
    touches = one.candidates if candidates is None else candidates
    return decide(one.order, touches, ruling, Customer("", one.segments), one.override, trace)


def opinion_of(one: World) -> Opinion:
    terms = one.terms
    catalogue = Catalogue(
        terms.programmes,
        [policy for versions in terms.policies.values() for policy in versions],
        [member for members in terms.memberships.values() for member in members.values()],
        list(terms.coupons.values()),
        terms.coalitions,
    )
    return opinion(catalogue, one.order, one.candidates, one.segments, one.override)


def faults(one: World, chance: random.Random) -> list[str]:
    """Where the product differs from the oracle, and which laws it breaks."""
    decision, expected = decision_of(one), opinion_of(one)
    found = []
    credits = [(credit.affiliate_id, credit.touch_id, credit.share) for credit in decision.credits]
    verdicts = {step.candidate.touch_id: step.verdict for step in decision.trace}
    for name, ours, theirs in (
        ("programme", decision.programme_id, expected.programme_id),
        ("version", decision.policy_version, expected.version),
        ("result", decision.result, expected.result),
        ("credits", credits, expected.credits),
        ("verdicts", verdicts, expected.verdicts),
    ):
        if ours != theirs:
            found.append(f"{name}: decided {ours}, expected {theirs}")
    if sum((credit.share for credit in decision.credits), decision.unattributed) != 1 or decision.unattributed < 0:
        found.append("shares do not sum to one")
    if any(Fraction(credit.numerator, credit.denominator).denominator != credit.denominator for credit in decision.credits):
        found.append("a share is not in lowest terms")
    again = [*one.candidates, *(touch for touch in one.candidates if chance.random() < 0.3)]
    chance.shuffle(again)
    if msgspec.json.encode(decision_of(one, tuple(again))) != msgspec.json.encode(decision):
        found.append("the order or the repetition of the candidates matters")
    if decision_of(one, trace=False) != msgspec.structs.replace(decision, trace=(), inputs_hash=""):
        found.append("without a trace it is another decision")
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--first", type=int, default=0)
    chosen = options.parse_args()
    results: dict[str, int] = {}
    verdicts: dict[str, int] = {}
    for number in range(chosen.first, chosen.first + chosen.count):
        one = world(number)
        for fault in faults(one, random.Random(number)):
            sys.stderr.write(f"\nworld {number}: {fault}\n")
            return 1
        decision = decision_of(one)
        results[decision.result] = results.get(decision.result, 0) + 1
        for step in decision.trace:
            verdicts[step.verdict] = verdicts.get(step.verdict, 0) + 1
        if (number + 1 - chosen.first) % 1_000 == 0 and sys.stderr.isatty():
            sys.stderr.write(f"\r{number + 1 - chosen.first:,} of {chosen.count:,} worlds agree")
            sys.stderr.flush()
    sys.stdout.write(f"\n{chosen.count:,} worlds agree\n{msgspec.json.encode({'results': results, 'verdicts': verdicts}).decode()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
