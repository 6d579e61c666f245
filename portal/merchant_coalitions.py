"""The merchant's coalitions, to read: who shares touches and identities with it, between which dates, and what counts.

They are agreements between merchants, so the operator writes them. Of the others a member sees id, name and dates.
"""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import NOUNS
from core.catalogue import Coalition, CoalitionMember
from core.clock import Instant
from core.scope import Scope
from portal.page import page, run
from portal.sessions import role
from store.books import Books
from store.catalogue import coalitions_of, partner_names

MemberState = Literal["in", "planned", "left"]


class Joint(msgspec.Struct, frozen=True):
    """A coalition as one of its members reads it: what its members are called, and what their touches are called."""

    coalition: Coalition
    members: tuple[tuple[str, CoalitionMember, MemberState], ...]
    touches: tuple[str, ...]
    marketplace: str


@role("merchant")
async def coalitions(request: Request, scope: Scope) -> Response:
    """GET /merchant/coalitions."""
    state = request.app.state
    rows = await run(read_coalitions, state.books, scope.tenant_id, state.clock())
    return page(request, scope, "merchant/coalitions.html", rows=rows, own=scope.tenant_id)


def read_coalitions(books: Books, tenant_id: str, at: Instant) -> list[Joint]:
    """Those that the tenant is, was or will be a member of, by id. Blocking."""
    with books.reading() as connection:
        found, names = coalitions_of(connection, tenant_id), partner_names(connection, tenant_id)
    return [_joint(coalition, names, at) for coalition in found]


def state_of(member: CoalitionMember, at: Instant) -> MemberState:
    """Whether what is made or placed at ``at`` is shared, not yet, or no more."""
    if member.active_at(at):
        return "in"
    return "planned" if at < member.joined_at else "left"


def _joint(coalition: Coalition, names: dict[str, str], at: Instant) -> Joint:
    return Joint(
        coalition,
        tuple((names.get(member.tenant_id, member.tenant_id), member, state_of(member, at)) for member in coalition.members),
        tuple(NOUNS[touch][1] for touch in coalition.classes),
        names.get(coalition.marketplace_id, coalition.marketplace_id),
    )


routes: list[BaseRoute] = [Route("/merchant/coalitions", coalitions, methods=["GET"])]
