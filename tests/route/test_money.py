"""From the commission to the payment file and back through refunds, with the two people it takes."""

import csv
import io
import re

from tests.route.cast import PASSWORD
from tests.route.installation import Installation, Visitor, click_id, wait_for
from tests.route.test_journeys import order


def sell(fairshare: Installation, order_id: str, net: str, link: str = "anna-north") -> None:
    answer = fairshare.post("/v1/orders", order(order_id, net=net, click_id=click_id(fairshare.click(link))))
    assert answer.status_code in (200, 202), answer.text
    assert fairshare.decided(order_id)["result"] == "credited"


def prepare(finance: Visitor, payable: str) -> str:
    """Prepare a batch in EUR once ``payable`` is shown as its control sum; returns its address."""
    look = "/finance/batches/new?currency=EUR"
    wait_for(f"{payable} to be payable", lambda: payable in finance.get(look).text)
    done = finance.submit(look, {}, action="/finance/batches/new")
    assert done.status_code == 200, done.text
    return str(done.url.path)


def approve(finance: Visitor, batch: str) -> int:
    page = finance.get(batch).text
    content_hash = re.search(r'name="content_hash" value="([0-9a-f]{64})"', page)
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert csrf
    shown = content_hash or re.search(r"<code>([0-9a-f]{64})</code>", page)
    assert shown
    fields = {"csrf": csrf[1], "content_hash": shown[1], "password": PASSWORD}
    return finance.http.post(f"{batch}/approve", data=fields).status_code


def test_from_commission_to_payment_file_with_four_eyes_and_refunds_on_both_sides_of_the_payout(fairshare: Installation) -> None:
    # 10 % of 100.00 is 10.00; 40.00 of it come back before the payout: 6.00 stay.
    sell(fairshare, "M-1", "100.00")
    refund = {"order_id": "M-1", "refund_id": "R-1", "currency": "EUR", "net": "40.00"}
    assert fairshare.post("/v1/refunds", refund).status_code in (200, 202)

    frank, fiona = fairshare.sign_in("frank@north.example"), fairshare.sign_in("fiona@north.example")
    batch = prepare(frank, "€6.00")
    assert frank.get(f"{batch}/file").status_code in (403, 409), "a file before the approval"
    assert approve(frank, batch) in (403, 409), "the preparer approved"
    assert approve(fiona, batch) == 200

    rows = list(csv.reader(io.StringIO(fiona.get(f"{batch}/file").text)))
    payout = next(row for row in rows if row[0] == "payout")
    assert payout[2:7] == ["anna", "Anna Blogger", "DE89370400440532013000", "6.00", "EUR"]
    control = next(row for row in rows if row[0] == "control")
    assert (control[2], control[5]) == ("1", "6.00")
    assert fiona.submit(batch, {}, action=f"{batch}/settle").status_code == 200
    assert "settled" in fiona.get(batch).text.lower()

    # After the payout 30.00 more come back: 3.00 are carried forward and reduce the next payout of 10 % of 80.00.
    assert fairshare.post("/v1/refunds", refund | {"refund_id": "R-2", "net": "30.00"}).status_code in (200, 202)
    sell(fairshare, "M-2", "80.00")
    second = prepare(frank, "€5.00")
    assert approve(fiona, second) == 200

    verified = fairshare.run_json("verify")
    assert (verified["ok"], verified["batches"]) == (True, 2)
    anna = fairshare.sign_in("anna@blog.example")
    earnings = anna.get("/affiliate/earnings").text
    assert "6.00" in earnings
    assert "5.00" in earnings


def test_a_refund_before_its_order_waits_and_ends_in_the_same_state(fairshare: Installation) -> None:
    early = {"order_id": "M-3", "refund_id": "R-3", "currency": "EUR"}
    assert fairshare.post("/v1/refunds", early).status_code in (200, 202)
    sell(fairshare, "M-3", "50.00", "bert-north")

    mia = fairshare.sign_in("mia@north.example")
    wait_for("the order to earn nothing", lambda: "refunded" in mia.get("/orders/M-3").text.lower())
    page = mia.get("/orders/M-3").text
    assert page.count("€5.00") == 2, "the sale, and the refund that takes all of it back"
    assert "-€5.00" in page.replace("\N{MINUS SIGN}", "-")
    assert fairshare.run_json("verify")["ok"] is True
