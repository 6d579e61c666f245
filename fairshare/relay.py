"""``fairshare relay``: what runs beside the trackers of a machine where the queue is Redis. Light, as they are."""

from contextlib import closing

from core.clock import system_clock
from core.errors import FairshareError
from core.settings import Settings
from fairshare.books import require_known_books
from fairshare.child import stop_with_supervisor, until_signal
from store.books import open_books
from tracker.relay import Relay, run_relay


def start_relay(settings: Settings, supervised: bool) -> None:
    """Pass the spool of this machine on until SIGINT or SIGTERM. Like a tracker, it waits for books that are down.

    A supervised one also waits for another relay to end: it must not take the whole installation down with it.

    Raises:
        FairshareError: the queue is not Redis.
        InUse: another relay, or a drain, reads these folders, and no supervisor started this one.
        StoreVersionError: the books are older or newer than this program.
    """
    if not settings.has_redis_queue:
        raise FairshareError("there is nothing to relay: FAIRSHARE_QUEUE_URL is not redis://…, so the drain reads the spool folder itself")
    if supervised:
        stop_with_supervisor()
    else:
        require_known_books(settings)
    stop = until_signal()
    with closing(open_books(settings.books)) as books, Relay(settings, books, system_clock) as relay:
        run_relay(relay, stop, stands_by=supervised)
