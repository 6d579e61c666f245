"""An erased identifier is nowhere any more, and every cent that was credited stays credited."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from attribution.erasure import ERASED_AGAIN, digest_of, erase, erase_again, plan_erasure, shared_beside, without
from attribution.people import People
from attribution.run import run_once
from core.catalogue import Coalition, CoalitionMember
from core.clock import DAY, HOUR
from core.errors import BadInput
from core.events import Lead, Order, Touch, encode_event
from store.books import Books
from store.columns import COLUMNS
from store.events import EventsStore, Query
from store.receipts import Receipt, claim
from store.schema import metadata, receipts
from tests.attribution.builders import (
    NOON,
    STORED,
    click,
    decided,
    lead,
    member,
    open_shops,
    order,
    pays_for_leads,
    put_all,
    revisions,
    store,
)
from tests.fakes import FakeClock

VISITOR_ID = "01JVZOESKITCHENTABLET00001"
ZOE = "em:3f2a77c1d09b4e5e8f6a1b2c3d4e5f60"
KEYS = [f"v:{VISITOR_ID}", ZOE]


def world() -> list[Order]:
    """Zoe clicks Anna's blog on the tablet, signs up, and orders there and at the till."""
    return [
        order("O-web", NOON, visitor_id=VISITOR_ID, customer_keys=(ZOE,)),
        order("O-till", NOON + HOUR, customer_keys=(ZOE, "loy:7"), channel="pos"),
        order("O-card", NOON + 2 * HOUR, customer_keys=("loy:7",), channel="pos"),
    ]


@pytest.fixture
def shop(events: EventsStore, sqlite_books: Books, clock: FakeClock) -> EventsStore:
    """North with Zoe's history, decided; South, where another has the same identifiers."""
    open_shops(sqlite_books)
    clock.at = STORED + DAY
    store(events, [click("blog", "anna", NOON - DAY, VISITOR_ID, referrer=f"https://blog.example/?u={VISITOR_ID}"), *world()])
    store(events, [lead("L-1", NOON - HOUR, visitor_id=VISITOR_ID, customer_keys=(ZOE,)), lead("L-2", NOON, customer_keys=("loy:7", ZOE))])
    store(events, [order("O-south", NOON, visitor_id=VISITOR_ID, customer_keys=(ZOE,), tenant_id="south")])
    bad = {
        "tenant_id": "north", "spool_id": "a", "segment": "s", "position": 7, "reason": "unknown_field", "detail": f"near {VISITOR_ID}",
        "raw": encode_event(world()[0]).decode(), "received_at": 1.0, "stored_at": 1.0,
    }  # fmt: skip
    events.insert_json("bad_rows", msgspec.json.encode(bad), "bad")
    with sqlite_books.writing() as connection:
        for one in world():
            claim(connection, "north", "order", one.order_id, Receipt("hash", one.event_id, encode_event(one), True), NOON)
        basket = b"[%b,%b]" % (encode_event(world()[0]), encode_event(world()[1]))
        claim(connection, "north", "basket", "B-1", Receipt("hash", "e", basket, True), NOON)
    run_once(events, sqlite_books, clock)
    return events


def everything(events: EventsStore, tenant: str) -> str:
    """All that a tenant's rows say, of every table and column there is."""
    texts = []
    for table in COLUMNS:
        if "tenant_id" in COLUMNS[table]:
            rows = events.select_named(Query("all", f"SELECT * FROM {table} WHERE tenant_id = '{tenant}' ORDER BY ALL"))
            texts.append(repr(rows))
    return "\n".join(texts)


def all_books(books: Books) -> str:
    with books.reading() as connection:
        return "\n".join(repr(list(connection.execute(select(table)))) for table in metadata.sorted_tables)


