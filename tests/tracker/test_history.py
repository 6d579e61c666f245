"""Imports on real stores: rows as touches, leads and orders, each once; whatever a file holds; and what attribution sees meanwhile."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Affiliate, Membership, Policy, Programme, Tenant
from core.clock import MINUTE, SECOND, Instant, parse_instant, system_clock
from core.errors import FairshareError, Unavailable
from core.events import Order, Touch, decode_event
from core.identity import customer_key, is_junk, tenant_key
from core.ids import derive, is_event_id, minted_at
from store.books import Books, open_books
from store.catalogue import load_catalogue, put
from store.events import EventsStore, Query
from store.receipts import find_receipt
from tests.people import NORTH, SOUTH
from tracker.affiliates import slug_of
from tracker.conversion import Arrival
from tracker.enrich import touch_row
from tracker.history import ImportReport, MapRefused, Work, check_clocks, run_import
from tracker.mapping import Map, MoneyForm, Times, read_map
from tracker.orders import read_order
from tracker.past_touches import ids_at, without_nobodies
from tracker.readings import Bad, Clockwork, decimal_text
from tracker.sheet import RowFault

SECRET = b"a-secret-of-the-test-installation!"
KEY = tenant_key(SECRET, NORTH)
START = parse_instant("2025-01-01T00:00:00Z")

CLICKS = """
[[import]]
of = "touches"
tenant = "north"
[[columns]]
touch_id = "id"
occurred_at = "when"
affiliate = "who"
visitor = ["user", "device"]
email = "mail"
referrer = "from"
[[constants]]
programme = "main"
[[times]]
zone = "Europe/Berlin"
"""
CLICK_TITLES = "id,when,who,user,device,mail,from"
ORDERS = """
[[import]]
of = "orders"
tenant = "north"
[[columns]]
order_id = "order"
occurred_at = "when"
currency = "cur"
net = "net"
click_id = "click"
email = "mail"
[[times]]
zone = "UTC"
"""
ORDER_TITLES = "order,when,cur,net,click,mail"

IDS = Query("ids", "SELECT touch_id FROM touches ORDER BY touch_id")
TOUCHES = Query(
    "touches", "SELECT * EXCEPT (received_at, stored_at), toUnixTimestamp64Milli(occurred_at) AS at FROM touches ORDER BY touch_id"
)
ORDERED = Query(
    "ordered", "SELECT order_id, net_minor, total_minor, click_id, customer_keys, source FROM orders ORDER BY order_id, event_id"
)
LINKS = Query("links", "SELECT DISTINCT key, other_key FROM identity_links ORDER BY key, other_key")
OLDEST = Query(
    "oldest",
    """SELECT toUnixTimestamp64Milli(min(stored_at)) AS at
    FROM (SELECT stored_at FROM touches UNION ALL SELECT stored_at FROM orders UNION ALL SELECT stored_at FROM identity_links)
    ORDER BY at""",
)
STAMPS = Query("stamps", "SELECT toUnixTimestamp64Milli(stored_at) AS at, count() FROM touches GROUP BY at ORDER BY at")


class Place:
    """Books with a small catalogue (:func:`filled`), an empty events store, and a folder of files."""

    def __init__(self, books: Books, events: EventsStore, folder: Path) -> None:
        self.books, self.events, self.folder = books, events, folder
        self.faults: list[RowFault] = []

    def file(self, content: str | bytes, name: str = "file.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def work(self, **more: Any) -> Work:
        self.faults = []
        given: dict[str, Any] = {"country_of": lambda _address: "DE", "tell": self.faults.extend, "clock": system_clock} | more
        return Work(self.books, given.pop("events", self.events), SECRET, given.pop("clock"), given.pop("country_of"), **given)

    def run(self, content: str | bytes, map_text: str, **more: Any) -> ImportReport:
        return run_import(self.work(**more), self.file(content), map_of(map_text))

    def clicks(self, *rows: str, change: Sequence[tuple[str, str]] = (), **more: Any) -> ImportReport:
        return self.run("\n".join((CLICK_TITLES, *rows)), changed(CLICKS, change), **more)

    def orders(self, *rows: str, change: Sequence[tuple[str, str]] = (), **more: Any) -> ImportReport:
        return self.run("\n".join((ORDER_TITLES, *rows)), changed(ORDERS, change), **more)

    def why(self) -> list[tuple[int, str, str]]:
        return [(fault.line, fault.field, fault.why) for fault in self.faults]

    def ids(self) -> list[str]:
        return [touch_id for (touch_id,) in self.events.select(IDS)]


def map_of(text: str) -> Map:
    subject = re.search(r'of = "(\w+)"', text)
    assert subject
    found, faults = read_map(text, subject[1])  # type: ignore[arg-type]
    assert found is not None, faults
    return found


def changed(text: str, change: Sequence[tuple[str, str]]) -> str:
    for old, new in change:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books with a small catalogue, to be copied."""
    path = tmp_path_factory.mktemp("filled") / "books.sqlite"
    shutil.copy(sqlite_template, path)
    records = (
        *(Tenant(NORTH, "North", "EUR"), Tenant(SOUTH, "South", "EUR"), Programme(NORTH, "main", "Main", "https://n.example/")),
        *(Programme(SOUTH, "main", "Main", "https://s.example/"), Affiliate("anna", "Anna", "a@a.example")),
        *(Affiliate("ben", "Ben", "b@b.example"), Affiliate("charlie", "Charlie", "c@c.example")),
        *(Membership(NORTH, "main", name, "approved", START, START) for name in ("anna", "ben")),
        *(Membership(SOUTH, "main", "charlie", "approved", START, START), Policy(NORTH, "main", 1, START)),
    )
    with closing(open_books(f"sqlite:///{path}")) as books, books.writing() as connection:
        for record in records:
            put(connection, record, "test", 1)
    return path


