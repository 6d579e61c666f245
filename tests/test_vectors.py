"""``python -m tests.vectors DIR``: the committed expected results pass, a wrong one is found, and what is not known is named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vectors.__main__ import run
from tests.vectors.cases import format_of

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "data" / "vectors"
MARKOV = ("markov_toy_paths.csv", "markov_toy_expected.csv")


def test_every_committed_case_passes() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.vectors", str(VECTORS)], capture_output=True, text=True, cwd=ROOT, timeout=120)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "160 cases: 160 passed, 0 failed"
    assert "---- README.md: not a known format, skipped" in done.stdout


def test_nothing_to_run_is_a_failure(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.vectors", str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=120)

    assert (done.returncode, done.stdout) == (1, "0 cases: 0 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("markov_toy_expected.csv", "7/24,0.2916666666666667,7/24", "7/25,0.28,7/24"),
        ("heuristic_expected_touch.csv", "p5,linear,0,A,1/3,0.333333333333,333", "p5,linear,0,A,1/3,0.333333333333,334"),
        ("heuristic_expected_touch.csv", "p5,time_decay_7d,0,A,,0.300923549310,301", "p5,time_decay_7d,0,A,,0.300923559310,301"),
        (
            "shapley_expected.csv",
            "explicit_game_ABC,explicit v(S) table in shapley_games.json; sum = v(N)-v(empty),A,3/100",
            "explicit_game_ABC,x,A,4/100",
        ),
        ("path_transforms.json", '"C(3)"', '"C(2)"'),
        ("linkage_scenarios.json", '"via": "c2"', '"via": "c1"'),
        ("identity_scenarios.json", '"e9",\n    "u1",', '"u1",'),
        ("cents_split.json", "334,\n    333,\n    333", "333,\n    334,\n    333"),
        ("cents_split.json", "167,\n    167,\n    166", "167,\n    166,\n    167"),
        ("cents_split.json", '"credit_after_refund": 183', '"credit_after_refund": 182'),
    ],
)
def test_a_wrong_expectation_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, right: str, wrong: str) -> None:
    for file in VECTORS.iterdir():
        shutil.copy(file, tmp_path)
    text = (VECTORS / name).read_text("utf-8")
    assert right in text
    (tmp_path / name).write_text(text.replace(right, wrong, 1), "utf-8")

    passed, failed = run(tmp_path)

    assert failed >= 1
    assert passed + failed == 160
    assert f"FAIL {name}" in capsys.readouterr().out


def test_files_are_known_by_what_they_hold_and_pair_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for prefix in ("one", "two"):
        for name in MARKOV:
            shutil.copy(VECTORS / name, tmp_path / name.replace("markov_toy", f"{prefix}_sets"))
    other = tmp_path / "two_sets_paths.csv"
    other.write_text(other.read_text("utf-8").replace("A > C,1,0,20", "A > C,2,0,20"), "utf-8")
    (tmp_path / "notes.json").write_text(json.dumps({"made": "by hand"}), "utf-8")
    (tmp_path / "broken.json").write_text("{", "utf-8")
    (tmp_path / "deep.json").write_text("[" * 100_000, "utf-8")

    assert run(tmp_path) == (18 + 15, 3), "the changed paths belong to the second file alone"
    out = capsys.readouterr().out
    assert "FAIL two_sets_expected.csv: textbook4 order 1" in out
    assert out.count("not a known format, skipped") == 3


def test_expected_results_without_their_input_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(VECTORS / MARKOV[1], tmp_path)

    assert run(tmp_path) == (0, 18)
    assert "no file of paths has all of" in capsys.readouterr().out


def test_what_is_no_format_of_ours_is_none() -> None:
    assert [format_of(content) for content in (None, [], {}, [1], [{"a": 1}], {"a": {"b": 1}}, "text", 3)] == [""] * 8
