"""A replay on both stores: what it says, that it goes on where it stopped, and that applying it books what it said."""

import random
import threading
from collections import Counter

import msgspec
import pytest

from attribution.decisions import read_in_force
from core.catalogue import Policy, TouchWindow
from core.clock import DAY, HOUR
from core.credit import Override
from core.errors import Conflict, NotFound
from core.events import Refund, RefundLine
from portal.replay import Question, apply, begin, plan_of, run_replay, tally_of
from store.catalogue import policies_of
from store.commissions import of_orders
from store.overrides import put_override
from store.replays import add_replay, changes_of, find_replay
from store.reruns import reruns_since
from tests.fakes import NOON
from tests.people import MARTHA, NORTH
from tests.portal.conftest import LONG_AGO, click, id_of, order

FROM, TO = NOON - 20 * DAY, NOON - 2 * DAY
LAST = Policy(NORTH, "main", 9, 0)
FIRST = Policy(NORTH, "main", 9, 0, model="first")
LINEAR = Policy(NORTH, "main", 9, 0, model="linear")


def question(*tried, from_at=FROM, to_at=TO):
    return Question(NORTH, from_at, to_at, tried)


def replayed(world, *tried, **period):
    replay = begin(world.books, world.events, b"", question(*tried, **period), MARTHA.user_id, world.clock())
    return run_replay(world.books, world.events, b"", world.clock, replay)


def commissions(world):
    """What the ledger's commissions come to: (affiliate, currency) -> minor units."""
    with world.books.reading() as connection:
        rows = of_orders(connection, NORTH, [f"O-{number}" for number in range(30)])
    sums = Counter()
    for row in (row for of_order in rows.values() for row in of_order):
        sums[row.affiliate_id, row.currency] += row.amount_minor
    return {key: minor for key, minor in sums.items() if minor}


def differences(replay):
    return {(row.affiliate_id, row.currency): row.commission for row in tally_of(replay).rows if row.commission}


def sale(days_ago, number, *touches):
    """An order so many days ago, after touches of these affiliates, an hour apart, the last one an hour before it."""
    at = NOON - days_ago * DAY
    visitor = f"v{number}"
    hours = range(len(touches), 0, -1)
    clicks = [click(f"{number}-{hour}", who, at - hour * HOUR, visitor) for hour, who in zip(hours, touches, strict=True)]
    return (*clicks, order(f"O-{number}", at, visitor))


def sell(world, *what):
    world.happens(*sale(*what))


def refund(refund_id, order_id, net_minor):
    return Refund(id_of(refund_id, NOON), NORTH, order_id, refund_id, "EUR", NOON, NOON, (RefundLine("1", net_minor),))


@pytest.fixture
def sold(world):
    """Three orders in the period with Anna first and Ben last, one of Ben's alone, and one each before and after the period."""
    both = [(25, 0), (19, 1), (10, 2), (3, 3), (1, 5)]
    sales = [sale(days, number, "anna", "ben") for days, number in both] + [sale(5, 4, "ben")]
    world.happens(*(event for events in sales for event in events))
    world.engine_runs()
    return world


# --- what it says ----------------------------------------------------------------------------------------------------


def test_first_instead_of_last_moves_three_orders_of_ten_euros(sold):
    tally = tally_of(replayed(sold, FIRST))

    assert (tally.orders, tally.changed, tally.locked, tally.undecided, tally.unpriced) == (4, 3, 0, 0, 0)
    rows = {row.affiliate_id: row for row in tally.rows}
    assert (rows["anna"].orders, rows["anna"].value, rows["anna"].commission) == (3, 300_00, 30_00)
    assert (rows["ben"].orders_before, rows["ben"].orders_after) == (4, 1)
    assert (rows["ben"].commission_before, rows["ben"].commission_after, rows["ben"].commission) == (40_00, 10_00, -30_00)
    assert sum(row.value_before for row in tally.rows) == sum(row.value_after for row in tally.rows) == 400_00


