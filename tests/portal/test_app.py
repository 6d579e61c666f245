"""The site as a whole: headers, errors, the way in."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import BadInput, Conflict, NotAllowed, Unavailable
from core.settings import Settings
from portal.app import create_app, site_routes
from tests.people import ADA, ANNA, FRANK, MARTHA

PEOPLE = {"affiliate": ANNA, "merchant": MARTHA, "finance": FRANK, "analyst": ADA}


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


def test_every_page_is_one_that_works_without_scripts_and_says_what_it_is(portal):
    """One heading, a title of its own, a label for every field, a CSRF token in every form that changes something."""
    for route in site_routes():
        if isinstance(route, Route) and "GET" in route.methods and not route.param_convertors:
            for role in getattr(route.endpoint, "roles", ()):
                answer = portal.get(route.path, as_=PEOPLE[role])
                if answer.headers["content-type"].startswith("text/html"):
                    assert not list(faults_of(answer.text)), route.path


def faults_of(html: str) -> Iterator[str]:
    if " style=" in html or re.search(r"<script(?! src=)|\son[a-z]+=", html):
        yield "a style or script of its own, which the content security policy drops"
    if len(re.findall(r"<h1[ >]", html)) != 1:
        yield "not exactly one main heading"
    if re.search(r"<title>\s*·", html):
        yield "no title"
    for form in re.findall(r'<form[^>]*method="post".*?</form>', html, re.DOTALL):
        if 'name="csrf" value="' not in form:
            yield f"no CSRF token: {form[:80]}"
    ids = re.findall(r'<(?:input|select|textarea)\b(?![^>]*type="(?:hidden|checkbox|radio)")[^>]*?\bid="([^"]+)"', html)
    for id_ in ids:
        if f'for="{id_}"' not in html:
            yield f"a field without a label: {id_}"
    if re.search(r'<(?:input|select|textarea)\b(?![^>]*type="(?:hidden|checkbox|radio)")(?![^>]*\bid=)(?![^>]*aria-label)', html):
        yield "a field that no label can name"


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
