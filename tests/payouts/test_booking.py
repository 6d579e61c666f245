"""Laws of booking, for rules, credits and refunds of chance: whatever came in between, the sums are those of the last state alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.catalogue import Clause, Limit, Membership, RateCard, Rule, Tenant, Tier, Tiers
from core.clock import DAY, HOUR, Instant
from core.credit import Credit
from core.events import Line, Order, Refund, RefundLine
from payouts.accounts import Standing
from payouts.booking import book
from payouts.exchange import Rate
from payouts.orders import Facts, Tariff, Verdict
from payouts.pricing import Target, prepare, target_of
from payouts.pricings import Surroundings, frozen, pricing_hash
from payouts.setting import Contact, Setting
from payouts.verify import verify
from store.commissions import Commission
from tests.fakes import NOON
from tests.people import NORTH

TENANT = Tenant(NORTH, "North", "EUR")
DOLLAR = Rate("USD", "EUR", "1/1.0834", "ecb", date(2026, 11, 20))
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


MEMBERS = {
    ("main", name): Membership(NORTH, "main", name, "approved", 0, 0, group=group, recruited_by=above)
    for name, group, above in (("anna", "gold", "ben"), ("ben", "", "dora"), ("charlie", "gold", ""), ("dora", "", "anna"))
}
"""Anna was recruited by Ben, who was by Dora, who (wrongly) was by Anna."""


def around(*rates: Rate) -> Surroundings:
    keyed = {(rate.base, rate.quote, date(2026, 11, 21)): rate for rate in rates}
    return Surroundings(MEMBERS, {"SAVE10": "voucher"}, {"shop": "outlet"}, keyed)


class Books:
    """One order's rows and its setting, as accrual keeps them."""

    def __init__(self, tariff: Tariff, *rates: Rate, standing: Standing = Standing()) -> None:
        self.tariff, self.around, self.standing = tariff, around(*rates), standing
        self.rows: list[Commission] = []
        self.setting: Setting | None = None

    def book(self, facts: Facts, now: Instant = NOON) -> tuple[Commission, ...]:
        self.setting = frozen(self.setting, facts, self.rows, self.tariff, self.around)
        rows = book(facts, self.rows, self.target(facts), now, "hash")
        self.rows += rows
        return rows

    def target(self, facts: Facts) -> Target:
        assert self.setting is not None
        return target_of(prepare(facts, self.rows, self.tariff, self.setting), self.standing)

    def earned(self) -> dict[tuple[str, str], int]:
        return {(name, part): minor for (name, part), minor in earned(self.rows, "affiliate_id", "part").items()}  # type: ignore[misc]


def refund(order: Order, number: int, said: int | tuple[str, int] | None, at: Instant) -> Refund:
    line_id, minor = said if isinstance(said, tuple) else ("", said)
    lines = (RefundLine(line_id, minor or 0),) if line_id in {line.line_id for line in order.lines} else ()
    return Refund(f"E-{number}", NORTH, order.order_id, f"R-{number}", order.currency, at, at, lines, None if lines else minor)


def earned(rows: Iterable[Commission], *by: str) -> Counter[tuple[str, ...]]:
    """What rows come to, of those who come to anything."""
    sums: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        sums[tuple(getattr(row, name) for name in by)] += row.amount_minor
    return Counter({key: minor for key, minor in sums.items() if minor})


EACH = ("programme_id", "line_id", "affiliate_id", "part")


