"""The merchant's own catalogue, as its pages use it: read, added to and changed in the signed-in person's name.

Every call runs in a thread and opens its own transaction. A record of another tenant is not found.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request

from core.catalogue import Catalogue, Membership, Policy, Programme, RateCard, Segment, Store
from core.catalogue_rules import flaws_of
from core.clock import Instant
from core.errors import Conflict, NotFound
from core.flaws import known_of
from core.scope import Scope
from portal.forms import Form
from portal.page import run
from store.books import Books
from store.catalogue import Record, add, find, load_catalogue, next_version, put

Owned = TypeVar("Owned", Programme, Store, Segment, Membership)
Version = TypeVar("Version", Policy, RateCard)


async def own_catalogue(request: Request, scope: Scope) -> Catalogue:
    """Everything of the tenant, and the affiliates that joined it."""
    return await run(_load, request.app.state.books, scope.tenant_id)


def own_programme(request: Request, catalogue: Catalogue) -> Programme:
    """The programme that the address names (``programme_id``). NotFound: unknown, or another tenant's."""
    wanted = request.path_params["programme_id"]
    found = next((programme for programme in catalogue.programmes if programme.programme_id == wanted), None)
    if found is None:
        raise NotFound(f"there is no programme {wanted}")
    return found


def check(form: Form, record: Record, catalogue: Catalogue) -> None:
    """Note on the form what is wrong with a record among the tenant's others; fields of the form are named as the record's.

    A field that has a fault already keeps it: the form's own words are nearer to what was typed.
    """
    for flaw in flaws_of(record, known_of(catalogue)):
        if flaw.field not in form.faults:
            subject = "" if flaw.message.startswith(("'", "rule ", "limit ", "bonus ")) else "This "
            text = f"{subject}{flaw.message}."
            form.fault(flaw.field, text[:1].upper() + text[1:])


async def create(request: Request, scope: Scope, record: Record, form: Form, field: str) -> bool:
    """Add a record; a key that is taken becomes a fault of ``field``. False: the form has faults, and nothing was written."""
    if form.faults:
        return False
    try:
        await run(_add, request.app.state.books, record, scope.user_id, request.app.state.clock())
    except Conflict as error:
        form.fault(field, f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return not form.faults


async def change(request: Request, scope: Scope, kind: type[Owned], *key: str, edit: Callable[[Owned], Owned]) -> Owned:
    """Read the tenant's record ``key``, write what ``edit`` makes of it, and return that: in one transaction.

    Raises:
        NotFound: the tenant has no such record.
    """
    state = request.app.state
    return await run(_change, state.books, kind, (scope.tenant_id, *key), edit, scope.user_id, state.clock())


async def write_version(request: Request, scope: Scope, draft: Version) -> int:
    """Add ``draft`` as the next version of its programme's policy or rate card; returns the number it got.

    Raises:
        Conflict: someone else wrote a version at the same moment.
    """
    state = request.app.state
    return await run(_write_version, state.books, draft, scope.user_id, state.clock())


def _load(books: Books, tenant_id: str) -> Catalogue:
    with books.reading() as connection:
        return load_catalogue(connection, tenant_id)


def _add(books: Books, record: Record, changed_by: str, at: Instant) -> None:
    with books.writing() as connection:
        add(connection, record, changed_by, at)


def _change(books: Books, kind: type[Owned], key: tuple[str, ...], edit: Callable[[Owned], Owned], changed_by: str, at: Instant) -> Owned:
    with books.writing() as connection:
        before = find(connection, kind, *key)
        if before is None:
            raise NotFound(f"there is no {kind.__name__.lower()} {' '.join(key[1:])}")
        after = edit(before)
        put(connection, after, changed_by, at)
        return after


def _write_version(books: Books, draft: Version, changed_by: str, at: Instant) -> int:
    with books.writing() as connection:
        number = next_version(connection, type(draft), draft.tenant_id, draft.programme_id)
        add(connection, msgspec.structs.replace(draft, version=number), changed_by, at)
        return number
