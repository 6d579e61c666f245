"""What orders and leads say of their customer: attributes, devices, cards, consent, and keys that coalitions share."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Coalition, CoalitionMember
from core.clock import DAY, HOUR, MINUTE, format_instant
from core.events import Claim, Lead, Order, encode_event
from core.identity import coalition_key, customer_key, shared_key, tenant_key
from core.ids import event_id
from store.books import open_books
from store.catalogue import put
from tests.fakes import NOON
from tests.tracker.conftest import KEY_SOUTH, SECRET
from tracker.conversion import Arrival, Refused
from tracker.enrich import read_event
from tracker.orders import read_order

Run = Callable[..., Any]
VISITOR = event_id(NOON - HOUR, 8)
SMALL: dict[str, Any] = {"order_id": "o-1", "currency": "EUR", "lines": [{"net": "10.00"}]}
DEVICE, CARD = "38400000-8CF0-11BD-B23E-10B96E40000D", "tok_4Gx"
NORTH = tenant_key(SECRET.encode(), "north")
FAIR = coalition_key(SECRET.encode(), "fair")


def post_once(with_front: Run, path: str, body: Any, **options: Any) -> tuple[int, dict[str, Any], list[Any]]:
    async def scenario(front: Any) -> Any:
        status, content = await front.post(path, body, **options)
        return status, content, front.records()

    return with_front(scenario)


# --- attributes ------------------------------------------------------------------------------------------------------


def test_attributes_come_with_the_customer_or_beside_the_order_and_are_kept_by_name(with_front: Run):
    customer = {"attributes": {"vip": " yes ", "region": "Süd", "empty": ""}, "status": "lapsed"}
    _, answer, (order,) = post_once(with_front, "/v1/orders", SMALL | {"customer": customer, "account_type": "B2B", "region": "Süd"})

    assert order.attributes == (("account_type", "B2B"), ("region", "Süd"), ("vip", "yes"))
    assert (order.customer_status, answer["recorded"]["attributes"]) == ("lapsed", {"account_type": "B2B", "region": "Süd", "vip": "yes"})


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"customer": {"attributes": {"Region": "EU"}}}, "malformed", "customer.attributes.Region"),
        ({"customer": {"attributes": {"a" * 33: "x"}}}, "malformed", "customer.attributes." + "a" * 33),
        ({"customer": {"attributes": {"x\n" * 9_000: "x"}}}, "malformed", "customer.attributes." + "x\n" * 20),
        ({"customer": {"attributes": {"region": "x" * 65}}}, "too_large", "customer.attributes.region"),
        ({"customer": {"attributes": {"region": 7}}}, "malformed", "customer.attributes.region"),
        ({"customer": {"attributes": {"region": {"a": "b"}}}}, "malformed", "customer.attributes.region"),
        ({"customer": {"attributes": [1]}}, "malformed", "customer.attributes"),
        ({"customer": {"attributes": {f"a{n}": "x" for n in range(17)}}}, "too_large", "customer.attributes"),
        ({"customer": {"attributes": {f"a{n}": "x" for n in range(16)}}, "gender": "f"}, "too_large", "customer"),
        ({"customer": {"attributes": {"channel": "web"}}}, "malformed", "customer.attributes.channel"),
        ({"customer": {"attributes": {"region": "EU"}}, "region": "US"}, "malformed", "region"),
        ({"loyalty_tier": "x" * 65}, "too_large", "loyalty_tier"),
        ({"customer": {"card_token": "4111 1111 1111 1111"}}, "malformed", "customer.card_token"),
        ({"customer": {"device": "x" * 256}}, "too_large", "customer.device"),
        ({"consent": "yes"}, "malformed", "consent"),
        ({"affiliate_id": "Anna!"}, "malformed", "affiliate_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_as_it_was_said_is_refused_by_name(with_front: Run, body: dict[str, Any], code: str, field: str):
    status, answer, records = post_once(with_front, "/v1/orders", SMALL | body)

    assert (status, answer["error"]["code"], answer["error"]["field"], records) == (400, code, field, [])
    assert "4111" not in answer["error"]["message"]
    assert len(answer["error"]["message"]) < 300


@pytest.mark.parametrize("body", [{"attributes": {"region": "EU"}}])
def test_a_leads_customer_has_no_attributes_that_anybody_would_keep(with_front: Run, body: dict[str, Any]):
    status, answer, _ = post_once(with_front, "/v1/leads", {"lead_id": "l", "customer": body})
    assert (status, answer["error"]["code"]) == (400, "unknown_field")


def test_a_till_names_the_affiliate_and_postbacks_the_simple_things(with_front: Run):
    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", SMALL | {"channel": "pos", "affiliate_id": "anna"})
        query = "order_id=o-2&amount=1&affiliate_id=anna&region=EU&lead_source=fair&consent=1&device=d-1&customer_status=lapsed"
        await front.ask(f"/sale?token=key-of-north&{query}")
        await front.ask(f"/sale.gif?tenant=north&{query.replace('o-2', 'o-3')}")
        await front.ask("/sale.gif?tenant=north&order_id=o-4&amount=1&cons=CPxx-a-consent-string")
        return front.records()

    till, postback, picture, other = with_front(scenario)
    assert (till.affiliate_id, postback.affiliate_id, picture.affiliate_id) == ("anna", "anna", "")  # anyone can load a pixel
    for order in (postback, picture):
        assert (order.attributes, order.consent) == ((("lead_source", "fair"), ("region", "EU")), "granted")
        assert (order.customer_status, order.customer_keys) == ("lapsed", (customer_key("device", "d-1", NORTH),))
    assert other.consent == "unknown"


# --- consent ---------------------------------------------------------------------------------------------------------


def test_without_consent_an_order_has_no_visitor_and_nothing_that_programs_noted(with_front: Run):
    customer = {"email": "a@b.example", "loyalty_id": "L1", "device": DEVICE, "card_token": CARD}
    body = {"visitor_id": VISITOR, "customer": customer, "consent": "denied"}

    async def scenario(front: Any) -> Any:
        await front.post("/v1/orders", SMALL | body)
        await front.post("/v1/leads", {"lead_id": "l"} | body)
        await front.post("/v1/orders", SMALL | body | {"order_id": "o-2", "consent": "unknown"})
        return front.records()

    denied, lead, unknown = with_front(scenario)
    own = [customer_key(kind, value, NORTH) for kind, value in (("email", "a@b.example"), ("loyalty_id", "L1"))]  # type: ignore[arg-type]
    assert (denied.visitor_id, list(denied.customer_keys), denied.consent) == ("", own, "denied")
    assert isinstance(lead, Lead)
    assert (lead.visitor_id, list(lead.customer_keys)) == ("", own)
    assert (unknown.visitor_id, len(unknown.customer_keys)) == (VISITOR, 4)


def test_what_the_browser_denied_nobody_grants_in_its_name_and_a_server_may_still_repeat_the_sale(with_front: Run):
    async def scenario(front: Any) -> Any:
        sale = "order_id=o-1&amount=10.00&consent=1&email=a@b.example"
        await front.ask(f"/sale.gif?tenant=north&{sale}", cookie=f"fsv={VISITOR}", sec_gpc="1")
        return (await front.ask(f"/sale?token=key-of-north&{sale}")).status, front.records()

    status, (order,) = with_front(scenario)
    assert (status, order.consent, order.visitor_id) == (200, "denied", "")


# --- coalitions ------------------------------------------------------------------------------------------------------


def shared(kind: Any, value: str) -> str:
    return str(shared_key(kind, value, "fair", FAIR))


@pytest.mark.parametrize(("consent", "count"), [("granted", 1), ("unknown", 0), ("denied", 0), (None, 0)])
def test_only_with_consent_is_a_key_made_that_the_coalition_shares(with_front: Run, mall: Coalition, consent: str, count: int):
    body = SMALL | {"customer": {"id": "1001", "loyalty_id": "7", "email": "a@b.example"}, "consent": consent}
    _, _, (order,) = post_once(with_front, "/v1/orders", body)

    assert [key for key in order.customer_keys if key.startswith("x:")] == [shared("email", "a@b.example")] * count
    assert len(order.customer_keys) == 3 + count


def test_two_merchants_of_a_coalition_give_one_person_one_key_beside_their_own(with_front: Run, mall: Coalition):
    lead = {"lead_id": "l", "consent": "granted", "customer": {"email": " A@B.Example", "device": DEVICE, "card_token": CARD}}

    async def scenario(front: Any) -> Any:
        await front.post("/v1/leads", lead)
        await front.post("/v1/leads", lead, authorization=f"Bearer {KEY_SOUTH}")
        return [set(event.customer_keys) for event in front.records()]

    north, south = with_front(scenario)
    assert north & south == {shared("email", "a@b.example"), shared("device", DEVICE), shared("card_token", CARD)}
    assert len(north) == len(south) == 6


@pytest.mark.parametrize(("days_ago", "is_shared"), [(85, True), (80, False), (2, False), (1, True), (90, True), (91, False)])
def test_a_coalition_counts_inside_its_dates_alone_begin_included_and_end_not(
    with_front: Run, mall: Coalition, days_ago: int, is_shared: bool
):
    body = {"currency": "JPY", "lines": [{"net": "1"}], "customer": {"email": "a@b.example"}, "consent": "granted"}
    body |= {"order_id": "o", "occurred_at": format_instant(NOON - days_ago * DAY)}
    _, _, (order,) = post_once(with_front, "/v1/orders", body, authorization=f"Bearer {KEY_SOUTH}")

    assert any(key.startswith("x:fair:em:") for key in order.customer_keys) == is_shared


def test_a_repeat_is_the_same_order_though_a_coalition_was_founded_meanwhile(with_front: Run, catalogue_url: str):
    body = SMALL | {"customer": {"email": "a@b.example"}, "consent": "granted"}

    async def scenario(front: Any) -> Any:
        return await front.post("/v1/orders", body), front.records()

    first, _ = with_front(scenario)
    books = open_books(catalogue_url)
    with books.writing() as connection:
        put(connection, Coalition("new", "New", (CoalitionMember("north", NOON - MINUTE),)), "test", 3)
    books.close()
    again, (order,) = with_front(scenario)

    assert again == first
    assert len(order.customer_keys) == 1
    _, (_, other) = with_front(lambda front: _twice(front, body))
    assert len(other.customer_keys) == 2


async def _twice(front: Any, body: dict[str, Any]) -> Any:
    return await front.post("/v1/orders", body | {"order_id": "o-2"}), front.records()


# --- assistants ------------------------------------------------------------------------------------------------------

CLICK = event_id(NOON - HOUR, 7)
FIRST: dict[str, Any] = {
    "provider": "fairshare.example",
    "token": CLICK,
    "publisher_id": "anna",
    "campaign_id": "cmp_456",
    "creative_id": "cr_789",
    "sub_id": "u1=abc&u2=def",
    "source": {"type": "url", "url": "https://publisher.example/reviews"},
    "issued_at": "2026-11-21T10:30:00Z",
    "expires_at": "2026-11-28T10:30:00+01:00",
    "metadata": {"content_type": "article", "rank": 1},
    "touchpoint": "first",
    "of_a_later_version": [1, 2],
}


def test_an_assistants_claims_are_kept_as_far_as_they_say_whose_the_order_is(with_front: Run):
    _, answer, (order,) = post_once(
        with_front, "/v1/orders", SMALL | {"affiliate_attribution": [FIRST, FIRST, FIRST | {"touchpoint": "last"}]}
    )
    first = Claim(CLICK, "anna", "fairshare.example", "first", NOON - 90 * MINUTE, NOON + 7 * DAY - 150 * MINUTE)

    assert [(claim.touchpoint, claim.token) for claim in order.claims] == [("first", CLICK), ("last", CLICK)]
    assert order.claims[0] == first
    assert answer["recorded"]["claims"] == 2
    assert CLICK not in str(answer)  # write-only, as the protocol has it


def test_one_claim_needs_no_list_and_a_publisher_will_do(with_front: Run):
    _, _, (order,) = post_once(with_front, "/v1/orders", SMALL | {"affiliate_attribution": {"provider": "x", "publisher_id": "pub_1"}})
    assert isinstance(order, Order)
    assert order.claims == (Claim("", "pub_1", "x"),)


@pytest.mark.parametrize(
    ("claim", "code", "field"),
    [
        ({"token": "t"}, "missing_field", "provider"),
        ({"provider": "x"}, "missing_field", "token"),
        ({"provider": "x", "token": 7}, "malformed", "token"),
        ({"provider": "x", "token": "t" * 1025}, "too_large", "token"),
        ({"provider": "x", "token": "ada@shop.example"}, "malformed", "token"),
        ({"provider": "x", "publisher_id": "mail:ada@shop.example"}, "malformed", "publisher_id"),
        ({"provider": "x", "token": "t", "touchpoint": "middle"}, "malformed", "touchpoint"),
        ({"provider": "x", "token": "t", "issued_at": "soon"}, "malformed", "issued_at"),
    ],
)
def test_a_claim_that_cannot_be_one_is_refused_by_name(with_front: Run, claim: dict[str, Any], code: str, field: str):
    status, answer, records = post_once(with_front, "/v1/orders", SMALL | {"affiliate_attribution": claim})

    assert (status, records) == (400, [])
    assert (answer["error"]["code"], answer["error"]["field"]) == (code, f"affiliate_attribution.{field}")
    assert "ada@" not in answer["error"]["message"]


@pytest.mark.parametrize("claims", ["x", 7, [7], [[FIRST]], [{"provider": "x", "token": str(n)} for n in range(11)]])
def test_what_is_no_list_of_claims_is_refused(with_front: Run, claims: Any):
    status, answer, _ = post_once(with_front, "/v1/orders", SMALL | {"affiliate_attribution": claims})
    assert (status, answer["error"]["field"].split("[")[0]) == (400, "affiliate_attribution")


# --- whatever is sent ------------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=70) | st.sampled_from(
    ["granted", "B2B", "anna", "first", "2026-11-21T10:30:00Z", CLICK]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.sampled_from(sorted(FIRST)), inner, max_size=5),
    max_leaves=8,
)
customers = st.dictionaries(st.sampled_from(["id", "device", "card_token", "status", "attributes", "phone"]), anything, max_size=4)
orders = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("consent", "affiliate_id", "affiliate_attribution", "region", "gender", "lead_source"), anything)
    | {"customer": customers | anything},
)


@given(orders)
def test_whatever_is_sent_is_refused_by_name_or_can_be_stored_as_it_is(extra: dict[str, Any]):
    found = _read(SMALL | extra)
    if isinstance(found, Refused):
        assert all(fault.code and len(str(fault)) < 400 for fault in found.faults)
    else:
        assert msgspec.to_builtins(read_event(encode_event(found))) == msgspec.to_builtins(found)


def _read(body: dict[str, Any]) -> Any:
    try:
        return read_order(body, Arrival("north", NORTH, CLICK, NOON, 0)).event
    except Refused as refused:
        return refused
