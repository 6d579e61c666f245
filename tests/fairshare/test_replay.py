"""The command's file, and how it shows an answer."""

import msgspec
import pytest

from attribution.replay import Change, Outcome, Reason, Sale
from core.catalogue import Catalogue, Policy, Programme, Tenant, TouchWindow
from core.credit import Credit
from core.errors import BadInput, Conflict
from fairshare.replay import Answer, as_plain, as_text, read_policies, read_time, require_done
from portal.replay import Changed, Row, Tally
from store.replays import Replay
from tests.fakes import NOON
from tests.people import NORTH, SOUTH

HELD = Catalogue(
    tenants=(Tenant(NORTH, "North", "EUR"),),
    programmes=(Programme(NORTH, "main", "Main", "https://north.example/"),),
    policies=(Policy(NORTH, "main", 4, 5),),
)


def test_a_policy_may_leave_out_whose_it_is_and_since_when():
    policies, faults = read_policies('# a trial\n[[policy]]\nmodel = "first"\n[[policy.class]]\ntouch = "click"\nwindow_hours = 72\n', HELD)

    assert faults == []
    assert policies == (Policy(NORTH, "main", 5, 0, "first", (TouchWindow("click", 72),)),)


def test_what_it_says_stays():
    text = f'[[policy]]\ntenant = "{NORTH}"\nprogramme = "main"\nversion = 9\neffective_from = 2026-11-01T00:00:00Z\nmodel = "linear"\n'
    policies, faults = read_policies(text, HELD)

    assert (faults, policies[0].version, policies[0].effective_from) == ([], 9, 1_793_491_200_000)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('[[policy]]\n\nmodel = "frist"\n', 3, "frist"),
        ('[[policy]]\nmodel = "first"\n[[policy]]\nmodle = "first"\n', 4, "modle is no key"),
        ('[[policy]]\nprogramme = "nowhere"\n', 2, "nowhere"),
        ('[[link]]\ncode = "x"\n', 1, "is no policy"),
        ("# nothing\n", 1, "no [[policy]]"),
        (f'[[policy]]\ntenant = "{SOUTH}"\n', 2, SOUTH),
    ],
)
def test_every_fault_has_the_line_of_the_file_as_it_is(text, line, says):
    _, faults = read_policies(text, HELD)

    assert [(fault.line, says in fault.message) for fault in faults] == [(line, True)]


def test_a_day_is_its_midnight():
    assert read_time("2026-11-01", "--from") == read_time("2026-11-01T01:00:00+01:00", "--from") == 1_793_491_200_000
    with pytest.raises(BadInput, match="--from"):
        read_time("yesterday", "--from")


@pytest.mark.parametrize("state", ["running", "stopped", "failed"])
def test_what_another_process_still_works_on_is_no_answer(state):
    unfinished = msgspec.structs.replace(answer().replay, state=state, total=900)

    with pytest.raises(Conflict, match="of 900 orders so far"):
        require_done(unfinished)
    assert require_done(answer().replay) == answer().replay


def answer() -> Answer:
    before = Outcome("credited", "main", 4, (Credit("ben", "t-2", 1, 1),))
    after = Outcome("split", "main", 5, (Credit("anna", "t-1", 1, 2), Credit("ben", "t-2", 1, 2)))
    change = Change(Sale("O-1", "EUR", 100_00, NOON), before, after, (Reason("anna", "winner", "It earns half."),))
    rows = [Row("anna", "EUR", 0, 1, 0, 50_00, 0, 5_00), Row("ben", "EUR", 1, 1, 100_00, 50_00, 10_00, 5_00), Row("", "EUR")]
    tally = Tally(orders=7, changed=1, locked=2, locked_changed=1, rows=rows)
    asked = {"tenant_id": NORTH, "replay_id": "r", "fingerprint": "f", "from_at": 0, "to_at": None, "policies": [], "state": "done"}
    kept = {"requested_by": "", "requested_at": NOON, "after": "", "total": 7, "tally": msgspec.to_builtins(tally), "moved_at": NOON}
    return Answer(Replay(**asked, **kept), tally, [Changed(change, [("anna", "EUR", 5_00), ("ben", "EUR", -5_00)])], None, "nothing")


def test_an_answer_as_a_person_reads_it():
    lines = as_text(answer()).splitlines()

    assert lines[:2] == [
        "7 orders decided again, 1 come out differently",
        "2 of them are locked and keep their decision; 1 would come out differently",
    ]
    assert [line.split() for line in lines if line.startswith(("anna", "ben"))] == [
        ["anna", "EUR", "0", "1", "+1", "0.00", "50.00", "+50.00", "0.00", "5.00", "+5.00"],
        ["ben", "EUR", "1", "1", "+0", "100.00", "50.00", "-50.00", "10.00", "5.00", "-5.00"],
    ]
    assert lines[-2:] == ["O-1: credited (ben) -> split (anna 1/2, ben 1/2)", "  anna: It earns half."]


def test_an_answer_as_a_program_reads_it():
    plain = as_plain(answer())

    assert plain["affiliates"][0] == {
        "affiliate": "anna",
        "currency": "EUR",
        "orders": {"before": 0, "after": 1, "difference": 1},
        "value_minor": {"before": 0, "after": 50_00, "difference": 50_00},
        "commission_minor": {"before": 0, "after": 5_00, "difference": 5_00},
    }
    assert plain["changes"][0]["after"]["credits"] == [
        {"affiliate": "anna", "touch": "t-1", "share": "1/2"},
        {"affiliate": "ben", "touch": "t-2", "share": "1/2"},
    ]
    assert plain["changes"][0]["pays"] == [
        {"affiliate": "anna", "currency": "EUR", "difference_minor": 5_00},
        {"affiliate": "ben", "currency": "EUR", "difference_minor": -5_00},
    ]