@pytest.fixture
def place(filled: Path, events: EventsStore, tmp_path: Path) -> Iterator[Place]:
    shutil.copy(filled, tmp_path / "books.sqlite")
    with closing(open_books(f"sqlite:///{tmp_path / 'books.sqlite'}")) as books:
        yield Place(books, events, tmp_path)


CREATE = (('tenant = "north"', 'tenant = "north"\nunknown_affiliates = "create"'),)


# --- touches ---------------------------------------------------------------------------------------------------------


def test_a_row_becomes_the_touch_that_it_says(place: Place) -> None:
    report = place.clicks("c1,2025-07-01 10:00:00,anna,u1,d1,Jo@Example.com,https://blog.example/")

    assert (report.rows, report.imported, report.wrong, report.skipped) == (1, 1, 0, 0)
    [row] = place.events.select_named(TOUCHES)
    assert (row["tenant_id"], row["programme_id"], row["affiliate_id"], row["kind"], row["channel"]) == (
        NORTH,
        "main",
        "anna",
        "click",
        "web",
    )
    assert row["at"] == parse_instant("2025-07-01T08:00:00Z")
    assert is_event_id(row["touch_id"])
    assert minted_at(row["touch_id"]) == row["at"]
    assert is_event_id(row["visitor_id"])
    assert row["visitor_id"].startswith("0000000000")
    assert row["customer_keys"] == [customer_key("email", "jo@example.com", KEY)]
    assert (row["source"], row["traffic_class"], row["referrer"]) == ("import", "human", "https://blog.example/")
    keys = {f"v:{row['visitor_id']}", f"c:{row['touch_id']}", *row["customer_keys"]}
    assert {key for pair in place.events.select(LINKS) for key in pair} == keys


def test_columns_are_the_rows_that_the_drain_would_make(place: Place) -> None:
    """The import builds columns without ever making a touch; a touch made of them must give the same row, in every column."""
    agent = '"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 (KHTML, like Gecko) Version/18.0 Safari/604.1"'
    titles = "when,kind,programme,who,link,s1,s2,consent,origin,medium,ip,agent,from,to,user,channel,mail"
    rows = [
        f"2025-07-01T10:00:00Z,click,main,anna,a1,x,y,granted,,,203.0.113.9,{agent},https://r.example/,https://n.example/,u1,app,jo@e.example",
        "2025-07-01T10:00:01Z,paid,main,,,,,unknown,google,cpc,,,,,u1,web,",
        f"2025-07-01T10:00:02Z,impression,main,ben,b1,,z,denied,,,203.0.113.9,{agent},,,u2,email,",
        "2025-07-01T10:00:03Z,click,main,ben,b1,,,,,,,curl/8.1,,,u3,,",
    ]
    names = ["occurred_at", "kind", "programme", "affiliate", "link", "sub1", "sub2", "consent", "origin", "medium", "ip", "user_agent"]
    names += ["referrer", "destination", "visitor", "channel", "email"]
    columns = "\n".join(f'{ours} = "{theirs}"' for ours, theirs in zip(names, titles.split(","), strict=True))
    place.run("\n".join((titles, *rows)), f'[[import]]\nof = "touches"\ntenant = "north"\n[[columns]]\n{columns}\n')

    stored = place.events.select_named(TOUCHES)
    assert [row["traffic_class"] for row in sorted(stored, key=lambda row: row["at"])] == ["human", "human", "human", "invalid_ua"]
    for row in stored:
        own = {name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in Touch.__struct_fields__ if name in row}
        touch = Touch(event_id=row["touch_id"], received_at=0, **own | {"occurred_at": row["at"]})
        expected = msgspec.to_builtins(touch_row(touch, 0, lambda _address: "DE"))
        for name, value in expected.items():
            if name not in ("occurred_at", "received_at", "stored_at"):
                assert row[name] == (list(value) if isinstance(value, tuple) else value), name
    denied = next(row for row in stored if row["consent"] == "denied")
    assert (denied["visitor_id"], denied["ip"], denied["user_agent"], denied["subs"]) == ("", "", "", ["", "z"])


def test_the_same_file_and_one_that_overlaps_change_nothing(place: Place) -> None:
    rows = [f"c{number},2025-07-{number % 28 + 1:02d} 10:00:00,anna,u{number % 7},d,," for number in range(40)]
    place.clicks(*rows)
    before, stored = place.ids(), place.events.select_named(TOUCHES)
    assert len(before) == 40

    place.clicks(*rows)
    assert place.events.select_named(TOUCHES) == stored, "the store drops the same block"
    place.clicks(*reversed(rows[20:]), "c40,2025-07-01 10:00:00,ben,u1,d,,")
    assert len(set(place.ids())) == 41
    assert set(before) < set(place.ids())


