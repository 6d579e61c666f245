"""Every code has a sentence, and every sentence may be read by any affiliate."""

from typing import get_args

import pytest

from attribution.words import RESULTS, VERDICTS, span, why
from core.catalogue import TouchWindow
from core.clock import DAY, HOUR, MINUTE, SECOND
from core.credit import Result, Verdict
from tests.attribution.builders import NOON, candidate


def test_every_result_and_every_verdict_has_one_sentence() -> None:
    assert set(RESULTS) == set(get_args(Result))
    assert set(VERDICTS) == set(get_args(Verdict))
    for sentence in (*RESULTS.values(), *VERDICTS.values()):
        assert sentence.endswith(".")
        assert sentence[0].isupper()


@pytest.mark.parametrize("verdict", get_args(Verdict))
@pytest.mark.parametrize("touch_class", ["click", "impression", "coupon"])
def test_no_sentence_of_a_trace_names_anyone(verdict: Verdict, touch_class: str) -> None:
    touch = candidate(
        "coupon:SECRET9", "secret-affiliate", NOON - DAY, touch_class, link_code="secret-link", programme_id="secret-programme"
    )

    said = why(verdict, touch, NOON, TouchWindow("click", 24))

    assert said.endswith(".")
    assert "secret" not in said.lower()


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0 ms"),
        (1, "1 ms"),
        (SECOND, "1 second"),
        (90 * SECOND, "1 minute 30 seconds"),
        (2 * HOUR + 59 * MINUTE + 59_999, "2 hours 59 minutes"),
        (30 * DAY + 1, "30 days 1 ms"),
        (31 * DAY + SECOND, "31 days 1 second"),
        (-DAY, "1 day"),
    ],
)
def test_a_length_of_time_is_told_by_its_two_largest_units(milliseconds: int, words: str) -> None:
    assert span(milliseconds) == words


def test_a_click_beyond_a_limit_says_so_and_does_not_call_anyone_a_machine() -> None:
    for traffic_class, words in (("capped", "click cap"), ("rate_limited", "too often within a minute"), ("declared_bot", "declared bot")):
        touch = candidate("t1", "anna", NOON - DAY, "click", human=False, traffic_class=traffic_class)
        said = why("bot", touch, NOON, TouchWindow("click", 48))
        assert words in said
        assert ("person's" in said) == (traffic_class == "declared_bot")
