"""What is behind stored orders: the journeys of decisions in force, by period and tenant, and the paths of those who did not order."""

from fractions import Fraction

import pytest

from attribution import observed
from attribution.comparison import DIRECT, PAID, Journey, Met, Missed
from attribution.decisions import DecisionLog
from attribution.observed import MIGHT_EARN, channel_of, met, read_journeys, read_missed
from attribution.revisions import Revision
from core.clock import DAY, HOUR, Instant
from core.credit import Credit, Decision, Step
from core.events import Line
from store.events import EventsStore
from tests.attribution.builders import CRAWLER, NOON, candidate, click, order, store

OLDER = '[{"candidate":{"touch_id":"c1","touch_class":"click"},"verdict":"winner","why":"It is the latest click."}]'
MONTH = (NOON - 20 * DAY, NOON + DAY)


def decided(
    order_id: str, steps: tuple[Step, ...], earner: str = "", touch: str = "", at: Instant = NOON, tenant: str = "north"
) -> Revision:
    credits = (Credit(earner, touch, 1, 1),) if earner else ()
    result = "credited" if earner else "no_touch"
    return Revision(Decision(tenant, order_id, "main", 1, result, credits, steps, f"hash of {order_id}"), 1, at)


def journeys(events: EventsStore, tenant: str = "north") -> list[Journey]:
    return [one for page in read_journeys(events, tenant, *MONTH) for one in page]


def test_a_journey_is_what_might_have_earned_oldest_first(events: EventsStore) -> None:
    steps = (
        Step(candidate("c2", "ben", NOON - HOUR, channel="app"), "winner"),
        Step(candidate("c1", "anna", NOON - DAY), "older"),
        Step(candidate("d1", "", NOON - 2 * HOUR, "direct"), "direct"),
        Step(candidate("p1", "", NOON - 3 * HOUR, "paid", origin="google/cpc"), "lost_to_click"),
        Step(candidate("x1", "charlie", NOON - 40 * DAY), "outside_window"),
        Step(candidate("x2", "charlie", NOON - DAY, traffic_class="declared_bot"), "bot"),
    )
    store(events, [order("O-1", visitor_id="v")])
    DecisionLog(events).append([decided("O-1", steps, "ben", "c2")], NOON)

    paid = f"{PAID} google/cpc"
    assert journeys(events) == [
        Journey(
            "EUR",
            100_00,
            (Met("anna", "web", DAY), Met(paid, paid, 3 * HOUR), Met(DIRECT, DIRECT, 2 * HOUR), Met("ben", "app", HOUR)),
            (("ben", "app", Fraction(1)),),
        )
    ]


def test_touches_of_one_instant_are_in_the_order_of_their_ids() -> None:
    steps = [Step(candidate(name, name, NOON), "older") for name in ("c", "a", "b")]

    assert [one.affiliate for one in met(steps, NOON)] == ["a", "b", "c"]


def test_a_paid_visit_of_nobody_known_is_paid() -> None:
    assert channel_of(candidate("p", "", NOON, "paid")) == PAID


@pytest.mark.parametrize(
    "verdict", ["bot", "outside_window", "after_order", "wrong_program", "no_consent", "self_referral", "class_excluded"]
)
def test_what_could_not_earn_is_on_no_journey(verdict: str) -> None:
    assert verdict not in MIGHT_EARN


def test_the_period_is_half_open_tests_are_left_out_and_undecided_orders_are_there(events: EventsStore) -> None:
    first, last = MONTH
    store(
        events,
        [order("at-start", first), order("before", first - 1), order("at-end", last), order("in", last - 1), order("test", test=True)],
    )

    assert [(one.net_minor, one.met, one.is_traced) for one in journeys(events)] == [(100_00, (), True)] * 2
    assert [row[0] for row in events.select(observed.TRACED_ORDERS, tenant_id="north", from_ms=first, to_ms=last, after="", most=9)] == [
        "at-start",
        "in",
    ]


