"""Every code has a sentence, and every sentence may be read by any affiliate."""

from fractions import Fraction
from typing import get_args

import pytest

from attribution.decide import FOR_ITS_COUPON, MODEL_NUMBERS, OF_TEST
from attribution.words import RESULTS, VERDICTS, sentence, share_words, span
from core.clock import DAY, HOUR, MINUTE, SECOND
from core.credit import Result, Step, TouchClass, Verdict
from tests.attribution.builders import NOON, candidate


def said(verdict: Verdict, figure: int = 0, share: Fraction | None = None, touch_class: str = "click", age: int = DAY, **more) -> str:
    return sentence(Step(candidate("t1", "anna", NOON - age, touch_class, **more), verdict, figure), NOON, share)


def test_every_result_and_every_verdict_has_one_sentence() -> None:
    assert set(RESULTS) == set(get_args(Result))
    assert set(VERDICTS) == set(get_args(Verdict))
    for one in (*RESULTS.values(), *VERDICTS.values()):
        assert one.endswith(".")
        assert one[0].isupper()


FIGURES: dict[str, list[int]] = {
    "winner": [0, 4, FOR_ITS_COUPON + 2, OF_TEST + 1, OF_TEST + FOR_ITS_COUPON],
    "lower_class": list(range(len(get_args(TouchClass)))),
}


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_no_sentence_of_a_trace_names_anyone(verdict: Verdict) -> None:
    secret = {"link_code": "secret-link", "programme_id": "secret-programme", "origin": "secret", "tenant_id": "secret-tenant"}
    for touch_class in get_args(TouchClass):
        touch = candidate("coupon:SECRET9", "secret-affiliate", NOON - DAY, touch_class, **secret)
        for figure in FIGURES.get(verdict, [0, 1, FOR_ITS_COUPON, 5 * DAY << 5 | 3]):
            for share in (None, Fraction(0), Fraction(1), Fraction(2, 5)):
                told = sentence(Step(touch, verdict, figure), NOON, share)
                assert told.endswith(".")
                assert told[0].isupper()
                assert "secret" not in told.lower()


def test_a_winner_reads_what_it_earns_and_why() -> None:
    position = MODEL_NUMBERS["position"]

    assert said("winner") == "The last click before the order, 1 day earlier: it earns the whole credit."
    assert said("winner", MODEL_NUMBERS["first"]) == "The first click that counts, 1 day before the order: it earns the whole credit."
    assert said("winner", position, Fraction(2, 5)) == "A click of the journey, 1 day before the order: it earns 2/5 of the order (40 %)."
    assert said("winner", touch_class="impression", figure=position, share=Fraction(1, 3)).startswith("An ad view of the journey")
    assert said("winner", touch_class="coupon", age=0) == "The coupon was entered with the order: it earns the whole credit."
    assert said("winner", OF_TEST) == "It would earn, were the order not a test."
    assert said("winner", FOR_ITS_COUPON).startswith("A coupon of the same affiliate was entered")


def test_a_loser_reads_by_how_much_it_lost() -> None:
    assert said("outside_window", 24 * HOUR, age=DAY + 1) == "It happened 1 day 1 ms before the order; a click counts for 24 hours."
    assert said("after_order", age=-1) == "It happened 1 ms after the order."
    assert said("older", 5 * DAY << 5 | 3) == "A later click earns, 5 days after this one."
    assert said("newer", 5 * DAY << 5 | 5) == "An earlier scan earns, 5 days before this one."
    assert said("newer", 3) == "Another click at the same millisecond has the lower id, which decides."
    assert said("lower_class", 3, touch_class="impression") == "The policy puts clicks before ad views."


def test_a_share_is_a_fraction_as_long_as_people_can_read_it() -> None:
    assert share_words(Fraction(7, 20)) == "7/20 of the order (35 %)"
    assert share_words(Fraction(1, 3)) == "1/3 of the order (33.33 %)"
    assert share_words(Fraction(1, 2**44 + 1)) == "0 % of the order"
    assert share_words(Fraction(2**43 + 1, 2**44)) == "50 % of the order"


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
    assert "click cap" in said("capped", traffic_class="capped")
    assert "too often within a minute" in said("capped", traffic_class="rate_limited")
    assert said("bot", traffic_class="declared_bot") == "It does not count as a person's: it was classed as declared bot."
