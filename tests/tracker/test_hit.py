"""One request as read: whose address counts, what is cut, what browsers say of themselves."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from tracker.hit import UNREADABLE, Hit, Proxies, read_address, read_pairs

Make = Callable[..., Hit]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9:4711", None, "203.0.113.9"),
        ("203.0.113.9:4711", "198.51.100.1", "203.0.113.9"),  # a stranger's header is not believed
        ("127.0.0.1:4711", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the rightmost hop; what is left of it may be forged
        ("127.0.0.1", "198.51.100.1, 10.1.2.3", "198.51.100.1"),  # 10/8 is trusted too
        ("127.0.0.1", "198.51.100.1, evil, 10.1.2.3", "10.1.2.3"),  # a hop that is no address ends the walk
        ("127.0.0.1", "10.0.0.7, 10.1.2.3", "10.0.0.7"),  # all trusted: the leftmost
        ("127.0.0.1", "198.51.100.1:5555", "198.51.100.1"),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1", "2001:DB8:0::1", "2001:db8::1"),
        ("127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", ", ,", "127.0.0.1"),
        ("[2001:db8::9]:4711", None, "2001:db8::9"),
        ("fe80::1%eth0", None, "fe80::1"),
        ("", None, ""),
    ],
)
def test_the_address_is_the_rightmost_hop_that_is_no_trusted_proxy(hit: Make, peer: str, forwarded_for: str | None, client: str):
    headers: dict[str, Any] = {"x_forwarded_for": forwarded_for} if forwarded_for else {}
    assert hit("/c/spring", peer=peer, **headers).address == client


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_sent_the_address_is_one_or_empty(peer: str, forwarded_for: str):
    client = Proxies(("127.0.0.1",)).client("127.0.0.1", forwarded_for)
    assert read_address(client) == client != ""
    assert read_address(read_address(peer)) == read_address(peer)


def test_a_proxy_that_is_no_address_is_named():
    with pytest.raises(SettingsError, match="FAIRSHARE_TRUSTED_PROXIES: 'proxy-local' is neither an address nor a network"):
        Proxies(("127.0.0.1", "proxy-local"))


def test_https_is_believed_from_a_trusted_proxy_only(hit: Make):
    assert hit("/", scheme="http", peer="127.0.0.1", x_forwarded_proto="https").scheme == "https"
    assert hit("/", scheme="http", peer="127.0.0.1", x_forwarded_proto="gopher").scheme == "http"
    assert hit("/", scheme="http", x_forwarded_proto="https").scheme == "http"


def test_long_texts_are_cut_and_flagged(hit: Make):
    read = hit("/c/spring", user_agent="a" * 1025, referer="r" * 2049)
    assert (len(read.user_agent), len(read.referrer), read.flags) == (1024, 2048, ("user_agent_cut", "referrer_cut"))
    assert hit("/c/spring", user_agent="a" * 1024, referer="r" * 2048).flags == ()


def test_a_user_agent_that_cannot_be_read_is_not_the_same_as_none(hit: Make):
    assert hit("/c/spring", user_agent=None).user_agent == UNREADABLE == "(unreadable)"
    assert hit("/c/spring").user_agent == ""


def test_a_query_is_split_once_and_keeps_its_raw_pieces():
    assert read_pairs("a=1+2&b=%C3%A9&&c&d=%zz&=e&a=3=4") == (
        ("a", "1 2", "a=1+2"),
        ("b", "é", "b=%C3%A9"),
        ("c", "", "c"),
        ("d", "%zz", "d=%zz"),
        ("", "e", "=e"),
        ("a", "3=4", "a=3=4"),
    )
    assert len(read_pairs("&".join(f"p{number}=1" for number in range(1000)))) == 100


@given(st.text(max_size=200))
def test_any_query_can_be_read(query: str):
    read_pairs(query)


@pytest.mark.parametrize("header", ["sec_purpose", "purpose", "x_moz", "x_purpose"])
def test_all_names_for_prefetching_are_one(hit: Make, header: str):
    headers: dict[str, Any] = {header: "prefetch;prerender"}
    assert hit("/c/spring", **headers).purpose == "prefetch;prerender"


@pytest.mark.parametrize(("length", "read"), [("12", 12), ("-1", 0), ("²", 0), ("9" * 30, 0), ("", 0)])
def test_a_content_length_is_a_number_or_nothing(hit: Make, length: str, read: int):
    assert hit("/v1/orders", content_length=length).content_length == read
