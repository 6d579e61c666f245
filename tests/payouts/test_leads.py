"""Leads that earn: each is booked, limited, held, rejected and recomputed like an order, and counts for no tier and no bonus."""

from core.catalogue import Bonus, Clause, Limit, Membership, RateCard, Rule, Tier, Tiers
from core.clock import DAY, HOUR
from core.credit import Credit
from core.events import Line
from core.leads import name_of
from payouts.facts import read_facts
from payouts.holds import hold, reject, release_due
from payouts.recompute import recompute
from payouts.simulate import simulate
from payouts.verify import verify
from store.commissions import read_all
from store.ledger import read_entries
from tests.payouts.conftest import HOLD_DAYS, World
from tests.payouts.test_facts import AT, Store, at
from tests.people import NORTH

TRIAL = Rule("trial", 10, fixed_minor=20_00, per="lead", subject="lead", when=Clause("lead", "name", "equals_to", ("trial",)))
SIGN_UP = Rule("sign-up", 20, fixed_minor=5_00, per="lead", subject="lead", when=Clause("lead", "name", "not_equals", ("spam",)))


def pays(world: World, *rules: Rule, **more) -> None:
    world.put(RateCard(NORTH, "main", 2, world.clock() - 300 * DAY, HOLD_DAYS, rules or (TRIAL, SIGN_UP), **more))


def said(world: World, name: str) -> list[tuple[str, int, str, str]]:
    return [(row.affiliate_id, row.amount_minor, row.rule_id, row.reason) for row in world.rows(name)]


def test_a_lead_earns_the_fixed_amount_of_the_rule_for_its_name(sqlite_world):
    world = sqlite_world
    pays(world)
    trial, other = world.lead("L-1", "anna", name="trial"), world.lead("L-2", "anna", "ben")

    report = world.accrue()

    assert (report.seen, report.booked, report.problems) == (2, 2, ())
    assert said(world, trial) == [("anna", 20_00, "trial", "")]
    assert said(world, other) == [("anna", 2_50, "sign-up", ""), ("ben", 2_50, "sign-up", "")]
    (row,) = world.rows(trial)
    assert (row.subject, row.line_id, row.base_minor, row.currency, row.state) == ("lead", "lead", 0, "EUR", "pending")
    assert row.hold_until == row.ordered_at + HOLD_DAYS * DAY
    assert world.accrue().rows == 0, "once more is the same as once"


def test_a_lead_that_earns_nothing_has_one_reason(sqlite_world):
    pays(sqlite_world, TRIAL)
    unfit, nobodys = sqlite_world.lead("L-1", "anna", name="newsletter"), sqlite_world.lead("L-2")
    sqlite_world.accrue()

    assert said(sqlite_world, unfit) == [("anna", 0, "", "no_rule")]
    assert said(sqlite_world, nobodys) == [("", 0, "", "unattributed")]


def test_a_card_without_rules_for_leads_and_one_whose_rules_are_all_for_orders_say_no_rule(sqlite_world):
    name = sqlite_world.lead("L-1", "anna")
    sqlite_world.accrue()

    assert said(sqlite_world, name) == [("anna", 0, "", "no_rule")], "whatever its rules for orders ask, and what it is worth"


def test_a_lead_that_is_somebody_elses_by_a_late_click_is_booked_over(sqlite_world):
    pays(sqlite_world)
    name = sqlite_world.lead("L-1", "anna")
    sqlite_world.accrue()
    sqlite_world.decide(name, "ben")
    sqlite_world.accrue()

    assert sqlite_world.earned(name) == {"anna": 0, "ben": 5_00}
    assert {row.subject for row in sqlite_world.rows(name)} == {"lead"}
    with sqlite_world.books.reading() as connection:
        assert [entry.memo for entry in read_entries(connection, NORTH)] == ["lead L-1: sale", "lead L-1: redecision, sale"]


def test_a_limit_binds_orders_and_leads_together_in_the_order_of_time(sqlite_world):
    world, now = sqlite_world, sqlite_world.clock()
    pays(world, Rule("all", percent_bps=1000), SIGN_UP, limits=(Limit("most", 12_00, "month"),))
    last = world.lead("L-2", "anna", at=now - HOUR)
    world.accrue()
    first = world.lead("L-1", "anna", at=now - 3 * HOUR)
    world.sell("A-1", "anna", Line("1", 40_00), at=now - 2 * HOUR)
    world.accrue()

    assert [world.earned(name) for name in (first, "A-1", last)] == [{"anna": 5_00}, {"anna": 4_00}, {"anna": 3_00}]
    assert world.rows(last)[-1].limit_id == "most"
    reject(world.books, NORTH, first, "", "a made-up address", "frank@north.example", now)
    world.accrue()
    assert [world.earned(name) for name in (first, "A-1", last)] == [{"anna": 0}, {"anna": 4_00}, {"anna": 5_00}]


