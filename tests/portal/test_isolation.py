"""Nobody sees or touches what is another's: every address of the site, with every role, with an id of somebody else.

The cases come from the route table, so that a new page is under test from the day it is written. A new kind of id needs
one line in ``OWN`` and one in ``FOREIGN``.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from starlette.routing import Route

from core.clock import DAY, HOUR
from core.scope import ROLES
from payouts import batches, holds
from payouts.adjustments import Proposal, propose
from portal.app import site_routes
from store.adjustments import read_adjustments
from store.batches import read_batches
from store.catalogue import load_catalogue
from store.disputes import Case, Evidence, open_case
from store.replays import Replay, add_replay
from tests.fakes import NOON
from tests.people import ADA, ANNA, FRANK, MARTHA, NORTH, SOUTH
from tests.portal.conftest import click, key_of, order

PEOPLE = {"affiliate": ANNA, "merchant": MARTHA, "finance": FRANK, "analyst": ADA}
PUBLIC = {"/", "/health", "/sign-in"}
BY_KEY = {"/v1/orders/{order_id:path}/attribution"}
OPEN_TO_ALL = {"/affiliate/programmes/{tenant_id}/{programme_id}"}
"""Any affiliate may apply to any programme; for this address, only what does not exist is not found."""

OWN = {
    "code": "anna-north",
    "tenant_id": NORTH,
    "programme_id": "main",
    "store_id": "till",
    "segment_id": "firms",
    "key_id": "north-tests",
    "batch_id": "pb_1",
    "affiliate_id": "anna",
    "order_id": "O-1",
    "case_id": "case-of-anna",
    "replay_id": "replay-of-north",
    "adjustment_id": "adj_1",
    "month": "2026-10",
}
FOREIGN = {
    "code": "charlie-south",
    "tenant_id": SOUTH,
    "programme_id": "collectors",
    "store_id": "cellar",
    "segment_id": "bookworms",
    "key_id": "south-tests",
    "batch_id": "pb_2",
    "affiliate_id": "charlie",
    "order_id": "S-1",
    "case_id": "case-of-charlie",
    "replay_id": "replay-of-south",
    "adjustment_id": "adj_2",
    "month": "2026-13",  # a month is nobody's; this one is none
}
OF_SOUTH = ("South", "south", "Charlie", "charlie", "CHARLIE5", "collectors", "S-1", "S-2", "$2.00", "stella")
OF_BEN = ("Ben Deals", "ben-north", "BEN10", "B-1", "ben@deals.example")


@pytest.fixture
def both(portal, world):
    """North and South in full swing: orders, commissions, and paid batches; South has one batch more."""
    world.sells(
        click("a", "anna", visitor="v"),
        order("O-1", visitor="v"),
        click("b", "ben", visitor="w"),
        order("B-1", visitor="w"),
        click("c", "charlie", visitor="v", tenant=SOUTH),
        order("S-1", visitor="v", tenant=SOUTH),
    )
    with world.books.writing() as connection:
        for case in (
            Case(NORTH, "case-of-anna", "anna", "O-1", "incorrect", "open", NOON, "anna@blog.example", NOON, 1),
            Case(SOUTH, "case-of-charlie", "charlie", "S-1", "untracked", "open", NOON, "charlie@app.example", NOON, 1),
        ):
            open_case(connection, case, Evidence(None, None), f"a claim of {case.affiliate_id}")
        for tenant_id in (NORTH, SOUTH):
            kept = {"after": "", "total": 0, "tally": {}, "moved_at": NOON, "requested_by": "", "requested_at": NOON}
            asked = {"fingerprint": "f", "from_at": 0, "to_at": NOON, "policies": [], "state": "stopped"}
            add_replay(connection, Replay(tenant_id=tenant_id, replay_id=f"replay-of-{tenant_id}", **asked, **kept))
    for tenant_id, currency, batch_id in ((NORTH, "EUR", "pb_1"), (SOUTH, "USD", "pb_1"), (SOUTH, "USD", "pb_2")):
        if batch_id == "pb_2":
            world.clock.advance(HOUR)
            world.sells(order("S-2", visitor="v", tenant=SOUTH))
        assert _batch(world, tenant_id, currency) == batch_id
    for tenant_id, affiliate_id, adjustment_id in ((NORTH, "anna", "adj_1"), (SOUTH, "charlie", "adj_1"), (SOUTH, "charlie", "adj_2")):
        proposal = Proposal(affiliate_id, 1_00, "EUR", "goodwill", "main")
        assert propose(world.books, tenant_id, proposal, f"f@{tenant_id}.example", NOON).adjustment_id == adjustment_id
    return portal


def parametrised() -> Iterator[tuple[Route, str]]:
    """Every route with an id in its address, once per method."""
    for route in site_routes():
        if isinstance(route, Route) and route.param_convertors:
            yield from ((route, method) for method in sorted(route.methods - {"HEAD"}))


def address(route: Route, **ids: str) -> str:
    def fill(match: re.Match[str]) -> str:
        assert match[1] in OWN, f"{route.path}: say in OWN and FOREIGN what {match[1]} is"
        return quote((OWN | ids)[match[1]], safe="")

    return re.sub(r"{(\w+)(?::\w+)?}", fill, route.path)


def send(portal, method: str, path: str, who):
    return portal.get(path, as_=who) if method == "GET" else portal.post(path, as_=who)


def test_there_are_addresses_to_try():
    assert len(list(parametrised())) >= 20


def test_every_address_asks_who_is_there(portal):
    for route in site_routes():
        if isinstance(route, Route) and route.path not in PUBLIC:
            for method in sorted(route.methods):
                answer = portal.send(method, address(route))
                if route.path in BY_KEY:
                    assert answer.status_code == 401, route.path
                else:
                    assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), f"{method} {route.path}"


def test_every_address_belongs_to_roles(portal):
    for route in site_routes():
        if isinstance(route, Route) and route.path not in PUBLIC | BY_KEY:
            roles = getattr(route.endpoint, "roles", ())
            assert roles, f"{route.path} has no @role"
            for name in set(ROLES) - set(roles):
                for method in sorted(route.methods - {"HEAD"}):
                    assert send(portal, method, address(route), PEOPLE[name]).status_code == 404, f"{name} at {method} {route.path}"


def test_ones_own_ids_are_found(both):
    """Otherwise the 404s of the other tests would prove nothing."""
    for route, method in parametrised():
        if method == "GET" and route.path not in BY_KEY:
            for name in route.endpoint.roles:
                assert both.get(address(route), as_=PEOPLE[name]).status_code == 200, f"{name} at {route.path}"


def test_an_id_of_another_is_not_found_and_nothing_happens_to_it(both, world):
    before = _south(world)
    for route, method in parametrised():
        if route.path in OPEN_TO_ALL | BY_KEY:
            continue
        for parameter in route.param_convertors:
            for name, who in PEOPLE.items():
                path = address(route, **{parameter: FOREIGN[parameter]})
                answer = send(both, method, path, who)
                assert answer.status_code == 404, f"{name} at {method} {path}"
                assert not any(secret in answer.text for secret in ("Charlie", "South")), f"{name} at {method} {path}"
    assert _south(world) == before


def test_a_key_opens_only_its_own_merchants_orders(both):
    for tenant_id, order_id, status in ((NORTH, "O-1", 200), (NORTH, "S-1", 404), (SOUTH, "S-1", 200), (SOUTH, "O-1", 404)):
        headers = {"Authorization": f"Bearer {key_of(tenant_id)}"}
        assert both.get(f"/v1/orders/{order_id}/attribution", headers=headers).status_code == status


def test_what_does_not_exist_cannot_be_applied_to(portal):
    for tenant_id, programme_id in (("nowhere", "main"), (NORTH, "nowhere")):
        assert portal.post(f"/affiliate/programmes/{tenant_id}/{programme_id}", as_=ANNA).status_code == 404


def test_no_page_of_north_shows_anything_of_south(both):
    for path, name in _pages():
        text = both.get(path, as_=PEOPLE[name]).text
        assert not [word for word in OF_SOUTH if word in text], f"{name} at {path}"


def test_no_page_of_anna_shows_anything_of_ben(both):
    for path, name in _pages():
        if name == "affiliate":
            text = both.get(path, as_=ANNA).text
            assert not [word for word in OF_BEN if word in text], path


def _pages() -> Iterator[tuple[str, str]]:
    """Every page without an id in its address, with each role that may see it; and those of one's own with an id."""
    for route in site_routes():
        if isinstance(route, Route) and "GET" in route.methods and route.path not in PUBLIC | BY_KEY | {"/affiliate/programmes"}:
            for name in route.endpoint.roles:
                yield address(route), name


def _batch(world, tenant_id: str, currency: str) -> str:
    """Release, prepare, approve and settle everything of a tenant, a month later; returns the batch's id."""
    later = world.clock() + 31 * DAY
    holds.release_due(world.books, later)
    batch = batches.prepare(world.books, tenant_id, currency, later, "one@x.example", later)
    batches.approve(world.books, tenant_id, batch.batch_id, "two@x.example", batch.content_hash, later)
    batches.settle(world.books, tenant_id, batch.batch_id, "one@x.example", later)
    return batch.batch_id


def _south(world):
    with world.books.reading() as connection:
        return load_catalogue(connection, SOUTH), read_batches(connection, SOUTH), read_adjustments(connection, SOUTH)
