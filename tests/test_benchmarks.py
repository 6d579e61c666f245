"""Every benchmark runs, measures what it says, says so where it does not, and leaves nothing behind. No timing is asserted."""

import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from attribution.heuristics import rule_shares
from attribution.markov import markov
from attribution.tally import Row, paths_of
from benchmarks import memory, open_loop, peers, restart, scale
from benchmarks.arrivals import arrive, is_whole
from benchmarks.load import load, requests_to
from benchmarks.redirect import faults_of
from benchmarks.result import Timing, figures, percentiles, ratios
from core.events import Touch, decode_event
from tests.route.installation import wait_for
from tracker.spool import Damage, read_records, segments

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


# --- each of them ------------------------------------------------------------------------------------------------------


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


def test_an_import_is_compared_with_the_very_rows_it_wrote() -> None:
    result = run("imports", "--rows=500", "--rounds=1")

    assert_ratios(result, "import_vs_bare_insert", "import_vs_bare_reading")
    assert result["import"]["records_per_s"] > 0
    assert result["cpu_us_per_row"].keys() == {"split into cells", "cells to columns", "columns into the store"}


def test_attribution_agrees_with_the_bare_sql() -> None:
    result = run("attribution", "--orders=60", "--touches=600", "--rounds=1", "--repeats=1")

    assert_ratios(result, "decide_vs_bare_sql")
    assert sum(result["decide_all"]["results"].values()) == 60
    assert result["decide_all"]["results"]["credited"] > 30
    assert result["incremental"].keys() == {"0_dirty", "1_dirty"}, "60 orders are too few for 100 dirty ones"


def test_identity_finds_every_person_and_what_new_links_change() -> None:
    result = run("identity", "--edges=4000", "--new=200", "--orders=300")

    assert_ratios(result, "load_to_bare_sort", "components_to_union_find")
    assert result["figures"].keys() == {"load", "bare_sort", "refresh", "components", "union_find", "persons"}


def test_a_price_is_found_by_the_same_rule_that_a_plain_loop_finds() -> None:
    result = run("price", "--lines=300", "--sample=120")

    assert_ratios(result, "match_vs_loop_5_rules", "match_vs_loop_50_rules", "match_vs_loop_500_rules")
    assert result["by_rules"].keys() == {"5", "50", "500"}
    assert result["growth"].keys() == {"50_rules_to_5", "500_rules_to_50", "500_rules_to_5"}
    assert 150 < result["price"]["earning_lines"] < 300, "some lines are excluded"


def test_a_simulation_of_the_card_in_force_comes_to_what_is_booked() -> None:
    result = run("simulate", "--orders=60", "--rounds=1")

    assert_ratios(result, "simulate_vs_bare_reading")
    assert result["simulate"]["lines"] >= 60
    assert sum(after for _, after in result["simulate"]["outcomes"].values()) == 60


def test_accrue_is_compared_with_the_very_rows_it_wrote() -> None:
    result = run("accrue", "--orders=40", "--rounds=1", "--postgresql=0")

    assert_ratios(result, "sqlite_accrue_vs_bare_rows")
    assert result["sqlite_accrue"]["rows"]["accruals"] == 40
    assert result["sqlite_accrue"]["rows"]["postings"] == 2 * result["sqlite_accrue"]["rows"]["entries"] > 0


def test_the_ledger_is_compared_with_the_very_rows_it_wrote_and_verifies() -> None:
    result = run("ledger", "--posted=60", "--batch=20", "--rounds=1", "--postgresql=0", "--entries=150", "--new=20")

    assert_ratios(result, "sqlite_post_vs_bare_rows", "verify_vs_bare_reading")
    assert result["verify_full"]["records_per_s"] > 0
    assert result["verify_new"]["seconds"] > 0


def test_the_ledgers_laws_run_as_long_as_one_likes() -> None:
    result = run("ledger_laws", "--operations=300", "--seed=3")

    assert result["operations"] >= 300
    assert result["entries"] > 200
    assert result["fault"] == ""


def test_peers_are_skipped_loudly_where_they_cannot_be_installed() -> None:
    result = run("peers", "--journeys=200", "--rounds=1", "--env=/dev/null")

    assert result["skipped"]
    assert result["ours"].keys() == {"rules_with_decay", "rules", "markov"}
    for stages in result["ours"].values():
        assert 0 < stages["prepared"]["seconds"] <= stages["from_table"]["seconds"] <= stages["from_file"]["seconds"]


