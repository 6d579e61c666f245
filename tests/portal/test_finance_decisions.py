"""What people of finance decide in the portal: holds, rejections, adjustments by two, and the closing of months."""

import msgspec
import pytest

from core.catalogue import RateCard, Rule, Tenant, User
from core.clock import DAY, HOUR
from core.events import Lead
from core.scope import Scope
from payouts.balances import balances_of_tenant
from payouts.holds import release_due
from payouts.verify import verify
from portal import passwords
from portal.page import TEMPLATES
from portal.sessions import token_hash
from store.adjustments import read_adjustments
from store.catalogue import find, find_user, put
from store.holds import read_steps
from store.sessions import open_session
from tests.fakes import NOON
from tests.people import ADA, ANNA, FIONA, FRANK, MARTHA, NORTH
from tests.portal.conftest import World, click, order, secret_of, words_of

PASSWORD = "five small red boats"
SAM = Scope(user_id="sam@south.example", role="finance", tenant_id="south")
LONG_AGO = NOON - 35 * DAY
ASKED = {"affiliate_id": "anna", "amount": "80.00", "currency": "EUR", "reason": "the campaign in May", "programme_id": "main"}


@pytest.fixture
def earned(world: World) -> World:
    """Anna has 10.00 approved of an old order and 10.00 pending of a new one; North's limit of adjustments is 50.00."""
    world.happens(
        click("a1", "anna", LONG_AGO, "v1"),
        order("old-1", LONG_AGO + HOUR, "v1"),
        click("a2", "anna", visitor="v2"),
        order("new-2", visitor="v2"),
    )
    world.engine_runs()
    release_due(world.books, world.clock())
    hashed = passwords.hash_password(PASSWORD)
    with world.books.writing() as connection:
        north = find(connection, Tenant, NORTH)
        put(connection, msgspec.structs.replace(north, adjustment_limit_minor=50_00), "tests", world.clock())
        put(connection, User(SAM.user_id, "Sam", "finance", hashed, "south"), "tests", world.clock())
        open_session(connection, token_hash(secret_of(SAM)), SAM.user_id, world.clock())
        for who in (FRANK, FIONA):
            put(connection, msgspec.structs.replace(find_user(connection, who.user_id), password_hash=hashed), "tests", world.clock())
    return world


def anna(world):
    with world.books.reading() as connection:
        return next(one for one in balances_of_tenant(connection, NORTH) if one.affiliate_id == "anna")


def say(portal, action, as_=FRANK, **fields):
    return portal.post(
        "/finance/holds", {"action": action, "order_id": "old-1", "affiliate_id": "", "reason": "odd clicks"} | fields, as_=as_
    )


def test_an_order_is_put_on_hold_and_released_with_names_and_reasons(portal, earned):
    assert say(portal, "hold").status_code == 303
    page = words_of(portal.get("/finance/holds", as_=FIONA))
    assert "On hold now What Why Since old-1 odd clicks 21 Nov 2026, 12:00 frank@north.example" in page
    assert (anna(earned).held_minor, anna(earned).approved_minor) == (10_00, 0)
    assert "On hold €10.00" in words_of(portal.get("/finance", as_=FRANK))
    assert "On hold" in words_of(portal.get("/affiliate/earnings", as_=ANNA))

    assert say(portal, "release", as_=FIONA, reason="it was a friend").status_code == 303
    page = words_of(portal.get("/finance/holds", as_=FIONA))
    assert "Nobody has put anything on hold" in page
    assert "Hold ended old-1 it was a friend 21 Nov 2026, 12:00 fiona@north.example" in page
    assert anna(earned).approved_minor == 10_00
    assert verify(earned.books).fault is None


