"""docs/money.md is true: each rate card on it is read as a catalogue file, each order below it is priced and booked, to the cent.

What the figures should be was worked out by hand, from the words of the page.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from shutil import copy
from typing import NamedTuple, get_args

import pytest
from sqlalchemy import Connection

from core.catalogue import RateCard, Tenant
from core.catalogue_tables import BY_TABLE
from core.clock import DAY, HOUR, Instant
from core.credit import Credit
from core.events import Line, Order, Refund, RefundLine
from core.leads import name_of
from core.money import format_amount, parse_amount
from fairshare.catalog import import_into
from payouts.accounts import Standing
from payouts.bonuses import due
from payouts.booking import book
from payouts.leads import LINE
from payouts.orders import Facts, Tariff, Verdict
from payouts.pricing import prepare, target_of
from payouts.pricings import frozen
from payouts.rate_card import Reason
from payouts.rate_words import card_sentences
from payouts.rates import import_rates
from payouts.setting import Contact, Setting
from payouts.standing import record, standing_of
from payouts.surroundings import read_surroundings
from payouts.traffic import DaySetting, Group, as_json, counts_of, dues, granted, order_id_of
from store.books import Books, open_books
from store.catalogue import find, rate_cards_of
from store.commissions import Commission, Kind
from store.standing import waiting
from store.traffic import TrafficDay
from tests.fakes import NOON, FakeClock
from tests.people import NORTH

PAGE = (Path(__file__).parents[2] / "docs" / "money.md").read_text("utf-8")
HEADS = {"order": "| order | of | earns |\n|---|---|---|\n", "day": "| day | of Anna | earns |\n|---|---|---|\n", "said": "\n> "}
WORLD = """
[[tenant]]
id = "north"
name = "North Outdoor"
currency = "EUR"

[[segment]]
tenant = "north"
id = "firms"
name = "Companies"

[[segment.condition]]
field = "account_type"
values = ["b2b"]

[[programme]]
tenant = "north"
id = "main"
name = "North Outdoor partners"
landing_url = "https://www.north.example/"
hosts = ["north.example"]

