"""What do link, bot class and country cost a click that needs all three?

``python -m benchmarks.lookups [--clicks 50000] [--rounds 5] [--links 1000,100000,1000000] [--log ACCESS.LOG]``. Processor
time, in microseconds a look-up, of the fastest round. User agents are those of an access log in combined format, in its
order, or else made up: some hundreds, a few of them common. Addresses are all different, as strangers' are.

``cold`` is a first meeting: every link, agent and address is a new one, so nothing remembered helps. ``warm`` is the second
look at the same thousand. ``together`` is a click as it comes: any link of all, an agent of the list, a new address. The hot
path itself looks up the link alone, and the class only of whoever denied consent; the drain looks up class and country.
The baseline is a look-up of the same codes in a dict of the same size.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from benchmarks.clicks import devices
from benchmarks.result import machine, publish, say
from core.catalogue import Programme, Tenant
from core.clock import system_clock
from core.settings import Settings
from tracker.accesslog import LogLine, read_line
from tracker.country import Countries, open_countries
from tracker.links import LinkTable, build_table
from tracker.traffic import classify

DEVICES = 2_000
FEW = 1_000
SEED = 1

Look = Callable[[Any], Any]


def table_of(links: int) -> LinkTable:
    """A tracker's table with so many links."""
    rows = ((f"l{index}", "shop", "main", "blog", f"https://shop.example/articles/{index}", "web", False) for index in range(links))
    programme = Programme("shop", "main", "Main", "https://shop.example/", ("shop.example",))
    return build_table(1, [Tenant("shop", "Shop", "EUR")], [programme], rows, {}, b"secret")


def agents_of(log: Path | None, rng: random.Random) -> list[str]:
    """User agents as often as they come: of a log, or of people and programs made up."""
    if log is None:
        return [device.user_agent for device in devices(rng, DEVICES, system_clock())]
    with log.open("rb") as lines:
        read = [read_line(number, line) for number, line in enumerate(lines, 1)]
    return [line.user_agent for line in read if isinstance(line, LogLine)]


def addresses(rng: random.Random) -> Iterator[str]:
    """Addresses of the internet at random, in all countries, IPv4."""
    while True:
        address = IPv4Address(rng.getrandbits(32))
        if address.is_global and not address.is_multicast:
            yield str(address)


def take(number: int, values: Iterator[str]) -> list[str]:
    return [next(values) for _ in range(number)]


def cpu_us(look: Look, values: Sequence[Any]) -> float:
    """Processor microseconds of one look-up, the loop around it included."""
    began = time.thread_time_ns()
    for value in values:
        look(value)
    return (time.thread_time_ns() - began) / len(values) / 1000


def one_round(
    links: LinkTable, codes: dict[str, int], countries: Countries, agents: Sequence[str], clicks: int, seed: int
) -> dict[str, float]:
    """Each look-up by itself and all together, once."""
    rng = random.Random(seed)
    spread = [f"l{rng.randrange(len(codes))}" for _ in range(clicks)]
    common = [spread[index % FEW] for index in range(clicks)]
    strangers, few = take(clicks, addresses(rng)), take(min(FEW, clicks), addresses(rng))
    mix = [rng.choice(agents) for _ in range(clicks)]
    _forget(countries)
    found = {
        "dict": cpu_us(codes.get, spread),
        "link_cold": cpu_us(links.links.get, spread),
        "link_warm": _second_look(links.links.get, common),
        "class_cold": cpu_us(_classify, [f"{agent} {seed}.{index}" for index, agent in enumerate(mix[:FEW])]),
        "class_warm": _second_look(_classify, mix[:FEW]),
        "country_cold": cpu_us(countries.country_of, strangers),
        "country_warm": _second_look(countries.country_of, few),
    }
    _forget(countries)
    found["together"] = cpu_us(_all_of(links, countries), list(zip(spread, mix, take(clicks, addresses(rng)), strict=True)))
    return found


def _all_of(links: LinkTable, countries: Countries) -> Look:
    link_of, country_of = links.links.get, countries.country_of

    def look(click: tuple[str, str, str]) -> None:
        code, agent, address = click
        link_of(code)
        classify((), agent)
        country_of(address)

    return look


def _classify(agent: str) -> object:
    return classify((), agent)


def _second_look(look: Look, values: Sequence[Any]) -> float:
    for value in values:
        look(value)
    return cpu_us(look, values)


def _forget(countries: Countries) -> None:
    classify.cache_clear()
    countries.country_of.cache_clear()


def compare(sizes: Iterable[int], rounds: int, clicks: int, log: Path | None) -> dict[str, dict[str, float]]:
    """The fastest round of each look-up, by the number of links."""
    found: dict[str, dict[str, float]] = {}
    agents = agents_of(log, random.Random(SEED))
    classify((), "warm up")  # its lists take a third of a second to load, once
    with closing(open_countries(Settings())) as countries:
        for size in sizes:
            say(f"{size:,} links")
            links, codes = table_of(size), {f"l{index}": index for index in range(size)}
            runs = [one_round(links, codes, countries, agents, clicks, seed) for seed in range(rounds)]
            found[str(size)] = {name: round(min(run[name] for run in runs), 3) for name in runs[0]}
    return found


def faults_of(countries: Countries, links: LinkTable) -> list[str]:
    """Look-ups that find nothing are quick, and prove nothing."""
    known = [countries.country_of(address) for address in take(FEW, addresses(random.Random(SEED)))]
    faults = [] if sum(map(bool, known)) > FEW / 2 else ["most addresses have no country: is the database there?"]
    return faults if links.links.get("l0") else [*faults, "a link of the table is not found"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clicks", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--links", default="1000,100000,1000000", help="numbers of links, separated by commas")
    options.add_argument("--log", type=Path, default=None, help="an access log in combined format, for its user agents")
    options.add_argument("--json", action="store_true", help="the default; there is no other form")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairshare-lookups-") as folder:
        about = {"question": "microseconds of link, bot class and country of a click", "machine": machine(Path(folder))}
    sizes = [int(size) for size in asked.links.split(",")]
    found = compare(sizes, asked.rounds, asked.clicks, asked.log)
    ratios = {f"together_vs_dict_{size}_links": round(one["dict"] / one["together"], 4) for size, one in found.items()}
    with closing(open_countries(Settings())) as countries:
        faults = faults_of(countries, table_of(1))
    slowest = max(one["together"] for one in found.values())
    about["agents_from"] = asked.log.name if asked.log else "made up"
    publish(about | {"ratios": ratios, "us_per_click": slowest, "look_ups_us": found}, faults)


if __name__ == "__main__":
    main()
