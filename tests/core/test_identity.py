import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity import coalition_key, customer_key, is_customer_key, is_junk, is_sha256, shared_key, tenant_key

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


def test_a_devices_id_is_one_in_any_letter_case_and_a_cards_token_is_not():
    assert customer_key("device", "38400000-8CF0-11BD", NORTH) == customer_key("device", " 38400000-8cf0-11bd", NORTH)
    assert customer_key("card_token", "tok_Ab", NORTH) != customer_key("card_token", "tok_ab", NORTH)
    assert [str(customer_key(kind, "Ab1", NORTH)).partition(":")[0] for kind in ("device", "card_token")] == ["dev", "card"]


def test_a_device_that_will_not_be_tracked_is_nobodys():
    assert customer_key("device", "00000000-0000-0000-0000-000000000000", NORTH) is None


FAIR = coalition_key(SECRET, "fair")


def test_a_stored_key_is_told_from_anything_else() -> None:
    own, shared = customer_key("email", "a@b.example", NORTH), shared_key("email", "a@b.example", "fair", FAIR)

    assert own is not None
    assert shared is not None
    assert is_customer_key(own)
    assert is_customer_key(shared)
    for text in (
        "em:a@b.example",
        own.upper(),
        own + "0",
        own[3:],
        "v:" + own[3:],
        shared.replace("fair", ""),
        shared.replace("em", "cid"),
    ):
        assert not is_customer_key(text)


def test_a_coalition_has_a_key_of_its_own_for_what_means_the_same_everywhere():
    shared = shared_key("email", "Anna@Blog.Example", "fair", FAIR)

    assert shared is not None
    assert shared.startswith("x:fair:em:")
    assert shared == shared_key("email_sha256", sha256("anna@blog.example"), "fair", FAIR)
    assert shared.removeprefix("x:fair:") not in (customer_key("email", "anna@blog.example", key) for key in (NORTH, SOUTH))
    assert (
        shared.partition("em:")[2]
        != str(shared_key("email", "anna@blog.example", "foul", coalition_key(SECRET, "foul"))).partition("em:")[2]
    )


def test_a_tenant_and_a_coalition_of_one_name_have_nothing_in_common():
    assert coalition_key(SECRET, "north") != NORTH


@pytest.mark.parametrize(("kind", "value"), [("customer_id", "1001"), ("loyalty_id", "1001"), ("email", "null"), ("device", "0000-0000")])
def test_numbers_that_each_merchant_gives_are_never_shared(kind, value):
    assert shared_key(kind, value, "fair", FAIR) is None
