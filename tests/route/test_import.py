"""Imports as an operator types them: a customer's whole way, beside a running engine, and after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.clock import DAY, MINUTE, SECOND, format_instant, parse_instant, system_clock
from core.errors import FairshareError
from core.settings import Settings
from fairshare.importing import Imported, as_text, import_file
from store.events import EventsStore, Query, open_events
from tests.route.cast import catalogue
from tests.route.installation import Installation, wait_for
from tracker.mapping import Subject

DOCS = Path(__file__).parents[2] / "docs" / "import.md"
LONG_SINCE = parse_instant("2024-01-01T00:00:00Z")

HOLDINGS = Query(
    "holdings",
    """SELECT (SELECT uniqExact(touch_id) FROM touches WHERE source = 'import') AS touches,
    (SELECT uniqExact(order_id) FROM orders WHERE source = 'import') AS orders ORDER BY touches""",
)
RESULTS = Query(
    "results",
    """SELECT result, count()
    FROM (SELECT order_id, argMax(result, revision) AS result FROM decisions WHERE order_id LIKE 'M-%' GROUP BY order_id)
    GROUP BY result ORDER BY result""",
)


@pytest.fixture(scope="module")
def fairshare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The cast, as members since 2024; running."""
    installation = Installation(tmp_path_factory.mktemp("import") / "var")
    known = catalogue()
    members = tuple(msgspec.structs.replace(one, applied_at=LONG_SINCE, approved_at=LONG_SINCE) for one in known.memberships)
    policies = tuple(msgspec.structs.replace(one, effective_from=LONG_SINCE) for one in known.policies)
    cards = tuple(msgspec.structs.replace(one, effective_from=LONG_SINCE) for one in known.rate_cards)
    installation.import_catalogue(msgspec.structs.replace(known, memberships=members, policies=policies, rate_cards=cards))
    installation.start()
    yield installation
    installation.close()


def take(fairshare: Installation, subject: Subject, file: Path, map_file: Path | None = None, dry_run: bool = False) -> Imported:
    """As the command does it, without a process of its own."""
    return import_file(Settings(data=fairshare.data), system_clock, subject, file, map_file or file.with_suffix(".toml"), dry_run, nobody)


def nobody(_done: int, _total: int) -> None:
    """Nobody watches."""


def examples(folder: Path) -> None:
    """The documentation's files, each under its own name."""
    for kind, name, text in re.findall(r"```(csv|toml) (\w+\.\w+)\n(.*?)```", DOCS.read_text("utf-8"), re.S):
        assert name.endswith(kind)
        (folder / name).write_text(text, "utf-8")


def test_the_documentations_examples_are_one_customers_way(fairshare: Installation, tmp_path: Path) -> None:
    """Click, scan, call, sign-up, an order of two lines and one at the till: everything as documented, decided and booked."""
    examples(tmp_path)
    reports = {}
    files: tuple[tuple[Subject, str], ...] = (
        *(("touches", "clicks"), ("touches", "scans"), ("leads", "signups"), ("orders", "actions"), ("orders", "till")),
    )
    for subject, name in files:
        found = take(fairshare, subject, tmp_path / f"{name}.csv")
        assert found.is_whole, found
        assert take(fairshare, subject, tmp_path / f"{name}.csv").is_whole, "the same again is no fault"
        assert found.report is not None
        reports[name] = found.report

    assert [reports[name].imported for _, name in files] == [3, 2, 1, 2, 2]
    assert reports["clicks"].created == ["1002 in main from 2025-09-01T15:16:30.000Z"]
    assert reports["actions"].skipped == 1
    assert credited(fairshare, "A-1") == ["1002"], "the click that the order names, although anna's came from the same visitor"
    assert credited(fairshare, "T-100") == ["1002"], "the sign-up's e-mail leads to the visitor, and to the last click"
    assert credited(fairshare, "T-101") == ["bert"]
    explained = fairshare.run("explain", "T-100", "--tenant", "north").stdout
    assert "anna" in explained, "who lost is told, too"
    wait_for("the commissions", lambda: fairshare.run_json("verify", "--full")["commissions"] >= 5)
    conserved = fairshare.run_json("conserve")
    assert (conserved["balanced"], conserved["total"]["received"], conserved["total"]["imported"]) == (True, 0, 9)


def credited(fairshare: Installation, order_id: str) -> list[str]:
    """Who earned it in the end: attribution may meet the order a moment before what joins it to its touches."""

    def credits() -> list[Any] | None:
        decided = fairshare.decided(order_id, within_s=30)
        return decided["credits"] if decided["result"] == "credited" else None

    return [credit["affiliate_id"] for credit in wait_for(f"{order_id} to be credited", credits)]


TOUCH_MAP = """
[[import]]
of = "touches"
tenant = "north"
[[columns]]
touch_id = "id"
occurred_at = "when"
affiliate = "who"
visitor = "user"
[[constants]]
programme = "main"
"""
ORDER_MAP = """
[[import]]
of = "orders"
tenant = "north"
[[columns]]
order_id = "id"
occurred_at = "when"
net = "net"
visitor = "user"
[[constants]]
currency = "EUR"
"""


@pytest.fixture
def door(fairshare: Installation) -> Iterator[EventsStore]:
    with closing(open_events(Settings(data=fairshare.data))) as events:
        yield events


