"""Signing in, staying in, signing out; and that nobody posts in another's name."""

import re
import time
from hashlib import sha256

import httpx
import msgspec
import pytest
from sqlalchemy import select

from core.clock import HOUR, MINUTE, SECOND
from core.settings import Settings
from portal import passwords
from portal.app import create_app
from portal.sessions import Tries, csrf_token, local_path
from store.catalogue import find_user, put
from store.schema import sessions
from tests.people import ANNA, BEN, MARTHA

PASSWORD = "correct horse battery"
HASH = passwords.hash_password(PASSWORD)
FORM = "secret-of-the-form"


@pytest.fixture
def martha(portal, world):
    """Martha with a password."""
    with world.books.writing() as connection:
        user = find_user(connection, MARTHA.user_id)
        put(connection, msgspec.structs.replace(user, password_hash=HASH), "tests", world.clock())
    return portal


def sign_in(portal, email=MARTHA.user_id, password=PASSWORD, **more) -> httpx.Response:
    fields = {"csrf": csrf_token(FORM), "email": email, "password": password} | more
    return portal.send("POST", "/sign-in", data=fields, cookies={"fs_form": FORM})


def cookie(answer: httpx.Response) -> str:
    return re.search(r"fs_session=([^;]+)", answer.headers["set-cookie"])[1]


def as_signed_in(portal, secret: str, path: str = "/merchant") -> httpx.Response:
    return portal.send("GET", path, cookies={"fs_session": secret})


def test_the_right_password_opens_the_page_of_ones_role(martha):
    answer = sign_in(martha)

    assert (answer.status_code, answer.headers["location"]) == (303, "/merchant")
    assert as_signed_in(martha, cookie(answer)).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(martha):
    attributes = sign_in(martha).headers["set-cookie"].lower()

    assert "httponly" in attributes
    assert "samesite=lax" in attributes
    assert "path=/" in attributes
    assert "max-age=604800" in attributes


def test_over_https_the_cookie_is_bound_to_this_host(martha, world, runner):
    app = create_app(Settings(portal_url="https://portal.example"), world.books, world.events, world.clock)
    secured = type(martha)(app, runner, "https://portal.example")
    fields = {"csrf": csrf_token(FORM), "email": MARTHA.user_id, "password": PASSWORD}
    set_cookie = secured.send("POST", "/sign-in", data=fields, cookies={"__Host-fs_form": FORM}).headers["set-cookie"]

    assert set_cookie.startswith("__Host-fs_session=")
    assert "Secure" in set_cookie
    assert "Domain" not in set_cookie


def test_the_books_keep_only_a_hash_of_the_token(martha, world):
    secret = cookie(sign_in(martha))

    with world.books.reading() as connection:
        kept = set(connection.scalars(select(sessions.c.token_hash)))
    assert sha256(secret.encode()).hexdigest() in kept
    assert secret not in kept
    assert len(secret) >= 43, "256 bits in base64"


@pytest.mark.parametrize("email", [MARTHA.user_id, "nobody@north.example"])
def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(martha, email):
    answer = sign_in(martha, email, "wrong")

    assert answer.status_code == 422
    assert "E-mail and password do not fit together." in answer.text
    assert "fs_session" not in answer.headers.get("set-cookie", "")


def test_an_unknown_address_takes_as_long_as_a_known_one():
    def cheapest(password_hash: str) -> float:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            assert not passwords.matches(password_hash, "wrong")
            times.append(time.perf_counter() - began)
        return min(times)

    assert cheapest("") > 0.5 * cheapest(HASH)


def test_an_empty_hash_is_no_password():
    assert not passwords.matches("", "the password of nobody")
    assert not passwords.matches("not a hash", "x")
    assert passwords.matches(HASH, PASSWORD)


def test_after_five_tries_in_a_minute_an_account_waits_even_with_the_right_password(martha, clock):
    assert [sign_in(martha, password="wrong").status_code for _ in range(5)] == [422] * 5

    refused = sign_in(martha)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert "Too many tries. Please wait 60 seconds and try again." in refused.text

    clock.advance(MINUTE)
    assert sign_in(martha).status_code == 303


def test_an_address_gets_twenty_tries_a_minute_over_all_accounts(martha, clock):
    statuses = [sign_in(martha, f"guess{i}@north.example", "x").status_code for i in range(21)]

    assert statuses == [422] * 20 + [429]
    clock.advance(MINUTE)
    assert sign_in(martha, "guess@north.example", "x").status_code == 422


def test_people_who_sign_in_do_not_use_up_the_tries_of_their_address(martha):
    assert {sign_in(martha).status_code for _ in range(22)} == {303}


def test_tries_forget_keys_that_nobody_used_for_a_minute():
    tries = Tries(most_keys=100)
    for i in range(500):
        tries.wait_ms(f"key {i}", 5, at=i * SECOND)

    assert len(tries._times) <= 101


