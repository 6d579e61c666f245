"""The demo's rate cards, as merchants write them, and the reference rates that one of them settles by. Pure.

North changed its card thirty days ago, from a plain one to one with everything; the bookshop pays in euros since then.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from core.catalogue import Bonus, Clause, Entity, Limit, Operator, RateCard, Rule, Tier, Tiers
from core.clock import DAY, Instant

RATES_CHANGED = 30
"""Days before the anchor when version 2 of north's rate card begins, and of the bookshop's."""
_RATES_FROM = 97
"""Days before the anchor of the oldest reference rates: a week before the story, so that its first day has one."""


def rate_cards(anchor: Instant) -> list[RateCard]:
    """All versions of every programme's card."""
    since, changed = anchor - 120 * DAY, anchor - RATES_CHANGED * DAY
    return [_north_before(since), _north_now(changed), _pages_before(since), _pages_now(changed), _linen(since), _kiln(since)]


def _when(entity: Entity, attribute: str, operator: Operator, *values: str) -> Clause:
    return Clause(entity, attribute, operator, values)


_GIFT_CARDS = Rule("gift-cards", 1, percent_bps=0, categories=("gift cards",))


def _north_before(since: Instant) -> RateCard:
    """The plain card of old."""
    return RateCard(
        "north", "main", 1, since, 14,
        (
            _GIFT_CARDS, Rule("big-tent", 10, fixed_minor=25_00, per="unit", skus=("N-TENT-4P",)),
            Rule("shoes", 20, percent_bps=800, categories=("shoes",)), Rule("everything", percent_bps=500),
        ),
    )  # fmt: skip


def _north_now(since: Instant) -> RateCard:
    advice = Clause(
        any=(
            _when("order", "channel", "equals_to", "call"),
            Clause(
                all=(_when("order", "store_segment", "equals_to", "retail"), _when("order", "value", "greater_than_or_equal", "150.00"))
            ),
        )
    )
    testers = Tiers("orders", "month", (Tier(5, percent_bps=800), Tier(9, percent_bps=950)))
    newcomers = Tiers("revenue", "month", (Tier(600_00, percent_bps=800), Tier(1200_00, percent_bps=900)), retroactive=True)
    return RateCard(
        "north", "main", 2, since, 14,
        (
            _GIFT_CARDS, Rule("last-season", 2, percent_bps=0, skus=("N-JACK-DN",)),
            Rule("big-tent", 10, fixed_minor=25_00, per="unit", skus=("N-TENT-4P",), most_minor=40_00),
            Rule("shoes", 20, percent_bps=900, categories=("shoes",)),
            Rule("testers", 30, percent_bps=650, when=_when("affiliate", "group", "equals_to", "testers"), tiers=testers),
            Rule("advice", 40, percent_bps=600, when=advice, most_minor=12_00),
            Rule("deal-codes", 45, percent_bps=250, when=_when("order", "coupon_classes", "equals_to", "deal")),
            Rule("new-customers", 50, percent_bps=725, customer_status="new", tiers=newcomers),
            Rule("everything", percent_bps=450),
        ),
        limits=(
            Limit("newcomers-each", 120_00, "month", rules=("new-customers",)),
            Limit("advice-budget", 55_00, "month", shared=True, rules=("advice",)),
        ),
        bonuses=(Bonus("twenty-orders", "orders", "month", 20, 30_00),),
        recruiter_bps=(1000, 500),
    )  # fmt: skip


def _pages_before(since: Instant) -> RateCard:
    """In pounds, with better rates for a good month, and an end to what a month costs."""
    better = Tiers("orders", "month", (Tier(6, percent_bps=700), Tier(12, percent_bps=850)), retroactive=True)
    return RateCard(
        "pages", "books", 1, since, 30, (*_books(), Rule("everything", percent_bps=600, tiers=better)),
        minimum_order_minor=7_50, limits=(Limit("monthly-most", 48_00, "month"),),
        bonuses=(Bonus("well-read", "revenue", "month", 300_00, 5_00),), recruiter_bps=(1000, 500),
    )  # fmt: skip


def _pages_now(since: Instant) -> RateCard:
    """In euros, since most of its affiliates have their accounts there."""
    return RateCard(
        "pages", "books", 2, since, 30, (*_books(), Rule("everything", percent_bps=750)),
        minimum_order_minor=7_50, bonuses=(Bonus("well-read", "revenue", "month", 300_00, 5_00),),
        recruiter_bps=(1000, 500), settle_in="EUR", fx_rounding="half_even",
    )  # fmt: skip


def _books() -> tuple[Rule, ...]:
    readers = Clause(
        any=(
            _when("order", "store", "equals_to", "oxford"),
            Clause(all=(_when("affiliate", "group", "in", "readers"), _when("order", "value", "greater_than", "25.00"))),
        )
    )
    return (
        Rule("stationery", 1, percent_bps=0, categories=("stationery",)),
        Rule("art", 10, percent_bps=500, fixed_minor=75, per="unit", categories=("art",), most_minor=3_00),
        Rule("children", 20, percent_bps=1000, categories=("children",)),
        Rule("first-order", 30, fixed_minor=2_50, per="order", customer_status="new"),
        Rule("readers", 40, percent_bps=800, when=readers),
    )


def _linen(since: Instant) -> RateCard:
    return RateCard(
        "bazaar", "linen", 1, since, 30,
        (
            Rule("sale", 1, percent_bps=0, categories=("kitchen > sale",)),
            Rule("bedding", 20, percent_bps=1200, categories=("bedding",), most_minor=24_00),
            Rule(
                "everything", percent_bps=1000,
                tiers=Tiers("revenue", "month", (Tier(400_00, percent_bps=1100), Tier(900_00, percent_bps=1250))),
            ),
        ),
        pays_on=("shipping",), minimum_order_minor=20_00, recruiter_bps=(200,), recruiter_of="revenue",
    )  # fmt: skip


def _kiln(since: Instant) -> RateCard:
    """Pays for customers whose status is known, and for nobody else but vases."""
    plates = _when("item", "quantity", "greater_than_or_equal", "2")
    return RateCard(
        "bazaar", "kiln", 1, since, 14,
        (
            Rule("vases", 20, fixed_minor=4_00, per="unit", categories=("vases",)),
            Rule("sets", 25, percent_bps=1100, categories=("tableware",), customer_status="new", when=plates),
            Rule("new", 30, percent_bps=900, customer_status="new"),
            Rule("returning", 30, percent_bps=400, customer_status="returning"),
        ),
        limits=(Limit("vases-budget", 60_00, "month", shared=True, rules=("vases",)),),
        bonuses=(Bonus("fired-up", "commission", "month", 40_00, 10_00),),
    )  # fmt: skip


def reference_rates(anchor: Instant) -> bytes:
    """A file as the European Central Bank publishes it, of each working day before the anchor. The values are invented."""
    last = datetime.fromtimestamp(anchor / 1000, UTC).date()
    return "\n".join(("Date,USD,GBP", *_rates_of_days(last))).encode() + b"\n"


def _rates_of_days(last: date) -> Iterator[str]:
    """Newest first. Values wander by the distance to the anchor, so that another anchor has the same on its days."""
    for ago in range(_RATES_FROM):
        on = last - timedelta(days=ago + 1)
        if on.weekday() < 5:
            yield f"{on.isoformat()},1.0{840 + ago * 37 % 61 - ago // 3:03d},0.8{6900 + ago * 53 % 89 * 3 + ago * 4}"
