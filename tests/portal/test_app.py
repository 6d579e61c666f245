"""The site as a whole: headers, errors, the way in."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadInput, Conflict, NotAllowed, Unavailable
from core.settings import Settings
from portal.app import create_app
from tests.people import ANNA, MARTHA


def test_health_answers_as_json(portal):
    answer = portal.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/sign-in", "/health", "/nowhere", "/static/site.css"])
def test_every_answer_carries_the_security_headers(portal, path):
    headers = portal.get(path).headers

    assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data:; object-src 'none'")
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "strict-transport-security" not in headers


def test_over_https_browsers_are_told_to_stay_there(sqlite_books, events, clock, runner, portal):
    app = create_app(Settings(portal_url="https://portal.example"), sqlite_books, events, clock)
    secured = type(portal)(app, runner, "https://portal.example")

    assert secured.get("/health").headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert "__Host-fs_form" in secured.get("/sign-in").headers["set-cookie"]


def test_pages_are_kept_by_no_cache_and_files_for_ever(portal):
    assert portal.get("/sign-in").headers["cache-control"] == "no-store"
    assert "immutable" in portal.get("/static/site.css").headers["cache-control"]


def test_the_start_page_leads_to_the_page_of_ones_role_or_to_the_sign_in(portal):
    assert portal.get("/").headers["location"] == "/sign-in"
    assert portal.get("/", as_=MARTHA).headers["location"] == "/merchant"
    assert portal.get("/", as_=ANNA).headers["location"] == "/affiliate"


def test_no_page_has_a_style_or_script_of_its_own(portal):
    """The content security policy would drop them, and the page would look right only to who wrote it."""
    text = portal.get("/sign-in").text

    assert " style=" not in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (BadInput("malformed", "the date is no date"), 422, "the date is no date"),
        (Conflict("link spring exists already"), 409, "link spring exists already"),
        (NotAllowed("frank prepared it"), 403, "frank prepared it"),
        (Unavailable("the books cannot be used now: disk full", 7), 503, "Nothing was lost"),
        (RuntimeError("secret detail"), 500, "A fault on our side"),
    ],
)
def test_errors_are_pages_that_say_what_happened(portal, error, status, says):
    with_fault(portal.app, "/fault", error)

    answer = portal.get("/fault")

    assert answer.status_code == status
    assert says in answer.text
    assert "secret detail" not in answer.text
    assert "disk full" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_errors_of_the_api_are_json(portal):
    with_fault(portal.app, "/v1/fault", Unavailable("the books cannot be used now: disk full", 7))

    answer = portal.get("/v1/fault")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.json()["error"]["code"] == "unavailable"
    assert "disk full" not in answer.text


def test_a_body_larger_than_any_form_is_refused(portal):
    assert portal.send("POST", "/sign-in", content=b"a=" + b"x" * 1_100_000).status_code == 413


def with_fault(app: Starlette, path: str, error: Exception) -> None:
    async def broken(_request: Request) -> Response:
        await asyncio.sleep(0)
        raise error

    app.router.add_route(path, broken)
