"""The demo world: what it holds, and that it takes the real route, also when it is killed on the way."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, func, select

from core.catalogue import Tenant, version_at
from core.catalogue_file import read_catalogue, write_catalogue
from core.catalogue_rules import is_iban
from core.clock import DAY, HOUR, parse_instant
from core.events import CHANNELS, Event, Lead, Order, Refund, Touch, encode_event
from core.identity import tenant_key
from core.money import parse_amount
from core.settings import Settings
from fairshare.demo.cast import EXAMPLE_LINK, LINKS, PASSWORD, PASSWORD_HASH, SIGN_INS
from fairshare.demo.facts import facts_of
from fairshare.demo.load import STAGE, DemoReport, example_order, load_demo
from fairshare.demo.stages import stages
from fairshare.demo.world import World, build_world
from payouts.attributes import item_values
from payouts.balances import balances_of_tenant
from payouts.matching import compile_card
from payouts.recompute import recompute
from payouts.verify import verify
from portal.passwords import matches
from store import schema
from store.batches import read_batches
from store.books import Books, open_books
from store.catalogue import load_catalogue, put
from store.cursors import read_cursor
from store.events import EventsStore, Query
from tests.fakes import NOON, FakeClock
from tracker.conservation import conservation
from tracker.conversion import Arrival, external_id_of, kind_of
from tracker.country import VENDORED, Countries
from tracker.orders import read_order
from tracker.traffic import classify

ANCHOR = parse_instant("2026-11-21T00:00:00Z")
SECRET = "a secret of thirty-two characters"
LATER = 217 * DAY

EARNED = {
    "north": {
        "anna": {"EUR": 1534_30},
        "ben": {"EUR": 1724_48},
        "dora": {"EUR": 831_12},
        "emil": {"EUR": 737_39},
        "gustav": {"EUR": 634_54},
        "ivo": {"EUR": 858_71},
        "jonas": {"EUR": 468_74},
        "leo": {"EUR": 749_75},
    },
    "pages": {
        "ben": {"EUR": 21_43, "GBP": 41_72},
        "charlie": {"EUR": 59_68, "GBP": 70_07},
        "dora": {"EUR": 89_79, "GBP": 117_78},
        "hana": {"EUR": 36_17, "GBP": 73_92},
    },
    "bazaar": {
        "ben": {"EUR": 236_58},
        "emil": {"EUR": 226_69},
        "flora": {"EUR": 596_18},
        "ivo": {"EUR": 173_74},
        "leo": {"EUR": 58_26},
    },
}
"""What each affiliate earns over the ninety days after all refunds, bonuses and recruits' part included, in minor units by currency.
Worked out from ``python -m fairshare.demo --json`` by ``oracle.py``, which has no code of Fairshare."""
CREDITED = {
    "north": {"anna": 132, "ben": 152, "dora": 65, "emil": 67, "gustav": 64, "ivo": 61, "jonas": 42, "leo": 50},
    "pages": {"ben": 32, "charlie": 53, "dora": 92, "hana": 55},
    "bazaar": {"ben": 33, "emil": 33, "flora": 93, "ivo": 22, "leo": 7},
}
"""Orders credited to each affiliate, by a script of its own: union-find for identity, one pass over the touches."""

FINAL_DECISIONS = Query(
    "final_decisions",
    "SELECT tenant_id, result, count() FROM (SELECT * FROM decisions ORDER BY revision DESC LIMIT 1 BY tenant_id, order_id) "
    "GROUP BY ALL ORDER BY tenant_id, result",
)
CREDITED_ORDERS = Query(
    "credited_orders",
    "SELECT tenant_id, arrayJoin(credits.affiliate_id) AS affiliate_id, count() FROM "
    "(SELECT * FROM decisions ORDER BY revision DESC LIMIT 1 BY tenant_id, order_id) GROUP BY ALL ORDER BY tenant_id, affiliate_id",
)
TOUCH_CLASSES = Query("touch_classes", "SELECT touch_id, traffic_class FROM touches ORDER BY touch_id LIMIT 1 BY touch_id")
REVISED = Query("revised", "SELECT count() FROM decisions WHERE revision > 1 ORDER BY 1")


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(ANCHOR, SECRET.encode())


def of_kind(world: World, kind: type[Any]) -> list[Any]:
    return [event for event in world.events if isinstance(event, kind)]


# --- what it holds ---------------------------------------------------------------------------------------------------


def test_the_same_seed_and_anchor_give_the_same_bytes(world):
    again = build_world(ANCHOR, SECRET.encode())

    assert [encode_event(event) for event in again.events] == [encode_event(event) for event in world.events]
    assert msgspec.json.encode(again.catalogue) == msgspec.json.encode(world.catalogue)


def test_another_anchor_shifts_every_time_and_changes_nothing_else(world):
    later = build_world(ANCHOR + LATER, SECRET.encode())

    assert [timeless(event) for event in later.events] == [timeless(event) for event in world.events]
    assert {one.occurred_at - other.occurred_at for one, other in zip(later.events, world.events, strict=True)} == {LATER}
    assert {one.received_at - other.received_at for one, other in zip(later.events, world.events, strict=True)} == {LATER}


def timeless(event: Event) -> dict[str, Any]:
    """An event without its times: of every id that was minted, the part that is chance."""
    fields = msgspec.to_builtins(event) | {"occurred_at": 0, "received_at": 0}
    return fields | {name: fields[name][10:] for name in ("event_id", "visitor_id", "click_id") if fields.get(name)}


def test_it_has_the_size_that_is_promised(world):
    clicks = [touch for touch in of_kind(world, Touch) if touch.kind == "click"]
    machines = sum(click.event_id in world.machine_touches for click in clicks)

    assert len(clicks) == 20_000
    assert 0.10 < machines / len(clicks) < 0.15
    assert Counter(order.tenant_id for order in of_kind(world, Order)) == {"north": 720, "pages": 260, "bazaar": 220}
    assert {order.channel for order in of_kind(world, Order)} == set(CHANNELS)
    assert len(of_kind(world, Touch)) - len(clicks) > 1_000, "impressions"
    assert 90 <= len(of_kind(world, Refund)) <= 130
    assert (len(world.catalogue.tenants), len(world.catalogue.affiliates), len(world.catalogue.links)) == (3, 12, 40)


def test_it_holds_the_awkward_cases(world):
    touches, orders, refunds = (of_kind(world, kind) for kind in (Touch, Order, Refund))
    together = Counter((touch.visitor_id, touch.occurred_at) for touch in touches if touch.visitor_id)
    known = {touch.event_id for touch in touches}
    received = {order.order_id: order.received_at for order in orders}

    assert sum(touch.received_at - touch.occurred_at > 12 * HOUR for touch in touches) == 20, "late clicks"
    assert sum(count > 1 for count in together.values()) >= 6, "ties"
    assert sum(order.click_id != "" and order.click_id not in known for order in orders) == 13, "unknown click ids"
    assert sum(order.test for order in orders) == 11
    assert sum(len(order.lines) > 1 for order in orders) > 400
    assert sum(refund.received_at < received[refund.order_id] for refund in refunds) == 2, "refunds before their sale"
    assert {(bool(refund.lines), refund.net_minor is None) for refund in refunds} == {(True, True), (False, False), (False, True)}
    assert sum(order.channel == "pos" and order.coupons != () for order in orders) == 40
    assert sum(event.tenant_id == "" for event in world.events) == 60, "clicks on links that do not exist"


def test_every_order_adds_up(world):
    for order in of_kind(world, Order):
        assert order.total_minor == sum(line.net_minor for line in order.lines) + order.shipping_minor + order.tax_minor


def test_no_two_conversions_share_an_id(world):
    conversions = [event for event in world.events if not isinstance(event, Touch)]
    named = Counter((event.tenant_id, kind_of(event), external_id_of(event)) for event in conversions)

    assert set(named.values()) == {1}
    assert len({event.event_id for event in world.events}) == len(world.events)


def test_nothing_happens_after_the_last_booking(world):
    assert max(event.received_at for event in world.events) < stages(ANCHOR)[-1].booked_at


def test_the_drain_finds_every_machine_and_takes_no_person_for_one(world):
    for touch in of_kind(world, Touch):
        flags = touch.flags if touch.tenant_id else (*touch.flags, "orphan")
        is_human = classify(flags, touch.user_agent).traffic_class == "human"
        assert is_human == (touch.event_id not in world.machine_touches), touch


def test_every_address_has_a_country(world):
    countries = Countries(VENDORED)
    try:
        found = Counter(countries.country_of(touch.ip) for touch in of_kind(world, Touch))
    finally:
        countries.close()

    assert "" not in found
    assert {"DE", "GB", "AT", "FR", "IT", "US"} < set(found)


# --- its catalogue ---------------------------------------------------------------------------------------------------


def test_its_catalogue_is_sound_and_survives_the_file(world):
    assert read_catalogue(write_catalogue(world.catalogue)) == (world.catalogue, [])


def test_its_affiliates_can_be_paid(world):
    with_account = [affiliate for affiliate in world.catalogue.affiliates if affiliate.iban]

    assert len(with_account) == 11
    assert all(is_iban(affiliate.iban) and affiliate.account_holder for affiliate in with_account)


def test_one_affiliate_joined_everywhere_one_only_applied_and_one_was_suspended(world):
    tenants_of: dict[str, set[str]] = {}
    for member in world.catalogue.memberships:
        tenants_of.setdefault(member.affiliate_id, set()).add(member.tenant_id)

    assert [who for who, tenants in tenants_of.items() if len(tenants) == 3] == ["ben"]
    statuses = {member.affiliate_id: member.status for member in world.catalogue.memberships if member.status != "approved"}
    assert statuses == {"jonas": "suspended", "kira": "applied"}


def test_everybody_signs_in_with_the_documented_password(world):
    users = {user.email: user for user in world.catalogue.users}

    assert matches(PASSWORD_HASH, PASSWORD)
    assert not matches(PASSWORD_HASH, PASSWORD + "!")
    assert {role.partition(" ")[0]: users[email].role for role, (email, _) in SIGN_INS.items()} == {
        role: role for role in ("affiliate", "merchant", "finance", "analyst")
    }
    assert {users[email].tenant_id or users[email].affiliate_id for email, _ in SIGN_INS.values()} == {"north", "anna"}


# --- what a newcomer tries -------------------------------------------------------------------------------------------


def test_the_example_order_is_taken_and_earns_its_affiliate_a_commission(world):
    body = example_order()
    arrival = Arrival("north", tenant_key(SECRET.encode(), "north"), "0" * 26, ANCHOR + 9 * HOUR, 0)

    order = read_order(body, arrival).event

    assert isinstance(order, Order)
    known = {key for lead in of_kind(world, Lead) if lead.tenant_id == "north" for key in lead.customer_keys}
    assert set(order.customer_keys) <= known, "the customer is on record"
    coupon = next(one for one in world.catalogue.coupons if one.code == order.coupons[0])
    link = next(one for one in world.catalogue.links if one.code == EXAMPLE_LINK)
    assert coupon.affiliate_id == link.affiliate_id == "anna"
    assert coupon.valid_at(order.occurred_at)
    card = version_at(tuple(card for card in world.catalogue.rate_cards if card.tenant_id == "north"), order.occurred_at)
    assert card is not None
    found = [compile_card(card, "EUR").match(item_values(line), {}, {"customer.status": order.customer_status}) for line in order.lines]
    assert [rule.rule_id for rule in found] == ["shoes", "everything"]  # type: ignore[union-attr]
    assert parse_amount(body["total"], "EUR") == order.total_minor


def test_the_facts_hold_the_whole_world_with_every_field(world):
    facts = facts_of(world)

    assert len(facts["touches"]) + len(facts["leads"]) + len(facts["orders"]) + len(facts["refunds"]) == len(world.events)
    assert sum(not touch["human"] for touch in facts["touches"]) == len(world.machine_touches)
    assert set(facts["orders"][0]) == set(Order.__struct_fields__)
    assert [stage.get("settled_at") is None for stage in facts["stages"]] == [False, False, True]
    assert len(facts["catalogue"]["links"]) == len(LINKS)


# --- loading it ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here: nothing catches this, as nothing catches a SIGKILL."""


