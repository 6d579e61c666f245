"""Addresses to countries; and a database that is missing or broken never stands in the way."""

import logging
from pathlib import Path

import pytest

from core.settings import Settings
from tracker.country import VENDORED, Countries, code_in, open_countries, public_address


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