def test_an_order_that_changes_says_why(sold):
    replay = replayed(sold, FIRST)
    with sold.books.reading() as connection:
        changes = changes_of(connection, NORTH, replay.replay_id, "", 10)

    assert [one["change"]["sale"]["order_id"] for one in changes] == ["O-1", "O-2", "O-3"]
    why = {one["affiliate_id"]: (one["verdict"], one["why"]) for one in changes[0]["change"]["reasons"]}
    assert why["anna"][0] == "winner"
    assert why["ben"][0] == "newer"
    assert why["ben"][1].endswith(".")
    assert sorted(map(tuple, changes[0]["pays"])) == [("anna", "EUR", 10_00), ("ben", "EUR", -10_00)]


def test_the_same_policy_changes_nothing(sold):
    replay = replayed(sold, LAST)
    tally = tally_of(replay)

    assert tally.orders == 4
    assert tally.empty
    assert all(row.orders == row.value == row.commission == 0 for row in tally.rows)
    with pytest.raises(Conflict, match="nothing would change"):
        plan_of(sold.books, b"", replay, NOON)


def test_nothing_is_written(sold):
    before = commissions(sold), _policies(sold)
    replayed(sold, FIRST)
    sold.engine_runs()

    assert (commissions(sold), _policies(sold)) == before


def test_refunds_come_off_both_sides(sold):
    sold.sells(refund("R-1", "O-1", 40_00))

    assert differences(replayed(sold, FIRST)) == {("anna", "EUR"): 26_00, ("ben", "EUR"): -26_00}


def test_an_undecided_order_is_counted_and_left_out(sold):
    sell(sold, 4, 6, "anna", "ben")

    tally = tally_of(replayed(sold, FIRST))
    assert (tally.orders, tally.changed, tally.undecided) == (5, 3, 1)


def test_locked_orders_are_shown_and_not_counted(sold):
    sold.clock.advance(50 * DAY)
    replay = replayed(sold, FIRST)
    tally = tally_of(replay)

    assert (tally.locked, tally.locked_changed, tally.changed) == (2, 2, 1)
    assert differences(replay) == {("anna", "EUR"): 10_00, ("ben", "EUR"): -10_00}
    with sold.books.reading() as connection:
        changes = changes_of(connection, NORTH, replay.replay_id, "", 10)
    assert {one["change"]["sale"]["order_id"]: one["change"]["locked"] for one in changes} == {"O-1": True, "O-2": True, "O-3": False}


def test_an_unknown_tenant_is_not_found(sold):
    with pytest.raises(NotFound):
        begin(sold.books, sold.events, b"", Question("nowhere", FROM, TO, (FIRST,)), "", NOON)


# --- going on --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("attribution.bulk.BATCH_ORDERS", 1)


def test_an_interrupted_replay_goes_on_and_ends_as_an_uninterrupted_one(sold, small_batches):
    stop = threading.Event()

    def interrupt(done, total):
        assert total == 4
        if done >= 2:
            stop.set()

    replay = begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock())
    half = run_replay(sold.books, sold.events, b"", sold.clock, replay, interrupt, stop)
    again = begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock())
    assert (half.state, tally_of(half).orders) == ("stopped", 2)
    assert (again.replay_id, again.after) == (replay.replay_id, "O-2")

    whole = run_replay(sold.books, sold.events, b"", sold.clock, again)
    sold.clock.advance(1)
    fresh = msgspec.structs.replace(replay, replay_id="fresh")
    with sold.books.writing() as connection:
        add_replay(connection, fresh)
    uninterrupted = run_replay(sold.books, sold.events, b"", sold.clock, fresh)
    assert (whole.state, whole.tally) == ("done", uninterrupted.tally)
    with sold.books.reading() as connection:
        pages = [list(changes_of(connection, NORTH, one, "", 10)) for one in (replay.replay_id, "fresh")]
    assert pages[0] == pages[1]
    assert len(pages[0]) == 3


