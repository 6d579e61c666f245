"""From stored clicks to the ledger: on a real events store, and on both kinds of books."""

from collections.abc import Iterable
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, update

from core.catalogue import Affiliate, Clause, Limit, Membership, Policy, Programme, RateCard, Rule, Tenant
from core.clock import DAY, HOUR, MINUTE, Instant, parse_instant
from core.events import Touch
from core.ids import event_id
from payouts.accrue import accrue_once
from payouts.balances import balances_of_tenant
from payouts.holds import hold, reject
from payouts.rates import import_rates
from payouts.recompute import recompute
from payouts.traffic_accrual import EVERY_MS, FORGOTTEN, NO_RATE, TrafficMemory, TrafficReport, accrue_traffic
from payouts.verify import verify
from store.books import Books
from store.catalogue import put
from store.commissions import Commission, read_all
from store.events import EventsStore
from store.schema import traffic_days
from store.traffic import days_with_problems
from tests.fakes import FakeClock
from tests.people import NORTH, SOUTH
from tracker.enrich import rows

BERLIN = "Europe/Berlin"
LONG_AGO = parse_instant("2026-01-01T00:00:00Z")
MONDAY = parse_instant("2026-11-15T23:00:00Z")
"""16 November begins in Berlin."""
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CLICKS = Rule("click", fixed_minor=10, per="click", subject="click")
PHONES = Rule("phone", priority=10, fixed_minor=30, per="click", subject="click", when=Clause("touch", "device", "equals_to", ("phone",)))
VIEWS = Rule("view", fixed_minor=199, per="thousand", subject="impression")


