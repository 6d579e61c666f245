"""Every code is reached by an order, and its explanation reads as it did. ``python -m tests.attribution.golden`` renews the files."""

from typing import get_args

import pytest

from core.credit import Result, Verdict
from tests.attribution.golden import FOLDER, RESULT_PLAYS, VERDICT_PLAYS, files

GOLDEN = dict(files())


def test_every_code_has_a_play() -> None:
    assert set(RESULT_PLAYS) == set(get_args(Result))
    assert set(VERDICT_PLAYS) == set(get_args(Verdict))


@pytest.mark.parametrize("code", RESULT_PLAYS)
def test_an_order_gets_every_result(code: Result) -> None:
    assert RESULT_PLAYS[code].decided().result == code


@pytest.mark.parametrize("code", VERDICT_PLAYS)
def test_a_touch_gets_every_verdict(code: Verdict) -> None:
    assert code in {step.verdict for step in VERDICT_PLAYS[code].decided().trace}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_explanation_reads_as_it_did(path) -> None:
    assert path.read_text("utf-8") == GOLDEN[path]


def test_no_golden_file_is_left_behind() -> None:
    assert set(FOLDER.rglob("*.txt")) == set(GOLDEN)
