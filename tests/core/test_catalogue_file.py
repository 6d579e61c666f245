import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalogue import (
    Bonus,
    Catalogue,
    Clause,
    Condition,
    Coupon,
    Limit,
    Model,
    Policy,
    Programme,
    RateCard,
    Rule,
    Store,
    Tenant,
    Tier,
    Tiers,
    TouchWindow,
)
from core.catalogue_file import read_catalogue, record_lines, write_catalogue
from core.catalogue_values import format_percent, parse_percent
from core.clock import parse_instant
from core.credit import TouchClass
from core.errors import BadInput
from core.toml_tables import Fault, read_tables
from tests.strategies import catalogues

SMALL = """\
[[tenant]]
id = "north"
name = "North Outdoor"
currency = "EUR"

[[programme]]
tenant = "north"
id = "main"
name = "North"
landing_url = "https://www.north.example/"
hosts = ["north.example"]

[[affiliate]]
id = "anna"
name = "Anna's trail blog"
email = "anna@trails.example"

[[membership]]
tenant = "north"
programme = "main"
affiliate = "anna"
status = "approved"
applied_at = 2026-01-01T00:00:00Z
approved_at = 2026-01-02T10:00:00.500Z

[[coupon]]
tenant = "north"
code = "TRAIL10"
programme = "main"
affiliate = "anna"
valid_to = 2026-12-31T23:00:00Z

[[policy]]
tenant = "north"
programme = "main"
version = 1
effective_from = 2026-01-01T00:00:00Z
model = "last"

[[policy.class]]
touch = "click"
window_hours = 720

[[rate_card]]
tenant = "north"
programme = "main"
version = 1
effective_from = 2026-01-01T00:00:00Z
hold_days = 30

[[rate_card.rule]]
id = "shoes"
percent = "7.5 %"
categories = ["shoes"]

[[rate_card.rule]]
id = "first-order"
fixed = "5.00"
per = "order"
customer_status = "new"
"""


def faults_in(text: str) -> list[str]:
    return [str(fault) for fault in read_catalogue(text)[1]]


def with_line(number: int, line: str) -> str:
    """SMALL with one of its lines replaced."""
    lines = SMALL.splitlines()
    lines[number - 1] = line
    return "\n".join(lines) + "\n"


def line_of(text: str) -> int:
    return SMALL.splitlines().index(text) + 1


# --- the good file ---------------------------------------------------------------------------------------------------


def test_a_good_file_is_read_without_a_fault():
    catalogue, faults = read_catalogue(SMALL)

    assert faults == []
    assert catalogue.coupons == (Coupon("north", "TRAIL10", "main", "anna", None, parse_instant("2026-12-31T23:00:00Z")),)
    assert catalogue.policies[0].classes == (TouchWindow("click", 720),)
    assert catalogue.memberships[0].approved_at == parse_instant("2026-01-02T10:00:00.500Z")
    assert catalogue.rate_cards[0].rules == (
        Rule("shoes", percent_bps=750, categories=("shoes",)),
        Rule("first-order", fixed_minor=500, per="order", customer_status="new"),
    )


def test_the_file_as_people_write_it_is_the_file_as_the_program_writes_it():
    catalogue, _ = read_catalogue(SMALL)

    assert write_catalogue(catalogue) == SMALL.replace('model = "last"\n', "")


def test_an_empty_file_is_an_empty_catalogue():
    assert read_catalogue("") == (Catalogue(), [])
    assert write_catalogue(Catalogue()) == ""


def test_layout_that_toml_allows_makes_no_difference():
    loose = (
        SMALL.replace('hosts = ["north.example"]', 'hosts = [ # where links may lead\n  "north.example",\n]')
        .replace(" = ", "=")
        .replace("\n", "\r\n")
    )

    assert read_catalogue(loose) == (read_catalogue(SMALL)[0], [])


def test_a_destination_may_hold_macros_letters_of_any_script_and_a_listed_port():
    text = SMALL.replace('"north.example"]', '"north.example", "north.example:8443"]')
    for url in ("https://north.example/s?ref={click_id}&s={sub1}", "https://shop.north.example/höhle#a", "http://north.example:8443/"):
        assert faults_in(text.replace("https://www.north.example/", url)) == []


def test_a_policy_without_classes_gets_the_default_windows():
    text = SMALL.replace('[[policy.class]]\ntouch = "click"\nwindow_hours = 720\n', "")

    assert read_catalogue(text)[0].policies[0].classes == Policy("north", "main", 1, 0).classes


def test_fixed_amounts_count_the_decimals_of_the_tenants_currency():
    text = SMALL.replace('"EUR"', '"JPY"').replace('"5.00"', '"500"')

    catalogue, faults = read_catalogue(text)

    assert faults == []
    assert catalogue.rate_cards[0].rules[1].fixed_minor == 500