def test_without_an_id_of_their_own_touches_are_named_by_all_that_they_say(place: Place) -> None:
    rows = ["x,2025-07-01 10:00:00,anna,u1,d,,", "y,2025-07-01 10:00:00,anna,u1,d,,", "z,2025-07-01 10:00:00,anna,u1,d,,https://r.example/"]
    place.clicks(*rows, change=[('touch_id = "id"\n', "")])

    assert len(place.ids()) == 3
    assert len(set(place.ids())) == 2, "x and y say the same"


def test_the_same_cells_are_the_same_visitor_in_every_file_of_one_merchant(place: Place) -> None:
    place.clicks("c1,2025-07-01 10:00:00,anna,u1,d1,,", "c2,2025-07-01 10:00:01,anna,u1,d2,,", "c3,2025-07-01 10:00:02,anna,null,0,,")
    place.run("a,b,t,w\nu1,d1,2025-07-02,anna\n", CLICKS_BY_OTHER_NAMES)
    visitors = [row["visitor_id"] for row in place.events.select_named(TOUCHES)]

    assert visitors[0] == visitors[3]
    assert visitors[1] not in ("", visitors[0])
    assert visitors[2] == "", "null and 0 are nobody"


CLICKS_BY_OTHER_NAMES = """
[[import]]
of = "touches"
tenant = "north"
[[columns]]
occurred_at = "t"
affiliate = "w"
visitor = ["a", "b"]
[[constants]]
programme = "main"
[[times]]
zone = "UTC"
"""


def test_rows_that_cannot_be_read_are_told_and_the_others_go_in(place: Place) -> None:
    rows = [
        "c1,2025-07-01 10:00:00,anna,u1,d,,",
        "c2,yesterday,anna,u1,d,,",
        "c3,2025-07-01 10:00:00,nobody,u1,d,,",
        "c4,2025-07-01 10:00:00,,u1,d,,",
        "c5,2025-07-01 10:00:00,anna,u1,d,not an address,",
        "c6,1999-12-31 10:00:00,anna,u1,d,,",
        "c7,2126-07-01 10:00:00,anna,u1,d,,",
        "c8,2025-07-01 10:00:00,anna,u1",
        "c9,2025-07-01 10:00:00,anna,u1\x00,d,,",
        "c10,2025-07-01 10:00:01,ben,=cmd|' /C calc'!A0,d,,",
    ]
    report = place.clicks(*rows)

    assert (report.rows, report.imported, report.wrong) == (10, 2, 8)
    assert {(line, field) for line, field, _ in place.why()} == {
        *(
            (3, "occurred_at"),
            (4, "affiliate"),
            (5, "affiliate"),
            (6, "customer"),
            (7, "occurred_at"),
            (8, "occurred_at"),
            (9, ""),
            (10, "visitor"),
        )
    }
    assert (
        4,
        "affiliate",
        "'nobody' is no member of programme main; there are anna, ben; map it in [[values]], or create it",
    ) in place.why()
    assert place.faults[0].row == ("c8", "2025-07-01 10:00:00", "anna", "u1")
    assert len(place.ids()) == 2


def test_unknown_affiliates_become_members_from_their_first_touch_on_wherever_it_stands(place: Place) -> None:
    rows = ["c1,2025-07-03 10:00:00,Zoe Blog,u1,d,,", "c2,2025-07-01 10:00:00,Zoe Blog,u2,d,,", "c3,2025-07-02 10:00:00,A&B,u3,d,,"]
    dry = place.clicks(*rows, change=CREATE, dry_run=True)
    with place.books.reading() as connection:
        assert len(load_catalogue(connection).affiliates) == 3
    report = place.clicks(*rows, change=CREATE)

    assert dry.created == report.created
    with place.books.reading() as connection:
        catalogue = load_catalogue(connection, NORTH)
    zoe = next(one for one in catalogue.memberships if one.affiliate_id == "zoe-blog")
    assert (zoe.status, zoe.approved_at) == ("approved", parse_instant("2025-07-01T08:00:00Z"))
    [other] = [one for one in catalogue.affiliates if one.name == "A&B"]
    assert re.fullmatch(r"a-b-[0-9a-f]{8}", other.affiliate_id)
    assert other.email.endswith("@affiliate.invalid")

    assert place.clicks(*rows, change=CREATE).created == []


def test_an_account_of_another_merchant_is_never_taken_by_its_name(place: Place) -> None:
    place.clicks("c1,2025-07-01 10:00:00,charlie,u1,d,,", change=CREATE)

    [row] = place.events.select_named(TOUCHES)
    assert row["affiliate_id"] != "charlie"
    assert row["affiliate_id"].startswith("charlie-")
    place.clicks(
        "c2,2025-07-01 10:00:00,charlie,u1,d,,",
        change=[*CREATE, ("[[times]]", '[[values]]\nof = "affiliate"\nmap = [["charlie", "charlie"]]\n[[times]]')],
    )
    assert "charlie" in {row["affiliate_id"] for row in place.events.select_named(TOUCHES)}, "the map may mean it"