class World:
    """North pays for clicks, and takes days by Berlin's clocks; South pays for nothing."""

    def __init__(self, events: EventsStore, books: Books, clock: FakeClock) -> None:
        self.events, self.books, self.clock = events, books, clock
        clock.at = MONDAY + DAY + 2 * HOUR
        self.inserts = 0
        self.put(Tenant(NORTH, "North", "EUR", BERLIN), Tenant(SOUTH, "South", "EUR"))
        for tenant_id, affiliates in ((NORTH, ("anna", "ben")), (SOUTH, ("charlie",))):
            self.put(Programme(tenant_id, "main", "Main", "https://shop.example/"))
            for name in affiliates:
                self.put(Affiliate(name, name, f"{name}@x.example"), Membership(tenant_id, "main", name, "approved", LONG_AGO, LONG_AGO))
        self.put(RateCard(SOUTH, "main", 1, LONG_AGO, 30, (Rule("sale", percent_bps=500),)))

    def put(self, *records: Any) -> None:
        with self.books.writing() as connection:
            for record in records:
                put(connection, record, "tests", LONG_AGO)

    def pays(self, *rules: Rule, version: int = 1, since: Instant = LONG_AGO, **fields: Any) -> None:
        self.put(RateCard(NORTH, "main", version, since, 30, rules, **fields))

    def stored(self, *touches: Touch, at: Instant | None = None) -> None:
        placed = [rows(touch, self.clock() if at is None else at, lambda address: "DE" if address else "")[0] for touch in touches]
        months: dict[int, list[bytes]] = {}
        for one in placed:
            months.setdefault(one.at // (25 * DAY), []).append(msgspec.json.encode(one.row))
        for lines in months.values():
            self.inserts += 1
            self.events.insert_json("touches", b"\n".join(lines), f"{id(self)}-{self.inserts}")

    def accrues(self, memory: TrafficMemory | None = None) -> TrafficReport:
        return accrue_traffic(self.events, self.books, self.clock, memory)

    def booked(self, tenant_id: str = NORTH) -> list[Commission]:
        with self.books.reading() as connection:
            return sorted(read_all(connection, tenant_id), key=lambda row: (row.posted_at, row.order_id, row.idempotency_key))

    def recomputed(self) -> list[str]:
        """What the command says of it."""
        report = recompute(self.books, self.events, NORTH)
        with self.books.reading() as connection:
            assert report.days == connection.scalar(select(func.count()).select_from(traffic_days))
        return [str(one) for one in report.differences]

    def sums(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.booked():
            key = f"{row.affiliate_id} {row.order_id.split(':')[1]} {row.rule_id}"
            found[key] = found.get(key, 0) + row.amount_minor
        return found


@pytest.fixture
def world(events: EventsStore, books: Books, clock: FakeClock) -> World:
    return World(events, books, clock)


@pytest.fixture
def small(events: EventsStore, sqlite_books: Books, clock: FakeClock) -> World:
    """Where the books' engine does not matter."""
    return World(events, sqlite_books, clock)


def click(name: str, affiliate: str = "anna", at: Instant = MONDAY + HOUR, visitor: str = "", **fields: Any) -> Touch:
    minted = event_id(at, int.from_bytes(sha256(name.encode()).digest()[:10], "big"))
    known = {"tenant_id": NORTH, "programme_id": "main", "link_code": f"{affiliate}-link", "user_agent": PERSON, "kind": "click"}
    facts = {"event_id": minted, "affiliate_id": affiliate, "occurred_at": at, "received_at": at, "visitor_id": visitor}
    return Touch(**known | facts | fields)


def clicks(number: int, affiliate: str = "anna", at: Instant = MONDAY + HOUR, **fields: Any) -> list[Touch]:
    return [click(f"{affiliate}{place}", affiliate, at + place, f"visitor {affiliate} {place}", **fields) for place in range(number)]


def views(number: int, at: Instant, affiliate: str = "anna") -> list[Touch]:
    return [click(f"view {at} {place}", affiliate, at + place, f"v{place}", kind="impression") for place in range(number)]


# --- what counts -------------------------------------------------------------------------------------------------------


def test_the_clicks_of_a_day_are_one_commission_and_one_entry(world: World):
    world.pays(CLICKS)
    world.stored(*clicks(3), *clicks(2, "ben"))
    report = world.accrues()

    assert report == TrafficReport(marked=2, counted=2, rows=2)
    first, second = world.booked()
    assert (first.affiliate_id, first.amount_minor, first.currency, first.rule_id, first.line_id) == ("anna", 30, "EUR", "click", "click")
    assert (second.affiliate_id, second.amount_minor) == ("ben", 20)
    assert (first.subject, first.order_id, first.kind, first.state) == ("click", " click:2026-11-16:main:anna", "sale", "pending")
    assert (first.ordered_at, first.hold_until, first.rate_card_version) == (MONDAY, MONDAY + 30 * DAY, 1)
    assert first.pricing_hash
    assert first.entry_number == 1
    with world.books.reading() as connection:
        assert [(one.affiliate_id, one.pending_minor) for one in balances_of_tenant(connection, NORTH)] == [("anna", 30), ("ben", 20)]
    assert verify(world.books).ok


SAME = ("kind", "ip", "user_agent", "flags", "source")
CASES: list[tuple[str, list[Touch], int]] = [
    ("the same visitor twice", [click("a", visitor="v"), click("b", visitor="v", at=MONDAY + 5 * HOUR)], 10),
    ("two visitors of one address", [click("a", visitor="v", ip="10.0.0.1"), click("b", visitor="w", ip="10.0.0.1")], 20),
    ("no visitor, one address and browser", [click("a", ip="10.0.0.1"), click("b", ip="10.0.0.1")], 10),
    ("no visitor, one address, two browsers", [click("a", ip="10.0.0.1"), click("b", ip="10.0.0.1", user_agent=PHONE)], 20),
    ("no visitor, two addresses", [click("a", ip="10.0.0.1"), click("b", ip="10.0.0.2")], 20),
    ("nobody can tell who", [click("a"), click("b")], 0),
    ("two affiliates", [click("a", visitor="v"), click("b", "ben", visitor="v")], 20),
    ("two days of Berlin, one of UTC", [click("a", visitor="v", at=MONDAY - 1), click("b", visitor="v", at=MONDAY)], 20),
    ("one day of Berlin, two of UTC", [click("a", visitor="v"), click("b", visitor="v", at=MONDAY + 23 * HOUR)], 10),
    ("a crawler", [click("a", visitor="v", user_agent=CRAWLER)], 0),
    ("a click beyond a cap", [click("a", visitor="v", flags=("capped",))], 0),
    ("a scan", [click("a", visitor="v", kind="scan")], 0),
    ("another system's history", [click("a", visitor="v", source="import")], 0),
    ("nobody's", [click("a", "", visitor="v")], 0),
    ("no member", [click("a", "charlie", visitor="v")], 0),
]


def test_a_click_counts_once_where_it_is_a_persons(small: World):
    """Each case has four days of its own."""
    small.pays(CLICKS)
    small.clock.at = MONDAY + 4 * DAY * (len(CASES) + 1)
    happened = []
    for place, (_, touches, _) in enumerate(CASES):
        for touch in touches:
            same = {name: getattr(touch, name) for name in SAME}
            at = touch.occurred_at + 4 * DAY * place
            happened.append(click(f"{place} {touch.event_id}", touch.affiliate_id, at, touch.visitor_id, **same))
    small.stored(*happened)
    small.accrues()

    paid = dict.fromkeys((name for name, _, _ in CASES), 0)
    for row in small.booked():
        paid[CASES[(row.ordered_at + DAY - MONDAY) // (4 * DAY)][0]] += row.amount_minor
    assert paid == {name: minor for name, _, minor in CASES}


def test_a_member_earns_from_its_approval_until_it_is_suspended(small: World):
    noon, evening = MONDAY + 12 * HOUR, MONDAY + 18 * HOUR
    small.put(Membership(NORTH, "main", "anna", "suspended", LONG_AGO, noon, evening))
    small.pays(CLICKS)
    small.stored(*(click(str(at), at=at, visitor=str(at)) for at in (noon - 1, noon, evening - 1, evening)))
    small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 20}


def test_the_first_click_of_a_visitor_says_what_it_is(small: World):
    """One that is reported late, under a later id, may turn out to be the first: then the day is priced anew."""
    small.pays(CLICKS, PHONES)
    small.stored(click("b", visitor="v", at=MONDAY + 2 * HOUR))
    small.accrues()
    assert small.sums() == {"anna 2026-11-16 click": 10}
    small.clock.advance(DAY)
    small.stored(click("a", visitor="v", user_agent=PHONE, event_id=event_id(small.clock(), 1)))
    small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 0, "anna 2026-11-16 phone": 30}
    assert [(row.kind, row.amount_minor) for row in small.booked()] == [("sale", 10), ("redecision", -10), ("sale", 30)]
    assert verify(small.books).ok


def test_a_touch_that_the_store_holds_twice_counts_once(small: World):
    """An erasure stores it without its visitor before the other copy goes."""
    small.pays(VIEWS, CLICKS)
    happened = [*clicks(2, ip="10.0.0.1"), *views(1_000, MONDAY)]
    for copies in (happened, happened, [msgspec.structs.replace(touch, visitor_id="") for touch in happened]):
        small.stored(*copies)
    small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 20, "anna 2026-11-16 view": 199}


# --- when it counts ------------------------------------------------------------------------------------------------------


def test_a_day_is_counted_when_it_is_over(small: World):
    small.pays(CLICKS)
    small.clock.at = MONDAY + 10 * HOUR
    small.stored(*clicks(3))
    assert small.accrues() == TrafficReport(marked=1)
    small.clock.at = MONDAY + DAY + HOUR - 1
    assert small.accrues().counted == 0
    small.clock.at += 1
    assert small.accrues().rows == 1
    assert small.sums() == {"anna 2026-11-16 click": 30}


def test_the_version_at_the_days_start_prices_it_for_ever(small: World):
    small.pays(CLICKS)
    small.pays(msgspec.structs.replace(CLICKS, fixed_minor=20), version=2, since=MONDAY + 1)
    small.stored(*clicks(3), *clicks(1, at=MONDAY + DAY))
    small.clock.advance(DAY)
    small.accrues()
    assert small.sums() == {"anna 2026-11-16 click": 30, "anna 2026-11-17 click": 20}
    small.pays(msgspec.structs.replace(CLICKS, fixed_minor=50), version=3, since=LONG_AGO)
    small.put(Membership(NORTH, "main", "anna", "approved", LONG_AGO, LONG_AGO, group="gold"))
    small.clock.advance(HOUR)
    small.stored(click("late", visitor="late"))
    small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 40, "anna 2026-11-17 click": 20}