def test_a_peer_that_differs_is_a_fault() -> None:
    paths = paths_of([Row(("A", "B"), Fraction(1))])
    found = rule_shares(paths) | {"markov": markov(paths).shares}
    same = {"peer": {"found": {"last": {"B": 1.0}, "linear": {"A": 0.5, "B": 0.5}, "markov": {"A": 0.9, "B": 0.1}}}}
    other = {"peer": {"found": {"last": {"A": 1.0}}}, "broken": {"error": "ValueError: no"}}

    assert peers.faults_of(found, same) == [], "a simulation may be off"
    assert peers.faults_of(found, other) == ["broken: ValueError: no", "peer differs from ours in last by 2 of all conversions"]
    assert peers.off_by(found["markov"], {"A": 0.9, "B": 0.1}) == pytest.approx(0.8)


def test_answer_times_are_taken_at_a_constant_rate() -> None:
    result = run("open_loop", "--rate=50", "--seconds=1", "--connections=4", "--settle-ms=0")

    assert_ratios(result, "strict_vs_starlette_p50", "strict_vs_starlette_p99.9")
    assert result["ratios_cpu"]["strict_vs_starlette"] > 0
    for server in result["servers"].values():
        assert (server["due"], server["answered"], server["failed"]) == (50, 50, 0)
        assert 0 < server["p50_ms"] <= server["p99.9_ms"] <= server["max_ms"]
        assert server["lag_p50_ms"] < server["max_ms"]
    assert result["servers"][open_loop.OURS]["recorded"] == 50


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a second tracker is measured on a second core, and there is one only")
def test_a_second_tracker_shares_the_work() -> None:
    result = run("scale", "--rounds=1", "--seconds=1", "--connections=16", "--settle-ms=0")

    assert_ratios(result, "second_vs_first")
    one, two = result["servers"][f"{scale.OURS}_1"], result["servers"][f"{scale.OURS}_2"]
    assert one["recorded"] == one["answered"] > 0
    assert two["recorded"] == two["answered"] > 0
    assert [len(trackers) for trackers in (*one["by_tracker"], *two["by_tracker"])] == [1, 2]
    assert 0 < one["load_share"] < 1


def test_a_restart_is_timed_until_the_first_redirect() -> None:
    result = run("restart", "--rounds=1", "--spool-mb=2")

    assert_ratios(result, "full_vs_empty", "full_vs_sqlalchemy_imported", "full_vs_python")
    assert result["recorded"] == result["answered"] == 4
    assert result["spool_records"] >= 2_000
    assert result["first_redirect"]["full"]["cpu_ms"] > result["first_redirect"]["python"]["cpu_ms"] > 0


def test_memory_is_sampled_over_a_trackers_life() -> None:
    result = run("memory", "--links=3000", "--clicks=200", "--every=100", "--connections=4", "--settle-ms=100")

    assert_ratios(result, "links_vs_bare_dict")
    assert result["answered"] == result["recorded"] == 200
    samples = [(sample["when"], sample["clicks"]) for sample in result["samples"]]
    assert samples[:3] == [("started", 0), ("clicked", 100), ("clicked", 200)]
    assert [when for when, _ in samples[3:]] == ["one link changed", "all links' programme changed"]
    assert result["peak_mb"] >= max(sample["rss_mb"] for sample in result["samples"]) > 20


def test_look_ups_are_timed_cold_and_warm() -> None:
    result = run("lookups", "--clicks=500", "--rounds=1", "--links=10,500")

    assert_ratios(result, "together_vs_dict_10_links", "together_vs_dict_500_links")
    for times in result["look_ups_us"].values():
        assert times["class_warm"] < times["class_cold"]
        assert times["country_warm"] < times["country_cold"]
    assert result["us_per_click"] == max(times["together"] for times in result["look_ups_us"].values())


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


def test_a_tracker_without_a_click_makes_the_figures_worthless() -> None:
    good: dict[str, Any] = {"answered": 5, "failed": 0, "recorded": 5, "by_tracker": [2, 3]}

    assert scale.faults_of("two", good) == []
    assert scale.faults_of("two", good | {"by_tracker": [5, 0]}) == ["two: a tracker got no click: [5, 0]"]
    assert scale.faults_of("two", good | {"recorded": 4, "failed": 1}) == ["two: 1 requests failed", "two: answered 5, recorded 4"]
    assert memory.faults_of(good | {"recorded": 6}) == ["answered 5, recorded 6"]
    assert open_loop.faults_of({"ours": good | {"due": 5}}) == []
    assert open_loop.faults_of({"ours": good | {"due": 6, "failed": 1}}) == ["ours: 1 of 6 requests failed"]
    assert open_loop.faults_of({"ours": good | {"due": 6}}) == ["ours: 6 requests were due, 5 answered"]


