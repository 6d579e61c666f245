"""Columns of distinct cells say what their rows say."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tracker.cells import TEXTS, Column, Trouble, column_of, numbers_of, one_each, same, together
from tracker.sheet import Chunk

few = st.lists(st.tuples(*[st.sampled_from("abc ")] * 3), min_size=1, max_size=30)


def columns_of(rows: list[tuple[str, ...]]) -> list[Column]:
    return [column_of(cells) for cells in zip(*rows, strict=True)]


def test_a_column_holds_each_cell_once_however_it_came() -> None:
    cells = ["web", "", "web", "é"]
    for column in (column_of(cells), column_of(pa.array(cells))):
        assert (column.values, column.codes.tolist()) == (["web", "", "é"], [0, 1, 0, 2])
        assert column.each(len).by_row() == [3, 0, 3, 1]
        assert column.rows_where(column.values) == [0, 2, 3]
        assert column.arrow().to_pylist() == cells
    assert same((), 2).arrow(TEXTS).to_pylist() == [[], []]
    assert one_each(pa.array(cells)).by_row() == cells


@given(few)
def test_columns_together_say_the_rows(rows: list[tuple[str, ...]]) -> None:
    assert together(*columns_of(rows)).by_row() == rows
    assert together(same("x", len(rows)), *columns_of(rows)).by_row() == [("x", *row) for row in rows]


@given(few)
def test_rows_have_one_number_where_they_say_the_same(rows: list[tuple[str, ...]]) -> None:
    numbers = dict(zip(rows, numbers_of(columns_of(rows)).tolist(), strict=True))

    assert [numbers[row] for row in rows] == numbers_of([column_of(rows).each(lambda row: row[0]), *columns_of(rows)[1:]]).tolist()
    assert len(set(numbers.values())) == len(set(rows))


def test_a_value_that_is_wrong_is_told_at_each_of_its_rows() -> None:
    chunk = Chunk([5, 6, 9], [pa.array(["x", "", "x"]), ["1", "2", "3"]])
    trouble = Trouble(chunk)
    column: Any = column_of(chunk.columns[0])
    trouble.where("kind", column, lambda cell: "it is x" if cell == "x" else "")

    assert [(fault.line, fault.why, fault.row) for fault in trouble.faults] == [(5, "it is x", ("x", "1")), (9, "it is x", ("x", "3"))]
    only = chunk.only([False, True, True])
    assert (only.lines, only.rows) == ([6, 9], [["", "2"], ["x", "3"]])


def test_numbers_do_not_depend_on_how_a_chunk_is_cut() -> None:
    """An id may come again in another chunk, in which a column says one thing alone."""
    rows = [("c1", "web"), ("c2", "app"), ("c3", "web")]
    whole = numbers_of(columns_of(rows))

    assert np.concatenate([numbers_of(columns_of(rows[:1])), numbers_of(columns_of(rows[1:]))]).tolist() == whole.tolist()