[[coupon]]
tenant = "north"
code = "ANNA10"
programme = "main"
affiliate = "anna"
class = "newsletter"
"""
MEMBERS = {"anna": 'group = "gold"\nrecruited_by = "ben"\n', "ben": 'recruited_by = "zoe"\n', "zoe": ""}


class Example(NamedTuple):
    """A rate card of the page, in a currency, and one table below it."""

    place: str
    toml: str
    rows: list[list[str]]

    @property
    def currency(self) -> str:
        named = re.search(r"# The merchant's currency: (\w+)", self.toml)
        return named[1] if named else "EUR"

    def catalogue(self) -> str:
        people = "".join(
            f'[[affiliate]]\nid = "{name}"\nname = "{name}"\nemail = "{name}@blog.example"\n[[membership]]\ntenant = "north"\n'
            f'programme = "main"\naffiliate = "{name}"\nstatus = "approved"\napplied_at = 2026-01-01T00:00:00Z\n'
            f"approved_at = 2026-01-01T00:00:00Z\n{more}"
            for name, more in MEMBERS.items()
        )
        return WORLD.replace('"EUR"', f'"{self.currency}"') + people + "".join(map(completed, self.toml.split("[[rate_card]]")[1:]))


def completed(card: str) -> str:
    """What the page leaves out of every card, as it says."""
    given = card.partition("[[")[0]
    usual = {"version": "1", "effective_from": "2026-01-01T00:00:00Z", "hold_days": "30"}
    usual = {key: value for key, value in usual.items() if not re.search(f"^{key} = ", given, re.M)}
    lines = ['tenant = "north"', 'programme = "main"', *(f"{key} = {value}" for key, value in usual.items())]
    return "\n[[rate_card]]\n" + "\n".join(lines) + card


def examples(kind: str) -> Iterator[Example]:
    """Tables of one kind, each with the rate card that stands above it last."""
    place = toml = ""
    for part in re.split(r"(?m)^(#+ .*|```toml\n[^`]*```)$", PAGE):
        if part.startswith("#"):
            place = part.strip("# ")
        elif part.startswith("```"):
            toml = part.removeprefix("```toml\n").removesuffix("```")
        else:
            for number, table in enumerate(part.split(HEADS[kind])[1:], 1):
                rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n\n")[0].split("\n")]
                yield Example(f"{place} {number}", toml, rows)


ORDERS, DAYS, SAID = list(examples("order")), list(examples("day")), list(examples("said"))


# --- what the tables say ---------------------------------------------------------------------------------------------


def instant(words: str) -> Instant:
    """``20 Nov``, or ``20 Nov 2027``, at noon UTC."""
    day, month, *year = words.split()
    return int(datetime.strptime(f"{day} {month} {year[0] if year else 2026} 12", "%d %b %Y %H").replace(tzinfo=UTC).timestamp()) * 1000


def facts_of(row: Sequence[str], number: int, home: str) -> Facts:
    """An order in the page's words: ``3 Nov: Shoes 60.00 for 2 + 5.00; new; code ANNA10``, credited as ``anna 1/2 (on 1 Nov), ben 1/2``.

    Or a lead: ``4 Nov: lead trial``.
    """
    when, _, what = row[0].rpartition(": ")
    sold, *said = what.split("; ")
    at = instant(when) if when else NOON + number * HOUR
    facts = dict(word.partition(" ")[::2] for word in said)
    currency = facts.pop("in", home)
    order = Order(
        event_id=f"e{number}",
        tenant_id=NORTH,
        order_id=name_of(f"A-{number:02}") if sold.startswith("lead ") else f"A-{number:02}",
        currency=currency,
        occurred_at=at,
        received_at=at,
        lines=tuple(line_of(text, str(place), currency) for place, text in enumerate(sold.split(" + "), 1)),
        coupons=tuple(facts.pop("code").split()) if "code" in facts else (),
        tax_minor=parse_amount(facts.pop("tax", "0"), currency),
        shipping_minor=parse_amount(facts.pop("shipping", "0"), currency),
    )
    credits, contacts = credited(row[1], at)
    known = [facts.pop("order", ""), facts.pop("customer", "")]
    status = next((word for word in ("new", "returning", "lapsed") if facts.pop(word, None) is not None), "")
    verdict = Verdict(
        revision=1,
        programme_id="main",
        policy_version=1,
        result="credited",
        credits=credits,
        inputs_hash="",
        customer_status=status,  # type: ignore[arg-type]
        segments=tuple(facts.pop("segment", "").split()),
        order_number=int(known[0] or 0),
        first_ordered_at=instant(known[1].removeprefix("since ")) if known[1] else 0,
    )
    refunds = tuple(refund_of(order, facts.pop(word)) for word in ("back", "all") if word in facts)
    assert not facts, f"the page says {facts}, which no test reads"
    return Facts(order, verdict, refunds, contacts)


def line_of(text: str, line_id: str, currency: str) -> Line:
    """``Shoes > Trail 60.00 for 2 (S-1)``: category, net of all units, quantity, SKU; of ``lead trial`` the line that stands for it."""
    if text.startswith("lead "):
        return Line(LINE, 0, name=text.removeprefix("lead "))
    found = re.fullmatch(r"(?:(?P<category>[A-Za-z> ]+) )?(?P<net>[\d.]+)(?: for (?P<units>\d+))?(?: \((?P<sku>[\w-]+)\))?", text)
    assert found, f"{text!r} is no line"
    return Line(
        line_id,
        parse_amount(found["net"], currency),
        sku=found["sku"] or "",
        category=found["category"] or "",
        quantity=int(found["units"] or 1),
    )


def credited(text: str, at: Instant) -> tuple[tuple[Credit, ...], tuple[Contact, ...]]:
    credits, contacts = list[Credit](), list[Contact]()
    for name, share, touch in re.findall(r"(\w+)(?: (\d+/\d+))?(?: \(([^)]*)\))?(?:, |$)", text):
        part = Fraction(share or 1)
        credits.append(Credit(name, f"touch-{name}", part.numerator, part.denominator))
        told = dict(word.partition(" ")[::2] for word in touch.split(", ") if word)
        when = instant(told["on"]) if "on" in told else at - DAY
        contacts.append(Contact(f"touch-{name}", "click", when, country=told.get("from", "")))
    return tuple(credits), tuple(contacts)


def refund_of(order: Order, text: str) -> Refund:
    """``back 10.00``, ``back 10.00 of 2`` (a line), ``all back``."""
    amount, _, line_id = text.partition(" of ")
    net = None if amount == "back" else parse_amount(amount, order.currency)
    lines = (RefundLine(line_id, net or 0),) if line_id else ()
    at = order.occurred_at + 1
    return Refund(f"r-{order.order_id}", NORTH, order.order_id, "r", order.currency, at, at, lines, None if lines else net)


# --- what the product says -------------------------------------------------------------------------------------------


class Shop:
    """North's orders, booked one after the other, as accrual does."""

    def __init__(self, connection: Connection, tariff: Tariff) -> None:
        self.connection, self.tariff = connection, tariff
        self.facts: dict[str, Facts] = {}
        self.settings: dict[str, Setting] = {}
        self.rows: dict[str, list[Commission]] = {}
        self.bonuses: list[Commission] = []

    def sell(self, facts: Facts) -> None:
        """Book an order, and all those that it moves."""
        self.facts[facts.order.order_id] = facts
        self._book(facts)
        for _ in range(100):
            moved = waiting(self.connection, NORTH, 1)
            if not moved:
                return
            self._book(self.facts[moved[0].order_id])
        raise AssertionError("orders move each other without end")

    def _book(self, facts: Facts) -> None:
        tenant, cards, order_id = self.tariff.tenant, self.tariff.cards, facts.order.order_id
        posted = self.rows.setdefault(order_id, [])
        around = read_surroundings(self.connection, [facts], self.tariff)
        self.settings[order_id] = frozen(self.settings.get(order_id), facts, posted, self.tariff, around)
        prepared = prepare(facts, posted, self.tariff, self.settings[order_id])
        standing = standing_of(self.connection, tenant, prepared.placed, cards)
        target = target_of(prepared, standing)
        posted += book(facts, posted, target, NOON, "hash")
        touched = record(self.connection, tenant, prepared.placed, cards, standing, target.uses, NOON, target.rules)
        self.bonuses += due(self.connection, tenant, cards, touched, NOON)

    def earned(self, order_id: str) -> str:
        """As the page says it: ``anna 8.00 + no_rule, recruiter ben 0.80``."""
        order_id = order_id if order_id in self.facts else name_of(order_id)
        order = self.facts[order_id].order
        by_name: dict[str, dict[str, list[Commission]]] = {}
        for row in self.rows[order_id]:
            name, line_id = (f"recruiter {row.affiliate_id}", "") if row.part else (row.affiliate_id, row.line_id)
            by_name.setdefault(name, {}).setdefault(line_id, []).append(row)
        told = {
            name: " + ".join(self._line(lines[key], order.currency) for key in sorted(lines))
            for name, lines in by_name.items()
            if not name.startswith("recruiter") or sum(row.amount_minor for rows in lines.values() for row in rows) != 0
        }
        return ", ".join(f"{name} {text}" for name, text in told.items()) if len(told) > 1 else next(iter(told.values()))

    def _line(self, rows: Sequence[Commission], currency: str) -> str:
        amount, capped, home = sum(row.amount_minor for row in rows), sum(row.capped_minor for row in rows), self.tariff.tenant.currency
        unit = "" if {rows[-1].currency, currency} == {home} else f" {rows[-1].currency}"
        text = f"{format_amount(amount, rows[-1].currency)}{unit}" if amount else rows[-1].reason
        return text + (f" (cut {format_amount(capped, rows[-1].currency)}{unit})" if capped else "")

    def bonus(self, period: str, affiliate_id: str) -> str:
        rows = [row for row in self.bonuses if (row.line_id, row.affiliate_id) == (period, affiliate_id)]
        return format_amount(sum(row.amount_minor for row in rows), self.tariff.tenant.currency)


