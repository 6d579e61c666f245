"""``python -m fairshare.demo``: what the demo world holds, in short, or whole as JSON."""

from typing import Annotated

import msgspec
import typer

from core.clock import parse_instant, start_of_day, system_clock
from fairshare.demo.facts import FACTS_SECRET, facts_of
from fairshare.demo.world import SEED, build_world


def main(
    day: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The day after the story's last (default: today).")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another world.")] = SEED,
    as_json: Annotated[bool, typer.Option("--json", help="The whole world: catalogue, touches, leads, orders, refunds.")] = False,
) -> None:
    """Generate the demo world and print it. Nothing is stored."""
    anchor = parse_instant(f"{day}T00:00:00Z", "--day") if day else start_of_day(system_clock())
    facts = facts_of(build_world(anchor, FACTS_SECRET, seed))
    if as_json:
        print(msgspec.json.encode(facts).decode())  # noqa: T201
        return
    counts = {name: len(facts[name]) for name in ("touches", "leads", "orders", "refunds")}
    records = {name: len(records) for name, records in facts["catalogue"].items()}
    for name, count in (records | counts).items():
        print(f"{name:<12} {count:>7,}")  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
