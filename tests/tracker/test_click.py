"""From a hit on a link to the answer and the touch: nothing but the request, the catalogue, a time and two new ids."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import parse_instant
from core.events import Touch, decode_event, encode_event
from core.ids import event_id, is_event_id
from tracker.answer import PIXEL, Answer
from tracker.click import answer_click, answer_impression, take_aim
from tracker.hit import Hit, Proxies, read_hit
from tracker.links import LinkTable
from tracker.traffic import agent_flag

NOW = parse_instant("2026-11-21T12:00:00Z")
CLICK, VISITOR = event_id(NOW, 1), event_id(NOW, 2)
OLD_VISITOR = event_id(NOW - 86_400_000, 3)
IDS = (CLICK, VISITOR)


Make = Callable[..., Hit]


def click(hit: Hit, table: LinkTable) -> tuple[Answer, Touch]:
    code = hit.path.removeprefix("/c/")
    return answer_click(hit, code, take_aim(table.links.get(code), hit.pairs), NOW, IDS)


def header(answer: Answer, name: str) -> str:
    return dict(answer.headers).get(name, "")


def location(hit: Hit, table: LinkTable) -> str:
    return header(click(hit, table)[0], "location")


def test_a_click_is_sent_on_with_its_id_and_recorded(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/spring?sub1=post-7&foo=1", user_agent="Mozilla/5.0", referer="https://blog.example/a"), table)

    assert answer.status == 302
    assert answer.headers == [
        ("location", f"https://shop.north.example/spring?ref=x&foo=1&fsclick={CLICK}#top"),
        ("cache-control", "no-store"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("content-length", "0"),
        ("set-cookie", f"__Secure-fsv={VISITOR}; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax; Secure"),
    ]
    assert touch == Touch(
        event_id=CLICK,
        kind="click",
        tenant_id="north",
        programme_id="main",
        affiliate_id="anna",
        link_code="spring",
        occurred_at=NOW,
        received_at=NOW,
        visitor_id=VISITOR,
        destination="https://shop.north.example/spring?ref=x&foo=1#top",
        subs=("post-7",),
        ip="203.0.113.9",
        user_agent="Mozilla/5.0",
        referrer="https://blog.example/a",
    )


def test_the_click_id_travels_under_the_tenants_own_parameter(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/novel"), table)
    assert header(answer, "location") == f"http://books.south.example/novel?sid={CLICK}"
    assert (touch.tenant_id, touch.channel) == ("south", "email")


def test_macros_of_a_stored_destination_are_filled_in(hit: Make, table: LinkTable):
    sent = location(hit("/c/macro?sub1=" + quote("a&b=1#ü")), table)
    assert sent == f"https://shop.north.example/?a=anna&c={CLICK}&s=a%26b%3D1%23%C3%BC&u=&fsclick={CLICK}"


# --- visitors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookie", "visitor"),
    [
        (f"__Secure-fsv={OLD_VISITOR}", OLD_VISITOR),
        (f"a=b; fsv={OLD_VISITOR}; c=d", OLD_VISITOR),
        (f"fsv={VISITOR}; __Secure-fsv={OLD_VISITOR}", OLD_VISITOR),
        (f"xfsv={OLD_VISITOR}", VISITOR),
        (f"fsv={OLD_VISITOR.lower()}", VISITOR),
        ("fsv=undefined", VISITOR),
        ("fsv=", VISITOR),
        ("fsv=8ZZZZZZZZZZZZZZZZZZZZZZZZZ", VISITOR),
        (None, VISITOR),
        ("", VISITOR),
    ],
)
def test_a_visitor_is_known_by_a_cookie_of_our_making_only(hit: Make, table: LinkTable, cookie: str | None, visitor: str):
    answer, touch = click(hit("/c/spring", cookie=cookie), table)
    assert touch.visitor_id == visitor
    assert header(answer, "set-cookie").startswith(f"__Secure-fsv={visitor};"), "renewed with every click"


def test_plain_http_gets_a_cookie_that_browsers_take_there(hit: Make, table: LinkTable):
    answer, _ = click(hit("/c/spring", scheme="http"), table)
    assert header(answer, "set-cookie") == f"fsv={VISITOR}; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax"


# --- consent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "headers", "consent"),
    [
        ("", {}, "unknown"),
        ("consent=1", {}, "granted"),
        ("cons=1", {}, "granted"),
        ("consent=yes", {}, "unknown"),
        ("consent=0", {}, "denied"),
        ("cons=0", {}, "denied"),
        ("", {"sec_gpc": "1"}, "denied"),
        ("consent=1", {"sec_gpc": "1"}, "denied"),
    ],
)
def test_without_consent_nothing_is_kept_that_names_a_person(
    hit: Make, table: LinkTable, query: str, headers: dict[str, Any], consent: str
):
    answer, touch = click(hit(f"/c/spring?{query}", user_agent="Mozilla/5.0", cookie=f"fsv={OLD_VISITOR}", **headers), table)

    assert touch.consent == consent
    if consent == "denied":
        assert (touch.visitor_id, touch.ip, touch.user_agent, header(answer, "set-cookie")) == ("", "", "", "")
    else:
        assert (touch.visitor_id, touch.ip, touch.user_agent) == (OLD_VISITOR, "203.0.113.9", "Mozilla/5.0")
    assert header(answer, "location") == f"https://shop.north.example/spring?ref=x&fsclick={CLICK}#top"


@pytest.mark.parametrize(
    ("referrer", "kept"),
    [
        ("https://blog.example/of/jo?mail=jo%40example.com#jo", "https://blog.example"),
        ("https://blog.example?mail=jo", "https://blog.example"),
        ("https://jo:secret@blog.example:8443/", "https://blog.example:8443"),
        ("https://blog.example\\jo", "https://blog.example"),
        ("android-app://com.google.android.gm/", "android-app://com.google.android.gm"),
        ("mailto:jo@example.com", ""),
        ("jo said ://blog.example/", ""),
        ("https:///jo", ""),
        ("", ""),
    ],
)
def test_without_consent_only_the_site_of_the_referrer_is_kept(hit: Make, table: LinkTable, referrer: str, kept: str):
    assert click(hit("/c/spring?consent=0", referer=referrer), table)[1].referrer == kept
    assert click(hit("/c/spring", referer=referrer), table)[1].referrer == referrer


def test_of_a_user_agent_that_must_not_be_kept_only_its_class_is(hit: Make, table: LinkTable):
    for denied, kept in ((hit("/c/spring?cons=0", user_agent="curl/8"), ("invalid_ua",)), (hit("/c/spring", user_agent="curl/8"), ())):
        _, touch = answer_click(denied, "spring", take_aim(table.links["spring"], denied.pairs), NOW, IDS, agent_flag)
        assert (touch.flags, touch.user_agent) == (kept, "" if kept else "curl/8")


# --- not a person's click --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "flags"),
    [
        ({"sec_fetch_dest": "document"}, ()),
        ({"method": "HEAD"}, ("head",)),
        ({"method": "OPTIONS"}, ("head",)),
        ({"sec_purpose": "prefetch"}, ("prefetch",)),
        ({"sec_purpose": "prefetch;prerender"}, ("prefetch",)),
        ({"purpose": "prefetch"}, ("prefetch",)),
        ({"x_moz": "prefetch"}, ("prefetch",)),
        ({"x_purpose": "preview"}, ("prefetch",)),
        ({"sec_fetch_dest": "image"}, ("hidden_frame",)),
        ({"sec_fetch_dest": "iframe"}, ("hidden_frame",)),
        ({"sec_fetch_dest": "script"}, ("hidden_frame",)),
        ({"sec_fetch_dest": "empty"}, ("hidden_frame",)),
        ({"method": "HEAD", "purpose": "prefetch", "sec_fetch_dest": "empty"}, ("head", "prefetch", "hidden_frame")),
    ],
)
def test_what_no_person_asked_for_is_flagged_and_gets_no_cookie(
    hit: Make, table: LinkTable, headers: dict[str, Any], flags: tuple[str, ...]
):
    answer, touch = click(hit("/c/spring", **headers), table)

    assert touch.flags == flags
    assert (touch.visitor_id, header(answer, "set-cookie") != "") == (("", False) if flags else (VISITOR, True))
    assert answer.status == 302, "the redirect is answered in every case"


def test_a_hidden_frame_is_recorded_under_the_visitor_it_hides_from(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/spring", sec_fetch_dest="iframe", cookie=f"fsv={OLD_VISITOR}"), table)
    assert (touch.visitor_id, header(answer, "set-cookie")) == (OLD_VISITOR, "")


# --- where to --------------------------------------------------------------------------------------------------------


def test_a_deep_link_leads_to_a_listed_host(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/spring?sub2=z&url=" + quote("https://www.north.example/p?x=1&y={sub2}#r", safe="")), table)
    assert header(answer, "location") == f"https://www.north.example/p?x=1&y=%7Bsub2%7D&fsclick={CLICK}#r"
    assert (touch.flags, touch.subs) == ((), ("", "z"))


def test_a_deep_link_elsewhere_leads_to_the_landing_page(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/spring?url=https://evil.example/&utm=1"), table)
    assert header(answer, "location") == f"https://shop.north.example/?utm=1&fsclick={CLICK}"
    assert (touch.flags, touch.destination) == (("deep_link_refused",), "https://shop.north.example/?utm=1")


def test_a_disabled_link_is_recorded_and_leads_to_the_landing_page(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/closed?url=https://www.north.example/p"), table)
    assert header(answer, "location") == f"https://shop.north.example/?fsclick={CLICK}"
    assert (touch.flags, touch.affiliate_id) == (("link_disabled",), "anna")


def test_an_unknown_code_is_an_orphan_not_a_silence(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/nowhere", user_agent="Mozilla/5.0"), table)
    assert answer.status == 404
    assert b"This link does not exist" in answer.body
    assert (touch.tenant_id, touch.programme_id, touch.link_code, touch.ip) == ("", "", "nowhere", "203.0.113.9")


def test_a_long_unknown_code_is_cut(hit: Make, table: LinkTable):
    assert click(hit("/c/" + "x" * 500), table)[1].link_code == "x" * 64


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_long_sub_ids_are_cut_and_flagged_never_refused(hit: Make, table: LinkTable):
    _, touch = click(hit("/c/spring?sub1=" + "é" * 255 + "&sub3=" + "y" * 256 + "&sub5="), table)
    assert touch.subs == ("é" * 255, "", "y" * 255)
    assert touch.flags == ("sub_cut",)


def test_extras_that_make_a_location_too_long_are_left_behind(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/spring?big=" + "x" * 5000), table)
    assert header(answer, "location") == f"https://shop.north.example/spring?ref=x&fsclick={CLICK}#top"
    assert touch.flags == ("extras_dropped",)


def test_a_long_location_is_sent_whole_and_recorded_in_part(hit: Make, table: LinkTable):
    answer, touch = click(hit("/c/spring?big=" + "x" * 3000), table)
    assert len(header(answer, "location")) > 3000
    assert (len(touch.destination), touch.flags) == (2048, ("destination_cut",))


# --- impressions -----------------------------------------------------------------------------------------------------


def test_an_impression_is_a_picture_and_a_touch(hit: Make, table: LinkTable):
    seen = hit("/i.gif?l=spring&sub1=banner", sec_fetch_dest="image", cookie=f"fsv={OLD_VISITOR}")
    answer, touch = answer_impression(seen, "spring", table.links["spring"], NOW, IDS)

    assert (answer.status, answer.body, header(answer, "cache-control")) == (200, PIXEL, "no-store")
    assert len(PIXEL) == 43
    assert (touch.kind, touch.visitor_id, touch.subs, touch.flags, touch.destination) == ("impression", OLD_VISITOR, ("banner",), (), "")


def test_an_impression_of_an_unknown_code_is_an_orphan_behind_the_same_picture(hit: Make, table: LinkTable):
    answer, touch = answer_impression(hit("/i.gif?l=nowhere"), "nowhere", None, NOW, IDS)
    assert (answer.status, answer.body, touch.tenant_id, touch.link_code) == (200, PIXEL, "", "nowhere")


# --- laws ------------------------------------------------------------------------------------------------------------

anything = st.text(max_size=300)


@given(query=anything, agent=anything, cookie=anything, referrer=anything)
def test_whatever_is_sent_the_visitor_reaches_the_shop_and_the_touch_can_be_recorded(
    whole_table: LinkTable, query: str, agent: str, cookie: str, referrer: str
):
    headers = [("user-agent", agent), ("cookie", cookie), ("referer", referrer)]
    hit = read_hit("GET", "/c/spring", query, headers, "203.0.113.9", "https", Proxies(()))
    answer, touch = answer_click(hit, "spring", take_aim(whole_table.links["spring"], hit.pairs), NOW, IDS)

    sent = header(answer, "location")
    assert re.match(r"https://([a-z0-9.-]+\.)?north\.example/", sent), sent
    assert all(value.isascii() and value.isprintable() for _, value in answer.headers)
    assert sent.count(f"fsclick={touch.event_id}") == 1
    assert is_event_id(touch.event_id)
    assert decode_event(encode_event(touch)) == touch


# --- limits ----------------------------------------------------------------------------------------------------------


def limited(by: str) -> Any:
    """A limit that everything is beyond, and that remembers what it was asked."""

    def limit(*asked: Any) -> tuple[str, ...]:
        limit.asked = asked  # type: ignore[attr-defined]
        return (by,)

    return limit


def test_a_capped_click_is_recorded_and_leads_to_the_fallback_with_everything_it_brought(hit: Make, table: LinkTable):
    link = msgspec.structs.replace(table.links["spring"], fallback_url="https://shop.north.example/sold-out?a=1")
    asked = hit("/c/spring?sub1=x&foo=1&url=https%3A%2F%2Fnorth.example%2Fdeep")
    answer, touch = answer_click(asked, "spring", take_aim(link, asked.pairs), NOW, IDS, limit=limited("capped"))
    assert header(answer, "location") == f"https://shop.north.example/sold-out?a=1&foo=1&fsclick={CLICK}"
    assert (touch.flags, touch.subs, touch.affiliate_id) == (("capped",), ("x",), "anna")
    assert touch.destination == "https://shop.north.example/sold-out?a=1&foo=1"


def test_a_capped_link_without_a_fallback_leads_to_the_programmes_landing_page(hit: Make, table: LinkTable):
    answer, _ = answer_click(hit("/c/spring"), "spring", take_aim(table.links["spring"], ()), NOW, IDS, limit=limited("capped"))
    assert header(answer, "location") == f"https://shop.north.example/?fsclick={CLICK}"


def test_a_click_beyond_a_rate_is_flagged_and_goes_where_it_wants_to(hit: Make, table: LinkTable):
    answer, touch = answer_click(hit("/c/spring"), "spring", take_aim(table.links["spring"], ()), NOW, IDS, limit=limited("rate_limited"))
    assert header(answer, "location") == f"https://shop.north.example/spring?ref=x&fsclick={CLICK}#top"
    assert touch.flags == ("rate_limited",)


@pytest.mark.parametrize(
    ("headers", "is_person"), [({}, True), ({"sec_purpose": "prefetch"}, False), ({"sec_fetch_dest": "iframe"}, False)]
)
def test_a_limit_hears_whether_it_may_be_a_person(hit: Make, table: LinkTable, headers: dict[str, str], is_person: bool):
    limit = limited("capped")
    answer_click(hit("/c/spring", **headers), "spring", take_aim(table.links["spring"], ()), NOW, IDS, limit=limit)
    assert limit.asked == (table.links["spring"], "203.0.113.9", NOW, is_person)


def test_an_unknown_code_has_no_limits(hit: Make):
    limit = limited("capped")
    assert answer_click(hit("/c/nowhere"), "nowhere", take_aim(None, ()), NOW, IDS, limit=limit)[1].flags == ()
    assert not hasattr(limit, "asked")


@pytest.mark.parametrize(("path", "kind"), [("/c/", "click"), ("/q/", "scan"), ("/s/", "soft_click"), ("/a/", "app_open")])
def test_the_same_link_is_followed_in_several_ways(with_front: Any, path: str, kind: str):
    async def scenario(front: Any) -> Any:
        return await front.ask(f"{path}spring?sub1=x&k=v"), front.records()

    answer, (touch,) = with_front(scenario)
    assert (answer.status, touch.kind, touch.link_code, touch.affiliate_id, touch.subs) == (302, kind, "spring", "anna", ("x",))
    assert header(answer, "location") == f"https://shop.north.example/spring?ref=x&k=v&fsclick={touch.event_id}#top"


def test_ways_of_following_do_not_mix(with_front: Any):
    async def scenario(front: Any) -> Any:
        for target in ("/q/spring", "/c/spring", "/q/spring", "/s/spring"):
            await front.ask(target)
        return front.records()

    assert [touch.kind for touch in with_front(scenario)] == ["scan", "click", "scan", "soft_click"]


def test_a_click_is_written_in_no_more_bytes_than_before_there_were_other_channels(hit: Make, table: LinkTable):
    _, touch = click(hit("/c/spring"), table)

    assert {"origin", "medium", "customer_keys", "source"}.isdisjoint(msgspec.json.decode(encode_event(touch)))
