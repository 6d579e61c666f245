"""Conversions as postbacks and pixels: other systems' names, the same rules, the same ids as the typed JSON."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.events import Lead, Line, Order
from core.ids import event_id
from tests.fakes import NOON, FakeClock
from tracker.answer import PIXEL
from tracker.conversion import Arrival
from tracker.orders import read_order

Run = Callable[..., Any]
CLICK = event_id(NOON - 1000, 7)
VISITOR = event_id(NOON - 1000, 8)
FORM = "application/x-www-form-urlencoded"


def ask_once(with_front: Run, target: str, method: str = "GET", body: bytes = b"", **options: Any) -> tuple[Any, list[Any]]:
    async def scenario(front: Any) -> Any:
        return await front.ask(target, method, body, **options), front.records()

    return with_front(scenario)


def header(answer: Any, name: str) -> str:
    return dict(answer.headers).get(name, "")


# --- postbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        f"token=key-of-north&tenant=north&order_id=o-1&amount=12.50&currency=EUR&click_id={CLICK}&coupon=spring&customer_id=c1",
        f"token=key-of-north&txid=o-1&sale_amount=12.50&cid={CLICK}&voucher=SPRING&user_id=c1&payout=1&et=Purchase&unheard_of=1",
        f"token=key-of-north&transaction_id=o-1&total=12.5&fsclick={CLICK}&coupon_code=Spring&customer_id=c1&status=approved",
        f"TOKEN=x&token=key-of-north&Order_ID=o-1&AMOUNT=12.50&ClickID={CLICK}&promo_code=spring&customer_id=c1",
    ],
)
def test_a_sale_is_read_under_many_names(with_front: Run, query: str):
    answer, (order,) = ask_once(with_front, f"/sale?{query}")

    assert answer.status == 200
    assert (order.tenant_id, order.order_id, order.currency, order.total_minor) == ("north", "o-1", "EUR", 12_50)
    assert (order.lines, order.click_id, order.coupons, order.source) == ((Line("1", 12_50),), CLICK, ("SPRING",), "postback")
    assert len(order.customer_keys) == 1
    assert msgspec.json.decode(answer.body)["recorded"]["total"] == "12.50"


def test_a_sale_may_say_what_its_item_is(with_front: Run):
    item = "item_sku=S1&item_name=Shoe&item_category=shoes&item_brand=Nord&item_kind=gift_card"
    _, (order,) = ask_once(with_front, f"/sale?token=key-of-north&order_id=o&amount=1&kind=sale&brand=x&{item}")

    assert order.lines == (Line("1", 1_00, "S1", "Shoe", "shoes", brand="Nord", kind="gift_card"),)


def test_a_sale_of_an_earlier_version_which_took_no_item_is_still_the_same():
    sale = {"order_id": "o-1", "currency": "EUR", "lines": [{"line_id": "1", "net": "1.00"}]}
    arrival = Arrival("north", b"k" * 32, event_id(NOON, 1), NOON, 0, "postback")
    plain, item = (read_order(sale | {"lines": [sale["lines"][0] | more]}, arrival) for more in ({}, {"sku": "S1", "brand": "Nord"}))

    assert item.says(plain.former_hash)
    assert not item.says(plain.content_hash)


def test_a_sale_may_be_posted_as_a_form_with_the_key_in_a_header(with_front: Run):
    body = b"order_id=o+1&amount=3&test=1&store=till-3&channel=pos&occurred_at=2026-11-21T11%3A00%3A00%2B01%3A00"
    answer, (order,) = ask_once(with_front, "/sale", "POST", body, content_type=FORM, authorization="Bearer key-of-north")

    assert answer.status == 200
    assert isinstance(order, Order)
    assert (order.order_id, order.test, order.store_id, order.channel) == ("o 1", True, "till-3", "pos")
    assert order.occurred_at == NOON - 2 * 3_600_000


def test_a_lead_is_read_under_many_names(with_front: Run):
    answer, (lead,) = ask_once(with_front, f"/lead?token=key-of-north&tid=l-1&event_name=trial&clickid={CLICK}&email=a@b.example")

    assert answer.status == 200
    assert isinstance(lead, Lead)
    assert (lead.lead_id, lead.name, lead.click_id, len(lead.customer_keys)) == ("l-1", "trial", CLICK, 1)
    assert msgspec.json.decode(answer.body)["attribution"] is None


def test_the_senders_address_and_agent_are_not_the_customers(with_front: Run):
    _, (order,) = ask_once(with_front, "/sale?token=key-of-north&order_id=o&amount=1", user_agent="PHP/8")
    assert (order.ip, order.user_agent) == ("", "")


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("order_id=o&amount=1", 401, "bad_token", "token"),
        ("token=wrong&order_id=o&amount=1", 401, "bad_token", "token"),
        ("token=key-of-north&tenant=south&order_id=o&amount=1", 401, "bad_token", "token"),
        ("token=key-of-north&tenant=west&order_id=o&amount=1", 404, "unknown_tenant", "tenant"),
        ("token=key-of-north&amount=1", 400, "missing_field", "order_id"),
        ("token=key-of-north&order_id=o", 400, "missing_field", "amount"),
        ("token=key-of-north&order_id=o&amount=1.234", 400, "too_many_decimals", "amount"),
        ("token=key-of-north&order_id=o&amount=1,50", 400, "malformed", "amount"),
        ("token=key-of-north&order_id=o&amount=1&currency=DOGE", 400, "currency_invalid", "currency"),
        ("token=key-of-north&order_id=o&amount=1&email=nobody", 400, "malformed", "email"),
        ("token=key-of-north&order_id=o&amount=1&customer_id=" + "x" * 256, 400, "too_large", "customer_id"),
        ("token=key-of-north&order_id=o&amount=1&item_kind=sale", 400, "malformed", "item_kind"),
        ("token=key-of-north&order_id=o&amount=1&item_brand=" + "x" * 256, 400, "too_large", "item_brand"),
        ("token=key-of-north&order_id=o&amount=1&occurred_at=2027-01-01T00:00:00Z", 400, "future_event", "occurred_at"),
    ],
)
def test_a_bad_postback_is_refused_under_the_name_it_used(with_front: Run, query: str, status: int, code: str, field: str):
    answer, records = ask_once(with_front, f"/sale?{query}")
    error = msgspec.json.decode(answer.body)["error"]

    assert (answer.status, error["code"], error["field"], records) == (status, code, field, [])
    assert "lines[0]" not in error["message"]


def test_json_sent_to_a_postback_is_shown_the_way(with_front: Run):
    answer, _ = ask_once(with_front, "/sale?token=key-of-north", "POST", b"{}", content_type="application/json")
    assert (answer.status, msgspec.json.decode(answer.body)["error"]["message"]) == (
        400,
        "the body is not a form; JSON goes to /v1/orders or /v1/leads",
    )


def test_a_form_of_unknown_length_is_not_taken_for_a_whole_one(with_front: Run):
    answer, records = ask_once(
        with_front,
        "/sale?token=key-of-north&order_id=o",
        "POST",
        b"amount=12",
        content_type=FORM,
        content_length="",
        transfer_encoding="chunked",
    )
    assert (answer.status, records) == (400, [])
    assert msgspec.json.decode(answer.body)["error"]["message"].startswith("a form needs a Content-Length header")


# --- pixels ----------------------------------------------------------------------------------------------------------


def test_a_pixel_needs_no_key_and_knows_the_visitor_by_the_cookie(with_front: Run):
    answer, (order,) = ask_once(
        with_front, "/sale.gif?tenant=north&order_id=o-1&amount=9.99", cookie=f"fsv={VISITOR}", user_agent="Mozilla/5.0"
    )

    assert (answer.status, answer.body, header(answer, "cache-control")) == (200, PIXEL, "no-store")
    assert (order.source, order.visitor_id, order.ip, order.user_agent) == ("pixel", VISITOR, "203.0.113.9", "Mozilla/5.0")


def test_a_pixel_without_consent_names_nobody(with_front: Run):
    _, (lead,) = ask_once(with_front, "/lead.gif?tenant=north&lead_id=l", cookie=f"fsv={VISITOR}", user_agent="Mozilla/5.0", sec_gpc="1")
    assert (lead.source, lead.visitor_id, lead.ip, lead.user_agent) == ("pixel", "", "", "")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("order_id=o&amount=1", 400, "missing_field"),
        ("tenant=west&order_id=o&amount=1", 404, "unknown_tenant"),
        ("tenant=north&amount=1", 400, "missing_field"),
        ("tenant=north&order_id=o&amount=x", 400, "malformed"),
    ],
)
def test_a_bad_pixel_is_still_a_picture_and_says_why_to_those_who_look(with_front: Run, query: str, status: int, code: str):
    answer, records = ask_once(with_front, f"/sale.gif?{query}")
    assert (answer.status, header(answer, "x-fairshare-error"), answer.body, records) == (status, code, PIXEL, [])


def test_a_pixel_is_never_confirmed_unrecorded(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.full = True
        refused = await front.ask("/sale.gif?tenant=north&order_id=o&amount=1")
        files.full = False
        return refused, await front.ask("/sale.gif?tenant=north&order_id=o&amount=1"), front.records()

    refused, accepted, records = with_front(scenario)
    assert (refused.status, header(refused, "retry-after"), refused.body) == (503, "5", PIXEL)
    assert (accepted.status, len(records)) == (200, 1)


# --- one sale, whichever way it came ---------------------------------------------------------------------------------

SALE = "order_id=o-1&amount=10.00"


def test_postback_pixel_and_json_of_one_sale_are_one_event(with_front: Run, clock: FakeClock):
    async def scenario(front: Any) -> Any:
        first = await front.ask(f"/sale?token=key-of-north&{SALE}")
        clock.advance()
        body = {"order_id": "o-1", "currency": "EUR", "lines": [{"net": "10.00"}]}
        typed = await front.ask("/v1/orders", "POST", body, authorization="Bearer key-of-north")
        picture = await front.ask(f"/sale.gif?tenant=north&{SALE}")
        counters = msgspec.json.decode((await front.ask("/health")).body)["counters"]
        return first, typed, picture, counters, front.records()

    first, typed, picture, counters, records = with_front(scenario)
    assert typed == first
    assert (picture.status, picture.body) == (200, PIXEL)
    assert (len(records), records[0].source, counters["duplicates"]) == (1, "postback", 2)


def test_a_pixel_that_says_something_else_is_a_duplicate_and_changes_nothing(with_front: Run):
    async def scenario(front: Any) -> Any:
        await front.ask(f"/sale?token=key-of-north&{SALE}")
        picture = await front.ask("/sale.gif?tenant=north&order_id=o-1&amount=99.00", cookie=f"fsv={VISITOR}")
        counters = msgspec.json.decode((await front.ask("/health")).body)["counters"]
        return picture, counters, front.records()

    picture, counters, (order,) = with_front(scenario)
    assert (picture.status, picture.body, order.total_minor) == (200, PIXEL, 10_00)
    assert (counters["duplicates"], counters["bad_requests"]) == (1, {})


def test_a_server_call_that_contradicts_an_earlier_pixel_is_told_so(with_front: Run):
    async def scenario(front: Any) -> Any:
        await front.ask("/sale.gif?tenant=north&order_id=o-1&amount=99.00")
        return await front.ask(f"/sale?token=key-of-north&{SALE}")

    answer = with_front(scenario)
    assert (answer.status, msgspec.json.decode(answer.body)["error"]["code"]) == (409, "conflict")
