"""The explanation of an order: whole for the merchant's people, masked for an affiliate; and the same as JSON."""

import pytest

from attribution.explain import OLDER_FORM
from core.clock import HOUR, MINUTE, SECOND
from core.events import Line, Refund, RefundLine
from portal.orders import MANY_STOPS, STRIP_MARGIN, STRIP_WIDTH, place
from tests.fakes import NOON
from tests.people import ADA, ANNA, BEN, CHARLIE, FRANK, MARTHA, NORTH, SOUTH, STELLA
from tests.portal.conftest import CRAWLER, click, key_of, order, words_of

SHOE = Line("1", 100_00, "S-1", "Trail shoe", "shoes")
HAT = Line("2", 40_00, category="hats")


@pytest.fixture
def journey(portal, world):
    """Anna's click, Ben's later one, a crawler on Anna's link in between, and the order: Ben wins."""
    world.sells(
        click("first", "anna", at=NOON - 3 * HOUR, visitor="v"),
        click("crawl", "anna", at=NOON - 2 * HOUR, visitor="v", user_agent=CRAWLER),
        click("last", "ben", at=NOON - HOUR, visitor="v"),
        order(
            "O-1", at=NOON - MINUTE, visitor="v", lines=(Line("1", 100_00, "S-1", "Trail shoe", "shoes"), Line("2", 40_00, category="hats"))
        ),
    )
    return portal


@pytest.mark.parametrize("who", [MARTHA, ADA, FRANK])
def test_the_merchants_people_see_every_touch_with_its_verdict(journey, who):
    page = words_of(journey.get("/orders/O-1", as_=who))

    assert "Order O-1 Credited One affiliate earned it." in page
    assert "Click by Anna's Blog Older touch A later click earns, 2 hours after this one." in page
    assert "Click by Ben Deals Winner The last click before the order, 59 minutes earlier: it earns the whole credit." in page
    assert "Does not count" in page
    assert "link ben-north · found by visitor cookie" in page


def test_the_journey_is_told_in_time_and_ends_with_the_order(journey):
    page = words_of(journey.get("/orders/O-1", as_=MARTHA))
    places = [
        page.index(text)
        for text in ("A later click earns", "by Anna's Blog Does not count", "it earns the whole credit", "The order was placed")
    ]

    assert places == sorted(places)
    assert "59 minutes later The order was placed" in page


@pytest.mark.parametrize(("path", "who"), [("/orders/O-1", MARTHA), ("/affiliate/conversions/north/O-1", BEN)])
def test_of_a_long_journey_the_telling_stops_are_shown_and_the_others_folded_away(portal, world, path, who):
    """What won, an affiliate's own, and the latest; the time between stops is that between the ones that are shown."""
    at = NOON - HOUR
    clicks = [click(f"a{second:03}", "anna", at=at + second * SECOND, visitor="v") for second in range(200)]
    views = [click(f"crawl{number}", "ben", at=at - MINUTE - number, visitor="v", user_agent=CRAWLER) for number in range(20)]
    world.sells(click("early", "ben", at=at - HOUR, visitor="v"), *clicks, *views, order("O-1", at=NOON, visitor="v"))
    page = portal.get(path, as_=who)
    shown, _, folded = page.text.partition('<details class="more">')

    assert (shown.count('class="stop"'), folded.count('class="stop"')) == (MANY_STOPS, 222 - MANY_STOPS)
    assert ("Winner" in shown, "The order was placed" in shown, "Winner" in folded) == (True, True, False)
    assert "192 more touches" in words_of(page)
    assert "0 seconds later" not in page.text
    assert "Does not count" in (shown if who is BEN else folded)


@pytest.mark.parametrize(("path", "who"), [("/orders/O-1", MARTHA), ("/affiliate/conversions/north/O-1", BEN)])
def test_an_order_whose_journey_is_not_kept_says_so_and_shows_the_rest(journey, world, path, who):
    world.events.command("INSERT INTO decisions SELECT * REPLACE ('[{}]' AS trace, revision + 1 AS revision) FROM decisions")
    page = words_of(journey.get(path, as_=who))

    assert OLDER_FORM in page
    assert "€10.00" in page, "its money all the same"


def test_the_money_is_explained_line_by_line(journey):
    page = words_of(journey.get("/orders/O-1", as_=MARTHA))

    assert "1 Trail shoe, shoes 1 €100.00 Ben Deals Everything pays 10 % of the net price (rates 1) €10.00" in page
    assert "2 hats 1 €40.00 Ben Deals Hats pay 5 % of the net price (rates 1) €2.00" in page
    assert "Commission €12.00" in page
    assert "North affiliates, policy version 1:" in page


def test_a_refund_shows_what_it_took_back(journey, world):
    world.sells(Refund("r", NORTH, "O-1", "R-1", "EUR", NOON, NOON, (RefundLine("1", 50_00),), reason="too small"))
    page = words_of(journey.get("/orders/O-1", as_=MARTHA))

    assert "R-1 21 Nov 2026, 12:00 too small €50.00" in page
    assert "Commission €7.00" in page
    assert "How it came about: 3 bookings" in page


def test_an_order_that_nobody_earned_says_why(portal, world):
    world.sells(order("O-1"))
    page = words_of(portal.get("/orders/O-1", as_=MARTHA))

    assert "Nothing to join on" in page
    assert "Credited to Nobody" in page
    assert "Nobody earned the order" in page


def test_an_order_is_there_before_it_is_decided(portal, world):
    world.happens(order("O-1"))
    page = words_of(portal.get("/orders/O-1", as_=MARTHA))

    assert "Order O-1 Being decided" in page
    assert "Not booked yet" in page


