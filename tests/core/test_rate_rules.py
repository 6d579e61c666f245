"""What a rate card may say: every bound from both sides, rates that fit what they pay for, and parts that fit one another."""

from typing import Any

import msgspec
import pytest

from core.catalogue import Bonus, Catalogue, Clause, Limit, Membership, Programme, RateCard, Rule, Segment, Tenant, Tier, Tiers
from core.catalogue_rules import flaws_of
from core.flaws import Flaw, known_of
from core.money import LIMIT_MINOR

KNOWN = known_of(
    Catalogue(
        tenants=(Tenant("north", "North", "EUR"), Tenant("south", "South", "EUR")),
        programmes=(Programme("north", "main", "Main", "https://north.example/"),),
        segments=(Segment("north", "firms", "Firms", ()), Segment("south", "vips", "VIPs", ())),
    )
)
ALL = Rule("all", percent_bps=500)
CARD = RateCard("north", "main", 1, 0, 30, (ALL,))
STEPS = Tiers("revenue", "month", (Tier(100_000, 600), Tier(200_000, 700)))
BUDGET = Limit("budget", 50_000, "month", shared=True, rules=("all",))
TEN = Bonus("ten", "orders", "quarter", 10, 5_000)
BEYOND = "is negative or beyond the largest amount taken"
NOT_POSITIVE = "is not positive, or beyond the largest amount taken"


def flaws(**changed: Any) -> list[str]:
    return [f"{flaw.field}: {flaw.message}" for flaw in flaws_of(msgspec.structs.replace(CARD, **changed), KNOWN)]


def of_rule(**changed: Any) -> list[str]:
    return flaws(rules=(msgspec.structs.replace(ALL, **changed),))


def of_tiers(**changed: Any) -> list[str]:
    return of_rule(tiers=msgspec.structs.replace(STEPS, **changed))


def of_limit(**changed: Any) -> list[str]:
    return flaws(limits=(msgspec.structs.replace(BUDGET, **changed),))


def of_bonus(**changed: Any) -> list[str]:
    return flaws(bonuses=(msgspec.structs.replace(TEN, **changed),))


def test_a_card_of_every_part_is_sound() -> None:
    rule = msgspec.structs.replace(ALL, tiers=STEPS, when=Clause("item", "kind", "not_equals", ("gift_card",)), most_minor=1)

    assert flaws(rules=(rule,), limits=(BUDGET,), bonuses=(TEN,), recruiter_bps=(1_000, 500), settle_in="USD") == []


# --- the card itself --------------------------------------------------------------------------------------------------


def test_figures_of_a_card_are_taken_up_to_their_bounds_and_not_beyond() -> None:
    assert flaws(hold_days=0) == flaws(hold_days=3650) == flaws(minimum_order_minor=LIMIT_MINOR) == []
    assert flaws(hold_days=-1) == ["hold_days: -1 is not between 0 and 3650"]
    assert flaws(hold_days=3651) == ["hold_days: 3651 is not between 0 and 3650"]
    assert flaws(minimum_order_minor=-1) == flaws(minimum_order_minor=LIMIT_MINOR + 1) == [f"minimum_order_minor: {BEYOND}"]


@pytest.mark.parametrize(
    ("field", "sound", "said"),
    [
        ("priced_at", "touch", "order, touch"),
        ("recruiter_of", "revenue", "commission, revenue"),
        ("fx_rounding", "half_even", "down, half_even, up"),
    ],
)
def test_a_word_is_one_of_its_list(field: str, sound: str, said: str) -> None:
    assert flaws(**{field: sound}) == []
    assert flaws(**{field: "perhaps"}) == [f"{field}: 'perhaps' is not one of {said}"]


def test_percentages_are_of_the_net_and_what_is_added_to_it_once() -> None:
    assert flaws(pays_on=("tax", "shipping")) == []
    assert flaws(pays_on=("tax", "tax")) == ["pays_on: 'tax' stands twice"]
    assert flaws(pays_on=("gifts",)) == ["pays_on: 'gifts' is not one of tax, shipping"]


def test_commissions_are_settled_in_a_currency() -> None:
    assert flaws(settle_in="") == flaws(settle_in="JPY") == []
    assert flaws(settle_in="usd") == ["settle_in: 'usd' is not an ISO 4217 code such as EUR"]


