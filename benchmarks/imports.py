"""How much of the events store's own insert speed is left when an import feeds it?

``python -m benchmarks.imports [--rows 1000000] [--rounds 3]``

Each round imports a new file of clicks (nine columns; visitors of two cells, times of a zone, a user agent in quotes) from its first
byte until its last row is stored, into an empty ``touches`` on chDB. Two baselines, of the same rows in the same round: the bare
insert of the very blocks, already made, as JSONEachRow, which is how the drain inserts; and pyarrow reading the file, nothing
else. ``cpu_us_per_row`` says what the import's steps cost, each by itself: a second thread inserts while the first one reads.
"""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import csv

from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from core.catalogue import Affiliate, Membership, Programme, Tenant
from core.clock import MINUTE, system_clock
from core.settings import Settings
from store.books import Books, open_books
from store.catalogue import put
from store.events import connect_events
from store.migrate import migrate_books, migrate_events
from tracker.affiliates import Affiliates
from tracker.history import Work, collector_spared, run_import
from tracker.mapping import Map, Values, place_columns, read_map
from tracker.past_touches import Ground, TouchReader
from tracker.sheet import opened_sheet
from tracker.shelf import BLOCK_ROWS, Batch, Block, Inserter, Shelf, stamped

SECRET = b"a secret of this benchmark alone"
AFFILIATES = 200
BARE = "touches_bare"
AGENTS = [f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{100 + n}.0.0.0 Safari/537.36" for n in range(40)]
TITLES = "Click ID,Click Date,Publisher,User,Device,Referrer,Agent,Ref1,Ref2"
MAP = """
[[import]]
of = "touches"
tenant = "north"
[[columns]]
touch_id = "Click ID"
occurred_at = "Click Date"
affiliate = "Publisher"
visitor = ["User", "Device"]
referrer = "Referrer"
user_agent = "Agent"
sub1 = "Ref1"
sub2 = "Ref2"
[[constants]]
programme = "main"
[[times]]
zone = "Europe/Berlin"
"""


def write_clicks(path: Path, rows: int, seed: int) -> None:
    """Clicks of one summer in the order of their times, a third of them by a visitor's first."""
    chance = Random(seed)
    at, step = datetime(2025, 6, 1, tzinfo=UTC).timestamp(), 80 * 86_400 / rows
    with path.open("w", encoding="utf-8") as file:
        file.write(TITLES + "\n")
        for number in range(rows):
            at += step
            when = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
            who, user = f"partner-{chance.randrange(AFFILIATES)}", chance.randrange(max(1, rows // 3))
            place = f"https://blog{number % 1000}.example/post/{number % 77}"
            agent = AGENTS[number % len(AGENTS)]
            file.write(f'{seed}-{number},{when},{who},u{user},d{number % 3},{place},"{agent}",campaign{number % 30},\n')


def read_the_map() -> Map:
    found, faults = read_map(MAP, "touches")
    assert found is not None, faults
    return found


def fill(books: Books) -> None:
    """One merchant, one programme, and its members."""
    names = [f"partner-{number}" for number in range(AFFILIATES)]
    with books.writing() as connection:
        put(connection, Tenant("north", "North", "EUR"), "benchmark", 1)
        put(connection, Programme("north", "main", "Main", "https://north.example/"), "benchmark", 1)
        for name in names:
            put(connection, Affiliate(name, name, f"{name}@partner.example"), "benchmark", 1)
            put(connection, Membership("north", "main", name, "approved", 0, 0), "benchmark", 1)


def compare(rows: int, rounds: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Rounds of import, bare insert and bare reading in turn, so that a busy moment of the machine hits them all."""
    settings = Settings(data=folder)
    migrate_books(settings.books)
    with closing(open_books(settings.books)) as books, closing(connect_events(settings.events)) as events:
        migrate_events(events, settings)
        fill(books)
        events.command(f"CREATE TABLE {BARE} AS touches")
        work = Work(books, events, SECRET, system_clock, lambda _address: "")
        ours, bare, read = [], [], []
        faults: list[str] = []
        one_round(work, folder, min(rows, 2_000), seed=0)
        for number in range(1, rounds + 1):
            timings, fault = one_round(work, folder, rows, seed=number)
            for kept, timing in zip((ours, bare, read), timings, strict=True):
                kept.append(timing)
            say(f"round {number} of {rounds}: imported {rows:,} rows in {timings[0].seconds:.2f} s, bare insert {timings[1].seconds:.2f} s")
            faults += fault
        steps = where_time_goes(work, folder, rows, seed=rounds + 1)
    result: dict[str, Any] = {"import": figures(ours, rows), "bare_insert": figures(bare, rows), "bare_reading": figures(read, rows)}
    result["ratios"], result["ratios_cpu"] = {}, {}
    for name, baseline in (("import_vs_bare_insert", bare), ("import_vs_bare_reading", read)):
        result["ratios"][name], result["ratios_cpu"][name] = ratios(ours, baseline)
    return result | {"cpu_us_per_row": steps}, faults


def one_round(work: Work, folder: Path, rows: int, seed: int) -> tuple[tuple[Timing, Timing, Timing], list[str]]:
    """Import new clicks, insert their rows barely, read their file barely; and count."""
    path, map_ = folder / "clicks.csv", read_the_map()
    write_clicks(path, rows, seed)
    for table in ("touches", BARE):
        work.events.command(f"TRUNCATE TABLE {table}")
    with timed() as ours:
        report = run_import(work, path, map_)
    blocks = prepared(path, map_)
    with timed() as bare:
        for index, lines in enumerate(blocks):
            work.events.insert_json(BARE, lines, f"bare:{seed}:{index}")
    with timed() as read:
        read_barely(path)
    held = {table: int(work.events.command(f"SELECT uniqExact(touch_id) FROM {table}")) for table in ("touches", BARE)}
    faults = [f"round {seed}: {table} holds {number} of {rows} clicks" for table, number in held.items() if number != rows]
    return (ours, bare, read), faults + ([f"round {seed}: {report.wrong} rows were wrong"] if report.wrong else [])


def read_barely(path: Path) -> None:
    assert csv.read_csv(path).num_columns == TITLES.count(",") + 1


def reader_of(header: Sequence[str], map_: Map) -> TouchReader:
    names = [f"partner-{number}" for number in range(AFFILIATES)]
    affiliates = Affiliates([Membership("north", "main", name, "approved", 0, 0) for name in names], names, Values(), creates=False)
    ground = Ground(SECRET, (), frozenset({"main"}), affiliates, system_clock(), 10 * MINUTE, lambda _address: "")
    return TouchReader(map_, place_columns(map_, header)[0], ground)


def prepared(path: Path, map_: Map) -> list[bytes]:
    """The file's rows as blocks of JSON, as the drain would make them."""
    blocks: dict[int, list[bytes]] = {}
    with opened_sheet(path, map_) as sheet:
        reader = reader_of(sheet.header, map_)
        for chunk in sheet.chunks():
            table = reader.read(chunk).table
            assert table is not None, "the benchmark's rows are sound"
            times = table["occurred_at"].cast(pa.int64()).to_pylist()
            columns = table.to_pydict()
            columns["occurred_at"] = columns["received_at"] = columns["stored_at"] = [at / 1000 for at in times]
            for at, row in zip(times, zip(*columns.values(), strict=True), strict=True):
                line = msgspec.json.encode(dict(zip(columns, row, strict=True)))
                blocks.setdefault(datetime.fromtimestamp(at / 1000, UTC).month, []).append(line)
    return [b"\n".join(lines[start : start + BLOCK_ROWS]) for lines in blocks.values() for start in range(0, len(lines), BLOCK_ROWS)]


def where_time_goes(work: Work, folder: Path, rows: int, seed: int) -> dict[str, float]:
    """The steps, each by itself, in microseconds of processor time a row."""
    path, map_ = folder / "clicks.csv", read_the_map()
    write_clicks(path, rows, seed)
    work.events.command(f"TRUNCATE TABLE {BARE}")
    spent, shelved = {"split into cells": 0.0, "cells to columns": 0.0, "columns into the store": 0.0}, Shelved()
    shelf = Shelf("north", shelved)
    with collector_spared(), opened_sheet(path, map_) as sheet:
        reader = reader_of(sheet.header, map_)
        chunks = sheet.chunks()
        while True:
            with timed() as splitting:
                chunk = next(chunks, None)
            spent["split into cells"] += splitting.cpu_seconds
            if chunk is None:
                break
            with timed() as reading:
                found = reader.read(chunk)
            spent["cells to columns"] += reading.cpu_seconds
            shelf.add_touches(found.table)
        shelf.flush()
    for block in shelved.kept:
        with timed() as inserting:
            work.events.insert_columns(BARE, stamped(block.columns, system_clock()), block.token)
        spent["columns into the store"] += inserting.cpu_seconds
    return {name: round(seconds / rows * 1e6, 2) for name, seconds in spent.items()}


class Shelved(Inserter):
    """Keeps the blocks that it is given."""

    def __init__(self) -> None:
        self.kept: list[Block] = []

    def put(self, batch: Batch) -> None:
        self.kept += batch.blocks


def main() -> None:
    asked = options(__doc__, rows=1_000_000, rounds=3)
    with tempfile.TemporaryDirectory(prefix="fairshare-imports-") as folder:
        about = {"question": "rows a second from a CSV file to the events store", "rows": asked.rows, "machine": machine(Path(folder))}
        result, faults = compare(asked.rows, asked.rounds, Path(folder))
    publish(about | result, faults)


if __name__ == "__main__":
    main()