@settings(max_examples=30, deadline=None)
@given(catalogues())
def test_every_sound_catalogue_reads_back_equal_and_writes_the_same_bytes(catalogue):
    text = write_catalogue(catalogue)

    assert read_catalogue(text) == (catalogue, [])
    assert write_catalogue(read_catalogue(text)[0]) == text


@settings(max_examples=15, deadline=None)
@given(catalogues())
def test_our_statements_hold_what_the_standard_reader_finds(catalogue):
    """An independent reading of the same file: tomllib's, of the whole text at once."""
    text = write_catalogue(catalogue)
    tables, _ = read_tables(text)

    by_name: dict[str, list[dict[str, object]]] = {}
    for table in tables:
        if table.part:
            by_name[table.name][-1].setdefault(table.part, []).append(table.values)  # type: ignore[attr-defined]
        else:
            by_name.setdefault(table.name, []).append(dict(table.values))
    assert by_name == tomllib.loads(text)


def test_the_books_own_records_may_be_named_by_a_partial_file():
    whole, _ = read_catalogue(SMALL)
    link = (
        '[[link]]\ncode = "trail"\ntenant = "north"\nprogramme = "main"\naffiliate = "anna"\ndestination = "https://north.example/shoes"\n'
    )
    rate = SMALL[SMALL.index("[[rate_card]]") :].replace("version = 1", "version = 2")

    assert read_catalogue(link + rate, known=whole)[1] == []
    assert faults_in(link)[0] == "line 3: tenant: 'north' is not a tenant"


# --- syntax ----------------------------------------------------------------------------------------------------------


def test_one_slip_hides_no_other():
    text = with_line(3, "name = North Outdoor").replace('name = "North"', "name = ").replace('status = "approved"', 'status = "aproved"')

    assert faults_in(text) == [
        "line 1: [[tenant]] lacks name",
        "line 3: 'name = North Outdoor' is not TOML: Invalid value",
        "line 6: [[programme]] lacks name",
        "line 9: 'name =' is not TOML: Invalid value",
        "line 22: status: 'aproved' is not one of applied, approved, suspended",
    ]


def test_a_list_that_was_never_closed_ends_at_the_next_key():
    text = SMALL.replace('hosts = ["north.example"]', 'hosts = ["north.example"').replace('email = "anna@trails.example"', "email = 5")

    assert [fault.split(":")[0] for fault in faults_in(text)] == ["line 11", "line 16"]


def test_a_slip_inside_a_list_is_told_at_its_own_line():
    text = SMALL.replace('hosts = ["north.example"]', 'hosts = [\n  "north.example",\n  north.test,\n]')

    assert [fault.split(" is not TOML")[0] for fault in faults_in(text)] == ["line 13: 'hosts = ['"]


def test_a_record_with_a_fault_is_left_out():
    catalogue, faults = read_catalogue(SMALL.replace("hold_days = 30", "hold_days = -1"))

    assert len(faults) == 1
    assert (len(catalogue.rate_cards), len(catalogue.policies)) == (0, 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[tenant]", "line 1: '[tenant]' is not a table header such as [[link]]"),
        ("[[tenant", "line 1: '[[tenant' is not a table header such as [[link]]"),
        ("[[tennant]]", "line 1: [[tennant]] is no table of a catalogue; did you mean tenant?"),
        ("", "line 2: a key stands before the first table; begin with a header such as [[tenant]]"),
    ],
)
def test_a_broken_header_is_told_at_its_line(line, said):
    assert said in faults_in(with_line(1, line))


def test_a_key_that_stands_twice_names_its_first():
    assert faults_in(with_line(4, 'currency = "EUR"\ncurrency = "GBP"')) == [
        "line 5: currency stands twice in this table; its first is on line 4"
    ]


def test_rules_without_a_rate_card_before_them_are_told():
    assert faults_in('[[rate_card.rule]]\nid = "a"\npercent = "1 %"\n') == [
        "line 1: [[rate_card.rule]] does not follow the [[rate_card]] that it belongs to"
    ]


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("[]{}\"'=#.\n\\ abt1-,_:")), max_size=80))
def test_no_text_breaks_the_reader(text):
    _, faults = read_tables(text)

    assert all(1 <= fault.line <= text.count("\n") + 1 for fault in faults)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.sampled_from(['"', "[", "]", "\n", "x", "=", "#", "'", ""]))
def test_a_mistyped_letter_is_told_or_harmless_and_never_crashes(position, letter):
    _, faults = read_catalogue(SMALL[:position] + letter + SMALL[position + 1 :])

    assert all(1 <= fault.line <= SMALL.count("\n") + 2 for fault in faults)