def test_late_clicks_count_until_the_lock(small: World):
    small.put(Policy(NORTH, "main", 1, LONG_AGO, lock_days=5))
    small.pays(CLICKS)
    small.stored(*clicks(3))
    small.accrues()
    small.clock.at = MONDAY + 6 * DAY - 1
    small.stored(click("late", visitor="late"))
    small.accrues()
    assert small.sums() == {"anna 2026-11-16 click": 40}
    small.clock.at = MONDAY + 6 * DAY
    small.stored(click("too late", visitor="too late"))
    small.accrues()
    assert small.sums() == {"anna 2026-11-16 click": 40}
    assert [row.amount_minor for row in small.booked()] == [30, 10]


def test_a_repeat_books_nothing_and_a_loop_looks_once_a_minute(world: World):
    world.pays(CLICKS)
    world.stored(*clicks(3))
    memory = TrafficMemory()
    assert world.accrues(memory).rows == 1
    assert world.accrues(memory) == TrafficReport()
    world.clock.advance(EVERY_MS)
    assert world.accrues(memory) == TrafficReport()  # it has just seen these
    assert world.accrues() == TrafficReport(marked=1, counted=1)  # another process looks at them once more
    assert world.sums() == {"anna 2026-11-16 click": 30}


def test_where_nobody_pays_for_traffic_nothing_is_asked(small: World):
    class Silent:
        def select(self, *_: Any, **__: Any) -> None:
            raise AssertionError("the events store was asked")

    assert accrue_traffic(Silent(), small.books, small.clock) == TrafficReport()  # type: ignore[arg-type]


