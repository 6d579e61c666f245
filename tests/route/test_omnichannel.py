"""One person, four channels, one order and one explanation: over real processes and real HTTP."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.catalogue import Affiliate, ApiKey, Clause, Coalition, CoalitionMember, Link, Policy, Rule, Tenant, TouchWindow
from core.clock import DAY, HOUR, format_instant, system_clock
from tests.route.cast import LONG_AGO, catalogue
from tests.route.cast import _member as member
from tests.route.installation import Installation, click_id, wait_for

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1"
DAYS = 24
CLASSES = (
    TouchWindow("coupon", 0),
    TouchWindow("click", 30 * DAYS),
    TouchWindow("app_open", 7 * DAYS, tied=True),
    TouchWindow("scan", 30 * DAYS),
)
MALL_TOKEN = "mall-key-for-tests-0000000000000000"
FAIR = Coalition("fair", "Fair", tuple(CoalitionMember(name, LONG_AGO) for name in ("mall", "north", "south")), marketplace_id="mall")
SEASON = Clause("item", "season", "equals_to", ("SS26",))
ITEMS = (
    Rule("gifts", 1, percent_bps=0, when=Clause("item", "kind", "equals_to", ("gift_card",))),
    Rule("nord", 2, percent_bps=2_000, when=Clause("item", "brand", "equals_to", ("nord",))),
    Rule("sale", 3, percent_bps=300, when=Clause("item", "discount", "greater_than_or_equal", ("40",))),
    Rule("again", 4, percent_bps=700, when=Clause(all=(SEASON, Clause("customer", "orders", "greater_than", ("1",))))),
)
"""What North pays for items that the other journeys do not sell."""
CARLA = Affiliate("carla", "Carla Mails", "carla@mail.example")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """North with a web shop, an app and tills: a journey's first and last touch get two fifths each. Mall sells for it and for South."""
    small = catalogue()
    with_channels = msgspec.structs.replace(
        small,
        tenants=(*small.tenants, Tenant("mall", "Mall", "EUR")),
        api_keys=(*small.api_keys, ApiKey("mall-tests", "mall", "tests", hashlib.sha256(MALL_TOKEN.encode()).hexdigest())),
        coalitions=(FAIR,),
        affiliates=(*small.affiliates, CARLA),
        memberships=(*small.memberships, member("north", "carla")),
        links=(*small.links, Link("carla-mail", "north", "main", "carla", "https://north.example/mail", channel="email")),
        policies=(Policy("north", "main", 1, LONG_AGO, "position", CLASSES), small.policies[1]),
        rate_cards=(msgspec.structs.replace(small.rate_cards[0], rules=ITEMS + small.rate_cards[0].rules), small.rate_cards[1]),
    )
    data: Path = tmp_path_factory.mktemp("chain") / "var"
    installation = Installation(data)
    installation.import_catalogue(with_channels)
    installation.start()
    yield installation
    installation.close()


