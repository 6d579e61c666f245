"""Who earns which part of an order's commission, as sold and after its refunds. Pure; minor units of the order's currency.

A share is paid by the rule that fits its own affiliate and touch: each rule prices its lines in full, that price is laid over all
shares of the order, and those that the rule pays take theirs. Then come limits, line by line, and recruiters last.

Refunds come off what everyone still has. Splitting the net anew by largest remainder would sometimes raise a share because
of a refund (the Alabama paradox); taking each fall from what everyone still has never does, and ends in exact zeros.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import lcm
from typing import Literal, NamedTuple

import msgspec

from core.catalogue import Rule
from core.events import Line
from core.money import allocate, share_of
from payouts.rate_card import Quote, Reason, lay, pools, quote, why_nothing
from payouts.refunds import Step

Grid = list[list[int]]
"""Minor units: one row per line, one column per share."""
Bases = tuple[tuple[int, ...], ...]
"""What percentages are taken of, by step and line."""


class Cap(msgspec.Struct, frozen=True, gc=False):
    """What a limit leaves for this order. ``affiliate_id`` empty: for all together. ``rules`` empty: whatever the rule."""

    limit_id: str
    affiliate_id: str
    left_minor: int
    rules: tuple[str, ...] = ()


class Share(msgspec.Struct, frozen=True, gc=False):
    """A credited touch and what pays it: by line the rule, at its step and in the order's currency, or why there is none.

    ``bases``, ``version`` and ``caps`` are the rate card's. ``recruiters`` are ``(affiliate, basis points)``, nearest first; an empty
    name is nobody.
    """

    affiliate_id: str
    touch_id: str
    part: Fraction
    matched: tuple[Rule | Reason, ...]
    bases: Bases
    version: int = 0
    caps: tuple[Cap, ...] = ()
    recruiters: tuple[tuple[str, int], ...] = ()
    recruiter_of: Literal["commission", "revenue"] = "commission"


class Earning(msgspec.Struct, frozen=True, gc=False):
    """What one line earns one affiliate. ``base_minor`` is what percentages are taken of, whole, whatever the share of the credit.

    ``part`` is empty for what it earned itself, ``recruiter:1`` for what it has of those it recruited, ``recruiter:2`` of those whom
    they recruited, and so on. ``capped_minor`` is what a maximum or a limit cut; ``limit_id`` names the limit.
    ``original_minor`` is the amount before it was converted, 0 where it was not (:mod:`payouts.booking`).
    """

    line_id: str
    affiliate_id: str
    touch_id: str
    base_minor: int
    amount_minor: int
    rule_id: str
    reason: Reason | str
    version: int = 0
    part: str = ""
    capped_minor: int = 0
    limit_id: str = ""
    original_minor: int = 0


Earnings = list[Earning]


class Moment(msgspec.Struct):
    """An order at one step: what each line pays each share, by line and column. ``above`` is what a rule's maximum cut off,
    ``beyond`` what a limit did, and ``limits`` which.
    """

    step: int
    amounts: Grid
    above: dict[tuple[int, int], int]
    beyond: dict[tuple[int, int], int]
    limits: dict[tuple[int, int], str]


def earnings(
    lines: Sequence[Line], shares: Sequence[Share], both: tuple[Moment, Moment], steps: Sequence[Step]
) -> tuple[Earnings, Earnings]:
    """What every line earns everybody: as sold (the first step), and after the last refund; both lists name the same in one order.

    By line, then affiliate, then what recruiters have of it. An affiliate that is credited through several touches gets the sum, under
    the first of them. ``both`` are the :func:`moments`.
    """
    sold = _own(lines, shares, steps, both[0])
    own = (sold, sold if both[1] is both[0] else _own(lines, shares, steps, both[1]))
    if not any(share.recruiters for share in shares):
        before = [one for of_line in own[0] for one in of_line]
        return before, before if own[1] is own[0] else [one for of_line in own[1] for one in of_line]
    theirs = _recruiters(lines, shares, both)
    before, after = (
        [one for index in range(len(lines)) for one in (*mine[index], *(pair[place] for pair in theirs.get(index, ())))]
        for place, mine in enumerate(own)
    )
    return before, after


def unearned(lines: Sequence[Line], kept: Step, reason: Reason) -> list[Earning]:
    """Lines that earn nobody anything, for one reason."""
    return [Earning(line.line_id, "", "", one.net_minor, 0, "", reason) for line, one in zip(lines, kept, strict=True)]


def moments(lines: Sequence[Line], shares: Sequence[Share], steps: Sequence[Step]) -> tuple[Moment, Moment]:
    """The amounts at the first and at the last step, after limits: the same one where nothing went back.

    The shares' parts sum to at most one; the rest is nobody's.
    """
    sold = _nothing(0, len(lines), len(shares))
    both = (sold, sold if len(steps) == 1 else _nothing(len(steps) - 1, len(lines), len(shares)))
    weights = _weights(shares)
    for rule, indexes, columns in _paid_together(shares):
        mine, bases = [lines[index] for index in indexes], shares[columns[0]].bases
        quotes = [
            quote(rule, mine, [step[index] for index in indexes], [base[index] for index in indexes])
            for step, base in zip(steps, bases, strict=True)
        ]
        _share_out(quotes, weights, indexes, columns, both)
    if any(share.caps for share in shares):
        _limit(shares, both)
    return both


# --- what rules pay ----------------------------------------------------------------------------------------------------


def _paid_together(shares: Sequence[Share]) -> Iterator[tuple[Rule, list[int], list[int]]]:
    """Each price that is asked for: a rule at its step, the lines that it pays for together, and the shares that take part of it."""
    found: dict[tuple[int, str, int | None, int | None, tuple[int, ...]], tuple[Rule, list[int], list[int]]] = {}
    if len(shares) == 1:
        yield from ((rule, indexes, [0]) for rule, indexes in pools(shares[0].matched))
        return
    for column, share in enumerate(shares):
        for rule, indexes in pools(share.matched):
            key = (share.version, rule.rule_id, rule.percent_bps, rule.fixed_minor, tuple(indexes))
            found.setdefault(key, (rule, indexes, []))[2].append(column)
    yield from found.values()


def _share_out(quotes: list[Quote], weights: list[int], indexes: list[int], columns: list[int], both: tuple[Moment, Moment]) -> None:
    """Lay a price over the shares, and the part of each share that it pays over its lines."""
    parts = _parts([one.amount_minor for one in quotes], weights)
    is_cut = any(one.capped_minor for one in quotes)
    wholes = _parts([one.amount_minor + one.capped_minor for one in quotes], weights) if is_cut else parts
    for place, moment in enumerate(both if both[0] is not both[1] else both[:1]):
        weighed, paid, whole = quotes[-place].weights, parts[place], wholes[place]
        for column in columns:
            if len(indexes) == 1:
                moment.amounts[indexes[0]][column] = paid[column]
            else:
                for index, amount in zip(indexes, lay(paid[column], weighed), strict=True):
                    moment.amounts[index][column] = amount
            if is_cut:
                for index, amount in zip(indexes, lay(whole[column] - paid[column], weighed), strict=True):
                    moment.above[index, column] = amount


def _weights(shares: Sequence[Share]) -> list[int]:
    """The shares' parts, and nobody's, in whole numbers."""
    if len(shares) == 1:
        part = shares[0].part
        return [part.numerator, part.denominator - part.numerator]
    scale = lcm(*[share.part.denominator for share in shares])
    parts = [share.part.numerator * (scale // share.part.denominator) for share in shares]
    return [*parts, scale - sum(parts)]


def _parts(amounts: list[int], weights: list[int]) -> tuple[list[int], list[int]]:
    """What the shares have of an amount as sold, and after all its falls."""
    sold = [amounts[0], 0] if len(weights) == 2 and weights[1] == 0 else allocate(amounts[0], weights)
    return sold, _fall(sold, amounts) if len(amounts) > 1 else sold


def _fall(parts: list[int], amounts: Sequence[int]) -> list[int]:
    """``parts`` of ``amounts[0]``, after the amount fell to each of the others in turn."""
    for amount in amounts[1:]:
        fall = sum(parts) - amount
        assert fall >= 0, "a refund never raises a commission"
        if fall:
            parts = [part - lost for part, lost in zip(parts, allocate(fall, parts), strict=True)]
    return parts


def _nothing(step: int, lines: int, columns: int) -> Moment:
    return Moment(step, [[0] * columns for _ in range(lines)], {}, {}, {})


# --- what limits leave -------------------------------------------------------------------------------------------------


def used(shares: Sequence[Share], both: tuple[Moment, Moment]) -> dict[tuple[str, str], tuple[int, int]]:
    """By limit and account: what would have been asked of it as sold, had nothing been cut; and what it pays of the order now."""
    uses: dict[tuple[str, str], list[int]] = {}
    sold, last = both
    for column, share in enumerate(shares):
        for index in range(len(sold.amounts)) if share.caps else ():
            asked = sold.amounts[index][column] + (sold.beyond.get((index, column), 0) if sold.beyond else 0)
            paid = last.amounts[index][column]
            for cap in _caps_on(share, index):
                use = uses.setdefault((cap.limit_id, cap.affiliate_id), [0, 0])
                use[0] += asked
                use[1] += paid
    return {account: (asked, paid) for account, (asked, paid) in uses.items()}


def _limit(shares: Sequence[Share], both: tuple[Moment, Moment]) -> None:
    """Cut what limits do not leave: as sold, line by line. Now, nobody has more of the lines under the same limits than as sold:
    what one loses by a refund, no other takes up.
    """
    sold, last = both
    left: dict[tuple[str, str], int] = {}
    given: dict[tuple[int, tuple[Cap, ...]], int] = {}
    names: dict[tuple[int, tuple[Cap, ...]], str] = {}
    for index, row in enumerate(sold.amounts):
        for column, amount in enumerate(row):
            if caps := _caps_on(shares[column], index):
                room, name = _room(caps, left)
                _cut(sold, index, column, room, name)
                for cap in caps:
                    left[cap.limit_id, cap.affiliate_id] -= row[column]
                if last is not sold:
                    given[column, caps] = given.get((column, caps), 0) + row[column]
                if last is not sold and row[column] < amount:
                    names.setdefault((column, caps), name)
    if last is sold:
        return
    for index, row in enumerate(last.amounts):
        for column in range(len(row)):
            if caps := _caps_on(shares[column], index):
                _cut(last, index, column, given[column, caps], names.get((column, caps), ""))
                given[column, caps] -= row[column]


def _room(caps: Iterable[Cap], left: dict[tuple[str, str], int]) -> tuple[int, str]:
    """What the narrowest of the limits leaves, and its name."""
    return min([(left.setdefault((cap.limit_id, cap.affiliate_id), cap.left_minor), cap.limit_id) for cap in caps])


def _cut(moment: Moment, index: int, column: int, most_minor: int, limit_id: str) -> None:
    amount = moment.amounts[index][column]
    if amount > most_minor:
        moment.amounts[index][column] = most_minor
        moment.beyond[index, column] = amount - most_minor
        moment.limits[index, column] = limit_id


def _caps_on(share: Share, index: int) -> tuple[Cap, ...]:
    rule = share.matched[index]
    if not isinstance(rule, Rule):
        return ()
    return tuple([cap for cap in share.caps if not cap.rules or rule.rule_id in cap.rules])


# --- who has it --------------------------------------------------------------------------------------------------------


def _own(lines: Sequence[Line], shares: Sequence[Share], steps: Sequence[Step], moment: Moment) -> list[list[Earning]]:
    """The earnings of every line, an affiliate at a time, under the first of its touches."""
    columns: dict[str, list[int]] = {}
    for column, share in enumerate(shares):
        columns.setdefault(share.affiliate_id, []).append(column)
    return [
        [_of_affiliate(line, index, shares[mine[0]], mine, steps, moment) for mine in columns.values()] for index, line in enumerate(lines)
    ]


def _of_affiliate(line: Line, index: int, share: Share, columns: Sequence[int], steps: Sequence[Step], moment: Moment) -> Earning:
    rule, row = share.matched[index], moment.amounts[index]
    amount = row[columns[0]] if len(columns) == 1 else sum([row[column] for column in columns])
    capped, limit_id = _cut_off(index, columns, moment) if moment.above or moment.beyond else (0, "")
    reason: Reason | str = ""
    if not amount:
        reason = "cap_reached" if capped > 0 else why_nothing(rule, line, steps[moment.step][index], share.bases[0][index])
    return Earning(
        line.line_id,
        share.affiliate_id,
        share.touch_id,
        share.bases[moment.step][index],
        amount,
        rule.rule_id if isinstance(rule, Rule) else "",
        reason,
        share.version,
        "",
        capped,
        limit_id,
    )


def _cut_off(index: int, columns: Sequence[int], moment: Moment) -> tuple[int, str]:
    """How much, and by which limit."""
    capped = sum(moment.above.get((index, column), 0) + moment.beyond.get((index, column), 0) for column in columns)
    return capped, next((moment.limits[index, column] for column in columns if (index, column) in moment.limits), "")


# --- recruiters --------------------------------------------------------------------------------------------------------


class Recruiter(NamedTuple):
    """Somebody who has a part of what the share in ``column`` is paid."""

    affiliate_id: str
    column: int
    depth: int
    bps: int


def _recruiters(lines: Sequence[Line], shares: Sequence[Share], both: tuple[Moment, Moment]) -> dict[int, list[tuple[Earning, Earning]]]:
    """By line, what recruiters have: of a share's commission or credited net in the whole order, rounded down once, laid over the lines.

    Of the net, it is that of the lines that paid the affiliate as sold. Both fall with every refund. Limits bind the affiliates, and
    recruiters through what those are paid.
    """
    theirs = [
        Recruiter(name, column, depth, bps)
        for column, share in enumerate(shares)
        for depth, (name, bps) in enumerate(share.recruiters, start=1)
        if name and bps
    ]
    paid = _nothing(0, len(lines), len(theirs)), _nothing(both[1].step, len(lines), len(theirs))
    for place, recruiter in enumerate(theirs):
        for moment, own in zip(paid, both, strict=True):
            for index, amount in enumerate(_override(recruiter, shares[recruiter.column], both[0], own)):
                moment.amounts[index][place] = amount
    return {index: _of_recruiters(line, index, shares, theirs, paid) for index, line in enumerate(lines)}


def _override(recruiter: Recruiter, share: Share, sold: Moment, own: Moment) -> list[int]:
    """A recruiter's part by line."""
    if share.recruiter_of == "commission":
        worth = [row[recruiter.column] for row in own.amounts]
        total = share_of(sum(worth), recruiter.bps)
    else:
        worth = [base if row[recruiter.column] else 0 for base, row in zip(share.bases[own.step], sold.amounts, strict=True)]
        total = sum(worth) * recruiter.bps * share.part.numerator // (10_000 * share.part.denominator)
    return lay(total, worth) if total else [0] * len(worth)