@pytest.mark.parametrize("key", KEYS, ids=["visitor", "customer"])
def test_nothing_holds_an_erased_identifier_and_no_credit_moves(shop: EventsStore, sqlite_books: Books, clock: FakeClock, key: str) -> None:
    value = key.removeprefix("v:")
    before, south = decided(shop), everything(shop, "south")
    assert before == {**dict.fromkeys(("O-web", "O-till", "O-card"), ("credited", "anna")), "O-south": before["O-south"]}
    assert value in everything(shop, "north")
    assert value in all_books(sqlite_books)

    found = erase(shop, sqlite_books, "north", [key], clock())

    assert value not in everything(shop, "north")
    assert value not in all_books(sqlite_books)
    assert everything(shop, "south") == south
    assert found.frozen_orders == ("O-card", "O-till", "O-web")
    assert found.copies["receipts"] == {ZOE: 3}.get(key, 2)
    seen = revisions(shop)
    store(
        shop,
        [click("late", "ben", NOON - HOUR, "other"), lead("L-9", NOON, visitor_id="other", customer_keys=("loy:7",))],
        STORED + 2 * DAY,
    )
    run_once(shop, sqlite_books, clock)
    assert (decided(shop), revisions(shop)) == (before, seen)
    assert plan_erasure(shop, sqlite_books, "north", [key]).copies == {}


