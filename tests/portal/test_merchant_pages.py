"""Every page of the merchant: with data and without, for the right person only, without scripts, every field named."""

import re

import pytest

from core.catalogue import Affiliate, Membership, Tenant, User
from core.clock import DAY, HOUR
from core.scope import Scope
from portal import finance, merchant
from portal.sessions import token_hash
from store.catalogue import put
from store.sessions import open_session
from tests.fakes import NOON
from tests.people import ADA, ANNA, FRANK, MARTHA, STELLA
from tests.portal.conftest import World, click, order, secret_of, words_of

EMMA = Scope(user_id="emma@east.example", role="merchant", tenant_id="east")
PAGES = [
    "/merchant",
    "/merchant/orders",
    "/merchant/affiliates",
    "/merchant/programmes",
    "/merchant/programmes/main",
    "/merchant/programmes/main/policy",
    "/merchant/programmes/main/rates",
    "/merchant/coupons",
    "/merchant/stores",
    "/merchant/stores/till",
    "/merchant/keys",
    "/merchant/conservation",
]


@pytest.fixture
def sold(world: World) -> World:
    """Anna's click became an order of 100.00, and another order came from nowhere."""
    world.sells(click("c1", "anna", visitor="v1"), order("o-1", visitor="v1"), order("o-2", visitor="v2"))
    return world


@pytest.fixture
def empty_tenant(portal, sqlite_books, clock):
    """East: a merchant that has nothing but a person."""
    with sqlite_books.writing() as connection:
        put(connection, Tenant("east", "East", "JPY"), "tests", clock())
        put(connection, User(EMMA.user_id, "Emma", "merchant", "", "east"), "tests", clock())
        open_session(connection, token_hash(secret_of(EMMA)), EMMA.user_id, clock())
    return EMMA


def unlabelled(html: str) -> list[str]:
    """Visible fields without a label: none may be."""
    fields = re.findall(r"<(?:input|select|textarea)\b[^>]*>", html)
    visible = [field for field in fields if 'type="hidden"' not in field and "checkbox" not in field and "radio" not in field]
    named = set(re.findall(r'<label for="([^"]+)"', html))
    return [field for field in visible if (found := re.search(r'\bid="([^"]+)"', field)) is None or found[1] not in named]


def test_each_page_renders_with_data_without_a_script_and_with_a_label_for_each_field(portal, sold):
    for path in PAGES:
        page = portal.get(path, as_=MARTHA)

        assert page.status_code == 200, path
        assert page.text.count("<h1>") == 1, path
        assert "<script" not in page.text, path
        assert not re.search(r"\son[a-z]+=", page.text), path
        assert unlabelled(page.text) == [], path


def test_each_page_renders_for_a_merchant_that_has_nothing(portal, empty_tenant):
    for path in PAGES:
        if "main" not in path and "till" not in path:
            page = portal.get(path, as_=empty_tenant)
            assert page.status_code == 200, path
            assert "None" not in words_of(page).replace("None ticked", "").replace("credit, by reason None", ""), path


@pytest.mark.parametrize("who", [ANNA, FRANK, ADA], ids=lambda who: who.role)
def test_other_roles_find_no_such_page(portal, who):
    assert [portal.get(path, as_=who).status_code for path in PAGES] == [404] * len(PAGES)


def test_every_form_is_refused_without_the_sessions_token(portal):
    forms = [route for route in merchant.routes + finance.routes if "POST" in route.methods]
    assert len(forms) > 15

    for route in forms:
        who = MARTHA if route.path.startswith("/merchant") else FRANK
        path = re.sub(r"\{\w+\}", "main", route.path)
        assert portal.send("POST", path, who, data={"csrf": "0" * 64, "name": "x"}).status_code == 403, path


def test_no_page_of_north_shows_anything_of_south(portal, world):
    world.sells(click("c9", "charlie", visitor="s1", tenant="south"), order("s-1", visitor="s1", tenant="south"))

    for path in PAGES:
        page = words_of(portal.get(path, as_=MARTHA)).lower()
        assert [word for word in ("south", "charlie", "s-1", "cellar", "collectors") if word in page] == [], path


def test_a_page_of_the_other_merchants_programme_is_not_found(portal):
    for path in ("/merchant/programmes/collectors", "/merchant/programmes/collectors/policy", "/merchant/programmes/collectors/rates"):
        assert portal.get(path, as_=MARTHA).status_code == 404
        assert portal.get(path, as_=STELLA).status_code == 200
        assert portal.post(path, {}, as_=MARTHA).status_code == 404
    assert portal.get("/merchant/stores/cellar", as_=MARTHA).status_code == 404
    assert portal.post("/merchant/stores/cellar", {"name": "Mine"}, as_=MARTHA).status_code == 404


# --- the overview ----------------------------------------------------------------------------------------------------


def test_the_overview_counts_clicks_orders_and_the_credited_share(portal, sold):
    page = words_of(portal.get("/merchant", as_=MARTHA))

    assert "Clicks 1 by people" in page
    assert "Orders 2 test orders left out" in page
    assert "Credited 50 % 1 of 2 orders" in page
    assert "Pending €10.00" in page
    assert "No touch found 1 €100.00" in page


def test_bots_test_orders_and_what_is_older_than_30_days_do_not_count(portal, world):
    old = NOON - 31 * DAY
    world.sells(
        click("c1", "anna", visitor="v1"),
        click("c2", "anna", user_agent="Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        click("c3", "anna", at=old, visitor="v3"),
        order("o-1", visitor="v1"),
        order("o-2", visitor="v1", test=True),
        order("o-3", at=old + HOUR, visitor="v3"),
    )
    page = words_of(portal.get("/merchant", as_=MARTHA))

    assert "Clicks 1 by people" in page
    assert "Orders 1 test orders left out" in page
    assert "Credited 100 % 1 of 1 order" in page


def test_the_overview_says_what_needs_attention(portal, world, sqlite_books, clock):
    assert "Needs your attention" not in words_of(portal.get("/merchant", as_=MARTHA))

    with sqlite_books.writing() as connection:
        put(connection, Affiliate("dora", "Dora", "dora@video.example"), "tests", clock())
        put(connection, Membership("north", "main", "dora", "applied", clock()), "tests", clock())
    world.events.insert_json(
        "bad_rows",
        b'{"tenant_id":"north","spool_id":"s","segment":"1","position":7,"reason":"malformed","received_at":%d.000}' % (NOON // 1000),
        "bad",
    )
    page = words_of(portal.get("/merchant", as_=MARTHA))

    assert "1 affiliate waits for your approval" in page
    assert "1 record that came in could not be used" in page
    assert "Malformed 1 21 Nov 2026, 12:00" in page


def test_a_programme_without_a_rate_card_needs_attention(portal):
    portal.post("/merchant/programmes", {"programme_id": "second", "name": "Second", "landing_url": "https://north.example/2"}, as_=MARTHA)

    assert "Second has no rate card in force" in words_of(portal.get("/merchant", as_=MARTHA))
