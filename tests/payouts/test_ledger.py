"""The ledger: numbered without gaps, every key once for ever, zero in every sum."""

import threading
from contextlib import suppress

import pytest
from sqlalchemy import event, text

from core.errors import Conflict
from payouts.ledger import Draft, accrual_postings, post, post_all, transfer, unbalanced
from payouts.verify import verify
from store.books import Books
from store.commissions import Commission
from store.ledger import Posting, account_sums, head, read_entries
from tests.people import NORTH, SOUTH


def draft(key: str, amount: int = 8_00, **fields) -> Draft:
    return Draft(
        fields.pop("tenant_id", NORTH),
        "accrual",
        key,
        fields.pop("at", 1),
        postings=transfer("anna", "EUR", amount, "expense", "pending"),
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
        (Posting("pending", "anna", "EUR", 1),),
        (Posting("pending", "anna", "EUR", 1), Posting("expense", "anna", "USD", -1)),
        (Posting("pending", "anna", "EUR", 1), Posting("expense", "ben", "EUR", -1)),
        (Posting("profit", "anna", "EUR", 1), Posting("expense", "anna", "EUR", -1)),
    ],
)
def test_what_does_not_balance_is_a_programming_error(sqlite_books, postings):
    with pytest.raises(AssertionError):
        write(sqlite_books, Draft(NORTH, "accrual", "a", 1, postings=postings))


def test_a_transfer_of_nothing_has_no_postings():
    assert transfer("anna", "EUR", 0, "pending", "approved") == ()


def test_sums_by_account(books):
    write(books, draft("a"), draft("b", 1_00))

    with books.reading() as connection:
        assert account_sums(connection, NORTH) == [(NORTH, "anna", "EUR", "expense", -9_00), (NORTH, "anna", "EUR", "pending", 9_00)]


def test_the_database_refuses_a_second_entry_under_a_key(books):
    write(books, draft("a"))
    copied = "kind, idempotency_key, posted_at, memo, evidence_hash, previous_hash, hash, period"
    copy = f"INSERT INTO entries SELECT tenant_id, 2, {copied} FROM entries"

    with pytest.raises(Exception, match=r"(?i)unique"), books.writing() as connection:
        connection.execute(text(copy))


def test_threads_that_post_the_same_and_other_keys_leave_no_gap(books):
    def run(name: str) -> None:
        for number in range(10):
            write(books, draft(f"{name}-{number}"), draft(f"shared-{number}"))

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert numbers(books) == list(range(1, 91))


def test_faults_between_any_two_statements_leave_whole_entries_or_none(sqlite_books):
    """The connection fails at the n-th statement, for every n that there is; the same call again posts what is missing, once."""
    drafts = [draft(key) for key in "abc"]
    for place in range(1, 10):
        seen = []

        def fail(*_, place=place, seen=seen):
            seen.append(1)
            if len(seen) == place:
                raise OSError("the disk is gone")

        event.listen(sqlite_books.engine, "before_cursor_execute", fail)
        try:
            with suppress(OSError):
                write(sqlite_books, *drafts)
        finally:
            event.remove(sqlite_books.engine, "before_cursor_execute", fail)
        assert numbers(sqlite_books) in ([], [1, 2, 3])
        assert verify(sqlite_books).entries in (0, 3)
    assert len(seen) < 9, "every statement had its turn"
    assert write(sqlite_books, *drafts) == [1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(8_00, "pending")], [("expense", -8_00), ("pending", 8_00)]),
        ([(-8_00, "approved")], [("approved", -8_00), ("reversed", 8_00)]),
        ([(8_00, "held"), (-3_00, "held"), (0, "none")], [("expense", -8_00), ("held", 5_00), ("reversed", 3_00)]),
        ([(8_00, "pending"), (-8_00, "pending")], [("expense", -8_00), ("reversed", 8_00)]),
        ([(0, "none")], []),
    ],
)
def test_what_is_granted_costs_and_what_is_taken_back_is_reversed(rows, expected):
    postings = accrual_postings([booked(amount, state) for amount, state in rows])

    assert [(posting.account, posting.amount_minor) for posting in postings] == expected
    assert unbalanced(postings) is None


def test_a_conversion_is_kept_on_both_sides_and_rates_are_not_mixed():
    at = {"original_currency": "USD", "rate_source": "ECB", "rate_date": "2026-11-20"}
    rows = [
        booked(9_36, "pending", original_minor=10_00, rate="1.0683", **at),
        booked(9_37, "pending", original_minor=10_00, rate="1.0672", **at),
    ]
    postings = accrual_postings(rows)

    assert [(one.account, one.amount_minor, one.original_minor, one.rate) for one in postings] == [
        ("expense", -9_37, -10_00, "1.0672"),
        ("expense", -9_36, -10_00, "1.0683"),
        ("pending", 9_37, 10_00, "1.0672"),
        ("pending", 9_36, 10_00, "1.0683"),
    ]
    assert {(one.original_currency, one.rate_source, one.rate_date) for one in postings} == {("USD", "ECB", "2026-11-20")}


def booked(amount: int, state: str, **fields) -> Commission:
    """A commission as booking makes one; only what the ledger looks at matters."""
    keys = dict.fromkeys(("rule_id", "reason", "touch_id", "inputs_hash"), "")
    numbers = dict.fromkeys(
        ("base_minor", "rate_card_version", "decision_revision", "policy_version", "ordered_at", "hold_until", "posted_at"), 0
    )
    head = {"tenant_id": NORTH, "commission_id": "c", "programme_id": "main", "order_id": "A-1", "line_id": "1", "affiliate_id": "anna"}
    rest = {"kind": "sale", "currency": "EUR", "amount_minor": amount, "state": state, "entry_number": None, "idempotency_key": "A-1:0"}
    return Commission(**head, **keys, **numbers, **rest, **fields)
