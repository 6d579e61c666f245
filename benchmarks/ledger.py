"""What of the books' own write speed is left when entries are checked, numbered and chained; and how long does verify take?

``python -m benchmarks.ledger [--posted 20000] [--batch 500] [--rounds 3] [--postgresql 1] [--entries 1000000] [--new 1000]``

``post_all`` posts entries of two postings each, a batch a transaction, into empty books: SQLite with full sync, and PostgreSQL with
synchronous commit where its pip-installed server runs here. The baseline takes the rows that this wrote and writes them again through
the bare driver, into equal empty books, in the same order and the same transactions.

``verify`` then reads a ledger of ``--entries`` accruals on SQLite, each with the commission that it booked: all of it, and behind a
checkpoint what ``--new`` entries added. Its baseline is the bare driver reading the same rows.
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from benchmarks.accrue import Batch, FreshBooks, postgresql_template, prepare_books, sqlite_copy, write_bare
from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from core.clock import DAY, system_clock
from core.settings import Settings
from fairshare.collector import undisturbed
from fairshare.demo.cast import NORTH
from payouts.digests import commission_id, evidence
from payouts.ledger import Draft, accrual_postings, post_all, transfer
from payouts.verify import VerifyReport, verify
from store.books import Books, open_books
from store.commissions import Commission, insert_commissions
from store.schema import entries, postings
from tests.servers import NoPostgres

AFFILIATES = 500
READ = (
    "entries ORDER BY tenant_id, number",
    "postings ORDER BY tenant_id, number, position",
    "commissions ORDER BY tenant_id, entry_number",
)


# --- posting ---------------------------------------------------------------------------------------------------------


def compare_posting(result: dict[str, Any], engine: str, fresh: FreshBooks, posted: int, batch: int, rounds: int) -> list[str]:
    """Rounds of ours and the bare driver in turn, after one of each that does not count; adds to ``result``."""
    drafts = list(moves(posted))
    ours, theirs, faults = [], [], []
    for number in range(rounds + 1):
        with fresh(f"{engine}-ours-{number}") as url:
            timing = post_drafts(url, drafts, batch)
            written = batches_of(url, batch)
        with fresh(f"{engine}-bare-{number}") as url:
            bare = write_bare(url, written)
            if batches_of(url, batch) != written or len(written) != -(-posted // batch):
                faults.append(f"{engine}: the bare driver wrote other rows than ours")
        if number:
            say(f"{engine}, round {number} of {rounds}: {posted:,} entries in {timing.seconds:.2f} s, bare rows in {bare.seconds:.2f} s")
            ours.append(timing)
            theirs.append(bare)
    by_clock, by_cpu = ratios(ours, theirs)
    result |= {f"{engine}_post": figures(ours, posted), f"{engine}_bare_rows": figures(theirs, posted)}
    result["ratios"][f"{engine}_post_vs_bare_rows"] = by_clock
    if engine == "sqlite":  # a server's processor time is not in this process
        result["ratios_cpu"][f"{engine}_post_vs_bare_rows"] = by_cpu
    return faults


def post_drafts(url: str, drafts: Sequence[Draft], batch: int) -> Timing:
    with closing(open_books(url)) as books, timed() as timing:
        for at in range(0, len(drafts), batch):
            with books.writing() as connection:
                books.lock_tenant(connection, NORTH)
                post_all(connection, drafts[at : at + batch])
    return timing


def moves(count: int) -> Iterator[Draft]:
    """What releasing holds posts."""
    now = system_clock()
    for number in range(count):
        affiliate_id = f"affiliate-{number % AFFILIATES}"
        yield Draft(
            tenant_id=NORTH,
            kind="release",
            idempotency_key=f"release:{number:032x}",
            posted_at=now + number,
            memo=f"3 commissions of {affiliate_id}: hold over",
            postings=transfer(affiliate_id, "EUR", 1 + number % 50_00, "pending", "approved"),
        )


def batches_of(url: str, batch: int) -> list[Batch]:
    """Everything that was posted, transaction by transaction."""
    with closing(open_books(url)) as books, books.reading() as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in (entries, postings)
        }
    written: list[Batch] = []
    for row in found["entries"]:
        if (row[1] - 1) % batch == 0:
            written.append([(entries, []), (postings, [])])
        written[-1][0][1].append(row)
    for row in found["postings"]:
        written[(row[1] - 1) // batch][1][1].append(row)
    return written


# --- verifying -------------------------------------------------------------------------------------------------------


def time_verify(result: dict[str, Any], url: str, count: int, new: int) -> list[str]:
    """Full, behind a checkpoint, and the bare driver's reading of the same rows; adds to ``result``."""
    with closing(open_books(url)) as books:
        accrue(books, 0, count)
        with undisturbed(), timed() as bare:
            read_bare(url.removeprefix("sqlite:///"))
        with undisturbed(), timed() as full:
            first = verify(books)
        checkpoints = {one.tenant_id: one for one in first.checkpoints}
        accrue(books, count, new)
        with undisturbed(), timed() as later:
            second = verify(books, checkpoints=checkpoints)
    by_clock, by_cpu = ratios([full], [bare])
    result["ratios"]["verify_vs_bare_reading"], result["ratios_cpu"]["verify_vs_bare_reading"] = by_clock, by_cpu
    result["verify_full"] = figures([full], count) | {"cpu_seconds": round(full.cpu_seconds, 3)}
    result["verify_new"] = figures([later], new) | {"cpu_seconds": round(later.cpu_seconds, 3)}
    result["bare_reading"] = figures([bare], count)
    return wrong(first, count, 0) + wrong(second, new, count)


