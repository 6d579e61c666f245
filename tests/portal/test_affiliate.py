"""The affiliate's pages: what it sees is its own, exact, and there at once."""

import re
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from core.catalogue import Affiliate, Coupon, Membership, Programme, Tenant
from core.clock import DAY, HOUR
from core.events import Line, Refund, RefundLine
from payouts import batches, holds
from portal import passwords
from portal.affiliate_links import page_of_shop
from store.catalogue import find, find_user, links_of, put
from tests.fakes import NOON
from tests.people import ANNA, BEN, CHARLIE, NORTH, SOUTH
from tests.portal.conftest import CRAWLER, LONG_AGO, click, order, words_of


def change(world, *records) -> None:
    with world.books.writing() as connection:
        for record in records:
            put(connection, record, "tests", world.clock())


def tile(page, name: str) -> str:
    """The first figure under a tile's name."""
    return re.search(rf">{name}(?:</a>)?</dt>\s*<dd class=\"figure\">([^<]*)</dd>", page.text)[1]


# --- overview --------------------------------------------------------------------------------------------------------


def test_a_click_shows_on_the_very_next_page_view(portal, world):
    assert tile(portal.get("/affiliate", as_=ANNA), "Human clicks") == "0"

    world.happens(click("one", "anna"))

    assert tile(portal.get("/affiliate", as_=ANNA), "Human clicks") == "1"


def test_crawlers_are_counted_but_apart(portal, world):
    world.happens(click("one", "anna"), click("two", "anna", user_agent=CRAWLER), click("three", "anna", visitor="v"))
    page = portal.get("/affiliate", as_=ANNA)

    assert (tile(page, "Human clicks"), tile(page, "All clicks")) == ("2", "3")


def test_a_click_stored_twice_counts_once(portal, world):
    world.happens(click("one", "anna"))
    world.clock.advance()
    world.happens(click("one", "anna"))

    assert tile(portal.get("/affiliate", as_=ANNA), "All clicks") == "1"


def test_views_are_no_clicks(portal, world):
    world.happens(click("one", "anna", kind="impression"))

    assert tile(portal.get("/affiliate", as_=ANNA), "All clicks") == "0"


def test_a_sale_of_100_at_10_percent_is_one_conversion_and_10_euros_on_hold(portal, world):
    world.sells(click("one", "anna", visitor="v"), order("O-1", visitor="v"))
    page = portal.get("/affiliate", as_=ANNA)

    assert (tile(page, "Conversions"), tile(page, "Conversion rate"), tile(page, "Pending")) == ("1", "100 %", "€10.00")
    assert "O-1" in page.text


def test_currencies_are_never_added_up(portal, world):
    change(world, Membership(SOUTH, "main", "anna", "approved", LONG_AGO, LONG_AGO))
    world.sells(
        click("n", "anna", visitor="v"),
        order("O-1", visitor="v"),
        click("s", "anna", visitor="w", tenant=SOUTH),
        order("S-1", visitor="w", tenant=SOUTH),
    )
    page = words_of(portal.get("/affiliate", as_=ANNA))

    assert "€10.00 $2.00 until returns are over" in page
    assert "North Shoes 1 1 €10.00" in page
    assert "South Books 1 1 $2.00" in page


def test_what_lies_before_the_period_is_left_out(portal, world):
    world.happens(click("now", "anna"), click("then", "anna", at=NOON - 20 * DAY))

    assert tile(portal.get("/affiliate?days=7", as_=ANNA), "All clicks") == "1"
    assert tile(portal.get("/affiliate?days=30", as_=ANNA), "All clicks") == "2"
    assert tile(portal.get("/affiliate?days=none", as_=ANNA), "All clicks") == "2"


def test_the_chart_names_every_day_also_as_a_table(portal, world):
    world.happens(click("now", "anna"))
    text = portal.get("/affiliate", as_=ANNA).text

    assert text.count("<title>") == 2 * 30 + 1, "one per day and plot, and the page's own"
    assert "<title>21 Nov: 1 click</title>" in text
    assert '<th scope="row">23 Oct</th><td class="number">0 clicks</td>' in text


def test_an_affiliate_without_a_programme_is_told_what_to_do_first(portal, world):
    change(world, Affiliate("dora", "Dora", "dora@x.example"))
    change(world, msgspec.structs.replace(_user(world, CHARLIE), affiliate_id="dora"))

    assert "You have not joined a programme yet" in portal.get("/affiliate", as_=CHARLIE).text
    for page in ("links", "conversions", "earnings"):
        assert portal.get(f"/affiliate/{page}", as_=CHARLIE).status_code == 200


# --- links -----------------------------------------------------------------------------------------------------------


