"""The demo world's totals: what the product stored against an oracle that shares no code with it, and against literals.

The product's side is read by SQL of this file alone, straight from its tables. Who earned which order is the same whatever day the demo
is loaded on; what is paid by the month, such as tiers and limits, follows the calendar.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import text

from core.clock import DAY, parse_instant
from core.settings import Settings
from fairshare.demo.facts import FACTS_SECRET, facts_of
from fairshare.demo.load import load_demo
from fairshare.demo.world import build_world
from payouts.outcomes import Report, report, shares_bps
from payouts.simulate import Simulation, simulate
from payouts.tariffs import tariff_of
from store.books import open_books
from store.events import EventsStore, Query
from tests.fairshare import oracle
from tests.fairshare.oracle_cards import held_until, too_small, why_nothing
from tests.fakes import NOON, FakeClock

ANCHOR = "2026-11-21"
ANOTHER_DAY = "2028-03-01"

RESULTS = {
    "north": {
        "credited": 633, "no_identity": 20, "outside_window": 20, "no_touch": 19, "unknown_click_id": 8, "invalid_touch": 6,
        "test_event": 6, "affiliate_not_active": 5, "before_click": 3,
    },
    "pages": {"credited": 232, "no_touch": 8, "outside_window": 8, "no_identity": 6, "unknown_click_id": 3, "test_event": 3},
    "bazaar": {"credited": 188, "no_touch": 16, "outside_window": 8, "no_identity": 4, "unknown_click_id": 2, "test_event": 2},
}  # fmt: skip
"""Orders by result."""

CREDITED = {
    ("north", "anna", "EUR"): (132, 26975_89, 24276_19),
    ("north", "ben", "EUR"): (152, 30075_76, 28901_54),
    ("north", "dora", "EUR"): (65, 13013_05, 12719_33),
    ("north", "emil", "EUR"): (67, 13110_61, 10942_88),
    ("north", "gustav", "EUR"): (64, 11133_86, 9992_39),
    ("north", "ivo", "EUR"): (61, 14923_80, 13669_31),
    ("north", "jonas", "EUR"): (42, 8671_70, 7871_95),
    ("north", "leo", "EUR"): (50, 10376_52, 10096_13),
    ("pages", "ben", "GBP"): (32, 677_92, 659_45),
    ("pages", "charlie", "GBP"): (53, 1061_85, 1015_97),
    ("pages", "dora", "GBP"): (92, 2060_28, 1989_32),
    ("pages", "hana", "GBP"): (55, 1071_70, 997_80),
    ("bazaar", "ben", "EUR"): (33, 2419_07, 2278_44),
    ("bazaar", "emil", "EUR"): (33, 2112_56, 2112_56),
    ("bazaar", "flora", "EUR"): (93, 6556_68, 6187_30),
    ("bazaar", "ivo", "EUR"): (22, 1847_32, 1777_58),
    ("bazaar", "leo", "EUR"): (7, 551_50, 535_75),
}
"""Credited orders, their net as sold, and what refunds left of it."""

COMMISSIONS = {
    ("north", "anna", "EUR"): {"paid": 1097_21, "payable": 131_05, "pending": 306_04},
    ("north", "ben", "EUR"): {"paid": 1217_87, "payable": 73_52, "pending": 433_09},
    ("north", "dora", "EUR"): {"paid": 610_83, "payable": 30_56, "pending": 189_73},
    ("north", "emil", "EUR"): {"paid": 630_00, "payable": 57_30, "pending": 50_09},
    ("north", "gustav", "EUR"): {"paid": 513_31, "payable": 39_84, "pending": 81_39},
    ("north", "ivo", "EUR"): {"paid": 651_92, "payable": 51_50, "pending": 155_29},
    ("north", "jonas", "EUR"): {"paid": 472_93, "approved": -4_19},
    ("north", "leo", "EUR"): {"paid": 346_85, "payable": 70_25, "pending": 332_65},
    ("pages", "ben", "EUR"): {"pending": 21_43},
    ("pages", "ben", "GBP"): {"approved": 41_72},
    ("pages", "charlie", "EUR"): {"pending": 59_68},
    ("pages", "charlie", "GBP"): {"approved": 60_07, "pending": 10_00},
    ("pages", "dora", "EUR"): {"pending": 89_79},
    ("pages", "dora", "GBP"): {"approved": 112_78, "pending": 5_00},
    ("pages", "hana", "EUR"): {"pending": 36_17},
    ("pages", "hana", "GBP"): {"approved": 73_92},
    ("bazaar", "ben", "EUR"): {"approved": 161_51, "pending": 75_07},
    ("bazaar", "emil", "EUR"): {"approved": 154_23, "pending": 72_46},
    ("bazaar", "flora", "EUR"): {"approved": 382_79, "pending": 213_39},
    ("bazaar", "ivo", "EUR"): {"approved": 168_22, "pending": 5_52},
    ("bazaar", "leo", "EUR"): {"approved": 28_46, "pending": 29_80},
}

LEDGER = {
    ("north", "EUR"): {"expense": -7539_03, "pending": 1548_28, "approved": -4_19, "payable": 454_02, "paid": 5540_92},
    ("pages", "EUR"): {"expense": -207_07, "pending": 207_07},
    ("pages", "GBP"): {"expense": -303_49, "pending": 15_00, "approved": 288_49},
    ("bazaar", "EUR"): {"expense": -1291_45, "pending": 396_24, "approved": 895_21},
}
"""``expense`` is what was granted less what was taken back."""

LEDGER_OF_ANOTHER_DAY = {
    ("north", "EUR"): {"expense": -7218_99, "pending": 1311_21, "approved": -4_19, "payable": 468_60, "paid": 5443_37},
    ("pages", "EUR"): {"expense": -207_05, "pending": 207_05},
    ("pages", "GBP"): {"expense": -310_06, "pending": 15_00, "approved": 295_06},
    ("bazaar", "EUR"): {"expense": -1290_82, "pending": 398_63, "approved": 892_19},
}
"""The same where the demo ends with February of a leap year: other orders share a month."""

BATCHES = [("settled", 8, 3771_04), ("settled", 7, 1769_88), ("prepared", 7, 454_02)]
"""North's: state, payouts, total, in the order in which they were prepared."""

