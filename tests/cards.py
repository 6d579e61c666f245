"""A rate card that says everything a card can say."""

from core.catalogue import Bonus, Clause, Limit, RateCard, Rule, Tier, Tiers

GOLD = Clause("affiliate", "group", "equals_to", ("gold",))
ACME = Clause("item", "brand", "in", ("Acme", "Zeta, Ltd"))
TIER = Clause("order", "loyalty_tier", "equals_to", ("gold",))
NESTED = Clause(any=(GOLD, Clause(all=(ACME, TIER))))
WHOLE = RateCard(
    "north",
    "main",
    1,
    0,
    30,
    (
        Rule("clicks", fixed_minor=5, per="click", subject="click", when=GOLD),
        Rule(
            "push", 5, 800, 100, "order", ("Shoes",), ("S, 1",), "new", ("firms",), when=Clause(all=(ACME, NESTED, TIER)), most_minor=5_000
        ),
        Rule("base", percent_bps=800, tiers=Tiers("revenue", "quarter", (Tier(100_000, 900), Tier(200_000, 1_000)), retroactive=True)),
    ),
    priced_at="touch",
    pays_on=("tax", "shipping"),
    minimum_order_minor=1_000,
    limits=(Limit("budget", 1_000_000, "month", True), Limit("each", 50_000, "week", rules=("base", "push"))),
    bonuses=(Bonus("fifty", "orders", "month", 50, 10_000), Bonus("rich", "commission", "lifetime", 1_000_000, 1)),
    recruiter_bps=(500, 0, 25),
    recruiter_of="revenue",
    settle_in="USD",
    fx_rounding="half_even",
)