def test_attribution_that_runs_meanwhile_sees_every_imported_touch(fairshare: Installation, door: EventsStore, tmp_path: Path) -> None:
    """Orders first, their touches later, in several files, while clicks and orders come in live and move the pollers' cursors on."""
    number = 1_200
    orders, touches = (system_clock() - days * DAY for days in (1, 2))
    (tmp_path / "o.toml").write_text(ORDER_MAP, "utf-8")
    (tmp_path / "t.toml").write_text(TOUCH_MAP, "utf-8")
    rows = "".join(f"M-{n},{format_instant(orders + n)},10.00,meanwhile{n}\n" for n in range(number))
    (tmp_path / "o.csv").write_text("id,when,net,user\n" + rows, "utf-8")
    assert take(fairshare, "orders", tmp_path / "o.csv").is_whole
    wait_for("a decision on every order", lambda: sum(count for _, count in door.select(RESULTS)) == number, 60)

    for part in range(3):
        of_part = [n for n in range(number) if n % 3 == part]
        rows = "".join(f"T-{n},{format_instant(touches + n * SECOND // 100)},{'anna' if n % 2 else 'bert'},meanwhile{n}\n" for n in of_part)
        (tmp_path / f"t{part}.csv").write_text("id,when,who,user\n" + rows, "utf-8")
        fairshare.click("anna-north")
        assert take(fairshare, "touches", tmp_path / f"t{part}.csv", tmp_path / "t.toml").is_whole
        fairshare.click("bert-north")

    wait_for("the credit of every order", lambda: door.select(RESULTS) == [("credited", number)], 60)
    assert fairshare.run_json("conserve")["balanced"]


SMALL_BLOCKS = (
    "import sys, tracker.shelf as shelf; shelf.BLOCK_ROWS = 300; from fairshare.__main__ import main; sys.argv[1:] = {!r}; main()"
)


def test_a_killed_import_is_finished_by_the_same_command(fairshare: Installation, door: EventsStore, tmp_path: Path) -> None:
    number = 12_000
    at = system_clock() - 3 * DAY
    (tmp_path / "t.toml").write_text(TOUCH_MAP, "utf-8")
    rows = "".join(f"K-{n},{format_instant(at + n * 10)},anna,killed{n % 999}\n" for n in range(number))
    (tmp_path / "t.csv").write_text("id,when,who,user\n" + rows, "utf-8")
    (before, _), *_ = door.select(HOLDINGS)
    arguments = ["import", "touches", str(tmp_path / "t.csv"), "--map", str(tmp_path / "t.toml"), "--data", str(fairshare.data)]
    running = subprocess.Popen([sys.executable, "-c", SMALL_BLOCKS.format(arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("the first block", lambda: door.select(HOLDINGS)[0][0] > before, 60)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    (after, _), *_ = door.select(HOLDINGS)
    assert before < after < before + number, "it died in the middle"

    done = fairshare.run(*arguments[:-2], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == number
    assert door.select(HOLDINGS)[0][0] == before + number
    assert fairshare.run_json("conserve")["balanced"]


def test_faulty_rows_are_mended_in_their_file_and_imported_by_the_same_map(fairshare: Installation, tmp_path: Path) -> None:
    at = format_instant(system_clock() - MINUTE)
    (tmp_path / "t.toml").write_text(TOUCH_MAP, "utf-8")
    (tmp_path / "t.csv").write_text(f"id,when,who,user,note\n1,{at},anna,u1,\n2,{at},ana,u2,=1+1\n3,never,bert,u3,\n", "utf-8")
    errors = tmp_path / "t.errors.csv"
    assert not take(fairshare, "touches", tmp_path / "t.csv", dry_run=True).is_whole
    assert not errors.exists()

    done = fairshare.run("import", "touches", str(tmp_path / "t.csv"), "--map", str(tmp_path / "t.toml"))
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "t.csv: 3 rows, 1 imported, 0 skipped, 2 wrong"
    assert f"the rows that are wrong are in {errors}" in done.stdout
    title, *told = errors.read_text("utf-8").splitlines()
    assert title == "line,field,error,id,when,who,user,note"
    assert sorted(line.partition(",")[0] for line in told) == ["3", "4"]
    assert any(line.endswith(",'=1+1") for line in told), "no spreadsheet executes it"

    errors.write_text(errors.read_text("utf-8").replace(",ana,", ",anna,").replace(",never,", f",{at},"), "utf-8")
    mended = take(fairshare, "touches", errors, tmp_path / "t.toml")
    assert mended.report is not None
    assert (mended.is_whole, mended.report.imported) == (True, 2)


def test_a_map_with_faults_and_files_that_are_none_do_nothing(fairshare: Installation, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,when\n1,2\n", "utf-8")
    (tmp_path / "t.toml").write_text(TOUCH_MAP.replace("touch_id", "tuch_id").replace("[[constants]]", "[[constant]]"), "utf-8")
    found = take(fairshare, "touches", tmp_path / "t.csv")
    lines = as_text(found, "t.csv", "t.toml").splitlines()

    assert not found.is_whole
    assert "t.toml line 6: tuch_id is nothing that touches have; did you mean touch_id?" in lines
    assert "t.toml line 10: [[constant]] is no table of a map; did you mean constants?" in lines
    assert lines[-1] == "3 faults; nothing was imported"
    assert fairshare.run("import", "touches", str(tmp_path), "--map", str(tmp_path / "t.toml")).returncode == 2, "a folder"
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(FairshareError, match=r"bytes\.toml is not UTF-8 from byte 0 on"):
        take(fairshare, "touches", tmp_path / "t.csv", tmp_path / "bytes.toml")