def wrong(report: VerifyReport, count: int, earlier: int) -> list[str]:
    faults = [f"verify: {report.fault}"] if report.fault else []
    if (report.entries, report.commissions, report.earlier) != (count, count, earlier):
        faults.append(f"verify read {report.entries} entries and {report.commissions} commissions of {count}, {report.earlier} earlier")
    return faults


def accrue(books: Books, first: int, count: int) -> None:
    """``count`` accruals of one commission each, the first with number ``first``."""
    now, at_once = system_clock(), 5_000
    for start in range(first, first + count, at_once):
        rows = [commission(number, now) for number in range(start, min(start + at_once, first + count))]
        drafts = [
            Draft(
                tenant_id=NORTH,
                kind="accrual",
                idempotency_key=f"accrual:{row.idempotency_key}",
                posted_at=now,
                memo=f"order {row.order_id}: decision",
                evidence_hash=evidence([row.commission_id]),
                postings=accrual_postings([row]),
                subject_at=row.ordered_at,
            )
            for row in rows
        ]
        with books.writing() as connection:
            books.lock_tenant(connection, NORTH)
            numbers = post_all(connection, drafts)
            insert_commissions(connection, [msgspec.structs.replace(row, entry_number=n) for row, n in zip(rows, numbers, strict=True)])
        if start and start % 100_000 == 0:
            say(f"wrote {start:,} entries")


def commission(number: int, now: int) -> Commission:
    row = Commission(
        tenant_id=NORTH,
        commission_id="",
        programme_id="main",
        order_id=f"order-{number}",
        line_id="1",
        affiliate_id=f"affiliate-{number % AFFILIATES}",
        kind="sale",
        currency="EUR",
        base_minor=100_00,
        amount_minor=1 + number % 50_00,
        rate_card_version=1,
        rule_id="all",
        reason="",
        touch_id=f"touch-{number:026}",
        decision_revision=1,
        policy_version=1,
        inputs_hash=f"{number:064x}",
        state="pending",
        ordered_at=now - DAY,
        hold_until=now + 29 * DAY,
        posted_at=now,
        entry_number=None,
        idempotency_key=f"order-{number}:0",
        pricing_hash=f"{number:064x}",
    )
    return msgspec.structs.replace(row, commission_id=commission_id(row))


def read_bare(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table in READ:
            cursor = connection.execute(f"SELECT * FROM {table}")
            while cursor.fetchmany(5_000):
                pass


def main() -> None:
    asked = options(__doc__, posted=20_000, batch=500, rounds=3, postgresql=1, entries=1_000_000, new=1_000)
    with tempfile.TemporaryDirectory(prefix="fairshare-ledger-") as name:
        folder = Path(name)
        result: dict[str, Any] = {
            "question": "ledger entries posted a second; seconds to verify them",
            "posted": asked.posted, "batch": asked.batch, "entries": asked.entries, "new": asked.new,
            "machine": machine(folder), "ratios": {}, "ratios_cpu": {},
        }  # fmt: skip
        template = Settings(data=folder).books
        prepare_books(template)
        faults = compare_posting(
            result, "sqlite", lambda name: sqlite_copy(template, folder / f"{name}.sqlite"), asked.posted, asked.batch, asked.rounds
        )
        if asked.postgresql:
            try:
                with postgresql_template() as fresh:
                    faults += compare_posting(result, "postgresql", fresh, asked.posted, asked.batch, asked.rounds)
            except NoPostgres as error:
                say(f"PostgreSQL does not run here and is left out: {error}")
        faults += time_verify(result, template, asked.entries, asked.new)
    publish(result, faults)


if __name__ == "__main__":
    main()
