"""Receipts: the first content under an id is the only one, on both engines, however many come at once."""

import threading

import pytest

from store.books import Books
from store.receipts import Receipt, claim, find_receipt, mark_recorded

FIRST = Receipt("a" * 64, "01JD7Q9QZ0ABCDEFGHJKMNPQRS", b'{"first": 1}', recorded=False)
OTHER = Receipt("b" * 64, "01JD7Q9QZ0ABCDEFGHJKMNPQRT", b'{"other": 2}', recorded=False)


def test_the_first_claim_holds_the_id(books: Books):
    with books.writing() as connection:
        assert claim(connection, "north", "order", "o-1", FIRST, 1) == FIRST
    with books.writing() as connection:
        assert claim(connection, "north", "order", "o-1", OTHER, 2) == FIRST
    with books.reading() as connection:
        assert find_receipt(connection, "north", "order", "o-1") == FIRST


@pytest.mark.parametrize("name", [("south", "order", "o-1"), ("north", "lead", "o-1"), ("north", "order", "O-1")])
def test_another_tenant_kind_or_spelling_is_another_id(books: Books, name: tuple[str, str, str]):
    with books.writing() as connection:
        claim(connection, "north", "order", "o-1", FIRST, 1)
        assert claim(connection, *name, OTHER, 1) == OTHER
        assert find_receipt(connection, "north", "order", "o-1") == FIRST


def test_recorded_is_noted_for_one_id(books: Books):
    with books.writing() as connection:
        claim(connection, "north", "order", "o-1", FIRST, 1)
        claim(connection, "north", "order", "o-2", OTHER, 1)
        mark_recorded(connection, "north", "order", "o-1")
        receipts = [find_receipt(connection, "north", "order", name) for name in ("o-1", "o-2", "o-3")]
    assert [receipt and receipt.recorded for receipt in receipts] == [True, False, None]


def test_a_claim_that_is_rolled_back_leaves_the_id_free(books: Books):
    def fail() -> None:
        with books.writing() as connection:
            claim(connection, "north", "order", "o-1", FIRST, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with books.writing() as connection:
        assert claim(connection, "north", "order", "o-1", OTHER, 2) == OTHER


def test_of_many_at_once_one_wins_and_all_learn_who(books: Books):
    found: list[Receipt] = []

    def work(number: int) -> None:
        mine = Receipt(f"{number:064d}", f"{number:026d}", b"%d" % number, recorded=False)
        with books.writing() as connection:
            found.append(claim(connection, "north", "order", "o-1", mine, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len({receipt.event_id for receipt in found}) == 1
