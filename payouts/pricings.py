"""What an order is priced on, frozen: its setting, made and kept; and the hash by which a commission names it. Pure.

An order's accrual holds the setting and the standing of its newest booking. Those that earlier rows were priced on stay beside them
(``accruals.pricings``), so that the hash of every row can be made again.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from core.catalogue import Membership, RateCard, version_at
from core.clock import Instant, as_datetime
from core.conditions import leaves_of
from payouts.accounts import Standing
from payouts.digests import digest
from payouts.exchange import Rate
from payouts.orders import Facts, Tariff
from payouts.setting import Contact, Partner, Pricing, Setting
from store.accruals import Accrual
from store.commissions import Commission


class Surroundings(msgspec.Struct, frozen=True):
    """The catalogue as it is now, as far as some orders ask for it.

    ``members`` by programme and affiliate, ``recruiters`` of credited affiliates among them; the classes of coupon codes; the segments of
    stores; exchange rates by the two currencies and the day (UTC).
    """

    members: Mapping[tuple[str, str], Membership]
    coupon_classes: Mapping[str, str]
    store_segments: Mapping[str, str]
    rates: Mapping[tuple[str, str, date], Rate]


def asks_touches(cards: Iterable[RateCard]) -> bool:
    """True where a card's price depends on more of a touch than its affiliate."""
    return any(
        card.priced_at == "touch" or any(leaf.entity == "touch" for rule in card.rules for leaf in leaves_of(rule.when)) for card in cards
    )


def depth_of(cards: Iterable[RateCard]) -> int:
    """How many recruiters in a row any of the cards pays."""
    return max((len(card.recruiter_bps) for card in cards), default=0)


def currencies_of(facts: Facts, tariff: Tariff) -> list[str]:
    """What an order may have to be converted to: the tenant's currency, and what the programme's cards settle in."""
    cards = tariff.cards.get(facts.verdict.programme_id, ())
    return sorted({tariff.tenant.currency, *(card.settle_in for card in cards)} - {"", facts.order.currency})


def day_of(at: Instant) -> date:
    """The day in UTC, by which rates are published."""
    return as_datetime(at).date()


def frozen(known: Setting | None, facts: Facts, posted: Sequence[Commission], tariff: Tariff, around: Surroundings) -> Setting:
    """The setting of an order: what is known stays, what its newest decision brings is added as it is now.

    ``posted`` says which version of a rate card priced an order that an earlier version of the program booked.
    """
    order, verdict, home = facts.order, facts.verdict, tariff.tenant.currency
    old = _begun(facts, around) if known is None else known
    knows = bool(verdict.customer_status or verdict.segments)
    partners = {(one.programme_id, one.affiliate_id): one for one in old.partners}
    for affiliate_id in {credit.affiliate_id for credit in verdict.credits}:
        key = (verdict.programme_id, affiliate_id)
        partners.setdefault(key, _partner(around, *key, order.occurred_at, tariff))
    touches = {contact.touch_id: contact for contact in (*facts.contacts, *old.contacts)}
    found = {quote: around.rates.get((order.currency, quote, day_of(order.occurred_at))) for quote in currencies_of(facts, tariff)}
    settle = {quote: rate for quote, rate in found.items() if rate is not None and quote != home}
    settle |= {rate.quote: rate for rate in old.settle_rates}
    return Setting(
        partners=tuple(partners[key] for key in sorted(partners)),
        contacts=tuple(touches[touch_id] for touch_id in sorted(touches)),
        coupon_classes=old.coupon_classes,
        store_segment=old.store_segment,
        country=old.country,
        order_number=verdict.order_number,
        first_ordered_at=verdict.first_ordered_at,
        customer_status=verdict.customer_status if knows else old.customer_status,
        segments=verdict.segments if knows else old.segments,
        rate=old.rate or found.get(home),
        settle_rates=tuple(settle[quote] for quote in sorted(settle)),
        versions=_versions(old, facts, posted, tariff, touches),
        time_zone=old.time_zone or tariff.tenant.time_zone,
    )


def pricing_hash(fingerprint: str, setting: Setting, standing: Standing, tariff: Tariff) -> str:
    """The hash of everything that a commission was priced on: facts, setting, standing, and the rate cards' content."""
    cards = [_card_digest(card) for one in setting.versions if (card := tariff.card(one.programme_id, one.version)) is not None]
    return digest("fairshare/pricing", fingerprint.encode(), _encode(setting), _encode(standing), *(card.encode() for card in cards))


class Priced(msgspec.Struct, frozen=True, array_like=True):
    """What rows of an order were priced on: the fingerprint of its facts, its setting and its standing, as JSON."""

    fingerprint: str
    setting: dict[str, Any]
    standing: dict[str, Any]

    def hash(self, tariff: Tariff) -> str:
        """What the rows name it by."""
        return pricing_hash(self.fingerprint, msgspec.convert(self.setting, Setting), msgspec.convert(self.standing, Standing), tariff)


