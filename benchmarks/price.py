"""How long does pricing a million order lines take, and how does the cost of a line grow with the number of rules?

``python -m benchmarks.price [--lines 1000000] [--rules 50] [--sample 20000]``

Orders of one to four lines, half of them shared by two affiliates, one in ten with a refund, under a card of rules that ask for categories
in trees, SKUs, brands, prices, discounts, statuses, segments, countries, groups, devices and coupons, and pay percentages, amounts per
order, line and unit, and both, some with a maximum. ``price`` is all that booking does to know what an order should have earned
(``payouts.pricing``): values, matching, prices, refunds, the split. A sample of the lines is priced under 5, 50 and 500 rules
too, and there the baseline is a plain loop that tries one rule after the other, with every value read beforehand; it must find the same.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from core.catalogue import Clause, RateCard, Rule, Tenant
from core.clock import DAY, HOUR
from core.conditions import kind_of, parse_value
from core.credit import Credit
from core.events import CustomerStatus, Line, Order, Refund
from payouts.accounts import Standing
from payouts.attributes import affiliate_values, item_values, order_values
from payouts.matching import Value, Values, compile_card
from payouts.orders import Facts, Tariff, Verdict
from payouts.pricing import prepare, target_of
from payouts.rate_card import clauses, rank
from payouts.setting import Contact, Partner, Pricing, Setting

NORTH = Tenant("north", "North", "EUR", "Europe/Berlin")
BEGIN = 1_760_000_000_000
CHUNK = 4_000
SIZES = (5, 50, 500)
TOPS = ("shoes", "books", "garden", "toys", "audio", "bags", "sport", "beauty")
BRANDS = tuple(f"brand{number}" for number in range(60))
COUNTRIES = ("DE", "AT", "CH", "FR", "NL", "PL")
GROUPS = ("", "gold", "silver", "cashback")
SKUS = 20_000
PAYS: tuple[dict[str, Any], ...] = (
    {"percent_bps": 800},
    {"percent_bps": 525, "most_minor": 20_00},
    {"fixed_minor": 250, "per": "order"},
    {"fixed_minor": 40, "per": "unit"},
    {"percent_bps": 300, "fixed_minor": 100, "per": "order"},
    {"percent_bps": 0},
)

# --- the world ---------------------------------------------------------------------------------------------------------


def card_of(count: int) -> RateCard:
    """A card of so many rules, the last of which takes everything that the others leave."""
    chance = random.Random(count)
    rules = tuple(_rule(chance, number) for number in range(count - 1))
    return RateCard("north", "main", 1, 0, 30, (*rules, Rule("everything", 1000, percent_bps=500)))


def _rule(chance: random.Random, number: int) -> Rule:
    asked = tuple(chance.choice(QUESTIONS)(chance) for _ in range(chance.randint(1, 3)))
    plain: dict[str, Any] = {}
    if number % 3 == 0:
        plain["skus"] = tuple(f"S-{chance.randrange(SKUS)}" for _ in range(20))
    elif number % 3 == 1:
        plain["categories"] = (_category(chance, chance.randint(1, 3)),)
    if number % 5 == 0:
        plain["customer_status"] = chance.choice(("new", "returning"))
    return Rule(f"r{number}", chance.choice((10, 100, 200)), when=Clause(all=asked), **plain, **PAYS[number % len(PAYS)])


QUESTIONS: tuple[Callable[[random.Random], Clause], ...] = (
    lambda chance: Clause("item", "brand", "in", tuple(chance.sample(BRANDS, 4))),
    lambda chance: Clause("item", "price", "greater_than_or_equal", (str(chance.randint(5, 200)),)),
    lambda chance: Clause("item", "discount", "less_than", (str(chance.randint(5, 60)),)),
    lambda chance: Clause("item", "sku", "starts_with", (f"S-{chance.randint(10, 99)}",)),
    lambda chance: Clause("item", "category", "not_in", (_category(chance, 2),)),
    lambda chance: Clause("order", "value", "greater_than", (str(chance.randint(10, 300)),)),
    lambda chance: Clause("customer", "segments", "in", (f"segment{chance.randint(0, 5)}",)),
    lambda chance: Clause("affiliate", "group", "in", (chance.choice(GROUPS[1:]),)),
    lambda chance: Clause("order", "coupon_classes", "equals_to", (chance.choice(("voucher", "social")),)),
    lambda chance: Clause(any=(_country(chance, "customer"), _country(chance, "touch"))),
)


def _country(chance: random.Random, entity: Any) -> Clause:
    return Clause(entity, "country", "in", tuple(chance.sample(COUNTRIES, 2)))


def _category(chance: random.Random, depth: int) -> str:
    return " > ".join((chance.choice(TOPS), f"kind{chance.randrange(6)}", f"sort{chance.randrange(4)}")[:depth])


def orders(lines: int, seed: int) -> Iterator[tuple[Facts, Setting]]:
    """Orders until they have so many lines together, the last one cut to fit."""
    chance = random.Random(seed)
    number = 0
    while lines:
        own = tuple(_line(chance, place) for place in range(min(lines, chance.randint(1, 4))))
        lines -= len(own)
        number += 1
        yield _order(chance, f"O-{seed}-{number}", own)


def _line(chance: random.Random, place: int) -> Line:
    return Line(
        str(place),
        chance.randint(1_00, 400_00),
        f"S-{chance.randrange(SKUS)}",
        "An article",
        _category(chance, 3),
        chance.choice((1, 1, 1, 2, 3)),
        chance.choice(BRANDS),
        "",
        chance.choice((0, 0, 10_00)),
    )


def _order(chance: random.Random, order_id: str, lines: tuple[Line, ...]) -> tuple[Facts, Setting]:
    at = BEGIN + chance.randrange(300 * DAY)
    names = chance.sample(range(500), chance.randint(1, 2))
    credits = tuple(Credit(f"affiliate{name}", f"t{name}", 1, len(names)) for name in names)
    partners = tuple(Partner(f"affiliate{name}", chance.choice(GROUPS), BEGIN - DAY, (), "main") for name in names)
    contacts = tuple(
        Contact(
            f"t{name}", "click", at - chance.randrange(700 * HOUR), chance.choice(COUNTRIES), chance.choice(("phone", "desktop")), "web"
        )
        for name in names
    )
    classes = ("voucher",) if chance.random() < 0.2 else ()
    order = Order("e" + order_id, "north", order_id, "EUR", at, at, lines, customer_status=chance.choice(("new", "returning")))
    refunds = (Refund("f" + order_id, "north", order_id, "r", "EUR", at + DAY, at + DAY, (), 5_00),) if chance.random() < 0.1 else ()
    segments = (f"segment{chance.randint(0, 9)}",)
    status: CustomerStatus = order.customer_status
    verdict = Verdict(1, "main", 1, "credited" if len(names) == 1 else "split", credits, "", status, segments, 1, at)
    setting = Setting(
        partners,
        contacts,
        classes,
        "",
        chance.choice(COUNTRIES),
        1,
        at,
        customer_status=status,
        segments=segments,
        versions=(Pricing("main", "", 1), *_of_touches(contacts)),
    )
    return Facts(order, verdict, refunds), setting


def _of_touches(contacts: Sequence[Contact]) -> Iterator[Pricing]:
    return (Pricing("main", contact.touch_id, 1) for contact in contacts)


# --- ours and the baseline ---------------------------------------------------------------------------------------------


def price(card: RateCard, lines: int) -> tuple[list[Timing], int]:
    """The time of all chunks, and how many lines earn somebody something; making up the orders is not counted."""
    tariff, whole, earning = Tariff(NORTH, {"main": (card,)}), Timing(), 0
    for seed, begin in enumerate(range(0, lines, CHUNK)):
        chunk = list(orders(min(CHUNK, lines - begin), seed))
        with timed() as timing:
            for facts, setting in chunk:
                target = target_of(prepare(facts, (), tariff, setting), Standing())
                earning += len({one.line_id for one in target.sold if one.amount_minor})
        whole.seconds += timing.seconds
        whole.cpu_seconds += timing.cpu_seconds
    return [whole], earning


def compare(count: int, lines: int) -> tuple[dict[str, Any], dict[str, float], dict[str, float], list[str]]:
    """A sample under so many rules: figures, ratios by the clock and by processor time, faults."""
    card = card_of(count)
    asked = [values for facts, setting in orders(lines, -1) for values in _values(facts, setting)]
    loop, compiled = naive(card), compile_card(card, "EUR")
    with timed() as plain:
        expected = [loop(*one) for one in asked]
    with timed() as ours:
        found = [compiled.match(*one) for one in asked]
    differing = sum(one != other for one, other in zip(found, expected, strict=True))
    faults = [f"under {count} rules, the loop finds another rule for {differing} of {len(asked)} lines"] if differing else []
    all_told, _ = price(card, lines)
    by_clock, by_cpu = ratios([ours], [plain])
    shown = {"price": figures(all_told, lines), "match": figures([ours], len(asked)), "loop": figures([plain], len(asked))}
    return shown, {f"match_vs_loop_{count}_rules": by_clock}, {f"match_vs_loop_{count}_rules": by_cpu}, faults


def _values(facts: Facts, setting: Setting) -> Iterator[tuple[Values, Values, Values]]:
    order, verdict = facts.order, facts.verdict
    of_order = order_values(order, setting, NORTH, verdict.customer_status, verdict.segments)
    for partner, contact in zip(setting.partners, setting.contacts, strict=True):
        of_affiliate = affiliate_values(partner, contact, order.occurred_at)
        for line in order.lines:
            yield item_values(line), of_affiliate, of_order


Asked = Callable[[Values], bool]


def naive(card: RateCard) -> Callable[[Values, Values, Values], Rule | None]:
    """The first rule that fits, by trying them in their order. Values are read and folded before, as in the compiled card."""
    tried = [(rule, [_asked(clause) for clause in clauses(rule)]) for rule in sorted(card.rules, key=rank)]

    def first(item: Values, affiliate: Values, order: Values) -> Rule | None:
        known = {**item, **affiliate, **order}
        return next((rule for rule, asked in tried if all(one(known) for one in asked)), None)

    return first


def _asked(clause: Clause) -> Asked:
    inner = [_asked(one) for one in clause.all + clause.any]
    if clause.all:
        return lambda known: all(one(known) for one in inner)
    if clause.any:
        return lambda known: any(one(known) for one in inner)
    name, kind = f"{clause.entity}.{clause.attribute}", kind_of(clause.entity, clause.attribute)
    assert kind is not None
    wanted = [parse_value(kind, text, "EUR") for text in clause.values]
    if kind in ("number", "amount"):
        return _of_numbers(name, clause.operator, cast(Fraction, wanted[0]))
    return _of_texts(name, clause.operator, cast(list[str], wanted))


def _of_numbers(name: str, operator: str, wanted: Fraction) -> Asked:
    tests: dict[str, Callable[[Any], bool]] = {
        "greater_than": lambda value: value > wanted,
        "greater_than_or_equal": lambda value: value >= wanted,
        "less_than": lambda value: value < wanted,
    }
    test = tests[operator]
    return lambda known: (value := known.get(name)) is not None and test(value)


def _of_texts(name: str, operator: str, wanted: Sequence[str]) -> Asked:
    among = frozenset(wanted)

    def has(value: Value) -> bool:
        if isinstance(value, tuple):
            return any(has(one) for one in value)
        text = str(value or "").casefold()
        if operator == "starts_with":
            return text.startswith(tuple(wanted))
        return text in among or (operator == "under" and any(text.startswith(f"{tree} > ") for tree in wanted))

    negative = operator == "not_in"
    return lambda known: has(known.get(name)) is not negative


def main() -> None:
    asked = options(__doc__, lines=1_000_000, rules=50, sample=20_000)
    with tempfile.TemporaryDirectory(prefix="fairshare-price-") as folder:
        about = {"question": "seconds to price order lines", "lines": asked.lines, "rules": asked.rules, "machine": machine(Path(folder))}
    result: dict[str, Any] = {"by_rules": {}, "ratios": {}, "ratios_cpu": {}}
    faults: list[str] = []
    for count in SIZES:
        say(f"{asked.sample:,} lines under {count} rules")
        shown, by_clock, by_cpu, wrong = compare(count, asked.sample)
        result["by_rules"][str(count)] = shown
        result["ratios"] |= by_clock
        result["ratios_cpu"] |= by_cpu
        faults += wrong
    cost = {count: result["by_rules"][str(count)]["price"]["cpu_us_per_record"] for count in SIZES}
    result["growth"] = {f"{many}_rules_to_{few}": round(cost[many] / cost[few], 3) for few, many in ((5, 50), (50, 500), (5, 500))}
    say(f"{asked.lines:,} lines under {asked.rules} rules")
    timing, earning = price(card_of(asked.rules), asked.lines)
    result["price"] = figures(timing, asked.lines) | {"earning_lines": earning}
    publish(about | result, faults)


if __name__ == "__main__":
    main()