# --- values, one line each ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('id = "north"', 'id = "North"', "id: 'North' is not an id: 1 to 63 small letters, digits and dashes, no dash first or last"),
        ('currency = "EUR"', 'currency = "EURO"', "currency: 'EURO' is not an ISO 4217 code such as EUR"),
        ('currency = "EUR"', "currency = 978", "currency: 978 is not text in quotes"),
        ('name = "North Outdoor"', 'name = " "', "name: is empty"),
        ('name = "North Outdoor"', 'nmae = "North Outdoor"', "nmae is no key of [[tenant]]; did you mean name?"),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "https://south.example/"',
            "landing_url: leads to south.example, which is not on the programme's hosts (north.example)",
        ),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "https://evilnorth.example/"',
            "landing_url: leads to evilnorth.example, which is not on the programme's hosts (north.example)",
        ),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "javascript:alert(1)"',
            "landing_url: 'javascript:alert(1)' is not a URL such as https://www.example.com/page",
        ),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "https://north.example@evil.example/"',
            "landing_url: 'https://north.example@evil.example/' names a user, which no link may",
        ),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "https://north.example:8443/"',
            "landing_url: leads to north.example:8443, which is not on the programme's hosts (north.example)",
        ),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "https://north.example\\\\@evil.example/"',
            "landing_url: 'https://north.example\\\\@evil.example/' is not a URL such as https://www.example.com/page",
        ),
        (
            'landing_url = "https://www.north.example/"',
            'landing_url = "https://WWW.north.example/"',
            "landing_url: 'WWW.north.example' is not a host such as www.example.com, in small letters",
        ),
        ('hosts = ["north.example"]', 'hosts = ["www.north.example", "north/"]', "hosts: 'north/' is not a host such as example.com"),
        ('hosts = ["north.example"]', 'hosts = "north.example"', 'hosts: \'north.example\' is not a list of texts such as ["a", "b"]'),
        ('email = "anna@trails.example"', 'email = "anna"', "email: 'anna' is not an e-mail address"),
        ('affiliate = "anna"', 'affiliate = "hanna"', "affiliate: 'hanna' is not an affiliate"),
        ('status = "approved"', 'status = "suspended"', "status: is suspended, so suspended_at must be given"),
        (
            "applied_at = 2026-01-01T00:00:00Z",
            "applied_at = 2026-01-01T00:00:00",
            "applied_at: 2026-01-01T00:00:00 has no time zone; add Z for UTC",
        ),
        (
            "applied_at = 2026-01-01T00:00:00Z",
            "applied_at = 9999-12-31T23:00:00-05:00",
            "applied_at: 9999-12-31T23:00:00-05:00 is outside the calendar",
        ),
        (
            "applied_at = 2026-01-01T00:00:00Z",
            'applied_at = "2026-01-01"',
            "applied_at: '2026-01-01' is not a time such as 2026-11-21T20:15:00Z, without quotes",
        ),
        ('code = "TRAIL10"', 'code = "trail10"', "code: 'trail10' is not a coupon code: 1 to 64 capital letters, digits, - and _"),
        (
            'model = "last"',
            'model = "best"',
            "model: 'best' is not one of " + ", ".join(get_args(Model)),
        ),
        (
            'model = "last"',
            'model = "last_click"',
            "model: 'last_click' is called 'last' now: it takes touches of every class",
        ),
        ("hold_days = 30", "hold_days = -1", "hold_days: -1 is not between 0 and 3650"),
        ("hold_days = 30", "hold_days = true", "hold_days: True is not a whole number"),
        ('percent = "7.5 %"', "percent = 7.5", "percent: 7.5 is not a percentage in quotes such as '7.5 %'"),
        (
            'percent = "7.5 %"',
            'percent = "7.125 %"',
            "percent: percent '7.125 %' is not a percentage with at most two decimals, such as '7.5 %'",
        ),
        ('fixed = "5.00"', 'fixed = "5.001"', "fixed: amount '5.001' has 3 decimals; EUR has 2"),
        ('categories = ["shoes"]', "categories = [1]", 'categories: [1] is not a list of texts such as ["a", "b"]'),
    ],
)
def test_a_wrong_value_is_told_at_its_line(before, after, said):
    assert f"line {line_of(before)}: {said}" in faults_in(SMALL.replace(before, after, 1))


def test_approved_before_applied_is_told_at_the_approval():
    text = SMALL.replace("approved_at = 2026-01-02T10:00:00.500Z", "approved_at = 2025-12-31T23:59:59Z")

    assert faults_in(text) == [f"line {line_of('approved_at = 2026-01-02T10:00:00.500Z')}: approved_at: is before applied_at"]


def test_one_unknown_tenant_is_one_fault_a_table_and_no_fault_about_its_amounts():
    text = SMALL.replace('tenant = "north"', 'tenant = "nord"')

    assert faults_in(text) == [f"line {n}: tenant: 'nord' is not a tenant" for n in (7, 19, 27, 34, 45)]


