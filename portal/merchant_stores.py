"""The merchant's stores: shops, tills, sub-domains and sellers, as orders name them."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import programme_for
from core.catalogue import Catalogue, Programme, Store
from core.clock import Instant
from core.errors import NotFound
from core.events import CHANNELS, Channel
from core.scope import Scope
from portal.forms import Form, read_form
from portal.merchant_catalogue import change, check, create, own_catalogue
from portal.page import page, redirect
from portal.sessions import role
from portal.words import label


@role("merchant")
async def stores(request: Request, scope: Scope) -> Response:
    """GET /merchant/stores."""
    catalogue = await own_catalogue(request, scope)
    return _list_page(request, scope, catalogue, Form.of(channel="web"))


@role("merchant")
async def add_store(request: Request, scope: Scope) -> Response:
    """POST /merchant/stores."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    store = read_store(form, catalogue, scope.tenant_id, form.slug("store_id"))
    if not await create(request, scope, store, form, "store_id"):
        return _list_page(request, scope, catalogue, form, status=422)
    return redirect("/merchant/stores", f"{store.name} was added. Orders may name it as {store.store_id} from now on.")


@role("merchant")
async def store(request: Request, scope: Scope) -> Response:
    """GET /merchant/stores/{store_id}."""
    found = _own_store(request, await own_catalogue(request, scope))
    form = Form.of(name=found.name, channel=found.channel, segment=found.segment, host=found.host)
    return _store_page(request, scope, found, form)


@role("merchant")
async def edit_store(request: Request, scope: Scope) -> Response:
    """POST /merchant/stores/{store_id}. The id stays: orders name it."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    found = _own_store(request, catalogue)
    after = read_store(form, catalogue, scope.tenant_id, found.store_id)
    if form.faults:
        return _store_page(request, scope, found, form, status=422)
    await change(request, scope, Store, found.store_id, edit=lambda _before: after)
    return redirect("/merchant/stores", f"{after.name} was saved.")


def takers(programmes: tuple[Programme, ...], store_id: str, at: Instant) -> list[Programme]:
    """The programmes that take a store's orders at ``at``: for each segment that one names, and for orders in none of these."""
    named = sorted({segment for programme in programmes for segment in programme.segments})
    found = (programme_for(programmes, store_id, segments, at) for segments in [(), *((segment,) for segment in named)])
    return list(dict.fromkeys(programme for programme in found if programme))


def read_store(form: Form, catalogue: Catalogue, tenant_id: str, store_id: str) -> Store:
    """The store of a form; its faults are noted on the form."""
    channel: Channel = form.choice("channel", CHANNELS) or "web"  # type: ignore[assignment]  # one of the list, or a fault
    segment, host = form.text("segment", required=False, longest=64), form.text("host", required=False).lower()
    store = Store(tenant_id, store_id, form.text("name"), channel, segment, host)
    check(form, store, catalogue)
    return store


def _own_store(request: Request, catalogue: Catalogue) -> Store:
    wanted = request.path_params["store_id"]
    found = next((store for store in catalogue.stores if store.store_id == wanted), None)
    if found is None:
        raise NotFound(f"there is no store {wanted}")
    return found


def _list_page(request: Request, scope: Scope, catalogue: Catalogue, form: Form, status: int = 200) -> Response:
    at = request.app.state.clock()
    rows = [(store, takers(catalogue.programmes, store.store_id, at)) for store in catalogue.stores]
    return page(
        request,
        scope,
        "merchant/stores.html",
        status=status,
        rows=rows,
        form=form,
        channels=[(channel, label(channel)) for channel in CHANNELS],
    )


def _store_page(request: Request, scope: Scope, store: Store, form: Form, status: int = 200) -> Response:
    return page(
        request,
        scope,
        "merchant/store.html",
        status=status,
        store=store,
        form=form,
        channels=[(channel, label(channel)) for channel in CHANNELS],
    )


routes: list[BaseRoute] = [
    Route("/merchant/stores", stores, methods=["GET"]),
    Route("/merchant/stores", add_store, methods=["POST"]),
    Route("/merchant/stores/{store_id}", store, methods=["GET"]),
    Route("/merchant/stores/{store_id}", edit_store, methods=["POST"]),
]
