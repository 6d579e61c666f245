"""A tracker's own way in: read like any command, and light enough to answer within a second of a crash."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.main import get_group

from fairshare.commands import app
from fairshare.track import TRACKER_ID, Track, read_track
from tests.route.installation import free_port, wait_for

ROOT = Path(__file__).parent.parent.parent
NOT_FOR_TRACKERS = set(
    """alembic argon2 babel chdb clickhouse_connect httpx jinja2 mako numpy pandas psycopg pyarrow pydantic redis rich segno starlette
    structlog typer uvicorn attribution payouts portal fairshare.commands fairshare.engine fairshare.up store.events
    store.migrate""".split()
)
"""Each costs a start time that a tracker does not have; libraries, and packages and modules of ours."""


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("track", Track()),
        ("track --tracker-id t7 --supervised", Track(None, "t7", supervised=True)),
        ("track --data some/where --tracker-id t7", Track(Path("some/where"), "t7")),
        ("track --tracker-id a --tracker-id b", Track(None, "b")),
    ],
)
def test_a_plain_track_is_read_at_once(typed: str, read: Track) -> None:
    assert read_track(typed.split()) == read


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "up",
        "drain track",
        "track --help",
        "track --data",
        "track --data --supervised",
        "track --tracker-id -x",
        "track --data=x",
        "track x",
        "track -- x",
    ],
)
def test_whatever_else_goes_to_the_commands(typed: str) -> None:
    assert read_track(typed.split()) is None


def test_both_ways_know_the_same_options() -> None:
    options = {option.opts[0]: option.default for option in get_group(app).commands["track"].params}

    assert options == {"--data": None, "--tracker-id": TRACKER_ID, "--supervised": False}
    assert [read_track(["track", name, "x"] if name != "--supervised" else ["track", name]) is not None for name in options] == [True] * 3


@pytest.mark.parametrize("typed", ["track --help", "track --tracker-id"])
def test_the_commands_explain_themselves_and_their_mistakes(typed: str) -> None:
    done = subprocess.run([sys.executable, "-m", "fairshare", *typed.split()], capture_output=True, text=True, timeout=60, cwd=ROOT)

    assert done.returncode == (0 if "--help" in typed else 2)
    assert "--tracker-id" in done.stdout + done.stderr


def test_a_tracker_imports_nothing_that_it_does_not_need(sqlite_url: str, tmp_path: Path) -> None:
    """A real tracker, which lists on standard error what it imports; asked once it answers."""
    port, listed = free_port(), tmp_path / "imports"
    settings = {"FAIRSHARE_BOOKS_URL": sqlite_url, "FAIRSHARE_DATA": str(tmp_path), "FAIRSHARE_TRACKER_PORT": str(port)}
    with listed.open("wb") as errors:
        command = [sys.executable, "-X", "importtime", "-m", "fairshare", "track", "--tracker-id", "t1"]
        tracker = subprocess.Popen(command, stderr=errors, env=os.environ | settings, cwd=ROOT)
        try:
            wait_for("the first answer", lambda: answers(f"http://127.0.0.1:{port}/c/nowhere"), 30)
            imported = {line.rpartition("|")[2].strip() for line in listed.read_text("utf-8").splitlines()}
        finally:
            tracker.terminate()
            assert tracker.wait(20) == 0
    assert imported >= {"fairshare.track", "tracker.edge", "sqlalchemy"}, "the list is of the tracker's own process"
    assert {name for name in imported if not NOT_FOR_TRACKERS.isdisjoint((name, name.partition(".")[0]))} == set()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 404
    except httpx.TransportError:
        return False