def test_a_slip_in_a_record_is_not_repeated_by_those_that_name_it():
    assert faults_in(with_line(15, "name = 7")) == ["line 15: name: 7 is not text in quotes"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("window_hours = 720", "window_hours = 0", "policy.class: window_hours 0 of click is not between 1 and 87600"),
        ('touch = "click"', 'touch = "scroll"', "policy.class: 'scroll' is not one of " + ", ".join(get_args(TouchClass))),
        ('percent = "7.5 %"', 'percent = "100.01 %"', "rate_card.rule: rule shoes: percent is not between 0 % and 100 %"),
        (
            'categories = ["shoes"]',
            'per = "day"',
            "rate_card.rule: rule shoes: per 'day' is not one of order, line, unit",
        ),
        ('categories = ["shoes"]', 'segments = ["vips"]', "rate_card.rule: rule shoes: 'vips' is not a segment of tenant north"),
    ],
)
def test_nonsense_in_a_policy_or_rate_card_is_told_at_its_class_or_rule(before, after, said):
    assert faults_in(SMALL.replace(before, after)) == [f"line {line_of(before)}: {said}"]


def test_what_a_rule_lacks_is_told_at_its_header():
    assert faults_in(SMALL.replace('percent = "7.5 %"', "priority = 1")) == [
        f"line {line_of('[[rate_card.rule]]')}: rate_card.rule: rule shoes: give percent or fixed, or both"
    ]


def test_a_rule_id_that_stands_twice_is_told_at_the_second():
    text = SMALL.replace('id = "first-order"', 'id = "shoes"')

    assert faults_in(text) == ["line 56: rate_card.rule: 'shoes' stands twice"]


# --- rate cards of every rule --------------------------------------------------------------------------------------------

FULL = (
    SMALL
    + """\

[[rate_card]]
tenant = "north"
programme = "main"
version = 2
effective_from = 2026-03-01T00:00:00Z
hold_days = 30
priced_at = "touch"
pays_on = ["tax", "shipping"]
minimum_order = "20.00"
recruiters = ["10 %", "2.5 %"]
recruiter_of = "revenue"
settle_in = "USD"
fx_rounding = "half_even"

[[rate_card.rule]]
id = "trail-shoes"
percent = "8 %"
fixed = "1.50"
per = "unit"
when = { all = [
    { entity = "item", attribute = "category", operator = "under", values = ["Shoes"] },
    { any = [
        { entity = "customer", attribute = "orders", operator = "equals_to", values = ["1"] },
        { entity = "item", attribute = "price", operator = "greater_than", values = ["99.90"] },
    ] },
] }
most = "40.00"
tiers = { measure = "revenue", period = "month", retroactive = true, steps = [
    { at_least = "1000.00", percent = "10 %", fixed = "2.00" },
    { at_least = "5000.00", percent = "12 %", fixed = "2.00" },
] }

[[rate_card.rule]]
id = "visits"
subject = "click"
fixed = "0.05"
per = "click"
when = { entity = "touch", attribute = "country", operator = "in", values = ["DE", "AT"] }

[[rate_card.limit]]
id = "budget"
amount = "500.00"
period = "month"
shared = true
rules = ["visits"]

[[rate_card.bonus]]
id = "ten-orders"
measure = "orders"
period = "quarter"
at_least = 10
pays = "50.00"

[[rate_card.bonus]]
id = "big"
measure = "revenue"
period = "year"
at_least = "10000.00"
pays = "100.00"
"""
)
TRAIL_SHOES = Rule(
    "trail-shoes",
    percent_bps=800,
    fixed_minor=150,
    per="unit",
    when=Clause(
        all=(
            Clause("item", "category", "under", ("Shoes",)),
            Clause(any=(Clause("customer", "orders", "equals_to", ("1",)), Clause("item", "price", "greater_than", ("99.90",)))),
        )
    ),
    most_minor=4_000,
    tiers=Tiers("revenue", "month", (Tier(100_000, 1_000, 200), Tier(500_000, 1_200, 200)), retroactive=True),
)
CLICKS = Rule("visits", fixed_minor=5, per="click", subject="click", when=Clause("touch", "country", "in", ("DE", "AT")))


def line_in_full(text: str) -> int:
    return next(number for number, line in enumerate(FULL.splitlines(), 1) if text in line)


def test_a_rate_card_of_every_rule_is_read_and_written_as_people_write_it():
    catalogue, faults = read_catalogue(FULL)

    assert faults == []
    assert catalogue.rate_cards[1] == RateCard(
        "north",
        "main",
        2,
        parse_instant("2026-03-01T00:00:00Z"),
        30,
        (TRAIL_SHOES, CLICKS),
        priced_at="touch",
        pays_on=("tax", "shipping"),
        minimum_order_minor=2_000,
        limits=(Limit("budget", 50_000, "month", shared=True, rules=("visits",)),),
        bonuses=(Bonus("ten-orders", "orders", "quarter", 10, 5_000), Bonus("big", "revenue", "year", 1_000_000, 10_000)),
        recruiter_bps=(1_000, 250),
        recruiter_of="revenue",
        settle_in="USD",
        fx_rounding="half_even",
    )
    written = write_catalogue(catalogue)
    assert written[written.index("[[rate_card]]\n", written.index("[[rate_card]]") + 1) :] == FULL[len(SMALL) + 1 :]


