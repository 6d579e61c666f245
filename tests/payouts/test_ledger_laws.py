"""Twenty thousand random operations on the ledger beside a plain model, and faults between every two statements of each kind.

``python -m benchmarks.ledger_laws`` runs as many as one likes.
"""

import os

import pytest

from core.clock import DAY
from tests.ledger_laws import Fault, Laws, failing

SEED = int(os.environ.get("FAIRSHARE_TEST_SEED", "20261122"))
STATEMENTS = 60


def test_twenty_thousand_operations_break_no_invariant(sqlite_books):
    laws = Laws(sqlite_books, SEED, per_transaction=250)
    laws.run(20_000)

    assert laws.operations >= 20_000
    assert min(laws.done[name] for name in ("book", "hold", "reject", "adjust", "prepare", "approve", "pay", "void", "close", "fault")) > 0


def test_and_some_on_both_databases(books):
    Laws(books, SEED + 1).run(600)


def test_a_fault_before_any_statement_leaves_nothing_half_applied(books):
    """The connection fails before the first statement, then before the second, until the whole operation gets through; for each kind.

    What was done before the fault is gone each time: the sums are the model's, and in the end so are the commissions' states. Steps of
    a batch read it once more when they are done: a fault there takes nothing back.
    """
    laws = Laws(books, SEED + 2, per_transaction=8)
    laws.run(60)
    for kind in ("book", "release", "hold", "reject", "adjust", "prepare", "approve", "pay", "void", "close"):
        while not ready(laws, kind):
            laws.step()
        faults = laws.done["fault"]
        while laws.done["fault"] - faults < 3:  # what is drawn may have nothing to do
            for place in range(1, STATEMENTS):
                with failing(laws.books, place) as failed:
                    laws.attempt(getattr(laws, kind), failed)
                laws.check(whole=False)
                if not failed():
                    break
            assert place < STATEMENTS - 1, "it got through in the end"
        laws.check(whole=True)


def ready(laws: Laws, kind: str) -> bool:
    """Whether an operation of this kind has something to do."""
    if kind in ("approve", "pay", "void"):
        return bool(laws.model.batches)
    if kind == "close":
        laws.clock.advance(32 * DAY)
    return kind != "prepare" or any(laws.model.claims(currency) for currency in ("EUR", "USD", "JPY", "KWD"))


def test_the_laws_see_a_booking_that_is_half_applied(sqlite_books):
    """The check itself: commissions without their entry are found."""
    from store.commissions import insert_commissions

    laws = Laws(sqlite_books, SEED)
    laws.run(60)
    row = laws._row("A-x", "affiliate-1", "EUR", 5, 0, laws.clock(), "sale")
    with sqlite_books.writing() as connection:
        insert_commissions(connection, [row])
    with pytest.raises(AssertionError):
        laws.check(whole=True)
    with pytest.raises(Fault), failing(sqlite_books, 1), sqlite_books.reading():
        pass
