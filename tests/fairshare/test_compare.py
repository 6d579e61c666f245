"""``fairshare models --paths``: what is read, what is refused with its line, and that both ways of reading agree."""

import json
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attribution.tally import Paths
from core.errors import BadInput, NotFound
from core.settings import Settings
from fairshare import path_file
from fairshare.compare import MODELS_OF_PATHS, compare_orders, compare_paths, read_asked
from fairshare.path_file import read_path_file
from tests.attribution.path_rows import tables

ROOT = Path(__file__).parents[2]
HEAD = "path,total_conversions,total_conversion_value,total_null\n"
GAP = HEAD + "X > Y > X > Z,5,55.5,10\nY > Z,3,12,4\nZ > X,0,0,6\nX,1,2.25,9\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        file = tmp_path / "paths.csv"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return write


def content(paths: Paths) -> list[tuple[tuple[str, ...], Fraction, Fraction, Fraction]]:
    columns = [[Fraction(one, each.scale) for one in each.whole()] for each in (paths.conversions, paths.values, paths.nulls)]
    return list(zip(paths.paths, *columns, strict=True))


def by_rows(file: Path) -> Paths:
    raw = file.read_bytes()
    return path_file.paths_of(list(path_file._read_by_rows(file.name, raw, path_file._columns_of(file.name, raw))))


def by_columns(file: Path) -> Paths | None:
    raw = file.read_bytes()
    return path_file._read_by_columns(raw, path_file._columns_of(file.name, raw))


def test_the_json_is_models_of_channels_of_conversions_and_value(write) -> None:
    file = write(GAP)
    command = [sys.executable, "-m", "fairshare", "models", "--paths", str(file), "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60).stdout)

    assert list(found) == ["first", "last", "linear", "markov", "shapley"]
    assert found["first"] == {
        "X": {"conversions": 6.0, "value": 57.75},
        "Y": {"conversions": 3.0, "value": 12.0},
        "Z": {"conversions": 0.0, "value": 0.0},
    }
    assert found["shapley"]["Z"] == {"conversions": float(Fraction(19, 6)), "value": 24.5}
    assert found["markov"]["X"]["conversions"] == float(Fraction(2172271104, 684431081))


def test_the_table_has_a_column_for_each_model_and_a_row_for_their_sum(write) -> None:
    _, text = compare_paths(write(GAP), order=2)
    first, *_, last = text.split("\n\n")[0].splitlines()

    assert first.split() == ["conversions", *MODELS_OF_PATHS]
    assert last.split() == ["all", *["9.00"] * 5]


def test_no_nulls_and_a_file_without_nulls_are_the_same(write) -> None:
    told, _ = compare_paths(write(GAP), nulls=False)
    bare = write("path,total_conversions,total_conversion_value\nX > Y > X > Z,5,55.5\nY > Z,3,12\nZ > X,0,0\nX,1,2.25\n")

    assert compare_paths(bare)[0] == told != compare_paths(write(GAP))[0]
    with pytest.raises(BadInput, match="no column total_null"):
        compare_paths(write("path,total_conversions\nA,1\n"), nulls=True)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GAP.encode(),
        GAP.replace("\n", "\r\n").encode(),
        GAP.rstrip().encode(),
        GAP.replace("X > Y > X > Z", '" X>Y  > X > Z "').encode(),
        GAP.replace("55.5", "5.55e1").encode(),
        GAP.replace("\n", "\n\n").encode(),
        "\n".join(line + ",more" for line in GAP.splitlines()).encode(),
    ],
    ids=["byte order mark", "CRLF", "no last line end", "quotes and blanks", "exponent", "empty lines", "a column more"],
)
def test_the_same_file_in_other_clothes(write, text: bytes) -> None:
    assert content(read_path_file(write(text)).paths) == content(read_path_file(write(GAP)).paths)


def test_names_may_hold_commas_quotes_and_any_letters(write) -> None:
    found, _ = compare_paths(write('path,total_conversions\n"Söndag, ""rea"" > 朝",2\n'))

    assert found["linear"] == {'Söndag, "rea"': {"conversions": 1.0, "value": 0.0}, "朝": {"conversions": 1.0, "value": 0.0}}


def test_huge_counts_are_exact(write) -> None:
    rows = "".join(f"A > B > C,{10**18 - place},0.{'0' * 17}{place},999999999999999999\n" for place in range(1, 6))
    paths = read_path_file(write(HEAD + rows)).paths

    assert paths.conversions.total() == 5 * 10**18 - 15
    assert paths.values.total() == Fraction(15, 10**18)