def test_whom_a_rate_card_may_ask_for_is_written_at_members_and_coupons():
    text = SMALL.replace('"EUR"', '"EUR"\nadjustment_limit = "250.00"')
    text = text.replace("approved_at = 2026-01-02T10:00:00.500Z", 'approved_at = 2026-01-02T10:00:00.500Z\ngroup = "gold"')
    text = text.replace("valid_to = 2026-12-31T23:00:00Z", 'valid_to = 2026-12-31T23:00:00Z\nclass = "situational"')

    catalogue, faults = read_catalogue(text)

    assert faults == []
    assert catalogue.tenants[0].adjustment_limit_minor == 25_000
    assert catalogue.memberships[0].group == "gold"
    assert catalogue.coupons[0].coupon_class == "situational"
    assert write_catalogue(catalogue) == text.replace('model = "last"\n', "")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('["Shoes"]', '"Shoes"', 'when.all[1].values: \'Shoes\' is not a list of texts such as ["a", "b"]'),
        ('operator = "under"', 'oprator = "under"', "oprator is no key of when.all[1]; did you mean operator?"),
        (
            'values = ["1"]',
            'values = ["1", "2"]',
            "rate_card.rule: rule trail-shoes: when.all[2].any[1]: customer.orders equals_to has 2 values; it takes one",
        ),
        (
            '["99.90"]',
            '["99.901"]',
            "rate_card.rule: rule trail-shoes: when.all[2].any[2]: item.price: value '99.901' has 3 decimals; EUR has 2",
        ),
        ('{ at_least = "5000.00",', "{ at_least = 5000,", "tiers.steps[2].at_least: 5000 is not an amount in quotes such as '5.00'"),
        (
            '{ at_least = "5000.00",',
            '{ at_least = "999.99",',
            "rate_card.rule: rule trail-shoes: tiers.steps[2]: at_least is not above that of the step before it",
        ),
        (
            '{ at_least = "5000.00", percent = "12 %"',
            '{ at_least = "5000.00", percent = "12"',
            "tiers.steps[2].percent: percent '12' is not a percentage with at most two decimals, such as '7.5 %'",
        ),
        (
            'most = "40.00"',
            'most = "0.00"',
            "rate_card.rule: rule trail-shoes: most is not positive, or beyond the largest amount taken",
        ),
        ('rules = ["visits"]', 'rules = ["visit"]', "rate_card.limit: limit budget: rules: 'visit' is not a rule of this version"),
        ('amount = "500.00"', "amount = 500", "amount: 500 is not an amount in quotes such as '5.00'"),
        ("at_least = 10", 'at_least = "10.00"', "at_least: '10.00' is not a whole number"),
        ('pays = "50.00"', 'pays = "-1.00"', "rate_card.bonus: bonus ten-orders: pays is not positive, or beyond the largest amount taken"),
        ('id = "big"', 'id = "ten-orders"', "rate_card.bonus: 'ten-orders' stands twice"),
        (
            'recruiters = ["10 %", "2.5 %"]',
            'recruiters = ["10 %", "2.5"]',
            "recruiters: percent '2.5' is not a percentage with at most two decimals, such as '7.5 %'",
        ),
        ('recruiters = ["10 %", "2.5 %"]', 'recruiters = ["90 %", "20 %"]', "recruiters: is more than 100 % together"),
        ('settle_in = "USD"', 'settle_in = "dollars"', "settle_in: 'dollars' is not an ISO 4217 code such as EUR"),
        ('minimum_order = "20.00"', 'minimum_order = "-20.00"', "minimum_order: is negative or beyond the largest amount taken"),
    ],
)
def test_a_slip_in_a_rate_card_is_told_at_its_line_however_deep(before, after, said):
    assert FULL.count(before) == 1
    line = line_in_full(before)
    at = line - 1 if said.endswith("stands twice") else line  # an id that stands twice is told at the header

    assert faults_in(FULL.replace(before, after)) == [f"line {at}: {said}"]


def test_every_slip_of_a_condition_is_told_at_once():
    text = FULL.replace('["99.90"]', '["99.901"]').replace('entity = "customer"', 'entity = "custmer"').replace('["Shoes"]', "[]")
    first = line_in_full('["Shoes"]')

    assert [fault.partition(": rate_card.rule: rule trail-shoes: when.")[::2] for fault in faults_in(text)] == [
        (f"line {first}", "all[1]: item.category under has 0 values; it takes 1 to 200"),
        (f"line {first + 2}", "all[2].any[1]: entity 'custmer' is not one of affiliate, customer, order, item, touch, lead"),
        (f"line {first + 3}", "all[2].any[2]: item.price: value '99.901' has 3 decimals; EUR has 2"),
    ]


def test_a_measure_that_is_missing_is_the_only_fault_of_its_table():
    for thresholds in (FULL, FULL.replace('at_least = "10000.00"', "at_least = 10000")):
        text = thresholds.replace('measure = "revenue"\n', "")
        assert [fault.partition(": ")[2] for fault in faults_in(text)] == ["[[rate_card.bonus]] lacks measure"]


