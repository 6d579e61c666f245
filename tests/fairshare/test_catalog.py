import pytest

from core.catalogue import Link
from core.catalogue_file import write_catalogue
from core.errors import NotFound
from fairshare.catalog import export_catalogue, import_catalogue
from store.books import Books
from store.catalogue import catalogue_version, find_link, load_catalogue

SMALL = """\
[[tenant]]
id = "north"
name = "North Outdoor"
currency = "EUR"

[[tenant]]
id = "south"
name = "South Books"
currency = "GBP"

[[programme]]
tenant = "north"
id = "main"
name = "North"
landing_url = "https://north.example/"
hosts = ["north.example"]

[[affiliate]]
id = "anna"
name = "Anna's trail blog"
email = "anna@blog.example"

[[membership]]
tenant = "north"
programme = "main"
affiliate = "anna"
status = "approved"
applied_at = 2026-01-01T00:00:00Z
approved_at = 2026-01-02T00:00:00Z

[[link]]
code = "trail"
tenant = "north"
programme = "main"
affiliate = "anna"
destination = "https://north.example/trail"

[[policy]]
tenant = "north"
programme = "main"
version = 1
effective_from = 2026-01-01T00:00:00Z

[[policy.class]]
touch = "click"
window_hours = 720
"""
LINK = '[[link]]\ncode = "hut"\ntenant = "north"\nprogramme = "main"\naffiliate = "anna"\ndestination = "https://north.example/hut"\n'


def version(books: Books) -> int:
    with books.reading() as connection:
        return catalogue_version(connection)


def test_the_round_trip_through_the_books_gives_the_same_bytes(books):
    report = import_catalogue(books, SMALL, "martha", 7)

    assert report.faults == ()
    assert len(report.added) == 7
    assert export_catalogue(books) == SMALL


def test_importing_again_changes_nothing(sqlite_books):
    import_catalogue(sqlite_books, SMALL, "martha", 7)
    before = version(sqlite_books)

    report = import_catalogue(sqlite_books, export_catalogue(sqlite_books), "martha", 8)

    assert (len(report.added), len(report.changed), len(report.unchanged)) == (0, 0, 7)
    assert version(sqlite_books) == before


def test_a_part_adds_and_changes_and_leaves_the_rest(sqlite_books):
    import_catalogue(sqlite_books, SMALL, "martha", 7)

    report = import_catalogue(sqlite_books, LINK + LINK.replace("hut", "trail") + 'name = "Trail"\n', "martha", 8)

    assert report.added == ("link hut",)
    assert report.changed == ("link trail",)
    with sqlite_books.reading() as connection:
        assert len(load_catalogue(connection).tenants) == 2
        assert find_link(connection, "trail") == Link("trail", "north", "main", "anna", "https://north.example/trail", "Trail")


def test_a_bad_file_is_told_whole_and_nothing_of_it_is_stored(sqlite_books):
    report = import_catalogue(sqlite_books, SMALL.replace('"GBP"', '"GPB"').replace("720", "0"), "martha", 7)

    assert [str(fault) for fault in report.faults] == [
        "line 9: currency: 'GPB' is not an ISO 4217 code such as EUR",
        "line 46: policy.class: window_hours 0 of click is not between 1 and 87600",
    ]
    assert export_catalogue(sqlite_books) == ""
    assert version(sqlite_books) == 0


def test_what_may_not_be_replaced_is_told_with_its_line(sqlite_books):
    import_catalogue(sqlite_books, SMALL, "martha", 7)

    report = import_catalogue(sqlite_books, LINK + SMALL.replace("720", "48").replace('"EUR"', '"USD"'), "martha", 8)

    assert [str(fault) for fault in report.faults] == [
        "line 7: tenant north keeps its currency EUR: its rate cards and its ledger are in it",
        "line 44: policy north main 1 exists with another content, and a version never changes; add the next version instead",
    ]
    assert export_catalogue(sqlite_books) == SMALL


def test_one_tenant_is_exported_without_the_others(sqlite_books):
    import_catalogue(sqlite_books, SMALL, "martha", 7)

    with sqlite_books.reading() as connection:
        assert export_catalogue(sqlite_books, "south") == write_catalogue(load_catalogue(connection, "south"))
    assert 'id = "north"' not in export_catalogue(sqlite_books, "south")
    with pytest.raises(NotFound, match="there is no tenant nowhere"):
        export_catalogue(sqlite_books, "nowhere")


def test_coalitions_are_in_the_whole_file_only(sqlite_books):
    members = "".join(f'\n[[coalition.member]]\ntenant = "{name}"\njoined_at = 2026-01-01T00:00:00Z\n' for name in ("north", "south"))
    import_catalogue(sqlite_books, f'{SMALL}\n[[coalition]]\nid = "pair"\nname = "Pair"\n{members}', "martha", 7)

    assert 'id = "pair"' in export_catalogue(sqlite_books)
    assert "coalition" not in export_catalogue(sqlite_books, "north")
    assert import_catalogue(sqlite_books, export_catalogue(sqlite_books, "north"), "martha", 8).faults == ()