def test_an_account_that_another_merchant_opens_meanwhile_is_not_taken_either(place: Place) -> None:
    theirs = Affiliate("zoe", "Zoe", "zoe@z.example", iban="DE89370400440532013000")
    calls = 0

    def clock() -> Instant:
        nonlocal calls
        calls += 1
        if calls == 2:  # the catalogue was read, and nobody was created yet
            with place.books.writing() as connection:
                put(connection, theirs, "test", 2)
                put(connection, Membership(SOUTH, "main", "zoe", "approved", START, START), "test", 2)
        return system_clock()

    with pytest.raises(FairshareError, match=r"affiliate zoe exists already.* import the file again"):
        place.clicks("c1,2025-07-01 10:00:00,zoe,u1,d,,", change=CREATE, clock=clock)

    with place.books.reading() as connection:
        catalogue = load_catalogue(connection)
    assert theirs in catalogue.affiliates
    assert not any(one.tenant_id == NORTH and one.affiliate_id == "zoe" for one in catalogue.memberships)
    assert place.ids() == []
    assert place.clicks("c1,2025-07-01 10:00:00,zoe,u1,d,,", change=CREATE).created[0].startswith("zoe-")


def test_of_a_touch_whose_consent_was_denied_nothing_is_kept_that_names_a_person(place: Place) -> None:
    denied = [("[[constants]]", '[[constants]]\nconsent = "denied"')]
    place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,jo@example.com,https://r.example/jo?mail=jo", change=denied)

    [row] = place.events.select_named(TOUCHES)
    assert row["referrer"] == "https://r.example"
    assert (row["visitor_id"], list(row["customer_keys"]), row["ip"], row["user_agent"]) == ("", [], "", "")
    assert place.events.select(LINKS) == []


def test_an_id_that_comes_again_in_a_file_with_another_content_is_an_error(place: Place) -> None:
    first, other = "c1,2025-07-01 10:00:00,anna,u1,d,,", "c1,2025-07-01 10:00:00,ben,u1,d,,"
    report = place.clicks(first, "c2,soon,anna,u1,d,,", other, first, "c1,2025-07-01 10:00:01,ben,u1,d,,")

    assert (report.rows, report.imported, report.wrong) == (5, 3, 2)
    assert place.why()[1] == (
        4,
        "touch_id",
        "'c1' came before in this file, at the same time and with another content; a touch of its own needs an id of its own",
    )
    assert [(row["affiliate_id"]) for row in place.events.select_named(TOUCHES)] == ["anna", "anna", "ben"]


def test_rows_without_an_id_of_their_own_may_be_alike(place: Place) -> None:
    assert place.clicks(*[",2025-07-01 10:00:00,anna,u1,d,,"] * 2, ",2025-07-01 10:00:00,ben,u1,d,,").wrong == 0


def test_rows_with_an_id_of_their_own_may_stand_among_rows_without(place: Place) -> None:
    rows = [f"{name},2025-07-01 10:00:00,{who},u1,d,," for name, who in (("c1", "anna"), ("", "anna"), ("", "ben"), ("c1", "anna"))]
    mixed = place.clicks(*rows)
    before = set(place.ids())
    alone = place.clicks(rows[0]), place.clicks(*rows[1:3])

    assert (mixed.imported, mixed.wrong, len(before)) == (4, 0, 3)
    assert sum(report.imported for report in alone) == 3
    assert set(place.ids()) == before, "in another company they have the same ids"


