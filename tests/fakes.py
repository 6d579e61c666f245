"""Hand-written stand-ins for what tests must control. No patching."""

from core.clock import MINUTE, Instant, parse_instant

NOON = parse_instant("2026-11-21T12:00:00Z")


class FakeClock:
    """A clock that stands still until a test moves it: ``clock()`` reads it, ``clock.advance(ms)`` moves it."""

    def __init__(self, at: Instant = NOON) -> None:
        self.at = at

    def __call__(self) -> Instant:
        return self.at

    def advance(self, by_ms: int = MINUTE) -> Instant:
        self.at += by_ms
        return self.at
