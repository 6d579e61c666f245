"""API keys: made, shown once, revoked."""

import re

from core.catalogue import ApiKey
from portal.merchant_keys import key_hash, new_secret
from store.catalogue import find, find_api_key
from tests.people import MARTHA, STELLA
from tests.portal.conftest import words_of

PATH = "/merchant/keys"


def make(portal, name="Till server"):
    page = portal.post(PATH, {"name": name}, as_=MARTHA)
    return page, re.search(r"fsk_[\w-]{43}", page.text)


def test_a_key_is_shown_once_and_kept_as_a_hash(portal, sqlite_books):
    page, secret = make(portal)

    assert page.status_code == 201
    assert page.headers["cache-control"] == "no-store"
    with sqlite_books.reading() as connection:
        kept = find_api_key(connection, key_hash(secret[0]))
    assert (kept.tenant_id, kept.name) == ("north", "Till server")
    assert secret[0] not in str(kept)
    assert secret[0] not in portal.get(PATH, as_=MARTHA).text
    assert f"Till server {kept.key_id} Revoke" in words_of(portal.get(PATH, as_=MARTHA))


def test_a_key_needs_a_name(portal):
    page, secret = make(portal, " ")

    assert page.status_code == 422
    assert secret is None


def test_a_revoked_key_is_gone(portal, sqlite_books):
    _, secret = make(portal)
    with sqlite_books.reading() as connection:
        key_id = find_api_key(connection, key_hash(secret[0])).key_id

    assert portal.post(f"{PATH}/{key_id}/revoke", {}, as_=MARTHA).status_code == 303
    with sqlite_books.reading() as connection:
        assert find_api_key(connection, key_hash(secret[0])) is None
    assert portal.post(f"{PATH}/{key_id}/revoke", {}, as_=MARTHA).status_code == 404


def test_another_merchants_key_is_not_found_and_stays(portal, sqlite_books):
    assert portal.post(f"{PATH}/south-tests/revoke", {}, as_=MARTHA).status_code == 404
    with sqlite_books.reading() as connection:
        assert find(connection, ApiKey, "south-tests") is not None
    assert "south" not in portal.get(PATH, as_=MARTHA).text
    assert "south-tests" in portal.get(PATH, as_=STELLA).text


def test_keys_are_256_random_bits():
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(new_secret()) == len("fsk_") + 43
