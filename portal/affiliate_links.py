"""An affiliate's links: the list with its clicks, the builder, deep links, sub ids and QR codes."""

import secrets
from io import BytesIO
from urllib.parse import quote, urlencode

import msgspec
import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.catalogue import Coupon, Link, Programme, Tenant
from core.clock import DAY, Instant
from core.errors import Conflict, NotFound
from core.scope import Scope
from portal.affiliate_catalogue import Joined, Key, joined
from portal.forms import Form, read_form, read_query_form
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.catalogue import add, coupons_of, find_link, links_of, put
from store.events import EventsStore, read_query
from tracker.destination import merge, read_deep_link
from tracker.links import build_table

CLICKS = read_query(__file__, "affiliate_links")
PERIOD_DAYS = 30
SUBS = ("sub1", "sub2", "sub3", "sub4", "sub5")
SUB_CHARS = 255
CODE_LETTERS = "23456789abcdefghjkmnpqrstvwxyz"
"""What nobody mistakes when reading a code aloud: no 0 and o, no 1, i and l, no u."""
CODE_LENGTH = 8


class LinkRow(msgspec.Struct, frozen=True):
    """A link in the list, with its clicks of the period."""

    link: Link
    clicks: int
    human_clicks: int
    last_click_at: Instant | None


@role("affiliate")
async def links(request: Request, scope: Scope) -> Response:
    """GET /affiliate/links: every link with its clicks of the last days, and the builder."""
    mine = await joined(request, scope)
    return await _links_page(request, scope, mine, Form.of(programme=_first_key(mine)))


@role("affiliate")
async def make_link(request: Request, scope: Scope) -> Response:
    """POST to the same: a new link with a code of its own; 422 with every fault."""
    form, mine = await read_form(request), await joined(request, scope)
    draft = read_link(form, mine)
    subs = read_subs(form)
    if draft is None or form.faults:
        return await _links_page(request, scope, mine, form, status=422)
    state = request.app.state
    link = await run(add_link, state.books, draft, scope.user_id, state.clock())
    return redirect(f"/affiliate/links/{link.code}?{urlencode(subs)}".rstrip("?"), "The link is ready and works from now on.")


@role("affiliate")
async def show_link(request: Request, scope: Scope) -> Response:
    """GET /affiliate/links/{code}?url=&sub1=…: the address to copy, its QR code, and the forms that change them."""
    mine, link = await joined(request, scope), await _own_link(request, scope)
    form = read_query_form(request)
    address = tracked_address(request.app.state.settings.tracker, link, form, mine)
    form.values.setdefault("name", [link.name])
    return _link_page(request, scope, mine, link, form, address)


@role("affiliate")
async def change_link(request: Request, scope: Scope) -> Response:
    """POST to the same: another name, or switched off and on."""
    mine, link, form = await joined(request, scope), await _own_link(request, scope), await read_form(request)
    name = form.text("name", required=False) if "name" in form.values else link.name
    if form.faults:
        address = tracked_address(request.app.state.settings.tracker, link, Form(), mine)
        return _link_page(request, scope, mine, link, form, address, 422)
    disabled = {"off": True, "on": False}.get(form.raw("turn"), link.disabled)
    changed = msgspec.structs.replace(link, name=name, disabled=disabled)
    state = request.app.state
    await run(_put, state.books, changed, scope.user_id, state.clock())
    return redirect(f"/affiliate/links/{link.code}", "The link was changed.")


@role("affiliate")
async def qr_file(request: Request, scope: Scope) -> Response:
    """GET /affiliate/links/{code}/qr.svg: the QR code as a file for print; takes the same parameters as the page."""
    mine, link = await joined(request, scope), await _own_link(request, scope)
    address = tracked_address(request.app.state.settings.tracker, link, read_query_form(request), mine)
    headers = {"Content-Disposition": f'attachment; filename="{link.code}.svg"'}
    return Response(qr_image(address), media_type="image/svg+xml", headers=headers)


def read_link(form: Form, mine: Joined) -> Link | None:
    """The link that the builder describes; its faults are noted on the form. It has no code yet."""
    keys = {f"{tenant_id}/{programme_id}": (tenant_id, programme_id) for tenant_id, programme_id in mine.approved}
    key = keys.get(form.choice("programme", keys))
    name = form.text("name", required=False)
    wanted = form.text("destination", required=False, longest=2048)
    if key is None:
        return None
    programme = mine.programmes[key]
    destination = programme.landing_url if not wanted else read_own_url(form, "destination", wanted, mine, key)
    return Link("", *key, mine.affiliate.affiliate_id, destination, name)


def read_own_url(form: Form, field: str, url: str, mine: Joined, key: Key) -> str:
    """A page of the shop by the tracker's own rules, as the tracker would send a visitor there; a fault otherwise."""
    tenant, programme = mine.tenants[key[0]], mine.programmes[key]
    found = page_of_shop(tenant, programme, url)
    if found is None:
        form.fault(field, f"This is not a page that links of {programme.name} may lead to. {allowed_pages(programme)}")
    return found or ""


def page_of_shop(tenant: Tenant, programme: Programme, url: str) -> str | None:
    """``url`` rebuilt from its checked parts, where the tracker would accept it as a deep link of the programme; else None."""
    entry = build_table(0, [tenant], [programme], [], {}, b"").programmes[programme.tenant_id, programme.programme_id]
    destination = read_deep_link(url, entry.hosts, entry.schemes)
    return merge(destination, tenant.click_parameter, "")[0] if destination else None


def allowed_pages(programme: Programme) -> str:
    """What a destination may be, in one sentence."""
    if not programme.hosts:
        return "Leave it empty: every link of this programme leads to its start page."
    return f"It must begin with https:// and lie on {', '.join(programme.hosts)} or a sub-domain."


