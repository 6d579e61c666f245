"""What clicks and impressions earn, day by day. Pure; minor units.

A day is one of the tenant's time zone. What it earns an affiliate follows from the numbers of its days alone, so that late clicks lead to
the same cents as clicks in time: a click pays its rule's fixed amount; impressions pay it per thousand, counted through the month, so
that no day loses the rest of a thousand. Amounts of a month's days sum to its thousands, rounded down once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from core.catalogue import FxRounding, Limit, RateCard, Rule
from core.clock import DAY, Instant
from core.conditions import leaves_of
from payouts.accounts import Standing, Use
from payouts.attributes import affiliate_values
from payouts.digests import commission_id, digest
from payouts.exchange import Rate, convert
from payouts.matching import compile_card
from payouts.setting import Contact, Partner
from store.commissions import Commission
from store.traffic import TrafficDay, TrafficSubject

THOUSAND = 1_000
EXTERNAL_ID_CHARS = 128
"""As long as an order's id may be."""


class DaySetting(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a day was priced on when it was first booked; it stays. ``version`` 0: no rate card was in force at its start.

    ``starts_at`` and ``ends_at`` (exclusive) bound it, ``locks_at`` ends its changes. ``rate`` leads from the tenant's ``currency`` to
    the one that the card settles in; None where that is the same.
    """

    version: int
    currency: str
    starts_at: Instant
    ends_at: Instant
    locks_at: Instant
    group: str = ""
    approved_at: Instant = 0
    rate: Rate | None = None


class Group(msgspec.Struct, frozen=True):
    """So many touches that are alike in everything that the rules ask for. ``mark`` differs with each of them."""

    country: str
    device: str
    channel: str
    link_code: str
    referrer: str
    subs: tuple[str, ...]
    count: int
    mark: int = 0


class Due(msgspec.Struct, frozen=True):
    """What a day earns by one rule, in the tenant's currency, before limits."""

    rule_id: str
    amount_minor: int


def order_id_of(subject: TrafficSubject, programme_id: str, affiliate_id: str, day: str) -> str:
    """What stands for a day where an order's id would. It begins with a space, which no order's does, since those are trimmed."""
    order_id = f" {subject}:{day}:{programme_id}:{affiliate_id}"
    if len(order_id) <= EXTERNAL_ID_CHARS:
        return order_id
    return f" {subject}:{day}:{digest('fairshare/day', order_id.encode())}"


def is_traffic(order_id: str) -> bool:
    """True for what :func:`order_id_of` made."""
    return order_id.startswith((" click:", " impression:"))


def pays_traffic(card: RateCard) -> bool:
    return any(rule.subject in ("click", "impression") for rule in card.rules)


def asked_of(cards: Iterable[RateCard], subject: TrafficSubject) -> list[str]:
    """The attributes of touches that rules for this subject ask for: counting by others would only make more groups."""
    rules = [rule for card in cards for rule in card.rules if rule.subject == subject]
    return sorted({leaf.attribute for rule in rules for leaf in leaves_of(rule.when) if leaf.entity == "touch"})


def counts_of(
    card: RateCard | None, subject: TrafficSubject, affiliate_id: str, setting: DaySetting, groups: Iterable[Group]
) -> dict[str, int]:
    """How many touches each rule pays for, by rule; touches that no rule pays for are in none."""
    counts: dict[str, int] = {}
    if card is None:
        return counts
    compiled, at = compile_card(card, setting.currency, subject), setting.starts_at
    partner = Partner(affiliate_id, setting.group, setting.approved_at)
    for group in groups:
        contact = Contact("", subject, at, group.country, group.device, group.channel, group.link_code, group.referrer, group.subs)
        rule = compiled.match({}, affiliate_values(partner, contact, at), {})
        if isinstance(rule, Rule):
            counts[rule.rule_id] = counts.get(rule.rule_id, 0) + group.count
    return dict(sorted(counts.items()))


def dues(days: Sequence[tuple[TrafficDay, RateCard | None]]) -> list[list[Due]]:
    """What each day earns by each rule: of one affiliate's clicks, or of its impressions of one month, oldest day first.

    A rule that has the same id in two versions of the card is one rule: the rest of a thousand goes with it.
    """
    carried: dict[str, int] = {}
    found: list[list[Due]] = []
    for day, card in days:
        rules = {rule.rule_id: rule for rule in card.rules} if card else {}
        of_day: list[Due] = []
        for rule_id, count in sorted(day.counts.items()):
            total = count * (rules[rule_id].fixed_minor or 0)
            if rules[rule_id].per == "thousand":
                before = carried.get(rule_id, 0)
                carried[rule_id] = before + total
                total = (before + total) // THOUSAND - before // THOUSAND
            of_day.append(Due(rule_id, total))
        found.append(of_day)
    return found


class Payment(msgspec.Struct, frozen=True):
    """What a day pays by one rule after limits, in the tenant's currency; ``limit_id`` cut ``capped_minor`` off."""

    rule_id: str
    amount_minor: int
    capped_minor: int = 0
    limit_id: str = ""


def granted(due: Iterable[Due], limits: Mapping[tuple[str, str], Limit], standing: Standing) -> tuple[list[Payment], list[Use]]:
    """What limits leave of a day, rule by rule; and what the day asked of each limit. ``limits`` by id and account, as in the standing.

    Of several limits the tightest cuts, ties to the first id.
    """
    left = {(limit_id, account): minor for limit_id, account, minor in standing.left}
    asked, taken = dict.fromkeys(limits, 0), dict.fromkeys(limits, 0)
    payments = []
    for one in due:
        mine = [key for key in sorted(limits) if not limits[key].rules or one.rule_id in limits[key].rules]
        room, tightest = min(((max(0, left[key] - taken[key]), key[0]) for key in mine), default=(one.amount_minor, ""))
        paid = min(one.amount_minor, room)
        payments.append(Payment(one.rule_id, paid, one.amount_minor - paid, tightest if paid < one.amount_minor else ""))
        for key in mine:
            asked[key] += one.amount_minor
            taken[key] += paid
    return payments, [Use(*key, asked[key], taken[key]) for key in sorted(limits) if asked[key]]


def rows(
    day: TrafficDay, card: RateCard, setting: DaySetting, payments: Sequence[Payment], posted: Sequence[Commission], now: Instant
) -> list[Commission]:
    """The commissions that bring a day from what is ``posted`` (in booking order) to what it pays."""
    new: list[Commission] = []
    hashed = pricing_hash(day, payments)
    wanted = {payment.rule_id: payment for payment in payments}
    for rule_id in sorted(wanted.keys() | {row.rule_id for row in posted}):
        mine = [row for row in posted if row.rule_id == rule_id]
        payment = wanted.get(rule_id, Payment(rule_id, 0))
        row = _row(day, card, setting, payment, mine, hashed, now)
        if row is not None:
            numbered = msgspec.structs.replace(row, idempotency_key=f"{row.order_id}:{len(posted) + len(new)}")
            new.append(msgspec.structs.replace(numbered, commission_id=commission_id(numbered)))
    return new


def differs(day: TrafficDay, month: Sequence[TrafficDay], cards: Sequence[RateCard], posted: Sequence[Commission]) -> str:
    """What of a day's commissions does not follow from what is kept of it; empty where all does.

    ``month``: the days that count together, itself among them (:func:`dues`). A day that somebody rejected pays nothing.
    """
    versions = {card.version: card for card in cards}
    priced = [(one, versions.get(setting.version)) for one in month if (setting := setting_of(one)) is not None]
    setting = setting_of(day)
    card = versions.get(setting.version) if setting else None
    payments = [msgspec.convert(one, Payment) for one in day.payments]
    if setting is None or card is None:
        return "it has commissions, but nothing priced it" if posted else ""
    due = next((found for (one, _), found in zip(priced, dues(priced), strict=True) if one.key == day.key), [])
    if payments and [(one.rule_id, one.amount_minor) for one in due] != [
        (one.rule_id, one.amount_minor + one.capped_minor) for one in payments
    ]:
        return "its numbers do not pay what was booked"
    if rows(day, card, setting, payments, posted, day.worked_at or 0):
        return "its commissions do not sum to what it pays"
    last = posted[-1] if posted else None
    is_newest = last is not None and last.kind != "rejection" and last.inputs_hash == day.inputs_hash
    if last is not None and is_newest and last.pricing_hash != pricing_hash(day, payments):
        return "its last commission was priced on something else than what is kept"
    return ""


def inputs_hash(day: TrafficDay, groups: Iterable[Group]) -> str:
    """Equal for the same touches of a day, however they came."""
    return digest("fairshare/traffic", msgspec.json.encode([*day.key, sorted(map(msgspec.structs.astuple, groups))]))


def pricing_hash(day: TrafficDay, payments: Iterable[Payment]) -> str:
    """The hash of everything that a day's commissions were priced on: numbers, setting, and what limits left."""
    content = [day.setting, day.inputs_hash, sorted(day.counts.items()), list(payments)]
    return digest("fairshare/traffic pricing", msgspec.json.encode(content, order="deterministic"))


def setting_of(day: TrafficDay) -> DaySetting | None:
    return None if day.setting is None else msgspec.convert(day.setting, DaySetting)


def as_json(setting: DaySetting) -> dict[str, Any]:
    plain = msgspec.to_builtins(setting)
    assert isinstance(plain, dict), "a record is an object"
    return plain


def _row(
    day: TrafficDay, card: RateCard, setting: DaySetting, payment: Payment, posted: Sequence[Commission], hashed: str, now: Instant
) -> Commission | None:
    """None where nothing changes. A day whose limits leave nothing says so once."""
    amount = _settled(payment.amount_minor, setting.rate, card.fx_rounding)
    capped = _settled(payment.capped_minor, setting.rate, card.fx_rounding)
    difference = amount - sum(row.amount_minor for row in posted)
    more_capped = capped - sum(row.capped_minor for row in posted)
    if difference == 0 and more_capped == 0:
        return None
    rate, original = setting.rate, payment.amount_minor - sum(row.original_minor for row in posted)
    hold_until = setting.starts_at + card.hold_days * DAY
    return Commission(
        tenant_id=day.tenant_id,
        commission_id="",
        programme_id=day.programme_id,
        order_id=day.order_id,
        line_id=payment.rule_id,
        affiliate_id=day.affiliate_id,
        kind="sale" if difference >= 0 else "redecision",
        currency=rate.quote if rate else setting.currency,
        base_minor=0,
        amount_minor=difference,
        rate_card_version=card.version,
        rule_id=payment.rule_id,
        reason="" if difference else "cap_reached",
        touch_id="",
        decision_revision=0,
        policy_version=0,
        inputs_hash=day.inputs_hash,
        state="none" if difference == 0 else "approved" if hold_until <= now else "pending",
        ordered_at=setting.starts_at,
        hold_until=hold_until,
        posted_at=now,
        entry_number=None,
        idempotency_key="",
        capped_minor=more_capped,
        limit_id=payment.limit_id,
        pricing_hash=hashed,
        original_currency=rate.base if rate else "",
        original_minor=original if rate else 0,
        rate=rate.value if rate else "",
        rate_source=rate.source if rate else "",
        rate_date=rate.on.isoformat() if rate else "",
        subject=day.subject,
    )


def _settled(minor: int, rate: Rate | None, rounding: FxRounding) -> int:
    return convert(minor, rate, rounding) if rate else minor