def test_a_lead_is_put_on_hold_and_released_as_people_write_it(portal, world):
    rules = (Rule("sign-up", fixed_minor=5_00, per="lead", subject="lead"),)
    with world.books.writing() as connection:
        put(connection, RateCard(NORTH, "main", 9, LONG_AGO, 14, rules), "tests", world.clock())
    touch = click("a1", "anna", NOON - DAY, "v1")
    world.sells(touch, Lead("01KAKT0001EVENT00000000000", NORTH, "L-1", "sign-up", NOON - HOUR, NOON - HOUR, click_id=touch.event_id))
    assert anna(world).pending_minor == 5_00

    assert say(portal, "hold", order_id="lead:L-1").status_code == 303
    page = portal.get("/finance/holds", as_=FIONA).text
    assert "On hold now What Why Since lead L-1 odd clicks" in words_of(portal.get("/finance/holds", as_=FIONA))
    assert "/orders/" not in page, "a lead has no page of its own"
    assert anna(world).held_minor == 5_00

    assert say(portal, "release", order_id=" lead:L-1").status_code == 303, "as the page's own form sends it"
    assert anna(world).pending_minor == 5_00


@pytest.mark.parametrize(
    ("order_id", "shown"),
    [
        ("A/1", '<a href="/orders/A%2F1">A/1</a>'),
        (" lead:<L>", "lead &lt;L&gt;"),
        (" lead: 0abc", "lead 0abc"),
        (" click:2026-11-20:main:anna", "click:2026-11-20:main:anna"),
    ],
)
def test_only_an_order_has_a_link_to_its_page(order_id, shown):
    row = TEMPLATES.from_string('{% from "_table.html" import order_link %}{{ order_link(order_id, "/orders") }}')

    assert row.render(order_id=order_id).strip() == shown


def test_a_rejection_takes_back_and_says_how_much(portal, earned):
    answer = say(portal, "reject", affiliate_id="anna")

    assert answer.status_code == 303
    assert (anna(earned).approved_minor, anna(earned).pending_minor, anna(earned).reversed_minor) == (0, 10_00, 10_00)
    assert "Taken back €10.00" in words_of(portal.get("/finance", as_=FRANK))
    assert "Rejected by the merchant" in words_of(portal.get("/orders/old-1", as_=FRANK))
    again = say(portal, "hold", affiliate_id="anna")
    assert again.status_code == 409
    assert "was rejected already, and that is for good" in words_of(again)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"order_id": ""}, 422, "Please name an order or an affiliate."),
        ({"reason": " "}, 422, "Please fill this in."),
        ({"action": "forgive"}, 422, "Please choose one of the list."),
        ({"order_id": "never-was"}, 404, "Nothing was booked of order never-was."),
        ({"action": "release"}, 409, "Order old-1 is not on hold."),
    ],
)
def test_what_cannot_be_held_is_told_beside_what_was_typed(portal, earned, fields, status, says):
    page = say(portal, **{"action": "hold"} | fields)

    assert (page.status_code, says in words_of(page)) == (status, True)
    with earned.books.reading() as connection:
        assert read_steps(connection, NORTH) == []


def test_other_roles_and_other_merchants_reach_nothing(portal, earned):
    portal.post("/finance/adjustments", ASKED, as_=FRANK)
    for who in (ANNA, MARTHA, ADA):
        for path in ("/finance/holds", "/finance/adjustments", "/finance/months"):
            assert portal.get(path, as_=who).status_code == 404
        assert say(portal, "hold", as_=who).status_code == 404
        assert portal.post("/finance/adjustments", ASKED, as_=who).status_code == 404
        assert portal.post("/finance/months/2026-10/close", {}, as_=who).status_code == 404
    assert say(portal, "hold", as_=SAM).status_code == 404
    for step in ("approve", "reject"):
        assert portal.post(f"/finance/adjustments/adj_1/{step}", {"password": PASSWORD, "why": "x"}, as_=SAM).status_code == 404
    assert "adj_1" not in portal.get("/finance/adjustments", as_=SAM).text
    assert "old-1" not in portal.get("/finance/holds", as_=SAM).text


