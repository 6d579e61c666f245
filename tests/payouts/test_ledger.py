"""The ledger: numbered without gaps, every key once for ever, zero in every sum."""

import threading

import pytest
from sqlalchemy import text

from core.errors import Conflict
from payouts.ledger import Draft, post, post_all, transfer
from store.books import Books
from store.ledger import Posting, account_sums, head, read_entries
from tests.people import NORTH, SOUTH


def draft(key: str, amount: int = 8_00, **fields) -> Draft:
    return Draft(
        fields.pop("tenant_id", NORTH),
        "accrual",
        key,
        fields.pop("at", 1),
        postings=transfer("anna", "EUR", amount, "expense", "held"),
        **fields,
    )


def write(books: Books, *drafts: Draft) -> list[int]:
    with books.writing() as connection:
        books.lock_tenant(connection, drafts[0].tenant_id)
        return post_all(connection, drafts)


def numbers(books: Books, tenant_id: str = NORTH) -> list[int]:
    with books.reading() as connection:
        return [entry.number for entry in read_entries(connection, tenant_id)]


def test_entries_are_numbered_per_tenant_from_one(books):
    assert write(books, draft("a"), draft("b")) == [1, 2]
    assert write(books, draft("a", tenant_id=SOUTH)) == [1]
    assert write(books, draft("c")) == [3]


def test_one_entry_at_a_time_too(books):
    with books.writing() as connection:
        assert post(connection, draft("a")) == 1


def test_the_same_key_with_the_same_content_is_the_same_entry(books):
    write(books, draft("a"))

    assert write(books, draft("b"), draft("a", at=99), draft("b")) == [2, 1, 2]
    assert numbers(books) == [1, 2]


def test_the_same_key_with_another_content_is_refused_and_nothing_is_posted(books):
    write(books, draft("a"))

    with pytest.raises(Conflict, match="entry 1 of north was posted under 'a' with another content; nothing was posted"):
        write(books, draft("b"), draft("a", amount=9_00))
    assert numbers(books) == [1]


def test_each_entry_carries_the_hash_of_the_one_before(books):
    write(books, draft("a"), draft("b"))

    with books.reading() as connection:
        first, second = read_entries(connection, NORTH)
        assert (first.previous_hash, second.previous_hash) == ("", first.hash)
        assert head(connection, NORTH) == (2, second.hash)


@pytest.mark.parametrize(
    "postings",
    [
        (Posting("held", "anna", "EUR", 1),),
        (Posting("held", "anna", "EUR", 1), Posting("expense", "anna", "USD", -1)),
        (Posting("held", "anna", "EUR", 1), Posting("expense", "ben", "EUR", -1)),
        (Posting("profit", "anna", "EUR", 1), Posting("expense", "anna", "EUR", -1)),
    ],
)
def test_what_does_not_balance_is_a_programming_error(sqlite_books, postings):
    with pytest.raises(AssertionError):
        write(sqlite_books, Draft(NORTH, "accrual", "a", 1, postings=postings))


def test_a_transfer_of_nothing_has_no_postings():
    assert transfer("anna", "EUR", 0, "held", "payable") == ()


def test_sums_by_account(books):
    write(books, draft("a"), draft("b", 1_00))

    with books.reading() as connection:
        assert account_sums(connection, NORTH) == [(NORTH, "anna", "EUR", "expense", -9_00), (NORTH, "anna", "EUR", "held", 9_00)]


def test_the_database_refuses_a_second_entry_under_a_key(books):
    write(books, draft("a"))
    copy = (
        "INSERT INTO entries SELECT tenant_id, 2, kind, idempotency_key, posted_at, memo, evidence_hash, previous_hash, hash FROM entries"
    )

    with pytest.raises(Exception, match=r"(?i)unique"), books.writing() as connection:
        connection.execute(text(copy))


def test_threads_that_post_the_same_and_other_keys_leave_no_gap(books):
    def run(name: str) -> None:
        for number in range(10):
            write(books, draft(f"{name}-{number}"), draft(f"shared-{number}"))

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert numbers(books) == list(range(1, 51))
