"""What an affiliate joined, as its pages use it. An affiliate's queries are bound to these tenants and to its own id."""

import msgspec
from starlette.requests import Request

from core.catalogue import Affiliate, Membership, Programme, Tenant
from core.errors import NotFound
from core.scope import Scope
from portal.page import run
from store.books import Books
from store.catalogue import find, memberships_of, tenants_of

Key = tuple[str, str]
"""A programme's (tenant_id, programme_id)."""


class Joined(msgspec.Struct, frozen=True):
    """An affiliate with its memberships in whatever status, and the programmes and tenants that they name."""

    affiliate: Affiliate
    memberships: dict[Key, Membership]
    programmes: dict[Key, Programme]
    tenants: dict[str, Tenant]

    @property
    def tenant_ids(self) -> list[str]:
        return sorted(self.tenants)

    @property
    def approved(self) -> dict[Key, Programme]:
        """The programmes that links may be made for now."""
        return {key: programme for key, programme in self.programmes.items() if self.memberships[key].status == "approved"}

    def merchant(self, tenant_id: str) -> str:
        """A tenant's name as people read it."""
        return self.tenants[tenant_id].name

    def programme(self, tenant_id: str, programme_id: str) -> str:
        """A programme's name; its id where the affiliate never joined it."""
        known = self.programmes.get((tenant_id, programme_id))
        return known.name if known else programme_id


async def joined(request: Request, scope: Scope) -> Joined:
    """What the signed-in affiliate joined.

    Raises:
        NotFound: the user's affiliate account is gone.
    """
    assert scope.affiliate_id, "only an affiliate joins programmes"
    return await run(read_joined, request.app.state.books, scope.affiliate_id)


def read_joined(books: Books, affiliate_id: str) -> Joined:
    """:func:`joined`, on the books."""
    with books.reading() as connection:
        affiliate = find(connection, Affiliate, affiliate_id)
        if affiliate is None:
            raise NotFound(f"there is no affiliate {affiliate_id}")
        memberships = {(one.tenant_id, one.programme_id): one for one in memberships_of(connection, affiliate_id)}
        programmes = {key: find(connection, Programme, *key) for key in memberships}
        tenants = {tenant.tenant_id: tenant for tenant in tenants_of(connection, affiliate_id)}
    return Joined(affiliate, memberships, {key: programme for key, programme in programmes.items() if programme}, tenants)
