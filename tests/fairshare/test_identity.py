"""``fairshare identity`` as an operator types it: who belongs together, what is revoked, what is forgotten."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from click.testing import Result
from typer.testing import CliRunner

from attribution.run import run_once
from core.catalogue import Coalition, CoalitionMember
from core.clock import DAY, HOUR
from core.errors import BadInput, NotFound
from core.identity import KeyKind, coalition_key, customer_key, shared_key, tenant_key
from core.settings import Settings
from fairshare.commands import app
from fairshare.identity import FORMS, key_of
from store.books import Books
from store.catalogue import put
from store.engine_door import open_door
from store.events import EventsStore, Query
from tests.attribution.builders import NOON, click, lead, open_shops, order, store
from tests.fakes import FakeClock

SECRET = "the secret of these tests, which is long enough"
VISITOR_ID = "01JVZOESKITCHENTABLET00001"
ADDRESS = "Zoe@Shop.example"
Run = Callable[..., Result]


def own(kind: KeyKind, value: str) -> str:
    return str(customer_key(kind, value, tenant_key(SECRET.encode(), "north")))


def shared(coalition: str, value: str = ADDRESS) -> str:
    return str(shared_key("email", value, coalition, coalition_key(SECRET.encode(), coalition)))


ZOE, CARD, FAIR = own("email", ADDRESS), own("loyalty_id", "L-7"), shared("fair")


@pytest.fixture(scope="module")
def door(chdb_folder: Path, chdb_store: EventsStore) -> Iterator[str]:
    """The tests' own events store, as a running engine offers it."""
    with closing(open_door(f"chdb://{chdb_folder}")) as opened:
        yield opened.url


@pytest.fixture
def run(door: str, sqlite_url: str, sqlite_books: Books, events: EventsStore, tmp_path: Path) -> Iterator[Run]:
    """North, which was in the coalition ``fair``, and South. Types a command about North; what is asked is answered with ``typed``."""
    open_shops(sqlite_books)
    with sqlite_books.writing() as connection:
        put(connection, Coalition("fair", "Fair", (CoalitionMember("north", 0, NOON), CoalitionMember("south", 0))), "test", NOON)
        put(connection, Coalition("foul", "Foul", (CoalitionMember("south", 0),)), "test", NOON)
    environment = {"FAIRSHARE_BOOKS_URL": sqlite_url, "FAIRSHARE_EVENTS_URL": door, "FAIRSHARE_SECRET": SECRET}

    def type_in(*arguments: str, tenant: str = "north", typed: str = "") -> Result:
        told = ["identity", *arguments, "--tenant", tenant, "--data", str(tmp_path)]
        return CliRunner().invoke(app, told, input=typed, env=environment)

    yield type_in
    structlog.reset_defaults()


def sign_up(events: EventsStore, *keys: str, visitor_id: str = VISITOR_ID) -> None:
    store(events, [lead("L-1", NOON - HOUR, visitor_id=visitor_id, customer_keys=keys)])


def revoked(events: EventsStore) -> list[tuple[str, str]]:
    return events.select(Query("revoked", "SELECT key, other_key FROM identity_revocations ORDER BY key, other_key"))  # type: ignore[return-value]


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_lists_a_persons_keys_and_what_links_them(run: Run, events: EventsStore) -> None:
    sign_up(events, ZOE, CARD)

    lines = run("show", f"email:{ADDRESS}").stdout.splitlines()

    assert lines[:5] == [f"person     {ZOE}", "keys       3", f"  {ZOE}", f"  {CARD}", f"  v:{VISITOR_ID}"]
    assert lines[5] == "links      2"
    assert lines[6].startswith(f"  2026-03-01T11:00:00.000Z  {ZOE} - v:{VISITOR_ID}  by ")
    assert run("show", f"visitor:{VISITOR_ID}").stdout == run("show", ZOE).stdout == run("show", f"email:{ADDRESS}").stdout


