"""The catalogue in memory: what the books hold, soon after it changes, and never less than before."""

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from core.catalogue import Affiliate, ApiKey, Coalition, CoalitionMember, Link, Programme, Tenant
from core.events import CHANNELS
from core.identity import coalition_key, tenant_key
from store import schema
from store.books import Books, open_books
from store.catalogue import put, remove
from store.links import stream_links
from tests.fakes import NOON
from tracker.commit import SpoolState
from tracker.counters import Counters
from tracker.health import health_of
from tracker.links import EMPTY, ENTRIES_KEPT, Cap, LinkTable, build_table
from tracker.watch import Watch, read_table

SECRET = b"installation secret"
NORTH = Tenant("north", "North", "EUR", click_parameter="nc")
MAIN = Programme("north", "main", "Main", "https://north.example/", hosts=("north.example", "not a host"))
SPRING = Link("spring", "north", "main", "anna", "https://north.example/spring", channel="email")


@pytest.fixture
def filled(books: Books) -> Books:
    with books.writing() as connection:
        for record in (NORTH, MAIN, Affiliate("anna", "Anna", "anna@blog.example"), SPRING, ApiKey("k1", "north", "shop", "ab" * 32)):
            put(connection, record, "test", 1)
    return books


def add(books: Books, *records: Link | Programme | Tenant | Coalition) -> None:
    with books.writing() as connection:
        for record in records:
            put(connection, record, "test", 2)


def test_the_table_holds_what_a_click_and_a_key_need(filled: Books):
    table = read_table(filled, SECRET)
    link = table.links["spring"]

    assert (link.affiliate_id, link.destination, link.channel, link.disabled) == ("anna", "https://north.example/spring", "email", False)
    assert (link.programme.programme_id, link.programme.hosts, link.programme.schemes) == ("main", (("north.example", ""),), ("https",))
    tenant = link.programme.tenant
    assert (tenant.currency, tenant.click_parameter, tenant.key) == ("EUR", "nc", tenant_key(SECRET, "north"))
    assert table.tenants["north"] is tenant
    assert table.keys == {"ab" * 32: "north"}


def test_a_programme_whose_own_page_is_plain_http_takes_plain_http_deep_links(filled: Books):
    add(filled, Programme("north", "local", "Local", "http://127.0.0.1:9000/", hosts=("127.0.0.1:9000",)))
    programme = read_table(filled, SECRET).programmes["north", "local"]
    assert (programme.schemes, programme.hosts) == (("https", "http"), (("127.0.0.1", "9000"),))


def test_a_coalition_arrives_and_so_does_leaving_it(filled: Books):
    before = read_table(filled, SECRET)
    joined, back = CoalitionMember("north", 100, 200), CoalitionMember("north", 300)
    add(
        filled,
        Coalition("fair", "Fair", (joined, CoalitionMember("south", 0), back), marketplace_id="south"),
        Coalition("none", "None", ()),
    )
    after = read_table(filled, SECRET, before)

    (share,) = after.tenants["north"].shares
    assert before.tenants["north"].shares == ()
    assert (share.coalition_id, share.key, share.terms) == ("fair", coalition_key(SECRET, "fair"), (joined, back))
    assert [share.active_at(at) for at in (99, 100, 199, 200, 299, 300)] == [False, True, True, False, False, True]
    assert [coalition.marketplace_id for coalition in after.coalition_records] == ["south", ""]


def test_an_unchanged_catalogue_is_not_read_again(filled: Books):
    table = read_table(filled, SECRET)
    assert read_table(filled, SECRET, table) is table


def test_a_change_brings_a_new_table_that_shares_what_stayed(filled: Books):
    before = read_table(filled, SECRET)
    add(filled, Link("autumn", "north", "main", "anna", "https://north.example/autumn"))
    after = read_table(filled, SECRET, before)

    assert set(after.links) == {"spring", "autumn"}
    assert set(before.links) == {"spring"}, "a request in flight keeps the table it began with"
    assert after.links["spring"] == before.links["spring"]
    assert after.version > before.version


@pytest.mark.parametrize(
    "changed",
    [
        Link("spring", "north", "main", "anna", "https://north.example/summer", channel="email"),
        Link("spring", "north", "main", "anna", "https://north.example/spring", channel="email", disabled=True),
        Link("spring", "north", "main", "anna", "https://north.example/spring", channel="app"),
        Programme("north", "main", "Main", "https://north.example/new"),
        Tenant("north", "North", "EUR", click_parameter="other"),
    ],
)
def test_every_change_that_matters_to_a_click_arrives(filled: Books, changed: Link | Programme | Tenant):
    before = read_table(filled, SECRET)
    add(filled, changed)
    link = read_table(filled, SECRET, before).links["spring"]

    assert link != before.links["spring"]
    assert link == read_table(filled, SECRET, EMPTY).links["spring"]


def test_a_removed_key_opens_no_door(filled: Books):
    before = read_table(filled, SECRET)
    with filled.writing() as connection:
        remove(connection, ApiKey, "k1", changed_by="test", at=2)
    assert read_table(filled, SECRET, before).keys == {}