GROUPED = st.lists(
    st.builds(
        lambda pays, priority, group, most: (
            pays
            | {"priority": priority, "when": Clause("affiliate", "group", "equals_to", (group,)) if group else None, "most_minor": most}
        ),
        PAYS,
        st.integers(0, 2),
        st.sampled_from(["", "gold"]),
        st.sampled_from([None, None, None, 0, 300]),
    ),
    min_size=1,
    max_size=3,
).map(lambda fields: tuple(Rule(f"g{number}", **own) for number, own in enumerate(fields)))
CARDS = st.builds(
    lambda rules, grouped, recruiters, of, settle, rounding, minimum, limits, touch: RateCard(
        NORTH,
        "main",
        1,
        0,
        14,
        (*rules, *grouped),
        priced_at=touch,
        pays_on=("tax",) if minimum else (),
        minimum_order_minor=minimum,
        limits=limits,
        recruiter_bps=recruiters,
        recruiter_of=of,
        settle_in=settle,
        fx_rounding=rounding,
    ),
    RULES,
    GROUPED,
    st.sampled_from([(), (), (1000,), (500, 333, 1)]),
    st.sampled_from(["commission", "revenue"]),
    st.sampled_from(["", "EUR", "USD"]),
    st.sampled_from(["down", "half_even", "up"]),
    st.sampled_from([0, 0, 100]),
    st.sampled_from([(), (), (Limit("own", 5_00, "month"),), (Limit("all", 7_00, "month", True), Limit("g", 1_00, "day", False, ("g0",)))]),
    st.sampled_from(["order", "touch"]),
)
STANDINGS = st.sampled_from([Standing(), Standing(left=(("own", "anna", 2_00), ("all", "", 50))), Standing(left=(("all", "", 0),))])


@settings(max_examples=400, deadline=None)
@example(  # the refund moves what the limit left to the second line; converted line by line, it was a cent more
    cards=(
        RateCard(
            NORTH, "main", 1, 0, 14, (Rule("r0", fixed_minor=777, per="unit", categories=("books",)),),
            limits=(Limit("own", 5_00, "month"),), settle_in="EUR", fx_rounding="half_even",
        ),
        (Rule("r0", percent_bps=0),),
    ),
    lines=(Line("0", 0), Line("1", 1, category="books", quantity=2), Line("2", 1, category="books"), Line("3", 0, category="books")),
    currency="USD",
    standing=Standing(),
    first=Verdict(0, "main", 1, "", (Credit("anna", "t0", 1, 2), Credit("anna", "t1", 1, 2)), "", "new", ()),
    steps=[(0, 1)],
)  # fmt: skip
@given(
    cards=st.tuples(CARDS, RULES),
    lines=LINES,
    currency=st.sampled_from(["EUR", "EUR", "USD"]),
    standing=STANDINGS,
    first=VERDICTS,
    steps=STEPS,
)
def test_whatever_came_in_between_the_sums_are_those_of_the_last_state(
    cards: tuple[RateCard, tuple[Rule, ...]],
    lines: tuple[Line, ...],
    currency: str,
    standing: Standing,
    first: Verdict,
    steps: Sequence[tuple[int, object]],
) -> None:
    """And a refund raises nobody, booking again books nothing, and an order that went back whole leaves nothing with anybody."""
    tariff = Tariff(TENANT, {"main": (cards[0],), "other": (RateCard(NORTH, "other", 1, 0, 14, cards[1]),)})
    order = Order("E-0", NORTH, "O-1", currency, NOON, NOON, lines, tax_minor=19)
    books = Books(tariff, DOLLAR, Rate("EUR", "USD", "1.0834", "ecb", date(2026, 11, 20)), standing=standing)
    facts, now = Facts(order, msgspec.structs.replace(first, revision=1)), NOON
    for number, (wait, what) in enumerate([(0, first), *steps, (0, None)], start=1):
        now, before = now + wait, earned(books.rows, "affiliate_id", "part")
        if isinstance(what, Verdict):
            facts = msgspec.structs.replace(facts, verdict=msgspec.structs.replace(what, revision=number))
        else:
            facts = msgspec.structs.replace(facts, refunds=(*facts.refunds, refund(order, number, what, now)))  # type: ignore[arg-type]
        books.book(facts, now)

        assert earned(books.rows, *EACH) == earned(book(facts, [], books.target(facts), now), *EACH)
        assert books.book(facts, now) == ()
        assert all(minor > 0 for minor in earned(books.rows, *EACH).values())
        if not isinstance(what, Verdict):
            assert all(minor <= before[key] for key, minor in earned(books.rows, "affiliate_id", "part").items())
        assert all(row.amount_minor or row.reason for row in books.rows)
        assert all((row.state == "none") == (row.amount_minor == 0) for row in books.rows)
    assert earned(books.rows, *EACH) == {}
    assert sum(row.original_minor for row in books.rows) == 0


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
    assert world.balance("anna").pending_minor >= 0