def test_the_last_revision_is_in_force_and_one_without_a_trace_is_said(events: EventsStore) -> None:
    store(events, [order("O-1"), order("O-2")])
    older = decided("O-1", (Step(candidate("c1", "anna", NOON - DAY), "winner"),), "anna", "c1")
    newer = Revision(decided("O-1", (Step(candidate("c2", "ben", NOON - HOUR), "winner"),), "ben", "c2").decision, 2, NOON)
    DecisionLog(events).append([older], NOON)
    DecisionLog(events).append([newer, decided("O-2", (), "anna", "c9")], NOON + 1)

    one, two = journeys(events)
    assert [touch.affiliate for touch in one.met] == ["ben"]
    assert (two.met, two.earned, two.is_traced) == ((), (("anna", "", Fraction(1)),), False)


def test_a_trace_of_an_older_form_is_passed_over(events: EventsStore) -> None:
    store(events, [order("O-1"), order("O-2"), order("O-3")])
    DecisionLog(events).append([decided("O-1", (), "anna", "c1"), decided("O-2", ())], NOON)
    events.command(f"INSERT INTO decisions SELECT * REPLACE ('{OLDER}' AS trace, 2 AS revision) FROM decisions")

    assert [(one.met, one.earned, one.is_traced) for one in journeys(events)] == [
        ((), (("anna", "", Fraction(1)),), False),
        ((), (), False),
        ((), (), True),
    ]


def test_a_tenant_reads_its_own_alone(events: EventsStore) -> None:
    store(
        events, [order("O-1"), order("S-1", tenant_id="south", lines=(Line("1", 7),)), click("s", "charlie", NOON, "w", tenant_id="south")]
    )
    DecisionLog(events).append([decided("O-1", (Step(candidate("c1", "charlie", NOON), "winner"),), "charlie", "c1", tenant="south")], NOON)

    assert [one.net_minor for one in journeys(events)] == [100_00]
    assert [one.net_minor for one in journeys(events, "south")] == [7]
    assert not journeys(events)[0].met, "the decision of another tenant's order of the same name"
    assert read_missed(events, "north", *MONTH) == ([], 0)


def test_pages_join_without_a_seam(events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store(events, [order(f"O-{number}", lines=(Line("1", number),)) for number in range(7)])
    for size in (1, 3, 7, 8):
        monkeypatch.setattr(observed, "PAGE", size)
        assert [one.net_minor for one in journeys(events)] == list(range(7))


def test_visitors_who_did_not_order_are_paths_with_how_many_took_them(events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    touches = [
        *(click(f"a{visitor}", "anna", NOON - DAY, visitor) for visitor in ("v1", "v2", "buyer")),
        *(click(f"b{visitor}", "ben", NOON - HOUR, visitor, channel="app") for visitor in ("v1", "v2", "v3")),
        click("bot", "anna", NOON - DAY, "v4", user_agent=CRAWLER),
        click("nobody", "anna", NOON - DAY, ""),
        click("early", "anna", NOON - 30 * DAY, "v3"),
        click("d", "", NOON - 2 * HOUR, "v3", kind="direct"),
        click("p", "", NOON - 3 * HOUR, "v3", kind="paid", origin="google", medium="cpc"),
    ]
    store(events, [*touches, order("O-1", visitor_id="buyer")])

    paid = f"{PAID} google/cpc"
    two, one = Missed(("anna", "ben"), ("web", "app"), 2), Missed((paid, DIRECT, "ben"), (paid, DIRECT, "app"), 1)
    assert read_missed(events, "north", *MONTH) == ([two, one], 0)
    monkeypatch.setattr(observed, "MOST_MISSED", 1)
    assert read_missed(events, "north", *MONTH) == ([two], 1)
    monkeypatch.setattr(observed, "LONGEST_MISSED", 1)
    assert read_missed(events, "north", *MONTH)[0] == [Missed(("ben",), ("app",), 3)]
