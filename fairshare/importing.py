"""``fairshare import``: another system's touches, leads and orders, by a map. Rows that cannot be read go to a file beside them."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from core.clock import MINUTE, Clock
from core.errors import FairshareError
from core.settings import Settings
from core.toml_tables import Fault
from fairshare.books import opened_books
from fairshare.output import Advance
from fairshare.stores import opened_events
from fairshare.text_file import read_text_file
from payouts.cells import csv_bytes
from store.installation import installation_secret
from tracker.country import open_countries
from tracker.history import ImportReport, MapRefused, Work, run_import
from tracker.mapping import Map, Subject, read_map
from tracker.sheet import RowFault, opened_sheet

MAP_BYTES = 16 * 1024 * 1024
KEPT = 100_000
"""So many faults are written down; the rest is counted."""

SHOWN = 5
TITLES = ("line", "field", "error")


class Imported(msgspec.Struct, frozen=True):
    """What an import did; ``faults`` are the map's, for which it did nothing, and ``wrong`` the first rows that it left out.
    ``errors_file`` is empty where there is none."""

    report: ImportReport | None = None
    faults: tuple[Fault, ...] = ()
    wrong: tuple[RowFault, ...] = ()
    errors_file: str = ""

    @property
    def is_whole(self) -> bool:
        """True where every row went in, or was there."""
        return self.report is not None and not self.report.wrong


class ErrorsFile:
    """``FILE.errors.csv``: the faulty rows under their own columns, so that it can be mended and imported by the same map. It is made
    with the first of them; spreadsheets execute nothing in it. Where it is not ``is_kept``, only the ``first`` few are."""

    def __init__(self, path: Path, header: Sequence[str], is_kept: bool = True) -> None:
        self.path = path
        self._is_kept = is_kept
        self._header = header
        self._file: BinaryIO | None = None
        self.written = 0
        self.first: list[RowFault] = []

    def __call__(self, faults: Sequence[RowFault]) -> None:
        self.first += faults[: max(0, SHOWN - len(self.first))]
        if not self._is_kept:
            return
        if self._file is None:
            self._file = self.path.open("wb")
            self._file.write(csv_bytes([(*TITLES, *self._header)]))
        some = faults[: max(0, KEPT - self.written)]
        self.written += len(some)
        rows = [(str(fault.line), fault.field, fault.why, *fault.row) for fault in some]
        self._file.write(csv_bytes([[cell.encode("utf-8", "backslashreplace").decode() for cell in row] for row in rows]))

    def __enter__(self) -> "ErrorsFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file:
            self._file.close()


def import_file(
    settings: Settings, clock: Clock, subject: Subject, path: Path, map_file: Path, dry_run: bool, advance: Advance
) -> Imported:
    """Import a file by a map; a dry run checks everything and writes nothing, not even the file of errors.

    Raises:
        FairshareError: the file cannot be read, or a store does not answer.
    """
    map_, faults = read_map(_text_of(map_file), subject)
    if map_ is None:
        return Imported(faults=tuple(faults))
    header = _header_of(path, map_)
    errors_path = path.with_name(f"{path.stem}.errors.csv")
    with (
        opened_books(settings) as books,
        opened_events(settings) as events,
        closing(open_countries(settings)) as countries,
        ErrorsFile(errors_path, header, is_kept=not dry_run) as errors,
    ):
        tolerance_ms = settings.bad_clock_tolerance_minutes * MINUTE
        secret = installation_secret(settings)
        work = Work(books, events, secret, clock, countries.country_of, tolerance_ms, dry_run, advance, errors)
        try:
            report = run_import(work, path, map_)
        except MapRefused as refused:
            return Imported(faults=refused.faults)
    return Imported(report, wrong=tuple(errors.first), errors_file=str(errors_path) if errors.written else "")


def as_plain(found: Imported) -> dict[str, Any]:
    """For programs."""
    plain: dict[str, Any] = msgspec.to_builtins(found.report) if found.report else {}
    return plain | {
        "faults": [msgspec.to_builtins(fault) for fault in found.faults],
        "first_errors": [{"line": fault.line, "field": fault.field, "error": fault.why} for fault in found.wrong],
        "errors_file": found.errors_file or None,
    }


def as_text(found: Imported, file: str, map_file: str) -> str:
    """For people: the counts and the first errors, or every fault of the map as ``FILE line N: what``."""
    report = found.report
    if report is None:
        lines = [f"{map_file} line {fault.line}: {fault.message}" for fault in found.faults]
        return "\n".join([*lines, f"{len(lines)} {'fault' if len(lines) == 1 else 'faults'}; nothing was imported"])
    did = "would be imported" if report.dry_run else "imported"
    counts = [f"{report.imported:,} {did}", f"{report.known:,} known already", f"{report.skipped:,} skipped", f"{report.wrong:,} wrong"]
    if report.subject == "touches":
        counts.pop(1)
    lines = [f"{file}: {report.rows:,} rows, {', '.join(counts)}"]
    lines += [f"  {name}" for name in _remarks(report)]
    lines += [f"  new member: {one}" for one in report.created[:20]]
    if len(report.created) > 20:
        lines.append(f"  … and {len(report.created) - 20} more new members")
    if report.dry_run:
        lines += ["  the first as they would be stored:", *(f"    {msgspec.json.encode(row).decode()}" for row in report.shown)]
    lines += [f"  line {fault.line}{f', {fault.field}' if fault.field else ''}: {fault.why}" for fault in found.wrong]
    if found.errors_file:
        lines.append(f"  the rows that are wrong are in {found.errors_file}: mend them there and import that file with the same map")
    return "\n".join(lines)


def _remarks(report: ImportReport) -> list[str]:
    remarks = []
    if report.subject == "orders" and report.events != report.imported:
        remarks.append(f"{report.events:,} orders of {report.imported:,} lines")
    if report.ambiguous:
        remarks.append(f"{report.ambiguous:,} times were shown twice by a clock that was set back; the map's rule chose")
    if report.missing:
        remarks.append(f"{report.missing:,} times were skipped by a clock that was set forward; they count on from before")
    if report.early:
        remarks.append(f"{report.early:,} touches are from before their affiliate was a member, or after: they earn nothing")
    if report.late_blocks:
        remarks.append(f"{report.late_blocks:,} blocks became visible late; import the file once more when the store is less busy")
    return remarks


def _text_of(map_file: Path) -> str:
    if map_file.stat().st_size > MAP_BYTES:
        raise FairshareError(f"{map_file.name} has more than {MAP_BYTES // 1024**2} MB; is it the map?")
    return read_text_file(map_file)


def _header_of(path: Path, map_: Map) -> list[str]:
    with opened_sheet(path, map_) as sheet:
        return sheet.header