# --- what is frozen ------------------------------------------------------------------------------------------------------


def card(version: int, begins: Instant, *rules: Rule, **fields: object) -> RateCard:
    return RateCard(NORTH, "main", version, begins, 14, rules or (Rule(f"p{version}", percent_bps=1000 * version),), **fields)  # type: ignore[arg-type]


def sale(*credits: Credit, currency: str = "EUR", net: int = 100_00, refunds: tuple[Refund, ...] = (), revision: int = 1) -> Facts:
    order = Order("E-0", NORTH, "O-1", currency, NOON, NOON, (Line("1", net),), coupons=("SAVE10",), store_id="shop")
    contacts = tuple(Contact(one.touch_id, "click", NOON - HOUR * (3 if one.touch_id == "old" else 1)) for one in credits)
    return Facts(order, Verdict(revision, "main", 1, "", credits, "", "new"), refunds, contacts, "DE")


def all_of(name: str, touch_id: str = "t") -> Credit:
    return Credit(name, touch_id, 1, 1)


def test_a_version_that_comes_later_and_begins_earlier_changes_nothing():
    books = Books(Tariff(TENANT, {"main": (card(1, 0),)}))
    books.book(sale(all_of("anna")))
    books.tariff = Tariff(TENANT, {"main": (card(1, 0), card(2, NOON - DAY))})

    assert books.book(sale(all_of("anna"), revision=2)) == ()
    [row] = books.book(sale(all_of("ben"), revision=3))[1:]
    assert (row.affiliate_id, row.rate_card_version, row.amount_minor) == ("ben", 1, 10_00)


def test_an_order_without_a_card_stays_without():
    books = Books(Tariff(TENANT, {"main": ()}))
    books.book(sale(all_of("anna")))
    books.tariff = Tariff(TENANT, {"main": (card(1, 0),)})

    assert books.book(sale(all_of("anna"), revision=2)) == ()
    assert [(row.rate_card_version, row.reason) for row in books.rows] == [(0, "no_rule")]


def test_a_group_that_changes_later_changes_nothing():
    rules = (Rule("gold", 1, percent_bps=2000, when=Clause("affiliate", "group", "equals_to", ("gold",))), Rule("all", percent_bps=1000))
    books = Books(Tariff(TENANT, {"main": (card(1, 0, *rules),)}))
    books.book(sale(all_of("anna")))
    moved = {key: msgspec.structs.replace(member, group="") for key, member in MEMBERS.items()}
    books.around = msgspec.structs.replace(books.around, members=moved)
    books.book(sale(Credit("anna", "t", 1, 2), Credit("charlie", "t2", 1, 2), revision=2))

    assert books.earned() == {("anna", ""): 10_00, ("charlie", ""): 5_00}


def test_shares_may_be_paid_by_the_version_of_their_touch():
    """The version at the order's time says so; the old click came before it began."""
    cards = (card(1, 0), card(2, NOON - 2 * HOUR, priced_at="touch"))
    books = Books(Tariff(TENANT, {"main": cards}))
    books.book(sale(Credit("anna", "old", 1, 2), Credit("ben", "new", 1, 2)))

    assert [(row.affiliate_id, row.rate_card_version, row.amount_minor) for row in books.rows] == [("anna", 1, 5_00), ("ben", 2, 10_00)]


def test_a_coupons_class_a_stores_segment_and_the_country_are_kept():
    books = Books(Tariff(TENANT, {"main": (card(1, 0),)}))
    books.book(sale(all_of("anna")))
    books.around = Surroundings({}, {}, {}, {})
    books.book(sale(all_of("anna"), revision=2))

    assert books.setting is not None
    assert (books.setting.coupon_classes, books.setting.store_segment, books.setting.country) == (("voucher",), "outlet", "DE")
    assert books.setting.partner("main", "anna").group == "gold"


def test_a_chain_of_recruiters_ends_where_it_comes_round():
    books = Books(Tariff(TENANT, {"main": (card(1, 0, recruiter_bps=(1000, 1000, 1000, 1000)),)}))
    books.book(sale(all_of("anna")))

    assert books.earned() == {("anna", ""): 10_00, ("ben", "recruiter:1"): 1_00, ("dora", "recruiter:2"): 1_00}


