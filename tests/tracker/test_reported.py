"""Touches that a merchant reports: calls, scans, app opens, visits of other channels; each once, under the sender's id."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.catalogue import Coalition
from core.clock import HOUR, MINUTE, format_instant
from core.events import Touch
from core.identity import customer_key, tenant_key
from core.ids import event_id, is_event_id
from tests.fakes import NOON, FakeClock
from tests.tracker.conftest import KEY_SOUTH, SECRET

Run = Callable[..., Any]
VISITOR = event_id(NOON - HOUR, 8)
NORTH = tenant_key(SECRET.encode(), "north")
CALL: dict[str, Any] = {
    "touch_id": "call-1",
    "kind": "call",
    "link": "spring",
    "occurred_at": "2026-11-21T11:30:00Z",
    "customer": {"phone": "+49 30 123456"},
    "sub1": "x",
    "consent": "granted",
}
OPEN: dict[str, Any] = {"touch_id": "open-1", "kind": "app_open", "programme_id": "main", "affiliate_id": "anna", "visitor_id": VISITOR}
PAID: dict[str, Any] = {"touch_id": "mail-1", "kind": "paid", "origin": "Newsletter", "medium": "E-Mail", "customer": {"id": "c-1"}}


def post_once(with_front: Run, body: Any, **options: Any) -> tuple[int, dict[str, Any], list[Any]]:
    async def scenario(front: Any) -> Any:
        status, content = await front.post("/v1/touches", msgspec.json.encode(body), **options)
        return status, content, front.records()

    return with_front(scenario)


def test_a_call_is_recorded_with_its_affiliate_and_its_caller(with_front: Run):
    status, answer, (touch,) = post_once(with_front, CALL)

    assert status == 200
    assert touch == Touch(
        event_id=answer["id"],
        kind="call",
        tenant_id="north",
        programme_id="main",
        affiliate_id="anna",
        link_code="spring",
        occurred_at=NOON - 30 * MINUTE,
        received_at=NOON,
        subs=("x", "", "", "", ""),
        consent="granted",
        channel="call",
        customer_keys=(str(customer_key("phone", "4930123456", NORTH)),),
        source="api",
    )
    assert answer == {
        "id": touch.event_id,
        "recorded": {
            "kind": "call",
            "occurred_at": "2026-11-21T11:30:00.000Z",
            "received_at": "2026-11-21T12:00:00.000Z",
            "link": "spring",
            "programme_id": "main",
            "affiliate_id": "anna",
            "channel": "call",
            "origin": "",
            "medium": "",
            "visitor_id": "",
            "customer_keys": 1,
            "consent": "granted",
        },
        "warnings": [],
        "attribution": None,
    }


def test_a_list_has_a_result_for_each_and_ids_that_orders_may_name(with_front: Run):
    status, answer, records = post_once(with_front, [CALL, OPEN, PAID, {"touch_id": "d", "kind": "direct", "visitor_id": VISITOR}])

    assert status == 200
    assert [result["id"] for result in answer["results"]] == [touch.event_id for touch in records]
    assert all(is_event_id(touch.event_id) for touch in records)
    assert [(touch.kind, touch.affiliate_id, touch.channel) for touch in records] == [
        ("call", "anna", "call"),
        ("app_open", "anna", "app"),
        ("paid", "", "web"),
        ("direct", "", "web"),
    ]
    assert (records[2].origin, records[2].medium) == ("newsletter", "e-mail")


def test_a_disabled_link_is_flagged_and_a_links_channel_is_the_touchs(with_front: Run):
    _, _, (closed, mail) = post_once(
        with_front, [CALL | {"link": "closed", "kind": "click"}, CALL | {"touch_id": "2", "kind": "click", "channel": "email"}]
    )
    assert (closed.flags, closed.channel, mail.flags, mail.channel) == (("link_disabled",), "web", (), "email")


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"touch_id": ""}, 400, "missing_field", "touch_id"),
        ({"touch_id": "x" * 129}, 400, "too_large", "touch_id"),
        ({"kind": None}, 400, "missing_field", "kind"),
        ({"kind": "visit"}, 400, "malformed", "kind"),
        ({"link": "novel"}, 422, "unknown_link", "link"),  # South's
        ({"link": "nowhere"}, 422, "unknown_link", "link"),
        ({"link": "x" * 65}, 400, "too_large", "link"),
        ({"affiliate_id": "ben"}, 400, "malformed", "affiliate_id"),
        ({"programme_id": "other"}, 400, "malformed", "programme_id"),
        ({"link": None}, 400, "missing_field", "programme_id"),
        ({"link": None, "programme_id": "main"}, 400, "missing_field", "affiliate_id"),
        ({"link": None, "programme_id": "books", "affiliate_id": "charlie"}, 422, "unknown_programme", "programme_id"),  # South's
        ({"origin": "google"}, 400, "unknown_field", "origin"),
        ({"kind": "paid"}, 400, "missing_field", "origin"),
        ({"kind": "direct"}, 400, "unknown_field", "link"),
        ({"visitor_id": "me"}, 400, "malformed", "visitor_id"),
        ({"customer": {"phone": "x"}}, 400, "malformed", "customer.phone"),
        ({"customer": {"attributes": {}}}, 400, "unknown_field", "customer.attributes"),
        ({"occurred_at": "2026-11-21T13:00:00Z"}, 400, "future_event", "occurred_at"),
        ({"consent": "maybe"}, 400, "malformed", "consent"),
        ({"sub1": "x" * 256}, 400, "too_large", "sub1"),
        ({"channel": "fax"}, 400, "malformed", "channel"),
        ({"mood": "good"}, 400, "unknown_field", "mood"),
    ],
)  # fmt: skip
def test_a_bad_touch_is_refused_by_name_and_so_is_its_list(with_front: Run, change: dict[str, Any], status: int, code: str, field: str):
    async def scenario(front: Any) -> Any:
        alone = await front.post("/v1/touches", CALL | change)
        listed = await front.post("/v1/touches", msgspec.json.encode([OPEN, CALL | change]))
        return alone, listed, front.records()

    alone, listed, records = with_front(scenario)
    assert (alone[0], alone[1]["error"]["code"], alone[1]["error"]["field"]) == (status, code, field)
    assert (listed[0], listed[1]["error"]["field"], records) == (status, f"[1].{field}", [])


@pytest.mark.parametrize("body", [[], [7], 7, "x", [[CALL]], [CALL, CALL]])
def test_what_is_no_list_of_touches_is_refused_whole(with_front: Run, body: Any):
    status, _, records = post_once(with_front, body)
    assert (status, records) == (400, [])


def test_a_list_has_500_touches_at_most(with_front: Run):
    status, answer, records = post_once(with_front, [CALL | {"touch_id": str(n)} for n in range(501)])
    assert (status, answer["error"]["code"], records) == (413, "too_large", [])
    assert post_once(with_front, [CALL | {"touch_id": str(n)} for n in range(500)])[0] == 200


@pytest.mark.parametrize("authorization", ["", "Bearer wrong"])
def test_without_a_key_nobody_reports_touches(with_front: Run, authorization: str):
    status, answer, _ = post_once(with_front, CALL, authorization=authorization)
    assert (status, answer["error"]["code"]) == (401, "bad_token")


def test_without_consent_a_touch_names_nobody(with_front: Run):
    _, _, (touch,) = post_once(with_front, CALL | {"consent": "denied", "visitor_id": VISITOR})
    assert (touch.visitor_id, touch.customer_keys, touch.consent) == ("", (), "denied")


def test_a_coalitions_key_is_made_of_a_call_too(with_front: Run, mall: Coalition):
    async def scenario(front: Any) -> Any:
        await front.post("/v1/touches", CALL)
        await front.post("/v1/touches", CALL | {"link": "novel"}, authorization=f"Bearer {KEY_SOUTH}")
        return [set(touch.customer_keys) for touch in front.records()]

    north, south = with_front(scenario)
    (common,) = north & south
    assert common.startswith("x:fair:ph:")


# --- once ------------------------------------------------------------------------------------------------------------


def test_a_repeat_is_answered_alike_and_another_content_is_a_conflict_of_its_own(with_front: Run, clock: FakeClock):
    async def scenario(front: Any) -> Any:
        first = await front.post("/v1/touches", msgspec.json.encode([CALL, OPEN]))
        clock.advance(HOUR)
        again = await front.post("/v1/touches", msgspec.json.encode([CALL, OPEN]))
        mixed = await front.post("/v1/touches", msgspec.json.encode([OPEN, CALL | {"sub1": "y"}, PAID]))
        alone = await front.post("/v1/touches", CALL | {"sub1": "y"})
        other = await front.post("/v1/touches", CALL | {"link": "novel"}, authorization=f"Bearer {KEY_SOUTH}")
        return first, again, mixed, alone, other, front.records()

    first, again, (status, mixed), alone, other, records = with_front(scenario)
    assert again == first
    assert (status, mixed["results"][0], mixed["results"][2]["recorded"]["kind"]) == (200, first[1]["results"][1], "paid")
    assert mixed["results"][1]["error"]["code"] == "conflict"
    assert (alone[0], alone[1]["error"]["code"], other[0]) == (409, "conflict", 200)
    assert len(records) == 4


def test_a_touch_that_cannot_be_recorded_is_not_confirmed_and_its_repeat_is_the_same_touch(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.sync_fails = True
        refused = await front.post("/v1/touches", msgspec.json.encode([CALL, OPEN]))
        files.sync_fails = False
        first = await front.post("/v1/touches", msgspec.json.encode([CALL, OPEN]))
        return refused, first, front.records()

    refused, first, records = with_front(scenario)
    assert (refused[0], first[0]) == (503, 200)
    assert {record.event_id for record in records} == {result["id"] for result in first[1]["results"]}


def test_a_list_counts_once_against_the_rate_and_not_against_the_orders(with_front: Run):
    async def scenario(front: Any) -> Any:
        statuses = [(await front.post("/v1/touches", msgspec.json.encode([CALL, OPEN])))[0] for _ in range(2)]
        order = await front.post("/v1/orders", {"order_id": "o", "currency": "EUR", "lines": [{"net": "1.00"}]})
        return statuses, order[0]

    assert with_front(scenario, conversions_a_minute=1) == ([200, 429], 200)


def test_an_old_time_is_taken_and_one_before_2000_is_not(with_front: Run):
    _, _, (touch,) = post_once(with_front, CALL | {"occurred_at": format_instant(NOON - 900 * 24 * HOUR)})
    assert touch.occurred_at == NOON - 900 * 24 * HOUR
    assert post_once(with_front, CALL | {"touch_id": "2", "occurred_at": "1999-01-01T00:00:00Z"})[0] == 400
