"""How much of the events store's own insert speed is left when the drain feeds it, and how soon can a click be asked for?

``python -m benchmarks.drain [--records 100000] [--rounds 3] [--fresh-seconds 10] [--rate 5000]``

Each round drains a spool of new clicks into an empty ``touches`` on chDB; the baseline inserts the very same blocks, already
made, into an empty table of the same definition. ``us_per_record`` says where the time goes, each step by itself: the drain
makes one range's blocks while the store inserts another's, so that the steps sum to more. ``freshness`` runs the drain's
loop against a process that records ``rate`` clicks a second, and asks the store over and over for what is new.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.clicks import clicks, write_spool
from benchmarks.freshness import freshness
from benchmarks.result import Timing, figures, machine, options, publish, ratios, say, timed
from benchmarks.watched import Inserted, WatchedEvents
from core.clock import system_clock
from core.events import Touch
from core.settings import Settings
from store.events import EventsStore, connect_events
from store.migrate import migrate_events
from tracker.country import open_countries
from tracker.drain import RANGE_RECORDS, Drain, next_range
from tracker.enrich import CountryOf, read_event, rows
from tracker.loading import Range, enrich_range
from tracker.manifest import Cursor, remove_manifest, write_cursor, write_manifest

WARM_UP_RECORDS = 2_000
BARE = "touches_bare"


def compare(records: int, rounds: int, rate: int, fresh_seconds: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Rounds of drain and bare insert in turn, so that a busy moment of the machine hits both; then the rest of the figures."""
    settings = Settings(data=folder)
    with closing(connect_events(settings.events)) as events:
        migrate_events(events, settings)
        events.command(f"CREATE TABLE {BARE} AS touches")
        one_round(events, settings, "warm-up", min(records, WARM_UP_RECORDS), seed=0)
        drained, bare, faults = [], [], []
        for number in range(1, rounds + 1):
            ours, theirs, fault = one_round(events, settings, f"r{number}", records, seed=number)
            say(f"round {number} of {rounds}: drained {records:,} clicks in {ours.seconds:.2f} s, bare insert {theirs.seconds:.2f} s")
            drained.append(ours)
            bare.append(theirs)
            faults += fault
        stages = where_time_goes(events, settings, records, seed=rounds + 1)
        fresh, late = freshness(events, settings, rate, fresh_seconds)
    by_clock, by_cpu = ratios(drained, bare)
    result = {
        "drain": figures(drained, records),
        "bare_insert": figures(bare, records),
        "ratios": {"drain_vs_bare_insert": by_clock},
        "ratios_cpu": {"drain_vs_bare_insert": by_cpu},
        "us_per_record": stages,
        "freshness": fresh,
    }
    return result, faults + late


def one_round(events: EventsStore, settings: Settings, name: str, records: int, seed: int) -> tuple[Timing, Timing, list[str]]:
    """Drain new clicks, insert the same blocks barely, and count both tables."""
    now = system_clock()
    write_spool(settings.spool / name, list(clicks(records, now - records, seed)), now)
    for table in ("touches", BARE):
        events.command(f"TRUNCATE TABLE {table}")
    watched = WatchedEvents(events)
    with Drain(settings, watched, system_clock) as drain, timed() as ours:
        while drain.step().pending_bytes:
            pass
    with timed() as theirs:
        insert_bare(events, watched.inserted)
    stored = {table: int(events.command(f"SELECT uniqExact(touch_id) FROM {table}")) for table in ("touches", BARE)}
    return ours, theirs, [f"{name}: {table} holds {number} of {records} clicks" for table, number in stored.items() if number != records]


def insert_bare(events: EventsStore, blocks: Sequence[Inserted]) -> None:
    for block in blocks:
        events.insert_json(BARE, block.lines, block.token)


# --- where the time goes ---------------------------------------------------------------------------------------------


def where_time_goes(events: EventsStore, settings: Settings, records: int, seed: int) -> dict[str, dict[str, float]]:
    """One more spool, each step of its ranges timed apart, in microseconds a record.

    ``making_blocks`` takes that step to pieces: each piece is done once more by itself, on the same records.
    """
    now, folder = system_clock(), settings.spool / "stages"
    write_spool(folder, list(clicks(records, now - records, seed)), now)
    steps: dict[str, float] = {}
    pieces: dict[str, float] = {}
    cursor = Cursor()
    with closing(open_countries(settings)) as countries, closing(open_countries(settings)) as fresh:
        while found := _timed(steps, "read and check", next_range, folder, cursor, RANGE_RECORDS):
            manifest = _timed(steps, "make blocks", enrich_range, found, system_clock(), 0, countries.country_of)
            _timed(steps, "manifest", write_manifest, folder, manifest)
            for block in manifest.blocks:
                _timed(steps, "insert", events.insert_json, block.table, block.lines, block.token)
            cursor = Cursor(segment=manifest.segment, offset=manifest.end)
            _timed(steps, "cursor", write_cursor, folder, cursor)
            remove_manifest(folder)
            take_to_pieces(pieces, found, fresh.country_of)
    return {"steps": _per_record(steps, records), "making_blocks": _per_record(pieces, records)}


def take_to_pieces(pieces: dict[str, float], found: Range, country_of: CountryOf) -> None:
    """The work of :func:`tracker.loading.enrich_range`, piece by piece; grouping by table and month is what remains."""
    payloads = [payload for _, _, payload in found.records if isinstance(payload, bytes)]
    touches = _timed(pieces, "decode", lambda: [event for payload in payloads if isinstance(event := read_event(payload), Touch)])
    _timed(pieces, "country", lambda: [country_of(touch.ip) for touch in touches])
    placed = _timed(pieces, "class, device, row", lambda: [rows(touch, 0, lambda _address: "")[0].row for touch in touches])
    _timed(pieces, "encode", lambda: msgspec.json.Encoder().encode_lines(placed))


def _timed(spent: dict[str, float], name: str, work: Callable[..., Any], *arguments: Any) -> Any:
    with timed() as timing:
        answer = work(*arguments)
    spent[name] = spent.get(name, 0.0) + timing.seconds
    return answer


def _per_record(spent: dict[str, float], records: int) -> dict[str, float]:
    return {name: round(seconds / records * 1e6, 2) for name, seconds in spent.items()}


def main() -> None:
    asked = options(__doc__, records=100_000, rounds=3, fresh_seconds=10, rate=5_000)
    with tempfile.TemporaryDirectory(prefix="fairshare-drain-") as folder:
        about = {"question": "clicks a second from spool to events store", "records": asked.records, "machine": machine(Path(folder))}
        result, faults = compare(asked.records, asked.rounds, asked.rate, asked.fresh_seconds, Path(folder))
    publish(about | result, faults)


if __name__ == "__main__":
    main()