def test_recruiters_lose_theirs_with_a_refund_and_with_the_credit():
    books = Books(Tariff(TENANT, {"main": (card(1, 0, recruiter_bps=(1000,)),)}))
    books.book(sale(all_of("anna")))
    back = Refund("R", NORTH, "O-1", "R", "EUR", NOON + 1, NOON + 1, (), 50_00)
    [_, theirs] = books.book(sale(all_of("anna"), refunds=(back,)))
    assert (theirs.kind, theirs.part, theirs.amount_minor) == ("refund", "recruiter:1", -50)

    books.book(sale(all_of("charlie"), refunds=(back,), revision=2))
    assert books.earned() == {("charlie", ""): 5_00}


# --- steps and limits ----------------------------------------------------------------------------------------------------


def test_a_step_of_a_tier_pays_in_place_of_the_rules_own_rates():
    tiered = Rule("p", percent_bps=500, tiers=Tiers("orders", "month", (Tier(2, percent_bps=800), Tier(10, fixed_minor=25_00))))
    for step, minor in ((0, 5_00), (1, 8_00), (2, 25_00)):
        books = Books(Tariff(TENANT, {"main": (card(1, 0, tiered),)}), standing=Standing((("anna", "p", step),)))
        books.book(sale(all_of("anna")))
        prepared = prepare(sale(all_of("anna")), [], books.tariff, books.setting or Setting())

        assert books.earned() == {("anna", ""): minor}
        assert [(party.affiliate_id, party.revenue_minor, party.commission_minor) for party in prepared.parties] == [("anna", 100_00, 5_00)]


def test_a_step_is_its_affiliates_own():
    tiered = Rule("p", percent_bps=500, tiers=Tiers("orders", "month", (Tier(2, percent_bps=800),)))
    books = Books(Tariff(TENANT, {"main": (card(1, 0, tiered),)}), standing=Standing((("anna", "p", 1), ("ben", "p", 0))))
    books.book(sale(Credit("anna", "t", 1, 2), Credit("ben", "t2", 1, 2)))

    assert books.earned() == {("anna", ""): 4_00, ("ben", ""): 2_50}


def test_what_a_limit_cut_comes_when_there_is_room():
    books = Books(
        Tariff(TENANT, {"main": (card(1, 0, limits=(Limit("m", 50_00, "month"),)),)}), standing=Standing(left=(("m", "anna", 0),))
    )
    books.book(sale(all_of("anna")))
    books.standing = Standing(left=(("m", "anna", 7_00),))
    books.book(sale(all_of("anna")))

    assert [(row.amount_minor, row.capped_minor, row.limit_id, row.reason) for row in books.rows] == [
        (0, 10_00, "m", "cap_reached"),
        (7_00, -7_00, "m", ""),
    ]
    assert books.target(sale(all_of("anna"))).relied_on == Standing(left=(("m", "anna", 7_00),))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("left_minor", [0, 6_00, 50_00])
@pytest.mark.parametrize("refunds", [(), (Refund("e-r", NORTH, "A-1", "r", "EUR", NOON, NOON, (), 50_00),)])
def test_a_price_is_the_same_where_nobody_measured_commissions(step: int, left_minor: int, refunds: tuple[Refund, ...]) -> None:
    tiered = Rule("p", percent_bps=500, tiers=Tiers("orders", "month", (Tier(2, percent_bps=800),)))
    tariff = Tariff(TENANT, {"main": (card(1, 0, tiered, limits=(Limit("m", 50_00, "month"),)),)})
    facts, standing = sale(all_of("anna"), refunds=refunds), Standing((("anna", "p", step),), (("m", "anna", left_minor),))
    setting = frozen(None, facts, (), tariff, around())

    measured, plain = (prepare(facts, (), tariff, setting, counts_commission=counts) for counts in (True, False))

    assert target_of(plain, standing) == target_of(measured, standing)
    assert [party.commission_minor for party in plain.parties] == [0] != [party.commission_minor for party in measured.parties]
    assert [party.revenue_minor for party in plain.parties] == [party.revenue_minor for party in measured.parties]


# --- currencies ----------------------------------------------------------------------------------------------------------


