"""A sentence for every code that a decision may carry, and for what became of one touch, with its figures.

None of them names an affiliate, a link or a code. Of others' touches an affiliate reads :data:`VERDICTS` alone, of its own all figures.
"""

from fractions import Fraction
from typing import get_args

from attribution.decide import FOR_ITS_COUPON, OF_TEST
from attribution.policy import NOUNS, percent, window_words
from attribution.rules import DECIDING, is_expired
from core.catalogue import Model
from core.clock import DAY, HOUR, MINUTE, SECOND, Instant
from core.credit import Result, Step, TouchClass, Verdict

RESULTS: dict[Result, str] = {
    "credited": "One affiliate earned it.",
    "split": "Several affiliates share it.",
    "no_touch": "Nobody earned it: no touch that may earn was found for the order's click, visitor, customer or coupons.",
    "no_identity": "Nobody earned it: the order came without a click id, visitor, customer key or coupon, so nothing joins it to a touch.",
    "outside_window": "Nobody earned it: the touches that were found are older than the policy allows.",
    "before_click": "Nobody earned it: the order was placed before the click.",
    "unknown_click_id": "Nobody earned it: the order names a click id that is not on record.",
    "affiliate_not_active": "Nobody earned it: the affiliate was not an approved member of the programme at that time.",
    "program_not_active": "Nobody earned it: no programme took such orders at that time.",
    "invalid_touch": "Nobody earned it: the touches that were found do not count (a bot, a prefetch, a click beyond a cap).",
    "consent_denied": "Nobody earned it: the visitor had refused to be followed from the touch to the order.",
    "self_referral": "Nobody earned it: the affiliate bought it itself.",
    "exclusive_code": "Nobody earned it: the order carries an exclusive code, which earns for its owner alone.",
    "lost_to_paid_channel": "No affiliate earned it: another marketing channel brought the customer last.",
    "lost_to_click": "Nobody earned it: a click came before the order, and the policy then gives nothing to a coupon.",
    "stand_down": "Nobody earned it: software in the shopper's browser had to stand down for another affiliate's click.",
    "direct": "No affiliate earned it: the policy counts direct visits, and gives the order to one.",
    "manual_override": "A person decided it.",
    "test_event": "Nobody earned it: it is a test order.",
}
"""What became of an order, in one sentence."""

VERDICTS: dict[Verdict, str] = {
    "winner": "It earns.",
    "assist": "It helped on the way and earns nothing of its own.",
    "older": "A later touch earns.",
    "newer": "An earlier touch earns.",
    "lower_class": "A touch of a stronger class earns.",
    "view_superseded_by_click": "A click earns, and beats every ad view.",
    "lost_to_coupon": "The coupon that was entered with the order earns.",
    "lost_to_click": "The policy gives nothing to a coupon where there was a click.",
    "lost_to_paid_channel": "Another marketing channel brought the customer afterwards.",
    "customer_bound": "An earlier order bound the customer to an affiliate, and that bond is stronger.",
    "exclusive_code": "The order carries an exclusive code, which earns for its owner alone.",
    "outside_window": "It is older than the policy allows.",
    "after_order": "It happened after the order.",
    "wrong_tenant": "It was made for another shop, and no coalition shares such touches.",
    "wrong_program": "It belongs to another programme than the order.",
    "program_not_active": "No programme took the order, or its programme had not begun when the touch was made.",
    "affiliate_not_active": "The affiliate was not an approved member of the programme at that time.",
    "bot": "It does not count as a person's.",
    "capped": "It came beyond a limit on clicks, and earns nothing.",
    "no_consent": "The visitor refused to be followed, and the order does not name the touch itself.",
    "self_referral": "The affiliate bought for itself, which the policy does not pay.",
    "stand_down": "It is software's in the shopper's browser, which has to stand down after another affiliate's click.",
    "late_hijack": "It came too close to the order, and another affiliate's touch had come before.",
    "class_excluded": "The policy gives nothing to touches of this class.",
    "direct": "Nobody brought this visit, so nobody earns for it.",
    "paid_visit": "Another marketing channel brought this visit, so no affiliate earns for it.",
    "coupon_not_valid": "The coupon was not valid when the order was placed.",
    "overridden": "It earned by the rules; a person decided otherwise.",
}
"""What became of a candidate, in one sentence; :func:`sentence` says it with figures."""

_LIMITS = {
    "capped": "It came when the click cap of its link or programme was reached; clicks beyond a cap earn nothing.",
    "rate_limited": "Its address had clicked this link too often within a minute; such clicks earn nothing.",
}
_EVIDENCE = {"same_email": "e-mail address", "same_phone": "phone number"}
_CLASSES: tuple[TouchClass, ...] = get_args(TouchClass)
_MODELS: tuple[Model, ...] = get_args(Model)
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


