"""Statements: every line explained, and statement = ledger = CSV = payout."""

import csv
import io

import pytest

from core.clock import DAY, SECOND, format_instant
from core.errors import NotFound
from core.events import Line
from core.money import parse_amount
from payouts.batches import approve, prepare, settle
from payouts.statement import read_statement, statement_csv
from tests.people import NORTH, SOUTH

FRANK, FIONA = "frank@north.example", "fiona@north.example"


@pytest.fixture
def batch(world):
    """Anna sold two lines, one of which came partly back; Ben sold one."""
    world.sell("=A-1", "anna", Line("1", 100_00), Line("2", 20_00, sku="A-1", quantity=2), at=world.clock() - 31 * DAY)
    world.sell("A-2", "ben", at=world.clock() - 31 * DAY)
    world.accrue()
    world.refund("=A-1", lines={"1": 25_00})
    world.accrue()
    world.clock.advance(SECOND)
    return prepare(world.books, NORTH, "EUR", world.clock(), FRANK, world.clock())


def test_lines_say_rule_base_and_amount_and_sum_to_the_payout(world, batch):
    with world.books.reading() as connection:
        statement = read_statement(connection, NORTH, batch.batch_id, "anna")

    assert [(line.line_id, line.kind, line.rule, line.base_minor, line.amount_minor) for line in statement.lines] == [
        ("1", "sale", "Everything pays 8 % of the net price", 100_00, 8_00),
        ("1", "refund", "Everything pays 8 % of the net price", -25_00, -2_00),
        ("2", "sale", "SKU A-1 pays 2.50 EUR per unit", 20_00, 5_00),
    ]
    assert (statement.amount_minor, statement.earned_minor, statement.taken_back_minor) == (11_00, 13_00, -2_00)
    assert (statement.payout_id, statement.state, statement.settled_at) == ("po_1_1", "prepared", None)


def test_statement_ledger_csv_and_payout_say_the_same(world, batch):
    approve(world.books, NORTH, batch.batch_id, FIONA, batch.content_hash, world.clock())
    settle(world.books, NORTH, batch.batch_id, FIONA, world.clock())
    with world.books.reading() as connection:
        statement = read_statement(connection, NORTH, batch.batch_id, "anna")
    table = list(csv.DictReader(io.StringIO(statement_csv(statement).decode(), newline="")))

    assert sum(parse_amount(row["amount"], "EUR") for row in table[:-1]) == parse_amount(table[-1]["amount"], "EUR") == 11_00
    assert world.balance("anna").paid_minor == batch.payouts[0].amount_minor == statement.amount_minor == 11_00
    assert table[0] == {
        "payout_id": "po_1_1",
        "order_id": "'=A-1",
        "line_id": "1",
        "kind": "sale",
        "ordered_at": format_instant(statement.lines[0].ordered_at),
        "posted_at": format_instant(statement.lines[0].posted_at),
        "rule": "Everything pays 8 % of the net price",
        "rule_version": "1",
        "base": "100.00",
        "amount": "8.00",
        "currency": "EUR",
        "reason": "",
    }


def test_who_is_not_paid_by_a_batch_has_no_statement_of_it(world, batch):
    with world.books.reading() as connection:
        for tenant_id, batch_id, affiliate_id in ((NORTH, "pb_1", "charlie"), (NORTH, "pb_9", "anna"), (SOUTH, "pb_1", "anna")):
            with pytest.raises(NotFound):
                read_statement(connection, tenant_id, batch_id, affiliate_id)
