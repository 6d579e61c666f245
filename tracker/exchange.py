"""Tells the trackers of an installation what each counted: a thread between :mod:`tracker.limits`, Redis and the folder. Plainly I/O.

The event loop never waits for it. Whatever fails here costs no click: a tracker that hears nothing goes on with what it knows.
"""

import threading
import time
from typing import Any, NamedTuple

from core.clock import MINUTE, Clock
from core.settings import Settings
from tracker.kept import KeptCounts, KeptLinks
from tracker.limits import Counts, Limits
from tracker.shared import Redis, SharedCounts, SharedLinks
from tracker.snapshot import Packed, salt_of
from tracker.watch import Depot

EVERY_S = 0.2
KEEP_EVERY_S = 1.0
REST_FACTOR = 10
"""An exchange rests ten times as long as it took, so that many keys or a slow Redis take a tenth of a core at most."""
STOP_WITHIN_S = 1.0


class Exchange:
    """``heard_at`` is when Redis last answered (the clock's time; None: never, or there is none)."""

    def __init__(self, limits: Limits, kept: KeptCounts, shared: SharedCounts | None, clock: Clock, every_s: float = EVERY_S) -> None:
        self._limits = limits
        self._kept = kept
        self._shared = shared
        self._clock = clock
        self._every_s = every_s
        self._told_moves = self._kept_moves = -1
        self._keep_at = 0.0
        self._own: Counts | None = None
        self._learned: dict[str, int] = {}
        self._learned_minute = 0
        self._has_met = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)
        self.heard_at: int | None = None
        self.failures = 0

    def start(self) -> None:
        """Take over what was counted before, here and now, then go on in the background."""
        own = self._kept.load().get(self._limits.tracker_id)
        if own is not None:
            self._limits.restore(own)
        self._try_step()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and write the last counts down."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WITHIN_S)
        self._kept.save(self._limits.counts(self._clock()))

    def step(self) -> None:
        """One exchange: say what is new, hear what is new."""
        now, moves = self._clock(), self._limits.moves
        if not self._has_met and self._shared is not None:
            self._meet()
        is_news = self._own is None or moves != self._told_moves
        if is_news:
            self._own = self._limits.counts(now, _pause)
        known = dict(self._keep_and_look(moves))
        if self._shared is not None and self._has_met:
            heard = self._shared.exchange(self._own if is_news else None, _pause)
            if heard is not None:
                self.heard_at, self._told_moves = now, moves
                known |= {name: one for name, one in heard.items() if name not in known or known[name].at < one.at}
        else:
            self._told_moves = moves
        self._learn(known, now)

    def state(self) -> dict[str, Any]:
        """For ``/health``."""
        redis = None if self._shared is None else {"heard_at": self.heard_at, "garbage": self._shared.garbage}
        return {"uncapped": self._limits.uncapped, "failures": self.failures, "trackers": len(self._learned), "redis": redis}

    def _meet(self) -> None:
        """The first answer of Redis: what it holds of an earlier life is taken over before it is written over."""
        assert self._shared is not None, "there is somebody to meet"
        heard = self._shared.exchange(None, _pause)
        if heard is None:
            return
        self._has_met, self._own = True, None
        earlier = heard.get(self._limits.tracker_id)
        if earlier is not None:
            self._limits.restore(earlier)
            self._learned_minute = 0  # so that this step learns it, whatever else it hears

    def _keep_and_look(self, moves: int) -> dict[str, Counts]:
        """Once a second: write down what was counted, and read what the other trackers of this machine wrote."""
        if time.monotonic() < self._keep_at:
            return self._kept.known
        self._keep_at = time.monotonic() + KEEP_EVERY_S
        if moves != self._kept_moves and self._own is not None and self._kept.save(self._own, _pause):
            self._kept_moves = moves
        return self._kept.load(_pause)

    def _learn(self, known: dict[str, Counts], now: int) -> None:
        newest = {name: one.at for name, one in known.items() if name != self._limits.tracker_id}
        if newest != self._learned or now // MINUTE != self._learned_minute:
            self._limits.learn(known.values(), now, _pause)
            self._learned, self._learned_minute = newest, now // MINUTE

    def _run(self) -> None:
        took_s = 0.0
        while not self._stopping.wait(max(self._every_s, REST_FACTOR * took_s)):
            began = time.thread_time()
            self._try_step()
            took_s = time.thread_time() - began

    def _try_step(self) -> None:
        try:
            self.step()
        except Exception:  # whatever it was, the next exchange may succeed, and clicks never notice
            self.failures += 1


class Neighbours(NamedTuple):
    """What a tracker shares, ready to use: nothing is started yet. ``depots`` are for :class:`tracker.watch.Watch`."""

    limits: Limits
    exchange: Exchange
    depots: tuple[Depot, ...]
    redis: Redis | None

    def close(self) -> None:
        """End the exchange, write its last counts down and leave Redis."""
        self.exchange.stop()
        if self.redis is not None:
            self.redis.close()


def open_neighbours(settings: Settings, tracker_id: str, secret: bytes, clock: Clock) -> Neighbours:
    """Limits, exchange and depots of one tracker: through its folder, and through Redis where the queue is one.

    Raises:
        SettingsError: the address of Redis cannot be used.
    """
    folder, packed = settings.spool / tracker_id, Packed()
    limits = Limits(tracker_id, settings.clicks_a_minute, settings.conversions_a_minute, salt_of(secret))
    depots: tuple[Depot, ...] = (KeptLinks(folder, secret, packed),)
    redis = Redis(settings.queue_url, secret) if settings.has_redis_queue else None
    if redis is not None:
        depots = (*depots, SharedLinks(redis, secret, packed))
    exchange = Exchange(limits, KeptCounts(folder), None if redis is None else SharedCounts(redis), clock)
    return Neighbours(limits, exchange, depots, redis)


def read_counts(settings: Settings, secret: bytes) -> list[Counts]:
    """What each tracker counted, as it last told: for a page. From Redis where the queue is one, and from this machine's folders."""
    known = KeptCounts(settings.spool / "reader").load()
    if settings.has_redis_queue:
        redis = Redis(settings.queue_url, secret)
        heard = SharedCounts(redis).exchange(None) or {}
        redis.close()
        known = known | {name: one for name, one in heard.items() if name not in known or known[name].at < one.at}
    return list(known.values())


def _pause() -> None:
    time.sleep(0)
