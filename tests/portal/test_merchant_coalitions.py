"""Coalitions, to read: of the other members their ids, names and dates, and nothing else."""

from core.catalogue import Coalition, CoalitionMember, Tenant
from core.clock import DAY
from portal.merchant_coalitions import read_coalitions, state_of
from store.catalogue import put
from tests.fakes import NOON
from tests.people import MARTHA, STELLA
from tests.portal.conftest import words_of

PATH = "/merchant/coalitions"
NORTH, SOUTH = CoalitionMember("north", NOON - DAY), CoalitionMember("south", NOON + DAY)
WEST = CoalitionMember("west", NOON - 9 * DAY, NOON)


def agree(books, *coalitions):
    with books.writing() as connection:
        put(connection, Tenant("west", "West Tea", "GBP", "Europe/London"), "tests", NOON)
        for coalition in coalitions:
            put(connection, coalition, "tests", NOON)


def test_a_member_reads_who_shares_what_and_since_when(portal, sqlite_books):
    agree(sqlite_books, Coalition("leaves", "Shoes and books", (NORTH, SOUTH, WEST), ("click", "scan"), "west"))
    page = words_of(portal.get(PATH, as_=MARTHA))

    assert "Shoes and books leaves What counts for the others' orders Clicks, scans, with consent" in page
    assert "May pass on orders for the others West Tea" in page
    assert "North Shoes You north Member 20 Nov 2026, 12:00 open" in page
    assert "South Books south Will join 22 Nov 2026, 12:00 open" in page
    assert "West Tea west Has left 12 Nov 2026, 12:00 21 Nov 2026, 12:00" in page


def test_nothing_else_of_a_partner_is_in_sight(portal, sqlite_books):
    """Its id, name and dates are. Its currency, programmes, affiliates, stores and people are not."""
    agree(sqlite_books, Coalition("leaves", "Shoes and books", (NORTH, SOUTH)))
    page = portal.get(PATH, as_=MARTHA).text.replace("South Books", "").replace(">south<", "")

    for secret in ("South", "south", "USD", "GBP", "Charlie", "charlie", "collectors", "cellar", "bookworms", "stella"):
        assert secret not in page, secret


def test_who_is_no_member_reads_nothing_of_it(portal, sqlite_books):
    agree(sqlite_books, Coalition("leaves", "Shoes and tea", (NORTH, WEST)))

    assert "Shoes and tea" in words_of(portal.get(PATH, as_=MARTHA))
    page = words_of(portal.get(PATH, as_=STELLA))
    assert "No coalition" in page
    assert "tea" not in page.lower()
    assert read_coalitions(sqlite_books, "nowhere", NOON) == []


def test_a_member_is_in_from_the_day_it_joined_until_the_moment_it_left():
    assert [state_of(WEST, at) for at in (NOON - 9 * DAY - 1, NOON - 9 * DAY, NOON - 1, NOON)] == ["planned", "in", "in", "left"]