def test_an_adjustment_within_the_limit_is_booked_at_once(portal, earned):
    assert portal.post("/finance/adjustments", ASKED | {"amount": "-5.00"}, as_=FRANK).status_code == 303

    assert anna(earned).approved_minor == 5_00
    page = words_of(portal.get("/finance/adjustments", as_=FRANK))
    assert (
        "adj_1 Anna's Blog anna the campaign in May Booked 21 Nov 2026 frank@north.example 21 Nov 2026 frank@north.example -€5.00" in page
    )


def test_above_it_a_second_person_approves_with_the_password(portal, earned):
    portal.post("/finance/adjustments", ASKED, as_=FRANK)
    assert "adj_1 , €80.00 for anna, waits for approval by someone other than frank@north.example." in words_of(
        portal.get("/finance", as_=FIONA)
    )
    mine = portal.get("/finance/adjustments", as_=FRANK)
    assert "You proposed it, and the proposer may not approve it." in words_of(mine)
    assert "/approve" not in mine.text

    address = "/finance/adjustments/adj_1/approve"
    for password, status in (("", 422), ("wrong", 422)):
        assert portal.post(address, {"password": password}, as_=FIONA).status_code == status
    refused = portal.post(address, {"password": PASSWORD}, as_=FRANK)
    assert (refused.status_code, "ask another finance user" in words_of(refused)) == (403, True)
    assert anna(earned).approved_minor == 10_00

    assert portal.post(address, {"password": PASSWORD}, as_=FIONA).status_code == 303
    assert anna(earned).approved_minor == 90_00
    assert portal.post(address, {"password": PASSWORD}, as_=FIONA).status_code == 409
    assert verify(earned.books).fault is None


def test_a_proposal_is_rejected_with_a_reason(portal, earned):
    portal.post("/finance/adjustments", ASKED, as_=FRANK)
    address = "/finance/adjustments/adj_1/reject"
    assert portal.post(address, {"why": ""}, as_=FIONA).status_code == 422
    assert portal.post(address, {"why": "no such campaign"}, as_=FIONA).status_code == 303

    assert "the campaign in May rejected: no such campaign" in words_of(portal.get("/finance/adjustments", as_=FRANK))
    assert anna(earned).approved_minor == 10_00


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": ""}, "amount"),
        ({"amount": "a lot"}, "amount"),
        ({"amount": "0.00"}, "amount"),
        ({"currency": "XXX"}, "currency"),
        ({"reason": ""}, "reason"),
        ({"affiliate_id": "zoe"}, "affiliate_id"),
        ({"programme_id": "other"}, "programme_id"),
    ],
)
def test_a_proposal_that_does_not_do_says_which_field(portal, earned, fields, field):
    page = portal.post("/finance/adjustments", ASKED | fields, as_=FRANK)

    assert page.status_code == 422
    assert f'id="{field}-fault"' in page.text
    with earned.books.reading() as connection:
        assert read_adjustments(connection, NORTH) == []


def test_a_month_is_closed_and_stays_so(portal, earned):
    page = words_of(portal.get("/finance/months", as_=FRANK))
    assert "2026-11 €10.00 €0.00 €0.00 Open" in page
    assert "2026-10 €10.00 €0.00 €0.00 Open Close… With all before it, for good. Close 2026-10" in page

    assert portal.post("/finance/months/2026-11/close", {}, as_=FRANK).status_code == 409
    assert portal.post("/finance/months/soon/close", {}, as_=FRANK).status_code == 404
    assert portal.post("/finance/months/2026-10/close", {}, as_=FRANK).status_code == 303
    page = words_of(portal.get("/finance/months", as_=FRANK))
    assert "2026-10 €10.00 €0.00 €0.00 Closed frank@north.example, 21 Nov 2026 after entry" in page
    again = portal.post("/finance/months/2026-10/close", {}, as_=FIONA)
    assert (again.status_code, "it is closed already" in words_of(again)) == (409, True)
