"""Recorded once, answered alike: claim the sender's id in the books, append to the spool, note that it is there.

Plainly I/O; the books are used in a few threads of its own. A conversion is confirmed only once it is safe in the spool.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Conflict, Unavailable
from core.events import Touch, decode_event, encode_event
from store.books import Books
from store.receipts import Receipt, claim, find_receipt, mark_recorded
from tracker.commit import RETRY_AFTER_S, Spool
from tracker.conversion import Conversion, Kind, ReportedEvent, external_id_of, kind_of

THREADS = 4
AT_ONCE = 2_000
PATIENCE_S = 15.0

_Result = TypeVar("_Result")
_Name = tuple[str, str, str]


class Recorded(msgspec.Struct, frozen=True):
    """What is recorded under the id: one event, or the parts of a basket. ``is_repeat`` where it was before this request."""

    events: tuple[ReportedEvent, ...]
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
        name = _name(conversion)
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        self._busy += 1
        try:
            # One at a time under each id: of a hundred equal requests at once, one writes and the others find it written.
            async with turn.lock:
                return await self._record(conversion)
        finally:
            self._busy -= 1
            turn.users -= 1
            if turn.users == 0:
                del self._turns[name]

    def close(self) -> None:
        """Take no more. Does not wait for books that hang: what they hold back was confirmed to nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def record_all(self, conversions: Sequence[Conversion]) -> list[Recorded | Conflict]:
        """Record many at once, with one claim and one sync for all of them; no id may be among them twice.

        Raises:
            Unavailable: not all of them could be recorded; the same request may be repeated.
        """
        if self._busy >= AT_ONCE:
            raise Unavailable(f"{AT_ONCE} conversions are being recorded already; try again later", RETRY_AFTER_S)
        self._busy += 1
        try:
            held = await self._in_books(lambda: self._claim_all(conversions))
            missing = [one for one in held if isinstance(one, _Held) and not one.is_recorded]
            await self._keep(missing)
        finally:
            self._busy -= 1
        return [one if isinstance(one, Conflict) else Recorded(one.events, one.is_recorded) for one in held]

    async def find(self, tenant_id: str, kind: Kind, external_id: str) -> tuple[ReportedEvent, ...]:
        """What was taken under an id, recorded or about to be; empty where nothing was.

        Raises:
            Unavailable: the books cannot be asked now.
        """
        return await self._in_books(lambda: self._find((tenant_id, kind, external_id)))

    async def _record(self, conversion: Conversion) -> Recorded:
        held = await self._in_books(lambda: self._claim_alone(conversion))
        if not held.is_recorded:
            await self._keep([held])
        return Recorded(held.events, held.is_recorded)

    async def _keep(self, missing: "Sequence[_Held]") -> None:
        """Append what the spool does not have for sure: ours, or what a tracker died with before the spool had it.

        Always the same events, byte for byte, so that a second copy carries the same event ids and readers see it once.
        """
        waiting = [self._append(payload) for held in missing for payload in held.payloads]
        faults = [fault for fault in await asyncio.gather(*waiting, return_exceptions=True) if fault is not None]
        if faults:
            raise faults[0]
        if missing:
            with suppress(Unavailable):  # it is recorded; the worst that follows is one more copy
                await self._in_books(lambda: self._mark(missing))

    async def _append(self, payload: bytes) -> None:
        await self._spool.append(payload)

    def _claim_alone(self, conversion: Conversion) -> "_Held":
        with self._books.writing() as connection:
            return _claim(connection, conversion)

    def _claim_all(self, conversions: Sequence[Conversion]) -> "list[_Held | Conflict]":
        by_name: dict[_Name, _Held | Conflict] = {}
        with self._books.writing() as connection:
            # In the order of their names: two requests that share some wait for one another, and not both for both.
            for conversion in sorted(conversions, key=_name):
                assert not conversion.parts, "a conflict of a part would have to be rolled back"
                try:
                    by_name[_name(conversion)] = _claim(connection, conversion)
                except Conflict as fault:
                    by_name[_name(conversion)] = fault
        return [by_name[_name(conversion)] for conversion in conversions]

    def _find(self, name: _Name) -> tuple[ReportedEvent, ...]:
        with self._books.reading() as connection:
            receipt = find_receipt(connection, *name)
            payloads = _payloads(connection, cast(Kind, name[1]), receipt.event) if receipt else ()
        return tuple(cast(ReportedEvent, decode_event(payload)) for payload in payloads)

    def _mark(self, missing: "Sequence[_Held]") -> None:
        with self._books.writing() as connection:
            for name in sorted(name for held in missing for name in held.names):
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


