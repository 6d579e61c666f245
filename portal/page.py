"""How a page is made: facts in, HTML out. Templates arrange; they never calculate."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool as run
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from core.scope import Scope
from portal import words

__all__ = ["TEMPLATES", "page", "redirect", "run"]

HERE = Path(__file__).parent
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
NOTICE = "fs_notice"
ROLE_NAMES = {"affiliate": "Affiliate", "merchant": "Merchant", "finance": "Finance", "analyst": "Analyst"}


@cache
def static(name: str) -> str:
    """The address of a file in ``static/``, with its digest, so that browsers may keep it for ever."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


TEMPLATES.filters |= {
    "money": words.money,
    "moneys": words.moneys,
    "number": words.number,
    "bps": words.bps,
    "share": words.share,
    "instant": words.instant,
    "moment": words.moment,
    "day": words.day,
    "duration": words.duration,
    "label": words.label,
    "booked": words.booked,
    "tone": words.tone,
    "state": words.state,
    "state_tone": words.state_tone,
    "sentence": words.sentence,
    "short": words.short,
    "path": lambda text: quote(str(text), safe=""),
}
TEMPLATES.globals |= {"static": static, "plural": words.plural, "ratio": words.ratio, "NOTHING": words.NOTHING}


def page(request: Request, scope: Scope | None, template: str, *, status: int = 200, tab: str = "", **facts: Any) -> HTMLResponse:
    """Render ``templates/<template>`` with ``facts`` and what every page has: navigation, user, notice, CSRF field.

    ``scope`` None is a page for people who are not signed in. ``tab`` is the address of the tab that the page belongs to,
    where its own address does not lie under it.
    """
    session = getattr(request.state, "session", None) if scope else None
    tabs = request.app.state.navigation[scope.role] if scope else ()
    notice = unquote(request.cookies.get(NOTICE, ""))[:300]
    common = {
        "scope": scope,
        "session": session,
        "role_name": ROLE_NAMES[scope.role] if scope else "",
        "tabs": [(name, path, path == (tab or _current(tabs, request.url.path))) for name, path in tabs],
        "notice": notice,
        "csrf": _csrf_field(getattr(request.state, "csrf", "")),
        "path": request.url.path,
    }
    response = HTMLResponse(TEMPLATES.get_template(template).render(common | facts), status)
    if notice:
        response.delete_cookie(NOTICE, path="/", httponly=True, samesite="lax")
    return response


def redirect(path: str, notice: str = "") -> RedirectResponse:
    """After a POST: go and look (303). ``notice`` is shown once at the top of the next page."""
    assert path.startswith("/"), "redirects stay on this site"
    assert not path.startswith("//"), "redirects stay on this site"
    response = RedirectResponse(path, 303)
    if notice:
        response.set_cookie(NOTICE, quote(notice), max_age=60, path="/", httponly=True, samesite="lax")
    return response


def _current(tabs: tuple[tuple[str, str], ...], path: str) -> str:
    """The tab that a path lies under: the longest that is the path or a folder above it. A role's first page has none below it."""
    under = [tab for _, tab in tabs if path == tab or (tab.count("/") > 1 and path.startswith(tab + "/"))]
    return max(under, key=len, default="")


def _csrf_field(token: str) -> Markup:
    return Markup('<input type="hidden" name="csrf" value="{}">').format(token)