def share_words(share: Fraction) -> str:
    """``2/5 of the order (40 %)``, or the percentage alone where the fraction is not for people to read."""
    told = percent(share.numerator, share.denominator)
    return f"{share} of the order ({told})" if share.denominator <= 1_000 else f"{told} of the order"


def sentence(step: Step, ordered_at: Instant, share: Fraction | None = None) -> str:
    """One candidate's verdict in one sentence, with its figures where time decided.

    Args:
        ordered_at: the order's time.
        share: what a winner earns of the order; None where the reader does not know.
    """
    one, figure = step.candidate, step.figure
    noun, before = NOUNS[one.touch_class][0], span(ordered_at - one.occurred_at)
    match step.verdict:
        case "winner":
            return _winner(step, before, share)
        case "outside_window" if figure:
            return f"It happened {before} before the order; {_article(noun)} counts for {window_words(figure // HOUR)}."
        case "outside_window" if is_expired(one):
            return "The assistant's claim had run out when the order was placed."
        case "after_order":
            return f"It happened {before} after the order."
        case "bot":
            return f"It does not count as a person's: it was classed as {one.traffic_class.replace('_', ' ')}."
        case "capped":
            return _LIMITS.get(one.traffic_class, VERDICTS["capped"])
        case "older" | "newer":
            return _beaten_in_time(step)
        case "lower_class":
            return f"The policy puts {NOUNS[_CLASSES[figure]][1]} before {NOUNS[one.touch_class][1]}."
        case "lost_to_paid_channel":
            return f"Another marketing channel brought the customer {span(figure)} after this touch."
        case "stand_down":
            return f"Another affiliate's click came {span(figure)} before, for which software in the shopper's browser has to stand down."
        case "late_hijack":
            return f"It came {before} before the order, closer than {span(figure)}, and another affiliate's touch had come before."
        case "self_referral":
            signs = " and ".join(_EVIDENCE.get(sign, sign.replace("_", " ")) for sign in one.evidence)
            return f"The affiliate bought for itself, which the policy does not pay: the order has the affiliate's {signs}."
        case "assist" if figure == FOR_ITS_COUPON:
            return "It was entered with the order; its credit is recorded on a click of the same affiliate."
        case "paid_visit" if figure == DECIDING:
            return "Another marketing channel brought this visit; affiliates' earlier clicks and views earn nothing."
    return VERDICTS[step.verdict]


def _winner(step: Step, before: str, share: Fraction | None) -> str:
    figure, one = step.figure, step.candidate
    test, figure = divmod(figure, OF_TEST)
    coupon, number = divmod(figure, FOR_ITS_COUPON)
    whole = share is None or share in (0, 1)
    if not one.affiliate_id:
        who = "Another marketing channel" if one.touch_class == "paid" else "Nobody"
        return f"{who} brought this visit, {before} before the order: its part of the credit is nobody's."
    if test:
        return "It would earn, were the order not a test."
    earns = "it earns the whole credit" if whole else f"it earns {share_words(share or Fraction(1))}"
    if coupon:
        return f"A coupon of the same affiliate was entered with the order: {earns} for it, {before} before the order."
    return f"{_which(one.touch_class, _MODELS[number], before)}: {earns}."


def _which(touch_class: TouchClass, model: Model, before: str) -> str:
    """What made it win, as the beginning of a sentence."""
    noun = NOUNS[touch_class][0]
    match touch_class:
        case "coupon" | "exclusive_coupon":
            return "The coupon was entered with the order"
        case "clickless":
            return "The shop named the affiliate with the order"
        case "agent":
            return "An assistant's checkout named it"
        case "binding":
            return f"An earlier order, {before} before this one, bound the customer to the affiliate"
    if model in ("last", "last_non_direct"):
        return f"The last {noun} before the order, {before} earlier"
    if model == "first":
        return f"The first {noun} that counts, {before} before the order"
    return f"{_article(noun).capitalize()} of the journey, {before} before the order"


def _beaten_in_time(step: Step) -> str:
    """The later time decides, then the higher id; under the first model the earlier and the lower."""
    away, number = divmod(step.figure, 32)
    winner = NOUNS[_CLASSES[number]][0]
    later = step.verdict == "older"
    if not away:
        return f"Another {winner} at the same millisecond has the {'higher' if later else 'lower'} id, which decides."
    return f"{'A later' if later else 'An earlier'} {winner} earns, {span(away)} {'after' if later else 'before'} this one."


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