class _Held(NamedTuple):
    """What is in the books under an id: the events, the bytes to be recorded, and the names of their receipts."""

    names: tuple[_Name, ...]
    events: tuple[ReportedEvent, ...]
    payloads: tuple[bytes, ...]
    is_recorded: bool


def _claim(connection: Connection, conversion: Conversion) -> _Held:
    """Take the ids of a conversion and of all its parts, or learn what holds the first. To be rolled back where it raises.

    Raises:
        Conflict: the id is taken by another content, or a part's by anything.
    """
    name, event = _name(conversion), conversion.event
    ours = Receipt(conversion.content_hash, event.event_id, _content(conversion), recorded=False)
    held = claim(connection, *name, ours, event.received_at)
    if not conversion.says(held.body_hash):
        raise Conflict(_conflict(name))
    if held.event_id == ours.event_id:  # not a repeat
        for part in sorted((part for part in conversion.parts if _name(part) != name), key=_name):
            its = Receipt(part.content_hash, part.event.event_id, encode_event(part.event), recorded=False)
            if claim(connection, *_name(part), its, event.received_at).event_id != its.event_id:
                raise Conflict(f"{_conflict(name)} (a part of it was sent in another way)")
    payloads = _payloads(connection, conversion.kind, held.event)
    events = tuple(cast(ReportedEvent, decode_event(payload)) for payload in payloads)
    return _Held((name, *_part_names(name, events)), events, payloads, held.recorded)


def _content(conversion: Conversion) -> bytes:
    """What a receipt keeps: the event; of a basket a list of the sender's own part and the names of the others' receipts.

    What another merchant is told of its customer is in that merchant's receipts alone: whatever is erased there is gone.
    """
    if not conversion.parts:
        return encode_event(conversion.event)
    sender = conversion.event.tenant_id
    own = (part.event.tenant_id == sender for part in conversion.parts)
    pieces = (
        encode_event(part.event) if is_own else msgspec.json.encode((part.event.tenant_id, part.external_id))
        for part, is_own in zip(conversion.parts, own, strict=True)
    )
    return b"[%b]" % b",".join(pieces)


def _payloads(connection: Connection, kind: Kind, content: bytes) -> tuple[bytes, ...]:
    """The events of a receipt, as they were written: one, or the parts of a basket."""
    if not content.startswith(b"["):
        return (content,)
    return tuple(_part(connection, kind, bytes(piece)) for piece in _read_pieces(content))


def _part(connection: Connection, kind: Kind, piece: bytes) -> bytes:
    if not piece.startswith(b"["):
        return piece
    tenant_id, external_id = _read_name(piece)
    receipt = find_receipt(connection, tenant_id, kind, external_id)
    assert receipt is not None, "a basket's receipts were claimed together, and receipts are never deleted"
    return receipt.event


_read_pieces = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_read_name = msgspec.json.Decoder(tuple[str, str]).decode


def _name(conversion: Conversion) -> _Name:
    return conversion.event.tenant_id, conversion.kind, conversion.external_id


def _part_names(name: _Name, events: tuple[ReportedEvent, ...]) -> Iterator[_Name]:
    """The receipts of a basket's parts, but for the one that has the basket's own name."""
    for event in events:
        if not isinstance(event, Touch) and (part := (event.tenant_id, kind_of(event), external_id_of(event))) != name:
            yield part


def _conflict(name: _Name) -> str:
    tenant_id, kind, external_id = name
    what = f"{kind} {external_id!r:.140} of {tenant_id}"
    return f"{what} was recorded before with another content; nothing was changed. A correction needs an id of its own"


def _forget(future: "asyncio.Future[Any]") -> None:
    """Nobody waits for it any more: keep its error from being reported as never looked at."""
    if not future.cancelled():
        future.exception()
