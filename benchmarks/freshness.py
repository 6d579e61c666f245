"""How long after its recording a click can be asked for: one process records, another drains and is asked over and over.

As in ``fairshare up``: a tracker with a strict spool on one side, the drain's own loop beside other threads on the other.
"""

import multiprocessing
import threading
import time
from typing import Any

from benchmarks.clicks import keep_clicking
from benchmarks.result import percentiles, say
from core.clock import Instant, system_clock
from core.settings import Settings
from store.events import EventsStore, read_query
from tracker.drain import Drain, run_drain

NEW_TOUCHES = read_query(__file__, "new_touches")
ASK_EVERY_S = 0.02
PATIENCE_S = 30.0
SPOOL_ID = "fresh"


def freshness(events: EventsStore, settings: Settings, rate: int, seconds: int) -> tuple[dict[str, Any], list[str]]:
    """Milliseconds from a click's arrival, just before it is appended, to the end of the first question that finds it."""
    if not seconds:
        return {}, []
    say(f"freshness: {rate:,} clicks a second for {seconds} s")
    expected, stop = rate * seconds, threading.Event()
    begin = system_clock()
    recording = multiprocessing.get_context("spawn").Process(
        target=keep_clicking, args=(settings.spool / SPOOL_ID, rate, seconds, 0), daemon=True
    )
    draining = threading.Thread(target=run_drain, args=(Drain(settings, events, system_clock), stop))
    recording.start()
    draining.start()
    try:
        waits, asked, blocks = _watch(events, begin, expected, time.monotonic() + seconds + PATIENCE_S)
    finally:
        recording.join(PATIENCE_S)
        stop.set()
        draining.join()
    faults = [] if len(waits) == expected else [f"freshness: {len(waits)} of {expected} clicks were found"]
    found: dict[str, Any] = {"rate_per_s": rate, "seconds": seconds, "clicks": len(waits), "blocks": blocks}
    found |= {"clicks_a_block": round(len(waits) / max(blocks, 1)), "questions_asked": asked}
    return found | (percentiles(waits) if waits else {}), faults


def _watch(events: EventsStore, begin: Instant, expected: int, deadline: float) -> tuple[list[float], int, int]:
    """Ask for what was stored since the last answer; every click's wait, and how many questions and blocks it took."""
    waits: list[float] = []
    blocks: set[Instant] = set()
    asked, newest = 0, begin
    while len(waits) < expected and time.monotonic() < deadline:
        found = events.select(NEW_TOUCHES, after_ms=newest)
        now = system_clock()
        waits += [now - received_ms for received_ms, _ in found]
        # The drain's blocks become visible in the order of their stored_at, each with one of its own.
        newest = max((stored_ms for _, stored_ms in found), default=newest)
        blocks |= {stored_ms for _, stored_ms in found}
        asked += 1
        time.sleep(ASK_EVERY_S)
    return waits, asked, len(blocks)