@pytest.mark.parametrize("order_id", ["2026/11/21-1", "Ä 1", "a?b=c&d", "100%", "<b>", "%2e%2e"])
def test_an_order_is_found_whatever_its_id_is_made_of(portal, world, order_id):
    world.sells(click("one", "anna", visitor="v"), order(order_id, visitor="v"))
    listed = portal.get("/analyst/orders", as_=ADA).text
    address = listed.split('data-label="Order"')[1].split('href="')[1].split('"')[0]

    assert portal.get(address, as_=ADA).status_code == 200
    assert "<b>" not in portal.get(address, as_=ADA).text.replace("<body", "")


def test_the_loser_reads_why_and_finds_nothing_of_the_winner(journey):
    answer = journey.get("/affiliate/conversions/north/O-1", as_=ANNA)
    page = words_of(answer)

    assert "Not credited to you Another affiliate earned this order." in page
    assert "Click yours Older touch A later click earns, 2 hours after this one." in page
    assert "Click by another affiliate Winner" in page
    for secret in ("Ben", "ben-north", "€", "Trail shoe", "S-1", "hats"):
        assert secret not in answer.text, secret


def test_the_winner_sees_the_commission_and_nothing_of_the_losers(journey):
    answer = journey.get("/affiliate/conversions/north/O-1", as_=BEN)
    page = words_of(answer)

    assert "Credited This order is credited to you. You earn €12.00" in page
    assert "Click by another affiliate Older touch" in page
    assert "Anna" not in answer.text
    assert "anna-north" not in answer.text


def test_an_order_without_a_touch_of_mine_does_not_exist_for_me(portal, world):
    world.sells(click("one", "ben", visitor="v"), order("O-1", visitor="v"), order("O-2"))

    for order_id in ("O-1", "O-2", "O-3"):
        assert portal.get(f"/affiliate/conversions/north/{order_id}", as_=ANNA).status_code == 404


def test_who_once_earned_from_an_order_can_still_read_its_bookings(portal, world):
    """A touch that was reclassified or a coupon that changed hands leaves bookings behind, and a statement that names them."""
    world.sells(click("one", "anna", visitor="v"), order("O-1", visitor="v"))
    world.events.command(
        "ALTER TABLE decisions UPDATE trace = '[]', `credits.affiliate_id` = [], `credits.touch_id` = [], `credits.numerator` = [], "
        "`credits.denominator` = [] WHERE 1 SETTINGS mutations_sync = 2"
    )

    page = words_of(portal.get("/affiliate/conversions/north/O-1", as_=ANNA))
    assert "None of your touches is a candidate for this order any more." in page
    assert "€10.00" in page


def test_an_order_of_a_merchant_that_i_never_joined_does_not_exist_for_me(portal, world):
    """A link that was put on a page of mine by mistake makes me a candidate, but not a partner."""
    world.sells(click("one", "anna", visitor="v", tenant=SOUTH), order("S-1", visitor="v", tenant=SOUTH))

    assert portal.get("/affiliate/conversions/south/S-1", as_=ANNA).status_code == 404


def test_charlie_of_south_sees_no_order_of_north(journey):
    assert journey.get("/affiliate/conversions/north/O-1", as_=CHARLIE).status_code == 404
    assert journey.get("/orders/O-1", as_=STELLA).status_code == 404


def test_the_strip_keeps_times_in_proportion():
    assert [place(at, 0, 100) for at in (0, 50, 100)] == [STRIP_MARGIN, STRIP_WIDTH // 2, STRIP_WIDTH - STRIP_MARGIN]
    assert place(7, 7, 7) == STRIP_WIDTH - STRIP_MARGIN


# --- the same for machines -------------------------------------------------------------------------------------------


def ask(portal, order_id: str, tenant: str = NORTH):
    return portal.get(f"/v1/orders/{order_id}/attribution", headers={"Authorization": f"Bearer {key_of(tenant)}"})


def test_a_shop_asks_for_the_result_with_its_key(journey):
    answer = ask(journey, "O-1")
    attribution = answer.json()["attribution"]

    assert answer.json()["order_id"] == "O-1"
    assert (attribution["status"], attribution["result"], attribution["policy_version"]) == ("decided", "credited", 1)
    assert [(credit["affiliate_id"], credit["share"]) for credit in attribution["credits"]] == [("ben", "1")]
    assert attribution["explanation_url"] == "http://127.0.0.1:8701/orders/O-1"


def test_the_key_may_stand_in_the_address(journey):
    assert journey.get(f"/v1/orders/O-1/attribution?token={key_of(NORTH)}").json()["attribution"]["result"] == "credited"


def test_an_order_that_waits_is_pending(portal, world):
    world.happens(order("O/1 ä"))

    attribution = ask(portal, "O%2F1%20%C3%A4").json()["attribution"]
    assert (attribution["status"], attribution["result"], attribution["credits"]) == ("pending", None, [])
    assert attribution["explanation_url"].endswith("/orders/O%2F1%20%C3%A4")


def test_foreign_and_unknown_orders_get_the_same_answer(journey):
    foreign, unknown = ask(journey, "O-1", SOUTH), ask(journey, "O-2", SOUTH)

    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.text.replace("O-1", "O-2") == unknown.text
    assert foreign.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer wrong", "Basic bm9ydGg6eA==", f"Bearer {'x' * 600}", key_of(NORTH)])
def test_without_a_key_on_record_there_is_no_answer(journey, header):
    answer = journey.get("/v1/orders/O-1/attribution", headers={"Authorization": header} if header else {})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == "unauthorized"


def test_a_sign_in_is_no_key(journey):
    assert journey.get("/v1/orders/O-1/attribution", as_=MARTHA).status_code == 401
