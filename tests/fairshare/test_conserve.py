"""``fairshare conserve`` as an operator types it: its sum, its exit code, and what to do where it is not balanced."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.clock import HOUR
from core.errors import FairshareError
from core.events import Touch, encode_event
from core.settings import Settings
from fairshare.questions import conservation_report
from store.events import EventsStore
from tests.fakes import NOON, FakeClock
from tracker.drain import Drain
from tracker.spool import frame


def click(number: int, at: int = NOON, tenant_id: str = "north") -> bytes:
    return frame(encode_event(Touch(f"T{number}", "click", tenant_id, "main", "anna", "a1", at, at)))


@pytest.fixture
def installation(tmp_path: Path, events: EventsStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Three clicks of two merchants, stored. The command finds the test's own events store."""
    settings = Settings(data=tmp_path)
    folder = settings.spool / "t0"
    folder.mkdir(parents=True)
    (folder / f"{NOON * 1000:020d}.log").write_bytes(click(1) + click(2, NOON + HOUR) + click(3, tenant_id="south"))
    (folder / "counters.json").write_text(
        '{"tracker_id":"t0","started_at":0,"written_at":0,"totals":{},"bad_requests":{},"unrecorded":[]}', "utf-8"
    )
    with Drain(settings, events, clock) as drain:
        drain.step()

    class Opened:
        def __enter__(self) -> EventsStore:
            return events

        def __exit__(self, *_: object) -> None:
            """It stays open."""

    monkeypatch.setattr("fairshare.questions.opened_events", lambda _settings: Opened())
    return settings


def test_a_balanced_installation_is_one_line(installation: Settings) -> None:
    plain, text = conservation_report(installation, None)

    assert text == "3 received = 3 stored + 0 bad + 0 pending + 0 unrecorded: balanced"
    assert plain["balanced"] is True
    assert plain["complete_from"] is None
    assert [(row["tenant_id"], row["hour"], row["received"]) for row in plain["rows"]] == [
        ("north", "2026-11-21T12:00:00.000Z", 1),
        ("north", "2026-11-21T13:00:00.000Z", 1),
        ("south", "2026-11-21T12:00:00.000Z", 1),
    ]
    json.dumps(plain)


def test_an_hour_that_is_off_is_named_with_what_to_do(installation: Settings, events: EventsStore) -> None:
    events.command("DELETE FROM touches WHERE touch_id = 'T2'")
    plain, text = conservation_report(installation, None)

    first, hour, hint = text.splitlines()
    assert first == "3 received = 2 stored + 0 bad + 0 pending + 0 unrecorded: not balanced, 1 unaccounted for"
    assert hour == "2026-11-21T13:00:00.000Z north: 1 received = 0 stored + 0 bad + 0 pending + 0 unrecorded, off by 1"
    assert hint.startswith("  missing from the store, but still in the spool: stop the drain")
    assert plain["balanced"] is False
    assert conservation_report(installation, "south")[0]["balanced"] is True


def test_what_no_hour_shows_is_a_line_of_its_own(installation: Settings) -> None:
    (installation.spool / "t0" / "counters.json").write_text("{", "utf-8")
    plain, text = conservation_report(installation, None)

    assert text.splitlines()[0].endswith(": not balanced, 0 unaccounted for")
    assert "t0: counters.json is damaged" in text
    assert plain["balanced"] is False


def test_a_repeated_row_is_no_fault_and_said(installation: Settings, events: EventsStore) -> None:
    events.command("INSERT INTO touches SELECT * FROM touches WHERE touch_id = 'T1'")
    plain, text = conservation_report(installation, None)

    assert plain["balanced"] is True
    assert text.splitlines()[1] == "1 rows repeat an event that is stored already; reports count it once, nothing is to be done"


def test_a_machine_without_the_spool_does_not_answer_with_zeros(installation: Settings, tmp_path: Path) -> None:
    with pytest.raises(FairshareError, match="ask on the machine that holds the spool"):
        conservation_report(Settings(data=tmp_path / "elsewhere"), None)


def test_the_exit_code_says_whether_it_balances(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSHARE_")}

    def fairshare(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fairshare", *arguments, "--data", str(tmp_path / "var")]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)

    assert fairshare("migrate").returncode == 0
    folder = tmp_path / "var" / "spool" / "t0"
    folder.mkdir(parents=True)
    segment = folder / f"{NOON * 1000:020d}.log"
    segment.write_bytes(click(1) + click(2))
    waiting = fairshare("conserve", "--json")
    assert (waiting.returncode, json.loads(waiting.stdout)["total"]["pending"]) == (0, 2)

    assert fairshare("drain", "--once").returncode == 0
    segment.write_bytes(click(1))
    cut = fairshare("conserve")
    assert cut.returncode == 1
    assert "stored, but no longer in the spool" in cut.stdout
