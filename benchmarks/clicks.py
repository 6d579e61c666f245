"""Clicks as they come in: browsers and programs of the demo world's kind, in spool segments as a tracker writes them."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from core.clock import Clock, Instant, system_clock
from core.events import Touch, encode_event
from core.ids import event_id
from fairshare.demo.cast import NORTH
from fairshare.demo.visitors import Device, device, machine
from tracker.commit import open_spool
from tracker.files import SystemFiles
from tracker.spool import SegmentWriter, first_sequence, frame, own_folder

CLICKS_A_DEVICE = 5
MACHINE_SHARE = 0.12
AFFILIATES = tuple(f"affiliate-{number:02}" for number in range(50))
BUILDS = 60
"""Every browser of the cast comes in so many builds: real traffic has hundreds of agents, a few of them common."""
SEGMENT_BYTES = 128 << 20

_COMMON = tuple(accumulate(1 / rank for rank in range(1, len(AFFILIATES) + 1)))


def affiliate(rng: random.Random) -> str:
    """A few send most of the traffic."""
    return rng.choices(AFFILIATES, cum_weights=_COMMON)[0]


def devices(rng: random.Random, number: int, seen: Instant) -> list[Device]:
    """People's browsers, and programs: about one in eight."""
    found = [machine(rng) if rng.random() < MACHINE_SHARE else device(rng, NORTH, seen) for _ in range(number)]
    return [msgspec.structs.replace(one, user_agent=_build(rng, one.user_agent)) for one in found]


def clicks(number: int, first_at: Instant, seed: int, every_ms: int = 1) -> Iterator[Touch]:
    """So many clicks, ``every_ms`` apart, from devices that come about five times each."""
    rng = random.Random(seed)
    visitors = devices(rng, max(1, number // CLICKS_A_DEVICE), first_at)
    return (click(rng, rng.choice(visitors), first_at + index * every_ms) for index in range(number))


def click(rng: random.Random, visitor: Device, at: Instant) -> Touch:
    """One click of a device, about 600 bytes as JSON, as the hot path records it."""
    name = affiliate(rng)
    return Touch(
        event_id=event_id(at, rng.getrandbits(80)),
        kind="click",
        tenant_id=NORTH,
        programme_id="main",
        affiliate_id=name,
        link_code=f"{name}-shoes",
        occurred_at=at,
        received_at=at,
        visitor_id=visitor.visitor_id,
        destination="https://www.north.example/shoes/trail-runner-4?ref=partners",
        subs=("spring", f"banner-{rng.randrange(20)}"),
        ip=visitor.ip,
        user_agent=visitor.user_agent,
        referrer=f"https://www.{name}.example/reviews/{rng.randrange(400)}",
    )


def write_spool(folder: Path, touches: Sequence[Touch], at: Instant) -> int:
    """Write finished segments, as a tracker does; returns their bytes."""
    folder.mkdir(parents=True)
    writer = SegmentWriter(folder, first_sequence(folder, at), SEGMENT_BYTES, SystemFiles())
    for start in range(0, len(touches), 1000):
        frames = [frame(encode_event(touch)) for touch in touches[start : start + 1000]]
        writer.commit(b"".join(frames), len(frames))
    writer.finish()
    return sum(path.stat().st_size for path in folder.glob("*.log"))


def keep_clicking(folder: Path, rate: int, seconds: float, seed: int, clock: Clock = system_clock) -> None:
    """Record ``rate`` clicks a second through a strict group commit, each stamped as it is appended."""
    own_folder(folder)
    asyncio.run(_append_on_time(folder, rate, int(rate * seconds), seed, clock))


async def _append_on_time(folder: Path, rate: int, number: int, seed: int, clock: Clock) -> None:
    rng = random.Random(seed)
    visitors = devices(rng, max(1, number // CLICKS_A_DEVICE), clock())
    spool, loop = open_spool(folder, clock()), asyncio.get_running_loop()
    began, recorded = loop.time(), []
    for index in range(number):
        await asyncio.sleep(max(0.0, began + index / rate - loop.time()))
        recorded.append(spool.append(encode_event(click(rng, rng.choice(visitors), clock()))))
    await asyncio.gather(*recorded)
    await spool.close()


def _build(rng: random.Random, user_agent: str) -> str:
    """The same agent in one of its builds; the first is by far the commonest."""
    build = min(int(rng.paretovariate(1.2)) - 1, BUILDS - 1)
    return user_agent.replace(".0.0.0", f".0.{7200 + build}.{build % 9}") if build else user_agent
