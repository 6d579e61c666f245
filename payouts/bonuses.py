"""Bonuses: a fixed amount for an affiliate whose measure reaches a threshold within a period; booked once, taken back where it falls short.

A bonus is reached by an order: the first of the period, by ``(ordered_at, order_id)``, with which the sum is at what the version of the
rate card that prices **that order** asks for. That version says what the bonus pays and how long it is held. So a card that begins in the
middle of a period counts what came before it; one that ends a bonus stops it for orders from then on, and takes back none.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from sqlalchemy import Connection

from core.catalogue import Bonus, RateCard, Tenant
from core.clock import DAY, Instant
from payouts.accounts import Place
from payouts.calendar import span_named, span_of
from payouts.digests import commission_id, digest
from payouts.standing import Cards, Touched
from store import standing as books
from store.commissions import Commission, of_orders
from store.standing import Account, Awarded

ORDER_ID_CHARS = 128


class Milestone(msgspec.Struct, frozen=True):
    """The order with which a bonus was reached, the version that prices it, and what that pays."""

    place: Place
    card: RateCard
    pays_minor: int


def due(connection: Connection, tenant: Tenant, cards: Cards, touched: Iterable[Touched], now: Instant) -> list[Commission]:
    """The commissions that bring bonuses from what is booked to what is reached, after orders of these affiliates changed.

    In the tenant's currency, one for each bonus, affiliate and period at the most; none where nothing is to be booked. What is written
    here is what they stand for: the caller books them in the same transaction, under the tenant's lock.
    """
    first: dict[tuple[str, str], list[Touched]] = {}
    for one in sorted(touched, key=lambda one: (one.ordered_at, one.order_id)):
        if any(card.bonuses for card in cards.get(one.programme_id, ())):
            first.setdefault((one.programme_id, one.affiliate_id), []).append(one)
    if not first:
        return []
    zones = sorted(books.zones_of(connection, tenant.tenant_id))
    rows = []
    for (programme_id, affiliate_id), many in sorted(first.items()):
        account = Account(tenant.tenant_id, programme_id, affiliate_id)
        rows += list(_of_account(connection, tenant, account, cards[programme_id], many, zones, now))
    return rows


def reached_by(
    connection: Connection, account: Account, cards: Sequence[RateCard], bonus_id: str, period: str, zones: Iterable[str]
) -> Milestone | None:
    """The first order with which a bonus is reached in the period of this key; None where none is."""
    found = []
    offers = {(bonus.measure, bonus.period) for _, bonus in _offers(cards, bonus_id)}
    for measure, kind in sorted(offers):
        mine = {card.version: (card, bonus) for card, bonus in _offers(cards, bonus_id) if (bonus.measure, bonus.period) == (measure, kind)}
        least = {version: bonus.at_least for version, (_, bonus) in mine.items()}
        for zone in zones:
            span = span_named(period, zone)
            if span_of(kind, span.start, zone) != span:
                continue  # a key of another kind of period
            if books.reached(connection, account, span.start, (span.end, ""))[measure] < min(least.values()):
                continue
            first = books.first_to_reach(connection, account, measure, zone, span.start, span.end, least)
            if first is not None:
                card, bonus = mine[first[1]]
                found.append(Milestone(first[0], card, bonus.pays_minor))
    return min(found, key=lambda one: one.place, default=None)


def order_id_of(award: Awarded) -> str:
    """What stands in for an order's id; none of those begins with a space. Long names are hashed."""
    order_id = f" bonus:{award.period}:{award.bonus_id}:{award.programme_id}:{award.affiliate_id}"
    if len(order_id) <= ORDER_ID_CHARS:
        return order_id
    return f" bonus:{award.period}:{digest('fairshare/bonus', order_id.encode())}"


