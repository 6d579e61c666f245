import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity import customer_key, is_junk, is_sha256, tenant_key

SECRET = b"0123456789abcdef0123456789abcdef"
NORTH = tenant_key(SECRET, "north")
SOUTH = tenant_key(SECRET, "south")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_key_has_the_kinds_prefix_and_128_bits():
    key = customer_key("email", "anna@blog.example", NORTH)

    assert key is not None
    prefix, _, digest = key.partition(":")
    assert prefix == "em"
    assert len(bytes.fromhex(digest)) == 16


def test_the_same_person_is_never_the_same_key_at_two_merchants():
    assert customer_key("email", "anna@blog.example", NORTH) != customer_key("email", "anna@blog.example", SOUTH)


def test_another_secret_gives_other_keys():
    assert tenant_key(SECRET, "north") != tenant_key(SECRET[::-1], "north")


@pytest.mark.parametrize(
    ("kind", "value", "hash_kind", "hashed"),
    [
        ("email", "  Anna@Blog.Example ", "email_sha256", sha256("anna@blog.example")),
        ("phone", "+49 (151) 123-4567", "phone_sha256", sha256("491511234567").upper()),
    ],
)
def test_a_value_and_its_hash_sent_by_another_channel_meet(kind, value, hash_kind, hashed):
    assert customer_key(kind, value, NORTH) == customer_key(hash_kind, hashed, NORTH)


def test_ids_of_different_kinds_never_meet():
    keys = [customer_key(kind, "12345", NORTH) or "" for kind in ("customer_id", "loyalty_id")]

    assert len(set(keys)) == 2
    assert len({key.partition(":")[2] for key in keys}) == 2, "not even behind their prefixes"


def test_ids_keep_their_letter_case():
    assert customer_key("customer_id", "Ab1", NORTH) != customer_key("customer_id", "ab1", NORTH)
    assert customer_key("loyalty_id", " L-1 ", NORTH) == customer_key("loyalty_id", "L-1", NORTH)


@pytest.mark.parametrize("value", ["", " ", "0", "000-000", "-1", "NULL", "None", "undefined", "Anonymous", "n/a", "NA", "guest", "0.0"])
def test_values_that_mean_nobody_join_nobody(value):
    assert is_junk(value)
    assert customer_key("customer_id", value, NORTH) is None


@pytest.mark.parametrize("value", ["100", "guest-7", "10-00", "nullius", "anna@guest.example"])
def test_values_that_only_look_like_nobody_are_kept(value):
    assert not is_junk(value)


@given(st.text(min_size=1, max_size=30).filter(lambda text: not is_junk(text)))
def test_no_key_shows_the_value_it_stands_for(value):
    key = customer_key("customer_id", value, NORTH)

    assert key is not None
    assert key == customer_key("customer_id", value, NORTH)
    assert len(key) == len("cid:") + 32


@pytest.mark.parametrize(("text", "said"), [("a" * 64, True), ("A" * 64, True), ("a" * 63, False), ("g" * 64, False), ("", False)])
def test_hashes_are_recognised(text, said):
    assert is_sha256(text) is said