@pytest.mark.parametrize("content", [CLICK_TITLES + "\rc1,2025-07-01 10:00:00,anna,u1,d,,\r", CLICK_TITLES + "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_whose_lines_end_with_cr_alone_is_refused(place: Place, content: str, encoding: str) -> None:
    told = changed(CLICKS, [('tenant = "north"', f'tenant = "north"\nencoding = "{encoding}"')])
    with pytest.raises(FairshareError, match=r"^file\.csv: its lines end with CR alone; save it with LF or CRLF at the ends of lines$"):
        place.run(content.encode(encoding), told)
    mended = content.replace("\r", "\r\n") + "c2,2025-07-01 10:00:00,anna,u1,d,,"
    assert place.run(mended.encode(encoding), told).wrong == 0


def test_a_cr_alone_among_the_rows_is_told_at_its_line(place: Place) -> None:
    report = place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,\rc2,2025-07-01 10:00:00,anna,u1,d,,", "c3,2025-07-01 10:00:00,anna,u1,d,,")

    assert (report.imported, place.why()) == (1, [(2, "", "a CR stands alone in the row, outside of quotes; lines end with LF or CRLF")])


def test_touches_from_before_a_membership_are_counted(place: Place) -> None:
    assert place.clicks("c1,2024-07-01 10:00:00,anna,u1,d,,", "c2,2025-07-01 10:00:00,anna,u1,d,,").early == 1


def test_a_map_that_does_not_fit_the_catalogue_imports_nothing(place: Place) -> None:
    with pytest.raises(MapRefused) as refused:
        place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,", change=[('tenant = "north"', 'tenant = "nort"'), ('from"', 'form"')])

    said = [str(fault) for fault in refused.value.faults]
    assert said == [
        "line 4: there is no tenant 'nort'; did you mean north?",
        "line 11: the file has no column 'form'; did you mean from?",
    ]
    with pytest.raises(MapRefused, match="line 13: north has no programme 'mian'; did you mean main"):
        place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,", change=[('"main"', '"mian"')])
    assert place.ids() == []


# --- orders and leads ------------------------------------------------------------------------------------------------


def test_an_order_names_its_click_by_the_files_own_id(place: Place) -> None:
    place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,")
    report = place.orders("o1,2025-07-02 10:00:00,EUR,19.90,c1,jo@example.com", "o2,2025-07-02 10:00:00,EUR,5,c9,")

    assert (report.rows, report.imported, report.wrong) == (2, 2, 0)
    [(oldest,)] = place.events.select(OLDEST)
    assert 0 <= system_clock() - oldest < 5 * MINUTE
    first, second = place.events.select(ORDERED)
    assert first == ("o1", 19_90, 19_90, place.ids()[0], [customer_key("email", "jo@example.com", KEY)], "import")
    assert second[3] == "c9", "it is kept as it was said, and finds no click"


def test_an_order_that_is_sent_again_is_a_repeat_and_another_content_a_conflict(place: Place) -> None:
    place.orders("o1,2025-07-02 10:00:00,EUR,19.90,,jo@example.com")
    sent: dict[str, Any] = {"order_id": "o1", "occurred_at": "2025-07-02T10:00:00Z", "currency": "EUR", "lines": [{"net": "19.90"}]}
    live = read_order(sent | {"customer": {"email": "Jo@example.com"}}, Arrival(NORTH, KEY, "0" * 26, system_clock(), MINUTE))
    with place.books.reading() as connection:
        receipt = find_receipt(connection, NORTH, "order", "o1")
    assert receipt is not None
    assert receipt.recorded
    assert receipt.body_hash == live.content_hash

    again = place.orders("o1,2025-07-02 10:00:00,EUR,19.90,,jo@example.com")
    assert (again.imported, again.known, again.wrong) == (0, 1, 0)
    other = place.orders("o1,2025-07-02 10:00:00,EUR,20.90,,jo@example.com", "o2,2025-07-02 10:00:00,EUR,1,,")
    assert (other.imported, other.known, other.wrong) == (1, 0, 1)
    assert place.why() == [
        (2, "order_id", "order 'o1' was recorded before with another content; nothing was changed. A correction needs an id of its own")
    ]
    assert [row[:2] for row in place.events.select(ORDERED)] == [("o1", 19_90), ("o2", 1_00)]


def test_an_id_that_stands_twice_in_a_file_is_one_order(place: Place) -> None:
    rows = ["o1,2025-07-02 10:00:00,EUR,1,,", "o1,2025-07-02 10:00:00,EUR,1,,", "o1,2025-07-02 10:00:00,EUR,2,,"]
    report = place.orders(*rows)

    assert (report.imported, report.known, report.wrong) == (1, 1, 1)
    assert [row[:2] for row in place.events.select(ORDERED)] == [("o1", 1_00)]


BY_LINE = [('tenant = "north"', 'tenant = "north"\nrows = "lines"')]


def test_rows_with_one_order_id_are_one_order_wherever_they_stand(place: Place) -> None:
    rows = ["o1,2025-07-02 10:00:00,EUR,1.00,,a@b.example", "o1,2025-07-02 10:00:00,EUR,2.00,,", "o2,2025-07-02 10:00:00,EUR,7.00,,"]
    report = place.orders(*rows, "o1,,,4.00,,", change=BY_LINE)

    assert (report.imported, report.events, report.wrong) == (4, 2, 0)
    assert [row[:2] for row in place.events.select(ORDERED)] == [("o1", 7_00), ("o2", 7_00)]


def test_a_line_says_what_its_item_is(place: Place) -> None:
    columns = ('net = "net"', 'unit_price = "net"\nline_discount = "off"\nbrand = "brand"\nitem_kind = "kind"')
    more = (*BY_LINE, columns, ("[[times]]", '[[line_attributes]]\nseason = "season"\n[[times]]'))
    titles = f"{ORDER_TITLES},off,brand,kind,season"
    rows = ["o1,2025-07-02 10:00:00,EUR,8.00,,,2.00,Nord,,ss26", "o1,2025-07-02 10:00:00,EUR,50.00,,,,,gift_card,"]
    bad = ["o2,2025-07-02 10:00:00,EUR,1.00,,,,,,", f"o2,2025-07-02 10:00:00,EUR,1.00,,,,,voucher,{'x' * 65}"]

    report = place.run("\n".join((titles, *rows, *bad)), changed(ORDERS, more))

    assert (report.imported, report.wrong) == (2, 1)
    kept = Query(
        "kept", "SELECT lines.brand, lines.kind, lines.discount_minor, lines.net_minor, lines.attributes FROM orders ORDER BY order_id"
    )
    assert place.events.select(kept) == [(["Nord", ""], ["", "gift_card"], [200, 0], [600, 5000], [{"season": "ss26"}, {}])]
    assert place.why() == [
        (5, "item_kind", "lines[1].kind 'voucher' is none of gift_card, product"),
        (5, "season", "lines[1].attributes.season has 65 characters; at most 64 are taken"),
    ]


def test_rows_of_an_order_that_disagree_are_told(place: Place) -> None:
    place.orders("o1,2025-07-02 10:00:00,EUR,1.00,,", "o1,2025-07-02 10:00:00,USD,2.00,,", change=BY_LINE)

    assert place.why() == [(2, "currency", "the order's rows (lines 2, 3) do not agree on cur: ['EUR', 'USD']")]
    assert place.events.select(ORDERED) == []


def test_rows_of_an_order_that_disagree_on_an_attribute_or_a_zone_are_told(place: Place) -> None:
    more = (*BY_LINE, ('[[times]]\nzone = "UTC"', '[[attributes]]\ntier = "tier"\n[[times]]\nzone_column = "zone"'))
    rows = (f"{ORDER_TITLES},tier,zone", "o1,2025-07-02 10:00:00,EUR,1.00,,,gold,UTC", "o1,2025-07-02 10:00:00,EUR,2.00,,,tin,+02:00")
    place.run("\n".join(rows), changed(ORDERS, more))

    assert [fault[1:] for fault in place.why()] == [
        ("tier", "the order's rows (lines 2, 3) do not agree on tier: ['gold', 'tin']"),
        ("occurred_at", "the order's rows (lines 2, 3) do not agree on zone: ['+02:00', 'UTC']"),
    ]
    assert place.events.select(ORDERED) == []


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("-5.00", "lines[0].net is below zero; money taken back is a refund"),
        ("5.001", "lines[0].net '5.001' has 3 decimals; EUR has 2"),
        ("1e5", "lines[0].net '1e5' is not a decimal number such as 12.30"),
        ("=1+2", "lines[0].net '=1+2' is not a decimal number such as 12.30"),
        ("9" * 16, "lines[0].net '9999999999999999' is beyond the largest amount taken"),
        ("9" * 5000, f"lines[0].net '{'9' * 39} is not a decimal number such as 12.30"),
    ],
)  # fmt: skip
def test_amounts_that_are_none_are_told(place: Place, cell: str, why: str) -> None:
    place.orders(f"o1,2025-07-02 10:00:00,EUR,{cell},,")

    assert place.why() == [(2, "net", why)]


