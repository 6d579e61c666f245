"""Coupons: whom they credit, from when to when."""

import msgspec
import pytest

from core.catalogue import Coupon
from core.clock import DAY, HOUR
from portal.merchant_coupons import validity
from store.catalogue import find, put
from tests.fakes import NOON
from tests.people import MARTHA, STELLA
from tests.portal.conftest import words_of

PATH = "/merchant/coupons"
NEW = {"code": "anna-10", "affiliate_id": "anna", "programme_id": "main", "valid_from": "", "valid_to": ""}


def coupon(books, code, tenant="north"):
    with books.reading() as connection:
        return find(connection, Coupon, tenant, code)


def keep(books, record):
    with books.writing() as connection:
        put(connection, record, "tests", NOON)


def test_a_coupon_is_added_in_upper_case(portal, sqlite_books):
    answer = portal.post(PATH, NEW | {"valid_from": "2026-11-22T00:00", "valid_to": "2026-12-24T00:00"}, as_=MARTHA)

    assert answer.status_code == 303
    assert coupon(sqlite_books, "ANNA-10") == Coupon("north", "ANNA-10", "main", "anna", NOON + 12 * HOUR, NOON + 32 * DAY + 12 * HOUR)
    assert "ANNA-10 Anna's Blog North affiliates Planned 22 Nov 2026, 00:00 24 Dec 2026, 00:00 End now" in words_of(
        portal.get(PATH, as_=MARTHA)
    )


def test_an_exclusive_code_says_so(portal, sqlite_books):
    portal.post(PATH, NEW | {"exclusive": "yes"}, as_=MARTHA)

    assert coupon(sqlite_books, "ANNA-10").exclusive
    assert not coupon(sqlite_books, "BEN10").exclusive
    page = words_of(portal.get(PATH, as_=MARTHA))
    assert "ANNA-10 Exclusive Anna's Blog" in page
    assert "BEN10 Ben Deals" in page


def test_a_coupon_has_a_class_and_may_get_another(portal, sqlite_books):
    portal.post(PATH, NEW | {"coupon_class": "influencer"}, as_=MARTHA)
    assert coupon(sqlite_books, "ANNA-10").coupon_class == "influencer"

    before = coupon(sqlite_books, "BEN10")
    assert portal.post(f"{PATH}/class", {"code": "BEN10", "coupon_class": "cashback"}, as_=MARTHA).status_code == 303
    assert coupon(sqlite_books, "BEN10") == msgspec.structs.replace(before, coupon_class="cashback")
    assert "BEN10 cashback Ben Deals" in words_of(portal.get(PATH, as_=MARTHA))

    portal.post(f"{PATH}/class", {"code": "BEN10", "coupon_class": "x" * 65}, as_=MARTHA)
    assert coupon(sqlite_books, "BEN10").coupon_class == "cashback"
    assert portal.post(f"{PATH}/class", {"code": "CHARLIE5", "coupon_class": "a"}, as_=MARTHA).status_code == 404


def test_every_fault_at_once(portal, sqlite_books):
    bad = {
        "code": "ten off",
        "affiliate_id": "charlie",
        "programme_id": "collectors",
        "valid_from": "2026-12-24T00:00",
        "valid_to": "2026-12-24T00:00",
    }
    page = portal.post(PATH, bad, as_=MARTHA)

    assert page.status_code == 422
    for field in ("code", "affiliate_id", "programme_id", "valid_to"):
        assert f'id="{field}-fault"' in page.text, field
    assert 'value="ten off"' in page.text


def test_a_code_that_is_taken_is_a_fault_in_any_letter_case(portal, sqlite_books):
    page = portal.post(PATH, NEW | {"code": "ben10"}, as_=MARTHA)

    assert page.status_code == 422
    assert coupon(sqlite_books, "BEN10").affiliate_id == "ben"


def test_the_same_code_may_exist_with_two_merchants(portal, sqlite_books):
    assert portal.post(PATH, NEW | {"code": "CHARLIE5"}, as_=MARTHA).status_code == 303
    assert coupon(sqlite_books, "CHARLIE5", "south").affiliate_id == "charlie"


def test_the_owner_must_be_approved_in_the_programme(portal):
    portal.post("/merchant/affiliates", {"programme_id": "main", "affiliate_id": "anna", "action": "suspend"}, as_=MARTHA)
    page = portal.post(PATH, NEW, as_=MARTHA)

    assert page.status_code == 422
    assert "This affiliate is not approved in the programme" in words_of(page)


def test_ending_a_coupon_keeps_what_it_credited_before(portal, sqlite_books):
    assert portal.post(f"{PATH}/end", {"code": "BEN10"}, as_=MARTHA).status_code == 303
    ended = coupon(sqlite_books, "BEN10")

    assert ended.valid_to == NOON
    assert ended.valid_at(NOON - 1)
    assert not ended.valid_at(NOON)


def test_ending_twice_keeps_the_first_end(portal, sqlite_books, clock):
    portal.post(f"{PATH}/end", {"code": "BEN10"}, as_=MARTHA)
    clock.advance(HOUR)
    assert portal.post(f"{PATH}/end", {"code": "BEN10"}, as_=MARTHA).headers["location"] == PATH

    assert coupon(sqlite_books, "BEN10").valid_to == NOON


def test_a_coupon_that_never_began_is_removed(portal, sqlite_books):
    keep(sqlite_books, Coupon("north", "SOON", "main", "anna", NOON + DAY))
    portal.post(f"{PATH}/end", {"code": "SOON"}, as_=MARTHA)

    assert coupon(sqlite_books, "SOON") is None


def test_another_merchants_coupon_is_not_found_and_stays(portal, sqlite_books):
    assert portal.post(f"{PATH}/end", {"code": "BEN10"}, as_=STELLA).status_code == 404
    assert coupon(sqlite_books, "BEN10").valid_to is None


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "state"),
    [(None, None, "valid"), (NOON, None, "valid"), (NOON + 1, None, "planned"), (None, NOON, "ended"), (None, NOON + 1, "valid")],
)
def test_the_first_millisecond_belongs_to_a_coupon_and_the_last_does_not(valid_from, valid_to, state):
    assert validity(Coupon("north", "X", "main", "anna", valid_from, valid_to), NOON) == state
