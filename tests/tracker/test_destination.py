"""Where a visitor may be sent: to hosts on the programme's list, and nowhere else, whatever a request says."""

import itertools
import re
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.destination import Destination, merge, read_deep_link, read_destination, read_host
from tracker.hit import read_pairs

HOSTS = (("north.example", ""), ("shop.example", "8443"))
CLICK = "01JD7Q9QZ0ABCDEFGHJKMNPQRS"


def deep(url: str, schemes: tuple[str, ...] = ("https",)) -> str | None:
    """Where a deep link would lead, without the click id; None where it is refused."""
    destination = read_deep_link(url, HOSTS, schemes)
    return merge(destination, "fsclick", CLICK)[0] if destination else None


# --- allowed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://north.example", "https://north.example/"),
        ("HTTPS://Shop.NORTH.example/A?b=C#d", "https://shop.north.example/A?b=C#d"),
        ("https://north.example:443/a", "https://north.example/a"),
        ("https://north.example./a", "https://north.example/a"),
        ("https://shop.example:8443/a", "https://shop.example:8443/a"),
        ("https://north.example/a b", "https://north.example/a%20b"),
        ("https://north.example/50%/é?q=ü%20x&y=1|2", "https://north.example/50%25/%C3%A9?q=%C3%BC%20x&y=1%7C2"),
        ("https://north.example/%0d%0aSet-Cookie:x", "https://north.example/%0d%0aSet-Cookie:x"),
        ("https://north.example?q=1", "https://north.example/?q=1"),
        ("https://north.example/{click_id}?a={click_id}", "https://north.example/%7Bclick_id%7D?a=%7Bclick_id%7D"),
        ("https://ｓｈｏｐ。north．example/", "https://shop.north.example/"),  # a full-width host becomes the host it means
    ],
)
def test_a_listed_host_is_rebuilt(url: str, sent: str):
    assert deep(url) == sent


@pytest.mark.parametrize(
    "url",
    [
        "http://north.example/",
        "https://north.example:8443/",
        "https://shop.example/",
        "https://shop.example:8444/",
        "https://evilnorth.example/",
        "https://north.example.evil.example/",
        "https://north.example:99999/",
        "https://" + "a" * 250 + ".north.example/",
        "https://north.example/" + "a" * 2048,
        "https://north.example/" + "é" * 700,
        "",
        "north.example",
        "/path",
    ],
)
def test_what_is_not_exactly_allowed_is_refused(url: str):
    assert deep(url) is None


def test_plain_http_is_a_choice_of_the_merchant():
    assert deep("http://north.example/", schemes=("https", "http")) == "http://north.example/"


@pytest.mark.parametrize(
    ("listed", "host"),
    [
        ("Shop.Example", ("shop.example", "")),
        ("shop.example:8443", ("shop.example", "8443")),
        ("bücher.example", ("xn--bcher-kva.example", "")),
        ("127.0.0.1:9000", ("127.0.0.1", "9000")),
        ("*.example", None),
        ("https://shop.example", None),
        ("shop.example/path", None),
        ("", None),
        (".", None),
        ("a@b.example", None),
    ],
)
def test_a_listed_host_is_a_host_and_perhaps_a_port(listed: str, host: tuple[str, str] | None):
    assert read_host(listed) == host


def test_an_international_host_matches_in_both_spellings():
    hosts = tuple(filter(None, [read_host("bücher.example")]))
    for spelling in ("https://bücher.example/", "https://xn--bcher-kva.example/", "https://BÜCHER.example/"):
        found = read_deep_link(spelling, hosts, ("https",))
        assert found is not None
        assert found.base == "https://xn--bcher-kva.example/"


# --- hostile ---------------------------------------------------------------------------------------------------------

