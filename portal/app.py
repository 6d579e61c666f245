"""Puts the site together: pages, errors, headers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope as AsgiScope

from core.clock import Clock
from core.errors import BadInput, Conflict, FairshareError, NotAllowed, NotFound, Unavailable
from core.scope import Role
from core.settings import Settings
from portal import account, affiliate, analyst, api, conservation, finance, merchant, orders, sessions
from portal.headers import YEAR_S, SecurityHeaders, secure
from portal.page import page
from portal.workshop import Workshop
from store.books import Books
from store.events import EventsStore

MOST_BODY_BYTES = 1_000_000
"""The longest form: a rate card of some hundred rules stays far below."""

NAVIGATION: Mapping[Role, tuple[tuple[str, str], ...]] = {
    "affiliate": affiliate.navigation,
    "merchant": merchant.navigation,
    "finance": finance.navigation,
    "analyst": analyst.navigation,
}
STATUS: Mapping[type[FairshareError], int] = {BadInput: 422, Conflict: 409, NotAllowed: 403, NotFound: 404, Unavailable: 503}
CODES = {404: "not_found", 405: "method_not_allowed", 409: "conflict", 413: "too_large", 422: "malformed", 503: "unavailable"}
ADVICE = {
    403: ("Not allowed", "You are signed in, but this is not yours to do."),
    404: ("Not found", "There is nothing at this address, or it is not yours to see."),
    405: ("Not possible", "This address does not take what was sent to it."),
    409: ("Already taken", "Something else already has this name."),
    413: ("Too large", "What was sent is larger than this site takes."),
    422: ("Not understood", "What was sent cannot be used as it is."),
    500: ("A fault on our side", "The fault was written down. Please try again in a moment."),
    503: ("Please try again in a moment", "A part of the system does not answer now. Nothing was lost and nothing was changed."),
}
log = structlog.get_logger("portal")


class StaticForEver(StaticFiles):
    """Files whose address holds their digest (:func:`portal.page.static`): browsers need never ask again."""

    def file_response(self, full_path: object, stat_result: object, scope: AsgiScope, status_code: int = 200) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        return response


def create_app(settings: Settings, books: Books, events: EventsStore, clock: Clock) -> Starlette:
    """The portal as an ASGI application over open stores. It opens nothing; long work that its pages start ends with it."""
    https = settings.portal.startswith("https://")
    workshop = Workshop()
    app = Starlette(
        lifespan=partial(_open, workshop),
        routes=site_routes(),
        middleware=[Middleware(SecurityHeaders, https=https)],
        exception_handlers={HTTPException: http_error, FairshareError: refusal, Exception: fault},
        max_body_size=MOST_BODY_BYTES,
    )
    app.state.settings, app.state.books, app.state.events, app.state.clock = settings, books, events, clock
    app.state.tries = sessions.Tries()
    app.state.counts = conservation.Counts(settings, events, clock)
    app.state.navigation = NAVIGATION
    app.state.workshop = workshop
    return app


@asynccontextmanager
async def _open(workshop: Workshop, _app: Starlette) -> AsyncIterator[None]:
    yield
    await run_in_threadpool(workshop.close)


def site_routes() -> list[BaseRoute]:
    """Every address of the site. A test walks this list with each role."""
    return [
        Route("/", start),
        Route("/health", health),
        *sessions.routes,
        *account.routes,
        *affiliate.routes,
        *merchant.routes,
        *finance.routes,
        *analyst.routes,
        *orders.routes,
        *conservation.routes,
        *api.routes,
        Mount("/static", StaticForEver(directory=Path(__file__).parent / "static"), name="static"),
    ]


async def start(request: Request) -> Response:
    """GET /: the first page of the role, or the sign-in."""
    session = await sessions.current_session(request)
    return RedirectResponse(f"/{session.user.role}" if session else "/sign-in", 303)


async def health(_request: Request) -> Response:
    """GET /health: this process answers. Whether the stores do is the engine's business, on its own page."""
    return JSONResponse({"status": "ok"})


async def http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: no such page, wrong method, too large."""
    assert isinstance(error, HTTPException), "registered for HTTPException only"
    return error_answer(request, error.status_code, "", error.headers)


async def refusal(request: Request, error: Exception) -> Response:
    """What our own code refuses: the error's sentence is for people, except that a 404 never says why."""
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Unavailable) else None
    if status >= 500:
        log.warning("unavailable", path=request.url.path, error=str(error))
    return error_answer(request, status, str(error) if status in (403, 409, 422) else "", headers)


async def fault(request: Request, error: Exception) -> Response:
    """A programming error. The server's own log gets the traceback; this answer is made outside the middleware."""
    log.error("fault", path=request.url.path, error=repr(error))
    response = error_answer(request, 500, "")
    secure(response.headers, https=request.app.state.settings.portal.startswith("https://"))
    return response


def error_answer(request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as JSON under ``/v1`` and as a page elsewhere."""
    title, advice = ADVICE.get(status, (HTTPStatus(status).phrase, ""))
    if request.url.path.startswith("/v1/"):
        response: Response = api.refuse(status, CODES.get(status, "refused"), detail or advice or title)
    else:
        scope = getattr(request.state, "scope", None)
        response = page(request, scope, "error.html", status=status, title=title, advice=advice, detail=detail)
    response.headers.update(headers or {})
    return response