def test_what_is_claimed_but_was_not_stored_is_stored_by_the_next_run(place: Place) -> None:
    class Broken(EventsStore):
        def __init__(self) -> None:
            """Nothing is inserted; questions are answered."""

        def select(self, query: Query, **params: Any) -> list[tuple[Any, ...]]:
            return place.events.select(query, **params)

        def insert_json(self, table: str, lines: bytes, token: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.orders("o1,2025-07-02 10:00:00,EUR,1.00,,", events=Broken())
    with place.books.reading() as connection:
        receipt = find_receipt(connection, NORTH, "order", "o1")
    assert receipt is not None
    assert not receipt.recorded
    place.orders("o1,2025-07-02 10:00:00,EUR,1.00,,")

    assert [row[:2] for row in place.events.select(ORDERED)] == [("o1", 1_00)]
    with place.books.reading() as connection:
        stored = find_receipt(connection, NORTH, "order", "o1")
    assert stored is not None
    assert stored.recorded
    assert stored.event == receipt.event
    assert isinstance(decode_event(stored.event), Order)


# --- hostile files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "file.csv is empty: it has not even a line with the columns' names"),
        (b"\n\n", "file.csv is empty: it has not even a line with the columns' names"),
        (CLICK_TITLES.encode() + b"\n", "file.csv holds a line with the columns' names and no rows; nothing was imported"),
        (b"\xff\xfe" + CLICK_TITLES.encode("utf-16-le"), "file.csv: the line with the columns' names is not utf-8 throughout"),
        (CLICK_TITLES.encode("utf-16-le"), "file.csv: the line with the columns' names holds NUL bytes; look at encoding in the map"),
        (b"x" * 200_000, "file.csv: the line with the columns' names has more than 65536 characters; is this a CSV file?"),
        (b"a," * 2000, "file.csv has 2001 columns; at most 1000 are read"),
        (b'"id,when\n' * 3, "file.csv: the line with the columns' names cannot be read"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_one_sentence(place: Place, content: bytes, why: str) -> None:
    with pytest.raises(FairshareError, match=re.escape(why)):
        place.run(content, CLICKS)
    assert place.ids() == []


def test_a_folder_and_a_file_that_is_not_there_are_one_sentence(place: Place) -> None:
    for path, what in ((place.folder, "is a folder"), (place.folder / "no.csv", "is not there")):
        with pytest.raises(FairshareError, match=what):
            run_import(place.work(), path, map_of(CLICKS))


def test_whatever_stands_between_good_rows_they_go_in(place: Place) -> None:
    good = b"g%d,2025-07-01 10:00:%02d,anna,u1,d,,\n"
    bad = [
        b"x" * 10_000_000 + b"\n",
        b'"never closed,2025-07-01 10:00:00,anna,u1,d,,\n',
        b"b2,2025-07-01 10:00:00,anna,u\xff,d,,\n",
        b"b3,2025-07-01 10:00:00,anna,u1,d,,\x00\n",
        b'b4,2025-07-01 10:00:00,"an"na,u1,d,,\n',
        b"b5,0001-01-01T00:00:00+14:00,anna,u1,d,,\n",
        b"b6,9999-12-31 23:59:59,anna,u1,d,,\n",
        b"b7,2025-07-01 10:00:00,anna,u1,d,,,,,,,,,,\n",
    ]
    content = CLICK_TITLES.encode() + b"\n" + b"".join(good % (n, n) + row for n, row in enumerate(bad)) + good % (59, 59)
    report = place.run(content, CLICKS)

    assert len(place.ids()) == report.imported == 9
    assert report.wrong == len({fault.line for fault in place.faults}) == 8
    assert report.rows == 17


def test_quoted_newlines_other_encodings_and_other_separators_are_read(place: Place) -> None:
    titles = CLICK_TITLES.replace(",", ";")
    row = '"c1";"2025-07-01 10:00:00";anna;"jürgen\r\n müller";d;;\r\n'
    change = [('tenant = "north"', 'tenant = "north"\nencoding = "utf-16"\ndelimiter = ";"\nskip_lines = 1')]
    report = place.run(f"A report of 2026\r\n{titles}\r\n{row}".encode("utf-16"), changed(CLICKS, change))

    assert (report.imported, place.why()) == (0, [(3, "visitor", "the cell holds a control character")])
    assert (
        place.run(f"A report\r\n{titles}\r\n{row}".replace("\r\n müller", " müller").encode("utf-16"), changed(CLICKS, change)).imported
        == 1
    )


# --- times and money -------------------------------------------------------------------------------------------------


def read_time(text: str, form: str = "iso", zone: str = "Europe/Berlin", ambiguous: str = "earlier") -> tuple[Any, int, int]:
    times = Times(form, zone, "", ambiguous)  # type: ignore[arg-type]
    found = Clockwork(times, 0, parse_instant("2030-01-01T00:00:00Z"), 0).column([text])
    return found.instants[0], found.ambiguous, found.missing


@pytest.mark.parametrize(
    ("text", "form", "ambiguous", "utc", "counts"),
    [
        ("2025-07-01 10:00:00", "iso", "earlier", "2025-07-01T08:00:00Z", (0, 0)),
        ("2025-07-01T10:00:00.250Z", "iso", "earlier", "2025-07-01T10:00:00.250Z", (0, 0)),
        ("2025-07-01T10:00:30+05:30", "iso", "earlier", "2025-07-01T04:30:30Z", (0, 0)),
        ("20250701T1000+01:30", "iso", "earlier", "2025-07-01T08:30:00Z", (0, 0)),
        ("2026-10-25 02:30:10", "iso", "earlier", "2026-10-25T00:30:10Z", (1, 0)),
        ("2026-10-25 02:30:10", "iso", "later", "2026-10-25T01:30:10Z", (1, 0)),
        ("2026-03-29 02:30:00", "iso", "earlier", "2026-03-29T01:30:00Z", (0, 1)),
        ("01.07.2025 10:00", "%d.%m.%Y %H:%M", "earlier", "2025-07-01T08:00:00Z", (0, 0)),
        ("7/1/2025 10:00:59 PM", "%m/%d/%Y %I:%M:%S %p", "earlier", "2025-07-01T20:00:59Z", (0, 0)),
        ("01.07.2025 10:00:59", "%d.%m.%Y %H:%M:%S", "earlier", "2025-07-01T08:00:59Z", (0, 0)),
    ],
)  # fmt: skip
def test_times_are_read_in_their_zone(text: str, form: str, ambiguous: str, utc: str, counts: tuple[int, int]) -> None:
    assert read_time(text, form, ambiguous=ambiguous) == (parse_instant(utc), *counts)


def test_seconds_since_1970_never_pass_through_a_float() -> None:
    assert read_time("1788345600.123456", "epoch_s", "")[0] == 1_788_345_600_123
    assert read_time("1788345600123", "epoch_ms", "")[0] == 1_788_345_600_123
    assert isinstance(read_time("1788345600.1.2", "epoch_s", "")[0], Bad)
    assert isinstance(read_time("2026-10-25 02:30:00", ambiguous="refuse")[0], Bad)
    assert isinstance(read_time("2025-07-01 10:00:00", zone="")[0], Bad), "no zone is no guess"


@given(st.integers(parse_instant("2000-01-02T00:00:00Z") // SECOND, parse_instant("2029-12-30T00:00:00Z") // SECOND))
def test_a_minute_and_its_seconds_are_the_whole_time(second: int) -> None:
    """The way over minutes, which is fast, and the way over whole texts agree, in a zone of odd rules."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    wall = datetime.fromtimestamp(second, ZoneInfo("Australia/Lord_Howe")).replace(tzinfo=None, fold=0)
    clockwork = Clockwork(Times("iso", "Australia/Lord_Howe"), 0, parse_instant("2031-01-01T00:00:00Z"), 0)

    assert clockwork.column([wall.isoformat(sep=" ")]).instants == [clockwork.read((wall.isoformat(), ""))]


@pytest.mark.parametrize(
    ("text", "money", "currency", "read"),
    [
        ("1.234,50", MoneyForm(",", "."), "EUR", "1234.50"),
        ("12.345.678,9", MoneyForm(",", "."), "EUR", "12345678.9"),
        ("-0,5", MoneyForm(",", ""), "EUR", "-0.5"),
        ("1234", MoneyForm(minor_units=True), "EUR", "12.34"),
        ("5", MoneyForm(minor_units=True), "BHD", "0.005"),
        ("1234", MoneyForm(minor_units=True), "JPY", "1234"),
        ("1'000'000.00", MoneyForm(".", "'"), "CHF", "1000000.00"),
    ],
)
def test_amounts_are_read_as_they_are_written(text: str, money: MoneyForm, currency: str, read: str) -> None:
    assert decimal_text(text, money, currency) == read


@pytest.mark.parametrize(
    ("text", "money"),
    [("1.23", MoneyForm(",", ".")), ("12.34.567", MoneyForm(",", ".")), ("1.5", MoneyForm(",", "")), ("1.5", MoneyForm(minor_units=True))],
)
def test_amounts_that_may_mean_two_things_are_refused(text: str, money: MoneyForm) -> None:
    with pytest.raises(FairshareError):
        decimal_text(text, money, "EUR")


@given(st.text(min_size=1, max_size=30).filter(str.strip))
def test_every_name_has_an_id_of_its_own(name: str) -> None:
    from core.ids import is_slug

    assert is_slug(slug_of(name))
    other = name + "'"
    assert slug_of(other) != slug_of(name)


@given(
    st.from_regex(r"\s*(?:[0\-\s.]*|-1|null|none|nil|undefined|anonymous|unknown|n/?a|guest|test)\s*", fullmatch=True) | st.text(max_size=5)
)
def test_whatever_names_nobody_is_looked_at_closely(cell: str) -> None:
    trimmed = cell.strip()
    assert without_nobodies(trimmed) == ("" if is_junk(trimmed) else trimmed)


@given(st.lists(st.tuples(st.integers(0, (1 << 48) - 1), st.binary(min_size=16, max_size=16)), max_size=5))
def test_ids_that_are_made_together_are_those_that_are_made_one_by_one(of: list[tuple[int, bytes]]) -> None:
    assert ids_at([at for at, _ in of], [digest for _, digest in of]).to_pylist() == [derive(*one) for one in of]


# --- beside pollers --------------------------------------------------------------------------------------------------


class SlowStore(EventsStore):
    """The first insert of each block becomes visible long after its stored_at."""

    def __init__(self, inner: EventsStore, wait: Any) -> None:
        self._inner, self._wait = inner, wait
        self.inserted: list[tuple[str, int]] = []

    def select(self, query: Query, **params: Any) -> list[tuple[Any, ...]]:
        return self._inner.select(query, **params)

    def insert_columns(self, table: str, columns: Any, token: str) -> None:
        self.inserted.append((token, len(columns["touch_id"])))
        self._wait(token)
        self._inner.insert_columns(table, columns, token)


def test_a_block_that_becomes_visible_late_is_inserted_again_in_halves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("tracker.shelf.time.monotonic", lambda: now[0])

    def wait(token: str) -> None:
        now[0] += 6 if token.count(":") == 4 else 1  # the whole block takes too long, its halves do not

    slow = SlowStore(place.events, wait)
    report = place.clicks(*(f"c{n},2025-07-01 10:00:00,anna,u{n},d,," for n in range(9)), events=slow)

    assert [rows for _, rows in slow.inserted] == [9, 4, 5]
    assert (report.imported, report.late_blocks) == (9, 0)
    assert len(set(place.ids())) == 9
    assert len(place.events.select(STAMPS)) == 3, "each has a time of storing of its own"


def test_an_insert_whose_answer_never_came_is_repeated_under_another_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.shelf.time.sleep", lambda _seconds: None)

    def wait(token: str) -> None:
        if "retry" not in token:
            raise Unavailable("the events store cannot be reached: timed out")

    slow = SlowStore(place.events, wait)
    place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,", events=slow)

    assert [token.rpartition(":")[2] for token, _ in slow.inserted][1:] == ["retry1"]
    assert len(place.ids()) == 1


def test_a_store_that_stays_away_ends_the_import(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.shelf.time.sleep", lambda _seconds: None)

    def wait(_token: str) -> None:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,", events=SlowStore(place.events, wait))


@pytest.mark.parametrize("apart", [-5 * SECOND, 5 * SECOND])
def test_a_clock_that_is_not_the_stores_is_refused(place: Place, apart: Instant) -> None:
    with pytest.raises(FairshareError, match="set it right first"):
        check_clocks(place.work(clock=lambda: system_clock() + apart))


def test_a_dry_run_checks_everything_and_writes_nothing(place: Place) -> None:
    place.orders("o1,2025-07-02 10:00:00,EUR,1.00,,")
    before = place.events.select(ORDERED)
    report = place.orders("o1,2025-07-02 10:00:00,EUR,2.00,,", "o2,2025-07-02 10:00:00,EUR,3.00,,", "o3,never,EUR,3.00,,", dry_run=True)

    assert (report.imported, report.wrong) == (1, 2)
    assert [row["order_id"] for row in report.shown] == ["o2"]
    assert place.events.select(ORDERED) == before
    with place.books.reading() as connection:
        assert find_receipt(connection, NORTH, "order", "o2") is None
    assert place.clicks("c1,2025-07-01 10:00:00,anna,u1,d,,", dry_run=True).shown[0]["occurred_at"] == "2025-07-01T08:00:00.000Z"
    assert place.ids() == []