def test_a_commission_is_converted_as_a_whole_and_keeps_where_it_came_from():
    """10 % of 99.99 USD is 9.99 USD; at 1/1.0834 that is 9.2209…: 9.22 EUR."""
    books = Books(Tariff(TENANT, {"main": (card(1, 0, settle_in="EUR"),)}), DOLLAR)
    [row] = books.book(sale(all_of("anna"), currency="USD", net=99_99))

    assert (row.amount_minor, row.currency, row.base_minor) == (9_22, "EUR", 92_29)
    assert (row.original_minor, row.original_currency, row.rate, row.rate_source, row.rate_date) == (
        9_99,
        "USD",
        "1/1.0834",
        "ecb",
        "2026-11-20",
    )


def test_the_first_rate_stays():
    books = Books(Tariff(TENANT, {"main": (card(1, 0, settle_in="EUR"),)}), DOLLAR)
    books.book(sale(all_of("anna"), currency="USD"))
    books.around = around(msgspec.structs.replace(DOLLAR, value="2"))
    assert books.book(sale(all_of("anna"), currency="USD", revision=2)) == ()

    pound = Rate("EUR", "GBP", "0.9", "ecb", date(2026, 11, 20))
    books = Books(Tariff(TENANT, {"main": (card(1, 0, settle_in="GBP"),)}), pound)
    books.book(sale(all_of("anna")))
    books.around = around(msgspec.structs.replace(pound, value="2"))
    assert books.book(sale(all_of("anna"), revision=2)) == ()
    assert books.earned() == {("anna", ""): 9_00}


def test_without_a_rate_nothing_is_paid_until_there_is_one():
    books = Books(Tariff(TENANT, {"main": (card(1, 0, settle_in="EUR"),)}))
    books.book(sale(all_of("anna"), currency="USD"))
    books.around = around(DOLLAR)
    books.book(sale(all_of("anna"), currency="USD"))

    assert [(row.amount_minor, row.currency, row.reason) for row in books.rows] == [(0, "USD", "currency_not_supported"), (9_23, "EUR", "")]


@pytest.mark.parametrize("settle_in", ["", "EUR"])
def test_a_fixed_amount_is_worth_the_same_abroad(settle_in):
    """5.00 EUR is 5.417 USD: 5.42, and back 5.00 EUR."""
    books = Books(Tariff(TENANT, {"main": (card(1, 0, Rule("f", fixed_minor=5_00, per="order"), settle_in=settle_in),)}), DOLLAR)
    [row] = books.book(sale(all_of("anna"), currency="USD"))

    assert (row.amount_minor, row.currency) == ((5_00, "EUR") if settle_in else (5_42, "USD"))


def test_a_limit_binds_an_order_in_another_currency():
    """1.00 EUR is left: 1.0834 USD, rounded down."""
    limited = card(1, 0, limits=(Limit("m", 1_00, "month"),))
    books = Books(Tariff(TENANT, {"main": (limited,)}), DOLLAR)
    [row] = books.book(sale(all_of("anna"), currency="USD"))
    [use] = books.target(sale(all_of("anna"), currency="USD")).uses

    assert (row.amount_minor, row.capped_minor, row.limit_id) == (1_08, 8_92, "m")
    assert (use.asked_minor, use.granted_minor) == (9_24, 1_00)


# --- the hash ------------------------------------------------------------------------------------------------------------


def test_the_hash_of_a_pricing_covers_facts_setting_standing_and_the_cards():
    tariff, other = Tariff(TENANT, {"main": (card(1, 0),)}), Tariff(TENANT, {"main": (card(1, 0, Rule("x", percent_bps=1)),)})
    setting = frozen(None, sale(all_of("anna")), [], tariff, around())
    hashes = {
        pricing_hash("f", setting, Standing(), tariff),
        pricing_hash("g", setting, Standing(), tariff),
        pricing_hash("f", msgspec.structs.replace(setting, country="AT"), Standing(), tariff),
        pricing_hash("f", setting, Standing((("anna", "p", 1),)), tariff),
        pricing_hash("f", setting, Standing(), other),
    }

    assert len(hashes) == 5
    assert pricing_hash("f", setting, Standing(), tariff) in hashes