def make(portal, **fields):
    return portal.post("/affiliate/links", {"programme": "north/main", **fields}, as_=ANNA)


def test_a_new_link_gets_a_code_and_leads_where_it_should(portal, world):
    made = make(portal, destination="https://www.north.example/hats?x=1", name="Hat guide")
    code = made.headers["location"].rpartition("/")[2]
    link = _link(world, code)

    assert made.status_code == 303
    assert re.fullmatch(r"[2-9a-hj-km-np-tv-z]{8}", code)
    assert (link.tenant_id, link.programme_id, link.affiliate_id) == (NORTH, "main", "anna")
    assert (link.destination, link.name, link.disabled) == ("https://www.north.example/hats?x=1", "Hat guide", False)
    assert f"http://127.0.0.1:8700/c/{code}" in portal.get(made.headers["location"], as_=ANNA).text


def test_without_a_page_a_link_leads_to_the_programmes_start(portal, world):
    code = make(portal).headers["location"].rpartition("/")[2]

    assert _link(world, code).destination == "https://north.example/"


@pytest.mark.parametrize(
    "destination",
    [
        "https://evil.example/",
        "https://north.example.evil.example/",
        "https://evilnorth.example/",
        "http://north.example/",
        "https://user@north.example/",
        "https://north.example:8443/",
        "https://north.example\\@evil.example/",
        "javascript:alert(1)",
        "//north.example/",
        "north.example",
    ],
)
def test_a_link_off_the_programmes_hosts_is_refused_and_what_was_typed_stays(portal, world, destination):
    refused = make(portal, destination=destination, name="Kept")

    assert refused.status_code == 422
    assert "This is not a page that links of North affiliates may lead to." in refused.text
    assert 'value="Kept"' in refused.text
    assert len(_links(world, "anna")) == 1


def test_a_programme_without_hosts_takes_no_deep_links():
    bare = Programme(NORTH, "main", "North", "https://north.example/")

    assert page_of_shop(Tenant(NORTH, "North", "EUR"), bare, "https://north.example/hats") is None


@pytest.mark.parametrize("programme", ["south/main", "north/unknown", "", "north"])
def test_a_link_is_made_only_for_a_programme_that_approved_me(portal, programme):
    assert make(portal, programme=programme).status_code == 422


def test_a_suspended_member_makes_no_new_links(portal, world):
    change(world, Membership(NORTH, "main", "anna", "suspended", LONG_AGO, LONG_AGO, NOON - DAY))

    assert make(portal).status_code == 422


def test_sub_ids_and_another_page_make_another_address_of_the_same_link(portal):
    query = "url=https%3A%2F%2Fnorth.example%2Fboots%3Fa%3D1&sub1=blog%20%26%20co&sub5=x"
    page = portal.get(f"/affiliate/links/anna-north?{query}", as_=ANNA)
    address = re.search(r"<code data-copy>([^<]+)</code>", page.text)[1].replace("&amp;", "&")

    assert page.status_code == 200
    assert parse_qs(urlsplit(address).query) == {"url": ["https://north.example/boots?a=1"], "sub1": ["blog & co"], "sub5": ["x"]}


def test_a_deep_link_off_the_hosts_is_left_out_and_said(portal):
    page = portal.get("/affiliate/links/anna-north?url=https://evil.example/&sub1=a", as_=ANNA)

    assert page.status_code == 422
    assert re.search(r"<code data-copy>([^<]+)</code>", page.text)[1] == "http://127.0.0.1:8700/c/anna-north?sub1=a"


def test_the_qr_code_is_drawn_in_the_page_and_as_a_file(portal):
    page = portal.get("/affiliate/links/anna-north", as_=ANNA)
    file = portal.get("/affiliate/links/anna-north/qr.svg?sub1=print", as_=ANNA)

    assert '<svg viewBox="0 0 ' in page.text
    assert " style=" not in page.text
    assert file.headers["content-type"] == "image/svg+xml"
    assert file.headers["content-disposition"] == 'attachment; filename="anna-north.svg"'
    assert 'xmlns="http://www.w3.org/2000/svg"' in file.text
    assert file.text != portal.get("/affiliate/links/anna-north/qr.svg", as_=ANNA).text, "the sub id is in the code"


def test_a_link_is_renamed_and_switched_off_and_on(portal, world):
    portal.post("/affiliate/links/anna-north", {"name": "Boots & more"}, as_=ANNA)
    portal.post("/affiliate/links/anna-north", {"turn": "off"}, as_=ANNA)
    off = _link(world, "anna-north")
    portal.post("/affiliate/links/anna-north", {"turn": "on"}, as_=ANNA)

    assert (off.name, off.disabled) == ("Boots & more", True)
    assert _link(world, "anna-north").disabled is False