GOOD, EVIL = "shop.north.example", "evil.example"
AUTHORITIES = [
    EVIL, f"{GOOD}@{EVIL}", f"{GOOD}:443@{EVIL}", f"{GOOD}%40{EVIL}", f"{GOOD}\\@{EVIL}", f"{EVIL}\\{GOOD}", f"{EVIL}%2f{GOOD}",
    f"{EVIL}%23.{GOOD}", f"{EVIL}#.{GOOD}", f"{EVIL}?.{GOOD}", f"{EVIL}/.{GOOD}", f"{EVIL};.{GOOD}", f"{EVIL}\t.{GOOD}",
    f"{EVIL}\n.{GOOD}", f"{EVIL}\r\n.{GOOD}", f"{EVIL}\0.{GOOD}", f"{EVIL}%00.{GOOD}", f"{EVIL} .{GOOD}", f"{EVIL}／.{GOOD}",
    f"{EVIL}＃.{GOOD}", f"{EVIL}？.{GOOD}", f"{EVIL}＠{GOOD}", f"{EVIL}：80.{GOOD}", f"{EVIL}℀.{GOOD}", f"{EVIL}⁄.{GOOD}", f"{EVIL}。",
    f"{GOOD}.{EVIL}", f"{GOOD}。{EVIL}", f"{GOOD}．{EVIL}", f"{GOOD}｡{EVIL}", f"{GOOD}-{EVIL}", f"x{EVIL}", "[::1]",
    "[::ffff:1.2.3.4]", "127.0.0.1", "0x7f.1", "2130706433", "localhost", f"{EVIL}:443", f"{EVIL}:", f"{GOOD}:@{EVIL}", f":@{EVIL}",
    f"@{EVIL}", f"{GOOD}@", f"user:pass@{GOOD}", f"@{GOOD}", f"{GOOD}:8443", f"{GOOD}:22", f"{GOOD}:443x", f"{GOOD}:４４３",
    f"{GOOD}:-1", f"{GOOD}:65536", f"{GOOD}..", f".{GOOD}", f"a..{GOOD}", f"*.{GOOD}", f"-.{GOOD}", f"{GOOD}%", "%73hop.north.example",
    f"{EVIL}\u200b.{GOOD}", f"{EVIL}\u202e.{GOOD}", f"{EVIL}\u00ad", f"north.examp\u200dle.{EVIL}", "nοrth.example", "north.exаmple",
    "ｎorth.example.evil.example", "north。example。evil。example",
]  # fmt: skip
SHAPES = [
    "https://{}/", "https://{}", "http://{}/", "//{}/", "///{}/", "////{}", "https:{}", "https:/{}", "https:///{}", "https:\\\\{}",
    "https:\\/\\/{}", "\\\\{}", "/\\{}", "\thttps://{}/", " https://{}/", "https://{}/\n", "ht\ntps://{}/", "https\t://{}/",
    "https:// {}/", "hTTps://{}?x", "javascript:alert(1)//{}", "data:text/html,{}", "file://{}/etc/passwd", "ftp://{}/",
    "blob:https://{}/", "view-source:https://{}/", "https%3A%2F%2F{}", "https%253A%252F%252F{}", "https://{}%2f..", "%68ttps://{}/",
    "x-https://{}/", "wss://{}/", "//https://{}/", "@{}", "{}",
]  # fmt: skip
PAYLOADS = [shape.format(authority) for shape, authority in itertools.product(SHAPES, AUTHORITIES)]
PAYLOADS += [quote(payload) for payload in PAYLOADS] + [quote(quote(payload)) for payload in PAYLOADS]


def browser_host(location: str) -> str:
    """Where a browser would go, read as crudely as browsers do: control characters vanish, backslashes are slashes."""
    text = re.sub(r"[\t\r\n]", "", location).strip("\0 ").replace("\\", "/")
    return urlsplit(text).netloc


def test_no_hostile_destination_escapes():
    assert len(PAYLOADS) > 5_000
    reached = set()
    for payload in PAYLOADS:
        sent = deep(payload)
        if sent is not None:
            assert sent.isascii()
            assert sent.isprintable()
            assert sent.startswith("https://")
            reached.add(browser_host(sent))
    assert reached, "some payloads are sub-domains of the listed host, and those may pass"
    assert all(host == GOOD or host.endswith("." + GOOD) for host in reached), reached