def test_what_an_erasure_forgets_stays_as_it_was_booked(small: World):
    """Without their visitors the clicks could not be told apart any more; a late one must not take back what was paid."""
    small.pays(CLICKS)
    small.stored(*clicks(5, ip="10.0.0.1"))
    small.accrues()
    small.events.command("INSERT INTO touches SELECT * REPLACE ('' AS visitor_id) FROM touches")
    small.events.command("ALTER TABLE touches DELETE WHERE visitor_id <> '' SETTINGS mutations_sync = 2")
    small.clock.advance(DAY)
    small.stored(click("late", visitor="late"))
    report = small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 50}
    assert report.problems == (f"click:2026-11-16:main:anna of {NORTH}: {FORGOTTEN}",)
    with small.books.reading() as connection:
        assert [day.problem for day in days_with_problems(connection, NORTH)] == [FORGOTTEN]


def test_a_day_that_cannot_be_booked_says_so_and_keeps_no_other(small: World):
    small.pays(Rule("dear", priority=1, fixed_minor=10**15, per="click", subject="click", when=_of("anna")), CLICKS)
    small.stored(*clicks(2), *clicks(2, "ben"))
    memory = TrafficMemory()
    report = small.accrues(memory)

    assert small.sums() == {"ben 2026-11-16 click": 20}
    assert "click:2026-11-16:main:anna of north: it cannot be booked: ValueError" in report.problems[0]
    small.clock.advance(EVERY_MS)
    assert small.accrues(memory) == TrafficReport()
    small.clock.advance(HOUR)
    assert len(small.accrues(memory).problems) == 1


def _of(affiliate: str) -> Clause:
    return Clause("affiliate", "id", "equals_to", (affiliate,))


# --- thousands, currencies ---------------------------------------------------------------------------------------------------


def test_a_late_view_moves_the_rest_of_a_thousand_through_its_month(world: World):
    memory = TrafficMemory()  # so that the second look takes up nothing but the day of the late views
    world.pays(VIEWS)
    days = [MONDAY + number * DAY for number in range(3)]
    world.clock.at = days[-1] + DAY + HOUR
    for at in days:
        world.stored(*views(300, at))
    world.accrues(memory)
    assert world.sums() == {"anna 2026-11-16 view": 59, "anna 2026-11-17 view": 60, "anna 2026-11-18 view": 60}
    world.clock.advance(HOUR)
    world.stored(*(click(f"late {number}", at=MONDAY + 5, visitor=f"late {number}", kind="impression") for number in range(2)))
    world.accrues(memory)

    assert world.sums() == {"anna 2026-11-16 view": 60, "anna 2026-11-17 view": 59, "anna 2026-11-18 view": 60}  # 60.098, 119.798, 179.498
    assert verify(world.books).ok


