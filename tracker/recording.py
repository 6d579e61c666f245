"""Recorded once, answered alike: claim the sender's id in the books, append to the spool, note that it is there.

Plainly I/O; the books are used in a few threads of its own. A conversion is confirmed only once it is safe in the spool.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from core.clock import Instant
from core.errors import Conflict, Unavailable
from core.events import decode_event, encode_event
from store.books import Books
from store.receipts import Receipt, claim, mark_recorded
from tracker.commit import RETRY_AFTER_S, Spool
from tracker.conversion import Conversion, ConversionEvent

THREADS = 4
AT_ONCE = 2_000
PATIENCE_S = 15.0

_Result = TypeVar("_Result")
_Name = tuple[str, str, str]


class Recorded(msgspec.Struct, frozen=True):
    """The event that is recorded under the id; ``is_repeat`` where it was before this request."""

    event: ConversionEvent
    is_repeat: bool


class _Turn:
    """Who works on one id, and how many wait."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Recorder:
    """Records conversions of one tracker process. Create and use it on one event loop."""

    def __init__(self, books: Books, spool: Spool) -> None:
        self._books = books
        self._spool = spool
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="receipts")
        self._turns: dict[_Name, _Turn] = {}
        self._busy = 0

    async def record(self, conversion: Conversion) -> Recorded:
        """Record a conversion, or find that it is recorded already.

        Raises:
            Conflict: its id is taken by another content.
            Unavailable: books or disk cannot take it now; the same request may be repeated.
        """
        if self._busy >= AT_ONCE:
            raise Unavailable(f"{AT_ONCE} conversions are being recorded already; try again later", RETRY_AFTER_S)
        name = (conversion.event.tenant_id, conversion.kind, conversion.external_id)
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        self._busy += 1
        try:
            # One at a time under each id: of a hundred equal requests at once, one writes and the others find it written.
            async with turn.lock:
                return await self._record(name, conversion)
        finally:
            self._busy -= 1
            turn.users -= 1
            if turn.users == 0:
                del self._turns[name]

    def close(self) -> None:
        """Take no more. Does not wait for books that hang: what they hold back was confirmed to nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _record(self, name: _Name, conversion: Conversion) -> Recorded:
        event = conversion.event
        ours = Receipt(conversion.content_hash, event.event_id, encode_event(event), recorded=False)
        held = await self._in_books(lambda: self._claim(name, ours, event.received_at))
        if held.body_hash != ours.body_hash:
            raise Conflict(_conflict(name))
        if not held.recorded:
            # Ours, or one whose tracker died before the spool had it: the same event, byte for byte, so that a second
            # copy carries the same event id and readers see it once.
            await self._spool.append(held.event)
            with suppress(Unavailable):  # it is recorded; the worst that follows is one more copy
                await self._in_books(lambda: self._mark(name))
        recorded = cast(ConversionEvent, decode_event(held.event))
        return Recorded(recorded, is_repeat=held.recorded)

    def _claim(self, name: _Name, receipt: Receipt, at: Instant) -> Receipt:
        with self._books.writing() as connection:
            return claim(connection, *name, receipt, at)

    def _mark(self, name: _Name) -> None:
        with self._books.writing() as connection:
            mark_recorded(connection, *name)

    async def _in_books(self, work: Callable[[], _Result]) -> _Result:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.wait_for(asyncio.shield(future), PATIENCE_S)
        except TimeoutError:
            future.add_done_callback(_forget)
            raise Unavailable("the books do not answer now; try again later", RETRY_AFTER_S) from None
        except SQLAlchemyError as error:
            raise Unavailable(f"the books cannot be used now: {type(error).__name__}", RETRY_AFTER_S) from error


def _conflict(name: _Name) -> str:
    tenant_id, kind, external_id = name
    what = f"{kind} {external_id!r:.140} of {tenant_id}"
    return f"{what} was recorded before with another content; nothing was changed. A correction needs an id of its own"


def _forget(future: "asyncio.Future[Any]") -> None:
    """Nobody waits for it any more: keep its error from being reported as never looked at."""
    if not future.cancelled():
        future.exception()