def test_recruiters_get_up_to_everything_over_ten_levels_at_most() -> None:
    assert flaws(recruiter_bps=(1_000,) * 10) == flaws(recruiter_bps=(10_000,)) == flaws(recruiter_bps=(0, 500)) == []
    assert flaws(recruiter_bps=(100,) * 11) == ["recruiter_bps: has 11 levels; 10 is the most"]
    assert flaws(recruiter_bps=(9_000, 1_001)) == ["recruiter_bps: is more than 100 % together"]
    assert flaws(recruiter_bps=(500, 0)) == ["recruiter_bps: ends with a level of 0 %; leave it out"]
    for wrong in (-1, 10_001):
        assert flaws(recruiter_bps=(wrong,)) == ["recruiter_bps: holds a percentage that is not between 0 % and 100 %"]


@pytest.mark.parametrize(("field", "part", "most"), [("rules", ALL, 1_000), ("limits", BUDGET, 200), ("bonuses", TEN, 200)])
def test_parts_are_bounded_and_have_ids_of_their_own(field: str, part: Any, most: int) -> None:
    name = part.__struct_fields__[0]
    parts = tuple(msgspec.structs.replace(part, **{name: f"p{number}"}) for number in range(most + 1))
    rules = {"rules": (ALL,)} if field != "rules" else {}
    noun = {"rules": "rule", "limits": "limit", "bonuses": "bonus"}[field]

    assert flaws(**rules | {field: parts[:-1]}) == []
    assert flaws(**rules | {field: parts}) == [f"{field}: has {most + 1} entries; {most} is the most"]
    assert flaws(**rules | {field: (part, part)}) == [f"{field}: {getattr(part, name)!r} stands twice"]
    wrong = msgspec.structs.replace(part, **{name: "Not a slug"})
    assert flaws(**rules | {field: (wrong,)}) == [f"{field}: {noun} Not a slug: its id is not 1 to 63 small letters, digits and dashes"]


def test_a_flaw_leads_to_the_part_and_the_clause_that_it_is_about() -> None:
    wrong = Clause("item", "price", "in", ("x",))
    rules = (ALL, Rule("shoes", percent_bps=10_001, when=Clause(all=(wrong, Clause(any=(wrong,))))), ALL)
    found = list(flaws_of(msgspec.structs.replace(CARD, rules=rules), KNOWN))

    price = "item.price: value 'x' is not a decimal number such as 12.30"
    assert found == [
        Flaw("rules", "'all' stands twice", (2,)),
        Flaw("rules", "rule shoes: percent is not between 0 % and 100 %", (1, "percent_bps")),
        Flaw("rules", f"rule shoes: when.all[1]: {price}", (1, "when", "all", 0)),
        Flaw("rules", f"rule shoes: when.all[2].any[1]: {price}", (1, "when", "all", 1, "any", 0)),
    ]


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_rule_pays_a_percentage_or_an_amount_or_both() -> None:
    assert of_rule() == of_rule(fixed_minor=100) == of_rule(percent_bps=None, fixed_minor=100) == of_rule(percent_bps=0) == []
    assert of_rule(percent_bps=None) == ["rules: rule all: give percent or fixed, or both"]


def test_rates_are_taken_up_to_their_bounds_and_not_beyond() -> None:
    assert of_rule(percent_bps=10_000) == of_rule(fixed_minor=0) == of_rule(fixed_minor=LIMIT_MINOR) == of_rule(most_minor=1) == []
    for wrong in (-1, 10_001):
        assert of_rule(percent_bps=wrong) == ["rules: rule all: percent is not between 0 % and 100 %"]
    for wrong in (-1, LIMIT_MINOR + 1):
        assert of_rule(fixed_minor=wrong) == [f"rules: rule all: fixed {BEYOND}"]
    for wrong in (0, LIMIT_MINOR + 1):
        assert of_rule(most_minor=wrong) == [f"rules: rule all: most {NOT_POSITIVE}"]
    for wrong in (-1, 1_000_001):
        assert of_rule(priority=wrong) == [f"rules: rule all: priority {wrong} is not between 0 and 1000000"]