def test_views_are_unique_for_each_link_and_clicks_for_all_together(small: World):
    small.pays(msgspec.structs.replace(VIEWS, fixed_minor=1_000), CLICKS)
    one, other = {"link_code": "one"}, {"link_code": "other"}
    for kind in ("click", "impression"):
        small.stored(*(click(f"{kind} {number}", visitor="v", kind=kind, **code) for number, code in enumerate((one, other, one))))
    small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 10, "anna 2026-11-16 view": 2}


def test_what_is_settled_in_another_currency_waits_for_its_rate(world: World):
    world.pays(CLICKS, settle_in="JPY", fx_rounding="up")
    world.stored(*clicks(3))
    assert world.accrues().problems == (f"click:2026-11-16:main:anna of {NORTH}: {NO_RATE}",)
    assert world.accrues().problems != ()
    world.clock.advance(20 * MINUTE)
    assert world.accrues() == TrafficReport(marked=1, counted=1, problems=(f"click:2026-11-16:main:anna of {NORTH}: {NO_RATE}",))
    import_rates(world.books, b"Date,JPY,\n2026-11-13,162.43,\n", world.clock)
    world.accrues()

    (row,) = world.booked()
    assert (row.currency, row.amount_minor, row.original_currency, row.original_minor) == ("JPY", 49, "EUR", 30)  # 48.729 yen
    assert (row.rate, row.rate_source, row.rate_date) == ("162.43", "ECB", "2026-11-13")
    assert verify(world.books).ok


def test_a_limit_cuts_what_comes_behind_and_a_late_click_moves_the_cut(world: World):
    """1.00 a month: two days of 0.60 leave 0.40 for the second; two late clicks of the first leave 0.20."""
    world.pays(CLICKS, limits=(Limit("budget", 1_00, "month", shared=True),))
    world.clock.at = MONDAY + 2 * DAY + HOUR
    world.stored(*clicks(6), *clicks(6, "ben", at=MONDAY + DAY))
    world.accrues()
    assert world.sums() == {"anna 2026-11-16 click": 60, "ben 2026-11-17 click": 40}
    assert [(row.capped_minor, row.limit_id) for row in world.booked()] == [(0, ""), (20, "budget")]
    world.clock.advance(HOUR)
    world.stored(*(click(f"late {number}", visitor=f"late {number}") for number in range(2)))
    world.accrues()
    accrue_once(world.events, world.books, world.clock)

    assert world.sums() == {"anna 2026-11-16 click": 80, "ben 2026-11-17 click": 20}
    assert [(row.kind, row.amount_minor, row.capped_minor) for row in world.booked()][2:] == [("sale", 20, 0), ("redecision", -20, 20)]
    assert verify(world.books).ok


def test_a_day_for_which_a_limit_leaves_nothing_says_why(small: World):
    small.pays(CLICKS, limits=(Limit("most", 10, "lifetime", rules=("click",)),))
    small.clock.advance(DAY)
    small.stored(*clicks(6), *clicks(6, at=MONDAY + DAY))
    small.accrues()

    rows_of_days = [(row.amount_minor, row.capped_minor, row.limit_id, row.reason, row.state) for row in small.booked()]
    assert rows_of_days == [(10, 50, "most", "", "pending"), (0, 60, "most", "cap_reached", "none")]
    assert verify(small.books).ok


def test_somebodys_hold_covers_clicks_and_a_rejected_day_stays_rejected(small: World):
    small.pays(CLICKS)
    small.stored(*clicks(6), *clicks(6, "ben"))
    small.accrues()
    hold(small.books, NORTH, "", "anna", "looks odd", "frank@north.example", small.clock())
    reject(small.books, NORTH, " click:2026-11-16:main:ben", "ben", "all from one office", "frank@north.example", small.clock())
    small.clock.advance(HOUR)
    small.stored(click("late", visitor="late"), click("late too", "ben", visitor="late"))
    small.accrues()

    assert small.sums() == {"anna 2026-11-16 click": 70, "ben 2026-11-16 click": 0}
    assert [row.state for row in small.booked() if row.affiliate_id == "anna"] == ["held", "held"]
    assert verify(small.books).ok