def test_a_header_alone_has_no_channels(write, capsys) -> None:
    assert compare_paths(write(HEAD))[0] == {model: {} for model in MODELS_OF_PATHS}
    assert "no paths" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("A > > B,1,0,0", "line 3: path 'A > > B' has an empty channel"),
        (",1,0,0", "line 3: path '' has an empty channel"),
        ("A,1,0", "line 3: has 3 fields, the header has 4"),
        ("A,1,0,0,9", "line 3: has 5 fields"),
        ("A,-1,0,0", "line 3: total_conversions '-1' is not a number from 0"),
        ("A,,0,0", "line 3: total_conversions '' is not a number"),
        ("A,one,0,0", "line 3: total_conversions 'one'"),
        ("A,1,NaN,0", "line 3: total_conversion_value 'NaN'"),
        ("A,1,inf,0", "line 3: total_conversion_value 'inf'"),
        ("A,1,0,1e99", "line 3: total_null '1e99'"),
        ("A,1,0,0x10", "line 3: total_null '0x10'"),
        ("A,0,5,1", "line 3: total_conversion_value is 5, and there is no conversion"),
        ('A,1,0,"0" 1', "line 3: not a row of CSV"),
        ('""A,1,0,0', "line 3: not a row of CSV"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_nothing_is_computed(write, row: str, fault: str) -> None:
    with pytest.raises(BadInput) as error:
        compare_paths(write(f"{HEAD}A,1,0,0\n{row}\nB,2,0,0\n"))

    assert fault in str(error.value)
    assert "1 row is not usable, nothing was computed" in str(error.value)


def test_lines_are_counted_as_an_editor_does(write) -> None:
    with pytest.raises(BadInput, match="line 6: total_conversions 'x'"):
        compare_paths(write(f'{HEAD}\n"A\n>B",1,0,0\n\nC,x,0,0\n'))


def test_many_bad_rows_are_named_first_and_counted(write) -> None:
    with pytest.raises(BadInput, match=r"25 rows are not usable.*line 2: .*line 11: .*and 15 more"):
        compare_paths(write(HEAD + "A,x,0,0\n" * 25))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("path,conversions\nA,1\n", "has no column total_conversions; it names path, conversions"),
        ("path,total_conversions,path\nA,1,B\n", "has the column path twice"),
        (HEAD + "A\xff,1,0,0\n", "not UTF-8"),
    ],
    ids=["empty", "no column", "a column twice", "another encoding"],
)
def test_a_file_that_is_none_is_refused(write, text: str, fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        compare_paths(write(text.encode("latin-1")))


@given(tables)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_ways_of_reading_agree(write, table) -> None:
    def line(row) -> str:
        return f"{' > '.join(row.path)},{row.conversions},{float(row.value):.2f},{row.nulls}\n"

    file = write(HEAD + "".join(map(line, table)))
    fast = by_columns(file)

    assert fast is not None, "a plain file is read by columns"
    assert content(fast) == content(by_rows(file)) == [(row.path, row.conversions, row.value, row.nulls) for row in table]


@given(st.text(st.sampled_from('AB >,"\n\r0159.e-\x00'), max_size=40))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused_alike(write, text: str) -> None:
    file = write("path,total_conversions\n" + text)
    fast = by_columns(file)
    if fast is not None:
        assert content(fast) == content(by_rows(file))
        return
    with suppress(BadInput):
        read_path_file(file)


# --- over orders: what is asked --------------------------------------------------------------------------------------


def test_a_day_stands_for_its_midnight_and_the_period_is_half_open() -> None:
    asked = read_asked("north", "2026-11-01", "2026-11-02T12:00:00+01:00", 2, None)

    assert asked.to_at - asked.from_at == 35 * 3_600_000
    assert (asked.order, asked.nulls) == (2, True)


@pytest.mark.parametrize(
    ("tenant", "from_text", "to_text"),
    [
        (None, "2026-11-01", "2026-12-01"),
        ("north", None, "2026-12-01"),
        ("north", "2026-12-01", "2026-12-01"),
        ("north", "1990-01-01", "2026-01-01"),
        ("north", "soon", "2026-12-01"),
    ],
)
def test_what_is_missing_or_no_period_is_said(tenant: str | None, from_text: str | None, to_text: str) -> None:
    with pytest.raises(BadInput, match="--"):
        read_asked(tenant, from_text, to_text, 1, None)


def test_an_unknown_merchant_is_not_found(tmp_path: Path) -> None:
    from store.migrate import migrate_books

    installation = Settings(data=tmp_path)
    migrate_books(installation.books)
    with pytest.raises(NotFound, match="no tenant nowhere"):
        compare_orders(installation, read_asked("nowhere", "2026-11-01", "2026-12-01", 1, None), lambda _done, _total: None)