PLACE = ("tenant_id", "order_id", "line_id", "affiliate_id", "part", "currency", "hold_until")
"""Where a commission belongs: a bonus has an order id of its own, a recruiter a part."""

DECISIONS = Query(
    "decisions_in_force",
    "SELECT tenant_id, order_id, result, credits.affiliate_id, credits.touch_id, credits.numerator, credits.denominator, programme_id, "
    "policy_version FROM decisions ORDER BY tenant_id, order_id, revision DESC LIMIT 1 BY tenant_id, order_id",
)


TABLES_WITH_ROWS = Query(
    "tables_with_rows",
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND name <> 'schema_migrations' AND total_rows > 0 ORDER BY name",
)


class Stored(NamedTuple):
    """What the product has in its tables after the load; each list holds plain rows."""

    decisions: list[tuple[Any, ...]]
    commissions: list[Any]
    postings: list[Any]
    payouts: list[Any]
    claims: list[Any]
    accruals: list[Any]
    simulated: list[Simulation]
    reports: list[Report]


def facts_on(day: str) -> oracle.Facts:
    """The raw dump, as ``python -m fairshare.demo --json --day DAY`` prints it."""
    facts = facts_of(build_world(parse_instant(f"{day}T00:00:00Z"), FACTS_SECRET))
    plain: oracle.Facts = json.loads(msgspec.json.encode(facts))
    return plain


@pytest.fixture(scope="module")
def facts() -> oracle.Facts:
    return facts_on(ANCHOR)


@pytest.fixture(scope="module")
def expected(facts: oracle.Facts) -> oracle.Books:
    return oracle.book(facts)