def test_a_link_whose_programme_is_not_read_yet_waits_for_the_next_look():
    row = ("early", "north", "later", "anna", "https://north.example/", "web", False)
    assert build_table(1, [NORTH], [MAIN], [row], {}, SECRET).links.get("early") is None


def test_the_watch_follows_the_books_and_outlives_them(sqlite_url: str):
    books = open_books(sqlite_url)
    add(books, NORTH, MAIN)
    with books.writing() as connection:
        put(connection, Affiliate("anna", "Anna", "a@b.example"), "test", 1)
    watch = Watch(books, SECRET, look_every_s=0.02)
    watch.start()
    try:
        assert (watch.is_loaded, list(watch.table.links)) == (True, [])
        add(books, SPRING)
        _wait_until(lambda: "spring" in watch.table.links)

        path = Path(sqlite_url.removeprefix("sqlite:///"))
        path.rename(path.with_suffix(".away"))
        path.write_bytes(b"this is no database" * 100)
        books.close()
        _wait_until(lambda: watch.failures > 1)
        assert "spring" in watch.table.links, "the old table stays"

        path.with_suffix(".away").rename(path)
        _wait_until(lambda: watch.is_current)
    finally:
        watch.stop()
        books.close()


def test_books_that_were_never_readable_leave_an_empty_table(tmp_path: Path):
    books = open_books(f"sqlite:///{tmp_path}/missing/books.sqlite")
    watch = Watch(books, SECRET)
    watch.look()
    books.close()
    assert (watch.is_loaded, watch.failures) == (False, 1)


class Broken:
    """A depot that raises, as none should."""

    def load(self, *_: object) -> LinkTable | None:
        raise RuntimeError("broken")

    def save(self, *_: object) -> bool:
        raise RuntimeError("broken")


