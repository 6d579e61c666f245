"""The merchant's links: which have click caps and how far they are, and the caps of one."""

from collections.abc import Iterable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Link, Programme
from core.catalogue_rules import CLICKS_LIMIT
from core.clock import Instant, start_of_day
from core.errors import NotFound
from core.scope import Scope
from core.settings import Settings
from portal.forms import Form, read_form, read_query_form
from portal.merchant_catalogue import check, own_catalogue
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.catalogue import capped_links, find_link, programmes_of, put
from store.installation import installation_secret
from tracker.exchange import read_counts
from tracker.limits import Counts
from tracker.links import link_key, programme_key

ROWS = 200


class Cap(msgspec.Struct, frozen=True):
    """A cap with the clicks that the trackers counted towards it: today (UTC), and in all."""

    record: Link | Programme
    today: int
    in_all: int

    @property
    def is_full(self) -> bool:
        daily, total = self.record.daily_click_cap, self.record.total_click_cap
        return (daily is not None and self.today >= daily) or (total is not None and self.in_all >= total)


@role("merchant")
async def links(request: Request, scope: Scope) -> Response:
    """GET /merchant/links?code=: everything with a cap; a code that is asked for leads to its link."""
    form, state = read_query_form(request), request.app.state
    code = form.text("code", required=False)
    if code and not form.faults:
        if await run(_find, state.books, scope.tenant_id, code) is not None:
            return redirect(f"/merchant/links/{code}")
        form.fault("code", f"There is no link {code} of your programmes.")
    capped = await run(_capped, state.books, scope.tenant_id)
    rows, counted_at = await run(_count, state.settings, capped, state.clock())
    return page(
        request,
        scope,
        "merchant/links.html",
        status=422 if form.faults else 200,
        form=form,
        programmes=[row for row in rows if isinstance(row.record, Programme)],
        links=[row for row in rows if isinstance(row.record, Link)],
        most=ROWS,
        counted_at=counted_at,
    )


@role("merchant")
async def link(request: Request, scope: Scope) -> Response:
    """GET /merchant/links/{code}: where it leads, whose it is, and its caps."""
    found = await _own_link(request, scope)
    return await _link_page(request, scope, found, caps_form(found))


@role("merchant")
async def edit_link(request: Request, scope: Scope) -> Response:
    """POST /merchant/links/{code}: its caps and where a click beyond them leads."""
    form, found, state = await read_form(request), await _own_link(request, scope), request.app.state
    daily, total, fallback = read_caps(form)
    after = msgspec.structs.replace(found, daily_click_cap=daily, total_click_cap=total, fallback_url=fallback)
    check(form, after, await own_catalogue(request, scope))
    if form.faults:
        return await _link_page(request, scope, found, form, status=422)
    await run(_put, state.books, after, scope.user_id, state.clock())
    return redirect(f"/merchant/links/{found.code}", "The caps were saved; trackers obey them within a second.")


def read_caps(form: Form) -> tuple[int | None, int | None, str]:
    """Daily cap, total cap and fallback of a form; faults are noted on it."""
    return _cap(form, "daily_click_cap"), _cap(form, "total_click_cap"), form.text("fallback_url", required=False, longest=2048)


def caps_form(record: Link | Programme) -> Form:
    """The form of a record's caps as they are."""
    daily, total = record.daily_click_cap, record.total_click_cap
    return Form.of(
        daily_click_cap="" if daily is None else str(daily),
        total_click_cap="" if total is None else str(total),
        fallback_url=record.fallback_url,
    )


def count(records: Iterable[Link | Programme], counts: Iterable[Counts], at: Instant) -> list[Cap]:
    """Each record with what all trackers counted for it, of the day (UTC) of ``at`` and in all."""
    counts, day, rows = list(counts), start_of_day(at), []
    for record in records:
        key = link_key(record.code) if isinstance(record, Link) else programme_key(record.tenant_id, record.programme_id)
        found = [(one.day, *one.clicks.get(key, (0, 0))) for one in counts]
        rows.append(Cap(record, sum(today for of, today, _ in found if of == day), sum(in_all for _, _, in_all in found)))
    return rows


def _cap(form: Form, field: str) -> int | None:
    return form.whole(field, 1, CLICKS_LIMIT) if form.raw(field).strip() else None


async def _own_link(request: Request, scope: Scope) -> Link:
    code = request.path_params["code"]
    found = await run(_find, request.app.state.books, scope.tenant_id, code)
    if found is None:
        raise NotFound(f"there is no link {code}")
    return found


async def _link_page(request: Request, scope: Scope, found: Link, form: Form, status: int = 200) -> Response:
    state = request.app.state
    ((cap,), counted_at) = await run(_count, state.settings, [found], state.clock())
    return page(request, scope, "merchant/link.html", status=status, link=found, cap=cap, counted_at=counted_at, form=form)


def _find(books: Books, tenant_id: str, code: str) -> Link | None:
    with books.reading() as connection:
        found = find_link(connection, code)
    return found if found is not None and found.tenant_id == tenant_id else None


def _capped(books: Books, tenant_id: str) -> list[Link | Programme]:
    with books.reading() as connection:
        programmes = programmes_of(connection, tenant_id)
        return [*(one for one in programmes if one.daily_click_cap or one.total_click_cap), *capped_links(connection, tenant_id, ROWS)]


def _put(books: Books, record: Link, changed_by: str, at: Instant) -> None:
    with books.writing() as connection:
        put(connection, record, changed_by, at)


def _count(settings: Settings, records: list[Link | Programme], at: Instant) -> tuple[list[Cap], Instant | None]:
    """With the time of the newest count that could be read; None where there is none."""
    counts = read_counts(settings, installation_secret(settings) if settings.has_redis_queue else b"")
    return count(records, counts, at), max((one.at for one in counts), default=None)


routes: list[BaseRoute] = [
    Route("/merchant/links", links, methods=["GET"]),
    Route("/merchant/links/{code}", link, methods=["GET"]),
    Route("/merchant/links/{code}", edit_link, methods=["POST"]),
]
