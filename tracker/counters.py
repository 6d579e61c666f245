"""What a tracker process received, recorded, refused and could not record. I/O: the file ``counters.json`` in its spool folder.

The losses are kept by tenant and hour and survive a restart, because the spool cannot show what never reached it:
received = what the spool's records show + ``unrecorded``.
"""

import contextlib
import logging
from collections import Counter
from pathlib import Path

import msgspec

from core.clock import HOUR, Instant
from core.errors import Unavailable
from tracker.files import SYSTEM, FileSystem, replace_durably

FILE = "counters.json"
HOURS_KEPT = 10_000
_log = logging.getLogger("fairshare.counters")


class Totals(msgspec.Struct):
    """Since the process started. ``received`` counts facts, not requests: bad requests are not among them."""

    received: int = 0
    recorded: int = 0
    unrecorded: int = 0
    orphans: int = 0
    duplicates: int = 0


class Loss(msgspec.Struct, frozen=True):
    """Touches of a tenant (empty: of no known link) that were answered but not recorded, in ``[hour, hour + 1 h)``."""

    tenant_id: str
    hour: Instant
    events: int


class CountersFile(msgspec.Struct, frozen=True):
    """The content of ``counters.json``. ``unrecorded`` is for ever (the last :data:`HOURS_KEPT` entries), oldest hour first."""

    tracker_id: str
    started_at: Instant
    written_at: Instant
    totals: Totals
    bad_requests: dict[str, int]
    unrecorded: tuple[Loss, ...]


class Counters:
    """Counts in memory, of one event loop. ``losses`` are those that the file remembers from before."""

    def __init__(self, tracker_id: str, started_at: Instant, losses: tuple[Loss, ...] = ()) -> None:
        self.tracker_id = tracker_id
        self.started_at = started_at
        self.totals = Totals()
        self.bad_requests: Counter[str] = Counter()
        self._losses: Counter[tuple[Instant, str]] = Counter({(loss.hour, loss.tenant_id): loss.events for loss in losses})
        self._written = b""

    def lose(self, tenant_id: str, at: Instant) -> None:
        """Count a fact that was answered but not recorded."""
        self.totals.unrecorded += 1
        self._losses[at - at % HOUR, tenant_id] += 1

    def losses(self) -> tuple[Loss, ...]:
        newest = sorted(self._losses.items())[-HOURS_KEPT:]
        return tuple(Loss(tenant_id, hour, events) for (hour, tenant_id), events in newest)

    def changes(self, now: Instant) -> bytes | None:
        """The content of the file as it should be now; None where it is that already."""
        state = msgspec.json.encode((self.totals, self.bad_requests, self.losses()))
        if state == self._written:
            return None
        self._written = state
        content = CountersFile(self.tracker_id, self.started_at, now, self.totals, dict(self.bad_requests), self.losses())
        return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"

    def retry(self) -> None:
        """The last changes could not be written down: :meth:`changes` gives them again."""
        self._written = b""


def write_counters(folder: Path, content: bytes, files: FileSystem = SYSTEM) -> bool:
    """Write the file anew, whole or not at all; false where the disk does not take it."""
    try:
        replace_durably(folder / FILE, (content,), files)
    except Unavailable:
        return False
    return True


def read_counters(folder: Path) -> CountersFile | None:
    """What the tracker of this spool folder last wrote down; None where it never did, or the file is damaged.

    A tracker that starts keeps a damaged one aside (:func:`set_damaged_aside`), so that it is not written over unseen.
    """
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=CountersFile)
    except (OSError, msgspec.DecodeError):
        return None


def set_damaged_aside(folder: Path) -> None:
    """Rename a file that is there but cannot be read: what it counted is gone, and somebody may want to look at it."""
    if (folder / FILE).exists() and read_counters(folder) is None:
        with contextlib.suppress(OSError):
            (folder / FILE).replace(folder / f"{FILE}.damaged")
            _log.warning("%s is damaged and was put aside; losses that it remembered are no longer counted", folder / FILE)
