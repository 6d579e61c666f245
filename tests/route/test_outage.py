"""The events store goes away under load, comes back, and hangs for a while: visitors do not notice, and nothing is lost."""

from pathlib import Path

from benchmarks.outage import outage


def test_an_events_store_that_goes_away_costs_no_visitor_and_no_event(tmp_path: Path) -> None:
    """``python -m benchmarks.outage --seconds 60`` is the same for longer, and compares how long clicks take."""
    result = outage(tmp_path, seconds=8, before_s=2, frozen_s=3, clicks_per_s=100)

    assert result["faults"] == [], result
    assert (result["missing"], result["doubled"], result["unanswered"], result["refused"]) == (0, 0, 0, {})
    assert result["raw_duplicates"] == {"clicks": 0, "orders": 0}
    assert result["latency_ms"]["away"]["clicks"] > 100, "clicks went on"
    assert result["latency_ms"]["hanging"]["clicks"] > 50
    assert result["backlog_bytes"] > 20_000, "something had to wait for the store"
    assert result["conservation"]["bad"] == result["poisoned"] >= 20
    assert result["conservation"]["stored"] == result["acknowledged"] + result["poisoned"] + 1, "good records between them were stored"
