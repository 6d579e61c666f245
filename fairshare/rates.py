"""``fairshare rates``: the European Central Bank's reference files into the books, and what is there."""

import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec

from core.clock import Clock
from core.errors import FairshareError
from core.settings import Settings
from fairshare.books import opened_books
from fairshare.output import Advance
from payouts.ecb import SOURCE
from payouts.rates import RatesReport, import_rates
from store.rates import Range, newest_days, ranges

MOST_BYTES = 64 * 1024 * 1024
"""All days since 1999 are 3 MB as CSV and 12 MB as XML."""
SHOWN = 20


def import_file(settings: Settings, clock: Clock, path: Path, advance: Advance) -> RatesReport:
    """Import one reference file: CSV, XML, or the zip that the CSV comes in.

    Raises:
        FairshareError: the file cannot be read, or is none of these.
    """
    data = _content_of(path)
    with opened_books(settings) as books:
        return import_rates(books, data, clock, advance)


def listed(settings: Settings, days: int) -> tuple[dict[str, Any], str]:
    """What is there: each currency with its days, and the values of the newest days."""
    with opened_books(settings) as books, books.reading() as connection:
        found, newest = ranges(connection), newest_days(connection, SOURCE, days)
    plain = {
        "currencies": [msgspec.to_builtins(one) for one in found],
        "days": [{"on": on.isoformat(), "rates": dict(sorted(values.items()))} for on, values in newest.items()],
    }
    return plain, _listed_as_text(found)


def as_text(report: RatesReport, file: str) -> str:
    """For people: the counts, and the first faults as ``line N``."""
    span = f" of {report.first_on} to {report.last_on}" if report.first_on else ""
    lines = [f"{file}: {report.rates:,} rates{span}, {report.new:,} new, {report.known:,} known already, {len(report.faults):,} wrong"]
    if report.unknown:
        lines.append(f"  left out, no currencies any more: {', '.join(report.unknown)}")
    if report.queued:
        lines.append(
            f"  {report.queued:,} orders that lacked a rate are priced again by the running engine, or by fairshare attribute --once"
        )
    lines += [f"  line {fault.line}{f', {fault.currency}' if fault.currency else ''}: {fault.why}" for fault in report.faults[:SHOWN]]
    if len(report.faults) > SHOWN:
        lines.append(f"  and {len(report.faults) - SHOWN:,} more")
    return "\n".join(lines)


def _listed_as_text(found: list[Range]) -> str:
    if not found:
        return "there are no exchange rates yet: import one of the ECB's reference files with fairshare rates import FILE"
    rows = [f"{one.currency}  {one.last_value:>20}  {one.last_on}  {one.days:>6,} days since {one.first_on}" for one in found]
    return "\n".join(["for one EUR, the last value of each currency", *rows])


def _content_of(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    _require_small(len(data), path.name)
    return _unzipped(data, path.name) if data.startswith(b"PK\x03\x04") else data


def _unzipped(data: bytes, name: str) -> bytes:
    """The one file of an archive. What its directory says of its size is not believed: only so much is ever unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise FairshareError(f"{name} holds {len(members)} files; the ECB's holds one, its CSV")
            with archive.open(members[0]) as member:
                content = member.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise FairshareError(f"{name} cannot be unpacked: {error}") from error
    _require_small(len(content), f"{name}, unpacked,")
    return content


def _require_small(size: int, what: str) -> None:
    if size > MOST_BYTES:
        raise FairshareError(f"{what} has more than {MOST_BYTES // 1024**2} MB; all of the ECB's rates have 12")