def test_signing_in_ends_the_session_that_was_there_before(martha):
    before = cookie(sign_in(martha))
    fields = {"csrf": csrf_token(FORM), "email": MARTHA.user_id, "password": PASSWORD}
    after = cookie(martha.send("POST", "/sign-in", data=fields, cookies={"fs_form": FORM, "fs_session": before}))

    assert after != before
    assert as_signed_in(martha, before).status_code == 303
    assert as_signed_in(martha, after).status_code == 200


def test_a_session_ends_after_twelve_idle_hours(martha, clock):
    secret = cookie(sign_in(martha))
    clock.advance(12 * HOUR - 1)
    assert as_signed_in(martha, secret).status_code == 200

    clock.advance(12 * HOUR)
    assert as_signed_in(martha, secret).headers["location"].startswith("/sign-in")


def test_a_session_ends_after_seven_days_however_busy(martha, clock):
    secret = cookie(sign_in(martha))
    for _ in range(15):
        clock.advance(11 * HOUR)
        assert as_signed_in(martha, secret).status_code == 200
    clock.advance(3 * HOUR)

    assert as_signed_in(martha, secret).status_code == 303


def test_signing_out_ends_the_session_on_the_server(martha):
    secret = cookie(sign_in(martha))
    out = martha.send("POST", "/sign-out", data={"csrf": csrf_token(secret)}, cookies={"fs_session": secret})

    assert out.headers["location"] == "/sign-in"
    assert as_signed_in(martha, secret).status_code == 303


def test_a_disabled_user_is_out_at_once_and_does_not_get_in(martha, world):
    secret = cookie(sign_in(martha))
    with world.books.writing() as connection:
        user = find_user(connection, MARTHA.user_id)
        put(connection, msgspec.structs.replace(user, disabled=True), "tests", world.clock())

    assert as_signed_in(martha, secret).status_code == 303
    assert sign_in(martha).status_code == 422


def test_a_stolen_books_row_signs_nobody_in(martha, world):
    hashed = sha256(cookie(sign_in(martha)).encode()).hexdigest()

    assert as_signed_in(martha, hashed).status_code == 303


@pytest.mark.parametrize("token", [{}, {"csrf": ""}, {"csrf": "x"}, {"csrf": csrf_token("secret-of-ben@deals.example")}, {"csrf": "é"}])
def test_a_post_without_the_sessions_own_token_is_refused_and_does_nothing(portal, token):
    refused = portal.send("POST", "/sign-out", data=token, cookies={"fs_session": "secret-of-anna@blog.example"})

    assert refused.status_code == 403
    assert portal.get("/affiliate", as_=ANNA).status_code == 200


def test_nobody_can_be_signed_in_by_another_sites_form(martha):
    fields = {"csrf": csrf_token("guessed"), "email": MARTHA.user_id, "password": PASSWORD}

    assert martha.send("POST", "/sign-in", data=fields).status_code == 403
    assert martha.send("POST", "/sign-in", data=fields, cookies={"fs_form": FORM}).status_code == 403


def test_who_asked_for_a_page_gets_it_after_signing_in(martha):
    asked = martha.get("/merchant/orders?result=credited")
    assert asked.headers["location"] == "/sign-in?next=/merchant/orders%3Fresult%3Dcredited"

    form = martha.get(asked.headers["location"]).text
    assert 'name="next" value="/merchant/orders?result=credited"' in form
    assert sign_in(martha, next="/merchant/orders?result=credited").headers["location"] == "/merchant/orders?result=credited"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "\\/evil", "evil", "/a\r\nX: y", "/a\\b"]
)
def test_what_leads_off_the_site_is_no_way_to_go_on(target):
    assert local_path(target) == ""


def test_the_way_after_signing_in_never_leaves_the_site(martha):
    assert sign_in(martha, next="//evil.example/").headers["location"] == "/merchant"


def test_a_new_password_needs_the_old_one_and_signs_out_everywhere_else(martha):
    here, elsewhere = cookie(sign_in(martha)), cookie(sign_in(martha))

    def change(old: str, new: str, again: str) -> httpx.Response:
        fields = {"csrf": csrf_token(here), "password": old, "new_password": new, "repeated": again}
        return martha.send("POST", "/account", data=fields, cookies={"fs_session": here})

    assert "This is not your password." in change("wrong", "purple tractor sings", "purple tractor sings").text
    assert "At least 12 characters" in change(PASSWORD, "short", "short").text
    assert "This differs" in change(PASSWORD, "purple tractor sings", "purple tractor sinks").text
    assert change(PASSWORD, "purple tractor sings", "purple tractor sings").status_code == 303
    assert as_signed_in(martha, here).status_code == 200
    assert as_signed_in(martha, elsewhere).status_code == 303
    assert sign_in(martha, password="purple tractor sings").status_code == 303
    assert sign_in(martha).status_code == 422


def test_the_page_says_who_is_signed_in(portal):
    assert "Anna&#39;s Blog" in portal.get("/affiliate", as_=ANNA).text
    assert "Ben Deals" in portal.get("/affiliate", as_=BEN).text
