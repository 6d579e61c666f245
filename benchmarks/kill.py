"""Is anything lost or doubled when processes are killed at random moments under load?

``python -m benchmarks.kill [--rounds 1000] [--seed N] [--clicks-per-s 100]``: two installations live through it, one embedded
(a tracker, and an engine that owns chDB), one apart (a tracker, and a ``fairshare drain`` on a server). Clicks and orders
come over HTTP all the time; every acknowledged id is kept in memory. Each round picks a victim that has answered, or stored,
since its last start, waits a random moment, kills it with SIGKILL and starts it again; others may still be starting then.
Half of the drain's and the engine's kills wait for the moment in which a range is written down and not yet acknowledged.

At the end both are audited (:mod:`benchmarks.audit`). Prints JSON; the exit code is 1 where anything is missing, doubled or
unbalanced. The seed makes the same choices again, though not the same moments: those are the machine's.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.audit import Findings, audit
from benchmarks.household import CODE, TOKEN, Household, Process, Victim, running
from benchmarks.result import machine, options, publish, say
from benchmarks.witness import Witness, as_plain

VICTIMS: tuple[Victim, ...] = ("tracker",) * 7 + ("drain",) * 2 + ("engine",)
"""Ten rounds in some order: a tracker is back in a second, an engine needs several."""

LONGEST_PAUSE_S = 0.25
BACK_WITHIN_S = 60.0
INSERT_WITHIN_S = 1.0
LATEST_STEP_S = 0.02


class Home(NamedTuple):
    """An installation and what is asked of it."""

    household: Household
    witness: Witness


class Rounds:
    """What happened so far. ``mid_insert``: a range was written down and not acknowledged when the drain or engine died."""

    def __init__(self) -> None:
        self.by_victim: Counter[str] = Counter()
        self.mid_insert = 0
        self.faults: list[str] = []


def kill(folder: Path, rounds: int, seed: int, clicks_per_s: int = 100) -> dict[str, Any]:
    """Live through ``rounds`` kills in ``folder``; the result as it is printed, with ``faults``."""
    rng = random.Random(seed)
    done = Rounds()
    began = time.monotonic()
    with ExitStack() as stack:
        homes = {kind: _move_in(stack, Household(folder / kind, kind), clicks_per_s) for kind in ("embedded", "apart")}
        for number, victim in enumerate(choose(rounds, rng), start=1):
            home = homes["embedded"] if victim == "engine" else homes["apart"] if victim == "drain" else rng.choice(list(homes.values()))
            if not _kill_once(home, victim, rng, done):
                break
            if number % 10 == 0 or number == rounds:
                asked = sum(one.witness.acknowledged for one in homes.values())
                say(f"round {number} of {rounds}: {asked:,} acknowledged, {time.monotonic() - began:.0f} s")
        for home in homes.values():
            home.witness.stop()
        found = {kind: _audit(home) for kind, home in homes.items()}
        say(f"audited after {time.monotonic() - began:.0f} s")
    plain = {kind: as_plain(home.witness) | found[kind].figures for kind, home in homes.items()}
    sums = {name: sum(one.figures.get(name, 0) for one in found.values()) for name in ("acknowledged", "stored", "missing", "doubled")}
    faults = done.faults + [f"{kind}: {fault}" for kind, one in found.items() for fault in one.faults]
    return {
        "question": "is anything lost or doubled when processes are killed at random moments under load?",
        "seed": seed,
        "rounds": done.by_victim.total(),
        "rounds_by_victim": dict(done.by_victim),
        "killed_mid_insert": done.mid_insert,
        "seconds": round(time.monotonic() - began, 1),
        **sums,
        "raw_duplicates": sum(sum(one.figures.get("raw_duplicates", {}).values()) for one in found.values()),
        "installations": plain,
        "faults": faults,
    }


def choose(rounds: int, rng: random.Random) -> list[Victim]:
    """The victims of so many rounds: each ten hold every kind, in a random order."""
    chosen: list[Victim] = []
    while len(chosen) < rounds:
        chosen += rng.sample(VICTIMS, len(VICTIMS))
    return chosen[:rounds]


def _move_in(stack: ExitStack, household: Household, clicks_per_s: int) -> Home:
    stack.enter_context(running(household))
    witness = Witness(household.settings.tracker_port, CODE, TOKEN, household.kind, clicks_per_s).start()
    stack.callback(witness.stop)
    return Home(household, witness)


def _kill_once(home: Home, victim: Victim, rng: random.Random, done: Rounds) -> bool:
    """One round; False where the victim never came back from the last one, so that going on would prove nothing."""
    process = home.household.processes[victim]
    if not _is_back(home, process):
        code = process.ended()
        how = "has not come back" if code is None else f"ended by itself with exit code {code}"
        done.faults.append(f"{home.household.kind}: after {process.kills} kills the {victim} {how}\n{home.household.last_words()}")
        return False
    time.sleep(rng.uniform(0, LONGEST_PAUSE_S))
    if victim != "tracker" and rng.random() < 0.5:
        _wait_for_insert(home.household, rng)
    process.kill()
    done.mid_insert += victim != "tracker" and home.household.is_storing()
    done.by_victim[victim] += 1
    process.start()
    return True


def _is_back(home: Home, process: Process) -> bool:
    """Wait until the process has done its work since it was started: acknowledged something, or stored something."""
    acknowledged = home.witness.acknowledged
    deadline = time.monotonic() + BACK_WITHIN_S
    while time.monotonic() < deadline and process.ended() is None:
        if process.name == "tracker" and home.witness.acknowledged > acknowledged:
            return True
        if process.name != "tracker" and home.household.stored_at() > process.started_at * 1000:
            return True
        time.sleep(0.005)
    return False


def _wait_for_insert(household: Household, rng: random.Random) -> None:
    deadline = time.monotonic() + INSERT_WITHIN_S
    while not household.is_storing() and time.monotonic() < deadline:
        time.sleep(0.0005)  # the moment lasts some milliseconds
    time.sleep(rng.uniform(0, LATEST_STEP_S))


def _audit(home: Home) -> Findings:
    try:
        return audit(home.household, home.witness)
    except Exception as fault:  # a result that says so is worth more than a traceback
        return Findings({}, [f"{type(fault).__name__}: {fault}\n{home.household.last_words()}"])


def main() -> None:
    asked = options(__doc__, rounds=1000, seed=random.SystemRandom().randrange(1_000_000), clicks_per_s=100)
    say(f"seed {asked.seed}")
    folder = Path(tempfile.mkdtemp(prefix="fairshare-kill-"))
    try:
        result = kill(folder, asked.rounds, asked.seed, asked.clicks_per_s)
        result["machine"] = machine(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    faults: Sequence[str] = result.pop("faults")
    publish(result | {"faults": []}, faults)


if __name__ == "__main__":
    main()