def test_show_of_a_hub_ends(run: Run, events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attribution.portraits.MOST_LINKS", 3)
    store(events, [lead(f"L-{number}", NOON + number, visitor_id=f"p{number}", customer_keys=(CARD,)) for number in range(201)])

    lines = run("show", "loyalty_id:L-7").stdout.splitlines()

    assert lines[:4] == [f"person     {CARD}", "keys       1, a hub: it joins nobody", f"  {CARD}", "links      201"]
    assert len(lines) == 8
    assert lines[4].endswith("(does not count)")
    assert lines[7] == "  and 198 more"


def test_show_past_the_limit_says_how_many_keys_there_are(run: Run, events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attribution.portraits.MOST_KEYS", 2)
    chain = [own("email", f"{number}@shop.example") for number in range(502)]
    store(events, [lead(f"L-{number}", NOON, customer_keys=chain[number : number + 2]) for number in range(501)])

    shown = run("show", chain[5]).stdout.splitlines()

    assert shown[1] == "keys       502, past the limit: these are one link away"
    assert f"  {chain[5]}" in shown[2:4]
    assert shown[4] == "  and 500 more"
    assert json.loads(run("show", chain[5], "--json").stdout)["keys_in_all"] == 502


def test_show_says_whose_a_shared_device_was_and_when(run: Run, events: EventsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = own("customer_id", "1"), own("customer_id", "2")
    store(events, [lead(f"L-{day}", NOON + day * DAY, visitor_id="kitchen", customer_keys=(who,)) for day, who in ((0, one), (9, two))])

    lines = run("show", "visitor:kitchen").stdout.splitlines()

    place = lines.index("shared     v:kitchen")
    assert [line.split() for line in lines[place + 1 : place + 4]] == [
        ["…", "to", "2026-02-28T12:00:00.000Z", "nobody"],
        ["2026-02-28T12:00:00.000Z", "to", "2026-03-09T12:00:00.000Z", one],
        ["2026-03-09T12:00:00.000Z", "to", "…", two],
    ]
    monkeypatch.setattr("attribution.portraits.MOST_TURNS", 1)
    assert run("show", "visitor:kitchen").stdout.splitlines()[place + 1 : place + 3] == ["  and 2 more before these", lines[place + 3]]


# --- alarms ----------------------------------------------------------------------------------------------------------


def test_alarms_are_json_though_the_log_speaks_too(run: Run, events: EventsStore) -> None:
    assert run("alarms").stdout == "no person has too many keys\n"
    wide = [lead(f"L-{number}", NOON, visitor_id=f"p{number}", customer_keys=(CARD,)) for number in range(200)]
    store(
        events,
        [*wide, *(lead(f"M-{number}", NOON, visitor_id=f"p{number % 3}", customer_keys=(f"em:{number}a",)) for number in range(300))],
    )

    told = run("alarms", "--json")

    assert [(one["keys"], one["glue"]) for one in json.loads(told.stdout)] == [(501, CARD)]
    assert "a person has too many keys" in told.stderr


# --- revoke ----------------------------------------------------------------------------------------------------------


def test_revoke_asks_then_takes_every_key_of_the_value(run: Run, events: EventsStore) -> None:
    """Its coalition's key would go on to join all that it joined."""
    sign_up(events, ZOE, FAIR)

    asked = run("revoke", f"email:{ADDRESS}", "--reason", "a kiosk's", typed="n\n")
    assert (asked.exit_code, revoked(events)) == (1, [])
    assert "links that would not count any more, now or later: 2" in asked.stderr
    assert run("revoke", f"email:{ADDRESS}", "--reason", "a kiosk's", typed="y\n").exit_code == 0

    assert revoked(events) == [(ZOE, ""), (FAIR, "")]
    again = run("revoke", f"email:{ADDRESS}", "--reason", "a kiosk's", "--yes")
    assert isinstance(again.exception, NotFound)
    assert ADDRESS not in repr(events.select(Query("all", "SELECT * FROM identity_revocations")))


def test_revoke_one_link(run: Run, events: EventsStore) -> None:
    sign_up(events, ZOE, CARD)

    missing = run("revoke", ZOE, CARD, "--reason", "wrong card", "--yes")
    assert isinstance(missing.exception, NotFound), "both hang on the visitor, not on each other"
    assert run("revoke", "loyalty_id:L-7", f"v:{VISITOR_ID}", "--reason", "wrong card", "--yes").exit_code == 0

    assert revoked(events) == [(CARD, f"v:{VISITOR_ID}")]
    assert run("show", ZOE).stdout.splitlines()[1] == "keys       2"


# --- erase -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def decided(events: EventsStore, sqlite_books: Books, run: Run) -> None:
    events.command("TRUNCATE TABLE identity_links")  # an erasure empties it, and it would still know the same block
    store(events, [click("blog", "anna", NOON - DAY, VISITOR_ID), order("O-1", NOON, visitor_id=VISITOR_ID, customer_keys=(ZOE, FAIR))])
    store(events, [order("O-2", NOON, customer_keys=(FAIR,), tenant_id="south")])
    run_once(events, sqlite_books, FakeClock(NOON + DAY))


@pytest.mark.usefixtures("decided")
def test_an_address_is_erased_with_its_coalitions_key_and_nothing_is_before_it_is_said(run: Run, events: EventsStore) -> None:
    planned = json.loads(run("erase", f"email:{ADDRESS}", "--dry-run", "--json").stdout)
    assert planned == {
        "tenant": "north",
        "keys": [ZOE, FAIR],
        "copies": {"identity_links": 4, "orders": 2},
        "frozen_orders": ["O-1"],
        "frozen_elsewhere": 0,
        "is_complete": True,
        "may_be_the_same": [],
    }
    asked = run("erase", f"email:{ADDRESS}", typed="n\n")
    assert (asked.exit_code, "nothing was erased" in asked.stderr) == (1, True)
    assert run("erase", f"email:{ADDRESS}", "--dry-run", "--json").stdout == json.dumps(planned, indent=2) + "\n"

    done = run("erase", f"email:{ADDRESS}", typed="y\n")

    assert done.stdout.endswith(
        f"identifiers: {ZOE}, {FAIR}\n"
        "copies that were taken out: 4 in identity_links, 2 in orders\n"
        "orders that were frozen, with their credits: 1\n"
    )
    assert "--again" in done.stderr
    orders = events.select(Query("orders", "SELECT tenant_id, customer_keys FROM orders ORDER BY tenant_id"))
    assert [(tenant, list(keys)) for tenant, keys in orders] == [("north", []), ("south", [FAIR])]

    assert json.loads(run("erase", "--again", "--json").stdout) == {"erased_again": 0}
    store(events, [lead("L-late", NOON, customer_keys=(FAIR, "loy:1"))], NOON + 2 * DAY)
    assert run("erase", "--again").stdout == "1 identifiers had come back and were erased again\n"


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize(("key", "other"), [(ZOE, FAIR), (FAIR, ZOE)])
def test_of_a_hash_it_is_said_that_others_may_be_the_same(run: Run, key: str, other: str) -> None:
    told = run("erase", key, "--dry-run")

    assert f"identifiers: {key}\n" in told.stdout
    assert "not derived: other keys of the same value" in told.stdout
    assert told.stdout.endswith(f"  shown by the same events: {other}\n")
    plain = json.loads(run("erase", key, "--dry-run", "--json").stdout)
    assert (plain["is_complete"], plain["may_be_the_same"]) == (False, [other])


@pytest.mark.parametrize("key", [f"visitor:{VISITOR_ID}", CARD])
def test_a_visitor_and_a_card_are_no_coalitions(run: Run, key: str) -> None:
    told = run("erase", key, "--dry-run", "--json")

    assert json.loads(told.stdout)["is_complete"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name a key, or --again"),
        ((ZOE, "--again"), "name either a key, or --again"),
        ((ZOE, "--json"), "there is nobody to ask"),
    ],
)
def test_erase_is_told_what_and_by_whom(run: Run, arguments: tuple[str, ...], says: str) -> None:
    told = run("erase", *arguments)

    assert told.exit_code == 2
    assert says in told.stderr


# --- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["mail:jo@example.com", "em:jo@example.com", "jo@example.com", "em:", "v:", "visitor:", "x:em:" + "0" * 32, "em:" + "F" * 32, ""],
)
def test_what_is_no_key_is_told_what_is_one(key: str) -> None:
    with pytest.raises(BadInput, match=re.escape(FORMS)):
        key_of(Settings(secret=SECRET), "north", key)


@pytest.mark.parametrize("key", [ZOE, FAIR, CARD, "v:kitchen", "c:01JVZOESKITCHENTABLET00001"])
def test_a_stored_key_is_taken_as_it_is(key: str) -> None:
    assert key_of(Settings(secret=SECRET), "north", key) == key


@pytest.mark.parametrize("command", [("show",), ("revoke", "--reason", "x", "--yes"), ("erase", "--yes")], ids=lambda command: command[0])
def test_an_address_in_the_place_of_a_hash_is_refused_and_kept_nowhere(run: Run, events: EventsStore, command: tuple[str, ...]) -> None:
    assert isinstance(run(*command, "em:jo@example.com").exception, BadInput)
    assert revoked(events) == []


def test_a_value_that_means_nobody_is_refused(run: Run) -> None:
    assert isinstance(run("show", "email:guest").exception, BadInput)


@pytest.mark.parametrize(
    "command",
    [("show", ZOE), ("alarms",), ("revoke", ZOE, "--reason", "x", "--yes"), ("erase", ZOE, "--yes"), ("erase", "--again")],
    ids=" ".join,
)
def test_an_unknown_merchant_is_not_found(run: Run, command: tuple[str, ...]) -> None:
    told = run(*command, tenant="nowhere")

    assert isinstance(told.exception, NotFound)
    assert "nowhere" in str(told.exception)


def test_a_key_that_nothing_is_known_of_is_not_found(run: Run) -> None:
    assert isinstance(run("show", ZOE).exception, NotFound)
