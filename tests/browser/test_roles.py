"""Each role signs in and does its main job, in a real browser."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE
from tests.route.installation import AGENT, Installation, wait_for

pytestmark = pytest.mark.browser

PAGES = {
    "affiliate": ["", "/links", "/conversions", "/earnings", "/programmes", "/account", "/disputes", "/disputes/new"],
    "merchant": [
        "",
        "/programmes",
        "/stores",
        "/affiliates",
        "/coupons",
        "/orders",
        "/keys",
        "/conservation",
        "/replay",
        "/replays",
        "/disputes",
        "/programmes/main/rates",
    ],
    "finance": ["", "/balances", "/batches", "/batches/new", "/holds", "/adjustments", "/months", "/ledger"],
    "analyst": ["", "/orders", "/models", "/conservation"],
}


def test_an_affiliate_makes_a_link_and_sees_its_first_click(demo: Installation, signed_in: Callable[..., Page]) -> None:
    page = signed_in("affiliate")
    page.goto("/affiliate/links")
    page.get_by_label("Programme").select_option(index=0)
    page.get_by_label("Name").fill("Autumn review")
    page.get_by_role("button", name="Make the link").click()
    address = page.get_by_text(re.compile(rf"^{re.escape(demo.ready['tracker'])}/c/")).first.text_content() or ""
    assert page.locator("svg, img[src*='qr']").count() > 0, "a QR code"

    clicked = wait_for("the new link in the tracker", lambda: _click(address.strip()))
    assert "location" in clicked.headers
    wait_for("the click on the page", lambda: _row(page, "/affiliate/links", "Autumn review").count("1") > 0, 4)


def _click(address: str) -> httpx.Response | None:
    answer = httpx.get(address, headers={"User-Agent": AGENT})
    return answer if answer.status_code == 302 else None


def _row(page: Page, path: str, text: str) -> str:
    page.goto(path)
    row = page.get_by_role("row").filter(has_text=text).first.text_content() or ""
    return row.replace(text, "")


def test_an_affiliate_reads_why_an_order_was_or_was_not_credited(signed_in: Callable[..., Page]) -> None:
    page = signed_in("affiliate")
    page.goto("/affiliate/conversions")
    page.get_by_role("main").get_by_role("link").filter(has_text=re.compile(r"N-\d+")).first.click()

    expect(page.get_by_role("main")).to_contain_text(re.compile("earns|winner|credit", re.I))


def test_an_analyst_compares_models_and_follows_the_paths_by_keyboard(signed_in: Callable[..., Page]) -> None:
    page = signed_in("analyst", viewport=PHONE)
    page.goto("/analyst/models")
    page.get_by_label("Show").select_option("orders")
    page.get_by_role("button", name="Show").click()

    expect(page.get_by_role("table", name="Orders by affiliate")).to_contain_text("Markov")
    picture = page.get_by_role("group", name="The way to an order, by affiliate")
    picture.focus()
    expect(picture).to_be_focused()
    before = picture.evaluate("it => it.scrollLeft")
    page.keyboard.press("ArrowLeft")
    wait_for(
        "the picture to scroll", lambda: picture.evaluate("it => it.scrollWidth <= it.clientWidth || it.scrollLeft < " + str(before)), 4
    )
    page.get_by_text("The numbers as a table").first.press("Enter")
    expect(page.get_by_role("cell", name="Before that").first).to_be_visible()


def test_a_merchant_approves_an_affiliate(signed_in: Callable[..., Page]) -> None:
    page = signed_in("merchant")
    page.goto("/merchant/affiliates")
    page.get_by_role("button", name=re.compile("^Approve")).first.click()
    expect(page.get_by_role("button", name=re.compile("^Approve"))).to_have_count(0)


def test_a_merchant_writes_a_card_with_tiers_an_exclusion_and_a_cap_tries_it_and_puts_it_live(signed_in: Callable[..., Page]) -> None:
    page = signed_in("merchant", scripts=False, viewport=PHONE)
    page.goto("/merchant/programmes/main/rates")
    page.get_by_text("Write a new version").click()
    page.get_by_label("For orders from").fill("")  # from now on; the form proposes the next midnight
    before = page.locator(".rule-part").count()

    for row in range(before - 1):  # the new card begins anew
        page.locator(f"#rule-{row} > summary").click()
        page.locator(f"#rule-{row}").get_by_label("Leave this rule out").check()
    base = page.locator(f"#rule-{before - 1}")
    base.locator("> summary").click()
    base.get_by_label("Name", exact=True).fill("base")
    base.get_by_label("Percent of the net price").fill("8")
    base.get_by_text("Better rates for more").click()
    base.get_by_label("Measured by").select_option("credited revenue")
    base.get_by_label("From", exact=True).first.fill("1000")
    base.get_by_label("Percent", exact=True).first.fill("9.5")

    page.get_by_role("button", name="One more rule").click()
    gifts = page.locator(f"#rule-{before}")
    expect(gifts.get_by_label("Name", exact=True)).to_be_visible()
    gifts.get_by_label("Name", exact=True).fill("gift-cards")
    gifts.get_by_label("Percent of the net price").fill("0")
    gifts.get_by_text("Conditions", exact=False).first.click()
    gifts.get_by_label("What is asked").select_option("the kind of product")
    gifts.get_by_label("Values").fill("gift_card")
    limits = page.locator("[id^=limit-]").count()
    if not page.locator("#limit-0").is_visible():  # it stands open where the card has some
        page.get_by_text("Limits and budgets").click()
    for row in range(limits - 1):
        page.locator(f"#limit-{row}").get_by_label("Leave this limit out").check()
    cap = page.locator(f"#limit-{limits - 1}")
    cap.get_by_label("Name", exact=True).fill("budget")
    cap.get_by_label("At most").fill("5000")
    cap.get_by_label("Paid to").select_option("all affiliates together")

    page.get_by_role("button", name="Try it on past orders").click()
    expect(page.locator("#preview")).to_contain_text("Nothing was written")
    expect(page.locator("#preview")).to_contain_text("What each rule would have paid")
    read_back = page.locator("#read-back")
    expect(read_back).to_contain_text(
        "Everything pays 8 % of the net price; 9.5 % of the net price from 1000.00 EUR of revenue in a month on"
    )
    expect(read_back).to_contain_text("gift-cards: priority 100 as the next has, and more conditions: 1 against 0")
    expect(read_back).to_contain_text("At most 5000.00 EUR in a month is paid to all affiliates together")
    page.get_by_role("button", name="Write this version").click()
    expect(page.get_by_role("status")).to_contain_text("of the rate card was written")
    expect(page.locator(".rules").first).to_contain_text("Everything pays nothing where the kind of product is gift_card")


def test_finance_approves_what_somebody_else_prepared_and_downloads_the_file(signed_in: Callable[..., Page], tmp_path: Path) -> None:
    frank = signed_in("frank@north.example")
    frank.goto("/finance/batches")
    frank.get_by_role("row").filter(has_text=re.compile("prepared", re.I)).get_by_role("link").first.click()
    expect(frank.get_by_text("the preparer may not approve")).to_be_visible()
    expect(frank.get_by_role("button", name=re.compile("^Approve"))).to_have_count(0)

    fiona = signed_in("fiona@north.example")
    fiona.goto(frank.url)
    fiona.get_by_label("Your password").fill("fairshare-demo")
    fiona.get_by_role("button", name=re.compile("^Approve")).click()
    with fiona.expect_download() as download:
        fiona.get_by_role("link", name="Download the payment file").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert rows[-1][0] == "control"
    assert int(rows[-1][2]) == len(rows) - 2


def test_an_analyst_asks_by_channel_and_downloads_the_same_rows(signed_in: Callable[..., Page]) -> None:
    page = signed_in("analyst")
    page.goto("/analyst?by=channel")
    shown = {text.strip() for text in page.locator("tbody tr").all_text_contents()}
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))

    assert len(rows) - 1 >= 5, "channels"
    assert len(shown) >= len(rows) - 1


@pytest.mark.parametrize("role", PAGES)
def test_every_page_fits_a_phone_and_needs_no_script(demo: Installation, signed_in: Callable[..., Page], role: str) -> None:
    page = signed_in(role, scripts=True, viewport=PHONE)
    plain = signed_in(role, scripts=False, viewport=PHONE)
    for path in PAGES[role]:
        page.goto(f"/{role}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"/{role}{path} is {width} px wide"
        plain.goto(f"/{role}{path}")
        expect(plain.get_by_role("heading", level=1)).to_be_visible()


def test_the_keyboard_alone_signs_in(demo: Installation, signed_in: Callable[..., Page]) -> None:
    page = signed_in("merchant")
    page.goto("/merchant")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to the page"
