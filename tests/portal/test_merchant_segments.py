"""Segments: defined by conditions, told in words with what uses them, never of another merchant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Condition, Policy, Programme, RateCard, Rule, Segment
from portal.forms import Form
from portal.merchant_segments import MOST_CONDITIONS, add_rows, conditions_form, count_rows, read_segment, sentence
from store.catalogue import find, put
from tests.fakes import NOON
from tests.people import MARTHA
from tests.portal.conftest import cast_catalogue, words_of
from tests.strategies import conditions

PATH = "/merchant/segments"
NEW = {"segment_id": "south-germany", "name": "Southern Germany", "field_0": "country", "values_0": "DE", "field_1": "", "values_1": ""}


def kept(books, segment_id):
    with books.reading() as connection:
        return find(connection, Segment, "north", segment_id)


def test_a_segment_is_added_with_its_conditions(portal, sqlite_books):
    more = {"field_1": "region", "values_1": 'Bayern, "Baden, Württemberg"', "field_2": "", "values_2": ""}

    assert portal.post(PATH, NEW | more, as_=MARTHA).status_code == 303
    assert kept(sqlite_books, "south-germany") == Segment(
        "north",
        "south-germany",
        "Southern Germany",
        (Condition("country", ("DE",)), Condition("region", ("Bayern", "Baden, Württemberg"))),
    )
    page = words_of(portal.get(PATH, as_=MARTHA))
    assert "Southern Germany south-germany country is DE, and region is Bayern or Baden, Württemberg nothing yet" in page


def test_a_segment_shows_what_uses_it(portal, sqlite_books):
    with sqlite_books.writing() as connection:
        put(connection, Policy("north", "main", 2, NOON, segment="firms"), "tests", NOON)
        put(connection, Programme("north", "offices", "Offices", "https://north.example/", segments=("firms",)), "tests", NOON)
        put(connection, Segment("north", "vips", "VIPs", (Condition("loyalty_tier", ("gold",)),)), "tests", NOON)
        put(connection, Programme("north", "club", "Club", "https://north.example/", segments=("vips",)), "tests", NOON)
        put(connection, RateCard("north", "main", 2, NOON, 30, (Rule("b2b", percent_bps=1, segments=("firms",)),)), "tests", NOON)

    told = "account_type is b2b a policy of North affiliates , the rate card of North affiliates , the programme Offices VIPs vips"
    assert told in words_of(portal.get(PATH, as_=MARTHA))
    page = portal.get(f"{PATH}/firms", as_=MARTHA)
    assert '<a href="/merchant/programmes/main/rates">the rate card of North affiliates</a>' in page.text
    assert "orders that are not final yet are decided by them anew" in words_of(page)


def test_its_conditions_change_and_its_id_stays(portal, sqlite_books):
    form = {"name": "Firms", "field_0": "account_type", "values_0": "b2b, public", "segment_id": "other"}

    assert portal.post(f"{PATH}/firms", form, as_=MARTHA).status_code == 303
    assert kept(sqlite_books, "firms") == Segment("north", "firms", "Firms", (Condition("account_type", ("b2b", "public")),))
    assert kept(sqlite_books, "other") is None


def test_one_more_condition_keeps_what_was_typed_and_saves_nothing(portal, sqlite_books):
    page = portal.post(PATH, NEW | {"action": "row"}, as_=MARTHA)

    assert (page.status_code, 'id="field_2"' in page.text, 'id="field_3"' in page.text) == (200, True, False)
    assert 'value="Southern Germany"' in page.text
    assert kept(sqlite_books, "south-germany") is None
    assert 'id="field_3"' in portal.post(f"{PATH}/firms", NEW | {"field_2": "", "action": "row"}, as_=MARTHA).text


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"field_0": ""}, "Please fill this in."),
        ({"field_0": "", "values_0": ""}, "Please write at least one condition: every order would be in this segment."),
        ({"field_0": "Country"}, "'Country' is not a field: a small letter, "),
        ({"values_0": "Germany"}, "'Germany' is not a country such as DE."),
        ({"values_0": ""}, "Has 0 values; a condition has 1 to 200."),
        ({"field_0": "store", "values_0": "cellar"}, "'cellar' is not a store of tenant north."),
        ({"field_1": "country", "values_1": "AT"}, "'country' stands twice."),
        ({"segment_id": "firms"}, "Segment north firms exists already; choose another id."),
        ({"name": ""}, "Please fill this in."),
    ],
)
def test_a_wrong_segment_is_told_and_not_kept(portal, sqlite_books, typed, said):
    page = portal.post(PATH, NEW | typed, as_=MARTHA)

    assert page.status_code == 422
    assert said in words_of(page)
    assert kept(sqlite_books, "south-germany") is None


def test_wrong_conditions_of_one_that_is_there_change_nothing(portal, sqlite_books):
    before = kept(sqlite_books, "firms")
    page = portal.post(f"{PATH}/firms", {"name": "Firms", "field_0": "channel", "values_0": "fax"}, as_=MARTHA)

    assert (page.status_code, kept(sqlite_books, "firms")) == (422, before)


@given(st.lists(conditions, min_size=1, max_size=5, unique_by=lambda condition: condition.field))
def test_the_form_of_any_segment_reads_back_as_it(found):
    form = conditions_form(tuple(found), name="Any")
    catalogue = cast_catalogue()

    read_again = read_segment(form, catalogue, "north", "any")
    # A form trims each value; what differs by blanks alone is one value.
    trimmed = tuple(Condition(one.field, tuple(dict.fromkeys(value.strip() for value in one.values))) for one in found)
    assert (read_again.conditions, form.faults) == (trimmed, {})


def test_rows_are_bounded():
    form = Form()
    add_rows(form, 1000)

    assert count_rows(form) == MOST_CONDITIONS


def test_a_segment_in_plain_words():
    assert sentence(Segment("n", "s", "S", (Condition("country", ("DE", "AT", "CH")),))) == "country is DE, AT or CH"
