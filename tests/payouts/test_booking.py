"""Laws of booking, for rules, credits and refunds of chance: whatever came in between, the sums are those of the last state alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import count

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.catalogue import RateCard, Rule
from core.clock import DAY, Instant
from core.credit import Credit
from core.events import Line, Order, Refund, RefundLine
from payouts.booking import Facts, Tariff, Verdict, book
from payouts.verify import verify
from store.commissions import Commission
from tests.fakes import NOON
from tests.people import NORTH

CATEGORIES, SEGMENTS = ("shoes", "books", ""), ("b2b", "gold")
STATUSES = st.sampled_from(["new", "returning"])
PAYS = st.one_of(
    st.builds(lambda bps: {"percent_bps": bps}, st.sampled_from([0, 1, 333, 1000, 10_000])),
    st.builds(
        lambda minor, per: {"fixed_minor": minor, "per": per}, st.sampled_from([0, 1, 777]), st.sampled_from(["order", "line", "unit"])
    ),
)
RULES = st.lists(
    st.builds(
        lambda pays, priority, categories, status, segments: (
            pays | {"priority": priority, "categories": categories, "customer_status": status, "segments": segments}
        ),
        PAYS,
        st.integers(0, 2),
        st.sampled_from([(), (), ("shoes",), ("books",)]),
        st.sampled_from(["", "", "new", "returning"]),
        st.sampled_from([(), (), ("b2b",)]),
    ),
    min_size=1,
    max_size=4,
).map(lambda fields: tuple(Rule(f"r{number}", **own) for number, own in enumerate(fields)))
LINES = st.lists(
    st.tuples(st.one_of(st.sampled_from([0, 1, 99, 100_00]), st.integers(0, 500_00)), st.sampled_from(CATEGORIES), st.integers(1, 3)),
    min_size=1,
    max_size=4,
).map(lambda rows: tuple(Line(str(number), net, category=category, quantity=many) for number, (net, category, many) in enumerate(rows)))


@st.composite
def credits(draw: st.DrawFn) -> tuple[Credit, ...]:
    """Nobody, or up to three touches of three affiliates, with a part that is nobody's now and then."""
    weights = draw(st.lists(st.integers(1, 9), max_size=3))
    total = sum(weights) + draw(st.sampled_from([0, 0, 0, 1, 5]))
    shares = [Fraction(weight, total) for weight in weights]
    names = [draw(st.sampled_from(["anna", "ben", "charlie"])) for _ in shares]
    return tuple(Credit(name, f"t{n}", part.numerator, part.denominator) for n, (name, part) in enumerate(zip(names, shares, strict=True)))


VERDICTS = st.builds(
    lambda programme_id, shares, status, segments: Verdict(0, programme_id, 1, "", shares, "", status, segments),
    st.sampled_from(["main", "main", "other", "unpriced", ""]),
    credits(),
    STATUSES,
    st.sampled_from([(), ("b2b",), ("gold",)]),
)
REFUNDS = st.one_of(
    st.none(), st.sampled_from([1, 50, 1000, 50_00]), st.tuples(st.integers(0, 3).map(str), st.sampled_from([1, 10, 500, 100_00]))
)
"""All that is left; so much of the whole; so much of a line."""
STEPS = st.lists(st.tuples(st.sampled_from([0, DAY, 20 * DAY]), st.one_of(VERDICTS, REFUNDS)), max_size=6)


def refund(order: Order, number: int, said: int | tuple[str, int] | None, at: Instant) -> Refund:
    line_id, minor = said if isinstance(said, tuple) else ("", said)
    lines = (RefundLine(line_id, minor or 0),) if line_id in {line.line_id for line in order.lines} else ()
    return Refund(f"E-{number}", NORTH, order.order_id, f"R-{number}", "EUR", at, at, lines, None if lines else minor)


def earned(rows: Iterable[Commission], *by: str) -> Counter[tuple[str, ...]]:
    """What rows come to, of those who come to anything."""
    sums: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        sums[tuple(getattr(row, name) for name in by)] += row.amount_minor
    return Counter({key: minor for key, minor in sums.items() if minor})


EACH = ("programme_id", "line_id", "affiliate_id")


@settings(max_examples=400, deadline=None)
@given(rules=st.tuples(RULES, RULES), lines=LINES, first=VERDICTS, steps=STEPS)
def test_whatever_came_in_between_the_sums_are_those_of_the_last_state(
    rules: tuple[tuple[Rule, ...], ...], lines: tuple[Line, ...], first: Verdict, steps: Sequence[tuple[int, object]]
) -> None:
    """And a refund raises nobody, booking again books nothing, and an order that went back whole leaves nothing with anybody."""
    cards = {name: (RateCard(NORTH, name, 1, 0, 14, own),) for name, own in zip(("main", "other"), rules, strict=True)}
    order, tariff = Order("E-0", NORTH, "O-1", "EUR", NOON, NOON, lines), Tariff("EUR", cards)
    facts, posted, now = Facts(order, msgspec.structs.replace(first, revision=1)), list[Commission](), NOON
    for number, (wait, what) in enumerate([(0, first), *steps, (0, None)], start=1):
        now, before = now + wait, earned(posted, "affiliate_id")
        if isinstance(what, Verdict):
            facts = msgspec.structs.replace(facts, verdict=msgspec.structs.replace(what, revision=number))
        else:
            facts = msgspec.structs.replace(facts, refunds=(*facts.refunds, refund(order, number, what, now)))  # type: ignore[arg-type]
        posted += book(facts, posted, tariff, now).rows

        assert earned(posted, *EACH) == earned(book(facts, [], tariff, now).rows, *EACH)
        assert book(facts, posted, tariff, now).rows == ()
        assert all(minor > 0 for minor in earned(posted, *EACH).values())
        if not isinstance(what, Verdict):
            assert all(minor <= before[key] for key, minor in earned(posted, "affiliate_id").items())
    assert earned(posted, *EACH) == {}


NUMBERS = count(1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, first=VERDICTS, steps=STEPS)
def test_the_ledger_of_such_orders_verifies(sqlite_world, lines, first, steps) -> None:  # type: ignore[no-untyped-def]
    """All orders of the run stand in one ledger."""
    world, order_id = sqlite_world, f"O-{next(NUMBERS)}"
    world.order(order_id, *lines)
    for number, (wait, what) in enumerate([(0, first), *steps], start=1):
        world.clock.advance(wait + 1)
        if isinstance(what, Verdict):
            shares = {one.affiliate_id: Fraction(one.numerator, one.denominator) for one in what.credits}
            known = (what.customer_status, what.segments)
            world.decide(order_id, shares=shares, programme_id="main", customer_status=known[0], segments=known[1])
        else:
            line_id, minor = what if isinstance(what, tuple) else ("", what)
            taken = {line_id: minor} if line_id in {line.line_id for line in lines} else None
            world.refund(order_id, f"R-{number}", None if taken else minor, taken)
        assert world.accrue().problems == ()

    assert verify(world.books).ok
    assert world.balance("anna").held_minor >= 0