def accepted(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_blog_click_app_open_mail_click_store_purchase_by_loyalty_id_and_a_partial_return_are_one_order(chain: Installation) -> None:
    # A click on Anna's blog, at a desk; the visitor signs up in the shop.
    blog = chain.click("anna-north")
    desk = blog.headers["set-cookie"].split("fsv=")[1].split(";")[0]
    accepted(chain.post("/v1/leads", {"lead_id": "L-1", "visitor_id": desk, "customer": {"email": "Jo@Example.com", "id": "c-1"}}))

    # The app is opened from Bert's offer, signed in as the same customer, on a device of its own.
    opened = {"touch_id": "open-1", "kind": "app_open", "link": "bert-north", "customer": {"id": "c-1", "device": "D-77"}}
    app = accepted(chain.post("/v1/touches", opened))

    # Carla's mail is read on the phone; the shop's app knows the device there.
    chain.http.cookies.clear()
    mail = chain.click("carla-mail", **{"User-Agent": PHONE})
    on_phone = {"lead_id": "L-2", "click_id": click_id(mail), "customer": {"device": "d-77", "loyalty_id": "7001"}}
    accepted(chain.post("/v1/leads", on_phone))

    # The till knows the loyalty card, and nothing else.
    lines = [{"line_id": "1", "sku": "S-1", "net": "80.00"}, {"line_id": "2", "sku": "H-1", "category": "hats", "net": "20.00"}]
    sale = {"order_id": "T-1", "currency": "EUR", "channel": "pos", "store": "berlin", "customer": {"loyalty_id": "7001"}, "lines": lines}
    accepted(chain.post("/v1/orders", sale))

    def journey() -> dict[str, str] | None:
        explained = chain.attribution("T-1")["attribution"]
        shares = {credit["affiliate_id"]: credit["share"] for credit in explained.get("credits", ())}
        return shares if len(shares) == 3 else None

    assert wait_for("all three touches to be credited", journey, 20) == {"anna": "2/5", "bert": "1/5", "carla": "2/5"}
    explained = chain.run_json("explain", "T-1", "--tenant", "north")
    assert (explained["result"], explained["channel"], explained["store_id"]) == ("split", "pos", "berlin")
    by_touch = {finding["touch_id"]: finding for finding in explained["candidates"]}
    assert {touch_id: (found["touch_class"], found["channel"]) for touch_id, found in by_touch.items()} == {
        click_id(blog): ("click", "web"),
        app["id"]: ("app_open", "app"),
        click_id(mail): ("click", "email"),
    }
    assert {found["matches"][0] for found in by_touch.values()} == {"customer"}

    # 10 % of 80.00 and 5 % of the hats' 20.00 are 9.00: 3.60, 1.80, 3.60. The hats come back, in the store: 8.00 stay.
    accepted(
        chain.post("/v1/refunds", {"order_id": "T-1", "refund_id": "R-1", "currency": "EUR", "lines": [{"line_id": "2", "net": "20.00"}]})
    )
    mia = chain.sign_in("mia@north.example")
    wait_for("the return", lambda: "€0.40" in mia.get("/orders/T-1").text.replace("\N{MINUS SIGN}", "-"), 20)
    assert journey() == {"anna": "2/5", "bert": "1/5", "carla": "2/5"}
    assert mia.get("/merchant/orders").text.count("/orders/T-1") == 1


def test_each_item_earns_by_what_it_is_and_by_which_order_of_the_customer_it_is_in(chain: Installation) -> None:
    chain.http.cookies.clear()
    season = {"attributes": {"season": "ss26"}}
    lines: list[dict[str, Any]] = [
        {"net": "100.00", "brand": "Nord"},
        {"unit_price": "50.00", "kind": "gift_card"},
        {"unit_price": "100.00", "discount": "40.00"},
        {"unit_price": "100.00", "discount": "39.99"},
        {"net": "10.00"} | season,
    ]
    sale = {"currency": "EUR", "customer": {"email": "nora@example.com"}, "click_id": click_id(chain.click("anna-north"))}
    accepted(chain.post("/v1/orders", sale | {"order_id": "N-1", "lines": lines}))
    accepted(chain.post("/v1/orders", sale | {"order_id": "N-2", "lines": [{"net": "10.00"} | season]}))
    mia = chain.sign_in("mia@north.example")

    def earned(order_id: str) -> list[str]:
        table = mia.get(f"/orders/{order_id}").text.partition("What each line earns")[2].partition("</table>")[0]
        return [re.sub(r"<[^>]+>", "", row.rpartition("<td")[2].partition(">")[2]).strip() for row in table.split("</tr>")[1:-1]]

    def numbered(order_id: str) -> int | None:
        return chain.attribution(order_id)["attribution"].get("order_number")

    first = ["€20.00", "€0.00", "€1.80", "€6.00", "€1.00"]  # a first order's new season pays the base rate
    wait_for("each line to earn by its rule", lambda: (earned("N-1"), earned("N-2")) == (first, ["€0.70"]), 20)
    assert (numbered("N-1"), numbered("N-2")) == (1, 2)
    assert "Nord" in mia.get("/orders/N-1").text
    assert "gift card" in mia.get("/orders/N-1").text
    other = sale | {"order_id": "N-2", "lines": [{"net": "10.00", "brand": "Nord"} | season]}
    assert chain.post("/v1/orders", other).status_code == 409

    # An order of last week arrives: the others are her second and third.
    late = {"order_id": "N-0", "occurred_at": format_instant(system_clock() - 7 * DAY), "lines": [{"net": "1.00"}]}
    accepted(chain.post("/v1/orders", {"currency": "EUR", "customer": {"email": "nora@example.com"}} | late))
    wait_for("the later orders to be numbered anew", lambda: [numbered(f"N-{place}") for place in range(3)] == [1, 2, 3], 20)
    wait_for("the first order's new season to pay as a second one", lambda: earned("N-1") == [*first[:4], "€0.70"], 20)


def test_a_poster_a_call_and_a_visit_by_an_advertisement_are_found_by_what_the_order_knows(chain: Installation) -> None:
    chain.http.cookies.clear()
    poster = chain.http.get(f"{chain.ready['tracker']}/q/anna-north", headers={"User-Agent": PHONE})
    at = format_instant(system_clock() - HOUR)
    call = {"touch_id": "1", "kind": "call", "link": "bert-north", "customer": {"phone": "+49 30 55"}, "occurred_at": at}
    accepted(chain.post("/v1/touches", call))
    page = {"tenant": "north", "url": "https://north.example/?gclid=xyz", "ref": ""}
    pixel = chain.http.get(f"{chain.ready['tracker']}/l.gif", params=page, headers={"User-Agent": PHONE})
    assert (poster.status_code, pixel.status_code) == (302, 200)
    visitor = pixel.headers["set-cookie"].split("fsv=")[1].split(";")[0]

    sale = {"order_id": "T-2", "currency": "EUR", "visitor_id": visitor, "customer": {"phone": "493055"}, "lines": [{"net": "10.00"}]}
    accepted(chain.post("/v1/orders", sale | {"click_id": click_id(poster)}))

    assert [credit["affiliate_id"] for credit in chain.decided("T-2")["credits"]] == ["anna"]
    # The policy ranks scans, but neither calls nor paid visits: these are listed, and say why they earn nothing.
    explained = chain.run_json("explain", "T-2", "--tenant", "north")
    assert sorted((step["touch_class"], step["verdict"]) for step in explained["candidates"]) == [
        ("call", "class_excluded"),
        ("paid", "paid_visit"),
        ("scan", "winner"),
    ]


def test_a_marketplaces_basket_is_decided_for_each_merchant_by_its_own_touches(chain: Installation) -> None:
    chain.http.cookies.clear()
    clicked = {tenant: click_id(chain.click(f"anna-{tenant}")) for tenant in ("north", "south")}
    visitor = chain.http.cookies["fsv"]
    lines = [{"line_id": "1", "seller": "north", "net": "30.00"}, {"line_id": "2", "seller": "south", "net": "20.00"}]
    basket = {"order_id": "B-1", "currency": "EUR", "visitor_id": visitor, "lines": lines, "shipping": "5.00"}
    mall = {"Authorization": f"Bearer {MALL_TOKEN}"}
    parts = accepted(chain.http.post(f"{chain.ready['tracker']}/v1/orders", json=basket, headers=mall))["recorded"]["parts"]
    assert [(part["tenant"], part["shipping"], part["total"]) for part in parts] == [("north", "3.00", "33.00"), ("south", "2.00", "22.00")]

    for tenant, other in (("north", "south"), ("south", "north")):
        decided = chain.decided("mall/B-1", tenant, within_s=20)
        assert [credit["touch_id"] for credit in decided["credits"]] == [clicked[tenant]]
        assert clicked[other] not in str(decided)
