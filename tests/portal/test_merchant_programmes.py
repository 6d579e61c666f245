"""Programmes and stores: listed, added, changed, with every fault at once."""

from core.catalogue import Programme, Store
from core.clock import DAY, HOUR, MINUTE
from store.catalogue import find, recent_changes
from tests.people import MARTHA, STELLA
from tests.portal.conftest import words_of

PROGRAMME = {
    "programme_id": "outlet",
    "name": "Outlet",
    "landing_url": "https://outlet.north.example/",
    "hosts": "outlet.north.example\n\nNorth.Example\n",
    "stores": ["till"],
}
STORE = {"store_id": "hamburg", "name": "Hamburg", "channel": "pos", "segment": "flagship", "host": ""}


def found(books, kind, *key):
    with books.reading() as connection:
        return find(connection, kind, *key)


def test_a_programme_is_added(portal, sqlite_books):
    answer = portal.post("/merchant/programmes", PROGRAMME, as_=MARTHA)

    assert (answer.status_code, answer.headers["location"]) == (303, "/merchant/programmes/outlet")
    assert found(sqlite_books, Programme, "north", "outlet") == Programme(
        "north", "outlet", "Outlet", "https://outlet.north.example/", ("outlet.north.example", "north.example"), ("till",)
    )
    with sqlite_books.reading() as connection:
        assert recent_changes(connection, 1)[0].changed_by == MARTHA.user_id
    assert "Outlet outlet https://outlet.north.example/ 0 Default Write one" in words_of(portal.get("/merchant/programmes", as_=MARTHA))


def test_a_programme_of_a_season_and_a_segment_keeps_both_through_its_form(portal, sqlite_books):
    season = {"starts_at": "2026-12-01T00:00", "ends_at": "2026-12-24T18:30", "segments": ["firms"]}
    portal.post("/merchant/programmes", PROGRAMME | season, as_=MARTHA)
    made = found(sqlite_books, Programme, "north", "outlet")

    assert (made.segments, made.ends_at - made.starts_at) == (("firms",), 23 * DAY + 18 * HOUR + 30 * MINUTE)
    page = portal.get("/merchant/programmes/outlet", as_=MARTHA).text
    assert 'value="2026-12-01T00:00"' in page
    assert 'name="segments" value="firms" checked' in page
    portal.post("/merchant/programmes/outlet", PROGRAMME | season, as_=MARTHA)
    assert found(sqlite_books, Programme, "north", "outlet") == made

    page = portal.post("/merchant/programmes/outlet", PROGRAMME | season | {"ends_at": "2026-12-01T00:00"}, as_=MARTHA)
    assert "This is not after starts_at, so the programme would never take an order." in words_of(page)
    assert found(sqlite_books, Programme, "north", "outlet") == made


def test_a_store_shows_every_programme_that_takes_its_orders(portal):
    portal.post("/merchant/programmes", PROGRAMME | {"stores": [], "segments": ["firms"]}, as_=MARTHA)
    portal.post("/merchant/programmes", PROGRAMME | {"programme_id": "later", "starts_at": "2026-12-01T00:00"}, as_=MARTHA)

    page = words_of(portal.get("/merchant/stores", as_=MARTHA))
    assert "Berlin till till Store till – – North affiliates Outlet for firms" in page


def test_a_bad_programme_shows_every_fault_and_what_was_typed(portal, sqlite_books):
    bad = {"programme_id": "Out Let", "name": " ", "landing_url": "outlet", "hosts": "https://north.example/x", "stores": ["cellar"]}
    page = portal.post("/merchant/programmes", bad, as_=MARTHA)

    assert page.status_code == 422
    for field in bad:
        assert f'id="{field}-fault"' in page.text, field
    assert "https://north.example/x</textarea>" in page.text
    assert '<details class="card fold" open>' in page.text


def test_an_id_that_is_taken_is_a_fault_and_changes_nothing(portal, sqlite_books):
    before = found(sqlite_books, Programme, "north", "main")
    page = portal.post("/merchant/programmes", PROGRAMME | {"programme_id": "main"}, as_=MARTHA)

    assert page.status_code == 422
    assert "exists already; choose another id" in words_of(page)
    assert found(sqlite_books, Programme, "north", "main") == before


