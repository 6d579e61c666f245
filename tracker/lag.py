"""How far the relay of a spool folder is: its file ``relay.json``. I/O: that file. Light: trackers show it in ``/health``."""

from pathlib import Path

import msgspec

from core.clock import Clock, Instant
from core.errors import Unavailable
from tracker.files import replace_durably

FILE = "relay.json"


class Lag(msgspec.Struct, frozen=True):
    """The content of ``relay.json``. ``identity`` is the folder's for ever, ``place`` the cursor as the relay left it.

    The rest is for people: ``pending_bytes`` of the spool are not stored yet, ``queued_bytes`` of them on their way in Redis,
    in ``entries``; ``oldest_at`` is when the first of them was received, ``stored_at`` how far the drain is; ``error`` says
    why nothing moves. Instants are 0 where there is none.
    """

    identity: str
    place: tuple[str, int] = ("", 0)
    pending_bytes: int = 0
    queued_bytes: int = 0
    entries: int = 0
    oldest_at: Instant = 0
    stored_at: Instant = 0
    error: str = ""
    written_at: Instant = 0


def read_lag(folder: Path) -> Lag | None:
    """What the relay last wrote in a spool folder; None where no relay ever did.

    Raises:
        Unavailable: the file does not hold that.
    """
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Lag)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise Unavailable(f"{folder / FILE} is damaged ({error}); restore it, or rename the folder to begin it anew") from error


def write_lag(folder: Path, lag: Lag) -> None:
    """Replace the file, durably: without its identity a folder would be a stranger."""
    replace_durably(folder / FILE, (msgspec.json.format(msgspec.json.encode(lag), indent=2), b"\n"))


def lag_in_health(folder: Path, clock: Clock) -> dict[str, int | str]:
    """The lag as ``/health`` shows it: how much and how old, how long the relay has written nothing, and what it says is wrong."""
    try:
        lag = read_lag(folder)
    except Unavailable as error:
        return {"error": str(error)}
    if lag is None:
        return {"error": "no relay has run yet"}
    now = clock()
    return {
        "pending_bytes": lag.pending_bytes,
        "queued_bytes": lag.queued_bytes,
        "entries": lag.entries,
        "oldest_age_ms": max(0, now - lag.oldest_at) if lag.oldest_at else 0,
        "silent_ms": max(0, now - lag.written_at),
        "error": lag.error,
    }