@pytest.mark.parametrize(
    ("subject", "fitting"),
    [("order", "order line unit"), ("lead", "lead"), ("click", "click"), ("impression", "thousand")],
)
def test_an_amount_is_for_what_the_rule_pays_for(subject: str, fitting: str) -> None:
    def per(word: str) -> list[str]:
        return of_rule(percent_bps=None, fixed_minor=5, subject=subject, per=word)

    for word in ("order", "line", "unit", "lead", "click", "thousand", "day"):
        said = f"rules: rule all: per {word!r} is not one of {', '.join(fitting.split())}"
        assert per(word) == ([] if word in fitting.split() else [said])
    assert "rules: rule all: subject 'visit' is not one of order, lead, click, impression" in of_rule(subject="visit")


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("percent_bps", 0, "percent"),
        ("categories", ("shoes",), "categories"),
        ("skus", ("a",), "skus"),
        ("customer_status", "new", "customer_status"),
        ("segments", ("firms",), "segments"),
        ("most_minor", 100, "most"),
        ("tiers", Tiers("orders", "month", (Tier(10, None, 10),)), "tiers"),
    ],
)
def test_what_is_asked_of_an_order_is_not_asked_of_a_click(field: str, value: Any, name: str) -> None:
    click = {"percent_bps": None, "fixed_minor": 5, "subject": "click", "per": "click"}

    assert of_rule(**click) == []
    assert of_rule(**{"percent_bps": None, "fixed_minor": 5} | {field: value}) == []
    assert of_rule(**click | {field: value}) == [f"rules: rule all: {name} is for orders, and the rule pays for the subject click"]


def test_a_rule_names_up_to_a_thousand_products() -> None:
    skus = tuple(f"sku-{number}" for number in range(1_001))

    assert of_rule(skus=skus[:-1]) == of_rule(categories=skus[:-1]) == []
    assert of_rule(skus=skus) == ["rules: rule all: skus has 1001 entries; 1000 is the most"]


def test_segments_are_the_tenants_own() -> None:
    assert of_rule(segments=("firms",)) == []
    assert of_rule(segments=("vips", "firms", "firms")) == [
        "rules: rule all: 'firms' stands twice",
        "rules: rule all: 'vips' is not a segment of tenant north",
    ]


def test_a_rule_asks_for_a_status_that_there_is() -> None:
    assert of_rule(customer_status="lapsed") == []
    assert of_rule(customer_status="old") == ["rules: rule all: customer_status 'old' is not one of new, returning, lapsed"]


def test_a_condition_asks_for_what_the_rule_pays_for() -> None:
    country = Clause("touch", "country", "in", ("DE",))
    click = {"percent_bps": None, "fixed_minor": 5, "subject": "click", "per": "click"}

    assert of_rule(**click, when=country) == []
    assert of_rule(**click, when=Clause("item", "sku", "in", ("a",))) == [
        "rules: rule all: when: item.sku is not known of a click; a rule that pays for one may ask for affiliate, touch"
    ]


# --- tiers ------------------------------------------------------------------------------------------------------------


def test_tiers_ascend() -> None:
    said = "rules: rule all: tiers.steps[2]: at_least is not above that of the step before it"

    assert of_tiers(steps=(Tier(1, 600), Tier(2, 500))) == []
    assert of_tiers(steps=(Tier(2, 600), Tier(2, 700))) == of_tiers(steps=(Tier(2, 600), Tier(1, 700))) == [said]


def test_tiers_are_bounded() -> None:
    assert of_tiers(steps=tuple(Tier(number, 600) for number in range(1, 21))) == []
    assert of_tiers(steps=()) == ["rules: rule all: tiers: has 0 steps; 1 to 20 are taken"]
    assert of_tiers(steps=tuple(Tier(number, 600) for number in range(1, 22))) == [
        "rules: rule all: tiers: has 21 steps; 1 to 20 are taken"
    ]
    for wrong in (0, LIMIT_MINOR + 1):
        assert of_tiers(steps=(Tier(wrong, 600),)) == [
            "rules: rule all: tiers.steps[1]: at_least is not positive, or beyond the largest that is taken"
        ]
    assert of_tiers(steps=(Tier(1, 10_001),)) == ["rules: rule all: tiers.steps[1]: percent is not between 0 % and 100 %"]
    assert of_tiers(measure="clicks") == ["rules: rule all: tiers: measure 'clicks' is not one of orders, revenue, commission"]
    assert of_tiers(period="decade") == ["rules: rule all: tiers: period 'decade' is not one of day, week, month, quarter, year, lifetime"]


