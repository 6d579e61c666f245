"""How fast are attribution models beside marketing-attribution-models 2.1 and ChannelAttribution 2.2, over the same journeys?

``python -m benchmarks.peers [--journeys 1000000] [--rounds 3] [--env DIR] [--json]``

The peers run in an environment of their own: ``--env`` names one to use or to make; without it a temporary one is made with pip,
and where that is not possible the comparison is skipped, loudly. All read the same CSV file of journeys: 15 channels, 1 to 10 touches,
three in ten converting.

Ratios are ours ÷ theirs in journeys a second, at three stages. ``prepared``: from what each keeps in memory before a model runs (our
columns, the peer's object; ChannelAttribution keeps none, so its table). ``from_table``: from a table in memory, numbers as numbers
and paths as texts, which each side splits. ``from_file``: reading the CSV included. Ours gives conversions and value, exactly;
marketing-attribution-models conversions alone.

- ``rules_vs_mam``: first, last, linear, position, time decay, on both sides.
- ``rules_vs_channel_attribution``: our first, last, last non-direct, linear and position ÷ its three (first, last, linear).
- ``markov_vs_channel_attribution``: our exact Markov model of order 1 ÷ its default simulation. ``markov_off_by`` is how far that lies off.

Where a model both have differs by more than a millionth, that is a fault and the exit code is 1.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from attribution.heuristics import rule_shares, time_decay
from attribution.markov import markov
from attribution.tally import Ints, Paths, Shares
from benchmarks.result import Timing, figures, machine, publish, ratios, say, timed
from core.clock import HOUR
from fairshare.path_file import amounts_of_table, split_paths

PACKAGES = ("marketing-attribution-models==2.1.*", "ChannelAttribution==2.2.*", "matplotlib")
"""ChannelAttribution imports matplotlib without saying so."""
CHANNELS = (
    "Organic Search,Paid Search,Blog,Cashback,Coupon Site,E-mail,Direct,Display,Social,Influencer,App Push,Comparison,Retargeting,"
    "Video,Podcast"
).split(",")
WITHIN_S = 1800
MOST_TOUCHES = 2**27
CLOSE = 1e-6
STAGES = ("prepared", "from_table", "from_file")
Times = dict[str, list[Timing]]


def write_journeys(file: Path, count: int, seed: int = 7) -> None:
    """One row a journey. Popular channels are met more often; touches are up to 30 days old."""
    chance = random.Random(seed)
    weights = [1 / (place + 1) ** 0.6 for place in range(len(CHANNELS))]
    with file.open("w", encoding="utf-8") as lines:
        lines.write("path,total_conversions,total_conversion_value,total_null,hours\n")
        for _ in range(count):
            length = min(10, 1 + int(chance.expovariate(0.35)))
            path = " > ".join(chance.choices(CHANNELS, weights, k=length))
            ages = sorted((chance.randrange(720) for _ in range(length)), reverse=True)
            converted = int(chance.random() < 0.3)
            value = chance.randrange(5_00, 300_00) / 100 if converted else 0
            lines.write(f"{path},{converted},{value},{1 - converted},{' > '.join(map(str, ages))}\n")


# --- ours ------------------------------------------------------------------------------------------------------------


def ours(file: Path, rounds: int) -> tuple[dict[str, Times], dict[str, Shares]]:
    """Our times by task and stage, each the sum of the steps up to it, and what we found."""
    times: dict[str, Times] = {task: {stage: [] for stage in STAGES} for task in ("rules_with_decay", "rules", "markov")}
    found: dict[str, Shares] = {}
    for number in range(rounds):
        say(f"ours, round {number + 1} of {rounds}")
        with timed() as read:
            table = read_table(file)
            numbers = amounts_of_table(table, MOST_TOUCHES)
        with timed() as split:
            paths = Paths(*split_paths(table.column("path")), *numbers)
        with timed() as aged:
            ages = ages_of(table)
        with timed() as ruled:
            found |= rule_shares(paths)
        with timed() as decayed:
            found["time_decay"] = time_decay(paths, ages)
        with timed() as removed:
            found["markov"] = markov(paths).shares
        for task, before, after in (
            ("rules_with_decay", [split, aged], [ruled, decayed]),
            ("rules", [split], [ruled]),
            ("markov", [split], [removed]),
        ):
            for stage, steps in zip(STAGES, (after, [*before, *after], [read, *before, *after]), strict=True):
                times[task][stage].append(added(steps))
    return times, found


def read_table(file: Path) -> pa.Table:
    """The file's columns as texts."""
    names = ("path", "total_conversions", "total_conversion_value", "total_null", "hours")
    return arrow_csv.read_csv(file, convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())))


def ages_of(table: pa.Table) -> Ints:
    """Milliseconds from each touch to its order."""
    hours = pc.split_pattern(table.column("hours").combine_chunks(), " > ").flatten()
    return np.frombuffer(hours.cast(pa.int64()).buffers()[1], np.int64) * HOUR


def added(steps: list[Timing]) -> Timing:
    return Timing(sum(step.seconds for step in steps), sum(step.cpu_seconds for step in steps))


# --- theirs ----------------------------------------------------------------------------------------------------------