def test_the_list_counts_each_links_clicks(portal, world):
    world.happens(click("a", "anna"), click("b", "anna"), click("c", "anna", user_agent=CRAWLER), click("d", "ben"))
    page = words_of(portal.get("/affiliate/links", as_=ANNA))

    assert "Shoes anna-north North Shoes north.example/shoes 2 3 21 Nov 2026, 11:00" in page
    assert "ben" not in page


def test_coupon_codes_say_whether_they_are_valid_now(portal, world):
    change(world, Coupon(NORTH, "ANNA20", "main", "anna", valid_to=NOON), Coupon(NORTH, "ANNA25", "main", "anna", valid_from=NOON))
    page = words_of(portal.get("/affiliate/links", as_=ANNA))

    assert "ANNA20 North Shoes North affiliates the beginning 21 Nov 2026, 12:00 Not valid" in page
    assert "ANNA25 North Shoes North affiliates 21 Nov 2026, 12:00 further notice Valid" in page
    assert "BEN10" not in page


# --- conversions -----------------------------------------------------------------------------------------------------


def test_orders_that_went_to_another_are_listed_with_the_reason(portal, world):
    world.sells(
        click("mine", "anna", at=NOON - 3 * HOUR, visitor="v"),
        click("theirs", "ben", at=NOON - HOUR, visitor="v"),
        order("O-1", visitor="v"),
    )
    page = portal.get("/affiliate/conversions", as_=ANNA)

    assert "A later click earns, 2 hours after this one." in page.text
    assert "Ben" not in page.text
    assert "O-1" not in portal.get("/affiliate/conversions?part=credited", as_=ANNA).text
    assert "O-1" in portal.get("/affiliate/conversions?part=missed", as_=ANNA).text
    assert "O-1" in portal.get("/affiliate/conversions?part=credited", as_=BEN).text


def test_orders_that_no_touch_of_mine_came_near_are_not_listed(portal, world):
    world.sells(click("theirs", "ben", visitor="v"), order("O-1", visitor="v"), order("O-2"))

    assert "O-1" not in portal.get("/affiliate/conversions", as_=ANNA).text
    assert "O-2" not in portal.get("/affiliate/conversions", as_=ANNA).text