def test_a_condition_too_deep_is_told_where_it_begins_to_be():
    for levels, depth_told in ((5, False), (6, True), (60, True)):
        inner = (
            "{ all = [" * (levels - 1) + '{ entity = "item", attribute = "sku", operator = "in", values = ["a"] }' + "] }" * (levels - 1)
        )
        text = SMALL.replace('categories = ["shoes"]', f"when = {inner}")
        told = [f"line 54: when{'.all[1]' * 5}: stands 6 levels deep; 5 is the most"]
        assert faults_in(text) == (told if depth_told else [])


def test_dotted_keys_within_a_value_are_told_at_the_line_of_its_key():
    """They make tables without a brace, so that braces can no longer be told apart by counting."""
    text = SMALL.replace('categories = ["shoes"]', 'when = { all = [\n  { item.sku = "a" },\n  { entity = "item" },\n] }')

    (fault,) = faults_in(text)
    assert fault.startswith("line 54: item is no key of when.all[1]; ")


def test_a_value_of_endless_brackets_is_a_fault_and_not_a_crash():
    for bracket in ("[", "{ all = ["):
        text = SMALL.replace('categories = ["shoes"]', f"when = {bracket * 5000}")
        assert [fault[:8] for fault in faults_in(text)] == ["line 54:"]


# --- between records --------------------------------------------------------------------------------------------------


def test_a_record_that_stands_twice_names_its_first():
    assert faults_in(SMALL + '\n[[affiliate]]\nid = "anna"\nname = "Anna"\nemail = "a@b.example"\n') == [
        f"line {SMALL.count(chr(10)) + 2}: affiliate anna stands twice; the first is on line 13"
    ]


def test_a_coupon_has_one_owner():
    bert = '\n[[affiliate]]\nid = "bert"\nname = "Bert"\nemail = "b@b.example"\n'
    other = '\n[[coupon]]\ntenant = "north"\ncode = "TRAIL10"\nprogramme = "main"\naffiliate = "bert"\n'

    assert [fault.split(": ", 1)[1] for fault in faults_in(SMALL + bert + other)] == [
        "coupon north TRAIL10 has two owners, anna and bert: a code credits one affiliate; the first is on line 26"
    ]


def test_only_members_own_links_and_coupons():
    text = SMALL.replace(
        '[[membership]]\ntenant = "north"\nprogramme = "main"\naffiliate = "anna"\nstatus = "approved"', "# no member"
    ).replace("applied_at = 2026-01-01T00:00:00Z\napproved_at = 2026-01-02T10:00:00.500Z\n", "")

    assert [fault.split(": ", 1)[1] for fault in faults_in(text)] == ["affiliate: 'anna' is not a member of programme north main"]


def test_users_belong_to_a_tenant_or_an_affiliate_by_their_role():
    def user(rest: str) -> list[str]:
        return [
            fault.split(": ", 1)[1]
            for fault in faults_in(SMALL + '\n[[user]]\nemail = "u@x.example"\nname = "U"\npassword_hash = ""\n' + rest)
        ]

    assert user('role = "finance"\ntenant = "north"\n') == []
    assert user('role = "affiliate"\naffiliate = "anna"\n') == []
    assert user('role = "finance"\n') == ["tenant: '' is not a tenant"]
    assert user('role = "affiliate"\ntenant = "north"\n') == [
        "affiliate: '' is not an affiliate",
        "tenant: is given for an affiliate's user, who belongs to no single tenant",
    ]
    assert user('role = "boss"\ntenant = "north"\n') == ["role: 'boss' is not one of affiliate, merchant, finance, analyst"]


def test_a_password_or_a_key_in_plain_text_is_refused():
    user = '\n[[user]]\nemail = "u@x.example"\nname = "U"\nrole = "finance"\ntenant = "north"\npassword_hash = "letmein"\n'
    key = '\n[[api_key]]\nid = "shop"\ntenant = "north"\nname = "Shop"\nhash = "sk_live_123"\n'

    assert [fault.split(": ", 1)[1] for fault in faults_in(SMALL + user + key)] == [
        "password_hash: is not an Argon2id hash; a password itself never stands in this file",
        "hash: is not a SHA-256 in 64 small hex digits; a key itself never stands in this file",
    ]


def test_each_record_has_a_line():
    assert record_lines(SMALL)["coupons", "north", "TRAIL10"] == 26
    assert record_lines(SMALL)["rate_cards", "north", "main", 1] == 44


# --- percents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bps", "text"), [(750, "7.5 %"), (700, "7 %"), (725, "7.25 %"), (5, "0.05 %"), (0, "0 %"), (10_000, "100 %")])
def test_percents_read_as_people_write_them(bps, text):
    assert format_percent(bps) == text
    assert parse_percent(text) == bps


@pytest.mark.parametrize("text", ["7,5 %", "7.5", "-1 %", "7.555 %", "٧ %", ".5 %", ""])
def test_a_percent_is_never_guessed(text):
    with pytest.raises(BadInput):
        parse_percent(text)


