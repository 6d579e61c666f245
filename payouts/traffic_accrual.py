"""Clicks and impressions into commissions: polls the events store for days that changed, and books the difference each makes.

A day is counted when it is over, and again when late touches of it were stored, until its lock. What is booked is a function of the
day's numbers, under the tenant's ledger lock: a repeat, a crash between two statements or a second process never books twice.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Connection

from core.catalogue import Membership, Policy, RateCard, Tenant, version_at
from core.clock import DAY, HOUR, MINUTE, Clock, Instant
from core.errors import Unavailable
from core.money import LIMIT_MINOR
from payouts.accounts import Party, Placed, limits_of
from payouts.calendar import Span, span_named, span_of
from payouts.digests import evidence
from payouts.holds import rejected_of, states_for
from payouts.ledger import Draft, accrual_postings, post
from payouts.rates import rate_on
from payouts.standing import Cards, record, standing_of
from payouts.traffic import (
    DaySetting,
    Due,
    Group,
    as_json,
    asked_of,
    counts_of,
    differs,
    dues,
    granted,
    inputs_hash,
    is_traffic,
    order_id_of,
    pays_traffic,
    rows,
    setting_of,
)
from store import commissions
from store.books import Books
from store.catalogue import catalogue_version, find, policies_of, programmes_of, rate_cards_of
from store.cursors import REREAD_MS, move_cursor, read_cursor
from store.events import EventsStore, read_query
from store.links import all_tenants
from store.traffic import (
    DayKey,
    TrafficDay,
    TrafficSubject,
    days_after,
    days_between,
    days_due,
    days_named,
    days_of,
    put_days,
    wake_waiting,
)

CHANGED_TRAFFIC = read_query(__file__, "changed_traffic")
COUNTED_TRAFFIC = read_query(__file__, "counted_traffic")
TOLD_APART_TRAFFIC = read_query(__file__, "told_apart_traffic")
CURSOR = "accrual:traffic"
EVERY_MS = MINUTE
"""Between two looks of a loop: days are long."""
SETTLES_AFTER_MS = HOUR
"""So long after its end a day is counted first: what a tracker recorded has come by then, as a rule."""
RETRY_MS = HOUR
CHANGES_AT_ONCE = 5_000
DAYS_AT_ONCE = 500
IMPORTED = "import"
"""Touches of another system's history were paid there."""
LOCK_DAYS = Policy.__struct_defaults__[Policy.__struct_fields__.index("lock_days") - len(Policy.__struct_fields__)]
NO_RATE = "there is no exchange rate for its day; it is booked once rates are imported"
FORGOTTEN = "identifiers of its touches were erased or ran out, so that late ones cannot be counted; it stays as it was booked"
logger = logging.getLogger(__name__)


class TrafficReport(msgspec.Struct, frozen=True):
    """What one look did: ``marked`` days have new touches, ``counted`` days made ``rows`` commissions, ``problems`` are sentences."""

    marked: int = 0
    counted: int = 0
    rows: int = 0
    problems: tuple[str, ...] = ()


class Paying(msgspec.Struct, frozen=True):
    """A tenant, and all versions of the rate cards of its programmes that pay for traffic, or did."""

    tenant: Tenant
    cards: Mapping[str, tuple[RateCard, ...]]

    @property
    def begins_at(self) -> Instant:
        """Nothing before was ever paid for."""
        return min(card.effective_from for cards in self.cards.values() for card in cards if pays_traffic(card))

    def card(self, programme_id: str, version: int) -> RateCard | None:
        return next((card for card in self.cards.get(programme_id, ()) if card.version == version), None)


class TrafficMemory:
    """What a loop keeps from look to look: who pays for traffic, the changes it has just seen, and when to look again."""

    def __init__(self) -> None:
        self.paying: dict[str, Paying] = {}
        self.version = -1
        self.met: set[tuple[Any, ...]] = set()
        self.next_at: Instant = 0


