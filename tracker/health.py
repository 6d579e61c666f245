"""What a tracker says of itself: ``/health`` for people and supervisors, ``/metrics`` for Prometheus. Totals only."""

from typing import Any

import msgspec

from tracker.commit import Spool
from tracker.counters import Counters
from tracker.links import EMPTY, LinkTable


def health_of(
    counters: Counters,
    spool: Spool,
    table: LinkTable,
    lag: dict[str, int | str] | None = None,
    sharing: dict[str, Any] | None = None,
    watching: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """``ok`` is false while the disk refuses records, or where the catalogue could never be read.

    ``lag`` is how far the relay is, where there is one, and ``sharing`` what this tracker hears of the others' counts: no
    reason to send visitors elsewhere, as nothing is lost by either. ``watching`` is how reading the catalogue goes.
    """
    is_loaded = table is not EMPTY
    return {
        "ok": is_loaded and spool.is_healthy,
        "tracker_id": counters.tracker_id,
        "started_at": counters.started_at,
        "spool": msgspec.to_builtins(spool.state()),
        "catalogue": {"loaded": is_loaded, "version": max(table.version, 0), "links": len(table.links)} | (watching or {}),
        "counters": msgspec.to_builtins(counters.totals) | {"bad_requests": dict(counters.bad_requests)},
        **({"queue": lag} if lag else {}),
        **({"limits": sharing} if sharing else {}),
    }


def metrics_of(counters: Counters, spool: Spool, lag: dict[str, int | str] | None = None) -> tuple[str, str]:
    """The text and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

    class Snapshot(Collector):
        def collect(self) -> list[Metric]:
            families: list[Metric] = [
                CounterMetricFamily(f"tracker_{name}", f"Events {name} since the process started.", value=value)
                for name, value in msgspec.structs.asdict(counters.totals).items()
            ]
            bad = CounterMetricFamily("tracker_bad_requests", "Refused requests by error code.", labels=["code"])
            for code, value in sorted(counters.bad_requests.items()):
                bad.add_metric([code], value)
            state = spool.state()
            failures = CounterMetricFamily("tracker_spool_failures", "Failed writes and syncs.", value=state.failures)
            waiting = GaugeMetricFamily("tracker_spool_waiting", "Records that wait for the disk.", value=state.waiting)
            last = GaugeMetricFamily("tracker_spool_commit_seconds", "How long the last commit took.", value=state.last_commit_ms / 1000)
            queue = [
                GaugeMetricFamily(f"tracker_queue_{name}", f"The relay's {name.replace('_', ' ')}.", value=value)
                for name, value in (lag or {}).items()
                if isinstance(value, int)
            ]
            return [*families, bad, failures, waiting, last, *queue]

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry).decode(), CONTENT_TYPE_LATEST