def _of_account(
    connection: Connection,
    tenant: Tenant,
    account: Account,
    cards: Sequence[RateCard],
    touched: Sequence[Touched],
    zones: Sequence[str],
    now: Instant,
) -> Iterator[Commission]:
    earliest: dict[tuple[str, str], Place] = {}
    for one in touched:
        for bonus_id, kind in {(bonus.bonus_id, bonus.period) for card in cards for bonus in card.bonuses}:
            for zone in zones:
                earliest.setdefault((bonus_id, span_of(kind, one.ordered_at, zone).key), (one.ordered_at, one.order_id))
    periods = sorted({period for _, period in earliest})
    booked = {(award.bonus_id, award.period): award for award in books.awards_of(connection, *_names(account), periods)}
    for (bonus_id, period), place in sorted(earliest.items()):
        award = booked.get((bonus_id, period)) or Awarded(*_names(account), bonus_id, period, 0, "", 0, 0, 0)
        if award.amount_minor and (award.ordered_at, award.order_id) < place:
            continue  # what comes behind the order that reached it takes nothing away
        milestone = reached_by(connection, account, cards, bonus_id, period, zones)
        after = _awarded(award, milestone)
        if after == award:
            continue
        if after.amount_minor != award.amount_minor:
            after = msgspec.structs.replace(after, booked=award.booked + 1)
            card = milestone.card if milestone else next(card for card in cards if card.version == award.version)
            yield _commission(tenant, award, after, card, _held_until(connection, award, after, card), now)
        books.put_award(connection, after)


def _names(account: Account) -> tuple[str, str, str]:
    return account.tenant_id, account.programme_id, account.affiliate_id


def _offers(cards: Sequence[RateCard], bonus_id: str) -> list[tuple[RateCard, Bonus]]:
    return [(card, bonus) for card in cards for bonus in card.bonuses if bonus.bonus_id == bonus_id]


def _awarded(award: Awarded, milestone: Milestone | None) -> Awarded:
    if milestone is None:
        return msgspec.structs.replace(award, amount_minor=0)
    (at, order_id), card = milestone.place, milestone.card
    return msgspec.structs.replace(award, version=card.version, order_id=order_id, ordered_at=at, amount_minor=milestone.pays_minor)


def _held_until(connection: Connection, before: Awarded, after: Awarded, card: RateCard) -> Instant:
    """From the time of the order that reached the bonus (last), as that order's commissions are. What is taken back is never held longer
    than what was given, though another order reached it since: else that could be paid meanwhile.
    """
    hold_until = after.ordered_at + card.hold_days * DAY
    if after.amount_minor > before.amount_minor:
        return hold_until
    given, total = list[Instant](), 0
    for row in of_orders(connection, after.tenant_id, [order_id_of(after)]).get(order_id_of(after), []):
        total += row.amount_minor
        given = [*given, row.hold_until] if total else []
    return min(given, default=hold_until)


def _commission(tenant: Tenant, before: Awarded, after: Awarded, card: RateCard, hold_until: Instant, now: Instant) -> Commission:
    """The difference."""
    order_id = order_id_of(after)
    why = [after.programme_id, after.bonus_id, after.affiliate_id, after.period, card.version, after.order_id, after.ordered_at]
    row = Commission(
        tenant_id=tenant.tenant_id,
        commission_id="",
        programme_id=after.programme_id,
        order_id=order_id,
        line_id=after.period,
        affiliate_id=after.affiliate_id,
        kind="bonus",
        currency=tenant.currency,
        base_minor=0,
        amount_minor=after.amount_minor - before.amount_minor,
        rate_card_version=card.version,
        rule_id=after.bonus_id,
        reason="",
        touch_id="",
        decision_revision=0,
        policy_version=0,
        inputs_hash="",
        state="approved" if hold_until <= now else "pending",
        ordered_at=after.ordered_at,
        hold_until=hold_until,
        posted_at=now,
        entry_number=None,
        idempotency_key=f"{order_id}:{before.booked}",
        pricing_hash=digest("fairshare/pricing", msgspec.json.encode(why)),
        subject="bonus",
    )
    return msgspec.structs.replace(row, commission_id=commission_id(row))
