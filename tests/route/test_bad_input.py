"""Bad input gets a clear error and loses nothing: each case names what is wrong, and the next good request works."""

import pytest

from tests.route.installation import Installation
from tests.route.test_journeys import order

BAD_ORDERS = [
    ("malformed JSON", '{"order_id": "B-1", ', "malformed"),
    ("unknown currency", order("B-2", currency="EUX"), "currency_invalid"),
    ("lines that do not add up", order("B-3") | {"total": "99.99"}, "items_mismatch_total"),
    ("too many decimals", order("B-4", net="10.001"), "too_many_decimals"),
    ("a number instead of a decimal string", order("B-5") | {"total": 100.0}, "malformed"),
    ("an oversized field", order("B" * 200), "too_large"),
    ("an unknown field", order("B-6", colour="red"), "unknown_field"),
    ("no order id", {"currency": "EUR", "lines": []}, "missing_field"),
]


@pytest.mark.parametrize(("what", "body", "code"), BAD_ORDERS, ids=[what for what, _, _ in BAD_ORDERS])
def test_a_bad_order_is_refused_with_its_reason(fairshare: Installation, what: str, body: dict[str, object] | str, code: str) -> None:
    answer = fairshare.post("/v1/orders", body)

    assert answer.status_code in (400, 413), what
    assert answer.json()["error"]["code"] == code, answer.text
    assert len(answer.json()["error"]["message"]) > 15


def test_a_wrong_token_is_refused_and_the_right_one_then_works(fairshare: Installation) -> None:
    body = order("B-10")
    refused = fairshare.http.post(f"{fairshare.ready['tracker']}/v1/orders", json=body, headers={"Authorization": "Bearer wrong"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "bad_token")

    assert fairshare.post("/v1/orders", body).status_code in (200, 202)


def test_an_order_that_names_a_click_nobody_made_is_kept_and_says_so(fairshare: Installation) -> None:
    answer = fairshare.post("/v1/orders", order("B-11", click_id="not-one-of-ours"))
    assert answer.status_code in (200, 202)
    assert answer.json()["warnings"]

    assert fairshare.decided("B-11")["result"] == "unknown_click_id"


def test_the_same_order_with_another_content_is_a_conflict(fairshare: Installation) -> None:
    first = fairshare.post("/v1/orders", order("B-12"))
    again = fairshare.post("/v1/orders", order("B-12"))
    other = fairshare.post("/v1/orders", order("B-12", net="1.00"))

    assert (first.content, other.status_code) == (again.content, 409)


def test_a_body_of_a_megabyte_is_refused(fairshare: Installation) -> None:
    assert fairshare.post("/v1/orders", '{"order_id": "' + "x" * 1_000_000 + '"}').status_code == 413


def test_an_unknown_link_is_answered_kindly_and_kept(fairshare: Installation) -> None:
    answer = fairshare.click("nobody-made-this")

    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "https://north.example@evil.example/", "javascript:alert(1)"]
)
def test_a_deep_link_never_leaves_the_programmes_hosts(fairshare: Installation, target: str) -> None:
    answer = fairshare.http.get(f"{fairshare.ready['tracker']}/c/anna-north", params={"url": target})

    assert answer.status_code == 302
    assert answer.headers["location"].startswith("https://north.example/")
