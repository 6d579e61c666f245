"""Who is asking: sign-in, sign-out, and the decorator that gives a handler its scope.

The cookie holds 256 random bits; the books hold their SHA-256. The CSRF token of a session is derived from its secret,
so that it needs no place of its own and changes with every sign-in.
"""

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from functools import wraps
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.catalogue import User
from core.clock import DAY, HOUR, MINUTE, Instant
from core.errors import NotAllowed, NotFound
from core.scope import ROLES, Role, Scope
from portal import passwords
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from store.books import Books
from store.catalogue import find_user
from store.sessions import end_session, find_session, mark_seen, open_session, sweep_sessions

IDLE = 12 * HOUR
LONGEST = 7 * DAY
SEEN_EVERY = MINUTE
"""A session's last use is written at most once a minute: a page view should not cost a synced write."""

TRIES_PER_ACCOUNT = 5
TRIES_PER_ADDRESS = 20
MOST_PASSWORD_CHARS = 1024

Handler = Callable[[Request, Scope], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Session(msgspec.Struct, frozen=True):
    """A live session: the cookie's secret, the user, and the name of the shop or affiliate account the user works for."""

    secret: str
    user: User
    home: str

    @property
    def scope(self) -> Scope:
        return Scope(self.user.email, self.user.role, self.user.tenant_id, self.user.affiliate_id)


class Tries:
    """Sign-in tries of the last minute by account and address. In this process only: a restart forgives."""

    def __init__(self, most_keys: int = 10_000) -> None:
        self._times: dict[str, deque[Instant]] = {}
        self._most_keys = most_keys

    def wait_ms(self, key: str, limit: int, at: Instant) -> int:
        """Note a try at ``at`` and return 0; or, after ``limit`` tries within a minute, how long until the next is taken."""
        times = self._times.setdefault(key, deque())
        while times and times[0] <= at - MINUTE:
            times.popleft()
        if len(times) >= limit:
            return times[0] + MINUTE - at
        times.append(at)
        if len(self._times) > self._most_keys:
            self._times = {key: times for key, times in self._times.items() if times and times[-1] > at - MINUTE}
        return 0

    def forgive(self, key: str) -> None:
        """The right password came: earlier slips do not count."""
        self._times.pop(key, None)

    def take_back(self, key: str) -> None:
        """The last try does not count: many people behind one address may sign in, but not guess."""
        if times := self._times.get(key):
            times.pop()


def role(*roles: Role) -> Callable[[Handler], Endpoint]:
    """Only for people signed in with one of ``roles``: others get 404, and who is not signed in is sent to do so.

    A POST must carry the session's CSRF token in its form (field ``csrf``).
    """

    def decorate(handler: Handler) -> Endpoint:
        @wraps(handler)
        async def endpoint(request: Request) -> Response:
            session = await current_session(request)
            if session is None:
                return RedirectResponse(f"/sign-in?next={quote(_asked_for(request))}", 303)
            if session.user.role not in roles:
                raise NotFound("no such page")
            if request.method not in ("GET", "HEAD"):
                check_csrf(session.secret, await read_form(request))
            return await handler(request, session.scope)

        endpoint.roles = roles  # type: ignore[attr-defined]
        return endpoint

    return decorate


async def current_session(request: Request) -> Session | None:
    """The session of the request's cookie, or None; also leaves it on ``request.state`` for the page."""
    secret = request.cookies.get(cookie_name(request, "session"), "")
    state = request.app.state
    session = await run(_read_session, state.books, secret, state.clock()) if secret else None
    if session:
        request.state.session = session
        request.state.scope = session.scope
        request.state.csrf = csrf_token(session.secret)
    return session


def csrf_token(secret: str) -> str:
    """The token that forms of a session carry; it tells nothing about the secret."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def check_csrf(secret: str, form: Form) -> None:
    """Raises NotAllowed unless the form was made for this secret."""
    if not hmac.compare_digest(csrf_token(secret).encode(), form.raw("csrf").encode()):
        raise NotAllowed("this form was made for another session; go back, load the page again and repeat what you did")


def cookie_name(request: Request, name: str) -> str:
    """``fs_session``; over https with the ``__Host-`` prefix, which no sub-domain can overwrite."""
    return f"__Host-fs_{name}" if _is_https(request) else f"fs_{name}"


async def show_sign_in(request: Request) -> Response:
    """GET /sign-in."""
    session = await current_session(request)
    if session:
        return redirect(f"/{session.user.role}")
    return _sign_in_page(request, Form.of(next=request.query_params.get("next", "")))


async def sign_in(request: Request) -> Response:
    """POST /sign-in: begin a new session, never continue an old one. 422 for a wrong pair, 429 after too many tries."""
    form = await read_form(request)
    form_secret = request.cookies.get(cookie_name(request, "form"), "")
    if not form_secret or not hmac.compare_digest(csrf_token(form_secret).encode(), form.raw("csrf").encode()):
        form.fault("", "The form had expired. Please sign in again; your browser must accept cookies of this site.")
        return _sign_in_page(request, form, 403)
    email, password = form.text("email").lower(), form.raw("password")[:MOST_PASSWORD_CHARS]
    if not password:
        form.fault("password", "Please fill this in.")
    if form.faults:
        return _sign_in_page(request, form, 422)
    wait_ms = _wait_ms(request, email)
    if wait_ms:
        return _too_many_tries(request, form, wait_ms)

    state = request.app.state
    user = await run(_read_user, state.books, email)
    fits = await passwords.check(user.password_hash if user else "", password)
    if user is None or not fits or user.disabled:
        form.fault("", "E-mail and password do not fit together.")
        return _sign_in_page(request, form, 422)

    _forgive(request, email)
    secret = secrets.token_urlsafe(32)
    await run(_begin, state.books, secret, request.cookies.get(cookie_name(request, "session"), ""), user.email, state.clock())
    response = redirect(local_path(form.raw("next")) or f"/{user.role}")
    _set_cookie(request, response, "session", secret, LONGEST // 1000)
    return response


@role(*ROLES)
async def sign_out(request: Request, _scope: Scope) -> Response:
    """POST /sign-out: the session ends on the server, not only in the browser."""
    await run(_end, request.app.state.books, request.state.session.secret)
    response = redirect("/sign-in")
    response.delete_cookie(cookie_name(request, "session"), path="/", secure=_is_https(request), httponly=True, samesite="lax")
    return response


async def confirm_password(request: Request, form: Form) -> None:
    """Note a fault unless the form's ``password`` is the signed-in user's own. Counts as a sign-in try."""
    user: User = request.state.session.user
    password = form.raw("password")[:MOST_PASSWORD_CHARS]
    if not password:
        form.fault("password", "Please give your password once more: this is a change that matters.")
        return
    wait_ms = _wait_ms(request, user.email)
    if wait_ms:
        form.fault("password", f"Too many tries. Please wait {-(-wait_ms // 1000)} seconds and try again.")
    elif await passwords.check(user.password_hash, password):
        _forgive(request, user.email)
    else:
        form.fault("password", "This is not your password.")


def local_path(text: str) -> str:
    """A path on this site that is safe to redirect to, or empty."""
    safe = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if safe and len(text) <= 2048 else ""


def token_hash(secret: str) -> str:
    """What the books keep of a session's secret. It is random, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _asked_for(request: Request) -> str:
    """Where to go after sign-in: the page asked for; a form that was sent is lost."""
    return f"{request.url.path}?{request.url.query}".rstrip("?") if request.method == "GET" else ""


def _is_https(request: Request) -> bool:
    return bool(request.app.state.settings.portal.startswith("https://"))


def _set_cookie(request: Request, response: Response, name: str, value: str, max_age_s: int | None) -> None:
    response.set_cookie(
        cookie_name(request, name), value, max_age=max_age_s, path="/", secure=_is_https(request), httponly=True, samesite="lax"
    )


def _sign_in_page(request: Request, form: Form, status: int = 200) -> Response:
    """The form carries a token derived from a cookie of its own, so that nobody can sign a stranger in to his account."""
    secret = request.cookies.get(cookie_name(request, "form"), "") or secrets.token_urlsafe(32)
    request.state.csrf = csrf_token(secret)
    response = page(request, None, "sign_in.html", status=status, form=form)
    _set_cookie(request, response, "form", secret, None)
    return response


def _wait_ms(request: Request, email: str) -> int:
    tries: Tries = request.app.state.tries
    at = request.app.state.clock()
    by_address = tries.wait_ms(_address(request), TRIES_PER_ADDRESS, at)
    return by_address or tries.wait_ms(f"account {email}", TRIES_PER_ACCOUNT, at)


def _forgive(request: Request, email: str) -> None:
    tries: Tries = request.app.state.tries
    tries.forgive(f"account {email}")
    tries.take_back(_address(request))


def _address(request: Request) -> str:
    return f"address {request.client.host if request.client else 'unknown'}"


def _too_many_tries(request: Request, form: Form, wait_ms: int) -> Response:
    seconds = -(-wait_ms // 1000)
    form.fault("", f"Too many tries. Please wait {seconds} seconds and try again.")
    response = _sign_in_page(request, form, 429)
    response.headers["Retry-After"] = str(seconds)
    return response


def _read_user(books: Books, email: str) -> User | None:
    with books.reading() as connection:
        return find_user(connection, email)


def _read_session(books: Books, secret: str, at: Instant) -> Session | None:
    hashed = token_hash(secret)
    with books.reading() as connection:
        found = find_session(connection, hashed, created_after=at - LONGEST, seen_after=at - IDLE)
    if found is None:
        return None
    if found.seen_at <= at - SEEN_EVERY:
        with books.writing() as connection:
            mark_seen(connection, hashed, at)
    return Session(secret, found.user, found.home)


def _begin(books: Books, secret: str, old_secret: str, email: str, at: Instant) -> None:
    with books.writing() as connection:
        end_session(connection, token_hash(old_secret))
        sweep_sessions(connection, created_before=at - LONGEST)
        open_session(connection, token_hash(secret), email, at)


def _end(books: Books, secret: str) -> None:
    with books.writing() as connection:
        end_session(connection, token_hash(secret))


routes = [
    Route("/sign-in", show_sign_in, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]