class Noted:
    """A depot that remembers the versions it was given."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    def load(self, *_: object) -> LinkTable | None:
        return None

    def save(self, table: LinkTable, *_: object) -> bool:
        self.versions.append(table.version)
        return True


def test_a_depot_that_fails_stops_neither_the_watch_nor_the_other_depots(filled: Books, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracker.watch.SAVE_EVERY_S", 0.0)
    noted = Noted()
    watch = Watch(filled, SECRET, look_every_s=0.02, depots=[Broken(), noted])
    watch.start()
    try:
        _wait_until(lambda: len(noted.versions) > 1)
        add(filled, Link("autumn", "north", "main", "anna", "https://north.example/autumn"))
        _wait_until(lambda: "autumn" in watch.table.links and noted.versions[-1] == watch.table.version)
        assert watch.failures > 2, "one reading, and each writing"
    finally:
        watch.stop()


def test_health_says_that_the_books_cannot_be_read_and_the_table_may_be_old(filled: Books, monkeypatch: pytest.MonkeyPatch):
    watch = Watch(filled, SECRET)

    class Spool:
        is_healthy = True

        def state(self) -> SpoolState:
            return SpoolState("strict", 0, "", 0, 0, 0, "", 0.0)

    def catalogue() -> dict[str, object]:
        health = health_of(Counters("t0", NOON), Spool(), watch.table, watching=watch.state())  # type: ignore[arg-type]
        return health["catalogue"]  # type: ignore[no-any-return]

    watch.look()
    assert (catalogue()["current"], catalogue()["failures"]) == (True, 0)
    monkeypatch.setattr("tracker.watch.read_table", Broken().load)
    watch.look()
    assert (catalogue()["loaded"], catalogue()["current"], catalogue()["failures"]) == (True, False, 1)


def as_an_older_program(books: Books) -> None:
    """Links as programs wrote them that knew no number of the change in a link."""
    with books.writing() as connection:
        connection.execute(update(schema.links).values(changed_version=0))


def test_books_that_take_the_place_of_untouched_ones_are_read_whole(books: Books, request: pytest.FixtureRequest):
    untouched = read_table(books, SECRET)
    filled = request.getfixturevalue("filled")
    as_an_older_program(filled)
    assert set(read_table(filled, SECRET, untouched).links) == {"spring"}
    with filled.writing() as connection:
        connection.execute(delete(schema.catalogue_changes).where(schema.catalogue_changes.c.what.contains(" link ")))
    assert set(read_table(filled, SECRET, untouched).links) == {"spring"}, "nor do notes of the links have to tell"


def test_a_link_that_an_older_program_changed_is_seen(filled: Books):
    add(filled, *(Link(f"c{number}", "north", "main", "anna", "https://north.example/") for number in range(600)))
    before = read_table(filled, SECRET)
    add(filled, msgspec.structs.replace(SPRING, disabled=True), Link("new", "north", "main", "anna", "https://north.example/"))
    as_an_older_program(filled)
    add(filled, *(Link(f"d{number}", "north", "main", "anna", "https://north.example/") for number in range(600)))
    after = read_table(filled, SECRET, before)
    assert after.links["spring"].disabled
    assert len(after.links) == 1202


def many(count: int) -> Iterator[tuple[object, ...]]:
    for number in range(count):
        url = f"https://north.example/products/category/{number}"
        yield (f"code-{number:07d}", "north", "main", f"affiliate-{number % 1000}", url, "web", False, None, None, "")


def test_a_million_links_fit_150_megabytes():
    count = 50_000
    tracemalloc.start()
    table = build_table(1, [NORTH], [MAIN], many(count), {}, SECRET)
    first, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(table.links) == count
    # Of which buckets that are hardly filled yet take 50 bytes a link; with a million they take 13.
    assert max(first, peak) / count < 250, f"{peak / count:.0f} bytes for each link"


def test_a_change_among_many_costs_little_memory_and_shares_the_rest():
    before = build_table(1, [NORTH], [MAIN], many(50_000), {}, SECRET)
    tracemalloc.start()
    after = build_table(2, [NORTH], [MAIN], [("code-0000007", "north", "main", "ben", "https://x/", "app", True)], {}, SECRET, before)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100_000
    assert sum(one is other for one, other in zip(before.links.shelves, after.links.shelves, strict=True)) == 511
    assert (after.links["code-0000007"].affiliate_id, before.links["code-0000007"].affiliate_id) == ("ben", "affiliate-7")
    assert len(after.links) == len(before.links) == 50_000


def test_entries_at_hand_are_bounded():
    table = build_table(1, [NORTH], [MAIN], many(ENTRIES_KEPT * 3), {}, SECRET)
    entries = {code: table.links[code] for code in table.links}
    assert len(table.links._entries) <= ENTRIES_KEPT
    assert all(entry.code == code for code, entry in entries.items())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "aa", "a-a", "b", "code-1", "code-11"]),
            st.sampled_from(["anna", "ben"]),
            st.sampled_from(["https://x/", "", "https://x/?a=\u00e9{click_id}", "https://x/\tb", "https://x/\nb"]),
            st.sampled_from(CHANNELS),
            st.booleans(),
            st.one_of(st.none(), st.integers(1, 10**9)),
            st.one_of(st.none(), st.integers(1, 10**9)),
            st.sampled_from(["", "https://y/"]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 12),
)
def test_whatever_the_changes_a_table_holds_what_a_dictionary_would(rows: list[tuple[str, ...]], cut: int):
    whole = [(code, "north", "main", *rest) for code, *rest in rows]
    base = build_table(1, [NORTH], [MAIN], {row[0]: row for row in whole[:cut]}.values(), {}, SECRET)
    table = build_table(2, [NORTH], [MAIN], whole[cut:], {}, SECRET, base)

    expected = {row[0]: row for row in whole}
    assert set(table.links) == set(expected)
    assert len(table.links) == len(expected)
    for code, (_, _, _, affiliate, url, channel, disabled, daily, total, fallback) in expected.items():
        link = table.links[code]
        wanted = url if "\t" not in url and "\n" not in url else ""
        assert (link.affiliate_id, link.destination, link.channel, link.disabled) == (affiliate, wanted, channel, disabled)
        assert link.fallback_url == (fallback or MAIN.landing_url)
        assert link.caps == ((Cap(f"link {code}", daily, total),) if daily or total else ())


@pytest.mark.parametrize("code", ["", "\n", "\t", "spring\tnorth", "spring\nspring", "Spring", "\ud800", "sprin", "pring", "x" * 9_000])
def test_a_code_that_no_link_has_finds_none(filled: Books, code: str):
    table = read_table(filled, SECRET)
    assert table.links.get(code) is None
    assert code not in table.links


def test_a_code_that_spells_the_beginning_of_a_line_finds_none():
    """Of all codes cNNN this is the first that lies in one bucket with itself, a tab and its tenant."""
    table = build_table(1, [NORTH], [MAIN], [("c195509", "north", "main", "anna", "https://north.example/", "web", False)], {}, SECRET)
    assert table.links.get("c195509") is not None
    assert table.links.get("c195509\tnorth") is None


def test_only_what_changed_is_read_again(filled: Books, monkeypatch: pytest.MonkeyPatch):
    before, seen = read_table(filled, SECRET), []

    def counted(connection: Connection, after: int | None = None) -> Iterator[tuple[object, ...]]:
        for row in stream_links(connection, after):
            seen.append(row[0])
            yield row

    monkeypatch.setattr("tracker.watch.stream_links", counted)
    add(filled, Link("autumn", "north", "main", "anna", "https://north.example/autumn", daily_click_cap=9))
    after = read_table(filled, SECRET, before)
    assert seen == ["autumn"]
    assert after.links["autumn"].caps == (Cap("link autumn", 9, None),)
    add(filled, Programme("north", "main", "Main", "https://north.example/", total_click_cap=5))
    last = read_table(filled, SECRET, after)
    assert seen == ["autumn"], "a programme's change reads no link"
    assert last.links["spring"].caps == (Cap("programme north main", None, 5),)


def _wait_until(condition: object, patience_s: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
