"""When the demo's merchants booked and paid: three times, so that refunds and late clicks find paid commissions. Pure."""

from collections.abc import Iterable

import msgspec

from core.clock import DAY, HOUR, Instant
from core.events import Event
from fairshare.demo.cast import DAYS
from fairshare.demo.story import QUIET
from fairshare.demo.world import FIRST_BOOKING, SECOND_BOOKING


class Stage(msgspec.Struct, frozen=True):
    """Everything received before ``booked_at`` was stored, decided and booked then, and a batch of north prepared after.

    The batch holds what was posted before ``cutoff_at``. Approved and settled are None for the one that still waits.
    """

    number: int
    booked_at: Instant
    cutoff_at: Instant
    prepared_at: Instant
    approved_at: Instant | None = None
    settled_at: Instant | None = None


def stages(anchor: Instant) -> tuple[Stage, Stage, Stage]:
    """Two paid batches, and one that waits for its approval."""
    origin = anchor - DAYS * DAY
    first, second = (origin + round(day * DAY) for day in (FIRST_BOOKING, SECOND_BOOKING))
    last = anchor - QUIET
    return (
        Stage(1, first, first + HOUR, first + 2 * HOUR, first + 5 * HOUR, first + 29 * HOUR),
        Stage(2, second, second + HOUR, second + 2 * HOUR, second + 5 * HOUR, second + 29 * HOUR),
        Stage(3, last, last + HOUR, last + HOUR),
    )


def received_in(events: Iterable[Event], plan: tuple[Stage, ...], stage: Stage) -> list[Event]:
    """The events that a stage is the first to see, in the order of their arrival."""
    begun_at = plan[stage.number - 2].booked_at if stage.number > 1 else 0
    return [event for event in events if begun_at <= event.received_at < stage.booked_at]
