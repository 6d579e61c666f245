"""A dispute from both sides, and a policy tried on past orders, in a real browser at both widths, without scripts."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE

pytestmark = pytest.mark.browser


def fits(page: Page, viewport: dict[str, int]) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], page.url


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_affiliate_asks_and_the_merchant_answers(signed_in: Callable[..., Page], viewport: dict[str, int]) -> None:
    affiliate, merchant = (signed_in(role, viewport=viewport) for role in ("affiliate", "merchant"))
    order_id = f"MISSING-{viewport['width']}"
    affiliate.goto("/affiliate/disputes")
    affiliate.get_by_role("link", name="Ask for a review", exact=True).click()
    affiliate.get_by_label("Merchant").select_option(index=1)
    affiliate.get_by_label("Order id").fill(order_id)
    affiliate.get_by_label("What happened").fill("The customer wrote to me that she ordered after reading my post.")
    fits(affiliate, viewport)
    affiliate.get_by_role("button", name="Send to the merchant").click()
    expect(affiliate.get_by_role("heading", level=1)).to_contain_text("Waiting for the merchant")
    fits(affiliate, viewport)

    merchant.goto("/merchant/disputes")
    fits(merchant, viewport)
    merchant.get_by_role("link", name=order_id).click()
    expect(merchant.get_by_text("It cannot be accepted now")).to_be_visible()
    merchant.get_by_label("What you tell").fill("Which order was it? We have none with this id.")
    fits(merchant, viewport)
    merchant.get_by_role("button", name="Ask back").click()

    affiliate.reload()
    expect(affiliate.get_by_text("We have none with this id")).to_be_visible()
    affiliate.get_by_label("Your answer").fill("I was mistaken, sorry.")
    affiliate.get_by_label("Your answer").press("Tab")
    affiliate.keyboard.press("Enter")
    expect(affiliate.get_by_role("heading", level=1)).to_contain_text("Waiting for the merchant")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_merchant_tries_a_policy_and_sees_the_difference_before_it_can_apply_it(
    signed_in: Callable[..., Page], viewport: dict[str, int]
) -> None:
    page = signed_in("merchant", scripts=False, viewport=viewport)
    page.goto("/merchant/programmes/main/policy")
    page.get_by_text("Write a new version").click()
    page.locator("[name=model][value=linear]").check()
    page.get_by_role("button", name="Try it on past orders").click()
    expect(page.get_by_role("heading", name="What is tried")).to_be_visible()
    page.get_by_role("button", name="Try it", exact=True).click()
    expect(page.get_by_text("Apply this difference")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("table", name="The difference for each affiliate")).to_be_visible()
    page.get_by_text("Apply this difference").click()
    expect(page.get_by_role("button", name="Apply and book the difference")).to_be_visible()
