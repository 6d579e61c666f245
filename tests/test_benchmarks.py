"""Every benchmark runs, measures what it says, says so where it does not, and leaves nothing behind. No timing is asserted."""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import load
from benchmarks.redirect import faults_of
from benchmarks.result import Timing, figures, percentiles, ratios

ROOT = Path(__file__).parent.parent
OURS, PLAIN = "fairshare_strict_rsgi", "starlette_uvicorn"


def run(name: str, *options: str) -> dict[str, Any]:
    """A benchmark's result, from a process of its own; its temporary folder must be empty afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json", *options],
            capture_output=True, text=True, cwd=ROOT, env=os.environ | {"TMPDIR": folder}, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        assert os.listdir(folder) == []
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def assert_ratios(result: dict[str, Any], *names: str) -> None:
    assert result["question"]
    assert result["ratios"].keys() >= set(names)
    for ratio in (*result["ratios"].values(), *result.get("ratios_cpu", {}).values()):
        assert math.isfinite(ratio)
        assert ratio > 0


# --- the five ---------------------------------------------------------------------------------------------------------


def test_redirect_loses_no_click() -> None:
    servers = f"--servers={OURS},fairshare_strict_asgi,{PLAIN}"
    result = run("redirect", "--rounds=1", "--seconds=0.3", "--connections=4", "--settle=0", servers)

    assert_ratios(result, "strict_rsgi_vs_starlette", "strict_asgi_vs_starlette")
    for server in result["servers"].values():
        assert server["answered"] > 0
        assert server["failed"] == 0
        assert server.get("recorded", server["answered"]) == server["answered"]
        assert 0 < server["p50_ms"] <= server["p99_ms"] <= server["p99.9_ms"]
    assert "recorded" in result["servers"][OURS]


def test_the_hot_path_is_taken_to_pieces() -> None:
    result = run("hot_path", "--calls=20", "--rounds=2", "--clicks=64", "--at-once=8")

    assert_ratios(result, "pure_click_vs_encode_and_frame", "strict_edge_vs_encode_and_frame")
    assert result["steps_us"]["whole"] > result["steps_us"]["read the request"] > 0


def test_drain_stores_every_click_and_finds_it() -> None:
    result = run("drain", "--records=300", "--rounds=1", "--fresh-seconds=1", "--rate=100")

    assert_ratios(result, "drain_vs_bare_insert")
    assert result["freshness"]["clicks"] == 100
    assert 0 < result["freshness"]["p95_ms"] <= result["freshness"]["max_ms"]


def test_attribution_agrees_with_the_bare_sql() -> None:
    result = run("attribution", "--orders=60", "--touches=600", "--rounds=1", "--repeats=1")

    assert_ratios(result, "decide_vs_bare_sql")
    assert sum(result["decide_all"]["results"].values()) == 60
    assert result["decide_all"]["results"]["credited"] > 30
    assert result["incremental"].keys() == {"0_dirty", "1_dirty"}, "60 orders are too few for 100 dirty ones"


def test_accrue_is_compared_with_the_very_rows_it_wrote() -> None:
    result = run("accrue", "--orders=40", "--rounds=1", "--postgresql=0")

    assert_ratios(result, "sqlite_accrue_vs_bare_rows")
    assert result["sqlite_accrue"]["rows"]["accruals"] == 40
    assert result["sqlite_accrue"]["rows"]["postings"] == 2 * result["sqlite_accrue"]["rows"]["entries"] > 0


# --- what they share -------------------------------------------------------------------------------------------------


def test_a_ratio_of_one_half_is_half_the_speed_by_the_median_round() -> None:
    ours, baseline = [Timing(4.0, 2.0), Timing(90.0, 2.0), Timing(4.0, 2.0)], [Timing(2.0, 1.5)]

    assert ratios(ours, baseline) == (0.5, 0.75)
    assert figures(ours, records=8)["records_per_s"] == 2


def test_percentiles_are_of_the_sorted_values() -> None:
    assert percentiles(range(100, 0, -1)) == {"p50_ms": 51, "p95_ms": 96, "p99_ms": 100, "max_ms": 100}


def test_a_server_that_lost_a_click_is_a_fault() -> None:
    servers = {"good": {"answered": 5, "failed": 0, "recorded": 5}, "silent": {"answered": 5, "failed": 0}}
    lossy = {"loses": {"answered": 5, "failed": 0, "recorded": 4}, "fails": {"answered": 5, "failed": 2}}

    assert faults_of(servers) == []
    assert faults_of(lossy) == ["fails: 2 requests failed", "loses: answered 5, recorded 4"]


# --- the load --------------------------------------------------------------------------------------------------------

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answers_of(status: str, then_close: bool = False) -> Serve:
    """A server that gives every request the same answer; ``then_close`` hangs up on the second."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = 0
        while await reader.read(65_536) and not (then_close and answered):
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n".encode())
            await asyncio.sleep(0.001)
            writer.write(b"ok")
            answered += 1
        writer.close()

    return serve


def load_of(serve: Serve, connections: int) -> dict[str, float]:
    async def ask() -> dict[str, float]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await load(f"http://127.0.0.1:{port}/c/go", connections, seconds=0.1)

    return asyncio.run(ask())


def test_the_load_counts_whole_answers() -> None:
    result = load_of(answers_of("302 Found"), connections=3)

    assert result["answered"] >= 3
    assert result["failed"] == 0
    assert 0 < result["p50_ms"] <= result["p99.9_ms"]


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
def test_an_answer_that_is_no_redirect_is_a_failure(status: str) -> None:
    result = load_of(answers_of(status), connections=2)

    assert result["failed"] == result["answered"] >= 2


def test_a_request_without_an_answer_is_a_failure() -> None:
    result = load_of(answers_of("302 Found", then_close=True), connections=3)

    assert (result["answered"], result["failed"]) == (3, 3)
