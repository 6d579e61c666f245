"""What tenants pay, read from the books and kept while the catalogue stays as it is."""

from core.catalogue import RateCard, Tenant
from payouts.orders import Tariff
from store.books import Books
from store.catalogue import catalogue_version, find, programmes_of, rate_cards_of

TENANTS = 64
"""Tenants whose rate cards are kept at once: they are compiled, and to compile them anew costs more than to read them."""


def tariff_of(books: Books, tenant_id: str) -> Tariff | None:
    """What a tenant pays, or None for a tenant that the books do not know."""
    with books.reading() as connection:
        tenant = find(connection, Tenant, tenant_id)
        programmes = programmes_of(connection, tenant_id)
        cards = {programme.programme_id: rate_cards_of(connection, tenant_id, programme.programme_id) for programme in programmes}
    return Tariff(tenant, cards) if tenant else None


class Tariffs:
    """Tariffs by tenant. A rate card that is read anew and says the same stays the object that it was. Not to be shared between threads."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._known: dict[str, tuple[int, Tariff | None]] = {}

    def of(self, tenant_id: str) -> Tariff | None:
        """As :func:`tariff_of`, as the catalogue is now."""
        with self._books.reading() as connection:
            version = catalogue_version(connection)
        known = self._known.get(tenant_id)
        if known is not None and known[0] == version:
            return known[1]
        tariff = _with_known(tariff_of(self._books, tenant_id), known[1] if known else None)
        while len(self._known) >= TENANTS:
            self._known.pop(next(iter(self._known)))
        self._known[tenant_id] = (version, tariff)
        return tariff


def _with_known(tariff: Tariff | None, known: Tariff | None) -> Tariff | None:
    if tariff is None or known is None:
        return tariff
    return Tariff(tariff.tenant, {name: _cards(cards, known.cards.get(name, ())) for name, cards in tariff.cards.items()})


def _cards(cards: tuple[RateCard, ...], known: tuple[RateCard, ...]) -> tuple[RateCard, ...]:
    by_version = {card.version: card for card in known}
    return tuple(same if (same := by_version.get(card.version)) == card and same is not None else card for card in cards)
