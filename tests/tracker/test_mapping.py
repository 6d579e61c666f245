"""Maps: what they say, and every fault with its line."""

import re
from pathlib import Path

import pytest

from core.toml_tables import Fault
from tracker.mapping import Map, MoneyForm, Subject, Times, Values, place_columns, read_map

DOCS = Path(__file__).parents[2] / "docs" / "import.md"
HEAD = '[[import]]\nof = "touches"\ntenant = "north"\n'
SOUND = HEAD + '[[columns]]\noccurred_at = "when"\naffiliate = "who"\n[[constants]]\nprogramme = "main"\n'


def faults_of(text: str, subject: Subject = "touches") -> list[str]:
    map_, faults = read_map(text, subject)
    assert (map_ is None) == bool(faults)
    return [str(fault) for fault in faults]


def read(text: str, subject: Subject = "touches") -> Map:
    map_, faults = read_map(text, subject)
    assert map_ is not None, faults
    return map_


def test_a_map_says_what_its_tables_say() -> None:
    found = read(
        SOUND
        + '[[values]]\nof = "affiliate"\nmap = [["4711", "anna"]]\nothers = "refuse"\n'
        + '[[times]]\nformat = "%d.%m.%Y"\nzone = "Europe/Berlin"\nambiguous = "later"\n'
        + '[[money]]\ndecimal = ","\nthousands = "."\n'
    )

    assert (found.subject, found.tenant_id) == ("touches", "north")
    assert found.columns == {"occurred_at": ("when",), "affiliate": ("who",)}
    assert found.constants == {"programme": "main"}
    assert found.values == {"affiliate": Values({"4711": "anna"}, refuses_others=True)}
    assert found.times == Times("%d.%m.%Y", "Europe/Berlin", "", "later")
    assert found.money == MoneyForm(",", ".")
    assert (found.delimiter, found.quote, found.encoding, found.unknown_affiliates) == (",", '"', "utf-8-sig", "refuse")
    assert found.line_of("columns.affiliate") == 6


def test_all_faults_come_at_once_with_their_lines() -> None:
    columns = '[[columns]]\nocurred_at = "when"\naffiliate = 7\n'
    text = HEAD + 'delimeter = ";"\n' + columns + '[[constant]]\nprogramme = "main"\n[[times]]\nzone = "Europe/Berln"\n'

    assert faults_of(text) == [
        "line 4: delimeter is no key of [[import]]; did you mean delimiter?",
        "line 5: nothing fills affiliate, and no kind says that the touches are paid or direct",
        "line 5: nothing fills occurred_at, which touches need",
        "line 5: nothing fills programme, which touches need",
        "line 6: ocurred_at is nothing that touches have; did you mean occurred_at?",
        "line 7: affiliate: 7 is not the name of a column, nor a list of names",
        "line 8: [[constant]] is no table of a map; did you mean constants?",
        "line 11: 'Europe/Berln' is not a time zone such as Europe/Berlin; did you mean Europe/Berlin?",
    ]


