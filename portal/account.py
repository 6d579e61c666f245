"""One's own sign-in: a new password, and the end of every other session."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import User
from core.clock import Instant
from core.scope import ROLES, Scope
from portal import passwords, sessions
from portal.forms import Form, read_form
from portal.page import page, redirect, run
from store.books import Books
from store.catalogue import put
from store.sessions import end_sessions_of

LEAST_PASSWORD_CHARS = 12


@sessions.role(*ROLES)
async def account(request: Request, scope: Scope) -> Response:
    """GET /account."""
    return page(request, scope, "account.html", form=Form())


@sessions.role(*ROLES)
async def change_password(request: Request, scope: Scope) -> Response:
    """POST /account: needs the old password, ends the user's other sessions."""
    form = await read_form(request)
    new = read_new_password(form, scope.user_id)
    if not form.faults:
        await sessions.confirm_password(request, form)
    if form.faults:
        return page(request, scope, "account.html", status=422, form=form)
    state, session = request.app.state, request.state.session
    changed = msgspec.structs.replace(session.user, password_hash=await passwords.make(new))
    await run(_write, state.books, changed, sessions.token_hash(session.secret), state.clock())
    return redirect("/account", "Your password was changed. You were signed out everywhere else.")


def read_new_password(form: Form, email: str) -> str:
    """Length, not letters of every kind, is what makes a password good (NIST SP 800-63B); faults are noted on the form."""
    new = form.raw("new_password")
    if len(new) < LEAST_PASSWORD_CHARS:
        form.fault("new_password", f"At least {LEAST_PASSWORD_CHARS} characters, please. Four random words make a good one.")
    elif len(new) > sessions.MOST_PASSWORD_CHARS:
        form.fault("new_password", f"At most {sessions.MOST_PASSWORD_CHARS} characters.")
    elif new.casefold() in (email.casefold(), email.casefold().partition("@")[0]) or len(set(new)) < 5:
        form.fault("new_password", "This would be guessed soon. Please choose another one.")
    elif new != form.raw("repeated"):
        form.fault("repeated", "This differs from the new password above.")
    return new


def _write(books: Books, user: User, this_session: str, at: Instant) -> None:
    with books.writing() as connection:
        put(connection, user, user.email, at)
        end_sessions_of(connection, user.email, but=this_session)


routes: list[BaseRoute] = [Route("/account", account, methods=["GET"]), Route("/account", change_password, methods=["POST"])]