@given(st.text(max_size=60))
def test_no_text_escapes(text: str):
    for url in (text, f"https://{text}", f"https://{GOOD}{text}", f"https://{text}{GOOD}/", f"https://{GOOD}/{text}"):
        sent = deep(url)
        if sent is not None:
            host = browser_host(sent)
            assert host == "north.example" or host.endswith(".north.example") or re.fullmatch(r"(.*\.)?shop\.example:8443", host)
            assert sent.isascii()
            assert not re.search(r"[\s\\\x00-\x1f\x7f\"<>^`{|}]", sent)


# --- merging ---------------------------------------------------------------------------------------------------------


def parsed(url: str) -> Destination:
    destination = read_destination(url)
    assert destination is not None
    return destination


@pytest.mark.parametrize(
    ("stored", "query", "location"),
    [
        ("https://s.example/", "", f"https://s.example/?fsclick={CLICK}"),
        ("https://s.example/a?b=1#top", "", f"https://s.example/a?b=1&fsclick={CLICK}#top"),
        ("https://s.example/?fsclick=OLD&b=1", "", f"https://s.example/?b=1&fsclick={CLICK}"),
        ("https://s.example/?b=1", "b=2&c=3", f"https://s.example/?b=1&c=3&fsclick={CLICK}"),
        ("https://s.example/", "c=3&c=4", f"https://s.example/?c=3&c=4&fsclick={CLICK}"),
        ("https://s.example/", "fsclick=FORGED", f"https://s.example/?fsclick={CLICK}"),
        ("https://s.example/?x=%20+%2B&y", "", f"https://s.example/?x=%20+%2B&y&fsclick={CLICK}"),
        ("https://s.example/", "q=%F0%9F%8D%95&r=é", f"https://s.example/?q=%F0%9F%8D%95&r=%C3%A9&fsclick={CLICK}"),
        ("https://s.example/?a[]=1&a[]=2", "", f"https://s.example/?a%5B%5D=1&a%5B%5D=2&fsclick={CLICK}"),
    ],
)
def test_the_destination_keeps_its_own_and_gets_the_click_id_once(stored: str, query: str, location: str):
    assert merge(parsed(stored), "fsclick", CLICK, read_pairs(query))[1] == location


names = st.text("abcfs[]_%", min_size=1, max_size=6)
queries = st.lists(st.tuples(names, st.text(max_size=12)), max_size=5).map(lambda pairs: "&".join(f"{n}={quote(v)}" for n, v in pairs))


@given(queries, queries, st.sampled_from(["", "#top", "#a=b?c"]), st.sampled_from(["fsclick", "a", "s", "sid"]))
def test_merging_again_changes_nothing(own: str, extra: str, fragment: str, parameter: str):
    extras = read_pairs(extra)
    _, once = merge(parsed(f"https://s.example/p?{own}{fragment}"), parameter, CLICK, extras)
    _, twice = merge(parsed(once), parameter, CLICK, extras)

    assert twice == once
    assert [value for name, value in parse_qsl(urlsplit(once).query, keep_blank_values=True) if name == parameter] == [CLICK]


def test_macros_are_values_encoded_after_parsing():
    stored = parsed("https://s.example/{sub1}?a={sub1}&b=x{click_id}y&c={nonsense}&{sub1}=1&d={}&e={{sub1}}")
    macros = {"sub1": "&x=1#/?é🍕%", "click_id": CLICK}
    without, _ = merge(stored, "fsclick", CLICK, (), macros)

    value = "%26x%3D1%23%2F%3F%C3%A9%F0%9F%8D%95%25"
    assert without == f"https://s.example/%7Bsub1%7D?a={value}&b=x{CLICK}y&c=&%7Bsub1%7D=1&d=&e=%7B{value}%7D"


@given(st.text(max_size=40))
def test_a_macros_value_arrives_as_it_was(value: str):
    without, _ = merge(parsed("https://s.example/?a={sub1}&b=2#f"), "fsclick", CLICK, (), {"sub1": value})
    assert parse_qsl(urlsplit(without).query, keep_blank_values=True) == [("a", value), ("b", "2")]
    assert urlsplit(without).fragment == "f"


@pytest.mark.parametrize("stored", ["javascript:alert(1)", "//s.example", "https://u:p@s.example/", "https://s.example/\r\nx", ""])
def test_a_stored_url_that_is_none_is_not_used(stored: str):
    assert read_destination(stored) is None