ENCODINGS = "is not an encoding such as utf-8, utf-16 or windows-1252"
FORMS = "is neither iso, epoch_s, epoch_ms nor a format such as %d.%m.%Y %H:%M"
PAIRS = 'map is a list of pairs, theirs and ours: [["4711", "anna"], ["4712", "ben"]]'


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('[[times]]\nformat = "%d.%m.%Y"\n', "line 9: times written '%d.%m.%Y' do not say their zone: add zone or zone_column"),
        ('[[times]]\nformat = "%H:%M"\nzone = "UTC"\n', f"line 10: '%H:%M' {FORMS}"),
        ('[[times]]\nzone = "UTC"\nzone_column = "z"\n', "line 9: zone and zone_column: a time is in one or the other"),
        ('[[times]]\nformat = "epoch_s"\nzone = "UTC"\n', "line 9: seconds since 1970 have no zone: leave zone out"),
        ('[[money]]\ndecimal = ","\nthousands = ","\n', "line 9: decimal and thousands are the same character"),
        ('[[attributes]]\nregion = "r"\n', "line 9: [[attributes]] are of orders alone"),
        ('[[values]]\nof = "kind"\nmap = ["a", "b"]\n', f"line 11: {PAIRS}"),
        ('[[values]]\nof = "kind"\nmap = [["a", "click"], ["a", "scan"]]\n', "line 11: map says twice what 'a' is"),
        ('[[import]]\nof = "touches"\ntenant = "x"\n', "line 9: [[import]] stands twice; its first is on line 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(more: str, fault: str) -> None:
    assert faults_of(SOUND + more) == [fault]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('tenant = "north"', 'tenant = "north"\nencoding = "utf-9"'), f"line 4: encoding: 'utf-9' {ENCODINGS}"),
        (('tenant = "north"', 'tenant = "north"\nencoding = "base64"'), f"line 4: encoding: 'base64' {ENCODINGS}"),
        (('tenant = "north"', 'tenant = "north"\ndelimiter = "\\""'), "line 1: delimiter and quote are the same character"),
        (('tenant = "north"', 'tenant = "north"\ndelimiter = "||"'), "line 4: delimiter: '||' is not one character"),
        (('of = "touches"', 'of = "orders"'), "line 2: this map is for orders; fairshare import touches needs one of its own"),
        (('programme = "main"', 'programme = "main"\nvisitor = "x"'), "line 9: visitor cannot be the same for every row"),
        (('affiliate = "who"', 'affiliate = ["who", "else"]'), "line 6: affiliate: only visitor and coupons are made of several columns"),
    ],
)  # fmt: skip
def test_what_a_table_cannot_hold_is_said(change: tuple[str, str], fault: str) -> None:
    assert fault in faults_of(SOUND.replace(*change))


ORDER = '[[import]]\nof = "orders"\ntenant = "north"\n[[columns]]\norder_id = "o"\noccurred_at = "t"\ncurrency = "c"\n'


def test_an_orders_lines_have_attributes_of_their_own() -> None:
    text = ORDER + 'total = "n"\nbrand = "b"\nitem_kind = "k"\n[[line_attributes]]\nseason = "s"\n'

    found = read(text, "orders")

    assert (found.attributes, found.line_attributes) == ({}, {"season": "s"})
    assert found.used == ("o", "t", "c", "n", "b", "k", "s")
    assert faults_of(text.replace("season", "Season"), "orders") == [
        "line 12: Season is no attribute's name: a-z first, then a-z, 0-9 and _, at most 32"
    ]
    assert faults_of(text.replace("season", "brand"), "orders") == ["line 12: brand is no attribute of a line: map it in [[columns]]"]
    many = "".join(f'a{number} = "x"\n' for number in range(16))
    assert faults_of(text + many, "orders") == ["line 11: 17 attributes; a line has at most 16"]
    assert faults_of(SOUND + '[[line_attributes]]\nseason = "s"\n') == ["line 9: [[line_attributes]] are of orders alone"]


def test_an_order_needs_an_amount_and_only_one_way_to_it() -> None:
    order = ORDER

    assert faults_of(order, "orders") == ["line 4: nothing fills net, unit_price or total: an order without an amount earns nothing"]
    assert faults_of(order + 'net = "n"\nunit_price = "p"\n', "orders") == [
        "line 4: net stands beside unit_price or line_discount: a line has one or the other"
    ]
    assert read(order + 'net = "n"\n', "orders").by_line is False
    by_line = order.replace('tenant = "north"', 'tenant = "north"\nrows = "lines"')
    assert faults_of(by_line + 'total = "n"\n', "orders") == [
        "line 5: rows that are lines need net or unit_price: a total is the whole order's"
    ]


def test_columns_are_found_or_told_with_the_nearest_name() -> None:
    places, faults = place_columns(read(SOUND), ["id", "when", "whom"])
    assert (places, faults) == ({"when": 1}, [Fault(6, "the file has no column 'who'; did you mean whom?")])

    _, twice = place_columns(read(SOUND), ["who", "when", "who"])
    assert twice == [Fault(6, "the file has 2 columns 'who'; a map can use only one that is alone")]


def test_every_map_of_the_documentation_is_sound() -> None:
    maps = re.findall(r"```toml (\w+)\.toml\n(.*?)```", DOCS.read_text("utf-8"), re.S)

    assert len(maps) == 5
    for _, text in maps:
        subject = re.search(r'of = "(\w+)"', text)
        assert subject
        read(text, subject[1])  # type: ignore[arg-type]
