"""``fairshare rates``: the files of the European Central Bank, zipped or not."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from core.errors import BadInput, FairshareError
from core.settings import Settings
from fairshare import rates
from fairshare.rates import as_text, import_file, listed
from tests.fakes import FakeClock

ROOT = Path(__file__).parents[2]
HISTORY = b"Date,USD,JPY,CYP,\n2026-11-20,1.0834,162.43,N/A,\n2026-11-19,1.083,162.1,N/A,\n1999-01-04,1.1789,133.73,0.58231,\n"


@pytest.fixture
def settings(sqlite_url: str, tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, books_url=sqlite_url)


def zipped(*contents: bytes, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"eurofxref-{number}.csv", content)
    return file.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def quietly(_done: int, _total: int) -> None:
    pass


def test_the_zip_is_read_like_its_csv(settings: Settings, tmp_path: Path, clock: FakeClock):
    first = import_file(settings, clock, written(tmp_path / "eurofxref-hist.zip", zipped(HISTORY)), quietly)
    second = import_file(settings, clock, written(tmp_path / "eurofxref-hist.csv", HISTORY), quietly)

    assert (first.new, first.known, second.new, second.known) == (6, 0, 0, 6)
    assert as_text(first, "eurofxref-hist.zip").splitlines() == [
        "eurofxref-hist.zip: 6 rates of 1999-01-04 to 2026-11-20, 6 new, 0 known already, 0 wrong",
        "  left out, no currencies any more: CYP",
    ]


def test_what_is_there_is_listed(settings: Settings, tmp_path: Path, clock: FakeClock):
    assert "there are no exchange rates yet" in listed(settings, 1)[1]
    import_file(settings, clock, written(tmp_path / "a.csv", HISTORY), quietly)
    plain, text = listed(settings, 1)

    assert plain["days"] == [{"on": "2026-11-20", "rates": {"JPY": "162.43", "USD": "1.0834"}}]
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["JPY", "162.43", "2026-11-20", "3", "days", "since", "1999-01-04"],
        ["USD", "1.0834", "2026-11-20", "3", "days", "since", "1999-01-04"],
    ]


def lying(content: bytes) -> bytes:
    """An archive whose headers say that it unpacks to ten bytes."""
    data = zipped(content)
    size, lie = struct.pack("<L", len(content)), struct.pack("<L", 10)
    assert data.count(size) == 2
    return data.replace(size, lie)


def broken(data: bytes) -> bytes:
    return data[:60] + bytes(8) + data[68:]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (zipped(HISTORY, HISTORY), "holds 2 files"),
        (zipped(b" " * 3_000_001), "a.zip, unpacked, has more than 1 MB"),
        (b"x" * 3_000_001, "a.zip has more than 1 MB"),
        (lying(b" " * 3_000_001), "cannot be unpacked: Bad CRC-32"),
        (zipped(HISTORY)[:60], "cannot be unpacked: File is not a zip file"),
        (zipped(HISTORY).replace(b"PK\x03\x04", b"PK\x03\x04", 1)[:35] + b"\xff\xff\xff" + zipped(HISTORY)[38:], "cannot be unpacked"),
        (broken(zipped(HISTORY, how=zipfile.ZIP_BZIP2)), "cannot be unpacked"),
        (broken(zipped(HISTORY, how=zipfile.ZIP_LZMA)), "cannot be unpacked"),
        (zipped(b"nothing"), "does not begin with Date"),
    ],
    ids=["two", "bomb", "large", "liar", "cut", "broken", "bzip2", "lzma", "other"],
)
def test_an_archive_that_is_none_of_the_banks_is_refused(data, said, settings, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(rates, "MOST_BYTES", 1024 * 1024)
    with pytest.raises((FairshareError, BadInput), match=said):
        import_file(settings, clock, written(tmp_path / "a.zip", data), quietly)


def test_the_command_imports_tells_faults_and_fails_where_there_are_any(sqlite_url: str, tmp_path: Path):
    file = written(tmp_path / "rates.csv", HISTORY + b"2026-11-18,none,162,N/A,\n")
    command = [sys.executable, "-m", "fairshare", "rates", "import", str(file), "--data", str(tmp_path), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60, env=os.environ | {"FAIRSHARE_BOOKS_URL": sqlite_url}
    )

    found = json.loads(done.stdout)
    assert (done.returncode, found["rates"], found["new"]) == (1, 7, 7)
    assert found["faults"] == [{"line": 5, "currency": "USD", "why": "rate 'none' is not a positive decimal such as 1.0834"}]
    assert "importing rates: 7 of 7" in done.stderr