@pytest.fixture(scope="module")
def stored(chdb_store: EventsStore, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """The demo world through the product, loaded at noon of the anchor day, and read while nobody else uses the stores."""
    for (table,) in chdb_store.select(TABLES_WITH_ROWS):
        chdb_store.command(f"TRUNCATE TABLE {table}")
    data = tmp_path_factory.mktemp("totals")
    path = data / "books.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    books = open_books(f"sqlite:///{path}")
    load_demo(Settings(data=data, secret="the totals need a secret of their own"), books, chdb_store, FakeClock(NOON), lambda *_: None)
    simulated = [simulate(chdb_store, books, name, 0, NOON + DAY, tariff_of(books, name).cards) for name in RESULTS]
    reports = [report(books, chdb_store, name, 0, NOON + DAY) for name in RESULTS]
    with books.reading() as connection:
        yield Stored(
            [tuple(row) for row in chdb_store.select(DECISIONS)],
            *(
                list(connection.execute(text(statement)))
                for statement in (
                    "SELECT * FROM commissions",
                    "SELECT tenant_id, affiliate_id, currency, account, amount_minor FROM postings",
                    "SELECT b.prepared_at, b.state, p.payout_id, p.affiliate_id, p.currency, p.amount_minor FROM payouts p "
                    "JOIN batches b ON b.tenant_id = p.tenant_id AND b.batch_id = p.batch_id WHERE p.tenant_id = 'north'",
                    "SELECT payout_id, amount_minor FROM payout_lines WHERE tenant_id = 'north' AND live",
                    "SELECT tenant_id, order_id, refunded_minor, problem FROM accruals",
                )
            ),
            simulated,
            reports,
        )
    books.close()


def summed(rows: list[Any], *names: str) -> dict[tuple[str, ...], int]:
    """Amounts by the fields named, zero sums left out."""
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for row in rows:
        sums[tuple(getattr(row, name) for name in names)] += row.amount_minor
    return {group: amount for group, amount in sums.items() if amount}


# --- the oracle, against numbers a person can check ------------------------------------------------------------------


def test_the_oracle_gives_these_totals(facts, expected):
    assert results(expected.outcomes) == RESULTS
    assert oracle.credited(facts, expected) == CREDITED
    assert oracle.commissions_by_state(expected) == COMMISSIONS
    assert oracle.ledger(expected) == LEDGER
    assert [(batch["state"], len(batch["payouts"]), sum(batch["payouts"].values())) for batch in expected.batches] == BATCHES


def test_on_another_day_the_same_orders_are_credited_and_months_end_elsewhere():
    facts = facts_on(ANOTHER_DAY)
    books = oracle.book(facts)

    assert results(books.outcomes) == RESULTS
    assert oracle.credited(facts, books) == CREDITED
    assert oracle.ledger(books) == LEDGER_OF_ANOTHER_DAY


def results(outcomes: dict[oracle.OrderKey, oracle.Outcome]) -> dict[str, dict[str, int]]:
    counted = Counter((tenant_id, outcome.result) for (tenant_id, _), outcome in outcomes.items())
    return {tenant_id: {result: count for (whose, result), count in counted.items() if whose == tenant_id} for tenant_id in RESULTS}


# --- the product, against the oracle ---------------------------------------------------------------------------------


def test_every_order_has_the_winner_or_the_reason_that_the_oracle_gives(stored, expected):
    found = {}
    for tenant_id, order_id, result, affiliates, touches, numerators, denominators, programme_id, version in stored.decisions:
        assert list(zip(numerators, denominators, strict=True)) in ([], [(1, 1)]), order_id
        found[tenant_id, order_id] = oracle.Outcome(result, *(affiliates or [""]), *(touches or [""]), programme_id, version)

    assert {order: (found.get(order), outcome) for order, outcome in expected.outcomes.items() if found.get(order) != outcome} == {}
    assert len(found) == 1_200


def test_credited_orders_and_their_net_are_the_oracles(stored, facts):
    sold = {(order["tenant_id"], order["order_id"]): sum(line["net_minor"] for line in order["lines"]) for order in facts["orders"]}
    currency = {tenant["tenant_id"]: tenant["currency"] for tenant in facts["catalogue"]["tenants"]}
    back = {(row.tenant_id, row.order_id): row.refunded_minor for row in stored.accruals}
    sums: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for tenant_id, order_id, _, affiliates, *_ in stored.decisions:
        for affiliate_id in affiliates:
            who, order = (tenant_id, affiliate_id, currency[tenant_id]), (tenant_id, order_id)
            count, gross, net = sums.get(who, (0, 0, 0))
            sums[who] = (count + 1, gross + sold[order], net + sold[order] - back[order])

    assert sums == CREDITED
    assert {row.problem for row in stored.accruals} == {""}


def test_every_line_earns_what_the_oracle_says(stored, expected):
    found = summed(stored.commissions, *PLACE)
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for row in expected.commissions:
        sums[tuple(row[name] for name in PLACE)] += row["amount_minor"]

    assert found == {place: amount for place, amount in sums.items() if amount}
    assert len(found) > 1_500
    assert {row.part for row in stored.commissions} == {"", "recruiter:1", "recruiter:2"}
    assert {row.tenant_id for row in stored.commissions if row.subject == "bonus"} == set(RESULTS)


def test_every_line_is_priced_by_the_same_version_and_rule_and_held_as_long(stored, expected):
    found = {
        (row.tenant_id, row.order_id, row.line_id): (row.rate_card_version, row.rule_id, row.hold_until)
        for row in stored.commissions
        if row.affiliate_id and row.subject == "order" and not row.part
    }
    told = {
        (*order, line_id): (sale.card["version"], rule["rule_id"] if rule and not too_small(sale) else "", held_until(sale))
        for order, sale in expected.sales.items()
        for line_id, rule in sale.rules.items()
    }

    assert found == told


def test_every_line_that_earns_nothing_says_why(stored, facts, expected):
    earned = summed(stored.commissions, "tenant_id", "order_id", "line_id")
    last = {}
    for row in sorted(stored.commissions, key=lambda row: int(row.idempotency_key.rpartition(":")[2])):
        if row.subject == "order" and not row.part:
            last[row.tenant_id, row.order_id, row.line_id] = row.reason
    told = {}
    for order in facts["orders"]:
        key = (order["tenant_id"], order["order_id"])
        for line in order["lines"]:
            sale = expected.sales.get(key)
            nobody = "test" if order["test"] else "unattributed"
            told[(*key, line["line_id"])] = why_nothing(line, sale, expected.granted[key]) if sale else nobody

    found = {line: reason for line, reason in last.items() if line not in earned}
    assert found == {line: reason for line, reason in told.items() if line not in earned}
    assert len(found) > 300


def test_commissions_by_state_are_the_oracles(stored):
    found: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for (tenant_id, affiliate_id, currency, state), amount in summed(
        stored.commissions, "tenant_id", "affiliate_id", "currency", "state"
    ).items():
        found[tenant_id, affiliate_id, currency][state] = amount

    assert found == COMMISSIONS


def test_the_ledgers_balances_are_the_oracles(stored):
    found: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for (tenant_id, currency, account), amount in summed(stored.postings, "tenant_id", "currency", "account").items():
        found[tenant_id, currency][account] = amount
    granted = summed([row for row in stored.commissions if row.amount_minor > 0], "tenant_id", "currency")
    taken_back = summed([row for row in stored.commissions if row.amount_minor < 0], "tenant_id", "currency")

    assert {whose: accounts["expense"] for whose, accounts in found.items()} == {whose: -amount for whose, amount in granted.items()}
    assert {whose: accounts["reversed"] for whose, accounts in found.items()} == {whose: -amount for whose, amount in taken_back.items()}
    net = {whose: accounts | {"expense": accounts["expense"] + accounts.pop("reversed")} for whose, accounts in found.items()}
    assert net == LEDGER


def test_each_affiliates_accounts_equal_its_commissions_by_state(stored):
    found: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (tenant_id, affiliate_id, currency, account), amount in summed(
        stored.postings, "tenant_id", "affiliate_id", "currency", "account"
    ).items():
        found[tenant_id, affiliate_id, currency]["expense" if account == "reversed" else account] += amount

    assert found == {who: states | {"expense": -sum(states.values())} for who, states in COMMISSIONS.items()}


def test_the_batches_pay_what_the_oracle_says(stored, expected):
    found: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for payout in stored.payouts:
        found[payout.prepared_at, payout.state][payout.affiliate_id] = payout.amount_minor

    assert found == {(batch["prepared_at"], batch["state"]): batch["payouts"] for batch in expected.batches}
    assert {payout.payout_id: payout.amount_minor for payout in stored.payouts} == {
        payout_id: amount for (payout_id,), amount in summed(stored.claims, "payout_id").items()
    }


# --- simulated, against what was booked ------------------------------------------------------------------------------


def test_simulating_the_cards_in_force_gives_exactly_what_was_booked(stored):
    booked = {key: sum(states.values()) for key, states in COMMISSIONS.items()}
    for found in stored.simulated:
        own = {key: amount for key, amount in booked.items() if key[0] == found.tenant_id}
        assert {(found.tenant_id, row.affiliate_id, row.currency): row.before_minor for row in found.rows} == own
        assert [row for row in found.rows if row.difference_minor or row.orders_before != row.orders_after] == []
        assert {name: pair for name, pair in found.outcomes.items() if pair[0] != pair[1]} == {}
        assert found.orders + found.others == sum(RESULTS[found.tenant_id].values())
        assert (found.undecided, found.waiting) == (0, 0)


def test_every_order_of_the_demo_earned_or_has_a_reason(stored):
    for found, simulated in zip(stored.reports, stored.simulated, strict=True):
        assert found.orders == sum(found.outcomes.values()) == sum(RESULTS[found.tenant_id].values())
        assert sum(shares_bps(found.outcomes).values()) == 100_00
        assert found.outcomes["earned"] == simulated.outcomes["earned"][0]