def test_a_slope_is_bytes_by_click() -> None:
    assert memory.slope([(1_000_000, 70), (2_000_000, 70), (3_000_000, 70)]) == 0
    assert memory.slope([(10, 100), (20, 130), (30, 160)]) == pytest.approx(3)


def test_a_filled_spool_is_what_a_tracker_leaves_behind(tmp_path: Path) -> None:
    records = restart.fill(tmp_path / "t0", 3 << 20)

    found = [payload for segment in segments(tmp_path / "t0") for _, _, payload in read_records(segment)]
    assert len(found) == records
    assert not any(isinstance(payload, Damage) for payload in found)
    assert isinstance(decode_event(cast(bytes, found[-1])), Touch)


def test_the_drains_stand_in_counts_what_it_deletes(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number:020d}.log").write_bytes(b"a record\n" * (number + 1))

    with memory.Sweeper(tmp_path) as sweeper:
        wait_for("the sweep", lambda: len(segments(tmp_path)) == 1)

    assert sweeper.records == 1 + 2
    assert [path.name for path in segments(tmp_path)] == [f"{2:020d}.log"], "the newest may still grow"


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


def test_a_load_over_many_links_never_asks_twice_the_same() -> None:
    another = requests_to("http://127.0.0.1:8700/c/{code}?sub1=50%25", links=20)
    asked = [another().decode() for _ in range(500)]

    assert len(set(asked)) == 500
    assert {request.split("/c/")[1].split("?")[0] for request in asked} == {f"l{number}" for number in range(20)}
    assert all("?sub1=50%25 HTTP/1.1\r\n" in request and request.endswith("\r\n\r\n") for request in asked)
    assert len({request.split("User-Agent:")[1].split("\r\n")[0] for request in asked}) > 20


def test_a_load_may_be_counted() -> None:
    async def ask() -> dict[str, float]:
        async with await asyncio.start_server(answers_of("302 Found"), "127.0.0.1", 0) as server:
            return await load(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/c/go", 3, seconds=30, requests=10)

    assert asyncio.run(ask())["answered"] == 10


# --- the load at a constant rate -------------------------------------------------------------------------------------


def arrivals_at(serve: Serve, rate: int, seconds: float, connections: int) -> dict[str, float]:
    async def ask() -> dict[str, float]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await asyncio.to_thread(arrive, server.sockets[0].getsockname()[1], "/c/go", rate, seconds, connections)

    return asyncio.run(ask())


def test_everyone_who_was_due_is_answered() -> None:
    result = arrivals_at(answers_of("302 Found"), rate=100, seconds=0.3, connections=3)

    assert (result["due"], result["answered"], result["failed"]) == (30, 30, 0)
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert 0 < result["lag_p50_ms"] <= result["lag_max_ms"]
    assert 0 < result["achieved_per_s"] <= 101


def test_a_server_that_stalls_is_charged_for_all_who_were_due_meanwhile() -> None:
    """Half a second of silence, then quick answers. One visitor was asked for, but thirty were due: they waited, too."""
    quick, stalled = answers_of("302 Found"), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not stalled:
            stalled.append(await asyncio.sleep(0.5))
        await quick(reader, writer)

    result = arrivals_at(serve, rate=60, seconds=0.5, connections=1)

    assert (result["due"], result["answered"], result["failed"]) == (30, 30, 0)
    assert result["lined_up"] >= 25
    assert result["max_ms"] >= 500
    assert result["p50_ms"] >= 200, "in a closed loop it would be a millisecond"


@pytest.mark.parametrize(("status", "then_close"), [("503 Service Unavailable", False), ("302 Found", True)])
def test_other_answers_and_none_are_failures(status: str, then_close: bool) -> None:
    result = arrivals_at(answers_of(status, then_close), rate=100, seconds=0.2, connections=2)

    assert result["due"] == 20
    assert result["failed"] == (18 if then_close else 20), "each connection hangs up after its first answer"


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\ncontent-length: 2\r\n\r\no", False),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n", False),
    ],
)
def test_an_answer_is_whole_with_its_announced_body(answer: bytes, whole: bool) -> None:
    assert is_whole(answer) is whole