def accrue_traffic(events: EventsStore, books: Books, clock: Clock, memory: TrafficMemory | None = None) -> TrafficReport:
    """Count every day that is over and changed, and book the differences. Running it twice is the same as once.

    ``memory``, kept by a caller that runs again and again, spares it what it has just looked at, and makes it return at once
    within ``EVERY_MS`` of the last look.

    Raises:
        Unavailable: a store cannot be used now; what was booked before stays, the rest comes with the next look.
    """
    memory, now = memory or TrafficMemory(), clock()
    if now < memory.next_at:
        return TrafficReport()
    _learn(books, memory)
    marked = _mark(events, books, clock, memory) if memory.paying else 0
    counted, booked, problems = 0, 0, list[str]()
    with books.writing() as connection:
        wake_waiting(connection, now, NO_RATE)
    while due := _due(books, now):
        for key, days in groupby(due, lambda day: (day.tenant_id, day.subject, day.day, day.time_zone)):
            together = list(days)
            booked += _work(events, books, memory.paying.get(key[0]), together, clock(), problems)
            counted += len(together)
    memory.next_at = now + EVERY_MS
    return TrafficReport(marked, counted, booked, tuple(problems))


# --- which days changed ------------------------------------------------------------------------------------------------


def _learn(books: Books, memory: TrafficMemory) -> None:
    """Who pays for traffic, anew where the catalogue changed."""
    with books.reading() as connection:
        version = catalogue_version(connection)
        if version != memory.version:
            memory.paying = {paying.tenant.tenant_id: paying for paying in _paying(connection)}
            memory.version = version


def _paying(connection: Connection) -> Iterable[Paying]:
    for tenant in all_tenants(connection):
        cards = {
            programme.programme_id: rate_cards_of(connection, tenant.tenant_id, programme.programme_id)
            for programme in programmes_of(connection, tenant.tenant_id)
        }
        cards = {programme_id: versions for programme_id, versions in cards.items() if any(map(pays_traffic, versions))}
        if cards:
            yield Paying(tenant, cards)


def _mark(events: EventsStore, books: Books, clock: Clock, memory: TrafficMemory) -> int:
    """Note every day with touches stored since the last look, and move the cursor; returns how many."""
    with books.reading() as connection:
        position = read_cursor(connection, CURSOR)
    marked, met = 0, set[tuple[Any, ...]]()
    after: tuple[Any, ...] = (-1, "", "", "", "", 0)
    while page := _changes(events, memory, position, after):
        *key, changed_ms, _mark_of = page[-1]
        after = (changed_ms, *key)
        marked += _note(books, [row for row in page if row not in memory.met], memory, changed_ms, clock())
        met.update(page)
        if len(page) < CHANGES_AT_ONCE:
            break
    memory.met = met
    return marked


