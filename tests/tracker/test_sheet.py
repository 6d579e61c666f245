"""A foreign file's rows are those that the csv module reads, whoever splits them."""

import csv
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tracker.mapping import Map
from tracker.sheet import opened_sheet

TITLES = "a,b"


def read(path: Path, lines: list[str], end: str = "\n") -> tuple[list[tuple[int, list[str]]], list[int]]:
    path.write_bytes(end.join([TITLES, *lines, ""]).encode())
    rows, faulty = [], []
    with opened_sheet(path, Map("touches", "north", {}, encoding="utf-8-sig")) as sheet:
        for chunk in sheet.chunks():
            rows += list(zip(chunk.lines, chunk.rows, strict=True))
            faulty += [fault.line for fault in chunk.faults]
    return rows, faulty


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sheet") / "file.csv"


cell = st.text('a", \té', max_size=4)
quoted = st.text('a", é', max_size=4).map(lambda text: '"' + text.replace('"', '""') + '"')


@given(
    st.lists(
        st.lists(cell | quoted | quoted | st.sampled_from(["null", "NA", "#N/A", "1e5"]), min_size=1, max_size=3).map(",".join), max_size=5
    )
)
def test_lines_are_the_rows_that_the_csv_module_reads(path: Path, lines: list[str]) -> None:
    try:
        alone = [next(csv.reader([line], strict=True), []) for line in lines]
    except csv.Error:
        assume(False)
    expected = [(line, row) for line, row in enumerate(alone, 2) if len(row) == 2]

    for end in ("\n", "\r\n"):
        rows, faulty = read(path, lines, end)
        assert (rows, faulty) == (expected, [line for line, row in enumerate(alone, 2) if len(row) not in (0, 2)])


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('"x"y,1', None),
        ('"x" ,1', None),
        ('x"y,1', ['x"y', "1"]),
        ('x"y",1', ['x"y"', "1"]),
        ('"x""y",1', ['x"y', "1"]),
        ('"x,""y",""', ['x,"y', ""]),
        ("x\0y,1", ["x\0y", "1"]),
        ("", None),
    ],
)
def test_a_line_among_others_is_read_for_itself(path: Path, line: str, row: list[str] | None) -> None:
    rows, faulty = read(path, ["g,1", line, '"g",2'])

    assert rows == [(2, ["g", "1"]), *([(3, row)] if row else []), (4, ["g", "2"])]
    assert faulty == ([3] if row is None and line else [])


def test_a_cr_alone_does_not_make_up_for_a_row_of_two_lines(path: Path) -> None:
    rows, faulty = read(path, ["g,1\rh,2", '"p', 'q",3', "i,4"])

    assert (rows, faulty) == ([(3, ["p\nq", "3"]), (5, ["i", "4"])], [2])
