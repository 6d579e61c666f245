"""What an order still holds of each line after its refunds. Pure; amounts are minor units of the order's currency.

Refunds apply in the order of ``(occurred_at, refund_id)``, whenever they arrive, so that the end does not depend on delivery.
"""

from collections.abc import Iterable, Sequence

import msgspec

from core.events import Line, Order, Refund
from core.money import allocate


class Kept(msgspec.Struct, frozen=True, gc=False):
    """What is left of one line: its net, and whether all of it went back (a free line can be returned too)."""

    net_minor: int
    returned: bool = False


Step = tuple[Kept, ...]
"""Every line of an order at one moment, in the order's own sequence."""


class Remainder(msgspec.Struct, frozen=True, gc=False):
    """An order through its refunds: ``steps[0]`` as sold, then one step a refund; ``steps[-1]`` is what is left.

    ``excess_minor`` was asked back beyond what was left, or of lines that the order does not have; it changes nothing.
    ``refused`` counts refunds in another currency than the order's; they change nothing either.
    """

    steps: tuple[Step, ...]
    refunded_minor: int = 0
    excess_minor: int = 0
    refused: int = 0


def apply_refunds(order: Order, refunds: Sequence[Refund]) -> Remainder:
    """Take every refund off its order, one after the other. A negative line counts as zero; nothing falls below zero."""
    steps = [tuple([Kept(line.net_minor if line.net_minor > 0 else 0) for line in order.lines])]
    if not refunds:
        return Remainder(tuple(steps))
    ordered = sorted(_unique(refunds), key=lambda refund: (refund.occurred_at, refund.refund_id))
    usable = [refund for refund in ordered if refund.currency == order.currency]
    excess = 0
    for refund in usable:
        step, beyond = take_back(order.lines, steps[-1], refund)
        steps.append(step)
        excess += beyond
    refunded = net_of(steps[0]) - net_of(steps[-1])
    return Remainder(tuple(steps), refunded, excess, len(ordered) - len(usable))


def take_back(lines: Sequence[Line], kept: Step, refund: Refund) -> tuple[Step, int]:
    """One refund: what is left after it, and the excess. By line; or by amount over the lines' remaining net; or all that is left."""
    if refund.lines:
        taken, named, excess = _by_line(lines, kept, refund)
    else:
        left = net_of(kept)
        total = left if refund.net_minor is None else min(refund.net_minor, left)
        taken, named = allocate(total, [one.net_minor for one in kept]), set()
        excess = 0 if refund.net_minor is None else refund.net_minor - total
    nets = [one.net_minor - part for one, part in zip(kept, taken, strict=True)]
    everything = not any(nets) and (sum(taken) > 0 or (not refund.lines and refund.net_minor is None))
    returned = [
        before.returned or everything or (net == 0 and (part > 0 or index in named))
        for index, (before, net, part) in enumerate(zip(kept, nets, taken, strict=True))
    ]
    return tuple(map(Kept, nets, returned)), excess


def net_of(kept: Step) -> int:
    """The net of a whole order, in minor units."""
    return sum(one.net_minor for one in kept)


def _by_line(lines: Sequence[Line], kept: Step, refund: Refund) -> tuple[list[int], set[int], int]:
    position = {line.line_id: index for index, line in enumerate(lines)}
    taken, named, excess = [0] * len(lines), set(), 0
    for asked in refund.lines:
        index = position.get(asked.line_id)
        part = 0 if index is None else min(asked.net_minor, kept[index].net_minor - taken[index])
        excess += asked.net_minor - part
        if index is not None:
            taken[index] += part
            named.add(index)
    return taken, named, excess


def _unique(refunds: Iterable[Refund]) -> Iterable[Refund]:
    """One refund per refund id: the first event, by event id."""
    return {refund.refund_id: refund for refund in sorted(refunds, key=lambda refund: refund.event_id, reverse=True)}.values()
