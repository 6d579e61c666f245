"""What does a visitor notice while the events store is down, and what becomes of the events?

``python -m benchmarks.outage [--seconds 60] [--before-s 20] [--frozen-s 10] [--clicks-per-s 200]``: a tracker and a
``fairshare drain`` on an events store that is killed with SIGKILL under load, stays away for ``--seconds``, comes back, and
then hangs (SIGSTOP) for ``--frozen-s``. While it is away, records that no program can use are put into the spool: valid and
broken checksums, between good ones.

Prints p50, p99 and p99.9 of clicks before and during (an open loop: times count from when a click was due), and
``p99_during_vs_before``: above one, visitors noticed. Then the audit of :mod:`benchmarks.audit`; the exit code is 1 where a
click was refused, anything is missing, doubled or unbalanced, or a bad record is not in ``bad_rows``.
"""

import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.audit import audit, is_drained
from benchmarks.household import CODE, TENANT, TOKEN, Household, running, wait_for
from benchmarks.result import machine, options, publish, say
from benchmarks.witness import Witness, as_plain, percentile
from core.clock import Instant, system_clock
from core.events import Lead, encode_event
from core.ids import event_id
from tracker.drain import pending_bytes
from tracker.manifest import read_cursor
from tracker.spool import frame, spool_folders

AFTER_S = 2.0
DRAINED_WITHIN_S = 300.0
PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p99.9_ms": 0.999}


def outage(folder: Path, seconds: float, before_s: float, frozen_s: float, clicks_per_s: int) -> dict[str, Any]:
    """Live through it in ``folder``; the result as it is printed, with ``faults``."""
    with running(Household(folder / "apart", "apart")) as household:
        store = household.processes["store"]
        witness = Witness(household.settings.tracker_port, CODE, TOKEN, "outage", clicks_per_s).start()
        try:
            wait_for("the first stored clicks", household.stored_at)
            begun = _pass(before_s)
            say(f"the events store goes away for {seconds:g} s")
            gone = time.monotonic()
            store.kill()
            poisoned = poison(household.settings.spool / "poison", system_clock())
            _pass(seconds)
            back, backlog, now = time.monotonic(), pending(household), system_clock()
            store.start()
            wait_for("what waited", lambda: stored_up_to(household) >= now, DRAINED_WITHIN_S)
            caught_up_s = time.monotonic() - back
            say(f"{backlog:,} bytes stored after {caught_up_s:.1f} s; the events store hangs for {frozen_s:g} s")
            frozen = time.monotonic()
            store.send(signal.SIGSTOP)
            _pass(frozen_s)
            store.send(signal.SIGCONT)
            thawed = time.monotonic()
            _pass(AFTER_S)
        finally:
            witness.stop()
        wait_for("the drain to catch up", lambda: is_drained(household), DRAINED_WITHIN_S)
        found = audit(household, witness)
    phases = {"before": (begun, gone), "away": (gone, back), "hanging": (frozen, thawed)}
    latency = {name: _times(witness, *span) for name, span in phases.items()}
    bad = found.figures["conservation"]["bad"]
    if bad != poisoned:
        found.faults.append(f"{poisoned} records cannot be used, but {bad} are in bad_rows")
    if witness.refused or witness.unanswered:
        found.faults.append(f"{witness.unanswered} requests got no answer, others {witness.refusals}")
    return {
        "question": "what does a visitor notice while the events store is down, and what becomes of the events?",
        "seconds_away": seconds,
        "latency_ms": latency,
        "ratios": {
            "p99_during_vs_before": round(latency["away"]["p99_ms"] / (latency["before"]["p99_ms"] or 1), 3),
            "p99_hanging_vs_before": round(latency["hanging"]["p99_ms"] / (latency["before"]["p99_ms"] or 1), 3),
        },
        "backlog_bytes": backlog,
        "backlog_stored_after_s": round(caught_up_s, 2),
        "poisoned": poisoned,
        **as_plain(witness),
        **found.figures,
        "faults": found.faults,
    }


def poison(folder: Path, now: Instant) -> int:
    """A segment of records that no program can use, between good ones; returns how many."""
    good = [frame(encode_event(Lead(event_id(now, n), TENANT, f"l{n}", "signup", now, now))) for n in range(len(senseless(now)) + 1)]
    lines = [line for pair in zip(senseless(now), good, strict=False) for line in pair]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    partial.write_bytes(good[-1] + b"".join(lines))
    partial.rename(folder / f"{now * 1000:020d}.log")
    return len(senseless(now))


def senseless(now: Instant) -> list[bytes]:
    """Lines of a segment: whole ones with senseless content, and some whose checksum does not fit."""
    stamp = b'"tenant_id":"shop","received_at":%d,"occurred_at":%d' % (now, now)
    payloads = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{",
        b"\xff\xfe\x00",
        b"[" * 3000 + b"]" * 3000,
        b'{"event":"touch"}',
        b'{"event":"wedding","event_id":"X1",%b}' % stamp,
        b'{"event":"touch","event_id":7,%b}' % stamp,
        b'{"event":"touch","event_id":"X2","kind":"click","tenant_id":"shop","received_at":-5,"occurred_at":99999999999999}',
        b'{"event":"order","event_id":"X3","order_id":"o","currency":"EUR","lines":"none",%b}' % stamp,
        b'{"event":"lead","event_id":"X4","lead_id":"%b","name":7,%b}' % (b"x" * 200_000, stamp),
    ]
    whole = frame(b'{"event":"lead"}')
    return [*map(frame, payloads), b"garbage\n", b"\n", b"\x00" * 64 + b"\n", b"0" * 8 + whole[8:], whole[:8] + b"\t" + whole[9:]]


def pending(household: Household) -> int:
    """Bytes that wait for the events store."""
    return sum(pending_bytes(folder, read_cursor(folder)) for folder in spool_folders(household.settings.spool))


def stored_up_to(household: Household) -> Instant:
    """When the newest click that is stored was received."""
    return max((cursor.received_at for cursor in household.cursors()), default=0)


def _pass(seconds: float) -> float:
    began = time.monotonic()
    time.sleep(seconds)
    return began


def _times(witness: Witness, from_s: float, to_s: float) -> dict[str, float]:
    times = [took for due, took in list(witness.times) if from_s <= due < to_s]
    return {"clicks": len(times)} | {name: percentile(times, part) for name, part in PERCENTILES.items()}


def main() -> None:
    asked = options(__doc__, seconds=60, before_s=20, frozen_s=10, clicks_per_s=200)
    folder = Path(tempfile.mkdtemp(prefix="fairshare-outage-"))
    try:
        result = outage(folder, asked.seconds, asked.before_s, asked.frozen_s, asked.clicks_per_s)
        result["machine"] = machine(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    publish(result, result.pop("faults"))


if __name__ == "__main__":
    main()