def _changes(events: EventsStore, memory: TrafficMemory, position: Instant, after: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    names = ("after_ms", "after_tenant", "after_programme", "after_affiliate", "after_kind", "after_quarter_ms")
    return events.select(
        CHANGED_TRAFFIC,
        tenant_ids=sorted(memory.paying),
        since_ms=max(0, position - REREAD_MS),
        from_ms=min(paying.begins_at for paying in memory.paying.values()),
        without_source=IMPORTED,
        at_most=CHANGES_AT_ONCE,
        **dict(zip(names, after, strict=True)),
    )


def _note(books: Books, page: Sequence[tuple[Any, ...]], memory: TrafficMemory, changed_ms: Instant, now: Instant) -> int:
    spans: dict[DayKey, Span] = {}
    for tenant_id, programme_id, affiliate_id, kind, quarter_ms, *_ in page:
        paying = memory.paying[tenant_id]
        if programme_id in paying.cards:
            span = span_of("day", quarter_ms, paying.tenant.time_zone)
            spans[tenant_id, programme_id, affiliate_id, kind, span.key] = span
    with books.writing() as connection:
        books.lock_tenant(connection, "cursor traffic")  # two processes may both find a day missing; no tenant's name has a space
        known = days_of(connection, spans)
        days = [day for key, span in sorted(spans.items()) if (day := _marked(key, span, known.get(key), memory, now)) is not None]
        put_days(connection, days, known)
        move_cursor(connection, CURSOR, changed_ms, now)
    return len(days)


def _marked(key: DayKey, span: Span, known: TrafficDay | None, memory: TrafficMemory, now: Instant) -> TrafficDay | None:
    """The day with the time at which to count it; None where it has that already, or nothing may change any more."""
    due_at = max(now, span.end + SETTLES_AFTER_MS)
    if known is None:
        tenant_id, programme_id, affiliate_id, kind, day = key
        subject: TrafficSubject = "click" if kind == "click" else "impression"
        zone = memory.paying[tenant_id].tenant.time_zone
        return TrafficDay(
            tenant_id, programme_id, affiliate_id, subject, day, order_id_of(subject, programme_id, affiliate_id, day), zone, due_at
        )
    setting = setting_of(known)
    is_locked = setting is not None and now >= setting.locks_at
    # A day that is due already gets the new time, too: whoever counts it just now sees by that that something came.
    return None if is_locked or known.due_at == due_at else msgspec.structs.replace(known, due_at=due_at)


def _due(books: Books, now: Instant) -> list[TrafficDay]:
    with books.reading() as connection:
        return days_due(connection, now, DAYS_AT_ONCE)


# --- counting ----------------------------------------------------------------------------------------------------------


def _work(events: EventsStore, books: Books, paying: Paying | None, days: Sequence[TrafficDay], now: Instant, problems: list[str]) -> int:
    """Count and book one tenant's days of one date; returns how many commissions that made. What fails is noted and tried again."""
    try:
        if paying is None:
            raise LookupError("the tenant's rate cards pay for no traffic")
        with books.reading() as connection:
            settings = [_setting(connection, paying, day) for day in days]
        found = _found(events, books, paying, days)
        counted = [_counted(*each, paying, now) for each in zip(days, settings, found, strict=True)]
        with books.writing() as connection:
            books.lock_tenant(connection, days[0].tenant_id)
            fresh = days_of(connection, [day.key for day in days])
            # A day that is not as it was read was counted, or marked anew, by another process meanwhile.
            mine = [new for new, old in zip(counted, days, strict=True) if fresh[old.key] == old]
            put_days(connection, mine, fresh)
            made = sum(_book(connection, paying.tenant, paying.cards, day, now) for day in mine)
    except Unavailable:
        raise
    except Exception as error:
        if len(days) > 1:  # one day that cannot be booked must not keep the others from it
            return sum(_work(events, books, paying, [day], now, problems) for day in days)
        logger.debug("%s of %s", days[0].order_id, days[0].tenant_id, exc_info=True)
        return _postpone(books, days, f"it cannot be booked: {type(error).__name__}: {error}"[:255], now, problems)
    problems += [f"{day.order_id.strip()} of {day.tenant_id}: {day.problem}" for day in mine if day.problem]
    return made


class _Found(msgspec.Struct, frozen=True):
    """What the events store knows of a day. ``is_whole``: everything that was told apart before can be told apart still."""

    groups: tuple[Group, ...]
    named: int
    addressed: int
    newest: Instant
    is_whole: bool


def _setting(connection: Connection, paying: Paying, day: TrafficDay) -> DaySetting | None:
    """What prices a day: what did before, else the catalogue as it is now; None where there is no exchange rate."""
    known = setting_of(day)
    if known is not None:
        return known
    span = span_named(day.day, day.time_zone)
    card = version_at(paying.cards.get(day.programme_id, ()), span.start)
    member = find(connection, Membership, day.tenant_id, day.programme_id, day.affiliate_id)
    policies = policies_of(connection, day.tenant_id, day.programme_id)
    policy = version_at(tuple(policy for policy in policies if not policy.segment), span.start)
    home, rate = paying.tenant.currency, None
    if card is not None and card.settle_in not in ("", home):
        rate = rate_on(connection, home, card.settle_in, span.start)
        if rate is None:
            return None
    return DaySetting(
        card.version if card else 0,
        home,
        span.start,
        span.end,
        span.end + (policy.lock_days if policy else LOCK_DAYS) * DAY,
        member.group if member else "",
        (member.approved_at or 0) if member else 0,
        rate,
    )


def _found(events: EventsStore, books: Books, paying: Paying, days: Sequence[TrafficDay]) -> list[_Found]:
    """What is stored of days of one tenant, subject and date."""
    span = span_named(days[0].day, days[0].time_zone)
    with books.reading() as connection:
        members = [find(connection, Membership, day.tenant_id, day.programme_id, day.affiliate_id) for day in days]
    asked = {
        "tenant_id": days[0].tenant_id,
        "kind": days[0].subject,
        "from_ms": span.start,
        "to_ms": span.end,
        "without_source": IMPORTED,
        "programme_ids": [day.programme_id for day in days],
        "affiliate_ids": [day.affiliate_id for day in days],
    }
    told = {row[:2]: row[2:] for row in events.select(TOLD_APART_TRAFFIC, **asked, known_until_ms=[day.known_until for day in days])}
    groups: dict[tuple[str, str], list[Group]] = {}
    counted = events.select(
        COUNTED_TRAFFIC,
        **asked,
        per_link=int(days[0].subject == "impression"),
        asked=asked_of((card for cards in paying.cards.values() for card in cards), days[0].subject),
        active_since_ms=[member.approved_at if member and member.approved_at is not None else span.end for member in members],
        active_until_ms=[member.suspended_at if member and member.suspended_at is not None else span.end for member in members],
    )
    for programme_id, affiliate_id, country, device, channel, code, referrer, subs, count, mark in counted:
        group = Group(country, device, channel, code, referrer, tuple(subs), count, mark)
        groups.setdefault((programme_id, affiliate_id), []).append(group)
    found = []
    for day in days:
        pair = (day.programme_id, day.affiliate_id)
        known_named, known_addressed, named, addressed, newest = told.get(pair, (0, 0, 0, 0, 0))
        is_whole = known_named >= day.named and known_addressed >= day.addressed
        found.append(_Found(tuple(groups.get(pair, ())), named, addressed, newest, is_whole))
    return found


def _counted(day: TrafficDay, setting: DaySetting | None, found: _Found, paying: Paying, now: Instant) -> TrafficDay:
    """The day with its new numbers; with those it has where nothing may change any more."""
    settled = msgspec.structs.replace(day, due_at=None, worked_at=now)
    if setting is None:
        return msgspec.structs.replace(settled, problem=NO_RATE)
    if day.setting is not None and now >= setting.locks_at:
        return settled
    if not found.is_whole:
        return msgspec.structs.replace(settled, problem=FORGOTTEN)
    card = paying.card(day.programme_id, setting.version)
    return msgspec.structs.replace(
        settled,
        known_until=found.newest,
        named=found.named,
        addressed=found.addressed,
        counts=counts_of(card, day.subject, day.affiliate_id, setting, found.groups),
        setting=as_json(setting),
        inputs_hash=inputs_hash(day, found.groups),
        problem="",
    )


def _postpone(books: Books, days: Sequence[TrafficDay], why: str, now: Instant, problems: list[str]) -> int:
    with books.writing() as connection:
        fresh = days_of(connection, [day.key for day in days])
        put_days(connection, [msgspec.structs.replace(day, due_at=now + RETRY_MS, problem=why) for day in fresh.values()], fresh)
    problems += [f"{day.order_id.strip()} of {day.tenant_id}: {why}" for day in days]
    return 0


# --- booking -----------------------------------------------------------------------------------------------------------


def book_again(connection: Connection, tenant: Tenant, cards: Cards, order_ids: Iterable[str], now: Instant) -> list[str]:
    """Price days once more that other orders moved within a limit, by what stands for them; returns those that this took up.

    The caller holds the tenant's lock.
    """
    asked = [order_id for order_id in order_ids if is_traffic(order_id)]
    days = sorted(days_named(connection, tenant.tenant_id, asked), key=lambda day: (day.day, day.order_id)) if asked else []
    for day in days:
        _book(connection, tenant, cards, day, now)
    return [day.order_id for day in days if any(card.limits for card in cards.get(day.programme_id, ()))]


def _book(connection: Connection, tenant: Tenant, cards: Cards, day: TrafficDay, now: Instant) -> int:
    """Book what a day's numbers changed: for itself and, of impressions, for those behind it in its month. How many commissions."""
    month = [day] if day.subject == "click" else _month_of(connection, day)
    versions = {card.version: card for card in cards.get(day.programme_id, ())}
    priced = [(one, setting, versions.get(setting.version)) for one in month if (setting := setting_of(one)) is not None]
    made = 0
    for (one, setting, card), due in zip(priced, dues([(one, card) for one, _, card in priced]), strict=True):
        if one.day >= day.day and card is not None:
            made += _book_one(connection, tenant, cards, one, setting, card, due, now)
    return made


def _book_one(
    connection: Connection,
    tenant: Tenant,
    cards: Cards,
    day: TrafficDay,
    setting: DaySetting,
    card: RateCard,
    due: Sequence[Due],
    now: Instant,
) -> int:
    placed = Placed(day.programme_id, day.order_id, setting.starts_at, (Party(day.affiliate_id, card.version, 0, 0, 0),))
    standing = standing_of(connection, tenant, placed, cards)
    if rejected_of(connection, day.tenant_id, [day.order_id]).get(day.order_id, frozenset()) & {"", day.affiliate_id}:
        due = []  # somebody rejected the day: what was booked of it is taken back, and nothing more comes
    payments, uses = granted(due, limits_of(placed, cards[day.programme_id]), standing)
    posted = commissions.of_orders(connection, day.tenant_id, [day.order_id]).get(day.order_id, [])
    new = rows(day, card, setting, payments, posted, now)
    if any(abs(row.amount_minor) > LIMIT_MINOR for row in new):
        raise ValueError("a commission is beyond the largest amount taken; look at the rate card's fixed amounts")
    if any(one.limits for one in cards[day.programme_id]):
        record(connection, tenant, placed, cards, standing, uses, now)
    put_days(connection, [msgspec.structs.replace(day, payments=msgspec.to_builtins(payments))], {day.key})
    if new:
        _post(connection, day, states_for(connection, day.tenant_id, new, now), now)
    return len(new)


class Recomputed(msgspec.Struct, frozen=True):
    """A day priced once more: how many commissions it has, and what of them does not follow from what is kept; empty where all does."""

    order_id: str
    commissions: int
    wrong: str


def recompute_traffic(connection: Connection, tenant_id: str) -> Iterator[Recomputed]:
    """Price every day of a tenant once more from what is kept of it.

    The numbers are those that were counted: the clicks themselves may have lost what told them apart.
    """
    after, cards = "", dict[str, tuple[RateCard, ...]]()
    while days := days_after(connection, tenant_id, after, DAYS_AT_ONCE):
        posted = commissions.of_orders(connection, tenant_id, [day.order_id for day in days])
        for day in days:
            if day.programme_id not in cards:
                cards[day.programme_id] = rate_cards_of(connection, tenant_id, day.programme_id)
            month = [day] if day.subject == "click" else _month_of(connection, day)
            rows_of_day = posted.get(day.order_id, [])
            yield Recomputed(day.order_id, len(rows_of_day), differs(day, month, cards[day.programme_id], rows_of_day))
        after = days[-1].order_id


def _month_of(connection: Connection, day: TrafficDay) -> list[TrafficDay]:
    month = day.day[:7]
    return days_between(connection, day.tenant_id, day.programme_id, day.affiliate_id, day.subject, f"{month}-01", f"{month}-31")


def _post(connection: Connection, day: TrafficDay, new: Sequence[commissions.Commission], now: Instant) -> None:
    """The commissions and their entry, in the caller's transaction and lock."""
    number = None
    if any(row.amount_minor for row in new):
        draft = Draft(
            tenant_id=day.tenant_id,
            kind="accrual",
            idempotency_key=f"accrual:{new[0].idempotency_key}",
            posted_at=now,
            memo=f"{day.subject}s of {day.day}: {sum(day.counts.values()):,} paid",
            evidence_hash=evidence(row.commission_id for row in new),
            postings=accrual_postings(new),
            subject_at=new[0].ordered_at,
        )
        number = post(connection, draft)
    commissions.insert_commissions(connection, [msgspec.structs.replace(row, entry_number=number) for row in new])