def test_two_merchants_may_use_the_same_programme_id(portal, sqlite_books):
    portal.post("/merchant/programmes", PROGRAMME | {"stores": []}, as_=MARTHA)
    answer = portal.post("/merchant/programmes", PROGRAMME | {"stores": [], "name": "Southern"}, as_=STELLA)

    assert answer.status_code == 303
    assert found(sqlite_books, Programme, "north", "outlet").name == "Outlet"
    assert found(sqlite_books, Programme, "south", "outlet").name == "Southern"


def test_a_landing_page_outside_the_hosts_is_a_fault(portal):
    page = portal.post("/merchant/programmes", PROGRAMME | {"landing_url": "https://evil.example/"}, as_=MARTHA)

    assert page.status_code == 422
    assert "leads to evil.example, which is not on the programme's hosts" in words_of(page)


def test_a_programme_is_changed_and_keeps_its_id(portal, sqlite_books):
    page = portal.get("/merchant/programmes/main", as_=MARTHA)
    assert 'value="North affiliates"' in page.text

    answer = portal.post("/merchant/programmes/main", PROGRAMME | {"name": "Partners"}, as_=MARTHA)
    assert answer.status_code == 303
    assert found(sqlite_books, Programme, "north", "main").name == "Partners"
    assert found(sqlite_books, Programme, "north", "outlet") is None
    assert found(sqlite_books, Programme, "south", "main").name == "South affiliates"


def test_a_bad_change_of_a_programme_writes_nothing(portal, sqlite_books):
    page = portal.post("/merchant/programmes/main", PROGRAMME | {"name": ""}, as_=MARTHA)

    assert page.status_code == 422
    assert found(sqlite_books, Programme, "north", "main").name == "North affiliates"


def test_a_programmes_page_tells_its_rules_in_words(portal):
    page = words_of(portal.get("/merchant/programmes/main", as_=MARTHA))

    assert "Who earns Policy, version 1, in force since 17 Oct 2025 A coupon of the affiliate earns the whole credit" in page
    assert "What it pays Rate card, version 1, in force since 17 Oct 2025 Hats pay 5 % of the net price" in page
    assert "2 approved affiliates" in page


# --- stores ----------------------------------------------------------------------------------------------------------


def test_a_store_is_added_and_says_which_programme_takes_its_orders(portal, sqlite_books):
    assert portal.post("/merchant/stores", STORE, as_=MARTHA).status_code == 303

    assert found(sqlite_books, Store, "north", "hamburg") == Store("north", "hamburg", "Hamburg", "pos", "flagship")
    assert "Hamburg hamburg Store till flagship – North affiliates" in words_of(portal.get("/merchant/stores", as_=MARTHA))


def test_a_bad_store_shows_every_fault(portal, sqlite_books):
    bad = {"store_id": "-", "name": "", "channel": "fax", "segment": "x" * 65, "host": "https://x.example"}
    page = portal.post("/merchant/stores", bad, as_=MARTHA)

    assert page.status_code == 422
    for field in bad:
        assert f'id="{field}-fault"' in page.text, field
    assert found(sqlite_books, Store, "north", "-") is None


def test_a_store_id_that_is_taken_is_a_fault(portal, sqlite_books):
    assert portal.post("/merchant/stores", STORE | {"store_id": "till"}, as_=MARTHA).status_code == 422
    assert found(sqlite_books, Store, "north", "till").name == "Berlin till"


def test_a_store_is_changed(portal, sqlite_books):
    assert portal.post("/merchant/stores/till", STORE | {"channel": "call"}, as_=MARTHA).status_code == 303
    assert found(sqlite_books, Store, "north", "till") == Store("north", "till", "Hamburg", "call", "flagship")

    assert portal.post("/merchant/stores/till", STORE | {"channel": ""}, as_=MARTHA).status_code == 422
    assert found(sqlite_books, Store, "north", "till").channel == "call"


def test_a_store_that_no_programme_takes_is_marked(portal):
    portal.post("/merchant/programmes/main", PROGRAMME | {"stores": ["shop"]}, as_=MARTHA)

    assert "Berlin till till Store till – – None takes its orders" in words_of(portal.get("/merchant/stores", as_=MARTHA))
