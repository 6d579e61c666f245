"""Who earns which part of an order's commission, as sold and after its refunds. Pure; minor units.

Refunds come off the credit that remains. Splitting the net anew by largest remainder would sometimes raise a share because
of a refund (the Alabama paradox); taking each fall from what everyone still has never does, and ends in exact zeros.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from core.catalogue import Rule
from core.credit import Credit
from core.events import Line
from core.money import allocate
from payouts.rate_card import Reason, pools, price, spread, why_nothing
from payouts.refunds import Step

Grid = list[list[int]]
"""Minor units: one row per line, one column per credit."""


class Earning(msgspec.Struct, frozen=True):
    """What one line earns one affiliate. ``base_minor`` is the line's net, whole, whatever the share of the credit."""

    line_id: str
    affiliate_id: str
    touch_id: str
    base_minor: int
    amount_minor: int
    rule_id: str
    reason: Reason | str


def earnings(
    lines: Sequence[Line], matched: Sequence[Rule | Reason], credits: Sequence[Credit], steps: Sequence[Step]
) -> tuple[list[Earning], list[Earning]]:
    """What every line earns every credited affiliate: as sold (the first step), and after the last refund.

    Per line and affiliate, in that order. The amounts of a step sum to what the rules pay for it, times the credited share;
    an affiliate credited through several touches gets the sum, under the first of them.
    """
    as_sold, at_last = split(lines, matched, [credit.share for credit in credits], steps)
    return (
        [earning for index in range(len(lines)) for earning in _of_line(index, lines, matched, credits, steps[0], as_sold)],
        [earning for index in range(len(lines)) for earning in _of_line(index, lines, matched, credits, steps[-1], at_last)],
    )


def unearned(lines: Sequence[Line], kept: Step, reason: Reason) -> list[Earning]:
    """Lines that earn nobody anything, for one reason."""
    return [Earning(line.line_id, "", "", one.net_minor, 0, "", reason) for line, one in zip(lines, kept, strict=True)]


def split(lines: Sequence[Line], matched: Sequence[Rule | Reason], shares: Sequence[Fraction], steps: Sequence[Step]) -> tuple[Grid, Grid]:
    """Amounts per line and share, at the first and at the last step. Shares sum to at most one; the rest is nobody's."""
    weights = [*shares, 1 - sum(shares, Fraction(0))]
    first: Grid = [[0] * len(shares) for _ in lines]
    last: Grid = [[0] * len(shares) for _ in lines]
    for rule, indexes in pools(matched):
        pooled = [lines[index] for index in indexes]
        amounts = [price(rule, pooled, [step[index] for index in indexes]) for step in steps]
        sold = allocate(amounts[0], weights)
        for grid, step, parts in ((first, steps[0], sold), (last, steps[-1], _fall(sold, amounts))):
            for column, part in enumerate(parts[:-1]):
                for index, amount in zip(indexes, spread(part, [step[index] for index in indexes]), strict=True):
                    grid[index][column] = amount
    return first, last


def _fall(parts: list[int], amounts: Sequence[int]) -> list[int]:
    """``parts`` of ``amounts[0]``, after the amount fell to each of the others in turn."""
    for amount in amounts[1:]:
        fall = sum(parts) - amount
        assert fall >= 0, "a refund never raises a commission"
        if fall:
            parts = [part - lost for part, lost in zip(parts, allocate(fall, parts), strict=True)]
    return parts


def _of_line(
    index: int, lines: Sequence[Line], matched: Sequence[Rule | Reason], credits: Sequence[Credit], kept: Step, grid: Grid
) -> list[Earning]:
    line, rule = lines[index], matched[index]
    touches: dict[str, str] = {}
    amounts: dict[str, int] = {}
    for credit, amount in zip(credits, grid[index], strict=True):
        touches.setdefault(credit.affiliate_id, credit.touch_id)
        amounts[credit.affiliate_id] = amounts.get(credit.affiliate_id, 0) + amount
    rule_id = rule.rule_id if isinstance(rule, Rule) else ""
    nothing = why_nothing(rule, line, kept[index])
    return [
        Earning(line.line_id, affiliate_id, touches[affiliate_id], kept[index].net_minor, amount, rule_id, "" if amount else nothing)
        for affiliate_id, amount in amounts.items()
    ]