class Undone(Exception):
    """Ends an example: nothing of it stays in the books."""


@pytest.fixture(scope="module")
def shelf(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Books with the page's exchange rates, for all examples: to open some for each would take most of the time."""
    path = copy(sqlite_template, tmp_path_factory.mktemp("page") / "books.sqlite")
    [rates] = re.findall(r"```csv\n([^`]*)```", PAGE)
    with closing(open_books(f"sqlite:///{path}")) as books:
        assert not import_rates(books, rates.encode(), FakeClock()).faults
        yield books


@pytest.fixture
def connection(shelf: Books) -> Iterator[Connection]:
    with suppress(Undone), shelf.writing() as opened:
        yield opened
        raise Undone


def tariff_of(connection: Connection, example: Example) -> Tariff:
    report = import_into(connection, example.catalogue(), "docs", NOON)
    assert not report.faults, [str(fault) for fault in report.faults]
    tenant = find(connection, Tenant, NORTH)
    assert tenant is not None
    return Tariff(tenant, {"main": rate_cards_of(connection, NORTH, "main")})


@pytest.mark.parametrize("backwards", [False, True], ids=["in-time", "backwards"])
@pytest.mark.parametrize("example", ORDERS, ids=lambda example: example.place)
def test_an_order_earns_what_the_page_says_whatever_came_first(connection: Connection, example: Example, backwards: bool) -> None:
    shop = Shop(connection, tariff_of(connection, example))
    orders = {number: row for number, row in enumerate(example.rows, 1) if not row[0].startswith("bonus ")}

    for number in sorted(orders, reverse=backwards):
        shop.sell(facts_of(orders[number], number, example.currency))

    told = [
        [*row[:2], shop.earned(f"A-{number:02}") if number in orders else shop.bonus(row[0].removeprefix("bonus "), row[1])]
        for number, row in enumerate(example.rows, 1)
    ]
    assert told == example.rows


@pytest.mark.parametrize("example", DAYS, ids=lambda example: example.place)
def test_a_day_earns_what_the_page_says(connection: Connection, example: Example) -> None:
    [card] = tariff_of(connection, example).cards["main"]
    days = [(day_of(row, card), card) for row in example.rows]

    payments = [granted(due_then, {}, Standing())[0] for due_then in dues(days)]

    told = [format_amount(sum(one.amount_minor for one in paid), "EUR") for paid in payments]
    assert told == [row[2] for row in example.rows]


@pytest.mark.parametrize("example", SAID, ids=lambda example: example.place)
def test_a_rate_card_reads_as_the_page_says(connection: Connection, example: Example) -> None:
    """What stands in a quotation below a card."""
    [card] = tariff_of(connection, example).cards["main"]

    assert {row[0] for row in example.rows} <= set(card_sentences(card, example.currency))


def day_of(row: Sequence[str], card: RateCard) -> TrafficDay:
    """``300 clicks from DE + 20 clicks from FR``."""
    subject, at = "click" if "click" in row[1] else "impression", instant(row[0])
    setting = DaySetting(card.version, "EUR", at, at + DAY, at + 60 * DAY)
    groups = [
        Group(country, "", "", "", "", (), int(count)) for count, country in re.findall(r"(\d+) (?:clicks|views)(?: from (\w\w))?", row[1])
    ]
    counts = counts_of(card, subject, "anna", setting, groups)  # type: ignore[arg-type]
    name = datetime.fromtimestamp(at / 1000, UTC).date().isoformat()
    order_id = order_id_of(subject, "main", "anna", name)  # type: ignore[arg-type]
    return TrafficDay(NORTH, "main", "anna", subject, name, order_id, "UTC", counts=counts, setting=as_json(setting))  # type: ignore[arg-type]


# --- what the page lists ---------------------------------------------------------------------------------------------


def codes(title: str) -> list[str]:
    """What stands in backquotes in the first cell of each row of a section."""
    text = PAGE.partition(f"{title}\n")[2].partition("\n#")[0]
    return [code for line in text.split("\n") if line.startswith("| `") for code in re.findall(r"`(\w+)`", line.split("|")[1])]


def test_the_page_lists_every_reason_and_every_kind() -> None:
    assert sorted(codes("### A line that earns nothing says why")) == sorted(get_args(Reason))
    assert sorted(codes("## Booking the difference")) == sorted(get_args(Kind))


def test_the_examples_use_all_that_a_rate_card_can_say() -> None:
    used = set[str]()
    for example in ORDERS + DAYS:
        for card in tomllib.loads(example.toml)["rate_card"]:
            used |= set(keys_of(card))
    kind = BY_TABLE["rate_card"]
    keys = {f"{part.table}.{key.name}" for part in kind.parts for key in part.keys} | {key.name for key in kind.keys}

    assert keys - used == {"tenant", "programme", "hold_days"}


def keys_of(card: dict[str, object]) -> Iterator[str]:
    for key, value in card.items():
        yield key
        if isinstance(value, list):
            yield from (f"{key}.{inner}" for part in value if isinstance(part, dict) for inner in part)
