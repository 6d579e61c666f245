"""What people decide about decisions, over real processes: a dispute and a replay, each until its difference is booked."""

import re
from pathlib import Path

from core.clock import DAY, as_datetime, system_clock
from tests.route.installation import Installation, Visitor, click_id, wait_for
from tests.route.test_journeys import order

FIRST = '[[policy]]\nmodel = "first"\n\n[[policy.class]]\ntouch = "click"\nwindow_hours = 720\n'


def earned(visitor: Visitor, order_id: str) -> str:
    """What the page of an order says of its credit and commission."""
    text = re.sub(r"<[^>]*>", " ", visitor.get(f"/orders/{order_id}").text)
    return " ".join(text.split())


def test_a_dispute_is_asked_accepted_decided_anew_and_booked(fairshare: Installation) -> None:
    anna, mia = fairshare.sign_in("anna@blog.example"), fairshare.sign_in("mia@north.example")
    clicked = click_id(fairshare.click("bert-north"))
    fairshare.post("/v1/orders", order("D-1", click_id=clicked))
    assert [credit["affiliate_id"] for credit in fairshare.decided("D-1")["credits"]] == ["bert"]
    wait_for("the commission", lambda: "Commission €10.00" in earned(mia, "D-1"))

    claim = {"tenant_id": "north", "order_id": "D-1", "kind": "untracked", "message": "She bought right after my newsletter."}
    case = anna.submit("/affiliate/disputes/new", claim, action="/affiliate/disputes").url.path.rpartition("/")[2]
    page = f"/merchant/disputes/{case}"
    assert "Credited to Bert Deals" in re.sub(r"\s+", " ", mia.get(page).text)
    accepted = mia.submit(page, {"action": "accept", "message": "Her newsletter has the link."}, action=f"{page}/answer")
    assert accepted.status_code == 200

    wait_for("the override to be carried out", lambda: fairshare.attribution("D-1")["attribution"].get("result") == "manual_override")
    assert [credit["affiliate_id"] for credit in fairshare.attribution("D-1")["attribution"]["credits"]] == ["anna"]
    explained = fairshare.run_json("explain", "D-1", "--tenant", "north")
    assert explained["override"]["reason"] == "Her newsletter has the link."
    assert [one["affiliate_id"] for one in explained["candidates"]] == ["bert"], "what was computed stays in the trace"

    wait_for("the difference to be booked", lambda: "Credited to Anna" in earned(mia, "D-1") and "-€10.00" in earned(mia, "D-1"))
    assert "€10.00" in anna.get("/affiliate/conversions/north/D-1").text
    assert fairshare.run_json("verify")["ok"] is True


def test_a_replay_says_what_applying_it_then_books(fairshare: Installation, tmp_path: Path) -> None:
    fairshare.http.cookies.clear()  # a visitor of this test's own
    anna, bert = (click_id(fairshare.click(link)) for link in ("anna-north", "bert-north"))
    lead = {"lead_id": "L-R", "name": "signup", "click_id": anna, "customer": {"email": "jo@replay.example"}}
    fairshare.post("/v1/leads", lead)
    fairshare.post("/v1/orders", order("R-1", click_id=bert, customer={"email": "jo@replay.example"}))
    mia = fairshare.sign_in("mia@north.example")
    assert [credit["affiliate_id"] for credit in fairshare.decided("R-1")["credits"]] == ["bert"]
    wait_for("the commission", lambda: "Commission €10.00" in earned(mia, "R-1"))

    file = tmp_path / "first.toml"
    file.write_text(FIRST, "utf-8")
    begin, end = (f"{as_datetime(system_clock() + days * DAY):%Y-%m-%d}" for days in (-1, 1))
    command = ("replay", "--tenant", "north", "--from", begin, "--to", end, "--policy", str(file))
    # What happened in the last ten seconds is left out of a replay: some of it may not be stored yet.
    said = wait_for("the replay to see the order", lambda: _with(fairshare.run_json(*command), "R-1"), 60)
    assert {(one["affiliate"], one["difference_minor"]) for one in said["pays"]} == {("anna", 10_00), ("bert", -10_00)}
    assert [credit["affiliate_id"] for credit in fairshare.attribution("R-1")["attribution"]["credits"]] == ["bert"]

    done = fairshare.run(*command, "--apply", "--yes")
    assert done.returncode == 0, done.stderr
    assert "this will be written" in done.stderr
    wait_for("the order to be Anna's", lambda: "Credited to Anna" in earned(mia, "R-1") and "-€10.00" in earned(mia, "R-1"))
    again = fairshare.run(*command, "--apply", "--yes")
    assert "nothing was applied" in again.stderr
    assert fairshare.run_json("verify")["ok"] is True


def _with(answer: dict, order_id: str) -> dict | None:  # type: ignore[type-arg]
    return next((one for one in answer["changes"] if one["order"] == order_id), None)


def test_the_command_refuses_a_file_that_cannot_be_used(fairshare: Installation, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[[policy]]\nmodel = "frist"\n', "utf-8")
    done = fairshare.run("replay", "--tenant", "north", "--from", "2026-01-01", "--policy", str(file))

    assert done.returncode == 1
    assert "wrong.toml line 2" in done.stderr
    assert done.stdout == ""