def environment(folder: Path) -> Path | None:
    """The Python of an environment that has the peers, made where it is not there; None where that is not possible."""
    python = folder / "bin" / "python"
    quiet = {"check": True, "capture_output": True, "text": True, "timeout": WITHIN_S}
    try:
        if not python.exists():
            say(f"making an environment for the peers: {', '.join(PACKAGES)}")
            subprocess.run([sys.executable, "-m", "venv", str(folder)], **quiet)  # type: ignore[call-overload]
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], **quiet)  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError) as error:
        say(f"*** THE PEERS CANNOT BE INSTALLED HERE, NOTHING IS COMPARED: {getattr(error, 'stderr', '') or error} ***")
        return None
    return python


def theirs(python: Path, file: Path, rounds: int) -> dict[str, Any]:
    """What ``foreign_models.py`` prints, by peer."""
    say(f"the peers, {rounds} rounds")
    script = Path(__file__).with_name("foreign_models.py")
    done = subprocess.run(
        [str(python), str(script), str(file), str(rounds)],
        check=True,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    answer: dict[str, Any] = json.loads(done.stdout.rpartition("\n{")[2].join(["{", ""]))
    return answer


def summed(peer: dict[str, Any], *steps: str) -> list[Timing]:
    """Rounds of several steps together."""
    rounds = zip(*(peer["times"][step] for step in steps), strict=True)
    return [added([Timing(*one) for one in each]) for each in rounds]


# --- side by side ----------------------------------------------------------------------------------------------------


def compare(mine: dict[str, Times], peers: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Ratios by the clock and by processor time, by name and stage."""
    tasks: dict[str, tuple[str, str, dict[str, tuple[str, ...]]]] = {
        "rules_vs_mam": (
            "rules_with_decay",
            "marketing_attribution_models",
            {"prepared": ("models",), "from_table": ("prepare", "models"), "from_file": ("read", "prepare", "models")},
        ),
        "rules_vs_channel_attribution": (
            "rules",
            "channel_attribution",
            {"prepared": ("heuristics",), "from_table": ("heuristics",), "from_file": ("read", "heuristics")},
        ),
        "markov_vs_channel_attribution": (
            "markov",
            "channel_attribution",
            {"prepared": ("markov",), "from_table": ("markov",), "from_file": ("read", "markov")},
        ),
    }
    return {
        f"{name}_{stage}": ratios(mine[task][stage], summed(peers[peer], *steps))
        for name, (task, peer, stages) in tasks.items()
        if "times" in peers[peer]
        for stage, steps in stages.items()
    }


def faults_of(found: Mapping[str, Shares], peers: Mapping[str, Any]) -> list[str]:
    """Models that both have and that differ, and peers that failed."""
    faults = [f"{name}: {peer['error']}" for name, peer in peers.items() if "error" in peer]
    for name, peer in peers.items():
        for model, theirs_found in peer.get("found", {}).items():
            if model != "markov" and (off := off_by(found[model], theirs_found)) > CLOSE:
                faults.append(f"{name} differs from ours in {model} by {off:.2g} of all conversions")
    return faults


def off_by(mine: Shares, others: Mapping[str, float]) -> float:
    """The sum of absolute differences, as a part of all conversions."""
    total = float(sum(share.conversions for share in mine.values()))
    return sum(abs(float(share.conversions) - others.get(channel, 0.0)) for channel, share in mine.items()) / total


def measure(file: Path, python: Path | None, journeys: int, rounds: int) -> tuple[dict[str, Any], list[str]]:
    write_journeys(file, journeys)
    say(f"wrote {journeys:,} journeys, {file.stat().st_size / 1e6:.0f} MB")
    mine, found = ours(file, rounds)
    result: dict[str, Any] = {
        "ours": {task: {stage: figures(rounds_of, journeys) for stage, rounds_of in stages.items()} for task, stages in mine.items()}
    }
    if python is None:
        return result | {"skipped": "the peers could not be installed", "ratios": {}}, []
    peers = theirs(python, file, rounds)
    both = compare(mine, peers)
    result["peers"] = {
        name: {step: figures([Timing(*one) for one in times], journeys) for step, times in peer.get("times", {}).items()}
        for name, peer in peers.items()
    }
    result["ratios"] = {name: by_clock for name, (by_clock, _) in both.items()}
    result["ratios_cpu"] = {name: by_cpu for name, (_, by_cpu) in both.items()}
    simulated = peers["channel_attribution"].get("found", {}).get("markov")
    result["markov_off_by"] = off_by(found["markov"], simulated) if simulated else None
    return result, faults_of(found, peers)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=1_000_000, metavar="N", help="default 1,000,000")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--env", type=Path, metavar="DIR", help="an environment with the peers, made there if it is not")
    parser.add_argument("--json", action="store_true", help="the default; there is no other form")
    return parser.parse_args()


def main() -> None:
    asked = read_options()
    with tempfile.TemporaryDirectory(prefix="fairshare-peers-") as name:
        folder = Path(name)
        about = machine(folder)
        python = environment(asked.env or folder / "env")
        result, faults = measure(folder / "journeys.csv", python, asked.journeys, asked.rounds)
    publish({"question": (__doc__ or "").partition("\n")[0], "journeys": asked.journeys} | result | {"machine": about}, faults)


if __name__ == "__main__":
    main()
