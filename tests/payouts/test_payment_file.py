"""The payment file: exact bytes, control totals, no formulas, and never before the second person."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NotAllowed
from payouts.cells import csv_bytes, neutral
from payouts.payment_file import file_name, payment_file
from store.batches import Batch, Payout

APPROVED = Batch(
    "north",
    "pb_7",
    "EUR",
    "approved",
    cutoff_at=1,
    prepared_by="frank@north.example",
    prepared_at=2,
    content_hash="ab" * 32,
    approved_by="fiona@north.example",
    approved_hash="ab" * 32,
    payouts=(
        Payout("po_7_1", "anna", "EUR", 1_234_56, "Anna Ahorn", "DE89370400440532013000"),
        Payout("po_7_2", "ben", "EUR", 5, '=HYPERLINK("https://evil.example","Ben, \n GmbH")', "NL91ABNA0417164300"),
    ),
)


def batch(state: str) -> Batch:
    return Batch("north", "pb_7", "EUR", state, 1, "frank@north.example", 2, "ab" * 32, payouts=APPROVED.payouts)


def test_golden_bytes():
    assert payment_file(APPROVED) == (
        b"record,payout_id,affiliate_id,account_holder,iban,amount,currency,reference\r\n"
        b"payout,po_7_1,anna,Anna Ahorn,DE89370400440532013000,1234.56,EUR,north pb_7 po_7_1\r\n"
        b'payout,po_7_2,ben,"\'=HYPERLINK(""https://evil.example"",""Ben, \n GmbH"")",NL91ABNA0417164300,0.05,EUR,north pb_7 po_7_2\r\n'
        b"control,pb_7,2,,,1234.61,EUR," + b"ab" * 32 + b"\r\n"
    )


@pytest.mark.parametrize("state", ["prepared", "void"])
def test_no_file_without_an_approval(state):
    with pytest.raises(NotAllowed, match=f"no payment file for batch pb_7: it is {state}; a second finance user must approve it first"):
        payment_file(batch(state))


def test_a_settled_batch_gives_the_same_file_again():
    assert payment_file(batch("settled")) == payment_file(APPROVED)


def test_its_name():
    assert file_name(APPROVED) == "north-pb_7-EUR.csv"


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\x00=1", "＝1", "＋1", "－1", "＠1", "\n=1"])
def test_what_begins_like_a_formula_is_quoted(text):
    assert neutral(text).startswith("'")
    assert "\x00" not in neutral(text)


@pytest.mark.parametrize("text", ["Anna", "-12.34", "12.34", "", "O'Neil", "a=b"])
def test_what_does_not_is_left_alone(text):
    assert neutral(text) == text


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2), min_size=1))
def test_every_file_reads_back_as_its_neutral_cells(rows):
    read = list(csv.reader(io.StringIO(csv_bytes(rows).decode(), newline="")))

    assert read == [[neutral(cell) for cell in row] for row in rows]