def priced_of(accrual: Accrual) -> Priced | None:
    """What an order was priced on lastly; None where an earlier version of the program booked it."""
    if accrual.setting is None or accrual.standing is None:
        return None
    return Priced(accrual.fingerprint, accrual.setting, accrual.standing)


def kept_pricings(known: Accrual | None, posted: Iterable[Commission], new_hash: str, tariff: Tariff) -> list[Any]:
    """What earlier rows were priced on, where the newest booking is priced on something else: as JSON, to be kept beside it."""
    if known is None:
        return []
    last = priced_of(known)
    last_hash = last.hash(tariff) if last is not None else ""
    plain = msgspec.to_builtins(last)
    if last is None or last_hash == new_hash or plain in known.pricings or all(row.pricing_hash != last_hash for row in posted):
        return known.pricings
    return [*known.pricings, plain]


def as_json(record: Setting | Standing) -> dict[str, Any]:
    """As an accrual keeps it."""
    plain = msgspec.to_builtins(record)
    assert isinstance(plain, dict), "a record is an object"
    return plain


def setting_of(plain: dict[str, Any] | None) -> Setting | None:
    """The inverse of :func:`as_json`."""
    return None if plain is None else msgspec.convert(plain, Setting)


def _begun(facts: Facts, around: Surroundings) -> Setting:
    classes = {around.coupon_classes.get(code.upper(), "") for code in facts.order.coupons} - {""}
    segment = around.store_segments.get(facts.order.store_id, "")
    return Setting(coupon_classes=tuple(sorted(classes)), store_segment=segment, country=facts.country)


def _versions(
    old: Setting, facts: Facts, posted: Sequence[Commission], tariff: Tariff, touches: Mapping[str, Contact]
) -> tuple[Pricing, ...]:
    """Which versions price the order; what was found once stays, so that a version that begins in the past does not reach back."""
    programme_id, at = facts.verdict.programme_id, facts.order.occurred_at
    if not programme_id or facts.order.test or not facts.verdict.credits:
        return old.versions
    added: list[Pricing] = []
    version = old.version(programme_id)
    if version is None:
        version = _of_earlier(programme_id, posted)
        version = _version_at(tariff, programme_id, at) if version is None else version
        added.append(Pricing(programme_id, "", version))
    card = tariff.card(programme_id, version)
    if card is not None and card.priced_at == "touch":
        for touch_id in sorted({credit.touch_id for credit in facts.verdict.credits}):
            if old.version(programme_id, touch_id) is None:
                touched_at = touches[touch_id].occurred_at if touch_id in touches else at
                added.append(Pricing(programme_id, touch_id, _version_at(tariff, programme_id, touched_at)))
    return (*old.versions, *added)


def _of_earlier(programme_id: str, posted: Iterable[Commission]) -> int | None:
    """The version by which an earlier version of the program priced the order first; 0 where it found none."""
    versions = [row.rate_card_version for row in posted if row.programme_id == programme_id and row.affiliate_id and not row.pricing_hash]
    return next((version for version in versions if version), 0) if versions else None


def _version_at(tariff: Tariff, programme_id: str, at: Instant) -> int:
    card = version_at(tariff.cards.get(programme_id, ()), at)
    return card.version if card is not None else 0


def _partner(around: Surroundings, programme_id: str, affiliate_id: str, at: Instant, tariff: Tariff) -> Partner:
    member = around.members.get((programme_id, affiliate_id))
    if member is None:
        return Partner(affiliate_id, programme_id=programme_id)
    chain: list[str] = []
    seen, above = {affiliate_id}, member
    for _ in range(depth_of(tariff.cards.get(programme_id, ()))):
        name = above.recruited_by
        recruiter = around.members.get((programme_id, name))
        if recruiter is None or name in seen:
            break
        seen.add(name)
        chain.append(name if recruiter.active_at(at) else "")
        above = recruiter
    return Partner(affiliate_id, member.group, member.approved_at or 0, tuple(chain), programme_id)


_digests: dict[int, tuple[RateCard, str]] = {}
_CARDS = 256


def _card_digest(card: RateCard) -> str:
    """By identity: a card is large, and the same one is asked for with every order."""
    known = _digests.get(id(card))
    if known is None:
        while len(_digests) >= _CARDS:
            _digests.pop(next(iter(_digests)), None)
        known = _digests[id(card)] = (card, digest("fairshare/rate card", _encode(card)))
    return known[1]


_encode = msgspec.json.Encoder(order="deterministic").encode