def test_leads_count_for_no_tier_and_no_bonus(sqlite_world):
    tiers = Tiers("orders", "month", (Tier(2, percent_bps=2000),))
    pays(sqlite_world, Rule("all", percent_bps=1000, tiers=tiers), SIGN_UP, bonuses=(Bonus("two", "orders", "month", 2, 50_00),))
    names = [sqlite_world.lead(f"L-{number}", "anna", at=sqlite_world.clock() - 2 * HOUR + number) for number in range(5)]
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()

    assert sqlite_world.earned("A-1") == {"anna": 10_00}
    assert [sqlite_world.earned(name) for name in names] == [{"anna": 5_00}] * 5
    with sqlite_world.books.reading() as connection:
        assert {row.subject for row in read_all(connection, NORTH)} == {"order", "lead"}


def test_a_simulation_leaves_a_leads_part_of_a_limit_taken(sqlite_world):
    world, now = sqlite_world, sqlite_world.clock()
    rules, limits = (Rule("all", percent_bps=1000), SIGN_UP), (Limit("most", 12_00, "month"),)
    pays(world, *rules, limits=limits)
    world.lead("L-1", "anna", at=now - 3 * HOUR)
    world.sell("A-1", "anna", at=now - 2 * HOUR)
    world.accrue()
    assert world.earned("A-1") == {"anna": 7_00}

    tried = RateCard(NORTH, "main", 2, now - 300 * DAY, HOLD_DAYS, rules, limits=limits)
    found = simulate(world.events, world.books, NORTH, now - DAY, now, {"main": [tried]})

    assert [(row.affiliate_id, row.before_minor, row.after_minor) for row in found.rows] == [("anna", 7_00, 7_00)]


def test_recruiters_have_their_part_of_what_a_lead_earns(sqlite_world):
    pays(sqlite_world, SIGN_UP, recruiter_bps=(1000,))
    now = sqlite_world.clock()
    sqlite_world.put(Membership(NORTH, "main", "anna", "approved", now, now - 400 * DAY, recruited_by="ben"))
    name = sqlite_world.lead("L-1", "anna", at=now)
    sqlite_world.accrue()

    assert sqlite_world.earned(name) == {"anna": 5_00, "ben": 50}


def test_a_lead_is_held_released_rejected_verified_and_recomputed(sqlite_world):
    world = sqlite_world
    pays(world)
    now, held, bad = world.clock(), world.lead("L-1", "anna"), world.lead("L-2", "anna")
    world.accrue()
    hold(world.books, NORTH, held, "", "the address bounced", "frank@north.example", now)
    outcome = reject(world.books, NORTH, bad, "", "a made-up address", "frank@north.example", now)
    world.accrue()
    release_due(world.books, now + 31 * DAY)

    assert outcome.taken_back == {"EUR": -5_00}
    assert [row.state for row in world.rows(held)] == ["held"]
    assert world.earned(bad) == {"anna": 0}
    assert verify(world.books, NORTH).fault is None
    report = recompute(world.books, world.events, NORTH)
    assert (report.orders, report.commissions, report.differences) == (2, 3, ())


def test_who_is_rejected_as_a_whole_loses_leads_too(sqlite_world):
    pays(sqlite_world)
    name = sqlite_world.lead("L-1", "anna")
    sqlite_world.accrue()

    reject(sqlite_world.books, NORTH, "", "anna", "made-up addresses", "frank@north.example", sqlite_world.clock())

    assert sqlite_world.earned(name) == {"anna": 0}


def test_orders_alone_ask_nothing_of_leads(sqlite_world):
    sqlite_world.sell("A-1", "anna")
    sqlite_world.accrue()

    assert "leads_by_id" not in sqlite_world.events.asked


def test_a_lead_is_read_from_the_real_store_as_an_order_of_one_line(events):
    store, long = Store(events), "x" * 128
    for lead_id, event, received in (("L-1", "e-2", AT + 9), ("L-1", "e-1", AT + 5), (long, "e-3", AT + 5)):
        times = {"occurred_at": at(AT), "received_at": at(received), "stored_at": at(AT + 9)}
        store.insert("leads", tenant_id=NORTH, lead_id=lead_id, event_id=event, name="trial", channel="app", country="AT", **times)
    names = [name_of("L-1"), name_of(long), name_of("L-9")]
    for name in names:
        store.decision(name, 1, Credit("anna", "t1", 1, 1))

    found = read_facts(events, NORTH, names, currency="EUR")

    assert sorted(facts.order.order_id for facts in found) == sorted(names[:2])
    facts = next(one for one in found if one.order.order_id == names[0])
    assert (facts.order.event_id, facts.order.currency, facts.order.lines, facts.country) == (
        "e-1",
        "EUR",
        (Line("lead", 0, name="trial"),),
        "AT",
    )
    assert facts.verdict.credits == (Credit("anna", "t1", 1, 1),)
