"""Receipts that hold a text are found, and get another event without losing what makes a repeat known."""

from core.clock import Instant
from store.books import Books
from store.identity import PAGE, Held, receipts_holding, replace_event
from store.receipts import Receipt, claim, find_receipt

NOW: Instant = 1_795_000_000_000


def put(books: Books, events: dict[str, bytes], tenant_id: str = "north") -> None:
    with books.writing() as connection:
        for name, event in events.items():
            claim(connection, tenant_id, "order", name, Receipt("hash", "event", event, True), NOW)


def found(books: Books, text: bytes) -> list[str]:
    with books.reading() as connection:
        return [held.external_id for page in receipts_holding(connection, "north", text) for held in page]


def test_they_are_found_by_the_very_bytes(books: Books) -> None:
    put(books, {"1": b'{"key":"em:a_b%c"}', "2": b'{"key":"em:aXbYc"}', "3": b"\xff\\em:a_b%c\x00"})
    put(books, {"9": b"em:a_b%c"}, "south")

    assert found(books, b"em:a_b%c") == ["1", "3"]
    assert found(books, b"\\em") == ["3"]


def test_they_are_found_page_by_page(sqlite_books: Books) -> None:
    put(sqlite_books, {f"{number:04}": b"em:1" for number in range(PAGE + 1)})

    assert len(found(sqlite_books, b"em:1")) == PAGE + 1


def test_only_the_event_is_replaced_and_only_if_it_is_still_that_one(books: Books) -> None:
    put(books, {"1": b"em:1"})
    with books.writing() as connection:
        replace_event(connection, "north", Held("order", "1", b"em:1"), b"none")
        replace_event(connection, "north", Held("order", "1", b"em:1"), b"too late")

        assert find_receipt(connection, "north", "order", "1") == Receipt("hash", "event", b"none", True)