def test_the_list_goes_on_page_by_page_without_gaps_or_repeats(portal, world):
    world.happens(click("mine", "anna", at=NOON - 2 * DAY, visitor="v"))
    world.sells(*(order(f"O-{i:03}", at=NOON - DAY + (i // 3), visitor="v") for i in range(120)))
    seen, address = [], "/affiliate/conversions"
    while address:
        text = portal.get(address, as_=ANNA).text
        seen += re.findall(r">(O-\d{3})</a>", text)
        older = re.search(r'href="([^"]+)" rel="next"', text)
        address = older[1].replace("&amp;", "&") if older else ""

    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 120


def test_a_decision_that_changed_is_shown_as_it_is_now(portal, world):
    world.sells(click("mine", "anna", at=NOON - 3 * HOUR, visitor="v"), order("O-1", visitor="v"))
    assert "O-1" in portal.get("/affiliate/conversions?part=credited", as_=ANNA).text

    world.clock.advance()
    world.sells(click("late", "ben", at=NOON - HOUR, visitor="v"))

    assert "O-1" not in portal.get("/affiliate/conversions?part=credited", as_=ANNA).text
    assert tile(portal.get("/affiliate", as_=ANNA), "Conversions") == "0"
    assert tile(portal.get("/affiliate", as_=ANNA), "Pending") in ("–", "€0.00")


def test_a_wrong_day_is_said_under_its_field(portal):
    page = portal.get("/affiliate/conversions?from=soon", as_=ANNA)

    assert page.status_code == 422
    assert "Please give a date such as 2026-11-21." in page.text


# --- earnings --------------------------------------------------------------------------------------------------------


def test_what_is_on_hold_says_when_it_is_free(portal, world):
    world.sells(click("one", "anna", visitor="v"), order("O-1", visitor="v"))
    page = words_of(portal.get("/affiliate/earnings", as_=ANNA))

    assert "21 Dec 2026 North Shoes €10.00" in page


def test_a_payout_is_explained_to_the_last_line(portal, world):
    lines = (Line("1", 100_00, category="shoes"), Line("2", 50_00, category="hats"))
    world.sells(click("one", "anna", visitor="v"), order("O-1", visitor="v", lines=lines))
    world.sells(_refund("O-1", "R-1", RefundLine("1", 30_00)))
    batch_id = _paid(world)

    listed = portal.get("/affiliate/earnings", as_=ANNA)
    page = words_of(portal.get(f"/affiliate/payouts/north/{batch_id}", as_=ANNA))
    file = portal.get(f"/affiliate/payouts/north/{batch_id}/statement.csv", as_=ANNA)

    assert tile(listed, "Paid") == "€9.50", "100.00 - 30.00 at 10 %, and 50.00 at 5 %"
    assert "Earned €12.50 Taken back -€3.00 Paid out €9.50" in page
    assert "Hats pay 5 % of the net price" in page
    assert file.headers["content-type"].startswith("text/csv")
    assert file.text.splitlines()[-1].endswith("9.50,EUR,")


def test_others_payouts_of_the_same_batch_are_not_found(portal, world):
    world.sells(click("one", "anna", visitor="v"), order("O-1", visitor="v"))
    batch_id = _paid(world)

    assert portal.get(f"/affiliate/payouts/north/{batch_id}", as_=BEN).status_code == 404
    assert portal.get(f"/affiliate/payouts/north/{batch_id}/statement.csv", as_=BEN).status_code == 404


# --- programmes and account ------------------------------------------------------------------------------------------


def test_programmes_say_what_they_pay_in_words(portal):
    page = words_of(portal.get("/affiliate/programmes", as_=ANNA))

    assert "Hats pay 5 % of the net price" in page
    assert "Everything pays 10 % of the net price" in page
    assert "The last click within 30 days before the order earns the whole credit" in page
    assert "Commissions are held for 30 days after the order." in page


def test_applying_waits_for_the_merchant_and_happens_once(portal, world):
    for _ in range(2):
        assert portal.post("/affiliate/programmes/south/main", as_=ANNA).status_code == 303

    with world.books.reading() as connection:
        assert find(connection, Membership, SOUTH, "main", "anna") == Membership(SOUTH, "main", "anna", "applied", NOON)
    assert "Waiting for approval" in portal.get("/affiliate/programmes", as_=ANNA).text


def test_applying_never_undoes_a_suspension(portal, world):
    suspended = Membership(NORTH, "main", "anna", "suspended", LONG_AGO, LONG_AGO, NOON - DAY)
    change(world, suspended)
    portal.post("/affiliate/programmes/north/main", as_=ANNA)

    with world.books.reading() as connection:
        assert find(connection, Membership, NORTH, "main", "anna") == suspended


def test_a_bank_account_is_checked_and_takes_the_password(portal, world):
    change(world, msgspec.structs.replace(_user(world, BEN), password_hash=passwords.hash_password("correct horse battery")))
    typed = {"account_holder": "Ben Dealer", "iban": "gb82 west 1234 5698 7654 32", "password": "correct horse battery"}

    wrong_digits = portal.post("/affiliate/account", typed | {"iban": "GB82 WEST 1234 5698 7654 33"}, as_=BEN)
    wrong_password = portal.post("/affiliate/account", typed | {"password": "guess"}, as_=BEN)
    assert (wrong_digits.status_code, wrong_password.status_code) == (422, 422)
    assert "its check digits do not fit" in wrong_digits.text
    assert "This is not your password." in wrong_password.text
    assert _affiliate(world, "ben").iban == ""

    assert portal.post("/affiliate/account", typed, as_=BEN).status_code == 303
    assert (_affiliate(world, "ben").iban, _affiliate(world, "ben").account_holder) == ("GB82WEST12345698765432", "Ben Dealer")


def _paid(world) -> str:
    """Everything held becomes payable and is paid in one batch; returns its id."""
    later = world.clock.advance(31 * DAY)
    holds.release_due(world.books, later)
    batch = batches.prepare(world.books, NORTH, "EUR", later, "frank@north.example", later)
    batches.approve(world.books, NORTH, batch.batch_id, "fiona@north.example", batch.content_hash, later)
    batches.settle(world.books, NORTH, batch.batch_id, "frank@north.example", later)
    world.clock.advance(-31 * DAY)
    return batch.batch_id


def _refund(order_id: str, refund_id: str, *lines: RefundLine) -> Refund:
    return Refund(f"refund-{refund_id}", NORTH, order_id, refund_id, "EUR", NOON, NOON, lines)


def _user(world, who):
    with world.books.reading() as connection:
        return find_user(connection, who.user_id)


def _affiliate(world, affiliate_id: str) -> Affiliate:
    with world.books.reading() as connection:
        return find(connection, Affiliate, affiliate_id)


def _links(world, affiliate_id: str):
    with world.books.reading() as connection:
        return links_of(connection, affiliate_id)


def _link(world, code: str):
    return next(link for link in _links(world, "anna") if link.code == code)
