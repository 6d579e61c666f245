"""The cast of the route tests: two merchants that must never see each other, and the people around them."""

import hashlib

from argon2 import PasswordHasher

from core.catalogue import (
    Affiliate,
    ApiKey,
    Catalogue,
    Clause,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Rule,
    Store,
    Tenant,
    User,
)
from core.clock import DAY, system_clock

PASSWORD = "correct horse battery"
TOKENS = {"north": "north-key-for-tests-0000000000000000", "south": "south-key-for-tests-0000000000000000"}
LONG_AGO = system_clock() - 400 * DAY

_HASH = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)


def _user(email: str, role: str, tenant: str = "", affiliate: str = "") -> User:
    return User(email, email.split("@")[0].title(), role, _HASH, tenant, affiliate)  # type: ignore[arg-type]


def _member(tenant: str, affiliate: str) -> Membership:
    return Membership(tenant, "main", affiliate, "approved", LONG_AGO, LONG_AGO)


def catalogue(hold_days: int = 0) -> Catalogue:
    """North pays 10 % of the net, hats 5 %, and 4.00 EUR for a lead named trial; south pays 2.00 EUR an order.

    Anna works for both, Bert for north only.
    """
    return Catalogue(
        tenants=(Tenant("north", "North Shoes", "EUR"), Tenant("south", "South Books", "EUR")),
        stores=(Store("north", "berlin", "Berlin till", "pos"), Store("north", "shop", "Web shop", "web", host="north.example")),
        programmes=(
            Programme("north", "main", "North affiliates", "https://north.example/", ("north.example",)),
            Programme("south", "main", "South affiliates", "https://south.example/", ("south.example",)),
        ),
        affiliates=(
            Affiliate("anna", "Anna's Blog", "anna@blog.example", "https://blog.example", "Anna Blogger", "DE89370400440532013000"),
            Affiliate("bert", "Bert Deals", "bert@deals.example", "https://deals.example", "Bert Dealer", "GB82WEST12345698765432"),
        ),
        memberships=(_member("north", "anna"), _member("north", "bert"), _member("south", "anna")),
        links=(
            Link("anna-north", "north", "main", "anna", "https://north.example/shoes?color=red#top"),
            Link("anna-south", "south", "main", "anna", "https://south.example/"),
            Link("bert-north", "north", "main", "bert", "https://north.example/"),
        ),
        coupons=(Coupon("north", "BERT10", "main", "bert"),),
        policies=(Policy("north", "main", 1, LONG_AGO), Policy("south", "main", 1, LONG_AGO)),
        rate_cards=(
            RateCard(
                "north",
                "main",
                1,
                LONG_AGO,
                hold_days,
                (
                    Rule("hats", priority=10, percent_bps=500, categories=("hats",)),
                    Rule("base", percent_bps=1000),
                    Rule("trial", fixed_minor=4_00, per="lead", subject="lead", when=Clause("lead", "name", "equals_to", ("trial",))),
                ),
            ),
            RateCard("south", "main", 1, LONG_AGO, hold_days, (Rule("flat", fixed_minor=200, per="order"),)),
        ),
        users=(
            _user("ada@north.example", "analyst", "north"),
            _user("anna@blog.example", "affiliate", affiliate="anna"),
            _user("bert@deals.example", "affiliate", affiliate="bert"),
            _user("fiona@north.example", "finance", "north"),
            _user("frank@north.example", "finance", "north"),
            _user("mia@north.example", "merchant", "north"),
            _user("sam@south.example", "merchant", "south"),
        ),
        api_keys=tuple(
            ApiKey(f"{tenant}-tests", tenant, "tests", hashlib.sha256(token.encode()).hexdigest()) for tenant, token in TOKENS.items()
        ),
    )
