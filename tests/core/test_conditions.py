"""What a condition may ask: every attribute with what fits it, every bound from both sides, every flaw at its clause."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Catalogue, Clause, Entity, Membership, Operator, Programme, Segment, Store, Subject, Tenant
from core.conditions import (
    ATTRIBUTES,
    CHOICES,
    ENTITIES,
    OPERATORS,
    POSITIVE,
    ClauseFlaw,
    attributes_of,
    clause_flaws,
    clauses_of,
    is_under,
    kind_of,
    leaves_of,
    operators_of,
    parse_value,
)
from core.errors import BadInput
from core.flaws import known_of
from tests.strategies import Named, clauses

KNOWN = known_of(
    Catalogue(
        tenants=(Tenant("north", "North", "EUR"), Tenant("tokyo", "Tokyo", "JPY"), Tenant("broken", "Broken", "EURO")),
        stores=(Store("north", "berlin", "Berlin"), Store("tokyo", "ginza", "Ginza")),
        segments=(Segment("north", "firms", "Firms", ()), Segment("tokyo", "vips", "VIPs", ())),
        programmes=(Programme("north", "main", "Main", "https://north.example/"),),
        memberships=(Membership("north", "main", "anna", "approved", 1, 2), Membership("north", "other", "ben", "approved", 1, 2)),
    )
)
SHOES = Clause("item", "category", "under", ("Shoes",))


def flaws(clause: Clause, subject: Subject = "order", tenant_id: str = "north") -> list[str]:
    return [str(flaw) for flaw in clause_flaws(clause, subject, tenant_id, "main", KNOWN)]


def ask(entity: Any, attribute: str, operator: Any, *values: str, subject: Subject = "order", tenant_id: str = "north") -> list[str]:
    return flaws(Clause(entity, attribute, operator, values), subject, tenant_id)


# --- the vocabulary ---------------------------------------------------------------------------------------------------


def test_every_attribute_belongs_to_an_entity_that_some_subject_has() -> None:
    known = set().union(*ENTITIES.values())

    assert {entity for entity, _ in ATTRIBUTES} == known == set(get_args(Entity))
    assert set(CHOICES) <= set(ATTRIBUTES)
    assert set(ENTITIES) == set(get_args(Subject))


def test_every_operator_fits_something_and_each_negative_one_has_its_positive() -> None:
    assert {operator for fitting in OPERATORS.values() for operator in fitting} | {"under"} == set(get_args(Operator))
    assert set(POSITIVE) == {operator for operator in get_args(Operator) if operator.startswith("not_")}
    for fitting in OPERATORS.values():
        assert {POSITIVE[operator] for operator in fitting if operator in POSITIVE} <= set(fitting)


def test_what_the_shop_sends_is_text_of_orders_and_items() -> None:
    assert kind_of("order", "loyalty_tier") == kind_of("item", "season") == "text"
    assert kind_of("order", "a" * 32) == "text"
    assert kind_of("order", "a" * 33) is kind_of("order", "country") is None
    assert kind_of("item", "Season") is kind_of("touch", "season") is kind_of("order", "") is kind_of("shop", "name") is None
    assert operators_of("touch", "season") == ()


def test_under_fits_categories_and_what_the_shop_sends_of_an_item() -> None:
    tree = [place for place in ATTRIBUTES if "under" in operators_of(*place)]

    assert tree == [("item", "category")]
    assert "under" in operators_of("item", "department")
    assert "under" not in operators_of("order", "department")


def test_the_documentation_names_every_attribute_and_every_operator() -> None:
    page = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text("utf-8").split("### Conditions")[1].split("\n**")[0]
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}

    for entity, attribute in ATTRIBUTES:
        assert f"`{attribute}`" in rows[entity].replace("`sub1` to `sub5`", " ".join(f"`sub{number}`" for number in range(1, 6)))
    assert sorted(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows.values()))) == sorted(
        [*get_args(Entity), *get_args(Operator)]
    )


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_are_ready_to_compare() -> None:
    assert parse_value("text", "Größe XL", "EUR") == "grösse xl"
    assert parse_value("texts", "SALE", "EUR") == "sale"
    assert parse_value("number", "20", "EUR") == 20
    assert parse_value("number", "12.5", "EUR") == Fraction(25, 2)
    assert parse_value("amount", "99.90", "EUR") == 9_990
    assert parse_value("amount", "99", "JPY") == 99


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("number", "-1", "value '-1' is not a number such as 20 or 12.5, with at most four decimals"),
        ("number", "1.23456", "value '1.23456' is not a number such as 20 or 12.5, with at most four decimals"),
        ("number", "1e3", "value '1e3' is not a number such as 20 or 12.5, with at most four decimals"),
        ("number", "٣", "value '٣' is not a number such as 20 or 12.5, with at most four decimals"),
        ("amount", "1.234", "value '1.234' has 3 decimals; EUR has 2"),
        ("amount", "-1.00", "value '-1.00' is negative"),
        ("amount", "1,00", "value '1,00' is not a decimal number such as 12.30"),
    ],
)
def test_a_value_is_never_guessed(kind: Any, text: str, said: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_value(kind, text, "EUR")
    assert str(raised.value) == said


@given(st.fractions(0, 10**6).map(lambda number: Fraction(round(number * 10_000), 10_000)))
def test_numbers_in_digits_are_exact(number: Fraction) -> None:
    whole, rest = divmod(number.numerator * 10_000 // number.denominator, 10_000)

    assert parse_value("number", f"{whole}.{rest:04d}", "EUR") == number


def test_a_tree_holds_itself_and_what_is_below_it_but_no_name_that_only_begins_like_it() -> None:
    assert is_under("Shoes", "shoes")
    assert is_under("shoes > Running > Trail", "Shoes > running")
    assert not is_under("Shoes", "Shoes > Running")
    assert not is_under("Shoes & Bags", "Shoes")
    assert not is_under("Shoes>Running", "Shoes")
    assert not is_under("", "Shoes")


# --- clauses ----------------------------------------------------------------------------------------------------------


def test_a_clause_has_one_of_three_forms() -> None:
    wrong = "is not one of: entity, attribute, operator and values; or all of several clauses; or any of several clauses"

    for clause in (SHOES, Clause(all=(SHOES,)), Clause(any=(SHOES, SHOES))):
        assert flaws(clause) == []
    for clause in (Clause(), Clause(all=(SHOES,), any=(SHOES,)), Clause("item", all=(SHOES,)), Clause(values=("x",), any=(SHOES,))):
        assert flaws(clause) == [wrong]
    assert flaws(Clause(all=(SHOES, Clause()))) == [f"all[2]: {wrong}"]


@pytest.mark.parametrize("count", [200, 201])
def test_a_clause_has_up_to_200_values(count: int) -> None:
    values = [f"sku-{number}" for number in range(count)]

    assert ask("item", "sku", "in", *values) == ([] if count == 200 else ["item.sku in has 201 values; it takes 1 to 200"])


def test_what_compares_takes_one_value_and_what_lists_takes_several() -> None:
    assert ask("item", "sku", "in") == ["item.sku in has 0 values; it takes 1 to 200"]
    assert ask("item", "sku", "equals_to", "a", "b") == ["item.sku equals_to has 2 values; it takes one"]
    assert ask("item", "price", "less_than", "1", "2") == ["item.price less_than has 2 values; it takes one"]
    assert ask("item", "name", "contains", "boot", "shoe") == []


def nested(levels: int) -> Clause:
    return SHOES if levels == 1 else Clause(any=(nested(levels - 1),))


def test_clauses_stand_up_to_five_levels_deep() -> None:
    assert flaws(nested(5)) == []
    assert flaws(nested(6)) == ["any[1].any[1].any[1].any[1].any[1]: stands 6 levels deep; 5 is the most"]
    assert flaws(nested(400)) == flaws(nested(6))


def test_a_rule_has_up_to_50_clauses_groups_among_them() -> None:
    assert flaws(Clause(all=(SHOES,) * 49)) == []
    assert flaws(Clause(all=(SHOES,) * 50)) == ["has 51 clauses; a rule has at most 50"]


def test_a_flaw_knows_the_way_to_its_clause() -> None:
    clause = Clause(all=(SHOES, Clause(any=(SHOES, Clause("item", "price", "in", ("x",))))))

    assert list(clause_flaws(clause, "order", "north", "main", KNOWN)) == [
        ClauseFlaw(("all", 1, "any", 1), "item.price: value 'x' is not a decimal number such as 12.30")
    ]
    assert flaws(clause) == ["all[2].any[2]: item.price: value 'x' is not a decimal number such as 12.30"]


def test_entities_attributes_and_operators_are_known() -> None:
    assert ask("basket", "sku", "in", "x") == ["entity 'basket' is not one of affiliate, customer, order, item, touch, lead"]
    assert ask("touch", "land", "in", "x")[0].startswith("touch has no attribute 'land'; there are class, country, device, channel,")
    assert ask("item", "Farbe", "in", "x")[0].endswith(
        "or what the shop sends, named by a small letter and up to 31 small letters, digits and _"
    )
    assert ask("item", "sku", "greater_than", "1")[0].startswith("operator 'greater_than' does not fit item.sku; there are equals_to, ")
    assert ask("item", "price", "starts_with", "1")[0].startswith("operator 'starts_with' does not fit item.price; there are ")
    assert ask("order", "coupons", "under", "x")[0].startswith("operator 'under' does not fit order.coupons")


@pytest.mark.parametrize(
    ("subject", "entities"),
    [
        ("order", "affiliate customer item order touch"),
        ("lead", "affiliate lead touch"),
        ("click", "affiliate touch"),
        ("impression", "affiliate touch"),
    ],
)
def test_a_condition_asks_for_what_is_known_of_what_is_paid_for(subject: Subject, entities: str) -> None:
    asks = {entity: (entity, attribute) for entity, attribute in ATTRIBUTES}
    sound = {
        entity for entity, place in asks.items() if not any("is not known of" in one for one in ask(*place, "in", "1", subject=subject))
    }

    assert sorted(sound) == entities.split()
    assert {entity for entity, _ in attributes_of(subject)} == sound
    if subject != "order":
        article = {"lead": "a lead", "click": "a click", "impression": "an impression"}[subject]
        asked = ", ".join(entities.split())
        assert ask("item", "sku", "in", "1", subject=subject) == [
            f"item.sku is not known of {article}; a rule that pays for one may ask for {asked}"
        ]


def test_a_touch_that_is_paid_for_itself_has_no_class_and_no_age() -> None:
    for name in ("class", "hours"):
        assert ask("touch", name, "equals_to", "1" if name == "hours" else "click", subject="lead") == []
        for subject, article in (("click", "a click"), ("impression", "an impression")):
            assert ask("touch", name, "equals_to", "1", subject=subject) == [
                f"touch.{name} is not known of {article}: the touch is itself what is paid for"
            ]
            assert ("touch", name) not in attributes_of(subject)


def test_a_name_that_another_attribute_tells_is_not_taken_for_what_the_shop_sends() -> None:
    assert ask("order", "country", "in", "DE") == ["order.country is asked for as customer.country"]
    assert ask("order", "customer_status", "in", "new") == ["order.customer_status is asked for as customer.status"]
    assert ask("item", "country", "in", "made in DE") == []


@pytest.mark.parametrize("value", ["", " ", "a\nb", "x" * 256])
def test_a_value_is_a_line_of_text(value: str) -> None:
    (found,) = ask("item", "name", "contains", value)

    assert found.endswith("is empty, longer than 255 characters or holds a line break")


def test_a_value_stands_once_in_whatever_letter_case_or_number_of_zeros() -> None:
    assert ask("item", "sku", "in", "Ab", "aB") == ["item.sku: value 'aB' stands twice"]
    assert ask("item", "quantity", "in", "2", "2.0") == ["item.quantity: value '2.0' stands twice"]
    assert ask("item", "price", "in", "2", "2.00") == ["item.price: value '2.00' stands twice"]


@pytest.mark.parametrize(
    ("entity", "attribute", "sound", "unsound", "said"),
    [
        ("customer", "status", "New", "old", "'old' is not one of new, returning, lapsed"),
        ("order", "channel", "POS", "till", "'till' is not one of web, app, pos, call, email, marketplace"),
        ("order", "weekday", "Sunday", "sunny", "'sunny' is not one of monday, tuesday, wednesday, thursday, friday, saturday, sunday"),
        ("item", "kind", "gift_card", "voucher", "'voucher' is not one of product, gift_card"),
        ("touch", "device", "phone", "mobile", "'mobile' is not one of desktop, phone, tablet, bot, other"),
        ("customer", "country", "de", "Germany", "'Germany' is not a country such as DE"),
        ("touch", "country", "DE", "D1", "'D1' is not a country such as DE"),
        ("order", "currency", "usd", "dollar", "'dollar' is not an ISO 4217 code such as EUR"),
        ("customer", "segments", "Firms", "vips", "'vips' is not a segment of tenant north"),
        ("order", "store", "Berlin", "ginza", "'ginza' is not a store of tenant north"),
        ("affiliate", "id", "anna", "ben", "'ben' is not a member of programme north main"),
    ],
)
def test_a_value_that_nothing_could_equal_is_a_slip(entity: Any, attribute: str, sound: str, unsound: str, said: str) -> None:
    for operator in ("equals_to", "not_equals", "in", "not_in"):
        assert ask(entity, attribute, operator, sound) == []
        assert ask(entity, attribute, operator, unsound) == [f"{entity}.{attribute}: {said}"]
    assert ask(entity, attribute, "starts_with", unsound) == []


def test_amounts_count_the_decimals_of_the_tenants_currency() -> None:
    assert ask("order", "value", "greater_than", "100.50") == []
    assert ask("order", "value", "greater_than", "100.50", tenant_id="tokyo") == ["order.value: value '100.50' has 2 decimals; JPY has 0"]
    for unknown in ("nobody", "broken"):  # the tenant is the flaw that is told
        assert ask("order", "value", "greater_than", "100.505", tenant_id=unknown) == []


def test_clauses_are_told_each_before_its_own_and_leaves_in_their_order() -> None:
    sku, price = Clause("item", "sku", "in", ("a",)), Clause("item", "price", "less_than", ("1",))
    group = Clause(any=(sku, price))
    whole = Clause(all=(SHOES, group))

    assert list(clauses_of(whole)) == [whole, SHOES, group, sku, price]
    assert leaves_of(whole) == (SHOES, sku, price)
    assert leaves_of(None) == ()


@given(st.data())
def test_every_sound_condition_is_taken(data: st.DataObject) -> None:
    subject: Subject = data.draw(st.sampled_from(get_args(Subject)))
    clause = data.draw(clauses(subject, Named("EUR", ("firms",), ("berlin",), ("anna",))))

    assert flaws(clause, subject) == []