def test_progress_over_other_facts_is_thrown_away(sold, small_batches):
    stop = threading.Event()
    replay = begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock())
    run_replay(sold.books, sold.events, b"", sold.clock, replay, lambda done, total: stop.set(), stop)
    sell(sold, 4, 6, "anna", "ben")
    sold.engine_runs()

    again = begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock())
    assert (again.replay_id != replay.replay_id, again.after) == (True, "")
    with pytest.raises(Conflict, match="replay it again"):
        run_replay(sold.books, sold.events, b"", sold.clock, replay)


def test_a_fault_is_kept_with_the_replay(sold, monkeypatch):
    replay = begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock())
    monkeypatch.setattr("portal.replay.compare", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_replay(sold.books, sold.events, b"", sold.clock, replay)
    with sold.books.reading() as connection:
        assert (find_replay(connection, NORTH, replay.replay_id).state, replay.after) == ("failed", "")


def test_what_happens_outside_the_period_does_not_matter(sold):
    replay = begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock())
    sell(sold, 1, 7, "anna")
    sold.engine_runs()

    assert begin(sold.books, sold.events, b"", question(FIRST), "", sold.clock()).replay_id == replay.replay_id


# --- applying --------------------------------------------------------------------------------------------------------


def applied(world, replay):
    apply(world.books, world.events, b"", NORTH, replay.replay_id, MARTHA.user_id, world.clock())
    world.clock.advance(HOUR)
    world.engine_runs()


@pytest.mark.parametrize("tried", [FIRST, LINEAR], ids=["first", "linear"])
def test_what_it_said_is_what_the_ledger_books(sold, tried):
    before = commissions(sold)
    replay = replayed(sold, tried)
    said = differences(replay)
    assert said

    applied(sold, replay)

    after = commissions(sold)
    booked = {key: minor for key in before.keys() | after.keys() if (minor := after.get(key, 0) - before.get(key, 0))}
    assert booked == said


def test_only_the_period_is_decided_by_the_new_policy(sold):
    applied(sold, replayed(sold, FIRST))

    assert [(one.version, one.effective_from, one.model) for one in _policies(sold)] == [
        (1, LONG_AGO, "last"),
        (2, FROM, "first"),
        (3, TO, "last"),
    ]
    assert _versions(sold) == {"O-0": 1, "O-1": 2, "O-2": 2, "O-3": 2, "O-4": 2, "O-5": 3}


def test_applying_twice_is_applying_once(sold):
    replay = replayed(sold, FIRST)
    applied(sold, replay)
    once = commissions(sold), _policies(sold)

    with pytest.raises(Conflict):
        apply(sold.books, sold.events, b"", NORTH, replay.replay_id, MARTHA.user_id, sold.clock())
    assert tally_of(replayed(sold, FIRST)).empty
    sold.engine_runs()
    assert (commissions(sold), _policies(sold)) == once


class Overtaken:
    """Books that somebody else writes to first: ``other`` runs before the reading or the writing of this number."""

    def __init__(self, books, number, other):
        self._books, self._left, self._other = books, number, other
        self.is_sqlite = books.is_sqlite

    def _count(self):
        self._left -= 1
        if self._left == 0:
            self._other()

    def reading(self):
        self._count()
        return self._books.reading()

    def writing(self):
        self._count()
        return self._books.writing()


@pytest.mark.parametrize("step", [2, 5], ids=["before it looked", "before it wrote"])
def test_of_two_that_apply_at_once_the_second_is_told_who_was_first(sold, step):
    """However far the second had come when the first one was done; nothing is written twice."""
    replay = replayed(sold, FIRST)
    first = []

    def other():
        apply(sold.books, sold.events, b"", NORTH, replay.replay_id, "stella", NOON)
        first.append(_policies(sold))

    books = Overtaken(sold.books, step, other)
    with pytest.raises(Conflict, match=r"stella applied this replay first, at 2026-11-21T12:00:00\.000Z; nothing more was written"):
        apply(books, sold.events, b"", NORTH, replay.replay_id, MARTHA.user_id, NOON)
    assert [_policies(sold)] == first
    with sold.books.reading() as connection:
        assert len(reruns_since(connection, 0)) == 1


