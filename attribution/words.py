"""A sentence for every code that a decision may carry, and for what became of one touch, with its figures.

None of them names an affiliate, a link or a code: an affiliate may read every sentence of a trace.
"""

from attribution.policy import NOUNS, window_words
from core.catalogue import TouchWindow
from core.clock import DAY, HOUR, MINUTE, SECOND, Instant
from core.credit import Candidate, Result, Verdict

RESULTS: dict[Result, str] = {
    "credited": "One touch earned the whole order.",
    "no_touch": "Nobody earned it: no touch that may earn was found for the order's click, visitor, customer or coupons.",
    "no_identity": "Nobody earned it: the order came without a click id, visitor, customer key or coupon, so nothing joins it to a touch.",
    "outside_window": "Nobody earned it: the touches that were found are older than the policy allows.",
    "before_click": "Nobody earned it: the order was placed before the click.",
    "unknown_click_id": "Nobody earned it: the order names a click id that is not on record.",
    "affiliate_not_active": "Nobody earned it: the affiliate was not an approved member of the programme at that time.",
    "program_not_active": "Nobody earned it: no programme takes the orders of this store.",
    "invalid_touch": "Nobody earned it: the touches that were found do not count as a person's (a bot, a prefetch, a disabled link).",
    "test_event": "Nobody earned it: it is a test order.",
}
"""What became of an order, in one sentence."""

VERDICTS: dict[Verdict, str] = {
    "winner": "It earns the whole credit.",
    "older": "A later touch of the same class earns.",
    "lower_class": "A touch of a stronger class earns.",
    "outside_window": "It is older than the policy allows.",
    "after_order": "It happened after the order.",
    "wrong_program": "It belongs to another programme than the order.",
    "affiliate_not_active": "The affiliate was not an approved member of the programme at that time.",
    "bot": "It does not count as a person's.",
    "class_excluded": "The policy gives nothing to touches of this class.",
    "coupon_not_valid": "The coupon was not valid when the order was placed.",
}
"""What became of a candidate, in one sentence; :func:`why` says it with figures."""

WINNER_OF_TEST = "It would earn the whole credit, were the order not a test."

_NO_PERSON = {
    "capped": "It came when the click cap of its link or programme was reached; clicks beyond a cap earn nothing.",
    "rate_limited": "Its address had clicked this link too often within a minute; such clicks earn nothing.",
}
"""Clicks that do not count although a person may have made them."""

_UNITS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"), (1, "ms"))


def span(milliseconds: Instant) -> str:
    """A length of time by its two largest units that are not zero: ``31 days 1 second``, ``1 ms``.

    Nothing is rounded up; smaller units are cut, except that a touch one millisecond beyond a window of whole days
    still says so.
    """
    parts: list[str] = []
    rest = abs(milliseconds)
    for size, name in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}" + ("s" if count > 1 and name != "ms" else ""))
    return " ".join(parts[:2]) or "0 ms"


def why(verdict: Verdict, candidate: Candidate, ordered_at: Instant, rule: TouchWindow | None) -> str:
    """One candidate's verdict in one sentence, with its figures where time decided.

    Args:
        ordered_at: the order's time.
        rule: the policy's window for the candidate's class, None where it has none.
    """
    noun, before = NOUNS[candidate.touch_class][0], span(ordered_at - candidate.occurred_at)
    article = "an" if noun[0] in "aeiou" else "a"
    if verdict == "outside_window" and rule is not None:
        return f"It happened {before} before the order; {article} {noun} counts for {window_words(rule.window_hours)}."
    if verdict == "after_order":
        return f"It happened {before} after the order."
    if verdict == "bot":
        return _NO_PERSON.get(candidate.traffic_class) or (
            f"It does not count as a person's: it was classed as {candidate.traffic_class.replace('_', ' ')}."
        )
    if verdict == "winner" and candidate.touch_class == "coupon":
        return "The coupon was entered with the order: it earns the whole credit."
    if verdict == "winner":
        return f"The last {noun} before the order, {before} earlier: it earns the whole credit."
    return VERDICTS[verdict]


def beaten(candidate: Candidate, winner: Candidate) -> tuple[Verdict, str]:
    """Why a candidate that might have earned did not: the class decides, then the later time, then the higher id."""
    theirs = NOUNS[winner.touch_class][0]
    if candidate.touch_class != winner.touch_class:
        return "lower_class", f"The policy puts {NOUNS[winner.touch_class][1]} before {NOUNS[candidate.touch_class][1]}."
    if candidate.occurred_at == winner.occurred_at:
        return "older", f"Another {theirs} at the same millisecond has the higher id, which decides."
    return "older", f"A later {theirs} earns, {span(winner.occurred_at - candidate.occurred_at)} after this one."
