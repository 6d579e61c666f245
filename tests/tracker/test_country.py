"""Addresses to countries; and a database that is missing or broken never stands in the way."""

import ipaddress
import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.settings import Settings
from tracker.country import VENDORED, Countries, code_in, is_plainly_public, open_countries, public_address


@pytest.fixture(scope="module")
def countries() -> Countries:
    return Countries(VENDORED)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("83.149.9.216", "RU"),
        ("8.8.8.8", "US"),
        ("130.237.218.86", "SE"),
        ("2001:4860:4860::8888", "US"),
        ("::ffff:8.8.8.8", "US"),
        ("127.0.0.1", ""),
        ("10.1.2.3", ""),
        ("192.168.1.1", ""),
        ("100.64.0.1", ""),
        ("169.254.169.254", ""),
        ("224.0.0.1", ""),
        ("::1", ""),
        ("fe80::1", ""),
        ("::ffff:10.0.0.1", ""),
        ("0.0.0.0", ""),
        ("1.2.3", ""),
        ("localhost", ""),
        ("", ""),
        ("8.8.8.8; DROP TABLE touches", ""),
    ],
)
def test_public_addresses_have_a_country_and_others_none(countries: Countries, address: str, country: str) -> None:
    assert countries.country_of(address) == country


def test_a_missing_file_is_said_once_and_leaves_countries_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        countries = open_countries(Settings(country_db=str(tmp_path / "nowhere.mmdb")))

        assert [countries.country_of(address) for address in ("8.8.8.8", "83.149.9.216")] == ["", ""]

    assert len(caplog.records) == 1
    assert "nowhere.mmdb cannot be used, countries stay empty" in caplog.text


@pytest.mark.parametrize("keep", [0, 100, 4_000_000, 7_841_200])
def test_a_broken_file_is_said_once_and_never_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture, keep: int) -> None:
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(VENDORED.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        countries = Countries(broken)

        assert countries.country_of("8.8.8.8") == ""
        assert countries.country_of("83.149.9.216") == ""

    assert len(caplog.records) == 1
    assert "broken.mmdb" in countries.fault


def test_a_file_that_turns_out_to_be_broken_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(VENDORED.read_bytes())
    begin, end = 1_306_595 * 6 + 16, content.rindex(b"\xab\xcd\xefMaxMind.com")  # its records, after the tree of networks
    content[begin:end] = b"\xff" * (end - begin)
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        countries = Countries(broken)

        assert countries.fault == ""
        assert [countries.country_of(address) for address in ("8.8.8.8", "83.149.9.216")] == ["", ""]

    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"country_code": "FR"}, "FR"),
        ({"country": {"iso_code": "DE", "names": {"en": "Germany"}}}, "DE"),
        ({"country": "France"}, ""),
        ({"country_code": "fr"}, ""),
        ({"country_code": "FRA"}, ""),
        ({"country_code": 33}, ""),
        ({}, ""),
        (None, ""),
        ("FR", ""),
    ],
)
def test_two_record_shapes_are_read_and_no_other(record: object, code: str) -> None:
    assert code_in(record) == code


def test_an_ipv4_address_inside_ipv6_is_looked_up_as_itself() -> None:
    assert public_address("::ffff:8.8.8.8") == "8.8.8.8"


# --- the short way to an answer is the long one's --------------------------------------------------------------------


def is_public(text: str) -> bool:
    """What :mod:`ipaddress` says, at length."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return False
        address = address.ipv4_mapped or address
    return address.is_global and not address.is_multicast


def networks(value: object) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        yield value
    if isinstance(value, list):
        for one in value:
            yield from networks(one)


def test_at_every_border_that_ipaddress_knows_both_ways_agree() -> None:
    """Its own lists of special networks, of the Python that runs this: each one's first and last address, and their neighbours."""
    constants = [*vars(ipaddress._IPv4Constants).values(), *vars(ipaddress._IPv6Constants).values()]  # type: ignore[attr-defined]
    special = [network for constant in constants for network in networks(constant)]
    assert len(special) > 40
    for network in special:
        kind = type(network.network_address)
        borders = [int(network.network_address) + step for step in (-1, 0, 1)]
        borders += [int(network.broadcast_address) + step for step in (-1, 0, 1)]
        for border in borders:
            if 0 <= border < 1 << network.max_prefixlen:
                text = str(kind(border))
                assert bool(public_address(text)) == is_public(text), text


def test_the_short_way_is_taken_only_where_nothing_special_lies_and_then_for_most_of_the_internet() -> None:
    first_octets = [f"{octet}.77.1.1" for octet in range(256)]
    first_sixteen = [f"{first:x}:77::1" for first in range(0, 0x10000, 7)]
    second_sixteen = [f"2001:{second:x}::1" for second in range(0, 0x10000, 7)]
    for text in (*first_octets, *first_sixteen, *second_sixteen):
        assert is_public(text) or not is_plainly_public(text), text

    assert sum(map(is_plainly_public, first_octets)) == 215
    assert all(map(is_plainly_public, ("2001:4860:4860::8888", "2a00:1450::1", "2604:a880::1")))


ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda address: address.exploded)
PIECES = st.lists(st.sampled_from(["1", "8", "08", "255", "256", ".", ":", "::", "ffff", "2a00", "fe80", "%eth0", " ", "\0", "٣", "/24"]))


@given(ADDRESSES | PIECES.map("".join) | st.text(max_size=20))
@example("2001:db8::1")
@example("2001:1ff:ffff::")
@example("2a00::1%eth0")
@example("::ffff:2a00:1")
@example("2a00::192.0.2.1")
@example("3fff::1")
@example("08.8.8.8")
@example("8.8.8.8\n")
@example("8.8.8")
@example("134744072")
@settings(max_examples=300, deadline=None)
def test_both_ways_agree_on_any_text(text: str) -> None:
    public = public_address(text)

    assert bool(public) == is_public(text)
    if public:
        address = ipaddress.ip_address(text)
        assert ipaddress.ip_address(public) == (getattr(address, "ipv4_mapped", None) or address)


def test_an_address_of_one_machines_network_does_not_put_the_database_in_doubt(countries: Countries) -> None:
    assert countries.country_of("2a00:1450::1%eth0") == ""
    assert countries.country_of("2a00:1450::1") != ""
    assert countries.fault == ""


def test_an_address_has_the_country_that_it_had_the_long_way(countries: Countries) -> None:
    rng = random.Random(7)
    texts = [str(ipaddress.IPv4Address(rng.getrandbits(32))) for _ in range(400)]
    texts += [str(ipaddress.IPv6Address(rng.choice((0x2001, 0x2400, 0x2600, 0x2A00)) << 112 | rng.getrandbits(107))) for _ in range(400)]
    expected = [code_in(countries._reader.get(ipaddress.ip_address(text))) if is_public(text) else "" for text in texts]

    assert [countries.country_of(text) for text in texts] == expected
    assert sum(map(bool, expected)) > 300