def test_a_difference_that_does_not_hold_any_more_is_not_applied(sold):
    replay = replayed(sold, FIRST)
    sell(sold, 4, 6, "anna", "ben")

    with pytest.raises(Conflict, match="replay it again"):
        apply(sold.books, sold.events, b"", NORTH, replay.replay_id, MARTHA.user_id, sold.clock())
    with sold.books.reading() as connection:
        assert reruns_since(connection, 0) == []
    assert len(_policies(sold)) == 1


def test_until_now_is_asked_anew_when_now_is_another_time(sold):
    replay = replayed(sold, FIRST, to_at=None)
    assert replayed(sold, FIRST, to_at=None).replay_id == replay.replay_id
    sold.clock.advance(HOUR)
    assert replayed(sold, FIRST, to_at=None).replay_id != replay.replay_id


def test_an_open_end_stays_in_force(sold):
    applied(sold, replayed(sold, FIRST, to_at=None))

    assert [(one.version, one.effective_from) for one in _policies(sold)] == [(1, LONG_AGO), (2, FROM)]
    assert _versions(sold)["O-5"] == 2


def test_an_override_survives_a_replay(sold):
    """What a person decided is not undone by trying another policy."""
    with sold.books.writing() as connection:
        put_override(connection, NORTH, Override("O-1", 1, "anna", "She was right.", MARTHA.user_id, NOON))
    sold.clock.advance(HOUR)
    sold.engine_runs()

    assert differences(replayed(sold, FIRST)) == {("anna", "EUR"): 20_00, ("ben", "EUR"): -20_00}


# --- any world -------------------------------------------------------------------------------------------------------


def test_in_a_world_of_chance_the_same_policy_changes_nothing_and_another_books_what_it_says(world):
    """Thirty orders of five people with touches of all kinds, some refunded; policies that a merchant might try."""
    chance, happened = random.Random(4), []
    for number in range(30):
        at = NOON - chance.randrange(1, 25 * 24) * HOUR
        visitor = f"v{chance.randrange(5)}"
        touches = [
            click(f"{number}-{place}", chance.choice(("anna", "ben")), at - chance.randrange(0, 40 * 24) * HOUR, visitor, kind=kind)
            for place, kind in enumerate(chance.choices(("click", "impression", "soft_click"), k=chance.randrange(4)))
        ]
        coupons = ("BEN10",) if chance.random() < 0.2 else ()
        happened += [*touches, order(f"O-{number}", at, visitor, coupons=coupons, customer_keys=(f"em:{visitor}",))]
        if chance.random() < 0.2:
            happened.append(refund(f"R-{number}", f"O-{number}", chance.randrange(1, 100_00)))
    world.sells(*happened)

    assert tally_of(replayed(world, LAST)).empty
    for model in ("first", "position", "time_decay"):
        before = commissions(world)
        windows = tuple(TouchWindow(name, 24 * chance.randrange(5, 40)) for name in chance.sample(("click", "soft_click", "impression"), 2))
        replay = replayed(world, Policy(NORTH, "main", 0, 0, model=model, classes=windows))
        assert not tally_of(replay).empty
        applied(world, replay)
        after = commissions(world)
        booked = {key: minor for key in before.keys() | after.keys() if (minor := after.get(key, 0) - before.get(key, 0))}
        assert booked == differences(replay), model


def _policies(world):
    with world.books.reading() as connection:
        return policies_of(connection, NORTH, "main")


def _versions(world):
    found = read_in_force(world.events, NORTH, [f"O-{number}" for number in range(30)])
    return {order_id: one.policy_version for order_id, one in found.items()}
