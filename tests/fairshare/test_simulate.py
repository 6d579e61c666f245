"""The commands' file, and how they show an answer. The demo world is simulated in test_demo_totals."""

import pytest

from core.catalogue import Catalogue, Programme, RateCard, Rule, Tenant
from core.clock import DAY, parse_instant
from core.errors import BadInput
from fairshare.simulate import as_plain, as_text, read_cards, read_period, report_as_plain, report_as_text
from payouts.outcomes import Report
from payouts.simulate import Paid, Row, Simulation
from tests.fakes import NOON
from tests.people import NORTH, SOUTH

HELD = Catalogue(
    tenants=(Tenant(NORTH, "North", "EUR"),),
    programmes=(Programme(NORTH, "main", "Main", "https://north.example/"),),
    rate_cards=(RateCard(NORTH, "main", 4, 5, 30, (Rule("all", percent_bps=800),)),),
)
CARD = '[[rate_card]]\nhold_days = 30\n[[rate_card.rule]]\nid = "all"\npercent = "10 %"\n'


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_card_may_leave_out_whose_it_is_and_since_when():
    cards, faults = read_cards(f"# a trial\n{CARD}", HELD)

    assert faults == []
    assert cards == {"main": (RateCard(NORTH, "main", 5, 0, 30, (Rule("all", percent_bps=1000),)),)}


def test_the_first_version_holds_from_the_beginning_the_next_from_its_date():
    later = CARD.replace("hold_days = 30", "hold_days = 10\neffective_from = 2026-12-01T00:00:00Z")
    first = CARD.replace("hold_days = 30", "hold_days = 30\neffective_from = 2026-11-01T00:00:00Z")

    cards, faults = read_cards(later + first, HELD)

    assert faults == []
    assert [(card.hold_days, card.effective_from) for card in cards["main"]] == [(30, 0), (10, parse_instant("2026-12-01T00:00:00Z"))]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (CARD.replace("10 %", "ten"), 5, "ten"),
        (CARD.replace("percent", "percnt"), 5, "percnt is no key"),
        (CARD.replace("hold_days = 30", "hold_days = 30\nprogramme = 'nowhere'"), 3, "nowhere"),
        ('[[link]]\ncode = "x"\n', 1, "is no rate card"),
        ("# nothing\n", 1, "no [[rate_card]]"),
        (CARD.replace("hold_days = 30", f"hold_days = 30\ntenant = '{SOUTH}'"), 3, SOUTH),
    ],
)
def test_every_fault_has_the_line_of_the_file_as_it_is(text, line, says):
    _, faults = read_cards(text, HELD)

    assert [(fault.line, says in fault.message) for fault in faults] == [(line, True)], faults


def test_a_period_ends_now_unless_it_is_said():
    assert read_period("2026-11-01", None, NOON) == (parse_instant("2026-11-01T00:00:00Z"), NOON)
    with pytest.raises(BadInput, match="--from must lie before"):
        read_period("2026-11-02", "2026-11-01", NOON)


# --- what it shows ---------------------------------------------------------------------------------------------------

ANSWER = Simulation(
    NORTH,
    NOON - 30 * DAY,
    NOON,
    ("main",),
    orders=3,
    lines=5,
    others=2,
    waiting=1,
    rows=(Row("anna", "EUR", 10_00, 4_00, 1, 1), Row("ben", "EUR", 0, 12_34, 0, 1)),
    paid=(Paid("main", "recruiters", "1", "EUR", 1, 34), Paid("main", "rule", "all", "EUR", 2, 16_00, 5_00)),
    outcomes={"earned": (1, 2), "no_rule": (1, 1), "test": (1, 0)},
)


def test_an_answer_as_a_person_reads_it():
    lines = [line.split() for line in as_text(ANSWER).splitlines() if line]

    assert as_text(ANSWER).startswith("3 orders with 5 lines, placed from 2026-10-22T12:00:00")
    assert ["ben", "EUR", "0.00", "12.34", "+12.34"] in lines
    assert lines.index(["ben", "EUR", "0.00", "12.34", "+12.34"]) < lines.index(["anna", "EUR", "10.00", "4.00", "-6.00"])
    assert ["(all)", "EUR", "10.00", "16.34", "+6.34"] in lines
    assert ["rule", "all", "main", "EUR", "2", "16.00", "5.00"] in lines
    assert ["earned", "1", "33.34", "2", "66.67"] in lines, "largest remainder: they sum to 100.00"
    assert ["(all)", "3", "100.00", "3", "100.00"] in lines
    assert any("1 of them have news" in line for line in as_text(ANSWER).splitlines())


def test_an_answer_as_a_program_reads_it():
    plain = as_plain(ANSWER)

    assert plain["cost"] == [{"currency": "EUR", "before": 10_00, "after": 16_34, "difference": 6_34}]
    assert plain["affiliates"][0]["commission_minor"] == {"before": 10_00, "after": 4_00, "difference": -6_00}
    assert plain["outcomes"]["after"] == {
        "earned": {"orders": 2, "share_bps": 66_67},
        "no_rule": {"orders": 1, "share_bps": 33_33},
    }


def test_reasons_sum_to_a_hundred_percent():
    found = Report(NORTH, 0, NOON, 7, {"earned": 3, "refunded": 2, "unattributed": 2})

    assert sum(one["share_bps"] for one in report_as_plain(found)["outcomes"].values()) == 100_00
    assert report_as_text(found).splitlines()[-1].split() == ["(all)", "7", "100.00"]