def test_a_lead_that_earned_is_frozen_before_its_keys_go(events: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    open_shops(sqlite_books)
    put_all(sqlite_books, pays_for_leads())
    clock.at, blog = STORED + DAY, click("blog", "anna", NOON - DAY, VISITOR_ID)
    signs_up = [lead("L-1", NOON, visitor_id=VISITOR_ID, customer_keys=(ZOE,)), lead("L-2", NOON, click_id=blog.event_id)]
    store(events, [blog, *signs_up, lead("L-3", NOON)])
    run_once(events, sqlite_books, clock)
    before = decided(events)
    assert [before[f" lead:{name}"] for name in ("L-1", "L-2", "L-3")] == [("credited", "anna")] * 2 + [("no_identity", "")]

    found = erase(events, sqlite_books, "north", [KEYS[0]], clock())

    assert found.frozen_orders == (" lead:L-1", " lead:L-2")
    run_once(events, sqlite_books, clock)
    store(
        events, [click("late", "ben", NOON - HOUR, "other"), lead("L-9", NOON, visitor_id="other", customer_keys=(ZOE,))], STORED + 2 * DAY
    )
    run_once(events, sqlite_books, clock)
    assert {name: decided(events)[name] for name in before} == before


def test_what_is_left_of_a_person_falls_apart(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    people = People(shop, "north")
    people.refresh()
    erase(shop, sqlite_books, "north", [ZOE], clock())

    assert {"loy:7", f"v:{VISITOR_ID}"} <= people.refresh()
    assert people.known_with({"loy:7"}) == {"loy:7"}


def test_a_touch_of_an_erased_visitor_stays_a_click_of_its_affiliate(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    clicks = Query("clicks", "SELECT touch_id, affiliate_id, visitor_id, occurred_at, referrer FROM touches ORDER BY touch_id")
    (before,) = shop.select(clicks)
    erase(shop, sqlite_books, "north", [KEYS[0]], clock())

    assert shop.select(clicks) == [(*before[:2], "", before[3], "https://blog.example/?u=erased")]


def test_a_repeat_is_still_known_after_its_receipt_was_cleaned(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    erase(shop, sqlite_books, "north", [ZOE], clock())

    with sqlite_books.reading() as connection:
        rows = {row.external_id: row for row in connection.execute(select(receipts))}
    assert {row.body_hash for row in rows.values()} == {"hash"}
    assert msgspec.json.decode(rows["O-till"].event, type=Order).customer_keys == ("loy:7",)
    assert len(msgspec.json.decode(rows["B-1"].event)) == 2


def test_a_plan_changes_nothing(shop: EventsStore, sqlite_books: Books) -> None:
    before = everything(shop, "north"), all_books(sqlite_books)
    found = plan_erasure(shop, sqlite_books, "north", [ZOE])

    assert (everything(shop, "north"), all_books(sqlite_books)) == before
    assert found.copies == {"bad_rows": 1, "identity_links": 8, "leads": 2, "orders": 2, "receipts": 3}


def test_what_comes_back_from_the_spool_is_erased_again(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    erase(shop, sqlite_books, "north", [ZOE], clock())
    assert erase_again(shop, sqlite_books, "north", clock()) == 0
    store(shop, [lead("L-late", NOON, customer_keys=(ZOE, "ph:1"))], STORED + 2 * DAY)
    bad = {"tenant_id": "north", "spool_id": "a", "segment": "s", "position": 8, "received_at": 1.0, "stored_at": 1.0}
    shop.insert_json("bad_rows", msgspec.json.encode(bad | {"raw": f'["{ZOE}"'}), "late")

    assert erase_again(shop, sqlite_books, "north", clock()) == 1
    assert ZOE not in everything(shop, "north")
    assert erase_again(shop, sqlite_books, "north", clock()) == 0


@pytest.mark.parametrize(
    ("key", "late"),
    [
        (KEYS[0], order("O-late", NOON, visitor_id=VISITOR_ID)),
        (KEYS[0], lead("L-late", NOON, visitor_id=VISITOR_ID)),
        (KEYS[0], click("late", "ben", NOON, VISITOR_ID)),
        (ZOE, order("O-late", NOON, customer_keys=(ZOE,))),
        (ZOE, click("late", "ben", NOON, kind="call", source="api", customer_keys=(ZOE,))),
    ],
    ids=["order's visitor", "lead's visitor", "touch's visitor", "order's customer", "touch's customer"],
)
def test_it_is_found_again_whatever_carries_it(events: EventsStore, key: str, late: Order | Lead | Touch) -> None:
    note(events, key)
    store(events, [late])
    events.command("TRUNCATE TABLE identity_links")

    assert events.select(ERASED_AGAIN, tenant_id="north") == [(key,)]
    assert events.select(ERASED_AGAIN, tenant_id="south") == []


def note(events: EventsStore, key: str) -> None:
    """As if it had been erased."""
    row = {"tenant_id": "north", "digest": digest_of("north", key), "orders": 0, "erased_at": 1.0, "stored_at": 1.0}
    events.insert_json("identity_erasures", msgspec.json.encode(row), key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("detail", "raw"), [("", '{"a":["IT"]}'), ("", '{"a":"IT'), ("near IT, sent twice", "{}"), ("", '{"url":"https://a.example/?u=IT&b"}')]
)
def test_it_is_found_again_in_what_was_set_aside(events: EventsStore, key: str, detail: str, raw: str) -> None:
    note(events, key)
    value = key.removeprefix("v:")
    bad = {"tenant_id": "north", "spool_id": "a", "segment": "s", "position": 8, "received_at": 1.0, "stored_at": 1.0}
    texts = {"reason": "not_json", "detail": detail.replace("IT", value), "raw": raw.replace("IT", value)}
    events.insert_json("bad_rows", msgspec.json.encode(bad | texts), "late")

    assert events.select(ERASED_AGAIN, tenant_id="north") == [(key,)]


def test_keys_of_the_same_kind_that_the_same_events_showed_are_hints(events: EventsStore) -> None:
    shared = "x:fair:" + ZOE
    store(events, [lead("L-1", NOON, visitor_id="v", customer_keys=(ZOE, "loy:7", shared, "x:fair:ph:1")), lead("L-2", NOON)])
    store(events, [lead("L-3", NOON, customer_keys=(shared, "em:mia", ZOE)), lead("L-4", NOON, customer_keys=("x:fair:em:max", "loy:7"))])

    assert shared_beside(events, "north", ZOE) == [shared]
    assert shared_beside(events, "north", shared) == [ZOE, "em:mia"], "either may be it"
    assert shared_beside(events, "south", ZOE) == []


def test_several_identifiers_go_at_once_and_the_orders_of_all_are_frozen(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    mia = "em:a1b2c3d4e5f60718293a4b5c6d7e8f90"
    store(shop, [order("O-mia", NOON, customer_keys=(mia,), channel="pos")])
    run_once(shop, sqlite_books, clock)

    found = erase(shop, sqlite_books, "north", [ZOE, mia], clock())

    assert (found.keys, found.frozen_orders) == ((ZOE, mia), ("O-card", "O-mia", "O-till", "O-web"))
    assert not any(key in everything(shop, "north") for key in (ZOE, mia))
    assert {digest for (digest,) in shop.select(Query("noted", "SELECT digest FROM identity_erasures"))} == {
        digest_of("north", key) for key in (ZOE, mia)
    }


def test_an_erasure_is_noted_by_a_digest_that_differs_between_merchants(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    erase(shop, sqlite_books, "north", [ZOE], clock())

    noted = shop.select(Query("noted", "SELECT tenant_id, digest, orders FROM identity_erasures"))
    assert noted == [("north", digest_of("north", ZOE), 3)]
    assert digest_of("north", ZOE) != digest_of("south", ZOE)


@pytest.mark.parametrize("key", ["c:01JVZOESKITCHENTABLET00001", "zoe"])
def test_a_click_and_a_bare_text_are_no_identifiers(events: EventsStore, sqlite_books: Books, key: str) -> None:
    with pytest.raises(BadInput, match="no identifier of a person"):
        plan_erasure(events, sqlite_books, "north", [key])


def test_a_short_visitor_id_is_taken_out_where_it_stands_for_the_visitor_alone() -> None:
    event = {"visitor_id": "web", "channel": "web", "customer_keys": ["v:web"], "lines": [{"name": "web"}]}

    assert without(event, "v:web") == {"visitor_id": "", "channel": "web", "customer_keys": [], "lines": [{"name": "web"}]}


def test_every_column_that_may_hold_an_identifier_is_looked_at() -> None:
    """A new column of texts must be added to the question, or it would never be found there."""
    sql = (Path(__file__).parents[2] / "attribution" / "queries" / "copies_of_key.sql").read_text("utf-8")
    own = {"schema_migrations", "identity_erasures", "frozen_orders"}
    for table, columns in COLUMNS.items():
        if table not in own:
            section = sql.split(f"FROM {table}\n")[1].split("UNION ALL")[0]
            missing = [name for name, kind in columns.items() if "String" in kind and name != "tenant_id" and name not in section]
            assert not missing, f"{table}: {missing}"


def test_no_statement_that_the_store_remembers_names_it(shop: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    for key in KEYS:
        erase(shop, sqlite_books, "north", [key], clock())

    remembered = repr(shop.select(Query("mutations", "SELECT command FROM system.mutations")))
    assert "SHA256" in remembered
    assert VISITOR_ID not in remembered
    assert ZOE not in remembered


def test_an_erasure_leaves_a_partners_order_its_credit(events: EventsStore, sqlite_books: Books, clock: FakeClock) -> None:
    """North's order is Anna's for a click at south, known by the key of their coalition; south erases the customer."""
    open_shops(sqlite_books)
    members = CoalitionMember("north", 0), CoalitionMember("south", 0)
    put_all(sqlite_books, Coalition("mall", "Mall", members), member("anna", "south"))
    shared, at_south = f"x:mall:em:{'a' * 32}", f"em:{'b' * 32}"
    store(events, [click("c1", "anna", NOON - HOUR, "phone", tenant_id="south", consent="granted")])
    store(events, [lead("L-1", NOON - 2 * HOUR, tenant_id="south", visitor_id="phone", customer_keys=(at_south, shared))])
    store(events, [order("O-1", customer_keys=(f"em:{'c' * 32}", shared), consent="granted"), order("O-2", customer_keys=(shared,))])
    clock.at = STORED + HOUR
    run_once(events, sqlite_books, clock)
    assert decided(events)["O-1"] == ("credited", "anna")

    found = erase(events, sqlite_books, "south", [at_south, shared], clock())
    run_once(events, sqlite_books, clock)

    assert (found.frozen_orders, found.frozen_elsewhere["north"][0]) == ((), "O-1")
    assert decided(events)["O-1"] == ("credited", "anna")
