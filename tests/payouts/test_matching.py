"""Which rule pays a line: worked cases, and for cards of chance the same answer as trying every rule, one after the other."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Clause, RateCard, Rule, Subject
from core.conditions import kind_of, operators_of
from payouts import matching
from payouts.matching import Sieve, compile_card

SHOE = {"item.sku": "A-1", "item.category": "Shoes > Boots", "item.price": 50_00, "item.quantity": 1}


def card_of(*rules: Rule, **fields: Any) -> RateCard:
    return RateCard("north", "main", 1, 0, 30, rules, **fields)


def won(card: RateCard, item: dict[str, Any] = SHOE, affiliate: Any = None, order: Any = None, subject: Subject = "order") -> str:
    """The id of the rule, or the reason."""
    found = compile_card(card, "EUR", subject).match(item, affiliate or {}, order or {})
    return found.rule_id if isinstance(found, Rule) else found


def when(entity: str, attribute: str, operator: str, *values: str) -> Clause:
    return Clause(entity, attribute, operator, values)  # type: ignore[arg-type]


# --- which comes first -------------------------------------------------------------------------------------------------


def test_smallest_priority_first_then_more_conditions_then_rule_id() -> None:
    general, special = Rule("b", percent_bps=1), Rule("z", percent_bps=2, categories=("shoes",), skus=("A-1",))
    spelt_out = Rule("y", percent_bps=3, when=when("item", "sku", "equals_to", "A-1"), categories=("shoes",))
    urgent = Rule("c", priority=1, percent_bps=3)

    assert won(card_of(general, Rule("a", percent_bps=4))) == "a"
    assert won(card_of(general, special)) == "z"
    assert won(card_of(general, special, spelt_out)) == "y"
    assert won(card_of(general, special, spelt_out, urgent)) == "c"


def test_a_condition_counts_by_its_tests_not_by_its_values() -> None:
    two = Rule("z-two", percent_bps=1, when=Clause(any=(when("item", "sku", "in", "A-1"), when("touch", "country", "in", "DE"))))
    long_list = Rule("a-list", percent_bps=1, when=when("item", "sku", "in", "A-1", "A-2", "A-3"))

    assert won(card_of(two, long_list)) == "z-two"


# --- what a condition asks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("shoes", "r"),
        ("SHOES > Boots", "r"),
        ("shoes > boots > winter", "r"),
        ("shoeshine", "no_rule"),
        ("all > shoes", "no_rule"),
        ("", "no_rule"),
    ],
)
def test_categories_match_their_trees(category: str, expected: str) -> None:
    assert won(card_of(Rule("r", percent_bps=1, categories=("Shoes", "hats"))), {"item.category": category}) == expected


def test_a_category_deep_in_the_tree_is_found_by_its_whole_path() -> None:
    card = card_of(
        Rule("boots", percent_bps=2, categories=("shoes > boots",)), Rule("shoes", priority=101, percent_bps=1, categories=("shoes",))
    )

    found = [won(card, {"item.category": name}) for name in ("Shoes > Boots > Winter", "Shoes > Bootlaces", "Shoes")]
    assert found == ["boots", "shoes", "shoes"]


@pytest.mark.parametrize(
    ("operator", "value", "fitting"),
    [
        ("greater_than", "12.5", [13, 20]),
        ("greater_than_or_equal", "12.5", [Fraction(25, 2), 13, 20]),
        ("less_than", "12.5", [0, 12]),
        ("less_than_or_equal", "12.5", [0, 12, Fraction(25, 2)]),
        ("equals_to", "12.5", [Fraction(25, 2)]),
        ("not_equals", "12.5", [0, 12, 13, 20, None]),
    ],
)
def test_numbers_are_compared_exactly_and_the_unknown_only_is_not_something(operator: str, value: str, fitting: list[Any]) -> None:
    card = card_of(Rule("r", percent_bps=1, when=when("item", "discount", operator, value)))
    seen = [0, 12, Fraction(25, 2), 13, 20, None]

    assert [one for one in seen if won(card, {"item.discount": one}) == "r"] == fitting


@pytest.mark.parametrize(
    ("operator", "values", "fitting"),
    [
        ("starts_with", ("SU", "wint"), ["Summer-A", "winter-b"]),
        ("ends_with", ("-b", "a"), ["Summer-A", "winter-b"]),
        ("contains", ("MM",), ["Summer-A"]),
        ("not_contains", ("mm", "other"), ["winter-b", ""]),
    ],
)
def test_texts_are_searched_without_regard_to_letter_case(operator: str, values: tuple[str, ...], fitting: list[str]) -> None:
    card = card_of(Rule("r", percent_bps=1, when=when("item", "sku", operator, *values)))

    assert [sku for sku in ("Summer-A", "winter-b", "another", "") if won(card, {"item.sku": sku}) == "r"] == fitting


def test_a_third_is_more_than_its_first_four_decimals() -> None:
    above, equal = (Rule("r", percent_bps=1, when=when("item", "discount", operator, "33.3333")) for operator in ("greater_than", "in"))

    assert [won(card_of(rule), {"item.discount": Fraction(100, 3)}) for rule in (above, equal)] == ["r", "no_rule"]
    assert [won(card_of(rule), {"item.discount": Fraction(333_333, 10_000)}) for rule in (above, equal)] == ["no_rule", "r"]


def test_amounts_are_of_the_tenants_currency() -> None:
    rule = Rule("r", percent_bps=1, when=when("order", "value", "greater_than_or_equal", "50"))
    compiled = [compile_card(card_of(rule), currency) for currency in ("EUR", "JPY", "BHD")]

    found = [
        [minor for minor in (49, 50, 49_99, 50_00, 49_999, 50_000) if one.match({}, {}, {"order.value": minor}) == rule] for one in compiled
    ]
    assert found == [[50_00, 49_999, 50_000], [50, 49_99, 50_00, 49_999, 50_000], [50_000]]


def test_any_may_ask_of_the_customer_or_of_the_touch() -> None:
    either = Clause(any=(when("customer", "country", "in", "DE"), when("touch", "country", "in", "DE", "AT")))
    card = card_of(Rule("r", percent_bps=1, when=either))

    assert won(card, order={"customer.country": "de"}) == "r"
    assert won(card, affiliate={"touch.country": "AT"}, order={"customer.country": "FR"}) == "r"
    assert won(card, affiliate={"touch.country": "FR"}, order={"customer.country": "AT"}) == "no_rule"


def test_of_several_coupons_one_is_enough_and_a_negative_bars_them_all() -> None:
    card = card_of(
        Rule("voucher", percent_bps=1, when=when("order", "coupon_classes", "equals_to", "voucher")),
        Rule("clean", percent_bps=2, when=when("order", "coupons", "not_contains", "leak")),
    )

    assert won(card, order={"order.coupon_classes": ("social", "Voucher")}) == "clean", "its id comes first"
    assert won(card, order={"order.coupon_classes": ("social", "Voucher"), "order.coupons": ("X", "LEAKED5")}) == "voucher"
    assert won(card, order={"order.coupon_classes": ("social",), "order.coupons": ("X", "LEAKED5")}) == "no_rule"


def test_what_the_shop_sends_can_be_asked_for() -> None:
    card = card_of(
        Rule("r", percent_bps=1, when=Clause(all=(when("item", "margin", "in", "high"), when("order", "gift", "not_equals", "yes"))))
    )

    assert won(card, {"item.margin": "High"}) == "r"
    assert won(card, {"item.margin": "High"}, order={"order.gift": "YES"}) == "no_rule"


def test_rules_of_clicks_and_of_orders_never_meet() -> None:
    card = card_of(Rule("click", fixed_minor=5, subject="click", per="click"), Rule("sale", percent_bps=1))

    assert won(card, {}, subject="click") == "click"
    assert won(card) == "sale"
    assert won(card, {}, subject="lead") == "no_rule"


# --- why none fits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ([when("customer", "status", "equals_to", "new")], "returning_customer"),
        ([when("customer", "segments", "in", "firms")], "other_segment"),
        ([when("customer", "segments", "in", "firms"), when("customer", "status", "in", "new")], "other_segment"),
        ([when("order", "value", "greater_than", "100")], "below_min_order"),
        ([when("customer", "months", "less_than", "12")], "recurring_limit"),
        ([when("customer", "orders", "equals_to", "1")], "recurring_limit"),
        ([when("customer", "orders", "equals_to", "1"), when("item", "sku", "equals_to", "B-1")], "no_rule"),
        ([when("touch", "country", "equals_to", "DE")], "no_rule"),
    ],
)
def test_what_stands_in_the_way_is_the_reason(conditions: list[Clause], reason: str) -> None:
    order = {"customer.status": "returning", "order.value": 50_00, "customer.months": 12, "customer.orders": 13}

    assert won(card_of(Rule("r", percent_bps=500, when=Clause(all=tuple(conditions)))), order=order) == reason


def test_an_exclusion_is_never_missed() -> None:
    card = card_of(Rule("nothing", percent_bps=0, customer_status="returning"), Rule("hats", percent_bps=100, categories=("hats",)))

    assert won(card, order={"customer.status": "new"}) == "no_rule"


def test_an_order_below_the_cards_minimum_earns_nothing() -> None:
    card = card_of(Rule("r", percent_bps=500), minimum_order_minor=50_00)

    assert [won(card, order={"order.value": value}) for value in (49_99, 50_00, None)] == ["below_min_order", "r", "currency_not_supported"]


def test_a_foreign_order_without_a_rate_is_not_called_too_small() -> None:
    card = card_of(Rule("r", percent_bps=500, when=when("order", "value", "greater_than", "10")))

    assert [won(card, order={"order.value": value}) for value in (9_99, None)] == ["below_min_order", "currency_not_supported"]


# --- compiling ---------------------------------------------------------------------------------------------------------


def test_a_card_is_compiled_once_for_each_subject_and_currency_whoever_holds_it() -> None:
    card, same = card_of(Rule("r", percent_bps=500)), card_of(Rule("r", percent_bps=500))

    assert compile_card(card, "EUR") is compile_card(card, "EUR") is compile_card(same, "EUR")
    assert len({id(compile_card(card, *key)) for key in (("EUR",), ("JPY",), ("EUR", "lead"))}) == 3  # type: ignore[arg-type]


def test_a_draft_with_the_number_of_a_version_is_a_card_of_its_own() -> None:
    version, draft = card_of(Rule("r", percent_bps=500)), card_of(Rule("s", percent_bps=500))

    assert [won(version), won(draft), won(version)] == ["r", "s", "r"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_REMEMBERED", 8)
    monkeypatch.setattr(matching, "_CARDS", 3)
    one, both = when("item", "sku", "starts_with", "A"), (when("item", "sku", "starts_with", "A"), when("item", "brand", "in", "b"))
    alone, together = (card_of(Rule("r", percent_bps=1, when=clause)) for clause in (one, Clause(any=both)))

    for card in (alone, together):
        assert [won(card, {"item.sku": f"{'AB'[number % 2]}-{number}"}) for number in range(50)] == ["r", "no_rule"] * 25
    assert 0 < len(compile_card(alone, "EUR")._sieve._of_item[0]._seen) <= 8  # type: ignore[attr-defined]
    assert 0 < len(compile_card(together, "EUR")._sieve._of_item[0]._columns[1]._seen) <= 8  # type: ignore[attr-defined]
    for number in range(10):
        compile_card(card_of(Rule(f"r{number}", percent_bps=1)), "EUR")
    assert len(matching._met) <= 3


# --- the law: as a reader would do it ------------------------------------------------------------------------------------

POOLS: dict[str, list[Any]] = {
    "item.sku": ["A-1", "a-1", "A-12", "B-1", "", None],
    "item.category": ["Shoes", "shoes > Boots", "SHOES > boots > winter", "shoeshine", "hats > shoes", "", None],
    "item.colour": ["red", "Red > dark", "", None],
    "item.price": [0, 9_99, 10_00, 10_01, 50_00, None],
    "item.quantity": [1, 2, 10, None],
    "item.discount": [0, 20, Fraction(25, 2), Fraction(100, 3), None],
    "customer.status": ["new", "returning", "lapsed", "", None],
    "customer.segments": [(), ("firms",), ("firms", "VIPs"), None],
    "customer.orders": [1, 2, 12, None],
    "customer.months": [0, 1, 12, None],
    "order.value": [0, 9_99, 10_00, 50_00, None],
    "order.coupons": [(), ("SAVE10",), ("X", "save20"), None],
    "order.gift": ["yes", "no", None],
    "affiliate.group": ["gold", "Silver", "", None],
    "touch.country": ["DE", "at", "", None],
    "touch.hours": [0, 1, 24, None],
}
WORDS = {
    "item.sku": ["A-1", "b-1", "A", "1", "-"],
    "item.category": ["shoes", "Shoes > Boots", "hats", "boots"],
    "item.colour": ["red", "blue", "d"],
    "item.price": ["0", "10", "10.00", "50"],
    "item.quantity": ["1", "2", "5"],
    "item.discount": ["0", "12.5", "20", "33.3333"],
    "customer.status": ["new", "returning"],
    "customer.segments": ["firms", "vips", "v"],
    "customer.orders": ["1", "2"],
    "customer.months": ["1", "12"],
    "order.value": ["9.99", "10", "20"],
    "order.coupons": ["save10", "SAVE", "x"],
    "order.gift": ["yes", "e"],
    "affiliate.group": ["gold", "silver", "l"],
    "touch.country": ["DE", "AT"],
    "touch.hours": ["1", "24"],
}
GROUPS = (("item",), ("affiliate", "touch"), ("customer", "order"))


@st.composite
def single_tests(draw: st.DrawFn) -> Clause:
    name = draw(st.sampled_from(sorted(WORDS)))
    entity, attribute = name.split(".")
    operator = draw(st.sampled_from(operators_of(entity, attribute)))
    single = operator in ("equals_to", "not_equals") or "than" in operator
    return when(
        entity, attribute, operator, *draw(st.lists(st.sampled_from(WORDS[name]), min_size=1, max_size=1 if single else 3, unique=True))
    )


several = lambda inner: st.lists(inner, min_size=1, max_size=3).map(tuple)  # noqa: E731
trees = st.recursive(
    single_tests(),
    lambda inner: st.one_of(several(inner).map(lambda ones: Clause(all=ones)), several(inner).map(lambda ones: Clause(any=ones))),
    max_leaves=5,
)
rules = st.builds(
    Rule,
    rule_id=st.sampled_from([f"r{number}" for number in range(12)]),
    priority=st.integers(0, 1),
    percent_bps=st.sampled_from([0, 100, 200]),
    categories=st.sampled_from([(), (), ("shoes",), ("Shoes > Boots", "hats"), ("",)]),
    skus=st.sampled_from([(), (), ("A-1", "x")]),
    customer_status=st.sampled_from(["", "", "new", "lapsed"]),
    segments=st.sampled_from([(), (), ("firms",)]),
    subject=st.sampled_from(["order", "order", "order", "click"]),
    when=st.one_of(st.none(), trees, trees),
)
cards = st.builds(
    lambda own, minimum: card_of(*own, minimum_order_minor=minimum),
    st.lists(rules, max_size=8, unique_by=lambda rule: rule.rule_id),
    st.sampled_from([0, 0, 0, 10_00]),
)


@st.composite
def facts(draw: st.DrawFn) -> tuple[dict[str, Any], ...]:
    """What is known of item, affiliate and order; some of it is not even named."""
    known = {name: draw(st.sampled_from(pool)) for name, pool in POOLS.items()}
    left_out = set(draw(st.lists(st.sampled_from(sorted(POOLS)), max_size=3)))
    return tuple({name: value for name, value in known.items() if name.split(".")[0] in group and name not in left_out} for group in GROUPS)


def holds(clause: Clause, known: dict[str, Any], passed: set[str]) -> bool:
    """Asked as it is written. Tests of what is ``passed`` over count as met."""
    if clause.all:
        return all(holds(one, known, passed) for one in clause.all)
    if clause.any:
        return any(holds(one, known, passed) for one in clause.any)
    name, value = f"{clause.entity}.{clause.attribute}", known.get(f"{clause.entity}.{clause.attribute}")
    if name in passed:
        return True
    if clause.operator in ("not_equals", "not_in", "not_contains"):
        opposite = {"not_equals": "in", "not_in": "in", "not_contains": "contains"}[clause.operator]
        return not holds(when(clause.entity, clause.attribute, opposite, *clause.values), known, passed)
    kind = kind_of(clause.entity, clause.attribute)
    if kind in ("number", "amount"):
        wanted = [Fraction(text) * (100 if kind == "amount" else 1) for text in clause.values]
        return value is not None and any(_numeric(clause.operator, value, one) for one in wanted)
    have = [one.lower() for one in value] if isinstance(value, tuple) else [(value or "").lower()]
    return any(_textual(clause.operator, one, text.lower()) for one in have for text in clause.values)


def _numeric(operator: str, value: Any, wanted: Fraction) -> bool:
    if operator in ("equals_to", "in"):
        return bool(value == wanted)
    larger, smaller = value > wanted, value < wanted
    return {"greater_than": larger, "greater_than_or_equal": not smaller, "less_than": smaller, "less_than_or_equal": not larger}[operator]


def _textual(operator: str, have: str, wanted: str) -> bool:
    if operator == "under":
        levels, tree = have.split(" > "), wanted.split(" > ")
        return levels[: len(tree)] == tree
    found = {"starts_with": have.startswith(wanted), "ends_with": have.endswith(wanted), "contains": wanted in have}
    return found.get(operator, have == wanted)


def fits(rule: Rule, known: dict[str, Any], passed: set[str]) -> bool:
    plain = [
        not rule.categories or any(_textual("under", (known.get("item.category") or "").lower(), one.lower()) for one in rule.categories),
        not rule.skus or (known.get("item.sku") or "").lower() in [sku.lower() for sku in rule.skus],
        not rule.customer_status or "customer.status" in passed or known.get("customer.status") == rule.customer_status,
        not rule.segments
        or "customer.segments" in passed
        or bool({one.lower() for one in known.get("customer.segments") or ()} & {*rule.segments}),
    ]
    return all(plain) and (rule.when is None or holds(rule.when, known, passed))


def leaves(clause: Clause | None) -> int:
    return 0 if clause is None else 1 if clause.operator else sum(leaves(one) for one in clause.all + clause.any)


def naive(card: RateCard, item: dict[str, Any], affiliate: dict[str, Any], order: dict[str, Any]) -> str:
    known, value = item | affiliate | order, order.get("order.value")
    if card.minimum_order_minor and (value is None or value < card.minimum_order_minor):
        return "currency_not_supported" if value is None else "below_min_order"

    def place(rule: Rule) -> tuple[int, int, str]:
        special = bool(rule.categories) + bool(rule.skus) + bool(rule.customer_status) + bool(rule.segments) + leaves(rule.when)
        return rule.priority, -special, rule.rule_id

    own = sorted((rule for rule in card.rules if rule.subject == "order"), key=place)
    for rule in own:
        if fits(rule, known, set()):
            return rule.rule_id
    passed: set[str] = set()
    ladder = (
        ("returning_customer", {"customer.status"}),
        ("other_segment", {"customer.segments"}),
        ("currency_not_supported" if value is None else "below_min_order", {"order.value"}),
        ("recurring_limit", {"customer.months", "customer.orders"}),
    )
    for reason, names in ladder:
        passed |= names
        if any(rule.percent_bps and fits(rule, known, passed) for rule in own):
            return reason
    return "no_rule"


@given(cards, st.lists(facts(), min_size=1, max_size=6))
def test_the_compiled_card_answers_as_trying_every_rule_does(card: RateCard, lines: list[tuple[dict[str, Any], ...]]) -> None:
    for item, affiliate, order in lines:
        assert won(card, item, affiliate, order) == naive(card, item, affiliate, order)
        assert won(card, item, affiliate, order) == naive(card, item, affiliate, order), "once more, from what is remembered"


@given(cards, st.lists(facts(), min_size=1, max_size=6))
def test_the_lines_of_an_order_asked_together_are_answered_as_each_alone(card: RateCard, lines: list[tuple[dict[str, Any], ...]]) -> None:
    compiled, order = compile_card(card, "EUR"), lines[0][2]
    together = compiled.asking(order, [item for item, _, _ in lines])

    for _, affiliate, _ in lines:
        assert together(affiliate) == [compiled.match(item, affiliate, order) for item, _, _ in lines]


@given(cards, facts())
def test_what_no_rule_asks_for_makes_no_difference(card: RateCard, known: tuple[dict[str, Any], ...]) -> None:
    asked = {*compile_card(card, "EUR").asks, "order.value"}
    left = [{name: value for name, value in one.items() if name in asked} for one in known]

    assert won(card, *left) == won(card, *known)


@given(single_tests().filter(lambda one: one.operator in ("equals_to", "in", "contains")), facts())
def test_a_negative_holds_exactly_where_its_positive_does_not(positive: Clause, known: tuple[dict[str, Any], ...]) -> None:
    operator = {"equals_to": "not_equals", "in": "not_in", "contains": "not_contains"}[positive.operator]
    negative = when(positive.entity, positive.attribute, operator, *positive.values)

    sieve = Sieve([[positive], [negative]], "EUR")
    assert sieve.fitting(known) in (0b01, 0b10)  # type: ignore[arg-type]