def _of_recruiters(
    line: Line, index: int, shares: Sequence[Share], theirs: Sequence[Recruiter], paid: tuple[Moment, Moment]
) -> list[tuple[Earning, Earning]]:
    """As sold and now; whoever never had anything of the line is left out."""
    places: dict[tuple[str, int], list[int]] = {}
    for place, one in enumerate(theirs):
        if any(moment.amounts[index][place] for moment in paid):
            places.setdefault((one.affiliate_id, one.depth), []).append(place)
    return [
        (_recruited(line, index, shares, theirs, mine, paid[0]), _recruited(line, index, shares, theirs, mine, paid[1]))
        for mine in places.values()
    ]


def _recruited(
    line: Line, index: int, shares: Sequence[Share], theirs: Sequence[Recruiter], places: Sequence[int], moment: Moment
) -> Earning:
    recruiter = theirs[places[0]]
    share = shares[recruiter.column]
    amount = sum(moment.amounts[index][place] for place in places)
    return Earning(
        line_id=line.line_id,
        affiliate_id=recruiter.affiliate_id,
        touch_id=share.touch_id,
        base_minor=share.bases[moment.step][index],
        amount_minor=amount,
        rule_id="",
        reason="" if amount else "refunded",
        version=share.version,
        part=f"recruiter:{recruiter.depth}",
    )