def test_what_was_booked_follows_from_what_is_kept(small: World):
    small.pays(CLICKS, PHONES, VIEWS, limits=(Limit("budget", 95, "month"),))
    small.clock.advance(DAY)
    small.stored(*clicks(6), *clicks(3, "ben", user_agent=PHONE), *views(700, MONDAY), *views(700, MONDAY + DAY))
    small.accrues()
    small.clock.advance(HOUR)
    small.stored(click("late", visitor="late"), *views(400, MONDAY + HOUR))
    small.accrues()
    accrue_once(small.events, small.books, small.clock)
    assert small.recomputed() == []
    for change, said in (
        ({"counts": {"click": 8}}, "its numbers do not pay what was booked"),
        ({"payments": [{"rule_id": "click", "amount_minor": 60, "capped_minor": 10}]}, "its commissions do not sum to what it pays"),
        ({"payments": []}, "its commissions do not sum to what it pays"),
        ({"setting": None}, "it has commissions, but nothing priced it"),
    ):
        with small.books.writing() as connection:
            mine = traffic_days.c.order_id == " click:2026-11-16:main:anna"
            before = connection.execute(select(*(traffic_days.c[name] for name in change)).where(mine)).one()
            connection.execute(update(traffic_days).where(mine).values(**change))
        assert small.recomputed() == [f"click:2026-11-16:main:anna: {said}"]
        assert str(verify(small.books).fault) == f"traffic_days click:2026-11-16:main:anna of {NORTH}: {said}"
        with small.books.writing() as connection:
            connection.execute(update(traffic_days).where(mine).values(**before._mapping))
    assert small.recomputed() == []


# --- whatever the order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_the_same_touches_in_any_order_and_batches_give_the_same_sums(small: World, seed: int):
    small.pays(CLICKS, PHONES, VIEWS)
    happened, random = _happened(), Random(seed)
    random.shuffle(happened)
    small.clock.at = MONDAY + 5 * DAY
    for batch in _parts(happened, random):
        small.stored(*batch)
        small.clock.advance(random.randrange(HOUR))
        if random.random() < 0.7:
            small.accrues()
    small.clock.advance(HOUR)
    small.accrues()

    assert {key: minor for key, minor in small.sums().items() if minor} == _plainly_counted(happened)
    assert small.recomputed() == []
    assert verify(small.books).ok


def _happened() -> list[Touch]:
    """200 touches within three days, many of them of the same people."""
    told = Random(7)
    return [
        click(
            f"touch {number}",
            told.choice(["anna", "ben"]),
            MONDAY + told.randrange(3 * DAY),
            told.choice(["", *(f"v{place}" for place in range(40))]),
            kind=told.choice(["click", "impression"]),
            ip=told.choice(["", "10.0.0.1", "10.0.0.2"]),
            user_agent=told.choice([PERSON, PHONE]),
        )
        for number in range(200)
    ]


def _parts(happened: list[Touch], random: Random) -> Iterable[list[Touch]]:
    while happened:
        size = random.randrange(1, 100)
        yield happened[:size]
        happened = happened[size:]


def _plainly_counted(happened: list[Touch]) -> dict[str, int]:
    """One touch after the other, by hand: all are of one link for each affiliate."""
    seen, numbers = set(), dict[tuple[str, str, int], int]()
    for touch in sorted(happened, key=lambda touch: (touch.occurred_at, touch.event_id)):
        number = (touch.occurred_at - MONDAY) // DAY
        who = touch.visitor_id or (touch.ip and (touch.ip, touch.user_agent))
        if who and (touch.affiliate_id, touch.kind, number, who) not in seen:
            seen.add((touch.affiliate_id, touch.kind, number, who))
            rule = "view" if touch.kind == "impression" else "phone" if touch.user_agent == PHONE else "click"
            numbers[touch.affiliate_id, rule, number] = numbers.get((touch.affiliate_id, rule, number), 0) + 1
    sums, carried = {}, {"anna": 0, "ben": 0}
    for (affiliate, rule, number), count in sorted(numbers.items(), key=lambda one: one[0][2]):
        minor = {"click": 10 * count, "phone": 30 * count}.get(rule)
        if minor is None:
            before, carried[affiliate] = carried[affiliate], carried[affiliate] + 199 * count
            minor = carried[affiliate] // 1000 - before // 1000
        if minor:
            sums[f"{affiliate} 2026-11-{16 + number} {rule}"] = minor
    return sums
