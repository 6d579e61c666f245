"""What other rate cards would have paid for orders that were placed in a period, against what they were paid. Reads only.

The orders are walked in their total order, as if the cards had been in force for every order placed in ``[from, to)``, and for no other:
what counts for tiers, limits and bonuses of the same periods before and behind is as it is booked. Everything that was frozen with an
order when it was booked stays (groups, recruiters, coupon classes, touches, exchange rates); the rest is as accrual would freeze
it now. So the cards that were in force come to what was booked, to the cent.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from core.catalogue import RateCard, Tenant, version_at
from core.clock import Instant
from core.errors import NotFound
from core.money import LIMIT_MINOR
from payouts.accounts import Place
from payouts.calendar import span_of
from payouts.facts import read_placed, read_places, with_contacts
from payouts.orders import Facts, Tariff
from payouts.outcomes import OUTCOMES, PROBLEM, booked_outcomes, outcome_of
from payouts.pricing import Prepared, Target, prepare, target_of
from payouts.pricings import Surroundings, asks_touches, depth_of, frozen
from payouts.setting import Pricing, Setting
from payouts.surroundings import read_surroundings
from payouts.tariffs import tariff_of
from payouts.walk import Asked, Ground, SpanKey, Walk, counts_commission, looks_ahead, periods_asked
from store import booked, holds
from store.booked import Noted, Sum
from store.books import Books
from store.events import EventsStore
from store.standing import zones_of

ORDERS_AT_ONCE = 10_000
NOBODY: frozenset[str] = frozenset()
Progress = Callable[[int, int], None]


class Row(msgspec.Struct, frozen=True):
    """One affiliate in one currency: commissions of orders, and bonuses, in minor units; how many orders earn it something."""

    affiliate_id: str
    currency: str
    before_minor: int = 0
    after_minor: int = 0
    orders_before: int = 0
    orders_after: int = 0

    @property
    def difference_minor(self) -> int:
        return self.after_minor - self.before_minor


class Paid(msgspec.Struct, frozen=True):
    """What one part of a tried card pays. ``kind``: a rule, recruiters (by depth), or a bonus (``lines`` is how often).

    ``lines`` earn something by it; ``capped_minor`` is what maximums and limits cut.
    """

    programme_id: str
    kind: str
    name: str
    currency: str
    lines: int = 0
    amount_minor: int = 0
    capped_minor: int = 0


class Simulation(msgspec.Struct, frozen=True):
    """A simulation over the ``orders`` (with ``lines``) of the tried programmes that were placed in ``[from_at, to_at)`` and decided.

    ``left_out`` were placed before ``from_at``, which was moved on because there were too many; ``others`` are of other
    programmes or of none; ``undecided`` have no decision yet. ``waiting`` have news that is not booked yet: their difference is not
    the cards' alone. ``outcomes``: what became of the orders, as ``(before, after)``; both sum to ``orders``.
    """

    tenant_id: str
    from_at: Instant
    to_at: Instant
    programmes: tuple[str, ...]
    orders: int = 0
    lines: int = 0
    left_out: int = 0
    others: int = 0
    undecided: int = 0
    waiting: int = 0
    rows: tuple[Row, ...] = ()
    paid: tuple[Paid, ...] = ()
    outcomes: dict[str, tuple[int, int]] = {}

    @property
    def costs(self) -> dict[str, tuple[int, int]]:
        """By currency: what all affiliates have before and after."""
        sums: dict[str, tuple[int, int]] = {}
        for row in self.rows:
            before, after = sums.get(row.currency, (0, 0))
            sums[row.currency] = (before + row.before_minor, after + row.after_minor)
        return dict(sorted(sums.items()))


class Stopped(Exception):
    """Somebody asked for a stop."""


def simulate(
    events: EventsStore,
    books: Books,
    tenant_id: str,
    from_at: Instant,
    to_at: Instant,
    cards: Mapping[str, Sequence[RateCard]],
    progress: Progress = lambda _done, _total: None,
    most: int | None = None,
    stop: threading.Event | None = None,
) -> Simulation:
    """Try rate cards on the orders of their programmes; nothing is written.

    Args:
        cards: by programme, every version to try. An order has the one that is in force at its time (:func:`always` makes one that is).
        progress: hears how many orders are done, and of how many; twice as many where a tier is retroactive.
        most: of more orders than this, the newest are taken. All that were placed in the same millisecond come together.

    Raises:
        NotFound: there is no such tenant, or it has no such programme.
        Stopped: ``stop`` was set.
        Unavailable: a store cannot be used now.
    """
    tariff = tariff_of(books, tenant_id)
    if tariff is None:
        raise NotFound(f"there is no tenant {tenant_id!r:.80}")
    if unknown := sorted(cards.keys() - tariff.cards.keys()):
        raise NotFound(f"tenant {tenant_id} has no programme {unknown[0]!r:.80}")
    places = read_places(events, tenant_id, from_at, to_at)
    left_out = 0
    if most is not None and len(places) > most:
        from_at = places[-most][0]
        left_out = next(place for place, (at, _) in enumerate(places) if at >= from_at)
    tried = Tariff(tariff.tenant, {programme_id: tuple(versions) for programme_id, versions in cards.items()})
    with books.reading() as connection:
        trial = _Trial(connection, events, tariff, tried, from_at, to_at, stop or threading.Event())
        trial.run(places[left_out:], progress)
        return trial.result(left_out)


def always(card: RateCard) -> RateCard:
    """The same card, in force since ever."""
    return msgspec.structs.replace(card, effective_from=0)


class _Trial:
    """One simulation at work."""

    def __init__(
        self,
        connection: Connection,
        events: EventsStore,
        tariff: Tariff,
        tried: Tariff,
        from_at: Instant,
        to_at: Instant,
        stop: threading.Event,
    ) -> None:
        self._connection, self._events, self._stop = connection, events, stop
        self._tenant, self._tariff, self._tried = tariff.tenant, tariff, tried
        self._from_at, self._to_at = from_at, to_at
        self._zones = zones_of(connection, self._tenant.tenant_id) | {self._tenant.time_zone}
        self._walks = {
            programme_id: Walk(
                versions, self._zones, _ground(connection, self._tenant, programme_id, versions, self._zones, from_at, to_at)
            )
            for programme_id, versions in tried.cards.items()
        }
        self._rejected = _rejected(connection, self._tenant.tenant_id)
        self._asks_touches = asks_touches(card for cards in tried.cards.values() for card in cards)
        self._whole = any(looks_ahead(cards) or counts_commission(cards) for cards in tried.cards.values())
        self._depths = {name: depth_of(versions) for name, versions in tried.cards.items()}
        self._rows: dict[tuple[str, str], list[int]] = {}
        self._paid: dict[tuple[str, str, str, str], list[int]] = {}
        self._before, self._after = dict.fromkeys(OUTCOMES, 0), dict.fromkeys(OUTCOMES, 0)
        self._orders = self._lines = self._others = self._undecided = self._waiting = 0

    def run(self, places: Sequence[Place], progress: Progress) -> None:
        """Where a tier looks ahead, all orders are counted first."""
        ahead = any(looks_ahead(cards) for cards in self._tried.cards.values())
        total, done = len(places) * (2 if ahead else 1), 0
        for counting in (True, False) if ahead else (False,):
            for start in range(0, len(places), ORDERS_AT_ONCE):
                if self._stop.is_set():
                    raise Stopped
                page = places[start : start + ORDERS_AT_ONCE]
                self._count_page(page) if counting else self._take_page(page)
                done += len(page)
                progress(done, total)

    def result(self, left_out: int) -> Simulation:
        self._add_awards()
        for programme_id, cards in self._tried.cards.items():
            for rule in (rule for card in cards for rule in card.rules if rule.subject == "order"):
                if not any(key[:3] == (programme_id, "rule", rule.rule_id) for key in self._paid):
                    self._paid[programme_id, "rule", rule.rule_id, self._tenant.currency] = [0, 0, 0]
        rows = [Row(*key, *figures) for key, figures in sorted(self._rows.items()) if any(figures)]
        outcomes = {name: (self._before[name], self._after[name]) for name in OUTCOMES if self._before[name] or self._after[name]}
        return Simulation(
            tenant_id=self._tenant.tenant_id,
            from_at=self._from_at,
            to_at=self._to_at,
            programmes=tuple(sorted(self._tried.cards)),
            orders=self._orders,
            lines=self._lines,
            left_out=left_out,
            others=self._others,
            undecided=self._undecided,
            waiting=self._waiting,
            rows=tuple(rows),
            paid=tuple(Paid(*key, *figures) for key, figures in sorted(self._paid.items())),
            outcomes=outcomes,
        )

    # --- a page ------------------------------------------------------------------------------------------------------

    def _count_page(self, page: Sequence[Place]) -> None:
        found = self._read(page)
        noted = self._noted(found)
        for facts, prepared in self._prepared(found, noted):
            if prepared is not None:
                self._walks[facts.verdict.programme_id].count(prepared.placed)

    def _take_page(self, page: Sequence[Place]) -> None:
        decided = read_placed(self._events, self._tenant.tenant_id, page)
        found = [facts for facts in decided if facts.verdict.programme_id in self._walks]
        self._undecided += len(page) - len(decided)
        self._others += len(decided) - len(found)
        order_ids = [facts.order.order_id for facts in found]
        noted = self._noted(found)
        sums = booked.sums_of(self._connection, self._tenant.tenant_id, order_ids)
        before = booked_outcomes(self._connection, self._tenant.tenant_id, order_ids, noted, sums)
        zones = self._zones_of(order_ids)
        for facts, prepared in self._prepared(found, noted):
            order_id = facts.order.order_id
            target = self._target(prepared, zones.get(order_id, self._tenant.time_zone)) if prepared is not None else None
            self._orders += 1
            self._lines += len(facts.order.lines)
            self._waiting += _is_waiting(facts, noted.get(order_id))
            self._before[before[order_id]] += 1
            self._tally_before(sums.get(order_id, ()))
            self._after[PROBLEM if target is None else self._tally_after(facts, target)] += 1

    def _read(self, page: Sequence[Place]) -> list[Facts]:
        return [facts for facts in read_placed(self._events, self._tenant.tenant_id, page) if facts.verdict.programme_id in self._walks]

    def _noted(self, found: Sequence[Facts]) -> dict[str, Noted]:
        return booked.noted_of(self._connection, self._tenant.tenant_id, [facts.order.order_id for facts in found])

    def _zones_of(self, order_ids: Sequence[str]) -> Mapping[str, str]:
        """Periods of an order stay in the zone that it was recorded in first."""
        one_zone = self._zones == {self._tenant.time_zone}
        return {} if one_zone else booked.zones_of_orders(self._connection, self._tenant.tenant_id, order_ids)

    # --- an order ----------------------------------------------------------------------------------------------------

    def _prepared(self, found: Sequence[Facts], noted: Mapping[str, Noted]) -> Iterator[tuple[Facts, Prepared | None]]:
        """Each order with the tried rules that pay it; None where it cannot be priced."""
        kept = [_kept(noted.get(facts.order.order_id)) for facts in found]
        if self._asks_touches:
            found = self._with_touches(found, kept)
        around = read_surroundings(self._connection, found, self._tried)
        for facts, known in zip(found, kept, strict=True):
            row = noted.get(facts.order.order_id)
            try:
                is_same = row is not None and row.decision_revision == facts.verdict.revision
                setting = self._setting(facts, known, is_same, around)
                rejected = self._rejected.get(facts.order.order_id, NOBODY)
                yield facts, prepare(facts, (), self._tried, setting, rejected, self._whole)
            except (ArithmeticError, AssertionError, LookupError, ValueError):
                yield facts, None

    def _with_touches(self, found: Sequence[Facts], kept: Sequence[Setting | None]) -> list[Facts]:
        """Touches that are not frozen yet, because no card asked for them when the order was booked."""
        lacking = [facts for facts, known in zip(found, kept, strict=True) if _lacks_touches(facts, known)]
        read = {facts.order.order_id: facts for facts in with_contacts(self._events, self._tenant.tenant_id, lacking)}
        return [read.get(facts.order.order_id, facts) for facts in found]

    def _setting(self, facts: Facts, known: Setting | None, is_same: bool, around: Surroundings) -> Setting:
        """What is frozen with the order, but for the versions that price it. ``is_same``: its decision is the one that was booked."""
        if known is None:
            return frozen(None, facts, (), self._tried, around)
        versions = self._plain_versions(facts) if is_same and facts.order.currency == self._tenant.currency else None
        if versions is not None:
            setting = msgspec.structs.replace(known, versions=versions)  # as below, in a tenth of the time
        else:
            setting = frozen(msgspec.structs.replace(known, versions=()), facts, (), self._tried, around)
        programme_id = facts.verdict.programme_id
        paid = self._depth_frozen(known, programme_id)
        if paid >= self._depths[programme_id]:
            return setting
        fresh = frozen(None, facts, (), self._tried, around)
        partners = tuple(
            msgspec.structs.replace(one, recruiters=one.recruiters + fresh.partner(programme_id, one.affiliate_id).recruiters[paid:])
            if one.programme_id == programme_id and len(one.recruiters) == paid
            else one
            for one in setting.partners
        )
        return msgspec.structs.replace(setting, partners=partners)

    def _plain_versions(self, facts: Facts) -> tuple[Pricing, ...] | None:
        """The version that prices an order; None where its touches, or another currency, may have to be looked at."""
        programme_id = facts.verdict.programme_id
        card = version_at(self._tried.cards[programme_id], facts.order.occurred_at)
        if self._asks_touches or (card is not None and card.settle_in):
            return None
        return (Pricing(programme_id, "", card.version if card is not None else 0),)

    def _depth_frozen(self, known: Setting, programme_id: str) -> int:
        """How many recruiters in a row the cards paid that the order was booked by: who came behind them was not looked for."""
        versions = {one.version for one in known.versions if one.programme_id == programme_id}
        return depth_of(card for card in self._tariff.cards[programme_id] if card.version in versions)

    def _target(self, prepared: Prepared, time_zone: str) -> Target | None:
        walk, placed = self._walks[prepared.facts.verdict.programme_id], prepared.placed
        standing = walk.standing(placed, time_zone)
        try:
            target = target_of(prepared, standing)
        except (ArithmeticError, AssertionError, LookupError, ValueError):
            return None
        if any(one.amount_minor > LIMIT_MINOR for one in target.last):
            return None
        for affiliate_id, bonus in walk.take(placed, time_zone, standing, target.uses):
            self._row(affiliate_id, self._tenant.currency)[1] += bonus.pays_minor
            self._part(placed.programme_id, "bonus", bonus.bonus_id, self._tenant.currency, 1, bonus.pays_minor, 0)
        return target

    # --- sums --------------------------------------------------------------------------------------------------------

    def _tally_before(self, sums: Sequence[Sum]) -> None:
        for one in sums:
            row = self._row(one.affiliate_id, one.currency)
            row[0] += one.amount_minor
            row[2] += 1

    def _tally_after(self, facts: Facts, target: Target) -> str:
        """Add what the order earns; returns what became of it."""
        total, earners, programme_id, currency = 0, set[str](), facts.verdict.programme_id, target.currency
        for one in target.last:
            amount_minor = one.amount_minor
            if amount_minor or one.capped_minor:
                kind, name = ("recruiters", one.part.partition(":")[2]) if one.part else ("rule", one.rule_id)
                self._part(programme_id, kind, name, currency, bool(amount_minor), amount_minor, one.capped_minor)
            if amount_minor:
                total += amount_minor
                earners.add(one.affiliate_id)
                self._row(one.affiliate_id, currency)[1] += amount_minor
        for affiliate_id in earners:
            self._row(affiliate_id, currency)[3] += 1
        return outcome_of(total, [one.reason for one in target.last])

    def _add_awards(self) -> None:
        """Bonuses that are booked for orders of the period."""
        for programme_id in self._tried.cards:
            for award in booked.awards_before(self._connection, self._tenant.tenant_id, programme_id, self._to_at):
                if award.ordered_at >= self._from_at:
                    self._row(award.affiliate_id, self._tenant.currency)[0] += award.amount_minor

    def _row(self, affiliate_id: str, currency: str) -> list[int]:
        return self._rows.setdefault((affiliate_id, currency), [0, 0, 0, 0])

    def _part(self, programme_id: str, kind: str, name: str, currency: str, lines: int, amount_minor: int, capped_minor: int) -> None:
        figures = self._paid.setdefault((programme_id, kind, name, currency), [0, 0, 0])
        figures[0] += lines
        figures[1] += amount_minor
        figures[2] += capped_minor


# --- what is there -----------------------------------------------------------------------------------------------------

_decode = msgspec.json.Decoder(Setting).decode


def _kept(noted: Noted | None) -> Setting | None:
    return None if noted is None or noted.setting is None else _decode(noted.setting)


def _lacks_touches(facts: Facts, known: Setting | None) -> bool:
    there = {contact.touch_id for contact in known.contacts} if known is not None else set()
    return any(credit.touch_id not in there for credit in facts.verdict.credits)


def _is_waiting(facts: Facts, noted: Noted | None) -> bool:
    return noted is None or (noted.decision_revision, noted.refunds_known) != (facts.verdict.revision, len(facts.refunds))


def _rejected(connection: Connection, tenant_id: str) -> dict[str, frozenset[str]]:
    """Order -> the affiliates who may not earn from it any more, for the whole tenant: people say this one by one."""
    found: dict[str, set[str]] = {}
    newest = {(step.order_id, step.affiliate_id): step for step in holds.all_steps(connection, tenant_id)}
    for step in newest.values():
        if step.action == "reject":
            found.setdefault(step.order_id, set()).add(step.affiliate_id)
    return {order_id: frozenset(names) for order_id, names in found.items()}


def _ground(
    connection: Connection,
    tenant: Tenant,
    programme_id: str,
    cards: Sequence[RateCard],
    zones: set[str],
    from_at: Instant,
    to_at: Instant,
) -> Ground:
    """What the books hold around ``[from_at, to_at)`` of the periods that the cards ask for."""
    mine = (connection, tenant.tenant_id, programme_id)
    before, behind, granted = {}, {}, {}
    for period in periods_asked(cards):
        for zone in zones:
            first, last = span_of(period, from_at, zone), span_of(period, to_at, zone)
            before[_key(period, zone, first.start)] = booked.reached_within(*mine, first.start, from_at)
            if looks_ahead(cards):
                behind[_key(period, zone, last.start)] = booked.reached_within(*mine, to_at, last.end)
    for period in {limit.period for card in cards for limit in card.limits}:
        for zone in zones:
            first = span_of(period, from_at, zone)
            granted[_key(period, zone, first.start)] = booked.granted_within(*mine, first.start, from_at)
    awards = booked.awards_before(*mine, from_at) if any(card.bonuses for card in cards) else []
    asked = booked.grants_of_traffic(*mine, from_at, to_at) if granted else []
    return Ground(
        before,
        behind,
        granted,
        frozenset((award.affiliate_id, award.bonus_id, award.period) for award in awards),
        [Asked((one.ordered_at, one.order_id), one.limit_id, one.affiliate_id, one.asked_minor, tenant.time_zone) for one in asked],
    )


def _key(period: object, zone: str, start: Instant) -> SpanKey:
    return (period, zone, start)  # type: ignore[return-value]
