"""Visits that no affiliate brought: what a landing page's address says, and what becomes of it."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import encode_event
from core.ids import event_id
from tests.fakes import NOON
from tracker.answer import PIXEL
from tracker.enrich import Unusable, read_event
from tracker.hit import Hit
from tracker.landing import Landing, answer_landing, read_landing
from tracker.links import LinkTable

Run = Callable[..., Any]
VISITOR = event_id(NOON, 8)
SHOP = "https://shop.north.example/shoes"


def landing(url: str, ref: str | None = "", more: str = "") -> Landing | None:
    query = f"url={quote(url, safe='')}" + ("" if ref is None else f"&ref={quote(ref, safe='')}") + more
    return read_landing(Hit("GET", "/l.gif", query, "", "https").pairs, "fsclick")


@pytest.mark.parametrize(
    ("query", "ref", "found"),
    [
        ("", "", Landing("direct")),
        ("?size=42", "", Landing("direct")),
        ("?utm_source=Newsletter&utm_medium=E-Mail", "", Landing("paid", "newsletter", "e-mail")),
        ("?gclid=abc", "https://www.google.com/", Landing("paid", "google", "cpc")),
        ("?gclid=abc&utm_source=brand&utm_medium=ppc#top", "", Landing("paid", "brand", "ppc")),
        ("?utm_source=brand&gclid=abc", "", Landing("paid", "brand", "cpc")),
        ("?FBCLID=abc", "", Landing("paid", "facebook", "paid_social")),
        ("?msclkid=1", "", Landing("paid", "bing", "cpc")),
        ("?ttclid=1", "", Landing("paid", "tiktok", "paid_social")),
        ("?utm_medium=banner", "", Landing("paid", "unknown", "banner")),
        ("?gclid=&utm_source=", "", Landing("direct")),
        ("#?gclid=abc", "", Landing("direct")),
        # an affiliate brought it, whatever else the address says
        ("?fsclick=01&gclid=abc", "", None),
        ("?FsClick=01", "", None),
        # opened from the shop itself
        ("?gclid=abc", "https://www.shop.north.example/", None),
        ("", "https://shop.north.example/cart", None),
        # from elsewhere, without a mark: nobody paid for it, and it is not direct
        ("", "https://forum.example/", None),
        # the page does not say what led to it
        ("", None, None),
    ],
)
def test_an_address_says_what_brought_a_visit(query: str, ref: str | None, found: Landing | None):
    assert landing(SHOP + query, ref) == found


def test_marks_may_be_sent_without_an_address():
    assert landing("", None, "&utm_source=radio") == Landing("paid", "radio", "")
    assert landing("", "") is None


@given(st.text(max_size=200), st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_sent_is_a_picture_and_what_is_recorded_can_be_stored(whole_table: LinkTable, url: str, ref: str, source: str):
    query = "&".join(
        f"{name}={quote(text, safe='', errors='replace')}" for name, text in (("url", url), ("ref", ref), ("utm_source", source))
    )
    answer, touch = answer_landing(Hit("GET", "/l.gif", query, "", "https"), whole_table.tenants["north"], NOON, (VISITOR, VISITOR))

    assert (answer.status, answer.body) == (200, PIXEL)
    if touch is not None:
        assert len(touch.origin) <= 64
        assert not isinstance(read_event(encode_event(touch)), Unusable)


def test_a_paid_visit_is_recorded_under_its_visitor_without_what_its_address_may_say_of_a_person(with_front: Run):
    async def scenario(front: Any) -> Any:
        address = quote(SHOP + "?email=a@b.example&gclid=x#frag", safe="")
        ref = quote("https://www.google.com/search?q=me", safe="")
        answer = await front.ask(f"/l.gif?tenant=north&url={address}&ref={ref}", cookie=f"fsv={VISITOR}", user_agent="Mozilla/5.0")
        return answer, front.records()

    answer, (touch,) = with_front(scenario)
    assert (answer.status, answer.body) == (200, PIXEL)
    assert f"fsv={VISITOR}" in dict(answer.headers)["set-cookie"]
    assert (touch.kind, touch.origin, touch.medium, touch.source) == ("paid", "google", "cpc", "pixel")
    assert (touch.tenant_id, touch.programme_id, touch.affiliate_id, touch.link_code) == ("north", "", "", "")
    assert (touch.visitor_id, touch.destination, touch.referrer) == (VISITOR, SHOP, "https://www.google.com/search")


def test_a_visit_that_was_not_landed_sets_no_cookie_and_leaves_nothing(with_front: Run):
    async def scenario(front: Any) -> Any:
        return await front.ask("/l.gif?tenant=north&url=https%3A%2F%2Fshop.example%2F%3Ffsclick%3D1&ref="), front.records()

    answer, records = with_front(scenario)
    assert (answer.status, records) == (200, [])
    assert "set-cookie" not in dict(answer.headers)


@pytest.mark.parametrize("denial", [{"sec_gpc": "1"}, {}])
def test_without_consent_a_visit_names_nobody(with_front: Run, denial: dict[str, str]):
    async def scenario(front: Any) -> Any:
        said = "" if denial else "&consent=0"
        answer = await front.ask(
            f"/l.gif?tenant=north&gclid=1&ref=https%3A%2F%2Fr.example%2Fjo{said}",
            cookie=f"fsv={VISITOR}",
            user_agent="Mozilla/5.0",
            **denial,
        )
        return answer, front.records()

    answer, (touch,) = with_front(scenario)
    assert (touch.kind, touch.visitor_id, touch.ip, touch.user_agent, touch.consent) == ("paid", "", "", "", "denied")
    assert touch.referrer == "https://r.example"
    assert "set-cookie" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("target", "method", "status", "code"),
    [
        ("/l.gif?url=x", "GET", 400, "missing_field"),
        ("/l.gif?tenant=west&gclid=1", "GET", 404, "unknown_tenant"),
        ("/l.gif?tenant=north&gclid=1", "POST", 405, None),
    ],
)
def test_a_bad_landing_says_why_to_those_who_look(with_front: Run, target: str, method: str, status: int, code: str | None):
    async def scenario(front: Any) -> Any:
        return await front.ask(target, method), front.records()

    answer, records = with_front(scenario)
    assert (answer.status, dict(answer.headers).get("x-fairshare-error"), records) == (status, code, [])


def test_a_full_disk_costs_the_record_and_not_the_picture(with_front: Run, files: Any):
    async def scenario(front: Any) -> Any:
        files.full = True
        return await front.ask("/l.gif?tenant=north&gclid=1")

    assert with_front(scenario).status == 200
    assert with_front(scenario, overload="accountability").status == 503