class Mortal:
    """An events store whose process is killed at its ``lives``-th use."""

    def __init__(self, store: EventsStore, lives: int) -> None:
        self._store = store
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        self._lives -= 1
        if self._lives == 0:
            raise Killed
        return getattr(self._store, name)


class KilledBeforeApproval(Books):
    """Books whose process is killed once a batch is prepared and nobody has approved it."""

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.reading() as connection:
            if any(batch.state == "prepared" for batch in read_batches(connection, "north")):
                raise Killed
        with super().writing() as connection:
            yield connection


class Loaded(msgspec.Struct):
    settings: Settings
    books: Books
    events: EventsStore
    report: DemoReport


def silent(_done: int, _total: int) -> None:
    pass


@pytest.fixture(scope="module")
def loaded(chdb_store: EventsStore, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The demo world, loaded in four attempts: one was killed in its first drain, one between a batch and its approval, and
    one while it decided its second stage."""
    for table in ("touches", "leads", "orders", "refunds", "identity_links", "bad_rows", "decisions"):
        chdb_store.command(f"TRUNCATE TABLE {table}")
    data = tmp_path_factory.mktemp("demo")
    path = data / "books.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    settings, books, clock = Settings(data=data, secret=SECRET), open_books(f"sqlite:///{path}"), FakeClock(NOON)
    attempts: list[tuple[Books, Any]] = [
        (books, Mortal(chdb_store, 3)),
        (KilledBeforeApproval(books.engine), chdb_store),
        (books, Mortal(chdb_store, 80)),
    ]
    for mortal_books, mortal_store in attempts:
        with pytest.raises(Killed):
            load_demo(settings, mortal_books, mortal_store, clock, silent)
        clock.advance(DAY)
    with books.reading() as connection:
        assert read_cursor(connection, STAGE) == 1, "the last one was killed in the second stage"
    yield Loaded(settings, books, chdb_store, load_demo(settings, books, chdb_store, clock, silent))
    books.close()


def test_a_load_that_was_killed_is_finished_by_the_next_one(loaded, world):
    assert loaded.report.state == "loaded"
    assert loaded.report.anchor == ANCHOR, "a load that goes on tomorrow keeps the world that it began"
    with loaded.books.reading() as connection:
        assert load_catalogue(connection) == world.catalogue
    stored = dict(loaded.events.select(TOUCH_CLASSES))
    touches = of_kind(world, Touch)
    assert stored.keys() == {touch.event_id for touch in touches}
    assert {touch_id for touch_id, traffic_class in stored.items() if traffic_class != "human"} == world.machine_touches


def test_every_order_is_decided(loaded):
    results = loaded.events.select(FINAL_DECISIONS)

    assert sum(count for _, _, count in results) == 1_200
    assert {(tenant_id, count) for tenant_id, result, count in results if result == "test_event"} == {
        ("north", 6),
        ("pages", 3),
        ("bazaar", 2),
    }
    assert {result for tenant_id, result, _ in results if tenant_id == "north"} == {
        "credited", "no_touch", "no_identity", "outside_window", "before_click", "unknown_click_id", "affiliate_not_active",
        "invalid_touch", "test_event",
    }  # fmt: skip
    assert loaded.events.select(REVISED)[0][0] >= 4, "late clicks changed decisions"


def test_everybody_is_credited_what_an_independent_count_says(loaded):
    found: dict[str, dict[str, int]] = {}
    for tenant_id, affiliate_id, orders in loaded.events.select(CREDITED_ORDERS):
        found.setdefault(tenant_id, {})[affiliate_id] = orders

    assert found == CREDITED


def test_everybody_earns_what_an_independent_count_says(loaded):
    with loaded.books.reading() as connection:
        balances = [one for tenant_id in EARNED for one in balances_of_tenant(connection, tenant_id)]

    found: dict[str, dict[str, dict[str, int]]] = {}
    for one in balances:
        found.setdefault(one.tenant_id, {}).setdefault(one.affiliate_id, {})[one.currency] = one.total_minor
    assert found == EARNED
    jonas = next(one for one in balances if one.affiliate_id == "jonas")
    assert (jonas.paid_minor, jonas.approved_minor) == (472_93, -4_19), "a refund after the payout"


@pytest.mark.parametrize("tenant_id", EARNED)
def test_every_order_comes_to_the_same_cent_again(loaded, tenant_id):
    report = recompute(loaded.books, loaded.events, tenant_id)

    assert (report.differences, report.waiting, report.earlier, report.unbooked) == ((), 0, 0, 0)
    assert report.orders > 50


def test_the_ledger_verifies_and_two_batches_are_paid_and_one_waits_for_a_second_person(loaded):
    with loaded.books.reading() as connection:
        batches = read_batches(connection, "north")

    assert verify(loaded.books).ok
    assert [(batch.state, batch.prepared_by, batch.approved_by) for batch in batches] == [
        ("prepared", "frank@north.example", None),
        ("settled", "frank@north.example", "fiona@north.example"),
        ("settled", "frank@north.example", "fiona@north.example"),
    ]


def test_nothing_is_lost_between_spool_and_store(loaded):
    rows = conservation(loaded.settings, loaded.events)

    assert rows
    assert [row for row in rows if not row.balanced] == []


def test_loading_again_does_nothing(loaded):
    before = counts(loaded.books)

    report = load_demo(loaded.settings, loaded.books, loaded.events, FakeClock(NOON + 40 * DAY), silent)

    assert report.state == "present"
    assert (report.link, report.sign_ins, report.order) == (loaded.report.link, loaded.report.sign_ins, loaded.report.order)
    assert counts(loaded.books) == before


def counts(books: Books) -> list[int | None]:
    with books.reading() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) for table in schema.metadata.sorted_tables]


def test_an_installation_with_a_catalogue_of_its_own_is_left_alone(sqlite_books, tmp_path):
    with sqlite_books.writing() as connection:
        put(connection, Tenant("mine", "My shop", "EUR"), "me", 1)
    before = counts(sqlite_books)

    report = load_demo(Settings(data=tmp_path), sqlite_books, Mortal(None, 1), FakeClock(), silent)  # type: ignore[arg-type]

    assert report == DemoReport("not_empty")
    assert counts(sqlite_books) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"books.sqlite", "books.sqlite-wal", "books.sqlite-shm"}