def test_faults_sort_by_line():
    assert sorted([Fault(10, "b"), Fault(2, "c"), Fault(10, "a")]) == [Fault(2, "c"), Fault(10, "a"), Fault(10, "b")]


def test_a_long_list_reads_whole():
    links = "".join(
        f'\n[[link]]\ncode = "l{i}"\ntenant = "north"\nprogramme = "main"\naffiliate = "anna"\ndestination = "https://north.example/{i}"\n'
        for i in range(2000)
    )
    catalogue, faults = read_catalogue(SMALL + links)

    assert (len(catalogue.links), faults) == (2000, [])


def test_the_example_of_the_documentation_is_a_good_file():
    page = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0].replace('hash = "…"  ', f'hash = "{"0" * 64}"  ')

    catalogue, faults = read_catalogue(example)

    assert faults == []
    assert all(len(getattr(catalogue, kind)) >= 1 for kind in catalogue.__struct_fields__)


def test_a_store_belongs_to_one_programme():
    north = Tenant("north", "North", "EUR")
    shop = Store("north", "shop", "Shop")
    twice = [Programme("north", slug, slug, "https://a.example/", ("a.example",), ("shop",)) for slug in ("one", "two")]

    _, faults = read_catalogue(write_catalogue(Catalogue(tenants=(north,), stores=(shop,), programmes=tuple(twice))))
    assert [fault.message for fault in faults] == [
        "stores: 'shop' is taken by programme two",
        "stores: 'shop' is taken by programme one",
    ]


# --- caps ------------------------------------------------------------------------------------------------------------


def with_caps(text: str) -> str:
    """SMALL with these lines at the end of its programme."""
    return SMALL.replace('hosts = ["north.example"]\n', f'hosts = ["north.example"]\n{text}\n')


def test_caps_are_read_and_a_catalogue_without_them_has_none():
    text = with_caps('daily_click_cap = 500\ntotal_click_cap = 20000\nfallback_url = "https://north.example/sold-out"')
    programme = read_catalogue(text)[0].programmes[0]

    assert (programme.daily_click_cap, programme.total_click_cap, programme.fallback_url) == (500, 20_000, "https://north.example/sold-out")
    bare = read_catalogue(SMALL)[0].programmes[0]
    assert (bare.daily_click_cap, bare.total_click_cap, bare.fallback_url) == (None, None, "")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("daily_click_cap = 0", "daily_click_cap: 0 is not between 1 and 1000000000; to let no click earn, disable the links instead"),
        ("total_click_cap = 1000000001", "total_click_cap: 1000000001 is not between 1 and 1000000000"),
        ('daily_click_cap = "5"', "daily_click_cap: '5' is not a whole number"),
        ("daily_click_cap = 9\ntotal_click_cap = 8", "total_click_cap: 8 is less than the 9 of a single day"),
        ('fallback_url = "https://evil.example/"', "fallback_url: leads to evil.example, which is not on the programme's hosts"),
        ('fallback_url = "javascript:alert(1)"', "fallback_url: 'javascript:alert(1)' is not a URL"),
    ],
)
def test_a_wrong_cap_says_what_is_wrong(line: str, fault: str):
    faults = faults_in(with_caps(line))
    assert len(faults) == 1
    assert fault in faults[0]


# --- segments, coalitions and what policies rule ----------------------------------------------------------------------

RULED = """
[[segment]]
tenant = "north"
id = "firms"
name = "Firms"

[[segment.condition]]
field = "account_type"
values = ["b2b"]

[[segment.condition]]
field = "country"
values = ["DE", "AT"]

[[policy]]
tenant = "north"
programme = "main"
version = 2
effective_from = 2026-02-01T00:00:00Z
segment = "firms"
model = "position"
first = "30 %"
last = "12.5 %"
half_life_hours = 24
introducer = "20 %"
closer = "60 %"
coupon_rule = "split"
coupon_share = "25 %"
guard_exclusive_codes = false
paid_rule = "unless_recent"
paid_media = ["cpc"]
paid_recent = 3
direct_rule = "counts"
self_referral = "refuse"
min_seconds_to_order = 5
stand_down_minutes = 30
lock_days = 90

[[policy.class]]
touch = "coupon"
window_hours = 0

[[policy.class]]
touch = "click"
window_hours = 720

[[policy.class]]
touch = "scan"
window_hours = 2160
tied = true

[[tenant]]
id = "south"
name = "South"
currency = "EUR"
lapsed_after_days = 180

[[coalition]]
id = "outdoors"
name = "Outdoors"
classes = ["click", "scan"]
marketplace = "north"

[[coalition.member]]
tenant = "north"
joined_at = 2026-01-01T00:00:00Z

[[coalition.member]]
tenant = "south"
joined_at = 2026-03-01T00:00:00Z
left_at = 2027-03-01T00:00:00Z
"""
START = SMALL.count("\n")