def read_subs(form: Form) -> dict[str, str]:
    """The sub ids that were filled in, ``sub1`` to ``sub5``."""
    given = {name: form.text(name, required=False, longest=SUB_CHARS) for name in SUBS}
    return {name: value for name, value in given.items() if value}


def tracked_address(tracker: str, link: Link, form: Form, mine: Joined) -> str:
    """``https://tracker/c/code?url=…&sub1=…`` for what the form asks; what is at fault there is left out and noted."""
    wanted = form.text("url", required=False, longest=2048)
    page_url = read_own_url(form, "url", wanted, mine, (link.tenant_id, link.programme_id)) if wanted else ""
    query = ({"url": page_url} if page_url else {}) | {name: text for name, text in read_subs(form).items() if name not in form.faults}
    return f"{tracker}/c/{quote(link.code)}" + (f"?{urlencode(query)}" if query else "")


def qr_svg(address: str) -> str:
    """The QR code of an address for a page: error correction M, four modules of quiet zone, black on white in dark mode too."""
    return str(segno.make_qr(address, error="m").svg_inline(border=4, light="#fff", omitsize=True, svgclass="qr", lineclass=None))


def qr_image(address: str) -> bytes:
    """The same as an SVG file of its own."""
    file = BytesIO()
    segno.make_qr(address, error="m").save(file, kind="svg", border=4, light="#fff", omitsize=True)
    return file.getvalue()


def new_code() -> str:
    """Eight letters that are read without mistakes: 39 bits, so that nobody guesses the links of others."""
    return "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))


def add_link(books: Books, draft: Link, changed_by: str, at: Instant) -> Link:
    """Store a link under a code that was free; a taken one is thrown again."""
    for _ in range(10):
        link = msgspec.structs.replace(draft, code=new_code())
        try:
            with books.writing() as connection:
                add(connection, link, changed_by, at)
            return link
        except Conflict:
            continue
    raise Conflict("no free link code was found in ten throws; please try again")


def read_links(books: Books, events: EventsStore, mine: Joined, from_at: Instant, to_at: Instant) -> list[LinkRow]:
    """Every link of the affiliate: those with most human clicks in ``[from_at, to_at)`` first, then by code."""
    affiliate_id = mine.affiliate.affiliate_id
    period = {"from_ms": from_at, "to_ms": to_at}
    rows = events.select(CLICKS, tenant_ids=mine.tenant_ids, affiliate_id=affiliate_id, **period) if mine.tenants else []
    clicks = {(tenant_id, code): figures for tenant_id, code, *figures in rows}
    with books.reading() as connection:
        owned = links_of(connection, affiliate_id)
    found = [LinkRow(link, *clicks.get((link.tenant_id, link.code), (0, 0, None))) for link in owned]
    return sorted(found, key=lambda row: (-row.human_clicks, row.link.code))


async def _links_page(request: Request, scope: Scope, mine: Joined, form: Form, status: int = 200) -> Response:
    state = request.app.state
    to_at = state.clock() + 1
    rows = await run(read_links, state.books, state.events, mine, to_at - PERIOD_DAYS * DAY, to_at)
    coupons = await run(_coupons, state.books, scope.affiliate_id)
    return page(
        request,
        scope,
        "affiliate/links.html",
        status=status,
        mine=mine,
        rows=rows,
        coupons=[(coupon, coupon.valid_at(state.clock())) for coupon in coupons],
        form=form,
        days=PERIOD_DAYS,
        tracker=state.settings.tracker,
        options=[(f"{key[0]}/{key[1]}", f"{mine.merchant(key[0])}: {programme.name}") for key, programme in sorted(mine.approved.items())],
        allowed=[(programme.name, allowed_pages(programme)) for _, programme in sorted(mine.approved.items())],
        subs=SUBS,
    )


def _link_page(request: Request, scope: Scope, mine: Joined, link: Link, form: Form, address: str, status: int = 200) -> Response:
    programme = mine.programmes[link.tenant_id, link.programme_id]
    return page(
        request,
        scope,
        "affiliate/link.html",
        status=422 if form.faults else status,
        link=link,
        merchant=mine.merchant(link.tenant_id),
        programme=programme,
        approved=(link.tenant_id, link.programme_id) in mine.approved,
        form=form,
        address=address,
        qr=Markup(qr_svg(address)),
        qr_file=f"/affiliate/links/{link.code}/qr.svg?{request.url.query}".rstrip("?"),
        allowed=allowed_pages(programme),
        subs=SUBS,
    )


async def _own_link(request: Request, scope: Scope) -> Link:
    code = request.path_params["code"]
    link = await run(_find, request.app.state.books, code)
    if link is None or link.affiliate_id != scope.affiliate_id:
        raise NotFound(f"there is no link {code}")
    return link


def _find(books: Books, code: str) -> Link | None:
    with books.reading() as connection:
        return find_link(connection, code)


def _coupons(books: Books, affiliate_id: str) -> list[Coupon]:
    with books.reading() as connection:
        return coupons_of(connection, affiliate_id)


def _put(books: Books, link: Link, changed_by: str, at: Instant) -> None:
    with books.writing() as connection:
        put(connection, link, changed_by, at)


def _first_key(mine: Joined) -> str:
    return next((f"{key[0]}/{key[1]}" for key in sorted(mine.approved)), "")


routes: list[BaseRoute] = [
    Route("/affiliate/links", links, methods=["GET"]),
    Route("/affiliate/links", make_link, methods=["POST"]),
    Route("/affiliate/links/{code}", show_link, methods=["GET"]),
    Route("/affiliate/links/{code}", change_link, methods=["POST"]),
    Route("/affiliate/links/{code}/qr.svg", qr_file, methods=["GET"]),
]
