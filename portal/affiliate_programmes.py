"""The programmes of the installation, as an affiliate sees them: what they pay, and its own standing in each."""

import msgspec
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import default_policy, sentences
from core.catalogue import Membership, Policy, Programme, RateCard, Tenant, version_at
from core.clock import Instant
from core.errors import NotFound
from core.scope import Scope
from payouts.rate_words import card_sentences
from portal.page import page, redirect, run
from portal.sessions import role
from store.books import Books
from store.catalogue import add, find, memberships_of, policies_of, rate_cards_of
from store.programmes import programme_keys


class Offer(msgspec.Struct, frozen=True):
    """A programme with what is in force now; ``membership`` None: never applied."""

    tenant: Tenant
    programme: Programme
    policy: Policy
    rate_card: RateCard | None
    membership: Membership | None

    @property
    def pays(self) -> list[str]:
        """A sentence for each rule, in the order in which they are tried, and for what holds beside them."""
        return card_sentences(self.rate_card, self.tenant.currency) if self.rate_card else []

    @property
    def counts(self) -> tuple[str, ...]:
        """What earns the credit, in the policy's own words, strongest class first."""
        return sentences(self.policy)


@role("affiliate")
async def programmes(request: Request, scope: Scope) -> Response:
    """GET /affiliate/programmes: one's own first, then those to apply to."""
    state = request.app.state
    offers = await run(read_offers, state.books, scope.affiliate_id, state.clock())
    own = [offer for offer in offers if offer.membership]
    others = [offer for offer in offers if not offer.membership]
    return page(request, scope, "affiliate/programmes.html", own=own, others=others)


@role("affiliate")
async def apply(request: Request, scope: Scope) -> Response:
    """POST /affiliate/programmes/{tenant_id}/{programme_id}: ask to join. Applying twice changes nothing."""
    state, key = request.app.state, (request.path_params["tenant_id"], request.path_params["programme_id"])
    new = await run(_apply, state.books, key, scope, state.clock())
    notice = "Your application was sent; the merchant decides." if new else "You had already applied to this programme."
    return redirect("/affiliate/programmes", notice)


def read_offers(books: Books, affiliate_id: str, at: Instant) -> list[Offer]:
    """Every programme of the installation with its terms at ``at``, by merchant and programme."""
    with books.reading() as connection:
        own = {(one.tenant_id, one.programme_id): one for one in memberships_of(connection, affiliate_id)}
        offers = [_offer(connection, key, own.get(key), at) for key in programme_keys(connection)]
    return sorted(offers, key=lambda offer: (offer.tenant.name, offer.programme.name, offer.programme.programme_id))


def _offer(connection: Connection, key: tuple[str, str], membership: Membership | None, at: Instant) -> Offer:
    tenant, programme = find(connection, Tenant, key[0]), find(connection, Programme, *key)
    assert tenant is not None, "the key was just read, and a tenant is never removed"
    assert programme is not None, "the key was just read, and a programme is never removed"
    everyones = tuple(policy for policy in policies_of(connection, *key) if not policy.segment)
    policy = version_at(everyones, at) or default_policy(*key)
    return Offer(tenant, programme, policy, version_at(rate_cards_of(connection, *key), at), membership)


def _apply(books: Books, key: tuple[str, str], scope: Scope, at: Instant) -> bool:
    with books.writing() as connection:
        if find(connection, Programme, *key) is None:
            raise NotFound("there is no such programme")
        if find(connection, Membership, *key, scope.affiliate_id) is not None:
            return False
        add(connection, Membership(*key, scope.affiliate_id, "applied", at), scope.user_id, at)
        return True


routes: list[BaseRoute] = [
    Route("/affiliate/programmes", programmes, methods=["GET"]),
    Route("/affiliate/programmes/{tenant_id}/{programme_id}", apply, methods=["POST"]),
]