def test_every_rule_of_a_policy_is_read_as_it_is_written():
    catalogue, faults = read_catalogue(SMALL + RULED)

    assert faults == []
    assert catalogue.segments[0].conditions == (Condition("account_type", ("b2b",)), Condition("country", ("DE", "AT")))
    assert catalogue.tenants[1].lapsed_after_days == 180
    assert catalogue.policies[1] == Policy(
        "north",
        "main",
        2,
        parse_instant("2026-02-01T00:00:00Z"),
        "position",
        (TouchWindow("coupon", 0), TouchWindow("click", 720), TouchWindow("scan", 2160, tied=True)),
        segment="firms",
        first_bps=3000,
        last_bps=1250,
        half_life_hours=24,
        introducer_bps=2000,
        closer_bps=6000,
        coupon_rule="split",
        coupon_bps=2500,
        guard_exclusive_codes=False,
        paid_rule="unless_recent",
        paid_media=("cpc",),
        paid_recent=3,
        direct_rule="counts",
        self_referral="refuse",
        min_seconds_to_order=5,
        stand_down_minutes=30,
        lock_days=90,
    )
    assert [(member.tenant_id, member.left_at) for member in catalogue.coalitions[0].members] == [
        ("north", None),
        ("south", parse_instant("2027-03-01T00:00:00Z")),
    ]
    policy = RULED.partition("[[policy]]")[2].partition("[[tenant]]")[0]
    assert policy.strip() in write_catalogue(catalogue)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('field = "country"', 'field = "Country"', "segment.condition: Country: 'Country' is not a field: "),
        ('values = ["DE", "AT"]', 'value = ["DE"]', "value is no key of [[segment.condition]]; did you mean values?"),
        ('segment = "firms"', 'segment = "firm"', "segment: 'firm' is not a segment of tenant north"),
        ('segment = "firms"', 'segmnt = "firms"', "segmnt is no key of [[policy]]; did you mean segment?"),
        ('first = "30 %"', 'first = "30"', "first: percent '30' is not a percentage with at most two decimals, such as '7.5 %'"),
        ('last = "12.5 %"', 'last = "70.01 %"', "last: and first are more than 100 % together"),
        ('closer = "60 %"', 'closer = "81 %"', "closer: and introducer are more than 100 % together"),
        ("half_life_hours = 24", "half_life_hours = 0", "half_life_hours: 0 is not between 1 and 87600"),
        ('coupon_rule = "split"', 'coupon_rule = "share"', "coupon_rule: 'share' is not one of by_rank, coupon_wins, "),
        ("guard_exclusive_codes = false", 'guard_exclusive_codes = "no"', "guard_exclusive_codes: 'no' is not true or false"),
        ('paid_media = ["cpc"]', 'paid_media = ["CPC"]', "paid_media: 'CPC' is not a medium such as cpc, in up to 64 small letters"),
        ("lock_days = 90", "lock_days = 3651", "lock_days: 3651 is not between 1 and 3650"),
        ("lapsed_after_days = 180", "lapsed_after_days = 0", "lapsed_after_days: 0 is not between 1 and 3650"),
        ('classes = ["click", "scan"]', 'classes = ["coupon"]', "classes: 'coupon' is not one of click, soft_click, "),
        ('marketplace = "north"', 'marketplace = "west"', "marketplace: 'west' is not a member of the coalition"),
    ],
)
def test_a_wrong_rule_is_told_at_its_line_and_alone(before, after, said):
    lines = (SMALL + RULED).splitlines()
    at = next(number for number, line in enumerate(lines, start=1) if line == before and number > START)
    wrong = "\n".join([*lines[: at - 1], after, *lines[at:]]) + "\n"
    told = [fault for fault in faults_in(wrong) if "lacks" not in fault]

    assert len(told) == 1
    # A part's flaw is told at the part's header, which stands right above its first key.
    assert told[0].startswith((f"line {at}: {said}", f"line {at - 1}: {said}"))


def test_a_part_is_told_at_its_key_or_its_header():
    tied_first = (SMALL + RULED).replace('touch = "coupon"\nwindow_hours = 0', 'touch = "coupon"\nwindow_hours = 0\ntied = true')
    twice = (SMALL + RULED).replace('tenant = "south"\njoined_at', 'tenant = "north"\njoined_at')

    lines = (SMALL + RULED).splitlines()
    first_class = lines.index('touch = "coupon"')
    second_member = lines.index('tenant = "south"')
    assert faults_in(tied_first) == [
        f"line {first_class + 3}: policy.class: coupon is tied, but it is the first: there is no class before it to be tied to"
    ]
    assert faults_in(twice) == [f"line {second_member}: coalition.member: 'north' stands twice"]


def test_a_coalition_of_tenants_that_stand_in_neither_file_nor_books_is_refused():
    assert [fault.split(": ", 1)[1] for fault in faults_in(RULED[RULED.index("[[coalition]]") :])] == [
        "coalition.member: 'north' is not a tenant",
        "coalition.member: 'south' is not a tenant",
    ]