def test_a_step_gives_all_that_the_rule_gives() -> None:
    """It stands in place of both: a step that left out the fixed half would take it away unsaid."""
    both = {"percent_bps": 500, "fixed_minor": 100}
    said = "rules: rule all: tiers.steps[1]: stands in place of the rule's own rates, so it gives what the rule gives: "

    assert of_rule(**both, tiers=Tiers("orders", "month", (Tier(1, 600, 100),))) == []
    assert of_rule(**both, tiers=Tiers("orders", "month", (Tier(1, 600),))) == [said + "percent and fixed"]
    assert of_tiers(steps=(Tier(1, 600, 100),)) == of_tiers(steps=(Tier(1, None, 100),)) == [said + "percent"]
    assert of_tiers(steps=(Tier(1),)) == ["rules: rule all: tiers.steps[1]: give percent or fixed, or both"]


# --- limits and bonuses -----------------------------------------------------------------------------------------------


def test_a_limit_is_positive_and_of_rules_that_there_are() -> None:
    assert of_limit() == of_limit(amount_minor=1) == of_limit(amount_minor=LIMIT_MINOR) == of_limit(rules=()) == []
    for wrong in (0, LIMIT_MINOR + 1):
        assert of_limit(amount_minor=wrong) == [f"limits: limit budget: amount {NOT_POSITIVE}"]
    assert of_limit(period="hour") == ["limits: limit budget: period 'hour' is not one of day, week, month, quarter, year, lifetime"]
    assert of_limit(rules=("all", "al")) == ["limits: limit budget: rules: 'al' is not a rule of this version"]
    assert of_limit(rules=("all", "all")) == ["limits: limit budget: rules: 'all' stands twice"]


def test_a_bonus_is_positive_and_for_something_reached() -> None:
    assert of_bonus() == of_bonus(at_least=1, pays_minor=1) == of_bonus(at_least=LIMIT_MINOR, pays_minor=LIMIT_MINOR) == []
    for wrong in (0, LIMIT_MINOR + 1):
        assert of_bonus(pays_minor=wrong) == [f"bonuses: bonus ten: pays {NOT_POSITIVE}"]
        assert of_bonus(at_least=wrong) == ["bonuses: bonus ten: at_least is not positive, or beyond the largest that is taken"]
    assert of_bonus(measure="clicks") == ["bonuses: bonus ten: measure 'clicks' is not one of orders, revenue, commission"]
    assert of_bonus(period="hour") == ["bonuses: bonus ten: period 'hour' is not one of day, week, month, quarter, year, lifetime"]


# --- what rate cards ask of members ----------------------------------------------------------------------------------


def recruited(**by: str) -> dict[str, list[str]]:
    """The flaws of each member of main, by who recruited it."""
    members = tuple(Membership("north", "main", name, "applied", 1, recruited_by=recruiter) for name, recruiter in by.items())
    known = known_of(Catalogue(tenants=(Tenant("north", "North", "EUR"),), memberships=members))
    return {member.affiliate_id: [flaw.message for flaw in flaws_of(member, known) if flaw.field == "recruited_by"] for member in members}


def test_a_recruiter_is_a_member_of_the_same_programme() -> None:
    assert recruited(anna="", ben="anna", cleo="ben") == {"anna": [], "ben": [], "cleo": []}
    assert recruited(ben="anna") == {"ben": ["'anna' is not a member of programme north main"]}


def test_nobody_is_recruited_by_oneself_by_whatever_chain() -> None:
    assert recruited(anna="anna") == {"anna": ["goes round in a circle: anna by anna"]}
    assert recruited(anna="cleo", ben="anna", cleo="ben", dora="anna") == {
        "anna": ["goes round in a circle: anna by cleo, cleo by ben, ben by anna"],
        "ben": ["goes round in a circle: ben by anna, anna by cleo, cleo by ben"],
        "cleo": ["goes round in a circle: cleo by ben, ben by anna, anna by cleo"],
        "dora": [],  # hers is not the circle
    }


def test_what_conditions_ask_for_is_a_short_line() -> None:
    def group(text: str) -> list[str]:
        member = Membership("north", "main", "anna", "applied", 1, group=text)
        return [flaw.message for flaw in flaws_of(member, KNOWN) if flaw.field == "group"]

    assert group("") == group("Gold partners") == []
    assert group(" gold") == ["' gold' begins or ends with a space"]
    assert group("x" * 65) == ["has 65 characters; 64 is the most"]
    assert group("a\nb") == ["'a\\nb' holds a line break or a control character"]


def test_a_manual_adjustment_is_bounded() -> None:
    for limit, said in ((0, []), (LIMIT_MINOR, []), (-1, [BEYOND]), (LIMIT_MINOR + 1, [BEYOND])):
        assert [flaw.message for flaw in flaws_of(Tenant("north", "North", "EUR", adjustment_limit_minor=limit), KNOWN)] == said
